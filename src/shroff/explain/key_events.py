"""Events of some keys, newest first, and the records that a decision can depend on, found by the index of keys."""

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

_FIRST_BLOCK = 64  # default size of the first block of events
_BLOCK = 1_024
_MANY = 8  # events that `first_needed` may leave too many: reading these is faster than another halving
MOST = 16_384  # limit for the records that one decision depends on; folding more is faster by columns
Wanted = Mapping[str, Sequence[Key]]  # keys by entity


def decisions_of(log: Log, records: Iterable[Record]) -> dict[int, DecisionRow]:
    """Read the decisions of records at once, by sequence number."""
    ids: dict[str, list[str]] = {}
    for record in records:
        if record.decided:
            ids.setdefault(record.type, []).append(record.id)
    return {row.seq: row for type_, type_ids in ids.items() for row in log.decisions.of(type_, type_ids).values()}


class KeyFinder:
    """Finds the keys of events."""

    def __init__(self, definitions: Definitions, records: Records) -> None:
        self._definitions = definitions
        self._records = records
        self._hasher = KeyHasher(definitions)

    def keys(self, event: Event, entities: Iterable[str]) -> dict[str, Key]:
        """Return the event's key of each of these entities, without entities for which it has none."""
        keys = {entity: self._hasher.key(entity, event) for entity in sorted(entities)}
        return {entity: key for entity, key in keys.items() if key is not None}

    def has(self, record: Record, entity: str, key: Key) -> bool:
        """Whether the event of a record has this key. Cost: 1 µs if the bytes exclude it, else 8 µs."""
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
        """Iterate over the events of these keys up to a sequence number, newest first, in blocks.

        Each block comes with the sequence number down to which all events were read, in the end 0. The caller may
        remove entities and keys from `wanted` meanwhile. Entities that are not indexed yet have no events here, and the
        iteration then ends without 0.

        Args:
            first: Size of the first block.

        Cost: an index query for each key, and 50 µs an event; see `KeyLookup.places`.
        """
        is_indexed = {name: self.index.has(name, end) for name in wanted}
        key_seqs = self.index.places(
            [(entity, key) for entity, keys in wanted.items() for key in keys if is_indexed[entity]]
        )
        seqs_by_key = {entity_key: self.upto(key_seqs_of, end) for entity_key, key_seqs_of in key_seqs.items()}
        pruned = self._log.pruned_to()
        size = first
        while newest_seqs := [
            key_seqs_of[-size:]
            for (name, key), key_seqs_of in seqs_by_key.items()
            if key in wanted.get(name, ()) and len(key_seqs_of)
        ]:
            block = np.unique(np.concatenate(newest_seqs))[-size:]
            if block[-1] <= pruned < end:
                yield pruned, []  # lets the caller use what the store has before the lake is read
            block = block[block > pruned] if block[-1] > pruned else block
            end = int(block[0]) - 1
            size = min(2 * size, _BLOCK)
            yield end, self._these(block, wanted)
            seqs_by_key = {name: self.upto(key_seqs_of, end) for name, key_seqs_of in seqs_by_key.items()}
        if all(is_indexed.values()):
            yield 0, []

    def upto(self, seqs: Ints, end: int) -> Ints:
        return seqs[: np.searchsorted(seqs, end, "right")]

    def _these(self, seqs: Ints, wanted: Wanted) -> list[Record]:
        records = self._log.records_at(seqs.tolist())
        return [
            records[seq]
            for seq in sorted(records, reverse=True)
            if any(self.keyed.has(records[seq], entity, key) for entity, keys in wanted.items() for key in keys)
        ]

    def first_needed(self, seqs: Ints, start_ms: float) -> int:
        """Return the index of a sequence number before which no event is newer than `start_ms`, so these need not be
        read; else 0.

        At most `_MANY` events too many remain. Cost: 0.1 ms for each halving, to read an event.
        """
        near, far = len(seqs) - 1, 0  # indexes of an event newer than `start_ms`, and of one that is not
        if near < _MANY or math.isinf(start_ms) or self._time_at(seqs[0]) > start_ms:
            return 0
        while near - far > _MANY:
            middle = (near + far) // 2
            near, far = (near, middle) if self._time_at(seqs[middle]) <= start_ms else (middle, far)
        return far

    def _time_at(self, seq: int) -> float:
        record = self._log.records_at([int(seq)]).get(int(seq))
        return math.inf if record is None else record.time_ms


def looked_back(log: Log, definitions: Definitions, seq: int, limit: int = MOST) -> list[Record] | None:
    """Return the earlier records that a decision can depend on, in log order.

    A few records of other keys may be among them; they change no value. None if the records cannot be determined: a
    value depends on earlier hits, earlier values of features, another field than the key, or a draw; or there are more
    than `limit`.

    Cost: an index query for each entity, and 3 µs a record.
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
    needed_seqs = [NO_INTS]
    # ^An event that is older in the log can be newer by time only by the allowed lateness.
    starts = _windows(used, event.time_ms - lateness_of(log, definitions))
    for (entity, _), key_seqs in events.index.places(
        (name, keys[name]) for name in starts.keys() & keys.keys()
    ).items():
        key_seqs = events.upto(key_seqs, end)
        needed_seqs.append(key_seqs[events.first_needed(key_seqs, starts[entity]) :])
    label_entities = {aggregate.entity for aggregate in used if aggregate.event == "label"} & keys.keys()
    of_labels = events.index.places([(name, keys[name]) for name in label_entities], of_labels=True)
    needed_seqs += [events.upto(key_seqs, end) for key_seqs in of_labels.values()]
    needed = np.unique(np.concatenate(needed_seqs)).tolist()
    return None if len(needed) > limit else [past for _, past in sorted(log.records_at(needed).items())]


def asked_of_keys(definitions: Definitions, event: str) -> set[Aggregate] | None:
    """Return the aggregates that an event's decision needs; None if it depends on more than the events and labels of
    keys.
    """
    name = f"asked of keys {event}"
    if name not in definitions.worked_out:
        definitions.worked_out[name] = _asked_of_keys(definitions, event)
    needed: set[Aggregate] | None = definitions.worked_out[name]
    return needed


def _asked_of_keys(definitions: Definitions, event: str) -> set[Aggregate] | None:
    nodes = [feature.node for feature in computed_of(definitions) if event in feature.events]
    used = {aggregate for node in nodes for aggregate in aggregates(node)}
    is_stacked = any(isinstance(part, ItemFeature) for node in nodes for part in walk(node))
    is_drawn = definitions.policy(event).explore is not None
    is_elsewhere = any(feature.since_flag or feature.matching or feature.via for feature in used)
    return None if is_stacked or is_drawn or is_elsewhere else used


def _windows(used: Iterable[Aggregate], end_ms: int) -> dict[str, float]:
    """Return the time at which each entity's longest window begins, if `end_ms` is its end. Windows of labels do not
    count.
    """
    starts: dict[str, float] = {}
    for aggregate in used:
        if aggregate.event != "label":
            start = -math.inf if aggregate.over_ms is None else end_ms - aggregate.delay_ms - aggregate.over_ms
            starts[aggregate.entity] = min(start, starts.get(aggregate.entity, math.inf))
    return starts
