"""A typed expression as text, in one canonical form.

The text parses to the same expression. Its spelling is fixed: `1d` becomes `24h`, modifiers are in the order over,
delayed, matching, of each source, since flag, including this, and a range written as two comparisons becomes `in a ..
b`.
"""

from __future__ import annotations

import re
from decimal import Decimal

from shroff.language.expression import (
    ITEM,
    ORIGINAL_AMOUNT,
    VIA_UP_TO,
    Aggregate,
    Arithmetic,
    Call,
    Compare,
    Convert,
    Else,
    FeatureValue,
    InList,
    InValues,
    IsMissing,
    ItemFeature,
    ItemField,
    Literal,
    Logic,
    Lookup,
    Negative,
    Node,
    Not,
    RowValue,
    Score,
    ThisField,
    Via,
    When,
    is_item_number,
)
from shroff.language.values import HOUR_MS, show_decimal, show_duration, show_number

# Precedence of operators, lowest first, as in the parser.
_ELSE, _WHEN, _OR, _AND, _NOT, _COMPARE, _SUM, _PRODUCT, _SIGN, _ATOM = range(10)
_LINE_END = re.compile(r"\s*\n\s*")
LITERAL_MAX = 10**30  # largest number that the checker accepts, in digits
_GROUPED_FROM = 100_000  # 100_000 is easier to read than 100000; 50000 is not hard


def text_of(node: Node) -> str:
    """Write an expression as a person would.

    >>> from shroff.language.types import BOOLEAN, INTEGER
    >>> from shroff.language.expression import Compare, FeatureValue, Literal
    >>> text_of(Compare(BOOLEAN, ">=", FeatureValue(INTEGER, "card.payments_1h"), Literal(INTEGER, 100_000)))
    'card.payments_1h >= 100_000'
    """
    return _Printer("").write(node, _ELSE)


def text_of_via(via: Via) -> str:
    """Write the expression that links keys, without its limit: `payment.device`."""
    return _Printer(via.event).write(via.operand, _ELSE)


def as_written(written: str | None, node: Node) -> str:
    r"""Return an expression as its author wrote it, on one line; without such a text, as `text_of` writes it.

    >>> from shroff.language.types import BOOLEAN
    >>> from shroff.language.expression import Literal
    >>> as_written("card.spent_24h\n  > 50_000", Literal(BOOLEAN, True))
    'card.spent_24h > 50_000'
    """
    return text_of(node) if written is None else _LINE_END.sub(" ", written.strip())


class _Printer:
    """Writes nodes; `event` is the aggregated event type inside the brackets of an aggregate."""

    def __init__(self, event: str) -> None:
        self.event = event

    def write(self, node: Node, needed: int) -> str:
        """Return the text of a node, in brackets if its precedence is too low for the context."""
        text, strength = self.pair(node)
        return text if strength >= needed else f"({text})"

    def pair(self, node: Node) -> tuple[str, int]:
        match node:
            case Convert():
                return self.pair(node.operand)
            case Else():
                return f"{self.write(node.left, _ELSE)} else {self.write(node.right, _WHEN)}", _ELSE
            case When():
                return f"{self.write(node.value, _WHEN)} when {self.write(node.condition, _OR)}", _WHEN
            case Logic():
                return self.logic(node)
            case Not():
                return self.negation(node)
            case Compare():
                return (
                    f"{self.side(node.left, node.right)} {node.operator} {self.side(node.right, node.left)}",
                    _COMPARE,
                )
            case IsMissing():
                return f"{self.write(node.operand, _SUM)} is missing", _COMPARE
            case InValues() | InList():
                return self.membership(node, "in"), _COMPARE
            case Arithmetic():
                strength = _SUM if node.operator in "+-" else _PRODUCT
                return (
                    f"{self.write(node.left, strength)} {node.operator} {self.write(node.right, strength + 1)}",
                    strength,
                )
            case Negative():
                return f"-{self.write(node.operand, _SIGN)}", _SIGN
            case Literal():
                text = _literal(node)
                return text, _SIGN if text.startswith("-") else _ATOM
            case _:
                return self.atom(node), _ATOM

    def side(self, node: Node, other: Node) -> str:
        """Write a side of a comparison: a literal 500.00 that got its places from the other side becomes `500`."""
        text = self.write(node, _SUM)
        is_as_exact = not isinstance(other, Convert) or other.operand.type.places == node.type.places
        if isinstance(node, Literal) and node.type.is_exact and is_as_exact:
            whole, _, rest = text.partition(".")
            return text if rest.strip("0") else whole
        return text

    def logic(self, node: Logic) -> tuple[str, int]:
        bounds = _range_parts(node)
        if bounds is not None:
            return self.within(bounds, "in"), _COMPARE
        strength = _AND if node.operator == "and" else _OR
        return f"{self.write(node.left, strength)} {node.operator} {self.write(node.right, strength + 1)}", strength

    def negation(self, node: Not) -> tuple[str, int]:
        operand = node.operand
        bounds = _range_parts(operand)
        if bounds is not None:
            return self.within(bounds, "not in"), _COMPARE
        if isinstance(operand, InValues | InList):
            return self.membership(operand, "not in"), _COMPARE
        if isinstance(operand, IsMissing):
            return f"{self.write(operand.operand, _SUM)} is not missing", _COMPARE
        return f"not {self.write(operand, _NOT)}", _NOT

    def within(self, found: tuple[Node, Node, Node], word: str) -> str:
        operand, low, high = found
        ends = f"{self.side(low, operand)} .. {self.side(high, operand)}"
        return f"{self.write(operand, _SUM)} {word} {ends}"

    def membership(self, node: InValues | InList, word: str) -> str:
        operand = self.write(node.operand, _SUM)
        if isinstance(node, InList):
            return f"{operand} {word} lists.{node.list}"
        return f"{operand} {word} [{', '.join(self.write(value, _ELSE) for value in node.values)}]"

    def atom(self, node: Node) -> str:
        match node:
            case ThisField():
                return _field(node.event or "this", node.name)
            case ItemField():
                return _field(self.event, node.name)
            case ItemFeature():
                return f"{node.name} of {self.event}"
            case FeatureValue():
                return node.name
            case RowValue():
                path = ("item",) if is_item_number(node) else node.path
                is_item = ITEM in path
                path = path[path.index(ITEM) + 1 :] if is_item else path
                return ("item" if is_item else "row") + "".join(_row_part(part) for part in path)
            case Lookup():
                return f"tables.{node.table}[{self.write(node.key, _ELSE)}].{node.column}"
            case Call():
                return f"{node.function}({', '.join(self.write(part, _ELSE) for part in node.arguments)})"
            case Aggregate():
                return _aggregate(node)
            case Score():
                return "score"
            case _:
                raise AssertionError(f"{type(node).__name__} is not an atom")


