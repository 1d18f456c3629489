"""Decode the replies of a Redis stream, track the read position, and detect entries that were removed unread."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from msgspec.json import encode as to_json

from shroff.errors import StateError, UsageError
from shroff.plugins.operations import many
from shroff.plugins.values import FrozenStruct
from shroff_plugins.connectors.redis_server import pairs

FIRST = "0-0"  # before every entry
AGAIN = "Then 'shroff sources forget {}' resets it: duplicates are ignored"


class Position(FrozenStruct):
    """Read position in a stream: the id of the last entry, and the number of entries added to the stream until it.

    `count` is None while unknown. It shows exactly how many entries were removed unread.
    """

    id: str = FIRST
    count: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an offset as `str` writes it, or a bare id. Raises: StateError if it is invalid."""
        id_, _, count = text.partition("/")
        try:
            return cls("-".join(str(part) for part in order_of(id_)), int(count) if count else None)
        except ValueError:
            raise StateError(f"{text!r} is not an offset in a Redis stream, as 1700000000000-0/12 would be") from None

    def __str__(self) -> str:
        return self.id if self.count is None else f"{self.id}/{self.count}"


def order_of(id_: str) -> tuple[int, int]:
    """Return an id as a pair of numbers, which sorts like the entries."""
    ms, _, number = id_.partition("-")
    return int(ms), int(number or 0)


class StreamEntry(NamedTuple):
    """One entry: its id, and its names and values in turn."""

    id: str
    fields: Sequence[bytes]


class PendingSummary(FrozenStruct):
    """State of a stream: its entries, entries ever added, and three ids."""

    length: int
    added: int
    first: str
    last: str
    deleted: str  # largest id of an entry that was deleted by its id

    @classmethod
    def of(cls, reply: Any, stream: str) -> PendingSummary | None:
        """Read the answer of XINFO STREAM; None if there is no such stream.

        Raises: UsageError if the key is no stream, or the server is too old to count added entries.
        """
        if isinstance(reply, UsageError) and "no such key" in str(reply):
            return None
        if isinstance(reply, Exception):
            raise reply
        group = pairs(reply)
        if "entries-added" not in group:
            raise UsageError(
                f"the server of stream {stream} does not count what is added to it, as Redis does from 7.0 on."
            )
        ids = (
            group[name].decode() for name in ("recorded-first-entry-id", "last-generated-id", "max-deleted-entry-id")
        )
        return cls(group["length"], group["entries-added"], *ids)


def check_read(
    stream: str,
    position: Position,
    entries_read: Sequence[StreamEntry],
    summary: PendingSummary | None,
    *,
    is_all: bool,
    is_there: bool,
) -> Position:
    """Return the position after entries that were read in one atomic step with the stream's summary.

    Entries that were added after `position`, were not read and can no longer be read were removed unread. Their number
    is exact in two cases: all entries were read, or the stream now begins after `position`.

    Args:
        position: The position before the read.
        is_all: Whether the read has reached the end of the stream.
        is_there: Whether the entry at `position` is still in the stream.

    Raises: StateError if entries were removed unread, or this is not the stream that was read before.
    """
    if summary is None:
        if position.id == FIRST:
            return Position(FIRST, position.count or 0)
        raise _other_stream_error(stream, position, "it no longer exists")
    if order_of(summary.last) < order_of(position.id):
        raise _other_stream_error(stream, position, f"it ends at {summary.last}")
    is_untrimmed = summary.length and order_of(summary.first) <= order_of(position.id)
    if not is_there and is_untrimmed and order_of(summary.deleted) < order_of(position.id):
        raise _other_stream_error(stream, position, "it never had that entry")
    count_before = _counted_before(position, len(entries_read), summary, is_all=is_all)
    last = entries_read[-1].id if entries_read else position.id
    if count_before is None:
        return Position(last)
    if count_before + len(entries_read) > summary.added:
        raise _other_stream_error(
            stream, position, f"{count_before:,} entries of it were read, and {summary.added:,} were ever added"
        )
    added_after = summary.added - count_before
    present = added_after
    if is_all:
        present = len(entries_read)
    elif order_of(summary.first) > order_of(position.id):
        present = summary.length
    if present < added_after:
        raise _removed_error(stream, position, added_after - present)
    return Position(last, count_before + len(entries_read))


def _counted_before(position: Position, read_count: int, summary: PendingSummary, *, is_all: bool) -> int | None:
    """Return how many entries had been added up to `position`, if need be from the summary; None if unknown."""
    if position.count is not None:
        return position.count
    if position.id == FIRST:
        return summary.added - summary.length
    return summary.added - read_count if is_all else None


def _removed_error(stream: str, position: Position, count: int) -> StateError:
    removed = many(count, "entry was", "entries were")
    return StateError(
        f"stream {stream}: {removed} removed after {position.id} before shroff read them, by trimming or deletion. "
        f"Add them from another copy with 'shroff ingest'. {AGAIN.format(stream)}. Trim only entries "
        f"that were read: 'trim: true' in the source does that"
    )


def _other_stream_error(stream: str, position: Position, reason: str) -> StateError:
    return StateError(
        f"stream {stream} is not the one that was read up to {position.id}: {reason}. It was emptied, or its server "
        f"went back to an earlier state; entries that were added since may be missing here. "
        f"Bring those in with 'shroff ingest'. {AGAIN.format(stream)}"
    )


def fields_json(fields: Sequence[bytes]) -> bytes:
    """Write an entry that is no message as JSON: a list of pairs of name and value, as base64 if not UTF-8."""
    decoded = [_decode(field) for field in fields]
    return to_json({"fields": [list(pair) for pair in zip(decoded[::2], decoded[1::2], strict=True)]})


def _decode(value: bytes) -> object:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def entries(reply: Any) -> dict[str, list[StreamEntry]]:
    """Read the answer of XREAD by stream. An entry that was deleted meanwhile has no fields."""
    return {
        name.decode(): [StreamEntry(id_.decode(), fields or ()) for id_, fields in entry_list]
        for name, entry_list in reply or ()
    }
