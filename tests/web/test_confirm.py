"""The customer's page over HTTP: what a link shows, what an answer does, and what nobody gets out of it."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import closing
from html import unescape

import pytest

from shroff.errors import TransientError
from shroff.events.event import time_text
from shroff.language.values import DAY_MS
from shroff.people.access import Role
from shroff.people.store import rows_of
from shroff.web.service import STRANGERS_RATE
from tests.support.telling import Bank, notice, payment, text_of, token_in
from tests.support.webs import Answered, Asker, Browser, Steps, asker

pytestmark = pytest.mark.slow

EVIL = '<script>alert("x")</script>{{ 7001 * 7001 }}'
ASKS = "to: { field: email }\nask: true\nshow: { amount: this.amount, merchant: this.merchant, card: this.card }\n"


def asked(bank: Bank, **more: object) -> str:
    """A customer is asked of a payment; gives the path of the page."""
    before = len(bank.post.mails)
    bank.pay(payment(**more))
    bank.tell()
    assert len(bank.post.mails) == before + 1, bank.letters()
    return f"/confirm/{token_in(bank.post.read[-1])}"


def run(bank: Bank, steps: Steps) -> None:
    async def whole() -> None:
        async with asker(bank.folder, now_ms=lambda: bank.clock_ms) as asks:
            await steps(asks, Browser(asks))

    asyncio.run(whole())


def says(found: Answered) -> str:
    """The words of a page."""
    body = re.sub(r"<[^>]+>", " ", found.body.decode().partition("<main")[2])
    return " ".join(unescape(body).split())


async def settled(asks: Asker) -> list[tuple[str, str]]:
    """The labels in the log, once all that was asked of it is done: event and verdict."""
    for _ in range(12_000):
        with asks.service.project.log.reading() as log:
            if not log.inbox.pending(limit=100):
                rows = [item for part in log.labels_after(0) for item in part]
                return [(row.id.partition("#")[0], row.body.decode()) for row in rows]
        await asyncio.sleep(0.05)
    raise AssertionError("the log did not take it")


def test_looking_changes_nothing_however_often_and_whoever_looks(tmp_path):
    bank = Bank(tmp_path)
    path = asked(bank)

    async def steps(asks: Asker, browser: Browser) -> None:
        for method in ("GET", "HEAD", "GET"):
            found = await browser.send(method, path, b"", {"user-agent": "a scanner of mails"})
            assert found.status == 200
        assert "Was this you?" in says(found)
        assert "189.90\N{NO-BREAK SPACE}EUR" in found.body.decode()
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
            assert (await browser.send(method, path, b"answer=no", {})).status == 405
        with asks.service.project.notice_files.told() as store, store.look() as look:
            (question,) = look.questions_about(["payment/p-1"])
        assert question.answer == ""

    run(bank, steps)


def test_what_is_wrong_with_the_project_is_no_news_for_customers(tmp_path):
    bank = Bank(tmp_path)
    path = asked(bank)

    async def steps(asks: Asker, browser: Browser) -> None:
        (bank.folder / "rules" / "wrong.yaml").write_text("- id: wrong\n  when: this.nothing\n", encoding="utf-8")
        asks.service.project.context.reload()
        for found in (await browser.get(path), await browser.post(path, {"answer": "no"})):
            assert found.status == 503
            assert b"wrong" not in found.body
            assert b"nothing" not in found.body
        assert any("customers cannot answer" in ask and "rules/wrong.yaml" in ask for ask in asks.told)
        (bank.folder / "rules" / "wrong.yaml").unlink()
        asks.service.project.context.reload()
        assert (await browser.get(path)).status == 200

    run(bank, steps)


@pytest.mark.parametrize(
    ("said", "verdict", "words"),
    [("yes", "genuine", "Thank you. Nothing else is needed."), ("no", "fraud", "We are investigating.")],
)
def test_an_answer_is_a_label_and_in_the_record(tmp_path, said, verdict, words):
    bank = Bank(tmp_path)
    path = asked(bank)

    async def steps(asks: Asker, browser: Browser) -> None:
        found = await browser.post(path, {"answer": said})
        assert found.status == 200
        assert words in says(found)
        ((event, body),) = await settled(asks)
        assert event == "payment/p-1"
        assert f'"verdict":"{verdict}"' in body
        assert '"source":"customer"' in body
        with closing(asks.service.project.outside.open_people()) as people:
            rows = list(rows_of(people))
        (row,) = [item for item in rows if item.action == "confirmation.answer"]
        assert (row.subject, row.name) == ("payment/p-1", "a customer")
        assert path.rpartition("/")[2] not in repr(rows)
        shown = (await asks.ask("GET", "/api/v1/decisions/payment/p-1/questions")).json()["questions"]
        assert [item["answer"] for item in shown] == [said]

    run(bank, steps)


def test_a_second_answer_changes_nothing_and_says_so(tmp_path):
    bank = Bank(tmp_path)
    path = asked(bank)

    async def steps(asks: Asker, browser: Browser) -> None:
        assert (await browser.post(path, {"answer": "no"})).status == 200
        for said in ("yes", "no"):
            again = await browser.post(path, {"answer": said})
            assert again.status == 409
            assert "You have already answered. You said no on 28 May, 20:26." in says(again)
        assert "You have already answered" in says(await browser.get(path))
        assert len(await settled(asks)) == 1

    run(bank, steps)


def test_a_link_that_has_ended_says_so_and_answers_nothing(tmp_path):
    bank = Bank(tmp_path)
    path = asked(bank)
    bank.clock_ms += DAY_MS

    async def steps(asks: Asker, browser: Browser) -> None:
        answers = [await browser.post(path, {"answer": said}) for said in ("no", "yes", "no")]
        for found in (await browser.get(path), *answers):
            assert found.status == 410
            assert "This link has expired. It was valid until 29 May, 20:26." in says(found)
            assert "189.90" not in says(found)
        assert await settled(asks) == []
        with closing(asks.service.project.outside.open_people()) as people:
            late = [
                (person.subject, person.after) for person in rows_of(people) if person.action == "confirmation.late"
            ]
        assert late == [("payment/p-1", '{"answer":"no"}')]
        (shown,) = (await asks.ask("GET", "/api/v1/decisions/payment/p-1/questions")).json()["questions"]
        assert (shown["answer"], shown["answered"]) == (None, None)

    run(bank, steps)


def test_a_forged_link_shows_nothing_of_anything(tmp_path):
    bank = Bank(tmp_path)
    path = asked(bank)
    flipped = path[:-1] + ("A" if path[-1] != "A" else "B")

    async def steps(asks: Asker, browser: Browser) -> None:
        for forged in (flipped, "/confirm/x", "/confirm/" + 64 * "A", "/confirm/%2e%2e%2fetc", f"{path}x", "/confirm/"):
            for found in (await browser.get(forged), await browser.post(forged, {"answer": "no"})):
                assert found.status == 404
                assert "This link is not from us." in says(found)
        german = await browser.get(flipped, **{"accept-language": "de-DE,de;q=0.9"})
        assert "Dieser Link stammt nicht von uns." in says(german)
        assert await settled(asks) == []

    run(bank, steps)


@pytest.mark.parametrize("body", [b"", b"answer=maybe", b"answer=", b"\xff\xfe", b'{"answer":"no"}', b"&" * 900])
def test_what_is_no_answer_asks_again(tmp_path, body):
    bank = Bank(tmp_path)
    path = asked(bank)

    async def steps(asks: Asker, browser: Browser) -> None:
        found = await browser.send("POST", path, body, {"content-type": "application/x-www-form-urlencoded"})
        assert found.status == 400
        assert "Was this you?" in says(found)
        assert (await browser.send("POST", path, b"answer=no" + b"&x" * 2_100, {})).status == 413
        assert await settled(asks) == []

    run(bank, steps)


def test_the_page_needs_nobody_signed_in_and_gives_no_cookie_and_no_rights(tmp_path):
    bank = Bank(tmp_path)
    path = asked(bank)

    async def steps(asks: Asker, browser: Browser) -> None:
        found = await browser.get(path)
        assert "set-cookie" not in found.headers
        policy = found.headers["content-security-policy"]
        assert {"default-src 'none'", "form-action 'self'", "frame-ancestors 'none'"} <= {*policy.split("; ")}
        assert "script" not in policy
        assert "unsafe" not in policy
        assert found.headers["cache-control"] == "no-store"
        assert found.headers["referrer-policy"] == "no-referrer"
        assert "noindex" in found.headers["x-robots-tag"]
        body = found.body.decode()
        assert not re.search(r"<script|<style|\sstyle=|\son[a-z]+=", body)
        assert not re.search(r"""(src|href|action)="?(https?:)?//""", body)
        assert (await browser.get(re.findall(r'href="(/static[^"]+)"', body)[0])).status == 200

    run(bank, steps)


