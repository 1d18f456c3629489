"""Keys of one group of aggregates, as codes, for `group_state`.

If a condition compares fields of two events for equality, events are stored by *pair keys*: tuples of the entity's key
and the compared values. `Links` finds all pair keys of an entity's key, to remove its events after a hit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
from msgspec import Struct, field

from shroff.arrays import Ints
from shroff.events.definitions import Events
from shroff.events.labels import LabelEvent
from shroff.features.frames import Codes, Frame, Frames, joined_key
from shroff.features.online.link_state import linked_codes
from shroff.features.online.trial import EventTrial
from shroff.features.plan import Group
from shroff.language.columns import values_of
from shroff.language.expression import ItemField, Node, ThisField, walk
from shroff.language.row import Reference
from shroff.runtime.values import FrozenStruct


class SharedCodes(FrozenStruct):
    """Shared by the groups of an engine: the codes of keys, by entity and compared fields, and of texts; the trial.

    `links` has the chains of those pair keys whose events hits of rules remove.
    """

    keys: dict[Any, Codes] = field(default_factory=dict[Any, Codes])
    texts: Codes = field(default_factory=Codes)
    links: dict[Any, Links] = field(default_factory=dict[Any, Any])
    trial: EventTrial = field(default_factory=EventTrial)


class GroupKeys:
    """The key codes of a group's events.

    `entity_codes` and, with pair keys, `links` exist only in a group of a rule with `since flag`, whose hits remove
    events. `link_codes` and `linked` are those of `via`.
    """

    def __init__(self, group: Group, shared: SharedCodes, events: Events, reference: Reference) -> None:
        self.key = group.key
        self._asked_at = group.asked_at
        entity = group.key.entity
        via = group.key.via
        space = (entity, tuple(item for item, _ in group.key.pairs))
        self.codes = shared.keys.setdefault(space, Codes())
        self.link_codes = self.codes if via is None else shared.keys.setdefault(("via", via), Codes())
        self.linked = partial(linked_codes, group.key, (self.codes, self.link_codes), events, reference)
        self.links: Links | None = None
        if group.key.rule is not None:
            self.entity_codes = shared.keys.setdefault((entity, ()), Codes())
            if group.key.pairs:
                self.links = shared.links.setdefault(space, Links(self.codes, self.entity_codes))

    def inserts(self, frames: Frames, size: int) -> Ints:
        """Return the key codes of the events that enter the history; -1 for all others."""
        codes = np.full(size, -1, np.int64)
        frame = frames.get(self.key.event)
        if frame is None:
            return codes
        key_codes = self._insert_codes(frame)
        if self.key.event == "label" and not self.key.each_source:
            changes = np.array([isinstance(event, LabelEvent) and event.changes for event in frame.events], np.bool_)
            key_codes = np.where(changes, key_codes, -1)
        codes[frame.places] = key_codes
        return codes

    def asks(self, frames: Frames, size: int) -> Ints:
        """Return the key codes of the asking events; -1 for others and without a key."""
        codes = np.full(size, -1, np.int64)
        for event in self._asked_at & frames.keys():
            frame = frames[event]
            if not self.key.pairs:
                codes[frame.places] = frame.key_codes(self.key.entity, self.codes)
                continue
            keys = frame.key_values(self.key.entity)
            codes[frame.places] = self._pair_codes(keys, [_asked(this, frame) for _, this in self.key.pairs])
        return codes

    def _insert_codes(self, frame: Frame) -> Ints:
        matching = None
        if self.key.matching is not None:
            type_ = next(declared.type for declared in frame.type.fields if declared.name == self.key.matching)
            matching = ItemField(type_, self.key.matching)
        if not self.key.pairs:
            entity = self.key.entity
            return frame.value_codes(matching, self.codes) if matching else frame.key_codes(entity, self.codes)
        keys = values_of(frame.evaluate(matching)) if matching else frame.key_values(self.key.entity)
        return self._pair_codes(keys, [values_of(frame.evaluate(item)) for item, _ in self.key.pairs])

    def _pair_codes(self, keys: list[Any], parts: list[list[Any]]) -> Ints:
        return self.codes.of(joined_key([keys, *parts], len(keys)))


def _asked(this: Node, frame: Frame) -> list[Any]:
    """Return the `this` side of a pair key for each event: None if a field that it reads is missing.

    A value that is missing although its fields are present is `()`, which equals no stored key.
    """
    column = frame.evaluate(this)
    values = values_of(column)
    if isinstance(this, ThisField) or column.valid.all():
        return values
    valids = [frame.field(node.name, node.type).valid for node in walk(this) if isinstance(node, ThisField)]
    there = np.logical_and.reduce(valids)
    return [() if value is None and is_there else value for value, is_there in zip(values, there, strict=True)]


_FIRST_ROOM = 64


class Links(Struct):
    """The pair keys of each entity key, as doubly linked chains of codes; -1 for none.

    `last` has the newest pair key of an entity key, `before` the previous one of each pair key, and `after` the next.
    They follow from the dictionary of pair keys, so snapshots do not contain them.
    """

    pairs: Codes
    keys: Codes
    last: Ints = field(default_factory=lambda: np.full(_FIRST_ROOM, -1, np.int64))
    before: Ints = field(default_factory=lambda: np.full(_FIRST_ROOM, -1, np.int64))
    after: Ints = field(default_factory=lambda: np.full(_FIRST_ROOM, -1, np.int64))
    _known: object = None  # the dictionary that is linked: another one after a restore

    def extend(self) -> None:
        """Link the pair keys that are new since the last call."""
        known = self.pairs.known
        given: Iterable[int] = known.given or ()
        if known is not self._known:
            self._known = known
            self.last.fill(-1)
            given = [pair for pair, value in enumerate(self.pairs.values) if value is not None]
        known.given = []
        for pair in given:
            key = self.keys.add(self.pairs.values[pair][0])
            self.last = _with_room(self.last, key)
            self.before = _with_room(self.before, pair)
            self.after = _with_room(self.after, pair)
            newest = self.last[key]
            self.before[pair] = newest
            self.after[pair] = -1
            if newest >= 0:
                self.after[newest] = pair
            self.last[key] = pair

    def remove(self, pair: int) -> None:
        """Unlink a pair key, before its code is released."""
        before, after = self.before[pair], self.after[pair]
        if after >= 0:
            self.before[after] = before
        else:
            self.last[self.keys.known[self.pairs.values[pair][0]]] = before
        if before >= 0:
            self.after[before] = after

    def of(self, key: int) -> Iterator[int]:
        pair = int(self.last[key]) if key < len(self.last) else -1
        while pair >= 0:
            yield pair
            pair = int(self.before[pair])


def _with_room(array: Ints, place: int) -> Ints:
    if place < len(array):
        return array
    return np.concatenate([array, np.full(max(len(array), place + 1 - len(array)), -1, np.int64)])
