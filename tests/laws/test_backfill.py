"""The law of the back-fill: over a whole history it gives what a history gives row by row, to the bit."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.features.batch.backfill import Backfill
from shroff.features.online.window_state import HistoryPlan, Query, WindowState
from shroff.language.aggregates import AGGREGATES, State
from shroff.runtime.values import replace
from tests.laws.rows import (
    KINDS,
    LATENESS_MS,
    LAW,
    NARROW,
    SUMMED,
    Results,
    Row,
    altered_window,
    as_arrays,
    by_definition,
    cases,
    functions_of,
    made_up_rows,
)
from tests.support.effort import long_after
from tests.support.whole_history import backfill

SHORT = [
    {"length_ms": 40},
    {"length_ms": 40, "including": True},
    {"length_ms": 400, "delay_ms": 100},
    {"last_n": 30},
    {},
    {"including": True},
]


def run_whole(plan: HistoryPlan, rows: list[Row]) -> tuple[np.ndarray, np.ndarray]:
    return WindowState(plan, lateness_ms=LATENESS_MS).run(*as_arrays(plan, rows), None)


def by_backfill(plan: HistoryPlan, rows: list[Row], threads: int) -> Results:
    out, valid = backfill(plan, *as_arrays(plan, rows), lateness_ms=LATENESS_MS, threads=threads)
    return as_results(out, valid)


def as_results(out: np.ndarray, valid: np.ndarray) -> Results:
    return [
        [int(value) if there else None for value, there in zip(out[:, i], valid[:, i], strict=True)]
        for i in range(out.shape[1])
    ]


def put_in_order(rows: list[Row]) -> list[Row]:
    """The same rows without a late one, so that none of them goes through a history."""
    times = sorted(row.time_ms for row in rows)
    return [replace(row, time_ms=time_ms) for row, time_ms in zip(rows, times, strict=True)]


def equal(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]) -> bool:
    return all(np.array_equal(column, other) for column, other in zip(first, second, strict=True))


@LAW
@given(cases, st.booleans(), st.sampled_from([1, 2, 3]))
def test_back_fill_history_and_definition_agree(
    case: tuple[HistoryPlan, list[Row]], is_in_order: bool, threads: int
) -> None:
    plan, rows = case
    rows = put_in_order(rows) if is_in_order else rows

    whole = backfill(plan, *as_arrays(plan, rows), lateness_ms=LATENESS_MS, threads=threads)
    assert equal(whole, run_whole(plan, rows))
    assert as_results(*whole) == by_definition(plan, rows)


@LAW
@given(cases, st.booleans(), st.integers(1, 20))
def test_pieces_of_any_size_change_nothing(case: tuple[HistoryPlan, list[Row]], is_in_order: bool, piece: int) -> None:
    plan, rows = case
    rows = put_in_order(rows) if is_in_order else rows

    whole = Backfill(plan, *as_arrays(plan, rows), lateness_ms=LATENESS_MS, threads=1)
    pieces = [as_results(*whole.answer(piece)) for _ in range(0, len(rows), piece)]
    assert [answers for results in pieces for answers in results] == as_results(*run_whole(plan, rows))


def full_plan(*without: State) -> HistoryPlan:
    """Every function of every kind of series over every window, but for those of some states."""
    queries = [
        Query(function, number, **window, numerator=9, denominator=10)
        for number, series in enumerate(KINDS)
        for window in SHORT
        for function in functions_of(series)
        if AGGREGATES[function].state not in without
        and (window.keys() - {"including"} or not AGGREGATES[function].scans)
    ]
    return HistoryPlan(tuple(KINDS), (*queries, Query("count", length_ms=40), Query("count")))


@pytest.mark.parametrize("plan", [full_plan(), full_plan("values", "ranks")], ids=["by history", "by runs"])
@pytest.mark.parametrize("share_of_late_keys", [0, 0.5, 1])
@pytest.mark.parametrize("seed", long_after(1, range(2)))
def test_long_histories_with_hot_keys_agree(seed: int, share_of_late_keys: float, plan: HistoryPlan) -> None:
    random = np.random.default_rng(seed)
    rows = made_up_rows(seed, 1_500, LATENESS_MS)
    newest_ms = np.maximum.accumulate([row.time_ms for row in rows])
    columns = [random_values(random, number, len(rows)) for number in range(len(KINDS))]
    rows = [
        replace(
            row,
            time_ms=row.time_ms if row.insert_key < 30 * share_of_late_keys else int(newest_ms[i]),
            values=tuple(column[i] for column in columns),
            query_key=row.query_key if i % 17 else (row.query_key + 1) % 30,
        )
        for i, row in enumerate(rows)
    ]

    expected = run_whole(plan, rows)
    for threads in (1, 2):
        assert equal(backfill(plan, *as_arrays(plan, rows), lateness_ms=LATENESS_MS, threads=threads), expected)
    whole = Backfill(plan, *as_arrays(plan, rows), lateness_ms=LATENESS_MS, threads=2)
    pieces = [whole.answer(700) for _ in range(0, len(rows), 700)]
    assert equal((np.hstack([out for out, _ in pieces]), np.hstack([valid for _, valid in pieces])), expected)


def test_a_cell_that_comes_after_a_younger_question_is_not_seen_by_it() -> None:
    """The key has no younger cell; but the question was answered without this one."""
    plan = HistoryPlan((), (Query("count", length_ms=1), Query("count")))
    rows = [Row(5, 0, 1, ()), Row(4, 1, -1, (), is_label=True), Row(5, 1, 1, ())]

    assert by_backfill(plan, rows, 1) == by_definition(plan, rows) == [[0, 0], [None, None], [0, 1]]


def random_values(random: np.random.Generator, number: int, count: int) -> list[int | None]:
    """Values of a kind of series, now and then none, some of them extreme."""
    extremes = [None, 10**15, -(10**15)] if KINDS[number].sums else [None]
    column: list[int | None] = [int(value) for value in random.integers(-500, 500, count)]
    if KINDS[number].real:
        column = [int(value) for value in random.normal(size=count).round(1).view(np.int64)]
    return [extremes[i % len(extremes)] if random.random() < 0.1 else value for i, value in enumerate(column)]


@pytest.mark.parametrize(
    "function, window, is_in_order", long_after(9, list(product(functions_of(SUMMED), NARROW, [True, False])))
)
def test_the_law_catches_a_window_that_is_off_by_one(function: str, window: dict[str, int], is_in_order: bool) -> None:
    """A back-fill whose plan is wrong by one millisecond, one event or the event itself must not pass."""
    if AGGREGATES[function].scans and not window:
        window = {"length_ms": 1}
    query = Query(function, 0, **window, numerator=1, denominator=2)
    right = HistoryPlan((SUMMED,), (query,))
    wrong = HistoryPlan((SUMMED,), (altered_window(query),))
    rows = made_up_rows(7, 4_000, LATENESS_MS)
    rows = put_in_order(rows) if is_in_order else rows

    truth = as_results(*run_whole(right, rows))
    assert by_backfill(right, rows, 2) == truth
    assert by_backfill(wrong, rows, 2) != truth
