"""In a real Chromium: a rule is written with a typo, mended, tried on the past, put in shadow, in force, and back."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from shroff.config import TEMPLATE_FOLDER
from shroff.examples.bank import bank
from shroff.people import users
from shroff.people.access import Role
from shroff.services import project as app
from tests.support.browsers import DESK, PHONE, chromium
from tests.support.patience import PATIENCE_MS
from tests.support.served import ME, Served, served

pytestmark = pytest.mark.slow
smoke = ("test_a_rule_from_a_typo_to_being_in_force_and_back",)

TEMPLATE = TEMPLATE_FOLDER / "payments"
PASSWORD = "correct horse battery"
# Parts of a proposed name that lie over each other.
OVERLAPPING = """() => [...document.querySelectorAll("[role=option]")].filter((option) => {
    const boxes = [...option.children].map((part) => part.getBoundingClientRect());
    return boxes.some((a, at) => boxes.slice(at + 1).some((b) =>
        a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1));
}).map((option) => option.textContent)"""
RULE = """- id: dear
  on: payment
  by: card
  when: this.amount > 200 and card.payment_1h >= 1
  reason: "{this.amount} at once"
  effect: review
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("rules") / "bank"
    shutil.copytree(TEMPLATE, folder)
    with app.open_exactly(folder).people.open() as desk:
        users.add(desk, ME, "ann", Role.AUTHOR, password=PASSWORD)
        users.add(desk, ME, "vic", Role.VIEWER, password=PASSWORD)
    with served(folder) as found:
        with found.client() as client:
            client.post("/api/v1/events/payment", json=[item.event for item in bank(400, seed=4)]).raise_for_status()
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def page(service: Served, browser: Browser) -> Iterator[Page]:
    """Somebody's browser, signed in; no script may fail, and the policy of the pages may refuse nothing."""
    wrong: list[str] = []
    found = browser.new_page()
    found.set_default_timeout(PATIENCE_MS)
    found.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    found.on("pageerror", lambda error: wrong.append(str(error)))
    sign_in(service, found, "ann")
    yield found
    found.close()
    assert wrong == []


def sign_in(service: Served, page: Page, name: str) -> None:
    page.goto(f"{service.url}/login")
    page.fill("[name=name]", name)
    page.fill("[name=password]", PASSWORD)
    page.click("main button")
    expect(page.get_by_role("navigation", name="Screens")).to_be_visible(timeout=PATIENCE_MS)


def bank_payment() -> dict[str, object]:
    """The newest payment of the synthetic bank; under another id it is its card's second in this hour."""
    return [payment.event for payment in bank(400, seed=4)][-1]


