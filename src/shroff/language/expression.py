"""Typed expressions: output of the checker and input of the evaluators.

Every node has its type. A conversion is a node of its own, so both sides of an operator have the same type and number
of decimal places. Nodes are values: equal expressions are equal, however they were written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, get_args

from shroff.language.aggregates import AGGREGATES
from shroff.language.types import Type
from shroff.language.values import Value
from shroff.runtime.values import FrozenStruct, replace

if TYPE_CHECKING:
    from shroff.language.columns import Column


class Literal(FrozenStruct):
    """A constant; None is `missing`."""

    type: Type
    value: Value


ORIGINAL_AMOUNT = "original"  # name of the function, and suffix of the field with an amount's original


class ThisField(FrozenStruct):
    """A field of the deciding event; with `event`, only for events of that type (`payment.amount`)."""

    type: Type
    name: str
    event: str | None = None


class ItemField(FrozenStruct):
    """A field of the aggregated event; `of.amount` is a field of the labeled event."""

    type: Type
    name: str


class FeatureValue(FrozenStruct):
    """A feature at the deciding event."""

    type: Type
    name: str


class ItemFeature(FrozenStruct):
    """A feature of the aggregated event, as computed at that event (`f of E`)."""

    type: Type
    name: str


Path = tuple[str | int, ...]  # to a value in a line: keys of objects and indices of arrays
ITEM = -1  # in a path, the index of the item that `each` of a mapping reads


class RowValue(FrozenStruct):
    """A value of the mapped line, by its path; a text or missing. As an integer, it is the number of a line or item."""

    type: Type
    path: Path


def is_item_number(node: RowValue) -> bool:
    """Return whether a value is the number of an item in its array."""
    return node.path[-1] == ITEM and node.type.kind == "integer"


class Score(FrozenStruct):
    """The model's calibrated probability; missing without a model."""

    type: Type


VIA_UP_TO = 50  # default for the number of keys that a link value connects


class Via(FrozenStruct):
    """A link between keys of an entity: equal values of an expression over events of a type (`via payment.device`).

    A value that more than `up_to` keys have in the window links none of them.
    """

    type: Type
    event: str
    operand: Node
    up_to: int = VIA_UP_TO


class Aggregate(FrozenStruct):
    """A function over earlier events of one type and one key.

    `argument` and `condition` read the aggregated event (ItemField, ItemFeature); the condition can read `this` too. At
    most one of `over_ms` and `last_n` is set; without both, the window begins with the log.
    """

    type: Type
    function: str
    entity: str
    event: str
    argument: Node | None = None
    condition: Node | None = None
    over_ms: int | None = None
    last_n: int | None = None
    delay_ms: int = 0
    including: bool = False
    since_flag: bool = False
    matching: str | None = None
    rank: tuple[int, int] | None = None  # q of a quantile, as numerator and denominator
    each_source: bool = False  # include labels that did not change the verdict in force
    via: Via | None = None  # aggregate the events that share a value with those of the key, not the key's own


class Convert(FrozenStruct):
    """The same value in another type: with more decimal places, or as the nearest float."""

    type: Type
    operand: Node


def unconverted(node: Node) -> Node:
    """Return the expression below its conversions."""
    while isinstance(node, Convert):
        node = node.operand
    return node


class Arithmetic(FrozenStruct):
    """`+ - *` of one type, or `/`; exact operands of `/` have equal decimal places."""

    type: Type
    operator: str
    left: Node
    right: Node


class Negative(FrozenStruct):
    type: Type
    operand: Node


class Compare(FrozenStruct):
    type: Type
    operator: str
    left: Node
    right: Node


class Logic(FrozenStruct):
    """`and` or `or`, three-valued."""

    type: Type
    operator: str
    left: Node
    right: Node


class Not(FrozenStruct):
    type: Type
    operand: Node


class IsMissing(FrozenStruct):
    type: Type
    operand: Node


class InValues(FrozenStruct):
    type: Type
    operand: Node
    values: tuple[Node, ...]


class InList(FrozenStruct):
    """Whether a text is in a list of the project and has not expired at the event's time.

    Inside an aggregate it is the time of the aggregated event, or of the deciding one if the text depends only on
    `this`.
    """

    type: Type
    operand: Node
    list: str


class Lookup(FrozenStruct):
    """A column of a look-up table; missing if the key is not in it."""

    type: Type
    table: str
    column: str
    key: Node


class Else(FrozenStruct):
    """`left else right`: the value of `left`, or of `right` if that is missing."""

    type: Type
    left: Node
    right: Node


class When(FrozenStruct):
    type: Type
    value: Node
    condition: Node


class Call(FrozenStruct):
    """A function call; `options` are literal arguments: places, zone, format."""

    type: Type
    function: str
    arguments: tuple[Node, ...]
    options: tuple[str | int, ...] = ()


