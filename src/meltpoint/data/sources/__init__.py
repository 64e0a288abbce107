"""One file a kind of source: reads what somebody has into rows of image files and columns."""
