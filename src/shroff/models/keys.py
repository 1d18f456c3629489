"""The keys of model.yaml, each with what it means (see `language.keys`).

With them the metrics that gates, reports and manifests name, and what each learner can be told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

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
    Keys,
    Many,
    One,
    Shape,
    choice,
    own_names,
)
from shroff.models.definitions import LEARNERS

CALIBRATIONS: Final = ("auto", "isotonic", "platt", "none")
REQUIRED: Final = "required"
NOISE: Final = "noise"
NO_GATES: Final = "none"

# ---- metrics


@dataclass(frozen=True, slots=True)
class Metric:
    """Something that a gate can ask.

    Args:
        name: As model.yaml, reports and manifests have it.
        meaning: What it is, a whole sentence.
        kind: `share` (0 to 1), `money` (of the project), `duration`, or `test` (passed or not).
        is_less_better: Whether a small value is the good one.
        needs: What it cannot be computed without: `capacity` and `slices` of model.yaml, keys of the policy,
            `cut_off`, one of the policy's two, and `amount`, the costs of a missed fraud or a money field.
        is_also_test: Whether `required` says enough.
        has_cut_off: Whether a gate names the score from which on an event counts as called fraud.
    """

    name: str
    meaning: str
    kind: str = "share"
    is_less_better: bool = False
    needs: tuple[str, ...] = ()
    is_also_test: bool = False
    has_cut_off: bool = False


METRICS: Final = (
    Metric("auc_roc", "How often a fraud has a higher score than a genuine event, ties half."),
    Metric("average_precision", "The area under precision by recall, by steps."),
    Metric(
        "card_precision_at_k",
        "The share of frauds among the k keys a day with the highest scores, of the entity that `capacity` names; "
        "mean of the days.",
        needs=("capacity",),
    ),
    Metric(
        "recall_at_budget",
        "The share of frauds among the `reviews_a_day` highest scores of each day.",
        needs=("reviews_a_day",),
    ),
    Metric("precision_at_review", "The share of frauds among events from `review_at` on.", needs=("review_at",)),
    Metric("recall_at_review", "The share of frauds that lie from `review_at` on.", needs=("review_at",)),
    Metric("precision_at_decline", "The share of frauds among events from `decline_at` on.", needs=("decline_at",)),
    Metric("recall_at_decline", "The share of frauds that lie from `decline_at` on.", needs=("decline_at",)),
    Metric("precision", "The share of frauds among events with a score from `at` on.", has_cut_off=True),
    Metric("recall", "The share of frauds that have a score from `at` on.", has_cut_off=True),
    Metric(
        "f1",
        "The harmonic mean of precision and recall at the cut-off `at`: 2 · precision · recall / (precision + recall).",
        has_cut_off=True,
    ),
    Metric(
        "calibration_error",
        "How far scores lie from the share of frauds behind them: the mean over bands of scores, by their events.",
        is_less_better=True,
    ),
    Metric("brier", "The mean square of the distance from score to truth, 1 for a fraud.", is_less_better=True),
    Metric(
        "money_saved",
        "What the frauds that are stopped would have cost, less what stopping costs.",
        "money",
        needs=("amount", "cut_off"),
    ),
    Metric(
        "money_lost", "What the frauds that are missed cost.", "money", is_less_better=True, needs=("amount", "cut_off")
    ),
    Metric(
        "cost_per_thousand",
        "What missed frauds, false alarms and reviews cost for a thousand events.",
        "money",
        is_less_better=True,
        needs=("amount", "cut_off"),
    ),
    Metric(
        "slice_collapse",
        "The largest fall of average precision behind the champion in any slice; `required`: none by more than noise.",
        is_less_better=True,
        needs=("slices",),
        is_also_test=True,
    ),
    Metric(
        "latency_p99",
        "How long one score takes, the 99th of a hundred; in JSON a number of milliseconds.",
        "duration",
        is_less_better=True,
    ),
    Metric("leak_test", "Whether the training set holds nothing that was not known then.", "test"),
)
METRICS_BY_NAME: Final[Mapping[str, Metric]] = {metric.name: metric for metric in METRICS}
AT_CUT_OFF: Final = tuple(metric.name for metric in METRICS if metric.has_cut_off)
_IN_WORDS: Final = {  # what people are shown where that is not the name without its underscores
    "auc_roc": "AUC ROC",
    "recall_at_budget": "recall in the alert budget",
    "brier": "Brier score",
    "latency_p99": "time of one score, 99th of a hundred",
}


def metric_words(name: str) -> str:
    """A metric's name as people are shown it."""
    return _IN_WORDS.get(name, name.replace("_", " ").replace("f1 at", "F1 at"))


