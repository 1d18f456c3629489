"""Scope of an expression: the names that it may use, with their types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from msgspec import field

from shroff.language.types import Type
from shroff.runtime.values import FrozenStruct

TABLE_KINDS = ("prefix", "suffix", "network")  # of keys that hold many values


class TableShape(FrozenStruct):
    """A look-up table: the type of its key and of each other column.

    `since` is the column that says from which time on a row is valid, which is none of the others; empty without one.
    `kind` says how a key is looked up: prefix, suffix or network; empty where it is equal. `paths` are those of columns
    in a MaxMind database, where they are not the columns' names. `high` is the column of the upper ends where
    the key is the lower end of a range.
    """

    key: Type
    columns: Mapping[str, Type]
    since: str = ""
    kind: str = ""
    paths: Mapping[str, str] = {}
    high: str = ""


class DeclaredNames(FrozenStruct):
    """The names that a project declares, as far as expressions see them.

    `events` has each event type with its fields; `entities` the event types that have a
    key of each entity; `decided` the types that get a decision (labels are theirs). `personal` are fields that no
    expression may read; `keys` the types of keys of one part.
    """

    events: Mapping[str, Mapping[str, Type]] = field(default_factory=dict)
    entities: Mapping[str, frozenset[str]] = field(default_factory=dict)
    decided: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()
    tables: Mapping[str, TableShape] = field(default_factory=dict)
    money_places: int = 2
    personal: Mapping[str, frozenset[str]] = field(default_factory=dict)
    keys: Mapping[str, Type] = field(default_factory=dict)

    def no_field(self, name: str, field: str, events: Iterable[str]) -> str:
        """Why a name reads no field of these event types."""
        if any(field in self.personal.get(event, ()) for event in events):
            return f"{name} reads {field!r}, which is personal: it lies beside the log, where nothing reads it."
        return f"{name} reads {field!r}, which is not a field of {' or '.join(events)}."


class Scope(FrozenStruct):
    """Context of an expression: the names that it may read.

    `this` are the event types that `this` can be; empty where there is no `this`.
    `entity` is whose keys aggregates use; None where aggregates cannot stand.
    `feature` gives the type of `entity.name`, or None where it is not declared; it is
    itself None where features cannot be read. `feature_names` serves hints.
    """

    names: DeclaredNames
    what: str = "an expression"
    this: tuple[str, ...] = ()
    entity: str | None = None
    feature: Callable[[str], Type | None] | None = None
    feature_names: Callable[[], list[str]] = list
    reads_row: bool = False
    each: tuple[str | int, ...] | None = None  # the path of the array whose items are `item`
    reads_score: bool = False
    is_where: bool = False  # of an aggregate, which may read features of the deciding event
    since_flag: bool = False
    decimal: str = ""  # the mark before the places of decimals in texts, with groups and accounting forms; "": plain
    zone: str = ""  # whose times without an offset are; "": only times of a form have one, UTC
