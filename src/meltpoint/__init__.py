"""Meltpoint answers how far to unfreeze a pretrained backbone. `meltpoint.load` opens a trained model."""


def __getattr__(name: str) -> object:
    """Import `load` when it is first asked for: this file is part of every stage, and has to stay light."""
    if name == "load":
        from meltpoint.api import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
