"""Gates: each with its number, its limit, and whether it is held."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from shroff.models.definitions import ModelGate
from shroff.models.evaluation import baselines
from shroff.models.evaluation.folds import evaluate
from shroff.models.evaluation.gates import judge_gates
from shroff.models.evaluation.metrics import Terms
from shroff.runtime.values import replace
from tests.models.test_evaluation import TERMS, by_input, scores_by_input
from tests.support.training_rows import noisy_set, settings

GIVEN = noisy_set(3_000, slices={"channel": ["web", "app", "pos"] * 1_000})


@cache
def evaluated_alone():
    return evaluate(GIVEN, settings(), TERMS, by_input())


@cache
def beside_weak():
    return beside(scores_by_input(GIVEN, "weak"))


@cache
def beside_itself():
    return beside(scores_by_input(GIVEN))


def beside(scores, learnt_until_ms=None):
    return evaluate(GIVEN, settings(), TERMS, by_input(), champion=baselines.champion(scores, learnt_until_ms))


def judged(gate, evaluation=None, **more):
    (result,) = judge_gates([gate], evaluation or evaluated_alone(), **more)
    return result


@pytest.mark.parametrize(
    "at_least, at_most, passed", [(0.1, None, True), (0.99, None, False), (None, 0.99, True), (None, 0.1, False)]
)
def test_a_limit_is_held_or_not(at_least, at_most, passed):
    result = judged(ModelGate("auc_roc", at_least, at_most))

    assert result.passed is passed
    assert result.value == pytest.approx(evaluated_alone().metrics["auc_roc"].mean, abs=1e-6)
    assert result.limit == (f"at least {at_least:g}" if at_least else f"at most {at_most:g}")


def test_a_limit_that_is_met_exactly_is_held():
    mean = evaluated_alone().metrics["auc_roc"].mean

    assert judged(ModelGate("auc_roc", at_least=mean)).passed
    assert judged(ModelGate("auc_roc", at_most=mean)).passed


def test_each_limit_of_a_gate_is_a_line():
    results = judge_gates(
        [ModelGate("auc_roc", 0.1, 0.2, "noise"), ModelGate("leak_test", is_required=True)], evaluated_alone()
    )

    assert [(gate.name, gate.passed) for gate in results] == [
        ("auc_roc", True),
        ("auc_roc", False),
        ("auc_roc", True),
        ("leak_test", False),
    ]


@pytest.mark.slow
def test_a_gate_at_a_cut_off_names_it_and_is_held_against_that_one_alone():
    terms = replace(TERMS, cut_offs=(0.5,))
    against = baselines.champion(scores_by_input(GIVEN), None)
    evaluation = evaluate(GIVEN, settings(), terms, by_input(), champion=against)
    limits = judge_gates(
        [
            ModelGate("f1", 0.01, at=0.5),
            ModelGate("recall", 0.99, at=0.25),
            ModelGate("f1", None, None, "noise", at=0.5),
        ],
        evaluation,
    )

    assert [(gate.name, gate.limit, gate.passed) for gate in limits] == [
        ("f1_at_0.5", "at least 0.01", True),
        ("recall_at_0.25", "at least 0.99", False),
        ("f1_at_0.5", "above the champion by more than noise", False),
    ]
    assert limits[1].note == "it is not measured"
    assert "95 % interval" in limits[2].note


@pytest.mark.slow
def test_what_was_not_measured_does_not_pass():
    bare = evaluate(GIVEN, settings(capacity=None), Terms(), by_input())
    result = judged(ModelGate("recall_at_review", at_least=0.0), bare)

    assert (result.value, result.passed, result.note) == (None, False, "policy.yaml has no review_at")
    assert not judged(ModelGate("latency_p99", at_most=1.0)).passed
    assert not judged(ModelGate("leak_test", is_required=True)).passed


@pytest.mark.parametrize("latency_ms, passed", [(0.4, True), (1.0, True), (1.2, False)])
def test_latency_is_in_milliseconds(latency_ms, passed):
    result = judged(ModelGate("latency_p99", at_most=1.0), latency_p99_ms=latency_ms)

    assert (result.passed, result.limit, result.note) == (passed, "at most 1 ms", "")


@pytest.mark.parametrize("passed", [True, False])
def test_the_leak_test_passes_or_does_not(passed):
    assert judged(ModelGate("leak_test", is_required=True), leak_test_passed=passed).passed is passed


@pytest.mark.slow
def test_a_better_model_is_above_the_champion_by_more_than_noise():
    result = judged(ModelGate("average_precision", above_champion_by="noise"), beside_weak())

    assert result.passed
    assert result.value > 0.1
    assert "95 % interval +" in result.note


@pytest.mark.slow
def test_noise_is_not_above_the_champion():
    lots = np.random.default_rng(1).normal(size=3_000)
    alike = np.clip(scores_by_input(GIVEN) + 0.02 * lots, 0, 1)
    result = judged(ModelGate("average_precision", above_champion_by="noise"), beside(alike))
    same = judged(ModelGate("average_precision", above_champion_by="noise"), beside_itself())

    assert not result.passed
    assert not same.passed


@pytest.mark.slow
@pytest.mark.parametrize("by, passed", [(0.01, True), (0.9, False)])
def test_a_champion_is_beaten_by_a_number(by, passed):
    champion = beside_weak()

    assert judged(ModelGate("average_precision", above_champion_by=by), champion).passed is passed


@pytest.mark.slow
def test_of_what_should_be_small_less_is_better():
    # brier is no metric of keys.py's gates; cost is, and a useless champion costs more.
    champion = beside(np.full(3_000, 0.9))
    result = judged(ModelGate("cost_per_thousand", above_champion_by="noise"), champion)

    assert result.value < 0
    assert result.passed


@pytest.mark.slow
def test_without_a_champion_it_is_held_against_what_is_in_force_then():
    gate = ModelGate("average_precision", above_champion_by="noise")
    strong = judged(gate)
    lots = evaluate(GIVEN, settings(), TERMS, lambda *_: lambda rows: np.random.default_rng(7).random(len(rows)))

    assert (strong.passed, strong.value) == (
        True,
        pytest.approx(evaluated_alone().compared["rules_only"].differences[gate.metric].mean, abs=1e-6),
    )
    assert strong.limit == "above rules alone by more than noise"
    assert strong.note.startswith("there is no champion, so against rules alone: 95 % interval +")
    assert not judged(gate, lots).passed
    assert not judged(ModelGate("average_precision", above_champion_by=0.99)).passed


def test_where_nothing_was_decided_it_is_held_against_approving_all():
    compared = {
        name: baseline for name, baseline in evaluated_alone().compared.items() if name == baselines.APPROVE_ALL
    }

    found = judged(
        ModelGate("average_precision", above_champion_by="noise"), replace(evaluated_alone(), compared=compared)
    )
    alone = judged(ModelGate("average_precision", above_champion_by="noise"), replace(evaluated_alone(), compared={}))

    assert found.passed
    assert found.note.startswith("there is no champion, so against approving all: ")
    assert found.limit == "above approving all by more than noise"
    assert (alone.passed, alone.value) == (False, None)


@pytest.mark.slow
def test_a_champion_that_knows_every_test_row_cannot_be_beaten():
    result = judged(
        ModelGate("average_precision", above_champion_by="noise"), beside(scores_by_input(GIVEN), GIVEN.as_of_ms)
    )

    assert not result.passed
    assert "every test row lies before the end of" in result.note


@pytest.mark.slow
def test_a_slice_that_collapses_does_not_pass():
    web = np.array(GIVEN.slices["channel"]) == "web"
    strong = scores_by_input(GIVEN)
    blind = replace(GIVEN.inputs[0], values=np.where(web, 0.0, GIVEN.inputs[0].values))
    given = replace(GIVEN, inputs=(blind, *GIVEN.inputs[1:]))
    fallen = evaluate(given, settings(), TERMS, by_input(), champion=baselines.champion(strong))
    required, limit = ModelGate("slice_collapse", is_required=True), ModelGate("slice_collapse", at_most=0.1)

    assert not judged(required, fallen).passed
    assert "channel web falls by more than noise" in judged(required, fallen).note
    assert not judged(limit, fallen).passed
    assert judged(required, beside_itself()).passed
    assert judged(limit, beside_itself()).passed
    assert judged(required).note == "there is no champion yet"
