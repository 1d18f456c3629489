"""Convert whole Arrow columns to the type of a field, with the same results as the readers of rows (`events.readers`).

Some pairs of a column's type and a field's type have a vectorized reader. It marks the rows that it cannot read with
certainty, which `ColumnValidator` then passes to row validation. For all other pairs the reader of rows reads each
distinct value once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shroff.arrays import Array, Bools, Ints
from shroff.events.event import CALENDAR_MS
from shroff.events.formats.parquet import row_values, whole_ms
from shroff.events.raw_values import text_of
from shroff.events.readers import ID_LENGTH_MAX, SPAN_MS_MAX, TEXT_BYTES_MAX, reader
from shroff.language.columns import column_of
from shroff.language.types import INTEGER_MAX, UNITS_MAX, Type
from shroff.runtime.values import FrozenStruct

_FLOAT_WHOLE_MAX = {"double": 2**53, "float": 2**24}  # up to here a float has each whole number exactly
_FLOAT_ERROR = {"double": 2.0**-50, "float": 2.0**-24 + 2.0**-50}  # relative error; see `_from_float`
_FLOAT_PLACES_MAX = 22  # largest power of ten that a float has exactly
_WORD_PLACES_MAX = 18  # largest power of ten of a 64-bit integer


class Read(FrozenStruct):
    """The values of a column.

    Args:
        values: Values in the form of `language.columns`; for a text field an Arrow array of texts, or of integers in
            place of their digits. A value that is missing or not sure is arbitrary.
        there: Which values are present; None for all. Those that are not sure count as present.
        sure: Which values equal those of row validation; None for all. Row validation may refuse the others.
    """

    values: Any
    there: Bools | None
    sure: Bools | None

    def take(self, places: Ints) -> Read:
        if isinstance(self.values, np.ndarray):
            values = self.values[places]
        elif pa.types.is_dictionary(self.values.type):
            values = self.values.take(pa.array(places))
        else:
            texts = self.values.cast(pa.string()) if pa.types.is_integer(self.values.type) else self.values
            values = pa.DictionaryArray.from_arrays(pa.array(places, pa.int32()), texts)
        return Read(values, *(None if flags is None else flags[places] for flags in (self.there, self.sure)))


ColumnReader = Callable[[Any], Read]


class WantedField(FrozenStruct):
    """Conversion to a field; `hasher` is None unless the field is hashed."""

    type: Type
    currency: str
    is_id: bool
    hasher: Callable[[str], str] | None


def column_reader(found: Any, wanted: WantedField) -> ColumnReader:
    if pa.types.is_dictionary(found):
        inside = column_reader(found.value_type, wanted)
        # Reads each value of the dictionary once
        return lambda column: inside(_with_missing(column)).take(_places(column))
    return _short_way(found, wanted) or (lambda column: _by_value(column, wanted))


def _short_way(found: Any, wanted: WantedField) -> ColumnReader | None:
    type_ = wanted.type
    if type_.is_text:
        return None if wanted.hasher is not None else _text_reader(found, type_, is_id=wanted.is_id)
    if pa.types.is_integer(found):
        return _INTEGER_WAYS[type_.kind](type_) if type_.kind in _INTEGER_WAYS else None
    if pa.types.is_decimal128(found):
        return _decimal_reader(found.scale, type_)
    if pa.types.is_float64(found) or pa.types.is_float32(found):
        return _float_reader(str(found), type_)
    if pa.types.is_timestamp(found) and type_.kind == "time":
        return lambda column: _within(whole_ms(column), column, *CALENDAR_MS)
    if pa.types.is_duration(found) and type_.kind == "duration":
        return lambda column: _within(whole_ms(column), column, -SPAN_MS_MAX, SPAN_MS_MAX)
    if pa.types.is_boolean(found) and type_.kind == "boolean":
        return lambda column: Read(_filled(column, fill=False), _there(column), None)
    return None


# ---- texts


def _text_reader(found: Any, type_: Type, *, is_id: bool) -> ColumnReader | None:
    if pa.types.is_string(found) or pa.types.is_large_string(found):
        return lambda column: _texts(column, type_, is_id=is_id)
    if pa.types.is_integer(found) and type_.kind == "text":
        if is_id:  # all values differ, so a dictionary would not help
            return lambda column: Read(column.cast(pa.string()), _there(column), None)
        return _digits
    if pa.types.is_decimal(found) and type_.kind == "text":
        return lambda column: Read(column.cast(pa.string()), _there(column), None)
    return None


def _digits(column: Any) -> Read:
    return Read(column, _there(column), None)


def _texts(column: Any, type_: Type, *, is_id: bool) -> Read:
    there = _there(column)
    sure = (
        _flags(pc.is_in(column, value_set=pa.array(type_.choices, column.type)))
        if type_.kind == "choice" and not type_.is_open
        else None
    )
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:  # bytes that are no UTF-8
        return Read(column, there, np.zeros(len(column), np.bool_))
    sizes = _filled(pc.binary_length(column), fill=0)
    if len(sizes) and not sizes.all():
        there = sizes > 0  # empty text is missing
    most = ID_LENGTH_MAX if is_id else TEXT_BYTES_MAX
    if sizes.max(initial=0) > most:
        lengths = _filled(pc.utf8_length(column), fill=0) if is_id else sizes
        fits = (lengths <= most) & (sizes <= TEXT_BYTES_MAX)
        sure = fits if sure is None else sure & fits
    return Read(column, there, sure)


# ---- integers


def _words(column: Any) -> Read:
    """Read integers of 64 bits; larger ones are not sure."""
    values = _filled(column, fill=0)
    sure = values <= np.uint64(INTEGER_MAX) if values.dtype == np.uint64 else None
    return Read(values.astype(np.int64), _there(column), sure)


def _scaled_integer(type_: Type) -> ColumnReader:
    unit = 10**type_.places

    def read(column: Any) -> Read:
        words = _words(column)
        return _scaled(words.values, unit, UNITS_MAX // unit, words.there, words.sure)

    return read


def _epoch_ms(_: Type) -> ColumnReader:
    def read(column: Any) -> Read:
        words = _words(column)
        sure = _between(words.values, *CALENDAR_MS)
        return Read(words.values, words.there, sure if words.sure is None else sure & words.sure)

    return read


def _integer_as_float(_: Type) -> ColumnReader:
    return lambda column: Read(_filled(column, fill=0).astype(np.float64), _there(column), None)


_INTEGER_WAYS: Final[dict[str, Callable[[Type], ColumnReader]]] = {
    "integer": lambda _: _words,
    "money": _scaled_integer,
    "number": _scaled_integer,
    "time": _epoch_ms,
    "real": _integer_as_float,
}


# ---- decimals


def _decimal_reader(scale: int, type_: Type) -> ColumnReader | None:
    if type_.kind == "real" and 0 <= scale <= _FLOAT_PLACES_MAX:
        return lambda column: _decimal_as_float(column, scale)
    if type_.kind not in {"integer", "money", "number"}:
        return None
    more = type_.places - scale
    if abs(more) > _WORD_PLACES_MAX:
        return None
    limit = INTEGER_MAX if type_.kind == "integer" else UNITS_MAX
    rounds = type_.kind == "number"

    def read(column: Any) -> Read:
        digits, fits = _unscaled(column)
        if more >= 0:
            return _scaled(digits, 10**more, limit // 10**more, _there(column), fits)
        units, exact = divided(digits, 10**-more)
        sure = fits & _between(units, -limit, limit)
        return Read(units, _there(column), sure if rounds else sure & exact)

    return read


def _unscaled(column: Any) -> tuple[Ints, Bools]:
    if not len(column):
        return np.zeros(0, np.int64), np.ones(0, np.bool_)
    pairs = np.frombuffer(column.buffers()[1], np.int64)[2 * column.offset :][: 2 * len(column)].reshape(-1, 2)
    low = pairs[:, 0].copy()
    return low, pairs[:, 1] == low >> 63


def divided(digits: Ints, divisor: int | Ints) -> tuple[Ints, Bools]:
    """Return quotients rounded half to even, and which divisions are exact. Twice the divisor must fit into 64 bits."""
    whole, rest = np.divmod(digits, divisor)
    twice = 2 * rest
    return whole + ((twice > divisor) | ((twice == divisor) & (whole & 1 == 1))), rest == 0


def _decimal_as_float(column: Any, scale: int) -> Read:
    digits, fits = _unscaled(column)
    whole = _FLOAT_WHOLE_MAX["double"]
    return Read(digits / np.float64(10**scale), _there(column), fits & _between(digits, -whole, whole))


# ---- floats


def _float_reader(width: str, type_: Type) -> ColumnReader | None:
    match type_.kind:
        case "real":
            return _finite
        case "integer":
            return lambda column: _whole_floats(column, _FLOAT_WHOLE_MAX[width])
        case "money" | "number":
            return lambda column: _from_float(column, type_.places, _FLOAT_ERROR[width])
        case _:
            return None


def _finite(column: Any) -> Read:
    values = _filled(column, fill=0.0).astype(np.float64)
    return Read(values + 0.0, _there(column), np.isfinite(values))


def _whole_floats(column: Any, most: int) -> Read:
    values = _filled(column, fill=0.0).astype(np.float64)
    sure = (np.abs(values) <= most) & (np.rint(values) == values)
    return Read(np.where(sure, values, 0).astype(np.int64), _there(column), sure)


def _from_float(column: Any, places: int, error: float) -> Read:
    with np.errstate(over="ignore", invalid="ignore"):  # infinite values are not sure
        units = _filled(column, fill=0.0).astype(np.float64) * np.float64(10**places)
        nearest = np.rint(units)
        sure = (np.abs(units - nearest) + np.abs(units) * error < 0.5) & (np.abs(nearest) <= UNITS_MAX)
    return Read(np.where(sure, nearest, 0).astype(np.int64), _there(column), sure)


# ---- any other pair


def _by_value(column: Any, wanted: WantedField) -> Read:
    try:
        coded = column.dictionary_encode()
    except pa.ArrowNotImplementedError:  # lists and objects
        return _by_rows(column, wanted)
    return _by_rows(_with_missing(coded), wanted).take(_places(coded))


def _with_missing(coded: Any) -> Any:
    return pa.concat_arrays([coded.dictionary, pa.nulls(1, coded.dictionary.type)])


def _places(coded: Any) -> Ints:
    return _filled(coded.indices.cast(pa.int64()), fill=len(coded.dictionary))


def _by_rows(column: Any, wanted: WantedField) -> Read:
    read = reader(wanted.type, currency=wanted.currency, is_id=wanted.is_id)
    values: list[Any] = []
    sure = np.ones(len(column), np.bool_)
    for at, given in enumerate(row_values(column)):
        value = text_of(given) if wanted.type.is_text else given
        try:
            found = None if value is None or value == "" else read(value)
            values.append(found if found is None or wanted.hasher is None else wanted.hasher(found))
        except (ValueError, OverflowError):
            values.append(None)
            sure[at] = False
    if wanted.type.is_text:
        texts = pa.array(values, pa.string())
        return Read(texts, _flags(texts.is_valid()) | ~sure, sure)
    made = column_of(values, wanted.type)
    return Read(made.values, made.valid | ~sure, sure)


# ---- arrays


def _there(column: Any) -> Bools | None:
    return None if column.null_count == 0 else _flags(column.is_valid())


def _flags(column: Any) -> Bools:
    flags: Bools = column.to_numpy(zero_copy_only=False)
    return flags


def _filled(column: Any, fill: object) -> Array:
    values: Array = (column.fill_null(fill) if column.null_count else column).to_numpy(zero_copy_only=False)
    return values


def _between(values: Ints, low: int, high: int) -> Bools:
    flags: Bools = (values >= low) & (values <= high)
    return flags


def _within(values: Ints, column: Any, low: int, high: int) -> Read:
    return Read(values, _there(column), _between(values, low, high))


def _scaled(values: Ints, factor: int, limit: int, there: Bools | None, sure: Bools | None) -> Read:
    fits = _between(values, -limit, limit)
    return Read(np.where(fits, values, 0) * factor, there, fits if sure is None else fits & sure)
