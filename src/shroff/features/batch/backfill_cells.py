"""A history sorted by key: its rows, and each series in the form that its queries need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any, Final

import numpy as np

from shroff.arrays import Array, Bytes, Ints, Ints32
from shroff.features.batch.backfill_plan import (
    BASE,
    IS_REAL,
    IS_WIDE,
    OF_LINKS,
    OF_MAP,
    OF_RANKS,
    OF_SQUARES,
    OF_SUM,
    OF_VALUE,
    SCALE,
    SERIES_WORDS,
    WORDS,
)
from shroff.features.online.window_state import HistoryPlan
from shroff.language.aggregates import State
from shroff.runtime.values import FrozenStruct, replace

# Calls a function with each tuple of arguments, on several threads, and returns the results in order.
Run = Callable[[Callable[..., Any], Iterable[tuple[Any, ...]]], list[Any]]
Span = tuple[int, int]

NARROW_SCALE_MAX = 10**9  # its square, and its product with the number of rows, fit into 64 bits
SERVES: Final[dict[int, tuple[State, ...]]] = {  # states that need a stored part
    OF_SUM: ("sums", "squares"),
    OF_SQUARES: ("squares",),
    OF_VALUE: ("extremes", "ends", "values", "ranks"),
    OF_LINKS: ("values",),
    OF_RANKS: ("ranks",),
}


class Order(FrozenStruct):
    """Rows sorted by key, then in log order: a slot for each, [start, end) for each key.

    The keys are divided into ranges of about equally many rows, each followed by one free slot. `slot_of` has
    `nowhere`, the last slot, for rows without a key.
    """

    ranges: tuple[Span, ...]
    starts: Ints
    ends: Ints
    rows: Ints32
    slot_of: Ints32

    @property
    def nowhere(self) -> int:
        return len(self.rows) - 1

    @property
    def spans(self) -> list[Span]:
        return [self.span(keys) for keys in self.ranges]

    def span(self, keys: Span) -> Span:
        """Return the slots of a range of keys."""
        return int(self.starts[keys[0]]), int(self.ends[keys[1] - 1])

    def cut(self, key: int, begin: int, end: int) -> Order:
        """Return the order with only these slots of a key."""
        starts, ends = self.starts.copy(), self.ends.copy()
        starts[key], ends[key] = begin, end
        return replace(self, starts=starts, ends=ends)

    def most_of(self, keys: Span) -> int:
        """Return the number of rows of the largest key of a range."""
        first, last = keys
        return int((self.ends[first:last] - self.starts[first:last]).max(initial=0))


class AskedRows(FrozenStruct):
    """Rows with queries, by key: their order and times, and the cells [start, end) of each key.

    `come` is the number of the key's cells that are in time order.
    """

    order: Order
    times: Ints
    late: Bytes
    starts: Ints
    ends: Ints
    come: Ints

    def most_cells_of(self, keys: Span) -> int:
        """Return the number of cells of the largest key of a range."""
        first, last = keys
        return int((self.ends[first:last] - self.starts[first:last]).max(initial=0))

    def parts(self, threads: int) -> Iterator[tuple[Span, AskedRows]]:
        """Yield ranges of keys with their queries; a key too large for one thread is split.

        A key with late rows stays whole, because its cells are put in time order one after the other.
        """
        most = max(sum(end - begin for begin, end in self.order.spans) // threads, 1)
        for keys in self.order.ranges:
            (begin, end), key = self.order.span(keys), keys[0]
            cuts = 1 if keys[1] - key > 1 or self.late[key] else -(-(end - begin) // most)
            for low, high in parts_of(end - begin, cuts):
                yield keys, self if cuts == 1 else replace(self, order=self.order.cut(key, begin + low, begin + high))


def sort_by_key(run: Run, keys: Ints, limit: int, *, first_row: int, parts: int, ranges: int) -> Order:
    """Sort rows by key code, which is below `limit`; a stable counting sort.

    Args:
        first_row: Number of the first row in `keys`.
        parts: Number of parts of the rows that are sorted in parallel.
        ranges: Number of ranges of keys.

    Cost: O(rows + limit).
    """
    from shroff.features.batch.backfill_kernels import count_keys, sort_rows

    parts = max(1, min(parts, len(keys) // (limit + 1)))  # each part has counters for all keys
    spans = parts_of(len(keys), parts)
    counts = np.zeros((parts, limit), np.int64)
    run(count_keys, [(keys, *part, counts[i]) for i, part in enumerate(spans)])
    lengths = counts.sum(axis=0)
    upto = np.cumsum(lengths)
    key_ranges = ranges_of(upto, ranges)
    starts = upto - lengths
    for i, (first, last) in enumerate(key_ranges):
        starts[first:last] += i
    size = int(lengths.sum()) + len(key_ranges)
    rows, slot_of = np.zeros(size + 1, np.int32), np.empty(len(keys), np.int32)
    slots = np.cumsum(counts, axis=0) - counts + starts
    run(sort_rows, [(keys, *part, slots[i], rows, slot_of, first_row, size) for i, part in enumerate(spans)])
    return Order(key_ranges, starts, starts + lengths, rows, slot_of)


def put_by_slot(run: Run, order: Order, source: Array, target: Array, parts: int) -> None:
    """Scatter the values of rows (numbers or flags) into their slots."""
    from shroff.features.batch.backfill_kernels import scatter, scatter_flags

    kernel = scatter_flags if target.dtype == np.uint8 else scatter
    run(kernel, [(source, order.slot_of, *part, order.nowhere, target) for part in parts_of(len(source), parts)])


def parts_of(rows: int, parts: int) -> list[Span]:
    """Divide rows into `parts` spans of about equal length."""
    return list(pairwise(np.linspace(0, rows, parts + 1).astype(int).tolist()))


def ranges_of(upto: Ints, count: int) -> tuple[Span, ...]:
    """Divide keys into `count` ranges of about equally many rows; `upto` counts the rows up to each key."""
    if len(upto) == 0:
        return ()
    ends = np.linspace(0, int(upto[-1]), count + 1)[1:-1]
    cuts = np.searchsorted(upto, ends) + 1
    return tuple(pairwise(sorted({0, *cuts.clip(max=len(upto)).tolist(), len(upto)})))


class KeptSeries(FrozenStruct):
    """Stored values of all series, by slot; `series` has the layout of each."""

    series: Ints
    maps: Ints32
    cells: Ints
    links: Ints32
    ranks: Ints32


def keep_series(
    run: Run, plan: HistoryPlan, order: Order, late: Bytes, inserts: Ints, values: Ints, kept: Bytes, parts: int
) -> KeptSeries:
    """Choose the storage of each series by its queries and value range, and fill it."""
    from shroff.features.batch.backfill_kernels import fill_series

    slots = len(order.rows)
    series, words, rows = choose_words(run, plan, order, inserts, values, kept, parts)
    stored = KeptSeries(
        series,
        maps=np.zeros((rows[OF_MAP], slots), np.int32),
        cells=np.empty(words, np.int64),
        links=np.empty((rows[OF_LINKS], slots), np.int32),
        ranks=np.empty((rows[OF_RANKS], slots), np.int32),
    )
    queried = [number for number in range(len(series)) if series[number, SCALE] > 0]
    own, is_present = np.empty(slots, np.int64), np.empty(slots if rows[OF_MAP] else 0, np.uint8)
    for number in queried:
        put_by_slot(run, order, values[number], own, parts)
        if series[number, OF_MAP] >= 0:
            put_by_slot(run, order, kept[number], is_present, parts)
        run(fill_series, [(*span, own, is_present, series[number], stored.maps, stored.cells) for span in order.spans])
    run(_link, [(stored, number, keys, order, late) for number in queried for keys in order.ranges])
    return stored


def choose_words(
    run: Run, plan: HistoryPlan, order: Order, inserts: Ints, values: Ints, kept: Bytes, parts: int
) -> tuple[Ints, int, dict[int, int]]:
    """Return the layout of each series, the number of words of all cells, and the numbers of rows of other arrays.

    A series without queries is not stored.
    """
    from shroff.features.batch.backfill_kernels import survey

    series = np.full((len(plan.series), SERIES_WORDS), -1, np.int64)
    total, most = 0, order.most_of((0, len(order.ends)))
    rows = dict.fromkeys((OF_MAP, OF_LINKS, OF_RANKS), 0)
    for number in sorted({query.series for query in plan.queries} - {-1}):
        states = {query.state for query in plan.queries if query.series == number}
        surveyed = run(survey, [(values, kept, inserts, number, *part) for part in parts_of(len(inserts), parts)])
        largest = max(size for size, _ in surveyed)
        scale = plan.series[number].scale
        is_narrow = scale <= NARROW_SCALE_MAX and most * largest < 1 << 63
        is_narrow = is_narrow and ("squares" not in states or most * largest**2 < 1 << 64)
        series[number, [SCALE, IS_REAL, IS_WIDE]] = scale, plan.series[number].real, not is_narrow
        words = 0
        for word in (OF_SUM, OF_SQUARES, OF_VALUE):
            if states.intersection(SERVES[word]):
                series[number, word] = words
                words += 1 if is_narrow or word == OF_VALUE else 2
        series[number, [BASE, WORDS]] = total, words
        total += words * len(order.rows)
        if any(missing for _, missing in surveyed):
            series[number, OF_MAP] = rows[OF_MAP]
            rows[OF_MAP] += 1
        for word in (OF_LINKS, OF_RANKS):
            if states.intersection(SERVES[word]):
                series[number, word] = rows[word]
                rows[word] += 2
    return series, total, rows


def _link(made: KeptSeries, number: int, keys: Span, order: Order, late: Bytes) -> None:
    from shroff.features.batch.backfill_values import link_values, rank_values

    first, last = keys
    arguments = (first, last, late, order.starts, order.ends, made.series[number], made.maps, made.cells)
    most = order.most_of(keys)
    if made.series[number, OF_LINKS] >= 0:
        link_values(*arguments, made.links, np.empty(1 << (2 * most + 1).bit_length(), np.int32))
    if made.series[number, OF_RANKS] >= 0:
        rank_values(*arguments, made.ranks, np.empty(most, np.int32))
