"""Backbones, heads, and the model they compose; knows nothing of tasks."""
