"""Explanation of a decision: its features next to earlier values of the entity, and all rules in words.

Everything comes from the log, with the definitions active at the decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cache, partial
from html import escape

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.engine.decision import ExperimentLine, html_table
from shroff.engine.stored import damaged, decision_document, telling_damage
from shroff.errors import ReplayError
from shroff.events.event import Scalar
from shroff.explain.model import NUMERIC, ModelPart, ModelReason, RuleReason, Story
from shroff.explain.past import AmountsBefore, Past, PastDecision, amounts_before
from shroff.features.naive import Key
from shroff.json_types import JsonMapping, JsonObject
from shroff.language.printer import as_written
from shroff.language.values import key_text
from shroff.log.active_files import kept_definitions
from shroff.log.history import Records, control_at
from shroff.project.definitions import Definitions
from shroff.project.dependency_hash import teller_of
from shroff.project.scoring import LoadModel
from shroff.rules.rule_text import condition, in_words
from shroff.runtime.progress import Progress
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import DecisionRow, Log, LogReader


class Usual(FrozenStruct):
    """A feature's values in earlier decisions of this entity."""

    count: int
    lowest: Scalar
    median: Scalar
    highest: Scalar


class FeatureLine(FrozenStruct):
    """One feature of a decision. `key` is None if the event has no key of the entity."""

    name: str
    definition: str
    entity: str
    key: str | None
    value: Scalar
    earlier: Usual | None


class RuleLine(FrozenStruct):
    """One rule that checked the event. `result`: hit, hit in shadow, or no hit; `condition`: as it is written."""

    id: str
    effect: str
    result: str
    text: str
    condition: str


class Explanation(FrozenStruct, omit_defaults=True):
    """The explanation that `explain` adds to a decision; `model` if one scored the event."""

    features: list[FeatureLine]
    rules: list[RuleLine]
    model: ModelPart | None = None
    experiments: Sequence[ExperimentLine] = ()


class Explained(FrozenStruct):
    """A decision with its explanation. `reasons` are the model's, largest first.

    `rule_reasons` are formatted for people. With `is_calibrated` the score is the share of frauds among similar events.
    `amounts` are for pages only.
    """

    row: DecisionRow
    document: JsonObject
    explanation: Explanation
    reasons: tuple[ModelReason, ...] = ()
    rule_reasons: Sequence[RuleReason] = ()
    is_calibrated: bool = False
    amounts: AmountsBefore | None = None

    def json(self) -> bytes:
        """Encode the recorded decision with the model's reasons after the rules', and `explanation` at the end.

        Without reasons of a model all recorded bytes stay unchanged.
        """
        document = self.row.document
        if self.reasons:
            parts = from_json(document, type=dict[str, msgspec.Raw])
            reasons = [*self.document["reasons"], *(reason.document() for reason in self.reasons)]
            parts["reasons"] = msgspec.Raw(to_json(reasons))
            document = to_json(parts)
        return document[:-1] + b',"explanation":' + to_json(self.explanation) + b"}"

    def _repr_html_(self) -> str:
        """Render for a notebook: outcome, contributions of the model, features next to earlier ones, rules in words."""
        event_name = f"{self.row.event} {self.row.id}, sequence number {self.row.seq:,}"
        title = f"<b>{escape(self.row.outcome)}</b> {escape(event_name)}"
        heads = ("feature", "value", "lowest", "median", "highest", "earlier decisions")
        model = html_table(
            ("adds to the score", "of the model", "in words"),
            ((f"{reason.contribution:+.2f}", reason.code, reason.text) for reason in self.reasons),
        )
        rules = self.explanation.rules
        hit = [rule for rule in rules if rule.result != "no hit"]
        missed = [rule for rule in rules if rule.result == "no hit"]
        features = _folded("features", html_table(heads, map(_feature_row, self.explanation.features)))
        return title + _rule_table(hit) + model + features + _folded("rules that did not hit", _rule_table(missed))


def _rule_table(rules: Iterable[RuleLine]) -> str:
    rows = ((rule.id, rule.result, rule.text, rule.condition) for rule in rules)
    return html_table(("rule", "result", "in words", "condition"), rows)


def _folded(says: str, table: str) -> str:
    return f"<details><summary>{table.count('<tr>') - 1} {says}</summary>{table}</details>" if table else ""


def _feature_row(line: FeatureLine) -> tuple[object, ...]:
    usual = line.earlier
    past = ("", "", "", 0) if usual is None else (usual.lowest, usual.median, usual.highest, usual.count)
    return (line.name, line.value, *past)


