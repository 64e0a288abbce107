"""How the predictions of a task are judged and drawn: a file for each task, with the same functions."""
