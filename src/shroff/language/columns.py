"""Evaluation of a typed expression for whole columns, with the same values as `row`.

A column has values and a mask of those present. Exact numbers are int64 and become Python integers (dtype object) if a
result might not fit; texts are Python strings. A missing value is 0, 0.0, False or "" in the array.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np

from shroff.arrays import Array, Bools, Floats
from shroff.json_types import JsonObject
from shroff.language import expression as typed
from shroff.language.expression import Node
from shroff.language.lookups.table import NO_ROWS
from shroff.language.row import COMPARISONS, Reference, lenient, value_function
from shroff.language.types import INTEGER_MAX, WIDE_MAX, WIDE_MIN, Type
from shroff.language.values import DAY_MS, HOUR_MS, Value, in_share, key_text, to_real
from shroff.runtime.values import FrozenStruct

_EMPTY: Final[JsonObject] = {"text": "", "choice": "", "real": 0.0, "boolean": False}
_DTYPES: Final[JsonObject] = {"text": object, "choice": object, "real": np.float64, "boolean": np.bool_}
_FLOAT_EXACT = 2**53
_LEAVES = frozenset(
    [typed.ThisField, typed.ItemField, typed.FeatureValue, typed.ItemFeature, typed.Score, typed.Aggregate]
)


class Column(FrozenStruct):
    """Values of one type; `valid` is False for a missing value."""

    values: Array
    valid: Bools

    def __len__(self) -> int:
        return len(self.valid)

    def take(self, rows: Array | slice | list[int]) -> Column:
        return Column(self.values[rows], self.valid[rows])


def column_of(values: Sequence[Value], type_: Type) -> Column:
    """Make a column of Python values, None for a missing one."""
    count = len(values)
    if all(values):  # fast test that none is missing; empty values and 0 are tested below
        valid = np.ones(count, np.bool_)
        filled = values
    else:
        valid = np.array([value is not None for value in values], np.bool_)
        empty = _EMPTY.get(type_.kind, 0)
        filled = values if valid.all() else [empty if value is None else value for value in values]
    dtype = _DTYPES.get(type_.kind, np.int64)
    if dtype is object:
        array = np.empty(count, object)
        array[:] = filled
        return Column(array, valid)
    try:
        return Column(np.array(filled, dtype), valid)
    except OverflowError:
        return Column(_objects(filled), valid)


def values_of(column: Column) -> list[Value]:
    """Return the Python values of a column, None for a missing one."""
    values: list[Value] = column.values.tolist()
    if column.valid.all():
        return values
    return [value if valid else None for value, valid in zip(values, column.valid.tolist(), strict=True)]


def _objects(values: Iterable[Any]) -> Array:
    listed = list(values)
    array = np.empty(len(listed), object)
    array[:] = listed
    return array


class ColumnSource(FrozenStruct):
    """Columns for an expression's leaves, for `count` rows."""

    count: int
    leaf: Callable[[Node], Column]
    reference: Reference
    times: Array | None = None
    looked_up: Callable[[typed.Lookup], Column | None] | None = None  # result of a look-up, if it is known already


def evaluate_columns(node: Node, source: ColumnSource) -> Column:
    """Return the values of `node` for all rows."""
    if type(node) in _LEAVES:  # most nodes are leaves
        return source.leaf(node)
    match node:
        case typed.Literal():
            return _constant(node.value, node.type, source.count)
        case typed.Convert():
            return _convert(evaluate_columns(node.operand, source), node.operand.type, node.type)
        case typed.Arithmetic():
            return _arithmetic(node, evaluate_columns(node.left, source), evaluate_columns(node.right, source))
        case typed.Negative():
            zero = _constant(0.0 if node.type.kind == "real" else 0, node.type, source.count)
            operand = evaluate_columns(node.operand, source)
            return _real("-", zero, operand) if node.type.kind == "real" else _exact("-", zero, operand)
        case typed.Compare():
            return _compare(node.operator, evaluate_columns(node.left, source), evaluate_columns(node.right, source))
        case typed.Logic():
            return _logic(node.operator, evaluate_columns(node.left, source), evaluate_columns(node.right, source))
        case typed.Not():
            operand = evaluate_columns(node.operand, source)
            return Column(~operand.values & operand.valid, operand.valid)
        case typed.IsMissing():
            operand = evaluate_columns(node.operand, source)
            return Column(~operand.valid, np.ones(source.count, np.bool_))
        case typed.InValues():
            return _in_values(node, source)
        case typed.InList():
            return _in_list(node, source)
        case typed.Lookup():
            return _lookup(node, source)
        case typed.Else():
            left = evaluate_columns(node.left, source)
            right = evaluate_columns(node.right, source)
            return Column(np.where(left.valid, *_alike(left.values, right.values)), left.valid | right.valid)
        case typed.When():
            return _when(evaluate_columns(node.value, source), evaluate_columns(node.condition, source))
        case typed.Call():
            return _call(node, source)
        case typed.ModelScore():
            return node.score([evaluate_columns(part, source) for part in node.inputs])
        case typed.InShare():
            return _in_share(node, source)
        case _:
            return source.leaf(node)


