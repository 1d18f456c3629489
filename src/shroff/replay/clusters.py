"""Backends by name: where the batch engine computes, in this process or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

from shroff.errors import UsageError
from shroff.features.cluster.partitioned import PARTITIONS, Backend, Cluster
from shroff.models.learners.cluster import Growing, TreeCluster
from shroff.models.learners.learner import check_grown
from shroff.runtime.process_wide import threads

LOCAL = "local"
CONTRACT = "backfill."  # prefix of the names of backends among the adapters


class Adapter(Protocol):
    """Loader of an adapter, like an entry point."""

    def load(self) -> type[MadeBackend]:
        """Load the class of the adapter. Raises: errors of its import."""


class MadeBackend(Backend, TreeCluster, Protocol):
    """A backend of the contract, with its constructor."""

    def __init__(self, address: str | None, *, workers: int) -> None:
        """Connect to a running cluster at this address, or start this many workers on this machine."""


@contextmanager
def cluster_of(
    backend: str, address: str | None, partitions: int | None, adapters: Mapping[str, Adapter]
) -> Iterator[Cluster | None]:
    """Open the cluster of a backend for the block; None for `local`. There is no fallback from one to the other.

    Args:
        address: Of a running cluster; without it one is started on this machine.
        partitions: Number of partitions of an entity's keys.
        adapters: Installed adapters, by contract and technology.

    Raises: UsageError if there is no such backend or its library is not installed; TransientError if the address does
        not answer.
    """
    if backend == LOCAL:
        if address is not None or partitions is not None:
            raise UsageError("--cluster and --partitions are for a backend that has processes, and local has none.")
        yield None
        return
    if partitions is not None and partitions < 1:
        raise UsageError(f"there is 1 partition at least, not {partitions}.")
    adapter = adapters.get(CONTRACT + backend)
    if adapter is None:
        names = sorted(name.removeprefix(CONTRACT) for name in adapters if name.startswith(CONTRACT))
        raise UsageError(f"there is no backend {backend!r}; there is {', '.join([LOCAL, *names])}.")
    with closing(adapter.load()(address, workers=threads())) as processes:
        yield Cluster(processes, PARTITIONS if partitions is None else partitions)


def growing_on(cluster: Cluster | None, learner: str, folder: Path) -> Growing | None:
    """Return where the trees of a learner are grown, with its rows passed through a folder; None for this process.

    Raises: UsageError if the cluster does not support the learner.
    """
    if cluster is None:
        return None
    check_grown(learner)
    if not isinstance(cluster.backend, TreeCluster):
        raise UsageError("this backend answers features and grows no trees: train with --backend local, dask or spark.")
    return Growing(cluster.backend, folder)
