"""Conditions as clauses: what is true of an event if a condition is true, or false.

`ValueWording` describes values; this module describes yes-or-no values, and values beside a limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
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
from shroff.runtime.values import replace

if TYPE_CHECKING:
    from shroff.language.expression_text import ValueWording

SO_MANY = {  # before a count or a sum
    ">": "more than {}",
    ">=": "{} or more",
    "<": "less than {}",
    "<=": "at most {}",
    "==": "exactly {}",
    "!=": "other than {}",
}
IS = {">": "is above", ">=": "is at least", "<": "is below", "<=": "is at most", "==": "is", "!=": "is not"}
_FEW: Final[dict[tuple[str, object], str]] = {
    (">", 0): "at least one",
    (">=", 1): "at least one",
    ("==", 0): "no",
    ("<", 1): "no",
    ("<=", 0): "no",
    ("!=", 0): "at least one",
}
OPPOSITE = {">": "<=", ">=": "<", "<": ">=", "<=": ">", "==": "!=", "!=": "=="}
_TURNED = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "==": "==", "!=": "!="}
_COMPARED = {"==": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}
# Forms of a sentence for an hour or a weekday: for a field `paid_at`, then for a field with another name.
AS_CLAUSE = ("{what} {when}", "{what} is {when}")
AS_NOUN = ("{what} {when}", "{what} {when}")
OF_COUNTED = ("{what} {when}", "with {what} {when}")
OF_RULE = ("it is {what} {when}", "the {what} is {when}")
WHEN_ALONE = ("{when}", "{when}")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
ROUNDS = {"hour": 24, "weekday": len(DAYS)}  # number of values of a function of the clock


def clause(teller: ValueWording, node: Node, *, is_true: bool = True) -> str:
    """Return the clause that holds if a condition is true, or false; empty for a bare name.

    >>> from shroff.language.types import BOOLEAN, INTEGER
    >>> from shroff.language.expression_text import ValueWording
    >>> many = Aggregate(INTEGER, "count", "card", "payment", over_ms=3_600_000)
    >>> clause(ValueWording(lambda name: None, "EUR", 2), Compare(BOOLEAN, ">", many, Literal(INTEGER, 0)))
    'at least one payment in 1 h'
    """
    node = teller.plain(node)
    is_ = "is" if is_true else "is not"
    if timed := clock_words_of(teller, node, is_true=is_true):
        return timed
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
            return f"{teller.noun(node.operand)} {is_} {values}"
    return ""


def _said(teller: ValueWording, node: Node, *, is_true: bool) -> str:
    return clause(teller, node, is_true=is_true) or f"{'' if is_true else 'not '}{teller.noun(node)}"


def _compared(teller: ValueWording, node: Compare, *, is_true: bool) -> str:
    first = first_of(teller, node)
    if first:
        return first if is_true else f"not the {first}"
    left, right, sign = turned(node)
    sign = sign if is_true else OPPOSITE[sign]
    if isinstance(right, Literal):
        words = counted_words(teller, left, sign, right)
        return words or f"{teller.noun(left)} {IS[sign]} {limit_words(teller, left, right)}"
    if _is_last_value(teller, left, right) and sign in {"==", "!="}:
        return f"{'' if sign == '==' else 'not '}the same {teller.noun(left)} as last time"
    word = f"{IS[sign]} the same as" if sign in {"==", "!="} else IS[sign]
    return f"{teller.noun(left)} {word} {teller.noun(right)}"


def _is_last_value(teller: ValueWording, left: Node, right: Node) -> bool:
    past = teller.plain(right)
    if not (isinstance(past, Aggregate) and past.function == "last" and past.argument):
        return False
    if past.condition is not None or past.via is not None:
        return False
    return teller.noun(left) == teller.noun(past.argument)


def first_of(teller: ValueWording, node: Compare) -> str:
    """Describe a value that is new with this event: `first payment with this device in 30 days`; else empty."""
    many = teller.plain(node.left)
    before = teller.plain(node.right)
    if not (isinstance(many, Aggregate) and many.function == "distinct" and many.including and many.argument):
        return ""
    if many.via is not None:
        return ""
    if node.operator != ">" or replace(many, including=False) != before:
        return ""
    return f"first {words_of(many.event)} with this {teller.noun(many.argument)}{teller.where(many)}"


def counted_words(teller: ValueWording, left: Node, sign: str, limit: Literal) -> str:
    """Describe a count or sum beside a limit: `4 or more payments in 1 h`; empty for anything else."""
    plain = teller.plain(left)
    wording = teller.wording(left)
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
    many = SO_MANY[sign] if left.type.kind == "money" else SO_MANY[sign].replace("less", "fewer")
    return f"{wording.before}{few or many.format(limit_words(teller, left, limit))}{after}"


def limit_words(teller: ValueWording, left: Node, right: Literal) -> str:
    """Describe the constant that a value is compared with: money with its currency, a share in percent."""
    wording = teller.wording(left)
    exact = right.type.kind in {"integer", "number"}
    if right.value is None:
        return teller.noun(right)
    if wording.measure:
        value = teller.value(left.type, right.value, wording)
    elif left.type.kind == "money" and exact:
        whole = "." + "0" * teller.money_places
        value = teller.value(money(right.type.places), right.value).removesuffix(whole)
    elif wording.is_share and not isinstance(right.value, str | bool):
        return f"{100 * float(teller.noun(right)):.6g} %"
    elif right.type.kind in {"integer", "duration"}:
        value = teller.value(right.type, right.value)
    else:
        value = teller.noun(right)
    return f"{value}{teller.unit(left.type, wording)}"


def clock_words_of(teller: ValueWording, node: Node, form: tuple[str, str] = AS_CLAUSE, *, is_true: bool = True) -> str:
    """Describe an hour or a weekday for which a condition is true, or false: `paid before 05:00 UTC`.

    Empty for any other condition, and if it is so for every hour or weekday, or for none.
    """
    clock_values = _clock(teller, node)
    if clock_values is None:
        return ""
    call, true_values = clock_values
    all_values = range(ROUNDS[call.function])
    fits = [number for number in all_values if (number in true_values) == is_true]
    if not fits or len(fits) == len(all_values):
        return ""
    zone = zone_words(call)
    what = teller.noun(call.arguments[0])
    done = done_by(call)
    is_done = bool(done) or what == "at"  # for a field `at`: `before 05:00 UTC`
    when = _hours(fits, f" {zone}") if call.function == "hour" else f"{_weekdays(fits)} ({zone})"
    return " ".join(form[not is_done].format(what=done if is_done else what, when=when).split())


def _clock(teller: ValueWording, node: Node) -> tuple[Call, set[int]] | None:
    """Return the hour or weekday that a condition depends on, if on nothing else, and the values for which it is
    true.
    """
    match node:
        case Not():
            operand_values = _clock(teller, node.operand)
            return operand_values and (
                operand_values[0],
                {*range(ROUNDS[operand_values[0].function])} - operand_values[1],
            )
        case Logic():
            right = _clock(teller, node.right)
            left = right and _clock(teller, node.left)
            if not (left and right and left[0] == right[0]):
                return None
            return left[0], left[1] & right[1] if node.operator == "and" else left[1] | right[1]
        case InValues():
            limits = node.values
            sign = "=="
            call = teller.plain(node.operand)
        case Compare():
            operand, limit, sign = turned(node)
            limits = (limit,)
            call = teller.plain(operand)
        case _:
            return None
    if not (isinstance(call, Call) and call.function in ROUNDS):
        return None
    numbers = [number for number in map(_constant, limits) if number is not None]
    if len(numbers) < len(limits):
        return None
    all_values = range(ROUNDS[call.function])
    return call, {value for value in all_values if any(_COMPARED[sign](value, number) for number in numbers)}


def _constant(node: Node) -> Decimal | None:
    node = unconverted(node)
    if not (isinstance(node, Literal) and node.type.is_exact and isinstance(node.value, int)):
        return None
    return Decimal(node.value).scaleb(-node.type.places)


def done_by(call: Call) -> str:
    """Return `paid` for a field `paid_at`; empty for a time with another name."""
    time = unconverted(call.arguments[0])
    name = time.name.removeprefix("of.") if isinstance(time, ThisField | ItemField) else ""
    return words_of(name.removesuffix("_at")) if name.endswith("_at") else ""


def zone_of(call: Call) -> str:
    """Return the time zone in which a call reads the clock; empty if each event has its own."""
    return str(call.options[0]) if call.options else "" if len(call.arguments) > 1 else "UTC"


def zone_words(call: Call) -> str:
    """Describe that time zone: `Berlin time`, `UTC`, `UTC-5`."""
    area, _, place = zone_of(call).rpartition("/")
    if not place:
        return "local time"
    if area == "Etc" and place.startswith(("GMT+", "GMT-")):
        return f"UTC{'-' if place[3] == '+' else '+'}{place[4:]}"  # POSIX has the opposite sign
    return f"{words_of(place)} time" if area not in {"", "Etc"} else place


def turned(node: Compare) -> tuple[Node, Node, str]:
    """Return both sides and the operator, with a constant on the right."""
    left = unconverted(node.left)
    right = unconverted(node.right)
    if isinstance(left, Literal):
        return right, left, _TURNED[node.operator]
    return left, right, node.operator


def range_on_clock(clock: str, low: int, high: int, now: int | None) -> str:
    """Describe a typical range of hours or weekdays, to follow `normally`, from the side on which `now` is.

    From `low` to `high`, both inclusive; over midnight or the end of the week if `high` is smaller.

    >>> range_on_clock("hour", 10, 21, 3), range_on_clock("hour", 10, 21, 23), range_on_clock("hour", 22, 1, 12)
    ('not before 10:00', 'before 22:00', 'between 22:00 and 01:59')
    """
    all_ = ROUNDS[clock]
    if (high - low + 1) % all_ == 0:
        return "at any hour" if clock == "hour" else "on any day"
    if clock == "hour" and (high == all_ - 1 or (now is not None and now < low <= high)):
        return f"not before {low:02d}:00"
    low = 0 if clock == "hour" and now is not None and low <= high < now else low
    fits = [(low + number) % all_ for number in range((high - low) % all_ + 1)]
    return _hours(sorted(fits)) if clock == "hour" else _weekdays(fits)


def _hours(fits: Sequence[int], zone: str = "") -> str:
    """Describe ascending hours by limits: before, from, between, over midnight, or outside."""
    starts = [fit for fit in fits if fit - 1 not in fits]
    ends = [fit for fit in fits if fit + 1 not in fits]
    if len(starts) == 2 and (starts[0], ends[1]) == (0, 23):
        if len(fits) > 12:
            return f"outside {ends[0] + 1:02d}:00\N{EN DASH}{starts[1] - 1:02d}:59{zone}"
        starts = starts[1:]
        ends = ends[:1]
    return " or ".join(_between(first, last, zone) for first, last in zip(starts, ends, strict=True))


def _between(first: int, last: int, zone: str) -> str:
    if first == 0:
        return f"before {last + 1:02d}:00{zone}"
    return f"at {first:02d}:00{zone} or later" if last == 23 else f"between {first:02d}:00 and {last:02d}:59{zone}"


def _weekdays(fits: Sequence[int]) -> str:
    names = [DAYS[fit] for fit in fits]
    if len(fits) > 2 and all((after - day) % 7 == 1 for day, after in pairwise(fits)):
        return f"{names[0]} to {names[-1]}"
    left_out = [day for day in DAYS if day not in names]
    if len(left_out) == 1:
        return f"on any day except {left_out[0]}"
    return f"on {', '.join(names[:-1])}{' or ' if fits[1:] else ''}{names[-1]}"


def words_of(name: str) -> str:
    """Return a name as words."""
    return name.replace("_", " ")
