"""Pack consecutive records into one compressed frame: a seventh of the space of their rows, and fewer writes.

The logs in SQL use this module. A frame stores the lines that `Log.lines` returns, so a record is read back byte for
byte, with the time of each record and the position of its id in its line. An id that its line does not contain is
stored apart. A frame is compressed in blocks, so that reading one record unpacks one block only.
docs/reference/log-format.md has the format.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from itertools import accumulate, pairwise
from operator import sub
from struct import Struct
from typing import NamedTuple, cast
from zlib import crc32

import numpy as np

from shroff.adapters.log.frames.decision_frames import BLOCK_ROWS, FRAME_ROWS, in_parts, parts_of, planes
from shroff.adapters.log.frames.patterns import as_lines, first_positions
from shroff.adapters.log.tables.sums import head_of, line_of
from shroff.streams.log import Kind, Record
from shroff.streams.log_columns import JoinedTexts, RecordColumns

# Fewest records of a frame in a large batch. Frames of 1,024 are no smaller on disk, and take twice the time to read
# one record.
EVENT_FRAME_ROWS = 512
# A record has three numbers: the size of its line, the distance from the end of the line back to the start of its id
# (0: the id is stored apart), and the size of its id.
_NUMBERS = "<u4"
_TIMES = "<i8"  # milliseconds since the previous record; since 1970 for the first of a block
_ROW = Struct("<3Iq")  # the three numbers and the time
_SIGN = 1 << 63
_FEW = 2  # up to as many records of a block are located one by one, which is faster than locating all
_HEAD_BYTES = 4  # a number: the size of all ids that are stored apart
_KINDS = {b"e": "event", b"l": "label", b"c": "control"}


class EventFrame(NamedTuple):
    """All records with sequence numbers in [first, seq].

    Args:
        labels: Number of labels among them.
        controls: Number of control events among them.
        crc: Checksum of the other fields, except for the parts of `data`, which have their own.
    """

    seq: int
    first: int
    labels: int
    controls: int
    crc: int
    data: bytes


def framed(records: Sequence[Record]) -> tuple[list[EventFrame], Sequence[Record]]:
    """Return the frames of a batch's records; all records as the second result if they are too few."""
    if len(records) < FRAME_ROWS:
        return [], records
    count = max(1, len(records) // EVENT_FRAME_ROWS)
    return list(_pack_frames(records, [len(records) * part // count for part in range(count + 1)])), ()


def pack(records: Sequence[Record]) -> EventFrame:
    """Pack consecutive records into one frame. Cost: 2 µs a record."""
    (frame,) = _pack_frames(records, [0, len(records)])
    return frame


def lines_of(frame: EventFrame, after: int, upto: int) -> bytes:
    """Return the lines of the records in (after, upto]. Cost: 0.1 µs a record.

    Raises: DamagedFrameError if the frame has changed since it was written.
    """
    parts = list[bytes]()
    for first, count, text, seqs in _blocks(frame, range(after + 1, upto + 1)):
        begin = _apart_at(count) + int.from_bytes(text[:_HEAD_BYTES], "little")
        end = len(text)
        if len(seqs) < count:
            sizes, *_ = _columns(text, count)
            begin, end = (end - sum(sizes[seq - first :]) for seq in (seqs[0], seqs[-1] + 1))
        parts.append(text[begin:end])
    return b"".join(parts)


def decided_in(frame: EventFrame, types: Collection[str]) -> list[int]:
    """Return the sequence numbers of the records of these types that need a decision, ascending.

    Cost: 0.1 µs a record.

    Raises: DamagedFrameError if the frame has changed since it was written.
    """
    heads = tuple(f"1{name} ".encode() for name in types)
    lines = enumerate(lines_of(frame, frame.first - 1, frame.seq).split(b"\n"), frame.first)
    return [seq for seq, line in lines if line.startswith(heads, 1)]


def unpack(frame: EventFrame, wanted_seqs: Sequence[int] | None = None, kind: Kind | None = None) -> Iterator[Record]:
    """Yield the records of a frame in order, or only those of `wanted_seqs` (ascending) and of this `kind`.

    Cost: 30 µs for each block of 64 with one or two requested records, 40 µs with more, and 1.5 µs a yielded record.

    Raises: DamagedFrameError if the frame has changed since it was written.
    """
    for first, count, text, seqs in _blocks(frame, wanted_seqs):
        for seq, location in zip(seqs, _locate_rows(text, count, [seq - first for seq in seqs]), strict=True):
            start, stop, id_start, id_size, time_ms = location
            body = text.index(b" ", start) + 1
            head, type_, is_decided = _head(text[start:body])
            if kind is None or head == kind:
                id_ = text[id_start : id_start + id_size].decode()
                yield Record(seq, head, type_, id_, time_ms, text[body : stop - 1], is_decided)


def _blocks(frame: EventFrame, seqs: Sequence[int] | None) -> Iterator[tuple[int, int, bytes, Sequence[int]]]:
    """Yield the blocks with any of these sequence numbers: first sequence number, count, text, and requested ones."""
    end = frame.seq + 1
    frame_sum = _sum(frame.first, frame.seq, frame.labels, frame.controls)
    parts = parts_of(frame.data, frame_sum, frame.crc, -(-(end - frame.first) // BLOCK_ROWS))
    seqs = range(frame.first, end) if seqs is None else seqs
    start = bisect_left(seqs, frame.first)
    stop = bisect_left(seqs, end)
    while start < stop:
        block = (seqs[start] - frame.first) // BLOCK_ROWS
        first = frame.first + block * BLOCK_ROWS
        begin = start
        start = bisect_left(seqs, first + BLOCK_ROWS, begin, stop)
        yield first, min(BLOCK_ROWS, end - first), parts.text(block), seqs[begin:start]


def _locate_rows(text: bytes, count: int, rows: Sequence[int]) -> list[tuple[int, int, int, int, int]]:
    """Return for each of these rows of a block: start and end of its line, start and size of its id, and its time.

    Cost: 4 µs for each of `_FEW` rows, 15 µs for more.
    """
    offset = _apart_at(count)
    apart = int.from_bytes(text[:_HEAD_BYTES], "little")
    if len(rows) <= _FEW and not apart:
        return [_locate_row(text, count, row) for row in rows]
    sizes, behind, id_sizes, time_steps = _columns(text, count)
    times = list(accumulate(time_steps))
    starts = list(accumulate(sizes, initial=offset + apart))
    id_starts = list(map(sub, starts[1:], behind))
    for row in [row for row, size in enumerate(behind) if not size] if apart else ():
        id_starts[row] = offset
        offset += id_sizes[row]
    locations = list(zip(starts, starts[1:], id_starts, id_sizes, times, strict=False))
    return [locations[row] for row in rows]


def _locate_row(text: bytes, count: int, row: int) -> tuple[int, int, int, int, int]:
    """Locate one row as `_locate_rows` does, in a block without ids that are stored apart."""
    part = 4 * count
    lines = _apart_at(count)
    behinds = _HEAD_BYTES + part
    start = lines + _total(text[_HEAD_BYTES:behinds], count, row)
    end = start + int.from_bytes(text[_HEAD_BYTES + row : behinds : count], "little")
    id_start = end - int.from_bytes(text[behinds + row : behinds + part : count], "little")
    id_size = int.from_bytes(text[behinds + part + row : behinds + 2 * part : count], "little")
    time_ms = _total(text[behinds + 2 * part : lines], count, row + 1)
    return start, end, id_start, id_size, (time_ms + _SIGN) % (2 * _SIGN) - _SIGN


def _total(planes: bytes, count: int, rows: int) -> int:
    """Return the sum of the first `rows` numbers of a column, given as planes of `count` bytes each."""
    total = shift = index = 0
    while planes[index:] != bytes(len(planes) - index):  # the high planes are all zero, as numbers are small
        total += sum(planes[index : index + rows]) << shift
        index = index + count
        shift = shift + 8
    return total


def _columns(text: bytes, count: int) -> Iterator[tuple[int, ...]]:
    """Return the four columns of numbers of a block with `count` records. Cost: 10 µs for 64."""
    numbers = np.frombuffer(text, np.uint8, _ROW.size * count, _HEAD_BYTES).reshape(_ROW.size, count)
    return zip(*_ROW.iter_unpack(numbers.T.tobytes()), strict=True)


def _apart_at(count: int) -> int:
    """Return the offset of the ids that are stored apart, in a block with `count` records."""
    return _HEAD_BYTES + _ROW.size * count


def _pack_frames(records: Sequence[Record], ends: Sequence[int]) -> Iterator[EventFrame]:
    kinds = list[Kind]()  # stays empty if all records are events
    if isinstance(records, RecordColumns):
        ids = JoinedTexts.written(records.ids)
        times = records.times
        first_seq = records.first
        heads = {type_: head_of("event", type_, decided=True) for type_ in set(records.types)}
        of_rows = list(map(heads.__getitem__, records.types))
        lines = JoinedTexts(*as_lines(records.bodies.data, records.bodies.ends, of_rows))
        if records.others:
            rows = records.rows
            other_records = {seq - first_seq: record for seq, record in records.others.items()}
            kinds = ["event"] * len(records)
            for row, record in other_records.items():
                kinds[row] = record.kind
            times = np.insert(
                times,
                np.array(list(other_records)) - np.arange(len(other_records)),
                [record.time_ms for record in other_records.values()],
            )
            ids = ids.among(rows, {row: record.id.encode() for row, record in other_records.items()})
            lines = lines.among(rows, {row: line_of(record) for row, record in other_records.items()})
    else:
        ids = JoinedTexts.written([record.id for record in records])
        first_seq = records[0].seq
        times = np.array([record.time_ms for record in records], np.int64)
        kinds = [record.kind for record in records]
        lines = JoinedTexts.of(list(map(line_of, records)))
    first_rows = first_positions(lines.data, lines.ends, ids.data, ids.ends)
    sizes = np.diff(ids.ends, prepend=0)
    line_sizes = np.diff(lines.ends, prepend=0)
    is_apart = first_rows < 0
    columns = line_sizes, np.where(is_apart, 0, line_sizes - first_rows), sizes
    time_steps = np.diff(times, prepend=0)
    blocks = [range(*span, BLOCK_ROWS) for span in pairwise(ends)]
    firsts = [first for of_frame in blocks for first in of_frame]
    time_steps[firsts] = times[firsts]
    numbers = planes(*(column.astype(_NUMBERS) for column in columns), time_steps.astype(_TIMES))
    for of_frame, (start, end) in zip(blocks, pairwise(ends), strict=True):
        parts = list[bytes]()
        for first in of_frame:
            block = slice(first, min(first + BLOCK_ROWS, end))
            apart = b"".join([ids[first + at] for at in np.flatnonzero(is_apart[block]).tolist()])
            head = len(apart).to_bytes(_HEAD_BYTES, "little")
            parts.append(b"".join([head, numbers[:, block].tobytes(), apart, lines[block].data.data]))
        ends_at = first_seq + start, first_seq + end - 1
        labels, controls = (kinds[start:end].count(kind) for kind in ("label", "control"))
        data, crc = in_parts(parts, _sum(*ends_at, labels, controls))
        yield EventFrame(ends_at[1], ends_at[0], labels, controls, crc, data)


@cache
def _head(text: bytes) -> tuple[Kind, str, bool]:
    return cast("Kind", _KINDS[text[:1]]), text[2:-1].decode(), text[1:2] == b"1"


def _sum(*places_and_kinds: int) -> int:
    return crc32(b"%d %d %d %d" % places_and_kinds)
