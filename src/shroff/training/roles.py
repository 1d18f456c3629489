"""Role of each row in one fold of a training set: train, delay or test, with its label and weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shroff.arrays import NO_INTS, Floats, Ints, Ints8, count_true
from shroff.errors import UsageError
from shroff.events.event import time_text
from shroff.models.definitions import ModelSettings
from shroff.models.evaluation.windows import Fold, KnownRows, final_window, in_window, rows_of, windows_of
from shroff.models.sets import FRAUD, GENUINE, NOT_KNOWN, Labels, RecordedDecisions, TrainingSet
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    import pyarrow as pa

FINAL = "final"
ROLES = ("train", "delay", "test")
_NONE = -1


class SetFold(FrozenStruct):
    """A fold in the manifest, to which `role`, `label` and `weight` belong.

    Args:
        fold: Its number, 1 for the oldest, or `final`: the window that trains the model of the registry.
        train, test: From and to; the end is excluded.
        train_rows, train_fraud, test_rows, test_fraud: Numbers of rows with that role, and of frauds among them.
        immature, unclear: Rows of the training window without a role, too young or labeled unclear.
        test_immature, test_unclear: The same for the test window.
        compromised: Rows of the test window left out because an earlier fraud of their key was known.
        negatives_kept: Share of genuine training rows with a weight above 0, drawn by `seed`.
    """

    fold: int | str
    train: tuple[str, str]
    test: tuple[str, str]
    train_rows: int
    train_fraud: int
    immature: int
    unclear: int
    test_rows: int
    test_fraud: int
    test_immature: int
    test_unclear: int
    compromised: int
    negatives_kept: float
    seed: int

    @property
    def is_final(self) -> bool:
        """Return whether it is the final fold, whose test lies in the future."""
        return self.fold == FINAL


class WantedFold(FrozenStruct):
    """The fold requested of a split: its number or `final`, and its windows."""

    fold: int | str
    windows: Fold


class Roles(FrozenStruct):
    """For each row its index in ROLES and its label, both -1 without a role, and its weight, NaN without a role."""

    roles: Ints8
    labels: Ints8
    weights: Floats
    fold: SetFold


def wanted_fold(settings: ModelSettings, as_of_ms: int, fold: int | str | None = None) -> WantedFold:
    """Return the fold of a number, by default the newest, or `final`. Raises: UsageError if there is no such fold."""
    if fold == FINAL:
        return WantedFold(FINAL, final_window(settings.split, as_of_ms))
    folds = windows_of(settings.split, settings.label_delay_ms, as_of_ms)
    try:
        number = len(folds) if fold is None else int(fold)
    except ValueError:
        number = 0
    if not 1 <= number <= len(folds):
        numbers = "is 1" if len(folds) == 1 else f"are 1 to {len(folds)}"
        raise UsageError(f"there is no fold {fold} of {settings.event}: by model.yaml there {numbers}, and {FINAL}.")
    return WantedFold(number, folds[number - 1])


def roles_of(
    settings: ModelSettings,
    as_of_ms: int,
    requested: WantedFold,
    times_ms: Ints,
    keys: Ints,
    labels: Labels,
    stands_for: Floats | None = None,
) -> Roles:
    """Return the roles of rows, assigned as training assigns them, so that other programs learn from the same rows.

    Args:
        stands_for: See `sets.RecordedDecisions`; the weight of test rows.

    Cost: a few passes over the rows, and one more for each day of the test if `capacity` names an entity.
    """
    rows = _bare(settings.event, as_of_ms, times_ms, keys, labels, stands_for)
    fold = requested.windows
    fold_rows = rows_of(rows, fold, settings.label_delay_ms, fold.train_start_ms)
    count = len(times_ms)
    roles = np.full(count, _NONE, np.int8)
    row_labels = np.full(count, NOT_KNOWN, np.int8)
    weights = np.full(count, np.nan)
    for role, part in (("train", fold_rows.train), ("test", fold_rows.test)):
        roles[part.rows], row_labels[part.rows] = ROLES.index(role), part.verdicts
        weights[part.rows] = 1.0
    roles[in_window(rows, fold.train_end_ms, fold.test_start_ms)] = ROLES.index("delay")
    represented = rows.weights(fold_rows.test.rows)
    if represented is not None:
        weights[fold_rows.test.rows] = represented
    if settings.negatives_kept < 1:
        _weigh(rows, fold_rows.train, settings, weights)
    set_fold = SetFold(
        fold=requested.fold,
        train=(time_text(fold.train_start_ms), time_text(fold.train_end_ms)),
        test=(time_text(fold.test_start_ms), time_text(fold.test_end_ms)),
        train_rows=len(fold_rows.train.rows),
        train_fraud=_frauds(fold_rows.train),
        immature=fold_rows.train.immature,
        unclear=fold_rows.train.unclear,
        test_rows=len(fold_rows.test.rows),
        test_fraud=_frauds(fold_rows.test),
        test_immature=fold_rows.test.immature,
        test_unclear=fold_rows.test.unclear,
        compromised=fold_rows.compromised,
        negatives_kept=settings.negatives_kept,
        seed=settings.seed,
    )
    return Roles(roles, row_labels, weights, set_fold)


def role_types() -> dict[str, pa.DataType]:
    """Return the types of a fold's columns; null for a row without a role."""
    import pyarrow as pa

    return {"role": pa.string(), "label": pa.int8(), "weight": pa.float64()}


def role_columns(roles: Roles, rows: slice) -> dict[str, pa.Array]:
    import pyarrow as pa

    codes = roles.roles[rows]
    labels = roles.labels[rows]
    weights = roles.weights[rows]
    return {
        "role": texts_of(codes, ROLES),
        "label": pa.array(labels, mask=labels == NOT_KNOWN),
        "weight": pa.array(weights, mask=np.isnan(weights)),
    }


def texts_of(codes: Ints8, texts: tuple[str, ...]) -> pa.Array:
    """Return texts by their codes, null for -1, without a Python object for each row."""
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), pa.array(texts)).cast(pa.string())


def _frauds(rows: KnownRows) -> int:
    return count_true(rows.verdicts == FRAUD)


def _weigh(rows: TrainingSet, train_rows: KnownRows, settings: ModelSettings, weights: Floats) -> None:
    """Set the weight of genuine training rows: 0 if sampling drops them, else the factor that corrects for it."""
    from shroff.models.learners.training import in_time_order, thinned

    ordered_rows, verdicts = in_time_order(rows, train_rows)
    sampled = thinned(verdicts, settings.negatives_kept, settings.seed)
    genuine = ordered_rows[verdicts == GENUINE]
    kept_genuine = ordered_rows[sampled][verdicts[sampled] == GENUINE]
    weights[genuine] = 0.0
    weights[kept_genuine] = len(genuine) / max(len(kept_genuine), 1)


def _bare(
    event: str, as_of_ms: int, times_ms: Ints, keys: Ints, labels: Labels, stands_for: Floats | None
) -> TrainingSet:
    nothing = NO_INTS
    recorded = RecordedDecisions(np.zeros(0, np.int8), np.zeros(0), {}, stands_for)
    return TrainingSet(event, as_of_ms, nothing, nothing, times_ms, keys, nothing, (), labels, recorded, {})
