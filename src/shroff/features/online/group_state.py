"""State of one group of aggregates: its window state, its inputs from a batch, and its result columns.

A group keeps its events in a kernel's history, or, where a condition must look at each of them, in a `ScanState`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from msgspec import Struct, field

from shroff.arrays import Bools, Bytes, Ints
from shroff.events.definitions import Events
from shroff.events.labels import LabelEvent
from shroff.features.batch.remarks import Remarks
from shroff.features.frames import Codes, Frame, joined_key, masked
from shroff.features.kernels.layout import OF_ARRIVAL, OF_KEY, OF_LINK, UNREAD
from shroff.features.online.link_state import IS_SEEN, LINK, LinkState, linked_codes
from shroff.features.online.scan_state import ScanState
from shroff.features.online.value_codec import coded_texts, decode, encode
from shroff.features.online.window_state import WindowState
from shroff.features.plan import Group, SeriesKey, kernel_plan, series_of, whole_series_of
from shroff.features.programs.scan_plan import scan_plan
from shroff.language.aggregates import AGGREGATES
from shroff.language.columns import Column, column_of, values_of
from shroff.language.expression import Aggregate, FeatureValue, ItemFeature, ItemField, Node, ThisField, Via, walk
from shroff.language.row import Reference
from shroff.language.types import INTEGER_MAX, UNITS_MAX
from shroff.language.values import Value
from shroff.runtime.values import FrozenStruct, replace

LookRows: TypeAlias = tuple[list[int], list[int], dict[int, dict[str, Value]], dict[int, dict[str, Value]]]


class Feed(FrozenStruct):
    """Input of window state from a batch: key codes of events and of readers, and its series."""

    inserts: Ints
    asks: Ints
    values: Ints
    kept: Bytes


class SharedCodes(FrozenStruct):
    """Codes that the groups of an engine share: of keys, by entity and names of a pair, and of texts."""

    keys: dict[Any, Codes] = field(default_factory=dict[Any, Codes])
    texts: Codes = field(default_factory=Codes)


class GroupState:
    """One group of aggregates with its history.

    With `is_fed_only` it has none, and what `feed` gives goes to a history elsewhere. `remarks`
    is told of values that are left out, and of sums that are missing for their size.
    """

    def __init__(
        self,
        group: Group,
        lateness_ms: int,
        codes: SharedCodes,
        events: Events,
        reference: Reference,
        *,
        is_fed_only: bool = False,
        remarks: Remarks | None = None,
    ) -> None:
        self.group, self.key = group, group.key
        self.texts, self.events = codes.texts, events
        space = (group.key.entity, tuple(item for item, _ in group.key.pairs))
        self.codes = codes.keys.setdefault(space, Codes())
        self.kernel = scan_plan(group, events.types.get(group.key.event)) if group.key.is_look else kernel_plan(group)
        is_kept = self.kernel is not None and not is_fed_only
        self.history = WindowState(self.kernel.plan, lateness_ms=lateness_ms) if self.kernel and is_kept else None
        self.reference, is_linked = reference, group.key.via is not None
        self.link_codes = codes.keys.setdefault(("via", group.key.via), Codes()) if is_linked else self.codes
        self._linked = partial(linked_codes, group.key, (self.codes, self.link_codes), events, reference)
        kind = LinkState if is_linked else ScanState
        self.look = kind(group.aggregates, lateness_ms, reference) if self.kernel is None else None
        self.this_fields = {aggregate: this_fields(aggregate) for aggregate in group.aggregates}
        self._reads_this = any(self.this_fields.values())
        self.sums = [at for at, aggregate in enumerate(group.aggregates) if AGGREGATES[aggregate.function].is_total]
        self._remarks, self._sum_rows = remarks, np.array(self.sums, np.int64)
        exact = [
            aggregate
            for aggregate in group.aggregates
            if aggregate.argument is not None and aggregate.argument.type.is_exact
        ]
        self.looked_at = {whole_series_of(aggregate) for aggregate in exact} if self.look is not None else set()
        self.links: Links | None = None
        if group.key.rule is not None:
            self.entity_codes = codes.keys.setdefault((group.key.entity, ()), Codes())
            self.links = Links(self.codes, self.entity_codes) if group.key.pairs else None

    @property
    def memory_bytes(self) -> int:
        return self.history.memory_bytes if self.history else 0

    def trim(self, watermark_ms: int, keys: int) -> None:
        """Release cells out of reach, for up to this many keys, round robin."""
        if self.look is not None:
            self.look.trim(watermark_ms, keys)
        elif self.history is not None:
            self.history.sweep(keys, watermark_ms)

    def link_pairs(self) -> None:
        """Make `clear` find the pairs of a batch, once their keys are coded."""
        if self.links is not None:
            self.links.extend()

    def clear(self, key: int) -> None:
        """Forget all events of a key of the entity, by its code."""
        for code in (key,) if self.links is None else self.links.of(key):
            if self.look is not None:
                self.look.clear(code)
            elif self.history is not None:
                self.history.clear(code)

    def state(self) -> bytes | memoryview:
        """The history, to be given to `restore`. Key codes are not its own."""
        if self.look is not None:
            return self.look.snapshot()
        return self.history.snapshot() if self.history is not None else b""

    def restore(self, history: bytes | memoryview) -> None:
        """Continue from the state of another group like this, key codes restored before.

        Raises: StateError if the history was made with another plan.
        """
        if self.look is not None:
            self.look.restore(history)
        elif self.history is not None:
            self.history.restore(history)

    # ---- keys

    def inserts(self, frames: Mapping[str, Frame], size: int) -> Ints:
        """Key codes of the events that enter the history; -1 for all others."""
        codes = np.full(size, -1, np.int64)
        frame = frames.get(self.key.event)
        if frame is None:
            return codes
        found = self._insert_codes(frame)
        if self.key.event == "label" and not self.key.each_source:
            changes = np.array([isinstance(event, LabelEvent) and event.changes for event in frame.events], np.bool_)
            found = np.where(changes, found, -1)
        codes[frame.places] = found
        return codes

    def asks(self, frames: Mapping[str, Frame], size: int) -> Ints:
        """Key codes of the events that ask; -1 where nobody asks or the key is missing."""
        codes = np.full(size, -1, np.int64)
        for event in self.group.asked_at & frames.keys():
            frame = frames[event]
            if not self.key.pairs:
                codes[frame.places] = frame.key_codes(self.key.entity, self.codes)
                continue
            keys = frame.key_values(self.key.entity)
            codes[frame.places] = self._pair_codes(keys, [_asked(this, frame) for _, this in self.key.pairs])
        return codes

    def _insert_codes(self, frame: Frame) -> Ints:
        matching = None
        if self.key.matching is not None:
            type_ = next(declared.type for declared in frame.type.fields if declared.name == self.key.matching)
            matching = ItemField(type_, self.key.matching)
        if not self.key.pairs:
            entity = self.key.entity
            return frame.value_codes(matching, self.codes) if matching else frame.key_codes(entity, self.codes)
        keys = values_of(frame.evaluate(matching)) if matching else frame.key_values(self.key.entity)
        return self._pair_codes(keys, [values_of(frame.evaluate(item)) for item, _ in self.key.pairs])

    def _pair_codes(self, keys: list[Any], parts: list[list[Any]]) -> Ints:
        return self.codes.of(joined_key([keys, *parts], len(keys)))

    # ---- what the kernel is fed, and what it gives

    def feed(self, frames: Mapping[str, Frame], size: int, *, is_asked: bool = True) -> Feed:
        assert self.kernel is not None
        series, operands, kept_series = self.kernel.series, self.kernel.operands, len(self.kernel.plan.series)
        values = np.zeros((kept_series + len(operands), size), np.int64)
        kept = np.zeros((kept_series + len(operands), size), np.uint8)
        frame = frames.get(self.key.event)
        if self.key.via is None:
            inserts = self.inserts(frames, size)
        else:
            values[kept_series - OF_KEY], links = self._linked(frames, size)
            kept[kept_series - OF_KEY] = values[kept_series - OF_KEY] >= 0
            kept[kept_series - OF_LINK] = 1
            inserts = 2 * links
            if frame is not None:
                kept[kept_series - OF_ARRIVAL, frame.places] = 1
        if frame is not None:
            for at, key in enumerate(series):
                values[at, frame.places], kept[at, frame.places] = self._series(key, frame, inserts)
        if not is_asked:
            return Feed(inserts, np.full(size, UNREAD, np.int64), values, kept)
        for event in self.group.asked_at & frames.keys() if operands else ():
            frame = frames[event]
            for at, node in enumerate(operands, kept_series):
                values[at, frame.places], kept[at, frame.places] = self._words(node, frame)
        asks = self.asks(frames, size)
        return Feed(inserts, asks if self.key.via is None else 2 * asks + 1, values, kept)

    def _series(self, key: SeriesKey, frame: Frame, inserts: Ints) -> tuple[Ints, Bools]:
        kept = np.ones(len(frame), np.bool_)
        if key.where is not None:
            kept = frame.evaluate(key.where).values.astype(np.bool_)
        if key.argument is None:
            return np.zeros(len(frame), np.int64), kept
        if key.is_operand:
            return self._words(key.argument, frame)
        if key.argument.type.is_text:
            coded, fits = coded_texts(key.argument, frame, self.texts)
            return coded, kept & fits
        column = frame.evaluate(key.argument)
        coded, fits = encode(column, key.argument.type, largest=largest_of(key))
        if fits is not column.valid:
            self._note_left_out(key, frame, inserts, kept & column.valid & ~fits)
        return coded, kept & fits

    def _words(self, node: Node, frame: Frame) -> tuple[Ints, Bools]:
        """What a program reads of these events. What does not fit 64 bits would be missing, and be noted.

        By its plan all fits; but one number in which a plan is wrong must not stop the log.
        """
        if node.type.is_text:
            return coded_texts(node, frame, self.texts)
        column = frame.evaluate(node)
        coded, fits = encode(column, node.type, largest=INTEGER_MAX)
        if fits is not column.valid and self._remarks is not None:
            for aggregate, askers in self.group.askers.items():
                if node in walk(aggregate):
                    self._remarks.leave_out(askers, frame.rows[column.valid & ~fits])
        return coded, fits

    def run(self, times: Ints, frames: Mapping[str, Frame], watermark_ms: int | None) -> None:
        """Compute the group's aggregates for a batch, into the frames."""
        if self.look is not None:
            rows = self.look_rows(times, frames)
            answers = [self.look_row(at, time_ms, *rows) for at, time_ms in enumerate(times.tolist())]
            self.note_missing(answers, rows[1], frames)
            self.deliver_answers(answers, frames)
            return
        assert self.history is not None
        fed = self.feed(frames, len(times))
        out, valid = self.history.run(times, fed.inserts, fed.asks, fed.values, fed.kept, watermark_ms)
        self.note_sums(valid, fed.asks, frames)
        self.deliver(out, valid, frames)

    def pass_over(self, times: Ints, frames: Mapping[str, Frame], watermark_ms: int | None) -> None:
        """Take the events of a batch as `run` does, and answer nobody."""
        if self.look is not None:
            inserts, items = self._look_items(frames, len(times))
            for at, time_ms in enumerate(times.tolist()):
                if inserted := self._inserted(at, inserts, items):
                    self.look.row(time_ms, inserted, None)
            return
        assert self.history is not None
        fed = self.feed(frames, len(times), is_asked=False)
        self.history.run(times, fed.inserts, fed.asks, fed.values, fed.kept, watermark_ms, self.history.room(0))

    def deliver(self, out: Ints, valid: Bytes, frames: Mapping[str, Frame]) -> None:
        """Put a kernel's answers for a batch into the frames that ask."""
        there = valid.view(np.bool_)
        for event in self.group.asked_at & frames.keys():
            frame = frames[event]
            answers, is_there = (np.ascontiguousarray(column[:, frame.places]) for column in (out, there))
            for at, aggregate in enumerate(self.group.aggregates):
                column = decode(answers[at], is_there[at], aggregate.type, self.texts)
                if self._reads_this:
                    column = self._masked(aggregate, column, frame)
                frame.aggregates[aggregate] = column

    def _masked(self, aggregate: Aggregate, column: Column, frame: Frame) -> Column:
        """Missing where a field of `this` that the condition reads is missing."""
        for node in self.this_fields[aggregate]:
            column = masked(column, frame.field(node.name, node.type).valid, aggregate.type)
        return column

    def deliver_answers(self, answers: Sequence[Sequence[Value]], frames: Mapping[str, Frame]) -> None:
        """Write the aggregates at each row of a batch into the frames that need them."""
        for event in self.group.asked_at & frames.keys():
            frame = frames[event]
            rows = frame.rows.tolist()
            for at, aggregate in enumerate(self.group.aggregates):
                column = column_of([answers[row][at] for row in rows], aggregate.type)
                frame.aggregates[aggregate] = self._masked(aggregate, column, frame)

    # ---- what people should be told of

    def _note_left_out(self, key: SeriesKey, frame: Frame, inserts: Ints, left_out: Bools) -> None:
        """Note values of a series that do not fit, of events that come into the history."""
        left_out = left_out & (inserts[frame.places] >= 0)
        if self._remarks is None or not left_out.any():
            return
        for aggregate, askers in self.group.askers.items():
            series = series_of(aggregate)
            if series is None or replace(series, where=None) != replace(key, where=None):
                continue
            if series.where == key.where:
                self._remarks.leave_out(askers, frame.rows[left_out])
            elif self.key.is_look and series.where is not None:  # what else its condition asks, each look will know
                taken = frame.evaluate(series.where).values.astype(np.bool_)
                self._remarks.leave_out(askers, frame.rows[left_out & taken])

    def note_sums(self, valid: Bytes, asks: Ints, frames: Mapping[str, Frame]) -> None:
        """Note sums that were asked for with a key and are missing all the same: they are outside 64 bits.

        Args:
            valid: Which answers are there, a row for each aggregate of the group.
        """
        if self._remarks is None or not self.sums or valid.take(self._sum_rows, 0).all():
            return
        for at in self.sums:
            missing = (asks >= 0) & (valid[at] == 0)
            for event in self.group.asked_at & frames.keys() if missing.any() else ():
                frame, aggregate = frames[event], self.group.aggregates[at]
                outside = missing[frame.places]
                for node in self.this_fields[aggregate]:
                    outside = outside & frame.field(node.name, node.type).valid
                self._remarks.miss_sums(self.group.askers[aggregate], frame, outside)

    def note_missing(self, answers: Sequence[Sequence[Value]], asks: list[int], frames: Mapping[str, Frame]) -> None:
        """The same for answers that are values, a list for each row of the batch."""
        if self.sums and answers:
            valid = np.array([[value is not None for value in values] for values in answers], np.uint8)
            self.note_sums(valid.T, np.array(asks, np.int64), frames)

    # ---- conditions that look at each event

    def look_rows(self, times: Ints, frames: Mapping[str, Frame]) -> LookRows:
        """For each row: the key codes of event and query, and the operands of item and `this`."""
        inserts, items = self._look_items(frames, len(times))
        asks = self.asks(frames, len(times)).tolist()
        this: dict[int, dict[str, Value]] = {}
        for event in self.group.asked_at & frames.keys():
            this |= _rows(
                frames[event], [node for aggregate in self.group.aggregates for node in leaves_of_this(aggregate)]
            )
        return inserts, asks, items, this

    def _look_items(self, frames: Mapping[str, Frame], size: int) -> tuple[list[int], dict[int, dict[str, Value]]]:
        """Of each row the key code that comes in, and what is read of the event by those who look at it later."""
        if self.key.via is not None:
            return self._link_items(self.key.via, frames, size)
        inserts, frame = self.inserts(frames, size), frames.get(self.key.event)
        if frame is None:
            return inserts.tolist(), {}
        for key in self.looked_at:
            self._series(key, frame, inserts)  # for what it notes
        return inserts.tolist(), _rows(frame, [leaf for each in self.group.aggregates for leaf in leaves_of_item(each)])

    def _link_items(
        self, via: Via, frames: Mapping[str, Frame], size: int
    ) -> tuple[list[int], dict[int, dict[str, Value]]]:
        """The same for links: each event that has a link value is kept. A label has that of its event, and no key."""
        keys, links = self._linked(frames, size)
        linking, seen = frames.get(via.event), frames.get(self.key.event)
        leaves = [leaf for aggregate in self.group.aggregates for leaf in leaves_of_item(aggregate)]
        items: dict[int, dict[str, Value]] = {}
        if linking is not None and linking is not seen:
            nothing = {**dict.fromkeys(map(leaf_name, leaves)), IS_SEEN: False}
            items = {row: {**nothing, LINK: int(links[row])} for row in linking.rows.tolist() if links[row] >= 0}
        if seen is not None:
            for key in self.looked_at:
                self._series(key, seen, links)  # for what it notes
            for row, fields in _rows(seen, leaves).items():
                if links[row] >= 0:
                    items[row] = {**fields, LINK: int(links[row]), IS_SEEN: True}
        return keys.tolist(), items

    def _inserted(
        self, at: int, inserts: list[int], items: dict[int, dict[str, Value]]
    ) -> tuple[int, dict[str, Value]] | None:
        is_in = inserts[at] >= 0 if self.key.via is None else at in items
        return (inserts[at], items.get(at, {})) if is_in else None

    def look_row(
        self,
        at: int,
        time_ms: int,
        inserts: list[int],
        asks: list[int],
        items: dict[int, dict[str, Value]],
        this: dict[int, dict[str, Value]],
    ) -> list[Value]:
        assert self.look is not None
        asked = (asks[at], this.get(at, {})) if asks[at] >= 0 else None
        return self.look.row(time_ms, self._inserted(at, inserts, items), asked)


