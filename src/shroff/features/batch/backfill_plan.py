"""The plan of a backfill as tables of numbers, for its kernels.

The first pass goes key by key. For each row with a query it finds *positions*: where windows begin and end among the
cells of the key, and which cell has an extreme. From these it fills a record of *words*: the number of values in a
window, their sum, their sum of squares, the value of an extreme. The second pass goes row by row and computes all
answers from the record of the row. The plan numbers positions and words.
"""

from __future__ import annotations

import numpy as np

from shroff.arrays import Ints
from shroff.features.kernels.layout import MEDIAN, MIN
from shroff.features.online.window_state import FUNCTIONS, HistoryPlan, Query
from shroff.language.aggregates import State
from shroff.runtime.values import FrozenStruct

# Numbers of positions; those of edges, tracks, sets and ranks follow.
NOW = 0  # after the cells of earlier rows
START = 1  # the first cell of the key
AFTER = 2  # after the row's own cell

# Beginnings of windows that have no position of their own.
LEFT_EVER = -1
LEFT_LAST_N = -2

# A track: the extremes of one series in all windows with the same end.
TRACK_SERIES = 0
TRACK_FLIP = 1  # -1 for a minimum: keys are ~value, so that the greatest wins; 0 for a maximum
TRACK_END = 2
TRACK_FIRST = 3  # its lanes:
TRACK_LANES = 4
LANE_LEFT = 0
LANE_LAST_N = 1
LANE_OUT = 2

# A set of distinct values, or with three more words a quantile: one window of one series.
PART_SERIES = 0
PART_END = 1
PART_LEFT = 2
PART_LAST_N = 3
PART_OUT = 4
RANK_NUMERATOR = 5
RANK_DENOMINATOR = 6
RANK_FUNCTION = 7  # a median has two adjacent positions

# A group: all queries about one series in one window, and the words that they share; -1 for absent ones.
GROUP_END = 0
GROUP_LEFT = 1
GROUP_LAST_N = 2
GROUP_SERIES = 3
GROUP_FIRST = 4
GROUP_QUERIES = 5
N_WORD = 6  # number of values
EVENTS_WORD = 7  # number of events
SUM_WORD = 8  # two words if the series is wide
SQUARES_WORD = 9  # likewise
QUERY_FUNCTION = 0
QUERY_TARGET = 1
QUERY_POSITION = 2  # of its extreme or quantile; for `distinct` the number of values
QUERY_WORD = 3  # its value in the record

# The stored form of a series; -1 for absent parts. The words of one cell are adjacent.
BASE = 0  # index of its first word
WORDS = 1  # words per cell
OF_SUM = 2  # offset in a cell: sum of the values before it
OF_SQUARES = 3  # likewise: sum of their squares
OF_VALUE = 4  # likewise: the value
OF_MAP = 5  # row with the number of cells before each slot that have a value; -1 if all have one
OF_LINKS = 6  # first of two rows: the previous and the next cell with the same value
OF_RANKS = 7  # first of two rows: ranks of cells, and cells by rank
SCALE = 8
IS_REAL = 9
IS_WIDE = 10  # sums and squares take two words, the low one first
SERIES_WORDS = 11

LOCATED = {"extremes", "values", "ranks"}  # states whose answers need positions of their own

Table = Ints
Lane = tuple[int, int, int]  # a window: left, last n, end


class Tables(FrozenStruct):
    """Tables with one row per part, and the numbers of positions and words."""

    positions: int
    words: int
    edges: Table
    tracks: Table
    lanes: Table
    sets: Table
    ranks: Table
    groups: Table
    queries: Table


