"""Earlier decisions of an event's entities, with their events.

They are read backwards from the event, until every entity has enough (`key_events`). For the event's card, device or
customer the earlier amounts are collected too, with the limit of a rule that hit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

import msgspec

from shroff.engine.stored import damaged, stored
from shroff.events.definitions import EventType
from shroff.events.event import Event, read_shown_time
from shroff.events.summary import PAID
from shroff.explain.key_events import KeyEvents, decisions_of
from shroff.features.naive import Key
from shroff.json_types import JsonMapping, JsonObject, TextDict
from shroff.language.aggregates import AGGREGATES
from shroff.language.expression import (
    Aggregate,
    FeatureValue,
    ItemField,
    Node,
    Score,
    ThisField,
    beside_literals,
    unconverted,
)
from shroff.language.row import Evaluate, Reference, compile_row
from shroff.language.types import Type
from shroff.language.values import DAY_MS, Value, parse_decimal, rescale_half_even
from shroff.log.history import Records
from shroff.project.definitions import Definitions
from shroff.runtime.progress import Progress
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import Log, Record

EARLIER_MAX = 100  # earlier decisions of an entity that are read: each is a random disk access
OF_ALL_MAX = 1_000  # earlier decisions of all entities that are read, which are stored side by side
_OF_ALL_BLOCK = 1_536
REACH_MS = 30 * DAY_MS  # for amounts
TYPICAL_MIN = 5  # values needed for a typical range
_LOW_PERCENTILE = 5
_HIGH_PERCENTILE = 95
_LIMITS = frozenset(["<", "<=", ">", ">="])


class PastDecision(FrozenStruct):
    """A decided event: its fields, and the features in its decision, as values and as recorded."""

    fields: Mapping[str, Value]
    features: Mapping[str, Value]
    shown: JsonMapping
    time_ms: int
    score: float | None = None
    event: str = ""  # event type


def reader_of(node: Node, reference: Reference) -> Callable[[PastDecision], Value]:
    """Compile an expression over `this` into a function of a decided event."""

    def leaf(part: Node) -> Evaluate:
        if isinstance(part, FeatureValue):
            return lambda seen: seen.features.get(part.name)
        if isinstance(part, Score):
            return lambda seen: seen.score
        assert isinstance(part, ThisField), f"{type(part).__name__} is not read from a decision"
        return lambda seen: seen.fields.get(part.name)

    evaluate: Callable[[PastDecision], Value] = compile_row(node, leaf, reference, time=lambda seen: seen.time_ms)
    return evaluate


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the 5th and the 95th percentile of at least one value, by the nearest rank away from the median."""
    rising = sorted(values)
    last = len(rising) - 1
    return rising[math.floor(_LOW_PERCENTILE * last / 100)], rising[math.ceil(_HIGH_PERCENTILE * last / 100)]


