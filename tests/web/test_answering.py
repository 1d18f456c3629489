"""What goes with an answer: a card that is blocked, money that is returned, and one undo for all of it."""

from __future__ import annotations

import asyncio
import html
import re
import shutil
import time
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest

from shroff.cases import dispositions
from shroff.cases.case_service import CaseService
from shroff.cases.timers import carry_out
from shroff.errors import NotAllowedError, UsageError
from shroff.language.values import DAY_MS, parse_time
from shroff.people.access import Right, Role
from shroff.people.store import AuditFilter, rows_of
from shroff.project.lists import Entry
from shroff.runtime.values import replace
from shroff.services.cases import side_effects
from shroff.services.cases.side_effects import CaseListEntry
from tests.support.webs import Answered, Asker, Browser, who
from tests.support.webs import run as run_empty
from tests.web.test_pages import EVIL, PAYMENT, RULE, TEMPLATE
from tests.web.test_queue import form, run

pytestmark = pytest.mark.slow

LIST = "blocked_cards"
CARD = f"c-0{EVIL}"
DECIDE = "/api/v1/cases/1/decide"
BLOCK = {"block-0": f"{LIST}:{CARD}", "note": "third chargeback", "lasts": "7d"}
PAYEES = """
- id: blocked_merchant
  on: payment
  by: merchant
  when: this.merchant in lists.blocked_merchants
  reason: This merchant is blocked
  effect: decline
"""
ENTRY = {"list": LIST, "value": CARD, "note": "third chargeback"}


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    shutil.copytree(TEMPLATE, tmp_path / "bank")
    (tmp_path / "bank" / "rules" / "any.yaml").write_text(RULE, encoding="utf-8")
    return tmp_path / "bank"


async def send(browser: Browser, path: str, body: object, **more: str) -> Answered:
    headers = {"x-csrf-token": await browser.csrf(), "content-type": "application/json", "accept": "*/*", **more}
    return await browser.send("POST", path, msgspec.json.encode(body), headers)


async def undo(browser: Browser) -> None:
    """Press Undo on the queue."""
    token = re.search(r'name="undo" value="(\d+)"', (await browser.get("/queue")).body.decode())
    assert token is not None
    assert (await form(browser, "/queue/undo", undo=token[1]))[:2] == (303, "/queue")


def blocked(asks: Asker) -> list[Entry]:
    """The entries of the list but that of the template."""
    return [entry for entry in asks.service.project.lists.entries(LIST) if entry.added_by != "shroff"]


def acts(asks: Asker, *kinds: str) -> list[str]:
    rows = rows_of(asks.service.desk.store, AuditFilter())
    return [row.action for row in rows if row.action.startswith(kinds)]


async def state(browser: Browser) -> str:
    return str((await browser.get("/api/v1/cases/1")).json()["state"])


@pytest.mark.parametrize("page", ["/cases/1", f"/entities/card/{quote(CARD, safe='')}", "/decisions/payment/p-0"])
def test_an_answer_blocks_a_card_and_one_undo_takes_both_back(bank, page):
    async def steps(asks: Asker, browser: Browser) -> None:
        shown = (await browser.get(page)).body.decode()
        assert "Also block or refund" in shown
        assert "<script>alert" not in shown
        path = f"{page}/answer" if page.startswith("/decisions") else "/cases/1/decide"
        assert (await form(browser, path, page, verdict="fraud", refund="12.5", **BLOCK))[0] == 303
        (entry,) = blocked(asks)
        assert (entry.value, entry.note, entry.added_by) == (CARD, "third chargeback", "ann")
        assert 6.9 < (parse_time(entry.expires_at) - asks.service.cases.now_ms()) / DAY_MS <= 7
        assert await state(browser) == "closed"
        queue = (await browser.get("/queue")).body.decode()
        assert f"is added to {LIST}." in queue
        assert "Refund 12.50 EUR." in queue

        await undo(browser)
        assert (await state(browser), blocked(asks)) == ("open", [])
        assert acts(asks, "case.", "list.") == ["list.change", "case.decide", "case.undo", "list.change"]

    run(bank, steps)


