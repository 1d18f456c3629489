"""Telling how far a long work is, while it goes on; and items that are read ahead of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from contextlib import suppress
from typing import Final, Protocol, TypeVar

Progress = Callable[[int], None]
One = TypeVar("One")
Batch = TypeVar("Batch", bound=Sized)
STEP: Final = 1_024
AHEAD: Final = 6  # items that are read before they are asked for


class Extent(Protocol):
    """The size of a file, and what says how much of it was read; both in bytes as they are stored."""

    @property
    def size_bytes(self) -> int:
        """All of it."""

    @property
    def read_bytes(self) -> Callable[[], int]:
        """Bytes read so far."""


class SizedInput(Protocol):
    """An input with its size; None where that is not known, as of a pipe."""

    @property
    def extent(self) -> Extent | None:
        """Its size, and how far it was read."""


Read = TypeVar("Read", bound=SizedInput)


def counted(items: Iterable[One], progress: Progress | None) -> Iterator[One]:
    """The same items; reports progress every so many."""
    if progress is None:
        yield from items
        return
    for count, item in enumerate(items, start=1):
        yield item
        if count % STEP == 0:
            progress(STEP)


def batched(batches: Iterable[Batch], progress: Progress | None) -> Iterator[Batch]:
    """The same batches; reports the size of each once it was used."""
    for batch in batches:
        yield batch
        if progress is not None:
            progress(len(batch))


class Meter:
    """How far into its files an ingest is.

    By bytes as they are stored, so that it holds for compressed files too. Files that are
    sorted first are all read before the first line comes out again; from then on by lines.
    """

    def __init__(self) -> None:
        self._files: list[SizedInput] = []
        self._taken = self._given = 0

    def opened(self, lines: Read) -> Read:
        """The same lines, now counted in."""
        self._files.append(lines)
        return lines

    def taken(self, items: Iterable[One]) -> Iterator[One]:
        """The same items, on their way to be sorted."""
        for item in items:
            self._taken += 1
            yield item

    def given(self, items: Iterable[One]) -> Iterator[One]:
        """The same items, sorted."""
        for item in items:
            self._given += 1
            yield item

    def share(self) -> float | None:
        """A share in [0, 1]; None where a file's size is not known, as of a pipe."""
        if self._given:
            return self._given / self._taken
        extents = [file.extent for file in self._files if file.extent is not None]
        size_bytes = sum(extent.size_bytes for extent in extents)
        if len(extents) < len(self._files) or size_bytes == 0:
            return None
        return sum(extent.read_bytes() for extent in extents) / size_bytes


def unheard(_words: str) -> None:
    """Drop a message or a count."""


def ahead(items: Iterator[One]) -> Generator[One, None, None]:
    """The same items; a thread has the next ones ready."""
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
        except BaseException as error:  # noqa: BLE001 (raised again where the items are asked for)
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