def typical_range(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the typical range of earlier values; None with fewer than `TYPICAL_MIN`.

    All pages use this range; `typical_range` in `operations.numbers` defines it.
    """
    return percentiles(values) if len(values) >= TYPICAL_MIN else None


class Past:
    """Finds the earlier decisions of an event's entities."""

    def __init__(self, log: Log, definitions: Definitions, records: Records) -> None:
        self._log = log
        self._definitions = definitions
        self._records = records
        self._events = KeyEvents(log, definitions, records)
        self._keyed = self._events.keyed

    def keys(self, event: Event, entities: Iterable[str]) -> dict[str, Key]:
        """Return the event's key of each of these entities, without entities for which it has none."""
        return self._keyed.keys(event, entities)

    def event(self, record: Record) -> Event:
        event = self._records.decode(record)
        assert isinstance(event, Event)
        return event

    def seen(self, record: Record, document: JsonMapping) -> PastDecision:
        """Combine a record and its decision as values. Features whose type has changed since then are missing.

        Features are parsed on first use, which raises StorageError for a damaged value.
        """
        event = self.event(record)
        shown = document["features"]
        is_same = document["versions"].get("definitions") == self._definitions.versions.definitions
        fields = dict(zip(self._definitions.events.types[event.type].field_names, event.values, strict=True))
        features = _FeatureValues(shown, self._definitions, is_same=is_same)
        return PastDecision(fields, features, shown, event.time_ms, document["score"], event.type)

    def earlier(self, keys: Mapping[str, Key], before: int, progress: Progress | None) -> dict[str, list[PastDecision]]:
        """Return the latest earlier decisions of each key, in log order, by entity.

        Cost: see `KeyEvents.backwards`.
        """
        wanted = {entity: [key] for entity, key in keys.items()}
        records_by_entity: dict[str, list[Record]] = {entity: [] for entity in keys}
        end = before - 1
        for looked_to, records in self._events.backwards(end, wanted):
            for record in records:
                if record.decided:
                    self._sort_in(record, wanted, records_by_entity)
            if progress is not None:
                progress(end - looked_to)
            end = looked_to
            if not wanted:
                break
        decided = self._decided({record.seq: record for records in records_by_entity.values() for record in records})
        return {
            entity: [decided[record.seq] for record in reversed(records) if record.seq in decided]
            for entity, records in records_by_entity.items()
        }

    def of_all(self, event: str, before: int) -> list[PastDecision]:
        """Return the latest earlier decisions of an event type, among the last few thousand records."""
        records: list[Record] = []
        end = before - 1
        while end > 0 and before - end <= 10 * _OF_ALL_BLOCK and len(records) < OF_ALL_MAX:
            start = max(0, end - _OF_ALL_BLOCK)
            block = [record for records in self._log.read(start, end) for record in records]
            records = [
                *(record for record in block if record.decided and (record.kind, record.type) == ("event", event)),
                *records,
            ]
            end = start
        return [*self._decided({record.seq: record for record in records[-OF_ALL_MAX:]}).values()]

    def _decided(self, records: Mapping[int, Record]) -> dict[int, PastDecision]:
        shown = {
            seq: stored(row.document, _ComparedParts, f"the decision at sequence number {seq}")
            for seq, row in decisions_of(self._log, records.values()).items()
        }
        return {
            seq: self.seen(record, msgspec.structs.asdict(shown[seq]))
            for seq, record in records.items()
            if seq in shown
        }

    def _sort_in(self, record: Record, wanted: dict[str, list[Key]], found: Mapping[str, list[Record]]) -> None:
        """Collect a record for each entity whose key it has; remove entities that have enough from `wanted`."""
        for entity, (key,) in list(wanted.items()):
            if self._keyed.has(record, entity, key):
                found[entity].append(record)
                if len(found[entity]) == EARLIER_MAX:
                    del wanted[entity]


class _ComparedParts(msgspec.Struct):
    """The parts of a decision that are compared with others."""

    features: JsonObject
    versions: TextDict
    score: float | None


class _FeatureValues(Mapping[str, Value]):
    """The features of a decision as values, each parsed on first use."""

    def __init__(self, shown: JsonMapping, definitions: Definitions, *, is_same: bool) -> None:
        self._shown = shown
        self._definitions = definitions
        self._is_same = is_same
        self._read: dict[str, Value] = {}

    def __getitem__(self, name: str) -> Value:
        if name not in self._read:
            shown = self._shown[name]
            type_ = self._definitions.features[name].type
            self._read[name] = _read(name, shown, type_, is_same=self._is_same)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._shown if name in self._definitions.features)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _read(name: str, shown: object, type_: Type, *, is_same: bool) -> Value:
    """Parse a recorded value. If it is damaged, raise StorageError for `is_same` definitions, else return None."""
    if shown is None:
        return None
    try:
        match type_.kind:
            case "integer":
                return int(str(shown))
            case "money" | "number":
                return rescale_half_even(*parse_decimal(str(shown)), type_.places)
            case "time":
                return read_shown_time(str(shown))
            case "duration":
                return round(1_000 * float(str(shown)))
            case "real":
                return float(str(shown))
            case "boolean":
                return bool(shown)
            case _:
                return str(shown)
    except (ValueError, ArithmeticError):
        if not is_same:
            return None
        raise damaged(f"a recorded value of {name}", f"it is no {type_}") from None


