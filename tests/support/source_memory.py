"""A live source in memory, and a topic that several may read: for tests of what reads sources."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from threading import Event
from typing import Final

from shroff.errors import SchemasAwayError, StateError, TransientError
from shroff.events.formats.lines import Line
from shroff.events.formats.wire import Decoder, JsonDecoder
from shroff.streams.log import Refused
from shroff.streams.merge import Merge, MergingSource, Run
from shroff.streams.source import Health, PartLag, PolledMessages, split_offset, stored_offset

AWAY: Final = "the topic in memory cannot be reached"
LOOK_S: Final = 0.002
DRAWN_MAX: Final = 40


@dataclass(slots=True)
class MemoryTopic:
    """Messages by part. `letters` are those that were sent on; the next `away_for` tries to reach it fail.

    `gone` says how many of the first messages of a part are not to be had any more.
    """

    parts: dict[str, list[bytes]]
    type: str | None = None
    letters: list[Refused] = field(default_factory=list)
    away_for: int = 0
    gone: dict[str, int] = field(default_factory=dict)

    def send(self, part: str, *messages: bytes) -> None:
        self.parts.setdefault(part, []).extend(messages)


class MemorySource:
    """Keeps every promise of `streams.source.Source` over a topic in memory; in order of time only with a merge.

    Args:
        random: Draws how much of which part a poll gives, or has the merge fetch; without it all parts go in turn, as
            much as may be.
    """

    takes_refused = True

    def __init__(
        self,
        topic: MemoryTopic,
        name: str = "memory",
        random: Random | None = None,
        decoder: Decoder | None = None,
        merge: Merge | None = None,
    ) -> None:
        self.name, self._topic, self._random, self.merge = name, topic, random, merge
        self._decoder = decoder or JsonDecoder()
        self._at: dict[str, int] = {}
        self._before: dict[str, str] = {}
        self._opened: set[str] = set()
        self._trouble = ""
        self.told: dict[str, str] = {}

    def start(self, offsets: Mapping[str, str]) -> None:
        self._reach()
        self._at, self._before = {}, {}
        for part, stored in offsets.items():
            offset, self._before[part] = split_offset(stored)
            if not offset.isdecimal():
                raise StateError(f"{offset!r} is not an offset of {part}")
            trouble = self._trouble_at(part, int(offset))
            if trouble:
                raise StateError(trouble)
            self._at[part] = int(offset)
        self._opened.clear()
        if self.merge is not None:
            self.merge.clear()

    def look(self, offsets: Mapping[str, str]) -> list[PartLag]:
        self._reach()
        found = []
        for part in sorted({*self._topic.parts, *offsets}):
            at = int(split_offset(offsets[part])[0]) if part in offsets else self._topic.gone.get(part, 0)
            trouble = self._trouble_at(part, at)
            found.append(PartLag(part, None if trouble else len(self._topic.parts[part]) - at, trouble))
        return found

    def _trouble_at(self, part: str, at: int) -> str:
        gone, end = self._topic.gone.get(part, 0), len(self._topic.parts.get(part, ()))
        if at < gone:
            return f"{gone - at} messages of {part} behind offset {at} are gone"
        return f"{part} is not the one that was read up to {at}: it ends at {end}" if at > end else ""

    def poll(self, limit: int, timeout_s: float) -> list[PolledMessages]:
        until_s = time.monotonic() + timeout_s
        while not (found := self._polled(limit)) and time.monotonic() < until_s:
            time.sleep(LOOK_S)
        return found

    def acknowledge(self, offsets: Mapping[str, str]) -> None:
        self.told.update(offsets)

    def refuse(self, refused: Sequence[Refused]) -> None:
        self._reach()
        self._topic.letters.extend(refused)

    def health(self) -> Health:
        words = [*([AWAY] if self._topic.away_for else []), *([self._trouble] if self._trouble else [])]
        waiting = 0 if self.merge is None else self.merge.count
        unread = sum(len(sent) - self._next(part) for part, sent in self._topic.parts.items())
        return Health(unread + waiting, words=words)

    def close(self) -> None:
        """Nothing is held."""

    def _polled(self, limit: int) -> list[PolledMessages]:
        self._reach()
        self._trouble = ""
        if self.merge is not None:
            self._fetch(self.merge, limit)
            return self._given(self.merge.take(limit))
        found: list[PolledMessages] = []
        for part in self._order():
            share = limit if self._random is None else min(limit, self._random.randrange(1, DRAWN_MAX))
            lines = self._lines(part, min(share, max(1, limit // len(self._topic.parts))))
            if lines:
                limit -= len(lines)
                self._at[part] = lines[-1].number + 1
                found.append(PolledMessages(part, self._topic.type, self._decoder.format, lines, str(self._at[part])))
                if self._random is not None or limit <= 0:
                    break
        return found

    def _fetch(self, merge: Merge, limit: int) -> None:
        """Have more of all parts in the merge."""
        for part in self._order():
            if part not in self._opened:
                self._opened.add(part)
                merge.open(part, self._topic.type, self._before.get(part, ""))
            lines = self._lines(part, limit if self._random is None else self._random.randrange(DRAWN_MAX))
            self._at[part] = self._next(part) + len(lines)
            merge.add(part, lines)
            if self._next(part) == len(self._topic.parts[part]):
                merge.pass_by(part)

    def _given(self, runs: Sequence[Run]) -> list[PolledMessages]:
        format = self._decoder.format
        return [
            PolledMessages(part, self._topic.type, format, lines, stored_offset(str(lines[-1].number + 1), before))
            for part, lines, before in runs
        ]

    def _lines(self, part: str, count: int) -> list[Line]:
        """The next lines of a part, up to one whose schema is away."""
        begin, messages, lines = self._next(part), self._topic.parts[part], list[Line]()
        for number in range(begin, min(begin + count, len(messages))):
            try:
                lines.append(self._decoder.line(number, messages[number]))
            except SchemasAwayError as error:
                self._trouble = str(error)
                break
        return lines

    def _next(self, part: str) -> int:
        return self._at.get(part, self._topic.gone.get(part, 0))

    def _order(self) -> list[str]:
        """Parts that wait longest go first, or as it is drawn."""
        parts = list(self._topic.parts)
        if self._random is not None:
            self._random.shuffle(parts)
        return sorted(parts, key=self._next) if self._random is None else parts

    def _reach(self) -> None:
        if self._topic.away_for:
            self._topic.away_for -= 1
            raise TransientError(AWAY)


class MergingMemorySource(MergingSource, MemorySource):
    """The same, for others to take from; `stuck` holds up whatever it does next until it is set."""

    merge: Merge

    def __init__(self, topic: MemoryTopic, name: str, merge: Merge, random: Random | None = None) -> None:
        MemorySource.__init__(self, topic, name, random, merge=merge)
        self.stuck = Event()
        self.stuck.set()

    def start(self, offsets: Mapping[str, str]) -> None:
        self.stuck.wait()
        super().start(offsets)

    def fill(self, limit: int) -> list[PolledMessages] | None:
        self.stuck.wait()
        self._reach()
        self._trouble = ""
        self._fetch(self.merge, limit)
        return []

    def taken(self, runs: Sequence[Run]) -> list[PolledMessages]:
        return self._given(runs)

    def wait(self, wait_s: float) -> None:
        time.sleep(min(LOOK_S, wait_s))
