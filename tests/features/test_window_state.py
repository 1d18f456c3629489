"""Histories at their edges: windows, late rows, wide numbers, trimming, snapshots."""

from __future__ import annotations

import math
import struct
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest

from shroff.errors import StateError
from shroff.features.kernels import layout, windows
from shroff.features.online import window_state
from shroff.features.online.window_state import HistoryPlan, Query, Series, WindowState
from shroff.runtime.process_wide import mapped
from shroff.runtime.values import replace

MONEY = Series(sums=True, scale=100)
CODES = Series()
REAL = replace(CODES, real=True)
LARGEST = 10**15
LATENESS_MS = 1_000


def history(*queries: Query, series: Series = MONEY) -> WindowState:
    return WindowState(HistoryPlan((series,), queries), lateness_ms=LATENESS_MS)


def feed(
    kept_events: WindowState,
    rows: list[tuple[int, int | None]],
    *,
    key: int = 0,
    asked: int | None = None,
    watermark_ms: int | None = None,
) -> list[list[int | None]]:
    """Run (time, value) rows of one key; gives each query's answers, None where one is missing."""
    values = np.array([[value or 0 for _, value in rows]], np.int64)
    kept = np.array([[value is not None for _, value in rows]], np.uint8)
    times = np.array([time_ms for time_ms, _ in rows], np.int64)
    keys = np.full(len(rows), key, np.int64)
    asks = keys if asked is None else np.full(len(rows), asked, np.int64)
    out, valid = kept_events.run(times, keys, asks, values, kept, watermark_ms)
    return [
        [int(x) if there else None for x, there in zip(*column, strict=True)] for column in zip(out, valid, strict=True)
    ]


def as_float(bits: int | None) -> float | None:
    return None if bits is None else struct.unpack("<d", struct.pack("<q", bits))[0]


def as_bits(value: float) -> int:
    return struct.unpack("<q", struct.pack("<d", value))[0]


def test_an_event_leaves_exactly_when_the_window_length_has_passed():
    #  ms      1000   2000   3000   4000
    #            A             B
    #  at 3999   (-------------]      A is less than 3 s old: in
    #  at 4000    (-------------]     exactly 3 s old: out
    events = history(Query("sum", 0, length_ms=3_000))
    feed(events, [(1_000, 50), (3_000, 20)])

    assert feed(events, [(3_999, None), (4_000, None)]) == [[70, 20]]


def test_an_event_is_in_its_own_window_only_where_it_is_included():
    events = history(Query("count", length_ms=10), Query("count", length_ms=10, including=True))

    assert feed(events, [(5, 1), (5, 1), (5, 1)]) == [[0, 1, 2], [1, 2, 3]]


def test_an_event_of_another_key_is_not_included():
    events = history(Query("count", length_ms=10, including=True))

    assert feed(events, [(5, 1), (6, 1)], key=3, asked=4) == [[0, 0]]
    assert feed(events, [(6, 1)], key=3) == [[3]]


def test_who_asks_about_nobody_gets_nothing():
    events = history(Query("count"), Query("sum", 0, including=True), Query("distinct", 0))

    assert feed(events, [(5, 1), (6, 1)], asked=-1) == [[None, None]] * 3
    assert feed(events, [(7, 1)]) == [[2], [3], [1]]


def test_of_nothing_counts_and_sums_are_zero_and_all_others_missing():
    names = ["count", "sum", "distinct", "mean", "std", "min", "max", "first", "last", "share"]
    events = history(*(Query(name, 0, length_ms=10) for name in names))

    assert [answers[0] for answers in feed(events, [(0, 5)])] == [0, 0, 0] + [None] * 7
    # An event without a value is an event all the same: the share of it is zero.
    assert [answers[1] for answers in feed(events, [(100, None), (101, 5)])] == [0, 0, 0] + [None] * 6 + [as_bits(0.0)]


def test_a_late_row_sees_its_own_window_and_those_behind_it_see_the_late_row():
    #  ms     100        200        300       place in the log: A 1, B 2, C 3, D 4
    #          A          C late     B  D
    events = history(
        Query("max", 0, length_ms=150), Query("last", 0, length_ms=150), Query("distinct", 0, length_ms=150)
    )
    feed(events, [(100, 9), (300, 1)])

    assert feed(events, [(200, 5)]) == [[9], [9], [1]]
    assert feed(events, [(300, None)]) == [[5], [1], [2]]


