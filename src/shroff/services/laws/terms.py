"""Typed expressions as terms of the solver Z3, over events whose fields are variables.

Exact numbers are integers in smallest units. A float is a variable near the exact result. An expression without a
translation is an unknown function of its parts, so a proof holds for each function.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import z3

from shroff.events.definitions import EventType
from shroff.features.definitions import Feature
from shroff.features.value_bounds import WORD, field_bounds
from shroff.language import expression as typed
from shroff.language.expression import Aggregate, FeatureValue, ItemFeature, Node, ThisField, children
from shroff.language.printer import text_of
from shroff.language.row import COMPARISONS
from shroff.language.types import WIDE_MAX, WIDE_MIN, Type
from shroff.language.values import DAY_MS, HOUR_MS, Value, to_real
from shroff.project.definitions import Definitions
from shroff.rules.silences import rule_of

if TYPE_CHECKING:
    from shroff.services.laws.windows import History

TRUE, FALSE = z3.And(), z3.Or()
NO_SILENCE = "no rule is silenced"
FINITE = "no float overflows or underflows"
EXACT = {"+": operator.add, "-": operator.sub, "*": operator.mul}
UTC_PARTS = {
    "hour": lambda time: time % DAY_MS / HOUR_MS,
    "weekday": lambda time: (time / DAY_MS + 3) % 7,  # 1970 began on a Thursday
}


class Term(NamedTuple):
    """A value of the solver, and the condition under which it is present."""

    present: Any
    value: Any

    @property
    def is_true(self) -> Any:
        return z3.And(self.present, self.value)


class SymbolicEvent(NamedTuple):
    """An event whose fields are variables, within what intake accepts."""

    world: History
    type: EventType
    name: object

    def field(self, name: str) -> Term:
        field = self.type.fields[self.type.at(name)]
        is_new = not self.world.has((self.name, name))
        term = self.world.variable((self.name, name), field.type)
        if is_new:
            self.world.laws += limits(self.world, self.type, name, term.value)
            if is_required(self.type, name):
                self.world.laws.append(term.present)
        return term

    @property
    def time(self) -> Any:
        return self.field(self.type.time_field).value


def is_required(type_: EventType, name: str) -> bool:
    """Return whether each accepted event has the field; converted money is missing without a rate."""
    field = type_.fields[type_.at(name)]
    return not (field.shape.is_optional or field.is_made or field.shape.currency)


def limits(world: History, type_: EventType, name: str, value: Any) -> list[Any]:
    """Return what holds for each value of a field."""
    field = type_.fields[type_.at(name)]
    if field.type.kind in {"boolean", "real"}:
        return []
    if field.type.choices and not field.type.is_open:
        return [z3.Or([value == world.code(choice) for choice in field.type.choices])]
    if field.type.is_text:
        return [value != world.code("")]
    low, high = (WORD if field.is_made else field_bounds(ThisField(field.type, name))) or WORD
    bounds = field.shape.bounds
    if bounds is not None:
        low, high = int(max(low, bounds.least)), int(min(high, bounds.most))
    return [value >= low, value <= high]


class Translator:
    """Terms of expressions over `this`, and inside an aggregate over `item`; `rule` is the one of `since flag`."""

    def __init__(
        self, definitions: Definitions, this: SymbolicEvent, item: SymbolicEvent | None = None, rule: object = None
    ) -> None:
        self.definitions = definitions
        self.this = this
        self.rule = rule
        self.world = this.world
        self._item = item
        self._terms: dict[Node, Term] = {}

    def term(self, node: Node) -> Term:
        if node not in self._terms:
            self._terms[node] = self._term(node)
        return self._terms[node]

    def key(self, entity: str) -> list[Term]:
        """Return the parts of an entity's key at the event; an event without it has a missing part."""
        parts = self.definitions.events.entities[entity].keys.get(self.this.type.name, ())
        return [self.term(part) for part in parts] or [Term(FALSE, FALSE)]

    def _term(self, node: Node) -> Term:
        world = self.world
        match node:
            case typed.Literal():
                return self._literal(node.type, node.value)
            case ThisField():
                return self.this.field(node.name)
            case typed.ItemField() if self._item:
                return self._item.field(node.name)
            case FeatureValue() | ItemFeature() if isinstance(node, FeatureValue) or self._item == self.this:
                return self._feature(self.definitions.features[node.name])
            case typed.Score():
                return world.score(self.definitions)
            case Aggregate():
                return world.aggregate(node, self)
            case typed.Convert():
                return self._convert(node)
            case typed.Arithmetic():
                return self._arithmetic(node)
            case typed.Negative():
                return self._arithmetic(typed.Arithmetic(node.type, "-", typed.Literal(node.type, 0), node.operand))
            case typed.InList():
                return self._in_list(node)
            case typed.Else():
                left, right = self.term(node.left), self.term(node.right)
                return Term(z3.Or(left.present, right.present), z3.If(left.present, left.value, right.value))
            case typed.When():
                value, condition = self.term(node.value), self.term(node.condition)
                return Term(z3.And(value.present, condition.is_true), value.value)
            case typed.Call(function="hour" | "weekday", arguments=[argument], options=()):
                time = self.term(argument)
                return Term(time.present, UTC_PARTS[node.function](time.value))
            case typed.Compare() if not node.left.type.is_text or node.operator in {"==", "!="}:
                left, right = self.term(node.left), self.term(node.right)
                return Term(z3.And(left.present, right.present), COMPARISONS[node.operator](left.value, right.value))
            case typed.Logic():
                return _joined([self.term(node.left), self.term(node.right)], decisive=node.operator == "or")
            case typed.InValues():
                operand = self.term(node.operand)
                values = [self.term(value) for value in node.values]
                equal = [Term(z3.And(operand.present, at.present), at.value == operand.value) for at in values]
                return _joined(equal, decisive=True)
            case typed.Not():
                operand = self.term(node.operand)
                return Term(operand.present, z3.Not(operand.value))
            case typed.IsMissing():
                return Term(TRUE, z3.Not(self.term(node.operand).present))
        return self._unknown(node)

    def _unknown(self, node: Node) -> Term:
        """Return an unknown function of the parts of an expression, such as a row of a table by its key."""
        self.world.untranslated.add(text_of(node))
        parts = [self.term(part) for part in children(node)]
        arguments = [value for part in parts for value in part] or [TRUE]
        sorts = [argument.sort() for argument in arguments]
        name = f"{text_of(node)} {self.definitions.versions.tables}"
        value = z3.Function(name, *sorts, sort_of(node.type))(*arguments)
        present = z3.Function(f"{name}?", *sorts, z3.BoolSort())(*arguments)
        is_call = isinstance(node, typed.Call | typed.Lookup)
        return Term(z3.And([present, *(part.present for part in parts if is_call)]), value)

    def _feature(self, feature: Feature) -> Term:
        value = Translator(self.definitions, self.this).term(feature.node)
        is_defined = z3.BoolVal(self.this.type.name in feature.events)
        key = [part.present for part in self.key(feature.entity)]
        return Term(z3.And(is_defined, value.present, *key), value.value)

    def _in_list(self, node: typed.InList) -> Term:
        operand = self.term(node.operand)
        member = z3.Function(f"{node.list} {self.definitions.versions.lists}", z3.IntSort(), z3.BoolSort())(
            operand.value
        )
        self.world.members[node.list, operand.value] = member
        if rule_of(node.list) is not None:
            self.world.assume(NO_SILENCE, z3.Not(member))
        return Term(operand.present, member)

    def _literal(self, type_: Type, value: Value) -> Term:
        if value is None:
            return Term(FALSE, self.world.variable(type_, type_).value)
        if isinstance(value, bool):
            return Term(TRUE, z3.BoolVal(value))
        if isinstance(value, str):
            return Term(TRUE, self.world.code(value))
        return Term(TRUE, z3.RealVal(Fraction(value)) if type_.kind == "real" else z3.IntVal(value))

    def _convert(self, node: typed.Convert) -> Term:
        source = node.operand.type
        operand = self.term(node.operand)
        if source.kind == node.type.kind == "real":
            return operand
        if node.type.kind != "real":
            value = operand.value * 10 ** (node.type.places - source.places)
            return Term(z3.And(operand.present, _is_wide(value)), value)
        if isinstance(node.operand, typed.Literal) and isinstance(node.operand.value, int):
            return self._literal(node.type, to_real(node.operand.value, source.places))
        return Term(operand.present, self.world.rounded(z3.ToReal(operand.value) / 10**source.places).value)

    def _arithmetic(self, node: typed.Arithmetic) -> Term:
        left, right = self.term(node.left), self.term(node.right)
        present = z3.And(left.present, right.present)
        is_exact = z3.is_int(left.value)
        if node.operator == "/":
            exact, divisor = (z3.ToReal(side.value) if is_exact else side.value for side in (left, right))
            result = self.world.rounded(exact, divisor, "" if is_exact else FINITE)
            return Term(z3.And(present, divisor != 0, result.present), result.value)
        value = EXACT[node.operator](left.value, right.value)
        if is_exact:
            return Term(z3.And(present, _is_wide(value)), value)
        result = self.world.rounded(value, assumption=FINITE)
        return Term(z3.And(present, result.present), result.value)


def sort_of(type_: Type) -> Any:
    return {"boolean": z3.BoolSort, "real": z3.RealSort}.get(type_.kind, z3.IntSort)()


def _joined(sides: Sequence[Term], *, decisive: bool) -> Term:
    """Return `and` or `or`, three-valued: a side with the decisive value decides without the others."""
    decides = z3.Or([z3.And(side.present, side.value == decisive) for side in sides])
    present = z3.Or(decides, z3.And([side.present for side in sides]))
    return Term(present, decides if decisive else z3.Not(decides))


def _is_wide(value: Any) -> Any:
    return z3.And(value >= WIDE_MIN, value <= WIDE_MAX)
