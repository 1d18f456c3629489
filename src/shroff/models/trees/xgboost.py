"""XGBoost's JSON as a forest, with margins equal to `xgboost.Booster.inplace_predict(..., predict_type="margin")`.

XGBoost rounds values to single precision, and a row goes left if `value < threshold`; a missing value goes to the
node's default side. The sum starts with the margin of the base score and adds the leaves tree by tree in single
precision.

A node that tests a category sends the members of its set right and all others left. XGBoost would so send a category
that the model has never seen (a code beyond the known ones) left. Here it counts as missing, as everywhere in this
program, and its row has the margin that XGBoost computes for NaN.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from shroff.errors import RegistryError
from shroff.json_types import JsonMapping
from shroff.models.model import InputColumn
from shroff.models.trees.forest import LEAF, CategorySet, Forest, Precision, Tree, check_inputs, forest_of
from shroff.models.trees.layout import ABSENT_LEFT, ABSENT_RIGHT

# Objectives whose base score is a probability, and those for which it is a margin.
_PROBABLE = ("binary:logistic", "reg:logistic")
_PLAIN = ("binary:logitraw", "reg:squarederror", "rank:pairwise", "rank:ndcg", "rank:map")
_SAVE = 'save it with booster.save_model("model.json")'
_ARITHMETIC = Precision(is_single_input=True, is_single_sum=True)
_NEAREST_TO_CERTAIN = np.float32(1e-6)


def forest_of_xgboost(
    data: bytes, inputs: Sequence[InputColumn], *, best_iteration: int | None = None, start: float | None = None
) -> Forest:
    """Parse a model in XGBoost's JSON format.

    Args:
        inputs: In the order of the model's features.
        best_iteration: Last round to use, from 0, as in early stopping; None for all.
        start: Margin before the first tree, from the manifest; None to compute it.

    Raises: RegistryError for another model, a DART or linear booster, several classes or targets, or other inputs.
    """
    learner = _learner(data)
    booster = learner["gradient_booster"]
    # XGBoost 3.4 writes DART as a gbtree whose trees have weights
    kind = "dart" if booster.get("model", {}).get("weight_drop") else booster.get("name")
    if kind != "gbtree":
        raise RegistryError(
            f"the model is an XGBoost booster of kind {kind!r}; only 'gbtree' can be scored:"
            " train it with booster=gbtree"
        )
    shape = learner["learner_model_param"]
    if int(shape.get("num_class", 0)) > 1 or int(shape.get("num_target", 1)) > 1:
        raise RegistryError("the model has several classes or targets; train it on one, fraud or not")
    check_inputs(int(shape["num_feature"]), learner.get("feature_names") or (), inputs)
    trees = booster["model"]["trees"][: _tree_count(booster["model"], best_iteration)]
    begin = _base_margin(learner) if start is None else start
    return forest_of([_tree(tree) for tree in trees], begin, _ARITHMETIC, inputs)


def base_margin_of_xgboost(data: bytes) -> float:
    """Return the margin before the first tree, for `base_margin` of the manifest.

    XGBoost computes it from the base score with the logarithm of the machine's C library, whose last bit differs
    between machines; the value in the manifest is the same everywhere.
    """
    return _base_margin(_learner(data))


def _learner(data: bytes) -> JsonMapping:
    try:
        learner: JsonMapping = json.loads(data)["learner"]
        learner["gradient_booster"]["name"], learner["learner_model_param"], learner["objective"]["name"]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise RegistryError(f"the model is not what XGBoost writes as JSON; {_SAVE}") from error
    return learner


def _tree_count(model: JsonMapping, best_iteration: int | None) -> int:
    if best_iteration is None:
        return len(model["trees"])
    parallel = int(model["gbtree_model_param"].get("num_parallel_tree", 1))
    count = (best_iteration + 1) * max(parallel, 1)
    if not 0 < count <= len(model["trees"]):
        raise RegistryError(
            f"the manifest says best_iteration {best_iteration}, and the model has {len(model['trees'])} trees"
        )
    return count


def _base_margin(learner: JsonMapping) -> float:
    objective = learner["objective"]["name"]
    text = str(learner["learner_model_param"]["base_score"]).strip("[]")
    base = np.float32(text)
    if objective in _PLAIN:
        return float(base)
    if objective not in _PROBABLE:
        supported = ", ".join(_PROBABLE + _PLAIN)
        raise RegistryError(f"the model's objective is {objective}; supported objectives are {supported}")
    base = min(max(base, _NEAREST_TO_CERTAIN), np.float32(1) - _NEAREST_TO_CERTAIN)
    # XGBoost calls `logf` of the C library too; no other logarithm equals it in every last bit.
    logf = ctypes.CDLL(None).logf
    logf.restype = ctypes.c_float
    logf.argtypes = [ctypes.c_float]
    return -float(logf(float(np.float32(1) / base - np.float32(1))))


def _tree(tree: JsonMapping) -> Tree:
    try:
        left = np.array(tree["left_children"], np.int64)
        right = np.array(tree["right_children"], np.int64)
        conditions = np.array(tree["split_conditions"], np.float64).astype(np.float32)
        split_inputs = np.array(tree["split_indices"], np.int64)
        default_left = np.array(tree["default_left"], np.int64) != 0
        sets = _sets(tree, default_left)
    except (KeyError, ValueError, TypeError) as error:
        raise RegistryError(f"a tree of the model lacks {error}; {_SAVE}") from error
    left = np.where(left < 0, LEAF, left)
    # A condition of -inf is never true, which no `<=` expresses. With swapped children every value passes the highest
    # threshold instead.
    is_never = (conditions == -np.inf) & (left != LEAF)
    left, right = np.where(is_never, right, left), np.where(is_never, left, right)
    ways = np.where(default_left != is_never, ABSENT_LEFT, ABSENT_RIGHT).astype(np.int64)
    # For single floats `x < t` equals `x <=` the float below t.
    with np.errstate(over="ignore", under="ignore"):
        below = np.where(is_never, np.inf, np.nextafter(conditions, np.float32(-np.inf)).astype(np.float64))
    return Tree(left, right, split_inputs, below, ways, conditions.astype(np.float64), sets)


def _sets(tree: JsonMapping, default_left: Any) -> dict[int, CategorySet]:
    """Return the sets of a tree; their members go right."""
    codes = np.array(tree.get("categories", ()), np.int64)
    sets = {}
    for node, first, size in zip(
        tree.get("categories_nodes", ()),
        tree.get("categories_segments", ()),
        tree.get("categories_sizes", ()),
        strict=True,
    ):
        sets[int(node)] = CategorySet(
            codes[first : first + size], are_left=False, is_missing_left=bool(default_left[node])
        )
    return sets
