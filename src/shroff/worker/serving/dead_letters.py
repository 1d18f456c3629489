"""Dead letters: quarantined messages of a source, sent on after the commit.

How far that has come is the number of an entry, kept among the log's offsets. What was sent and not yet noted there is
sent again by the next process.
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
AGAIN_S = 1.0  # after what failed
SHARE = 10  # at most this part of the time goes into looking for them
_PART = "quarantine"


class DeadLetters:
    """The dead letters of a source, in the order of quarantine. `tell` is called where they are sent later."""

    def __init__(self, log: Log, source: NamedReader | Source, tell: Tell) -> None:
        self._log, self._source, self._tell, self._name = log, source, tell, f"{source.name}, refused"
        self._noted = log.offset(self._name, _PART) if source.takes_refused else None
        self.has_news = source.takes_refused  # the process before this one may have left some
        self._next_s = 0.0

    def note(self, refused: int) -> None:
        """Count entries of a durable batch."""
        self.has_news = self.has_news or (refused > 0 and self._source.takes_refused)

    @property
    def is_due(self) -> bool:
        return self.has_news and time.monotonic() >= self._next_s

    def send_all(self, parts: Collection[str]) -> None:
        """Send all that can be sent now, no batch being open. `parts` are the source's."""
        while self.has_news and self.send(parts):
            pass

    def send(self, parts: Collection[str]) -> bool:
        """Send some pending dead letters; whether there may be more to send now."""
        try:
            return self._send(parts)
        except TransientError as error:
            self._tell(f"dead letters will be sent later: {error}")
            return False

    def _send(self, parts: Collection[str]) -> bool:
        began_s, sent = time.monotonic(), int(self._noted or 0)
        numbers = [number for number in self._log.refused_numbers() if number > sent]
        some = numbers[:AT_ONCE]
        letters = [row for _, row in self._log.refused(some) if row.source in parts]
        self._next_s = time.monotonic() + AGAIN_S
        if letters:
            self._source.refuse(letters)
        if some:
            now = str(some[-1])
            self._log.append(Batch(offsets=[Offset(self._name, _PART, now, self._noted)]))
            self._noted = now
        self.has_news = len(numbers) > len(some)
        ended_s = time.monotonic()
        self._next_s = ended_s + SHARE * (ended_s - began_s)
        return self.has_news
