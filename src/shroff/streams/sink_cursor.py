"""Delivery to one sink: from its position on, in order, retried until the sink has it.

Results are reported as `DeliveryProgress`, which the log's writer stores. What was delivered and not stored yet is
delivered again after a crash: see `streams.sink` for what that means to a sink, and docs/decisions/0030 for the reason.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from logging import WARNING
from threading import Lock

import msgspec
from msgspec.json import encode as to_json

from shroff.errors import ShroffError, TransientError
from shroff.json_types import TextMapping
from shroff.runtime import traces
from shroff.runtime.logs import say
from shroff.runtime.retries import Backoff
from shroff.runtime.values import FrozenStruct, frozen, replace
from shroff.streams.delivering_rows import KINDS, Part, outgoing, parts, stuck, with_fields
from shroff.streams.log import Log, Offset, StuckKey, StuckRow, kept_offset
from shroff.streams.sink import AwayError, MakingSink, MarkedSink, Outgoing, Sink, Undelivered, VolatileSink

SPAN = 8_192  # sequence numbers read at once: some 12 MB with documents of 1.4 kB
IDLE_S = 0.05
DUE_EVERY_S = 1.0  # between checks for rows to be retried
DUE_MAX = 100  # rows to be retried in one step
WAIT_S = 0.5  # after the first failure; doubled after each further one
WAIT_S_MAX = 60.0
ASKED_S_MAX = 3_600.0  # longest pause that a sink may request
PATIENCE_COUNT = 10  # a row at which the sink fails is set aside after this many attempts
PATIENCE_S = 900.0  # and this time: repairing a receiver takes minutes
IN_A_ROW_MAX = 100  # rows refused in a row with none accepted: then the rows are not the cause
LOOK_EVERY_S = 10.0  # between queries of the mark of a sink that may lose its content
LOST = (
    "it lost rows that were delivered, such as by a restart without persistence or a dropped table; they are being "
    "delivered again"
)
UNRECORDED_MAX = 1_000  # stuck rows that are not stored yet; a limit of memory

# Stored state of a sink: the offsets of `source_of(name)`, by partition.
THROUGH = ""  # sequence number up to which everything is delivered or stuck
ORIGIN = "origin"  # random, created with the first offset: a mark with another one is from another log
BEGAN = "began"  # for a sink that starts with new rows: the sequence number after which they are
TROUBLE = "trouble"  # current failure and its start, as JSON; empty if there is none


def source_of(sink: str) -> str:
    """Return the name of a sink among the log's offsets."""
    return f"sink:{sink}"


class Trouble(FrozenStruct):
    """Why nothing can be delivered, in words without credentials, and since when."""

    words: str
    since_ms: int


class DeliveryProgress(FrozenStruct):
    """Progress of delivery since the last commit. `before` is the sink's stored position at that time."""

    sink: str
    before: int
    through: int
    trouble: Trouble | None = None
    stuck: list[StuckRow] = msgspec.field(default_factory=list)
    unstuck: list[StuckKey] = msgspec.field(default_factory=list)


@frozen
class SinkRoute:
    """Route of decisions or flags to a sink, for some outcomes or all.

    `from_now` starts a sink that the log does not know at the end of the log instead of its beginning. `settings` are
    those with which `opened` opens it: routes are equal if these and all other fields are. `complete` adds
    fields and times of the events to rows.
    """

    name: str
    opened: Callable[[], Sink] = field(compare=False)
    take: str = "decisions"
    outcomes: Collection[str] = ()
    from_now: bool = False
    settings: object = field(default=None, repr=False)
    complete: Callable[[Log, list[Outgoing]], list[Outgoing]] = field(default=lambda log, rows: rows, compare=False)


class DeliveryHealth(FrozenStruct):
    """State of delivery to a sink. `lag` is the number of sequence numbers that it is behind the log."""

    name: str
    through: int
    lag: int
    sent: int  # rows, since the start
    attempts: int  # failed in a row
    trouble: Trouble | None


