"""Texts that resemble each other, column by column: their first pieces, then their second ones, and so on.

JSON documents of neighboring decisions have the same names in the same order. Behind each other, the pieces of one
column take two thirds of the space when they are compressed. A piece ends with a comma or a colon, wherever it is, so
this is exact for any bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shroff.features.kernels.native import native
from shroff.features.kernels.numbers import intrinsic_of

_COMMA: Final = np.uint8(44)
_COLON: Final = np.uint8(58)
VECTOR_BYTES: Final = 32
_NEWLINE: Final = np.uint8(10)
_GROUP_BITS: Final = 32  # above them stands the group of a text, below them the number of its pieces
_PIECES: Final = (1 << _GROUP_BITS) - 1
_DIGITS: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
_GIVEN: Final = "Array(uint8, 1, 'C', readonly=True)"
Words = NDArray[np.int64]


def by_columns(
    texts: NDArray[np.uint8], ends: Words, cuts: Words, sizes: Words, group: Words
) -> tuple[NDArray[np.uint8], Words, Words]:
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


def by_rows(columns: NDArray[np.uint8], ends: Words, pieces: Words) -> NDArray[np.uint8]:
    """The texts again, one behind the other. Cost: 2 ns a byte."""
    rows = np.empty_like(columns)
    into_rows(rows, columns, _begins(ends), ends, pieces, np.argsort(pieces, kind="stable"))
    return rows


def as_lines(bodies: NDArray[np.uint8], ends: Words, head: bytes) -> tuple[NDArray[np.uint8], Words]:
    """Each text with the same before it and the end of a line behind it, and where each line ends."""
    line_ends = ends + (len(head) + 1) * np.arange(1, len(ends) + 1)
    lines = np.empty(int(line_ends[-1]), np.uint8)
    write_lines(bodies, ends, np.frombuffer(head, np.uint8), lines)
    return lines, line_ends


def places_in(texts: NDArray[np.uint8], ends: Words, others: NDArray[np.uint8], other_ends: Words) -> Words:
    """Where in its text each of the others stands first; -1 where it does not."""
    places = np.empty(len(ends), np.int64)
    find_each(texts, ends, others, other_ends, places)
    return places


def digits_behind(texts: NDArray[np.uint8], ends: Words, digests: NDArray[np.uint8], digest_ends: Words) -> Words:
    """How far before its end the hexadecimal digits of its digest stand last in each text; 0 where they do not."""
    found = np.empty(len(ends), np.int64)
    find_digits(texts, ends, digests, digest_ends, _DIGITS, found)
    return found


def some_rows(columns: NDArray[np.uint8], ends: Words, pieces: Words, wanted: Sequence[int]) -> NDArray[np.uint8]:
    """As `by_rows`, but nothing is written where the texts of other rows stand.

    Cost: 0.4 ns a byte, and 10 µs for each text. A byte that ends no piece is not looked at by itself.
    """
    rows, begins = np.empty_like(columns), _begins(ends)
    sizes = ends - begins
    for count in sorted({int(pieces[row]) for row in wanted}):
        alike = np.flatnonzero(pieces == count)
        before = int(sizes[pieces < count].sum())
        part = columns[before : before + int(sizes[alike].sum())]
        found = np.flatnonzero((part == _COMMA) | (part == _COLON)) + 1
        edges, shape = np.concatenate([np.zeros(1, np.int64), found]), (count - 1, len(alike))
        starts, stops = edges[:-1].reshape(shape), edges[1:].reshape(shape)
        last_sizes = sizes[alike] - (stops - starts).sum(axis=0)  # of last pieces, which end with their texts
        last_stops, text = edges[-1] + np.cumsum(last_sizes), part.data
        for at in np.searchsorted(alike, [row for row in wanted if pieces[row] == count]).tolist():
            each = [*zip(starts[:, at].tolist(), stops[:, at].tolist(), strict=True)]
            each.append((last_stops[at] - last_sizes[at], last_stops[at]))
            joined = b"".join([text[start:stop] for start, stop in each])
            rows[begins[alike[at]] : ends[alike[at]]] = np.frombuffer(joined, np.uint8)
    return rows


def _begins(ends: Words) -> Words:
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


def _copy_vector(typing_context: Any, out: Any, to: Any, source: Any, at: Any) -> Any:
    from llvmlite import ir
    from numba import types

    byte = ir.IntType(8)
    vector = ir.VectorType(byte, VECTOR_BYTES)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def place(array: int) -> Any:
            made = context.make_array(signature.args[array])(context, builder, arguments[array])
            return builder.bitcast(builder.gep(made.data, [arguments[array + 1]]), vector.as_pointer())

        read = builder.load(place(2))
        read.align = 1
        builder.store(read, place(0)).align = 1
        ends = [
            builder.icmp_unsigned("==", read, ir.Constant(vector, [int(letter)] * VECTOR_BYTES))
            for letter in (_COMMA, _COLON)
        ]
        found = builder.bitcast(builder.or_(*ends), ir.IntType(VECTOR_BYTES))
        return builder.zext(builder.cttz(found, ir.Constant(ir.IntType(1), 0)), ir.IntType(64))

    return types.int64(out, types.int64, source, types.int64), generate


# Copy VECTOR_BYTES bytes of one array to another; gives how many stand before the first end of a piece among them.
_copy_piece = intrinsic_of(_copy_vector)


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
