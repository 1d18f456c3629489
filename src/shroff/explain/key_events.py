"""The events of some keys, newest first, and the records that one decision can depend on: by the index of keys."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from shroff.arrays import NO_INTS, Ints
from shroff.events.event import Event, canonical_value
from shroff.features.naive import Key
from shroff.language.expression import Aggregate, ItemFeature, ThisField, aggregates, walk
from shroff.log.history import Records
from shroff.log.key_index import KeyHasher, KeyLookup
from shroff.log.state.fold import lateness_of
from shroff.project.definitions import Definitions, computed_of
from shroff.streams.log import DecisionRow, Log, Record

_FIRST_BLOCK = 64  # events that are read at once at first, where the caller does not say how many it needs
_BLOCK = 1_024
_MANY = 8  # events of a key that are read sooner than it is looked for the first of them in the window
MOST = 16_384  # records that one decision looks back at: more are folded sooner by columns
Wanted = Mapping[str, Sequence[Key]]  # keys by entity


def decisions_of(log: Log, records: Iterable[Record]) -> dict[int, DecisionRow]:
    """The decisions of some records, read together, by sequence number."""
    ids: dict[str, list[str]] = {}
    for record in records:
        if record.decided:
            ids.setdefault(record.type, []).append(record.id)
    return {row.seq: row for type_, wanted in ids.items() for row in log.decisions(type_, wanted).values()}


class KeyFinder:
    """Finds out whose event a record is."""

    def __init__(self, definitions: Definitions, records: Records) -> None:
        self._definitions = definitions
        self._records = records
        self._hasher = KeyHasher(definitions)

    def keys(self, event: Event, entities: Iterable[str]) -> dict[str, Key]:
        """The key of each of these entities at an event; those without one are left out."""
        found = {entity: self._hasher.key(entity, event) for entity in sorted(entities)}
        return {entity: key for entity, key in found.items() if key is not None}

    def has(self, record: Record, entity: str, key: Key) -> bool:
        """Whether a record of an event has this key. Cost: 1 µs where its bytes show that it has not, else 8."""
        parts = self._definitions.events.entities[entity].keys.get(record.type, ())
        is_near = bool(parts) and all(
            canonical_value(value, part.type, 2).encode() in record.body
            for part, value in zip(parts, key, strict=False)
            if isinstance(part, ThisField) and part.type.is_text
        )
        event = self._records.decode(record) if is_near else None
        return event is not None and self._hasher.key(entity, event) == key


class KeyEvents:
    """Finds the events of keys in one log, for one version of a project."""

    def __init__(self, log: Log, definitions: Definitions, records: Records) -> None:
        self._log, self.index = log, KeyLookup(log, definitions)
        self.keyed = KeyFinder(definitions, records)

    def backwards(self, end: int, wanted: Wanted, first: int = _FIRST_BLOCK) -> Iterator[tuple[int, list[Record]]]:
        """The events of any of these keys up to a place, newest first, in parts.

        Each comes with the place behind which all was looked at so far, at last 0. An entity or a key that is taken
        out of `wanted` meanwhile is looked for no more. Nothing comes of an entity that no writer has indexed yet.

        Args:
            first: How many are read at once at first.

        Cost: a query of the index for each key, and 50 µs an event; see `KeyParts.places`.
        """
        known = {name: self.index.has(name, end) for name in wanted}
        found = self.index.places([(entity, key) for entity, keys in wanted.items() for key in keys if known[entity]])
        places = {named: self.upto(at, end) for named, at in found.items()}
        pruned = self._log.pruned_to()
        size = first
        while tails := [at[-size:] for (name, key), at in places.items() if key in wanted.get(name, ()) and len(at)]:
            block = np.unique(np.concatenate(tails))[-size:]
            if block[-1] <= pruned < end:
                yield pruned, []  # so what the store has comes before the lake is read
            block = block[block > pruned] if block[-1] > pruned else block
            end = int(block[0]) - 1
            size = min(2 * size, _BLOCK)
            yield end, self._these(block, wanted)
            places = {name: self.upto(at, end) for name, at in places.items()}
        if all(known.values()):
            yield 0, []

    def upto(self, places: Ints, end: int) -> Ints:
        """Those of ascending places that are up to one."""
        return places[: np.searchsorted(places, end, "right")]

    def _these(self, places: Ints, wanted: Wanted) -> list[Record]:
        """The events at these places that have one of the keys, newest first."""
        there = self._log.records_at(places.tolist())
        return [
            there[seq]
            for seq in sorted(there, reverse=True)
            if any(self.keyed.has(there[seq], entity, key) for entity, keys in wanted.items() for key in keys)
        ]

    def first_needed(self, places: Ints, start_ms: float) -> int:
        """Index of a place whose event is no newer than `start_ms`, so that what is before it is not read; else 0.

        At most `_MANY` too many remain. Cost: a look at an event for each halving, 0.1 ms.
        """
        near, far = len(places) - 1, 0  # newer than that, and older
        if near < _MANY or math.isinf(start_ms) or self._time_at(places[0]) > start_ms:
            return 0
        while near - far > _MANY:
            middle = (near + far) // 2
            near, far = (near, middle) if self._time_at(places[middle]) <= start_ms else (middle, far)
        return far

    def _time_at(self, place: int) -> float:
        record = self._log.records_at([int(place)]).get(int(place))
        return math.inf if record is None else record.time_ms


def looked_back(log: Log, definitions: Definitions, seq: int, most: int = MOST) -> list[Record] | None:
    """The records before a place that its decision can depend on, in the order of the log.

    By chance one of another key may be among them; it changes no value of the decision. None where they cannot be
    told: where a value depends on earlier hits, on earlier values of features, on another field than the key or on a
    draw, and where there are more than `most`.

    Cost: a query of the index for each entity, and 3 µs a record.
    """
    record = log.records_at([seq]).get(seq)
    records = Records(definitions.events, definitions.settings.money_places)
    event = None if record is None else records.decode(record)
    if record is None or not isinstance(event, Event):
        return None
    used = asked_of_keys(definitions, event.type)
    if used is None:
        return None
    events = KeyEvents(log, definitions, records)
    end = seq - 1
    keys = events.keyed.keys(event, {aggregate.entity for aggregate in used})
    if not all(events.index.has(entity, end) for entity in keys):
        return None
    found = [NO_INTS]
    # No event before one that was not late is newer than it by more than the lateness.
    starts = _windows(used, event.time_ms - lateness_of(log, definitions))
    for (entity, _), places in events.index.places((name, keys[name]) for name in starts.keys() & keys.keys()).items():
        places = events.upto(places, end)
        found.append(places[events.first_needed(places, starts[entity]) :])
    labeled = {aggregate.entity for aggregate in used if aggregate.event == "label"} & keys.keys()
    of_labels = events.index.places([(name, keys[name]) for name in labeled], of_labels=True)
    found += [events.upto(places, end) for places in of_labels.values()]
    needed = np.unique(np.concatenate(found)).tolist()
    return None if len(needed) > most else [past for _, past in sorted(log.records_at(needed).items())]


def asked_of_keys(definitions: Definitions, event: str) -> set[Aggregate] | None:
    """The aggregates that an event's decision needs; None where it depends on more than events and labels of keys."""
    name = f"asked of keys {event}"
    if name not in definitions.worked_out:
        definitions.worked_out[name] = _asked_of_keys(definitions, event)
    found: set[Aggregate] | None = definitions.worked_out[name]
    return found


def _asked_of_keys(definitions: Definitions, event: str) -> set[Aggregate] | None:
    nodes = [feature.node for feature in computed_of(definitions) if event in feature.events]
    used = {aggregate for node in nodes for aggregate in aggregates(node)}
    is_stacked = any(isinstance(part, ItemFeature) for node in nodes for part in walk(node))
    is_drawn = definitions.policy(event).explore is not None
    is_elsewhere = any(feature.since_flag or feature.matching or feature.via for feature in used)
    return None if is_stacked or is_drawn or is_elsewhere else used


def _windows(used: Iterable[Aggregate], end_ms: int) -> dict[str, float]:
    """For each entity the time at which its longest window begins, for a watermark; that of labels is none of them."""
    found: dict[str, float] = {}
    for aggregate in used:
        if aggregate.event != "label":
            start = -math.inf if aggregate.over_ms is None else end_ms - aggregate.delay_ms - aggregate.over_ms
            found[aggregate.entity] = min(start, found.get(aggregate.entity, math.inf))
    return found
