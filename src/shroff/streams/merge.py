"""Lines of several parts on their way into one log, the earlier ones first where many wait.

Parts that are read one after the other are far apart in time after an outage, and what comes last would be too late.
So of what waits the earliest goes first, by event time, as far as it matters: within the slack the parts may go in any
order, in long runs. A part that has nothing here holds the others back as soon as they are ahead of it by more than
that; whoever fills this says when such a part has nothing outside either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from shroff.events.definitions import Events
from shroff.events.lines import Line
from shroff.events.moments import Moment, moment_reader
from shroff.events.settings import Settings

AHEAD: Final = 4  # lines of a part that are looked at together: one wrong clock among them holds nobody back
SLACK_SHARE: Final = 4  # parts may be a quarter of the lateness apart; the rest is for disorder inside of them
EARLIEST: Final = -(1 << 62)  # before all times
LATEST: Final = 1 << 62


class Merge:
    """The lines of parts that were read and not given on yet.

    Args:
        slack_ms: By so much event time a part may be ahead of another. A fraction of what the project allows events
            to be late, so that together with the disorder inside of parts it makes none too late.
        moment: What gives the time of a part's lines, by their event type (`events.moments`).

    `waits_for` are the parts that have nothing here and kept others back in the last `take`.
    """

    def __init__(self, slack_ms: int, moment: Callable[[str | None], Moment]) -> None:
        self._slack_ms, self._moment = slack_ms, moment
        self._parts: dict[str, _Part] = {}
        self.waits_for: list[str] = []
        self.count = self._turns = 0

    def open(self, part: str, type_name: str | None) -> None:
        """Count on a part, its lines of this type. Until its first line, or until `pass_by`, the others wait for it."""
        self._parts[part] = _Part(part, self._moment(type_name), self._slack_ms)

    def clear(self) -> None:
        """Forget all parts and their lines."""
        self._parts.clear()
        self.waits_for, self.count = [], 0

    def add(self, part: str, lines: Sequence[Line]) -> None:
        """Further lines of a part, behind those it has."""
        self._parts[part].add(lines)
        self.count += len(lines)

    def pass_by(self, part: str) -> None:
        """Do not wait for a part until it has lines, or until `doubt`: it has none outside either, or for too long."""
        one = self._parts[part]
        one.is_passed = True
        waiting_ms = min((other.head_ms for other in self._parts.values() if other.lines), default=EARLIEST)
        one.reached_ms = max(one.reached_ms, waiting_ms)

    def doubt(self) -> None:
        """Wait again for all that were passed by, as soon as others are ahead of them since then."""
        for one in self._parts.values():
            one.is_passed = False

    def lines(self, part: str) -> int:
        """How many lines of a part are here."""
        return len(self._parts[part].lines)

    def take(self, limit: int) -> list[tuple[str, list[Line]]]:
        """At most so many lines, in runs of one part each: those that are first and those that nothing keeps back."""
        runs: list[tuple[str, list[Line]]] = []
        parts = list(self._parts.values())
        self.waits_for = []
        while limit > 0:
            filled = [one for one in parts if one.lines]
            if not filled:
                break
            first = min(filled, key=_turn) if len(parts) > 1 else filled[0]
            end_ms = min((one.from_ms for one in parts if one is not first), default=LATEST) + self._slack_ms
            if len(parts) > 1 and first.head_ms > end_ms:
                self.waits_for = [one.name for one in parts if one.holds_back(first.head_ms - self._slack_ms)]
                break
            run = first.taken(end_ms, limit)
            self._turns += 1
            first.turn = self._turns
            runs.append((first.name, run))
            limit -= len(run)
            self.count -= len(run)
        return runs


def merge_of(events: Events, settings: Settings, format: str) -> Merge:
    """What puts the lines of a project's parts in order."""
    return Merge(settings.lateness_ms // SLACK_SHARE, partial(moment_reader, events, settings, format=format))


class _Part:
    """The lines of one part.

    `reached_ms` is when the last lines were that were taken; what follows is about there or later.
    """

    __slots__ = ("_head_ms", "_slack_ms", "is_passed", "lines", "moment", "name", "reached_ms", "turn")

    def __init__(self, name: str, moment: Moment, slack_ms: int) -> None:
        self.name, self.moment, self._slack_ms = name, moment, slack_ms
        self.lines: list[Line] = []
        self.reached_ms = EARLIEST
        self.is_passed = False
        self.turn = 0
        self._head_ms: int | None = None

    def add(self, lines: Sequence[Line]) -> None:
        if len(self.lines) < AHEAD:
            self._head_ms = None
        self.lines += lines
        self.is_passed = self.is_passed and not lines

    @property
    def head_ms(self) -> int:
        """When the next of its lines is due; of lines without a time, before all others.

        That is its own time, unless the lines behind it go on where the part was: then its clock is wrong, and it goes
        with them. Lines that go back farther than that were sent again, and say nothing of those before them.
        """
        if self._head_ms is None:
            own_ms, *behind = (self._ms(line) for line in self.lines[:AHEAD])
            since_ms = self.reached_ms - self._slack_ms
            self._head_ms = min([own_ms, *(at_ms for at_ms in behind if since_ms <= at_ms)])
        return self._head_ms

    @property
    def from_ms(self) -> int:
        """When what comes next of it may be."""
        return self.head_ms if self.lines else LATEST if self.is_passed else self.reached_ms

    def holds_back(self, until_ms: int) -> bool:
        """Whether it has nothing here and may have something before this time outside."""
        return not self.lines and self.from_ms < until_ms

    def taken(self, end_ms: int, limit: int) -> list[Line]:
        """Take its lines up to this time, one at least."""
        lines, most = self.lines, min(limit, len(self.lines))
        if end_ms < LATEST:
            most = next((at for at in range(1, most) if self._ms(lines[at]) > end_ms), most)
        run = lines[:most]
        del lines[:most]
        self._head_ms = None
        last = [at_ms for line in run[-AHEAD:] if EARLIEST < (at_ms := self._ms(line)) <= end_ms]
        self.reached_ms = min(last, default=self.reached_ms)
        return run

    def _ms(self, line: Line) -> int:
        found = self.moment(line)
        return EARLIEST if found is None else found


def _turn(part: _Part) -> tuple[int, int]:
    """Earlier ones first; of those at the same time, the one that had its turn longest ago."""
    return part.head_ms, part.turn
