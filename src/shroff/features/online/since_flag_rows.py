"""A rule with `since flag`, evaluated row by row in Python.

`since_flag` uses it for conditions without a program; see `since_flag_kernel`.
"""

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
    """A rule with its groups of aggregates, some of which may have no kernel."""

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
        """Evaluate the rule at each row, and write the results into `answers`; see `SinceFlag` for keys and answers.

        Return a function that writes the aggregates into frames.

        Args:
            feeds: The input of each group; None for a group without a kernel.
        """
        current: Values = {}
        values_by_row: list[Values] = []
        looks = [
            group.look_rows(times, frames) if fed is None else None
            for group, fed in zip(self.groups, feeds, strict=True)
        ]
        steps = [
            _step(group, fed, looked, times, watermark_ms, current)
            for group, fed, looked in zip(self.groups, feeds, looks, strict=True)
        ]
        # Frames with only recorded rows may lack columns that the condition reads.
        evaluate = condition(self.wanted, frames if (answers == ASKED).any() else {}, current)
        for row, key in enumerate(keys.tolist()):
            for step in steps:
                step(row)
            values_by_row.append(dict(current))
            if answers[row] == ASKED:
                answers[row] = evaluate(row)
            if answers[row] == HIT and key >= 0:
                for group in self.groups:
                    group.clear(key)
        for group, fed, looked in zip(self.groups, feeds, looks, strict=True):
            asks: list[int] = []
            if looked is not None:
                asks = looked[1]
            elif fed is not None:
                asks = fed.asks.tolist()
            group.remarks.note_missing(_answers(group, values_by_row), asks, frames)
        return lambda frames: self._deliver(values_by_row, frames)

    def _deliver(self, values_by_row: Sequence[Values], frames: Frames) -> None:
        for group in self.groups:
            group.deliver_answers(_answers(group, values_by_row), frames)


def condition(wanted: Computed, frames: Frames, current: Values) -> Callable[[int], int]:
    """Return a function that evaluates the condition of one row, with the row's aggregates in `current`."""
    by_row: dict[int, tuple[Evaluate, int]] = {}
    for event in wanted.events & frames.keys():
        frame = frames[event]
        time = frame.times.tolist().__getitem__
        evaluate = compile_row(wanted.node, _row_leaf(frame, current), frame.reference, time=time)
        by_row |= {row: (evaluate, index) for index, row in enumerate(frame.rows.tolist())}

    def evaluate_row(row: int) -> int:
        evaluate, index = by_row[row]
        value = evaluate(index)
        if value is None:
            return UNKNOWN
        return HIT if value else NO_HIT

    return evaluate_row


def _step(
    group: GroupState, fed: Feed | None, looked: LookRows | None, times: Ints, watermark_ms: int | None, current: Values
) -> Callable[[int], None]:
    """Return a function that processes one row in a history and stores the aggregates' values in `current`."""
    if looked is not None:

        def look(row: int) -> None:
            current.update(zip(group.group.aggregates, group.look_row(row, int(times[row]), looked), strict=True))

        return look
    history = group.history
    assert history is not None
    assert fed is not None
    room = history.room(1)

    def step(row: int) -> None:
        if fed.inserts[row] < 0 and fed.asks[row] < 0:
            current.update(dict.fromkeys(group.group.aggregates))
            return
        one_row = slice(row, row + 1)
        out, valid = history.run(
            times[one_row],
            fed.inserts[one_row],
            fed.asks[one_row],
            np.ascontiguousarray(fed.values[:, one_row]),
            np.ascontiguousarray(fed.kept[:, one_row]),
            watermark_ms,
            room,
        )
        current.update(values_at(group, out, valid, 0))

    return step


def _answers(group: GroupState, values_by_row: Sequence[Values]) -> list[list[Value]]:
    return [[values[aggregate] for aggregate in group.group.aggregates] for values in values_by_row]


def values_at(group: GroupState, out: Ints, valid: Bytes, row: int) -> Values:
    values: Values = {}
    for query, aggregate in enumerate(group.group.aggregates):
        is_present = valid[query, row : row + 1].astype(np.bool_)
        column = decode(out[query, row : row + 1], is_present, aggregate.type, group.texts)
        values[aggregate] = values_of(column)[0]
    return values


def _row_leaf(frame: Frame, current: Values) -> Callable[[Node], Evaluate]:
    def leaf(node: Node) -> Evaluate:
        if isinstance(node, Aggregate) and node.since_flag:
            needed = [frame.field(this_field.name, this_field.type).valid for this_field in this_fields(node)]
            return lambda index: current.get(node) if all(valid[index] for valid in needed) else None
        values = values_of(frame.evaluate(node))
        return lambda index: values[index]

    return leaf
