"""Typed expressions: the checker's output and the evaluators' input.

Every node knows its type. Conversions between types are nodes of their own, so both
sides of an operator always have one type and one number of places. Nodes are values:
equal expressions are equal, whatever they were written like.
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
    """A value that is written out; None is `missing`."""

    type: Type
    value: Value


ORIGINAL_AMOUNT = "original"  # the function, and what stands behind an amount's name in the field that it reads


class ThisField(FrozenStruct):
    """A field of the event being decided; with `event`, of events of that type only (`payment.amount`)."""

    type: Type
    name: str
    event: str | None = None


class ItemField(FrozenStruct):
    """A field of the event that an aggregate looks at; `of.amount` is the labeled event's."""

    type: Type
    name: str


class FeatureValue(FrozenStruct):
    """A feature at the event being decided."""

    type: Type
    name: str


class ItemFeature(FrozenStruct):
    """The value that a feature had when the aggregated event was computed (`f of E`)."""

    type: Type
    name: str


Path = tuple[str | int, ...]  # to a value of a line: names of objects, indices of arrays
ITEM = -1  # the index of the item that a mapping with `each` reads


class RowValue(FrozenStruct):
    """A column of the line that is mapped, by its path; text or missing. Integers are numbers of lines and items."""

    type: Type
    path: Path


def is_item_number(node: RowValue) -> bool:
    """Whether a value is the number of an item in its array."""
    return node.path[-1] == ITEM and node.type.kind == "integer"


class Score(FrozenStruct):
    """The model's calibrated probability, missing without a model."""

    type: Type


VIA_UP_TO = 50  # keys that a link value connects, where nothing else is written


class Via(FrozenStruct):
    """What links keys of an entity: equal values of an expression over events of a type (`via payment.device`).

    A value that more than `up_to` keys have in the window links none of them.
    """

    type: Type
    event: str
    operand: Node
    up_to: int = VIA_UP_TO


class Aggregate(FrozenStruct):
    """A function over the earlier events of one type and one key.

    `argument` and `condition` read the aggregated event (ItemField, ItemFeature); the
    condition may read `this` too. Exactly one of `over_ms` and `last_n` is set, or
    neither: then everything since the log began.
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
    rank: tuple[int, int] | None = None  # q of a quantile as numerator and denominator
    each_source: bool = False  # labels that leave the verdict in force as it was, too
    via: Via | None = None  # over the events that share a value with those of the key, instead of the key's own


class Convert(FrozenStruct):
    """The same value in another type: more decimal places, or the nearest float."""

    type: Type
    operand: Node


def unconverted(node: Node) -> Node:
    """The expression below its conversions."""
    while isinstance(node, Convert):
        node = node.operand
    return node


class Arithmetic(FrozenStruct):
    """`+ - *` of one type, or `/`. Exact operands of `/` have equal decimal places."""

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
    """Whether a text stands in a list of the project, unexpired at the event's time.

    Inside an aggregate that is the aggregated event's, and the deciding one's where only `this` is read.
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
    """`left else right`: the value of `left`, or that of `right` where it is missing."""

    type: Type
    left: Node
    right: Node


class When(FrozenStruct):
    type: Type
    value: Node
    condition: Node


class Call(FrozenStruct):
    """A function call. `options` holds literal arguments: places, zone, format."""

    type: Type
    function: str
    arguments: tuple[Node, ...]
    options: tuple[str | int, ...] = ()


class ModelScore(FrozenStruct, eq=False):
    """Score of one model for the event being decided; no text can write it.

    `inputs` is what the model reads, in its order. `score` makes the column of scores
    from their columns, `score_of_one` one score from their values. Equal models, by id and
    content hash, over equal inputs are equal.
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
    """Whether a key is in a share of all keys, by a hash of it and a name; false without a key.

    No text can write it.
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


