"""Undoable kernel: one row answered and inserted as `kernels.windows` does it, and then taken back.

A score must be what a decision would be, and leave nothing behind. So the same kernels run with a journal: each word
of the heap that they overwrite is noted first, and `undo` writes the noted words back, newest first. The journaled
kernels are made from the source of the others, since a check before each store would slow down every event.

Fixed words and the plan with its registers are copied as a whole. New blocks come from behind `TAIL` and no block is
released, so only words that a key had before the row are noted one by one.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from types import FunctionType
from typing import Any, cast

import numpy as np

from shroff.arrays import Bytes, Ints
from shroff.features.kernels import windows
from shroff.features.kernels.layout import BLOCKS, FREE, FREE_CLASSES, TAIL
from shroff.features.kernels.native import EntryPoint
from shroff.features.kernels.numbers import Later, Word, compiled

NEXT = 0  # word of a journal: where its next entry goes
FIRST = 1  # the first word of the heap that is noted
UNUSED = 2  # behind the last one
ENTRIES = 3  # where the entries begin; each is the number of a word and what it was
_HEAP = "heap"
_JOURNAL = "journal"


def _put_and_note(heap: Ints, journal: Ints, at: Word, word: Word) -> None:
    if journal[FIRST] <= at < journal[UNUSED]:
        entry = journal[NEXT]
        journal[entry] = at
        journal[entry + 1] = heap[at]
        journal[NEXT] = entry + 2
    heap[at] = word


def _release_nothing(heap: Ints, journal: Ints, at: Word, size_class: Word) -> None:
    """Release no block: it is in use again once the row is undone."""


# Machine code of these depends on this file alone, which that of the entry points below stands for as well.
put = compiled(_put_and_note)
give = compiled(_release_nothing)


class _Journaled(ast.NodeTransformer):
    """Turns each store into the heap into `put`, and passes the journal to each function that takes the heap."""

    def __init__(self, takes_heap: Callable[[str], bool]) -> None:
        self._takes_heap = takes_heap
        self._temporaries = 0

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list = []
        node.args.args.insert(1, ast.arg(_JOURNAL))
        for argument in node.args.args:
            argument.annotation = None
        node.returns = None
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and self._takes_heap(node.func.id):
            node.args.insert(1, _name(_JOURNAL))
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        if not _is_heap(node.target):
            return node
        target = cast("ast.Subscript", node.target)
        before = ast.Subscript(target.value, target.slice, ast.Load())
        return _put(target, ast.BinOp(before, node.op, node.value))

    def visit_Assign(self, node: ast.Assign) -> Any:
        self.generic_visit(node)
        (target,) = node.targets
        if _is_heap(target):
            return _put(target, node.value)
        if not isinstance(target, ast.Tuple) or not any(map(_is_heap, target.elts)):
            return node
        names = [f"_word_{self._temporaries + number}" for number in range(len(target.elts))]
        self._temporaries += len(names)
        stored = [ast.Name(name, ast.Store()) for name in names]
        parts: list[ast.stmt] = [ast.Assign([ast.Tuple(list(stored), ast.Store())], node.value)]
        for element, name in zip(target.elts, names, strict=True):
            parts.append(_put(element, _name(name)) if _is_heap(element) else ast.Assign([element], _name(name)))
        return parts


def _name(name: str) -> ast.expr:
    return ast.Name(name, ast.Load())


def _is_heap(node: ast.AST) -> bool:
    return isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == _HEAP


def _put(target: ast.AST, word: ast.expr) -> ast.stmt:
    at = cast("ast.Subscript", target).slice
    return ast.Expr(ast.Call(_name("put"), [_name(_HEAP), _name(_JOURNAL), at, word], []))


def _source_of(value: object) -> FunctionType | None:
    function = value._function if isinstance(value, Later) else getattr(value, "py_func", None)  # noqa: SLF001 - of a kernel
    return function if isinstance(function, FunctionType) else None


def _takes_heap(value: object) -> bool:
    function = _source_of(value)
    return function is not None and function.__code__.co_varnames[:1] == (_HEAP,)


_MADE: dict[str, Any] = {"shroff.features.kernels.cells.give": give}  # by the full name of the function


def journaled(value: object) -> Any:
    """Return a part of a kernel that notes what it overwrites; its arguments are the heap, the journal, and the rest.

    Cost: a second of compiling for the first row, unless its machine code is on disk.
    """
    function = _source_of(value)
    assert function is not None, "only parts of kernels have a source"
    full_name = f"{function.__module__}.{function.__name__}"
    if full_name not in _MADE:
        names = function.__globals__
        inner = {name: names[name] for name in function.__code__.co_names if _takes_heap(names.get(name))}
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        tree = ast.fix_missing_locations(_Journaled(inner.__contains__).visit(tree))
        own = {**names, **{name: journaled(part) for name, part in inner.items()}, "put": put}
        exec(compile(tree, function.__code__.co_filename, "exec"), own)  # noqa: S102 - the package's own source
        _MADE[full_name] = compiled(own[function.__name__])
    return _MADE[full_name]


row_step = journaled(windows.row_step)


def _entry_point(signature: str) -> Callable[[Callable[..., Any]], EntryPoint]:
    """Make a kernel that is compiled at its first call: not every service scores."""

    def decorate(function: Callable[..., Any]) -> EntryPoint:
        assert isinstance(function, FunctionType)
        return EntryPoint(signature, function)

    return decorate


@_entry_point(
    "int64(int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64[:, ::1], uint8[:, ::1], int64,"
    " int64[:, ::1], uint8[:, ::1])"
)
def run_row(
    heap: Ints,
    journal: Ints,
    times: Ints,
    insert_keys: Ints,
    query_keys: Ints,
    values: Ints,
    kept: Bytes,
    watermark_ms: Word,
    out: Ints,
    valid: Bytes,
) -> Word:
    """Answer and insert one row, undoably; 0: the heap must grow first, then this is to be called again."""
    done = row_step(heap, journal, 0, times[0], insert_keys[0], query_keys[0], values, kept, watermark_ms, out, valid)
    return np.int64(done)


@_entry_point("void(int64[::1], int64[::1])")
def begin(heap: Ints, journal: Ints) -> None:
    """Begin to note what is overwritten in a heap; from here on new blocks come from behind `TAIL`."""
    copied, first = heap[BLOCKS], journal[NEXT]
    for at in range(copied):
        journal[first + at] = heap[at]
    journal[NEXT], journal[FIRST], journal[UNUSED] = first + copied, copied, heap[TAIL]
    for size_class in range(FREE_CLASSES):
        heap[FREE + size_class] = 0


@_entry_point("void(int64[::1], int64[::1], int64)")
def undo(heap: Ints, journal: Ints, first: Word) -> None:
    """Write back what was noted since `begin` was called at this entry, newest first, and forget it."""
    copied, entry = heap[BLOCKS], journal[NEXT]
    while entry > first + copied:
        entry -= 2
        heap[journal[entry]] = journal[entry + 1]
    for at in range(copied):
        heap[at] = journal[first + at]
    journal[NEXT] = first


KERNELS = run_row, begin, undo
