"""Reads a source of any kind, each with a module of its own."""

from importlib import import_module
from pathlib import Path

from meltpoint.data.listing import Listing
from meltpoint.params.sources import Source


def read_source(source: Source, work: Path) -> Listing:
    """Read a source with the module that its `kind` names; `work` is a scratch folder that may not exist yet."""
    listing: Listing = import_module(f"meltpoint.data.sources.{source.kind}").read(source, work)
    return listing
