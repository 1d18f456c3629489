"""The model's part of an explanation: what each input added to the score, in words, next to what is normal.

It is computed on read, from the decision's values and the event's fields, by the model that scored it. Nothing is
stored.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
from msgspec import field
from msgspec.json import decode as from_json

from shroff.engine.stored import rule_reasons
from shroff.errors import StateError, UsageError
from shroff.events.event import Scalar, canonical_value
from shroff.explain.changes import Changes, Counterfactual, score_outcome
from shroff.explain.past import TYPICAL_MIN, PastDecision, percentiles, reader_of
from shroff.json_types import JsonMapping, JsonObject
from shroff.language.columns import column_of
from shroff.language.expression import Call, FeatureValue, Node, ThisField, walk
from shroff.language.expression_text import (
    ROUNDS,
    WHEN_ALONE,
    ValueWording,
    clause,
    clock_words_of,
    range_on_clock,
    zone_of,
)
from shroff.language.values import Value
from shroff.models.columns import model_column
from shroff.models.evaluation.calibration import is_calibrated
from shroff.models.learners.column_files import Values
from shroff.models.model import LOG_ODDS, Explainable
from shroff.models.model_contributions import Share, shares, source_of
from shroff.project.definitions import Definitions
from shroff.project.dependency_hash import reasons_of, teller_of
from shroff.project.policy import outcome
from shroff.project.scoring import Scorer
from shroff.runtime.values import FrozenStruct, replace

NUMERIC = frozenset(["integer", "number", "money", "real", "duration"])
_RARE = 5  # percent of earlier values from which missing ones are normal
_MOST = 90  # percent of the hours or weekdays from which a range counts as all of them
_DIGITS = 6  # decimals of contributions
ONE_AT_A_TIME = "Each line changes one value and keeps all others, although other values of the event may depend on it."
TREES_ONLY = "The model is not a forest of trees, so only values that rules compare were varied."

RuleReason = tuple[str, str, str]  # rule id, effect, text
Earlier = Callable[[str], Sequence[PastDecision]]  # by entity


class InputPart(FrozenStruct):
    """The contribution of one input, where several use the same feature or field."""

    input: str
    contribution: float


class HoursOfDay(FrozenStruct):
    """The hour of an event's time field and its typical hours, in UTC; pages convert them to a time zone.

    The range `low` to `high` includes both ends, and crosses midnight if `high` is smaller.
    """

    time_ms: int
    now: int
    low: int
    high: int


class ModelReason(msgspec.Struct, omit_defaults=True, frozen=True):
    """Contribution of a feature or field to the margin; `inputs` lists the model's inputs made from it if there are
    several.

    The fields after `kind` are for pages and not in the document: the parts of `text` (the fact, the normal range, and
    whose range it is), whether the value lies in that range, value and ends of a numeric range, and the hours of a time
    of day.
    """

    code: str
    text: str
    contribution: float
    inputs: list[InputPart] = []
    kind: str = "model"
    fact: str = ""
    normal: str = ""
    whose: str = ""
    is_usual: bool = False
    held: tuple[float, float, float] | None = None
    hours: HoursOfDay | None = None

    def document(self) -> JsonObject:
        document: JsonObject = {"code": self.code, "kind": self.kind, "text": self.text}
        document["contribution"] = self.contribution
        return document | ({"inputs": msgspec.to_builtins(self.inputs)} if self.inputs else {})


class ChangeLine(FrozenStruct):
    """The nearest value of one feature or field that would give another outcome.

    `until` is the farthest value of that range; None if it is open-ended.
    """

    code: str
    value: Scalar
    until: Scalar
    now: Scalar
    outcome: str
    text: str


class PolicyLine(FrozenStruct):
    """The policy step: rules and score to outcome; thresholds are None if policy.yaml has none."""

    review_at: float | None
    decline_at: float | None
    by_rules: str
    by_score: str
    text: str


class ModelPart(FrozenStruct):
    """The model's part of the decision, and the changes that would give another outcome.

    `base` is the mean margin; it and the contributions sum to `margin`, within 1e-5 of the sum of their sizes plus half
    a millionth for each. If `problem` is set, only the score is available; the numbers are None. `gives` is the scale:
    log-odds, or for a forest a probability before calibration.
    """

    model: str
    score: float | None
    margin: float | None
    base: float | None
    policy: PolicyLine
    changes: list[ChangeLine]
    note: str
    problem: str
    gives: str = LOG_ODDS


class ModelStory(FrozenStruct):
    """The model's part, with the reasons to add to those of the rules, largest first."""

    part: ModelPart
    reasons: tuple[ModelReason, ...] = ()
    is_calibrated: bool = False  # whether the score is the share of frauds among similar events


