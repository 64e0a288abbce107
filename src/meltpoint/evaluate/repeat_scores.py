"""What trainings of one recipe with other seeds answer and reach, beside the training whose model ships."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow.parquet import ParquetWriter

from meltpoint.evaluate.judgement import Judgement
from meltpoint.files import whole_file, write_json
from meltpoint.model.card import Card
from meltpoint.tables import REPEAT, REPEATS

SCORES = "repeats.json"


def write_repeats(
    predictions: pd.DataFrame,
    judgement: Judgement,
    card: Card,
    others: Iterable[tuple[Card, pd.DataFrame]],
    judge: Callable[[pd.DataFrame, Card], Judgement],
    folder: Path,
) -> None:
    """Write repeats.parquet and repeats.json into `folder`.

    repeats.parquet has the rows of the repeats 2 to n: `repeat`, then the columns of predictions.parquet. Of a strategy
    that is trained once it has no row, and the same columns. One repeat is in memory at a time.
    repeats.json has `repeats` (n), `seeds` (n), and `scores`: split -> head -> score -> n values, the first repeat's
    first, for the scores that are a number in each repeat.

    Args:
        predictions: of the first repeat, with the columns of its task.
        judgement: of them.
        card: of the first repeat.
        others: card and predictions of the repeats 2 to n, in order.
        judge: judges predictions of a model with a card.
        folder: of the strategy's report.
    """
    seeds, metrics = [card.seed], [judgement.metrics]
    schema = _tabulate(1, predictions).schema
    with whole_file(folder / REPEATS) as temporary, ParquetWriter(temporary, schema) as writer:
        for number, (own, table) in enumerate(others, start=2):
            writer.write_table(_tabulate(number, table).cast(schema))
            seeds.append(own.seed)
            metrics.append(judge(table, own).metrics)
    scores = {
        split: {
            head: {
                name: [one[split][head][name] for one in metrics]
                for name in judged.scores
                if all(one[split][head][name] is not None for one in metrics)
            }
            for head, judged in heads.items()
        }
        for split, heads in judgement.splits.items()
    }
    write_json(folder / SCORES, {"repeats": len(seeds), "seeds": seeds, "scores": scores})


def _tabulate(number: int, table: pd.DataFrame) -> pa.Table:
    shown = table.copy(deep=False)
    shown.insert(0, REPEAT, number)
    return pa.Table.from_pandas(shown, preserve_index=False)
