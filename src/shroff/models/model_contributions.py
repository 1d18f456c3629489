"""Explanation of a model: contributions to a margin, and the values at which it would move."""

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

ROWS_MAX = 2_000  # rows are drawn; each costs half a millisecond for a hundred trees

NUMERIC = frozenset(["integer", "number", "money", "real", "duration"])
SUM_ERROR = 1e-5  # of the sum of the sizes: how far contributions may be from their margin (single floats)


class Share(FrozenStruct):
    """What a feature or field adds to a margin; `inputs` are places of the inputs that are made of it, largest first.

    `code` is the name of the feature or field; of inputs that read several the input's own.
    """

    code: str
    inputs: tuple[int, ...]
    contribution: float


def source_of(node: Node) -> FeatureValue | ThisField | None:
    """The one feature or field that an input is made of; None where it reads several or none."""
    found = {part for part in walk(node) if isinstance(part, FeatureValue | ThisField)}
    return found.pop() if len(found) == 1 else None


def name_of(source: FeatureValue | ThisField, event: str) -> str:
    """Name of a feature or field in reasons."""
    return source.name if isinstance(source, FeatureValue) else f"{event}.{source.name}"


def shares(contributions: Sequence[float], names: Sequence[str], nodes: Sequence[Node], event: str) -> list[Share]:
    """Contributions of inputs, added up by the feature or field that each is made of; the largest first."""
    by_code: dict[str, list[int]] = {}
    for place, node in enumerate(nodes):
        source = source_of(node)
        by_code.setdefault(names[place] if source is None else name_of(source, event), []).append(place)
    found = [
        Share(
            code,
            tuple(sorted(places, key=lambda place: -abs(contributions[place]))),
            math.fsum(contributions[place] for place in places),
        )
        for code, places in by_code.items()
    ]
    return sorted(found, key=lambda share: (-abs(share.contribution), share.code))


class ValueSteps(FrozenStruct):
    """Values on both sides of cuts, in the units of a type, nearest to the present value first.

    `below` are the greatest values under the present one that lie left of a cut, `above` the least ones over it that
    lie right of one: the ends of the stretches within which nothing changes.
    """

    below: list[float]
    above: list[float]


def steps(cuts: Floats, now: float, type_: Type, *, is_single: bool) -> ValueSteps:
    """Where a value would have to go for any of these cuts to be crossed.

    Args:
        now: In the units of the type: minor units, milliseconds; a real as it is.
        is_single: Whether values are rounded to single precision before they are compared.
    """
    pairs = [_sides(float(cut), type_, is_single=is_single) for cut in cuts]
    below = {low for low, _ in pairs if low < now}
    above = {high for _, high in pairs if high > now}
    return ValueSteps(sorted(below, reverse=True), sorted(above))


def units_of(type_: Type) -> int:
    """How many units a whole of the type has, as a model reads it; seconds of durations."""
    return 1_000 if type_.kind == "duration" else int(10**type_.places)


def _sides(cut: float, type_: Type, *, is_single: bool) -> tuple[float, float]:
    """The greatest value of a type that goes left at a cut, and the least one that goes right."""
    if type_.kind == "real":
        return cut, float(np.nextafter(np.float32(cut), np.float32(np.inf))) if is_single else math.nextafter(
            cut, math.inf
        )
    units = units_of(type_)
    # Where values are rounded, those up to halfway to the next single float go left too.
    edge = (cut + float(np.nextafter(np.float32(cut), np.float32(np.inf)))) / 2 if is_single else cut
    low = math.floor(edge * units) + 1
    for _ in range(3):
        value = low / units
        if (float(np.float32(value)) if is_single else value) <= cut:
            break
        low -= 1
    return low, low + 1


class Dependence(FrozenStruct):
    """One input over the drawn rows.

    Args:
        values: As the model reads them, NaN where missing; of a category its place among `categories`.
        contributions: What it adds to the margin of each row.
        size: The mean of their sizes: how much the input counts.
        gives: What the margin means, as `models.model` names it.
    """

    name: str
    categories: tuple[str, ...]
    values: Floats
    contributions: Floats
    size: float
    gives: str = LOG_ODDS


def drawn_rows(rows: Ints, seed: int) -> Ints:
    """Up to ROWS_MAX of these rows by lot, ascending."""
    if len(rows) <= ROWS_MAX:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, ROWS_MAX, replace=False))


def dependences(model: Explainable, columns: Sequence[Values]) -> tuple[Dependence, ...]:
    """Dependence of each model input on some rows, the most important first.

    Raises: UsageError for a model without contributions.
    """
    found = model.contributions(columns)
    gives = str(model.manifest.get("gives", LOG_ODDS))
    each = [
        Dependence(
            input_.name, input_.categories, values[:], found[:, place], float(np.abs(found[:, place]).mean()), gives
        )
        for place, (input_, values) in enumerate(zip(model.inputs, columns, strict=True))
    ]
    return tuple(sorted(each, key=lambda dependence: (-dependence.size, dependence.name)))
