"""One question has one answer: each number that stands in several places is read in all of them and compared.

A new place is one row of `PLACES`. The clock stands still; the project's day is not the day in UTC; a sink fails; a
case is escalated, another one snoozed. Each role of people reads the places anew: what they may see is the same number.
"""

from __future__ import annotations

import asyncio
import html
import json
import re
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from email import message_from_bytes
from email.policy import SMTP
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from shroff.events.event import time_text
from shroff.explain.hit_records import HitRecords, RuleRecord
from shroff.language.values import DAY_MS
from shroff.operations.numbers import NUMBERS
from shroff.people import users
from shroff.people.access import Role
from shroff.project.definitions import Definitions
from shroff.runtime.values import replace
from shroff.services import project as app
from shroff.web.http.authentication import gate_of
from shroff.web.pages.renderer import times_marked
from shroff.web.table import PAGES
from shroff_plugins.analytics.count_operations import figures_of_days
from tests.support import telling
from tests.support.forks import SHROFF
from tests.support.named_numbers import (
    ALL,
    NUMBER_OF_NAME,
    Shown,
    Subject,
    differing,
    of_csv,
    of_json,
    of_mail,
    of_page,
    of_results,
)
from tests.support.projects import write_files
from tests.support.telling import text_of
from tests.support.trained import train
from tests.support.webs import PASSWORD, Asker, Browser, asker, let_in, run, working

pytestmark = pytest.mark.slow

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY, SHOWN_DAY, ZONE = "2026-03-01", "1 March 2026", "Europe/Berlin"  # from 28 February 23:00 to 1 March 23:00 UTC
BY_AMOUNT = {20: "approve", 150: "challenge", 300: "review", 900: "decline"}
FILES = {
    "shroff.yaml": "shroff: 1\nname: small\nmoney: EUR\nzone: Europe/Berlin\nlateness: 30d\n"
    "sinks: { dead: { webhook: { url: http://127.0.0.1:9/hook, secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw } } }\n",
    "events.yaml": """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text, merchant: text, amount: money, email: text? personal }
entities:
  card: { payment: card }
""",
    "rules/amounts.yaml": """
- { id: over_100, on: payment, by: card, when: this.amount > 100, effect: challenge, reason: "{this.amount}" }
- { id: over_200, on: payment, by: card, when: this.amount > 200, effect: review, reason: "{this.amount}" }
- { id: over_800, on: payment, by: card, when: this.amount > 800, effect: decline, reason: "{this.amount}" }
- { id: tried, on: payment, by: card, when: this.amount > 100, effect: note, shadow: true }
""",
    "policy.yaml": """
payment:
  costs: { false_decline: 15, review: 4 }
  experiment: { name: trial_a, share: 50%, by: card, rules: { tried: true } }
""",
    "notices/daily.yaml": 'on: report\nto: [boss@bank.example]\nat: "07:00"\n',
}


def payment(number: int, at: str, amount: int) -> dict[str, str]:
    return {"id": f"p-{number}", "at": at, "card": f"c-{number}", "merchant": "m-1", "amount": f"{amount}.00"}


TIMES = (
    "2026-01-20T10:00:00Z",  # mature
    "2026-02-28T22:30:00Z",  # the day before, in Berlin too
    "2026-02-28T23:30:00Z",  # of the day in Berlin, not in UTC
    "2026-03-01T12:00:00Z",
    "2026-03-01T22:59:59Z",
    "2026-03-01T23:30:00Z",  # of the day in UTC, not in Berlin
    "2026-03-02T07:00:00Z",
)
PAID = [
    payment(100 * at + number, time, amount)
    for at, time in enumerate(TIMES)
    for number, amount in enumerate([20, 20, 20, 150, 300, 900])
]
LABELS = [
    {"event": f"payment/p-{number}", "verdict": verdict, "source": source, "known_at": known_at}
    for number, verdict, source, known_at in (
        (0, "fraud", "customer", "2026-02-28T23:10:00Z"),
        (4, "fraud", "customer", "2026-03-01T10:00:00Z"),
        (4, "genuine", "chargeback", "2026-03-01T11:00:00Z"),
        (5, "genuine", "customer", "2026-03-01T12:00:00Z"),
        (5, "fraud", "chargeback", "2026-02-01T10:00:00Z"),
        (3, "genuine", "analyst", "2026-03-01T13:00:00Z"),
        (104, "genuine", "analyst", "2026-03-01T15:00:00Z"),  # closes its case
        (1, "fraud", "chargeback", "2026-03-01T14:00:00Z"),
        (204, "fraud", "analyst", "2026-03-01T22:00:00Z"),
        (205, "fraud", "customer", "2026-03-01T23:10:00Z"),  # tomorrow, in Berlin
        (2, "unclear", "import", "2026-02-20T10:00:00Z"),
        (999, "fraud", "chargeback", "2026-03-01T10:00:00Z"),  # of an event that is not in the log
    )
]