# ---- amounts


class Amount(FrozenStruct):
    time_ms: int
    value: Decimal


class AmountsBefore(FrozenStruct):
    """Amounts of one key up to a decision.

    Args:
        entity: Entity of the key: that of a rule that hit, else the first one with earlier amounts.
        own: Amount of the decision itself.
        earlier: Amounts of decided events of the same type in the 30 days before, by time.
        typical: Typical range of the amounts of the latest earlier decisions, however old; None with too few.
        typical_of: Number of these amounts.
        is_cut: Whether the 30 days may have more, because the number of decisions read is limited.
        rule: First rule that hit and compares amounts with a number, `limit`; empty if none does.
    """

    entity: str
    own: Amount
    earlier: Sequence[Amount]
    typical: tuple[float, float] | None
    typical_of: int
    is_cut: bool
    rule: str = ""
    limit: Decimal | None = None


def amounts_before(
    definitions: Definitions,
    event: str,
    seen: PastDecision,
    earlier: Mapping[str, Sequence[PastDecision]],
    hits: Iterable[str],
) -> AmountsBefore | None:
    """Return the amounts before an event of its card, device or other key. Payees are left out, since many pay them.

    None if the event has no amount, or no such key has an earlier one.

    Args:
        earlier: Earlier decisions by entity, in log order.
        hits: Ids of the rules that hit.
    """
    shape = definitions.events.types[event]
    hit = [rule for rule in definitions.rules if rule.id in set(hits)]
    name = shape.amount_field.name if shape.amount_field else ""
    own_amount = _amount(seen, name, shape)
    if own_amount is None:
        return None
    entities = dict.fromkeys([*(rule.by for rule in hit), *definitions.events.entities])
    for entity in (entity for entity in entities if not any(word in entity for word in PAID)):
        past = earlier.get(entity, ())
        of_past = [(record.event, _amount(record, name, shape)) for record in past]
        amounts = [(of_type, amount) for of_type, amount in of_past if amount is not None]
        recent_amounts = [
            amount
            for of_type, amount in amounts
            if of_type == event and own_amount.time_ms - REACH_MS < amount.time_ms <= own_amount.time_ms
        ]
        if recent_amounts:
            limits = ((rule.id, _limit(rule.when, name, definitions)) for rule in hit)
            rule, limit = next((pair for pair in limits if pair[1] is not None), ("", None))
            ordered = sorted(recent_amounts, key=lambda amount: amount.time_ms)
            is_cut = len(past) == EARLIER_MAX and own_amount.time_ms - REACH_MS < past[0].time_ms
            typical = typical_range([float(amount.value) for _, amount in amounts])
            return AmountsBefore(entity, own_amount, ordered, typical, len(amounts), is_cut, rule, limit)
    return None


def _amount(seen: PastDecision, name: str, shape: EventType) -> Amount | None:
    value = seen.fields.get(name)
    places = next((field.type.places for field in shape.fields if field.name == name), 0)
    return Amount(seen.time_ms, Decimal(value).scaleb(-places)) if isinstance(value, int) else None


def _limit(condition: Node, name: str, definitions: Definitions) -> Decimal | None:
    """Return the first number that a condition compares with the amount, or with the largest or smallest amount of a
    window.
    """

    def is_amount(node: Node) -> bool:
        if isinstance(node, FeatureValue):
            feature_node = definitions.features[node.name].node
            if (
                not isinstance(feature_node, Aggregate)
                or feature_node.argument is None
                or AGGREGATES[feature_node.function].state != "extremes"
            ):
                return False
            item = unconverted(feature_node.argument)
            return isinstance(item, ItemField) and item.name == name
        return isinstance(node, ThisField) and node.name == name

    for part, side, number in beside_literals(condition):
        if part.operator in _LIMITS and is_amount(side) and number.type.is_exact:
            return Decimal(str(number.value)).scaleb(-number.type.places)
    return None
