"""Split similar JSON texts into what they share and what each has alone, and join them again, in compiled kernels.

Decision frames and event frames (`frames`, `event_frames`) use this module. Documents of neighboring decisions have the
same names in the same order. A piece of a text ends with a comma or a colon, wherever that stands, so splitting and
joining is exact for any bytes. Texts with equally many pieces share one pattern: its fixed texts are the pieces that
are equal in all of them, with a gap between two fixed texts where pieces differ. docs/reference/log-format.md has the
format.

Texts are passed as one array of bytes and an array of the end of each text in it. No function checks its arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from shroff.arrays import Bytes, Ints
from shroff.features.kernels.native import native
from shroff.features.kernels.numbers import VECTOR_BYTES, compiled, first_of, intrinsic_of, vector_at, vector_in

_COMMA = np.uint8(44)
_COLON = np.uint8(58)
_NEWLINE = np.uint8(10)
_GROUP_BITS = 32  # the low bits of a pattern's key count pieces; the bits above have the group
_EQUAL_BITS = 8
_EQUAL_MASK = (1 << _EQUAL_BITS) - 1
_HEX_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_READ_ONLY = "Array(uint8, 1, 'C', readonly=True)"


class Patterns(NamedTuple):
    """Fixed texts of all patterns, joined.

    Args:
        ends: End of each fixed text in `fixed`.
        firsts: Index of each pattern's first fixed text, and at last the number of fixed texts.
    """

    fixed: Bytes
    ends: Ints
    firsts: Ints


def split_by_pattern(
    texts: Bytes, ends: Ints, cut_starts: Ints, cut_sizes: Ints, groups: Ints
) -> tuple[Bytes, Ints, Ints, Patterns]:
    """Find the patterns of one or more texts, and return what each text has besides its pattern.

    Cost: 1 ns a byte.

    Args:
        cut_starts: Offset in `texts` from which `cut_sizes` bytes of each text are left out.
        groups: Group of each text, ascending. Patterns are never shared between groups, and are in order of groups.

    Returns: The remaining bytes of all texts, the end of each text's part of them, the pattern of each text, and the
        patterns.
    """
    piece_counts = np.empty(len(ends), np.int64)
    kept_ends = ends - np.cumsum(cut_sizes)
    kept = np.empty(int(kept_ends[-1]) + VECTOR_BYTES, np.uint8)
    count_pieces(texts, ends, cut_starts, cut_sizes, kept, piece_counts)
    keys = groups << _GROUP_BITS | piece_counts
    _, models, pattern_of_row = np.unique(keys, return_index=True, return_inverse=True)
    piece_ends = piece_counts[models].cumsum()
    differs = np.zeros(piece_ends[-1], np.uint8)
    own = np.empty_like(kept)
    own_ends = np.empty_like(kept_ends)
    compare_pieces(kept, kept_ends, pattern_of_row, models, piece_ends, differs, own)
    gap_counts = np.diff(differs.cumsum(dtype=np.int64)[piece_ends - 1], prepend=0)  # of each pattern
    firsts = np.concatenate([np.zeros(1, np.int64), (gap_counts + 1).cumsum()])
    fixed = np.empty(int(np.diff(kept_ends, prepend=0)[models].sum()), np.uint8)
    fixed_ends = np.empty(firsts[-1], np.int64)
    take_fixed(kept, kept_ends, models, differs, fixed, fixed_ends)
    take_own(kept, kept_ends, pattern_of_row, fixed_ends, firsts, own, own_ends)
    return own[: own_ends[-1]], own_ends, pattern_of_row, Patterns(fixed[: fixed_ends[-1]], fixed_ends, firsts)


def join_documents(
    parts: bytes, rows: Sequence[tuple[int, int, int, int]], size_max: int
) -> tuple[bytes, list[list[int]]]:
    """Join documents with their patterns; the digits of receipts are still missing.

    Cost: 25 µs, 1 µs for each block, and 1 ns a byte.

    Args:
        parts: The parts with patterns and the blocks of some frames, joined.
        rows: For each document the offset of the part with its patterns, the offset and the document count of its
            block, and its index in the block. Documents of one block follow each other, in ascending order.
        size_max: Upper bound of the bytes of all documents.

    Returns: The documents joined, and for each its end, the distance from its end back to where the digits of the
        receipt belong (0 for none), and the start and end of the receipt among the receipts of its block.
    """
    documents = np.empty(size_max, np.uint8)
    positions = np.empty((len(rows), 4), np.int64)
    fixed_ends = np.empty(len(parts) // 4 + 1, np.int64)
    put_together(
        np.frombuffer(parts, np.uint8), np.array(rows, np.int64).reshape(-1, 4), fixed_ends, documents, positions
    )
    size = positions[-1, 0] if rows else 0
    return documents[:size].tobytes(), positions.tolist()


def as_lines(bodies: Bytes, ends: Ints, heads: Sequence[bytes]) -> tuple[Bytes, Ints]:
    """Write a line of each head, its body and a newline; return the lines joined, and the end of each."""
    head_ends = np.cumsum([0, *map(len, heads)])
    line_ends = ends + head_ends[1:] + np.arange(1, len(ends) + 1)
    lines = np.empty(int(line_ends[-1]), np.uint8)
    write_lines(bodies, ends, np.frombuffer(b"".join(heads), np.uint8), head_ends, lines)
    return lines, line_ends


def first_positions(texts: Bytes, ends: Ints, needles: Bytes, needle_ends: Ints) -> Ints:
    """Return the position of the first occurrence of each needle in its text; -1 if the text does not contain it."""
    positions = np.empty(len(ends), np.int64)
    find_each(texts, ends, needles, needle_ends, positions)
    return positions


def digit_distances(texts: Bytes, ends: Ints, digests: Bytes, digest_ends: Ints) -> Ints:
    """Return how many bytes before the end of each text the last occurrence of its digest's hexadecimal digits starts.

    The distance is 0 if the text does not contain them, or the digest is empty.
    """
    distances = np.empty(len(ends), np.int64)
    find_digits(texts, ends, digests, digest_ends, _HEX_DIGITS, distances)
    return distances


@native(f"void({_READ_ONLY}, int64[::1], int64[::1], int64[::1], uint8[::1], int64[::1])")
def count_pieces(texts: Any, ends: Any, cut_starts: Any, cut_sizes: Any, kept: Any, piece_counts: Any) -> None:
    """Copy each text without its cut to `kept`, and count its pieces."""
    position = np.uint64(0)
    output = np.uint64(0)
    for row in range(len(ends)):
        count = 1
        for end in (np.uint64(cut_starts[row]), np.uint64(ends[row])):
            for i in range(end - position):
                byte = texts[position + i]
                kept[output + i] = byte
                count += (byte == _COMMA) | (byte == _COLON)
            output += end - position
            position = end + np.uint64(cut_sizes[row])
        position = np.uint64(ends[row])
        piece_counts[row] = count


def _ends_among(builder: Any, vector: Any) -> Any:
    from llvmlite import ir

    separators = [ir.Constant(vector.type, [int(byte)] * VECTOR_BYTES) for byte in (_COMMA, _COLON)]
    is_end = builder.or_(*(builder.icmp_unsigned("==", vector, separator) for separator in separators))
    return builder.bitcast(is_end, ir.IntType(VECTOR_BYTES))


def _copy_vector(typing_context: Any, target: Any, output: Any, source: Any, position: Any) -> Any:
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        call = context, builder, signature, arguments
        vector = vector_in(*call, 2)
        builder.store(vector, vector_at(*call, 0)).align = 1
        return first_of(builder, _ends_among(builder, vector))

    return types.int64(target, types.int64, source, types.int64), generate


def _compare_vectors(typing_context: Any, source: Any, position: Any, other_source: Any, other: Any) -> Any:
    from llvmlite import ir
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = [vector_in(context, builder, signature, arguments, array) for array in (0, 2)]
        bits = ir.IntType(VECTOR_BYTES)
        word = ir.IntType(64)
        differs = builder.bitcast(builder.icmp_unsigned("!=", *vectors), bits)
        equal = builder.and_(builder.not_(differs), builder.sub(differs, bits(1)))
        end_count = builder.zext(builder.ctpop(builder.and_(_ends_among(builder, vectors[0]), equal)), word)
        return builder.or_(builder.shl(end_count, word(_EQUAL_BITS)), first_of(builder, differs))

    return types.int64(source, types.int64, other_source, types.int64), generate


# Copies VECTOR_BYTES bytes from one array to another. Returns how many of them precede the first comma or colon,
# VECTOR_BYTES if there is none.
_copy_piece = intrinsic_of(_copy_vector)
# Compares VECTOR_BYTES bytes at two positions. The low _EQUAL_BITS bits of the result count the bytes before the first
# difference; the bits above count the pieces that end among these bytes.
_compare = intrinsic_of(_compare_vectors)


@compiled
def _piece_start(texts: Any, position: Any, end: Any, unused: Any) -> Any:
    size = VECTOR_BYTES
    while size == VECTOR_BYTES and position < end:
        size = _copy_piece(unused, 0, texts, position)
        position += min(size + 1, VECTOR_BYTES)
    return min(position, end)


@native(f"void({_READ_ONLY}, int64[::1], int64[::1], int64[::1], int64[::1], uint8[::1], uint8[::1])")
def compare_pieces(
    texts: Any, ends: Any, pattern_of_row: Any, models: Any, piece_ends: Any, differs: Any, unused: Any
) -> None:
    """Set `differs` to 1 for each piece of a pattern that is not the same in all of its texts.

    The model of a pattern is its first text; the others are compared with it. Whole vectors are read, so `texts` must
    have VECTOR_BYTES bytes more behind its end, and `unused` takes one vector.
    """
    position = 0
    for row in range(len(ends)):
        end = ends[row]
        pattern = pattern_of_row[row]
        model = models[pattern]
        other = ends[model - 1] if model > 0 else 0
        other_end = ends[model]
        piece = piece_ends[pattern - 1] if pattern > 0 else 0
        if row == model:
            position = end
        while position < end:
            compared = _compare(texts, position, texts, other)
            equal = compared & _EQUAL_MASK
            piece += compared >> _EQUAL_BITS
            if equal == VECTOR_BYTES or position + equal >= end:
                equal = min(equal, end - position)
                position += equal
                other += equal
            else:
                differs[piece] = 1
                piece += 1
                position = _piece_start(texts, position + equal, end, unused)
                other = _piece_start(texts, other + equal, other_end, unused)
        if row != model and other != other_end:
            differs[piece_ends[pattern] - 1] = 1


@native(f"void({_READ_ONLY}, int64[::1], int64[::1], {_READ_ONLY}, uint8[::1], int64[::1])")
def take_fixed(texts: Any, ends: Any, models: Any, differs: Any, fixed: Any, fixed_ends: Any) -> None:
    """Copy the pieces that do not differ from the model of each pattern to `fixed`."""
    output = 0
    text = 0
    piece = 0
    for model in models:
        position = ends[model - 1] if model > 0 else 0
        is_last = False
        while not is_last:
            is_last = True
            while position < ends[model] and is_last:
                byte = texts[position]
                is_last = (byte != _COMMA) & (byte != _COLON)
                if differs[piece] == 0:
                    fixed[output] = byte
                    output += 1
                position += 1
            if differs[piece] == 1:
                fixed_ends[text] = output
                text += 1
            piece += 1
        fixed_ends[text] = output
        text += 1


@native(f"void({_READ_ONLY}, int64[::1], int64[::1], int64[::1], int64[::1], uint8[::1], int64[::1])")
def take_own(texts: Any, ends: Any, pattern_of_row: Any, fixed_ends: Any, firsts: Any, own: Any, own_ends: Any) -> None:
    """Copy the pieces for the gaps of its pattern from each text to `own`.

    Whole vectors are copied, so both arrays must have VECTOR_BYTES bytes more behind their end.
    """
    position = 0
    output = 0
    for row in range(len(ends)):
        first = firsts[pattern_of_row[row]]
        last = firsts[pattern_of_row[row] + 1] - 1
        fixed_start = fixed_ends[first - 1] if first > 0 else 0
        for gap in range(first, last):
            position += fixed_ends[gap] - fixed_start
            fixed_start = fixed_ends[gap]
            before_end = VECTOR_BYTES
            while before_end == VECTOR_BYTES and position < ends[row]:
                before_end = _copy_piece(own, output, texts, position)
                size = min(before_end + 1, VECTOR_BYTES, ends[row] - position)
                position += size
                output += size
        position = ends[row]
        own_ends[row] = output


@compiled
def _number(texts: Any, position: Any, step: Any) -> Any:
    """Read a number of four bytes, the lowest first, that lie `step` bytes apart."""
    number = np.int64(0)
    for byte in range(4):
        number |= np.int64(texts[position + byte * step]) << (8 * byte)
    return number


@native(f"void({_READ_ONLY}, int64[:, ::1], int64[::1], uint8[::1], int64[:, ::1])")
def put_together(parts: Any, rows: Any, fixed_ends: Any, documents: Any, positions: Any) -> None:
    """Write the documents and positions that `join_documents` returns.

    `fixed_ends` must have room for the start of the first fixed text of a part and the end of each.
    """
    output = 0
    block = -1
    skipped = 0
    own = 0
    receipt = 0
    for i in range(len(rows)):
        head = rows[i, 0]
        start = rows[i, 1]
        count = rows[i, 2]
        row = rows[i, 3]
        if start != block:
            block = start
            skipped = 0
            own = start + 16 * count
            receipt = 0
            fixed_count = 0
            sizes = head + 4
            for _ in range(_number(parts, head, 1)):
                fixed_count += _number(parts, sizes, 1)
                sizes += 4
            fixed_ends[0] = sizes + 4 * fixed_count
            for text in range(fixed_count):
                fixed_ends[text + 1] = fixed_ends[text] + _number(parts, sizes + 4 * text, 1)
        while skipped < row:
            own += _number(parts, start + skipped, count)
            receipt += _number(parts, start + 12 * count + skipped, count)
            skipped += 1
        first = 0
        pattern = _number(parts, start + 4 * count + row, count)
        for earlier in range(pattern):
            first += _number(parts, head + 4 + 4 * earlier, 1)
        last = first + _number(parts, head + 4 + 4 * pattern, 1) - 1
        piece = own
        end = own + _number(parts, start + row, count)
        for gap in range(first, last + 1):
            for byte_at in range(fixed_ends[gap], fixed_ends[gap + 1]):
                documents[output] = parts[byte_at]
                output += 1
            is_end = gap == last
            while piece < end and not is_end:
                byte = parts[piece]
                documents[output] = byte
                is_end = (byte == _COMMA) | (byte == _COLON)
                piece += 1
                output += 1
        positions[i, 0] = output
        positions[i, 1] = _number(parts, start + 8 * count + row, count)
        positions[i, 2] = receipt
        positions[i, 3] = receipt + _number(parts, start + 12 * count + row, count)


@native(f"void({_READ_ONLY}, int64[::1], {_READ_ONLY}, int64[::1], uint8[::1])")
def write_lines(bodies: Any, ends: Any, heads: Any, head_ends: Any, lines: Any) -> None:
    position = np.uint64(0)
    output = np.uint64(0)
    for row in range(len(ends)):
        for i in range(head_ends[row], head_ends[row + 1]):
            lines[output] = heads[i]
            output += np.uint64(1)
        size = np.uint64(ends[row]) - position
        for i in range(size):
            lines[output + i] = bodies[position + i]
        position += size
        output += size
        lines[output] = _NEWLINE
        output += np.uint64(1)


@native(f"void({_READ_ONLY}, int64[::1], {_READ_ONLY}, int64[::1], int64[::1])")
def find_each(texts: Any, ends: Any, needles: Any, needle_ends: Any, positions: Any) -> None:
    text_start = 0
    needle_start = 0
    for row in range(len(ends)):
        size = needle_ends[row] - needle_start
        position = -1
        for start in range(text_start, ends[row] - size + 1):
            equal = 0
            while equal < size and texts[start + equal] == needles[needle_start + equal]:
                equal += 1
            if equal == size:
                position = start - text_start
                break
        positions[row] = position
        text_start = ends[row]
        needle_start = needle_ends[row]


@native(f"void({_READ_ONLY}, int64[::1], {_READ_ONLY}, int64[::1], {_READ_ONLY}, int64[::1])")
def find_digits(texts: Any, ends: Any, digests: Any, digest_ends: Any, hex_digits: Any, distances: Any) -> None:
    text_start = 0
    digest_start = 0
    for row in range(len(ends)):
        size = 2 * (digest_ends[row] - digest_start)
        distance = 0
        start = ends[row] - size
        while start >= text_start and size > 0 and distance == 0:
            equal = 0
            while equal < size:
                half = np.int64(digests[digest_start + equal // 2]) >> (4 - 4 * (equal % 2))
                if texts[start + equal] != hex_digits[half & 15]:
                    break
                equal += 1
            if equal == size:
                distance = ends[row] - start
            start -= 1
        distances[row] = distance
        text_start = ends[row]
        digest_start = digest_ends[row]
