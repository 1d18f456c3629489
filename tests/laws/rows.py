"""Rows of a log and plans of histories: generated, and answered straight from the definition."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from shroff.features.online.window_state import HistoryPlan, Query, Series
from shroff.language.aggregates import AGGREGATES, COUNT, WindowView
from shroff.runtime.values import replace
from tests.support.effort import examples

LATENESS_MS = 12
LARGEST_SUMMED = 10**15
INT64 = range(-(2**63), 2**63)
REAL_KINDS, EXACT_KINDS = {"real"}, {"integer", "number", "money"}
LAW = settings(max_examples=examples(400))
NARROW = ({"length_ms": 10}, {"length_ms": 10, "delay_ms": 3}, {"last_n": 2}, {})  # windows, so errors by one tell


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a log: what it adds to the history, and about whom it asks."""

    time_ms: int
    insert_key: int
    query_key: int
    values: tuple[int | None, ...]
    is_label: bool = False  # asks nobody, moves no watermark, and is never too late or too early


Results = list[list[int | None]]


def as_bits(value: float) -> int:
    return int(struct.unpack("<q", struct.pack("<d", value))[0])


class Real(float):
    """A float in the order of the kernels, where -0.0 is another value than 0.0, and before it."""

    @property
    def order(self) -> tuple[float, float]:
        return float(self), math.copysign(1, self)

    def __lt__(self, other: object) -> bool:
        return isinstance(other, Real) and self.order < other.order

    def __gt__(self, other: object) -> bool:
        return isinstance(other, Real) and self.order > other.order

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Real) and self.order == other.order

    def __hash__(self) -> int:
        return hash(self.order)


def as_real(bits: int) -> Real:
    return Real(struct.unpack("<d", struct.pack("<q", bits))[0])


def by_definition(plan: HistoryPlan, rows: list[Row]) -> Results:
    """Every answer straight from the definition: all earlier rows looked at, for each row anew."""
    results: Results = []
    for place, row in enumerate(rows):
        before, with_this = (in_time(rows[:end], row.query_key) for end in (place, place + 1))
        answers = [
            one_answer(plan, query, row.time_ms, with_this if query.including else before) for query in plan.queries
        ]
        results.append([None] * len(answers) if row.query_key < 0 else answers)
    return results


def in_time(rows: list[Row], key: int) -> list[Row]:
    """The rows of a key in order of time; equal times stay in the order of the log."""
    return sorted((row for row in rows if row.insert_key == key), key=lambda row: row.time_ms)


def one_answer(plan: HistoryPlan, query: Query, now_ms: int, seen: list[Row]) -> int | None:
    end_ms = now_ms - query.delay_ms
    inside = [row for row in seen if row.time_ms <= end_ms]
    if query.length_ms is not None:
        inside = [row for row in inside if row.time_ms > end_ms - query.length_ms]
    if query.last_n is not None:
        inside = inside[-query.last_n :]
    if query.series < 0:
        return len(inside)
    kept = [value for row in inside if (value := row.values[query.series]) is not None]
    return aggregate(query, plan.series[query.series], kept, len(inside))


def aggregate(query: Query, series: Series, kept: list[int], events: int) -> int | None:
    values = [as_real(bits) for bits in kept] if series.real else kept
    rank = query.numerator, query.denominator
    found = AGGREGATES[query.function].of(WindowView(values, events, series.scale, rank))
    assert not isinstance(found, str)
    return as_bits(found) if isinstance(found, float) else found


def as_arrays(plan: HistoryPlan, rows: list[Row]) -> tuple[np.ndarray, ...]:
    shape = (len(plan.series), len(rows))
    values = np.array([[row.values[s] or 0 for row in rows] for s in range(shape[0])], np.int64).reshape(shape)
    kept = np.array([[row.values[s] is not None for row in rows] for s in range(shape[0])], np.uint8).reshape(shape)
    columns = [[row.time_ms for row in rows], [row.insert_key for row in rows], [row.query_key for row in rows]]
    return *(np.array(column, np.int64) for column in columns), values, kept


SUMMED = Series(sums=True, scale=100)
KINDS = [
    SUMMED,
    replace(SUMMED, scale=1),
    replace(SUMMED, scale=10**6),
    replace(SUMMED, scale=10**12),
    Series(),
    Series(real=True),
]
KEYS = (0, 0, 0, 0, 1, 1, 2, 40, -1)
FLOATS = [0.0, -0.0, 1.5, -1.5, 2.5, 1e300, -1e300, 5e-324]


