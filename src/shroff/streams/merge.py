"""Merges lines of several partitions by event time on their way into one log.

The order depends only on the content of the partitions: not on how lines are fetched, how many are taken at once, or
where reading restarted. So no line is returned while a partition may have an earlier one that was not fetched; the
source says when a partition has nothing more (docs/explain/partitions.md). State about lines already returned is a
text, stored with the offset after them.
"""

from __future__ import annotations

import heapq
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from operator import le

from shroff.errors import StateError
from shroff.events.definitions import Events, Settings
from shroff.events.formats.lines import Line
from shroff.events.formats.moments import Moment, moment_reader
from shroff.events.mapping import LABEL
from shroff.streams.source import PolledMessages

AHEAD = 8  # following lines that show whether a line's clock is wrong
WITNESSES = 2  # at least this many of them must be earlier
EARLIEST = -(1 << 62)  # before all times: for a line without a time
LATEST = 1 << 62
HELD_S = 0.01  # between two checks whether lines that wait for earlier ones have waited long enough

Run = tuple[str, list[Line], str]  # a partition, lines of it, and the state for `open` to restart after them
_Order = tuple[str, int, str]


class Merge:
    """The lines of partitions that were read and not yet returned.

    The partition whose next line has the earliest due time goes first; at equal times labels go before events, then
    lines sent earlier, then the partition that is first by name (`a/2` before `a/10`). A partition keeps its own order.

    A line is due at its event time, unless its clock is ahead: most of the `AHEAD` lines after it are earlier. Then it
    is due with the earliest of them, since it would delay them. If most of the `AHEAD` lines before it are later than
    that, no clock is ahead: the following lines were sent again, or late. A line without a time is due at once.

    If clocks are right, a line that is not late within its own partition comes before every later line of every
    partition: merging adds no disorder to that within each partition.

    Args:
        moment: Returns the function that reads the time of a line, given its event type (`events.formats.moments`).
        wait_s: How long a line waits here after its arrival while some partition has no line, since an earlier one may
            be on its way.

    `waits_for` are the partitions that stopped the last `take`. `overtaken` counts lines returned after later lines of
    other partitions, such as lines of a partition that was passed by and had more after all; `overtaken_ms` is the
    greatest such difference.
    """

    def __init__(
        self, moment: Callable[[str | None], Moment], wait_s: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._moment = moment
        self.wait_s = wait_s
        self.clock = clock
        self.parts: dict[str, _PartLines] = {}
        self.waits_for: list[str] = []
        self.count = self.overtaken = self.overtaken_ms = 0
        self.reached_ms = EARLIEST  # the latest due time that was returned

    def open(self, part: str, type_name: str | None, before: str = "") -> None:
        """Add a partition with lines of this type. The others wait until it has enough lines, or until `pass_by`.

        Args:
            before: State from `take` with the last line before those that follow; empty at the start of a partition.

        Raises: StateError for an invalid `before`.
        """
        self.parts[part] = _PartLines(self, part, self._moment(type_name), before, is_label=type_name == LABEL)

    def clear(self) -> None:
        """Drop all partitions and their lines; the counts stay."""
        self.parts.clear()
        self.waits_for = []
        self.count = 0
        self.reached_ms = EARLIEST

    def add(self, part: str, lines: Sequence[Line], sent_ms: Sequence[int] = ()) -> None:
        """Append lines to a partition, with the time each was sent, if the source knows it."""
        partition = self.parts[part]
        partition.lines += lines
        partition.sent += [partition.first_sent_ms + at_ms for at_ms in sent_ms] or [partition.first_sent_ms] * len(
            lines
        )
        if self.wait_s:
            partition.came.append((partition.gone + len(partition.lines), self.clock()))
        partition.is_passed = partition.is_passed and not lines
        self.count += len(lines)

    def pass_by(self, part: str) -> None:
        """Do not wait for a partition until it has lines, or until `doubt`: it has no more, or is silent."""
        self.parts[part].is_passed = True

    def doubt(self) -> None:
        """Wait again for all partitions that were passed by."""
        for part in self.parts.values():
            part.is_passed = False

    def pause_s(self, at_most_s: float) -> float:
        """Return how long to wait for further lines before `take` returns some of those that are here."""
        return min(at_most_s, HELD_S) if self.wait_s and self.count else at_most_s

    def lines(self, part: str) -> int:
        """Return the number of lines of a partition that are here."""
        return len(self.parts[part].lines)

    def needs(self, part: str) -> bool:
        """Return whether the others wait for further lines of a partition, unless it is passed by."""
        return self.parts[part].is_short

    @property
    def is_drained(self) -> bool:
        """Whether no partition has a line here, nor one to be fetched, as far as is known."""
        return not self.count and all(part.is_passed for part in self.parts.values())

    def take(self, limit: int) -> list[Run]:
        """Return up to `limit` lines, in runs of one partition each; none while a partition may have an earlier one.

        The last run of each partition has the state for `open`; for other runs it is empty.
        """
        return [run for _, run in take_together([self], limit)]


def take_together(merges: Sequence[Merge], limit: int) -> list[tuple[Merge, Run]]:
    """Like `Merge.take`, for several merges as if they were one; each run comes with its merge."""
    parts = [part for merge in merges for part in merge.parts.values()]
    for merge in merges:
        merge.waits_for = [part.name for part in merge.parts.values() if part.lacks] if len(parts) > 1 else []
    if limit <= 0 or not any(merge.count for merge in merges) or any(merge.waits_for for merge in merges):
        return []
    runs = [(parts[0], parts[0].given(limit))] if len(parts) == 1 else _merge_lines(merges, parts, limit)
    for part in parts:
        part.of.count -= part.at
        part.forget_given()
    last = {part: index for index, (part, _) in enumerate(runs)}
    return [
        (part.of, (part.name, lines, part.before if last[part] == index else ""))
        for index, (part, lines) in enumerate(runs)
    ]


def _merge_lines(
    merges: Sequence[Merge], all_parts: Sequence[_PartLines], limit: int
) -> list[tuple[_PartLines, list[Line]]]:
    runs: list[tuple[_PartLines, list[Line]]] = []
    reached_ms = max(merge.reached_ms for merge in merges)
    parts = [all_part for all_part in all_parts if all_part.lines]
    for part in parts:
        part.find_due()
    heap = [(part.due[0], part.sent[0], part.order, index, part) for index, part in enumerate(parts)]
    heapq.heapify(heap)
    while heap and limit > 0:
        _, _, order, number, first = heap[0]
        next_ms, next_sent, next_order, *_ = min(heap[1:3], default=(LATEST, 0, order))
        begin = first.at
        due = first.due
        sent_times = first.sent
        end = min(len(due), begin + limit)
        if first.of.wait_s and len(heap) < len(all_parts):
            end = min(end, first.came_until(first.of.clock() - first.of.wait_s))
            if end <= begin:
                break
        index = begin + 1
        while index < end and (
            due[index] < next_ms or (due[index] == next_ms and (sent_times[index], order) < (next_sent, next_order))
        ):
            index += 1
        reached_ms = _note_due(first, due[begin:index], reached_ms)
        runs.append((first, first.given(index - begin)))
        limit -= index - begin
        if first.lacks:
            first.of.waits_for = [first.name]
            break
        if index == len(due):
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (due[index], sent_times[index], order, number, first))
    for merge in merges:
        merge.reached_ms = reached_ms
    return runs


