"""Rules that look `since flag`: row by row, since each hit changes what the next row sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shroff.features.computed import Computed
from shroff.features.frames import Frame
from shroff.features.running import Running, decode, this_fields
from shroff.language.columns import column_of, values_of
from shroff.language.expression import Aggregate, Node
from shroff.language.row import Evaluate, compile_row
from shroff.language.values import Value


class SinceFlag:
    """A rule that looks `since flag`: its histories, emptied for a key at each hit, row by row."""

    def __init__(self, wanted: Computed, groups: list[Running]) -> None:
        self.wanted, self.groups = wanted, groups

    def run(
        self,
        times: NDArray[np.int64],
        frames: Mapping[str, Frame],
        watermark_ms: int | None,
        hits: Sequence[frozenset[str] | None] | None,
    ) -> None:
        wanted = self.wanted
        now: dict[Aggregate, Value] = {}
        steps = [self._step(group, times, frames, watermark_ms, now) for group in self.groups]
        asked = self._asked(frames, now)
        past_keys = self._past_keys(frames, hits)
        results: dict[str, list[Value]] = {event: [] for event in asked}
        for at in range(len(times)):
            for step in steps:
                step(at)
            hit = past_keys.get(at)
            for event, (rows, keys, evaluate) in asked.items():
                mine = rows.get(at)
                if mine is None:
                    continue
                is_past = hits is not None and hits[at] is not None
                expired = wanted.expires_ms is not None and int(times[at]) >= wanted.expires_ms
                value = None if expired or is_past else evaluate(mine)
                results[event].append(value)
                hit = keys[mine] if value is True else hit
            if hit is not None:
                for group in self.groups:
                    group.clear(hit)
        for event, values in results.items():
            frames[event].computed[wanted.name] = column_of(values, wanted.node.type)

    def _past_keys(self, frames: Mapping[str, Frame], hits: Sequence[frozenset[str] | None] | None) -> dict[int, Any]:
        """The keys that the rule's id hit in the past, by row; of any event type, since a version may change that."""
        if hits is None:
            return {}
        found: dict[int, Any] = {}
        for frame in frames.values():
            for mine, row in enumerate(frame.rows.tolist()):
                past = hits[row]
                if past is not None and self.wanted.rule in past:
                    found[row] = frame.key_values(self.wanted.entity)[mine]
        return found

    def _asked(
        self, frames: Mapping[str, Frame], now: dict[Aggregate, Value]
    ) -> dict[str, tuple[dict[int, int], list[Any], Callable[[int], Any]]]:
        """For each event type: which row of the batch is which of the frame's, the keys, and the condition."""
        found: dict[str, tuple[dict[int, int], list[Any], Callable[[int], Any]]] = {}
        for event in self.wanted.events & frames.keys():
            frame = frames[event]
            rows = {row: mine for mine, row in enumerate(frame.rows.tolist())}
            leaf, time = _row_leaf(frame, now), _time_of(frame)
            evaluate = compile_row(self.wanted.node, leaf, frame.reference, time=time)
            found[event] = (rows, frame.key_values(self.wanted.entity), evaluate)
        return found

    def _step(
        self,
        group: Running,
        times: NDArray[np.int64],
        frames: Mapping[str, Frame],
        watermark_ms: int | None,
        now: dict[Aggregate, Value],
    ) -> Callable[[int], None]:
        """The function that takes one row through a history and leaves the aggregates' values in `now`."""
        if group.look is not None:
            prepared = group.look_rows(times, frames)

            def look(at: int) -> None:
                now.update(zip(group.group.aggregates, group.look_row(at, int(times[at]), *prepared), strict=True))

            return look
        fed = group.feed(frames, len(times))
        history = group.history
        assert history is not None

        def step(at: int) -> None:
            if fed.inserts[at] < 0 and fed.asks[at] < 0:
                now.update(dict.fromkeys(group.group.aggregates))
                return
            one = slice(at, at + 1)
            out, valid = history.run(
                times[one],
                fed.inserts[one],
                fed.asks[one],
                np.ascontiguousarray(fed.values[:, one]),
                np.ascontiguousarray(fed.kept[:, one]),
                watermark_ms,
            )
            for query, aggregate in enumerate(group.group.aggregates):
                column = decode(out[query], valid[query].astype(np.bool_), aggregate.type, group.texts)
                now[aggregate] = values_of(column)[0]

        return step


def _time_of(frame: Frame) -> Evaluate:
    times = frame.times.tolist()
    return lambda at: times[at]


def _row_leaf(frame: Frame, now: dict[Aggregate, Value]) -> Callable[[Node], Evaluate]:
    """Leaves of a condition that is evaluated row by row: running aggregates from `now`, all else from columns."""

    def leaf(node: Node) -> Evaluate:
        if isinstance(node, Aggregate) and node.since_flag:
            needed = [frame.field(one.name, one.type).valid for one in this_fields(node)]
            return lambda at: now.get(node) if all(valid[at] for valid in needed) else None
        values = values_of(frame.evaluate(node))
        return lambda at: values[at]

    return leaf
