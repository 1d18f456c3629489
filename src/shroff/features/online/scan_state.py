"""Scan state: windows whose every event is looked at, for conditions that compare with `this`.

In plain Python, for what `scan_plan` has no program: an order of texts, functions of both
events at once, numbers that might leave 64 bits.
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

Fields = dict[str, Value]  # what looks read of an event, by name
Cell = tuple[int, Fields]  # its time before them
Keyed = tuple[int, Fields]  # the code of its key before them
TIME = itemgetter(0)
_THIS_TIME = itemgetter(2)


class _Scan(FrozenStruct):
    aggregate: Aggregate
    keeps: Evaluate | None
    reads: Evaluate | None


class ScanState(Struct):
    """The events of one type by key, each with the fields that the aggregates read, by (time, arrival)."""

    aggregates: Sequence[Aggregate]
    lateness_ms: int
    reference: Reference
    cells: dict[int, list[Cell]] = {}
    _looks: list[_Scan] = []
    _round: list[int] = []  # keys that this round of trimming has yet to look at
    _reach_ms: float = 0  # how far back the aggregates look
    taken: int = 0  # events that `row` took in since this was made

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
        """Process one event in log order: its own cell and key, and the query with the fields of `this`."""
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
        for at, look in enumerate(self._looks):
            aggregate = look.aggregate
            if aggregate.including != including:
                continue
            end = bisect_right(cells, time_ms - aggregate.delay_ms, key=TIME)
            start = 0
            if aggregate.over_ms is not None:
                start = bisect_right(cells, time_ms - aggregate.delay_ms - aggregate.over_ms, key=TIME)
            elif aggregate.last_n is not None:
                start = max(end - aggregate.last_n, 0)
            answers[at] = evaluate(look, cells[start:end], (time_ms, asked[1]))

    def take_back(self, inserted: Keyed, time_ms: int) -> None:
        """Take out the event that `row` took in last."""
        remove_newest(self.cells, inserted[0], time_ms)

    def clear(self, key: int) -> None:
        self.cells.pop(key, None)

    def trim(self, watermark_ms: int, keys: int) -> None:
        """Release cells out of reach of any future event, for up to this many keys, round robin."""
        oldest_ms = watermark_ms - self.lateness_ms
        for _ in range(min(keys, len(self.cells))):
            if not self._round:
                self._round = list(self.cells)
            key = self._round.pop()
            cells = self.cells.get(key, [])
            if cells and cells[0][0] > oldest_ms - self._reach_ms > -inf:
                continue
            over = min(_over(aggregate, cells, oldest_ms) for aggregate in self.aggregates)
            self.forget(cells[:over])
            del cells[:over]
            if not cells:
                self.cells.pop(key, None)

    def forget(self, cells: list[Cell]) -> None:
        """Let go of cells that are released, wherever else they are."""

    def snapshot(self) -> bytes:
        """All state for `restore`: keys with their number of events, times and fields."""
        listed = [cell for cells in self.cells.values() for cell in cells]
        names = list(listed[0][1]) if listed else []
        counts = [number for key, cells in self.cells.items() for number in (key, len(cells))]
        columns = [pack([fields[name] for _, fields in listed]) for name in names]
        return pack([names, pack_numbers(counts), pack_numbers(time_ms for time_ms, _ in listed), columns])

    def restore(self, snapshot: bytes | memoryview) -> None:
        """Continue from a snapshot of a history of the same aggregates. Equal texts are one object again."""
        names, counts, times, columns = unpack(snapshot)
        texts: TextDict = {}
        values = [
            [texts.setdefault(text, text) if type(text) is str else text for text in unpack(column)]
            for column in columns
        ]
        rows = zip(*values, strict=True) if names else repeat(())
        listed = (
            (time_ms, dict(zip(names, row, strict=True)))
            for time_ms, row in zip(unpack_numbers(times).tolist(), rows, strict=False)
        )
        pairs = unpack_numbers(counts).reshape(-1, 2).tolist()
        self.cells = {key: list(islice(listed, count)) for key, count in pairs}


def remove_newest(cells: dict[int, list[Cell]], key: int, time_ms: int) -> None:
    """Remove the cell of a key that came last of those of this time."""
    mine = cells[key]
    del mine[bisect_right(mine, time_ms, key=TIME) - 1]
    if not mine:
        del cells[key]


def _over(aggregate: Aggregate, cells: list[Cell], oldest_ms: int) -> int:
    """Number of oldest cells that an aggregate no longer needs if no event before `oldest_ms` comes."""
    if aggregate.over_ms is not None:
        return bisect_right(cells, oldest_ms - aggregate.over_ms - aggregate.delay_ms, key=TIME)
    if aggregate.last_n is not None:
        return max(bisect_right(cells, oldest_ms, key=TIME) - aggregate.last_n, 0)
    return 0


def evaluate(look: _Scan, seen: list[Cell], this: Cell) -> Value:
    kept = [cell for cell in seen if look.keeps is None or look.keeps((*cell, *this)) is True]
    if look.reads is None:
        return aggregate_values(look.aggregate, kept, len(seen))
    values = [value for cell in kept if (value := look.reads((*cell, *this))) is not None]
    return aggregate_values(look.aggregate, values, len(seen))


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
