"""What was measured, as JSON has it: money as decimal strings with the places of the currency, rates as numbers."""

from __future__ import annotations

import json
import re

import msgspec
import pytest

from shroff.models.evaluation.baselines import approve_all
from shroff.models.evaluation.folds import Evaluation, evaluate
from shroff.models.evaluation.metrics import Terms
from shroff.models.evaluation.thresholds import thresholds
from shroff.models.learners.training import learn_by
from shroff.services.models.operations import ComparedModels
from shroff.services.thresholds.operations import CheapestThresholds
from shroff.training.comparison import TRIED, Comparison, Paired
from shroff.training.cutoffs import Cutoffs
from shroff.training.measured import MONEY_METRICS, metrics_document, money_text, slices_told, with_money
from tests.models.test_thresholds import made_up
from tests.support.projects import definitions
from tests.support.training_rows import noisy_set, settings

TERMS = Terms(review_at=0.3, decline_at=0.8, false_decline=15, review=4, reviews_a_day=3, money_places=3)
AMOUNT = re.compile(r"-?\d+\.\d{3}")


@pytest.fixture(name="judged", scope="module")
def _judged() -> Evaluation:
    given, told = noisy_set(3_000), settings(give_away=("strong",))
    champion = approve_all(len(given))
    return evaluate(given, told, TERMS, learn_by(told, told.parameters), champion=champion)


def is_money(value: object) -> bool:
    return value is None or (isinstance(value, str) and AMOUNT.fullmatch(value) is not None)


@pytest.mark.slow
def test_every_number_of_a_metric_of_money_is_an_amount_and_no_other_is(judged):
    kept = metrics_document(judged, None)
    document = with_money(kept, 3)
    beside = [part[name] for part in document["baselines"].values() for name in ("metrics", "above")]

    assert {"money_saved", "money_lost", "cost_per_thousand"} == MONEY_METRICS
    for metrics in (document["metrics"], document["without_give_away"], *beside):
        for name, metric in metrics.items():
            values = [value for key, value in metric.items() if key not in {"why", "folds"}] + metric.get("folds", [])
            kinds = {is_money(value) for value in values if value is not None}
            assert kinds <= {name in MONEY_METRICS}, name
    mean = judged.metrics["money_saved"].mean
    assert document["metrics"]["money_saved"]["mean"] == f"{mean:.3f}"
    assert document["metrics"]["money_saved"]["why"] == ""
    assert document["metrics"]["auc_roc"]["mean"] == judged.metrics["auc_roc"].mean
    assert all(is_money(row["metrics"]["money_lost"]) for row in document["slices"])
    assert isinstance(document["slices"][0]["metrics"]["brier"], float)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert kept["metrics"]["money_saved"]["mean"] == mean


def test_a_comparison_has_its_money_as_amounts_and_its_counts_as_numbers():
    saved = Paired("money_saved", 10.0, 12.5, 2.5, -1.0, 6.0, 4.0, 17)
    precise = Paired("average_precision", 0.5, 0.625, 0.125, 0.0, 0.25, 0.2, 17)
    counts = (100, 90, 9, 10, 0)
    found = Comparison("payment", "m-1", "m-2", TRIED, 0, *counts, (saved, precise), money_places=3)
    answer = ComparedModels.measured(found)
    money, rate = answer.metrics

    assert money["champion"] == "10.000"
    assert [money[name] for name in ("mean", "low", "high", "seen_from")] == ["2.500", "-1.000", "6.000", "4.000"]
    assert (money["name"], money["frauds_wanted"], money["verdict"]) == ("money_saved", 17, "open")
    assert (rate["mean"], rate["frauds_wanted"]) == (0.125, 17)
    assert "money_places" not in msgspec.to_builtins(answer)


def test_a_comparison_is_told_with_what_is_known_of_its_events():
    saved = Paired("money_saved", 10.0, 12.5, 2.5, -1.0, 6.0, 4.0, 17)
    text = repr(Comparison("payment", "m-1", "m-2", TRIED, 7, 100, 90, 9, 8, 2, (saved,)))

    assert text.splitlines()[:3] == [
        "m-2 against m-1 on payment:",
        "  100 events that both scored after sequence number 7, 90 of them with a verdict, 9 frauds;",
        "  8 are too young, 2 unclear.",
    ]


@pytest.mark.parametrize("folds", [1, 3])
def test_cut_offs_have_their_costs_as_amounts_and_their_scores_as_numbers(folds):
    found = thresholds(made_up(5, folds=folds), TERMS, seed=1)
    report = Cutoffs("m-1", "payment", found, TERMS, 400, 40, 1.0, 3)
    document = msgspec.to_builtins(CheapestThresholds.measured(report))
    points = [document["best"], document["now"], *document["curve"]]
    costs = [document[name] for name in document if name.startswith(("expected_cost", "cost_"))]
    elsewhere = document["elsewhere"]

    assert {"review_at", "decline_at", "expected_cost", "curve"} <= document.keys()
    assert len(costs) == 4
    assert all(is_money(cost) for cost in costs)
    for name in ("cost", "missed_cost", "false_declines_cost", "reviews_cost"):
        assert all(is_money(point[name]) for point in points)
    assert all(isinstance(point["reviews"], float) for point in points)
    assert (elsewhere is None, document["elsewhere_why_not"] == "") == (folds == 1, folds > 1)
    assert elsewhere is None or all(is_money(elsewhere[name]) for name in ("cost", "low", "high"))
    assert elsewhere is None or all(is_money(fold["cost"]) for fold in elsewhere["folds"])


def test_an_amount_is_rounded_half_even_and_what_is_none_is_null():
    texts = [money_text(value, 2) for value in (0.125, 0.375, -1.0, -0.001, 1e9, float("nan"), float("inf"), None)]

    assert texts == ["0.12", "0.38", "-1.00", "0.00", "1000000000.00", None, None, None]
    assert money_text(2.5, 0) == "2"


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ("count(payment) over 1h", ["card.often: true", "card.often: false", "3 payments in 1 h", "card.often: web"]),
        (
            "count(payment) over 1h > 3",
            ["more than 3 payments in 1 h", "at most 3 payments in 1 h", "card.often: 3", "card.often: web"],
        ),
    ],
)
def test_slices_of_a_feature_whose_type_changed_are_told_as_they_were_recorded(declared: str, words: list[str]):
    model = "payment: { inputs: [payment.amount], learner: logistic, slices: [card.often] }\n"
    now = definitions(
        {"features.yaml": f"card: {{ often: {declared} }}\n", "model.yaml": model, "rules/large.yaml": None}
    )
    slices = [{"name": "card.often", "value": value} for value in ("true", "false", "3", "web")]

    assert [notice["words"] for notice in slices_told(now, "payment", {"slices": slices})["slices"]] == words
