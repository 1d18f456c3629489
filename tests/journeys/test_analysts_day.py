"""An analyst's day in a real Chromium, at a desk and on a phone: from finding a payment to the end of a dispute."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from shroff.config import TEMPLATE_FOLDER
from shroff.models.registry import TESTED
from shroff.people import users
from shroff.people.access import Role
from shroff.runtime.values import replace
from shroff.services import project as app
from shroff.training.tested_rows import file_of
from tests.journeys.test_cases import CASES, queue, until
from tests.support.browsers import DESK, PHONE, chromium
from tests.support.effort import long_after
from tests.support.patience import PATIENCE_MS
from tests.support.served import ME, Served, served
from tests.support.trained import fitted_to

pytestmark = pytest.mark.slow
smoke = ("test_thresholds_are_tried_seen_as_a_change_of_the_policy_applied_and_undone",)

PASSWORD = "correct horse battery"
WIDTHS = (DESK[0], PHONE[0])
RULE = """
- id: dear
  on: payment
  by: card
  when: this.amount >= 1000
  reason: "{this.amount} at {this.merchant}"
  effect: review
"""
CASES_AGAIN = "cases: { second_look: 100% }\n"  # each closed case is looked at twice
Opened = Callable[[str, int], Page]


def payment(id_: str, card: str, amount: str) -> dict[str, Any]:
    known = {"payment_id": id_, "paid_at": "2026-01-05T08:30:00Z", "card": card, "amount": amount}
    return {**known, "merchant": "Corvane", "terminal": "t-1", "country": "DE", "channel": "pos"}


def champion(folder: Path) -> None:
    """A champion that was tested on 400 payments of 20 days, a tenth of them frauds."""
    random = np.random.default_rng(1)
    frauds = random.random(400) < 0.1
    rows = {
        "fold": pa.array(np.repeat([0, 1], 200), pa.int32()),
        "day": np.sort(random.integers(0, 20, 400)),
        "key": np.full(400, -1),
        "score": np.clip(random.random(400) * 0.7 + 0.3 * frauds, 0, 1).round(3),
        "fraud": frauds,
        "amount_minor": random.integers(1_000, 20_000, 400),
        "rules": pa.array(["approve"] * 400),
        "allowed": np.zeros(400, np.bool_),
    }
    fitted = fitted_to((("payment.amount", ()),), 1)
    inputs = [{"name": "payment.amount", "kind": "number", "categories": []}]
    manifest = {"id": "m-1", "event": "payment", "format": fitted.format, "learner": "xgboost", "inputs": inputs}
    project = app.open_exactly(folder)
    project.context.registry.write(manifest, {**fitted.files, TESTED: file_of(pa.table(rows))})
    project.models.promote("m-1", by="ann")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with a model, three people and a case for each journey and width."""
    folder = tmp_path_factory.mktemp("day") / "bank"
    shutil.copytree(TEMPLATE_FOLDER / "payments", folder)
    (folder / "rules" / "dear.yaml").write_text(RULE, encoding="utf-8")
    (folder / "model.yaml").write_text("payment: { inputs: [payment.amount], gates: none }\n", encoding="utf-8")
    with (folder / "shroff.yaml").open("a", encoding="utf-8") as settings:
        settings.write(CASES_AGAIN)
    champion(folder)
    with app.open_exactly(folder).people.open() as desk:
        for name, role in (("ann", Role.ADMIN), ("ben", Role.ANALYST), ("cem", Role.ANALYST)):
            users.add(desk, ME, name, role, display_name=name.capitalize(), password=PASSWORD)
    with served(folder) as service:
        with service.client() as client:
            sent = [
                payment(f"p-{what}-{width}x", f"c-{what}-{width}", "1661.90")
                for what in ("found", "twice")
                for width in WIDTHS
            ]
            assert client.post("/api/v1/events/payment", json=sent).status_code == 200
            until(lambda: len(queue(client)) == len(sent))
        yield service


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def signed_in() -> dict[str, Any]:
    """The cookies of each person who has signed in."""
    return {}


