"""Syntax tree of an expression, made by the parser: each part with its position.

`start` and `end` are character offsets in the expression's text, [start, end). Types are not known here; `checker`
makes a typed tree from this one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

from shroff.runtime.values import FrozenStruct


class ExpressionError(Exception):
    """An expression that cannot be parsed or typed, with message, position and hint."""

    def __init__(self, message: str, start: int, end: int, hint: str = "") -> None:
        self.message = message
        self.start = start
        self.end = end
        self.hint = hint
        super().__init__(f"{message} {hint}".strip())


class SpoiledError(ExpressionError):
    """An expression that reads a faulty feature, whose own problem is reported already."""


class Span(FrozenStruct):
    start: int
    end: int


def refuse(at: Span, message: str, hint: str = "") -> NoReturn:
    """Raises: ExpressionError at a part of an expression."""
    raise ExpressionError(message, at.start, at.end, hint)


class NumberLiteral(Span, frozen=True):
    """Digits as written, without underscores: `50000`, `0.95`."""

    text: str


class TextLiteral(Span, frozen=True):
    value: str


class DurationLiteral(Span, frozen=True):
    value_ms: int


class WordLiteral(Span, frozen=True):
    """`true`, `false` or `missing`."""

    word: str


class DottedName(Span, frozen=True):
    """A dotted name. `row['a b']` is one too, with the text in brackets as a part.

    Args:
        indices: Positions of the parts, after `row` or `item`, that are indices of arrays.
    """

    parts: tuple[str, ...]
    indices: tuple[int, ...] = ()

    def __str__(self) -> str:
        return ".".join(self.parts)


class Of(Span, frozen=True):
    """`feature of event`."""

    feature: DottedName
    event: DottedName


class TableLookup(Span, frozen=True):
    """`tables.bins[key].column`."""

    table: DottedName
    key: Syntax
    column: DottedName


class Unary(Span, frozen=True):
    """`-x` or `not x`."""

    operator: str
    operand: Syntax


class Binary(Span, frozen=True):
    """An operator with two sides: arithmetic, comparison, `and`, `or`, `else`, `when`."""

    operator: str
    left: Syntax
    right: Syntax


class MissingTest(Span, frozen=True):
    operand: Syntax


class Within(Span, frozen=True):
    """`x in ...` or `x not in ...`, with values, a range, or a list of the project."""

    negated: bool
    operand: Syntax
    values: tuple[Syntax, ...] | None = None
    low: Syntax | None = None
    high: Syntax | None = None
    list: DottedName | None = None


class Modifier(Span, frozen=True):
    """`over`, `over last`, `delayed`, `including this`, `matching`, `since flag`, `of each source`, `up to`."""

    word: str
    amount: int = 0  # milliseconds, or n of `over last n` and `up to n`
    name: DottedName | None = None


class FunctionCall(Span, frozen=True):
    """A call of a function or an aggregate; the checker decides which."""

    name: str
    name_end: int
    arguments: tuple[Syntax, ...]
    where: Syntax | None = None
    modifiers: tuple[Modifier, ...] = ()
    via: Syntax | None = None
    up_to: Modifier | None = None


Syntax = (
    NumberLiteral
    | TextLiteral
    | DurationLiteral
    | WordLiteral
    | DottedName
    | Of
    | TableLookup
    | Unary
    | Binary
    | MissingTest
    | Within
    | FunctionCall
)


def parts_of(tree: Span) -> Iterator[Syntax]:
    """Yield the expressions directly inside another one, without modifiers."""
    for name in tree.__struct_fields__:
        value = getattr(tree, name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Span) and not isinstance(part, Modifier):
                yield part  # type: ignore[misc]  # every Span but Modifier is Syntax
