"""Training set: the model inputs of each event, and its labels with the times at which they became known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shroff.arrays import Array, Bools, Floats, Ints, Ints8
from shroff.models.learners.column_files import Values, some
from shroff.runtime.values import FrozenStruct, replace

if TYPE_CHECKING:
    import pyarrow as pa


NOT_KNOWN = -1  # verdict of an event without a label, or with an `unclear` one
GENUINE = 0
FRAUD = 1
NEVER_MS = np.iinfo(np.int64).max  # time of a label that never arrives


class Input(FrozenStruct):
    """One model input as a column of numbers.

    Args:
        name: Name in model.yaml: `card.payments_1h`, `hour(payment.paid_at)`.
        kind: `number`, or `category` for texts and choices.
        values: Numbers, NaN if missing; for a category indexes into `categories`. In a file if memory is to hold only
            what is read.
        categories: Texts that occur, sorted; empty for numbers.
    """

    name: str
    kind: str
    values: Values
    categories: tuple[str, ...] = ()

    def take(self, rows: Ints) -> Input:
        """Select rows; what is in a file stays there."""
        return replace(self, values=some(self.values, rows))


class Texts:
    """Texts as an Arrow array, with a third of Python's memory; indexing by an array returns an array."""

    __slots__ = ("_texts",)

    def __init__(self, texts: pa.ChunkedArray) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, index: int | Ints) -> Any:
        if not isinstance(index, np.ndarray):
            return self._texts[int(index)].as_py()
        return self._texts.take(index).to_numpy()

    def tolist(self) -> list[str]:
        texts: list[str] = self._texts.to_pylist()
        return texts


class Labels(FrozenStruct):
    """Every label of the events of a set, by row; those of one row in log order.

    Args:
        rows: Row of the labeled event.
        verdicts: FRAUD, GENUINE or NOT_KNOWN (for `unclear`).
        strengths: Strength of the source, 0 for the strongest (`events.definitions.SOURCES`).
        known_at_ms: Time at which the label became known.
        reasons: Code of the reason in `reason_texts`, -1 for none.
    """

    rows: Ints
    verdicts: Ints8
    strengths: Ints8
    known_at_ms: Ints
    reasons: Ints
    reason_texts: tuple[str, ...] = ()

    def take(self, rows: Ints | Bools) -> Labels:
        return Labels(
            self.rows[rows],
            self.verdicts[rows],
            self.strengths[rows],
            self.known_at_ms[rows],
            self.reasons[rows],
            self.reason_texts,
        )


class RecordedDecisions(FrozenStruct):
    """Recorded decision of each event; codes are -1 without one.

    Args:
        outcomes: Index of the outcome in `project.policy.OUTCOMES`.
        scores: Score of the decision, NaN for none.
        hits: For each rule that ever hit, by id, the rows at which it did, in effect or in shadow.
        stands_for: If the policy sampled would-be declines or approvals: the number of events that a row represents, 0
            for a decline that was not sampled, NaN for all others. None if it never did.
    """

    outcomes: Ints8
    scores: Floats
    hits: dict[str, Bools]
    stands_for: Floats | None = None


class TrainingSet(FrozenStruct):
    """Events of one type in log order with their model inputs.

    Args:
        as_of_ms: No event and no label in the set is later.
        times_ms: Event times, UTC milliseconds.
        keys: Codes of the entity in `capacity`, -1 for an event without a key.
        amounts_minor: Cost of missing a fraud (`missed_fraud` of the policy, else the event's amount), in minor units;
            0 if missing.
        inputs: Inputs of the model, in its order.
        slices: Further text columns by which metrics are split, by name.
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
        """Return how often each of these rows counts in metrics; None if each counts once."""
        stands_for = self.recorded.stands_for
        return None if stands_for is None else np.where(np.isnan(stands_for[rows]), 1.0, stands_for[rows])

    def verdicts_at(self, known_ms: int) -> Ints8:
        """Return the active verdict of each row by the labels known at a moment; NOT_KNOWN without one.

        A stronger source wins, within one source the later `known_at`, among equal times the later label.
        """
        active = labels_in_force(self.labels, known_ms, len(self))
        verdicts = np.full(len(self), NOT_KNOWN, np.int8)
        verdicts[active >= 0] = self.labels.verdicts[active[active >= 0]]
        return verdicts

    def take(self, rows: Ints) -> TrainingSet:
        """Select rows in ascending order."""
        new_row = np.full(len(self), -1, np.int64)
        new_row[rows] = np.arange(len(rows))
        labels = self.labels
        kept_labels = np.flatnonzero(new_row[labels.rows] >= 0)
        return TrainingSet(
            self.event,
            self.as_of_ms,
            self.ids[rows],
            self.seqs[rows],
            self.times_ms[rows],
            self.keys[rows],
            self.amounts_minor[rows],
            tuple(input_.take(rows) for input_ in self.inputs),
            replace(labels.take(kept_labels), rows=new_row[labels.rows[kept_labels]]),
            RecordedDecisions(
                self.recorded.outcomes[rows],
                self.recorded.scores[rows],
                {rule: hit[rows] for rule, hit in self.recorded.hits.items()},
                None if self.recorded.stands_for is None else self.recorded.stands_for[rows],
            ),
            {name: column[rows] for name, column in self.slices.items()},
        )


def labels_in_force(labels: Labels, known_ms: int, count: int) -> Ints:
    """Return the index in `labels` of the active label of each of `count` rows at a moment; -1 for none."""
    order = in_force_last(labels, known_ms)
    active = np.full(count, -1, np.int64)
    active[labels.rows[order]] = order
    return active


def in_force_last(labels: Labels, known_ms: int) -> Ints:
    """Return the indexes of the labels known at a moment, ordered so that each row's active label comes last."""
    known = np.flatnonzero(labels.known_at_ms <= known_ms)
    return known[np.lexsort((known, labels.known_at_ms[known], -labels.strengths[known].astype(np.int64)))]
