"""Counterfactuals: the nearest value of one feature or field that changes the outcome, with all others unchanged.

The margin of a forest changes only where a value crosses a cut, and a rule's result only where it crosses a limit. So
one value of each interval between them is tried, its nearest end; the nearest value found is the nearest there is.

In reality other features of the event would change too: a smaller amount makes a smaller sum. This is ignored, and the
texts say so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from shroff.explain.past import PastDecision, reader_of
from shroff.language.aggregates import AGGREGATES
from shroff.language.columns import column_of
from shroff.language.expression import (
    ORIGINAL_AMOUNT,
    Aggregate,
    FeatureValue,
    ItemFeature,
    ItemField,
    Literal,
    Node,
    Score,
    ThisField,
    beside_literals,
    rewritten,
    walk,
)
from shroff.language.types import Type
from shroff.language.values import Value
from shroff.models.columns import model_column
from shroff.models.model import Cuts, Explainable
from shroff.models.model_contributions import NUMERIC, name_of, steps, units_of
from shroff.project.definitions import Definitions
from shroff.project.policy import Policy, outcome
from shroff.rules.definitions import Rule
from shroff.runtime.values import FrozenStruct, replace

Variable = FeatureValue | ThisField


class Counterfactual(FrozenStruct):
    """The nearest value that changes the outcome to a certain one.

    Args:
        code: Name of the feature or field.
        value: Value in the units of its type.
        until: Last value of the range that starts there and has this outcome; None if the range has no end, as far as
            the model and the rules distinguish values.
        crossed: Distance: the share of all tried values up to this one, in (0, 1].
    """

    code: str
    variable: Variable
    value: Value
    now: Value
    until: Value
    outcome: str
    crossed: float


class _ChangeableRule(FrozenStruct):
    """A rule that is evaluated for changed values: its condition reads only features, fields and the score."""

    rule: Rule
    reads: frozenset[Variable]
    reads_score: bool


@dataclass(frozen=True)
class Changes:
    """Tries other values for one decision.

    Args:
        inputs: Inputs of the model, in its order; `model` is None if none scored the event.
        seen: The event as it was decided.
        effective: Ids of the rules that hit with effect.
    """

    definitions: Definitions
    event: str
    model: Explainable | None
    inputs: Sequence[Node]
    seen: PastDecision
    effective: frozenset[str]

    def nearest(self, decided: str) -> list[Counterfactual]:
        """Return the nearest value for each feature or field and each other outcome, nearest first.

        Cost: one row to score for each cut of each input, some thousand at most.
        """
        cuts = None if self.model is None else self.model.cuts()
        counterfactuals: list[Counterfactual] = []
        for variable in self._variables():
            current = self._now(variable)
            if current is not None:
                counterfactuals += self._of_one(variable, current, self._tried(variable, float(current), cuts), decided)
        return sorted(
            counterfactuals,
            key=lambda counterfactual: (counterfactual.crossed, counterfactual.code, counterfactual.outcome),
        )

    # ---- what can change

    def _variables(self) -> list[Variable]:
        read = frozenset[Variable]().union(*map(_read_in, self.inputs), *(asked.reads for asked in self._asked))
        numeric = {variable for variable in read if variable.type.kind in NUMERIC}
        return sorted(numeric, key=lambda variable: name_of(variable, self.event))

    def _now(self, variable: Variable) -> float | None:
        values = self.seen.features if isinstance(variable, FeatureValue) else self.seen.fields
        value = values.get(variable.name)
        return value if isinstance(value, int | float) else None

    @cached_property
    def _asked(self) -> Sequence[_ChangeableRule]:
        rules = []
        for rule in self.definitions.rules:
            parts = list(walk(rule.when))
            is_plain = not any(isinstance(part, Aggregate) for part in parts)
            is_whole = not rule.is_shadow and rule.rollout >= 1.0
            is_over = rule.expires_ms is not None and self.seen.time_ms >= rule.expires_ms
            if rule.on == self.event and is_plain and is_whole and not is_over:
                rules.append(_ChangeableRule(rule, _read_in(rule.when), any(isinstance(part, Score) for part in parts)))
        return rules

    # ---- values to try

    def _tried(self, variable: Variable, current: float, cuts: Cuts | None) -> tuple[list[float], list[float]]:
        """Return values to try: below (descending) and above (ascending), the nearest end of each interval that model
        and rules distinguish.
        """
        below = set[float]()
        above = set[float]()
        for index, node in enumerate(self.inputs):
            if cuts is not None and isinstance(node, FeatureValue | ThisField) and _plain(node) == variable:
                near_steps = steps(cuts.by_input[index], current, variable.type, is_single=cuts.is_single)
                below.update(near_steps.below)
                above.update(near_steps.above)
        nodes = [*self.inputs, *(asked.rule.when for asked in self._asked if variable in asked.reads)]
        for value in _compared(nodes, variable):
            below.update({value} if value < current else ())
            above.update({value} if value > current else ())
        minimum, maximum = self._possible(variable)
        return (
            sorted((limit for limit in below if limit >= minimum), reverse=True),
            sorted(limit for limit in above if limit <= maximum),
        )

    def _possible(self, variable: Variable) -> tuple[float, float]:
        """Return the smallest and largest value that the event permits, whatever other events there are."""
        if isinstance(variable, ThisField):
            return self._declared(self.event, variable.name)
        feature = self.definitions.features.get(variable.name)
        node = None if feature is None else feature.node
        if not isinstance(node, Aggregate):
            return -math.inf, math.inf
        row = AGGREGATES[node.function]
        minimum, maximum = row.ends
        if row.is_of_one_event and isinstance(node.argument, ItemField) and node.event != "label":
            minimum, maximum = self._declared(node.event, node.argument.name)
        own_value = self._own_value(node)
        if not isinstance(own_value, int | float):
            return (minimum, maximum) if own_value is None or row.own != "counts" else (1.0, maximum)
        own_minimum, own_maximum = row.ends_with(own_value, node.rank, has_negatives=not self._has_no_negatives(node))
        return max(minimum, own_minimum), min(maximum, own_maximum)

    def _declared(self, event: str, name: str) -> tuple[float, float]:
        fields = {field.name: field for field in self.definitions.events.types[event].fields}
        original = fields.get(f"{name}.{ORIGINAL_AMOUNT}")
        declared = original or fields.get(name)
        bounds = None if declared is None else declared.shape.bounds
        if bounds is None:
            return -math.inf, math.inf
        if original is None:
            return bounds.least, bounds.most
        # converted money has the sign of its original
        return 0.0 if bounds.least >= 0 else -math.inf, 0.0 if bounds.most <= 0 else math.inf

    def _has_no_negatives(self, node: Aggregate) -> bool:
        return isinstance(node.argument, ItemField) and self._declared(node.event, node.argument.name)[0] >= 0

    def _own_value(self, node: Aggregate) -> Value:
        """Return what this event adds to a window that includes it, True for a count; None if it may add nothing."""
        if not node.including or node.event != self.event or node.delay_ms or node.since_flag or node.via is not None:
            return None
        if node.condition is not None and self._of_this(node.condition) is not True:
            return None
        return True if node.argument is None else self._of_this(node.argument)

    def _of_this(self, node: Node) -> Value:
        """Evaluate an expression over aggregated events for this event; None if it reads more than fields."""
        parts = [*walk(node)]
        if any(isinstance(part, ItemFeature | FeatureValue | Score) for part in parts):
            return None
        of_this: dict[Node, Node] = {
            part: ThisField(part.type, part.name) for part in parts if isinstance(part, ItemField)
        }
        return reader_of(rewritten(node, of_this), self.definitions.reference)(self.seen)

    # ---- trying values

    def _of_one(
        self, variable: Variable, current: float, tried: tuple[list[float], list[float]], decided: str
    ) -> Iterator[Counterfactual]:
        count = max(len(tried[0]) + len(tried[1]), 1)
        name = name_of(variable, self.event)
        is_real = variable.type.kind == "real"
        for values in tried:
            outcomes = self._outcomes(variable, values)
            for limit in sorted({other for other in outcomes if other != decided}):
                index = outcomes.index(limit)
                end = next((later for later in range(index, len(values)) if outcomes[later] != limit), None)
                value = values[index]
                # the next interval starts directly after the last value of this one
                until = None if end is None else values[end] + (0 if is_real else 1 if value < current else -1)
                bounds = [bound if is_real or bound is None else int(bound) for bound in (value, until)]
                yield Counterfactual(name, variable, bounds[0], current, bounds[1], limit, (index + 1) / count)

    def _outcomes(self, variable: Variable, values: Sequence[float]) -> list[str]:
        rows = [self._with(variable, value) for value in values]
        scores = self._scores(rows, variable)
        rules = [
            (bound.rule, reader_of(bound.rule.when, self.definitions.reference))
            for bound in self._asked
            if variable in bound.reads or bound.reads_score
        ]
        evaluated_ids = {rule.id for rule, _ in rules}
        fixed_effects = [
            rule.effect for rule in self.definitions.evaluated if rule.id in self.effective - evaluated_ids
        ]
        policy = self.definitions.policy(self.event)
        outcomes = []
        for row, score in zip(rows, scores, strict=True):
            scored = replace(row, score=score)
            effects = [*fixed_effects, *(rule.effect for rule, read in rules if read(scored) is True)]
            outcomes.append(outcome(effects, policy, score, has_model=score is not None))
        return outcomes

    def _with(self, variable: Variable, value: float) -> PastDecision:
        changed: Mapping[str, Value] = {variable.name: value if variable.type.kind == "real" else int(value)}
        if isinstance(variable, FeatureValue):
            return replace(self.seen, features={**self.seen.features, **changed})
        return replace(self.seen, fields={**self.seen.fields, **changed})

    def _scores(self, rows: Sequence[PastDecision], variable: Variable) -> Sequence[float | None]:
        if self.model is None or not rows:
            return [self.seen.score] * len(rows)
        columns = []
        for node, shape in zip(self.inputs, self.model.inputs, strict=True):
            read = reader_of(node, self.definitions.reference)
            values = [read(row) for row in rows] if variable in _read_in(node) else [read(self.seen)] * len(rows)
            columns.append(model_column(column_of(values, node.type), node.type, shape.categories))
        scores: list[float | None] = self.model.scores(columns).tolist()
        return scores


def score_outcome(policy: Policy, score: float | None) -> str:
    return outcome((), policy, score, has_model=score is not None)


def _plain(variable: Variable) -> Variable:
    return ThisField(variable.type, variable.name) if isinstance(variable, ThisField) else variable


def _read_in(node: Node) -> frozenset[Variable]:
    return frozenset(_plain(part) for part in walk(node) if isinstance(part, FeatureValue | ThisField))


def _compared(nodes: Iterable[Node], variable: Variable) -> Iterator[float]:
    """Return the values on both sides of each literal that a variable is compared with, and the literal, in its
    units.
    """
    for node in nodes:
        for _, side, literal in beside_literals(node):
            if isinstance(side, FeatureValue | ThisField) and _plain(side) == variable:
                yield from _around(literal, variable.type)


def _around(literal: Literal, type_: Type) -> Iterator[float]:
    value = literal.value
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    if type_.kind == "real":
        exact_value = float(value) / 10**literal.type.places if literal.type.is_exact else float(value)
        yield from (float(np.nextafter(exact_value, -np.inf)), exact_value, float(np.nextafter(exact_value, np.inf)))
        return
    exact = Fraction(value)
    if type_.kind != "duration":
        exact = exact / (10**literal.type.places if literal.type.is_exact else 1) * units_of(type_)
    yield from {math.ceil(exact) - 1, math.floor(exact), math.ceil(exact), math.floor(exact) + 1}
