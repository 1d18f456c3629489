"""Reporting the progress of long work, and reading items ahead of their use."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from contextlib import suppress
from typing import TypeVar

Progress = Callable[[int], None]
Tell = Callable[[str], None]  # takes a message for people, such as what is waited for
One = TypeVar("One")
Batch = TypeVar("Batch", bound=Sized)
STEP = 1_024
AHEAD = 6  # items that are read in advance


def counted(items: Iterable[One], progress: Progress | None) -> Iterator[One]:
    """Yield the items; report progress every `STEP` items."""
    if progress is None:
        yield from items
        return
    for count, item in enumerate(items, start=1):
        yield item
        if count % STEP == 0:
            progress(STEP)


def batched(batches: Iterable[Batch], progress: Progress | None) -> Iterator[Batch]:
    """Yield the batches; report the size of each after it was used."""
    for batch in batches:
        yield batch
        if progress is not None:
            progress(len(batch))


def unheard(*_said: object) -> None:
    """Drop a message, a count or the name of a step."""


def ahead(items: Iterator[One]) -> Generator[One, None, None]:
    """Yield the items, which a thread reads in advance."""
    from queue import Full, Queue
    from threading import Event, Thread

    ready: Queue[tuple[One | None, BaseException | None]] = Queue(AHEAD)
    is_over = Event()

    def put(item: One | None, error: BaseException | None) -> None:
        while not is_over.is_set():
            with suppress(Full):
                ready.put((item, error), timeout=0.1)
                return

    def read() -> None:
        try:
            for item in items:
                put(item, None)
                if is_over.is_set():
                    return
            put(None, None)
        except BaseException as error:  # noqa: BLE001 (raised again by the consumer)
            put(None, error)

    thread = Thread(target=read, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        is_over.set()
        thread.join()
