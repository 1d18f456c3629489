"""The pages of mails: the built-in mailbox, what left, previews and tests."""

from __future__ import annotations

import asyncio
import re
from itertools import product

import pytest

from shroff.cli.main import run as cli
from shroff.errors import TransientError
from shroff.notices.mailer import Unmailed
from shroff.people.store import AuditFilter, rows_of
from shroff.web.http.authentication import gate_of
from shroff.web.pages import mails
from shroff.web.table import PAGES, ROUTES
from tests.support.telling import Bank, notice, payment, token_of
from tests.support.webs import Asker, Browser, Steps, asker, let_in
from tests.web.test_confirm import EVIL, says

pytestmark = pytest.mark.slow

FROM = "/mails/kept/"
LINK = f"https://bank.example/confirm/{64 * 'x'}"


def run(bank: Bank, steps: Steps) -> None:
    """The pages of this bank, looked at by its admin."""

    async def whole() -> None:
        async with asker(bank.folder, gate=gate_of, now_ms=lambda: bank.clock_ms) as asks:
            browser = Browser(asks)
            await let_in(asks, browser)
            await steps(asks, browser)

    asyncio.run(whole())


def kept(bank: Bank) -> None:
    """What is to be told lies in the built-in mailbox, as where no server is set."""
    bank.services.open_mailer = bank.project.letters.open_mailer
    bank.tell()


