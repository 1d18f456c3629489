"""Pages: who gets in and how, what they show, and that nothing of the data can become a part of them."""

from __future__ import annotations

import asyncio
import re
import shutil
from base64 import b64encode
from csv import reader
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlencode

import msgspec
import pytest
from markupsafe import escape

from shroff.config import TEMPLATE_FOLDER
from shroff.notices.usual_counts import amount_band
from shroff.people import keys, links, users
from shroff.people.access import Right, Role
from shroff.people.store import AuditFilter
from shroff.runtime.texts import percent
from shroff.web.http.authentication import gate_of
from shroff.web.http.static import static, static_files
from shroff.web.pages import decisions, entity
from shroff.web.pages.renderer import environment
from shroff.web.pages.words import FILTERS, lasting, moment, money, share, signed
from shroff.web.table import PAGES
from shroff.web.work.reasons import FirstReasons
from tests.docs.pages import ROOT
from tests.laws.test_currencies import FILES
from tests.support.projects import write_files
from tests.support.webs import PASSWORD, Asker, Browser, Steps, asker, first_link, let_in

pytestmark = pytest.mark.slow

TEMPLATE = TEMPLATE_FOLDER / "payments"
EVIL = '<script>alert("x")</script>{{ 7001 * 7001 }}'
PAYMENT = {
    "payment_id": "p/1 <b>",
    "paid_at": "2026-01-05T08:30:00Z",
    "card": "c-1",
    "merchant": EVIL,
    "terminal": "t-1",
    "amount": "1234.50",
    "country": "DE",
    "channel": "pos",
}
RULE = """
- id: any_payment
  on: payment
  by: card
  when: this.amount > 0
  reason: "{this.amount} paid at {this.merchant}"
  effect: review
"""

LOGIN = "login: { id: id, time: at, fields: { id: text, at: time, card: text } }\n"
CARD = "card: { payment: card, login: card }"


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    shutil.copytree(TEMPLATE, tmp_path / "bank")
    (tmp_path / "bank" / "rules" / "any.yaml").write_text(RULE, encoding="utf-8")
    return tmp_path / "bank"


def run(folder: Path, steps: Steps) -> None:
    async def whole() -> None:
        async with asker(folder, gate=gate_of) as asks:
            await steps(asks, Browser(asks))

    asyncio.run(whole())


# ---- getting in


