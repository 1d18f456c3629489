"""Expressions in words, with a value: `412.00 EUR spent in 24 h`, `9 payments in 1 h`, `paid at 22:00 UTC`.

The words come from declarations: function, window, argument. A value precedes what it counts or adds up, and follows
what it is a property of. For a condition the words are what is true: `first payment with this device in 30 days`.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TypeGuard

from shroff.language.aggregates import AGGREGATES
from shroff.language.calls import local_ms
from shroff.language.clauses import (
    AS_NOUN,
    DAYS,
    IS,
    OF_COUNTED,
    OF_RULE,
    OPPOSITE,
    ROUNDS,
    SO_MANY,
    WHEN_ALONE,
    clause,
    clock_words_of,
    counted_words,
    done_by,
    first_of,
    limit_words,
    range_on_clock,
    turned,
    words_of,
    zone_of,
    zone_words,
)
from shroff.language.expression import (
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
    Score,
    ThisField,
    When,
    walk,
)
from shroff.language.printer import text_of
from shroff.language.types import Type
from shroff.language.values import DAY_MS, HOUR_MS, MINUTE_MS, Value, rescale_half_even, show, show_decimal
from shroff.runtime.values import FrozenStruct, replace

__all__ = [
    "IS",
    "OF_RULE",
    "OPPOSITE",
    "ROUNDS",
    "SO_MANY",
    "WHEN_ALONE",
    "ValueWording",
    "Wording",
    "clause",
    "clock_words_of",
    "counted_words",
    "first_of",
    "limit_words",
    "range_on_clock",
    "turned",
    "words_of",
    "zone_of",
]

DefinitionOf = Callable[[str], Node | None]  # returns the expression of a feature, by name
_AT_LEAST = {">": "above", ">=": "from", "<": "below", "<=": "up to", "!=": "not", "==": ""}
_AS_IT_IS = frozenset({"lower", "upper", "trim"})  # people read letters of another size as the same
_UNITS = ((DAY_MS, "day", "days"), (HOUR_MS, "h", "h"), (MINUTE_MS, "min", "min"), (1_000, "s", "s"))
_SPENT = ("payment", "purchase", "order")  # outgoing money: its sum was spent
_OF_TIME = frozenset({"hour", "minute", "weekday", "day", "day_of_month", "month"})
_CALLS = {  # functions of several arguments in words
    "distance": "distance from {0}, {1} to {2}, {3}",
    "speed": "speed over {0} in {1}",
    "similarity": "similarity of {0} and {1}",
    "name_similarity": "similarity of the names {0} and {1}",
    "matches": "{0} of the form {1}",
    "right": "last {1} characters of {0}",
    "left": "first {1} characters of {0}",
    "power": "{0} to the power of {1}",
    "mod": "rest of {0} by {1}",
}
_MEASURES = {"distance": "km", "speed": "km/h"}
_NEAR_M = 10_000  # shorter distances have tenths of a kilometer
_SHORT_DIGITS = 4
_WHOLE_MAX = 1e15  # longer reals have an exponent


class Wording(FrozenStruct):
    """The text around a value.

    Args:
        one: Replaces `after` if the value is 1.
        is_share: Whether it is shown in percent.
        is_money: Whether a real, such as a mean, is money.
        is_ratio: Whether it is a ratio of money, so many times.
        clock: `hour` for a time of the day, `weekday` for its name.
        measure: Unit of a distance or a speed.
        name: The noun, if neither `before` nor `after` is one.
    """

    before: str = ""
    after: str = ""
    one: str = ""
    is_share: bool = False
    is_money: bool = False
    is_ratio: bool = False
    clock: str = ""
    measure: str = ""
    name: str = ""

    @property
    def noun(self) -> str:
        """Return the noun for the value."""
        return self.name or (self.before.removesuffix(": ") or self.after).strip()


class ValueWording(FrozenStruct):
    """Describes values of expressions.

    Args:
        definition_of: Returns the expression of a feature; None if undeclared.
        currency: Follows money.
        money_places: Decimal places of money.
    """

    definition_of: DefinitionOf
    currency: str
    money_places: int

    def told(self, node: Node, value: Value, time_ms: int | None = None) -> str:
        """Describe a value. `time_ms`, if known, is the time that an hour was taken from.

        >>> from shroff.language.types import money
        >>> spent = Aggregate(money(2), "sum", "card", "payment", ItemField(money(2), "amount"), over_ms=DAY_MS)
        >>> ValueWording(lambda name: None, "EUR", 2).told(spent, 41_200)
        '412.00 EUR spent in 24 h'
        """
        wording = self.wording(node)
        if value is None:
            return f"{wording.noun}: missing"
        if node.type.kind == "boolean" and (said := clause(self, node, is_true=bool(value))):
            return said
        after = wording.one if value == 1 and wording.one else wording.after
        shown = self.value(node.type, value, wording)
        call = self.plain(node)
        if isinstance(call, Call) and wording.clock == "hour" and time_ms is not None and zone_of(call):
            shown = f"{shown[:3]}{local_ms(time_ms, zone_of(call)) // MINUTE_MS % 60:02d}"
        return f"{wording.before}{shown}{self.unit(node.type, wording)}{after}"

    def unit(self, type_: Type, wording: Wording) -> str:
        """Return the unit after a value: the currency of money, `times` of a ratio."""
        if wording.is_ratio or wording.measure:
            return f" {wording.measure or 'times'}"
        return f" {self.currency}" if type_.kind == "money" or wording.is_money else ""

    def value(self, type_: Type, value: Value, wording: Wording | None = None) -> str:
        """Write a value alone: money without currency, reals short, durations in words, truths as yes and no."""
        if value is None:
            return "missing"
        if isinstance(value, float) and abs(value) > _WHOLE_MAX:
            return f"{value:.{_SHORT_DIGITS}g}"
        if wording is not None and wording.measure and isinstance(value, int | float):
            size = value / 1_000 if type_.kind == "integer" else value
            return f"{size:,.{1 if type_.kind == 'integer' and abs(value) < _NEAR_M else 0}f}"
        if type_.kind == "money":
            units = rescale_half_even(int(value), type_.places, self.money_places)
            return f"{Decimal(show_decimal(units, self.money_places)):,f}"
        if type_.kind == "boolean":
            return "yes" if value else "no"
        if type_.kind == "duration":
            return _length(int(value))
        if type_.kind == "real":
            if wording is not None and wording.is_money:
                return f"{float(value):,.{self.money_places}f}"
            return f"{100 * float(value):.3g} %" if wording and wording.is_share else _short(float(value))
        if wording is not None and wording.clock:
            return f"{int(value):02d}:00" if wording.clock == "hour" else DAYS[int(value) % 7]
        return f"{value:,}" if type_.kind == "integer" else show(value, type_, self.money_places)

    # ---- words around a value

    def wording(self, node: Node) -> Wording:
        """Return the text around a value of an expression."""
        node = self.plain(node)
        if isinstance(node, Aggregate):
            return self._around(node)
        since = self._since(node)
        if since:
            return Wording(after=f" since {since}")
        if self._is_ratio(node):
            over = self.noun(node.left)
            under = self.noun(node.right)
            article = "" if isinstance(self.plain(node.right), Literal) else "the "
            return Wording(before=f"{over}: ", after=f" {article}{under}", is_ratio=True, name=f"{over} / {under}")
        if isinstance(node, Call) and node.function in {"hour", "weekday"}:
            is_hour = node.function == "hour"
            zone = zone_words(node)
            done = done_by(node)
            what = self.noun(node.arguments[0])
            before = f"{done} {'at' if is_hour else 'on'} ".lstrip() if done or what == "at" else f"{what}: "
            return Wording(before, f" {zone}" if is_hour else f" ({zone})", clock=node.function, name=self.noun(node))
        if isinstance(node, Call) and node.function in _MEASURES:
            noun = self.noun(node)
            measure = _MEASURES[node.function]
            _, since, place = noun.partition(" from the ")
            return Wording("" if since else f"{noun}: ", since + place, measure=measure, name=noun)
        return Wording(before=f"{self.noun(node)}: ")

    def _is_ratio(self, node: Node) -> TypeGuard[Arithmetic]:
        """Return whether it is money divided by money: how many times the one is the other."""
        if not (isinstance(node, Arithmetic) and node.operator == "/"):
            return False
        sides = map(self.plain, (node.left, node.right))
        return all(side.type.kind == "money" or self.wording(side).is_money for side in sides)

    def plain(self, node: Node) -> Node:
        """Return an expression with features replaced by their definitions, without conversions."""
        seen = 0
        while isinstance(node, FeatureValue | Convert) and seen < 100:
            seen += 1
            inner = node.operand if isinstance(node, Convert) else self.definition_of(node.name)
            if inner is None:
                return node
            node = inner
        return node

    def _around(self, node: Aggregate) -> Wording:
        own = self._own(node)
        if node.via is None or own.before or not AGGREGATES[node.function].is_tally:
            return own
        link = f"linked by {self.noun(node.via.operand)}"
        many, single = (words.replace(f" {link}", "").replace(" different ", " ", 1) for words in (own.after, own.one))
        return replace(own, before=f"{link} to ", after=many, one=single, name=own.noun)

    def _own(self, node: Aggregate) -> Wording:
        where = self.where(node)
        events = f" {_many(node.event)}{where}"
        row = AGGREGATES[node.function]
        if row.state == "events":
            window = self._window(node)
            return Wording(after=f" of {_many(node.event)}{window}{self._condition(node)}", is_share=True)
        if node.argument is None:
            return Wording(after=events, one=f" {node.event}{where}")
        what = self.noun(node.argument)
        if row.state == "values":
            return Wording(after=f" different {_many(what)}{where}", one=f" {what}{where}")
        if row.is_total and node.type.kind == "money" and what == "amount":
            if node.event in _SPENT:
                return Wording(after=f" spent{where}", name=f"total spent{where}")
            return Wording(after=f" in {_many(node.event)}{where}", name=f"total of {_many(node.event)}{where}")
        is_money = node.type.kind == "real" and node.argument.type.kind == "money"
        over, under = node.rank or (0, 1)
        noun = f"{row.words.format(q=f'{100 * over / under:g}', n=over)} {what}{where}"
        if row.stands_behind or node.type.is_text:
            return Wording(before=f"{noun}: ", is_money=is_money)
        return Wording(after=f" {noun}", is_money=is_money)

    def _since(self, node: Node) -> str:
        """Return `the last payment` for the time from that one to this."""
        if not (isinstance(node, Arithmetic) and node.operator == "-" and node.left.type.kind == "time"):
            return ""
        past = self.plain(node.right)
        which = AGGREGATES[past.function].event_of_time if isinstance(past, Aggregate) else ""
        return f"the {which} {past.event}{self.where(past)}" if isinstance(past, Aggregate) and which else ""

    def where(self, node: Aggregate) -> str:
        return self._window(node) + self._condition(node)

    def _condition(self, node: Aggregate) -> str:
        if node.condition is None:
            return ""
        said = clock_words_of(self, node.condition, OF_COUNTED) or f"with {self.noun(node.condition)}"
        return f" {said}"

    def _window(self, node: Aggregate) -> str:
        words = " of each source" if node.each_source and not _names_source(node.condition) else ""
        if node.last_n is not None:
            return f"{words} among the last {node.last_n}"
        words += "" if node.over_ms is None else f" in {_length(node.over_ms)}"
        words += f" up to {_length(node.delay_ms)} before" if node.delay_ms else ""
        return words + ("" if node.via is None else f" linked by {self.noun(node.via.operand)}")

    # ---- an expression as a noun

    def noun(self, node: Node) -> str:
        """Describe an expression without a value; without words of its own, as it is written."""
        match node:
            case ThisField() | ItemField():
                name, _, original = node.name.removeprefix("of.").partition(".")
                return f"{original} {words_of(name)}".lstrip()
            case ItemFeature():
                return words_of(node.name.partition(".")[2])
            case Convert():
                return self.noun(node.operand)
            case FeatureValue():
                inner = self.definition_of(node.name)
                return words_of(node.name.partition(".")[2]) if inner is None else self.noun(inner)
            case Aggregate():
                return self._around(node).noun
            case Literal():
                return show(node.value, node.type, self.money_places)
            case Arithmetic():
                since = self._since(node)
                whole = f"{self._side(node.left)} {node.operator} {self._side(node.right)}"
                return f"time since {since}" if since else whole
            case Compare():
                return self._compared(node)
            case Logic():
                return f"{self.noun(node.left)} {node.operator} {self.noun(node.right)}"
            case Not():
                return f"not {self.noun(node.operand)}"
            case IsMissing():
                return f"{self.noun(node.operand)} missing"
            case InList():
                return f"{self.noun(node.operand)} on the list {node.list}"
            case InValues():
                said = clock_words_of(self, node, AS_NOUN)
                return said or f"{self.noun(node.operand)} one of {', '.join(map(self.noun, node.values))}"
            case Call() if node.function in _OF_TIME:
                zone = f" in {zone_words(node)}" if len(node.arguments) > 1 else ""
                return f"{node.function} of {self.noun(node.arguments[0])}{zone}"
            case Call() if node.function in _AS_IT_IS:
                return self.noun(node.arguments[0])
            case Call() if len(node.arguments) == 1:
                return f"{node.function} of {self.noun(node.arguments[0])}"
            case Call() if node.function in _CALLS:
                return self._place(node) or _CALLS[node.function].format(*map(self.noun, node.arguments))
            case Lookup():
                return f"{words_of(node.column)} of {self.noun(node.key)}"
            case Else():
                return f"{self.noun(node.left)}, else {self.noun(node.right)}"
            case When():
                return f"{self.noun(node.value)} when {self.noun(node.condition)}"
            case Negative():
                return f"-{self._side(node.operand)}"
            case Score():
                return "score"
            case _:
                return text_of(node)

    def _place(self, node: Call) -> str:
        """Describe `distance from the last payment` if one end is a position of that, and its speed; else empty."""
        inner = self.plain(node.arguments[0])
        if node.function == "speed" and isinstance(inner, Call) and inner.function == "distance":
            return self._place(inner).replace("distance", "speed", 1)
        for half in (node.arguments[:2], node.arguments[2:]) if node.function == "distance" else ():
            ends = [past for past in map(self.plain, half) if isinstance(past, Aggregate)]
            row = AGGREGATES[ends[0].function] if ends else None
            if row is not None and row.state == "ends" and len(ends) == 2 and ends[0].event == ends[1].event:
                return f"distance from the {row.words} {ends[0].event}{self._window(ends[0])}"
        return ""

    def beside(self, node: Node, other: Node) -> str:
        """Describe a side of a comparison; a number gets the unit of the other side: `200 EUR`, `100 km`."""
        if isinstance(node, Literal) and (amount := self.plain(other)).type.kind == "money":
            return limit_words(self, amount, node)
        if isinstance(node, Literal) and (wording := self.wording(other)).measure:
            type_ = self.plain(other).type
            return f"{self.value(type_, node.value, wording)}{self.unit(type_, wording)}"
        return self.noun(node)

    def _compared(self, node: Compare) -> str:
        """Describe a comparison: `amount above 60`; `the same card` if aggregated and deciding event have the same
        words.
        """
        if said := first_of(self, node) or clock_words_of(self, node, AS_NOUN):
            return said
        left, right = self.beside(node.left, node.right), self.beside(node.right, node.left)
        sign = _AT_LEAST[node.operator]
        if left == right:
            return f"the same {left}" if node.operator == "==" else f"{left} {sign} that of this one"
        if node.operator == "==" and not isinstance(self.plain(node.right), Literal):
            sign = "the same as"
        return " ".join(part for part in (left, sign, right) if part)

    def _side(self, node: Node) -> str:
        text = self.noun(node)
        return f"({text})" if isinstance(node, Arithmetic) else text


def _names_source(condition: Node | None) -> bool:
    return condition is not None and any(isinstance(day, ItemField) and day.name == "source" for day in walk(condition))


def _many(noun: str) -> str:
    noun = words_of(noun)
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else f"{noun}s"


def _length(value_ms: int) -> str:
    """Write a duration in its two largest units: `24 h`, `7 days`, `3 h 20 min`."""
    if value_ms < 0:
        return f"-{_length(-value_ms)}"
    if value_ms in {DAY_MS, 2 * DAY_MS}:
        return f"{value_ms // HOUR_MS} h"
    parts: list[str] = []
    for unit_ms, node, more in _UNITS:
        amount, value_ms = divmod(value_ms, unit_ms)
        if amount:
            parts.append(f"{amount} {node if amount == 1 else more}")
        if len(parts) == 2:
            return " ".join(parts)
    return " ".join(parts) or f"{value_ms} ms"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10**_SHORT_DIGITS else f"{value:.{_SHORT_DIGITS}g}"
