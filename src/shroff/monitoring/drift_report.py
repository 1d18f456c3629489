"""Drift of a project: model inputs, score and label delay, recent values against a reference.

Both periods come from one training set, so each value is what the model would have read then. Scores on both sides are
those of the current champion: recorded scores of two models would differ without any drift.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shroff.arrays import Floats, Ints
from shroff.errors import UsageError
from shroff.events.event import time_text
from shroff.json_types import JsonObject
from shroff.language.expression import FeatureValue
from shroff.language.values import DAY_MS, parse_time, show_duration
from shroff.log.columns.tables import Way, known_type
from shroff.models.columns import NUMBER
from shroff.models.definitions import ModelInput, ModelSettings
from shroff.models.learners.learner import columns_for
from shroff.models.registry import Stored
from shroff.models.sets import Input, TrainingSet
from shroff.monitoring.drift import Drift, drifts
from shroff.project.definitions import Definitions
from shroff.project.scoring import Scorer, redefined_words
from shroff.runtime.texts import many
from shroff.runtime.values import FrozenStruct, replace
from shroff.training.sets.rows import build_set
from shroff.training.sets.sources import HistorySource
from shroff.training.train import plain_settings

MODEL = "model"  # reference: the training data of the champion
RECENT_MS = 7 * DAY_MS
SCORE = "score"
SCORED_MIN = 100  # events outside the training data, for a reference of its score
BY_TODAYS = (
    "both periods use today's definition, but the model was trained with an earlier one. "
    "Train a new model: 'shroff train'."
)
LABEL_DELAY = "label delay"  # in days


class DriftPeriod(FrozenStruct):
    """A range of event time, (start, end] in UTC milliseconds, its number of events, and a description."""

    start_ms: int
    end_ms: int
    rows: int
    about: str = ""

    @property
    def length_ms(self) -> int:
        return self.end_ms - self.start_ms

    @property
    def says(self) -> str:
        ends = f"{time_text(self.start_ms)} to {time_text(self.end_ms)}"
        return f"{ends}, {many(self.rows, 'event')}: {self.about}"

    def as_document(self) -> JsonObject:
        return {"from": time_text(self.start_ms), "to": time_text(self.end_ms), "rows": self.rows, "about": self.about}


class DriftReport(FrozenStruct):
    """Drift of each input, the score and the label delay, the largest first.

    Args:
        model: The champion; empty if no active model can be loaded.
        label_delay_days: Medians of reference and recent period, by when labels became known; None without labels.
        remarks: What is not compared, and why.
        redefined: Inputs whose definition changed since the champion was trained.
    """

    event: str
    as_of_ms: int
    model: str
    reference: DriftPeriod
    recent: DriftPeriod
    found: tuple[Drift, ...]
    label_delay_days: tuple[float | None, float | None]
    remarks: tuple[str, ...]
    redefined: tuple[str, ...] = ()

    @property
    def moved(self) -> tuple[Drift, ...]:
        return tuple(drift for drift in self.found if drift.has_moved)

    @property
    def unclear(self) -> tuple[Drift, ...]:
        """Inputs with too few events to detect drift."""
        return tuple(drift for drift in self.found if drift.is_unclear)


class ComparedPeriods(FrozenStruct):
    """The two periods that a drift check compares.

    Args:
        reference_ms: Length of the reference right before the recent period; None for the champion's training data
            before the recent period.
        to_newest: Whether the recent period ends at the type's newest event, if that is before `as_of_ms`.
    """

    reference_ms: int | None = None
    recent_ms: int = RECENT_MS
    to_newest: bool = False


def look_for_drift(
    definitions: Definitions,
    source: HistorySource,
    event: str,
    read: Callable[[str, str], Stored],
    *,
    as_of_ms: int,
    compared: ComparedPeriods,
    reading: Callable[[int], None] | None,
) -> DriftReport:
    """Compare the last period before a time with a reference.

    Args:
        read: Returns a model's files, by id and digest.

    Raises: UsageError if one of the periods has no events, or there is neither an active model nor a named reference.
    Cost: one training set over the whole history.
    """
    scorer = _champion(definitions, event)
    stored = None if scorer is None else read(scorer.id, scorer.digest)
    training_set = build_set(definitions, _settings(definitions, event, scorer), source, as_of_ms, Way(reading=reading))
    reference_ms = compared.reference_ms
    recent_ms = compared.recent_ms
    if compared.to_newest and len(training_set.times_ms):
        as_of_ms = int(training_set.times_ms.max())
    recent_start_ms = as_of_ms - recent_ms
    start_ms, end_ms, about = _reference(stored, reference_ms, recent_start_ms)
    trained_ms = end_ms
    remarks = list[str]()
    if (
        reference_ms is None
        and len(training_set.times_ms)
        and not len(_between(training_set.times_ms, start_ms, end_ms))
    ):
        remarks.append(f"The log has no events of {about}: the recent ones are compared with all before them.")
        start_ms = int(training_set.times_ms.min())
        end_ms = recent_start_ms
        about = "all events before the recent ones"
    before, now = (_between(training_set.times_ms, *ends) for ends in ((start_ms, end_ms), (recent_start_ms, as_of_ms)))
    reference = DriftPeriod(start_ms, end_ms, len(before), about)
    recent = DriftPeriod(recent_start_ms, as_of_ms, len(now), f"the last {show_duration(recent_ms)}")
    for drift, what in ((reference, "reference"), (recent, "recent period")):
        if not drift.rows:
            problem = f"the {what}, {time_text(drift.start_ms)} to {time_text(drift.end_ms)}, has no {event} events"
            raise UsageError(f"{problem}, so nothing can be compared. Choose others: --reference 90d --recent 7d.")
    samples = [(_sample(input_, before), _sample(input_, now)) for input_ in training_set.inputs]
    scores = _scores(training_set, scorer, trained_ms if reference_ms is None else None, recent, before, now)
    if isinstance(scores, str):
        remarks.append(scores)
    else:
        samples.append(scores)
    changed = () if scorer is None else scorer.redefined
    if scorer is not None and changed:
        remarks.append(f"{redefined_words(scorer)}: {BY_TODAYS}")
    delays = _label_delays(training_set, reference), _label_delays(training_set, recent)
    if all(map(len, delays)):
        samples.append((Input(LABEL_DELAY, NUMBER, delays[0]), Input(LABEL_DELAY, NUMBER, delays[1])))
    else:
        remarks.append("The label delay is not compared: one of the periods has no labels.")
    return DriftReport(
        event,
        as_of_ms,
        "" if scorer is None else scorer.id,
        reference,
        recent,
        tuple(drifts(samples)),
        (_median(delays[0]), _median(delays[1])),
        tuple(remarks),
        changed,
    )


def _champion(definitions: Definitions, event: str) -> Scorer | None:
    known_type(definitions, event)
    champion = definitions.scoring_of(event).champion
    return None if champion is None or champion.model is None else champion


def _reference(stored: Stored | None, reference_ms: int | None, recent_start_ms: int) -> tuple[int, int, str]:
    if reference_ms is not None:
        start_ms = recent_start_ms - reference_ms
        return start_ms, recent_start_ms, f"the {show_duration(reference_ms)} before the recent period"
    if stored is None:
        raise UsageError("no active model can be loaded, so name a reference period: --reference 90d.")
    data = stored.manifest.get("data")
    if not isinstance(data, dict) or not {"from", "to"} <= data.keys():
        problem = f"the manifest of {stored.id} does not name its training data"
        raise UsageError(f"{problem}, so name a reference period: --reference 90d.")
    start_ms, end_ms = (parse_time(str(data[name])) for name in ("from", "to"))
    if start_ms >= recent_start_ms:
        problem = f"{stored.id} has no training data before the recent period"
        raise UsageError(f"{problem}, so name a reference period: --reference 90d, or a shorter --recent.")
    return start_ms, min(end_ms, recent_start_ms), f"training data of {stored.id}"


def _settings(definitions: Definitions, event: str, scorer: Scorer | None) -> ModelSettings:
    """Return the inputs to compare: the champion's; else those of model.yaml, or all features of the type."""
    declared = definitions.models.get(event)
    if scorer is not None and scorer.model is not None:
        inputs = tuple(
            ModelInput(input_.name, node) for input_, node in zip(scorer.model.inputs, scorer.inputs, strict=True)
        )
    elif declared is not None:
        inputs = declared.inputs
    else:
        features = [(name, feature) for name, feature in definitions.features.items() if event in feature.events]
        inputs = tuple(ModelInput(name, FeatureValue(feature.type, name)) for name, feature in features)
    return plain_settings(definitions, event, inputs)


