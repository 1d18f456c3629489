"""Converts CSV lines to JSON lines of their type, which are then read as columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec.json import encode as to_json

from shroff.events.definitions import EventType
from shroff.events.formats.lines import Lines
from shroff.events.mapping import Mapper
from shroff.log.columns import cell_kernel as kernel
from shroff.log.columns.read_lines import SLACK, Texts, joined_texts

_KINDS = {"integer": kernel.WHOLE, "boolean": kernel.TRUTH, "time": kernel.TIME}


class CellForm:
    """How the records of a CSV file are written as JSON lines.

    Args:
        fields: For each column of the header the field's name (empty if it is not read), and its kind.
    """

    def __init__(self, separator: str, fields: Sequence[tuple[str, int]]) -> None:
        self._separator = ord(separator)
        self._kinds = np.array([kind for _, kind in fields], np.int64)
        names = [to_json(name) + b":" if name else b"" for name, _ in fields]
        self._names = joined_texts(names)
        self._extra_bytes = len(SLACK) + sum(map(len, names)) + kernel.MARKS * len(fields)

    def lines_of(self, raws: Sequence[bytes]) -> tuple[Texts, Sequence[int]] | None:
        """Return the records as JSON lines, and the indices of their lines; csv.reader must read those that are empty.

        Return None if a record may span several lines.
        """
        ends = np.fromiter(map(len, raws), np.int64).cumsum()
        out = np.empty(int(ends[-1]) + len(raws) * self._extra_bytes, np.uint8)
        line_ends = np.empty(len(raws), np.int64)
        states = np.empty(len(raws), np.uint8)
        size = kernel.write_cells(
            np.frombuffer(b"".join(raws) + SLACK, np.uint8),
            ends,
            self._separator,
            self._kinds,
            *self._names,
            out,
            line_ends,
            states,
        )
        if (states == kernel.OPEN_ENDED).any():
            return None
        text = out[: size + len(SLACK)].copy()
        text[size:] = 0
        if not (states == kernel.BLANK).any():
            return (text, line_ends), range(len(raws))
        is_record = states != kernel.BLANK
        return (text, line_ends[is_record]), is_record.nonzero()[0].tolist()


def cell_form(lines: Lines, type_: EventType) -> CellForm | None:
    """Return the form of a file's records; None if a field is not simply one of their cells."""
    kinds = dict[str, tuple[str, int]]()
    mapper = Mapper(type_, "csv")
    for field in type_.declared:
        (path, *more) = mapper.paths(field.name) if mapper.is_cell(field.name) else [()]
        if more or len(path) != 1 or path[0] in kinds:
            return None
        kinds[str(path[0])] = field.name, _KINDS.get(field.type.kind, kernel.QUOTED)
    return CellForm(lines.separator, [kinds.get(name, ("", kernel.UNREAD)) for name in lines.columns or ()])


def nothing_of(count: int) -> Texts:
    """Return `count` empty lines, so that all are odd."""
    return np.frombuffer(SLACK, np.uint8), np.zeros(count, np.int64)
