"""The page of reasons: what a customer sees of a decision, their appeal, and what an analyst's answer makes of it."""

from __future__ import annotations

import asyncio
import re
import shutil
from contextlib import closing
from html import unescape
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.errors import UsageError
from shroff.language.values import DAY_MS
from shroff.notices.customer_confirmation import reasons_in
from shroff.people.access import Role
from shroff.services import project as app
from shroff.services.check.operations import CheckProject
from shroff.services.notices.operations import LinkReasons
from shroff.services.people.erasure import ExportPerson
from shroff.web.http.authentication import gate_of
from tests.support.telling import FILES, Bank, notice, payment, text_of
from tests.support.webs import Answered, Asker, Browser, Steps, asker, known_keys, let_in
from tests.web.test_confirm import settled
from tests.web.test_two_people import second

pytestmark = pytest.mark.slow

WHY = """
on: answer
event: payment
to: { field: email }
lasts: 7d
show: { amount: this.amount, merchant: this.merchant }
reasons:
  large: { en: "The amount is unusual for this card.", de: "Der Betrag ist für diese Karte ungewöhnlich." }
"""


def linked(folder, why: str = WHY, **more) -> tuple[Bank, str]:
    """A bank that decided a payment; gives the path of its page of reasons."""
    bank = Bank(folder, {"notices/customer.yaml": None, **notice(why, "why")})
    bank.pay(payment(**more))
    return bank, link(bank)


def link(bank: Bank) -> str:
    return bank.project.run(LinkReasons(event="payment/p-1")).link.partition("example")[2]


def run(bank: Bank, steps: Steps, gate=known_keys) -> None:
    async def whole() -> None:
        async with asker(bank.folder, gate=gate, now_ms=lambda: bank.clock_ms) as asks:
            await steps(asks, Browser(asks))

    asyncio.run(whole())


