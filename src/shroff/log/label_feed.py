"""Label feed of a log: event, verdict, source and time of each label."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from shroff.engine.stored import stored
from shroff.events.labels import VerdictInForce
from shroff.log.history import Said
from shroff.streams.log import LogReader

CUSTOMER = "customer"  # the source whose word is weak: it settles nothing


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
