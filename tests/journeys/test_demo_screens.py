"""A stranger in a real Chromium: from the address that the demo prints to a decided case and a customer's answer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.test_cases import CASES, labels, until
from tests.journeys.test_demo import example_names_the_model, model_fits, rules_fit, served_demo
from tests.support.browsers import DESK, Looker, chromium
from tests.support.patience import PATIENCE_MS
from tests.support.telling import token_of

pytestmark = pytest.mark.slow

SAID_NO = "the customer says that it was not them"
SAYS = {
    "/decisions": "Open one for all its reasons, and to answer it.",
    "/rules": "Least precise: ",
    "/rules/amount_far_above_mean/hits": " too new to count, labeled or not. Open one to see why it was hit.",
    "/models": " scores each payment. ",
    "/thresholds": "The scores from which each payment is reviewed or declined. ",
    "/labels": "Whether events were fraud, as known by now: since the start",
    "/mails": "Open one to read what it says, or its case to decide.",
    "/experiments": "Fewer reviews",
    "/settings/users": "Who may sign in, and what each role may do: 1 user, ",
    "/me": "Guest, signed in as guest with the role admin. ",
}
PHONE = {"width": 390, "height": 844}


def written(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The labels of the demo's log."""
    return labels(Path(found["project"]))


def answers(page: Page, case: str) -> dict[str, str | None]:
    """What analysts answered about each event of a case; None where it still waits."""
    found = page.request.get(case).json()
    return {alert["event"]: alert["verdict"] for alert in found["alerts"]}


def first_mail(page: Page) -> None:
    """Open the newest mail that asks a customer; mails leave a moment after the start."""
    question = page.get_by_role("link", name=re.compile("Was this you")).first
    page.get_by_role("link", name="System", exact=True).click()
    for _ in range(60):
        page.get_by_role("link", name="Mails", exact=True).click()
        if question.count():
            break
        page.wait_for_timeout(500)
    question.click()
    page.wait_for_url("**/mails/kept/**")


def test_from_the_printed_address_to_a_decided_case_and_a_customers_answer(tmp_path):
    with served_demo(tmp_path) as (_, found), chromium() as browser:
        for fit in (rules_fit, model_fits, example_names_the_model):
            fit(found)
        here = browser.new_context(viewport={"width": DESK[0], "height": DESK[1]})
        here.set_default_timeout(PATIENCE_MS)
        page = here.new_page()
        looker = Looker(page, found["url"].partition("/login/")[0])
        page.goto(found["url"])
        looker.look()
        page.set_viewport_size({"width": DESK[0], "height": DESK[1]})
        page.keyboard.press("Enter")
        page.wait_for_url("**/queue")

        # The queue says by itself what to do; one key does it.
        cases = page.locator("tr[data-row]")
        assert 0 < cases.count() <= found["cases"]
        expect(page.locator(".note")).to_contain_text("Press F for fraud or G for genuine")
        looker.look()
        page.set_viewport_size({"width": DESK[0], "height": DESK[1]})
        number = page.get_attribute("tr[data-row][aria-current=true]", "data-number")
        case = f"{looker.url}{CASES}/{number}"
        before = answers(page, case)
        waiting = [event for event, verdict in before.items() if verdict is None]
        assert waiting
        page.keyboard.press("f")
        expect(page.locator(".toast")).to_contain_text(f"Case {number} closed as fraud")
        expect(page.locator(".note")).to_have_count(0)
        assert page.locator(f"tr[data-number='{number}']").count() == 0
        # What the analysts of the bank answered before stays as it was.
        assert before | dict.fromkeys(waiting, "fraud") == answers(page, case)

        # Each says in its heading what it is for, what is wrong now, or what to do next.
        for path, says in SAYS.items():
            looker.open(path)
            expect(page.locator(".headline p").first).to_contain_text(says)

        # What a model and many events fill: the model, other thresholds, a card with its charts and links.
        looker.open("/models")
        model = page.locator("tbody th a").first.get_attribute("href")
        card = page.request.get(f"{looker.url}{CASES}").json()["cases"][0]
        for path in (model, "/thresholds?review=0.01&decline=0.2", f"/entities/{card['entity']}/{card['key']}"):
            looker.open(path)
            looker.look()
        page.set_viewport_size({"width": DESK[0], "height": DESK[1]})

        # The same address once more does not keep out who is in.
        page.goto(found["url"])
        page.wait_for_url("**/queue")

        first_mail(page)
        (file,) = Path(found["project"], ".shroff", "mail").glob(f"{page.url.rpartition('/')[2]}.eml")
        customer = here.new_page()
        customer.goto(f"{looker.url}/confirm/{token_of(file)}")
        customer.set_viewport_size(PHONE)
        expect(customer.get_by_role("heading", level=1)).to_have_text("Was this you?")
        customer.locator("button[value=no]").click()
        expect(customer.locator("button[value=no]")).to_have_count(0)

        decided = {(event, "fraud", "analyst") for event in waiting}
        until(lambda: decided <= {(item["event"], item["verdict"], item["source"]) for item in written(found)})
        until(lambda: [item for item in written(found) if item.get("reason") == SAID_NO and item["verdict"] == "fraud"])

    assert not looker.mistakes, "\n".join(looker.mistakes)