def test_each_key_of_the_event_that_a_blocking_list_holds_can_be_blocked_in_one_answer(bank):
    (bank / "lists" / "blocked_merchants.csv").write_text("value,note,added_by,expires_at\nm-9,fraud,ben,\n")
    (bank / "rules" / "payees.yaml").write_text(PAYEES, encoding="utf-8")

    async def steps(asks: Asker, browser: Browser) -> None:
        shown = (await browser.get("/cases/1")).body.decode()
        offers = [html.unescape(text) for text in re.findall('name="block-[0-9]" value="([^"]*)"', shown)]
        assert offers == [f"{LIST}:{CARD}", f"blocked_merchants:{EVIL}"]
        both = {f"block-{at}": value for at, value in enumerate(offers)}
        assert (await form(browser, "/cases/1/decide", "/cases/1", **{**BLOCK, **both, "verdict": "fraud"}))[0] == 303
        payees = asks.service.project.lists.entries
        assert [len(blocked(asks)), len(payees("blocked_merchants"))] == [1, 2]
        await undo(browser)
        assert (blocked(asks), [payee.value for payee in payees("blocked_merchants")]) == ([], ["m-9"])

    run(bank, steps)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"note": " "}, "An entry needs a reason"),
        ({"lasts": "9y"}, "An entry lasts"),
        ({"refund": "a lot"}, "refund: "),
        ({"refund": "-1"}, "A refund is an amount above zero"),
        ({"block-0": "nothing:c-1"}, "There is no list nothing"),
    ],
)
@pytest.mark.parametrize("page", ["/cases/1", "/decisions/payment/p-0"])
def test_what_cannot_be_done_with_an_answer_is_said_and_keeps_the_form_and_the_case(bank, page, given, says):
    async def steps(asks: Asker, browser: Browser) -> None:
        path = f"{page}/answer" if page.startswith("/decisions") else "/cases/1/decide"
        status, _, body = await form(browser, path, page, **{"verdict": "fraud", **BLOCK, **given})
        assert status == 422
        assert f"<b>Not saved.</b> {says}" in body
        assert '<details class="also" open>' in body
        assert ('name="block-0" value="' in body) is True
        assert (await state(browser), blocked(asks)) == ("open", [])

    run(bank, steps)


