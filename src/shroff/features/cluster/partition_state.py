"""Partition state: running state by partitions of an entity's keys, and engines that are given their answers.

A window of a key needs the events of that key in log order, and nothing else. So the keys of
an entity can be parted: each partition folds the events that have to do with its keys, by the
kernels of the online engine, and answers the aggregates at those that have its keys. What
stands on the aggregates, of one entity or several, is computed where the answers meet.
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

WORD_BYTES = 9  # of an answer: a number or the bits of a float, and whether it is there


class EntityAnswer(FrozenStruct):
    """Values of an entity's aggregates at one event, in the order of `PartitionPlan.asked`.

    Args:
        words: A 64-bit word for each, then a byte for each that says whether it is there.
        others: Places and values, in turn, of those that are no words: texts, and numbers beyond 64 bits.
    """

    words: bytes
    others: bytes = b""


class PartitionPlan:
    """Shared plan of an entity's partitions, and the partitions that an event concerns."""

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
        """The aggregates that are answered at the events of a type, in their order."""
        return _asked(self._plan, event)

    def online(self) -> Online:
        """The state of a partition that has seen nothing."""
        return Online(self._events, self._computed, self._reference, self._lateness_ms, self._plan)

    def layout(self) -> str:
        """Hash of the layout of a partition's state."""
        return self.online().layout()

    def partitions(self, frame: Frame, count: int) -> list[tuple[int, frozenset[int]]]:
        """For each event of a type: the partition that answers it, and all that must read it.

        An event is seen by the partition of its key, and where it enters with the value of another field (`matching`)
        by the partition of that value too, which then has it among events that nobody there asks for.
        """
        homes = [partition_of(key, count) for key in frame.key_values(self._entity)]
        seen: list[set[int]] = [{home} for home in homes]
        for name in sorted(self._matching.get(frame.type.name, ())):
            type_ = next(field.type for field in frame.type.fields if field.name == name)
            for places, value in zip(seen, values_of(frame.evaluate(ItemField(type_, name))), strict=True):
                if value is not None:
                    places.add(partition_of(value, count))
        return [(home, frozenset(places)) for home, places in zip(homes, seen, strict=True)]


class Partition:
    """The running state of one partition of an entity's keys.

    Args:
        state: What `state` gave; None for a partition that has seen nothing.
    """

    def __init__(self, keyed: PartitionPlan, state: bytes | None = None) -> None:
        self._keyed, self._online = keyed, keyed.online()
        if state is not None:
            self._online.restore(iter(unpack(state)))

    def state(self) -> bytes:
        """The complete state."""
        return pack(list(self._online.state()))

    def take(self, batch: Sequence[LogEvent]) -> list[EntityAnswer | None]:
        """Take events that this partition has to see, in log order; gives the answers at each that has any.

        Answers count at the events whose home is here; at others they are of no use.
        """
        found: list[EntityAnswer | None] = [None] * len(batch)
        for name, frame in self._online.compute(batch).items():
            asked = self._keyed.asked(name)
            if asked:
                columns = [frame.aggregates[aggregate] for aggregate in asked]
                for row, answer in zip(frame.rows.tolist(), _answers(columns, len(frame)), strict=True):
                    found[row] = answer
        return found


class Answered(Online):
    """Engine on top of aggregates that remote partitions have answered.

    It has no state. `given` is to hold the answers of each entity at the events of the next
    batch, in their order; an entity that has none at an event has None there.
    """

    def __init__(self, events: Events, computed: Sequence[Computed], reference: Reference) -> None:
        plan = make_plan(computed)
        super().__init__(events, computed, reference, 0, Plan((), plan.computed, plan.stages))
        self._asked_by = {entity: _plan_of(plan, entity) for entity in entities_of(plan)}
        self.given: Mapping[str, Sequence[EntityAnswer | None]] = {}

    def takes_rows(self, batch: Sequence[LogEvent]) -> bool:
        """Always False: input comes by columns."""
        return False

    def compute(self, batch: Sequence[LogEvent], hits: Sequence[Hits | None] | None = None) -> dict[str, Frame]:
        frames = frames_of(batch, self._events, self._reference)
        for name, frame in frames.items():
            for entity, plan in self._asked_by.items():
                if asked := _asked(plan, name):
                    answers = self.given.get(entity, ())
                    frame.aggregates |= zip(asked, _columns(asked, frame, answers), strict=True)
        self.take(frames, len(batch), hits)
        return frames


def entities_of(plan: Plan) -> list[str]:
    """The entities that have aggregates."""
    return sorted({group.key.entity for group in plan.groups})