class Story(FrozenStruct):
    """Describes the model's part of one decision.

    Args:
        seen: The event as it was decided.
        earlier: Returns earlier decisions of an entity of the event; empty without a key.
        of_all: Returns earlier decisions of all entities; called only if an entity has too few.
        entity: Entity whose normal range is shown for the event's own fields; empty if it has no key.
    """

    definitions: Definitions
    event: str
    document: JsonMapping
    seen: PastDecision
    earlier: Earlier
    of_all: Callable[[], Sequence[PastDecision]]
    entity: str
    _all: list[Sequence[PastDecision]] = field(default_factory=list)

    def told(self) -> ModelStory:
        """Describe the model's part of a decision with a score."""
        try:
            return self._told(*self._scored_by())
        except (StateError, UsageError) as error:
            # Without the model, show the score as it is and compare features with the rules' limits
            score, changes = self.document["score"], self._changes(None, ())
            model = self.document["versions"]["model"]
            part = ModelPart(model, score, None, None, self._policy(), changes, ONE_AT_A_TIME, str(error))
            return ModelStory(part)

    def _scored_by(self) -> tuple[Explainable, Scorer]:
        """Return the model that scored the event. Raises: StateError if it is not loaded or cannot explain its
        inputs.
        """
        id_ = self.document["versions"]["model"]
        deciding = self.definitions.scoring_of(self.event).deciding
        scorer = next((scorer for scorer in deciding if scorer.id == id_), None)
        if scorer is None:
            raise StateError(f"the model {id_} was not active at this sequence number")
        if scorer.model is None:
            raise StateError(scorer.failure or f"the model {id_} is not loaded")
        if not isinstance(scorer.model, Explainable):
            raise StateError(f"the model {id_} does not say what its inputs add")
        return scorer.model, scorer

    def _told(self, model: Explainable, scorer: Scorer) -> ModelStory:
        columns = self._columns(model, scorer)
        margin = float(model.margins(columns)[0])
        score = float(model.scores(columns)[0])
        problem = ""
        if score != self.document["score"]:
            problem = (
                f"recalculated from the values of the decision, the score is {score:.6g}, because the decision shows "
                "a value with fewer decimal places than the model read"
            )
        contributions = model.contributions(columns)[0].tolist()
        reasons = list(self._reasons(model, scorer, contributions))
        note = ONE_AT_A_TIME if model.cuts() is not None else f"{TREES_ONLY} {ONE_AT_A_TIME}"
        part = ModelPart(
            scorer.id,
            self.document["score"],
            margin,
            round(contributions[-1], _DIGITS),
            self._policy(),
            self._changes(model, scorer.inputs),
            note,
            problem,
            str(model.manifest.get("gives", LOG_ODDS)),
        )
        return ModelStory(part, tuple(reasons), is_calibrated(model.manifest))

    def leading(self) -> ModelReason | None:
        """Return the strongest reason that raises the score and is unusual; else the strongest that raises it, if any.

        Cost: stops at the first such reason; reads the pasts of few entities, and tries no changes.
        """
        try:
            model, scorer = self._scored_by()
            contributions = model.contributions(self._columns(model, scorer))[0].tolist()
            first = None
            for reason in self._reasons(model, scorer, contributions, least=0.0):
                if not reason.is_usual:
                    return reason
                first = first or reason
        except (StateError, UsageError):
            return None
        return first

    def _columns(self, model: Explainable, scorer: Scorer) -> list[Values]:
        return [
            model_column(column_of([self._value(node)], node.type), node.type, shape.categories)
            for node, shape in zip(scorer.inputs, model.inputs, strict=True)
        ]

    def _reasons(
        self, model: Explainable, scorer: Scorer, contributions: Sequence[float], least: float = -math.inf
    ) -> Iterator[ModelReason]:
        """Iterate over the reasons that add more than `least`, largest first, each built on demand."""
        names = [input_.name for input_ in model.inputs]
        for share in shares(contributions[:-1], names, scorer.inputs, self.event):
            if share.contribution > least:
                yield self._reason(share, contributions, names, scorer.inputs)

    def _value(self, node: Node) -> Value:
        return reader_of(node, self.definitions.reference)(self.seen)

    def rule_reasons(self) -> list[RuleReason]:
        """Return the reasons of the rules that hit, in order, formatted for people."""
        format_reason = reasons_of(self.definitions)
        hit_reasons = rule_reasons(self.document)
        return [
            (reason["code"], reason["effect"], format_reason(reason["code"], str(reason["text"])))
            for reason in hit_reasons
        ]

    @property
    def _teller(self) -> ValueWording:
        return teller_of(self.definitions)

    # ---- reasons

    def _reason(
        self, share: Share, contributions: Sequence[float], names: Sequence[str], nodes: Sequence[Node]
    ) -> ModelReason:
        node = nodes[share.inputs[0]]
        value = self._value(node)
        against, whose = self._against(node)
        normal = self._range(node, value, against) if against else _Range()
        fact = self._teller.told(node, value, self._time_of(node))
        parts = [InputPart(names[index], round(contributions[index], _DIGITS)) for index in share.inputs]
        shown_range = (
            None if normal.ends is None or not isinstance(value, int | float) else (float(value), *normal.ends)
        )
        return ModelReason(
            share.code,
            f"{fact}, normally {normal.words} for {whose}" if against else fact,
            round(share.contribution, _DIGITS),
            [] if len(parts) == 1 else parts,
            fact=fact,
            normal=normal.words,
            whose=whose if against else "",
            is_usual=normal.is_usual,
            held=shown_range,
            hours=self._hours(node, value, normal),
        )

    def _hours(self, node: Node, value: Value, normal: _Range) -> HoursOfDay | None:
        """Return the hours if an input is the hour, in UTC, of a time field; else None."""
        call = self._teller.plain(node)
        time_ms = self._time_of(node)
        if time_ms is None or normal.hours is None or not isinstance(value, int):
            return None
        is_utc = isinstance(call, Call) and zone_of(call) == "UTC"
        return HoursOfDay(time_ms, value, *normal.hours) if is_utc else None

    def _time_of(self, node: Node) -> int | None:
        """Return the value of the time field of which an expression is the hour; else None."""
        call = self._teller.plain(node)
        if not (isinstance(call, Call) and call.function == "hour" and isinstance(call.arguments[0], ThisField)):
            return None
        time_ms = self._value(call.arguments[0])
        return time_ms if isinstance(time_ms, int) else None

    def _against(self, node: Node) -> tuple[list[Value], str]:
        """Return the values that define the normal range, and whose they are: this entity's, or all if those are too
        few.
        """
        # ^The feature's entity; for a field the event's first one
        source = source_of(node)
        parts = [source] if source is not None else [part for part in walk(node) if isinstance(part, FeatureValue)]
        features = [self.definitions.features[part.name] for part in parts if isinstance(part, FeatureValue)]
        entity = features[0].entity if features else self.entity
        own_values = self._values(node, self.earlier(entity))
        if len(_there(own_values)) >= TYPICAL_MIN:
            return own_values, f"this {_spaced(entity)}"
        if not self._all:
            self._all.append(self.of_all())
        of_all = self._values(node, self._all[0])
        return of_all if len(_there(of_all)) >= TYPICAL_MIN else [], f"every {_spaced(entity or self.event)}"

    def _values(self, node: Node, past: Sequence[PastDecision]) -> list[Value]:
        read = reader_of(node, self.definitions.reference)
        return [read(decision) for decision in past]

    def _range(self, node: Node, value: Value, values: list[Value]) -> _Range:
        """Describe the normal range; a missing value is normal if missing values are frequent."""
        value_range = self._range_of(node, value, _there(values))
        missing_count = values.count(None)
        if value is None and 100 * missing_count >= _RARE * len(values):
            return replace(value_range, words=f"missing or {value_range.words}", is_usual=True)
        return value_range

    def _range_of(self, node: Node, value: Value, values: list[Value]) -> _Range:
        """Describe the normal range: numbers from the 5th to the 95th percentile, else the most frequent value."""
        teller = self._teller
        wording = teller.wording(node)
        if node.type.is_text or node.type.kind == "boolean":
            # ^Break ties by text, so that the result does not depend on the order
            most_frequent, count = max(Counter(values).items(), key=lambda counted: (counted[1], str(counted[0])))
            share = f" ({count:,} of {len(values):,})" if count < len(values) else ""
            text = teller.value(node.type, most_frequent, wording)
            if node.type.kind == "boolean" and clause(teller, node):
                timed = clock_words_of(teller, teller.plain(node), WHEN_ALONE, is_true=bool(most_frequent))
                text = timed or ("the case" if most_frequent == value else "not the case")
            return _Range(text + share, is_usual=value == most_frequent)
        numbers = [float(value) for value in values if isinstance(value, int | float)]
        if wording.clock:
            clock_range = _on_clock(wording.clock, numbers, value)
            return (
                clock_range
                if " any " in clock_range.words
                else replace(clock_range, words=clock_range.words + wording.after)
            )
        low, high = percentiles(numbers)
        is_whole = node.type.kind != "real"
        low_text, high_text = (
            teller.value(node.type, int(number) if is_whole else number, wording) for number in (low, high)
        )
        is_number = isinstance(value, int | float)
        current = float(value) if isinstance(value, int | float) else 0.0
        unit = teller.unit(node.type, wording)
        if low_text == high_text:
            text = f"{high_text}{unit}"
        elif is_number and current > high:
            text = f"up to {high_text}{unit}"
        elif is_number and current < low:
            text = f"at least {low_text}{unit}"
        else:
            text = f"between {low_text} and {high_text}{unit}"
        return _Range(text, (low, high), is_usual=is_number and low <= current <= high)

    # ---- the policy, and what would change its outcome

    def _policy(self) -> PolicyLine:
        hit = [rule.effect for rule in self.definitions.evaluated if rule.id in self.document["rules"]]
        policy = self.definitions.policy(self.event).of(hit)
        by_rules = outcome(hit, policy, None, has_model=True)
        by_score = score_outcome(policy, self.document["score"])
        cuts = [("review", policy.review_at), ("decline", policy.decline_at)]
        thresholds = ", ".join(f"{name} from {threshold:.4f}" for name, threshold in cuts if threshold is not None)
        text = f"The score {self.document['score']:.4f} alone gives {by_score} ({thresholds or 'no thresholds'}). "
        exploration = self.document.get("exploration")
        together = self.document["outcome"] if exploration is None else exploration["would_be"]
        text += f"The rules alone give {by_rules}. Together: {together}"
        text += ", since a rule allows it." if "allow" in hit else "."
        text += "" if exploration is None else _drawn(exploration, self.document["outcome"])
        return PolicyLine(policy.review_at, policy.decline_at, by_rules, by_score, text)

    def _changes(self, model: Explainable | None, inputs: Sequence[Node]) -> list[ChangeLine]:
        changes = Changes(self.definitions, self.event, model, inputs, self.seen, frozenset(self.document["rules"]))
        decided = self.document.get("exploration", {}).get("would_be", self.document["outcome"])
        return [self._change(counterfactual) for counterfactual in changes.nearest(decided)]

    def _change(self, change: Counterfactual) -> ChangeLine:
        teller = self._teller
        type_ = change.variable.type
        wording = teller.wording(change.variable)
        bounds = (change.value, change.until, change.now)
        value, until, current = (teller.value(type_, bound, wording) for bound in bounds)
        unit = teller.unit(type_, wording)
        is_above = float(change.value or 0) > float(change.now or 0)
        if wording.clock:
            farthest = ROUNDS[wording.clock] - 1 if is_above else 0
            hours = sorted(int(farthest if limit is None else limit) for limit in bounds[:2])
            unit = wording.after  # the time zone
            range_text = range_on_clock(wording.clock, hours[0], hours[1], None) + unit
        elif change.until is None:
            range_text = f"of {value} or {'more' if is_above else 'less'}"
        elif until == value:
            range_text = f"of {value}"
        else:
            range_text = f"between {value} and {until}" if is_above else f"between {until} and {value}"
        text = f"{change.code} {range_text} instead of {current}{unit} would give {change.outcome}"
        places = self.definitions.settings.money_places
        shown = [from_json(canonical_value(bound, type_, places)) for bound in bounds]
        return ChangeLine(change.code, shown[0], shown[1], shown[2], change.outcome, text)


