"""Definitions of events.yaml: event types with their fields and mappings, entities, tables.

`load_events` reads the file into values and adds every mistake to a list of problems.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field, replace
from typing import Final
from zoneinfo import available_timezones

import msgspec
from msgspec import structs

from shroff.errors import Problem, nearest
from shroff.events.keys import CSV_SETTINGS, EVENT_TYPE, EVENTS, FROM, LABEL, RESERVED, SEPARATORS, SUMMARY
from shroff.events.summary import load_summary
from shroff.language import loader
from shroff.language.expression import Node as Expression
from shroff.language.expression import ThisField
from shroff.language.field_types import FieldType, TypeTextError, parse_field_type
from shroff.language.names import DeclaredNames, Scope, TableShape
from shroff.language.types import BOOLEAN, HASHED, TEXT, TIME, Type, money
from shroff.language.values import DAY_MS, is_zone
from shroff.language.yaml.text import Mapping, Node, Scalar, Sequence

SKIP_DIGITS_MAX: Final = 6  # no file has a million lines before its header
VERDICTS: Final = ("fraud", "genuine", "unclear")
SOURCES: Final = ("chargeback", "analyst", "customer", "import")  # from strong to weak
LABEL_TYPES: Final[dict[str, FieldType]] = {
    "event": FieldType(TEXT),
    "verdict": FieldType(Type("choice", choices=VERDICTS)),
    "source": FieldType(Type("choice", choices=SOURCES)),
    "known_at": FieldType(TIME),
    "reason": FieldType(TEXT, is_optional=True),
}
LABEL_NAMES: Final = (*LABEL_TYPES, "amount")


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an event type."""

    name: str
    shape: FieldType

    @property
    def type(self) -> Type:
        return self.shape.type

    @property
    def read_type(self) -> Type:
        """Its type as expressions read it."""
        return structs.replace(self.type, hashing=HASHED) if self.shape.is_hashed else self.type


class CsvLayout(msgspec.Struct, frozen=True):
    """How a CSV file begins, and which of its cells are empty: what a mapping says of it. None where it says nothing.

    Args:
        separator: What must stand between the columns.
        columns: Their names, in a file without a header line.
        skip: How many lines stand before the header, or before the data.
        missing: Words that mean missing: whole cells, without the blanks around them.
    """

    separator: str | None = None
    columns: tuple[str, ...] | None = None
    skip: int | None = None
    missing: frozenset[str] | None = None

    def over(self, other: CsvLayout) -> CsvLayout:
        """The same, and the other where it says nothing."""
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        return CsvLayout(*(own if own is not None else given for own, given in pairs))


NO_LAYOUT: Final = CsvLayout()


@dataclass(frozen=True, slots=True)
class FileMapping:
    """Mapping of a file format's lines to events: a condition, and expressions for some fields.

    `decimal` is the mark before the places of decimals as people write them; empty where they are plain. `zone` is that
    of times without an offset.
    """

    when: Expression | None
    fields: MappingOf[str, Expression]
    decimal: str = ""
    zone: str = "UTC"
    layout: CsvLayout = NO_LAYOUT


@dataclass(frozen=True, slots=True)
class EventType:
    """An event type. `id_field` and `time_field` name two of its fields.

    `personal` are the fields that lie beside the log: no event has them among its values. `summary` are those that
    describe an event to people, in order of showing; it decides nothing, so types that differ in it are equal.
    """

    name: str
    id_field: str
    time_field: str
    is_decided: bool
    fields: tuple[Field, ...]
    mappings: MappingOf[str, FileMapping] = field(default_factory=dict)
    personal: tuple[Field, ...] = ()
    summary: tuple[str, ...] = field(default=(), compare=False)

    @property
    def declared(self) -> tuple[Field, ...]:
        """All fields that a line may have, personal ones last."""
        return (*self.fields, *self.personal)

    @property
    def field_names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    def at(self, name: str) -> int:
        """Index of a field."""
        return self.field_names.index(name)


