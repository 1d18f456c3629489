"""Explanation of a model: contributions to a margin, and the values at which the margin changes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from shroff.arrays import Floats, Ints
from shroff.language.expression import FeatureValue, Node, ThisField, walk
from shroff.language.types import Type
from shroff.models.learners.column_files import Values
from shroff.models.model import LOG_ODDS, Explainable
from shroff.runtime.values import FrozenStruct

ROWS_MAX = 2_000  # largest sample; a row costs half a millisecond for a hundred trees

NUMERIC = frozenset(["integer", "number", "money", "real", "duration"])
SUM_ERROR = 1e-5  # error of a sum of contributions (single floats), relative to the sum of their sizes


class Share(FrozenStruct):
    """Contribution of a feature or field to a margin; `inputs` are the indexes of the inputs made from it, largest
    first.

    `code` is the name of the feature or field, or of an input that reads several.
    """

    code: str
    inputs: tuple[int, ...]
    contribution: float


def source_of(node: Node) -> FeatureValue | ThisField | None:
    """Return the feature or field that an input is made from; None if it reads several or none."""
    leaves = {part for part in walk(node) if isinstance(part, FeatureValue | ThisField)}
    return leaves.pop() if len(leaves) == 1 else None


def name_of(source: FeatureValue | ThisField, event: str) -> str:
    return source.name if isinstance(source, FeatureValue) else f"{event}.{source.name}"


def shares(contributions: Sequence[float], names: Sequence[str], nodes: Sequence[Node], event: str) -> list[Share]:
    """Sum the contributions of inputs by the feature or field that they are made from; largest first."""
    by_code: dict[str, list[int]] = {}
    for index, node in enumerate(nodes):
        source = source_of(node)
        by_code.setdefault(names[index] if source is None else name_of(source, event), []).append(index)
    sums = [
        Share(
            code,
            tuple(sorted(indexes, key=lambda index: -abs(contributions[index]))),
            math.fsum(contributions[index] for index in indexes),
        )
        for code, indexes in by_code.items()
    ]
    return sorted(sums, key=lambda share: (-abs(share.contribution), share.code))


class ValueSteps(FrozenStruct):
    """Values on both sides of cuts, in the units of a type, nearest to the current value first.

    `below` has the largest values under the current one that go left at a cut, `above` the smallest values over it that
    go right: the ends of the intervals in which nothing changes.
    """

    below: list[float]
    above: list[float]


def steps(cuts: Floats, value: float, type_: Type, *, is_single: bool) -> ValueSteps:
    """Return the values at which each of these cuts would be crossed.

    Args:
        value: Current value in the units of the type: minor units, milliseconds, or a plain real.
        is_single: Whether the model rounds values to single precision before it compares them.
    """
    pairs = [_sides(float(cut), type_, is_single=is_single) for cut in cuts]
    below = {low for low, _ in pairs if low < value}
    above = {high for _, high in pairs if high > value}
    return ValueSteps(sorted(below, reverse=True), sorted(above))


def units_of(type_: Type) -> int:
    """Return the number of units of the type in one of the model's numbers; for durations, milliseconds in a second."""
    return 1_000 if type_.kind == "duration" else int(10**type_.places)


def _sides(cut: float, type_: Type, *, is_single: bool) -> tuple[float, float]:
    """Return the largest value that goes left at a cut, and the smallest that goes right."""
    if type_.kind == "real":
        return cut, float(np.nextafter(np.float32(cut), np.float32(np.inf))) if is_single else math.nextafter(
            cut, math.inf
        )
    units = units_of(type_)
    # ^With rounding, values up to halfway to the next single float go left too.
    edge = (cut + float(np.nextafter(np.float32(cut), np.float32(np.inf)))) / 2 if is_single else cut
    low = math.floor(edge * units) + 1
    for _ in range(3):
        value = low / units
        if (float(np.float32(value)) if is_single else value) <= cut:
            break
        low -= 1
    return low, low + 1


class Dependence(FrozenStruct):
    """One input over the sampled rows.

    Args:
        values: Values as the model reads them, NaN if missing; for a category its index among `categories`.
        contributions: Contribution to the margin of each row.
        size: Mean absolute contribution: the importance of the input.
        gives: Meaning of the margin, as named in `models.model`.
    """

    name: str
    categories: tuple[str, ...]
    values: Floats
    contributions: Floats
    size: float
    gives: str = LOG_ODDS


def drawn_rows(rows: Ints, seed: int) -> Ints:
    """Sample up to ROWS_MAX of these rows, ascending."""
    if len(rows) <= ROWS_MAX:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, ROWS_MAX, replace=False))


def dependences(model: Explainable, columns: Sequence[Values]) -> tuple[Dependence, ...]:
    """Return the dependence of each model input on some rows, the most important first.

    Raises: UsageError for a model without contributions.
    """
    contributions = model.contributions(columns)
    gives = str(model.manifest.get("gives", LOG_ODDS))
    curves = [
        Dependence(
            input_.name,
            input_.categories,
            values[:],
            contributions[:, index],
            float(np.abs(contributions[:, index]).mean()),
            gives,
        )
        for index, (input_, values) in enumerate(zip(model.inputs, columns, strict=True))
    ]
    return tuple(sorted(curves, key=lambda dependence: (-dependence.size, dependence.name)))
