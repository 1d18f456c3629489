"""Summaries of an opened project: its log is followed, and the rows of windows are written to tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from shroff.errors import TransientError, UsageError
from shroff.json_types import JsonMapping
from shroff.plugins.events import time_text
from shroff.plugins.operations import JobKind, JobParams, Name, unheard
from shroff.plugins.project import PROJECT_FILE, filled, read_files
from shroff_plugins.analytics.summaries.settings import INGEST_TIME, SUMMARIES_KEY, SummarySettings

if TYPE_CHECKING:
    from shroff.plugins.operations import JobRun, Progress
    from shroff.plugins.project import Finding, Moment, Project, ProjectContext, Try
    from shroff_plugins.analytics.summaries.summary_tables import SqlSummaries
    from shroff_plugins.analytics.summaries.summary_writer import Built, CountedWindows, SummaryWriter

EXAMPLE = "summaries: { url: sqlite:///summaries.db, columns: { card_type: card_type } }"
BEHIND = 2  # windows that doctor tolerates
AGAIN_S = 5.0  # until an unavailable system is tried again


class Summaries:
    """Five-minute summaries of a project."""

    def __init__(self, context: ProjectContext) -> None:
        self._context = context
        self._counted: CountedWindows | None = None

    @property
    def settings(self) -> SummarySettings:
        """The project's settings of summaries. Raises: UsageError if there are none."""
        if (declared := self.declared) is None:
            raise UsageError(f"this project has no summaries. Add them to {PROJECT_FILE}, as in '{EXAMPLE}'.")
        return declared

    @property
    def declared(self) -> SummarySettings | None:
        definitions = self._context.definitions  # reports their mistakes
        text = read_files(self._context.paths.folder, [], (PROJECT_FILE,)).get(PROJECT_FILE, "")
        settings: SummarySettings | None = SUMMARIES_KEY.content(text, definitions)
        return settings

    def build(self, first: Moment | None = None, last: Moment | None = None, progress: Progress | None = None) -> Built:
        """Write the rows of all windows that begin in [first, last), from the current log.

        Args:
            first: A time in the first window; by default that of the first event.
            last: The end; by default the last complete window. Windows that have not begun are not written.

        Raises: UsageError if there is no log, for too many windows, or for tables of other settings; TransientError if
        the database is not available.
        """
        from shroff.plugins.project import moment_ms

        first_ms = moment_ms(first, "--from")
        last_ms = moment_ms(last, "--to")
        with self._writer() as writer, self._context.log.reading() as log:
            return writer.build(log, first_ms, last_ms, progress)

    def run(
        self,
        first: Moment | None = None,
        last: Moment | None = None,
        progress: Progress | None = None,
        *,
        say: Callable[[str], None] = unheard,
        wait: Callable[[float], None] = time.sleep,
    ) -> Iterator[Built]:
        """Write each window once it is complete, and correct windows with later events or labels; yield after each
        round.

        Args:
            first: The first window, if none was written yet; by default that of the first event.
            last: Stop after the windows before this time; by default never.
            say: Called with what is not available, such as the database, which is then tried again.
            wait: Waits for a number of seconds.
        """
        from shroff.plugins.project import moment_ms

        first_ms = moment_ms(first, "--from")
        last_ms = moment_ms(last, "--to")
        settings = self.settings
        with self._writer() as writer:
            while not self._context.log.exists():
                if last_ms is not None and writer.complete_ms() >= last_ms:
                    break  # reading the log below reports that there is none
                say(f"no event yet; looking again in {AGAIN_S:.0f} s")
                wait(AGAIN_S)
            while True:
                complete_ms = writer.complete_ms()
                try:
                    with self._context.log.reading() as log:
                        built = writer.advance(
                            log, first_ms, complete_ms if last_ms is None else min(complete_ms, last_ms), progress
                        )
                except TransientError as error:
                    say(f"{error}; trying again in {AGAIN_S:.0f} s")
                    wait(AGAIN_S)
                    continue
                yield built
                if last_ms is not None and complete_ms >= last_ms:
                    return
                due_ms = complete_ms + settings.every_ms + settings.delay_ms
                wait(max(due_ms - self._context.now_ms(), 0) / 1_000)

    def tries(self) -> Iterator[Try]:
        from shroff.plugins.project import Try

        if self.declared is not None:
            yield Try("summaries", self.finding)

    def values(self) -> Mapping[str, float | None]:
        return {"shroff_unreconciled_summary_events": self.unreconciled()}

    def finding(self) -> Finding:
        """Return the progress of `run`, for `doctor`. Raises: as `build`."""
        from shroff.plugins.project import NOTE, OK, WRONG, Finding
        from shroff_plugins.analytics.summaries.summaries import window_of

        settings = self.settings
        with closing(open_summaries(self._context, settings)) as store:
            progress = store.followed()
            is_built = progress is not None and store.has_rows()
        if progress is None or progress.next_ms is None:
            state = "built, without those to come" if is_built else "not there yet"
            return Finding("summaries", OK, f"{state}; 'shroff summaries run' writes them")
        if not is_built and self._context.log.exists():
            state = (
                f"written up to {time_text(progress.next_ms)}, and {settings.table} has no row: somebody removed them"
            )
            return Finding("summaries", WRONG, state, "'shroff summaries build' writes them again.")
        due_ms = window_of(self._context.now_ms() - settings.delay_ms, settings.every_ms)
        behind = max(due_ms - progress.next_ms, 0) // settings.every_ms
        state = f"written up to {time_text(progress.next_ms)}"
        if behind <= BEHIND:
            return Finding("summaries", OK, state)
        hint = "Start 'shroff summaries run' again: it writes those first, in order."
        return Finding("summaries", NOTE, f"{state}, {behind:,} windows behind", hint)

    def unreconciled(self) -> int | None:
        """Count the events by which the summaries of the last day differ from the log; None without written windows.

        The first call checks only the last windows (by event time none); later calls add new ones. Raises: as `build`.
        """
        from shroff_plugins.analytics.summaries.summary_writer import (
            FIRST_WINDOWS,
            CountedByEventTime,
            CountedByIngestTime,
        )

        settings = self.declared
        if settings is None:
            return None
        with closing(open_summaries(self._context, settings)) as store, self._context.log.reading() as log:
            progress = store.followed()
            if progress is None or progress.next_ms is None:
                return None
            if self._counted is None or self._counted.settings != settings:
                if settings.by == INGEST_TIME:
                    last = range(
                        progress.next_ms - FIRST_WINDOWS * settings.every_ms, progress.next_ms, settings.every_ms
                    )
                    self._counted = CountedByIngestTime(
                        settings, min(store.counts(last), default=progress.next_ms), log
                    )
                else:
                    self._counted = CountedByEventTime(settings, log, self._context.definitions)
            starts = self._counted.starts(progress.next_ms)
            return self._counted.difference(log, starts, store.counts(starts), progress.position)

    @contextmanager
    def _writer(self) -> Iterator[SummaryWriter]:
        from shroff_plugins.analytics.summaries.summary_writer import SummaryWriter

        settings = self.settings
        with closing(open_summaries(self._context, settings)) as store:
            decimals = self._context.definitions.settings.money_places
            yield SummaryWriter(settings, store, decimals, self._context.now_ms)


def open_summaries(context: ProjectContext, settings: SummarySettings) -> SqlSummaries:
    """Open the tables of summaries. Raises: UsageError if there is no such database, or its library is missing."""
    from shroff.plugins.databases import SQL
    from shroff_plugins.analytics.summaries.summary_tables import SqlSummaries

    project = context.definitions.settings
    placed = SQL.placed({"url": filled(settings.url, "summaries")}, context.paths.folder)
    return SqlSummaries(placed["url"], settings, (project.currency, project.money_places), context.now_ms)


# ---- as a job


class SummariesParams(JobParams, frozen=True, rename={"start": "from", "end": "to"}):
    """Write the summaries of windows that begin in [from, to); by default of all complete windows."""

    start: Name | None = None
    end: Name | None = None


def run_summary_job(project: Project, params: SummariesParams, run: JobRun) -> JsonMapping:
    progress = run.counting("summarizing windows")
    return Summaries(project.context).build(params.start, params.end, progress)._asdict()


SUMMARIES = JobKind("summaries", SummariesParams, f"{__name__}:run_summary_job", "Build summaries")
