"""Compare the project's schemas with those of a registry, and register them."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import msgspec

from shroff.events.avro.fit import Fit, fit, found_at, refusal
from shroff.events.avro.schema import Avro, as_tree, avro_type, read_schema, schema_name_of, schema_of, schema_text
from shroff.events.definitions import EventType, Settings
from shroff.events.formats.schemas import Registered, SchemaRegistry
from shroff.events.mapping import Mapper
from shroff.json_types import TextDict, TextMapping
from shroff.runtime.values import FrozenStruct, replace

UNCHANGED = "unchanged"
REGISTERED = "registered"
REFUSED = "refused"
SAME = "same"
CHANGED = "changed"
MAPPED = "mapped"
ONLY_OURS = "only ours"
ONLY_THEIRS = "only theirs"
_PASSED_OVER = ("doc", "aliases")  # what of a schema changes no message


class SchemaRegistration(FrozenStruct):
    """Result of registering an event type's schema: its id under the subject, or the refusal."""

    event: str
    subject: str
    outcome: str
    id: int | None = None
    words: str = ""


class FieldChange(FrozenStruct):
    """A field that differs between two schemas. `is_readable` says whether ours can read values written by theirs."""

    field: str
    theirs: str | None
    ours: str | None
    kind: str
    is_readable: bool = msgspec.field(name="readable")
    words: str = ""


class SchemaComparison(FrozenStruct):
    """Comparison of an event type with another writer's schema."""

    fit: Fit
    changes: list[FieldChange]


def compared(theirs: str, event_type: EventType, settings: Settings) -> SchemaComparison:
    """Compare another writer's schema with an event type. Raises: ValueError if the schema cannot be read."""
    schema = read_schema(theirs)
    found = fit(schema, event_type, settings)
    return SchemaComparison(found, changes(schema, event_type, found, settings))


def subject_of(topic: str) -> str:
    return f"{topic}-value"


def subjects_of(topics: TextMapping, settings: Settings) -> TextDict:
    """Return the subject of each event type from the topics of all types.

    Types that share a topic have a subject each, with the schema's name in it (Confluent's TopicRecordNameStrategy),
    since all versions of a subject are of one record.
    """
    count = Counter(topics.values())
    return {
        name: subject_of(topic) if count[topic] == 1 else f"{topic}-{schema_name_of(name, settings)}"
        for name, topic in topics.items()
    }


def settle(registry: SchemaRegistry, subject: str, event_type: EventType, settings: Settings) -> SchemaRegistration:
    """Register an event type's schema as a subject's newest version, unless it cannot read the previous version.

    The topic still has messages of the previous version, and its writers may still run. So such a schema is refused
    even if the registry checks no compatibility.
    """
    ours = schema_text(schema_of(event_type, settings))
    latest = registry.latest(subject)
    if latest is not None:
        if is_same(latest.schema, ours):
            return SchemaRegistration(event_type.name, subject, UNCHANGED, latest.id)
        words = refused(latest, event_type, settings) or registry.refusal(subject, ours)
        if words:
            return SchemaRegistration(event_type.name, subject, REFUSED, latest.id, words)
    return SchemaRegistration(event_type.name, subject, REGISTERED, registry.register(subject, ours))


def refused(latest: Registered, event_type: EventType, settings: Settings) -> str:
    """Return why an event type cannot be read by a registered schema; "" if it can."""
    try:
        found = fit(read_schema(latest.schema), event_type, settings)
    except ValueError as error:
        return f"version {latest.version} is not read: {error}"
    return "" if found.is_readable else refusal(found, latest.schema, event_type, settings)


def is_same(text: str, other: str) -> bool:
    """Whether two schemas are equal apart from documentation."""
    try:
        return bool(_meaning(json.loads(text)) == _meaning(json.loads(other)))
    except (ValueError, RecursionError):
        return False


def changes(schema: Avro, event_type: EventType, found: Fit, settings: Settings) -> list[FieldChange]:
    """Differences between a schema and ours, field by field: our fields first, then additional ones."""
    if schema.name == schema_name_of(event_type.name, settings):
        event_type = replace(event_type, mappings={})
    mapper = Mapper(event_type, "avro")
    misfits = {misfit.field: misfit.words for misfit in found.misfits}
    listed = []
    used = set()
    for field in event_type.declared:
        ours = ("null or " if field.shape.is_optional else "") + str(as_tree(avro_type(field.type)))
        paths = sorted(mapper.paths(field.name), key=str)
        used |= {path[0] for path in paths}
        is_own = paths == [(field.name,)]
        there = {".".join(map(str, path)): part for path in paths if (part := found_at(schema, path)) is not None}
        theirs = ", ".join(str(part) if is_own else f"{name}: {part}" for name, part in there.items())
        kind = MAPPED if not is_own else ONLY_OURS if not there else SAME if theirs == ours else CHANGED
        words = misfits.get(field.name, "")
        listed.append(FieldChange(field.name, theirs or None, ours, kind, field.name not in misfits, words))
    others = [(name, row) for name, row in schema.fields.items() if name not in used]
    return listed + [FieldChange(name, str(field), None, ONLY_THEIRS, is_readable=True) for name, field in others]


def _meaning(found: Any) -> Any:
    if isinstance(found, dict):
        return {name: _meaning(value) for name, value in found.items() if name not in _PASSED_OVER}
    return [_meaning(item) for item in found] if isinstance(found, list) else found