def tables_of(plan: HistoryPlan, series: Table) -> Tables:
    """Number the positions and words of a plan; `series` has the stored form of each series."""
    edges = sorted({edge for query in plan.queries for edge in query.edges})
    column_of = {edge: AFTER + 1 + i for i, edge in enumerate(edges)}
    windows = [_window(query, column_of) for query in plan.queries]
    taken = AFTER + 1 + len(edges)
    parts: dict[tuple[object, ...], int] = {}  # position by what equal queries share
    for query, window in zip(plan.queries, windows, strict=True):
        if query.state in LOCATED:
            part = _part(query, window)
            if part not in parts:
                parts[part] = taken
                taken += 2 if FUNCTIONS[query.function] == MEDIAN else 1
    tracks, lanes = _tracks(plan, windows, parts)
    groups, queries, words = _groups(plan, windows, parts, series)
    return Tables(
        positions=taken,
        words=words,
        edges=_table([[edge, column_of[edge]] for edge in edges], 2),
        tracks=tracks,
        lanes=lanes,
        sets=_parts(plan, windows, parts, "values"),
        ranks=_parts(plan, windows, parts, "ranks"),
        groups=groups,
        queries=queries,
    )


def _window(query: Query, column_of: dict[int, int]) -> Lane:
    end = AFTER if query.including else NOW
    if query.delay_ms:
        end = column_of[query.delay_ms]
    if query.last_n is not None:
        return LEFT_LAST_N, query.last_n, end
    return (LEFT_EVER if query.length_ms is None else column_of[query.edges[0]]), 0, end


def _part(query: Query, window: Lane) -> tuple[object, ...]:
    share = (query.numerator, query.denominator) if query.state == "ranks" else ()
    return query.function, query.series, window, *share


def _tracks(plan: HistoryPlan, windows: list[Lane], parts: dict[tuple[object, ...], int]) -> tuple[Table, Table]:
    members: dict[tuple[int, int, int], list[Lane]] = {}
    for query, window in zip(plan.queries, windows, strict=True):
        if query.state == "extremes":
            flip = -1 if FUNCTIONS[query.function] == MIN else 0
            lane = (window[0], window[1], parts[_part(query, window)])
            track = members.setdefault((query.series, flip, window[2]), [])
            if lane not in track:
                track.append(lane)
    tracks: list[list[int]] = []
    lanes: list[Lane] = []
    for key, track in members.items():
        tracks.append([*key, len(lanes), len(track)])
        lanes += track
    return _table(tracks, 5), _table(lanes, 3)


def _parts(plan: HistoryPlan, windows: list[Lane], parts: dict[tuple[object, ...], int], state: State) -> Table:
    rows: dict[int, list[int]] = {}
    for query, (left, last_n, end) in zip(plan.queries, windows, strict=True):
        if query.state == state:
            column = parts[_part(query, (left, last_n, end))]
            share = query.numerator, query.denominator, FUNCTIONS[query.function]
            rows[column] = [query.series, end, left, last_n, column, *share]
    return _table(list(rows.values()), 8)


def _groups(
    plan: HistoryPlan, windows: list[Lane], parts: dict[tuple[object, ...], int], series: Table
) -> tuple[Table, Table, int]:
    members: dict[tuple[Lane, int], list[int]] = {}
    for number, query in enumerate(plan.queries):
        members.setdefault((windows[number], query.series), []).append(number)
    groups: list[list[int]] = []
    queries: list[list[int]] = []
    words = 0
    for ((left, last_n, end), of_series), numbers in members.items():
        states = {plan.queries[number].state for number in numbers}
        double = 2 if of_series >= 0 and series[of_series, IS_WIDE] else 1
        group = [end, left, last_n, of_series, len(queries), len(numbers), words]
        words += 1
        for users, count in ({"events"}, 1), ({"sums", "squares"}, double), ({"squares"}, double):
            group.append(words if states & users else -1)
            words += count if states & users else 0
        groups.append(group)
        for number in numbers:
            query = plan.queries[number]
            position = parts.get(_part(query, windows[number]), -1)
            has_value = position >= 0 or query.state == "ends"
            queries.append([FUNCTIONS[query.function], number, position, words if has_value else -1])
            words += has_value
    return _table(groups, 10), _table(queries, 4), words


def _table(rows: list[list[int]] | list[Lane], width: int) -> Table:
    return np.array(rows, np.int64).reshape(len(rows), width)
