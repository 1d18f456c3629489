"""Checks of `doctor`: the project's files, its log, and each outside system."""

from __future__ import annotations

from contextlib import closing, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING

from shroff.errors import Problem, ShroffError, StorageError, TransientError, UsageError, os_words
from shroff.events.event import time_text
from shroff.json_types import TextMapping
from shroff.language.values import DAY_MS, HOUR_MS, named_duration, show_duration
from shroff.project.definitions import Definitions
from shroff.runtime.entry_points import CHECKS, installed
from shroff.runtime.texts import many
from shroff.runtime.values import replace
from shroff.services.adapter_factory import AdapterFactory
from shroff.services.backups.retention import finding
from shroff.services.drift.records import DriftRecords
from shroff.services.jobs.project_jobs import failing_schedules
from shroff.services.lake.project_lake import Lakes
from shroff.services.notices.files import NoticeFiles, SentLetters
from shroff.services.notices.views import NoticeViews, notice_systems
from shroff.services.parts import ProjectPart
from shroff.services.project_files import FileVersions, check
from shroff.services.project_log import KEY_CURE
from shroff.services.sinks.delivery import Sinks
from shroff.services.sinks.routes import OnlineFeatures, sink_systems
from shroff.services.sources.position_operations import SourceParts
from shroff.services.sources.pulled import PulledSources
from shroff.services.sources.pushed import PushedSources
from shroff.services.system_names import variables_not_set
from shroff.streams.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from shroff.monitoring.doctor import EarlierFindings, Finding, Findings
    from shroff.monitoring.doctor_systems import Try
    from shroff.monitoring.drift_report import DriftReport
    from shroff.project.definitions import Definitions
    from shroff.project.settings.system import System
    from shroff.project.settings.systems import Systems
    from shroff.replay.notebook import Moment
    from shroff.streams.log import Log
    from shroff.worker.outbox import Deliveries, SinkState

LAKE_LATE_MS = HOUR_MS  # longest normal delay of records before the lake
NO_DRIFT = "Until then no drift is recorded."
TARGET_GONE = "its table or collection does not exist"
TARGET_COMES = "The next delivery makes it, and writes all rows of the log into it."
ROWS_COME = (
    "If nobody removed them on purpose: drop the table or collection. The next delivery makes it again, and writes all "
    "rows that the log still has into it."
)
RUN_AGAIN = "Fix the cause, then 'shroff jobs run --schedule NAME', or wait for its next run."


