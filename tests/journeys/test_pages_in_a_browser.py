"""Every screen in a real browser: in light and dark, at a desk and on a phone; and what works there by itself."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from shroff.config import TEMPLATE_FOLDER
from shroff.examples.bank import START_MS
from shroff.examples.bank import bank as made_up
from shroff.language.values import DAY_MS
from shroff.people import users
from shroff.people.access import Role
from shroff.services import project as app
from shroff.web.pages.renderer import tabs
from shroff.web.table import PAGES
from tests.support.browsers import DESK, PHONE, Looker, chromium
from tests.support.effort import IS_LONG
from tests.support.patience import PATIENCE_MS
from tests.support.served import ME, SHROFF, Served, served
from tools.weighing import weigh

pytestmark = pytest.mark.slow
smoke = (
    "test_a_passkey_is_made_signs_in_alone_and_is_removed",
    "test_every_screen_is_for_everybody_and_stays_within_its_screen",
    "test_a_card_is_found_by_a_part_of_its_key_and_blocked_with_reason_and_end_and_undo",
)

TEMPLATE = TEMPLATE_FOLDER / "payments"
PASSWORD = "correct horse battery"
BYTES_MAX = 150_000  # of a page's first load, over the wire
DAYS_BEFORE = [
    {**paid.event, "payment_id": f"before-{number}"}
    for number, paid in enumerate(made_up(400, seed=4, start_ms=START_MS - 7 * DAY_MS))
]
RULE = """
- id: far_above
  on: payment
  by: card
  when: this.amount >= 1000
  reason: "{this.amount}, far above what is usual"
  effect: review
"""
HASHED = dict.fromkeys(("merchant", "device"), "W" * 64)  # as long as hashes are, and none breaks by itself
MORE = (
    "/decisions/payment/p-30",
    "/live?period=1h",
    "/decisions?outcome=all",
    "/decisions/payment/p-7",
    "/entities/card/c-1",
    "/links?entity=card&key=c-1",
    "/changes",
    "/labels?period=all",
    "/thresholds?review=9",
    "/lists/blocked_cards",
    "/rules/cookbook/recipes",
    "/find?q=none",
    "/me",
)


def payment(number: int, amount: str, **fields: str) -> dict[str, Any]:
    known = {"payment_id": f"p-{number}", "paid_at": f"2026-01-05T08:{number:02d}:00Z", "card": f"c-{number % 3}"}
    return {
        **known,
        "merchant": "m-1",
        "terminal": "t-1",
        "amount": amount,
        "country": "DE",
        "channel": "pos",
        **fields,
    }


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with something on every screen."""
    folder = tmp_path_factory.mktemp("bank") / "bank"
    shutil.copytree(TEMPLATE, folder)
    (folder / "rules" / "far.yaml").write_text(RULE, encoding="utf-8")
    with app.open_exactly(folder).people.open() as desk:
        users.add(desk, ME, "ann", Role.ADMIN, display_name="Ann Lee", password=PASSWORD)
        users.add(desk, ME, "pat", Role.ANALYST, display_name="Pat Roe", password=PASSWORD)
    with served(folder) as service:
        with service.client() as client:
            assert client.post("/api/v1/events/payment", json=DAYS_BEFORE).status_code == 200
            events = [payment(number, "1500.00" if number % 7 == 0 else "20.00") for number in range(30)]
            broken = {"payment_id": "p-x", "card": "c-1", "amount": "64,00"}
            sent = [*events, payment(30, "20.00", **HASHED), broken]
            assert client.post("/api/v1/events/payment", json=sent).status_code == 200
            entry = {"value": "c-1", "note": "three chargebacks", "expires_at": "2027-01-31T00:00:00Z"}
            assert client.post("/api/v1/lists/blocked_cards/entries", json=entry).status_code == 200
        yield service


@pytest.fixture(scope="module")
def context(bank: Served) -> Iterator[BrowserContext]:
    with chromium() as found:
        made = found.new_context(viewport={"width": DESK[0], "height": DESK[1]}, timezone_id="Europe/Berlin")
        made.set_default_timeout(PATIENCE_MS)
        yield made
        made.close()


