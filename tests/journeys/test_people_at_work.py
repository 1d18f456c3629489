"""People in a real Chromium on one service: a model in force and back, customers who answer, two analysts, a phone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from playwright.sync_api import Browser, Page, Response, expect

from shroff.config import TEMPLATE_FOLDER
from shroff.language.values import DAY_MS
from shroff.models.registry import GateResult
from shroff.notices.notification_worker import NoticeWorker
from shroff.people import users
from shroff.people.access import Role
from shroff.services import project as app
from shroff.web.pages.renderer import tabs
from shroff.web.table import PAGES
from tests.journeys.test_cases import queue, until
from tests.support.browsers import PHONE, Looker, chromium
from tests.support.effort import IS_LONG, long_after
from tests.support.patience import PATIENCE_MS
from tests.support.served import ME, Served, served
from tests.support.telling import token_of
from tests.support.trained import train

pytestmark = pytest.mark.slow
smoke = (
    "test_a_model_is_promoted_with_a_reason_and_taken_back",
    "test_a_customer_answers_by_the_link_of_a_mail_once",
    "test_a_case_is_answered_on_a_phone_from_the_queue_by_two_taps",
)

TEMPLATE = TEMPLATE_FOLDER / "payments"
PASSWORD = "correct horse battery"
PASSED = GateResult("leak_test", None, "required", passed=True)
FAILED = GateResult("brier", 0.5, "at most 0.1", passed=False)
CASES = ("c-taken", "c-decided", "c-phone-1", "c-phone-2")
RULE = """
- id: dear
  on: payment
  by: card
  when: this.amount >= 100
  reason: "{this.amount} at {this.merchant}"
  effect: review
  notify: customer
"""
DENIED = "customer_said_no"  # the template's rule
Opened = Callable[..., Page]


def payment(id_: str, card: str, amount: str, at: datetime | None = None) -> dict[str, Any]:
    paid_at = (at or datetime.now(UTC)).isoformat(timespec="milliseconds")
    known = {"payment_id": id_, "paid_at": paid_at, "card": card, "amount": amount}
    return {**known, "merchant": "Corvane", "terminal": "t-1", "country": "DE", "channel": "pos"}


def ask_long_ago(folder: Path) -> None:
    """A customer was asked two days ago, and their link has ended."""
    project = app.open_exactly(folder)
    then_ms = project.context.now_ms() - 2 * DAY_MS
    project.context.now_ms, project.context.served_at = lambda: then_ms, "http://127.0.0.1:1"
    long_ago = datetime.fromtimestamp(then_ms / 1_000, UTC)
    project.decide([{"payment": payment("p-late", "c-late", "180.00", long_ago)}])
    teller = NoticeWorker(project.notices.services(), 0)
    for _ in range(4):
        teller.step()
    with closing(project.log.open(read_only=False)) as log:
        teller.tend(log)
    teller.close()


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with three models, four people and cases enough for all of these tests."""
    folder = tmp_path_factory.mktemp("people") / "bank"
    shutil.copytree(TEMPLATE, folder)
    (folder / "rules" / "dear.yaml").write_text(RULE, encoding="utf-8")
    (folder / "model.yaml").write_text("payment: { inputs: [payment.amount], gates: none }\n", encoding="utf-8")
    project = app.open_exactly(folder)
    for seed, (name, gate) in enumerate((("m-first", PASSED), ("m-second", PASSED), ("m-weak", FAILED))):
        train(project.context.registry, name, seed=seed, gates=[gate])
    project.models.promote("m-first", by="ann")
    with project.people.open() as desk:
        for name, role in (("ann", Role.ADMIN), ("ben", Role.ANALYST), ("cem", Role.ANALYST), ("vic", Role.VIEWER)):
            users.add(desk, ME, name, role, display_name=name.capitalize(), password=PASSWORD)
    ask_long_ago(folder)
    with served(folder) as service:
        with service.client() as client:
            asked = [payment(f"p-{card}", card, "189.90") for card in ("c-yes", "c-no")]
            others = [payment(f"p-{card}", card, "150.00") for card in CASES]
            assert client.post("/api/v1/events/payment", json=[*asked, *others]).status_code == 200
            until(lambda: len(queue(client)) == len(asked) + len(others) + 1)
        yield service


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def opened(bank: Served, browser: Browser) -> Iterator[Opened]:
    """Opens the browser of somebody who is signed in; of nobody where no name is given. No script may fail there."""
    wrong: list[str] = []
    made = []

    def open_(name: str = "", **options: Any) -> Page:
        context = browser.new_context(base_url=bank.url, timezone_id="Europe/Berlin", **options)
        made.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        if name:
            page.goto("/login")
            page.fill("[name=name]", name)
            page.fill("[name=password]", PASSWORD)
            page.click("main button")
            page.wait_for_selector("header.top")
        return page

    yield open_
    for context in made:
        context.close()
    assert wrong == []


