"""One aggregate group for single events: like `group_state.GroupState`, but with prebuilt functions.

The history is the same one, so a batch may go either way whatever the one before it did.
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
_NOBODY = -1


class Now:
    """Values shared by all groups: the watermark before the event."""

    __slots__ = ("watermark_ms",)

    def __init__(self) -> None:
        self.watermark_ms: int | None = None


class RowGroup:
    """A group with room for one event, which all event types share."""

    def __init__(self, group: GroupState, remarks: Remarks, now: Now) -> None:
        self.group = group
        self._remarks = remarks
        self._now = now
        self._series = 0 if group.kernel is None else len(group.kernel.plan.series)
        rows = 0 if group.kernel is None else self._series + len(group.kernel.operands)
        self._times, self._inserts, self._asks = (np.zeros(1, np.int64) for _ in range(3))
        self._values, self._kept = np.zeros((rows, 1), np.int64), np.zeros((rows, 1), np.uint8)
        self._words = self._values.reshape(-1).data
        self._floats = self._values.reshape(-1).view(np.float64).data
        self._there = self._kept.reshape(-1).data
        if group.kernel is not None and group.key.via is not None:
            self._there[self._series - OF_LINK] = 1
            self._there[self._series - OF_ARRIVAL] = group.key.event == group.key.via.event
        self._time, self._insert, self._ask = (column.data for column in (self._times, self._inserts, self._asks))

    def step(self, reads: RowReads) -> Fill | None:
        """Function that adds an event of this type to the state and puts its answers into the row; None: nothing to do.

        The places of the answers are made here.
        """
        insert = self._insert_key(reads)
        ask = self._ask_key(reads)
        if insert is None and ask is None:
            return None
        places = [reads.place(aggregate) for aggregate in self.group.group.aggregates] if ask is not None else []
        if self.group.look is not None:
            return self._look_step(reads, insert, ask, places)
        return self._kernel_step(reads, insert, ask, places)

    # ---- keys

    def _insert_key(self, reads: RowReads) -> Evaluate | None:
        """The function that gives the key with which an event comes in; None where this type does not."""
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
        """The function that gives the key that an event asks about; None where this type does not ask."""
        key = self.group.key
        if reads.type.name not in self.group.group.asked_at:
            return None
        value = reads.key(key.entity)
        return joined([value, *(_asking(this, reads) for _, this in key.pairs)]) if key.pairs else value

    # ---- in a kernel's history

    def _kernel_step(self, reads: RowReads, insert: Evaluate | None, ask: Evaluate | None, places: list[int]) -> Fill:
        history = self.group.history
        kernel = self.group.kernel
        assert history is not None
        assert kernel is not None
        via = self.group.key.via
        fills = list[Fill]()
        if insert is not None and self.group.key.event == reads.type.name:
            fills = [self._series_fill(at, key, reads) for at, key in enumerate(kernel.series)]
        if ask is not None:
            fills += [self._words_fill(at, node, reads) for at, node in enumerate(kernel.operands, self._series)]
        link = None if via is None or insert is None else reads.evaluate(via.operand)
        is_linked = via is not None
        link_codes = self.group.keys.link_codes
        key_at = self._series - OF_KEY
        words = self._words
        there = self._there
        room = history.room(1)
        arguments = self._times, self._inserts, self._asks, self._values, self._kept
        deliver = self._delivery(reads, places, *room)
        is_one = insert is not None and not self.group.key.pairs and self.group.key.matching is None  # the same key
        codes = self.group.keys.codes
        now = self._now
        insert_view = self._insert
        ask_view = self._ask
        time_view = self._time
        time_at = reads.time_at

        def step(row: Row) -> None:
            inserted = _NOBODY if insert is None else codes.add(insert(row))
            asked = _NOBODY if ask is None else inserted if is_one else codes.add(ask(row))
            if is_linked:
                asked = 2 * asked + 1
            if link is not None:
                words[key_at] = inserted
                there[key_at] = inserted >= 0
                inserted = 2 * link_codes.add(link(row))
            insert_view[0] = inserted
            for fill in fills:
                fill(row)
            if inserted < 0 and asked < 0:
                return
            ask_view[0] = asked
            time_view[0] = row[time_at]
            history.run(*arguments, now.watermark_ms, room)
            if asked >= 0:
                deliver(row)

        return step

    def _series_fill(self, at: int, key: SeriesKey, reads: RowReads) -> Fill:
        """Function that passes the value of a series to the history, if there is one."""
        if key.is_operand and key.argument is not None:
            return self._words_fill(at, key.argument, reads)
        where = None if key.where is None else reads.evaluate(key.where)
        if key.argument is None:
            return self._filled(at, lambda row: 0, where, is_real=False)
        value = reads.evaluate(key.argument)
        if key.argument.type.is_text:
            return self._filled(at, self._coded(value), where, is_real=False)
        if key.argument.type.kind == "real":
            return self._filled(at, value, where, is_real=True)
        fitting = _fitting(value, series_bounds(key), self._leaving_out(key, reads))
        return self._filled(at, fitting, where, is_real=False)

    def _words_fill(self, at: int, node: Node, reads: RowReads) -> Fill:
        """Function that passes the operands of a program to the history; see `GroupState`."""
        value = reads.evaluate(node)
        if node.type.is_text:
            return self._filled(at, self._coded(value), None, is_real=False)
        if node.type.kind == "real":
            return self._filled(at, value, None, is_real=True)
        askers = [
            feature
            for aggregate, asker in self.group.group.askers.items()
            if node in walk(aggregate)
            for feature in asker
        ]
        remarks = self._remarks
        number_at = reads.number_at
        fitting = _fitting(value, WORD, lambda row: remarks.note(LEFT_OUT, askers, row[number_at]))
        return self._filled(at, fitting, None, is_real=False)

    def _coded(self, value: Evaluate) -> Evaluate:
        """The code of a text; None where it is missing."""
        texts = self.group.texts
        return lambda row: None if (text := value(row)) is None else texts.add(text)

    def _filled(self, at: int, value: Evaluate, where: Evaluate | None, *, is_real: bool) -> Fill:
        words = self._floats if is_real else self._words
        there = self._there

        def fill(row: Row) -> None:
            found = value(row)
            if found is None or (where is not None and where(row) is not True):
                there[at] = 0
            else:
                words[at] = found
                there[at] = 1

        return fill

    def _delivery(self, reads: RowReads, places: list[int], out: Any, valid: Any) -> Fill:
        """What puts a kernel's answers into a row that asks."""
        words, floats = memoryview(out.reshape(-1)), memoryview(out.reshape(-1).view(np.float64))
        flags = memoryview(valid.reshape(-1))
        texts = self.group.texts
        kinds = [aggregate.type.kind for aggregate in self.group.group.aggregates] if places else []
        plain, others = list[tuple[int, int, Any]](), list[tuple[int, int, bool]]()
        for number, (at, kind) in enumerate(zip(places, kinds, strict=True)):
            if kind in {"text", "choice", "boolean"}:
                others.append((number, at, kind == "boolean"))
            else:
                plain.append((number, at, floats if kind == "real" else words))
        hide, note_sums = self._hiding(reads, places), self._noting_sums(reads)
        sums = self.group.remarks.sums

        def deliver(row: Row) -> None:
            for number, at, view in plain:
                if flags[number]:
                    row[at] = view[number]
            for number, at, is_truth in others:
                if flags[number]:
                    row[at] = words[number] != 0 if is_truth else texts.values[words[number]]
            for number in sums:
                if not flags[number]:
                    note_sums(row, number)
            if hide is not None:
                hide(row)

        return deliver

    # ---- where each event is looked at, in Python

    def _look_step(self, reads: RowReads, insert: Evaluate | None, ask: Evaluate | None, places: list[int]) -> Fill:
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
            _fitting(reads.evaluate(key.argument), series_bounds(key), self._leaving_out(key, reads))
            for key in (self.group.looked_at if insert is not None and is_seen else ())
            if key.argument is not None
        ]
        hide, note_sums, time_at = self._hiding(reads, places), self._noting_sums(reads), reads.time_at
        insert_view = self._insert
        trial = self.group.trial

        def step(row: Row) -> None:
            inserted = _NOBODY if insert is None else codes.add(insert(row))
            asked = _NOBODY if ask is None else codes.add(ask(row))
            linked = insert_view[0] = inserted if link is None else link_codes.add(link(row))
            for note in looked_at:
                note(row)
            if linked < 0 and asked < 0:
                return
            item = None if linked < 0 else (inserted, {name: read(row) for name, read in items})
            if item is not None and link is not None:
                item[1].update({LINK: linked, IS_SEEN: is_seen})
            asking = None if asked < 0 else (asked, {name: read(row) for name, read in this})
            if item is not None and trial.is_on:
                trial.note_look(look, item, row[time_at])
            answers = look.row(row[time_at], item, asking)
            if asking is None:
                return
            for at, answer in zip(places, answers, strict=True):
                row[at] = answer
            for number in sums:
                if answers[number] is None:
                    note_sums(row, number)
            if hide is not None:
                hide(row)

        return step

    # ---- what is missing, and what is told of it

    def _hiding(self, reads: RowReads, places: list[int]) -> Fill | None:
        """What makes answers missing where a field of `this` that their condition reads is; None: no condition does."""
        hidden: list[tuple[int, list[int | None]]] = []
        for at, aggregate in zip(places, self.group.group.aggregates if places else (), strict=True):
            if fields := self.group.this_fields[aggregate]:
                hidden.append((at, [reads.field_at(field.name) for field in fields]))
        if not hidden:
            return None

        def hide(row: Row) -> None:
            for at, fields in hidden:
                if any(field is None or row[field] is None for field in fields):
                    row[at] = None

        return hide

    def _leaving_out(self, key: SeriesKey, reads: RowReads) -> Fill:
        """What notes that a value of a series does not fit, of an event that comes into the history."""
        told: list[tuple[Any, Evaluate | None]] = []
        for aggregate, askers in self.group.group.askers.items():
            series = series_of(aggregate)
            if series is None or replace(series, where=None) != replace(key, where=None):
                continue
            if series.where == key.where:
                told.append((askers, None))
            elif self.group.key.is_look and series.where is not None:
                told.append((askers, reads.evaluate(series.where)))
        remarks = self._remarks
        number_at = reads.number_at
        insert_view = self._insert
        own = None if key.where is None else reads.evaluate(key.where)

        def leave_out(row: Row) -> None:
            if insert_view[0] < 0 or (own is not None and own(row) is not True):
                return
            for askers, where in told:
                if where is None or where(row) is True:
                    remarks.note(LEFT_OUT, askers, row[number_at])

        return leave_out

    def _noting_sums(self, reads: RowReads) -> Callable[[Row, int], None]:
        """What notes that a sum was asked for with a key and is missing all the same."""
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
    """A whole number between these bounds; another one is left out."""
    lowest, largest = bounds

    def fitting(row: Row) -> Any:
        found = value(row)
        if found is None or lowest <= found <= largest:
            return found
        leave_out(row)
        return None

    return fitting


def _asking(this: Node, reads: RowReads) -> Evaluate:
    """The asking side of a pair key; see `running`."""
    value = reads.evaluate(this)
    if isinstance(this, ThisField):
        return value
    fields = [reads.field_at(name) for name in sorted(fields_of_this(this))]

    def asking(row: Row) -> Any:
        found = value(row)
        if found is None and all(field is not None and row[field] is not None for field in fields):
            return ()
        return found

    return asking


def _named(reads: RowReads, leaves: list[Any]) -> list[tuple[str, Evaluate]]:
    """Values read of a row for some leaves, by the names that queries have for them."""
    return list({leaf_name(node): reads.evaluate(node) for node in leaves}.items())
