"""Checks before a version becomes active: stored events must mean the same under its event types.

Whether stored bodies can be read shows when they are folded (`log.history`). This module finds bodies that can be
read but would mean something else; it runs before the fold.
"""

from __future__ import annotations

from shroff.engine.stored import stored
from shroff.events.definitions import EventType
from shroff.events.event import read_time
from shroff.json_types import JsonObject
from shroff.log.history import changed_type, control_at, events_of
from shroff.log.unique_index import check_unique
from shroff.project.definitions import HASHED, Definitions
from shroff.streams.log import Log, LogReader, Record


def check_change(log: Log, definitions: Definitions) -> None:
    """Compare the event types with those of every earlier version, unless this version is already active.

    Raises: DefinitionError if another field became the id or the time of events in the log; if a field is hashed now
        and has clear values, or the reverse, since one card would then be two; or if events share a value of a field
        that is unique now.
    Cost: a pass over the log if something of this kind changed, else none.
    """
    check_unique(log, definitions)
    concerned = _concerned(log, definitions)
    if not concerned:
        return
    for records in log.read():
        for record in records:
            if record.kind == "event" and record.type in concerned:
                _check(record, definitions.events.types[record.type])


def _concerned(log: LogReader, definitions: Definitions) -> frozenset[str]:
    """Return the event types that an earlier version identified, timed or hashed in another way."""
    if control_at(log).versions.get("definitions") == definitions.versions.definitions:
        return frozenset()
    types = definitions.events.types
    return frozenset(
        name for earlier in events_of(log) for name, type_ in types.items() if _differs(type_, earlier.types.get(name))
    )


def _differs(now: EventType, earlier: EventType | None) -> bool:
    if earlier is None:
        return False
    was_clear = {field.name for field in earlier.fields}
    if any(field.name in was_clear for field in now.personal):
        return True
    was_hashed = {field.name: field.shape.is_hashed for field in earlier.fields}
    return (now.id_field, now.time_field) != (earlier.id_field, earlier.time_field) or any(
        was_hashed.get(field.name, field.shape.is_hashed) != field.shape.is_hashed for field in now.fields
    )


def _check(record: Record, type_: EventType) -> None:
    body = stored(record.body, JsonObject, f"the {type_.name} at sequence number {record.seq}")
    where = f"the {type_.name} at sequence number {record.seq} of the log"
    if body.get(type_.id_field) != record.id:
        raise changed_type(type_.name, type_.id_field, f"it is the id now, and {where} has another one.")
    if _time_ms(body.get(type_.time_field)) != record.time_ms:
        raise changed_type(type_.name, type_.time_field, f"it is the time now, and {where} has another one.")
    for declared in type_.personal:
        if declared.name in body:
            raise changed_type(type_.name, declared.name, f"it is personal now, but {where} already has its values.")
    for field in type_.fields:
        value = body.get(field.name)
        if isinstance(value, str) and (HASHED.fullmatch(value) is not None) != field.shape.is_hashed:
            current, earlier = ("hashed now", "in clear") if field.shape.is_hashed else ("in clear now", "hashed")
            raise changed_type(type_.name, field.name, f"it is {current}, and {where} has it {earlier}.")


def _time_ms(value: object) -> int | None:
    try:
        return read_time(value) if isinstance(value, str) else None
    except ValueError:
        return None
