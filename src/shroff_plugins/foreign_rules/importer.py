"""Import rules of Stripe Radar and Amazon Fraud Detector as the files of a draft."""

from __future__ import annotations

from pathlib import Path

from shroff.errors import DefinitionError, Problem, UsageError
from shroff.json_types import TextDict
from shroff.plugins.loader import in_quotes
from shroff.plugins.project import Definitions, lines_ended, read_text
from shroff.plugins.values import FrozenStruct
from shroff_plugins.foreign_rules.attributes import Mapped, RadarTarget
from shroff_plugins.foreign_rules.fraud_detector import carry_over_detector
from shroff_plugins.foreign_rules.mapping import load_mapping
from shroff_plugins.foreign_rules.rule_import import Carried, Outcome, RadarOptions, RefusedRule, carry_over
from shroff_plugins.foreign_rules.syntax import read_rules

FEATURES = "features.yaml"
TEXT_BYTES_MAX = 1024 * 1024
_IN_A_REASON = 300  # characters of the original text


class Imported(FrozenStruct):
    """Result of importing a file of rules.

    `files` has the texts of the draft's files by name: rules, and the features that they need. It is empty if no rule
    was imported.
    """

    event: str
    outcome: Outcome
    files: TextDict


def import_rules(
    definitions: Definitions, file: Path, *, event: str, by: str, mapping: Path | None, shadow: bool, apart: bool
) -> Imported:
    """Translate rules of Stripe Radar or Amazon Fraud Detector for a project, without writing any file.

    For the arguments see `Rules.import_rules`.

    Raises: UsageError; DefinitionError if the mapping has mistakes.
    """
    target = _target(definitions, event, by, mapping)
    text = _text(file)
    options = RadarOptions(file.name, by, frozenset(rule.id for rule in definitions.rules))
    # Output of Amazon's command line is JSON, and a rule of Radar never begins with a brace.
    if text.lstrip("\ufeff \t\r\n").startswith("{"):
        outcome = carry_over_detector(text, target, options)
    else:
        rules, unread = read_rules(text, file.name)
        outcome = carry_over(rules, target, options)
        outcome.refused += [RefusedRule(text, "", problem) for text, problem in unread]
        outcome.refused.sort(key=lambda rule: (rule.problem.line, rule.problem.column))
    files = _files(file, target.event, outcome, is_shadow=shadow, apart=apart) if outcome.carried else {}
    return Imported(target.event, outcome, files)


def _target(definitions: Definitions, event: str, by: str, mapping: Path | None) -> RadarTarget:
    events = definitions.events
    if not event and len(events.decided) != 1:
        raise UsageError(f"name the event type that the rules are about with --as: {' or '.join(events.decided)}.")
    chosen = event or events.decided[0]
    if chosen not in events.types:
        raise UsageError(f"{chosen!r} is not an event type. There is {', '.join(events.types)}.")
    keyed = [name for name, entity in events.entities.items() if chosen in entity.keys]
    if by and by not in keyed:
        raise UsageError(f"{by!r} is not an entity with a key in {chosen}. There is {', '.join(keyed) or 'none'}.")
    mapped = Mapped() if mapping is None else _read_mapping(mapping)
    return RadarTarget(chosen, events, definitions.features, definitions.names, definitions.settings.currency, mapped)


def _text(path: Path) -> str:
    text = read_text(path)
    if len(text.encode()) > TEXT_BYTES_MAX:
        raise UsageError(f"{path} has more than {TEXT_BYTES_MAX // 2**20} MiB; rules are fewer.")
    return text


def _read_mapping(path: Path) -> Mapped:
    problems: list[Problem] = []
    mapped = load_mapping(lines_ended(read_text(path)), str(path), problems)
    if problems:
        raise DefinitionError(problems)
    return mapped


# ---- as text


def _files(path: Path, event: str, outcome: Outcome, *, is_shadow: bool, apart: bool) -> TextDict:
    rules = {rule.id: _rule(rule, event, is_shadow=is_shadow) for rule in outcome.carried}
    name = "".join(sign if sign.isalnum() and sign.isascii() else "_" for sign in path.stem.lower()[:100]).strip("_")
    name = "rules" if name in {"", "features", "policy", "shroff", "events", "model"} else name
    head = f"# Carried over from {' '.join(path.name.split())}, a rule of it each.\n"
    texts = rules if apart else {name: head + "\n".join(rules.values())}
    files = {f"{name}.yaml": text for name, text in texts.items()}
    if outcome.added:
        files[FEATURES] = _features(outcome)
    return files


def _rule(rule: Carried, event: str, *, is_shadow: bool) -> str:
    source = rule.source.text
    lines = [f"- id: {rule.id}", f"  on: {event}", f"  by: {rule.by}", f"  when: {in_quotes(rule.when)}"]
    if len(source) <= _IN_A_REASON and not {"{", "}"} & set(source):
        lines.append(f"  reason: {in_quotes(source)}")
    lines.append(f"  effect: {rule.effect}")
    lines += ["  shadow: true"] if is_shadow else []
    return "\n".join(lines) + "\n"


def _features(outcome: Outcome) -> str:
    lines = ["# What the rules beside this file count, and the project did not have yet."]
    for entity in dict.fromkeys(attribute.entity for attribute in outcome.added):
        attributes = [attribute for attribute in outcome.added if attribute.entity == entity]
        lines += [f"{entity}:", *(f"  {attribute.name}: {in_quotes(attribute.text)}" for attribute in attributes)]
    return "\n".join(lines) + "\n"
