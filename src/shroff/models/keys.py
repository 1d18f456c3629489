"""Keys of model.yaml (see `language.keys`)."""

from __future__ import annotations

from collections.abc import Iterable

from shroff.language.keys import (
    ANY,
    DECIMAL,
    DURATION,
    NAME,
    NUMBER,
    PERCENT,
    SCORE,
    TEXT,
    TRUTH,
    WHOLE,
    Either,
    Key,
    Many,
    MappingShape,
    One,
    Required,
    Shape,
    choice,
    mapping_shape,
    own_names,
)
from shroff.models.definitions import LEARNERS
from shroff.models.metrics import METRICS, METRICS_BY_NAME, Metric
from shroff.runtime.entry_points import METRICS as METRIC_ENTRIES
from shroff.runtime.entry_points import installed
from shroff.runtime.values import FrozenStruct

CALIBRATIONS = ("auto", "isotonic", "platt", "none")
REQUIRED = "required"
NOISE = "noise"
NO_GATES = "none"

# ---- gates


_AT_LEAST = "Minimum value to pass."
_AT_MOST = "Maximum value to pass."
_ABOVE_CHAMPION = Key(
    "above_champion_by",
    "Required lead over the champion on the same rows: a number, or `noise`, which requires the whole confidence "
    "interval of the difference to be above 0. Without a champion, the baseline is what is active: the rules, or "
    "approving everything if there are none.",
    Either((choice(NOISE), DECIMAL)),
    examples=(NOISE,),
)


def _limits(subject: str, value: Shape, at_most: str, at_least: str = "") -> MappingShape:
    maximum = Key("at_most", _AT_MOST, value, examples=(at_most,))
    if not at_least:
        return MappingShape(subject, (maximum,))
    return MappingShape(subject, (Key("at_least", _AT_LEAST, value, examples=(at_least,)), maximum, _ABOVE_CHAMPION))


SHARE_LIMITS = _limits("limits of a share; higher is better", SCORE, "0.99", "0.5")


class _ShareLimits:
    """Limits of a share at a threshold; higher is better.

    at: The threshold: events with at least this score count as predicted fraud. For rules and outcomes, reviewed or
        declined events do.
        Example: 0.5
    """

    at = Required(SCORE)
    limits = SHARE_LIMITS.keys


CUT_SHARE_LIMITS = mapping_shape(_ShareLimits)
LEAST_SHARE = _limits("the limit of a share; lower is better", SCORE, "0.02")
MONEY_LIMITS = _limits("limits in the project's money; higher is better", DECIMAL, "100000", "1000")
LEAST_MONEY = _limits("the limit in the project's money; lower is better", DECIMAL, "1000")
LONGEST = _limits("the limit of a duration", DURATION, "1ms")
LEAST_RATIO = _limits("the limit of a ratio", DECIMAL, "1.5")


class _Segments:
    """Segments, and the limit of their ratio.

    by: What parts events into segments: fields by name, or expressions, as in `slices`, to which they are added.
        Example: [country]
    false_positive_ratio: Limit of the ratio. The gate fails if the data show a higher one with 95 % confidence.
        Example: { at_most: 1.5 }
    """

    by = Required(Many("fields and expressions", ANY))
    false_positive_ratio = Required(LEAST_RATIO)


SEGMENTS = mapping_shape(_Segments)
_TEST = choice(REQUIRED)


def limits_of(metric: Metric) -> MappingShape | None:
    """Return the limits that a gate of this metric takes; None for a test."""
    if metric.has_cut_off:
        return CUT_SHARE_LIMITS
    limits = {
        ("share", False): SHARE_LIMITS,
        ("share", True): LEAST_SHARE,
        ("money", False): MONEY_LIMITS,
        ("money", True): LEAST_MONEY,
        ("duration", True): LONGEST,
        ("segments", True): SEGMENTS,
        ("ratio", True): LEAST_RATIO,
    }
    return limits.get((metric.kind, metric.is_less_better))


