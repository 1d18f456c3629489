"""Taking many submissions into a log: in batches, labels merged in by time, committing beside the next batch."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Final

from shroff.decisions.collector import calm_collector
from shroff.decisions.writer import DECIDED, DUPLICATE, REFUSED, TAKEN, UNTAKEN, WAITING, Answer, Prepared, Writer
from shroff.errors import UsageError
from shroff.events.event import Event
from shroff.events.intake import Submission
from shroff.language.values import show_duration

BATCH_SIZE: Final = 4_096
PROBED_LINES: Final = 10_000
LATE_LINES_MAX: Final = 100  # one percent of the probed lines


@dataclass(slots=True)
class Counts:
    """How many submissions of a kind came and what became of them."""

    read: int = 0
    appended: int = 0
    duplicates: int = 0
    quarantined: int = 0
    pending: int = 0


@dataclass(slots=True)
class IngestReport:
    """What an ingest did. `events` and `labels` count apart; `untaken` lines fitted no event type."""

    events: Counts = field(default_factory=Counts)
    labels: Counts = field(default_factory=Counts)
    untaken: int = 0
    by_outcome: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def decisions(self) -> int:
        return sum(self.by_outcome.values())

    def add(self, answers: Iterable[Answer]) -> None:
        for answer in answers:
            if answer.kind == UNTAKEN:
                self.untaken += 1
                continue
            counts = self.labels if answer.is_label else self.events
            counts.read += 1
            if answer.kind in {DECIDED, TAKEN}:
                counts.appended += 1
            elif answer.kind == DUPLICATE:
                counts.duplicates += 1
            elif answer.kind == REFUSED:
                counts.quarantined += 1
            elif answer.kind == WAITING:
                counts.pending += 1
            if answer.kind == DECIDED:
                self.by_outcome[answer.outcome] += 1


def ingest(
    writer: Writer,
    submissions: Iterable[Submission],
    *,
    decide: bool = True,
    batch_size: int = BATCH_SIZE,
    on_batch: Callable[[Sequence[Answer]], None] | None = None,
    between: Callable[[], None] | None = None,
) -> IngestReport:
    """Take all submissions, in order.

    A batch is committed on a thread of its own while the next one is read; `on_batch` is
    told the answers of a batch once it is durable. When this returns or raises, no commit
    is under way, and what was answered is there.
    """
    report, started = IngestReport(), time.monotonic()
    remaining = iter(submissions)

    def settle(pending: tuple[Prepared, Future[None]] | None) -> None:
        if pending is None:
            return
        pending[1].result()
        report.add(pending[0].answers)
        if on_batch is not None:
            on_batch(pending[0].answers)
        if between is not None:
            between()

    with calm_collector(), ThreadPoolExecutor(1, thread_name_prefix="commit") as committer:
        pending: tuple[Prepared, Future[None]] | None = None
        while batch := list(islice(remaining, batch_size)):
            settle(pending)
            pending = None
            prepared = writer.prepare(batch, decide=decide)
            pending = prepared, committer.submit(writer.commit, prepared)
        settle(pending)
    report.seconds = time.monotonic() - started
    return report


def with_labels(events: Iterable[Submission], labels: Iterable[Submission]) -> Iterator[Submission]:
    """Merge label rows in by `known_at`: before the first event at or after it, the rest at the end.

    Memory: all labels at once.
    """
    known = sorted((one for one in labels), key=lambda one: one.label.known_at_ms if one.label else -(2**62))
    at = 0
    for one in events:
        if one.event is not None:
            while at < len(known) and ((label := known[at].label) is None or label.known_at_ms <= one.event.time_ms):
                yield known[at]
                at += 1
        yield one
    yield from known[at:]


def probed(submissions: Iterable[Submission], writer: Writer, source: str) -> Iterator[Submission]:
    """The same submissions, after a look at the first ones.

    Raises: UsageError where more than one percent of the first 10,000 lines would be
        refused as too late. Events that the log has already do not count: they are
        duplicates, however old.
    """
    remaining = iter(submissions)
    first = list(islice(remaining, PROBED_LINES))
    lateness_ms = writer.definitions.settings.lateness_ms
    behind_file = _late([one.event for one in first], None, lateness_ms)
    if len(behind_file) > LATE_LINES_MAX:
        raise UsageError(
            f"{source}: {len(behind_file)} of the first {len(first)} lines are more than {show_duration(lateness_ms)} "
            "behind a line before them, so they would be refused as too late. Nothing was written. "
            "Add --order time to sort the file first."
        )
    behind_log = writer.unknown(_late([one.event for one in first], writer.state.watermark_ms, lateness_ms))
    if behind_log > LATE_LINES_MAX:
        raise UsageError(
            f"{source}: {behind_log} of the first {len(first)} lines are more than {show_duration(lateness_ms)} behind "
            "the newest event of the log, so they would be refused as too late. Nothing was written. "
            "Bring older files in before newer ones, or allow more lateness in shroff.yaml."
        )
    return chain(first, remaining)


def _late(events: Iterable[Event | None], watermark_ms: int | None, lateness_ms: int) -> list[Event]:
    """The events that are too late behind those before them, and behind a watermark."""
    late: list[Event] = []
    for event in events:
        if event is None:
            continue
        if watermark_ms is not None and watermark_ms - event.time_ms > lateness_ms:
            late.append(event)
        watermark_ms = event.time_ms if watermark_ms is None else max(watermark_ms, event.time_ms)
    return late
