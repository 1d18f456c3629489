"""Ingest many submissions in batches: each commit runs in parallel with the next batch."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from logging import DEBUG
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct, field

from shroff.events.intake import Submission
from shroff.events.mapping import Unmatched
from shroff.json_types import JsonObject, TextDict
from shroff.log.batch_classifier import PERSONAL_CHANGED
from shroff.log.columns.lines import in_runs
from shroff.log.writer import DECIDED, DUPLICATE, LATE, REFUSED, TAKEN, UNTAKEN, WAITING, Answer, Prepared, Writer
from shroff.runtime.logs import LOG, say
from shroff.runtime.process_wide import ProcessWide, calm_collector
from shroff.runtime.texts import many, one_line
from shroff.streams.log import Offset
from shroff.worker.inbox_server import InboxServer

if TYPE_CHECKING:
    from shroff.worker.serving.counts import BatchTally

BATCH_SIZE = 4_096
TURN_S = 0.0002  # at the default of 5 ms a commit waited longer for the interpreter lock than the next batch took

One = TypeVar("One")


class IngestCounts(Struct):
    """Counts of submissions by result."""

    read: int = 0
    appended: int = 0
    duplicates: int = 0
    quarantined: int = 0
    pending: int = 0
    late: int = 0  # stored beside the log

    @property
    def words(self) -> str:
        pending = f"{self.pending:,} waiting for their event, " if self.pending else ""
        others = f"{self.duplicates:,} already in the log, {self.quarantined:,} quarantined"
        return f"{self.appended:,} appended, {pending}{others}"


_COUNTED = {  # the count of an answer's kind
    DECIDED: "appended",
    TAKEN: "appended",
    DUPLICATE: "duplicates",
    REFUSED: "quarantined",
    WAITING: "pending",
    LATE: "late",
}


class IngestReport(Struct):
    """Result of an ingest, for events and labels. `untaken` counts lines that fitted no event type.

    `unmatched` lists sources none of whose lines did. A pending label whose event came later in the same ingest is
    `appended`. A label that was pending before and does not fit its event is `quarantined`, though it was not read now.
    """

    events: IngestCounts = field(default_factory=IngestCounts)
    labels: IngestCounts = field(default_factory=IngestCounts)
    untaken: int = 0
    unmatched: list[Unmatched] = []
    changed: list[str] = []  # names of files that changed while they were read
    by_outcome: Counter[str] = field(default_factory=Counter)
    personal_changes: Counter[str] = field(default_factory=Counter)  # by TYPE.FIELD, of repeated events
    seconds: float = 0.0
    tally: BatchTally | None = None  # set if metrics are served
    told: Callable[[Prepared], object] | None = None  # called with each durable batch
    _pending: TextDict = {}  # by label id, see `typed`

    @property
    def decisions(self) -> int:
        return sum(self.by_outcome.values())

    @property
    def typed(self) -> list[str]:
        """Ids of pending labels that look like TYPE/ID with an undeclared type."""
        return [batch for batch in self._pending.values() if batch]

    def document(self) -> JsonObject:
        events = self.events
        labels = self.labels
        typed = self.typed
        return {
            "read": events.read,
            "appended": events.appended,
            "duplicates": events.duplicates,
            "quarantined": events.quarantined,
            "untaken": self.untaken,
            "unmatched": [source.document() for source in self.unmatched],
            "decisions": self.decisions,
            "by_outcome": dict(self.by_outcome),
            "seconds": round(self.seconds, 3),
            "labels": {
                **{
                    name: getattr(labels, name) for name in ("read", "appended", "pending", "duplicates", "quarantined")
                },
                **({"undeclared": {"count": len(typed), "example": typed[0]}} if typed else {}),
            },
            **({"personal_changes": dict(self.personal_changes)} if self.personal_changes else {}),
        }

    def labels_text(self) -> list[str]:
        lines = [f"{many(self.labels.read, 'label')} read: {self.labels.words}."]
        if typed := self.typed:
            example = one_line(typed[0])
            name = one_line(typed[0].partition("/")[0])
            warning = f"{many(len(typed), 'waiting label names', 'waiting labels name')} an event such as {example!r}."
            lines.append(f"{warning} events.yaml declares no event type {name!r}, so the whole text counts as an id.")
        return lines

    def add(self, prepared: Prepared, received: int | None = None) -> None:
        """Count a durable batch of `received` submissions; by default as many as it has answers."""
        kinds = prepared.kinds()
        if self.told is not None:
            self.told(prepared)
        if self.tally is not None:
            self.tally.add(prepared, kinds, len(prepared.answers) if received is None else received)
        if LOG.isEnabledFor(DEBUG):
            for row in prepared.batch.decisions:
                say(DEBUG, "event decided", event=row.event, event_id=row.id, seq=row.seq, outcome=row.outcome)
        for (kind, is_label, outcome), count in kinds.items():
            self._count(kind, outcome, count, is_label=is_label)
            if kind == WAITING:
                self._pending |= {answer.id: answer.typed for answer in prepared.answers if answer.kind == WAITING}
        for remark in prepared.batch.remarks:
            if remark.what == PERSONAL_CHANGED:
                self.personal_changes[remark.asker] += remark.count
        for id_, seq in prepared.met.items():
            if self._pending.pop(id_, None) is not None:
                self.labels.pending -= 1
                self.labels.appended += seq > 0
            self.labels.quarantined += seq == 0

    def _count(self, kind: str, outcome: str, count: int, *, is_label: bool) -> None:
        if kind == UNTAKEN:
            self.untaken += count
            return
        counts = self.labels if is_label else self.events
        counts.read += count
        if (name := _COUNTED.get(kind)) is not None:
            setattr(counts, name, getattr(counts, name) + count)
        if kind == DECIDED:
            self.by_outcome[outcome] += count


def ingest(
    writer: Writer,
    submissions: Iterable[Submission],
    *,
    decide: bool = True,
    batch_size: int = BATCH_SIZE,
    on_batch: Callable[[Sequence[Answer]], None] | None = None,
    inbox: InboxServer | None = None,
    offsets: Callable[[Sequence[Submission]], Sequence[Offset]] | None = None,
) -> IngestReport:
    """Append all submissions, in order.

    A batch is committed on its own thread, which also maintains the log, while the next one is decided and the one
    after it is read. When this returns or raises, no commit is running, and every answered submission is durable.

    Args:
        on_batch: Called with the answers of each durable batch.
        inbox: Pending requests, which run when no batch is open.
        offsets: Called for each batch, in order; returns its source's offsets, which are committed with it.

    Raises: errors of reading, after everything read before is committed; StorageError if a commit fails, with an error
    of reading as its context.
    """
    report = IngestReport()
    started = time.monotonic()

    def told(prepared: Prepared) -> None:
        report.add(prepared)
        if on_batch is not None:
            on_batch(prepared.answers)

    with calm_collector(), short_turns(), ThreadPoolExecutor(1, thread_name_prefix="commit") as thread:
        committer = Committer(writer, thread, told, writer.maintain)
        try:
            for batch in batches(submissions, batch_size):
                committer.finish()
                is_asked = inbox is not None and inbox.has_requests()
                if is_asked or not writer.looks_ahead:
                    committer.start()
                    committer.finish()
                if inbox is not None and is_asked:
                    inbox.serve()
                known_records = writer.look_up(batch)
                committer.start()
                reached = () if offsets is None else offsets(batch)
                committer.prepared = writer.prepare(batch, decide=decide, offsets=reached, known=known_records)
        finally:
            committer.finish()
            committer.start()
            committer.finish()
    if inbox is not None:
        inbox.serve()
    report.seconds = time.monotonic() - started
    return report


def _shorten() -> Callable[[], None]:
    """Shorten the switch interval: the commit thread needs Python's lock briefly, once for each statement."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(TURN_S)
    return lambda: sys.setswitchinterval(before)