class NotSeenError(Exception):
    """A role lacks the permission for a place."""


NOT_SEEN = "not seen"
APART = ("what was sent", "morning mail", "Python", "shroff ")  # places that are the same for every user


@dataclass(frozen=True)
class Bank:
    """The service, somebody's browser, and what the places are read from: each page, command and mail once."""

    asks: Asker
    browser: Browser
    folder: Path
    kept: dict[object, Any] = field(default_factory=dict)

    async def once(self, read: Callable[..., Awaitable[Any]], *given: object) -> Any:
        """What a read gives, the first time; nothing changes while the places are read."""
        key = (read.__name__, *given)
        if key not in self.kept:
            self.kept[key] = await read(*given)
        return self.kept[key]

    async def text(self, path: str, section: str = "") -> str:
        """The words of a page, in one line; from the section with this label on."""
        found = await self.once(self.browser.get, path)
        if found.status == 403:
            raise NotSeenError
        assert found.status == 200, (path, found.body[-2_000:])
        body = found.body.decode()
        if section:
            assert section in body, (path, section)
            body = body[body.index(section) :]
        return words(body)

    async def json(self, path: str, body: object = None) -> Any:
        headers = {"x-csrf-token": await self.browser.csrf(), "content-type": "application/json", "accept": "*/*"}
        sent = b"" if body is None else msgspec.json.encode(body)
        found = await self.browser.send("GET" if body is None else "POST", f"/api/v1{path}", sent, headers)
        if found.status == 403:
            raise NotSeenError
        assert found.status == 200, (path, found.body)
        return found.json()

    async def act(self, case: Any, verb: str, body: object) -> None:
        headers = {"x-csrf-token": await self.browser.csrf(), "content-type": "application/json", "accept": "*/*"}
        path, sent = f"/api/v1/cases/{case['id']}/{verb}", msgspec.json.encode(body)
        found = await self.browser.send("POST", path, sent, {**headers, "if-match": f'"{case["tag"]}"'})
        assert found.status == 200, found.body

    async def command(self, *words: str) -> Any:
        done = await self.once(self._shroff, *words, "--json")
        assert done.returncode in {0, 1}, done.stderr
        return json.loads(done.stdout)

    async def export(self, kind: str) -> list[Any]:
        done = await self.once(self._shroff, "export", kind)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    async def _shroff(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        command = [SHROFF, "-C", self.folder, *words]
        return await asyncio.to_thread(subprocess.run, command, check=False, capture_output=True)

    async def mail(self) -> str:
        return " ".join((await self.mail_lines()).split())

    async def mail_lines(self) -> str:
        return str(await self.once(self._mail))

    async def _mail(self) -> str:
        found = await asyncio.to_thread(self.asks.service.project.notices.preview, "daily", "", DAY)
        return text_of(message_from_bytes(found.data, policy=SMTP))

    async def day(self) -> Any:
        return await self.once(self._day)

    async def _day(self) -> Any:
        context, day = self.asks.service.project.context, date.fromisoformat(DAY)
        figures = await asyncio.to_thread(figures_of_days, context, day, day, context.systems.time_zone)
        return next(iter(figures.values()))


def words(body: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).replace("\N{NO-BREAK SPACE}", " ").split())


def numbers(pattern: str, text: str) -> list[str]:
    """What the groups of a pattern match, of the first place where it does."""
    found = re.search(pattern, text)
    assert found is not None, (pattern, text[:3_000])
    return [group.replace(",", "") for group in found.groups()]


def number(pattern: str) -> Callable[[str], int]:
    return lambda text: int(numbers(pattern, text)[0])


