"""A silence that a second person has to approve: asked for on a case, seen there, approved by another or taken back."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from pathlib import Path

import msgspec
import pytest

from shroff.cases import case_actions, case_queries
from shroff.cases.case_service import CaseChangedError
from shroff.events.event import time_text
from shroff.language.values import DAY_MS
from shroff.people import users
from shroff.people.access import Role
from shroff.people.store import rows_of
from shroff.services.silences.case_operations import SilenceOfCase
from tests.support.webs import Answered, Asker, Browser, asker, owned
from tests.web.test_pages import PAYMENT
from tests.web.test_queue import bank as bank  # noqa: PLC0414 - three cases, opened by a rule that hits all
from tests.web.test_queue import form, run

pytestmark = pytest.mark.slow

SILENT = {"rule": "any_payment", "for": "7d", "text": "a wedding"}
PAGE = "/cases/1"


async def post(browser: Browser, path: str, body: object) -> Answered:
    headers = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
    return await browser.send("POST", path, msgspec.json.encode(body), headers)


async def another(asks: Asker, name: str) -> Browser:
    """Another analyst, who is signed in."""
    desk, admin = asks.service.desk, asks.service.project.context.who
    await asyncio.to_thread(lambda: users.add(desk, admin, name, Role.ANALYST, password="another horse battery"))
    found = Browser(asks)
    await found.post("/login", {"name": name, "password": "another horse battery"})
    return found


def etag(page: str) -> str:
    found = re.search(r'name="etag" value="([0-9a-f]+)"', page)
    assert found is not None
    return found[1]


def second(bank: Path) -> None:
    with (bank / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write("second_person: [silences]\n")


def test_nobody_silences_a_rule_alone_where_a_second_person_approves_that(bank):
    second(bank)

    async def steps(asks: Asker, browser: Browser) -> None:
        async def outcome(number: int) -> str:
            own = {"payment_id": f"p-{number}", "paid_at": f"2026-01-{number}T08:30:00Z", "card": key}
            return str((await post(browser, "/api/v1/events/payment", {**PAYMENT, **own})).json()["outcome"])

        key = (await browser.get("/api/v1/cases/1")).json()["key"]
        ben = await another(asks, "ben")
        assert (await form(browser, f"{PAGE}/silence", PAGE, **SILENT))[:2] == (303, PAGE)
        shown = (await ben.get(PAGE)).body.decode()
        assert "requested by Ann Lee: a wedding. A second person must approve it." in shown
        assert asks.service.project.silences.all() == []
        assert await outcome(10) == "review"

        mine = {"rule": "any_payment", "etag": etag(shown)}
        assert (await form(browser, f"{PAGE}/approve-silence", PAGE, **mine))[0] == 403
        assert (await asks.ask("POST", "/api/v1/cases/1/approve-silence", mine, key="admin")).status in {401, 403}
        assert (await form(ben, f"{PAGE}/approve-silence", PAGE, **{**mine, "etag": "0" * 32}))[0] == 412
        assert (await form(ben, f"{PAGE}/approve-silence", PAGE, **mine))[:2] == (303, PAGE)
        assert [silence.by for silence in asks.service.project.silences.all()] == ["ann"]
        assert await outcome(11) == "approve"
        assert (await form(ben, f"{PAGE}/approve-silence", PAGE, **mine))[0] == 400
        done = [row["what"] for row in (await browser.get("/api/v1/cases/1")).json()["history"]]
        assert done == ["silence_asked", "silenced"]
        acts = [(row.action, row.name) for row in rows_of(asks.service.desk.store) if row.action.startswith("rule.")]
        assert acts == [("rule.silence_ask", "ann"), ("rule.silence", "ben")]

    run(bank, steps)


def test_what_was_asked_for_is_taken_back_and_no_list_goes_past_a_second_person(bank):
    second(bank)

    async def steps(asks: Asker, browser: Browser) -> None:
        until = time_text(asks.service.project.context.now_ms() + DAY_MS)
        asked = await post(browser, "/api/v1/cases/1/silence", {"rule": "any_payment", "until": until, "text": "a"})
        assert (asked.status, asked.json()["in_force"]) == (200, False)
        assert "second person" in asked.json()["why_not"]
        assert (await post(browser, "/api/v1/cases/1/end-silence", {"rule": "any_payment"})).status == 200
        assert asks.service.project.silence_requests.all() == []
        assert (await post(browser, "/api/v1/cases/1/end-silence", {"rule": "any_payment"})).status == 400
        done = [row["what"] for row in (await browser.get("/api/v1/cases/1")).json()["history"]]
        assert done == ["silence_asked", "silence_dropped"]
        acts = [row.action for row in rows_of(asks.service.desk.store) if row.action.startswith("rule.")]
        assert acts == ["rule.silence_ask", "rule.silence_drop"]

        silenced = partial(asks.service.project.silences.write, "any_payment", "c-9", until, note="", by="ann")
        await asyncio.to_thread(silenced, before=lambda _: None)
        entry = {"value": "c-1", "note": "mine", "expires_at": until}
        found = await post(browser, "/api/v1/lists/silence.any_payment/entries", entry)
        assert (found.status, b"second person approves" in found.body) == (409, True)

    run(bank, steps)


def test_a_case_that_was_changed_since_it_was_read_silences_nothing(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        project, desk = asks.service.project, asks.service.cases
        read = case_queries.detail(desk, project.context.who, 1).case.tag
        case_actions.tag(desk, project.context.who, 1, "phone")
        until = time_text(project.context.now_ms() + DAY_MS)
        act = SilenceOfCase(number=1, tag=read, rule="any_payment", until=until, text="a")
        with pytest.raises(CaseChangedError):
            await asyncio.to_thread(project.run, act)
        assert project.silences.all() == []

    run(bank, steps)


def test_a_key_may_ask_for_a_silence_and_approves_none(bank):
    second(bank)

    async def steps() -> None:
        async with asker(bank) as asks:
            await asks.ask("POST", "/api/v1/events/payment", {**PAYMENT, "payment_id": "p-1", "card": "c-1"})
            for _ in range(12_000):
                if (await asks.ask("GET", "/api/v1/cases")).json()["totals"]["count"]:
                    break
                await asyncio.sleep(0.05)
            until = time_text(asks.service.project.context.now_ms() + DAY_MS)
            wish = {"rule": "any_payment", "until": until, "text": "a wedding"}
            assert (await asks.ask("POST", "/api/v1/cases/1/silence", wish, key="analyst")).status == 403, (
                "nobody's key"
            )
            await owned(asks, "analyst", "cem")
            asked = await asks.ask("POST", "/api/v1/cases/1/silence", wish, key="analyst")
            assert (asked.status, asked.json()["in_force"]) == (200, False)
            (kept,) = asks.service.project.silence_requests.all()
            approved = {"rule": "any_payment", "etag": kept.tag}
            path = "/api/v1/cases/1/approve-silence"
            assert (await asks.ask("POST", path, approved, key="admin")).status == 403, "a key is no second person"
            assert (await asks.ask("POST", path, approved, key="person")).json()["in_force"] is True

    asyncio.run(steps())
