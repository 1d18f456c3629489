"""A rule that looks `since flag`, taken by a kernel: all rows of a batch in one call."""

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
    """The program of a rule's condition and its operands; None where a kernel cannot take the rule."""
    if any(group.kernel is None for group in groups):
        return None
    try:
        return compile_program(_missing_without_this(wanted.node), _is_operand)
    except NoProgramError:
        return None


def _is_operand(node: Node) -> bool:
    if isinstance(node, Aggregate):
        return True
    is_running = any(aggregate.since_flag for aggregate in aggregates(node))
    return not is_running and not (isinstance(node, Literal) and not node.type.is_text)


def _missing_without_this(node: Node) -> Node:
    held = dict[Node, Node]()
    for aggregate in aggregates(node):
        there: list[Node] = [Not(BOOLEAN, IsMissing(BOOLEAN, field)) for field in this_fields(aggregate)]
        if aggregate.since_flag and there:
            is_there = reduce(lambda a, b: Logic(BOOLEAN, "and", a, b), there)
            held[aggregate] = When(aggregate.type, aggregate, is_there)
    return rewritten(node, held)


class _Batch(FrozenStruct):
    """Arguments of the kernel for a batch, besides the rule."""

    times: Ints
    inserts: Ints
    asks: Ints
    values: Ints
    kept: Bytes
    watermark_ms: int
    out: Ints
    valid: Bytes


class RuleByKernel:
    """The rule with its histories, its program, and where the program's operands come from."""

    def __init__(
        self, wanted: Computed, groups: Sequence[GroupState], program: Program, operands: tuple[Node, ...]
    ) -> None:
        self.wanted, self.groups = wanted, groups
        self._program = np.array(program.words(0), np.int64)
        shape = program.operations_at(0), len(program.operations), program.register_at(0, program.result)
        self._shape = np.array(shape, np.int64)
        answered: list[Node] = [aggregate for group in groups for aggregate in group.group.aggregates]
        self._columns = [node for node in operands if node not in answered]
        sources = [answered.index(node) if node in answered else ~self._columns.index(node) for node in operands]
        self._sources = np.array(sources, np.int64)
        self._groups = np.zeros((len(groups), layout.GROUP_WORDS), np.int64)
        row = query = 0
        for at, group in enumerate(groups):
            assert group.kernel is not None
            rows, queries = len(group.kernel.series) + len(group.kernel.operands), len(group.group.aggregates)
            self._groups[at, [layout.FIRST_ROW, layout.ROWS, layout.FIRST_OUT, layout.OUTS]] = row, rows, query, queries
            row, query = row + rows, query + queries
        self._heaps: list[Ints | None] = [None] * len(groups)
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
        """Answer each row; see `SinceFlag` for keys and answers. Gives what puts the histories' answers into frames."""
        batch = self._batch(times, [fed for fed in feeds if fed is not None], watermark_ms)
        operands, there = self._operands(frames, len(times), is_asked=bool((answers == layout.ASKED).any()))
        stopped = np.zeros(2, np.int64)
        now: Values = {}
        ask: Callable[[int], int] | None = None
        row = 0
        while True:
            self._take_addresses()
            arguments = (batch.times, batch.inserts, batch.asks, batch.values, batch.kept, batch.watermark_ms)
            rule = (self._program, self._shape, self._sources, operands, there, keys, answers)
            row = self._run(self._groups, stopped, row, *arguments, batch.out, batch.valid, *rule)
            if row == len(times):
                for asks, (group, _, valid) in zip(batch.asks, self._answered(batch), strict=True):
                    group.remarks.note_sums(valid, asks, frames)
                return lambda frames: self._tell(batch, frames)
            if stopped[1] == layout.STOPPED_BY_HEAP:
                history = self.groups[int(stopped[0])].history
                assert history is not None
                self._heaps[int(stopped[0])] = None  # nothing may look at what is moved
                history.grow()
                continue
            if ask is None:
                ask = condition(self.wanted, frames, now)
            for group, out, valid in self._answered(batch):
                now |= values_at(group, out, valid, row)
            answers[row] = ask(row)

    def _batch(self, times: Ints, feeds: Sequence[Feed], watermark_ms: int | None) -> _Batch:
        first = feeds[0]
        queries, size = sum(len(group.group.aggregates) for group in self.groups), len(times)
        out, valid = np.empty((queries, size), np.int64), np.empty((queries, size), np.uint8)
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
        there = np.zeros((len(self._columns), size), np.uint8)
        for event in self.wanted.events & frames.keys() if is_asked else ():
            frame = frames[event]
            for at, node in enumerate(self._columns):
                operands[at, frame.rows], there[at, frame.rows] = _operand(node, frame, self.groups[0].texts)
        return operands, there

    def _tell(self, batch: _Batch, frames: Frames) -> None:
        for group, out, valid in self._answered(batch):
            group.deliver(out, valid, frames)

    def _answered(self, batch: _Batch) -> Iterator[tuple[GroupState, Ints, Bytes]]:
        for group, first in zip(self.groups, self._groups[:, layout.FIRST_OUT].tolist(), strict=True):
            yield group, batch.out[first:], batch.valid[first:]

    def _take_addresses(self) -> None:
        """Take down where heaps and links are that were moved; a heap moves when it grows or is restored."""
        for at, group in enumerate(self.groups):
            assert group.history is not None
            heap = group.history.heap
            if self._heaps[at] is not heap or self._groups[at, layout.HEAP_SIZE] != len(heap):
                self._heaps[at] = heap
                self._groups[at, [layout.HEAP, layout.HEAP_SIZE]] = heap.ctypes.data, len(heap)
            if group.keys.links is not None:
                last, before = group.keys.links.last, group.keys.links.before
                known = last.ctypes.data, len(last), before.ctypes.data, len(before)
                self._groups[at, [layout.LINKS, layout.LINKS_SIZE, layout.NEXTS, layout.NEXTS_SIZE]] = known


def _operand(node: Node, frame: Frame, texts: Codes) -> tuple[Ints, Bytes]:
    """Words and flags of an operand: missing, there, or outside 64 bits."""
    if node.type.is_text:
        codes = frame.value_codes(node, texts)
        return codes, (codes >= 0).astype(np.uint8)
    column = frame.evaluate(node)
    words, fits = encode(column, node.type)
    return words, np.where(column.valid & ~fits, OUTSIDE, fits).astype(np.uint8)
