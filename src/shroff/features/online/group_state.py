"""State of one group of aggregates: its window state, its input from a batch, and its result columns.

The online engine and the batch engines make a `GroupState` for each group of their plan. It stores events in a history
with a kernel, or in a `ScanState` if its condition has no program and Python must evaluate it for each event.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np

from shroff.arrays import Bools, Bytes, Ints
from shroff.events.definitions import Events
from shroff.features.batch.remarks import Remarks
from shroff.features.frames import Frame, Frames, masked
from shroff.features.kernels.layout import OF_ARRIVAL, OF_KEY, OF_LINK, UNREAD
from shroff.features.online.group_keys import GroupKeys, SharedCodes
from shroff.features.online.group_remarks import GroupRemarks, this_fields
from shroff.features.online.link_state import IS_SEEN, LINK, LinkState
from shroff.features.online.scan_state import Fields, Keyed, ScanState
from shroff.features.online.value_codec import coded_texts, decode, encode
from shroff.features.online.window_state import WindowState
from shroff.features.plan import Group, SeriesKey, kernel_plan, whole_series_of
from shroff.features.programs.scan_plan import scan_plan
from shroff.features.value_bounds import UNITS, WORD, Bounds
from shroff.language.columns import Column, column_of, values_of
from shroff.language.expression import Aggregate, FeatureValue, ItemFeature, ItemField, Node, ThisField, Via, walk
from shroff.language.row import Reference
from shroff.language.values import Value
from shroff.runtime.values import FrozenStruct

ByRow: TypeAlias = dict[int, Fields]
LookRows: TypeAlias = tuple[list[int], list[int], ByRow, ByRow]
"""For each row of a batch: the key codes of event and query (-1: none), and the fields of the item and of `this`."""


class Feed(FrozenStruct):
    """Input of a history from a batch: key codes of events and of queries (-1: none), and its series.

    `values` and `kept` are as in `WindowState.run`.
    """

    inserts: Ints
    asks: Ints
    values: Ints
    kept: Bytes


class GroupState:
    """One group of aggregates with its history.

    Args:
        is_fed_only: Make no history; the caller passes the result of `feed` to a history elsewhere.
        remarks: Collects values that were left out, and sums that are missing because they are too large.
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
        self.trial = codes.trial
        self.texts = codes.texts
        self.events = events
        self.keys = GroupKeys(group, codes, events, reference)
        self.remarks = GroupRemarks(group, remarks)
        self.kernel = scan_plan(group, events.types.get(group.key.event)) if group.key.is_look else kernel_plan(group)
        is_kept = self.kernel is not None and not is_fed_only
        self.history: WindowState | None = None
        if self.kernel is not None and is_kept:
            self.history = WindowState(self.kernel.plan, lateness_ms=lateness_ms, trial=self.trial)
        self.reference = reference
        kind = ScanState if group.key.via is None else LinkState
        self.look = kind(group.aggregates, lateness_ms, reference) if self.kernel is None else None
        self.this_fields = {aggregate: this_fields(aggregate) for aggregate in group.aggregates}
        self._reads_this = any(self.this_fields.values())
        exact = [
            aggregate
            for aggregate in group.aggregates
            if aggregate.argument is not None and aggregate.argument.type.is_exact
        ]
        self.looked_at = {whole_series_of(aggregate) for aggregate in exact} if self.look is not None else set()

    @property
    def memory_bytes(self) -> int:
        return self.history.memory_bytes if self.history else 0

    @property
    def cell_bytes(self) -> int:
        return self.history.cell_bytes if self.history else 0

    def trim(self, watermark_ms: int, keys: int) -> None:
        """Release cells that no window can reach, for up to this many keys, in turn."""
        if self.look is not None:
            self.look.trim(watermark_ms, keys)
        elif self.history is not None:
            self.history.sweep(keys, watermark_ms)

    def link_pairs(self) -> None:
        """Register the pair keys of a batch for `clear`, after `feed` or `look_rows` coded them."""
        if self.keys.links is not None and not self.trial.is_on:
            self.keys.links.extend()

    def clear(self, key: int) -> None:
        """Remove all events of an entity's key, by its code. A trial has no later event, so it does nothing then."""
        if self.trial.is_on:
            return
        codes = (key,) if self.keys.links is None else self.keys.links.of(key)
        for code in codes:
            if self.look is not None:
                self.look.clear(code)
            elif self.history is not None:
                self.history.clear(code)

    def state(self) -> bytes | memoryview:
        """Return the history for `restore`, without key codes, which groups share."""
        if self.look is not None:
            return self.look.snapshot()
        return self.history.snapshot() if self.history is not None else b""

    def restore(self, history: bytes | memoryview) -> None:
        """Continue from the state of an equal group. Restore the key codes first.

        Raises: StateError if the history was made with another plan.
        """
        if self.look is not None:
            self.look.restore(history)
        elif self.history is not None:
            self.history.restore(history)

    # ---- groups with a kernel: its input and its answers

    def feed(self, frames: Frames, size: int, *, is_asked: bool = True) -> Feed:
        """Return the input of the history for a batch; without `is_asked` only events to store, and no queries."""
        assert self.kernel is not None
        series = self.kernel.series
        operands = self.kernel.operands
        series_count = len(self.kernel.plan.series)
        values = np.zeros((series_count + len(operands), size), np.int64)
        kept = np.zeros((series_count + len(operands), size), np.uint8)
        frame = frames.get(self.key.event)
        if self.key.via is None:
            inserts = self.keys.inserts(frames, size)
        else:
            values[series_count - OF_KEY], links = self.keys.linked(frames, size)
            kept[series_count - OF_KEY] = values[series_count - OF_KEY] >= 0
            kept[series_count - OF_LINK] = 1
            inserts = 2 * links
            if frame is not None:
                kept[series_count - OF_ARRIVAL, frame.places] = 1
        if frame is not None:
            for index, key in enumerate(series):
                values[index, frame.places], kept[index, frame.places] = self._series(key, frame, inserts)
        if not is_asked:
            return Feed(inserts, np.full(size, UNREAD, np.int64), values, kept)
        for event in self.group.asked_at & frames.keys() if operands else ():
            frame = frames[event]
            for index, node in enumerate(operands, series_count):
                values[index, frame.places], kept[index, frame.places] = self._words(node, frame)
        asks = self.keys.asks(frames, size)
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
        coded, fits = encode(column, key.argument.type, series_bounds(key))
        if fits is not column.valid:
            self.remarks.note_left_out(key, frame, inserts, kept & column.valid & ~fits)
        return coded, kept & fits

    def _words(self, node: Node, frame: Frame) -> tuple[Ints, Bools]:
        """Return the operand of a program at these events, and whether each is present.

        The planner uses a program only if all operands fit 64 bits. If it is wrong, a number that does not fit is
        missing and noted, so that it does not stop the log.
        """
        if node.type.is_text:
            return coded_texts(node, frame, self.texts)
        column = frame.evaluate(node)
        coded, fits = encode(column, node.type)
        if fits is not column.valid:
            self.remarks.note_operand(node, frame, column.valid & ~fits)
        return coded, fits

    def run(self, times: Ints, frames: Frames, watermark_ms: int | None) -> None:
        """Compute the group's aggregates for a batch, into the frames."""
        if self.look is not None:
            rows = self.look_rows(times, frames)
            answers = [self.look_row(row, time_ms, rows) for row, time_ms in enumerate(times.tolist())]
            self.remarks.note_missing(answers, rows[1], frames)
            self.deliver_answers(answers, frames)
            return
        assert self.history is not None
        fed = self.feed(frames, len(times))
        out, valid = self.history.run(times, fed.inserts, fed.asks, fed.values, fed.kept, watermark_ms)
        self.remarks.note_sums(valid, fed.asks, frames)
        self.deliver(out, valid, frames)

    def pass_over(self, times: Ints, frames: Frames, watermark_ms: int | None) -> None:
        """Store the events of a batch as `run` does, without computing answers."""
        if self.look is not None:
            inserts, items = self._look_items(frames, len(times))
            for row, time_ms in enumerate(times.tolist()):
                inserted = _inserted(row, inserts, items, is_linked=self.key.via is not None)
                if inserted:
                    self.look.row(time_ms, inserted, None)
            return
        assert self.history is not None
        fed = self.feed(frames, len(times), is_asked=False)
        self.history.run(times, fed.inserts, fed.asks, fed.values, fed.kept, watermark_ms, self.history.room(0))

    def deliver(self, out: Ints, valid: Bytes, frames: Frames) -> None:
        """Write a kernel's answers for a batch into the frames of the event types that need them."""
        is_valid = valid.view(np.bool_)
        for event in self.group.asked_at & frames.keys():
            frame = frames[event]
            places = frame.places
            if isinstance(places, slice):
                answers = out[:, places]
                is_present = is_valid[:, places]
            else:
                answers = out.take(places, 1)  # a tenth of the time of `out[:, places]`
                is_present = is_valid.take(places, 1)
            for number, aggregate in enumerate(self.group.aggregates):
                column = decode(answers[number], is_present[number], aggregate.type, self.texts)
                if self._reads_this:
                    column = _masked(aggregate, column, frame, self.this_fields[aggregate])
                frame.aggregates[aggregate] = column

    def deliver_answers(self, answers: Sequence[Sequence[Value]], frames: Frames) -> None:
        """Write the aggregates at each row of a batch into the frames that need them."""
        for event in self.group.asked_at & frames.keys():
            frame = frames[event]
            rows = frame.rows.tolist()
            for number, aggregate in enumerate(self.group.aggregates):
                column = column_of([answers[row][number] for row in rows], aggregate.type)
                frame.aggregates[aggregate] = _masked(aggregate, column, frame, self.this_fields[aggregate])

    # ---- groups without a kernel: Python evaluates the condition for each event

    def look_rows(self, times: Ints, frames: Frames) -> LookRows:
        """Return the input of `look_row` for all rows of a batch."""
        inserts, items = self._look_items(frames, len(times))
        asks = self.keys.asks(frames, len(times)).tolist()
        this: ByRow = {}
        for event in self.group.asked_at & frames.keys():
            this |= _rows(frames[event], leaves_of_this(self.group.aggregates))
        return inserts, asks, items, this

    def _look_items(self, frames: Frames, size: int) -> tuple[list[int], ByRow]:
        if self.key.via is not None:
            return self._link_items(self.key.via, frames, size)
        inserts = self.keys.inserts(frames, size)
        frame = frames.get(self.key.event)
        if frame is None:
            return inserts.tolist(), {}
        for key in self.looked_at:
            self._series(key, frame, inserts)  # only to note values that do not fit
        return inserts.tolist(), _rows(frame, leaves_of_item(self.group.aggregates))

    def _link_items(self, via: Via, frames: Frames, size: int) -> tuple[list[int], ByRow]:
        keys, links = self.keys.linked(frames, size)
        linking = frames.get(via.event)
        seen = frames.get(self.key.event)
        leaves = leaves_of_item(self.group.aggregates)
        items: ByRow = {}
        if linking is not None and linking is not seen:
            missing = {**dict.fromkeys(map(leaf_name, leaves)), IS_SEEN: False}
            items = {row: {**missing, LINK: int(links[row])} for row in linking.rows.tolist() if links[row] >= 0}
        if seen is not None:
            for key in self.looked_at:
                self._series(key, seen, links)  # only to note values that do not fit
            for row, fields in _rows(seen, leaves).items():
                if links[row] >= 0:
                    items[row] = {**fields, LINK: int(links[row]), IS_SEEN: True}
        return keys.tolist(), items

    def look_row(self, row: int, time_ms: int, rows: LookRows) -> list[Value]:
        """Answer one of the `rows` of `look_rows`, and store its event. Call it for the rows in order."""
        assert self.look is not None
        inserts, asks, items, this = rows
        asked = (asks[row], this.get(row, {})) if asks[row] >= 0 else None
        return self.look.row(time_ms, _inserted(row, inserts, items, is_linked=self.key.via is not None), asked)


