"""Population of the synthetic bank: customers, merchants and their terminals.

A town is drawn once from a seed and never changes; what changes from day to day
(journeys, new phones) is kept by `days`. Its size follows from the number of
payments asked for, and is bounded, so a stream of any length fits in memory.
"""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING

from shroff.arrays import Floats, Ints
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    import numpy as np

    Numbers = Ints
    Reals = Floats

PAYMENTS_PER_CUSTOMER = 60
"""A town of events / 60 customers who pay about once a day lives through about two months."""
CUSTOMERS_MIN, CUSTOMERS_MAX = 60, 200_000
CUSTOMERS_PER_MERCHANT = 8
MERCHANTS_MIN, MERCHANTS_MAX = 240, 20_000
HABITS = 10
"""Merchants that a customer comes back to, the dearest first."""

COUNTRIES = "DE AT NL FR PL IT ES GB TR US TH".split()
HOME_WEIGHTS = (0.72, 0.09, 0.07, 0.06, 0.06, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
MERCHANT_WEIGHTS = (0.50, 0.08, 0.08, 0.08, 0.06, 0.05, 0.05, 0.04, 0.02, 0.02, 0.02)


class Kind(FrozenStruct):
    """A kind of merchant: how it is paid, how often, and what a payment there comes to.

    Amounts are log-normal around `median` cents; they are rounded to `step` cents,
    less `below` (a price of 19.99 is a step of 100 less 1).
    """

    name: str
    channel: str
    weight: float
    median: int
    spread: float
    step: int = 1
    below: int = 0


KINDS = (
    Kind("groceries", "pos", 0.28, 2_200, 0.75),
    Kind("restaurant", "pos", 0.13, 2_400, 0.65, 10),
    Kind("fuel", "pos", 0.06, 5_200, 0.40),
    Kind("transport", "pos", 0.08, 290, 0.55, 10),
    Kind("kiosk", "pos", 0.08, 420, 0.70, 5),
    Kind("fashion", "pos", 0.07, 6_200, 0.75, 100, 1),
    Kind("electronics", "web", 0.015, 9_000, 0.95, 100, 1),
    Kind("marketplace", "web", 0.12, 3_000, 0.90),
    Kind("games", "web", 0.05, 380, 0.90, 100, 1),
    Kind("travel", "web", 0.010, 14_000, 0.85),
    Kind("services", "web", 0.04, 1_299, 0.50, 100, 1),
    Kind("cash", "atm", 0.05, 10_000, 0.65, 1_000),
)
KIND_OF = {kind.name: number for number, kind in enumerate(KINDS)}

_NIGHT, _MORNING, _NOON, _AFTERNOON, _EVENING = range(6), range(6, 11), range(11, 15), range(15, 19), range(19, 24)
_HOUR_WEIGHTS = (
    (0.2, 4.0, 3.0, 3.0, 1.0),  # early risers
    (0.2, 2.0, 5.0, 4.0, 2.0),  # office
    (0.5, 1.0, 2.0, 4.0, 5.0),  # evenings
    (3.0, 0.7, 1.0, 2.0, 4.0),  # nights
)
_HOURS_SHARE = (0.25, 0.40, 0.27, 0.08)


class Merchants(FrozenStruct):
    """The merchants, as columns, ordered by country; `shops[country][kind]` lists their numbers.

    `reach` is the running sum of how popular each is: a number drawn evenly between
    `reach_from[c]` and `reach_to[c]` falls upon a merchant of country c.
    """

    country: Numbers
    kind: Numbers
    reach: Reals
    reach_from: Reals
    reach_to: Reals
    terminals_from: Numbers
    terminals: Numbers
    shops: tuple[tuple[tuple[int, ...], ...], ...]


class Customers(FrozenStruct):
    """The customers, as columns: where they live, how often, when, where and how much they pay."""

    home: Numbers
    second_home: Numbers
    payments_a_day: Reals
    scale: Reals
    hours: Numbers
    habits: Numbers
    wallet_share: Reals
    second_device_share: Reals


class Town(FrozenStruct):
    """All that stays as it is."""

    customers: Customers
    merchants: Merchants
    hour_reach: Reals

    @property
    def size(self) -> int:
        """Number of customers."""
        return len(self.customers.home)


def draw_town(events: int, rng: np.random.Generator) -> Town:
    """Draw a town fit for this many payments. Cost: linear in customers, at most a few seconds."""
    import numpy as np

    size = min(max(events // PAYMENTS_PER_CUSTOMER, CUSTOMERS_MIN), CUSTOMERS_MAX)
    merchants = _draw_merchants(min(max(size // CUSTOMERS_PER_MERCHANT, MERCHANTS_MIN), MERCHANTS_MAX), rng)
    weights = np.empty((len(_HOUR_WEIGHTS), 24))
    for row, parts in enumerate(_HOUR_WEIGHTS):
        for hours, weight in zip((_NIGHT, _MORNING, _NOON, _AFTERNOON, _EVENING), parts, strict=True):
            weights[row, hours.start : hours.stop] = weight
    hour_reach = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)
    return Town(_draw_customers(size, merchants, rng), merchants, hour_reach)


def pick_merchants(merchants: Merchants, countries: Numbers, rng: np.random.Generator) -> Numbers:
    """Draw one merchant for each country given, popular ones more often."""
    import numpy as np

    low, high = merchants.reach_from[countries], merchants.reach_to[countries]
    found = np.searchsorted(merchants.reach, low + rng.random(len(countries)) * (high - low), side="right")
    return np.minimum(found, len(merchants.reach) - 1)


def amounts(town: Town, customers: Numbers, merchants: Numbers, rng: np.random.Generator) -> Numbers:
    """Draw what each of these customers pays at that merchant, in cents, at least 1."""
    import numpy as np

    kinds = town.merchants.kind[merchants]
    log_median, spread, step, below = (
        np.array(column)[kinds]
        for column in zip(*((math.log(kind.median), kind.spread, kind.step, kind.below) for kind in KINDS), strict=True)
    )
    raw = np.exp(log_median + town.customers.scale[customers] + spread * rng.standard_normal(len(customers)))
    rounded: Numbers = (np.maximum(np.rint(raw / step), 1.0) * step - below).astype(np.int64)
    return rounded


def amount(town: Town, customer: int, merchant: int, rng: Random, *, factor: float = 1.0) -> int:
    """Draw one amount in cents, as `amounts` does, times `factor`."""
    kind = KINDS[town.merchants.kind[merchant]]
    raw = kind.median * math.exp(float(town.customers.scale[customer]) + kind.spread * rng.gauss(0.0, 1.0)) * factor
    return max(round(raw / kind.step), 1) * kind.step - kind.below


def shop(town: Town, country: int, kind: str, rng: Random) -> int:
    """Draw one merchant of this kind in this country; every country has some of each."""
    return rng.choice(town.merchants.shops[country][KIND_OF[kind]])


def _draw_merchants(count: int, rng: np.random.Generator) -> Merchants:
    import numpy as np

    every = [(country, kind) for country in range(len(COUNTRIES)) for kind in range(len(KINDS))]
    rest = count - len(every)
    country = np.concatenate([[c for c, _ in every], rng.choice(len(COUNTRIES), rest, p=MERCHANT_WEIGHTS)])
    kind_weights = np.array([kind.weight for kind in KINDS])
    kind = np.concatenate([[k for _, k in every], rng.choice(len(KINDS), rest, p=kind_weights / kind_weights.sum())])
    order = np.argsort(country, kind="stable")
    country, kind = country[order].astype(np.int64), kind[order].astype(np.int64)
    popularity = kind_weights[kind] / np.bincount(country * len(KINDS) + kind)[country * len(KINDS) + kind]
    reach = np.cumsum(popularity * np.exp(0.8 * rng.standard_normal(count)))
    first = np.searchsorted(country, np.arange(len(COUNTRIES)))
    last = np.searchsorted(country, np.arange(len(COUNTRIES)), side="right")
    terminals = np.where(np.array([k.channel != "web" for k in KINDS])[kind], rng.integers(1, 6, count), 0)
    shops = tuple(
        tuple(tuple(np.flatnonzero((country == c) & (kind == k)).tolist()) for k in range(len(KINDS)))
        for c in range(len(COUNTRIES))
    )
    reach_from = np.where(first > 0, reach[first - 1], 0.0)
    starts = np.cumsum(terminals) - terminals
    return Merchants(country, kind, reach, reach_from, reach[last - 1], starts, terminals, shops)


def _draw_customers(size: int, merchants: Merchants, rng: np.random.Generator) -> Customers:
    import numpy as np

    home = rng.choice(len(COUNTRIES), size, p=HOME_WEIGHTS)
    # Three in a hundred live by a border and shop on both sides of it.
    elsewhere = rng.choice(len(COUNTRIES), size, p=HOME_WEIGHTS)
    second_home = np.where(rng.random(size) < 0.03, elsewhere, home)
    habits = pick_merchants(merchants, np.repeat(home, HABITS), rng).reshape(size, HABITS)
    # The last two habits may be on the net, wherever in the world.
    anywhere = rng.choice(len(COUNTRIES), size * 2, p=MERCHANT_WEIGHTS)
    far = pick_merchants(merchants, anywhere, rng).reshape(size, 2)
    habits[:, -2:] = np.where(merchants.terminals[far] == 0, far, habits[:, :2])
    return Customers(
        home=home,
        second_home=second_home,
        payments_a_day=np.clip(np.exp(0.6 * rng.standard_normal(size) - 0.18), 0.05, 5.0),
        scale=0.35 * rng.standard_normal(size),
        hours=rng.choice(len(_HOURS_SHARE), size, p=_HOURS_SHARE),
        habits=habits,
        wallet_share=np.where(rng.random(size) < 0.35, rng.random(size), 0.0),
        second_device_share=np.where(rng.random(size) < 0.40, 0.35 * rng.random(size), 0.0),
    )
