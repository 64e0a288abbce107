"""What several predictors said of the same images, as far as they are compared: a file for each task."""