def _masked(aggregate: Aggregate, column: Column, frame: Frame, fields: Sequence[ThisField]) -> Column:
    for node in fields:
        column = masked(column, frame.field(node.name, node.type).valid, aggregate.type)
    return column


def _inserted(row: int, inserts: list[int], items: ByRow, *, is_linked: bool) -> Keyed | None:
    is_stored = row in items if is_linked else inserts[row] >= 0
    return (inserts[row], items.get(row, {})) if is_stored else None


def series_bounds(key: SeriesKey) -> Bounds:
    """Return the bounds of the whole numbers that a series can store."""
    return UNITS if key.is_limited else WORD


def leaves_of_item(aggregates: Iterable[Aggregate]) -> list[Node]:
    read = [part for aggregate in aggregates for part in (aggregate.argument, aggregate.condition) if part is not None]
    return [node for part in read for node in walk(part) if isinstance(node, ItemField | ItemFeature)]


def leaves_of_this(aggregates: Iterable[Aggregate]) -> list[Node]:
    """Return the values that aggregates read of the event that needs them."""
    nodes = (node for aggregate in aggregates for node in walk(aggregate))
    return [node for node in nodes if isinstance(node, ThisField | FeatureValue)]


def leaf_name(node: Node) -> str:
    """Return the name under which a `ScanState` has a leaf: that of a field or feature, or `f of` for `f of E`."""
    return f"{node.name} of" if isinstance(node, ItemFeature) else node.name  # type: ignore[union-attr]  # a leaf


def _rows(frame: Frame, leaves: Sequence[Node]) -> ByRow:
    columns: dict[str, list[Value]] = {}
    for node in leaves:
        name = leaf_name(node)
        if name not in columns:
            columns[name] = values_of(frame.evaluate(node))
    names = list(columns)
    rows = zip(*columns.values(), strict=True) if columns else (() for _ in range(len(frame)))
    fields = (dict(zip(names, values, strict=True)) for values in rows)
    return dict(zip(frame.rows.tolist(), fields, strict=True))
