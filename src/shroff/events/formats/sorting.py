"""Sort submissions by time or arrival, on disk if they do not fit into memory."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from operator import itemgetter
from typing import Any

import msgspec

from shroff.errors import UsageError
from shroff.events.definitions import Events
from shroff.events.event import Event
from shroff.events.intake import Submission
from shroff.events.mapping import LABEL, MAPPING_OF
from shroff.events.unique import Named
from shroff.events.validation import LabelInput
from shroff.runtime.values import replace

MEMORY_BYTES = 64 * 1024 * 1024  # of packed submissions
EARLIEST_MS = -(1 << 63)  # before any event

# Time, source, place, raw bytes, type, id (None for a label), values (a label's fields), personal fields, and the
# number of the header
_Entry = tuple[int, str, str, bytes, str, str | None, tuple[Any, ...], tuple[Named, ...], int]
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Entry)


def in_order_of_arrival(
    submissions: Iterator[Submission], events: Events, format: str, as_type: str | None = None
) -> Iterator[Submission]:
    """Order the submissions of a file by arrival, if a mapping declares one; an event without an arrival by its time.

    A file is read from its last line if the mapping of `as_type` says `order: descending`; without `as_type`, if any
    mapping of its format does.
    """
    if is_descending(events, format, as_type):
        submissions = in_reverse(submissions)
    return in_order_of_time(submissions) if events.has_arrivals else submissions


def is_descending(events: Events, format: str, as_type: str | None) -> bool:
    types = {**events.types, LABEL: events.label}
    read = types.values() if as_type is None else [types[as_type]] if as_type in types else []
    mappings = (type_.mappings.get(MAPPING_OF[format]) for type_ in read)
    return any(mapping is not None and mapping.is_descending for mapping in mappings)


def merged_by_arrival(files: Iterable[Iterable[Submission]]) -> Iterator[Submission]:
    """Merge files that are in order of arrival; a line without a time stays after its predecessor."""
    return (submission for _, submission in heapq.merge(*map(_dated, files), key=itemgetter(0)))


def _dated(submissions: Iterable[Submission]) -> Iterator[tuple[int, Submission]]:
    last_ms = EARLIEST_MS
    for submission in submissions:
        moment_ms = submission.moment_ms
        last_ms = last_ms if moment_ms is None else moment_ms
        yield last_ms, submission


def in_reverse(submissions: Iterable[Submission]) -> Iterator[Submission]:
    """Yield the submissions from the last to the first. Raises, cost: as `in_order_of_time`."""
    return in_order_of_time(submissions, is_reversed=True)


def in_order_of_time(
    submissions: Iterable[Submission], memory_bytes: int = MEMORY_BYTES, *, is_reversed: bool = False
) -> Iterator[Submission]:
    """Yield the submissions by `Submission.moment_ms`, those without one first; equal times in the order of the input.

    SQLite sorts them. Submissions beyond `memory_bytes` are in temporary files without a name in TMPDIR, which vanish
    with the process.

    Raises: UsageError if these files cannot be written.
    Cost: O(n log n); on disk two to three times the size of the submissions.
    """
    headers: dict[str, int] = {}
    with closing(sqlite3.connect("", check_same_thread=False)) as database:
        try:
            database.execute(f"PRAGMA cache_size = -{memory_bytes >> 10 or 1}")
            database.execute("CREATE TABLE entries (time INTEGER, packed BLOB)")
            for submission in submissions:
                time_ms = submission.moment_ms
                if time_ms is None:
                    yield submission
                    continue
                header = headers.setdefault(submission.header, len(headers))
                packed = _ENCODER.encode((time_ms, *_fields(submission), header))
                database.execute("INSERT INTO entries VALUES (?, ?)", (time_ms, packed))
            known = list(headers)
            by = "rowid DESC" if is_reversed else "time, rowid"
            for (packed,) in database.execute(f"SELECT packed FROM entries ORDER BY {by}"):  # noqa: S608 (of two texts)
                yield _submission(_DECODER.decode(packed), known)
        except sqlite3.OperationalError as error:
            raise UsageError(
                f"The files cannot be sorted: {error}. Sorting takes two to three times the room of the files, "
                "uncompressed; name a folder that has it in the variable TMPDIR."
            ) from None


def _fields(submission: Submission) -> tuple[str, str, bytes, str, str | None, tuple[Any, ...], tuple[Named, ...]]:
    event = submission.event
    label = submission.label
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
    moment_ms, source, place, raw, type_, id_, values, personal, header = entry
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
