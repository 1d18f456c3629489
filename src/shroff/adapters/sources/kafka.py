"""Read live events from topics of a Kafka cluster: all partitions, from the offsets that the log stores.

The source joins no consumer group, since only the writer of the log reads. It commits offsets to the brokers only for
their tools to show. A part is a partition, such as `payments/0`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from shroff.adapters.kafka.client import ANSWER_S, KafkaCluster, let_go
from shroff.adapters.kafka.dead_letters import KafkaDeadLetters
from shroff.adapters.sources.kafka_offsets import OffsetCommits
from shroff.adapters.sources.kafka_partition import KafkaPartition
from shroff.adapters.sources.kafka_partitions import LOOKED_S, Partitions
from shroff.errors import SchemasAwayError, TransientError, UsageError
from shroff.events.formats.lines import Line
from shroff.events.formats.wire import Decoder
from shroff.json_types import TextMapping
from shroff.project.settings.system import System
from shroff.runtime import traces
from shroff.streams.log import Refused
from shroff.streams.merge import Merge, MergingSource, Run
from shroff.streams.source import CERTAIN_S, Health, PartLag, PolledMessages

FETCHED = 4_096  # messages taken from the library at once
WAIT_S = 0.1  # the longest single wait for a message
LOOK_S = 30.0  # between two checks for new partitions
AWAY_S = 5.0  # between queries to brokers that did not answer
NEVER_S = float("-inf")
PATIENCE_S = 30.0  # other partitions wait so long for one that has messages and returns none
AGAIN_S = 0.2
TOMBSTONE = "the message has no value: it is a tombstone, which has no effect here"
_GONE = {"_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE", "_LOG_TRUNCATION"}


class KafkaSource(MergingSource):
    """Keeps every promise of `streams.source.Source` over the topics of one cluster.

    Messages are returned in order of event time across partitions (`streams.merge`). Messages that are ahead of other
    partitions wait in memory, and a partition with enough of them is paused.

    Args:
        system: The settings with their defaults: `brokers`, `topics` and others of `shroff.adapters.sources`.

    Raises: UsageError if the library is missing, or the settings contradict each other.
    """

    name = "kafka"

    def __init__(self, system: System, decoder: Decoder, *, project: str, merge: Merge) -> None:
        self._cluster = KafkaCluster(system, "source")
        self._decoder = decoder
        self.merge = merge
        self._partitions = Partitions(system, self._cluster, project)
        self._letters = KafkaDeadLetters(self._cluster, system.text("dead_letters"))
        self._group = system.text("group", f"shroff-{project}")
        self._consumer: Any = None
        self._parts: dict[tuple[str, int], KafkaPartition] = {}
        self._begun: list[PolledMessages] = []
        self._pending: Sequence[Any] = ()  # messages whose schemas are not available yet
        self._rebalances = 0
        self._has_fetched = False  # whether messages were fetched since the merge was last filled
        self._looked_s = 0.0
        self._vain_s = NEVER_S  # last query that brokers did not answer
        self._commits = OffsetCommits(self._cluster, self._partitions.position)

    def __repr__(self) -> str:
        return f"<KafkaSource {self._cluster.brokers}>"

    @property
    def takes_refused(self) -> bool:
        return bool(self._letters.topic)

    # ---- the contract

    def start(self, offsets: TextMapping) -> None:
        self._connect()
        partitions = self._partitions.find(self._consumer, ANSWER_S, self._letters.topic)
        ids = self._partitions.ids(partitions, ANSWER_S)
        parts = self._partitions.open(self._consumer, partitions, offsets, ids)
        self.merge.clear()
        self._parts = {}
        self._begun = []
        self._pending = ()
        self._consumer.assign([part.position for part in parts])
        self._partitions.have_checked(self._consumer, parts)
        self._take_on(parts)
        self._looked_s = time.monotonic()

    def look(self, offsets: TextMapping) -> list[PartLag]:
        self._connect()
        partitions = self._partitions.find(self._consumer, LOOKED_S, self._letters.topic, is_patient=False)
        lags, ends = self._partitions.lags_and_ends(self._consumer, partitions, offsets)
        for key, end in ends.items():
            if key in self._parts:
                self._parts[key].ends_at(end, is_read=False)
        return lags

    def acknowledge(self, offsets: TextMapping) -> None:
        self._commits.add(self._consumer, offsets)

    def refuse(self, refused: Sequence[Refused]) -> None:
        self._letters.send(refused)

    def health(self) -> Health:
        is_known = self._parts and self._consumer is not None
        lag = sum(part.lag(self._consumer, self.merge) for part in self._parts.values()) if is_known else None
        waiting_parts = [f"{part.name}: {part.trouble}" for part in self._parts.values() if part.trouble]
        messages = (*self._cluster.words, *waiting_parts)
        merge = self.merge
        return Health(lag, self._cluster.errors, self._rebalances, messages, merge.overtaken, merge.overtaken_ms)

    def close(self) -> None:
        consumer = self._consumer
        self._consumer = None
        if consumer is not None:
            self._commits.commit(consumer)
            let_go(consumer)
        self._letters.close()

    # ---- fetching

    def _connect(self) -> None:
        if self._consumer is None:
            self._consumer = self._cluster.consumer(
                group__id=self._group,
                enable__auto__commit="false",
                auto__offset__reset="error",
                isolation__level="read_committed",
                enable__partition__eof="true",
                **_SIZES,
            )

    def _take_on(self, parts: Iterable[KafkaPartition]) -> None:
        for part in parts:
            self._parts[part.topic, part.partition] = part
            self.merge.open(part.name, part.type, part.before)
            if part.is_new and part.next >= 0:
                gap_lines = [Line(part.next, b"", None, part.gap, where=f"before {part.next}")] if part.gap else []
                self._begun.append(
                    PolledMessages(part.name, part.type, self._decoder.format, gap_lines, part.stored(part.next))
                )

    def fill(self, limit: int) -> list[PolledMessages]:
        self._add_new_partitions()
        if self._begun:
            started = self._begun[:limit]
            self._begun = self._begun[limit:]
            return started
        self.merge.doubt()
        self._has_fetched = False
        self._fetch(limit)
        return []

    def _fetch(self, limit: int) -> None:
        if self._pending:
            self._decode_waiting(self._pending)
        elif self.merge.count < limit or self.merge.waits_for:
            messages = self._consumer.consume(FETCHED, 0)
            if messages:
                self._decode_waiting(messages)

    def wait(self, wait_s: float) -> None:
        if self._pending:
            time.sleep(min(wait_s, AGAIN_S))
            return
        message = self._consumer.poll(min(wait_s, WAIT_S))
        if message is not None:
            self._decode_waiting([message])

    def _decode_waiting(self, messages: Sequence[Any]) -> None:
        lines_by_part: dict[KafkaPartition, tuple[list[Line], list[int]]] = {}
        parts = self._parts
        line_of = self._decoder.line
        self._pending = ()
        for index, message in enumerate(messages):
            if message.error() is not None:
                self._take_error(message)
                continue
            part = parts[message.topic(), message.partition()]
            offset = message.offset()
            value = message.value()
            try:
                line = Line(offset, b"", None, TOMBSTONE) if value is None else line_of(offset, value)
            except SchemasAwayError as error:
                self._pending = messages[index:]
                self._cluster.tell(str(error))
                break
            if traces.is_on():
                line.trace = traces.parent_in(message.headers())
            part.next = offset + 1
            part.epochs.came(offset, message.leader_epoch())
            part.bytes += 0 if value is None else len(value)
            lines, sent_ms = lines_by_part.get(part) or lines_by_part.setdefault(part, ([], []))
            lines.append(line)
            sent_ms.append(message.timestamp()[1])
        for part, (lines, sent_ms) in lines_by_part.items():
            part.came()
            self.merge.add(part.name, lines, sent_ms)
            part.hold(self._consumer, self.merge, len(self._parts))

    def _take_error(self, message: Any) -> None:
        """Handle an error message of a partition. Raises: as `Partitions.lost`."""
        error = message.error()
        part = self._parts.get((message.topic(), message.partition()))
        if part is None:
            self._cluster.failed(error)
        elif error.name() == "_PARTITION_EOF":
            part.ends_at(message.offset())
        elif error.name() in _GONE:
            raise self._partitions.lost(self._consumer, part)
        else:
            self._cluster.failed(error)
            part.trouble = self._cluster.words_of(error)

    # ---- returning messages

    def find_out(self) -> bool:
        """Let the merge pass partitions that are at their end or silent for too long; return whether it waits for
        none.
        """
        if not self._has_fetched:
            self._has_fetched = True
            self._fetch(0)  # the messages may have arrived already
            return True
        now_s = time.monotonic()
        waits_for = [self._partitions.by_name[name] for name in self.merge.waits_for]
        unsure = [part for part in waits_for if part.next >= part.end and now_s - part.certain_s > CERTAIN_S]
        if unsure and now_s - self._vain_s > AWAY_S:
            ends = self._partitions.ends(self._consumer, unsure)
            self._vain_s = now_s if len(ends) < len(unsure) else NEVER_S
            for key, end in ends.items():
                self._parts[key].ends_at(end, is_read=False)
        # A partition is not silent while its messages wait here for a schema
        skipped = [
            part for part in waits_for if part.is_at_end or (not self._pending and part.is_left(now_s, PATIENCE_S))
        ]
        for part in skipped:
            self.merge.pass_by(part.name)
        return len(skipped) == len(waits_for)

    def taken(self, runs: Sequence[Run]) -> list[PolledMessages]:
        """Return runs of lines with the offset after each run; later lines of a part may still wait in the merge."""
        waiting_lines = {name: self.merge.lines(name) for name, _, _ in runs}
        were = Counter(waiting_lines)
        for name, lines, _ in runs:
            were[name] += len(lines)
        for name, stay in waiting_lines.items():
            part = self._partitions.by_name[name]
            part.bytes = part.bytes * stay // were[name]
            if part.is_held:
                part.hold(self._consumer, self.merge, len(self._parts))
        messages = []
        for name, lines, offset_before in runs:
            part = self._partitions.by_name[name]
            last = lines[-1].number
            were[name] -= len(lines)
            stored = part.stored(last + 1 if were[name] else part.next, last, offset_before)
            messages.append(PolledMessages(name, part.type, self._decoder.format, lines, stored))
        return messages

    # ---- new partitions

    def _add_new_partitions(self) -> None:
        """Add new partitions, from their first message; checks every `LOOK_S`.

        Raises: as `Partitions.stopped`, if a topic was deleted and created again.
        """
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        try:
            partitions = self._partitions.find(self._consumer, WAIT_S * 10)
            ids = self._partitions.ids(partitions, WAIT_S * 10)
        except (TransientError, UsageError) as error:
            self._cluster.tell(str(error))
            return
        replaced = self._partitions.replaced(ids)
        if replaced is not None:
            raise self._partitions.stopped(replaced)
        new = [key for key in partitions if key not in self._parts]
        if new:
            parts = self._partitions.open(
                self._consumer, {key: partitions[key] for key in new}, {}, ids, is_running=True
            )
            self._consumer.incremental_assign([part.position for part in parts])
            self._take_on(parts)
            self._rebalances += 1


_SIZES = {
    "fetch__wait__max__ms": "100",  # a broker without messages waits so long before it answers
    "fetch__queue__backoff__ms": "10",  # the default of a second stalls a partition whose queue was full
    "queued__max__messages__kbytes": str(32 * 1024),
    "queued__min__messages": "20000",
}
