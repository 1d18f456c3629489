"""Entity view: the events of one key, newest first, and the keys that share something with it.

Results say how far back the log was read; the next query continues there.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct, field
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.engine.stored import active_rules, stored
from shroff.errors import PrunedError, TransientError
from shroff.events.event import Event
from shroff.events.summary import EventSummary, summary_of
from shroff.explain.event_search import PartFound, lines_in, search_parts
from shroff.explain.key_events import KeyEvents, Wanted, decisions_of
from shroff.explain.past import Past, PastDecision
from shroff.features.key_texts import key_of, read_key
from shroff.features.naive import Key
from shroff.json_types import JsonMapping, JsonObject, TextDict
from shroff.language.expression import ThisField
from shroff.language.values import key_text
from shroff.log.history import Records
from shroff.project.definitions import Definitions
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import DecisionRow, Log, Record

SHARED_MAX = 8  # keys of each other entity that are followed
MANY = 8  # a key that more others share (a large merchant, a public network) links none of them
TOTALS_MAX = 1_000  # newest events of a key that are totaled
KEYS_BLOCK = 256  # records searched first for a list of keys; later blocks double
KEYS_BLOCK_MAX = 2_048
LIST_S = 0.2  # processor time after which a list of keys ends
NEIGHBOURS_MAX = 50
NEIGHBOURS_IN = 4_096  # newest events of shared keys that are read


class KeyEvent(FrozenStruct):
    """An event of a key with its decision, if it has one; `features` are those of the key's entity."""

    record: Record
    outcome: str | None = None
    score: float | None = None
    rules: Sequence[str] = ()
    features: JsonMapping = field(default_factory=dict)


class Timeline(FrozenStruct):
    """Events of a key, newest first: all that lie after the sequence number `looked_to`, up to the requested end.

    `is_cut` says that earlier ones may exist. `features` are the entity's at its newest decided event, `features_of`.
    """

    events: Sequence[KeyEvent]
    looked_to: int
    is_cut: bool
    features: JsonMapping = field(default_factory=dict)
    features_of: str = ""


class Neighbour(FrozenStruct):
    """Another key of the same entity, and the keys of other entities through which it is linked, with the number of
    shared events.

    `newest` is the newest of these events, with its outcome.
    """

    key: str
    through: Sequence[tuple[str, str]]
    events: int
    newest: KeyEvent


class KeyLinks(FrozenStruct):
    """The neighbors of a key. `left_out` are shared keys that more than MANY others share, which were not followed."""

    neighbours: Sequence[Neighbour]
    left_out: Sequence[tuple[str, str]]


class KeyTotals(FrozenStruct):
    """The events of a key, newest first; `is_whole` if these are all in the log."""

    records: Sequence[Record]
    is_whole: bool


