"""Reading Parquet files: rows in batches, each value in the form that keeps what its column says.

Timestamps become `Instant`, floats of 32 bits `Float32`, decimals their digits; all else
is the Python value that pyarrow gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shroff.errors import UsageError
from shroff.events.given import Float32, Instant, Number, Span
from shroff.events.lines import Line, Lines

BATCH_ROWS: Final = 8_192  # a few megabytes of Python values at a time
_UNITS_NS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


def read_parquet(path: Path) -> Lines:
    """Give the rows of a Parquet file, in bounded memory.

    Raises: UsageError where it is no Parquet file, or has a column name twice.
    """
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{path} cannot be read as Parquet: {_first_line(error)}") from None
    names = tuple(file.schema_arrow.names)
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        file.close()
        raise UsageError(f"{path} has the column {doubled[0]!r} twice; rename one.")
    return Lines("parquet", names, _rows(file, names, path), file.close)


def _rows(file: Any, names: tuple[str, ...], path: Path) -> Iterator[Line]:
    number = 0
    with file:
        try:
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                columns = [_values(column) for column in batch.columns]
                for row in zip(*columns, strict=True):
                    number += 1
                    yield Line(number, None, dict(zip(names, row, strict=True)))
        except (OSError, pa.ArrowException) as error:
            raise UsageError(f"{path} is damaged after row {number:,}: {_first_line(error)}") from None


def _values(column: Any) -> list[Any]:
    """The values of a column as Python's, nulls as None."""
    type_ = column.type
    if pa.types.is_timestamp(type_):
        return _whole_ms(column, type_.unit, Instant)
    if pa.types.is_duration(type_):
        return _whole_ms(column, type_.unit, Span)
    if pa.types.is_float32(type_) or pa.types.is_float16(type_):
        return _each(column.cast(pa.float32()).to_pylist(), Float32)
    if pa.types.is_decimal(type_):
        return _each(column.cast(pa.string()).to_pylist(), Number)
    if pa.types.is_dictionary(type_):
        return _values(column.dictionary_decode())
    return list(column.to_pylist())


def _whole_ms(column: Any, unit: str, make: Callable[[int], int]) -> list[Any]:
    """Milliseconds of timestamps or durations; what is finer is cut off, towards the past."""
    ns_per_unit, ns_per_ms = _UNITS_NS[unit], _UNITS_NS["ms"]
    shared = math.gcd(ns_per_unit, ns_per_ms)
    ticks = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    values = _each(np.floor_divide(ticks * (ns_per_unit // shared), ns_per_ms // shared).tolist(), make)
    if column.null_count == 0:
        return values
    return [value if is_there else None for value, is_there in zip(values, column.is_valid().to_pylist(), strict=True)]


def _each(values: list[Any], make: Callable[[Any], Any]) -> list[Any]:
    return [None if value is None else make(value) for value in values]


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