def says(found: Answered) -> str:
    """The words of a page."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", found.body.decode().partition("<main")[2])).split())


async def case_of(asks: Asker, wanted: str) -> dict:
    """The case, once it is in a state."""
    for _ in range(30_000):
        found = (await asks.ask("GET", "/api/v1/cases?state=all")).json()["cases"]
        if found and found[0]["state"] == wanted and found[0]["customer"] == "unclear":
            return (await asks.ask("GET", f"/api/v1/cases/{found[0]['id']}")).json()
        await asyncio.sleep(0.02)
    raise AssertionError(found)


def test_the_page_says_the_reasons_in_the_customers_language_and_no_rule(tmp_path):
    bank, path = linked(tmp_path)

    async def steps(asks: Asker, browser: Browser) -> None:
        english, german = await browser.get(path), await browser.get(f"{path}?language=de")
        assert "The amount is unusual for this card." in says(english)
        assert "189.90\N{NO-BREAK SPACE}EUR" in english.body.decode()
        assert "Der Betrag ist für diese Karte ungewöhnlich." in says(german)
        for text in (english.body, german.body):
            assert b"large" not in text
            assert b"A payment of" not in text
        for bad in (b"answer=yes", b"answer=wrong&words=" + b"x" * 301, b"answer=wrong&answer=no", b"\xff", b""):
            assert (await browser.send("POST", path, bad, {})).status == 400
        forged = path[:-1] + ("A" if path[-1] != "A" else "B")
        assert (await browser.post(forged, {"answer": "wrong"})).status == 404
        bank.clock_ms += 7 * DAY_MS
        assert (await browser.post(path, {"answer": "wrong"})).status == 410
        with asks.service.project.log.reading() as log:
            assert not any(log.labels_after(0))

    run(bank, steps)


def test_an_analyst_tells_the_customer_from_the_page_of_the_decision(tmp_path):
    bank, _ = linked(tmp_path)
    path = "/decisions/payment/p-1"

    async def steps(asks: Asker, browser: Browser) -> None:
        await let_in(asks, browser)
        cem, eve = await second(asks, "cem", Role.ANALYST), await second(asks, "eve", Role.AUTHOR)
        for _ in range(30_000):
            if (await cem.get("/cases/1")).status == 200:
                break
            await asyncio.sleep(0.02)
        assert f'href="{path}#tell">Tell the customer</a>' in (await cem.get("/cases/1")).body.decode()
        assert f'action="{path}/tell#tell"' in (await cem.get(path)).body.decode()
        assert "Tell the customer" not in (await eve.get(path)).body.decode()
        assert (await eve.post(f"{path}/tell", {"csrf": await eve.csrf()})).status == 403
        told = await cem.post(f"{path}/tell", {"csrf": await cem.csrf()})
        (found,) = re.findall(r"<code>https?://[^/]+(/confirm/[^<]+)</code>", told.body.decode())
        assert "The amount is unusual for this card." in says(await browser.get(found))

    run(bank, steps, gate_of)


def test_a_rule_without_a_text_is_told_by_the_default_and_not_as_analysts_read_it(tmp_path):
    bank, path = linked(tmp_path, WHY.replace("large:", "default:"))

    async def steps(asks: Asker, browser: Browser) -> None:
        page = says(await browser.get(path))
        assert "The amount is unusual for this card." in page
        assert "A payment of" not in page

    run(bank, steps)


def test_reasons_of_a_model_have_texts_by_feature_or_field(tmp_path):
    bank = Bank(tmp_path, {"notices/customer.yaml": None, **notice(WHY.replace("large:", "payment.amount:"), "why")})
    found = bank.project.notices.services().notices["why"]
    told = SimpleNamespace(reasons=[("payment.amount", "12 times its mean"), ("payment.amount", "again")])

    assert reasons_in(found, told, "en") == ["The amount is unusual for this card."]
    bank.write(notice(WHY.replace("large:", "payment.amuont:"), "why"))
    checked = bank.project.run(CheckProject())  # a text of a rule that was taken away keeps nobody from working
    assert not checked.errors
    assert "reasons: 'payment.amuont' is no rule, feature or field." in [said.message for said in checked.warnings]


def test_an_approved_decision_is_explained_and_cannot_be_appealed(tmp_path):
    bank, path = linked(tmp_path, amount="5.00")

    async def steps(asks: Asker, browser: Browser) -> None:
        shown = await browser.get(path)
        assert "let this payment go ahead" in says(shown)
        assert b"<form" not in shown.body
        assert (await browser.post(path, {"answer": "wrong"})).status == 400
        assert (await asks.ask("GET", "/api/v1/cases?state=all")).json()["cases"] == []
        with asks.service.project.log.reading() as log:
            assert not any(log.labels_after(0))

    run(bank, steps)


def test_a_decision_has_five_links_at_once_and_none_without_an_address(tmp_path):
    bank, _ = linked(tmp_path)
    for _ in range(4):
        link(bank)
    with pytest.raises(UsageError, match="p-1 has 5 links that customers can open"):
        link(bank)
    bank.clock_ms += 7 * DAY_MS
    link(bank)
    bank.write({"shroff.yaml": FILES["shroff.yaml"].replace("url: https://answer.bank.example, ", "")})
    with pytest.raises(UsageError, match=r"write web: \{ url"):
        link(bank)


@pytest.mark.parametrize("text", ["More than 100 EUR.", "rule_of_two hit."])
def test_a_text_that_shows_how_to_pass_the_rules_is_refused(tmp_path, text):
    rule = "{ id: rule_of_two, on: payment, by: card, when: this.amount > 9, reason: two, effect: decline }"
    other = {"rules/two.yaml": f"- {rule}\n"}
    wrong = WHY.replace("The amount is unusual for this card.", text)
    bank = Bank(tmp_path, {"notices/customer.yaml": None, **other, **notice(wrong, "why")})
    found = bank.project.run(CheckProject())
    assert [error.path for error in found.errors] == ["reasons.large"], found
    bank.write(notice(WHY, "why"))
    said = [warning.message for warning in bank.project.run(CheckProject()).warnings]
    assert "rule rule_of_two has no text for customers in en and de, and there is no default." in said
    bank.write(notice(WHY.replace("reasons:", "reasons:\n  default: { en: It is unusual., de: Das ist neu. }"), "why"))
    assert not [said for said in bank.project.run(CheckProject()).warnings if "rule_of_two" in said.message]


@pytest.mark.parametrize(
    ("verdict", "end", "receipt"), [("genuine", "overturned", "It was wrong"), ("fraud", "upheld", "It stays")]
)
def test_an_appeal_is_a_case_and_its_answer_reaches_the_customer_once(tmp_path, verdict, end, receipt):
    bank, path = linked(tmp_path)
    other = link(bank)

    async def steps(asks: Asker, browser: Browser) -> None:
        body = urlencode({"answer": "wrong", "words": "<b>It was\nme"}).encode()
        first, second = [await browser.send("POST", path, body, {}) for _ in range(2)]
        assert (first.status, second.status) == (200, 409)
        assert "looking at it again" in says(first)
        assert (await browser.post(other, {"answer": "wrong"})).status == 200
        case = await case_of(asks, "open")
        words = {(question["verdict"], question["words"]) for question in case["questions"]}
        assert words == {("unclear", "<b>It was me"), ("unclear", None)}
        await asks.ask("POST", f"/api/v1/cases/{case['id']}/decide", {"verdict": verdict})
        bank.clock_ms += 10_000
        for _ in range(30_000):
            if any(verdict in body for _, body in await settled(asks)):
                break
            await asyncio.sleep(0.02)

    run(bank, steps)
    for _ in range(2):
        bank.tell()
    with closing(bank.project.notices.confirming()) as confirming:
        assert [confirming.page(each.rpartition("/")[2]).kind for each in (path, other)] == [end, end]
    texts = [*map(text_of, bank.post.read), *(mail.text for mail in bank.project.letters.mails(9))]
    assert [receipt in text for text in texts] == [True, True], "one for each appeal"
    assert [(letter.notice, letter.state) for letter in bank.letters()] == [("why", "sent")] * 2
    bank.project.run(ExportPerson(entity="card", key="c-1", out=tmp_path / "all.json"))
    assert "It was me" in (tmp_path / "all.json").read_text()
    bank.write({"events.yaml": FILES["events.yaml"].replace("text? personal", "text?")})
    bank.project.erasing.erase("card", "c-1")
    bank.project.run(ExportPerson(entity="card", key="c-1", out=tmp_path / "erased.json"))
    assert "It was me" not in (tmp_path / "erased.json").read_text()


_CODE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


@pytest.mark.parametrize("template", sorted(path.parent.name for path in TEMPLATE_FOLDER.glob("*/rules")))
def test_each_rule_of_a_template_has_a_text_for_customers_that_holds_no_threshold_and_no_id(template, tmp_path):
    """With its own scan, beside that of `shroff check`: no figure in digits or words, and no name of the project."""
    project = app.open_exactly(shutil.copytree(TEMPLATE_FOLDER / template, tmp_path / "bank"))
    definitions = project.definitions
    notices = [notice for notice in project.notices.services().notices.values() if notice.reasons]
    said = {
        (notice.event, code, language): text for notice in notices for (code, language), text in notice.reasons.items()
    }
    numbers = {"two", "three", "four", "five", "six", "ten", "hundred", "zwei", "drei", "vier", "fünf", "sechs", "zehn"}
    ids = {rule.id for rule in definitions.rules}

    for rule in definitions.rules:
        assert {(rule.on, rule.id, language) for language in ("en", "de")} <= said.keys(), rule.id
    for text in said.values():
        words = set(_CODE.findall(text))
        assert not re.search(r"[0-9%€$<>]", text), text
        assert not {word.lower() for word in words} & numbers, text
        assert not {word for word in words if "_" in word or "." in word.strip(".")} | (words & ids), text