def _gate(metric: Metric) -> Shape:
    limits = limits_of(metric)
    if limits is None:
        return _TEST
    return Either((limits, _TEST)) if metric.is_also_test else limits


def gate_keys(names: Iterable[str] = ()) -> MappingShape:
    """Return the keys of gates, with those of other packages if a name is not built in."""
    more = installed(METRIC_ENTRIES).values() if set(names) - METRICS_BY_NAME.keys() else ()
    return MappingShape(
        "metrics with their limits",
        tuple(Key(metric.name, metric.meaning, _gate(metric)) for metric in (*METRICS, *more)),
    )


GATES = gate_keys()

# ---- learners


class LearnerParameter(FrozenStruct):
    """A numeric parameter in [low, high], or in (low, high] with `is_above`."""

    name: str
    meaning: str
    learners: tuple[str, ...]
    low: int = 0
    high: int | None = None
    is_above: bool = False
    is_whole: bool = False
    example: str = "1"


_TREES = ("xgboost", "forest", "lightgbm")
_BOOSTED = ("xgboost", "lightgbm")
PARAMETERS = (
    LearnerParameter("trees", "Number of trees.", (*_TREES, "isolation"), 1, 10_000, is_whole=True, example="300"),
    LearnerParameter("depth", "Maximum depth of a tree.", _TREES, 1, 32, is_whole=True, example="6"),
    LearnerParameter("leaves", "Maximum number of leaves of a tree.", _TREES, 2, 65_536, is_whole=True, example="63"),
    LearnerParameter(
        "learning_rate", "Learning rate: weight of each tree.", _BOOSTED, 0, 1, is_above=True, example="0.05"
    ),
    LearnerParameter(
        "min_weight",
        "Minimum weight of a leaf: for a forest its number of events, for boosting the sum of the Hessian.",
        _TREES,
        example="5",
    ),
    LearnerParameter("min_gain", "Minimum gain to split a leaf.", _TREES, example="0.1"),
    LearnerParameter(
        "rows", "Share of events used for each tree.", (*_TREES, "isolation"), 0, 1, is_above=True, example="0.8"
    ),
    LearnerParameter(
        "columns", "Share of inputs used for each tree.", (*_TREES, "isolation"), 0, 1, is_above=True, example="0.8"
    ),
    LearnerParameter(
        "bins",
        "Number of bins for a numeric input; a forest sets half of them by the distribution of frauds.",
        _TREES,
        2,
        65_535,
        is_whole=True,
        example="256",
    ),
    LearnerParameter("l1", "Strength of L1 regularization.", _BOOSTED, example="0.5"),
    LearnerParameter("l2", "Strength of L2 regularization.", (*_TREES, "logistic"), example="1"),
    LearnerParameter(
        "positive_weight",
        "Weight of a fraud relative to a genuine event; calibration corrects the score for it.",
        (*_TREES, "logistic"),
        0,
        is_above=True,
        example="10",
    ),
)


def parameters_of(learner: str) -> dict[str, LearnerParameter]:
    return {
        parameter.name: parameter
        for parameter in PARAMETERS
        if learner in parameter.learners or learner not in LEARNERS
    }


PARAMETER_KEYS = MappingShape(
    "parameters of the learner",
    tuple(
        Key(
            parameter.name,
            f"{parameter.meaning} For {', '.join(parameter.learners)}.",
            WHOLE if parameter.is_whole else DECIMAL,
            examples=(parameter.example,),
        )
        for parameter in PARAMETERS
    ),
)

# ---- the rest of model.yaml

ALL = "all"  # inputs that a model can read
INPUT = One("an expression, or a pattern such as card.*", kinds=(TEXT, NUMBER, TRUTH))


class _TimeFolds:
    """Time folds for training and testing.

    train: Length of the training period of a fold.
        Default: 28d
        Example: 28d
    delay: Gap between training and test, for labels.
        Default: as `label_delay`
        Example: 7d
    test: Length of the test period of a fold.
        Default: 7d
        Example: 7d
    folds: Number of folds, each one test period before the next.
        Default: 4
        Example: 4
    """

    train = DURATION
    delay = DURATION
    test = DURATION
    folds = WHOLE


