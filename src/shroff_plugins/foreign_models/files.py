"""Read foreign model files: recognize the format, and find the inputs, categories and gains of the model.

Only data formats are read: XGBoost's JSON or UBJSON, LightGBM's text, ONNX. A format that would execute code, or needs
another program, is refused with a remedy.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np

from shroff.errors import RegistryError, UsageError
from shroff.json_types import JsonMapping, TextDict, TextMapping
from shroff.plugins.models import (
    BROKEN,
    LIGHTGBM,
    LOG_ODDS,
    NUMBER,
    XGBOOST,
    Foreign,
    broken,
    refuse_pickle,
    refuse_width,
)
from shroff.plugins.values import Floats

_CODES_MAX = 1 << 20  # a set has a bit for each code up to its highest
_XGBOOST_SAVE = "for XGBoost `booster.save_model('model.json')`"
_LIGHTGBM_SAVE = "for LightGBM `booster.save_model('model.txt')`"
_ONNX_SAVE = "for scikit-learn and others ONNX, by skl2onnx or onnxmltools"
_FORMATS = f"Import XGBoost's JSON or UBJSON, LightGBM's text, or ONNX: {_XGBOOST_SAVE}, {_LIGHTGBM_SAVE}"
# Files that cannot be imported: their first bytes, what they are, and a remedy
_OTHERS = (
    (b"CBM1", "CatBoost's own format", "Save it with `model.save_model('model.onnx', format='onnx')`"),
    (b"\x89HDF", "HDF5, as Keras writes it", "Neural networks are not supported; import trees or a linear model"),
    (b"PK\x03\x04", "a zip, as torch, Keras and skops write it", f"Save the model itself, {_ONNX_SAVE}"),
    (b"\x1f\x8b", "compressed by gzip", "Unpack it with gunzip"),
    (
        (b"binf", b"bs64"),
        "XGBoost's old binary format",
        f"Load it with the XGBoost that wrote it and save it again, {_XGBOOST_SAVE}",
    ),
    (b"\x93NUMPY", "an array of numpy", _FORMATS),
    (b"<", "XML or PMML", f"Save the model from the program that trained it: {_ONNX_SAVE}"),
    (b"booster[0]:", "XGBoost's dump, which lacks half of the model", f"Save it whole, {_XGBOOST_SAVE}"),
)
_PICKLE_TEXT = (b"ccopy_reg\n", b"c__builtin__\n", b"cxgboost", b"csklearn", b"clightgbm", b"(dp0", b"(lp0")
# Meaning of the margin for each XGBoost objective
_XGBOOST_GIVES = {
    "binary:logistic": LOG_ODDS,
    "reg:logistic": LOG_ODDS,
    "binary:logitraw": LOG_ODDS,
    "reg:squarederror": NUMBER,
}


def read_foreign(name: str, data: bytes, rounds: int | None = None) -> Foreign:
    """Read the model in a file.

    Args:
        name: Name of the file, for messages.
        rounds: Number of boosting rounds to use; by default the number in the file.

    Raises: UsageError with the remedy if the file is no model with one score.
    """
    refuse_pickle(name, data)
    if data.startswith(_PICKLE_TEXT):
        refuse_pickle(f"{name}.pickle", data)
    if not data:
        raise UsageError(f"{name} is empty. {_FORMATS}.")
    for start, description, remedy in _OTHERS:
        if data.startswith(start):
            raise UsageError(f"{name} is {description}, which cannot be imported. {remedy}.")
    try:
        if data.startswith((b"tree\n", b"tree\r\n")):
            return _lightgbm(data, rounds)
        if data[:2] in (b"{L", b"{l", b"{i", b"{U", b"{I", b"{#", b"{$"):
            return _xgboost(_as_json(data), rounds, {"source.ubj": data})
        if data.lstrip()[:1] in (b"{", b"["):
            return _xgboost(data, rounds, {})
        if name.lower().endswith(".onnx") or data[0] == _ONNX_START:
            return _onnx(data, rounds)
    except (RegistryError, UsageError) as error:
        raise UsageError(f"{name}: {str(error).rstrip('.')}.") from error
    except BROKEN as error:
        raise UsageError(f"{name}: {broken(error)}.") from error
    raise UsageError(f"{name} is not a model that can be imported. {_FORMATS}.")


_ONNX_START = 0x08  # the tag of ir_version, the first field of every ONNX file


def _onnx(data: bytes, rounds: int | None) -> Foreign:
    from shroff_plugins.foreign_models.onnx_model import read_onnx  # its library is an extra

    if rounds is not None:
        raise UsageError("an ONNX model has no rounds to choose; leave out the number of rounds")
    return read_onnx(data)


# ---- XGBoost


_READ_S = 120
# The memory limit, 4 GiB, is sixteen times the size of the largest accepted file.
_READER = """
import contextlib, resource, sys, xgboost
with contextlib.suppress(ValueError, OSError):  # a system without it, or one that allows less
    resource.setrlimit(resource.RLIMIT_DATA, (1 << 32, 1 << 32))
