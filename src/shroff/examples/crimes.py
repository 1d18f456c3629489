"""Fraud against the synthetic bank's customers: six kinds.

Each is a story told by what the thief has and wants (a card, a number, a password,
a terminal), never by what would be noticed: nothing here knows a rule, a feature or
a threshold. A thief who takes care looks like the customer, and some do.

An episode gives rows that may reach days ahead; the stream holds them until then.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from shroff.examples.days import DAY_MS, HOUR_MS, MINUTE_MS, NONE, SECOND_MS, Life, PaymentRow, waking_moment
from shroff.examples.town import COUNTRIES, MERCHANT_WEIGHTS, shop

FRAUDS = ("stolen_card", "card_testing", "account_takeover", "compromised_terminal", "mule", "bad_merchant")
FRAUD_SHARE = 0.0075
"""Frauds by all payments: what card issuers see is a tenth of it, but then nobody could watch a demo."""

_GOODS = ("electronics", "marketplace", "travel", "games", "services")
_SHARE_OF_FRAUDS = (0.27, 0.23, 0.19, 0.12, 0.10, 0.09)
_ROWS_AN_EPISODE = (4.5, 13.5, 2.4, 7.3, 6.2, 10.0)


class Crimes:
    """Decides how many episodes of each kind begin on a day, so that the share of frauds is near `FRAUD_SHARE`."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._due = [life.chance.random() for _ in FRAUDS]

    def begin(self, start_ms: int) -> list[PaymentRow]:
        """Draw the episodes that begin on the day that begins at `start_ms`."""
        rows: list[PaymentRow] = []
        payments_a_day = float(self._life.town.customers.payments_a_day.sum())
        for kind, episode in enumerate(_EPISODES):
            self._due[kind] += payments_a_day * FRAUD_SHARE * _SHARE_OF_FRAUDS[kind] / _ROWS_AN_EPISODE[kind]
            while self._due[kind] >= 1.0:
                self._due[kind] -= self._life.chance.uniform(0.5, 1.5)
                rows.extend(row._replace(fraud=kind + 1) for row in episode(self._life, start_ms))
        return rows


def _victim(life: Life) -> int:
    return life.chance.randrange(life.town.size)


def _any_hour(chance: Random, start_ms: int) -> int:
    return start_ms + chance.randrange(DAY_MS)


def _anywhere(chance: Random) -> int:
    return chance.choices(range(len(COUNTRIES)), MERCHANT_WEIGHTS)[0]


def _stolen_card(life: Life, start_ms: int) -> list[PaymentRow]:
    """A purse is gone: the thief buys until the card stops, near where the customer is or a border away."""
    chance, rows, customer = life.chance, [], _victim(life)
    place = int(life.place[customer]) if chance.random() < 0.75 else _anywhere(chance)
    careful = chance.random() < 0.45
    at_ms = waking_moment(life, customer, start_ms)
    for _ in range(chance.randint(1, 3) if careful else chance.randint(3, 9)):
        kind = chance.choice("groceries fashion fuel restaurant kiosk cash electronics".split())
        factor = chance.uniform(0.6, 1.8) if careful else chance.uniform(1.0, 6.0)
        rows.append(life.pay(at_ms, customer, shop(life.town, place, kind, chance), factor=factor))
        at_ms += chance.randrange(HOUR_MS, 9 * HOUR_MS) if careful else chance.randrange(MINUTE_MS, 25 * MINUTE_MS)
    return rows


def _card_testing(life: Life, start_ms: int) -> list[PaymentRow]:
    """A list of numbers was bought: tiny payments show which are alive, and those buy something dear."""
    chance, rows = life.chance, []
    merchant = shop(life.town, _anywhere(chance), chance.choice(("games", "services", "marketplace")), chance)
    device = life.new_device() if chance.random() < 0.7 else NONE
    at_ms = _any_hour(chance, start_ms)
    for _ in range(chance.choice((1, 1, 2, 3, 4))):
        customer = _victim(life)
        for _ in range(chance.randint(2, 8)):
            row = life.pay(at_ms, customer, merchant, device=device)
            rows.append(row._replace(cents=chance.randint(15, 240)))
            at_ms += chance.randrange(5 * SECOND_MS, 3 * MINUTE_MS)
        for _ in range(chance.choice((0, 1, 1, 2))):
            later_ms = at_ms + chance.randrange(10 * MINUTE_MS, 30 * HOUR_MS)
            goods = shop(life.town, _anywhere(chance), chance.choice(_GOODS[:3]), chance)
            rows.append(life.pay(later_ms, customer, goods, factor=chance.uniform(0.8, 5.0), device=device))
    return rows


