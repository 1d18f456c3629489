"""Read Parquet files: rows in batches, with values in forms that keep the type of their column.

Timestamps become `Instant` or `LocalTime`, durations `RawDuration`, floats of 16 or 32 bits `Float32`, decimals their
digits; other values are those of pyarrow. Bytes that are not UTF-8 in a text become lone surrogates, which no field
accepts. So only that line is refused, not the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shroff.arrays import Ints
from shroff.errors import UsageError
from shroff.events.formats.lines import ROWS_AT_ONCE, FileExtent, Line, Lines
from shroff.events.formats.parquet_limits import rows_at_once
from shroff.events.raw_values import Float32, Instant, LocalTime, Number, RawDuration

_UNITS_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


def read_parquet(path: Path) -> Lines:
    """Read the rows of a Parquet file, in bounded memory.

    Raises: UsageError if it is no Parquet file, has a column name twice, or is beyond `parquet_limits`.
    """
    file = open_parquet(path)
    try:
        at_once = rows_at_once(path, file, ROWS_AT_ONCE)
    except UsageError:
        file.close()
        raise
    size_bytes = path.stat().st_size
    rows = max(file.metadata.num_rows, 1)
    given = 0

    def counted() -> Iterator[Line]:
        nonlocal given
        for line in _rows(file, path, at_once):
            given = line.number
            yield line

    extent = FileExtent(size_bytes, lambda: size_bytes * given // rows)
    lines = Lines("parquet", tuple(file.schema_arrow.names), counted(), file.close, extent)
    lines.rows_at_once = at_once
    return lines


def table_lines(table: pa.Table) -> Lines:
    """Return the rows of a table like those of a Parquet file. Raises: UsageError if it has a column name twice."""
    _check_names(table.schema.names, "the frame")

    def lines() -> Iterator[Line]:
        before = 0
        for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
            yield from lines_of(batch, range(before + 1, before + 1 + batch.num_rows))
            before += batch.num_rows

    return Lines("parquet", tuple(table.schema.names), lines())


def _check_names(names: Sequence[str], what: object) -> None:
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise UsageError(f"{what} has the column {doubled[0]!r} twice; rename one.")


def open_parquet(path: Path) -> Any:
    """Open a Parquet file. Raises: UsageError if it is no Parquet file, or has a column name twice."""
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{path} cannot be read as Parquet: {_first_line(error)}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} has a column whose name is no UTF-8. Write the file again, or rename it.") from None
    try:
        _check_names(file.schema_arrow.names, path)
    except UsageError:
        file.close()
        raise
    return file


def read_batches(file: Any, path: Path, rows: int, names: Sequence[str] | None = None) -> Iterator[Any]:
    """Read an open Parquet file as Arrow record batches of at most `rows` rows, and close it at the end.

    Batches have fewer rows if more would take too much memory.

    Args:
        names: The columns to read, by default all; `card.country` also reads `country` of a nested `card`.

    Raises: UsageError if the file is damaged, or beyond `parquet_limits`.
    """
    number = 0
    with file:
        try:
            columns = None if names is None else list(names)
            for batch in file.iter_batches(batch_size=rows_at_once(path, file, rows, columns), columns=columns):
                yield batch
                number += batch.num_rows
        except (OSError, pa.ArrowException) as error:
            raise UsageError(f"{path} is damaged after row {number:,}: {_first_line(error)}") from None


def _rows(file: Any, path: Path, rows: int) -> Iterator[Line]:
    before = 0
    for batch in read_batches(file, path, rows):
        yield from lines_of(batch, range(before + 1, before + 1 + batch.num_rows))
        before += batch.num_rows


def lines_of(batch: Any, numbers: Iterable[int]) -> Iterator[Line]:
    """Yield the rows of a record batch as lines with these numbers."""
    names = batch.schema.names
    columns = [row_values(column) for column in batch.columns]
    for number, row in zip(numbers, zip(*columns, strict=True), strict=False):
        yield Line(number, None, dict(zip(names, row, strict=True)))


def row_values(column: Any) -> list[Any]:
    """Return the values of a column in the forms of row validation, nulls as None."""
    type_ = column.type
    if pa.types.is_timestamp(type_):
        return _whole_ms(column, LocalTime if type_.tz is None else Instant)
    if pa.types.is_duration(type_):
        return _whole_ms(column, RawDuration)
    if pa.types.is_float32(type_) or pa.types.is_float16(type_):
        return _each(column.cast(pa.float32()).to_pylist(), Float32)
    if pa.types.is_decimal(type_):
        return _each(column.cast(pa.string()).to_pylist(), Number)
    if pa.types.is_dictionary(type_):
        return row_values(plain_column(column).dictionary_decode())
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return [_decoded(value) for value in column.cast(_rebuilt(type_, _as_bytes)).to_pylist()]


def plain_type(type_: Any) -> Any:
    """Return a type with views replaced by plain texts and bytes, as most functions of pyarrow do not support views."""
    return _rebuilt(type_, _without_view)


def plain_column(column: Any) -> Any:
    """Cast a column to its `plain_type`."""
    type_ = plain_type(column.type)
    return column if type_ == column.type else column.cast(type_)


def _rebuilt(type_: Any, leaf: Callable[[Any], Any]) -> Any:
    if pa.types.is_dictionary(type_):
        return pa.dictionary(type_.index_type, _rebuilt(type_.value_type, leaf), type_.ordered)
    if pa.types.is_struct(type_):
        return pa.struct([field.with_type(_rebuilt(field.type, leaf)) for field in type_])
    if pa.types.is_map(type_):
        return pa.map_(_rebuilt(type_.key_type, leaf), _rebuilt(type_.item_type, leaf))
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        make = pa.list_ if pa.types.is_list(type_) else pa.large_list
        return make(type_.value_field.with_type(_rebuilt(type_.value_type, leaf)))
    return leaf(type_)


def _without_view(type_: Any) -> Any:
    if pa.types.is_string_view(type_):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary_view(type_) else type_


def _as_bytes(type_: Any) -> Any:
    is_text = pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)
    return pa.large_binary() if is_text else type_


def _decoded(value: Any) -> Any:
    """Decode the bytes in a value; bytes that are not UTF-8 become lone surrogates."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, dict):
        return {name: _decoded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_decoded(part) for part in value)
    return value


def whole_ms(column: Any) -> Ints:
    """Return the milliseconds of timestamps or durations, rounded down; 0 for null.

    A value beyond 64 bits is clipped to the nearest possible one, which no field accepts.
    """
    ns_per_unit = _UNITS_NS[column.type.unit]
    ns_per_ms = _UNITS_NS["ms"]
    shared = math.gcd(ns_per_unit, ns_per_ms)
    factor = ns_per_unit // shared
    divisor = ns_per_ms // shared
    ticks: Ints = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    if factor > 1:
        most = np.iinfo(np.int64).max // factor
        ticks = ticks.clip(-most, most) * factor
    return ticks if divisor == 1 else np.floor_divide(ticks, divisor)


def _whole_ms(column: Any, make: Callable[[int], int]) -> list[Any]:
    values = _each(whole_ms(column).tolist(), make)
    if column.null_count == 0:
        return values
    return [value if is_there else None for value, is_there in zip(values, column.is_valid().to_pylist(), strict=True)]


def _each(values: list[Any], make: Callable[[Any], Any]) -> list[Any]:
    return [None if value is None else make(value) for value in values]


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
