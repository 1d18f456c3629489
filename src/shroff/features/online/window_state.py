"""Window state: the events of one type by key, and exact aggregates over windows of them.

`blank_heap` writes the plan of a history into its array as numbers, so that one set of kernels serves all plans.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable
from dataclasses import field
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, TypeAlias

import numpy as np

from shroff.arrays import Bytes, Ints, own
from shroff.errors import StateError
from shroff.features.kernels import layout
from shroff.features.online.trial import EventTrial
from shroff.features.programs.compiler import Program
from shroff.language.aggregates import AGGREGATES, State
from shroff.runtime.process_wide import lengthen, mapped
from shroff.runtime.values import FrozenStruct, frozen

# The number of each aggregate function in kernels; the constant in `layout` has the function's name.
FUNCTIONS: Final[dict[str, int]] = {name: getattr(layout, name.upper()) for name in AGGREGATES}
LENGTH_MS_MAX = 1 << 59  # differences of times then fit 64 bits
FIRST_WORDS = 1 << 12  # size of a new heap
# Link values of a key from which on running totals pay; with fewer links, reading them all costs no more.
MANY_LINKS = 1_000
GROWTH_PART = 4  # a heap grows by at least a quarter
MAPPED_WORDS = 1 << 19  # a heap of this size or larger is in mapped memory

Answers: TypeAlias = tuple[Ints, Bytes]
"""Results, and 1 for each that is present; each array has a row per query or look, and a column per event."""


class Series(FrozenStruct):
    """Values of one argument under one condition: at most one value per event.

    With `sums`, values are at most 10**15 in size. `scale` is 10**places, by which mean and std divide. Values of a
    `real` series are the bits of 64-bit floats: they have no sums and are ordered as floats, -0.0 before 0.0.
    """

    sums: bool = False
    scale: int = 1
    real: bool = False


class Query(FrozenStruct):
    """One aggregate: a function of one series over one window.

    Without `length_ms` and `last_n` the window begins with the log. `series` is -1 for a count of all events.
    `including` adds the event of the row itself. `numerator / denominator` is the quantile.
    """

    function: str
    series: int = -1
    length_ms: int | None = None
    delay_ms: int = 0
    last_n: int | None = None
    including: bool = False
    numerator: int = 0
    denominator: int = 1

    @property
    def state(self) -> State:
        return AGGREGATES[self.function].state

    @property
    def is_ever(self) -> bool:
        return self.length_ms is None and self.last_n is None

    @property
    def edges(self) -> tuple[int, ...]:
        """Distances in ms from the row back to the window's edges: left unless unbounded, right if delayed."""
        left = () if self.length_ms is None else (self.length_ms + self.delay_ms,)
        return left if self.delay_ms == 0 else (*left, self.delay_ms)


@frozen
class Look:
    """A query about the events of its window for which a program is true. The kernel runs it for each event.

    `sources` has the origin of each operand of the program: the number of a series, or ~n for the n-th row of values
    after the series, which belongs to the row that asks. `since` is the operand with a time before which the program is
    false for every event, so these are skipped; -1 if there is none.
    """

    query: Query
    program: Program
    sources: tuple[int, ...]
    since: int = field(default=-1, repr=False)  # outside the digest of a plan, which is made of the repr


class HistoryPlan(FrozenStruct):
    """The series that a history stores and its answers, in this order: queries, then looks."""

    series: tuple[Series, ...]
    queries: tuple[Query, ...]
    looks: tuple[Look, ...] = ()
    # Maximum of keys for a link value, and the last series are those of `kernels.links`; 0: no links.
    links_up_to: int = 0

    @property
    def all_queries(self) -> tuple[Query, ...]:
        return (*self.queries, *(look.query for look in self.looks))


