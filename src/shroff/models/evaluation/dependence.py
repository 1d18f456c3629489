"""What a model makes of its inputs over many rows: how much each moves the margin, and which way its values push."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from shroff.models.learners.filed import Values
from shroff.models.model import LOG_ODDS, Explainable, Floats
from shroff.models.sets import Words

ROWS_MAX: Final = 2_000  # rows are drawn; each costs half a millisecond for a hundred trees


@dataclass(frozen=True, slots=True)
class Dependence:
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


def drawn_rows(rows: Words, seed: int) -> Words:
    """Up to ROWS_MAX of these rows by lot, ascending."""
    if len(rows) <= ROWS_MAX:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, ROWS_MAX, replace=False))


def dependences(model: Explainable, columns: Sequence[Values]) -> tuple[Dependence, ...]:
    """Each input of a model over some rows, the one that counts most first.

    Raises: UsageError for a model without contributions.
    """
    found = model.contributions(columns)
    gives = str(model.manifest.get("gives", LOG_ODDS))
    each = [
        Dependence(one.name, one.categories, values[:], found[:, place], float(np.abs(found[:, place]).mean()), gives)
        for place, (one, values) in enumerate(zip(model.inputs, columns, strict=True))
    ]
    return tuple(sorted(each, key=lambda one: (-one.size, one.name)))
