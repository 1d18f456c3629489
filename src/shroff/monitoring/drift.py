"""Drift: how far a model's inputs, and its score, have moved from a reference.

The population stability index compares shares of bins: ten bins of the reference with equally many rows each; missing
values and each of the 50 most frequent categories have a bin of their own. Without a shift it is approximately a
chi-square variable times (1/n + 1/m), with one degree of freedom less than there are bins (Yurdakul and Naranjo,
"Statistical properties of the population stability index", Journal of Risk Model Validation 14, 2020). So an index
counts as moved only if it is at or above the customary limit and beyond what the sizes of both samples explain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from shroff.arrays import Array, Floats
from shroff.models.sets import Input
from shroff.runtime.values import FrozenStruct

BINS = 10
CATEGORIES = 50  # with bins of their own; all further ones share one
LIMIT = 0.2  # customary threshold of a large shift in credit scoring
BY_CHANCE = 0.001  # probability of a false alarm
# Most rows of the larger sample for an exact p-value, in 10 ms; above, the approximation differs little.
EXACT_ROWS = 1_000
FLOOR = 0.5  # rows assumed for an empty bin, so that its share has a logarithm


class DriftBin(FrozenStruct):
    """A bin in words, and its shares of the reference and of the recent rows, in [0, 1]."""

    says: str
    before: float
    now: float


class Drift(FrozenStruct):
    """How far one input or the score has moved.

    Args:
        psi: The population stability index; 0 without any shift.
        psi_by_chance: The 99.9th percentile of the index by chance alone, for samples of these sizes.
        test: `ks` (Kolmogorov-Smirnov, for numbers) or `chi2` (for categories).
        statistic: Test statistic: the largest distance of the two distributions, or chi-square. None if undefined.
        p_value: Probability of a statistic at least as large without drift. In large samples it is small for
            irrelevant shifts, so it alone never counts as moved.
        missing_before, missing_now: Shares of rows without a value.
        unseen: Share of the recent rows whose category the reference does not have.
        bins: Both distributions over the bins of the index that have rows.
    """

    name: str
    kind: str
    psi: float
    psi_by_chance: float
    test: str
    statistic: float | None
    p_value: float | None
    missing_before: float
    missing_now: float
    unseen: float
    reference_rows: int
    recent_rows: int
    bins: tuple[DriftBin, ...] = ()

    @property
    def has_moved(self) -> bool:
        return self.psi >= LIMIT and self.psi > self.psi_by_chance

    @property
    def is_unclear(self) -> bool:
        """Whether the samples are too small to tell: a shift at the limit could be chance."""
        return not self.has_moved and self.psi_by_chance > LIMIT


def drift_of(reference: Input, recent: Input) -> Drift:
    """Compare one input of two samples.

    Raises: ValueError if one of them has no rows.
    """
    if not len(reference.values) or not len(recent.values):
        raise ValueError(f"{reference.name} cannot be compared: one of the samples has no rows")
    before, now, unseen, names = _counts(reference, recent)
    statistic, p_value = _by_category(before, now) if reference.kind == "category" else _by_number(reference, recent)
    n = len(reference.values)
    m = len(recent.values)
    return Drift(
        reference.name,
        reference.kind,
        stability_index(before, now),
        _by_chance(int(np.count_nonzero(before + now)), n, m),
        "chi2" if reference.kind == "category" else "ks",
        statistic,
        p_value,
        float(np.isnan(reference.values).mean()),
        float(np.isnan(recent.values).mean()),
        unseen,
        n,
        m,
        tuple(
            DriftBin(*row) for row in zip(names, (before / n).tolist(), (now / m).tolist(), strict=True) if any(row[1:])
        ),
    )


def stability_index(before: Floats, now: Floats) -> float:
    """Return the population stability index: the sum of (q - p) ln(q / p) over the shares p before and q now.

    >>> round(stability_index(np.array([50.0, 50.0]), np.array([80.0, 20.0])), 4)
    0.4159
    """
    has_rows = (before + now) > 0
    first = np.maximum(before[has_rows], FLOOR)
    second = np.maximum(now[has_rows], FLOOR)
    first = first / first.sum()
    second = second / second.sum()
    return float(((second - first) * np.log(second / first)).sum())


def _by_chance(bins: int, n: int, m: int) -> float:
    from scipy.stats import chi2

    return float(chi2.ppf(1 - BY_CHANCE, max(bins - 1, 1)) * (1 / n + 1 / m))


def _counts(reference: Input, recent: Input) -> tuple[Floats, Floats, float, Sequence[str]]:
    """Return both samples' rows by bin, the recent share of unseen categories, and the names of the bins."""
    if reference.kind == "category":
        return _category_counts(reference, recent)
    edges = _edges(reference.values[:])
    before, now = (_number_counts(inputs.values[:], edges) for inputs in (reference, recent))
    # Adding 0 turns -0 into 0, for the names.
    above = np.nextafter(edges, np.inf) + 0.0
    names = [f"below {end:g}" if end in edges else f"up to {edge:g}" for edge, end in zip(edges, above, strict=True)]
    highest = f"above {edges[-1]:g}" if len(edges) else "any value"
    return before, now, 0.0, [*names, highest, "missing"]


