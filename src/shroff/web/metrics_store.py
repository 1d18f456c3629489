"""Metrics of the store, the project's files and this machine; read at most every 15 seconds."""

from __future__ import annotations

import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING

from msgspec import Struct, field

from shroff.errors import ShroffError
from shroff.events.validation import latest_ms
from shroff.features.batch.remarks import UNRATED
from shroff.language.values import parse_time
from shroff.models.in_force import FILE, InForce, read_in_force
from shroff.monitoring.doctor_systems import write_ahead_bytes
from shroff.runtime.state_folder import STATE_FOLDER
from shroff.runtime.values import Fresh
from shroff.services.backups.creation import read_note
from shroff.services.drift.records import DriftRecords
from shroff.web.metric_families import Family, gauge, gauges

if TYPE_CHECKING:
    from shroff.services.project import Project
    from shroff.services.results.outcome_rates import SchemeRatio
    from shroff.worker.outbox import SinkState

SCHEMES_MAX = 20
FRESH_S = 15.0  # age at which values from the store are read again
PLAIN = dict(  # meanings by name, of metrics without labels
    line.split(" ", 1)
    for line in """\
shroff_quarantine_entries Entries in quarantine.
shroff_labels_waiting Labels whose event has not arrived.
shroff_outbox_rows Messages in the outbox that have not been sent.
shroff_stuck_rows Rows that a sink rejected, of all sinks (dead letters).
shroff_late_events Late events kept without a decision.
shroff_unrated_amounts Amounts in other currencies that are missing, since no rate was valid.
shroff_newest_event_age_seconds Time since the newest event, in event time.
shroff_watermark_beyond_clock_seconds How far the watermark lies after the latest time that an event may have now (the \
clock and `ahead`); above 0 all events are too late.
shroff_log_size_bytes Size of the log on disk.
shroff_log_write_ahead_bytes Size of the write-ahead log of a log in SQLite.
shroff_disk_free_bytes Free space on the disk of the state folder.
shroff_disk_size_bytes Size of that disk.
shroff_snapshot_age_seconds Time since the newest snapshot of the state.
shroff_backup_age_seconds Time since the newest backup that this machine made.
shroff_backup_missing_seconds Time since the start of a log in SQLite of which this machine made no backup.
shroff_unreconciled_summary_events Events by which the summaries of the last day differ from the log. From the 15 \
minutes before the start of the process on; with `by: event_time`, windows that began after all events of that start.
shroff_cases_open Cases to work on now: open or claimed, not snoozed or escalated.
shroff_cases_overdue Open or escalated cases that are overdue.
shroff_cases_escalated Escalated cases.
shroff_case_age_seconds Time since the first event of the oldest open case.
shroff_case_due_seconds Time until the next open case is due; below 0 when it is overdue.""".splitlines()
)


class StoreLook(Struct):
    """Values read at one time from the store, the project's files and this machine.

    `values` are those of `PLAIN`. `failed` tells of each part whether reading it failed, so that its values are
    missing. `files` has the seconds since each pulled source received something and the count of its skipped files
    (watched folders: only the count). `file_troubles` has source, message and time of each skipped file. `models`,
    `gates` and `drift` hold the age of each champion in seconds, the count of failed gates of the newest model, and per
    event type the largest PSI, the count of drifted inputs and the check's age in seconds. `checks` tells which fail.
    `schemes` are sorted by the distance from their limits.
    """

    values: dict[str, float | None] = {}
    failed: dict[str, bool] = {}
    deliveries: list[SinkState] = []
    files: dict[str, tuple[float | None, int]] = {}
    models: dict[tuple[str, str], float] = {}
    gates: dict[tuple[str, str], float] = {}
    drift: dict[str, tuple[float, int, float]] = {}
    checks: Mapping[str, bool] = {}
    schemes: list[SchemeRatio] = []
    at_s: float = field(default_factory=time.monotonic)
    file_troubles: list[tuple[str, str, int]] = []


