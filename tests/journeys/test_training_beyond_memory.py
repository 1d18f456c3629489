"""A training set that memory is not to hold: the same set from a file, the same model, nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

import shroff
from shroff.errors import StorageError
from shroff.log.columns.tables import Way
from shroff.log.later_labels import last_moment
from shroff.models.learners import column_files
from shroff.models.learners.column_files import StoredColumn
from shroff.services.project import make_project
from shroff.training.leak_test import difference_of
from shroff.training.sets import gathered as training_gathered
from shroff.training.sets.rows import build_set
from shroff.training.sets.sources import log_source
from tests.journeys.test_training import MODEL, POLICY, made_up

pytestmark = [pytest.mark.slow, pytest.mark.long]
SEVERAL = MODEL.replace("gates:", "slices: [payment.channel]\n  give_away: [payment.amount]\n  gates:") % 0.1


@pytest.fixture(scope="module")
def bank(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("beyond")
    make_project(folder / "bank", "payments")
    for name, text in (("model.yaml", SEVERAL), ("policy.yaml", POLICY)):
        (folder / "bank" / name).write_text(text, encoding="utf-8")
    payments, labels = made_up(folder)
    shroff.open(folder / "bank").ingest(payments, as_type="payment", labels=labels)
    return folder / "bank"


def set_of(bank: Path, spill: Path):
    project = shroff.open(bank)
    with project.log.reading() as log:
        settings = project.definitions.models["payment"]
        source = log_source(log, project.definitions, "payment")
        return build_set(
            project.definitions, settings, source, last_moment(log, project.context.now_ms()) or 0, Way(spill=spill)
        )


def test_a_set_in_a_file_is_the_set_in_memory(bank, tmp_path, monkeypatch):
    held = set_of(bank, tmp_path)
    monkeypatch.setattr(training_gathered, "HELD_BYTES", 0)

    there = set_of(bank, tmp_path)

    assert all(isinstance(item.values, StoredColumn) for item in there.inputs)
    assert not any(isinstance(item.values, StoredColumn) for item in held.inputs)
    assert {item.kind for item in held.inputs} == {"number", "category"}
    assert difference_of(there, held) is None


def test_a_model_learnt_from_a_file_has_the_same_bytes_and_figures(bank, monkeypatch):
    """Leak test, folds, slices and inputs that give the answer away included; handed over in parts of 500 rows."""
    held = shroff.open(bank).train()
    monkeypatch.setattr(training_gathered, "HELD_BYTES", 0)
    monkeypatch.setattr(column_files.spans, "__defaults__", (500,))
    monkeypatch.setattr("shroff.models.loaded.ROWS_TOGETHER", 500)

    there = shroff.open(bank).train()

    folder = shroff.open(bank).context.paths.models
    for name in ("model.json", "tested.parquet"):
        assert (folder / there.stored.id / name).read_bytes() == (folder / held.stored.id / name).read_bytes()
    assert there.evaluation.metrics == held.evaluation.metrics
    assert there.evaluation.without_give_away == held.evaluation.without_give_away
    assert there.leak == held.leak
    assert [gate.passed for gate in there.gates] == [gate.passed for gate in held.gates]


def test_where_there_is_no_room_it_says_so_and_writes_no_model(bank, monkeypatch):
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    before = sorted(path.name for path in shroff.open(bank).context.paths.models.glob("*"))
    monkeypatch.setattr(training_gathered, "HELD_BYTES", 0)
    monkeypatch.setattr(column_files.os, "pwrite", full)

    with pytest.raises(StorageError, match="no room for a training set of 4,000 rows: No space left on device"):
        shroff.open(bank).train()

    assert sorted(path.name for path in shroff.open(bank).context.paths.models.glob("*")) == before
    assert not list(shroff.open(bank).context.paths.state.glob("shroff-*"))