class EntityLook:
    """Queries about keys of one log, for one version of a project."""

    def __init__(self, log: Log, definitions: Definitions) -> None:
        self._log = log
        self._definitions = definitions
        self._records = Records(definitions.events, definitions.settings.money_places)
        self._events = KeyEvents(log, definitions, self._records)
        self._keyed = self._events.keyed

    def timeline(self, entity: str, text: str, *, before: int | None = None, limit: int = 50) -> Timeline:
        """Return at most `limit` events of a key with sequence numbers below `before`.

        Raises: UsageError for an unknown entity, or a text that is no key of it.
        """
        key = key_of(self._definitions.events, entity, text)
        end = self._log.last_seq() if before is None else before - 1
        records, looked_to = self._newest(end, entity, key, limit)
        is_full = len(records) > limit or (len(records) == limit and records[-1].seq > 1)
        records = records[:limit]
        looked_to = records[-1].seq - 1 if is_full else looked_to
        rows = decisions_of(self._log, records)
        events = [_seen(record, rows.get(record.seq), entity) for record in records]
        newest = next((record for record in events if record.outcome is not None), None)
        if newest is None:
            return Timeline(events, looked_to, looked_to > 0)
        newest_event = f"{newest.record.type}/{newest.record.id}"
        return Timeline(events, looked_to, looked_to > 0, newest.features, newest_event)

    def earlier(self, entity: str, text: str, before: int) -> list[PastDecision]:
        """Return the latest earlier decisions of a key with a sequence number below `before`, oldest first.

        Raises and costs as `timeline` and `Past.earlier`.
        """
        key = key_of(self._definitions.events, entity, text)
        return Past(self._log, self._definitions, self._records).earlier({entity: key}, before, None)[entity]

    def newest_keys(
        self, entity: str, prefix: str = "", before: int | None = None, limit: int = 50
    ) -> tuple[dict[str, KeyEvent], int]:
        """Return keys with a prefix, each with its newest event, newest first, and the sequence number after which all
        records were read.

        Args:
            prefix: Ignores case. If it is a complete key, that comes first, however old its events are.
            before: Only keys whose newest event has a lower sequence number.

        Cost: at most LIST_S of processor time and one block, however long the log is; 100 µs for each key.
        """
        declared = self._definitions.events.entities[entity]
        is_plain = all(len(key) == 1 and isinstance(key[0], ThisField) for key in declared.keys.values())
        needle = to_json(prefix)[1:-1].lower() if is_plain else b""
        folded_prefix = prefix.casefold()
        newest_records = dict[str, Record]()
        visited = set[Key]()
        if prefix and before is None and read_key(prefix, declared) is not None:
            newest_records.update((prefix, event.record) for event in self.timeline(entity, prefix, limit=1).events)
        end = self._log.last_seq() if before is None else before - 1
        size = KEYS_BLOCK
        ends_s = time.thread_time() + LIST_S
        start_seq = self._log.pruned_to()
        while end > start_seq and len(newest_records) < limit and time.thread_time() < ends_s:
            start = max(start_seq, end - size)
            size = min(2 * size, KEYS_BLOCK_MAX)
            records = self._log.records_at([*lines_in(self._log, start, end, [needle])])
            end = start
            for seq in sorted(records, reverse=True):
                event = self._records.decode(records[seq])
                key = self._keyed.keys(event, [entity]).get(entity) if isinstance(event, Event) else None
                if key is None or key in visited:
                    continue
                visited.add(key)
                text = _text_of(key)
                if (
                    text.casefold().startswith(folded_prefix)
                    and text not in newest_records
                    and self._is_before(entity, key, before)
                ):
                    newest_records[text] = records[seq]
                    if len(newest_records) == limit:
                        end = seq - 1
                        break
        decided = decisions_of(self._log, newest_records.values())
        return {text: _seen(record, decided.get(record.seq), entity) for text, record in newest_records.items()}, end

    def _is_before(self, entity: str, key: Key, before: int | None) -> bool:
        """Whether all events of a key lie before a sequence number; otherwise an earlier page has the key."""
        if before is None:
            return True
        (seqs,) = self._events.index.places([(entity, key)]).values()
        return all(seq < before for seq in seqs[-1:])

    def totals(self, entity: str, text: str) -> KeyTotals:
        """Return the newest events of a key, at most TOTALS_MAX. Raises: as `timeline`."""
        key = key_of(self._definitions.events, entity, text)
        records, looked_to = self._newest(self._log.last_seq(), entity, key, TOTALS_MAX + 1)
        return KeyTotals(records[:TOTALS_MAX], looked_to == 0 and len(records) <= TOTALS_MAX)

    def links(self, entity: str, text: str, timeline: Timeline) -> KeyLinks:
        """Return keys of the same entity that share keys of other entities with the newest events of this one.

        Those that share the rarest keys come first: a device that two cards use means more than a merchant.
        """
        own_key = key_of(self._definitions.events, entity, text)
        left_out = list[tuple[str, Key]]()
        keys_to_follow = self._shared(entity, (event.record for event in timeline.events))
        shared: dict[tuple[str, Key], dict[Key, list[Record]]] = {}
        looked_at = 0
        for _, records in self._backwards(self._log.last_seq(), keys_to_follow):
            for record in records:
                self._share(record, entity, own_key, keys_to_follow, shared)
            for shared_key in [name for name, others in shared.items() if len(others) > MANY]:
                del shared[shared_key]
                left_out.append(shared_key)
                keys_to_follow[shared_key[0]].remove(shared_key[1])
            looked_at += len(records)
            if not any(keys_to_follow.values()) or looked_at >= NEIGHBOURS_IN:
                break
        return KeyLinks(self._neighbours(shared), sorted((name, _text_of(key)) for name, key in left_out))

    def entities_with(self, text: str) -> tuple[list[str], int]:
        """Return the entities with this key in some event, and the sequence number after which all records were read.

        Cost: as `KeyEvents.backwards`, whatever the number of entities.
        """
        keys = {name: read_key(text, entity) for name, entity in self._definitions.events.entities.items()}
        keys_to_find = {
            name: [key if isinstance(key, tuple) else (key,)] for name, key in keys.items() if key is not None
        }
        found_entities = set[str]()
        looked_to = self._log.last_seq()
        for start, records in self._backwards(looked_to, keys_to_find):
            looked_to = start
            for record in records:
                matching = [name for name, (key,) in keys_to_find.items() if self._keyed.has(record, name, key)]
                found_entities.update(matching)
                for name in matching:
                    del keys_to_find[name]
            if not keys_to_find:
                break
        return [name for name in keys if name in found_entities], looked_to

    def search(self, text: str, upto: int | None = None, *, may_see: bool = False) -> PartFound:
        return search_parts(self._log, self._definitions, text, upto, may_see=may_see)

    def _newest(self, end: int, entity: str, key: Key, count: int) -> tuple[list[Record], int]:
        """Read at least `count` events of a key up to a sequence number, or all, newest first; return also how far back
        it read.
        """
        events = list[Record]()
        looked_to = end
        for start, records in self._backwards(end, {entity: [key]}, count):
            looked_to = start
            events += records
            if len(events) >= count:
                break
        return sorted(events, key=lambda record: -record.seq), looked_to

    def _backwards(self, end: int, keys: Wanted, *first: int) -> Iterator[tuple[int, list[Record]]]:
        """Iterate as `KeyEvents.backwards`, but end at the store's first record if the lake cannot be reached."""
        looked_to = end
        try:
            for looked_to, records in self._events.backwards(end, keys, *first):
                yield looked_to, records
        except (TransientError, PrunedError):
            if looked_to > self._log.pruned_to():
                raise

    # ---- keys

    def _shared(self, entity: str, records: Iterable[Record]) -> dict[str, list[Key]]:
        """Return the keys of other entities at these events, for each entity the most frequent ones first."""
        other_entities = [name for name in self._definitions.events.entities if name != entity]
        counts: dict[str, Counter[Key]] = {}
        for record in records:
            event = self._records.decode(record)
            if isinstance(event, Event):
                for name, key in self._keyed.keys(event, other_entities).items():
                    counts.setdefault(name, Counter())[key] += 1
        return {name: [key for key, _ in count.most_common(SHARED_MAX)] for name, count in counts.items()}

    def _share(
        self,
        record: Record,
        entity: str,
        own_key: Key,
        keys_to_follow: Mapping[str, Sequence[Key]],
        shared: dict[tuple[str, Key], dict[Key, list[Record]]],
    ) -> None:
        event = self._records.decode(record)
        if not isinstance(event, Event):
            return
        keys = self._keyed.keys(event, [entity, *keys_to_follow])
        other = keys.pop(entity, None)
        if other is not None and other != own_key:
            for name, key in keys.items():
                if key in keys_to_follow[name]:
                    shared.setdefault((name, key), {}).setdefault(other, []).append(record)

    def _neighbours(self, shared: Mapping[tuple[str, Key], Mapping[Key, Sequence[Record]]]) -> list[Neighbour]:
        through: dict[Key, list[tuple[str, Key]]] = {}
        for shared_key, sharers in shared.items():
            for other in sharers:
                through.setdefault(other, []).append(shared_key)
        rarest = {other: min(len(shared[key]) for key in shared_key) for other, shared_key in through.items()}
        neighbors = sorted(through, key=lambda key: (rarest[key], -len(through[key]), _text_of(key)))[:NEIGHBOURS_MAX]
        events = {
            other: {record.seq: record for shared_key in through[other] for record in shared[shared_key][other]}
            for other in neighbors
        }
        newest = {other: records[max(records)] for other, records in events.items()}
        outcomes = {seq: row.outcome for seq, row in decisions_of(self._log, newest.values()).items()}
        last = {other: KeyEvent(record, outcomes.get(record.seq)) for other, record in newest.items()}
        through_texts = {other: sorted((name, _text_of(key)) for name, key in through[other]) for other in neighbors}
        return [
            Neighbour(_text_of(other), through_texts[other], len(events[other]), last[other]) for other in neighbors
        ]


