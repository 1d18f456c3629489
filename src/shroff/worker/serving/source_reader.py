"""One of several sources that are read in parallel: its thread, its state, and counts of its messages."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from msgspec import Struct

from shroff.errors import ShroffError, StateError, TransientError, UsageError
from shroff.events.intake import READ
from shroff.json_types import TextDict, TextMapping
from shroff.log.writer import DUPLICATE, LATE, REFUSED, UNTAKEN
from shroff.runtime.progress import Tell, unheard
from shroff.runtime.retries import Backoff
from shroff.runtime.values import replace
from shroff.streams.log import Refused
from shroff.streams.merge import Merge, MergingSource, Run
from shroff.streams.source import Health, PartLag, PolledMessages, Source

PAUSES_S = (0.1, 5.0)  # before a failed source is retried: the shortest and the longest
PATIENCE_S = 30.0  # how long the others wait for a source that may have earlier messages
ANSWER_S = 20.0  # timeout of a call that needs the source's answer
SKIPPED = {UNTAKEN: "messages of no event type", LATE: "late events, kept beside the log"}


class ReadNews(Struct):
    """Counts of a source's messages since the last call, and the source's health.

    Args:
        skipped: Messages neither in the log nor in quarantine, by reason.
        event_ms: Time of the newest appended event.
        failing: Why the source returns nothing; empty if it is healthy.
        waiting: Unread messages, if known.
    """

    appended: int = 0
    duplicates: int = 0
    quarantined: int = 0
    skipped: dict[str, int] = {}
    event_ms: int | None = None
    failing: str = ""
    waiting: int | None = None
    has_come: bool = False

    def add(self, kind: str, time_ms: int | None) -> None:
        """Count a message by its result, with the time of its event."""
        self.has_come = True
        if kind in SKIPPED:
            self.skipped[SKIPPED[kind]] = self.skipped.get(SKIPPED[kind], 0) + 1
        elif kind == DUPLICATE:
            self.duplicates += 1
        elif kind == REFUSED:
            self.quarantined += 1
        else:
            self.appended += 1
            if time_ms is not None:
                self.event_ms = max(time_ms, self.event_ms or time_ms)


class EarlierPositions(Struct, eq=False):
    """Offsets, in `known`, that a source reached before it had a name, or while it was the only one of its kind.

    Args:
        claims: The topics (streams, subscriptions) of all sources of its kind, each with the labels that declare it.
    """

    _label: str
    _claims: Mapping[str, Collection[str]]
    known: TextDict = {}

    def adopt(self, positions: TextMapping) -> None:
        """Take over the offsets that may belong to this source."""
        self.known = {part: offset for part, offset in positions.items() if self._label in self._claimed(part)}

    def check(self) -> None:
        """Raise UsageError if an offset may also belong to another source."""
        for part in self.known:
            if len(claimed := self._claimed(part)) > 1:
                raise UsageError(
                    f"the log has one position of {part}, from before {' and '.join(sorted(claimed))} had names. Reset "
                    f"it with 'shroff sources forget {part}'; known events are not appended twice"
                )

    def _claimed(self, part: str) -> Collection[str]:
        """Return the labels of the sources that may have read a partition: only this one for an undeclared topic."""
        claims = (self._claims[name] for name in (part, part.rpartition("/")[0]) if name in self._claims)
        return next(claims, (self._label,))


class _OwnThread:
    """The thread of a source; calls of a source that is alone run at once, without a thread."""

    def __init__(self, label: str, *, is_alone: bool) -> None:
        self._label = label
        self._thread = None if is_alone else ThreadPoolExecutor(1, thread_name_prefix=f"source {label}")

    def later(self, work: Callable[..., Any], *args: Any) -> Future[Any]:
        """Run a call after those that were requested before it."""
        if self._thread is not None:
            return self._thread.submit(work, *args)
        result: Future[Any] = Future()
        try:
            result.set_result(work(*args))
        except Exception as error:  # noqa: BLE001 - raised by `result()`, as from a thread
            result.set_exception(error)
        return result

    def answer(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run a call after those requested before, and return its result.

        Raises: TransientError if that takes longer than `ANSWER_S`.
        """
        try:
            return self.later(work, *args).result(ANSWER_S)
        except TimeoutError:
            raise TransientError(f"source {self._label} does not answer") from None

    def close(self) -> None:
        if self._thread is not None:
            self._thread.shutdown()