@pytest.fixture
def opened(bank: Served, browser: Browser, signed_in: dict[str, Any]) -> Iterator[Opened]:
    """Opens the browser of somebody who is signed in, with a screen of a width. No script may fail there."""
    wrong: list[str] = []
    made = []

    def open_(name: str, width: int) -> Page:
        on_phone = {"has_touch": True, "is_mobile": True} if width == PHONE[0] else {}
        screen = {"viewport": {"width": width, "height": 844}, **on_phone}
        context = browser.new_context(base_url=bank.url, storage_state=signed_in.get(name), **screen)
        made.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        if name not in signed_in:
            page.goto("/login")
            page.fill("[name=name]", name)
            page.fill("[name=password]", PASSWORD)
            page.click("main button")
            page.wait_for_selector("header.top")
            signed_in[name] = context.storage_state()
        return page

    yield open_
    for context in made:
        context.close()
    assert wrong == []


def fits(page: Page) -> bool:
    """Whether nobody must push the page sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def act(page: Page, key: str, button: str) -> None:
    """Press a key at a desk, and a button on a phone."""
    if page.viewport_size["width"] == PHONE[0]:
        page.get_by_role("button", name=button).first.tap()
    else:
        page.keyboard.press(key)


def section(page: Page, heading: str) -> Locator:
    """The part of a page below a heading."""
    return page.locator("section").filter(has=page.get_by_role("heading", name=heading, exact=True))


def find(page: Page, text: str) -> None:
    """Search from any page: by a key at a desk, by the menu on a phone."""
    if page.viewport_size["width"] == PHONE[0]:
        page.get_by_role("button", name="Menu").tap()
        page.get_by_role("navigation", name="Screens").get_by_role("link", name="Search").tap()
        page.locator("main input[name=q]").fill(text)
    else:
        page.keyboard.press("/")
        page.keyboard.type(text)
    page.keyboard.press("Enter")


def case_of(bank: Served, card: str) -> dict[str, Any]:
    with bank.client() as client:
        (found,) = [item for item in queue(client, "&state=all") if item["key"] == card]
        return dict(client.get(f"{CASES}/{found['id']}").json())


@pytest.mark.parametrize("width", WIDTHS)
def test_a_payment_is_found_by_the_end_of_its_id_and_answered_from_its_decision(bank, opened, width):
    page = opened("ben", width)
    page.goto("/live")
    find(page, f"found-{width}x")
    page.get_by_role("link", name=f"p-found-{width}x").click()  # a part of an id opens nothing by itself
    page.wait_for_url(f"**/decisions/payment/p-found-{width}x")

    expect(section(page, "Why")).to_contain_text("1,661.90 EUR at Corvane")
    expect(page.get_by_role("heading", level=1)).to_have_text("1,661.90 EUR to Corvane")
    expect(section(page, "Score").locator(".score-cuts")).to_be_visible()
    assert fits(page)
    number = case_of(bank, f"c-found-{width}")["id"]
    act(page, "f", "Fraud")
    expect(page.locator(".toast")).to_contain_text(f"Case {number} closed as fraud")
    found = case_of(bank, f"c-found-{width}")
    assert (found["state"], found["verdict"], found["closed_by"]["name"]) == ("closed", "fraud", "Ben")


def test_a_form_that_works_like_a_dialog_has_the_focus_and_no_other_key_does_anything(bank, opened):
    page = opened("ann", 1280)
    page.goto("/entities/card/c-found-1280")
    reason = page.get_by_label("Reason").first
    page.keyboard.press("b")
    page.keyboard.type("not me, 2")
    expect(reason).to_have_value("not me, 2")
    for key in ("Escape", "1"):  # out of the field, and then a key of the page
        page.keyboard.press(key)
    expect(reason).to_be_visible()
    assert page.url.endswith("/entities/card/c-found-1280")
    page.keyboard.press("Escape")
    expect(reason).to_be_hidden()
    page.keyboard.press("1")
    page.wait_for_url("**/queue")


def undo_is_over(bank: Served) -> None:
    """The seconds in which answers can be undone have passed."""
    project = app.open_exactly(bank.folder)
    with project.people.open() as people, project.cases.desk(people).store.change() as change:
        for item in change.due(sys.maxsize, 100):
            change.put_pending(replace(item, due_ms=0))


# The other steps are tried at both widths.
@pytest.mark.parametrize("width", long_after(1, WIDTHS))
def test_who_disagrees_in_a_second_look_hands_the_case_to_a_third_person(bank, opened, width):
    ann, ben, cem = (opened(name, width) for name in ("ann", "ben", "cem"))
    number = case_of(bank, f"c-twice-{width}")["id"]
    path, card = f"/cases/{number}", f"c-twice-{width}"

    ben.goto(path)
    act(ben, "e", "Escalate")
    ben.get_by_role("dialog").get_by_label("Reason").fill("two banks")
    ben.get_by_role("button", name="Escalate").last.click()
    expect(ben.get_by_text("Escalated: two banks")).to_be_visible()

    cem.goto("/queue?state=escalated")
    cem.once("dialog", lambda dialog: dialog.accept())
    cem.get_by_role("link", name=f"Card {card}").click()
    cem.wait_for_url(re.compile(rf"{path}\b"))
    act(cem, "f", "Fraud")
    expect(cem.locator(".toast")).to_contain_text(f"Case {number} closed as fraud")

    # the same case again, for another one, who is not told what was said
    undo_is_over(bank)
    until(lambda: case_of(bank, card)["second_look"])
    cem.goto(path)
    expect(cem.locator(".told")).to_contain_text("Another analyst must answer this case: you answered it before.")
    assert cem.locator("button[name=verdict]").count() == 0
    ben.goto(path)
    expect(ben.get_by_label("Summary of the case")).to_contain_text("second look")
    expect(ben.get_by_label("Summary of the case")).to_contain_text(
        "Their answer stays hidden until the second one is there."
    )
    expect(ben.get_by_label("Summary of the case")).not_to_contain_text("raud by")
    act(ben, "g", "Genuine")
    expect(ben.locator(".toast")).to_contain_text(f"Case {number} closed as genuine")

    # neither of them, but the lead decides
    undo_is_over(bank)
    until(lambda: case_of(bank, card)["state"] == "escalated")
    for page in (ben, cem):
        page.goto(path)
        assert page.locator("button[name=verdict]").count() == 0
    ann.goto("/team")
    ann.get_by_role("link", name="1 disagreement waits").click()
    ann.get_by_role("link", name=f"Card {card}").click()
    ann.wait_for_url(re.compile(rf"{path}\b"))
    expect(ann.get_by_text("Disagreement: fraud by Cem, genuine by Ben. A third person decides.")).to_be_visible()
    assert fits(ann)
    ann.once("dialog", lambda dialog: dialog.accept())
    act(ann, "f", "Fraud")
    expect(ann.locator(".toast")).to_contain_text(f"Case {number} closed as fraud")
    ann.goto("/team")
    expect(ann.get_by_label("Figures")).to_contain_text(re.compile("0 of [12] agree"))
    expect(ann.get_by_text("disagreement waits")).to_have_count(0)
    assert fits(ann)
    undo_is_over(bank)
    until(lambda: [alert["label"]["verdict"] for alert in case_of(bank, card)["alerts"]] == ["fraud"])
    assert case_of(bank, card)["state"] == "closed"


@pytest.mark.parametrize("width", WIDTHS)
def test_thresholds_are_tried_seen_as_a_change_of_the_policy_applied_and_undone(bank, opened, width):
    policy = bank.folder / "policy.yaml"
    before = policy.read_text(encoding="utf-8")
    page = opened("ann", width)
    reason = f"fraud rises, {width} pixels wide"  # the page shows that of the other width, too
    page.goto("/thresholds")
    page.get_by_label("Try: review from").fill("0.4")
    page.get_by_label("and decline from").fill("0.9")
    page.get_by_role("button", name="Recalculate").click()
    tried = re.compile(r"Tried: review from \D*(\d in 10 \()?0\.4000\)?, decline from \D*(\d in 10 \()?0\.9000")
    expect(page.get_by_label("In one sentence")).to_contain_text(tried)
    assert policy.read_text(encoding="utf-8") == before

    page.get_by_role("link", name="Use these thresholds").click()
    expect(page.locator("#apply")).to_contain_text("review_at: 0.4")
    assert fits(page)
    page.get_by_label("Reason").fill(reason)
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("The new thresholds are active from the next event on.")).to_be_visible()
    assert "review_at: 0.4" in policy.read_text(encoding="utf-8")
    expect(section(page, "Earlier changes")).to_contain_text(reason)

    page.get_by_role("button", name="Undo").click()
    expect(section(page, "Earlier changes")).to_contain_text(f"Undo: {reason}")
    assert policy.read_text(encoding="utf-8") == before
    assert fits(page)
