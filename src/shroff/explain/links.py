"""Links of keys: the values that keys of one entity share in a window of the log, and the events that have them.

What links is what the `via` of its aggregates say, each in its longest window and with its largest cap; without
any, the keys of other entities. The log is read backwards by columns, as far as the longest window reaches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from shroff.errors import RefusalError
from shroff.events.definitions import EventType
from shroff.events.event import Event, Scalar, canonical_value
from shroff.events.labels import LabelEvent, VerdictInForce, in_force
from shroff.features.frames import Codes, Frame, frames_of
from shroff.features.key_texts import key_of
from shroff.language.expression import ItemField, ThisField, Via, aggregates
from shroff.language.printer import text_of_via
from shroff.language.values import DAY_MS, key_text, show_decimal
from shroff.log.columns.stored import LINES, log_columns
from shroff.project.definitions import Definitions, computed_of
from shroff.streams.log import Log

OVER_MS: Final = 30 * DAY_MS  # where no aggregate links
Words = NDArray[np.int64]


class UnknownEntityError(RefusalError):
    """There is no entity of this name."""

    status, code, title = 404, "no-entity", "There is no such entity"


class KeyLink(msgspec.Struct):
    """A value that a key shares: the other keys that have it, frauds among the events with it, and their money."""

    via: str
    value: Scalar
    keys: list[str]
    frauds: int
    spent: str | None


class Hub(msgspec.Struct):
    """A value that more keys share than its cap allows: it links none of them."""

    via: str
    value: Scalar
    keys: int


class Ring(msgspec.Struct, frozen=True):
    """Keys that are linked with each other, over any number of steps, in order; frauds and money of their events."""

    keys: tuple[str, ...]
    frauds: int
    spent: str | None


@dataclass(slots=True)
class LinkedEvents:
    """The events in the window of one `via`, as columns: codes of key and link value, -1 without one, and the amount.

    `frauds` and `fraud_keys` have values and keys of the events with the verdict fraud.
    """

    via: Via
    over_ms: int
    name: str
    keys: Words = field(default_factory=lambda: np.zeros(0, np.int64))
    values: Words = field(default_factory=lambda: np.zeros(0, np.int64))
    amounts: Words = field(default_factory=lambda: np.zeros(0, np.int64))
    places: int | None = None  # decimal places of the amounts; None: the events have none
    frauds: Words = field(default_factory=lambda: np.zeros(0, np.int64))
    fraud_keys: Words = field(default_factory=lambda: np.zeros(0, np.int64))
    codes: Codes = field(default_factory=Codes)

    def take(self, keys: Words, frame: Frame, after_ms: int, upto_ms: int) -> None:
        """Take the events of a piece that are in the window."""
        values = frame.value_codes(self.via.operand, self.codes)
        amount = _amount_of(frame.type)
        is_in = (frame.times > after_ms) & (frame.times <= upto_ms)
        amounts = np.zeros(len(frame), np.int64)
        if amount is not None:
            column = frame.field(*amount)
            amounts, self.places = np.where(column.valid, column.values.astype(np.int64), 0), amount[1].places
        self.keys = np.concatenate([keys[is_in], self.keys])
        self.values = np.concatenate([values[is_in], self.values])
        self.amounts = np.concatenate([amounts[is_in], self.amounts])

    def pairs(self) -> tuple[Words, Words, Words]:
        """Each value with each key that has it, once, and the number of keys of each value."""
        there = (self.keys >= 0) & (self.values >= 0)
        count = len(self.codes.values)
        values, keys = np.unique(np.stack([self.values[there], self.keys[there]]), axis=1)
        return values, keys, np.bincount(values, minlength=count)

    def money(self, value: int) -> str | None:
        """The sum of the amounts of the events with a value."""
        total = int(self.amounts[self.values == value].sum())
        return None if self.places is None else show_decimal(total, self.places)

    def shown(self, code: int, money_places: int) -> Scalar:
        value: Scalar = msgspec.json.decode(canonical_value(self.codes.values[code], self.via.type, money_places))
        return value


@dataclass(slots=True)
class EntityLinks:
    """What links the keys of an entity at a moment."""

    key_codes: Codes
    events: Sequence[LinkedEvents]
    money_places: int

    def of(self, key: Any) -> tuple[list[KeyLink], list[Hub]]:
        """The values that a key shares with others, those with most keys first, and its hubs."""
        code, links, hubs = self.key_codes.known.get(key, -1), list[KeyLink](), list[Hub]()
        for linked in self.events:
            values, keys, degrees = linked.pairs()
            for value in np.unique(values[keys == code]).tolist() if code >= 0 else ():
                degree, shown = int(degrees[value]), linked.shown(value, self.money_places)
                others = sorted(_text(self.key_codes.values[each]) for each in keys[values == value] if each != code)
                if degree > linked.via.up_to:
                    hubs.append(Hub(linked.name, shown, degree))
                elif others:
                    frauds = int(np.count_nonzero(linked.frauds == value))
                    links.append(KeyLink(linked.name, shown, others, frauds, linked.money(value)))
        return sorted(links, key=lambda link: (-len(link.keys), link.via, str(link.value))), hubs

    def rings(self) -> list[Ring]:
        """The connected components of two keys and more; hubs connect nothing."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        count, rows, columns = len(self.key_codes.values), list[Words](), list[Words]()
        size = count
        for linked in self.events:  # a graph of keys and values
            values, keys, degrees = linked.pairs()
            links = degrees[values] <= linked.via.up_to
            rows, columns = [*rows, keys[links]], [*columns, values[links] + size]
            size += len(degrees)
        ends = np.concatenate([np.zeros(0, np.int64), *rows]), np.concatenate([np.zeros(0, np.int64), *columns])
        graph = coo_array((np.ones(len(ends[0]), np.int8), ends), shape=(size, size))
        _, component = connected_components(graph, directed=False)
        members: dict[int, list[int]] = {}
        for key, ring in enumerate(component[:count].tolist()):
            members.setdefault(ring, []).append(key)
        spent, frauds, places = np.zeros(count, np.int64), np.zeros(count, np.int64), None
        widest = {linked.via.event: linked for linked in sorted(self.events, key=lambda linked: linked.over_ms)}
        for linked in widest.values():  # each event once
            np.add.at(spent, linked.keys[linked.keys >= 0], linked.amounts[linked.keys >= 0])
            np.add.at(frauds, linked.fraud_keys[linked.fraud_keys >= 0], 1)
            places = linked.places if places is None else places
        found = [
            Ring(
                tuple(sorted(_text(self.key_codes.values[key]) for key in keys)),
                int(frauds[keys].sum()),
                None if places is None else show_decimal(int(spent[keys].sum()), places),
            )
            for keys in members.values()
            if len(keys) > 1
        ]
        return sorted(found, key=lambda ring: ring.keys)


