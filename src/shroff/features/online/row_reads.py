"""Access to the values of one event computed alone, by functions compiled once for each event type.

A row is a list: the fields of the event, its time, its number in the batch, and then each computed value in a slot of
its own. So the computation of one event needs no dictionary and hashes no expression.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

from shroff.events.definitions import Events, EventType
from shroff.events.event import Event
from shroff.features.computed import score_name
from shroff.language.expression import Aggregate, FeatureValue, ItemFeature, ItemField, Node, Score, ThisField
from shroff.language.row import Evaluate, Reference, compile_row

Row: TypeAlias = list[Any]
Step: TypeAlias = Callable[[Row], None]


def missing(row: Row) -> None:
    """Return None, for a field that a row does not have."""


class RowReads:
    """Layout of one event type's rows; `steps` compute the values after the event, in order.

    Only values with a slot can be read: create a step after those that it depends on.
    """

    def __init__(self, type_: EventType, events: Events, reference: Reference) -> None:
        self.type = type_
        self._events = events
        self._reference = reference
        self.steps: list[Step] = []
        self._fields = {name: at for at, name in enumerate(type_.field_names)}
        self.time_at = len(self._fields)
        self.number_at = self.time_at + 1  # number of the event in the batch
        self.time: Evaluate = itemgetter(self.time_at)
        self._places: dict[Aggregate | str, int] = {}
        self._keys: dict[str, int] = {}
        self._slots: list[None] = []  # the computed part of a new row
        self._step_of: dict[str, Step] = {}  # the step that computes a named value
        self._free: list[int] = []  # slots of values that are not computed any more

    def row(self, event: Event, number: int) -> Row:
        """Return the row of an event, with all computed values missing."""
        return [*event.values, event.time_ms, number, *self._slots]

    def place(self, named: Aggregate | str) -> int:
        """Allocate a slot for an aggregate or a named value, and return it."""
        slot = self._new()
        self._places[named] = slot
        return slot

    def give(self, name: str, step: Step) -> None:
        """Add the step that computes the value with this name, after all steps so far."""
        self._step_of[name] = step
        self.steps.append(step)

    def drop(self, names: Iterable[str]) -> None:
        """Stop computing the values with these names. Do not use their readers any more: the slots are used again."""
        removed = set[Step]()
        for name in names:
            slot = self._places.pop(name, None)
            if slot is not None and name in self._step_of:  # an alias has the slot of another value
                self._free.append(slot)
                removed.add(self._step_of.pop(name))
        self.steps = [step for step in self.steps if step not in removed]

    def alias(self, name: str, at: int) -> None:
        self._places[name] = at

    def place_of(self, named: Aggregate | str) -> int | None:
        """Return the slot of a value; None if this type does not have it."""
        return self._places.get(named)

    def evaluate(self, node: Node) -> Evaluate:
        """Return a function from a row to the value of an expression over `this`, or over the event as an item."""
        return compile_row(node, self._leaf, self._reference, time=self.time)

    def read(self, name: str) -> Evaluate:
        """Return a reader of the value with this name."""
        at = self._places.get(name)
        return missing if at is None else itemgetter(at)

    def read_all(self, names: Sequence[str]) -> Callable[[Row], Sequence[Any]]:
        """Return a reader of the values with these names, in order."""
        slots = [self._places[name] for name in names if name in self._places]
        if len(slots) == len(names) > 1:
            return itemgetter(*slots)
        reads = [self.read(name) for name in names]
        return lambda row: [read(row) for read in reads]

    def field_at(self, name: str) -> int | None:
        """Return the slot of a field; None if the type does not have it."""
        return self._fields.get(name)

    def key(self, entity: str) -> Evaluate:
        """Return a reader of the entity's key: its part, or a tuple of its parts; None if one is missing."""
        if entity not in self._keys:
            slot = self._new()
            self._keys[entity] = slot
            parts = [self.evaluate(part) for part in self._events.entities[entity].keys.get(self.type.name, ())]
            read_key = joined(parts) if parts else missing

            def step(row: Row) -> None:
                row[slot] = read_key(row)

            self.steps.append(step)
        return itemgetter(self._keys[entity])

    def _leaf(self, node: Node) -> Evaluate:
        if isinstance(node, ThisField | ItemField):
            at = self._fields.get(node.name)
            return missing if at is None else itemgetter(at)
        if isinstance(node, Aggregate):
            return itemgetter(self._places[node])
        assert isinstance(node, FeatureValue | ItemFeature | Score)
        return self.read(score_name(self.type.name) if isinstance(node, Score) else node.name)

    def _new(self) -> int:
        if self._free:
            return self._free.pop()
        self._slots.append(None)
        return self.number_at + len(self._slots)


def joined(parts: list[Evaluate]) -> Evaluate:
    """Return a reader of one part, or of several as a tuple; None if one is missing."""
    if len(parts) == 1:
        return parts[0]

    def key(row: Row) -> tuple[Any, ...] | None:
        values = tuple(part(row) for part in parts)
        return None if None in values else values

    return key
