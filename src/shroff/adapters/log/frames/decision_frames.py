"""Pack consecutive decisions into one compressed frame: an eighth of the space of their rows, and fewer writes.

The logs in SQL use this module. Documents of neighboring decisions repeat each other nearly word for word. A frame
stores their common texts once (`patterns`), and the remaining text of each document in blocks that are read one by one.
Receipts are stored apart as bytes, since their random digits cannot be compressed. A document is read back byte for
byte. docs/reference/log-format.md has the format.
"""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, groupby, pairwise
from struct import pack as pack_numbers
from struct import unpack_from as unpack_numbers
from threading import local
from typing import Final, NamedTuple
from zlib import crc32

import numpy as np

from shroff.adapters.log.frames.patterns import Patterns, digit_distances, join_documents, split_by_pattern
from shroff.arrays import Array, Bytes
from shroff.streams.log import DecisionRow
from shroff.streams.log_columns import DecisionColumns, JoinedTexts

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FRAME_ROWS = 256  # fewest rows of a frame; larger frames compress no better, and reading one row unpacks a whole block
ROWS_KEPT = 4_096  # newest decisions that stay rows, since they are read most often, and rows are faster to read
BLOCK_ROWS = 64  # 32 take 2 % more disk; 128 double the time to read one decision
OUTCOMES_SHAPE = "iib"
# Level 3 takes a tenth more time and saves 0.4 %. Parts with a checksum in the frame need none of zstd's own, which
# makes reading a tenth faster.
_COVERED: Final[dict[int, int]] = {zstd.CompressionParameter.compression_level: 1}
_ALONE: Final[dict[int, int]] = _COVERED | {zstd.CompressionParameter.checksum_flag: 1}
# A block has four numbers for each document: the size of the text that is not in its pattern, the index of its pattern,
# the distance from its end back to the digits of its receipt (0 for none), and the size of its receipt.
_NUMBERS = "<u4"
_NUMBER_BYTES = 4
_of_thread = local()  # compressors of the thread; making one takes 9 µs


class DamagedFrameError(Exception):
    """A frame has changed since it was written."""


def compress(text: bytes, *, is_covered: bool = False) -> bytes:
    """Compress a text; zstd adds a checksum unless the frame has one for it (`is_covered`).

    Cost: 2.5 ns a byte, without Python's lock.
    """
    try:
        compressors = _of_thread.compressors
    except AttributeError:
        compressors = _of_thread.compressors = [zstd.ZstdCompressor(options=level) for level in (_ALONE, _COVERED)]
    data: bytes = compressors[is_covered].compress(text, zstd.ZstdCompressor.FLUSH_FRAME)
    return data


def decompress(data: bytes) -> bytes:
    """Decompress a text. Raises: DamagedFrameError if it has changed, or is followed by other bytes."""
    decompressor = zstd.ZstdDecompressor()  # `zstd.decompress` would also accept several texts in a row
    try:
        text: bytes = decompressor.decompress(data)
    except zstd.ZstdError as error:
        raise DamagedFrameError from error
    if not decompressor.eof or decompressor.unused_data:
        raise DamagedFrameError
    return text


class DecisionFrame(NamedTuple):
    """Decisions with sequence numbers in [first, seq], ascending. Records without a decision are left out.

    Args:
        outcomes: A line with sequence number and outcome for each decision, compressed.
        receipts: The receipts, joined.
        data: The documents in compressed parts. The checksum of a block covers its receipts, too.
        crc: Checksum of the other fields, except for the parts and receipts, which have their own.
    """

    seq: int
    first: int
    outcomes: bytes
    receipts: bytes
    data: bytes
    crc: int


