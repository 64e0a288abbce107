"""Where work in parts is done, each kind a file with `run` (see `predict/work.py`)."""
