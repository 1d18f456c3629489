"""Counts by five minutes of event time against their own week: of flags by rule, of raw traffic by value of a field.

Attacks that are no burst show in what is not usual for a customer: a new device, much money within some hours.
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
WINDOW = 3  # buckets that are held against the week, so that an alarm comes within a quarter of an hour
LONG = 6 * HOUR  # those of what is not usual for customers
NEW_DEVICE = "new to its customer"
SPENDING = "with 12 times its mean payment in 6 hours"
NEW_MS = 3 * DAY_MS  # for which a device is new, and a customer without it is known before
SPENT, PAYMENTS = 12, 4  # mean payments, and by how many within the window
DEVICES_MAX, RECENT_MAX = 50, 100  # of a customer: with more devices none is new, and with more payments all is usual
FALSE_ALARMS = 0.1  # a week, of all values together, where nothing happens but by chance
DEVIATIONS = 4.0  # of a Poisson number; below, nothing is looked at more closely
VALUES_MAX = 10_000  # of a field; one with more is no category
Group: TypeAlias = tuple[str, str]  # an event type, and a field or nothing


class UnusualCount(NamedTuple):
    """A value with far more events in its window, the last bucket included, than are usual."""

    type: str
    field: str
    value: str
    bucket: int
    events: int
    usual: float


class Customer(Struct):
    """The events of a customer so far: 500 bytes mostly, 20 KB at most."""

    first_ms: int
    payments: int = 0
    units: int = 0
    devices: dict[Value, int] = {}  # and their first events
    recent: deque[tuple[int, int]] = field(default_factory=deque)  # times and amounts of the window
    spent: int = 0  # within it

    def unusual(self, device: Value, amount: Value, time_ms: int) -> tuple[str | None, str | None]:
        """Take one more event, and say whether it is of a new device, and whether far more is spent than usual."""
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
    """The buckets of a value that are held against its week."""
    return LONG if value in {NEW_DEVICE, SPENDING} else WINDOW


class UsualCounts:
    """Counts by value and bucket, of a week. Memory: an entry for each value and bucket with an event."""

    def __init__(self) -> None:
        self._counts = defaultdict[Group, defaultdict[str, Counter[int]]](lambda: defaultdict(Counter))
        self._new = set[tuple[int, Group, str]]()
        self._newest = 0

    def add(self, group: Group, value: str, time_ms: int, count: int = 1) -> None:
        """Count events; in a group with too many values only those that are known."""
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
        counts = self._counts[group][value]
        end = bucket - HOUR + 1
        earlier = [at for at in counts if bucket - WEEK <= at < end]
        return sum(counts[at] for at in earlier) / (end - min(earlier)) * HOUR if earlier else 0.0

    def unusual(self, least: int) -> Iterator[UnusualCount]:
        """Find values far above their week, among those counted since the last call, in the order of time.

        The share of a value in its week says how many of the events of now are expected of it. An alarm has more than
        any quarter of an hour of that week, and more than a negative binomial number, as variable as the value was
        then, comes to by chance once in ten weeks, for all values together. What is not usual for customers
        is counted over six hours, and each of its two counts exceeds that once in ten weeks.
        """
        new = sorted(self._new)
        self._new = set()
        values = sum(map(len, self._counts.values()))
        for bucket, group, value in new:
            window = window_of(value)
            tries = WEEK * (values if window == WINDOW else 1)
            count = self.recent(group, value, bucket, window)
            everything = (group[0], "")
            if count < least or group == everything:
                continue
            now = self.recent(everything, "", bucket, window)
            counts = self._counts[everything][""]
            rough = self._counts[group][value].total() / counts.total() * now
            if count - rough <= DEVIATIONS * rough**0.5:
                continue
            # A device can be new only some days after the first count.
            start = max(min(counts) + (window - WINDOW and NEW_MS // BUCKET_MS), bucket - WEEK)
            size = (bucket - max(HOUR, window) - start) // window
            if size * window < DAY:
                continue
            own, all_ = (_by_window(each, start, size, window) for each in (self._counts[group][value], counts))
            usual = now * (own.sum() + 1) / all_.sum()
            if count > own.max() and _chance(count, usual, own, all_) * tries < FALSE_ALARMS:
                yield UnusualCount(*group, value, bucket, count, usual)


@lru_cache(1 << 16)
def amount_band(units: int, places: int) -> str:
    """The decade of an amount as text, such as `10.00 to 99.99`."""
    low = 10 ** (len(f"{units}") - 1) if units > 0 else 0
    return f"{show_decimal(low, places)} to {show_decimal(max(10 * low - 1, 0), places)}"


def _by_window(counts: Counter[int], start: int, size: int, window: int) -> Floats:
    """Counts of so many windows from a bucket on."""
    windows = np.zeros(size)
    for bucket, count in counts.items():
        if start <= bucket < start + size * window:
            windows[(bucket - start) // window] += count
    return windows


def _chance(count: int, usual: float, own: Floats, everything: Floats) -> float:
    """The chance of at least so many, where a week had these windows of a value and of all events."""
    from scipy.special import betainc, gammainc

    expected = everything * (own.sum() + 1) / everything.sum()
    spread = float(np.square(own - expected).sum() / expected.sum())  # the variance by the mean
    if spread <= 1:
        return float(gammainc(count, usual))
    return float(betainc(count, usual / (spread - 1), 1 - 1 / spread))
