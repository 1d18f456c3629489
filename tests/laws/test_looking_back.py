"""The law of looking back: from the records that a decision can depend on it has the bytes that it has from all.

The fast engine decides it again from them, and the definition gives its features.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from unittest.mock import patch

import pytest
from hypothesis import given

from shroff.explain import key_events
from shroff.explain.explanation import definitions_at
from shroff.explain.key_events import looked_back
from shroff.log.state import fold
from shroff.replay.compare import verify_by_keys
from shroff.replay.decision_replay import replay
from shroff.streams.log import Log
from tests.laws.projects import histories, history_of, project, text_of, versions
from tests.laws.test_engines import QUICK, Made, Version, written
from tests.laws.test_snapshots import STEPS, Step, restarted


def replayed(log: Log, step: int = 1) -> Counter[str]:
    """Replay every `step`-th decision of a log; gives how many were told, and from how many records of those before."""
    found: Counter[str] = Counter()
    for row in [row for rows in log.decisions.after() for row in rows][::step]:
        with patch.object(key_events, "_MANY", 2):  # else the whole history of a key is read
            past = looked_back(log, definitions_at(log, row.seq), row.seq)

        with (
            patch.object(fold, "BY_COLUMNS", 4),
            patch.object(fold, "BY_LOADED_COLUMNS", 4),
        ):  # so that both ways are gone
            assert replay(log, row.seq, past=past) == row
        found["decisions"] += 1
        if past is not None:
            by_keys = verify_by_keys(log, [row.seq], lambda _, past=past: past)
            assert by_keys is not None
            assert (by_keys.first_mismatch, by_keys.events) == (None, 1)
            found.update({"told": 1, f"told {row.event}": 1, "records": len(past), "before": row.seq - 1})
    return found


@QUICK
@given(old=versions(), new=versions(), made=histories(), steps=STEPS)
def test_a_replay_from_what_a_decision_looks_back_at_has_its_bytes(
    old: Version, new: Version, made: Made, steps: list[Step]
):
    replayed(restarted([project(*old), project(*new)], history_of(*made), steps, None), 3)


def test_many_decisions_are_told_from_few_records():
    found: Counter[str] = Counter()
    random = Random(1)
    for _ in range(12):
        numbers = [random.getrandbits(32) for _ in range(4)]
        found += replayed(written(project(*text_of(numbers[:2], numbers[2:3])), history_of(numbers[3], 40)), 4)

    assert found["told"] > found["decisions"] / 3, found
    assert 0 < found["records"] < found["before"] / 2, found


FEATURE = 'card: {{ f: "{}", g: "{}" }}\n'


@pytest.mark.parametrize(
    "text",
    [
        "count(payment) over 20ms delayed 40ms",
        "sum(payment.amount) over 20ms including this",
        "count(login) over last 3",
        "count(label where label.verdict == 'fraud') over 20ms",
        "count(refund)",
    ],
)
def test_each_window_is_looked_back_at_whole(text: str):
    for seed in range(2):
        found = replayed(written(project(FEATURE.format(text, "count(payment) over 1ms")), history_of(seed, 40)), 4)

        assert found["told"] == found["decisions"] > 0


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("count(payment) over 20ms matching payment.merchant", ""),
        ("sum(card.g of payment) over 20ms", ""),
        ("count(payment)", '- { id: r, on: payment, by: card, when: "count(payment) since flag >= 2", effect: note }'),
    ],
)
def test_what_hangs_on_more_than_records_of_a_key_is_not_told(text: str, rule: str):
    log = written(project(FEATURE.format(text, "count(payment) over 1ms"), rule), history_of(1, 40))

    assert "told payment" not in replayed(log, 4)