# ---- the places


def in_day(text: str, zone_day: str = DAY) -> bool:
    start, end = datetime(2026, 2, 28, 23, tzinfo=UTC), datetime(2026, 3, 1, 23, tzinfo=UTC)
    assert zone_day == DAY
    return start <= datetime.fromisoformat(text) < end


async def outcomes_sent(bank: Bank) -> object:
    found = dict.fromkeys(BY_AMOUNT.values(), 0)
    for event in PAID:
        found[BY_AMOUNT[int(float(event["amount"]))]] += in_day(event["at"])
    return found


async def outcomes_mail(bank: Bank) -> object:
    told = numbers(
        r"Approved ([\d,]+) .*? Challenged ([\d,]+) .*? Reviewed ([\d,]+) .*? Declined ([\d,]+)", await bank.mail()
    )
    return dict(zip(BY_AMOUNT.values(), map(int, told), strict=True))


async def outcomes_analytics(bank: Bank) -> object:
    text = await bank.text(f"/analytics?from={DAY}&to={DAY}", "Decisions and labels by day")
    told = numbers(rf"{SHOWN_DAY} (\d+) (\d+) (\d+) (\d+) [\d.,]+ ", text)
    return dict(zip(BY_AMOUNT.values(), map(int, told), strict=True))


async def no_on_page(bank: Bank) -> object:
    return sum(map(int, numbers(r" No (\d+) and (\d+) unasked", await bank.text("/labels"))))


async def outcomes_decisions(bank: Bank) -> object:
    text = await bank.text(f"/decisions?outcome=all&day={DAY}&zone={ZONE}", "All decisions of this day")
    return {item: number(rf"(?i){item}[^\d;]*? (\d+) +\([\d.,]+ EUR")(text) for item in BY_AMOUNT.values()}


async def outcomes_python(bank: Bank) -> object:
    return dict((await bank.day()).decided.counts)


async def outcomes_export(bank: Bank) -> object:
    ids = {event["id"] for event in PAID if in_day(event["at"])}
    found = dict.fromkeys(BY_AMOUNT.values(), 0)
    for row in await bank.export("decisions"):
        found[row["outcome"]] += row["id"] in ids
    return found


async def money_mail(bank: Bank) -> object:
    return numbers(r"Reviewed \d+ ([\d.,]+) EUR Declined \d+ ([\d.,]+) EUR Events", await bank.mail())


async def money_decisions(bank: Bank) -> object:
    text = await bank.text(f"/decisions?outcome=all&day={DAY}&zone={ZONE}", "All decisions of this day")
    return numbers(r"(?i)review \d+ +\(([\d.,]+) EUR.*?decline\w* \d+ +\(([\d.,]+) EUR", text)


async def money_sent(bank: Bank) -> object:
    of = [int(float(row["amount"])) for row in PAID if in_day(row["at"])]
    return [f"{sum(amount for amount in of if amount == wanted)}.00" for wanted in (300, 900)]


def api(path: str, *keys: str | int) -> Callable[[Bank], Awaitable[object]]:
    async def read(bank: Bank) -> object:
        return at(await bank.json(path), keys)

    return read


def shown(path: str, pattern: str, section: str = "") -> Callable[[Bank], Awaitable[object]]:
    async def read(bank: Bank) -> object:
        return number(pattern)(await bank.text(path, section))

    return read


def read_text(path: str, pattern: str) -> Callable[[Bank], Awaitable[object]]:
    async def read(bank: Bank) -> object:
        return numbers(pattern, await bank.text(path))[0]

    return read


def told(pattern: str) -> Callable[[Bank], Awaitable[object]]:
    async def read(bank: Bank) -> object:
        return number(pattern)(await bank.mail())

    return read


def printed(*words: str, of: Callable[[Any], object]) -> Callable[[Bank], Awaitable[object]]:
    async def read(bank: Bank) -> object:
        return of(await bank.command(*words))

    return read


def at(found: Any, keys: tuple[str | int, ...]) -> Any:
    for key in keys:
        found = found[key]
    return found


def value(this: object) -> Callable[[Bank], Awaitable[object]]:
    async def read(bank: Bank) -> object:
        return this

    return read