@pytest.fixture
def page(bank: Served, context: BrowserContext) -> Iterator[Page]:
    """A page of somebody who has signed in."""
    found = context.new_page()
    found.goto(f"{bank.url}/live")
    if found.url.partition("?")[0].endswith("/login"):
        found.fill("#name", "ann")
        found.fill("#password", PASSWORD)
        found.click("button")
        found.wait_for_url(f"{bank.url}/live")
    yield found
    found.close()


def test_a_proof_is_checked_by_the_page_that_the_service_has(bank, page, tmp_path):
    """Its policy lets its own script and style run, and nothing else."""
    proof = tmp_path / "p.json"
    with proof.open("w") as out:
        command = [str(SHROFF), "-C", str(bank.folder), "proof", "payment/p-1"]
        subprocess.run(command, stdout=out, check=True)
    page.goto(f"{bank.url}/decisions/payment/p-1")
    page.get_by_text("Check a proof").click()
    page.set_input_files("input", proof)
    expect(page.get_by_role("heading", name="payment/p-1: ")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('label')).borderStyle") == "dashed"
    proof.write_text(proof.read_text().replace("20.00", "20.01"))
    with page.expect_file_chooser() as chosen:
        page.click("input")
    chosen.value.set_files(proof)
    expect(page.get_by_role("heading", name="Refused")).to_be_visible()


def test_a_passkey_is_made_signs_in_alone_and_is_removed(bank, context):
    """A device of the browser's own, which unlocks by itself; a passkey needs a name of a host, not its number."""
    made = context.browser.new_context(base_url=bank.url.replace("127.0.0.1", "localhost"))
    found = made.new_page()
    camera = made.new_cdp_session(found)
    camera.send("WebAuthn.enable")
    unlocked = {"hasUserVerification": True, "isUserVerified": True, "automaticPresenceSimulation": True}
    device = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, **unlocked}
    camera.send("WebAuthn.addVirtualAuthenticator", {"options": device})

    def password() -> None:
        found.goto("/login?back=/me")
        found.fill("#name", "pat")
        found.fill("#password", PASSWORD)
        found.get_by_role("button", name="Sign in", exact=True).click()

    password()
    found.fill("#passkey", "Laptop")
    found.fill("#passkey-new", PASSWORD)
    found.get_by_role("button", name="Add a passkey").click()
    expect(found.get_by_text(re.compile("^last used"))).to_be_visible()
    found.get_by_role("button", name="Sign out").click()
    found.get_by_role("button", name="Sign in with a passkey").click()
    found.wait_for_url("**/queue")
    made.clear_cookies()
    password()
    found.get_by_role("button", name="Use your passkey").click()
    found.wait_for_url("**/me")
    found.get_by_text("Remove", exact=True).click()
    found.fill("#passkey-1", PASSWORD)
    found.get_by_role("button", name="Remove Laptop").click()
    expect(found.get_by_text(re.compile("^last used"))).to_have_count(0)
    made.clear_cookies()
    found.goto("/login")
    found.get_by_role("button", name="Sign in with a passkey").click()
    expect(found.get_by_text("was not accepted")).to_be_visible()
    made.close()


def test_signing_in_shows_nothing_that_keeps_anybody_out(bank, context):
    context.clear_cookies()
    found = context.new_page()
    looker = Looker(found, bank.url)
    looker.open("/login")
    looker.look()
    found.close()

    assert not looker.mistakes, "\n".join(looker.mistakes)


