"""The pages of the queue: who may do what there, that forms come back to where they were, and that nothing is run."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from markupsafe import escape

from shroff.adapters.people.sql import SqlPeople
from shroff.cases import case_queries
from shroff.cases.case import Case
from shroff.cases.timers import carry_out
from shroff.errors import LogBusyError, TransientError
from shroff.events.event import time_text
from shroff.language.values import DAY_MS
from shroff.people import links, users
from shroff.people.access import Role
from shroff.people.store import rows_of
from shroff.runtime.values import replace
from shroff.services.cases.documents import case_of
from shroff.web.http.authentication import gate_of
from shroff.web.pages.cases import queue
from shroff.web.pages.cases.casework import QueueLine, where_from, where_of
from tests.support.projects import FILES, write_files
from tests.support.webs import PASSWORD, Asker, Browser, Steps, asker, let_in
from tests.web.test_live import Listener
from tests.web.test_pages import EVIL, PAYMENT, RULE, TEMPLATE
from tests.web.test_people import call
from tests.web.test_two_people import second

pytestmark = pytest.mark.slow


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    shutil.copytree(TEMPLATE, tmp_path / "bank")
    (tmp_path / "bank" / "rules" / "any.yaml").write_text(RULE, encoding="utf-8")
    return tmp_path / "bank"


def at_noon() -> int:
    """Noon of this day, for what is counted by day: no test runs past its end."""
    return time.time_ns() // 1_000_000 // DAY_MS * DAY_MS + DAY_MS // 2


def run(folder: Path, steps: Steps, now_ms: Callable[[], int] | None = None, **more: str) -> None:
    """The steps of an admin, once payments whose merchant is a script, with these fields, have raised cases."""

    async def whole() -> None:
        async with asker(folder, gate=gate_of, now_ms=now_ms) as asks:
            browser = Browser(asks)
            await let_in(asks, browser)
            csrf = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
            for number in range(3):
                given = {**PAYMENT, "payment_id": f"p-{number}", "card": f"c-{number}{EVIL}", **more}
                sent = await browser.send("POST", "/api/v1/events/payment", msgspec.json.encode(given), csrf)
                assert sent.json()["outcome"] == "review"
            for _ in range(12_000):
                if (await browser.get("/api/v1/cases")).json()["totals"]["count"] == 3:
                    break
                await asyncio.sleep(0.05)
            await steps(asks, browser)

    asyncio.run(whole())


async def form(browser: Browser, path: str, page: str = "/queue", **more: str) -> tuple[int, str, str]:
    """Send a form of a page; gives the status, where it leads, and the page of a refusal."""
    token = re.search(r'name="csrf" value="([0-9a-f]+)"', (await browser.get(page)).body.decode())
    assert token is not None
    found = await browser.post(path, {"csrf": token[1], **more})
    return found.status, found.headers.get("location", ""), found.body.decode()


def test_nothing_of_an_event_or_a_note_becomes_a_part_of_a_page(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await form(browser, "/cases/1/note", "/cases/1", text=EVIL)
        for path in ("/queue", "/queue/peek/1", "/cases/1", f"/queue?text={'%3Cscript%3E'}", "/queue?entity=%22%3E"):
            found = await browser.get(path)
            assert found.status == 200
            assert "<script>" not in found.body.decode()
            assert str(7001 * 7001) not in found.body.decode()
        assert "&lt;script&gt;" in (await browser.get("/cases/1")).body.decode()

    run(bank, steps)


def test_an_empty_view_says_what_belongs_there_and_names_no_order(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        for view, says in (
            ("assignee=me", "Claim next takes the most urgent case"),
            ("state=snoozed", "Snooze puts a case away"),
            ("state=escalated", "Escalate hands a case to another person"),
        ):
            shown = (await browser.get(f"/queue?{view}")).body.decode()
            assert "No cases here" in shown
            assert says in shown
            assert "Late or due within the hour first" not in shown
        assert "Late or due within the hour first" in (await browser.get("/queue")).body.decode()

    run(bank, steps)


def test_amounts_of_the_queue_have_their_currency_on_a_phone(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        assert '<span class="only-phone"> EUR' in (await browser.get("/queue")).body.decode()

    run(bank, steps)


def test_a_form_comes_back_to_the_filter_and_the_row_it_was_sent_from(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        where = {"filter": "assignee=free&order=stake", "row": "1"}
        status, path, _ = await form(browser, "/cases/2/decide", verdict="fraud", **where)
        assert (status, path) == (303, "/queue?assignee=free&order=stake&row=1")
        _, path, _ = await form(browser, "/queue/claim-next", **where)
        assert path == "/cases/1?assignee=free&order=stake&row=1"
        _, path, _ = await form(browser, "/cases/1/release", **where)
        assert path == "/cases/1?assignee=free&order=stake&row=1"
        assert (await form(browser, "/cases/3/decide", verdict="fraud", filter="//evil.example"))[1] == "/queue"
        assert (await form(browser, "/cases/3/note", text="x", filter="evil=//evil.example"))[0] == 400

    run(bank, steps)


def test_everything_that_is_done_with_a_case_can_be_done_by_forms_alone(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        async def state(number: int = 1) -> str:
            return str((await browser.get(f"/api/v1/cases/{number}")).json()["state"])

        for verb, more, after in (
            ("claim", {}, "claimed"),
            ("assign", {"to": "ann"}, "open"),
            ("escalate", {"text": "hard"}, "escalated"),
            ("snooze", {"for": "4h"}, "snoozed"),
            ("decide", {"verdict": "genuine", "event": "payment/p-0"}, "closed"),
            ("reopen", {"text": "again"}, "open"),
        ):
            assert (await form(browser, f"/cases/1/{verb}", "/cases/1", **more))[0] == 303
            assert await state() == after
        tags = {f"case-{number}": "" for number in (2, 3)}
        assert (await form(browser, "/queue/bulk", action="unclear", **tags))[1] == "/queue"
        assert [await state(number) for number in (2, 3)] == ["closed", "closed"]
        undo = re.search(r'name="undo" value="(\d+)"', (await browser.get("/queue")).body.decode())
        assert undo is not None
        assert (await form(browser, "/queue/undo", undo=undo[1]))[0] == 303
        assert [await state(number) for number in (2, 3)] == ["open", "open"]
        for path, more in (("snooze", {"for": "soon"}), ("snooze", {"for": "900d"}), ("decide", {"verdict": "x"})):
            assert (await form(browser, f"/cases/1/{path}", "/cases/1", **more))[0] == 422
        assert (await form(browser, "/queue/undo", undo="99"))[0] == 409
        assert (await form(browser, "/cases/99/claim"))[0] == 404
        assert b"or use the search" in (await browser.get("/cases/99")).body
        assert (await browser.get("/cases/x")).status == 404

    run(bank, steps)


WORK = """
cases:
  checklists: { card: { called: { text: Customer <called>, required: true } } }
  macros: { stolen: { verdict: fraud, note: Reported., tags: [stolen] } }
  queues: { rings: { when: this.amount > 1000000000 } }
