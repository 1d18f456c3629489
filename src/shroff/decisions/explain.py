"""Why a decision came out as it did: its features beside what this entity's were before, and every rule's words.

All of it from the log, by the definitions that were in force at the decision's place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from typing import Any, Final

import msgspec

from shroff.decisions.decision import html_table
from shroff.decisions.definitions import Definitions, load_definitions
from shroff.decisions.history import Control, Records
from shroff.decisions.stored import damaged, decision_document, telling_damage
from shroff.errors import ReplayError
from shroff.events.event import Event, canonical_value
from shroff.features.key_texts import key_text
from shroff.features.naive import Key, Naive
from shroff.language.expression import ThisField
from shroff.language.printing import text_of
from shroff.rules.wording import sentence
from shroff.streams.log import DecisionRow, Log, Record

EARLIER_MAX: Final = 1_000  # of an entity's earlier decisions the latest ones are looked at
_NUMERIC: Final = frozenset(["integer", "number", "money", "real", "duration"])


class Usual(msgspec.Struct, frozen=True):
    """What a feature was at this entity's earlier decisions; values as a decision shows them."""

    count: int
    lowest: object
    median: object
    highest: object


class FeatureLine(msgspec.Struct, frozen=True):
    """One feature of a decision. `key` is None where the event has none of the entity."""

    name: str
    definition: str
    entity: str
    key: str | None
    value: object
    earlier: Usual | None


class RuleLine(msgspec.Struct, frozen=True):
    """One rule that looked at the event. `result`: hit, hit in shadow, or no hit."""

    id: str
    effect: str
    result: str
    text: str


class Explanation(msgspec.Struct, frozen=True):
    """What `explain` adds to a decision."""

    features: list[FeatureLine]
    rules: list[RuleLine]


@dataclass(frozen=True, slots=True)
class Explained:
    """A decision with its explanation."""

    row: DecisionRow
    document: dict[str, Any]
    explanation: Explanation

    def json(self) -> bytes:
        """The decision's bytes as they were answered, with `explanation` behind them."""
        return self.row.document[:-1] + b',"explanation":' + msgspec.json.encode(self.explanation) + b"}"

    def _repr_html_(self) -> str:
        """How a notebook shows it: the outcome, the features beside earlier ones, and the rules in words."""
        title = (
            f"<b>{escape(self.row.outcome)}</b> {escape(self.row.event)} {escape(self.row.id)}, place {self.row.seq}"
        )
        rules = html_table(
            ("rule", "result", "in words"), ((one.id, one.result, one.text) for one in self.explanation.rules)
        )
        heads = ("feature", "value", "lowest", "median", "highest", "earlier decisions")
        return title + html_table(heads, map(_feature_row, self.explanation.features)) + rules


def _feature_row(line: FeatureLine) -> tuple[object, ...]:
    usual = line.earlier
    past = ("", "", "", 0) if usual is None else (usual.lowest, usual.median, usual.highest, usual.count)
    return (line.name, line.value, *past)


@telling_damage()
def explain(log: Log, row: DecisionRow, progress: Callable[[int], None] | None = None) -> Explained:
    """Explain a recorded decision.

    Cost: two passes over the log up to its place, decoding only what may be of the same keys.
    """
    definitions = definitions_at(log, row.seq)
    document = decision_document(row)
    records = Records(definitions.events, definitions.settings.money_places)
    event = records.decode(log.find(row.event, [row.id])[row.id])
    assert isinstance(event, Event)
    names = [name for name in definitions.feature_names(row.event) if name in document["features"]]
    finder = _Finder(definitions, records)
    keys = finder.keys(event, {definitions.features[name].entity for name in names})
    earlier = finder.earlier(log, keys, row.seq, progress)
    lines = []
    for name in names:
        feature = definitions.features[name]
        key = keys.get(feature.entity)
        usual = _usual(name, earlier.get(feature.entity, ()), feature.type.kind)
        shown = None if key is None else key_text(key[0] if len(key) == 1 else key)
        lines.append(FeatureLine(name, text_of(feature.node), feature.entity, shown, document["features"][name], usual))
    return Explained(row, document, Explanation(lines, _rules(definitions, row.event, document)))


