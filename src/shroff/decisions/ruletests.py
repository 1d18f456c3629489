"""Running the tests inside rule files: each on a log of its own, by the naive engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from shroff.decisions.definitions import Definitions, Hasher, Loaded, computed_of
from shroff.decisions.history import standing_of
from shroff.errors import InputError, Problem
from shroff.events.door import Door
from shroff.events.labels import LabelEvent, LogEvent, Standing, in_force
from shroff.features.naive import Naive
from shroff.rules.definitions import Rule, RuleTest
from shroff.rules.silences import rule_of


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What `check` found. `definitions` is None where there are errors in the files themselves."""

    definitions: Definitions | None = field(repr=False)
    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    tests: int = 0

    @property
    def is_ok(self) -> bool:
        return not self.errors


def check(loaded: Loaded, hasher: Hasher | None) -> CheckReport:
    """What is wrong with a project that was read: its mistakes, or the rule tests that fail."""
    if loaded.definitions is None:
        return CheckReport(None, tuple(loaded.problems), tuple(loaded.warnings))
    tests, failed = run_rule_tests(loaded.definitions, hasher)
    return CheckReport(loaded.definitions, tuple(failed), tuple(loaded.warnings), tests)


def run_rule_tests(definitions: Definitions, hasher: Hasher | None = None) -> tuple[int, list[Problem]]:
    """Run every rule test; gives how many there are and a problem for each that fails.

    The hasher is the one by which the definitions were loaded: their lists hold hashed values.
    """
    problems: list[Problem] = []
    count = 0
    for rule in definitions.rules:
        for test in rule.tests:
            count += 1
            problem = _run(rule, test, definitions, hasher)
            if problem is not None:
                problems.append(problem)
    return count, problems


@dataclass(frozen=True, slots=True)
class TestResult:
    """A test of a rule, and what is wrong where it fails."""

    __test__ = False  # pytest would take it for tests

    name: str
    events: int
    problem: Problem | None


def run_tests_of(rule: Rule, definitions: Definitions, hasher: Hasher | None = None) -> list[TestResult]:
    """Run the tests of one rule."""
    return [TestResult(one.name, len(one.events), _run(rule, one, definitions, hasher)) for one in rule.tests]


def _run(rule: Rule, test: RuleTest, definitions: Definitions, hasher: Hasher | None) -> Problem | None:
    # Without the models in force: a test holds whichever of them is promoted, so `score` is missing in it.
    computed = [one for one in computed_of(definitions) if not one.is_score]
    # Nor with silences: a test holds whoever's card it is that somebody has silenced a rule for.
    spoken = {name: one for name, one in definitions.reference.lists.items() if rule_of(name) is None}
    naive = Naive(definitions.events, computed, replace(definitions.reference, lists=spoken))
    door = Door(definitions.events, definitions.settings, hasher)
    hits: list[bool] = []
    for number, (type_name, fields) in enumerate(test.events, start=1):
        try:
            event = _event(type_name, fields, number, door, definitions, naive.history)
        except InputError as error:
            return test.place.problem(f"test {test.name!r} of rule {rule.id}: event {number}: {error}.")
        values = naive.add(event)
        if type_name == rule.on:
            hits.append(values.get(rule.computed.name) is True)
    if tuple(hits) == test.hits:
        return None
    expected, found = (", ".join(str(hit).lower() for hit in one) for one in (test.hits, hits))
    return test.place.problem(
        f"test {test.name!r} of rule {rule.id} fails: expected hits [{expected}], found [{found}]."
    )


def _event(
    type_name: str,
    fields: Mapping[str, str],
    number: int,
    door: Door,
    definitions: Definitions,
    history: list[LogEvent],
) -> LogEvent:
    """An event of a test: `at` stands for the time field, and a left-out id is the event's number."""
    if type_name == "label":
        return _label(fields, number, door, history)
    type_ = definitions.events.types[type_name]
    given: dict[str, object] = dict(fields)
    if "at" in given and type_.time_field not in given:
        given[type_.time_field] = given.pop("at")
    given.setdefault(type_.id_field, f"test-{number}")
    return door.admit(type_name, given, is_strict=False)


def _label(fields: Mapping[str, str], number: int, door: Door, history: list[LogEvent]) -> LogEvent:
    given = {"known_at" if name == "at" else name: value for name, value in fields.items()}
    found = door.admit_label(given)
    if not found.event_id:
        raise InputError([("event", "it is missing; in a test a label names its event by the id")])
    for event in history:
        if not isinstance(event, LabelEvent) and (event.type, event.id) == (found.event_type, found.event_id):
            named = f"{found.event_type}/{found.event_id}"
            values = (named, found.verdict, found.source, found.known_at_ms, found.reason, found.amount)
            before = in_force(standing_of(one) for one in history if isinstance(one, LabelEvent) and one.of is event)
            new = Standing(found.verdict, found.source, found.known_at_ms)
            takes_over = before is None or before.gives_way_to(new)
            changes = takes_over and (before is None or before.verdict != new.verdict)
            return LabelEvent(f"test-{number}", found.known_at_ms, values, event, changes)
    raise InputError([("event", f"no event {found.event_id!r} stands before this label")])
