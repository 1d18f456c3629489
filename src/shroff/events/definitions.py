"""Definitions of events.yaml: event types with their fields and mappings, entities, tables."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as MappingOf
from dataclasses import field
from typing import Final

import msgspec

from shroff.language.expression import ORIGINAL_AMOUNT, Lookup, Path, walk
from shroff.language.expression import Node as Expression
from shroff.language.field_types import FieldType
from shroff.language.names import DeclaredNames, TableShape
from shroff.language.row import Tables
from shroff.language.types import HASHED, TEXT, TIME, Type, money
from shroff.language.values import DAY_MS
from shroff.runtime.values import FrozenStruct, frozen, replace

VERDICTS = ("fraud", "genuine", "unclear")
ANALYST = "analyst"
SOURCES = ("chargeback", ANALYST, "customer", "import")  # from strong to weak
LABEL_TYPES: Final[dict[str, FieldType]] = {
    "event": FieldType(TEXT),
    "verdict": FieldType(Type("choice", choices=VERDICTS)),
    "source": FieldType(Type("choice", choices=SOURCES)),
    "known_at": FieldType(TIME),
    "reason": FieldType(TEXT, is_optional=True),
}
LABEL_NAMES = (*LABEL_TYPES, "amount")
DISPUTE_NAMES = (*LABEL_NAMES, "stage", "due", "network", "code", "reason_code", "dispute")
FEW_VALUES = frozenset(["text", "choice", "boolean", "integer"])  # kinds of fields that events are counted by
RATE = "rate"  # suffix of the field with the rate of converted money, as ORIGINAL_AMOUNT is that of the original amount


class Field(FrozenStruct):
    """A field of an event type."""

    name: str
    shape: FieldType

    @property
    def type(self) -> Type:
        return self.shape.type

    @property
    def read_type(self) -> Type:
        return replace(self.type, hashing=HASHED) if self.shape.is_hashed else self.type

    @property
    def is_made(self) -> bool:
        """Whether the field was added beside converted money, and not declared in events.yaml."""
        return "." in self.name

    @property
    def sent(self) -> str:
        """Name of the field in input lines; empty if its value is calculated from other fields, as converted money."""
        name, _, part = self.name.partition(".")
        return "" if self.shape.currency or part == RATE else name


class CsvLayout(FrozenStruct):
    """Layout of a CSV file as a mapping declares it. A value is None if the mapping does not declare it.

    Args:
        separator: Character between the columns.
        columns: Names of the columns, for a file without a header line.
        skip: Number of lines to skip before the header, or before the data of a file without one.
        missing: Texts of cells that mean a missing value. Blanks around a cell's text do not count.
    """

    separator: str | None = None
    columns: tuple[str, ...] | None = None
    skip: int | None = None
    missing: frozenset[str] | None = None

    def over(self, other: CsvLayout) -> CsvLayout:
        """Return this layout, with the values of `other` for those that this one does not declare."""
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        return CsvLayout(*(own if own is not None else given for own, given in pairs))


NO_LAYOUT = CsvLayout()


class FileMapping(FrozenStruct):
    """Mapping of a file format's lines to events: a condition, and expressions for some fields.

    Args:
        when: Condition for lines that the mapping takes; None takes every line.
        fields: Expressions by the names of the fields that they make.
        decimal: Decimal mark of numbers that people have written; empty if numbers are plain.
        zone: Time zone of times without an offset.
        layout: Layout of CSV files.
        each: Path of an array in a message, whose items are events.
        arrived: Expression for the time at which the event of a file's line arrived.
        tables: Tables that the expressions read.
        is_descending: Whether files begin with their newest line.
    """

    when: Expression | None
    fields: MappingOf[str, Expression]
    decimal: str = ""
    zone: str = "UTC"
    layout: CsvLayout = NO_LAYOUT
    each: Path | None = None
    arrived: Expression | None = None
    tables: Tables = msgspec.field(default_factory=dict)
    is_descending: bool = False

    def with_tables(self, tables: Tables) -> FileMapping:
        nodes = [node for node in (self.when, self.arrived, *self.fields.values()) if node is not None]
        read = {part.table for node in nodes for part in walk(node) if isinstance(part, Lookup)}
        return replace(self, tables={name: tables[name] for name in read if name in tables}) if read else self


@frozen
class EventType:
    """An event type. `id_field` and `time_field` name two of its fields.

    A field of `money in currency` holds the converted money. Its original amount, and the rate of the conversion, are
    two further fields at the end of `fields`, with a dot in their names.

    Values of `personal` fields are stored beside the log, and never among the values of an event. `summary` names the
    fields that describe an event to people, in the order in which they are shown. It affects no decision, so types that
    differ only in their summary are equal.
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
        """All fields that an input line may have, with the types that a sender uses; personal fields come last."""
        own = {field.name: field for field in self.fields}
        sent = (_sent(field, own) for field in self.fields if not field.is_made)
        return (*sent, *self.personal)

    @property
    def amount_field(self) -> Field | None:
        """Field of an event's amount: the first field of money in its summary, else the first field of money."""
        fields = [*(self.fields[self.at(name)] for name in self.summary), *self.fields]
        return next((field for field in fields if field.type.kind == "money"), None)

    @property
    def countable(self) -> list[str]:
        """Names of the declared fields that events can be counted by."""
        kept = (field for field in self.fields if field.type.kind in FEW_VALUES and not field.is_made)
        return [field.name for field in kept if field.name != self.id_field]

    @property
    def converted(self) -> tuple[Field, ...]:
        return tuple(field for field in self.fields if field.shape.currency)

    @property
    def field_names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    def at(self, name: str) -> int:
        return self.field_names.index(name)


