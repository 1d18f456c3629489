"""A rule with `since flag`, evaluated by a kernel: all rows of a batch in one call.

`since_flag` uses it if `rule_program` can compile the condition, and `since_flag_rows` otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce

import numpy as np

from shroff.arrays import Bytes, Ints
from shroff.features.computed import Computed
from shroff.features.frames import Codes, Frame, Frames
from shroff.features.kernels import operations as layout
from shroff.features.kernels.layout import NEVER_MS
from shroff.features.kernels.operations import OUTSIDE
from shroff.features.online.group_remarks import this_fields
from shroff.features.online.group_state import Feed, GroupState
from shroff.features.online.since_flag_rows import Values, condition, values_at
from shroff.features.online.value_codec import encode
from shroff.features.programs.compiler import NoProgramError, Program, compile_program
from shroff.language.expression import Aggregate, IsMissing, Literal, Logic, Node, Not, When, aggregates, rewritten
from shroff.language.types import BOOLEAN
from shroff.runtime.values import FrozenStruct


def rule_program(wanted: Computed, groups: Sequence[GroupState]) -> tuple[Program, tuple[Node, ...]] | None:
    """Return the program of a rule's condition, and its operands; None if a kernel cannot evaluate the rule."""
    if any(group.kernel is None for group in groups):
        return None
    try:
        return compile_program(_missing_without_this(wanted.node), _is_operand)
    except NoProgramError:
        return None


def _is_operand(node: Node) -> bool:
    if isinstance(node, Aggregate):
        return True
    depends_on_hits = any(aggregate.since_flag for aggregate in aggregates(node))
    return not depends_on_hits and not (isinstance(node, Literal) and not node.type.is_text)


def _missing_without_this(node: Node) -> Node:
    """Make each aggregate with `since flag` missing if a field of `this` that it reads is missing."""
    guarded = dict[Node, Node]()
    for aggregate in aggregates(node):
        present: list[Node] = [Not(BOOLEAN, IsMissing(BOOLEAN, field)) for field in this_fields(aggregate)]
        if aggregate.since_flag and present:
            all_present = reduce(lambda left, right: Logic(BOOLEAN, "and", left, right), present)
            guarded[aggregate] = When(aggregate.type, aggregate, all_present)
    return rewritten(node, guarded)


class _Batch(FrozenStruct):
    """Arguments of the kernel for a batch, except those of the rule."""

    times: Ints
    inserts: Ints
    asks: Ints
    values: Ints
    kept: Bytes
    watermark_ms: int
    out: Ints
    valid: Bytes


