"""A folder of parts: what is to be done is written first, each part then appears whole, what was made comes last."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meltpoint.files import read_json, sha256_of, whole_file, write_json
from meltpoint.predict.part_inputs import ScoringError
from meltpoint.terminal import complain

if TYPE_CHECKING:
    import pyarrow as pa

PLAN, SUMMARY, LOCK = "_plan.json", "_summary.json", ".lock"  # whoever reads a folder of parquet passes these over
FORMAT = 1
GO_ON = "the same command with --resume continues from there"
ANEW = "Give another folder to --out, or ask as before."


@dataclass(frozen=True)
class PartFolder:
    """A folder of parts: `names` are those of all parts in order, each of its number and the hash of what goes in."""

    folder: Path
    names: tuple[str, ...]

    @property
    def missing(self) -> list[int]:
        """The parts that are not there yet."""
        return [number for number, name in enumerate(self.names) if not (self.folder / name).exists()]

    def write(self, number: int, table: "pa.Table") -> None:
        """Write a part; equal tables give equal bytes."""
        import pyarrow.parquet as pq

        with whole_file(self.folder / self.names[number]) as temporary:
            pq.write_table(table.combine_chunks(), temporary, compression="zstd")

    def summarise(self, ignored: Mapping[str, int]) -> tuple[int, Counter[str]]:
        """Count the rows of all parts as they lie there, write that down, and give how many are answers, and errors.

        Raises:
            ScoringError: a part is damaged.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows: dict[str, int] = {}
        reasons: Counter[str] = Counter()
        for name in self.names:
            try:
                column = pq.read_table(self.folder / name, columns=["error"])["error"]
            except (pa.ArrowException, OSError):
                raise ScoringError(
                    f"{self.folder / name} is damaged. Remove it, and run the same command with --resume."
                ) from None
            rows[name] = len(column)
            reasons.update({one["values"]: one["counts"] for one in column.drop_null().value_counts().to_pylist()})
        total = sum(rows.values())
        counts = {"rows": total, "answered": total - reasons.total(), "errors": dict(sorted(reasons.items()))}
        write_json(self.folder / SUMMARY, {**counts, "skipped": dict(ignored), "parts": rows})
        return total - reasons.total(), reasons


@contextmanager
def open_part_folder(
    folder: Path, model: str, question: Mapping[str, Any], parts: Sequence[Sequence[str]], resume: bool
) -> Iterator[PartFolder]:
    """A folder for parts of the answers that `model`, a fingerprint, gives to a question; nobody else writes there.

    Raises:
        ScoringError: it is not empty and nothing is to be resumed, it is of another model, question or inputs, or
            another process writes there.
    """
    from filelock import FileLock, Timeout

    there = sorted(one.name for one in folder.iterdir() if one.name != LOCK) if folder.is_dir() else []
    if folder.exists() and not folder.is_dir():
        raise ScoringError(f"{folder} is a file. Give a folder to --out, which may be new.")
    if there and not resume:
        raise ScoringError(
            f"{folder} is not empty: it holds {', '.join(there[:3])}{' and more' if len(there) > 3 else ''}. Give a new"
            " folder to --out. If these are parts of the same job, go on with it: add --resume."
        )
    plan = {"format": FORMAT, "model": model, "question": dict(question), "parts": len(parts), "inputs": _hash(parts)}
    if there:
        _check(folder, plan)
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"part-{number:06}-{_hash([model, dict(question), own])[:16]}.parquet" for number, own in enumerate(parts)]
    try:
        with FileLock(folder / LOCK, timeout=0):
            for left in folder.glob(".part-*"):  # by a process that was killed
                left.unlink()
            if strange := sorted({one.name for one in folder.glob("[!._]*.parquet")} - set(names)):
                raise ScoringError(f"{folder} holds {strange[0]}, which is no part of this. Move it away. {ANEW}")
            for name in names:
                if _is_cut(folder / name):
                    complain(f"{folder / name} is no whole file of parquet any more, and is made again.")
                    (folder / name).unlink()
            write_json(folder / PLAN, plan)
            yield PartFolder(folder, tuple(names))
    except Timeout:
        raise ScoringError(f"Another process writes into {folder} now. Wait for it, or give another --out.") from None


def fingerprint(folder: Path) -> str:
    """What changes when a file of a model's folder does."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return _hash([[path.relative_to(folder).as_posix(), sha256_of(path)] for path in files])


def _is_cut(part: Path) -> bool:
    """Whether a part is there and has lost its end, as one that was copied to a full disk."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if part.exists():
            pq.read_metadata(part)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk, not of what is on it
            raise
        return True
    return False


def _check(folder: Path, plan: Mapping[str, Any]) -> None:
    try:
        begun = read_json(folder / PLAN)
    except (OSError, ValueError):
        begun = None
    if not isinstance(begun, dict) or begun.get("format") != FORMAT:
        raise ScoringError(f"{folder} holds no parts to go on with: its {PLAN} is missing or is none. {ANEW}")
    if begun.get("model") != plan["model"]:
        raise ScoringError(
            f"The parts in {folder} are of another model: {str(begun.get('model'))[:12]}, and this is"
            f" {plan['model'][:12]}. {ANEW}"
        )
    old, new = begun.get("question") or {}, plan["question"]
    if changed := [name for name in new if old.get(name) != new[name]]:
        told = ", ".join(f"{name} was {old.get(name)!r} and is {new[name]!r}" for name in changed)
        raise ScoringError(f"The parts in {folder} answer another question: {told}. {ANEW}")
    if begun.get("inputs") != plan["inputs"]:
        counts = (
            ""
            if begun.get("parts") == plan["parts"]
            else f" {begun.get('parts')} parts were planned, not {plan['parts']}."
        )
        raise ScoringError(
            f"The parts in {folder} are of other pictures.{counts} Since then files were added, removed or changed, or"
            f" are named in another order, or --part is another. {ANEW}"
        )


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