class WindowState:
    """The events of one type by key code, and the answers to the queries of each row.

    Key codes are dense integers from 0. All state is one array, the heap; it has a cell for each event. Not safe for
    use by several threads at once.

    Cost: amortised O(1) per row and query, whatever the number of cells. A late row with d younger cells of its key
    costs O(d). A minimum or maximum at a late row reads each cell of the window if a younger cell exceeds them all; a
    quantile always does.
    """

    def __init__(self, plan: HistoryPlan, *, lateness_ms: int, trial: EventTrial | None = None) -> None:
        check_plan(plan)
        self.plan = plan
        self._trial = EventTrial() if trial is None else trial
        self._heap = blank_heap(plan, lateness_ms).copy()
        self._mapped: mmap.mmap | None = None  # the memory of the heap, if it is mapped
        self._answers = len(plan.all_queries)
        self._swept = 0
        # Compiling or loading the kernel takes up to seconds, which a mere import must not.
        from shroff.features.kernels import windows as kernel
        from shroff.features.kernels.compact import compact

        self._run: Callable[..., int] = kernel.run
        self._tend: Callable[..., Any] = kernel.tend
        self._compact: Callable[..., Any] = compact

    def run(
        self,
        times: Ints,
        insert_keys: Ints,
        query_keys: Ints,
        values: Ints,
        kept: Bytes,
        watermark_ms: int | None,
        into: Answers | None = None,
    ) -> Answers:
        """For each row in log order, answer the queries and then insert its event.

        Args:
            times: Event times, UTC milliseconds; at most `lateness_ms` behind the greatest time before.
            insert_keys: Key of the row's event in this history; -1 if the event does not belong to it.
            query_keys: Key whose answers the row needs; -1 if none, then all its answers are missing. `UNREAD`: none,
                and no answers are written for the row.
            values: One row per series, then one for each value that looks read of the asking row. Ignored where `kept`
                is 0.
            kept: 1 or True where `values` has a value.
            watermark_ms: The greatest time before the batch; None if there was none. The history may drop events that
                no row at or after `watermark_ms` - `lateness_ms` can reach.
            into: Arrays of `room` for this many rows, which are overwritten and returned. Reusing them is faster if
                each call has one row.

        Returns: Results, and 1 for each that is present; each array has a row per query or look. Mean, std, share and
            results of a real series are the bits of a float. A missing result is 0.

        Raises: MemoryError if the heap cannot grow.
        """
        out, valid = self.room(len(times)) if into is None else into
        if watermark_ms is None:
            watermark_ms = layout.NEVER_MS
        if self._trial.is_on:
            tried = times, insert_keys, query_keys, values, kept, watermark_ms
            return self._trial.run(self, tried, (out, valid))
        try:
            row = self._run(self._heap, 0, times, insert_keys, query_keys, values, kept, watermark_ms, out, valid)
        except TypeError:
            # The kernel has one signature, so arrays of another layout and read-only ones (from Arrow) are copied.
            times, insert_keys, query_keys, values = map(own, (times, insert_keys, query_keys, values))
            kept = own(kept, np.uint8)
            row = self._run(self._heap, 0, times, insert_keys, query_keys, values, kept, watermark_ms, out, valid)
        while row < len(times):
            self.grow()
            row = self._run(self._heap, row, times, insert_keys, query_keys, values, kept, watermark_ms, out, valid)
        return out, valid

    def room(self, rows: int) -> Answers:
        """Make uninitialized arrays for the answers of this many rows."""
        return np.empty((self._answers, rows), np.int64), np.empty((self._answers, rows), np.uint8)

    def clear(self, key: int) -> None:
        self._tend(self._heap, key, 0, 1, layout.NEVER_MS, np.zeros(0, np.uint8))

    def trim(self, first: int, step: int, watermark_ms: int, held: Bytes) -> None:
        """Trim the keys `first`, `first + step`, ..., one for each element of `held`: 1 where a key still has state."""
        self._tend(self._heap, -1, first, step, watermark_ms, held)

    def sweep(self, limit: int, watermark_ms: int) -> None:
        """Remove expired events of up to `limit` keys, in turn, between batches: idle keys then release memory, too."""
        keys = int(self._heap[layout.HEADS_ROOM])
        first = self._swept if self._swept < keys else 0
        self._swept = min(first + limit, keys)
        self.trim(first, 1, watermark_ms, np.zeros(self._swept - first, np.uint8))

    @property
    def cells(self) -> int:
        return int(self._heap[layout.CELLS])

    @property
    def cell_bytes(self) -> int:
        """Memory of all live cells with their totals, as if none were wide, without spare room."""
        packed, wide, totals = self._heap[[layout.PACKED_WORDS, layout.CELL_WORDS, layout.TOTALS_WORDS]].tolist()
        return 8 * int(self.cells * (packed or wide) + (self.cells >> layout.GROUP_BITS) * totals)

    @property
    def memory_bytes(self) -> int:
        return int(self._heap[layout.TAIL]) * 8

    def snapshot(self) -> memoryview:
        """Return a copy of all state for `restore`, without free blocks and most spare capacity."""
        copied = np.empty(int(self._heap[layout.TAIL]), np.int64)
        self._compact(self._heap, copied)
        return copied[: copied[layout.TAIL]].data.cast("B")

    def restore(self, snapshot: bytes | memoryview) -> None:
        """Continue from a snapshot of a history with the same plan; it is copied unless it is a view of mapped memory.

        Raises: StateError if the snapshot was made with another plan or version.
        """
        heap = np.frombuffer(snapshot, np.int64)
        identity = [0, layout.DIGEST]  # version, and hash of plan and lateness
        if len(heap) < layout.PLAN or heap[identity].tolist() != self._heap[identity].tolist():
            raise StateError("the snapshot of a history was made with another plan; build the state from the log again")
        memory: object = snapshot.obj if isinstance(snapshot, memoryview) else None
        self._mapped = memory if isinstance(memory, mmap.mmap) else None
        self._heap = heap.copy() if self._mapped is None else words_of(self._mapped)

    @property
    def heap(self) -> Ints:
        """The array of all state, for kernels that read several histories. Growth or a restore replaces it."""
        return self._heap

    def grow(self) -> None:
        """Extend the heap by at least a quarter. A mapped heap is extended by the system, without copying if it can.

        Raises: MemoryError if the system has too little; the heap is then unchanged.
        """
        heap = self._heap
        size = len(heap) + max(len(heap) // GROWTH_PART, int(heap[layout.WANTED]), FIRST_WORDS)
        if self._mapped is None and size < MAPPED_WORDS:
            heap.resize(size, refcheck=False)
            return
        if self._mapped is not None:
            self._heap = heap = heap[:0].copy()  # no array may refer to the memory while the system moves it
            try:
                lengthen(self._mapped, size * 8)
            finally:
                self._heap = heap = words_of(self._mapped)
        if len(heap) < size:
            self._mapped = mapped(size * 8)
            self._heap = words_of(self._mapped)
            self._heap[: len(heap)] = heap


def words_of(memory: mmap.mmap) -> Ints:
    return np.frombuffer(memory, np.int64, len(memory) // 8)


def check_plan(plan: HistoryPlan) -> None:
    """Assert what the kernels assume about a plan. A failure is a defect of the planner, not of a definition."""
    for series in plan.series:
        assert not (series.real and series.sums), "reals are never summed"
        assert series.scale >= 1
    for query in plan.all_queries:
        assert -1 <= query.series < len(plan.series)
        assert query.series >= 0 or query.state in {"counts", "events"}, "only counts do without a series"
        if query in plan.queries and AGGREGATES[query.function].is_summed:
            assert plan.series[query.series].sums, f"{query.function} needs values that can be summed"
        assert query.length_ms is None or (query.last_n is None and 0 < query.length_ms <= LENGTH_MS_MAX)
        assert query.last_n is None or 0 < query.last_n < 1 << 40
        assert 0 <= query.delay_ms <= LENGTH_MS_MAX
        assert query.delay_ms == 0 or query.length_ms is not None, "only a window by time can be delayed"
        assert query.delay_ms == 0 or not query.including or plan.links_up_to, (
            "a delayed window never has the event itself"
        )
        assert not AGGREGATES[query.function].scans or not query.is_ever, f"{query.function} needs a window"
        assert 0 <= query.numerator < 1 << 62
        assert query.numerator <= query.denominator < 1 << 62 or query.state == "looks"
        assert query.denominator > 0
    assert not (plan.queries and plan.looks), "totals stand before cells that only queries read"
    for look in plan.looks:
        assert not look.query.is_ever, "a window that is read event by event has an end"
        assert len(look.sources) == look.program.operands


@lru_cache(maxsize=64)  # each fold, replay and backtest of a project makes the same states again
def blank_heap(plan: HistoryPlan, lateness_ms: int) -> Ints:
    """Make the heap of a history without events: fixed words, plan and scratch. Copy it before use."""
    writer = _PlanWriter(plan)
    words = writer.write()
    scratch = layout.PLAN + len(words)
    fixed = writer.fixed | {
        0: layout.VERSION,
        layout.DIGEST: int.from_bytes(sha256(repr((plan, lateness_ms)).encode()).digest()[:8], signed=True),
        layout.LATENESS_MS: lateness_ms,
        layout.EDGE_PLACES: scratch,
        layout.BLOCKS: scratch + len(writer.edges),
    }
    tail = scratch + len(writer.edges)
    heap = np.zeros(max(FIRST_WORDS, tail), np.int64)
    heap[layout.PLAN : scratch] = words
    heap[layout.TAIL] = tail
    for address, word in fixed.items():
        heap[address] = word
    return heap


class _PlanWriter:
    """Write a plan as numbers, in sections. `fixed` has the fixed words, with the address and count of each section.

    `head_words` grows as sections reserve words in the head of each key.
    """

    def __init__(self, plan: HistoryPlan) -> None:
        self.plan = plan
        self.edges = sorted({edge for query in plan.all_queries for edge in query.edges})
        self.head_words = layout.HINTS + len(self.edges)
        self.fixed: dict[int, int] = {}
        self._words: list[int] = []

    def write(self) -> list[int]:
        self._section(layout.SERIES, [self._series(number) for number in range(len(self.plan.series))])
        self._section(layout.EDGES, [[edge] for edge in self.edges])
        windows = sorted({self._window(query) for query in self.plan.all_queries})
        accounts = len(windows) if self.plan.links_up_to else 0
        self.fixed |= {layout.ACCOUNTS: self._in_head(accounts), layout.ACCOUNTS + 1: accounts}
        self._section(layout.WINDOWS, [[*window[1:], 0, 0, self._many(window)] for window in windows])
        parts = self._tracks() | self._sets()
        groups: dict[tuple[int, int], list[int]] = {}
        for number, query in enumerate(self.plan.queries):
            groups.setdefault((windows.index(self._window(query)), query.series), []).append(number)
        queries: list[list[int]] = []
        rows: list[list[int]] = []
        for (window, series), members in sorted(groups.items()):
            rows.append([window, series, len(queries), len(members)])
            queries += [self._query(number, parts) for number in members]
        self._section(layout.GROUPS, rows)
        self._section(layout.QUERIES, queries)
        looks_before = self._looks(windows)
        count = len(self.plan.series)
        totals_words = count * layout.SERIES_TOTALS if self.plan.queries else 0  # looks read each cell
        is_ever = any(query.is_ever for query in self.plan.all_queries)
        is_wide = bool(self.plan.looks) or any(series.real for series in self.plan.series)
        by_time = [max(query.edges, default=0) for query in self.plan.all_queries if query.last_n is None]
        self.fixed |= {
            layout.WINDOWS_BEFORE: sum(not window[0] for window in windows),
            layout.GROUPS_BEFORE: sum(not windows[window][0] for window, _ in groups),
            layout.REACH_MS: max(by_time, default=-1),
            layout.LOOKS_BEFORE: looks_before,
            layout.REACH_CELLS: max((query.last_n or 0 for query in self.plan.all_queries), default=0),
            layout.EVER: int(is_ever),
            layout.BEFORE: self._in_head(totals_words) if is_ever else 0,
            layout.TOTALS_WORDS: totals_words,
            layout.CELL_WORDS: self._of_value(count),
            layout.PACKED_WORDS: 0 if is_wide else 1 + count // 2,
            layout.UP_TO: self.plan.links_up_to,
            layout.MARK: self._in_head(1) if self.plan.links_up_to else 0,
            layout.HEAD_WORDS: self.head_words,
        }
        return self._words

    def _section(self, name: int, records: Iterable[list[int]]) -> int:
        records = list(records)
        address = layout.PLAN + len(self._words)
        self.fixed |= {name: address, name + 1: len(records)}
        self._words += [word for record in records for word in record]
        return address

    def _series(self, number: int) -> list[int]:
        series = self.plan.series[number]
        folded = {"extremes", "ends"}
        is_folded = any(q.series == number and q.is_ever and q.state in folded for q in self.plan.queries)
        of_fold = self._in_head(layout.FOLD_WORDS) if is_folded else -1
        return [number, self._of_value(number), int(series.real), of_fold, series.scale]

    def _of_value(self, number: int) -> int:
        presence_words = (len(self.plan.series) + 63) // 64
        return 1 + presence_words + number

    def _window(self, query: Query) -> tuple[int, int, int, int]:
        right = self.edges.index(query.delay_ms) if query.delay_ms else layout.RIGHT_NOW
        if query.last_n is not None:
            return int(query.including), layout.LEFT_LAST_N, right, query.last_n
        left = layout.LEFT_EVER if query.length_ms is None else self.edges.index(query.edges[0])
        return int(query.including), left, right, 0

    def _many(self, window: tuple[int, int, int, int]) -> int:
        looks = [look for look in self.plan.looks if self._window(look.query) == window]
        ordered = {"squares", "ends", "ranks", "looks"}
        is_added = all(look.query.state not in ordered and min(look.sources, default=0) >= 0 for look in looks)
        return MANY_LINKS if is_added else LENGTH_MS_MAX

    def _series_address(self, number: int) -> int:
        return self.fixed[layout.SERIES] + number * layout.SERIES_WORDS

    def _tracks(self) -> dict[tuple[int, ...], int]:
        """Write the tracks, which store extremes, and return their addresses by the key that queries share."""
        keys = sorted({self._part(query) for query in self.plan.queries if query.state == "extremes"})
        rows = []
        for function, series, right in keys:
            head = self._in_head(layout.TRACK_HEAD_WORDS)
            rows.append([self._series_address(series), -1 if function == layout.MIN else 0, right, head])
        address = self._section(layout.TRACKS, rows)
        return {key: address + i * layout.TRACK_WORDS for i, key in enumerate(keys)}

    def _sets(self) -> dict[tuple[int, ...], int]:
        """Write the sets, which count distinct values, and their tables; return addresses by the key queries share."""
        keys = sorted({self._part(query) for query in self.plan.queries if query.state == "values"})
        tables: dict[int, list[int]] = {}
        for series in sorted({key[1] for key in keys}):
            counters = sum(key[1] == series for key in keys)
            tables[series] = [self._in_head(layout.TABLE_HEAD_WORDS), layout.ENTRY_COUNTERS + counters]
        rows = []
        used = dict.fromkeys(tables, 0)
        for key in keys:
            _, series, right, left, _ = key
            head = self._in_head(layout.SET_HEAD_WORDS)
            rows.append([self._series_address(series), *tables[series], used[series], left, right, head, 0])
            used[series] += 1
        self._section(layout.TABLES, tables.values())
        address = self._section(layout.SETS, rows)
        return {key: address + i * layout.SET_WORDS for i, key in enumerate(keys)}

    def _part(self, query: Query) -> tuple[int, ...]:
        _, left, right, last_n = self._window(query)
        if query.state == "values":
            return layout.DISTINCT, query.series, right, left, last_n
        return FUNCTIONS[query.function], query.series, right

    def _query(self, number: int, parts: dict[tuple[int, ...], int]) -> list[int]:
        query = self.plan.queries[number]
        part = parts.get(self._part(query), 0)
        return [FUNCTIONS[query.function], number, part, query.numerator, query.denominator]

    def _looks(self, windows: list[tuple[int, int, int, int]]) -> int:
        """Write the programs and the looks; return how many, the first ones, run before the row's event is inserted."""
        numbered = [(windows.index(self._window(look.query)), number) for number, look in enumerate(self.plan.looks)]
        rows = [self._look(window, number) for window, number in sorted(numbered)]
        self._section(layout.LOOKS, rows)
        return sum(not self.plan.looks[number].query.including for _, number in numbered)

    def _look(self, window: int, number: int) -> list[int]:
        look = self.plan.looks[number]
        program = layout.PLAN + len(self._words)
        self._words += look.program.words(program)
        loads = layout.PLAN + len(self._words)
        sources = sorted(enumerate(look.sources), key=lambda source: source[1] < 0)
        for operand, source in sources:
            row = source if source >= 0 else len(self.plan.series) + ~source
            self._words += [row, look.program.register_at(program, operand)]
        of_this = sum(source < 0 for source in look.sources)
        query = look.query
        return [
            FUNCTIONS[query.function],
            len(self.plan.queries) + number,
            look.program.register_at(program, look.since) if look.since >= 0 else 0,
            query.numerator,
            query.denominator,
            window * layout.WINDOW_WORDS,
            query.series,
            look.program.operations_at(program),
            len(look.program.operations),
            look.program.register_at(program, look.program.result),
            loads,
            len(sources) - of_this,
            of_this,
        ]

    def _in_head(self, words: int) -> int:
        self.head_words += words
        return self.head_words - words