booster = xgboost.Booster({"nthread": 1}, model_file=bytearray(sys.stdin.buffer.read()))
sys.stdout.buffer.write(booster.save_raw("json"))
"""


def _as_json(data: bytes) -> bytes:
    """Convert UBJSON to JSON by XGBoost; numbers stay the same to the bit.

    XGBoost runs in a process of its own, as a damaged file can crash it (6 of 100 did), or keep it busy for ever.
    """
    command = [sys.executable, "-P", "-c", _READER]
    try:
        return subprocess.run(command, input=data, capture_output=True, check=True, timeout=_READ_S).stdout  # noqa: S603 - ours
    except subprocess.SubprocessError:
        raise UsageError(f"it is not a complete model in UBJSON; save it again, {_XGBOOST_SAVE}") from None


def _xgboost(data: bytes, rounds: int | None, kept: Mapping[str, bytes]) -> Foreign:
    learner = _learner_of(data)
    objective = learner["objective"]["name"]
    booster = learner["gradient_booster"]
    # XGBoost 3.4 writes DART as a gbtree whose trees have weights
    kind = "dart" if booster.get("model", {}).get("weight_drop") else booster["name"]
    if kind != "gbtree":
        raise UsageError(
            f"it is an XGBoost booster of kind {kind!r}, and only 'gbtree' can be scored: train it with booster=gbtree"
        )
    _refuse_objective(str(objective), learner["learner_model_param"])
    shape = learner["learner_model_param"]
    model = booster["model"]
    count = int(shape["num_feature"])
    trees = model["trees"]
    refuse_width(count)
    _refuse_tangled(trees)
    best, remarks = _rounds_of_xgboost(learner, rounds)
    return Foreign(
        "XGBoost's JSON" if not kept else "XGBoost's UBJSON",
        XGBOOST,
        data,
        count,
        _unnamed_if_default([str(name) for name in learner.get("feature_names") or ()]),
        _categories_of_xgboost(learner, count),
        _XGBOOST_GIVES[objective],
        _gains_of_xgboost(trees, count),
        len(trees),
        best,
        {"objective": objective, "version": ".".join(map(str, json.loads(data).get("version", ())))},
        kept,
        tuple(remarks),
    )


def _unnamed_if_default(names: Sequence[str]) -> tuple[str, ...]:
    is_made_up = all(name in {f"f{index}", f"Column_{index}"} for index, name in enumerate(names))
    return () if is_made_up else tuple(names)


def _learner_of(data: bytes) -> JsonMapping:
    try:
        document = json.loads(data)
    except RecursionError:
        raise UsageError(f"it is JSON nested deeper than any model; save the model again, {_XGBOOST_SAVE}") from None
    except ValueError as error:
        raise UsageError(f"it is broken JSON ({error}); copy it again, or save it again, {_XGBOOST_SAVE}") from None
    if isinstance(document, list) and document and isinstance(document[0], dict) and "nodeid" in document[0]:
        raise UsageError(f"it is XGBoost's dump, which lacks half of the model; save it whole, {_XGBOOST_SAVE}")
    if isinstance(document, dict) and "tree_info" in document:
        raise UsageError(f"it is LightGBM's dump; save the model itself, {_LIGHTGBM_SAVE}")
    if isinstance(document, dict) and "oblivious_trees" in document:
        raise UsageError("it is CatBoost's JSON; save it with `model.save_model('model.onnx', format='onnx')`")
    try:
        learner: JsonMapping = document["learner"]
        booster = learner["gradient_booster"]
        learner["objective"]["name"], int(learner["learner_model_param"]["num_feature"])
        if booster["name"] == "gbtree":
            _ = booster["model"]["trees"][0]["split_indices"], booster["model"]["gbtree_model_param"]
    except IndexError:
        raise UsageError("it has no trees; train it first") from None
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"it is JSON and no model of XGBoost: it lacks {error}; save it, {_XGBOOST_SAVE}") from None
    return learner


def _refuse_objective(objective: str, shape: JsonMapping) -> None:
    if int(shape.get("num_class", 0)) > 1 or int(shape.get("num_target", 1)) > 1 or objective.startswith("multi:"):
        raise UsageError("it has several classes or targets; train it on one, fraud or not (binary:logistic)")
    if objective.startswith("rank:"):
        raise UsageError(
            f"its objective is {objective}: it ranks within groups, and its margins are not comparable between events;"
            " train it with binary:logistic"
        )
    if objective not in _XGBOOST_GIVES:
        supported = ", ".join(_XGBOOST_GIVES)
        raise UsageError(
            f"its objective is {objective}, and supported objectives are {supported}; train it with one of these"
        )


def _rounds_of_xgboost(learner: JsonMapping, rounds: int | None) -> tuple[int | None, list[str]]:
    """Return the index of the last round used, None for all, and a remark about early stopping.

    XGBoost's own `Booster` uses all rounds; its classes for scikit-learn stop at the best one.
    """
    attributes = learner.get("attributes") or {}
    model = learner["gradient_booster"]["model"]
    parallel = max(int(model["gbtree_model_param"].get("num_parallel_tree", 1)), 1)
    round_count = len(model["trees"]) // parallel
    if rounds is not None:
        if not 0 < rounds <= round_count:
            raise UsageError(f"it has {round_count} rounds, so {rounds} of them cannot count")
        return rounds - 1, []
    best = attributes.get("best_iteration")
    if best is None or int(best) + 1 >= round_count:
        return None, []
    if "scikit_learn" in attributes:
        return int(best), [f"Its training stopped early: the first {int(best) + 1} of its {round_count} rounds count."]
    stop = int(best) + 1
    remark = f"Its training stopped early at {stop} of {round_count} rounds, and all count, as in XGBoost's Booster."
    return None, [remark]


def _categories_of_xgboost(learner: JsonMapping, count: int) -> dict[int, tuple[str, ...] | None]:
    """Return the features that are split by categories, with the texts if the file has them (XGBoost 3.1 and later)."""
    model = learner["gradient_booster"]["model"]
    split = {int(tree["split_indices"][node]) for tree in model["trees"] for node in tree.get("categories_nodes", ())}
    types = learner.get("feature_types") or ()
    split |= {index for index, type_ in enumerate(types) if type_ == "c"}
    if any(code >= _CODES_MAX for tree in model["trees"] for code in tree.get("categories", ())):
        raise UsageError(f"it has a category with a code above {_CODES_MAX:,}; code its categories from 0")
    texts = [_texts_of(encoder) for encoder in (model.get("cats") or {}).get("enc", ())]
    return {index: texts[index] if index < len(texts) else None for index in sorted(split) if index < count}


def _texts_of(encoded: JsonMapping) -> tuple[str, ...] | None:
    """Return the categories of one feature in the order of their codes; None if there are none or they are no texts.

    Offsets count characters and values are bytes (XGBoost 3.2), so only plain ASCII can be decoded.
    """
    offsets = encoded.get("offsets") or ()
    values = encoded.get("values") or ()
    if len(offsets) < 2 or not all(0 <= value < 0x80 for value in values):
        return None
    text = bytes(values).decode("ascii")
    return tuple(text[start:end] for start, end in pairwise(offsets))


def _refuse_tangled(trees: Sequence[JsonMapping]) -> None:
    """Raises: UsageError for links that XGBoost, which later explains the model, would follow out of the tree."""
    for number, tree in enumerate(trees):
        if tree["tree_param"].get("size_leaf_vector", "0") not in {"0", "1"}:
            raise UsageError("its leaves have several values; train it on one target, fraud or not")
        left, right, parents = (np.array(tree[key], np.int64) for key in ("left_children", "right_children", "parents"))
        inner = np.flatnonzero(left >= 0)
        children = np.concatenate((left[inner], right[inner]))
        is_whole = len(left) == len(right) == len(parents) and np.all(children < len(left))
        if not (
            is_whole
            and np.array_equal(right[inner], left[inner] + 1)
            and np.array_equal(parents[children], np.concatenate((inner, inner)))
            and np.all(np.isfinite(np.array(tree["sum_hessian"], np.float64)))
            and set(tree["default_left"]) <= {0, 1}
        ):
            raise UsageError(f"tree {number} of it has links that do not form a tree; save it again, {_XGBOOST_SAVE}")


def _gains_of_xgboost(trees: Sequence[JsonMapping], count: int) -> Floats:
    totals = np.zeros(count)
    for tree in trees:
        inner = np.array(tree["left_children"], np.int64) >= 0
        split_inputs = np.array(tree["split_indices"], np.int64)[inner]
        gains = np.array(tree.get("loss_changes", np.zeros(len(inner))), np.float64)[inner]
        if np.any((split_inputs < 0) | (split_inputs >= count)):
            raise UsageError(f"one of its trees reads a feature beyond its {count}; save it again, {_XGBOOST_SAVE}")
        totals += np.bincount(split_inputs, np.where(np.isfinite(gains), gains, 0.0), count)
    return totals


# ---- LightGBM


def _lightgbm(data: bytes, rounds: int | None) -> Foreign:
    text = data.decode("utf-8", "replace").replace("\r\n", "\n")
    body, separator, trailer = text.partition("\nend of trees")
    if not separator:
        raise UsageError(f"it ends before its last tree; copy it again, or save it again, {_LIGHTGBM_SAVE}")
    head, *trees = body.split("\nTree=")
    header = _values_of(head)
    if header.get("objective", "").startswith(("lambdarank", "rank_")):
        raise UsageError(
            f"its objective is {header['objective'].split()[0]}: it ranks within groups, and its margins are not"
            " comparable between events; train it with objective=binary"
        )
    if not trees:
        raise UsageError("it has no trees; train it first")
    if rounds is not None and not 0 < rounds <= len(trees):
        raise UsageError(f"it has {len(trees)} rounds, so {rounds} of them cannot count")
    names = tuple(header.get("feature_names", "").split())
    refuse_width(len(names))
    return Foreign(
        "LightGBM's text",
        LIGHTGBM,
        data,
        len(names),
        _unnamed_if_default(names),
        _categories_of_lightgbm(header, trees, trailer),
        LOG_ODDS,
        _gains_of_lightgbm(trees, len(names)),
        len(trees),
        None if rounds is None else rounds - 1,
        {"objective": header.get("objective", ""), "version": header.get("version", "")},
    )


def _values_of(part: str) -> TextDict:
    return dict(line.partition("=")[::2] for line in part.splitlines())


def _pairs(tree: str, *names: str) -> Iterator[tuple[str, str]]:
    lines = _values_of(tree)
    first, second = (lines.get(name, "").split() for name in names)
    return zip(first, second, strict=False)


def _categories_of_lightgbm(
    header: TextMapping, trees: Sequence[str], trailer: str
) -> dict[int, tuple[str, ...] | None]:
    """Return the features that are split by categories, with the texts if the file has those of pandas."""
    infos = header.get("feature_infos", "").split()
    split = {index for index, info in enumerate(infos) if not info.startswith("[") and info != "none"}
    for tree in trees:
        decisions = _pairs(tree, "split_feature", "decision_type")
        split |= {int(index) for index, decision in decisions if int(decision) & 1}
    _, _, listed = trailer.partition("pandas_categorical:")
    try:
        categories = json.loads(listed.splitlines()[0]) if listed else None
    except (ValueError, IndexError):
        categories = None
    if not isinstance(categories, list) or len(categories) != len(split):
        return dict.fromkeys(sorted(split))
    return {index: tuple(map(str, texts)) for index, texts in zip(sorted(split), categories, strict=True)}


def _gains_of_lightgbm(trees: Sequence[str], count: int) -> Floats:
    totals = np.zeros(count)
    for tree in trees:
        for index, gain in _pairs(tree, "split_feature", "split_gain"):
            if not 0 <= int(index) < count:
                raise UsageError(f"one of its trees reads a feature beyond its {count}; save it, {_LIGHTGBM_SAVE}")
            totals[int(index)] += float(gain)
    return totals
