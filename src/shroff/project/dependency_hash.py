"""Meaning of an expression: everything it reads, down to event fields, and a hash that detects changes.

`project.definitions` compares the inputs of an active model with those at its training; training, backtests and pages
ask what expressions read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from msgspec.json import encode as to_json

from shroff.events.definitions import Events
from shroff.features.definitions import Feature
from shroff.language.expression import (
    Aggregate,
    FeatureValue,
    InList,
    ItemFeature,
    ItemField,
    Lookup,
    Node,
    Score,
    ThisField,
    walk,
)
from shroff.language.expression_text import ValueWording
from shroff.language.printer import text_of
from shroff.rules.rule_text import reason_words
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    from shroff.project.definitions import Definitions

MEANINGS = "meanings"  # key of a model's manifest: the hash of each input's meaning when it was trained
SPELLED_OUT_MAX = 40  # nodes of a feature and of those that it reads; texts show the name of a larger one
FindFeature = Callable[[str], Feature | None]


def teller_of(definitions: Definitions) -> ValueWording:
    """Return the formatter that shows values of a project to people, and describes features by their definitions."""
    features = definitions.features
    settings = definitions.settings
    sizes: dict[str, int] = {}

    def size_of(name: str) -> int:
        """Count the nodes of a feature and of all features that it reads, up to `SPELLED_OUT_MAX` + 1."""
        if name not in sizes:
            nodes = list(walk(features[name].node))
            read = [
                node.name for node in nodes if isinstance(node, FeatureValue | ItemFeature) and node.name in features
            ]
            sizes[name] = min(len(nodes) + sum(map(size_of, read)), SPELLED_OUT_MAX + 1)
        return sizes[name]

    def definition_of(name: str) -> Node | None:
        return features[name].node if name in features and size_of(name) <= SPELLED_OUT_MAX else None

    return ValueWording(definition_of, settings.currency, settings.money_places)


def reasons_of(definitions: Definitions) -> Callable[[str, str], str]:
    """Return a function that formats a recorded reason for people, from the rule's id and the stored reason."""
    rules = {rule.id: rule for rule in definitions.rules}
    teller = teller_of(definitions)
    return lambda id_, stored: reason_words(rules[id_], stored, teller) if id_ in rules else stored


class Reads(FrozenStruct):
    """Everything that expressions read, also through features.

    Args:
        features: By name, without those that have a mistake.
        entities: The entities of these features and of all aggregates.
        reads_score: Whether an expression reads the score of a model.
        parts: Every node of the expressions and of these features.
    """

    features: Mapping[str, Feature]
    entities: frozenset[str]
    lists: frozenset[str]
    tables: frozenset[str]
    reads_score: bool
    parts: tuple[Node, ...]


def read_by(nodes: Iterable[Node], find: FindFeature) -> Reads:
    """Collect everything that expressions read. `find` returns a feature by name, None for one with a mistake."""
    features: dict[str, Feature] = {}
    parts: list[Node] = []
    pending = list(nodes)
    while pending:
        for part in walk(pending.pop()):
            parts.append(part)
            if isinstance(part, FeatureValue | ItemFeature) and part.name not in features:
                feature = find(part.name)
                if feature is not None:
                    features[part.name] = feature
                    pending.append(feature.node)
    return Reads(
        features,
        frozenset(
            feature.entity for feature in (*features.values(), *parts) if isinstance(feature, Feature | Aggregate)
        ),
        frozenset(part.list for part in parts if isinstance(part, InList)),
        frozenset(part.table for part in parts if isinstance(part, Lookup)),
        any(isinstance(part, Score) for part in parts),
        tuple(parts),
    )


def meaning_of(node: Node, event: str, events: Events, find: FindFeature) -> str:
    """Hash the meaning of an expression: the expression, the features it reads, keys of entities, and types of fields.

    The rows of lists and tables are not part of it: they are data that changes every day. Nor are the mappings of files
    to events, and the choices of a field.
    """
    reads = read_by([node], find)
    event_types = {event, *(part.event for part in reads.parts if isinstance(part, Aggregate))}
    keys = {
        name: {
            type_: [text_of(part) for part in parts]
            for type_, parts in events.entities[name].keys.items()
            if type_ in event_types
        }
        for name in reads.entities
        if name in events.entities
    }
    types = {
        (_name_of(part), part.type.kind, part.type.places)
        for part in reads.parts
        if isinstance(part, ThisField | ItemField | Lookup)
    }
    features = {name: [feature.entity, text_of(feature.node)] for name, feature in reads.features.items()}
    meaning = {"is": text_of(node), "features": features, "keys": keys, "types": sorted(types)}
    return hashlib.sha256(to_json(meaning, order="deterministic")).hexdigest()[:32]


def redefined(
    manifest: Mapping[str, object], nodes: Mapping[str, Node], event: str, events: Events, find: FindFeature
) -> tuple[str, ...]:
    """Return the inputs whose meaning changed since a model was trained, in the order of `nodes`.

    Empty if the manifest has no meanings.

    Args:
        nodes: The model's inputs by name, as the project defines them now.
    """
    trained = manifest.get(MEANINGS)
    if not isinstance(trained, Mapping):
        return ()
    return tuple(
        name
        for name, node in nodes.items()
        if name in trained and trained[name] != meaning_of(node, event, events, find)
    )


def _name_of(part: ThisField | ItemField | Lookup) -> str:
    return f"{part.table}.{part.column}" if isinstance(part, Lookup) else part.name
