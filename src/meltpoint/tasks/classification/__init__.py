"""Task `classification`: one class of several per image and head."""
