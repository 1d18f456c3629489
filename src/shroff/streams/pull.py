"""The contract of pulled sources: files appear at a location, and each is ingested once, completely.

A folder, a bucket, an hourly export, or new rows of a table written into a file: they differ in how files are named and
fetched. The log stores how far each was read, so the source has no state of its own.

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

SETTLED_MS = 2_000  # a file of a folder counts as complete when unchanged for this long
PULLED = "pulled"  # prefix of the names of pulled sources in the log
Stamp = tuple[int, int]  # size of a file, and time of its last change in ns or another number that changes with it


class NotKeptError(UsageError):
    """No copy of a file is archived."""


class Archives(Protocol):
    """Archives downloaded files unchanged."""

    def keep(self, name: str, paths: Sequence[Path]) -> None:
        """Archive the parts of a file; different versions archived earlier stay."""

    def bring(self, name: str, folder: Path) -> list[Path]:
        """Write the parts of a file, as archived last, into a folder.

        Raises: NotKeptError if nothing is archived; UsageError if the archive is damaged.
        """


class NoArchives:
    """Archives nothing."""

    def keep(self, name: str, paths: Sequence[Path]) -> None: ...

    def bring(self, name: str, folder: Path) -> list[Path]:
        raise NotKeptError(f"nothing is kept of {name}.")


class PullPlace(FrozenStruct):
    """Further arguments of a pulled source.

    Attributes:
        name: Of the source in shroff.yaml; empty for a location that a command names.
        folder: Its own folder for downloads.
        now_ms: The clock.
        taken: Returns the names of this source's files in the log, including those that are not complete there yet.
        archives: Archive downloads, under a name and their SHA-256, before they are read.
        takes_texts: Whether a text file whose name does not tell its format, such as `march.txt`, is included, since a
            mapping of the project is for CSV.
    """

    name: str
    folder: Path
    now_ms: Callable[[], int]
    taken: Callable[[], Collection[str]]
    archives: Archives = msgspec.field(default_factory=NoArchives)
    takes_texts: bool = False

    def source_of(self, address: str) -> str:
        """Return the source's name in the log: its name in shroff.yaml, else its address."""
        return f"{PULLED}/{self.name}" if self.name else f"watched {covered(address)}"


class PulledSource(ABC):
    """A location where files appear. `source` names it among the offsets of a log.

    A file is suspicious if more than the share `bad_max` of its lines is bad, or if something is `lost`. If the same
    row may come in several files, `row_id` is the column by which quarantine identifies it; otherwise a row is
    identified by its file and line. `remark` describes files that the last `names` left out unexpectedly, and what to
    do.
    """

    source: str
    bad_max: float = 1.0
    row_id: str = ""
    remark: str = ""

    @abstractmethod
    def names(self) -> list[str]:
        """Return the readable files that are there, by their suffix, in the order in which they are ingested.

        A file that was started keeps its name until it is complete in the log.
        Raises: UsageError if there is no such location; TransientError if it cannot be reached now.
        """

    def is_complete(self, name: str) -> bool:
        """Return whether this file is fully written. By default every file that is there is complete."""
        return True

    def stamp(self, name: str) -> Stamp | None:
        """Return the change marker of a file; None if there is none (the default), or the file is gone."""
        return None

    @abstractmethod
    def opened(self, name: str) -> AbstractContextManager[Path]:
        """Provide the file while it is read; its suffix tells its format. The path may not exist if the file is gone.

        Raises: TransientError if the file cannot be fetched now; UsageError if the settings do not fit the system.
        """

    def kept(self, name: str) -> AbstractContextManager[Path]:
        """Like `opened`, for the archived copy of a file; contacts no system.

        Raises: NotKeptError if there is none.
        """
        raise NotKeptError(f"nothing is kept of {name}: files of this kind are read where they are.")

    def lost(self) -> str:
        """Describe missing or damaged parts of the file that was opened last; empty if it is complete."""
        return ""

    def close(self) -> None:  # noqa: B027 (most sources hold nothing open)
        """Release all resources. Closing twice does nothing."""
