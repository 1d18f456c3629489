"""JSON objects as Arrow columns: bodies of events, and recorded decisions.

Arrow reads many objects at once. If an object has a value that does not fit its column, Python reads them one by one,
so that no value is lost.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.json as pj

from shroff.engine.stored import damaged
from shroff.events.event import read_shown_time
from shroff.json_types import JsonObject
from shroff.language.types import Type
from shroff.language.values import parse_decimal, rescale_half_even
from shroff.log.columns.tables import COLUMN_BOUNDS, arrow_type

DECIMAL_END = 10**38  # Arrow's decimals have 38 digits; larger values are null
PART = 4_096  # objects read at once
_TEXTS = pa.list_(pa.string())
_PARTS = {"score": pa.float64(), "rules": _TEXTS, "shadow_rules": _TEXTS}
_VERSIONS = pa.struct([("model", pa.string())])
_OPTIONS = pj.ReadOptions(use_threads=False, block_size=1 << 30)  # all objects are one block
Fields = Sequence[tuple[str, Type]]


def texts_of(objects: Sequence[bytes]) -> pa.Array:
    """Return UTF-8 bytes as a column of texts."""
    return pa.array(objects, pa.binary()).view(pa.string())


def body_columns(
    bodies: Sequence[bytes], fields: Fields, money_places: int, what: Callable[[int], str]
) -> dict[str, pa.ChunkedArray]:
    """Return the fields of flat objects as columns by name; null if a value is missing or beyond its column.

    Args:
        fields: Names and types of the columns; other values are ignored.
        money_places: Decimals of the project's currency.
        what: Names an object in an error message, by its index.

    Raises: StorageError if a stored value does not have its type.
    """
    schema = pa.schema([(name, arrow_type(type_, money_places)) for name, type_ in fields])

    def read(body: JsonObject) -> JsonObject:
        return _values(body, fields, schema)

    return _columns(bodies, schema, read, what)


def document_columns(
    documents: Sequence[bytes], fields: Fields, money_places: int, what: Callable[[int], str]
) -> tuple[dict[str, pa.ChunkedArray], dict[str, pa.ChunkedArray]]:
    """Return score, rules and model of recorded decisions as columns, and columns of their features.

    Raises: StorageError if a document is invalid.
    """
    features = pa.schema([(name, arrow_type(type_, money_places)) for name, type_ in fields])
    schema = pa.schema([*_PARTS.items(), ("versions", _VERSIONS), ("features", pa.struct(list(features)))])

    def read(document: JsonObject) -> JsonObject:
        parts = {name: document.get(name) for name in (*_PARTS, "versions")}
        return parts | {"features": _values(document.get("features") or {}, fields, features)}

    all_columns = _columns(documents, schema, read, what)
    columns = {name: all_columns[name] for name in _PARTS} | {
        "model": all_columns["versions"].combine_chunks().field(0)
    }
    feature_columns = all_columns["features"].combine_chunks().flatten()
    return columns, dict(zip(features.names, feature_columns, strict=True))


def _columns(
    objects: Sequence[bytes], schema: pa.Schema, read_row: Callable[[JsonObject], Any], what: Callable[[int], str]
) -> dict[str, pa.ChunkedArray]:
    """Return the columns of a schema; `read_row` extracts the values of an object that Arrow cannot read."""
    options = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    tables = [schema.empty_table()]
    for begin in range(0, len(objects), PART):
        part = objects[begin : begin + PART]
        try:
            table = pj.read_json(pa.BufferReader(b"\n".join(part)), _OPTIONS, options)
        except pa.ArrowInvalid:
            table = None
        if table is None or table.num_rows != len(part):
            rows = _one_by_one(part, read_row, partial(_behind, what, begin))
            table = pa.Table.from_pylist(list(rows), schema)
        tables.append(table)
    return dict(zip(schema.names, pa.concat_tables(tables).columns, strict=True))


def _one_by_one(
    objects: Iterable[bytes], read_row: Callable[[JsonObject], Any], what: Callable[[int], str]
) -> Iterable[Any]:
    for row, text in enumerate(objects):
        try:
            yield read_row(json.loads(text))
        except (ValueError, TypeError, AttributeError) as error:
            raise damaged(what(row), error) from None


def _behind(what: Callable[[int], str], begin: int, row: int) -> str:
    return what(begin + row)


def _values(document: JsonObject, fields: Fields, schema: pa.Schema) -> JsonObject:
    values: JsonObject = {}
    for name, type_ in fields:
        value = document.get(name)
        values[name] = None if value is None else _arrow_value(value, type_, schema.field(name).type)
    return values


def _arrow_value(value: Any, type_: Type, wanted: pa.DataType) -> Any:
    if type_.kind in COLUMN_BOUNDS:  # an integer beyond 2^53 is stored as text
        low, high = COLUMN_BOUNDS[type_.kind]
        number = int(value) if type_.kind == "integer" else read_shown_time(value)
        return number if low <= number <= high else None
    if type_.kind in {"money", "number"}:
        units = rescale_half_even(*parse_decimal(str(value)), wanted.scale)
        return Decimal(f"{units}E-{wanted.scale}") if abs(units) < DECIMAL_END else None
    readers: dict[str, Callable[[Any], Any]] = {"real": float, "duration": float, "boolean": bool}
    return readers.get(type_.kind, str)(value)
