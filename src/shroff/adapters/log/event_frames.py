"""Records that follow each other as one compressed frame: a seventh of the space of their rows, and fewer writes.

A frame keeps the lines that `Log.lines` gives, as text, so what is read is what was written to the byte. Beside them
stand times, and where in its line the id of each record is; an id that its line does not have stands apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any, Final, cast
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from shroff.adapters.log.columns import as_lines, places_in
from shroff.adapters.log.frames import FRAME_ROWS, DamagedFrameError, Unpacked, compress, decompress, planes, within
from shroff.adapters.log.sums import head_of, line_of
from shroff.features.kernels.native import native
from shroff.streams.log import Kind, Record
from shroff.streams.log_columns import JoinedTexts, RecordColumns

EVENT_FRAME_ROWS: Final = 512  # at least, of a large batch: as large on disk as 1,024, and one is read in half the time
EVENT_FRAME_SHAPE: Final = "iiiiIib"
_VERSION: Final = b"\x01"  # of what stands in `EventFrame.data`; every version that ever was is read
_APART: Final = 0xFFFF_FFFF  # where an id is that its line does not have
_NUMBERS: Final = "<u4"  # three for each record: bytes of its line, where its id begins in it, and bytes of its id
_TIMES: Final = "<i8"  # milliseconds since the record before, and since 1970 for the first
_BLANK: Final = np.uint8(32)  # between the head of a line and its body
_UNPACKED_BYTES: Final = 64 << 20  # some 350 frames, of 180,000 events
_KINDS: Final = {b"e": "event", b"l": "label", b"c": "control"}
_unpacked: Final = Unpacked(_UNPACKED_BYTES)  # of those whose records are asked for by their places


@dataclass(frozen=True, slots=True)
class EventFrame:
    """The records at all places from `first` to `seq`.

    Args:
        labels: How many of them are labels; `controls` likewise.
        chain: The sum of all lines up to the last of these, None where it is not known.
        crc: The sum of all the others.
    """

    seq: int
    first: int
    labels: int
    controls: int
    chain: int | None
    crc: int
    data: bytes


def framed(records: Sequence[Record], chain: int) -> tuple[list[EventFrame], Sequence[Record]]:
    """The frames of a batch's records, behind lines of this sum, and those records that are too few for one."""
    if len(records) < FRAME_ROWS:
        return [], records
    count = max(1, len(records) // EVENT_FRAME_ROWS)
    frames = []
    for frame, lines in _packed(records, [len(records) * part // count for part in range(count + 1)]):
        chain = crc32(lines, chain)
        frames.append(_summed(frame, chain))
    return frames, ()


def pack(records: Sequence[Record], chain: int | None) -> EventFrame:
    """One frame of these records, which follow each other. Cost: 2 µs each."""
    ((frame, _),) = _packed(records, [0, len(records)])
    return _summed(frame, chain)


def lines_of(frame: EventFrame, after: int, upto: int) -> bytes:
    """The lines of the records in (after, upto]. Cost: 0.2 µs each.

    Raises: DamagedFrameError where the frame is not as it was written, or of a version that this program does not know.
    """
    first, last = max(after + 1 - frame.first, 0), min(upto, frame.seq) - frame.first
    text, found = _found(frame, np.unique([first, last]))
    return text[int(found[0, 1]) : int(found[-1, 3])]


def decided_in(frame: EventFrame, types: Collection[str]) -> NDArray[np.int64]:
    """The places of the records of these types that were to be decided, in order.

    Cost: 0.1 µs a record. Raises: as `unpack`.
    """
    text, _ = _found(frame, np.empty(0, np.int64))
    count = frame.seq - frame.first + 1
    numbers = np.frombuffer(text, np.uint8)[: 20 * count].reshape(5, 4, count).astype(np.int64)
    size, place, length = (part[0] | part[1] << 8 | part[2] << 16 | part[3] << 24 for part in numbers[:3])
    begin = 20 * count + int(length[place == _APART].sum()) + np.cumsum(size) - size
    heads = [np.frombuffer(f"1{name} ".encode(), np.uint8) for name in types]
    lines = np.pad(np.frombuffer(text, np.uint8), (0, max(map(len, heads), default=0)))
    found = [np.all(lines[begin[:, None] + 1 + np.arange(len(head))] == head, axis=1) for head in heads]
    return frame.first + np.flatnonzero(np.any(found, axis=0)) if heads else np.empty(0, np.int64)


def unpack(frame: EventFrame, places: Sequence[int] | None = None, kind: Kind | None = None) -> Iterator[Record]:
    """The records in order; with `places`, which are in order, those at one of them, with `kind` those of this kind.

    Cost: 0.2 ms, and 1.5 µs for each that is given.

    Raises: DamagedFrameError where the frame is not as it was written, or of a version that this program does not know.
    """
    wanted = range(frame.first, frame.seq + 1) if places is None else within(places, frame.first, frame.seq)
    seqs = np.array(wanted, np.int64)
    text, found = _found(frame, seqs - frame.first, keeps=places is not None)
    if kind is not None:
        chosen = np.frombuffer(text, np.uint8)[found[:, 1]] == ord(kind[0])
        seqs, found = seqs[chosen], found[chosen]
    for seq, (time_ms, start, body, end, id_start, id_end) in zip(seqs.tolist(), found.tolist(), strict=True):
        head, type_, is_decided = _head(text[start:body])
        yield Record(seq, head, type_, text[id_start:id_end].decode(), time_ms, text[body : end - 1], is_decided)


def _found(frame: EventFrame, rows: NDArray[np.int64], *, keeps: bool = False) -> tuple[bytes, NDArray[np.int64]]:
    """The text of a frame, and what `find_records` finds of these rows. With `keeps`, the text is kept for the next."""
    if frame.crc != _sum(frame) or frame.data[:1] != _VERSION:
        raise DamagedFrameError
    data, count = frame.data[1:], frame.seq - frame.first + 1
    text = _unpacked.text(data, frame.crc) if keeps else decompress(data)
    if len(text) < 20 * count:
        raise DamagedFrameError
    found = np.empty((len(rows), 6), np.int64)
    find_records(np.frombuffer(text, np.uint8), count, rows, found)
    return text, found


@native("void(Array(uint8, 1, 'C', readonly=True), int64, int64[::1], int64[:, ::1])")
def find_records(text: Any, count: Any, rows: Any, found: Any) -> None:
    """Find the time of each of the rows, which ascend, and where in the text it is.

    That is where its line begins, its body, and where both end; and where its id begins and ends.
    """
    at, apart = 20 * count, 20 * count
    for row in range(count):
        if text[4 * count + row] & text[5 * count + row] & text[6 * count + row] & text[7 * count + row] == 255:
            for byte in range(4):
                at += np.int64(text[(8 + byte) * count + row]) << (8 * byte)
    time_ms, number = np.int64(0), 0
    for row in range(count):
        size, place, length = np.int64(0), np.int64(0), np.int64(0)
        for byte in range(4):
            size |= np.int64(text[byte * count + row]) << (8 * byte)
            place |= np.int64(text[(4 + byte) * count + row]) << (8 * byte)
            length |= np.int64(text[(8 + byte) * count + row]) << (8 * byte)
        for byte in range(8):
            time_ms += np.int64(text[(12 + byte) * count + row]) << (8 * byte)
        id_start = apart if place == _APART else at + place
        while number < len(rows) and rows[number] == row:
            body = at
            while body < len(text) and text[body] != _BLANK:
                body += 1
            found[number, 0], found[number, 1], found[number, 2] = time_ms, at, body + 1
            found[number, 3], found[number, 4], found[number, 5] = at + size, id_start, id_start + length
            number += 1
        at += size
        if place == _APART:
            apart += length


def _packed(records: Sequence[Record], ends: Sequence[int]) -> Iterator[tuple[EventFrame, memoryview]]:
    """Frames without sums, each ending where the next one begins, and their lines."""
    kinds: Sequence[Kind] = ()  # all are events
    if isinstance(records, RecordColumns):
        ids, times, first_seq = JoinedTexts.written(records.ids), records.times, records.first
        lines = JoinedTexts(
            *as_lines(records.bodies.data, records.bodies.ends, head_of("event", records.type, decided=True))
        )
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
        data = _VERSION + compress(b"".join(parts), is_covered=True)
        yield EventFrame(first_seq + end - 1, first_seq + start, labels, controls, None, 0, data), text


def _summed(frame: EventFrame, chain: int | None) -> EventFrame:
    whole = replace(frame, chain=chain)
    return replace(whole, crc=_sum(whole))


@cache
def _head(text: bytes) -> tuple[Kind, str, bool]:
    return cast("Kind", _KINDS[text[:1]]), text[2:-1].decode(), text[1:2] == b"1"


def _sum(frame: EventFrame) -> int:
    numbers = frame.first, frame.seq, frame.labels, frame.controls, -1 if frame.chain is None else frame.chain
    return crc32(frame.data, crc32(b"%d %d %d %d %d" % numbers))
