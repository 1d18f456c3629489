"""Runs the tests inside rule files: each on a log of its own, by the naive engine."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from pathlib import Path

from shroff.errors import InputError, Problem
from shroff.events.labels import LabelEvent, LogEvent, VerdictInForce
from shroff.events.validation import EventValidator
from shroff.features.computed import needed
from shroff.features.naive import Naive
from shroff.json_types import TextMapping
from shroff.language.expression import Aggregate, FeatureValue, Node, ThisField, children
from shroff.language.printer import text_of
from shroff.language.values import show
from shroff.language.yaml.text import Scalar
from shroff.models.definitions import ModelSettings
from shroff.project.checked_files import keep_checked
from shroff.project.definitions import Definitions, Hasher, Loaded, computed_of
from shroff.project.dependency_hash import teller_of
from shroff.project.parse_cache import ReadOnce
from shroff.project.reference import Answer, answer_of
from shroff.rules.definitions import Rule, RuleTest
from shroff.rules.rule_text import condition, in_words
from shroff.rules.silences import rule_of
from shroff.runtime.texts import Printed, many, problem_text, table
from shroff.runtime.values import FrozenStruct, replace

SECONDS_MAX = 5.0  # for the tests of one rule while a user waits


@dataclass(frozen=True, slots=True, repr=False)
class CheckReport(Printed):
    """Result of `check`. `definitions` is None if the files themselves have errors.

    `source_line` returns the line of a file that a problem is about, for its text.
    """

    definitions: Definitions | None
    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    tests: int = 0
    source_line: Callable[[Problem], str] = field(default=lambda _: "", compare=False)

    def __repr__(self) -> str:
        return _text(self)

    @property
    def is_ok(self) -> bool:
        return not self.errors


def check(loaded: Loaded, hasher: Hasher | None, read: ReadOnce, kept_at: Path | None = None) -> CheckReport:
    """Return the problems of a loaded project: its errors, or the rule tests that fail.

    `read` remembers which tests passed, for the next call; `kept_at` stores a clean result in a file, for the next
    process.
    """
    if loaded.definitions is None:
        return CheckReport(None, tuple(loaded.problems), tuple(loaded.warnings))
    tests, failed = run_rule_tests(loaded.definitions, hasher, read)
    answers = None if failed else _asked_by_tests(loaded.definitions, read)
    if kept_at is not None and loaded.files is not None and answers is not None:
        keep_checked(kept_at, loaded.files, loaded.definitions, answers, read)
    return CheckReport(loaded.definitions, tuple(failed), tuple(loaded.warnings), tests)


def run_rule_tests(definitions: Definitions, hasher: Hasher | None, read: ReadOnce) -> tuple[int, list[Problem]]:
    """Run every rule test; return their number, and a problem for each that fails.

    The hasher must be the one that loaded the definitions, whose lists hold hashed values. Tests that passed before
    with `read` run again only if something that they read changed; rows of a list that they did not look up do not
    count.
    """
    count = sum(len(rule.tests) for rule in definitions.rules)
    passed = read.last("tests")
    rules = definitions.rules
    answers = dict[str, Mapping[str, Answer]]()
    if isinstance(passed, _Passed) and passed.holds(definitions):
        rules = passed.others(definitions)
        answers = {**passed.answers}
    runner = _Runner(replace(definitions, rules=rules, experiments=()), hasher)
    results = [runner.run(rule, test) for rule in rules for test in rule.tests]
    problems = [problem for problem in results if problem is not None]
    if not problems:
        new = {name: {**answers.get(name, {}), **list_.answers} for name, list_ in runner.lists.items()}
        read.keep("tests", _Passed(definitions, answers | new))
    return count, problems


def _asked_by_tests(definitions: Definitions, read: ReadOnce) -> Mapping[str, Mapping[str, Answer]] | None:
    """Return the values that tests looked up in each list, with the results; None if the tests did not pass."""
    passed = read.last("tests")
    return passed.answers if isinstance(passed, _Passed) and passed.definitions is definitions else None


class _Watched(Mapping[str, int | None]):
    """List entries that record the looked-up values, on which the test result depends."""

    def __init__(self, entries: Mapping[str, int | None]) -> None:
        self._entries = entries
        self.answers: dict[str, Answer] = {}

    def __getitem__(self, value: str) -> int | None:
        self.answers[value] = answer_of(self._entries, value)
        return self._entries[value]

    def __contains__(self, value: object) -> bool:
        answer = answer_of(self._entries, str(value))
        self.answers[str(value)] = answer
        return answer[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


class _Passed(FrozenStruct):
    """A passed test run, with the values looked up in lists, by list."""

    definitions: Definitions
    answers: Mapping[str, Mapping[str, Answer]]

    def others(self, now: Definitions) -> tuple[Rule, ...]:
        """Return the rules that are not among those whose tests passed."""
        passed_rules = {id(rule) for rule in self.definitions.rules}
        return tuple(rule for rule in now.rules if id(rule) not in passed_rules)

    def holds(self, now: Definitions) -> bool:
        """Return whether the tests would pass again: everything that they read besides their rules is unchanged."""
        was = self.definitions
        lists = now.reference.lists
        compared = (
            (was.features, now.features),
            (was.events, now.events),
            (was.settings, now.settings),
            (was.reference.tables, now.reference.tables),
        )
        return all(part is other for part, other in compared) and all(
            answer_of(lists.get(name, {}), value) == answer
            for name, answers in self.answers.items()
            for value, answer in answers.items()
        )


class TestResult(FrozenStruct):
    """A rule test, with its failure if any."""

    __test__ = False  # pytest would take it for tests

    name: str
    events: int
    problem: Problem | None


def run_tests_of(
    rule: Rule, definitions: Definitions, hasher: Hasher | None = None, seconds_max: float = SECONDS_MAX
) -> list[TestResult]:
    """Run the tests of one rule. Tests not done within `seconds_max`, for all of them together, fail."""
    runner = _Runner(replace(definitions, rules=(rule,), experiments=()), hasher)
    end_s = time.monotonic() + seconds_max

    def is_over() -> bool:
        return time.monotonic() > end_s

    results: list[TestResult] = []
    for test in rule.tests:
        try:
            problem = runner.run(rule, test, is_over)
        except _OverError:
            message = (
                f"test {test.name!r} of rule {rule.id} was stopped: the tests of a rule may take {seconds_max:g} s."
            )
            problem = test.place.problem(message, "Give it fewer events.")
        results.append(TestResult(f"{rule.id.partition('.')[2]} {test.name}".lstrip(), len(test.events), problem))
    return results


class _OverError(Exception):
    """The time limit of tests has passed."""


class _Runner:
    """Runs tests of rules, each with only what its rule reads; `lists` record the values looked up."""

    def __init__(self, definitions: Definitions, hasher: Hasher | None) -> None:
        self._definitions = definitions
        # Without active models, so that a promotion cannot change a test's result: `score` is missing in tests.
        self._features = [
            feature for feature in computed_of(definitions) if feature.rule is None and not feature.is_score
        ]
        # Without silences, so that silencing a rule for a card cannot change a test's result.
        spoken = ((name, list_) for name, list_ in definitions.reference.lists.items() if rule_of(name) is None)
        self.lists = {name: _Watched(sentence) for name, sentence in spoken}
        self._reference = replace(definitions.reference, lists=self.lists)
        self._validator = EventValidator(definitions.events, definitions.settings, hasher, definitions.conversion)

    def run(self, rule: Rule, test: RuleTest, is_over: Callable[[], bool] = lambda: False) -> Problem | None:
        """Return the failure of a test, if any. Raises: _OverError when the time limit has passed."""
        definitions = self._definitions
        name = rule.computed.name
        naive = Naive(definitions.events, needed([*self._features, rule.computed], [name]), self._reference)
        hits: list[bool] = []
        first_wrong: tuple[Scalar, str] | None = None
        for number, (type_name, fields) in enumerate(test.events, start=1):
            if is_over():
                raise _OverError
            try:
                event = _event(type_name, fields, number, self._validator, definitions, naive.history)
            except InputError as error:
                place = test.places[number - 1]
                return place.problem(f"test {test.name!r} of rule {rule.id}: event {number}: {error}.")
            values = naive.add(event)
            if type_name == rule.on:
                hits.append(values.get(name) is True)
                if first_wrong is None and hits != [*test.hits[: len(hits)]]:
                    first_wrong = test.places[number - 1], f" Event {number}: {self._read_by(rule, naive)}."
        if tuple(hits) == test.hits:
            return None
        expected = ", ".join(str(hit).lower() for hit in test.hits)
        found = ", ".join(str(hit).lower() for hit in hits)
        place, detail = first_wrong or (test.place, "")
        return place.problem(
            f"test {test.name!r} of rule {rule.id} fails: expected hits [{expected}], found [{found}].{detail}"
        )

    def _read_by(self, rule: Rule, naive: Naive) -> str:
        """Format what a rule's condition reads at the newest event: `card.payments_1h = 3, this.amount = 5.00`."""
        value_of = naive.leaf(rule.computed, len(naive.history) - 1)
        decimals = self._definitions.settings.money_places
        read = {text_of(leaf): show(value_of(leaf)(None), leaf.type, decimals) for leaf in _leaves(rule.when)}
        return ", ".join(f"{name} = {value}" for name, value in read.items())


