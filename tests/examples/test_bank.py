"""The made-up bank: repeatable, valid, and as hard as it claims to be."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from hashlib import sha256
from itertools import islice

import pytest

from shroff.errors import UsageError
from shroff.examples.bank import (
    START_MS,
    BankLabel,
    BankPeriod,
    Payment,
    bank,
    bank_from,
    labels,
    stretch_upto,
    with_labels,
)
from shroff.examples.crimes import FRAUDS
from shroff.examples.days import DAY_MS

EVENTS = 30_000
SEEDS = (1, 2, 3, 4, 5)
REQUIRED = {"payment_id", "paid_at", "card", "merchant", "amount", "country", "channel"}


@cache
def payments(seed: int) -> tuple[Payment, ...]:
    return tuple(bank(EVENTS, seed))


def paid_at(payment: Payment) -> datetime:
    return datetime.fromisoformat(payment.event["paid_at"])


@pytest.mark.slow
def test_the_same_seed_gives_the_same_payments_and_labels():
    again = list(bank(EVENTS, 1))

    assert again == list(payments(1))
    assert list(labels(again, 7)) == list(labels(payments(1), 7))


DIGEST = """
from hashlib import sha256
from shroff.examples.bank import bank, with_labels
digest = sha256()
for item in with_labels(bank(5_000, 3), 3):
    digest.update(repr(item).encode())
print(digest.hexdigest())
"""


@pytest.mark.slow
def test_another_process_gives_the_same_bytes_however_it_hashes():
    digest = sha256()
    for item in with_labels(bank(5_000, 3), 3):
        digest.update(repr(item).encode())

    assert {printed(DIGEST, PYTHONHASHSEED=seed) for seed in ("0", "1")} == {digest.hexdigest()}


def printed(program: str, **environment: str) -> str:
    """What a Python program prints in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ | environment
    )
    return ran.stdout.strip()


