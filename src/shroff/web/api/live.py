"""Live figures for the API and the screen Live, computed at most once a second for all viewers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType

from shroff.cases.case import SNOOZED, CaseFilter
from shroff.cases.case_queries import COUNTED_S
from shroff.cases.filters import QUEUE
from shroff.errors import UsageError
from shroff.events.event import TimeText, time_text
from shroff.json_types import TextMapping
from shroff.language.values import DAY_MS, show_decimal
from shroff.monitoring.live_metrics import HOUR_MS, MINUTE_MS, LiveFigures, Pulse
from shroff.operations.pagination import BadQueryError
from shroff.people.access import Right, Who
from shroff.runtime.values import Fresh, FrozenStruct
from shroff.streams.log import Counts
from shroff.web.http.messages import Json, Request
from shroff.web.http.routes import api
from shroff.worker.outbox import Deliveries
from shroff.worker.serving.counts import Latencies, WorkerCounts

if TYPE_CHECKING:
    from shroff.cases.case_service import CaseService
    from shroff.services.project import Project
    from shroff.web.service import Service

FRESH_S = 0.9  # for which counted figures are reused
SAMPLE_S = 10.0  # between samples of latency
SAMPLED_S = 300.0  # for which samples are kept
QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


class Period(FrozenStruct):
    """A period of the page, and the steps of its chart."""

    code: str
    name: str
    length_ms: int
    step_ms: int
    step_name: str


PERIODS = {
    period.code: period
    for period in (
        Period("1h", "Last hour", HOUR_MS, MINUTE_MS, "a minute"),
        Period("24h", "24 hours", DAY_MS, 15 * MINUTE_MS, "15 minutes"),
        Period("7d", "7 days", 7 * DAY_MS, 2 * HOUR_MS, "2 hours"),
    )
}
FIRST = "24h"


class _Sample(FrozenStruct):
    at_s: float
    latencies: Latencies
    taken: int


class Answers(FrozenStruct):
    """Latency quantiles and event rate of this process: `now_ms` and `rate` of at most the last five minutes, `since_s`
    seconds long; `ever_ms` since the start.
    """

    now_ms: Mapping[str, float | None]
    ever_ms: Mapping[str, float | None]
    rate: float
    since_s: float


class CasesOpen(FrozenStruct):
    """Cases in the queue: those that can be worked on now. Snoozed ones are counted apart."""

    open: int
    snoozed: int
    at_stake: str | None
    first_due: TimeText | None


NO_CASES = CasesOpen(0, 0, None, None)


@dataclass(frozen=True, slots=True, eq=False)
class LiveLook:
    """All figures of the screen; viewers within a second share one."""

    period: Period
    figures: LiveFigures
    answers: Answers
    counts: Counts
    leaving: Deliveries
    waiting: int
    waiting_age_s: float
    cases: CasesOpen


class Board:
    """Counts the live figures on demand, at most once a second for all viewers. For any thread."""

    def __init__(self, project: Project, work: Callable[[], WorkerCounts], cases: CaseService) -> None:
        self._project = project
        self._work = work
        self._desk = cases
        self._pulse = Pulse()
        self._lock = Lock()
        self._samples: deque[_Sample] = deque()
        self._counts = Counts(0, 0, 0)
        self._cases = NO_CASES
        self._followed = Fresh[float]()
        self._open_cases = Fresh[CasesOpen]()
        self._figures = Fresh[LiveFigures](len(PERIODS))
        self._looks = Fresh[LiveLook](len(PERIODS))

    @property
    def is_behind(self) -> bool:
        """Whether parts of the log are not counted yet."""
        return self._pulse.is_behind

    def look(
        self, period: Period, waiting: int, waiting_age_s: float, leaving: Callable[[], Deliveries] = Deliveries
    ) -> LiveLook:
        """Return the current figures. Raises: as reading the log does.

        Args:
            waiting: Events that wait for their decision.
            waiting_age_s: Waiting time of the oldest of them.
            leaving: Returns the state of deliveries.
        """
        with self._lock:
            now_s = time.monotonic()
            followed_s = self._followed.get("", lambda: self._follow(now_s), FRESH_S)
            figures = self._figures.get(
                (period.code, self._pulse.counted), lambda: self._pulse.figures(period.length_ms, period.step_ms)
            )
            return self._looks.get(
                (period.code, followed_s),
                lambda: LiveLook(
                    period, figures, self._answers(now_s), self._counts, leaving(), waiting, waiting_age_s, self._cases
                ),
            )

    def read_on(self) -> None:
        """Count one more part of the log ahead of the next `look`."""
        with self._lock, suppress(UsageError), self._project.log.reading() as log:
            self._pulse.follow(log, self._project.definitions)

    def _follow(self, now_s: float) -> float:
        with suppress(UsageError):  # there is no log yet
            with self._project.log.reading() as log:
                self._pulse.follow(log, self._project.definitions)
                self._counts = log.counts()
            changes = self._desk.store.changes
            self._cases = self._open_cases.get(changes, lambda: _open_cases(self._desk), COUNTED_S)
        return now_s

    def _answers(self, now_s: float) -> Answers:
        work = self._work()
        taken = work.counts.events.appended
        if not self._samples or now_s - self._samples[-1].at_s >= SAMPLE_S:
            self._samples.append(_Sample(now_s, work.latencies.copy(), taken))
        while now_s - self._samples[0].at_s > SAMPLED_S and len(self._samples) > 1:
            self._samples.popleft()
        first = self._samples[0]
        lately = work.latencies.since(first.latencies)
        since_s = now_s - first.at_s
        rate = (taken - first.taken) / since_s if since_s > 0 else 0.0
        return Answers(_quantiles(lately), _quantiles(work.latencies), max(rate, 0.0), since_s)


def _open_cases(desk: CaseService) -> CasesOpen:
    in_queue = CaseFilter(states=QUEUE)
    with desk.store.look() as reader:
        snoozed = reader.count(CaseFilter(states=(SNOOZED,)))
        totals = reader.totals(in_queue)
        first = reader.queue(in_queue, limit=1)
    stake = None if totals.stake is None else show_decimal(totals.stake, desk.money_places)
    return CasesOpen(totals.count, snoozed, stake, time_text(first[0].due_ms) if first else None)


def _quantiles(latencies: Latencies) -> dict[str, float | None]:
    return {name: latencies.quantile_ms(share) for name, share in QUANTILES.items()}


def period_of(query: TextMapping) -> Period:
    """Return the period that a query names. Raises: BadQueryError if there is none of this name."""
    period = PERIODS.get(query.get("period", FIRST))
    if period is None:
        raise BadQueryError(f"period: one of {', '.join(PERIODS)}")
    return period


async def look(service: Service, period: Period) -> LiveLook:
    return await service.in_thread(look_now, service, period)


def look_now(service: Service, period: Period) -> LiveLook:
    """Like `look`, on the calling thread."""

    def leaving() -> Deliveries:
        return service.health.leaving(service.work.sinks)

    return service.board.look(period, service.writer.queue.waiting, service.writer.queue.age_s, leaving)


class OutcomeCount(msgspec.Struct):
    """The number of decisions with one outcome."""

    count: int
    money: str | None


class HitRange(msgspec.Struct):
    """The typical range of a rule's hits per hour."""

    low: int
    high: int


