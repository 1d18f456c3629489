"""The made-up bank is as hard as it says: no field or feature gives frauds away, and the rules miss many.

Each bank runs through the demo's own project, as the demo runs it, so features and rules
are those that people see. What a fraud is says the generator.
`alone` says how a single field is judged. As there remembering what
occurred once is knowing the answer, `payment_id` is no field here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from shroff.cli.demo import SEED, TEMPLATE
from shroff.events.intake import Submission
from shroff.examples.demo import Tally, Truth, stream
from shroff.services import project as app
from shroff.worker.ingest import ingest
from tests.journeys.alone import Values, average_precision, best_alone

EVENTS = 40_000
SEEDS = (3, 4, 5, 6, 7)  # the rules were written looking at seed 1 and are shown on seed 2
FIELDS = ("card", "merchant", "terminal", "amount", "country", "channel", "device")

pytestmark = [pytest.mark.slow, pytest.mark.long]


@dataclass(frozen=True, slots=True)
class Judged:
    """A bank after its run: the columns that an attacker may look at, the truth beside them, and the figures."""

    columns: dict[str, Values]
    frauds: NDArray[np.bool_]
    tally: Tally


@cache
def judged(seed: int) -> Judged:
    """Run a bank through the template's rules. Cost: about 2 s."""
    truth = Truth()
    payments: list[dict[str, str]] = []
    decisions: list[dict] = []

    def listened(submissions: Iterator[Submission]) -> Iterator[Submission]:
        for submission in submissions:
            if submission.type == "payment":
                payments.append(msgspec.json.decode(submission.raw()))
            yield submission

    def on_batch(answers):
        tally.add(answers)
        decisions.extend(
            msgspec.json.decode(answer.document) for answer in answers if answer.document and not answer.is_label
        )

    with tempfile.TemporaryDirectory() as folder:
        project, _ = app.make_project(Path(folder) / "bank", TEMPLATE)
        tally = Tally(truth, {rule.id: rule.effect for rule in project.definitions.rules})
        submissions = listened(stream(project.taking.intake(keeps_hashes=False), EVENTS, seed, truth))
        with project.log.writing() as (writer, _):
            ingest(writer, submissions, on_batch=on_batch)
    assert [decision["id"] for decision in decisions] == [payment["payment_id"] for payment in payments]
    paid_at = [datetime.fromisoformat(payment["paid_at"]) for payment in payments]
    columns = {
        **{name: [payment.get(name) for payment in payments] for name in FIELDS},
        "hour": [time.hour for time in paid_at],
        "weekday": [time.weekday() for time in paid_at],
        "millisecond": [time.microsecond // 1_000 for time in paid_at],
        "cents": [int(payment["amount"][-2:]) for payment in payments],
        "number in the stream": list(range(EVENTS)),
        **{name: [decision["features"][name] for decision in decisions] for name in decisions[0]["features"]},
    }
    return Judged(columns, np.array([payment["payment_id"] in truth.frauds for payment in payments]), tally)


# ---- what one column can do


def scored(scores: list[float], frauds: list[int]) -> float:
    return average_precision(np.array(scores, np.float64), np.array(frauds, np.bool_))


def test_average_precision_of_cases_worked_by_hand():
    assert scored([3, 2, 1], [1, 0, 0]) == 1.0
    assert scored([3, 2, 1], [0, 1, 0]) == 0.5
    assert scored([3, 2, 1], [1, 0, 1]) == pytest.approx((1 + 2 / 3) / 2)
    assert scored([1, 1, 1, 1], [1, 0, 0, 0]) == 0.25
    assert scored([2, 1, 2], [1, 1, 0]) == pytest.approx(0.5 * 1 / 2 + 0.5 * 2 / 3)


def test_a_column_that_tells_is_found_out_whichever_way_it_tells():
    frauds = np.arange(4_000) % 50 == 0
    truth = frauds.tolist()

    assert best_alone([float(item) for item in truth], frauds) == 1.0
    assert best_alone([-float(item) for item in truth], frauds) == 1.0
    assert best_alone([None if item else "12.50" for item in truth], frauds) == 1.0
    assert best_alone(["US" if item else "DE" for item in truth], frauds) == 1.0
    assert best_alone([50.0 if is_fraud else at % 2 * 100.0 for at, is_fraud in enumerate(truth)], frauds) == 1.0
    assert best_alone(["DE"] * 4_000, frauds) == 0.02


# ---- the promises


@pytest.mark.parametrize("seed", SEEDS)
def test_no_field_and_no_feature_alone_reaches_an_average_precision_of_one_half(seed):
    bank = judged(seed)
    found = {name: best_alone(values, bank.frauds) for name, values in bank.columns.items()}

    assert len(found) == len(FIELDS) + 5 + 16
    assert {name: precision for name, precision in found.items() if precision >= 0.5} == {}


@pytest.mark.parametrize("seed", SEEDS)
def test_frauds_can_be_learned_some_columns_are_clues(seed):
    bank = judged(seed)
    base = bank.frauds.mean()
    clues = [name for name, values in bank.columns.items() if best_alone(values, bank.frauds) > 3 * base]

    assert {"amount", "card.spent_24h"} <= set(clues)
    assert len(clues) >= 5


@pytest.mark.parametrize("seed", SEEDS)
def test_the_rules_alone_miss_a_fifth_of_the_fraud_money_and_catch_a_quarter(seed):
    frauds = judged(seed).tally.frauds
    caught, missed = frauds.caught.amount_minor, frauds.missed.amount_minor

    assert missed >= (caught + missed) / 5
    assert caught >= (caught + missed) / 4


@pytest.mark.parametrize("seed", SEEDS)
def test_the_rules_stop_more_honest_payments_than_frauds_and_few_of_both(seed):
    tally = judged(seed).tally

    assert tally.frauds.caught.payments < tally.stopped - tally.frauds.caught.payments
    assert tally.stopped < 0.02 * tally.decisions


def test_the_rules_were_not_fitted_to_the_bank_that_the_demo_shows():
    others = [judged(seed).tally.recall_of_money for seed in SEEDS]

    assert judged(SEED).tally.recall_of_money < sum(others) / len(others) + 0.15
