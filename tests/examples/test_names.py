"""The names in the synthetic bank: beside what was drawn, enough of them, and nobody's."""

from __future__ import annotations

from decimal import Decimal
from itertools import islice

import yaml

from shroff.examples.bank import BankLabel, Payment, bank, with_labels
from shroff.examples.demo import FIELDS, RING, named, with_ring
from shroff.examples.names import RATES, BankNames, card_label, device_name, euros, person
from shroff.examples.town import COUNTRIES, KINDS

EVENTS = 2_000


def test_names_change_nothing_that_was_drawn_and_are_the_declared_fields():
    plain = list(with_labels(bank(EVENTS, 3), 3))
    named = list(BankNames(EVENTS, 3).named(with_labels(bank(EVENTS, 3), 3)))
    added = yaml.safe_load(FIELDS)

    assert [_without(item, added) for item in named] == [_without(item, {}) for item in plain]
    payments = [item.event for item in named if isinstance(item, Payment)]
    for event in payments:
        assert added.keys() - event.keys() == (set() if "device" in event else {"device_name"})
    assert {name for name, type_ in added.items() if "personal" in type_} == {"customer", "email"}


def test_amounts_are_in_the_merchants_currency_and_convert_to_what_was_drawn():
    plain = list(bank(EVENTS, 3))
    named = [item.event for item in BankNames(EVENTS, 3).named(bank(EVENTS, 3)) if isinstance(item, Payment)]
    apart = [
        abs(Decimal(euros(event)) - Decimal(payment.event["amount"]))
        for event, payment in zip(named, plain, strict=True)
    ]

    assert {event["currency"] for event in named} == {"EUR", *RATES}
    assert max(apart) <= Decimal("0.01"), "a penny is more than a cent"
    assert all(("." in event["amount"]) == (event["currency"] != "JPY") for event in named)
    assert all(euros(event) == event["amount"] for event in named if event["currency"] == "EUR")


def test_a_merchant_is_named_for_its_kind_and_lies_in_its_country():
    names = BankNames(100_000, 2)
    events = [name.event for name in islice(names.named(bank(100_000, 2)), EVENTS)]
    channels = {kind.name: kind.channel for kind in KINDS}
    cities: dict[str, str] = {}

    assert len({names.merchant(number).name for number in range(240)}) >= 200
    assert {event["country"] for event in events} == set(COUNTRIES)
    for event in events:
        assert channels[event["category"]] == event["channel"]
        assert cities.setdefault(event["city"], event["country"]) == event["country"]


def test_each_customer_has_an_address_that_nobody_can_own():
    addresses = [person(number)[1] for number in range(20_000)]

    assert len(set(addresses)) == len(addresses)
    assert all(address.endswith(".example") for address in addresses)
    assert card_label(0) == "•••• 4821"


def _without(item: Payment | BankLabel, added: dict[str, str]) -> Payment | BankLabel:
    if isinstance(item, BankLabel):
        return item
    kept = {name: value for name, value in item.event.items() if name not in added and name != "amount"}
    return Payment(kept, item.fraud)


def test_a_ring_of_cards_shares_devices_and_only_the_devices_of_its_thieves_are_others():
    plain = list(bank(20_000, 2))
    ringed = [item for item in with_ring(bank(20_000, 2)) if isinstance(item, Payment)]
    changed = [new for old, new in zip(plain, ringed, strict=True) if old != new]
    rings: list[set[str]] = []
    for event in [item.event for item in ringed if item.event.get("device") in RING]:
        values = {event["card"], event["device"]}
        rings = [
            *(ring for ring in rings if not ring & values),
            values.union(*(ring for ring in rings if ring & values)),
        ]

    assert all((item.fraud, item.event["device"] in RING) == ("account_takeover", True) for item in changed)
    assert [_without(new, {"device": 0}) for new in ringed] == [_without(old, {"device": 0}) for old in plain]
    assert {item.event["payment_id"] for item in changed} == {
        item.event["payment_id"] for item in ringed if item.event.get("device") in RING
    }, "no device of the town has the number of one of the ring"
    (ring,) = rings
    assert len(ring - set(RING)) >= 4
    assert len({device_name(int(device.removeprefix("d-"), 16)) for device in RING}) == len(RING)


def test_the_served_bank_has_the_ring_with_names():
    items = [item.event for item in named(bank(20_000, 2), 20_000, 2) if isinstance(item, Payment)]
    in_ring = [event for event in items if event.get("device") in RING]

    assert in_ring
    assert all(event["device_name"] == device_name(int(event["device"].removeprefix("d-"), 16)) for event in in_ring)
