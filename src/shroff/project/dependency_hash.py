"""Meaning of an expression: everything it reads, down to event fields, and a hash that detects changes."""

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

MEANINGS = "meanings"  # in the manifest of a model: what each input meant when it was trained
SPELLED_OUT_MAX = 40  # nodes of a feature, with all that it reads; a larger one is told by its name
FindFeature = Callable[[str], Feature | None]


def teller_of(definitions: Definitions) -> ValueWording:
    """What shows values of a project to people."""
    features = definitions.features
    settings = definitions.settings
    sizes: dict[str, int] = {}

    def size_of(name: str) -> int:
        """Number of nodes of a feature and of all that it reads, up to a little more than are spelled out."""
        if name not in sizes:
            parts = list(walk(features[name].node))
            read = [
                part.name for part in parts if isinstance(part, FeatureValue | ItemFeature) and part.name in features
            ]
            sizes[name] = min(len(parts) + sum(map(size_of, read)), SPELLED_OUT_MAX + 1)
        return sizes[name]

    def definition_of(name: str) -> Node | None:
        return features[name].node if name in features and size_of(name) <= SPELLED_OUT_MAX else None

    return ValueWording(definition_of, settings.currency, settings.money_places)


def reasons_of(definitions: Definitions) -> Callable[[str, str], str]:
    """What tells the recorded reason of a rule, by its id, as people read it."""
    rules = {rule.id: rule for rule in definitions.rules}
    teller = teller_of(definitions)
    return lambda id_, stored: reason_words(rules[id_], stored, teller) if id_ in rules else stored


class Reads(FrozenStruct):
    """Everything that expressions read, also through features.

    Args:
        features: By name; those that have a mistake of their own are left out.
        entities: Whose keys decide what is looked at.
        reads_score: Whether a model says something in it.
        parts: Every node of the expressions and of these features.
    """

    features: Mapping[str, Feature]
    entities: frozenset[str]
    lists: frozenset[str]
    tables: frozenset[str]
    reads_score: bool
    parts: tuple[Node, ...]


def read_by(nodes: Iterable[Node], find: FindFeature) -> Reads:
    """Everything that expressions read."""
    features: dict[str, Feature] = {}
    parts: list[Node] = []
    waiting = list(nodes)
    while waiting:
        for part in walk(waiting.pop()):
            parts.append(part)
            if isinstance(part, FeatureValue | ItemFeature) and part.name not in features:
                feature = find(part.name)
                if feature is not None:
                    features[part.name] = feature
                    waiting.append(feature.node)
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
    """Hash of an expression's meaning: its features with their definitions, keys, and types.

    What stands in lists and tables is not in it: that is data and changes every day. Neither
    is how the lines of files become events, nor the choices that a field may have.
    """
    reads = read_by([node], find)
    looked_at = {event, *(part.event for part in reads.parts if isinstance(part, Aggregate))}
    keys = {
        name: {
            key: [text_of(part) for part in parts]
            for key, parts in events.entities[name].keys.items()
            if key in looked_at
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
    meant = {"is": text_of(node), "features": features, "keys": keys, "types": sorted(types)}
    return hashlib.sha256(to_json(meant, order="deterministic")).hexdigest()[:32]


def redefined(
    manifest: Mapping[str, object], nodes: Mapping[str, Node], event: str, events: Events, find: FindFeature
) -> tuple[str, ...]:
    """Names of the inputs that mean something else than when a model was trained, in the model's order.

    Of a model whose manifest says nothing of it, none.

    Args:
        nodes: Its inputs by name, as the project reads them now.
    """
    meant = manifest.get(MEANINGS)
    if not isinstance(meant, Mapping):
        return ()
    return tuple(
        name for name, node in nodes.items() if name in meant and meant[name] != meaning_of(node, event, events, find)
    )


def _name_of(part: ThisField | ItemField | Lookup) -> str:
    return f"{part.table}.{part.column}" if isinstance(part, Lookup) else part.name
