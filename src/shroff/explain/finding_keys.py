"""The events of some keys, newest first: by the index where that covers the log, elsewhere by reading it backwards.

And the records that one decision can depend on, which are events and labels of its keys.

The log has no index by key of its own. It is read in blocks, as text, and only lines that hold a key's own bytes are
looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, takewhile
from typing import Final

from shroff.events.event import Event, canonical_value
from shroff.explain.key_index import LABEL, KeyIndex, places_of
from shroff.features.naive import Key, Naive
from shroff.language.expression import Aggregate, ItemFeature, ThisField, aggregates, walk
from shroff.log.history import Records
from shroff.log.state.fold import lateness_of
from shroff.project.definitions import Definitions, computed_of
from shroff.streams.key_runs import Run
from shroff.streams.log import Log, Record

LOOK_BACK: Final = 1_000_000  # places that are read for one question: 0.3 µs each in SQLite
_BLOCK: Final = 65_536  # the most that is read at once; the first is small, as keys that come often need no more
_FIRST_BLOCK: Final = 2_048
_MANY: Final = 128  # events of a key: of fewer it is sooner read which are in the window
_PARTS: Final = 20  # of the index, about MOST events
_LOOKS: Final = 3
MOST: Final = 16_384  # records that one decision looks back at: more are folded sooner by columns
Wanted = Mapping[str, Sequence[Key]]  # keys by entity


class KeyFinder:
    """Finds out whose event a record is."""

    def __init__(self, definitions: Definitions, records: Records) -> None:
        self._definitions, self._records = definitions, records
        self._naive = Naive(definitions.events, (), definitions.reference)

    def keys(self, event: Event, entities: Iterable[str]) -> dict[str, Key]:
        """The key of each of these entities at an event; those without one are left out."""
        found = {entity: self._naive.key(entity, event) for entity in sorted(entities)}
        return {entity: key for entity, key in found.items() if key is not None}

    def needles(self, entity: str, event: str, key: Key) -> list[bytes]:
        """Bytes that the body of every event with this key has, where the key is plain fields."""
        parts = self._definitions.events.entities[entity].keys.get(event, ())
        pairs = zip(parts, key, strict=False)
        return [
            canonical_value(value, part.type, 2).encode()
            for part, value in pairs
            if isinstance(part, ThisField) and part.type.is_text
        ]

    def has(self, record: Record, entity: str, key: Key, needles: Sequence[bytes] | None = None) -> bool:
        """Whether a record of an event has this key. `needles` are those of its type, where the caller has them."""
        entities = self._definitions.events.entities
        if record.type not in entities[entity].keys:
            return False
        wanted = self.needles(entity, record.type, key) if needles is None else needles
        if not all(needle in record.body for needle in wanted):
            return False
        event = self._records.decode(record)
        return event is not None and self._naive.key(entity, event) == key

    def has_label(self, record: Record, entity: str, key: Key) -> bool:
        """Whether a record of a label is of an event with this key."""
        types = self._definitions.events.entities[entity].keys
        if not any(all(needle in record.body for needle in self.needles(entity, event, key)) for event in types):
            return False
        event = self._records.decode(record)
        return event is not None and self._naive.key(entity, event) == key


class KeyEvents:
    """Finds the events of keys in one log, for one version of a project.

    Args:
        index: The log's; without one the log is read, at most LOOK_BACK places of it.
        is_exact: Look at each event that the index names: it may be one of another key, with a chance of 2**-64.
    """

    def __init__(
        self,
        log: Log,
        definitions: Definitions,
        records: Records,
        index: KeyIndex | None = None,
        *,
        is_exact: bool = True,
    ) -> None:
        self._log, self._definitions, self._is_exact = log, definitions, is_exact
        self.keyed = KeyFinder(definitions, records)
        self._runs = [] if index is None else index.runs(log)

    def backwards(
        self, end: int, wanted: Wanted, firsts: Mapping[str, int] | None = None
    ) -> Iterator[tuple[int, list[Record]]]:
        """The events of any of these keys up to a place, newest first, in parts.

        Each comes with the place behind which all was looked at so far. An entity or a key that is taken out of
        `wanted` meanwhile is looked for no more. By the index, an entity is looked for from its place in `firsts` on.

        Cost: what the index covers, some looks into it and 50 µs an event; 0.3 µs each of LOOK_BACK places beside it,
            4 µs where they lie in a lake.
        """
        first, covered = (self._runs[0].after, self._runs[-1].upto) if self._runs else (0, 0)
        first = max(first, self._log.pruned_to())  # what lies in a lake is read by files, not by single places
        stop = max(0, end - LOOK_BACK)
        if first < covered and first < end:
            yield from self._backwards(end, max(stop, covered), wanted)
            if end - covered <= LOOK_BACK:
                yield from self._indexed(min(end, covered), first, wanted, firsts or {})
                yield from self._backwards(first, max(0, first - LOOK_BACK), wanted)
        else:
            yield from self._backwards(end, stop, wanted)

    def _backwards(self, end: int, least: int, wanted: Wanted) -> Iterator[tuple[int, list[Record]]]:
        size, pruned = _FIRST_BLOCK, self._log.pruned_to()
        while end > least:
            start, size = max(least, end - size), min(2 * size, _BLOCK)
            start = pruned if start < pruned < end else start  # so what the store has is told before the lake is read
            yield start, self._read(start, end, wanted)
            end = start

    # ---- by the index

    def reached(self, entity: str, key: Key, end: int, newest_ms: int, start_ms: float) -> int:
        """Sequence number of an event of a key that is no newer than `start_ms`, so the index names fewer; else 0.

        A look at some of the events that the index names up to `end`, where they are many: a tenth too many remain.
        """
        places = [at for part in islice(places_of(self._runs, entity, key, end), _PARTS) for at in part]
        near, far, near_ms = 0, len(places) - 1, float(newest_ms)
        if far < _MANY or math.isinf(start_ms) or (far_ms := self._time_at(places[far])) > start_ms:
            return 0
        for _ in range(_LOOKS):
            share = (near_ms - start_ms) / max(near_ms - far_ms, 1)
            step = near + int((far - near) * (0.1 + 0.9 * min(max(share, 0), 1)))
            if (step_ms := self._time_at(places[step])) <= start_ms:
                return places[step]
            near, near_ms = step, step_ms
        return places[far]

    def _time_at(self, place: int) -> float:
        record = self._log.records_at([place]).get(place)
        return math.inf if record is None else record.time_ms

    def _indexed(
        self, end: int, after: int, wanted: Wanted, firsts: Mapping[str, int]
    ) -> Iterator[tuple[int, list[Record]]]:
        runs = [run for run in self._runs if run.after < end and run.upto > after]
        cursors = [
            _Cursor(runs, entity, key, end, firsts.get(entity, 0)) for entity, keys in wanted.items() for key in keys
        ]
        while cursors := [
            cursor for cursor in cursors if cursor.key in wanted.get(cursor.entity, ()) and cursor.reaches(after)
        ]:
            least = max(after, *(cursor.reached for cursor in cursors))
            places = sorted({place for cursor in cursors for place in cursor.take(least)})
            yield least, self._these(places, wanted) if self._is_exact else self._at(places)
        yield after, []

    def labels(self, end: int, keys: Mapping[str, Key]) -> list[Record]:
        """The labels of events with any of these keys up to a place.

        Cost: a look at each that the index names; beside it 3 µs for each label, whatever its key.
        """
        covered = min(end, self._runs[-1].upto) if self._runs and self._runs[0].after == 0 else 0
        parts = (places_of(self._runs, f"{LABEL}{entity}", key, covered) for entity, key in keys.items())
        indexed = self._log.records_at({place for some in parts for part in some for place in part})
        return [
            record
            for some in ([indexed[place] for place in sorted(indexed)], *self._log.labels_after(covered, end))
            for record in some
            if any(self.keyed.has_label(record, entity, key) for entity, key in keys.items())
        ]

    def _at(self, places: Sequence[int]) -> list[Record]:
        there = self._log.records_at(places)
        return [there[place] for place in reversed(places) if place in there]

    def _these(self, places: Sequence[int], wanted: Wanted) -> list[Record]:
        """The events at these places that have one of the keys, newest first."""
        needles = self._needles(wanted)
        return [record for record in self._at(places) if self._has_any(record, needles)]

    # ---- by reading

    def _read(self, start: int, end: int, wanted: Wanted) -> list[Record]:
        needles = self._needles(wanted)
        places: set[int] = set()
        for text in self._log.lines(start, end, _BLOCK):
            for needle in {texts[0] if texts else b"\n" for _, _, _, texts in needles}:
                places.update(start + 1 + line for line, _ in lines_with(text, text, needle))
            start += text.count(b"\n")
        return self._these(sorted(places), wanted)

    def _needles(self, wanted: Wanted) -> list[tuple[str, str, Key, Sequence[bytes]]]:
        entities = self._definitions.events.entities
        return [
            (event, entity, key, self.keyed.needles(entity, event, key))
            for entity, keys in wanted.items()
            for key in keys
            for event in self._definitions.events.types
            if event in entities[entity].keys
        ]

    def _has_any(self, record: Record, needles: Iterable[tuple[str, str, Key, Sequence[bytes]]]) -> bool:
        return record.kind == "event" and any(
            record.type == event and self.keyed.has(record, entity, key, group) for event, entity, key, group in needles
        )


class _Cursor:
    """The places of one key in the index from a first one on, newest first; some are held."""

    def __init__(self, runs: Sequence[Run], entity: str, key: Key, end: int, first: int = 0) -> None:
        self.entity, self.key = entity, key
        parts = ([at for at in part if at >= first] for part in places_of(runs, entity, key, end))
        self._parts = takewhile(bool, parts)
        self._held: Sequence[int] = ()
        self.reached = 0

    def reaches(self, after: int) -> bool:
        """Hold some; whether there are any behind a place."""
        if not self._held:
            self._held = next(self._parts, ())
            self.reached = self._held[-1] - 1 if self._held else 0
        return bool(self._held) and self._held[0] > after

    def take(self, after: int) -> Sequence[int]:
        """Its entries behind a place."""
        taken = [place for place in self._held if place > after]
        self._held = self._held[len(taken) :]
        return taken


def lines_with(text: bytes, small: bytes, needle: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines whose bytes hold these in `small`, the text in small letters or as it is: number from 0, and bytes."""
    line, counted, at = 0, 0, small.find(needle)
    while at >= 0:
        line += text.count(b"\n", counted, at)
        first, counted = text.rfind(b"\n", 0, at) + 1, text.find(b"\n", at)
        yield line, text[first:counted]
        at = small.find(needle, counted + 1) if counted >= 0 else -1