def fits(page: Page) -> bool:
    """Whether nobody must push the page sideways on a phone and at a desk, where it stays."""
    found = []
    for width, height in (PHONE, DESK):
        page.set_viewport_size({"width": width, "height": height})
        found.append(bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth")))
    return all(found)


def test_a_rule_from_a_typo_to_being_in_force_and_back(service: Served, page: Page) -> None:
    """It is written on a phone, and brought into force at a desk."""
    name, files, drafts = "dear", service.folder / "rules", service.folder / "drafts"
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name="Policy", exact=True).click()
    page.fill("#new-rule", name)
    page.get_by_role("button", name="New rule").click()

    # a typo is told at its place as one types, and mended by one key press
    page.get_by_role("button", name="Text", exact=True).click()
    text = page.locator("textarea")
    text.fill(RULE)
    expect(page.locator(".row.wrong mark")).to_have_text("card.payment_1h")
    expect(page.locator("[data-mistakes]")).to_contain_text("Line 4, column 31")
    page.get_by_role("button", name="Use card.payments_1h").click()
    expect(page.locator("[data-says-back]")).to_contain_text("the card has at least one payment in 1 h")
    expect(page.locator(".mistake")).to_have_count(0)

    # names that fit are proposed, and taken by Tab
    text.press("Control+End")
    page.keyboard.type("  not")
    expect(page.get_by_role("listbox")).to_contain_text("notify:")
    assert page.evaluate(OVERLAPPING) == []
    text.press("Tab")
    page.keyboard.type("analysts")
    text.press("Control+s")
    expect(page.locator("[data-state]")).to_have_text("Saved")
    assert fits(page)
    draft = (drafts / f"{name}.yaml").read_text(encoding="utf-8")
    assert draft == f"{RULE.replace('payment_1h', 'payments_1h')}  notify: analysts\n"
    assert not (files / f"{name}.yaml").exists()

    # what it would have done
    page.get_by_role("button", name="Backtest").click()
    expect(page.get_by_role("heading", name="Outcomes: without and with the draft")).to_be_visible()
    assert fits(page)
    says = page.locator(".answer .lead").inner_text()
    page.get_by_role("link", name="Back to the draft").click()
    expect(page.get_by_text(f"Backtest: {says}")).to_be_visible()

    # in shadow, in force
    page.get_by_role("button", name="Put in shadow").click()
    expect(page.get_by_role("button", name="Is in shadow")).to_be_disabled()
    expect(page.locator("#diff h2")).to_have_text("Changes to the rule in shadow")
    assert "  shadow: true\n" in (files / f"{name}.yaml").read_text(encoding="utf-8")
    editor, dear = page.url, {**bank_payment(), "payment_id": "p-dear", "amount": "600.00"}
    with service.client() as client:
        (decided,) = client.post("/api/v1/events/payment", json=[dear]).raise_for_status().json()
    assert decided["shadow_rules"] == [name]
    page.goto(f"{service.url}/decisions/payment/p-dear")
    rules = page.locator("section", has=page.get_by_role("heading", name="Rules", exact=True))
    expect(rules.locator("header span")).to_contain_text(f"{len(decided['rules'])} hit, 1 in shadow, ")
    expect(rules.locator("li", has_text=name).locator(".tag")).to_have_text("shadow")
    page.goto(f"{service.url}/rules/{name}")
    expect(page.locator("table .tag")).to_have_text("shadow")
    assert fits(page)
    page.goto(editor)
    page.get_by_label("Reason to activate it").fill("a wave of them")
    page.get_by_role("button", name="Activate").click()
    expect(page.locator(".state-active")).to_be_visible()
    assert (files / f"{name}.yaml").read_text(encoding="utf-8") == draft

    # and back, with a reason that stays
    page.get_by_text("Roll back to this version").click()
    page.locator("details[open] [name=reason]").fill("too many reviews")
    page.get_by_role("button", name="Roll back").click()
    expect(page.locator(".state-shadow")).to_be_visible()
    expect(page.locator("#history")).to_contain_text("too many reviews")
    assert fits(page)
    assert "  shadow: true\n" in (files / f"{name}.yaml").read_text(encoding="utf-8")


