"""Submissions in the order of their times, sorted outside memory."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, pairwise
from operator import itemgetter
from typing import IO, Any, Final, Self

import msgspec

from shroff.errors import UsageError
from shroff.events.definitions import Events
from shroff.events.event import Event
from shroff.events.intake import Submission
from shroff.events.unique import Named
from shroff.events.validation import LabelInput

RUN_BYTES: Final = 64 * 1024 * 1024  # of packed submissions in memory; Python's objects around them take as much
BLOCK_BYTES: Final = 64 * 1024  # what of each run is in memory while runs are merged; unpacked about six times that
EARLIEST_MS: Final = -(1 << 63)  # before any event
_LENGTH_BYTES: Final = 8
_ARRAY_OF: Final = b"\xdd"  # msgpack: an array, whose length follows in four bytes
_COUNT_BYTES: Final = 4

# Time, number, source, place, the bytes that are kept, type, id; a label has none, and its fields in place of values;
# what is personal, the number of the header.
_Entry = tuple[int, int, str, str, bytes, str, str | None, tuple[Any, ...], tuple[Named, ...], int]
_Packed = tuple[int, int, bytes]  # time, number, all of it
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(list[_Entry])


def in_order_of_arrival(submissions: Iterator[Submission], events: Events) -> Iterator[Submission]:
    """The submissions of a file as they came, by what mappings say of it; an event without that at its time."""
    return in_order_of_time(submissions) if events.has_arrivals else submissions


def merged_by_arrival(files: Iterable[Iterable[Submission]]) -> Iterator[Submission]:
    """Files whose submissions are in order of arrival, as one; what is no event stays behind the one before it."""
    return (submission for _, submission in heapq.merge(*map(_dated, files), key=itemgetter(0)))


def _dated(submissions: Iterable[Submission]) -> Iterator[tuple[int, Submission]]:
    last_ms = EARLIEST_MS
    for submission in submissions:
        moment_ms = submission.moment_ms
        last_ms = last_ms if moment_ms is None else moment_ms
        yield last_ms, submission


def in_order_of_time(submissions: Iterable[Submission], run_bytes: int = RUN_BYTES) -> Iterator[Submission]:
    """The submissions by time, labels by `known_at`, equal times as they came; what is neither comes first.

    Where a mapping says when they arrived, by that (`Submission.moment_ms`).

    Runs of about `run_bytes` are sorted in memory and written one behind the other into a
    temporary file. It has no name, so it is gone however the process ends. What fits into one
    run stays in memory.

    Raises: UsageError where the temporary file cannot be written; TMPDIR says where it lies.
    Memory: twice `run_bytes`, and 0.5 MiB for each run; on disk what the submissions come to. Cost: O(n log n).
    """
    with _Runs() as runs:
        packed: list[_Packed] = []
        headers: dict[str, int] = {}
        size = 0
        for number, submission in enumerate(submissions):
            time_ms = submission.moment_ms
            if time_ms is None:
                yield submission
                continue
            header = headers.setdefault(submission.header, len(headers))
            entry = _ENCODER.encode((time_ms, number, *_fields(submission), header))
            packed.append((time_ms, number, entry))
            size += len(entry)
            if size >= run_bytes:
                runs.add(packed)
                packed, size = [], 0
        packed.sort()
        # Numbers differ, so no comparison looks behind them.
        known = list(headers)
        for kept in heapq.merge(*runs.entries(), _entries(_blocks(packed))):
            yield _submission(kept, known)


class _Runs:
    """Sorted runs, one behind the other in a temporary file, which is there once it is needed."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._ends = [0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, packed: list[_Packed]) -> None:
        """Sort and write one more run."""
        packed.sort()
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed in `__exit__`)
            for block in _blocks(packed):
                self._file.write(len(block).to_bytes(_LENGTH_BYTES) + block)
            self._file.flush()
            self._ends.append(self._file.tell())
        except OSError as error:
            raise UsageError(
                f"The sorted file cannot be written to {tempfile.gettempdir()}: {error.strerror}. Sorting takes about "
                "twice the room of the files, uncompressed; name a folder that has it in the variable TMPDIR."
            ) from None

    def entries(self) -> list[Iterator[_Entry]]:
        """Each run from its start."""
        return [_entries(self._read(at, end)) for at, end in pairwise(self._ends)]

    def _read(self, at: int, end: int) -> Iterator[bytes]:
        file = self._file
        assert file is not None
        while at < end:
            file.seek(at)
            length = int.from_bytes(file.read(_LENGTH_BYTES))
            at += _LENGTH_BYTES + length
            yield file.read(length)


def _blocks(packed: Sequence[_Packed]) -> Iterator[bytes]:
    """Packed submissions as msgpack arrays of about `BLOCK_BYTES`."""
    first = size = 0
    for last, (_, _, entry) in enumerate(packed, start=1):
        size += len(entry)
        if size >= BLOCK_BYTES or last == len(packed):
            entries = (entry for _, _, entry in packed[first:last])
            yield b"".join((_ARRAY_OF, (last - first).to_bytes(_COUNT_BYTES), *entries))
            first, size = last, 0


def _entries(blocks: Iterable[bytes]) -> Iterator[_Entry]:
    return chain.from_iterable(map(_DECODER.decode, blocks))


def _fields(submission: Submission) -> tuple[str, str, bytes, str, str | None, tuple[Any, ...], tuple[Named, ...]]:
    event, label = submission.event, submission.label
    if event is not None:
        return (
            submission.source,
            submission.place,
            submission.raw(),
            submission.type,
            event.id,
            (event.time_ms, *event.values),
            submission.personal,
        )
    assert label is not None
    fields = (label.event_type, label.event_id, label.verdict, label.source, label.known_at_ms, label.reason)
    return (
        submission.source,
        submission.place,
        submission.raw(),
        submission.type,
        None,
        (*fields, label.amount, label.unique),
        (),
    )


def _submission(entry: _Entry, headers: Sequence[str]) -> Submission:
    moment_ms, _, source, place, raw, type_, id_, values, personal, header = entry
    kept = partial(_same, raw)
    if id_ is None:
        *fields, unique = values
        label = replace(LabelInput(*fields), unique=tuple((name, value) for name, value in unique))
        arrived_ms = None if moment_ms == label.known_at_ms else moment_ms
        return Submission(source, place, kept, type_, label=label, header=headers[header], arrived_ms=arrived_ms)
    event = Event(type_, id_, values[0], values[1:])
    arrived_ms = None if moment_ms == event.time_ms else moment_ms
    return Submission(
        source, place, kept, type_, event, personal=personal, header=headers[header], arrived_ms=arrived_ms
    )


def _same(raw: bytes) -> bytes:
    return raw
