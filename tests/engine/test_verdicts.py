"""Verdicts of many events without a hit are those of each."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shroff.engine.verdicts import Verdicts
from shroff.project.policy import WITHOUT_MODEL, Policy

SCORES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]) | st.floats(0.0, 1.0)
CUTS = st.none() | SCORES


@given(CUTS, CUTS, st.sampled_from(list(WITHOUT_MODEL)), st.lists(SCORES))
def test_outcomes_by_cut_offs_are_those_of_each_score(review_at, decline_at, without_model, scores):
    of = Verdicts(Policy(review_at, decline_at, without_model))

    verdicts, verdict_of = of.without_hits(np.array(scores), len(scores))
    unscored, unscored_of = of.without_hits(None, len(scores))

    assert [verdicts[at] for at in verdict_of.tolist()] == [of.of(None, score) for score in scores]
    assert [unscored[at] for at in unscored_of.tolist()] == [of.of(None, None)] * len(scores)
