"""A rule with `since flag`, evaluated row by row in Python: for conditions without a program."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from shroff.arrays import Bytes, Ints
from shroff.features.computed import Computed
from shroff.features.frames import Frame, Frames
from shroff.features.kernels.operations import ASKED, HIT, NO_HIT, UNKNOWN
from shroff.features.online.group_remarks import this_fields
from shroff.features.online.group_state import Feed, GroupState, LookRows
from shroff.features.online.value_codec import decode
from shroff.language.columns import values_of
from shroff.language.expression import Aggregate, Node
from shroff.language.row import Evaluate, compile_row
from shroff.language.values import Value
from shroff.runtime.values import FrozenStruct

Values = dict[Aggregate, Value]


class RuleByRows(FrozenStruct):
    """The rule with its histories, some of which may be in Python."""

    wanted: Computed
    groups: Sequence[GroupState]

    def run(
        self,
        times: Ints,
        frames: Frames,
        feeds: Sequence[Feed | None],
        watermark_ms: int | None,
        keys: Ints,
        answers: Bytes,
    ) -> Callable[[Frames], None]:
        """Answer each row; see `SinceFlag` for keys and answers. Gives what puts the histories' answers into frames."""
        now: Values = {}
        seen: list[Values] = []
        looks = [
            group.look_rows(times, frames) if fed is None else None
            for group, fed in zip(self.groups, feeds, strict=True)
        ]
        steps = [
            _step(group, fed, looked, times, watermark_ms, now)
            for group, fed, looked in zip(self.groups, feeds, looks, strict=True)
        ]
        # Of rows of the past alone nothing else may be there that a condition reads.
        ask = condition(self.wanted, frames if (answers == ASKED).any() else {}, now)
        for row, key in enumerate(keys.tolist()):
            for step in steps:
                step(row)
            seen.append(dict(now))
            if answers[row] == ASKED:
                answers[row] = ask(row)
            if answers[row] == HIT and key >= 0:
                for group in self.groups:
                    group.clear(key)
        for group, fed, looked in zip(self.groups, feeds, looks, strict=True):
            asks = looked[1] if looked is not None else [] if fed is None else fed.asks.tolist()
            group.remarks.note_missing(_answers(group, seen), asks, frames)
        return lambda frames: self._tell(seen, frames)

    def _tell(self, seen: Sequence[Values], frames: Frames) -> None:
        for group in self.groups:
            group.deliver_answers(_answers(group, seen), frames)


def condition(wanted: Computed, frames: Frames, now: Values) -> Callable[[int], int]:
    """Return a function that evaluates the condition of one row, with the current aggregates in `now`."""
    asked: dict[int, tuple[Evaluate, int]] = {}
    for event in wanted.events & frames.keys():
        frame = frames[event]
        time = frame.times.tolist().__getitem__
        evaluate = compile_row(wanted.node, _row_leaf(frame, now), frame.reference, time=time)
        asked |= {row: (evaluate, at) for at, row in enumerate(frame.rows.tolist())}

    def ask(row: int) -> int:
        evaluate, at = asked[row]
        value = evaluate(at)
        return UNKNOWN if value is None else HIT if value else NO_HIT

    return ask


def _step(
    group: GroupState, fed: Feed | None, looked: LookRows | None, times: Ints, watermark_ms: int | None, now: Values
) -> Callable[[int], None]:
    """Return a function that processes one row in a history and stores the aggregates' values in `now`."""
    if looked is not None:

        def look(row: int) -> None:
            now.update(zip(group.group.aggregates, group.look_row(row, int(times[row]), looked), strict=True))

        return look
    history = group.history
    assert history is not None
    assert fed is not None
    room = history.room(1)

    def step(row: int) -> None:
        if fed.inserts[row] < 0 and fed.asks[row] < 0:
            now.update(dict.fromkeys(group.group.aggregates))
            return
        here = slice(row, row + 1)
        out, valid = history.run(
            times[here],
            fed.inserts[here],
            fed.asks[here],
            np.ascontiguousarray(fed.values[:, here]),
            np.ascontiguousarray(fed.kept[:, here]),
            watermark_ms,
            room,
        )
        now.update(values_at(group, out, valid, 0))

    return step


def _answers(group: GroupState, seen: Sequence[Values]) -> list[list[Value]]:
    return [[values[aggregate] for aggregate in group.group.aggregates] for values in seen]


def values_at(group: GroupState, out: Ints, valid: Bytes, row: int) -> Values:
    """Convert the answers of a kernel at a row to values."""
    found: Values = {}
    for query, aggregate in enumerate(group.group.aggregates):
        there = valid[query, row : row + 1].astype(np.bool_)
        found[aggregate] = values_of(decode(out[query, row : row + 1], there, aggregate.type, group.texts))[0]
    return found


def _row_leaf(frame: Frame, now: Values) -> Callable[[Node], Evaluate]:
    """Return readers for a condition evaluated row by row: current aggregates from `now`, all else from columns."""

    def leaf(node: Node) -> Evaluate:
        if isinstance(node, Aggregate) and node.since_flag:
            needed = [frame.field(this_field.name, this_field.type).valid for this_field in this_fields(node)]
            return lambda at: now.get(node) if all(valid[at] for valid in needed) else None
        values = values_of(frame.evaluate(node))
        return lambda at: values[at]

    return leaf
