"""Taking many submissions into a log: in batches, labels merged in by time, committing beside the next batch."""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Final, NoReturn, TypeVar

from shroff.errors import UsageError
from shroff.events.event import Event
from shroff.events.formats.sorting import in_order_of_time
from shroff.events.intake import Submission
from shroff.events.unmatched import Unmatched
from shroff.language.values import show_duration
from shroff.log.draft import LATE
from shroff.log.writer import DECIDED, DUPLICATE, REFUSED, TAKEN, UNTAKEN, WAITING, Answer, Prepared, Writer
from shroff.runtime.gc_pause import calm_collector
from shroff.runtime.process_wide import ProcessWide
from shroff.streams.log import Offset
from shroff.worker.inbox import Inbox

BATCH_SIZE: Final = 4_096
PROBED_LINES: Final = 10_000
TURN_S: Final = 0.0002  # at the usual 5 ms a commit waited longer for its turns than deciding the next batch takes
EARLIEST: Final = -(1 << 62)  # before all times
LATE_SHARE_MAX: Final = 0.01
LATE_LINES_MIN: Final = 20  # fewer stop nothing: of three lines one that is late is no sign of a file in disorder

One = TypeVar("One")
Input = tuple[str, Iterable[Submission]]  # a file's name and what is read from it


@dataclass(slots=True)
class Counts:
    """How many submissions of a kind came and what became of them."""

    read: int = 0
    appended: int = 0
    duplicates: int = 0
    quarantined: int = 0
    pending: int = 0
    late: int = 0  # and kept beside the log


@dataclass(slots=True)
class IngestReport:
    """What an ingest did. `events` and `labels` count apart; `untaken` lines fitted no event type.

    `unmatched` has the sources none of whose lines did.

    A label that waited and whose event came later in the same ingest is `appended`. One that
    had waited before and does not fit its event is `quarantined`, though it was not read now.
    """

    events: Counts = field(default_factory=Counts)
    labels: Counts = field(default_factory=Counts)
    untaken: int = 0
    unmatched: list[Unmatched] = field(default_factory=list)
    by_outcome: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    _pending: set[str] = field(default_factory=set)

    @property
    def decisions(self) -> int:
        return sum(self.by_outcome.values())

    def add(self, prepared: Prepared) -> None:
        """Count a batch that is durable."""
        kinds = Counter([(answer.kind, answer.is_label, answer.outcome) for answer in prepared.answers])
        for (kind, is_label, outcome), count in kinds.items():
            self._count(kind, outcome, count, is_label=is_label)
            if kind == WAITING:
                self._pending.update(answer.id for answer in prepared.answers if answer.kind == WAITING)
        for id_, place in prepared.met.items():
            if id_ in self._pending:
                self._pending.remove(id_)
                self.labels.pending -= 1
                self.labels.appended += place > 0
            self.labels.quarantined += place == 0

    def _count(self, kind: str, outcome: str, count: int, *, is_label: bool) -> None:
        if kind == UNTAKEN:
            self.untaken += count
            return
        counts = self.labels if is_label else self.events
        counts.read += count
        if kind in {DECIDED, TAKEN}:
            counts.appended += count
        elif kind == DUPLICATE:
            counts.duplicates += count
        elif kind == REFUSED:
            counts.quarantined += count
        elif kind == WAITING:
            counts.pending += count
        elif kind == LATE:
            counts.late += count
        if kind == DECIDED:
            self.by_outcome[outcome] += count


def ingest(
    writer: Writer,
    submissions: Iterable[Submission],
    *,
    decide: bool = True,
    batch_size: int = BATCH_SIZE,
    on_batch: Callable[[Sequence[Answer]], None] | None = None,
    between: Callable[[], None] | None = None,
    inbox: Inbox | None = None,
    offsets: Callable[[Sequence[Submission]], Sequence[Offset]] | None = None,
) -> IngestReport:
    """Take all submissions, in order.

    A batch is committed on a thread of its own while the next one is decided and the one
    after it is read; `on_batch` is told the answers of a batch once it is durable, and
    `between` is called on that thread behind each commit. When this returns or raises, no
    commit is under way, and what was answered is there. What waits in the `inbox` is
    carried out where no batch is open. `offsets` is asked for each batch, in order, how far
    their source is read with it, which is committed with it.

    Raises: what reading raises, after what was read before is committed; StorageError where a commit fails, with
        an error of reading behind it.
    """
    report, started = IngestReport(), time.monotonic()

    def told(prepared: Prepared) -> None:
        report.add(prepared)
        if on_batch is not None:
            on_batch(prepared.answers)

    with calm_collector(), short_turns(), ThreadPoolExecutor(1, thread_name_prefix="commit") as thread:
        committer = Committer(writer, thread, told, between)
        try:
            for batch in batches(submissions, batch_size):
                committer.finish()
                is_asked = inbox is not None and inbox.has_requests()
                if is_asked or not writer.looks_ahead:
                    committer.start()
                    committer.finish()
                if inbox is not None and is_asked:
                    inbox.serve()
                known = writer.look_up(batch)
                committer.start()
                reached = () if offsets is None else offsets(batch)
                committer.prepared = writer.prepare(batch, decide=decide, offsets=reached, known=known)
        finally:
            committer.finish()
            committer.start()
            committer.finish()
    if inbox is not None:
        inbox.serve()
    report.seconds = time.monotonic() - started
    return report