def _edges(values: Floats) -> Floats:
    """Return the inclusive upper ends of bins with about equally many rows; a very frequent value gets its own bin."""
    present = values[~np.isnan(values)]
    if not len(present):
        return np.zeros(0)
    ends = np.quantile(present, np.linspace(0, 1, BINS + 1)[1:-1], method="inverted_cdf")
    ends, bins = np.unique(ends, return_counts=True)
    return np.union1d(ends, np.nextafter(ends[bins > 1], -np.inf))


def _number_counts(values: Floats, edges: Floats) -> Floats:
    present = values[~np.isnan(values)]
    counts = np.bincount(np.searchsorted(edges, present, side="left"), minlength=len(edges) + 1)
    return np.append(counts, len(values) - len(present)).astype(np.float64)


def _category_counts(reference: Input, recent: Input) -> tuple[Floats, Floats, float, Sequence[str]]:
    texts = np.unique([*reference.categories, *recent.categories])
    before, now = (_by_text(inputs, texts) for inputs in (reference, recent))
    unseen = float(now[:-1][before[:-1] == 0].sum() / len(recent.values))
    common = np.argsort(-before[:-1], kind="stable")
    others = common[CATEGORIES:]
    columns = np.append(common[:CATEGORIES], len(texts))
    names = [*texts[common[:CATEGORIES]].tolist(), "missing", "all others"]
    return np.append(before[columns], before[others].sum()), np.append(now[columns], now[others].sum()), unseen, names


def _by_text(input_: Input, texts: Array) -> Floats:
    """Return rows by category, followed by those without one."""
    indices = np.append(np.searchsorted(texts, np.array(input_.categories, texts.dtype)), len(texts))
    codes = np.where(np.isnan(input_.values), len(input_.categories), input_.values).astype(np.int64)
    return np.bincount(indices[codes], minlength=len(texts) + 1).astype(np.float64)


def _by_number(reference: Input, recent: Input) -> tuple[float | None, float | None]:
    from scipy.stats import ks_2samp

    first, second = (inputs.values[~np.isnan(inputs.values)] for inputs in (reference, recent))
    if not len(first) or not len(second):
        return None, None
    result = ks_2samp(first, second, method="exact" if max(len(first), len(second)) <= EXACT_ROWS else "asymp")
    return float(result.statistic), float(result.pvalue)


def _by_category(before: Floats, now: Floats) -> tuple[float | None, float | None]:
    from scipy.stats import chi2_contingency

    has_rows = (before + now) > 0
    if np.count_nonzero(has_rows) < 2:
        return None, None
    result = chi2_contingency(np.vstack([before[has_rows], now[has_rows]]))
    return float(result.statistic), float(result.pvalue)


def drifts(pairs: Iterable[tuple[Input, Input]]) -> list[Drift]:
    """Compare each input of two samples: those that moved first, then by falling index."""
    results = [drift_of(reference, recent) for reference, recent in pairs]
    return sorted(results, key=lambda drift: (-drift.has_moved, -drift.psi, drift.name))
