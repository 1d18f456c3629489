"""Earlier decisions of an event's entities, with their events.

They are looked for backwards from the event, until every entity has enough (`key_events`). Of the same card, device
or customer their amounts are kept, with what a rule that hit compares them with.
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

EARLIER_MAX = 100  # of an entity's earlier decisions the latest ones are looked at: each is a place of the disk
OF_ALL_MAX = 1_000  # of everybody's, which lie side by side
_OF_ALL_BLOCK = 1_536
REACH_MS = 30 * DAY_MS  # of amounts
TYPICAL_MIN = 5  # values; with fewer there is no typical range
_LOW_PERCENTILE = 5
_HIGH_PERCENTILE = 95
_LIMITS = frozenset(["<", "<=", ">", ">="])


class PastDecision(FrozenStruct):
    """A decided event: its fields, and the features that its decision shows, as values and as shown."""

    fields: Mapping[str, Value]
    features: Mapping[str, Value]
    shown: JsonMapping
    time_ms: int
    score: float | None = None
    event: str = ""  # its type


def reader_of(node: Node, reference: Reference) -> Callable[[PastDecision], Value]:
    """The function that gives the value of an expression over `this` for a decided event."""

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
    """Return the typical range of values of earlier decisions, None with fewer than `TYPICAL_MIN`.

    Every page takes it from here: `typical_range` in `operations.numbers` says what it is.
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
        """The key of each of these entities at an event; those without one are left out."""
        return self._keyed.keys(event, entities)

    def event(self, record: Record) -> Event:
        """The event of a record that was decided."""
        event = self._records.decode(record)
        assert isinstance(event, Event)
        return event

    def seen(self, record: Record, document: JsonMapping) -> PastDecision:
        """A record with its decision, as values; of an earlier version what is of another type now counts as missing.

        Features are read when they are asked for; this raises StorageError where a value cannot be read.
        """
        event = self.event(record)
        shown = document["features"]
        is_same = document["versions"].get("definitions") == self._definitions.versions.definitions
        fields = dict(zip(self._definitions.events.types[event.type].field_names, event.values, strict=True))
        features = _FeatureValues(shown, self._definitions, is_same=is_same)
        return PastDecision(fields, features, shown, event.time_ms, document["score"], event.type)

    def earlier(self, keys: Mapping[str, Key], before: int, progress: Progress | None) -> dict[str, list[PastDecision]]:
        """For each entity the latest earlier decisions of its key, in the order of the log.

        Cost: see `KeyEvents.backwards`.
        """
        wanted = {entity: [key] for entity, key in keys.items()}
        found: dict[str, list[Record]] = {entity: [] for entity in keys}
        end = before - 1
        for looked_to, records in self._events.backwards(end, wanted):
            for record in records:
                if record.decided:
                    self._sort_in(record, wanted, found)
            if progress is not None:
                progress(end - looked_to)
            end = looked_to
            if not wanted:
                break
        decided = self._decided({record.seq: record for records in found.values() for record in records})
        return {
            entity: [decided[record.seq] for record in reversed(records) if record.seq in decided]
            for entity, records in found.items()
        }

    def of_all(self, event: str, before: int) -> list[PastDecision]:
        """The latest earlier decisions of a type, whosever they are; of the last few thousand places only."""
        found: list[Record] = []
        end = before - 1
        while end > 0 and before - end <= 10 * _OF_ALL_BLOCK and len(found) < OF_ALL_MAX:
            start = max(0, end - _OF_ALL_BLOCK)
            block = [record for records in self._log.read(start, end) for record in records]
            found = [
                *(record for record in block if record.decided and (record.kind, record.type) == ("event", event)),
                *found,
            ]
            end = start
        return [*self._decided({record.seq: record for record in found[-OF_ALL_MAX:]}).values()]

    def _decided(self, records: Mapping[int, Record]) -> dict[int, PastDecision]:
        """The decisions of records, both by sequence number."""
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
        """Keep a record for the entities whose key it has; one that has enough is not wanted any more."""
        for entity, (key,) in list(wanted.items()):
            if self._keyed.has(record, entity, key):
                found[entity].append(record)
                if len(found[entity]) == EARLIER_MAX:
                    del wanted[entity]


