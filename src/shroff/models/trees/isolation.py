"""Isolation forests of our own learner as a `Forest`; `models.learners.isolation` describes the format."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec.json import decode as from_json

from shroff.errors import RegistryError
from shroff.json_types import JsonMapping
from shroff.models.model import InputColumn
from shroff.models.trees.forest import CategorySet, Forest, Precision, Tree, forest_of
from shroff.models.trees.layout import ABSENT_LEFT, ABSENT_RIGHT

_VERSION = 1
_ARITHMETIC = Precision(is_single_input=False, is_single_sum=False)


def forest_of_isolation(data: bytes, inputs: Sequence[InputColumn]) -> Forest:
    """Parse an isolation model.

    Raises: RegistryError if the data is no such model.
    """
    try:
        document = from_json(data)
        if (document["format"], document["version"]) != ("isolation", _VERSION):
            raise RegistryError(f"the model says version {document['version']}; this program reads {_VERSION}")
        trees = [_tree(tree) for tree in document["trees"]]
    except (ValueError, KeyError, TypeError) as error:
        raise RegistryError(
            f"the model is not an isolation forest of this program ({error}); train it again"
        ) from error
    return forest_of(trees, 0.0, _ARITHMETIC, inputs)


def _tree(tree: JsonMapping) -> Tree:
    is_left = np.array(tree["missing_left"], np.bool_)
    return Tree(
        np.array(tree["left"], np.int64),
        np.array(tree["right"], np.int64),
        np.array(tree["input"], np.int64),
        np.array(tree["threshold"], np.float64),
        np.where(is_left, ABSENT_LEFT, ABSENT_RIGHT),
        np.array(tree["value"], np.float64),
        {
            node: CategorySet(np.array(members, np.int64), are_left=True, is_missing_left=bool(is_left[node]))
            for node, members in enumerate(tree["members"])
            if members is not None
        },
    )
