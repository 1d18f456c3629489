"""Training of one model on rows: undersampling, number of trees, and calibration on the last rows.

The last fifth of the rows by time trains nothing at first: it decides the number of trees, and which probability a
margin stands for. Then the model is fitted again on all rows with as many trees, so that it also learns from the newest
frauds.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
from msgspec.json import encode as to_json
from threadpoolctl import threadpool_limits

from shroff.arrays import Floats, Ints, Ints8, count_true
from shroff.json_types import JsonObject, TextMapping
from shroff.models.definitions import ModelSettings
from shroff.models.evaluation.calibration import ISOLATION, NONE, Calibration, fit_calibration, uncalibrated
from shroff.models.evaluation.folds import Learn, Score
from shroff.models.evaluation.windows import KnownRows
from shroff.models.learners.learned import Fitted, LearningPlan
from shroff.models.learners.learner import FRAUDS_MIN, UNSUPERVISED, check_rows, columns_for, fit
from shroff.models.loaded import FILES, XGBOOST, LoadedModel, load_model
from shroff.models.model import LOG_ODDS
from shroff.models.sets import FRAUD, GENUINE, Input, TrainingSet
from shroff.models.trees.xgboost import base_margin_of_xgboost
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    from shroff.models.learners.cluster import Growing

LAST_SHARE = 0.2
FRAUDS_LAST_MIN = 10  # with fewer frauds the last rows can neither stop the training nor calibrate margins


class Trained(FrozenStruct):
    """A model with its calibration, not yet in a registry.

    Args:
        negatives_kept: Share of the genuine rows that it learned from.
        rows, frauds: Number of rows and frauds that it learned from.
        remarks: Sentences for readers of the report.
    """

    fitted: Fitted
    calibration: Calibration
    negatives_kept: float
    rows: int
    frauds: int
    remarks: tuple[str, ...]

    def as_manifest(self) -> JsonObject:
        """Return its part of a manifest; the writer adds `id`, `event` and its origin."""
        fitted = self.fitted
        manifest: JsonObject = {
            "format": fitted.format,
            "learner": fitted.parameters["learner"],
            "inputs": [
                {"name": input_.name, "kind": input_.kind}
                | ({"categories": input_.categories} if input_.categories else {})
                | ({"feature": input_.feature} if input_.feature else {})
                for input_ in fitted.inputs
            ],
            "calibration": self.calibration.as_manifest(),
            "negatives_kept": self.negatives_kept,
            "parameters": fitted.parameters,
            "trees": fitted.trees,
            "importance": fitted.importance,
            "libraries": fitted.libraries,
            "train": {"rows": self.rows, "frauds": self.frauds},
            "remarks": self.remarks,
        }
        if fitted.gives != LOG_ODDS:
            manifest["gives"] = fitted.gives
        if fitted.format == XGBOOST:
            manifest["base_margin"] = base_margin_of_xgboost(fitted.files[FILES[XGBOOST]])
        if fitted.best_iteration is not None:
            manifest["best_iteration"] = fitted.best_iteration
        return manifest


def train(
    training_set: TrainingSet,
    known_rows: KnownRows,
    settings: ModelSettings,
    parameters: TextMapping,
    threads: int = 1,
    growing: Growing | None = None,
) -> Trained:
    """Train a model on the rows of a window.

    Args:
        parameters: Parameters of the learner, including those found by a search.
        growing: Cluster that grows the trees; None for this process.

    Raises: UsageError if there is nothing to learn from.
    """
    rows, verdicts = in_time_order(training_set, known_rows)
    check_rows(settings.learner, training_set.inputs, verdicts)
    sampled = thinned(verdicts, settings.negatives_kept, settings.seed)
    genuine = count_true(verdicts == GENUINE)
    kept_genuine = count_true(verdicts[sampled] == GENUINE)
    share = kept_genuine / max(genuine, 1)
    rows = rows[sampled]
    verdicts = verdicts[sampled]
    inputs = [input_.take(rows) for input_ in training_set.inputs]
    frauds = count_true(verdicts == FRAUD)
    stop = last_part(verdicts)
    learner_parameters = dict(parameters)
    calibration = Calibration(ISOLATION) if settings.learner in UNSUPERVISED else Calibration()
    remarks: list[str] = []
    if stop < len(rows):
        plan = LearningPlan.of(learner_parameters, settings.seed, threads)
        early = fit(settings.learner, inputs, verdicts, None, plan, stop=stop, growing=growing)
        last = [input_.take(np.arange(stop, len(rows))) for input_ in inputs]
        margins = loaded(early, calibration, 1.0).margins(columns_for(early.inputs, last))
        if settings.calibration != "none":
            # Sums in linear algebra depend on the number of threads.
            with threadpool_limits(limits=1, user_api="blas"):
                calibration = fit_calibration(margins, verdicts[stop:], settings.calibration, gives=early.gives)
        if early.trees:
            learner_parameters.setdefault("trees", str(early.trees))
    elif settings.learner not in UNSUPERVISED:
        remarks.append("The last rows have too few frauds for calibration: scores are those of the learner.")
    else:
        remarks.append("There are too few labels: the score is an anomaly score from 0 to 1, not a probability.")
    plan = LearningPlan.of(learner_parameters, settings.seed, threads)
    fitted = fit(settings.learner, inputs, verdicts, None, plan, growing=growing)
    if calibration.kind == NONE:
        calibration = uncalibrated(fitted.gives)
    kept_share = 1.0 if settings.learner in UNSUPERVISED and calibration.kind == ISOLATION else share
    return Trained(fitted, calibration, kept_share, len(rows), frauds, (*fitted.remarks, *remarks))


def learn_by(
    settings: ModelSettings, parameters: TextMapping, threads: int = 1, growing: Growing | None = None
) -> Learn:
    def learn(training_set: TrainingSet, known_rows: KnownRows) -> Score:
        trained = train(training_set, known_rows, settings, parameters, threads, growing)
        model = loaded(trained.fitted, trained.calibration, trained.negatives_kept)
        return lambda rows: scores_of(model, rows.inputs)

    return learn


def scores_of(model: LoadedModel, inputs: Sequence[Input]) -> Floats:
    return model.scores(columns_for(model.inputs, inputs))


def loaded(fitted: Fitted, calibration: Calibration, negatives_kept: float) -> LoadedModel:
    """Return a model that scores as after loading from the registry, without an id."""
    trained = Trained(fitted, calibration, negatives_kept, 0, 0, ())
    hashes = {name: sha256(data).hexdigest() for name, data in fitted.files.items()}
    manifest = {"id": "unwritten", "event": "", "files": hashes, **trained.as_manifest()}
    return load_model(to_json(manifest), fitted.files)


def in_time_order(training_set: TrainingSet, known_rows: KnownRows) -> tuple[Ints, Ints8]:
    """Sort rows and verdicts by time; rows of equal time stay in log order."""
    order = np.argsort(training_set.times_ms[known_rows.rows], kind="stable")
    return known_rows.rows[order], known_rows.verdicts[order]


def thinned(verdicts: Ints8, share: float, seed: int) -> Ints:
    """Sample a share of the genuine rows, at least FRAUDS_MIN; return the indexes of these and all frauds,
    ascending.
    """
    genuine = np.flatnonzero(verdicts == GENUINE)
    count = min(len(genuine), max(FRAUDS_MIN, round(share * len(genuine))))
    if count == len(genuine):
        return np.arange(len(verdicts))
    sampled = np.random.default_rng(seed).choice(genuine, count, replace=False)
    return np.sort(np.concatenate([np.flatnonzero(verdicts != GENUINE), sampled]))


def last_part(verdicts: Ints8) -> int:
    """Return the start of the last fifth of the rows; the number of rows if either side has too few frauds."""
    stop = len(verdicts) - round(len(verdicts) * LAST_SHARE)
    is_fraud = verdicts == FRAUD
    frauds_before = np.count_nonzero(is_fraud[:stop])
    frauds_after = np.count_nonzero(is_fraud[stop:])
    all_genuine = stop - frauds_before < FRAUDS_MIN or len(verdicts) - stop - frauds_after < FRAUDS_MIN
    return len(verdicts) if frauds_before < FRAUDS_MIN or frauds_after < FRAUDS_LAST_MIN or all_genuine else stop