def framed(rows: Sequence[DecisionRow]) -> tuple[list[DecisionFrame], Sequence[DecisionRow]]:
    """Return the frames of a batch's decisions, ascending; all decisions as the second result if they are too few."""
    count = len(rows) // FRAME_ROWS
    if not count:
        return [], rows
    return _pack_frames(rows, [len(rows) * part // count for part in range(count + 1)]), ()


def pack(rows: Sequence[DecisionRow]) -> DecisionFrame:
    """Pack decisions into one frame. Cost: 3 µs a decision, mostly without Python's lock."""
    (frame,) = _pack_frames(rows, [0, len(rows)])
    return frame


def _pack_frames(rows: Sequence[DecisionRow], ends: Sequence[int]) -> list[DecisionFrame]:
    if isinstance(rows, DecisionColumns):
        seqs = rows.seqs
        outcomes = rows.outcomes
        documents = rows.documents
        receipts = JoinedTexts(rows.receipts.ravel(), np.arange(1, len(rows) + 1) * rows.receipts.shape[1])
    else:
        seqs = [row.seq for row in rows]
        outcomes = [row.outcome for row in rows]
        documents = JoinedTexts.of([row.document for row in rows])
        receipts = JoinedTexts.of([row.receipt for row in rows])
    behind = digit_distances(documents.data, documents.ends, receipts.data, receipts.ends)
    receipt_sizes = np.diff(receipts.ends, prepend=0)
    cuts = np.where(behind, 2 * receipt_sizes, 0)
    counts = np.diff(ends)
    group = np.repeat(np.arange(len(counts)), counts)
    own_texts, own_ends, of_rows, patterns = split_by_pattern(
        documents.data, documents.ends, documents.ends - behind, cuts, group
    )
    texts = JoinedTexts(own_texts, own_ends)
    firsts = np.minimum.reduceat(of_rows, ends[:-1])
    columns = np.diff(own_ends, prepend=0), of_rows - np.repeat(firsts, counts), behind, receipt_sizes
    numbers = planes(*(column.astype(_NUMBERS) for column in columns))
    lines = list(zip(seqs, outcomes, strict=True))
    frames = list[DecisionFrame]()
    bounds = pairwise([*firsts.tolist(), len(patterns.firsts) - 1])
    for (start, end), (first, last) in zip(pairwise(ends), bounds, strict=True):
        parts = [_head(patterns, first, last)]
        block_receipts = list[bytes]()
        for row in range(start, end, BLOCK_ROWS):
            block = slice(row, min(row + BLOCK_ROWS, end))
            parts.append(numbers[:, block].tobytes() + texts[block].data.tobytes())
            block_receipts.append(receipts[block].data.tobytes())
        packed_lines = compress("".join([f"{seq} {outcome}\n" for seq, outcome in lines[start:end]]).encode())
        data, crc = in_parts(parts, _sum(seqs[start], seqs[end - 1], packed_lines), block_receipts)
        frames.append(DecisionFrame(seqs[end - 1], seqs[start], packed_lines, b"".join(block_receipts), data, crc))
    return frames


def _head(patterns: Patterns, first: int, last: int) -> bytes:
    texts = JoinedTexts(patterns.fixed, patterns.ends)[patterns.firsts[first] : patterns.firsts[last]]
    numbers = np.concatenate(
        [[last - first], np.diff(patterns.firsts[first : last + 1]), np.diff(texts.ends, prepend=0)]
    )
    return numbers.astype(_NUMBERS).tobytes() + texts.data.tobytes()


def in_parts(texts: Sequence[bytes], crc: int, beside: Sequence[bytes] = ()) -> tuple[bytes, int]:
    """Compress each text as a part; return the joined parts behind their sizes and checksums, and a checksum of those.

    Args:
        crc: Checksum of the preceding fields, with which the returned one begins.
        beside: Bytes that are stored elsewhere, one for each of the last parts, and covered by the checksum of that
            part. Their sizes are stored with those of the parts.
    """
    parts = [compress(text, is_covered=True) for text in texts]
    covered = [b""] * (len(texts) - len(beside)) + [*beside]
    sums = [crc32(other, crc32(part)) for part, other in zip(parts, covered, strict=True)]
    numbers = *map(len, parts), *sums, *map(len, beside)
    head = pack_numbers(f"<{len(numbers)}I", *numbers)
    return b"".join([head, *parts]), crc32(head, crc)


class FrameParts(NamedTuple):
    """Parts that `in_parts` wrote.

    Args:
        data: The numbers and the parts.
        begins: Start of each part in `data`, and at last the end of the last part.
        sums: Checksum of each part.
        beside: Sizes of the bytes that are stored elsewhere.
    """

    data: bytes
    begins: list[int]
    sums: Sequence[int]
    beside: Sequence[int]

    def text(self, part: int, beside: bytes = b"") -> bytes:
        """Decompress a part. Raises: DamagedFrameError if the part or its bytes beside have changed."""
        data = self.data[self.begins[part] : self.begins[part + 1]]
        if crc32(beside, crc32(data)) != self.sums[part]:
            raise DamagedFrameError
        return decompress(data)


def parts_of(data: bytes, before: int, crc: int, count: int, beside: int = 0) -> FrameParts:
    """Read the sizes and checksums of `count` parts, of which the last `beside` have bytes stored elsewhere.

    `before` is the checksum of the preceding fields.

    Raises: DamagedFrameError if the numbers have changed since they were written.
    """
    size = _NUMBER_BYTES * (2 * count + beside)
    head = data[:size]
    if len(head) < size or crc32(head, before) != crc:
        raise DamagedFrameError
    numbers = unpack_numbers(f"<{2 * count + beside}I", head)
    return FrameParts(
        data, list(accumulate(numbers[:count], initial=size)), numbers[count : 2 * count], numbers[2 * count :]
    )


def planes(*columns: Array) -> Bytes:
    """Return the bytes of columns of numbers as rows: the first bytes of all numbers, then the second ones, and so on.

    Equal bytes then lie together, which compresses better.
    """
    return np.concatenate([column.view(np.uint8).reshape(-1, column.itemsize).T for column in columns])


def outcome_lines(outcomes: bytes) -> bytes:
    """Return a line with sequence number and outcome for each decision of a frame. Cost: 0.02 µs a decision.

    Raises: DamagedFrameError if `outcomes` has changed since it was written.
    """
    return decompress(outcomes)


class Block(NamedTuple):
    """A block of a frame, decompressed.

    Args:
        patterns: The part with the patterns of the frame.
        size: Number of decisions.
        lines: For each requested decision its index in the block, and its line with sequence number and outcome.
    """

    patterns: bytes
    text: bytes
    receipts: bytes
    size: int
    lines: list[tuple[int, str]]


def blocks_of(frame: DecisionFrame, seqs: Sequence[int] | None = None) -> Iterator[Block]:
    """Yield the blocks of a frame for `unpack`; with `seqs`, ascending sequence numbers, only blocks with one of
    them.

    Cost: 60 µs a block, most of it decompression.

    Raises: DamagedFrameError if the frame has changed since it was written.
    """
    outcomes = outcome_lines(frame.outcomes)
    count = outcomes.count(b"\n")
    selected = None if seqs is None else within(seqs, frame.first, frame.seq)
    blocks = -(-count // BLOCK_ROWS)
    parts = parts_of(frame.data, _sum(frame.first, frame.seq, frame.outcomes), frame.crc, blocks + 1, blocks)
    patterns = parts.text(0)
    held = list(accumulate(parts.beside, initial=0))
    for block, group in groupby(_lines(outcomes, selected), lambda line: line[0] // BLOCK_ROWS):
        receipts = frame.receipts[held[block] : held[block + 1]]
        lines = [(row % BLOCK_ROWS, line) for row, line in group]
        in_block = min(BLOCK_ROWS, count - block * BLOCK_ROWS)
        yield Block(patterns, parts.text(block + 1, receipts), receipts, in_block, lines)


def unpack(blocks: Iterable[Block]) -> Iterator[tuple[int, str, bytes, bytes]]:
    """Yield sequence number, outcome, receipt and document of each requested decision of blocks.

    Cost: 25 µs for the call of a kernel, and 3 µs a decision.
    """
    blocks = list(blocks)
    rows = list[tuple[int, int, int, int]]()
    rows_done = 0
    extra = 0
    for block in blocks:
        text_at = rows_done + len(block.patterns)
        rows += [(rows_done, text_at, block.size, row) for row, _ in block.lines]
        rows_done = text_at + len(block.text)
        extra = extra + len(block.patterns) * len(block.lines)
    texts, document_ends = join_documents(
        b"".join([text for block in blocks for text in block[:2]]), rows, rows_done + extra
    )
    lines = ((block.receipts, line) for block in blocks for _, line in block.lines)
    start = 0
    for (receipts, line), (end, behind, receipt_start, receipt_end) in zip(lines, document_ends, strict=True):
        seq, _, outcome = line.partition(" ")
        receipt = receipts[receipt_start:receipt_end]
        document = texts[start:end]
        if behind:
            cut = len(document) - (behind - 2 * len(receipt))
            document = b"".join((document[:cut], receipt.hex().encode(), document[cut:]))
        yield int(seq), outcome, receipt, document
        start = end


def _lines(outcomes: bytes, seqs: Sequence[int] | None) -> Iterator[tuple[int, str]]:
    if seqs is None:
        return enumerate(outcomes.decode().split("\n")[:-1])
    text = b"\n" + outcomes
    positions = (text.find(b"\n%d " % seq) for seq in seqs)
    return (
        (text.count(b"\n", 0, position), text[position + 1 : text.index(b"\n", position + 1)].decode())
        for position in positions
        if position >= 0
    )


def within(seqs: Sequence[int], first: int, last: int) -> Sequence[int]:
    """Return those of the ascending sequence numbers that are in [first, last]."""
    return seqs[bisect_left(seqs, first) : bisect_right(seqs, last)]


def _sum(first: int, seq: int, outcomes: bytes) -> int:
    return crc32(b"%d %d%s" % (first, seq, outcomes))
