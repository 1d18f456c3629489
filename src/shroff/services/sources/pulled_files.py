"""Progress of pulled files, as the log has it, and the files that need attention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from shroff.json_types import TextMapping
from shroff.runtime.values import FrozenStruct
from shroff.services.parts import ProjectPart
from shroff.services.sources.pushed import SourceFiles
from shroff.streams.log import kept_offset
from shroff.streams.pull import PULLED

if TYPE_CHECKING:
    from shroff.project.settings.sources import NamedSource
    from shroff.services.context import ProjectContext
    from shroff.services.sources.pushed import SourceCounts

APPENDING = "appending"
APPENDED = "appended"  # and not learnt from yet
DONE = "done"
ASIDE = "set aside"
CHANGING = "changed while it was read"
WATCHED = "watched"  # among the sources of offsets: the watched places that have had a file set aside


class Progress(FrozenStruct, omit_defaults=True):
    """How far a file is, as the log's offset of it has it.

    Args:
        state: APPENDING, APPENDED, DONE or ASIDE.
        lines: So many of it are in the log or in quarantine.
        after: The log's last place before its first line.
        why: Of one that is set aside, or done without a model, the reason.
        labels_inside: Whether labels of its own events were read with it.
        version: Of the definitions by which it was set aside: a change of them may be its cure.
        suspicious: More of it is bad than may be, in words; and since when that is known.
    """

    state: str
    size: int
    changed_ns: int
    sha256: str
    lines: int = 0
    after: int = 0
    model: str = ""
    why: str = ""
    suspicious: str = ""
    since_ms: int = 0
    version: str = ""
    labels_inside: bool = False


def read_progress(text: str) -> Progress:
    """How far a file is, of the log's offset of it."""
    return kept_offset("pulled", "", text, Progress)


class PulledView(NamedTuple):
    """A source, what came of its rows on this machine, and its files that are set aside or suspicious, by name."""

    source: NamedSource
    counts: SourceCounts
    aside: Mapping[str, Progress]
    suspicious: Mapping[str, Progress]


class PulledFiles(ProjectPart):
    """The files of a project's pulled sources."""

    def __init__(self, context: ProjectContext) -> None:
        super().__init__(context)
        self._counts = SourceFiles(context.paths)

    def all(self) -> list[PulledView]:
        """List the sources with the results of their files."""
        return [self._view(source) for source in self._systems.pulled.values()]

    def _view(self, source: NamedSource) -> PulledView:
        found = {file: read_progress(text) for file, text in self.known(source.name).items()}
        aside = {file: progress for file, progress in found.items() if progress.state == ASIDE}
        suspicious = {file: progress for file, progress in found.items() if progress.suspicious}
        return PulledView(source, self._counts.counts(source.name), aside, suspicious)

    def troubles(self) -> Iterator[tuple[str, str, int]]:
        """List files that are set aside or suspicious, with their source, and since when."""
        for named, counts, aside, _ in self.all():
            for file, progress in aside.items():
                cure = f"Fix the file, or its mapping in events.yaml, then run 'shroff sources sync {named.name}'"
                words = f"{file} is skipped: {progress.why}. {cure}"
                yield named.name, words, progress.since_ms or counts.received_ms or self._now_ms()
        yield from self.watched_files()
        yield from self.suspicions()

    def watched_files(self) -> Iterator[tuple[str, str, int]]:
        """List files of watched places that are set aside, with their place, and since when."""
        if not self._log.exists():
            return
        with self._log.reading() as log:
            files = {place: log.offsets(place) for place in log.offsets(WATCHED)}
        for place, offsets in files.items():
            for file, text in offsets.items():
                progress = read_progress(text)
                if progress.state == ASIDE:
                    cure = "Fix the file, or its mapping in events.yaml: 'shroff train --watch' then takes it again"
                    yield place, f"{file} is skipped: {progress.why}. {cure}", progress.since_ms

    def suspicions(self) -> Iterator[tuple[str, str, int]]:
        """The files that are suspicious, with the name of their source, and since when."""
        for named, _, _, suspicious in self.all():
            for file, progress in suspicious.items():
                words = f"{file} is suspicious: {progress.suspicious}. 'shroff quarantine list' shows them"
                yield named.name, words, progress.since_ms

    def known(self, name: str) -> TextMapping:
        """How far each file of a source is, as the log has it."""
        if not self._log.exists():
            return {}
        with self._log.reading() as log:
            return log.offsets(f"{PULLED}/{name}")
