"""A group of aggregates with its history: what it is fed of a batch, and the columns that it gives.

A group keeps its events in a kernel's history, or, where a condition must look at each of
them, in a `LookHistory`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shroff.events.definitions import Events
from shroff.events.labels import LabelEvent
from shroff.features.frames import Codes, Frame, joined_key, masked
from shroff.features.histories import History
from shroff.features.looks import LookHistory
from shroff.features.packing import pack_numbers, unpack_numbers
from shroff.features.plan import Group, SeriesKey, kernel_plan
from shroff.language.columns import Column, column_of, values_of
from shroff.language.expression import Aggregate, ItemFeature, ItemField, Node, ThisField, walk
from shroff.language.row import Reference
from shroff.language.types import INTEGER_MAX, INTEGER_MIN, UNITS_MAX, Type
from shroff.language.values import Value


@dataclass(frozen=True, slots=True)
class Feed:
    """What a history is told of a batch: key codes of its events and of who asks, and its series."""

    inserts: NDArray[np.int64]
    asks: NDArray[np.int64]
    values: NDArray[np.int64]
    kept: NDArray[np.uint8]


class Running:
    """One group of aggregates with its history."""

    def __init__(
        self,
        group: Group,
        lateness_ms: int,
        keys: dict[Any, Codes],
        texts: Codes,
        events: Events,
        reference: Reference,
    ) -> None:
        self.group, self.key = group, group.key
        self.texts, self.events = texts, events
        space = (group.key.entity, tuple(item for item, _ in group.key.pairs))
        self.codes = keys.setdefault(space, Codes())
        self.kernel = kernel_plan(group) if not group.key.is_look else None
        self.history = History(self.kernel.plan, lateness_ms=lateness_ms) if self.kernel else None
        self.look = LookHistory(group.aggregates, lateness_ms, reference) if group.key.is_look else None
        self.this_fields = {one: this_fields(one) for one in group.aggregates}
        self.pairs_of: dict[Any, set[int]] = {}  # codes by the entity's key, where a hit must find all pairs of a key

    @property
    def memory_bytes(self) -> int:
        return self.history.memory_bytes if self.history else 0

    def trim(self, watermark_ms: int, keys: int) -> None:
        """Let go of what is out of reach, of up to so many keys, going round."""
        if self.look is not None:
            self.look.trim(watermark_ms, keys)
        elif self.history is not None:
            self.history.sweep(keys, watermark_ms)

    def clear(self, key: Any) -> None:
        """Forget all events of a key."""
        codes = self.pairs_of.get(key, set()) if self.key.pairs else {self.codes.known.get(key, -1)}
        for code in codes - {-1}:
            if self.look is not None:
                self.look.clear(code)
            elif self.history is not None:
                self.history.clear(code)

    def state(self) -> tuple[bytes, bytes]:
        """All of its own, to be given to `restore`: codes of pairs, and the history. Key codes are not its own."""
        pairs = pack_numbers(code for codes in self.pairs_of.values() for code in codes)
        history = self.history.snapshot() if self.history is not None else b""
        return pairs, self.look.snapshot() if self.look is not None else history

    def restore(self, pairs: bytes, history: bytes) -> None:
        """Continue from the state of another group like this, key codes restored before.

        Raises: StateError if the history was made with another plan.
        """
        self.pairs_of = {}
        for code in unpack_numbers(pairs).tolist():
            self.pairs_of.setdefault(self.codes.values[code][0], set()).add(code)
        if self.look is not None:
            self.look.restore(history)
        elif self.history is not None:
            self.history.restore(history)

    def _note_pairs(self, keys: list[Any], codes: NDArray[np.int64]) -> None:
        for key, code in zip(keys, codes.tolist(), strict=True):
            if code >= 0:
                self.pairs_of.setdefault(key, set()).add(code)

    # ---- keys

    def inserts(self, frames: Mapping[str, Frame], size: int) -> NDArray[np.int64]:
        """Key codes of the events that enter the history; -1 for all others."""
        codes = np.full(size, -1, np.int64)
        frame = frames.get(self.key.event)
        if frame is None:
            return codes
        if self.key.matching is not None:
            type_ = next(one.type for one in frame.type.fields if one.name == self.key.matching)
            keys = values_of(frame.field(self.key.matching, type_))
        else:
            keys = frame.key_values(self.key.entity)
        found = self.codes.of(self._paired(keys, [frame.evaluate(item) for item, _ in self.key.pairs]))
        if self.key.rule is not None and self.key.pairs:
            self._note_pairs(keys, found)
        if self.key.event == "label":
            changes = np.array([isinstance(event, LabelEvent) and event.changes for event in frame.events], np.bool_)
            found = np.where(changes, found, -1)
        codes[frame.rows] = found
        return codes

    def asks(self, frames: Mapping[str, Frame], size: int) -> NDArray[np.int64]:
        """Key codes of the events that ask; -1 where nobody asks or the key is missing."""
        codes = np.full(size, -1, np.int64)
        for event in self.group.asked_at & frames.keys():
            frame = frames[event]
            keys = self._paired(frame.key_values(self.key.entity), [frame.evaluate(this) for _, this in self.key.pairs])
            codes[frame.rows] = self.codes.of(keys)
        return codes

    def _paired(self, keys: list[Any], parts: list[Column]) -> list[Any]:
        if not parts:
            return keys
        return joined_key([keys, *(values_of(part) for part in parts)], len(keys))

    # ---- what the kernel is fed, and what it gives

    def feed(self, frames: Mapping[str, Frame], size: int) -> Feed:
        assert self.kernel is not None
        series = self.kernel.series
        values = np.zeros((len(series), size), np.int64)
        kept = np.zeros((len(series), size), np.uint8)
        frame = frames.get(self.key.event)
        if frame is not None:
            for at, key in enumerate(series):
                values[at, frame.rows], kept[at, frame.rows] = self._series(key, frame)
        return Feed(self.inserts(frames, size), self.asks(frames, size), values, kept)

    def _series(self, key: SeriesKey, frame: Frame) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        kept = np.ones(len(frame), np.bool_)
        if key.where is not None:
            kept = frame.evaluate(key.where).values.astype(np.bool_)
        if key.argument is None:
            return np.zeros(len(frame), np.int64), kept
        column = frame.evaluate(key.argument)
        coded, fits = encode(
            column, key.argument.type, self.texts, largest=UNITS_MAX if key.is_limited else INTEGER_MAX
        )
        return coded, kept & fits

    def run(self, times: NDArray[np.int64], frames: Mapping[str, Frame], watermark_ms: int | None) -> None:
        """Compute the group's aggregates for a batch, into the frames."""
        if self.look is not None:
            answers = self._look(times, frames)
            for at, aggregate in enumerate(self.group.aggregates):
                self._deliver(aggregate, [row[at] for row in answers], frames)
            return
        assert self.history is not None
        fed = self.feed(frames, len(times))
        out, valid = self.history.run(times, fed.inserts, fed.asks, fed.values, fed.kept, watermark_ms)
        for at, aggregate in enumerate(self.group.aggregates):
            for event in self.group.asked_at & frames.keys():
                frame = frames[event]
                column = decode(out[at, frame.rows], valid[at, frame.rows].astype(np.bool_), aggregate.type, self.texts)
                frame.aggregates[aggregate] = self._masked(aggregate, column, frame)

    def _masked(self, aggregate: Aggregate, column: Column, frame: Frame) -> Column:
        """Missing where a field of `this` that the condition reads is missing."""
        for node in self.this_fields[aggregate]:
            column = masked(column, frame.field(node.name, node.type).valid, aggregate.type)
        return column

    def _deliver(self, aggregate: Aggregate, values: list[Value], frames: Mapping[str, Frame]) -> None:
        for event in self.group.asked_at & frames.keys():
            frame = frames[event]
            column = column_of([values[row] for row in frame.rows.tolist()], aggregate.type)
            frame.aggregates[aggregate] = self._masked(aggregate, column, frame)

    # ---- conditions that look at each event

    def _look(self, times: NDArray[np.int64], frames: Mapping[str, Frame]) -> list[list[Value]]:
        inserts, asks, items, this = self.look_rows(times, frames)
        return [
            self.look_row(at, int(time_ms), inserts, asks, items, this) for at, time_ms in enumerate(times.tolist())
        ]

    def look_rows(
        self, times: NDArray[np.int64], frames: Mapping[str, Frame]
    ) -> tuple[list[int], list[int], dict[int, dict[str, Value]], dict[int, dict[str, Value]]]:
        size = len(times)
        inserts = self.inserts(frames, size).tolist()
        asks = self.asks(frames, size).tolist()
        items: dict[int, dict[str, Value]] = {}
        this: dict[int, dict[str, Value]] = {}
        frame = frames.get(self.key.event)
        if frame is not None:
            items = _rows(frame, [node for one in self.group.aggregates for node in _item_leaves(one)])
        for event in self.group.asked_at & frames.keys():
            leaves = [node for one in self.group.aggregates for node in walk(one) if isinstance(node, ThisField)]
            this |= _rows(frames[event], leaves)
        return inserts, asks, items, this

    def look_row(
        self,
        at: int,
        time_ms: int,
        inserts: list[int],
        asks: list[int],
        items: dict[int, dict[str, Value]],
        this: dict[int, dict[str, Value]],
    ) -> list[Value]:
        assert self.look is not None
        insert = (inserts[at], items.get(at, {})) if inserts[at] >= 0 else None
        asked = (asks[at], this.get(at, {})) if asks[at] >= 0 else None
        return self.look.row(time_ms, insert, asked)


