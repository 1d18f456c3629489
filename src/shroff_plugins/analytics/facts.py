"""Facts: the features of one key of an entity at a moment, from the log.

The moment is represented by a probe: an event after the end of the log that has only this key and this time. Each
feature has the value that it would have at the probe (`features.naive`), over the events of the key up to that time.
The key index finds these, so the cost depends on the events of the key and not on the log.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from msgspec.json import decode as from_json

from shroff.errors import UsageError, nearest
from shroff.json_types import TextDict
from shroff.plugins.events import (
    Entity,
    Event,
    Events,
    EventType,
    Field,
    LogEvent,
    Scalar,
    TimeText,
    canonical_value,
    time_text,
)
from shroff.plugins.features import Computed, Feature, Online, key_of, values_of, wanted_features
from shroff.plugins.language import (
    TEXT,
    TIME,
    Aggregate,
    FeatureValue,
    FieldType,
    ItemFeature,
    Node,
    ThisField,
    Value,
    aggregates,
    fields_of_this,
    walk,
)
from shroff.plugins.log import KeyEvents, KeyFinder, Log, Record, Records, with_past_look_ups
from shroff.plugins.operations import OperationAnswer, many, one_line, shown, table
from shroff.plugins.project import Definitions, read_by
from shroff.plugins.values import FrozenStruct, replace

if TYPE_CHECKING:
    from shroff.plugins.features import Frame

EVENTS_MAX = 100_000  # of a key to read: about 10 s
LOOK_BACK = 1_000_000  # records to read if a feature has `matching`: about 3 s
_PROBE = "(probe)"  # cannot be the name of an event type


class FactsQuestion(FrozenStruct):
    """A query of the features of a key.

    Args:
        entity: Entity of the features, such as `card`.
        key: The key as text, as in the log; if it has several parts, a JSON list.
        as_of_ms: The moment; None for the time of the log's newest event.
        features: Names such as `card.spent_24h`; empty for all of the entity.
        since_ms: Ignore events before this time: one time for all features, or one for each feature named.
        seq: Use only records before this sequence number, by default at the time of its record, as its decision did.
        known_at_ms: Use only what had arrived by this time, which is also the default moment.
    """

    entity: str
    key: str
    as_of_ms: int | None = None
    features: tuple[str, ...] = ()
    since_ms: int | Mapping[str, int] | None = None
    seq: int | None = None
    known_at_ms: int | None = None


class FactsDocument(OperationAnswer):
    """The features of a key at a point in time.

    `events` is the number of events and labels of the key up to then, 0 for a key that the log never saw. `left_out`
    names features without a value between events, with the reason.
    """

    entity: str
    key: str
    as_of: TimeText
    events: int
    features: dict[str, Scalar]
    left_out: TextDict
    NEXT: ClassVar = ("shroff features",)

    def text(self) -> str:
        rows = [(name, one_line(shown(value))) for name, value in self.features.items()]
        head = f"{self.entity} {one_line(self.key)} at {self.as_of}: {many(self.events, 'event')} read"
        left_out = [f"  {name} {reason}" for name, reason in self.left_out.items()]
        parts = [head, table(rows) if rows else "  This entity has no feature that has a value between events."]
        return "\n".join([*parts, *(["Left out:", *left_out] if left_out else [])])


def facts_of(
    question: FactsQuestion, definitions: Definitions, log: Log, now_ms: int, most: int = EVENTS_MAX
) -> FactsDocument:
    """Compute the features of a key at a moment.

    Args:
        now_ms: The moment if the log has no event yet.
        most: Largest number of events of the key to read.

    Raises: UsageError for an unknown entity, key, feature or sequence number, for a feature without a value between
    events, and for a key with more events; StateError if a part of the log cannot be reached.
    Cost: 100 µs an event of the key; see `KeyEvents.backwards` for finding them.
    """
    as_of_ms, upto = _moment(question, log, now_ms)
    definitions = with_past_look_ups(log, definitions, question.as_of_ms, upto)
    probe = _Probe(definitions, question)
    history = [event for event in _History(log, definitions, most, upto).of(probe) if event.time_ms <= as_of_ms]
    values = probe.values(history, as_of_ms)
    decimals = definitions.settings.money_places
    features = {
        name: from_json(canonical_value(values[name], definitions.features[name].type, decimals))
        for name in sorted(values)
    }
    return FactsDocument(
        entity=question.entity,
        key=question.key,
        as_of=time_text(as_of_ms),
        events=len(history),
        features=features,
        left_out=probe.left_out,
    )


def _moment(question: FactsQuestion, log: Log, now_ms: int) -> tuple[int, int]:
    """Return the moment of a query, and the last sequence number to use. Raises: UsageError."""
    as_of_ms = question.as_of_ms
    seq = question.seq
    known_ms = question.known_at_ms
    last = log.last_seq()
    if seq is not None:
        if known_ms is not None:
            raise UsageError("give --seq or --known-at, not both.")
        record = log.records_at([seq]).get(seq)
        if record is None:
            raise UsageError(f"the log has no record at sequence number {seq}; its last one is {last}.")
        return record.time_ms if as_of_ms is None else as_of_ms, seq - 1
    if known_ms is not None:
        last = bisect_right(range(1, last + 1), known_ms, key=lambda seq: log.ingested(seq - 1, seq)[0][1] or 0)
    return next(at_ms for at_ms in (as_of_ms, known_ms, log.watermark_ms(), now_ms) if at_ms is not None), last


class _Probe:
    def __init__(self, definitions: Definitions, question: FactsQuestion) -> None:
        self.definitions = definitions
        self.entity = question.entity
        self.key = key_of(definitions.events, question.entity, question.key)
        self._type, self.events = _add_probe(definitions.events, question.entity)
        self._fields = frozenset(self._type.field_names)
        self._since_ms = question.since_ms
        entity_features = [name for name, feature in definitions.features.items() if feature.entity == question.entity]
        _check_names(question, entity_features)
        reasons = {
            name: self._why_not(definitions.features[name].node) for name in question.features or entity_features
        }
        self.left_out = {name: reason for name, reason in sorted(reasons.items()) if reason}
        if question.features and self.left_out:
            name, reason = next(iter(self.left_out.items()))
            raise UsageError(f"{name} has no value between events: it {reason}. Leave it out.")
        self.wanted = [name for name in entity_features if name in reasons and not reasons[name]]
        reads = read_by((definitions.features[name].node for name in self.wanted), definitions.features.get)
        read_names = reads.features.keys() | set(self.wanted)
        self.needed = {name: feature for name, feature in definitions.features.items() if name in read_names}
        self.aggregates = [aggregate for feature in self.needed.values() for aggregate in aggregates(feature.node)]

    def _why_not(self, node: Node) -> str:
        """Return why events of this key alone do not determine an expression; empty if they do."""
        missing = sorted(fields_of_this(node) - self._fields)
        if missing:
            return f"reads this.{missing[0]}, a field of the event that is decided"
        features = self.definitions.features
        for part in walk(node):
            if isinstance(part, FeatureValue):
                other = features[part.name]
                if other.entity != self.entity:
                    return f"reads {part.name}, and the key of its {other.entity} is known at an event only"
                if reason := self._why_not(other.node):
                    return reason
            elif isinstance(part, Aggregate) and part.via:
                return f"looks at events that other keys of {self.entity} share a value with"
            elif isinstance(part, Aggregate) and part.matching:
                if part.event == "label" or any(isinstance(node_, ItemFeature) for node_ in walk(part)):
                    return f"looks at {part.event} events of other keys of {self.entity}"
            elif isinstance(part, ItemFeature):
                read_features = read_by([part], features.get).features.values()
                if strange := sorted(feature.name for feature in read_features if feature.entity != self.entity):
                    return f"reads what {strange[0]} was at earlier events, which other keys decide"
        return ""

    def values(self, history: Sequence[LogEvent], as_of_ms: int) -> dict[str, Value]:
        """Compute the features at the probe after a history; those with the same cut-off together.

        A cut-off for all features works as if the log began there. A cut-off for one feature applies to the events that
        it counts, like `since flag` in a rule: for a sum of `f of withdrawal` these are the withdrawals, while *f*
        still uses all earlier events.
        """
        cuts: dict[tuple[int | None, frozenset[str] | None], list[str]] = {}
        since = self._since_ms
        for name in self.wanted:
            cut = since.get(name) if isinstance(since, Mapping) else since
            types = frozenset(self._counted_types(name)) if isinstance(since, Mapping) else None
            cuts.setdefault((cut, types), []).append(name)
        values: dict[str, Value] = {}
        for (cut, types), names in cuts.items():
            events = [
                event
                for event in history
                if cut is None or event.time_ms >= cut or (types is not None and event.type not in types)
            ]
            frame = self._compute_at_probe(events, as_of_ms)
            values |= {name: values_of(frame.computed[name])[0] for name in names}
        return values

    def _counted_types(self, name: str) -> Iterator[str]:
        for node in walk(self.definitions.features[name].node):
            if isinstance(node, Aggregate):
                yield node.event
            elif isinstance(node, FeatureValue):
                yield from self._counted_types(node.name)

    def _compute_at_probe(self, history: Sequence[LogEvent], as_of_ms: int) -> Frame:
        read_at = wanted_features(self.needed, [])
        computed = [
            Computed(
                name,
                feature.node,
                feature.entity,
                self._events_of(feature, {event_type for feature_name, event_type in read_at if feature_name == name}),
            )
            for name, feature in self.needed.items()
        ]
        # so large that no event is too late
        behind_ms = as_of_ms - min((event.time_ms for event in history), default=as_of_ms)
        online = Online(self.events, computed, self.definitions.reference, behind_ms)
        key_parts = iter(self.key)
        values: list[Value] = []
        for name, field in zip(self._type.field_names, self._type.fields, strict=True):
            if name.startswith("("):
                values.append(next(key_parts))
            else:
                values.append(as_of_ms if field.type == TIME else "")
        return online.compute([*history, Event(_PROBE, "", as_of_ms, tuple(values))])[_PROBE]

    def _events_of(self, feature: Feature, read_at: Iterable[str]) -> frozenset[str]:
        is_at_probe = fields_of_this(feature.node) <= self._fields
        return frozenset([*(feature.events & set(read_at)), *([_PROBE] if is_at_probe else [])])


class _History:
    def __init__(self, log: Log, definitions: Definitions, limit: int, upto: int) -> None:
        self._log = log
        self._definitions = definitions
        self._most = limit
        self._upto = upto
        self._records = Records(definitions.events, definitions.settings.money_places)

    def of(self, probe: _Probe) -> list[LogEvent]:
        """Return every event of the key in log order, with its labels if a feature reads labels."""
        records = self._events(probe)
        if records and any(aggregate.event == "label" for aggregate in probe.aggregates):
            records |= self._labels({f"{event.type}/{event.id}" for event in records.values()}, min(records) - 1)
        events = (self._records.decode(records[seq]) for seq in sorted(records))
        return [event for event in events if event is not None]

    def _events(self, probe: _Probe) -> dict[int, Record]:
        more = _matching_entities(probe)
        end = self._upto
        keys = {name: [probe.key] for name in (probe.entity, *more)}
        records_by_seq = dict[int, Record]()
        if more:
            looked_to = max(0, end - LOOK_BACK)
            parts = self._read_unindexed(end, keys, more)
        else:
            looked_to = end
            parts = KeyEvents(self._log, self._definitions, self._records).backwards(end, keys)
        for start, records in parts:
            looked_to = min(looked_to, start)
            records_by_seq |= {record.seq: record for record in records}
            if len(records_by_seq) > self._most:
                raise UsageError(
                    f"this {probe.entity} has more than {self._most:,} events, and so many are read for its facts. "
                    "'shroff features' computes the features of all events."
                )
        if looked_to > 0:
            hint = "'shroff ingest' or 'shroff serve' indexes it for the entity as it is declared now"
            hint = f"the newest {LOOK_BACK:,} are read for 'matching'" if more else hint
            raise UsageError(f"the log was searched back to sequence number {looked_to:,} only: {hint}.")
        return records_by_seq

    def _read_unindexed(
        self, end: int, keys: Mapping[str, Sequence[tuple[Value, ...]]], more: Mapping[str, Entity]
    ) -> Iterator[tuple[int, list[Record]]]:
        """Yield events with the key in other fields, which no index has. Cost: 3 µs a record."""
        events = replace(self._definitions.events, entities={**self._definitions.events.entities, **more})
        keyed = KeyFinder(replace(self._definitions, events=events), self._records)
        for records in self._log.read(max(0, end - LOOK_BACK), end):
            has_key = (
                record for record in records if any(keyed.has(record, name, key) for name, (key,) in keys.items())
            )
            yield end, list(has_key)

    def _labels(self, event_refs: set[str], after: int) -> dict[int, Record]:
        """Return the labels of these events. Cost: 3 µs for each label of the log after the first of them."""
        return {
            record.seq: record
            for records in self._log.labels_after(after, self._upto)
            for record in records
            if record.id.rpartition("#")[0] in event_refs
        }


def _add_probe(events: Events, entity: str) -> tuple[EventType, Events]:
    """Return the type of the probe, and all declarations with it.

    It has the time fields of the entity's types, so that `this.paid_at` is the moment, and the parts of the key.
    """
    keys = events.entities[entity].keys
    types = [events.types[name] for name in keys]
    field_names = {field.name for type_ in types for field in type_.fields if field.name != type_.time_field}
    times = dict.fromkeys(type_.time_field for type_ in types if type_.time_field not in field_names)
    parts = next(iter(keys.values()), ())
    key_fields = tuple(ThisField(part.type, f"({number})") for number, part in enumerate(parts))
    probe_fields = [
        ("[id]", TEXT),
        ("[time]", TIME),
        *((name, TIME) for name in times),
        *((field.name, field.type) for field in key_fields),
    ]
    probe = EventType(
        _PROBE,
        "[id]",
        "[time]",
        is_decided=False,
        fields=tuple(Field(name, FieldType(type_)) for name, type_ in probe_fields),
    )
    with_key = replace(events.entities[entity], keys={**keys, _PROBE: key_fields})
    return probe, replace(events, types={**events.types, _PROBE: probe}, entities={**events.entities, entity: with_key})


def _matching_entities(probe: _Probe) -> dict[str, Entity]:
    """Return, for each field that is `matching` the key, an entity whose key is that field."""
    entities = dict[str, Entity]()
    for aggregate in probe.aggregates:
        if aggregate.matching:
            name = f"{aggregate.event} {aggregate.matching}"
            type_ = probe.definitions.events.types[aggregate.event]
            part = ThisField(type_.fields[type_.at(aggregate.matching)].type, aggregate.matching)
            entities[name] = Entity(name, {aggregate.event: (part,)})
    return entities


def _check_names(question: FactsQuestion, entity_features: Sequence[str]) -> None:
    cut = question.since_ms if isinstance(question.since_ms, Mapping) else ()
    for name in (*question.features, *cut):
        if name not in entity_features:
            hint = nearest(name, entity_features) or f"There is {', '.join(entity_features) or 'none'}."
            raise UsageError(f"{question.entity} has no feature {name!r}. {hint}")
