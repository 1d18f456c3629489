"""Read positions of a source in the log, and partitions whose position a user reset.

A reset partition is read from its start again, or from where the settings say, like a new one. The log keeps it with an
empty offset, set only if the old offset is unchanged, so that a worker that read on meanwhile is not undone. Old offset
and time of the reset are stored beside it, under a source name of their own.
"""

from __future__ import annotations

from msgspec.json import encode as to_json

from shroff.errors import UsageError, nearest
from shroff.json_types import TextDict, TextMapping
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import Batch, Log, Offset, kept_offset

NOTHING = ""  # offset of a partition that was reset


class Forgotten(FrozenStruct):
    """A forgotten read position, and when it was reset, in UTC milliseconds."""

    offset: str
    at_ms: int


class PartRead(FrozenStruct):
    """A partition of a source with its read position (empty if unread or reset) and its backlog.

    `waiting` is None if the source was not queried or does not know. `trouble` says why reading cannot continue there.
    """

    part: str
    offset: str
    waiting: int | None = None
    trouble: str = ""
    forgotten: Forgotten | None = None


def known(offsets: TextMapping) -> TextDict:
    """Return the offsets of a log without partitions that were reset."""
    return {part: offset for part, offset in offsets.items() if offset != NOTHING}


def parts_read(log: Log, source: str) -> list[PartRead]:
    """Return the partitions of a source that the log knows, by name."""
    beside = _beside(source)
    resets = {part: kept_offset(beside, part, text, Forgotten) for part, text in log.offsets.of(beside).items()}
    return [PartRead(part, at, forgotten=resets.get(part)) for part, at in sorted(log.offsets.of(source).items())]


def forget(log: Log, source: str, part: str, now_ms: int) -> str:
    """Reset the read position of a partition; return the old one. Durable on return.

    Args:
        log: Open for writing, so no worker leads it.

    Raises: UsageError if the partition was not read; OvertakenError if another process took the log over meanwhile.
    """
    offsets = known(log.offsets.of(source))
    if part not in offsets:
        hint = nearest(part, offsets) or (f"There is {', '.join(sorted(offsets)[:10])}." if offsets else "None was.")
        raise UsageError(f"no part {part!r} of the source was read. {hint}")
    old_offset = offsets[part]
    reset = to_json(Forgotten(old_offset, now_ms)).decode()
    log.append(Batch(offsets=[Offset(source, part, NOTHING, old_offset), Offset(_beside(source), part, reset)]))
    return old_offset


def _beside(source: str) -> str:
    return f"forgotten:{source}"