def largest_of(key: SeriesKey) -> int:
    """The largest whole number that a series takes."""
    return UNITS_MAX if key.is_limited else INTEGER_MAX


def _asked(this: Node, frame: Frame) -> list[Any]:
    """The asking side of a pair key at each event: missing where a field that it reads is.

    Where it is missing all the same, no event is its equal: () is the value of none.
    """
    column = frame.evaluate(this)
    values = values_of(column)
    if isinstance(this, ThisField) or column.valid.all():
        return values
    valids = [frame.field(node.name, node.type).valid for node in walk(this) if isinstance(node, ThisField)]
    there = np.logical_and.reduce(valids)
    return [() if value is None and is_there else value for value, is_there in zip(values, there, strict=True)]


def this_fields(aggregate: Aggregate) -> list[ThisField]:
    """The fields of `this` that an aggregate's condition reads: where one is missing, so is the aggregate."""
    found = walk(aggregate.condition) if aggregate.condition is not None else ()
    return list(dict.fromkeys(node for node in found if isinstance(node, ThisField)))


def leaves_of_item(aggregate: Aggregate) -> list[Node]:
    """Values that an aggregate reads of the events that it scans."""
    read = [part for part in (aggregate.argument, aggregate.condition) if part is not None]
    return [node for part in read for node in walk(part) if isinstance(node, ItemField | ItemFeature)]


