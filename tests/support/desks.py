"""A project, and desks of jobs that look at it as processes of their own do."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from shroff.people.access import local
from shroff.services import project as app
from shroff.services.jobs.desk import JobDesk

START = 1_780_000_020_000  # a whole minute
ADMIN = local("admin", "command")


class Desks:
    """A project, and desks that look at it as processes of their own do."""

    def __init__(self, folder: Path, held: ExitStack) -> None:
        self.folder, self._held, self.now_ms = folder, held, START

    def open(self, now: bool = False) -> JobDesk:
        project = app.open_exactly(self.folder)
        if not now:
            project.context.now_ms = lambda: self.now_ms
        return self._held.enter_context(project.jobs.open())

    def schedule(self, text: str) -> None:
        (self.folder / "schedules.yaml").write_text(text)
