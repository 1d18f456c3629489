"""Rules in plain words, from their effect and condition, and as their author wrote them."""

from __future__ import annotations

import re
from decimal import Decimal

from shroff.language.aggregates import AGGREGATES
from shroff.language.expression import (
    Aggregate,
    Arithmetic,
    Call,
    Compare,
    Else,
    FeatureValue,
    InList,
    InValues,
    IsMissing,
    Literal,
    Logic,
    Node,
    Not,
    When,
    unconverted,
)
from shroff.language.expression_text import (
    IS,
    OF_RULE,
    OPPOSITE,
    SO_MANY,
    ValueWording,
    Wording,
    clock_words_of,
    counted_words,
    first_of,
    limit_words,
    turned,
    words_of,
)
from shroff.language.printer import as_written
from shroff.language.types import Type, money
from shroff.language.values import parse_duration, show_time
from shroff.rules.definitions import Rule
from shroff.rules.keys import EXPERIMENT
from shroff.rules.silences import without_silence
from shroff.runtime.values import FrozenStruct, replace

_DOES = {
    "decline": "Decline {}",
    "challenge": "Challenge {}",
    "review": "Send {} to review",
    "allow": "Allow {}, whatever the score and weaker rules say,",
    "note": "Record a note on {}",
    EXPERIMENT: "Decide {} by the policy of arm B",
}
MISSING = "missing"
# Patterns of values in recorded reasons, by the kind of their type
_SHAPES = {
    "money": rf"({MISSING}|-?\d+(?:\.\d+)?)",
    "integer": rf"({MISSING}|-?\d+)",
    "real": rf"({MISSING}|-?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|inf)|nan)",
    "boolean": rf"({MISSING}|true|false)",
    "duration": rf"({MISSING}|-?(?:\d+(?:ms|[dhms]))+)",
}
# A unit of hours behind a number
_OF_HOUR = re.compile(r":\d|\s*(?:h(?:ours?)?|o['\u2019]clock|uhr)(?![a-z])", re.IGNORECASE)
_TEXT = "(.*?)"  # a value of any other type
_TOLD_MAX = 500  # characters; longer reasons stay as recorded, so that no text makes matching slow
_BETWEEN = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}


def in_words(rule: Rule, teller: ValueWording) -> str:
    """Describe a rule in plain words: effect, condition and entity, without silences."""
    when = _Speaker(rule, teller).said(without_silence(rule.when))
    does = _DOES[rule.effect].format(_a(rule.on))
    flags = "" if rule.effect == "allow" else f" and flag its {words_of(rule.by)}"
    words = f"{does}." if rule.effect == EXPERIMENT else f"{does}{flags} when {when}."
    if rule.is_shadow:
        words += " In shadow: recorded, without effect."
    if rule.rollout < 1.0:
        share = 1 - rule.rollout if rule.is_drawn_out else rule.rollout
        words += f" Applies to {100 * share:.6g} % of all {words_of(rule.by)} keys."
    if rule.expires_ms is not None:
        words += f" Until {show_time(rule.expires_ms)}."
    if rule.notify is not None:
        words += f" Notify {'the customer' if rule.notify == 'customer' else rule.notify}."
    return words


def reason_words(rule: Rule, stored: str, teller: ValueWording) -> str:
    """Format the recorded reason of a hit for people: money with its currency, numbers with separators.

    Return the recorded text if it does not match the rule's reason, as after a change of the rule, or exceeds 500
    characters. Integers get separators only if they count something: fields may hold codes.
    """
    parts = rule.reason
    if not parts or len(stored) > _TOLD_MAX:
        return stored
    shapes = "".join(re.escape(part) if isinstance(part, str) else _SHAPES.get(part.type.kind, _TEXT) for part in parts)
    # Atomic groups: a text ends at the first fit of what follows. Backtracking would multiply the work with each text.
    runs = shapes.replace(_TEXT, f")(?>{_TEXT}")
    match = re.match(rf"(?>{runs}\Z)", stored, re.DOTALL)
    if match is None:
        return stored
    described = ""
    texts = iter(match.groups())
    for part, after in zip(parts, [*parts[1:], ""], strict=True):
        if isinstance(part, str):
            described += part
            continue
        wording = teller.wording(_bare(part))
        text = next(texts)
        unit = "" if text == MISSING or wording.is_ratio else teller.unit(part.type, wording)
        is_said = isinstance(after, str) and after.startswith(unit)
        is_hour_already = wording.clock == "hour" and isinstance(after, str) and _OF_HOUR.match(after)
        plain = teller.plain(_bare(part))
        is_count = isinstance(plain, Aggregate) and AGGREGATES[plain.function].is_tally
        is_told = is_count or (wording.clock and not is_hour_already)
        is_code = part.type.kind == "integer" and not is_told
        described += text if is_code else _read_back(part.type, text, teller, wording)
        described += "" if is_said else unit
    return described


def _read_back(type_: Type, text: str, teller: ValueWording, wording: Wording) -> str:
    if text == MISSING:
        return text
    places = teller.money_places
    match type_.kind:
        case "money":
            return teller.value(money(places), int(Decimal(text).scaleb(places)), wording)
        case "integer":
            return teller.value(type_, int(text), wording)
        case "real":
            return teller.value(type_, float(text), wording)
        case "boolean":
            return teller.value(type_, text == "true", wording)
        case "duration":
            length = parse_duration(text.removeprefix("-"))
            return teller.value(type_, -length if text.startswith("-") else length, wording)
    return text


