"""Texts that resemble each other, column by column: their first pieces, then their second ones, and so on.

JSON documents of neighboring decisions have the same names in the same order. Behind each other, the pieces of one
column take two thirds of the space when they are compressed. A piece ends with a comma or a colon, wherever it is, so
this is exact for any bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from shroff.arrays import Bytes, Ints
from shroff.features.kernels.native import native
from shroff.features.kernels.numbers import intrinsic_of

_COMMA = np.uint8(44)
_COLON = np.uint8(58)
VECTOR_BYTES = 32
_NEWLINE = np.uint8(10)
_GROUP_BITS = 32  # above them stands the group of a text, below them the number of its pieces
_PIECES = (1 << _GROUP_BITS) - 1
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_GIVEN = "Array(uint8, 1, 'C', readonly=True)"


def by_columns(texts: Bytes, ends: Ints, cuts: Ints, sizes: Ints, group: Ints) -> tuple[Bytes, Ints, Ints]:
    """The texts, which end there, by columns, without so many bytes of each from its cut on.

    Texts of one group, which follow each other, are laid out together. Also where what is left of each text ended, and
    how many pieces each has.

    Cost: 0.5 ns a byte.
    """
    pieces, kept = np.empty(len(ends), np.int64), ends - np.cumsum(sizes)
    size = int(kept[-1])
    rows = np.empty(size + VECTOR_BYTES, np.uint8)
    count_pieces(texts, ends, cuts, sizes, rows, pieces)
    columns, told = np.empty_like(rows), group << _GROUP_BITS | pieces
    into_columns(rows, columns, _begins(kept), kept, told, np.argsort(told, kind="stable"))
    return columns[:size], kept, pieces


def by_rows(columns: Bytes, ends: Ints, pieces: Ints) -> Bytes:
    """The texts again, one behind the other. Cost: 2 ns a byte."""
    rows = np.empty_like(columns)
    into_rows(rows, columns, _begins(ends), ends, pieces, np.argsort(pieces, kind="stable"))
    return rows


def as_lines(bodies: Bytes, ends: Ints, head: bytes) -> tuple[Bytes, Ints]:
    """Each text with the same before it and the end of a line behind it, and where each line ends."""
    line_ends = ends + (len(head) + 1) * np.arange(1, len(ends) + 1)
    lines = np.empty(int(line_ends[-1]), np.uint8)
    write_lines(bodies, ends, np.frombuffer(head, np.uint8), lines)
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


def some_rows(columns: Bytes, ends: Ints, pieces: Ints, wanted: Sequence[int]) -> Bytes:
    """As `by_rows`, but nothing is written where the texts of other rows stand.

    Cost: 0.15 ns a byte for each wanted text. A byte that ends no piece is not looked at by itself.
    """
    rows = np.empty_like(columns)
    for row in wanted:
        write_row(columns, ends, pieces, row, rows)
    return rows


def _begins(ends: Ints) -> Ints:
    return np.concatenate([np.zeros(1, np.int64), ends[:-1]])


@native(f"void({_GIVEN}, int64[::1], int64[::1], int64[::1], uint8[::1], int64[::1])")
def count_pieces(given: Any, ends: Any, cuts: Any, sizes: Any, rows: Any, pieces: Any) -> None:
    """Write the texts without their cuts to `rows`, and how many pieces each has."""
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
    """A bit for each byte of a vector, set where a piece ends."""
    from llvmlite import ir

    letters = [ir.Constant(read.type, [int(letter)] * VECTOR_BYTES) for letter in (_COMMA, _COLON)]
    ends = [builder.icmp_unsigned("==", read, letter) for letter in letters]
    return builder.bitcast(builder.or_(*ends), ir.IntType(VECTOR_BYTES))


def _vector_at(context: Any, builder: Any, signature: Any, arguments: Any, array: int) -> Any:
    """Where the vector of an array begins, by the argument behind it."""
    from llvmlite import ir

    made = context.make_array(signature.args[array])(context, builder, arguments[array])
    vector = ir.VectorType(ir.IntType(8), VECTOR_BYTES)
    return builder.bitcast(builder.gep(made.data, [arguments[array + 1]]), vector.as_pointer())


def _copy_vector(typing_context: Any, out: Any, to: Any, source: Any, at: Any) -> Any:
    from llvmlite import ir
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = context, builder, signature, arguments
        read = builder.load(_vector_at(*given, 2))
        read.align = 1
        builder.store(read, _vector_at(*given, 0)).align = 1
        first = builder.cttz(_ends_among(builder, read), ir.Constant(ir.IntType(1), 0))
        return builder.zext(first, ir.IntType(64))

    return types.int64(out, types.int64, source, types.int64), generate


def _count_vector(typing_context: Any, source: Any, at: Any) -> Any:
    from llvmlite import ir
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        read = builder.load(_vector_at(context, builder, signature, arguments, 0))
        read.align = 1
        return builder.zext(builder.ctpop(_ends_among(builder, read)), ir.IntType(64))

    return types.int64(source, types.int64), generate


# Copy VECTOR_BYTES bytes of one array to another; gives how many stand before the first end of a piece among them.
_copy_piece = intrinsic_of(_copy_vector)
# How many pieces end among VECTOR_BYTES bytes of an array.
_count_ends = intrinsic_of(_count_vector)


@native(f"void({_GIVEN}, uint8[::1], int64[::1], int64[::1], int64[::1], int64[::1])")
def into_columns(rows: Any, columns: Any, begins: Any, ends: Any, pieces: Any, order: Any) -> None:
    """`order` has the rows of a group and as many pieces one behind the other; `begins` is used up.

    Pieces are copied by whole vectors, so both arrays have room for one behind their end.
    """
    to, first = 0, 0
    while first < len(order):
        count, last = pieces[order[first]], first
        while last < len(order) and pieces[order[last]] == count:
            last += 1
        for _ in range(count & _PIECES):
            for number in range(first, last):
                row = order[number]
                at, end = begins[row], ends[row]
                while at < end:
                    found = _copy_piece(columns, to, rows, at)
                    size = min(found + 1, VECTOR_BYTES, end - at)
                    at += size
                    to += size
                    if found < size:
                        break
                begins[row] = at
        first = last


@native(f"void({_GIVEN}, int64[::1], int64[::1], int64, uint8[::1])")
def write_row(columns: Any, ends: Any, pieces: Any, row: Any, rows: Any) -> None:
    """Write the text of one row to its place in `rows`."""
    at, alike, place, before, begin = 0, 0, 0, 0, 0
    for other in range(len(ends)):
        size = ends[other] - begin
        if pieces[other] < pieces[row]:
            at += size
        elif pieces[other] == pieces[row]:
            alike += 1
            if other < row:
                place, before = place + 1, before + size
        begin = ends[other]
    to = ends[row - 1] if row else 0
    for _ in range(pieces[row] - 1):
        for part in range(2):
            # Pieces of the rows before this one, then of those behind it.
            left, begin = place if part == 0 else alike - place - 1, at
            while left > 0 and at < len(columns):
                found = _count_ends(columns, at) if at + VECTOR_BYTES <= len(columns) else left
                stop = at + VECTOR_BYTES
                if found < left:
                    left, at = left - found, stop
                while left > 0 and at < min(stop, len(columns)):
                    left -= (columns[at] == _COMMA) | (columns[at] == _COLON)
                    at += 1
            if part == 0:
                before -= at - begin
                is_end = False
                while not is_end and at < len(columns):
                    byte = columns[at]
                    rows[to] = byte
                    is_end = (byte == _COMMA) | (byte == _COLON)
                    at, to = at + 1, to + 1
    # Last pieces end with their texts, and stand behind all others.
    at += before
    for to_ in range(to, ends[row]):
        rows[to_] = columns[at]
        at += 1


@native(f"void({_GIVEN}, int64[::1], {_GIVEN}, uint8[::1])")
def write_lines(bodies: Any, ends: Any, head: Any, lines: Any) -> None:
    """Write each body with the head before it and a newline behind it."""
    at, to, size = np.uint64(0), np.uint64(0), np.uint64(len(head))
    for row in range(len(ends)):
        for i in range(size):
            lines[to + i] = head[i]
        to += size
        count = np.uint64(ends[row]) - at
        for i in range(count):
            lines[to + i] = bodies[at + i]
        at += count
        to += count
        lines[to] = _NEWLINE
        to += np.uint64(1)


@native(f"void({_GIVEN}, int64[::1], {_GIVEN}, int64[::1], int64[::1])")
def find_each(texts: Any, ends: Any, others: Any, other_ends: Any, places: Any) -> None:
    """Find each other text in its text, from the front."""
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
    """Find the digits of each digest in its text, from the back."""
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


@native(f"void(uint8[::1], {_GIVEN}, int64[::1], int64[::1], int64[::1], int64[::1])")
def into_rows(rows: Any, columns: Any, begins: Any, ends: Any, pieces: Any, order: Any) -> None:
    """What `into_columns` undoes: each byte of `columns` goes to where it came from."""
    to, first = np.uint64(0), 0
    while first < len(order):
        count, last = pieces[order[first]], first
        while last < len(order) and pieces[order[last]] == count:
            last += 1
        for _ in range(count):
            for number in range(first, last):
                at, end = np.uint64(begins[order[number]]), np.uint64(ends[order[number]])
                while at < end:
                    byte = columns[to]
                    rows[at] = byte
                    at += np.uint64(1)
                    to += np.uint64(1)
                    if (byte == _COMMA) | (byte == _COLON):
                        break
                begins[order[number]] = np.int64(at)
        first = last