class RuleHitCount(msgspec.Struct):
    """Statistics of a rule over the last hour."""

    rule: str
    hits_1h: int
    shadow: bool
    usual_1h: HitRange | None
    is_spike: bool


class LiveStep(msgspec.Struct, rename={"start": "from"}):
    """A step of the period."""

    start: TimeText
    decided: int
    not_approved: int


class Live(msgspec.Struct, rename={"start": "from", "end": "to"}):
    """Live figures of a period; `cases` for those who may read cases."""

    period: str
    start: TimeText
    end: TimeText
    counted_from: int
    is_whole: bool
    came: int
    decided: int
    by_outcome: dict[str, OutcomeCount]
    verdicts: dict[str, int]
    steps: list[LiveStep]
    rules: list[RuleHitCount]
    answer_ms: Mapping[str, float | None]
    answer_ms_ever: Mapping[str, float | None]
    events_per_second: float
    waiting: int
    waiting_age_s: float
    quarantined: int
    labels_waiting: int
    outbox: int
    outbox_stuck: int
    outbox_failing: list[str]
    cases: CasesOpen | UnsetType = UNSET


async def live(service: Service, request: Request) -> Json[Live]:
    current = await look(service, period_of(request.query_params))
    who = request.who
    answer = document(current)
    if who.may(Right.READ_CASES):
        answer.cases = current.cases
    return Json(answer)


def cases_of(current: LiveLook, who: Who) -> CasesOpen:
    """Return the counts of cases, all zero for a user who may not read cases."""
    return current.cases if who.may(Right.READ_CASES) else NO_CASES


def document(current: LiveLook) -> Live:
    figures = current.figures
    answers = current.answers
    counts = current.counts
    return Live(
        period=current.period.code,
        start=time_text(figures.start_ms),
        end=time_text(figures.end_ms),
        counted_from=figures.counted_from,
        is_whole=figures.is_whole,
        came=figures.came,
        decided=figures.decided,
        by_outcome={
            outcome: OutcomeCount(count, str(figures.money[outcome]) if outcome in figures.money else None)
            for outcome, count in sorted(figures.outcomes.items())
        },
        verdicts=dict(sorted(figures.verdicts.items())),
        steps=[LiveStep(time_text(step.start_ms), step.decided, step.not_approved) for step in figures.steps],
        rules=[
            RuleHitCount(
                rule.rule,
                rule.hits,
                rule.is_shadow,
                None if rule.usual is None else HitRange(int(str(rule.usual.lowest)), int(str(rule.usual.highest))),
                rule.is_spike,
            )
            for rule in figures.rules
        ],
        answer_ms=answers.now_ms,
        answer_ms_ever=answers.ever_ms,
        events_per_second=round(answers.rate, 3),
        waiting=current.waiting,
        waiting_age_s=current.waiting_age_s,
        quarantined=counts.refused,
        labels_waiting=counts.waiting,
        outbox=current.leaving.waiting,
        outbox_stuck=current.leaving.failed,
        outbox_failing=[state.name for state in current.leaving.failing],
    )


ROUTES = (
    api("GET", "/live", Right.READ_DECISIONS, live)(
        "Get live figures: events and decisions in a period up to the newest event, latency, and backlog.",
        "The figures of the screen Live.",
        problems={400: ""},
        query={"period": "The period: 1h, 24h or 7d. Default: 24h."},
    ),
)