async def labels_exported(bank: Bank) -> object:
    return sum(
        (row["source"], row["verdict"]) == ("customer", "fraud") and in_day(row["known_at"])
        for row in await bank.export("labels")
    )


async def no_in_analytics(bank: Bank) -> object:
    text = await bank.text(f"/analytics?from={DAY}&to={DAY}", "Decisions and labels by day")
    return number(rf"{SHOWN_DAY} .*? (\d+) Decisions count on the day")(text)


async def no_in_python(bank: Bank) -> object:
    return (await bank.day()).labels["customer", "fraud"]


async def caught_in_python(bank: Bank) -> object:
    return list((await bank.day()).fraud.stopped())


async def caught_in_mail(bank: Bank) -> object:
    count, money = numbers(r"Fraud found, stopped (\d+) ([\d.,]+) EUR", await bank.mail())
    return [int(count), round(float(money) * 100)]


async def caught_in_analytics(bank: Bank) -> object:
    text = await bank.text(f"/analytics?from={DAY}&to={DAY}", "Decisions and labels by day")
    count, money = numbers(rf"{SHOWN_DAY} \d+ \d+ \d+ \d+ [\d.,]+ (\d+) ([\d.,]+) EUR", text)
    return [int(count), round(float(money) * 100)]


async def events_by_api(bank: Bank) -> object:
    return (await bank.json("/analytics/event-counts", {"startDate": DAY, "endDate": DAY}))["total"]


async def precision_in_backtest(bank: Bank) -> object:
    return precision_of(
        (await bank.json("/backtests", {"rules": {"amounts.yaml": FILES["rules/amounts.yaml"]}}))["rules"]
    )


def precision_of(rules: list[Any]) -> int:
    """The precision of a rule in a backtest, in percent."""
    return round(100 * next(rule["precision"] for rule in rules if rule["id"] == "over_200"))


async def precision_by_api(bank: Bank) -> object:
    return round(100 * (await bank.json("/rules/over_200/record"))["record"]["precision"])


async def held_on_page(bank: Bank) -> object:
    return [
        int(line) for line in numbers(r"“No” that was fraud (\d+) of (\d+) since the start", await bank.text("/labels"))
    ]


async def held_by_api(bank: Bank) -> object:
    found = next(
        customer for customer in (await bank.json("/labels"))["customers"]["held"] if customer["verdict"] == "fraud"
    )
    return [found["held"], found["judged"]]


async def quarantine_by_api(bank: Bank) -> object:
    return len((await bank.json("/quarantine"))["entries"])


