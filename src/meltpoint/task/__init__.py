"""What a target means: encode, loss, decode."""
