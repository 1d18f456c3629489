"""Backends on real local clusters: they keep their contract, and their features are those of `local` to the bit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from shutil import which
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

import shroff
from shroff.cli.main import run
from shroff.errors import UsageError
from shroff.features.cluster.partitioned import AnsweredPartition, Backend, Cluster, Partitioned
from shroff.log.columns.tables import Way
from shroff.models.learners import cluster as learners_cluster
from shroff.models.learners.cluster import FRAUD, WEIGHT, Growing, TrainingFiles
from shroff.models.learners.learned import Fitted, LearningPlan
from shroff.models.learners.learner import columns_for, fit
from shroff.models.sets import Input
from shroff.models.trees.forest import margins_of
from shroff.models.trees.xgboost import forest_of_xgboost
from shroff.project.definitions import computed_of
from shroff.replay.clusters import cluster_of
from shroff_plugins.cluster import dask as backfill_dask
from shroff_plugins.cluster import spark as backfill_spark
from shroff_plugins.cluster.dask import DaskBackend
from shroff_plugins.cluster.spark import SparkBackend
from tests.journeys.test_real_data import HANDBOOK, HANDBOOK_FILE
from tests.laws.projects import computing_project, history_of, text_of
from tests.laws.test_partitioned import bits_by, whole
from tests.support.backends import HereBackend, ProcessBackend
from tests.support.contracts.backend import BackendContract, ended, process_after

PARTITIONS = (1, 2, 5)
# Of scores, in the mean: the same rows in another order make as much of a difference to one process.
MEAN_DIFFERENCE = 0.02
AUC_DIFFERENCE = 0.005
ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def started(make: Callable[[], Any]) -> Iterator[Any]:
    """A backend for all tests that ask for it, and whether its processes end with it.

    Where its library is missing, its tests are skipped, but never in CI; where Java is, also there.
    """
    try:
        backend = make()
    except UsageError as error:
        if os.environ.get("CI") and which("java"):
            pytest.fail(f"must be there in CI: {error}")
        pytest.skip(reason=str(error))
    processes = set(backend.run(process_after, [0.05] * 8))
    yield backend
    assert ended(backend.close, processes), "a process of the backend is still there"


@pytest.fixture(scope="module")
def processes() -> Iterator[Any]:
    yield from started(ProcessBackend)


@pytest.fixture(scope="module")
def dask() -> Iterator[Any]:
    names = ("MALLOC_TRIM_THRESHOLD_", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = [os.environ.get(name) for name in names]
    yield from started(lambda: DaskBackend(workers=2))
    assert [os.environ.get(name) for name in names] == before, "Dask's variables outlive its cluster in this process"


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    yield from started(spark_here)


def spark_here() -> SparkBackend:
    """Spark whose processes find these tests: its virtual machine may have been started in another folder, before."""
    backend = SparkBackend(workers=2)
    backend.context.environment["PYTHONPATH"] = str(ROOT)
    return backend


class Backends(BackendContract):
    """The contract, and what users see: equal features."""

    def test_features_of_made_up_projects_are_equal_to_the_bit(self, backend: Backend, tmp_path: Path) -> None:
        for seed, partitions in enumerate(PARTITIONS):
            random = Random(seed)
            definitions = computing_project(*text_of([random.getrandbits(32) for _ in range(6)], []))
            history = history_of(seed, 150)

            engine = Partitioned(
                definitions.events,
                computed_of(definitions),
                definitions.reference,
                definitions.settings.lateness_ms,
                cluster=Cluster(backend, partitions),
                spill=tmp_path,
            )

            assert bits_by(engine, definitions, history, [16]) == whole(definitions, history)
            assert_all_elsewhere(engine.done)

    def test_the_file_of_features_of_real_payments_is_the_same(self, backend: Backend, tmp_path: Path, data: Path):
        project, file = handbook(tmp_path, pq.read_table(data / HANDBOOK_FILE)[:10_000])
        project.tables.write_features("payment", [file], tmp_path / "local.parquet")

        for partitions in PARTITIONS:
            out = tmp_path / f"{partitions}.parquet"
            project.tables.write_features("payment", [file], out, Way(cluster=Cluster(backend, partitions)))

            assert_same(out, tmp_path / "local.parquet")

    def test_features_of_a_log_with_late_events_and_labels_are_the_same(self, backend: Backend, tmp_path: Path):
        project, file = handbook(tmp_path, made_up(3_000)[:2_500])
        project.ingest(file, as_type="payment", decide=False)
        (tmp_path / "labels.csv").write_text(
            "event,verdict,source,known_at\n"
            + "".join(
                f"payment/{at},fraud,chargeback,2018-04-{at % 20 + 1:02d}T00:00:00Z\n" for at in range(0, 2_500, 50)
            )
        )
        project.ingest((), labels=tmp_path / "labels.csv")
        pq.write_table(made_up(3_000)[2_500:], file)
        project.ingest(file, as_type="payment", decide=False)
        project.tables.write_features("payment", [], tmp_path / "local.parquet")

        project.tables.write_features("payment", [], tmp_path / "out.parquet", Way(cluster=Cluster(backend, 3)))

        assert_same(tmp_path / "out.parquet", tmp_path / "local.parquet")
        found = pq.read_table(tmp_path / "out.parquet")
        assert max(found["customer.frauds"].to_pylist()) > 0
        times = dict(zip(*made_up(3_000).select([0, 1]).to_pydict().values(), strict=True))
        came = [times[int(row)] for row in found["id"].to_pylist()]
        assert sum(later < earlier for earlier, later in pairwise(came)) > 100


class Trees:
    """Boosting on a cluster: near the model of one process, by a stated bound."""

    def test_models_are_within_a_bound_of_the_local_one(self, backend: Any, tmp_path: Path) -> None:
        inputs, verdicts = payments_to_learn_from(20_000)
        told = {"trees": "60", "rows": "1", "columns": "1"}
        here = fit("xgboost", inputs, verdicts, None, LearningPlan.of(told, 1))

        there = fit("xgboost", inputs, verdicts, None, LearningPlan.of(told, 1), growing=Growing(backend, tmp_path))

        mine, other = (scores_of(item, inputs) for item in (here, there))
        assert there.trees == 60
        assert float(np.abs(mine - other).mean()) < MEAN_DIFFERENCE
        assert abs(auc_roc(mine, verdicts) - auc_roc(other, verdicts)) < AUC_DIFFERENCE
        assert sorted(here.importance, key=lambda name: -here.importance[name])[:2] == ["large", "country"]
        assert sorted(there.importance, key=lambda name: -there.importance[name])[:2] == ["large", "country"]

    def test_later_rows_say_how_many_trees_are_enough(
        self, backend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(learners_cluster, "TREES_MAX", 60)
        inputs, verdicts = payments_to_learn_from(4_000)
        told = {"learning_rate": "0.5", "depth": "3"}
        here = fit("xgboost", inputs, verdicts, None, LearningPlan.of(told, 1), stop=3_000)

        there = fit(
            "xgboost", inputs, verdicts, None, LearningPlan.of(told, 1), stop=3_000, growing=Growing(backend, tmp_path)
        )

        assert 1 <= there.trees < 60
        mine, other = (scores_of(item, inputs)[3_000:] for item in (here, there))
        assert abs(auc_roc(mine, verdicts[3_000:]) - auc_roc(other, verdicts[3_000:])) < 0.02

    def test_another_learner_is_refused_by_name(self, backend: Any, tmp_path: Path) -> None:
        inputs, verdicts = payments_to_learn_from(100)

        for learner in ("forest", "lightgbm", "logistic", "isolation"):
            with pytest.raises(UsageError, match=f"learner {learner} is for --backend local"):
                fit(learner, inputs, verdicts, None, LearningPlan.of({}, 1), growing=Growing(backend, tmp_path))


class TestProcesses(Backends):
    @pytest.fixture
    def backend(self, processes: Backend) -> Backend:
        return processes


class TestDask(Backends, Trees):
    """In `make test` a smoke of each library; processes of ours keep the whole contract there."""

    smoke = (
        "test_an_error_is_raised_where_results_are_taken",
        "test_features_of_made_up_projects_are_equal_to_the_bit",
    )

    @pytest.fixture
    def backend(self, dask: Backend) -> Backend:
        return dask


class TestSpark(Backends, Trees):
    smoke = ("test_features_of_made_up_projects_are_equal_to_the_bit",)

    @pytest.fixture
    def backend(self, spark: Backend) -> Backend:
        return spark


def payments_to_learn_from(rows: int) -> tuple[list[Input], Any]:
    """Inputs with missing values and a category; what is fraud hangs on two of them, and on chance."""
    random = np.random.default_rng(3)
    numbers = {name: np.where(random.random(rows) < 0.05, np.nan, random.normal(size=rows)) for name in ("large", "x")}
    country = np.where(random.random(rows) < 0.05, np.nan, random.integers(0, 4, rows).astype(np.float64))
    margin = 2 * np.nan_to_num(numbers["large"]) + 2.5 * (country == 2) - 2.5
    verdicts = (random.random(rows) < 1 / (1 + np.exp(-margin))).astype(np.int8)
    inputs = [Input(name, "number", values) for name, values in numbers.items()]
    return [*inputs, Input("country", "category", country, ("AT", "DE", "FR", "NL"))], verdicts


def scores_of(fitted: Fitted, inputs: Sequence[Input]) -> Any:
    """The probability at each row, from the margins of our own walker."""
    data = fitted.files["model.json"]
    forest = forest_of_xgboost(data, fitted.inputs)
    margins = margins_of(forest, np.array(columns_for(fitted.inputs, inputs)))
    return 1 / (1 + np.exp(-np.asarray(margins, np.float64)))


def auc_roc(scores: Any, verdicts: Any) -> float:
    return float(roc_auc_score(verdicts, scores))


def handbook(folder: Path, table: pa.Table) -> tuple[shroff.services.project.Project, Path]:
    """The project of the handbook with features of every kind, and its payments as a file."""
    more = (
        "  others_1d: count(payment where payment.amount > this.amount) over 1d\n"
        "  same_terminal: count(payment where payment.terminal == this.terminal) over 30d\n"
        "  busiest_7d: max(customer.payments_1d of payment) over 7d\n"
        "  median_20: quantile(payment.amount, 0.5) over last 20\n"
        "  frauds: count(label where label.verdict == 'fraud')\n"
        "  ratio: this.amount / mean(payment.amount) over 7d\n"
    )
    features = HANDBOOK["features.yaml"].replace("terminal:\n", f"{more}terminal:\n")
    for name, text in (HANDBOOK | {"features.yaml": features}).items():
        (folder / "handbook" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "handbook" / name).write_text(text, encoding="utf-8")
    pq.write_table(table, folder / "payments.parquet")
    return shroff.open(folder / "handbook"), folder / "payments.parquet"


def made_up(rows: int) -> pa.Table:
    """Payments like the handbook's, of few keys; each tenth comes some hours late, each twentieth twice."""
    random = np.random.default_rng(5)
    seconds = np.arange(rows) * 600 - np.where(random.random(rows) < 0.1, 7_200, 0)
    ids = np.where(random.random(rows) < 0.05, np.maximum(np.arange(rows) - 1, 0), np.arange(rows))
    start = np.datetime64("2018-04-01T00:00:00", "ms")
    return pa.table(
        {
            "TRANSACTION_ID": ids,
            "TX_DATETIME": start + (seconds * 1_000).astype("timedelta64[ms]"),
            "CUSTOMER_ID": random.integers(0, 7, rows),
            "TERMINAL_ID": random.integers(0, 4, rows),
            "TX_AMOUNT": random.integers(1, 50_000, rows) / 100,
        }
    )


