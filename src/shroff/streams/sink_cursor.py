"""Delivery to one sink: from the place where it is, in order, again and again until the sink has it.

What comes of it is told as `DeliveryProgress`, and the process that writes the log puts that into the store. What was
delivered and is not there yet is delivered again after a crash: see `streams.sink` for what that means to a sink,
and docs/decisions/0030 for why it is so.
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
from shroff.runtime.values import FrozenStruct, frozen, replace
from shroff.streams.delivering_rows import KINDS, Part, outgoing, parts, stuck, with_fields
from shroff.streams.log import Log, Offset, Outbox, StuckKey, StuckRow, kept_offset
from shroff.streams.sink import AwayError, MakingSink, MarkedSink, Outgoing, Sink, Undelivered, VolatileSink

SPAN = 8_192  # places read at once: with documents of 1.4 kB some 12 MB
IDLE_S = 0.05
DUE_EVERY_S = 1.0  # how often it is looked for rows that are to be tried again
DUE_MAX = 100  # of them in one step
WAIT_S = 0.5  # after the first failure, twice as long after each further one,
WAIT_S_MAX = 60.0  # up to this
ASKED_S_MAX = 3_600.0  # what a sink may ask for
PATIENCE_COUNT = 10  # a row that the sink fails at is set aside after so many attempts,
PATIENCE_S = 900.0  # and so long: a receiver that is being mended takes minutes
IN_A_ROW_MAX = 100  # so many rows refused and none taken: then it is not the rows
LOOK_EVERY_S = 10.0  # how often a sink that may lose its content is asked for its mark
LOST = (
    "it lost rows that were delivered, such as by a restart without persistence or a dropped table; they are being "
    "delivered again"
)
UNRECORDED_MAX = 1_000  # stuck rows that wait for the store; more would be memory without end

# What the store has of a sink, among the offsets of `source_of(name)`, by their parts.
THROUGH = ""  # the place that everything is behind
ORIGIN = "origin"  # made with the first: marks with another one are of another log
BEGAN = "began"  # of a sink that starts with new rows: the place behind which they are
TROUBLE = "trouble"  # what is wrong since when, as JSON; empty while all is well


def source_of(sink: str) -> str:
    """The name of a sink among the log's offsets."""
    return f"sink:{sink}"


class Trouble(FrozenStruct):
    """Why nothing gets through, in words without credentials, and since when."""

    words: str
    since_ms: int


class DeliveryProgress(FrozenStruct):
    """Progress of delivery since the last commit. `before` is the sink's position in the store then."""

    sink: str
    before: int
    through: int
    trouble: Trouble | None = None
    stuck: list[StuckRow] = msgspec.field(default_factory=list)
    unstuck: list[StuckKey] = msgspec.field(default_factory=list)


@frozen
class SinkRoute:
    """Route of decisions or flags to a sink, of some outcomes or of all.

    `from_now` begins a sink that the log does not know with what comes from then on, else it begins at the first place.
    `settings` are what `opened` opens it by: routes are equal where all else and these are.
    """

    name: str
    opened: Callable[[], Sink] = field(compare=False)
    take: str = "decisions"
    outcomes: Collection[str] = ()
    from_now: bool = False
    settings: object = field(default=None, repr=False)


class DeliveryHealth(FrozenStruct):
    """How delivery to a sink is doing. `lag` is how many places of the log it is behind."""

    name: str
    through: int
    lag: int
    sent: int  # rows, since the start
    attempts: int  # that failed one after the other
    trouble: Trouble | None


def first_offsets(log: Log, starts: Mapping[str, bool], token: Callable[[], str]) -> list[Offset]:
    """Offsets to commit before the first delivery, for sinks that the log does not know.

    Args:
        starts: The sinks by name, and whether each begins from now.
        token: Gives a text that nobody else has.
    """
    unknown = [name for name in starts if log.offset(source_of(name), THROUGH) is None]
    begin = {name: str(log.last_seq() if starts[name] else 0) for name in unknown}
    places = [Offset(source_of(name), THROUGH, place, before=None) for name, place in begin.items()]
    places += [Offset(source_of(name), BEGAN, begin[name]) for name in unknown if starts[name]]
    return [*places, *(Offset(source_of(name), ORIGIN, token()) for name in unknown)]