class _Range(FrozenStruct):
    """Normal range: words, its ends if it is numeric, whether the value lies in it, and its first and last hour."""

    words: str = ""
    ends: tuple[float, float] | None = None
    is_usual: bool = False
    hours: tuple[int, int] | None = None


def _there(values: Iterable[Value]) -> list[Value]:
    return [value for value in values if value is not None]


def _on_clock(clock: str, numbers: Sequence[float], value: Value) -> _Range:
    """Describe the normal range of hours or weekdays, which are circular: percentiles from the end of the longest
    gap.
    """
    round_ = ROUNDS[clock]
    distinct = sorted({int(number) for number in numbers})
    # ^The gap before each value; among equal gaps prefer the one before the first, over midnight or the end of the week
    start = max(
        distinct,
        key=lambda number: ((number - distinct[distinct.index(number) - 1] - 1) % round_, number == distinct[0]),
    )
    low, high = percentiles([(number - start) % round_ for number in numbers])
    if high - low + 1 >= round_ * _MOST / 100:  # spread over almost all
        start = 0
        low = 0
        high = round_ - 1
    current = int(value) if isinstance(value, int | float) else None
    is_usual = current is not None and low <= (current - start) % round_ <= high
    first, last = (int(number + start) % round_ for number in (low, high))
    bounds = (float(first), float(last)) if first <= last else None
    # None if every hour is in the range
    hours = (first, last) if clock == "hour" and (last - first + 1) % round_ else None
    return _Range(range_on_clock(clock, first, last, current), bounds, is_usual=is_usual, hours=hours)


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _drawn(exploration: JsonMapping, decided: str) -> str:
    if exploration["explored"]:
        share = f"{100 * exploration['propensity']:.4f}".rstrip("0").rstrip(".")
        if exploration["would_be"] == "approve":
            return f" It was drawn for the sample of approvals, as {share} % of such approvals are."
        return f" It was approved for exploration, as {share} % of such declines are: {decided}."
    if exploration["propensity"]:
        return " It was drawn for exploration and not chosen."
    return " It was not explored: the daily limit was reached."
