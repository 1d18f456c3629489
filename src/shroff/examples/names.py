"""Names in the synthetic bank's payments: merchants, customers, cards and devices.

    for item in BankNames(events=100_000, seed=2).named(with_labels(payments, 2)):
        item.event  # {..., "merchant_name": "Corvane Markt", "city": "Leipzig", "card_label": "•••• 4821", ...}

All names are invented: each is a combination that follows from an id, so that no amount and no fraud of a bank depends
on them. Mail addresses end in `.example`, which nobody can own (RFC 2606).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from decimal import Decimal
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

from shroff.examples.bank import BankLabel, Payment, town_of
from shroff.examples.town import COUNTRIES, KINDS
from shroff.json_types import TextMapping
from shroff.language.types import PLACES

if TYPE_CHECKING:
    from shroff.examples.town import Town

_STEMS = (
    "Corvane Pellmark Tarnwick Millhurn Ostervale Brindlow Quillmar Lindquel Veltora Morrowin Saltmere Fennholt "
    "Aldersee Kestrow Zandrup Wexholm Tillmora Orsanne Belvarin Hollenau Irmstede Jorvane Kaldenau Mandelau Nettlow "
    "Ovenhal Petravel Rosbrunn Silbrook Thornquay Ullstrand Varnholt Wiesmere Yarrowen Zellbrook Ambervil Drosselau "
    "Eskwater Grellinge Hasselmoor"
).split()
_FIRST = (
    "Jana Milan Leonie Tomasz Ada Henrik Sofia Emil Marta Jonas Clara Pieter Nora Luca Hanna Oskar Lea Mateusz Elif "
    "Bruno Ida Felix Amelie Karol Mila Anton Greta Sander Julia Theo Paula Moritz Agata Noah Yara Simon Alma Rafael "
    "Edda Levi Romy"
).split()
_LAST = tuple(
    first + last
    for first in "Alt Bren Dorn Eber Falk Grun Hasel Immer Korn Lind Moos Nord Oster Rosen Sand Tal Ulm Weid".split()
    for last in "auer bach dal feld gaard hoff kamp land mark rup stede wick".split()
)
_MAIL_DOMAINS = ("mail.example", "post.example", "inbox.example")
_DEVICES = tuple(
    f"{make}, {browser}"
    for makes, browsers in (
        (("iPhone 14", "iPhone 12", "iPad", "MacBook"), ("Safari", "Chrome")),
        (("Pixel 8", "Galaxy S23", "Xperia 5", "Galaxy A54", "Moto G84", "Pixel 6a"), ("Chrome", "Firefox")),
        (("Windows PC", "Linux PC"), ("Chrome", "Edge", "Firefox")),
    )
    for make in makes
    for browser in browsers
)
RATES = {"GBP": "1.1542", "PLN": "0.2346", "JPY": "0.0061"}
"""Euros for one unit of the currencies beside the euro."""
_CURRENCIES = {"GB": "GBP", "PL": "PLN"}
_IN_YEN = {"TR", "US", "TH"}  # whose shops on the net take yen
_SCATTERED = 2_654_435_761  # an odd prime: neighbors in number come far from each other


class MerchantNames(NamedTuple):
    """Texts about a merchant, and the currency that it takes."""

    name: str
    category: str
    city: str
    currency: str


class BankNames:
    """The names in a bank that was made for so many payments by a seed."""

    def __init__(self, events: int, seed: int) -> None:
        self._town: Town = town_of(events, seed)
        self._merchants: dict[str, MerchantNames] = {}
        self._parts = tomllib.loads((resources.files(__package__) / "names.toml").read_text("utf-8"))

    def named(self, items: Iterable[Payment | BankLabel]) -> Iterator[Payment | BankLabel]:
        """The same payments with names added, in the merchant's currency; labels as they are. Cost: about 3 us each."""
        merchants = self._merchants
        for item in items:
            if isinstance(item, Payment):
                event = item.event
                merchant = merchants.get(event["merchant"])
                if merchant is None:
                    merchant = merchants[event["merchant"]] = self.merchant(int(event["merchant"][2:]))
                customer = int(event["card"][2:])
                event["merchant_name"], event["category"], event["city"], currency = merchant
                event["currency"] = currency
                if currency in RATES:
                    event["amount"] = f"{float(event['amount']) / float(RATES[currency]):.{PLACES.get(currency, 2)}f}"
                event["card_label"] = card_label(customer)
                event["customer"], event["email"] = person(customer)
                if (device := event.get("device")) is not None:
                    event["device_name"] = device_name(int(device.removeprefix("d-"), 16))
            yield item

    def merchant(self, number: int) -> MerchantNames:
        """The name, category, city and currency of a merchant: by its kind and country, as its amounts are."""
        merchants = self._town.merchants
        kind, country = KINDS[merchants.kind[number]], COUNTRIES[merchants.country[number]]
        german, cities = self._parts["german"], self._parts["cities"][country]
        words = german if country in {"DE", "AT"} and kind.name in german else self._parts["english"]
        draw = number * _SCATTERED >> 7
        stem, draw = _STEMS[draw % len(_STEMS)], draw // len(_STEMS)
        word, draw = words[kind.name][draw % len(words[kind.name])], draw // len(words[kind.name])
        currency = "JPY" if kind.channel == "web" and country in _IN_YEN else _CURRENCIES.get(country, "EUR")
        return MerchantNames(f"{stem} {word}", kind.name, cities[draw % len(cities)], currency)


def euros(event: TextMapping) -> str:
    """The amount of a payment in euros, with cents."""
    rate = RATES.get(event.get("currency", ""))
    return f"{Decimal(event['amount']) * Decimal(rate):.2f}" if rate else event["amount"]


def card_label(customer: int) -> str:
    """The masked number of a customer's card.

    >>> card_label(31)
    '•••• 3412'
    """
    return f"•••• {(customer * _SCATTERED + 4_821) % 10_000:04d}"


def person(customer: int) -> tuple[str, str]:
    """The name and the mail address of a customer; no two customers have the same address.

    >>> person(31)
    ('Sander Brenmark', 'sander.brenmark@post.example')
    """
    again, drawn = divmod(customer, len(_FIRST) * len(_LAST))
    drawn = drawn * _SCATTERED % (len(_FIRST) * len(_LAST))
    first, last = _FIRST[drawn % len(_FIRST)], _LAST[drawn // len(_FIRST)]
    number = again + 1 if again else ""
    return f"{first} {last}", f"{first}.{last}{number}@{_MAIL_DOMAINS[drawn % len(_MAIL_DOMAINS)]}".lower()


def device_name(number: int) -> str:
    """The make and the browser of a device.

    >>> device_name(0x9E3779B1)
    'Galaxy A54, Firefox'
    """
    return _DEVICES[(number >> 5) % len(_DEVICES)]