def assert_same(file: Path, other: Path) -> None:
    """Value by value, floats by their bits."""
    left, right = pq.read_table(file).combine_chunks(), pq.read_table(other).combine_chunks()

    assert left.schema == right.schema
    for name in left.column_names:
        assert bits(left[name]) == bits(right[name]), name


def bits(column: pa.ChunkedArray) -> list[object]:
    if not pa.types.is_floating(column.type):
        return column.to_pylist()
    whole = column.combine_chunks()
    words = whole.fill_null(0).to_numpy(zero_copy_only=False).view(np.int64)
    return list(zip(whole.is_valid().to_pylist(), words.tolist(), strict=True))


def assert_all_elsewhere(done: Sequence[AnsweredPartition]) -> None:
    assert done
    assert os.getpid() not in {item.process for item in done}


class TestTheContract:
    def test_the_contract_rejects_a_backend_that_computes_in_the_asking_process(self):
        with pytest.raises(AssertionError):
            BackendContract().test_nothing_is_computed_in_the_asking_process(HereBackend())

    def test_the_contract_rejects_a_backend_that_gives_a_result_twice(self):
        class Doubling(HereBackend):
            def run(self, function: Any, items: Any) -> Iterator[Any]:
                return map(function, [*items, *items])

        with pytest.raises(AssertionError):
            BackendContract().test_each_item_has_its_result_once_in_any_order(Doubling())

    def test_the_contract_rejects_a_backend_whose_errors_lose_their_type(self):
        class Wrapping(HereBackend):
            def run(self, function: Any, items: Any) -> Iterator[Any]:
                try:
                    return iter([function(item) for item in items])
                except Exception as error:
                    raise RuntimeError(str(error)) from error

        with pytest.raises(RuntimeError):
            BackendContract().test_an_error_is_raised_where_results_are_taken(Wrapping(), UsageError)


