"""Pulled sources of an opened project: what is new at each is appended to the log, whole and once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import file_digest
from shutil import copyfileobj
from typing import TYPE_CHECKING, Any, Final

from shroff.app.lakes import Lakes
from shroff.app.live.file_taking import ASIDE, DONE, FileTaking, read_progress
from shroff.app.live.pushed import SourceFiles
from shroff.app.opened import intake_of
from shroff.app.wiring import load_adapter
from shroff.config import alone, make_folder
from shroff.errors import UsageError, nearest
from shroff.events.formats.encodings import read_lines
from shroff.runtime.progress import unheard
from shroff.runtime.whole_files import whole_file
from shroff.streams.pull import PULLED, PulledSource, PullPlace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from shroff.app.live.file_taking import Progress, TakenFile
    from shroff.app.live.pushed import SourceCounts
    from shroff.app.opened import Opened
    from shroff.events.intake import Submission
    from shroff.monitoring.doctor import Finding
    from shroff.project.settings.sources import NamedSource
    from shroff.worker.ingest import IngestReport

LOCK: Final = "sync.lock"
SYNCING: Final = "another process syncs a source of this project already; it goes on with it"
BEING_WRITTEN: Final = "still being written"


@dataclass(frozen=True, slots=True)
class SyncedFile:
    """What became of a file.

    Args:
        state: DONE, ASIDE or BEING_WRITTEN; `why` is the reason of one that is set aside or brought nothing.
        appended: What was appended now; None where that was before.
    """

    name: str
    state: str
    why: str = ""
    appended: IngestReport | None = None


class PulledSources:
    """The calls of a project about its pulled sources."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._files = SourceFiles(opened.places.state / "sources")

    def all(self) -> list[tuple[NamedSource, SourceCounts, Mapping[str, Progress]]]:
        """Each source with what came of its rows on this machine, and its files that are set aside, by name."""
        return [(one, self._files.counts(name), self._aside(name)) for name, one in self._opened.systems.pulled.items()]

    def _aside(self, name: str) -> Mapping[str, Progress]:
        found = {file: read_progress(text) for file, text in self._known(f"{PULLED}/{name}").items()}
        return {file: one for file, one in found.items() if one.state == ASIDE}

    def troubles(self) -> Iterator[tuple[str, str, int]]:
        """The files that are set aside, with the name of their source, and when it was synced last."""
        for named, counts, aside in self.all():
            for file, one in aside.items():
                words = f"{file} is set aside, since {one.why}. Mend it there, then 'shroff sources sync {named.name}'"
                yield named.name, words, counts.received_ms or self._opened.now_ms()

    def look_at(self, name: str) -> Finding:
        """Whether a source can be reached, and whether files of it are set aside. Raises: as `opened` and `names`."""
        from shroff.monitoring.doctor import OK, WRONG, Finding

        with closing(self.opened(name)) as source:
            source.names()
        for of, words, _ in self.troubles():
            if of == name:
                return Finding(f"source {name}", WRONG, words, "'shroff sources check' shows all.")
        return Finding(f"source {name}", OK, "it can be reached, and no file of it is set aside")

    def _known(self, source: str) -> Mapping[str, str]:
        """How far each file of a source is, as the log has it."""
        if not self._opened.has_log():
            return {}
        with self._opened.reading() as log:
            return log.offsets(source)

    def opened(self, name: str) -> PulledSource:
        """The adapter of a source. Raises: UsageError where there is none, or it cannot be opened."""
        found = self._opened.systems.pulled
        if name not in found:
            there = f"There is {', '.join(found)}." if found else "shroff.yaml has no pulled source under 'sources:'."
            raise UsageError(f"there is no pulled source {name!r}. {nearest(name, found) or there}")
        system = found[name].system
        options = self._opened.systems.settled("pull", system, self._opened.places.folder)
        adapter: PulledSource = load_adapter(f"pull.{system.kind}")(options, self._place(name))
        return adapter

    def at(self, address: str, options: Mapping[str, Any]) -> PulledSource:
        """The files at an address that no source of shroff.yaml names. Raises: UsageError where there is nothing."""
        adapter: PulledSource = load_adapter("pull.files")({**options, "from": address}, self._place(""))
        return adapter

    def _place(self, name: str) -> PullPlace:
        opened = self._opened
        folder = opened.places.downloads / name if name else opened.places.downloads
        return PullPlace(
            name, folder, opened.now_ms, lambda: self._known(f"{PULLED}/{name}"), partial(self._keep, name)
        )

    def _keep(self, source: str, name: str, path: Path) -> None:
        """Keep what was downloaded in the lake, under `raw/`; without a lake beside the log."""
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        kept = f"raw/{source}/{name}-{digest}{path.suffix}"
        if self._opened.systems.lake is None:
            to = self._opened.places.state / kept
            make_folder(to.parent)
            with path.open("rb") as file, whole_file(to) as copy:
                copyfileobj(file, copy)
            return
        with Lakes(self._opened).open() as lake:
            lake.objects.put(kept, path.read_bytes())

    def sync(
        self,
        name: str,
        *,
        first: str = "",
        last: str = "",
        decide: bool = True,
        say: Callable[[str], None] = unheard,
    ) -> Iterator[SyncedFile]:
        """Append what is new at a source, file by file, in their order.

        A file that is still being written holds up those behind it until the next time.

        Args:
            first: Only the files from this name on to `last`, such as the days of an export, also those that were
                taken: what is new of them is appended.

        Raises: UsageError where there is no such source, or no such file; TransientError where it cannot be reached;
            LogBusyError where another process syncs a source of this project.
        """
        with alone(self._opened.places.state / LOCK, SYNCING), closing(self.opened(name)) as given:
            taking = FileTaking(
                self._opened,
                given,
                _Reader(self._opened, name),
                say,
                decide=decide,
                then=DONE,
                needs_lines=False,
                takes_changed=True,
            )
            yield from self._sync(name, given, taking) if not first else self._again(name, given, taking, first, last)

    def _again(self, name: str, given: PulledSource, taking: FileTaking, first: str, last: str) -> Iterator[SyncedFile]:
        """Take files whether or not they were; one of the same bytes brings nothing."""
        found = [one for one in given.names() if first <= one <= (last or first)]
        if not found:
            raise UsageError(f"{name} has nothing from {first} to {last or first}.")
        known = taking.known(found)
        for file in found:
            yield self._counted(name, file, taking.take(file, known.get(file)))

    def _counted(self, name: str, file: str, taken: TakenFile | None) -> SyncedFile:
        if taken is None:
            return SyncedFile(file, BEING_WRITTEN)
        if taken.appended is not None:
            self._count(name, taken.appended)
        return SyncedFile(file, taken.progress.state, taken.progress.why, taken.appended)

    def _sync(self, name: str, given: PulledSource, taking: FileTaking) -> Iterator[SyncedFile]:
        """Look again until nothing is new: a table gives its rows by the stretch."""
        has_new = True
        while has_new:
            has_new = False
            names = given.names()
            known = taking.known(names)
            for file in names:
                if file in known and taking.is_over(file, known[file]):
                    continue
                taken = taking.take(file, known.get(file)) if given.is_complete(file) else None
                found = self._counted(name, file, taken)
                yield found
                if found.state == BEING_WRITTEN:
                    return
                has_new = has_new or found.appended is not None

    def _count(self, name: str, report: IngestReport) -> None:
        counts = self._files.counts(name)
        for one in (report.events, report.labels):
            counts.appended += one.appended
            counts.duplicates += one.duplicates
            counts.quarantined += one.quarantined
        counts.skipped["rows of no event type"] = counts.skipped.get("rows of no event type", 0) + report.untaken
        counts.received_ms = self._opened.now_ms()
        self._files.keep_counts(name, counts)


class _Reader:
    """The lines of a file of one source."""

    def __init__(self, opened: Opened, name: str) -> None:
        self._opened, self._name = opened, name

    @contextmanager
    def __call__(self, name: str, path: Path, *, is_look: bool = False) -> Iterator[Iterator[Submission]]:
        intake = intake_of(self._opened, keeps_hashes=False)
        with read_lines(path) as lines:
            yield intake.submissions(lines, f"{PULLED}/{self._name}/{name}")
