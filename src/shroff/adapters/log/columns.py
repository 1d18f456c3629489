"""Texts that resemble each other, column by column: their first pieces, then their second ones, and so on.

JSON documents of neighboring decisions have the same names in the same order. Behind each other, the pieces of one
column take two thirds of the space when they are compressed. A piece ends with a comma or a colon, wherever it is, so
this is exact for any bytes.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shroff.features.kernels.native import native

_COMMA: Final = np.uint8(44)
_COLON: Final = np.uint8(58)
_GIVEN: Final = "Array(uint8, 1, 'C', readonly=True)"
Words = NDArray[np.int64]


def by_columns(texts: bytes, ends: Words, cuts: Words, sizes: Words) -> tuple[NDArray[np.uint8], Words]:
    """The texts, which end there, by columns, without so many bytes of each from its cut on; and their pieces' numbers.

    Cost: 1.7 ns a byte.
    """
    given, pieces, kept = np.frombuffer(texts, np.uint8), np.empty(len(ends), np.int64), ends - np.cumsum(sizes)
    rows = np.empty(int(kept[-1]), np.uint8)
    count_pieces(given, ends, cuts, sizes, rows, pieces)
    columns = np.empty_like(rows)
    into_columns(rows, columns, _begins(kept), kept, pieces, np.argsort(pieces, kind="stable"))
    return columns, pieces


def by_rows(columns: NDArray[np.uint8], ends: Words, pieces: Words) -> NDArray[np.uint8]:
    """The texts again, one behind the other. Cost: as `by_columns`."""
    rows = np.empty_like(columns)
    into_rows(rows, columns, _begins(ends), ends, pieces, np.argsort(pieces, kind="stable"))
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


@native(f"void({_GIVEN}, uint8[::1], int64[::1], int64[::1], int64[::1], int64[::1])")
def into_columns(rows: Any, columns: Any, begins: Any, ends: Any, pieces: Any, order: Any) -> None:
    """`order` has the rows of as many pieces one behind the other; `begins` is used up.

    Places are unsigned, as in `into_rows`: numba would look for negative ones at each byte.
    """
    to, first = np.uint64(0), 0
    while first < len(order):
        count, last = pieces[order[first]], first
        while last < len(order) and pieces[order[last]] == count:
            last += 1
        for _ in range(count):
            for number in range(first, last):
                at, end = np.uint64(begins[order[number]]), np.uint64(ends[order[number]])
                while at < end:
                    byte = rows[at]
                    columns[to] = byte
                    at += np.uint64(1)
                    to += np.uint64(1)
                    if (byte == _COMMA) | (byte == _COLON):
                        break
                begins[order[number]] = np.int64(at)
        first = last


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
