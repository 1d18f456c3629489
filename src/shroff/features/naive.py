"""The meaning of a feature: its definition in plain Python, slow and obvious.

The value at an event depends on the events of its key before it in the log, which are read one by one. Law tests
compare the fast engines with this one, to the bit. Tests of rules (`log.ruletests`) and replays with `--engine naive`
use it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from shroff.events.definitions import Events
from shroff.events.labels import LabelEvent, LogEvent
from shroff.features.computed import Computed, score_name
from shroff.features.key_texts import Hits, read_key
from shroff.language.aggregates import AGGREGATES, WindowView
from shroff.language.expression import (
    Aggregate,
    FeatureValue,
    ItemFeature,
    ItemField,
    Node,
    Score,
    ThisField,
    Via,
    fields_of_this,
    walk,
)
from shroff.language.row import Evaluate, Reference, compile_row
from shroff.language.values import Value

Key = tuple[Value, ...]
# Event type, entity, the field whose value is the key instead (`matching`), and whether labels of all sources count.
_Index = tuple[str, str, str | None, bool]


@dataclass(slots=True)
class Naive:
    """A growing history: every event so far, its computed values, and the index of each rule's last hit of a key.

    An event is known by its index in `history`. Indexes of events in dictionaries ascend.
    """

    events: Events
    computed: Sequence[Computed]
    reference: Reference
    history: list[LogEvent] = field(default_factory=list)
    values: list[dict[str, Value]] = field(default_factory=list)
    hits: dict[tuple[str, Key], int] = field(default_factory=dict)
    read: set[int] = field(default_factory=set)  # indexes of the events that aggregates have read
    _by_key: dict[tuple[_Index, Key | None], list[int]] = field(default_factory=dict)
    _indexes: set[_Index] = field(default_factory=set)  # those that aggregates read
    _vias: set[tuple[str, Via]] = field(default_factory=set)
    _linked: dict[tuple[str, Via, Value], list[int]] = field(default_factory=dict)  # events by link value
    _owned: dict[tuple[str, Via, Key | None], list[int]] = field(
        default_factory=dict
    )  # events with a link value, by key
    _features: dict[str, Computed] = field(default_factory=dict)  # by name

    def add(self, event: LogEvent) -> dict[str, Value]:
        """Append an event to the history; compute and return all values of its type, also hits of rules."""
        place = self.append(event)
        for wanted in self.computed:
            if event.type in wanted.events:
                self.values[place][wanted.name] = self.compute(wanted, place)
        for wanted in self.computed:
            if wanted.is_condition and self.values[place].get(wanted.name) is True:
                key = self.key(wanted.entity, event)
                if key is not None:
                    self.hits[str(wanted.rule), key] = place
        return self.values[place]

    def take(self, event: LogEvent, hits: Hits, *, is_asked: bool) -> dict[str, Value]:
        """Append a recorded event, with the rules that hit it, each with its key, instead of evaluating conditions.

        With `is_asked` its features are computed now; otherwise a feature is computed when an `of` first reads it.
        """
        place = self.append(event)
        for wanted in self.computed:
            if wanted.rule is None:
                if is_asked and event.type in wanted.events:
                    self.values[place][wanted.name] = self.compute(wanted, place)
            elif wanted.rule in hits:
                key = read_key(hits[wanted.rule], self.events.entities[wanted.entity])
                self.hits[wanted.rule, key if isinstance(key, tuple) else (key,)] = place
        return self.values[place]

    def __post_init__(self) -> None:
        nodes = [node for wanted in self.computed for node in walk(wanted.node)]
        self._features = {
            feature.name: feature for feature in self.computed if feature.rule is None and not feature.is_score
        }
        self._vias = {(node.entity, node.via) for node in nodes if isinstance(node, Aggregate) and node.via is not None}
        self._indexes = {_index_of(node) for node in nodes if isinstance(node, Aggregate)}

    def append(self, event: LogEvent) -> int:
        """Append an event, index it under each key by which an aggregate may read it, and return its index."""
        place = len(self.history)
        self.history.append(event)
        self.values.append({})
        for index in self._indexes:
            type_, entity, matching, each_source = index
            if type_ == event.type and (each_source or not _is_masked(event)):
                key: Key | None = (self.field(event, matching),) if matching else self.key(entity, event)
                self._by_key.setdefault((index, key), []).append(place)
        for entity, via in self._vias:
            value = self.link(via, event)
            if value is not None:
                self._linked.setdefault((entity, via, value), []).append(place)
                if event.type == via.event:
                    self._owned.setdefault((entity, via, self.key(entity, event)), []).append(place)
        return place

    def compute(self, wanted: Computed, place: int) -> Value:
        event = self.history[place]
        if wanted.needs_key and self.key(wanted.entity, event) is None:
            return None
        if wanted.expires_ms is not None and event.time_ms >= wanted.expires_ms:
            return None
        evaluate = compile_row(wanted.node, self.leaf(wanted, place), self.reference, time=lambda _: event.time_ms)
        value: Value = evaluate(None)
        return value

    def value(self, name: str, place: int) -> Value:
        """Return a named value at an event, from the events before it; a feature is computed when first read."""
        values = self.values[place]
        wanted = self._features.get(name)
        if name not in values and wanted is not None and self.history[place].type in wanted.events:
            values[name] = self.compute(wanted, place)
        return values.get(name)

    def leaf(self, wanted: Computed, place: int) -> Any:
        event = self.history[place]

        def read(node: Node) -> Evaluate:
            if isinstance(node, Aggregate):
                value = self.aggregate(node, wanted, place)
            elif isinstance(node, ThisField):
                value = self.field(event, node.name)
            else:
                assert isinstance(node, FeatureValue | Score)
                value = self.value(score_name(event.type) if isinstance(node, Score) else node.name, place)
            return lambda _: value

        return read

    def field(self, event: LogEvent, name: str) -> Value:
        """Return a field of an event; `of.amount` is a field of the event that a label is about."""
        if isinstance(event, LabelEvent) and name.startswith("of."):
            return self.field(event.of, name[3:])
        type_ = self.events.label if event.type == "label" else self.events.types[event.type]
        return dict(zip(type_.field_names, event.values, strict=True)).get(name)

    def key(self, entity: str, event: LogEvent) -> Key | None:
        """Return the entity's key at an event, or of a label's event; None if a part is missing."""
        if isinstance(event, LabelEvent):
            return self.key(entity, event.of)
        parts = self.events.entities[entity].keys.get(event.type, ())
        key = tuple(compile_row(part, self.leaf_of(event), self.reference)(None) for part in parts)
        return None if not key or None in key else key

    def leaf_of(self, event: LogEvent) -> Callable[[Any], Evaluate]:
        return lambda node: lambda _: self.field(event, node.name)

    def aggregate(self, node: Aggregate, wanted: Computed, place: int) -> Value:
        """Compute an aggregate at an event by its definition: which events are included, and the result over them."""
        event = self.history[place]
        key = self.key(node.entity, event)
        fields_read = fields_of_this(node.condition) if node.condition is not None else ()
        if key is None or any(self.field(event, name) is None for name in fields_read):
            return None
        since = self.hits.get((wanted.rule or "", key), -1) if node.since_flag else -1
        end_ms = event.time_ms - node.delay_ms

        def is_in(at: int) -> bool:
            time_ms = self.history[at].time_ms
            is_after = node.over_ms is None or time_ms > end_ms - node.over_ms
            return since < at < place + node.including and time_ms <= end_ms and is_after

        if node.via is None:
            window = [at for at in self._by_key.get((_index_of(node), key), ()) if is_in(at)]
        else:
            window = self.linked(node, node.via, key, place, is_in)
        window.sort(key=lambda at: (self.history[at].time_ms, at))
        if node.last_n is not None:
            window = window[-node.last_n :]
        self.read.update(window, [since] if since >= 0 else ())
        included = window
        if node.condition is not None and window:
            condition = self.item(node.condition, event, place)
            included = [at for at in window if condition(at) is True]
        if node.argument is None or not included:
            return aggregate_values(node, included, len(window))
        argument = self.item(node.argument, event, place)
        values = [argument(at) for at in included]
        return aggregate_values(node, [value for value in values if value is not None], len(window))

    def linked(self, node: Aggregate, via: Via, key: Key, place: int, is_in: Callable[[int], bool]) -> list[int]:
        """Return the events in the window, of any key, with a link value that this key has at an event in the window.

        A value that more keys have in the window than `up to` allows does not link. With `including this` the event
        itself counts for the key's link values.
        """

        def counts(at: int) -> bool:
            return is_in(at) or (node.including and at == place)

        owned = self._owned.get((node.entity, via, key), ())
        link_values = {self.link(via, self.history[at]) for at in owned if counts(at)}
        linked: list[int] = []
        for value in link_values:
            places = [at for at in self._linked.get((node.entity, via, value), ()) if counts(at)]
            self.read.update(places)
            linking = [self.history[at] for at in places if self.history[at].type == via.event]
            if len({self.key(node.entity, event) for event in linking} - {None}) <= via.up_to:
                linked += [at for at in places if self.history[at].type == node.event and is_in(at)]
        return [at for at in linked if node.each_source or not _is_masked(self.history[at])]

    def link(self, via: Via, event: LogEvent) -> Value:
        """Return the link value of an event, or of a label's event."""
        event = event.of if isinstance(event, LabelEvent) else event
        if event.type != via.event:
            return None
        evaluate = compile_row(via.operand, self.leaf_of(event), self.reference, time=lambda _: event.time_ms)
        value: Value = evaluate(None)
        return value

    def item(self, node: Node, event: LogEvent, place: int) -> Evaluate:
        """Compile an expression over an aggregated event, and over `event` as `this`.

        The result is a function of the aggregated event's index in `history`.
        """

        def read(leaf: Node) -> Evaluate:
            if isinstance(leaf, ItemField):
                return lambda at: self.field(self.history[at], leaf.name)
            if isinstance(leaf, ItemFeature):
                return lambda at: self.value(leaf.name, at)
            if isinstance(leaf, FeatureValue):
                value = self.value(leaf.name, place)
            else:
                value = self.field(event, leaf.name) if isinstance(leaf, ThisField) else None
            return lambda _: value

        return compile_row(
            node, read, self.reference, time=lambda at: self.history[at].time_ms, this_time=lambda _: event.time_ms
        )


def aggregate_values(node: Aggregate, values: Sequence[Any], events: int) -> Value:
    """Compute an aggregate over its present values, in order of (time, seq), in a window with `events` events."""
    scale = 1 if node.argument is None else 10**node.argument.type.places
    return AGGREGATES[node.function].of(WindowView(values, events, scale, node.rank or (0, 1)))


def _is_masked(event: LogEvent) -> bool:
    """Return whether the event is a label that does not change the label in force of its event."""
    return isinstance(event, LabelEvent) and not event.changes


def _index_of(node: Aggregate) -> _Index:
    return node.event, node.entity, node.matching, node.each_source