def test_every_screen_is_for_everybody_and_stays_within_its_screen(bank, page):
    looker = Looker(page, bank.url)
    for path in (*(tab.path for tab in tabs(PAGES)), *MORE):
        looker.open(path)
        assert page.locator("h1").count() == 1 or path.startswith("/decisions/"), path
        looker.look()
    looker.open("/labels")
    page.set_viewport_size({"width": 820, "height": 900})
    page.get_by_role("button", name="Menu").click()
    expect(page.get_by_role("link", name="System", exact=True)).to_be_in_viewport()
    page.get_by_role("button", name="Menu").click()
    page.fill("#csv", "event;verdict;source;known_at\npayment/p-7;FRAUD;chargeback;2026-02-01\npayment/p-8;maybe;;\n")
    page.get_by_role("button", name="Check file").click()
    expect(page.get_by_role("button", name="Record 1 label")).to_be_visible()
    looker.look()
    looker.open("/decisions/payment/p-8")
    page.click(".also summary")
    looker.look()

    assert not looker.mistakes, "\n".join(looker.mistakes)


def test_live_shows_what_comes_without_being_loaded_again_and_pauses(bank, page):
    looker = Looker(page, bank.url)
    page.set_viewport_size({"width": DESK[0], "height": DESK[1]})
    expect(page.locator("[data-updates]")).to_have_text("updates automatically", timeout=PATIENCE_MS)
    newest = page.locator('[data-part="newest"]')
    with bank.client() as client:
        client.post("/api/v1/events/payment", json=payment(40, "2500.00"))
        expect(newest).to_contain_text("payment p-40", timeout=PATIENCE_MS)
        page.keyboard.press("p")
        expect(page.locator("[data-updates]")).to_have_text("paused")
        client.post("/api/v1/events/payment", json=payment(41, "2600.00"))
        page.wait_for_function("() => window.performance.now() > 0")
        page.keyboard.press("p")
        expect(newest).to_contain_text("payment p-41", timeout=PATIENCE_MS)

    assert not looker.mistakes, "\n".join(looker.mistakes)


@pytest.mark.parametrize("width", [DESK[0], PHONE[0]])
def test_a_card_is_found_by_a_part_of_its_key_and_blocked_with_reason_and_end_and_undo(bank, page, width):
    card, is_desk = f"c-blocked-{width}", width == DESK[0]
    page.set_viewport_size({"width": width, "height": 844})
    with bank.client() as client:
        client.post("/api/v1/events/payment", json=payment(49, "20.00", card=card, payment_id=f"p-before-{width}"))
    page.goto(f"{bank.url}/rules")
    if is_desk:
        page.keyboard.press("/")
        page.keyboard.type(f"blocked-{width}")
    else:
        page.get_by_role("button", name="Menu").click()
        page.get_by_role("link", name="Search", exact=True).click()
        page.locator("main input[name=q]").fill(f"blocked-{width}")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/find?q=blocked-{width}")
    page.get_by_role("main").get_by_role("link", name=card, exact=True).click()
    page.wait_for_url(f"**/entities/card/{card}")
    assert f"blocked-{width}" in page.evaluate(
        "Object.entries(localStorage).find(([key]) => key.startsWith('shroff.searches'))[1]"
    )
    expect(page.locator("#recent-searches option").first).to_have_attribute("value", f"blocked-{width}")
    if is_desk:
        page.keyboard.press("b")
    else:
        page.locator(".key-head summary.block").click()
    page.get_by_label("Reason").fill("stolen")
    page.get_by_label("Ends after").select_option("7 days")
    page.get_by_role("button", name="Add to blocked_cards").click()
    expect(page.get_by_text("stolen, by Ann Lee, until")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    with bank.client() as client:
        sent = payment(50, "20.00", card=card, payment_id=f"p-after-{width}")
        decided = client.post("/api/v1/events/payment", json=sent).json()
    assert "blocked_card" in decided["rules"]

    if is_desk:
        page.keyboard.press("z")
    else:
        page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Done: 1 removed")).to_be_visible()
    expect(page.get_by_text("stolen, by Ann Lee")).to_have_count(0)


def test_a_spreadsheet_goes_into_a_list(bank, page, tmp_path):
    sheet = tmp_path / "cards.csv"
    sheet.write_text("value,note\nc-901,from the bank\n'=c-902,\n", encoding="utf-8")
    page.goto(f"{bank.url}/lists/blocked_cards")
    page.set_input_files("#file", sheet)
    expect(page.locator("#csv")).to_have_value(sheet.read_text(encoding="utf-8"))
    page.get_by_role("button", name="Upload").click()

    expect(page.get_by_text("Done: 2 added.")).to_be_visible()
    expect(page.get_by_role("rowheader", name="=c-902")).to_be_visible()


def test_a_time_zone_and_a_theme_of_ones_own_are_those_of_every_page(bank, page):
    def set_to(zone: str, theme: str) -> None:
        page.goto(f"{bank.url}/me")
        page.get_by_label("Time zone").fill(zone)
        page.get_by_label("Theme").select_option(theme)
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("Time zone and theme saved.")).to_be_visible()

    set_to("Asia/Tokyo", "dark")
    page.goto(f"{bank.url}/lists/blocked_cards")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(14, 20, 23)"
    page.get_by_label("Value").fill("c-of-tokyo")
    page.get_by_label("Expires").fill("2027-03-01")
    expect(page.get_by_text("At 00:00 on that day, Tokyo time")).to_be_visible()
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("row", name="c-of-tokyo")).to_contain_text("1 March 2027, 00:00")
    with bank.client() as client:
        entries = client.get("/api/v1/lists/blocked_cards").json()["entries"]
    assert [entry["expires_at"] for entry in entries if entry["value"] == "c-of-tokyo"] == ["2027-02-28T15:00:00Z"]
    set_to("", "")
    expect(page.locator("[data-zone]").last).to_have_text("times in Berlin")