def test_nothing_that_an_event_says_becomes_a_part_of_the_page(tmp_path):
    bank = Bank(tmp_path, notice(ASKS))
    path = asked(bank, merchant=EVIL, card="4000123412344417")

    async def steps(asks: Asker, browser: Browser) -> None:
        for query in ("", "?language=de", "?language=%22%3E%3Cscript%3E"):
            body = (await browser.get(path + query)).body.decode()
            assert "<script>" not in body
            assert str(7001 * 7001) not in body
            assert "&lt;script&gt;" in body
            assert "4000123412344417" not in body

    run(bank, steps)


def test_a_customer_may_choose_the_other_language(tmp_path):
    bank = Bank(tmp_path)
    path = asked(bank)

    async def steps(asks: Asker, browser: Browser) -> None:
        found = await browser.get(f"{path}?language=de")
        assert '<html lang="de">' in found.body.decode()
        assert "Waren Sie das?" in says(found)
        done = await browser.post(f"{path}?language=de", {"answer": "yes"})
        assert "Danke. Das war alles." in says(done)

    run(bank, steps)


@pytest.mark.parametrize(
    ("amount", "more", "said", "is_released"),
    [
        ("249.99", {}, "yes", True),
        ("250.00", {}, "yes", False),  # the amount of the policy itself is not below it
        ("249.99", {}, "no", False),
        ("249.99", {"policy.yaml": None}, "yes", False),
        ("249.99", {"policy.yaml": "payment: { without_model: rules }\n"}, "yes", False),
    ],
)
def test_a_yes_lets_go_only_below_the_amount_of_the_policy(tmp_path, amount, more, said, is_released):
    bank = Bank(tmp_path, more)
    path = asked(bank, amount=amount)

    async def steps(asks: Asker, browser: Browser) -> None:
        done = await browser.post(path, {"answer": said})
        assert ("The payment goes ahead." in says(done)) is is_released
        with asks.service.project.notice_files.told() as store, store.look() as look:
            (question,) = look.questions_about(["payment/p-1"])
        assert question.is_released is is_released

    run(bank, steps)