def test_a_backend_without_its_library_says_what_to_install_and_falls_back_to_nothing(monkeypatch: pytest.MonkeyPatch):
    for name in ("dask", "distributed", "pyspark"):
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(UsageError, match=r"needs Dask: install shroff\[dask\]"):
        DaskBackend(workers=1)
    with pytest.raises(UsageError, match=r"needs PySpark: install shroff\[spark\]"):
        SparkBackend(workers=1)


def test_an_error_of_a_function_leaves_spark_as_what_it_was():
    """It comes back as a value: Spark itself gives a text of Java. The rest needs a cluster, and is tried at night."""

    def refuse(number: int) -> int:
        if number == 2:
            raise UsageError("no such backend: 2")
        return number

    results, error = backfill_spark._caught(refuse)(2)
    assert backfill_spark._caught(refuse)(1) == ([1], None)
    assert (results, type(error), str(error)) == ([], UsageError, "no such backend: 2")


def test_spark_without_java_says_so():
    program = (
        "from shroff_plugins.cluster.spark import SparkBackend\n"
        "from shroff.errors import UsageError\n"
        "try:\n    SparkBackend(workers=1)\nexcept UsageError as error:\n    print(error)\n"
    )
    if not os.environ.get("CI"):
        pytest.importorskip("pyspark", reason="--backend spark needs PySpark: install shroff[spark]")
    without = {"PATH": "/nonexistent", "HOME": os.environ.get("HOME", "/")}

    found = subprocess.run([sys.executable, "-c", program], env=without, capture_output=True, text=True, check=True)

    assert found.stdout.startswith("--backend spark needs Java 17 or newer, and none started")


