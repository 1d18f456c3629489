"""What the log knows of one key of an entity: its events, newest first, and the keys that it shares something with.

How far back it was looked is said, and the next question goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from shroff.engine.stored import decision_document
from shroff.errors import PrunedError, TransientError
from shroff.events.event import Event
from shroff.explain.finding_keys import KeyEvents, Wanted
from shroff.explain.key_index import KeyIndex
from shroff.features.key_texts import key_of, read_key
from shroff.features.naive import Key
from shroff.language.values import key_text
from shroff.log.history import Records
from shroff.project.definitions import Definitions
from shroff.streams.log import Log, Record

SHARED_MAX: Final = 8  # other keys whose events are looked for
NEIGHBOURS_MAX: Final = 50
NEIGHBOUR_EVENTS_MAX: Final = 200  # of each of those
NEIGHBOURS_IN: Final = 4_096  # events of shared keys that are looked at, the newest


@dataclass(frozen=True, slots=True)
class KeyEvent:
    """An event of a key, and what was decided of it, where it was: by which features of this entity, too."""

    record: Record
    outcome: str | None = None
    score: float | None = None
    rules: Sequence[str] = ()
    features: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Timeline:
    """Events of a key, newest first; every one of it behind the place `looked_to` and up to where was asked.

    `is_cut` says that there may be more before that. `features` are those of its entity at its newest decided event.
    """

    events: Sequence[KeyEvent]
    looked_to: int
    is_cut: bool
    features: Mapping[str, Any] = field(default_factory=dict)
    features_of: str = ""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another key of the same entity, and through which keys of other entities it is one; `events` share them."""

    key: str
    through: Sequence[tuple[str, str]]
    events: int


class EntityLook:
    """Looks at keys of one log, for one version of a project."""

    def __init__(self, log: Log, definitions: Definitions, index: KeyIndex | None = None) -> None:
        self._log, self._definitions = log, definitions
        self._records = Records(definitions.events, definitions.settings.money_places)
        self._events = KeyEvents(log, definitions, self._records, index)
        self._keyed = self._events.keyed

    def timeline(self, entity: str, text: str, *, before: int | None = None, limit: int = 50) -> Timeline:
        """The events of a key with a place below `before`, at most so many.

        Raises: UsageError where there is no such entity, or the text is no key of it.
        """
        key = key_of(self._definitions.events, entity, text)
        end = self._log.last_seq() if before is None else before - 1
        found: list[Record] = []
        looked_to = end
        for start, records in self._backwards(end, {entity: [key]}):
            looked_to = start
            found += records
            if len(found) >= limit:
                break
        found.sort(key=lambda record: -record.seq)
        is_full = len(found) > limit or (len(found) == limit and found[-1].seq > 1)
        found = found[:limit]
        looked_to = found[-1].seq - 1 if is_full else looked_to
        seen = [self._seen(record, entity) for record in found]
        newest = next((one for one in seen if one.outcome is not None), None)
        if newest is None:
            return Timeline(seen, looked_to, looked_to > 0)
        of = f"{newest.record.type}/{newest.record.id}"
        return Timeline(seen, looked_to, looked_to > 0, newest.features, of)

    def neighbours(self, entity: str, text: str, timeline: Timeline) -> list[Neighbour]:
        """Keys of the same entity that share keys of other entities with the newest events of this one, up to two hops.

        Those that share most come first. What is shared by very many (a merchant) says little, and is as good as any
        other here: see `through`.
        """
        own = key_of(self._definitions.events, entity, text)
        shared = self._shared(entity, (one.record for one in timeline.events))
        wanted = {name: [key for other, key in shared if other == name] for name, _ in shared}
        counts: dict[Key, dict[tuple[str, str], int]] = {}
        looked_at = 0
        for _, records in self._backwards(self._log.last_seq(), wanted):
            for record in records[:NEIGHBOUR_EVENTS_MAX]:
                self._count(record, entity, own, wanted, counts)
            looked_at += len(records)
            if len(counts) >= NEIGHBOURS_MAX or looked_at >= NEIGHBOURS_IN:
                break
        found = [
            Neighbour(key_text(key[0] if len(key) == 1 else key), sorted(through), sum(through.values()))
            for key, through in counts.items()
        ]
        return sorted(found, key=lambda one: (-len(one.through), -one.events, one.key))[:NEIGHBOURS_MAX]

    def entities_with(self, text: str) -> tuple[list[str], int]:
        """The entities that have this key in some event, and the place behind which all was looked at.

        Cost: as `KeyEvents.backwards`, whatever the number of entities.
        """
        keys = {name: read_key(text, one) for name, one in self._definitions.events.entities.items()}
        wanted = {name: [key if isinstance(key, tuple) else (key,)] for name, key in keys.items() if key is not None}
        found, looked_to = set[str](), self._log.last_seq()
        for start, records in self._backwards(looked_to, wanted):
            looked_to = start
            for record in records:
                there = [name for name, (key,) in wanted.items() if self._keyed.has(record, name, key)]
                found.update(there)
                for name in there:
                    del wanted[name]
            if not wanted:
                break
        return [name for name in keys if name in found], looked_to

    def _backwards(self, end: int, wanted: Wanted) -> Iterator[tuple[int, list[Record]]]:
        """As `KeyEvents.backwards`; where the lake cannot be reached, it ends at the last place that lies in it."""
        looked_to = end
        try:
            for looked_to, records in self._events.backwards(end, wanted):
                yield looked_to, records
        except (TransientError, PrunedError):
            if looked_to > self._log.pruned_to():
                raise

    # ---- keys

    def _shared(self, entity: str, records: Iterable[Record]) -> list[tuple[str, Key]]:
        """The keys of other entities at these events, those that came with most of them first."""
        others = [name for name in self._definitions.events.entities if name != entity]
        counts: dict[tuple[str, Key], int] = {}
        for record in records:
            event = self._records.decode(record)
            if isinstance(event, Event):
                for one in self._keyed.keys(event, others).items():
                    counts[one] = counts.get(one, 0) + 1
        return sorted(counts, key=lambda one: -counts[one])[:SHARED_MAX]

    def _count(
        self,
        record: Record,
        entity: str,
        own: Key,
        wanted: Mapping[str, Sequence[Key]],
        counts: dict[Key, dict[tuple[str, str], int]],
    ) -> None:
        event = self._records.decode(record)
        if not isinstance(event, Event):
            return
        keys = self._keyed.keys(event, [entity, *wanted])
        other = keys.get(entity)
        if other is None or other == own:
            return
        for name, of in wanted.items():
            key = keys.get(name)
            if key is not None and key in of:
                through = counts.setdefault(other, {})
                named = name, key_text(key[0] if len(key) == 1 else key)
                through[named] = through.get(named, 0) + 1

    # ---- decisions

    def _seen(self, record: Record, entity: str) -> KeyEvent:
        row = self._log.decisions(record.type, [record.id]).get(record.id) if record.decided else None
        if row is None:
            return KeyEvent(record)
        document, prefix = decision_document(row), f"{entity}."
        features = {name: value for name, value in document["features"].items() if name.startswith(prefix)}
        return KeyEvent(record, row.outcome, document["score"], tuple(document["rules"]), features)


def fields_of(record: Record) -> dict[str, Any]:
    """The fields of an event as the log stores them."""
    found: dict[str, Any] = msgspec.json.decode(record.body)
    return found
