"""Write synthetic events for this project: sixty days of a bank's customers, six kinds of fraud, and late labels.

    python generate.py --accounts 500 --seed 1 --out data

writes `events.jsonl`, in order of time, and `labels.csv`. The same numbers give the same bytes. One fraud in ten is
never reported. Fraud and normal life overlap on purpose: careful thieves stay below thresholds, and honest customers
have shopping sprees, new telephones, club accounts, lost parcels and holidays. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

DAYS: Final = 60
DAY, HOUR, MINUTE = 86_400.0, 3_600.0, 60.0  # in seconds, as all times here
START: Final = datetime(2026, 1, 5, tzinfo=UTC).timestamp()
NEVER_REPORTED_RATE: Final = 0.10
TIME_FIELDS: Final = {
    "payment": "paid_at",
    "repayment": "repaid_at",
    "login": "logged_in_at",
    "change": "changed_at",
    "transfer": "sent_at",
    "refund": "requested_at",
}
REPORTED: Final = {  # the longest until a fraud is known, in days, and the source that reports it
    "velocity": (10, "customer"),
    "card testing": (30, "chargeback"),
    "account takeover": (4, "customer"),
    "mule account": (12, "analyst"),
    "refund abuse": (30, "analyst"),
    "first-party fraud": (40, "analyst"),
}
_BINS: Final = ("411111", "455555", "522222")
_LIMITS: Final = (1_000, 2_000, 3_000, 5_000)


class Event(NamedTuple):
    """One event: when, its type and fields, and the kind of fraud, which only labels show."""

    at: float
    type: str
    fields: dict[str, str]
    fraud: str | None


class Generated(NamedTuple):
    """The number of events, and of each kind of fraud the events and those with a label."""

    events: int
    frauds: Counter[str]
    labels: Counter[str]


def generate(folder: Path, accounts: int, seed: int) -> Generated:
    """Write both files into a folder, which is made; about 35 events for each account."""
    bank = _Bank(accounts, Random(seed))  # noqa: S311 - synthetic data, nothing secret
    frauds, labels, numbers = Counter[str](), Counter[str](), Counter[str]()
    lines, rows = list[str](), ["event,verdict,source,known_at,reason"]
    for event in sorted(bank.events, key=lambda event: event.at):
        numbers[event.type] += 1
        id_ = f"{event.type}-{numbers[event.type]}"
        fields = {f"{event.type}_id": id_, TIME_FIELDS[event.type]: _text(event.at)} | event.fields
        lines.append(json.dumps({event.type: fields}))
        if event.fraud is not None:
            frauds[event.fraud] += 1
            if bank.chance.random() >= NEVER_REPORTED_RATE:
                labels[event.fraud] += 1
                days, source = REPORTED[event.fraud]
                known_at = _text(event.at + bank.chance.uniform(0.1, days) * DAY)
                rows.append(f"{event.type}/{id_},fraud,{source},{known_at},{event.fraud}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "events.jsonl").write_text("\n".join([*lines, ""]), encoding="utf-8")
    (folder / "labels.csv").write_text("\n".join([*rows, ""]), encoding="utf-8")
    return Generated(len(lines), frauds, labels)


def _text(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Bank:
    """The events of all customers, in no order yet."""

    def __init__(self, accounts: int, chance: Random) -> None:
        self.chance, self.events, self._accounts = chance, list[Event](), accounts
        for account in range(accounts):
            self._live(account)
        episodes: tuple[tuple[int, Callable[[], None]], ...] = (
            (25, self._shopping_spree),
            (25, self._new_telephone),
            (60, self._club_account),
            (60, self._holiday),
            (60, self._donations),
            (25, self._stolen_card),
            (60, self._card_testing),
            (30, self._takeover),
            (40, self._mule),
            (40, self._claims),
            (60, self._bust_out),
        )
        for accounts_each, episode in episodes:
            for _ in range(max(1, accounts // accounts_each)):
                episode()

    # ---- one event

    def _add(self, at: float, type_: str, fraud: str | None = None, **fields: str) -> None:
        if at < START + DAYS * DAY:
            self.events.append(Event(at, type_, fields, fraud))

    def _pay(self, at: float, account: int, euros: float, fraud: str | None = None, **given: str) -> None:
        fields = {
            "account": f"a-{account}",
            "card": f"c-{account}",
            "bin": _BINS[account % len(_BINS)],
            "merchant": f"m-{self.chance.randrange(80)}",
            "amount": f"{euros:.2f}",
            "channel": "pos",
            "credit_limit": f"{self._limit(account)}.00",
        }
        self._add(at, "payment", fraud, **(fields | given))

    def _send(self, at: float, account: str, payee: str, euros: float, fraud: str | None = None, **more: str) -> None:
        self._add(at, "transfer", fraud, account=account, payee=payee, amount=f"{euros:.2f}", **more)

    def _limit(self, account: int) -> int:
        return _LIMITS[account * 7 % len(_LIMITS)]

    def _someone(self) -> int:
        return self.chance.randrange(self._accounts)

    def _moment(self, first_day: int = 35, last_day: int = DAYS - 2) -> float:
        """A time between 8 and 20 o'clock; the first weeks are left to habits."""
        return START + self.chance.randint(first_day, last_day) * DAY + self.chance.uniform(8, 20) * HOUR

    # ---- normal life

    def _live(self, account: int) -> None:
        chance, name = self.chance, f"a-{account}"
        a_day, usual = chance.uniform(0.2, 0.7), chance.uniform(12, 45)
        spent = 0.0
        for day in range(DAYS):
            start = START + day * DAY
            if day % 30 == 29:
                self._add(start + 10 * HOUR, "repayment", account=name, amount=f"{spent + 1:.2f}")
                spent = 0.0
            if day % 30 == account % 28:
                self._add(start + 8 * HOUR, "login", account=name, device=f"d-{account}")
                self._send(start + 9 * HOUR, name, f"landlord-{account % 40}", usual * 20, device=f"d-{account}")
            while chance.random() < a_day / (1 + a_day):
                at, euros = start + chance.uniform(7, 22) * HOUR, usual * chance.lognormvariate(-0.2, 0.8)
                spent += euros
                is_online = chance.random() < 0.35
                self._pay(at, account, euros, channel="web" if is_online else "pos")
                if is_online and chance.random() < 0.06:
                    reason = chance.choices(("returned", "damaged", "not_received"), (70, 18, 12))[0]
                    self._refund(at + chance.uniform(3, 14) * DAY, account, euros, reason)

    def _refund(self, at: float, account: int, euros: float, reason: str, fraud: str | None = None) -> None:
        fields = {"merchant": f"m-{self.chance.randrange(80)}", "amount": f"{euros:.2f}", "reason": reason}
        self._add(at, "refund", fraud, account=f"a-{account}", **fields)

    def _shopping_spree(self) -> None:
        at, account = self._moment(), self._someone()
        for _ in range(self.chance.randint(4, 7)):
            self._pay(at, account, self.chance.uniform(8, 70))
            at += self.chance.uniform(5, 20) * MINUTE

    def _new_telephone(self) -> None:
        """A new device and number; some pay a craftsman or a friend for the first time on the same day."""
        at, account = self._moment(), self._someone()
        device = f"d-{account}-new"
        self._add(at, "login", account=f"a-{account}", device=device)
        self._add(at + 5 * MINUTE, "change", account=f"a-{account}", item=self.chance.choice(("phone", "password")))
        if self.chance.random() < 0.4:
            payee = f"payee-{self.chance.randrange(500)}"
            euros = self.chance.lognormvariate(4.7, 0.9)
            self._send(at + self.chance.uniform(1, 30) * HOUR, f"a-{account}", payee, euros, device=device)

    def _club_account(self) -> None:
        """A treasurer collects the fees of a trip and pays the bus."""
        at, account, total = self._moment(), self._someone(), 0.0
        for _ in range(self.chance.randint(8, 20)):
            euros = self.chance.choice((60.0, 80.0, 120.0))
            total += euros
            sent_at = at - self.chance.uniform(0, 70) * HOUR
            self._send(sent_at, f"a-{self._someone()}", f"a-{account}", euros)
        self._send(at + HOUR, f"a-{account}", "payee-bus", total * self.chance.uniform(0.6, 1))

    def _holiday(self) -> None:
        """Flight, hotel and shopping above the limit; the customer repays at once."""
        at, account = self._moment(), self._someone()
        limit = self._limit(account)
        for part in (0.5, 0.4):
            self._pay(at, account, limit * part, channel="web")
            at += HOUR
        self._add(at + DAY, "repayment", account=f"a-{account}", amount=f"{limit * 0.9:.2f}")
        for _ in range(self.chance.randint(1, 5)):
            at += 2 * DAY * self.chance.random() + HOUR
            self._pay(at, account, limit * self.chance.uniform(0.02, 0.15))

    def _donations(self) -> None:
        """A charity's appeal: many small payments of all cards at a merchant that has few otherwise."""
        at, merchant = self._moment(), f"charity-{self.chance.randrange(3)}"
        for _ in range(self.chance.randint(10, 30)):
            self._pay(at, self._someone(), self.chance.choice((2, 5, 5, 10)), channel="web", merchant=merchant)
            at += self.chance.expovariate(1 / (4 * MINUTE))

    # ---- six kinds of fraud

    def _stolen_card(self) -> None:
        """The thief buys until the card is blocked; one in four takes hours between payments."""
        at, account = self._moment(), self._someone()
        minutes = 90 if self.chance.random() < 0.25 else 9
        for _ in range(self.chance.randint(4, 10)):
            self._pay(at, account, self.chance.uniform(40, 250), "velocity")
            at += self.chance.uniform(0.3, 1.7) * minutes * MINUTE

    def _card_testing(self) -> None:
        """A program tries numbers of one range at one merchant."""
        at, range_ = self._moment(), self.chance.randrange(len(_BINS))
        merchant = f"m-{self.chance.randrange(80)}"
        for _ in range(self.chance.randint(12, 30)):
            account = self._someone() // len(_BINS) * len(_BINS) + range_
            euros = self.chance.uniform(0.5, 4)
            self._pay(at, account, euros, "card testing", channel="web", merchant=merchant)
            at += self.chance.uniform(10, 90)

    def _takeover(self) -> None:
        """Most change the telephone number first, to receive the one-time codes; some wait for days."""
        at, account = self._moment(), self._someone()
        device = f"d-{self.chance.getrandbits(24):06x}"
        self._add(at, "login", account=f"a-{account}", device=device)
        if self.chance.random() < 0.85:
            item = self.chance.choice(("phone", "password", "email"))
            self._add(at + 4 * MINUTE, "change", account=f"a-{account}", item=item)
        at += (self.chance.uniform(50, 90) if self.chance.random() < 0.15 else self.chance.uniform(0.2, 6)) * HOUR
        for _ in range(self.chance.randint(1, 3)):
            payee, euros = f"payee-{self.chance.randrange(500)}", self.chance.lognormvariate(6.3, 0.7)
            self._send(at, f"a-{account}", payee, euros, "account takeover", device=device)
            at += self.chance.uniform(5, 60) * MINUTE

    def _mule(self) -> None:
        """Victims at other banks pay into the account; its owner keeps a share and sends the rest on."""
        at, account, total = self._moment(), self._someone(), 0.0
        for _ in range(self.chance.randint(2, 6)):
            euros = self.chance.uniform(250, 1_500)
            total += euros
            self._send(at, f"x-{self.chance.randrange(100_000)}", f"a-{account}", euros)
            at += self.chance.uniform(0.2, 6) * HOUR
        parts = self.chance.randint(1, 3)
        for _ in range(parts):
            euros = total * self.chance.uniform(0.82, 0.95) / parts
            self._send(at, f"a-{account}", f"exchange-{self.chance.randrange(5)}", euros, "mule account")
            at += self.chance.uniform(0.1, 2) * HOUR

    def _claims(self) -> None:
        """Orders of high value that allegedly never arrive."""
        at, account = self._moment(5, 25), self._someone()
        for _ in range(self.chance.randint(2, 6)):
            euros = self.chance.uniform(80, 400)
            self._pay(at, account, euros, channel="web")
            claimed_at = at + self.chance.uniform(4, 9) * DAY
            self._refund(claimed_at, account, euros, "not_received", "refund abuse")
            at += self.chance.uniform(2, 9) * DAY

    def _bust_out(self) -> None:
        """The limit is spent, repaid by a debit that will be returned, and spent again."""
        at, account = self._moment(35, DAYS - 10), self._someone()
        limit = self._limit(account)
        for _ in range(self.chance.randint(1, 3)):
            for _ in range(4):
                self._pay(at, account, limit * self.chance.uniform(0.18, 0.26), "first-party fraud", channel="web")
                at += self.chance.uniform(1, 10) * HOUR
            self._add(at, "repayment", account=f"a-{account}", amount=f"{limit * 0.9:.2f}")
            at += DAY


def main() -> None:
    """Write the files and print how much fraud they have."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--accounts", type=int, default=500, help="number of customers (default 500)")
    parser.add_argument("--seed", type=int, default=1, help="random seed; another gives other data (default 1)")
    parser.add_argument("--out", type=Path, default=Path("data"), help="folder to write into (default data)")
    given = parser.parse_args()
    made = generate(given.out, given.accounts, given.seed)
    rows = [f"  {kind:<17}  {made.frauds[kind]:>6}  {made.labels[kind]:>12}" for kind in REPORTED]
    text = f"{given.out / 'events.jsonl'}: {made.events:,} events of {given.accounts:,} accounts in {DAYS} days."
    text += f"\n{given.out / 'labels.csv'}: {sum(made.labels.values()):,} labels.\n\n"
    sys.stdout.write("\n".join([f"{text}  kind of fraud      events  with a label", *rows, ""]))


if __name__ == "__main__":
    main()
