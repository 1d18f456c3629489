"""Versions of a project: its files as they are now, beside those that the log has active."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shroff import config
from shroff.app.parts import ProjectPart
from shroff.log.active_files import (
    NOTICES,
    FileDifference,
    beside,
    changes,
    followed,
)
from shroff.project.definitions import Definitions, load_definitions
from shroff.project.file_kinds import added_files
from shroff.project.loader import line_of
from shroff.streams.log import Log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shroff.errors import Problem


class FileVersions(ProjectPart):
    """Active and inactive versions of the project's files."""

    def unapplied(self) -> list[FileDifference]:
        """List the changes in the project's files that are not active.

        Raises: DefinitionError; UsageError without a log.
        """
        fresh = self._context.afresh()
        with fresh.log.reading() as log:
            return FileVersions(fresh).changes_in(log, fresh.definitions)

    def changes_in(self, log: Log, definitions: Definitions) -> list[FileDifference]:
        """List the changes in these definitions, and the files beside them, that are not active."""
        control, _ = followed(log, self._context.read_once)
        return changes(log, control, definitions, self.beside(), self.load_active)

    def file_stamps(self) -> list[tuple[str, int, int]]:
        """Get stamps that show whether a file of the project has changed."""
        return config.file_stamps(self._context.paths.folder)

    def beside(self) -> dict[str, str]:
        """Get the content of project files and settings that are not part of a version."""
        folder = self._context.paths.folder
        names = NOTICES, *added_files(config.files_of(folder))
        return beside(config.read_files(folder, [], names), self._context.systems)

    def load_active(self, files: Mapping[str, str]) -> Definitions:
        """Load the definitions from the files in the log. Raises: DefinitionError."""
        return load_definitions(files, self._log.hasher, read=self._context.read_once).or_raise()

    def active_seq(self) -> int:
        """Get the sequence number of the active version."""
        with self._log.reading() as log:
            return followed(log, self._context.read_once)[1]

    def source_line(self, problem: Problem) -> str:
        """Get the source line of a problem; empty if it has none."""
        return line_of(self._context.paths.folder, problem)
