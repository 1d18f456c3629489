"""Read live events from the streams of a Redis server by their ids, without consumer groups.

The log stores the offsets, so the positions of a consumer group would be a second count. An offset is the id of the
last entry read, the number of entries added to the stream until it, and after a `~` the times of the last entries
(`streams.merge`).
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from msgspec import Struct, field

from shroff.errors import SchemasAwayError, StateError, TransientError, UsageError
from shroff.json_types import TextMapping
from shroff.plugins.adapters import (
    Decoder,
    Health,
    Line,
    Merge,
    MergingSource,
    PartLag,
    PolledMessages,
    Run,
    System,
    number_of_entry,
    split_offset,
    stored_offset,
)
from shroff.plugins.log import Refused
from shroff_plugins.connectors.redis_reader import (
    FIRST,
    PendingSummary,
    Position,
    StreamEntry,
    check_read,
    entries,
    fields_json,
    order_of,
)
from shroff_plugins.connectors.redis_server import RedisServer, Words

LEASE_MS = 5_000
WAIT_MS = 1_000  # longest wait in the server, well below `redis_server.ANSWER_S`
AGAIN_S = 0.2  # between tries if nothing can be waited for
FIRST_COUNT = 256  # entries of a first read, whose size is unknown
READ_BYTES = 32 * 1024 * 1024  # target size of a read
COUNT_MAX = 4_096  # entries of a read
SEND_AT_ONCE = 500
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
_RENEW = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0"


class _RedisStream(Struct):
    """A stream and its read position; `type` is None if each message names its type."""

    stream: str
    type: str | None
    at: Position = field(default_factory=Position)  # of the last entry read
    added: int | None = None  # entries ever added to the stream, as last seen
    count: int = FIRST_COUNT  # entries of the next read, by the size of earlier ones
    entry_bytes: int = 1

    def wants(self, merge: Merge, limit: int) -> bool:
        waiting_lines = merge.lines(self.stream)
        return merge.needs(self.stream) or (waiting_lines < limit and waiting_lines * self.entry_bytes < READ_BYTES)

    def learn(self, new_entries: Sequence[StreamEntry]) -> None:
        """Adapt the size of the next read to the size of entries."""
        self.entry_bytes = sum(len(field) for entry in new_entries for field in entry.fields) // len(new_entries) or 1
        entry_limit = max(READ_BYTES // self.entry_bytes, 1)
        self.count = min(self.count * 2 if len(new_entries) == self.count else self.count, entry_limit, COUNT_MAX)


class RedisSource(MergingSource):
    """Keeps every promise of `streams.source.Source` over the streams of one server, Redis 7.0 or later.

    A part is a stream. Messages are returned in order of event time across streams. Of several workers on the same
    streams only the one with the lease reads. The lease only saves work: the log itself accepts one writer.

    Args:
        system: The settings with their defaults: `url`, `streams` and others.
        decoder: Decodes messages, each of which is the only field of its entry.
        project: Name of the project, for the name of the lease.

    Raises: UsageError if the library is missing, or the settings contradict each other.
    """

    name = "redis"

    def __init__(self, system: System, decoder: Decoder, *, project: str, merge: Merge) -> None:
        self._server = RedisServer(system.text("url"), "source")
        self._decoder = decoder
        self.merge = merge
        self._field = system.text("field", "event").encode()
        self._dead_letters = system.text("dead_letters")
        self._trims = system.text("trim", "false") == "true"
        types = system.part_types(system.options["streams"].items(), "stream")
        self._parts = {stream: _RedisStream(stream, type_) for stream, type_ in types.items()}
        self._lease = f"shroff:{project}:reads:{','.join(sorted(self._parts))}"
        self._token = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(8)}"
        self._leads_until_s = 0.0
        self._errors = 0
        self._trouble = ""

    def __repr__(self) -> str:
        return f"<RedisSource {self._server.address}>"

    @property
    def takes_refused(self) -> bool:
        return bool(self._dead_letters)

    # ---- the contract

    def start(self, offsets: TextMapping) -> None:
        self.merge.clear()
        for part in self._parts.values():
            offset, count_before = split_offset(offsets.get(part.stream, FIRST))
            part.at = Position.parse(offset)
            part.added = None
            self.merge.open(part.stream, part.type, count_before)
        self._read_entries(dict.fromkeys(self._parts, 0))
        self._leads()

    def look(self, offsets: TextMapping) -> list[PartLag]:
        streams = {stream: Position.parse(split_offset(offsets.get(stream, FIRST))[0]) for stream in self._parts}
        replies = self._server.ask_all(
            [command for stream, position in streams.items() for command in _commands(stream, position.id, 1)],
            in_one_moment=True,
        )
        stream_replies = zip(streams.items(), replies[::3], replies[1::3], replies[2::3], strict=True)
        lags = []
        for (stream, position), read_reply, groups_reply, exists_reply in stream_replies:
            summary = PendingSummary.of(groups_reply, stream)
            self._parts[stream].added = 0 if summary is None else summary.added
            lags.append(_lag(stream, position, read_reply, summary, is_there=bool(exists_reply)))
        return sorted(lags)

    def acknowledge(self, offsets: TextMapping) -> None:
        """Do nothing: a stream has no state of its readers."""

    def trim(self, offsets: TextMapping) -> None:
        """Remove entries before these offsets, approximately, which is fast, if the setting `trim` is true."""
        if not self._trims:
            return
        for stream in self._parts.keys() & offsets.keys():
            minimum = Position.parse(split_offset(offsets[stream])[0]).id
            try:
                # Each call removes a limited number, so that other commands can run in between.
                while self._server.ask("XTRIM", stream, "MINID", "~", minimum):
                    pass
            except (TransientError, UsageError) as error:
                self._fail(error)

    def refuse(self, refused: Sequence[Refused]) -> None:
        for start in range(0, len(refused), SEND_AT_ONCE):
            batch = refused[start : start + SEND_AT_ONCE]
            try:
                replies = self._server.ask_all(
                    [
                        [
                            "XADD",
                            self._dead_letters,
                            "*",
                            *(part for pair in row.details().items() for part in pair),
                            self._field,
                            row.raw,
                        ]
                        for row in batch
                    ]
                )
            except UsageError as error:
                raise TransientError(str(error)) from None
            for reply in replies:
                if isinstance(reply, Exception):
                    raise TransientError(str(reply))

    def health(self) -> Health:
        behind = [
            part.added - part.at.count
            for part in self._parts.values()
            if part.added is not None and part.at.count is not None
        ]
        lag = sum(behind) + self.merge.count if len(behind) == len(self._parts) else None
        troubles = (self._trouble,) if self._trouble else ()
        merge = self.merge
        return Health(lag, self._errors, 0, troubles, merge.overtaken, merge.overtaken_ms)

    def close(self) -> None:
        if self._leads_until_s:
            with suppress(TransientError, UsageError):
                self._server.ask("EVAL", _RELEASE, 1, self._lease, self._token)
        self._leads_until_s = 0.0
        self._server.close()

    # ---- reading

    def fill(self, limit: int) -> list[PolledMessages] | None:
        try:
            if not self._leads():
                return None
            self.merge.doubt()
            parts = [part for part in self._parts.values() if part.wants(self.merge, limit)]
            entries_by_stream = self._read_entries({part.stream: part.count for part in parts})
        except (TransientError, UsageError) as error:
            self._fail(error)
            return None
        self._trouble = ""
        for part in parts:
            self._take_in(part, *entries_by_stream[part.stream])
        return []

    def _read_entries(self, counts: Mapping[str, int]) -> dict[str, tuple[list[StreamEntry], Position]]:
        """Read the next entries of streams, atomically with their summaries; return them with the new positions.

        With a count of 0 a stream is only checked.

        Raises: StateError as `check_read`; TransientError or UsageError from the server.
        """
        commands = [
            command
            for stream, count in counts.items()
            for command in _commands(stream, self._parts[stream].at.id, count)
        ]
        replies = iter(self._server.ask_all(commands, in_one_moment=True))
        entries_by_stream = {}
        for (stream, count), read_reply, groups_reply, exists_reply in zip(
            counts.items(), replies, replies, replies, strict=True
        ):
            part = self._parts[stream]
            summary = PendingSummary.of(groups_reply, stream)
            if isinstance(read_reply, Exception):
                raise read_reply
            new_entries = entries(read_reply).get(stream, [])
            is_all = len(new_entries) < max(count, 1)
            new_entries = new_entries[:count]
            to = check_read(
                stream, part.at, new_entries, summary, is_all=is_all, is_there=part.at.id == FIRST or bool(exists_reply)
            )
            part.added = 0 if summary is None else summary.added
            entries_by_stream[stream] = new_entries, to
        return entries_by_stream

    def _take_in(self, part: _RedisStream, new_entries: Sequence[StreamEntry], to: Position) -> None:
        """Add entries to the merge as lines, up to the first whose schema is not available."""
        lines: list[Line] = []
        is_all = len(new_entries) < part.count
        for entry in new_entries:
            try:
                line = self._line(entry)
            except SchemasAwayError as error:
                self._fail(error)
                count = None if to.count is None else to.count - len(new_entries) + len(lines)
                to = Position(new_entries[len(lines) - 1].id if lines else part.at.id, count)
                is_all = False
                break
            lines.append(line)
        part.at = to
        self.merge.add(part.stream, lines, [order_of(line.where)[0] for line in lines])
        if new_entries:
            part.learn(new_entries)
        if is_all:
            self.merge.pass_by(part.stream)  # the read has reached the end of the stream

    def taken(self, runs: Sequence[Run]) -> list[PolledMessages]:
        """Return runs of lines with the offset after each run; later lines of a part may still wait in the merge."""
        waiting_lines = {stream: self.merge.lines(stream) for stream, _, _ in runs}
        messages = []
        for stream, lines, offset_before in reversed(runs):
            part = self._parts[stream]
            position = Position(
                lines[-1].where, None if part.at.count is None else part.at.count - waiting_lines[stream]
            )
            waiting_lines[stream] += len(lines)
            messages.append(
                PolledMessages(
                    stream, part.type, self._decoder.format, lines, stored_offset(str(position), offset_before)
                )
            )
        return messages[::-1]

    def _line(self, entry: StreamEntry) -> Line:
        number = number_of_entry(entry.id)
        fields = entry.fields
        if len(fields) == 2 and fields[0] == self._field:
            line = self._decoder.line(number, fields[1])
        else:
            line = Line(number, fields_json(fields), None, self._no_message(fields))
        line.where = entry.id
        return line

    def _no_message(self, fields: Sequence[bytes]) -> str:
        field_name = self._field.decode()
        if self._field not in fields[::2]:
            return f"the entry has no field {field_name!r}, in which its message should be"
        return f"the entry has {len(fields) // 2} fields, and its message should be in {field_name!r} alone"

    def wait(self, wait_s: float) -> None:
        if self._trouble:
            time.sleep(min(AGAIN_S, wait_s))
            return
        wait_ms = max(1, min(int(wait_s * 1_000), WAIT_MS))
        streams = list(self._parts)
        ids = [self._parts[stream].at.id for stream in streams]
        try:
            self._server.ask("XREAD", "COUNT", 1, "BLOCK", wait_ms, "STREAMS", *streams, *ids)
        except (TransientError, UsageError) as error:
            self._fail(error)

    # ---- the lease

    def _leads(self) -> bool:
        """Whether this process has the lease of the streams; takes or renews it if due."""
        now_s = time.monotonic()
        if now_s < self._leads_until_s - LEASE_MS * 2 / 3_000:
            return True
        if self._leads_until_s and self._server.ask("EVAL", _RENEW, 1, self._lease, self._token, LEASE_MS):
            self._leads_until_s = now_s + LEASE_MS / 1_000
            return True
        if self._server.ask("SET", self._lease, self._token, "NX", "PX", LEASE_MS):
            self._leads_until_s = now_s + LEASE_MS / 1_000
            return True
        holder = self._server.ask("GET", self._lease) or b"nobody any more"
        self._leads_until_s = 0.0
        self._trouble = f"another worker reads these streams: {holder.decode('utf-8', 'replace').rpartition(':')[0]}"
        return False

    def _fail(self, error: Exception) -> None:
        self._errors = self._errors + 1
        self._trouble = str(error)


def _commands(stream: str, entry_id: str, count: int) -> list[Words]:
    """Return the atomic commands for a stream: entries after an id, its summary, and the entry of that id."""
    return [
        ("XREAD", "COUNT", max(count, 1), "STREAMS", stream, entry_id),
        ("XINFO", "STREAM", stream),
        ("XRANGE", stream, entry_id, entry_id),
    ]


def _lag(
    stream: str, position: Position, read_reply: Any, summary: PendingSummary | None, *, is_there: bool
) -> PartLag:
    if isinstance(read_reply, Exception):
        raise read_reply
    new_entries = entries(read_reply).get(stream, [])
    try:
        check_read(
            stream, position, new_entries, summary, is_all=not new_entries, is_there=position.id == FIRST or is_there
        )
    except StateError as error:
        return PartLag(stream, None, str(error))
    if summary is None or not new_entries:
        return PartLag(stream, 0)
    if position.id == FIRST:
        return PartLag(stream, summary.length)
    return PartLag(stream, None if position.count is None else summary.added - position.count)