def at_cut_off(name: str, at: float) -> str:
    """The name under which a metric is measured at a cut-off.

    >>> at_cut_off("f1", 0.30)
    'f1_at_0.3'
    """
    return f"{name}_at_{at:.12g}"


def metric_of(name: str) -> Metric | None:
    """The metric that is measured under a name, at a cut-off too."""
    base = name.partition("_at_")[0]
    return METRICS_BY_NAME.get(name) or (METRICS_BY_NAME[base] if base in AT_CUT_OFF else None)


_AT_LEAST: Final = "The least value that passes."
_AT_MOST: Final = "The largest value that passes."
_ABOVE_CHAMPION: Final = Key(
    "above_champion_by",
    "By how much the model must beat the champion on the same rows: a number, or `noise`, for which the whole "
    "interval of the difference must lie above 0. Where there is no champion it is held against what is in force "
    "without one: rules alone, or approving all where there are none.",
    Either((choice(NOISE), DECIMAL)),
    examples=(NOISE,),
)


def _limits(what: str, value: Shape, at_most: str, at_least: str = "") -> Keys:
    """The limits of one kind of metric, with examples; without one for `at_least`, where less is better."""
    most = Key("at_most", _AT_MOST, value, examples=(at_most,))
    if not at_least:
        return Keys(what, (most,))
    return Keys(what, (Key("at_least", _AT_LEAST, value, examples=(at_least,)), most, _ABOVE_CHAMPION))


SHARE_LIMITS: Final = _limits("limits of a share, of which more is better", SCORE, "0.99", "0.5")
CUT_SHARE_LIMITS: Final = Keys(
    "limits of a share at a cut-off, of which more is better",
    (
        Key(
            "at",
            "The score from which on an event counts as called fraud. Of rules and outcomes: what is reviewed or "
            "declined.",
            SCORE,
            is_required=True,
            examples=("0.5",),
        ),
        *SHARE_LIMITS.keys,
    ),
)
LEAST_SHARE: Final = _limits("the limit of a share, of which less is better", SCORE, "0.02")
MONEY_LIMITS: Final = _limits("limits in the project's money, of which more is better", DECIMAL, "100000", "1000")
LEAST_MONEY: Final = _limits("the limit in the project's money, of which less is better", DECIMAL, "1000")
LONGEST: Final = _limits("the limit of a duration", DURATION, "1ms")
_TEST: Final = choice(REQUIRED)


def limits_of(metric: Metric) -> Keys | None:
    """The limits that a gate of this metric takes; None where it is a test."""
    if metric.has_cut_off:
        return CUT_SHARE_LIMITS
    found = {
        ("share", False): SHARE_LIMITS,
        ("share", True): LEAST_SHARE,
        ("money", False): MONEY_LIMITS,
        ("money", True): LEAST_MONEY,
        ("duration", True): LONGEST,
    }
    return found.get((metric.kind, metric.is_less_better))


def _gate(metric: Metric) -> Shape:
    limits = limits_of(metric)
    if limits is None:
        return _TEST
    return Either((limits, _TEST)) if metric.is_also_test else limits


