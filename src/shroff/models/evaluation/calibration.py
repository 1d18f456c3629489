"""Calibration from margins to probabilities: fitting, storage in the manifest, and rounded scores."""

from __future__ import annotations

import numpy as np

from shroff.arrays import Bools, Floats, Ints8
from shroff.errors import RegistryError, UsageError
from shroff.json_types import JsonMapping, JsonObject
from shroff.models.evaluation.metrics import log_loss
from shroff.models.model import LOG_ODDS, PROBABILITY
from shroff.models.sets import FRAUD, GENUINE
from shroff.models.trees.score import POINTS, POWER, SIGMOID
from shroff.runtime.values import FrozenStruct

NONE = "none"  # sigmoid of the margin, as in boosting with log loss
PLATT = "platt"  # sigmoid of slope * margin + intercept
ISOTONIC = "isotonic"  # rising line through points
IDENTITY = "identity"  # the margin itself, which is a probability
ISOLATION = "isolation"  # 2^margin: the anomaly score of an isolation forest, uncalibrated
AUTO = "auto"  # isotonic or platt, whichever predicts later rows better
_STRAIGHT = ((0.0, 1.0), (0.0, 1.0))  # points of IDENTITY
KINDS = {NONE: SIGMOID, PLATT: SIGMOID, ISOTONIC: POINTS, IDENTITY: POINTS, ISOLATION: POWER}
# Isotonic regression overfits few frauds: below this number Platt's two parameters are used.
_ISOTONIC_FRAUDS_MIN = 50
_EACH_MIN = 2
_FITTED_SHARE = 2 / 3  # of the rows, by time; the rest compares the kinds
_STEPS_MAX = 100
_GAIN_MIN = 1e-12


class Calibration(FrozenStruct):
    """Mapping from a model's margins to probabilities.

    Args:
        kind: NONE, PLATT, ISOTONIC, IDENTITY or ISOLATION.
        slope: For PLATT.
        intercept: For PLATT.
        margins: For ISOTONIC: at least one point, strictly ascending.
        probabilities: Values of the points, rising.
    """

    kind: str = NONE
    slope: float = 1.0
    intercept: float = 0.0
    margins: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()

    def as_manifest(self) -> JsonObject:
        if self.kind == PLATT:
            return {"kind": PLATT, "slope": self.slope, "intercept": self.intercept}
        if self.kind == ISOTONIC:
            return {"kind": ISOTONIC, "margins": [*self.margins], "probabilities": [*self.probabilities]}
        return {"kind": self.kind}


