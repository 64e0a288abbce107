"""Task `tagging`: any number of classes of each image, each by a threshold of its own."""