GATES: Final = Keys(
    "metrics with their limits", tuple(Key(metric.name, metric.meaning, _gate(metric)) for metric in METRICS)
)

# ---- learners


@dataclass(frozen=True, slots=True)
class LearnerParameter:
    """A number that a learner takes. `low` and `high` are both in, unless `is_above`: then `low` is not."""

    name: str
    meaning: str
    learners: tuple[str, ...]
    low: int = 0
    high: int | None = None
    is_above: bool = False
    is_whole: bool = False
    example: str = "1"


_TREES: Final = ("xgboost", "forest", "lightgbm")
_BOOSTED: Final = ("xgboost", "lightgbm")
PARAMETERS: Final = (
    LearnerParameter("trees", "How many trees.", (*_TREES, "isolation"), 1, 10_000, is_whole=True, example="300"),
    LearnerParameter("depth", "How many questions deep a tree is at most.", _TREES, 1, 32, is_whole=True, example="6"),
    LearnerParameter("leaves", "How many leaves a tree has at most.", _TREES, 2, 65_536, is_whole=True, example="63"),
    LearnerParameter("learning_rate", "How much of each tree counts.", _BOOSTED, 0, 1, is_above=True, example="0.05"),
    LearnerParameter(
        "min_weight",
        "The least weight of events in a leaf: of a forest their number, of boosting the sum of the Hessian.",
        _TREES,
        example="5",
    ),
    LearnerParameter("min_gain", "The least gain for which a leaf is split.", _TREES, example="0.1"),
    LearnerParameter(
        "rows", "The share of events that each tree sees.", (*_TREES, "isolation"), 0, 1, is_above=True, example="0.8"
    ),
    LearnerParameter(
        "columns",
        "The share of inputs that each tree sees.",
        (*_TREES, "isolation"),
        0,
        1,
        is_above=True,
        example="0.8",
    ),
    LearnerParameter(
        "bins",
        "Into how many steps a number is cut; a forest cuts half of them by frauds.",
        _TREES,
        2,
        65_535,
        is_whole=True,
        example="256",
    ),
    LearnerParameter("l1", "How strongly weights are drawn to 0 (L1).", _BOOSTED, example="0.5"),
    LearnerParameter("l2", "How strongly weights are kept small (L2).", (*_TREES, "logistic"), example="1"),
    LearnerParameter(
        "positive_weight",
        "How many genuine events one fraud weighs as much as; calibration corrects the score back.",
        (*_TREES, "logistic"),
        0,
        is_above=True,
        example="10",
    ),
)


def parameters_of(learner: str) -> dict[str, LearnerParameter]:
    """What a learner can be told, by name."""
    return {one.name: one for one in PARAMETERS if learner in one.learners}


PARAMETER_KEYS: Final = Keys(
    "parameters of the learner",
    tuple(
        Key(
            one.name,
            f"{one.meaning} For {', '.join(one.learners)}.",
            WHOLE if one.is_whole else DECIMAL,
            examples=(one.example,),
        )
        for one in PARAMETERS
    ),
)

# ---- the rest of model.yaml