def moved_offsets(log: Outbox, moved: DeliveryProgress) -> list[Offset]:
    """Changed offsets of a sink; its place never goes back."""
    source = source_of(moved.sink)
    known = log.offsets(source)
    through = str(max(moved.through, through_of(moved.sink, known) or 0))
    trouble = "" if moved.trouble is None else to_json(moved.trouble).decode()
    wanted = {THROUGH: through, TROUBLE: trouble}
    return [Offset(source, part, text) for part, text in wanted.items() if known.get(part, "") != text]


def trouble_of(offsets: TextMapping) -> Trouble | None:
    """A sink's trouble, as stored."""
    text = offsets.get(TROUBLE, "")
    return kept_offset("sink", TROUBLE, text, Trouble) if text else None


def through_of(sink: str, offsets: TextMapping) -> int | None:
    """The place that everything is behind, as stored; None before the first delivery."""
    return kept_offset(source_of(sink), THROUGH, offsets[THROUGH], int) if THROUGH in offsets else None


class _Failing(msgspec.Struct):
    """The row that the sink fails at, since when, and how often it came."""

    key: str = ""
    since: float = 0.0
    attempts: int = 0


class Courier(msgspec.Struct):
    """Carries rows of the log to one sink, on one thread; `moved` and `recorded` are for the one that writes the log.

    Args:
        opened: Opens the log to read.
        clock: Seconds that never go back; `now_ms` is the time of day, for people.
        draw: A number in [0, 1), so that several sinks that wait do not keep in step.
    """

    route: SinkRoute
    opened: Callable[[], Log]
    now_ms: Callable[[], int]
    clock: Callable[[], float] = time.monotonic
    draw: Callable[[], float] = random.random
    through: int = -1  # until the log was asked
    sent: int = 0
    steps: int = 0  # that went well
    attempts: int = 0
    retried: StuckKey | None = None  # up to where rows that were put back left again, while there are more
    trouble: Trouble | None = None
    _log: Log | None = None
    _sink: Sink | None = None
    _origin: str = ""
    _is_marked: bool = False  # whether its sink keeps marks: no mark passes a row that the store does not have as stuck
    _parts: deque[Part] = msgspec.field(default_factory=deque)
    _not_before: float = 0.0
    _due_at: float = 0.0
    _failing: _Failing = msgspec.field(default_factory=_Failing)
    _in_a_row: int = 0
    _lock: Lock = msgspec.field(default_factory=Lock)
    _recorded: int = 0
    _told: Trouble | None = None  # what the store has
    _mark: str = ""  # what a sink that may lose its content has
    _look_at: float = 0.0
    _lost: Trouble | None = None
    _lost_upto: int = 0
    _stuck: dict[StuckKey, StuckRow] = {}
    _unstuck: set[StuckKey] = set()

    def step(self) -> float:
        """Do what is next, one `send` at most; gives how many seconds nothing will be due, 0 where more is."""
        if self.clock() < self._not_before or self.needs_store:
            return IDLE_S
        try:
            did = self._work()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the outermost loop of its thread, which goes on
            self._fail(error)
            return IDLE_S
        self.attempts = 0
        if self._lost is not None and self.through >= self._lost_upto:
            self._lost = None
        with self._lock:
            self.trouble = self._lost
        self.steps += 1
        return 0.0 if did else IDLE_S

    @property
    def needs_store(self) -> bool:
        """Whether nothing goes on until the store has the rows that are stuck."""
        return len(self._stuck) >= (1 if self._is_marked else UNRECORDED_MAX)

    @property
    def is_waiting(self) -> bool:
        """Whether the last attempt failed, and the next one is not due."""
        return self.attempts > 0

    def health(self, last_seq: int) -> DeliveryHealth:
        """How it is doing, by what is known without asking anybody."""
        through = max(self.through, 0)
        lag = max(last_seq - through, 0)
        return DeliveryHealth(self.route.name, through, lag, self.sent, self.attempts, self.trouble)

    def moved(self) -> DeliveryProgress | None:
        """Progress to commit; None where there is nothing new. For any thread."""
        with self._lock:
            through = max(self.through, self._recorded)
            rows = list(self._stuck.values())
            keys = sorted(self._unstuck)
            if through == self._recorded and self.trouble == self._told and not rows and not keys:
                return None
            return DeliveryProgress(self.route.name, self._recorded, through, self.trouble, rows, keys)

    def recorded(self, moved: DeliveryProgress) -> None:
        """The store was told. For any thread."""
        with self._lock:
            self._recorded = moved.through
            self._told = moved.trouble
            for row in moved.stuck:
                if self._stuck.get(row.key) is row:
                    del self._stuck[row.key]
            self._unstuck.difference_update(moved.unstuck)

    def close(self) -> None:
        """Let go of the sink and the log. Closing twice does nothing."""
        self._parts.clear()
        for part in (self._sink, self._log):
            if part is not None:
                with suppress(Exception):  # what is broken may not close either
                    part.close()
        self._sink = self._log = None

    # Below: one step

    def _work(self) -> bool:
        log = self._opened_log()
        sink = self._opened_sink(log)
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
            rows = KINDS[self.route.take](log, self.through, upto, self.route.outcomes)
            self._parts.extend(parts(with_fields(log, rows) if sink.wants_fields else rows, upto, sink.places_max))
        through, part = self._parts[0]
        if part and self.through < self._lost_upto:
            self._tell_loss()
        refused, left = self._refused(sink, part, through) if part else ([], [])
        if isinstance(sink, VolatileSink) and not left and not self._is_marked_through(sink, through):
            self._look_for_loss(sink)
            return True
        self._parts.popleft()
        if left:
            self._parts.appendleft((through, left))
        with self._lock:
            self._stuck.update({row.key: row for row in refused})
            self.through = self.through if left else through
            self.sent += len(part) - len(left) - len(refused)
        return True

    def _look_for_loss(self, sink: VolatileSink) -> None:
        """Go back to the sink's mark if it is behind what was delivered."""
        self._mark = sink.mark()
        self._look_at = self.clock() + LOOK_EVERY_S
        origin, _, place = self._mark.partition(" ")
        kept = int(place) if origin == self._origin else 0
        if kept < self.through:
            self._go_back(kept)
            self._tell_loss()

    def _go_back(self, kept: int) -> None:
        """Deliver again what is behind a place."""
        self._parts.clear()
        self._lost_upto = max(self._lost_upto, self.through)
        with self._lock:
            self.through = kept

    def _tell_loss(self) -> None:
        """Say that rows were lost, until all of them are delivered again."""
        if self._lost is None:
            self._lost = Trouble(LOST, self.now_ms())
            say(WARNING, f"sink {self.route.name}: {LOST}", kept=self.through, delivered=self._lost_upto)
        with self._lock:
            self.trouble = self._lost

    def _is_marked_through(self, sink: VolatileSink, through: int) -> bool:
        """Move the sink's mark; return False if somebody or a loss has changed it meanwhile."""
        mark = f"{self._origin} {through}"
        is_set = sink.set_mark(mark, self._mark)
        if is_set:
            self._mark = mark
        return is_set

    def _opened_log(self) -> Log:
        if self._log is None:
            self._log = self.opened()
            offsets = self._log.offsets(source_of(self.route.name))
            with self._lock:
                self._recorded, self._told = through_of(self.route.name, offsets) or 0, trouble_of(offsets)
                self.through = max(self.through, self._recorded)
            self._origin = offsets[ORIGIN]
        return self._log

    def _opened_sink(self, log: Log) -> Sink:
        """The sink, and with a new one what it says itself that it has."""
        if self._sink is None:
            self._sink = sink = self.route.opened()
            self._look_at = 0.0
            if isinstance(sink, MakingSink) and not self.route.from_now and self.through and sink.is_missing():
                self._go_back(0)
            if isinstance(sink, MarkedSink):
                self._is_marked = True
                origin, _, place = sink.mark().partition(" ")
                if origin == self._origin and int(place) > self.through:
                    with self._lock:
                        self.through = int(place)
        return self._sink

    def _send(self, sink: Sink, rows: Sequence[Outgoing], through: int) -> list[Undelivered]:
        with traces.delivering(self.route.name, [row.seq for row in rows] if traces.is_on() else ()):
            if isinstance(sink, MarkedSink):
                return sink.send_marked(rows, f"{self._origin} {through}")
            return sink.send(rows)

    def _refused(self, sink: Sink, part: list[Outgoing], through: int) -> tuple[list[StuckRow], list[Outgoing]]:
        """Deliver a part; gives the rows that are stuck from now on, and those that are still to be sent.

        Raises: TransientError where none of it counts as delivered.
        """
        answers = self._send(sink, part, through)
        failing = next((answer for answer in answers if answer.may_pass), None)
        if failing is not None and not self._is_out_of_patience(failing):
            raise TransientError(f"{failing.row.event}/{failing.row.id}: {failing.reason}")
        tried = len(part) if failing is None else part.index(failing.row) + 1  # behind it nothing was sent
        self._count(answers, tried)
        now_ms = self.now_ms()
        rows = {}
        for answer in answers:
            reason = f"{answer.reason}, after {self._failing.attempts} attempts" if answer.may_pass else answer.reason
            rows[answer.row.key] = stuck(self.route.name, answer.row, reason, now_ms)
        # A sink that keeps marks took none of them, and takes the rest with its mark once the store has the refused
        left = part if rows and self._is_marked else part[tried:]
        return list(rows.values()), [row for row in left if row.key not in rows]

    def _count(self, answers: Sequence[Undelivered], tried: int) -> None:
        """Count rows that are refused one after the other. Raises: TransientError where it cannot be for the rows."""
        in_a_row = 0 if len(answers) < tried else self._in_a_row + tried
        if in_a_row >= IN_A_ROW_MAX:
            raise TransientError(
                f"{in_a_row} rows in a row were refused and none was taken, so it is not for the rows "
                f"that it refuses them. The last reason: {answers[-1].reason}"
            )
        self._in_a_row = in_a_row

    def _is_out_of_patience(self, undelivered: Undelivered) -> bool:
        now = self.clock()
        failing = self._failing
        if failing.key != undelivered.row.key:
            failing.key = undelivered.row.key
            failing.since = now
            failing.attempts = 0
        failing.attempts += 1
        return failing.attempts >= PATIENCE_COUNT and now - failing.since >= PATIENCE_S

    def _try_again(self, log: Log, sink: Sink) -> None:
        """Retry some requeued rows, each alone; a rejected row is stuck again."""
        rows = log.stuck(self.route.name, is_due=True, after=self.retried or ("", 0, 0), limit=DUE_MAX)
        for row in rows:
            if row.key in self._stuck or row.key in self._unstuck:
                continue  # the store is not told yet
            alone = [outgoing(row)]
            answers = self._send(sink, with_fields(log, alone) if sink.wants_fields else alone, self.through)
            with self._lock:
                if answers:
                    again = replace(row, reason=answers[0].reason, attempts=row.attempts + 1, is_due=False)
                    self._stuck[row.key] = replace(again, at_ms=self.now_ms())
                else:
                    self._unstuck.add(row.key)
                    self.sent += 1
        self.retried = rows[-1].key if len(rows) == DUE_MAX else None

    def _fail(self, error: BaseException) -> None:
        """Wait, and begin anew: with a new connection, and what the sink then says that it has."""
        self.close()
        words = str(error) if isinstance(error, ShroffError) else f"a mistake in the adapter ({type(error).__name__})"
        since_ms = self.trouble.since_ms if self.trouble is not None else self.now_ms()
        with self._lock:
            self.trouble = Trouble(words, since_ms)
        longest = min(WAIT_S * 2.0 ** min(self.attempts, 20), WAIT_S_MAX)
        wait_s = longest * (0.5 + self.draw() / 2)
        if isinstance(error, AwayError):
            wait_s = max(wait_s, min(error.after_s, ASKED_S_MAX))
        self.attempts += 1
        self._not_before = self.clock() + wait_s
