"""What the queue and a case show of the customer: whether they were asked, when, and what they said."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from html import unescape

import msgspec
import pytest

from shroff.language.values import DAY_MS, HOUR_MS
from shroff.notices.mailer import Unmailed
from shroff.runtime.values import replace
from shroff.web.http.authentication import gate_of
from tests.support.telling import Bank, notice, payment, token_in
from tests.support.webs import Asker, Browser, Steps, asker, let_in

pytestmark = pytest.mark.slow


def run(bank: Bank, steps: Steps) -> None:
    """The steps of an admin, by the bank's clock."""

    async def whole() -> None:
        async with asker(bank.folder, gate=gate_of, now_ms=lambda: bank.clock_ms) as asks:
            asks.service.cases = replace(asks.service.cases, now_ms=lambda: bank.clock_ms)
            browser = Browser(asks)
            await let_in(asks, browser)
            await until(browser, lambda cases: len(cases) > 0)
            await steps(asks, browser)

    asyncio.run(whole())


async def until(browser: Browser, is_so: Callable[[list[dict[str, object]]], bool]) -> None:
    """Wait until the queue is so."""
    for _ in range(12_000):
        if is_so((await browser.get("/api/v1/cases")).json()["cases"]):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come in time")


async def said(browser: Browser, path: str, pattern: str) -> str:
    """The words of a part of a page."""
    body = (await browser.get(path)).body.decode()
    found = re.search(pattern, body, re.DOTALL)
    assert found is not None, body
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", found[1])).split())


async def everywhere(browser: Browser) -> list[str]:
    """What the queue, what stands beside it, and the page of case 1 say of the customer."""
    return [
        await said(browser, "/queue", r'class="said-cell">(.*?)</td>'),
        await said(browser, "/queue/peek/1", r"<dt>Customer</dt><dd>(.*?)</dd>"),
        await said(browser, "/cases/1", r"Customer’s answer</h2>.*?</header>(.*?)</section>"),
    ]


def test_that_the_customer_was_asked_and_what_they_said_stands_at_the_case(tmp_path):
    bank = Bank(tmp_path)
    bank.pay(payment())
    bank.tell()
    path = f"/confirm/{token_in(bank.post.read[-1])}"

    async def steps(asks: Asker, browser: Browser) -> None:
        when = "28 May 2026, 20:26"
        assert await everywhere(browser) == [
            f"asked {when}",
            f"asked {when}",
            f"asked, no answer yet about p-1 : asked {when} , may answer until 29 May 2026, 20:26",
        ]
        bank.clock_ms += HOUR_MS
        assert (await browser.post(path, {"answer": "no"})).status == 200
        later = "28 May 2026, 21:26"
        assert await everywhere(browser) == [
            f"not me {later}",
            f"not me {later}",
            f"not me about p-1 : asked {when} , answered {later}",
        ]
        await until(browser, lambda cases: cases[0]["customer"] == "fraud")
        assert (await everywhere(browser))[0] == f"not me {later}"
        (question,) = (await browser.get("/api/v1/cases/1")).json()["questions"]
        assert (question["event"], question["verdict"], question["trouble"]) == ("payment/p-1", "fraud", None)
        assert (question["asked"][:16], question["answered"][:16]) == ("2026-05-28T20:26", "2026-05-28T21:26")
        history = await said(browser, "/cases/1", r"<h2>History</h2>.*?</header>(.*?)</section>")
        assert history == f"Denied: payment p-1 the customer, {later}"

    run(bank, steps)


def test_a_customer_who_does_not_answer_in_time_and_one_who_was_not_asked(tmp_path):
    bank = Bank(tmp_path)
    bank.pay(payment(), payment("p-2", card="c-2", email=None))
    bank.tell()
    bank.clock_ms += DAY_MS

    async def steps(asks: Asker, browser: Browser) -> None:
        first, _, whole = await everywhere(browser)
        assert first == "no answer asked 28 May 2026, 20:26"
        assert whole.endswith("the link ended 29 May 2026, 20:26")
        other = await said(browser, "/queue/peek/2", r"<dt>Customer</dt><dd>(.*?)</dd>")
        assert other == "not asked about this"

    run(bank, steps)


def test_a_question_that_did_not_reach_the_customer_says_so(tmp_path):
    bank = Bank(tmp_path, notice("to: { field: email }\nask: true\n"))
    bank.pay(payment())
    bank.post.failing = [[Unmailed("ann@customers.example", "550 no such user")]]
    bank.tell()

    async def steps(asks: Asker, browser: Browser) -> None:
        first, _, whole = await everywhere(browser)
        assert first == "not reached"
        assert "550 no such user" in whole

    run(bank, steps)


def test_a_denial_of_what_was_approved_comes_into_the_queue_by_itself(tmp_path):
    bank = Bank(tmp_path)
    bank.pay(payment(), payment("p-2", "20.00", card="c-2"))

    async def steps(asks: Asker, browser: Browser) -> None:
        label = {"event": "payment/p-2", "verdict": "fraud", "source": "customer", "known_at": bank.clock_ms}
        csrf = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
        sent = await browser.send("POST", "/api/v1/labels", msgspec.json.encode(label), csrf)
        assert sent.status == 200, sent.body
        await until(browser, lambda cases: len(cases) == 2)
        assert await said(browser, "/queue/peek/2", r"<dt>Customer</dt><dd>(.*?)</dd>") == "not me"
        assert "the customer says that it was not them" in (await browser.get("/cases/2")).body.decode()

    run(bank, steps)