def _account_takeover(life: Life, start_ms: int) -> list[PaymentRow]:
    """A password was phished: somebody else shops on the net, mostly from a device of his own."""
    chance, rows, customer = life.chance, [], _victim(life)
    device = life.new_device() if chance.random() < 0.8 else int(life.device[customer])
    home = int(life.town.customers.home[customer])
    at_ms = _any_hour(chance, start_ms)
    for _ in range(chance.choice((1, 2, 2, 3, 4))):
        merchant = shop(life.town, home if chance.random() < 0.7 else _anywhere(chance), chance.choice(_GOODS), chance)
        rows.append(life.pay(at_ms, customer, merchant, factor=chance.uniform(0.8, 6.0), device=device))
        at_ms += chance.randrange(4 * MINUTE_MS, 14 * HOUR_MS)
    return rows


def _compromised_terminal(life: Life, start_ms: int) -> list[PaymentRow]:
    """A till copies cards; days later the copies are used, a few times each, far from one another."""
    chance, rows = life.chance, []
    country = int(life.town.customers.home[_victim(life)])
    merchant = shop(life.town, country, chance.choice(("fuel", "restaurant", "groceries", "cash")), chance)
    for customer in _regulars(life, merchant, chance.randint(2, 6)):
        at_ms = waking_moment(life, customer, start_ms) + chance.randrange(1, 12) * DAY_MS
        place = country if chance.random() < 0.6 else _anywhere(chance)
        for _ in range(chance.choice((1, 1, 2, 3))):
            used_at = shop(life.town, place, chance.choice(("cash", "cash", "fashion", "fuel", "groceries")), chance)
            rows.append(life.pay(at_ms, customer, used_at, factor=chance.uniform(0.8, 4.0)))
            at_ms += chance.randrange(10 * MINUTE_MS, 30 * HOUR_MS)
    return rows


def _mule(life: Life, start_ms: int) -> list[PaymentRow]:
    """An account lent to thieves: what came in leaves as cash, some days in a row."""
    chance, rows, customer = life.chance, [], _victim(life)
    machines = [shop(life.town, int(life.place[customer]), "cash", chance) for _ in range(3)]
    for day in range(chance.randint(1, 4)):
        at_ms = waking_moment(life, customer, start_ms + day * DAY_MS)
        for _ in range(chance.randint(1, 4)):
            rows.append(life.pay(at_ms, customer, chance.choice(machines), factor=chance.uniform(1.0, 4.0)))
            at_ms += chance.randrange(3 * MINUTE_MS, 50 * MINUTE_MS)
    return rows


def _bad_merchant(life: Life, start_ms: int) -> list[PaymentRow]:
    """A shop about to close charges the cards it knows once more, over some days, nothing out of the way."""
    chance = life.chance
    merchant = shop(life.town, int(life.town.customers.home[_victim(life)]), chance.choice(_GOODS), chance)
    rows = []
    for customer in _regulars(life, merchant, chance.randint(5, 15)):
        at_ms = _any_hour(chance, start_ms) + chance.randrange(5) * DAY_MS
        rows.append(life.pay(at_ms, customer, merchant, factor=chance.uniform(0.8, 1.6)))
    return rows


def _regulars(life: Life, merchant: int, count: int) -> list[int]:
    """Some who come here by habit, and passers-by where these are too few."""
    import numpy as np

    known = np.flatnonzero((life.town.customers.habits == merchant).any(axis=1)).tolist()
    life.chance.shuffle(known)
    return known[:count] + [_victim(life) for _ in range(count - len(known))]


_EPISODES: tuple[Callable[[Life, int], list[PaymentRow]], ...] = (
    _stolen_card,
    _card_testing,
    _account_takeover,
    _compromised_terminal,
    _mule,
    _bad_merchant,
)