def check_keyed(computed: Sequence[Computed]) -> None:
    """Check that partitions by key can compute this. Raises: UsageError that names what they cannot."""
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
            within = _read_within([aggregate], features)
            for inner in chain.from_iterable(aggregates(features[name].node) for name in within):
                if inner.entity != aggregate.entity or aggregate.matching is not None:
                    raise UsageError(
                        f"{feature.asker} aggregates a feature of {inner.entity} over the events of "
                        f"{aggregate.entity}: the partitions would wait for each other at every event. "
                        "One process decides it: 'shroff verify'."
                    )


def partition_of(key: Any, count: int) -> int:
    """The partition of a key, equal for equal keys, in every process and for ever; that of a missing one is 0."""
    return 0 if key is None else _hash(key) % count


def _hash(key: Any) -> int:
    if isinstance(key, tuple):
        return crc32(b"".join(_hash(part).to_bytes(4) for part in key))
    if isinstance(key, str):
        return crc32(key.encode("utf-8", "surrogatepass"))
    return crc32(hash(key).to_bytes(8, signed=True))  # of numbers: the same everywhere, and for equal ones of two types


def _plan_of(plan: Plan, entity: str) -> Plan:
    """What the partitions of an entity fold: its aggregates, and the features that these read of events."""
    groups = tuple(group for group in plan.groups if group.key.entity == entity)
    features = {wanted.name: wanted for _, wanted in plan.computed}
    read = {name for group in groups for aggregate in group.aggregates for name in _read_within([aggregate], features)}
    return Plan(groups, tuple((at, feature) for at, feature in plan.computed if feature.name in read), plan.stages)


def _asked(plan: Plan, event: str) -> list[Aggregate]:
    return [aggregate for group in plan.groups if event in group.asked_at for aggregate in group.aggregates]


def _read_within(nodes: Sequence[Node], features: Mapping[str, Computed]) -> set[str]:
    """The features that some expressions read, and those that these read."""
    found: set[str] = set()
    waiting = list(nodes)
    while waiting:
        for part in walk(waiting.pop()):
            if isinstance(part, FeatureValue | ItemFeature) and part.name in features and part.name not in found:
                found.add(part.name)
                waiting.append(features[part.name].node)
    return found


# ---- answers as bytes


def _answers(columns: Sequence[Column], count: int) -> Iterator[EntityAnswer]:
    """The values of some columns, row by row."""
    words = np.zeros((count, len(columns)), np.int64)
    valid = np.zeros((count, len(columns)), np.uint8)
    values: list[list[Any]] = [[] for _ in range(count)]
    for at, column in enumerate(columns):
        valid[:, at] = column.valid
        if column.values.dtype == object:
            for row, value in enumerate(values_of(column)):
                if value is not None:
                    values[row] += [at, value]
        else:
            is_real = column.values.dtype == np.float64
            words[:, at] = column.values.view(np.int64) if is_real else column.values.astype(np.int64)
    rows = np.concatenate([words.view(np.uint8).reshape(count, -1), valid], axis=1)
    for row, others in zip(rows, values, strict=True):
        yield EntityAnswer(row.tobytes(), pack(others) if others else b"")


def _columns(asked: Sequence[Aggregate], frame: Frame, given: Sequence[EntityAnswer | None]) -> list[Column]:
    """The columns of the aggregates at the events of a type, from the answers at those of a batch."""
    answers = [given[row] if row < len(given) else None for row in frame.rows.tolist()]
    found = [answer for answer in answers if answer is not None]
    if len(found) < len(answers):
        raise StateError(f"the partitions of {asked[0].entity} left a {frame.type.name} without an answer")
    width = len(asked)
    count = len(found)
    raw = np.frombuffer(b"".join(answer.words for answer in found), np.uint8).reshape(count, width * WORD_BYTES)
    words = np.ascontiguousarray(raw[:, : width * 8]).view(np.int64).reshape(count, width)
    valid = raw[:, width * 8 :].astype(np.bool_)
    others: dict[int, dict[int, Any]] = {}
    for row, row_answer in enumerate(found):
        parts = unpack(row_answer.others) if row_answer.others else []
        for at, value in zip(parts[::2], parts[1::2], strict=True):
            others.setdefault(at, {})[row] = value
    return [
        _column(aggregate, np.ascontiguousarray(words[:, at]), valid[:, at].copy(), others.get(at, {}))
        for at, aggregate in enumerate(asked)
    ]


def _column(aggregate: Aggregate, words: Ints, valid: Bools, others: Mapping[int, Any]) -> Column:
    kind = aggregate.type.kind
    if aggregate.type.is_text or others:
        listed = zip(words.tolist(), valid.tolist(), strict=True)
        values = [others.get(row, word) if there else None for row, (word, there) in enumerate(listed)]
        return column_of(values, aggregate.type)
    if kind == "real":
        return Column(words.view(np.float64), valid)
    return Column(words.astype(np.bool_) if kind == "boolean" else words, valid)
