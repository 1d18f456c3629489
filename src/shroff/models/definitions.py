"""Definitions of model.yaml: inputs, time split, training and gates."""

from __future__ import annotations

from msgspec import field

from shroff.json_types import TextMapping
from shroff.language.expression import Node
from shroff.runtime.entry_points import LEARNERS as LEARNER_ENTRIES
from shroff.runtime.entry_points import installed
from shroff.runtime.values import FrozenStruct

SEARCHED = ("xgboost", "forest", "lightgbm", "logistic")  # learners whose parameters can be searched
LEARNERS = (*SEARCHED, "isolation")


def learners(name: str) -> tuple[str, ...]:
    """Return the names of learners; plug-ins are loaded only if `name` is not built in."""
    return LEARNERS if name in LEARNERS else (*LEARNERS, *installed(LEARNER_ENTRIES))


class ModelInput(FrozenStruct):
    """A model input: its name with patterns resolved, and its typed expression over `this`."""

    name: str
    node: Node


class Split(FrozenStruct):
    """Consecutive time windows: training, then a gap for labels to arrive, then test."""

    train_ms: int
    delay_ms: int
    test_ms: int
    folds: int


class DailyCapacity(FrozenStruct):
    """Number of an entity's keys that people can review per day."""

    entity: str
    k: int


class ModelGate(FrozenStruct):
    """Limits of a metric for promotion; None for no limit."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    above_champion_by: str | float | None = None  # NOISE, or a number
    is_required: bool = False  # for `leak_test: required`
    at: float | None = None  # threshold of the score, for metrics that need one
    by: tuple[str, ...] = ()  # slices whose segments are compared


class ModelSettings(FrozenStruct):
    """The settings of one event type's model in model.yaml. `parameters` and the fields after it have the loader's
    defaults.
    """

    event: str
    inputs: tuple[ModelInput, ...]
    label_delay_ms: int
    learner: str
    split: Split
    capacity: DailyCapacity | None
    gates: tuple[ModelGate, ...]
    parameters: TextMapping = field(default_factory=dict)  # of the learner, as written
    search: TextMapping = field(default_factory=dict)  # bounds of a parameter search: trials, time
    calibration: str = "auto"  # auto | isotonic | platt | none
    negatives_kept: float = 1.0  # share of genuine events that training keeps; the score is corrected back
    friendly_reasons: frozenset[str] = frozenset()  # label reasons whose fraud counts as genuine
    slices: tuple[ModelInput, ...] = ()
    give_away: tuple[str, ...] = ()  # inputs that reveal the answer: results are also given without them
    seed: int = 1
    purpose: str = ""
