"""Operation that suggests rules from labels, on top of the active policy, and rules to drop."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final
from zlib import crc32

import msgspec
import numpy as np

from shroff.arrays import Floats, Ints
from shroff.errors import UsageError
from shroff.events.event import Event, TimeText, canonical_value, time_text
from shroff.language.values import DAY_MS, show_decimal, show_duration
from shroff.operations.declaration import OperationAnswer, OperationRequest, Param, ProgressSteps, operation
from shroff.runtime.texts import TextTable, many, percent
from shroff.runtime.values import replace
from shroff.services.drafts.draft_files import RuleDraftFiles
from shroff.services.project import Project

if TYPE_CHECKING:
    from shroff.events.labels import LogEvent
    from shroff.models.definitions import ModelInput
    from shroff.project.definitions import Definitions
    from shroff.rules.definitions import Rule
    from shroff.services.suggestions.search import MeasuredRule, Parts, RuleCosts
    from shroff.streams.log import Log

LEARNED = 5 / 8  # share of the labeled period for learning; the rest, after the label delay, tests
CAPACITY_SHARE = 0.01  # share of events that people review, by default
REVIEW_SHARE = 0.1  # cost of a review as a share of the mean amount, by default
TEXTS_MAX = 1_000  # columns with more distinct texts are left out
TEST_EVENTS = 60  # per rule test
TEST_TRIES = 20  # newest hits tried to find one with few enough events
NUMBERS = frozenset("integer number money real duration boolean".split())
TOO_FEW = (
    "There are too few events older than the time that labels take (label_delay in model.yaml) to learn rules from."
)
RULE_INPUT = "rule "
_NAME = re.compile(r"[\w.]+")
_BLANKS = re.compile(r"[^a-z0-9]+")


class SuggestRules(OperationRequest["RuleSuggestions"]):
    """Labels to learn from, and the reviews that people have time for.

    Args:
        as_of (T): Use events and labels known at this time.  [default: the log's last record]
        event (EVENT): The event type.  [default: the first decided one]
        capacity (N): Reviews a day, those of the active policy included.  [default: costs.reviews_a_day]
        weeks (N): Learn on so many weeks, from the oldest event on.  [default: five eighths of all]
    """

    as_of: str | None = None
    event: Annotated[str | None, Param(flags="--as")] = None
    capacity: Annotated[float, msgspec.Meta(ge=0)] | None = None
    weeks: Annotated[float, msgspec.Meta(gt=0)] | None = None


class SuggestedRule(msgspec.Struct):
    """A rule that later weeks confirm.

    Precision is that of all its hits, money what it earns at those that nothing stops before it, each with a 95 %
    interval. `overlap` is the share of its hits at which a rule of the project hits too, `cost` what its features cost
    for each event, `file` its rule file, with a test from masked events.
    """

    id: str
    text: str
    words: str
    event: str
    effect: str
    hits: int
    frauds: int
    precision: float
    precision_low: float
    precision_high: float
    money: str
    money_low: str
    money_high: str
    overlap: dict[str, float]
    cost: str
    file: str


class DroppableRule(msgspec.Struct):
    """A rule that can go once those before it are gone, and what that saves: 0 where it changes no decision."""

    id: str
    why: str
    money: str
    reviews: int


TO_DROP: Final = TextTable({"rule": "id", "why": "why", "saves": "money", "reviews": "reviews"})


class RuleSuggestions(OperationAnswer):
    """Rules that labels suggest on top of the active policy, and rules to drop.

    Rules were learned on the days up to `learned_to` and tested once on those from `tested_from` on; `tried` counts
    those that were tested, of which `rules` were confirmed.
    """

    as_of: TimeText | None = None
    learned_from: TimeText | None = None
    learned_to: TimeText | None = None
    tested_from: TimeText | None = None
    tested_to: TimeText | None = None
    reviews_a_day: float | None = None
    currency: str = ""
    tried: int = 0
    rules: list[SuggestedRule] = msgspec.field(default_factory=list)
    drop: list[DroppableRule] = msgspec.field(default_factory=list)
    NEXT = ("shroff rules",)

    def text(self) -> str:
        tested = f"{many(self.tried, 'rule was', 'rules were')} tested, {len(self.rules)} confirmed."
        span = f"Learned on {self.learned_from} to {self.learned_to}, tested on {self.tested_from} to {self.tested_to}"
        lines = [f"{span}; {tested}" if self.tested_from is not None else TOO_FEW]
        for rule in self.rules:
            lines += [
                f"\n{rule.id}: {rule.words}\n  {rule.text}",
                f"  {many(rule.hits, 'hit')}, precision {percent(rule.precision, '.1')} "
                f"({percent(rule.precision_low, '.1')} to {percent(rule.precision_high, '.1')}), "
                f"earns {rule.money} ({rule.money_low} to {rule.money_high}) {self.currency}".rstrip(),
            ]
        if self.drop:
            lines += ["\nRules to drop, in this order:", TO_DROP.text(self.drop)]
        return "\n".join(lines)


@operation("suggest", right="read:decisions", is_long=True)
def suggest_rules(
    project: Project, drafts: RuleDraftFiles, progress: ProgressSteps, request: SuggestRules
) -> RuleSuggestions:
    """Suggest rules that labels ask for, on top of the active policy, and name rules that can go.

    Rules are learned on the older weeks, by the labels known then, and each is tested once on the weeks behind them,
    with a guard against many tries. They are ranked by the money that they earn with the reviewers' capacity.

    Examples:
        shroff suggest
        shroff suggest --as-of 2026-06-30 --capacity 100
    """
    from shroff.log.later_labels import last_moment
    from shroff.replay.notebook import moment_ms
    from shroff.runtime.process_wide import one_heap

    one_heap()
    context, definitions = project.context, project.definitions
    answer = RuleSuggestions(currency=definitions.settings.currency)
    with context.log.reading() as log:
        as_of_ms = last_moment(log, context.now_ms(), moment_ms(request.as_of))
        if as_of_ms is None:
            return answer
        answer.as_of = time_text(as_of_ms)
        decided = definitions.events.decided
        event = request.event or next(iter(decided), None)
        if event is None:
            return answer
        if event not in decided:
            raise UsageError(f"{event!r} is not decided; {', '.join(decided)} can be searched.")
        _EventRules(definitions, event, log, as_of_ms, progress).suggest(request, drafts, answer)
    answer.rules.sort(key=lambda rule: -float(rule.money))
    return answer


class _EventRules:
    """Events of one type, with the values that rules could read and the active policy's outcomes."""

    def __init__(self, definitions: Definitions, event: str, log: Log, as_of_ms: int, progress: ProgressSteps) -> None:
        from shroff.log.columns.tables import Way
        from shroff.models.definitions import ModelInput, ModelSettings, Split
        from shroff.models.loader import LABEL_DELAY_MS
        from shroff.models.sets import FRAUD, NOT_KNOWN
        from shroff.project.dependency_hash import read_by
        from shroff.project.policy import OUTCOMES
        from shroff.training.sets.rows import build_set
        from shroff.training.sets.sources import log_source
        from shroff.training.sets.wanted import wanted_of

        self.definitions, self.event, self.log = definitions, event, log
        self.rules = [rule for rule in definitions.rules if rule.on == event and not rule.is_shadow]
        model = definitions.models.get(event)
        self.delay_ms = model.label_delay_ms if model else LABEL_DELAY_MS
        computed = [
            ModelInput(RULE_INPUT + rule.id, rule.when)
            for rule in self.rules
            if not (rule.computed.looks_since_flag or rule.rollout < 1)
            and not read_by([rule.when], definitions.features.get).reads_score
        ]
        self.inputs = list(candidates(definitions, event))
        friendly = definitions.friendly_reasons(event)
        settings = ModelSettings(
            event, (*self.inputs, *computed), self.delay_ms, "", Split(0, 0, 0, 0), None, (), friendly_reasons=friendly
        )
        way = Way(reading=progress.counting("reading events"), computing=progress.counting("computing events"))
        wanted = [computed.node for computed in wanted_of(definitions, settings).all()]
        source = log_source(log, definitions, event, nodes=wanted)
        rows = self.rows = build_set(definitions, settings, source, as_of_ms, way)
        everywhere = np.arange(len(rows))
        values = {input_.name: np.asarray(input_.take(everywhere).values[:]) for input_ in rows.inputs}
        self.columns = [values[input_.name] for input_ in self.inputs]
        self.texts = [input_.categories for input_ in rows.inputs]
        verdicts = rows.verdicts_at(as_of_ms)
        self.frauds = verdicts == FRAUD
        self.is_unknown = (rows.recorded.outcomes == OUTCOMES.index("decline")) & (verdicts == NOT_KNOWN)
        self.amounts: Floats = rows.amounts_minor / 10**definitions.settings.money_places
        self.hits: dict[str, Ints] = {}
        for rule in self.rules:
            recorded = rows.recorded.hits.get(rule.id, self.frauds & False)
            hit = values[RULE_INPUT + rule.id] == 1 if RULE_INPUT + rule.id in values else recorded
            ends_ms = np.inf if rule.expires_ms is None else rule.expires_ms
            self.hits[rule.id] = np.flatnonzero(hit & (rows.times_ms < ends_ms))

    def outcomes(self, ids: Sequence[str]) -> Any:
        """Return the outcome of each event by the policy with these rules, as indices of OUTCOMES."""
        from shroff.project.policy import outcome_codes

        rules = [rule for rule in self.rules if rule.id in ids]
        by_effect = {rule.effect: self.frauds & False for rule in rules}
        for rule in rules:
            by_effect[rule.effect][self.hits[rule.id]] = True
        return outcome_codes(by_effect, self.rows.recorded.scores, self.definitions.policy(self.event))

    def costs(self, capacity: float | None, days: float) -> RuleCosts:
        """Return the costs of policy.yaml, else shares of the mean amount and of the events; reviews per day."""
        from shroff.services.suggestions.search import RuleCosts
        from shroff.training.train import terms_of

        terms, mean = terms_of(self.definitions, self.event), float(self.amounts.mean())
        a_day = terms.reviews_a_day if capacity is None else capacity
        return RuleCosts(
            mean if terms.false_decline is None else terms.false_decline,
            mean * REVIEW_SHARE if terms.review is None else terms.review,
            CAPACITY_SHARE * len(self.rows) / max(1.0, days) if a_day is None else a_day,
        )

    def suggest(self, request: SuggestRules, drafts: RuleDraftFiles, answer: RuleSuggestions) -> None:
        from shroff.models.sets import FRAUD
        from shroff.services.suggestions.search import RuleSearch, confirmed, rules_to_drop

        times = self.rows.times_ms
        if not len(times):
            return
        first, last = int(times.min()), min(int(times.max()), self.rows.as_of_ms - self.delay_ms)
        if last <= first:
            return
        costs = self.costs(request.capacity, (last - first) / DAY_MS)
        answer.reviews_a_day = costs.reviews

        def outcomes(ids: Sequence[str]) -> Any:
            return np.where(times <= last, self.outcomes(ids), 0)

        worth = {effect: costs.worth(effect, self.frauds, self.amounts) for effect in ("review", "decline")}
        challenged = np.where(self.frauds, self.amounts, 0.0)
        # A declined payment leaves the customer nothing to dispute
        declined = np.where(self.is_unknown, 0.0, worth["decline"])

        def value(outcomes: Any) -> Floats:
            return np.asarray(np.choose(outcomes, [0.0 * challenged, challenged, worth["review"], declined]))

        old = {id_: rows[times[rows] <= last] for id_, rows in self.hits.items()}
        judged = {id_: rows for id_, rows in old.items() if len(rows) or not len(self.hits[id_])}
        for id_, why, money, reviews in rules_to_drop(judged, outcomes, value, np.minimum(times, last)):
            answer.drop.append(DroppableRule(id_, why, self._money(money), reviews))

        length = int((last - first) * LEARNED) if request.weeks is None else int(request.weeks * 7 * DAY_MS)
        split, known = first + length, first + length + self.delay_ms
        test = np.flatnonzero((times > known) & (times <= last))
        if not len(test):
            return
        answer.learned_from, answer.learned_to = time_text(first), time_text(split)
        answer.tested_from, answer.tested_to = time_text(known), time_text(last)
        before = self.outcomes(list(self.hits))
        learn = np.flatnonzero((times <= split) & (before == 0))
        used = np.count_nonzero(before[times <= split] == 2)
        fit = [at for at, texts in enumerate(self.texts[: len(self.inputs)]) if len(texts) <= TEXTS_MAX]
        search = RuleSearch(
            [self.columns[at][learn] for at in fit],
            frozenset(place for place, at in enumerate(fit) if self.texts[at]),
            frozenset(place for place, at in enumerate(fit) if self.inputs[at].node.type.kind == "duration"),
            (self.rows.verdicts_at(known) == FRAUD)[learn],
            self.amounts[learn],
            replace(costs, reviews=max(0.0, costs.reviews * max(1.0, length / DAY_MS) - used)),
        )
        conditions = list(search.rules())
        answer.tried += len(conditions)
        columns, frauds = [self.columns[at][test] for at in fit], self.frauds[test]
        worth = {effect: gains[test] for effect, gains in worth.items()}
        for parts, effect, of in confirmed(conditions, columns, before[test] == 0, frauds, times[test], worth):
            parts_in_fit = tuple(replace(part, column=fit[part.column]) for part in parts)
            rule = self._suggested(parts_in_fit, effect, of, test[of.hits], drafts)
            answer.rules += [] if rule is None else [rule]

    def _suggested(
        self, parts: Parts, effect: str, of: MeasuredRule, hits: Ints, drafts: RuleDraftFiles
    ) -> SuggestedRule | None:
        from shroff.features.definitions import CONSTANT
        from shroff.project.dependency_hash import teller_of
        from shroff.rules.rule_text import in_words

        text = " and ".join(self._text(part) for part in parts)
        names = list(dict.fromkeys(self.inputs[part.column].name for part in parts))
        slug = "_".join(_BLANKS.sub("_", name.lower().removeprefix("this.")).strip("_") for name in names)
        id_ = f"suggested_{slug[:60]}_{crc32(f'{effect} {text}'.encode()) % 16**4:04x}"
        shown = ", ".join(
            f"{name.removeprefix('this.').replace('_', ' ').replace('.', ' ')} {{{name}}}" for name in names
        )
        file = (
            f"- id: {id_}\n  on: {self.event}\n  by: {self._entity(names)}\n  when: {_quoted(text)}\n"
            f"  reason: {_quoted(shown)}\n  effect: {effect}\n"
        )
        checked = drafts.check(id_, file)
        if not checked.rules or checked.definitions is None:  # for example if no entity has a key in the event
            return None
        tested = file + self._test(checked.rules[0], checked.definitions, hits)
        costs = [self.definitions.features[name].cost for name in names if name in self.definitions.features]
        precision, money = of.precision, list(map(self._money, of.money))
        overlap = {other: round(float(np.isin(hits, rows).mean()), 4) for other, rows in self.hits.items()}
        return SuggestedRule(
            id_,
            text,
            in_words(checked.rules[0], teller_of(checked.definitions)),
            self.event,
            effect,
            len(hits),
            of.frauds,
            precision[0],
            precision[1],
            precision[2],
            money[0],
            money[1],
            money[2],
            {other: share for other, share in overlap.items() if share},
            next((cost for cost in costs if cost != CONSTANT), CONSTANT),
            tested if drafts.check(id_, tested).is_ok else file,
        )

    def _test(self, rule: Rule, definitions: Definitions, hits: Ints) -> str:
        """Write a rule test with masked ids and keys: a hit with the earlier events that it depends on, and an event
        without a hit.
        """
        from shroff.explain.key_events import looked_back
        from shroff.features.naive import Naive
        from shroff.language.expression import InValues, ThisField, walk
        from shroff.log.history import Records
        from shroff.project.definitions import computed_of
        from shroff.project.dependency_hash import read_by

        read = read_by([rule.when], definitions.features.get)
        alone = replace(definitions, rules=(rule,), experiments=(), features=read.features, policies={}, scoring={})
        for row in hits[::-1][:TEST_TRIES].tolist():
            past = looked_back(self.log, alone, int(self.rows.seqs[row]), TEST_EVENTS)
            if past is not None:
                break
        else:
            return ""
        quiet = np.setdiff1d(np.arange(max(0, row - TEST_EVENTS), row), hits)[-1:]
        places = [*(record.seq for record in past), *self.rows.seqs[[*quiet, row]].tolist()]
        records = Records(definitions.events, definitions.settings.money_places)
        compared = (part for part in walk(rule.when) if isinstance(part, InValues))
        names = {part.name for each in compared for part in walk(each) if isinstance(part, ThisField)}
        masked = _MaskedEvents(alone, frozenset(f"{rule.on}.{name}" for name in names))
        naive, told = Naive(definitions.events, computed_of(alone), definitions.reference), list[str]()
        for _, record in sorted(self.log.records_at(places).items()):
            event = records.decode(record)
            if event is not None:
                masked.add(event)
                hit = naive.add(event).get(rule.computed.name) is True
                told += [str(hit).lower()] if event.type == rule.on else []
        lines = "".join(f"        - {line}\n" for line in masked.lines)
        return (
            f"  tests:\n    - name: a hit of the log, masked\n      events:\n{lines}      hits: [{', '.join(told)}]\n"
        )

    def _text(self, part: Any) -> str:
        name, kind = self.inputs[part.column].name, self.inputs[part.column].node.type.kind
        name = name if _NAME.fullmatch(name) else f"({name})"
        if part.codes:
            return f"{name} in [{', '.join(_quoted(self.texts[part.column][code]) for code in part.codes)}]"
        if kind == "boolean":
            return name if part.is_above else f"not {name}"
        cut = show_duration(int(part.cut * 1000)) if kind == "duration" else f"{Decimal(repr(part.cut)):f}"
        return f"{name} {'>' if part.is_above else '<='} {cut.removesuffix('.0')}"

    def _entity(self, names: Sequence[str]) -> str:
        entities = [name for name, entity in self.definitions.events.entities.items() if self.event in entity.keys]
        return next(
            (name for name in (name.partition(".")[0] for name in names) if name in entities), next(iter(entities), "")
        )

    def _money(self, units: float) -> str:
        places = self.definitions.settings.money_places
        return show_decimal(round(units * 10**places), places)


@dataclass
class _MaskedEvents:
    """Events for a rule's test; texts are masked except in the fields `clear` (`TYPE.FIELD`)."""

    definitions: Definitions
    clear: frozenset[str]
    lines: list[str] = field(default_factory=list)
    _masks: dict[Any, str] = field(default_factory=dict)

    def add(self, event: LogEvent) -> None:
        if not isinstance(event, Event):
            named = f"{event.of.type}/{self._mask(event.of.id)}"
            self.lines.append(
                f'label: {{ event: "{named}", verdict: {event.values[1]}, at: {time_text(event.time_ms)} }}'
            )
            return
        type_ = self.definitions.events.types[event.type]
        told, places = [], self.definitions.settings.money_places
        for declared, value in zip(type_.fields, event.values, strict=True):
            if declared.sent and value is not None:
                is_masked = declared.type.kind == "text" and f"{event.type}.{declared.name}" not in self.clear
                shown = self._mask(value) if is_masked else value
                told.append(f"{declared.sent}: {canonical_value(shown, declared.type, places)}")
        self.lines.append(f"{event.type}: {{ {', '.join(told)} }}")

    def _mask(self, value: Any) -> str:
        return self._masks.setdefault(value, f"masked-{len(self._masks) + 1}")


def candidates(definitions: Definitions, event: str) -> Iterator[ModelInput]:
    """Yield the inputs that rules about an event could read: fields, features, lists, and look-ups that the project
    uses.
    """
    from shroff.language.expression import FeatureValue, InList, Lookup, Node, ThisField, walk
    from shroff.language.printer import text_of
    from shroff.language.types import BOOLEAN
    from shroff.models.definitions import ModelInput

    type_ = definitions.events.types[event]
    entities = definitions.events.entities.values()
    parts = [part for entity in entities for key in entity.keys.get(event, ()) for part in walk(key)]
    keys = {part.name for part in parts if isinstance(part, ThisField)}
    nodes: list[Node] = []
    for declared in type_.fields:
        node = ThisField(declared.read_type, declared.name)
        if declared.name in {type_.id_field, type_.time_field} or declared.shape.is_unique:
            continue
        if declared.type.kind in NUMBERS or (
            declared.type.is_text and declared.name not in keys and not declared.shape.is_hashed
        ):
            nodes.append(node)
        if declared.type.is_text:
            nodes += [InList(BOOLEAN, node, name) for name, entries in definitions.reference.lists.items() if entries]
    features = [feature for feature in definitions.features.values() if event in feature.events]
    kinds = NUMBERS | {"choice"}
    nodes += [FeatureValue(feature.type, feature.name) for feature in features if feature.type.kind in kinds]
    model = definitions.models.get(event)
    nodes += [input_.node for input_ in (model.inputs if model else ()) if not isinstance(input_.node, ThisField)]
    asked = [*(rule.when for rule in definitions.rules if rule.on == event), *(feature.node for feature in features)]
    look_ups = [part for node in asked for part in walk(node) if isinstance(part, Lookup)]
    nodes += [part for part in look_ups if all(isinstance(inner, ThisField | Lookup) for inner in walk(part))]
    return (ModelInput(name, node) for name, node in {text_of(node): node for node in nodes}.items())


def _quoted(text: str) -> str:
    """Put a text in single quotes, valid in YAML and in conditions."""
    return "'" + text.replace("'", "''") + "'"
