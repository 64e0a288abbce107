"""What a task means: a folder for each kind, with the same parts in each (see `contract`)."""
