"""One image or a million through a saved model."""
