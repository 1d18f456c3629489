"""The queue in a real Chromium: ten cases by keyboard alone, taken back, and two analysts on one of them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from httpx2 import Client
from playwright.sync_api import Browser, Page, Route

from shroff.config import TEMPLATE_FOLDER
from shroff.examples.bank import bank
from shroff.people.access import Role
from tests.journeys.test_cases import CASES, RULE, labels, raise_cases, until
from tests.support.browsers import PHONE, Looker, chromium
from tests.support.effort import IS_LONG
from tests.support.screens import PASSWORD, PATIENCE_MS, signed_in
from tests.support.served import Served, key_of, served

pytestmark = pytest.mark.slow
smoke = ("test_ten_cases_are_cleared_by_keyboard_alone",)

TEMPLATE = TEMPLATE_FOLDER / "payments"
CHOSEN = "tr[data-row][aria-current=true]"
OPEN = ".screens [data-part=open]"
SHOWN = "[data-peek]:not([aria-busy])"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def at_work(tmp_path: Path, browser: Browser) -> Iterator[tuple[Served, Page]]:
    """An analyst at the queue of a bank that reviews each payment."""
    shutil.copytree(TEMPLATE, tmp_path / "bank")
    (tmp_path / "bank" / "rules" / "any.yaml").write_text(RULE, encoding="utf-8")
    with ExitStack() as held:
        service = held.enter_context(served(tmp_path / "bank"))
        with service.client() as client:
            raise_cases(client, 20)
        page = held.enter_context(signed_in(service, browser))
        page.goto(f"{service.url}/queue")
        yield service, page


def chosen(page: Page) -> int:
    return int(page.get_attribute(CHOSEN, "data-number") or 0)


def answered(page: Page, key: str) -> int:
    """Answer the case that is chosen by a key; gives its number once the queue is there without it."""
    page.wait_for_selector(SHOWN)
    number = chosen(page)
    page.keyboard.press(key)
    page.wait_for_selector(f"tr[data-row]:not([data-number='{number}'])")
    page.wait_for_selector(f".toast:has-text('Case {number} closed')")
    assert page.locator(f"tr[data-number='{number}']").count() == 0
    return number


def test_ten_cases_are_cleared_by_keyboard_alone(at_work):
    service, page = at_work
    assert page.url.endswith("/queue")
    verdicts = {"f": "fraud", "g": "genuine", "u": "unclear"}
    page.wait_for_selector(SHOWN)
    numbers = [int(element.get_attribute("data-number") or 0) for element in page.locator("tr[data-row]").all()]
    before = int(page.inner_text(OPEN).split()[0])

    # as fast as keys can be pressed: each answers the case that is next by then, J leaves one out
    for key in "fgjfg":
        page.keyboard.press(key)
    done = dict(zip([numbers[0], numbers[1], numbers[3], numbers[4]], ["fraud", "genuine"] * 2, strict=True))
    page.wait_for_selector(f".toast:has-text('Case {numbers[4]} closed as genuine')")
    assert (chosen(page), page.get_attribute(CHOSEN, "data-row")) == (numbers[5], "1")
    page.wait_for_selector(f"{OPEN}:has-text('{before - 4} open')")
    assert page.url.endswith("row=1")
    page.keyboard.press("k")  # and takes it again
    page.keyboard.press("u")
    page.wait_for_selector(f".toast:has-text('Case {numbers[2]} closed as unclear')")
    done[numbers[2]] = "unclear"
    for key in "xjxjx":  # three of them at once
        page.keyboard.press(key)
    picked = {int(name.removeprefix("case-")) for name in _names(page, "td input:checked")}
    page.keyboard.press("g")
    page.wait_for_selector(".toast:has-text('3 cases closed as genuine')")
    done |= dict.fromkeys(picked, "genuine")
    for key in "fg":  # claimed, looked at as a whole, answered there
        page.keyboard.press("c")
        page.wait_for_url(re.compile(r"/cases/\d+"))
        page.wait_for_selector("text=claimed by you")
        number = int(re.findall(r"/cases/(\d+)", page.url)[0])
        page.keyboard.press(key)
        page.wait_for_selector(f".toast:has-text('Case {number} closed')")
        done[number] = verdicts[key]

    assert len(done) == 10
    with service.client() as client:
        assert {number: client.get(f"{CASES}/{number}").json()["verdict"] for number in done} == done
        events = [alert["event"] for number in done for alert in client.get(f"{CASES}/{number}").json()["alerts"]]
    until(lambda: len(labels(service.folder)) == len(events))
    assert sorted(label["event"] for label in labels(service.folder)) == sorted(events)


def _names(page: Page, selector: str) -> list[str]:
    return [element.get_attribute("name") or "" for element in page.locator(selector).all()]


def test_what_was_answered_is_taken_back_by_a_key_and_no_label_comes(at_work):
    service, page = at_work
    for width in (1280, PHONE[0]) if IS_LONG else PHONE[:1]:
        with service.client() as client:
            blocks_a_card_and_takes_it_back(client, page, service.url, width)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"{service.url}/queue")
    number = answered(page, "f")
    page.keyboard.press("z")
    page.wait_for_selector(f"tr[data-number='{number}']")

    assert page.locator(".toast").count() == 0
    with service.client() as client:
        assert client.get(f"{CASES}/{number}").json()["state"] == "open"
    another = answered(page, "g")
    with service.client() as client:
        events = [alert["event"] for alert in client.get(f"{CASES}/{another}").json()["alerts"]]
    written = until(lambda: found if len(found := labels(service.folder)) >= len(events) else None)
    assert sorted(row["event"] for row in written) == sorted(events)


def blocks_a_card_and_takes_it_back(client: Client, page: Page, url: str, width: int) -> None:
    """Answer case 1 with its card blocked for a week; one undo, and both are as before."""

    def blocked() -> list[str]:
        entries = client.get("/api/v1/lists/blocked_cards").json()["entries"]
        return [f"{entry['note']} {bool(entry['expires_at'])}" for entry in entries if entry["added_by"] == "mira"]

    looker = Looker(page, url)
    looker.open("/cases/1")
    page.set_viewport_size({"width": width, "height": 844})
    page.click(".also summary")
    if width == PHONE[0]:
        looker.look()
        page.set_viewport_size({"width": width, "height": 844})
    page.check(".also input[type=checkbox]")
    page.select_option("#also-lasts", "7d")
    page.fill("#also-note", "third chargeback")
    page.fill("#also-refund", "12.50")
    page.keyboard.press("Enter")  # in a field it answers nothing
    assert client.get(f"{CASES}/1").json()["state"] == "open"
    page.click(".answers button[value=fraud]")
    page.wait_for_selector(".toast:has-text('is added to blocked_cards. Refund 12.50 EUR.')")
    assert blocked() == ["third chargeback True"]
    assert client.get(f"{CASES}/1").json()["verdict"] == "fraud"
    page.click(".toast button")
    page.wait_for_selector(".toast", state="detached")
    assert (client.get(f"{CASES}/1").json()["state"], blocked()) == ("open", [])
    assert not looker.mistakes, "\n".join(looker.mistakes)


@pytest.mark.long  # test_people_at_work has two analysts, one of whom is told
def test_the_second_analyst_is_told_by_whom_and_nothing_of_theirs_is_saved(at_work):
    service, page = at_work
    page.wait_for_selector(SHOWN)
    number = chosen(page)
    with service.client(key_of(service.folder, Role.ANALYST, "ben")) as ben:
        assert ben.post(f"{CASES}/{number}/decide", json={"verdict": "fraud"}).status_code == 200
        page.keyboard.press("g")
        page.wait_for_selector(".told")

        assert f"ben decided case {number} as fraud" in page.inner_text(".told")
        assert "Your change was not saved" in page.inner_text(".told")
        assert ben.get(f"{CASES}/{number}").json()["verdict"] == "fraud"


def test_a_key_that_waits_is_pressed_on_the_case_that_it_was_meant_for_or_on_none(at_work):
    service, page = at_work
    page.wait_for_selector(SHOWN)
    numbers = [int(element.get_attribute("data-number") or 0) for element in page.locator("tr[data-row]").all()]
    with service.client(key_of(service.folder, Role.ANALYST, "ben")) as ben:
        held: list[Route] = []

        def hold(route: Route) -> None:
            held.append(route)

        page.route("**/decide", hold)
        for key in "ffj":
            page.keyboard.press(key)
        until(lambda: held or page.wait_for_timeout(10))
        # the first answer is on its way, and somebody answers the case that the second key is meant for
        assert ben.post(f"{CASES}/{numbers[1]}/decide", json={"verdict": "genuine"}).status_code == 200
        held[0].continue_()
        page.wait_for_selector("[role=status]:text-is('Not done, because the queue has changed: F J.')")
        page.unroute("**/decide")
        page.route("**/queue/peek/*", lambda route: route.abort())
        for key in "jf":
            page.keyboard.press(key)
        page.wait_for_selector("[role=status]:text-is('Not done, because the case could not be loaded: F.')")
        page.unroute("**/queue/peek/*")
        page.route("**/queue/peek/*", hold)
        for key in "kf":
            page.keyboard.press(key)
        page.click("tr[data-row='2'] td.left")
        page.wait_for_selector("[role=status]:text-is('Not done, because another case was chosen: F.')")
        states = [ben.get(f"{CASES}/{number}").json()["state"] for number in numbers[:6]]
        assert states == ["closed", "closed", *["open"] * 4]


def sign_in_again(page: Page) -> None:
    """Follow the link of an ended session, and sign in."""
    page.click(".connection:has-text('Your session ended. Sign in to save.') a")
    page.wait_for_selector(".note:has-text('Your session ended. Sign in to save.')")
    page.fill("#name", "mira")
    page.fill("#password", PASSWORD)
    page.keyboard.press("Enter")


def test_a_case_is_noted_put_away_and_handed_on_by_keyboard(at_work):
    """Meanwhile the session ends twice, and the connection once: neither a note nor an answer is lost in silence."""
    service, page = at_work
    page.wait_for_selector(SHOWN)
    number, rows = chosen(page), page.locator("tr[data-row]").count()
    page.context.clear_cookies()
    page.keyboard.press("g")
    sign_in_again(page)
    page.wait_for_selector(SHOWN)
    assert page.locator("tr[data-row]").count() == rows
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(rf"/cases/{number}"))
    page.keyboard.press("n")
    page.keyboard.type("the hotel confirms <b>")
    page.context.clear_cookies()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    sign_in_again(page)
    page.wait_for_url(re.compile(rf"/cases/{number}"))
    page.wait_for_selector(".restored:has-text('save it now')")
    page.context.set_offline(True)
    page.keyboard.press("n")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(".connection:has-text('No connection.')")
    page.context.set_offline(False)
    page.click(".connection button")
    page.wait_for_selector(".written:has-text('the hotel confirms <b>')")
    assert page.evaluate("sessionStorage.length") == 0
    page.keyboard.press("e")
    page.keyboard.type("two banks")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Escalated: two banks")
    asked: list[str] = []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.keyboard.press("f")
    assert asked == [f"Case {number} is escalated: somebody else is to decide it. Answer it all the same?"]
    page.keyboard.press("s")
    page.keyboard.press("Enter")
    page.wait_for_selector(f".toast:has-text('Case {number} snoozed')")

    with service.client() as client:
        now = client.get(f"{CASES}/{number}").json()
    assert now["state"] == "snoozed"
    assert [note["words"] for note in now["notes"]] == ["the hotel confirms <b>"]


def test_a_filter_is_in_the_address_and_kept_as_a_view(at_work):
    _, page = at_work
    all_of_them = page.locator("tr[data-row]").count()
    page.fill("[name=min_stake]", "100")
    page.keyboard.press("Enter")
    page.wait_for_url("**/queue?min_stake=100")
    fewer = page.locator("tr[data-row]").count()
    page.click("text=Save as view")
    page.fill(".keep-form [name=name]", "Above 100")
    page.keyboard.press("Enter")
    page.wait_for_selector(".tabs [aria-current]:has-text('Above 100')")
    page.click(".tabs a:has-text('Open')")
    page.wait_for_selector(".tabs [aria-current]:has-text('Open')")
    page.click(".tabs a:has-text('Above 100')")
    page.wait_for_url("**/queue?min_stake=100")

    assert 0 < fewer < all_of_them
    assert page.locator("tr[data-row]").count() == fewer
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


@pytest.mark.long  # test_people_at_work answers cases by two taps
def test_ten_cases_are_cleared_on_a_phone_by_two_taps_each_and_nothing_is_cut_off(at_work):
    service, page = at_work
    page.set_viewport_size({"width": 390, "height": 844})
    done = set()
    for _ in range(10):
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.click("tbody th a >> nth=0")
        page.wait_for_url(re.compile(r"/cases/\d+"))
        number = int(re.findall(r"/cases/(\d+)", page.url)[0])
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.click("button:has-text('Genuine') >> nth=0", timeout=PATIENCE_MS)
        page.wait_for_selector(f".toast:has-text('Case {number} closed as genuine')")
        done.add(number)
    with service.client() as client:
        assert {client.get(f"{CASES}/{number}").json()["verdict"] for number in done} == {"genuine"}
    assert len(done) == 10


def test_an_empty_queue_says_the_next_command(tmp_path, browser):
    shutil.copytree(TEMPLATE, tmp_path / "bank")
    with served(tmp_path / "bank") as service, signed_in(service, browser) as page:
        page.goto(f"{service.url}/queue")
        assert page.inner_text(".command code") == "shroff ingest payments.csv --as payment"


def test_new_cases_are_told_beside_the_queue_and_come_into_it_by_a_key(at_work):
    service, page = at_work
    page.goto(f"{service.url}/queue?order=newest")
    page.wait_for_selector(SHOWN)
    assert not page.locator(".news a").is_visible()
    rows = page.locator("tr[data-row]").all_inner_texts()
    at = page.locator(CHOSEN).bounding_box()
    last = [item.event for item in bank(60, seed=4)][-1]
    with service.client() as client:
        for name in ("new-1", "new-2"):
            sent = client.post("/api/v1/events/payment", json={**last, "payment_id": name, "card": name})
            assert sent.status_code == 200
        page.wait_for_selector(".news a:has-text('2 new cases')", timeout=PATIENCE_MS)

    assert page.locator("tr[data-row]").all_inner_texts() == rows
    assert page.locator(CHOSEN).bounding_box() == at
    page.keyboard.press("r")
    page.wait_for_selector("tr[data-row] a:has-text('new-1')")
    assert not page.locator(".news a").is_visible()
