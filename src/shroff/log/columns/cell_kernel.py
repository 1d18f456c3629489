"""Kernel that converts CSV lines to JSON lines for `line_kernel`, without a Python object for each.

A line is converted if csv.reader makes one record of it, with as many cells as the header, and its cells mean the same
as the values of the JSON line. The result of every other line is empty.
"""

from __future__ import annotations

from typing import Any

from shroff.engine.kernels.texts import copy_text
from shroff.events.formats.lines import LINE_BYTES_MAX
from shroff.features.kernels.native import native
from shroff.features.kernels.numbers import Word, compiled
from shroff.log.columns.kernel import (
    BACKSLASH,
    CLOSE,
    COMMA,
    DIGITS_MAX,
    LETTER_T_UPPER,
    LETTER_Z,
    MINUS,
    NEWLINE,
    NINE,
    OPEN,
    POINT,
    QUOTE,
    SPACE,
    ZERO,
)
from shroff.log.columns.line_kernel import FALSE, TRUE, is_same

QUOTED = 0  # kinds of cells: written as a text
WHOLE = 1  # an integer as JSON has it, else a text
TRUTH = 2  # true or false, else a text
UNREAD = 3
TIME = 4  # a text; a time without an offset is UTC

RECORD = 0  # states of lines: a complete record
BLANK = 1
OPEN_ENDED = 2  # it has a quotation mark that csv.reader must interpret: its record may continue

CELL_BYTES_MAX = 131_072  # csv.field_size_limit()
MARKS = 4  # bytes of a cell beside its name and text: quotation marks, a comma, and the Z of a time
_SECONDS = 19  # characters of a time up to its seconds
_RETURN = 13


@compiled
def _is_whole(data: Any, first: Word, last: Word) -> Word:
    if data[first] == MINUS:
        first += 1
    plain = first < last and last - first <= DIGITS_MAX and (data[first] != ZERO or last - first == 1)
    for k in range(first, last):
        plain &= ZERO <= data[k] <= NINE
    return plain


@compiled
def _write_cell(out: Any, to: Word, data: Any, first: Word, last: Word, kind: Word) -> Word:
    """Write a cell that is not empty as a JSON value, and a comma; return the end, -1 if it would need an escape."""
    for k in range(first, last):
        if data[k] == BACKSLASH:
            return -1
    is_bare = False
    if kind == WHOLE:
        is_bare = _is_whole(data, first, last)
    elif kind == TRUTH:
        is_bare = is_same(data, first, last, TRUE, 0, len(TRUE)) or is_same(data, first, last, FALSE, 0, len(FALSE))
    if not is_bare:
        out[to] = QUOTE
        to += 1
    to = copy_text(out, to, data, first, last)
    if kind == TIME and (
        last - first == _SECONDS or (last - first == _SECONDS + 4 and data[first + _SECONDS] == POINT)
    ):
        at = to - (last - first) + 10
        if (out[at] == SPACE or out[at] == LETTER_T_UPPER) and ZERO <= out[to - 1] <= NINE:
            out[at] = LETTER_T_UPPER
            out[to] = LETTER_Z
            to += 1
    if not is_bare:
        out[to] = QUOTE
        to += 1
    out[to] = COMMA
    return to + 1


@compiled
def _write_line(
    data: Any, at: Word, end: Word, separator: Word, kinds: Any, names: Any, name_ends: Any, out: Any, to: Word
) -> Any:
    """Write a line that is not blank; return its end, -1 if it cannot be converted, and its state."""
    column, plain = 0, True
    out[to] = OPEN
    to += 1
    while True:
        is_quoted = at < end and data[at] == QUOTE
        first = at + 1 if is_quoted else at
        at = first
        while at < end and data[at] != QUOTE and (is_quoted or data[at] != separator):
            plain &= data[at] >= SPACE
            at += 1
        last, is_blank = at, True
        for k in range(first, last):
            is_blank &= data[k] == SPACE
        if is_quoted:
            at += 1
            if at > end or (at < end and data[at] != separator):
                return -1, OPEN_ENDED
        elif at < end and data[at] == QUOTE:
            return -1, OPEN_ENDED
        plain &= column < len(kinds) and last - first < CELL_BYTES_MAX
        if plain and not is_blank and kinds[column] != UNREAD:
            to = copy_text(out, to, names, name_ends[column], name_ends[column + 1])
            to = _write_cell(out, to, data, first, last, kinds[column])
            plain = to >= 0
        column += 1
        if at >= end:
            break
        at += 1
    if not plain or column != len(kinds):
        return -1, RECORD
    out[to - 1] = CLOSE
    return to, RECORD


_BYTES = "Array(uint8, 1, 'C', readonly=True)"


@native(f"int64({_BYTES}, int64[::1], int64, int64[::1], {_BYTES}, int64[::1], uint8[::1], int64[::1], uint8[::1])")
def write_cells(
    data: Any, ends: Any, separator: Word, kinds: Any, names: Any, name_ends: Any, out: Any, line_ends: Any,
    states: Any,
) -> Word:  # fmt: skip
    """Write concatenated lines as JSON lines, and the end of each; return the end of the last.

    Args:
        kinds: Kind of the cells of each column.
        names: Field names of the columns as in a JSON line, `"card":`, concatenated.
        states: Set for each line: a record, a blank, or possibly a part of a record.
    """
    begin, to = 0, 0
    for row in range(len(ends)):
        end = ends[row]
        if end > begin and data[end - 1] == NEWLINE:
            end -= 1
        while end > begin and data[end - 1] == _RETURN:
            end -= 1
        if end == begin:
            states[row] = BLANK
        else:
            behind, states[row] = _write_line(data, begin, end, separator, kinds, names, name_ends, out, to)
            if behind >= 0 and ends[row] - begin <= LINE_BYTES_MAX:
                to = behind
        begin = ends[row]
        line_ends[row] = to
    return to