@dataclass(frozen=True, slots=True)
class Entity:
    """The subject of features: for each event type the expressions that make its key."""

    name: str
    keys: MappingOf[str, tuple[Expression, ...]]


@dataclass(frozen=True, slots=True)
class Events:
    """Everything that events.yaml declares."""

    types: MappingOf[str, EventType] = field(default_factory=dict)
    entities: MappingOf[str, Entity] = field(default_factory=dict)
    tables: MappingOf[str, TableShape] = field(default_factory=dict)
    table_keys: MappingOf[str, str] = field(default_factory=dict)
    label: EventType = field(default_factory=lambda: label_type(2, {}))

    @property
    def decided(self) -> tuple[str, ...]:
        return tuple(name for name, type_ in self.types.items() if type_.is_decided)

    @property
    def naming(self) -> dict[str, EventType]:
        """Unique fields that can replace `event` in a label file, each with its event type.

        A field that several types have is that of the one that is decided; where that is not one, it names nothing.
        """
        found = {}
        for name, types in self._unique().items():
            of = types if len(types) == 1 else [type_ for type_ in types if type_.is_decided]
            if len(of) == 1 and name not in LABEL_NAMES:
                found[name] = of[0]
        return found

    @property
    def not_naming(self) -> list[str]:
        """The unique fields that cannot stand for `event`: labels have a field of that name, or several types do."""
        return sorted(self._unique().keys() - self.naming.keys())

    def _unique(self) -> dict[str, list[EventType]]:
        found: dict[str, list[EventType]] = {}
        for type_ in self.types.values():
            for declared in type_.fields:
                if declared.shape.is_unique and not declared.shape.within_ms:
                    found.setdefault(declared.name, []).append(type_)
        return found

    @property
    def label_input(self) -> EventType:
        """The type of labels as they are sent: with the fields that may stand for `event`, which is then optional."""
        naming = self.naming
        if not naming:
            return self.label
        own = [replace(field, shape=replace(field.shape, is_optional=True)) for field in self.label.fields[:1]]
        more = [
            Field(name, replace(type_.fields[type_.at(name)].shape, is_optional=True, is_unique=False, bounds=None))
            for name, type_ in naming.items()
        ]
        return replace(self.label, fields=(*own, *self.label.fields[1:], *more))

    def has_unique(self, event: str) -> bool:
        """Whether any field of this type is unique."""
        return any(field.shape.is_unique for field in self.types[event].fields)

    @property
    def has_personal(self) -> bool:
        """Whether any field is personal."""
        return any(type_.personal for type_ in self.types.values())

    @property
    def has_hashed(self) -> bool:
        """Whether any field is hashed."""
        return any(field.shape.is_hashed for type_ in self.types.values() for field in type_.fields)

    def names(self, lists: frozenset[str], money_places: int) -> DeclaredNames:
        """Names of it that expressions see."""
        types = {**self.types, "label": self.label}
        return DeclaredNames(
            events={name: {field.name: field.read_type for field in type_.fields} for name, type_ in types.items()},
            entities={name: frozenset(entity.keys) for name, entity in self.entities.items()},
            decided=frozenset(self.decided),
            lists=lists,
            tables=self.tables,
            money_places=money_places,
            personal={name: frozenset(field.name for field in type_.personal) for name, type_ in self.types.items()},
            keys={
                name: parts[0].type
                for name, entity in self.entities.items()
                for parts in entity.keys.values()
                if len(parts) == 1
            },
        )


def label_type(money_places: int, mappings: MappingOf[str, FileMapping]) -> EventType:
    """The built-in event type of labels."""
    shapes = {**LABEL_TYPES, "amount": FieldType(money(money_places), is_optional=True)}
    fields = tuple(Field(name, shape) for name, shape in shapes.items())
    return EventType("label", "event", "known_at", is_decided=False, fields=fields, mappings=mappings)