def calibration_of(manifest: JsonMapping | None) -> Calibration:
    """Parse the calibration of a manifest; NONE if it has none.

    Raises: RegistryError for an invalid calibration.
    """
    if not manifest:
        return Calibration()
    try:
        calibration = Calibration(
            manifest["kind"],
            float(manifest.get("slope", 1.0)),
            float(manifest.get("intercept", 0.0)),
            tuple(map(float, manifest.get("margins", ()))),
            tuple(map(float, manifest.get("probabilities", ()))),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise RegistryError(f"the manifest's calibration cannot be read ({error}); train the model again") from error
    problem = _mistake_of(calibration)
    if problem:
        raise RegistryError(f"the manifest's calibration {problem}; train the model again")
    return calibration


def is_calibrated(manifest: JsonMapping) -> bool:
    """Whether a model's score is the share of frauds among similar events, by its manifest."""
    return (manifest.get("calibration") or {}).get("kind") in (PLATT, ISOTONIC)


class CalibrationKernel(FrozenStruct):
    """A calibration in the form of the kernel."""

    kind: int
    slope: float
    intercept: float
    margins: Floats
    probabilities: Floats
    negatives_kept: float

    def put_scores(self, margins: Floats) -> None:
        from shroff.models.trees.walker import make_scores  # as `models.trees.forest` does, and has done by then

        make_scores(
            margins, self.kind, self.slope, self.intercept, self.margins, self.probabilities, self.negatives_kept
        )


def scorer_of(calibration: Calibration, negatives_kept: float = 1.0) -> CalibrationKernel:
    """Build the function from margins to scores.

    Raises: RegistryError if the share is not within (0, 1].
    """
    if not 0.0 < negatives_kept <= 1.0:
        raise RegistryError(f"the manifest's negatives_kept is {negatives_kept}, and a share is above 0 and at most 1")
    points = _STRAIGHT if calibration.kind == IDENTITY else (calibration.margins, calibration.probabilities)
    return CalibrationKernel(
        KINDS[calibration.kind],
        calibration.slope,
        calibration.intercept,
        np.array(points[0], np.float64),
        np.array(points[1], np.float64),
        negatives_kept,
    )


def fit_calibration(margins: Floats, verdicts: Ints8, kind: str = AUTO, *, gives: str = LOG_ODDS) -> Calibration:
    """Fit a calibration to rows in time order that the model was not trained on.

    AUTO fits both kinds on the first two thirds, takes the one with the lower log loss on the rest, and fits it again
    on all rows. With a single verdict, or too few of one, the result is `uncalibrated`.

    Args:
        verdicts: FRAUD or GENUINE.
        kind: `calibration` of model.yaml: auto, isotonic, platt or none.
        gives: Meaning of the margins: LOG_ODDS or PROBABILITY.

    Raises: UsageError for another kind.
    """
    if kind not in {AUTO, ISOTONIC, PLATT, NONE}:
        raise UsageError(f"there is no calibration {kind!r}. There are {AUTO}, {ISOTONIC}, {PLATT}, {NONE}.")
    is_fraud = verdicts == FRAUD
    rarer_count = min(np.count_nonzero(is_fraud), np.count_nonzero(verdicts == GENUINE))
    if kind == NONE or rarer_count < _EACH_MIN or margins.min() == margins.max():
        return uncalibrated(gives)
    if kind == AUTO:
        kind = _better(margins, is_fraud)
    return _FITS[kind](margins, is_fraud)


def uncalibrated(gives: str) -> Calibration:
    """Return the identity of margins that mean PROBABILITY, or the sigmoid of those that mean LOG_ODDS."""
    return Calibration(IDENTITY if gives == PROBABILITY else NONE)


def calibrated_loss(margins: Floats, is_fraud: Bools, calibration: Calibration) -> float:
    """Return the log loss of calibrated scores, which are kept 1e-6 away from 0 and 1."""
    scores = np.array(margins, np.float64)
    scorer_of(calibration).put_scores(scores)
    scores = np.clip(scores, 1e-6, 1.0 - 1e-6)
    return log_loss(np.log(scores / (1.0 - scores)), is_fraud, np.ones(len(scores)))


def _better(margins: Floats, is_fraud: Bools) -> str:
    """Return the kind that, fitted on earlier rows, predicts later ones better; Platt with few frauds."""
    boundary = round(len(margins) * _FITTED_SHARE)
    early = slice(None, boundary)
    late = slice(boundary, None)
    for part in (early, late):
        if min(np.count_nonzero(is_fraud[part]), np.count_nonzero(~is_fraud[part])) < _EACH_MIN:
            return PLATT
    if np.count_nonzero(is_fraud[early]) < _ISOTONIC_FRAUDS_MIN:
        return PLATT
    losses = {
        kind: calibrated_loss(margins[late], is_fraud[late], fit(margins[early], is_fraud[early]))
        for kind, fit in _FITS.items()
    }
    return min(losses, key=losses.__getitem__)


def _fit_platt(margins: Floats, is_fraud: Bools) -> Calibration:
    """Fit Platt's sigmoid by Newton's method, with his targets: one more row of each verdict keeps them off 0 and 1.

    Platt: Probabilistic outputs for support vector machines (1999).
    """
    frauds = np.count_nonzero(is_fraud)
    genuine = np.count_nonzero(~is_fraud)
    targets = np.where(is_fraud, (frauds + 1.0) / (frauds + 2.0), 1.0 / (genuine + 2.0))
    middle = float(margins.mean())
    spread = float(margins.std())
    design = np.column_stack(((margins - middle) / spread, np.ones(len(margins))))
    parameters = np.array([0.0, float(np.log(frauds / genuine))])

    def loss(values: Floats) -> float:
        linear = design @ values
        return float((np.logaddexp(0.0, linear) - targets * linear).sum())

    last_loss = loss(parameters)
    for _ in range(_STEPS_MAX):
        probability = 1.0 / (1.0 + np.exp(-np.clip(design @ parameters, -500.0, 500.0)))
        slope = design.T @ (probability - targets)
        bend = design.T @ (design * np.maximum(probability * (1.0 - probability), 1e-12)[:, None])
        step = np.linalg.solve(bend + 1e-12 * np.eye(2), slope)
        # If a full step overshoots, a shorter one does not.
        shares = (0.5**halvings for halvings in range(30))
        next_parameters = next(
            (parameters - share * step for share in shares if loss(parameters - share * step) <= last_loss), parameters
        )
        current_loss = loss(next_parameters)
        parameters = next_parameters
        gain = last_loss - current_loss
        last_loss = current_loss
        if gain <= _GAIN_MIN * abs(current_loss):
            break
    a = float(parameters[0]) / spread
    return Calibration(PLATT, a, float(parameters[1]) - a * middle)


def _fit_isotonic(margins: Floats, is_fraud: Bools) -> Calibration:
    """Fit a strictly rising line through the middles of the steps of isotonic regression.

    Within a step all margins would have one score, which loses their order for reviews. At both ends the line continues
    half way to 0 and to 1, which no number of rows proves. Oron and Flournoy: Centered isotonic regression (2017).
    """
    from sklearn.isotonic import IsotonicRegression

    smallest = 1.0 / (len(margins) + 2.0)
    regression = IsotonicRegression(y_min=smallest, y_max=1.0 - smallest, out_of_bounds="clip")
    levels, step = np.unique(regression.fit_transform(margins, is_fraud.astype(np.float64)), return_inverse=True)
    middles = np.bincount(step, margins) / np.bincount(step)
    points = [float(margins.min())]
    values = [float(levels[0]) / 2.0]
    for middle, level in zip(middles.tolist(), levels.tolist(), strict=True):
        if middle > points[-1]:
            points.append(middle)
            values.append(level)
        else:  # a first step of a single margin
            values[-1] = level
    if float(margins.max()) > points[-1]:
        points.append(float(margins.max()))
        values.append((1.0 + float(levels[-1])) / 2.0)
    return Calibration(ISOTONIC, margins=tuple(points), probabilities=tuple(values))


_FITS = {PLATT: _fit_platt, ISOTONIC: _fit_isotonic}  # if both are equally good, the first


def _mistake_of(calibration: Calibration) -> str:
    numbers = np.array((calibration.slope, calibration.intercept, *calibration.margins, *calibration.probabilities))
    if calibration.kind not in KINDS:
        return f"is of kind {calibration.kind!r}, and there are {', '.join(KINDS)}"
    if not np.isfinite(numbers).all():
        return "has a number that is not finite"
    if calibration.kind == ISOTONIC and not 0 < len(calibration.margins) == len(calibration.probabilities):
        return "has not one probability for each margin"
    if np.any(np.diff(calibration.margins) <= 0):
        return "has margins that do not ascend"
    if any(not 0.0 <= probability <= 1.0 for probability in calibration.probabilities):
        return "has a probability outside 0 .. 1"
    return ""
