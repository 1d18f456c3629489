"""Read the operators of an ONNX graph before and after its one model.

Before the model, each column is an input after steps of single-precision arithmetic, each of which is monotonic. So a
threshold after the steps corresponds to exactly one threshold of the input. An operator that cannot be converted in
this way is refused by its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from shroff.errors import UsageError
from shroff.json_types import JsonObject
from shroff.plugins.models import refuse_width
from shroff.plugins.values import Array, Floats32, FrozenStruct, Ints, replace

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto


TREES = ("TreeEnsembleClassifier", "TreeEnsembleRegressor", "TreeEnsemble")
LINEAR = ("LinearClassifier", "LinearRegressor")
# Operators that may follow the model, as they leave its score unchanged
_BEHIND = frozenset(
    "Identity Cast ZipMap ArrayFeatureExtractor Gather Slice Split Reshape Squeeze Unsqueeze Flatten Concat".split()
)
_WAY_OUT = (
    "Convert the model without this step, and write what it does as an expression among the inputs, such as"
    " payment.channel == 'web' or payment.amount else 0"
)
# TensorProto.DataType
_FLOAT = 1
_DOUBLE = 11
_TEXT = 8


class OnnxStep(FrozenStruct):
    """One operation in single precision: `add`, `subtract`, `multiply` or `divide` by a constant, or `impute`."""

    kind: str
    by: np.float32


class GraphPath(FrozenStruct):
    """Path of a column from an input to the model: index and type of the input's column, and the steps in order."""

    place: int
    type: int
    steps: tuple[OnnxStep, ...] = ()

    def after(self, kind: str, by: float) -> GraphPath:
        return replace(self, type=_FLOAT, steps=(*self.steps, OnnxStep(kind, np.float32(by))))

    def values(self, values: Floats32) -> Floats32:
        return _values(values, self.steps)

    @property
    def is_rising(self) -> bool:
        """Whether the steps keep the order of values; else they reverse it."""
        return sum(step.kind in {"multiply", "divide"} and step.by < 0 for step in self.steps) % 2 == 0

    @property
    def imputed(self) -> np.float32 | None:
        """The value that a missing value becomes; None if it stays missing."""
        for index, step in enumerate(self.steps):
            if step.kind == "impute":
                return np.float32(_values(np.array([step.by], np.float32), self.steps[index + 1 :])[0])
        return None

    def affine(self) -> tuple[float, float]:
        """Return factor and addend of the steps as `factor * value + addend`, in double precision."""
        factor = 1.0
        addend = 0.0
        for step in self.steps:
            operand = float(step.by)
            if step.kind == "multiply":
                factor = factor * operand
                addend = addend * operand
            elif step.kind == "divide":
                factor = factor / operand
                addend = addend / operand
            elif step.kind in {"add", "subtract"}:
                addend += operand if step.kind == "add" else -operand
        return factor, addend


def _values(values: Floats32, steps: Sequence[OnnxStep]) -> Floats32:
    result = values
    with np.errstate(over="ignore", under="ignore"):
        for step in steps:
            if step.kind == "add":
                result = result + step.by
            elif step.kind == "subtract":
                result = result - step.by
            elif step.kind == "multiply":
                result = result * step.by
            elif step.kind == "divide":
                result = result / step.by
    return result


class OperatorsAround(FrozenStruct):
    """The operators around the model of a graph.

    Args:
        ways: Path of each column of the model from the inputs.
        names: Names of the inputs, if each is one column.
        count: Number of columns of all inputs.
        has_sigmoid: Whether a sigmoid follows the model.
        is_normalized: Whether the scores of both classes are then normalized to the sum 1.
    """

    ways: tuple[GraphPath, ...]
    names: tuple[str, ...]
    count: int
    has_sigmoid: bool
    is_normalized: bool


def model_of(graph: GraphProto) -> NodeProto:
    models = [node for node in graph.node if node.op_type in {*TREES, *LINEAR}]
    if len(models) == 1:
        return models[0]
    if models:
        raise UsageError(f"it has {len(models)} models in one graph; convert one of them alone")
    kinds = ", ".join(sorted({node.op_type for node in graph.node})[:8]) or "nothing"
    raise UsageError(
        f"it has neither trees nor a linear model: its operators are {kinds}. Trees (TreeEnsembleClassifier,"
        " TreeEnsembleRegressor, TreeEnsemble) and LinearClassifier and LinearRegressor are supported"
    )


