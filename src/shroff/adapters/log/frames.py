"""Decisions that follow each other as one compressed frame: an eighth of the space of their rows, and fewer writes.

Documents of neighboring decisions repeat each other nearly word for word. A frame keeps them as text, column by
column, so what is read is what was written to the byte; only receipts, whose digits repeat nothing, stand apart as
bytes. docs/reference/log-format.md has the format.
"""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from threading import local
from typing import Any, Final, NamedTuple
from zlib import crc32

import numpy as np

from shroff.adapters.log.columns import by_columns, by_rows, digits_behind, some_rows
from shroff.arrays import Array, Ints
from shroff.streams.log import DecisionRow
from shroff.streams.log_columns import DecisionColumns, JoinedTexts

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FRAME_ROWS = 256  # at least; more compress no better, and one that is read unpacks all
ROWS_KEPT = 4_096  # the newest decisions of small batches, asked for most, are quicker to read without a frame
FEW = 4  # rows that are sooner put together by themselves than all of a frame
OUTCOMES_SHAPE = "iib"
# Level 3 takes a tenth more time and saves 0.4 %. Where a frame has a checksum, zstd adds none: a tenth faster to read.
_COVERED: Final[dict[int, int]] = {zstd.CompressionParameter.compression_level: 1}
_ALONE: Final[dict[int, int]] = _COVERED | {zstd.CompressionParameter.checksum_flag: 1}
# Four for each document: its size without the digits of its receipt, how far before its end these stood (0 for none),
# its pieces, and bytes of its receipt.
_NUMBERS = "<u4"
_of_thread = local()  # its compressors: making one takes 9 µs


class DamagedFrameError(Exception):
    """A frame is not as it was written."""


def compress(text: bytes, *, is_covered: bool = False) -> bytes:
    """The text compressed, with a sum of its own unless that of its frame covers it.

    Cost: 2.5 ns a byte, without Python's lock.
    """
    try:
        compressors = _of_thread.compressors
    except AttributeError:
        compressors = _of_thread.compressors = [zstd.ZstdCompressor(options=level) for level in (_ALONE, _COVERED)]
    data: bytes = compressors[is_covered].compress(text, zstd.ZstdCompressor.FLUSH_FRAME)
    return data


def decompress(data: bytes) -> bytes:
    """The text. Raises: DamagedFrameError where it is not as it was written."""
    try:
        return zstd.decompress(data)
    except zstd.ZstdError as error:
        raise DamagedFrameError from error


def unpacked_size(data: bytes) -> int:
    """Bytes of the text that `decompress` gives."""
    return zstd.get_frame_info(data).decompressed_size or 0


class DecisionFrame(NamedTuple):
    """The decisions at places from `first` to `seq`, in order; between these there may be others' places.

    Args:
        outcomes: A line for each with its place and outcome, compressed.
        receipts: One behind the other.
        data: Their documents, compressed.
        crc: The sum of all.
    """

    seq: int
    first: int
    outcomes: bytes
    receipts: bytes
    data: bytes
    crc: int


