"""The sample of approvals: a queue of its own, whose answers give the rate of missed fraud."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random

import numpy as np
import pyarrow as pa
import pytest

from shroff.adapters.log.decisions.decisions import SqlDecisions
from shroff.cases import case_actions, case_queries, dispositions
from shroff.cases.case import SAMPLE, CaseFilter
from shroff.cases.case_service import UNDO_MS
from shroff.cases.filters import queue_of
from shroff.cases.timers import carry_out
from shroff.engine.exploration import SAMPLED
from shroff.engine.stored import decision_of
from shroff.examples.bank import NEVER_REPORTED_RATE, bank
from shroff.language.values import in_share
from shroff.models.evaluation.exploration import fraud_share
from shroff.project.exploration import Sample
from shroff.runtime.values import replace
from shroff.services.results.figures import DecidedEvents, ResultEvents, missed_fraud
from shroff.services.results.operations import ShowResults
from shroff.streams.log import DecisionRow
from shroff.training.sets.labels import FRAUD_LABEL, GENUINE_LABEL, NO_LABEL
from tests.support.telling import NOW_MS, Bank, payment

RULE = "- { id: large, on: payment, by: card, when: this.amount > 100, effect: review }\n"
POLICY = "payment: { sample: { share: 25%, seed: a seed that nobody guesses } }\n"
FILES = {"notices/customer.yaml": None, "rules/large.yaml": RULE, "policy.yaml": POLICY}
SEEDS = 50


@pytest.mark.slow
def test_sampled_approvals_wait_in_a_queue_of_their_own_and_their_answers_give_the_rate(tmp_path):
    small = Bank(tmp_path, FILES)
    small.pay(payment("large"), *(payment(f"p-{at}", "20.00") for at in range(40)))
    who = small.project.context.who
    with small.project.cases.open() as desk:
        query = {"rule": SAMPLED}
        wanted = queue_of(query, who, desk)
        sampled = list(case_queries.listed(desk, who, wanted).cases)
        usual = case_queries.listed(desk, who, queue_of({}, who, desk)).cases
        views = {counted.view.name: counted.count for counted in case_queries.views(desk, who)}
        claimed = [case_actions.claim_next(desk, who), case_actions.claim_next(desk, who, CaseFilter(after=1))]

        assert 4 < len(sampled) < 18
        assert [(case.entity, case.alerts, case.reason) for case in sampled] == [("payment", 1, SAMPLE)] * len(sampled)
        assert [(case.entity, case.key) for case in usual] == [("card", "c-1")]
        assert (views["Open"], views[SAMPLE]) == (1, len(sampled))
        assert case_queries.backlog(desk).open == 1
        assert [case and case.entity for case in claimed] == ["card", None]
        for number, case in enumerate(sampled[1:]):  # one is not answered yet
            dispositions.decide(desk, who, case.number, "genuine" if number else "fraud")
        small.clock_ms += UNDO_MS
        carry_out(desk)
    small.pay(payment("later", "500.00"))  # takes the answers in
    small.project.label(f"payment/{sampled[0].key}", "fraud", source="chargeback")

    found = small.project.run(ShowResults()).missed_fraud

    answered = len(sampled) - 1
    assert (found.sampled, found.reviewed, found.frauds) == (len(sampled), answered, 1)
    assert found.rate == pytest.approx(1 / answered), "a report does not stand in for an answer"
    assert found.low < found.rate < found.high
    assert found.fraud_money == f"{len(sampled) / answered / 0.25 * 20:.2f}"


def test_a_decision_of_each_policy_says_how_probable_its_samples_were(tmp_path, monkeypatch):
    small = Bank(tmp_path, FILES)
    read, ask = list[int](), SqlDecisions.of
    for first, share in enumerate(("25%", "50%", "50%, uncertain_share: 90%, uncertain_from: 0.9", "100%")):
        small.write({"policy.yaml": POLICY.replace("25%", share)})
        small.pay(*(payment(f"p-{20 * first + at}", "20.00") for at in range(20)))
    with small.project.log.reading() as log:
        decisions = [decision_of(row) for rows in log.decisions.after() for row in rows]

        def decisions_of(log: SqlDecisions, type_: str, ids: Sequence[str]) -> dict[str, DecisionRow]:
            read.append(len(ids))
            return ask(log, type_, ids)

        monkeypatch.setattr(SqlDecisions, "of", decisions_of)
        events = ResultEvents(small.project.definitions)
        events.follow(log)
    drawn = {row.seq: row.exploration.propensity for row in decisions if row.exploration}

    assert events.as_of(NOW_MS).sampled == drawn
    assert {*drawn.values()} == {0.25, 0.5, 1.0}
    uncertain = sum(row.exploration is not None for row in decisions[40:60])
    assert read == [3 + uncertain], "one of each policy, and each where uncertain approvals have a share of their own"


def test_without_a_sample_results_say_nothing_of_it_and_no_view_stands_there(tmp_path):
    small = Bank(tmp_path, {**FILES, "policy.yaml": "payment: {}\n"})
    small.pay(payment("p-1", "20.00"))
    with small.project.cases.open() as desk:
        names = [counted.view.name for counted in case_queries.views(desk, small.project.context.who)]

    assert SAMPLE not in names
    assert small.project.run(ShowResults()).missed_fraud is None


# ---- the interval holds the truth


def approvals(count: int) -> tuple[DecidedEvents, list[float]]:
    """Approved events, whose frauds are rarer at low scores, with their scores; one fraud in ten is never reported."""
    random = np.random.default_rng(count)
    scores = random.beta(1, 8, count) / 2
    is_fraud = random.random(count) < 0.002 + scores**2 / 4
    is_reported = is_fraud & (random.random(count) >= NEVER_REPORTED_RATE)
    labels = np.where(is_reported, FRAUD_LABEL, NO_LABEL).astype(np.int8)
    nothing = np.zeros(count, np.int64)
    events = DecidedEvents(nothing, nothing + 100, nothing.astype(np.int8), labels, nothing, [], np.arange(count))
    return replace(events, hits={"truth": np.flatnonzero(is_fraud)}), scores.tolist()


def answered(events: DecidedEvents, scores: list[float], seed: int) -> DecidedEvents:
    """The events with a sample of this seed, of which analysts answered nine in ten."""
    sample = Sample(0.05, 0.5, 0.15, f"a seed of some bank {seed}")
    shares = [sample.propensity(score) for score in scores]
    sampled = {at: share for at, share in enumerate(shares) if in_share(f"{sample.seed}\x00payment", share, f"p-{at}")}
    seqs = np.array([at for at in sampled if at % 10])
    labels = events.labels.copy()
    labels[seqs] = np.where(np.isin(seqs, events.hits["truth"]), FRAUD_LABEL, GENUINE_LABEL)
    return replace(events, labels=labels, sampled=sampled, answered=seqs)


def covered(count: int) -> tuple[int, int, float]:
    """In how many of the seeds the interval holds the true rate, in how many that of reports, and its mean width."""
    events, scores = approvals(count)
    true, reported = len(events.hits["truth"]) / count, float((events.labels == FRAUD_LABEL).mean())
    found = [missed_fraud(answered(events, scores, seed), 0, 1)[2] for seed in range(SEEDS)]
    held = sum(share.low <= true <= share.high for share in found)
    return held, sum(share.low <= reported <= share.high for share in found), np.mean([s.high - s.low for s in found])


def test_a_group_without_an_answer_is_said_and_not_passed_over():
    labels = np.array([FRAUD_LABEL, GENUINE_LABEL, NO_LABEL, NO_LABEL, NO_LABEL], np.int8)
    nothing, seqs = np.zeros(5, np.int64), np.arange(5)
    sampled = {0: 0.5, 1: 0.5, 2: 0.5, 3: 0.1, 4: 0.1}
    events = DecidedEvents(nothing, nothing + 100, nothing.astype(np.int8), labels, nothing, [], seqs, sampled=sampled)
    found = missed_fraud(replace(events, answered=seqs[:2]), 0, 1)

    assert found[:2] == (5, 2), "two of five are in the group of a tenth, of which nobody answered any"
    assert (found[2].drawn, found[2].share) == (2, 0.5)


@pytest.mark.slow
def test_the_rate_holds_the_truth_though_one_fraud_in_ten_is_never_reported():
    held, _, width = covered(4_000)

    assert held >= 45
    assert width < 0.03


@pytest.mark.long
@pytest.mark.slow
def test_of_many_approvals_the_rate_holds_the_truth_and_no_longer_that_of_reports():
    held, of_reports, _ = covered(100_000)

    assert held >= 45
    assert of_reports < held


@pytest.mark.slow
def test_the_synthetic_bank_misses_what_its_sample_says(tmp_path):
    random, small = Random(1), Bank(tmp_path, FILES)
    paid = {f"p-{at}": item for at, item in enumerate(bank(events=2_000, seed=1))}
    small.pay(
        *(
            payment(id_, str(item.event["amount"]), card=item.event["card"], at=NOW_MS - 10**9 + at)
            for at, (id_, item) in enumerate(paid.items())
        )
    )
    with small.project.log.reading() as log:
        rows = [row for rows in log.decisions.after() for row in rows if row.outcome == "approve"]
        drawn = {row.seq for hits in log.hits.after() for row in hits if row.rule == SAMPLED}
    approved = [row.id for row in rows]
    sampled = [row.id for row in rows if row.seq in drawn]
    frauds = {id_ for id_, item in paid.items() if item.fraud}
    said = [(id_, "fraud" if id_ in frauds else "genuine", "analyst") for id_ in sampled]
    said += [(id_, "fraud", "chargeback") for id_ in sorted(frauds) if random.random() >= NEVER_REPORTED_RATE]
    names, verdicts, sources = map(list, zip(*said, strict=True))
    known_at = [datetime.fromtimestamp(NOW_MS / 1000, UTC)] * len(said)
    told = {"event": [f"payment/{id_}" for id_ in names], "verdict": verdicts, "source": sources, "known_at": known_at}
    small.project.label(pa.table(told))
    found = small.project.run(ShowResults()).missed_fraud

    assert (found.sampled, found.reviewed) == (len(sampled), len(sampled))
    assert found.frauds == len(frauds & {*sampled})
    assert found.rate == pytest.approx(found.frauds / len(sampled))

    # What the engine drew by one seed is drawn by fifty.
    is_fraud = np.array([id_ in frauds for id_ in approved])
    held = 0
    for seed in range(SEEDS):
        mine = np.array([in_share(f"seed {seed} of this bank\x00payment", 0.25, id_) for id_ in approved])
        share = fraud_share(is_fraud[mine], np.full(mine.sum(), 0.25))
        held += share.low <= is_fraud.mean() <= share.high

    assert held >= 45


@pytest.mark.slow
def test_a_sampled_approval_waits_for_an_analyst_though_it_is_reported(tmp_path):
    small = Bank(tmp_path, FILES)
    small.pay(*(payment(f"p-{at}", "20.00") for at in range(40)))
    who, wanted = small.project.context.who, CaseFilter(rule=SAMPLED)
    with small.project.cases.open() as desk:
        sampled = list(case_queries.listed(desk, who, wanted).cases)
    first, second, third, *_ = sampled
    small.project.label(f"payment/{first.key}", "fraud", source="chargeback")
    small.project.label(f"payment/{second.key}", "genuine", source="analyst")
    with small.project.cases.open() as desk:
        waiting = [case.key for case in case_queries.listed(desk, who, wanted).cases]

        assert waiting == [case.key for case in sampled if case is not second]
        dispositions.decide(desk, who, first.number, "fraud")
        dispositions.decide(desk, who, third.number, "genuine")
        small.clock_ms += UNDO_MS
        carry_out(desk)
    small.pay(payment("later", "500.00"))  # takes the answers in
    small.project.label("payment/later", "genuine", source="chargeback")  # after their moment

    found = small.project.run(ShowResults()).missed_fraud
    assert (found.reviewed, found.frauds) == (3, 1)
