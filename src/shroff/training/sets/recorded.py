"""Decisions recorded for the rows of a training set: outcome, score and rule hits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from shroff.arrays import NO_INTS, Ints
from shroff.engine.stored import stored
from shroff.log.history import Control
from shroff.log.rule_history import RecordedRuleHits
from shroff.project.policy import OUTCOMES
from shroff.replay.compare import RowsAhead
from shroff.streams.log import DecisionRow, HitRow, Log, LogReader
from shroff.training.sets.labels import rows_of

if TYPE_CHECKING:
    import pyarrow as pa

_NO_SCORE = b',"score":null,'  # not part of any text in a document: quotation marks are escaped there


class _Scored(msgspec.Struct):
    score: float | None


class RecordedRows:
    """The decisions and hits of a log, read forward along with the rows of a set; none without a log.

    Decision documents are read from the sequence number at which a model first became active: earlier ones have no
    score.
    """

    def __init__(self, log: Log | None) -> None:
        self._log = log
        self._decided_seqs = NO_INTS
        self._outcomes = np.zeros(0, np.int8)
        self._decisions = RowsAhead[DecisionRow](())
        self._hits = RowsAhead[HitRow](())
        if log is None:
            return
        from shroff.log.columns.stored import outcomes_of

        self._decided_seqs, self._outcomes = outcomes_of(log)
        self._hits = RowsAhead(RecordedRuleHits().after(log))
        scored = first_control(log, lambda control: bool(control.versions.get("model")))
        if scored is not None:
            self._decisions = RowsAhead(log.decisions.after(scored))

    def of(self, seqs: Ints) -> list[pa.Array]:
        """Return outcome, score and rules of the events with these sequence numbers, null without a decision or hit.

        Calls must follow each other in log order.
        """
        import pyarrow as pa

        if self._log is None:
            return [pa.nulls(len(seqs), type_) for type_ in recorded_types().values()]
        last = int(seqs[-1]) if len(seqs) else 0
        scores = np.full(len(seqs), np.nan)
        decisions = self._decisions.taken(last)
        for row, row_index in zip(
            decisions, rows_of([decision.seq for decision in decisions], seqs).tolist(), strict=True
        ):
            if row_index >= 0:
                scores[row_index] = _score(row)
        rules: list[list[str] | None] = [None] * len(seqs)
        hits = self._hits.taken(last)
        for hit, row_index in zip(hits, rows_of([other_hit.seq for other_hit in hits], seqs).tolist(), strict=True):
            if row_index >= 0:
                rules[row_index] = sorted({*(rules[row_index] or ()), hit.rule})
        codes = np.append(self._outcomes, np.int8(-1))[rows_of(seqs, self._decided_seqs)]
        columns = np.array([*OUTCOMES, None], object)[codes], scores, rules
        return [
            pa.array(column, type_, from_pandas=True)
            for column, type_ in zip(columns, recorded_types().values(), strict=True)
        ]


def recorded_types() -> dict[str, pa.DataType]:
    """Return the types of the recorded columns; `rules` are those that hit, effective or in shadow."""
    import pyarrow as pa

    return {"outcome": pa.string(), "score": pa.float64(), "rules": pa.list_(pa.string())}


def first_control(log: LogReader, is_wanted: Callable[[Control], bool]) -> int | None:
    """Return the first sequence number at which the active state passes a test; None if it never does."""
    control = Control()
    for record in log.controls():
        control.take(record)
        if is_wanted(control):
            return record.seq
    return None


def _score(row: DecisionRow) -> float:
    if _NO_SCORE in row.document:
        return np.nan
    score = stored(row.document, _Scored, f"the decision at sequence number {row.seq}").score
    return np.nan if score is None else score
