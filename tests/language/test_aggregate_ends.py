"""The ends of an aggregate hold for its meaning, over any window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.language.aggregates import AGGREGATES, WindowView

VALUES = st.lists(st.integers(-50, 50), min_size=1, max_size=6)
RANKS = st.sampled_from([(1, 1), (2, 1), (1, 2)])


@pytest.mark.parametrize("name", AGGREGATES)
@given(values=VALUES, rank=RANKS, left_out=st.integers(0, 3))
def test_an_answer_lies_between_the_ends_of_its_latest_event(name, values, rank, left_out):
    row = AGGREGATES[name]
    rank = (1, 2) if name == "quantile" else rank
    answer = row.of(WindowView(values, len(values) + left_out, rank=rank))
    least, most = row.ends
    least_own, most_own = row.ends_with(values[-1], rank, has_negatives=min(values) < 0)

    if answer is not None:
        assert max(least, least_own) <= answer <= min(most, most_own)
        assert not row.is_of_one_event or answer in values


@pytest.mark.parametrize(
    ("name", "rank", "has_negatives", "ends"),
    [
        ("count", (0, 1), False, (1, float("inf"))),
        ("max", (0, 1), True, (7, float("inf"))),
        ("min", (0, 1), True, (float("-inf"), 7)),
        ("sum", (0, 1), False, (7, float("inf"))),
        ("sum", (0, 1), True, (float("-inf"), float("inf"))),
        ("last", (0, 1), True, (7, 7)),
        ("nth_last", (1, 1), True, (7, 7)),
        ("nth_last", (2, 1), True, (float("-inf"), float("inf"))),
        ("first", (0, 1), True, (float("-inf"), float("inf"))),
    ],
)
def test_an_event_narrows_what_it_can(name, rank, has_negatives, ends):
    assert AGGREGATES[name].ends_with(7, rank, has_negatives=has_negatives) == ends
