"""Flags as they are read: with the accuracy that follows from the labels of their events; and labels as they are heard.

A hit becomes a flag in `engine.verdicts.record_hits`. A flag is kept at the place of the event that raised it and
never changed; whether it was right is said by the verdict in force of that event, wherever a flag is shown, so
nothing has to be kept in step.
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

CUSTOMER = "customer"  # the source whose word is weak: it settles nothing
ACCURATE = "ACCURATE_PREDICTION"
FALSE_ALARM = "FALSE_ALARM"
ACCURACY = {"fraud": ACCURATE, "genuine": FALSE_ALARM}


class JudgedFlag(FrozenStruct):
    """A flag with its accuracy and the time of that: when the active label became known, or the flag was raised."""

    row: FlagRow
    accuracy: str
    updated_ms: int
    fields: bytes | None = None  # of the event that raised it, as JSON, where that is in the log

    @property
    def time_ms(self) -> int:
        """Time of the flag: that of its event."""
        return self.row.time_ms

    @property
    def document(self) -> Flag:
        """The flag as it is answered and exported."""
        return flag_document(self.row, self.accuracy, self.updated_ms)


def flags(log: LogReader, as_of_ms: int | None = None, size: int = 4_096) -> Iterator[list[JudgedFlag]]:
    """All flags in log order, in lists, by the labels that were known at a moment (`now_of`: now), or by all of them.

    Cost: a pass over the log's labels before the first flag; 3 µs a label. Memory: the verdict in force of each
    labeled event.
    """
    in_force: dict[str, VerdictInForce] | None = None
    for rows in log.flags_after(size=size):
        in_force = verdicts(log, as_of_ms) if in_force is None else in_force
        there = log.records_at({row.seq for row in rows})
        yield [judged(row, in_force.get(row.event), there.get(row.seq)) for row in rows]


def verdicts(log: LogReader, as_of_ms: int | None = None, after: int = 0) -> dict[str, VerdictInForce]:
    """The verdict in force of each event with a label behind a place, by its name such as `payment/p-1`.

    The labels of an event all stand behind it.
    """
    found: dict[str, VerdictInForce] = {}
    _take(found, heard(log, after), as_of_ms)
    return found


class VerdictsInForce:
    """Active verdicts, followed along a log that another process writes. Thread-safe.

    Cost: 3 µs for each label since it was asked last. Memory: the verdict in force of each labeled event.
    """

    def __init__(self) -> None:
        self._seq = 0
        self._found: dict[str, VerdictInForce] = {}
        self._lock = Lock()

    def of(self, log: Log, events: Collection[str]) -> dict[str, VerdictInForce]:
        """The verdicts of these events as the log has them now; an event without one is left out."""
        with self._lock:
            last = log.last_seq()
            if last < self._seq:  # another log
                self._seq = 0
                self._found = {}
            _take(self._found, heard(log, self._seq, last))
            self._seq = last
            return {name: self._found[name] for name in events if name in self._found}


def _take(found: dict[str, VerdictInForce], labels: Iterable[FeedLabel], as_of_ms: int | None = None) -> None:
    """Apply these labels in log order."""
    for label in labels:
        if (as_of_ms is None or label.known_at_ms <= as_of_ms) and label.takes_over(found.get(label.event)):
            found[label.event] = label


def judged(row: FlagRow, standing: VerdictInForce | None, record: Record | None = None) -> JudgedFlag:
    """A flag by the verdict in force of its event, with the fields of that."""
    fields = None if record is None else record.body
    if standing is None:
        return JudgedFlag(row, PENDING, row.time_ms, fields)
    return JudgedFlag(row, ACCURACY.get(standing.verdict, PENDING), standing.known_at_ms, fields)


# ---- labels, as they are heard


class FeedLabel(VerdictInForce):
    """One label of the log. `event` is its full id, such as `payment/p-1`."""

    seq: int
    event: str

    @property
    def named(self) -> tuple[str, str]:
        """Its event by type and id."""
        type_, _, id_ = self.event.partition("/")
        return type_, id_

    @property
    def is_denial(self) -> bool:
        """Whether a customer says that it was not them, or that the decision is wrong (`unclear`)."""
        return self.source == CUSTOMER and self.verdict in {"fraud", "unclear"}


def heard(log: LogReader, after: int = 0, upto: int | None = None) -> Iterator[FeedLabel]:
    """Labels of `after < seq <= upto`, in order. Cost: 0.1 µs per record without a label, 5 µs per label.

    Raises: StorageError where the log is damaged.
    """
    for records in log.labels_after(after, upto):
        for record in records:
            said = stored(record.body, Said, f"the label at sequence number {record.seq}")
            yield FeedLabel(said.verdict, said.source, record.time_ms, record.seq, record.id.rpartition("#")[0])


def standings_before(log: LogReader, labels: Collection[FeedLabel], after: int) -> dict[str, VerdictInForce]:
    """Active labels of the events of some labels before these, by the labels behind a place, by events.

    Events without a label before are left out. Cost: as `heard`, of all in between.
    """
    until = {label.event: label.seq for label in labels}
    found: dict[str, VerdictInForce] = {}
    for label in heard(log, after, max(until.values(), default=0)):
        if label.seq < until.get(label.event, 0) and label.takes_over(found.get(label.event)):
            found[label.event] = label
    return found
