"""The screen of results: the numbers of the command, links to what is behind them, CSV, wrong questions."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from shroff.web.http.authentication import gate_of
from shroff.web.pages import decisions
from shroff.web.pages.decisions import DecisionsWanted
from tests.support.telling import NOW_MS, Bank, payment
from tests.support.webs import Asker, Browser, Steps, asker, let_in
from tests.web.test_pages import PAYMENT, RULE, TEMPLATE

pytestmark = pytest.mark.slow
DAY = PAYMENT["paid_at"][:10]
HOUR_MS = 3_600_000


def run(folder: Path, steps: Steps, rule: str = RULE) -> None:
    import asyncio

    shutil.copytree(TEMPLATE, folder / "bank")
    (folder / "bank" / "rules" / "any.yaml").write_text(rule, encoding="utf-8")

    async def whole() -> None:
        async with asker(folder / "bank", gate=gate_of) as asks:
            browser = Browser(asks)
            await let_in(asks, browser)
            await steps(asks, browser)

    asyncio.run(whole())


def test_a_count_leads_to_its_decisions_and_csv_has_the_same(tmp_path):
    async def steps(_: Asker, browser: Browser) -> None:
        csrf = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
        assert "No decisions on these days" in (await browser.get("/results")).body.decode()
        for number in range(3):
            body = msgspec.json.encode({**PAYMENT, "payment_id": f"p-{number}"})
            await browser.send("POST", "/api/v1/events/payment", body, csrf)
        label = {"event": "payment/p-1", "verdict": "fraud", "source": "chargeback", "known_at": f"{DAY}T10:00:00Z"}
        await browser.send("POST", "/api/v1/labels", msgspec.json.encode(label), csrf)

        page = (await browser.get("/results?by=day&zone=UTC")).body.decode()
        document = (await browser.get("/api/v1/results?by=day&zone=UTC")).json()
        assert (document["total"]["events"], document["total"]["caught"]) == (3, 1)
        assert f"{float(document['total']['money_saved']):,.2f}" in page
        assert "or none was claimed" in page, "no hours of reviews that nobody did"
        (link,) = set(re.findall(r'<a href="([^"]*outcome=review[^"]*)"', page))
        behind = (await browser.get(link.replace("&amp;", "&"))).body.decode()
        assert all(f"p-{number}" in behind for number in range(3))
        fraud = re.search(r'<a href="([^"]*label=fraud[^"]*)" aria-label="[^"]*1 frauds"', page)[1].replace(
            "&amp;", "&"
        )
        behind = (await browser.get(fraud)).body.decode()
        assert [number for number in range(3) if f"payment p-{number}" in behind] == [1]
        assert "All decisions of these days" in behind
        before = (await browser.get(fraud.replace(f"as_of={DAY}", f"as_of={DAY}T08:00:00Z&old="))).body.decode()
        assert "No decisions match this filter" in before, "the label was not known then"
        early = (await browser.get(f"/results?by=day&zone=UTC&as_of={DAY}T23:59:59Z")).body.decode()
        assert set(re.findall(r"as_of=([^\"&]*)\"", early)) == {f"{DAY}T23%3A59%3A59Z"}, "links look as early"
        of_field = (await browser.get("/results?by=channel&zone=UTC&in=count")).body.decode()
        link = re.search(r'<a href="([^"]*value=pos[^"]*)" aria-label="[^"]*3 decisions"', of_field)[1].replace(
            "&amp;", "&"
        )
        assert (await browser.get(link)).body.decode().count("<tr data-row>") == 3
        other = (await browser.get("/decisions?outcome=all&field=channel&value=%00")).body.decode()
        assert "No decisions match this filter" in other
        none = (await browser.get("/decisions/decisions.csv?outcome=all&label=none")).body.decode().splitlines()
        assert len(none) == 1 + 2
        assert "label: one of" in (await browser.get("/decisions?label=bad")).body.decode()
        for field in ("nothing", "amount", "payment_id"):
            assert "Field: one of" in (await browser.get(f"/decisions?field={field}")).body.decode()
        rows = (await browser.get("/results/results.csv?by=day&zone=UTC")).body.decode().splitlines()
        assert rows[1].startswith(f"{DAY},{DAY},3,")
        assert "is no period and no field" in (await browser.get("/results?by=nothing")).body.decode()
        assert "is not a day" in (await browser.get("/results?from=yesterday")).body.decode()
        for days in ("from=0001-01-01", "to=9999-12-31", "from=0001-01-01&by=rule"):
            assert (await browser.get(f"/api/v1/results?{days}")).status == 400

    run(tmp_path, steps)


def test_no_known_false_decline_is_no_good_news_where_declines_have_no_label(tmp_path):
    async def steps(_: Asker, browser: Browser) -> None:
        csrf = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
        for number in range(3):
            body = msgspec.json.encode({**PAYMENT, "payment_id": f"p-{number}"})
            await browser.send("POST", "/api/v1/events/payment", body, csrf)

        async def cell(query: str) -> list[str]:
            page = (await browser.get(f"/results?by=day&zone=UTC{query}")).body.decode()
            return re.findall(r">(not known|0 known|0)</span>\s*<br><span class=\"small warn one-line\">([^<]*)<", page)

        assert [(said, " ".join(of.split())) for said, of in await cell("")] == [("not known", "3 of 3 unlabeled")]
        label = {"event": "payment/p-1", "verdict": "fraud", "source": "chargeback", "known_at": f"{DAY}T10:00:00Z"}
        await browser.send("POST", "/api/v1/labels", msgspec.json.encode(label), csrf)
        for query in ("", "&in=count"):
            assert [(said, " ".join(of.split())) for said, of in await cell(query)] == [("0 known", "2 of 3 unlabeled")]
        page = (await browser.get("/results?by=day&zone=UTC")).body.decode()
        assert "1 of 1 fraud of these days caught, as decided then" in page
        assert "Each event counts on the day it happened, whenever its label came." in page
        assert "time in which 99 % of frauds become known is not over" in page

    run(tmp_path, steps, RULE.replace("effect: review", "effect: decline"))


def test_chosen_decisions_are_not_all_read_for_one_page_and_totals_of_an_arm_are_not_those_of_both(tmp_path):
    bank = Bank(tmp_path, {"notices/customer.yaml": None})
    bank.pay(*(payment(f"p-{number}", "20.00", at=NOW_MS) for number in range(120)))
    wanted = DecisionsWanted("all", label="none", text="nowhere")
    of_both, of_arm = DecisionsWanted("all", label="none"), DecisionsWanted("all", label="none", arm="B")
    chosen = decisions._chosen(bank.project, wanted)
    with bank.project.log.reading() as log, bank.project.cases.open() as desk:
        service = SimpleNamespace(project=bank.project, cases=desk)
        part = decisions._read(service, log, wanted, log.last_seq(), chosen, seqs_max=60)
        totals = [decisions._totals(bank.project.definitions, log, of, [], chosen) for of in (of_both, of_arm)]

    assert (part.lines, part.looked_to > 0) == ([], True)
    assert [found.is_whole for found in totals] == [True, False]


def test_the_pages_of_a_day_begin_at_its_end_and_end_at_its_begin(tmp_path):
    bank = Bank(tmp_path, {"notices/customer.yaml": None})
    bank.pay(*(payment(f"p-{number}", "20.00", at=NOW_MS - (60 - number) * HOUR_MS) for number in range(60)))
    with bank.project.log.reading() as log:
        for first in range(-10, 70, 7):
            start_ms = NOW_MS - (60 - first) * HOUR_MS
            wanted, upto, found = (
                DecisionsWanted("all", starts_ms=(start_ms, start_ms + 9 * HOUR_MS)),
                log.last_seq(),
                [],
            )
            while upto:
                part = decisions._read(SimpleNamespace(project=bank.project), log, wanted, upto, None, 5, seqs_max=30)
                found, upto = [*found, *(line.row.id for line in part.lines)], part.looked_to
                assert found or not upto, "the first page shows what there is"
            assert found == [f"p-{number}" for number in range(59, -1, -1) if first <= number < first + 9]
