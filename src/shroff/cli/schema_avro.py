"""`shroff schema check|diff|register|show`: Avro schemas of messages, derived from events.yaml."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click
import msgspec

from shroff import config
from shroff.cli import completion
from shroff.cli.operations import takes
from shroff.cli.session import Session, command, many, table
from shroff.errors import UsageError, ended, nearest, os_words
from shroff.json_types import JsonMapping, JsonObject, TextDict, TextMapping
from shroff.operations.declaration import AsEvent, OperationRequest, Param

if TYPE_CHECKING:
    from shroff.events.avro.subjects import FieldChange, SchemaComparison, SchemaRegistration
    from shroff.events.definitions import EventType
    from shroff.events.formats.schemas import SchemaRegistry

NO = 1  # exit status
_LABEL = "label"
_UNREGISTERED: JsonObject = {"version": None, "versions": [], "id": None, "level": None}


Address = Annotated[
    str | None,
    Param(
        "The schema registry; ${NAME} in it is read from the environment.  [default: of source: in shroff.yaml]",
        metavar="URL",
    ),
]
Topics = Annotated[
    tuple[str, ...],
    Param(
        "The topic of a type; its schemas are under TOPIC-value.  [default: of source: in shroff.yaml]",
        flags="--topic",
        metavar="EVENT=TOPIC",
    ),
]
OfEvent = Annotated[
    str | None, AsEvent("Only this event type.  [default: all that have a topic]", complete="event_types_and_labels")
]


class RegisteredSchemas(OperationRequest[Any]):
    """The event types whose schemas are registered, and where."""

    registry: Address = None
    topics: Topics = ()
    event: OfEvent = None


class ComparedSchemas(OperationRequest[Any]):
    """The schemas to compare: that of a file, or the newest of each type's topic.

    Args:
        subject (SUBJECT): The subject.  [default: TOPIC-value]
    """

    file: Annotated[Path | None, Param(metavar="[FILE]", is_argument=True)] = None
    subject: str | None = None
    registry: Address = None
    topics: Topics = ()
    event: OfEvent = None


@command("check")
@takes(ComparedSchemas)
def check(session: Session, asked: ComparedSchemas) -> int:
    """Check whether Avro messages of other systems can be read as the project's events, and what is lost.

    FILE is a schema (.avsc) or an Avro file; without it, the newest schemas of the topics in the registry are checked.

    Examples:
        shroff schema check
        shroff schema check --as payment theirs.avsc
        shroff schema check --as payment x.avro
    """
    results = list(_compared_schemas(session, asked))
    is_ok = all(checked["readable"] for checked, _ in results)
    text = "\n\n".join(_checked_text(document, compared) for document, compared in results)
    session.answer({"ok": is_ok, "types": [document for document, _ in results]}, text)
    session.next("shroff schema register" if is_ok and asked.file is None else "shroff schema diff")
    return 0 if is_ok else NO


@command("diff")
@takes(ComparedSchemas)
def diff(session: Session, asked: ComparedSchemas) -> None:
    """Show field by field how other systems' schemas differ from the project's.

    Examples:
        shroff schema diff
        shroff schema diff --as payment theirs.avsc
    """
    from shroff.events.avro.subjects import SAME

    results = list(_compared_schemas(session, asked))
    documents = []
    parts = []
    for document, compared in results:
        changes = [] if compared is None else compared.changes
        summary = {name: document[name] for name in ("event", "schema", "id", "readable")}
        documents.append({**summary, "fields": msgspec.to_builtins(changes)})
        differ = [change for change in changes if change.kind != SAME]
        head = f"{document['event']} and {document['schema']}: "
        head += document["words"] or (many(len(differ), "field differs", "fields differ") if differ else "the same")
        parts.append("\n".join([ended(head), *([_changes_table(differ)] if differ else [])]))
    session.answer({"types": documents}, "\n\n".join(parts))
    session.next("shroff schema check")


@command("register")
@takes(RegisteredSchemas)
def register(session: Session, asked: RegisteredSchemas) -> int:
    """Register the schema of each event type under TOPIC-value, the subject of its topic's values.

    A schema that cannot read messages of the previous version is refused, whatever compatibility the registry demands.

    Examples:
        shroff schema register
        shroff schema register --topic payment=payments --registry http://localhost:8081
    """
    from shroff.events.avro.subjects import REFUSED, settle

    types = _types(session)
    subjects = _subjects(session, asked.topics)
    settings = session.project.definitions.settings
    subject_by_type = [(type_, _subject(type_, subjects)) for type_ in _wanted(types, asked.event, subjects)]
    with closing(_registry(session, asked.registry)) as schemas:
        settled_schemas = [settle(schemas, subject, type_, settings) for type_, subject in subject_by_type]
    refused = [settled for settled in settled_schemas if settled.outcome == REFUSED]
    session.answer({"types": msgspec.to_builtins(settled_schemas)}, "\n".join(map(_settled_text, settled_schemas)))
    session.next("shroff schema diff" if refused else "shroff schema check")
    return NO if refused else 0


@command("show")
@click.argument("event", metavar="EVENT", shell_complete=completion.event_types_and_labels)
def show(session: Session, event: str) -> None:
    """Print the Avro schema of an event type, for producers.

    Examples:
        shroff schema show payment > payment.avsc
    """
    from shroff.events.avro.schema import schema_of

    (event_type,) = _wanted(_types(session), event, {})
    schema = schema_of(event_type, session.project.definitions.settings)
    session.answer(schema, json.dumps(schema, indent=2, ensure_ascii=False))
    session.next(f"shroff schema check --as {event}")


COMMANDS = (check, diff, register, show)


# ---- which types, which schemas


def _types(session: Session) -> dict[str, EventType]:
    events = session.project.definitions.events
    return {**events.types, _LABEL: events.label_input}


def _subjects(session: Session, given: tuple[str, ...]) -> TextDict:
    from shroff.events.avro.subjects import subjects_of

    return subjects_of(_topics(session, given), session.project.definitions.settings)


def _topics(session: Session, given: tuple[str, ...]) -> TextDict:
    source = session.project.context.systems.source
    topics: TextDict = {}
    if source is not None:
        declared: JsonMapping = source.options.get("topics", source.options.get("streams", {}))
        single = {name: topic if isinstance(topic, str) else topic[0] for name, topic in declared.items() if topic}
        if "any" in single:
            topics = dict.fromkeys(session.project.definitions.events.types, single.pop("any"))
        topics |= single
        labels = source.text("labels")
        if labels:
            topics[_LABEL] = labels
    for text in given:
        name, equals, topic = text.partition("=")
        if not equals or not topic:
            raise UsageError(f"--topic is EVENT=TOPIC, such as payment=payments, not {text!r}.")
        if name not in _types(session):
            raise _no_type(name, _types(session))
        topics[name] = topic
    return topics


def _wanted(types: Mapping[str, EventType], event: str | None, subjects: TextMapping) -> list[EventType]:
    if event is not None:
        if event not in types:
            raise _no_type(event, types)
        return [types[event]]
    selected = [type_ for name, type_ in types.items() if name in subjects]
    if not selected:
        raise UsageError("no event type has a topic: add --topic EVENT=TOPIC, or a source: to shroff.yaml.")
    return selected


def _no_type(name: str, types: Mapping[str, EventType]) -> UsageError:
    return UsageError(f"{name!r} is not an event type. {nearest(name, types) or 'There is ' + ', '.join(types) + '.'}")


def _registry(session: Session, address: str | None) -> SchemaRegistry:
    source = session.project.context.systems.source
    if not address and (source is None or not source.registry):
        raise UsageError("no schema registry is named: add --registry URL, or registry: to the source in shroff.yaml.")
    return session.project.outside.open_registry(source, address or "")


def _compared_schemas(session: Session, asked: ComparedSchemas) -> Iterator[tuple[JsonObject, SchemaComparison | None]]:
    types = _types(session)
    if asked.file is not None:
        yield _document(session, _of_file(types, asked.event), str(asked.file), _schema_of_file(asked.file))
        return
    subjects = _subjects(session, asked.topics)
    selected = [_of_file(types, asked.event)] if asked.subject else _wanted(types, asked.event, subjects)
    subject_by_type = [(type_, asked.subject or _subject(type_, subjects)) for type_ in selected]
    with closing(_registry(session, asked.registry)) as schemas:
        for type_, subject in subject_by_type:
            yield _of_subject(session, schemas, type_, subject)


def _subject(event_type: EventType, subjects: TextMapping) -> str:
    name = event_type.name
    if name not in subjects:
        raise UsageError(f"{name} has no topic: add --topic {name}=TOPIC, or a source: to shroff.yaml.")
    return subjects[name]


def _of_file(types: Mapping[str, EventType], event: str | None) -> EventType:
    """Return the type that --as names, or the only one. Raises: UsageError."""
    own = [name for name in types if name != _LABEL]
    if event is None and len(own) != 1:
        raise UsageError(f"name the event type to compare with: add --as {' or --as '.join(own)}.")
    return _wanted(types, own[0] if event is None else event, {})[0]


def _schema_of_file(file: Path) -> str:
    from shroff.events.avro.files import MAGIC, schema_text_of

    try:
        content = file.read_bytes() if file.stat().st_size < config.FILE_BYTES_MAX else b""
        return schema_text_of(file) if content.startswith(MAGIC) or not content else content.decode()
    except OSError as error:
        raise UsageError(f"{os_words(error, file, ' cannot be read')}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{file} is neither a schema nor an Avro file.") from None


def _of_subject(
    session: Session, schemas: SchemaRegistry, event_type: EventType, subject: str
) -> tuple[JsonObject, SchemaComparison | None]:
    latest = schemas.latest(subject)
    if latest is None:
        return _document(session, event_type, subject, None)
    versions = schemas.versions(subject)
    level = schemas.level(subject)
    registered = {"version": latest.version, "versions": versions, "id": latest.id, "level": level}
    return _document(session, event_type, subject, latest.schema, registered)


def _document(
    session: Session, event_type: EventType, name: str, theirs: str | None, registered: JsonMapping = _UNREGISTERED
) -> tuple[JsonObject, SchemaComparison | None]:
    from shroff.events.avro.schema import schema_of
    from shroff.events.avro.subjects import compared

    settings = session.project.definitions.settings
    own_schema = schema_of(event_type, settings)
    origin: JsonObject = {"event": event_type.name, "schema": name, **registered}
    result: JsonObject = {
        "readable": True,
        "words": "",
        "misfits": [],
        "remarks": [],
        "theirs": None,
        "ours": own_schema,
    }
    if theirs is None:
        return {**origin, **result, "words": "nothing is registered yet"}, None
    try:
        comparison = compared(theirs, event_type, settings)
    except ValueError as error:
        return {**origin, **result, "readable": False, "words": f"it is not read: {error}", "theirs": theirs}, None
    fit: JsonMapping = msgspec.to_builtins(comparison.fit)
    return {**origin, **result, **fit, "readable": comparison.fit.is_readable, "theirs": json.loads(theirs)}, comparison


# ---- words


def _checked_text(document: JsonMapping, compared: SchemaComparison | None) -> str:
    version = f" version {document['version']} (id {document['id']})" if document["version"] else ""
    head = f"{document['event']} from {document['schema']}{version}: "
    if compared is None:
        return ended(head + document["words"])
    lines = [head + ("can be read." if document["readable"] else "cannot be read.")]
    lines += [f"  {misfit['field']}: {ended(misfit['words'])}" for misfit in document["misfits"]]
    lines += [f"  {ended(remark)}" for remark in document["remarks"]]
    if not document["readable"]:
        lines += ["Both schemas:", _changes_table(compared.changes)]
    return "\n".join(lines)


def _changes_table(changes: Sequence[FieldChange]) -> str:
    rows = [
        (
            change.field,
            change.theirs or "-",
            change.ours or "-",
            change.kind if change.is_readable else "cannot be read",
        )
        for change in changes
    ]
    return table(rows, ("field", "theirs", "ours", ""))


def _settled_text(settled: SchemaRegistration) -> str:
    texts = {
        "registered": f"registered, id {settled.id}",
        "unchanged": f"already registered, id {settled.id}",
        "refused": f"not registered. {settled.words}",
    }
    return ended(f"{settled.event} under {settled.subject}: {texts[settled.outcome]}")
