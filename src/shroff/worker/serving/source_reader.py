"""One of several sources that are read at once: its own thread, its state, and what came of its messages."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from msgspec import Struct

from shroff.errors import ShroffError, StateError, TransientError, UsageError
from shroff.events.intake import READ
from shroff.json_types import TextDict, TextMapping
from shroff.log.writer import DUPLICATE, LATE, REFUSED, UNTAKEN
from shroff.runtime.progress import Tell, unheard
from shroff.runtime.values import replace
from shroff.streams.log import Refused
from shroff.streams.merge import Merge, MergingSource, Run
from shroff.streams.source import Health, PartLag, PolledMessages, Source

PAUSES_S = (0.1, 5.0)  # before a source that failed is tried again: the first, and the longest
PATIENCE_S = 30.0  # so long the others wait for a source that may have something earlier
ANSWER_S = 20.0  # so long somebody waits who needs an answer of a source
SKIPPED = {UNTAKEN: "messages of no event type", LATE: "late events, kept beside the log"}


class Backoff:
    """When something that failed is tried again: after a pause that doubles, up to a longest one."""

    def __init__(self) -> None:
        self.worked()

    @property
    def is_due(self) -> bool:
        return time.monotonic() >= self._next_s

    def worked(self) -> None:
        """Begin with the shortest pause the next time."""
        self._next_s, self._pause_s = 0.0, PAUSES_S[0]

    def failed(self, *, is_lasting: bool = False) -> None:
        """Pause now. With `is_lasting` waiting alone will not mend it, so it is not tried often."""
        pause_s = PAUSES_S[1] if is_lasting else self._pause_s
        self._next_s = time.monotonic() + pause_s
        self._pause_s = min(2 * pause_s, PAUSES_S[1])


class ReadNews(Struct):
    """Counts of a source's messages since the last call, and the source's health.

    Args:
        skipped: Messages that are not in the log and not in quarantine, by the reason.
        event_ms: When the last new event happened.
        failing: Why nothing comes, in words; empty where all is well.
        waiting: Messages that were not read yet, where that is known.
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
        """Count a message by what became of it, and the time of its event."""
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
    """Where a source was read to when it had no name, or was the only one of its kind: `known`, by its parts.

    Args:
        claims: The topics (streams, subscriptions) of sources of its kind, each with the labels of those that name it.
    """

    _label: str
    _claims: Mapping[str, Collection[str]]
    known: TextDict = {}

    def adopt(self, positions: TextMapping) -> None:
        """Have those that may be of this source."""
        self.known = {part: at for part, at in positions.items() if self._label in self._claimed(part)}

    def check(self) -> None:
        """Raises: UsageError for one that may be another source's."""
        for part in self.known:
            if len(claimed := self._claimed(part)) > 1:
                raise UsageError(
                    f"the log has one position of {part}, from before {' and '.join(sorted(claimed))} had names. Reset "
                    f"it with 'shroff source forget {part}'; known events are not appended twice"
                )

    def _claimed(self, part: str) -> Collection[str]:
        """The sources that may have read a part; nobody names the topic of labels that is read if it is there."""
        named = (self._claims[name] for name in (part, part.rpartition("/")[0]) if name in self._claims)
        return next(named, (self._label,))


class _OwnThread:
    """The thread of a source, or none where it is alone: then everything is done at once."""

    def __init__(self, label: str, *, is_alone: bool) -> None:
        self._label = label
        self._thread = None if is_alone else ThreadPoolExecutor(1, thread_name_prefix=f"source {label}")

    def later(self, work: Callable[..., Any], *args: Any) -> Future[Any]:
        """Have something done behind what is done already."""
        if self._thread is not None:
            return self._thread.submit(work, *args)
        done: Future[Any] = Future()
        try:
            done.set_result(work(*args))
        except Exception as error:  # noqa: BLE001 - raised where the result is asked for, as from a thread
            done.set_exception(error)
        return done

    def answer(self, work: Callable[..., Any], *args: Any) -> Any:
        """The result of something that is done behind what is done already.

        Raises: TransientError where that takes too long.
        """
        try:
            return self.later(work, *args).result(ANSWER_S)
        except TimeoutError:
            raise TransientError(f"source {self._label} does not answer") from None

    def close(self) -> None:
        if self._thread is not None:
            self._thread.shutdown()