def _constant(value: Value, type_: Type, count: int) -> Column:
    if value is None:
        return Column(
            np.full(count, _EMPTY.get(type_.kind, 0), _DTYPES.get(type_.kind, np.int64)), np.zeros(count, np.bool_)
        )
    dtype = _DTYPES.get(type_.kind, np.int64)
    if dtype is np.int64 and not -INTEGER_MAX <= int(value) <= INTEGER_MAX:
        dtype = object
    values = np.empty(count, dtype)
    values.fill(value)
    return Column(values, np.ones(count, np.bool_))


def _alike(a: Array, b: Array) -> tuple[Array, Array]:
    if a.dtype == b.dtype:
        return a, b
    return a.astype(object), b.astype(object)


def _is_wide(values: Array) -> bool:
    return bool(values.dtype == object)


def _largest(values: Array) -> int:
    return max(int(values.max()), -int(values.min())) if len(values) else 0


def _clean(values: Array, valid: Bools) -> Column:
    """Replace missing values by the empty value."""
    return Column(values if valid.all() else np.where(valid, values, values.dtype.type(0)), valid)


def _convert(operand: Column, found: Type, wanted: Type) -> Column:
    if wanted.kind == "real":
        return Column(reals_of(operand.values, found.places), operand.valid)
    factor = 10 ** (wanted.places - found.places)
    if factor == 1:
        return operand
    return _exact("*", operand, Column(np.full(len(operand), factor, np.int64), operand.valid))


def reals_of(values: Array, places: int) -> Floats:
    """Return the float nearest to each exact number, in whole units."""
    if not _is_wide(values) and _largest(values) < _FLOAT_EXACT:
        return np.asarray(values / np.float64(10**places))
    return np.array([to_real(value, places) for value in values.tolist()], np.float64)


def _arithmetic(node: typed.Arithmetic, left: Column, right: Column) -> Column:
    if node.operator == "/":
        a, b = (_floats(side.values) for side in (left, right))
        with np.errstate(all="ignore"):
            result = a / b + 0.0
        return _finite(result, left.valid & right.valid & (b != 0))
    return _real(node.operator, left, right) if node.type.kind == "real" else _exact(node.operator, left, right)


_OPERATIONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}


