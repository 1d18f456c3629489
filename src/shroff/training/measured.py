"""Metrics of a model as JSON: rates as numbers, money as decimal strings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from shroff.language.values import show_decimal
from shroff.models.keys import METRICS

if TYPE_CHECKING:
    from shroff.models.evaluation.folds import Evaluation
    from shroff.training.leak_test import LeakReport

MONEY_METRICS: Final = frozenset(metric.name for metric in METRICS if metric.kind == "money")


def money_text(units: float | None, places: int) -> str | None:
    """An amount of whole units as a decimal string with its places, rounded half-even; None where there is none.

    >>> money_text(-0.004, 2), money_text(12.3, 2), money_text(1234.5, 0)
    ('0.00', '12.30', '1234')
    """
    if units is None or not isfinite(units):
        return None
    return show_decimal(round(units * 10**places), places)


def with_money(value: Any, places: int) -> Any:
    """A document as commands show it: every number of `money_saved` and its like is money, all else as it is."""
    if isinstance(value, Mapping):
        return {
            key: _amounts(one, places) if key in MONEY_METRICS else with_money(one, places)
            for key, one in value.items()
        }
    return [with_money(one, places) for one in value] if isinstance(value, list) else value


def metrics_document(evaluation: Evaluation, leak: LeakReport | None) -> dict[str, Any]:
    """Everything that was measured, as metrics.json has it: money too in numbers of whole units.

    What has no value is null, with the reason beside.
    """
    found: dict[str, Any] = {
        "metrics": {name: asdict(one) for name, one in evaluation.metrics.items()},
        "baselines": {
            name: {
                "about": one.about,
                "rows": one.rows,
                "frauds": one.frauds,
                "metrics": {metric: asdict(value) for metric, value in one.metrics.items()},
                "above": {metric: asdict(value) for metric, value in one.differences.items()},
            }
            for name, one in evaluation.compared.items()
        },
        "folds": [asdict(fold) for fold in evaluation.folds],
        "slices": [asdict(slice_) for slice_ in evaluation.slices],
        "curve": [asdict(one) for one in evaluation.curve],
        "without_give_away": {name: asdict(one) for name, one in evaluation.without_give_away.items()},
        "give_away": list(evaluation.give_away),
        "drawn": evaluation.drawn,
        "remarks": list(evaluation.remarks),
    }
    if leak is not None:
        found["leak_test"] = [asdict(part) | {"passed": part.passed} for part in leak.parts]
    document: dict[str, Any] = plain(found)
    return document


def plain(value: Any) -> Any:
    """The same for JSON: NaN and infinities as null, numbers of numpy as Python's."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value


def _amounts(value: Any, places: int) -> Any:
    """Numbers as money, however deep; texts stay."""
    if isinstance(value, Mapping):
        return {key: _amounts(one, places) for key, one in value.items()}
    if isinstance(value, list):
        return [_amounts(one, places) for one in value]
    return money_text(value, places) if isinstance(value, int | float) else value