def decided(bank: Served, id_: str, card: str, amount: str = "20.00") -> dict[str, Any]:
    """Post a payment; gives its decision."""
    with bank.client() as client:
        answer = client.post("/api/v1/events/payment", json=payment(id_, card, amount))
        assert answer.status_code == 200
        found: dict[str, Any] = answer.json()
    return found


# ---- a model


def test_a_model_is_promoted_with_a_reason_and_taken_back(bank, opened):
    page = opened("ann")
    page.get_by_role("link", name="Learning", exact=True).click()
    expect(page.get_by_role("row", name=re.compile("m-weak"))).to_contain_text("1 failed")
    expect(page.get_by_role("row", name=re.compile("m-first"))).to_contain_text("champion")

    # gates keep it out, and who gives no reason is asked for one before anything is sent
    page.get_by_role("link", name="m-weak").click()
    page.get_by_role("button", name="Promote").click()
    expect(page.locator("#reason:invalid")).to_be_focused()
    page.fill("#reason", "  ")
    page.get_by_role("button", name="Promote").click()
    expect(page.get_by_role("alert")).to_contain_text("Say why, on one line")
    page.fill("#reason", "looks good")
    page.get_by_role("button", name="Promote").click()
    expect(page.get_by_role("alert")).to_contain_text("Not promoted: it failed brier.")
    assert page.input_value("#reason") == "looks good"

    page.goto("/models/m-second")
    page.fill("#reason", "fewer false alarms on Monday's sample")
    page.get_by_role("button", name="Promote").click()
    expect(page.get_by_text("Active from the next event on.")).to_be_visible()
    expect(page.locator(".headline")).to_contain_text("champion")
    assert decided(bank, "p-by-second", "c-m")["versions"]["model"] == "m-second"

    page.fill("#reason", "reviews doubled within the hour")
    page.get_by_role("button", name="Roll back").click()
    expect(page.get_by_text("Active from the next event on.")).to_be_visible()
    expect(page.get_by_role("button", name="Promote")).to_be_visible()
    assert decided(bank, "p-by-first", "c-m")["versions"]["model"] == "m-first"
    assert page.get_by_text("It was not promoted").count() == 0  # it was, and the record tells when

    page.get_by_role("link", name="In the audit log").click()
    record = page.get_by_role("table")
    for words in ("promote", "fewer false alarms on Monday's sample", "rollback", "reviews doubled within the hour"):
        expect(record).to_contain_text(words)
    expect(record.get_by_role("row", name=re.compile("model.change")).first).to_contain_text("ann")


def test_who_may_not_promote_sees_no_button_and_is_refused(bank, opened):
    page = opened("vic")
    page.goto("/models/m-weak")
    expect(page.get_by_role("heading", name="Gates")).to_be_visible()
    assert page.get_by_role("button", name=re.compile("Promote|Roll back|shadow")).count() == 0
    token = page.get_attribute("meta[name=csrf]", "content")
    sent = page.request.post("/models/m-weak", form={"csrf": token, "do": "promote", "reason": "I may"})

    assert sent.status == 403
    assert "needs the permission promote:models" in sent.text()
    with bank.client() as client:
        assert client.get("/api/v1/models/m-first").json()["role"] == "champion"


