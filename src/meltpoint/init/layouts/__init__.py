"""One file a layout of labelled images: whether it is this one, and how params.yaml describes it."""
