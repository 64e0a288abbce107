"""Pixels: decoding, resizing, augmentation, and the stored views."""
