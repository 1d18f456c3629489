"""Partition state: running state for one partition of an entity's keys, and an engine that uses the partitions'
answers.

A replay on a cluster (`lake.cluster_replay`) uses it. A window of a key needs only the events of that key, in log
order. So each partition processes the events that concern its keys with the online engine, and answers the aggregates
at events with these keys. `Answered` then computes the features and conditions that read the aggregates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any
from zlib import crc32

import numpy as np

from shroff.arrays import Bools, Ints
from shroff.errors import StateError, UsageError
from shroff.events.definitions import Events
from shroff.events.labels import LogEvent
from shroff.features.computed import Computed
from shroff.features.frames import Frame, frames_of
from shroff.features.key_texts import Hits
from shroff.features.online.engine import Online
from shroff.features.online.value_codec import pack, unpack
from shroff.features.plan import Plan, make_plan
from shroff.language.columns import Column, column_of, values_of
from shroff.language.expression import Aggregate, FeatureValue, ItemFeature, ItemField, Node, aggregates, walk
from shroff.language.row import Reference
from shroff.runtime.values import FrozenStruct

WORD_BYTES = 9  # for each aggregate of an answer: 8 of a number or of a float's bits, 1 for whether it is present


class EntityAnswer(FrozenStruct):
    """Values of an entity's aggregates at one event, in the order of `PartitionPlan.asked`.

    Args:
        words: A 64-bit word for each aggregate, then for each a byte that is 1 if the value is present.
        others: Index and value, in turn, of each value that is no word: texts, and numbers beyond 64 bits.
    """

    words: bytes
    others: bytes = b""


class PartitionPlan:
    """The plan that all partitions of an entity share. `events` are the event types that a partition must read."""

    def __init__(
        self, events: Events, computed: Sequence[Computed], reference: Reference, lateness_ms: int, entity: str
    ) -> None:
        self._events = events
        self._computed = computed
        self._reference = reference
        self._lateness_ms = lateness_ms
        self._entity = entity
        self._plan = _plan_of(make_plan(computed), entity)
        self._matching: dict[str, set[str]] = {}
        for group in self._plan.groups:
            if group.key.matching is not None:
                self._matching.setdefault(group.key.event, set()).add(group.key.matching)
        self.events = frozenset(group.key.event for group in self._plan.groups).union(
            *(group.asked_at for group in self._plan.groups)
        )

    def asked(self, event: str) -> list[Aggregate]:
        """Return the aggregates that events of a type need, in the order of an `EntityAnswer`."""
        return _asked(self._plan, event)

    def online(self) -> Online:
        return Online(self._events, self._computed, self._reference, self._lateness_ms, self._plan)

    def layout(self) -> str:
        return self.online().layout()

    def partitions(self, frame: Frame, count: int) -> list[tuple[int, frozenset[int]]]:
        """Return for each event of a frame the partition that answers it, and all partitions that must read it.

        The partition of the event's key answers it. If an aggregate adds the event under the value of another field
        (`matching`), the partition of that value reads it, too.
        """
        homes = [partition_of(key, count) for key in frame.key_values(self._entity)]
        readers: list[set[int]] = [{home} for home in homes]
        for name in sorted(self._matching.get(frame.type.name, ())):
            type_ = next(field.type for field in frame.type.fields if field.name == name)
            values = values_of(frame.evaluate(ItemField(type_, name)))
            for event_readers, value in zip(readers, values, strict=True):
                if value is not None:
                    event_readers.add(partition_of(value, count))
        return [(home, frozenset(event_readers)) for home, event_readers in zip(homes, readers, strict=True)]


class Partition:
    """The running state of one partition of an entity's keys.

    Args:
        state: The result of `state` to continue from; None for a new partition.

    Raises: StateError if the state does not fit the plan.
    """

    def __init__(self, plan: PartitionPlan, state: bytes | None = None) -> None:
        self._plan = plan
        self._online = plan.online()
        if state is not None:
            self._online.restore(iter(unpack(state)))

    def state(self) -> bytes:
        return pack(list(self._online.state()))

    def take(self, batch: Sequence[LogEvent]) -> list[EntityAnswer | None]:
        """Process events that this partition must read, in log order; return an answer, or None, for each.

        An answer is valid only for an event whose key is in this partition; ignore the others.
        """
        answers: list[EntityAnswer | None] = [None] * len(batch)
        for name, frame in self._online.compute(batch).items():
            asked = self._plan.asked(name)
            if asked:
                columns = [frame.aggregates[aggregate] for aggregate in asked]
                for row, answer in zip(frame.rows.tolist(), _answers(columns, len(frame)), strict=True):
                    answers[row] = answer
        return answers


class Answered(Online):
    """Engine that computes features and conditions from aggregates that partitions have answered.

    It has no state. Before each batch, set `given` to the answers by entity: a sequence in the order of the batch, with
    None for an event without an answer.
    """

    def __init__(self, events: Events, computed: Sequence[Computed], reference: Reference) -> None:
        plan = make_plan(computed)
        super().__init__(events, computed, reference, 0, Plan((), plan.computed, plan.stages))
        self._asked_by = {entity: _plan_of(plan, entity) for entity in entities_of(plan)}
        self.given: Mapping[str, Sequence[EntityAnswer | None]] = {}

    def takes_rows(self, batch: Sequence[LogEvent]) -> bool:
        return False  # the aggregates come as columns

    def compute(self, batch: Sequence[LogEvent], hits: Sequence[Hits | None] | None = None) -> dict[str, Frame]:
        frames = frames_of(batch, self._events, self._reference)
        for name, frame in frames.items():
            for entity, plan in self._asked_by.items():
                asked = _asked(plan, name)
                if asked:
                    columns = _columns(asked, frame, self.given.get(entity, ()))
                    frame.aggregates |= zip(asked, columns, strict=True)
        self.take(frames, len(batch), hits)
        return frames


def entities_of(plan: Plan) -> list[str]:
    """Return the names of the entities with aggregates, sorted."""
    return sorted({group.key.entity for group in plan.groups})


def check_keyed(computed: Sequence[Computed]) -> None:
    """Check that partitions by key can compute all this. Raises: UsageError with the first feature that they cannot."""
    features = {feature.name: feature for feature in computed}
    for feature in computed:
        if feature.looks_since_flag:
            raise UsageError(
                f"{feature.asker} uses 'since flag': each hit affects later events, so it depends on all entities and "
                f"cannot be partitioned by key. One process decides it: "
                "'shroff verify'."
            )
        for aggregate in aggregates(feature.node):
            if aggregate.via is not None:
                raise UsageError(
                    f"{feature.asker} looks by 'via' at events of other keys, so it cannot be partitioned by key. "
                    "One process decides it: 'shroff verify'."
                )
            read = _read_within([aggregate], features)
            for inner in chain.from_iterable(aggregates(features[name].node) for name in read):
                if inner.entity != aggregate.entity or aggregate.matching is not None:
                    raise UsageError(
                        f"{feature.asker} aggregates a feature of {inner.entity} over the events of "
                        f"{aggregate.entity}: the partitions would wait for each other at every event. "
                        "One process decides it: 'shroff verify'."
                    )


def partition_of(key: Any, count: int) -> int:
    """Return the partition of a key, 0 for a missing key. It is the same in every process and every version."""
    return 0 if key is None else _hash(key) % count


def _hash(key: Any) -> int:
    if isinstance(key, tuple):
        return crc32(b"".join(_hash(part).to_bytes(4) for part in key))
    if isinstance(key, str):
        return crc32(key.encode("utf-8", "surrogatepass"))
    # The hash of a number is the same in every process, and equal numbers of different types have equal hashes.
    return crc32(hash(key).to_bytes(8, signed=True))


def _plan_of(plan: Plan, entity: str) -> Plan:
    """Return the part of a plan for one entity: its aggregates, and the features that these read of events."""
    groups = tuple(group for group in plan.groups if group.key.entity == entity)
    features = {feature.name: feature for _, feature in plan.computed}
    read: set[str] = set()
    for group in groups:
        read |= _read_within(group.aggregates, features)
    computed = tuple((stage, feature) for stage, feature in plan.computed if feature.name in read)
    return Plan(groups, computed, plan.stages)


def _asked(plan: Plan, event: str) -> list[Aggregate]:
    return [aggregate for group in plan.groups if event in group.asked_at for aggregate in group.aggregates]


def _read_within(nodes: Sequence[Node], features: Mapping[str, Computed]) -> set[str]:
    read: set[str] = set()
    pending = list(nodes)
    while pending:
        for part in walk(pending.pop()):
            if isinstance(part, FeatureValue | ItemFeature) and part.name in features and part.name not in read:
                read.add(part.name)
                pending.append(features[part.name].node)
    return read


# ---- answers as bytes


def _answers(columns: Sequence[Column], count: int) -> Iterator[EntityAnswer]:
    words = np.zeros((count, len(columns)), np.int64)
    valid = np.zeros((count, len(columns)), np.uint8)
    others_by_row: list[list[Any]] = [[] for _ in range(count)]
    for index, column in enumerate(columns):
        valid[:, index] = column.valid
        if column.values.dtype == object:
            for row, value in enumerate(values_of(column)):
                if value is not None:
                    others_by_row[row] += [index, value]
        else:
            is_real = column.values.dtype == np.float64
            words[:, index] = column.values.view(np.int64) if is_real else column.values.astype(np.int64)
    rows = np.concatenate([words.view(np.uint8).reshape(count, -1), valid], axis=1)
    for row, others in zip(rows, others_by_row, strict=True):
        yield EntityAnswer(row.tobytes(), pack(others) if others else b"")


def _columns(asked: Sequence[Aggregate], frame: Frame, given: Sequence[EntityAnswer | None]) -> list[Column]:
    """Return the aggregates' columns for a frame, from the answers to all events of the batch.

    Raises: StateError if an event of the frame has no answer.
    """
    answers: list[EntityAnswer] = []
    for row in frame.rows.tolist():
        answer = given[row] if row < len(given) else None
        if answer is None:
            raise StateError(f"the partitions of {asked[0].entity} left a {frame.type.name} without an answer")
        answers.append(answer)
    width = len(asked)
    count = len(answers)
    raw = np.frombuffer(b"".join(answer.words for answer in answers), np.uint8).reshape(count, width * WORD_BYTES)
    words = np.ascontiguousarray(raw[:, : width * 8]).view(np.int64).reshape(count, width)
    valid = raw[:, width * 8 :].astype(np.bool_)
    others_by_column: dict[int, dict[int, Any]] = {}
    for row, answer in enumerate(answers):
        pairs = unpack(answer.others) if answer.others else []
        for index, value in zip(pairs[::2], pairs[1::2], strict=True):
            others_by_column.setdefault(index, {})[row] = value
    return [
        _column(aggregate, np.ascontiguousarray(words[:, i]), valid[:, i].copy(), others_by_column.get(i, {}))
        for i, aggregate in enumerate(asked)
    ]


def _column(aggregate: Aggregate, words: Ints, valid: Bools, others: Mapping[int, Any]) -> Column:
    kind = aggregate.type.kind
    if aggregate.type.is_text or others:
        pairs = zip(words.tolist(), valid.tolist(), strict=True)
        values = [others.get(row, word) if is_present else None for row, (word, is_present) in enumerate(pairs)]
        return column_of(values, aggregate.type)
    if kind == "real":
        return Column(words.view(np.float64), valid)
    return Column(words.astype(np.bool_) if kind == "boolean" else words, valid)
