"""Prove a law about a policy for all events, or refute it by an event that the naive engine decides again."""

from __future__ import annotations

from fractions import Fraction
from math import inf
from threading import Lock
from typing import Any, NamedTuple

import z3

from shroff.engine.verdicts import takes_effect
from shroff.events.event import Event
from shroff.features.computed import Computed, score_name
from shroff.features.naive import Naive
from shroff.language.types import BOOLEAN, REAL, TEXT, Type
from shroff.language.values import Value, key_text
from shroff.project.definitions import Definitions, computed_of
from shroff.project.laws import LOOSENS_NOTHING, Law
from shroff.project.policy import OUTCOMES, outcome
from shroff.rules.definitions import Rule
from shroff.rules.keys import EFFECTS, EXPERIMENT
from shroff.runtime.values import FrozenStruct, replace
from shroff.services.laws.terms import FALSE, TRUE, SymbolicEvent, Term, Translator
from shroff.services.laws.windows import History

PROVED, REFUTED, UNKNOWN = "proved", "refuted", "unknown"
SIZES = (1, 3, 6, 12)  # events of each type in a history that is tried
SOLVER_STEPS = 4_000_000  # of Z3, about 1 s: a limit that does not depend on the machine
_ONE_AT_A_TIME = Lock()  # the solver's terms are for one thread


class Counterexample(FrozenStruct):
    """An event that breaks a law, after the events before it, with its score and the values in lists."""

    events: list[Event]
    score: float | None
    lists: dict[str, dict[str, None]]


class Proof(FrozenStruct):
    """The answer about a law: proved, refuted or unknown, with the reason."""

    law: Law
    answer: str
    reason: str = ""
    found: Counterexample | None = None


class Decided(NamedTuple):
    """A decision by one version, as terms: whether the law's condition is true, the hits, the index of the outcome."""

    is_when: Any
    hits: dict[str, Any]
    outcome: Any


def prove(law: Law, new: Definitions, old: Definitions) -> Proof:
    """Return the proof of a law about `new`, the draft, and `old`, the active policy."""
    if any(each.policy(law.on).explore for each in (new, old)) and not law.hits:
        return Proof(law, UNKNOWN, "Not translated: explore in policy.yaml.")
    if law.draft and (new.events, new.settings) != (old.events, old.settings):
        return Proof(law, UNKNOWN, "events.yaml or shroff.yaml differs from the active version.")
    with _ONE_AT_A_TIME:
        history = History()
        answer, found, _ = _solved(law, new, old, history)
        if answer == z3.unsat:
            return Proof(law, PROVED, f"Given that {' and '.join(sorted(found))}." if found else "")
        for size in SIZES:
            chosen = History(size)
            answer, model, this = _solved(law, new, old, chosen)
            if answer == z3.sat:
                example = _example(chosen, model, this, new)
                if z3.is_true(z3.simplify(_violation(law, *(replayed(law, each, example) for each in (new, old))))):
                    return Proof(law, REFUTED, _given(example), example)
        places = f" Not translated: {'; '.join(sorted(history.untranslated))}." if history.untranslated else ""
        reason = f"No history of up to {SIZES[-1]} events of a type was found that breaks it."
        return Proof(law, UNKNOWN, f"{reason}{places}")


def _given(example: Counterexample) -> str:
    """Return what the events need besides a history."""
    rows = [f"{', '.join(values)} in lists.{name}" for name, values in example.lists.items() if values]
    given = [*([] if example.score is None else [f"score {example.score}"]), *rows]
    return f"With {' and '.join(given)}." if given else ""


def _solved(law: Law, new: Definitions, old: Definitions, history: History) -> tuple[Any, Any, SymbolicEvent]:
    """Return the solver's answer, with a model or the assumptions that a proof needs; and the event."""
    this = SymbolicEvent(history, new.events.types[law.on], "this")
    broken = _violation(law, *(_symbolic(law, each, this) for each in (new, old)))
    for event in [this, *(event for events in history.events.values() for _, event in events)]:
        for field in event.type.field_names:
            event.field(field)
    gathered = z3.Solver()
    gathered.add(*history.laws, broken)
    solver = z3.Solver(ctx=z3.Context())  # a context of its own: an earlier law would change the answer
    solver.from_string(gathered.sexpr())
    solver.set("random_seed", 0)
    solver.set("rlimit", SOLVER_STEPS)
    answer = solver.check(*(z3.Bool(name, solver.ctx) for name in sorted(history.assumptions)))
    if answer == z3.unsat:
        return answer, [str(name) for name in solver.unsat_core()], this
    return answer, solver.model().translate(z3.main_ctx()) if answer == z3.sat else None, this


def _violation(law: Law, new: Decided, old: Decided) -> Any:
    when = z3.And(new.is_when, new.hits[law.rule]) if law.rule else new.is_when
    if law.hits:
        return z3.And(when, z3.Not(new.hits[law.hits]))
    if law.draft == LOOSENS_NOTHING:
        return z3.And(when, new.outcome < old.outcome)
    if law.draft:
        return z3.And(z3.Not(when), new.outcome != old.outcome)
    return z3.And(when, z3.Or([new.outcome == OUTCOMES.index(name) for name in law.never]))


# ---- decided by terms