def value_of(random: Random, series: Series) -> int | None:
    """A value of a series: missing, a small one, or one at the edge of what it takes."""
    if random.random() < 1 / 4:
        return None
    if series.real:
        return as_bits(random.choice(FLOATS))
    edges = [LARGEST_SUMMED, -LARGEST_SUMMED, LARGEST_SUMMED - 1] if series.sums else [INT64[0], INT64[-1]]
    return random.choice([random.randint(-3, 5), random.choice(edges), random.randint(0, 10**6 if series.sums else 5)])


def functions_of(series: Series) -> list[str]:
    """The aggregates that take the values of a series."""
    kinds = REAL_KINDS if series.real else EXACT_KINDS
    return [
        name
        for name, row in AGGREGATES.items()
        if row.state != "looks" and (series.sums or not row.is_summed) and (row.takes is None or kinds & row.takes)
    ]


def plan_of(random: Random, queries: int) -> HistoryPlan:
    series = tuple(random.choices(KINDS, k=random.randint(0, 3)))
    return HistoryPlan(series, tuple(query_of(random, series) for _ in range(queries)))


def query_of(random: Random, series: Sequence[Series]) -> Query:
    number = random.randint(-1, len(series) - 1)
    function = COUNT if number < 0 else random.choice(functions_of(series[number]))
    window = random.choice(["time", "time", "last", "delayed"] + ([] if AGGREGATES[function].scans else ["ever"]))
    denominator = random.choice([1, 4, 20, 1000])
    return Query(
        function,
        number,
        length_ms=random.randint(1, 30) if window in ("time", "delayed") else None,
        delay_ms=random.randint(1, 25) if window == "delayed" else 0,
        last_n=random.randint(1, 6) if window == "last" else None,
        including=window != "delayed" and random.random() < 1 / 2,
        numerator=random.randint(0, denominator),
        denominator=denominator,
    )


def log_of(random: Random, plan: HistoryPlan, count: int) -> list[Row]:
    """Ties, late rows, labels, pauses, keys that are missing, and rows that only ask or only add."""
    rows: list[Row] = []
    newest_ms = random.choice([0, 1_700_000_000_000])
    for _ in range(count):
        asked = random.choice(KEYS)
        values = tuple(value_of(random, series) for series in plan.series)
        if random.random() < 1 / 10:
            rows.append(Row(newest_ms + random.randint(-100, 40), asked, -1, values, is_label=True))
            continue
        time_ms = newest_ms + random.choice([0, 0, 1, 1, 2, 5, 30, -1, -2, -7, -LATENESS_MS])
        newest_ms = max(newest_ms, time_ms)
        rows.append(Row(time_ms, random.choice([asked, asked, asked, random.choice(KEYS)]), asked, values))
    return rows


def case_of(seed: int, queries: int, count: int) -> tuple[HistoryPlan, list[Row]]:
    """A plan and the first rows of a log, made of a number: what fails is cut to few queries and rows."""
    random = Random(seed)
    plan = plan_of(Random(random.random()), queries)
    return plan, log_of(random, plan, count)


cases = st.builds(case_of, st.integers(0, 2**32), st.integers(1, 12), st.integers(0, 50))


def made_up_rows(seed: int, count: int, lateness_ms: int) -> list[Row]:
    """A long log with one hot key, and a second one that pauses."""
    random = np.random.default_rng(seed)
    newest_ms, rows = 0, []
    for place in range(count):
        time_ms = newest_ms + int(random.choice([0, 1, 2, 3, -1, -int(random.integers(0, lateness_ms + 1))]))
        newest_ms = max(newest_ms, time_ms)
        key = int(random.choice([0, 0, 0, 1 if place % 300 < 100 else 2, int(random.integers(3, 30))]))
        value = None if random.random() < 0.1 else int(random.integers(-20, 60))
        rows.append(Row(time_ms, key, key, (value,)))
    return rows


def altered_window(query: Query) -> Query:
    if query.length_ms is not None:
        return replace(query, length_ms=query.length_ms + 1)
    if query.last_n is not None:
        return replace(query, last_n=query.last_n + 1)
    return replace(query, including=not query.including)
