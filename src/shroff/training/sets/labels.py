"""Labels of a training set, collected while a history or a file of labels is read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from shroff.arrays import Ints, Ints8
from shroff.events.definitions import SOURCES
from shroff.events.labels import LabelEvent, LogEvent, counted_verdict
from shroff.events.validation import LabelInput
from shroff.log.history import label_key
from shroff.models.sets import FRAUD, GENUINE, NOT_KNOWN, Labels, in_force_last

if TYPE_CHECKING:
    import pyarrow as pa

LABELS = ("fraud", "genuine", "unclear", "none")  # of an event, numbered by `label_codes`
FRAUD_LABEL, GENUINE_LABEL, UNCLEAR_LABEL, NO_LABEL = range(len(LABELS))
Codes = Ints8
VERDICT_CODES = {"fraud": FRAUD, "genuine": GENUINE, "unclear": NOT_KNOWN}
CODES = (GENUINE_LABEL, FRAUD_LABEL, UNCLEAR_LABEL)  # by verdict: GENUINE, FRAUD, NOT_KNOWN


class GatheredLabels:
    """The labels of one event type in log order, before their rows are known."""

    def __init__(self, event: str, friendly_reasons: Collection[str] = ()) -> None:
        self._event, self._friendly = event, frozenset(friendly_reasons)
        self._ids: list[str] = []
        self._verdicts: list[int] = []
        self._strengths: list[int] = []
        self._known_at_ms: list[int] = []
        self._reasons: list[str | None] = []

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, id_: str, verdict: str, source: str, known_at_ms: int, reason: str | None) -> None:
        self._ids.append(id_)
        self._verdicts.append(VERDICT_CODES[counted_verdict(verdict, reason, self._friendly)])
        self._strengths.append(SOURCES.index(source))
        self._known_at_ms.append(known_at_ms)
        self._reasons.append(reason)

    def add_events(self, labels: Iterable[LogEvent]) -> None:
        for label in labels:
            if isinstance(label, LabelEvent) and label.of.type == self._event:
                _, verdict, source, _, reason, _ = label.values
                reason_text = None if reason is None else str(reason)
                self.add(label.of.id, str(verdict), str(source), label.time_ms, reason_text)

    def of_rows(self, ids: pa.ChunkedArray, times_ms: Ints) -> Labels:
        """Return the labels of events with these ids and times, sorted by row.

        Leave out labels of other events, and those known before their event happened, which validation refuses.

        Cost: one look-up per id; memory for the labels alone.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        event_ids = pa.array(self._ids, pa.string()).dictionary_encode()
        row_of_event = np.full(len(event_ids.dictionary) + 1, -1, np.int64)
        matches = pc.index_in(ids, value_set=event_ids.dictionary).fill_null(-1)
        event_of_row = matches.to_numpy().astype(np.int64)
        labelled = np.flatnonzero(event_of_row >= 0)
        row_of_event[event_of_row[labelled]] = labelled
        rows = row_of_event[event_ids.indices.to_numpy(zero_copy_only=False).astype(np.int64)]
        known_at_ms = np.array(self._known_at_ms, np.int64)
        is_kept = rows >= 0
        is_kept[is_kept] = known_at_ms[is_kept] >= times_ms[rows[is_kept]]
        kept_labels = np.flatnonzero(is_kept)
        kept_labels = kept_labels[np.argsort(rows[kept_labels], kind="stable")]
        reasons = [self._reasons[index] for index in kept_labels.tolist()]
        texts = sorted({reason for reason in reasons if reason is not None})
        codes = {text: code for code, text in enumerate(texts)}
        return Labels(
            rows[kept_labels],
            np.array(self._verdicts, np.int8)[kept_labels],
            np.array(self._strengths, np.int8)[kept_labels],
            known_at_ms[kept_labels],
            np.array([-1 if reason is None else codes[reason] for reason in reasons], np.int64),
            tuple(texts),
        )


def label_codes(labels: Labels, as_of_ms: int, count: int) -> Codes:
    """Return the label of each of `count` rows as known at a moment, as an index into `LABELS`."""
    order = in_force_last(labels, as_of_ms)
    codes = np.full(count, NO_LABEL, np.int8)
    codes[labels.rows[order]] = np.array(CODES, np.int8)[labels.verdicts[order]]
    return codes


def rows_of(wanted_seqs: Sequence[int] | Ints, seqs: Ints) -> Ints:
    """Return the rows of sequence numbers among the ascending `seqs`; -1 if absent."""
    rows = np.searchsorted(seqs, wanted_seqs)
    return np.where(np.append(seqs, -1)[rows] == wanted_seqs, rows, -1)


def in_order(labels: Iterable[LabelInput]) -> list[LabelInput]:
    """Return labels sorted by `known_at`, without duplicates."""
    unique: dict[object, LabelInput] = {}
    for label in sorted(labels, key=attrgetter("known_at_ms")):
        unique.setdefault(
            (*label_key(label), label.verdict, label.source, label.known_at_ms, label.reason, label.amount), label
        )
    return list(unique.values())
