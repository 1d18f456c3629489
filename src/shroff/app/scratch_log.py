"""Scratch log: a log of some files alone, beside the project's own, which is asked once and removed."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from shroff import config
from shroff.app.live.taking import Taking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shroff.app.opened import Opened
    from shroff.app.views import Files
    from shroff.runtime.progress import Progress
    from shroff.streams.log import Log
    from shroff.worker.ingest import IngestReport


@dataclass(frozen=True, slots=True)
class ScratchPaths(config.ProjectPaths):
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


@contextmanager
def scratch_log(
    opened: Opened,
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
        held = opened.at(ScratchPaths(opened.places.folder, Path(folder)))
        order = None if order == "file" else order
        report = Taking(held).ingest(
            files, as_type=as_type, labels=labels, order=order, decide=decide, progress=progress
        )
        with held.reading() as log:
            yield log, report