def around(graph: GraphProto, model: NodeProto, width: int) -> OperatorsAround:
    """Find the operators around the model.

    Args:
        width: Least number of columns that the model reads, for inputs of unknown width.

    Raises: UsageError if an operator cannot be folded into the model.
    """
    reading = _GraphWalk(graph, width)
    ways = reading.ways(model.input[0])
    if len(ways) < width:
        raise UsageError(f"its model reads {width} columns, and {len(ways)} come to it; convert it again")
    if any(way.type == _DOUBLE for way in ways):
        raise UsageError(
            "it compares in double precision, which is not scored here to the bit; convert it with inputs of single"
            " precision (FloatTensorType)"
        )
    names = tuple(reading.widths) if all(columns == 1 for columns in reading.widths.values()) else ()
    has_sigmoid, is_normalized = _behind(graph, model, reading)
    return OperatorsAround(tuple(ways), names, sum(reading.widths.values()), has_sigmoid, is_normalized)


def attributes(node: NodeProto) -> JsonObject:
    """Return the attributes of a node by name, with tensors as arrays."""
    from onnx import TensorProto, helper, numpy_helper

    values_by_name: JsonObject = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        elif isinstance(value, TensorProto):
            value = numpy_helper.to_array(value)
        elif isinstance(value, list) and value and isinstance(value[0], bytes):
            value = [text.decode("utf-8", "replace") for text in value]
        values_by_name[attribute.name] = value
    return values_by_name


class _GraphWalk:
    def __init__(self, graph: GraphProto, width: int) -> None:
        from onnx import numpy_helper

        self._constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and "value" in (node_attributes := attributes(node)):
                self._constants[node.output[0]] = np.asarray(node_attributes["value"])
        self._makers = {name: node for node in graph.node for name in node.output}
        self._types: dict[str, int] = {}
        self.widths: dict[str, int] = {}
        inputs = [tensor for tensor in graph.input if tensor.name not in self._constants]
        for input_ in inputs:
            tensor = input_.type.tensor_type
            if tensor.elem_type == _TEXT:
                raise UsageError(f"its input {input_.name} is text, which its graph turns into numbers. {_WAY_OUT}")
            sizes = [size.dim_value for size in tensor.shape.dim]
            column_count = sizes[-1] if len(sizes) > 1 and sizes[-1] > 0 else 0
            if not column_count and len(inputs) > 1:
                raise UsageError(f"its input {input_.name} does not say how many columns it has; convert it again")
            self.widths[input_.name] = column_count or width
            self._types[input_.name] = tensor.elem_type
        refuse_width(sum(self.widths.values()))

    def constant(self, name: str) -> Array | None:
        return self._constants.get(name)

    def ways(self, name: str, depth: int = 0) -> list[GraphPath]:
        if name in self.widths:
            first = 0
            for other, width in self.widths.items():
                if other == name:
                    return [GraphPath(first + index, self._types[name]) for index in range(width)]
                first += width
        node = self._makers.get(name)
        if node is None or depth > len(self._makers):
            raise UsageError(f"its tensor {name!r} comes from nowhere; convert it again")
        node_attributes = attributes(node)
        if node.op_type in {"Concat", "FeatureVectorizer"} and node_attributes.get("axis", 1) in {1, -1}:
            return [way for name in node.input for way in self.ways(name, depth + 1)]
        if node.op_type in {"Mul", "Add"} and self.constant(node.input[0]) is not None:
            node.input[0], node.input[1] = node.input[1], node.input[0]
        return self._after(node, node_attributes, self.ways(node.input[0], depth + 1))

    def _after(self, node: NodeProto, node_attributes: JsonObject, ways: list[GraphPath]) -> list[GraphPath]:
        kind = node.op_type
        if kind == "Identity":
            return ways
        if kind == "Cast" and node_attributes["to"] in {_FLOAT, _DOUBLE}:
            # Inputs are in single precision already, and a cast to double changes no value.
            return [replace(way, type=node_attributes["to"]) for way in ways]
        if kind == "Imputer":
            return self._impute(node_attributes, ways)
        if kind == "Scaler":
            offsets = self._each(node_attributes["offset"], ways, kind)
            scales = self._each(node_attributes["scale"], ways, kind)
            shifted = [way.after("subtract", by) for way, by in zip(ways, offsets, strict=True)]
            return [self._apply_number(way, "multiply", by) for way, by in zip(shifted, scales, strict=True)]
        if kind in {"Gather", "ArrayFeatureExtractor"} and (
            kind != "Gather" or node_attributes.get("axis", 0) in {1, -1}
        ):
            picked = self.constant(node.input[1])
            if picked is not None and all(0 <= int(number) < len(ways) for number in picked.ravel()):
                return [ways[int(number)] for number in picked.ravel()]
        operations = {"Mul": "multiply", "Div": "divide", "Add": "add", "Sub": "subtract"}
        if kind in operations and (by := self.constant(node.input[1])) is not None and by.dtype == np.float32:
            each = self._each(by.ravel().tolist(), ways, kind)
            return [self._apply_number(way, operations[kind], tensor) for way, tensor in zip(ways, each, strict=True)]
        raise UsageError(f"its operator {kind} before the model cannot be folded into it. {_WAY_OUT}")

    def _apply_number(self, way: GraphPath, kind: str, by: float) -> GraphPath:
        if way.type == _DOUBLE:
            raise UsageError(
                "it computes in double precision before its model, which is not scored here to the bit; convert it"
                " with inputs of single precision (FloatTensorType)"
            )
        if not np.isfinite(by) or (kind in {"multiply", "divide"} and by == 0):
            raise UsageError(f"it would {kind} a column by {by}, which leaves nothing of it; take the column away")
        return way.after(kind, by)

    def _impute(self, node_attributes: JsonObject, ways: list[GraphPath]) -> list[GraphPath]:
        if (
            not np.isnan(node_attributes.get("replaced_value_float", 0.0))
            or "imputed_value_floats" not in node_attributes
        ):
            raise UsageError(f"its operator Imputer replaces another value than a missing one. {_WAY_OUT}")
        each = self._each(node_attributes["imputed_value_floats"], ways, "Imputer")
        return [way.after("impute", by) for way, by in zip(ways, each, strict=True)]

    def _each(self, values: Sequence[float], ways: list[GraphPath], kind: str) -> list[float]:
        numbers = [float(value) for value in values]
        if len(numbers) not in {1, len(ways)}:
            raise UsageError(f"its operator {kind} has {len(numbers)} values for {len(ways)} columns; convert it again")
        return numbers if len(numbers) == len(ways) else numbers * len(ways)


