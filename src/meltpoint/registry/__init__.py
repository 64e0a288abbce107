"""Versions of the registered model: made, judged, promoted, and written down."""
