"""The back-fill at its edges: wide numbers, late keys, pieces, nobody asked."""

from __future__ import annotations

import math
import struct
import subprocess
import sys

import numpy as np
import pytest

from shroff.features.batch import backfill as module
from shroff.features.batch.backfill import Backfill
from shroff.features.batch.backfill_cells import Order, sort_by_key
from shroff.features.online.window_state import FUNCTIONS, HistoryPlan, Query, Series, WindowState
from shroff.language.aggregates import AGGREGATES
from shroff.runtime.values import replace
from tests.support.whole_history import backfill

MONEY = Series(sums=True, scale=100)
LARGEST = 10**15
LATENESS_MS = 1_000


def run(
    rows: list[tuple[int, int | None]], *queries: Query, series: Series = MONEY, threads: int = 1
) -> list[list[int | None]]:
    """Back-fill (time, value) rows of one key; gives each query's answers, None where one is missing."""
    plan = HistoryPlan((series,), queries)
    times = np.array([time_ms for time_ms, _ in rows], np.int64)
    keys = np.zeros(len(rows), np.int64)
    values = np.array([[value or 0 for _, value in rows]], np.int64)
    kept = np.array([[value is not None for _, value in rows]], np.uint8)
    return answers(backfill(plan, times, keys, keys, values, kept, lateness_ms=LATENESS_MS, threads=threads))


def answers(results: tuple[np.ndarray, np.ndarray]) -> list[list[int | None]]:
    return [
        [int(x) if there else None for x, there in zip(*column, strict=True)] for column in zip(*results, strict=True)
    ]


def as_float(bits: int | None) -> float | None:
    return None if bits is None else struct.unpack("<d", struct.pack("<q", bits))[0]


def payments(count: int, keys: int, seed: int = 1) -> tuple[np.ndarray, ...]:
    """Columns of made-up payments in order of time: times, keys, keys, values, kept."""
    random = np.random.default_rng(seed)
    times = np.sort(random.integers(0, 4 * count, count))
    key = random.integers(0, keys, count)
    return times, key, key, random.integers(1, 1_000, (1, count)), np.ones((1, count), np.uint8)


ALL = tuple(
    Query(function, 0, **window, numerator=1, denominator=2)
    for window in ({"length_ms": 500}, {"length_ms": 500, "delay_ms": 200}, {"last_n": 5, "including": True})
    for function in FUNCTIONS
    if AGGREGATES[function].state != "looks"
)
PLAN = HistoryPlan((MONEY,), ALL)


def test_an_event_leaves_exactly_when_the_window_length_has_passed():
    #  ms      1000   2000   3000   4000
    #            A             B
    #  at 3999   (-------------]      A is less than 3 s old: in
    #  at 4000    (-------------]     exactly 3 s old: out
    rows = [(1_000, 50), (3_000, 20), (3_999, 0), (4_000, 0)]

    assert run(rows, Query("sum", 0, length_ms=3_000)) == [[0, 50, 70, 20]]


def test_events_of_one_time_see_those_before_them_in_the_log():
    rows = [(5, 1), (5, 2), (5, 4)]

    assert run(rows, Query("sum", 0, length_ms=1), Query("sum", 0, length_ms=1, including=True)) == [
        [0, 1, 3],
        [1, 3, 7],
    ]


def test_a_delayed_window_ends_before_the_present():
    #  ms     0    1    2    3    4
    #         A    B    C    D
    #  at 4   (---------]              of 2 ms, 2 ms ago
    rows = [(0, 1), (1, 2), (2, 4), (3, 8), (4, 16)]

    assert run(rows, Query("sum", 0, length_ms=2, delay_ms=2)) == [[0, 0, 1, 3, 6]]


