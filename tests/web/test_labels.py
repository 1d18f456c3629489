"""Labels as a screen and for programs: what came of whom, how fast, what contradicts, what waits, who answered."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.explain.hit_records import HitEvent, HitRecords
from shroff.language.values import DAY_MS, HOUR_MS
from shroff.notices.store import Question
from shroff.services.labels import reports as label_reports
from shroff.services.thresholds.cutoffs import ScoreCutoffs
from shroff.web.service import THREADS
from tests.support.webs import Answered, Asker, Browser, run

pytestmark = pytest.mark.slow

NOW = datetime(2026, 3, 9, 0, 30, tzinfo=UTC)  # half an hour into a day
WEEK_MS = 7 * DAY_MS
TEMPLATE = TEMPLATE_FOLDER / "payments"
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    shutil.copytree(TEMPLATE, tmp_path / "bank")
    return tmp_path / "bank"


def payment(number: int) -> dict[str, str]:
    known = {"payment_id": f"p-{number}", "paid_at": f"2026-01-05T08:{number:02d}:00Z", "card": f"c-{number}"}
    more = {"merchant": "m-1", "terminal": "t-1", "amount": "20.00", "country": "DE", "channel": "pos"}
    return {**known, **more}


def said(number: int | str, verdict: str, source: str, day: int) -> dict[str, str]:
    known_at = f"2026-01-{day:02d}T12:00:00Z"
    return {"event": f"payment/p-{number}", "verdict": verdict, "source": source, "known_at": known_at}


async def post(browser: Browser, path: str, *rows: object) -> None:
    headers = {"x-csrf-token": await browser.csrf(), "content-type": "application/json", "accept": "*/*"}
    found = await browser.send("POST", path, msgspec.json.encode(rows), headers)
    assert found.status == 200, found.body


async def figures(browser: Browser) -> Any:
    return (await browser.get("/api/v1/labels")).json()


def test_before_anything_is_known_the_page_says_how_labels_come(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        assert b"shroff label labels.csv" in (await browser.get("/labels")).body
        assert (await browser.get("/labels?period=9d")).status == 400
        assert (await figures(browser))["events"] == 0

    run(bank, steps)


def test_the_day_that_is_not_over_is_marked_in_the_chart_and_the_table_of_labels(bank, monkeypatch):
    now_ms = int(datetime(2026, 1, 9, 22, tzinfo=UTC).timestamp() * 1_000)

    async def steps(asks: Asker, browser: Browser) -> None:
        await post(browser, "/api/v1/events/payment", *(payment(number) for number in range(4)))
        labeled = (said(number, "fraud", "analyst", day) for number, day in ((1, 6), (2, 6), (3, 9)))
        await post(browser, "/api/v1/labels", *labeled)
        assert "not over" not in (await browser.get("/labels")).body.decode()
        monkeypatch.setattr(asks.service.project.context, "now_ms", lambda: now_ms)
        page = (await browser.get("/labels")).body.decode()

        assert page.count('class="bar open"') == 1
        assert page.count('class="bar-bad open"') == 1
        assert "not over: 9 January 2026: 1, 1 fraud so far" in page
        assert re.findall(r'row">([^<]*) <span[^>]*>not over<', page) == ["9 January 2026"]

    run(bank, steps)


def test_what_came_is_counted_by_source_and_verdict_and_followed(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await post(browser, "/api/v1/events/payment", *(payment(number) for number in range(10)))
        await post(
            browser,
            "/api/v1/labels",
            said(1, "fraud", "chargeback", 6),
            said(2, "genuine", "analyst", 6),
            said(3, "unclear", "analyst", 8),
            said(f"{EVIL}", "fraud", "chargeback", 9),
        )
        found = await figures(browser)
        assert {item["source"]: item["verdicts"] for item in found["came"]} == {
            "chargeback": {"fraud": 1},
            "analyst": {"genuine": 1, "unclear": 1},
            "customer": {},
            "import": {},
        }
        assert (found["events"], found["in_force"]) == (3, {"fraud": 1, "genuine": 1, "unclear": 1})
        assert (found["waiting"], found["counted_from"]) == (1, 1)
        page = (await browser.get("/labels?period=all")).body.decode()
        assert "labels by the day they became known" in page
        team = " ".join((await browser.get("/team")).body.decode().split())
        assert "Nobody has answered a case in this period. Labels of analysts that came by file or API count on" in team
        assert "&lt;script&gt;alert(1)" in page
        assert "<script>" not in page
        await post(browser, "/api/v1/labels", said(4, "fraud", "import", 9))
        assert (await figures(browser))["events"] == 4
        week = (await browser.get("/labels?period=7d")).body.decode()
        assert "9 January 2026" in week

    run(bank, steps)


def test_what_contradicts_is_listed_newest_first_with_the_word_that_holds(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await post(browser, "/api/v1/events/payment", *(payment(number) for number in range(4)))
        await post(
            browser,
            "/api/v1/labels",
            said(1, "genuine", "customer", 6),
            said(2, "genuine", "analyst", 6),
            said(1, "fraud", "chargeback", 8),
            said(2, "fraud", "analyst", 9),
            said(3, "genuine", "customer", 9),
        )
        found = await figures(browser)
        assert found["conflicts"] == 2
        assert [(conflict["id"], conflict["kind"]) for conflict in found["newest_conflicts"]] == [
            ("p-2", "taken back"),
            ("p-1", "sources"),
        ]
        assert [label["in_force"] for label in found["newest_conflicts"][1]["labels"]] == [False, True]
        page = (await browser.get("/labels")).body.decode()
        assert '<a href="#conflicts">2 conflicting</a>' in page
        assert 'id="conflicts"' in page
        assert "chargeback is stronger than customer" in page
        assert "same source; the later label wins" in page
        assert found["customers"]["held"] == [
            {"verdict": "fraud", "judged": 0, "held": 0},
            {"verdict": "genuine", "judged": 1, "held": 0},
        ]
        assert "<dt>“Yes” that was fraud</dt><dd>1 of 1</dd>" in page

    run(bank, steps)


def test_the_curve_is_that_of_the_command(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await post(browser, "/api/v1/events/payment", *(payment(number) for number in range(10)))
        late = {**payment(50), "payment_id": "late", "paid_at": "2026-02-05T08:00:00Z"}
        await post(browser, "/api/v1/labels", *(said(item, "fraud", "chargeback", 6 + item) for item in range(8)))
        await post(browser, "/api/v1/labels", said(8, "fraud", "analyst", 7), said(9, "fraud", "analyst", 7))
        await post(browser, "/api/v1/events/payment", late)
        command = asks.service.project.label_reports.maturity()
        found = (await figures(browser))["maturity"]
        assert found["frauds"] == command.frauds == 10
        assert [item["share"] for item in found["curve"]] == [point.share for point in command.points]
        page = (await browser.get("/labels")).body.decode()
        assert page.count("<polyline") == 3, "all, and each of the two sources"
        assert "100.0\N{NO-BREAK SPACE}%" in page

    run(bank, steps)


def test_customers_answers_of_a_week_are_counted(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await post(browser, "/api/v1/events/payment", payment(1))
        project = asks.service.project
        now_ms = project.context.now_ms()

        def ask() -> None:
            with project.notice_files.told() as store, store.change() as change:
                for at, answer in enumerate(("yes", "yes", "no", "", "")):
                    ends_ms = now_ms + (1_000_000 if at == 3 else -1)
                    about = f"q-{at}", "l", "n", "payment/p-1", "r", bytes(32)
                    change.put_question(Question(*about, now_ms - 60_000, ends_ms, answer))

        await asyncio.to_thread(ask)
        await asyncio.to_thread(project.label, "payment/p-1", "fraud", source="customer")  # by telephone
        found = (await figures(browser))["customers"]
        assert [found[text] for text in ("asked_7d", "yes", "no", "no_answer", "open")] == [5, 0, 1, 1, 1]
        page = (await browser.get("/labels")).body.decode()
        assert "20\N{NO-BREAK SPACE}% of the mails" in page
        flow = page[page.index('<ol class="flow">') : page.index("that was fraud")]
        asked, *answers = map(int, re.findall(r"<dd>(?:<a[^>]*>)?(\d+)(?:</a>)?</dd>", flow))
        assert (asked, answers) == (5, [2, 1, 1, 1]), "nobody answers who was not asked"

    run(bank, steps)


def test_of_a_long_log_the_newest_part_is_counted_and_the_page_says_so(bank, monkeypatch):
    async def steps(asks: Asker, browser: Browser) -> None:
        await post(browser, "/api/v1/events/payment", *(payment(number) for number in range(10)))
        await post(browser, "/api/v1/labels", *(said(item, "fraud", "analyst", 6) for item in range(10)))
        with asks.service.project.log.reading() as log:
            last = log.last_seq()
        monkeypatch.setattr(label_reports, "LOOK_BACK", 4)
        found = await figures(browser)
        assert (found["events"], found["counted_from"], found["counted_to"]) == (4, last - 3, last)
        assert f"Counted from sequence number {last - 3}" in (await browser.get("/labels")).body.decode()

    run(bank, steps)


@pytest.mark.parametrize(
    "path, of, name", [("/labels", label_reports.LabelReports, "look"), ("/thresholds", ScoreCutoffs, "thresholds")]
)
def test_who_waits_for_a_long_look_keeps_nobody_from_another_page(bank, monkeypatch, path, of, name):
    begun, may_end = threading.Event(), threading.Event()
    look = getattr(of, name)

    def slow(self: Any, *asked: Any, **more: Any) -> Any:
        begun.set()
        assert may_end.wait(120)
        return look(self, *asked, **more)

    async def steps(asks: Asker, browser: Browser) -> None:
        monkeypatch.setattr(of, name, slow)
        waiting = [asyncio.ensure_future(browser.get(path)) for _ in range(2 * THREADS)]
        try:
            await asyncio.to_thread(begun.wait, 120)
            assert (await asyncio.wait_for(browser.get("/settings/users"), 120)).status == 200
            assert not any(item.done() for item in waiting)
        finally:
            may_end.set()
        assert {item.status for item in await asyncio.gather(*waiting)} == {200}

    run(bank, steps)


FILE = """event;verdict;source;known_at
payment/p-1;FRAUD;chargeback;2026-01-20
payment/p-2;Genuine;Analyst;2026-01-20T10:00:00Z
payment/nope;fraud;import;2026-01-20
payment/p-3;maybe;import;2026-01-20
<script>alert(1)</script>;fraud;import;2026-01-20
"""


async def sent(browser: Browser, path: str, **form: str) -> Answered:
    return await browser.post(path, {"csrf": await browser.csrf(), **form})


def test_a_file_is_looked_at_before_its_labels_are_recorded(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await post(browser, "/api/v1/events/payment", *(payment(number) for number in range(4)))
        looked = (await sent(browser, "/labels/file", csv=FILE)).body.decode()
        assert "<b>4</b> labels to record: 3 fraud, 1 genuine; 1 line refused." in looked
        assert "expected one of fraud, genuine, unclear; found &#39;maybe&#39;" in looked
        assert "not in the log yet" in looked
        assert "<script>" not in looked
        assert (await figures(browser))["events"] == 0, "nothing is recorded by looking"
        done = await sent(browser, "/labels/file/record", csv=FILE)
        assert done.headers["location"] == "/labels?recorded=2&unmatched=2&refused=1"
        assert (
            "Labels: 2 recorded, 2 unmatched, 1 refused." in (await browser.get(done.headers["location"])).body.decode()
        )
        assert (await figures(browser))["in_force"] == {"fraud": 1, "genuine": 1}
        again = (await sent(browser, "/labels/file/record", csv=FILE)).headers["location"]
        assert again == "/labels?already_recorded=4&refused=1"

    run(bank, steps)


@pytest.mark.parametrize(
    ("csv", "says"),
    [
        ("", "The file is empty"),
        ("event,verdict,source,known_at\n", "The file has no labels"),
        ("a,b\n1,2\n", "lacks"),
        (
            "event,verdict,source,known_at\n" + "payment/p-1,fraud,import,2026-01-20\n" * 10_001,
            "more than 10,000 labels",
        ),
    ],
)
def test_what_is_no_file_of_labels_is_refused_with_why(bank, csv, says):
    async def steps(asks: Asker, browser: Browser) -> None:
        found = await sent(browser, "/labels/file", csv=csv)
        assert found.status == 422
        assert says in found.body.decode()
        assert b"Record" not in found.body

    run(bank, steps)


def test_a_file_that_is_too_large_is_refused(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        assert (await sent(browser, "/labels/file", csv="x" * 1_100_000)).status == 413

    run(bank, steps)


def test_an_event_is_as_young_by_age_as_where_its_label_is_waited_for():
    now_ms, hits = round(NOW.timestamp() * 1_000), HitRecords(now_ms=round(NOW.timestamp() * 1_000))
    times_ms = np.array([now_ms - age_ms for age_ms in (-1, 0, WEEK_MS - HOUR_MS, WEEK_MS - 1, WEEK_MS, WEEK_MS + 1)])
    definitions = SimpleNamespace(models={})
    young = [hits.is_immature(HitEvent(1, "payment", "p", time_ms, None, {}), definitions) for time_ms in times_ms]

    assert label_reports._without_label(times_ms, times_ms[:0], now_ms)[:2] == [sum(young), len(young) - sum(young)]
    assert label_reports._without_label(times_ms, times_ms[1:3], now_ms) == [2, 2, 0, 0]


def test_decided_events_without_a_label_are_counted_by_age(bank):
    types = bank / "events.yaml"
    signup = "signup: { id: signup_id, time: at, fields: { signup_id: text, at: time } }\n"
    types.write_text(signup + types.read_text(encoding="utf-8"), encoding="utf-8")

    async def steps(asks: Asker, browser: Browser) -> None:
        days = ("2026-01-05", "2026-03-01", "2026-03-20", "2026-04-09", "2026-04-10")
        events = [{**payment(at), "paid_at": f"{day}T08:00:00Z"} for at, day in enumerate(days)]
        await post(browser, "/api/v1/events/payment", *events)
        assert [figure["events"] for figure in (await figures(browser))["without_label"]] == [2, 1, 1, 1]
        await post(browser, "/api/v1/labels", said(0, "fraud", "analyst", 31))
        assert [figure["events"] for figure in (await figures(browser))["without_label"]] == [2, 1, 1, 0]
        await post(
            browser,
            "/api/v1/events/signup",
            *({"signup_id": f"s-{at}", "at": "2026-01-30T08:00:00Z"} for at in range(3)),
        )
        signups = ({**said(0, "fraud", "analyst", 31), "event": f"signup/s-{at}"} for at in range(3))
        await post(browser, "/api/v1/labels", *signups)
        shown = (await browser.get("/labels")).body.decode()
        assert "30 to 90 days" in shown
        assert "20.0\N{NO-BREAK SPACE}% of the decided events have one" in shown, "not four of eight"

    run(bank, steps)
