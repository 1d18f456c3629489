"""Conditions as clauses: what is true of an event where a condition is true, or false.

`ValueWording` tells values; this tells yes-or-no values, and values beside a limit, by its words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from operator import eq, ge, gt, le, lt, ne
from typing import TYPE_CHECKING, Final

from shroff.language.aggregates import AGGREGATES
from shroff.language.expression import (
    Aggregate,
    Call,
    Compare,
    InList,
    InValues,
    IsMissing,
    ItemField,
    Literal,
    Logic,
    Node,
    Not,
    ThisField,
    unconverted,
)
from shroff.language.types import money

if TYPE_CHECKING:
    from shroff.language.wording import ValueWording

SO_MANY: Final = {  # of what is counted or added up, before it
    ">": "more than {}",
    ">=": "{} or more",
    "<": "less than {}",
    "<=": "at most {}",
    "==": "exactly {}",
    "!=": "other than {}",
}
IS: Final = {
    ">": "is above",
    ">=": "is at least",
    "<": "is below",
    "<=": "is at most",
    "==": "is",
    "!=": "is not",
}
_FEW: Final[dict[tuple[str, object], str]] = {
    (">", 0): "at least one",
    (">=", 1): "at least one",
    ("==", 0): "no",
    ("<", 1): "no",
    ("<=", 0): "no",
    ("!=", 0): "at least one",
}
_OPPOSITE: Final = {">": "<=", ">=": "<", "<": ">=", "<=": ">", "==": "!=", "!=": "=="}
_TURNED: Final = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "==": "==", "!=": "!="}
_COMPARED: Final = {"==": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}
DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def clause(teller: ValueWording, node: Node, *, is_true: bool = True) -> str:
    """What is true where a condition is true, or false; empty for one that is nothing but a name.

    >>> from shroff.language.types import BOOLEAN, INTEGER
    >>> from shroff.language.wording import ValueWording
    >>> many = Aggregate(INTEGER, "count", "card", "payment", over_ms=3_600_000)
    >>> clause(ValueWording(lambda name: None, "EUR", 2), Compare(BOOLEAN, ">", many, Literal(INTEGER, 0)))
    'at least one payment in 1 h'
    """
    node, is_ = teller.plain(node), "is" if is_true else "is not"
    match node:
        case Not():
            return _said(teller, node.operand, is_true=not is_true)
        case Logic():
            word = node.operator if is_true else "or" if node.operator == "and" else "and"
            return f" {word} ".join(_said(teller, side, is_true=is_true) for side in (node.left, node.right))
        case Compare():
            return _compared(teller, node, is_true=is_true)
        case IsMissing():
            return f"{teller.noun(node.operand)} {is_} missing"
        case InList():
            return f"{teller.noun(node.operand)} {is_} on the list {node.list}"
        case InValues():
            values = " or ".join(map(teller.noun, node.values))
            return clock_words_of(teller, node, is_true=is_true) or f"{teller.noun(node.operand)} {is_} {values}"
    return ""


def _said(teller: ValueWording, node: Node, *, is_true: bool) -> str:
    return clause(teller, node, is_true=is_true) or f"{'' if is_true else 'not '}{teller.noun(node)}"


def _compared(teller: ValueWording, node: Compare, *, is_true: bool) -> str:
    first = first_of(teller, node)
    if first:
        return first if is_true else f"not the {first}"
    left, right, sign = turned(node)
    sign = sign if is_true else _OPPOSITE[sign]
    if isinstance(right, Literal):
        words = clock_words(teller, left, sign, right) or counted_words(teller, left, sign, right)
        return words or f"{teller.noun(left)} {IS[sign]} {limit_words(teller, left, right)}"
    if _is_same(teller, left, right) and sign in {"==", "!="}:
        return f"{'' if sign == '==' else 'not '}the same {teller.noun(left)} as last time"
    word = f"{IS[sign]} the same as" if sign in {"==", "!="} else IS[sign]
    return f"{teller.noun(left)} {word} {teller.noun(right)}"


def _is_same(teller: ValueWording, left: Node, right: Node) -> bool:
    """Whether a field is compared with its own last value."""
    past = teller.plain(right)
    if not (isinstance(past, Aggregate) and past.function == "last" and past.condition is None and past.argument):
        return False
    return teller.noun(left) == teller.noun(past.argument)


def first_of(teller: ValueWording, node: Compare) -> str:
    """Where more values are known with this event than before it: `first payment with this device in 30 days`."""
    many, before = teller.plain(node.left), teller.plain(node.right)
    if not (isinstance(many, Aggregate) and many.function == "distinct" and many.including and many.argument):
        return ""
    if node.operator != ">" or replace(many, including=False) != before:
        return ""
    return f"first {words_of(many.event)} with this {teller.noun(many.argument)}{teller.where(many)}"


def counted_words(teller: ValueWording, left: Node, sign: str, limit: Literal) -> str:
    """What is counted or added up beside a limit: `4 or more payments in 1 h`; empty for anything else."""
    plain, wording = teller.plain(left), teller.wording(left)
    if not (isinstance(plain, Aggregate) and AGGREGATES[plain.function].is_tally):
        return ""
    if wording.is_share or not wording.after:
        return ""
    if left.type.kind == "money":
        few = "nothing" if sign == "==" and limit.value == 0 else ""
    else:
        few = _FEW.get((sign, limit.value), "")
    is_one = few == "at least one" or (not few and limit.type.places == 0 and limit.value == 1)
    after = wording.one if is_one and wording.one else wording.after
    return f"{few or SO_MANY[sign].format(limit_words(teller, left, limit))}{after}"


def limit_words(teller: ValueWording, left: Node, right: Literal) -> str:
    """A constant with which a value is compared: money with its currency, a share in percent."""
    wording, exact = teller.wording(left), right.type.kind in {"integer", "number"}
    if right.value is None:
        return teller.noun(right)
    if left.type.kind == "money" and exact:
        whole = "." + "0" * teller.money_places
        value = teller.value(money(right.type.places), right.value).removesuffix(whole)
    elif wording.is_share and not isinstance(right.value, str | bool):
        return f"{100 * float(teller.noun(right)):.6g} %"
    elif right.type.kind in {"integer", "duration"}:
        value = teller.value(right.type, right.value)
    else:
        value = teller.noun(right)
    return f"{value}{teller.unit(left.type, wording)}"


def clock_words(teller: ValueWording, node: Node, sign: str, limit: Literal) -> str:
    """An hour or a weekday beside a constant: `paid before 05:00 UTC`; empty for anything else."""
    number = _exact(limit)
    return "" if number is None else _clock(teller, node, lambda one: _COMPARED[sign](one, number))


def clock_words_of(teller: ValueWording, node: Compare | InValues, *, is_true: bool = True) -> str:
    """As `clock_words`, where a comparison or a list of values is true, or false; empty for one without constants."""
    if isinstance(node, InValues):
        among = [_exact(one) for one in node.values]
        return "" if None in among else _clock(teller, node.operand, lambda one: (one in among) == is_true)
    left, right, sign = turned(node)
    return clock_words(teller, left, sign if is_true else _OPPOSITE[sign], right) if isinstance(right, Literal) else ""


def _exact(node: Node) -> Decimal | None:
    """The number that a constant is; None for anything else."""
    node = unconverted(node)
    if not (isinstance(node, Literal) and node.type.is_exact and isinstance(node.value, int)):
        return None
    return Decimal(node.value).scaleb(-node.type.places)


def _clock(teller: ValueWording, node: Node, holds: Callable[[int], bool]) -> str:
    call = teller.plain(node)
    if not (isinstance(call, Call) and call.function in {"hour", "weekday"}):
        return ""
    every = range(24 if call.function == "hour" else len(DAYS))
    fits = [one for one in every if holds(one)]
    if not fits or len(fits) == len(every):
        return ""
    zone, done = zone_of(call), done_by(call)
    words = _hours(fits, zone, "at " if done else "") if call.function == "hour" else f"{_weekdays(fits)} ({zone})"
    return f"{done or teller.noun(call.arguments[0])} {words}"


def done_by(call: Call) -> str:
    """`paid` of the field `paid_at`; empty for a time of another name."""
    time = unconverted(call.arguments[0])
    name = time.name.removeprefix("of.") if isinstance(time, ThisField | ItemField) else ""
    return words_of(name.removesuffix("_at")) if name.endswith("_at") else ""


def zone_of(call: Call) -> str:
    """The time zone in which a call takes the hour or the day."""
    return str(call.options[0]) if call.options else "UTC"


def turned(node: Compare) -> tuple[Node, Node, str]:
    """Both sides and the operator, with a constant at the right."""
    left, right = unconverted(node.left), unconverted(node.right)
    if isinstance(left, Literal):
        return right, left, _TURNED[node.operator]
    return left, right, node.operator


def _hours(fits: Sequence[int], zone: str, at: str) -> str:
    """Hours as times of the day: those before, from or between limits, or all but those between."""
    starts = [one for one in fits if one - 1 not in fits]
    ends = [one for one in fits if one + 1 not in fits]
    if len(starts) == 2 and (starts[0], ends[1]) == (0, 23):
        return f"not {_between(ends[0] + 1, starts[1] - 1, zone, at)}"
    return " or ".join(_between(first, last, zone, at) for first, last in zip(starts, ends, strict=True))


def _between(first: int, last: int, zone: str, at: str) -> str:
    if first == 0:
        return f"before {last + 1:02d}:00 {zone}"
    return f"{at}{first:02d}:00 {zone} or later" if last == 23 else f"between {first:02d}:00 and {last:02d}:59 {zone}"


def _weekdays(fits: Sequence[int]) -> str:
    if len(fits) > 2 and fits[-1] - fits[0] + 1 == len(fits):
        return f"on {DAYS[fits[0]]} to {DAYS[fits[-1]]}"
    return f"on {', '.join(DAYS[one] for one in fits[:-1])}{' or ' if fits[1:] else ''}{DAYS[fits[-1]]}"


def words_of(name: str) -> str:
    """A name as words."""
    return name.replace("_", " ")
