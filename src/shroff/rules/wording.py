"""Rules in words: as they are written, and as somebody would say them by how features and fields are declared."""

from __future__ import annotations

from typing import Final

from shroff.language.aggregates import AGGREGATES
from shroff.language.expression import (
    Aggregate,
    Compare,
    FeatureValue,
    InList,
    InValues,
    IsMissing,
    Literal,
    Logic,
    Node,
    Not,
    ThisField,
    unconverted,
)
from shroff.language.printing import as_written
from shroff.language.values import show_time
from shroff.language.wording import ValueWording
from shroff.rules.definitions import Rule
from shroff.rules.silences import without_silence

_DONE: Final = {
    "decline": "is declined",
    "challenge": "is challenged",
    "review": "goes to review",
    "allow": "is allowed, whatever the score and weaker rules say,",
    "note": "is noted",
}

_DOES: Final = {
    "decline": "decline it",
    "challenge": "challenge it",
    "review": "send it to review",
    "allow": "allow it, whatever the score and weaker rules say",
    "note": "note it",
}
_SO_MANY: Final = {  # of what is counted or added up, before it
    ">": "more than {}",
    ">=": "{} or more",
    "<": "less than {}",
    "<=": "at most {}",
    "==": "exactly {}",
    "!=": "other than {}",
}
_IS: Final = {
    ">": "is above",
    ">=": "is at least",
    "<": "is below",
    "<=": "is at most",
    "==": "is",
    "!=": "is not",
}
_TURNED: Final = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "==": "==", "!=": "!="}


def in_words(rule: Rule, teller: ValueWording) -> str:
    """A rule in plain words: its action, its time, its entity; its silences are listed elsewhere."""
    when = _Speaker(rule, teller).said(without_silence(rule.when))
    words = f"When {_a(rule.on)} comes with {when}: {_DOES[rule.effect]}"
    words += "." if rule.effect == "allow" else f", and flag its {_words(rule.by)}."
    if rule.is_shadow:
        words += " In shadow: it is recorded, and has no effect."
    if rule.rollout < 1.0:
        words += f" For {100 * rule.rollout:.6g} % of all {_words(rule.by)} keys."
    if rule.expires_ms is not None:
        words += f" Until {show_time(rule.expires_ms)}."
    if rule.notify is not None:
        words += f" Tell {'the customer' if rule.notify == 'customer' else rule.notify}."
    return words


class _Speaker:
    """Says the condition of one rule."""

    def __init__(self, rule: Rule, teller: ValueWording) -> None:
        self._rule, self._teller = rule, teller

    def said(self, node: Node) -> str:
        match node:
            case Logic() if node.operator == "and":
                return f"{self.said(node.left)}, and {self.said(node.right)}"
            case Logic():
                return f"either {self.said(node.left)} or {self.said(node.right)}"
            case Not() if _is_truth(node.operand):
                return f"{self._what(node.operand)} that is false"
            case Not():
                return f"not {self.said(node.operand)}"
            case FeatureValue() if _is_truth(node):
                return f"{self._what(node)} that is true"
            case Compare():
                return self._compared(node)
            case IsMissing():
                return f"{self._what(node.operand)} missing"
            case InList():
                return f"{self._what(node.operand)} on the list {node.list}"
            case InValues():
                options = " or ".join(self._teller.noun(one) for one in node.values)
                return f"{self._what(node.operand)} that is {options}"
            case _:
                return self._what(node)

    def _compared(self, node: Compare) -> str:
        left, right, sign = unconverted(node.left), unconverted(node.right), node.operator
        if isinstance(left, Literal):
            left, right, sign = right, left, _TURNED[sign]
        so_many = self._so_many(left, right, sign)
        if so_many:
            return so_many
        what = self._teller.noun(right) if isinstance(right, Literal) else self._what(right, "the")
        return f"{self._what(left)} that {_IS[sign]} {what}{self._unit(left, right)}"

    def _so_many(self, left: Node, right: Node, sign: str) -> str:
        """`4 or more payments in 1 h of the card`; empty where the left side is nothing that is counted."""
        counted = self._summed(left)
        if counted is None or not isinstance(right, Literal):
            return ""
        amount = f"{self._teller.noun(right)}{self._unit(left, right)}"
        wording = self._teller.wording(left)
        if wording.before or wording.is_share:
            return ""
        return f"{_SO_MANY[sign].format(amount)}{wording.after}{self._whose(left)}"

    def _summed(self, node: Node) -> Aggregate | None:
        seen = 0
        while isinstance(node, FeatureValue) and seen < 100:
            inner = self._teller.definition_of(node.name)
            if inner is None:
                return None
            node, seen = unconverted(inner), seen + 1
        return node if isinstance(node, Aggregate) and AGGREGATES[node.function].is_tally else None

    def _what(self, node: Node, article: str = "a") -> str:
        """`an amount`, `a new device of the card`: something that can be compared, as a noun."""
        node = unconverted(node)
        if isinstance(node, FeatureValue):
            if node.type.kind == "boolean":
                noun = _words(node.name.partition(".")[2])
            else:
                wording = self._teller.wording(node)
                noun = wording.noun
                if wording.is_share or noun.startswith("since "):
                    noun = f"{'share' if wording.is_share else 'time'} {noun}"
            return f"{self._article(noun, article)}{self._whose(node)}"
        if isinstance(node, ThisField | Aggregate):
            return self._article(self._teller.noun(node), article)
        return self._teller.noun(node)

    def _article(self, noun: str, article: str) -> str:
        return f"the {noun}" if article == "the" else _a(noun)

    def _whose(self, node: Node) -> str:
        entity = node.name.partition(".")[0] if isinstance(node, FeatureValue) else self._rule.by
        return f" of the {_words(entity)}"

    def _unit(self, left: Node, right: Node) -> str:
        return f" {self._teller.currency}" if isinstance(right, Literal) and left.type.kind == "money" else ""


def _is_truth(node: Node) -> bool:
    """Whether this is a feature that is true or false, and no condition by itself."""
    return isinstance(node, FeatureValue) and node.type.kind == "boolean"


def _a(noun: str) -> str:
    noun = _words(noun)
    return f"an {noun}" if noun[:1] in "aeiou" else f"a {noun}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def sentence(rule: Rule) -> str:
    """A rule in one sentence or two: its action, its time, its entity."""
    condition = as_written(None if rule.place is None else rule.place.text, rule.when)
    article = "An" if rule.on[0] in "aeiou" else "A"
    words = f"{article} {rule.on} {_DONE[rule.effect]} when {condition}"
    words += "." if rule.effect == "allow" else f"; its {rule.by} is flagged."
    if rule.is_shadow:
        words += " In shadow: recorded, without effect."
    if rule.rollout < 1.0:
        words += f" For {100 * rule.rollout:.6g}% of the keys of {rule.by}."
    if rule.expires_ms is not None:
        words += f" Until {show_time(rule.expires_ms)}."
    if rule.notify is not None:
        words += f" It tells {rule.notify}."
    return words
