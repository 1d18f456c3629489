"""Baselines on the same rows: the champion, rules alone, the best single rule, approve all."""

from __future__ import annotations

import numpy as np

from shroff.arrays import Bools, Floats, Ints, Ints8
from shroff.models.evaluation.metrics import REVIEW, average_precision
from shroff.models.sets import RecordedDecisions
from shroff.runtime.values import FrozenStruct

CHAMPION = "champion"
RULES_ONLY = "rules_only"
BEST_RULE = "best_rule"
APPROVE_ALL = "approve_all"


class Baseline(FrozenStruct):
    """Another way to judge the same events.

    Args:
        scores: Score of every row of the set; higher is more suspicious.
        outcomes: Outcome of every row; None to apply the policy's thresholds.
        are_probabilities: Whether the scores are probabilities; outcomes and hits only rank.
        since_ms: Only rows from this time on are compared, because it has learned from earlier ones.
        about: Description for the report.
    """

    name: str
    scores: Floats
    outcomes: Ints8 | None
    are_probabilities: bool
    since_ms: int | None = None
    about: str = ""


def champion(scores: Floats, learnt_until_ms: int | None = None, about: str = "") -> Baseline:
    """Return the champion as a baseline, by its score for each row.

    Args:
        learnt_until_ms: End of its training data; only later rows are compared.
    """
    return Baseline(CHAMPION, scores, None, are_probabilities=True, since_ms=learnt_until_ms, about=about)


def rules_only(outcomes: Ints8, about: str = "") -> Baseline:
    """Return the rules alone as a baseline: outcomes rank, approve lowest; events without a decision count as
    approved.
    """
    strength = np.maximum(outcomes, 0)
    return Baseline(RULES_ONLY, strength.astype(np.float64), strength, are_probabilities=False, about=about)


def approve_all(count: int) -> Baseline:
    nothing = np.zeros(count, np.int8)
    return Baseline(APPROVE_ALL, np.zeros(count), nothing, are_probabilities=False, about="every event is approved")


def best_rule(recorded: RecordedDecisions, rows: Ints, frauds: Bools) -> Baseline | None:
    """Return the rule with the best average precision, as if each hit were reviewed; None without hits.

    It is chosen on the measured rows, which flatters it: a model that beats it beats every single rule. Ties go by id.

    Args:
        rows: Rows of the set that are measured.
        frauds: Which of these are frauds.
    """
    precision_by_rule = {
        rule: average_precision(hits[rows].astype(np.float64), frauds) for rule, hits in recorded.hits.items()
    }
    ranked = sorted(
        (rule for rule, value in precision_by_rule.items() if np.isfinite(value)),
        key=lambda rule: (-precision_by_rule[rule], rule),
    )
    if not ranked:
        return None
    hits = recorded.hits[ranked[0]]
    outcomes = np.where(hits, np.int8(REVIEW), np.int8(0))
    return Baseline(BEST_RULE, hits.astype(np.float64), outcomes, are_probabilities=False, about=f"rule {ranked[0]}")