def _leaves(node: Node) -> Iterator[Node]:
    """Yield what a condition reads of its event: fields, features and aggregates, except those since a flag."""
    if isinstance(node, ThisField | FeatureValue | Aggregate):
        if not (isinstance(node, Aggregate) and node.since_flag):
            yield node
    else:
        for child in children(node):
            yield from _leaves(child)


def _event(
    type_name: str,
    fields: TextMapping,
    number: int,
    validator: EventValidator,
    definitions: Definitions,
    history: list[LogEvent],
) -> LogEvent:
    """Create an event of a test: `at` sets the time field, and a missing id becomes the event's number."""
    if type_name == "label":
        return _label(fields, number, validator, history)
    type_ = definitions.events.types[type_name]
    values: dict[str, object] = dict(fields)
    if "at" in values and type_.time_field not in values:
        values[type_.time_field] = values.pop("at")
    values.setdefault(type_.id_field, f"test-{number}")
    return validator.admit(type_name, values, is_strict=False)


def _label(fields: TextMapping, number: int, validator: EventValidator, history: list[LogEvent]) -> LogEvent:
    texts = {"known_at" if name == "at" else name: value for name, value in fields.items()}
    label = validator.admit_label(texts)
    if not label.event_id:
        raise InputError([("event", "it is missing; in a test a label names its event by the id")])
    for event in history:
        if not isinstance(event, LabelEvent) and (event.type, event.id) == (label.event_type, label.event_id):
            event_name = f"{label.event_type}/{label.event_id}"
            values = (event_name, label.verdict, label.source, label.known_at_ms, label.reason, label.amount)
            before = None
            for log_event in history:
                if isinstance(log_event, LabelEvent) and log_event.of is event:
                    verdict = log_event.standing
                    before = verdict if verdict.takes_over(before) else before
            new = VerdictInForce(label.verdict, label.source, label.known_at_ms)
            return LabelEvent(f"test-{number}", label.known_at_ms, values, event, new.changes(before))
    raise InputError([("event", f"no event {label.event_id!r} stands before this label")])