def load_events(node: Node | None, lists: frozenset[str], money_places: int, problems: list[Problem]) -> Events:
    """Read events.yaml. What cannot be read is left out, with a problem for each."""
    top = loader.mapping(node, problems, "events.yaml")
    if top is None:
        return Events(label=label_type(money_places, {}))
    row_scope = Scope(DeclaredNames(money_places=money_places), what="a mapping", reads_row=True)
    types: dict[str, EventType] = {}
    label_node: Node | None = None
    for key, value in top.entries:
        if key.text == "label":
            label_node = value
        elif key.text not in EVENTS.names:
            type_ = _event_type(key, value, row_scope, money_places, problems)
            if type_ is not None:
                types[type_.name] = type_
    tables, table_keys = _tables(top.get("tables"), money_places, problems)
    label = label_type(money_places, {})
    if label_node is not None:
        naming = Events(types).naming
        label = label_type(money_places, _label_mappings(label_node, naming, row_scope, problems))
    partial = Events(types, {}, tables, table_keys, label)
    entities = _entities(top.get("entities"), partial.names(lists, money_places), types, problems)
    return Events(types, entities, tables, table_keys, label)


def _event_type(key: Scalar, node: Node, scope: Scope, places: int, problems: list[Problem]) -> EventType | None:
    name = loader.name(key, problems, "an event type", RESERVED)
    found = loader.mapping(node, problems, f"event type {key.text}")
    if name is None or found is None:
        return None
    loader.check_keys(found, EVENT_TYPE, problems, f"event type {name}")
    declared = _fields(found.get("fields"), places, problems, name)
    fields = tuple(field for field in declared if not field.shape.is_personal)
    id_field = _named_field(found.get("id"), fields, ("text",), problems, f"id of {name}")
    time_field = _named_field(found.get("time"), fields, ("time",), problems, f"time of {name}")
    decided = loader.boolean(found.get("decide"), problems, "decide")
    mappings = _mappings(found.get("from"), {field.name for field in declared}, scope, problems, name)
    personal = tuple(field for field in declared if field.shape.is_personal)
    summary = load_summary(found.get(SUMMARY), fields, personal, problems, name)
    if id_field is None or time_field is None:
        return None
    return EventType(name, id_field, time_field, bool(decided), fields, mappings, personal, summary)


def _fields(node: Node | None, places: int, problems: list[Problem], event: str) -> tuple[Field, ...]:
    found = loader.mapping(node, problems, f"fields of {event}")
    fields: list[Field] = []
    for key, value in found.entries if found else ():
        name = loader.name(key, problems, "a field")
        text = loader.scalar(value, problems, f"the type of {key.text}")
        if name is None or text is None:
            continue
        try:
            fields.append(Field(name, parse_field_type(text.text, money_places=places)))
        except TypeTextError as error:
            problems.append(text.problem(f"field {name}: {error}"))
    return tuple(fields)


def _named_field(
    node: Node | None, fields: tuple[Field, ...], kinds: tuple[str, ...], problems: list[Problem], what: str
) -> str | None:
    found = loader.scalar(node, problems, what)
    if found is None:
        return None
    by_name = {field.name: field for field in fields}
    if found.text not in by_name:
        likely = nearest(found.text, list(by_name)) or next(
            (f"Did you mean {field.name}?" for field in fields if field.type.kind in kinds), ""
        )
        problems.append(found.problem(f"the {what} is {found.text!r}, which is not a field of it.", likely))
        return None
    field = by_name[found.text]
    mark = "?" if field.shape.is_optional else ""
    if field.type.kind not in kinds or mark:
        problems.append(
            found.problem(f"the {what} must be a {kinds[0]} that is always there; {found.text} is {field.type}{mark}.")
        )
        return None
    return found.text


