"""RAM, the tagger, as a model folder."""

import argparse
from pathlib import Path

from meltpoint.terminal import say

HELP = "make a model folder of a checkpoint of RAM, which gives tags"
ABOUT = """\
Make a model folder of RAM (Recognize Anything; Zhang et al., 2023): its checkpoint as published, and the lists that go
with it, each UTF-8 with a line for each tag. `predict` and `serve` then take the folder as any other model.

  meltpoint convert-ram ram_swin_large_14m.pth --tags ram_tag_list.txt --tags-zh ram_tag_list_chinese.txt \\
      --thresholds ram_tag_list_threshold.txt --licence Apache-2.0 models/ram
  meltpoint predict photo.jpg --model models/ram --language zh

Other tags: --text is a file of CLIP ViT-B/16, by which RAM was trained; its text side makes a vector of each line of
--tags, averaged over templates. Or --vectors holds them.

  meltpoint convert-ram ram_swin_large_14m.pth --tags mine.txt --text clip.safetensors --threshold 0.5 \\
      --licence Apache-2.0 models/mine
"""


def describe(convert: argparse.ArgumentParser) -> None:
    """Add the words that the command takes."""
    convert.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a .pth or .safetensors")
    convert.add_argument("folder", type=Path, metavar="FOLDER", help="the model folder that is written")
    convert.add_argument("--tags", type=Path, required=True, metavar="FILE", help="a tag a line")
    convert.add_argument("--tags-zh", type=Path, metavar="FILE", help="their names in Chinese")
    convert.add_argument("--thresholds", type=Path, metavar="FILE", help="a number for each tag")
    convert.add_argument("--threshold", type=float, help="one for all")
    convert.add_argument("--delete", type=Path, metavar="FILE", help="tags that are never given, one a line")
    convert.add_argument("--vectors", type=Path, metavar="FILE", help="vectors of other tags than the checkpoint's")
    convert.add_argument("--text", type=Path, metavar="FILE", help="a CLIP ViT-B/16 that makes vectors of --tags")
    convert.add_argument("--licence", required=True, help="of the checkpoint, for the card")
    convert.add_argument("--max-megapixels", type=float, default=100, help="larger pictures are refused (default 100)")


def run(asked: argparse.Namespace) -> None:
    """Write the folder, and say what it holds.

    Raises:
        UserError: the checkpoint or a list cannot be used.
    """
    from meltpoint.ram_folder import TagLists, convert_folder

    lists = TagLists(
        asked.tags, asked.tags_zh, asked.thresholds, asked.threshold, asked.delete, asked.vectors, asked.text
    )
    say(convert_folder(asked.checkpoint, lists, asked.licence, asked.max_megapixels, asked.folder))
