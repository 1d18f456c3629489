"""Event time of a line before validation, by which lines of several parts are ordered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from shroff.errors import InputError
from shroff.events.avro.schema import schema_name_of
from shroff.events.avro.values import schema_name
from shroff.events.definitions import Events, Settings
from shroff.events.formats.lines import Line
from shroff.events.mapped_values import zoned
from shroff.events.mapping import LABEL, UTC, Dispatcher, MappedRow, Mapper
from shroff.events.readers import as_of_label, reader
from shroff.language.types import TIME
from shroff.runtime.values import replace

Moment = Callable[[Line], int | None]


def moment_reader(events: Events, settings: Settings, type_name: str | None, format: str) -> Moment:
    """Reader of a line's event time in UTC milliseconds, of a label when it was known; None where it has none.

    It has none where it cannot be read, or its time not: validation says so when its turn comes.

    Args:
        type_name: The event type of the lines, `label` for labels; None where each tells its own.

    Cost: 1 microsecond for a line of JSON that is not mapped; else 3, most of them for its columns, which it keeps.
    """
    types = {**events.types, LABEL: events.label_input}
    if type_name is not None and format == "jsonl" and Mapper(types[type_name], format).is_plain:
        return _plain(types[type_name].time_field)
    asked = types if type_name is None else {type_name: types[type_name]}
    reads = {name: Mapper(mapping, format).reader_of(mapping.time_field) for name, mapping in asked.items()}
    own = {}  # records of our own schemas, which tell their types and need no mapping
    if format == "avro":
        for name, event_type in asked.items():
            bare = replace(event_type, mappings={})
            own[schema_name_of(name, settings)] = Mapper(bare, format).reader_of(event_type.time_field)
    dispatcher = Dispatcher(events, format)
    read_time = as_of_label(reader(TIME, currency=""), "known_at")

    def moment(line: Line) -> int | None:
        columns = line.columns
        if columns is None:
            return None
        row = MappedRow("", line.number, columns)
        read = own.get(schema_name(line)) if own else None
        try:
            if read is None and type_name is None:
                picked = dispatcher.pick(row)
                if picked is None:
                    return None
                read = reads[picked.type]
                row = row if picked.fields is None else MappedRow("", line.number, picked.fields)
            return _time((read or reads[type_name or ""])(row), read_time)
        except (InputError, ValueError, OverflowError):
            return None

    return moment


def _plain(name: str) -> Moment:
    shape = msgspec.defstruct("Moment", [("at", str | int | None, None)], rename={"at": name}, gc=False)
    decode = msgspec.json.Decoder(shape).decode
    read_time = as_of_label(reader(TIME, currency=""), "known_at")

    def moment(line: Line) -> int | None:
        try:
            return _time(decode(line.raw).at, read_time)  # type: ignore[attr-defined]  # of the shape just made
        except (ValueError, RecursionError, OverflowError):
            return None

    return moment


def _time(value: Any, read: Callable[[Any], int]) -> int | None:
    return None if value is None or value == "" else read(zoned(value, UTC))
