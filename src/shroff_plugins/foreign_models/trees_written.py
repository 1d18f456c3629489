"""Write trees of other formats as XGBoost's JSON, so that one reader scores and explains all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import field

from shroff.json_types import JsonMapping, JsonObject
from shroff.plugins.models import LEAF
from shroff.plugins.values import Bools, Floats, Floats32, FrozenStruct, Ints

# Version of the written format: XGBoost 3.0, which every later version reads.
_VERSION = (3, 0, 0)


class WrittenTree(FrozenStruct):
    """A tree in XGBoost's layout. Node 0 is the root, and each array has an entry for each node.

    Args:
        left, right: Children of a node, or LEAF.
        inputs: Input that a node compares.
        conditions: Threshold below which a row goes left; for a leaf, what it adds.
        default_left: Whether a missing value goes left.
        sets: By node, the categories that go right; such a node has no threshold.
    """

    left: Ints
    right: Ints
    inputs: Ints
    conditions: Floats32
    default_left: Bools
    sets: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


def written(trees: Sequence[WrittenTree], start: float, count: int, *, is_log_odds: bool) -> bytes:
    """Write the trees as the JSON of a model of `count` features.

    The margin of a row is the sum of its leaves in the order of the trees, and `start` last, in single precision.
    """
    leaf = np.full(1, LEAF)
    none = np.zeros(1, np.int64)
    last = WrittenTree(leaf, leaf, none, np.full(1, start, np.float32), np.zeros(1, np.bool_))
    listed = [_tree(_level_order(tree), number, count) for number, tree in enumerate((*trees, last))]
    document = {
        "learner": {
            "attributes": {},
            "feature_names": [],
            "feature_types": [],
            "gradient_booster": {
                "model": {
                    "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(len(listed))},
                    "iteration_indptr": list(range(len(listed) + 1)),
                    "tree_info": [0] * len(listed),
                    "trees": listed,
                },
                "name": "gbtree",
            },
            "learner_model_param": {
                "base_score": "0E0",
                "boost_from_average": "0",
                "num_class": "0",
                "num_feature": str(count),
                "num_target": "1",
            },
            "objective": {
                "name": "binary:logitraw" if is_log_odds else "reg:squarederror",
                "reg_loss_param": {"scale_pos_weight": "1"},
            },
        },
        "version": list(_VERSION),
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _level_order(tree: WrittenTree) -> WrittenTree:
    """Return the tree in level order, since XGBoost expects the right child directly after the left one."""
    order = [0]
    position = 0
    while position < len(order):
        node = order[position]
        if tree.left[node] != LEAF:
            order += [int(tree.left[node]), int(tree.right[node])]
        position += 1
    index_of = np.full(len(tree.left) + 1, LEAF)  # LEAF is also the last place
    index_of[order] = np.arange(len(order))
    return WrittenTree(
        index_of[tree.left[order]],
        index_of[tree.right[order]],
        tree.inputs[order],
        tree.conditions[order],
        tree.default_left[order],
        {int(index_of[node]): members for node, members in tree.sets.items()},
    )


def _tree(tree: WrittenTree, number: int, count: int) -> JsonObject:
    size = len(tree.left)
    parents = np.full(size, 2**31 - 1)  # XGBoost's mark of a root
    inner = np.flatnonzero(tree.left != LEAF)
    parents[tree.left[inner]] = inner
    parents[tree.right[inner]] = inner
    nodes = sorted(tree.sets)
    members = [sorted(tree.sets[node]) for node in nodes]
    sizes = [len(member) for member in members]
    return {
        "base_weights": [0.0] * size,
        "categories": [code for member in members for code in member],
        "categories_nodes": nodes,
        "categories_segments": [sum(sizes[:index]) for index in range(len(sizes))],
        "categories_sizes": sizes,
        "default_left": tree.default_left.astype(int).tolist(),
        "id": number,
        "left_children": tree.left.tolist(),
        "loss_changes": [0.0] * size,
        "parents": parents.tolist(),
        "right_children": tree.right.tolist(),
        "split_conditions": tree.conditions.astype(np.float64).tolist(),
        "split_indices": tree.inputs.tolist(),
        "split_type": [int(node in tree.sets) for node in range(size)],
        # Number of leaves below each node
        "sum_hessian": _sums(tree.left, tree.right, np.ones(len(tree.left))).tolist(),
        "tree_param": {"num_deleted": "0", "num_feature": str(count), "num_nodes": str(size), "size_leaf_vector": "1"},
    }


def covered(data: bytes, columns: Floats) -> bytes:
    """Return the model with the number of rows that reach each node, which contributions need.

    Each leaf counts one row more, so that none is empty.

    Args:
        columns: A row for each input and a column for each row, as models read them.

    Cost: about 0.1 us for each row, tree and level.
    """
    document = json.loads(data)
    singles = columns.astype(np.float32)
    for tree in document["learner"]["gradient_booster"]["model"]["trees"]:
        tree["sum_hessian"] = _covers(tree, singles).tolist()
    return json.dumps(document, separators=(",", ":")).encode()


def _covers(tree: JsonMapping, columns: Floats32) -> Floats:
    left = np.array(tree["left_children"], np.int64)
    right = np.array(tree["right_children"], np.int64)
    conditions = np.array(tree["split_conditions"], np.float64).astype(np.float32)
    split_inputs = np.array(tree["split_indices"], np.int64)
    default_left = np.array(tree["default_left"], np.int64) != 0
    sets = {
        int(node): tree["categories"][first : first + size]
        for node, first, size in zip(
            tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True
        )
    }
    counts = np.ones(len(left))
    pending = [(0, np.arange(columns.shape[1]))]
    while pending:
        node, rows = pending.pop()
        if left[node] == LEAF:
            counts[node] += len(rows)
            continue
        values = columns[split_inputs[node], rows]
        goes_left = ~np.isin(values, sets[node]) if node in sets else values < conditions[node]
        goes_left = np.where(np.isnan(values), default_left[node], goes_left)
        pending += [(int(left[node]), rows[goes_left]), (int(right[node]), rows[~goes_left])]
    return _sums(left, right, counts)


def _sums(left_children: Ints, right_children: Ints, of_leaves: Floats) -> Floats:
    sums = np.where(left_children == LEAF, of_leaves, 0.0)
    order = []
    pending = [0]
    while pending:
        node = pending.pop()
        if left_children[node] != LEAF:
            order.append(node)
            pending += [int(left_children[node]), int(right_children[node])]
    for node in reversed(order):
        sums[node] = sums[left_children[node]] + sums[right_children[node]]
    return sums