def counts_of(definitions: Definitions) -> str:
    """Format the number of features and rules of a project: `16 features, 9 rules`."""
    return f"{many(len(definitions.features), 'feature')}, {many(len(definitions.rules), 'rule')}"


def _text(report: CheckReport) -> str:
    """Format the report for people: features, rules and models or else each error with its line."""
    parts = []
    definitions = report.definitions
    warnings = [problem_text(problem, report.source_line(problem)) for problem in report.warnings]
    errors = [problem_text(problem, report.source_line(problem)) for problem in report.errors]
    if definitions is not None and report.is_ok:
        if definitions.features:
            rows = [(name, str(feature.type), feature.cost) for name, feature in definitions.features.items()]
            parts.append("Features\n" + table(rows))
        if definitions.rules:
            parts.append("Rules\n" + _rules(definitions))
        if definitions.models:
            parts.append("Models\n" + "\n".join(_model(model) for model in definitions.models.values()))
    parts += ["Warnings\n" + "\n".join(warnings)] if warnings else []
    if errors:
        parts += [*errors, f"{many(len(errors), 'mistake')} found."]
    elif definitions is not None:
        tables = sorted(definitions.reference.tables.items(), key=itemgetter(0))
        empty = [name for name, rows in tables if not rows]
        if empty:
            parts.append(f"Tables without rows: {', '.join(empty)}. Each look-up in them is missing.")
        parts.append(f"OK: {counts_of(definitions)}; {many(report.tests, 'rule test')} passed.")
    return "\n\n".join(parts)


def _model(model: ModelSettings) -> str:
    names = ", ".join(input_.name for input_ in model.inputs)
    head = f"  {model.event}  {model.learner} on {many(len(model.inputs), 'input')}\n"
    return head + textwrap.fill(names, 110, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)


def _rules(definitions: Definitions) -> str:
    teller = teller_of(definitions)
    texts = [(rule.id, in_words(rule, teller), condition(rule)) for rule in definitions.rules]
    filled = partial(textwrap.fill, width=110, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(f"  {id_}\n{filled(words)}\n{filled(written)}" for id_, words, written in texts)
