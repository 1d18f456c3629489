"""Backfill: compute every answer of a plan over a whole history at once, by columns.

The answers equal those of `WindowState.run` bit by bit. Two passes compute them: key by key the positions of all
windows, then row by row the answers. Keys with a late row are processed run by run (`backfill_runs`), or through a
`WindowState` if the plan counts distinct values or reads quantiles, because a late cell would break their links.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from shroff.arrays import Bytes, Ints, own
from shroff.features.batch.backfill_cells import AskedRows, Order, Run, Span, keep_series, put_by_slot, sort_by_key
from shroff.features.batch.backfill_late import LateKeys
from shroff.features.batch.backfill_plan import tables_of
from shroff.features.online.window_state import HistoryPlan, check_plan

Answers = tuple[Ints, Bytes]

ROWS_MAX = (1 << 31) - (1 << 20)  # slot numbers have 32 bits
TASKS_PER_THREAD = 8  # several, so that a thread with a hot key leaves the other keys to other threads
ROWS_PER_TASK = 1 << 15
ROWS_TOGETHER = 1 << 20  # rows with records in memory; windows are located again for each such piece


class Backfill:
    """Answers a plan over a history that starts empty, piece by piece in log order. Not thread-safe.

    Arguments and results are those of one `WindowState.run` over all rows. The arrays are read until the last piece.

    Args:
        lateness_ms: How far a row with a query may be behind the newest time of earlier ones; rows without a query
            may have any time, and do not move the newest one.
        threads: Number of threads that compute, at least one.

    Cost: amortised O(1) per row and query, however many cells a window has; a quantile O(log n) for n cells of a key. A
        late row costs a step for each younger cell of its key; with distinct or quantile, all rows of its key cost as
        much as in `WindowState.run`. A piece costs a step for each of its rows, however many keys there are, and for
        each of its keys one search for the cells of windows that began before it.
    Memory: beside the result 20 bytes per row, 29 per key, 8 to 56 per row and series, 8 for each of a window's values
        (count, sum, ...) of a million rows at a time, and per thread 4 for each window and extreme of each row of its
        largest key.
    """

    def __init__(
        self,
        plan: HistoryPlan,
        times: Ints,
        insert_keys: Ints,
        query_keys: Ints,
        values: Ints,
        kept: Bytes,
        *,
        lateness_ms: int,
        threads: int,
    ) -> None:
        check_plan(plan)
        assert threads >= 1
        assert len(times) < ROWS_MAX, f"{len(times)} rows are too many for one history, take less than {ROWS_MAX}"
        self._plan = plan
        self._threads = threads
        self._times, self._inserts, self._asks = own(times), own(insert_keys), own(query_keys)
        self._values, self._flags = own(values), own(kept, np.uint8)
        self._ask_themselves = query_keys is insert_keys or np.array_equal(self._inserts, self._asks)
        self._keys = 1 + max(int(self._inserts.max(initial=-1)), int(self._asks.max(initial=-1)))
        self._done = 0
        self._records: Ints = np.empty((0, 0), np.int64)
        self._ranges = 1 if threads == 1 else threads * TASKS_PER_THREAD
        with on_threads(threads) as run:
            self._prepare(run)
        by_history = self._late if self._needs_history else np.zeros_like(self._late)
        self._late_keys = LateKeys(
            plan,
            by_history,
            *(self._times, self._inserts, self._asks, self._values, self._flags),
            lateness_ms=lateness_ms,
            parts=threads,
        )

    def answer(self, rows: int) -> Answers:
        """Return the answers at the next `rows` rows, fewer at the end."""
        begin = self._done
        end = min(self._done + rows, len(self._times))
        out = np.empty((len(self._plan.queries), end - begin), np.int64)
        valid = np.empty((len(self._plan.queries), end - begin), np.uint8)
        most = min(ROWS_TOGETHER, end - begin) + self._ranges + 1
        if len(self._records) < most:  # reused by further pieces, because the system would clear new memory
            self._records = np.empty((most, self._tables.words), np.int64)
        with on_threads(self._threads) as run:
            for first in range(begin, end, ROWS_TOGETHER):
                last = min(first + ROWS_TOGETHER, end)
                self._answer_in_order(run, (first, last), first - begin, out, valid)
            run(self._late_keys.answer, [(part, begin, end, out, valid) for part in self._late_keys.parts])
        self._done = end
        return out, valid

    def _prepare(self, run: Run) -> None:
        """Sort the events by key, find the late keys, and keep the queried part of each series."""
        # Compiling or loading kernels takes up to seconds, which a mere import must not.
        from shroff.features.batch.backfill_kernels import find_late_keys, find_late_rows

        self._cells = self._sorted(run, self._inserts, self._keys, 0)
        self._cell_times = self._times_of(run, self._cells, self._times)
        self._late = np.zeros(self._keys, np.uint8)
        if self._ask_themselves:
            arguments_by_range = [
                (*keys, self._cells.starts, self._cells.ends, self._cell_times) for keys in self._cells.ranges
            ]
            run(find_late_keys, [(*arguments, self._late) for arguments in arguments_by_range])
        else:
            find_late_rows(self._times, self._inserts, self._asks, np.empty(self._keys, np.int64), self._late)
        rows = (self._inserts, self._values, self._flags)
        self._kept = keep_series(run, self._plan, self._cells, self._late, *rows, self._threads)
        self._tables = tables_of(self._plan, self._kept.series)
        self._come = np.zeros(self._keys, np.int64)  # per late key, its cells that are in time order
        self._numbers = np.full(self._keys, -1, np.int32)  # scratch space of `number_keys`
        self._has_late = bool(self._late.any())

    @property
    def _needs_history(self) -> bool:
        return bool(len(self._tables.sets) or len(self._tables.ranks))

    def _sorted(self, run: Run, keys: Ints, limit: int, first_row: int) -> Order:
        return sort_by_key(run, keys, limit, first_row=first_row, parts=self._threads, ranges=self._ranges)

    def _times_of(self, run: Run, order: Order, times: Ints) -> Ints:
        placed = np.zeros(len(order.rows) + 4, np.int64)
        put_by_slot(run, order, times, placed, self._threads)
        return placed

    def _answer_in_order(self, run: Run, rows: Span, shift: int, out: Ints, valid: Bytes) -> None:
        """Answer some rows, at offset `shift` in the results; rows of late keys get arbitrary values."""
        from shroff.features.batch.backfill_answers import STRIDE, answer_rows

        (begin, end) = rows
        records = self._records
        if self._ask_themselves and end - begin == len(self._times):
            times = self._cell_times.copy() if self._has_late else self._cell_times
            asked = AskedRows(self._cells, times, self._late, self._cells.starts, self._cells.ends, self._come)
            run(self._take_records, [(*part, records) for part in asked.parts(self._threads)])
        else:
            keys, asked = self._asked(run, begin, end)
            run(self._take_records, [(*part, records) for part in asked.parts(self._threads)])
            self._come[keys] = asked.come
        tables = self._tables
        order = asked.order
        arrays = (order.slot_of, order.nowhere, records, tables.groups, tables.queries, self._kept.series)

        def answer(first: int) -> None:
            last = min(first + ROWS_PER_TASK, end - begin)
            answer_rows(first, last, shift, *arrays, np.empty((tables.words, STRIDE), np.int64), out, valid)

        run(answer, [(first,) for first in range(0, end - begin, ROWS_PER_TASK)])

    def _asked(self, run: Run, begin: int, end: int) -> tuple[Ints, AskedRows]:
        """Return the keys of the rows [begin, end), and the rows by key. Cost: a few steps for each of these rows."""
        from shroff.features.batch.backfill_kernels import find_keys, number_keys

        asks = self._asks[begin:end]
        numbered, keys = np.empty((2, end - begin), np.int64)
        keys = keys[: find_keys(asks, self._numbers, keys)]
        keys.sort()  # reads cells in memory order
        number_keys(asks, self._numbers, keys, numbered)
        order = self._sorted(run, numbered, len(keys), begin)
        cells = self._cells
        of_keys = (self._late[keys], cells.starts[keys], cells.ends[keys], self._come[keys])
        return keys, AskedRows(order, self._times_of(run, order, self._times[begin:end]), *of_keys)

    def _take_records(self, keys: Span, asked: AskedRows, records: Ints) -> None:
        from shroff.features.batch.backfill_positions import STACK_WORDS
        from shroff.features.batch.backfill_words import TOGETHER, take_records

        asks = asked.order
        kept = self._kept
        tables = self._tables
        most = asked.most_cells_of(keys)
        room = (
            np.empty((tables.positions, TOGETHER + asks.most_of(keys)), np.int32),
            np.empty(len(tables.lanes), np.int64),
            np.empty(STACK_WORDS, np.int64),
            np.empty(most if len(tables.tracks) else 0, np.int64),
            np.empty(most if len(tables.tracks) else 0, np.int64),
            np.empty(most + 1 if len(tables.ranks) else 0, np.int32),
            np.empty((2, TOGETHER), np.int64),
        )
        arguments: tuple[Any, ...] = (
            *(*keys, asked.late, asked.starts, asked.ends, self._cells.rows, self._cell_times),
            *(asks.starts, asks.ends, asks.rows, asked.times),
            *(tables.edges, tables.tracks, tables.lanes, tables.sets, tables.ranks, tables.groups, tables.queries),
            *(kept.series, kept.maps, kept.cells, kept.links, kept.ranks),
            *(*room, records),
        )
        take_records(*arguments)
        if not self._needs_history and asked.late[keys[0] : keys[1]].any():
            self._take_late_records(keys, asked, room, records)

    def _take_late_records(self, keys: Span, asked: AskedRows, room: tuple[Any, ...], records: Ints) -> None:
        from shroff.features.batch.backfill_positions import STACK_WORDS
        from shroff.features.batch.backfill_runs import take_late_records

        asks = asked.order
        kept = self._kept
        tables = self._tables
        positions, heads, *_, windows = room
        stacks = np.empty((len(tables.tracks), STACK_WORDS), np.int64)
        at, values = np.empty((2, len(tables.tracks), asked.most_cells_of(keys)), np.int64)
        arguments: tuple[Any, ...] = (
            *(*keys, asked.late, asked.starts, asked.ends, self._cells.rows, self._cell_times, asked.come),
            *(asks.starts, asks.ends, asks.rows, asked.times),
            *(tables.edges, tables.tracks, tables.lanes, tables.groups, tables.queries),
            *(kept.series, kept.maps, kept.cells),
            *(positions, heads, stacks, at, values, windows, records),
        )
        take_late_records(*arguments)


@contextmanager
def on_threads(threads: int) -> Iterator[Run]:
    """Yield a function that makes many calls in parallel; kernels release Python's lock."""
    if threads == 1:
        yield lambda function, calls: [function(*call) for call in calls]
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="backfill") as pool:

        def run(function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> list[Any]:
            return [future.result() for future in [pool.submit(function, *call) for call in calls]]

        yield run
