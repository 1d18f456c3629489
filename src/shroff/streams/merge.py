"""Lines of several parts on their way into one log, merged by event time.

The order depends on what is in the parts and on nothing else: not on how lines are fetched, how many are taken at once,
or where reading was begun again. So no line is given while a part may have an earlier one outside; whoever fills this
says when a part has nothing more (docs/explain/partitions.md). What is to be known of lines that were given is a text,
stored with the offset behind them.
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

AHEAD = 8  # lines behind one that say whether its clock is wrong
WITNESSES = 2  # of them at least must say so
EARLIEST = -(1 << 62)  # before all times: of a line that has none
LATEST = 1 << 62
HELD_S = 0.01  # between two looks whether lines that wait for earlier ones have waited long enough

Run = tuple[str, list[Line], str]  # a part, lines of it, and what `open` is to be told where reading begins behind them
_Order = tuple[str, int, str]


class Merge:
    """The lines of parts that were read and not given on yet.

    The part whose next line has the earliest due time goes first; at equal times labels go before events, then what
    was sent earlier, then the part that is first by name (`a/2` before `a/10`). A part keeps its own order.

    A line is due at its event time, unless its clock is ahead: most of the `AHEAD` lines behind it are earlier. Then it
    is due with the earliest of them, since it would hold them back. Where most of as many lines before it are later
    than that, no clock is ahead: what is behind was sent again, or late. A line without a time is due at once.

    Where clocks are right, a line that is not late within its own part comes before every later line of every part:
    what parts are in disorder by, all together, is what each of them is by itself.

    Args:
        moment: What gives the time of a part's lines, by their event type (`events.formats.moments`).
        wait_s: So long a line waits here after it came, as long as some part has no line: an earlier one may be on its
            way.

    `waits_for` are the parts without which the last `take` could not go on. `overtaken` counts lines that others of
    later times had been given before, as those of a part that was passed by and had more after all; `overtaken_ms` is
    by how much at most.
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
        self.reached_ms = EARLIEST  # the latest due time that was given

    def open(self, part: str, type_name: str | None, before: str = "") -> None:
        """Count on a part, its lines of this type. Until it has lines enough, or until `pass_by`, all others wait.

        Args:
            before: What `take` gave with the last line before those that come now; empty at the beginning of a part.

        Raises: StateError where `before` is something else.
        """
        self.parts[part] = _PartLines(self, part, self._moment(type_name), before, is_label=type_name == LABEL)

    def clear(self) -> None:
        """Forget all parts and their lines; what was counted stays."""
        self.parts.clear()
        self.waits_for = []
        self.count = 0
        self.reached_ms = EARLIEST

    def add(self, part: str, lines: Sequence[Line], sent_ms: Sequence[int] = ()) -> None:
        """Further lines of a part, behind those it has, and when each was sent, where the source says so."""
        known = self.parts[part]
        known.lines += lines
        known.sent += [known.first_sent_ms + at_ms for at_ms in sent_ms] or [known.first_sent_ms] * len(lines)
        if self.wait_s:
            known.came.append((known.gone + len(known.lines), self.clock()))
        known.is_passed = known.is_passed and not lines
        self.count += len(lines)

    def pass_by(self, part: str) -> None:
        """Do not wait for a part until it has lines, or until `doubt`: it has none outside, or for too long."""
        self.parts[part].is_passed = True

    def doubt(self) -> None:
        """Wait again for all that were passed by."""
        for part in self.parts.values():
            part.is_passed = False

    def pause_s(self, at_most_s: float) -> float:
        """How long one may wait for further lines before `take` gives some of those that are here."""
        return min(at_most_s, HELD_S) if self.wait_s and self.count else at_most_s

    def lines(self, part: str) -> int:
        """How many lines of a part are here."""
        return len(self.parts[part].lines)

    def needs(self, part: str) -> bool:
        """Whether the others wait for further lines of a part, unless it is passed by."""
        return self.parts[part].is_short

    @property
    def is_drained(self) -> bool:
        """Whether no part has a line here, nor one outside, as far as is known."""
        return not self.count and all(part.is_passed for part in self.parts.values())

    def take(self, limit: int) -> list[Run]:
        """At most so many lines, in runs of one part each; none while a part may have an earlier one.

        The last run of each part has the times of its last lines as text, which `open` takes; the others have nothing.
        """
        return [run for _, run in take_together([self], limit)]