class ModelScore(FrozenStruct, eq=False):
    """Score of one model for the deciding event; it cannot be written in a project.

    Equal models, by id and content hash, over equal inputs are equal.

    Args:
        inputs: Expressions of the model's inputs, in order.
        score: Returns a column of scores for columns of the inputs.
        score_of_one: Returns one score for values of the inputs.
    """

    type: Type
    model: str
    digest: str
    inputs: tuple[Node, ...]
    score: Callable[[Sequence[Column]], Column]
    score_of_one: Callable[[Sequence[Value]], Value]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModelScore) and self._compared == other._compared

    def __hash__(self) -> int:
        return hash(self._compared)

    def __repr__(self) -> str:
        type_, model, digest, inputs = self._compared
        return f"ModelScore(type={type_!r}, model={model!r}, digest={digest!r}, inputs={inputs!r})"

    @property
    def _compared(self) -> tuple[Type, str, str, tuple[Node, ...]]:
        return self.type, self.model, self.digest, self.inputs


class InShare(FrozenStruct):
    """Whether a key belongs to a share of all keys, by a hash of name and key; false without a key.

    It cannot be written in a project.
    """

    type: Type
    name: str
    share: float
    key: tuple[Node, ...]


Node = (
    Literal
    | ThisField
    | ItemField
    | FeatureValue
    | ItemFeature
    | RowValue
    | Score
    | Aggregate
    | Via
    | Convert
    | Arithmetic
    | Negative
    | Compare
    | Logic
    | Not
    | IsMissing
    | InValues
    | InList
    | Lookup
    | Else
    | When
    | Call
    | ModelScore
    | InShare
)


_PARTS: Final[dict[type, tuple[str, ...]]] = {  # the fields of each kind of node that are nodes
    kind: tuple(name for name in kind.__struct_fields__ if re.search("Node|Via", kind.__annotations__[name]))
    for kind in get_args(Node)
}


def children(node: Node) -> Iterator[Node]:
    """Yield the parts of a node from left to right, including an aggregate's argument and condition."""
    for name in _PARTS[type(node)]:
        value = getattr(node, name)
        if type(value) is tuple:
            yield from value
        elif value is not None:
            yield value


def walk(node: Node) -> Iterator[Node]:
    """Yield the node and all nodes inside it."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        if _PARTS[type(node)]:
            waiting += reversed([*children(node)])


def beside_literals(node: Node) -> Iterator[tuple[Compare, Node, Literal]]:
    """Yield each comparison with a literal, its other side and the literal, both without conversions."""
    for part in walk(node):
        if isinstance(part, Compare):
            for side, other in ((part.left, part.right), (part.right, part.left)):
                if isinstance(literal := unconverted(other), Literal):
                    yield part, unconverted(side), literal


def rewritten(node: Node, parts: Mapping[Node, Node]) -> Node:
    """Return the expression with some parts replaced."""
    if node in parts:
        return parts[node]
    changed = {
        name: tuple(rewritten(part, parts) for part in value) if type(value) is tuple else rewritten(value, parts)
        for name in _PARTS[type(node)]
        if (value := getattr(node, name)) is not None
    }
    return replace(node, **changed)


def aggregates(node: Node) -> Iterator[Aggregate]:
    """Yield the aggregates of an expression, left to right."""
    return (part for part in walk(node) if isinstance(part, Aggregate))


def conjuncts(condition: Node | None) -> tuple[Node, ...]:
    """Return the parts of a condition that are joined by `and`."""
    if condition is None:
        return ()
    if isinstance(condition, Logic) and condition.operator == "and":
        return conjuncts(condition.left) + conjuncts(condition.right)
    return (condition,)


def reads_this(node: Node) -> bool:
    """Return whether a condition reads a field or a feature of the deciding event."""
    return any(isinstance(part, ThisField | FeatureValue) for part in walk(node))


def reads_item(node: Node) -> bool:
    """Return whether a value depends on the aggregated event; so does a look-up at that event's time."""
    return any(
        isinstance(part, ItemField | ItemFeature)
        or (isinstance(part, InList) and not reads_this(part.operand))
        or (isinstance(part, Lookup) and not reads_this(part.key))
        for part in walk(node)
    )


def reads_features(node: Node | None) -> bool:
    """Return whether a condition reads features of the deciding event."""
    return node is not None and any(isinstance(part, FeatureValue) for part in walk(node))


def is_pair(node: Node) -> bool:
    """Return whether a condition is `E.f == this.f`, in either order, so that the field can be part of a key."""
    if not (isinstance(node, Compare) and node.operator == "==") or reads_features(node):
        return False
    sides = [(reads_this(side), reads_item(side)) for side in (node.left, node.right)]
    return sorted(sides) == [(False, True), (True, False)]


def looks_at_each(aggregate: Aggregate) -> bool:
    """Return whether an aggregate must read each event of its window."""
    row = AGGREGATES[aggregate.function]
    return row.scans or row.state == "looks" or aggregate.via is not None or compares_with_this(aggregate)


def compares_with_this(aggregate: Aggregate) -> bool:
    """Return whether a condition reads `this` other than as part of a key."""
    return any(reads_this(part) and not is_pair(part) for part in conjuncts(aggregate.condition))


def events_named(node: Node) -> frozenset[str]:
    """Return the event types named where an expression reads `this`, as in `payment.amount` outside an aggregate."""
    return frozenset(part.event for part in walk(node) if isinstance(part, ThisField) and part.event)


def fields_of_this(node: Node) -> frozenset[str]:
    """Return the names of the fields of `this` that an expression reads, inside aggregates too."""
    return frozenset(part.name for part in walk(node) if isinstance(part, ThisField))
