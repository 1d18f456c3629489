"""The law of packed cells: values of 32 bits beside wide ones, times beyond 32 bits, and totals between cells.

Values and times lie at the edges of what a packed cell holds, in stretches, so that keys become wide and packed again.
"""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from shroff.features.kernels import layout
from shroff.features.online.window_state import HistoryPlan, Query, Series, WindowState
from shroff.runtime.values import replace
from tests.laws.rows import LATENESS_MS, SUMMED, Row, by_definition, functions_of
from tests.laws.test_window_state import by_history
from tests.support.effort import long_after

HALF = 1 << 31
SPAN_MS = (1 << 32) - layout.SPARE_MS
NARROW = (0, 1, -1, 7, HALF - 1, 1 - HALF, 65_537, -65_537, None)
WIDE = (HALF, -HALF, -HALF - 1, HALF + 1, 10**15, -(10**15), 1 << 33)
KINDS = (replace(SUMMED, scale=1), Series())
LENGTHS = (3, 60, 400, SPAN_MS, SPAN_MS + layout.SPARE_MS, 1 << 34)


def plan_of(random: Random) -> HistoryPlan:
    series = tuple(random.choice(KINDS) for _ in range(random.choice((1, 1, 2, 3, 4, 66))))
    longest = random.choice(LENGTHS)
    queries = [Query("count", length_ms=longest)]
    for _ in range(10):
        number = random.randrange(len(series))
        function = random.choice(functions_of(series[number]))
        length_ms = random.choice([length for length in LENGTHS if length <= longest])
        of = Query(function, number, numerator=1, denominator=2, including=random.random() < 1 / 2)
        windows = [replace(of, length_ms=length_ms), replace(of, last_n=random.choice((1, 15, 16, 17, 40)))]
        if function not in ("quantile", "median") and random.random() < 1 / 4:
            windows.append(of)
        queries.append(random.choice(windows))
    return HistoryPlan(series, tuple(queries))


def rows_of(random: Random, plan: HistoryPlan, count: int) -> list[Row]:
    """Rows of two keys, in stretches with and without wide values, with late rows, labels and long pauses."""
    rows: list[Row] = []
    newest_ms = random.choice([0, 1_700_000_000_000])
    values = NARROW
    for number in range(count):
        if number % 40 == 0:
            values = random.choice([NARROW, NARROW, (*NARROW, *WIDE)])
        if random.random() < 1 / 60:
            newest_ms += random.choice([100, 1_000, SPAN_MS - LATENESS_MS - 1, SPAN_MS - LATENESS_MS, SPAN_MS, 1 << 32])
        time_ms = newest_ms + random.choice([0, 0, 1, 1, 2, -1, -3, -LATENESS_MS])
        newest_ms = max(newest_ms, time_ms)
        key = random.choice([0, 0, 0, 1])
        row = Row(time_ms, key, key, tuple(random.choice(values) for _ in plan.series))
        if random.random() < 1 / 30:
            row = replace(row, time_ms=newest_ms - random.choice([100, 1 << 31, 1 << 33]), query_key=-1, is_label=True)
        rows.append(row)
    return rows


@pytest.mark.parametrize("seed", long_after(24, range(200)))
def test_values_and_times_at_the_edges_of_packed_cells_agree_with_the_definition(seed: int) -> None:
    random = Random(seed)
    plan = plan_of(random)
    rows = rows_of(random, plan, 240)
    truth = by_definition(plan, rows)

    for batch in (1, 16):
        assert by_history(WindowState(plan, lateness_ms=LATENESS_MS), rows, batch, disturb=batch > 1) == truth


def is_wide(history: WindowState, key: int) -> bool:
    heap = history.heap
    return bool(heap[heap[layout.HEADS] + key * heap[layout.HEAD_WORDS] + layout.BASE_MS] == layout.WIDE)


def test_a_key_is_wide_while_one_of_its_values_is() -> None:
    history = WindowState(HistoryPlan((SUMMED,), (Query("sum", 0, length_ms=100),)), lateness_ms=LATENESS_MS)
    forms = []
    for time_ms in range(0, 1_000, 4):
        value = HALF if time_ms == 400 else 5
        key, words, kept = np.zeros(1, np.int64), np.full((1, 1), value), np.ones((1, 1), np.uint8)
        history.run(np.full(1, time_ms), key, key, words, kept, time_ms)
        forms.append(is_wide(history, 0))

    assert forms[:100] == [False] * 100
    assert forms[100:120] == [True] * 20
    assert not forms[-1]


@pytest.mark.parametrize("time_ms", [(1 << 32) - LATENESS_MS + number for number in (-2, -1, 0, 1)])
def test_times_at_the_end_of_a_packed_chunk_stay_as_they_are(time_ms: int) -> None:
    queries = Query("count", length_ms=1 << 34), Query("count", length_ms=5)
    plan = HistoryPlan((SUMMED,), queries)
    rows = [Row(time, 0, 0, (1,)) for time in (0, time_ms, time_ms, time_ms + 1)]

    assert by_history(WindowState(plan, lateness_ms=LATENESS_MS), rows, 1) == by_definition(plan, rows)