class RuleByKernel:
    """A rule with its histories, its program, and the sources of the program's operands.

    `_sources` has for each operand the index of an aggregate among the groups' aggregates, or ~n for the n-th of
    `_columns`. `_groups` has a row for each group: its rows in the input and output, and the addresses of its arrays.
    """

    def __init__(
        self, wanted: Computed, groups: Sequence[GroupState], program: Program, operands: tuple[Node, ...]
    ) -> None:
        self.wanted = wanted
        self.groups = groups
        self._program = np.array(program.words(0), np.int64)
        shape = program.operations_at(0), len(program.operations), program.register_at(0, program.result)
        self._shape = np.array(shape, np.int64)
        answered: list[Node] = [aggregate for group in groups for aggregate in group.group.aggregates]
        self._columns = [node for node in operands if node not in answered]
        sources = [answered.index(node) if node in answered else ~self._columns.index(node) for node in operands]
        self._sources = np.array(sources, np.int64)
        self._groups = np.zeros((len(groups), layout.GROUP_WORDS), np.int64)
        row = query = 0
        for index, group in enumerate(groups):
            assert group.kernel is not None
            rows = len(group.kernel.series) + len(group.kernel.operands)
            queries = len(group.group.aggregates)
            self._groups[index, [layout.FIRST_ROW, layout.ROWS]] = row, rows
            self._groups[index, [layout.FIRST_OUT, layout.OUTS]] = query, queries
            row += rows
            query += queries
        self._heaps: list[Ints | None] = [None] * len(groups)  # those with addresses in `_groups`
        # Compiling or loading the kernel takes up to seconds, which a mere import must not.
        from shroff.features.kernels import rules as kernel_rule

        self._run: Callable[..., int] = kernel_rule.run_rule

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

        The kernel stops at a row if a heap must grow, or if Python must evaluate the condition; then it continues.
        Return a function that writes the aggregates into frames.
        """
        batch = self._batch(times, [fed for fed in feeds if fed is not None], watermark_ms)
        operands, presence = self._operands(frames, len(times), is_asked=bool((answers == layout.ASKED).any()))
        stopped = np.zeros(2, np.int64)  # the kernel writes a group's number and the reason
        current: Values = {}
        evaluate: Callable[[int], int] | None = None
        row = 0
        while True:
            self._update_addresses()
            arguments = (batch.times, batch.inserts, batch.asks, batch.values, batch.kept, batch.watermark_ms)
            rule = (self._program, self._shape, self._sources, operands, presence, keys, answers)
            row = self._run(self._groups, stopped, row, *arguments, batch.out, batch.valid, *rule)
            if row == len(times):
                for asks, (group, _, valid) in zip(batch.asks, self._answered(batch), strict=True):
                    group.remarks.note_sums(valid, asks, frames)
                return lambda frames: self._deliver(batch, frames)
            if stopped[1] == layout.STOPPED_BY_HEAP:
                history = self.groups[int(stopped[0])].history
                assert history is not None
                self._heaps[int(stopped[0])] = None  # no array may refer to memory that `grow` moves
                history.grow()
                continue
            if evaluate is None:
                evaluate = condition(self.wanted, frames, current)
            for group, out, valid in self._answered(batch):
                current |= values_at(group, out, valid, row)
            answers[row] = evaluate(row)

    def _batch(self, times: Ints, feeds: Sequence[Feed], watermark_ms: int | None) -> _Batch:
        first = feeds[0]
        queries = sum(len(group.group.aggregates) for group in self.groups)
        size = len(times)
        out = np.empty((queries, size), np.int64)
        valid = np.empty((queries, size), np.uint8)
        watermark_ms = NEVER_MS if watermark_ms is None else watermark_ms
        if len(feeds) == 1:
            keys = first.inserts.reshape(1, size), first.asks.reshape(1, size)
            return _Batch(times, *keys, first.values, first.kept, watermark_ms, out, valid)
        return _Batch(
            times,
            np.array([fed.inserts for fed in feeds]),
            np.array([fed.asks for fed in feeds]),
            np.concatenate([fed.values for fed in feeds]),
            np.concatenate([fed.kept for fed in feeds]),
            watermark_ms,
            out,
            valid,
        )

    def _operands(self, frames: Frames, size: int, *, is_asked: bool) -> tuple[Ints, Bytes]:
        operands = np.zeros((len(self._columns), size), np.int64)
        presence = np.zeros((len(self._columns), size), np.uint8)
        for event in self.wanted.events & frames.keys() if is_asked else ():
            frame = frames[event]
            for index, node in enumerate(self._columns):
                operands[index, frame.rows], presence[index, frame.rows] = _operand(node, frame, self.groups[0].texts)
        return operands, presence

    def _deliver(self, batch: _Batch, frames: Frames) -> None:
        for group, out, valid in self._answered(batch):
            group.deliver(out, valid, frames)

    def _answered(self, batch: _Batch) -> Iterator[tuple[GroupState, Ints, Bytes]]:
        for group, first in zip(self.groups, self._groups[:, layout.FIRST_OUT].tolist(), strict=True):
            yield group, batch.out[first:], batch.valid[first:]

    def _update_addresses(self) -> None:
        """Update the addresses of heaps and links that have moved. A heap moves if it grows or is restored."""
        for index, group in enumerate(self.groups):
            assert group.history is not None
            heap = group.history.heap
            if self._heaps[index] is not heap or self._groups[index, layout.HEAP_SIZE] != len(heap):
                self._heaps[index] = heap
                self._groups[index, [layout.HEAP, layout.HEAP_SIZE]] = heap.ctypes.data, len(heap)
            if group.keys.links is not None:
                last, before = group.keys.links.last, group.keys.links.before
                addresses = last.ctypes.data, len(last), before.ctypes.data, len(before)
                self._groups[index, [layout.LINKS, layout.LINKS_SIZE, layout.NEXTS, layout.NEXTS_SIZE]] = addresses


def _operand(node: Node, frame: Frame, texts: Codes) -> tuple[Ints, Bytes]:
    """Return the words of an operand, and for each whether it is missing, present or outside 64 bits."""
    if node.type.is_text:
        codes = frame.value_codes(node, texts)
        return codes, (codes >= 0).astype(np.uint8)
    column = frame.evaluate(node)
    words, fits = encode(column, node.type)
    return words, np.where(column.valid & ~fits, OUTSIDE, fits).astype(np.uint8)