def take_together(merges: Sequence[Merge], limit: int) -> list[tuple[Merge, Run]]:
    """As `Merge.take`, of the parts of several, as if one merge had them all; each run with the merge that it is of."""
    parts = [part for merge in merges for part in merge.parts.values()]
    for merge in merges:
        merge.waits_for = [part.name for part in merge.parts.values() if part.lacks] if len(parts) > 1 else []
    if limit <= 0 or not any(merge.count for merge in merges) or any(merge.waits_for for merge in merges):
        return []
    runs = [(parts[0], parts[0].given(limit))] if len(parts) == 1 else _merged(merges, parts, limit)
    for part in parts:
        part.of.count -= part.at
        part.forget_given()
    last = {part: at for at, (part, _) in enumerate(runs)}
    return [
        (part.of, (part.name, lines, part.before if last[part] == at else "")) for at, (part, lines) in enumerate(runs)
    ]


def _merged(
    merges: Sequence[Merge], all_parts: Sequence[_PartLines], limit: int
) -> list[tuple[_PartLines, list[Line]]]:
    runs: list[tuple[_PartLines, list[Line]]] = []
    reached_ms = max(merge.reached_ms for merge in merges)
    parts = [all_part for all_part in all_parts if all_part.lines]
    for part in parts:
        part.find_due()
    heap = [(part.due[0], part.sent[0], part.order, at, part) for at, part in enumerate(parts)]
    heapq.heapify(heap)
    while heap and limit > 0:
        _, _, order, number, first = heap[0]
        next_ms, next_sent, next_order, *_ = min(heap[1:3], default=(LATEST, 0, order))
        begin = first.at
        due = first.due
        sent = first.sent
        end = min(len(due), begin + limit)
        if first.of.wait_s and len(heap) < len(all_parts):
            end = min(end, first.came_until(first.of.clock() - first.of.wait_s))
            if end <= begin:
                break
        at = begin + 1
        while at < end and (due[at] < next_ms or (due[at] == next_ms and (sent[at], order) < (next_sent, next_order))):
            at += 1
        reached_ms = _noted(first, due[begin:at], reached_ms)
        runs.append((first, first.given(at - begin)))
        limit -= at - begin
        if first.lacks:
            first.of.waits_for = [first.name]
            break
        if at == len(due):
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (due[at], sent[at], order, number, first))
    for merge in merges:
        merge.reached_ms = reached_ms
    return runs


def _noted(part: _PartLines, due: Sequence[int], reached_ms: int) -> int:
    """Take note that lines are given that are due then, and of those that others overtook; gives the latest of all."""
    if max(part.reached_ms, due[0]) < reached_ms:
        for at_ms in due:
            part.reached_ms = max(part.reached_ms, at_ms)
            if at_ms > EARLIEST and part.reached_ms < reached_ms:
                part.of.overtaken += 1
                part.of.overtaken_ms = max(part.of.overtaken_ms, reached_ms - part.reached_ms)
    part.reached_ms = max(part.reached_ms, *due)
    return max(reached_ms, part.reached_ms)


def merge_of(events: Events, settings: Settings, format: str, wait_ms: int = 0) -> Merge:
    """The merge that puts the lines of a project's parts in order."""
    return Merge(partial(moment_reader, events, settings, format=format), wait_ms / 1_000)


class MergingSource(ABC):
    """A live source that gives on what its merge gives, alone or in one order with others; one thread calls it at once.

    It fills its merge, and is told which lines go. `poll` is that of `streams.source.Source`, for one that is alone.
    """

    merge: Merge

    @abstractmethod
    def fill(self, limit: int) -> list[PolledMessages] | None:
        """Put what is there into the merge, without waiting, so that up to so many lines can be taken.

        Gives what is no line of the merge, such as where a new part begins; None where nothing may be taken now.
        Raises: as `poll`.
        """

    @abstractmethod
    def taken(self, runs: Sequence[Run]) -> list[PolledMessages]:
        """Runs that were taken from the merge, each as messages with the offset behind them."""

    @abstractmethod
    def wait(self, wait_s: float) -> None:
        """Until a message comes, and at most for so long."""

    def find_out(self) -> bool:
        """See to the parts that the merge waits for: whether there is a reason to take again."""
        return False

    def poll(self, limit: int, timeout_s: float) -> list[PolledMessages]:
        """At most so many further messages, as `streams.source.Source` has it."""
        until_s = time.monotonic() + timeout_s
        while True:
            found = self.fill(limit)
            if found == []:
                found = self.taken(self._runs(limit))
            left_s = until_s - time.monotonic()
            if found or left_s <= 0:
                return found or []
            self.wait(self.merge.pause_s(left_s))

    def _runs(self, limit: int) -> list[Run]:
        runs: list[Run] = []
        while True:
            some = self.merge.take(limit)
            runs += some
            limit -= sum(len(lines) for _, lines, _ in some)
            if limit <= 0 or not self.merge.waits_for or not self.find_out():
                return runs