def leaves_of_this(aggregate: Aggregate) -> list[Node]:
    """Values that an aggregate reads of the current event."""
    return [node for node in walk(aggregate) if isinstance(node, ThisField | FeatureValue)]


def leaf_name(node: Node) -> str:
    """Name of an operand of looks: `f of E` as `f of`."""
    return f"{node.name} of" if isinstance(node, ItemFeature) else node.name  # type: ignore[union-attr]  # a leaf


def _rows(frame: Frame, leaves: Sequence[Node]) -> dict[int, dict[str, Value]]:
    """Values of some operands by name, for each row of the batch."""
    columns: dict[str, list[Value]] = {}
    for node in leaves:
        name = leaf_name(node)
        if name not in columns:
            columns[name] = values_of(frame.evaluate(node))
    names = list(columns)
    rows = zip(*columns.values(), strict=True) if columns else (() for _ in range(len(frame)))
    return {row: dict(zip(names, values, strict=True)) for row, values in zip(frame.rows.tolist(), rows, strict=True)}


# ---- from a key to its pairs: which of a history's keys a hit must empty, where its keys are pairs


_FIRST_ROOM = 64


class Links(Struct):
    """Chains of pair codes: `last` has the newest pair of each key, `before` the one before each pair; -1: none.

    All of it follows from the dictionary of pairs, so a snapshot need not have it.
    """

    pairs: Codes
    keys: Codes
    last: Ints = field(default_factory=lambda: np.full(_FIRST_ROOM, -1, np.int64))
    before: Ints = field(default_factory=lambda: np.full(_FIRST_ROOM, -1, np.int64))
    _linked: int = 0
    _values: list[Any] | None = None  # the dictionary's values that are linked: others after a restore

    def extend(self) -> None:
        """Link the pairs that came since."""
        values = self.pairs.values
        if values is not self._values:
            self._values, self._linked = values, 0
            self.last.fill(-1)
        for pair in range(self._linked, len(values)):
            key = self.keys.add(values[pair][0])
            self.last, self.before = _with_room(self.last, key), _with_room(self.before, pair)
            self.before[pair] = self.last[key]
            self.last[key] = pair
        self._linked = len(values)

    def of(self, key: int) -> Iterator[int]:
        """The pairs of a key."""
        pair = int(self.last[key]) if key < len(self.last) else -1
        while pair >= 0:
            yield pair
            pair = int(self.before[pair])


def _with_room(array: Ints, place: int) -> Ints:
    if place < len(array):
        return array
    return np.concatenate([array, np.full(max(len(array), place + 1 - len(array)), -1, np.int64)])