short_turns = ProcessWide(_shorten)


class Committer(Struct, eq=False):
    """Commits one batch at a time on another thread; `told` is called on this thread. `prepared` is the next batch."""

    _writer: Writer
    _thread: ThreadPoolExecutor
    _told: Callable[[Prepared], None]
    _between: Callable[[], None] | None
    prepared: Prepared | None = None
    _under_way: tuple[Prepared, Future[None]] | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether a commit is running; do not query the log meanwhile."""
        return self._under_way is not None

    @property
    def is_done(self) -> bool:
        """Whether `finish` returns at once."""
        return self._under_way is None or self._under_way[1].done()

    def start(self) -> None:
        prepared = self.prepared
        self.prepared = None
        if prepared is not None:
            self._under_way = prepared, self._thread.submit(self._commit, prepared)

    def finish(self) -> None:
        """Wait for the running commit. Raises: StorageError if it failed."""
        if self._under_way is None:
            return
        prepared, committed = self._under_way
        committed.result()
        self._under_way = None
        self._told(prepared)

    def _commit(self, prepared: Prepared) -> None:
        self._writer.commit(prepared)
        if self._between is not None:
            self._between()


def batches(items: Iterable[One], size: int) -> Generator[Sequence[One], None, None]:
    """Yield the items in lists of `size`; if reading fails, first the items read before, then the error.

    A run is split only if it is more than a quarter longer: it may contain labels beyond its size.
    """
    for run in in_runs(items, size).runs:
        yield from [run] if 4 * len(run) <= 5 * size else (run[at : at + size] for at in range(0, len(run), size))
