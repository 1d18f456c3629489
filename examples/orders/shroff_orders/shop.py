"""A made-up shop on the net: who orders, how, and who orders with what is not theirs.

    shop = Shop(customers=2_000, seed=1)
    for order in shop.day(0):
        order.fraud  # None, or the kind of fraud: the truth, which no file carries

Honest life looks like fraud on purpose: telephones change their address on the net all day,
people move, send presents, share an address, hide behind a relay, and buy something dear
once a year. A thief who takes care looks like the customer. Nothing here knows a feature or a rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp
from random import Random
from typing import Final, NamedTuple

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
START_MS: Final = 1_767_571_200_000  # 2026-01-05, a Monday
FRAUDS: Final = ("takeover", "stolen_cards", "ring")
TOWNS: Final = (
    *("Berlin", "Hamburg", "Munich", "Cologne", "Leipzig", "Bremen", "Kiel", "Bonn", "Ulm", "Jena", "Trier", "Passau"),
    *("Vienna", "Graz", "Linz", "Utrecht", "Lille", "Poznan"),
)
_PROVIDERS: Final = ("post.example", "mail.example", "inbox.example", "letter.example", "box.example")
_ORDERS_A_DAY: Final = 0.08  # of a customer; the median has one in a fortnight
_NEW_A_DAY: Final = 0.003  # customers, by those that there are
_MOVES_A_DAY: Final = 0.0008
_EPISODES_A_DAY: Final = {"takeover": 0.00024, "stolen_cards": 0.00020, "ring": 0.00006}  # by customers
_HOURS: Final = (1, 1, 1, 1, 1, 1, 2, 3, 4, 5, 6, 6, 7, 7, 6, 6, 6, 7, 8, 10, 11, 9, 5, 2)


@dataclass(slots=True)
class Customer:
    """Somebody who orders: from where, to where, how often, and for how much (`cents`, the median of an order)."""

    id: str
    email: str | None
    town: str
    ip: str
    orders_a_day: float
    cents: float
    on_the_move: float  # share of orders from an address that the network lends for an hour
    has_relay: bool  # hides behind an address that many share


class ShopOrder(NamedTuple):
    """One order. `fraud` is the truth: None, or one of FRAUDS."""

    at_ms: int
    customer: str
    email: str | None
    ip: str | None
    town: str | None
    cents: int
    fraud: str | None = None


class Shop:
    """The shop's customers as they are on a day; days are asked for in their order."""

    def __init__(self, customers: int, seed: int) -> None:
        self.chance = Random(seed)  # noqa: S311 - made-up data, nothing secret
        self._made = 0
        self.customers: list[Customer] = []
        self._relays = [self._address("198.18") for _ in range(40)]
        self._domains = [f"firm-{number}.example" for number in range(max(4, customers // 60))]
        for _ in range(customers):
            self.customers.append(self._newcomer())

    def day(self, number: int) -> Iterator[ShopOrder]:
        """The orders of one day, 0 being 2026-01-05, a Monday, by their time."""
        start_ms = START_MS + number * DAY_MS
        orders = [*self._honest(start_ms), *self._frauds(start_ms)]
        yield from sorted(orders)

    # ---- honest life

    def _honest(self, start_ms: int) -> Iterator[ShopOrder]:
        chance = self.chance
        for _ in range(self._how_many(_NEW_A_DAY * len(self.customers))):
            new = self._newcomer()
            self.customers.append(new)
            yield self._order(new, self._moment(start_ms), factor=chance.choice((1.0, 1.0, 2.5)))
        for customer in self.customers:
            if chance.random() < _MOVES_A_DAY:
                customer.town, customer.ip = chance.choice(TOWNS), self._address("10.64")
            if chance.random() < customer.orders_a_day:
                yield from self._orders(customer, self._moment(start_ms))
        for _ in range(self._how_many(0.0004 * len(self.customers))):
            yield from self._services(self._moment(start_ms))

    def _orders(self, customer: Customer, at_ms: int) -> Iterator[ShopOrder]:
        """Mostly one; now and then a basket in parts, from the sofa and from the train."""
        chance = self.chance
        dear = chance.uniform(2.0, 7.0) if chance.random() < 0.02 else 1.0
        yield self._order(customer, at_ms, factor=dear)
        if chance.random() < 0.05:
            for _ in range(chance.randint(1, 4)):
                at_ms += chance.randrange(3 * MINUTE_MS, 50 * MINUTE_MS)
                yield self._order(customer, at_ms, factor=0.7)

    def _services(self, at_ms: int) -> Iterator[ShopOrder]:
        """Colleagues order together: one address on the net, one domain, one place, each with an account."""
        chance = self.chance
        domain, ip, town = chance.choice(self._domains), self._address("10.64"), chance.choice(TOWNS)
        for _ in range(chance.randint(2, 6)):
            customer = chance.choice(self.customers)
            order = self._order(customer, at_ms)
            yield order._replace(email=f"{customer.id}@{domain}", ip=ip, town=town)
            at_ms += chance.randrange(MINUTE_MS, 15 * MINUTE_MS)

    def _order(self, customer: Customer, at_ms: int, factor: float = 1.0) -> ShopOrder:
        chance = self.chance
        # A present goes elsewhere; what is fetched at the counter goes nowhere.
        town = chance.choice(TOWNS) if chance.random() < 0.06 else None if chance.random() < 0.05 else customer.town
        email = None if chance.random() < 0.04 else customer.email
        cents = max(199, round(customer.cents * factor * exp(chance.gauss(0.0, 0.55))))
        return ShopOrder(at_ms, customer.id, email, self._ip(customer), town, cents)

    def _ip(self, customer: Customer) -> str | None:
        draw = self.chance.random()
        if draw < 0.03:
            return None
        if customer.has_relay:
            return self.chance.choice(self._relays)
        return self._address("100.64") if draw < 0.03 + customer.on_the_move else customer.ip

    # ---- fraud

    def _frauds(self, start_ms: int) -> Iterator[ShopOrder]:
        for kind, rate in _EPISODES_A_DAY.items():
            for _ in range(self._how_many(rate * len(self.customers))):
                episode = {"takeover": self._takeover, "stolen_cards": self._stolen_cards, "ring": self._ring}[kind]
                for order in episode(self._moment(start_ms)):
                    yield order._replace(fraud=kind)

    def _takeover(self, at_ms: int) -> Iterator[ShopOrder]:
        """Somebody else has the password: some orders before it is noticed, to where they can be fetched."""
        chance, victim = self.chance, self.chance.choice(self.customers)
        careful = chance.random() < 0.4
        town = victim.town if chance.random() < 0.35 else chance.choice(TOWNS)
        ip = self._address("100.64") if careful else chance.choice((*self._relays[:8], self._address("10.64")))
        hops = not careful and chance.random() < 0.35  # by way of other people's computers, each time another one
        email = self._mail(victim.id, fresh=True) if chance.random() < 0.25 else victim.email
        for _ in range(chance.randint(1, 2) if careful else chance.randint(5, 9) if hops else chance.randint(2, 5)):
            ip = self._address("10.64") if hops else ip
            factor = chance.uniform(0.7, 2.0) if careful else chance.uniform(1.0, 5.0)
            cents = max(199, round(victim.cents * factor * exp(chance.gauss(0.0, 0.4))))
            yield ShopOrder(at_ms, victim.id, email, ip, town, cents)
            at_ms += (
                chance.randrange(4 * HOUR_MS, 40 * HOUR_MS) if careful else chance.randrange(MINUTE_MS, 3 * HOUR_MS)
            )

    def _stolen_cards(self, at_ms: int) -> Iterator[ShopOrder]:
        """New accounts that pay with bought card numbers: like any newcomer, in something of a hurry."""
        chance = self.chance
        town = chance.choice(TOWNS)
        for _ in range(chance.choice((1, 1, 2, 3))):
            new = self._newcomer()
            ip = self._ip(new) if chance.random() < 0.5 else chance.choice(self._relays)
            for _ in range(chance.choice((1, 1, 2, 3))):
                cents = max(199, round(new.cents * chance.uniform(0.8, 4.0)))
                yield ShopOrder(at_ms, new.id, new.email, ip, town if chance.random() < 0.7 else new.town, cents)
                at_ms += chance.randrange(2 * MINUTE_MS, 9 * HOUR_MS)

    def _ring(self, at_ms: int) -> Iterator[ShopOrder]:
        """One person with many accounts, for vouchers and for goods that are never paid, over some days."""
        chance = self.chance
        town, ips = chance.choice(TOWNS), [self._address("10.64"), *chance.sample(self._relays, 2)]
        shared = self._mail("x", fresh=True) if chance.random() < 0.4 else None
        domain = f"d{chance.randrange(10**6)}.example" if chance.random() < 0.5 else chance.choice(_PROVIDERS)
        for _ in range(chance.randint(3, 9)):
            new = self._newcomer()
            email = shared or f"{new.id}@{domain}"
            for _ in range(chance.choice((1, 1, 2))):
                cents = max(199, round(new.cents * chance.uniform(0.6, 2.2)))
                yield ShopOrder(at_ms, new.id, email, chance.choice(ips), town, cents)
                at_ms += chance.randrange(5 * MINUTE_MS, 20 * HOUR_MS)

    # ---- chance

    def _newcomer(self) -> Customer:
        chance = self.chance
        self._made += 1
        id_ = f"c-{self._made * 2_654_435_761 & 0xFFFF_FFFF:08x}"  # scattered: an id does not tell how new it is
        family = chance.choice(self.customers) if self.customers and chance.random() < 0.10 else None
        return Customer(
            id_,
            self._mail_of(family, id_),
            family.town if family else chance.choice(TOWNS),
            family.ip if family else self._address("10.64"),
            min(0.9, _ORDERS_A_DAY * exp(chance.gauss(0.0, 0.8))),
            4_500 * exp(chance.gauss(0.0, 0.6)),
            chance.choice((0.02, 0.1, 0.1, 0.3)),
            chance.random() < 0.06,
        )

    def _mail_of(self, family: Customer | None, id_: str) -> str | None:
        """One in four shares that of the family, one in eight never gives any."""
        if family is not None and self.chance.random() < 0.25:
            return family.email
        return self._mail(id_) if self.chance.random() < 0.88 else None

    def _mail(self, name: str, *, fresh: bool = False) -> str:
        chance = self.chance
        local = f"{name.replace('-', '')}{chance.randrange(1_000) if fresh else ''}"
        return f"{local}@{chance.choice(_PROVIDERS) if chance.random() < 0.8 else chance.choice(self._domains)}"

    def _address(self, net: str) -> str:
        """An address of a net that nobody has: homes, telephones and relays each have one."""
        chance = self.chance
        return f"{net}.{chance.randrange(256)}.{chance.randrange(256)}"

    def _moment(self, start_ms: int) -> int:
        return start_ms + self.chance.choices(range(24), _HOURS)[0] * HOUR_MS + self.chance.randrange(HOUR_MS)

    def _how_many(self, mean: float) -> int:
        """A whole number with this mean."""
        return int(mean) + (self.chance.random() < mean % 1.0)