def test_backends_that_are_not_there_are_refused_by_name():
    class Made:
        def load(self) -> Any:
            raise AssertionError("is not asked for")

    adapters = {"backfill.dask": Made(), "log.sqlite": Made()}

    with (
        pytest.raises(UsageError, match="there is no backend 'dusk'; there is local, dask"),
        cluster_of("dusk", None, None, adapters),
    ):
        pass
    with (
        pytest.raises(UsageError, match="--cluster and --partitions are for a backend"),
        cluster_of("local", "tcp://127.0.0.1:1", None, adapters),
    ):
        pass
    with pytest.raises(UsageError, match="there is 1 partition at least, not 0"), cluster_of("dask", None, 0, adapters):
        pass
    with cluster_of("local", None, None, adapters) as cluster:
        assert cluster is None


def test_a_cluster_is_for_the_batch_engine_alone(tmp_path: Path):
    project, file = handbook(tmp_path, made_up(10))

    for engine in ("online", "naive"):
        with pytest.raises(UsageError, match=f"--engine {engine} is for --backend local"):
            project.tables.write_features(
                "payment", [file], tmp_path / "x", Way(engine, cluster=Cluster(HereBackend()))
            )


def test_trees_are_grown_by_dask_from_every_row_with_its_verdict_and_its_weight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What XGBoost is given, as arrays of Dask, which are computed here; no process is started."""
    names, rows = ["f0", "f1", FRAUD, WEIGHT], (3, 2)
    values = np.arange(sum(rows) * len(names), dtype=np.float32).reshape(-1, len(names))
    paths = [tmp_path / f"{place}.parquet" for place in range(len(rows))]
    for path, part in zip(paths, np.split(values, [rows[0]]), strict=True):
        pq.write_table(pa.table(list(part.T), names=names), path)
    told: dict[str, Any] = {}

    def matrix(_client: None, inputs: Any, verdicts: Any, **more: Any) -> dict[str, Any]:
        return {**more, "inputs": inputs, "verdicts": verdicts}

    def train(
        _client: None, settings: dict[str, Any], given: dict[str, Any], *, num_boost_round: int
    ) -> dict[str, Any]:
        told.update(given, settings=settings, trees=num_boost_round)
        return {"booster": SimpleNamespace(save_raw=lambda kind: kind.encode())}

    monkeypatch.setattr("xgboost.dask.DaskQuantileDMatrix", matrix)
    monkeypatch.setattr("xgboost.dask.train", train)
    files = TrainingFiles(tuple(map(str, paths)), rows, ("q", "c"))
    settings = {"max_bin": 64, "nthread": 2, "eta": 0.5}

    assert DaskBackend.grow(SimpleNamespace(client=None), files, settings, 7) == b"json"
    found = [told[name].compute(scheduler="synchronous") for name in ("inputs", "verdicts", "weight")]
    assert np.array_equal(np.column_stack(found), values)
    assert (told["feature_types"], told["enable_categorical"], told["max_bin"]) == (["q", "c"], True, 64)
    assert (told["settings"], told["trees"]) == ({"max_bin": 64, "eta": 0.5}, 7)


def test_the_command_computes_by_the_backend_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With a backend in Dask's place that counts what it is asked, and starts nothing."""
    _, file = handbook(tmp_path, made_up(200))
    asked: list[object] = []

    class Counting(HereBackend):
        name = "Dask"

        def __init__(self, address: str | None, *, workers: int) -> None:
            asked.append(address)

        def run(self, function: Any, items: Any) -> Iterator[Any]:
            asked.append(len(items))
            return super().run(function, items)

    monkeypatch.setattr(backfill_dask, "DaskBackend", Counting)
    words = ["-C", str(tmp_path / "handbook"), "features", str(file), "--as", "payment", "--out"]
    cluster = ["--backend", "dask", "--cluster", "tcp://there:1", "--partitions", "2"]

    assert run([*words, str(tmp_path / "local.parquet")]) == 0
    assert asked == []
    assert run([*words, str(tmp_path / "dask.parquet"), *cluster]) == 0
    assert asked[0] == "tcp://there:1"
    assert asked[1:], "the features were asked of it"
    assert_same(tmp_path / "dask.parquet", tmp_path / "local.parquet")


@pytest.mark.long  # test_training_backends has a command that works by a cluster that runs
def test_the_command_computes_by_dask(dask: Backend, tmp_path: Path):
    _, file = handbook(tmp_path, made_up(200))
    program = [
        sys.executable,
        "-m",
        "shroff",
        "-C",
        str(tmp_path / "handbook"),
        "features",
        str(file),
        "--as",
        "payment",
    ]
    address = dask.client.scheduler.address

    for name, more in {"local": [], "dask": ["--backend", "dask", "--cluster", address, "--partitions", "2"]}.items():
        out = tmp_path / f"{name}.parquet"
        subprocess.run([*program, "--out", str(out), *more], check=True, capture_output=True)

    assert_same(tmp_path / "dask.parquet", tmp_path / "local.parquet")
