"""Counts in five-minute buckets of event time, compared with the week before: flags by rule, and traffic by field
value.

Attacks without a burst show in what is unusual for a customer: a new device, or high spending within hours.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from msgspec import Struct, field

from shroff.arrays import Floats
from shroff.language.values import DAY_MS, HOUR_MS, MINUTE_MS, Value, show_decimal

BUCKET_MS = 5 * MINUTE_MS
HOUR = HOUR_MS // BUCKET_MS
DAY = DAY_MS // BUCKET_MS
WEEK = 7 * DAY
WINDOW = 3  # buckets that are compared with the week, so that an alarm comes within 15 minutes
LONG = 6 * HOUR  # buckets of what is unusual for customers
NEW_DEVICE = "new to its customer"
SPENDING = "with 12 times its mean payment in 6 hours"
NEW_MS = 3 * DAY_MS  # time for which a device is new, and before which its customer must be known
SPENT = 12  # multiple of the mean payment
PAYMENTS = 4  # least number of payments in the window
# Per customer; above these no device counts as new, and no spending as high.
DEVICES_MAX = 50
RECENT_MAX = 100
FALSE_ALARMS = 0.1  # expected per week for all values together if only chance is at work
DEVIATIONS = 4.0  # standard deviations of a Poisson count; smaller differences are not tested
VALUES_MAX = 10_000  # per field; a field with more is no category
Group: TypeAlias = tuple[str, str]  # event type and field; the empty field stands for all events


class UnusualCount(NamedTuple):
    """A value with far more events than usual in the window that ends with `bucket`."""

    type: str
    field: str
    value: str
    bucket: int
    events: int
    usual: float


class Customer(Struct):
    """The events of a customer so far: usually 500 bytes, at most 20 KB."""

    first_ms: int
    payments: int = 0
    units: int = 0
    devices: dict[Value, int] = {}  # with the times of their first events
    recent: deque[tuple[int, int]] = field(default_factory=deque)  # times and amounts within the window
    spent: int = 0  # within the window

    def unusual(self, device: Value, amount: Value, time_ms: int) -> tuple[str | None, str | None]:
        """Count an event; return NEW_DEVICE if its device is new, and SPENDING if spending is far above usual."""
        units = amount if isinstance(amount, int) else 0
        if len(self.devices) < DEVICES_MAX:
            self.devices.setdefault(device, time_ms)
        new_ms = self.devices.get(device, self.first_ms)
        is_new = device is not None and self.first_ms + NEW_MS < new_ms and time_ms < new_ms + NEW_MS
        while self.recent and (self.recent[0][0] <= time_ms - LONG * BUCKET_MS or len(self.recent) >= RECENT_MAX):
            self.spent -= self.recent.popleft()[1]
        self.recent.append((time_ms, units))
        self.spent += units
        is_much = self.payments > PAYMENTS <= len(self.recent) and self.spent * self.payments >= SPENT * self.units > 0
        self.payments = self.payments + 1
        self.units = self.units + units
        return NEW_DEVICE if is_new else None, SPENDING if is_much else None


def window_of(value: str) -> int:
    """Return the number of buckets of a value that are compared with its week."""
    return LONG if value in {NEW_DEVICE, SPENDING} else WINDOW


class UsualCounts:
    """Counts of a week by value and bucket. Memory: an entry for each value and bucket with an event."""

    def __init__(self) -> None:
        self._counts = defaultdict[Group, defaultdict[str, Counter[int]]](lambda: defaultdict(Counter))
        self._new = set[tuple[int, Group, str]]()
        self._newest = 0

    def add(self, group: Group, value: str, time_ms: int, count: int = 1) -> None:
        """Count events; a group with too many values counts only known ones."""
        bucket = time_ms // BUCKET_MS
        values = self._counts[group]
        if bucket // DAY > self._newest // DAY:
            self._forget_before(bucket - WEEK)
        self._newest = max(bucket, self._newest)
        if value in values or len(values) < VALUES_MAX:
            values[value][bucket] += count
            self._new.add((bucket, group, value))

    def _forget_before(self, bucket: int) -> None:
        for values in self._counts.values():
            for value, counts in list(values.items()):
                values[value] = Counter(
                    {counted_bucket: count for counted_bucket, count in counts.items() if counted_bucket >= bucket}
                )
                if not values[value]:
                    del values[value]
        self._new = {new for new in self._new if new[0] >= bucket}

    def values(self, group: Group) -> list[str]:
        return list(self._counts[group])

    def recent(self, group: Group, value: str, bucket: int, buckets: int) -> int:
        """Return the count of the `buckets` buckets that end with `bucket`."""
        counts = self._counts[group][value]
        return sum(counts.get(counted_bucket, 0) for counted_bucket in range(bucket - buckets + 1, bucket + 1))

    def hourly(self, group: Group, value: str, bucket: int) -> float:
        """Return the mean hourly count before the last hour, over at most a week, from the first count on."""
        counts = self._counts[group][value]
        end = bucket - HOUR + 1
        earlier = [counted_bucket for counted_bucket in counts if bucket - WEEK <= counted_bucket < end]
        return (
            sum(counts[counted_bucket] for counted_bucket in earlier) / (end - min(earlier)) * HOUR if earlier else 0.0
        )

    def unusual(self, minimum: int) -> Iterator[UnusualCount]:
        """Find values far above their week among those counted since the last call, ordered by time.

        The share of a value in its week gives its expected share of the current events. An alarm needs more events than
        any window of that week had, and a count that a negative binomial distribution, with the variance the value had
        then, exceeds by chance once in ten weeks for all values together. What is unusual for customers is counted over
        six hours; each of its two counts is exceeded by chance once in ten weeks.
        """
        new_counts = sorted(self._new)
        self._new = set()
        values = sum(map(len, self._counts.values()))
        for bucket, group, value in new_counts:
            window = window_of(value)
            tries = WEEK * (values if window == WINDOW else 1)
            count = self.recent(group, value, bucket, window)
            everything = (group[0], "")
            if count < minimum or group == everything:
                continue
            current_total = self.recent(everything, "", bucket, window)
            counts = self._counts[everything][""]
            rough_expected = self._counts[group][value].total() / counts.total() * current_total
            if count - rough_expected <= DEVIATIONS * rough_expected**0.5:
                continue
            # A device can be new only some days after the first count.
            start = max(min(counts) + (window - WINDOW and NEW_MS // BUCKET_MS), bucket - WEEK)
            size = (bucket - max(HOUR, window) - start) // window
            if size * window < DAY:
                continue
            own_windows, all_windows = (
                _window_sums(counts_of, start, size, window) for counts_of in (self._counts[group][value], counts)
            )
            usual = current_total * (own_windows.sum() + 1) / all_windows.sum()
            if count > own_windows.max() and _chance(count, usual, own_windows, all_windows) * tries < FALSE_ALARMS:
                yield UnusualCount(*group, value, bucket, count, usual)


@lru_cache(1 << 16)
def amount_band(units: int, decimals: int) -> str:
    """Return the decade of an amount as text, such as `10.00 to 99.99`."""
    low = 10 ** (len(f"{units}") - 1) if units > 0 else 0
    return f"{show_decimal(low, decimals)} to {show_decimal(max(10 * low - 1, 0), decimals)}"


def _window_sums(counts: Counter[int], start: int, size: int, window: int) -> Floats:
    windows = np.zeros(size)
    for bucket, count in counts.items():
        if start <= bucket < start + size * window:
            windows[(bucket - start) // window] += count
    return windows


def _chance(count: int, usual: float, key_counts: Floats, everything: Floats) -> float:
    """Return the chance of at least `count` events, given these windows of a value and of all events in a week."""
    from scipy.special import betainc, gammainc

    expected = everything * (key_counts.sum() + 1) / everything.sum()
    spread = float(np.square(key_counts - expected).sum() / expected.sum())  # variance divided by mean
    if spread <= 1:
        return float(gammainc(count, usual))
    return float(betainc(count, usual / (spread - 1), 1 - 1 / spread))
