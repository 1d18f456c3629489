"""Small training sets for tests: a row for each event, an hour apart unless told otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shroff.models.definitions import DailyCapacity, ModelSettings, Split
from shroff.models.sets import Input, Labels, RecordedDecisions, TrainingSet

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def training_set(
    inputs: Sequence[Input],
    frauds: Sequence[bool],
    *,
    times_ms: Sequence[int] | None = None,
    keys: Sequence[int] | None = None,
    amounts_minor: Sequence[int] | None = None,
    known_after_ms: int = DAY_MS,
    hits: Mapping[str, Sequence[bool]] | None = None,
    outcomes: Sequence[int] | None = None,
    slices: Mapping[str, Sequence[Any]] | None = None,
    as_of_ms: int | None = None,
) -> TrainingSet:
    """A set whose every row has a label, known so long after it."""
    count = len(frauds)
    rows = np.arange(count)
    times = rows * HOUR_MS if times_ms is None else np.array(times_ms, np.int64)
    return TrainingSet(
        "payment",
        int(times.max(initial=0)) + known_after_ms if as_of_ms is None else as_of_ms,
        rows.astype(str),
        rows + 1,
        times,
        np.full(count, -1) if keys is None else np.array(keys, np.int64),
        np.full(count, 1_000) if amounts_minor is None else np.array(amounts_minor, np.int64),
        tuple(inputs),
        Labels(rows, np.array(frauds, np.int8), np.zeros(count, np.int8), times + known_after_ms, np.full(count, -1)),
        RecordedDecisions(
            np.full(count, -1, np.int8) if outcomes is None else np.array(outcomes, np.int8),
            np.full(count, np.nan),
            {name: np.array(hit, np.bool_) for name, hit in (hits or {}).items()},
        ),
        {name: np.array(column, object) for name, column in (slices or {}).items()},
    )


def number(name: str, values: Any) -> Input:
    return Input(name, "number", np.asarray(values, np.float64))


def category(name: str, texts: Sequence[str | None]) -> Input:
    known = tuple(sorted({text for text in texts if text is not None}))
    return Input(name, "category", np.array([np.nan if t is None else known.index(t) for t in texts]), known)


def noisy_set(count: int = 2_400, *, seed: int = 1, **more: Any) -> TrainingSet:
    """Two inputs that tell frauds, one that does not, one of texts, with missing values; a key for two rows or so."""
    lots = np.random.default_rng(seed)
    strong, weak, none = lots.normal(size=(3, count))
    channel = lots.choice(["app", "web", "pos"], count)
    chance = 1 / (1 + np.exp(-(2 * strong + weak + 1.5 * (channel == "web") - 4)))
    frauds = lots.random(count) < chance
    none[lots.random(count) < 0.2] = np.nan
    inputs = [
        number("strong", strong),
        number("weak", weak),
        number("none", none),
        category("channel", channel.tolist()),
    ]
    told = {"keys": lots.integers(0, count, count), "amounts_minor": lots.integers(100, 50_000, count), **more}
    return training_set(inputs, frauds, **told)


def settings(**more: Any) -> ModelSettings:
    """Four folds of 40 days of training and ten of test, for hourly rows; logistic regression, which is quick."""
    told: dict[str, Any] = {
        "event": "payment",
        "inputs": (),
        "label_delay_ms": DAY_MS,
        "learner": "logistic",
        "split": Split(40 * DAY_MS, DAY_MS, 10 * DAY_MS, 4),
        "capacity": DailyCapacity("card", 3),
        "gates": (),
    }
    return ModelSettings(**{**told, **more})
