"""Converts the columns of a lake's files to the schema of a Delta table."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pyarrow as pa

from shroff.json_types import JsonObject

Fields = list[JsonObject]
_SIMPLE = {
    pa.string(): "string",
    pa.binary(): "binary",
    pa.bool_(): "boolean",
    pa.int32(): "integer",
    pa.int64(): "long",
    pa.float64(): "double",
    pa.timestamp("ms", tz="UTC"): "timestamp",
}


def schema_of(schema: pa.Schema, partition: Collection[str]) -> Fields:
    """Return the fields of a Delta schema: a file's columns, and those that its folders name.

    Raises: ValueError if a column has a type that Delta does not know, or occurs twice.
    """
    if shared := sorted(set(partition) & set(schema.names)):
        raise ValueError(f"column {shared[0]!r} is in the files and in the names of their folders.")
    fields = [_field(field.name, _type(field.name, field.type)) for field in schema]
    return [*fields, *(_field(name, "date" if name == "date" else "string") for name in partition)]


def widened(fields: Fields, more: Fields) -> Fields:
    """Merge two lists of fields, new ones last. Raises: ValueError if a field has two types."""
    by_name = {field["name"]: field for field in fields}
    for field in more:
        existing = by_name.setdefault(field["name"], field)
        if existing["type"] != field["type"]:
            raise ValueError(
                f"column {field['name']!r} was {_text(existing['type'])} and is {_text(field['type'])} now."
            )
    return list(by_name.values())


def _field(name: str, type_: object) -> JsonObject:
    return {"name": name, "type": type_, "nullable": True, "metadata": {}}


def _type(name: str, type_: pa.DataType) -> object:
    if type_ in _SIMPLE:
        return _SIMPLE[type_]
    if pa.types.is_decimal128(type_):
        return f"decimal({type_.precision},{type_.scale})"
    if pa.types.is_list(type_):
        return {"type": "array", "elementType": _type(name, type_.value_type), "containsNull": True}
    raise ValueError(f"column {name!r} has the type {type_}, which Delta does not know.")


def _text(type_: Any) -> str:
    return f"array of {_text(type_['elementType'])}" if isinstance(type_, dict) else str(type_)
