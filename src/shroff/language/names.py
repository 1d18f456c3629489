"""The scope of an expression: names it may read, with their types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from msgspec import field

from shroff.language.types import Type
from shroff.runtime.values import FrozenStruct

TABLE_KINDS = ("prefix", "suffix", "network")  # of keys that match many values


class TableShape(FrozenStruct):
    """A look-up table: the type of its key and of each other column.

    Args:
        since: Column with the time from which a row is valid; not in `columns`. Empty without one.
        kind: How a key is matched: prefix, suffix or network; empty if it must be equal.
        paths: Paths of columns in a MaxMind database, if they differ from the columns' names.
        high: Column of upper ends, if the key is the lower end of a range.
    """

    key: Type
    columns: Mapping[str, Type]
    since: str = ""
    kind: str = ""
    paths: Mapping[str, str] = {}
    high: str = ""


class DeclaredNames(FrozenStruct):
    """The names of a project that expressions can read.

    Args:
        events: Each event type with its fields.
        entities: For each entity the event types that have a key of it.
        decided: Event types that get a decision; labels belong to them.
        personal: For each event type the fields that no expression may read.
        keys: Types of keys that have one part.
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
        """Return why no field of these event types is read by a name."""
        if any(field in self.personal.get(event, ()) for event in events):
            return f"{name} reads {field!r}, which is personal: it lies beside the log, where nothing reads it."
        return f"{name} reads {field!r}, which is not a field of {' or '.join(events)}."


class Scope(FrozenStruct):
    """Context of an expression: the names that it may read.

    Args:
        this: Event types that `this` can be; empty without `this`.
        entity: Entity whose keys aggregates use; None if aggregates are not allowed.
        feature: Returns the type of `entity.name`, None if undeclared; itself None if features cannot be read.
        feature_names: Returns names of features, for hints.
    """

    names: DeclaredNames
    what: str = "an expression"
    this: tuple[str, ...] = ()
    entity: str | None = None
    feature: Callable[[str], Type | None] | None = None
    feature_names: Callable[[], list[str]] = list
    reads_row: bool = False
    each: tuple[str | int, ...] | None = None  # path of the array whose items are `item`
    reads_score: bool = False
    is_where: bool = False  # `where` of an aggregate, which may read features of the deciding event
    since_flag: bool = False
    decimal: str = ""  # decimal mark of texts with groups and accounting forms; "" for plain numbers
    zone: str = ""  # of times without an offset; "": such a time must have a declared form, and is UTC
