"""Training on real local clusters: the set of `local` byte for byte, its model within a bound, no half of either."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

import shroff
from shroff.cli.main import run
from shroff.errors import StateError, UsageError
from shroff.features.cluster.partitioned import Cluster
from shroff.log.columns.tables import Way
from shroff.models.learners.cluster import GREW_NOTHING
from shroff.services.project import make_project
from tests.contracts.test_backends import dask, spark
from tests.journeys.test_training import MODEL, POLICY, made_up
from tests.support import forks
from tests.support.backends import HereBackend
from tests.support.contracts.backend import process_after
from tests.support.patience import PATIENCE_S

# docs/decisions/0014-models.md has what was measured on more rows, where it is less.
PRECISION_DIFFERENCE = 0.05  # of average precision, over all folds
SCORE_DIFFERENCE = 0.02  # in the mean
KILLED_AFTER_S = (4.0, 8.0)  # from when trees are asked for: early, one machine has not begun; later, another has ended
PLAIN = MODEL.replace("    leak_test: required\n", "") % 0.1
pytestmark = pytest.mark.slow
__all__ = ["dask", "spark"]


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with four thousand payments and their labels in its log."""
    folder = tmp_path_factory.mktemp("clustered")
    make_project(folder / "bank", "payments")
    (folder / "bank" / "model.yaml").write_text(PLAIN, encoding="utf-8")
    (folder / "bank" / "policy.yaml").write_text(POLICY, encoding="utf-8")
    payments, labels = made_up(folder)
    shroff.open(folder / "bank").ingest(payments, as_type="payment", labels=labels)
    return folder / "bank"


@pytest.fixture(autouse=True)
def as_it_was(bank: Path):
    """No test leaves files on their way behind, nor a model that has not all its files."""
    (bank / "model.yaml").write_text(PLAIN, encoding="utf-8")
    yield
    assert left_behind(bank) == []
    for model in models(bank):
        assert {"manifest.json", "model.json", "metrics.json"} <= {path.name for path in model.iterdir()}


def kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def soon(happens: Callable[[], bool]) -> bool:
    until = time.monotonic() + PATIENCE_S
    while not happens():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def models(bank: Path) -> list[Path]:
    return sorted(path for path in (bank / "models").glob("m-*") if path.is_dir())


def left_behind(bank: Path) -> list[str]:
    return [path.name for path in (bank / ".shroff").glob("shroff-exchange-*")]


