"""Syntax tree of an expression, as the parser gives it: each part with its position.

`start` and `end` are character offsets in the expression's text, [start, end). Types are
not known here; `checker` turns this tree into a typed one.
"""

from __future__ import annotations

from dataclasses import dataclass, field


class ExpressionError(Exception):
    """An expression that cannot be parsed or typed: what is wrong, where, and the fix."""

    def __init__(self, message: str, start: int, end: int, hint: str = "") -> None:
        self.message, self.start, self.end, self.hint = message, start, end, hint
        super().__init__(f"{message} {hint}".strip())


@dataclass(frozen=True, slots=True)
class Span:
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class NumberLiteral(Span):
    """Digits as written, without underscores: `50000`, `0.95`."""

    text: str


@dataclass(frozen=True, slots=True)
class TextLiteral(Span):
    value: str


@dataclass(frozen=True, slots=True)
class DurationLiteral(Span):
    value_ms: int


@dataclass(frozen=True, slots=True)
class WordLiteral(Span):
    """`true`, `false` or `missing`."""

    word: str


@dataclass(frozen=True, slots=True)
class DottedName(Span):
    """A dotted name. `row['a b']` is a name too; its part is taken as it stands."""

    parts: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join(self.parts)


@dataclass(frozen=True, slots=True)
class Of(Span):
    """`feature of event`."""

    feature: DottedName
    event: DottedName


@dataclass(frozen=True, slots=True)
class TableLookup(Span):
    """`tables.bins[key].column`."""

    table: DottedName
    key: Syntax
    column: DottedName


@dataclass(frozen=True, slots=True)
class Unary(Span):
    """`-x` or `not x`."""

    operator: str
    operand: Syntax


@dataclass(frozen=True, slots=True)
class Binary(Span):
    """An operator with two sides: arithmetic, comparison, `and`, `or`, `else`, `when`."""

    operator: str
    left: Syntax
    right: Syntax


@dataclass(frozen=True, slots=True)
class MissingTest(Span):
    operand: Syntax


@dataclass(frozen=True, slots=True)
class Within(Span):
    """`x in ...` or `x not in ...`: of values, of a range, or of a project's list."""

    negated: bool
    operand: Syntax
    values: tuple[Syntax, ...] | None = None
    low: Syntax | None = None
    high: Syntax | None = None
    list: DottedName | None = None


@dataclass(frozen=True, slots=True)
class Modifier(Span):
    """One of `over`, `over last`, `delayed`, `including this`, `matching`, `since flag`, `of each source`."""

    word: str
    amount: int = 0  # milliseconds, or n of `over last n`
    name: DottedName | None = None


@dataclass(frozen=True, slots=True)
class FunctionCall(Span):
    """A function or an aggregate; which of them the checker finds out."""

    name: str
    name_end: int
    arguments: tuple[Syntax, ...]
    where: Syntax | None = None
    modifiers: tuple[Modifier, ...] = field(default=())


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
