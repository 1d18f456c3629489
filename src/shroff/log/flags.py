"""Flags with the accuracy that follows from the labels of their events; and labels in log order.

A hit becomes a flag in `engine.verdicts.record_hits`. A flag is stored under the sequence number of its event and
never changed. Its accuracy is computed from the event's active verdict whenever it is shown, so nothing can get out
of step.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from threading import Lock

from shroff.engine.stored import stored
from shroff.events.labels import VerdictInForce
from shroff.log.history import Said
from shroff.runtime.values import FrozenStruct
from shroff.streams.delivering_rows import Flag, flag_document
from shroff.streams.log import PENDING, FlagRow, Log, LogReader, Record

CUSTOMER = "customer"  # the weakest source: its labels settle nothing
ACCURATE = "ACCURATE_PREDICTION"
FALSE_ALARM = "FALSE_ALARM"
ACCURACY = {"fraud": ACCURATE, "genuine": FALSE_ALARM}


class JudgedFlag(FrozenStruct):
    """A flag with its accuracy, and when that was last updated: by the active label, or when the flag was raised."""

    row: FlagRow
    accuracy: str
    updated_ms: int
    fields: bytes | None = None  # of its event, as JSON, if that is in the log

    @property
    def time_ms(self) -> int:
        return self.row.time_ms

    @property
    def document(self) -> Flag:
        return flag_document(self.row, self.accuracy, self.updated_ms)


def flags(log: LogReader, as_of_ms: int | None = None, size: int = 4_096) -> Iterator[list[JudgedFlag]]:
    """Yield all flags in log order, in lists, by the labels known at a time (`now_of`: now) or by all labels.

    Cost: a pass over the log's labels before the first flag; 3 µs a label. Memory: one verdict for each labeled event.
    """
    in_force: dict[str, VerdictInForce] | None = None
    for rows in log.flags.after(size=size):
        in_force = verdicts(log, as_of_ms) if in_force is None else in_force
        records = log.records_at({row.seq for row in rows})
        yield [judged(row, in_force.get(row.event), records.get(row.seq)) for row in rows]


def verdicts(log: LogReader, as_of_ms: int | None = None, after: int = 0) -> dict[str, VerdictInForce]:
    """Return the active verdict of each event with a label after a sequence number, by name such as `payment/p-1`.

    All labels of an event come after it in the log.
    """
    by_event: dict[str, VerdictInForce] = {}
    _take(by_event, heard(log, after), as_of_ms)
    return by_event


class VerdictsInForce:
    """Active verdicts, followed along a log that another process writes. Thread-safe.

    Cost: 3 µs for each label since the last call. Memory: one verdict for each labeled event.
    """

    def __init__(self) -> None:
        self._seq = 0
        self._found: dict[str, VerdictInForce] = {}
        self._lock = Lock()

    def of(self, log: Log, events: Collection[str]) -> dict[str, VerdictInForce]:
        """Return the current verdicts of these events; an event without one is left out."""
        with self._lock:
            last = log.last_seq()
            if last < self._seq:  # another log
                self._seq = 0
                self._found = {}
            _take(self._found, heard(log, self._seq, last))
            self._seq = last
            return {name: self._found[name] for name in events if name in self._found}


def _take(verdicts: dict[str, VerdictInForce], labels: Iterable[FeedLabel], as_of_ms: int | None = None) -> None:
    for label in labels:
        if (as_of_ms is None or label.known_at_ms <= as_of_ms) and label.takes_over(verdicts.get(label.event)):
            verdicts[label.event] = label


def judged(row: FlagRow, standing: VerdictInForce | None, record: Record | None = None) -> JudgedFlag:
    fields = None if record is None else record.body
    if standing is None:
        return JudgedFlag(row, PENDING, row.time_ms, fields)
    return JudgedFlag(row, ACCURACY.get(standing.verdict, PENDING), standing.known_at_ms, fields)


# ---- labels in log order


class FeedLabel(VerdictInForce):
    """One label of the log. `event` is its full id, such as `payment/p-1`."""

    seq: int
    event: str

    @property
    def named(self) -> tuple[str, str]:
        type_, _, id_ = self.event.partition("/")
        return type_, id_

    @property
    def is_denial(self) -> bool:
        """Whether a customer denies the payment, or objects to the decision (`unclear`)."""
        return self.source == CUSTOMER and self.verdict in {"fraud", "unclear"}


def heard(log: LogReader, after: int = 0, upto: int | None = None) -> Iterator[FeedLabel]:
    """Yield the labels of `after < seq <= upto`, in order. Cost: 0.1 µs per other record, 5 µs per label.

    Raises: StorageError if the log is damaged.
    """
    for records in log.labels_after(after, upto):
        for record in records:
            body = stored(record.body, Said, f"the label at sequence number {record.seq}")
            yield FeedLabel(body.verdict, body.source, record.time_ms, record.seq, record.id.rpartition("#")[0])


def standings_before(log: LogReader, labels: Collection[FeedLabel], after: int) -> dict[str, VerdictInForce]:
    """Return, by event, the verdict that was active before each of these labels, by the labels after `after`.

    Events without an earlier label are left out. Cost: as `heard`, for everything in between.
    """
    until = {label.event: label.seq for label in labels}
    by_event: dict[str, VerdictInForce] = {}
    for label in heard(log, after, max(until.values(), default=0)):
        if label.seq < until.get(label.event, 0) and label.takes_over(by_event.get(label.event)):
            by_event[label.event] = label
    return by_event
