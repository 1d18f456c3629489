"""Feature definitions: features.yaml as typed expressions, in dependency order."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import field

from shroff.errors import Problem, nearest
from shroff.events.definitions import Events
from shroff.language import loader
from shroff.language.expression import (
    FeatureValue,
    ItemFeature,
    Node,
    aggregates,
    events_named,
    fields_of_this,
    looks_at_each,
    walk,
)
from shroff.language.names import DeclaredNames, Scope
from shroff.language.types import NOTHING, Type
from shroff.language.yaml.text import Node as YamlNode
from shroff.language.yaml.text import Scalar
from shroff.runtime.values import frozen

CONSTANT = "constant"
LOOK = "a look per event in the window"
LINKED_LOOK = "a look per linked event"
FOREVER = "grows for ever"


@frozen
class Feature:
    """One declared feature. `events` are the event types at which it is defined."""

    name: str
    entity: str
    node: Node
    events: frozenset[str]
    place: Scalar | None = field(default=None, compare=False, repr=False)

    @property
    def type(self) -> Type:
        return self.node.type

    @property
    def cost(self) -> str:
        return cost(self.node)


def cost(node: Node) -> str:
    """Return the cost class of an expression for each event."""
    found = list(aggregates(node))
    if any(aggregate.via is not None for aggregate in found):
        return LINKED_LOOK
    if any(looks_at_each(aggregate) for aggregate in found):
        return LOOK
    grows = any(aggregate.over_ms is None and aggregate.last_n is None for aggregate in found)
    return FOREVER if grows else CONSTANT


def events_of(node: Node, entity: str, events: Events) -> frozenset[str]:
    """Return the event types at which an expression over `this` is defined for an entity.

    They have a key of the entity and every field of `this` that the expression reads.
    """
    wanted = fields_of_this(node)
    keyed = events.entities[entity].keys if entity in events.entities else {}
    named = events_named(node) or frozenset(keyed)
    return frozenset(
        name
        for name in named
        if name in events.types and name in keyed and wanted <= set(events.types[name].field_names)
    )


def stacked(node: Node) -> frozenset[str]:
    """Return the features that an expression reads, at this event or `of` an aggregated one."""
    return frozenset(part.name for part in walk(node) if isinstance(part, FeatureValue | ItemFeature))


def of_requests(node: Node) -> frozenset[tuple[str, str]]:
    """Return the (feature, event type) pairs that `of` requests."""
    return frozenset(
        (part.name, aggregate.event)
        for aggregate in aggregates(node)
        for inside in (aggregate.argument, aggregate.condition)
        if inside is not None
        for part in walk(inside)
        if isinstance(part, ItemFeature)
    )


class FeatureTypes:
    """The declared features, typed on demand, so that they can be in any order; a cycle is refused where it closes."""

    def __init__(self, node: YamlNode | None, events: Events, names: DeclaredNames, problems: list[Problem]) -> None:
        self._events = events
        self._names = names
        self._problems = problems
        self._written: dict[str, tuple[str, YamlNode]] = {}
        self._done: dict[str, Feature | None] = {}
        self._open: list[str] = []
        self._collect(node)

    def _collect(self, node: YamlNode | None) -> None:
        top = loader.mapping(node, self._problems, "features.yaml")
        for entity, value in top.entries if top else ():
            if entity.text not in self._names.entities:
                hint = nearest(entity.text, self._names.entities) or "Declare it under entities in events.yaml."
                entity.report(self._problems, f"{entity.text!r} is not an entity.", hint)
                continue
            declared = loader.mapping(value, self._problems, f"features of {entity.text}")
            for key, written in declared.entries if declared else ():
                name = loader.name(key, self._problems, "a feature")
                if name is not None:
                    self._written[f"{entity.text}.{name}"] = (entity.text, written)

    def names(self) -> list[str]:
        return list(self._written)

    def type_of(self, name: str) -> Type | None:
        """Return the type of a feature; None if undeclared, the type of `missing` if it has a mistake of its own."""
        if name not in self._written:
            return None
        feature = self.feature(name)
        return feature.type if feature else NOTHING

    def feature(self, name: str) -> Feature | None:
        if name in self._done:
            return self._done[name]
        entity, written = self._written[name]
        if name in self._open:
            circle = " reads ".join([*self._open[self._open.index(name) :], name])
            written.report(self._problems, f"features depend on each other in a circle: {circle}.")
            return None
        self._open.append(name)
        self._done[name] = self._read(name, entity, written)
        self._open.pop()
        return self._done[name]

    def _read(self, name: str, entity: str, written: YamlNode) -> Feature | None:
        keyed = tuple(event for event in self._names.entities[entity] if event in self._events.types)
        scope = Scope(
            self._names,
            what=f"feature {name}",
            this=tuple(event for event in self._events.types if event in keyed),
            entity=entity,
            feature=self.type_of,
            feature_names=self.names,
        )
        before = len(self._problems)
        node = loader.expression(written, scope, self._problems)
        if node is None or len(self._problems) > before:
            return None
        if node.type == NOTHING:
            written.report(self._problems, f"feature {name} is always missing")
            return None
        place = written if isinstance(written, Scalar) else None
        return Feature(name, entity, node, events_of(node, entity, self._events), place)

    def all(self) -> dict[str, Feature]:
        ordered: dict[str, Feature] = {}
        for name in self._written:
            self._place(name, ordered, ())
        return ordered

    def _place(self, name: str, ordered: dict[str, Feature], above: tuple[str, ...]) -> None:
        feature = self.feature(name)
        if feature is None or name in ordered or name in above:
            return
        for read in sorted(stacked(feature.node)):
            self._place(read, ordered, (*above, name))
        ordered[name] = feature


def load_features(
    node: YamlNode | None, events: Events, names: DeclaredNames, problems: list[Problem]
) -> tuple[dict[str, Feature], FeatureTypes]:
    types = FeatureTypes(node, events, names, problems)
    return types.all(), types


def wanted_features(features: MappingOf[str, Feature], nodes: list[Node]) -> frozenset[tuple[str, str]]:
    """Return the (feature, event type) pairs that `of` requests in features and other expressions, transitively."""
    wanted: set[tuple[str, str]] = set()
    pending = [
        pair for node in [*nodes, *(feature.node for feature in features.values())] for pair in of_requests(node)
    ]
    while pending:
        name, event = pending.pop()
        if (name, event) in wanted or name not in features:
            continue
        wanted.add((name, event))
        node = features[name].node
        pending += [(part.name, event) for part in walk(node) if isinstance(part, FeatureValue)]
    return frozenset(wanted)
