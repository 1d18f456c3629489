"""Operations on read positions: list each partition that a worker reads, and reset one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

import msgspec

from shroff.errors import LogBusyError, TransientError, UsageError
from shroff.events.event import time_text
from shroff.events.intake import READ
from shroff.json_types import JsonObject, TextDict, TextMapping
from shroff.operations.declaration import OperationAnswer, OperationRequest, Param, operation
from shroff.project.settings.systems import Systems
from shroff.runtime.texts import TextTable, argument, one_line
from shroff.runtime.values import replace
from shroff.services.adapter_factory import AdapterFactory
from shroff.services.parts import ProjectPart
from shroff.services.people.project_people import ProjectPeople
from shroff.services.sources.pushed import ReadView, SourceFiles
from shroff.streams.source import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from shroff.log.read_positions import Forgotten, PartRead
    from shroff.project.settings.system import System
    from shroff.services.context import ProjectContext
    from shroff.streams.source import PartLag
    from shroff.worker.serving.multi_source import Note, ReadNews

FILES = "files"  # source name of files among a log's offsets
LEADS = "The active worker keeps its position in memory: stop it first, and its standby"


def notes_of(context: ProjectContext) -> Note:
    """Return a function that stores the counts of sources being read, for commands and the screen."""
    files = SourceFiles(context.paths)

    def note(name: str, news: ReadNews) -> None:
        counts = files.counts(name)
        counts.appended += news.appended
        counts.duplicates += news.duplicates
        counts.quarantined += news.quarantined
        for words, count in news.skipped.items():
            counts.add(counts.skipped, words, count)
        counts.received_ms = context.now_ms() if news.has_come else counts.received_ms
        counts.event_ms = max(
            (event_ms for event_ms in (counts.event_ms, news.event_ms) if event_ms is not None), default=None
        )
        counts.failing_ms = (counts.failing_ms or context.now_ms()) if news.failing else None
        counts.failing, counts.waiting = news.failing, news.waiting
        with suppress(OSError):
            files.keep_counts(name, counts)

    return note


class SourceParts(ProjectPart):
    """Read positions of a project's source."""

    _outside: AdapterFactory
    _people: ProjectPeople

    def named(self) -> list[ReadView]:
        """List the sources that a worker reads by their names, with the results of their messages."""
        files = SourceFiles(self._paths)
        return [ReadView(name, system, files.counts(name)) for name, system in self._systems.named_read.items()]

    def troubles(self) -> Iterator[tuple[str, str, int]]:
        """Contact each source; list those that cannot be read, with the reason and since when."""
        for name, system, counts in self.named():
            try:
                lacking = [f"{part.part}: {part.trouble}" for part in self.look(name, system) if part.trouble]
            except (TransientError, UsageError) as error:
                lacking = [str(error)]
            for words in lacking or filter(None, [counts.failing]):
                yield name, words, counts.failing_ms or self._now_ms()

    def look(self, name: str, system: System) -> list[PartLag]:
        """Get the state of the parts of a source, by name. Raises: as `Source.look`."""
        from shroff.log.read_positions import known

        offsets: TextDict = {}
        begin = f"{READ}/{name}/"
        if self._log.exists():
            with self._log.reading() as log:
                own = {part: at for part, at in log.offsets.of(READ).items() if part.startswith(begin)}
                offsets = known(log.offsets.of(system.kind))
                offsets |= {part.removeprefix(begin): at for part, at in own.items()}
        return self._look(system, known(offsets))

    def _look(self, system: System, offsets: TextMapping) -> list[PartLag]:
        with closing(self._outside.open_source(system)) as source:
            return source.look(offsets)

    def all(self) -> dict[str, list[PartRead]]:
        """List the partitions of `kafka`, `redis` and `files` with their read position and number of waiting messages.

        Partitions of named sources are listed under these names. The sources of shroff.yaml report their backlog; if
        one does not answer, `warnings` says so.
        """
        from shroff.log.read_positions import known, parts_read

        by_source: dict[str, list[PartRead]] = {}
        if self._log.exists():
            with self._log.reading() as log:
                by_source = {name: parts_read(log, name) for name in self._source_names()}
        by_source = {name: parts for name, parts in by_source.items() if parts}
        system = self._systems.source
        named = {part_read.part: part_read for part_read in by_source.pop(READ, ())}
        for name, source in self._systems.named_read.items():
            begin = f"{READ}/{name}/"
            lags = self._answered(partial(self.look, name, source))
            own = {part: read for part, read in named.items() if part.startswith(begin)}
            by_source[name] = _joined(own, [each._replace(part=f"{begin}{each.part}") for each in lags])
        if system is not None and not self._systems.named_read:
            read = {part.part: part for part in by_source.get(system.kind, ())}
            offsets = known({name: part.offset for name, part in read.items()})
            lags = self._answered(partial(self._look, system, offsets))
            by_source[system.kind] = _joined(read, lags)
        return by_source

    def _answered(self, look: Callable[[], list[PartLag]]) -> list[PartLag]:
        try:
            return look()
        except (TransientError, UsageError) as error:
            self._context.warnings.append(f"the number of waiting messages is unknown: {error}")
            return []

    def forget(self, part: str) -> str:
        """Reset the read position of a partition; return the old position.

        The next worker reads it from its beginning, or from `start`; events already in the log are duplicates. Raises:
        UsageError if no such partition was read; LogBusyError while a worker leads the log.
        """
        from shroff.log.read_positions import forget, known

        if not self._log.exists():
            raise UsageError("this project has no log yet, so nothing was read from its source.")
        system = self._systems.source
        # The source of shroff.yaml first.
        names = sorted(self._source_names(), key=lambda name: system is None or name != system.kind)
        try:
            opened = self._log.open(read_only=False)
        except LogBusyError as busy:
            raise LogBusyError(f"{busy}. {LEADS}", busy.by) from busy
        with closing(opened) as log:
            owner = next((name for name in names if part in known(log.offsets.of(name))), names[0])
            before = known(log.offsets.of(owner)).get(part)
            if before is not None:
                self._people.record("source.forget", f"part {part}", {"source": owner, "offset": before})
            return forget(log, owner, part, self._now_ms())

    def _source_names(self) -> tuple[str, ...]:
        """List the source names used in a log's offsets: those of installed adapters, and of files."""
        from shroff.project.settings.installed import kinds

        return (READ, *kinds("source"), FILES)