def _aggregate(node: Aggregate) -> str:
    inside = _Printer(node.event)
    brackets = [node.event if node.argument is None else inside.write(node.argument, _ELSE)]
    if node.rank is not None:
        share, whole = node.rank
        brackets.append(show_decimal(share, len(str(whole)) - 1))
    text = ", ".join(brackets)
    if node.via is not None:
        text += f" via {text_of_via(node.via)}"
        text += f" up to {node.via.up_to}" if node.via.up_to != VIA_UP_TO else ""
    if node.condition is not None:
        text += f" where {inside.write(node.condition, _ELSE)}"
    words = [f"{node.function}({text})"]
    if node.over_ms is not None:
        words.append(f"over {_duration(node.over_ms)}")
    if node.last_n is not None:
        words.append(f"over last {node.last_n}")
    if node.delay_ms:
        words.append(f"delayed {_duration(node.delay_ms)}")
    if node.matching is not None:
        words.append(f"matching {node.event}.{node.matching}")
    if node.each_source:
        words.append("of each source")
    if node.since_flag:
        words.append("since flag")
    if node.including:
        words.append("including this")
    return " ".join(words)


def _duration(value_ms: int) -> str:
    """Write one or two days in hours, as in names of features (`spent_24h`)."""
    return f"{value_ms // HOUR_MS}h" if value_ms in {24 * HOUR_MS, 48 * HOUR_MS} else show_duration(value_ms)


def _range_parts(node: Node) -> tuple[Node, Node, Node] | None:
    if not (isinstance(node, Logic) and node.operator == "and"):
        return None
    low = node.left
    high = node.right
    if not (isinstance(low, Compare) and isinstance(high, Compare) and (low.operator, high.operator) == (">=", "<=")):
        return None
    return (low.left, low.right, high.right) if _plain(low.left) == _plain(high.left) else None


def _plain(node: Node) -> Node:
    return node.operand if isinstance(node, Convert) else node


def _literal(node: Literal) -> str:
    value = node.value
    type_ = node.type
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if type_.kind == "duration":
        return _duration(int(value))
    if isinstance(value, float):
        text = format(Decimal(repr(value)), "f")
        return _grouped(text.removesuffix(".0"))
    if abs(value) > LITERAL_MAX:  # it was converted to more places than a text can have
        return _grouped(show_number(value, type_.places))
    return _grouped(show_decimal(value, type_.places))


def _grouped(text: str) -> str:
    whole, point, rest = text.partition(".")
    number = int(whole)
    shown = f"{number:_}" if abs(number) >= _GROUPED_FROM else whole
    return shown + point + rest


def _field(event: str, name: str) -> str:
    amount = name.removesuffix(f".{ORIGINAL_AMOUNT}")
    return f"{event}.{name}" if amount == name else f"{ORIGINAL_AMOUNT}({event}.{amount})"


def _row_part(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if part.isidentifier() else "['" + part.replace("'", "''") + "']"