def _behind(graph: GraphProto, model: NodeProto, reading: _GraphWalk) -> tuple[bool, bool]:
    reached = set(model.output)
    has_sigmoid = False
    is_normalized = False
    for node in graph.node:
        if node is model or not reached & set(node.input):
            continue
        reached |= set(node.output)
        constants = [reading.constant(name) for name in node.input]
        constants = [constant for constant in constants if constant is not None]
        if node.op_type == "Sigmoid":
            has_sigmoid = True
        elif node.op_type == "Normalizer" and attributes(node).get("norm") == "L1":
            is_normalized = True
        elif not (node.op_type in _BEHIND or (node.op_type == "Mul" and constants and np.all(constants[0] == 1))):
            raise UsageError(
                f"its operator {node.op_type} behind the model changes the score; convert the model without it"
            )
    return has_sigmoid, is_normalized


# ---- thresholds


def last_passing(way: GraphPath, thresholds: Floats32, *, is_strict: bool, is_down: bool) -> Floats32:
    """Return for each finite threshold the greatest input value that passes.

    With `is_down` a value passes if the steps make it less than the threshold (or equal, unless `is_strict`); otherwise
    it passes if they do not. All passing values are below the others: -inf always passes, and inf never does.

    Cost: 33 evaluations of the steps.
    """
    low, high = (np.full(len(thresholds), _key(np.array([end], np.float32))[0]) for end in (-np.inf, np.inf))
    while np.any(high - low > 1):
        middle = (low + high) // 2
        values = way.values(_value(middle))
        passes = (values < thresholds if is_strict else values <= thresholds) == is_down
        low = np.where(passes, middle, low)
        high = np.where(passes, high, middle)
    return _value(low)


def _key(values: Floats32) -> Ints:
    """Map single-precision floats to integers of the same order."""
    bits = values.view(np.int32).astype(np.int64)
    return np.where(bits >= 0, bits, -(bits & 0x7FFFFFFF) - 1)


def _value(keys: Ints) -> Floats32:
    bits = np.where(keys >= 0, keys, (-keys - 1) | 0x80000000)
    return bits.astype(np.uint32).view(np.float32)
