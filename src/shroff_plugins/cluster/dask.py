"""Compute partitions of a log and train trees by Dask, in processes of this machine or of a running cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from shroff.errors import StateError, TransientError, UsageError
from shroff.json_types import JsonMapping
from shroff.plugins.cluster import FRAUD, GREW_NOTHING, TOO_SMALL, WEIGHT, TrainingFiles, read_part

# How long a task waits for its process if that has ended. Tasks that train trees together can run in no other one.
NOBODY_LEFT = "60s"
LISTENS_AT = {"dashboard_address": "127.0.0.1:0"}  # a free port; Dask would warn if its default, 8787, is in use
One = TypeVar("One")
Two = TypeVar("Two")


class DaskBackend:
    """Keeps every promise of `features.cluster.partitioned.Backend` and of `models.learners.cluster.TreeCluster`.

    Args:
        address: Address of a scheduler, such as `tcp://10.0.0.5:8786`. Without one, a cluster is started on this
            machine, on the loopback address, and ends with this backend.
        workers: Number of processes of a cluster on this machine, with one thread each, because of Python's lock.

    Raises: UsageError if Dask is not installed; TransientError if the scheduler does not answer.
    """

    name = "Dask"

    def __init__(self, address: str | None = None, *, workers: int) -> None:
        try:
            from dask import config
            from distributed import Client, LocalCluster
        except ImportError:
            raise UsageError(
                "--backend dask needs Dask: install shroff[dask], on every machine that computes."
            ) from None
        self._opened = ExitStack()
        # Dask's log is silenced, as it is for operators of a cluster, and a command reports errors itself.
        self._opened.enter_context(
            config.set(
                {
                    "distributed.worker.daemon": True,
                    "distributed.scheduler.no-workers-timeout": NOBODY_LEFT,
                    "logging.distributed": "ERROR",
                }
            )
        )
        cluster: Any = address
        if address is None:
            self._opened.enter_context(_variables_put_back(config.get("distributed.nanny.pre-spawn-environ")))
            try:
                cluster = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    dashboard_address=None,
                    scheduler_kwargs=LISTENS_AT,
                    silence_logs="ERROR",
                )
            except RuntimeError as error:
                self._opened.close()
                raise TransientError(f"Dask did not start on this machine: {error}") from None
            self._opened.callback(cluster.close)
        try:
            self.client = Client(cluster)  # becomes Dask's default client, which XGBoost uses
        except OSError:
            self._opened.close()
            raise TransientError(
                f"no Dask scheduler answers at {address}; is it running, and is this its address?"
            ) from None
        self._opened.callback(self.client.close)
        if address is None:
            self.client.run(_hushed)

    def run(self, function: Callable[[One], Two], items: Sequence[One]) -> Iterator[Two]:
        """See the contract. Raises: StateError if processes of the cluster fail repeatedly; errors of the function."""
        from distributed import KilledWorker, as_completed

        futures = self.client.map(function, items, pure=False)
        try:
            for future in as_completed(futures, loop=self.client.loop):
                yield future.result()
        except KilledWorker as error:
            raise StateError(f"processes of the cluster ended while they computed, {TOO_SMALL}: {error}") from None
        finally:
            self.client.cancel(futures)

    @property
    def processes(self) -> int:
        return max(len(self.client.scheduler_info(n_workers=-1)["workers"]), 1)

    def grow(self, files: TrainingFiles, settings: JsonMapping, trees: int) -> bytes:
        """See `models.learners.cluster.TreeCluster`. Raises: StateError if the training fails."""
        import xgboost
        from distributed import KilledWorker
        from distributed.comm import CommClosedError
        from distributed.scheduler import NoValidWorkerError
        from xgboost import dask as distributed_xgboost

        own = {name: value for name, value in settings.items() if name != "nthread"}
        try:
            matrix = distributed_xgboost.DaskQuantileDMatrix(
                self.client,
                _array(files, files.names),
                _array(files, [FRAUD])[:, 0],
                weight=_array(files, [WEIGHT])[:, 0],
                feature_types=list(files.kinds),
                enable_categorical=True,
                max_bin=settings["max_bin"],
            )
            booster = distributed_xgboost.train(self.client, own, matrix, num_boost_round=trees)["booster"]
        except (KilledWorker, NoValidWorkerError, CommClosedError, xgboost.core.XGBoostError, ValueError) as error:
            raise StateError(f"{GREW_NOTHING}: {str(error).strip().splitlines()[0]}") from None
        return bytes(booster.save_raw("json"))

    def close(self) -> None:
        self._opened.close()


@contextmanager
def _variables_put_back(names: Iterable[str]) -> Iterator[None]:
    """Restore these variables, which Dask sets for its processes and leaves set."""
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _array(files: TrainingFiles, columns: Sequence[str]) -> Any:
    """Return an array of these columns for all rows, with a part for each file, which a worker reads."""
    from dask import array, delayed

    read = delayed(read_part)
    parts = [
        array.from_delayed(read(path, list(columns)), (count, len(columns)), "float32")
        for path, count in zip(files.paths, files.rows, strict=True)
    ]
    return array.concatenate(parts)


def _hushed() -> None:
    """Silence the output of a process, as XGBoost prints a greeting, and errors are returned as results."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