def _joined(read: Mapping[str, PartRead], lags: list[PartLag]) -> list[PartRead]:
    from shroff.log.read_positions import NOTHING, PartRead

    by_part = dict(read)
    for lag in lags:
        before = by_part.get(lag.part, PartRead(lag.part, NOTHING))
        by_part[lag.part] = replace(before, waiting=lag.waiting, trouble=lag.trouble)
    return [by_part[part] for part in sorted(by_part)]


# ---- operations


class ListPositions(OperationRequest["SourcePositions"]):
    pass


class PartPosition(msgspec.Struct):
    """A part with its read position; `trouble` says why it cannot be read on from there."""

    source: str
    part: str
    offset: str | None
    waiting: int | None
    trouble: str | None
    forgotten: JsonObject | None


PARTS: Final = TextTable(
    {"source": "source", "part": "part", "read up to": ("offset", "nothing"), "waiting": ("waiting", "?")}
)


class SourcePositions(OperationAnswer):
    """The live source, and the read position of each part."""

    source: str | None
    parts: list[PartPosition]

    def text(self) -> str:
        if not self.parts and self.source is not None:
            return f"Nothing was read from the source {self.source} yet."
        if not self.parts:
            return "No live source yet: shroff.yaml has no 'source:'."
        lines = [PARTS.text(self.parts)]
        for part in self.parts:
            if part.trouble:
                lines.append(one_line(f"{part.part}: {part.trouble}"))
            if reset := part.forgotten:
                lines.append(one_line(f"{part.part}: read position reset at {reset['at']}; it was {reset['offset']}."))
        return "\n".join(lines)

    @property
    def _stuck(self) -> str | None:
        return next((part.part for part in self.parts if part.trouble), None)

    def hints(self) -> Sequence[str]:
        if self._stuck is not None:
            return [f"shroff sources forget {argument(self._stuck)}"]
        return ["shroff run" if self.parts else "shroff check"]

    def exit_status(self) -> int:
        return 0 if self._stuck is None else 1


@operation("sources positions", right="read:metrics")
def list_positions(source: SourceParts, systems: Systems, request: ListPositions) -> SourcePositions:
    """List the parts (partitions, streams, files) with their read position and number of waiting messages.

    Exit status 1: a part cannot be read on from its position; the output says why.

    Examples:
        shroff sources positions
    """
    parts = [
        PartPosition(
            source=kind,
            part=part.part,
            offset=shown(part.offset) or None,
            waiting=part.waiting,
            trouble=part.trouble or None,
            forgotten=_reset(part.forgotten),
        )
        for kind, positions in source.all().items()
        for part in positions
    ]
    return SourcePositions(source=None if systems.source is None else systems.source.kind, parts=parts)


def _reset(forgotten: Forgotten | None) -> JsonObject | None:
    return None if forgotten is None else {"offset": shown(forgotten.offset), "at": time_text(forgotten.at_ms)}


class ForgetPosition(OperationRequest["ForgottenPosition"]):
    """
    Args:
        part: The part.
        is_sure: Do not ask for confirmation.
    """

    part: str
    is_sure: Annotated[bool, Param(flags="--yes", asks="This resets the read position of {part}.", is_local=True)] = (
        False
    )


class ForgottenPosition(OperationAnswer):
    """A part with the read position that it had."""

    part: str
    offset: str
    NEXT: ClassVar = ("shroff sources positions", "shroff run")

    def text(self) -> str:
        return f"The read position of {one_line(self.part)} is reset; it was {one_line(self.offset)}."


@operation("sources forget", right="mend:input")
def forget_position(source: SourceParts, request: ForgetPosition) -> ForgottenPosition:
    """Reset the read position of a PART, for example after its topic was deleted and created again.

    The next worker reads the PART from its first message, or from the source's 'start'. The log knows its events by
    id, so messages read twice change nothing. Deleted messages stay lost. No worker may run meanwhile. The log keeps
    the time of the reset and the old position; 'shroff sources positions' shows them.

    Examples:
        shroff sources forget payments/0
        shroff sources forget payments/0 --yes
    """
    return ForgottenPosition(part=request.part, offset=shown(source.forget(request.part)))