def test_the_greatest_value_comes_back_when_a_late_greater_one_leaves():
    events = history(Query("max", 0, length_ms=100), Query("min", 0, length_ms=100))
    feed(events, [(0, 4), (50, 3), (90, 2), (20, 8), (20, -8)])

    assert feed(events, [(95, None), (119, None), (120, None), (149, None), (150, None)]) == [
        [8, 8, 3, 3, 2],
        [-8, -8, 2, 2, 2],
    ]


def test_windows_of_any_length_share_one_deque():
    """A window that lags must not read what another one has outlived."""
    lengths = [1, 7, 50, 400]
    events = history(*(Query("max", 0, length_ms=length) for length in lengths))
    values = [(place * 7919) % 1_000 for place in range(3_000)]

    answers = feed(events, list(enumerate(values)))
    for length, column in zip(lengths, answers, strict=True):
        assert column == [max(values[max(0, i - length + 1) : i], default=None) for i in range(len(values))]


def test_a_sum_outside_64_bits_is_missing_and_comes_back():
    fits = (2**63 - 1) // LARGEST
    events = history(Query("sum", 0, length_ms=fits + 2), Query("mean", 0, length_ms=fits + 2), Query("sum", 0))
    rows = [(place, LARGEST) for place in range(fits + 2)] + [(fits + 2, 0)]

    window, mean, ever = feed(events, rows)
    assert window[fits] == fits * LARGEST
    assert window[fits + 1] is None
    assert mean[fits + 1] is None
    assert ever[-1] is None
    assert feed(events, [(fits + 3, -LARGEST)]) == [
        [fits * LARGEST],
        [as_bits(fits * LARGEST / ((fits + 1) * 100))],
        [None],
    ]


def test_a_spread_stays_exact_where_the_sum_has_left_64_bits():
    n = 9_500
    values = [LARGEST - (place * 7919) % 1_000_003 for place in range(n)]
    events = history(Query("std", 0, including=True))
    above = n * sum(value * value for value in values) - sum(values) ** 2

    assert sum(values) >= 2**63
    assert feed(events, list(enumerate(values)))[0][-1] == as_bits(
        math.sqrt(float(above) / float(n * (n - 1) * 100**2))
    )