def test_an_answer_that_came_as_a_label_is_shown_at_the_mail(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()
    kept(bank)

    async def steps(asks: Asker, browser: Browser) -> None:
        headers = {"x-csrf-token": await browser.csrf(), "content-type": "application/json", "accept": "*/*"}
        body = b'{"event": "payment/p-1", "verdict": "fraud", "source": "customer", "known_at": "2026-05-28T20:26:00Z"}'
        assert (await browser.send("POST", "/api/v1/labels", body, headers)).status == 200
        for _ in range(200):
            listed = says(await browser.get("/mails"))
            if "No answer yet 0 of 1 question " in listed:
                break
            await asyncio.sleep(0.05)
        assert "No answer yet 0 of 1 question " in listed

    run(bank, steps)


def test_the_mailbox_shows_the_mail_the_way_to_its_page_and_the_answer(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()
    kept(bank)

    async def steps(asks: Asker, browser: Browser) -> None:
        listed = await browser.get("/mails")
        assert "Was this you? 189.90 EUR on 28 May" in says(listed)
        assert "no answer yet" in says(listed)
        assert "No answer yet 1 of 1 question " in says(listed)
        (path,) = set(re.findall(rf'href="({FROM}[0-9a-f]+)"', listed.body.decode()))
        (file,) = bank.project.context.paths.mail.iterdir()
        assert f"It is in the file .shroff/mail/{file.name} of the project" in says(await browser.get(path))
        link = f"/confirm/{token_of(file)}"
        assert "Was this you?" in says(await browser.get(link))
        assert (await browser.post(link, {"answer": "no"})).status == 200
        for answered in ("/mails", path):
            assert "not me" in says(await browser.get(answered))
            assert "no answer yet" not in says(await browser.get(answered))
        assert (await browser.get("/mails/kept/none")).status == 404
        assert (await browser.get("/mails/kept/..%2F..%2Flog")).status == 404

    run(bank, steps)


PARTS = {"event": ["payment"], "entity": ["card"], "key": ["c-1"], "rule": ["large"]}


def test_a_link_that_answers_is_in_no_answer_of_the_service_or_a_command_but_that_which_hands_it_over(tmp_path, capsys):
    texts = {
        "customer.html.j2": '<a title=x href="{{ link }}">{{ link }}</a>',
        "customer.txt.j2": "Subject: hi\n\n{{ link }}\n",
    }
    bank = Bank(tmp_path, {f"notices/{name}": text for name, text in texts.items()})
    bank.pay()
    kept(bank)
    files = [*bank.project.context.paths.mail.iterdir()]
    tokens = [token_of(file) for file in files]
    names = ["customer", *(file.stem for file in files)]
    ids = ["p-1", "1", *(letter.id for letter in bank.letters())]
    routes = [route for route in (*ROUTES, *PAGES) if route.method == "GET" and route.right is not None]
    shown = dict[str, str]()

    async def steps(asks: Asker, browser: Browser) -> None:
        for route in routes:
            parts = re.findall(r"{(\w+)}", route.path)
            for values in product(*({"name": names, "id": ids, **PARTS}.get(part, ["1"]) for part in parts)):
                path = re.sub(r"{\w+}", "{}", route.path).format(*values)
                if not path.endswith("/stream"):
                    shown[path] = (await browser.get(path)).body.decode(errors="replace")
        shown["messages"] = "\n".join(asks.told)

    run(bank, steps)
    for command in COMMANDS.strip().splitlines():
        cli(["-C", str(bank.folder), *command.split()])
        shown[command] = "".join(capsys.readouterr())

    assert len(tokens) == 1
    assert [path for path, text in shown.items() if any(token in text for token in tokens)] == []
    assert sum("[the link, left out]" in text for text in shown.values()) == 3, "each mail, its HTML and its JSON"


COMMANDS = """
audit
decisions list
doctor
notices letters
notices list
notices preview customer
"""


def test_of_many_mails_the_newest_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(mails, "SHOWN", 2)
    bank = Bank(tmp_path)
    bank.pay(
        *[payment(f"p-{number}", card=f"c-{number}", email=f"ann{number}@customers.example") for number in range(3)]
    )
    kept(bank)

    async def steps(asks: Asker, browser: Browser) -> None:
        assert "No answer yet 2 of the newest 2 questions" in says(await browser.get("/mails"))

    run(bank, steps)


def test_the_html_of_a_mail_runs_and_loads_nothing_and_is_no_part_of_the_page(tmp_path):
    bank = Bank(tmp_path, {"notices/customer.html.j2": "<html><head></head><p>{{ show.merchant }}</p></html>"})
    bank.pay(payment(merchant=EVIL))
    kept(bank)

    async def steps(asks: Asker, browser: Browser) -> None:
        listed = (await browser.get("/mails")).body.decode()
        (path,) = set(re.findall(rf'href="({FROM}[0-9a-f]+)"', listed))
        page, frame = await browser.get(path), await browser.get(f"{path}/html")
        assert "frame-src 'self'" in page.headers["content-security-policy"]
        assert "unsafe" not in page.headers["content-security-policy"]
        policy = frame.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "sandbox allow-popups" in policy
        assert "script" not in policy
        for found in (page, frame):
            assert "<script>" not in found.body.decode()
            assert str(7001 * 7001) not in found.body.decode()
        assert re.search(r'<iframe [^>]*sandbox="allow-popups allow-popups-to-escape-sandbox"', page.body.decode())

    run(bank, steps)


def test_a_refused_letter_is_shown_with_its_reason_and_sent_again_by_a_button(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()
    quoted = (
        LINK.replace("/confirm/", "/confirm%252f"),
        LINK.replace("/confirm/", "%2Fconfirm%2F"),
        f"{LINK[:-40]}=\r\n{LINK[-40:]}",
        LINK,
    )
    bank.post.failing = [(Unmailed("ann@customers.example", f"550 no such mailbox {' '.join(quoted)}"),)]
    bank.tell()
    (letter,) = bank.letters()

    async def steps(asks: Asker, browser: Browser) -> None:
        shown = await browser.get("/mails/letters?state=refused")
        assert f"550 no such mailbox {' '.join(['[the link, left out]'] * 3)}" in says(shown)
        assert "1 message needs attention" in says(await browser.get("/mails/letters"))
        assert (await browser.get("/mails/letters?state=other")).status == 400
        again = f"/mails/letters/{letter.id}/retry"
        assert (await browser.post(again, {})).status == 403
        assert bank.letters()[0].state == "refused"
        assert (await browser.post(again, {"csrf": await browser.csrf()})).status == 303
        after = says(await browser.get("/mails/letters?state=refused"))
        assert ("550 no such mailbox" in after, "attention" in after) == (False, False)
        (act,) = rows_of(asks.service.desk.store, AuditFilter(action="notice.retry"))
        assert act.subject == f"letter {letter.id}"

    run(bank, steps)


def test_messages_that_need_attention_are_counted_and_a_deferred_one_says_when_it_is_tried_again(tmp_path):
    bank = Bank(tmp_path)
    bank.pay(*[payment(f"p-{number}", card=f"c-{number}", email=f"ann{number}@bank.example") for number in range(3)])
    gone = (Unmailed("ann@bank.example", "550 no such mailbox"),)
    bank.post.failing = [gone, gone, TransientError("451 try again later")]
    bank.tell()

    async def steps(asks: Asker, browser: Browser) -> None:
        all_ = says(await browser.get("/mails/letters"))
        assert "2 messages need attention" in all_
        waiting = says(await browser.get("/mails/letters?state=open"))
        for words in ("Deferred", "451 try again later", "Next attempt: "):
            assert (words in all_, words in waiting) == (True, True), words
        assert ("Open" in waiting, "1 message is waiting or deferred." in all_) == (False, True)
        await asyncio.to_thread(asks.service.health.look)
        health = says(await browser.get("/checks"))
        assert "messages of notices: 2 refused" in health
        assert re.search(r"Waiting to send\s*1\s*1 destination fails, 2 failed to send", health)
        assert re.search(r"notices\s*mails and webhook calls, 1 waiting, 2 failed to send", health)

    run(bank, steps)


def test_a_notice_is_looked_at_and_sent_as_a_test(tmp_path):
    figures = "figures: { payments: { event: payment } }\n"
    bank = Bank(tmp_path, notice(f"on: report\nto: [team@bank.example]\n{figures}", "daily"))
    bank.pay()

    async def steps(asks: Asker, browser: Browser) -> None:
        listed = await browser.get("/mails/notices")
        assert "asks the recipient one question" in says(listed)
        shown = await browser.get("/mails/notices/customer?event=payment%2Fp-1")
        assert "Was this you? 189.90 EUR" in says(shown)
        assert "Links in this preview do not work." in says(shown)
        assert (await browser.get("/mails/notices/customer/html?event=payment%2Fp-1")).status == 200
        assert "there is no event" in says(await browser.get("/mails/notices/customer?event=payment%2Fp-none")).lower()
        daily = says(await browser.get("/mails/notices/daily?day=2026-05-03"))
        assert "Event" not in daily
        assert "figures of 3 May" in daily
        assert b"Figures of 3 May" in (await browser.get("/mails/notices/daily/html?event=&day=2026-05-03")).body
        assert "is not a day" in says(await browser.get("/mails/notices/daily?day=may"))
        assert (await browser.get("/mails/notices/none")).status == 404
        form = {"csrf": await browser.csrf(), "to": "me@bank.example", "event": "payment/p-1"}
        assert "Sent to me@bank.example." in says(await browser.post("/mails/notices/customer/test", form))
        wrong = await browser.post("/mails/notices/customer/test", {**form, "to": "nobody"})
        assert "is not a mail address" in says(wrong)
        assert len(list(bank.project.context.paths.mail.glob("*.eml"))) == 1
        acts = [*rows_of(asks.service.desk.store, AuditFilter(action="notice.test"))]
        assert {(act.subject, act.after) for act in acts} == {("notice customer", '{"event":"payment/p-1"}')}

    run(bank, steps)


def test_pages_say_what_to_do_where_there_is_nothing_yet(tmp_path):
    bank = Bank(tmp_path, {"notices/customer.yaml": None})

    async def steps(asks: Asker, browser: Browser) -> None:
        for path, words in (
            ("/mails", "No mail yet"),
            ("/mails/letters", "No messages"),
            ("/mails/notices", "No notifications yet"),
        ):
            assert words in says(await browser.get(path))

    run(bank, steps)
