"""tested.parquet: what is kept of the rows that a model was judged on, what of too many, and what reads it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shroff.events.readers import ID_LENGTH_MAX
from shroff.models.evaluation.folds import Evaluation, evaluate
from shroff.models.evaluation.metrics import Terms
from shroff.models.evaluation.thresholds import thresholds
from shroff.models.learners.training import learn_by
from shroff.models.registry import FILE_BYTES_MAX, TESTED, Stored
from shroff.models.sets import TrainingSet
from shroff.project.policy import OUTCOMES
from shroff.runtime.values import replace
from shroff.training import tested_rows
from shroff.training.tested_rows import file_of, kept_share, lots_of, stored_rows, weighed_of
from tests.support.training_rows import noisy_set, settings

TERMS = Terms(false_decline=15, review=4, reviews_a_day=3)
UTF8_MAX = 4  # bytes of a character


@pytest.fixture(name="judged", scope="module")
def _judged() -> tuple[TrainingSet, Evaluation]:
    given, told = noisy_set(3_000), settings()
    return given, evaluate(given, told, TERMS, learn_by(told, told.parameters))


def rows_of(given: TrainingSet, found: Evaluation) -> pa.Table:
    """Its test rows, where rules review every seventh, decline every eleventh and allow every fifth row of the set."""
    places = np.arange(len(given))
    ruled = np.zeros(len(given), np.int8)
    ruled[::7], ruled[::11] = OUTCOMES.index("review"), OUTCOMES.index("decline")
    return tested_rows.judged_rows(given, found, ruled, places % 5 == 0)


def kept(data: bytes) -> Stored:
    return Stored("m-1", "", "payment", b"{}", {TESTED: data})


def test_what_is_kept_is_weighed_as_what_was_measured(judged):
    given, found = judged
    table = rows_of(given, found)
    again = stored_rows(kept(file_of(table)))
    assert again is not None

    weighed = weighed_of(again, 2, "card")
    rows = found.tested.rows
    assert again.equals(table)
    assert weighed.scores.tolist() == found.tested.scores.tolist()
    assert weighed.rows.frauds.tolist() == found.tested.frauds.tolist()
    assert weighed.rows.amounts.tolist() == (given.amounts_minor[rows] / 100).tolist()
    assert weighed.rows.keys.tolist() == given.keys[rows].tolist()
    assert weighed.folds.tolist() == found.tested.folds.tolist()
    assert weighed.fixed.allowed.tolist() == (rows % 5 == 0).tolist()
    assert weighed.fixed.declined.tolist() == (rows % 11 == 0).tolist()
    assert weighed.fixed.reviewed.tolist() == ((rows % 7 == 0) & (rows % 11 != 0)).tolist()
    assert (weighed.share, weighed.entity) == (1.0, "card")
    assert stored_rows(replace(kept(b""), files={})) is None


@pytest.mark.slow
def test_of_too_many_rows_a_share_is_kept_and_costs_as_much_a_day(judged, monkeypatch):
    whole = rows_of(*judged)
    monkeypatch.setattr(tested_rows, "ROWS_MAX", len(whole) // 2)
    half = rows_of(*judged)
    monkeypatch.setattr(tested_rows, "ROWS_MAX", len(whole) // 4)
    quarter = rows_of(*judged)

    assert len(half) == pytest.approx(len(whole) / 2, rel=0.1)
    assert set(quarter["seq"].to_pylist()) < set(half["seq"].to_pylist()) < set(whole["seq"].to_pylist())
    weighed = weighed_of(stored_rows(kept(file_of(half))), 2, "card")
    assert weighed.share == 0.5
    every, some = (thresholds(item, TERMS, seed=1) for item in (weighed_of(whole, 2, "card"), weighed))
    assert some.without.cost == pytest.approx(every.without.cost, rel=0.3)
    assert some.without.cost > 1.4 * every.without.cost / 2


def test_how_much_is_kept_follows_from_rows_and_from_the_length_of_their_ids(monkeypatch):
    monkeypatch.setattr(tested_rows, "ROWS_MAX", 100)
    monkeypatch.setattr(tested_rows, "ID_CHARACTERS_MAX", 1_000)

    assert kept_share([]) == kept_share([""] * 100) == kept_share(["0123456789"] * 100) == 1.0
    assert kept_share(["1"] * 400) == 0.25
    assert kept_share(["0123456789" * 2] * 100) == 0.5


def test_a_file_of_as_much_as_is_kept_fits_into_a_models_folder():
    random = np.random.default_rng(1)
    count = 50_000

    def words() -> Any:
        return random.integers(-(2**63), 2**63 - 1, count)

    flags = random.random(count) < 0.5
    table = pa.table(
        {
            "id": pa.array([""] * count),
            "seq": words(),
            "time": pa.array(words(), pa.timestamp("ms", tz="UTC")),
            "fold": pa.array(words() >> 32, pa.int32()),
            "day": words(),
            "key": words(),
            "score": random.random(count),
            "fraud": flags,
            "amount_minor": words(),
            "rules": pa.array(random.choice(OUTCOMES, count).tolist()),
            "allowed": flags,
            tested_rows.COUNTS: random.random(count),
        }
    )
    bytes_a_row = len(file_of(table)) / count

    assert bytes_a_row < 80
    assert ID_LENGTH_MAX * UTF8_MAX < tested_rows.ID_CHARACTERS_MAX
    # A tenth more than the share is drawn only once in ages: of 5 million lots the spread is below a thousandth.
    assert 1.1 * (tested_rows.ROWS_MAX * bytes_a_row + tested_rows.ID_CHARACTERS_MAX * UTF8_MAX) < FILE_BYTES_MAX


def test_lots_are_those_of_splitmix64_and_even():
    lots = lots_of(np.arange(1, 100_001))

    assert lots[0] == (0xE220A8397B1DCDAF >> 11) / 2**53  # the first number that the published generator gives for 0
    assert 0 <= lots.min() < lots.max() < 1
    assert (np.abs(np.histogram(lots, 10, (0, 1))[0] - 10_000) < 400).all()
    assert lots[:50].tolist() == lots_of(np.arange(1, 51)).tolist()