def test_a_time_zone_that_the_browser_lacks_leaves_the_page_in_its_own(bank, page):
    def elsewhere(route: Route) -> None:
        body = route.fetch().text()
        route.fulfill(
            body=body.replace('<html lang="en"', '<html lang="en" data-time-zone="Mars/North"'),
            content_type="text/html",
        )

    page.route("**/me", elsewhere)
    page.goto(f"{bank.url}/me")
    expect(page.locator("[data-zone]").last).to_have_text("times in Berlin")


def test_a_draft_claims_no_difference_while_what_is_typed_is_not_saved(bank, page):
    def differs() -> str:
        return page.inner_text("#diff")

    page.goto(f"{bank.url}/rules/many_payments/draft")
    page.click("[data-view=text]")
    assert "Nothing is saved yet." in differs()
    page.click("[data-save]")
    page.wait_for_selector("[data-no-difference]")
    text = page.input_value("#text")
    page.fill("#text", text.replace(">= 4", ">= 3"))
    assert "No difference." not in differs()
    assert "Save the draft" in differs()

    page.fill("#text", text)
    assert "No difference." in differs()
    page.fill("#text", text.replace(">= 4", ">= amuont"))
    page.wait_for_selector("#mistakes .mistake")
    assert re.search(r"Line \d+, column \d+: \S", page.inner_text("#mistakes"))


def test_the_keys_of_a_page_are_told_and_can_be_switched_off(bank, page):
    page.set_viewport_size({"width": DESK[0], "height": DESK[1]})
    page.keyboard.press("?")
    expect(page.locator("#all-keys")).to_contain_text("Pause")
    page.locator("[data-single-keys]").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("p")
    expect(page.locator("[data-pause]")).to_have_attribute("aria-pressed", "false")
    page.evaluate("localStorage.clear()")


def test_the_first_load_of_a_screen_weighs_little(bank, context, page):
    most = Counter(row["card"] for row in DAYS_BEFORE).most_common(1)[0][0]
    paths = [
        *(tab.path for tab in tabs(PAGES)),
        *(MORE if IS_LONG else ()),
        f"/entities/card/{most}",
        "/decisions?limit=100",
    ]
    found = weigh(context.browser, [f"{bank.url}{path}" for path in paths], context.storage_state())
    whole = {path: weight.whole for path, weight in zip(paths, found, strict=True)}
    print(*(f"{size / 1_000:6.1f} kB  {path}" for path, size in sorted(whole.items())), sep="\n")

    assert {path: size for path, size in whole.items() if size > BYTES_MAX} == {}
    assert min(whole.values()) > 60_000, "fonts were not sent: something was kept from before"