# ---- a customer


def question_of(bank: Served, page: Page, payment: str) -> str:
    """The path of the customer's page, from the file of the mail in the built-in mailbox, whose page leaves it out."""
    row = page.get_by_role("row", name=re.compile(rf"payment {payment}\b"))

    def mail() -> bool:
        page.goto("/mails")
        return row.count() > 0

    until(mail)
    row.get_by_role("link").first.click()
    page.wait_for_url("**/mails/kept/*")
    return f"/confirm/{token_of(bank.folder / '.shroff' / 'mail' / (page.url.rpartition('/')[2] + '.eml'))}"


def said_of(bank: Served, event: str) -> list[tuple[str, str]]:
    """Verdict and source of each label of a payment."""
    with app.open_exactly(bank.folder).log.reading() as log:
        bodies = [msgspec.json.decode(row.body) for rows in log.labels_after(0) for row in rows]
    return [(body["verdict"], body["source"]) for body in bodies if body["event"] == f"payment/{event}"]


def answers_of(bank: Served, event: str) -> list[str | None]:
    with bank.client() as client:
        found = client.get(f"/api/v1/decisions/payment/{event}/questions").json()["questions"]
    return [item["answer"] for item in found]


def gone_to(page: Page, path: str) -> Response:
    found = page.goto(path)
    assert found is not None
    return found


def test_a_customer_answers_by_the_link_of_a_mail_once(bank, opened):
    desk, customer = opened("ann"), opened(viewport={"width": PHONE[0], "height": PHONE[1]}, has_touch=True)
    looker, title = Looker(customer, bank.url), customer.get_by_role("heading", level=1)

    # looking changes nothing, however often
    path = question_of(bank, desk, "p-c-no")
    for _ in range(2):
        assert gone_to(customer, path).status == 200
        expect(title).to_have_text("Was this you?")
    looker.look()
    still_open = customer.context.new_page()
    still_open.goto(path)
    assert not any(answers_of(bank, "p-c-no"))
    assert said_of(bank, "p-c-no") == []

    # no: at once a label, a hold, and a case that analysts see
    customer.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    customer.locator("button[value=no]").tap()
    expect(title).to_have_text("Thank you. We are investigating.")
    assert customer.locator("form").count() == 0
    looker.look()
    until(lambda: said_of(bank, "p-c-no") == [("fraud", "customer")])
    held = decided(bank, "p-after-no", "c-no")
    assert (held["outcome"], held["rules"]) == ("review", [DENIED])
    row = desk.locator("tr[data-row]").filter(has_text="Card c-no")
    until(lambda: desk.goto("/queue?customer=fraud") and row.count() == 1)
    expect(row).to_contain_text(re.compile("not me|said no to"))
    row.get_by_role("link").click()
    expect(desk.get_by_role("main")).to_contain_text(re.compile("not me|said no to"))

    # twice: by the page that is still open somewhere, and by the link
    still_open.locator("button[value=yes]").tap()
    gone_to(customer, path)
    for page in (still_open, customer):
        expect(page.get_by_role("heading", level=1)).to_have_text("You have already answered.")
        expect(page.get_by_role("main")).to_contain_text("You said no")
    looker.look()
    assert answers_of(bank, "p-c-no") == ["no"]
    assert said_of(bank, "p-c-no") == [("fraud", "customer")]

    assert looker.mistakes == []


def test_a_customers_yes_is_a_weak_label_and_holds_nothing(bank, opened):
    desk, customer = opened("ann"), opened()
    customer.goto(question_of(bank, desk, "p-c-yes"))
    customer.locator("button[value=yes]").click()

    expect(customer.get_by_role("heading", level=1)).to_have_text("Thank you. Nothing else is needed.")
    until(lambda: said_of(bank, "p-c-yes") == [("genuine", "customer")])
    assert decided(bank, "p-after-yes", "c-yes")["outcome"] == "approve"


