"""Trees of every library as the same flat arrays, and margins by walking them.

`Tree` is the result of a format's reader, node by node; `forest_of` lays trees out as `models.trees.layout` describes,
and `margins_of` walks them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from shroff.arrays import Floats, Ints
from shroff.errors import RegistryError
from shroff.models.columns import CATEGORY as CATEGORY_KIND
from shroff.models.model import InputColumn
from shroff.models.trees.layout import BLOCK, CATEGORY, LINK_SHIFT, LOOKS_UP, SLOT_MASK, TOGETHER

LEAF = -1  # left child of a leaf


@dataclass(frozen=True, slots=True)
class CategorySet:
    """Split on a category: members go to one side, all other known categories to the other."""

    members: Ints
    are_left: bool
    is_missing_left: bool


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree: node 0 is its root, and each array has an entry per node.

    Args:
        left: Left child, or LEAF.
        right: Right child.
        inputs: Input that the node compares.
        thresholds: A row goes left unless its value is above.
        ways: Treatment of missing values and zeros, as named in `models.trees.layout`.
        values: For leaves, their contribution to the margin.
        sets: Set that a node tests instead of its threshold, by node.
    """

    left: Ints
    right: Ints
    inputs: Ints
    thresholds: Floats
    ways: Ints
    values: Floats
    sets: Mapping[int, CategorySet] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Precision:
    """Arithmetic of a library: where it rounds to single precision, and what counts as zero."""

    is_single_input: bool
    is_single_sum: bool
    zero_below: float = 0.0


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees laid out in flat arrays, ready to be walked.

    Args:
        add_leaves: Kernel of that name with the forest's arrays bound; it takes columns, working space and results.
        slot_count: Number of slots of a staged row.
        nodes, slots: As in `models.trees.layout`, for finding the split values.
        is_single_input: Whether values are rounded to single precision before they are compared.
    """

    add_leaves: Callable[[Floats, Floats, Floats], None]
    slot_count: int
    nodes: Ints = field(repr=False)
    slots: Ints = field(repr=False)
    is_single_input: bool


def forest_of(trees: Sequence[Tree], start: float, arithmetic: Precision, inputs: Sequence[InputColumn]) -> Forest:
    """Lay out trees for the walk.

    Args:
        trees: In the order in which the library sums them.
        start: Margin before the first tree.

    Raises: RegistryError if the arrays form no tree, or it reads missing inputs.
    """
    laid = _Laid()
    for number, tree in enumerate(trees):
        if mistake := _mistake_of(tree, inputs):
            raise RegistryError(f"tree {number} of the model {mistake}; save the model again from the program it is of")
        laid.add(tree)
    # A padding leaf of -0.0 changes no sum, not even its sign.
    while len(laid.roots) % TOGETHER:
        laid.add(_leaf(-0.0))
    nodes = np.concatenate(laid.nodes) if laid.nodes else np.zeros((0, 2), np.int64)
    values = np.concatenate(laid.values) if laid.values else np.zeros(0)
    roots = np.array(laid.roots, np.int64).reshape(-1, 2)
    for group in range(0, len(roots), TOGETHER):
        roots[group : group + TOGETHER, 1] = roots[group : group + TOGETHER, 1].max()
    slots = np.array(
        [(input_index, way, len(inputs[input_index].categories)) for input_index, way in laid.slots], np.int64
    ).reshape(-1, 3)
    # Loading the kernel takes up to seconds where it is to be compiled, which a mere import must not.
    from shroff.models.trees.walker import add_leaves

    walk = partial(
        add_leaves,
        nodes,
        values,
        roots,
        np.array(laid.sets, np.int64),
        slots,
        start,
        arithmetic.zero_below,
        arithmetic.is_single_input,
        arithmetic.is_single_sum,
    )
    return Forest(walk, len(slots), nodes, slots, arithmetic.is_single_input)


def margins_of(forest: Forest, columns: Floats) -> Floats:
    """Return the margin of each row; `columns` has a row for each input and a column for each row to score.

    Cost: about 0.1 µs a row for each ten trees of depth 6, and 2 µs a call.
    """
    count = columns.shape[1]
    out = np.empty(count)
    forest.add_leaves(columns, np.empty(min(count, BLOCK) * forest.slot_count), out)
    return out


def cuts_of(forest: Forest, input_count: int) -> tuple[Floats, ...]:
    """Return the split values of each input, ascending: values up to a split value go left.

    Between two neighbors a value changes nothing. Sets of categories have no split values.
    Cost: one sort of all nodes.
    """
    links = forest.nodes[:, 1]
    thresholds = np.ascontiguousarray(forest.nodes[:, 0]).view(np.float64)
    compares = np.flatnonzero((links & LOOKS_UP == 0) & np.isfinite(thresholds))
    compared_input = forest.slots[(links[compares] >> 1) & SLOT_MASK, 0]
    return tuple(np.unique(thresholds[compares[compared_input == index]]) for index in range(input_count))


def _leaf(value: float) -> Tree:
    root = np.zeros(1, np.int64)
    return Tree(np.full(1, LEAF), root, root, np.zeros(1), root, np.array([value]))


def check_inputs(count: int, names: Sequence[str], inputs: Sequence[InputColumn]) -> None:
    """Check that a model has these inputs: `count` features with these `names`, which may be missing or generic.

    Generic names are those of XGBoost and LightGBM for columns without names: f0, Column_0.

    Raises: RegistryError
    """
    if count != len(inputs):
        raise RegistryError(
            f"the model reads {count} features, and the manifest names {len(inputs)} inputs: name one for each"
        )
    input_names = [input_.feature or input_.name for input_ in inputs]
    is_own = all(name in {f"f{index}", f"Column_{index}"} for index, name in enumerate(names))
    if is_own or list(names) == input_names:
        return
    if sorted(names) == sorted(input_names):
        raise RegistryError(
            f"the model reads its features in the order {', '.join(names)}: name the inputs in this order"
        )
    raise RegistryError(
        f"the model was made of other features ({', '.join(names)}) than the inputs that the manifest names"
        f" ({', '.join(input_names)}): name each input with the `feature` that it is in the model's file"
    )


def _mistake_of(tree: Tree, inputs: Sequence[InputColumn]) -> str:
    """Describe the problem of a tree; empty if it can be walked."""
    count = len(tree.left)
    if count == 0 or len({count, *map(len, (tree.right, tree.inputs, tree.thresholds, tree.ways, tree.values))}) != 1:
        return "has arrays of different lengths"
    inner = tree.left != LEAF
    children = np.concatenate((tree.left[inner], tree.right[inner]))
    inputs_read = tree.inputs[inner]
    if np.any((children <= 0) | (children >= count)) or len(np.unique(children)) != len(children):
        return "has links that do not form a tree"
    if np.any((inputs_read < 0) | (inputs_read >= len(inputs))):
        return f"reads a feature beyond the {len(inputs)} inputs"
    if wrong := [
        inputs[tree.inputs[node]].name for node in tree.sets if inputs[tree.inputs[node]].kind != CATEGORY_KIND
    ]:
        return f"asks {wrong[0]} for categories, and the manifest says that it is a number"
    compares = inner.copy()
    compares[list(tree.sets)] = False
    if np.isnan(tree.thresholds[compares]).any() or not np.isfinite(tree.values[~inner]).all():
        return "has a threshold or a leaf that is not a number"
    if any(len(set_.members) and set_.members.min() < 0 for set_ in tree.sets.values()):
        return "asks for a category below 0"
    return ""


class _Laid:
    """The arrays while trees are added."""

    def __init__(self) -> None:
        self.nodes: list[Ints] = []
        self.values: list[Floats] = []
        self.roots: list[tuple[int, int]] = []  # index of each root, and the steps to its deepest leaf
        self.sets: list[int] = []
        self.slots: dict[tuple[int, int], int] = {}
        self._filled = 0

    def add(self, tree: Tree) -> None:
        order, index_of, depth = _levels(tree)
        indexes = np.arange(len(order)) + self._filled
        is_leaf = tree.left[order] == LEAF
        # A leaf links to the index before its own and, comparing with NaN, goes right from there.
        child = np.where(is_leaf, indexes - 1, self._filled + index_of[np.where(is_leaf, 0, tree.left[order])])
        nodes = np.zeros((len(order), 2), np.int64)
        nodes[:, 0] = np.where(is_leaf, np.nan, tree.thresholds[order]).view(np.int64)
        nodes[:, 1] = child << LINK_SHIFT
        for row in np.flatnonzero(~is_leaf).tolist():
            node = int(order[row])
            category_set = tree.sets.get(node)
            way = CATEGORY if category_set else int(tree.ways[node])
            slot = self.slots.setdefault((int(tree.inputs[node]), way), len(self.slots))
            assert slot <= SLOT_MASK
            nodes[row, 1] |= slot << 1
            if category_set:
                nodes[row, 0] = self._place_of(category_set)
                nodes[row, 1] |= LOOKS_UP
        self.nodes.append(nodes)
        self.values.append(np.where(is_leaf, tree.values[order], 0.0))
        self.roots.append((self._filled, depth))
        self._filled += len(order)

    def _place_of(self, category_set: CategorySet) -> int:
        start = len(self.sets)
        size = int(category_set.members.max()) + 1 if len(category_set.members) else 0
        bits = np.zeros(-(-size // 64) * 64, np.uint8)
        bits[category_set.members] = 1
        bit_words = np.packbits(bits, bitorder="little").view("<i8").tolist()
        self.sets += [size, int(category_set.is_missing_left), int(category_set.are_left), *bit_words]
        return start


def _levels(tree: Tree) -> tuple[Ints, Ints, int]:
    """Return the nodes by level, siblings together; the index of each; and the steps to the deepest leaf."""
    levels = [np.zeros(1, np.int64)]
    while True:
        inner = levels[-1][tree.left[levels[-1]] != LEAF]
        if not len(inner):
            break
        levels.append(np.stack((tree.left[inner], tree.right[inner]), axis=1).ravel())
    order = np.concatenate(levels)
    index_of = np.zeros(len(tree.left), np.int64)
    index_of[order] = np.arange(len(order))
    return order, index_of, len(levels) - 1
