"""Search for the learner's parameters, limited by trials or time: by Optuna if it is installed, else random.

Parameters are judged by average precision on rows later than all that the trial learned from. Parameters in model.yaml
are fixed. Limited by trials alone, equal seeds find equal parameters; limited by time, the result depends on the
machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import numpy as np

from shroff.errors import UsageError
from shroff.json_types import TextDict, TextMapping
from shroff.models.definitions import ModelSettings
from shroff.models.evaluation.calibration import Calibration
from shroff.models.evaluation.metrics import average_precision
from shroff.models.evaluation.windows import KnownRows
from shroff.models.learners.learned import LearningPlan
from shroff.models.learners.learner import columns_for, fit
from shroff.models.learners.training import in_time_order, loaded, thinned
from shroff.models.sets import FRAUD, TrainingSet
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    from shroff.models.learners.cluster import Growing

TRIALS = 1_000_000  # if only time limits the search
TRIED_SHARE = 0.6  # of the rows, by time, train a trial; those up to STOPPED_SHARE stop it, the rest judges it
STOPPED_SHARE = 0.8


class Range(FrozenStruct):
    """Search range of a parameter, on a logarithmic scale with `is_log`."""

    low: float
    high: float
    is_log: bool = False
    is_whole: bool = False

    def at(self, share: float) -> float:
        value = self.low * (self.high / self.low) ** share if self.is_log else self.low + (self.high - self.low) * share
        return float(round(value)) if self.is_whole else float(f"{value:.4g}")


_BOOSTED: Final[Mapping[str, Range]] = {
    "depth": Range(3, 9, is_whole=True),
    "learning_rate": Range(0.02, 0.2, is_log=True),
    "min_weight": Range(0.1, 20, is_log=True),
    "rows": Range(0.5, 1.0),
    "columns": Range(0.4, 1.0),
    "l2": Range(0.1, 30, is_log=True),
}
RANGES: Final[Mapping[str, Mapping[str, Range]]] = {
    "xgboost": _BOOSTED,
    "lightgbm": {**_BOOSTED, "leaves": Range(7, 127, is_log=True, is_whole=True)},
    "forest": {
        "depth": Range(6, 18, is_whole=True),
        "min_weight": Range(1, 20, is_log=True),
        "rows": Range(0.4, 0.9),
        "columns": Range(0.2, 0.9),
    },
    "logistic": {"l2": Range(0.001, 1_000, is_log=True), "positive_weight": Range(1, 30, is_log=True)},
}


class SearchRange(FrozenStruct):
    """End of a search: a number of trials, or a time after which no trial starts."""

    trials: int | None
    seconds: float | None


class Trial(FrozenStruct):
    """Parameters of a trial, and its average precision (NaN if undefined)."""

    number: int
    parameters: TextDict
    value: float


Proposals = Generator[TextDict, Trial, None]  # yields parameters, receives the trial made with them


def search(
    training_set: TrainingSet,
    known_rows: KnownRows,
    settings: ModelSettings,
    bounds: SearchRange,
    threads: int = 1,
    progress: Callable[[Trial], None] | None = None,
    growing: Growing | None = None,
) -> TextDict:
    """Return the best parameters on the rows of one window, including fixed ones; the learner's defaults are tried
    first.

    Args:
        known_rows: Rows that no test uses: those that train the first fold.
        progress: Called with each finished trial.
        growing: Cluster that grows the trees; None for this process.

    Raises: UsageError if neither trials nor time limit it, for a learner without ranges (isolation forests cannot be
    judged), or if there is nothing to learn from.
    """
    if bounds.trials is None and bounds.seconds is None:
        raise UsageError("a search needs a bound: write search: { trials: 50 } or { time: 10m } in model.yaml.")
    if settings.learner not in RANGES:
        raise UsageError(f"parameters of {settings.learner} cannot be searched for; leave search out.")
    free = {name: range_ for name, range_ in RANGES[settings.learner].items() if name not in settings.parameters}
    judge = _judge(training_set, known_rows, settings, threads, growing)
    proposals = (_drawn if find_spec("optuna") is None else _proposed_by_optuna)(free, settings.seed)
    end_s = np.inf if bounds.seconds is None else time.monotonic() + bounds.seconds
    trials: list[Trial] = []
    limit = TRIALS if bounds.trials is None else bounds.trials
    proposed: TextDict = {}
    next(proposals)
    while free or not trials:
        parameters = {**settings.parameters, **proposed}
        trials.append(Trial(len(trials) + 1, parameters, judge(parameters)))
        if progress is not None:
            progress(trials[-1])
        if len(trials) >= limit or time.monotonic() >= end_s:
            break
        proposed = proposals.send(trials[-1])
    # The first of equal ones.
    return max(trials, key=lambda trial: -np.inf if np.isnan(trial.value) else trial.value).parameters


def _judge(
    training_set: TrainingSet, known_rows: KnownRows, settings: ModelSettings, threads: int, growing: Growing | None
) -> Callable[[TextMapping], float]:
    rows, verdicts = in_time_order(training_set, known_rows)
    tried = round(len(rows) * TRIED_SHARE)
    stopped = round(len(rows) * STOPPED_SHARE)
    sampled = thinned(verdicts[:stopped], settings.negatives_kept, settings.seed)
    stop = int(np.searchsorted(sampled, tried))
    early = [input_.take(rows[sampled]) for input_ in training_set.inputs]
    late = [input_.take(rows[stopped:]) for input_ in training_set.inputs]
    frauds = verdicts[stopped:] == FRAUD
    if not frauds.any():
        raise UsageError(
            "the last fifth of the rows to search on has no fraud, so parameters cannot be compared. "
            "Widen split.train in model.yaml, or leave search out."
        )

    def value(parameters: TextMapping) -> float:
        plan = LearningPlan.of(parameters, settings.seed, threads)
        fitted = fit(settings.learner, early, verdicts[sampled], None, plan, stop=stop, growing=growing)
        margins = loaded(fitted, Calibration(), 1.0).margins(columns_for(fitted.inputs, late))
        return average_precision(margins, frauds)

    return value


def _drawn(free: Mapping[str, Range], seed: int) -> Proposals:
    lots = np.random.default_rng(seed)
    yield {}
    while True:
        yield {name: _text(distribution.at(float(lots.random()))) for name, distribution in free.items()}


def _proposed_by_optuna(free: Mapping[str, Range], seed: int) -> Proposals:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    yield {}
    while True:
        trial = study.ask()
        proposed = {
            name: _text(distribution.at(trial.suggest_float(name, 0.0, 1.0))) for name, distribution in free.items()
        }
        result = yield proposed
        study.tell(trial, 0.0 if np.isnan(result.value) else result.value)


def _text(value: float) -> str:
    return f"{value:g}"
