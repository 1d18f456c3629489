"""Messages of the contract of sources: written, polled, and compared."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from msgspec.json import encode as to_json

from shroff.errors import SchemasAwayError
from shroff.events.formats.lines import Line
from shroff.events.formats.wire import JsonDecoder
from shroff.json_types import TextDict, TextMapping
from shroff.streams.source import PolledMessages, Source

UNREADABLE = (b"\xff\xfe\x00", b"{", b"[1]", b'"payment"', bytes(range(256)), b'{"n": 1, "n": 2}')
HOUR_MS = 3_600_000
SECONDS_ENOUGH = 120.0  # until the next message comes, on a machine with much else to do
QUIET_S = 0.3  # for which a source that has given all is asked for more; tests of one in memory set less


class AwayAtTimes(JsonDecoder):
    """A decoder that cannot read some messages while `is_away`."""

    def __init__(self, away: set[int]) -> None:
        self._away = away
        self.is_away = True

    def line(self, number: int, value: bytes) -> Line:
        found = super().line(number, value)
        if self.is_away and found.columns is not None and found.columns["n"] in self._away:
            raise SchemasAwayError("the schema registry at http://registry.example:8081 cannot be reached")
        return found


def message(n: int, *, at: int | None = None, text: str = "") -> bytes:
    """Return a message with a number, and a time in milliseconds (default: its number)."""
    return to_json({"n": n, "at": n if at is None else at, "text": text})


def messages(*numbers: int) -> list[bytes]:
    return list(map(message, range(*numbers)))


def moment(line: Line) -> int | None:
    """When a message happened."""
    at = None if line.columns is None else line.columns.get("at")
    return at if isinstance(at, int) else None


def lines(found: Sequence[PolledMessages]) -> list[Line]:
    """All lines in the order in which they came."""
    return [line for taken in found for line in taken.lines]


def numbers(found: Sequence[PolledMessages], part: str) -> list[Any]:
    """The numbers of a part's messages."""
    return [
        line.columns["n"] for taken in found if taken.part == part for line in taken.lines if line.columns is not None
    ]


def offsets_of(found: Sequence[PolledMessages]) -> TextDict:
    """Behind what was read of each part."""
    return {taken.part: taken.offset for taken in found}


def places(found: Sequence[PolledMessages]) -> list[tuple[str, int]]:
    """Where messages were, in the order in which they came."""
    return [(taken.part, line.number) for taken in found for line in taken.lines]


def read(source: Source, count: int, limit: int = 4_096, *, is_all: bool = True) -> list[PolledMessages]:
    """Poll until so many lines came, and no more of them; with `is_all` the source must have no more."""
    found: list[PolledMessages] = []
    came = 0
    until_s = time.monotonic() + SECONDS_ENOUGH
    while came < count:
        assert time.monotonic() < until_s, f"{came} of {count} messages came: {source.health()}"
        if taken := source.poll(limit if is_all else min(limit, count - came), 1.0):
            found += taken
            came += len(lines(taken))
            until_s = time.monotonic() + SECONDS_ENOUGH
    if is_all:
        found += source.poll(limit, QUIET_S)
        assert len(lines(found)) == count
    return found


def read_from(source: Source, offsets: TextMapping) -> None:
    """Start, and poll a few times."""
    source.start(offsets)
    for _ in range(5):
        source.poll(10, 0.2)
