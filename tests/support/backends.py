"""A backend in processes of this machine, with nothing but Python: the reference of the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

One = TypeVar("One")
Two = TypeVar("Two")


class ProcessBackend:
    """A few processes beside this one. Keeps every promise of `features.cluster.partitioned.Backend`."""

    def __init__(self, workers: int = 2) -> None:
        self._pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))

    def run(self, function: Callable[[One], Two], items: Sequence[One]) -> Iterator[Two]:
        futures = [self._pool.submit(function, item) for item in items]
        for future in as_completed(futures):
            yield future.result()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


class HereBackend:
    """Computes in the asking process, which a real backend must not: for laws, which ask a thousand times."""

    def run(self, function: Callable[[One], Two], items: Sequence[One]) -> Iterator[Two]:
        return map(function, items)

    def close(self) -> None:
        """Nothing was started."""
