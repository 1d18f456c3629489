"""Telling how far a long work is, while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Final, TypeVar

Progress = Callable[[int], None]
One = TypeVar("One")
Batch = TypeVar("Batch", bound=Sized)
STEP: Final = 1_024


def counted(items: Iterable[One], progress: Progress | None) -> Iterator[One]:
    """The same items; every so many are told."""
    if progress is None:
        yield from items
        return
    for count, one in enumerate(items, start=1):
        yield one
        if count % STEP == 0:
            progress(STEP)


def batched(batches: Iterable[Batch], progress: Progress | None) -> Iterator[Batch]:
    """The same batches; the size of each is told once it was used."""
    for batch in batches:
        yield batch
        if progress is not None:
            progress(len(batch))
