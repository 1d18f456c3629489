"""Label statistics over HTTP: labels by source, delay, conflicts, customers' answers."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Final, TypedDict

from shroff.cases.labels import (
    Came,
    Conflict,
    HeldAnswers,
    LabelsInMemory,
    Maturity,
    came_since,
    conflicts_in,
    held_of,
    maturity_in,
)
from shroff.errors import UsageError
from shroff.events.event import TimeText, time_text
from shroff.language.values import DAY_MS, day_number
from shroff.log.history import ListedWaiting, waiting_row
from shroff.log.later_labels import latest
from shroff.monitoring.day_figures import CUSTOMER
from shroff.notices.store import QuestionCounts
from shroff.people.access import Right
from shroff.runtime.memo import Fresh
from shroff.web.http.messages import Json, Request
from shroff.web.http.routes import api

if TYPE_CHECKING:
    from shroff.app.project import Project
    from shroff.streams.log import Log
    from shroff.web.service import Service

LOOK_BACK: Final = 500_000  # places of the log: some 200 MB where each has a label, and 5 s for the first look
DAYS_MAX: Final = 3_650  # that are drawn
LISTED_MAX: Final = 10_000  # waiting labels: of more the first are not looked for
SHOWN: Final = 25
AGES: Final = (0, 7, 30, 90)  # days since an event from which it stands in the next row of those without a label
ASKED_MS: Final = 7 * DAY_MS
_NOTHING: Final = Maturity(0, 0, 0, 0, ())


@dataclass(frozen=True, slots=True)
class Together:
    """Statistics of all counted labels. Conflicts are newest first; `came` is of all, by source."""

    events: int
    in_force: Mapping[str, int]
    came: Sequence[Came]
    conflicts: Sequence[Conflict]
    maturity: Maturity
    held: Sequence[HeldAnswers]
    labeled: Mapping[int, int] = field(default_factory=dict)  # of decided types, by the day of the event


_NONE: Final = Together(0, {}, (), (), _NOTHING, ())


@dataclass(frozen=True, slots=True)
class LabelLook:
    """All that the screen shows. Labels behind place `counted_after` are counted, up to `counted_to`.

    `came` is what came in the `period_ms` up to the newest label; `by_day` counts labels and frauds of each of its
    days, from `first_day` on. `without_label` counts the decided events that have none, by `AGES`. `asked` is what came
    of the questions that were mailed in seven days, by the clock, `answers` are the labels of customers in them, by
    verdict, however they came. `waits` may be more than what is listed.
    """

    counted_after: int
    counted_to: int
    newest_ms: int
    together: Together
    came: Sequence[Came]
    first_day: int
    by_day: Sequence[tuple[int, int]]
    without_label: Sequence[int]
    asked: QuestionCounts
    answers: Mapping[str, int]
    waits: int
    waiting: Sequence[ListedWaiting]


@dataclass(slots=True)
class LabelBoard:
    """Follows the labels of a log while somebody looks; what they say together is kept until more come."""

    project: Project
    _labels: LabelsInMemory | None = None
    _decided: Counter[int] = field(default_factory=Counter)
    _known: Fresh[Together] = field(default_factory=Fresh)
    _lock: Lock = field(default_factory=Lock)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def asked(self, service: Service, period_ms: int | None) -> LabelLook:
        """Label statistics now, as by `look`; a request that waits for another's computation waits in no thread."""
        async with self._turn:
            return await service.in_thread(self.look, period_ms)

    def look(self, period_ms: int | None) -> LabelLook:
        """Label statistics of a period up to the newest label or of all; from any thread."""
        with self._lock:
            try:
                with self.project.log.reading() as log:
                    labels = self._followed(log)
                    now_ms = self.project.context.now_ms()
                    as_of_ms = latest(log.watermark_ms(), labels.known_at_ms(), now_ms) or 0
                    waits = log.counts().waiting
                    rows = log.waiting_all()[:SHOWN] if 0 < waits <= LISTED_MAX else []
                with self.project.notice_files.told() as store, store.look() as look:
                    asked = look.asked_between(now_ms - ASKED_MS, now_ms + 1, now_ms)
            except UsageError:  # there is no log yet
                return LabelLook(
                    0, 0, 0, _NONE, came_since({}, 0), 0, (), (0,) * len(AGES), QuestionCounts(), {}, 0, ()
                )
            together = self._known.get(labels.count, lambda: self._together(labels, as_of_ms))
            newest_ms = max((known_ms for known_ms in labels.known_at_ms() if known_ms <= as_of_ms), default=0)
            since_ms = -1 if period_ms is None else newest_ms - period_ms
            return LabelLook(
                labels.after,
                labels.to,
                newest_ms,
                together,
                came_since(labels.histories, since_ms),
                *_days(labels, since_ms, newest_ms, self.project.context.systems.time_zone),
                _without_label(self._decided, together.labeled, as_of_ms // DAY_MS),
                asked,
                _answers(labels, now_ms - ASKED_MS),
                waits,
                [waiting_row(row) for row in rows],
            )

    def _followed(self, log: Log) -> LabelsInMemory:
        last = log.last_seq()
        if self._labels is None or last - self._labels.to > LOOK_BACK:
            self._labels, self._decided = LabelsInMemory(max(0, last - LOOK_BACK)), Counter()
        for records in log.read(max(self._labels.to, log.pruned_to()), last):
            self._decided.update(record.time_ms // DAY_MS for record in records if record.decided)
        self._labels.follow(log, self.project.definitions)
        return self._labels

    def _together(self, labels: LabelsInMemory, as_of_ms: int) -> Together:
        histories, decided = labels.histories, self.project.definitions.events.decided
        friendly = {name: model.friendly_reasons for name, model in self.project.definitions.models.items()}
        return Together(
            len(histories),
            Counter(history.said[history.force].verdict for history in histories.values()),
            came_since(histories, -1),
            conflicts_in(histories)[::-1],
            maturity_in(histories, as_of_ms, friendly=friendly),
            held_of(histories, CUSTOMER),
            Counter(history.time_ms // DAY_MS for (type_, _), history in histories.items() if type_ in decided),
        )


def _answers(labels: LabelsInMemory, since_ms: int) -> Counter[str]:
    """The labels of customers since a moment, by verdict."""
    said = (said for history in labels.histories.values() for said in history.said)
    return Counter(label.verdict for label in said if label.source == CUSTOMER and label.known_at_ms > since_ms)


def _days(labels: LabelsInMemory, since_ms: int, newest_ms: int, zone: str) -> tuple[int, list[tuple[int, int]]]:
    """The first day on which a label came after a moment, and how many came on it and each later one, with frauds."""
    every, frauds = Counter[int](), Counter[int]()
    for history in labels.histories.values():
        for said in history.said:
            if since_ms < said.known_at_ms <= newest_ms:
                day = day_number(said.known_at_ms, zone)
                every[day] += 1
                frauds[day] += said.verdict == "fraud"
    if not every:
        return 0, []
    last = max(every)
    first = max(min(every), last - DAYS_MAX)
    return first, [(every[day], frauds[day]) for day in range(first, last + 1)]


def _without_label(decided: Mapping[int, int], labeled: Mapping[int, int], today: int) -> list[int]:
    counts = [0] * len(AGES)
    for day, count in decided.items():
        counts[bisect_right(AGES, max(0, today - day)) - 1] += max(0, count - labeled.get(day, 0))
    return counts


class LabelsOfSource(TypedDict):
    """The number of labels of a source, by verdict."""

    source: str
    verdicts: dict[str, int]
    newest: TimeText | None


class ConflictingLabel(TypedDict):
    """One label of an event with conflicting labels."""

    verdict: str
    source: str
    known_at: TimeText
    in_force: bool


class LabelConflict(TypedDict):
    """An event with conflicting labels."""

    event: str
    id: str
    kind: str
    labels: list[ConflictingLabel]


class MaturityPoint(TypedDict):
    """The share of frauds known after a number of days."""

    days: int
    share: float
    by_source: dict[str, float]


class LabelMaturity(TypedDict):
    """Label delay: the time until frauds become known."""

    frauds: int
    too_young: int
    later: int
    curve: list[MaturityPoint]


class CustomerAnswers(TypedDict):
    """Customers of the last seven days: `yes` and `no` are their labels, by mail or however they came; `asked_7d`,
    `no_answer` and `open` count questions by mail. `held` is of all their answers.
    """

    asked_7d: int
    yes: int
    no: int
    no_answer: int
    open: int
    held: list[HeldAnswers]


class EventsWithoutLabel(TypedDict):
    """The number of decided events without a label, `days` old or older, up to the `days` of the next row."""

    days: int
    events: int


class LabelsTogether(TypedDict):
    """Statistics of all labels of the log, from `counted_from` to `counted_to`."""

    counted_from: int
    counted_to: int
    events: int
    in_force: dict[str, int]
    came: list[LabelsOfSource]
    conflicts: int
    newest_conflicts: list[LabelConflict]
    maturity: LabelMaturity
    waiting: int
    without_label: list[EventsWithoutLabel]
    customers: CustomerAnswers


async def labels(service: Service, request: Request) -> Json[LabelsTogether]:
    """The same as the screen has it."""
    return Json(document(await service.label_board.asked(service, None)))


def document(found: LabelLook) -> LabelsTogether:
    """Label statistics as JSON."""
    together, curve = found.together, found.together.maturity
    return {
        "counted_from": found.counted_after + 1,
        "counted_to": found.counted_to,
        "events": together.events,
        "in_force": dict(sorted(together.in_force.items())),
        "came": [
            {
                "source": received.source,
                "verdicts": dict(sorted(received.verdicts.items())),
                "newest": None if received.newest_ms is None else time_text(received.newest_ms),
            }
            for received in together.came
        ],
        "conflicts": len(together.conflicts),
        "newest_conflicts": [_conflict(conflict) for conflict in together.conflicts[:SHOWN]],
        "maturity": {
            "frauds": curve.frauds,
            "too_young": curve.too_young,
            "later": curve.later,
            "curve": [
                {"days": point.days, "share": point.share, "by_source": dict(point.by_source)} for point in curve.points
            ],
        },
        "waiting": found.waits,
        "without_label": [
            {"days": days, "events": count} for days, count in zip(AGES, found.without_label, strict=True)
        ],
        "customers": {
            "asked_7d": found.asked.count,
            "yes": found.answers.get("genuine", 0),
            "no": found.answers.get("fraud", 0),
            "no_answer": found.asked.ended,
            "open": found.asked.open,
            "held": [*together.held],
        },
    }


def _conflict(conflict: Conflict) -> LabelConflict:
    return {
        "event": conflict.event,
        "id": conflict.id,
        "kind": conflict.kind,
        "labels": [
            {
                "verdict": said.verdict,
                "source": said.source,
                "known_at": time_text(said.known_at_ms),
                "in_force": said.in_force,
            }
            for said in conflict.labels
        ],
    }


ROUTES: Final = (
    api("GET", "/labels", Right.READ_DECISIONS, labels)(
        "Get statistics of labels: how many, how fast, conflicting, unmatched, and customers' answers.",
        "The statistics, up to sequence number `counted_to` of the log.",
    ),
)
