"""Loader of model.yaml: the settings of each event type's model, with the position of every error."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from shroff.errors import Problem, nearest
from shroff.events.definitions import Events, EventType
from shroff.features.definitions import FeatureTypes
from shroff.json_types import TextDict
from shroff.language import loader
from shroff.language.names import DeclaredNames
from shroff.language.values import DAY_MS, show_duration
from shroff.language.yaml.text import Mapping as YamlMapping
from shroff.language.yaml.text import Node as YamlNode
from shroff.language.yaml.text import Scalar
from shroff.language.yaml.text import Sequence as YamlSequence
from shroff.models.definitions import (
    LEARNERS,
    SEARCHED,
    DailyCapacity,
    ModelGate,
    ModelInput,
    ModelSettings,
    Split,
    learners,
)
from shroff.models.inputs import InputLoader
from shroff.models.keys import (
    CALIBRATIONS,
    CAPACITY,
    MODEL,
    NO_GATES,
    NOISE,
    REQUIRED,
    SEARCH,
    SEGMENTS,
    SPLIT,
    gate_keys,
    limits_of,
    parameters_of,
)
from shroff.models.metrics import FAIRNESS, RATIO, Metric, metric_of
from shroff.runtime.values import FrozenStruct, replace

LABEL_DELAY_MS = 7 * DAY_MS
TRAIN_MS = 28 * DAY_MS
TEST_MS = 7 * DAY_MS
FOLDS = 4
FOLDS_MAX = 1_000
SEED_MAX = 2**31 - 1  # limit of every library
DEFAULT_GATES = (ModelGate("average_precision", above_champion_by=NOISE), ModelGate("leak_test", is_required=True))

# Requirements of metrics (`keys.Metric`): in words, and what to write.
_NEEDS = {
    "capacity": ("how many keys people can review", "Write capacity: {{ by: ENTITY, k: 100 }}."),
    "slices": ("slices", "Write slices: [FIELD]."),
    "amount": ("what a missed fraud costs", "Write costs: {{ missed_fraud: … }} under {event} in policy.yaml."),
    "cut_off": ("a threshold", "Write score: {{ review_at: 0.60 }} under {event} in policy.yaml."),
    "reviews_a_day": (
        "how many events people can review",
        "Write costs: {{ reviews_a_day: 100 }} under {event} in policy.yaml.",
    ),
    "review_at": ("its threshold", "Write score: {{ review_at: 0.60 }} under {event} in policy.yaml."),
    "decline_at": ("its threshold", "Write score: {{ decline_at: 0.92 }} under {event} in policy.yaml."),
}


class ModelContext(FrozenStruct):
    """Context for reading model.yaml.

    Args:
        policies: For each event type the keys that its policy has, such as `review_at` and `missed_fraud`.
    """

    events: Events
    features: FeatureTypes
    names: DeclaredNames
    policies: Mapping[str, frozenset[str]]


def longest_label_delay_ms(models: Mapping[str, ModelSettings]) -> int:
    """Return the longest label delay of the event types; the default without a model."""
    return max((model.label_delay_ms for model in models.values()), default=LABEL_DELAY_MS)


def load_models(
    node: YamlNode | None, context: ModelContext, problems: list[Problem], warnings: list[Problem]
) -> dict[str, ModelSettings]:
    mapping = loader.mapping(node, problems, "model.yaml")
    models: dict[str, ModelSettings] = {}
    for key, value in mapping.entries if mapping else ():
        event = _event(key, context.events, problems)
        settings = loader.mapping(value, problems, f"the model of {key.text}", MODEL) if event else None
        if event is None or settings is None:
            continue
        inputs = InputLoader(event, context.events, context.features, context.names, problems, warnings)
        models[key.text] = _ModelLoader(event, context, inputs, problems, warnings).load(key, settings)
    return models


def _event(key: Scalar, events: Events, problems: list[Problem]) -> EventType | None:
    if key.text not in events.types:
        key.report(problems, f"{key.text!r} is not an event type.", nearest(key.text, events.types))
        return None
    if not events.types[key.text].is_decided:
        message = f"{key.text} is not decided, so it has no score."
        key.report(problems, message, f"Write 'decide: true' under {key.text} in events.yaml.")
        return None
    return events.types[key.text]


class _ModelLoader(Struct):
    event: EventType
    known: ModelContext
    inputs: InputLoader
    problems: list[Problem]
    warnings: list[Problem]
    segments: dict[str, ModelInput] = {}  # compared by gates

    def load(self, key: Scalar, mapping: YamlMapping) -> ModelSettings:
        problems = self.problems
        inputs = self.inputs.inputs(mapping.get("inputs"), key)
        label_delay = loader.duration_ms(mapping.get("label_delay"), problems, "label_delay")
        label_delay_ms = LABEL_DELAY_MS if label_delay is None else label_delay
        learner_node = mapping.get("learner")
        names = learners(learner_node.text) if isinstance(learner_node, Scalar) else LEARNERS
        learner = loader.one_of(learner_node, names, problems, "learner")
        slices = self.inputs.slices(mapping.get("slices"))
        gates = self._gates(mapping.get("gates"), self._there(mapping, slices))
        capacity = self._capacity(mapping.get("capacity"))
        calibration = loader.one_of(mapping.get("calibration"), CALIBRATIONS, problems, "calibration")
        seed = loader.decimal(mapping.get("seed"), problems, "seed", 0, SEED_MAX, is_whole=True)
        purpose = loader.scalar(mapping.get("purpose"), problems, "purpose")
        return ModelSettings(
            self.event.name,
            inputs,
            label_delay_ms,
            learner or LEARNERS[0],
            self._split(mapping.get("split"), label_delay_ms),
            capacity,
            gates,
            self._parameters(mapping.get("parameters"), learner or LEARNERS[0]),
            self._search(mapping.get("search"), learner),
            calibration or CALIBRATIONS[0],
            self._negatives(mapping.get("negatives")),
            self._reasons(mapping.get("friendly_fraud")),
            tuple(({part.name: part for part in slices} | self.segments).values()),
            self.inputs.give_away(mapping.get("give_away"), inputs),
            1 if seed is None else int(seed),
            purpose.text if purpose else "",
        )

    def _split(self, node: YamlNode | None, label_delay_ms: int) -> Split:
        split = loader.mapping(node, self.problems, "split", SPLIT)
        train = self._length(split, "train", TRAIN_MS)
        test = self._length(split, "test", TEST_MS)
        delay_node = split.get("delay") if split else None
        delay = loader.duration_ms(delay_node, self.problems, "delay")
        folds = loader.decimal(
            split.get("folds") if split else None, self.problems, "folds", 1, FOLDS_MAX, is_whole=True
        )
        if delay is not None and delay < label_delay_ms and delay_node is not None:
            message = f"delay is shorter than label_delay ({show_duration(label_delay_ms)})"
            hint = (
                "When a fold is tested, the newest events that it could learn from are younger than that: it leaves "
                "them out, labeled or not, so a longer delay loses nothing."
            )
            delay_node.report(self.warnings, f"{message}.", hint)
        return Split(train, label_delay_ms if delay is None else delay, test, FOLDS if folds is None else int(folds))

    def _length(self, mapping: YamlMapping | None, name: str, default_ms: int) -> int:
        node = mapping.get(name) if mapping else None
        length_ms = loader.duration_ms(node, self.problems, name)
        if length_ms == 0 and node is not None:
            node.report(self.problems, f"{name} is above 0.")
        return default_ms if length_ms is None else length_ms

    def _capacity(self, node: YamlNode | None) -> DailyCapacity | None:
        capacity = loader.mapping(node, self.problems, "capacity", CAPACITY)
        if capacity is None:
            return None
        by = loader.scalar(capacity.get("by"), self.problems, "by")
        k = loader.decimal(capacity.get("k"), self.problems, "k", 1, 10**9, is_whole=True)
        if by is None:
            return None
        entities = self.known.events.entities
        keyed = [name for name, entity in entities.items() if self.event.name in entity.keys]
        if by.text not in keyed:
            problem = f"has no key in {self.event.name}" if by.text in entities else "is not an entity"
            hint = nearest(by.text, keyed) or (f"There is {', '.join(keyed)}." if keyed else "None is declared.")
            by.report(self.problems, f"{by.text!r} {problem}.", hint)
            return None
        return None if k is None else DailyCapacity(by.text, int(k))

    # ---- gates

    def _there(self, mapping: YamlMapping, slices: tuple[ModelInput, ...]) -> frozenset[str]:
        """Return the requirements of metrics that are present, even if invalid."""
        present = set(self.known.policies.get(self.event.name, ()))
        is_there = {
            "capacity": mapping.get("capacity"),
            "slices": slices or mapping.get("slices"),
            "amount": "missed_fraud" in present or any(field.type.kind == "money" for field in self.event.fields),
            "cut_off": present & {"review_at", "decline_at"},
        }
        return frozenset(present | {need for need, is_met in is_there.items() if is_met})

    def _gates(self, node: YamlNode | None, present: frozenset[str]) -> tuple[ModelGate, ...]:
        if node is None:
            return DEFAULT_GATES
        if isinstance(node, Scalar) and node.text == NO_GATES:
            return ()
        names = [key.text for key, _ in node.entries] if isinstance(node, YamlMapping) else []
        mapping = loader.mapping(node, self.problems, "gates", gate_keys(names))
        if mapping is not None and not mapping.entries:
            hint = f"Leave gates out for those that hold by default, or write 'gates: {NO_GATES}' to ask nothing."
            mapping.report(self.problems, "gates asks nothing.", hint)
        gates: list[ModelGate] = []
        for key, value in mapping.entries if mapping else ():
            metric = metric_of(key.text)
            gate = self._gate(metric, value) if metric is not None else None
            if metric is not None and gate is not None:
                gates.append(gate)
                self._check_needs(key, metric, present)
        return tuple(gates)

    def _gate(self, metric: Metric, value: YamlNode) -> ModelGate | None:
        limits = limits_of(metric)
        if isinstance(value, Scalar) and (limits is None or metric.is_also_test):
            word = loader.one_of(value, (REQUIRED,), self.problems, metric.name)
            return None if word is None else ModelGate(metric.name, is_required=True)
        if limits is None or isinstance(value, Scalar):
            example = REQUIRED if limits is None else f"{{ {limits.keys[0].name}: {limits.keys[0].examples[0]} }}"
            message = f"{metric.name} passes or does not" if limits is None else f"{metric.name} has limits"
            value.report(self.problems, f"{message}.", f"Write {metric.name}: {example}.")
            return None
        limit_keys = loader.mapping(value, self.problems, metric.name, limits)
        if limit_keys is None:
            return None
        if limits is SEGMENTS:
            return self._fairness_gate(limit_keys)
        if all(key.text == "at" for key, _ in limit_keys.entries):
            names = ", ".join(name for name in limits.names if name != "at")
            limit_keys.report(self.problems, f"{metric.name} has no limit.", f"It takes {names}.")
        at_least = self._limit(metric, limit_keys, "at_least")
        at_most = self._limit(metric, limit_keys, "at_most")
        threshold = loader.decimal(limit_keys.get("at"), self.problems, f"at of {metric.name}", 0, 1)
        if at_least is not None and at_most is not None and at_least > at_most:
            limit_keys.report(self.problems, f"at_least {at_least:g} is above at_most {at_most:g}.")
        above = limit_keys.get("above_champion_by")
        lead = None if above is None else self._above(metric, above)
        return ModelGate(metric.name, at_least, at_most, lead, at=None if threshold is None else float(threshold))

    def _fairness_gate(self, mapping: YamlMapping) -> ModelGate | None:
        segments_node = mapping.get("by")
        ratio = mapping.get(RATIO.name)
        segments = self.inputs.slices(segments_node) if segments_node else ()
        self.segments |= {part.name: part for part in segments}
        if isinstance(segments_node, YamlSequence) and not segments_node.items:
            segments_node.report(self.problems, "by names no field.", "Write by: [FIELD].")
        limit = self._gate(RATIO, ratio) if ratio else None
        return None if limit is None else replace(limit, metric=FAIRNESS, by=tuple(part.name for part in segments))

    def _limit(self, metric: Metric, mapping: YamlMapping, name: str) -> float | None:
        node = mapping.get(name)
        subject = f"{name} of {metric.name}"
        if metric.kind == "duration":
            length_ms = loader.duration_ms(node, self.problems, subject)
            return None if length_ms is None else float(length_ms)
        high = 1 if metric.kind == "share" else None
        low = 0 if metric.kind == "share" else -(10**15)
        value = loader.decimal(node, self.problems, subject, low, high)
        return None if value is None else float(value)

    def _above(self, metric: Metric, node: YamlNode) -> str | float | None:
        if isinstance(node, Scalar) and node.text == NOISE:
            return NOISE
        subject = f"above_champion_by of {metric.name}, where it is not {NOISE!r},"
        value = loader.decimal(node, self.problems, subject, 0, 1 if metric.kind == "share" else None)
        return None if value is None else float(value)

    def _check_needs(self, key: Scalar, metric: Metric, present: frozenset[str]) -> None:
        for need in metric.needs:
            if need not in present:
                words, cure = _NEEDS[need]
                event = self.event.name
                key.report(
                    self.problems, f"{metric.name} cannot be computed without {words}.", cure.format(event=event)
                )

    # ---- the rest

    def _parameters(self, node: YamlNode | None, learner: str) -> TextDict:
        parameters = loader.mapping(node, self.problems, "parameters")
        known = parameters_of(learner)
        read: TextDict = {}
        for key, value in parameters.entries if parameters else ():
            parameter = known.get(key.text)
            if parameter is None:
                hint = nearest(key.text, known) or f"It takes {', '.join(known)}."
                key.report(self.problems, f"{learner} has no parameter {key.text!r}.", hint)
                continue
            number = loader.decimal(
                value,
                self.problems,
                key.text,
                parameter.low,
                parameter.high,
                is_above=parameter.is_above,
                is_whole=parameter.is_whole,
            )
            if number is not None and isinstance(value, Scalar):
                read[key.text] = value.text
        return read

    def _search(self, node: YamlNode | None, learner: str | None) -> TextDict:
        search = loader.mapping(node, self.problems, "search", SEARCH)
        if search is None:
            return {}
        if learner not in (None, *SEARCHED):
            search.report(self.problems, f"parameters of {learner} cannot be searched for.", "Leave search out.")
        if not search.entries:
            search.report(self.problems, "search has no bound.", "It takes trials, time.")
        loader.decimal(search.get("trials"), self.problems, "trials", 1, 10**6, is_whole=True)
        self._length(search, "time", 0)
        return search.texts()

    def _negatives(self, node: YamlNode | None) -> float:
        share = loader.percent(node, self.problems, "negatives")
        if share == 0 and node is not None:
            node.report(self.problems, "negatives is above 0%: without genuine events nothing can be learned.")
        return 1.0 if share is None else share

    def _reasons(self, node: YamlNode | None) -> frozenset[str]:
        listed = loader.sequence(node, self.problems, "friendly_fraud")
        reasons: list[str] = []
        for item in listed.items if listed else ():
            reason = loader.scalar(item, self.problems, "a reason")
            if reason is not None and reason.text in reasons:
                reason.report(self.problems, f"{reason.text!r} is used twice.")
            reasons += [reason.text] if reason is not None else []
        return frozenset(reasons)
