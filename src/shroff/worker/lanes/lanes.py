"""Lanes: several logs, each over its own partitions, and their requirements (docs/decisions/0041).

A lane has the events of its keys and no others. So every event that a window of an entity counts has to come to the
same lane: the key of each entity must have the key of messages in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from shroff import config
from shroff.errors import Problem, nearest
from shroff.events.definitions import Events
from shroff.events.intake import Submission
from shroff.language.expression import ThisField, aggregates
from shroff.language.yaml.text import Mapping, Node, read
from shroff.project.definitions import Definitions, computed_of
from shroff.project.settings.system import System
from shroff.project.settings.systems import Systems

LABELS: Final = "labels"  # the topics of our own, behind the project's name
CONTROL: Final = "control"
CURE: Final = (
    "Leave out 'lanes': one worker then reads all partitions. If that is too slow, use 'shroff lake decide' with Spark."
)
_ALONE: Final = {  # what holds for one log, and what several would do to it
    "online": "features for other services are kept as those of one log",
    "keep": "old events move to the lake of one log",
}
_SEED: Final = 0x9747B28C
_FACTOR: Final = 0x5BD1E995
_WORD: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class LanePaths(config.ProjectPaths):
    """The files of one lane of a project: its log and saved state are its own, the key of hashed fields is not."""

    number: int

    @property
    def lane(self) -> int | None:
        return self.number

    @property
    def state(self) -> Path:
        return config.ProjectPaths(self.folder).state / f"lane-{self.number}"

    @property
    def hash_key(self) -> Path:
        return config.ProjectPaths(self.folder).hash_key


def lanes_of(systems: Systems) -> int:
    """Number of lanes of a project; 1 by default."""
    return 1 if systems.source is None else systems.source.lanes


def url_of_lane(url: str, lane: int) -> str:
    """The address of a database with the tables of a lane: a schema of their own, or a prefix."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.scheme == "postgresql":
        options["schema"] = f"{options.get('schema', 'shroff')}_lane_{lane}"
    else:
        options["prefix"] = f"{options.get('prefix', 'shroff_')}lane_{lane}_"
    return urlunsplit(parts._replace(query=urlencode(options)))


def in_lane(system: System, places: config.ProjectPaths) -> System:
    """The source as read by the worker of this lane."""
    if places.lane is None:
        return system
    return System(system.kind, {**system.options, "lane": str(places.lane)})


# ---- what has to hold


def lane_problems(definitions: Definitions, systems: Systems, text: str = "") -> list[Problem]:
    """Reasons why a project cannot have the lanes of shroff.yaml.

    With the text of shroff.yaml, which no version has as it is written, they have their place in it.
    """
    source = systems.source
    if source is None or source.lanes == 1:
        return []
    words = [*_settings_mistakes(systems)]
    key = source.text("key")
    if not words:
        words += _key_mistakes(definitions.events, key)
    if not words:
        words += [*_entity_mistakes(definitions.events, key), *_matching_mistakes(definitions, key)]
        words += _policy_mistakes(definitions)
    node = _node_of(text)
    return [
        Problem(config.PROJECT_FILE, 0, 0, "", word, CURE) if node is None else node.problem(word, CURE)
        for word in words
    ]


def _node_of(text: str) -> Node | None:
    """Position of lanes in shroff.yaml, or the nearest one."""
    node = read(text, config.PROJECT_FILE, [])
    for name in ("source", "kafka", "lanes"):
        node = (node.get(name) if isinstance(node, Mapping) else None) or node
    return node


def _settings_mistakes(systems: Systems) -> Iterator[str]:
    assert systems.source is not None
    if not systems.source.text("key"):
        yield "lanes need 'key': the entity by whose key producers partition their messages."
    for name, why in _ALONE.items():
        if getattr(systems, "keep_ms" if name == "keep" else name) is not None:
            yield f"'{name}' is not for several lanes yet: {why}."
    if systems.snapshots.text("to"):
        yield "'snapshots: to' is not for several lanes yet: copies are kept as those of one log."


def _key_mistakes(events: Events, key: str) -> Iterator[str]:
    """The key of messages is one text field of each event type."""
    entity = events.entities.get(key)
    if entity is None:
        hint = nearest(key, events.entities) or f"Entities are {', '.join(events.entities)}."
        yield f"the key {key!r} is not an entity. {hint}"
        return
    for name, type_ in events.types.items():
        parts = entity.keys.get(name, ())
        if not parts:
            yield f"{name} has no {key}, so nothing says which lane its events belong to."
        elif len(parts) > 1 or not isinstance(parts[0], ThisField) or parts[0].type.kind != "text":
            yield f"the key {key} of {name} is not one field of text, and the key of a message is."
        elif parts[0].name not in type_.field_names:
            yield f"the key {key} of {name} is personal."