class _ComparedParts(msgspec.Struct):
    """The parts of a decision that are held against those of others."""

    features: JsonObject
    versions: TextDict
    score: float | None


class _FeatureValues(Mapping[str, Value]):
    """The features that a decision shows, as values; each is read when it is first asked for."""

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
    """A value from the form in which a decision of the same definitions, or of others, shows it."""
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
    """The amount of an event, and when it happened."""

    time_ms: int
    value: Decimal


class AmountsBefore(FrozenStruct):
    """Amounts of one key up to a decision.

    Args:
        entity: Whose key it is: that of the rule that hit, else the event's first one.
        own: That of the decision itself.
        earlier: Those of decided events of the same type in the 30 days before, by time.
        typical: The typical range of the amounts of the latest earlier decisions, however old; None with too few.
        typical_of: The number of these amounts.
        is_cut: There may be more in the 30 days: only so many decisions, of any type, are looked at.
        rule: The first rule that hit and compares amounts with a number, `limit`; empty where none does.
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
    """The amounts before an event of its card, device or other key, but not of who was paid, whom many pay.

    None where the event has no amount, or no such key has another one.

    Args:
        earlier: Earlier decisions by entity, in the order of the log.
        hits: Ids of the rules that hit.
    """
    shape = definitions.events.types[event]
    hit = [rule for rule in definitions.rules if rule.id in set(hits)]
    name = shape.amount_field.name if shape.amount_field else ""
    own = _amount(seen, name, shape)
    if own is None:
        return None
    entities = dict.fromkeys([*(rule.by for rule in hit), *definitions.events.entities])
    for entity in (entity for entity in entities if not any(word in entity for word in PAID)):
        past = earlier.get(entity, ())
        of_past = [(record.event, _amount(record, name, shape)) for record in past]
        amounts = [(of_type, amount) for of_type, amount in of_past if amount is not None]
        found = [
            amount
            for of_type, amount in amounts
            if of_type == event and own.time_ms - REACH_MS < amount.time_ms <= own.time_ms
        ]
        if found:
            limits = ((rule.id, _limit(rule.when, name, definitions)) for rule in hit)
            rule, limit = next((pair for pair in limits if pair[1] is not None), ("", None))
            ordered = sorted(found, key=lambda amount: amount.time_ms)
            is_cut = len(past) == EARLIER_MAX and own.time_ms - REACH_MS < past[0].time_ms
            typical = typical_range([float(amount.value) for _, amount in amounts])
            return AmountsBefore(entity, own, ordered, typical, len(amounts), is_cut, rule, limit)
    return None


def _amount(seen: PastDecision, name: str, shape: EventType) -> Amount | None:
    value = seen.fields.get(name)
    places = next((field.type.places for field in shape.fields if field.name == name), 0)
    return Amount(seen.time_ms, Decimal(value).scaleb(-places)) if isinstance(value, int) else None


def _limit(condition: Node, name: str, definitions: Definitions) -> Decimal | None:
    """The first number that a condition compares the amount with, or the largest or least one of a window."""

    def is_amount(node: Node) -> bool:
        if isinstance(node, FeatureValue):
            of = definitions.features[node.name].node
            if not isinstance(of, Aggregate) or of.argument is None or AGGREGATES[of.function].state != "extremes":
                return False
            item = unconverted(of.argument)
            return isinstance(item, ItemField) and item.name == name
        return isinstance(node, ThisField) and node.name == name

    for part, side, number in beside_literals(condition):
        if part.operator in _LIMITS and is_amount(side) and number.type.is_exact:
            return Decimal(str(number.value)).scaleb(-number.type.places)
    return None
