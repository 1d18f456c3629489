"""Health of the service and its systems: `doctor`, sinks, drift, and the quarantine with retry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypedDict

import msgspec

from shroff.errors import StorageError, UsageError
from shroff.events.event import TimeText, time_text
from shroff.monitoring.doctor import NOTE, WRONG, EarlierFindings, Finding
from shroff.monitoring.drift_record import DriftLook, DriftRecord, read_record
from shroff.people.access import Right, Who
from shroff.people.audit import Act
from shroff.runtime.memo import Fresh
from shroff.streams.log import Refused
from shroff.web.api.operator_alerts import FiringAlert, shown
from shroff.web.http.messages import Json, Request, decoded
from shroff.web.http.pagination import cursor_of, limit_of, next_of, parted
from shroff.web.http.routes import PAGED, api
from shroff.worker.inbox import DROP, RETRY, drop_request, dropped_of, retried_of, retry_request
from shroff.worker.outbox import LAKE, Deliveries
from shroff.worker.quarantine_retry import Retried, known_numbers

if TYPE_CHECKING:
    from shroff.app.project import Project
    from shroff.streams.sink_cursor import DeliveryHealth
    from shroff.web.service import Service

FRESH_S: Final = 60.0  # for which a look serves everybody: one costs about a second, and asks systems outside
FIXED_LOOKED: Final = 500  # entries of quarantine
FIXED_FRESH_S: Final = 10.0
AGAIN_S: Final = 5.0  # and at least, for who wants another one now
OLD_S: Final = 600.0  # from when on a look says nothing of now
PATIENCE_S: Final = 0.05  # for which a page waits for a new look before it shows what is known
BODY_BYTES_MAX: Final = 256 * 1024
NUMBERS_MAX: Final = 10_000
RAW_SHOWN: Final = 2_000  # bytes of an entry
InThread: TypeAlias = "Callable[[Callable[[], Look]], Awaitable[Look]]"
LEAVING_S: Final = 2.0  # for which the state of deliveries serves everybody
_ORDER: Final = {WRONG: 0, NOTE: 1}
_HARM_FIRST: Final = frozenset({"log", "rows", "project", "folder", "hash", "write-ahead", "store"})
_HARM_LAST: Final = frozenset({"labels", "input", "active", "schedule", "values", "litter", "exploration"})


@dataclass(frozen=True, slots=True)
class Look:
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


@dataclass(frozen=True, slots=True)
class Known:
    """What a page can show at once: the newest look, if there is one that says something of now, and whether another
    is under way.
    """

    look: Look | None
    is_looking: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry of quarantine; `raw` is empty where it may hold what is personal, and who looks may not see that.

    `fixed_by` is the event that was accepted once it was corrected and sent again; empty where there is none.
    """

    number: int
    entry: Refused
    raw: str
    is_withheld: bool
    fixed_by: str


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
        self._looks = Fresh[Look](clock_s=clock_s)
        self._seen = EarlierFindings()
        self._fixed = Fresh[int](clock_s=clock_s)
        self._leaving = Fresh[Deliveries](clock_s=clock_s)
        self._beside: asyncio.Task[Look] | None = None

    async def known(self, in_thread: InThread, *, is_now: bool = False) -> Known:
        """Findings at hand; begins a new check where they are old, and waits for it for a moment. In the event loop.

        Raises: what a look raised.
        """
        task = self._beside
        if task is None or (task.done() and task.exception() is None):  # one that failed is told once
            task = self._beside = asyncio.ensure_future(in_thread(lambda: self.look(is_now=is_now)))
        if (await asyncio.wait({task}, timeout=PATIENCE_S))[0]:
            self._beside = None if self._beside is task else self._beside
            return Known(task.result(), is_looking=False)
        return Known(self._looks.peek("", OLD_S), is_looking=True)

    def look(self, *, is_now: bool = False) -> Look:
        """How all is; from any thread. `is_now`: no older than a few seconds."""
        return self._looks.get("", self._look, AGAIN_S if is_now else FRESH_S)

    def leaving(self, running: Iterable[DeliveryHealth]) -> Deliveries:
        """What leaves, and what fails, by the store a few seconds ago and by what `running` know; from any thread.

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
            with project.opened.reading() as log:
                known = log.refused_numbers()
                numbers = known[-FIXED_LOOKED:]
                fixed = self._fixed.get(tuple(numbers), counted, FIXED_FRESH_S)
        except UsageError:  # there is no log yet
            return Quarantined(0, 0)
        return Quarantined(len(known) - fixed, fixed)

    def _look(self) -> Look:
        project = self._project
        findings = sorted(project.health.doctor(self._seen), key=_worst_first)
        try:
            leaving = project.health.leaving()
        except UsageError:  # there is no log yet
            leaving = Deliveries()
        try:
            drift = read_record(project.opened.places)
        except StorageError:  # which is among the findings
            drift = DriftRecord()
        return Look(project.opened.now_ms(), findings, leaving, drift)


def _worst_first(finding: Finding) -> tuple[int, int]:
    """Problems first; of these the log, then what leaves and comes, and last what waits for input."""
    kind = finding.subject.partition(" ")[0]
    return _ORDER.get(finding.state, 2), 0 if kind in _HARM_FIRST else 2 if kind in _HARM_LAST else 1


class SinkHealth(TypedDict):
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


class QuarantineEntry(TypedDict):
    """A refused input. `raw` is null if it may contain personal data that the caller may not see.

    `fixed_by` is the event that was accepted after the input was corrected and sent again, such as payment/p-1.
    """

    number: int
    source: str
    place: str
    type: str
    reason: str
    at: TimeText
    raw: str | None
    fixed_by: str | None


class Quarantine(TypedDict):
    """A page of the quarantine."""

    entries: list[QuarantineEntry]
    next: str | None


class RetriedEntry(TypedDict):
    """The result of one retried entry."""

    number: int
    outcome: str
    reason: str


class RetriedEntries(TypedDict):
    """The results of the retried entries."""

    read: int
    taken: int
    quarantined: int
    entries: list[RetriedEntry]


class DroppedEntries(TypedDict):
    """The number of dropped entries."""

    dropped: int


async def health(service: Service, request: Request) -> Json[Health]:
    """How all is."""
    found = await service.in_thread(service.health.look)
    return Json(
        {
            "at": time_text(found.at_ms),
            "ok": not found.wrong,
            "state": service.state,
            "ready": service.is_ready,
            "findings": list(found.findings),
            "sinks": [
                {
                    "name": sink.name,
                    "kind": sink.kind,
                    "through": sink.through,
                    "lag": sink.lag,
                    "stuck": sink.stuck,
                    "trouble": None if sink.trouble is None else sink.trouble.words,
                }
                for sink in found.leaving.states
            ],
            "drift": found.drift.looks,
            "alerts": [shown(one) for one in service.operator_alerts.firing(service.project.opened.now_ms())],
        }
    )


# ---- quarantine


class QuarantineNumbers(msgspec.Struct, forbid_unknown_fields=True):
    """Entries by their numbers."""

    numbers: list[int]


async def quarantine(service: Service, request: Request) -> Json[Quarantine]:
    """Refused input, the newest first."""
    limit, before = limit_of(request.query_params), cursor_of(request.query_params, int)
    found, last = parted(await service.in_thread(entries, service.project, request.who, limit + 1, before), limit)
    shown: list[QuarantineEntry] = [
        {
            "number": one.number,
            "source": one.entry.source,
            "place": one.entry.place,
            "type": one.entry.type,
            "reason": one.entry.reason,
            "at": time_text(one.entry.at_ms),
            "raw": None if one.is_withheld else one.raw,
            "fixed_by": one.fixed_by or None,
        }
        for one in found
    ]
    return Json({"entries": shown, "next": None if last is None else next_of(last.number)})


async def retry(service: Service, request: Request) -> Json[RetriedEntries]:
    """Bring entries back in."""
    found = await retried(service, request, await _numbers(request))
    return Json(
        {
            "read": len(found),
            "taken": sum(not one.stays for one in found),
            "quarantined": sum(one.stays for one in found),
            "entries": [{"number": one.number, "outcome": one.outcome, "reason": one.reason} for one in found],
        }
    )


async def drop(service: Service, request: Request) -> Json[DroppedEntries]:
    """Remove entries for ever."""
    return Json({"dropped": await dropped(service, request, await _numbers(request))})


async def retried(service: Service, request: Request, numbers: Sequence[int]) -> list[Retried]:
    """Bring these back in, as who asks. Raises: UsageError for one that is not there."""
    await service.in_thread(_check, service.project, numbers)
    act = Act(request.who, "quarantine.retry", "quarantine", None, list(numbers))
    (result,) = await service.asked_of_log(act, RETRY, [retry_request(numbers, {})])
    return retried_of(result)


async def dropped(service: Service, request: Request, numbers: Sequence[int]) -> int:
    """Remove these for ever, as who asks. Raises: UsageError for one that is not there."""
    await service.in_thread(_check, service.project, numbers)
    act = Act(request.who, "quarantine.drop", "quarantine", None, list(numbers))
    (result,) = await service.asked_of_log(act, DROP, [drop_request(numbers)])
    return dropped_of(result)


def entries(project: Project, who: Who, limit: int, before: int | None = None) -> list[Kept]:
    """Entries of quarantine, the newest first, from before this number on."""
    definitions = project.definitions
    is_withheld = definitions.events.has_personal and not who.may(Right.READ_PERSONAL)
    try:
        with project.opened.reading() as log:
            numbers = [
                refused_number for refused_number in log.refused_numbers() if before is None or refused_number < before
            ][-limit:]
            found = log.refused(numbers)
            fixed = project.quarantine.fixed(log, found)
    except UsageError:  # there is no log yet
        return []
    return [
        Kept(
            number,
            entry,
            "" if is_withheld else entry.raw[:RAW_SHOWN].decode("utf-8", "replace"),
            is_withheld,
            fixed.get(number, ""),
        )
        for number, entry in reversed(found)
    ]


def _check(project: Project, numbers: Sequence[int]) -> None:
    if not numbers or len(numbers) > NUMBERS_MAX:
        raise UsageError(f"name 1 to {NUMBERS_MAX:,} entries of quarantine by their numbers.")
    with project.opened.reading() as log:
        known_numbers(log, numbers)


async def _numbers(request: Request) -> list[int]:
    return decoded(await request.body(BODY_BYTES_MAX), QuarantineNumbers).numbers


_MENDED: Final = {400: "One of them does not exist."}

ROUTES: Final = (
    api("GET", "/health", Right.READ_METRICS, health)(
        "Get the service's health: the findings of `shroff doctor`, at most a minute old, sinks, drift, and alerts of "
        "Prometheus that fire.",
        "Each finding, with its remedy.",
    ),
    api("GET", "/quarantine", Right.MEND_INPUT, quarantine)(
        "List quarantined input, newest first.",
        "Each entry with its reason. Its bytes are included unless they may contain personal data.",
        problems={400: ""},
        query=PAGED,
    ),
    api("POST", "/quarantine/retry", Right.MEND_INPUT, retry)(
        "Retry entries with the current project.", "The result for each entry.", QuarantineNumbers, _MENDED
    ),
    api("POST", "/quarantine/drop", Right.MEND_INPUT, drop)(
        "Drop quarantined entries for good.", "The number of dropped entries.", QuarantineNumbers, _MENDED
    ),
)