def framed(rows: Sequence[DecisionRow]) -> tuple[list[DecisionFrame], Sequence[DecisionRow]]:
    """The frames of a batch's decisions, in the order of places, and those that are too few for one."""
    count = len(rows) // FRAME_ROWS
    if not count:
        return [], rows
    return _packed(rows, [len(rows) * part // count for part in range(count + 1)]), ()


def pack(rows: Sequence[DecisionRow]) -> DecisionFrame:
    """One frame of these decisions. Cost: 3 µs each, most of it without Python's lock."""
    (frame,) = _packed(rows, [0, len(rows)])
    return frame


def _packed(rows: Sequence[DecisionRow], ends: Sequence[int]) -> list[DecisionFrame]:
    """Frames of decisions, of which each ends where the next one begins."""
    if isinstance(rows, DecisionColumns):
        seqs, outcomes, documents = rows.seqs, rows.outcomes, rows.documents
        receipts = JoinedTexts(rows.receipts.ravel(), np.arange(1, len(rows) + 1) * rows.receipts.shape[1])
    else:
        seqs, outcomes = [row.seq for row in rows], [row.outcome for row in rows]
        documents = JoinedTexts.of([row.document for row in rows])
        receipts = JoinedTexts.of([row.receipt for row in rows])
    behind = digits_behind(documents.data, documents.ends, receipts.data, receipts.ends)
    receipt_sizes = np.diff(receipts.ends, prepend=0)
    cut, group = np.where(behind, 2 * receipt_sizes, 0), np.repeat(np.arange(len(ends) - 1), np.diff(ends))
    columns, kept, pieces = by_columns(documents.data, documents.ends, documents.ends - behind, cut, group)
    numbers = [column.astype(_NUMBERS) for column in (np.diff(kept, prepend=0), behind, pieces, receipt_sizes)]
    lines = list(zip(seqs, outcomes, strict=True))
    stops, frames = [0, *kept[np.array(ends[1:]) - 1].tolist()], []
    for (start, end), (first, last) in zip(pairwise(ends), pairwise(stops), strict=True):
        parts: list[Any] = [*(planes(column[start:end]) for column in numbers), columns[first:last].data]
        shown = compress("".join([f"{seq} {outcome}\n" for seq, outcome in lines[start:end]]).encode())
        kept_receipts, data = receipts[start:end].data.tobytes(), compress(b"".join(parts), is_covered=True)
        frame = DecisionFrame(seqs[end - 1], seqs[start], shown, kept_receipts, data, 0)
        frames.append(frame._replace(crc=_sum(frame)))
    return frames


def planes(column: Array) -> bytes:
    """The first bytes of all numbers, then the second ones: those that are the same behind each other."""
    return column.view(np.uint8).reshape(-1, column.itemsize).T.tobytes()


def of_planes(text: bytes, kind: str, count: int, start: int, columns: int = 1) -> Ints:
    """The columns that `planes` wrote here, a row of the array for each."""
    size = np.dtype(kind).itemsize
    found = np.frombuffer(text, np.uint8, columns * size * count, start).reshape(columns, size, count)
    return np.ascontiguousarray(found.transpose(0, 2, 1)).view(kind).reshape(columns, count).astype(np.int64)


def outcome_lines(outcomes: bytes) -> bytes:
    """Place and outcome of a frame's decisions, a line each. Cost: 0.02 µs each.

    Raises: DamagedFrameError where it is not as it was written.
    """
    return decompress(outcomes)


def unpack(frame: DecisionFrame, places: Sequence[int] | None = None) -> Iterator[tuple[int, str, bytes, bytes]]:
    """Place, outcome, receipt and document of each decision; with `places`, in order, of those at one of them.

    Cost: 0.4 ms and 10 µs for each of a few that are wanted; else 1 ms, and 1.5 µs for each that is given.

    Raises: DamagedFrameError where the frame is not as it was written.
    """
    if frame.crc != _sum(frame):
        raise DamagedFrameError
    whole, outcomes = decompress(frame.data), outcome_lines(frame.outcomes)
    lines = outcomes.decode().splitlines()
    rows = range(len(lines)) if places is None else _rows(b"\n" + outcomes, within(places, frame.first, frame.seq))
    sizes, behind, counts, receipt_sizes = of_planes(whole, _NUMBERS, len(lines), 0, 4)
    columns, ends, receipt_ends = (
        np.frombuffer(whole, np.uint8, offset=16 * len(lines)),
        sizes.cumsum(),
        receipt_sizes.cumsum(),
    )
    texts = (some_rows(columns, ends, counts, rows) if len(rows) <= FEW else by_rows(columns, ends, counts)).data
    cuts = ends - np.maximum(behind - 2 * receipt_sizes, 0)
    bounds = (ends - sizes, cuts, ends, receipt_ends - receipt_sizes, receipt_ends, behind)
    for row, start, cut, end, first, last, tail in zip(
        rows, *(column[rows].tolist() for column in bounds), strict=True
    ):
        seq, _, outcome = lines[row].partition(" ")
        receipt = frame.receipts[first:last]
        stood = receipt.hex().encode() if tail else b""
        yield int(seq), outcome, receipt, b"".join((texts[start:cut], stood, texts[cut:end]))


def _rows(outcomes: bytes, places: Sequence[int]) -> Sequence[int]:
    """Which of these lines, each behind a line end, are at one of the places."""
    found = (outcomes.find(b"\n%d " % seq) for seq in places)
    return [outcomes.count(b"\n", 0, at) for at in found if at >= 0]


def within(places: Sequence[int], first: int, last: int) -> Sequence[int]:
    """Those of places in order that are from the first to the last."""
    return places[bisect_left(places, first) : bisect_right(places, last)]


def _sum(frame: DecisionFrame) -> int:
    return crc32(b"%d %d%s%s%s" % (frame.first, frame.seq, frame.outcomes, frame.receipts, frame.data))