class _PartLines:
    """The lines of one part of a merge; those before `at` were given in this `take`.

    `due` are the times at which lines are due, as many as can be told. `reached_ms` is the latest one that was given:
    what is late within the part itself counts as of then. `gone` lines were given before, and `came` says when how many
    had come.
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

    def __init__(self, of: Merge, name: str, moment: Moment, before: str, *, is_label: bool) -> None:
        self.of = of
        self.name, self.order, self._moment = name, _order(name), moment
        self.first_sent_ms = EARLIEST if is_label else 0
        self.lines: list[Line] = []
        self.sent: list[int] = []
        self._times: list[int] = []
        self._before = _times_of(before, name)  # of the last lines that were given
        self.due: list[int] = []
        self.is_passed = False
        self.reached_ms = EARLIEST
        self.came: deque[tuple[int, float]] = deque()
        self.at = self.gone = self._ripe = 0

    @property
    def before(self) -> str:
        """The times of the last lines that were given, as text that is kept; of one without a time nothing."""
        return ",".join("" if at_ms == EARLIEST else str(at_ms) for at_ms in self._before).lstrip(",")

    @property
    def is_short(self) -> bool:
        """Whether too few lines are behind its next one to tell when that is due."""
        return len(self.lines) - self.at <= AHEAD

    @property
    def lacks(self) -> bool:
        """Whether it is waited for."""
        return not self.is_passed and self.is_short

    def find_due(self) -> None:
        """Tell when its lines are due; without those behind it that are to come, a line has to wait."""
        times = self._times
        times += self._moments(self.lines[len(times) :])
        del self.due[max(len(self.due) - AHEAD, 0) :]  # those who had fewer behind them
        begin = len(self.due)
        end = len(times) if self.is_passed else len(times) - AHEAD
        if all(map(le, times[begin:-1], times[begin + 1 :])):
            self.due += times[begin:end]
        else:
            known = self._before + times
            n = len(self._before)
            self.due += [
                _due(known[at], known[at + 1 : at + 1 + AHEAD], known[max(at - AHEAD, 0) : at])
                for at in range(n + begin, n + end)
            ]

    def came_until(self, until_s: float) -> int:
        """Behind how many of its lines those begin that came later than that."""
        while self.came and self.came[0][1] <= until_s:
            self._ripe = self.came.popleft()[0]
        return self._ripe - self.gone

    def given(self, count: int) -> list[Line]:
        """The next lines, which are given."""
        begin = self.at
        self.at = min(self.at + count, len(self.lines))
        return self.lines[begin : self.at]

    def forget_given(self) -> None:
        """Have no lines any more that were given."""
        if self.at:
            last = slice(max(self.at - AHEAD, 0), self.at)
            self._before = [*self._before, *(self._times[last] or self._moments(self.lines[last]))][-AHEAD:]
        del self.lines[: self.at], self.sent[: self.at], self._times[: self.at], self.due[: self.at]
        self.gone += self.at
        self.at = 0

    def _moments(self, lines: Sequence[Line]) -> list[int]:
        moment = self._moment
        return [EARLIEST if (at_ms := moment(line)) is None else at_ms for line in lines]


def _times_of(text: str, part: str) -> list[int]:
    """Times as `_PartLines.before` gives them. Raises: StateError."""
    try:
        return [int(at_ms) if at_ms else EARLIEST for at_ms in text.split(",")] if text else []
    except ValueError:
        raise StateError(f"{text!r} is not when the last messages of {part} happened, in milliseconds") from None


def _due(own_ms: int, behind: Sequence[int], before: Sequence[int]) -> int:
    """When a line is due, by the times of those behind it and of those before it, as far as they are known."""
    if own_ms <= min(behind, default=own_ms):
        return own_ms
    timed = [at_ms for at_ms in behind if at_ms > EARLIEST]
    earlier = [at_ms for at_ms in timed if at_ms < own_ms]
    if not _say_so(earlier, timed):
        return own_ms
    found_ms = min(earlier)
    timed = [at_ms for at_ms in before if at_ms > EARLIEST]
    is_step_back = _say_so([at_ms for at_ms in timed if at_ms > found_ms], timed)
    return own_ms if is_step_back else found_ms


def _say_so(witnesses: Sequence[int], of: Sequence[int]) -> bool:
    """Whether these are enough, and most of all."""
    return len(witnesses) >= WITNESSES and 2 * len(witnesses) > len(of)


def _order(part: str) -> _Order:
    """Its name, with a number behind a stroke as a number."""
    head, _, number = part.rpartition("/")
    return (head, int(number), part) if number.isdecimal() else (part, -1, part)