EVENTS_OF_DAY = sum(in_day(row["at"]) for row in PAID)
PLACES: dict[str, dict[str, Callable[[Bank], Awaitable[object]]]] = {
    "decisions of yesterday by outcome": {
        "what was sent": outcomes_sent,
        "morning mail": outcomes_mail,
        "Analytics": outcomes_analytics,
        "Decisions": outcomes_decisions,
        "Python": outcomes_python,
        "shroff export": outcomes_export,
    },
    "money of reviewed and declined payments of yesterday": {
        "what was sent": money_sent,
        "morning mail": money_mail,
        "Decisions": money_decisions,
    },
    "events of yesterday": {
        "what was sent": value(EVENTS_OF_DAY),
        "morning mail": told(r"Events (\d+)"),
        "Analytics": shown(f"/analytics?from={DAY}&to={DAY}", r"Analytics (\d+) events from"),
        "API": events_by_api,
        "shroff counts": printed("counts", "--from", DAY, "--to", DAY, of=lambda found: found["total"]),
    },
    "customers who said no yesterday": {
        "what was sent": value(2),
        "morning mail": told(r"Customers who said no (\d+)"),
        "Analytics": no_in_analytics,
        "Python": no_in_python,
        "shroff export": labels_exported,
    },
    "frauds that became known yesterday and had been stopped": {
        "what was sent": value([1, 30_000]),
        "morning mail": caught_in_mail,
        "Analytics": caught_in_analytics,
        "Python": caught_in_python,
    },
    "customers who said no in seven days": {
        "what was sent": value(3),
        "Labels": no_on_page,
        "API": api("/labels", "customers", "no"),
    },
    "customers' no that a stronger label confirmed": {
        "what was sent": value([0, 1]),
        "Labels": held_on_page,
        "API": held_by_api,
    },
    "precision of a rule, in percent": {
        "what was sent": value(50),  # of its mature hits, one was fraud and one genuine; the young ones do not count
        "Rules": shown("/rules", r"Over 200 .*? (\d+) % \(\d+ % to \d+ %\)"),
        "Rule": shown("/rules/over_200", r"Precision of older hits (\d+) %"),
        "Hits": shown("/rules/over_200/hits", r"Precision of older hits (\d+) %"),
        "API": precision_by_api,
        "back-test by API": precision_in_backtest,
        "shroff backtest": printed("backtest", "--rows", "0", of=lambda found: precision_of(found["rules"])),
    },
    "unmatched labels": {
        "what was sent": value(1),
        "Labels": shown("/labels", r"Unmatched labels (\d+)"),
        "API": api("/labels", "waiting"),
        "Health": shown("/checks", r"In quarantine \d+ (\d+) unmatched"),
        "Live": shown("/live", r"Unmatched labels (\d+)"),
        "shroff label": printed("label", "--pending", of=lambda found: found["pending"]),
        "shroff status": printed("status", of=lambda found: found["metrics"]["shroff_labels_waiting"]),
    },
    "open cases": {
        "what was sent": value(len(TIMES) - 3),  # one closed by a label, one escalated, one snoozed
        "Queue": shown("/queue", r"(\d+) open"),
        "top bar": shown("/me", r"Queue (\d+)"),
        "Team": shown("/team", r"All open cases (\d+)"),
        "Live": shown("/live", r"(\d+) cases? waits?"),
        "morning mail": told(r"open cases (\d+)"),
        "API": api("/capacity", "open", "count"),
        "shroff status": printed("status", of=lambda found: found["metrics"]["shroff_cases_open"]),
    },
    "money at stake in open cases": {
        "what was sent": value(f"{300 * (len(TIMES) - 3)}.00"),
        "Queue": read_text("/queue", r"([\d.,]+) EUR at stake"),
        "Team": read_text("/team", r"All open cases \d+ ([\d.,]+)"),
        "Live": read_text("/live", r"wait for an answer, ([\d.,]+) EUR at stake"),
        "API, live": api("/live", "cases", "at_stake"),
        "API, cases": api("/cases?state=open,claimed", "totals", "stake", "amount"),
    },
    "escalated cases": {
        "what was sent": value(1),
        "Queue": shown("/queue", r"Escalated (\d+)"),
        "Team": shown("/team", r"(\d+) escalated"),
        "API": api("/cases?state=escalated", "totals", "count"),
        "shroff status": printed("status", of=lambda found: found["metrics"]["shroff_cases_escalated"]),
    },
    "snoozed cases": {
        "what was sent": value(1),
        "Queue": shown("/queue", r"Snoozed (\d+)"),
        "Team": shown("/team", r"(\d+) snoozed"),
        "Live": shown("/live", r"Snoozed cases (\d+)"),
        "API, live": api("/live", "cases", "snoozed"),
        "API, cases": api("/cases?state=snoozed", "totals", "count"),
    },
    "records behind which a dead sink is": {
        "what was sent": value(len(PAID) + len(LABELS) - 1),  # one label waits for its event, and is no record yet
        "Live": shown("/live", r"Waiting to send (\d+)"),
        "Outbox": shown("/mails/letters", r"(\d+) records behind"),
        "Health": shown("/checks", r"Waiting to send (\d+)"),
        "API, live": api("/live", "outbox"),
        "API, health": api("/health", "sinks", 0, "lag"),
        "shroff outbox": printed("outbox", of=lambda found: max(sink["lag"] for sink in found["sinks"])),
        "shroff status": printed("status", of=lambda found: found["deliveries"]["dead"]["lag"]),
    },
    "input in quarantine": {
        "what was sent": value(2),
        "Health": shown("/checks", r"In quarantine (\d+)"),
        "Live": shown("/live", r"In quarantine (\d+)"),
        "API": quarantine_by_api,
        "shroff quarantine": printed("quarantine", "list", of=lambda found: len(found["entries"])),
        "shroff status": printed("status", of=lambda found: found["metrics"]["shroff_quarantine_entries"]),
    },
}


