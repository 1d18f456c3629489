"""The registry: folders written whole or not at all, every byte checked by hashes, and never a pickle."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shroff.errors import RegistryError, StorageError, UsageError
from shroff.models import registry as registering
from shroff.models.model import digest_of, refuse_pickle
from shroff.models.registry import GateResult, Registry, Stored
from tests.support.linear import WEIGHTS, put, registry

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


def learnt(models: Registry, trees: bytes = b"trees", latency: float = 0.1, **more: Any) -> tuple[Stored, bool]:
    manifest = {"event": "payment", "inputs": [], "gates": {"latency_p99 at most 1 ms": True}} | more
    gate = GateResult("latency_p99", latency, "at most 1 ms", passed=True)
    page = lambda named: f"report of {named['id']}, {named.get('made_at')}".encode()  # noqa: E731 - one line says it
    return models.add(1_782_864_000_000, manifest, {"model.json": trees}, metrics={"a": 1}, gates=[gate], page=page)


def test_an_id_has_the_day_and_says_what_was_learnt_and_not_when(tmp_path: Path):
    here, elsewhere = Registry(tmp_path / "here"), Registry(tmp_path / "elsewhere")
    first, is_new = learnt(here, made_at="2026-07-01T10:00:00Z")
    again, is_new_again = learnt(here, latency=0.2, made_at="2026-07-01T11:00:00Z")
    other, _ = learnt(elsewhere, latency=0.3, made_at="2026-07-02T00:00:00Z")

    assert (is_new, is_new_again) == (True, False)
    assert first.id.startswith("m-20260701-")
    assert here.ids() == [first.id]
    assert again == first
    assert (other.id, other.digest) == (first.id, first.digest)
    assert other.manifest["made_at"] == elsewhere.summaries()[0].made_at == "2026-07-02T00:00:00Z"
    assert other.gates[0].value == 0.3


@pytest.mark.parametrize("more", [{"trees": b"others"}, {"definitions": "d"}, {"gates": {}}])
def test_what_was_learnt_otherwise_is_another_model(models: Registry, more: dict[str, Any]):
    first, _ = learnt(models)
    other, is_new = learnt(models, **more)

    assert is_new
    assert (other.id != first.id, other.digest != first.digest) == (True, True)


def test_a_folder_with_the_same_id_and_other_content_makes_the_id_longer(models: Registry):
    first, _ = learnt(models)
    changed(models.folder / first.id / "model.json", b"trees", b"stumps")

    again, is_new = learnt(models)

    assert is_new
    assert again.id.startswith(first.id)
    assert len(again.id) == len(first.id) + 1


def test_a_model_is_never_changed(models: Registry):
    put(models, "m-1", {"payment.amount": 1.0})

    with pytest.raises(UsageError, match="there is a model m-1 already"):
        put(models, "m-1", {"payment.amount": 2.0})


def test_what_cannot_be_written_leaves_nothing(models: Registry, monkeypatch: pytest.MonkeyPatch):
    put(models, "m-1", {"payment.amount": 1.0})

    def full(_path: Path, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(registering, "_write", full)
    with pytest.raises(
        StorageError, match=r"No space left on device\. Make room and try again\. Nothing of it is there"
    ):
        put(models, "m-2", {"payment.amount": 1.0})

    assert [path.name for path in models.folder.iterdir()] == ["m-1"]


def left(folder: Path, name: str, age_s: float) -> Path:
    """A folder as a process leaves it that is killed while it writes a model."""
    path = folder / name
    path.mkdir()
    (path / "model.json").write_bytes(b"{")
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path


def test_what_a_killed_process_left_is_cleared_away_a_day_later(models: Registry):
    put(models, "m-1", {"payment.amount": 1.0})
    old = left(models.folder, ".m-20260701-3f2a.k2_x9abc", 90_000)
    others = [
        left(models.folder, ".m-20260701-3f2a.aaaaaaaa", 80_000),  # may be written at this moment
        left(models.folder, ".m-20260701-3f2a.backup", 90_000),
        left(models.folder, "m-20260701-3f2a.k2_x9abc", 90_000),
        left(models.folder, ".git", 90_000),
    ]
    put(models, "m-2", {"payment.amount": 1.0})

    assert not old.exists()
    assert all((other / "model.json").exists() for other in others)
    assert models.ids() == ["m-1", "m-2"]


def test_what_another_process_finishes_meanwhile_is_no_failure(models: Registry, monkeypatch: pytest.MonkeyPatch):
    put(models, "m-1", {"payment.amount": 1.0})
    gone = left(models.folder, ".m-20260701-3f2a.k2_x9abc", 90_000)
    listed = list(models.folder.iterdir())
    shutil.rmtree(gone)
    monkeypatch.setattr(Path, "iterdir", lambda _: iter(listed))

    assert put(models, "m-2", {"payment.amount": 1.0}).id == "m-2"


def changed(path: Path, old: bytes, new: bytes) -> None:
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda folder: changed(folder / WEIGHTS, b"1.0", b"1.5"), f"m-1/{WEIGHTS} is damaged: its SHA-256 is not"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b""), f"m-1/{WEIGHTS} is damaged: its SHA-256 is not"),
        (lambda folder: (folder / WEIGHTS).unlink(), f"models/m-1/{WEIGHTS} is damaged: it is not there"),
        (lambda folder: (folder / "manifest.json").unlink(), "models/m-1/manifest.json is damaged: it is not there"),
        (lambda folder: (folder / "manifest.json").write_bytes(b""), "manifest.json is damaged: Input data was"),
        (lambda folder: (folder / "manifest.json").write_bytes(b"{"), "manifest.json is damaged: Input data was"),
        (lambda folder: changed(folder / "manifest.json", b'"m-1"', b'"m-7"'), "it is of the model 'm-7'"),
        (lambda folder: changed(folder / "manifest.json", b'"model.json"', b'"../x"'), "it names a file '../x'"),
    ],
    ids=[
        "other bytes",
        "empty",
        "no file",
        "no manifest",
        "empty manifest",
        "half a manifest",
        "another's manifest",
        "outside",
    ],
)
def test_a_damaged_folder_is_named_with_the_cure(models: Registry, damage: Callable[[Path], None], words: str):
    put(models, "m-1", {"payment.amount": 1.0})
    damage(models.folder / "m-1")

    with pytest.raises(RegistryError) as caught:
        models.read("m-1")
    assert words in str(caught.value)
    assert "Restore the folder from a backup" in str(caught.value)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(file.read_bytes()[:-1] + b"x"),
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: file.write_bytes(b""),
        Path.unlink,
    ],
)
def test_what_no_score_reads_may_be_damaged_and_is_named(models: Registry, damage: Callable[[Path], None]):
    names = ["gates.json", "metrics.json", "report.html", "tested.parquet", "source.onnx", "plots/curve.svg"]
    manifest = {"id": "m-1", "event": "payment", "inputs": [{"name": "payment.amount", "kind": "number"}]}
    files = {WEIGHTS: b"[1.0]", **dict.fromkeys(names[2:], b"0123")}
    stored = models.write(manifest, files, metrics={}, gates=[PASSED])
    for name in names:
        damage(models.folder / "m-1" / name)
    found = models.read("m-1", stored.digest)
    (summary,) = models.summaries()

    assert models.load("m-1", stored.digest).scores([np.array([1.0])]).tolist() == [0.75]
    assert sorted(found.damaged) == sorted(names)
    assert (found.gates, found.metrics, summary.is_judged, summary.problem) == ([], {}, False, "")
    assert list(summary.damaged) == list(found.damaged.values())
    assert all(f"models/m-1/{name} is damaged" in words for name, words in found.damaged.items())
    with pytest.raises(RegistryError, match=r"report\.html is damaged.*Restore it from a backup"):
        found.file("report.html")


def test_what_the_digest_leaves_out_of_a_manifest_decides_nothing(models: Registry):
    digest = put(models, "m-1", {"payment.amount": 1.0}).digest
    manifest, weights = models.folder / "m-1" / "manifest.json", models.folder / "m-1" / WEIGHTS
    text, own = manifest.read_text(), weights.read_bytes()
    manifest.write_text(text.replace('"gates.json"', '"gatds.json"'))

    assert models.load("m-1", digest).scores([np.array([1.0])]).tolist() == [0.75]
    assert models.read("m-1", digest).damaged == {"gatds.json": "models/m-1/gatds.json is damaged: it is not there."}

    weights.write_bytes(b"[9.0]")
    hashed = json.loads(text)
    hashed["run"]["files"][WEIGHTS] = sha256(b"[9.0]").hexdigest()
    manifest.write_text(json.dumps(hashed))
    assert digest_of(manifest.read_bytes()) == digest
    with pytest.raises(RegistryError, match=r"model\.json is damaged: its SHA-256 is not the one in manifest"):
        models.load("m-1")
    weights.write_bytes(own)
    manifest.write_text(text.replace('"gates.json"', '"../x"'))
    assert registry(models.folder).load("m-1", digest).id == "m-1"


def test_another_manifest_than_is_in_force_is_not_loaded(models: Registry):
    digest = put(models, "m-1", {"payment.amount": 1.0}).digest
    changed(models.folder / "m-1" / "manifest.json", b'"linear"', b'"forest"')

    with pytest.raises(RegistryError, match=r"and the one in models/in_force.json is"):
        models.load("m-1", digest)
    assert models.read("m-1").manifest["learner"] == "forest"


def test_a_model_in_force_that_is_gone_is_a_damage_and_an_unknown_one_a_slip(models: Registry):
    put(models, "m-20260701-3f2a", {"payment.amount": 1.0})

    with pytest.raises(RegistryError, match="the folder models/m-1 of an active model is missing"):
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
    with pytest.raises(UsageError, match="is not an id of a model"):
        models.write({"id": id_, "event": "payment"}, {})


@pytest.mark.parametrize("name", ["../x", "/x", "a/b/c", "manifest.json", ".x", ""])
def test_a_file_of_a_model_lies_in_its_folder(models: Registry, name: str):
    with pytest.raises(UsageError, match="is not a name for a file of a model"):
        models.write({"id": "m-1", "event": "payment"}, {name: b"x"})


def test_a_manifest_is_text_that_can_be_read(models: Registry):
    put(models, "m-1", {"payment.amount": 1.0})
    text = (models.folder / "m-1" / "manifest.json").read_text()

    assert text.startswith('{\n  "event": "payment",\n  "files": {\n')
    assert list(json.loads(text)) == sorted(json.loads(text))
