"""Progress of pulled files in the log, and the files that need attention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from shroff.json_types import TextMapping
from shroff.runtime.values import FrozenStruct
from shroff.services.parts import ProjectPart
from shroff.services.sources.pushed import SourceFiles
from shroff.streams.log import kept_offset
from shroff.streams.pull import PULLED

if TYPE_CHECKING:
    from shroff.project.settings.sources import NamedSource
    from shroff.services.sources.pushed import SourceCounts

APPENDING = "appending"
APPENDED = "appended"  # but no model trained on it yet
DONE = "done"
ASIDE = "set aside"
CHANGING = "changed while it was read"
WATCHED = "watched"  # offset source that lists the watched locations with a file once set aside


class Progress(FrozenStruct, omit_defaults=True):
    """Progress of a file, stored as its offset in the log.

    Args:
        state: APPENDING, APPENDED, DONE or ASIDE.
        lines: Number of its lines in the log or in quarantine.
        after: Last sequence number before its first line.
        why: Reason why it is set aside, or done without a model.
        labels_inside: Labels of its own events were read with it.
        version: Version of the definitions that set it aside: a change of them may repair it.
        suspicious: Reason if more lines are bad than allowed; `since_ms` is when that was found.
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
    return kept_offset("pulled", "", text, Progress)


class PulledView(NamedTuple):
    """A source, this machine's counts of it, and its files that are set aside or suspicious, by name."""

    source: NamedSource
    counts: SourceCounts
    aside: Mapping[str, Progress]
    suspicious: Mapping[str, Progress]


class PulledFiles(ProjectPart):
    """The files of a project's pulled sources."""

    @cached_property
    def _counts(self) -> SourceFiles:
        return SourceFiles(self._paths)

    def all(self) -> list[PulledView]:
        return [self._view(source) for source in self._systems.pulled.values()]

    def _view(self, source: NamedSource) -> PulledView:
        by_name = {file: read_progress(text) for file, text in self.known(source.name).items()}
        aside = {file: progress for file, progress in by_name.items() if progress.state == ASIDE}
        suspicious = {file: progress for file, progress in by_name.items() if progress.suspicious}
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
        """List files of watched locations that are set aside, with the location, and since when."""
        if not self._log.exists():
            return
        with self._log.reading() as log:
            files = {place: log.offsets.of(place) for place in log.offsets.of(WATCHED)}
        for place, offsets in files.items():
            for file, text in offsets.items():
                progress = read_progress(text)
                if progress.state == ASIDE:
                    cure = "Fix the file, or its mapping in events.yaml: 'shroff train --watch' then takes it again"
                    yield place, f"{file} is skipped: {progress.why}. {cure}", progress.since_ms

    def suspicions(self) -> Iterator[tuple[str, str, int]]:
        """List suspicious files, with their source, and since when."""
        for named, _, _, suspicious in self.all():
            for file, progress in suspicious.items():
                words = f"{file} is suspicious: {progress.suspicious}. 'shroff quarantine list' shows them"
                yield named.name, words, progress.since_ms

    def known(self, name: str) -> TextMapping:
        """Return the encoded progress of each file of a source."""
        if not self._log.exists():
            return {}
        with self._log.reading() as log:
            return log.offsets.of(f"{PULLED}/{name}")
