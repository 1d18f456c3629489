"""Submissions in the order of their times, sorted outside memory."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from operator import itemgetter
from typing import IO, Any, Final

import msgspec

from shroff.events.event import Event
from shroff.events.intake import Submission

RUN_SIZE: Final = 200_000
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder()
_LENGTH_BYTES: Final = 4

Entry = tuple[int, int, Submission]


def in_order_of_time(submissions: Iterable[Submission], run_size: int = RUN_SIZE) -> Iterator[Submission]:
    """The submissions by event time, equal times as they came; what is no event comes first.

    Memory: `run_size` submissions; the rest lies in temporary files. Cost: O(n log n).
    """
    with ExitStack() as stack:
        runs: list[IO[bytes]] = []
        entries: list[Entry] = []
        for number, one in enumerate(submissions):
            if one.event is None:
                yield one
                continue
            entries.append((one.event.time_ms, number, one))
            if len(entries) >= run_size:
                runs.append(_spilled(entries, stack))
                entries = []
        entries.sort(key=itemgetter(0, 1))
        if not runs:
            yield from (one for _, _, one in entries)
            return
        runs.append(_spilled(entries, stack))
        for _, _, one in heapq.merge(*map(_entries, runs), key=itemgetter(0, 1)):
            yield one


def _spilled(entries: list[Entry], stack: ExitStack) -> IO[bytes]:
    """Write a sorted run to a temporary file, at its start again."""
    file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (the stack closes it)
    for time_ms, number, one in sorted(entries, key=itemgetter(0, 1)):
        assert one.event is not None
        packed = _ENCODER.encode(
            (time_ms, number, one.source, one.place, one.raw(), one.type, one.event.id, one.event.values)
        )
        file.write(len(packed).to_bytes(_LENGTH_BYTES) + packed)
    file.seek(0)
    return file


def _entries(file: IO[bytes]) -> Iterator[Entry]:
    while length := file.read(_LENGTH_BYTES):
        packed: Any = _DECODER.decode(file.read(int.from_bytes(length)))
        time_ms, number, source, place, raw, type_, id_, values = packed
        event = Event(type_, id_, time_ms, tuple(values))
        yield time_ms, number, Submission(source, place, partial(_same, raw), type_, event)


def _same(raw: bytes) -> bytes:
    return raw