class NamedReader:
    """A named source. Only its own thread uses it while a task runs.

    Args:
        claims: As for `EarlierPositions`.
        tell: Called when the source fails, and when it is read again.

    `before` holds offsets from the time before it had a name. `is_filled`: messages can be taken from it now.
    `is_drained`: it had none left when messages were last taken. `is_slow`: nobody waits for its running task.
    """

    def __init__(
        self,
        label: str,
        source: Source,
        claims: Mapping[str, Collection[str]],
        tell: Tell = unheard,
        *,
        is_alone: bool = False,
    ) -> None:
        self.label = label
        self.source = source
        self._tell = tell
        self.name = f"{READ}/{label}"
        self.takes_refused = source.takes_refused
        self.retry = Backoff(*PAUSES_S)
        self.news = ReadNews()
        self.health = Health()
        self.error: ShroffError | None = None
        self.before = EarlierPositions(label, claims)
        self._reached: TextDict = {}
        self._is_begun = self.is_filled = self.is_drained = self.is_slow = self._was_failing = False
        self._told: tuple[str, int | None] = "", None
        self._absent_s: float | None = None
        self.task: Future[Any] | None = None
        self.thread = _OwnThread(label, is_alone=is_alone)

    @property
    def merge(self) -> Merge | None:
        """The merge in which its messages wait; None for a source that does not merge."""
        return self.source.merge if isinstance(self.source, MergingSource) else None

    @property
    def failing(self) -> str:
        messages = [str(self.error)] if self.error is not None else self.health.words
        return messages[-1] if messages else ""

    @property
    def is_lasting(self) -> bool:
        return self.error is not None and not isinstance(self.error, TransientError)

    def own(self, offsets: TextMapping) -> TextDict:
        """Return the offsets of this source's partitions, under the source's own names for them."""
        begin = f"{self.name}/"
        return {part.removeprefix(begin): offset for part, offset in offsets.items() if part.startswith(begin)}

    def named(self, found: Sequence[PolledMessages]) -> list[PolledMessages]:
        """Return messages with their partitions renamed as the log has them, and note their offsets."""
        self._reached |= {polled.part: polled.offset for polled in found}
        return [polled._replace(part=f"{self.name}/{polled.part}") for polled in found]

    def taken(self, runs: Sequence[Run]) -> list[PolledMessages]:
        assert isinstance(self.source, MergingSource)
        return self.named(self.source.taken(runs))

    # ---- its thread

    def begin_at(self, offsets: TextDict) -> None:
        """Restart after these offsets; messages polled since then come again."""
        if self.task is not None:
            wait([self.task])
        self.task = None
        self._reached = self.before.known | offsets
        self.retry = Backoff(*PAUSES_S)
        self.error = None
        self._is_begun = self.is_filled = self.is_drained = False
        self._absent_s = None

    def fill(self, limit: int) -> None:
        """Start a task that fills its merge, or restarts the source, if none runs."""
        if self.task is None and (self._is_begun or self.retry.is_due):
            self.is_filled = False
            offsets = None if self._is_begun else dict(self._reached)
            self.task = self.thread.later(_filled, self.source, limit, offsets, self.before)

    def collect(self, wait_s: float = 0.0) -> list[PolledMessages]:
        """Return messages of a finished `fill` that bypass the merge; wait up to `wait_s` for it."""
        if self.task is not None and wait_s:
            wait([self.task], wait_s)
        if self.task is None or not self.task.done():
            return []
        task = self.task
        self.task = None
        self.is_slow = False
        try:
            messages, self.health = task.result() or (None, self.health)
        except (TransientError, UsageError, StateError) as error:
            self._is_away(error)
            return []
        if messages is not None:
            self.error = None
            self._is_begun = True
            self.is_filled = True
            self.retry.worked()
            self._absent_s = None
            if self.merge is not None and self.merge.count:
                self.is_drained = False
        self._is_begun = True
        self._tell_of_it()
        return self.named(messages or ())

    def _is_away(self, error: ShroffError) -> None:
        self._is_begun = False
        self.error = error
        self.retry.failed(is_lasting=self.is_lasting)
        self._tell_of_it()

    def _tell_of_it(self) -> None:
        if bool(self.failing) != self._was_failing:
            self._was_failing = not self._was_failing
            state = f"fails: {self.failing}" if self._was_failing else "is read again"
            self._tell(f"source {self.label} {state}")

    def find_out(self) -> None:
        """Start a task that queries the partitions that its merge waits for."""
        assert isinstance(self.source, MergingSource)
        self.task = self.thread.later(_found_out, self.source)

    def has_found_out(self) -> bool:
        """Return whether there is a reason to take messages again; False while the task still runs."""
        if self.task is None or not self.task.done():
            self.is_filled = False
            return False
        task = self.task
        self.task = None
        try:
            return task.result() is not None
        except (TransientError, UsageError, StateError) as error:
            self.is_filled = False
            self._is_away(error)
            return False

    def await_messages(self, wait_s: float) -> None:
        """Start a task that waits for messages, if the merge has none that could be taken."""
        merge = self.merge
        if self.task is None and self._is_begun and merge is not None and (merge.waits_for or not merge.count):
            self.is_filled = False
            self.is_slow = True
            self.task = self.thread.later(_waited, self.source, merge.pause_s(wait_s))

    def holds_up(self, now_s: float) -> bool:
        """Return whether the other sources must wait, since this one may have earlier messages."""
        if self.is_filled or self.is_drained or self.is_lasting:
            return False
        self._absent_s = now_s if self._absent_s is None else self._absent_s
        return now_s - self._absent_s < PATIENCE_S

    # ---- dead letters and state

    def refuse(self, refused: Sequence[Refused]) -> None:
        """Send dead letters. Raises: TransientError if sending failed; they come again."""
        begin = f"{self.name}/"
        self.thread.answer(self.source.refuse, [replace(row, source=row.source.removeprefix(begin)) for row in refused])

    def told(self) -> ReadNews | None:
        """Return the news since the last call; None if there is none."""
        state = self.failing, self.health.lag
        if not self.news.has_come and state == self._told:
            return None
        news = self.news
        self.news = ReadNews()
        self._told = state
        news.failing, news.waiting = state
        return news

    def look(self, offsets: TextMapping) -> list[PartLag]:
        """Return the lag of each partition; unknown for a source that cannot be reached. Raises: as `Source.look`."""
        if self.error is not None and self.is_lasting:
            raise self.error
        if not self._is_begun:
            return [PartLag(self.name, None)]
        try:
            lags: list[PartLag] = self.thread.answer(self.source.look, self.own(offsets))
        except TransientError:
            return [PartLag(self.name, None)]
        return [line._replace(part=f"{self.name}/{line.part}") for line in lags]

    def close(self) -> None:
        self.thread.later(self.source.close)
        self.thread.close()


def _filled(
    source: Source, limit: int, offsets: TextMapping | None, before: EarlierPositions
) -> tuple[list[PolledMessages] | None, Health]:
    """Start the source if offsets are given, then fill its merge; runs on the source's thread."""
    if offsets is not None:
        before.check()
        source.start(offsets)
    messages = source.fill(limit) if isinstance(source, MergingSource) else source.poll(limit, 0.0)
    return messages, source.health()


def _found_out(source: MergingSource) -> tuple[()] | None:
    """Return `()` if there is a reason to take again, other than late messages, else None; runs on the source's
    thread.
    """
    return () if source.find_out() else None


def _waited(source: Source, wait_s: float) -> tuple[list[PolledMessages] | None, Health]:
    if isinstance(source, MergingSource):
        source.wait(wait_s)
    return None, source.health()
