"""A params.yaml for somebody's own images."""

import argparse
import shutil
from pathlib import Path

from meltpoint.errors import CommandError
from meltpoint.terminal import say

HELP = "write a params.yaml for your own images"
ABOUT = """\
Look at the images at PATH and at this machine, say what is there, and write a complete params.yaml: a comment on each
choice, and about how long each stage will take. Nothing is downloaded, and your images stay as they are. A params.yaml
that is there is kept as params.yaml.bak.

  meltpoint init photos/                       photos/cat/*.jpg, photos/dog/*.jpg; also below train/, val/, test/
  meltpoint init photos.csv                    a table with a column of image paths and one or more of labels
  meltpoint init photos.csv --label species    that column alone
  meltpoint init street/                       images/ and masks/: a class for each pixel
  meltpoint init photos.zip                    a zip or tar of class folders or of a table
  meltpoint init export/                       COCO (annotations/*.json) or PASCAL VOC (JPEGImages/, Annotations/)
  meltpoint init shards/                       WebDataset's tar shards, or Parquet with pictures, as on Hugging Face
  meltpoint init photos/ --minutes 120         more time: larger images first, then fine-tuning
  meltpoint init photos/ --dry-run             print everything, write nothing
"""


def describe(init: argparse.ArgumentParser) -> None:
    """Add the words that the command takes."""
    init.add_argument("path", type=Path, metavar="PATH", help="a folder, a table, or an archive")
    init.add_argument("--label", metavar="NAME", help="the label's name, or of a table the column (default: as found)")
    init.add_argument(
        "--output", type=Path, default=Path("params.yaml"), metavar="FILE", help="where to write (default params.yaml)"
    )
    init.add_argument("--minutes", type=float, default=30, metavar="N", help="that `dvc repro` may take (default 30)")
    init.add_argument("--dry-run", action="store_true", help="print everything, write nothing")


def run(asked: argparse.Namespace) -> None:
    """Write a params.yaml, and say what was found and chosen.

    Raises:
        UserError: there are no images that the pipeline reads, or an option is wrong.
    """
    from meltpoint.init.found import SCRATCH
    from meltpoint.init.make import make_params

    if not 0 < asked.minutes < float("inf"):
        raise CommandError(f"--minutes is {asked.minutes:g}. Give how long `dvc repro` may take, such as --minutes 30.")
    try:
        for line in make_params(asked.path, asked.label, asked.output, asked.minutes, asked.dry_run):
            say(line)
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)