def first_offsets(log: Log, starts: Mapping[str, bool], token: Callable[[], str]) -> list[Offset]:
    """Return the offsets to commit before the first delivery, for sinks that the log does not know.

    Args:
        starts: The sinks by name, and whether each starts at the end of the log.
        token: Returns a unique text.
    """
    unknown = [name for name in starts if log.offsets.get(source_of(name), THROUGH) is None]
    begin = {name: str(log.last_seq() if starts[name] else 0) for name in unknown}
    positions = [Offset(source_of(name), THROUGH, offset, before=None) for name, offset in begin.items()]
    positions += [Offset(source_of(name), BEGAN, begin[name]) for name in unknown if starts[name]]
    return [*positions, *(Offset(source_of(name), ORIGIN, token()) for name in unknown)]


def moved_offsets(log: Log, moved: DeliveryProgress) -> list[Offset]:
    """Return the changed offsets of a sink; its position never goes back."""
    source = source_of(moved.sink)
    stored = log.offsets.of(source)
    through = str(max(moved.through, through_of(moved.sink, stored) or 0))
    failure = "" if moved.trouble is None else to_json(moved.trouble).decode()
    current = {THROUGH: through, TROUBLE: failure}
    return [Offset(source, part, text) for part, text in current.items() if stored.get(part, "") != text]


def trouble_of(offsets: TextMapping) -> Trouble | None:
    """Return a sink's stored failure."""
    text = offsets.get(TROUBLE, "")
    return kept_offset("sink", TROUBLE, text, Trouble) if text else None


def through_of(sink: str, offsets: TextMapping) -> int | None:
    """Return a sink's stored position; None before the first delivery."""
    return kept_offset(source_of(sink), THROUGH, offsets[THROUGH], int) if THROUGH in offsets else None


class _Failing(msgspec.Struct):
    """The row at which the sink fails, since when, and the number of attempts."""

    key: str = ""
    since: float = 0.0
    attempts: int = 0


