"""Ten files dropped into the browser by people who know neither YAML nor the language, up to the first decision."""

from __future__ import annotations

import base64
import re
import signal
import subprocess
import time
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.public_files import other_kinds, payment_kinds
from tests.public_files.judging import Judged, kept
from tests.public_files.making import Kind, made
from tests.support.browsers import Looker, chromium
from tests.support.effort import IS_LONG, long_after
from tests.support.served import SHROFF

pytestmark = pytest.mark.slow
PASSWORD = "correct horse battery"
WITHIN_S: Final = 120.0
DROP = """([name, text]) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], name));
    const options = { dataTransfer, bubbles: true, cancelable: true };
    document.querySelector(".drop").dispatchEvent(new DragEvent("drop", options));
}"""


class Dropped(NamedTuple):
    """A file, the buttons that a person who knows its data presses, and what they write beside a question.

    `told` are changes of values that the page tells beside their column.
    """

    kind: Kind
    presses: tuple[str, ...] = ()
    writes: tuple[tuple[str, str], ...] = ()
    told: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return self.kind.name


BEGINS = "On which day does the file begin?"
CURRENCY = "In which currency are the amounts?"
ROUNDED = "intended_balcon_amount: rounded to 2 places"
FILES: Final = [
    Dropped(payment_kinds.SPARKASSE),  # a semicolon, decimal commas, newest line first
    Dropped(payment_kinds.STRIPE_CHARGES, ("Ignore disputed", "Ignore refunded", "Ignore amount_refunded")),
    Dropped(other_kinds.PAYSIM, ("Ignore isFlaggedFraud",), ((BEGINS, "2026-01-05"), (CURRENCY, "USD"))),
    Dropped(payment_kinds.RAZORPAY_WEBHOOKS, ("Ignore payload.payment.entity.amount_refunded",)),
    Dropped(other_kinds.CAMT_XML),
    Dropped(payment_kinds.WISE),
    Dropped(other_kinds.OKTA),
    Dropped(other_kinds.ISO8583),
    Dropped(other_kinds.UK_CARDS),
    Dropped(other_kinds.BAF, ("Ignore device_fraud_count",), ((BEGINS, "2026-01-05"), (CURRENCY, "GBP")), (ROUNDED,)),
]


@pytest.mark.parametrize("dropped", long_after(1, FILES), ids=repr)
def test_somebody_comes_from_a_dropped_file_to_the_first_reasoned_decision(tmp_path, dropped):
    folder = tmp_path / "bank"
    folder.mkdir()
    source = made(dropped.kind)
    process = subprocess.Popen([SHROFF, "serve", "--port", "0"], cwd=folder, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        found = re.search(r"http://\S+/first/\S+", process.stderr.readline() + process.stderr.readline())
        assert found is not None
        with chromium() as browser:
            page = browser.new_page()
            parts = urlsplit(found[0])
            looker = Looker(page, f"{parts.scheme}://{parts.netloc}")
            looker.open(parts.path)
            begun_s = time.monotonic()
            text = base64.b64encode(source.content()).decode()
            page.evaluate(DROP, [dropped.kind.file_name, text])
            expect(page.get_by_role("heading", name=dropped.kind.file_name)).to_be_visible()
            _answer(page, dropped)
            for column, _, change in (words.partition(": ") for words in dropped.told):
                row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=column, exact=True))
                expect(row).to_contain_text(change)
            page.get_by_role("button", name="Create project").click()
            page.get_by_role("link", name="Create your account").click()
            page.fill("#name", "ann")
            page.fill("#password", PASSWORD)
            page.fill("#again", PASSWORD)
            page.get_by_role("button", name="Create an admin").click()
            _first_decision(page)
            seconds = time.monotonic() - begun_s
        assert looker.mistakes == []
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate()

    assert "Fatal" not in said
    rows = len(source.rows)
    ingested = {"appended": rows, "labels": {}}
    judged = Judged(source, kept(folder, {"guesses": dropped.told, "questions": ()}, ingested))
    assert len(judged.outcome.events) == rows
    assert [finding for finding in judged.findings if finding.check == "value"] == []
    assert not IS_LONG or seconds < WITHIN_S


def _answer(page: Page, dropped: Dropped) -> None:
    status = page.get_by_role("status")
    for button in dropped.presses:
        page.get_by_role("button", name=button, exact=True).click()
        expect(status).to_contain_text("Before this change:")
        expect(page.get_by_role("button", name=button, exact=True)).to_have_count(0)
    for question, text in dropped.writes:
        form = page.locator("form", has_text=question)
        form.get_by_role("textbox").fill(text)
        form.get_by_role("button", name="Take it").click()
        expect(page.locator("form", has_text=question)).to_have_count(0)


def _first_decision(page: Page) -> None:
    """Open the most urgent case of the queue or, if there is none yet, a decision of the list, and see a reason."""
    expect(page.get_by_role("heading", name="Queue", exact=True)).to_be_visible()
    case = page.get_by_role("link", name="Open the whole case")
    if case.count():
        case.click()
        expect(page.locator("main")).to_contain_text("is more than 5 times the mean")
        return
    page.get_by_role("link", name="All decisions").click()
    page.locator("main table tbody a").first.click()
    expect(page.get_by_label("What was decided")).to_be_visible()
    expect(page.locator("main")).to_contain_text(re.compile("No rule|is more than 5 times the mean"))
