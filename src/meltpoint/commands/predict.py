"""Answers for pictures."""

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from meltpoint.errors import CommandError, again
from meltpoint.terminal import answers_stream, complain, plain

if TYPE_CHECKING:
    from meltpoint.tasks.opening import ModelOpening

Opened = TypeVar("Opened")
ENGINES = ("local", "ray")
ADDRESS = re.compile(r"[a-z][a-z0-9+]+:/")  # s3://house as a Path

HELP = "say what is on pictures, by the champion or another model"
ABOUT = """\
Say what is on pictures. PATHS are files, folders (with all folders below), videos and http(s) addresses; a line for
each picture or frame goes to standard output, progress and a closing line to standard error. For a picture that
cannot be used the reason is printed, and the others go on; the exit code is 1 if none could be used.

  meltpoint predict photo.jpg                         the champion of the model that params.yaml registers
  meltpoint predict photos/ --model models/frozen     another model folder
  meltpoint predict photos/ --model models:/yoga/3    another version
  meltpoint predict photos/ --json > answers.jsonl    one JSON object a line
  meltpoint predict photos/ --csv > answers.csv       a table
  meltpoint predict photos/ --draw labelled/ --language zh --top 3
                                                      pictures with their names and shares below
  meltpoint predict street.jpg --draw drawn/ --masks masks/ --window
                                                      of a model with masks: the picture under its mask, and the
                                                      mask as PNG; large pictures are looked at part by part
  meltpoint predict clip.mp4 --draw drawn/            the same video with its answers (without sound)
  meltpoint predict photo.jpg --words "red car, dog, cup of tea"
                                                      of a model whose encoder has a text side: which of these it is
  meltpoint predict photo.jpg --words tags.txt --tags --language zh
                                                      each word above its threshold; a line is `name`, `name|Chinese
                                                      name` or `name||0.7`, the threshold

Of very many pictures the answers go into a folder of parquet parts, a row for each picture. PATHS may then also be
lists (.txt, an address a line), shards (.tar of WebDataset, .parquet), addresses such as s3://, gs://, hf://.

  meltpoint predict photos/ --out answers/            10,000 pictures a part, in this process
  meltpoint predict 'photos-*.tar' --out answers/ --resume
                                                      go on after a stop: finished parts are not made again
  meltpoint predict 's3://bucket/photos-{000..127}.tar' --out answers/ --engine ray --address auto
                                                      on the Ray cluster that this machine is a node of; without
                                                      --address on all cores here (extra: pip install -e '.[ray]')
"""


def describe(predict: argparse.ArgumentParser) -> None:
    """Add the words that the command takes."""
    champion = "the champion of register.name in params.yaml"
    predict.add_argument(
        "paths", nargs="+", metavar="PATHS", help="pictures, folders of them, videos, http(s) addresses"
    )
    predict.add_argument("--model", help=f"models:/NAME@ALIAS, models:/NAME/VERSION or a folder (default: {champion})")
    predict.add_argument("--language", help="of the names, as en or zh (default: classes go by their labels)")
    predict.add_argument("--top", type=int, default=5, help="how many choices of each head to print (default 5)")
    form = predict.add_mutually_exclusive_group()
    form.add_argument("--json", dest="form", action="store_const", const="json", help="a JSON object a line")
    form.add_argument("--csv", dest="form", action="store_const", const="csv", help="a table")
    predict.add_argument("--draw", type=Path, metavar="OUT", help="a folder for labelled pictures (JPEG) and videos")
    predict.add_argument("--masks", type=Path, metavar="OUT", help="a folder for masks (PNG of class ids, in colours)")
    predict.add_argument("--window", action="store_true", help="look at large pictures part by part for their masks")
    predict.add_argument("--font", type=Path, help="a font file for letters that are missing in drawn names")
    predict.add_argument("--words", metavar="WORDS", help="answer in these words, or in those of a file, one a line")
    predict.add_argument("--tags", action="store_true", help="each of --words above its threshold (default 0.5)")
    predict.add_argument("--threshold", type=float, help="above which --tags are given that have none of their own")
    predict.add_argument(
        "--prompts", help="what --words are put into: short, openai, or a file with {} in each line (default: nothing)"
    )
    predict.add_argument("--text", type=Path, metavar="PLACE", help="where the text side of the encoder is now")
    describe_parts(predict.add_argument_group("answers in parts (docs/ray.md)"))
    predict.set_defaults(form="lines")


def describe_parts(parts: "argparse._ArgumentGroup") -> None:
    """Add the words for answers in parts."""
    parts.add_argument("--out", type=Path, metavar="DIR", help="a folder for parquet parts, new or to be resumed")
    parts.add_argument(
        "--resume", action="store_true", help="go on with the parts in DIR, of the same model and question"
    )
    parts.add_argument(
        "--part", type=int, default=10_000, metavar="N", help="pictures a part (default 10000; a shard is one)"
    )
    parts.add_argument("--column", help="of the pictures in parquet (default: the one that holds pictures)")
    parts.add_argument(
        "--engine", choices=ENGINES, default="local", help="local: this process (default); ray: a cluster"
    )
    parts.add_argument("--address", help="of a running Ray cluster, auto or HOST:PORT (default: start Ray here alone)")
    parts.add_argument("--workers", type=int, metavar="N", help="models at once (default: one for each GPU, else CPU)")