def _between(times_ms: Ints, start_ms: int, end_ms: int) -> Ints:
    return np.flatnonzero((times_ms > start_ms) & (times_ms <= end_ms))


def _sample(input_: Input, rows: Ints) -> Input:
    """Return an input at some rows, with the categories that occur there, so that unseen ones are detected."""
    values = input_.values[rows]
    if not input_.categories:
        return replace(input_, values=values)
    present = np.unique(values[~np.isnan(values)]).astype(np.int64)
    code_of = np.full(len(input_.categories) + 1, np.nan)
    code_of[present] = np.arange(len(present))
    codes = np.where(np.isnan(values), len(input_.categories), values).astype(np.int64)
    return replace(
        input_, values=code_of[codes], categories=tuple(input_.categories[code] for code in present.tolist())
    )


def _scores(
    training_set: TrainingSet,
    scorer: Scorer | None,
    learnt_until_ms: int | None,
    recent: DriftPeriod,
    before: Ints,
    now: Ints,
) -> tuple[Input, Input] | str:
    """Return the scores of both periods, or why they are not compared.

    A model is surer about its training data, which is no drift, and the folds' models have other scores. So with
    `learnt_until_ms` the score's reference begins there, and is as long as the recent period.
    """
    if scorer is None or scorer.model is None:
        recorded = [training_set.recorded.scores[rows] for rows in (before, now)]
        first, second = (feature[~np.isnan(feature)] for feature in recorded)
        if not len(first) or not len(second):
            return "The score is not compared: no active model can be loaded, and no score is recorded."
        return Input(SCORE, NUMBER, first), Input(SCORE, NUMBER, second)
    if learnt_until_ms is not None:
        times_ms = training_set.times_ms
        before = _between(times_ms, learnt_until_ms, min(learnt_until_ms + recent.length_ms, recent.start_ms))
        if len(before) < SCORED_MIN:
            return (
                f"The score is not compared: {many(len(before), 'event is', 'events are')} between the training data "
                f"of {scorer.id} and the recent period, and {SCORED_MIN} are needed. Use --reference with a length "
                "instead."
            )
    scores = scorer.model.scores(columns_for(scorer.model.inputs, training_set.inputs))
    return Input(SCORE, NUMBER, scores[before]), Input(SCORE, NUMBER, scores[now])


def _label_delays(training_set: TrainingSet, stretch: DriftPeriod) -> Floats:
    """Return the days from event to first label, for labels that became known in a period.

    Selected by the time of the label: recent events have only quick labels so far.
    """
    labels = training_set.labels
    order = np.lexsort((labels.known_at_ms, labels.rows))
    rows, first = np.unique(labels.rows[order], return_index=True)
    known_ms = labels.known_at_ms[order][first]
    inside = _between(known_ms, stretch.start_ms, stretch.end_ms)
    delays: Floats = (known_ms[inside] - training_set.times_ms[rows[inside]]) / np.float64(DAY_MS)
    return delays


def _median(values: Floats) -> float | None:
    return float(np.median(values)) if len(values) else None
