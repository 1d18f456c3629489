"""LightGBM's text format as a forest, with margins equal to those of `lightgbm.Booster.predict(..., raw_score=True)`.

LightGBM computes in double precision, and a row goes left if `value <= threshold`. Each node states its treatment of
missing values: as 0, or, if training set missing values or zeros apart, to its default side. Values closer to 0 than
1e-35 are 0. A node that tests a category sends its members left, all others and missing ones right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from shroff.arrays import Ints
from shroff.errors import RegistryError
from shroff.json_types import TextDict, TextMapping
from shroff.models.model import InputColumn
from shroff.models.trees.forest import CategorySet, Forest, Precision, Tree, check_inputs, forest_of
from shroff.models.trees.layout import ABSENT_LEFT, ABSENT_RIGHT, ABSENT_ZERO, ZERO_LEFT, ZERO_RIGHT

_SAVE = 'save it with booster.save_model("model.txt")'
_OBJECTIVES = ("binary sigmoid:1", "cross_entropy")
# values below count as 0: 1e-35 in single precision
_ARITHMETIC = Precision(is_single_input=False, is_single_sum=False, zero_below=float(np.float32(1e-35)))
# Bits of a node's `decision_type`.
_IS_SET = 1
_DEFAULT_LEFT = 2
_MISSING_SHIFT = 2
_MISSING_IS_NONE, _MISSING_IS_ZERO, _MISSING_IS_NAN = range(3)


def forest_of_lightgbm(data: bytes, inputs: Sequence[InputColumn], *, best_iteration: int | None = None) -> Forest:
    """Parse a model in LightGBM's text format.

    Args:
        inputs: In the order of the model's features.
        best_iteration: Last round to use, from 0; None for all. (LightGBM itself counts from 1.)

    Raises: RegistryError if the data is no such model, has several classes, linear leaves or averaged trees, or reads
    other inputs.
    """
    head, *blocks = _blocks(data)
    _check_head(head, inputs)
    if best_iteration is not None:
        if not 0 <= best_iteration < len(blocks):
            raise RegistryError(
                f"the manifest says best_iteration {best_iteration}, and the model has {len(blocks)} trees"
            )
        blocks = blocks[: best_iteration + 1]
    try:
        trees = [_tree(block) for block in blocks]
    except (KeyError, ValueError, IndexError) as error:
        raise RegistryError(f"a tree of the model lacks {error}; {_SAVE}") from error
    return forest_of(trees, 0.0, _ARITHMETIC, inputs)


def _blocks(data: bytes) -> Iterator[TextDict]:
    text = data.decode("utf-8", "replace").replace("\r\n", "\n")
    body, separator, _ = text.partition("\nend of trees")
    if not (text.startswith("tree\n") and separator):
        raise RegistryError(f"the model is not what LightGBM writes as text; {_SAVE}")
    for block in body.split("\nTree="):
        yield dict(line.partition("=")[::2] for line in block.splitlines())


def _check_head(head: TextMapping, inputs: Sequence[InputColumn]) -> None:
    objective = head.get("objective", "")
    if head.get("num_class") != "1" or head.get("num_tree_per_iteration") != "1":
        raise RegistryError("the model has several classes; train it on one, fraud or not")
    if objective not in _OBJECTIVES:
        raise RegistryError(
            f"the model's objective is {objective!r}; supported objectives are {' or '.join(map(repr, _OBJECTIVES))}"
        )
    if "average_output" in head:
        raise RegistryError("the model is LightGBM's averaged forest (boosting=rf); train it with boosting=gbdt")
    check_inputs(int(head.get("max_feature_idx", -1)) + 1, head.get("feature_names", "").split(), inputs)


def _tree(block: TextMapping) -> Tree:
    """Parse a tree: inner nodes as in the file, then its leaves, which the file numbers from -1 down."""
    if block.get("is_linear", "0") != "0":
        raise RegistryError("the model has linear leaves (linear_tree); train it without them")
    leaves = _floats(block["leaf_value"])
    inner = len(leaves) - 1
    none = np.zeros(len(leaves), np.int64)
    if inner == 0:
        return Tree(none - 1, none, none, np.zeros(1), none, leaves)
    decisions = _words(block["decision_type"])
    thresholds = _floats(block["threshold"])
    left, right = (_places(_words(block[key]), inner) for key in ("left_child", "right_child"))
    split_inputs = _words(block["split_feature"])
    sets = {
        int(node): CategorySet(_members(block, int(thresholds[node])), are_left=True, is_missing_left=False)
        for node in np.flatnonzero(decisions & _IS_SET)
    }
    return Tree(
        np.concatenate((left, none - 1)),
        np.concatenate((right, none - 1)),
        np.concatenate((split_inputs, none)),
        np.concatenate((thresholds, np.zeros(len(leaves)))),
        np.concatenate((_ways(decisions), none)),
        np.concatenate((np.zeros(inner), leaves)),
        sets,
    )


def _places(links: Ints, inner: int) -> Ints:
    return np.where(links < 0, inner + ~links, links)


def _ways(decisions: Ints) -> Ints:
    is_left = decisions & _DEFAULT_LEFT != 0
    kinds = (decisions >> _MISSING_SHIFT) & 3
    ways = np.full(len(decisions), ABSENT_ZERO, np.int64)
    ways = np.where(kinds == _MISSING_IS_NAN, np.where(is_left, ABSENT_LEFT, ABSENT_RIGHT), ways)
    return np.where(kinds == _MISSING_IS_ZERO, np.where(is_left, ZERO_LEFT, ZERO_RIGHT), ways)


def _members(block: TextMapping, index: int) -> Ints:
    bounds = _words(block["cat_boundaries"])
    bit_words = _words(block["cat_threshold"])[bounds[index] : bounds[index + 1]].astype("<u4")
    return np.flatnonzero(np.unpackbits(bit_words.view(np.uint8), bitorder="little")).astype(np.int64)


def _words(text: str) -> Ints:
    return np.array(text.split(), np.int64)


def _floats(text: str) -> Any:
    return np.array(text.split(), np.float64)