def _note_due(part: _PartLines, due: Sequence[int], reached_ms: int) -> int:
    """Note lines that are returned with these due times, and those that were overtaken; return the latest due time."""
    if max(part.reached_ms, due[0]) < reached_ms:
        for at_ms in due:
            part.reached_ms = max(part.reached_ms, at_ms)
            if at_ms > EARLIEST and part.reached_ms < reached_ms:
                part.of.overtaken += 1
                part.of.overtaken_ms = max(part.of.overtaken_ms, reached_ms - part.reached_ms)
    part.reached_ms = max(part.reached_ms, *due)
    return max(reached_ms, part.reached_ms)


def merge_of(events: Events, settings: Settings, format: str, wait_ms: int = 0) -> Merge:
    """Create the merge for the partitions of a project's source."""
    return Merge(partial(moment_reader, events, settings, format=format), wait_ms / 1_000)


class MergingSource(ABC):
    """A live source that returns lines from its merge, alone or merged with other sources; one thread calls it at a
    time.

    It fills its merge; `taken` gets the lines that the merge returns. `poll` is for a source that is alone.
    """

    merge: Merge

    @abstractmethod
    def fill(self, limit: int) -> list[PolledMessages] | None:
        """Fetch available messages into the merge, without waiting, so that up to `limit` lines can be taken.

        Returns what is no line of the merge, such as the start of a new partition; None if nothing may be taken now.
        Raises: as `poll`.
        """

    @abstractmethod
    def taken(self, runs: Sequence[Run]) -> list[PolledMessages]:
        """Return runs that were taken from the merge, each as messages with the offset after them."""

    @abstractmethod
    def wait(self, wait_s: float) -> None:
        """Wait for a message, at most this long."""

    def find_out(self) -> bool:
        """Query the partitions that the merge waits for; return whether `take` may return more."""
        return False

    def poll(self, limit: int, timeout_s: float) -> list[PolledMessages]:
        """Return up to `limit` further messages, as `streams.source.Source.poll`."""
        until_s = time.monotonic() + timeout_s
        while True:
            messages = self.fill(limit)
            if messages == []:
                messages = self.taken(self._runs(limit))
            left_s = until_s - time.monotonic()
            if messages or left_s <= 0:
                return messages or []
            self.wait(self.merge.pause_s(left_s))

    def _runs(self, limit: int) -> list[Run]:
        runs: list[Run] = []
        while True:
            taken_lines = self.merge.take(limit)
            runs += taken_lines
            limit -= sum(len(lines) for _, lines, _ in taken_lines)
            if limit <= 0 or not self.merge.waits_for or not self.find_out():
                return runs


