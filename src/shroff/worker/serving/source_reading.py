"""How a source is read by whoever leads a log: begun behind what is committed, and again when it was away."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from shroff.errors import ShroffError
from shroff.log.forgetting import known
from shroff.streams.log import Offset
from shroff.streams.source import Source, Taken
from shroff.worker.serving.counts import WorkerCounts

PAUSES_S: Final = (0.1, 5.0)  # before a source that is away is tried again: the first, and the longest


class SourceReading:
    """A source for one time of leading. `reached` is how far each part was read with what was decided.

    Args:
        reached: As the log has it.
        work: Is kept up to date: the offsets, and what is waited for.
        tell: Told that the source is away.
    """

    def __init__(
        self, source: Source, reached: dict[str, str], work: WorkerCounts, tell: Callable[[str], None]
    ) -> None:
        self._source, self.reached, self._work, self._tell = source, reached, work, tell
        work.offsets = known(reached)
        self.is_begun, self._next_try_s, self._pause_s = False, 0.0, PAUSES_S[0]

    @property
    def is_due(self) -> bool:
        """Whether it is read, or to be begun now."""
        return self.is_begun or time.monotonic() >= self._next_try_s

    def begin(self) -> None:
        """Begin behind what was reached. Raises: as the source's `start`; `is_away` says then when it is due again."""
        self._source.start(known(self.reached))
        self.is_begun, self._pause_s = True, PAUSES_S[0]
        self._work.waits_for = ""

    def is_away(self, error: ShroffError, *, is_lasting: bool = False) -> None:
        """The source cannot be had now: it is begun again later, behind what was gathered from it.

        Args:
            is_lasting: Waiting alone will not mend it, so it is not tried often.
        """
        self.is_begun = False
        if is_lasting:
            self._pause_s = PAUSES_S[1]
        self._next_try_s = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, PAUSES_S[1])
        words = f"waiting for the source: {error}"
        if words != self._work.waits_for:
            self._work.waits_for = words
            self._tell(words)

    def add(self, offsets: dict[str, Offset], found: Sequence[Taken]) -> None:
        """Add to the offsets of a batch how far parts are read with these messages, and how far they were before it."""
        for part, offset in {taken.part: taken.offset for taken in found}.items():
            before = offsets.get(part)
            then = self.reached.get(part) if before is None else before.before
            offsets[part] = Offset(self._source.name, part, offset, then)
