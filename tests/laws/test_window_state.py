"""The law of histories: in batches of any size they give what the definition says, to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shroff.features.online import window_state
from shroff.features.online.window_state import HistoryPlan, Query, WindowState
from shroff.language.aggregates import AGGREGATES
from shroff.runtime.values import replace
from tests.laws.rows import (
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


def by_history(history: WindowState, rows: list[Row], batch: int, *, disturb: bool = False) -> Results:
    """The answers of a history in batches; `disturb`: sweep, and restore a snapshot, between any two."""
    results: Results = []
    watermark_ms = None
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        out, valid = history.run(*as_arrays(history.plan, part), watermark_ms)
        results += [
            [int(value) if there else None for value, there in zip(out[:, i], valid[:, i], strict=True)]
            for i in range(len(part))
        ]
        watermark_ms = max((row.time_ms for row in rows[: start + batch] if not row.is_label), default=None)
        if disturb:
            if watermark_ms is not None:
                history.sweep(3, watermark_ms)
            other = WindowState(history.plan, lateness_ms=LATENESS_MS)
            other.restore(history.snapshot())
            history = other
    return results


@LAW
@given(cases)
def test_history_and_definition_agree_in_batches_of_any_size(case: tuple[HistoryPlan, list[Row]]) -> None:
    plan, rows = case
    truth = by_definition(plan, rows)

    for batch in (1, 3, 16, 4_096):
        assert by_history(WindowState(plan, lateness_ms=LATENESS_MS), rows, batch) == truth


@LAW
@given(cases, st.sampled_from([1, 3, 16]))
def test_sweeps_and_restores_change_nothing(case: tuple[HistoryPlan, list[Row]], batch: int) -> None:
    plan, rows = case

    undisturbed = by_history(WindowState(plan, lateness_ms=LATENESS_MS), rows, batch)
    assert by_history(WindowState(plan, lateness_ms=LATENESS_MS), rows, batch, disturb=True) == undisturbed


@pytest.fixture
def tight_heap(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Heaps that have to grow by a few words at almost every request."""
    window_state.blank_heap.cache_clear()
    monkeypatch.setattr(window_state, "FIRST_WORDS", 1)
    monkeypatch.setattr(window_state, "GROWTH_PART", 1 << 40)
    monkeypatch.setattr(window_state, "MAPPED_WORDS", 1 << 10)  # some of them in mapped memory
    yield
    window_state.blank_heap.cache_clear()


@settings(LAW, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(case=cases, batch=st.sampled_from([1, 16, 4_096]))
def test_running_out_of_room_at_any_step_changes_nothing(
    tight_heap: None, case: tuple[HistoryPlan, list[Row]], batch: int
) -> None:
    plan, rows = case

    assert by_history(WindowState(plan, lateness_ms=LATENESS_MS), rows, batch) == by_definition(plan, rows)


@pytest.mark.parametrize("seed", long_after(1, range(3)))
def test_long_histories_agree_with_the_definition(seed: int) -> None:
    series = replace(SUMMED, scale=1)
    windows = [
        {"length_ms": 40},
        {"length_ms": 400, "delay_ms": 100},
        {"last_n": 30},
        {},
        {"length_ms": 200, "including": True},
    ]
    plan = HistoryPlan(
        (series,),
        tuple(
            Query(function, 0, **window, numerator=9, denominator=10)
            for window in windows
            for function in functions_of(series)
            if window or not AGGREGATES[function].scans
        ),
    )
    rows = made_up_rows(seed, 700, LATENESS_MS)
    truth = by_definition(plan, rows)

    for batch in (1, 64, 4_096):
        assert by_history(WindowState(plan, lateness_ms=LATENESS_MS), rows, batch, disturb=batch > 1) == truth


@pytest.mark.parametrize("function, window", long_after(8, list(product(functions_of(SUMMED), NARROW))))
def test_the_law_catches_a_window_that_is_off_by_one(function: str, window: dict[str, int]) -> None:
    """A history whose plan is wrong by one millisecond, one event or the event itself must not pass."""
    if AGGREGATES[function].scans and not window:
        window = {"length_ms": 1}
    query = Query(function, 0, **window, numerator=1, denominator=2)
    right = HistoryPlan((SUMMED,), (query,))
    wrong = HistoryPlan((SUMMED,), (altered_window(query),))
    rows = made_up_rows(7, 400, LATENESS_MS)

    truth = by_definition(right, rows)
    assert by_history(WindowState(right, lateness_ms=LATENESS_MS), rows, 16) == truth
    assert by_history(WindowState(wrong, lateness_ms=LATENESS_MS), rows, 16) != truth