def _mappings(
    node: Node | None, fields: set[str], scope: Scope, problems: list[Problem], event: str
) -> dict[str, FileMapping]:
    top = loader.mapping(node, problems, f"from of {event}")
    mappings: dict[str, FileMapping] = {}
    zone = _zone(top.get("zone") if top else None, problems) or "UTC"
    for key, value in top.entries if top else ():
        if key.text == "zone":
            continue
        if key.text not in FROM.names:
            hint = nearest(key.text, FROM.names) or f"Formats are {', '.join(FROM.names)}."
            problems.append(key.problem(f"{key.text!r} is no format.", hint))
            continue
        found = loader.mapping(value, problems, f"from.{key.text} of {event}")
        if found is not None:
            given = replace(scope, zone=zone)
            mappings[key.text] = _file_mapping(found, fields, given, problems, event, is_csv=key.text == "csv")
    if zone != "UTC":  # also of the formats that need no mapping
        plain = FileMapping(None, {}, zone=zone)
        mappings = {name: mappings.get(name, plain) for name in FROM.names if name != "zone"}
    return mappings


def _file_mapping(
    found: Mapping, fields: set[str], scope: Scope, problems: list[Problem], event: str, *, is_csv: bool
) -> FileMapping:
    when: Expression | None = None
    expressions: dict[str, Expression] = {}
    known = ("zone", *CSV_SETTINGS, "columns", "skip", "missing") if is_csv else ("zone",)
    settings = {
        key.text: value
        for key, value in found.entries
        if key.text in known and (key.text not in fields or isinstance(value, Sequence))
    }
    chosen = {
        name: loader.one_of(settings.get(name), choices, problems, name) or "" for name, choices in CSV_SETTINGS.items()
    }
    zone = _zone(settings.get("zone"), problems) or scope.zone
    scope = replace(scope, decimal=chosen["decimal"], zone=zone)
    for key, value in found.entries:
        if key.text in settings:
            continue
        if key.text == "when":
            when = loader.expression(value, scope, problems, BOOLEAN)
        elif key.text not in fields:
            problems.append(key.problem(f"{event} has no field {key.text!r}.", nearest(key.text, {*fields, *known})))
        else:
            node = loader.expression(value, scope, problems)
            if node is not None:
                expressions[key.text] = node
    layout = CsvLayout(
        SEPARATORS.get(chosen["separator"]),
        _words(settings.get("columns"), problems, "columns"),
        _skip(settings.get("skip"), problems),
        None if (words := _words(settings.get("missing"), problems, "missing")) is None else frozenset(words),
    )
    if layout.columns is not None and (not all(layout.columns) or len(set(layout.columns)) < len(layout.columns)):
        problems.append(settings["columns"].problem("columns names each column of the file, none twice."))
    return FileMapping(when, expressions, scope.decimal, zone, layout)


def _zone(node: Node | None, problems: list[Problem]) -> str | None:
    found = loader.scalar(node, problems, "zone")
    if found is None:
        return None
    if not is_zone(found.text):
        near = nearest(found.text, available_timezones()) or "Write one such as Europe/Berlin."
        problems.append(found.problem(f"there is no time zone {found.text!r}.", near))
        return None
    return found.text


def _words(node: Node | None, problems: list[Problem], what: str) -> tuple[str, ...] | None:
    """The texts of a list, without the blanks around them."""
    found = loader.sequence(node, problems, what)
    if found is None:
        return None
    problems += [item.problem(f"{what} is a list of words.") for item in found.items if not isinstance(item, Scalar)]
    return tuple(item.text.strip() for item in found.items if isinstance(item, Scalar))


def _skip(node: Node | None, problems: list[Problem]) -> int | None:
    found = loader.scalar(node, problems, "skip")
    if found is None:
        return None
    if not (found.text.isascii() and found.text.isdecimal() and len(found.text) <= SKIP_DIGITS_MAX):
        problems.append(
            found.problem(f"skip is how many lines stand before the header, such as 3, not {found.text!r}.")
        )
        return None
    return int(found.text)


