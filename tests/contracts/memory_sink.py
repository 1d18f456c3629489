"""A sink in memory: what the contract of sinks is held against, and what delivery is tried with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shroff.errors import TransientError
from shroff.streams.sink import AwayError, Outgoing, Undelivered


@dataclass
class Place:
    """Where rows arrive, by their keys, and what the sink is told to do of the next sends."""

    rows: dict[str, Outgoing] = field(default_factory=dict)
    sends: list[list[Outgoing]] = field(default_factory=list)
    mark: str = ""
    owner: int = 0
    is_away: bool = False
    errors: list[BaseException] = field(default_factory=list)
    refused: dict[str, Undelivered] = field(default_factory=dict)  # by key, whenever it comes
    opened: int = 0
    closed: int = 0

    @property
    def bodies(self) -> list[bytes]:
        return [row.body for row in self.rows.values()]


class PlainSink:
    """Keeps one row for each key, and no marks."""

    wants_fields = False
    places_max = 1_000

    def __init__(self, place: Place) -> None:
        self.place = place
        place.opened += 1

    def send(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        self.place.sends.append(list(rows))
        if self.place.errors:
            raise self.place.errors.pop(0)
        if self.place.is_away:
            raise AwayError("nobody is there", 0)
        refused = []
        for row in rows:
            against = self.against(row)
            if against is not None and against.may_pass:
                return [*refused, against]
            if against is None:
                self.place.rows[row.key] = row
            else:
                refused.append(against)
        return refused

    def against(self, row: Outgoing) -> Undelivered | None:
        if row.key in self.place.refused:
            return self.place.refused[row.key]._replace(row=row)
        return Undelivered(row, "it is poison") if row.body == b"poison" else None

    def close(self) -> None:
        self.place.closed += 1


class MemorySink(PlainSink):
    """The same with marks."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.number = 0

    def mark(self) -> str:
        if not self.number:
            self.place.owner += 1
            self.number = self.place.owner
        return self.place.mark

    def send_marked(self, rows: Sequence[Outgoing], mark: str) -> list[Undelivered]:
        if self.number != self.place.owner:
            raise TransientError("another process delivers to this sink as well")
        before = dict(self.place.rows)
        refused = self.send(rows)
        if refused:
            self.place.rows = before
        else:
            self.place.mark = mark
        return refused


class VolatileMemorySink(PlainSink):
    """A sink whose place may lose its rows and its mark."""

    def mark(self) -> str:
        return self.place.mark

    def set_mark(self, mark: str, before: str) -> bool:
        if self.place.mark != before:
            return False
        self.place.mark = mark
        return True