def run(asked: argparse.Namespace) -> None:
    """Answer for pictures; exit with 1 if none of them could be used.

    Raises:
        CommandError: no model is named, and there is no champion; or options that do not go together.
        UserError: the model, a picture folder, the language or the font cannot be used.
    """
    from meltpoint.memory import keep_freed_memory
    from meltpoint.predict.word_list import read_prompts, read_words
    from meltpoint.tasks.opening import ModelOpening

    given = {"--threshold": asked.threshold, "--prompts": asked.prompts, "--text": asked.text}
    if asked.words is None and (lone := [name for name, value in given.items() if value is not None]):
        raise CommandError(f"{' and '.join(lone)} go with --words, which is missing. Add --words 'car, dog'")
    if asked.threshold is not None and not 0 <= asked.threshold <= 1:
        raise CommandError(f"--threshold is {asked.threshold:g}. It is a probability from 0 to 1, as 0.6; correct it.")
    opening = ModelOpening()
    if asked.words is not None:
        prompts = None if asked.prompts is None else read_prompts(asked.prompts)
        opening = ModelOpening(read_words(asked.words), asked.tags, prompts, asked.text, asked.threshold)
    check_parts(asked)
    keep_freed_memory()
    if asked.out is not None:
        run_parts(asked, opening)
    else:
        run_lines(asked, opening)


def run_lines(asked: argparse.Namespace, opening: "ModelOpening") -> None:
    """Answer on standard output."""
    from meltpoint.api import find
    from meltpoint.predict.batch import Batch, run_batch
    from meltpoint.tasks.contract import load_display

    batch = Batch(asked.paths, asked.top, asked.language, asked.form, asked.draw, asked.font, asked.masks, asked.window)
    answerer, out = opening(open_asked(asked.model, find)), answers_stream(for_program=asked.form != "lines")
    check_tags(asked, answerer.card.task)
    try:
        with again("the same command begins anew"):
            summary = run_batch(answerer, load_display(answerer.card.task), batch, out)
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        return
    complain(plain(summary.sentence))
    if not summary.answered:
        raise SystemExit(1)


def run_parts(asked: argparse.Namespace, opening: "ModelOpening") -> None:
    """Answer in parts."""
    from meltpoint.api import find
    from meltpoint.predict.part_files import GO_ON
    from meltpoint.predict.records import Question
    from meltpoint.predict.scoring import Asked, score
    from meltpoint.predict.work import Where

    folder = open_asked(asked.model, find)
    question, where = Question(asked.top, asked.language, asked.window), Where(asked.address, asked.workers)
    job = Asked(asked.paths, question, asked.out, asked.part, asked.resume, asked.column, asked.engine, where)
    with again(GO_ON):
        summary = score(folder, opening, job)
    complain(plain(f"{summary.sentence}, in {asked.out}"))
    if not summary.answered:
        raise SystemExit(1)


def check_parts(asked: argparse.Namespace) -> None:
    """Whether the options for parts go together.

    Raises:
        CommandError: they do not.
    """
    if asked.out is None:
        given = {
            "--resume": asked.resume, "--engine ray": asked.engine == "ray", "--address": asked.address,
            "--workers": asked.workers, "--column": asked.column,
        }  # fmt: skip
        if lone := [name for name, value in given.items() if value]:
            raise CommandError(f"{' and '.join(lone)} go with answers in parts. Say where these go: --out DIR")
        return
    others = {
        "--json or --csv": asked.form != "lines",
        "--draw": asked.draw,
        "--masks": asked.masks,
        "--font": asked.font,
    }
    if lone := [name for name, value in others.items() if value]:
        raise CommandError(f"{' and '.join(lone)} do not go with --out, which writes parquet. Leave one of them out.")
    if ADDRESS.match(str(asked.out)):
        raise CommandError(
            f"--out is {str(asked.out)!r}, an address. Parts are written into a folder of this machine: give one, and"
            " copy it there when all are finished."
        )
    if asked.part < 1 or (asked.workers is not None and asked.workers < 1):
        raise CommandError(
            f"--part is {asked.part} and --workers {asked.workers}. Both are numbers from 1 on; correct them."
        )


def check_tags(asked: argparse.Namespace, task: str) -> None:
    """Whether a model can give tags.

    Raises:
        CommandError: it has none, and there are no words.
    """
    if asked.tags and asked.words is None and task != "tagging":
        raise CommandError("This model does not give tags, so that --tags goes with --words. Add --words 'car, dog'")


def open_asked(where: str | None, read: Callable[[str], Opened]) -> Opened:
    """What `read` makes of the model that is asked for, or of the champion where none is.

    Raises:
        CommandError: no model is named, and there is no champion that can be opened.
    """
    if where is not None:
        return read(where)
    from meltpoint.params.read import read_params
    from meltpoint.registry.version_files import VersionError

    if not Path("params.yaml").exists():
        raise CommandError(
            "No model is named, and there is no params.yaml here to find the champion by. Name one, such as"
            " models:/NAME@champion, or a model folder, such as models/frozen."
        )
    try:
        return read(f"models:/{read_params().register_.name}@champion")
    except VersionError as error:
        raise CommandError(
            f"No model is named, and the champion cannot be opened. {error}\nIf there is no champion yet, make one with"
            " `make repro`, or name a model folder, such as models/frozen."
        ) from None
