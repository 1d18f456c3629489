"""Read positions of a source in the log, and parts that a user had removed.

What is forgotten is read from its beginning again, or from where the settings say, as one that is new. The log keeps
the part with an empty offset, set where it was, so that a worker that read on meanwhile is not undone; and beside it,
under a source name of its own, where it had been read to and when that was forgotten.
"""

from __future__ import annotations

from msgspec.json import encode as to_json

from shroff.errors import UsageError, nearest
from shroff.json_types import TextDict, TextMapping
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import Batch, Log, Offset, Outbox, kept_offset

NOTHING = ""  # the offset of a part that was forgotten


class Forgotten(FrozenStruct):
    """A forgotten read position, and when it was reset, in UTC milliseconds."""

    offset: str
    at_ms: int


class PartRead(FrozenStruct):
    """A part of a source with its read position (empty if unread or reset) and its backlog.

    `waiting` is None where nobody was asked, or nobody says. `trouble` says why it cannot be read on from there.
    """

    part: str
    offset: str
    waiting: int | None = None
    trouble: str = ""
    forgotten: Forgotten | None = None


def known(offsets: TextMapping) -> TextDict:
    """The offsets of a log without parts that were forgotten."""
    return {part: offset for part, offset in offsets.items() if offset != NOTHING}


def parts_read(log: Outbox, source: str) -> list[PartRead]:
    """The parts of a source that the log knows, by name."""
    beside = _beside(source)
    told = {part: kept_offset(beside, part, text, Forgotten) for part, text in log.offsets(beside).items()}
    return [PartRead(part, at, forgotten=told.get(part)) for part, at in sorted(log.offsets(source).items())]


def forget(log: Log, source: str, part: str, now_ms: int) -> str:
    """Forget how far a part was read; gives where that was. Durable on return.

    Args:
        log: Opened for writing, so no worker leads it.

    Raises: UsageError where it was not read; OvertakenError where another process took the log over meanwhile.
    """
    offsets = known(log.offsets(source))
    if part not in offsets:
        hint = nearest(part, offsets) or (f"There is {', '.join(sorted(offsets)[:10])}." if offsets else "None was.")
        raise UsageError(f"no part {part!r} of the source was read. {hint}")
    before = offsets[part]
    told = to_json(Forgotten(before, now_ms)).decode()
    log.append(Batch(offsets=[Offset(source, part, NOTHING, before), Offset(_beside(source), part, told)]))
    return before


def _beside(source: str) -> str:
    """Key under which the log stores reset positions of a source."""
    return f"forgotten:{source}"
