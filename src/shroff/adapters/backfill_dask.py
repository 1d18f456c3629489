"""Partitions answered, and trees grown, by Dask: processes of this machine, or those of a running cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

import numpy as np

from shroff.errors import StateError, TransientError, UsageError
from shroff.features.partitioned import TOO_SMALL
from shroff.models.learners_cluster import TrainingRows

One = TypeVar("One")
Two = TypeVar("Two")


class DaskBackend:
    """Keeps every promise of `features.partitioned.Backend` and of `models.learners_cluster.TreeCluster`.

    Args:
        address: A scheduler, such as `tcp://10.0.0.5:8786`. Without one a cluster is started here, on the loopback
            address, and ends with this backend.
        workers: Processes of a cluster that is started here; one thread each, as Python code runs on one.

    Raises: UsageError where Dask is not installed; TransientError where the scheduler does not answer.
    """

    def __init__(self, address: str | None = None, *, workers: int) -> None:
        try:
            from dask import config
            from distributed import Client, LocalCluster
        except ImportError:
            raise UsageError(
                "--backend dask needs Dask: install shroff[dask], on every machine that computes."
            ) from None
        self._opened = ExitStack()
        # A dashboard and a log of its own are for people who run a cluster; a command has its own words.
        self._opened.enter_context(config.set({"distributed.worker.daemon": True, "logging.distributed": "ERROR"}))
        cluster: Any = address
        if address is None:
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address=None,
                silence_logs="ERROR",
            )
            self._opened.callback(cluster.close)
        try:
            self.client = Client(cluster)  # the one in force, as XGBoost asks for it
        except OSError:
            self._opened.close()
            raise TransientError(
                f"no Dask scheduler answers at {address}; is it running, and is this its address?"
            ) from None
        self._opened.callback(self.client.close)

    def run(self, function: Callable[[One], Two], items: Sequence[One]) -> Iterator[Two]:
        """As the contract says. Raises: StateError where a process ends on the way, again and again."""
        from distributed import KilledWorker, as_completed

        futures = self.client.map(function, items, pure=False)
        try:
            for future in as_completed(futures, loop=self.client.loop):
                yield future.result()
        except KilledWorker as error:
            raise StateError(f"processes of the cluster ended while they computed, {TOO_SMALL}: {error}") from None
        finally:
            self.client.cancel(futures)

    def grow(self, rows: TrainingRows, settings: Mapping[str, Any], trees: int) -> bytes:
        """As `models.learners_cluster.TreeCluster` says, with a part of the rows for each process."""
        from dask import array
        from xgboost import dask as distributed_xgboost

        count = max(len(self.client.scheduler_info()["workers"]), 1)
        size = -(-len(rows.frauds) // count)
        matrix = distributed_xgboost.DaskQuantileDMatrix(
            self.client,
            array.from_array(np.ascontiguousarray(rows.columns), chunks=(size, -1)),
            array.from_array(rows.frauds, chunks=size),
            weight=array.from_array(rows.weights, chunks=size),
            feature_types=list(rows.kinds),
            enable_categorical=True,
            max_bin=settings["max_bin"],
        )
        own = {name: value for name, value in settings.items() if name != "nthread"}
        booster = distributed_xgboost.train(self.client, own, matrix, num_boost_round=trees)["booster"]
        return bytes(booster.save_raw("json"))

    def close(self) -> None:
        self._opened.close()
