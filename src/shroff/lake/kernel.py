"""Locations of a recorded decision's parts in its document, without decoding it; compiled."""

from __future__ import annotations

from typing import Any, Final

from shroff.features.kernels.native import native
from shroff.features.kernels.numbers import Word, compiled
from shroff.log.columns.kernel import BACKSLASH, CLOSE, COMMA, LIST, OPEN, QUOTE, end_of_text, number_of

END_OF_LIST: Final = 93


@compiled
def end_of_value(data: Any, at: Word, end: Word) -> Word:
    """The place behind a JSON value that begins here; `end` where it does not end before."""
    if data[at] == QUOTE:
        return min(end, end_of_text(data, at + 1, end) + 1)
    if data[at] != OPEN and data[at] != LIST:
        while at < end and data[at] != COMMA and data[at] != CLOSE and data[at] != END_OF_LIST:
            at += 1
        return at
    depth = 0
    while at < end:
        if data[at] == QUOTE:
            at = end_of_text(data, at + 1, end)
        elif data[at] == OPEN or data[at] == LIST:
            depth += 1
        elif data[at] == CLOSE or data[at] == END_OF_LIST:
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return end


@native("void(uint8[::1], int64[::1], int64[::1], uint8[::1], int64[::1], int64[:, ::1], int64[:, ::1])")
def find_parts(data: Any, begins: Any, ends: Any, names: Any, name_ends: Any, firsts: Any, lasts: Any) -> None:
    """Where the values of some keys of each object stand, [first, last), up to the last of these keys.

    A key that an object lacks has the places 0 and 0. Of the last key only where its value begins is looked for: it
    is long, and who wants it reads it anyway; its `last` is the end of the object.
    """
    keys = len(name_ends) - 1
    for row in range(len(begins)):
        for number in range(keys):
            firsts[number, row] = 0
            lasts[number, row] = 0
        at, end = begins[row] + 1, ends[row]
        while at < end and data[at] == QUOTE:
            key = at + 1
            at = end_of_text(data, key, end)
            number = number_of(data, key, at, names, name_ends, 0)
            at += 2  # the quote and the colon
            if at >= end:
                break
            if number < keys:
                firsts[number, row] = at
            if number == keys - 1:
                lasts[number, row] = end
                break
            at = end_of_value(data, at, end)
            if number < keys:
                lasts[number, row] = at
            at += 1  # the comma, or the end


@native("void(uint8[::1], int64[::1], int64[::1], uint8[::1], int64[::1], int64[::1], uint8[::1])")
def find_last_text(data: Any, begins: Any, ends: Any, before: Any, firsts: Any, lasts: Any, kinds: Any) -> None:
    """Where the text stands, [first, last), that follows the last occurrence of some bytes; kind 0 where none is.

    The bytes hold a quote that is not escaped, so they are in no text: `"model":"`.
    """
    size = len(before)
    for row in range(len(begins)):
        firsts[row] = 0
        lasts[row] = 0
        kinds[row] = 0
        at = ends[row] - size
        while at >= begins[row]:
            same = data[at] == before[0] and data[at - 1] != BACKSLASH
            k = 1
            while same and k < size:
                same = data[at + k] == before[k]
                k += 1
            if same:
                firsts[row] = at + size
                lasts[row] = end_of_text(data, at + size, ends[row])
                kinds[row] = 1
                break
            at -= 1
