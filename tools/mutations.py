"""The small faults that can be planted in a module: `mutants`.

These change nothing, by proof, and are never planted:
- a mutant whose module compiles to the same bytecode;
- annotations, and what stands below `if TYPE_CHECKING`;
- a default of a function without a body (a protocol, an overload), which nobody calls;
- a moved boundary between two values of which one is chosen (`a if a < b else b`): where they are equal, both are one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from types import CodeType
from typing import Final, NamedTuple

TURNED: Final = {
    ast.Eq: "!=", ast.NotEq: "==", ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
    ast.Lt: ">=", ast.GtE: "<", ast.Gt: "<=", ast.LtE: ">",
}  # fmt: skip
MOVED: Final = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">"}
OPERATORS: Final = re.compile(r"==|!=|<=|>=|<|>|\bis\s+not\b|\bnot\s+in\b|\bis\b|\bin\b")


class Mutant(NamedTuple):
    """One small fault."""

    path: str
    line: int
    kind: str
    before: str  # the text from `start` on that is replaced
    after: str
    start: int  # characters in the file

    @property
    def name(self) -> str:
        return f"{self.path.removeprefix('src/')}:{self.line} {self.kind}: `{self.before}` to `{self.after}`"

    def planted(self, text: str) -> str:
        """Return the text of the module with the fault."""
        return text[: self.start] + self.after + text[self.start + len(self.before) :]


class Text:
    """A module's text, by the lines and bytes that syntax trees count in."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = ast.parse(text)
        self._lines = text.splitlines(keepends=True)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))

    @cached_property
    def choices(self) -> set[ast.expr]:
        """Comparisons of the two values of which they choose one."""
        return {
            node.test
            for node in ast.walk(self.tree)
            if isinstance(node, ast.IfExp)
            and isinstance(node.test, ast.Compare)
            and {ast.dump(node.body), ast.dump(node.orelse)}
            == {ast.dump(node.test.left), *map(ast.dump, node.test.comparators)}
        }

    def between(self, node: ast.expr, within: ast.expr) -> str:
        return self.text[self.start(node) : self.start(within)]

    def start(self, node: ast.expr) -> int:
        return self._offset(node.lineno, node.col_offset)

    def end(self, node: ast.expr) -> int:
        return self._offset(node.end_lineno or 0, node.end_col_offset or 0)

    def line_of(self, start: int) -> int:
        return self.text.count("\n", 0, start) + 1

    def _offset(self, line: int, column: int) -> int:
        return self._starts[line - 1] + len(self._lines[line - 1].encode()[:column].decode())


def mutants(path: str, source: str) -> list[Mutant]:
    """Return the faults that can be planted in a module, without those that change nothing."""
    text = Text(source)
    same = code_of(source)
    found = []
    for kind, start, before, after in sorted(changes(text)):
        mutant = Mutant(path, text.line_of(start), kind, before, after, start)
        if code_of(mutant.planted(source)) not in {None, same}:
            found.append(mutant)
    return found


def code_of(source: str) -> tuple[object, ...] | None:
    """Return the bytecode of a module, without lines and columns; None if it does not compile."""
    try:
        return _code(compile(source, "", "exec"))
    except SyntaxError:
        return None


def _code(code: CodeType) -> tuple[object, ...]:
    constants = [_code(each) if isinstance(each, CodeType) else (type(each), repr(each)) for each in code.co_consts]
    return (code.co_code, code.co_names, code.co_varnames, code.co_exceptiontable, *constants)


def changes(text: Text) -> Iterator[tuple[str, int, str, str]]:
    """Yield the kind, place, old and new text of each fault that can be planted."""
    for node in relevant(text.tree):
        match node:
            case ast.Compare():
                yield from comparison_faults(node, text)
            case ast.BoolOp():
                yield from condition_faults(node, text)
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as operator, right=right) if not is_text(left, right):
                sign, other = ("+", "-") if isinstance(operator, ast.Add) else ("-", "+")
                start = text.text.index(sign, text.end(left), text.start(right))
                yield "sign", start, sign, other
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield "not lost", text.start(node), text.between(node, operand), ""
            case ast.Await(value=value):
                yield "await lost", text.start(node), text.between(node, value), ""
            case ast.FunctionDef() | ast.AsyncFunctionDef() if has_body(node):
                yield from default_faults(node, text)


def relevant(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes in which a fault can change something."""
    yield node
    for name, value in ast.iter_fields(node):
        is_for_types = name == "body" and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if is_for_types or name in {"annotation", "returns"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from relevant(child)


def comparison_faults(node: ast.Compare, text: Text) -> Iterator[tuple[str, int, str, str]]:
    """Turn each operator, and move each boundary by one."""
    for left, operator, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
        match = OPERATORS.search(text.text, text.end(left), text.start(right))
        if match is None:
            continue
        yield "comparison turned", match.start(), match[0], TURNED[type(operator)]
        if type(operator) in MOVED and node not in text.choices:
            yield "boundary moved", match.start(), match[0], MOVED[type(operator)]


def condition_faults(node: ast.BoolOp, text: Text) -> Iterator[tuple[str, int, str, str]]:
    """Drop each part after the first, and let one be enough, or all be needed."""
    word, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
    for left, right in pairwise(node.values):
        between = text.text[text.end(left) : text.start(right)]
        if "#" in between or between.count("(") != between.count(")"):
            continue
        yield "condition dropped", text.end(left), text.text[text.end(left) : text.end(right)], ""
        yield "condition turned", text.text.index(word, text.end(left)), word, other


def default_faults(node: ast.FunctionDef | ast.AsyncFunctionDef, text: Text) -> Iterator[tuple[str, int, str, str]]:
    """Turn each default that is a truth value, and raise each number by one."""
    for default in (*node.args.defaults, *node.args.kw_defaults):
        if isinstance(default, ast.Constant) and isinstance(default.value, int):
            value = default.value
            other = str(not value) if isinstance(value, bool) else str(value + 1)
            yield "default changed", text.start(default), text.text[text.start(default) : text.end(default)], other


def has_body(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Tell whether a function does anything."""
    return not all(isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) for line in node.body)


def is_text(*nodes: ast.expr) -> bool:
    """Tell whether a sum joins texts or lists."""
    kinds = (ast.JoinedStr, ast.List, ast.ListComp, ast.Tuple, ast.Dict)
    return any(
        isinstance(node, kinds) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))
        for node in nodes
    )