def _exact(operator: str, left: Column, right: Column) -> Column:
    valid = left.valid & right.valid
    calculate = _OPERATIONS[operator]
    a = left.values
    b = right.values
    if not (_is_wide(a) or _is_wide(b)):
        bounds = _largest(a), _largest(b)
        bound = bounds[0] * bounds[1] if operator == "*" else bounds[0] + bounds[1]
        if bound <= INTEGER_MAX:
            return _clean(calculate(a, b), valid)
    results = [calculate(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    fits = np.fromiter((WIDE_MIN <= result <= WIDE_MAX for result in results), np.bool_, len(results))
    valid = valid & fits
    values = [result if there else 0 for result, there in zip(results, valid.tolist(), strict=True)]
    is_narrow = all(-INTEGER_MAX <= value <= INTEGER_MAX for value in values)
    return Column(np.array(values, np.int64) if is_narrow else _objects(values), valid)


def _real(operator: str, left: Column, right: Column) -> Column:
    with np.errstate(all="ignore"):
        result = _OPERATIONS[operator](left.values, right.values) + 0.0
    return _finite(result, left.valid & right.valid)


def _finite(result: Array, valid: Bools) -> Column:
    valid = valid & np.isfinite(result)
    return Column(result if valid.all() else np.where(valid, result, 0.0), valid)


def _floats(values: Array) -> Floats:
    if _is_wide(values):
        return np.array([float(value) for value in values.tolist()], np.float64)
    return values.astype(np.float64)


def _compare(operator: str, left: Column, right: Column) -> Column:
    valid = left.valid & right.valid
    result = np.asarray(COMPARISONS[operator](left.values, right.values), np.bool_)
    return Column(result & valid, valid)


def _logic(operator: str, left: Column, right: Column) -> Column:
    """Combine truth values, three-valued; missing ones are False, so `&` and `|` are right."""
    if operator == "and":
        false = (left.valid & ~left.values) | (right.valid & ~right.values)
        result = left.values & right.values
        return Column(result, false | (left.valid & right.valid))
    result = left.values | right.values
    return Column(result, result | (left.valid & right.valid))


def _when(value: Column, condition: Column) -> Column:
    kept = value.valid & condition.values
    if value.values.dtype == object:
        empty = "" if len(value) and isinstance(value.values[0], str) else 0
        return Column(np.where(kept, value.values, empty), kept)
    return _clean(value.values, kept)


def _in_values(node: typed.InValues, source: ColumnSource) -> Column:
    operand = evaluate_columns(node.operand, source)
    matches = np.zeros(source.count, np.bool_)
    missing = np.zeros(source.count, np.bool_)
    for value in node.values:
        column = evaluate_columns(value, source)
        matches |= np.asarray(operand.values == column.values, np.bool_) & column.valid
        missing |= ~column.valid
    matches &= operand.valid
    return Column(matches, operand.valid & (matches | ~missing))


def _in_list(node: typed.InList, source: ColumnSource) -> Column:
    operand = evaluate_columns(node.operand, source)
    entries = source.reference.lists.get(node.list, {})
    if source.times is None:
        raise AssertionError("a list is asked where there is no event time")
    if not entries:
        return Column(np.zeros(source.count, np.bool_), operand.valid)
    holds = [
        value in entries and ((expires := entries[value]) is None or time_ms < expires)
        for value, time_ms in zip(operand.values.tolist(), source.times.tolist(), strict=True)
    ]
    return Column(np.array(holds, np.bool_) & operand.valid, operand.valid)


def _lookup(node: typed.Lookup, source: ColumnSource) -> Column:
    if source.looked_up is not None and (known := source.looked_up(node)) is not None:
        return known
    table = source.reference.tables.get(node.table, NO_ROWS)
    keys = values_of(evaluate_columns(node.key, source))
    times_ms = np.zeros(source.count, np.int64) if source.times is None else source.times
    return column_of(table.values(node.column, keys, times_ms), node.type)


def _in_share(node: typed.InShare, source: ColumnSource) -> Column:
    parts = [values_of(evaluate_columns(part, source)) for part in node.key]
    keys = [None if None in key else key[0] if len(key) == 1 else key for key in zip(*parts, strict=True)]
    texts = (None if key is None else key_text(key) for key in keys or [None] * source.count)
    membership = [in_share(node.name, node.share, text) for text in texts]
    return Column(np.array(membership, np.bool_), np.ones(source.count, np.bool_))


_UTC_PARTS: Final[dict[str, Callable[[Array], Array]]] = {
    "hour": lambda times: times // HOUR_MS % 24,
    "weekday": lambda times: (times // DAY_MS + 3) % 7,
    "day": lambda times: times // DAY_MS,
}


def _call(node: typed.Call, source: ColumnSource) -> Column:
    arguments = [evaluate_columns(argument, source) for argument in node.arguments]
    if node.function in _UTC_PARTS and len(arguments) == 1:
        return _clean(_UTC_PARTS[node.function](arguments[0].values), arguments[0].valid)
    function = value_function(node)
    rows = zip(*(values_of(argument) for argument in arguments), strict=True)
    return column_of([None if None in row else lenient(function, row) for row in rows], node.type)