def test_a_sum_outside_64_bits_is_missing_and_comes_back_when_it_fits_again():
    over = 2**63 // LARGEST + 1
    rows = [(i, LARGEST) for i in range(over + 1)] + [(over + 10, -LARGEST)] * 3

    total, mean, std = run(rows, *(Query(name, 0, including=True) for name in ("sum", "mean", "std")))
    assert total[over - 2 :] == [(over - 1) * LARGEST, None, None, None, (over - 1) * LARGEST, (over - 2) * LARGEST]
    assert [value is None for value in mean[over - 2 :]] == [False, True, True, True, False, False]
    assert as_float(std[over]) == 0.0


def test_the_largest_values_spread_exactly():
    rows = [(0, LARGEST), (1, -LARGEST), (2, 0)]

    assert [as_float(bits) for bits in run(rows, Query("std", 0, including=True))[0]] == [
        None,
        math.sqrt(float(4 * LARGEST**2) / float(2 * 100**2)),
        math.sqrt(float(3 * 2 * LARGEST**2) / float(6 * 100**2)),
    ]


@pytest.mark.parametrize("largest", [10, 10**7, 2 * 10**8, 3 * 10**9, LARGEST])
@pytest.mark.parametrize("scale", [1, 100, 10**9, 10**12])
def test_narrow_and_wide_sums_round_alike(largest: int, scale: int):
    random = np.random.default_rng(largest % 97 + scale % 89)
    values = random.integers(-largest, largest, 300, endpoint=True).tolist()
    rows = [(i, value) for i, value in enumerate(values)]

    mean, std = run(
        rows, *(Query(name, 0, including=True) for name in ("mean", "std")), series=replace(MONEY, scale=scale)
    )
    for n in range(2, len(rows) + 1):
        total, squares = sum(values[:n]), sum(value**2 for value in values[:n])
        assert as_float(mean[n - 1]) == float(total) / float(n * scale)
        assert as_float(std[n - 1]) == math.sqrt(float(n * squares - total**2) / float(n * (n - 1) * scale**2))


def test_sums_of_a_hot_key_stay_exact_beyond_the_integers_of_floats():
    random = np.random.default_rng(5)
    times, count = np.arange(150_000), 150_000
    keys, values = np.zeros(count, np.int64), np.round(random.lognormal(10, 1, (1, count))).astype(np.int64)
    plan = HistoryPlan((MONEY,), tuple(Query(name, 0, length_ms=100_000) for name in ("sum", "mean", "std", "max")))
    columns = (times, keys, keys, values, np.ones((1, count), np.uint8))

    found = backfill(plan, *columns, lateness_ms=0, threads=2)
    expected = WindowState(plan, lateness_ms=0).run(*columns, None)
    assert all(np.array_equal(array, other) for array, other in zip(found, expected, strict=True))


