"""Texts that resemble each other: what all of them have, once, and of each what is its own.

JSON documents of neighboring decisions have the same names in the same order. A piece of a text ends with a comma or a
colon, wherever it is, so this is exact for any bytes. Texts with as many pieces have one pattern: the pieces that are
the same in all of them, with gaps for the others. docs/reference/log-format.md says more.
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
_GROUP_BITS = 32  # above them stands the group of a text, below them the number of its pieces
_SAME_BITS = 8
_SAME = (1 << _SAME_BITS) - 1
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_GIVEN = "Array(uint8, 1, 'C', readonly=True)"


class Patterns(NamedTuple):
    """Fixed texts one behind the other, which end there; `firsts` has the first of each pattern, and their count."""

    fixed: Bytes
    ends: Ints
    firsts: Ints


def by_patterns(texts: Bytes, ends: Ints, cuts: Ints, sizes: Ints, group: Ints) -> tuple[Bytes, Ints, Ints, Patterns]:
    """Of texts, which end there, what is their own, without so many bytes of each from its cut on.

    Patterns of one group, whose texts follow each other, follow each other, too. Also where what is left of each text
    ends, and which pattern it has.

    Cost: 1 ns a byte.
    """
    pieces, kept = np.empty(len(ends), np.int64), ends - np.cumsum(sizes)
    rows = np.empty(int(kept[-1]) + VECTOR_BYTES, np.uint8)
    count_pieces(texts, ends, cuts, sizes, rows, pieces)
    _, models, of_rows = np.unique(group << _GROUP_BITS | pieces, return_index=True, return_inverse=True)
    last_pieces = pieces[models].cumsum()
    differs = np.zeros(last_pieces[-1], np.uint8)
    own, own_ends = np.empty_like(rows), np.empty_like(kept)
    compare_pieces(rows, kept, of_rows, models, last_pieces, differs, own)
    gaps = np.diff(differs.cumsum(dtype=np.int64)[last_pieces - 1], prepend=0)
    firsts = np.concatenate([np.zeros(1, np.int64), (gaps + 1).cumsum()])
    fixed, fixed_ends = np.empty(int(np.diff(kept, prepend=0)[models].sum()), np.uint8), np.empty(firsts[-1], np.int64)
    take_fixed(rows, kept, models, differs, fixed, fixed_ends)
    take_own(rows, kept, of_rows, fixed_ends, firsts, own, own_ends)
    return own[: own_ends[-1]], own_ends, of_rows, Patterns(fixed[: fixed_ends[-1]], fixed_ends, firsts)


def by_texts(parts: bytes, rows: Sequence[tuple[int, int, int, int]], room: int) -> tuple[bytes, list[list[int]]]:
    """Documents again, one behind the other, without the digits of receipts; and of each what `put_together` found.

    Cost: 25 µs, 1 µs for each block, and 1 ns a byte.

    Args:
        parts: Parts with patterns, and blocks; a row says where both begin, how many documents the block has, and
            which one of them is wanted. Those of a block follow each other, in order.
        room: Bytes that all documents together take at most.
    """
    texts, found = np.empty(room, np.uint8), np.empty((len(rows), 4), np.int64)
    given, wanted = np.frombuffer(parts, np.uint8), np.array(rows, np.int64).reshape(-1, 4)
    put_together(given, wanted, np.empty(len(parts) // 4 + 1, np.int64), texts, found)
    places = found.tolist()
    return texts[: places[-1][0] if places else 0].tobytes(), places


def as_lines(bodies: Bytes, ends: Ints, heads: Sequence[bytes]) -> tuple[Bytes, Ints]:
    """Each text with its head before it and the end of a line behind it, and where each line ends."""
    head_ends = np.cumsum([0, *map(len, heads)])
    line_ends = ends + head_ends[1:] + np.arange(1, len(ends) + 1)
    lines = np.empty(int(line_ends[-1]), np.uint8)
    write_lines(bodies, ends, np.frombuffer(b"".join(heads), np.uint8), head_ends, lines)
    return lines, line_ends


def places_in(texts: Bytes, ends: Ints, others: Bytes, other_ends: Ints) -> Ints:
    """Where in its text each of the others stands first; -1 where it does not."""
    places = np.empty(len(ends), np.int64)
    find_each(texts, ends, others, other_ends, places)
    return places


def digits_behind(texts: Bytes, ends: Ints, digests: Bytes, digest_ends: Ints) -> Ints:
    """How far before its end the hexadecimal digits of its digest stand last in each text; 0 where they do not."""
    found = np.empty(len(ends), np.int64)
    find_digits(texts, ends, digests, digest_ends, _DIGITS, found)
    return found


@native(f"void({_GIVEN}, int64[::1], int64[::1], int64[::1], uint8[::1], int64[::1])")
def count_pieces(given: Any, ends: Any, cuts: Any, sizes: Any, rows: Any, pieces: Any) -> None:
    at, to = np.uint64(0), np.uint64(0)
    for row in range(len(ends)):
        count = 1
        for end in (np.uint64(cuts[row]), np.uint64(ends[row])):
            for i in range(end - at):
                byte = given[at + i]
                rows[to + i] = byte
                count += (byte == _COMMA) | (byte == _COLON)
            to += end - at
            at = end + np.uint64(sizes[row])
        at, pieces[row] = np.uint64(ends[row]), count


def _ends_among(builder: Any, read: Any) -> Any:
    from llvmlite import ir

    letters = [ir.Constant(read.type, [int(letter)] * VECTOR_BYTES) for letter in (_COMMA, _COLON)]
    ends = [builder.icmp_unsigned("==", read, letter) for letter in letters]
    return builder.bitcast(builder.or_(*ends), ir.IntType(VECTOR_BYTES))


def _copy_vector(typing_context: Any, out: Any, to: Any, source: Any, at: Any) -> Any:
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = context, builder, signature, arguments
        read = vector_in(*given, 2)
        builder.store(read, vector_at(*given, 0)).align = 1
        return first_of(builder, _ends_among(builder, read))

    return types.int64(out, types.int64, source, types.int64), generate


def _compare_vectors(typing_context: Any, source: Any, at: Any, other_source: Any, other: Any) -> Any:
    from llvmlite import ir
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        reads = [vector_in(context, builder, signature, arguments, array) for array in (0, 2)]
        bits, word = ir.IntType(VECTOR_BYTES), ir.IntType(64)
        differs = builder.bitcast(builder.icmp_unsigned("!=", *reads), bits)
        same = builder.and_(builder.not_(differs), builder.sub(differs, bits(1)))
        ends = builder.zext(builder.ctpop(builder.and_(_ends_among(builder, reads[0]), same)), word)
        return builder.or_(builder.shl(ends, word(_SAME_BITS)), first_of(builder, differs))

    return types.int64(source, types.int64, other_source, types.int64), generate


# Copy VECTOR_BYTES bytes of one array to another; gives how many stand before the first end of a piece among them.
_copy_piece = intrinsic_of(_copy_vector)
# How many of so many are the same at two places before the first that differs; above _SAME_BITS bits, how many pieces
# end among these.
_compare = intrinsic_of(_compare_vectors)


@compiled
def _behind_piece(rows: Any, at: Any, end: Any, unused: Any) -> Any:
    found = VECTOR_BYTES
    while found == VECTOR_BYTES and at < end:
        found = _copy_piece(unused, 0, rows, at)
        at += min(found + 1, VECTOR_BYTES)
    return min(at, end)


@native(f"void({_GIVEN}, int64[::1], int64[::1], int64[::1], int64[::1], uint8[::1], uint8[::1])")
def compare_pieces(
    rows: Any, ends: Any, of_rows: Any, models: Any, last_pieces: Any, differs: Any, unused: Any
) -> None:
    """Mark the pieces that are not in all texts what they are in the model of their pattern, its first text.

    Texts are read by whole vectors, so there is room for one behind their end; and for one in `unused`.
    """
    at = 0
    for row in range(len(ends)):
        end, pattern = ends[row], of_rows[row]
        model = models[pattern]
        other, other_end = ends[model - 1] if model > 0 else 0, ends[model]
        piece = last_pieces[pattern - 1] if pattern > 0 else 0
        at = end if row == model else at
        while at < end:
            found = _compare(rows, at, rows, other)
            same = found & _SAME
            if same == VECTOR_BYTES or at + same >= end:
                same = min(same, end - at)
                at, other, piece = at + same, other + same, piece + (found >> _SAME_BITS)
            else:
                piece += found >> _SAME_BITS
                differs[piece] = 1
                piece += 1
                at, other = (
                    _behind_piece(rows, at + same, end, unused),
                    _behind_piece(rows, other + same, other_end, unused),
                )
        if row != model and other != other_end:
            differs[last_pieces[pattern] - 1] = 1


@native(f"void({_GIVEN}, int64[::1], int64[::1], {_GIVEN}, uint8[::1], int64[::1])")
def take_fixed(rows: Any, ends: Any, models: Any, differs: Any, fixed: Any, fixed_ends: Any) -> None:
    to, text, piece = 0, 0, 0
    for model in models:
        at, is_last = ends[model - 1] if model > 0 else 0, False
        while not is_last:
            is_last = True
            while at < ends[model] and is_last:
                byte = rows[at]
                is_last = (byte != _COMMA) & (byte != _COLON)
                if differs[piece] == 0:
                    fixed[to] = byte
                    to += 1
                at += 1
            if differs[piece] == 1:
                fixed_ends[text] = to
                text += 1
            piece += 1
        fixed_ends[text] = to
        text += 1


@native(f"void({_GIVEN}, int64[::1], int64[::1], int64[::1], int64[::1], uint8[::1], int64[::1])")
def take_own(rows: Any, ends: Any, of_rows: Any, fixed_ends: Any, firsts: Any, own: Any, own_ends: Any) -> None:
    """Write what each text has besides.

    Pieces are copied by whole vectors, so both arrays have room for one behind their end.
    """
    at, to = 0, 0
    for row in range(len(ends)):
        text, last = firsts[of_rows[row]], firsts[of_rows[row] + 1] - 1
        fixed = fixed_ends[text - 1] if text > 0 else 0
        for gap in range(text, last):
            at, fixed, found = at + fixed_ends[gap] - fixed, fixed_ends[gap], VECTOR_BYTES
            while found == VECTOR_BYTES and at < ends[row]:
                found = _copy_piece(own, to, rows, at)
                size = min(found + 1, VECTOR_BYTES, ends[row] - at)
                at, to = at + size, to + size
        at, own_ends[row] = ends[row], to


@compiled
def _number(texts: Any, at: Any, step: Any) -> Any:
    """A number of four bytes, of which each stands so far behind the one before."""
    found = np.int64(0)
    for byte in range(4):
        found |= np.int64(texts[at + byte * step]) << (8 * byte)
    return found


@native(f"void({_GIVEN}, int64[:, ::1], int64[::1], uint8[::1], int64[:, ::1])")
def put_together(parts: Any, rows: Any, fixed_ends: Any, texts: Any, found: Any) -> None:
    """Write the document of each row; and where it ends, how far before the digits of its receipt stood, and where
    among those of its block the receipt begins and ends.

    `fixed_ends` has room for where the fixed texts of a part with patterns begin and end.
    """
    to, block, passed, own, receipt = 0, -1, 0, 0, 0
    for at in range(len(rows)):
        head, start, count, row = rows[at, 0], rows[at, 1], rows[at, 2], rows[at, 3]
        if start != block:
            block, passed, own, receipt, fixed = start, 0, start + 16 * count, 0, 0
            sizes = head + 4
            for _ in range(_number(parts, head, 1)):
                fixed += _number(parts, sizes, 1)
                sizes += 4
            fixed_ends[0] = sizes + 4 * fixed
            for text in range(fixed):
                fixed_ends[text + 1] = fixed_ends[text] + _number(parts, sizes + 4 * text, 1)
        while passed < row:
            own += _number(parts, start + passed, count)
            receipt += _number(parts, start + 12 * count + passed, count)
            passed += 1
        first, pattern = 0, _number(parts, start + 4 * count + row, count)
        for earlier in range(pattern):
            first += _number(parts, head + 4 + 4 * earlier, 1)
        last = first + _number(parts, head + 4 + 4 * pattern, 1) - 1
        piece, end = own, own + _number(parts, start + row, count)
        for gap in range(first, last + 1):
            for i in range(fixed_ends[gap], fixed_ends[gap + 1]):
                texts[to] = parts[i]
                to += 1
            is_end = gap == last
            while piece < end and not is_end:
                byte = parts[piece]
                texts[to] = byte
                is_end = (byte == _COMMA) | (byte == _COLON)
                piece, to = piece + 1, to + 1
        found[at, 0], found[at, 1] = to, _number(parts, start + 8 * count + row, count)
        found[at, 2], found[at, 3] = receipt, receipt + _number(parts, start + 12 * count + row, count)


@native(f"void({_GIVEN}, int64[::1], {_GIVEN}, int64[::1], uint8[::1])")
def write_lines(bodies: Any, ends: Any, heads: Any, head_ends: Any, lines: Any) -> None:
    at, to = np.uint64(0), np.uint64(0)
    for row in range(len(ends)):
        for i in range(head_ends[row], head_ends[row + 1]):
            lines[to] = heads[i]
            to += np.uint64(1)
        count = np.uint64(ends[row]) - at
        for i in range(count):
            lines[to + i] = bodies[at + i]
        at += count
        to += count
        lines[to] = _NEWLINE
        to += np.uint64(1)


@native(f"void({_GIVEN}, int64[::1], {_GIVEN}, int64[::1], int64[::1])")
def find_each(texts: Any, ends: Any, others: Any, other_ends: Any, places: Any) -> None:
    at, first = 0, 0
    for row in range(len(ends)):
        size, place = other_ends[row] - first, -1
        for start in range(at, ends[row] - size + 1):
            same = 0
            while same < size and texts[start + same] == others[first + same]:
                same += 1
            if same == size:
                place = start - at
                break
        places[row] = place
        at, first = ends[row], other_ends[row]


@native(f"void({_GIVEN}, int64[::1], {_GIVEN}, int64[::1], {_GIVEN}, int64[::1])")
def find_digits(texts: Any, ends: Any, digests: Any, digest_ends: Any, digits: Any, found: Any) -> None:
    at, first = 0, 0
    for row in range(len(ends)):
        size, behind = 2 * (digest_ends[row] - first), 0
        start = ends[row] - size
        while start >= at and size > 0 and behind == 0:
            same = 0
            while same < size:
                byte = np.int64(digests[first + same // 2]) >> (4 - 4 * (same % 2))
                if texts[start + same] != digits[byte & 15]:
                    break
                same += 1
            if same == size:
                behind = ends[row] - start
            start -= 1
        found[row] = behind
        at, first = ends[row], digest_ends[row]
