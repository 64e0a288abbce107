"""Meltpoint answers how far to unfreeze a pretrained backbone, with evidence."""
