"""One file for each kind of strategy."""
