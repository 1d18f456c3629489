"""Read positions of an opened project's source, part by part, and forgetting a part."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from shroff.app.people import ProjectPeople
from shroff.app.wiring import OutsideSystems
from shroff.errors import LogBusyError, TransientError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shroff.app.opened import Opened
    from shroff.log.forgetting import PartRead
    from shroff.project.settings.system import System
    from shroff.streams.source import Standing

FILES: Final = "files"  # the name of those that end, among a log's offsets
LEADS: Final = "The active worker keeps its position in memory: stop it first, and its standby"


class SourceParts:
    """Read positions of a project's source."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    def all(self) -> dict[str, list[PartRead]]:
        """List the parts of `kafka`, `redis` and `files` with their read position and number of waiting messages.

        The source of shroff.yaml reports its backlog; if it does not answer, `warnings` says so.
        """
        from shroff.log.forgetting import known, parts_read

        found: dict[str, list[PartRead]] = {}
        if self._opened.has_log():
            with self._opened.reading() as log:
                found = {name: parts for name in self._source_names() if (parts := parts_read(log, name))}
        system = self._opened.systems.source
        if system is not None:
            read = {one.part: one for one in found.get(system.kind, ())}
            standings = self._standings(system, known({name: one.offset for name, one in read.items()}))
            found[system.kind] = _joined(read, standings)
        return found

    def _standings(self, system: System, offsets: Mapping[str, str]) -> list[Standing]:
        try:
            with closing(OutsideSystems(self._opened).open_source(system)) as source:
                return source.look(offsets)
        except (TransientError, UsageError) as error:
            self._opened.warnings.append(f"the number of waiting messages is unknown: {error}")
            return []

    def forget(self, part: str) -> str:
        """Reset the read position of a part of a source; gives the old position.

        The next worker reads it from its beginning, or from `start`; events already in the log change
        nothing. Raises: UsageError where no such part was read; LogBusyError where a worker leads the log.
        """
        from shroff.log.forgetting import forget, known
        from shroff.people.audit import Action

        if not self._opened.has_log():
            raise UsageError("this project has no log yet, so nothing was read from its source.")
        system = self._opened.systems.source
        # That of shroff.yaml first.
        names = sorted(self._source_names(), key=lambda name: system is None or name != system.kind)
        try:
            opened = self._opened.open_log(read_only=False)
        except LogBusyError as busy:
            raise LogBusyError(f"{busy}. {LEADS}", busy.by) from busy
        with closing(opened) as log:
            owner = next((name for name in names if part in known(log.offsets(name))), names[0])
            before = known(log.offsets(owner)).get(part)
            if before is not None:
                ProjectPeople(self._opened).record(
                    Action("source.forget", f"part {part}", {"source": owner, "offset": before})
                )
            return forget(log, owner, part, self._opened.now_ms())

    def _source_names(self) -> tuple[str, ...]:
        """The names that sources have among a log's offsets: those of installed adapters, and that of files."""
        from shroff.project.settings.installed import kinds

        return (*kinds("source"), FILES)


def _joined(read: Mapping[str, PartRead], standings: list[Standing]) -> list[PartRead]:
    """What the log has of parts, with how they stand outside."""
    from shroff.log.forgetting import NOTHING, PartRead

    found = dict(read)
    for one in standings:
        before = found.get(one.part, PartRead(one.part, NOTHING))
        found[one.part] = replace(before, waiting=one.waiting, trouble=one.trouble)
    return [found[part] for part in sorted(found)]