class _PartLines:
    """The lines of one partition of a merge; those before `at` were returned in this `take`.

    `due` are due times of lines, as far as they are known. `reached_ms` is the latest one returned: a line that is late
    within the partition counts as of then. `gone` lines were returned earlier, and `came` has pairs of a number of
    lines and the time when that many had come.
    """

    __slots__ = (
        "_before",
        "_moment",
        "_ripe",
        "_times",
        "at",
        "came",
        "due",
        "first_sent_ms",
        "gone",
        "is_passed",
        "lines",
        "name",
        "of",
        "order",
        "reached_ms",
        "sent",
    )

    def __init__(self, merge: Merge, name: str, moment: Moment, offset_before: str, *, is_label: bool) -> None:
        self.of = merge
        self.name = name
        self.order = _order(name)
        self._moment = moment
        self.first_sent_ms = EARLIEST if is_label else 0
        self.lines: list[Line] = []
        self.sent: list[int] = []
        self._times: list[int] = []
        self._before = _times_of(offset_before, name)  # times of the last lines that were returned
        self.due: list[int] = []
        self.is_passed = False
        self.reached_ms = EARLIEST
        self.came: deque[tuple[int, float]] = deque()
        self.at = self.gone = self._ripe = 0

    @property
    def before(self) -> str:
        """The times of the last returned lines as text to store; empty for a line without a time."""
        return ",".join("" if at_ms == EARLIEST else str(at_ms) for at_ms in self._before).lstrip(",")

    @property
    def is_short(self) -> bool:
        """Whether too few lines follow the next one to tell when that is due."""
        return len(self.lines) - self.at <= AHEAD

    @property
    def lacks(self) -> bool:
        """Whether the others wait for this partition."""
        return not self.is_passed and self.is_short

    def find_due(self) -> None:
        """Compute due times; a line waits for the `AHEAD` lines after it, unless the partition is passed by."""
        times = self._times
        times += self._moments(self.lines[len(times) :])
        del self.due[max(len(self.due) - AHEAD, 0) :]  # these had fewer lines after them
        begin = len(self.due)
        end = len(times) if self.is_passed else len(times) - AHEAD
        if all(map(le, times[begin:-1], times[begin + 1 :])):
            self.due += times[begin:end]
        else:
            all_times = self._before + times
            n = len(self._before)
            self.due += [
                _due(all_times[row], all_times[row + 1 : row + 1 + AHEAD], all_times[max(row - AHEAD, 0) : row])
                for row in range(n + begin, n + end)
            ]

    def came_until(self, until_s: float) -> int:
        """Return the index after the last line that came by this time."""
        while self.came and self.came[0][1] <= until_s:
            self._ripe = self.came.popleft()[0]
        return self._ripe - self.gone

    def given(self, count: int) -> list[Line]:
        begin = self.at
        self.at = min(self.at + count, len(self.lines))
        return self.lines[begin : self.at]

    def forget_given(self) -> None:
        """Drop the lines that were returned, and keep the times of the last ones."""
        if self.at:
            last = slice(max(self.at - AHEAD, 0), self.at)
            self._before = [*self._before, *(self._times[last] or self._moments(self.lines[last]))][-AHEAD:]
        del self.lines[: self.at], self.sent[: self.at], self._times[: self.at], self.due[: self.at]
        self.gone += self.at
        self.at = 0

    def _moments(self, lines: Sequence[Line]) -> list[int]:
        times_ms = map(self._moment, lines)
        return [EARLIEST if at_ms is None else at_ms for at_ms in times_ms]


def _times_of(text: str, part: str) -> list[int]:
    """Parse the text of `_PartLines.before`. Raises: StateError."""
    if not text:
        return []
    try:
        return [int(at_ms) if at_ms else EARLIEST for at_ms in text.split(",")]
    except ValueError:
        raise StateError(f"{text!r} is not when the last messages of {part} happened, in milliseconds") from None


def _due(own_ms: int, behind: Sequence[int], before: Sequence[int]) -> int:
    """Return when a line is due, given the known times of the lines after and before it."""
    if own_ms <= min(behind, default=own_ms):
        return own_ms
    timed = [at_ms for at_ms in behind if at_ms > EARLIEST]
    earlier = [at_ms for at_ms in timed if at_ms < own_ms]
    if not _are_most(earlier, timed):
        return own_ms
    earliest_ms = min(earlier)
    timed = [at_ms for at_ms in before if at_ms > EARLIEST]
    is_step_back = _are_most([at_ms for at_ms in timed if at_ms > earliest_ms], timed)
    return own_ms if is_step_back else earliest_ms


def _are_most(witnesses: Sequence[int], timed: Sequence[int]) -> bool:
    """Return whether the witnesses are enough, and more than half of the lines with a time."""
    return len(witnesses) >= WITNESSES and 2 * len(witnesses) > len(timed)


def _order(part: str) -> _Order:
    """Return a sort key of a partition's name, with a number after the last slash as a number."""
    head, _, number = part.rpartition("/")
    return (head, int(number), part) if number.isdecimal() else (part, -1, part)
