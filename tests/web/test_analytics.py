"""Event counts as a page, as CSV and for programs; what is asked wrongly is answered with its cure."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

import shroff
from shroff.config import TEMPLATE_FOLDER
from shroff_plugins.analytics import count_operations, funnel_operations
from shroff_plugins.analytics.closed_duckdb import QueryLimits
from shroff_plugins.analytics.marts.build import MartFiles, Origin, build
from shroff_plugins.analytics.marts.models import load_models
from shroff_plugins.analytics.marts.views import ViewFiles
from shroff_plugins.analytics.pages import counts as screen
from tests.support.webs import Answered, Asker, Browser, run

COUNTS = "/api/v1/analytics/event-counts"
FACTS = "/api/v1/analytics/facts"
FUNNELS = "/api/v1/analytics/funnels"


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    shutil.copytree(TEMPLATE_FOLDER / "payments", tmp_path / "bank")
    return tmp_path / "bank"


async def call(browser: Browser, method: str, path: str, body: object = None) -> Answered:
    headers = {"x-csrf-token": await browser.csrf(), "content-type": "application/json", "accept": "*/*"}
    return await browser.send(method, path, b"" if body is None else msgspec.json.encode(body), headers)


SENT: list[dict[str, Any]] = [
    {"payment_id": f"p-{n}", "paid_at": f"2026-01-0{1 + n // 3}T08:30:00Z", "card": "c", "merchant": "=1+1",
     "amount": "1.50", "country": "DE", "channel": "web" if n % 2 else "pos"}
    for n in range(9)
]  # fmt: skip


async def fill(browser: Browser) -> None:
    assert (await call(browser, "POST", "/api/v1/events/payment", SENT)).status == 200


async def rows(browser: Browser, path: str) -> int:
    """How many rows a list has on all its pages."""
    page = (await browser.get(path)).body.decode()
    older = re.search(r'href="([^"]*cursor=[^"]*)"', page)
    return page.count("<tr data-row>") + (await rows(browser, older[1].replace("&amp;", "&")) if older else 0)


def test_counts_are_asked_by_programs_and_on_the_screen(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await fill(browser)
        days = {"startDate": "2026-01-01", "endDate": "2026-01-02", "eventTypes": ["payment"]}
        found = (await call(browser, "POST", COUNTS, days)).json()
        assert found == {
            "rows": [
                {"day": "2026-01-01", "type": "payment", "count": 3},
                {"day": "2026-01-02", "type": "payment", "count": 3},
            ],
            "total": 6,
        }
        split = (await call(browser, "POST", COUNTS, days | {"by": "channel"})).json()
        assert [(row["value"], row["count"]) for row in split["rows"]] == [
            ("pos", 2),
            ("web", 1),
            ("pos", 1),
            ("web", 2),
        ]
        types = (await call(browser, "GET", "/api/v1/analytics/event-types")).json()["types"]
        assert types[0]["type"] == "payment"
        assert {"channel", "merchant"} <= set(types[0]["fields"])
        assert not {"payment_id", "amount", "paid_at"} & set(types[0]["fields"])
        page = (await browser.get("/analytics?by=week")).body.decode()
        assert "Events by week</h2>" in page
        assert "<b>9</b> events" in page
        assert "2025-12-29" in page
        assert "Week of" in page

    run(bank, steps)


@pytest.mark.slow
def test_facts_are_asked_by_programs(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await fill(browser)
        asked = {"entity": "card", "key": "c", "as_of": "2026-01-03", "features": ["card.spent_30d"]}
        found = (await call(browser, "POST", FACTS, asked)).json()
        assert found == {
            "entity": "card",
            "key": "c",
            "as_of": "2026-01-03T00:00:00Z",
            "events": 6,
            "features": {"card.spent_30d": "9.00"},
            "left_out": {},
        }
        cut = asked | {"since": {"card.spent_30d": "2026-01-02"}}
        assert (await call(browser, "POST", FACTS, cut)).json()["features"] == {"card.spent_30d": "4.50"}
        wrong = await call(browser, "POST", FACTS, asked | {"as_of": "soon"})
        assert wrong.status == 422
        assert "as_of: " in wrong.body.decode()

    run(bank, steps)


def test_a_day_and_a_week_that_are_not_over_are_marked_in_the_chart_and_the_table(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await fill(browser)
        now_ms = int(datetime(2026, 1, 3, 22, tzinfo=UTC).timestamp() * 1_000)
        asks.service.project.context.now_ms = lambda: now_ms
        tomorrow = "?type=payment"
        for query, marked, says in (
            ("", ["3 January 2026"], "3 January 2026: 3 so far"),
            ("?by=channel", ["3 January 2026"] * 2, "3 January 2026: 3 so far"),
            ("?by=week", ["29 December 2025"], "Week of 29 December 2025: 9 so far"),
            ("?zone=Asia/Tokyo", [], ""),
            ("?to=2026-01-03", ["3 January 2026"], "3 January 2026: 3 so far"),
            ("?by=week&to=2026-01-02", [], ""),
            (tomorrow, ["3 January 2026"], "3 January 2026: 3 so far"),
        ):
            if query is tomorrow:
                later = [SENT[0] | {"payment_id": "later", "paid_at": "2026-01-04T08:30:00Z"}]
                assert (await call(browser, "POST", "/api/v1/events/payment", later)).status == 200
            page = (await browser.get(f"/analytics{query}")).body.decode().partition("<h2>Decisions and labels")[0]
            assert f"<h2>Events by {'week' if 'week' in query else 'day'}</h2>" in page
            assert re.findall(r">([^<>]+) <span[^>]*>not over<", page) == marked, query
            assert page.count('class="bar open"') == bool(says)
            assert f", not over: {says}" in page if says else "not over" not in page

    run(bank, steps)


def test_a_spreadsheet_gets_every_row_and_carries_out_none(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await fill(browser)
        found = await browser.get("/analytics/counts.csv?by=merchant&from=2026-01-01&to=2026-01-01")
        assert found.body == b"day,type,merchant,count\n2026-01-01,payment,'=1+1,3\n"

    run(bank, steps)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"eventTypes": ["paymen"]}, "Did you mean payment?"),
        ({"by": "amount"}, "payment.amount is of type money"),
        ({"source": "sns"}, "no event came from a source 'sns'"),
        ({"startDate": "2026-02-30"}, "startDate"),
        ({"start_date": "2026-02-03"}, "start_date"),
    ],
)
def test_a_question_that_cannot_be_answered_says_why(bank, body, words):
    async def steps(asks: Asker, browser: Browser) -> None:
        await fill(browser)
        found = await call(browser, "POST", COUNTS, body)
        assert found.status == 422
        assert words in found.body.decode()

    run(bank, steps)


def test_a_long_log_without_its_lake_is_not_read_for_a_screen(bank, monkeypatch):
    monkeypatch.setattr(count_operations, "PLACES_MAX", 5)

    async def steps(asks: Asker, browser: Browser) -> None:
        await fill(browser)
        found = await call(browser, "POST", COUNTS, {})
        assert found.status == 422
        assert "10 events would have to be read, but the limit here is 5" in found.body.decode()
        assert b"the limit here is" in (await browser.get("/analytics")).body

    run(bank, steps)


def test_before_the_first_event_the_screen_says_how_to_bring_some_in(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        page = await browser.get("/analytics?from=2026-01-01&to=2026-01-02")
        assert page.status == 200
        assert b"No events on these days" in page.body

    run(bank, steps)


# ---- funnels

MARCH = {"startDate": "2026-03-01", "endDate": "2026-03-04"}
DAYS = "from=2026-03-01&to=2026-03-04"


@pytest.fixture
def app(root: Path, tmp_path: Path) -> Path:
    folder = shutil.copytree(root / "examples" / "app-funnels", tmp_path / "app")
    shroff.open(folder).ingest([folder / "app.jsonl"])
    return folder


@pytest.mark.slow
def test_funnels_are_asked_by_programs(app):
    async def steps(asks: Asker, browser: Browser) -> None:
        found = (await call(browser, "POST", FUNNELS, MARCH | {"funnel": "onboard_screen"})).json()
        assert (found["first"], found["last"], found["zone"]) == ("2026-03-01", "2026-03-04", "UTC")
        last = found["rows"][-1]
        assert last == {
            "funnel": "onboard_screen", "day": "2026-03-04", "step": "entered_onboard_screen",
            "dropped_off": 23, "dropped_off_before": 24, "recovered": 1, "still_out": 23,
        }  # fmt: skip
        assert [step["users"] for step in found["steps"]] == [40, 17]
        assert len((await call(browser, "POST", FUNNELS, MARCH)).json()["rows"]) == 4 * (1 + 1 + 4 + 2 * 4)
        declared = (await call(browser, "GET", FUNNELS)).json()["funnels"]
        assert [row["funnel"] for row in declared] == ["onboard_screen", "referral_code", "onboarding", "savings"]

        asked = MARCH | {"funnel": "onboard_screen", "number": "still_out:entered_onboard_screen", "limit": 20}
        part = (await call(browser, "POST", f"{FUNNELS}/users", asked)).json()
        rest = (await call(browser, "POST", f"{FUNNELS}/users", asked | {"after": part["next"]})).json()
        assert (len(part["users"]), len(rest["users"]), part["total"], rest["next"]) == (20, 3, 23, None)
        assert sorted({*part["users"], *rest["users"]}) == part["users"] + rest["users"]

        for path, body, words in (
            (FUNNELS, {"funnel": "savngs"}, "Did you mean savings?"),
            (FUNNELS, MARCH | {"funnel": "savings", "split": "plat"}, "has a field 'plat'"),
            (f"{FUNNELS}/users", asked | {"number": "gone:saving"}, "is not a number of a funnel"),
            (f"{FUNNELS}/users", asked | {"limit": 0}, "limit"),
        ):
            refused = await call(browser, "POST", path, body)
            assert refused.status == 422
            assert words in refused.body.decode()

    run(app, steps)


def test_very_many_events_are_not_read_for_a_funnel(app, monkeypatch):
    monkeypatch.setattr(funnel_operations, "EVENTS_MAX", 100)

    async def steps(asks: Asker, browser: Browser) -> None:
        found = await call(browser, "POST", FUNNELS, MARCH)
        assert found.status == 422
        assert "events would have to be read, but the limit here is 100" in found.body.decode()
        assert b"the limit here is" in (await browser.get("/analytics/funnels")).body

    run(app, steps)


def links_of(page: str) -> dict[str, int]:
    """Where the counts of a page lead."""
    found = re.findall(r'href="([^"]*)"\s+aria-label="(\d+) events', page)
    return {path.replace("&amp;", "&"): int(count) for path, count in found}


@pytest.mark.parametrize("is_decided", [False, True])
def test_a_count_of_a_decided_type_leads_to_its_events_and_those_to_their_decisions(bank, is_decided):
    events = b"\n".join(map(msgspec.json.encode, SENT))
    (bank / "sent.jsonl").write_bytes(events)
    shroff.open(bank).ingest([bank / "sent.jsonl"], as_type="payment", decide=is_decided)

    async def steps(asks: Asker, browser: Browser) -> None:
        links = links_of((await browser.get("/analytics?from=2026-01-01&to=2026-01-03")).body.decode())
        assert list(links.values()) == [3, 3, 3]
        assert {path: await rows(browser, path) for path in links} == links
        page = (await browser.get(next(iter(links)))).body.decode()
        assert page.count('href="/decisions/payment/p-') == (3 if is_decided else 0)

    run(bank, steps)


def test_a_count_of_days_ago_leads_to_its_events(app, monkeypatch):
    first = "/analytics/events?type=saving&from=2026-03-01&to=2026-03-01"
    monkeypatch.setattr(screen, "LOOKED_AT", 2)
    monkeypatch.setattr(screen, "_BLOCK", 2)

    async def steps(asks: Asker, browser: Browser) -> None:
        monkeypatch.setattr(screen, "LOOKS_S", 3_600.0)
        assert b"<tr data-row>" in (await browser.get(first)).body
        monkeypatch.setattr(screen, "LOOKS_S", -1.0)  # the time is over: only Older finds it
        assert b"Press Older" in (await browser.get(first)).body
        monkeypatch.setattr(screen, "LOOKED_AT", 20)
        assert await rows(browser, first) == 1

    run(app, steps)


@pytest.mark.parametrize(
    ("asked", "query"),
    [
        ("", "type=saving&from=2026-03-01&to=2026-03-01&zone=UTC"),
        ("type=app_event", "type=app_event&from=2026-03-01&to=2026-03-01&zone=UTC"),
        ("by=week&zone=Europe/Berlin", "type=saving&from=2026-03-01&to=2026-03-01&zone=Europe%2FBerlin"),
        ("by=platform", "type=app_event&from=2026-03-01&to=2026-03-01&zone=UTC&field=platform&value=android"),
        ("by=source", "type=saving&from=2026-03-01&to=2026-03-01&zone=UTC&source=files"),
    ],
)
def test_every_count_leads_to_as_many_rows(app, monkeypatch, asked, query):
    monkeypatch.setattr(screen, "EVENTS_SHOWN", 4)
    monkeypatch.setattr(screen, "_BLOCK", 3)

    async def steps(asks: Asker, browser: Browser) -> None:
        links = links_of((await browser.get(f"/analytics?{DAYS}&{asked}")).body.decode())

        assert f"/analytics/events?{query}" in links
        assert {path: await rows(browser, path) for path in links} == links

    run(app, steps)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "days such as 2026-03-01"),
        ("type=gone&from=2026-03-01&to=2026-03-01", "no event type"),
        ("type=saving&from=2026-03-01&to=2026-03-01&zone=Moon", "is not a time zone"),
        ("type=saving&from=1000-01-02&to=9998-12-30&zone=Europe/Berlin", "at most 3,700"),
        ("type=saving&from=2026-03-02&to=2026-03-01", "is before the first"),
    ],
)
def test_a_list_of_events_that_cannot_be_read_says_why(app, query, words):
    async def steps(asks: Asker, browser: Browser) -> None:
        found = await browser.get(f"/analytics/events?{query}")
        assert (found.status, words in found.body.decode()) == (400, True)

    run(app, steps)


def test_the_screen_shows_a_funnel_and_gives_the_users_behind_each_number(app):
    async def steps(asks: Asker, browser: Browser) -> None:
        page = (await browser.get(f"/analytics/funnels?funnel=onboarding&{DAYS}")).body.decode()
        assert "Most stop after entered_phone_number: 14 of 31." in page
        for empty in ("/decisions", "/live"):
            assert "shroff ingest savings.csv --as saving" in (await browser.get(empty)).body.decode()
        assert page.count('scope="row"') == 5 + 4 * 4
        assert "2m45s" in page
        link = re.search(r'href="(/analytics/funnels/users\.csv[^"]*recovered[^"]*)"', page)
        assert link is not None
        users = (await browser.get(link[1].replace("&amp;", "&"))).body.decode()
        assert re.fullmatch(r"user\n(u-\d\d\n)+", users)

        split = (await browser.get(f"/analytics/funnels?funnel=savings&{DAYS}")).body.decode()
        assert "android" in split
        assert "android" not in (await browser.get(f"/analytics/funnels?funnel=savings&{DAYS}&by=")).body.decode()
        wrong = await browser.get("/analytics/funnels?from=soon")
        assert (wrong.status, "is not a day" in wrong.body.decode()) == (422, True)
        (app / "funnels.yaml").write_text("one: { user: user }\n", encoding="utf-8")
        assert "lacks steps" in (await browser.get("/analytics/funnels")).body.decode()
        (app / "funnels.yaml").unlink()
        assert "No funnels yet" in (await browser.get("/analytics/funnels")).body.decode()

    run(app, steps)


@pytest.mark.slow
def test_marts_have_a_page_each_with_chart_rows_and_columns(bank):
    files = {
        "marts/by_channel.sql": "-- By channel.\n-- channel: <Where>.\n"
        "FROM (VALUES ('web', 7, 1e3 / 3), ('<pos>', 1300, 0.0123456e0)) AS t(channel, payments, mean)",
        "marts/by_channel.yaml": "chart: {labels: channel, values: payments}\nunique: [channel]",
        "marts/staging/some.sql": "SELECT 1 AS x",
    }

    async def steps(asks: Asker, browser: Browser) -> None:
        assert "No report tables yet" in (await browser.get("/marts")).body.decode()
        lake = ViewFiles({}, {})
        (bank / ".shroff/marts/work/spill").mkdir(parents=True)
        to = MartFiles(bank / ".shroff/marts")
        build(load_models(files, ()), Origin(lake, {"0": 1}, 0), to, QueryLimits("500MB", 1))
        listed = (await browser.get("/marts")).body.decode()
        assert 'href="/marts/by_channel"' in listed
        assert 'name="kind" value="marts">Build now' in listed
        page = (await browser.get("/marts/by_channel")).body.decode()
        assert "<title>&lt;pos&gt;: 1,300</title>" in page, "the chart"
        assert ">payments by channel</p>" in page, "what the chart shows"
        assert all(f'<td class="number">{text}</td>' in page for text in ("1,300", "333.33", "0.01235"))
        assert "&lt;Where&gt;." in page
        assert "A view stores no rows" in (await browser.get("/marts/some")).body.decode()
        assert (await browser.get("/marts/by_chanel")).status == 404

    run(bank, steps)
