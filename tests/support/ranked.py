"""How well scores rank frauds, by its definition."""

from __future__ import annotations

import numpy as np

from shroff.arrays import Bools, Floats


def auc_roc(scores: Floats, frauds: Bools) -> float:
    """The share of pairs of a fraud and a genuine row in which the fraud scores above, ties half."""
    return float(np.sign(scores[frauds][:, None] - scores[~frauds]).mean() + 1) / 2