def _shorten() -> Callable[[], None]:
    """Let the thread that commits have Python's lock soon: it needs it shortly, once for each statement."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(TURN_S)
    return lambda: sys.setswitchinterval(before)


short_turns: Final = ProcessWide(_shorten)


class Committer:
    """Commits one batch at a time on another thread, and tells of it here. `prepared` waits for its turn."""

    def __init__(
        self,
        writer: Writer,
        thread: ThreadPoolExecutor,
        told: Callable[[Prepared], None],
        between: Callable[[], None] | None,
    ) -> None:
        self.prepared: Prepared | None = None
        self._writer, self._thread, self._told, self._between = writer, thread, told, between
        self._under_way: tuple[Prepared, Future[None]] | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether a commit was started that nobody has waited for; the log is not to be asked meanwhile."""
        return self._under_way is not None

    @property
    def is_done(self) -> bool:
        """Whether `finish` need not wait."""
        return self._under_way is None or self._under_way[1].done()

    def start(self) -> None:
        """Begin to commit what was prepared, if anything was."""
        prepared, self.prepared = self.prepared, None
        if prepared is not None:
            self._under_way = prepared, self._thread.submit(self._commit, prepared)

    def finish(self) -> None:
        """Wait for the commit that is under way. Raises: StorageError where it failed."""
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


def batches(items: Iterable[One], size: int) -> Generator[list[One], None, None]:
    """The items in lists of `size`; where reading fails, first what was read and then the error."""
    batch: list[One] = []
    try:
        for one in items:
            batch.append(one)
            if len(batch) == size:
                yield batch
                batch = []
    except Exception:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def with_labels(events: Iterable[Submission], labels: Iterable[Submission]) -> Iterator[Submission]:
    """Merge label rows in by `known_at`: before the first event at or after it, the rest at the end.

    Memory: as `in_order_of_time`, which sorts the labels.
    """
    known = in_order_of_time(labels)
    following = next(known, None)
    for one in events:
        if one.event is not None:
            while following is not None and (
                (label := following.label) is None or label.known_at_ms <= one.event.time_ms
            ):
                yield following
                following = next(known, None)
        yield one
    if following is not None:
        yield following
        yield from known


class Overlaps:
    """Events of files that happened before the newest one of the files before theirs, and came after it.

    `begun` is told of each file, `noted` goes around the submissions of all, `count` is told their answers in order.
    What the log has already does not count.
    """

    def __init__(self) -> None:
        self._source, self._before_ms, self._newest_ms, self._answered = "", EARLIEST, EARLIEST, 0
        self._behind: deque[tuple[int, str]] = deque()  # those that are not answered yet: which one of all, its file
        self.by_file: Counter[str] = Counter()

    def begun(self, source: str, submissions: Iterable[Submission]) -> Iterator[Submission]:
        """The submissions of a file, which begins when the first one is asked for."""
        self._source, self._before_ms = source, self._newest_ms
        yield from submissions

    def noted(self, submissions: Iterable[Submission]) -> Iterator[Submission]:
        """The same submissions."""
        for number, one in enumerate(submissions):
            if one.event is not None:
                time_ms = one.event.time_ms
                if time_ms > self._newest_ms:
                    self._newest_ms = time_ms
                elif time_ms < self._before_ms:
                    self._behind.append((number, self._source))
            yield one

    def count(self, answers: Sequence[Answer]) -> None:
        """Count those that came into the log."""
        begin, self._answered = self._answered, self._answered + len(answers)
        while self._behind and self._behind[0][0] < self._answered:
            number, source = self._behind.popleft()
            self.by_file[source] += answers[number - begin].kind in {DECIDED, TAKEN}

    def warnings(self) -> list[str]:
        """One for all files, where there are such events."""
        found = [f"{count:,} of {source}" for source, count in self.by_file.items() if count]
        text = (
            f"Events happened before the newest one of the files before theirs: {', '.join(found)}. Files are read one "
            "after the other, so windows saw them in another order than they happened. To have all files sorted "
            "together, begin with an empty log and add --order time."
        )
        return [text] if found else []