def test_a_page_sends_who_is_not_signed_in_to_sign_in_and_back(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await let_in(asks, browser)
        browser.cookies.clear()
        for route in PAGES:
            if route.right is None:
                continue
            path = re.sub("[{}]", "", route.path)
            assert (await asks.ask(route.method, path, key="no-such-key")).status == 401
            asked = await (browser.get(path) if route.method == "GET" else browser.post(path, {}))
            assert (asked.status, asked.headers["location"].partition("?")[0]) == (303, "/login")
        asked = await browser.get("/decisions?outcome=review")
        assert asked.headers["location"] == "/login?back=%2Fdecisions%3Foutcome%3Dreview"
        form = {"name": "ann", "password": PASSWORD, "back": "/decisions?outcome=review"}
        assert (await browser.post("/login", form)).headers["location"] == "/decisions?outcome=review"
        assert (await browser.get("/decisions?outcome=review")).status == 200

    run(bank, steps)


def test_a_form_without_a_session_leads_to_the_sign_in_and_back_to_its_page(bank):
    pages = {"http://shroff.test/rules/x/draft?view=text": "/login?back=%2Frules%2Fx%2Fdraft%3Fview%3Dtext"}
    others = ("https://evil.example/rules", "http://shroff.test//evil.example", "", "http://[")

    async def steps(asks: Asker, browser: Browser) -> None:
        await let_in(asks, browser)
        signed_in = (await browser.get("/login/session")).json()
        assert signed_in["user"] == "ann"
        assert signed_in["csrf"] == await browser.csrf()
        browser.cookies.clear()
        assert (await browser.get("/login/session")).json() == {"user": "", "csrf": ""}
        for page, there in (pages | dict.fromkeys(others, "/login")).items():
            found = await browser.post("/rules/x/draft", {}, referer=page)
            assert (found.status, found.headers["location"]) == (303, there)

    run(bank, steps)


def test_the_cookbook_says_which_recipes_fit_the_project(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await let_in(asks, browser)
        page = (await browser.get("/rules/cookbook/recipes")).body.decode()
        heads = re.findall(r'<section class="panel wide-12" id="(\w+)">.*?<span>(.*?)</span></header>', page)
        assert dict(heads)["account_takeover"].startswith("needs the event transfer and the entity account")
        assert dict(heads)["card_testing"].startswith("needs the entity merchant_bin")
        fit = ["fits the events" in says for _, says in heads[:-1]]
        assert fit == sorted(fit, reverse=True)

    run(bank, steps)


@pytest.mark.parametrize("back", ["//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nx: y", ""])
def test_signing_in_leads_to_no_other_host(bank, back):
    async def steps(asks: Asker, browser: Browser) -> None:
        await let_in(asks, browser)
        found = await browser.post("/login", {"name": "ann", "password": PASSWORD, "back": back})
        assert found.headers["location"] == "/"

    run(bank, steps)


def test_a_decision_shows_what_was_sent_beside_what_it_came_to_and_says_where_no_rate_was_valid(tmp_path):
    async def steps(asks: Asker, browser: Browser) -> None:
        await let_in(asks, browser)
        csrf = {"x-csrf-token": await browser.csrf(), "content-type": "application/json", "accept": "*/*"}
        for id_, currency in (("1", "USD"), ("2", "CHF")):
            sent = {"id": id_, "at": "2026-03-02T10:00:00Z", "card": "c", "currency": currency, "amount": "200"}
            await browser.send("POST", "/api/v1/events/payment", msgspec.json.encode(sent), csrf)
        rated, unrated = [(await browser.get(f"/decisions/payment/{id_}")).body.decode() for id_ in ("1", "2")]
        assert "180.00 EUR (200.00 USD)" in rated
        assert '<dt title="amount.original">Amount as sent</dt><dd>200</dd>' in rated
        assert '<dt title="amount.rate">Amount rate</dt><dd>0.9</dd>' in rated
        assert "No rate for" not in rated
        assert "No rate for CHF is valid at the time of this event." in unrated

    write_files(tmp_path, FILES | {"tables/fx.csv": "currency,valid_from,rate\nUSD,2026-03-01,0.9\n"})
    run(tmp_path, steps)


def test_wrong_names_and_passwords_look_alike_and_pause(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await let_in(asks, browser)
        browser.cookies.clear()
        wrong = await browser.post("/login", {"name": "ann", "password": "something else"})
        nobody = await browser.post("/login", {"name": "eve", "password": "something else"})
        assert wrong.status == nobody.status == 403
        assert wrong.body == nobody.body.replace(b'value="eve"', b'value="ann"')
        for _ in range(6):
            paused = await browser.post("/login", {"name": "ann", "password": "something else"})
        assert paused.status == 429
        assert b"Too many attempts to sign in" in paused.body
        assert (await browser.post("/login", {"name": "ann", "password": PASSWORD})).status == 429

    run(bank, steps)


def test_a_link_works_once_and_only_when_its_form_is_sent(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        link = await first_link(asks)
        assert b"Create an admin account" in (await browser.get(link)).body
        form = {"name": "ann", "password": PASSWORD, "again": PASSWORD}
        differ = await browser.post(link, {**form, "again": "other"})
        assert differ.status == 422
        assert b"The two passwords differ." in differ.body
        assert PASSWORD.encode() not in differ.body
        assert (await browser.post(link, form)).status == 303
        for again in (await browser.get(link), await browser.post(link, form), await browser.get("/login/link/x")):
            assert again.status == 404
            assert b"This link does not work" in again.body

    run(bank, steps)


def test_a_link_signs_in_once_by_one_button_and_leads_to_the_queue(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await let_in(asks, browser)
        browser.cookies.clear()
        link = await asyncio.to_thread(links.for_signing_in, asks.service.desk, asks.service.project.context.who, "ann")
        for _ in range(2):  # opening it changes nothing
            assert b"signed in as Ann Lee" in (await browser.get(link)).body
        assert (await browser.post(link, {}, origin="https://evil.example")).status == 403
        assert not browser.cookies
        found = await browser.post(link, {})
        assert (found.status, found.headers["location"]) == (303, "/queue")
        assert (await browser.get("/queue")).status == 200
        again = await browser.get(link)
        assert (again.status, again.headers["location"]) == (303, "/queue")  # who is in goes on
        assert (await browser.post(link, {})).status == 404
        browser.cookies.clear()
        for gone in (link, f"{links.ONCE}x"):
            assert b"This link does not work" in (await browser.get(gone)).body

    run(bank, steps)


def test_what_another_site_sends_is_refused(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await let_in(asks, browser)
        form = {"name": "ann", "password": PASSWORD}
        assert (await browser.post("/login", form, origin="https://evil.example")).status == 403
        assert (await browser.post("/login", form, **{"sec-fetch-site": "cross-site"})).status == 403
        assert (await browser.post("/login", form, origin="null")).status == 403
        told = {"origin": "null", "sec-fetch-site": "same-origin"}  # as from a page that tells no referrer
        assert (await browser.post("/login", form, **told)).status == 303
        assert (await browser.post("/login/out", {})).status == 403
        assert (await browser.get("/me")).status == 200

    run(bank, steps)


def test_a_session_is_a_new_one_at_each_sign_in_and_ends_with_sign_out(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        browser.cookies["shroff_session"] = "planted"
        await let_in(asks, browser)
        first = browser.cookies["shroff_session"]
        assert first != "planted"
        found = await browser.post("/login", {"name": "ann", "password": PASSWORD})
        assert "HttpOnly; SameSite=Lax" in found.headers["set-cookie"]
        assert "Secure" not in found.headers["set-cookie"]
        again = await browser.post("/login", {"name": "ann", "password": PASSWORD}, **{"x-forwarded-proto": "https"})
        assert "Secure" not in again.headers["set-cookie"], "no proxy is named, so anybody may have written that"
        last = browser.cookies["shroff_session"]
        assert (await browser.post("/login/out", {"csrf": await browser.csrf()})).headers["location"] == "/login"
        for token in (first, last):
            browser.cookies["shroff_session"] = token
            assert (await browser.get("/me")).status == 303

    run(bank, steps)


def test_one_changes_ones_own_password_and_stays_signed_in_here_alone(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await let_in(asks, browser)
        other = Browser(asks)
        await other.post("/login", {"name": "ann", "password": PASSWORD})
        new = "another horse, another battery"
        csrf = await browser.csrf()
        for form, status, words in (
            ({"password": PASSWORD, "new": new, "again": "x"}, 422, b"The two new passwords differ."),
            ({"password": "wrong", "new": new, "again": new}, 422, b"That is not your password."),
            ({"password": PASSWORD, "new": "short", "again": "short"}, 422, b'role="alert"'),
        ):
            found = await browser.post("/me", {"csrf": csrf, **form})
            assert (found.status, words in found.body) == (status, True), form
            assert new.encode() not in found.body
        assert (await browser.post("/me", {"password": PASSWORD, "new": new, "again": new})).status == 403
        done = await browser.post("/me", {"csrf": csrf, "password": PASSWORD, "new": new, "again": new})
        assert (done.status, done.headers["location"]) == (303, "/me?said=changed")
        assert b"Password changed" in (await browser.get("/me?said=changed")).body
        assert (await other.get("/me")).status == 303
        assert (await other.post("/login", {"name": "ann", "password": PASSWORD})).status == 403

    run(bank, steps)


def test_a_time_zone_and_a_theme_of_ones_own_are_kept_and_stand_on_all_pages(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await let_in(asks, browser)
        assert "data-theme" not in (await browser.get("/me")).body.decode()
        csrf = await browser.csrf()
        for form in ({"zone": "Mars/North"}, {"zone": "Factory"}, {"zone": "localtime"}, {"theme": "pink"}):
            assert (await browser.post("/me/display", {"csrf": csrf, **form})).status == 422
        done = await browser.post("/me/display", {"csrf": csrf, "zone": "Asia/Tokyo", "theme": "dark"})
        assert (done.status, done.headers["location"]) == (303, "/me?said=saved")
        assert (
            '<html lang="en" data-theme="dark" data-time-zone="Asia/Tokyo">'
            in (await browser.get("/live")).body.decode()
        )
        with asks.service.desk.store.look() as look:
            (act,) = look.record(AuditFilter(action="user.screen"))
        assert (act.name, msgspec.json.decode(act.after)) == ("ann", {"time zone": "Asia/Tokyo", "theme": "dark"})

    run(bank, steps)


def test_a_cookie_lasts_as_long_as_the_project_lets_sessions_last(bank):
    (bank / "shroff.yaml").write_text((bank / "shroff.yaml").read_text() + "sessions: { idle: 5m, lasts: 10m }\n")

    async def steps(asks: Asker, browser: Browser) -> None:
        await let_in(asks, browser)
        found = await browser.post("/login", {"name": "ann", "password": PASSWORD})
        assert "Max-Age=600;" in found.headers["set-cookie"]
        page = (await browser.get("/settings/users")).body.decode()
        assert "5\N{NO-BREAK SPACE}min" in page

    run(bank, steps)


# ---- what pages show


def test_pages_show_a_decision_and_its_entity(bank, monkeypatch):
    async def steps(asks: Asker, browser: Browser) -> None:
        await let_in(asks, browser)
        assert b"Nothing here yet" in (await browser.get("/decisions")).body
        csrf = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
        sent = await browser.send("POST", "/api/v1/events/payment", msgspec.json.encode(PAYMENT), csrf)
        assert sent.json()["outcome"] == "review"
        with monkeypatch.context() as patched:
            patched.setattr(FirstReasons, "of", lambda *_: {})  # there was no time for it
            listed = (await browser.get("/decisions")).body.decode()
        path = "/decisions/payment/p%2F1%20%3Cb%3E"
        assert path in listed
        assert "1,234.50 EUR paid at" in listed
        for query, is_there in (
            ("rule=any_payment&min_amount=1,000", True),
            ("rule=any_payment&min_amount=1235", False),
            ("rule=any_payment&min_amount=1000&max_amount=9999.99", True),
            ("rule=any_payment&max_amount=999.99", False),
            ("min_amount=1.234,50", True),
            ("text=C-1", True),
            ("text=c-2", False),
            ("rule=card_testing", False),
            ("day=2026-01-05", True),
            ("day=2026-01-06", False),
            ("day=2026-01-04&zone=America/Anchorage", True),  # 9 hours behind
            ("day=2026-01-05&zone=America/Anchorage", False),
            ("min_score=0.5", False),  # no model scored it
            ("min_score=1 in 20", False),
        ):
            found = (await browser.get(f"/decisions?{query}")).body.decode()
            assert (path in found, "No decisions match this filter" in found) == (is_there, not is_there), query
            csv = (await browser.get(f"/decisions/decisions.csv?{query}")).body.decode()
            assert csv.count("\n") == 1 + is_there, query
            assert csv.startswith("time,event,id,outcome,score,amount,currency,keys,details,rules,reason\n")
        totals = r"{}: <span class=\"badge badge-review.*?</span> <b>1</b> \(1,234\.50.EUR\)"
        for query, says in (("", "The decision of this page"), ("day=2026-01-05", "All decisions of this day")):
            listed = (await browser.get(f"/decisions?{query}")).body.decode()
            assert re.search(totals.format(says), listed), query
        row = next(reader((await browser.get("/decisions/decisions.csv")).body.decode().splitlines()[1:]))
        assert row[:7] == ["2026-01-05T08:30:00Z", "payment", "p/1 <b>", "review", "", "1234.50", "EUR"]
        assert row[-2:] == ["any_payment", f"1,234.50 EUR paid at {EVIL}"]
        for query in ("day=5.1.2026", "day=9999-12-31", "min_score=much", "min_amount=nan", "outcome=maybe"):
            assert (await browser.get(f"/decisions?{query}")).status == 400
        assert b"is not a time zone" in (await browser.get("/decisions?day=2026-01-05&zone=Here/There")).body
        assert (await browser.get(f"{path}/why")).body.decode().strip() == str(escape(f"1,234.50 EUR paid at {EVIL}"))
        shown = (await browser.get(path)).body.decode()
        assert "1,234.50 EUR" in shown
        assert "any_payment" in shown
        assert "Answered before" not in shown
        assert f'data-replay="/api/v1{path}/replay"' in shown
        told = {**csrf, "shroff-answered": "approve"}
        await browser.send("POST", "/api/v1/events/payment", msgspec.json.encode(PAYMENT), told)
        assert "<dt>Answered before</dt><dd>approve</dd>" in (await browser.get(path)).body.decode()
        entity = (await browser.get("/entities/card/c-1")).body.decode()
        assert path in entity
        assert "no label" in entity
        assert "Charts need two decisions" in entity
        assert "1 event, 1,234.50" in entity
        assert (await browser.get("/find?q=p%2F1+%3Cb%3E")).headers["location"] == path
        assert (await browser.get("/find?q=c-1")).headers["location"] == "/entities/card/c-1"
        assert 'placeholder="Search"' in listed
        for text, found in (
            ("payment/p/1 <b>", path),
            ("ANY_PAYMENT", "/rules/any_payment"),
            ("card/c-1", "/entities/card/c-1"),
            *((part, None) for part in ("1 <b>", "P/1 <B>", "1234.50", "1.234,50", "1,234.50 EUR")),
        ):
            answer = await browser.get(f"/find?{urlencode({'q': text})}")
            assert answer.headers.get("location") == found, text
            assert found or answer.body.decode().count(f'href="{path}"') == 1
        nothing = (await browser.get("/find?q=zzz")).body.decode()
        assert "Nothing found" in nothing
        assert "Showing 0 results for <b>zzz</b>" in nothing
        assert "in the newest 100,000 events" in nothing
        assert "at least 3 characters" in (await browser.get("/find?q=zz")).body.decode()
        assert "/entities/" not in nothing
        for page in (listed, shown, entity, (await browser.get("/find?q=" + "%3Cscript%3E")).body.decode()):
            assert "<script>" not in page
            assert str(7001 * 7001) not in page

    run(bank, steps)


def test_what_is_personal_is_for_who_may_see_it_and_no_key_opens_a_page(bank):
    """The values of a key's owner on its page, and the bytes of quarantine."""
    events = (bank / "events.yaml").read_text(encoding="utf-8")
    events = events.replace("    merchant: text\n", "    merchant: text\n    holder: text? personal\n")
    (bank / "events.yaml").write_text(events, encoding="utf-8")
    name = "Ann Personal"

    async def steps(asks: Asker, browser: Browser) -> None:
        await let_in(asks, browser)
        csrf = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
        for given in ({}, {"payment_id": "p-2", "amount": "1.005"}):
            sent = msgspec.json.encode({**PAYMENT, "holder": name, **given})
            await browser.send("POST", "/api/v1/events/payment", sent, csrf)
        desk, me = asks.service.desk, asks.service.project.context.who
        scopes = {Right.MEND_INPUT, Right.READ_DECISIONS}
        _, mends = await asyncio.to_thread(keys.create, desk, me, "mends", Role.ADMIN, scopes=scopes)
        _, sees = await asyncio.to_thread(keys.create, desk, me, "sees", Role.ADMIN)
        raw = [(await asks.ask("GET", "/api/v1/quarantine", key=key)).body for key in (sees, mends)]
        assert [name.encode() in item for item in raw] == [True, False]
        found = await asks.ask("GET", "/entities/card/c-1", key=sees)
        assert (found.status, b"not-a-person" in found.body) == (403, True)
        assert name in (await browser.get("/entities/card/c-1")).body.decode()
        await asyncio.to_thread(users.add, desk, me, "vic", Role.VIEWER, password=PASSWORD)
        await browser.post("/login", {"name": "vic", "password": PASSWORD})
        seen = (await browser.get("/entities/card/c-1")).body.decode()
        assert ("1 event, 1,234.50" in seen, name in seen) == (True, False)

    run(bank, steps)


def test_flags_of_a_rule_stand_once_with_their_number_and_the_first_and_the_last_event(bank, monkeypatch):
    large = RULE.replace("any_payment", "large").replace("> 0", "> 100")
    (bank / "rules" / "large.yaml").write_text(large, encoding="utf-8")

    async def steps(asks: Asker, browser: Browser) -> None:
        await let_in(asks, browser)
        payments = [
            {
                **PAYMENT,
                "payment_id": f"p-{number}",
                "paid_at": f"2026-01-05T08:0{minute}:00Z",
                "amount": f"{amount}.00",
            }
            for number, (minute, amount) in enumerate(((2, 20), (1, 200), (0, 40)))
        ]
        csrf = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
        await browser.send("POST", "/api/v1/events/payment", msgspec.json.encode(payments), csrf)
        asks.service.project.label("payment/p-0", "genuine", source="analyst")
        panel = (await browser.get("/entities/card/c-1")).body.decode().partition('id="flags"')[2]
        any_, large = panel.partition("</ul>")[0].split("</li>")[:2]

        assert re.findall(r'href="/rules/(\w+)"', panel) == ["any_payment", "large"]
        assert "3 times" in any_
        assert "40.00 EUR paid at" in any_
        assert re.findall(r'href="/decisions/payment/([^"]+)"', any_) == ["p-2", "p-0"]
        assert ["08:00" in any_, "08:01" in any_, "08:02" in any_] == [True, False, True]
        assert re.findall(r'class="tag">([^<]+)<', any_) == ["2 no label", "1 genuine"]
        assert "times" not in large
        assert re.findall(r'href="/decisions/payment/([^"]+)"', large) == ["p-1"]
        for most, is_cut in ((4, False), (3, True)):  # of four flags in all
            monkeypatch.setattr(entity, "FLAGS_COUNTED", most)
            panel = (await browser.get("/entities/card/c-1")).body.decode().partition('id="flags"')[2]
            assert ["first <a" in panel, f"The newest {most} flags are counted" in panel] == [not is_cut, is_cut]

    run(bank, steps)


def test_results_of_a_search_name_keys_as_the_project_does_and_say_what_an_id_is(bank):
    events = (bank / "events.yaml").read_text(encoding="utf-8")
    named = events.replace("    merchant: text\n", "    merchant: text\n    card_label: text?\n")
    (bank / "events.yaml").write_text(named, encoding="utf-8")

    async def steps(asks: Asker, browser: Browser) -> None:
        await let_in(asks, browser)
        csrf = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
        payments = [
            {
                **PAYMENT,
                "payment_id": letter,
                "paid_at": f"2026-01-05T08:0{letter}:00Z",
                "amount": "2.00",
                "card": f"c-1{letter}",
            }
            | {"card_label": f"•••• 482{letter}", "merchant": "Corvane"}
            for letter in "12"
        ]
        await browser.send("POST", "/api/v1/events/payment", msgspec.json.encode(payments), csrf)
        for _ in range(12_000):
            if (await browser.get("/api/v1/cases")).json()["totals"]["count"]:
                break
            await asyncio.sleep(0.05)
        of = "2.00 EUR to Corvane, DE, pos, card •••• 482"
        for text, found in (
            ("c-1", ["Card •••• 4822 by id id c-12", "Card •••• 4821 by id id c-11"]),
            ("2.00", [f"Payment 2 by amount {of}2", f"Payment 1 by amount {of}1"]),
            ("4822", ["Card •••• 4822 by card label id c-12"]),
            ("1", [f"Payment 1 {of}1", "Case 1 card •••• 4821, open"]),
        ):
            page = (await browser.get(f"/find?{urlencode({'q': text})}")).body.decode()
            rows = re.findall(r"<li data-row><div>(.*?)</div>", page)
            assert [" ".join(re.sub("<[^>]*>", " ", row).split()) for row in rows] == found

    run(bank, steps)


def test_a_flag_of_an_event_that_is_not_decided_has_no_link_to_a_decision(bank):
    events = (bank / "events.yaml").read_text(encoding="utf-8").replace("card: { payment: card }", CARD)
    (bank / "events.yaml").write_text(f"{events}\n{LOGIN}", encoding="utf-8")
    rule = (
        RULE.replace("on: payment", "on: login")
        .replace("this.amount > 0", "true")
        .replace("{this.amount} paid", "seen")
    )
    (bank / "rules" / "any.yaml").write_text(rule.replace(" at {this.merchant}", ""), encoding="utf-8")

    async def steps(asks: Asker, browser: Browser) -> None:
        await let_in(asks, browser)
        csrf = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
        logins = [{"id": f"l-{minute}", "at": f"2026-01-05T08:0{minute}:00Z", "card": "c-1"} for minute in (0, 1)]
        await browser.send("POST", "/api/v1/events/login", msgspec.json.encode(logins), csrf)
        panel = (await browser.get("/entities/card/c-1")).body.decode().partition('id="flags"')[2].partition("</ul>")[0]

        assert "2 times" in panel
        assert ["08:00" in panel, "08:01" in panel] == [True, True]
        assert "/decisions/" not in panel

    run(bank, steps)


def test_problems_are_pages_for_people(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await let_in(asks, browser)
        for path, words in (("/decisions/payment/none", b"no-decision"), ("/nothing", b"not-found")):
            found = await browser.get(path)
            assert found.status == 404
            assert found.headers["content-type"] == "text/html; charset=utf-8"
            assert words in found.body
        assert (await browser.get("/entities/nobody/x")).status == 404
        assert (await browser.get("/decisions?outcome=x")).status == 400
        for role in Role:
            assert (await asks.ask("GET", "/decisions", key=role.value)).status == 401

    run(bank, steps)


def test_a_failing_count_of_cases_takes_no_page_down_and_the_error_page_asks_for_none(bank, monkeypatch):
    async def steps(asks: Asker, browser: Browser) -> None:
        def fails(_who: object) -> int:
            raise RuntimeError("cannot schedule new futures after shutdown")

        await let_in(asks, browser)
        monkeypatch.setattr(asks.service.queue_count, "of", fails)
        assert [(await browser.get(path)).status for path in ("/nosuch", "/me")] == [404, 200]
        assert ["open cases are not counted" in words for words in asks.told] == [True]

    run(bank, steps)


def test_a_page_may_run_and_load_only_what_is_of_this_service(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await let_in(asks, browser)
        for path in ("/login", "/decisions", "/me"):
            found = await browser.get(path)
            policy = found.headers["content-security-policy"]
            rests = {"default-src 'none'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"}
            assert rests <= {*policy.split("; ")}
            assert "unsafe" not in policy
            assert found.headers["x-content-type-options"] == "nosniff"
            assert found.headers["cross-origin-opener-policy"] == "same-origin"
            assert found.headers["cache-control"] == "no-store"
            assert found.headers["referrer-policy"] == "same-origin"
            body = found.body.decode()
            assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", body)
            assert not re.search(r"""(src|href|action)="?(https?:)?//""", body)
        found = await browser.get("/api/v1/cases")
        assert found.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"

    run(bank, steps)


def test_files_of_pages_are_those_of_the_package_and_kept_by_their_version(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        found = await browser.get(static("shroff.css"), **{"accept-encoding": "gzip, br"})
        assert found.headers["content-encoding"] == "gzip"
        assert "immutable" in found.headers["cache-control"]
        assert (await browser.get("/static/other/shroff.css")).headers["cache-control"] == "no-cache"
        checker = await browser.get(static("verify.html"))
        script = checker.body.partition(b'<script type="module">')[2].partition(b"</script>")[0]
        own = b64encode(sha256(script).digest()).decode()
        assert f"script-src 'sha256-{own}';" in checker.headers["content-security-policy"]
        assert "unsafe" not in checker.headers["content-security-policy"]
        for name in ("nothing.css", "..%2Fdecision.py", "%2e%2e", "OFL"):
            assert (await browser.get(f"/static/x/{name}")).status == 404

    run(bank, steps)


def test_the_first_page_is_light():
    first_load = ("shroff.css", "page.js", "icons.svg", "mark.svg", "plex-sans.woff2", "plex-mono.woff2")
    weight = sum(len(static_files()[name].packed or static_files()[name].raw) for name in first_load)
    assert weight < 100_000


def test_every_template_can_be_read():
    for name in environment().list_templates():
        environment().get_template(name)
    assert set(FILTERS) <= set(environment().filters)


def test_commands_stand_on_pages_in_one_form():
    """Below a panel, or where a page is empty: what strays elsewhere reads like something of the page."""
    words = (ROOT / "src/shroff/operations/commands.txt").read_text(encoding="utf-8").splitlines()
    command = re.compile(rf"\bshroff (?:{'|'.join(re.escape(line.split()[0]) for line in words if line.strip())})\b")
    form = re.compile(r"(?<!macro )\b(?:(?:by_)?command\(.*?\)(?: if [^}]*)? \}\}|empty\([^%]*,\s.*?\) %\})", re.DOTALL)
    pages = [path for path in sorted((ROOT / "src").rglob("templates/*.html")) if " by_command(" in path.read_text()]
    stray = {
        path.name: found
        for path in (ROOT / "src").rglob("templates/*.html")
        if (found := command.findall(form.sub("", path.read_text(encoding="utf-8"))))
    }

    given = [text for path in pages for text in form.findall(path.read_text("utf-8"))]

    assert len(pages) > 20
    assert stray == {}
    known = ('"shroff', "command(by)")
    lines = [text for text in given if not any(part in text for part in known)]
    assert lines == [], "a key, a link and lines of a file are no command"


# ---- words


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (money("1661.90", "EUR"), "1,661.90\N{NO-BREAK SPACE}EUR"),
        (money("-0.05"), "\N{MINUS SIGN}0.05"),
        (money(None, "EUR"), "missing"),
        (share(0.987), "98.70\N{NO-BREAK SPACE}%"),
        (lasting(6_720), "1\N{NO-BREAK SPACE}h 52\N{NO-BREAK SPACE}min"),
        (lasting(86_405), "1\N{NO-BREAK SPACE}d"),
        (lasting(90_000), "1\N{NO-BREAK SPACE}d 1\N{NO-BREAK SPACE}h"),
        (lasting(0), "0\N{NO-BREAK SPACE}s"),
        (lasting(38), "38\N{NO-BREAK SPACE}s"),
        (lasting(0.0006), "0.6\N{NO-BREAK SPACE}ms"),
        (signed(-0.224), "\N{MINUS SIGN}0.22"),
        (moment(0, "day"), '<time datetime="1970-01-01T00:00:00.000Z" data-form="day">1 January 1970</time>'),
    ],
)
def test_values_are_written_in_one_way(said, wanted):
    assert said == wanted


def test_a_percentage_has_a_space_before_its_sign_wherever_people_read_it():
    """Formats of Python write none: `percent` does, and pages and the terminal say the same."""
    files = [path for path in (ROOT / "src").rglob("*.*") if path.suffix in {".py", ".txt", ".html", ".j2"}]
    found = {path.name for path in files if re.search(r":[-+,]*\.\d%\}", path.read_text(encoding="utf-8"))}

    assert not found
    assert (percent(0.1), percent(0.0234, "+.1")) == ("10 %", "+2.3 %")


def test_a_time_is_in_utc_for_machines_and_for_people_without_scripts():
    found = moment("2026-07-20T14:32:07+02:00")

    assert found == '<time datetime="2026-07-20T12:32:07.000Z" data-form="">20 July 2026, 12:32:07</time>'


def test_a_theme_changes_colours_alone_so_nothing_is_wider_in_one_of_them():
    """What `light-dark` gives can only be a colour, so a browser need not measure each theme at each size."""
    texts = {name: file.raw.decode() for name, file in static_files().items() if name.endswith((".css", ".js"))}
    asked = re.compile(
        r"@media \(prefers-color-scheme: dark\) \{\s*:root \{((?:\s*--[\w-]+: #[0-9a-f]{3,6};)*)\s*\}\s*\}"
    )
    others = {name: asked.sub("", text) for name, text in texts.items()}
    themed = [rule for text in others.values() for rule in re.findall(r"\[data-theme[^{]*\{([^}]*)\}", text)]

    assert sum(len(asked.findall(text)) for text in texts.values()) == 1
    assert [name for name, text in others.items() if "prefers-color-scheme" in text] == []
    assert {rule.strip() for rule in themed} == {"color-scheme: light;", "color-scheme: dark;"}


def test_amounts_of_money_with_three_places_are_asked_for_as_they_are_shown():
    low, high = amount_band(123_456, 3).split(" to ")
    wanted = decisions._parsed_filters(
        "all", dict.fromkeys(decisions.FILTERS, "") | {"min_amount": low, "max_amount": high}, 3
    )

    assert (str(wanted.min_amount), str(wanted.max_amount)) == ("100.000", "999.999")