def this_fields(aggregate: Aggregate) -> list[ThisField]:
    """The fields of `this` that an aggregate's condition reads: where one is missing, so is the aggregate."""
    found = walk(aggregate.condition) if aggregate.condition is not None else ()
    return list(dict.fromkeys(node for node in found if isinstance(node, ThisField)))


def _item_leaves(aggregate: Aggregate) -> list[Node]:
    return [node for node in walk(aggregate) if isinstance(node, ItemField | ItemFeature)]


def _rows(frame: Frame, leaves: Sequence[Node]) -> dict[int, dict[str, Value]]:
    """For each row of the batch the values of some leaves, by name; `f of E` under `f of`."""
    columns: dict[str, list[Value]] = {}
    for node in leaves:
        name = f"{node.name} of" if isinstance(node, ItemFeature) else node.name  # type: ignore[union-attr]
        if name not in columns:
            columns[name] = values_of(frame.evaluate(node))
    names = list(columns)
    rows = zip(*columns.values(), strict=True) if columns else (() for _ in frame.events)
    return {row: dict(zip(names, values, strict=True)) for row, values in zip(frame.rows.tolist(), rows, strict=True)}


def encode(column: Column, type_: Type, texts: Codes, *, largest: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """A column as 64-bit numbers for the kernel, and which values are there and not beyond `largest`."""
    if type_.is_text:
        return texts.of(values_of(column)), column.valid
    if type_.kind == "real":
        return column.values.view(np.int64), column.valid
    if column.values.dtype == object:
        listed = column.values.tolist()
        lowest = INTEGER_MIN if largest == INTEGER_MAX else -largest
        fits = column.valid & np.array([lowest <= value <= largest for value in listed], np.bool_)
        return np.array([value if fit else 0 for value, fit in zip(listed, fits.tolist(), strict=True)], np.int64), fits
    values = column.values.astype(np.int64)
    if largest < INTEGER_MAX and type_.kind not in {"boolean", "time", "duration"}:
        return values, column.valid & (values >= -largest) & (values <= largest)
    return values, column.valid


def decode(words: NDArray[np.int64], valid: NDArray[np.bool_], type_: Type, texts: Codes) -> Column:
    """The kernel's answers as a column of their type."""
    if type_.kind == "real":
        return Column(np.where(valid, np.ascontiguousarray(words).view(np.float64), 0.0), valid)
    if type_.kind == "boolean":
        return Column(words.astype(np.bool_) & valid, valid)
    if type_.is_text:
        decoded = [
            texts.values[word] if there else None for word, there in zip(words.tolist(), valid.tolist(), strict=True)
        ]
        return column_of(decoded, type_)
    return Column(np.where(valid, words, 0), valid)
