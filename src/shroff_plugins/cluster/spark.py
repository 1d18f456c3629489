"""Compute partitions of a log and train trees by Spark, in processes of this machine or of a running cluster."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from shroff.errors import StateError, TransientError, UsageError
from shroff.json_types import JsonMapping
from shroff.plugins.cluster import FRAUD, GREW_NOTHING, TOO_SMALL, WEIGHT, TrainingFiles

TASKS_A_CORE = 2
# Settings of XGBoost that its Spark estimator knows by another name, or sets itself.
NOT_ASKED = frozenset(["objective", "seed", "nthread", "verbosity"])
One = TypeVar("One")
Two = TypeVar("Two")


class SparkBackend:
    """Keeps every promise of `features.cluster.partitioned.Backend` and of `models.learners.cluster.TreeCluster`.

    Items are computed in a few tasks for each core of the cluster, as a task for each item would cost half a second.
    If a machine of a cluster fails, Spark repeats its tasks on another.

    Args:
        address: URL of a master, such as `spark://10.0.0.5:7077`. Without one, Spark runs on this machine, on the
            loopback address, and ends with this backend.
        workers: Number of parallel tasks if Spark runs on this machine.

    Raises: UsageError if PySpark or Java is not installed; TransientError if the master does not answer.
    """

    name = "Spark"

    def __init__(self, address: str | None = None, *, workers: int) -> None:
        try:
            from pyspark import SparkConf, SparkContext
            from pyspark.errors import PySparkRuntimeError
        except ImportError:
            raise UsageError(
                "--backend spark needs PySpark: install shroff[spark], on every machine that computes."
            ) from None
        settings = SparkConf().setAppName("shroff").setMaster(address or f"local[{workers}]")
        settings.set("spark.ui.enabled", "false").set("spark.ui.showConsoleProgress", "false")
        settings.set("spark.log.level", "ERROR")
        if address is None:
            settings.set("spark.driver.bindAddress", "127.0.0.1").set("spark.driver.host", "127.0.0.1")
        try:
            self.context = SparkContext(conf=settings, gateway=_hushed(settings))
        except PySparkRuntimeError:
            raise UsageError(
                "--backend spark needs Java 17 or newer, and none started: install one, or set JAVA_HOME to it."
            ) from None
        except Exception as error:  # noqa: BLE001 (what the virtual machine raises has no type of its own)
            raise TransientError(f"Spark did not start at {address or 'this machine'}: {_first_line(error)}") from None
        if address is None or address.startswith("local"):
            self.context.pythonExec = sys.executable  # not the first python3 on the path, which lacks this package

    def run(self, function: Callable[[One], Two], items: Sequence[One]) -> Iterator[Two]:
        """See the contract. Raises: StateError if processes of the cluster fail repeatedly; errors of the function."""
        from py4j.protocol import Py4JJavaError

        tasks = max(min(len(items), TASKS_A_CORE * self.context.defaultParallelism), 1)
        given = self.context.parallelize(list(items), tasks)
        try:
            caught = given.map(_caught(function)).collect()
        except Py4JJavaError as error:  # all errors of the function are values
            why = _first_line(error.java_exception.getMessage())
            raise StateError(f"processes of the cluster ended while they computed, {TOO_SMALL}: {why}") from None
        for results, raised in caught:
            if raised is not None:
                raise raised
            yield from results

    @property
    def processes(self) -> int:
        return int(self.context.defaultParallelism)

    def grow(self, files: TrainingFiles, settings: JsonMapping, trees: int) -> bytes:
        """See `models.learners.cluster.TreeCluster`. Raises: StateError if the training fails."""
        from py4j.protocol import Py4JJavaError
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
        from xgboost.spark import SparkXGBClassifier

        logging.getLogger("XGBoost-PySpark").setLevel(logging.WARNING)
        learner = SparkXGBClassifier(
            features_col=files.names,
            label_col=FRAUD,
            weight_col=WEIGHT,
            feature_types=list(files.kinds),
            missing=float("nan"),
            num_workers=len(files.paths),
            n_estimators=trees,
            verbose=False,
            random_state=settings["seed"],
            **{name: value for name, value in settings.items() if name not in NOT_ASKED},
        )
        try:
            rows = SparkSession(self.context).read.parquet(*(Path(path).as_uri() for path in files.paths))
            booster = learner.fit(rows).get_booster()
        except Py4JJavaError as error:
            raise StateError(f"{GREW_NOTHING}: {_first_line(error.java_exception.getMessage())}") from None
        except PySparkException as error:
            raise StateError(f"{GREW_NOTHING}: {_first_line(error)}") from None
        return bytes(booster.save_raw("json"))

    def close(self) -> None:
        with suppress(ConnectionError):
            self.context.stop()


def _caught(function: Callable[[One], Two]) -> Callable[[One], tuple[list[Two], Exception | None]]:
    """Return an exception as a value, because it would lose its type in the virtual machine."""

    def call(item: One) -> tuple[list[Two], Exception | None]:
        try:
            return [function(item)], None
        except Exception as error:  # noqa: BLE001 (raised again where the results are taken)
            return [], error

    return call


def _first_line(error: Any) -> str:
    return str(error).strip().splitlines()[0]


def _hushed(settings: Any) -> Any:
    """Return the process's virtual machine with standard error silenced; errors come as exceptions."""
    from pyspark import SparkContext
    from pyspark.java_gateway import launch_gateway

    started = SparkContext._gateway  # noqa: SLF001 (one for each process, and nothing else tells whether it is there)
    return started or launch_gateway(settings, popen_kwargs={"stderr": subprocess.DEVNULL})
