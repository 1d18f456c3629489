"""Several named sources read in parallel and merged in time order, as if they were partitions of one source.

Each source works in its own thread, so that one that does not answer delays no other. Messages are taken from their
merges as from one merge with all partitions. A failed source is restarted automatically, without the others.
While it may still have earlier messages, the others wait up to 30 seconds for it; if it had been read to its end, they
do not wait. A source without a merge is awaited, up to 20 seconds a round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from itertools import chain

from shroff.errors import StateError
from shroff.events.intake import READ, Submission
from shroff.json_types import TextMapping
from shroff.log.columns.lines import sent_of
from shroff.log.read_positions import known
from shroff.log.writer import Answer
from shroff.runtime.progress import Tell, unheard
from shroff.streams.log import Log
from shroff.streams.merge import Run, take_together
from shroff.streams.source import Health, PartLag, PolledMessages, Source, Trimming
from shroff.worker.serving.source_reader import ANSWER_S, NamedReader, ReadNews

__all__ = ["Note", "ReadNews", "SeveralSources"]

ROUND_S = 0.1  # a round waits this long for a source; a slower one is read in a later round
IDLE_S = 0.05
NOTED_S = 1.0  # between two reports of the sources' state

Claims = Mapping[str, Collection[str]]
Note = Callable[[str, ReadNews], None]


class SeveralSources:
    """A `streams.source.Source` that combines named sources; each partition is prefixed with its source's name.

    Args:
        sources: By name.
        claims: By kind of source, each declared topic (stream, subscription) with the names of its sources.
        tell: Called when a source fails, and when it is read again.
        report: Called now and then with the name and the news of a source.
    """

    name = READ
    takes_refused = False  # each reader sends its own dead letters

    def __init__(
        self,
        sources: Mapping[str, Source],
        claims: Mapping[str, Claims] | None = None,
        tell: Tell = unheard,
        report: Note | None = None,
    ) -> None:
        is_alone = len(sources) == 1
        self.readers = [
            NamedReader(name, source, (claims or {}).get(source.name, {}), tell, is_alone=is_alone)
            for name, source in sources.items()
        ]
        self._report_news = report
        self._noted_s = 0.0

    def adopt(self, log: Log) -> None:
        """Let a source that had no name, or was the only one, continue from the offsets stored under its kind."""
        new_offsets = log.offsets.of(READ)
        known_parts = {part.split("/", 2)[2] for part in new_offsets}
        for reader in self.readers:
            old_offsets = known(log.offsets.of(reader.source.name))
            reader.before.adopt({part: offset for part, offset in old_offsets.items() if part not in known_parts})

    # ---- the contract

    def start(self, offsets: TextMapping) -> None:
        for reader in self.readers:
            reader.begin_at(reader.own(offsets))

    def look(self, offsets: TextMapping) -> list[PartLag]:
        """Return the lag of every partition. Raises: the error of a source that waiting does not cure."""
        return list(chain.from_iterable(reader.look(offsets) for reader in self.readers))

    def poll(self, limit: int, timeout_s: float) -> list[PolledMessages]:
        until_s = time.monotonic() + timeout_s
        while True:
            messages = self._round(limit)
            left_s = until_s - time.monotonic()
            if messages or left_s <= 0:
                return messages
            self._wait(left_s)

    def acknowledge(self, offsets: TextMapping) -> None:
        for reader in self.readers:
            reader.thread.later(reader.source.acknowledge, reader.own(offsets))

    def refuse(self, refused: Sequence[object]) -> None:
        """Do nothing: each reader sends its own dead letters."""

    def health(self) -> Health:
        states = [reader.health for reader in self.readers]
        lags = [part.lag for part in states if part.lag is not None]
        return Health(
            sum(lags) if len(lags) == len(states) else None,
            sum(part.errors for part in states),
            sum(part.rebalances for part in states),
            [f"source {reader.label}: {reader.failing}" for reader in self.readers if reader.failing],
            sum(part.overtaken for part in states),
            max(part.overtaken_ms for part in states),
            {reader.label: reader.failing for reader in self.readers},
        )

    def trim(self, offsets: TextMapping) -> None:
        for reader in self.readers:
            if isinstance(reader.source, Trimming):
                reader.thread.later(reader.source.trim, reader.own(offsets))

    def close(self) -> None:
        self.report(is_due=True)
        for reader in self.readers:
            reader.close()

    # ---- results

    def count(self, submissions: Sequence[Submission], answers: Sequence[Answer]) -> None:
        """Count the results of messages by source."""
        by_source: dict[str, ReadNews] = {}
        news = {reader.label: reader.news for reader in self.readers}
        for (source, time_ms), answer in zip(sent_of(submissions), answers, strict=True):
            source_news = by_source.get(source) or by_source.setdefault(source, news[source.split("/", 2)[1]])
            source_news.add(answer.kind, time_ms)

    def report(self, *, is_due: bool = False) -> None:
        """Report the news of each source, at most once per `NOTED_S` unless it is due."""
        now_s = time.monotonic()
        if self._report_news is not None and (is_due or now_s - self._noted_s >= NOTED_S):
            self._noted_s = now_s
            for reader in self.readers:
                if (news := reader.told()) is not None:
                    self._report_news(reader.label, news)

    # ---- reading

    def _round(self, limit: int) -> list[PolledMessages]:
        """Return the messages that may be taken now, earliest first, without waiting."""
        messages: list[PolledMessages] = []
        for reader in self.readers:
            messages += reader.collect()
            reader.fill(limit if reader.merge is not None else max(1, (limit - _count(messages)) // 2))
            if reader.merge is None:
                # Wait here, so that this source returns no more than there is room for.
                messages += reader.collect(ANSWER_S)
        _settle(self.readers)
        messages += chain.from_iterable(reader.collect() for reader in self.readers)
        if all(reader.is_lasting for reader in self.readers):
            raise next((reader.error for reader in self.readers if reader.error), StateError("no source is read"))
        self.report()
        now_s = time.monotonic()
        # Not `any`: `holds_up` must be called on every reader, because it starts that reader's clock.
        holding = [reader for reader in self.readers if reader.holds_up(now_s)]
        if holding:
            return messages
        return messages + self._taken(limit - _count(messages))

    def _taken(self, limit: int) -> list[PolledMessages]:
        present = [reader for reader in self.readers if reader.is_filled and reader.merge is not None]
        messages: list[PolledMessages] = []
        while True:
            merged = self._take_from_merges(present, limit)
            messages += merged
            limit -= _count(merged)
            blocking = [reader for reader in present if reader.merge is not None and reader.merge.waits_for]
            if limit <= 0 or not blocking:
                break
            for reader in blocking:
                reader.find_out()
            _settle(blocking)
            answers = [reader.has_found_out() for reader in blocking]
            if not all(answers):
                break
        for reader in present:
            reader.is_drained = reader.task is None and reader.merge is not None and reader.merge.is_drained
        return messages

    def _take_from_merges(self, readers: Sequence[NamedReader], limit: int) -> list[PolledMessages]:
        merges = {reader.label: reader.merge for reader in readers if reader.merge is not None}
        labels = {id(merge): label for label, merge in merges.items()}
        runs: dict[str, list[Run]] = {label: [] for label in merges}
        order = []
        for merge, run in take_together(list(merges.values()), limit):
            order.append(labels[id(merge)])
            runs[order[-1]].append(run)
        messages = {reader.label: iter(reader.taken(runs[reader.label])) for reader in readers if runs[reader.label]}
        return [next(messages[label]) for label in order]

    def _wait(self, left_s: float) -> None:
        wait_s = min(left_s, IDLE_S)
        for reader in self.readers:
            reader.await_messages(wait_s)
        tasks = [reader.task for reader in self.readers if reader.task is not None]
        if tasks:
            wait(tasks, wait_s, FIRST_COMPLETED)
        else:
            time.sleep(wait_s)


def _settle(readers: Sequence[NamedReader]) -> None:
    """Wait up to `ROUND_S` for running tasks, except those that were slow before or wait for messages."""
    wait([reader.task for reader in readers if reader.task is not None and not reader.is_slow], ROUND_S)
    for reader in readers:
        reader.is_slow = reader.task is not None and not reader.task.done()


def _count(messages: Sequence[PolledMessages]) -> int:
    return sum(len(polled.lines) for polled in messages)