class HealthChecks(ProjectPart):
    """Health checks of a project."""

    _sinks: Sinks
    _pushed: PushedSources
    _pulled: PulledSources
    _online: OnlineFeatures
    _source: SourceParts
    _lake: Lakes
    _letters: SentLetters
    _notice_files: NoticeFiles
    _notices: NoticeViews
    _outside: AdapterFactory
    _drift: DriftRecords

    def leaving(self, lake: Sequence[SinkState] | None = None) -> Deliveries:
        """Get the state of all outgoing deliveries that can be read: sinks, notices and the lake, worst first.

        Args:
            lake: State of the lake as read before; without it, the lake is contacted.

        Raises: UsageError if there is no log yet.
        """
        from shroff.worker.outbox import leaving

        lake = self._lake_states() if lake is None else lake
        return leaving([*self._sinks.states(), *self._notices.states(), *lake])

    def _lake_states(self) -> list[SinkState]:
        from shroff.lake.reader import NoLakeError
        from shroff.streams.sink_cursor import Trouble
        from shroff.worker.outbox import LAKE, SinkState

        if self._systems.lake is None:
            return []
        with self._log.reading() as log:
            last = log.last_seq()
        try:
            with self._lake.reader() as lake:
                through, trouble = lake.last_seq, None
        except NoLakeError:  # nothing was written yet; `doctor` reports records that wait for long
            through, trouble = 0, None
        except ShroffError as error:
            through, trouble = 0, Trouble(str(error), self._now_ms())
        kind = self._systems.lake.text("layout", "parquet")
        return [SinkState(LAKE, kind, "log", through, max(last - through, 0), trouble, 0)]

    def bug_report(self, findings: Findings, file: Path) -> list[str]:
        """Write a bug report with these findings to a file; return its parts. See `bug_report.write_bug_report`."""
        from shroff.monitoring.bug_report import write_bug_report

        def log() -> AbstractContextManager[Log | None]:
            return self._log.reading() if self._log.exists() else nullcontext()

        return write_bug_report(self._paths, log, findings, file)

    def doctor(self, seen: EarlierFindings | None = None) -> Findings:
        """Run all checks of `doctor`. Something that cannot be read is a finding, not an error.

        Contacts each external system once, for at most 5 seconds. Changes nothing there.

        Args:
            seen: Results of earlier checks in this process, which are reused and extended.
        """
        from shroff.monitoring.doctor import WRONG, EarlierFindings, ExaminedProject, Finding, Findings, look, told

        seen = EarlierFindings() if seen is None else seen
        from shroff.monitoring.doctor_systems import (
            LIMIT_S,
            asked,
            look_at_pushed,
            look_at_variables,
            look_at_watched,
            look_at_write_ahead,
            within,
        )
        from shroff.monitoring.drift_record import findings
        from shroff.monitoring.live_order import look_at_keys, look_at_order

        systems, is_there, away, lost = self._systems, False, "", ""
        try:
            is_there = within(LIMIT_S, self._log.exists, "the store")
            lost = self._log.lost_key() if is_there else ""
        except (ShroffError, OSError) as error:
            is_there, away = False, os_words(error)
        unread = list[Finding]()
        try:
            report = check(self._context, with_log=is_there)
            definitions, errors, warnings = report.definitions, report.errors, report.warnings
        except (StorageError, OSError) as error:
            definitions, errors, warnings = None, (), ()  # lists of hashed values are unreadable without the key
            unread = [] if lost else [Finding("project", WRONG, os_words(error))]

        project = ExaminedProject(
            self._paths,
            definitions,
            errors,
            is_there,
            away,
            self._log.reading,
            self._now_ms(),
            {} if away else self._routed(),
            FileVersions(self._context).unapplied_in,
            (lost, f"{KEY_CURE}.") if lost else (),
        )
        all_findings = unread + look(project, seen)
        tried = asked(self._tries(can_read=definitions is not None and not errors, has_log=is_there), LIMIT_S)
        all_findings = _joined(all_findings, tried)
        states = {finding.subject: finding.state for finding in all_findings}
        if is_there and definitions is not None and not errors:
            all_findings += told("mail", lambda: [self._letters.look_at_mail()])
            if states.get("log") != WRONG:
                with self._log.reading() as log:
                    all_findings += look_at_order(log, definitions, _widest(systems))
                    all_findings += look_at_keys(log, definitions)
        all_findings += told("write-ahead", lambda: look_at_write_ahead(self._paths.log))
        if systems.backup is not None:
            all_findings += told("backup", lambda: [finding(self._context)])
        all_findings += self._look_at_schedules() if is_there else []
        all_findings += told("sources", lambda: look_at_pushed(systems.sources, [*self._pushed.troubles()]))
        if not away:
            all_findings += told("watched files", lambda: look_at_watched([*self._pulled.watched_files()]))
            all_findings += _settings_findings(warnings, self._context.loaded.files or {}, systems)
        all_findings += look_at_variables(systems)
        all_findings += told("drift", lambda: findings(self._drift.read()), NO_DRIFT) if is_there else []
        return Findings(all_findings)

    def failing_checks(self, seen: EarlierFindings) -> dict[str, bool]:
        """Check outside systems, variables, schedules and the clock as `doctor` does; return which are wrong.

        For metrics: it reads few rows. Raises: ShroffError if the log or its store cannot be read.
        """
        from shroff.monitoring.doctor import WRONG, look_at_clock
        from shroff.monitoring.doctor_systems import LIMIT_S, asked, look_at_pushed, look_at_variables, within

        has_log = within(LIMIT_S, self._log.exists, "the store")
        can_read = True
        try:
            _ = self._definitions, self._notice_files.declared
        except ShroffError:  # `check` reports it; run the checks that need no project file
            can_read = False
        findings = asked(self._tries(can_read=can_read, has_log=has_log), LIMIT_S)
        if has_log:
            findings += self._look_at_schedules()
            with self._log.reading() as log:
                findings.append(look_at_clock(log, self._now_ms(), seen))
        findings += look_at_pushed(self._systems.sources, [*self._pushed.troubles()])
        findings += look_at_variables(self._systems)
        findings += _settings_findings([], self._context.loaded.files or {}, self._systems)
        wrong = {finding.subject for finding in findings if finding.state == WRONG}
        return {finding.subject: finding.subject in wrong for finding in findings}

    def _look_at_schedules(self) -> list[Finding]:
        from shroff.monitoring.doctor import WRONG, Finding
        from shroff.services.experiments.guards import guard_troubles

        failing = failing_schedules(self._context)
        findings = [Finding(f"schedule {name}", WRONG, words, RUN_AGAIN) for name, words in failing]
        troubles = guard_troubles(self._context)
        return findings + [Finding(name, WRONG, words, "See 'shroff guards'.") for name, words, _ in troubles]

    def _routed(self) -> dict[str, System]:
        """Return the systems that receive decisions; those of notices only if the project's files can be read."""
        routed = sink_systems(self._systems)
        with suppress(ShroffError):  # another check reports it
            routed |= notice_systems(self._notice_files.declared)
        return routed

    def _look_at_sign_in(self) -> Finding:
        from shroff.monitoring.doctor import OK, Finding

        provider = self._outside.open_provider()
        assert provider is not None
        provider.address(redirect_uri="https://localhost/", state="doctor", nonce="doctor", challenge="doctor")
        return Finding("sign-in", OK, f"{provider.issuer} answers")

    def _tries(self, *, can_read: bool, has_log: bool) -> list[Try]:
        """Leave out systems whose settings read a variable that is not set."""
        from shroff.monitoring.doctor_systems import Try, is_set

        systems, tries = self._systems, list[Try]()
        online, read = systems.online, systems.named_read
        for _, source in systems.all_read:
            name = next((name for name, candidate in read.items() if candidate is source), "")
            if is_set(source) and can_read:
                look = partial(self._look_at_source, name, source, has_log=has_log)
                tries.append(Try(f"source {name}".strip(), look))
            if is_set(source) and source.registry:
                tries.append(Try("registry", partial(self._look_at_registry, source)))
        for name, named in systems.pulled.items():
            if is_set(named.system):
                tries.append(Try(f"source {name}", partial(self._pulled.look_at, name)))
        snapshots = systems.snapshots
        has_mail = can_read and not systems.mails_are_files and self._notice_files.declared
        tries += [
            Try(name, ask)
            for name, system, is_due, ask in (
                ("lake", systems.lake, True, partial(self._look_at_lake, has_log=has_log)),
                ("mail server", systems.mailer, has_mail, self._letters.look_at_server),
                ("copies of snapshots", snapshots, snapshots.text("to"), self._look_at_copies),
                ("sign-in", systems.sign_in, True, self._look_at_sign_in),
            )
            if system is not None and is_due and is_set(system)
        ]
        if can_read:
            tries += [look for checks in installed(CHECKS).values() for look in checks(self._context).tries()]
        tries += [
            Try(f"sink {name}", self._sink_try(name, sink)) for name, sink in systems.sinks.items() if is_set(sink)
        ]
        if online is not None and is_set(online):
            tries.append(Try("online", self._online.look))
        return tries

    def _reach(self, subject: str, system: System) -> Finding:
        from shroff.monitoring.doctor import OK, Finding
        from shroff.monitoring.doctor_systems import LIMIT_S

        named = self._outside.reach(system, LIMIT_S)
        return Finding(subject, OK, f"{named} accepts connections")

    def _look_at_source(self, name: str, system: System, *, has_log: bool) -> Finding:
        from shroff.log.read_positions import known
        from shroff.monitoring.doctor_systems import source_finding

        if name:
            finding = source_finding(system.kind, self._source.look(name, system))
            return replace(finding, subject=f"source {name}")
        with closing(self._outside.open_source(system)) as source:
            offsets = {}
            if has_log:
                with self._log.reading() as log:
                    offsets = known(log.offsets.of(source.name))
            return source_finding(system.kind, source.look(offsets))

    def _look_at_registry(self, system: System) -> Finding:
        from shroff.monitoring.doctor import OK, Finding

        with closing(self._outside.open_registry(system)) as registry:
            registry.schema(1)
            return Finding("registry", OK, f"{registry.address} answers")

    def _look_at_lake(self, *, has_log: bool) -> Finding:
        from shroff.monitoring.doctor import NOTE, WRONG, Finding

        finding = self._lake.look(self._lake.pruned() if has_log else 0)
        if not has_log or finding.state == WRONG:
            return finding
        (state,) = self._lake_states()
        through, now_ms = state.through or 0, self._now_ms()
        with self._log.reading() as log:
            age_ms = now_ms - (next((at_ms for _, at_ms in log.ingested(through, through + 1)), None) or now_ms)
        if age_ms < LAKE_LATE_MS:
            return finding
        words = f"{many(state.lag, 'record is', 'records are')} not in it"
        words += f", the oldest for {show_duration(age_ms // 1_000 * 1_000)}"
        cure = f"{finding.cure} 'shroff serve' and 'shroff run' write it while they run, 'shroff lake write' once."
        return Finding("lake", WRONG if age_ms > DAY_MS else NOTE, f"{finding.words}; {words}", cure.strip())

    def _look_at_copies(self) -> Finding:
        from shroff.monitoring.doctor import OK, Finding

        with self._lake.objects_at(self._systems.snapshots.options) as objects:
            count = sum(1 for _ in objects.list())
            return Finding("copies of snapshots", OK, f"{objects.address} answers: {count:,} objects")

    def _sink_try(self, name: str, system: System) -> Callable[[], Finding]:
        from shroff.monitoring.doctor import NOTE, OK, WRONG, Finding
        from shroff.monitoring.doctor_systems import DeliveredSample, delivered_sample, lost_words
        from shroff.streams.settings import CONSUMED
        from shroff.streams.sink import KeepingSink, MakingSink, PreparedSink
        from shroff.streams.sink_cursor import BEGAN, source_of, through_of

        sample, has_rows, why_not = DeliveredSample([], []), False, ""
        if self._log.exists():
            with self._log.reading() as log:
                offsets = log.offsets.of(source_of(name))
                has_rows = bool(through_of(name, offsets))
                if system.text("rows") == CONSUMED:
                    why_not = f"its receiver removes rows (rows: {CONSUMED})"
                elif system.starts_now and has_rows and BEGAN not in offsets:
                    why_not = "it began with new rows (start: now), and an earlier version did not record where"
                else:
                    take, outcomes = system.text("take", "decisions"), system.options.get("outcomes", ())
                    sample = delivered_sample(log, name, take, outcomes, self._now_ms())
        subject, url = f"sink {name}", system.text("url")

        def ask() -> Finding:
            reached = None
            if url and not url.startswith("sqlite:"):
                reached = self._reach(subject, system)
            with closing(self._outside.open_sink(name, system)) as sink:
                if isinstance(sink, MakingSink) and has_rows and sink.is_missing():
                    was_there = bool(sample.recent or sample.older)
                    words = "it was dropped" if was_there else "no row was sent to it yet, or it was dropped"
                    state = WRONG if was_there else NOTE
                    return Finding(subject, state, f"{TARGET_GONE}: {words}", TARGET_COMES)
                if isinstance(sink, PreparedSink):
                    sink.prepare(None)
                    reached = Finding(subject, OK, "answers, and has what it needs")
                if isinstance(sink, KeepingSink):
                    is_lost, words = lost_words(sink, sample)
                    if words:
                        return Finding(subject, WRONG if is_lost else NOTE, words, ROWS_COME)
                    if why_not:
                        return Finding(subject, OK, f"answers; delivered rows are not compared, because {why_not}")
            return reached or Finding(subject, OK, "opens with these settings; its state cannot be queried")

        return ask

    def drift(
        self,
        event: str | None = None,
        *,
        reference: str = "model",
        recent: str = "7d",
        as_of: Moment | None = None,
        reading: Callable[[int], None] | None = None,
    ) -> DriftReport:
        """Measure drift of the champion's inputs, its score and the label delay, and record it for `doctor`.

        Args: as `shroff drift` has them.

        Raises: UsageError if one of the periods has no events.
        """
        from shroff.monitoring.drift_report import MODEL, ComparedPeriods, look_for_drift
        from shroff.replay.notebook import moment_ms
        from shroff.training.sets.sources import log_source

        definitions = self._definitions
        name = _event_of(definitions, event)
        lengths = (
            (None if reference == MODEL else named_duration("reference", reference, is_positive=True)),
            named_duration("recent", recent, is_positive=True),
        )
        with self._log.reading() as log:
            as_of_ms, newest_ms = moment_ms(as_of), log.watermark_ms()
            if newest_ms is None:
                raise UsageError("the log has no events yet, so there is no drift to measure.")
            report = look_for_drift(
                definitions,
                log_source(log, definitions, name),
                name,
                self._registry.read,
                as_of_ms=newest_ms if as_of_ms is None else as_of_ms,
                compared=ComparedPeriods(*lengths, to_newest=as_of_ms is None),
                reading=reading,
            )
        try:
            self._drift.add(report, time_text(self._now_ms()), newest_ms)
        except (StorageError, TransientError) as error:
            self._context.warnings.append(f"the result is not stored: {error}")
        return report