def test_a_rule_is_built_as_a_form_by_keyboard_and_its_comments_stay(service: Served, page: Page) -> None:
    page.set_viewport_size({"width": DESK[0], "height": DESK[1]})
    page.goto(f"{service.url}/rules/formed/draft")
    keyboard, text = page.keyboard, page.locator("textarea#text")
    page.get_by_label("Description").fill("typed at once")  # as soon as it can be: no other line of the rule goes
    expect(text).to_have_value(re.compile("# typed at once\n  on: payment\n  by: card\n  when: "))
    expect(page.get_by_role("group", name="Condition 1")).to_be_visible()

    # a feature by its meaning, a comparison that fits its type, and a value; then one of two fields
    page.get_by_role("button", name="Add a condition").press("Enter")
    keyboard.type("payments in 10 min")
    expect(page.get_by_role("option", name="card.payments_10m").first).to_have_attribute("aria-selected", "true")
    keyboard.press("Enter")
    keyboard.press("Tab")
    keyboard.press("i")
    keyboard.press("Tab")
    keyboard.type("3")
    page.get_by_role("button", name="Add a condition").press("Enter")
    keyboard.type("this.country")
    keyboard.press("Tab")
    page.locator(":focus").select_option(label="is not")
    keyboard.press("Tab")
    keyboard.type("DE")
    page.get_by_label("Description").fill("many at once")
    when = "when: this.amount > 1_000 and card.payments_10m >= 3 and this.country != 'DE'"
    expect(text).to_have_value(
        f"- id: formed  # many at once\n  on: payment\n  by: card\n  {when}\n"
        '  reason: "an amount of {this.amount}"\n  effect: review\n'
    )
    expect(page.locator("[data-says-back]")).to_contain_text("3 or more payments in 10 min")
    expect(page.locator("[data-counted]")).to_contain_text("of 400 events hit", timeout=2 * PATIENCE_MS)
    assert fits(page)

    # what no row can show is text, and says so; a change beside it leaves it and the comments as they are
    page.get_by_role("button", name="Text", exact=True).click()
    text.fill(text.input_value().replace(when, "when: this.amount > 5 and not (this.amount > 9)  # odd"))
    expect(page.locator("[data-counted][aria-busy]")).to_contain_text("of 400 events hit")  # gray: of the text before
    expect(page.locator("[data-counted]:not([aria-busy])")).to_contain_text("hit", timeout=2 * PATIENCE_MS)
    expect(page.locator("[data-says-back]")).to_contain_text("at most 9")
    page.get_by_role("button", name="Form", exact=True).click()
    expect(page.get_by_text("This condition is shown as text.")).to_be_visible()
    page.get_by_label("A hit").select_option("decline")
    expect(text).to_have_value(
        "- id: formed  # many at once\n  on: payment\n  by: card\n"
        "  when: this.amount > 5 and not (this.amount > 9)  # odd\n"
        '  reason: "an amount of {this.amount}"\n  effect: decline\n'
    )

    # saved in the moment of a change, before the service has written it into the text; after a sign-in in between
    page.route("**/check", lambda route: route.fulfill(status=303, headers={"location": "/login"}))
    page.route("**/login/session", lambda route: route.fulfill(json={"user": "", "csrf": ""}))
    page.get_by_label("Description").fill("saved at once")
    keyboard.press("Control+s")
    page.locator(".connection a").click()
    page.wait_for_url("**/login?unsaved=yes&back=%2Frules%2Fformed%2Fdraft")
    page.unroute_all()
    page.goto(f"{service.url}/rules/formed/draft")
    expect(page.locator(".restored")).to_be_visible()
    expect(page.get_by_label("Description")).to_have_value("saved at once")
    keyboard.press("Control+s")
    expect(page.locator("[data-state]")).to_have_text("Saved")
    draft = (service.folder / "drafts" / "formed.yaml").read_text(encoding="utf-8")
    assert draft.startswith("- id: formed  # saved at once\n")
    page.get_by_label("Field, feature or text").first.fill("this.country")
    keyboard.press("Tab")
    expect(page.get_by_label("Comparison").first).to_be_focused()
    page.locator(":focus").select_option(label="is one of")
    page.get_by_label("Value").first.fill("DE, 'A, T'")
    expect(text).to_have_value(re.compile("this.country in \\['DE', 'A, T'\\] and not"))

    # a viewer sees the form and changes nothing in it
    page.context.clear_cookies()
    sign_in(service, page, "vic")
    page.goto(f"{service.url}/rules/formed/draft")
    expect(page.get_by_label("Description")).to_have_value("saved at once")
    expect(page.get_by_label("Description")).to_be_disabled()


