"""Aggregates as terms: over any history for proofs, and over a few events for counterexamples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import reduce
from itertools import pairwise
from typing import Any, NamedTuple

import z3

from shroff.language.expression import Aggregate, FeatureValue, ItemFeature, ItemField, conjuncts, fields_of_this, walk
from shroff.language.types import INTEGER, INTEGER_MAX, INTEGER_MIN, REAL, Type
from shroff.project.definitions import Definitions
from shroff.runtime.values import replace
from shroff.services.laws.terms import TRUE, SymbolicEvent, Term, Translator, is_required, limits, sort_of

ORDERED = frozenset(["integer", "number", "money", "real", "time", "duration"])
SUMMED = frozenset(["number", "money"])  # each value of a field is small enough to be added
ENDS = {"min": "least", "max": "most", "first": "first", "last": "last"}
BEGINNING_MS = 1_767_225_600_000  # of histories: 2026
ROUNDING = z3.RealVal(Fraction(1, 2**50))  # relative error of one operation on floats, at most
CLOSEST = z3.RealVal("1/1000000000000")  # relative error of a mean, at most
FITTING = "sums fit 64 bits"
ACCEPTED = "events.yaml would accept the events before, too"


class Values(NamedTuple):
    """Values of an expression at some events."""

    count: Any
    total: Any
    least: Any
    most: Any
    first: Any
    last: Any

    def followed_by(self, later: Values) -> Values:
        """Return the values with those at later events."""

        def either(is_own: Any, name: str) -> Any:
            own, other = getattr(self, name), getattr(later, name)
            return z3.If(later.count == 0, own, z3.If(z3.And(self.count > 0, is_own), own, other))

        return Values(
            self.count + later.count,
            self.total + later.total,
            either(self.least < later.least, "least"),
            either(self.most > later.most, "most"),
            either(TRUE, "first"),
            either(z3.Not(TRUE), "last"),
        )


class History:
    """A history: with a size, so many events of each type, which the solver chooses; without one, any history.

    Windows over any history are variables, with the laws that hold between windows. Labels are in no chosen history.
    """

    def __init__(self, size: int = 0) -> None:
        self.laws: list[Any] = []
        self.assumptions: set[str] = set()
        self.codes: dict[str, Any] = {}
        self.untranslated: set[str] = set()
        self.members: dict[tuple[str, Any], Any] = {}  # by list and value
        self._size = size
        self._variables: dict[object, Term] = {}
        self._windows: dict[tuple[Aggregate, object], Values] = {}
        self.events: dict[str, list[tuple[Any, SymbolicEvent]]] = {}  # whether it exists, and the event; by type

    def variable(self, name: object, type_: Type) -> Term:
        """Return the variable of a name, without limits."""
        if name not in self._variables:
            label = f"v{len(self._variables)}"
            self._variables[name] = Term(z3.Bool(f"{label}?"), z3.Const(label, sort_of(type_)))
        return self._variables[name]

    def has(self, name: object) -> bool:
        return name in self._variables

    def assume(self, assumption: str, law: Any) -> None:
        """Add a law that holds only under an assumption, which the answer names if the proof needs it."""
        self.assumptions.add(assumption)
        self.laws.append(z3.Implies(z3.Bool(assumption), law))

    def score(self, definitions: Definitions) -> Term:
        score = self.variable(("score", definitions.versions.model), REAL)
        self.laws += [score.value >= 0, score.value <= 1]
        return score

    def code(self, text: str) -> Any:
        return self.codes.setdefault(text, z3.IntVal(len(self.codes)))

    def rounded(self, exact: Any, divisor: Any = 1, assumption: str = "") -> Term:
        """Return the float nearest to the quotient of an exact result and a divisor other than 0.

        Equal quotients have equal floats. With an assumption, the float is known only under it.
        """
        is_new = not self.has((exact, divisor))
        result = self.variable((exact, divisor), REAL)
        if is_new:
            error = z3.If(exact >= 0, exact, -exact) * ROUNDING
            distance = result.value * divisor - exact
            law = z3.And(result.present, distance <= error, distance >= -error)
            if assumption:
                self.assume(assumption, law)
            else:
                self.laws.append(law)
        return result

    def aggregate(self, node: Aggregate, at: Translator) -> Term:
        fields = [] if node.condition is None else sorted(fields_of_this(node.condition))
        parts = [*at.key(node.entity), *map(at.this.field, fields)]
        value = self._value(node, at)
        return Term(z3.And([value.present, *(part.present for part in parts)]), value.value)

    def _value(self, node: Aggregate, at: Translator) -> Term:
        """Return the aggregate for a key that is present."""
        window = replace(node, type=INTEGER, function="count", rank=None)
        other = self.variable((node, _history_of(node, at)), node.type)
        if node.argument is not None and node.argument.type.kind == "boolean":
            return other
        groups = self._groups(window, at)
        values = reduce(Values.followed_by, groups)
        is_some = values.count > 0
        match node.function:
            case "count":
                return Term(TRUE, values.count)
            case "distinct":
                self.laws += [other.value <= values.count, (other.value > 0) == is_some, other.value >= 0]
                if self._size:
                    self.laws.append(other.value == _different(groups))
                return Term(TRUE, other.value)
            case "share":
                events = reduce(Values.followed_by, self._groups(replace(window, condition=None), at)).count
                share = self.rounded(z3.ToReal(values.count), z3.ToReal(events)).value
                self.laws += [share >= 0, share <= 1]
                return Term(events > 0, share)
            case "min" | "max" | "first" | "last":
                return Term(is_some, getattr(values, ENDS[node.function]))
            case "sum" | "mean" if node.argument is not None and _is_summed(node):
                is_fitting = z3.And(values.total >= INTEGER_MIN, values.total <= INTEGER_MAX)
                self.assume(FITTING, is_fitting)
                if node.function == "sum":
                    return Term(is_fitting, values.total)
                return Term(z3.And(is_fitting, is_some), self._mean(values, 10**node.argument.type.places))
        return other

    def _mean(self, values: Values, scale: int) -> Any:
        mean = self.rounded(z3.ToReal(values.total), z3.ToReal(values.count * scale)).value
        slack = z3.If(mean >= 0, mean, -mean) * CLOSEST
        ends = z3.And(values.least <= (mean + slack) * scale, (mean - slack) * scale <= values.most)
        self.laws.append(z3.Implies(values.count > 0, ends))
        return mean

    def _groups(self, window: Aggregate, at: Translator) -> list[Values]:
        """Return the values in a window, oldest first; the deciding event is a group of its own."""
        own = list[Values]()
        if window.including and window.event == at.this.type.name and not (window.matching or window.via):
            own = [_at_event(at.this, TRUE, window, at)]
            window = replace(window, including=False, last_n=window.last_n and window.last_n - 1)
        return [*(self._chosen(window, at) if self._size else [self._any(window, at)]), *own]

    def _any(self, window: Aggregate, at: Translator) -> Values:
        history = _history_of(window, at)
        name = window, history
        if name in self._windows:
            return self._windows[name]
        type_ = window.argument.type if window.argument else INTEGER
        types = [INTEGER, *[type_] * (len(Values._fields) - 1)]
        made = [self.variable((name, part), of).value for part, of in zip(Values._fields, types, strict=True)]
        values = self._windows[name] = Values(*made)
        self._add_laws(values, window, at)
        for (other, past), others in [*self._windows.items()]:
            if past in {history, ""} and _is_inside(window, other):
                self.laws += _inclusion(values, others, window)
            if history in {past, ""} and _is_inside(other, window):
                self.laws += _inclusion(others, values, window)
        return values

    def _add_laws(self, values: Values, window: Aggregate, at: Translator) -> None:
        count = values.count
        self.laws += [count >= 0, count <= INTEGER_MAX]
        if window.last_n is not None:
            self.laws.append(count <= window.last_n)
        if window.argument is None:
            return
        events = self._any(replace(window, argument=None), at)
        some = [z3.And(values.least <= value, value <= values.most) for value in (values.first, values.last)]
        if _is_summed(window):
            self.laws.append(z3.Implies(count == 0, values.total == 0))
            some += [
                values.total >= values.most + (count - 1) * values.least,
                values.total <= values.least + (count - 1) * values.most,
            ]
        self.laws += [count <= events.count, z3.Implies(count > 0, z3.And(some))]
        declared = at.definitions.events.types.get(window.event)
        if declared and isinstance(window.argument, ItemField):
            name = window.argument.name
            if is_required(declared, name):
                self.assume(ACCEPTED, count == events.count)
            if window.argument.type.kind in ORDERED:
                ends = [limit for end in (values.least, values.most) for limit in limits(self, declared, name, end)]
                self.assume(ACCEPTED, z3.And(ends))

    def _chosen(self, window: Aggregate, at: Translator) -> list[Values]:
        nothing = self.variable(("none", window.argument), window.argument.type if window.argument else INTEGER).value
        groups = list[Values]()
        newer = z3.IntVal(0)
        for exists, event in reversed(self._events_of(window, at)):
            is_in = z3.And(exists, _is_in(window, event, at))
            if window.last_n is not None:
                is_last = newer < window.last_n
                newer += z3.If(is_in, 1, 0)
                is_in = z3.And(is_in, is_last)
            groups.insert(0, _at_event(event, is_in, window, at))
        return [Values(z3.IntVal(0), nothing - nothing, *[nothing] * 4), *groups]

    def _events_of(self, window: Aggregate, at: Translator) -> list[tuple[Any, SymbolicEvent]]:
        """Return the events of the history that a window may have, oldest first."""
        declared = at.definitions.events.types.get(window.event)
        has_key = window.matching or window.event in at.definitions.events.entities[window.entity].keys
        if declared is None or window.via or not has_key:
            return []
        if window.event not in self.events:
            events = [SymbolicEvent(self, declared, (window.event, row)) for row in range(self._size)]
            times = [z3.IntVal(BEGINNING_MS), *(event.time for event in events), at.this.time]
            self.laws += [earlier <= later for earlier, later in pairwise(times)]
            self.events[window.event] = [(z3.Bool(f"{window.event} {row}"), event) for row, event in enumerate(events)]
        return self.events[window.event]


def _is_in(window: Aggregate, event: SymbolicEvent, at: Translator) -> Any:
    end = at.this.time - window.delay_ms
    is_in = [event.time <= end]
    theirs = Translator(at.definitions, event).key(window.entity)
    if window.matching:
        theirs = [event.field(window.matching)]
    keys = zip(theirs, at.key(window.entity), strict=True)
    is_in += [z3.And(one.present, one.value == other.value) for one, other in keys]
    if window.over_ms is not None:
        is_in.append(event.time > end - window.over_ms)
    return z3.And(is_in)


def _at_event(event: SymbolicEvent, is_in: Any, window: Aggregate, at: Translator) -> Values:
    """Return the value at an event of a window, if its condition is true and an aggregate keeps the value."""
    item = Translator(at.definitions, at.this, event)
    number = Term(TRUE, z3.IntVal(1))
    counts = [is_in]
    if window.condition is not None:
        counts.append(item.term(window.condition).is_true)
    if window.argument is not None:
        number = item.term(window.argument)
        counts.append(number.present)
        if window.argument.type.kind in ORDERED and z3.is_int(number.value):
            counts += [number.value >= INTEGER_MIN, number.value <= INTEGER_MAX]
    is_counted = z3.And(counts)
    return Values(z3.If(is_counted, 1, 0), z3.If(is_counted, number.value, 0), *[number.value] * 4)


def _different(groups: Sequence[Values]) -> Any:
    is_new = []
    for row, group in enumerate(groups):
        equal = [z3.And(other.count > 0, other.last == group.last) for other in groups[:row]]
        is_new.append(z3.And(group.count > 0, z3.Not(z3.Or(equal))))
    return z3.Sum([z3.If(each, 1, 0) for each in is_new])


def _history_of(window: Aggregate, at: Translator) -> object:
    """Return the parts of a version by which the values of equal windows differ."""
    if window.since_flag:
        return at.rule
    reads_features = any(isinstance(node, FeatureValue | ItemFeature) for node in walk(window))
    return at.definitions.versions.definitions if reads_features else ""


def _is_summed(window: Aggregate) -> bool:
    argument = window.argument
    return isinstance(argument, ItemField) and argument.type.kind in SUMMED and "." not in argument.name


def _is_inside(part: Aggregate, whole: Aggregate) -> bool:
    """Return whether all events of a window are in another one, by their definitions."""
    same = {"condition": None, "over_ms": None, "delay_ms": 0, "last_n": None, "since_flag": False}
    if part == whole or part.via or replace(part, **same) != replace(whole, **same):
        return False
    if whole.since_flag > part.since_flag or not {*conjuncts(whole.condition)} <= {*conjuncts(part.condition)}:
        return False
    if whole.last_n is not None:
        return part.last_n is not None and part.last_n <= whole.last_n
    ends = [window.delay_ms + (window.over_ms or INTEGER_MAX) for window in (part, whole)]
    return whole.delay_ms <= part.delay_ms and (whole.over_ms is None or ends[0] <= ends[1])


def _inclusion(part: Values, whole: Values, window: Aggregate) -> Iterator[Any]:
    """Return what holds for values of a window of which another one has all events."""
    more = whole.count - part.count
    yield more >= 0
    if window.argument is None:
        return
    yield z3.Implies(part.count > 0, z3.And(whole.least <= part.least, part.most <= whole.most))
    if _is_summed(window):
        rest = whole.total - part.total
        yield z3.Implies(more > 0, z3.And(rest >= more * whole.least, rest <= more * whole.most))
        yield z3.Implies(more == 0, rest == 0)