PEAK = """
from itertools import islice
from resource import RUSAGE_SELF, getrusage
from shroff.examples.bank import bank, with_labels
for _ in islice(with_labels(bank(1_000_000_000, 3), 3), {count}):
    pass
print(getrusage(RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_stays_as_it_is_however_many_payments_were_given():
    unit = 1_024 * (1_024 if sys.platform == "darwin" else 1)  # of ru_maxrss: kilobytes, there bytes
    few, many = (int(printed(PEAK.format(count=count))) / unit for count in (50_000, 200_000))

    assert many - few < 40  # megabytes; 150,000 payments kept came to 170


def test_another_seed_gives_another_bank():
    first, second = payments(1)[:1_000], payments(2)[:1_000]

    assert sum(a.event == b.event for a, b in zip(first, second, strict=True)) == 0
    assert list(labels(first, 1)) != list(labels(first, 2))


@pytest.mark.parametrize("events", [0, 1, 59, 2_500])
def test_as_many_payments_come_as_were_asked_for(events):
    assert len(list(bank(events, 1))) == events


# ---- a bank that is shown as of now


@pytest.mark.parametrize("events", [1, 3_000])
@pytest.mark.parametrize("now_ms", [START_MS + 3 * DAY_MS + 7, START_MS + 300 * DAY_MS])
def test_of_so_many_payments_the_last_has_just_arrived_and_more_come(events, now_ms):
    stretch = stretch_upto(events, 2, now_ms)
    found = list(islice(bank_from(events, 2, stretch), events + 200))
    now = datetime.fromtimestamp(now_ms / 1_000, UTC)

    assert (stretch.start_ms - START_MS) % (7 * DAY_MS) == 0
    assert max(map(paid_at, found[:events])) <= now
    assert paid_at(found[events - 1]) > now - timedelta(days=1)
    assert [item.event["payment_id"] for item in found] == [f"p-{number}" for number in range(1, events + 201)]
    # What arrives later was paid at most an hour before.
    assert min(map(paid_at, found[events:])) > now - timedelta(hours=1)
    assert max(map(paid_at, found[events:])) > now


def test_a_stretch_from_the_beginning_is_the_bank_itself():
    assert list(islice(bank_from(2_000, 3, BankPeriod(START_MS, 0)), 2_000)) == list(bank(2_000, 3))
    shown = list(islice(bank_from(2_000, 3, BankPeriod(START_MS, 500)), 1_500))
    numbered = [Payment({**item.event, "payment_id": ""}, item.fraud) for item in shown]
    assert numbered == [Payment({**item.event, "payment_id": ""}, item.fraud) for item in list(bank(2_000, 3))[500:]]


def test_fewer_than_none_are_refused():
    with pytest.raises(UsageError, match="must not be below 0, got -1"):
        stretch_upto(-1, 1, START_MS)
    with pytest.raises(UsageError, match="must not be below 0, got -1"):
        next(bank(-1, 1))


@pytest.mark.slow
def test_the_stream_begins_without_making_all_of_it():
    first = list(islice(bank(1_000_000_000, 1), 3))

    assert [payment.event["payment_id"] for payment in first] == ["p-1", "p-2", "p-3"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_every_value_is_valid(seed):
    for number, payment in enumerate(payments(seed), 1):
        event = payment.event

        assert event.keys() - {"terminal", "device"} == REQUIRED
        assert all(isinstance(value, str) and value for value in event.values())
        assert event["payment_id"] == f"p-{number}"
        assert event["paid_at"].endswith("Z")
        assert len(event["paid_at"]) == len("2026-01-05T00:00:00.000Z")
        assert Decimal(event["amount"]) > 0
        assert Decimal(event["amount"]).as_tuple().exponent == -2
        assert len(event["country"]) == 2
        assert event["channel"] in {"pos", "web", "atm"}
        assert ("terminal" in event) == (event["channel"] != "web")
        assert payment.fraud is None or payment.fraud in FRAUDS


@pytest.mark.parametrize("seed", SEEDS)
def test_times_begin_on_the_day_named_and_rise_within_the_hour(seed):
    times = [paid_at(payment) for payment in payments(seed)]
    latest = times[0]
    late = 0
    for time in times:
        assert latest - time < timedelta(hours=1)
        late += time < latest
        latest = max(latest, time)

    assert times[0].isoformat().startswith("2026-01-05T")
    assert 0.001 < late / EVENTS < 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_some_of_all_six_kinds_of_fraud_are_rare(seed):
    frauds = [payment.fraud for payment in payments(seed) if payment.fraud]

    assert 0.005 <= len(frauds) / EVENTS <= 0.010
    assert set(frauds) == set(FRAUDS)


@pytest.mark.parametrize("seed", SEEDS)
def test_frauds_are_neither_all_large_nor_all_small(seed):
    honest = sorted(Decimal(p.event["amount"]) for p in payments(seed) if p.fraud is None)
    tenth, highest = honest[len(honest) // 10], honest[-1]
    frauds = [Decimal(p.event["amount"]) for p in payments(seed) if p.fraud]

    assert sum(tenth < amount < highest for amount in frauds) > 0.5 * len(frauds)


def test_labels_come_in_order_each_before_the_first_payment_that_is_later():
    latest_payment, latest_label = "", ""
    count = 0
    for item in with_labels(payments(1), 1):
        if isinstance(item, BankLabel):
            assert item.event["known_at"] >= latest_label
            latest_label = item.event["known_at"]
            assert latest_label > latest_payment
            count += 1
        else:
            latest_payment = max(latest_payment, item.event["paid_at"])
            assert latest_label <= latest_payment

    assert count == len(list(labels(payments(1), 1)))
    assert [item for item in with_labels(payments(1), 1) if isinstance(item, Payment)] == list(payments(1))


def found_out(seed: int) -> list[tuple[Payment, BankLabel]]:
    by_id = {f"payment/{payment.event['payment_id']}": payment for payment in payments(seed)}
    return [(by_id[label.event["event"]], label) for label in labels(payments(seed), seed)]


def test_a_label_names_its_payment_once_and_comes_after_it():
    pairs = found_out(1)

    assert len({label.event["event"] for _, label in pairs}) == len(pairs)
    for payment, label in pairs:
        assert label.event.keys() == {"event", "verdict", "source", "known_at"}
        assert label.event["verdict"] in {"fraud", "genuine"}
        assert label.event["source"] in {"chargeback", "analyst", "customer"}
        assert label.event["known_at"] > payment.event["paid_at"]


def test_labels_are_late_sometimes_wrong_and_sometimes_never_come():
    pairs = [pair for seed in SEEDS for pair in found_out(seed)]
    of_frauds = [(payment, label) for payment, label in pairs if payment.fraud]
    frauds = sum(payment.fraud is not None for seed in SEEDS for payment in payments(seed))
    wrong = sum((payment.fraud is not None) != (label.event["verdict"] == "fraud") for payment, label in pairs)
    delays = sorted(datetime.fromisoformat(label.event["known_at"]) - paid_at(payment) for payment, label in of_frauds)

    assert 0.88 < len(of_frauds) / frauds < 0.92  # nine in ten
    assert 0.01 < wrong / len(pairs) < 0.03  # one in fifty
    assert timedelta(days=2) < delays[len(delays) // 2] < timedelta(days=14)
    assert delays[-1] > timedelta(days=21)