async def answer(read: Callable[[Bank], Awaitable[object]], bank: Bank) -> object:
    """What a place says; where it does not say it, why."""
    try:
        return await read(bank)
    except NotSeenError:
        return NOT_SEEN
    except (AssertionError, LookupError, TypeError, ValueError) as error:  # the other places are read
        return f"{type(error).__name__}: {error}"


async def answers_of(bank: Bank, apart: tuple[str, ...] = ()) -> dict[str, dict[str, object]]:
    """What each place says to a user, by its question; those apart are left out."""
    return {
        question: {place: await answer(read, bank) for place, read in places.items() if not place.startswith(apart)}
        for question, places in PLACES.items()
    }


RESULTS = tuple(f"/results?by={by}{unit}" for by in ("day", "week", "rule", "card") for unit in ("", "&in=count"))
MORE_PAGES = (
    *RESULTS,
    "/decisions?outcome=all",
    "/decisions/payment/p-4",
    "/entities/card/c-4",
    "/cases/1",
    "/rules/over_200",
    "/rules/over_200/hits",
    "/models/m-1",
    f"/analytics?from={DAY}&to={DAY}",
    "/mails/notices/daily",
    "/settings/audit",
    "/settings/users",
    "/settings/keys",
    "/find?q=p-4",
    "/find?q=2026-03-01T12:00:00Z",
)


@dataclass(frozen=True)
class WhatIsShown:
    """What the places say, by role and question, and the pages by their paths."""

    answers: dict[Role, dict[str, dict[str, object]]]
    pages: dict[str, str]
    numbers: list[Shown]
    changed: list[Shown]  # of the page Rules, where a rule's fraud is counted as it was before


def subject_of(path: str) -> Subject:
    """What the terms of a page are about: its rule, on Results everything, else what this page alone has."""
    if path.startswith("/results"):
        return ALL
    found = re.fullmatch(r"/rules/([^/]+)(/hits)?", path)
    return ("rule", found[1]) if found else ("page", path)


async def backtest_page(browser: Browser) -> str:
    """The page of a backtest of the project as it is."""
    empty = dict.fromkeys(("again", "from", "to", "as_of"), "")
    begun = await browser.post("/backtests", {"csrf": await browser.csrf(), "of": "now", **empty})
    for _ in range(6_000):
        page = (await browser.get(begun.headers["location"])).body.decode()
        if "Amount hit" in page:
            return page
        await asyncio.sleep(0.05)
    raise AssertionError(page)


async def numbers_of(bank: Bank, pages: Mapping[str, str]) -> AsyncIterator[Shown]:
    """The named numbers of all pages, answers, commands and CSV."""
    for by in ("day", "week", "rule", "card"):
        for number in of_results(await bank.json(f"/results?by={by}"), f"API results by {by}"):
            yield number
        text = (await bank.browser.get(f"/results/results.csv?by={by}")).body.decode()
        for number in of_csv(by, text, f"CSV by {by}"):
            yield number
    for where, answer in (
        ("API experiment", await bank.json("/experiments")),
        ("shroff experiment", await bank.command("experiment")),
    ):
        for arm in answer["arms"]:
            for number in of_json("experiment", arm, ("arm", arm["value"]), where):
                yield number
    for number in of_mail(await bank.mail_lines(), ("day", SHOWN_DAY), "daily mail"):
        yield number
    for number in of_results(await bank.command("results", "--by", "rule"), "shroff results"):
        yield number
    for where, answer in (("API records", await bank.json("/records")), ("shroff rules", await bank.command("rules"))):
        for rule in answer["rules"]:
            for number in of_json("rules", rule["record"], ("rule", rule["id"]), where):
                yield number
    files = (await bank.json("/rules"))["files"]
    for rule in (rule for file in files for rule in file["rules"]):
        for number in of_json("rules", rule, ("rule", rule["id"]), "API rules"):
            yield number
    for rule in (await bank.command("backtest", "--rows", "0"))["rules"]:
        for side in (rule, rule["old"]):
            for number in of_json("backtest", side, ("rule", rule["id"]), "shroff backtest"):
                yield number
    for path, page in pages.items():
        for number in of_page(path, page, subject_of(path)):
            yield number


