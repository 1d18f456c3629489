"""Counts by five minutes of event time against their own week: of flags by rule, of raw traffic by value of a field."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shroff.language.values import DAY_MS, HOUR_MS, MINUTE_MS, show_decimal

BUCKET_MS: Final = 5 * MINUTE_MS
HOUR: Final = HOUR_MS // BUCKET_MS
DAY: Final = DAY_MS // BUCKET_MS
WEEK: Final = 7 * DAY
WINDOW: Final = 3  # buckets that are held against the week, so that an alarm comes within a quarter of an hour
FALSE_ALARMS: Final = 0.1  # a week, of all values together, where nothing happens but by chance
DEVIATIONS: Final = 4.0  # of a Poisson number; below, nothing is looked at more closely
VALUES_MAX: Final = 10_000  # of a field; one with more is no category
Group: TypeAlias = tuple[str, str]  # an event type, and a field or nothing


class UnusualCount(NamedTuple):
    """A value with far more events in a quarter of an hour, the last bucket included, than are usual."""

    type: str
    field: str
    value: str
    bucket: int
    events: int
    usual: float


class UsualCounts:
    """Counts by value and bucket, of a week. Memory: an entry for each value and bucket with an event."""

    def __init__(self) -> None:
        self._counts = defaultdict[Group, defaultdict[str, Counter[int]]](lambda: defaultdict(Counter))
        self._new = set[tuple[int, Group, str]]()
        self._newest = 0

    def add(self, group: Group, value: str, time_ms: int, count: int = 1) -> None:
        """Count events; in a group with too many values only those that are known."""
        bucket, values = time_ms // BUCKET_MS, self._counts[group]
        if bucket // DAY > self._newest // DAY:
            self._forget_before(bucket - WEEK)
        self._newest = max(bucket, self._newest)
        if value in values or len(values) < VALUES_MAX:
            values[value][bucket] += count
            self._new.add((bucket, group, value))

    def _forget_before(self, bucket: int) -> None:
        for values in self._counts.values():
            for value, counts in list(values.items()):
                values[value] = Counter({at: count for at, count in counts.items() if at >= bucket})
                if not values[value]:
                    del values[value]
        self._new = {new for new in self._new if new[0] >= bucket}

    def values(self, group: Group) -> list[str]:
        return list(self._counts[group])

    def recent(self, group: Group, value: str, bucket: int, buckets: int) -> int:
        """The count of so many buckets, the last of which is this one."""
        counts = self._counts[group][value]
        return sum(counts.get(at, 0) for at in range(bucket - buckets + 1, bucket + 1))

    def hourly(self, group: Group, value: str, bucket: int) -> float:
        """The mean of an hour before the last one, of a week at most, from the first count that there is."""
        counts, end = self._counts[group][value], bucket - HOUR + 1
        earlier = [at for at in counts if bucket - WEEK <= at < end]
        return sum(counts[at] for at in earlier) / (end - min(earlier)) * HOUR if earlier else 0.0

    def unusual(self, least: int) -> Iterator[UnusualCount]:
        """Find values far above their week, among those counted since the last call, in the order of time.

        The share of a value in its week says how many of the events of now are expected of it. An alarm has more than
        any quarter of an hour of that week, and more than a negative binomial number, as variable as the value was
        then, comes to by chance once in ten weeks, for all values together.
        """
        new, self._new = sorted(self._new), set()
        tries = sum(map(len, self._counts.values())) * WEEK
        for bucket, group, value in new:
            count, everything = self.recent(group, value, bucket, WINDOW), (group[0], "")
            if count < least or group == everything:
                continue
            now, counts = self.recent(everything, "", bucket, WINDOW), self._counts[everything][""]
            rough = self._counts[group][value].total() / counts.total() * now
            if count - rough <= DEVIATIONS * rough**0.5:
                continue
            start = max(min(counts), bucket - WEEK)
            size = (bucket - HOUR - start) // WINDOW
            if size * WINDOW < DAY:
                continue
            own, all_ = (_by_window(each, start, size) for each in (self._counts[group][value], counts))
            usual = now * (own.sum() + 1) / all_.sum()
            if count > own.max() and _chance(count, usual, own, all_) * tries < FALSE_ALARMS:
                yield UnusualCount(*group, value, bucket, count, usual)


@lru_cache(1 << 16)
def amount_band(units: int, places: int) -> str:
    """The decade of an amount as text, such as `10.00 to 99.99`."""
    low = 10 ** (len(f"{units}") - 1) if units > 0 else 0
    return f"{show_decimal(low, places)} to {show_decimal(max(10 * low - 1, 0), places)}"


def _by_window(counts: Counter[int], start: int, size: int) -> NDArray[np.float64]:
    """Counts of so many windows from a bucket on."""
    windows = np.zeros(size)
    for bucket, count in counts.items():
        if start <= bucket < start + size * WINDOW:
            windows[(bucket - start) // WINDOW] += count
    return windows


def _chance(count: int, usual: float, own: NDArray[np.float64], everything: NDArray[np.float64]) -> float:
    """The chance of at least so many, where a week had these windows of a value and of all events."""
    from scipy.special import betainc, gammainc

    expected = everything * (own.sum() + 1) / everything.sum()
    spread = float(np.square(own - expected).sum() / expected.sum())  # the variance by the mean
    if spread <= 1:
        return float(gammainc(count, usual))
    return float(betainc(count, usual / (spread - 1), 1 - 1 / spread))