class StoreMetrics:
    """Collector of log, deliveries, file sources, cases, models and drift.

    Only the first scrape waits for the store, unless `begin` was called before. A later one returns the cached values,
    and if they are older than 15 seconds, starts a thread that reads them again. A metric tells their age.
    """

    def __init__(self, look: Callable[[], StoreLook]) -> None:
        self._look = look
        self._kept = Fresh[StoreLook]()
        self._reading: Thread | None = None

    def begin(self) -> None:
        """Start a thread that reads the store, unless one is reading it."""
        if self._reading is None or not self._reading.is_alive():
            self._reading = Thread(target=self._kept.get, args=("", self._look, FRESH_S), name="metrics", daemon=True)
            self._reading.start()

    def _latest(self) -> StoreLook:
        look = self._kept.peek("", math.inf)
        if look is None:
            return self._kept.get("", self._look)
        if self._kept.peek("", FRESH_S) is None:
            self.begin()
        return look

    def collect(self) -> Iterator[Family]:
        look = self._latest()
        meaning = "Time since the store was read for these metrics."
        yield gauge("shroff_store_read_age_seconds", meaning, time.monotonic() - look.at_s)
        failed = {(part,): float(is_failed) for part, is_failed in look.failed.items()}
        yield gauges(
            "shroff_store_read_failed", "1 if a part of these metrics cannot be read now, by part.", ("part",), failed
        )
        for name, meaning in PLAIN.items():
            yield gauge(name, meaning, look.values.get(name))
        meaning = "1 if `shroff doctor` finds something wrong with this system, variable, schedule or clock, by check."
        failing = {(name,): float(is_failing) for name, is_failing in look.checks.items()}
        yield gauges("shroff_check_failing", meaning, ("check",), failing)
        yield from _of_deliveries(look.deliveries)
        meaning = "Time since a pulled source last brought events, by source."
        ages = {(name,): age_s for name, (age_s, _) in look.files.items() if age_s is not None}
        yield gauges("shroff_pull_age_seconds", meaning, ("source",), ages)
        meaning = "Files of a pulled source or a watched folder that are skipped, by source or folder."
        skipped = {(name,): float(count) for name, (_, count) in look.files.items()}
        yield gauges("shroff_pull_skipped_files", meaning, ("source",), skipped)
        meaning = "Time since the promotion of the champion, by event type and model."
        yield gauges("shroff_model_age_seconds", meaning, ("event", "model"), look.models)
        meaning = "Gates that the newest model failed and no promotion of it waived, by event type and model."
        yield gauges("shroff_model_failed_gates", meaning, ("event", "model"), look.gates)
        names = ("shroff_drift_psi_max", "shroff_drift_inputs", "shroff_drift_check_age_seconds")
        meanings = (
            "Largest population stability index (PSI) at the last drift check, by event type.",
            "Inputs, score and label delay that drifted at the last check, by event type.",
            "Time since the last drift check, by event type.",
        )
        for column, (name, meaning) in enumerate(zip(names, meanings, strict=True)):
            yield gauges(name, meaning, ("event",), {(event,): row[column] for event, row in look.drift.items()})
        meaning = "Time until a card scheme's limit at the pace of 28 days, if it is reached in this month."
        nearest = (of for of in look.schemes[:SCHEMES_MAX] if of.days_left is not None)
        left = {(of.programme, of.acquirer or "", of.merchant or ""): (of.days_left or 0) * 86_400.0 for of in nearest}
        yield gauges("shroff_scheme_limit_seconds", meaning, ("programme", "acquirer", "merchant"), left)


def _of_deliveries(deliveries: Sequence[SinkState]) -> Iterator[Family]:
    lag = {(delivery.name,): float(delivery.lag) for delivery in deliveries}
    meaning = "Records that a sink is behind the log, by sink; for notices: messages that wait."
    yield gauges("shroff_delivery_lag", meaning, ("sink",), lag)
    stuck = {(delivery.name,): float(delivery.stuck) for delivery in deliveries}
    yield gauges("shroff_delivery_stuck", "Rows that a sink rejected, by sink.", ("sink",), stuck)
    failing = {(delivery.name,): float(delivery.trouble is not None) for delivery in deliveries}
    yield gauges("shroff_delivery_failing", "1 if a sink accepts no rows now, by sink.", ("sink",), failing)


def look_at_store(
    project: Project, *, is_quick: bool = False, further: Mapping[str, Callable[[Project, StoreLook, int], None]] = {}
) -> StoreLook:
    """Read all metrics of a project's store. A part that cannot be read is marked in `failed`; nothing is raised.

    Args:
        is_quick: Skip the summaries, which count events, and first open cases for alerts that have none.
        further: Further parts, by name.
    """
    look = StoreLook()
    now_ms = project.context.now_ms()
    has_log = False

    parts = {"host": _host, "backup": _backup, "models": _models, "drift": _drift, "store": _log}
    with suppress(ShroffError, OSError):
        has_log = project.log.exists()
        if has_log:
            parts |= {"deliveries": _deliveries, "files": _files, "cases": _cases}
            parts |= {} if is_quick else {"summaries": _added}
            if is_quick:
                project.cases.backlog()
        else:
            del parts["store"]
    for name, read in {**parts, **further}.items():
        try:
            read(project, look, now_ms)
            look.failed[name] = False
        except (ShroffError, OSError):
            look.failed[name] = True
    return look