def entity_links(
    log: Log,
    definitions: Definitions,
    entity: str,
    as_of_ms: int | None = None,
    progress: Callable[[int], None] | None = None,
    *,
    most: int | None = None,
) -> EntityLinks:
    """What links the keys of an entity, of the events up to a time; by default of all, at most the newest so many.

    Raises: UnknownEntityError.
    Cost: 2 µs for each event that is read.
    """
    upto_ms = (log.watermark_ms() or 0) if as_of_ms is None else as_of_ms
    linked, codes, labels = list(_linked(definitions, entity)), Codes(), list[tuple[int, LabelEvent]]()
    reach_ms = max((each.over_ms for each in linked), default=0)
    end, pruned = log.last_seq(), log.pruned_to()
    pruned = pruned if most is None else max(pruned, end - most)
    while end > pruned and linked:
        start, oldest_ms = max(pruned, end - LINES), upto_ms
        for piece in log_columns(log, definitions, end, after=start):
            labels += [(piece.after + row, label) for row, label in piece.labels if label.time_ms <= upto_ms]
            for each in linked:
                frame = piece.frames.get(each.via.event)
                if frame is not None:
                    each.take(frame.key_codes(entity, codes), frame, upto_ms - each.over_ms, upto_ms)
            oldest_ms = min([oldest_ms, *(int(frame.times.min()) for frame in piece.frames.values() if len(frame))])
        if progress is not None:
            progress(end - start)
        end = start
        if oldest_ms + definitions.settings.lateness_ms <= upto_ms - reach_ms:
            break  # what stands before is older still, but for what may be late
    frauds = _frauds(labels)
    for each in linked:
        for frame in frames_of(frauds, definitions.events, definitions.reference).values():
            if frame.type.name == each.via.event:
                is_in = (frame.times > upto_ms - each.over_ms) & (frame.times <= upto_ms)
                each.frauds = frame.value_codes(each.via.operand, each.codes)[is_in]
                each.fraud_keys = frame.key_codes(entity, codes)[is_in]
    return EntityLinks(codes, linked, definitions.settings.money_places)


