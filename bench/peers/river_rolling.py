"""The windows of `bench.online` by River: `TimeRolling` around `stats`, one for each key, window and statistic.

As its documentation has it. River has sum, mean and variance by time and no largest value, and
a window has the present event; the deviation is the root of its variance. Floats throughout.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from river import stats, utils

Answers = list[tuple[float, ...]]


class River:
    """All windows of all keys of some entities."""

    def __init__(self, entities: int, lengths_ms: Sequence[int]) -> None:
        periods = [dt.timedelta(milliseconds=length_ms) for length_ms in lengths_ms]

        def windows() -> list[tuple[Any, ...]]:
            return [
                tuple(utils.TimeRolling(item, period=period) for item in (stats.Sum, stats.Mean, stats.Var))
                for period in periods
            ]

        self._keys: list[Any] = [defaultdict(windows) for _ in range(entities)]

    def take(self, time: dt.datetime, keys: Sequence[int], amount: float) -> Answers:
        """Sum, mean and variance with the present event, by entity and window."""
        answers = []
        for windows_of, key in zip(self._keys, keys, strict=True):
            for rolling in windows_of[key]:
                for item in rolling:
                    item.update(amount, t=time)
                answers.append(tuple(item.get() for item in rolling))
        return answers
