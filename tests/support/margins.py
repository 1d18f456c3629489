"""The score of one margin, straight from its definition: what the kernel of scores is held against."""

from __future__ import annotations

from shroff.models.evaluation.calibration import IDENTITY, ISOLATION, ISOTONIC, Calibration
from shroff.models.trees.score import LN2, between, corrected, exponential, rounded, sigmoid


def score_of_margin(margin: float, calibration: Calibration, negatives_kept: float = 1.0) -> float:
    """Calibrated probability of a margin, rounded half-even to six decimal places, within [0, 1].

    Equal on every machine, since `models.trees.score` uses only arithmetic that has one result.

    Args:
        negatives_kept: The share of genuine rows among those that the calibration (of NONE: the model) was fitted on;
            1 where all were there, or counted by weight.
    """
    if calibration.kind == ISOTONIC:
        probability = between(margin, calibration.margins, calibration.probabilities)
    elif calibration.kind == IDENTITY:
        probability = between(margin, (0.0, 1.0), (0.0, 1.0))
    elif calibration.kind == ISOLATION:
        probability = exponential(min(0.0, LN2 * margin))
    else:
        margin = calibration.slope * margin + calibration.intercept
        probability = sigmoid(margin, exponential(-abs(margin)))
    return rounded(corrected(probability, negatives_kept))
