"""Links of keys: the values that keys of one entity share in a window of the log, and the events with these values.

Keys are linked by the `via` values of the entity's aggregates, each in its longest window; without any, by the keys of
other entities.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Struct, field
from msgspec.json import decode as from_json

from shroff.arrays import NO_INTS, Ints, Ints8
from shroff.errors import RefusalError, StateError, TransientError
from shroff.events.event import Event, Scalar, TimeText, canonical_value, time_text
from shroff.events.labels import LabelEvent, VerdictInForce
from shroff.features.frames import Codes, Frame, frames_of
from shroff.features.key_texts import key_of
from shroff.language.expression import ItemField, ThisField, Via, aggregates
from shroff.language.printer import text_of_via
from shroff.language.values import DAY_MS, key_text, show_decimal
from shroff.log.columns.stored import LineReader, log_columns, outcomes_of
from shroff.log.later_labels import place_before
from shroff.project.definitions import Definitions, computed_of
from shroff.project.policy import OUTCOMES
from shroff.runtime.progress import Progress, unheard
from shroff.runtime.values import Fresh, FrozenStruct
from shroff.streams.log import Log

OVER_MS = 30 * DAY_MS  # window if no aggregate links keys
RING_MAX = 1_000  # keys of a ring that are followed
VALUES_MAX = 200  # values of each `via` and step that pages follow
WIDE = 8.0  # mean number of keys of a shared value above which a link means little
NEWEST = 1 << 18  # records from which pages read links; up to twice as many
_KEPT = Fresh["EntityLinks"](8)


class UnknownEntityError(RefusalError):
    status, code = 404, "no-entity"
    title = "There is no such entity"


class KeyLink(msgspec.Struct):
    """A value that a key shares: the other keys that have it, and what is known of the events with it.

    `step` is 1 where the key has the value itself, else how many values lie between, this one included.
    """

    via: str
    value: Scalar
    keys: list[str]
    frauds: int
    spent: str | None
    events: int
    first: TimeText
    last: TimeText
    step: int


class LinkedKey(msgspec.Struct):
    """A key that is linked, over so many steps; its events in the window, and the outcome of the newest decision."""

    key: str
    step: int
    events: int
    frauds: int
    spent: str | None
    outcome: str


class Hub(msgspec.Struct):
    """A value that more keys share than its cap allows: it links none of them."""

    via: str
    value: Scalar
    keys: int


class Ring(FrozenStruct):
    """Keys that are linked over any number of steps, sorted; frauds and money of their events."""

    keys: tuple[str, ...]
    frauds: int
    spent: str | None


class LinkScope(FrozenStruct):
    """Restriction of links: another window length, and `via` to leave out."""

    over_ms: int = 0
    without: frozenset[str] = frozenset()


EVERYTHING = LinkScope()


class SharedValue(NamedTuple):
    """A value that several keys share: their number, the frauds of its events, and one of the keys."""

    via: str
    value: Scalar
    keys: int
    frauds: int
    key: str


class Neighbourhood(NamedTuple):
    """Links and linked keys of a key. `ring` counts the keys that any number of steps reach, including the key; `over`
    the linking values of each `via`, `left_out` those not followed. Events and money are those of the last `over_ms`.
    """

    links: list[KeyLink]
    hubs: list[Hub]
    members: list[LinkedKey]
    ring: int
    over: Mapping[str, int]
    left_out: int
    over_ms: int


class LinkedEvents(Struct):
    """The events of one `via`, as columns.

    Rows of `columns`: sequence number, time, code of the key and of the link value (-1 if missing), and the amount.
    """

    via: Via
    over_ms: int
    name: str
    columns: Ints = field(default_factory=lambda: np.zeros((5, 0), np.int64))
    places: int | None = None  # decimals of the amounts; None if the events have none
    codes: Codes = field(default_factory=Codes)

    def take(self, keys: Ints, frame: Frame, after: int) -> None:
        amount = frame.type.amount_field
        amounts = np.zeros(len(frame), np.int64)
        if amount is not None:
            column = frame.field(amount.name, amount.type)
            amounts = np.where(column.valid, column.values.astype(np.int64), 0)
            self.places = amount.type.places
        values = frame.value_codes(self.via.operand, self.codes)
        new = np.stack([frame.rows + after + 1, frame.times, keys, values, amounts])
        self.columns = np.concatenate([self.columns, new], axis=1)

    def window(self, upto_ms: int, columns: Ints | None = None, over_ms: int = 0) -> Ints:
        """Return the columns of the events in the window ending at `upto_ms`; `over_ms` above 0 replaces its length."""
        columns = self.columns if columns is None else columns
        start_ms = upto_ms - (over_ms or self.over_ms)
        return columns[:, (columns[1] > start_ms) & (columns[1] <= upto_ms)]

    def shown(self, code: int, money_places: int) -> Scalar:
        shown_value: Scalar = from_json(canonical_value(self.codes.values[code], self.via.type, money_places))
        return shown_value


class EntityLinks:
    """Links between the keys of an entity, by a log's events after a sequence number; `read` brings them up to date."""

    def __init__(self, definitions: Definitions, entity: str, after: int) -> None:
        self.entity = entity
        self.seq = after
        self.events = list(_linked(definitions, entity))
        self.key_codes = Codes()
        self.lock = Lock()
        self._definitions = definitions
        self._reader = LineReader(definitions)
        self._labels = list[tuple[int, LabelEvent]]()
        self._decided = NO_INTS
        self._outcomes = np.zeros(0, np.int8)
        self._decided_to = 0

    def read(self, log: Log, progress: Progress = unheard) -> None:
        """Read new events; after an error the next call continues. Cost: 3 µs for each event."""
        end = log.last_seq() if self.events else self.seq
        decided, outcomes = outcomes_of(log, max(self.seq, self._decided_to), end)
        self._decided, self._outcomes = np.append(self._decided, decided), np.append(self._outcomes, outcomes)
        self._decided_to = end
        for piece in log_columns(log, self._definitions, end, after=self.seq, reader=self._reader):
            self._labels += [(piece.after + row, label) for row, label in piece.labels]
            for linked in self.events:
                frame = piece.frames.get(linked.via.event)
                if frame is not None:
                    linked.take(frame.key_codes(self.entity, self.key_codes), frame, piece.after)
            self.seq = piece.after + len(piece)
            progress(len(piece))

    def of(
        self,
        key: Any,
        upto_ms: int,
        steps: int = 1,
        hidden: Container[str] = (),
        limit: int | None = None,
        scope: LinkScope = EVERYTHING,
    ) -> Neighbourhood:
        """Return the links of a key at a time over some steps, the values with most keys first.

        `hidden` values, as `via=value`, link no keys. A ring is followed up to `RING_MAX` keys, and of each `via` and
        step the `limit` values with most keys.
        """
        code = self.key_codes.known.get(key, -1)
        links = list[KeyLink]()
        hubs = list[Hub]()
        step_of = {code: 0}
        step = 0
        nearest = [code]
        over = Counter[str]()
        left_out = 0
        # Columns are replaced and never changed, so the rest needs no lock
        with self.lock:
            windows = [linked.window(upto_ms, over_ms=scope.over_ms) for linked in self.events]
            frauds = self._frauds(upto_ms, scope.over_ms)
            decided = self._decided, self._outcomes
        visited = {linked.name: np.array([-1]) for linked in self.events}
        fraud_values = [np.sort(fraud[3]) for fraud in frauds]
        while nearest and code >= 0 and len(step_of) <= RING_MAX:
            step += 1
            reached = list[int]()
            for linked, columns, fraud in zip(self.events, windows, fraud_values, strict=True):
                if linked.name in scope.without:
                    continue
                own_values = np.setdiff1d(columns[3][np.isin(columns[2], nearest)], visited[linked.name])
                visited[linked.name] = np.append(visited[linked.name], own_values)
                near = columns[:, np.isin(columns[3], own_values)]
                near = near[:, np.lexsort((near[2], near[3]))]
                values, starts = np.unique(near[3], return_index=True)
                is_new = np.ones(near.shape[1], bool)  # whether the row is the first of its key and value
                is_new[1:] = (np.diff(near[2]) != 0) | (np.diff(near[3]) != 0)
                is_new &= near[2] >= 0
                degrees = np.add.reduceat(is_new.astype(np.int64), starts) if len(starts) else starts
                value_ends, allowed = np.append(starts[1:], near.shape[1]), linked.via.up_to
                linking = np.flatnonzero((degrees > 1) & (degrees <= allowed))
                linking = linking[np.argsort(-degrees[linking], kind="stable")]
                left_out += 0 if limit is None else max(len(linking) - limit, 0)
                too_many = np.flatnonzero(degrees > allowed) if step == 1 else linking[:0]
                for index in [*too_many[:limit].tolist(), *linking[:limit].tolist()]:
                    value = int(values[index])
                    shown_value = linked.shown(value, self._definitions.settings.money_places)
                    if f"{linked.name}={shown_value}" in hidden:
                        continue
                    if degrees[index] > allowed:
                        hubs.append(Hub(linked.name, shown_value, int(degrees[index])))
                        continue
                    events = near[:, starts[index] : value_ends[index]]
                    keys = events[2][is_new[starts[index] : value_ends[index]]].tolist()
                    reached += keys
                    over[linked.name] += 1
                    if step > steps:
                        continue
                    links.append(
                        KeyLink(
                            linked.name,
                            shown_value,
                            sorted(key_text(self.key_codes.values[peer]) for peer in keys if peer != code),
                            int(np.searchsorted(fraud, value, "right") - np.searchsorted(fraud, value)),
                            _total_amount([(linked, events)]),
                            events.shape[1],
                            time_text(int(events[1].min())),
                            time_text(int(events[1].max())),
                            step,
                        )
                    )
            nearest = [peer for peer in dict.fromkeys(reached) if peer not in step_of]
            step_of.update(dict.fromkeys(nearest, step))
        links.sort(key=lambda link: (link.step, -len(link.keys), link.via, str(link.value)))
        near_keys = {peer: step for peer, step in step_of.items() if step <= steps and peer >= 0}
        members = self._members(near_keys, windows, frauds, *decided)
        over_ms = scope.over_ms or max((linked.over_ms for linked in self.events), default=0)
        return Neighbourhood(links, hubs, members, len(step_of), over, left_out, over_ms)

    def _members(
        self, steps: Mapping[int, int], windows: Sequence[Ints], frauds: Sequence[Ints], decided: Ints, outcomes: Ints8
    ) -> list[LinkedKey]:
        """Describe keys by their steps, nearest first; of each event type the widest window counts."""
        widest = [
            (linked, window[:, np.argsort(window[2], kind="stable")], np.sort(fraud[2]))
            for linked, window, fraud in self._widest(windows, frauds)
        ]
        members = []
        for key, step in steps.items():
            own_events = [
                (linked, window[:, slice(*np.searchsorted(window[2], (key, key + 1)))]) for linked, window, _ in widest
            ]
            newest = max(int(events[0].max(initial=0)) for _, events in own_events)
            index = int(np.searchsorted(decided, newest))
            is_decided = index < len(decided) and decided[index] == newest
            members.append(
                LinkedKey(
                    key_text(self.key_codes.values[key]),
                    step,
                    sum(events.shape[1] for _, events in own_events),
                    sum(int(np.diff(np.searchsorted(fraud, (key, key + 1)))[0]) for _, _, fraud in widest),
                    _total_amount(own_events),
                    OUTCOMES[outcomes[index]] if is_decided else "",
                )
            )
        return members

    def _widest(self, windows: Sequence[Ints], frauds: Sequence[Ints]) -> Collection[tuple[LinkedEvents, Ints, Ints]]:
        by_reach = sorted(zip(self.events, windows, frauds, strict=True), key=lambda events: events[0].over_ms)
        return {events[0].via.event: events for events in by_reach}.values()

    def rings(self, upto_ms: int, scope: LinkScope = EVERYTHING) -> list[Ring]:
        """Return the connected components with at least two keys; hubs connect none."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        size = count = len(self.key_codes.values)
        edges = [np.zeros((2, 0), np.int64)]
        windows = [linked.window(upto_ms, over_ms=scope.over_ms) for linked in self.events]
        for linked, window in zip(self.events, windows, strict=True):  # a graph of keys and values
            if linked.name in scope.without:
                continue
            pairs = np.unique((window[3] * count + window[2])[(window[2] >= 0) & (window[3] >= 0)])
            values, keys = np.divmod(pairs, max(count, 1))
            degrees = np.bincount(values, minlength=len(linked.codes.values))
            links = degrees[values] <= linked.via.up_to
            edges.append(np.stack([keys[links], values[links] + size]))
            size += len(degrees)
        edge_ends = np.concatenate(edges, axis=1)
        graph = coo_array((np.ones(edge_ends.shape[1], np.int8), tuple(edge_ends)), shape=(size, size))
        _, component = connected_components(graph, directed=False)
        members: dict[int, list[int]] = {}
        for key, ring in enumerate(component[:count].tolist()):
            members.setdefault(ring, []).append(key)
        spent = np.zeros(count, np.int64)
        fraud_counts = np.zeros(count, np.int64)
        decimals = None
        for linked, window, fraud in self._widest(windows, self._frauds(upto_ms, scope.over_ms)):
            np.add.at(spent, window[2][window[2] >= 0], window[4][window[2] >= 0])
            np.add.at(fraud_counts, fraud[2][fraud[2] >= 0], 1)
            decimals = linked.places if decimals is None else decimals
        ring_list = [
            Ring(
                tuple(sorted(key_text(self.key_codes.values[key]) for key in keys)),
                int(fraud_counts[keys].sum()),
                None if decimals is None else show_decimal(int(spent[keys].sum()), decimals),
            )
            for keys in members.values()
            if len(keys) > 1
        ]
        return sorted(ring_list, key=lambda ring: ring.keys)

    def shared(self, upto_ms: int, scope: LinkScope = EVERYTHING) -> list[SharedValue]:
        """Return the values that at least two keys share, those with most keys first. `frauds` counts their events."""
        found = []
        with self.lock:
            frauds = self._frauds(upto_ms, scope.over_ms)
            windows = [linked.window(upto_ms, over_ms=scope.over_ms) for linked in self.events]
        for linked, window, fraud in zip(self.events, windows, frauds, strict=True):
            if linked.name in scope.without:
                continue
            is_both = (window[2] >= 0) & (window[3] >= 0)
            values, keys = np.unique(window[3:1:-1, is_both], axis=1)
            degrees = np.bincount(values, minlength=len(linked.codes.values))
            fraud_counts = np.bincount(fraud[3][fraud[3] >= 0], minlength=len(linked.codes.values))
            first_keys = dict(zip(values[::-1].tolist(), keys[::-1].tolist(), strict=True))
            for value in np.flatnonzero(degrees > 1).tolist():
                key = key_text(self.key_codes.values[first_keys[value]])
                shown = linked.shown(value, self._definitions.settings.money_places)
                found.append(SharedValue(linked.name, shown, int(degrees[value]), int(fraud_counts[value]), key))
        return sorted(found, key=lambda each: (-each.keys, each.via, str(each.value)))

    def wide(self, upto_ms: int) -> list[str]:
        """Return the `via` whose shared values have more than `WIDE` keys in the mean, unless all do.

        A shop links all who ever paid there, which says nothing about them.
        """
        names = []
        with self.lock:
            windows = [linked.window(upto_ms) for linked in self.events]
        for linked, window in zip(self.events, windows, strict=True):
            is_both = (window[2] >= 0) & (window[3] >= 0)
            degrees = np.bincount(np.unique(window[3:1:-1, is_both], axis=1)[0])
            is_shared = degrees > 1
            if is_shared.any() and degrees[is_shared].mean() > WIDE:
                names.append(linked.name)
        return names if len(names) < len(self.events) else []

    def _frauds(self, upto_ms: int, over_ms: int = 0) -> list[Ints]:
        """Return for each `via` the fraud events in its window, as columns with amount 0."""
        labels = [row for row in self._labels if row[1].time_ms <= upto_ms]
        frames = frames_of(_frauds(labels), self._definitions.events, self._definitions.reference)
        found = []
        for linked in self.events:
            frame = frames.get(linked.via.event)
            columns = np.zeros((5, 0), np.int64)
            if frame is not None:
                values = frame.value_codes(linked.via.operand, linked.codes)
                zeros = np.zeros(len(frame), np.int64)
                columns = np.stack([zeros, frame.times, frame.key_codes(self.entity, self.key_codes), values, zeros])
            found.append(linked.window(upto_ms, columns, over_ms))
        return found


def _total_amount(events: Sequence[tuple[LinkedEvents, Ints]]) -> str | None:
    decimals = [linked.places for linked, _ in events if linked.places is not None]
    return show_decimal(sum(int(columns[4].sum()) for _, columns in events), decimals[0]) if decimals else None


def entity_links(
    log: Log, definitions: Definitions, entity: str, upto_ms: int, progress: Progress = unheard
) -> EntityLinks:
    """Return the links between the keys of an entity at a time, from all events in its windows.

    Raises: UnknownEntityError.
    """
    links = EntityLinks(definitions, entity, 0)
    over_ms = max((linked.over_ms for linked in links.events), default=0)
    links.seq = place_before(log, upto_ms - over_ms, definitions.settings.lateness_ms)
    links.read(log, progress)
    return links


def newest_links(log: Log, definitions: Definitions, entity: str, key: Any) -> Neighbourhood:
    """Return the nearest links of a key in the newest events; see `newest_events`."""
    return newest_events(log, definitions, entity).of(key, log.watermark_ms() or 0, 1, (), VALUES_MAX)


def newest_events(log: Log, definitions: Definitions, entity: str) -> EntityLinks:
    """Return the links between the keys of an entity in the newest events, cached for the next call.

    Pruned events are read from the lake if it can be reached; each call tries again. Raises: UnknownEntityError.
    Cost: 3 µs for each event since the last call; for the first call, and from time to time, for `NEWEST` events.
    """
    end, pruned = log.last_seq(), log.pruned_to()
    cache_key = log.place, entity, id(definitions), end // NEWEST
    links = _KEPT.get(cache_key, lambda: EntityLinks(definitions, entity, max(0, end - NEWEST)))
    try:
        with links.lock:
            links.read(log)
    except (StateError, TransientError):
        if links.seq >= pruned:
            raise
        links = _KEPT.get((*cache_key, pruned), lambda: EntityLinks(definitions, entity, pruned))
        with links.lock:
            links.read(log)
    return links


def check_entity(definitions: Definitions, entity: str) -> None:
    if entity not in definitions.events.entities:
        raise UnknownEntityError(
            f"there is no entity {entity!r}. Entities are {', '.join(definitions.events.entities)}."
        )


def has_via(definitions: Definitions, entity: str) -> bool:
    """Whether a feature or rule links keys of an entity by `via`."""
    asked = (aggregate for computed in computed_of(definitions) for aggregate in aggregates(computed.node))
    return any(aggregate.via is not None and aggregate.entity == entity for aggregate in asked)


def linked_key(definitions: Definitions, entity: str, text: str) -> Any:
    """Parse a key, in the form of key codes. Raises: UnknownEntityError, UsageError."""
    check_entity(definitions, entity)
    key = key_of(definitions.events, entity, text)
    return key[0] if len(key) == 1 else key


def _linked(definitions: Definitions, entity: str) -> Iterator[LinkedEvents]:
    check_entity(definitions, entity)
    linked: dict[str, LinkedEvents] = {}
    for computed in computed_of(definitions):
        for aggregate in aggregates(computed.node):
            if aggregate.via is None or aggregate.entity != entity:
                continue
            name, over_ms = text_of_via(aggregate.via), (aggregate.over_ms or 0) + aggregate.delay_ms
            previous = linked.get(name, LinkedEvents(aggregate.via, 0, name))
            via = max(previous.via, aggregate.via, key=lambda via: via.up_to)
            linked[name] = LinkedEvents(via, max(previous.over_ms, over_ms), name)
    keys = definitions.events.entities[entity].keys
    for other, declared in definitions.events.entities.items() if not linked else ():
        for event, parts in declared.keys.items():
            part = parts[0] if len(parts) == 1 else None
            if other == entity or not isinstance(part, ThisField) or not keys.get(event):
                continue
            via = Via(part.type, event, ItemField(part.type, part.name))
            linked[text_of_via(via)] = LinkedEvents(via, OVER_MS, text_of_via(via))
    yield from linked.values()


def _frauds(labels: Sequence[tuple[int, LabelEvent]]) -> list[Event]:
    current: dict[tuple[str, str], VerdictInForce] = {}
    events: dict[tuple[str, str], Event] = {}
    for _, label in sorted(labels, key=lambda label: label[0]):
        event_name, verdict = (label.of.type, label.of.id), label.standing
        events[event_name] = label.of
        if verdict.takes_over(current.get(event_name)):
            current[event_name] = verdict
    return [event for event_name, event in events.items() if current[event_name].verdict == "fraud"]
