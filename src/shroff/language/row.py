"""Evaluation of a typed expression for one row: closures over plain Python values.

`compile_row` builds nested functions once; each call passes its row to the leaves. A law test checks that `columns`
computes the same values.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import field

from shroff.language import expression as typed
from shroff.language.calls import Signature
from shroff.language.expression import Node, reads_item, reads_this
from shroff.language.functions import FUNCTIONS
from shroff.language.lookups.table import NO_ROWS, LookUpTable
from shroff.language.types import Type
from shroff.language.values import finite, in_share, key_text, to_real, wide
from shroff.runtime.values import FrozenStruct

Evaluate = Callable[[Any], Any]


Tables = Mapping[str, LookUpTable]
Lists = Mapping[str, Mapping[str, int | None]]

COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_EXACT: Final[dict[str, Callable[[int, int], int]]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}


_NO_ENTRIES: Final[Mapping[str, int | None]] = {}


class Reference(FrozenStruct):
    """Data that expressions look up: lists (value to expiry, None if it does not expire) and tables."""

    lists: Lists = field(default_factory=dict)
    tables: Tables = field(default_factory=dict)


def compile_row(
    node: Node,
    leaf: Callable[[Node], Evaluate],
    reference: Reference | None = None,
    *,
    time: Evaluate | None = None,
    this_time: Evaluate | None = None,
    strict: bool = False,
) -> Evaluate:
    """Return the function that computes `node` for one row.

    Args:
        leaf: Returns the function that reads a field, feature, aggregate or score from a row.
        reference: Lists and tables of the project.
        time: Returns the event's time in ms, for lists whose entries expire.
        this_time: Inside an aggregate, where `time` is the time of the aggregated event: returns that of `this`.
        strict: Whether a failed conversion raises ValueError (in mappings) instead of being missing.
    """
    return _RowCompiler(leaf, reference or Reference(), time, this_time, strict).compile(node)


class _RowCompiler(FrozenStruct):
    leaf: Callable[[Node], Evaluate]
    reference: Reference
    time: Evaluate | None
    this_time: Evaluate | None
    strict: bool

    def compile(self, node: Node) -> Evaluate:
        match node:
            case typed.Literal():
                value = node.value
                return lambda row: value
            case typed.Convert():
                return self.convert(node)
            case typed.Arithmetic():
                return self.arithmetic(node)
            case typed.Negative():
                operand = self.compile(node.operand)
                return _negative(operand, is_real=node.type.kind == "real")
            case typed.Compare():
                return _calculate_present(COMPARISONS[node.operator], self.compile(node.left), self.compile(node.right))
            case typed.Logic():
                make = _and if node.operator == "and" else _or
                return make(self.compile(node.left), self.compile(node.right))
            case typed.Not():
                operand = self.compile(node.operand)
                return lambda row: None if (value := operand(row)) is None else not value
            case typed.IsMissing():
                operand = self.compile(node.operand)
                return lambda row: operand(row) is None
            case typed.InValues():
                return self.in_values(node)
            case typed.InList():
                return self.in_list(node)
            case typed.Lookup():
                return self.lookup(node)
            case typed.Else():
                left, right = self.compile(node.left), self.compile(node.right)
                return lambda row: right(row) if (value := left(row)) is None else value
            case typed.When():
                chosen, condition = self.compile(node.value), self.compile(node.condition)
                return lambda row: chosen(row) if condition(row) else None
            case typed.Call():
                return self.call(node)
            case typed.ModelScore():
                return self.model_score(node)
            case typed.InShare():
                return self.in_share(node)
            case _:
                return self.leaf(node)

    def convert(self, node: typed.Convert) -> Evaluate:
        operand, found, wanted = self.compile(node.operand), node.operand.type, node.type
        if wanted.kind == "real":
            places = found.places
            return lambda row: None if (value := operand(row)) is None else to_real(value, places)
        factor = 10 ** (wanted.places - found.places)
        if factor == 1:
            return operand
        return lambda row: None if (value := operand(row)) is None else wide(value * factor)

    def arithmetic(self, node: typed.Arithmetic) -> Evaluate:
        left = self.compile(node.left)
        right = self.compile(node.right)
        if node.operator == "/":
            return _calculate_present(_quotient, left, right)
        calculate = _EXACT[node.operator]
        bounded = finite if node.type.kind == "real" else wide
        return _calculate_present(lambda a, b: bounded(calculate(a, b)), left, right)

    def in_values(self, node: typed.InValues) -> Evaluate:
        operand = self.compile(node.operand)
        if all(isinstance(value, typed.Literal) for value in node.values):
            found = [value.value for value in node.values if isinstance(value, typed.Literal)]
            known = frozenset(value for value in found if value is not None)
            has_missing = None in found
            return lambda row: _among(operand(row), known, has_missing=has_missing)
        values = [self.compile(value) for value in node.values]

        def evaluate(row: Any) -> bool | None:
            given = [value(row) for value in values]
            return _among(
                operand(row), frozenset(value for value in given if value is not None), has_missing=None in given
            )

        return evaluate

    def in_list(self, node: typed.InList) -> Evaluate:
        operand = self.compile(node.operand)
        lists = self.reference.lists
        name = node.list
        now = self.time_of(node.operand)
        if now is None:
            raise AssertionError("a list is asked where there is no event time")

        def evaluate(row: Any) -> bool | None:
            value = operand(row)
            if value is None:
                return None
            entries = lists.get(name, _NO_ENTRIES)  # looked up per row: an engine gets other lists while it runs
            if value not in entries:
                return False
            expires_ms = entries[value]
            return expires_ms is None or bool(now(row) < expires_ms)

        return evaluate

    def time_of(self, asked: Node) -> Evaluate | None:
        """Return the function of the time of a look-up: inside an aggregate that of `this` if only `this` is read."""
        is_of_this = self.this_time is not None and reads_this(asked) and not reads_item(asked)
        return self.this_time if is_of_this else self.time

    def lookup(self, node: typed.Lookup) -> Evaluate:
        key, table, column = self.compile(node.key), self.reference.tables.get(node.table, NO_ROWS), node.column
        time = self.time_of(node.key) or (lambda row: 0)
        return lambda row: table.value(column, key(row), time(row))

    def call(self, node: typed.Call) -> Evaluate:
        arguments = [self.compile(argument) for argument in node.arguments]
        function = value_function(node)
        if self.strict:
            return _strict_call(function, arguments)
        if len(arguments) == 1:
            only = arguments[0]
            return lambda row: None if (value := only(row)) is None else lenient(function, (value,))

        def evaluate(row: Any) -> Any:
            values = tuple(argument(row) for argument in arguments)
            return None if None in values else lenient(function, values)

        return evaluate

    def model_score(self, node: typed.ModelScore) -> Evaluate:
        parts = [self.compile(part) for part in node.inputs]
        score = node.score_of_one
        return lambda row: score([part(row) for part in parts])

    def in_share(self, node: typed.InShare) -> Evaluate:
        parts = [self.compile(part) for part in node.key]

        def evaluate(row: Any) -> bool:
            key = tuple(part(row) for part in parts)
            is_key = bool(key) and None not in key
            return in_share(node.name, node.share, key_text(key[0] if len(key) == 1 else key) if is_key else None)

        return evaluate


def value_function(node: typed.Call) -> Callable[..., Any]:
    """Return the function of values that computes a checked call."""
    types: tuple[Type, ...] = tuple(argument.type for argument in node.arguments)
    return FUNCTIONS[node.function].make(types, Signature(node.type, types, node.options))


def lenient(function: Callable[..., Any], values: tuple[Any, ...]) -> Any:
    """Call a function; a failed conversion, and an exact result outside 128 bits, is missing."""
    try:
        return function(*values)
    except (ValueError, OverflowError):
        return None


def _strict_call(function: Callable[..., Any], arguments: list[Evaluate]) -> Evaluate:
    def evaluate(row: Any) -> Any:
        values = [argument(row) for argument in arguments]
        try:
            return None if None in values else function(*values)
        except OverflowError:
            raise ValueError("the result is out of range") from None

    return evaluate


def _among(value: Any, known: frozenset[Any], *, has_missing: bool) -> bool | None:
    """Return `value == a or value == b or …`, three-valued."""
    if value is None:
        return None
    return True if value in known else None if has_missing else False


def _negative(operand: Evaluate, *, is_real: bool) -> Evaluate:
    if is_real:
        return lambda row: None if (value := operand(row)) is None else 0.0 - value
    return lambda row: None if (value := operand(row)) is None else wide(-value)


def _calculate_present(calculate: Callable[[Any, Any], Any], left: Evaluate, right: Evaluate) -> Evaluate:
    def evaluate(row: Any) -> Any:
        a = left(row)
        if a is None:
            return None
        b = right(row)
        return None if b is None else calculate(a, b)

    return evaluate


def _and(left: Evaluate, right: Evaluate) -> Evaluate:
    def evaluate(row: Any) -> bool | None:
        a = left(row)
        if a is False:
            return False
        b = right(row)
        return b if a else False if b is False else None

    return evaluate


def _or(left: Evaluate, right: Evaluate) -> Evaluate:
    def evaluate(row: Any) -> bool | None:
        a = left(row)
        if a:
            return True
        b = right(row)
        return b if a is False else True if b else None

    return evaluate


def _quotient(a: float, b: float) -> float | None:
    """Return float(a) / float(b); exact operands are integers with equal decimal places."""
    return result if b and math.isfinite(result := float(a) / float(b) + 0.0) else None
