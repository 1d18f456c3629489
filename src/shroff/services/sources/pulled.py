"""Pulled sources: the new data of each is appended to the log, completely and once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from shroff.errors import UsageError
from shroff.events.formats.encodings import read_lines
from shroff.events.formats.lines import Line, Lines
from shroff.events.formats.sorting import in_order_of_arrival
from shroff.json_types import JsonMapping
from shroff.runtime.entry_points import load_entry
from shroff.runtime.progress import Tell, unheard
from shroff.runtime.state_folder import lock_file
from shroff.runtime.values import FrozenStruct, replace
from shroff.services.project_files import intake_of
from shroff.services.sources.archives import KeptArchives
from shroff.services.sources.file_sync import FileTaking, TakingRules
from shroff.services.sources.pulled_files import CHANGING, DONE, PulledFiles
from shroff.services.sources.pushed import known_source
from shroff.streams.pull import NotKeptError, PulledSource, PullPlace

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from shroff.events.intake import Submission
    from shroff.monitoring.doctor import Finding
    from shroff.services.context import ProjectContext
    from shroff.services.sources.file_sync import TakenFile
    from shroff.worker.ingest import IngestReport

LOCK = "sync.lock"
SYNCING = "another process already syncs a source of this project"
BEING_WRITTEN = "still being written"
NOT_KEPT = "not kept"


class SyncedFile(FrozenStruct):
    """Result of one file.

    Args:
        state: DONE, ASIDE, BEING_WRITTEN, CHANGING or NOT_KEPT; `why` is the reason if it is set aside or had
            nothing new.
        appended: Rows appended now; None if that was before.
        suspicious: Reason if more of its lines are bad than allowed.
    """

    name: str
    state: str
    why: str = ""
    appended: IngestReport | None = None
    suspicious: str = ""


class PulledSources(PulledFiles):
    """Pulled sources of a project."""

    def look_at(self, name: str) -> Finding:
        """Check that a source can be reached and that no files are set aside.

        Raises: as `opened` and `names`; UsageError if files were left out.
        """
        from shroff.monitoring.doctor import OK, WRONG, Finding

        with closing(self.opened(name)) as source:
            source.names()
            if source.remark:
                raise UsageError(source.remark)
        for of, words, _ in self.troubles():
            if of == name:
                return Finding(f"source {name}", WRONG, words, "'shroff sources check' shows all.")
        return Finding(f"source {name}", OK, "reachable; no file was skipped")

    def opened(self, name: str) -> PulledSource:
        """Open the adapter of a source. Raises: UsageError if there is none, or it cannot be opened."""
        system = known_source(name, self._systems.pulled, "pulled").system
        options = self._systems.settled("pull", system, self._paths.folder)
        adapter: PulledSource = load_entry(f"pull.{system.kind}")(options, self._place(name))
        return adapter

    def at(self, address: str, options: JsonMapping) -> PulledSource:
        """Open the files at a location that is not a source of shroff.yaml. Raises: UsageError if nothing is there."""
        adapter: PulledSource = load_entry("pull.files")({**options, "from": address}, self._place(""))
        return adapter

    def _place(self, name: str) -> PullPlace:
        context = self._context
        folder = context.paths.downloads / name if name else context.paths.downloads
        definitions = context.loaded.definitions  # a source can be checked in a project with errors, too
        types = () if definitions is None else (definitions.events.label, *definitions.events.types.values())
        has_csv = any("csv" in type_.mappings for type_ in types)
        known = partial(self.known, name)
        return PullPlace(name, folder, context.now_ms, known, KeptArchives(context, name), has_csv)

    def sync(
        self,
        name: str,
        *,
        first: str = "",
        last: str = "",
        from_backup: bool = False,
        decide: bool = True,
        say: Tell = unheard,
    ) -> Iterator[SyncedFile]:
        """Append the new data of a source, file by file, in order.

        A file that is still being written, or changes while it is read, delays those after it until the next sync.

        Args:
            first: Only the files named `first` to `last`, such as the days of an export, also if they were read before;
                new lines are appended.
            from_backup: Read these files from their stored downloads, without a request.

        Raises: UsageError if there is no such source or file; TransientError if it cannot be reached; LogBusyError
            while another process syncs a source of this project.
        """
        with lock_file(self._paths.state / LOCK, SYNCING), closing(self.opened(name)) as source:
            given = _DownloadedFiles(source) if from_backup else source
            rules = TakingRules(DONE, needs_lines=False, takes_changed=True, takes_same=from_backup)
            taking = FileTaking(self._context, given, SourceReader(self._context, source), say, rules, decide=decide)
            yield from self._sync(name, given, taking) if not first else self._again(name, given, taking, first, last)

    def _again(
        self, name: str, source: PulledSource, taking: FileTaking, first: str, last: str
    ) -> Iterator[SyncedFile]:
        files = [file for file in source.names() if first <= file <= (last or first)]
        if not files:
            raise UsageError(f"{name} has nothing from {first} to {last or first}.")
        known, missing = taking.known(), list[NotKeptError]()
        for file in files:
            try:
                yield self._counted(name, file, taking.take(file, known.get(file)), taking.changing)
            except NotKeptError as error:
                missing.append(error)
                if len(files) > 1:
                    yield SyncedFile(file, NOT_KEPT, str(error))
        if len(missing) == len(files):
            raise missing[0]

    def _counted(self, name: str, file: str, appended: TakenFile | None, changing: str) -> SyncedFile:
        if appended is None:
            return SyncedFile(file, CHANGING if file == changing else BEING_WRITTEN)
        if appended.appended is not None:
            self._count(name, appended.appended)
        of = appended.progress
        return SyncedFile(file, of.state, of.why, appended.appended, of.suspicious)

    def _sync(self, name: str, source: PulledSource, taking: FileTaking) -> Iterator[SyncedFile]:
        """Repeat until nothing is new: a table returns its rows in chunks."""
        has_new = True
        while has_new:
            has_new = False
            names = source.names()
            if source.remark:
                taking.tell(source.remark)
            progress_by_name = taking.known()
            for file in names:
                if file in progress_by_name and taking.is_over(file, progress_by_name[file]):
                    continue
                appended = taking.take(file, progress_by_name.get(file)) if source.is_complete(file) else None
                result = self._counted(name, file, appended, taking.changing)
                yield result
                if appended is None:
                    return
                has_new = has_new or result.appended is not None

    def _count(self, name: str, report: IngestReport) -> None:
        counts = self._counts.counts(name)
        for counted in (report.events, report.labels):
            counts.appended += counted.appended
            counts.duplicates += counted.duplicates
            counts.quarantined += counted.quarantined
        counts.add(counts.skipped, "rows of no event type", report.untaken)
        counts.received_ms = self._now_ms()
        self._counts.keep_counts(name, counts)


class _DownloadedFiles(PulledSource):
    """Stored downloads of a source."""

    def __init__(self, given: PulledSource) -> None:
        self._given, self.source, self.bad_max = given, given.source, given.bad_max

    def names(self) -> list[str]:
        return self._given.names()

    def opened(self, name: str) -> AbstractContextManager[Path]:
        return self._given.kept(name)

    def lost(self) -> str:
        return self._given.lost()


class SourceReader:
    """Reads the files of one source, by the mappings of its event types.

    With `row_id`, quarantine identifies a row by its value there, whichever file it came in.
    """

    def __init__(self, context: ProjectContext, source: PulledSource) -> None:
        self._context, self._source, self._row_id = context, source.source, source.row_id

    @contextmanager
    def __call__(self, name: str, path: Path, *, is_look: bool = False) -> Iterator[Iterator[Submission]]:
        intake, file = intake_of(self._context, keeps_hashes=False), f"{self._source}/{name}"
        with read_lines(path, tell=self._context.warnings.once) as lines:
            if not self._row_id:
                yield in_order_of_arrival(intake.submissions(lines, file), intake.events, lines.format)
                return
            intake.lay_out(lines, file)
            placed = Lines(lines.format, lines.columns, self._placed(lines), lines.close, separator=lines.separator)
            placed.tell, placed.again = lines.tell, lines.again
            submissions = in_order_of_arrival(intake.submissions(placed, file), intake.events, lines.format)
            yield (replace(submission, source=self._source) for submission in submissions)

    def _placed(self, lines: Lines) -> Iterator[Line]:
        for line in lines:
            columns = line.columns or {}
            with suppress(ValueError, RecursionError):  # text that is not UTF-8 may be in another column
                columns = columns or json.loads(line.raw.decode("utf-8", "replace"))
            line.where = str(columns.get(self._row_id, ""))
            yield line