@pytest.mark.slow
def test_an_empty_history_and_empty_windows_have_answers():
    nothing = [[] for _ in ALL]
    first = {
        query.function: column
        for query, column in zip(ALL[: len(ALL) // 3], run([(0, None)], *ALL[: len(ALL) // 3]), strict=True)
    }

    assert run([], *ALL) == nothing
    assert first == {query.function: [0 if AGGREGATES[query.function].is_tally else None] for query in ALL}


def test_rows_without_keys_ask_and_add_nothing():
    times, keys, _, values, kept = payments(200, 3)
    nobody = np.full_like(keys, -1)
    unasked, is_there = backfill(PLAN, times, keys, nobody, values, kept, lateness_ms=0, threads=2)
    unfed, _ = backfill(PLAN, times, nobody, keys, values, kept, lateness_ms=0, threads=2)

    assert not unasked.any()
    assert not is_there.any()
    assert not unfed.any()


def test_arrays_that_may_not_be_written_and_truths_are_taken_as_they_are():
    columns = payments(300, 5)
    expected = backfill(PLAN, *columns, lateness_ms=0, threads=1)
    for column in columns:
        column.flags.writeable = False

    found = backfill(PLAN, *columns[:4], columns[4].astype(bool), lateness_ms=0, threads=1)
    assert all(np.array_equal(array, other) for array, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_rows_held_together_change_nothing(monkeypatch: pytest.MonkeyPatch, threads: int):
    columns = payments(5_000, 40)
    expected = WindowState(PLAN, lateness_ms=0).run(*columns, None)
    monkeypatch.setattr(module, "ROWS_TOGETHER", 700)
    monkeypatch.setattr(module, "ROWS_PER_TASK", 90)

    found = backfill(PLAN, *columns, lateness_ms=0, threads=threads)
    assert all(np.array_equal(array, other) for array, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("together", [700, 10_000])
def test_a_key_that_has_nearly_all_rows_is_cut_for_several_threads(
    monkeypatch: pytest.MonkeyPatch, threads: int, together: int
):
    times, keys, _, values, kept = payments(3_000, 4)
    keys[keys < 2] = 0
    columns = (times, keys, keys, values, kept)
    expected = WindowState(PLAN, lateness_ms=0).run(*columns, None)
    monkeypatch.setattr(module, "ROWS_TOGETHER", together)
    cuts = 0
    uncut = Order.cut

    def counted(self: Order, *slots: int) -> Order:
        nonlocal cuts
        cuts += 1
        return uncut(self, *slots)

    monkeypatch.setattr(Order, "cut", counted)
    found = backfill(PLAN, *columns, lateness_ms=0, threads=threads)
    assert all(np.array_equal(array, other) for array, other in zip(found, expected, strict=True))
    assert (cuts > 0) == (threads > 1)


def test_pieces_end_with_the_history():
    columns = payments(100, 3)
    whole = Backfill(PLAN, *columns, lateness_ms=0, threads=1)

    assert [whole.answer(40)[0].shape[1] for _ in range(4)] == [40, 40, 20, 0]


@pytest.mark.slow
def test_only_keys_with_a_late_row_go_through_a_history(monkeypatch: pytest.MonkeyPatch):
    times, keys, _, values, kept = payments(1_000, 10)
    times[500:][keys[500:] == 7] -= 900
    expected = WindowState(PLAN, lateness_ms=LATENESS_MS).run(times, keys, keys, values, kept, None)
    given: list[int] = []
    plain_run = WindowState.run

    def counted(self: WindowState, *columns: object) -> object:
        given.append(len(columns[0]))
        return plain_run(self, *columns)

    monkeypatch.setattr(WindowState, "run", counted)
    found = backfill(PLAN, times, keys, keys, values, kept, lateness_ms=LATENESS_MS, threads=2)
    assert sum(given) == np.count_nonzero(keys == 7)
    assert all(np.array_equal(array, other) for array, other in zip(found, expected, strict=True))


def test_late_keys_let_go_of_what_no_row_can_reach():
    times, keys, _, values, kept = payments(60_000, 10)
    times[1::100] -= 50
    whole = Backfill(PLAN, times, keys, keys, values, kept, lateness_ms=60, threads=1)
    whole.answer(len(times))

    assert whole._late_keys._histories[0].cells < len(times) / 3


def test_importing_the_module_compiles_nothing():
    found = subprocess.run(
        [sys.executable, "-c", "import sys, shroff.features.batch.backfill; print('numba' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert found.stdout.strip() == "False"


def test_a_piece_is_sorted_by_the_keys_of_its_own_rows(monkeypatch: pytest.MonkeyPatch):
    limits = []

    def sorted_by_key(run, keys, limit, **more):
        limits.append(limit)
        return sort_by_key(run, keys, limit, **more)

    monkeypatch.setattr(module, "sort_by_key", sorted_by_key)
    columns = payments(5_000, keys=4_000)
    made = Backfill(PLAN, *columns, lateness_ms=0, threads=1)
    pieces = [made.answer(50) for _ in range(100)]

    assert len(limits) == 101
    assert max(limits[1:]) <= 50
    whole = backfill(PLAN, *columns, lateness_ms=0, threads=1)
    assert all(
        np.array_equal(np.concatenate(parts, axis=1), array)
        for parts, array in zip(zip(*pieces, strict=True), whole, strict=True)
    )
