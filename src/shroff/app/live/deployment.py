"""Making the project's files the active version, also in a process that runs: what differs, and the step itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shroff.app.live.requests import WriterRequests
from shroff.app.live.versions import FileVersions
from shroff.app.parts import ProjectPart
from shroff.app.people import ProjectPeople
from shroff.log.active_files import (
    FileDifference,
)
from shroff.people.audit import Action
from shroff.runtime.progress import unheard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shroff.app.live.requests import Waits

WAITS: Final = "The files are unchanged; the process that writes the log makes them active"


@dataclass(frozen=True, slots=True)
class AppliedFiles:
    """Files made active, and their sequence number in the log.

    `why_not` says why it is not yet, and is empty else.
    """

    changed: Sequence[FileDifference]
    seq: int
    why_not: str = ""


class Applying(ProjectPart):
    """The files of a project, and which of them are active."""

    def apply(self, waits: Waits = unheard) -> AppliedFiles:
        """Make the project's files the active version; the process that writes the log does it, or this one if there is
        none.

        Raises: DefinitionError for mistakes in the files; UsageError where there is no log yet.
        """
        WriterRequests(self._opened).needs_log("so no version is active; the first event activates the files")
        self._opened.reload()
        self._opened.checked()
        found = FileVersions(self._opened).unapplied()
        why_not = ""
        if found:
            ProjectPeople(self._opened).record(
                Action("project.apply", "project", None, {"files": [one.file for one in found]})
            )
            _, why_not = WriterRequests(self._opened).put_in_force(waits, WAITS, rows_alone=False)
        return AppliedFiles(found, FileVersions(self._opened).active_seq(), why_not)

    def take_up(self, waits: Waits = unheard) -> None:
        """Ask the process that writes this log to read the project's files again. Raises: UsageError if it refuses."""
        from shroff.worker.inbox import ADOPT

        WriterRequests(self._opened).ask(ADOPT, b"null", waits)