# ---- what one decision looks back at


def looked_back(
    log: Log, definitions: Definitions, seq: int, index: KeyIndex | None = None, most: int = MOST
) -> list[Record] | None:
    """The records before a place that its decision can depend on, in the order of the log.

    None where that cannot be told: where a value depends on earlier hits, on earlier values of features, on another
    field than the key or on a draw, where records were pruned, and where there are more than `most`.

    Cost: see `KeyEvents.backwards`, and `KeyEvents.labels` where a value counts labels.
    """
    record = log.records_at([seq]).get(seq)
    records = Records(definitions.events, definitions.settings.money_places)
    event = None if record is None else records.decode(record)
    if record is None or not isinstance(event, Event) or log.pruned_to():
        return None
    used = asked_of_keys(definitions, event.type)
    if used is None:
        return None
    events = KeyEvents(log, definitions, records, index, is_exact=False)  # one of another key changes no value
    keys = events.keyed.keys(event, {aggregate.entity for aggregate in used})
    found = _events(events, keys, record, _windows(used, event.time_ms - lateness_of(log, definitions)), most)
    if found is None:
        return None
    of_labels = {aggregate.entity for aggregate in used if aggregate.event == "label"} & keys.keys()
    labels = events.labels(seq - 1, {entity: keys[entity] for entity in of_labels}) if of_labels else []
    return sorted([*found, *labels], key=lambda label: label.seq)


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


def _events(
    events: KeyEvents, keys: Mapping[str, Key], before: Record, windows: Mapping[str, float], most: int
) -> list[Record] | None:
    """The events of these keys before another, an entity's as far back as its window; None where they are too many."""
    wanted = {entity: [keys[entity]] for entity in windows if entity in keys}
    found: list[Record] = []
    looked_to = end = before.seq - 1
    firsts = {
        entity: events.reached(entity, key, end, before.time_ms, windows[entity]) for entity, (key,) in wanted.items()
    }
    for part_start, records in events.backwards(end, wanted, firsts) if wanted else ():
        found += records
        looked_to = part_start
        if len(found) > most:
            return None
        # No event before one that was not late is newer than it by more than the lateness.
        oldest_ms = min((record.time_ms for record in records), default=math.inf)
        for entity in [entity for entity in wanted if oldest_ms <= windows[entity]]:
            del wanted[entity]
        if not wanted:
            break
    return None if wanted and looked_to > 0 else found
