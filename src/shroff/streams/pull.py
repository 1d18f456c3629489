"""The contract of sources that are pulled: files appear at a place, and each is taken whole, once.

A folder, a bucket, an export by the hour, or the new rows of a table written into a file: what differs is how the
files are named and brought here. The log keeps how far each was read, so nothing else has to remember anything.

An adapter `pull.KIND` is called with the settings of that kind (each `${NAME}` filled) and with a `PullPlace`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SETTLED_MS: Final = 2_000  # for which a file of a folder is unchanged before it counts as complete
PULLED: Final = "pulled"  # before the names of pulled sources, in the log
Stamp = tuple[int, int]  # a file's size, and when it was last changed, in nanoseconds; or another number for that


def _not_kept(_name: str, _path: Path) -> None: ...


@dataclass(frozen=True, slots=True)
class PullPlace:
    """What a pulled source is given beside its settings.

    Attributes:
        name: Of the source in shroff.yaml; empty for a place that a command names.
        folder: Its own, for what it downloads.
        now_ms: The clock.
        taken: The names of what the log has of this source, also of what is not whole there yet.
        keep: Keeps what was downloaded, under a name and its SHA-256, before it is read.
    """

    name: str
    folder: Path
    now_ms: Callable[[], int]
    taken: Callable[[], Collection[str]]
    keep: Callable[[str, Path], None] = _not_kept

    def source_of(self, address: str) -> str:
        """What the log calls the source: by its name in shroff.yaml, else by its address."""
        return f"{PULLED}/{self.name}" if self.name else f"watched {address}"


class PulledSource(ABC):
    """A place where files appear. `source` names it among the offsets of a log."""

    source: str

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
        """What shows that a file has changed; None where that cannot be seen (the default), or the file is gone."""
        return None

    @abstractmethod
    def opened(self, name: str) -> AbstractContextManager[Path]:
        """The file, while it is read; its ending says its format. The path may lead nowhere where it is gone.

        Raises: TransientError where it cannot be had now; UsageError where it cannot be what it should be.
        """

    def close(self) -> None:  # noqa: B027 (most have nothing open)
        """Let go of what is open. Closing twice does nothing."""
