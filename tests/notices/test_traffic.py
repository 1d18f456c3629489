"""Alarms on raw traffic: an attack that no rule knows is found within a quarter of an hour, a quiet bank is quiet."""

from __future__ import annotations

from itertools import groupby
from random import Random
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from shroff.events.definitions import Field
from shroff.events.event import Event
from shroff.events.field_roles import is_category
from shroff.language.field_types import FieldType
from shroff.language.types import TEXT
from shroff.language.values import DAY_MS, HOUR_MS, MINUTE_MS
from shroff.notices import scheduled_notices
from shroff.notices.usual_counts import (
    BUCKET_MS,
    NEW_DEVICE,
    SPENDING,
    Customer,
    UnusualCount,
    UsualCounts,
    amount_band,
)
from shroff.services.attack.attackers import INVENTED_START_MS, AttackedType
from tests.support.effort import long_after
from tests.support.telling import FILES, NOW_MS, Bank, notice, payment, text_of

DAYS = 28
SLOW = {"takeover": (NEW_DEVICE, 6), "slow_drip": (NEW_DEVICE, 12), "mule": (SPENDING, 8)}  # hours until the alarm
FIELDS = "amount: money, country: text, bin: text?, device: text?,"
TYPED = {"events.yaml": FILES["events.yaml"].replace("amount: money,", FIELDS)}


def quiet_month(attacked: AttackedType, a_day: int) -> list[Event]:
    """Payments that follow the hours of the day, at few large and many small merchants, for usual amounts."""
    chance, count = np.random.default_rng(3), DAYS * a_day
    hours = np.sort(chance.integers(0, DAYS, count) * 24 + chance.normal(14, 4, count) % 24)
    merchants = np.minimum(chance.pareto(1.0, count) * 8, 299).astype(int)
    amounts = 50 + chance.lognormal(7.8, 0.8, count)
    found = []
    for number, (hour, merchant, amount) in enumerate(zip(hours, merchants, amounts, strict=True)):
        own = {"id": f"p-{number}", "at": INVENTED_START_MS + int(hour * HOUR_MS), "amount": int(amount)}
        card, month = number * 7919 % 500, int(hour) + number * 7919 % 500 * 17
        own["device"] = f"d-{card}-{month // 2_400}"  # each customer has another one after a hundred days
        own |= {"card": f"c-{card}", "merchant": f"m-{merchant}", "country": "DFI"[merchant % 3]}
        values = tuple(own.get(field.name) for field in attacked.type.fields)
        found.append(Event(attacked.type.name, own["id"], own["at"], values))
    return found


