"""Scan state: windows in plain Python, for conditions that compare with `this` and are evaluated for each event.

`group_state` uses it if `scan_plan` has no program for a condition: for an order of texts, functions of both events at
once, and numbers that might exceed 64 bits.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from itertools import islice, repeat
from math import inf
from operator import itemgetter

from msgspec import Struct

from shroff.features.naive import aggregate_values
from shroff.features.online.value_codec import pack, pack_numbers, unpack, unpack_numbers
from shroff.json_types import TextDict
from shroff.language.expression import Aggregate, FeatureValue, ItemFeature, ItemField, Node, ThisField
from shroff.language.row import Evaluate, Reference, compile_row
from shroff.language.values import Value
from shroff.runtime.values import FrozenStruct

Fields = dict[str, Value]  # values of an event that aggregates read, by name
Cell = tuple[int, Fields]  # an event's time, then its fields
Keyed = tuple[int, Fields]  # the code of an event's key, then its fields
TIME = itemgetter(0)
_THIS_TIME = itemgetter(2)


class _Scan(FrozenStruct):
    aggregate: Aggregate
    keeps: Evaluate | None
    reads: Evaluate | None


class ScanState(Struct):
    """The events of one type by key, in order of (time, arrival), each with the fields that the aggregates read.

    Cost: a query evaluates the condition for each event in its window.
    """

    aggregates: Sequence[Aggregate]
    lateness_ms: int
    reference: Reference
    cells: dict[int, list[Cell]] = {}
    _looks: list[_Scan] = []
    _round: list[int] = []  # keys that the current round of trimming has not visited yet
    _reach_ms: float = 0  # the longest time back to the start of a window
    taken: int = 0  # events that `row` has inserted

    def __post_init__(self) -> None:
        for aggregate in self.aggregates:
            keeps, reads = (
                compile_row(node, _leaf, self.reference, time=TIME, this_time=_THIS_TIME) if node is not None else None
                for node in (aggregate.condition, aggregate.argument)
            )
            self._looks.append(_Scan(aggregate, keeps, reads))
            reach_ms = inf if aggregate.over_ms is None else aggregate.over_ms + aggregate.delay_ms
            self._reach_ms = max(self._reach_ms, reach_ms)

    def row(self, time_ms: int, insert: Keyed | None, asked: Keyed | None) -> list[Value]:
        """Answer a query, then insert an event; aggregates with `including this` are answered after that.

        Args:
            insert: The event's key code and fields; None if it is not stored.
            asked: The code of the key whose aggregates are needed, and the fields of `this`; None if none are.
        """
        answers: list[Value] = [None] * len(self._looks)
        if asked is not None:
            self._answer(time_ms, asked, answers, including=False)
        if insert is not None:
            insort(self.cells.setdefault(insert[0], []), (time_ms, insert[1]), key=TIME)
            self.taken += 1
        if asked is not None:
            self._answer(time_ms, asked, answers, including=True)
        return answers

    def _answer(self, time_ms: int, asked: Keyed, answers: list[Value], *, including: bool) -> None:
        cells = self.cells.get(asked[0], [])
        for index, look in enumerate(self._looks):
            aggregate = look.aggregate
            if aggregate.including != including:
                continue
            end = bisect_right(cells, time_ms - aggregate.delay_ms, key=TIME)
            start = 0
            if aggregate.over_ms is not None:
                start = bisect_right(cells, time_ms - aggregate.delay_ms - aggregate.over_ms, key=TIME)
            elif aggregate.last_n is not None:
                start = max(end - aggregate.last_n, 0)
            answers[index] = evaluate(look, cells[start:end], (time_ms, asked[1]))

    def take_back(self, inserted: Keyed, time_ms: int) -> None:
        """Remove the event that `row` inserted last."""
        remove_newest(self.cells, inserted[0], time_ms)

    def clear(self, key: int) -> None:
        self.cells.pop(key, None)

    def trim(self, watermark_ms: int, keys: int) -> None:
        """Release events that no future event can reach, for up to this many keys, in turn."""
        oldest_ms = watermark_ms - self.lateness_ms
        for _ in range(min(keys, len(self.cells))):
            if not self._round:
                self._round = list(self.cells)
            key = self._round.pop()
            cells = self.cells.get(key, [])
            if cells and cells[0][0] > oldest_ms - self._reach_ms > -inf:
                continue
            expired = min(_expired_count(aggregate, cells, oldest_ms) for aggregate in self.aggregates)
            self.forget(cells[:expired])
            del cells[:expired]
            if not cells:
                self.cells.pop(key, None)

    def forget(self, cells: list[Cell]) -> None:
        """Remove released cells from other indexes of a subclass."""

    def snapshot(self) -> bytes:
        """Return all state for `restore`: keys with their number of events, times and fields."""
        all_cells = [cell for cells in self.cells.values() for cell in cells]
        names = list(all_cells[0][1]) if all_cells else []
        counts = [number for key, cells in self.cells.items() for number in (key, len(cells))]
        columns = [pack([fields[name] for _, fields in all_cells]) for name in names]
        return pack([names, pack_numbers(counts), pack_numbers(time_ms for time_ms, _ in all_cells), columns])

    def restore(self, snapshot: bytes | memoryview) -> None:
        """Continue from a snapshot of a state with the same aggregates. Equal texts become one object."""
        names, counts, times, columns = unpack(snapshot)
        texts: TextDict = {}
        values = [
            [texts.setdefault(text, text) if type(text) is str else text for text in unpack(column)]
            for column in columns
        ]
        rows = zip(*values, strict=True) if names else repeat(())
        all_cells = (
            (time_ms, dict(zip(names, row, strict=True)))
            for time_ms, row in zip(unpack_numbers(times).tolist(), rows, strict=False)
        )
        pairs = unpack_numbers(counts).reshape(-1, 2).tolist()
        self.cells = {key: list(islice(all_cells, count)) for key, count in pairs}


def remove_newest(cells: dict[int, list[Cell]], key: int, time_ms: int) -> None:
    """Remove the cell of a key and a time that was inserted last."""
    cells_of_key = cells[key]
    del cells_of_key[bisect_right(cells_of_key, time_ms, key=TIME) - 1]
    if not cells_of_key:
        del cells[key]


def _expired_count(aggregate: Aggregate, cells: list[Cell], oldest_ms: int) -> int:
    """Return how many of the oldest cells an aggregate no longer needs if no event before `oldest_ms` comes."""
    if aggregate.over_ms is not None:
        return bisect_right(cells, oldest_ms - aggregate.over_ms - aggregate.delay_ms, key=TIME)
    if aggregate.last_n is not None:
        return max(bisect_right(cells, oldest_ms, key=TIME) - aggregate.last_n, 0)
    return 0


def evaluate(look: _Scan, window: list[Cell], this: Cell) -> Value:
    included = [cell for cell in window if look.keeps is None or look.keeps((*cell, *this)) is True]
    if look.reads is None:
        return aggregate_values(look.aggregate, included, len(window))
    values = [look.reads((*cell, *this)) for cell in included]
    return aggregate_values(look.aggregate, [value for value in values if value is not None], len(window))


def _leaf(node: Node) -> Evaluate:
    if isinstance(node, ItemField):
        name = node.name
        return lambda row: row[1][name]
    if isinstance(node, ItemFeature):
        feature = f"{node.name} of"
        return lambda row: row[1][feature]
    assert isinstance(node, ThisField | FeatureValue)
    field_name = node.name
    return lambda row: row[3][field_name]
