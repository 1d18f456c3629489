"""Files of which no event type accepted a line, kept among the log's offsets until one of that name is accepted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from shroff.events.unmatched import Unmatched
from shroff.streams.log import Batch, Log, Offset

UNMATCHED: Final = "unmatched"  # among the sources of offsets


class PassedOver(msgspec.Struct, frozen=True):
    """How many lines a file had, and when it was read."""

    lines: int
    at_ms: int


def unmatched_of(log: Log) -> dict[str, PassedOver]:
    """The files of which nothing was accepted, by their names."""
    return {name: msgspec.json.decode(text, type=PassedOver) for name, text in log.offsets(UNMATCHED).items() if text}


def note_unmatched(log: Log, files: Iterable[str], unmatched: Iterable[Unmatched], now_ms: int) -> None:
    """Keep which of these files were passed over, and forget it of the others. Raises: as the log's `append`."""
    known = log.offsets(UNMATCHED)
    now = {one.source: msgspec.json.encode(PassedOver(one.lines, now_ms)).decode() for one in unmatched}
    offsets = [Offset(UNMATCHED, name, now.get(name, "")) for name in files if now.get(name, "") != known.get(name, "")]
    if offsets:
        log.append(Batch(offsets=offsets))