def test_a_yes_never_lets_go_what_was_declined(tmp_path):
    declining = Bank(tmp_path).folder / "rules" / "large.yaml"
    bank = Bank(tmp_path, {"rules/large.yaml": declining.read_text().replace("effect: review", "effect: decline")})
    path = asked(bank)

    async def steps(asks: Asker, browser: Browser) -> None:
        assert "The payment goes ahead." not in says(await browser.post(path, {"answer": "yes"}))

    run(bank, steps)


def test_after_a_no_the_next_payment_of_the_card_is_held_and_other_cards_are_not(tmp_path):
    bank = Bank(tmp_path)
    path = asked(bank)

    async def steps(asks: Asker, browser: Browser) -> None:
        await browser.post(path, {"answer": "no"})
        await settled(asks)
        later = {"at": bank.clock_ms + 1_000, "amount": "5.00"}
        for card, outcome in (("c-1", "decline"), ("c-2", "approve")):
            sent = payment(f"p-{card}", card=card) | later
            found = await asks.ask("POST", "/api/v1/events/payment", sent)
            assert found.json()["outcome"] == outcome, found.body

    run(bank, steps)


def test_a_no_becomes_the_document_that_a_consumer_of_the_lake_expects(tmp_path):
    document = """
on: answer
answers: [no]
channel: lake
folder: fraud_confirmation
file: "{id}_fraud_confirmation"
document: { transaction_id: this.id, confirm: "'no'", isTrueFraud: "1", refund: this.amount }
"""
    bank = Bank(tmp_path, notice(document, "refund"))
    path = asked(bank)

    async def steps(asks: Asker, browser: Browser) -> None:
        await browser.post(path, {"answer": "no"})
        await settled(asks)

    run(bank, steps)
    bank.tell(steps=6)
    (file,) = (tmp_path / "lake" / "fraud_confirmation").glob("*.json")

    assert file.name == "p-1_fraud_confirmation.json"
    wanted = '{"transaction_id":"p-1","confirm":"no","isTrueFraud":1,"refund":"189.90"}\n'
    assert file.read_text() == wanted


@pytest.mark.parametrize(
    ("label", "is_refunded"),
    [
        (None, True),
        ({"verdict": "fraud", "source": "analyst"}, True),
        ({"verdict": "genuine", "source": "analyst"}, False),
        ({"verdict": "fraud", "source": "chargeback"}, False),
        ({"verdict": "genuine", "source": "import"}, True),
    ],
)
def test_a_refund_is_ordered_by_the_verdict_in_force_and_once(tmp_path, label, is_refunded):
    document = """
on: answer
answers: [no]
verdicts: [fraud]
sources: [analyst, customer]
channel: lake
folder: fraud_confirmation
document: { refund: "1" }
"""
    bank = Bank(tmp_path, notice(document, "refund"))
    path = asked(bank)

    async def steps(asks: Asker, browser: Browser) -> None:
        if label is not None:
            known_at = time_text(bank.clock_ms)
            found = await asks.ask("POST", "/api/v1/labels", {"event": "payment/p-1", "known_at": known_at, **label})
            assert found.status == 200, found.body
        await browser.post(path, {"answer": "no"})
        await settled(asks)

    run(bank, steps)
    bank.tell(steps=6)

    assert len(list((tmp_path / "lake").glob("fraud_confirmation/*.json"))) == is_refunded


