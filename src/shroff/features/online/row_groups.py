"""One group of aggregates for single events: like `group_state.GroupState`, with functions that are built in advance.

`row_engine` makes a `RowGroup` for each group. Both classes use the same history, so each batch may be processed by
columns or event by event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from shroff.features.batch.remarks import LEFT_OUT, SUM_OUTSIDE, Remarks
from shroff.features.kernels.layout import OF_ARRIVAL, OF_KEY, OF_LINK
from shroff.features.online.group_state import GroupState, leaf_name, leaves_of_item, leaves_of_this, series_bounds
from shroff.features.online.link_state import IS_SEEN, LINK
from shroff.features.online.row_reads import Row, RowReads, joined
from shroff.features.plan import SeriesKey, series_of
from shroff.features.value_bounds import WORD, Bounds
from shroff.language.expression import ItemField, Node, ThisField, fields_of_this, walk
from shroff.language.row import Evaluate
from shroff.runtime.values import replace

Fill = Callable[[Row], None]
_NO_KEY = -1


class Now:
    """The watermark before the event, in a cell that all groups share."""

    __slots__ = ("watermark_ms",)

    def __init__(self) -> None:
        self.watermark_ms: int | None = None


class RowGroup:
    """A group with the input arrays of one event. Functions of all event types write into the same arrays."""

    def __init__(self, group: GroupState, remarks: Remarks, now: Now) -> None:
        self.group = group
        self._remarks = remarks
        self._now = now
        self._series = 0 if group.kernel is None else len(group.kernel.plan.series)
        rows = 0 if group.kernel is None else self._series + len(group.kernel.operands)
        self._times, self._inserts, self._asks = (np.zeros(1, np.int64) for _ in range(3))
        self._values = np.zeros((rows, 1), np.int64)
        self._kept = np.zeros((rows, 1), np.uint8)
        self._words = self._values.reshape(-1).data
        self._floats = self._values.reshape(-1).view(np.float64).data
        self._present = self._kept.reshape(-1).data
        if group.kernel is not None and group.key.via is not None:
            self._present[self._series - OF_LINK] = 1
            self._present[self._series - OF_ARRIVAL] = group.key.event == group.key.via.event
        self._time, self._insert, self._ask = (column.data for column in (self._times, self._inserts, self._asks))

    def step(self, reads: RowReads) -> Fill | None:
        """Build the function that adds an event of a type to the state, and writes its answers into the row.

        Allocates a slot of the row for each answer. None if the group neither stores nor answers events of this type.
        """
        insert = self._insert_key(reads)
        ask = self._ask_key(reads)
        if insert is None and ask is None:
            return None
        slots = [reads.place(aggregate) for aggregate in self.group.group.aggregates] if ask is not None else []
        if self.group.look is not None:
            return self._look_step(reads, insert, ask, slots)
        return self._kernel_step(reads, insert, ask, slots)

    # ---- keys

    def _insert_key(self, reads: RowReads) -> Evaluate | None:
        """Return a reader of the key under which an event is stored; None if events of this type are not stored."""
        key = self.group.key
        if reads.type.name != (key.event if key.via is None else key.via.event):
            return None
        if key.matching is None:
            value = reads.key(key.entity)
        else:
            type_ = next(field.type for field in reads.type.fields if field.name == key.matching)
            value = reads.evaluate(ItemField(type_, key.matching))
        return joined([value, *(reads.evaluate(item) for item, _ in key.pairs)]) if key.pairs else value

    def _ask_key(self, reads: RowReads) -> Evaluate | None:
        """Return a reader of the key whose aggregates an event needs; None if events of this type need none."""
        key = self.group.key
        if reads.type.name not in self.group.group.asked_at:
            return None
        value = reads.key(key.entity)
        return joined([value, *(_asking(this, reads) for _, this in key.pairs)]) if key.pairs else value

    # ---- groups with a kernel

    def _kernel_step(self, reads: RowReads, insert: Evaluate | None, ask: Evaluate | None, slots: list[int]) -> Fill:
        history = self.group.history
        kernel = self.group.kernel
        assert history is not None
        assert kernel is not None
        via = self.group.key.via
        fills = list[Fill]()
        if insert is not None and self.group.key.event == reads.type.name:
            fills = [self._series_fill(index, key, reads) for index, key in enumerate(kernel.series)]
        if ask is not None:
            fills += [self._words_fill(index, node, reads) for index, node in enumerate(kernel.operands, self._series)]
        link = None if via is None or insert is None else reads.evaluate(via.operand)
        is_linked = via is not None
        link_codes = self.group.keys.link_codes
        key_at = self._series - OF_KEY
        words = self._words
        present = self._present
        answers = history.room(1)
        arguments = self._times, self._inserts, self._asks, self._values, self._kept
        deliver = self._delivery(reads, slots, *answers)
        is_same_key = insert is not None and not self.group.key.pairs and self.group.key.matching is None
        codes = self.group.keys.codes
        now = self._now
        insert_view = self._insert
        ask_view = self._ask
        time_view = self._time
        time_at = reads.time_at

        def step(row: Row) -> None:
            inserted = _NO_KEY if insert is None else codes.add(insert(row))
            if ask is None:
                asked = _NO_KEY
            elif is_same_key:
                asked = inserted
            else:
                asked = codes.add(ask(row))
            if is_linked:  # a history with links has link values under even codes, and keys under odd ones
                asked = 2 * asked + 1
            if link is not None:
                words[key_at] = inserted
                present[key_at] = inserted >= 0
                inserted = 2 * link_codes.add(link(row))
            insert_view[0] = inserted
            for fill in fills:
                fill(row)
            if inserted < 0 and asked < 0:
                return
            ask_view[0] = asked
            time_view[0] = row[time_at]
            history.run(*arguments, now.watermark_ms, answers)
            if asked >= 0:
                deliver(row)

        return step

    def _series_fill(self, index: int, key: SeriesKey, reads: RowReads) -> Fill:
        if key.is_operand and key.argument is not None:
            return self._words_fill(index, key.argument, reads)
        where = None if key.where is None else reads.evaluate(key.where)
        if key.argument is None:
            return self._filled(index, lambda row: 0, where, is_real=False)
        value = reads.evaluate(key.argument)
        if key.argument.type.is_text:
            return self._filled(index, self._coded(value), where, is_real=False)
        if key.argument.type.kind == "real":
            return self._filled(index, value, where, is_real=True)
        fitting = _fitting(value, series_bounds(key), self._note_left_out(key, reads))
        return self._filled(index, fitting, where, is_real=False)

    def _words_fill(self, index: int, node: Node, reads: RowReads) -> Fill:
        value = reads.evaluate(node)
        if node.type.is_text:
            return self._filled(index, self._coded(value), None, is_real=False)
        if node.type.kind == "real":
            return self._filled(index, value, None, is_real=True)
        askers = [
            feature
            for aggregate, asker in self.group.group.askers.items()
            if node in walk(aggregate)
            for feature in asker
        ]
        remarks = self._remarks
        number_at = reads.number_at
        fitting = _fitting(value, WORD, lambda row: remarks.note(LEFT_OUT, askers, row[number_at]))
        return self._filled(index, fitting, None, is_real=False)

    def _coded(self, value: Evaluate) -> Evaluate:
        texts = self.group.texts
        return lambda row: None if (text := value(row)) is None else texts.add(text)

    def _filled(self, index: int, value: Evaluate, where: Evaluate | None, *, is_real: bool) -> Fill:
        words = self._floats if is_real else self._words
        present = self._present

        def fill(row: Row) -> None:
            read = value(row)
            if read is None or (where is not None and where(row) is not True):
                present[index] = 0
            else:
                words[index] = read
                present[index] = 1

        return fill

    def _delivery(self, reads: RowReads, slots: list[int], out: Any, valid: Any) -> Fill:
        """Build the function that copies a kernel's answers, in `out` and `valid`, into the row that asked."""
        words = memoryview(out.reshape(-1))
        floats = memoryview(out.reshape(-1).view(np.float64))
        flags = memoryview(valid.reshape(-1))
        texts = self.group.texts
        kinds = [aggregate.type.kind for aggregate in self.group.group.aggregates] if slots else []
        numeric = list[tuple[int, int, Any]]()
        decoded = list[tuple[int, int, bool]]()
        for number, (slot, kind) in enumerate(zip(slots, kinds, strict=True)):
            if kind in {"text", "choice", "boolean"}:
                decoded.append((number, slot, kind == "boolean"))
            else:
                numeric.append((number, slot, floats if kind == "real" else words))
        hide = self._hide_unasked(reads, slots)
        note_sum = self._note_missing_sum(reads)
        sums = self.group.remarks.sums

        def deliver(row: Row) -> None:
            for number, slot, view in numeric:
                if flags[number]:
                    row[slot] = view[number]
            for number, slot, is_boolean in decoded:
                if flags[number]:
                    row[slot] = words[number] != 0 if is_boolean else texts.values[words[number]]
            for number in sums:
                if not flags[number]:
                    note_sum(row, number)
            if hide is not None:
                hide(row)

        return deliver

    # ---- groups in Python, whose condition reads each event of a window

    def _look_step(self, reads: RowReads, insert: Evaluate | None, ask: Evaluate | None, slots: list[int]) -> Fill:
        look = self.group.look
        sums = self.group.remarks.sums
        codes = self.group.keys.codes
        link_codes = self.group.keys.link_codes
        assert look is not None
        aggregates = self.group.group.aggregates
        via = self.group.key.via
        is_seen = self.group.key.event == reads.type.name
        items = _named(reads, [] if insert is None else leaves_of_item(aggregates))
        link = None if via is None or insert is None else reads.evaluate(via.operand)
        this = _named(reads, [] if ask is None else leaves_of_this(aggregates))
        looked_at = [
            _fitting(reads.evaluate(key.argument), series_bounds(key), self._note_left_out(key, reads))
            for key in (self.group.looked_at if insert is not None and is_seen else ())
            if key.argument is not None
        ]
        hide = self._hide_unasked(reads, slots)
        note_sum = self._note_missing_sum(reads)
        time_at = reads.time_at
        insert_view = self._insert
        trial = self.group.trial

        def step(row: Row) -> None:
            inserted = _NO_KEY if insert is None else codes.add(insert(row))
            asked = _NO_KEY if ask is None else codes.add(ask(row))
            linked = inserted if link is None else link_codes.add(link(row))
            insert_view[0] = linked
            for note in looked_at:
                note(row)
            if linked < 0 and asked < 0:
                return
            item = None
            if linked >= 0:
                item = (inserted, {name: read(row) for name, read in items})
                if link is not None:
                    item[1].update({LINK: linked, IS_SEEN: is_seen})
                if trial.is_on:
                    trial.note_look(look, item, row[time_at])
            asking = None if asked < 0 else (asked, {name: read(row) for name, read in this})
            answers = look.row(row[time_at], item, asking)
            if asking is None:
                return
            for slot, answer in zip(slots, answers, strict=True):
                row[slot] = answer
            for number in sums:
                if answers[number] is None:
                    note_sum(row, number)
            if hide is not None:
                hide(row)

        return step

    # ---- missing values, and remarks about them

    def _hide_unasked(self, reads: RowReads, slots: list[int]) -> Fill | None:
        """Build the function that blanks each answer whose condition reads a missing field of `this`.

        None if no condition reads a field of `this`.
        """
        slots_with_fields: list[tuple[int, list[int | None]]] = []
        for slot, aggregate in zip(slots, self.group.group.aggregates if slots else (), strict=True):
            fields = self.group.this_fields[aggregate]
            if fields:
                slots_with_fields.append((slot, [reads.field_at(field.name) for field in fields]))
        if not slots_with_fields:
            return None

        def hide(row: Row) -> None:
            for slot, field_slots in slots_with_fields:
                if any(field is None or row[field] is None for field in field_slots):
                    row[slot] = None

        return hide

    def _note_left_out(self, key: SeriesKey, reads: RowReads) -> Fill:
        """Build the function that notes a value of a stored event that does not fit its series and is left out."""
        noted: list[tuple[Any, Evaluate | None]] = []  # features and rules, and the condition for noting; None: always
        for aggregate, askers in self.group.group.askers.items():
            series = series_of(aggregate)
            if series is None or replace(series, where=None) != replace(key, where=None):
                continue
            if series.where == key.where:
                noted.append((askers, None))
            elif self.group.key.is_look and series.where is not None:
                noted.append((askers, reads.evaluate(series.where)))
        remarks = self._remarks
        number_at = reads.number_at
        insert_view = self._insert
        condition = None if key.where is None else reads.evaluate(key.where)

        def leave_out(row: Row) -> None:
            if insert_view[0] < 0 or (condition is not None and condition(row) is not True):
                return
            for askers, where in noted:
                if where is None or where(row) is True:
                    remarks.note(LEFT_OUT, askers, row[number_at])

        return leave_out

    def _note_missing_sum(self, reads: RowReads) -> Callable[[Row, int], None]:
        """Build the function that notes a missing sum of an event with a key: the sum is then out of range."""
        aggregates = self.group.group.aggregates
        group = self.group
        remarks = self._remarks
        name = reads.type.name
        time_at = reads.time_at
        number_at = reads.number_at

        def note(row: Row, number: int) -> None:
            aggregate = aggregates[number]
            fields = [reads.field_at(field.name) for field in group.this_fields[aggregate]]
            if any(field is None or row[field] is None for field in fields):
                return
            askers = [
                asker
                for asker in group.group.askers[aggregate]
                if name in asker.events and (asker.expires_ms is None or row[time_at] < asker.expires_ms)
            ]
            remarks.note(SUM_OUTSIDE, askers, row[number_at])

        return note


def _fitting(value: Evaluate, bounds: Bounds, leave_out: Fill) -> Evaluate:
    """Return a reader of a whole number; for a number outside the bounds it calls `leave_out` and returns None."""
    lowest, largest = bounds

    def fitting(row: Row) -> Any:
        number = value(row)
        if number is None or lowest <= number <= largest:
            return number
        leave_out(row)
        return None

    return fitting


def _asking(this: Node, reads: RowReads) -> Evaluate:
    """Return a reader of the `this` side of a pair key.

    A value that is missing although its fields are present is `()`, which equals no stored key.
    """
    value = reads.evaluate(this)
    if isinstance(this, ThisField):
        return value
    fields = [reads.field_at(name) for name in sorted(fields_of_this(this))]

    def asking(row: Row) -> Any:
        side = value(row)
        if side is None and all(field is not None and row[field] is not None for field in fields):
            return ()
        return side

    return asking


def _named(reads: RowReads, leaves: list[Any]) -> list[tuple[str, Evaluate]]:
    """Return the name of each distinct leaf, as conditions read it, with its reader."""
    return list({leaf_name(node): reads.evaluate(node) for node in leaves}.items())
