"""Flat JSON objects as Arrow columns: bodies of events, and features of decisions as they were recorded.

Compiled code finds the values (see `log_kernel`) and reads those that stand in the form in which they are written;
Python reads the few others, so every value comes out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shroff.engine.stored import damaged
from shroff.lake.kernel import find_last_text, find_parts
from shroff.language.types import INTEGER_MAX, INTEGER_MIN, Type
from shroff.language.values import parse_decimal, parse_time, rescale_half_even
from shroff.log.columns.kernel import (
    MISSING,
    STRANGE,
    TEXT,
    THERE,
    TOKEN,
    WORD_KINDS,
    find_values,
    gather_texts,
    read_words,
)
from shroff.log.columns.tables import arrow_type

DECIMAL_END: Final = 10**38  # a decimal of Arrow has 38 digits; a value beyond is missing in a table
PART: Final = 4_096  # objects whose values are found at once: what is noted of forty fields then fits a core's cache
LETTER_N: Final = ord("n")  # of null: no other token begins with it
Words = NDArray[np.int64]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class TextArrays:
    """Texts one behind the other in memory, [begin, end) each."""

    data: Bytes
    begins: Words
    ends: Words

    @classmethod
    def of(cls, texts: Sequence[bytes]) -> TextArrays:
        """Texts of UTF-8, copied once."""
        ends = np.fromiter(map(len, texts), np.int64, len(texts)).cumsum()
        data = np.frombuffer(bytearray().join(texts) or bytearray(1), np.uint8)
        return cls(data, np.concatenate([[0], ends[:-1]]).astype(np.int64) if len(ends) else ends, ends)

    def column(self) -> pa.Array:
        """The same memory as a column of texts."""
        offsets = np.zeros(len(self.ends) + 1, np.int32)
        offsets[1:] = self.ends
        return pa.Array.from_buffers(
            pa.string(), len(self.ends), [None, pa.py_buffer(offsets), pa.py_buffer(self.data)]
        )

    def part(self, begin: int, end: int) -> TextArrays:
        """Some of them, in the same memory."""
        return TextArrays(self.data, self.begins[begin:end].copy(), self.ends[begin:end].copy())

    def bytes(self, row: int) -> bytes:
        return self.data[self.begins[row] : self.ends[row]].tobytes()


def columns_of(
    objects: TextArrays, fields: Sequence[tuple[str, Type]], money_places: int, what: Callable[[int], str]
) -> dict[str, pa.ChunkedArray]:
    """The columns of all fields of some objects, by name (see `JsonColumns`)."""
    found: dict[str, list[pa.Array]] = {name: [] for name, _ in fields}
    for begin in range(0, max(1, len(objects.begins)), PART):  # without objects, once for the types
        part = JsonColumns(objects.part(begin, begin + PART), fields, money_places, partial(_behind, what, begin))
        for name, arrays in found.items():
            arrays.append(part.array(name))
    return {name: pa.chunked_array(arrays) for name, arrays in found.items()}


def _behind(what: Callable[[int], str], begin: int, row: int) -> str:
    return what(begin + row)


class JsonColumns:
    """Some objects, each value found once.

    Args:
        objects: Canonical JSON, single values, keys sorted. Behind an object that has all fields there may be more.
        fields: Names and types of what is wanted, in the order of keys.
        money_places: As the project's currency has them.
        what: Names an object in a message, by its number.
    """

    def __init__(
        self, objects: TextArrays, fields: Sequence[tuple[str, Type]], money_places: int, what: Callable[[int], str]
    ) -> None:
        self._objects, self._what, self._money_places = objects, what, money_places
        self._numbers = {name: (number, type_) for number, (name, type_) in enumerate(fields)}
        self._data, count = objects.data, len(objects.begins)
        self._count = count
        shape = len(fields), count
        self._firsts, self._lasts = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self._kinds = np.zeros(shape, np.uint8)
        names, name_ends = joined([msgspec.json.encode(name)[1:-1] for name, _ in fields])
        find_values(self._data, objects.begins, objects.ends, names, name_ends, self._firsts, self._lasts, self._kinds)
        for kinds, firsts in zip(self._kinds, self._firsts, strict=True):
            kinds[(kinds == TOKEN) & (self._data[firsts] == LETTER_N)] = MISSING

    def array(self, name: str) -> pa.Array:
        """A column, typed as `shroff features` types it; null where a value is missing.

        Raises: StorageError where a stored value is none of its type.
        """
        number, type_ = self._numbers[name]
        places = self._data, self._firsts[number], self._lasts[number], self._kinds[number]
        wanted = arrow_type(type_, self._money_places)
        if type_.is_text:
            return self._texts(name, places)
        if type_.kind in {"real", "duration"}:
            return self._reals(name, places)
        values, states = np.zeros(self._count, np.int64), np.empty(self._count, np.uint8)
        is_decimal = type_.kind in {"money", "number"}
        read_words(*places, WORD_KINDS[type_.kind], wanted.scale if is_decimal else 0, values, states)
        if is_decimal:
            return self._decimals(name, values, states, wanted)
        for row in np.flatnonzero((states != THERE) & (places[3] != MISSING)).tolist():
            value = self._value(name, row, _PYTHON[type_.kind])
            states[row] = MISSING if value is None else THERE
            values[row] = 0 if value is None else value
        return pa.array(values.astype(np.bool_) if type_.kind == "boolean" else values, mask=states != THERE).cast(
            wanted
        )

    def _texts(self, name: str, places: Any) -> pa.Array:
        data, firsts, lasts, kinds = places
        texts, _ = gathered(data, firsts, lasts, kinds)
        return self._mended(name, texts, kinds != TEXT, kinds, str)

    def _reals(self, name: str, places: Any) -> pa.Array:
        """Arrow reads the shortest digits to the nearest float, as everything does that reads JSON."""
        data, firsts, lasts, kinds = places
        as_text = np.where(kinds == TOKEN, TEXT, STRANGE).astype(np.uint8)
        as_text[kinds == MISSING] = MISSING
        texts, _ = gathered(data, firsts, lasts, as_text)
        return self._mended(name, texts.cast(pa.float64()), as_text == STRANGE, kinds, float)

    def _decimals(self, name: str, values: Words, states: Bytes, wanted: Any) -> pa.Array:
        words = np.empty((len(values), 2), np.int64)
        words[:, 0] = values
        np.right_shift(words[:, 0], 63, out=words[:, 1])
        valid = None if (states == THERE).all() else pa.py_buffer(np.packbits(states == THERE, bitorder="little"))
        found = pa.Array.from_buffers(wanted, len(words), [valid, pa.py_buffer(words)])

        def read(text: Any) -> Decimal | None:
            units = rescale_half_even(*parse_decimal(str(text)), wanted.scale)
            return Decimal(f"{units}E-{wanted.scale}") if abs(units) < DECIMAL_END else None

        kinds = self._kinds[self._numbers[name][0]]
        return self._mended(name, found, states != THERE, kinds, read)

    def _mended(self, name: str, found: pa.Array, odd: Any, kinds: Bytes, read: Callable[[Any], Any]) -> pa.Array:
        """The column with the values that compiled code has left, null where it has none and none is there."""
        rows = np.flatnonzero(odd & (kinds != MISSING)).tolist()
        if not rows:
            return found
        listed = found.to_pylist()
        for row in rows:
            listed[row] = self._value(name, row, read)
        return pa.array(listed, found.type)

    def _value(self, name: str, row: int, read: Callable[[Any], Any]) -> Any:
        try:
            value = self._decoded(row).get(name)
            return None if value is None else read(value)
        except (ValueError, TypeError) as error:
            raise damaged(self._what(row), error) from None

    def _decoded(self, row: int) -> dict[str, Any]:
        found: dict[str, Any] = json.JSONDecoder().raw_decode(self._objects.bytes(row).decode())[0]
        return found


_PARTS: Final = ("score", "rules", "shadow_rules", "features")
_MODEL: Final = np.frombuffer(bytearray(b'"model":"'), np.uint8)
_EMPTY_LIST: Final = 2  # bytes


def document_columns(documents: TextArrays, what: Callable[[int], str]) -> tuple[dict[str, pa.Array], TextArrays]:
    """Of recorded decisions score, rules and model as columns, and their features as objects.

    Raises: StorageError where a document is none.
    """
    names, name_ends = joined([name.encode() for name in _PARTS])
    shape = len(_PARTS), len(documents.begins)
    firsts, lasts = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    find_parts(documents.data, documents.begins, documents.ends, names, name_ends, firsts, lasts)
    columns = {"score": _scores(documents, firsts[0], lasts[0], what)}
    for number in (1, 2):
        columns[_PARTS[number]] = _lists(documents, firsts[number], lasts[number], what)
    model = np.empty(shape[1], np.int64), np.empty(shape[1], np.int64), np.empty(shape[1], np.uint8)
    find_last_text(documents.data, documents.begins, documents.ends, _MODEL, *model)
    columns["model"], _ = gathered(documents.data, *model)
    has_features = firsts[3] > 0
    features = np.where(has_features, firsts[3], documents.ends), np.where(has_features, lasts[3], documents.ends)
    return columns, TextArrays(documents.data, *features)


def _scores(documents: TextArrays, firsts: Words, lasts: Words, what: Callable[[int], str]) -> pa.Array:
    kinds = np.where(documents.data[firsts] == LETTER_N, MISSING, TEXT).astype(np.uint8)
    kinds[firsts == 0] = MISSING
    texts, _ = gathered(documents.data, firsts, lasts, kinds)
    try:
        return texts.cast(pa.float64())
    except pa.ArrowInvalid as error:
        raise damaged(f"{what(0)} or one behind it", error) from None


def _lists(documents: TextArrays, firsts: Words, lasts: Words, what: Callable[[int], str]) -> pa.Array:
    """Lists of texts, most of them empty."""
    listed: list[list[str]] = [[]] * len(firsts)
    for row in np.flatnonzero(lasts - firsts > _EMPTY_LIST).tolist():
        try:
            listed[row] = msgspec.json.decode(documents.data[firsts[row] : lasts[row]].tobytes(), type=list[str])
        except ValueError as error:
            raise damaged(what(row), error) from None
    return pa.array(listed, pa.list_(pa.string()))


def gathered(data: Bytes, firsts: Words, lasts: Words, kinds: Bytes) -> tuple[pa.Array, Bytes]:
    """Texts as Arrow has them, null where there is none."""
    length = int((lasts - firsts)[kinds == TEXT].sum())
    letters, ends = np.empty(length, np.uint8), np.empty(len(firsts) + 1, np.int32)
    states = np.empty(len(firsts), np.uint8)
    gather_texts(data, firsts, lasts, kinds, letters, ends, states)
    valid = None if (states == THERE).all() else pa.py_buffer(np.packbits(states == THERE, bitorder="little"))
    buffers = [valid, pa.py_buffer(ends), pa.py_buffer(letters)]
    return pa.Array.from_buffers(pa.string(), len(firsts), buffers), states


def _integer(value: Any) -> int | None:
    """A stored integer, which is text beyond 2^53; one beyond 64 bits is missing in a table."""
    found = int(value)
    return found if INTEGER_MIN <= found <= INTEGER_MAX else None


_PYTHON: Final[dict[str, Callable[[Any], Any]]] = {"integer": _integer, "boolean": bool, "time": parse_time}


def joined(names: Sequence[bytes]) -> tuple[Bytes, Words]:
    """Names one behind the other, and where each begins."""
    ends = np.cumsum([0, *map(len, names)])
    return np.frombuffer(b"".join(names) or b"\0", np.uint8).copy(), ends.astype(np.int64)