"""


def test_tags_the_checklist_and_macros_are_on_the_page_of_a_case(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        status, _, body = await form(browser, "/cases/1/macro", "/cases/1", macro="stolen")
        assert (status, "<b>Not saved.</b> Case 1 closes once its checklist is done" in body) == (422, True)
        assert "Customer &lt;called&gt;" in body
        assert "is not a tag" in (await form(browser, "/cases/1/tags", "/cases/1", tags="<b>"))[2]
        assert "there is no queue" in (await form(browser, "/cases/1/move", "/cases/1", queue="none"))[2]
        for verb, more, after in (
            ("move", {"queue": "rings"}, "/cases/1"),
            ("tags", {"tags": "Mule, ring"}, "/cases/1"),
            ("check", {"item": "called"}, "/cases/1"),
            ("macro", {"macro": "stolen"}, "/queue"),
        ):
            assert (await form(browser, f"/cases/1/{verb}", "/cases/1", **more))[:2] == (303, after)
        found = (await browser.get("/api/v1/cases/1")).json()
        assert (found["verdict"], found["tags"], found["checks"][0]["done"]) == (
            "fraud",
            ["mule", "ring", "stolen"],
            True,
        )
        assert found["queue"] == "rings"
        listed = (await browser.get("/queue?queue=rings&state=closed")).body.decode()
        assert ("<option selected>rings</option>" in listed, 'data-number="1"' in listed) == (True, True)
        assert "/queue?state=closed&amp;tag=mule" in (await browser.get("/team")).body.decode()
        assert (
            'href="/cases/1?state=closed&amp;tag=mule"'
            in (await browser.get("/queue?tag=mule&state=closed")).body.decode()
        )
        assert "No cases match this filter" in (await browser.get("/queue?tag=mul&state=all")).body.decode()

    with (bank / "shroff.yaml").open("a", encoding="utf-8") as settings:
        settings.write(WORK)
    run(bank, steps)


CLOSES = "\ncases:\n  auto_close: { small: { when: this.amount > 0, from: 2999-01-01, at_most: 80% } }\n"


def test_a_rule_that_closes_cases_is_shown_on_the_past_approved_and_stopped_on_the_page_of_the_team(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        def shown(body: str) -> list[bool]:
            marks = (
                "Show on past cases",
                "not approved",
                'value="approve"',
                "too few answers",
                "active",
                'value="stop"',
            )
            return [mark in body for mark in marks]

        assert shown((await browser.get("/team")).body.decode()) == [True, True, False, False, False, False]
        past = (await browser.get("/team?past=1")).body.decode()
        assert shown(past) == [False, True, False, True, False, False]
        refused = (await form(browser, "/team/auto-close/small", "/team", do="approve"))[2]
        assert "would have closed 3 cases, 0 of them with an answer" in refused
        for case in (1, 2):
            await form(browser, f"/cases/{case}/decide", "/queue", verdict="genuine")
        assert 'value="approve"' in (await browser.get("/team?past=1")).body.decode()
        assert (await form(browser, "/team/auto-close/small", "/team", do="approve"))[:2] == (303, "/team")
        assert shown((await browser.get("/team")).body.decode()) == [True, False, False, False, True, True]
        await form(browser, "/team/auto-close/small", "/team", do="stop")
        assert '<b class="warn">stopped</b>' in (await browser.get("/team")).body.decode()
        rules = (await browser.get("/api/v1/auto-close")).json()["rules"]
        assert [(rule["name"], rule["state"], rule["by"]) for rule in rules] == [("small", "stopped", "Ann Lee")]

    with (bank / "shroff.yaml").open("a", encoding="utf-8") as settings:
        settings.write(CLOSES)
    run(bank, steps, paid_at=time_text(int(time.time() * 1_000) - 60_000))


def test_a_rule_that_closes_cases_takes_two_people_where_rules_do(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        for case in (1, 2):
            await form(browser, f"/cases/{case}/decide", "/queue", verdict="genuine")
        other, asked = await second(asks), "/api/v1/auto-close/small/approve"

        async def state() -> tuple[str, str | None]:
            (rule,) = (await browser.get("/api/v1/auto-close")).json()["rules"]
            return rule["state"], rule["by"]

        for _ in range(2):
            waits = await call(browser, "POST", asked, {})
            assert (waits.status, waits.json()["type"].endswith("waits-for-second")) == (403, True)
        assert await state() == ("new", None)
        assert (await call(other, "POST", asked, {})).status == 200
        assert await state() == ("approved", "ben")

    with (bank / "shroff.yaml").open("a", encoding="utf-8") as settings:
        settings.write(f"second_person: [rules]\n{CLOSES}")
    run(bank, steps, paid_at=time_text(int(time.time() * 1_000) - 60_000))


def test_an_escalated_case_says_by_whom_and_why_and_all_count_the_same_as_open(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await form(browser, "/cases/1/escalate", "/cases/1", text="two banks <b>")
        says = re.compile(r"Escalated by <b>Ann Lee</b>, <time[^>]*>[^<]*</time>: two banks &lt;b&gt;")
        for path in ("/cases/1", "/queue/peek/1", "/queue?state=escalated"):
            assert says.search((await browser.get(path)).body.decode()), path
        assert not says.search((await browser.get("/queue")).body.decode())
        queue_page, team = [(await browser.get(path)).body.decode() for path in ("/queue", "/team")]
        assert "2 open cases to work on now" in queue_page
        assert '<dt>Open cases</dt><dd><a href="/queue">2</a></dd>' in team
        await form(browser, "/cases/1/escalate", "/cases/1", text="two cards", to="ann")
        assert "Escalated by <b>Ann Lee</b> to <b>Ann Lee</b>" in (await browser.get("/cases/1")).body.decode()
        await form(browser, "/cases/1/decide", "/cases/1", verdict="fraud")
        assert not says.search((await browser.get("/cases/1")).body.decode())

    run(bank, steps)


def test_a_case_shows_what_came_before_and_after_it_on_its_card_with_its_case_and_answer(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await form(browser, "/cases/1/decide", "/cases/1", verdict="fraud")
        csrf = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
        later = {**PAYMENT, "payment_id": "p-9", "card": f"c-0{EVIL}", "paid_at": "2026-01-05T09:30:00Z"}
        await browser.send("POST", "/api/v1/events/payment", msgspec.json.encode(later), csrf)
        for _ in range(12_000):
            if (await browser.get("/api/v1/cases/4")).status == 200:
                break
            await asyncio.sleep(0.05)
        before, after = [(await browser.get(f"/cases/{number}")).body.decode() for number in (1, 4)]
        others = re.compile(
            r">(p-\d)</a>.*?<a href=\"/cases/(\d)\">\d</a> <span class=\"second\">(\w+)</span>.*?</tr>", re.DOTALL
        )
        ((id_, case, state),) = others.findall(before.partition("Other events of this card")[2])
        assert (id_, case, state) == ("p-9", "4", "open")
        ((id_, case, state),) = others.findall(after.partition("Other events of this card")[2])
        assert (id_, case, state) == ("p-0", "1", "closed")
        assert 'class="badge badge-fraud"' in after.partition("Other events of this card")[2]
        assert "none yet</b>" in before.partition("Other events of this card")[2]
        assert "Other events of this card" not in (await browser.get("/cases/2")).body.decode()
        seen = after.partition("Seen with this card")[2].partition("</section>")[0]
        ((entity, name, events),) = re.findall(r'/entities/(\w+)/[^"]*">([^<]*)</a>&nbsp;<span[^>]*>(\d+)<', seen)
        assert (entity, "<" in name, events) == ("merchant", False, "2")

    run(bank, steps)


@pytest.mark.parametrize(
    ("answered", "verdict", "says"),
    [("p-0", "genuine", "1 of 2 payments"), ("p-more", "fraud", "1 of 2 payments, not to this one")],
)
def test_row_panel_and_case_say_alike_how_many_payments_wait_and_to_how_many_the_customer_said_no(
    bank, answered, verdict, says
):
    async def steps(_asks: Asker, browser: Browser) -> None:
        csrf = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
        more = {**PAYMENT, "payment_id": "p-more", "card": f"c-0{EVIL}"}
        known_at = time_text(time.time_ns() // 1_000_000)
        denied = [{"event": "payment/p-more", "verdict": "fraud", "source": "customer", "known_at": known_at}]
        for path, body in (("events/payment", more), ("labels", denied)):
            assert (await browser.send("POST", f"/api/v1/{path}", msgspec.json.encode(body), csrf)).status == 200
        for _ in range(12_000):
            if "said no to 1 of 2 payments" in (await browser.get("/queue")).body.decode():
                break
            await asyncio.sleep(0.05)
        await form(browser, "/cases/1/decide", event=f"payment/{answered}", verdict=verdict)

        for path, waiting in (
            ("/queue", "1 of 2 payments to answer"),
            ("/queue/peek/1", "Answer 1 of 2 payments"),
            ("/cases/1", "1 payment to answer, 1 answered; first:"),
        ):
            page = " ".join(re.sub(r"<[^>]*>", " ", (await browser.get(path)).body.decode()).split())
            said = re.findall(r"said no to (1 of 2 payments(?:, not to this one)?)", page)
            assert set(said) == {says}, path
            assert waiting in page, path

    run(bank, steps)


def test_a_row_without_the_reason_of_its_payment_shows_none_of_an_answered_one(bank, monkeypatch):
    async def steps(asks: Asker, browser: Browser) -> None:
        desk = asks.service.cases
        with desk.store.change() as change:
            (stored,) = change.alerts(1, 9)
            change.add_alerts([replace(stored, seq=stored.seq + 10_000, id="p-open", reason="that of the open one")])
            case = change.case(1)
            assert case is not None
            change.put_cases([replace(case, reason="that of another one")])
        monkeypatch.setattr(asks.service.reasons, "of", lambda names, within_s=0.0: {})
        for path in ("/queue", "/queue/why/1"):
            row = (await browser.get(path)).body.decode().partition("<aside")[0]
            assert "That of the open one" in row
            assert "hat of another one" not in row

    run(bank, steps)


def test_who_is_here_for_the_first_time_is_told_what_to_do_until_they_have_answered(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        told = "Press <kbd>F</kbd> for fraud"
        assert told in (await browser.get("/queue")).body.decode()
        await form(browser, "/cases/1/claim")
        assert told in (await browser.get("/queue")).body.decode()
        assert "<b>0</b> cases (0 payments) answered today" in (await browser.get("/queue")).body.decode()
        await form(browser, "/cases/1/decide", verdict="fraud")
        page = (await browser.get("/queue")).body.decode()
        assert told not in page
        assert 'href="/team"' in page
        team = (await browser.get("/team?period=today")).body.decode()
        assert re.search(
            r'<th scope="row">ann lee</th>\s*<td class="number">1</td>\s*<td class="number">1</td>\s*'
            r'<td class="number">0</td>',
            team,
            re.IGNORECASE,
        )
        waiting = [
            int(text)
            for text in re.findall(r'<td class="number">(?:<b[^>]*>)?(\d+)(?:</b>)?</td><td class="number">[^<]', team)
        ]
        assert sum(waiting[-4:-1]) <= waiting[-1] == 2, "those that are late or due soon are some of all"
        assert "Nobody has closed" not in team
        assert "<b>1</b> case (1 payment) answered today" in page

    noon_ms = at_noon()
    run(bank, steps, lambda: noon_ms)


def test_late_cases_are_counted_above_the_queue_and_on_the_teams_page_with_the_way_to_them(bank, monkeypatch):
    async def steps(asks: Asker, browser: Browser) -> None:
        tomorrow = int(time.time() * 1_000) + 30 * DAY_MS
        monkeypatch.setattr(asks.service, "cases", replace(asks.service.cases, now_ms=lambda: tomorrow))
        for path, says in (("/queue", "3 late</a>"), ("/team", "3 cases are late</a>")):
            page = (await browser.get(path)).body.decode()
            assert f'href="/queue?due_within=0s">{says}' in page
        assert "3 of 3" in (await browser.get("/queue?due_within=0s")).body.decode()

    run(bank, steps)


def test_a_row_a_panel_and_a_case_say_whose_card_who_was_paid_how_much_and_why(bank):
    events = (bank / "events.yaml").read_text()
    (bank / "events.yaml").write_text(
        events.replace("    device: text?", "    card_label: text?\n    device: text?", 1)
    )

    async def steps(asks: Asker, browser: Browser) -> None:
        queue_page, panel, case_page, why = [
            (await browser.get(path)).body.decode() for path in ("/queue", "/queue/peek/1", "/cases/1", "/queue/why/1")
        ]
        merchant = str(escape(PAYMENT["merchant"]))
        title = f"1,234.50 EUR to {merchant}"
        assert f'<span class="part">{merchant},</span>' in queue_page
        assert f'<h3 class="peek-head">{title}</h3>' in panel
        assert "Answer <b>1 payment</b>, <b>" in panel
        assert f"<h1>{title}</h1>" in case_page
        first = re.search(r"<p><b>(.*?)</b></p>", panel)
        assert first is not None
        assert first[1] in why
        assert [first[1] in page for page in (queue_page, case_page)] == [True, True]
        decision = (await browser.get("/decisions/payment/p-0")).body.decode()
        key = escape(f"c-0{EVIL}")
        for page, says in ((queue_page, "Card •••• 4821</a>"), (panel, "•••• 4821</a>"), (case_page, "•••• 4821</a>")):
            assert says in page
        assert f'title="{key}">•••• 4821</a>' in decision
        assert "Card •••• 4821, up to this payment" in decision

    run(bank, steps, card_label="•••• 4821")


def test_a_decision_is_answered_on_its_page_in_its_case_or_by_a_label(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        first, plain = "/decisions/payment/p-0", "/decisions/payment/small"
        csrf = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
        given = {**PAYMENT, "payment_id": "small", "card": f"c-0{EVIL}", "amount": "0.00"}
        sent = await browser.send("POST", "/api/v1/events/payment", msgspec.json.encode(given), csrf)
        assert sent.json()["outcome"] == "approve"
        number = (await browser.get("/api/v1/cases?text=p-0")).json()["cases"][0]["id"]
        shown = (await browser.get(first)).body.decode()
        assert f'<a href="/cases/{number}" data-key="o"' in shown
        assert f"which closes case {number}</p>" in shown
        assert "up to this payment</h2>" in shown
        before = (await browser.get("/api/v1/cases?state=closed")).json()["totals"]["count"]
        assert (await form(browser, f"{first}/answer", first, verdict="genuine"))[:2] == (303, first)
        case = (await browser.get(f"/api/v1/cases/{number}")).json()
        assert (before, case["state"], case["verdict"]) == (0, "closed", "genuine")
        after = (await browser.get(first)).body.decode()
        assert "<dt>Answer</dt><dd>genuine</dd>" in after
        assert 'class="answers"' not in after
        assert 'class="toast"' in after
        assert (await form(browser, f"{first}/answer", first, verdict="fraud"))[0] == 409

        assert "no case, writes a label" in (await browser.get(plain)).body.decode()
        assert (await form(browser, f"{plain}/answer", plain, verdict="maybe"))[0] == 400
        assert (await form(browser, f"{plain}/answer", plain, verdict="fraud"))[:2] == (303, plain)
        late = replace(asks.service.cases, now_ms=lambda: int(time.time() * 1_000) + 60_000)
        await asyncio.to_thread(carry_out, late)
        for _ in range(12_000):
            labels = (await asyncio.to_thread(asks.service.project.labels)).to_pylist()
            if len(labels) == 2:
                break
            await asyncio.sleep(0.05)
        assert [(label["id"], label["verdict"]) for label in labels if label["id"] == "small"] == [("small", "fraud")]

    run(bank, steps)


def test_an_empty_queue_says_that_labels_closed_its_cases(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        assert (await form(browser, "/cases/1/decide", verdict="fraud"))[0] == 303
        csrf = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
        alerts = [(await browser.get(f"/api/v1/cases/{number}")).json()["alerts"] for number in (2, 3)]
        told = {"verdict": "genuine", "source": "chargeback", "known_at": "2026-02-01T00:00:00Z"}
        labels = [{"event": alert["event"], **told} for found in alerts for alert in found]
        await browser.send("POST", "/api/v1/labels", msgspec.json.encode(labels), csrf)
        for _ in range(15_000):
            page = (await browser.get("/queue")).body.decode()
            if "The queue is clear" in page:
                break
            await asyncio.sleep(0.02)
        assert "1 case was closed by people today. Labels closed 2 cases:" in page
        assert 'href="/queue?state=closed&amp;order=newest">See closed cases</a>' in page

    noon_ms = at_noon()
    run(bank, steps, lambda: noon_ms)


def test_cases_of_nobody_are_refused_and_those_of_a_user_without_any_are_none(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        with asks.service.desk.store.look() as look:
            (ann,) = look.users()
        for path in ("/queue?assignee={}", "/api/v1/cases?assignee={}"):
            found = await browser.get(path.format("xx"))
            assert (found.status, b"is not a user" in found.body) == (400, True)
            assert (await browser.get(path.format(ann.id))).status == 200
        assert (await browser.get("/queue?assignee=me")).status == 200
        assert b"All cases in the queue" in (await browser.get("/queue?key=c-none")).body

    run(bank, steps)


@pytest.mark.parametrize(
    ("pace", "is_told"), [((0.0, 0.0), False), ((0.0, 0.4), False), ((2.0, 2.0), False), ((1.0, 3.0), True)]
)
def test_that_more_comes_than_is_closed_is_said_only_where_its_figures_say_so(bank, monkeypatch, pace, is_told):
    whole = case_queries.capacity

    def paced(*given: Any) -> case_queries.ReviewCapacity:
        return replace(whole(*given), pace=pace, clear_at_ms=None)

    async def steps(asks: Asker, browser: Browser) -> None:
        monkeypatch.setattr(case_queries, "capacity", paced)
        body = (await browser.get("/queue")).body.decode()
        assert ("More cases open than close" in body) is is_told
        assert ("3 against 1 an hour" in body) is is_told

    run(bank, steps)


def test_who_comes_second_sees_who_was_first_and_what_it_is_now(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        tag = (await browser.get("/api/v1/cases/1")).json()["tag"]
        assert (await form(browser, "/cases/1/decide", verdict="fraud", tag=tag))[0] == 303
        status, _, body = await form(browser, "/cases/1/decide", verdict="genuine", tag=tag)
        assert status == 409
        assert "Ann Lee decided case 1 as fraud" in body
        assert "Your change was not saved" in body
        status, _, body = await form(browser, "/queue/bulk", action="genuine", **{"case-1": tag, "case-2": ""})
        assert status == 409
        assert "1 case was not changed" in body
        assert (await browser.get("/api/v1/cases/2")).json()["verdict"] == "genuine"

    run(bank, steps)


def test_of_a_case_that_nobody_changed_nobody_is_named_and_no_time(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        headers = {
            "x-csrf-token": await browser.csrf(),
            "content-type": "application/json",
            "accept": "application/json",
            "if-match": '"9.1"',
        }
        found = await browser.send("POST", "/api/v1/cases/1/decide", b'{"verdict": "fraud"}', headers)
        said = found.json()
        assert (found.status, said["title"]) == (409, "The case was changed meanwhile")
        assert said["detail"].startswith("case 1 differs from the version that you read;")
        assert (said["by"], said["at"], said["saved"]) == (None, None, False)
        status, _, body = await form(browser, "/cases/1/decide", verdict="fraud", tag="9.1")
        assert status == 409
        assert "Case 1 differs from the version that you read. Your change was not saved." in body
        assert "1970" not in body

    run(bank, steps)


def test_what_is_not_there_is_named_by_what_it_is(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        json = "application/json"
        headers = {"x-csrf-token": await browser.csrf(), "content-type": json, "accept": json}
        foreign = b'{"verdict": "fraud", "event": "payment/p-99"}'
        for method, path, body, kind in (
            ("DELETE", "/api/v1/views/mine", b"", "view"),
            ("GET", "/api/v1/cases/1/files/99", b"", "file"),
            ("GET", "/api/v1/cases/1/files/x", b"", "file"),
            ("POST", "/api/v1/cases/1/decide", foreign, "event"),
            ("GET", "/api/v1/cases/99", b"", "case"),
            ("GET", "/api/v1/cases/99/files/1", b"", "file"),
            ("POST", "/api/v1/cases/99/decide", foreign, "case"),
        ):
            found = await browser.send(method, path, body, headers)
            said = found.json()
            assert (found.status, said["type"].rpartition("/")[2]) == (404, f"no-{kind}"), path
            assert said["title"] == f"There is no such {kind}"

    run(bank, steps)


def test_who_may_only_look_sees_no_button_and_is_refused(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        desk, here = asks.service.desk, asks.service.project.context.who
        user = await asyncio.to_thread(users.add, desk, here, "vera", Role.VIEWER)
        link = await asyncio.to_thread(links.for_password, desk, here, user.name)
        other = Browser(asks)
        assert (await other.post(link, {"password": PASSWORD, "again": PASSWORD})).status == 303
        for path in ("/queue", "/cases/1", "/queue/peek/1", "/decisions/payment/p-0"):
            found = await other.get(path)
            assert found.status == 200
            assert b'value="fraud"' not in found.body.replace(b'<option value="fraud">', b"")
            assert b"Claim next" not in found.body
        for path in (
            "/cases/1/decide",
            "/cases/1/note",
            "/queue/claim-next",
            "/queue/bulk",
            "/queue/undo",
            "/decisions/payment/p-0/answer",
        ):
            sent = await other.post(path, {"csrf": await other.csrf(), "verdict": "fraud"})
            assert sent.status == 403
        assert (await other.post("/queue/views", {"csrf": await other.csrf(), "name": "Mine too"})).status == 303

    run(bank, steps)


def test_a_rule_is_silenced_for_whom_a_case_is_about_and_speaks_for_others(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        async def outcome(id_: str, card: str) -> str:
            csrf = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
            given = msgspec.json.encode({**PAYMENT, "payment_id": id_, "card": card})
            return str((await browser.send("POST", "/api/v1/events/payment", given, csrf)).json()["outcome"])

        first = (await browser.get("/api/v1/cases/1")).json()["key"]
        given = {"rule": "any_payment", "for": "7d", "text": "a wedding <b>"}
        for wrong in ({"rule": "no_such"}, {"for": "soon"}, {"text": " "}):
            assert (await form(browser, "/cases/1/silence", "/cases/1", **{**given, **wrong}))[0] == 400
        assert await outcome("p-10", first) == "review"
        assert (await form(browser, "/cases/1/silence", "/cases/1", **given))[:2] == (303, "/cases/1")
        assert await outcome("p-11", first) == "approve"
        assert await outcome("p-12", "another") == "review"
        shown = (await browser.get("/cases/1")).body.decode()
        assert "silent for this card until" in shown
        assert "says Ann Lee: a wedding &lt;b&gt;" in shown
        assert (await browser.get("/api/v1/decisions/payment/p-11/replay")).json()["match"]
        (row,) = [ask for ask in rows_of(asks.service.desk.store) if ask.action == "rule.silence"]
        assert (row.name, row.subject) == ("ann", "rule any_payment")
        by_hand = bank / "lists" / "silence.any_payment.csv"
        endless = re.sub(r"20[^,]*Z\n", "\n", by_hand.read_text(encoding="utf-8"))
        by_hand.write_text(endless, encoding="utf-8")
        asks.service.project.context.reload()
        assert "silent for this card for good" in (await browser.get("/cases/1")).body.decode()
        assert '<p class="small second">with no end, by' in (await browser.get("/rules/any_payment")).body.decode()

    run(bank, steps)


def test_a_silence_is_ended_from_its_case_over_http_and_from_its_rule_and_the_rule_speaks_again(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        numbers = iter(range(10, 20))

        async def outcome(card: str) -> str:
            csrf = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
            number = next(numbers)  # the day, too: many of one hour are another rule's
            own = {"payment_id": f"p-{number}", "paid_at": f"2026-01-{number}T08:30:00Z", "card": card}
            given = msgspec.json.encode({**PAYMENT, **own})
            return str((await browser.send("POST", "/api/v1/events/payment", given, csrf)).json()["outcome"])

        async def ended(rule: str) -> int:
            csrf = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
            body = msgspec.json.encode({"rule": rule})
            return (await browser.send("POST", "/api/v1/cases/1/end-silence", body, csrf)).status

        key = (await browser.get("/api/v1/cases/1")).json()["key"]
        silent = {"rule": "any_payment", "for": "7d", "text": "a wedding"}
        lists = "/lists/silence.any_payment"
        for end in (
            lambda: form(browser, "/cases/1/end-silence", "/cases/1", rule="any_payment"),
            lambda: ended("any_payment"),
            lambda: form(browser, f"{lists}/out", value=key, back="/rules/any_payment", undo="yes"),
        ):
            assert (await form(browser, "/cases/1/silence", "/cases/1", **silent))[0] == 303
            assert await outcome(key) == "approve"
            assert ">End silence</button>" in (await browser.get("/cases/1")).body.decode()
            assert ">End silence</button>" in (await browser.get("/rules/any_payment")).body.decode()
            await end()
            assert await outcome(key) == "review"
            assert ">End silence</button>" not in (await browser.get("/cases/1")).body.decode()
            assert ">Silent for</h2>" not in (await browser.get("/rules/any_payment")).body.decode()
        assert await ended("any_payment") == await ended("no_such") == 400
        assert (await form(browser, lists, lists, value="c-9", note="for ever", expires_at=""))[0] == 422
        done = [row["what"] for row in (await browser.get("/api/v1/cases/1")).json()["history"]]
        assert done == ["silenced", "silence_ended", "silenced", "silence_ended", "silenced"]
        acts = [row.action for row in rows_of(asks.service.desk.store)]
        assert (acts.count("rule.silence_end"), acts.count("list.change")) == (2, 1)

    run(bank, steps)


def test_a_silence_that_is_long_in_coming_into_force_stands_in_its_case_all_the_same(bank, monkeypatch):
    async def late(*_: object) -> list[msgspec.Raw]:
        raise TransientError("the active writer has not run this request yet")

    async def steps(asks: Asker, browser: Browser) -> None:
        monkeypatch.setattr(asks.service.writer, "ask", late)
        given = {"rule": "any_payment", "for": "7d", "text": "a wedding"}
        for path in ("/cases/1/silence", "/cases/1/end-silence"):
            status, _, page = await form(browser, path, "/cases/1", **given)
            assert (status, "not active yet.</b> the active writer has not run this request yet" in page) == (200, True)
        headers = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
        until = time_text(asks.service.project.context.now_ms() + DAY_MS)
        body = msgspec.json.encode({"rule": "any_payment", "until": until, "text": "a wedding"})
        said = (await browser.send("POST", "/api/v1/cases/1/silence", body, headers)).json()
        assert (said["in_force"], said["why_not"]) == (False, "the active writer has not run this request yet")
        done = [row["what"] for row in (await browser.get("/api/v1/cases/1")).json()["history"]]
        assert done == ["silenced", "silence_ended", "silenced"]

    run(bank, steps)


def test_a_silence_that_cannot_be_recorded_is_not_written(bank, monkeypatch):
    def change(*_: object) -> None:
        raise LogBusyError("another process holds it", "a backup")

    async def steps(asks: Asker, browser: Browser) -> None:
        csrf = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
        given = {
            "rule": "any_payment",
            "until": time_text(asks.service.project.context.now_ms() + DAY_MS),
            "text": "a wedding",
        }
        with monkeypatch.context() as held:
            held.setattr(SqlPeople, "change", change)
            path = "/api/v1/cases/1/silence"
            assert (await browser.send("POST", path, msgspec.json.encode(given), csrf)).status == 503
        assert asks.service.project.silences.all() == []
        assert (await browser.get("/api/v1/cases/1")).json()["history"] == []

    run(bank, steps)


def test_cases_that_open_are_told_to_who_looks_at_the_queue_as_its_filter_finds_them(bank, monkeypatch):
    monkeypatch.setattr(queue, "EVERY_S", 0.01)

    async def steps(asks: Asker, browser: Browser) -> None:
        async def post(number: int) -> None:
            csrf = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
            given = msgspec.json.encode({**PAYMENT, "payment_id": f"p-{number}", "card": f"c-{number}"})
            await browser.send("POST", "/api/v1/events/payment", given, csrf)

        def told(new: int, count: int) -> dict[str, object]:
            return {"new": new, "open": f'{count}<span class="unseen"> open</span>'}

        page = (await browser.get("/queue")).body.decode()
        assert 'data-news="/queue/stream?after=3"' in page
        assert f'data-part="open">{told(0, 3)["open"]}</span></a>' in page
        whole = Listener(asks, browser, "/queue/stream", "after=3")
        filtered = Listener(asks, browser, "/queue/stream", "key=c-8&after=3")
        for number in (7, 8):
            await post(number)
            await whole.until(lambda number=number: whole.told("cases")[-1:] == [told(number - 6, number - 3)])
        await filtered.until(lambda: filtered.told("cases")[-1:] == [told(1, 5)])
        csrf = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
        await browser.send("POST", "/api/v1/cases/5/decide", b'{"verdict": "genuine"}', csrf)
        await whole.until(lambda: whole.told("cases")[-1:] == [told(1, 4)])
        assert told(0, 4)["open"] in (await browser.get("/rules")).body.decode()
        for item in (whole, filtered):
            await item.leave()
        for query in ("state=opn", "min_stake=much&after=3"):
            assert (await browser.get(f"/queue/stream?{query}")).status == 400
        assert asks.service.streams.count == 0

    run(bank, steps)


def line_of(top: Any = None, **values: Any) -> QueueLine:
    """A line of the queue for somebody who may answer its case."""
    settings = SimpleNamespace(checklist=lambda _kinds, _ticked: ())
    desk: Any = SimpleNamespace(now_ms=lambda: 0, settings=settings)
    case = Case(number=1, about=b"", entity="card", key="c-1", opened_ms=0, due_ms=0, **values)
    return QueueLine(case_of(desk, case), "", is_held=False, is_own_look=False, top=top)


@pytest.mark.parametrize(("outcome", "says"), [("approve", "nothing"), ("review", "no amount"), ("", "no amount")])
def test_a_case_whose_money_has_gone_has_nothing_at_stake_and_others_have_no_amount(outcome, says):
    assert line_of(outcome=outcome).without_stake == says


def test_where_somebody_is_keeps_what_is_a_filter_and_nothing_else():
    here = where_of({"state": "closed", "cursor": "x", "row": "7", "evil": "//x", "rule": ""})

    assert here.query == "state=closed&row=7"
    assert here.case(3) == "/cases/3?state=closed&row=7"
    assert where_from({"filter": here.filter, "row": "-1"}).queue == "/queue?state=closed"
    assert where_of({"row": "9999"}).row == 0


def test_everything_that_is_done_with_a_case_is_answered_as_the_document_says(bank):
    later = time_text(time.time_ns() // 1_000_000 + DAY_MS)
    wanted = (  # each answer is held against the document by `Asker`
        ("POST", "cases/1/claim", {}),
        ("POST", "cases/1/release", {}),
        ("POST", "cases/claim-next", {}),
        ("POST", "cases/1/assign", {"to": "ann"}),
        ("POST", "cases/1/note", {"text": "called them"}),
        ("POST", "cases/1/escalate", {"text": "hard"}),
        ("POST", "cases/1/snooze", {"until": later}),
        ("POST", "cases/1/undo", {"undo": 1}),
        ("POST", "cases/1/decide", {"verdict": "genuine"}),
        ("POST", "cases/1/reopen", {"text": "again"}),
        ("POST", "cases/bulk", {"action": "snooze", "cases": [{"id": 2}, {"id": 99}], "until": later}),
        ("POST", "cases/undo", {"undo": 3}),
        ("GET", "cases/1", None),
        ("GET", "capacity", None),
        ("PUT", "views/mine", {"query": "state=open"}),
        ("GET", "views", None),
        ("DELETE", "views/mine", None),
        ("GET", "records", None),
    )

    async def steps(asks: Asker, browser: Browser) -> None:
        csrf = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
        for method, path, body in wanted:
            sent = b"" if body is None else msgspec.json.encode(body)
            found = await browser.send(method, f"/api/v1/{path}", sent, csrf)
            assert found.status == 200, (path, found.body)
        attached = await browser.send(
            "POST", "/api/v1/cases/1/attach?name=a.txt", b"seen", {**csrf, "content-type": "text/plain"}
        )
        assert attached.status == 200
        assert (await browser.get(f"/api/v1/cases/1/files/{attached.json()['file']}")).body == b"seen"

    run(bank, steps)


RINGS = {
    "events.yaml": FILES["events.yaml"]
    + "  ring: { payment: 'tables.rings[this.card].ring' }\n"
    + "tables: { rings: { card: text, ring: text, cards: integer, frauds: integer, spent: money } }\n",
    "shroff.yaml": FILES["shroff.yaml"] + "cases: { about: { payment: ring } }\n",
    "tables/rings.csv": "card,ring,cards,frauds,spent\nc1,c1,2,1,9.00\nc2,c1,2,1,9.00\n",
}


def test_one_case_is_of_a_whole_ring_and_the_queue_says_how_large_it_is(tmp_path):
    async def whole() -> None:
        async with asker(write_files(tmp_path, FILES | RINGS), gate=gate_of) as asks:
            browser = Browser(asks)
            await let_in(asks, browser)
            csrf = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
            for at, card in enumerate(("c1", "c2", "c3")):
                given = {"id": f"p{at}", "at": "2026-01-05T08:30:00Z", "card": card, "amount": "200.00"}
                await browser.send("POST", "/api/v1/events/payment", msgspec.json.encode(given), csrf)
            for _ in range(12_000):
                if sum(case["alerts"] for case in (await browser.get("/api/v1/cases")).json()["cases"]) == 3:
                    break
                await asyncio.sleep(0.05)
            listed = (await browser.get("/queue?order=stake")).body.decode()
            await form(browser, "/cases/1/decide", verdict="fraud")
            ring, alone = [(await browser.get(f"/api/v1/cases/{number}")).json() for number in (1, 2)]
        assert (ring["entity"], ring["key"], alone["entity"], alone["key"]) == ("ring", "c1", "card", "c3")
        assert [alert["event"] for alert in ring["alerts"]] == ["payment/p0", "payment/p1"]
        assert {alert["verdict"] for alert in ring["alerts"]} == {"fraud"}
        assert listed.count('href="/links?entity=card&amp;key=c1">2 cards</a><br>') == 1  # and none at c3
        assert "1 fraud<" in listed

    asyncio.run(whole())


def test_a_row_shows_the_risk_by_which_the_queue_is_ordered():
    top: Any = SimpleNamespace(score=0.01)  # of the event that the row is about

    assert line_of(top, score=90_000).case.score == 0.09