class _ShownParts(Struct):
    """The parts of a decision that a list of events shows."""

    features: JsonObject
    score: float | None
    rules: list[str]
    reasons: list[JsonObject]


def _seen(record: Record, row: DecisionRow | None, entity: str) -> KeyEvent:
    if row is None:
        return KeyEvent(record)
    parts = stored(row.document, _ShownParts, f"the decision at sequence number {row.seq}")
    prefix = f"{entity}."
    features = {name: value for name, value in parts.features.items() if name.startswith(prefix)}
    rules = tuple(active_rules({"rules": parts.rules, "reasons": parts.reasons}))
    return KeyEvent(record, row.outcome, parts.score, rules, features)


def _text_of(key: Key) -> str:
    return key_text(key[0] if len(key) == 1 else key)


def summary_in(definitions: Definitions, record: Record) -> EventSummary:
    type_ = definitions.events.types.get(record.type)
    return summary_of(type_, fields_of(record), definitions.settings.currency)


def fields_of(record: Record) -> JsonObject:
    """Return the fields of an event as stored in the log."""
    fields: JsonObject = from_json(record.body)
    return fields


def keys_of(definitions: Definitions, record: Record) -> TextDict:
    """Return the event's keys that consist of one field, by entity."""
    fields = fields_of(record)
    keys = dict[str, str]()
    for entity, declared in definitions.events.entities.items():
        parts = declared.keys.get(record.type, ())
        if len(parts) == 1 and isinstance(parts[0], ThisField) and fields.get(parts[0].name) is not None:
            keys[entity] = str(fields[parts[0].name])
    return keys
