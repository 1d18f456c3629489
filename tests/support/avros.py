"""Builders for tests of Avro: projects of one event type, messages as other writers make them, files."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import fastavro

from shroff.events.avro.wire import AvroDecoder
from shroff.events.definitions import Events, Settings
from shroff.events.formats.lines import Line, Lines
from shroff.events.formats.schemas import SchemaRegistry
from shroff.events.intake import Intake, Submission
from tests.support.projects import definitions

OTHERS = {"features.yaml": None, "rules/large.yaml": None}


def project(fields: str, mapping: str = "") -> tuple[Events, Settings]:
    """A project with one event type, `payment`, of these fields beside its id and time."""
    text = f"payment:\n  id: id\n  time: at\n  fields: {{ id: text, at: time{', ' if fields else ''}{fields} }}\n"
    found = definitions({"events.yaml": text + mapping, **OTHERS})
    return found.events, found.settings


def record(*fields: tuple[str, Any], name: str = "bank.payment") -> dict[str, Any]:
    """The schema of a record with these fields."""
    return {"type": "record", "name": name, "fields": [{"name": field, "type": type_} for field, type_ in fields]}


def message(id_: int, schema: Mapping[str, Any], values: Mapping[str, Any]) -> bytes:
    """A message as another writer makes it."""
    stream = io.BytesIO()
    stream.write(b"\0" + id_.to_bytes(4, "big"))
    fastavro.schemaless_writer(stream, fastavro.parse_schema(dict(schema)), dict(values))
    return stream.getvalue()


def sent(registry: SchemaRegistry, schema: Mapping[str, Any], values: Mapping[str, Any]) -> bytes:
    """A message whose schema is registered first."""
    return message(registry.register("payments-value", json.dumps(schema)), schema, values)


def lines_of(lines: Iterable[Line], format: str) -> Lines:
    return Lines(format, None, iter(lines), lambda: None)


def taken(lines: Iterable[Line], format: str, events: Events, settings: Settings) -> list[Submission]:
    """What the intake makes of messages of payments."""
    return list(Intake(events, settings, None).submissions(lines_of(lines, format), "payments/0", "payment"))


def received(registry: SchemaRegistry, value: bytes, events: Events, settings: Settings) -> Submission:
    """What becomes of one message."""
    decoder = AvroDecoder(registry, events, "payment", settings=settings)
    (found,) = taken([decoder.line(1, value)], "avro", events, settings)
    return found


def avro_file(path: Path, schema: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], codec: str = "null") -> Path:
    """An Avro file as another writer makes it, in blocks of about a kilobyte."""
    with path.open("wb") as stream:
        fastavro.writer(
            stream, fastavro.parse_schema(dict(schema)), [dict(row) for row in rows], codec, sync_interval=1_000
        )
    return path