def older_fraud_alone(records: HitRecords, rule: str, definitions: Definitions) -> RuleRecord:
    """A rule's statistics with the fraud of older hits in place of all fraud."""
    record = records._record(rule, definitions)
    return replace(record, frauds=record.older_fraud)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> WhatIsShown:
    folder = write_files(tmp_path_factory.mktemp("one") / "bank", FILES)
    promoted = app.open_exactly(folder)
    train(promoted.context.registry, "m-1", ["payment.amount"])
    assert promoted.models.promote("m-1", by="ann").champion == "m-1"
    now_ms = round(NOW.timestamp() * 1_000)

    async def whole() -> WhatIsShown:
        async with asker(folder, gate=gate_of, now_ms=lambda: now_ms) as asks, working(asks):
            browser = Browser(asks)
            await let_in(asks, browser)
            bank = Bank(asks, browser, folder)
            broken = [{**PAID[0], "id": f"broken-{number}", "amount": "1,50"} for number in range(2)]
            await bank.json("/events/payment", [*PAID, *broken])
            await bank.json("/labels", LABELS)
            for _ in range(12_000):  # cases follow the log
                cases = (await bank.json("/cases?state=open"))["cases"]
                if len(cases) == len(TIMES) - 1:
                    break
                await asyncio.sleep(0.05)
            await bank.act(cases[0], "escalate", {"text": "a second bank"})
            await bank.act(cases[1], "snooze", {"until": time_text(asks.service.cases.now_ms() + DAY_MS)})
            answers = {Role.ADMIN: await answers_of(bank)}
            me = asks.service.project.context.who
            for role in (Role.ANALYST, Role.AUTHOR, Role.VIEWER):
                await asyncio.to_thread(users.add, asks.service.desk, me, role.value, role, password=PASSWORD)
                theirs = Browser(asks)
                await theirs.post("/login", {"name": role.value, "password": PASSWORD})
                answers[role] = await answers_of(Bank(asks, theirs, folder), apart=APART)
            shown = [route.path for route in PAGES if route.method == "GET" and route.right and "{" not in route.path]
            paths = [path for path in shown if not path.endswith("/stream")]
            found = {path: await browser.get(path) for path in (*paths, *MORE_PAGES)}
            pages = {path: page.body.decode() for path, page in found.items() if "html" in page.headers["content-type"]}
            pages["a backtest"] = await backtest_page(browser)
            numbers = [number async for number in numbers_of(bank, pages)]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(HitRecords, "record", older_fraud_alone)
                rules = (await browser.get("/rules")).body.decode()
            return WhatIsShown(answers, pages, numbers, [*of_page("changed /rules", rules)])

    return asyncio.run(whole())


def test_one_question_has_one_answer_in_all_places(seen):
    right = {question: answers["what was sent"] for question, answers in seen.answers[Role.ADMIN].items()}
    differ = [
        f"{question}: to {role}, {place} says {said!r}, not {right[question]!r}"
        for role, answers_of_role in seen.answers.items()
        for question, answers in answers_of_role.items()
        for place, said in answers.items()
        if said != right[question] and (role == Role.ADMIN or said != NOT_SEEN)
    ]

    assert differ == [], "\n".join(differ)


def test_one_name_has_one_value_for_a_subject_on_all_screens_answers_and_files(seen):
    places = Counter(shown.where for shown in seen.numbers)
    names = {shown.number for shown in seen.numbers}

    assert differing(seen.numbers) == [], "\n".join(differing(seen.numbers))
    assert len(places) > 15, places
    assert min(places["/rules"], places["a backtest"]) > 10
    assert places["/rules/over_200"] > 2
    assert all(places[path] > 20 for path in RESULTS), places
    assert min(places[path] for path in ("API experiment", "shroff experiment", "/experiments")) > 10, places
    assert min(places["daily mail"], places[f"/analytics?from={DAY}&to={DAY}"]) > 7, places
    assert names >= {
        *"events volume fraud fraud_amount caught missed false_declines hits precision older_fraud".split()
    }


def test_a_screen_that_defines_a_number_otherwise_is_found(seen):
    found = differing([*seen.numbers, *seen.changed])

    rules = "over_100", "over_200", "over_800", "tried"
    assert [line.partition(":")[0] for line in found] == [f"Fraud of rule {rule}" for rule in rules]


