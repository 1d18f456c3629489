"""Metrics of a model as JSON: rates as numbers, money as decimal strings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict

from shroff.json_types import JsonMapping, JsonObject
from shroff.language.expression import Compare, Literal
from shroff.language.expression_text import clock_words_of
from shroff.language.types import BOOLEAN
from shroff.language.values import show_decimal
from shroff.models.evaluation.slices import AMOUNT, KNOWN, MISSING, slice_order
from shroff.models.metrics import METRICS
from shroff.project.dependency_hash import teller_of

if TYPE_CHECKING:
    from shroff.models.evaluation.folds import Evaluation
    from shroff.project.definitions import Definitions
    from shroff.training.leak_test import LeakReport

_KEYS = {"new": "key first seen within a day", KNOWN: "key seen before", MISSING: "without a key"}
_DIGITS = re.compile(r"[0-9]+(\.[0-9]+)?")
_READABLE = {"boolean": re.compile("true|false"), "integer": re.compile("-?[0-9]+")}  # by the type of a slice
MONEY_METRICS = frozenset(metric.name for metric in METRICS if metric.kind == "money")


def money_text(units: float | None, places: int) -> str | None:
    """Return an amount of whole units with `places` decimals, rounded half-even; None if it is not finite.

    >>> money_text(-0.004, 2), money_text(12.3, 2), money_text(1234.5, 0)
    ('0.00', '12.30', '1234')
    """
    if units is None or not isfinite(units):
        return None
    return show_decimal(round(units * 10**places), places)


def with_money(value: Any, places: int) -> Any:
    """Return a document as commands show it: numbers under metrics of money as decimal strings, all else unchanged."""
    if isinstance(value, Mapping):
        return {
            key: _amounts(part, places) if key in MONEY_METRICS else with_money(part, places)
            for key, part in value.items()
        }
    return [with_money(part, places) for part in value] if isinstance(value, list) else value


def metrics_document(evaluation: Evaluation, leak: LeakReport | None) -> JsonObject:
    """Return all measurements as metrics.json has them.

    Money stays a number of whole units here; `with_money` makes it text. A missing value is null, beside its reason.
    """
    measurements: JsonObject = {
        "metrics": evaluation.metrics,
        "baselines": {
            name: {
                "about": baseline.about,
                "rows": baseline.rows,
                "frauds": baseline.frauds,
                "metrics": baseline.metrics,
                "above": baseline.differences,
            }
            for name, baseline in evaluation.compared.items()
        },
        "folds": evaluation.folds,
        "slices": evaluation.slices,
        "curve": evaluation.curve,
        "without_give_away": evaluation.without_give_away,
        "give_away": evaluation.give_away,
        "drawn": evaluation.drawn,
        "remarks": evaluation.remarks,
    }
    if leak is not None:
        measurements["leak_test"] = [asdict(part) | {"passed": part.passed} for part in leak.parts]
    document: JsonObject = plain(measurements)
    return document


def slices_told(definitions: Definitions, event: str, metrics: JsonMapping) -> JsonObject:
    """Return the metrics; each slice gets `words`.

    Slices of a column stay together, in the order recorded; their values are in natural order.
    """
    slices = [{"is_group": False, **slice_} for slice_ in metrics.get("slices", ())]
    column_order = dict[str, int]()
    for slice_ in slices:
        column_order.setdefault(slice_["name"], len(column_order))
    slices.sort(
        key=lambda slice_: (column_order[slice_["name"]], slice_order(slice_["value"], is_group=slice_["is_group"]))
    )
    words = partial(slice_words, definitions, event)
    described = [{**part, "words": words(part["name"], part["value"], is_group=part["is_group"])} for part in slices]
    return {**metrics, **({"slices": described} if described else {})}


def slice_words(definitions: Definitions, event: str, name: str, value: str, *, is_group: bool) -> str:
    """Describe a slice: `paid on Sunday (UTC)`, `amount up to 12.50 EUR`; as recorded if its definition is gone."""
    wording = teller_of(definitions)
    model = definitions.models.get(event)
    if name == AMOUNT:
        return f"{name} {_DIGITS.sub(lambda pair: f'{Decimal(pair[0]):,}', value)} {wording.currency}"
    if name == KNOWN:
        return _KEYS.get(value, value)
    node = None if model is None else next((part.node for part in model.slices if part.name == name), None)
    if node is None or is_group:
        return f"{name if node is None else wording.noun(node)}: {value}"
    if (readable := _READABLE.get(node.type.kind)) and not readable.fullmatch(value):
        return f"{name}: {value}"  # the feature had another type when this was measured
    if node.type.kind == "boolean":
        return wording.told(node, value == "true")
    if node.type.kind == "integer":
        is_it = Compare(BOOLEAN, "==", node, Literal(node.type, int(value)))
        return clock_words_of(wording, is_it) or wording.told(node, int(value))
    return wording.told(node, value)


def plain(value: Any) -> Any:
    """Convert a value for JSON: NaN and infinities to null, numbers of numpy to Python's, structs to mappings."""
    if isinstance(value, Struct):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value


def _amounts(value: Any, places: int) -> Any:
    if isinstance(value, Mapping):
        return {key: _amounts(part, places) for key, part in value.items()}
    if isinstance(value, list):
        return [_amounts(part, places) for part in value]
    return money_text(value, places) if isinstance(value, int | float) else value


def facts_of(manifest: JsonMapping) -> list[tuple[str, str]]:
    """Return a model's origin as pairs of label and text: its labels, its data, its learner."""
    parameters = ", ".join(f"{name} {value}" for name, value in sorted(manifest["parameters"].items()))
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(manifest["libraries"].items()))
    return [
        ("Labels as of", manifest["as_of"]),
        *(_origin(manifest["imported"]) if "imported" in manifest else _learnt_from(manifest)),
        ("Inputs", ", ".join(input_["name"] for input_ in manifest["inputs"])),
        ("Learner", parameters),
        ("Calibration", str(manifest["calibration"].get("kind", "none"))),
        ("Definitions", manifest["definitions"]),
        ("Made", f"{manifest['made_at']} by shroff {manifest['shroff']}{f', {libraries}' if libraries else ''}"),
    ]


def _learnt_from(manifest: JsonMapping) -> list[tuple[str, str]]:
    data = manifest["data"]
    train = manifest["train"]
    return [
        ("Trained on events of", f"{data['from']} to {data['to']}"),
        ("Sequence numbers", f"{data['seqs'][0]:,} to {data['seqs'][1]:,}"),
        ("Rows", f"{train['rows']:,}, {train['frauds']:,} of them frauds"),
        ("Left out", f"{data['immature']:,} immature, {data['unclear']:,} unclear"),
        ("Genuine events kept", f"{100 * manifest['negatives_kept']:.4g} %"),
    ]


def _origin(imported: JsonMapping) -> list[tuple[str, str]]:
    checked = imported["checked"]
    rows = f"{checked['rows']:,} rows of {checked['file']}, the {checked['of']} at most {checked['worst']:.1g} off"
    return [
        ("Trained", f"elsewhere, until {imported.get('trained_until', 'a time that was not declared')}"),
        ("Brought from", f"{imported['file']}, {imported['source']}, SHA-256 {imported['sha256']}"),
        ("Brought by", imported["by"] or "nobody named"),
        ("Checked on", rows),
    ]
