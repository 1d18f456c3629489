"""Training set: the model inputs of each event, and what was known of it and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shroff.arrays import Array, Bools, Floats, Ints, Ints8
from shroff.models.learners.column_files import Values, some
from shroff.runtime.values import FrozenStruct, replace

if TYPE_CHECKING:
    import pyarrow as pa


NOT_KNOWN = -1  # of a verdict: no label, or one that says `unclear`
GENUINE = 0
FRAUD = 1
NEVER_MS = np.iinfo(np.int64).max  # when a label will be known that never comes


class Input(FrozenStruct):
    """One model input as a column of numbers.

    Args:
        name: As model.yaml has it: `card.payments_1h`, `hour(payment.paid_at)`.
        kind: `number`, or `category` for texts and choices.
        values: Numbers, NaN where one is missing. Of a category places in `categories`, NaN where it is missing. In a
            file where memory is to hold no more than what is looked at.
        categories: The texts that occur, sorted; empty for numbers.
    """

    name: str
    kind: str
    values: Values
    categories: tuple[str, ...] = ()

    def take(self, rows: Ints) -> Input:
        """The same at some rows; what lies in a file stays there."""
        return replace(self, values=some(self.values, rows))


class Texts:
    """Texts as an Arrow array, a third of Python's memory; an array of them when indexed."""

    __slots__ = ("_texts",)

    def __init__(self, texts: pa.ChunkedArray) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, at: int | Ints) -> Any:
        """The text at a place, or those at an array of places."""
        if not isinstance(at, np.ndarray):
            return self._texts[int(at)].as_py()
        return self._texts.take(at).to_numpy()

    def tolist(self) -> list[str]:
        found: list[str] = self._texts.to_pylist()
        return found


class Labels(FrozenStruct):
    """Every label of the events of a set, by row; those of one row in the order of the log.

    Args:
        rows: The row of the set that it is about.
        verdicts: FRAUD, GENUINE or NOT_KNOWN (for `unclear`).
        strengths: How strong its source is, 0 the strongest (`events.definitions.SOURCES`).
        known_at_ms: When it was known.
        reasons: Codes of its reason, -1 for none, in `reason_texts`.
    """

    rows: Ints
    verdicts: Ints8
    strengths: Ints8
    known_at_ms: Ints
    reasons: Ints
    reason_texts: tuple[str, ...] = ()

    def take(self, at: Ints | Bools) -> Labels:
        """The same at some places."""
        return Labels(
            self.rows[at],
            self.verdicts[at],
            self.strengths[at],
            self.known_at_ms[at],
            self.reasons[at],
            self.reason_texts,
        )


class RecordedDecisions(FrozenStruct):
    """Recorded decision of each event; codes are -1 where there was none.

    Args:
        outcomes: Codes of the outcome in `project.policy.OUTCOMES`.
        scores: The score that it gave, NaN for none.
        hits: For each rule that ever hit, by id, at which rows, effective or in shadow.
        stands_for: Where the policy drew among would-be declines or approvals: for how many of them a row stands, 0 for
            a decline that was not let through, NaN for all others; None where it never did.
    """

    outcomes: Ints8
    scores: Floats
    hits: dict[str, Bools]
    stands_for: Floats | None = None


class TrainingSet(FrozenStruct):
    """Events of one type in log order with what a model reads of them.

    Args:
        event: Their type.
        as_of_ms: The moment of which it is: no event and no label in it came after.
        ids: Their ids.
        seqs: Their places in the log.
        times_ms: Event times, UTC milliseconds.
        keys: Codes of the entity that `capacity` names, -1 where an event has no key.
        amounts_minor: What a missed fraud costs (`missed_fraud` of the policy, else the event's amount), in
            minor units; 0 where missing.
        inputs: What the model reads, in its order.
        slices: Further columns by which metrics are parted, by name: texts.
    """

    event: str
    as_of_ms: int
    ids: Array | Texts
    seqs: Ints
    times_ms: Ints
    keys: Ints
    amounts_minor: Ints
    inputs: tuple[Input, ...]
    labels: Labels
    recorded: RecordedDecisions
    slices: dict[str, Array]

    def __len__(self) -> int:
        return len(self.times_ms)

    def weights(self, rows: Ints) -> Floats | None:
        """How often each of some rows counts in metrics; None where all count once."""
        drawn = self.recorded.stands_for
        return None if drawn is None else np.where(np.isnan(drawn[rows]), 1.0, drawn[rows])

    def verdicts_at(self, known_ms: int) -> Ints8:
        """The verdict in force for each row by the labels known up to a moment; NOT_KNOWN where there is none.

        A stronger source wins, within one source the later `known_at`, at equal ones the later place.
        """
        places = labels_in_force(self.labels, known_ms, len(self))
        found = np.full(len(self), NOT_KNOWN, np.int8)
        found[places >= 0] = self.labels.verdicts[places[places >= 0]]
        return found

    def take(self, rows: Ints) -> TrainingSet:
        """The same of some rows, in ascending order."""
        place = np.full(len(self), -1, np.int64)
        place[rows] = np.arange(len(rows))
        labels = self.labels
        mine = np.flatnonzero(place[labels.rows] >= 0)
        return TrainingSet(
            self.event,
            self.as_of_ms,
            self.ids[rows],
            self.seqs[rows],
            self.times_ms[rows],
            self.keys[rows],
            self.amounts_minor[rows],
            tuple(input_.take(rows) for input_ in self.inputs),
            replace(labels.take(mine), rows=place[labels.rows[mine]]),
            RecordedDecisions(
                self.recorded.outcomes[rows],
                self.recorded.scores[rows],
                {rule: hit[rows] for rule, hit in self.recorded.hits.items()},
                None if self.recorded.stands_for is None else self.recorded.stands_for[rows],
            ),
            {name: column[rows] for name, column in self.slices.items()},
        )


def labels_in_force(labels: Labels, known_ms: int, count: int) -> Ints:
    """The place in `labels` of the one in force for each of `count` rows by what was known up to a moment; -1: none."""
    order = in_force_last(labels, known_ms)
    found = np.full(count, -1, np.int64)
    found[labels.rows[order]] = order
    return found


def in_force_last(labels: Labels, known_ms: int) -> Ints:
    """The labels that were known at a moment, that in force of each row behind the others."""
    known = np.flatnonzero(labels.known_at_ms <= known_ms)
    return known[np.lexsort((known, labels.known_at_ms[known], -labels.strengths[known].astype(np.int64)))]