def _bare(node: Node) -> Node:
    return node.arguments[0] if isinstance(node, Call) and node.function == "round" else node


def condition(rule: Rule) -> str:
    """Return the condition of a rule as its author wrote it, on one line."""
    return as_written(None if rule.place is None else rule.place.text, rule.when)


class _Speaker(FrozenStruct):
    """Describes the condition of one rule."""

    rule: Rule
    teller: ValueWording

    def said(self, node: Node) -> str:
        """Describe a condition as a clause: `the card has 5 or more payments in 10 min`."""
        node = _inward(node)
        timed = clock_words_of(self.teller, node, OF_RULE)
        if timed:
            return timed
        match node:
            case Logic() if node.operator == "and":
                return ", and ".join(map(self.said, self._sides(node)))
            case Not(operand=Else()):
                return "no row above it hits"
            case Logic():
                return f"either {' or '.join(map(self.said, self._sides(node)))}"
            case Not():
                return self._said_if(node.operand, "is not", "false")
            case Compare():
                return self._compared(node)
            case _:
                return self._said_if(node, "is", "true")

    def _said_if(self, node: Node, is_: str, truth: str) -> str:
        match node:
            case IsMissing():
                return f"{self._what(node.operand)} {is_} missing"
            case InList():
                return f"{self._what(node.operand)} {is_} on the list {node.list}"
            case InValues():
                return f"{self._what(node.operand)} {is_} {' or '.join(map(self.teller.noun, node.values))}"
            case FeatureValue():
                meant = self.teller.plain(node)
                if isinstance(meant, Compare) and (first := first_of(self.teller, meant)):
                    return f"it {is_} the {first}"
                entity, _, name = node.name.partition(".")
                return f'"{words_of(name)}" is {truth} for the {words_of(entity)}'
            case _:
                return f"{self._what(node)} is {truth}"

    def _compared(self, node: Compare) -> str:
        left, right, sign = turned(node)
        entity = left.name.partition(".")[0] if isinstance(left, FeatureValue) else self.rule.by
        plain = self.teller.plain(left)
        amount = limit_words(self.teller, left, right) if isinstance(right, Literal) else self._what(right, entity)
        if not isinstance(right, Literal):
            return f"{self._what(left)} {IS[sign]} {amount}"
        count_phrase = counted_words(self.teller, left, sign, right)
        if count_phrase:
            has = "is" if count_phrase.startswith("linked by ") else "has"
            return f"the {words_of(entity)} {has} {count_phrase}{_since(plain)}"
        if isinstance(plain, Arithmetic) and self.teller.wording(plain).is_ratio:
            over = self._what(plain.left, entity)
            under = self._what(plain.right, entity)
            return f"{over} is {SO_MANY[sign].format(amount)} {under}"
        return f"{self._what(left)} {IS[sign]} {amount}"

    def _what(self, node: Node, entity: str = "") -> str:
        """Describe a compared value as a noun: `the amount`, `the card's mean amount in 30 days`."""
        node = unconverted(node)
        noun = self.teller.noun(node)
        match node:
            case Literal():
                return noun
            case Arithmetic(right=Else(left=When())):
                return "the sum of its points"
            case Arithmetic() if not noun.startswith("time since "):
                return f"{self._side(node.left, entity)} {_BETWEEN[node.operator]} {self._side(node.right, entity)}"
            case FeatureValue():
                entity, _, name = node.name.partition(".")
                noun = words_of(name) if node.type.kind == "boolean" else noun
            case Aggregate():
                pass
            case _:
                return f"the {noun}"
        share = "share " if self.teller.wording(node).is_share else ""
        return f"the {words_of(entity or self.rule.by)}'s {share}{noun}{_since(node)}"

    def _sides(self, node: Logic) -> list[Node]:
        """Return the operands of a chain of one operator. Neighbors that limit the same hour or weekday become one."""
        operands: list[Node] = []
        for side in map(_inward, (node.left, node.right)):
            for operand in self._sides(side) if isinstance(side, Logic) and side.operator == node.operator else [side]:
                joined = replace(node, left=operands[-1], right=operand) if operands else operand
                is_one = bool(operands) and bool(clock_words_of(self.teller, joined, OF_RULE))
                operands[-1 if is_one else len(operands) :] = [joined if is_one else operand]
        return operands

    def _side(self, node: Node, entity: str) -> str:
        noun = self._what(node, entity)
        node = unconverted(node)
        return f"({noun})" if isinstance(node, Arithmetic) and node.operator in "+-" else noun


def _since(node: Node) -> str:
    return " since its last flag" if isinstance(node, Aggregate) and node.since_flag else ""


def _inward(node: Node) -> Node:
    """Move negations inward, to the comparisons: `not (a or b)` becomes `not a and not b`."""
    match node:
        case Not(operand=Not() as inner):
            return _inward(inner.operand)
        case Not(operand=Logic() as inner):
            word = "or" if inner.operator == "and" else "and"
            return replace(inner, operator=word, left=Not(node.type, inner.left), right=Not(node.type, inner.right))
        case Not(operand=Compare() as inner):
            return replace(inner, operator=OPPOSITE[inner.operator])
    return node


def _a(noun: str) -> str:
    noun = words_of(noun)
    return f"an {noun}" if noun[:1] in "aeiou" else f"a {noun}"