def check_entity(definitions: Definitions, entity: str) -> None:
    """Raises: UnknownEntityError."""
    if entity not in definitions.events.entities:
        raise UnknownEntityError(
            f"there is no entity {entity!r}. Entities are {', '.join(definitions.events.entities)}."
        )


def has_via(definitions: Definitions, entity: str) -> bool:
    """Whether some feature or rule links keys of an entity by `via`."""
    asked = (aggregate for computed in computed_of(definitions) for aggregate in aggregates(computed.node))
    return any(aggregate.via is not None and aggregate.entity == entity for aggregate in asked)


def linked_key(definitions: Definitions, entity: str, text: str) -> Any:
    """The key in a text, as codes of keys have it. Raises: UnknownEntityError, UsageError."""
    check_entity(definitions, entity)
    key = key_of(definitions.events, entity, text)
    return key[0] if len(key) == 1 else key


def _linked(definitions: Definitions, entity: str) -> Iterator[LinkedEvents]:
    """What links keys of an entity."""
    check_entity(definitions, entity)
    found: dict[str, LinkedEvents] = {}
    for computed in computed_of(definitions):
        for aggregate in aggregates(computed.node):
            if aggregate.via is None or aggregate.entity != entity:
                continue
            name, over_ms = text_of_via(aggregate.via), (aggregate.over_ms or 0) + aggregate.delay_ms
            before = found.get(name, LinkedEvents(aggregate.via, 0, name))
            via = max(before.via, aggregate.via, key=lambda via: via.up_to)
            found[name] = LinkedEvents(via, max(before.over_ms, over_ms), name)
    for other, declared in definitions.events.entities.items() if not found else ():
        for event, parts in declared.keys.items():
            part = parts[0] if len(parts) == 1 else None
            if (
                other == entity
                or not isinstance(part, ThisField)
                or not definitions.events.entities[entity].keys.get(event)
            ):
                continue
            via = Via(part.type, event, ItemField(part.type, part.name))
            found[text_of_via(via)] = LinkedEvents(via, OVER_MS, text_of_via(via))
    yield from found.values()


def _frauds(labels: Sequence[tuple[int, LabelEvent]]) -> list[Event]:
    """The events whose verdict in force is fraud, by their labels with their places in the log."""
    standings: dict[tuple[str, str], list[VerdictInForce]] = {}
    events: dict[tuple[str, str], Event] = {}
    for _, label in sorted(labels, key=lambda label: label[0]):
        _, verdict, source, known_at_ms, *_ = label.values
        named = label.of.type, label.of.id
        events[named] = label.of
        standings.setdefault(named, []).append(VerdictInForce(str(verdict), str(source), int(known_at_ms or 0)))
    current = {named: in_force(given) for named, given in standings.items()}
    return [event for named, event in events.items() if (standing := current[named]) and standing.verdict == "fraud"]


def _amount_of(type_: EventType) -> tuple[str, Any] | None:
    """The first field of money of an event type, with its type."""
    return next(((each.name, each.type) for each in type_.fields if each.type.kind == "money"), None)


def _text(key: Any) -> str:
    return key_text(key)