def arranged(
    inputs: Sequence[Input],
    writer: Writer,
    *,
    by_time: bool = False,
    warn: Callable[[str], object] | None = None,
    overlaps: Overlaps | None = None,
) -> Iterator[Submission]:
    """The submissions of several files: one after the other, or all of them together by time; after a look at each.

    Args:
        warn: Is told of a file in disorder, where that is no error: its order was asked for.
        overlaps: Takes note of files whose times overlap.

    Raises: UsageError where more than one percent, and at least 20, of the first 10,000
        lines of a file would be refused as too late. What the log has already, or a line
        before it, does not count: it is a duplicate, however old. Nothing of any file was given then.
    Memory: the first 10,000 lines of each file. So what the rest of one file makes too late in the next is not seen.
    """
    if by_time:
        together = in_order_of_time(chain.from_iterable(lines for _, lines in inputs))
        inputs = [(", ".join(name for name, _ in inputs), together)]
    newest_ms: int | None = None
    seen: set[tuple[str, str]] = set()
    given: list[Iterator[Submission]] = []
    for source, lines in inputs:
        first, submissions = _read_ahead(iter(lines), PROBED_LINES)
        newest_ms = _probe(first, source, writer, newest_ms, seen, warn, is_alone=len(inputs) == 1)
        given.append(submissions if overlaps is None else overlaps.begun(source, submissions))
    return chain.from_iterable(given)


def _read_ahead(items: Iterator[One], count: int) -> tuple[list[One], Iterator[One]]:
    """The first items, and all of them; an error in reading the first comes where it stands among all."""
    first: list[One] = []
    try:
        for one in islice(items, count):
            first.append(one)  # noqa: PERF402 (what was read before an error is kept)
    except Exception as error:  # noqa: BLE001 (it is raised, later)
        return first, chain(first, _raised(error))
    return first, chain(first, items)


def _raised(error: Exception) -> Iterator[NoReturn]:
    """An iterator that has nothing but this error."""
    yield from ()
    raise error


def _probe(
    first: Sequence[Submission],
    source: str,
    writer: Writer,
    newest_ms: int | None,
    seen: set[tuple[str, str]],
    warn: Callable[[str], object] | None,
    *,
    is_alone: bool,
) -> int | None:
    """Warn, or else raise, where too many of a file's first lines are too late; gives the newest time of all files.

    `seen` are the events of the files before it, and takes in those of this one.
    """
    events = [one.event for one in first if one.event is not None]
    lateness_ms = writer.definitions.settings.lateness_ms
    lines = f"of the first {len(first):,} lines are more than {show_duration(lateness_ms)}"
    behind_file = writer.unknown(_late(events, newest_ms, lateness_ms, seen.copy()))
    if _is_disorder(behind_file, len(first)):
        before, what = (
            ("a line before them", "the file") if is_alone else ("a line before them in these files", "the files")
        )
        if warn is None:
            raise UsageError(
                f"{source}: {behind_file:,} {lines} behind {before}, so they would be refused as too late. "
                f"No event was written. Add --order time to sort {what} first."
            )
        warn(f"{source}: {behind_file:,} {lines} behind {before}, and go to quarantine as too late.")
    behind_log = writer.unknown(_late(events, writer.state.watermark_ms, lateness_ms, seen))
    if _is_disorder(behind_log, len(first)):
        if warn is None:
            raise UsageError(
                f"{source}: {behind_log:,} {lines} behind the newest event of the log, so they would be refused as "
                "too late. No event was written. Bring older files in before newer ones, or allow more lateness in "
                "shroff.yaml."
            )
        warn(f"{source}: {behind_log:,} {lines} behind the newest event of the log, and go to quarantine as too late.")
    times = [event.time_ms for event in events]
    return max(times if newest_ms is None else [newest_ms, *times], default=None)


def _is_disorder(late: int, lines: int) -> bool:
    return late >= LATE_LINES_MIN and late > LATE_SHARE_MAX * lines


def _late(
    events: Iterable[Event], watermark_ms: int | None, lateness_ms: int, seen: set[tuple[str, str]]
) -> list[Event]:
    """The events that are too late behind those before them, and behind a watermark; not those that were `seen`.

    The others are seen then.
    """
    late: list[Event] = []
    for event in events:
        key = event.type, event.id
        if key in seen:
            continue
        if watermark_ms is not None and watermark_ms - event.time_ms > lateness_ms:
            late.append(event)
        else:
            seen.add(key)
        watermark_ms = event.time_ms if watermark_ms is None else max(watermark_ms, event.time_ms)
    return late
