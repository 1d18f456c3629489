"""The events of one type in a batch, as columns; and dictionaries from keys and texts to small numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shroff.events.definitions import Events, EventType
from shroff.events.labels import LabelEvent, LogEvent
from shroff.language.columns import Column, ColumnSource, column_of, evaluate_columns, values_of
from shroff.language.expression import Aggregate, FeatureValue, ItemFeature, ItemField, Node, Score, ThisField
from shroff.language.row import Reference
from shroff.language.types import REAL, Type
from shroff.language.values import Value


@dataclass(slots=True)
class Codes:
    """A dictionary from values to dense codes, in the order of their first appearance. Missing is -1."""

    known: dict[Any, int] = field(default_factory=lambda: {None: -1})
    values: list[Any] = field(default_factory=list)

    def of(self, values: Sequence[Any]) -> NDArray[np.int64]:
        """The codes of values; new ones get the next code."""
        known = self.known
        found = [known.get(value, -2) for value in values]
        if -2 in found:
            found = [code if code != -2 else self.add(value) for code, value in zip(found, values, strict=True)]
        return np.array(found, np.int64)

    def add(self, value: Any) -> int:
        code = self.known.get(value)
        if code is None:
            code = self.known[value] = len(self.values)
            self.values.append(value)
        return code

    def restore(self, values: list[Any]) -> None:
        """Continue from the `values` of another dictionary; who holds this one sees it."""
        self.values = values
        self.known = {None: -1} | {value: code for code, value in enumerate(values)}


class Frame:
    """The events of one type in a batch: `rows` are their places in it.

    Columns are made when first read. `computed` and `aggregates` are filled by the engine.
    """

    def __init__(
        self,
        type_: EventType,
        events: Sequence[LogEvent],
        rows: NDArray[np.int64],
        project: Events,
        reference: Reference,
    ) -> None:
        self.type, self.events, self.rows = type_, events, rows
        self._project, self.reference = project, reference
        self.times = np.fromiter((event.time_ms for event in events), np.int64, len(events))
        self.computed: dict[str, Column] = {}
        self.aggregates: dict[Aggregate, Column] = {}
        self._fields: dict[str, Column] = {}
        self._keys: dict[str, list[Any]] = {}
        self._columns: list[tuple[Value, ...]] | None = None

    def __len__(self) -> int:
        return len(self.events)

    def field(self, name: str, type_: Type) -> Column:
        """A field's column; all missing where the type does not have the field."""
        if name not in self._fields:
            self._fields[name] = column_of(self._raw(name), type_)
        return self._fields[name]

    def _raw(self, name: str) -> Sequence[Value]:
        if name.startswith("of.") and self.type.name == "label":
            return [self._of(event, name[3:]) for event in self.events]
        if name not in self.type.field_names:
            return [None] * len(self.events)
        if self._columns is None:
            self._columns = list(zip(*(event.values for event in self.events), strict=True))
        return self._columns[self.type.at(name)]

    def _of(self, event: LogEvent, name: str) -> Value:
        assert isinstance(event, LabelEvent)
        type_ = self._project.types[event.of.type]
        return event.of.values[type_.at(name)] if name in type_.field_names else None

    def evaluate(self, node: Node) -> Column:
        """The column of an expression over `this`, over the event as an item, or over what was computed."""
        return evaluate_columns(node, ColumnSource(len(self), self._leaf, self.reference, self.times))

    def _leaf(self, node: Node) -> Column:
        if isinstance(node, ThisField | ItemField):
            return self.field(node.name, node.type)
        if isinstance(node, FeatureValue | ItemFeature):
            found = self.computed.get(node.name)
            return column_of([None] * len(self), node.type) if found is None else found
        if isinstance(node, Aggregate):
            return self.aggregates[node]
        assert isinstance(node, Score)
        return column_of([None] * len(self), REAL)

    def key_parts(self, entity: str) -> list[list[Value]]:
        """The values that make an entity's key, one list a part; no lists where this type has no key of it."""
        keys = self._project.entities[entity].keys
        if self.type.name == "label":
            return self._label_key_parts(entity)
        return [values_of(self.evaluate(part)) for part in keys.get(self.type.name, ())]

    def _label_key_parts(self, entity: str) -> list[list[Value]]:
        """A label has the key of its event."""
        size = max((len(parts) for parts in self._project.entities[entity].keys.values()), default=0)
        found: list[list[Value]] = [[None] * len(self) for _ in range(size)]
        labelled = [event.of for event in self.events if isinstance(event, LabelEvent)]
        for frame in frames_of(labelled, self._project, self.reference).values():
            for place, values in enumerate(frame.key_parts(entity)):
                for row, value in zip(frame.rows.tolist(), values, strict=True):
                    found[place][row] = value
        return found

    def key_values(self, entity: str) -> list[Any]:
        """The entity's key of each event: the part itself, or the parts as a tuple; None where one is missing."""
        if entity not in self._keys:
            self._keys[entity] = joined_key(self.key_parts(entity), len(self))
        return self._keys[entity]


def joined_key(parts: list[list[Value]], count: int) -> list[Any]:
    """Keys made of their parts; None where a part is missing or there is none."""
    if not parts:
        return [None] * count
    if len(parts) == 1:
        return list(parts[0])
    return [None if None in key else key for key in zip(*parts, strict=True)]


def masked(column: Column, there: NDArray[np.bool_], type_: Type) -> Column:
    """The column without the values that are not `there`; in their place stands what columns have for missing ones."""
    valid = column.valid & there
    if valid.all():
        return column
    return Column(np.where(valid, column.values, "" if type_.is_text else column.values.dtype.type(0)), valid)


def frames_of(batch: Sequence[LogEvent], events: Events, reference: Reference) -> dict[str, Frame]:
    """The batch by event type, each with its places in it."""
    names = [event.type for event in batch]
    frames: dict[str, Frame] = {}
    for name in dict.fromkeys(names):
        rows = np.array([at for at, found in enumerate(names) if found == name], np.int64)
        type_ = events.label if name == "label" else events.types[name]
        mine: Iterable[LogEvent] = batch if len(rows) == len(batch) else (batch[at] for at in rows.tolist())
        frames[name] = Frame(type_, list(mine), rows, events, reference)
    return frames