INPUT: Final = One("an expression, or a pattern such as card.*", kinds=(TEXT, NUMBER, TRUTH))
SPLIT: Final = Keys(
    "how time is cut into folds",
    (
        Key("train", "How long a stretch a fold learns from.", DURATION, default="28d", examples=("28d",)),
        Key(
            "delay",
            "The gap between train and test, in which labels come.",
            DURATION,
            default="as `label_delay`",
            examples=("7d",),
        ),
        Key("test", "How long a stretch a fold is tested on.", DURATION, default="7d", examples=("7d",)),
        Key("folds", "How many folds, each one test length before the next.", WHOLE, default="4", examples=("4",)),
    ),
)
CAPACITY: Final = Keys(
    "how much people can look at",
    (
        Key("by", "The entity whose keys are looked at.", NAME, is_required=True, examples=("card",)),
        Key("k", "How many of its keys a day.", WHOLE, is_required=True, examples=("100",)),
    ),
)
SEARCH: Final = Keys(
    "the bounds of a search for parameters",
    (
        Key("trials", "How many sets of parameters are tried at most.", WHOLE, examples=("50",)),
        Key("time", "After how long no further one is begun.", DURATION, examples=("10m",)),
    ),
)
MODEL: Final = Keys(
    "the model of an event type that is decided",
    (
        Key(
            "inputs",
            "What the model reads: expressions over the event and its features, without aggregates. `card.*` is all "
            "features of an entity, `payment.*` all numbers, durations, truths and choices of the event, `card.*_7d` "
            "and `card.spent_*` those whose names fit. Texts and choices are categories, a duration its seconds; "
            "times, hashed texts and what names one event are refused.",
            Many("expressions and patterns", INPUT),
            default="`payment.*` and `ENTITY.*` for each entity of the event",
            examples=("[payment.amount, hour(payment.paid_at), card.*]",),
        ),
        Key(
            "label_delay",
            "How old an event must be to be learnt from and tested on: without a label it counts as genuine then. A "
            "younger one is left out, whatever its label says: frauds are known before it is known what is genuine.",
            DURATION,
            default="7d",
            examples=("7d",),
        ),
        Key("learner", "What learns.", choice(*LEARNERS), default="xgboost", examples=("lightgbm",)),
        Key(
            "split",
            "The windows in which folds are trained and tested. The last test ends `label_delay` before the newest "
            "record.",
            SPLIT,
            examples=("{ train: 28d, delay: 7d, test: 7d, folds: 4 }",),
        ),
        Key(
            "capacity",
            "How many keys of an entity people can look at in a day, for card precision at k.",
            CAPACITY,
            examples=("{ by: card, k: 100 }",),
        ),
        Key(
            "gates",
            "What must hold before a model is promoted. `none` asks nothing, which the manifest of a model keeps.",
            Either((GATES, choice(NO_GATES))),
            default="`{ average_precision: { above_champion_by: noise }, leak_test: required }`",
            examples=("{ average_precision: { at_least: 0.5, above_champion_by: noise }, leak_test: required }",),
        ),
        Key(
            "parameters",
            "What the learner is told; the rest is its own choice.",
            PARAMETER_KEYS,
            examples=("{ trees: 300, depth: 6 }",),
        ),
        Key(
            "search",
            "Parameters that do not stand are searched for, within these bounds.",
            SEARCH,
            default="no search",
            examples=("{ trials: 50, time: 10m }",),
        ),
        Key(
            "calibration",
            "How margins become probabilities; `auto` takes the better of the two on a fold.",
            choice(*CALIBRATIONS),
            default="auto",
            examples=("isotonic",),
        ),
        Key(
            "negatives",
            "The share of genuine events that training keeps; the score is corrected back.",
            PERCENT,
            default="100%",
            examples=("10%",),
        ),
        Key(
            "friendly_fraud",
            "Reasons of labels whose fraud counts as genuine.",
            Many("reasons", ANY),
            default="none",
            examples=("[friendly]",),
        ),
        Key(
            "slices",
            "By what metrics are parted: fields by their names, or expressions that give a text, a truth or an "
            "integer.",
            Many("fields and expressions", INPUT),
            default="all choices and truths of the event",
            examples=("[channel, payment.amount > 100]",),
        ),
        Key(
            "give_away",
            "Inputs that give the answer away: results stand with and without them.",
            Many("inputs and patterns", INPUT),
            default="none",
            examples=("[payment.payer_balance_before]",),
        ),
        Key("seed", "Where every drawing of lots begins.", WHOLE, default="1", examples=("7",)),
    ),
)
MODELS: Final = own_names("event types with their models", MODEL)