def _sent(field: Field, fields: MappingOf[str, Field]) -> Field:
    if not field.shape.currency:
        return field
    original = fields[f"{field.name}.{ORIGINAL_AMOUNT}"]
    return Field(field.name, replace(field.shape, type=money(original.type.places), bounds=original.shape.bounds))


class Entity(FrozenStruct):
    """The subject of features: for each event type the expressions that make its key."""

    name: str
    keys: MappingOf[str, tuple[Expression, ...]]


class Events(FrozenStruct):
    """Everything that events.yaml declares."""

    types: MappingOf[str, EventType] = msgspec.field(default_factory=dict)
    entities: MappingOf[str, Entity] = msgspec.field(default_factory=dict)
    tables: MappingOf[str, TableShape] = msgspec.field(default_factory=dict)
    table_keys: MappingOf[str, str] = msgspec.field(default_factory=dict)
    label: EventType = msgspec.field(default_factory=lambda: label_type(2, {}))
    disputes: EventType = msgspec.field(default_factory=lambda: dispute_type((), {}))

    def with_tables(self, tables: Tables) -> Events:
        def given(type_: EventType) -> EventType:
            return replace(type_, mappings={name: each.with_tables(tables) for name, each in type_.mappings.items()})

        types = {name: given(type_) for name, type_ in self.types.items()}
        given_tables = replace(self, types=types, label=given(self.label), disputes=given(self.disputes))
        return given_tables if tables else self

    @property
    def decided(self) -> tuple[str, ...]:
        return tuple(name for name, type_ in self.types.items() if type_.is_decided)

    @property
    def naming(self) -> dict[str, EventType]:
        """Unique fields that can replace `event` in a label file, each with its event type.

        If several types have a field of that name, it belongs to the decided type among them. A name is left out if
        none of these types is decided, or more than one, or if labels have a field of that name themselves.
        """
        found = {}
        for name, types in self._unique().items():
            of = types if len(types) == 1 else [type_ for type_ in types if type_.is_decided]
            if len(of) == 1 and name not in LABEL_NAMES:
                found[name] = of[0]
        return found

    @property
    def not_naming(self) -> list[str]:
        """Sorted names of the unique fields that `naming` leaves out."""
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
        """Type of labels in files, with the fields of `naming`. If there are any, `event` is optional."""
        naming = self.naming
        if not naming:
            return self.label
        own = [replace(field, shape=replace(field.shape, is_optional=True)) for field in self.label.fields[:1]]
        more = [
            Field(name, replace(type_.fields[type_.at(name)].shape, is_optional=True, is_unique=False, bounds=None))
            for name, type_ in naming.items()
        ]
        return replace(self.label, fields=(*own, *self.label.fields[1:], *more))

    @property
    def has_arrivals(self) -> bool:
        """Whether any mapping says when the events of a file's lines arrived."""
        types = (*self.types.values(), self.label)
        return any(mapping.arrived is not None for type_ in types for mapping in type_.mappings.values())

    def has_unique(self, event: str) -> bool:
        return any(field.shape.is_unique for field in self.types[event].fields)

    @property
    def has_personal(self) -> bool:
        return any(type_.personal for type_ in self.types.values())

    @property
    def has_hashed(self) -> bool:
        return any(field.shape.is_hashed for type_ in self.types.values() for field in type_.fields)

    def names(self, lists: frozenset[str], money_places: int) -> DeclaredNames:
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
    shapes = {**LABEL_TYPES, "amount": FieldType(money(money_places), is_optional=True)}
    fields = tuple(Field(name, shape) for name, shape in shapes.items())
    return EventType("label", "event", "known_at", is_decided=False, fields=fields, mappings=mappings)


def dispute_type(naming: Iterable[str], mappings: MappingOf[str, FileMapping]) -> EventType:
    """Return the built-in type of disputes' stages in files; `naming` are the fields that can replace `event`."""
    types = {name: TIME if name in {"known_at", "due"} else TEXT for name in (*DISPUTE_NAMES, *naming)}
    fields = tuple(Field(name, FieldType(type_, is_optional=True)) for name, type_ in types.items())
    return EventType("dispute", "event", "known_at", is_decided=False, fields=fields, mappings=mappings)


class Settings(FrozenStruct):
    """A project's settings. Durations in milliseconds."""

    name: str = "project"
    currency: str = "EUR"
    money_places: int = 2
    lateness_ms: int = DAY_MS
    ahead_ms: int = DAY_MS
    untaken: str = ""  # skip | quarantine; if it is empty, lines are skipped, and a file without a taken line reported
    rates: str = ""  # name of the table of exchange rates; empty if no amounts are converted
