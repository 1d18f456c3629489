"""Translate rules of Stripe Radar, each with the same hits, or refuse a rule and report what is missing.

Missing values have the same effect in both languages (in Radar since May 2024): a comparison with a missing value is
missing, and so is its negation, and a rule whose condition is missing does not hit. The languages differ in one point.
In Radar an allow rule overrides a block rule. In shroff no rule cancels a decline, so the conditions of allow rules are
excluded from the condition of each block rule.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from msgspec import Struct

from shroff.errors import Problem, nearest
from shroff.json_types import TextMapping
from shroff.plugins.language import BOOLEAN, ExpressionError, FeatureValue, Node, check, show_duration, text_of, walk
from shroff.plugins.values import FrozenStruct
from shroff_plugins.foreign_rules.attributes import COUNTRY, EXACT, Added, Attributes, Meaning, RadarTarget, slug
from shroff_plugins.foreign_rules.syntax import (
    Attribute,
    Condition,
    Joined,
    ListName,
    Missing,
    Pattern,
    Place,
    RadarCompare,
    RadarError,
    RadarNot,
    RadarNumber,
    RadarRule,
    RadarTruth,
    RadarWithin,
    Text,
    Written,
    attributes_of,
)

EFFECTS: Final[TextMapping] = {"block": "decline", "review": "review", "allow": "allow", "3ds": "challenge"}
ID_LENGTH_MAX = 100
_SPAN_MAX = 30  # characters of a number of seconds, minutes or hours
_COUNTRY = re.compile(r"[A-Za-z0-9]{1,3}")


class Carried(FrozenStruct):
    """A translated rule. `when` is its condition, and `added` are features that it needs and the project lacks."""

    id: str
    by: str
    when: str
    effect: str
    source: RadarRule
    added: tuple[Added, ...]


class RefusedRule(FrozenStruct):
    """A rule that was not imported. `attribute` is the missing attribute or list, or empty for another reason."""

    text: str
    attribute: str
    problem: Problem


class Outcome(Struct):
    """Result for the rules of a file, each list in its order."""

    carried: list[Carried] = []
    refused: list[RefusedRule] = []
    notes: list[str] = []

    @property
    def added(self) -> list[Added]:
        """The features that the rules need, each once."""
        return list(
            {
                f"{attribute.entity}.{attribute.name}": attribute for rule in self.carried for attribute in rule.added
            }.values()
        )


class RadarOptions(FrozenStruct):
    """Options of the import.

    Args:
        file: Name of the file, for messages.
        by: Entity that is flagged; if empty, the entity whose features a rule reads, or the first of the event.
        taken: Rule ids that the project uses already.
    """

    file: str
    by: str = ""
    taken: frozenset[str] = frozenset()


def carry_over(rules: Sequence[RadarRule], target: RadarTarget, options: RadarOptions) -> Outcome:
    carrier = RuleCarrier(target, options, Attributes(target))
    allowed = [radar_rule for radar_rule in rules if radar_rule.action == "allow"]
    for rule in allowed:
        carrier.try_to_carry(rule, "")
    allows = " or ".join(f"({rule.when})" for rule in carrier.outcome.carried)
    for rule in rules:
        if rule.action != "allow":
            carrier.try_to_carry(rule, allows if rule.action == "block" else "")
    outcome = carrier.outcome
    outcome.notes += carrier.notes
    outcome.carried.sort(key=lambda rule: rule.source.place.line)
    outcome.refused.sort(key=lambda refused: (refused.problem.line, refused.problem.column))
    actions = {rule.source.action for rule in outcome.carried}
    if {"allow", "3ds"} <= actions:
        outcome.notes.append("An allow rule cancels a challenge here; in Radar 3D Secure is requested all the same.")
    return outcome


class RuleCarrier:
    """Translates rules, one after the other, and collects the result in `outcome`."""

    def __init__(self, target: RadarTarget, options: RadarOptions, attributes: Attributes) -> None:
        self._target = target
        self._options = options
        self._ids = set(options.taken)
        self._attributes = attributes
        self.outcome = Outcome()
        self._now = ""  # attribute or list that is being translated, for `RefusedRule.attribute`

    def try_to_carry(self, rule: RadarRule, allows: str) -> None:
        self._now = ""
        try:
            self.outcome.carried.append(self._carry(rule, allows))
        except RadarError as error:
            self.refuse(rule, error)

    def refuse(self, rule: RadarRule, error: RadarError) -> None:
        """Record a refused rule with its error, at the rule's position if it has a name, else at the error's."""
        position = rule.place if rule.name else error.place
        problem = Problem(self._options.file, position.line, position.column, "", error.message, error.hint)
        self.outcome.refused.append(RefusedRule(rule.text, self._now, problem))

    def _carry(self, rule: RadarRule, allows: str) -> Carried:
        text = self._condition(rule.condition)
        if allows:
            text = f"({text}) and not (({allows}) else false)"
        node = self._check(text, rule.place)
        feature_names = {part.name for part in walk(node) if isinstance(part, FeatureValue)}
        added = tuple(attribute for name, attribute in self._attributes.added.items() if name in feature_names)
        by = self._options.by or self._group_key(node, rule.place)
        return Carried(self._id(rule), by, text_of(node), EFFECTS[rule.action], rule, added)

    def _check(self, text: str, position: Place) -> Node:
        scope = self._attributes.scope("the rule")
        try:
            node = check(text, scope, BOOLEAN)
            check(text_of(node), scope, BOOLEAN)  # the formatted text must be short enough, too
        except ExpressionError as error:
            raise RadarError(f"in the language it is {text!r}: {error.message}", position, error.hint) from None
        return node

    def _group_key(self, node: Node, position: Place) -> str:
        owners = [part.name.partition(".")[0] for part in walk(node) if isinstance(part, FeatureValue)]
        entities = self._target.events.entities
        owner = next(
            iter([*owners, *(name for name, entity in entities.items() if self._target.event in entity.keys)]), ""
        )
        if not owner:
            hint = "Declare one under entities in events.yaml."
            raise RadarError(f"{self._target.event} has no entity that a rule could flag.", position, hint)
        return owner

    def _id(self, rule: RadarRule) -> str:
        slugs = [slug(attribute.name) for attribute in attributes_of(rule.condition)]
        action = "challenge" if rule.action == "3ds" else rule.action
        stem = re.sub(r"\W+", "_", rule.name) or "_".join([action, *dict.fromkeys(slugs)])
        base = stem[:ID_LENGTH_MAX].rstrip("_")
        rule_id = base
        number = 2
        while rule_id in self._ids:
            rule_id = f"{base}_{number}"
            number = number + 1
        self._ids.add(rule_id)
        return rule_id

    @property
    def notes(self) -> list[str]:
        return self._attributes.notes

    # ---- conditions

    def _condition(self, condition: Condition) -> str:
        match condition:
            case Joined(operator, parts):
                return f" {operator} ".join(f"({self._condition(part)})" for part in parts)
            case RadarNot(operand):
                return f"not ({self._condition(operand)})"
            case Missing(attribute):
                return f"{self._meaning(attribute).text} is missing"
            case RadarTruth(attribute):
                return self._truth(attribute)
            case RadarWithin():
                return self._within(condition)
            case Pattern():
                return self._pattern(condition)
            case RadarCompare():
                return self._compare(condition)
            case Written(text):
                return text

    def _meaning(self, attribute: Attribute) -> Meaning:
        self._now = attribute.shown
        meaning = self._attributes.meaning(attribute)
        self._now = ""  # errors from here on have another cause
        return meaning

    def _truth(self, attribute: Attribute) -> str:
        meaning = self._meaning(attribute)
        if meaning.type.kind != "boolean":
            hint = f"Compare it, such as {attribute.shown} = 'value'."
            raise RadarError(f"{attribute.shown} is {meaning.type}, no truth.", attribute.place, hint)
        return meaning.text

    def _compare(self, condition: RadarCompare) -> str:
        left = self._meaning(condition.left)
        operator = "==" if condition.operator == "=" else condition.operator
        self._check_operator(condition.left, left, condition.operator)
        right = condition.right
        if isinstance(right, Attribute):
            other = self._meaning(right)
            if left.type.is_text != other.type.is_text or other.type.kind == "boolean":
                message = f"{condition.left.shown} is {left.type}, and {right.shown} is {other.type}."
                raise RadarError(message, right.place)
            if left.is_hashed != other.is_hashed:
                raise RadarError(f"one of {condition.left.shown} and {right.shown} is hashed.", right.place)
            case = _common_case(left, other)
            return f"{left.in_case(case)} {operator} {other.in_case(case)}"
        return f"{_operand(left)} {operator} {self._literal(condition.left, left, right)}"

    def _check_operator(self, attribute: Attribute, meaning: Meaning, operator: str) -> None:
        if meaning.type.kind == "boolean":
            hint = f"Write {attribute.shown}, or not {attribute.shown} for the opposite."
            raise RadarError(f"{attribute.shown} is a boolean: write it without a comparison.", attribute.place, hint)
        if meaning.type.is_text and operator not in {"=", "!="}:
            raise RadarError(f"{attribute.shown} is a text, which takes = and != only.", attribute.place)

    def _literal(self, attribute: Attribute, meaning: Meaning, value: Text | RadarNumber) -> str:
        kind = meaning.type.kind
        if not meaning.type.is_text:
            if isinstance(value, Text):
                raise RadarError(f"{attribute.shown} is {meaning.type}, and {value.value!r} is a text.", value.place)
            return _duration(value, meaning.unit_ms) if kind == "duration" else value.text
        if isinstance(value, RadarNumber):
            hint = "Quote it for the text; for a number declare the field so."
            raise RadarError(f"{attribute.shown} is a text, and {value.text} is a number.", value.place, hint)
        if meaning.is_hashed:
            message = f"{meaning.text} is hashed, so no rule can name a value of it."
            raise RadarError(message, value.place, "Put the value into a list, and write IN @list: it is hashed there.")
        if meaning.kind == COUNTRY and not _COUNTRY.fullmatch(value.value):
            raise RadarError(
                f"{value.value!r} is not a code of a country or state.", value.place, "Write such as 'US'."
            )
        if _is_closed(meaning):
            return quoted(self._choice(attribute, meaning, value))
        return quoted(_fold(meaning, value.value))

    def _choice(self, attribute: Attribute, meaning: Meaning, value: Text) -> str:
        is_exact = meaning.kind == EXACT
        for choice in meaning.type.choices:
            if choice == value.value or (not is_exact and choice.lower() == value.value.lower()):
                return choice
        hint = nearest(value.value, meaning.type.choices) or f"It is one of {', '.join(meaning.type.choices)}."
        raise RadarError(f"{attribute.shown} is never {value.value!r} here.", value.place, hint)

    def _within(self, condition: RadarWithin) -> str:
        attribute = condition.left
        meaning = self._meaning(condition.left)
        if meaning.type.kind == "boolean":
            self._check_operator(attribute, meaning, "in")
        if isinstance(condition.values, ListName):
            return f"{meaning.in_case(meaning.case)} in {self._list(attribute, meaning, condition.values)}"
        values = ", ".join(self._literal(attribute, meaning, value) for value in condition.values)
        return f"{_operand(meaning)} in [{values}]"

    def _list(self, attribute: Attribute, meaning: Meaning, list_name: ListName) -> str:
        name = self._target.mapped.lists.get(list_name.name, list_name.name.lower())
        lists = self._target.names.lists
        if not meaning.type.is_text:
            raise RadarError(f"{attribute.shown} is {meaning.type}, and lists hold texts.", attribute.place)
        if name not in lists:
            self._now = f"@{list_name.name}"
            case = f" in {meaning.case} case" if meaning.case else ""
            hint = nearest(name, lists) or (
                f"Put its values{case} into lists/{name}.csv, under the line 'value,note,added_by,expires_at'; or name "
                f"yours in the mapping, under lists: '{list_name.name}: NAME'."
            )
            raise RadarError(f"there is no list {name}.", list_name.place, hint)
        case = f"in {meaning.case} case" if meaning.case else "as events have them"
        note = f"Values of lists/{name}.csv must be {case}: {attribute.shown} is compared so."
        if (meaning.case or meaning.kind != EXACT) and note not in self.outcome.notes:
            self.outcome.notes.append(note)
        return f"lists.{name}"

    def _pattern(self, condition: Pattern) -> str:
        attribute = condition.left
        meaning = self._meaning(condition.left)
        value = condition.right
        if not meaning.type.is_text or meaning.is_hashed:
            obstacle = "hashed" if meaning.is_hashed else meaning.type
            message = f"{attribute.shown} is {obstacle}, and {condition.operator.upper()} looks into a text."
            raise RadarError(message, attribute.place)
        text = _fold(meaning, value.value)
        operand = meaning.in_case(meaning.case)
        if condition.operator == "includes":
            return f"contains({operand}, {quoted(text)})"
        return _like(operand, text, value.place)


def _is_closed(meaning: Meaning) -> bool:
    return meaning.type.kind == "choice" and not meaning.type.is_open


def _operand(meaning: Meaning) -> str:
    is_folded = meaning.type.is_text and not _is_closed(meaning)
    return meaning.in_case(meaning.case) if is_folded else meaning.text


def _common_case(meaning: Meaning, other: Meaning) -> str:
    """Return the case in which two attributes are compared; "" compares them unchanged."""
    if not meaning.type.is_text or meaning.is_hashed:
        return ""
    if EXACT in {meaning.kind, other.kind}:
        return meaning.own_case or other.own_case
    return "upper" if COUNTRY in {meaning.kind, other.kind} else "lower"


def _fold(meaning: Meaning, value: str) -> str:
    return {"upper": value.upper, "lower": value.lower}.get(meaning.case, lambda: value)()


def quoted(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def _duration(value: RadarNumber, unit_ms: int) -> str:
    span_ms = Fraction(value.text) * unit_ms if len(value.text) <= _SPAN_MAX else Fraction(-1)
    if span_ms < 0 or span_ms.denominator != 1:
        raise RadarError(f"{value.text[:_SPAN_MAX]} is not a span of whole milliseconds.", value.place)
    return show_duration(int(span_ms))


def _like(operand: str, pattern: str, position: Place) -> str:
    """Translate a pattern with `%` for any text: a text at the start, one at the end, or both; or one anywhere.

    Raises: RadarError if the pattern has other parts.

    >>> _like("x", "fraud%@example.org", Place(1, 1))
    "(starts_with(x, 'fraud') and ends_with(x, '@example.org') and length(x) >= 17)"
    """
    first, *other_parts = re.sub("%+", "%", pattern).split("%")
    if not other_parts:
        return f"{operand} == {quoted(first)}"
    *between, last = other_parts
    between = [step for step in between if step]
    if len(between) > 1 or (between and (first or last)):
        hint = "Write it as several conditions: one text at the beginning, one at the end, one anywhere."
        raise RadarError(f"the pattern {pattern!r} has too many parts.", position, hint)
    parts = [f"contains({operand}, {quoted(step)})" for step in between]
    parts += [f"starts_with({operand}, {quoted(first)})"] if first else []
    parts += [f"ends_with({operand}, {quoted(last)})"] if last else []
    if first and last:
        parts.append(f"length({operand}) >= {len(first) + len(last)}")
    return f"({' and '.join(parts)})" if parts else f"not ({operand} is missing)"
