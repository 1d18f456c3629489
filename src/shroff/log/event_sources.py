"""By which source events came, kept among the log's offsets: from which place on it is another one.

A commit that brings events of the same source as the one before writes nothing. So a log with one source has one such
offset, and logs of earlier versions need no other tables: their events came by a source that nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from shroff.events.intake import READ
from shroff.streams.log import Offset, Outbox
from shroff.streams.pull import PULLED
from shroff.streams.push import HOOKS

EVENT_SOURCES: Final = "event sources"  # among the sources of offsets
NEWEST: Final = "newest"  # its part that has the source of the last event
POSTED: Final = "http"  # where events stand that were posted
API: Final = "api"
FILES: Final = "files"
UNKNOWN: Final = ""
_Change = tuple[int, str]  # from this place on events came by this source


class ComingBy:
    """Notes at which places of a batch the source is another one than before.

    Args:
        newest: The source of the event before this batch.
        by: That of events which were neither posted, nor pushed, nor pulled, nor read by the name of their source.
    """

    def __init__(self, newest: str, by: str) -> None:
        self.newest, self._by = newest, by
        self.where: str | None = None  # what the last event's submission says of where it stood
        self._changes: list[_Change] = []

    def note(self, seq: int, where: str) -> None:
        """An event of this place stood there; where that is the same as of the one before, nothing has to be noted."""
        self.where = where
        name = source_at(where, self._by)
        if name != self.newest:
            self.newest = name
            self._changes.append((seq, name))

    def offsets(self) -> list[Offset]:
        """Offsets to commit with the batch."""
        if not self._changes:
            return []
        told = msgspec.json.encode(self._changes).decode()
        return [Offset(EVENT_SOURCES, f"{self._changes[0][0]:019}", told), Offset(EVENT_SOURCES, NEWEST, self.newest)]


def source_at(where: str, by: str) -> str:
    """The name of the source of what stood there.

    >>> [source_at(where, "kafka") for where in ("hooks/partner", "pulled/app/2026-03-01", "payments/0", "http")]
    ['partner', 'app', 'kafka', 'api']
    >>> source_at("read/eu/payments/0", "read")
    'eu'
    """
    if where == POSTED:
        return API
    kind, _, rest = where.partition("/")
    return rest.partition("/")[0] if kind in {HOOKS, PULLED, READ} else by


class EventSources(NamedTuple):
    """By which source the events of a log came: from the place `starts[i]` on by `names[i]`."""

    starts: NDArray[np.int64]
    names: list[str]

    def of(self, seqs: Iterable[int] | NDArray[np.int64]) -> list[str | None]:
        """The source of each place; None where nobody knows."""
        at = np.searchsorted(self.starts, np.asarray(seqs, np.int64), side="right") - 1
        return [(self.names[one] or None) if one >= 0 else None for one in at.tolist()]


def sources_of(log: Outbox) -> EventSources:
    """By which source the events of a log came. Cost: 1 µs for each time that the source changed."""
    decode = msgspec.json.Decoder(list[_Change]).decode
    stored: Any = sorted((part, text) for part, text in log.offsets(EVENT_SOURCES).items() if part != NEWEST)
    changes = list(chain.from_iterable(decode(text) for _, text in stored))
    return EventSources(np.array([seq for seq, _ in changes], np.int64), [name for _, name in changes])