def test_a_customer_appeals_a_decline_and_an_analyst_overturns_it(bank, opened):
    with bank.client() as client:
        entry = {"value": "c-why", "note": "lost"}
        assert client.post("/api/v1/lists/blocked_cards/entries", json=entry).status_code == 200
        assert decided(bank, "p-why", "c-why")["outcome"] == "decline"
        link = client.post("/api/v1/notices/why", json={"event": "payment/p-why"}).json()["link"]
    desk, customer = opened("ben"), opened(viewport={"width": PHONE[0], "height": PHONE[1]}, has_touch=True)
    looker, title, path = Looker(customer, bank.url), customer.get_by_role("heading", level=1), urlsplit(link).path

    # the reasons are the template's texts, and no rule
    gone_to(customer, path)
    expect(title).to_have_text("Why we decided this way")
    expect(customer.get_by_role("main")).to_contain_text("The card is blocked.")
    assert "blocked_card" not in customer.content()
    looker.look()
    customer.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    customer.fill("#words", "I found it again")
    customer.locator("button[value=wrong]").tap()
    expect(title).to_have_text("Thank you. We are looking at it again.")

    # a case with the customer's words, which an analyst decides by a key
    row = desk.locator("tr[data-row]").filter(has_text="Card c-why")
    until(lambda: desk.goto("/queue?customer=unclear") and row.count() == 1)
    row.get_by_role("link").click()
    expect(desk.get_by_role("main")).to_contain_text("I found it again")
    desk.keyboard.press("g")
    desk.wait_for_selector(".toast:has-text('closed as genuine')")

    # a label, what the page says, and a message
    until(lambda: [*said_of(bank, "p-why")] == [("unclear", "customer"), ("genuine", "analyst")])
    until(lambda: gone_to(customer, path).status == 200 and title.inner_text() == "We looked again. You were right.")
    looker.look()
    desk = opened("ann")
    mails = desk.locator("tr").filter(has_text=re.compile(r"Your payment of 20\.00"))
    until(lambda: desk.goto("/mails") and mails.count() == 1)
    assert looker.mistakes == []


def test_a_link_that_has_ended_or_is_not_ours_says_so_and_takes_no_answer(bank, opened):
    desk, customer = opened("ann"), opened()
    looker, title = Looker(customer, bank.url), customer.get_by_role("heading", level=1)
    late = question_of(bank, desk, "p-late")
    forged = late[:-1] + ("A" if late[-1] != "A" else "B")
    for path, status, words in ((late, 410, "This link has expired."), (forged, 404, "This link is not from us.")):
        assert gone_to(customer, path).status == status
        expect(title).to_have_text(words)
        assert customer.get_by_role("button").count() == 0
        looker.look()
        assert customer.request.post(path, form={"answer": "no"}).status == status

    assert not any(answers_of(bank, "p-late"))
    assert said_of(bank, "p-late") == []
    assert not [mistake for mistake in looker.mistakes if "status of 4" not in mistake]


# ---- two analysts


def case_of(bank: Served, card: str) -> dict[str, Any]:
    """The case of a card as it is now."""
    with bank.client() as client:
        (found,) = [item for item in queue(client, "&state=all") if item["key"] == card]
    return found


