"""Times of a log: its last record, the sequence numbers of a time range, and labels that become known later."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain

from msgspec import Struct

from shroff.events.event import time_text
from shroff.language.values import DAY_MS
from shroff.log.lateness import stretches_of
from shroff.runtime.texts import many
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import Log, LogReader, Record

_FIRST_READ = 256  # records read at first in search of an event
_EVENT = re.compile(rb"(?m)^e")
CORRECT = (
    "Bring it again with the right known_at ('shroff label'), and that one counts at once. Of one source the later "
    "known_at wins: where the verdict was wrong too, bring the right one from a stronger source, or it is back then."
)


class LaterLabel(FrozenStruct):
    """Number of labels that become known after a time; the last one, with its event."""

    count: int
    last_ms: int
    event: str

    @property
    def words(self) -> str:
        labels = many(self.count, "label says that it becomes", "labels say that they become")
        at = "at" if self.count == 1 else "the last at"
        return f"{labels} known only after now, {at} {time_text(self.last_ms)} ({self.event}); until then none counts"


def now_of(log: LogReader, now_ms: int) -> int:
    """Return the current time, or that of the newest event if it is later, as in synthetic data."""
    newest_ms = log.watermark_ms()
    return now_ms if newest_ms is None else max(now_ms, newest_ms)


def last_moment(log: LogReader, now_ms: int, as_of_ms: int | None = None) -> int | None:
    """Return the default `as_of` of every answer: `as_of_ms` if given, else the time of the log's last record.

    None without events. The last record is the one with the latest time, wherever it is in the log: an event counts
    with the time at which it happened, a label with the time at which it became known. Labels that become known after
    now are ignored.

    Cost: a pass over the log's labels.
    """
    if as_of_ms is not None:
        return as_of_ms
    return latest(log.watermark_ms(), (record.time_ms for records in log.labels_after() for record in records), now_ms)


def latest(newest_ms: int | None, known_at_ms: Iterable[int], now_ms: int) -> int | None:
    """Like `last_moment`, for the time of the newest event and the times at which labels became known."""
    if newest_ms is None:
        return None
    limit_ms = max(now_ms, newest_ms)
    return max(chain((newest_ms,), (known_ms for known_ms in known_at_ms if known_ms <= limit_ms)))


class LaterLabels(Struct):
    """Labels of one log that become known after now; each call of `follow` reads only new labels.

    A label is kept for a day after it became known, in case the clock is set back.
    """

    _upto: int = 0
    _labels: list[tuple[int, str]] = []  # the time at which each becomes known, and its event

    def follow(self, log: Log, now_ms: int) -> LaterLabel:
        """Return the labels as of now. Cost: the first call reads all labels of the log, later calls only new ones."""
        last = log.last_seq()
        if last < self._upto:  # another log
            self._upto = 0
            self._labels = []
        since_ms = now_ms - DAY_MS
        self._labels = [label for label in self._labels if label[0] > since_ms]
        for records in log.labels_after(self._upto, last):
            self._labels += [
                (record.time_ms, record.id.partition("#")[0]) for record in records if record.time_ms > since_ms
            ]
        self._upto = last
        later = [label for label in self._labels if label[0] > now_ms]
        last_ms, event = max(later, key=lambda label: label[0], default=(0, ""))
        return LaterLabel(len(later), last_ms, event)


# ---- sequence numbers by time


def places_between(log: LogReader, start_ms: int, end_ms: int) -> tuple[int, int]:
    """Return sequence numbers (after, upto] with all events of [start, end), and possibly some others.

    Cost: some 20 reads of single events for each lateness that the log ever had, whatever its length.
    """
    stretches = stretches_of(log)
    after = 0
    upto = log.last_seq()
    for stretch in stretches:
        from_ms = start_ms - stretch.late_ms
        begin = max(stretch.after, floor_of(log, from_ms, stretch.upto))
        turn, _ = _turn(log, from_ms, begin, stretch.upto)
        if turn > begin:
            after = 0 if any(low < end_ms and high >= start_ms for low, high in stretch.beyond) else turn
            break
    for stretch in reversed(stretches):
        if stretch.upto > after:
            _, upto = _turn(log, end_ms + stretch.later_ms, max(after, stretch.after), stretch.upto)
            if _event(log, upto - 1, stretch.upto) is not None:
                break
    return after, min(upto, log.last_seq())


def place_before(log: LogReader, start_ms: int, lateness_ms: int) -> int:
    """Return a sequence number after which all events of `start_ms` and later are.

    Args:
        lateness_ms: How far an event may be behind the greatest time before it.
    """
    last = log.last_seq()
    begin_ms = start_ms - lateness_ms
    after, _ = _turn(log, begin_ms, floor_of(log, begin_ms, last), last)
    return after


def last_before(log: LogReader, end_ms: int) -> int:
    """Return the sequence number after which, except for late events, all events are at `end_ms` or later; or 0."""
    last = log.last_seq()
    return _turn(log, end_ms, floor_of(log, end_ms, last), last)[0]


def floor_of(log: LogReader, moment_ms: int, upto: int) -> int:
    """Return the start for `_turn`: the last pruned record if the store still has an event before the time; else 0."""
    pruned = log.pruned_to()
    event = _event(log, pruned, upto) if pruned else None
    return pruned if event is not None and event.time_ms < moment_ms else 0


def _turn(log: LogReader, moment_ms: int, low: int, upto: int) -> tuple[int, int]:
    """Find by bisection two neighboring events, the first before a time and the second not; return their numbers.

    An event is at most `lateness` behind the greatest time before it. So no event up to the first one reaches a time
    that is `lateness` later, and no event after the second is more than `lateness` earlier. Labels and control events
    are skipped, because their times are unrelated. If all events are earlier, the second number is after the end.
    """
    high = upto + 1
    while high - low > 1:
        middle = (low + high) // 2
        event = _event(log, middle - 1, high - 1)
        if event is not None and event.time_ms < moment_ms:
            low = event.seq
        else:
            high = middle
    return low, high


def _event(log: LogReader, after: int, upto: int) -> Record | None:
    """Return the first event in (after, upto]. Cost: 0.3 µs for each label before it."""
    size = _FIRST_READ  # small at first, so that little is read from a lake
    while after < upto:
        text = b"".join(log.lines(after, min(after + size, upto), size))
        match = _EVENT.search(text)
        if match is not None:
            seq = after + text.count(b"\n", 0, match.start()) + 1
            return next(record for records in log.read(seq - 1, seq) for record in records)
        after = after + size
        size = 2 * size
    return None
