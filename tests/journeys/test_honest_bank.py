"""The made-up bank is as hard as it says: no field or feature gives frauds away, and the rules miss many.

Each bank runs through the demo's own project, as the demo runs it, so features and rules
are those that people see. What a fraud is says the generator.

A *single field* is judged by the best that one column can do alone: a number by its size, up
or down, with what is missing at either end; any value, and any fiftieth of a number's range, by the
share of frauds that it had in the first half of the payments, judged on the second; and, with
hindsight, by its share in all of them, where it occurs 20 times or more. Rarer values are
left out of the last one: remembering that a device or an amount occurred once, in a
fraud, is knowing the answer. For the same reason `payment_id` is no field here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from shroff import app
from shroff.cli.demo import SEED, TEMPLATE
from shroff.decisions.ingest import ingest
from shroff.events.intake import Submission
from shroff.examples.demo import Tally, Truth, stream

EVENTS = 40_000
SEEDS = (3, 4, 5, 6, 7)  # the rules were written looking at seed 1 and are shown on seed 2
OFTEN = 20
FIELDS = ("card", "merchant", "terminal", "amount", "country", "channel", "device")

Values = Sequence[object]

pytestmark = pytest.mark.slow


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
        for one in submissions:
            if one.type == "payment":
                payments.append(msgspec.json.decode(one.raw()))
            yield one

    def on_batch(answers):
        tally.add(answers)
        decisions.extend(
            msgspec.json.decode(answer.document) for answer in answers if answer.document and not answer.is_label
        )

    with tempfile.TemporaryDirectory() as folder:
        project, _ = app.make_project(Path(folder) / "bank", TEMPLATE)
        tally = Tally(truth, {rule.id: rule.effect for rule in project.definitions.rules})
        submissions = listened(stream(project.intake(keeps_hashes=False), EVENTS, seed, truth))
        with project.writing() as (writer, log):
            ingest(writer, submissions, on_batch=on_batch, between=log.maintain)
    assert [one["id"] for one in decisions] == [one["payment_id"] for one in payments]
    paid_at = [datetime.fromisoformat(one["paid_at"]) for one in payments]
    columns = {
        **{name: [one.get(name) for one in payments] for name in FIELDS},
        "hour": [time.hour for time in paid_at],
        "weekday": [time.weekday() for time in paid_at],
        "millisecond": [time.microsecond // 1_000 for time in paid_at],
        "cents": [int(one["amount"][-2:]) for one in payments],
        "number in the stream": list(range(EVENTS)),
        **{name: [one["features"][name] for one in decisions] for name in decisions[0]["features"]},
    }
    return Judged(columns, np.array([one["payment_id"] in truth.frauds for one in payments]), tally)


# ---- what one column can do


def average_precision(scores: NDArray[np.float64], frauds: NDArray[np.bool_]) -> float:
    """Sum over the thresholds of (recall gained) x (precision there); equal scores are one threshold."""
    falling = np.argsort(-scores, kind="stable")
    found = np.cumsum(frauds[falling])
    last_of_equals = np.append(np.flatnonzero(np.diff(scores[falling])), len(scores) - 1)
    gained = np.diff(found[last_of_equals], prepend=0)
    return float((gained * found[last_of_equals] / (last_of_equals + 1)).sum() / found[-1])


def best_alone(values: Values, frauds: NDArray[np.bool_]) -> float:
    """The greatest average precision that somebody who sees only this column reaches."""
    numbers = as_numbers(values)
    found = [0.0]
    if numbers is not None:
        known = numbers[~np.isnan(numbers)]
        beyond = 2 * np.abs(known).max(initial=0.0) + 1.0
        for missing in {-beyond, beyond} if len(known) < len(numbers) else {0.0}:
            filled = np.where(np.isnan(numbers), missing, numbers)
            found += [average_precision(filled, frauds), average_precision(-filled, frauds)]
        found.append(remembered(fiftieths(numbers), frauds))
    return max(*found, remembered(as_codes(values), frauds))


def remembered(codes: NDArray[np.int64], frauds: NDArray[np.bool_]) -> float:
    """The average precision of who remembers how often each value was a fraud: in the first half, or with hindsight."""
    half = len(codes) // 2
    often = np.bincount(codes)[codes] >= OFTEN
    hindsight = np.where(often, shares(codes, frauds, len(codes)), frauds.mean())
    second_half = average_precision(shares(codes, frauds, half)[half:], frauds[half:])
    return max(second_half, average_precision(hindsight, frauds))


def as_numbers(values: Values) -> NDArray[np.float64] | None:
    """The values as numbers, missing as nan; None of a column of texts."""
    try:
        return np.array([np.nan if value is None else float(value) for value in values])
    except ValueError:
        return None


def as_codes(values: Values) -> NDArray[np.int64]:
    codes: dict[object, int] = {}
    return np.array([codes.setdefault(value, len(codes)) for value in values])


def fiftieths(numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Fifty parts of a column, of about as many values each; those of few values have a part for each."""
    known = numbers[~np.isnan(numbers)]
    edges = np.unique(known) if len(np.unique(known)) <= 50 else np.unique(np.quantile(known, np.arange(50) / 50))
    return np.where(np.isnan(numbers), 0, np.searchsorted(edges, numbers, side="right"))


def shares(codes: NDArray[np.int64], frauds: NDArray[np.bool_], until: int) -> NDArray[np.float64]:
    """The share of frauds that each one's value had among the first ones; five ordinary ones are added to each."""
    size = codes.max() + 1
    count = np.bincount(codes[:until], minlength=size)
    of_frauds = np.bincount(codes[:until], weights=frauds[:until], minlength=size)
    return ((of_frauds + 5 * frauds[:until].mean()) / (count + 5))[codes]


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

    assert best_alone([float(one) for one in truth], frauds) == 1.0
    assert best_alone([-float(one) for one in truth], frauds) == 1.0
    assert best_alone([None if one else "12.50" for one in truth], frauds) == 1.0
    assert best_alone(["US" if one else "DE" for one in truth], frauds) == 1.0
    assert best_alone([50.0 if one else at % 2 * 100.0 for at, one in enumerate(truth)], frauds) == 1.0
    assert best_alone(["DE"] * 4_000, frauds) == 0.02


# ---- the promises


@pytest.mark.parametrize("seed", SEEDS)
def test_no_field_and_no_feature_alone_reaches_an_average_precision_of_one_half(seed):
    bank = judged(seed)
    found = {name: best_alone(values, bank.frauds) for name, values in bank.columns.items()}

    assert len(found) == len(FIELDS) + 5 + 16
    assert {name: one for name, one in found.items() if one >= 0.5} == {}


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
