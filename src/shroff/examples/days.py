"""One day after the other in the made-up bank: what honest customers pay.

Most of a day is drawn by columns: who pays how often, at which hour, where, how
much, with which device. What comes in bursts is drawn one by one: shopping trips,
many small purchases in a game, sales, a new telephone and the first large thing
bought with it. These look like fraud, and are meant to.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, NamedTuple

from shroff.examples.town import COUNTRIES, HABITS, KINDS, MERCHANT_WEIGHTS, Town, amount, amounts, pick_merchants, shop

if TYPE_CHECKING:
    import numpy as np

    from shroff.examples.town import Numbers, Reals

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
NONE = -1
"""No terminal, or no device."""

_WEEKDAYS = (0.92, 0.92, 0.95, 1.00, 1.15, 1.20, 0.86)
_SALE_EVERY_DAYS = 26
_TRIPS_A_DAY = 0.010
_NEW_DEVICES_A_DAY = 0.0015
_SHOPPING_TRIPS_A_DAY = 0.0020
_SMALL_BURSTS_A_DAY = 0.0008
_GROUP_ORDERS_A_DAY = 0.00015
_SALES_A_DAY = 0.25
_HABIT_SHARE = 0.80


class PaymentRow(NamedTuple):
    """One payment as numbers: instant in UTC milliseconds, indexes into the town, cents, kind of fraud (0: none)."""

    paid_ms: int
    customer: int
    merchant: int
    terminal: int
    cents: int
    device: int
    fraud: int = 0


class Life:
    """State that changes from day to day: who is away, which devices there are.

    Holds a few numbers for each customer, whatever the length of the stream.
    """

    def __init__(self, town: Town, rng: np.random.Generator, chance: Random) -> None:
        import numpy as np

        self.town, self.rng, self.chance = town, rng, chance
        self.place = town.customers.home.copy()
        self.back_on = np.zeros(town.size, np.int64)
        self.device = np.arange(town.size, dtype=np.int64)
        # One in five shares the second device (a family's tablet) with somebody else.
        own = np.arange(town.size, 2 * town.size, dtype=np.int64)
        self.second_device = np.where(rng.random(town.size) < 0.2, rng.permutation(own), own)
        self._devices = 2 * town.size

    def new_device(self) -> int:
        """Number of a device that nobody has used before."""
        self._devices += 1
        return self._devices - 1

    def terminal(self, merchant: int) -> int:
        """One of this merchant's terminals, by chance; `NONE` where it sells on the net only."""
        count = int(self.town.merchants.terminals[merchant])
        return int(self.town.merchants.terminals_from[merchant]) + self.chance.randrange(count) if count else NONE

    def pay(
        self, at_ms: int, customer: int, merchant: int, *, factor: float = 1.0, device: int | None = None
    ) -> PaymentRow:
        """One payment of this customer; the device is its own where one is used and none is named."""
        terminal = self.terminal(merchant)
        if device is None:
            device = int(self.device[customer]) if terminal == NONE else NONE
        cents = amount(self.town, customer, merchant, self.chance, factor=factor)
        return PaymentRow(at_ms, customer, merchant, terminal, cents, device)

    def move_on(self, day: int) -> None:
        """Let people leave and come back."""
        import numpy as np

        home = self.town.customers.home
        self.place = np.where(self.back_on <= day, home, self.place)
        leaving = np.flatnonzero((self.rng.random(self.town.size) < _TRIPS_A_DAY) & (self.place == home))
        self.place[leaving] = self.rng.choice(len(COUNTRIES), len(leaving), p=MERCHANT_WEIGHTS)
        self.back_on[leaving] = day + self.rng.integers(1, 12, len(leaving))


def ordinary_payments(life: Life, day: int, start_ms: int) -> Numbers:
    """Draw the day's unremarkable payments, one line for each, with the columns of `PaymentRow`.

    Args:
        life: The customers as they are on this day.
        day: Days since the stream began, 0 being a Monday.
        start_ms: The day's first instant, UTC milliseconds.
    """
    import numpy as np

    rng, customers = life.rng, life.town.customers
    # How much more or less is paid on this day than on others: the week, and two days of sales a month
    who = np.repeat(
        np.arange(life.town.size),
        rng.poisson(
            customers.payments_a_day * (_WEEKDAYS[day % 7] * (1.5 if day % _SALE_EVERY_DAYS in {18, 19} else 1.0))
        ),
    )
    merchant = _usual_merchants(life, who)
    at_ms = start_ms + _instants(life.town.hour_reach[customers.hours[who]], rng)
    terminals = life.town.merchants.terminals[merchant]
    terminal = life.town.merchants.terminals_from[merchant] + (rng.random(len(who)) * terminals).astype(np.int64)
    cents = amounts(life.town, who, merchant, rng)
    at_till = terminals > 0
    second = ~at_till & (rng.random(len(who)) < customers.second_device_share[who])
    device = np.where(second, life.second_device[who], life.device[who])
    # A till sees the telephone only where it is the wallet; a shop on the net sees nine in ten.
    seen = rng.random(len(who)) < np.where(at_till, customers.wallet_share[who], 0.9)
    return np.column_stack(
        [
            at_ms,
            who,
            merchant,
            np.where(at_till, terminal, NONE),
            cents,
            np.where(seen, device, NONE),
            np.zeros(len(who), np.int64),
        ]
    )


