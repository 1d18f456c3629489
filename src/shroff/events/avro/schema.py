"""Read Avro schemas of writers, with limits, and make the schemas of the types in events.yaml.

Anyone who can write to a registry, or send a file, chooses the writer's schema. So this refuses schemas by which a few
bytes could fill the memory or the stack: types that contain themselves, and lists of values that take no bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from shroff.events.definitions import EventType, Field, Settings
from shroff.json_types import JsonMapping, JsonObject
from shroff.language.types import UNITS_MAX, Type

SCHEMA_BYTES_MAX = 1024 * 1024
TYPES_MAX = 5_000  # of one schema, each named type counted wherever it is used
DEPTH_MAX = 32
PRECISION = len(str(UNITS_MAX))  # digits of the largest valid value
_DIGITS_MAX = 400  # of a writer's decimals; no amount needs more
DURATION_MS = "duration-millis"  # our own logical type, which other readers pass over
PRIMITIVES = "null boolean int long float double bytes string".split()
_LOGICAL = {  # what each stands on; elsewhere it says nothing, by the specification
    "decimal": ("bytes", "fixed"),
    "date": ("int",),
    "time-millis": ("int",),
    "time-micros": ("long",),
    "timestamp-millis": ("long",),
    "timestamp-micros": ("long",),
    "timestamp-nanos": ("long",),
    "local-timestamp-millis": ("long",),
    "local-timestamp-micros": ("long",),
    "local-timestamp-nanos": ("long",),
    DURATION_MS: ("long",),
}
_NAME_PART = re.compile(r"[^A-Za-z0-9_]+")


@dataclass(frozen=True)
class Avro:
    """An Avro type: its kind, its logical type, and its parts.

    `kind` is a primitive type, or record, enum, fixed, array, map or union. `parts` has the types of a record's fields
    (in the order of `names`), of a union's branches, or of the values of an array or map.
    """

    kind: str
    logical: str = ""
    precision: int = 0
    scale: int = 0
    name: str = ""
    size: int = 0  # of a fixed, in bytes
    symbols: tuple[str, ...] = ()
    names: tuple[str, ...] = ()  # of a record's fields
    parts: tuple[Avro, ...] = ()

    @cached_property
    def fields(self) -> Mapping[str, Avro]:
        return dict(zip(self.names, self.parts, strict=True)) if self.kind == "record" else {}

    @cached_property
    def values(self) -> tuple[Avro, ...]:
        """Types of values that are not null: the other branches of a union, else this type alone."""
        branches = self.parts if self.kind == "union" else (self,)
        return tuple(branch for branch in branches if branch.kind != "null")

    @property
    def may_be_null(self) -> bool:
        return self.kind == "null" or (self.kind == "union" and any(part.kind == "null" for part in self.parts))

    def __str__(self) -> str:
        match self.kind:
            case "union":
                return " or ".join(map(str, self.parts)) or "an empty union"
            case "array" | "map":
                return f"{self.kind} of {self.parts[0]}"
            case "record" | "enum":
                return f"{self.kind} {self.name}"
        if self.logical == "decimal":
            return f"decimal({self.precision}, {self.scale})"
        return self.logical or self.kind


# ---- schemas of writers


def read_schema(text: str) -> Avro:
    """Read the schema of a record from its JSON.

    Raises: ValueError if it is malformed or exceeds the limits.
    """
    if len(text) > SCHEMA_BYTES_MAX:
        raise ValueError(f"it is longer than {SCHEMA_BYTES_MAX:,} characters")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    schema = as_tree(found)
    if schema.kind != "record":
        raise ValueError(f"it is of {schema}, and events are records")
    if not _takes_bytes(schema):
        raise ValueError("its records take no bytes, so that a few bytes make any number of them")
    return schema


def as_tree(found: Any) -> Avro:
    """Read a type from parsed JSON. Raises: ValueError as `read_schema` does."""
    return _SchemaReader().type_of(found, "", 0, ())


class _SchemaReader:
    def __init__(self) -> None:
        self._named: dict[str, tuple[JsonMapping, str]] = {}
        self._count = 0

    def type_of(self, found: Any, space: str, depth: int, within: tuple[str, ...]) -> Avro:
        """Read a type.

        Args:
            space: Namespace in force.
            within: Named types that contain this one.
        """
        self._count += 1
        if depth > DEPTH_MAX or self._count > TYPES_MAX:
            raise ValueError(f"it is nested deeper than {DEPTH_MAX} types, or made of more than {TYPES_MAX:,}")
        if isinstance(found, str):
            return Avro(found) if found in PRIMITIVES else self._used(found, space, depth, within)
        if isinstance(found, list):
            parts = tuple(self.type_of(part, space, depth + 1, within) for part in found)
            if any(part.kind == "union" for part in parts):
                raise ValueError("a union in it has a union as a branch")
            return Avro("union", parts=parts)
        if not isinstance(found, dict) or "type" not in found:
            raise ValueError("a type in it is not a name, no object with a type, and no list")
        kind = found["type"]
        if isinstance(kind, str) and kind in {"record", "error", "enum", "fixed"}:
            return self._defined(found, space, depth, within)
        if kind == "array":
            items = self.type_of(found.get("items"), space, depth + 1, within)
            if not _takes_bytes(items):
                raise ValueError("it has a list of values that take no bytes, of which a few bytes make any number")
            return Avro("array", parts=(items,))
        if kind == "map":
            return Avro("map", parts=(self.type_of(found.get("values"), space, depth + 1, within),))
        inner = self.type_of(kind, space, depth + 1, within)
        return _with_logical(inner, found)

    def _used(self, name: str, space: str, depth: int, within: tuple[str, ...]) -> Avro:
        full = name if "." in name or not space else f"{space}.{name}"
        full = full if full in self._named else name
        if full not in self._named:
            raise ValueError(f"it uses {name[:80]!r}, which is not a type of Avro and not defined before")
        found, defined_in = self._named[full]
        return self._made(found, full, defined_in, depth, within)

    def _defined(self, found: JsonMapping, space: str, depth: int, within: tuple[str, ...]) -> Avro:
        name = found.get("name")
        if not isinstance(name, str) or not name:
            raise ValueError(f"a type of the kind {found['type']} in it has no name")
        given = found.get("namespace", space)
        space = name.rpartition(".")[0] if "." in name else given if isinstance(given, str) else space
        full = name if "." in name or not space else f"{space}.{name}"
        self._named[full] = found, space
        return self._made(found, full, space, depth, within)

    def _made(self, found: JsonMapping, full: str, space: str, depth: int, within: tuple[str, ...]) -> Avro:
        if full in within:
            raise ValueError(f"{full} contains itself, and could be nested without end")
        if found["type"] == "enum":
            symbols = found.get("symbols")
            if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols) or not symbols:
                raise ValueError(f"the enum {full} has no list of symbols")
            return Avro("enum", name=full, symbols=tuple(symbols))
        if found["type"] == "fixed":
            size = found.get("size")
            if not isinstance(size, int) or not 0 <= size <= SCHEMA_BYTES_MAX:
                raise ValueError(f"the fixed {full} has no size, or one beyond {SCHEMA_BYTES_MAX:,} bytes")
            return _with_logical(Avro("fixed", name=full, size=size), found)
        fields = found.get("fields")
        if not isinstance(fields, list) or not all(
            isinstance(field, dict) and isinstance(field.get("name"), str) and "type" in field for field in fields
        ):
            raise ValueError(f"the record {full} has no list of fields, each with a name and a type")
        names = tuple(field["name"] for field in fields)
        if len(set(names)) != len(names):
            raise ValueError(f"the record {full} has a field twice")
        inside = (*within, full)
        parts = tuple(self.type_of(_field_type(field), space, depth + 1, inside) for field in fields)
        return Avro("record", name=full, names=names, parts=parts)


def _field_type(found: JsonMapping) -> Any:
    beside = {name: found[name] for name in ("logicalType", "precision", "scale") if name in found}
    type_ = found["type"]
    return {"type": type_, **beside} if beside and isinstance(type_, str) and type_ in PRIMITIVES else type_


def _with_logical(inner: Avro, found: JsonMapping) -> Avro:
    logical = found.get("logicalType")
    if not isinstance(logical, str) or inner.kind not in _LOGICAL.get(logical, ()):
        return inner
    if logical != "decimal":
        return Avro(inner.kind, logical, name=inner.name, size=inner.size)
    precision = found.get("precision")
    scale = found.get("scale", 0)
    if not isinstance(precision, int) or not isinstance(scale, int) or not 0 <= scale <= precision <= _DIGITS_MAX:
        return inner  # by the specification it is bytes then
    return Avro(inner.kind, logical, precision, scale, inner.name, inner.size)


def _takes_bytes(schema: Avro) -> bool:
    match schema.kind:
        case "null":
            return False
        case "fixed":
            return schema.size > 0
        case "record":
            return any(map(_takes_bytes, schema.parts))
        case _:
            return True


def bare(schema: Avro) -> JsonObject:
    """Return the schema for fastavro, without logical types, which are converted here, and with generated names."""
    numbers = iter(range(TYPES_MAX))
    found = _bare(schema, numbers)
    assert isinstance(found, dict)
    return found


def _bare(schema: Avro, numbers: Iterator[int]) -> Any:
    match schema.kind:
        case "union":
            return [_bare(part, numbers) for part in schema.parts]
        case "array":
            return {"type": "array", "items": _bare(schema.parts[0], numbers)}
        case "map":
            return {"type": "map", "values": _bare(schema.parts[0], numbers)}
        case "enum":
            return {"type": "enum", "name": f"t{next(numbers)}", "symbols": list(schema.symbols)}
        case "fixed":
            return {"type": "fixed", "name": f"t{next(numbers)}", "size": schema.size}
        case "record":
            name = f"t{next(numbers)}"
            fields = [
                {"name": field, "type": _bare(part, numbers)}
                for field, part in zip(schema.names, schema.parts, strict=True)
            ]
            return {"type": "record", "name": name, "fields": fields}
        case _:
            return schema.kind


# ---- schemas of our own


def schema_of(event_type: EventType, settings: Settings) -> JsonObject:
    """Return the schema of an event type, with its declared fields in order.

    Money and numbers are decimals, never floats. A choice is a string, since readers of an old enum could not read a
    new symbol.
    """
    fields = [_field(field, settings) for field in event_type.declared]
    return {"type": "record", "name": event_type.name, "namespace": namespace(settings.name), "fields": fields}


def schema_name_of(event_type: str, settings: Settings) -> str:
    return f"{namespace(settings.name)}.{event_type}"


def schema_text(schema: JsonMapping) -> str:
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))


def namespace(project: str) -> str:
    """Return the namespace of a project's schemas: its name in the characters that Avro allows.

    >>> namespace("My Bank (test)"), namespace("2nd"), namespace("銀行")
    ('my_bank_test', '_2nd', 'shroff')
    """
    found = _NAME_PART.sub("_", project).strip("_").lower()
    return f"_{found}" if found[:1].isdigit() else found or "shroff"


def avro_type(type_: Type) -> Any:
    match type_.kind:
        case "text" | "choice":
            return "string"
        case "integer":
            return "long"
        case "real":
            return "double"
        case "boolean":
            return "boolean"
        case "money" | "number":
            return {"type": "bytes", "logicalType": "decimal", "precision": PRECISION, "scale": type_.places}
        case "time":
            return {"type": "long", "logicalType": "timestamp-millis"}
        case "duration":
            return {"type": "long", "logicalType": DURATION_MS}
        case kind:
            raise AssertionError(f"no field has the type {kind}")


def _field(field: Field, settings: Settings) -> JsonObject:
    type_ = avro_type(field.type)
    doc = ", ".join(words for words in (_doc_text(field, settings), str(field.shape.bounds or "")) if words)
    told = {"doc": doc} if doc else {}
    if field.shape.is_optional:
        return {"name": field.name, "type": ["null", type_], **told, "default": None}
    return {"name": field.name, "type": type_, **told}


def _doc_text(field: Field, settings: Settings) -> str:
    match field.type.kind:
        case "money":
            return settings.currency
        case "choice":
            return f"one of {', '.join(field.type.choices)}{', or another text' if field.type.is_open else ''}"
        case "duration":
            return "milliseconds"
    if field.shape.is_personal:
        return "personal; it lies beside the log"
    return "in the clear; it is hashed where it is received" if field.shape.is_hashed else ""
