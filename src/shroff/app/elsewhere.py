"""A log of some files alone, beside the project's own: what they would give is asked of it, and it goes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self

from shroff import config
from shroff.app.live.lane_views import LaneViews
from shroff.app.views import Files

if TYPE_CHECKING:
    from shroff.runtime.progress import Progress
    from shroff.streams.log import Log
    from shroff.worker.ingest import IngestReport


@dataclass(frozen=True, slots=True)
class LogElsewhere(config.Places):
    """A project whose log and saved state are in another folder."""

    state_folder: Path

    @property
    def log(self) -> Path:
        return self.state_folder / "log.db"

    @property
    def is_elsewhere(self) -> bool:
        return True

    @property
    def snapshots(self) -> Path:
        return self.state_folder / "snapshots"


class Elsewhere(LaneViews, ABC):
    """A project that can be held against files alone."""

    __slots__ = ()

    places: config.Places

    @abstractmethod
    def has_log(self) -> bool:
        """Whether there is a log already."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Log]:
        """The log, to read."""

    @abstractmethod
    def _at(self, places: config.Places) -> Self:
        """The same project with its log at another place."""

    @abstractmethod
    def ingest(
        self,
        files: Files,
        *,
        as_type: str | None = None,
        labels: str | Path | None = None,
        order: str | None = None,
        decide: bool = True,
        is_hashed: bool = False,
        progress: Progress | None = None,
    ) -> IngestReport:
        """Append files to the log, deciding on the way."""

    @contextmanager
    def _log_of(
        self,
        files: Files,
        as_type: str | None,
        labels: str | Path | None,
        *,
        decide: bool,
        order: str | None = None,
        progress: Progress | None = None,
    ) -> Iterator[tuple[Log, IngestReport]]:
        """A log that has these files alone, as `ingest` takes them, and what became of their lines.

        Files in disorder are refused unless sorted, by `file` as by None: what came too late would be missing.

        Raises: what `ingest` raises. Cost: that of an ingest; the log is in the system's temporary folder.
        """
        with TemporaryDirectory(prefix="shroff-") as folder:
            held = self._at(LogElsewhere(self.places.folder, Path(folder)))
            order = None if order == "file" else order
            report = held.ingest(files, as_type=as_type, labels=labels, order=order, decide=decide, progress=progress)
            with held.reading() as log:
                yield log, report