def test_no_two_numbers_have_one_name_or_one_key():
    keys = Counter(pair for number in NUMBERS.values() for pair in number.keys.items())

    assert len(NUMBER_OF_NAME) == len(NUMBERS)
    assert max(keys.values()) == 1


def test_what_a_role_lacks_is_refused_and_all_else_is_shown(seen):
    hidden = {
        role: {
            place.partition(",")[0] for answers in found.values() for place, said in answers.items() if said == NOT_SEEN
        }
        for role, found in seen.answers.items()
    }

    assert hidden[Role.ADMIN] == set()
    assert all(sum(map(len, found.values())) > 30 for found in seen.answers.values())
    assert hidden[Role.VIEWER] >= {"Health", "Outbox"}


def test_no_page_shows_a_time_as_programs_write_it(seen):
    """The sentences of the program too, such as those of `doctor`: in the time zone of the page, as all other times."""
    raw = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
    found = {path: raw.findall(without_code(page)) for path, page in seen.pages.items()}

    assert len(found) > 30
    assert {path: times for path, times in found.items() if times} == {}


def without_code(page: str) -> str:
    """The text of a page, without blocks of code and fields of forms."""
    bare = re.sub(r"<(pre|code|textarea|script|title|option)\b.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"<[^>]+>", " ", bare)


def test_the_times_of_messages_are_marked_and_code_stays_as_it_is():
    page = '<p title="2026-03-01T10:00:00Z">since 2026-03-01T10:00:00.123Z</p><pre>2026-03-01T10:00:00Z</pre>'

    shown = times_marked(page)
    assert '<p title="2026-03-01T10:00:00Z">since <time datetime="2026-03-01T10:00:00.123Z"' in shown
    assert "<pre>2026-03-01T10:00:00Z</pre>" in shown


@pytest.mark.parametrize(
    ("tag", "is_marked"),
    [
        ('<td class="number">', True),
        ('<td class="monotone">', True),
        ('<p title="what people translate">', True),
        ('<td class="one mono">', False),
        ('<a class="mono" href="/checks">', False),
        ('<span translate="no">', False),
    ],
)
def test_only_texts_right_behind_tags_of_ids_and_names_stay_as_they_are(tag: str, *, is_marked: bool):
    shown = times_marked(f"{tag}2026-03-01T10:00:00Z<b>2026-03-01T10:00:00Z</b>")

    assert shown.startswith(f"{tag}<time ") == is_marked
    assert "<b><time " in shown


def test_ids_that_are_written_as_times_stay_as_they_are_on_every_page(tmp_path):
    id_, refused, key = (f"2026-11-26T10:{minutes}:00Z" for minutes in ("00", "10", "20"))
    bank = telling.Bank(tmp_path, {"features.yaml": "card:\n  spent_1h: sum(payment.amount) over 1h\n"})
    bank.pay(*(telling.payment(name, amount, card=key) for name, amount in ((id_, "189.90"), (refused, "much"))))
    own = f"/decisions/payment/{id_}", f"/entities/card/{key}", "/cases/1", "/rules/large", "/rules/large/hits"
    screens = "/queue", "/decisions", "/entities", "/checks", "/live", "/labels"

    async def steps(_: Asker, browser: Browser) -> None:
        for path in (*own, *screens):
            page = (await browser.get(path)).body.decode()
            found = [name for name in (id_, refused, key) if f'datetime="{name[:-1]}.000Z"' in page]
            assert found == [], path

    run(tmp_path, steps)
    shown = f'<a href="/decisions/payment/{quote(id_)}">{id_}</a> of {key}'
    assert times_marked(shown).startswith(shown[: -len(key)] + "<time")


@pytest.mark.parametrize(
    "text",
    [
        "2026-99-01T10:00:00Z",
        "2026-02-30T10:00:00Z",
        "2026-03-01T10:00:60Z",
        "0000-03-01T10:00:00Z",
        "\u0662" + "026-03-01T10:00:00Z",
        "o-2026-03-01T10:00:00Z-7",
        "batch/2026-03-01T10:00:00Z",
    ],
)
def test_what_only_looks_like_a_time_stays_as_it_is(text):
    assert times_marked(f"<p>{text}</p>") == f"<p>{text}</p>"
