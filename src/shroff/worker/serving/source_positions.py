"""Reads a source for the active writer: from the committed offset, and again after an outage."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from shroff.errors import ShroffError
from shroff.events.intake import Submission
from shroff.log.columns.lines import together
from shroff.log.read_positions import known
from shroff.log.writer import Prepared
from shroff.runtime import traces
from shroff.runtime.progress import Tell
from shroff.runtime.retries import Backoff
from shroff.runtime.traces import TracedEvent
from shroff.streams.log import Log, Offset
from shroff.streams.source import PolledMessages, Source
from shroff.worker.serving import source_reader
from shroff.worker.serving.counts import WorkerCounts, trace_batch
from shroff.worker.serving.dead_letters import DeadLetters
from shroff.worker.serving.multi_source import SeveralSources

HEALTH_S = 0.25


class SourceBatch(Struct):
    """A batch in progress: its submissions, its offsets, and pairs of arrival time and number of submissions.

    `passed_over` are offsets of files that are skipped; they are committed with the batch.
    """

    submissions: Sequence[Submission] = ()
    offsets: dict[str, Offset] = {}
    passed_over: dict[str, Offset] = {}
    arrived: list[tuple[float, int]] = []
    traced: list[TracedEvent] = []

    def __bool__(self) -> bool:
        return bool(self.submissions or self.offsets)

    @property
    def kept(self) -> list[Offset]:
        """All offsets that are committed with the batch."""
        return [*self.offsets.values(), *self.passed_over.values()]


class SourceReading:
    """A source during one term of leading, with its dead letters. `reached` is the offset polled up to, by partition.

    Args:
        work: Counts that this object updates: offsets, latencies, health, and what is waited for.
        tell: Called when the source is unreachable.
    """

    def __init__(self, source: Source, log: Log, work: WorkerCounts, tell: Tell) -> None:
        self._source = source
        self._work = work
        self._tell = tell
        self._several = source if isinstance(source, SeveralSources) else None
        if self._several is not None:
            self._several.adopt(log)
        readers = [(f"{reader.name}/", reader) for reader in self._several.readers] if self._several else [("", source)]
        self._letters = [(begin, DeadLetters(log, reader, tell)) for begin, reader in readers]
        self.reached = log.offsets.of(source.name)
        work.offsets = known(self.reached)
        self.is_begun = False
        self._retry = Backoff(*source_reader.PAUSES_S)
        self._asked_s = 0.0

    @property
    def is_due(self) -> bool:
        """Whether the source is being read, or its next start is due."""
        return self.is_begun or self._retry.is_due

    @property
    def has_letters(self) -> bool:
        """Whether dead letters may be sent now."""
        return any(letters.is_due for _, letters in self._letters)

    def begin(self) -> None:
        """Start the source after the offsets reached. Raises: as the source's `start`; call `is_away` then."""
        self._source.start(known(self.reached))
        self.is_begun = True
        self._retry.worked()
        self._work.waits_for = ""

    def is_away(self, error: ShroffError, *, is_lasting: bool = False) -> None:
        """Note that the source is unreachable: it is restarted later, after the offsets reached.

        Args:
            is_lasting: Waiting alone does not cure the error, so use the longest pause.
        """
        self.is_begun = False
        self._retry.failed(is_lasting=is_lasting)
        message = f"waiting for the source: {error}"
        if message != self._work.waits_for:
            self._work.waits_for = message
            self._tell(message)

    def add(
        self, gathered: SourceBatch, found: Sequence[PolledMessages], submissions: Sequence[Submission], came_s: float
    ) -> None:
        """Add messages to a batch, with the offset of each partition before and after them."""
        if traces.is_on():
            lines = (line for polled in found for line in polled.lines)
            numbered = enumerate(lines, len(gathered.submissions))
            gathered.traced += [TracedEvent(number, line.trace, came_s) for number, line in numbered if line.trace]
        gathered.submissions = together([gathered.submissions, submissions])
        gathered.arrived.append((came_s, len(submissions)))
        for part, offset in {polled.part: polled.offset for polled in found}.items():
            earlier = gathered.offsets.get(part)
            offset_before = self.reached.get(part) if earlier is None else earlier.before
            gathered.offsets[part] = Offset(self._source.name, part, offset, offset_before)
            self.reached[part] = offset

    def done(self, gathered: SourceBatch, prepared: Prepared, committed_s: float) -> None:
        """Count a durable batch and acknowledge its offsets."""
        work = self._work
        offsets = {offset.part: offset.offset for offset in gathered.offsets.values()}
        work.done_s = committed_s
        for came_s, count in gathered.arrived:
            work.latencies.add(committed_s - came_s, count)
        if traces.is_on() and gathered.arrived:
            trace_batch(work, prepared, gathered.traced, gathered.arrived[0][0], committed_s)
        work.offsets.update(offsets)
        self._source.acknowledge(offsets)
        for _, letters in self._letters:
            letters.note(len(prepared.batch.refused))
        if self._several is not None:
            self._several.count(gathered.submissions, prepared.answers)

    def attend(self, now_s: float) -> None:
        """Update the source's health from time to time."""
        if now_s - self._asked_s >= HEALTH_S:
            self._asked_s = now_s
            self._work.health = self._source.health()

    def send_letters(self) -> None:
        """Send some dead letters, with no batch open. Raises: as the log's `append`."""
        for begin, letters in self._letters:
            if letters.is_due:
                letters.send(self._parts(begin))

    def end(self) -> None:
        """Send all dead letters that can be sent, with no batch open. Raises: as the log's `append`."""
        for begin, letters in self._letters:
            letters.send_all(self._parts(begin))

    def _parts(self, begin: str) -> set[str]:
        return {part for part in self.reached if part.startswith(begin)}