@telling_damage()
def explain(
    log: Log, row: DecisionRow, progress: Progress | None = None, load_model: LoadModel | None = None
) -> Explained:
    """Explain a recorded decision.

    Args:
        load_model: Loads the model that scored it. If that fails, the explanation says why, and lacks only the model's
            part.

    Cost: the newest 100 earlier decisions of each key (see `Past.earlier`); with a model two passes over these
    decisions, and some thousand rows to score.
    """
    explained = _asked(log, row, load_model)
    definitions = explained.definitions
    document = explained.document
    keys = explained.keys
    earlier = explained.past.earlier(keys, row.seq, progress)
    lines = []
    for name in (name for name in definitions.feature_names(row.event) if name in document["features"]):
        feature = definitions.features[name]
        key = keys.get(feature.entity)
        usual = _usual(name, (decision.shown for decision in earlier.get(feature.entity, ())), feature.type.kind)
        key_shown = None if key is None else key_text(key[0] if len(key) == 1 else key)
        text = as_written(None if feature.place is None else feature.place.text, feature.node)
        lines.append(FeatureLine(name, text, feature.entity, key_shown, document["features"][name], usual))
    rules = _rules(definitions, row.event, document)
    experiments = tuple(
        ExperimentLine(experiment.id, "B" if experiment.id in document["rules"] else "A")
        for experiment in definitions.experiments
        if experiment.on == row.event
    )
    story = explained.story(lambda entity: earlier.get(entity, ()))
    hits = story.rule_reasons()
    amounts = amounts_before(definitions, row.event, story.seen, earlier, document["rules"])
    if document["score"] is None:
        explanation = Explanation(lines, rules, experiments=experiments)
        return Explained(row, document, explanation, rule_reasons=hits, amounts=amounts)
    model_story = story.told()
    explanation = Explanation(lines, rules, model_story.part, experiments)
    return Explained(row, document, explanation, model_story.reasons, hits, model_story.is_calibrated, amounts)


@telling_damage()
def first_reason(log: Log, row: DecisionRow, load_model: LoadModel | None = None) -> ModelReason | None:
    """Return the first reason that `explain` would give: a rule's, else the model's; None without one.

    Cost: a fraction of `explain`: only the past of one entity is read, and no changes are tried.
    """
    explained = _asked(log, row, load_model)

    @cache
    def earlier(entity: str) -> Sequence[PastDecision]:
        key = explained.keys.get(entity)
        return () if key is None else explained.past.earlier({entity: key}, row.seq, None)[entity]

    story = explained.story(earlier)
    for code, _, text in story.rule_reasons()[:1]:
        return ModelReason(code, text, 0.0, kind="rule", fact=text)
    return None if explained.document["score"] is None else story.leading()


class _ExplainedDecision(FrozenStruct):
    """A decision with the data that explains it. `keys` belong to the entities of its features, and to `entity`."""

    row: DecisionRow
    definitions: Definitions
    document: JsonObject
    past: Past
    seen: PastDecision
    keys: Mapping[str, Key]
    entity: str  # the entity whose past shows what is normal for the event's own fields

    def story(self, earlier: Callable[[str], Sequence[PastDecision]]) -> Story:
        of_all = partial(self.past.of_all, self.row.event, self.row.seq)
        return Story(self.definitions, self.row.event, self.document, self.seen, earlier, of_all, self.entity)


def _asked(log: Log, row: DecisionRow, load_model: LoadModel | None) -> _ExplainedDecision:
    definitions = definitions_at(log, row.seq, load_model)
    document = decision_document(row)
    records = Records(definitions.events, definitions.settings.money_places)
    past = Past(log, definitions, records)
    record = log.find(row.event, [row.id])[row.id]
    names = [name for name in definitions.feature_names(row.event) if name in document["features"]]
    of_event = [name for name, entity in definitions.events.entities.items() if row.event in entity.keys]
    keys = past.keys(past.event(record), {*of_event[:1], *(definitions.features[name].entity for name in names)})
    seen = past.seen(record, document)
    return _ExplainedDecision(row, definitions, document, past, seen, keys, next(iter(of_event), ""))


def definitions_at(log: LogReader, seq: int, load_model: LoadModel | None = None) -> Definitions:
    """Load the definitions active at a sequence number. Raises: ReplayError if there are none."""
    control = control_at(log, seq)
    if not control.files:
        raise ReplayError(f"the log has no definitions before place {seq}")
    return kept_definitions(control.files, load_model)


def _rules(definitions: Definitions, event: str, document: JsonMapping) -> list[RuleLine]:
    lines = []
    teller = teller_of(definitions)
    for rule in definitions.rules:
        if rule.on == event:
            results = {"hit": document["rules"], "hit in shadow": document["shadow_rules"]}
            result = next((result_name for result_name, hits in results.items() if rule.id in hits), "no hit")
            lines.append(RuleLine(rule.id, rule.effect, result, in_words(rule, teller), condition(rule)))
    return sorted(lines, key=lambda line: (line.result == "no hit", line.id))


def _usual(name: str, earlier: Iterable[JsonMapping], kind: str) -> Usual | None:
    if kind not in NUMERIC:
        return None
    recorded = [decision[name] for decision in earlier if decision.get(name) is not None]
    try:
        values = sorted(recorded, key=lambda value: Decimal(str(value)))
    except ArithmeticError:
        raise damaged(f"a recorded value of {name}", "it is not a number") from None
    return Usual(len(values), values[0], values[(len(values) - 1) // 2], values[-1]) if values else None
