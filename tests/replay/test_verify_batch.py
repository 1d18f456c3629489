"""What `verify` sees through the batch engine: features and hits of the whole log."""

from __future__ import annotations

import msgspec
import pytest

from shroff.replay import verifying_batch
from shroff.replay.verification import verify
from shroff.replay.verifying_batch import verify_batch
from shroff.runtime.values import replace
from tests.support.log_memory import MemoryLog
from tests.support.projects import payment, writer

WITHOUT_FEATURES = {"features.yaml": "", "rules/large.yaml": None}


@pytest.fixture
def log() -> MemoryLog:
    made = MemoryLog()
    for first in (0, 3):
        writer(made).write([payment(first + number, number, amount="150.00") for number in range(3)])
    return made


def changed(log: MemoryLog, seq: int, before: bytes, after: bytes) -> None:
    row = log.store.decisions[seq]
    assert before in row.document
    log.store.decisions[seq] = replace(row, document=row.document.replace(before, after))


def test_a_log_as_it_was_written_has_no_mismatch(log: MemoryLog):
    found = verify_batch(log)

    assert (found.events, found.mismatches, found.first_mismatch) == (6, 0, None)


def test_a_feature_that_was_changed_is_named(log: MemoryLog):
    seq = max(log.store.decisions)
    features = msgspec.json.decode(log.store.decisions[seq].document)["features"]
    name, value = next((name, value) for name, value in features.items() if isinstance(value, int))
    changed(log, seq, f'"{name}":{value}'.encode(), f'"{name}":{value + 1}'.encode())

    found = verify_batch(log)

    assert found.mismatches == 1
    assert found.first_mismatch is not None
    assert (found.first_mismatch.seq, found.first_mismatch.engine) == (seq, "batch")
    assert (found.first_mismatch.recorded, found.first_mismatch.computed) == (f"{name} {value + 1}", f"{name} {value}")


def test_a_feature_that_is_gone_is_a_mismatch(log: MemoryLog):
    seq = max(log.store.decisions)
    document = msgspec.json.decode(log.store.decisions[seq].document)
    document["features"].popitem()
    log.store.decisions[seq] = replace(log.store.decisions[seq], document=msgspec.json.encode(document))

    assert verify_batch(log).mismatches == 1


def test_a_hit_that_is_gone_is_a_mismatch(log: MemoryLog):
    log.store.hits.pop()

    found = verify_batch(log)

    assert found.mismatches == 1
    assert found.first_mismatch is not None
    assert found.first_mismatch.recorded.startswith("no hit")


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_a_decision_that_is_gone_is_a_mismatch(log: MemoryLog, monkeypatch: pytest.MonkeyPatch, rows: int):
    monkeypatch.setattr(verifying_batch, "PIECE_ROWS", rows)
    del log.store.decisions[sorted(log.store.decisions)[2]]

    found = verify_batch(log)

    assert found.first_mismatch is not None
    assert (found.mismatches, found.first_mismatch.recorded) == (1, "no decision")


def test_a_decision_of_no_event_is_a_mismatch(log: MemoryLog):
    seq = max(log.store.decisions)
    log.store.decisions[seq] = replace(log.store.decisions[seq], event="login")

    assert verify_batch(log).mismatches == 1


def test_events_without_features_are_compared():
    log = MemoryLog()
    writer(log, WITHOUT_FEATURES).write([payment(1), payment(2, 1)])

    found = verify(log, ["online", "batch", "naive"])

    assert (found.events, found.mismatches) == (2, 0)


def test_an_empty_log_has_nothing_to_compare():
    found = verify(MemoryLog(), ["online", "batch", "naive"])

    assert (found.events, found.mismatches) == (0, 0)