def test_values_that_all_events_of_a_test_share_stand_above_its_table_once(service: Served, page: Page) -> None:
    page.goto(f"{service.url}/rules/amount_far_above_mean/draft")
    test = page.locator(".rule-test").first
    shared = test.get_by_label("country, event 1 of test 1")
    expect(test.get_by_text("In all events: card c1, country DE.")).to_be_visible()
    expect(shared).to_have_count(0)
    page.set_viewport_size({"width": DESK[0], "height": DESK[1]})
    assert test.locator(".scroll").evaluate("box => box.scrollWidth <= box.clientWidth")

    test.get_by_label("Add a field to test 1").select_option("country")
    expect(test.get_by_text("In all events: card c1.")).to_be_visible()
    shared.fill("AT")
    expect(page.locator("textarea#text")).to_have_value(re.compile(r"amount: 50.05, country: AT"))


def test_a_count_with_restrictions_and_a_table_are_built_without_syntax(service: Served, page: Page) -> None:
    """More than 3 payments above 200 EUR from another country than the last within a day; then rows in its place."""
    page.goto(f"{service.url}/rules/away/draft")
    text = page.locator("textarea#text")
    page.get_by_role("button", name="Form", exact=True).click()
    page.get_by_role("button", name="Remove condition 1").click()
    page.get_by_role("button", name="Count earlier events").press("Enter")
    for number, (field, sign, value) in enumerate(
        [("payment.amount", "is above", "200"), ("payment.country", "is not", "card.last_country")], 1
    ):
        page.get_by_role("button", name="Add a restriction").press("Enter")
        page.get_by_label(f"Restriction {number}: field").fill(field)
        page.get_by_label(f"Restriction {number}: comparison").select_option(label=sign)
        page.get_by_label(f"Restriction {number}: value").fill(value)
    count = "count(payment where payment.amount > 200 and payment.country != card.last_country) over 1d including this"
    expect(text).to_have_value(re.compile(re.escape(f"when: {count} > 3\n")))
    expect(page.locator("[data-says-back]")).to_contain_text("Send a payment to review")
    page.get_by_label("within", exact=True).fill("2d")
    expect(text).to_have_value(re.compile(re.escape(f"{count.replace('1d', '2d')} > 3\n")))

    # the same rule as a table, with a second row; its text has a row for each, and what never hits is said below it
    page.get_by_role("button", name="Turn into a table").press("Enter")
    page.get_by_role("button", name="Add a row to decision table").press("Enter")
    page.get_by_label("row 2").first.fill("> 5")
    page.get_by_label("effect, row 2").fill("decline")
    expect(page.locator(".rule-rows .said:visible")).to_have_text(
        "row 2 of away never hits: rows above it take all its events."
    )
    page.get_by_label("row 2").first.fill("> 1")
    expect(page.locator(".mistake")).to_have_count(2)  # a gap, and the overlap
    expect(text).to_have_value(re.compile(r"    > 3 +\| review\n    > 1 +\| decline\n"))
    assert fits(page)

    # a test is a table of events, and its text comes and goes with the rows
    page.get_by_role("button", name="Add a test").press("Enter")
    page.get_by_label("Name of test 1").fill("first the small one")
    page.get_by_label("Add a field to test 1").select_option("card")
    page.get_by_label("card, event 1 of test 1").fill("c1")
    page.get_by_role("button", name="Add an event to test 1").press("Enter")
    page.get_by_label("Row that hits, or false, event 2 of test 1").fill("2")
    expect(text).to_have_value(
        re.compile(
            r"  tests:\n    - name: first the small one\n      events:\n"
            r"        - payment: { at: 2026-01-05T10:00:00Z, card: c1 }\n"
            r"        - payment: { at: 2026-01-05T11:00:00Z, card: c1 }\n      hits: \[false, 2\]\n"
        )
    )
    assert fits(page)
    page.get_by_role("button", name="Remove test 1").press("Enter")
    expect(text).not_to_have_value(re.compile("tests:"))
    page.keyboard.press("Control+s")
    expect(page.locator("[data-state]")).to_have_text("Saved")