@pytest.mark.parametrize("distance", [1_041_878_600_923_299, 1_360_544_776_389_820, 1_542_344_952_512_679])
def test_a_wide_integer_becomes_the_nearest_float(distance: int):
    """The top 64 bits of these squares are ties: what lies below them decides, and shows in the root."""
    values = [distance // 2, distance // 2 - distance]
    events = history(Query("std", 0, including=True), series=replace(MONEY, scale=1))

    assert feed(events, list(enumerate(values)))[0][-1] == as_bits(math.sqrt(float(distance * distance) / 2.0))


def test_the_spread_of_equal_values_is_zero():
    events = history(Query("std", 0, including=True))

    assert [as_float(bits) for bits in feed(events, [(i, LARGEST) for i in range(4)])[0]] == [None, 0.0, 0.0, 0.0]


def test_the_ends_of_64_bits_are_values_like_others():
    low, high = -(2**63), 2**63 - 1
    queries = [Query(name, 0, length_ms=10, including=True) for name in ("min", "max", "first", "last", "distinct")]
    median = Query("quantile", 0, length_ms=10, including=True, numerator=1, denominator=2)
    events = history(*queries, median, series=CODES)

    answers = feed(events, [(0, high), (1, low), (2, low)])
    assert [column[-1] for column in answers] == [low, high, high, low, 2, low]


def test_reals_are_ordered_as_floats():
    events = history(Query("min", 0, including=True), Query("max", 0, including=True), series=REAL)
    values = [2.5, -1.5, -2.5, 1e300, -1e300]

    low, high = feed(events, [(i, as_bits(value)) for i, value in enumerate(values)])
    assert [as_float(bits) for bits in low] == [2.5, -1.5, -2.5, -2.5, -1e300]
    assert [as_float(bits) for bits in high] == [2.5, 2.5, 2.5, 1e300, 1e300]


def test_a_quantile_is_the_value_at_its_exact_rank():
    #  0.07 * 100 is 7.000000000000001 as floats: the rank is 7 all the same
    events = history(Query("quantile", 0, last_n=100, including=True, numerator=7, denominator=100))

    assert feed(events, [(place, place + 1) for place in range(100)])[0][-1] == 7


def test_the_last_n_are_taken_before_values_are_left_out():
    events = history(Query("sum", 0, last_n=2), Query("count", 0, last_n=2), Query("share", 0, last_n=2))
    feed(events, [(0, 1), (1, None), (2, 4)])

    assert feed(events, [(1_000_000, None)]) == [[4], [1], [as_bits(0.5)]]


def test_a_delayed_window_ends_in_the_past():
    events = history(Query("max", 0, length_ms=10, delay_ms=5), Query("distinct", 0, length_ms=10, delay_ms=5))

    #  at 15: (0, 10]     at 16: (1, 11]
    assert feed(events, [(0, 9), (1, 8), (10, 1), (11, 2), (15, 7), (16, 7)]) == [
        [None, None, 9, 9, 8, 2],
        [0, 0, 2, 2, 2, 2],
    ]


def test_what_was_trimmed_counts_where_there_is_no_window():
    names = ["count", "sum", "mean", "min", "max", "first", "last", "distinct"]
    events = history(*(Query(name, 0) for name in names))
    feed(events, [(0, 5), (1, -7), (2, 30), (3, 5)])
    events.sweep(1_000, 1_000_000)

    assert events.cells == 0
    answers = [column[0] for column in feed(events, [(1_000_000, 1)], watermark_ms=1_000_000)]
    assert answers == [4, 33, as_bits(33 / 400), -7, 30, 5, 5, 3]


def test_a_sweep_gives_back_what_no_row_can_reach():
    events = history(Query("max", 0, length_ms=100), Query("distinct", 0, length_ms=100))
    for key in range(50):
        feed(events, [(place, place % 17) for place in range(60)], key=key)
    held = events.memory_bytes
    events.sweep(1_000, 10_000)

    assert events.cells == 0
    # What was given back is taken again before the heap grows.
    for key in range(50):
        feed(events, [(10_000 + place, place % 17) for place in range(60)], key=key, watermark_ms=10_000)
    assert events.memory_bytes == held


def test_a_sweep_stops_at_what_a_late_row_may_ask():
    events = history(Query("count", length_ms=100))
    feed(events, [(0, 1), (50, 1)])
    events.sweep(1_000, 100 + LATENESS_MS)

    assert events.cells == 1
    assert feed(events, [(100, 1)], watermark_ms=100 + LATENESS_MS) == [[1]]


def test_a_hot_key_holds_what_its_windows_reach():
    events = history(Query("max", 0, length_ms=100), Query("distinct", 0, length_ms=100))
    for start in range(0, 50_000, 500):
        feed(events, [(start + place, place) for place in range(500)], watermark_ms=start or None)

    assert events.cells < 10 * (LATENESS_MS + 100)
    assert events.memory_bytes < 200 * 10 * (LATENESS_MS + 100)


def test_clear_forgets_one_key():
    events = history(*(Query(name, 0) for name in ("count", "sum", "max", "distinct", "first")))
    for key in (0, 1):
        feed(events, [(0, 5), (1, 6), (2, 7)], key=key)
    events.clear(1)
    events.clear(1_000_000)

    assert events.cells == 3
    assert feed(events, [(3, 1)], key=1) == [[0], [0], [None], [0], [None]]
    assert feed(events, [(3, 1)], key=0) == [[3], [18], [7], [3], [5]]


def test_a_restored_history_goes_on_as_the_first_and_apart_from_it():
    queries = [Query(name, 0, length_ms=10) for name in ("sum", "max", "distinct")]
    first = history(*queries)
    feed(first, [(0, 5), (1, 6), (2, 7)])
    second = history(*queries)
    second.restore(first.snapshot())
    feed(second, [(3, 100)])

    assert feed(first, [(4, None)]) == [[18], [7], [3]]
    assert feed(second, [(4, None)]) == [[118], [100], [4]]


@pytest.mark.parametrize("is_looked_at", [False, True])
def test_a_restored_history_takes_over_mapped_memory_and_grows(is_looked_at: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(window_state, "MAPPED_WORDS", 1 << 14)
    first, second = (history(Query("sum", 0, length_ms=1_000_000)) for _ in range(2))
    feed(first, [(time, 1) for time in range(1_000)])
    saved = first.snapshot()
    memory = mapped(len(saved) + 16_000)
    memory[: len(saved)] = saved
    second.restore(memoryview(memory)[: len(saved)])
    address = second.heap.ctypes.data

    assert feed(second, [(1_000, 1)]) == [[1_000]]
    assert second.heap.ctypes.data == address, "there was room behind it"
    with memoryview(memory) if is_looked_at else nullcontext():  # then it stays where it is, and a copy grows
        assert feed(second, [(time, 1) for time in range(1_001, 30_000)])[0][-1] == 29_999
    assert (len(memory) == second.heap.nbytes) != is_looked_at


def test_a_history_for_which_there_is_no_more_memory_is_what_it_was(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(window_state, "MAPPED_WORDS", 1 << 13)
    events = history(Query("sum", 0, length_ms=1_000_000))
    feed(events, [(time, 1) for time in range(3_000)])
    before = events.heap.tolist()

    events.heap[layout.WANTED] = 1 << 56  # words that no system has
    with pytest.raises(MemoryError):  # which an OSError is not: a service would wait, and go on
        events.grow()
    events.heap[layout.WANTED] = before[layout.WANTED]
    assert events.heap.tolist() == before
    assert feed(events, [(time, 1) for time in range(3_000, 9_000)])[0][-1] == 8_999


def test_a_snapshot_has_no_room_that_nobody_uses_and_goes_on_as_the_first():
    queries = [Query(name, 0, length_ms=50) for name in ("sum", "max", "distinct", "last")]
    first, second = history(*queries, Query("min", 0)), history(*queries, Query("min", 0))
    for key in range(40):  # each grows, is trimmed, and lets another have its blocks
        feed(first, [(time, 300 - time) for time in range(200)], key=key, watermark_ms=0)
    first.sweep(40, LATENESS_MS + 190)
    first.clear(39)
    second.restore(first.snapshot())

    assert second.cells == first.cells
    assert second.memory_bytes < first.memory_bytes * 0.6
    for key in (39, *range(40)):
        rows = [(185 + 3 * number, 200 - number) for number in range(60)]
        assert feed(second, rows, key=key) == feed(first, rows, key=key)


@pytest.mark.parametrize(
    "other",
    [history(Query("sum", 0, length_ms=11)), history(Query("sum", 0, length_ms=10), series=replace(MONEY, scale=1))],
)
def test_a_snapshot_of_another_plan_is_refused(other: WindowState):
    with pytest.raises(StateError, match="another plan"):
        history(Query("sum", 0, length_ms=10)).restore(other.snapshot())


def test_a_torn_snapshot_is_refused():
    with pytest.raises(StateError, match="another plan"):
        history(Query("count")).restore(b"\0" * 64)


def test_arrays_of_other_layouts_give_the_same():
    events = history(Query("sum", 0, length_ms=10, including=True))
    times = np.arange(6, dtype=np.int32)[::2]
    times.flags.writeable = False
    values = np.asfortranarray([[1, 2, 3]])

    out, valid = events.run(times, times * 0, times * 0, values, np.ones((1, 3), bool), None)
    assert out.tolist() == [[1, 3, 6]]
    assert valid.all()


def test_no_rows_give_no_answers():
    out, valid = history(Query("count"), Query("sum", 0)).run(
        *(np.empty(0, np.int64) for _ in range(3)), np.empty((1, 0), np.int64), np.empty((1, 0), np.uint8), None
    )

    assert out.shape == valid.shape == (2, 0)


@pytest.mark.parametrize(
    "plan",
    [
        HistoryPlan((), (Query("sum", 0),)),
        HistoryPlan((CODES,), (Query("sum", 0),)),
        HistoryPlan((CODES,), (Query("max"),)),
        HistoryPlan((MONEY,), (Query("quantile", 0),)),
        HistoryPlan((MONEY,), (Query("sum", 0, length_ms=0),)),
        HistoryPlan((MONEY,), (Query("sum", 0, delay_ms=5),)),
        HistoryPlan((MONEY,), (Query("sum", 0, length_ms=5, delay_ms=5, including=True),)),
        HistoryPlan((MONEY,), (Query("sum", 0, length_ms=5, last_n=5),)),
        HistoryPlan((replace(MONEY, real=True),), ()),
    ],
)
def test_a_plan_that_the_kernel_cannot_keep_is_refused(plan: HistoryPlan):
    with pytest.raises(AssertionError):
        WindowState(plan, lateness_ms=0)


def test_a_handful_of_events_is_answered_without_the_compiler():
    script = """
import sys
from tests.features.test_window_state import CODES, Query, feed, history
feed(history(Query("count"), series=CODES), [(0, 1)])
sys.exit("numba" in sys.modules)
"""
    windows.run.keep()

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
