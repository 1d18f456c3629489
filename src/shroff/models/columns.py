"""Model inputs: from typed columns of the language to numbers, identical in training and scoring."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from shroff.arrays import Floats
from shroff.language.columns import Column, reals_of
from shroff.language.types import Type
from shroff.language.values import Value

NUMBER = "number"
CATEGORY = "category"
_MS_A_SECOND = 1_000
_IN_MS = frozenset(["duration", "time"])
_FLOAT_EXACT = 2**53


def kind_of(type_: Type) -> str:
    """Kind of a model input: texts and choices are categories, all others numbers."""
    return CATEGORY if type_.is_text else NUMBER


def model_column(column: Column, type_: Type, categories: Sequence[str] | None = None) -> Floats:
    """The values as a model reads them, NaN where one is missing.

    Money and numbers are the floats nearest to their exact value in whole units, integers beyond 2^53 too; durations
    and times are seconds, times since 1970; booleans are 0 and 1. A text is its place among the `categories`, and one
    that is not among them is NaN as a missing one is.

    Args:
        categories: The texts that the model knows, in its order; for texts and choices only.

    >>> model_column(Column(np.array([1234, 0]), np.array([True, False])), Type("money", 2))
    array([12.34,   nan])
    """
    if type_.is_text:
        known: dict[str, float] = {text: float(place) for place, text in enumerate(categories or ())}
        found = np.fromiter((known.get(text, np.nan) for text in column.values.tolist()), np.float64, len(column))
    else:
        found = numbers_of(column, type_)
    if not column.valid.all():
        found = np.where(column.valid, found, np.nan)
    return found


def numbers_of(column: Column, type_: Type) -> Floats:
    """The values of a column, not of texts, as `model_column` gives them; any number where one is missing.

    May share the column's memory.
    """
    if type_.kind in {"real", "boolean"}:
        return column.values.astype(np.float64, copy=False)
    if type_.kind in _IN_MS:
        return np.asarray(column.values / np.float64(_MS_A_SECOND))
    return reals_of(column.values, type_.places)


def model_rows(columns: Sequence[Column], types: Sequence[Type], categories: Sequence[Sequence[str]]) -> Floats:
    """The columns as `model_column` gives them, a row for each: numbers all at once, which are most of what is read.

    Cost: 1 µs a column, and 0.01 µs a value.
    """
    found = np.empty((len(columns), len(columns[0])))
    divisors = [
        None if column.values.dtype != np.int64 else _MS_A_SECOND if type.kind in _IN_MS else 10**type.places
        for column, type in zip(columns, types, strict=True)
    ]
    exact = [at for at, divisor in enumerate(divisors) if divisor is not None]
    if exact:
        whole = np.concatenate([columns[at].values for at in exact]).reshape(len(exact), -1)
        if max(int(whole.max(initial=0)), -int(whole.min(initial=0))) < _FLOAT_EXACT:
            valid = np.concatenate([columns[at].valid for at in exact]).reshape(whole.shape)
            numbers = whole / np.array([divisors[at] for at in exact], np.float64)[:, np.newaxis]
            found[exact] = numbers if valid.all() else np.where(valid, numbers, np.nan)
        else:
            exact = []
    done = set(exact)
    for at, (column, type_, known) in enumerate(zip(columns, types, categories, strict=True)):
        if at not in done:
            found[at] = model_column(column, type_, known)
    return found


def model_numbers(
    types: Sequence[Type], categories: Sequence[Sequence[str]]
) -> Callable[[Sequence[Value]], list[float]]:
    """Function from the values of one row, None where one is missing, to the numbers that `model_column` gives."""
    ways = [_way(type_, known) for type_, known in zip(types, categories, strict=True)]

    def numbers(values: Sequence[Any]) -> list[float]:
        return [
            math.nan if value is None else value / divisor if known is None else known.get(value, math.nan)
            for value, (divisor, known) in zip(values, ways, strict=True)
        ]

    return numbers


def _way(type_: Type, categories: Sequence[str]) -> tuple[float, dict[str, float] | None]:
    """By what a value is divided, or the places of texts: by a float what becomes one first, as numpy does it."""
    if type_.is_text:
        return 1, {text: float(place) for place, text in enumerate(categories)}
    if type_.kind in _IN_MS:
        return float(_MS_A_SECOND), None
    return 10**type_.places, None