def _entity_mistakes(events: Events, key: str) -> Iterator[str]:
    """Events with the same key of an entity are in one lane where that key has the one of messages in it."""
    own = events.entities[key].keys
    for entity in events.entities.values():
        for name, parts in entity.keys.items():
            if own[name][0] not in parts:
                field = own[name][0]
                assert isinstance(field, ThisField)
                yield (
                    f"entity {entity.name} of {name} does not have {field.name} in its key, by which messages are "
                    f"partitioned: events of one {entity.name} would be in several lanes, and each lane would count "
                    f"a part of them."
                )


def _matching_mistakes(definitions: Definitions, key: str) -> Iterator[str]:
    own = definitions.events.entities[key].keys
    for one in computed_of(definitions):
        for aggregate in aggregates(one.node):
            field = own.get(aggregate.event, (None,))[0]
            is_own = isinstance(field, ThisField) and aggregate.matching == field.name
            if aggregate.matching is not None and not is_own:
                yield (
                    f"{one.asker} counts each {aggregate.event} by its {aggregate.matching} ('matching'), but "
                    f"messages are partitioned by {key}: a lane does not see the events of other lanes."
                )


def _policy_mistakes(definitions: Definitions) -> Iterator[str]:
    for event in definitions.events.decided:
        if definitions.policy(event).explore:
            yield f"the policy explores {event} with a cap for each day, which counts over all keys."


# ---- where an event belongs


@lru_cache(maxsize=65_536)
def partition_of(key: bytes, count: int) -> int:
    """The partition of a key among so many, as Java's producers choose it and `murmur2_random` of librdkafka."""
    return (murmur2(key) & 0x7FFFFFFF) % count


def murmur2(data: bytes) -> int:
    """MurmurHash 2 of 32 bits with Kafka's seed, unsigned."""
    length = len(data)
    found = _SEED ^ length
    whole = length & ~3
    for at in range(0, whole, 4):
        part = int.from_bytes(data[at : at + 4], "little") * _FACTOR & _WORD
        part = (part ^ part >> 24) * _FACTOR & _WORD
        found = (found * _FACTOR & _WORD) ^ part
    if whole < length:
        found = (found ^ int.from_bytes(data[whole:], "little")) * _FACTOR & _WORD
    found = (found ^ found >> 13) * _FACTOR & _WORD
    return found ^ found >> 15


class Home:
    """Knows of each event whether it came by the partition of its key.

    One that did not has a sender that parts its messages otherwise. Taken in, it would be missing in the windows of
    its own lane, and nobody would see it.
    """

    def __init__(self, events: Events, key: str, hasher: Callable[[str], str]) -> None:
        self._hasher = hasher
        self._fields: dict[str, tuple[str, int, bool]] = {}
        for name, parts in events.entities[key].keys.items():
            type_ = events.types[name]
            assert isinstance(parts[0], ThisField)
            at = type_.at(parts[0].name)
            self._fields[name] = parts[0].name, at, type_.fields[at].shape.is_hashed

    def checked(self, one: Submission, key: bytes | None, partition: int, count: int) -> Submission:
        """The submission, refused where its event belongs to another partition of so many.

        Args:
            key: Of the message; it is needed where the field is hashed, since the hash says nothing of the partition.
        """
        if one.event is None:
            return one
        words = self._wrong(one.event.type, one.event.values, key, partition, count)
        return msgspec.structs.replace(one, event=None, refused=one.event, refusal=words) if words else one

    def _wrong(self, type_name: str, values: tuple[object, ...], key: bytes | None, partition: int, count: int) -> str:
        name, at, is_hashed = self._fields[type_name]
        value = values[at]
        if value is None:  # it belongs to no entity, so any lane will do
            return ""
        assert isinstance(value, str)
        clear = value.encode()
        if is_hashed:
            if key is None or self._hasher(key.decode("utf-8", "replace")) != value:
                return f"{name}: {NO_KEY}"
            clear = key
        home = partition_of(clear, count)
        if home == partition:
            return ""
        return (
            f"{name}: this event came by partition {partition}, and belongs to partition {home}: producers partition "
            f"messages by {name}, with murmur2, as Java's do and librdkafka with 'partitioner: murmur2_random'"
        )


NO_KEY: Final = (
    "it is hashed here, so the message's key determines the lane of an event, and this message has another one or "
    "none. Producers write the clear value there"
)
