"""Margins of a logistic regression, summed from left to right; `models.learners.logistic` describes the format."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec.json import decode as from_json

from shroff.arrays import Floats
from shroff.errors import RegistryError
from shroff.json_types import JsonMapping
from shroff.models.columns import CATEGORY
from shroff.models.model import InputColumn
from shroff.models.trees.forest import check_inputs
from shroff.runtime.values import FrozenStruct

_VERSION = 1


class Weights(FrozenStruct):
    """Contribution of one input to a margin: `weight * ((value - mean) / scale)`, or a weight per category."""

    mean: float
    scale: float
    weight: float
    missing: float
    categories: Floats | None


class Linear(FrozenStruct):
    """The start of each margin, and the weights of the inputs in order."""

    start: float
    inputs: tuple[Weights, ...]


def linear_of(data: bytes, inputs: Sequence[InputColumn]) -> Linear:
    """Parse a model of the logistic learner.

    Raises: RegistryError if the data is no such model, or has other inputs.
    """
    try:
        document = from_json(data)
        if (document["format"], document["version"]) != ("logistic", _VERSION):
            raise RegistryError(f"the model says version {document['version']}; this program reads {_VERSION}")
        linear = Linear(float(document["start"]), tuple(_weights(input_) for input_ in document["inputs"]))
    except (ValueError, KeyError, TypeError) as error:
        raise RegistryError(f"the model is not a regression of this program ({error}); train it again") from error
    check_inputs(len(linear.inputs), (), inputs)
    for column, weights in zip(inputs, linear.inputs, strict=True):
        weight_count = 0 if weights.categories is None else len(weights.categories)
        if (column.kind == CATEGORY) != (weights.categories is not None) or len(column.categories) != weight_count:
            raise RegistryError(
                f"the model has {weight_count} weights of categories for {column.name}: other than the manifest's"
            )
    return linear


def parts_of(linear: Linear, columns: Floats) -> Floats:
    """Return the contribution of each input to each margin, and last the start: (rows, inputs + 1)."""
    parts = np.empty((columns.shape[1], len(linear.inputs) + 1))
    for index, (weights, values) in enumerate(zip(linear.inputs, columns, strict=True)):
        if weights.categories is None:
            terms = weights.weight * ((values - weights.mean) / weights.scale)
            parts[:, index] = np.where(np.isnan(values), weights.missing, terms)
        else:
            is_known = (values >= 0) & (values < len(weights.categories))
            table = np.append(weights.categories, weights.missing)
            parts[:, index] = table[np.where(is_known, values, len(weights.categories)).astype(np.int64)]
    parts[:, -1] = linear.start
    return parts


def margins_of_linear(linear: Linear, columns: Floats) -> Floats:
    parts = parts_of(linear, columns)
    total = parts[:, -1].copy()
    for index in range(len(linear.inputs)):
        total += parts[:, index]
    return total


def _weights(term: JsonMapping) -> Weights:
    if term["kind"] == CATEGORY:
        return Weights(0.0, 1.0, 0.0, float(term["missing"]), np.array(term["weights"], np.float64))
    return Weights(float(term["mean"]), float(term["scale"]), float(term["weight"]), float(term["missing"]), None)
