"""One file a kind of source: reads a source into rows of image files and columns."""
