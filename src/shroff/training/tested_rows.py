"""tested.parquet beside a model: the rows of its tests, with scores of models that had not seen them.

Thresholds are evaluated on them, and two models are compared on those that they share. A model's folder is read whole
each time the model is loaded, so the file is bounded: of more than five million rows, or of longer ids than fit, it has
a random share. Whether a row is in it depends only on its sequence number, so two models keep the same rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shroff.arrays import Bools, Floats, Ints, Ints8
from shroff.language.values import DAY_MS
from shroff.models.evaluation.cost_table import RuleResults, ScoredEvents
from shroff.models.evaluation.folds import Evaluation
from shroff.models.evaluation.metrics import RowsOfFold
from shroff.models.registry import TESTED, Stored
from shroff.models.sets import TrainingSet
from shroff.project.policy import OUTCOMES

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_MAX = 5_000_000  # 80 bytes each at most, without ids: two fifths of the GiB that a file of a model may have
ID_CHARACTERS_MAX = 1 << 27  # four bytes each at most: half of that GiB
COUNTS = "counts"  # for rows that stand for others: see `sets.RecordedDecisions.stands_for`
SHARE = b"share"  # key in the file's metadata if it has a random share


def judged_rows(training_set: TrainingSet, evaluation: Evaluation, ruled: Ints8, allowed: Bools) -> pa.Table:
    """Return the rows of all tests with the scores of the folds' models.

    Args:
        ruled: For each row of the set the outcome of rules alone, as a code of OUTCOMES.
        allowed: For each row of the set whether a rule allows it.
    """
    import pyarrow as pa

    tested = evaluation.tested
    days = tested_days(training_set, evaluation)
    share = kept_share(training_set.ids[tested.rows].tolist())
    sampled = np.flatnonzero(lots_of(training_set.seqs[tested.rows]) < share)
    rows = tested.rows[sampled]
    table: pa.Table = pa.table(
        {
            "id": pa.array(training_set.ids[rows].tolist(), pa.string()),
            "seq": training_set.seqs[rows],
            "time": pa.array(training_set.times_ms[rows], pa.timestamp("ms", tz="UTC")),
            "fold": pa.array(tested.folds[sampled], pa.int32()),
            "day": days[sampled],
            "key": training_set.keys[rows],
            "score": tested.scores[sampled],
            "fraud": tested.frauds[sampled],
            "amount_minor": training_set.amounts_minor[rows],
            "rules": pa.array([OUTCOMES[code] for code in ruled[rows].tolist()], pa.string()),
            "allowed": allowed[rows],
            **({} if (counts := training_set.weights(rows)) is None else {COUNTS: counts}),
        }
    )
    return table if share == 1.0 else table.replace_schema_metadata({SHARE: repr(share)})


def file_of(table: pa.Table) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def stored_rows(stored: Stored) -> pa.Table | None:
    """Return the test rows of a stored model; None if it was not trained here."""
    import pyarrow.parquet as pq

    from shroff.lake.files import arrow_reader

    data = stored.file(TESTED)
    return None if data is None else pq.read_table(arrow_reader(data))


def weighed_of(table: pa.Table, money_places: int, entity: str) -> ScoredEvents:
    """Return test rows in the form that thresholds are evaluated on.

    Args:
        entity: Entity of the column `key`, which is -1 for an event without one; empty if `capacity` names none.
    """
    rules = np.array(table["rules"].to_pylist(), object)
    amounts = table["amount_minor"].to_numpy() / 10.0**money_places
    keys = table["key"].to_numpy()
    return ScoredEvents(
        scores=table["score"].to_numpy(),
        rows=RowsOfFold(table["fraud"].to_numpy(), amounts, table["day"].to_numpy(), keys, counts_of(table)),
        fixed=RuleResults(rules == "decline", table["allowed"].to_numpy(), rules == "review"),
        folds=table["fold"].to_numpy(),
        share=float((table.schema.metadata or {}).get(SHARE, b"1")),
        entity=entity if (keys >= 0).any() else "",
    )


def counts_of(table: pa.Table) -> Floats | None:
    """Return how often each test row counts, if some stand for would-be declines; None if all count once."""
    return table[COUNTS].to_numpy() if COUNTS in table.column_names else None


def tested_days(training_set: TrainingSet, evaluation: Evaluation) -> Ints:
    """Return the day of each tested row: 24-hour days from the start of its test, numbered on over all folds.

    Folds without a model have no tested rows, so their days are not counted.
    """
    tested = evaluation.tested
    start = 0
    days = np.zeros(len(tested.rows), np.int64)
    for number, report in enumerate(evaluation.folds):
        in_fold = tested.folds == number
        if in_fold.any():
            days[in_fold] = start + (training_set.times_ms[tested.rows[in_fold]] - report.fold.test_start_ms) // DAY_MS
            start += -(-(report.fold.test_end_ms - report.fold.test_start_ms) // DAY_MS)
    return days


def kept_share(ids: list[str]) -> float:
    """Return the share of rows with these ids that fits into the file."""
    if not ids:
        return 1.0
    return min(1.0, ROWS_MAX / len(ids), ID_CHARACTERS_MAX / max(sum(map(len, ids)), 1))


def lots_of(seqs: Ints) -> Floats:
    """Return a pseudo-random number in [0, 1) for each sequence number, always the same.

    The last steps of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
    """
    mixed = seqs.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    numbers: Floats = ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)) / float(1 << 53)
    return numbers