@pytest.mark.parametrize("is_paid", [False, True])
def test_money_that_has_moved_is_never_said_to_be_stopped(tmp_path, is_paid):
    bank = Bank(tmp_path, notice(f"{ASKS}already_paid: {str(is_paid).lower()}\n", "customer"))
    path = asked(bank)
    mail = text_of(bank.post.read[-1])

    async def steps(asks: Asker, browser: Browser) -> None:
        for shown in (says(await browser.get(path)), " ".join(mail.split())):
            assert ("No money has left your account" in shown) == (not is_paid)
            assert ("does not look like your usual ones" in shown) == is_paid

    run(bank, steps)


def test_too_many_looks_from_one_place_are_turned_away(tmp_path):
    bank = Bank(tmp_path)
    path = asked(bank)

    async def steps(asks: Asker, browser: Browser) -> None:
        found = [(await browser.get("/confirm/x")).status for _ in range(int(4 * STRANGERS_RATE))]
        assert set(found) <= {404, 429}
        now_s = time.monotonic()
        asks.service.strangers._clock_s = lambda: now_s
        for _ in range(int(2 * STRANGERS_RATE) + 1):
            last = await browser.get(path)
        assert last.status == 429
        assert "Please try again in a minute." in says(last)
        assert last.headers["retry-after"] == "60"
        assert (await browser.post(path, {"answer": "no"})).status == 429
        asks.service.strangers._clock_s = lambda: now_s + 60.0
        assert (await browser.post(path, {"answer": "no"})).status == 200

    run(bank, steps)


def test_while_the_store_is_away_a_customer_is_asked_to_try_again(tmp_path, monkeypatch):
    bank = Bank(tmp_path)
    path = asked(bank)

    async def steps(asks: Asker, browser: Browser) -> None:
        def away(*_: object) -> None:
            raise TransientError("the store is away")

        with monkeypatch.context() as patched:
            patched.setattr(asks.service.confirming, "page", away)
            patched.setattr(asks.service.confirming, "answer", away)
            for found in (await browser.get(path), await browser.post(path, {"answer": "no"})):
                assert found.status == 503
                assert "Please try again in a minute." in says(found)
        assert (await browser.post(path, {"answer": "no"})).status == 200

    run(bank, steps)


# ---- notices over the API


def test_who_may_look_at_notices_and_mails_over_the_api(tmp_path):
    bank = Bank(tmp_path)
    path = asked(bank)

    async def steps(asks: Asker, browser: Browser) -> None:
        notices = (await asks.ask("GET", "/api/v1/notices")).json()["notices"]
        assert [(item["name"], item["to"], item["asks"]) for item in notices] == [("customer", "the event", True)]
        shown = (await asks.ask("GET", "/api/v1/notices/customer/preview?event=payment/p-1")).json()
        assert "189.90" in shown["text"]
        assert path.rpartition("/")[2] not in repr(shown)
        letters = (await asks.ask("GET", "/api/v1/outbox")).json()
        assert [(letter["state"], letter["to"]) for letter in letters["letters"]] == [("sent", "a…@customers.example")]
        assert (await asks.ask("GET", "/api/v1/outbox?state=nothing")).status == 400
        sent = await asks.ask("POST", "/api/v1/notices/customer/test", {"to": "me@bank.example"})
        assert sent.json() == {"sent": True, "refused": []}
        assert (await asks.ask("POST", "/api/v1/outbox/l-none/retry")).status in {400, 404, 409, 422}
        told = [row.action for row in rows_of(asks.service.desk.store) if row.action.startswith("notice.")]
        assert told == ["notice.test", "notice.retry"]
        kept = (await asks.ask("GET", "/api/v1/mailbox")).json()["mails"]
        assert [item["to"] for item in kept] == ["me@bank.example"]
        whole = (await asks.ask("GET", f"/api/v1/mailbox/{kept[0]['name']}")).json()
        assert "Was this you?" in whole["text"]
        assert (await asks.ask("GET", "/api/v1/mailbox/..%2F..%2Fhash")).status == 404
        assert (await asks.ask("GET", "/api/v1/notices/none/preview")).status == 404
        assert (await asks.ask("POST", "/api/v1/notices/customer/test", {"to": "x", "y": 1})).status == 422
        for role in (Role.VIEWER, Role.SERVICE):
            assert (await asks.ask("GET", "/api/v1/mailbox", key=role.value)).status == 403

    run(bank, steps)