def alarms(attacked: AttackedType, events: list[Event]) -> list[UnusualCount]:
    """Alarms of events that come as they happen, looked for at the end of each five minutes."""
    counts, customers, found = UsualCounts(), dict[str, Customer](), list[UnusualCount]()
    for _, arrived in groupby(events, lambda event: event.time_ms // BUCKET_MS):
        for event in arrived:
            counts.add(("payment", ""), "", event.time_ms)
            for at, field in enumerate(attacked.type.fields):
                if field.name in {"merchant", "country"}:
                    counts.add(("payment", field.name), str(event.values[at]), event.time_ms)
            counts.add(("payment", "amount"), amount_band(attacked.units(event), 2), event.time_ms)
            card, device = (str(event.values[attacked.type.at(name)]) for name in ("card", "device"))
            customer = customers.setdefault(card, Customer(event.time_ms))
            for value in customer.unusual(device, attacked.units(event), event.time_ms):
                if value is not None:
                    counts.add(("payment", "customer"), value, event.time_ms)
        found += counts.unusual(5)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("a_day", long_after(1, [300, 1_000]))
def test_attacks_are_found_in_time_and_a_quiet_month_has_at_most_four_alarms(tmp_path, a_day):
    attacked = AttackedType(Bank(tmp_path, TYPED).project.definitions, "payment")
    quiet = quiet_month(attacked, a_day)
    assert len(alarms(attacked, quiet)) <= 4

    start_ms = INVENTED_START_MS + 9 * DAY_MS + 10 * HOUR_MS
    week = [event for event in quiet if event.time_ms < start_ms + 3 * HOUR_MS]
    for seed in range(2):
        attack = [planned.event for planned in attacked.attack("card_testing", week, start_ms, Random(seed))]
        began_ms = min(event.time_ms for event in attack)
        found = alarms(attacked, sorted([*week, *attack], key=lambda event: event.time_ms))
        assert found, f"seed {seed}"
        assert -BUCKET_MS < found[0].bucket * BUCKET_MS - began_ms <= 10 * MINUTE_MS, f"seed {seed}"


@pytest.mark.slow
def test_takeover_mules_and_a_slow_drip_show_in_what_is_not_usual_for_customers(tmp_path):
    attacked = AttackedType(Bank(tmp_path, TYPED).project.definitions, "payment")
    start_ms = INVENTED_START_MS + 18 * DAY_MS + 10 * HOUR_MS
    quiet = [event for event in quiet_month(attacked, 300) if event.time_ms < start_ms + 15 * HOUR_MS]
    for kind, (value, hours) in SLOW.items():
        attack = [planned.event for planned in attacked.attack(kind, quiet, start_ms, Random(1))]
        began_ms = min(event.time_ms for event in attack)
        end_ms = began_ms + hours * HOUR_MS
        seen = sorted([*quiet, *attack], key=lambda event: event.time_ms)
        found = alarms(attacked, [event for event in seen if event.time_ms < end_ms])

        assert {alarm.value for alarm in found} == {value}, kind
        assert found[0].bucket * BUCKET_MS > began_ms - BUCKET_MS, kind


def test_what_is_unusual_for_a_customer_is_found_from_sums_and_in_little_memory():
    random = Random(5)
    customer, told, paid, time_ms = Customer(0), [], [], 0
    for _ in range(400):
        time_ms += random.randrange(HOUR_MS)
        units = random.choice([100, 100, 100, 3_000])
        recent = [(at, spent) for at, spent in paid if at > time_ms - 6 * HOUR_MS] + [(time_ms, units)]
        mean = sum(spent for _, spent in paid) / max(len(paid), 1)
        is_much = len(paid) > 4 <= len(recent) and sum(spent for _, spent in recent) >= 12 * mean > 0
        paid.append((time_ms, units))
        told.append((customer.unusual("d", units, time_ms)[1] is not None, is_much))
    assert [found for found, _ in told] == [wanted for _, wanted in told]
    assert {wanted for _, wanted in told} == {True, False}

    hot = [customer.unusual(f"d-{number}", 1, time_ms + number) for number in range(5_000)]
    assert max(len(customer.recent), len(customer.devices)) <= 100
    assert hot[0][0] is not None
    assert hot[-1][0] is None, "one with so many devices has no usual one"
    assert customer.unusual("d", 1, time_ms + 5_000)[0] is None


@pytest.mark.slow
def test_a_burst_that_no_rule_knows_is_mailed_with_the_decisions_behind_it(tmp_path):
    bank = Bank(tmp_path, TYPED | notice("on: traffic\nto: [team@bank.example]\n", "traffic"))
    usual = [
        payment(
            f"u-{at}", "20.00", at=NOW_MS - at * 10 * MINUTE_MS, card=f"c-{at}", merchant=f"m-{at % 9}", country="DE"
        )
        for at in range(160, 0, -1)
    ]
    bank.pay(*usual)
    assert bank.tell().mails == []
    bank.pay(
        *(
            payment(f"a-{at}", "21.00", at=NOW_MS - at * 1_000, card=f"d-{at}", merchant="m-3", country="DE")
            for at in range(14, 0, -1)
        )
    )
    for _ in range(3):
        bank.tell()

    (mail,) = bank.post.read
    assert str(mail["Subject"]) == "small: merchant m-3 has far more events than usual"
    assert "merchant m-3 has 14 events in 15 minutes; 1.8 are usual." in text_of(mail)
    (link,) = [line.split()[-1] for line in text_of(mail).splitlines() if "/decisions?" in line]
    asked = parse_qs(urlsplit(link).query)
    assert (asked["text"], asked["event"], asked["outcome"]) == (["m-3"], ["payment"], ["all"])


@pytest.mark.slow
def test_a_start_reads_the_week_alone_and_counts_it_as_one_that_never_ended(tmp_path, monkeypatch):
    places: list[int] = []

    def read(log, definitions, upto, *, after, of=scheduled_notices.log_columns, **how):
        places.append(after)
        return of(log, definitions, upto, after=after, **how)

    monkeypatch.setattr(scheduled_notices, "log_columns", read)
    bank = Bank(tmp_path, FILES | notice("on: traffic\nto: [team@bank.example]\n", "traffic"))
    days = [*[20] * 100, *(at / 10 for at in range(60, 0, -1))]
    bank.pay(
        *(
            payment(f"p-{at}", "2.00", at=NOW_MS - int(day * DAY_MS) + at, merchant="m-3")
            for at, day in enumerate(days)
        ),
        *(payment(f"a-{at}", "2.00", at=NOW_MS - 1_000 + at, merchant=f"m-{at % 2}") for at in range(14)),
    )
    bank.tell()
    bank.tell()

    assert min(places) == 101  # the files' version, and what is older than a week
    assert {str(mail["Subject"]) for mail in bank.post.read} == {
        f"small: merchant {shop} has far more events than usual" for shop in ("m-0", "m-1")
    }


@pytest.mark.slow
def test_a_burst_of_amounts_leads_to_those_amounts_alone(tmp_path):
    bank = Bank(tmp_path, FILES | notice("on: traffic\nto: [team@bank.example]\n", "traffic"))
    amounts = [*["20.00"] * 160, *["5.00"] * 14]
    times_ms = [NOW_MS - at * 10 * MINUTE_MS for at in range(160, 0, -1)] + [NOW_MS - at * 1_000 for at in range(14)]
    paid = enumerate(zip(amounts, times_ms, strict=True))
    bank.pay(*(payment(f"p-{at}", amount, at=ms, card=f"c-{at}") for at, (amount, ms) in paid))
    for _ in range(3):
        bank.tell()

    links = [word for mail in bank.post.read for word in text_of(mail).split() if "min_amount=" in word]
    asked = [parse_qs(urlsplit(link).query) for link in links]
    assert [(each["min_amount"], each["max_amount"]) for each in asked] == [(["1.00"], ["9.99"])]


def test_no_key_and_no_words_of_a_person_are_a_category():
    keys = ["account", "account_id", "to_account", "beneficiary_account", "license_plate", "message", "customer_code"]
    keys += ["amount.rate"]  # which stands beside converted money
    shared = ["country", "country_code", "merchant_id", "shop", "device_type", "card_brand", "age", "channel"]
    assert [name for name in [*keys, *shared] if is_category(Field(name, FieldType(TEXT)))] == shared