def test_the_second_analyst_is_told_who_has_a_case_and_what_became_of_it(bank, opened):
    ben, cem = opened("ben"), opened("cem")
    taken, closed = (case_of(bank, card)["id"] for card in CASES[:2])

    # taken: the other one learns it from the page that they had open before, and can answer there no more
    for page in (ben, cem):
        page.goto(f"/cases/{taken}")
    ben.keyboard.press("t")
    expect(ben.get_by_role("navigation", name="Where this is")).to_contain_text("claimed by you")
    cem.keyboard.press("f")
    expect(cem.locator(".told [role=alert]")).to_contain_text(f"Ben claimed case {taken}")
    expect(cem.locator(".told [role=alert]")).to_contain_text("Your change was not saved.")
    assert cem.locator("button[name=verdict]").count() == 0
    row = cem.locator(f"tr[data-number='{taken}']")
    cem.goto("/queue")
    expect(row).to_contain_text("Ben")
    expect(row.get_by_role("checkbox")).to_be_disabled()
    assert (case_of(bank, CASES[0])["state"], case_of(bank, CASES[0])["verdict"]) == ("claimed", None)

    # decided: what the second one says is not saved, and they are shown what was
    for page in (ben, cem):
        page.goto(f"/cases/{closed}")
    ben.keyboard.press("g")
    expect(ben.locator(".toast")).to_contain_text(f"Case {closed} closed as genuine")
    cem.keyboard.press("f")
    expect(cem.locator(".told [role=alert]")).to_contain_text(f"Ben decided case {closed} as genuine")
    expect(cem.locator(".told [role=alert]")).to_contain_text("Your change was not saved.")
    found = case_of(bank, CASES[1])
    assert (found["state"], found["verdict"]) == ("closed", "genuine")


# ---- a phone


def too_wide(page: Page) -> list[str]:
    """What somebody must push sideways to see the whole of it, other than tables in boxes that scroll."""
    return page.evaluate(
        """() => [document.documentElement, ...document.querySelectorAll("main, main *")]
            .filter((one) => one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0)
            .filter((one) => one === document.documentElement || /auto|scroll/.test(getComputedStyle(one).overflowX))
            .filter((one) => one.tagName !== "TEXTAREA" && !one.matches("input, .scroll:has(> .table)"))
            .map((one) => `${one.tagName} ${one.className} is ${one.scrollWidth} of ${one.clientWidth} px`)"""
    )


def moved_heads(page: Page) -> list[str]:
    """Tables whose first column leaves the screen as the others are scrolled."""
    return page.evaluate(
        """() => [...document.querySelectorAll(".scroll:has(> .table:not(.cases))")].flatMap((box) => {
            const firsts = [...box.querySelectorAll("tr > :nth-child(1 of :not([hidden]))")]
                .filter((one) => one.checkVisibility());
            box.scrollLeft = box.scrollWidth;
            const left = box.getBoundingClientRect().left + box.clientLeft;
            return firsts.filter((one) => Math.abs(one.getBoundingClientRect().left - left) > 1)
                .map((one) => one.textContent);
        })"""
    )


@pytest.mark.parametrize("card, says", long_after(1, [("c-phone-1", "Genuine"), ("c-phone-2", "Fraud")]))
def test_a_case_is_answered_on_a_phone_from_the_queue_by_two_taps(bank, opened, card, says):
    page = opened("ann", viewport={"width": PHONE[0], "height": PHONE[1]}, has_touch=True, is_mobile=True)
    page.goto("/queue")
    assert too_wide(page) == []
    page.get_by_role("link", name=f"Card {card}").tap()
    expect(page.get_by_role("heading", level=1)).to_have_text("150.00 EUR to Corvane")
    assert too_wide(page) == []
    page.get_by_role("button", name=says).tap()
    expect(page.locator(".toast")).to_contain_text(f"closed as {says.lower()}")
    assert page.get_by_role("link", name=f"Card {card}").count() == 0

    assert case_of(bank, card)["verdict"] == says.lower()


def test_on_a_phone_only_tables_scroll_sideways_and_their_first_column_stays(bank, opened):
    page = opened("ann", viewport={"width": PHONE[0], "height": PHONE[1]}, has_touch=True, is_mobile=True)
    of_one = ("/decisions/payment/p-c-no", "/entities/card/c-no", "/models/m-weak", "/rules/dear", "/rules/dear/draft")
    more = ("/lists/blocked_cards", "/me") if IS_LONG else ()
    found = {}
    for path in (*(tab.path for tab in tabs(PAGES)), *of_one, f"/cases/{case_of(bank, 'c-no')['id']}", *more):
        page.goto(path)
        if wrong := [*too_wide(page), *moved_heads(page)]:
            found[path] = wrong

    assert found == {}
