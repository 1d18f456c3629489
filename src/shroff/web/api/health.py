"""Health of the service and its systems: `doctor`, sinks, drift, and how much is in quarantine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypedDict

import msgspec

from shroff.errors import StorageError, UsageError
from shroff.events.event import TimeText, time_text
from shroff.monitoring.doctor import NOTE, WRONG, EarlierFindings, Finding
from shroff.monitoring.drift_record import DriftLook, DriftRecord, read_record
from shroff.people.access import Right
from shroff.runtime.values import Fresh, FrozenStruct, showing
from shroff.web.api.operator_alerts import FiringAlert
from shroff.web.http.concurrency_limits import beside
from shroff.web.http.messages import Json, Request
from shroff.web.http.routes import api
from shroff.worker.outbox import LAKE, Deliveries

if TYPE_CHECKING:
    from shroff.services.project import Project
    from shroff.streams.sink_cursor import DeliveryHealth
    from shroff.web.service import Service

FRESH_S = 60.0  # lifetime of a look, which takes a second and asks external systems
FIXED_LOOKED = 500  # entries of quarantine
FIXED_FRESH_S = 10.0
AGAIN_S = 5.0  # lifetime of a look for a caller who wants a new one
OLD_S = 600.0  # after which a look is too old to show
PATIENCE_S = 0.05  # wait of a page for a new look
InThread: TypeAlias = "Callable[[Callable[[], HealthLook]], Coroutine[Any, Any, HealthLook]]"
LEAVING_S = 2.0  # lifetime of the state of deliveries
_ORDER = {WRONG: 0, NOTE: 1}
_HARM_FIRST = frozenset("log rows project folder hash write-ahead store".split())
_HARM_LAST = frozenset("labels input active schedule values litter exploration".split())


class HealthLook(FrozenStruct):
    """Findings, and when. Problems come first."""

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
    """What a page can show at once: the newest look, if there is one that says something of now, and whether another
    is under way.
    """

    look: HealthLook | None
    is_looking: bool


class Quarantined(NamedTuple):
    """Entries of quarantine: those still open, and those that were corrected and sent again."""

    open: int
    fixed: int


class HealthBoard:
    """Looks once a minute at most; never while nobody asks.

    The first look at a long log reads all its labels and the newest snapshot, and a system outside may take seconds to
    say nothing. So who asks for a page is shown what is known, and a look goes on beside it.
    """

    def __init__(self, project: Project, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._project = project
        self._looks = Fresh[HealthLook](clock_s=clock_s)
        self._seen = EarlierFindings()
        self._fixed = Fresh[int](clock_s=clock_s)
        self._leaving = Fresh[Deliveries](clock_s=clock_s)
        self._beside: asyncio.Task[HealthLook] | None = None

    async def known(self, in_thread: InThread, *, is_now: bool = False) -> Known:
        """Findings at hand; begins a new check where they are old, and waits for it for a moment. In the event loop.

        Raises: what a look raised.
        """
        task = self._beside
        if task is None or (task.done() and task.exception() is None):  # a failure is reported once
            task = self._beside = beside(in_thread(lambda: self.look(is_now=is_now)))
        if (await asyncio.wait({task}, timeout=PATIENCE_S))[0]:
            self._beside = None if self._beside is task else self._beside
            return Known(task.result(), is_looking=False)
        return Known(self._looks.peek("", OLD_S), is_looking=True)

    def look(self, *, is_now: bool = False) -> HealthLook:
        """Health findings; from any thread. `is_now`: no older than a few seconds."""
        return self._looks.get("", self._look, AGAIN_S if is_now else FRESH_S)

    def leaving(self, running: Iterable[DeliveryHealth]) -> Deliveries:
        """Deliveries and their failures, by the store a few seconds ago and by `running`; from any thread.

        The lake is as the last look found it: asking it may take seconds.
        """

        def read() -> Deliveries:
            known = self._looks.peek("", OLD_S)
            lake = [] if known is None else [state for state in known.leaving.states if state.name == LAKE]
            try:
                return self._project.health.leaving(lake)
            except UsageError:  # there is no log yet
                return Deliveries()

        return self._leaving.get("", read, LEAVING_S).beside(running)

    def quarantined(self) -> Quarantined:
        """Entries of quarantine. What was corrected and sent again is sought among the newest, every few seconds."""
        project = self._project

        def counted() -> int:
            return len(project.quarantine.fixed(log, log.refused(numbers)))

        try:
            with project.log.reading() as log:
                known = log.refused_numbers()
                numbers = known[-FIXED_LOOKED:]
                fixed = self._fixed.get(tuple(numbers), counted, FIXED_FRESH_S)
        except UsageError:  # there is no log yet
            return Quarantined(0, 0)
        return Quarantined(len(known) - fixed, fixed)

    def _look(self) -> HealthLook:
        project = self._project
        findings = sorted(project.health.doctor(self._seen), key=_worst_first)
        try:
            leaving = project.health.leaving()
        except UsageError:  # there is no log yet
            leaving = Deliveries()
        try:
            drift = read_record(project.context.paths)
        except StorageError:  # which is among the findings
            drift = DriftRecord()
        return HealthLook(project.context.now_ms(), findings, leaving, drift)


def _worst_first(finding: Finding) -> tuple[int, int]:
    """Sort problems first: the log, then deliveries and sources, then pending input."""
    kind = finding.subject.partition(" ")[0]
    return _ORDER.get(finding.state, 2), 0 if kind in _HARM_FIRST else 2 if kind in _HARM_LAST else 1


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
    """Health: deliveries as of now, as every page shows them, and the newest findings."""
    found = await service.in_thread(service.health.look)
    leaving = await service.in_thread(service.health.leaving, service.work.sinks)
    return Json(
        {
            "at": time_text(found.at_ms),
            "ok": not found.wrong,
            "state": service.state,
            "ready": service.is_ready,
            "findings": list(found.findings),
            "sinks": [
                showing(SinkHealth, sink, trouble=None if sink.trouble is None else sink.trouble.words)
                for sink in leaving.states
            ],
            "drift": found.drift.looks,
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
