"""Health of the service and its systems: findings of `doctor`, deliveries, drift, and the size of the quarantine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypedDict

import msgspec

from shroff.errors import StorageError, UsageError
from shroff.events.event import TimeText, time_text
from shroff.monitoring.doctor import NOTE, WRONG, EarlierFindings, Finding
from shroff.monitoring.drift_record import DriftLook, DriftRecord
from shroff.people.access import Right
from shroff.runtime.values import Fresh, FrozenStruct
from shroff.services.drift.records import DriftRecords
from shroff.web.api.operator_alerts import FiringAlert
from shroff.web.http.concurrency_limits import beside
from shroff.web.http.messages import Json, Request
from shroff.web.http.routes import api
from shroff.worker.outbox import LAKE, Deliveries

if TYPE_CHECKING:
    from shroff.services.project import Project
    from shroff.streams.sink_cursor import DeliveryHealth
    from shroff.web.service import Service

FRESH_S = 60.0  # for which a check is reused, as it takes a second and queries external systems
FIXED_LOOKED = 500  # newest entries of the quarantine that are searched for corrected ones
FIXED_FRESH_S = 10.0  # for which their count is reused
AGAIN_S = 5.0  # for which a check is reused if a new one is requested
OLD_S = 600.0  # after which a check is too old to show
PATIENCE_S = 0.05  # for which a page waits for a new check
InThread: TypeAlias = "Callable[[Callable[[], HealthLook]], Coroutine[Any, Any, HealthLook]]"
LEAVING_S = 2.0  # for which the state of deliveries is reused
_ORDER = {WRONG: 0, NOTE: 1}
_HARM_FIRST = frozenset("log rows project folder hash write-ahead store".split())
_HARM_LAST = frozenset("labels input active schedule values litter exploration".split())


class HealthLook(FrozenStruct):
    """The result of one health check. Problems come first among its findings."""

    at_ms: int
    findings: Sequence[Finding]
    leaving: Deliveries
    drift: DriftRecord

    @property
    def wrong(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.state == WRONG]

    @property
    def notes(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.state == NOTE]


class Known(FrozenStruct):
    """The newest check, None if it is older than `OLD_S`; and whether another one is running."""

    look: HealthLook | None
    is_looking: bool


class Quarantined(NamedTuple):
    """Counts of entries in quarantine: open ones, and those that were corrected and sent again."""

    open: int
    fixed: int


class HealthBoard:
    """Health checks of a project on demand, at most one a minute.

    The first check of a long log reads all its labels and the newest snapshot, and an external system may take seconds
    to fail. So a page shows the last check while a new one runs in the background.
    """

    def __init__(self, project: Project, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._project = project
        self._looks = Fresh[HealthLook](clock_s=clock_s)
        self._seen = EarlierFindings()
        self._fixed = Fresh[int](clock_s=clock_s)
        self._leaving = Fresh[Deliveries](clock_s=clock_s)
        self._beside: asyncio.Task[HealthLook] | None = None

    async def known(self, in_thread: InThread, *, is_now: bool = False) -> Known:
        """Return the last check; start a new one if it is old, and wait for that up to `PATIENCE_S`. In the event loop.

        Args:
            in_thread: Runs a function on another thread.
            is_now: Reuse only a check of the last `AGAIN_S` seconds.

        Raises: the error of the check, to one caller.
        """
        task = self._beside
        if task is None or (task.done() and task.exception() is None):  # a failed task stays to report its error
            task = beside(in_thread(lambda: self.look(is_now=is_now)))
            self._beside = task
        done, _ = await asyncio.wait({task}, timeout=PATIENCE_S)
        if done:
            if self._beside is task:
                self._beside = None
            return Known(task.result(), is_looking=False)
        return Known(self._looks.peek("", OLD_S), is_looking=True)

    def look(self, *, is_now: bool = False) -> HealthLook:
        """Return a check that is at most a minute old, or `AGAIN_S` seconds with `is_now`. For any thread."""
        return self._looks.get("", self._look, AGAIN_S if is_now else FRESH_S)

    def leaving(self, running: Iterable[DeliveryHealth]) -> Deliveries:
        """Return the state of deliveries: the store's, at most `LEAVING_S` old, updated by `running`. For any thread.

        The state of the lake is that of the last check, as querying it may take seconds.
        """

        def read() -> Deliveries:
            last = self._looks.peek("", OLD_S)
            lake = [] if last is None else [state for state in last.leaving.states if state.name == LAKE]
            try:
                return self._project.health.leaving(lake)
            except UsageError:  # there is no log yet
                return Deliveries()

        return self._leaving.get("", read, LEAVING_S).beside(running)

    def quarantined(self) -> Quarantined:
        """Count the entries of the quarantine. Corrected ones are counted among the newest `FIXED_LOOKED` only."""
        project = self._project

        def count_fixed() -> int:
            return len(project.quarantine.fixed(log, log.quarantine.entries(newest)))

        try:
            with project.log.reading() as log:
                numbers = log.quarantine.numbers()
                newest = numbers[-FIXED_LOOKED:]
                fixed = self._fixed.get(tuple(newest), count_fixed, FIXED_FRESH_S)
        except UsageError:  # there is no log yet
            return Quarantined(0, 0)
        return Quarantined(len(numbers) - fixed, fixed)

    def _look(self) -> HealthLook:
        project = self._project
        findings = sorted(project.health.doctor(self._seen), key=_worst_first)
        try:
            leaving = project.health.leaving()
        except UsageError:  # there is no log yet
            leaving = Deliveries()
        try:
            drift = project.part(DriftRecords).read()
        except StorageError:  # the findings report it
            drift = DriftRecord()
        return HealthLook(project.context.now_ms(), findings, leaving, drift)


def _worst_first(finding: Finding) -> tuple[int, int]:
    """Return the sort key of a finding: problems first; then the log, deliveries and sources, pending input."""
    kind = finding.subject.partition(" ")[0]
    harm = 1
    if kind in _HARM_FIRST:
        harm = 0
    elif kind in _HARM_LAST:
        harm = 2
    return _ORDER.get(finding.state, 2), harm


class SinkHealth(msgspec.Struct):
    """The progress of a sink: `through` is null before the first delivery, `trouble` while rows are accepted."""

    name: str
    kind: str
    through: int | None
    lag: int
    stuck: int
    trouble: str | None


class Health(TypedDict):
    """Findings of `doctor`, the sinks, the last drift check of each event type, and alerts that Alertmanager posted."""

    at: TimeText
    ok: bool
    state: str
    ready: bool
    findings: list[Finding]
    sinks: list[SinkHealth]
    drift: dict[str, DriftLook]
    alerts: list[FiringAlert]


async def health(service: Service, request: Request) -> Json[Health]:
    look = await service.in_thread(service.health.look)
    leaving = await service.in_thread(service.health.leaving, service.work.sinks)
    return Json(
        {
            "at": time_text(look.at_ms),
            "ok": not look.wrong,
            "state": service.state,
            "ready": service.is_ready,
            "findings": list(look.findings),
            "sinks": [
                SinkHealth(
                    name=sink.name,
                    kind=sink.kind,
                    through=sink.through,
                    lag=sink.lag,
                    stuck=sink.stuck,
                    trouble=None if sink.trouble is None else sink.trouble.words,
                )
                for sink in leaving.states
            ],
            "drift": look.drift.looks,
            "alerts": service.operator_alerts.firing(service.project.context.now_ms()),
        }
    )


ROUTES = (
    api("GET", "/health", Right.READ_METRICS, health)(
        "Get the service's health: the findings of `shroff doctor`, at most a minute old, sinks, drift, and alerts of "
        "Prometheus that fire.",
        "Each finding, with its remedy.",
    ),
)
