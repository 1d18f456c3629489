"""The contract of sources that are pulled: files appear at a place, and each is taken whole, once.

A folder, a bucket, an export by the hour, or the new rows of a table written into a file: what differs is how the
files are named and brought here. The log keeps how far each was read, so nothing else has to remember anything.

An adapter `pull.KIND` is called with the settings of that kind (each `${NAME}` filled) and with a `PullPlace`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import msgspec

from shroff.errors import UsageError, covered
from shroff.runtime.values import FrozenStruct

SETTLED_MS = 2_000  # for which a file of a folder is unchanged before it counts as complete
PULLED = "pulled"  # before the names of pulled sources, in the log
Stamp = tuple[int, int]  # a file's size, and when it was last changed, in nanoseconds; or another number for that


class NotKeptError(UsageError):
    """Nothing is kept of a file."""


class Archives(Protocol):
    """Keeps what was downloaded, as it came."""

    def keep(self, name: str, paths: Sequence[Path]) -> None:
        """Keep the parts of a file; those of other bytes that are kept of it already stay."""

    def bring(self, name: str, folder: Path) -> list[Path]:
        """The parts of a file as they were kept last, written into a folder.

        Raises: NotKeptError where nothing is kept; UsageError where what is kept is damaged.
        """


class NoArchives:
    """Keeps nothing."""

    def keep(self, name: str, paths: Sequence[Path]) -> None: ...

    def bring(self, name: str, folder: Path) -> list[Path]:
        raise NotKeptError(f"nothing is kept of {name}.")


class PullPlace(FrozenStruct):
    """Arguments of a pulled source beside its settings.

    Attributes:
        name: Of the source in shroff.yaml; empty for a place that a command names.
        folder: Its own, for what it downloads.
        now_ms: The clock.
        taken: The names of what the log has of this source, also of what is not whole there yet.
        archives: Keep what was downloaded, under a name and its SHA-256, before it is read.
        takes_texts: Whether a text whose name does not say its format, such as `march.txt`, is one of the files: a
            mapping of the project is for CSV.
    """

    name: str
    folder: Path
    now_ms: Callable[[], int]
    taken: Callable[[], Collection[str]]
    archives: Archives = msgspec.field(default_factory=NoArchives)
    takes_texts: bool = False

    def source_of(self, address: str) -> str:
        """Name of the source in the log: its name in shroff.yaml, else its address."""
        return f"{PULLED}/{self.name}" if self.name else f"watched {covered(address)}"


class PulledSource(ABC):
    """A place where files appear. `source` names it among the offsets of a log.

    A file of which more than the share `bad_max` of lines is bad, or something is `lost`, is suspicious. Where the same
    row may come in several files, `row_id` is the column by which quarantine knows it; otherwise it is a line of its
    file. `remark` says which files `names` left out the last time that somebody may miss, and what to do.
    """

    source: str
    bad_max: float = 1.0
    row_id: str = ""
    remark: str = ""

    @abstractmethod
    def names(self) -> list[str]:
        """The files that are there, in the order in which they are taken; those that can be read, by their ending.

        A file that was begun keeps its name until it is whole in the log.
        Raises: UsageError where there is no such place; TransientError where it cannot be reached now.
        """

    def is_complete(self, name: str) -> bool:
        """Whether nobody writes this file any more. By default each name that is there is one of a complete file."""
        return True

    def stamp(self, name: str) -> Stamp | None:
        """Change marker of a file; None where that cannot be seen (the default), or the file is gone."""
        return None

    @abstractmethod
    def opened(self, name: str) -> AbstractContextManager[Path]:
        """The file, while it is read; its ending says its format. The path may lead nowhere where it is gone.

        Raises: TransientError where it cannot be had now; UsageError where it cannot be what it should be.
        """

    def kept(self, name: str) -> AbstractContextManager[Path]:
        """The same of what was kept of a file when it was brought here; nobody is asked.

        Raises: NotKeptError where nothing is.
        """
        raise NotKeptError(f"nothing is kept of {name}: files of this kind are read where they are.")

    def lost(self) -> str:
        """Missing or damaged parts of the file that was opened last, in words; empty where it is whole."""
        return ""

    def close(self) -> None:  # noqa: B027 (most have nothing open)
        """Let go of what is open. Closing twice does nothing."""