def bursts(life: Life, start_ms: int) -> list[PaymentRow]:
    """Draw what honest people do in bursts on the day that begins at `start_ms`."""
    rows: list[PaymentRow] = []
    for rate, burst in (
        (_SHOPPING_TRIPS_A_DAY, _shopping_trip),
        (_SMALL_BURSTS_A_DAY, _small_purchases),
        (_NEW_DEVICES_A_DAY, _new_device),
        (_GROUP_ORDERS_A_DAY, _group_order),
    ):
        for customer in life.rng.integers(0, life.town.size, life.rng.poisson(rate * life.town.size)).tolist():
            rows.extend(burst(life, customer, waking_moment(life, customer, start_ms)))
    if life.chance.random() < _SALES_A_DAY:
        rows.extend(_sale(life, start_ms))
    return rows


def waking_moment(life: Life, customer: int, start_ms: int) -> int:
    """An instant of this day at which this customer might well pay."""
    reach = life.town.hour_reach[life.town.customers.hours[customer]]
    draw = life.chance.random()
    hour = int((reach[:-1] < draw).sum())
    return start_ms + hour * HOUR_MS + life.chance.randrange(HOUR_MS)


def _usual_merchants(life: Life, who: Numbers) -> Numbers:
    """Habits at home, mostly the dearest; something new now and then; whatever is there on a journey."""
    import numpy as np

    rng, customers = life.rng, life.town.customers
    habit = customers.habits[who, (HABITS * rng.random(len(who)) ** 1.8).astype(np.int64)]
    away = life.place[who] != customers.home[who]
    country = np.where(rng.random(len(who)) < 0.5, customers.second_home[who], life.place[who])
    fresh = pick_merchants(life.town.merchants, np.where(away, life.place[who], country), rng)
    on_the_net = life.town.merchants.terminals[habit] == 0
    by_habit = (rng.random(len(who)) < _HABIT_SHARE) & (on_the_net | ~away)
    return np.where(by_habit, habit, fresh)


def _instants(hour_reach: Reals, rng: np.random.Generator) -> Numbers:
    """Draw one instant of the day for each line of hours' running shares, in milliseconds."""
    hour = (hour_reach[:, :-1] < rng.random(len(hour_reach))[:, None]).sum(axis=1)
    drawn: Numbers = hour * HOUR_MS + rng.integers(0, HOUR_MS, len(hour_reach))
    return drawn


def _shopping_trip(life: Life, customer: int, at_ms: int) -> list[PaymentRow]:
    chance, rows = life.chance, []
    place = int(life.place[customer])
    kinds = ("marketplace", "electronics", "services") if chance.random() < 0.3 else ("fashion", "kiosk", "restaurant")
    for _ in range(chance.randint(3, 9)):
        merchant = shop(life.town, place, chance.choice(kinds), chance)
        rows.append(life.pay(at_ms, customer, merchant, factor=chance.uniform(0.8, 2.5)))
        at_ms += chance.randrange(2 * MINUTE_MS, 25 * MINUTE_MS)
    return rows


def _small_purchases(life: Life, customer: int, at_ms: int) -> list[PaymentRow]:
    """Lives in a game, songs, rides: many small payments within minutes, and sometimes a large one after."""
    chance, rows = life.chance, []
    place = int(life.place[customer])
    merchant = shop(life.town, place, chance.choice(("games", "games", "transport", "kiosk")), chance)
    for _ in range(chance.randint(4, 12)):
        row = life.pay(at_ms, customer, merchant)
        rows.append(row._replace(cents=chance.choice((49, 99, 99, 149, 199, 299))))
        at_ms += chance.randrange(10 * SECOND_MS, 3 * MINUTE_MS)
    if chance.random() < 0.15:
        rows.append(life.pay(at_ms + HOUR_MS, customer, shop(life.town, place, "electronics", chance)))
    return rows


def _new_device(life: Life, customer: int, at_ms: int) -> list[PaymentRow]:
    """The old telephone is gone; what comes first with the new one is often large."""
    chance = life.chance
    life.device[customer] = life.new_device()
    if chance.random() < 0.5:
        return []
    kind = chance.choice(("electronics", "travel", "marketplace"))
    return [life.pay(at_ms, customer, shop(life.town, int(life.town.customers.home[customer]), kind, chance))]


def _group_order(life: Life, customer: int, at_ms: int) -> list[PaymentRow]:
    """Tickets for the team: each pays with the own card on the telephone of the one who orders."""
    chance, rows = life.chance, []
    merchant = shop(life.town, int(life.place[customer]), chance.choice(("travel", "services", "marketplace")), chance)
    device = int(life.device[customer])
    for payer in (customer, *(chance.randrange(life.town.size) for _ in range(chance.randint(1, 5)))):
        rows.append(life.pay(at_ms, payer, merchant, device=device))
        at_ms += chance.randrange(40 * SECOND_MS, 5 * MINUTE_MS)
    return rows


def _sale(life: Life, start_ms: int) -> list[PaymentRow]:
    """A shop on the net sells off: strangers come within two hours."""
    chance = life.chance
    kind = chance.choice([kind.name for kind in KINDS if kind.channel == "web"])
    merchant = shop(life.town, chance.choices(range(len(COUNTRIES)), MERCHANT_WEIGHTS)[0], kind, chance)
    opens_ms = start_ms + chance.randrange(8 * HOUR_MS, 20 * HOUR_MS)
    return [
        life.pay(opens_ms + chance.randrange(2 * HOUR_MS), chance.randrange(life.town.size), merchant)
        for _ in range(chance.randint(5, 10 + life.town.size // 50))
    ]