class Courier(msgspec.Struct):
    """Delivers rows of the log to one sink, on one thread; the log's writer calls `moved` and `recorded`.

    Args:
        opened: Opens the log for reading.
        clock: Monotonic seconds; `now_ms` is the time of day, for people.
        retry: Pauses after failures of the sink.
    """

    route: SinkRoute
    opened: Callable[[], Log]
    now_ms: Callable[[], int]
    clock: Callable[[], float] = time.monotonic
    retry: Backoff = msgspec.field(default_factory=lambda: Backoff(WAIT_S, WAIT_S_MAX, draw=random.random))
    through: int = -1  # until the log was queried
    sent: int = 0
    steps: int = 0  # successful ones
    retried: StuckKey | None = None  # last requeued row that was retried, while there are more
    trouble: Trouble | None = None
    _log: Log | None = None
    _sink: Sink | None = None
    _origin: str = ""
    # Whether its sink stores marks: no mark may pass a refused row that is not stored as stuck.
    _is_marked: bool = False
    _parts: deque[Part] = msgspec.field(default_factory=deque)
    _due_at: float = 0.0
    _failing: _Failing = msgspec.field(default_factory=_Failing)
    _in_a_row: int = 0
    _lock: Lock = msgspec.field(default_factory=Lock)
    _recorded: int = 0
    _told: Trouble | None = None  # stored failure
    _mark: str = ""  # mark of a sink that may lose its content
    _look_at: float = 0.0
    _lost: Trouble | None = None
    _lost_upto: int = 0
    _stuck: dict[StuckKey, StuckRow] = {}
    _unstuck: set[StuckKey] = set()

    def step(self) -> float:
        """Do the next step, at most one `send`; return how many seconds nothing will be due, 0 if more is."""
        if not self.retry.is_due or self.needs_store:
            return IDLE_S
        try:
            did = self._work()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - outermost loop of the thread, which must continue
            self._fail(error)
            return IDLE_S
        self.retry.worked()
        if self._lost is not None and self.through >= self._lost_upto:
            self._lost = None
        with self._lock:
            self.trouble = self._lost
        self.steps += 1
        return 0.0 if did else IDLE_S

    @property
    def needs_store(self) -> bool:
        """Whether delivery pauses until stuck rows are stored."""
        return len(self._stuck) >= (1 if self._is_marked else UNRECORDED_MAX)

    @property
    def attempts(self) -> int:
        """Number of failed attempts in a row."""
        return self.retry.failures

    @property
    def is_waiting(self) -> bool:
        """Whether the last attempt failed, and the next one is not due."""
        return self.attempts > 0

    def health(self, last_seq: int) -> DeliveryHealth:
        """Return the state of delivery, without contacting any system."""
        through = max(self.through, 0)
        lag = max(last_seq - through, 0)
        return DeliveryHealth(self.route.name, through, lag, self.sent, self.attempts, self.trouble)

    def moved(self) -> DeliveryProgress | None:
        """Return the progress to commit; None if there is none. Safe from any thread."""
        with self._lock:
            through = max(self.through, self._recorded)
            rows = list(self._stuck.values())
            keys = sorted(self._unstuck)
            if through == self._recorded and self.trouble == self._told and not rows and not keys:
                return None
            return DeliveryProgress(self.route.name, self._recorded, through, self.trouble, rows, keys)

    def recorded(self, moved: DeliveryProgress) -> None:
        """Note that this progress is stored. Safe from any thread."""
        with self._lock:
            self._recorded = moved.through
            self._told = moved.trouble
            for row in moved.stuck:
                if self._stuck.get(row.key) is row:
                    del self._stuck[row.key]
            self._unstuck.difference_update(moved.unstuck)

    def close(self) -> None:
        """Release the sink and the log. Closing twice does nothing."""
        self._parts.clear()
        for part in (self._sink, self._log):
            if part is not None:
                with suppress(Exception):  # a broken connection may fail to close
                    part.close()
        self._sink = self._log = None

    # ---- one step

    def _work(self) -> bool:
        log = self._open_log()
        sink = self._open_sink(log)
        if isinstance(sink, VolatileSink) and self.clock() >= self._look_at:
            self._look_for_loss(sink)
            if self._lost is not None:
                return True
        if self.retried or self.clock() >= self._due_at:
            self._try_again(log, sink)
            self._due_at = self.clock() + DUE_EVERY_S
        if not self._parts:
            upto = min(log.last_seq(), self.through + SPAN)
            if upto <= self.through:
                return False
            rows = self.route.complete(log, KINDS[self.route.take](log, self.through, upto, self.route.outcomes))
            self._parts.extend(parts(with_fields(log, rows) if sink.wants_fields else rows, upto, sink.places_max))
        through, part = self._parts[0]
        if part and self.through < self._lost_upto:
            self._report_loss()
        refused, remaining = self._deliver_part(sink, part, through) if part else ([], [])
        if isinstance(sink, VolatileSink) and not remaining and not self._is_marked_through(sink, through):
            self._look_for_loss(sink)
            return True
        self._parts.popleft()
        if remaining:
            self._parts.appendleft((through, remaining))
        with self._lock:
            self._stuck.update({row.key: row for row in refused})
            self.through = self.through if remaining else through
            self.sent += len(part) - len(remaining) - len(refused)
        return True

    def _look_for_loss(self, sink: VolatileSink) -> None:
        """Go back to the sink's mark if the sink has lost delivered rows."""
        self._mark = sink.mark()
        self._look_at = self.clock() + LOOK_EVERY_S
        origin, _, seq_text = self._mark.partition(" ")
        marked = int(seq_text) if origin == self._origin else 0
        if marked < self.through:
            self._go_back(marked)
            self._report_loss()

    def _go_back(self, kept: int) -> None:
        self._parts.clear()
        self._lost_upto = max(self._lost_upto, self.through)
        with self._lock:
            self.through = kept

    def _report_loss(self) -> None:
        """Report that rows were lost, until all of them are delivered again."""
        if self._lost is None:
            self._lost = Trouble(LOST, self.now_ms())
            say(WARNING, f"sink {self.route.name}: {LOST}", kept=self.through, delivered=self._lost_upto)
        with self._lock:
            self.trouble = self._lost

    def _is_marked_through(self, sink: VolatileSink, through: int) -> bool:
        """Move the sink's mark; return False if another process or a loss changed it meanwhile."""
        mark = f"{self._origin} {through}"
        is_set = sink.set_mark(mark, self._mark)
        if is_set:
            self._mark = mark
        return is_set

    def _open_log(self) -> Log:
        if self._log is None:
            self._log = self.opened()
            offsets = self._log.offsets.of(source_of(self.route.name))
            with self._lock:
                self._recorded = through_of(self.route.name, offsets) or 0
                self._told = trouble_of(offsets)
                self.through = max(self.through, self._recorded)
            self._origin = offsets[ORIGIN]
        return self._log

    def _open_sink(self, log: Log) -> Sink:
        """Open the sink if needed, and take over what a new one says that it has."""
        if self._sink is None:
            self._sink = sink = self.route.opened()
            self._look_at = 0.0
            if isinstance(sink, MakingSink) and not self.route.from_now and self.through and sink.is_missing():
                self._go_back(0)
            if isinstance(sink, MarkedSink):
                self._is_marked = True
                origin, _, seq_text = sink.mark().partition(" ")
                if origin == self._origin and int(seq_text) > self.through:
                    with self._lock:
                        self.through = int(seq_text)
        return self._sink

    def _send(self, sink: Sink, rows: Sequence[Outgoing], through: int) -> list[Undelivered]:
        with traces.delivering(self.route.name, [row.seq for row in rows] if traces.is_on() else ()):
            if isinstance(sink, MarkedSink):
                return sink.send_marked(rows, f"{self._origin} {through}")
            return sink.send(rows)

    def _deliver_part(self, sink: Sink, part: list[Outgoing], through: int) -> tuple[list[StuckRow], list[Outgoing]]:
        """Deliver a part; return the rows that are stuck from now on, and those still to be sent.

        Raises: TransientError if none of it counts as delivered.
        """
        answers = self._send(sink, part, through)
        failing = next((answer for answer in answers if answer.may_pass), None)
        if failing is not None and not self._is_out_of_patience(failing):
            raise TransientError(f"{failing.row.event}/{failing.row.id}: {failing.reason}")
        tried = len(part) if failing is None else part.index(failing.row) + 1  # rows after it were not sent
        self._count(answers, tried)
        now_ms = self.now_ms()
        rows = {}
        for answer in answers:
            reason = f"{answer.reason}, after {self._failing.attempts} attempts" if answer.may_pass else answer.reason
            rows[answer.row.key] = stuck(self.route.name, answer.row, reason, now_ms)
        # A sink with marks stored none of them, and gets the rest with its mark once the refused rows are stored as
        # stuck.
        remaining = part if rows and self._is_marked else part[tried:]
        return list(rows.values()), [row for row in remaining if row.key not in rows]

    def _count(self, answers: Sequence[Undelivered], tried: int) -> None:
        """Count rows refused in a row. Raises: TransientError if the rows cannot be the cause."""
        in_a_row = 0 if len(answers) < tried else self._in_a_row + tried
        if in_a_row >= IN_A_ROW_MAX:
            raise TransientError(
                f"{in_a_row} rows in a row were refused and none was taken, so it is not for the rows "
                f"that it refuses them. The last reason: {answers[-1].reason}"
            )
        self._in_a_row = in_a_row

    def _is_out_of_patience(self, undelivered: Undelivered) -> bool:
        now_s = self.clock()
        failing = self._failing
        if failing.key != undelivered.row.key:
            failing.key = undelivered.row.key
            failing.since = now_s
            failing.attempts = 0
        failing.attempts += 1
        return failing.attempts >= PATIENCE_COUNT and now_s - failing.since >= PATIENCE_S

    def _try_again(self, log: Log, sink: Sink) -> None:
        """Retry some requeued rows, each alone; a refused row is stuck again."""
        rows = log.outbox.stuck(self.route.name, is_due=True, after=self.retried or ("", 0, 0), limit=DUE_MAX)
        for row in rows:
            if row.key in self._stuck or row.key in self._unstuck:
                continue  # its change is not stored yet
            alone = [outgoing(row)]
            answers = self._send(sink, with_fields(log, alone) if sink.wants_fields else alone, self.through)
            with self._lock:
                if answers:
                    stuck_again = replace(row, reason=answers[0].reason, attempts=row.attempts + 1, is_due=False)
                    self._stuck[row.key] = replace(stuck_again, at_ms=self.now_ms())
                else:
                    self._unstuck.add(row.key)
                    self.sent += 1
        self.retried = rows[-1].key if len(rows) == DUE_MAX else None

    def _fail(self, error: BaseException) -> None:
        """Wait, then restart with a new connection from the position that the sink then reports."""
        self.close()
        message = str(error) if isinstance(error, ShroffError) else f"a mistake in the adapter ({type(error).__name__})"
        since_ms = self.trouble.since_ms if self.trouble is not None else self.now_ms()
        with self._lock:
            self.trouble = Trouble(message, since_ms)
        self.retry.failed(least_s=min(error.after_s, ASKED_S_MAX) if isinstance(error, AwayError) else 0.0)