def _label_mappings(node: Node, naming: Iterable[str], scope: Scope, problems: list[Problem]) -> dict[str, FileMapping]:
    found = loader.mapping(node, problems, "label")
    if found is None:
        return {}
    loader.check_keys(found, LABEL, problems, "label, a built-in event type,")
    return _mappings(found.get("from"), {*LABEL_NAMES, *naming}, scope, problems, "label")


def _tables(node: Node | None, places: int, problems: list[Problem]) -> tuple[dict[str, TableShape], dict[str, str]]:
    top = loader.mapping(node, problems, "tables")
    tables: dict[str, TableShape] = {}
    keys: dict[str, str] = {}
    for key, value in top.entries if top else ():
        name = loader.name(key, problems, "a table")
        columns = _fields(value, places, problems, f"table {key.text}")
        problems += [
            key.problem(f"{column.name} of table {key.text}: a table has nothing personal, since rules read it.")
            for column in columns
            if column.shape.is_personal
        ]
        problems += [
            key.problem(f"{column.name} of table {key.text}: a column has no bounds; they are for what comes in.")
            for column in columns
            if column.shape.bounds is not None
        ]
        if name is None or len(columns) < 2:
            problems.append(key.problem(f"table {key.text} has a key and at least one more column"))
            continue
        tables[name] = TableShape(columns[0].type, {column.name: column.type for column in columns[1:]})
        keys[name] = columns[0].name
    return tables, keys


def _entities(
    node: Node | None, names: DeclaredNames, types: MappingOf[str, EventType], problems: list[Problem]
) -> dict[str, Entity]:
    top = loader.mapping(node, problems, "entities")
    entities: dict[str, Entity] = {}
    for key, value in top.entries if top else ():
        name = loader.name(key, problems, "an entity", {*RESERVED, *types})
        found = loader.mapping(value, problems, f"entity {key.text}")
        if name is None or found is None:
            continue
        keys: dict[str, tuple[Expression, ...]] = {}
        for event, written in found.entries:
            if event.text not in types:
                problems.append(event.problem(f"{event.text!r} is not an event type.", nearest(event.text, types)))
                continue
            parts = written.items if isinstance(written, Sequence) else (written,)
            read = [_key_part(part, event.text, names, problems) for part in parts]
            if read and all(part is not None for part in read):
                keys[event.text] = tuple(part for part in read if part is not None)
        for each in zip(*keys.values(), strict=False):
            if len({field.type.hashing for field in each}) > 1:
                words = f"{name}: the key is hashed for some event types and not for others, so it is never the same."
                problems.append(key.problem(words, "Mark the field hashed in each of them, or in none."))
        entities[name] = Entity(name, keys)
    return entities


def _key_part(node: Node, event: str, names: DeclaredNames, problems: list[Problem]) -> Expression | None:
    """A field's name, or an expression over the event."""
    fields = names.events.get(event, {})
    if isinstance(node, Scalar) and node.text in fields:
        return ThisField(fields[node.text], node.text)
    if isinstance(node, Scalar) and loader.NAME.fullmatch(node.text):
        if node.text in names.personal.get(event, ()):
            words = f"{node.text} is personal, and keys are read by all that decides."
            problems.append(node.problem(words, "Mark the field hashed instead: the same value is then the same key."))
        else:
            problems.append(node.problem(f"{node.text!r} is not a field of {event}.", nearest(node.text, fields)))
        return None
    return loader.expression(node, Scope(names, what="a key", this=(event,)), problems)


@dataclass(frozen=True, slots=True)
class Settings:
    """A project's settings. Durations in milliseconds."""

    name: str = "project"
    currency: str = "EUR"
    money_places: int = 2
    lateness_ms: int = DAY_MS
    ahead_ms: int = DAY_MS
    untaken: str = ""  # skip | quarantine; empty: skip, and a file of which no line is taken is told
