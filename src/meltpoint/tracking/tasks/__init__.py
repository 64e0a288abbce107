"""What of a version depends on the task: how it is scored again, and its tables; a file for each task."""
