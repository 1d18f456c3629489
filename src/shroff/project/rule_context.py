"""Context in which rules are checked: settings, event types, features, names of lists, and tables.

The caller caches the context until one of its files changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from shroff.config import TABLE_ENDINGS
from shroff.errors import Problem
from shroff.events.conversion import rate_problems
from shroff.events.definitions import Events, Settings
from shroff.events.loader import load_events
from shroff.features.definitions import Feature, FeatureTypes, load_features
from shroff.json_types import TextMapping
from shroff.language.expression import Compare, IsMissing, ItemField, ThisField, aggregates, walk
from shroff.language.lookups.table import LookUpTable
from shroff.language.names import DeclaredNames
from shroff.language.row import Tables
from shroff.language.yaml.text import Node
from shroff.project.settings.loader import load_settings
from shroff.project.table_files import cells_of, load_table, table_file, table_name
from shroff.rules.definitions import LoadedFile, Rule
from shroff.runtime.values import FrozenStruct

# The problem of a field whose type cannot be read.
_FIELD = re.compile(r"events\.yaml \w+\.fields\.(\w+) field \1: .*", re.DOTALL)
_WORD = re.compile(r"\w+")


class RuleContext(FrozenStruct):
    """Settings, types, names, tables and features of a project, and the problems in their files.

    `rule_files` caches the rule files that were read in this context.
    """

    settings: Settings
    events: Events
    names: DeclaredNames
    tables: Tables
    features: Mapping[str, Feature]
    types: FeatureTypes
    problems: Sequence[Problem]
    rule_files: dict[str, LoadedFile] = msgspec.field(default_factory=dict)

    @classmethod
    def read(
        cls,
        top: Node | None,
        types_tree: Node | None,
        features_tree: Node | None,
        list_names: frozenset[str],
        table_files: TextMapping,
    ) -> RuleContext:
        """Build the context from shroff.yaml, events.yaml and features.yaml, without definitions that have mistakes."""
        problems: list[Problem] = []
        settings = load_settings(top, problems)
        events = load_events(types_tree, list_names, settings.money_places, problems)
        names = events.names(list_names, settings.money_places)
        tables = _tables(table_files, events, settings, problems)
        events = events.with_tables(tables)
        features, types = load_features(features_tree, events, names, problems)
        return cls(settings, events, names, tables, features, types, problems)


def _tables(files: TextMapping, events: Events, settings: Settings, problems: list[Problem]) -> Tables:
    tables: dict[str, LookUpTable] = {}
    by_name: dict[str, list[str]] = {}
    for file in sorted(files):
        by_name.setdefault(table_name(file), []).append(file)
    for name, shape in events.tables.items():
        file, *others = by_name.get(name, [table_file(name, ())])
        if others:
            words = f"table {name} has several files: {', '.join((file, *others))}."
            problems.append(Problem(file, 0, 0, "", words, "Keep one of them."))
        elif file not in files:
            words = f"table {name} is declared, but {file} is missing."
            hint = f"It may also be {' or '.join(f'{name}{ending}' for ending in TABLE_ENDINGS[1:])} in that folder."
            problems.append(Problem("events.yaml", 0, 0, f"tables.{name}", words, hint))
        else:
            key = events.table_keys[name]
            tables[name] = load_table(file, files[file], shape, key, settings.money_places, problems)
    rates = table_file(settings.rates, files)
    problems += rate_problems(settings, events, cells_of(rates, files.get(rates, "")))
    problems += [
        Problem(file, 0, 0, "", "no table of this name is declared under tables in events.yaml.")
        for name, own in by_name.items()
        for file in own
        if name not in events.tables
    ]
    return tables


def causes(problems: Sequence[Problem]) -> list[Problem]:
    """Leave out problems whose message names a field whose type cannot be read, except the field's own problem."""
    fields = [_FIELD.fullmatch(f"{problem.file} {problem.path} {problem.message}") for problem in problems]
    unread = {field[1] for field in fields if field}
    return [
        problem
        for field, problem in zip(fields, problems, strict=True)
        if field or unread.isdisjoint(_WORD.findall(problem.message))
    ]


def rate_warnings(events: Events, rules: Sequence[Rule]) -> list[Problem]:
    """Warn of rules that compare a converted amount, if no rule tests whether that is missing for lack of a rate."""
    warnings: list[Problem] = []
    for rule in rules:
        amounts = {field.name for field in events.types[rule.on].converted}
        compared = {
            part.name
            for comparison in walk(rule.when)
            if amounts and isinstance(comparison, Compare)
            for part in walk(comparison)
            if isinstance(part, ThisField) and part.name in amounts
        }
        asked = {
            test.operand.name
            for other in rules
            for test in (walk(other.when) if compared and other.on == rule.on else ())
            if isinstance(test, IsMissing) and isinstance(test.operand, ThisField)
        }
        unasked = sorted(compared - asked)
        if rule.place is not None and unasked:
            field = f"{rule.on}.{unasked[0]}"
            words = f"rule {rule.id} compares {field}, which is missing where no rate is valid; no rule asks for that."
            cure = f"Add a rule with the effect review: when: {field} is missing"
            rule.place.report(warnings, words, cure)
    return warnings


def source_warnings(features: Iterable[Feature], rules: Iterable[Rule]) -> list[Problem]:
    """Warn of aggregates of labels by source that ignore labels that did not change the active verdict."""
    warnings: list[Problem] = []
    asked = [
        *((f"feature {feature.name}", feature.node, feature.place) for feature in features),
        *((f"rule {rule.id}", rule.when, rule.place) for rule in rules),
    ]
    for what, node, place in asked:
        for part in aggregates(node):
            if place is None or part.event != "label" or part.each_source or part.condition is None:
                continue
            if any(isinstance(leaf, ItemField) and leaf.name == "source" for leaf in walk(part.condition)):
                words = f"{what} filters by source, so it ignores labels that did not change the active verdict: "
                more = "such as a customer's answer after a fraud label or an analyst's answer."
                place.report(warnings, words + more, "Write 'of each source' after it to count them too.")
    return warnings
