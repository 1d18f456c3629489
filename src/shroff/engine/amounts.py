"""Converted amounts in decision documents: an event's first amount of `money in`, as converted and as sent.

If no rate was valid for an amount, `remark` says so. An amount beyond the largest one is missing, but its rate is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from shroff.arrays import Array
from shroff.engine.fragments import ColumnWriter, Slices, TextPool
from shroff.engine.stored import AMOUNT_PARTS
from shroff.events.conversion import converted_fields
from shroff.events.definitions import EventType, Field
from shroff.events.event import canonical_text, canonical_value
from shroff.features.frames import Frame
from shroff.language.columns import Column
from shroff.language.types import INTEGER, ORIGINAL_PLACES
from shroff.language.values import Value, show_number

_NULL = b"null"
_UNIT: int = 10**ORIGINAL_PLACES


class AmountWriter:
    """Writes the amount fields of one event type's documents; nothing for a type without such an amount."""

    def __init__(self, type_: EventType, money_places: int) -> None:
        self._fields = [
            (at, type_.fields[at])
            for converted in converted_fields(type_)[:1]
            for at in (converted.amount, converted.original, converted.currency, converted.rate)
        ]
        self._places = money_places
        self._amounts = ColumnWriter(["", ""], [field.type for _, field in self._fields[:1]], money_places)
        self._wholes = ColumnWriter(["", ""], [INTEGER], money_places)
        self._pieces = [f'{"," if at else ""}"{name}":'.encode() for at, name in enumerate(AMOUNT_PARTS)]

    def text(self, values: Sequence[Value]) -> bytes:
        if not self._fields:
            return b""
        texts = [canonical_value(values[at], field.type, self._places).encode() for at, field in self._fields]
        amount, original, currency, rate = (values[at] for at, _ in self._fields)
        is_unrated = original is not None and amount is None and rate is None
        texts.append(_remark_text(str(currency)).encode() if is_unrated else _NULL)
        return b"".join(part for pair in zip(self._pieces, texts, strict=True) for part in pair) + b","

    def parts(self, texts: TextPool, frame: Frame, rows: Array | slice, count: int) -> list[Slices]:
        """Return the amount fields of a batch, as consecutive parts of each document."""
        if not self._fields:
            return []
        amount, original, currency, rate = (field for _, field in self._fields)
        converted, sent = (frame.field(field.name, field.type).take(rows) for field in (amount, original))
        currencies, code_of = _different(frame, currency, rows)
        rates, rate_of = _different(frame, rate, rows)
        unrated = np.where(sent.valid & ~converted.valid & (rate_of == 0), code_of, 0)
        shown = (
            [self._amounts.write(texts, [converted], count)],
            self._original(texts, sent, count),
            [_chosen(texts, map(canonical_text, currencies), code_of)],
            [_chosen(texts, map(canonical_text, rates), rate_of)],
            [_chosen(texts, map(_remark_text, currencies), unrated)],
        )
        pieces = texts.add_all([*self._pieces, b","])
        *before, end = (pieces.take(np.array([at])) for at in range(len(self._pieces) + 1))
        return [*(part for prefix, slices in zip(before, shown, strict=True) for part in (prefix, *slices)), end]

    def _original(self, texts: TextPool, column: Column, count: int) -> list[Slices]:
        """Write an original amount as `canonical_value` does: the kernel writes whole units, this function the rest."""
        units, fractions = np.divmod(np.abs(column.values), _UNIT)
        written = self._wholes.write(texts, [Column(units, column.valid)], count)
        rests, rest_of = _numbered(fractions)
        begins = texts.add_all([b"", b'"', b'"-']).take(np.where(column.valid, 1 + (column.values < 0), 0))
        endings = texts.add_all([b"", *map(_rest_text, rests.tolist())])
        return [begins, written, endings.take(np.where(column.valid, 1 + rest_of, 0))]


@lru_cache(maxsize=_UNIT)
def _rest_text(rest: int) -> bytes:
    """Return the JSON of an amount's fraction, `rest` in parts of a unit."""
    return f'{show_number(rest, ORIGINAL_PLACES).removeprefix("0")}"'.encode()


def _different(frame: Frame, field: Field, rows: Array | slice) -> tuple[list[Any], Array]:
    """Return the distinct texts of a field, and for each row the index of its text, from 1; 0 if it is missing."""
    coded = frame.coded(field.name)
    if coded is None:
        column = frame.field(field.name, field.type).take(rows)
        index_by_text = {value: at for at, value in enumerate(dict.fromkeys(column.values.tolist()), 1)}
        codes = np.fromiter(map(index_by_text.__getitem__, column.values.tolist()), np.int64, len(column.values))
        return list(index_by_text), np.where(column.valid, codes, 0)
    numbers = coded.codes[rows] + 1
    used, which = _numbered(numbers)
    texts = [coded.dictionary.values[code - 1] if code else "" for code in used.tolist()]
    return texts, np.where(numbers == 0, 0, which + 1)


def _numbered(values: Array) -> tuple[Array, Array]:
    """Return the distinct values of small numbers >= 0, in order, and for each number the index of its value."""
    used = np.flatnonzero(np.bincount(values))
    numbers = np.zeros(int(used[-1]) + 1 if len(used) else 0, np.int64)
    numbers[used] = np.arange(len(used))
    return used, numbers[values]


def _chosen(texts: TextPool, choices: Iterable[str], which: Array) -> Slices:
    """Return one of the given texts for each row, counted from 1; `null` for 0."""
    return texts.add_all([_NULL, *(text.encode() for text in choices)]).take(which)


def _remark_text(currency: str) -> str:
    return canonical_text(f"no rate for {currency} is valid at the time of this event")
