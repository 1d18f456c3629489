"""Columns that the batch engine stores of each event for a later round."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from shroff.arrays import Array, Bools, Ints
from shroff.events.definitions import Events
from shroff.features.frames import Coded, Codes, ColumnFrame, Dictionary, Frame, Frames
from shroff.features.plan import Group, Plan
from shroff.language.columns import Column, values_of
from shroff.language.expression import Aggregate, ItemField, Node, ThisField, aggregates, walk
from shroff.language.row import Reference
from shroff.language.types import Type
from shroff.runtime.values import FrozenStruct

Kept = Column | Coded


class ChunkFrame(FrozenStruct):
    """Columns stored of the events of one type in a chunk."""

    rows: Array | None  # positions in the chunk; None for all
    columns: dict[str, Kept]
    keyed: dict[str, Bools]
    computed: dict[str, Kept]
    aggregates: dict[Aggregate, Kept]


class Chunk(FrozenStruct):
    """Columns of consecutive events of the log; `version` is that of lists and tables."""

    size: int
    times: Ints
    frames: dict[str, ChunkFrame]
    version: int = 0


class Piece(FrozenStruct):
    """Several chunks as frames again, all with the same version of lists and tables."""

    size: int
    times: Ints
    frames: dict[str, Frame]
    version: int = 0


class Keeper:
    """Stores only the columns that later rounds of a plan read."""

    def __init__(self, plan: Plan, also: Collection[str], events: Events, reference: Reference) -> None:
        self._plan = plan
        self._events = events
        self.versions = [reference]  # of lists and tables
        self._texts: dict[tuple[str, object], tuple[Codes, Dictionary]] = {}
        self._types = {feature.name: feature.node.type for _, feature in plan.computed}
        self._wanted = frozenset(event for _, feature in plan.computed for event in feature.events) | frozenset(also)
        self._fields = [self._fields_after(stage) for stage in range(plan.stages)]
        self._read_last = {
            aggregate: max(stage for stage, feature in plan.computed if aggregate in aggregates(feature.node))
            for group in plan.groups
            for aggregate in group.aggregates
        }

    def keep(self, stage: int, frames: Frames, size: int, times: Ints) -> Chunk:
        """Store the columns read after the round of a stage."""
        fields = self._fields[stage]
        kept = {name: self._kept(stage, frame, fields[name], size) for name, frame in frames.items() if name in fields}
        return Chunk(size, times, kept, len(self.versions) - 1)

    def piece(self, chunks: Sequence[Chunk]) -> Piece:
        """Concatenate chunks, which must have the same version of lists and tables."""
        version = chunks[0].version
        sizes = [chunk.size for chunk in chunks]
        starts = np.cumsum([0, *sizes[:-1]]).tolist()
        times = np.concatenate([chunk.times for chunk in chunks])
        names = dict.fromkeys(name for chunk in chunks for name in chunk.frames)
        frames: dict[str, Frame] = {}
        for name in names:
            parts = [chunk.frames[name] for chunk in chunks if name in chunk.frames]
            places = [(start, chunk.size) for chunk, start in zip(chunks, starts, strict=True) if name in chunk.frames]
            frames[name] = self._frame(name, parts, places, times, self.versions[version])
        return Piece(sum(sizes), times, frames, version)

    def _kept(self, stage: int, frame: Frame, fields: Mapping[str, Type], size: int) -> ChunkFrame:
        name = frame.type.name
        entities = {
            feature.entity for _, feature in self._plan.computed if feature.needs_key and name in feature.events
        }
        return ChunkFrame(
            None if len(frame) == size else small(frame.rows),
            {field: self._field(frame, field, type_) for field, type_ in fields.items()},
            {entity: frame.has_key(entity) for entity in sorted(entities)},
            {
                field: self._column((name, field), column, self._types[field])
                for field, column in frame.computed.items()
            },
            {
                field: self._column((name, field), column, field.type)
                for field, column in frame.aggregates.items()
                if self._read_last[field] >= stage
            },
        )

    def _field(self, frame: Frame, name: str, type_: Type) -> Kept:
        place = (frame.type.name, name)
        coded = frame.coded(name)
        if coded is None:
            return self._column(place, frame.field(name, type_), type_)
        codes, dictionary = self._codes_of(place)
        return Coded(small(codes.of_coded(coded)), dictionary)

    def _column(self, place: tuple[str, object], column: Column, type_: Type) -> Kept:
        if not type_.is_text:
            return Column(small(column.values), column.valid)
        codes, dictionary = self._codes_of(place)
        return Coded(small(codes.of(values_of(column))), dictionary)

    def _codes_of(self, place: tuple[str, object]) -> tuple[Codes, Dictionary]:
        if place not in self._texts:
            codes = Codes()
            self._texts[place] = codes, Dictionary(codes.values)
        return self._texts[place]

    def _frame(
        self,
        name: str,
        parts: Sequence[ChunkFrame],
        places: Sequence[tuple[int, int]],
        times: Ints,
        reference: Reference,
    ) -> ColumnFrame:
        rows = np.concatenate(
            [
                begin + (np.arange(size) if part.rows is None else part.rows.astype(np.int64))
                for part, (begin, size) in zip(parts, places, strict=True)
            ]
        )
        type_ = self._events.types[name]
        first = parts[0]
        keyed = {name: np.concatenate([part.keyed[name] for part in parts]) for name in first.keyed}
        columns = {column: joined([part.columns[column] for part in parts]) for column in first.columns}
        frame = ColumnFrame(type_, columns, times[rows], rows, self._events, reference, keyed)
        frame.computed = {name: as_column(joined([part.computed[name] for part in parts])) for name in first.computed}
        frame.aggregates = {
            aggregate: as_column(joined([part.aggregates[aggregate] for part in parts]))
            for aggregate in first.aggregates
        }
        return frame

    # ---- what is read

    def _fields_after(self, stage: int) -> dict[str, dict[str, Type]]:
        """Return the fields read after the round of a stage, by event type; none if only the events are needed."""
        by_event: dict[str, dict[str, Type]] = {name: {} for name in sorted(self._wanted)}
        for at, feature in self._plan.computed:
            if at >= stage:
                for event in feature.events:
                    by_event[event] |= _fields_of([feature.node], ThisField)
        for group in self._plan.groups:
            if group.key.stage > stage:
                for event in (group.key.event, *sorted(group.asked_at)):
                    by_event.setdefault(event, {}).update(self._fields_of_group(group, event))
        return {name: fields for name, fields in by_event.items() if name in self._events.types}

    def _fields_of_group(self, group: Group, event: str) -> dict[str, Type]:
        """Return the fields that a group reads from events of a type: keys, sides of pairs and aggregated values."""
        nodes: list[Node] = [*self._events.entities[group.key.entity].keys.get(event, ())]
        fields = _fields_of(nodes, ThisField | ItemField)
        if event == group.key.event:
            fields |= _fields_of(group.aggregates, ItemField)
            fields |= {
                field.name: field.type for field in self._events.types[event].fields if field.name == group.key.matching
            }
        if event in group.asked_at:
            fields |= _fields_of(group.aggregates, ThisField)
        return fields


def _fields_of(nodes: Iterable[Node], kind: Any) -> dict[str, Type]:
    return {leaf.name: leaf.type for node in nodes for leaf in walk(node) if isinstance(leaf, kind)}


def small(values: Array) -> Array:
    """Return integers in 32 bits if all fit; always a copy, so that a larger array can be released."""
    if values.dtype != np.int64 or not values.size:
        return values.copy()
    limits = np.iinfo(np.int32)
    fits = int(values.min()) >= limits.min and int(values.max()) <= limits.max
    return values.astype(np.int32) if fits else values.copy()


def joined(parts: Sequence[Kept]) -> Kept:
    coded = [part for part in parts if isinstance(part, Coded)]
    if coded:  # then all have the same dictionary
        return Coded(np.concatenate([part.codes for part in coded]), coded[0].dictionary)
    columns = [part for part in parts if isinstance(part, Column)]
    return Column(_wide([part.values for part in columns]), np.concatenate([part.valid for part in columns]))


def _wide(parts: Sequence[Array]) -> Array:
    values = np.concatenate(parts)
    return values.astype(np.int64) if values.dtype == np.int32 else values


def as_column(kept: Kept) -> Column:
    return kept.column() if isinstance(kept, Coded) else kept