def _settings_findings(warnings: Sequence[Problem], files: TextMapping, systems: Systems) -> list[Finding]:
    from shroff.monitoring.doctor import WRONG, Finding
    from shroff.monitoring.doctor_systems import unset_variables

    variables = variables_not_set(files)
    idle = [f"{problem}" for problem in warnings if problem.file.startswith("notices/")]
    idle = [words for words in idle if words not in {f"{problem}" for problem in variables.values()}]
    findings = [Finding("notices", WRONG, "; ".join(idle), "'shroff check' shows each line.")] if idle else []
    of_systems = unset_variables(systems)
    others = [problem for name, problem in variables.items() if name not in of_systems]
    return [*findings, *(Finding("variables", WRONG, f"{problem}", problem.hint) for problem in others)]


def _joined(found: Sequence[Finding], tried: Sequence[Finding]) -> list[Finding]:
    """Merge findings from stored state with those of the systems; the worse one for each subject stays."""
    from shroff.monitoring.doctor import OK, WRONG

    stored = {finding.subject: finding.state for finding in found}
    news = {
        finding.subject
        for finding in tried
        if finding.subject in stored and finding.state != OK and stored[finding.subject] != WRONG
    }
    remaining = [finding for finding in found if finding.subject not in news or finding.state != OK]
    return remaining + [finding for finding in tried if finding.subject in news or finding.subject not in stored]


def _widest(systems: Systems) -> System | None:
    """Return the source whose messages may be out of order by most."""
    from shroff.monitoring.live_order import bound_ms

    return max((system for _, system in systems.all_read), key=bound_ms, default=None)


def _event_of(definitions: Definitions, event: str | None) -> str:
    if event is not None:
        return event
    event_types = sorted({*definitions.scoring, *definitions.models}) or list(definitions.events.decided)
    if len(event_types) == 1:
        return event_types[0]
    raise UsageError(
        f"name an event type with --as: {', '.join(event_types)}." if event_types else "no event type is decided."
    )
