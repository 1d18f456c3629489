"""Definitions of model.yaml: inputs, time split, training and gates."""

from __future__ import annotations

from msgspec import field

from shroff.json_types import TextMapping
from shroff.language.expression import Node
from shroff.runtime.entry_points import LEARNERS as LEARNER_ENTRIES
from shroff.runtime.entry_points import installed
from shroff.runtime.values import FrozenStruct

SEARCHED = ("xgboost", "forest", "lightgbm", "logistic")  # whose parameters can be searched for
LEARNERS = (*SEARCHED, "isolation")


def learners(name: str) -> tuple[str, ...]:
    """The names of learners; those of other packages are looked for where `name` is none of ours."""
    return LEARNERS if name in LEARNERS else (*LEARNERS, *installed(LEARNER_ENTRIES))


class ModelInput(FrozenStruct):
    """One model input: its text with patterns resolved, and its typed expression over `this`."""

    name: str
    node: Node


class Split(FrozenStruct):
    """Windows of time, each behind the other: train, then a gap in which labels come, then test."""

    train_ms: int
    delay_ms: int
    test_ms: int
    folds: int


class DailyCapacity(FrozenStruct):
    """Number of an entity's keys that people can review per day."""

    entity: str
    k: int


class ModelGate(FrozenStruct):
    """Limits of a metric for promotion. None: no limit."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    above_champion_by: str | float | None = None  # "noise", or a number
    is_required: bool = False  # of `leak_test: required`
    at: float | None = None  # the threshold of a metric that has one
    by: tuple[str, ...] = ()  # the slices whose segments are compared


class ModelSettings(FrozenStruct):
    """The model of one event type, as model.yaml has it. `parameters` and further keys have the loader's defaults."""

    event: str
    inputs: tuple[ModelInput, ...]
    label_delay_ms: int
    learner: str
    split: Split
    capacity: DailyCapacity | None
    gates: tuple[ModelGate, ...]
    parameters: TextMapping = field(default_factory=dict)  # of the learner, as written
    search: TextMapping = field(default_factory=dict)  # trials, time, of a search for parameters
    calibration: str = "auto"  # auto | isotonic | platt | none
    negatives_kept: float = 1.0  # share of genuine events that training keeps; the score is corrected back
    friendly_reasons: frozenset[str] = frozenset()  # reasons of labels whose fraud counts as genuine
    slices: tuple[ModelInput, ...] = ()
    give_away: tuple[str, ...] = ()  # inputs that give the answer away: results also without them
    seed: int = 1
    purpose: str = ""