_PARTS: Final[dict[type, tuple[str, ...]]] = {  # the fields of each kind that are nodes
    kind: tuple(name for name in kind.__struct_fields__ if re.search("Node|Via", kind.__annotations__[name]))
    for kind in get_args(Node)
}


def children(node: Node) -> Iterator[Node]:
    """The parts of a node, left to right; an aggregate's argument and condition too."""
    for name in _PARTS[type(node)]:
        value = getattr(node, name)
        if type(value) is tuple:
            yield from value
        elif value is not None:
            yield value


def walk(node: Node) -> Iterator[Node]:
    """The node and everything inside it."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        if _PARTS[type(node)]:
            waiting += reversed([*children(node)])


def beside_literals(node: Node) -> Iterator[tuple[Compare, Node, Literal]]:
    """The comparisons with a literal, each with its other side and the literal, both below their conversions."""
    for part in walk(node):
        if isinstance(part, Compare):
            for side, other in ((part.left, part.right), (part.right, part.left)):
                if isinstance(literal := unconverted(other), Literal):
                    yield part, unconverted(side), literal


def rewritten(node: Node, parts: Mapping[Node, Node]) -> Node:
    """The expression with these parts in place of others."""
    if node in parts:
        return parts[node]
    changed = {
        name: tuple(rewritten(part, parts) for part in value) if type(value) is tuple else rewritten(value, parts)
        for name in _PARTS[type(node)]
        if (value := getattr(node, name)) is not None
    }
    return replace(node, **changed)


def aggregates(node: Node) -> Iterator[Aggregate]:
    """The aggregates of an expression, left to right."""
    return (part for part in walk(node) if isinstance(part, Aggregate))


def conjuncts(condition: Node | None) -> tuple[Node, ...]:
    """The parts of a condition that are joined by `and`."""
    if condition is None:
        return ()
    if isinstance(condition, Logic) and condition.operator == "and":
        return conjuncts(condition.left) + conjuncts(condition.right)
    return (condition,)


def reads_this(node: Node) -> bool:
    """Whether a condition depends on the deciding event: on a field or a feature of it."""
    return any(isinstance(part, ThisField | FeatureValue) for part in walk(node))


def reads_item(node: Node) -> bool:
    """Whether a value depends on the aggregated event; a list or table not asked about `this` is asked at its time."""
    return any(
        isinstance(part, ItemField | ItemFeature)
        or (isinstance(part, InList) and not reads_this(part.operand))
        or (isinstance(part, Lookup) and not reads_this(part.key))
        for part in walk(node)
    )


def reads_features(node: Node | None) -> bool:
    """Whether a condition reads features of the deciding event."""
    return node is not None and any(isinstance(part, FeatureValue) for part in walk(node))


def is_pair(node: Node) -> bool:
    """Whether a condition is `E.f == this.f`, either way round: it can be kept as part of the key."""
    if not (isinstance(node, Compare) and node.operator == "==") or reads_features(node):
        return False
    sides = [(reads_this(side), reads_item(side)) for side in (node.left, node.right)]
    return sorted(sides) == [(False, True), (True, False)]


def looks_at_each(aggregate: Aggregate) -> bool:
    """Whether an aggregate must look at each event of its window."""
    row = AGGREGATES[aggregate.function]
    return row.scans or row.state == "looks" or aggregate.via is not None or compares_with_this(aggregate)


def compares_with_this(aggregate: Aggregate) -> bool:
    """Whether a condition reads `this` in another way than as part of the key."""
    return any(reads_this(part) and not is_pair(part) for part in conjuncts(aggregate.condition))


def events_named(node: Node) -> frozenset[str]:
    """Event types by whose name an expression reads `this`: `payment.amount` outside an aggregate."""
    return frozenset(part.event for part in walk(node) if isinstance(part, ThisField) and part.event)


def fields_of_this(node: Node) -> frozenset[str]:
    """Names of the fields of `this` that an expression reads, inside its aggregates too."""
    return frozenset(part.name for part in walk(node) if isinstance(part, ThisField))
