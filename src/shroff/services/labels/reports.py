"""Reports on labels: unmatched and conflicting ones, label delay, and statistics."""

from __future__ import annotations

from array import array
from collections import Counter
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct, field

from shroff.arrays import Ints
from shroff.cases import labels as label_statistics
from shroff.cases.labels import Came, Conflict, HeldAnswers, LabelsInMemory, Maturity, came_between, maturity_in
from shroff.errors import UsageError
from shroff.language.values import DAY_MS, day_number
from shroff.log.history import ListedWaiting, waiting_row
from shroff.log.later_labels import latest
from shroff.monitoring.day_figures import CUSTOMER
from shroff.notices.store import QuestionCounts
from shroff.project.policy import OUTCOMES
from shroff.replay.notebook import moment_ms
from shroff.runtime.values import Fresh, FrozenStruct
from shroff.services.notices.files import NoticeFiles
from shroff.services.parts import ProjectPart

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from shroff.project.definitions import Definitions
    from shroff.replay.notebook import Moment
    from shroff.runtime.progress import Progress
    from shroff.services.results.figures import DecidedEvents, ResultEvents
    from shroff.streams.log import Log

LOOK_BACK = 500_000  # sequence numbers: some 200 MB if each has a label; the first call takes 5 s
DAYS_MAX = 3_650  # in the chart
KEPT_BACK = 2_000_000  # sequence numbers; decided events of longer logs are not cached: 120 MB
CHOSEN_KEPT, CHOSEN_S = 4, 600  # cached lists of decisions of a longer log, for further pages: 8 bytes per decision
LISTED_MAX = 10_000  # waiting labels; if there are more, none are listed
SHOWN = 25
AGES = (0, 7, 30, 90)  # days: minimum age in each row of events without a label
ASKED_MS = 7 * DAY_MS
NOTHING = Maturity(0, 0, 0, 0, ())
NO_TIMES = np.zeros(0, np.int64)


class Together(FrozenStruct):
    """Statistics of all counted labels. Conflicts are newest first; `came` counts all, by source."""

    events: int = 0
    in_force: Mapping[str, int] = {}
    came: Sequence[Came] = ()
    conflicts: Sequence[Conflict] = ()
    maturity: Maturity = NOTHING
    held: Sequence[HeldAnswers] = ()
    labeled_ms: Ints = NO_TIMES  # times of labeled events of decided types


class LabelLook(FrozenStruct):
    """All statistics of the labels screen, for labels at sequence numbers in (`counted_after`, `counted_to`].

    `came` counts labels of the period that ends with the newest label; `by_day` counts labels and frauds of each of its
    days, from `first_day` on. `without_label` counts unlabeled events among the `decided` ones, by `AGES`. `asked`
    counts the results of questions mailed in that period, by default seven days, by the clock; `answers` are customers'
    labels in it, by verdict, from any channel. `waits` may exceed the number of listed labels.
    """

    counted_after: int = 0
    counted_to: int = 0
    newest_ms: int = 0
    together: Together = field(default_factory=Together)
    came: Sequence[Came] = tuple(came_between({}, 0, 0))
    first_day: int = 0
    by_day: Sequence[tuple[int, int]] = ()
    without_label: Sequence[int] = (0,) * len(AGES)
    asked: QuestionCounts = field(default_factory=QuestionCounts)
    answers: Mapping[str, int] = {}
    waits: int = 0
    waiting: Sequence[ListedWaiting] = ()
    decided: int = 0


class LabelStatistics(Struct):
    """Cache of a log's labels and their statistics, updated when a report is requested."""

    labels: LabelsInMemory | None = None
    every: LabelsInMemory = field(default_factory=LabelsInMemory)
    decided_ms: array[int] = field(default_factory=lambda: array("q"))
    together: Fresh[Together] = field(default_factory=Fresh)
    events: ResultEvents | None = None
    chosen: Fresh[tuple[Ints, list[tuple[int, int]], Definitions]] = field(default_factory=lambda: Fresh(CHOSEN_KEPT))
    lock: Lock = field(default_factory=Lock)


