"""Dead letters: quarantined messages of a source, sent to its dead-letter destination after the commit.

Progress is the number of a quarantine entry, stored among the log's offsets. If a process stops after it sent letters
and before it stored their number, the next process sends them again.
"""

from __future__ import annotations

import time
from collections.abc import Collection

from shroff.errors import TransientError
from shroff.runtime.progress import Tell
from shroff.streams.log import Batch, Log, Offset
from shroff.streams.source import Source
from shroff.worker.serving.source_reader import NamedReader

AT_ONCE = 500
AGAIN_S = 1.0  # after a failure
SHARE = 10  # sending takes at most one part in ten of the time
_PART = "quarantine"


class DeadLetters:
    """The dead letters of a source, in the order of quarantine. `tell` is called when sending is postponed."""

    def __init__(self, log: Log, source: NamedReader | Source, tell: Tell) -> None:
        self._log = log
        self._source = source
        self._tell = tell
        self._name = f"{source.name}, refused"
        self._noted = log.offsets.get(self._name, _PART) if source.takes_refused else None
        self.has_news = source.takes_refused  # an earlier process may have left unsent letters
        self._next_s = 0.0

    def note(self, refused: int) -> None:
        self.has_news = self.has_news or (refused > 0 and self._source.takes_refused)

    @property
    def is_due(self) -> bool:
        return self.has_news and time.monotonic() >= self._next_s

    def send_all(self, parts: Collection[str]) -> None:
        """Send all dead letters of these partitions until none is left or sending fails. Call it with no batch open."""
        while self.has_news and self.send(parts):
            pass

    def send(self, parts: Collection[str]) -> bool:
        """Send up to `AT_ONCE` dead letters; return whether more can be sent now."""
        try:
            return self._send(parts)
        except TransientError as error:
            self._tell(f"dead letters will be sent later: {error}")
            return False

    def _send(self, parts: Collection[str]) -> bool:
        began_s = time.monotonic()
        sent = int(self._noted or 0)
        numbers = [number for number in self._log.quarantine.numbers() if number > sent]
        page = numbers[:AT_ONCE]
        letters = [row for _, row in self._log.quarantine.entries(page) if row.source in parts]
        self._next_s = time.monotonic() + AGAIN_S
        if letters:
            self._source.refuse(letters)
        if page:
            last_number = str(page[-1])
            self._log.append(Batch(offsets=[Offset(self._name, _PART, last_number, self._noted)]))
            self._noted = last_number
        self.has_news = len(numbers) > len(page)
        ended_s = time.monotonic()
        self._next_s = ended_s + SHARE * (ended_s - began_s)
        return self.has_news
