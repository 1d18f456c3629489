"""Trees of an ONNX operator, node by node, for all operator versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from shroff.errors import UsageError
from shroff.json_types import JsonMapping
from shroff.plugins.values import FrozenStruct

_MODES_5 = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER")
_LEAF = "LEAF"
_SIDES = ("true", "false")
_BROKEN = "convert the model again from the program that it is of"


class OnnxTree(FrozenStruct):
    """One tree. Its root is node 0, and each list has an entry for each node.

    Args:
        modes: Comparison of a node, or LEAF.
        columns: Column that a node compares.
        values: Value that it is compared with; for BRANCH_MEMBER a tuple of values.
        true, false: Next node if the comparison is true, and if it is false.
        tracks_true: Whether missing values go to the node of `true`.
        weights: For a leaf, what it adds to each target.
    """

    modes: list[str]
    columns: list[int]
    values: list[Any]
    true: list[int]
    false: list[int]
    tracks_true: list[bool]
    weights: list[dict[int, float]]

    def leaves(self) -> Iterator[int]:
        return (node for node, mode in enumerate(self.modes) if mode == _LEAF)

    def targets(self) -> set[int]:
        return {target for weight in self.weights for target in weight}

    def children(self, node: int, *, is_true: bool) -> int:
        return self.true[node] if is_true else self.false[node]

    def members(self, node: int) -> tuple[int, ...]:
        value = self.values[node]
        numbers = value if isinstance(value, tuple) else (value,)
        if any(not (0 <= member < 2**31 and float(member).is_integer()) for member in numbers):
            raise UsageError(
                f"it compares column {self.columns[node]} with {numbers[0]:g} for equality, which is not a category"
            )
        return tuple(sorted({int(member) for member in numbers}))


def trees_of(node_attributes: JsonMapping) -> list[OnnxTree]:
    """Return the trees of a TreeEnsembleClassifier or TreeEnsembleRegressor.

    Raises: UsageError if thresholds are in double precision, or links do not form a tree.
    """
    if doubles := [
        key for key in node_attributes if key.endswith("_as_tensor") and node_attributes[key].dtype == np.float64
    ]:
        raise UsageError(
            f"its {doubles[0].removesuffix('_as_tensor')} are of double precision; convert it with inputs of single"
            " precision (FloatTensorType)"
        )
    kind = "class" if "class_ids" in node_attributes else "target"
    values = _list(node_attributes, "nodes_values")
    keys = ("nodes_treeids", "nodes_nodeids", "nodes_modes", "nodes_featureids", "nodes_truenodeids")
    nodes = [list(node_attributes.get(key, ())) for key in (*keys, "nodes_falsenodeids")]
    tracks = list(node_attributes.get("nodes_missing_value_tracks_true", ())) or [0] * len(values)
    if len({len(values), len(tracks), *map(len, nodes)}) != 1:
        raise UsageError(f"its lists of nodes have different lengths; {_BROKEN}")
    rows: dict[int, dict[int, tuple[Any, ...]]] = {}
    for tree, node, *other_parts in zip(*nodes, values, tracks, strict=True):
        rows.setdefault(int(tree), {})[int(node)] = tuple(other_parts)
    weights: dict[tuple[int, int], dict[int, float]] = {}
    listed = (list(node_attributes.get(f"{kind}_{key}", ())) for key in ("treeids", "nodeids", "ids"))
    for tree, node, target, weight in zip(*listed, _list(node_attributes, f"{kind}_weights"), strict=False):
        leaf_weights = weights.setdefault((int(tree), int(node)), {})
        leaf_weights[int(target)] = leaf_weights.get(int(target), 0.0) + float(weight)
    return [_tree(number, nodes_of, weights) for number, nodes_of in rows.items()]


def _list(node_attributes: JsonMapping, key: str) -> list[float]:
    if f"{key}_as_tensor" in node_attributes:
        return [float(number) for number in node_attributes[f"{key}_as_tensor"].ravel()]
    return [float(number) for number in node_attributes.get(key, ())]


def _tree(
    number: int, rows: Mapping[int, tuple[Any, ...]], weights: Mapping[tuple[int, int], dict[int, float]]
) -> OnnxTree:
    """Return a tree with its root first, from nodes with any numbers.

    Each row has mode, column, true, false, value, and whether missing values go to true.

    Raises: UsageError if the links do not form a tree.
    """
    inner = {node for node, row in rows.items() if row[0] != _LEAF}
    below = [int(child) for node in inner for child in rows[node][2:4]]
    roots = sorted(rows.keys() - set(below))
    order = roots[:1]
    # This ends, as each node is the child of at most one node, and the root of none.
    if len(set(below)) == len(below) and rows.keys() >= set(below):
        for node in order:
            order += [int(child) for child in rows[node][2:4]] if node in inner else []
    if len(order) != len(rows):
        raise UsageError(f"tree {number} of it has links that do not form a tree; {_BROKEN}")
    index_of = {node: index for index, node in enumerate(order)}
    if any(not np.all(np.isfinite(rows[node][4])) for node in inner):
        raise UsageError(f"tree {number} of it has a threshold that is not a number; {_BROKEN}")
    return OnnxTree(
        [str(rows[node][0]) for node in order],
        [int(rows[node][1]) for node in order],
        [rows[node][4] for node in order],
        [index_of[int(rows[node][2])] if node in inner else -1 for node in order],
        [index_of[int(rows[node][3])] if node in inner else -1 for node in order],
        [bool(rows[node][5]) for node in order],
        [weights.get((number, node), {}) if node not in inner else {} for node in order],
    )


def trees_of_5(node_attributes: JsonMapping) -> list[OnnxTree]:
    """Return the trees of a TreeEnsemble of version 5, which lists leaves apart and all member sets in one list.

    Raises: UsageError as `trees_of`.
    """
    splits = np.asarray(node_attributes["nodes_splits"])
    weights = np.asarray(node_attributes["leaf_weights"])
    if splits.dtype == np.float64:
        raise UsageError(
            "its nodes_splits are of double precision; convert it with inputs of single precision (FloatTensorType)"
        )
    modes = [_MODES_5[int(number)] for number in np.asarray(node_attributes["nodes_modes"]).ravel()]
    members = _member_sets(modes, np.asarray(node_attributes.get("membership_values", ())).ravel())
    columns = node_attributes["nodes_featureids"]
    targets = node_attributes["leaf_targetids"]
    tracks = list(node_attributes.get("nodes_missing_value_tracks_true", ())) or [0] * len(modes)

    def tree(number: int, root: int) -> OnnxTree:
        """Return the tree of a root, with nodes numbered as they are reached, and a leaf for each link to one."""
        rows: dict[int, tuple[Any, ...]] = {}
        weights_of: dict[tuple[int, int], dict[int, float]] = {}
        pending = [(root, False)]
        count = 1
        for node, (index, is_leaf) in enumerate(pending):
            if index < 0 or node > 2 * len(modes):
                raise UsageError(f"tree {number} of it has links that do not form a tree; {_BROKEN}")
            if is_leaf:
                rows[node] = (_LEAF, 0, 0, 0, 0.0, False)
                weights_of[number, node] = {int(targets[index]): float(weights[index])}
                continue
            value = members.get(index, float(splits[index]))
            rows[node] = (modes[index], int(columns[index]), count, count + 1, value, bool(tracks[index]))
            pending += [
                (int(node_attributes[f"nodes_{key}nodeids"][index]), bool(node_attributes[f"nodes_{key}leafs"][index]))
                for key in _SIDES
            ]
            count += 2
        return _tree(number, rows, weights_of)

    try:
        return [tree(number, int(root)) for number, root in enumerate(node_attributes["tree_roots"])]
    except IndexError:
        raise UsageError(f"it has links that do not form a tree; {_BROKEN}") from None


def _member_sets(modes: Sequence[str], values: Any) -> dict[int, tuple[float, ...]]:
    """Return the member set of each BRANCH_MEMBER node. `values` has the sets in node order, each ended by NaN."""
    runs: list[list[float]] = [[]]
    for value in values.tolist():
        if np.isnan(value):
            runs.append([])
        else:
            runs[-1].append(value)
    nodes = [index for index, mode in enumerate(modes) if mode == "BRANCH_MEMBER"]
    return {index: tuple(run) for index, run in zip(nodes, runs, strict=False)}
