"""The meaning of a feature: its definition in plain Python, slow and obvious.

The value at event *e* looks at the events *x* before it in the log, one by one. What the
fast engines compute must equal this to the bit; every law test holds them to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from shroff.events.definitions import Events
from shroff.events.labels import LabelEvent, LogEvent
from shroff.features.aggregates import aggregate_values
from shroff.features.computed import Computed
from shroff.language.expression import (
    Aggregate,
    FeatureValue,
    ItemFeature,
    ItemField,
    Node,
    ThisField,
    fields_of_this,
    walk,
)
from shroff.language.row import Evaluate, Reference, compile_row
from shroff.language.values import Value

Key = tuple[Value, ...]


@dataclass(slots=True)
class Naive:
    """A history as it grows: every event so far, its computed values, and the last hit of each rule and key."""

    events: Events
    computed: Sequence[Computed]
    reference: Reference
    history: list[LogEvent] = field(default_factory=list)
    values: list[dict[str, Value]] = field(default_factory=list)
    hits: dict[tuple[str, Key], int] = field(default_factory=dict)
    _keys: dict[tuple[int, str], Key | None] = field(default_factory=dict)  # worked out once for each event
    _stacks: bool = False  # whether any aggregate reads what a feature was at an earlier event

    def add(self, event: LogEvent) -> dict[str, Value]:
        """Append an event to the log and compute everything that is asked at its type."""
        place = len(self.history)
        self.history.append(event)
        self.values.append({})
        for wanted in self.computed:
            if event.type in wanted.events:
                self.values[place][wanted.name] = self.compute(wanted, place)
        return self.values[place]

    def take(self, event: LogEvent, hits: frozenset[str], *, is_asked: bool) -> dict[str, Value]:
        """Append an event of the past; features are computed where they are asked, now or by an `of`.

        No rule is asked: which ones hit is what it was.
        """
        place = len(self.history)
        self.history.append(event)
        self.values.append({})
        for wanted in self.computed:
            if wanted.rule is None:
                if event.type in wanted.events and (is_asked or self._stacks):
                    self.values[place][wanted.name] = self.compute(wanted, place)
            elif wanted.rule in hits and (key := self.key(wanted.entity, event)) is not None:
                self.hits[wanted.rule, key] = place
        return self.values[place]

    def __post_init__(self) -> None:
        nodes = (node for wanted in self.computed for node in walk(wanted.node))
        self._stacks = any(isinstance(node, ItemFeature) for node in nodes)

    def compute(self, wanted: Computed, place: int) -> Value:
        event = self.history[place]
        key = self.key(wanted.entity, event)
        if wanted.needs_key and key is None:
            return None
        if wanted.expires_ms is not None and event.time_ms >= wanted.expires_ms:
            return None
        evaluate = compile_row(wanted.node, self.leaf(wanted, place), self.reference, time=lambda _: event.time_ms)
        value: Value = evaluate(None)
        if wanted.rule is not None and value is True and key is not None:
            self.hits[wanted.rule, key] = place
        return value

    def leaf(self, wanted: Computed, place: int) -> Any:
        event = self.history[place]

        def read(node: Node) -> Evaluate:
            if isinstance(node, Aggregate):
                value = self.aggregate(node, wanted, place)
            elif isinstance(node, ThisField):
                value = self.field(event, node.name)
            elif isinstance(node, FeatureValue):
                value = self.values[place].get(node.name)
            else:
                value = None  # score: without a model
            return lambda _: value

        return read

    def field(self, event: LogEvent, name: str) -> Value:
        """A field of an event; `of.amount` of the event that a label is about."""
        if isinstance(event, LabelEvent) and name.startswith("of."):
            return self.field(event.of, name[3:])
        type_ = self.events.label if event.type == "label" else self.events.types[event.type]
        return event.values[type_.at(name)] if name in type_.field_names else None

    def key(self, entity: str, event: LogEvent) -> Key | None:
        """The entity's key at an event; a label has that of its event. None where a part is missing."""
        if isinstance(event, LabelEvent):
            return self.key(entity, event.of)
        parts = self.events.entities[entity].keys.get(event.type, ())
        reads = lambda node: lambda _: self.field(event, node.name)  # noqa: E731 (one leaf)
        key = tuple(compile_row(part, reads, self.reference)(None) for part in parts)
        return None if not key or None in key else key

    def aggregate(self, node: Aggregate, wanted: Computed, place: int) -> Value:
        """The definition: which events are seen, then what is made of them."""
        event = self.history[place]
        key = self.key(node.entity, event)
        wanted_of_this = fields_of_this(node.condition) if node.condition is not None else ()
        if key is None or any(self.field(event, name) is None for name in wanted_of_this):
            return None
        since = self.hits.get((wanted.rule or "", key), -1) if node.since_flag else -1
        end_ms = event.time_ms - node.delay_ms
        seen = [
            at
            for at in range(since + 1, place + node.including)
            if (x := self.history[at]).type == node.event
            and x.time_ms <= end_ms
            and (node.over_ms is None or x.time_ms > end_ms - node.over_ms)
            and self.matches(node, at, key)
        ]
        seen.sort(key=lambda at: (self.history[at].time_ms, at))
        if node.last_n is not None:
            seen = seen[-node.last_n :]
        kept = seen if node.condition is None else [at for at in seen if self.item(node.condition, at, event) is True]
        if node.argument is None:
            return len(kept) if node.function == "count" else len(kept) / len(seen) if seen else None
        values = [value for at in kept if (value := self.item(node.argument, at, event)) is not None]
        return aggregate_values(node, values)

    def matches(self, node: Aggregate, at: int, key: Key) -> bool:
        x = self.history[at]
        if isinstance(x, LabelEvent) and not x.changes:
            return False
        if node.matching:
            return key == (self.field(x, node.matching),)
        if (at, node.entity) not in self._keys:
            self._keys[at, node.entity] = self.key(node.entity, x)
        return key == self._keys[at, node.entity]

    def item(self, node: Node, at: int, event: LogEvent) -> Value:
        """An expression over the aggregated event `at`, and over `event` as `this`."""

        def read(leaf: Node) -> Evaluate:
            if isinstance(leaf, ItemField):
                value = self.field(self.history[at], leaf.name)
            elif isinstance(leaf, ItemFeature):
                value = self.values[at].get(leaf.name)
            else:
                value = self.field(event, leaf.name) if isinstance(leaf, ThisField) else None
            return lambda _: value

        value: Value = compile_row(node, read, self.reference)(None)
        return value