class Training:
    """What users see of a backend that trains; bind it with a fixture `backend` and what asks its library for trees."""

    def grower(self) -> tuple[Any, str]:
        raise NotImplementedError

    def growing(self, backend: Any) -> list[int]:
        """The processes in which trees grow, while they do."""
        raise NotImplementedError

    def test_a_training_set_has_the_bytes_of_the_local_one(self, backend: Any, bank: Path, tmp_path: Path) -> None:
        project = shroff.open(bank)
        local = project.training_sets.write(tmp_path / "local")

        there = project.training_sets.write(tmp_path / "there", way=Way(cluster=Cluster(backend, 3)))

        names = sorted(path.name for path in (tmp_path / "local").iterdir())
        assert {"rows.parquet", "labels.parquet", "manifest.json"} <= set(names)
        assert sorted(path.name for path in (tmp_path / "there").iterdir()) == names
        for name in names:
            assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "local" / name).read_bytes(), name
        assert there.manifest == local.manifest

    def test_a_model_is_within_a_bound_of_the_local_one(self, backend: Any, bank: Path) -> None:
        project = shroff.open(bank)
        local = project.train()

        there = project.train(cluster=Cluster(backend, 3))

        assert (there.rows, there.fraud, there.immature) == (local.rows, local.fraud, local.immature)
        both = [item.evaluation.metrics["average_precision"].mean for item in (local, there)]
        assert abs(both[0] - both[1]) < PRECISION_DIFFERENCE
        scored = [rows_judged(bank, item.stored.id) for item in (local, there)]
        assert scored[0].drop(["score"]).equals(scored[1].drop(["score"]))
        scores = [row["score"].to_numpy() for row in scored]
        assert float(np.abs(scores[0] - scores[1]).mean()) < SCORE_DIFFERENCE
        assert (bank / "models" / there.stored.id / "model.json").read_bytes() != (
            bank / "models" / local.stored.id / "model.json"
        ).read_bytes(), "grown elsewhere"

    def test_what_ran_where_is_told_and_kept(self, backend: Any, bank: Path) -> None:
        (bank / "model.yaml").write_text(PLAIN.replace("trees: 25", "trees: 4"), encoding="utf-8")
        report = shroff.open(bank).train(cluster=Cluster(backend, 2))

        count, name = backend.processes, backend.name
        assert report.remarks[0].startswith(f"Features were computed and trees grown by {count} processes of {name},")
        kept = json.loads((bank / "models" / report.stored.id / "manifest.json").read_text())
        assert any(f"grown by processes of {name} from rows in {count} parts" in words for words in kept["remarks"])

    def test_another_learner_is_refused_before_anything_is_read(self, backend: Any, bank: Path) -> None:
        (bank / "model.yaml").write_text(
            PLAIN.replace("  parameters: { trees: 25, depth: 3 }", "  learner: logistic"), encoding="utf-8"
        )
        project = shroff.open(bank)

        with pytest.raises(UsageError, match="learner logistic is for --backend local"):
            project.train(files=[bank / "is not there.csv"], cluster=Cluster(backend))

    def test_a_process_that_ends_while_trees_grow_is_told_and_no_model_is_made(
        self, backend: Any, bank: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (bank / "model.yaml").write_text(PLAIN.replace("trees: 25", "trees: 10000"), encoding="utf-8")
        before = models(bank)
        count, (owner, name) = backend.processes, self.grower()
        grow = getattr(owner, name)

        def growing(*given: Any, **more: Any) -> Any:
            def kill_one() -> None:
                with suppress(psutil.Error):  # of one that ended while it was looked at
                    kill(self.growing(backend)[0])

            killing = [threading.Timer(after, kill_one) for after in KILLED_AFTER_S]
            try:
                for item in killing:
                    item.start()
                return grow(*given, **more)
            finally:
                for item in killing:
                    item.cancel()

        monkeypatch.setattr(owner, name, growing)

        with pytest.raises(StateError) as raised:
            shroff.open(bank).train(cluster=Cluster(backend, 2))

        assert str(raised.value).startswith(GREW_NOTHING)
        assert models(bank) == before
        assert sorted(backend.run(process_after, [0.0] * 3)), "it goes on"
        assert soon(lambda: backend.processes == count), "with as many as before, which other tests count on"


class TestDask(Training):
    smoke = ()  # test_backends grows trees by a cluster of Dask

    @pytest.fixture
    def backend(self, dask: Any) -> Any:
        return dask

    def grower(self) -> tuple[Any, str]:
        return pytest.importorskip("xgboost.dask"), "train"

    def growing(self, backend: Any) -> list[int]:
        return sorted(backend.client.run(os.getpid, on_error="ignore").values())

    def test_the_command_trains_by_a_running_cluster(self, backend: Any, bank: Path) -> None:
        (bank / "model.yaml").write_text(PLAIN.replace("trees: 25", "trees: 4"), encoding="utf-8")
        address = backend.client.scheduler.address
        words = ["train", "--json", "--backend", "dask", "--cluster", address, "--partitions", "2"]

        found = subprocess.run(shroff_in(bank, *words), capture_output=True, text=True, check=False)

        assert found.returncode == 0, found.stderr
        report = json.loads(found.stdout)
        assert report["remarks"][0].startswith("Features were computed and trees grown by 2 processes of Dask")
        assert bank / "models" / report["model"] in models(bank)

    def test_the_command_starts_a_cluster_that_ends_with_it(self, bank: Path) -> None:
        (bank / "model.yaml").write_text(PLAIN.replace("trees: 25", "trees: 4"), encoding="utf-8")
        found = subprocess.run(
            shroff_in(bank, "train", "--json", "--backend", "dask"), capture_output=True, text=True, check=False
        )

        assert found.returncode == 0, found.stderr
        assert found.stdout.count("\n") == 1, "a document and nothing else"
        assert "rror" not in found.stderr
        assert "Dask" not in found.stderr, "libraries write nothing into ours"


@pytest.mark.long
class TestSpark(Training):
    @pytest.fixture
    def backend(self, spark: Any) -> Any:
        return spark

    def grower(self) -> tuple[Any, str]:
        return pytest.importorskip("xgboost.spark").SparkXGBClassifier, "fit"

    def growing(self, backend: Any) -> list[int]:
        """Those that a daemon of PySpark forked. The ones that computed features are others: their settings differ."""
        daemons = [child for child in psutil.Process().children(recursive=True) if "pyspark.daemon" in child.cmdline()]
        forked = [daemon for daemon in daemons if "pyspark.daemon" in daemon.parent().cmdline()]
        return [daemon.pid for daemon in sorted(forked, key=lambda daemon: -daemon.cpu_percent(0.2))]


def rows_judged(bank: Path, id_: str) -> Any:
    return pq.read_table(bank / "models" / id_ / "tested.parquet")


def shroff_in(bank: Path, *words: str) -> list[str]:
    return [str(forks.SHROFF), "-C", str(bank), *words]


# ---- where there is no cluster


def test_without_its_library_training_ends_and_makes_nothing(bank, monkeypatch, capfd):
    for name in ("dask", "distributed", "pyspark"):
        monkeypatch.setitem(sys.modules, name, None)
    before = models(bank)

    for backend, extra in (("dask", "shroff[dask]"), ("spark", "shroff[spark]")):
        assert run(["-C", str(bank), "train", "--backend", backend]) == 2
        out, words = capfd.readouterr()
        assert out == ""
        assert extra in words
    assert models(bank) == before


def test_without_java_training_ends_and_makes_nothing(bank):
    if not os.environ.get("CI"):
        pytest.importorskip("pyspark", reason="--backend spark needs PySpark: install shroff[spark]")
    before = models(bank)
    without = {"PATH": "/nonexistent", "HOME": os.environ.get("HOME", "/")}

    found = subprocess.run(
        shroff_in(bank, "train", "--backend", "spark"), env=without, capture_output=True, text=True, check=False
    )

    assert (found.returncode, found.stdout) == (2, "")
    assert "--backend spark needs Java 17 or newer, and none started" in found.stderr
    assert models(bank) == before


@pytest.mark.parametrize(
    "words, said",
    [
        (("--backend", "flink"), "there is no backend 'flink'; there is local"),
        (("--partitions", "4"), "--cluster and --partitions are for a backend that has processes, and local has none"),
        (("--watch", "incoming", "--backend", "flink"), "there is no backend 'flink'"),
    ],
)
def test_nothing_falls_back_to_the_local_backend(bank, capfd, words, said):
    before = models(bank)

    assert run(["-C", str(bank), "train", *words]) == 2

    out, told = capfd.readouterr()
    assert out == ""
    assert said in told
    assert models(bank) == before


def test_a_backend_that_grows_no_trees_says_so(bank):
    with pytest.raises(UsageError, match="grows no trees: train with --backend local, dask or spark"):
        shroff.open(bank).train(cluster=Cluster(HereBackend()))
