"""Records that follow each other as one compressed frame: a seventh of the space of their rows, and fewer writes.

A frame keeps the lines that `Log.lines` gives, as text, so what is read is what was written to the byte. Beside them
stand times, and where in its line the id of each record is; an id that its line does not have stands apart.
docs/reference/log-format.md has the format.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, NamedTuple, cast
from zlib import crc32

import numpy as np

from shroff.adapters.log.columns import as_lines, places_in
from shroff.adapters.log.frames import (
    FRAME_ROWS,
    DamagedFrameError,
    compress,
    decompress,
    of_planes,
    planes,
    unpacked_size,
    within,
)
from shroff.adapters.log.sums import head_of, line_of
from shroff.arrays import Ints
from shroff.streams.log import Kind, Record
from shroff.streams.log_columns import JoinedTexts, RecordColumns

EVENT_FRAME_ROWS = 512  # at least, of a large batch: as large on disk as 1,024, and one is read in half the time
_APART = 0xFFFF_FFFF  # where an id is that its line does not have
_NUMBERS = "<u4"  # three for each record: bytes of its line, where its id begins in it, and bytes of its id
_TIMES = "<i8"  # milliseconds since the record before, and since 1970 for the first
_NUMBER_BYTES = 20  # of the three and the time
_KEPT = 256  # frames whose records are asked for by their places; usual ones take 30 MB
_KEPT_BYTES = 1 << 18  # of the text of one, at most
_KINDS = {b"e": "event", b"l": "label", b"c": "control"}


class EventFrame(NamedTuple):
    """The records at all places from `first` to `seq`.

    Args:
        labels: How many of them are labels; `controls` likewise.
        crc: The sum of all the others.
    """

    seq: int
    first: int
    labels: int
    controls: int
    crc: int
    data: bytes


class _Content(NamedTuple):
    """The text of a frame; and of each record its time, and where in the text its line and its id are."""

    text: bytes
    times: Ints
    starts: Ints
    ends: Ints
    id_starts: Ints
    id_ends: Ints


def framed(records: Sequence[Record]) -> tuple[list[EventFrame], Sequence[Record]]:
    """The frames of a batch's records, and those records that are too few for one."""
    if len(records) < FRAME_ROWS:
        return [], records
    count = max(1, len(records) // EVENT_FRAME_ROWS)
    return list(_packed(records, [len(records) * part // count for part in range(count + 1)])), ()


def pack(records: Sequence[Record]) -> EventFrame:
    """One frame of these records, which follow each other. Cost: 2 µs each."""
    (frame,) = _packed(records, [0, len(records)])
    return frame


def lines_of(frame: EventFrame, after: int, upto: int) -> bytes:
    """The lines of the records in (after, upto]. Cost: 0.1 µs each.

    Raises: DamagedFrameError where the frame is not as it was written.
    """
    text, first = decompress(_data(frame)), max(after + 1 - frame.first, 0)
    sizes = of_planes(text, _NUMBERS, frame.seq - frame.first + 1, 0)[0]
    begin = len(text) - int(sizes[first:].sum())  # lines stand last
    return text[begin : len(text) - int(sizes[max(upto + 1 - frame.first, 0) :].sum())]


def decided_in(frame: EventFrame, types: Collection[str]) -> list[int]:
    """The places of the records of these types that were to be decided, in order.

    Cost: 0.1 µs a record. Raises: as `unpack`.
    """
    content, heads = _content(frame), tuple(f"1{name} ".encode() for name in types)
    starts = enumerate((content.starts + 1).tolist(), frame.first)
    return [seq for seq, start in starts if content.text.startswith(heads, start)]


def unpack(frame: EventFrame, places: Sequence[int] | None = None, kind: Kind | None = None) -> Iterator[Record]:
    """The records in order; with `places`, which are in order, those at one of them, with `kind` those of this kind.

    Cost: 0.2 ms, and 1.5 µs for each that is given.

    Raises: DamagedFrameError where the frame is not as it was written.
    """
    wanted = range(frame.first, frame.seq + 1) if places is None else within(places, frame.first, frame.seq)
    content, seqs = _content(frame, keeps=places is not None), np.array(wanted, np.int64)
    text = content.text
    if kind is not None:
        seqs = seqs[np.frombuffer(text, np.uint8)[content.starts[seqs - frame.first]] == ord(kind[0])]
    columns = (seqs, *(column[seqs - frame.first] for column in content[1:]))
    for seq, time_ms, start, end, id_start, id_end in zip(*(column.tolist() for column in columns), strict=True):
        body = text.index(b" ", start) + 1
        head, type_, is_decided = _head(text[start:body])
        yield Record(seq, head, type_, text[id_start:id_end].decode(), time_ms, text[body : end - 1], is_decided)


def _content(frame: EventFrame, *, keeps: bool = False) -> _Content:
    """What a frame holds. With `keeps`, it is kept for the next call, unless it is large."""
    data = _data(frame)
    return (_kept if keeps and unpacked_size(data) <= _KEPT_BYTES else _read)(data, frame.seq - frame.first + 1)


def _data(frame: EventFrame) -> bytes:
    if frame.crc != _sum(frame):
        raise DamagedFrameError
    return frame.data


def _read(data: bytes, count: int) -> _Content:
    text, numbers = decompress(data), _NUMBER_BYTES * count
    if len(text) < numbers:
        raise DamagedFrameError
    sizes, places, id_sizes = of_planes(text, _NUMBERS, count, 0, 3)
    apart = np.where(places == _APART, id_sizes, 0)
    ends = numbers + apart.sum() + sizes.cumsum()
    id_starts = np.where(places == _APART, numbers + apart.cumsum() - apart, ends - sizes + places)
    times = of_planes(text, _TIMES, count, 12 * count)[0].cumsum()
    return _Content(text, times, ends - sizes, ends, id_starts, id_starts + id_sizes)


_kept = lru_cache(_KEPT)(_read)


def _packed(records: Sequence[Record], ends: Sequence[int]) -> Iterator[EventFrame]:
    """Frames, each ending where the next one begins."""
    kinds = list[Kind]()  # all are events
    if isinstance(records, RecordColumns):
        ids, times, first_seq = JoinedTexts.written(records.ids), records.times, records.first
        lines = JoinedTexts(
            *as_lines(records.bodies.data, records.bodies.ends, head_of("event", records.type, decided=True))
        )
        if records.others:
            rows, others = records.rows, {seq - first_seq: record for seq, record in records.others.items()}
            kinds = ["event"] * len(records)
            for row, record in others.items():
                kinds[row] = record.kind
            times = np.insert(
                times, np.array(list(others)) - np.arange(len(others)), [record.time_ms for record in others.values()]
            )
            ids = ids.among(rows, {row: record.id.encode() for row, record in others.items()})
            lines = lines.among(rows, {row: line_of(record) for row, record in others.items()})
    else:
        ids, first_seq = JoinedTexts.written([record.id for record in records]), records[0].seq
        times, kinds = np.array([record.time_ms for record in records], np.int64), [record.kind for record in records]
        lines = JoinedTexts.of(list(map(line_of, records)))
    found, sizes = places_in(lines.data, lines.ends, ids.data, ids.ends), np.diff(ids.ends, prepend=0)
    numbers = [
        frame.astype(_NUMBERS) for frame in (np.diff(lines.ends, prepend=0), np.where(found < 0, _APART, found), sizes)
    ]
    for start, end in pairwise(ends):
        apart = [ids[row] for row in (np.flatnonzero(found[start:end] < 0) + start).tolist()]
        passed, text = np.diff(times[start:end], prepend=0).astype(_TIMES), lines[start:end].data.data
        parts: list[Any] = [*(planes(each[start:end]) for each in numbers), planes(passed), *apart, text]
        labels, controls = (kinds[start:end].count(kind) for kind in ("label", "control"))
        data = compress(b"".join(parts), is_covered=True)
        frame = EventFrame(first_seq + end - 1, first_seq + start, labels, controls, 0, data)
        yield frame._replace(crc=_sum(frame))


@cache
def _head(text: bytes) -> tuple[Kind, str, bool]:
    return cast("Kind", _KINDS[text[:1]]), text[2:-1].decode(), text[1:2] == b"1"


def _sum(frame: EventFrame) -> int:
    return crc32(frame.data, crc32(b"%d %d %d %d" % (frame.first, frame.seq, frame.labels, frame.controls)))