SPLIT = mapping_shape(_TimeFolds)


class _ReviewCapacity:
    """Review capacity.

    by: The entity whose keys are reviewed.
        Example: card
    k: Number of keys per day.
        Example: 100
    """

    by = Required(NAME)
    k = Required(WHOLE)


CAPACITY = mapping_shape(_ReviewCapacity)


class _ParameterSearch:
    """The bounds of a parameter search.

    trials: Maximum number of trials.
        Example: 50
    time: Time limit for starting trials.
        Example: 10m
    """

    trials = WHOLE
    time = DURATION


SEARCH = mapping_shape(_ParameterSearch)


class _Model:
    """The model of an event type that is decided.

    purpose: What the model is for, and what it must not be used for; its card begins with it.
        Default: none
        Example: Scores card payments for review. Not for credit decisions.
    inputs: The model's inputs: expressions over the event and its features, without aggregates. `card.*` selects all
        features of an entity. `payment.*` selects all numbers, durations, booleans and choices of the event.
        `card.*_7d` and `card.spent_*` select by name. Texts and choices are categories; a duration is its number of
        seconds. Times, hashed texts and fields that identify one event are refused.
        Default: `all`: `payment.*` and `ENTITY.*` for each entity of the event
        Example: all
        Example: [payment.amount, hour(payment.paid_at), card.*]
    label_delay: Minimum age of an event for training and testing; at this age, an event without a label counts as
        genuine. Younger events are left out even if they have a label, because frauds become known earlier than genuine
        events.
        Default: 7d
        Example: 7d
    learner: The learning algorithm.
        Default: xgboost
        Example: lightgbm
    split: The windows in which folds are trained and tested. The last test ends `label_delay` before the newest record.
        Example: { train: 28d, delay: 7d, test: 7d, folds: 4 }
    capacity: Review capacity: the number of an entity's keys that people can review per day, for card precision at k.
        Example: { by: card, k: 100 }
    gates: Conditions that a model must meet to be promoted. `none` sets no conditions; the model's manifest records
        that.
        Default: `{ average_precision: { above_champion_by: noise }, leak_test: required }`
        Example: { average_precision: { at_least: 0.5, above_champion_by: noise }, leak_test: required }
    parameters: Parameters of the learner; others keep the learner's defaults.
        Example: { trees: 300, depth: 6 }
    search: Searches for the best values of parameters that are not set, within these bounds.
        Default: no search
        Example: { trials: 50, time: 10m }
    calibration: Calibration, which turns margins into probabilities; `auto` takes the better of isotonic and platt on a
        fold.
        Default: auto
        Example: isotonic
    negatives: Share of genuine events kept for training (undersampling); the score is corrected for it.
        Default: 100%
        Example: 10%
    friendly_fraud: Reasons of fraud labels that count as genuine (friendly fraud).
        Default: none
        Example: [friendly]
    slices: Slices for metrics: fields by name, or expressions that give a text, a boolean or an integer.
        Default: all choices and booleans of the event
        Example: [channel, payment.amount > 100]
    give_away: Inputs suspected of leaking the label; results are shown with and without them.
        Default: none
        Example: [payment.payer_balance_before]
    seed: Random seed.
        Default: 1
        Example: 7
    """

    purpose = ANY
    inputs = Either((choice(ALL), Many("expressions and patterns", INPUT)))
    label_delay = DURATION
    learner = choice(*LEARNERS)
    split = SPLIT
    capacity = CAPACITY
    gates = Either((GATES, choice(NO_GATES)))
    parameters = PARAMETER_KEYS
    search = SEARCH
    calibration = choice(*CALIBRATIONS)
    negatives = PERCENT
    friendly_fraud = Many("reasons", ANY)
    slices = Many("fields and expressions", INPUT)
    give_away = Many("inputs and patterns", INPUT)
    seed = WHOLE


MODEL = mapping_shape(_Model)
MODELS = own_names("event types with their models", MODEL)