def definitions_at(log: Log, seq: int) -> Definitions:
    """The definitions in force at a place. Raises: ReplayError where there are none."""
    control = Control()
    for records in log.read(0, seq):
        for record in records:
            if record.kind == "control":
                control.take(record)
    if not control.files:
        raise ReplayError(f"the log has no definitions before place {seq}")
    return load_definitions(control.files).or_raise()


def _rules(definitions: Definitions, event: str, document: Mapping[str, Any]) -> list[RuleLine]:
    lines = []
    for rule in definitions.rules:
        if rule.on == event:
            result = (
                "hit"
                if rule.id in document["rules"]
                else "hit in shadow"
                if rule.id in document["shadow_rules"]
                else "no hit"
            )
            lines.append(RuleLine(rule.id, rule.effect, result, sentence(rule)))
    return sorted(lines, key=lambda line: (line.result == "no hit", line.id))


class _Finder:
    """Finds the earlier decisions of an event's entities."""

    def __init__(self, definitions: Definitions, records: Records) -> None:
        self._definitions, self._records = definitions, records
        self._naive = Naive(definitions.events, (), definitions.reference)

    def keys(self, event: Event, entities: Iterable[str]) -> dict[str, Key]:
        found = {entity: self._naive.key(entity, event) for entity in sorted(entities)}
        return {entity: key for entity, key in found.items() if key is not None}

    def earlier(
        self, log: Log, keys: Mapping[str, Key], before: int, progress: Callable[[int], None] | None
    ) -> dict[str, list[dict[str, Any]]]:
        """For each entity the features of the latest earlier decisions of its key."""
        needles = {
            (entity, event): self._needles(entity, event, key)
            for entity, key in keys.items()
            for event in self._definitions.events.decided
        }
        found: dict[str, deque[Record]] = {entity: deque(maxlen=EARLIER_MAX) for entity in keys}
        for records in log.read(0, before - 1):
            for record in records:
                if record.kind == "event" and record.decided:
                    self._look(record, keys, needles, found)
            if progress is not None:
                progress(len(records))
        return {entity: _features(log, records) for entity, records in found.items()}

    def _look(
        self,
        record: Record,
        keys: Mapping[str, Key],
        needles: Mapping[tuple[str, str], list[bytes]],
        found: Mapping[str, deque[Record]],
    ) -> None:
        for entity, key in keys.items():
            wanted = needles.get((entity, record.type))
            if wanted is None or not all(needle in record.body for needle in wanted):
                continue
            event = self._records.decode(record)
            if event is not None and self._naive.key(entity, event) == key:
                found[entity].append(record)

    def _needles(self, entity: str, event: str, key: Key) -> list[bytes]:
        """Bytes that the body of every event with this key has, where the key is plain fields."""
        parts = self._definitions.events.entities[entity].keys.get(event, ())
        pairs = zip(parts, key, strict=False)
        return [
            canonical_value(value, part.type, 2).encode()
            for part, value in pairs
            if isinstance(part, ThisField) and part.type.is_text
        ]


def _features(log: Log, records: Iterable[Record]) -> list[dict[str, Any]]:
    ids: dict[str, list[str]] = {}
    for record in records:
        ids.setdefault(record.type, []).append(record.id)
    rows = [row for type_, wanted in ids.items() for row in log.decisions(type_, wanted).values()]
    return [decision_document(row)["features"] for row in rows]


def _usual(name: str, earlier: Iterable[Mapping[str, Any]], kind: str) -> Usual | None:
    if kind not in _NUMERIC:
        return None
    found = [one[name] for one in earlier if one.get(name) is not None]
    try:
        values = sorted(found, key=lambda value: Decimal(str(value)))
    except ArithmeticError:
        raise damaged(f"a recorded value of {name}", "it is no number") from None
    return Usual(len(values), values[0], values[(len(values) - 1) // 2], values[-1]) if values else None