def _log(project: Project, look: StoreLook, now_ms: int) -> None:
    with project.log.reading() as log:
        counts = log.counts()
        newest_ms = log.watermark_ms()
        until_ms = latest_ms(project.definitions.settings, now_ms)
        look.values |= {
            "shroff_quarantine_entries": counts.refused,
            "shroff_labels_waiting": counts.waiting,
            "shroff_outbox_rows": counts.outbox,
            "shroff_stuck_rows": counts.stuck,
            "shroff_late_events": counts.late,
            "shroff_unrated_amounts": sum(remark.count for remark in log.remarks() if remark.what == UNRATED),
            "shroff_newest_event_age_seconds": None if newest_ms is None else (now_ms - newest_ms) / 1_000,
            "shroff_watermark_beyond_clock_seconds": max(0, (newest_ms or 0) - until_ms) / 1_000,
            "shroff_log_size_bytes": log.size_bytes(),
        }


def _host(project: Project, look: StoreLook, now_ms: int) -> None:
    paths = project.context.paths
    disk = shutil.disk_usage(paths.state if paths.state.exists() else paths.folder)
    look.values |= {"shroff_disk_free_bytes": disk.free, "shroff_disk_size_bytes": disk.total}
    look.values["shroff_log_write_ahead_bytes"] = write_ahead_bytes(paths.log)
    saved_s = [path.stat().st_mtime for path in paths.snapshots.glob("*.snapshot")]
    look.values["shroff_snapshot_age_seconds"] = now_ms / 1_000 - max(saved_s) if saved_s else None


def _backup(project: Project, look: StoreLook, now_ms: int) -> None:
    context = project.context
    note = read_note(context.paths.folder / STATE_FOLDER)
    if note is not None and note.at_ms:
        look.values["shroff_backup_age_seconds"] = (now_ms - note.at_ms) / 1_000
    elif context.systems.store is None and context.log.exists():
        with context.log.reading() as log:
            for _, began_ms in log.ingested(0, 1):
                missing_s = None if began_ms is None else (now_ms - began_ms) / 1_000
                look.values["shroff_backup_missing_seconds"] = missing_s


def _added(project: Project, look: StoreLook, now_ms: int) -> None:
    for checks in project.checks:
        look.values |= checks.values()


def _deliveries(project: Project, look: StoreLook, now_ms: int) -> None:
    look.deliveries += project.health.leaving().states


def _files(project: Project, look: StoreLook, now_ms: int) -> None:
    for pulled in project.pulled.all():
        received_ms = pulled.counts.received_ms
        age_s = None if received_ms is None else (now_ms - received_ms) / 1_000
        look.files[pulled.source.name] = age_s, len(pulled.aside)
    look.file_troubles += project.pulled.troubles()
    watched = Counter(folder for folder, _, _ in project.pulled.watched_files())
    look.files |= {folder: (None, count) for folder, count in watched.items()}


def _cases(project: Project, look: StoreLook, now_ms: int) -> None:
    from shroff.cases.case_queries import backlog

    with project.people.open() as people:
        waiting = backlog(project.cases.desk(people))
    look.values |= {
        "shroff_cases_open": waiting.open,
        "shroff_cases_overdue": waiting.late,
        "shroff_cases_escalated": waiting.escalated,
        "shroff_case_age_seconds": None if waiting.oldest_ms is None else (now_ms - waiting.oldest_ms) / 1_000,
        "shroff_case_due_seconds": None if waiting.left_ms is None else waiting.left_ms / 1_000,
    }


def _models(project: Project, look: StoreLook, now_ms: int) -> None:
    in_force = read_in_force(project.definitions.files.get(FILE), [])
    for event, active in in_force.items():
        if active.champion is not None and active.champion.at:
            look.models[event, active.champion.id] = (now_ms - parse_time(active.champion.at)) / 1_000
    registry = project.context.registry
    ids = registry.ids()
    if ids:
        newest = registry.read(max(ids, key=lambda id_: (registry.folder / id_).stat().st_mtime))
        failed = [gate.name for gate in newest.failed]
        left = in_force.get(newest.event, InForce()).unwaived(newest.id, failed)
        look.gates[newest.event, newest.id] = len(left)


def _drift(project: Project, look: StoreLook, now_ms: int) -> None:
    for event, check in project.part(DriftRecords).read().looks.items():
        largest_psi = max((figure.psi for figure in check.figures), default=0.0)
        drifted = sum(figure.has_moved for figure in check.figures)
        look.drift[event] = largest_psi, drifted, (now_ms - parse_time(check.looked_at)) / 1_000
