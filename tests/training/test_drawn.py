"""What training makes of events that were let through: whom they stand for, who is left out, and what metrics say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shroff.engine.exploration import LET_THROUGH, SAMPLED
from shroff.events.event import read_time
from shroff.log.writer import Writer
from shroff.models.evaluation.cost_table import RuleResults, ScoredEvents
from shroff.models.evaluation.folds import evaluate
from shroff.models.evaluation.metrics import RowsOfFold, Terms, calibration_curve, judge, measure
from shroff.models.evaluation.thresholds import thresholds
from shroff.models.evaluation.windows import known_rows
from shroff.models.sets import FRAUD, TrainingSet
from shroff.project.definitions import Definitions, load_definitions
from shroff.runtime.values import replace
from shroff.training.sets.labels import GatheredLabels
from shroff.training.sets.rows import build_set, stands_for
from shroff.training.sets.sources import log_source
from shroff.training.tested_rows import judged_rows, weighed_of
from shroff.training.train import plain_settings
from tests.engine.test_exploring import policy
from tests.models.test_evaluation import by_input
from tests.support.linear import in_force, named, put, registry
from tests.support.log_memory import MemoryLog
from tests.support.projects import FILES, NOW_MS, label, payment
from tests.support.training_rows import noisy_set, settings

pytestmark = pytest.mark.slow  # its tests train models

COUNT = 80
NO_LABELS = GatheredLabels("payment").of_rows(pa.chunked_array([[]], pa.string()), np.zeros(0, np.int64))


@pytest.fixture(name="load")
def _load(tmp_path: Path):
    models = registry(tmp_path / "models")
    model = put(models, "m-1", {"payment.amount": 1.0})
    files = {**FILES, "rules/large.yaml": "", "models/in_force.json": in_force(payment={"champion": named(model)})}

    def load(text: str) -> Definitions:
        return load_definitions({**files, "policy.yaml": text}, load_model=models.load).or_raise()

    return load


@pytest.fixture(name="log")
def _log(load) -> MemoryLog:
    """Half of all are declined about which a lot was drawn, a quarter of those let through; two of these are frauds."""
    log = MemoryLog()
    small_only = Writer(log, load(policy("0.70", share="25%")), lambda: NOW_MS)
    small_only.write([payment(at, at, amount="5.00" if at % 2 else "0.10") for at in range(COUNT)])
    drawn = [hit.seq for hits in log.hits.after() for hit in hits if hit.rule == LET_THROUGH]
    known = [
        label(500 + at, f"payment/p{seq - 2}", "fraud", "chargeback", "2026-03-03T00:00:00Z")
        for at, seq in enumerate(drawn[:2])
    ]
    small_only.write(known)
    return log


def test_rows_stand_for_those_that_the_lot_left_behind_the_score(log: MemoryLog):
    seqs = np.arange(2, COUNT + 2)
    found = stands_for(log, seqs, NO_LABELS)

    assert found is not None
    assert np.isnan(found[::2]).all(), "what the score approves or reviews is no would-be decline"
    assert set(found[1::2].tolist()) == {0.0, 4.0}
    assert stands_for(log, seqs[10:20], NO_LABELS) is not None
    np.testing.assert_array_equal(stands_for(log, seqs[10:20], NO_LABELS), found[10:20])


def test_without_a_policy_that_ever_explored_nothing_is_read(load):
    log = MemoryLog()
    Writer(log, load("payment: { score: { decline_at: 0.5 } }"), lambda: NOW_MS).write([payment(1)])

    assert stands_for(log, np.array([2]), NO_LABELS) is None
    assert stands_for(None, np.array([2]), NO_LABELS) is None


def test_a_set_leaves_out_what_nobody_saw_and_counts_what_was_let_through(load, log: MemoryLog):
    definitions = load(policy())
    plain, as_of = plain_settings(definitions, "payment", ()), read_time("2026-06-01T00:00:00Z")
    given = build_set(definitions, plain, log_source(log, definitions, "payment"), as_of)
    known = known_rows(given, 0, as_of, as_of, plain.label_delay_ms)

    let_through = int((given.recorded.stands_for == 4).sum())
    assert let_through > 3
    assert (known.immature, known.unclear, known.not_seen) == (0, 0, COUNT // 2 - let_through)
    assert len(known.rows) == COUNT // 2 + let_through
    assert int((known.verdicts == FRAUD).sum()) == 2
    weights = given.weights(known.rows)
    assert weights is not None
    assert sorted(set(weights.tolist())) == [1.0, 4.0]
    assert weights.sum() == COUNT // 2 + 4 * let_through
    assert given.recorded.hits == {}, "a lot is not a rule"
    np.testing.assert_array_equal(given.take(known.rows).recorded.stands_for, given.recorded.stands_for[known.rows])


def test_of_sampled_approvals_a_fraud_that_only_analysts_know_stands_for_those_that_nobody_reports(load):
    log = MemoryLog()
    sampling = load("payment: { sample: { share: 25%, seed: a seed that nobody guesses } }")
    writer = Writer(log, sampling, lambda: NOW_MS)
    writer.write([payment(at, at) for at in range(COUNT)])
    first, second, third, fourth, *others = [
        hit.seq for hits in log.hits.after() for hit in hits if hit.rule == SAMPLED
    ]
    unsampled = next(seq for seq in range(2, COUNT + 2) if seq not in {first, second, third, fourth, *others})
    said = [(first, "fraud", "analyst"), (second, "fraud", "analyst"), (second, "fraud", "customer")]
    said += [(third, "genuine", "analyst"), (unsampled, "fraud", "analyst")]
    said += [(fourth, "fraud", "analyst"), (fourth, "genuine", "analyst")]  # whoever answered it took that back
    writer.write(
        [
            label(500 + at, f"payment/p{seq - 2}", verdict, source, "2026-03-03T00:00:00Z")
            for at, (seq, verdict, source) in enumerate(said)
        ]
    )
    plain, as_of = plain_settings(sampling, "payment", ()), read_time("2026-06-01T00:00:00Z")
    given = build_set(sampling, plain, log_source(log, sampling, "payment"), as_of)

    weights = given.weights(np.arange(COUNT))
    assert weights is not None
    assert {int(given.seqs[row]): weights[row] for row in np.flatnonzero(weights != 1)} == {first: 4.0}
    assert len(known_rows(given, 0, as_of, as_of, plain.label_delay_ms).rows) == COUNT, "nothing is left out"


def test_a_row_that_stands_for_three_is_measured_as_three():
    random = np.random.default_rng(3)
    count = 60
    scores, counts = random.random(count).round(1), random.integers(0, 4, count)
    rows = RowsOfFold(
        random.random(count) < scores, random.random(count) * 50, random.integers(0, 5, count), np.arange(count)
    )
    terms = Terms(0.4, 0.7, 15.0, 4.0, 10, 2)
    many = np.repeat(np.arange(count), counts)

    weighed = judge(RowsOfFold(*_columns(rows), counts.astype(float)), scores, terms.outcomes(scores))
    repeated = judge(rows.take(many), scores[many], terms.outcomes(scores[many]))

    for name, value in measure(repeated, terms).items():
        assert measure(weighed, terms)[name] == pytest.approx(value), name
    assert [item.count for item in calibration_curve(weighed)] == [item.count for item in calibration_curve(repeated)]
    drawn = random.integers(0, 3, count).astype(float)
    assert measure(weighed, terms, drawn)["auc_roc"] == pytest.approx(measure(repeated, terms, drawn[many])["auc_roc"])
    part = weighed.rows.take(np.flatnonzero(rows.frauds))
    np.testing.assert_array_equal(part.times(None), counts[rows.frauds])


def _columns(rows: RowsOfFold) -> list[np.ndarray]:
    return [getattr(rows, name) for name in rows.__struct_fields__][:4]


def test_recall_is_told_without_bias_where_declines_are_let_through_by_lot_and_with_bias_where_they_just_count():
    random, share, terms = np.random.default_rng(5), 0.1, Terms(None, 0.8, None, None, None, 2)
    scores = random.random(5_000)
    frauds = random.random(5_000) < scores**3
    is_high = scores >= 0.8
    truth = frauds[is_high].sum() / frauds.sum()
    by_lot, just_counted = [], []
    for _ in range(300):
        seen = np.flatnonzero(~is_high | (random.random(5_000) < share))
        nothing = np.zeros(len(seen))
        counts = np.where(is_high[seen], 1 / share, 1.0)
        for found, counted in ((by_lot, counts), (just_counted, None)):
            rows = RowsOfFold(frauds[seen], nothing, nothing.astype(int), nothing.astype(int), counted)
            found.append(measure(judge(rows, scores[seen], terms.outcomes(scores[seen])), terms)["recall_at_decline"])

    assert off_by(by_lot, truth) < 3
    assert off_by(just_counted, truth) > 30


def off_by(found: list[float], truth: float) -> float:
    """How many standard errors a mean of estimates lies from the truth."""
    return float(abs(np.mean(found) - truth) / (np.std(found, ddof=1) / np.sqrt(len(found))))


# ---- an evaluation


def drawn_set() -> TrainingSet:
    """A set of which the score would have declined what is strong, and of that a quarter was let through."""
    given = noisy_set(3_000)
    strong = given.inputs[0].values[np.arange(3_000)]
    is_seen = np.random.default_rng(9).random(3_000) < 0.25
    lots = np.where(strong > 1, np.where(is_seen, 4.0, 0.0), np.nan)
    return replace(given, recorded=replace(given.recorded, stands_for=lots))


def test_an_evaluation_counts_those_that_were_let_through_and_says_so():
    given, told = drawn_set(), settings()
    terms = Terms(0.5, 0.7, 15.0, 4.0, 3.0)
    found = evaluate(given, told, terms, by_input())
    lots, scores = given.recorded.stands_for, by_input()(given, None)(given)
    assert lots is not None
    values = found.metrics["precision_at_decline"].folds

    assert (lots[found.tested.rows] != 0).all()
    for number, value in enumerate(values):
        rows = found.tested.rows[found.tested.folds == number]
        rows = rows[scores[rows] >= 0.7]
        counts = np.where(np.isnan(lots[rows]), 1.0, lots[rows])
        frauds = given.verdicts_at(given.as_of_ms)[rows] == FRAUD
        assert value == pytest.approx(counts[frauds].sum() / counts.sum())
    (said,) = [remark for remark in found.remarks if "were drawn" in remark]
    seen = lots[found.tested.rows] > 0
    assert said.startswith(f"{seen.sum():,} test rows were drawn (declines that were explored, approved frauds")
    assert f"represent {4 * seen.sum():,} such events" in said


def test_training_leaves_out_what_nobody_saw():
    given, told = drawn_set(), settings()
    lots = given.recorded.stands_for
    learnt: list[np.ndarray] = []

    def learn(of, known):
        learnt.append(known.rows)
        return by_input()(of, known)

    evaluate(given, told, Terms(), learn)

    assert lots is not None
    assert all((lots[rows] != 0).all() for rows in learnt)
    assert all((lots[rows] == 4).any() for rows in learnt)


def test_test_rows_keep_how_often_they_count_and_cut_offs_are_weighed_so():
    given, told = drawn_set(), settings()
    terms = Terms(0.5, 0.7, 15.0, 4.0, 50.0)
    found = evaluate(given, told, terms, by_input())
    nothing = np.zeros(len(given))
    table = judged_rows(given, found, nothing.astype(np.int8), nothing.astype(bool))
    weighed = weighed_of(table, 2, "")

    counts = weighed.rows.counts
    assert counts is not None
    assert set(counts.tolist()) == {1.0, 4.0}
    many = np.repeat(np.arange(len(weighed)), counts.astype(int))
    fixed = RuleResults(
        *(part[many] for part in (weighed.fixed.declined, weighed.fixed.allowed, weighed.fixed.reviewed))
    )
    rows = replace(weighed.rows, counts=None).take(many)
    repeated = ScoredEvents(weighed.scores[many], rows, fixed, weighed.folds[many])
    chosen, other = thresholds(weighed, terms, seed=1), thresholds(repeated, terms, seed=1)
    assert (chosen.best.review_at, chosen.best.decline_at) == (other.best.review_at, other.best.decline_at)
    assert chosen.best.cost == pytest.approx(other.best.cost)
    assert chosen.without.cost == pytest.approx(other.without.cost)
    plain = judged_rows(
        noisy_set(3_000), evaluate(noisy_set(3_000), told, terms, by_input()), *[nothing.astype(np.int8)] * 2
    )
    assert weighed_of(plain, 2, "").rows.counts is None
