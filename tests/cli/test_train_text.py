"""What `shroff train` tells people of the rules beside a model."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from shroff.arrays import Bools
from shroff.models.evaluation.baselines import best_rule
from shroff.models.evaluation.estimates import estimate
from shroff.models.evaluation.intervals import key_blocks
from shroff.models.evaluation.metrics import RowsOfFold, Terms, judge
from shroff.models.model import IMPORTED
from shroff.models.sets import RecordedDecisions
from shroff.training.printed import _best_rule_text, text

FRAUDS = np.arange(60) % 6 == 0


def told(hits: Bools) -> str:
    """What is told where one rule hit so."""
    recorded = RecordedDecisions(np.zeros(60, np.int8), np.full(60, np.nan), {"large": hits})
    found = best_rule(recorded, np.arange(60), FRAUDS)
    assert found is not None
    assert found.outcomes is not None
    nothing = np.zeros(60, np.int64)
    rows = RowsOfFold(FRAUDS, np.ones(60), nothing, nothing - 1)
    judged = judge(rows, found.scores, found.outcomes, are_probabilities=False)
    metrics = estimate([judged], Terms(), None, key_blocks([rows.keys]), 1).by_name
    compared = {"best_rule": SimpleNamespace(about=found.about, metrics=metrics)}
    return "\n".join(_best_rule_text(SimpleNamespace(evaluation=SimpleNamespace(compared=compared))))


def test_the_best_rule_is_told_with_what_it_finds():
    assert told(np.arange(60) % 3 == 0).strip() == "The best rule is large: precision 0.500, recall 1.000."


def test_where_no_rule_found_a_fraud_none_is_called_the_best():
    assert told(np.arange(60) % 6 == 1).strip() == "No rule found a fraud among the tested events."


def test_a_model_without_gates_is_told_to_have_none():
    evaluation = SimpleNamespace(folds=(), metrics={}, compared={}, without_give_away={})
    checked = {"rows": 50, "file": "check.csv", "worst": 1e-7}
    origin = {"source": "XGBoost's JSON", "file": "elsewhere.json", "checked": checked}
    stored = SimpleNamespace(id="m-1", event="payment", manifest={IMPORTED: origin})
    report = SimpleNamespace(stored=stored, evaluation=evaluation, gates=(), remarks=(), promoted=True, rows=9, fraud=1)
    report.seconds = 0.1

    assert "  no gates\n\nIt is active." in text(report)
    assert "limit" not in text(report)
