"""What answers are made of, one file for each task, with the same functions in each."""
