"""A made-up bank: payments of customers with habits, some of them frauds, and the labels that come late.

    for payment in bank(events=1_000, seed=1):
        payment.event  # {"payment_id": "p-1", "paid_at": "2026-01-05T00:03:12.214Z", "card": "c-000031", ...}
        payment.fraud  # None, or the kind of fraud: the truth, which no event carries

Honest on purpose: fraud overlaps with normal life, labels are late, wrong or never come, and nothing that
makes the data knows a rule. `town` has who lives there, `days` the honest payments, `crimes` the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import islice
from random import Random
from typing import TYPE_CHECKING

from shroff.errors import UsageError
from shroff.examples.crimes import FRAUDS, Crimes
from shroff.examples.days import DAY_MS, MINUTE_MS, SECOND_MS, Life, bursts, ordinary_payments
from shroff.examples.town import COUNTRIES, KINDS, Town, draw_town
from shroff.json_types import TextDict
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    import numpy as np

    from shroff.examples.town import Numbers

START_MS = 1_767_571_200_000
"""2026-01-05T00:00:00Z, a Monday."""

NEVER_REPORTED_RATE = 0.10
"""Share of frauds that nobody ever reports."""
WRONG_RATE = 0.02
"""Share of labels with the wrong verdict: friendly fraud, slips, customers who forgot."""
ASKED_RATE = 0.005
"""Share of honest payments that somebody asks about, and gets a label for."""

_WEEKS, _WEEK_MS = 10, 7 * DAY_MS
_LATE_RATE = 0.03
_DELAY_DAYS = {
    "stolen_card": (0.2, 12.0, "customer"),
    "card_testing": (1.0, 20.0, "customer"),
    "account_takeover": (0.5, 25.0, "customer"),
    "compromised_terminal": (3.0, 35.0, "chargeback"),
    "mule": (5.0, 40.0, "analyst"),
    "bad_merchant": (8.0, 45.0, "chargeback"),
    None: (0.1, 6.0, "analyst"),
}


class Payment(FrozenStruct):
    """One payment: the event's fields as JSON has them, and apart from them the truth.

    `terminal` and `device` are left out where there is none.
    """

    event: TextDict
    fraud: str | None


class BankLabel(FrozenStruct):
    """A label: `event`, `verdict`, `source` and `known_at`, right or wrong."""

    event: TextDict


def bank(events: int, seed: int, start_ms: int = START_MS) -> Iterator[Payment]:
    """Give so many payments in the order in which they arrive.

    Times begin at `start_ms`, the first instant of a Monday, UTC milliseconds; without it on
    2026-01-05. Three in a hundred arrive late, by seconds or minutes and always within the
    hour, so times nearly rise. The same number and seed give the same bytes; another number
    is another town. Under two months up to 12 million payments, longer beyond.

    Raises: UsageError if `events` is below 0.
    Cost: about 5 us a payment; memory for the town (events / 60 customers, at most 200,000) and one day.
    """
    _check(events)
    return islice(_payments_of(events, seed, start_ms), events)


class BankPeriod(FrozenStruct):
    """Where in its time a bank is shown: from its first instant, a Monday, without so many payments at first."""

    start_ms: int
    skipped: int


def stretch_upto(events: int, seed: int, now_ms: int) -> BankPeriod:
    """The stretch of which so many payments have arrived by a moment, the last of them just then.

    Raises: UsageError if `events` is below 0.
    Cost: about 5 us a payment.
    """
    _check(events)
    monday_ms = now_ms - (now_ms - START_MS) % _WEEK_MS
    start_ms, arrived = monday_ms, 0
    while arrived < events:  # mostly once
        start_ms -= _WEEKS * _WEEK_MS
        arrived = _arrived(events, seed, start_ms, now_ms)
    return BankPeriod(start_ms, arrived - events)


def bank_from(events: int, seed: int, stretch: BankPeriod) -> Iterator[Payment]:
    """Give the payments of a stretch of a bank that is made for so many, and go on for ever."""
    return _payments_of(events, seed, stretch.start_ms, stretch.skipped)


def _check(events: int) -> None:
    if events < 0:
        raise UsageError(f"the number of payments must not be below 0, got {events}")


def town_of(events: int, seed: int) -> Town:
    """Draw the town of a bank for so many payments again: the one whose payments `bank` gives."""
    return _life(events, seed).town


def _life(events: int, seed: int) -> Life:
    import numpy as np

    rng = np.random.Generator(np.random.PCG64(seed))
    return Life(draw_town(events, rng), rng, Random(seed))  # noqa: S311 - made-up data, nothing secret


def _arrived(events: int, seed: int, start_ms: int, now_ms: int) -> int:
    count = 0
    for day, rows in enumerate(_days(_life(events, seed), start_ms)):
        if start_ms + day * DAY_MS > now_ms:
            break
        count += int((rows[:, -1] <= now_ms).sum())
    return count


def _payments_of(events: int, seed: int, start_ms: int, skipped: int = 0) -> Iterator[Payment]:
    """The payments of a bank made for so many, for ever; the first that are given are numbered from 1."""
    life, given = _life(events, seed), 0
    for rows in _days(life, start_ms):
        left_out = min(skipped, len(rows))
        skipped -= left_out
        yield from _payments(life.town, rows[left_out:], given)
        given += len(rows) - left_out


def with_labels(payments: Iterable[Payment], seed: int) -> Iterator[Payment | BankLabel]:
    """Give the payments as they come, each label before the first payment at or after its `known_at`.

    Labels that are known only after the last payment come at the end. Nine frauds in ten
    are reported, after days or weeks by their kind, and one honest payment in two hundred
    is asked about; two labels in a hundred are wrong. Memory: the labels on their way.
    """
    chance = Random(seed)  # noqa: S311 - made-up data, nothing secret
    waiting: list[tuple[str, int, BankLabel]] = []
    for place, payment in enumerate(payments):
        # Times are of one length, so that they compare as text.
        while waiting and waiting[0][0] <= payment.event["paid_at"]:
            yield heappop(waiting)[2]
        yield payment
        draw = chance.random()
        if draw < ASKED_RATE if payment.fraud is None else draw >= NEVER_REPORTED_RATE:
            label = _label(payment, chance)
            heappush(waiting, (label.event["known_at"], place, label))
    while waiting:
        yield heappop(waiting)[2]


def known_at_the_end(items: Iterable[Payment | BankLabel], events: int) -> Iterator[Payment | BankLabel]:
    """Give what `with_labels` gives up to the last of so many payments: without labels that nobody has by then."""
    left = events
    for item in items:
        yield item
        left -= isinstance(item, Payment)
        if not left:
            return


def labels(payments: Iterable[Payment], seed: int) -> Iterator[BankLabel]:
    """Give only the labels of `with_labels`, by rising `known_at`."""
    return (item for item in with_labels(payments, seed) if isinstance(item, BankLabel))


def _label(payment: Payment, chance: Random) -> BankLabel:
    least, most, source = _DELAY_DAYS[payment.fraud]
    # Most reports come early, a few take long: the square of an even draw.
    delay = timedelta(days=least + (most - least) * chance.random() ** 2)
    known_at = datetime.fromisoformat(payment.event["paid_at"]) + delay
    is_fraud = (payment.fraud is not None) != (chance.random() < WRONG_RATE)
    return BankLabel(
        {
            "event": f"payment/{payment.event['payment_id']}",
            "verdict": "fraud" if is_fraud else "genuine",
            "source": source,
            "known_at": known_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
    )


def _days(life: Life, first_ms: int) -> Iterator[Numbers]:
    """Give the rows of one day after the other, for ever, in the order of their arrival.

    What arrives after midnight, and what a crime has set for later days, waits.
    """
    import numpy as np

    crimes = Crimes(life)
    waiting = np.empty((0, 8), np.int64)
    day = 0
    while True:
        start_ms = first_ms + day * DAY_MS
        life.move_on(day)
        drawn = [ordinary_payments(life, day, start_ms)]
        drawn.extend(np.array(rows, np.int64) for rows in (bursts(life, start_ms), crimes.begin(start_ms)) if rows)
        rows = np.concatenate([waiting, _with_arrival(np.concatenate(drawn), life.rng)])
        rows = rows[np.argsort(rows[:, -1], kind="stable")]
        here = int(np.searchsorted(rows[:, -1], start_ms + DAY_MS))
        yield rows[:here]
        waiting = rows[here:]
        day += 1


def _with_arrival(rows: Numbers, rng: np.random.Generator) -> Numbers:
    """Add the instant of arrival as the last column: a tablet without a net sends a little later."""
    import numpy as np

    late = rng.random(len(rows)) < _LATE_RATE
    delay = np.minimum(rng.exponential(90 * SECOND_MS, len(rows)), 55 * MINUTE_MS).astype(np.int64)
    return np.column_stack([rows, rows[:, 0] + np.where(late, delay, 0)])


def _payments(town: Town, rows: Numbers, given: int) -> Iterator[Payment]:
    import numpy as np

    countries = np.array(COUNTRIES)[town.merchants.country[rows[:, 2]]].tolist()
    channels = np.array([kind.channel for kind in KINDS])[town.merchants.kind[rows[:, 2]]].tolist()
    times = np.datetime_as_string(rows[:, 0].astype("datetime64[ms]"), timezone="UTC").tolist()
    numbers = rows[:, 1:7].tolist()
    for place, (paid_at, country, channel, (customer, merchant, terminal, cents, device, fraud)) in enumerate(
        zip(times, countries, channels, numbers, strict=True), given + 1
    ):
        event = {
            "payment_id": f"p-{place}",
            "paid_at": paid_at,
            "card": f"c-{customer:06d}",
            "merchant": f"m-{merchant:05d}",
            "amount": f"{cents // 100}.{cents % 100:02d}",
            "country": country,
            "channel": channel,
        }
        if terminal >= 0:
            event["terminal"] = f"t-{terminal:05d}"
        if device >= 0:
            # Scattered (an odd factor modulo 2^32 is one-to-one), so that a number does not tell how new it is.
            event["device"] = f"d-{device * 2_654_435_761 & 0xFFFF_FFFF:08x}"
        yield Payment(event, FRAUDS[fraud - 1] if fraud else None)