def test_programs_answer_with_an_entry_of_a_list_and_undo_both(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        for entry, status in (({"list": "nothing"}, 400), ({"note": ""}, 400), ({"expires_at": "soon"}, 422)):
            refused = await send(browser, DECIDE, {"verdict": "fraud", "lists": [{**ENTRY, **entry}]})
            assert refused.status == status, refused.body
            assert await state(browser) == "open", "an entry that cannot be written takes the answer with it"
        found = (await send(browser, DECIDE, {"verdict": "fraud", "lists": [ENTRY], "refund": "20"})).json()
        assert [(item["list"], item["added"], item["in_force"]) for item in found["lists"]] == [(LIST, 1, True)]
        again = await send(browser, "/api/v1/cases/2/decide", {"verdict": "fraud", "lists": [ENTRY]})
        assert "is in the list blocked_cards already" in again.json()["detail"]
        assert (await send(browser, "/api/v1/cases/1/undo", {"undo": found["undo"]})).status == 200
        acting = asks.service.project.acting_as(who(Role.ANALYST, frozenset([Right.WORK_CASES])))
        with pytest.raises(NotAllowedError, match="edit:lists"):  # as a key that may only work on cases
            side_effects.checked(acting, asks.service.cases, [CaseListEntry(LIST, "c-9", "x")], "")
        assert (await state(browser), blocked(asks)) == ("open", [])

    run(bank, steps)


def test_a_card_is_blocked_before_its_case_closes_and_set_free_where_the_case_does_not(bank, monkeypatch):
    async def steps(asks: Asker, browser: Browser) -> None:
        seen: list[int] = []

        def somebody_was_first(*_: object, **__: object) -> None:
            seen.append(len(blocked(asks)))
            raise UsageError("somebody was first")

        with monkeypatch.context() as patched:
            patched.setattr(dispositions, "decide", somebody_was_first)
            refused = await send(browser, DECIDE, {"verdict": "fraud", "lists": [ENTRY]})
        assert (refused.status, seen, blocked(asks), await state(browser)) == (400, [1], [], "open")
        wrong = {**ENTRY, "value": "c-9", "expires_at": "soon"}
        refused = await send(browser, DECIDE, {"verdict": "fraud", "lists": [ENTRY, wrong]})
        assert (refused.status, blocked(asks), await state(browser)) == (422, [], "open")
        changes = acts(asks, "list.")
        other = await send(browser, DECIDE, {"verdict": "fraud", "event": "payment/p-none", "lists": [ENTRY]})
        assert (other.status, acts(asks, "list.")) == (404, changes)
        stale = await send(browser, DECIDE, {"verdict": "fraud", "lists": [ENTRY]}, **{"if-match": '"0.0"'})
        assert (stale.status, acts(asks, "list.")) == (409, changes)

    run(bank, steps)


def test_where_a_second_person_approves_lists_the_entry_waits_and_undo_withdraws_it(bank):
    with (bank / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write("second_person: [lists]\n")

    async def steps(asks: Asker, browser: Browser) -> None:
        def asked() -> list[str]:
            return [agreement.by for agreement in asks.service.project.agreements.asked(f"list {LIST}")]

        await form(browser, "/cases/1/decide", "/cases/1", verdict="fraud", **BLOCK)
        assert (asked(), blocked(asks)) == (["ann"], [])
        assert f"waits for approval in {LIST}" in (await browser.get("/queue")).body.decode()
        await undo(browser)
        assert (await state(browser), asked()) == ("open", [])
        assert acts(asks, "change.") == ["change.ask", "change.withdraw"]

    run(bank, steps)


def test_an_entry_that_somebody_changed_since_stays_when_the_answer_is_undone(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await form(browser, "/cases/1/decide", "/cases/1", verdict="fraud", **BLOCK)
        changed = {"value": CARD, "note": "stolen"}
        assert (await send(browser, f"/api/v1/lists/{LIST}/entries", changed)).status == 200
        await undo(browser)
        assert (await state(browser), [ask.note for ask in blocked(asks)]) == ("open", ["stolen"])

    run(bank, steps)


def test_an_answer_outside_of_any_case_can_be_undone_too(bank):
    (bank / "rules" / "any.yaml").unlink()
    page = "/decisions/payment/p-0"

    async def steps(asks: Asker, browser: Browser) -> None:
        sent = await send(browser, "/api/v1/events/payment", {**PAYMENT, "payment_id": "p-0", "card": CARD})
        assert sent.json()["outcome"] == "approve"
        assert (await form(browser, f"{page}/answer", page, verdict="fraud", **BLOCK))[:2] == (303, page)
        assert "Payment p-0 answered as fraud. A label follows." in shown_in(await browser.get(page))
        assert len(blocked(asks)) == 1
        await undo(browser)
        assert (blocked(asks), acts(asks, "label.", "refund.")) == ([], ["label.undo"])

    run_empty(bank, steps)


def test_refunds_of_an_event_outside_of_any_case_are_added(bank):
    (bank / "rules" / "any.yaml").unlink()
    page = "/decisions/payment/p-0"

    async def steps(asks: Asker, browser: Browser) -> None:
        await send(browser, "/api/v1/events/payment", {**PAYMENT, "payment_id": "p-0", "card": CARD})
        for refund in ("10", "20.50"):
            await form(browser, f"{page}/answer", page, verdict="fraud", refund=refund)
            await asyncio.to_thread(carry_out, later(asks))
        assert "Refunded30.50" in shown_in(await browser.get(page))

    run_empty(bank, steps)


def test_before_a_second_look_no_page_around_the_case_tells_the_first_answer(bank):
    with (bank / "shroff.yaml").open("a", encoding="utf-8") as settings:
        settings.write("cases: { second_look: 100% }\n")
    decision, entity = "/decisions/payment/p-0", f"/entities/card/{quote(CARD, safe='')}"

    async def steps(asks: Asker, browser: Browser) -> None:
        with asks.service.desk.store.change() as change:
            change.add_user(replace(change.users()[0], number=0, name="ben", display_name="Ben"))
        assert (await form(browser, f"{decision}/answer", decision, verdict="fraud", refund="12.50"))[0] == 303
        await asyncio.to_thread(carry_out, later(asks))
        for _ in range(12_000):
            if len((await asyncio.to_thread(asks.service.project.labels)).to_pylist()) == 1:
                break
            await asyncio.sleep(0.05)
        assert (await browser.get("/api/v1/cases/1")).json()["second_look"]
        shown = shown_in(await browser.get(decision))
        assert "Refunded" not in shown
        assert "by analyst" not in shown
        assert "1 fraud" not in shown_in(await browser.get(entity))
        flags = (await browser.get(f"/api/v1/flags?entity=card&key={quote(CARD, safe='')}")).json()["flags"]
        assert [flag["accuracy"] for flag in flags] == ["PENDING_CONFIRMATION"]
        assert (await browser.get("/api/v1/rules/any_payment/hits")).json()["hits"][0]["verdict"] is None
        for page in ("/rules/any_payment", "/rules/any_payment/hits"):
            assert "waits for a second look" in shown_in(await browser.get(page))
        for label in ("fraud", "none"):
            found = await browser.get(f"/decisions?outcome=all&label={label}")
            assert "/decisions/payment/p-0" not in found.body.decode()
        assert "/decisions/payment/p-0" in (await browser.get("/decisions?outcome=all")).body.decode()

    run(bank, steps)


def later(asks: Asker) -> CaseService:
    """The desk of the service a minute later, when no answer can be undone any more."""
    return replace(asks.service.cases, now_ms=lambda: int(time.time() * 1_000) + 60_000)


def shown_in(found: Answered) -> str:
    """The words of a page."""
    return " ".join(re.sub("<[^>]+>", "", found.body.decode()).split())