class NamedReader:
    """A source with a name, which its own thread has while it works.

    Args:
        claims: As `EarlierPositions` takes them.
        tell: Told that it fails, and that it is read again.

    `before` are positions of a time when it had no name. `is_filled` says that messages can be
    taken from it now; `is_drained`, that it had none left when they were taken last; `is_slow`, that nobody waits for
    the end of what it does.
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
        self.label, self.source, self._tell = label, source, tell
        self.name, self.takes_refused = f"{READ}/{label}", source.takes_refused
        self.retry, self.news, self.health = Backoff(), ReadNews(), Health()
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
        """What its messages wait in; None where it gives them as it likes."""
        return self.source.merge if isinstance(self.source, MergingSource) else None

    @property
    def failing(self) -> str:
        """Why nothing comes of it, in words; empty where all is well."""
        words = [str(self.error)] if self.error is not None else self.health.words
        return words[-1] if words else ""

    @property
    def is_lasting(self) -> bool:
        """Whether waiting alone will not mend it."""
        return self.error is not None and not isinstance(self.error, TransientError)

    def own(self, offsets: TextMapping) -> TextDict:
        """Those of its parts, by the names that it has for them."""
        begin = f"{self.name}/"
        return {part.removeprefix(begin): offset for part, offset in offsets.items() if part.startswith(begin)}

    def named(self, found: Sequence[PolledMessages]) -> list[PolledMessages]:
        """Messages that it gives, their parts by the names that the log has for them."""
        self._reached |= {taken.part: taken.offset for taken in found}
        return [taken._replace(part=f"{self.name}/{taken.part}") for taken in found]

    def taken(self, runs: Sequence[Run]) -> list[PolledMessages]:
        """Runs that were taken from its merge, as messages."""
        assert isinstance(self.source, MergingSource)
        return self.named(self.source.taken(runs))

    # ---- its thread

    def begin_at(self, offsets: TextDict) -> None:
        """Begin again behind these offsets: what was polled since is given again."""
        if self.task is not None:
            wait([self.task])
        self.task, self._reached, self.retry, self.error = None, self.before.known | offsets, Backoff(), None
        self._is_begun = self.is_filled = self.is_drained = False
        self._absent_s = None

    def fill(self, limit: int) -> None:
        """Have its merge filled, where that is due."""
        if self.task is None and (self._is_begun or self.retry.is_due):
            self.is_filled = False
            offsets = None if self._is_begun else dict(self._reached)
            self.task = self.thread.later(_filled, self.source, limit, offsets, self.before)

    def collect(self, wait_s: float = 0.0) -> list[PolledMessages]:
        """What `fill` gave beside lines of the merge, where it is done."""
        if self.task is not None and wait_s:
            wait([self.task], wait_s)
        if self.task is None or not self.task.done():
            return []
        task, self.task, self.is_slow = self.task, None, False
        try:
            found, self.health = task.result() or (None, self.health)
        except (TransientError, UsageError, StateError) as error:
            self._is_away(error)
            return []
        if found is not None:
            self.error, self._is_begun, self.is_filled = None, True, True
            self.retry.worked()
            self._absent_s = None
            if self.merge is not None and self.merge.count:
                self.is_drained = False
        self._is_begun = True
        self._tell_of_it()
        return self.named(found or ())

    def _is_away(self, error: ShroffError) -> None:
        self._is_begun, self.error = False, error
        self.retry.failed(is_lasting=self.is_lasting)
        self._tell_of_it()

    def _tell_of_it(self) -> None:
        if bool(self.failing) != self._was_failing:
            self._was_failing = not self._was_failing
            words = f"fails: {self.failing}" if self._was_failing else "is read again"
            self._tell(f"source {self.label} {words}")

    def find_out(self) -> None:
        """Have it see to the parts that its merge waits for."""
        assert isinstance(self.source, MergingSource)
        self.task = self.thread.later(_found_out, self.source)

    def has_found_out(self) -> bool:
        """Whether there is a reason to take again; not where it is still busy."""
        if self.task is None or not self.task.done():
            self.is_filled = False
            return False
        task, self.task = self.task, None
        try:
            return task.result() is not None
        except (TransientError, UsageError, StateError) as error:
            self.is_filled = False
            self._is_away(error)
            return False

    def await_messages(self, wait_s: float) -> None:
        """Have it wait for messages, where it has none that could go."""
        merge = self.merge
        if self.task is None and self._is_begun and merge is not None and (merge.waits_for or not merge.count):
            self.is_filled, self.is_slow = False, True
            self.task = self.thread.later(_waited, self.source, merge.pause_s(wait_s))

    def holds_up(self, now_s: float) -> bool:
        """Whether the others have to wait, since it may have something earlier."""
        if self.is_filled or self.is_drained or self.is_lasting:
            return False
        self._absent_s = now_s if self._absent_s is None else self._absent_s
        return now_s - self._absent_s < PATIENCE_S

    # ---- beside it

    def refuse(self, refused: Sequence[Refused]) -> None:
        """Send dead letters. Raises: TransientError where they come again."""
        begin = f"{self.name}/"
        self.thread.answer(self.source.refuse, [replace(row, source=row.source.removeprefix(begin)) for row in refused])

    def told(self) -> ReadNews | None:
        """News since the last call; None for none."""
        now = self.failing, self.health.lag
        if not self.news.has_come and now == self._told:
            return None
        found, self.news, self._told = self.news, ReadNews(), now
        found.failing, found.waiting = now
        return found

    def look(self, offsets: TextMapping) -> list[PartLag]:
        """How its parts stand; as one that nobody answers for, where it cannot be reached. Raises: as `Source.look`."""
        if self.error is not None and self.is_lasting:
            raise self.error
        if not self._is_begun:
            return [PartLag(self.name, None)]
        try:
            found: list[PartLag] = self.thread.answer(self.source.look, self.own(offsets))
        except TransientError:
            return [PartLag(self.name, None)]
        return [line._replace(part=f"{self.name}/{line.part}") for line in found]

    def close(self) -> None:
        self.thread.later(self.source.close)
        self.thread.close()


def _filled(
    source: Source, limit: int, offsets: TextMapping | None, before: EarlierPositions
) -> tuple[list[PolledMessages] | None, Health]:
    """On the source's thread: begin, where it is to begin behind these offsets, and fill its merge."""
    if offsets is not None:
        before.check()
        source.start(offsets)
    found = source.fill(limit) if isinstance(source, MergingSource) else source.poll(limit, 0.0)
    return found, source.health()


def _found_out(source: MergingSource) -> tuple[()] | None:
    """On the source's thread; None where there is no reason to take again. What comes too late is nothing new."""
    return () if source.find_out() else None


def _waited(source: Source, wait_s: float) -> tuple[list[PolledMessages] | None, Health]:
    """On the source's thread: wait for messages."""
    if isinstance(source, MergingSource):
        source.wait(wait_s)
    return None, source.health()
