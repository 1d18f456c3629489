"""Labels that say of themselves that they become known only after now: a clock or a year that stood wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shroff.events.event import time_text
from shroff.streams.log import Log

CORRECT: Final = (
    "Bring it again with the right known_at ('shroff label'), and that one counts at once. Of one source the later "
    "known_at wins: where the verdict was wrong too, bring the right one from a stronger source, or it is back then."
)


@dataclass(frozen=True, slots=True)
class Later:
    """How many labels become known only after a moment; the last, with its event."""

    count: int
    last_ms: int
    event: str

    @property
    def words(self) -> str:
        """What of them is to be said."""
        one = "1 label says that it becomes known only after now, at"
        many = f"{self.count:,} labels say that they become known only after now, the last at"
        return f"{one if self.count == 1 else many} {time_text(self.last_ms)} ({self.event}); until then none counts"


def now_of(log: Log, now_ms: int) -> int:
    """The moment behind which nothing can be known: now by the clock, or the newest event where that lies behind it.

    So it is with data that is made up. A label alone moves no moment.
    """
    newest_ms = log.watermark_ms()
    return now_ms if newest_ms is None else max(now_ms, newest_ms)


def labels_after(log: Log, now_ms: int) -> Later:
    """The labels of a log that become known only after a moment. Cost: a look at each label."""
    count, last_ms, event = 0, 0, ""
    for records in log.labels_after():
        for record in records:
            count += record.time_ms > now_ms
            if record.time_ms > max(now_ms, last_ms):
                last_ms, event = record.time_ms, record.id.partition("#")[0]
    return Later(count, last_ms, event)


def told_of(later: Later) -> list[str]:
    """What a training says of them; nothing where there are none."""
    return [f"{later.words}. {CORRECT}"] if later.count else []
