"""Decodes messages of pushed sources into submissions: the event types of each source, and message ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from shroff.events.definitions import Events, EventType, FileMapping
from shroff.events.formats.encodings import json_columns
from shroff.events.formats.lines import Line
from shroff.events.intake import READ, Intake, OwnTypes, Submission
from shroff.events.mapping import LABEL, Dispatcher, MappedRow, Mapper
from shroff.events.raw_values import REQUEST_DEPTH_MAX
from shroff.events.validation import secret_fields
from shroff.language.expression import RowValue
from shroff.language.types import TEXT
from shroff.project.definitions import Definitions
from shroff.project.settings.sources import NamedSource
from shroff.project.settings.systems import Systems
from shroff.runtime.values import replace
from shroff.streams.pull import PULLED
from shroff.streams.push import HOOKS
from shroff.streams.source import PolledMessages
from shroff.worker.serving.message_decoder import MessageDecoder

if TYPE_CHECKING:
    from shroff.streams.push import Push

ID_NAMES = {"pubsub": "messageId", "sns": "MessageId"}  # field of an envelope with the message id; else `id`

_BEGINS = {"push": HOOKS, "pull": PULLED, "source": READ}  # prefix of a source's name in the log


def part_of(name: str) -> str:
    """Return the name of a pushed source in quarantine."""
    return f"{HOOKS}/{name}"


def own_types(systems: Systems, events: Events) -> dict[str, OwnTypes]:
    sources = systems.with_own_types.items()
    return {f"{_BEGINS[source.contract]}/{name}": _own_of(source, events) for name, source in sources}


def _own_of(source: NamedSource, events: Events) -> OwnTypes:
    if source.events == (LABEL,):
        return OwnTypes(Events({}, label=events.label), LABEL)
    return OwnTypes(_types_of(source, events), source.others)


def _types_of(source: NamedSource, events: Events) -> Events:
    names = [name for name in events.types if not source.events or name in (*source.events, source.others)]
    types = {name: _with_id(events.types[name], source) for name in names}
    if source.others in types and source.events and source.others not in source.events:
        types[source.others] = _without_condition(types[source.others])
    return Events(types, label=events.label if LABEL in source.events else replace(events.label, mappings={}))


def _with_id(type_: EventType, source: NamedSource) -> EventType:
    """Return the type with the message id as its id, if the settings say so; items of a message have their own ids."""
    mapping = type_.mappings.get("json", FileMapping(None, {}))
    if not source.is_id_of_message or source.contract != "push" or mapping.each is not None:
        return type_
    kind = source.system.kind
    id_of_message = RowValue(TEXT, (kind, ID_NAMES.get(kind, "id")))
    fields = {**mapping.fields, type_.id_field: id_of_message}
    return replace(type_, mappings={"json": replace(mapping, fields=fields)})


def _without_condition(type_: EventType) -> EventType:
    return replace(type_, mappings={name: replace(mapping, when=None) for name, mapping in type_.mappings.items()})


class PushReader:
    """Decodes messages of pushed sources for one version of a project."""

    def __init__(
        self, definitions: Definitions, intake: Intake, own: Mapping[str, OwnTypes], now_ms: Callable[[], int]
    ) -> None:
        self._inflow = MessageDecoder(intake, definitions, now_ms, is_live=True)
        self._events = definitions.events
        self._own = own
        self._dispatchers: dict[str, Dispatcher] = {}

    def read(self, source: NamedSource, push: Push) -> Sequence[Submission]:
        """Decode a message into submissions, one for each item if its type splits a message by `each`.

        A submission has neither event nor refusal if no event type of the source accepts it.
        """
        line = _line(push, source.system.kind)
        return self._inflow.submissions(
            self._inflow.items([PolledMessages(part_of(source.name), None, "jsonl", [line], "")])
        )

    def found_in(self, source: NamedSource, push: Push) -> str:
        """Return what the `when` of the source's first event type read in an unmatched message: `row.x is 'y'`."""
        events = self._own[part_of(source.name)].events
        dispatcher = self._dispatchers.setdefault(source.name, Dispatcher(events, "jsonl"))
        row = MappedRow("", 0, _line(push, source.system.kind).columns or {})
        mappers = (
            Mapper(type_, "jsonl", secret_fields(self._events, type_.name) | {field.name for field in type_.personal})
            for type_ in self._events.types.values()
        )
        secret = {path for mapper in mappers for path in mapper.secret_paths}
        return dispatcher.first_found(row, secret) or "nothing that any 'when' reads"


def _line(push: Push, kind: str) -> Line:
    """Return a message as a line: its fields as columns, and the sender's metadata by the source's kind."""
    columns, error = json_columns(push.body, REQUEST_DEPTH_MAX)
    if columns is None:
        problem = (error or "").replace("the line", "the message", 1)
        return Line(0, push.body, None, problem, where=push.id)
    return Line(0, None, {**columns, kind: dict(push.envelope)}, where=push.id)