class LabelReports(ProjectPart):
    """Label reports of a project. Each call reads the current log."""

    _notice_files: NoticeFiles

    @cached_property
    def _kept(self) -> LabelStatistics:
        return self._context.label_statistics.get(LabelStatistics)

    def pending(self, *, as_of: Moment | None = None) -> list[ListedWaiting]:
        """List unmatched labels in order of arrival; with a time, those known by then."""
        as_of_ms = moment_ms(as_of)
        with self._log.reading() as log:
            rows = [waiting_row(label) for label in log.waiting.all()]
        return [row for row in rows if as_of_ms is None or row.known_at_ms <= as_of_ms]

    def conflicts(self, *, as_of: Moment | None = None) -> list[Conflict]:
        """List events with conflicting labels (fraud and genuine) at a time, ordered by their newest label."""
        with self._log.reading() as log:
            return label_statistics.conflicts(log, self._definitions, moment_ms(as_of))

    def maturity(self, *, as_of: Moment | None = None, days: int | None = None) -> Maturity:
        """Return the number of frauds known n days after their event (see `cases.labels.maturity_in`)."""
        as_of_ms, kept = moment_ms(as_of), self._kept
        with kept.lock, self._log.reading() as log:
            labels, kept.every = kept.every, LabelsInMemory()  # after a failure midway, labels would be counted twice
            labels.follow(log, self._definitions)
            kept.every = labels if labels.to <= KEPT_BACK else kept.every
            if as_of_ms is None:
                as_of_ms = latest(log.watermark_ms(), labels.known_at_ms(), self._now_ms())
            return maturity_in(labels.histories, as_of_ms or 0, days, self._definitions.friendly_reasons)

    def known_by(self, ages_days: Sequence[int]) -> dict[int, float]:
        """Return the share of frauds known after given numbers of days; ages beyond the curve are left out."""
        return {point.days: point.share for point in self.maturity().points if point.days in ages_days}

    def decided_events(
        self, by: str, as_of_ms: int, reading: Progress | None = None, fields: Collection[str] = ()
    ) -> DecidedEvents:
        """Return all decided events as of a time, with the values of a field, and further ones as columns (see
        `results.figures`).
        """
        from shroff.services.results.figures import ResultEvents

        definitions = self._definitions
        with self._kept.lock, self._log.reading() as log:
            events = self._kept.events
            if events is None or events.definitions is not definitions:
                events = ResultEvents(definitions)
            self._kept.events = None  # after a failure midway, events would be counted twice
            events.follow(log, {*fields, by} - {""}, reading)
            self._kept.events = events if events.to <= KEPT_BACK else None
            return events.as_of(as_of_ms, by, fields)

    def decisions_with(
        self,
        outcomes: Sequence[str],
        label: str,
        starts_ms: Sequence[int] | None,
        rule: str,
        field_value: tuple[str, str] | None,
        as_of: str | None,
    ) -> tuple[Ints, list[tuple[int, int]]]:
        """Return the ascending sequence numbers of decisions, and count and money by outcome (see
        `DecidedEvents.having`).

        Args:
            label: As known at `as_of`.
            field_value: A field, and its value; empty if missing.
            as_of: Time of the labels. If given, the last lists of a long log are cached, so that paging reads it once.
        """
        from shroff.services.results.figures import tallies

        def choose() -> tuple[Ints, list[tuple[int, int]], Definitions]:
            by, value = field_value or ("", None)
            events = self.decided_events(by, self.maturity(as_of=as_of).as_of_ms)
            are = events.having(outcomes, label, starts_ms, rule, value)
            (table,) = tallies(events, are - 1, 1)
            return np.sort(events.seqs[are]), [table.of([outcome]) for outcome in OUTCOMES], definitions

        definitions = self._definitions

        with self._log.reading() as log:
            is_kept = as_of is not None and log.last_seq() > KEPT_BACK
            cache_key = id(definitions), as_of, *outcomes, label, rule, field_value, *(starts_ms or ())
        return (self._kept.chosen.get(cache_key, choose, CHOSEN_S) if is_kept else choose())[:2]

    # ---- statistics of all

    def look(self, period_ms: int | None = None) -> LabelLook:
        """Return label statistics of a period up to the newest label, or of all time. Thread-safe."""
        now_ms = self._now_ms()
        asked_ms = now_ms - (ASKED_MS if period_ms is None else period_ms)
        with self._kept.lock:
            try:
                with self._log.reading() as log:
                    labels = self._followed(log)
                    as_of_ms = latest(log.watermark_ms(), labels.known_at_ms(), now_ms) or 0
                    waits = log.counts().waiting
                    rows = log.waiting.all()[:SHOWN] if 0 < waits <= LISTED_MAX else []
                with self._notice_files.told() as store, store.look() as look:
                    question_counts = look.asked_between(asked_ms, now_ms + 1, now_ms)
            except UsageError:  # no log yet
                return LabelLook()
            together = self._kept.together.get(labels.count, lambda: self._together(labels, as_of_ms))
            newest_ms = max((known_ms for known_ms in labels.known_at_ms() if known_ms <= as_of_ms), default=0)
            since_ms = -1 if period_ms is None else newest_ms - period_ms
            return LabelLook(
                labels.after,
                labels.to,
                newest_ms,
                together,
                came_between(labels.histories, since_ms, newest_ms),
                *_days(labels, since_ms, newest_ms, self._systems.time_zone),
                _without_label(np.array(self._kept.decided_ms), together.labeled_ms, as_of_ms),
                question_counts,
                next(of.verdicts for of in came_between(labels.histories, asked_ms, now_ms) if of.source == CUSTOMER),
                waits,
                [waiting_row(row) for row in rows],
                len(self._kept.decided_ms),
            )

    def _followed(self, log: Log) -> LabelsInMemory:
        kept, last = self._kept, log.last_seq()
        if kept.labels is None or last - kept.labels.to > LOOK_BACK:
            kept.labels = LabelsInMemory(max(0, last - LOOK_BACK))
            kept.decided_ms = array("q")
        for records in log.read(kept.labels.to, last):
            kept.decided_ms.extend(record.time_ms for record in records if record.decided)
        kept.labels.follow(log, self._definitions)
        return kept.labels

    def _together(self, labels: LabelsInMemory, as_of_ms: int) -> Together:
        histories, decided = labels.histories, self._definitions.events.decided
        return Together(
            len(histories),
            Counter(history.said[history.force].verdict for history in histories.values()),
            came_between(histories, -1, as_of_ms),
            label_statistics.conflicts_in(histories)[::-1],
            maturity_in(histories, as_of_ms, friendly=self._definitions.friendly_reasons),
            label_statistics.held_of(histories, CUSTOMER),
            np.array([history.time_ms for (type_, _), history in histories.items() if type_ in decided], np.int64),
        )


def _days(labels: LabelsInMemory, since_ms: int, newest_ms: int, zone: str) -> tuple[int, list[tuple[int, int]]]:
    """Return the first day with a label in a period, and the labels and frauds of each day from then on."""
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


def _without_label(decided_ms: Ints, labeled_ms: Ints, as_of_ms: int) -> list[int]:
    """Count decided events without a label by `AGES`; ages are exact."""

    def by_age(times_ms: Ints) -> Ints:
        ages_ms = np.maximum(as_of_ms - times_ms, 0)
        rows = np.searchsorted(np.array(AGES) * DAY_MS, ages_ms, "right") - 1
        return np.bincount(rows, minlength=len(AGES))

    return [max(0, int(count)) for count in by_age(decided_ms) - by_age(labeled_ms)]
