"""Convert ONNX models: trees to XGBoost's JSON, linear models to shroff's own, so that scoring needs no ONNX library.

Like onnxruntime, the converted trees compare in single precision, and add the leaves in single precision, tree by tree,
and the base value last. So their margins equal those of onnxruntime on one thread to the bit. A linear model is summed
here in double precision from left to right, and in onnxruntime in single precision in its own order. Their difference
is about `LINEAR_BOUND` times the number of inputs, times the sum of the terms' absolute values, at most.

`told` are the attributes of the model's node, `outside` the operators around it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from shroff.errors import UsageError
from shroff.json_types import JsonMapping, JsonObject
from shroff.plugins.models import (
    LEAF,
    LOG_ODDS,
    LOGISTIC,
    NUMBER,
    NUMBER_KIND,
    PROBABILITY,
    XGBOOST,
    Foreign,
    refuse_width,
)
from shroff.plugins.values import Bools, Floats, Floats32, FrozenStruct, Ints
from shroff_plugins.foreign_models.onnx_graph import (
    LINEAR,
    GraphPath,
    OperatorsAround,
    around,
    attributes,
    last_passing,
    model_of,
)
from shroff_plugins.foreign_models.onnx_trees import OnnxTree, trees_of, trees_of_5
from shroff_plugins.foreign_models.trees_written import WrittenTree, covered, written

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

LINEAR_BOUND = 2.0**-23
_NODES_MAX = 5_000_000


class _Scores(FrozenStruct):
    weights: Mapping[int, float]  # factor of each of ONNX's targets in the margin
    start: float
    gives: str
    remark: str = ""


def read_onnx(data: bytes) -> Foreign:
    """Convert the model of an ONNX file.

    Raises: UsageError if the extra `onnx` is not installed, the file is no ONNX, or an operator, which the message
        names, cannot be converted with the same scores.
    """
    model = _parse(data)
    node = model_of(model.graph)
    node_attributes = attributes(node)
    width = _width_of(node, node_attributes)
    refuse_width(width)
    outside = around(model.graph, node, width)
    if node.op_type in LINEAR:
        return _linear(node, node_attributes, outside, data)
    return _trees(node, node_attributes, outside, data)


def _parse(data: bytes) -> ModelProto:
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        raise UsageError(
            "ONNX is read by the package onnx, which is not installed. Install it with pip install 'shroff[onnx]';"
            " scoring does not need it"
        ) from None
    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError:
        raise UsageError("it is not a complete ONNX file; copy it again, or save it again") from None
    if not model.graph.node:
        raise UsageError("it is not an ONNX file, or one without a graph; save it again")
    return model


def _width_of(node: NodeProto, node_attributes: JsonMapping) -> int:
    if node.op_type in LINEAR:
        rows = max(len(node_attributes.get("intercepts", ())), int(node_attributes.get("targets", 1)), 1)
        return len(node_attributes.get("coefficients", ())) // rows
    return 1 + max((int(number) for number in node_attributes.get("nodes_featureids", ())), default=0)


# ---- trees


def _trees(node: NodeProto, node_attributes: JsonMapping, outside: OperatorsAround, data: bytes) -> Foreign:
    trees = trees_of_5(node_attributes) if node.op_type == "TreeEnsemble" else trees_of(node_attributes)
    if not trees:
        raise UsageError("it has no trees; train it first")
    if sum(len(tree.modes) for tree in trees) > _NODES_MAX:
        raise UsageError(f"it has more than {_NODES_MAX:,} nodes; train fewer trees, or shallower ones")
    scores = _scores_of_trees(node, node_attributes, outside, trees)
    sets = _sets_of(trees, outside.ways)
    count = outside.count
    written_trees = [_as_xgboost(tree, scores, outside.ways, sets) for tree in trees]
    body = written(written_trees, scores.start, count, is_log_odds=scores.gives == LOG_ODDS)
    return Foreign(
        f"ONNX ({node.op_type})",
        XGBOOST,
        body,
        count,
        outside.names,
        dict.fromkeys(sorted({outside.ways[column].place for column in sets})),
        scores.gives,
        np.zeros(count),
        len(trees),
        parameters={"objective": scores.gives, "operator": node.op_type},
        kept={"source.onnx": data},
        remarks=(scores.remark,) if scores.remark else (),
        with_covers=partial(covered, body),
    )


def _scores_of_trees(
    node: NodeProto, node_attributes: JsonMapping, outside: OperatorsAround, trees: Sequence[OnnxTree]
) -> _Scores:
    post = _post_transform(node_attributes, outside)
    bases = [float(number) for number in node_attributes.get("base_values", ())]
    if node_attributes.get("base_values_as_tensor") is not None:
        bases = [float(number) for number in node_attributes["base_values_as_tensor"].ravel()]
    if node.op_type != "TreeEnsembleClassifier":
        share = 1.0
        how = node_attributes.get("aggregate_function", "SUM")
        if how in {"AVERAGE", 0}:
            share = 1.0 / len(trees)
        elif how not in {"SUM", 1}:
            raise UsageError(f"it takes the {how} of its trees, and only sums are scored; train it so that they add up")
        if int(node_attributes.get("n_targets", 1)) != 1:
            raise UsageError(f"it has {node_attributes['n_targets']} targets; train it on one, fraud or not")
        start = bases[0] if bases else 0.0
        return _Scores({0: share}, start, LOG_ODDS if post == "LOGISTIC" else NUMBER)
    labels = _labels(node_attributes)
    ids = {target for tree in trees for target in tree.targets()}
    remark = f"Its second class, {labels[1]!r}, counts as fraud."
    weights = [weight for tree in trees for weights in tree.weights for weight in weights.values()]
    if len(ids) == 1:
        start = bases[-1] if bases else 0.0
        is_positive = min(weights) >= 0 and not any(bases)
        if post == "LOGISTIC" and is_positive:
            raise UsageError(
                "its leaves are all above 0 and go through LOGISTIC, which onnxruntime leaves out then: its scores are"
                " not what they say; import the model in its own library's format"
            )
        gives = PROBABILITY if is_positive else NUMBER
        if post in {"LOGISTIC", "SOFTMAX"}:
            gives = LOG_ODDS
        return _Scores({next(iter(ids)): 1.0}, start, gives, remark)
    if post == "SOFTMAX":
        start = bases[1] - bases[0] if len(bases) == 2 else 0.0
        return _Scores({1: 1.0, 0: -1.0}, start, LOG_ODDS, remark)
    start = bases[1] if len(bases) == 2 else 0.0
    gives = PROBABILITY if min(weights) >= 0 else NUMBER
    if post == "LOGISTIC":
        gives = LOG_ODDS
    return _Scores({1: 1.0}, start, gives, remark)


def _post_transform(node_attributes: JsonMapping, outside: OperatorsAround) -> str:
    names = {0: "NONE", 1: "SOFTMAX", 2: "LOGISTIC", 3: "SOFTMAX_ZERO", 4: "PROBIT"}
    declared = node_attributes.get("post_transform", "NONE")
    post = names.get(declared, str(declared)) if isinstance(declared, int) else str(declared)
    if post not in {"NONE", "LOGISTIC", "SOFTMAX"}:
        raise UsageError(
            f"its scores go through {post}, and only LOGISTIC and SOFTMAX are scored; convert it with these"
        )
    if outside.has_sigmoid and post != "NONE":
        raise UsageError(f"its scores go through {post} and a sigmoid behind it; convert it with one of them")
    return "LOGISTIC" if outside.has_sigmoid else post


def _labels(node_attributes: JsonMapping) -> list[Any]:
    label_lists = (node_attributes.get(f"classlabels_{kind}") for kind in ("int64s", "ints", "strings"))
    labels: list[Any] = next((list(label_list) for label_list in label_lists if label_list), [0, 1])
    if len(labels) != 2:
        raise UsageError(
            f"it has {len(labels)} classes ({', '.join(map(str, labels[:5]))}); train it on two, fraud or not"
        )
    return labels


def _sets_of(trees: Sequence[OnnxTree], ways: Sequence[GraphPath]) -> frozenset[int]:
    """Return the columns that are compared for equality, whose inputs are categories.

    Raises: UsageError if a column is also compared for order, or calculated before the comparison.
    """
    comparisons = {pair for tree in trees for pair in zip(tree.columns, tree.modes, strict=True)}
    is_set, is_cut = ({column for column, mode in comparisons if mode in modes} for modes in (_SETS, _CUTS))
    if both := sorted(is_set & is_cut):
        raise UsageError(f"it compares column {both[0]} both for equality and for order; train it on categories apart")
    if stepped := [column for column in sorted(is_set) if ways[column].steps]:
        raise UsageError(
            f"it computes with column {stepped[0]} and compares it for equality; convert it without that step"
        )
    return frozenset(is_set)


_SETS = frozenset(["BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER"])
_CUTS = frozenset(["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GT", "BRANCH_GTE"])


def _as_xgboost(tree: OnnxTree, scores: _Scores, ways: Sequence[GraphPath], sets: frozenset[int]) -> WrittenTree:
    """Convert a tree to XGBoost's layout, in which a row goes left if its value is below the node's condition."""
    size = len(tree.modes)
    left = np.full(size, LEAF)
    right = np.full(size, LEAF)
    inputs = np.zeros(size, np.int64)
    conditions = np.zeros(size, np.float32)
    default_left = np.zeros(size, np.bool_)
    members: dict[int, tuple[int, ...]] = {}
    for node in tree.leaves():
        total = np.float32(0)
        for target, weight in tree.weights[node].items():
            total += np.float32(np.float32(weight) * np.float32(scores.weights.get(target, 0.0)))
        conditions[node] = total
    for column in sorted({column for column, mode in zip(tree.columns, tree.modes, strict=True) if mode != "LEAF"}):
        column_nodes = np.array(
            [index for index in range(size) if tree.modes[index] != "LEAF" and tree.columns[index] == column]
        )
        inputs[column_nodes] = ways[column].place
        if column in sets:
            for node in column_nodes.tolist():
                is_equal = tree.modes[node] != "BRANCH_NEQ"
                inside = tree.children(node, is_true=is_equal)
                outside = tree.children(node, is_true=not is_equal)
                left[node] = outside
                right[node] = inside
                members[node] = tree.members(node)
                # A missing value is unequal to every value.
                default_left[node] = not (is_equal and tree.tracks_true[node])
            continue
        for mode in sorted({tree.modes[index] for index in column_nodes.tolist()}):
            nodes = np.array([index for index in column_nodes.tolist() if tree.modes[index] == mode])
            converted = _cut(ways[column], tree, nodes, mode)
            left[nodes], right[nodes], conditions[nodes], default_left[nodes] = converted
    return WrittenTree(left, right, inputs, conditions, default_left, members)


def _cut(way: GraphPath, tree: OnnxTree, nodes: Ints, mode: str) -> tuple[Ints, Ints, Floats32, Bools]:
    """Convert the nodes of one column and mode; return left, right, condition, and whether missing values go left."""
    thresholds = np.array([tree.values[node] for node in nodes.tolist()], np.float32)
    is_strict = mode in {"BRANCH_LT", "BRANCH_GTE"}
    is_below = mode in {"BRANCH_LT", "BRANCH_LEQ"}
    last = last_passing(way, thresholds, is_strict=is_strict, is_down=way.is_rising)
    # Inputs up to `last` pass below the threshold if the steps rise, else above it.
    goes_true = is_below == way.is_rising
    left = np.array([tree.children(node, is_true=goes_true) for node in nodes.tolist()])
    right = np.array([tree.children(node, is_true=not goes_true) for node in nodes.tolist()])
    imputed = way.imputed
    if imputed is None:
        # No comparison with a missing value is true.
        missing_true = np.array([tree.tracks_true[node] for node in nodes.tolist()], np.bool_)
    else:
        is_low = imputed < thresholds if is_strict else imputed <= thresholds
        missing_true = is_low == is_below
    default_left = missing_true == goes_true
    with np.errstate(over="ignore", under="ignore"):
        conditions = np.nextafter(last, np.float32(np.inf))
    return left, right, conditions, default_left


# ---- linear models


def _linear(node: NodeProto, node_attributes: JsonMapping, outside: OperatorsAround, data: bytes) -> Foreign:
    coefficients = np.array(node_attributes["coefficients"], np.float64)
    intercepts = np.array(node_attributes.get("intercepts", ()), np.float64)
    post = _post_transform(node_attributes, outside)
    remarks = []
    if node.op_type == "LinearClassifier":
        labels = _labels(node_attributes)
        remarks.append(f"Its second class, {labels[1]!r}, counts as fraud.")
        rows = max(len(intercepts), 1)
        if rows not in {1, 2}:
            raise UsageError(f"it has {rows} classes; train it on two, fraud or not")
    elif int(node_attributes.get("targets", 1)) != 1:
        raise UsageError(f"it has {node_attributes['targets']} targets; train it on one, fraud or not")
    else:
        rows = 1
    matrix = coefficients.reshape(rows, -1)
    intercepts = intercepts if len(intercepts) == rows else np.zeros(rows)
    if rows == 2 and post == "SOFTMAX":
        weights = matrix[1] - matrix[0]
        start = float(intercepts[1] - intercepts[0])
    else:
        weights = matrix[-1]
        start = float(intercepts[-1])
    is_opposite = rows == 2 and np.array_equal(matrix[0], -matrix[1]) and intercepts[0] == -intercepts[1]
    if outside.is_normalized and post == "LOGISTIC" and rows == 2 and not is_opposite:
        raise UsageError("it makes the scores of two regressions sum to 1; train one regression of fraud or not")
    gives = LOG_ODDS if post in {"LOGISTIC", "SOFTMAX"} else NUMBER
    document, lacks_missing = _regression(weights, start, outside)
    if lacks_missing:
        remarks.append("A missing value, for which the model itself has no score, adds nothing to the margin.")
    return Foreign(
        f"ONNX ({node.op_type})",
        LOGISTIC,
        json.dumps(document, indent=1).encode(),
        outside.count,
        outside.names,
        {},
        gives,
        np.zeros(outside.count),
        0,
        parameters={"objective": gives, "operator": node.op_type},
        kept={"source.onnx": data},
        remarks=tuple(remarks),
    )


def _regression(weights: Floats, start: float, outside: OperatorsAround) -> tuple[JsonObject, bool]:
    """Return the regression as `models.trees.linear` reads it, and whether the model lacks a score for missing values.

    Raises: UsageError if the numbers of columns differ.
    """
    if len(weights) != len(outside.ways):
        raise UsageError(
            f"its model reads {len(weights)} columns, and {len(outside.ways)} come to it; convert it again"
        )
    by_input = np.zeros(outside.count)
    missing = np.zeros(outside.count)
    lacks_missing = False
    for weight, way in zip(weights.tolist(), outside.ways, strict=True):
        factor, addend = way.affine()
        by_input[way.place] += weight * factor
        start += weight * addend
        imputed = way.imputed
        if imputed is None:
            lacks_missing = True
        else:
            missing[way.place] += weight * (float(imputed) - addend)
    inputs = [
        {"kind": NUMBER_KIND, "mean": 0.0, "scale": 1.0, "weight": weight, "missing": absent}
        for weight, absent in zip(by_input.tolist(), missing.tolist(), strict=True)
    ]
    return {"format": LOGISTIC, "version": 1, "start": start, "inputs": inputs}, lacks_missing