def _symbolic(law: Law, definitions: Definitions, this: SymbolicEvent) -> Decided:
    hits = dict[str, Any]()
    effects = {effect: [FALSE] for effect in (*EFFECTS, EXPERIMENT)}
    for rule in definitions.evaluated:
        if rule.on == law.on:
            flags = rule.id, rule.when, definitions.versions.definitions
            hit = Translator(definitions, this, rule=flags).term(rule.when).is_true
            if rule.expires_ms is not None:
                hit = z3.And(hit, this.time < rule.expires_ms)
            hits[rule.id] = hit
            effects[rule.effect].append(z3.And(hit, _takes_effect(rule, this)))
    when = TRUE if law.when is None else Translator(definitions, this).term(law.when).is_true
    return Decided(when, hits, _outcome(law, definitions, this, {name: z3.Or(each) for name, each in effects.items()}))


def _takes_effect(rule: Rule, this: SymbolicEvent) -> Any:
    if rule.is_shadow or rule.rollout >= 1:
        return FALSE if rule.is_shadow else TRUE
    is_drawn = this.world.variable(("drawn", rule.drawn_as or rule.id, rule.rollout), BOOLEAN).value
    return z3.Not(is_drawn) if rule.is_drawn_out else is_drawn


def _outcome(law: Law, definitions: Definitions, this: SymbolicEvent, is_effect: dict[str, Any]) -> Any:
    """Return the outcome as the policy's own function decides each combination of effects and thresholds."""
    policy = definitions.policy(law.on)
    score = this.world.score(definitions)

    def decided(names: tuple[str, ...], effects: tuple[str, ...], cut: float | None) -> Any:
        if names:
            with_effect = decided(names[1:], (*effects, names[0]), cut)
            return z3.If(is_effect[names[0]], with_effect, decided(names[1:], effects, cut))
        return z3.IntVal(OUTCOMES.index(outcome(effects, policy, cut, has_model=cut is not None)))

    names = tuple(is_effect)
    result = z3.If(score.present, decided(names, (), -inf), decided(names, (), None))
    for cut in policy.cuts:
        is_from = z3.And(score.present, score.value >= z3.RealVal(Fraction(cut)))
        result = z3.If(is_from, decided(names, (), cut), result)
    return result


# ---- decided by the naive engine


def replayed(law: Law, definitions: Definitions, example: Counterexample) -> Decided:
    """Return how the naive engine decides the last event."""
    computed = [each for each in computed_of(definitions) if not each.is_score and not each.is_reason]
    engine = Naive(definitions.events, computed, replace(definitions.reference, lists=example.lists))
    *before, event = example.events
    for earlier in before:
        engine.add(earlier)
    place = engine.append(event)
    engine.values[place][score_name(law.on)] = example.score
    is_when = True
    if law.when is not None:
        condition = Computed(law.id, law.when, "", frozenset([law.on]), needs_key=False)
        is_when = engine.compute(condition, place) is True
    hits = dict[str, Any]()
    effects = list[str]()
    for rule in definitions.evaluated:
        if rule.on == law.on:
            is_hit = engine.compute(rule.computed, place) is True
            hits[rule.id] = z3.BoolVal(is_hit)
            key = engine.key(rule.by, event)
            if is_hit and takes_effect(rule, None if key is None else key_text(key[0] if len(key) == 1 else key)):
                effects.append(rule.effect)
    policy = definitions.policy(law.on)
    decided = outcome(effects, policy, example.score, has_model=example.score is not None)
    return Decided(z3.BoolVal(is_when), hits, z3.IntVal(OUTCOMES.index(decided)))


def _example(history: History, model: Any, this: SymbolicEvent, definitions: Definitions) -> Counterexample:
    def event(of: SymbolicEvent, row: int) -> Event:
        values = [_value(history, model, of.field(field.name), field.type) for field in of.type.fields]
        values[of.type.at(of.type.id_field)] = f"law-{row}"
        return Event(of.type.name, f"law-{row}", model.eval(of.time).as_long(), tuple(values))

    chosen = [of for events in history.events.values() for exists, of in events if z3.is_true(model.eval(exists))]
    events = [*sorted(chosen, key=lambda of: model.eval(of.time).as_long()), this]
    lists: dict[str, dict[str, None]] = {name: {} for name, _ in history.members}
    for (name, value), member in history.members.items():
        if z3.is_true(model.eval(member)):
            lists[name][str(_value(history, model, Term(TRUE, value), TEXT))] = None
    score = _value(history, model, history.score(definitions), REAL)
    return Counterexample(
        [event(of, row) for row, of in enumerate(events, start=1)], None if score is None else float(score), lists
    )


def _value(history: History, model: Any, term: Term, type_: Type) -> Value:
    """Return the value of the language for a term in a model."""
    if not z3.is_true(model.eval(term.present, model_completion=True)):
        return None
    value = model.eval(term.value, model_completion=True)
    if type_.kind == "boolean":
        return bool(z3.is_true(value))
    if type_.kind == "real":
        return float(value.as_fraction() if z3.is_rational_value(value) else value.approx(20).as_fraction())
    number = int(value.as_long())
    texts = {code.as_long(): text for text, code in history.codes.items()}
    return texts.get(number, f"x{number}".replace("-", "n")) if type_.is_text else number
