"""One file a kind of head."""
