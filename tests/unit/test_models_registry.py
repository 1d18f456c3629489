"""The registry: folders written whole or not at all, every byte checked by hashes, and never a pickle."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shroff.errors import RegistryError, StorageError, UsageError
from shroff.models import registry as registering
from shroff.models.registry import GateResult, Registry, digest_of, refuse_pickle
from tests.unit.linear import WEIGHTS, put, registry

PASSED = GateResult("average_precision", 0.6, "at least 0.5", passed=True)
FAILED = GateResult("calibration_error", 0.04, "at most 0.02", passed=False)


@pytest.fixture(name="models")
def _models(tmp_path: Path) -> Registry:
    return registry(tmp_path / "models")


def test_a_model_is_read_as_it_was_written(models: Registry):
    stored = put(models, "m-1", {"payment.amount": 1.0}, gates=[PASSED, FAILED])

    again = models.read("m-1", stored.digest)
    assert again == stored
    assert again.digest == digest_of((models.folder / "m-1" / "manifest.json").read_bytes())
    assert sorted(again.files) == ["gates.json", "metrics.json", WEIGHTS]
    assert again.gates == [PASSED, FAILED]
    assert again.failed == [FAILED]
    assert again.metrics == {"auc_roc": {"mean": 0.9}}
    assert again.manifest["inputs"] == [{"name": "payment.amount", "kind": "number"}]


def test_plots_may_lie_in_a_folder_of_the_model(models: Registry):
    stored = models.write({"id": "m-1", "event": "payment"}, {"plots/curve.svg": b"<svg/>"})

    assert stored.files["plots/curve.svg"] == b"<svg/>"


def test_a_loaded_model_scores_and_is_read_once(models: Registry):
    digest = put(models, "m-1", {"payment.amount": 1.0}).digest
    model = models.load("m-1", digest)

    assert model.scores([np.array([1.0, np.nan])]).tolist() == [0.75, 0.5]
    assert models.load("m-1", digest) is model


def test_models_are_listed_by_id_damaged_ones_too(models: Registry):
    put(models, "m-2", {"payment.amount": 1.0}, gates=[FAILED])
    put(models, "m-1", {"payment.amount": 1.0})
    (models.folder / "m-1" / WEIGHTS).unlink()
    (models.folder / ".m-3.unfinished").mkdir()
    (models.folder / "in_force.json").write_text("{}")

    first, second = models.summaries()
    assert (first.id, first.digest) == ("m-1", "")
    assert "models/m-1/model.json is damaged: it is not there" in first.problem
    assert (second.id, second.event, second.failed, second.problem) == ("m-2", "payment", ("calibration_error",), "")


def test_there_is_no_registry_before_the_first_model(models: Registry):
    assert models.ids() == []


def test_a_new_id_has_the_day_and_is_the_only_one(models: Registry):
    id_ = models.new_id(1_782_864_000_000, b"trees")
    models.write({"id": id_, "event": "payment"}, {})
    longer = models.new_id(1_782_864_000_000, b"trees")

    assert id_.startswith("m-20260701-")
    assert longer.startswith(id_)
    assert longer != id_


def test_a_model_is_never_changed(models: Registry):
    put(models, "m-1", {"payment.amount": 1.0})

    with pytest.raises(UsageError, match="there is a model m-1 already"):
        put(models, "m-1", {"payment.amount": 2.0})


def test_what_cannot_be_written_leaves_nothing(models: Registry, monkeypatch: pytest.MonkeyPatch):
    put(models, "m-1", {"payment.amount": 1.0})

    def full(_path: Path, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(registering, "_write", full)
    with pytest.raises(StorageError, match=r"No space left on device\. Nothing of it is there"):
        put(models, "m-2", {"payment.amount": 1.0})

    assert [path.name for path in models.folder.iterdir()] == ["m-1"]


def changed(path: Path, old: bytes, new: bytes) -> None:
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda folder: changed(folder / WEIGHTS, b"1.0", b"1.5"), f"m-1/{WEIGHTS} is damaged: its SHA-256 is not"),
        (lambda folder: (folder / WEIGHTS).unlink(), f"models/m-1/{WEIGHTS} is damaged: it is not there"),
        (lambda folder: changed(folder / "gates.json", b"[]", b"[ ]"), "gates.json is damaged: its SHA-256 is not"),
        (lambda folder: (folder / "manifest.json").unlink(), "models/m-1/manifest.json is damaged: it is not there"),
        (lambda folder: (folder / "manifest.json").write_bytes(b"{"), "manifest.json is damaged: Input data was"),
        (lambda folder: changed(folder / "manifest.json", b'"m-1"', b'"m-7"'), "it is of the model 'm-7'"),
        (lambda folder: changed(folder / "manifest.json", b'"gates.json"', b'"../x"'), "it names a file '../x'"),
    ],
    ids=["other bytes", "no file", "other gates", "no manifest", "half a manifest", "another's manifest", "outside"],
)
def test_a_damaged_folder_is_named_with_the_cure(models: Registry, damage: Callable[[Path], None], words: str):
    put(models, "m-1", {"payment.amount": 1.0})
    damage(models.folder / "m-1")

    with pytest.raises(RegistryError) as caught:
        models.read("m-1")
    assert words in str(caught.value)
    assert "Restore the folder from a backup" in str(caught.value)


def test_another_manifest_than_is_in_force_is_not_loaded(models: Registry):
    digest = put(models, "m-1", {"payment.amount": 1.0}).digest
    changed(models.folder / "m-1" / "manifest.json", b'"linear"', b'"forest"')

    with pytest.raises(RegistryError, match="what is in force has"):
        models.load("m-1", digest)
    assert models.read("m-1").manifest["learner"] == "forest"


def test_a_model_in_force_that_is_gone_is_a_damage_and_an_unknown_one_a_slip(models: Registry):
    put(models, "m-20260701-3f2a", {"payment.amount": 1.0})

    with pytest.raises(RegistryError, match="the folder models/m-1 of a model in force is not there"):
        models.load("m-1", "0" * 64)
    with pytest.raises(UsageError, match="Did you mean m-20260701-3f2a"):
        models.load("m-20260701-3f2")
    with pytest.raises(UsageError, match=r"there is no model '\.\./m-1'"):
        models.load("../m-1")


@pytest.mark.parametrize("name", ["model.pkl", "model.JOBLIB", "model.pickle", "model.pt"])
def test_a_pickle_is_refused_by_its_name(models: Registry, name: str):
    with pytest.raises(UsageError, match="pickles are never read"):
        models.write({"id": "m-1", "event": "payment"}, {name: b"x"})


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_refused_by_its_bytes(models: Registry, protocol: int):
    with pytest.raises(UsageError, match="save_model"):
        models.write({"id": "m-1", "event": "payment"}, {"model.ubj": pickle.dumps({"a": 1}, protocol)})
    assert models.ids() == []


def test_a_pickle_that_was_put_into_a_folder_is_not_read(models: Registry):
    put(models, "m-1", {"payment.amount": 1.0})
    (models.folder / "m-1" / WEIGHTS).write_bytes(pickle.dumps([1.0]))

    with pytest.raises(RegistryError, match=r"models/m-1: model\.json is a pickle"):
        models.load("m-1")


def test_a_library_s_own_format_is_no_pickle():
    for data in (b'{"learner": {}}', b"{L\x00\x00", b"tree\nversion=v4\n", b""):
        refuse_pickle("model.ubj", data)


@pytest.mark.parametrize("id_", ["", "../x", "M-1", "a" * 65, "m_1", ".m"])
def test_an_id_is_the_name_of_a_folder(models: Registry, id_: str):
    with pytest.raises(UsageError, match="is no id of a model"):
        models.write({"id": id_, "event": "payment"}, {})


@pytest.mark.parametrize("name", ["../x", "/x", "a/b/c", "manifest.json", ".x", ""])
def test_a_file_of_a_model_lies_in_its_folder(models: Registry, name: str):
    with pytest.raises(UsageError, match="is no name for a file of a model"):
        models.write({"id": "m-1", "event": "payment"}, {name: b"x"})


def test_a_manifest_is_text_that_can_be_read(models: Registry):
    put(models, "m-1", {"payment.amount": 1.0})
    text = (models.folder / "m-1" / "manifest.json").read_text()

    assert text.startswith('{\n  "event": "payment",\n  "files": {\n')
    assert list(json.loads(text)) == sorted(json.loads(text))
