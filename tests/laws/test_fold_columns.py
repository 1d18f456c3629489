"""The law of folding by columns: state is what folding one by one gives, wherever the log is cut."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.errors import DefinitionError, StorageError
from shroff.features.online import engine as online
from shroff.features.plan import KeptValues
from shroff.log.state import fold as folding
from shroff.log.state.fold import Folded, fold
from shroff.log.writer import Writer
from shroff.models.registry import Registry
from shroff.project.definitions import Definitions
from shroff.replay.compare import verify_online
from tests.laws.projects import SEEDS, histories, history_of, project, versions
from tests.laws.test_engines import NOW_MS, QUICK, Made, Version, everything, in_disorder, submission, written
from tests.laws.test_letting_through import Exploring
from tests.laws.test_scored_fold import LAW as SCORED
from tests.laws.test_scored_fold import MADE_OF, Seeds
from tests.laws.test_snapshots import STEPS, Step, restarted
from tests.support.linear import registry
from tests.support.log_memory import MemoryLog

STACKED = """
card:
  n: count(payment) over 20ms
  most: max(card.n of payment) over 30ms
"""
PLACES = st.integers(1, 30)  # of a piece


@pytest.fixture(name="models")
def _models(tmp_path: Path) -> Registry:
    return registry(tmp_path)


@contextmanager
def by_columns(places: int = 7) -> Iterator[None]:
    """Any fold takes columns, so many places at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folding, "BY_COLUMNS", 1)
        patch.setattr(folding, "FIRST", places)
        patch.setattr(folding, "MOST", places)
        yield


def beside(folded: Folded) -> list[Any]:
    """What state has beside running windows."""
    let_through = folded.engine.let_through.days
    return [
        folded.control,
        folded.standings,
        folded.watermark_ms,
        folded.seq,
        let_through,
        folded.engine.online.watermark_ms,
    ]


@QUICK
@given(old=versions(), new=versions(), made=histories(), steps=STEPS, places=PLACES)
def test_writers_that_fold_by_columns_go_on_with_equal_bytes(
    old: Version, new: Version, made: Made, steps: list[Step], places: int
):
    both, history = [project(*old), project(*new)], in_disorder(history_of(*made), Random(made[0]))
    truth = restarted(both, history, steps, None)

    with by_columns(places):
        found = restarted(both, history, steps, None)
        folded = beside(fold(truth, both[1]))

    assert everything(found) == everything(truth)
    assert verify_online(found).first_mismatch is None
    assert folded == beside(fold(truth, both[1]))


@QUICK
@given(version=versions(), made=histories(), cut=st.integers(1, 60), places=PLACES)
def test_a_fold_goes_on_by_columns_where_another_one_ended(version: Version, made: Made, cut: int, places: int):
    definitions, history = project(*version), history_of(*made)
    log = written(definitions, history)
    started = fold(log, definitions, cut)

    with by_columns(places):
        fold(log, definitions, start=started)

    assert beside(started) == beside(fold(log, definitions))


@SCORED
@given(features=MADE_OF, rules=MADE_OF, stage=SEEDS, made=histories(), steps=STEPS)
def test_who_was_let_through_on_a_day_is_counted_by_columns_too(
    models: Registry, features: Seeds, rules: Seeds, stage: int, made: Made, steps: list[Step]
):
    version, history = Exploring(models, features, rules).version(stage), history_of(*made)
    truth = everything(restarted([version], history, steps, None))

    with by_columns():
        assert everything(restarted([version], history, steps, None)) == truth


def test_the_law_catches_state_that_stands_on_what_is_not_computed_any_more(monkeypatch: pytest.MonkeyPatch):
    both, history = [project(STACKED)], history_of(5, 60)
    truth = everything(restarted(both, history, [(30, False)], None))
    with by_columns():
        assert everything(restarted(both, history, [(30, False)], None)) == truth

    real = online.stored_files_of
    monkeypatch.setattr(
        online, "stored_files_of", lambda plan: KeptValues(frozenset(), tuple(False for _ in real(plan).asked))
    )
    with by_columns():
        assert everything(restarted(both, history, [(30, False)], None)) != truth


# ---- what nobody reads is held to its type as well


def log_of(definitions: Definitions) -> MemoryLog:
    log = MemoryLog()
    Writer(log, definitions, lambda: NOW_MS).write([submission(event) for event in history_of(3, 40)])
    return log


def test_a_field_that_was_declared_otherwise_is_refused_though_no_feature_reads_it():
    definitions = project("card: { n: count(payment) over 20ms }\n")
    log = log_of(definitions)
    damaged = [record for record in log.store.records if b'"country":"' in record.body][-1]
    log.store.records[damaged.seq - 1] = spoiled(damaged, b'"country":"', b'"country":7,"x":"')
    words = []
    for places in (1, 1_000):
        with by_columns(places), pytest.raises(DefinitionError) as found:
            fold(log, definitions)
        words.append(str(found.value))
    with pytest.raises(DefinitionError) as found:
        fold(log, definitions)

    assert words == [str(found.value)] * 2


def test_letters_that_are_none_are_damage():
    definitions = project("card: { n: count(payment) over 20ms }\n")
    log = log_of(definitions)
    damaged = [record for record in log.store.records if b'"country":"' in record.body][-1]
    log.store.records[damaged.seq - 1] = spoiled(damaged, b'"country":"', b'"country":"\xff')

    with by_columns(), pytest.raises(StorageError, match=f"sequence number {damaged.seq} cannot be read"):
        fold(log, definitions)


def spoiled(record: Any, old: bytes, new: bytes) -> Any:
    return type(record)(
        **{name: getattr(record, name) for name in record.__struct_fields__} | {"body": record.body.replace(old, new)}
    )
