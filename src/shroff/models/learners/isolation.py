"""Isolation forest: scores an event by how few random splits separate it from all others; needs no labels.

    {"format": "isolation", "version": 1, "trees": [
      {"left": [1, -1, -1], "right": [2, -1, -1], "input": [0, -1, -1], "threshold": [5.5, 0.0, 0.0],
       "members": [null, null, null], "missing_left": [true, false, false], "value": [0.0, -0.004, -0.009]}]}

Node 0 is the root; `left` -1 marks a leaf. A number goes left unless it exceeds the threshold, a category if it is
among `members`, a missing or unknown one as `missing_left` says. The margin is the sum of the leaves' values in the
order of the trees: minus the mean number of splits, divided by that of a random search among as many rows. So -1 is
usual, and higher is stranger.

Liu, Ting and Zhou: Isolation Forest (2008).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.json import encode as to_json

from shroff.arrays import Ints
from shroff.models.columns import CATEGORY
from shroff.models.learners.column_files import Values
from shroff.models.learners.learned import Learned, LearningPlan, TrainingRows
from shroff.runtime.values import FrozenStruct

FILE = "isolation.json"
TREES = 200
SAMPLE = 256  # rows of each tree, as in the paper
_EULER = 0.5772156649015329


class _Tree(Struct):
    """A growing tree, in the form of the file."""

    left: list[int] = []
    right: list[int] = []
    input: list[int] = []
    threshold: list[float] = []
    members: list[list[int] | None] = []
    missing_left: list[bool] = []
    value: list[float] = []

    def add(self) -> int:
        """Add a leaf of value 0, and return its index."""
        for column, nothing in ((self.left, -1), (self.right, -1), (self.input, -1)):
            column.append(nothing)
        self.threshold.append(0.0)
        self.members.append(None)
        self.missing_left.append(False)
        self.value.append(0.0)
        return len(self.left) - 1


class _Grower(FrozenStruct):
    columns: tuple[Values, ...]
    is_category: tuple[bool, ...]
    lots: np.random.Generator
    depth_max: int
    unit: float
    splits: Ints

    def tree(self, rows: Ints, inputs: Ints) -> _Tree:
        tree = _Tree()
        self._grow(tree, tree.add(), rows, inputs, 0)
        return tree

    def _grow(self, tree: _Tree, node: int, rows: Ints, inputs: Ints, depth: int) -> None:
        goes_left = None if depth >= self.depth_max or len(rows) < 2 else self._cut(tree, node, rows, inputs)
        if goes_left is None:
            tree.value[node] = -(depth + usual_depth(len(rows))) / self.unit
            return
        tree.left[node], tree.right[node] = tree.add(), tree.add()
        self._grow(tree, tree.left[node], rows[goes_left], inputs, depth + 1)
        self._grow(tree, tree.right[node], rows[~goes_left], inputs, depth + 1)

    def _cut(self, tree: _Tree, node: int, rows: Ints, inputs: Ints) -> Any:
        """Split a node at random by an input that differs among the rows; return which rows go left, None if none
        differs.
        """
        for column in self.lots.permutation(inputs).tolist():
            values = self.columns[column][rows]
            is_missing = np.isnan(values)
            present = np.unique(values[~is_missing])
            if len(present) == 0 or (len(present) == 1 and not is_missing.any()):
                continue
            if self.is_category[column]:
                members = self.lots.permutation(present)[: max(1, len(present) // 2)]
                tree.members[node] = sorted(int(code) for code in members)
                goes_left = np.isin(values, members)
            else:
                # If one value and missing ones occur, the value goes left.
                low = float(present[0])
                high = float(present[-1])
                tree.threshold[node] = low if low == high else low + (high - low) * float(self.lots.random())
                if tree.threshold[node] >= high > low:
                    tree.threshold[node] = low  # rounding reached the upper end, so no row would go right
                goes_left = values <= tree.threshold[node]
            tree.missing_left[node] = bool(self.lots.random() < 0.5) and bool((~goes_left & ~is_missing).any())
            goes_left = np.where(is_missing, tree.missing_left[node], goes_left)
            tree.input[node] = column
            self.splits[column] += 1
            return goes_left
        return None


def learn(rows: TrainingRows, plan: LearningPlan) -> Learned:
    """Grow random trees over small samples; verdicts are not used."""
    lots = np.random.default_rng(plan.seed)
    count = rows.stop
    trees = int(plan.parameters.get("trees", TREES))
    sample = min(count, SAMPLE, max(2, round(plan.parameters.get("rows", 1.0) * count)))
    width = max(1, round(plan.parameters.get("columns", 1.0) * len(rows.inputs)))
    splits = np.zeros(len(rows.inputs), np.int64)
    unit = trees * usual_depth(sample)
    is_category = tuple(input_.kind == CATEGORY for input_ in rows.inputs)
    grower = _Grower(rows.columns, is_category, lots, math.ceil(math.log2(sample)), unit, splits)
    grown = [
        grower.tree(
            lots.choice(count, sample, replace=False), np.sort(lots.choice(len(rows.inputs), width, replace=False))
        )
        for _ in range(trees)
    ]
    document = {"format": "isolation", "version": 1, "trees": grown}
    parameters: dict[str, object] = {"trees": trees, "rows": sample / count, "columns": width / len(rows.inputs)}
    libraries = {"numpy": np.__version__}  # its random numbers are equal in all versions so far, but not by promise
    return Learned("isolation", {FILE: to_json(document)}, splits.astype(np.float64), trees, parameters, libraries)


def usual_depth(count: int) -> float:
    """Return the mean number of splits of an unsuccessful search in a random tree of this many rows.

    >>> round(usual_depth(256), 4)
    10.2448
    """
    if count <= 1:
        return 0.0
    if count == 2:
        return 1.0
    return 2.0 * (math.log(count - 1) + _EULER) - 2.0 * (count - 1) / count
