"""Lists over the service: in and out by hand, from the page of a key, and as CSV; who and why; nothing is a formula."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from shroff.adapters.people.sql import SqlPeople
from shroff.config import TEMPLATE_FOLDER
from shroff.errors import LogBusyError, NotAllowedError, UsageError
from shroff.people import users
from shroff.people.access import RIGHTS, Role
from shroff.people.store import AuditFilter, rows_of
from shroff.project import list_csv
from shroff.project.lists import ADDED, CHANGED, REMOVED, Entry, edited
from shroff.runtime.atomic_files import FORMULA, csv_line
from shroff.runtime.values import replace
from shroff.services import project as app
from shroff.services.approvals import agreements
from shroff.services.approvals.operations import AnswerApproval, NotWaitingError, ShowApprovals
from shroff.services.lists.files import NotRequestedError
from shroff.services.rules.files import ChangedMeanwhileError
from shroff.web.pages.rules.lists import instant
from tests.support.webs import PASSWORD, Answered, Asker, Browser, asker, run

TEMPLATE = TEMPLATE_FOLDER / "payments"
LIST = "blocked_cards"
HEAD = "value,note,added_by,expires_at\n"
PAYMENT = {
    "payment_id": "p-1",
    "paid_at": "2026-01-05T08:30:00Z",
    "card": "c-1",
    "merchant": "m-1",
    "terminal": "t-1",
    "amount": "12.50",
    "country": "DE",
    "channel": "pos",
}
RULE = """
- id: blocked_card
  on: payment
  by: card
  when: this.card in lists.blocked_cards
  reason: This card is on the list of blocked cards
  effect: decline
"""


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    shutil.copytree(TEMPLATE, tmp_path / "bank")
    (tmp_path / "bank" / "rules" / "lists.yaml").write_text(RULE, encoding="utf-8")
    (tmp_path / "bank" / "lists" / f"{LIST}.csv").write_text(HEAD, encoding="utf-8")
    return tmp_path / "bank"


async def send(browser: Browser, path: str, **form: str) -> Answered:
    return await browser.post(path, {"csrf": await browser.csrf(), **form})


async def call(browser: Browser, method: str, path: str, body: object = None, **more: str) -> Answered:
    headers = {"x-csrf-token": await browser.csrf(), "content-type": "application/json", "accept": "*/*", **more}
    return await browser.send(method, path, b"" if body is None else msgspec.json.encode(body), headers)


def acts(asks: Asker, action: str) -> list[Any]:
    with asks.service.desk.store.look() as look:
        return look.record(AuditFilter(action=action))


def lines(folder: Path) -> list[str]:
    return (folder / "lists" / f"{LIST}.csv").read_text(encoding="utf-8").splitlines()[1:]


# ---- over the service


@pytest.mark.slow
def test_an_expiry_as_people_write_it_is_shown_as_the_moment_that_it_is(bank):
    ends = {"2026-03-01": "2026-03-01T00", "2026-03-01 10:00:00": "2026-03-01T10", "1772323200000": "2026-03-01T00"}
    rows = "".join(f"c-{number},,,{text}\n" for number, text in enumerate([*ends, "2999-01-01 10:00:00"]))
    (bank / "lists" / f"{LIST}.csv").write_text(HEAD + rows, encoding="utf-8")

    async def steps(_: Asker, browser: Browser) -> None:
        shown = (await browser.get(f"/lists/{LIST}")).body.decode()
        assert re.findall(r'expired</span> <time datetime="([^:]+):', shown) == list(ends.values())
        assert b'until <time datetime="2999-01-01T10:' in (await browser.get("/entities/card/c-3")).body

    run(bank, steps)


@pytest.mark.slow
def test_a_value_is_added_with_why_and_until_and_decides_from_the_next_event_on(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        assert b"This list is empty" in (await browser.get(f"/lists/{LIST}")).body
        done = await send(browser, f"/lists/{LIST}", value="c-1", note="stolen", expires_at="2027-01-31")
        assert done.headers["location"] == f"/lists/{LIST}?said=done&added=1"
        shown = (await browser.get(done.headers["location"])).body.decode()
        assert "Active from the next event." in shown
        assert "31 January 2027, 00:00" in shown
        assert lines(bank) == ["c-1,stolen,ann,2027-01-31T00:00:00Z"]
        await send(browser, f"/lists/{LIST}", value="c-2", expires_at="2027-01-31", zone="Europe/Berlin")
        assert lines(bank)[1:] == ["c-2,,ann,2027-01-30T23:00:00Z"]
        wrong = await send(browser, f"/lists/{LIST}", value="c-3", expires_at="2027-01-31", zone="Mars/North")
        assert (wrong.status, b"is not a time zone" in wrong.body) == (422, True)
        wrong = await send(browser, f"/lists/{LIST}", value="c-3", expires_at="0001-01-01", zone="Asia/Tokyo")
        assert (wrong.status, b"is not a time; write it as" in wrong.body) == (422, True)
        decided = await call(browser, "POST", "/api/v1/events/payment", PAYMENT)
        assert "blocked_card" in decided.json()["rules"]
        (act, _) = acts(asks, "list.change")
        assert (act.name, act.via, act.subject, act.before) == ("ann", "web", f"list {LIST}", "null")
        assert msgspec.json.decode(act.after)[0]["note"] == "stolen"

    run(bank, steps)


@pytest.mark.slow
def test_a_value_is_removed_for_a_reason_and_put_back_as_it_was(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await send(browser, f"/lists/{LIST}", value="c-1", note="stolen", expires_at="2027-01-31")
        kept = lines(bank)
        refused = await send(browser, f"/lists/{LIST}/out", value="c-1", note=" ")
        assert (refused.status, b"Give a reason" in refused.body, lines(bank)) == (422, True, kept)
        done = await send(browser, f"/lists/{LIST}/out", value="c-1", note="it was found")
        assert lines(bank) == []
        assert msgspec.json.decode(acts(asks, "list.change")[-1].after) == {"reason": "it was found"}
        shown = (await browser.get(done.headers["location"])).body.decode()
        assert f'action="/lists/{LIST}/back"' in shown
        await send(browser, f"/lists/{LIST}/back", value="c-1", undo="yes")
        assert lines(bank) == kept
        assert (await send(browser, f"/lists/{LIST}/back", value="c-2", undo="yes")).status == 422

    run(bank, steps)


@pytest.mark.slow
def test_links_of_a_key_by_what_too_many_share_are_better_than_none(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        for number in range(10):  # a shop of ten cards, which alone says little, and a device of two
            event = PAYMENT | {"payment_id": f"w-{number}", "card": f"w-{number}", "merchant": "everybody"}
            event |= {"device": "d-w"} if number < 2 else {}
            await call(browser, "POST", "/api/v1/events/payment", event)
        by_device, by_shop = [
            (await browser.get(f"/links?entity=card&key=w-{number}")).body.decode() for number in (0, 9)
        ]
        assert "everybody" not in by_device
        assert "everybody" in by_shop
        assert "No links" not in by_shop

    run(bank, steps)


@pytest.mark.slow
def test_the_pages_of_a_key_show_the_links_that_features_count(bank):
    features = bank / "features.yaml"
    more = "card:\n  linked: distinct(payment.card via payment.device) over 30d including this\n"
    features.write_text(features.read_text(encoding="utf-8").replace("card:\n", more, 1), encoding="utf-8")
    events = bank / "events.yaml"
    named = events.read_text(encoding="utf-8").replace(
        "    device: text?", "    card_label: text?\n    device: text?", 1
    )
    events.write_text(named, encoding="utf-8")

    async def steps(asks: Asker, browser: Browser) -> None:
        for card in ("c-1", "c-2", "c-3"):
            event = PAYMENT | {"payment_id": card, "card": card, "device": "d-1", "card_label": f"Card of {card}"}
            await call(browser, "POST", "/api/v1/events/payment", event)
        page = (await browser.get("/entities/card/c-1")).body.decode()
        counted = page.partition('id="counted"')[2].partition("</section>")[0]

        assert "payment.device</span> d-1" in counted
        assert '<a href="/entities/card/c-2">c-2</a>, ' in counted
        path = "/links?entity=card&key=c-1"
        drawn, hidden, pinned, far = [
            (await browser.get(f"{path}{more}")).body.decode()
            for more in ("", "&hide=payment.device%3Dd-1", "&pin=payment.device%3Dd-1", "&steps=9")
        ]
        assert "In a ring of 3 cards over 1 device." in drawn
        await call(browser, "POST", "/api/v1/events/payment", PAYMENT | {"payment_id": "d-2", "device": "d-2"})
        shared = (await browser.get("/links?entity=device&key=d-1")).body.decode()
        assert "Shared values link 2 devices over" in shared  # no feature of a device has `via`: no ring
        assert '<a href="/entities/card/c-3">Card of c-3</a>' in drawn
        assert "of the last 30\u00a0d," in drawn
        fraud = {"event": "payment/c-3", "verdict": "fraud", "source": "chargeback", "known_at": PAYMENT["paid_at"]}
        assert (await call(browser, "POST", "/api/v1/labels", fraud)).status == 200
        first = (await browser.get(path)).body.decode()
        assert first.count('class=" of-fraud"') == 1
        assert first.index('href="/entities/card/c-3">Card') < first.index('href="/entities/card/c-2">Card')
        assert 'href="/links?entity=card&amp;key=c-1&amp;steps=1&amp;hide=payment.device%3Dd-1" data-key="h"' in drawn
        assert "No links" in hidden
        assert '<a href="/links?entity=card&amp;key=c-1&amp;steps=1">payment.device=d-1</a>' in hidden
        assert "Unpin" in pinned
        assert "A step less" in far
        for steps, shown in (("9" * 5_000, 9), ("0", 1), ("x", 1), ("02", 2)):
            links = (await browser.get(f"{path}&steps={steps}")).body.decode()
            assert f"&amp;steps={shown}&amp;hide=" in links, steps
            assert ("A step less" in links) == (shown > 1)
        opening = (await browser.get("/links?entity=card")).body.decode()
        ring = re.search("<tbody><tr data-row>.*?</tr>", opening, re.DOTALL)
        assert ring is not None, opening
        assert 'key=c-1&amp;steps=2">c-1</a>, Card of c-2, Card of c-3' in ring[0]
        of_days = (await browser.get(f"{path}&days=90&by=payment.device")).body.decode()
        assert "of the last 90\u00a0d," in of_days
        assert "&amp;by=payment.device&amp;days=90" in of_days
        for ask in (path, "/links?entity=card"):
            for as_of, is_linked in ((PAYMENT["paid_at"], True), ("2026-01-01", False)):
                then = (await browser.get(f"{ask}&as_of={as_of}")).body.decode()
                assert ("Card of c-2" in then) == is_linked
                assert "in the events before <time" in then or is_linked
        assert (await browser.get(f"{path}&as_of=soon")).status == 400
        decided = (await browser.get("/decisions/payment/c-1")).body.decode()
        assert f"{path.replace('&', '&amp;')}&amp;as_of={quote(PAYMENT['paid_at'])}" in decided
        assert (await browser.get("/links?entity=cart&key=c-1")).status == 404
        line = (await browser.get("/links/ring?entity=card&key=c-2")).body.decode()
        assert '<a href="/links?entity=card&amp;key=c-2">In a ring of 3 cards over 1 device</a>' in line

    run(bank, steps)


@pytest.mark.slow
def test_the_page_of_a_key_puts_it_into_its_lists_and_takes_it_out(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await call(browser, "POST", "/api/v1/events/payment", PAYMENT)
        page = (await browser.get("/entities/card/c-1")).body.decode()
        assert f'action="/lists/{LIST}"' in page
        assert "<dd>none</dd><dd>of 1 list of card keys</dd>" in page
        assert 'data-says="Block"' in page  # a rule declines who stands there
        assert LIST not in (await browser.get("/entities/merchant/m-1")).body.decode()
        assert 'id="counted"' not in page  # no feature links cards
        entry = {"value": "c-1", "back": "/entities/card/c-1"}
        for wrong, words in (
            ({"note": " ", "lasts": "7d"}, b"needs a reason"),
            ({"note": "x", "lasts": "9y"}, b"lasts"),
        ):
            refused = await send(browser, f"/lists/{LIST}", **entry, **wrong)
            assert (refused.status, words in refused.body) == (422, True)
        done = await send(browser, f"/lists/{LIST}", **entry, note="seen", lasts="7d")
        assert done.headers["location"] == f"/entities/card/c-1?said=done&added=1&to={LIST}"
        page = (await browser.get(done.headers["location"])).body.decode()
        assert 'data-says="Undo"' in page
        assert "seen, by Ann Lee, until" in page
        assert f'action="/lists/{LIST}/out"' in page
        assert 'data-says="Block"' not in page
        (line,) = lines(bank)
        assert line.startswith("c-1,seen,ann,20")
        done = await send(browser, f"/lists/{LIST}/out", value="c-1", back="//evil.example", undo="yes")
        assert done.headers["location"] == "/?said=done&removed=1"
        assert lines(bank) == []

    run(bank, steps)


@pytest.mark.slow
def test_what_is_wrong_is_said_beside_what_was_written(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        for form, words in (
            ({"value": "c-1", "expires_at": "soon"}, b"is not a time"),
            ({"value": " "}, b"needs a value"),
            ({"value": "c\n1"}, b"must be one line"),
        ):
            found = await send(browser, f"/lists/{LIST}", **form)
            assert found.status == 422
            assert words in found.body, form
        assert (await send(browser, f"/lists/{LIST}/out", value="none")).status == 422
        assert (await send(browser, "/lists", name="Blocked Cards")).status == 422
        assert (await send(browser, "/lists", name=LIST)).status == 422
        assert (await send(browser, "/lists/none", value="x")).status == 404
        assert (await browser.post(f"/lists/{LIST}", {"value": "c-1"})).status == 403
        assert lines(bank) == []

    run(bank, steps)


@pytest.mark.slow
def test_a_list_goes_out_and_comes_in_as_csv(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await send(browser, f"/lists/{LIST}", value="c-1", note='=HYPERLINK("http://evil.example")')
        out = await browser.get(f"/lists/{LIST}/csv")
        assert out.headers["content-type"] == "text/csv; charset=utf-8"
        assert out.headers["content-disposition"] == f'attachment; filename="{LIST}.csv"'
        rows = list(csv.reader(io.StringIO(out.body.decode())))
        assert rows[1][1].startswith("'=")
        same = await send(browser, f"/lists/{LIST}/csv", csv=out.body.decode())
        assert same.headers["location"] == f"/lists/{LIST}?said=done"
        done = await send(browser, f"/lists/{LIST}/csv", csv="value,note\nc-2,two\nc-3,three\n", is_whole="yes")
        assert done.headers["location"] == f"/lists/{LIST}?said=done&added=2&removed=1"
        assert lines(bank) == ["c-2,two,ann,", "c-3,three,ann,"]
        twice = await send(browser, f"/lists/{LIST}/csv", csv="value,note\nc-4,a\nc-4,b\nc-4,c\n")
        shown = (await browser.get(twice.headers["location"])).body.decode()
        assert "1 added; 2 lines were ignored: of lines with the same value, the last one counts." in shown
        assert lines(bank)[-1] == "c-4,c,ann,"
        broken = await send(browser, f"/lists/{LIST}/csv", csv="value\nc-2,two\n")
        assert broken.status == 422
        assert b"Line 2: it has more cells" in broken.body

    run(bank, steps)


@pytest.mark.slow
def test_a_change_that_a_test_of_a_rule_forbids_says_that_nothing_was_changed(bank):
    tested = RULE + (
        "  tests:\n    - name: on the list\n      events:\n        - payment: { card: c-1, "
        "paid_at: 2026-01-05T10:00:00Z, merchant: m1, amount: 400.00, country: DE, channel: pos }\n      hits: [true]\n"
    )

    async def steps(asks: Asker, browser: Browser) -> None:
        await send(browser, f"/lists/{LIST}", value="c-1")
        (bank / "rules" / "lists.yaml").write_text(tested, encoding="utf-8")
        refusals = [
            await send(browser, f"/lists/{LIST}/csv", csv="value\nc-2\n", is_whole="yes"),
            await send(browser, f"/lists/{LIST}/out", value="c-1", note="seen"),
        ]
        for refused in refusals:
            assert refused.status == 422
            assert b"Nothing was changed." in refused.body
        assert lines(bank) == ["c-1,,ann,"]

    run(bank, steps)


@pytest.mark.slow
def test_programs_change_lists_as_people_do(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        entry = {"value": "c/9", "note": "n", "expires_at": "2027-01-01T00:00:00Z"}
        added = (await call(browser, "POST", f"/api/v1/lists/{LIST}/entries", entry)).json()
        assert (added["added"], added["in_force"], added["why_not"]) == (1, True, None)
        read = await call(browser, "GET", f"/api/v1/lists/{LIST}")
        assert read.json()["entries"] == [{**entry, "added_by": "ann"}]
        sheet = (await call(browser, "PUT", f"/api/v1/lists/{LIST}", {"csv": "value\nc-5\n"})).json()
        assert (sheet["added"], sheet["removed"]) == (1, 0)
        whole = {"csv": "value\nc-5\nc/9\n", "is_whole": True}
        old = await call(browser, "PUT", f"/api/v1/lists/{LIST}", whole, **{"if-match": read.headers["etag"]})
        now = await call(browser, "GET", f"/api/v1/lists/{LIST}")
        assert (old.status, old.headers["etag"]) == (412, now.headers["etag"])
        assert "reload it" in old.json()["detail"]
        assert now.json()["etag"] == now.headers["etag"].strip('"')
        done = await call(browser, "PUT", f"/api/v1/lists/{LIST}", whole, **{"if-match": now.headers["etag"]})
        assert (done.status, done.json()["entries"]) == (200, 2)
        gone = (await call(browser, "DELETE", f"/api/v1/lists/{LIST}/entries/c%2F9")).json()
        assert gone["removed"] == 1
        listed = (await call(browser, "GET", "/api/v1/lists")).json()["lists"]
        assert {"name": LIST, "entries": 1, "read_by": ["rule blocked_card"]} in listed
        wrong = await call(browser, "POST", f"/api/v1/lists/{LIST}/entries", {**entry, "expires_at": "soon"})
        assert wrong.status == 422
        assert (await call(browser, "POST", f"/api/v1/lists/{LIST}/entries", {"value": 7})).status == 422
        assert (await call(browser, "GET", "/api/v1/lists/none")).status == 404

    run(bank, steps)


@pytest.mark.slow
def test_what_cannot_be_recorded_is_not_changed(bank, monkeypatch):
    async def steps(asks: Asker, browser: Browser) -> None:
        await browser.csrf()  # its session was used just now, which is kept, too

        def change(*_: object) -> None:
            raise LogBusyError("another process holds it", "a backup")

        with monkeypatch.context() as held:
            held.setattr(SqlPeople, "change", change)
            refused = await call(browser, "POST", f"/api/v1/lists/{LIST}/entries", {"value": "c-1"})
        assert refused.status == 503
        assert (bank / "lists" / f"{LIST}.csv").read_text(encoding="utf-8") == HEAD

    run(bank, steps)


@pytest.mark.slow
def test_who_may_only_look_sees_lists_and_changes_none(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        me = asks.service.project.context.who
        await asyncio.to_thread(users.add, asks.service.desk, me, "vic", Role.VIEWER, password=PASSWORD)
        await browser.post("/login", {"name": "vic", "password": PASSWORD})
        page = await browser.get(f"/lists/{LIST}")
        assert page.status == 200
        assert b"<textarea" not in page.body
        assert (await send(browser, f"/lists/{LIST}", value="c-1")).status == 403
        assert (await send(browser, "/lists", name="mine")).status == 403
        assert lines(bank) == []

    run(bank, steps)


@pytest.mark.slow
def test_a_new_list_is_there_at_once(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        assert (await send(browser, "/lists", name="seen_before")).headers["location"] == "/lists/seen_before?said=made"
        assert b"used by no rule yet" in (await browser.get("/lists/seen_before")).body
        assert (await send(browser, "/lists/seen_before", value="<b>x</b>")).status == 303
        assert b"&lt;b&gt;x&lt;/b&gt;" in (await browser.get("/lists/seen_before?q=X")).body
        assert len(acts(asks, "list.make")) == 1

    run(bank, steps)


# ---- texts


def test_many_entries_are_changed_and_every_other_line_stays():
    text = "value,note,added_by,expires_at\r\na,old,bob,\r\n\r\nb,,bob,\r\na,twice,bob,\r\nc,kept,bob,"
    found = edited(text, [Entry("a", "new", "ann"), Entry("d", "", "ann"), Entry("c", "kept", "ann")], ["b"], str)

    assert found.text == "value,note,added_by,expires_at\r\na,new,ann,\r\n\r\nc,kept,bob,\r\nd,,ann,\r\n"
    assert found.counts == {ADDED: 1, CHANGED: 1, REMOVED: 2}
    assert [item.value for item in found.after] == ["a", "d"]


def test_a_whole_list_is_what_was_sent():
    found = edited("value\na\nb\n", [Entry("b"), Entry("c")], [], str, is_whole=True)

    assert found.text == "value\nb\nc\n"
    assert found.counts == {ADDED: 1, CHANGED: 0, REMOVED: 1}
    with pytest.raises(UsageError, match="lacks the column note"):
        edited("value\na\n", [Entry("b", "why")], [], str)


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-1", "@x", "\t=1", "'=1", "'", "''x", "'x", "plain", "a=b", 'x,"y"', *FORMULA]
)
def test_cells_come_back_as_they_went_out_and_none_is_a_formula(cell):
    text = list_csv.written([Entry("v", cell, "bob", "")])
    sent = list(csv.reader(io.StringIO(text)))[1][1]

    assert not sent.startswith(FORMULA)
    assert next(csv.reader([csv_line([cell]).decode()]))[0].startswith(FORMULA) == (cell == "-1")
    assert list_csv.read(text, "ann") == [Entry("v", cell, "ann", "")]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_list_is_read_as_the_spreadsheets_of_each_country_save_it(separator):
    lines = ["\ufeffvalue", "note", "expires_at"], ["v", "stolen", "2027-01-31"]
    text = "".join(f"{separator.join(line)}\r\n" for line in lines)

    assert list_csv.read(text, "ann") == [Entry("v", "stolen", "ann", "2027-01-31")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1 names nothing"),
        ("note\nx\n", "line 1 names note; a list has"),
        ("value,sum\n1,2\n", "line 1 names value, sum; a list has the columns value, note"),
        ('value\n"a', "line 2"),
    ],
)
def test_what_is_no_list_is_refused_with_its_line(text, words):
    with pytest.raises(UsageError, match=words):
        list_csv.read(text, "ann")


@pytest.mark.parametrize(
    ("text", "zone", "wanted"),
    [
        ("", "UTC", ""),
        ("2027-01-31", "UTC", "2027-01-31T00:00:00Z"),
        ("2027-01-31", "America/New_York", "2027-01-31T05:00:00Z"),
        ("2027-01-31T12:30", "UTC", "2027-01-31T12:30:00Z"),
        ("2027-01-31T12:30:00+02:00", "America/New_York", "2027-01-31T10:30:00Z"),
    ],
)
def test_a_day_of_a_form_is_its_begin_in_the_time_zone_of_its_user(text, zone, wanted):
    assert instant(text, zone) == wanted


@pytest.mark.slow
def test_where_a_second_person_approves_lists_nobody_changes_one_alone(bank):
    with (bank / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write("second_person: [lists]\n")
    entries = f"/api/v1/lists/{LIST}/entries"

    async def steps(asks: Asker) -> None:
        async def asked() -> Any:
            return (await asks.ask("GET", f"/api/v1/lists/{LIST}")).json()["asked"]

        async def values() -> list[str]:
            found = (await asks.ask("GET", f"/api/v1/lists/{LIST}")).json()["entries"]
            return [f"{item['value']} {item['note']} {item['added_by']}" for item in found]

        entry = {"value": "c-1", "note": "stolen"}
        waits = await asks.ask("POST", entries, entry, key="another")
        assert (waits.status, waits.json()["in_force"]) == (200, False)
        assert "this needs approval by a second person" in waits.json()["why_not"]
        (change,) = await asked()
        assert (change["by"], change["says"], await values()) == ("ben", "put c-1 in", [])
        approve = f"/api/v1/lists/{LIST}/approve", {"etag": change["etag"]}
        for key, status in (("another", 403), ("admin", 403)):
            assert (await asks.ask("POST", *approve, key=key)).status == status
        assert (await asks.ask("POST", approve[0], {"etag": "0"}, key="person")).status == 404
        done = await asks.ask("POST", *approve, key="person")
        assert (done.json()["added"], done.json()["in_force"], await asked()) == (1, True, [])
        assert await values() == ["c-1 stolen ben"]

        for key, counts in (("person", (0, False)), ("person", (0, False)), ("another", (1, True))):
            out = (await asks.ask("DELETE", f"{entries}/c-1", key=key)).json()
            assert (out["removed"], out["in_force"]) == counts  # who else asks for the same approves it
        sheet = {"csv": "value\nc-2\nc-3\n", "is_whole": True}
        for key, added in (("another", 0), ("person", 2)):
            assert (await asks.ask("PUT", f"/api/v1/lists/{LIST}", sheet, key=key)).json()["added"] == added
        with pytest.raises(NotAllowedError, match="this works only in the service"):
            asks.service.project.lists.add(LIST, Entry("c-9"))
        with pytest.raises(NotAllowedError, match="this works only in the service"):
            asks.service.project.lists.remove(LIST, "c-2")
        acts = [(row.name, row.action) for row in rows_of(asks.service.desk.store, AuditFilter(subject=f"list {LIST}"))]
        assert acts.count(("ann", "list.change")) == 2
        assert acts.count(("ben", "list.change")) == 1

    async def whole() -> None:
        async with asker(bank) as asks:
            await steps(asks)

    asyncio.run(whole())


@pytest.mark.slow
def test_a_second_person_sees_which_rows_a_change_puts_into_a_list_and_takes_out(bank, monkeypatch):
    monkeypatch.setattr(agreements, "SHOWN_MAX", 2)
    with (bank / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write("second_person: [lists]\n")
    path = bank / "lists" / f"{LIST}.csv"
    path.write_text(f"{HEAD}old-1,,,\nold-2,,,\nold-3,,,\n", encoding="utf-8")

    async def steps(asks: Asker, browser: Browser) -> None:
        end = "2033-01-02T00:00:00Z"
        sheet = {"csv": f"value,note,expires_at\nc-1,stolen,{end}\nc-2,seen twice,\nold-2,,\n", "is_whole": True}
        await call(browser, "PUT", f"/api/v1/lists/{LIST}", sheet)
        (change,) = (await call(browser, "GET", "/api/v1/approvals")).json()["approvals"]
        assert (await call(browser, "GET", f"/api/v1/lists/{LIST}")).json()["asked"] == [change]
        assert change["says"] == "put 3 in and take 2 out, and nothing else is to be in it"
        rows = [(row["value"], row["note"], row["expires_at"]) for row in change["rows"]]
        assert rows == [("c-1", "stolen", end), ("c-2", "seen twice", "")]
        assert (change["out"], change["more"]) == (["old-1", "old-3"], 1)
        (told,) = [row.after for row in rows_of(asks.service.desk.store, AuditFilter(action="change.ask"))]
        assert {name: change[name] for name in ("says", "rows", "out", "more")} == json.loads(told)
        for place in (f"/lists/{LIST}", "/approvals"):
            page = re.sub(r"<[^>]+>", "", (await browser.get(place)).body.decode())
            assert "put in c-1: stolen (until 2 January 2033, 00:00:00)" in page
            assert "put in c-2: seen twice (without an end)" in page
            assert "take out old-1take out old-3and 1 more" in page

    run(bank, steps)


def test_a_whole_list_is_approved_only_as_it_was_when_that_was_requested(bank):
    with (bank / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write("second_person: [lists]\n")
    path = bank / "lists" / f"{LIST}.csv"
    project = app.open_exactly(bank)
    people = [replace(project.context.who, kind="user", id=name, name=name) for name in ("ann", "ben")]
    ann, ben = (project.acting_as(who).lists for who in people)
    for value, is_whole, is_any in (("a", True, True), ("a", True, False), ("d", False, False)):
        path.write_text(f"{HEAD}a,,,\nb,,,\n", encoding="utf-8")
        ann.change(LIST, [Entry(value)], is_whole=is_whole, tag="*" if is_any else ann.tag(LIST))
        (asked,) = project.agreements.asked(f"list {LIST}")
        path.write_text(f"{HEAD}a,,,\nb,,,\nc,,,\n", encoding="utf-8")
        with pytest.raises(ChangedMeanwhileError, match="has changed since"):
            ben.approve(LIST, asked.tag)
        assert project.agreements.asked(f"list {LIST}") == [], "it ends, and says why"
        assert [change["ended"] for change in project.run(ShowApprovals()).approvals] == [
            f"the list {LIST} has changed since; reload it and ask again"
        ]
        ben.change(LIST, [Entry(value)], is_whole=is_whole, tag="*" if is_any else ben.tag(LIST))
        assert [entry.value for entry in ann.entries(LIST)] == ["a", "b", "c"], "that is a request of its own"

        with pytest.raises(NotRequestedError):
            ben.approve(LIST, asked.tag)
        (asked,) = project.agreements.asked(f"list {LIST}")
        done = ann.approve(LIST, asked.tag)
        assert done.added + done.removed == (2 if is_whole else 1)
        project.agreements.forget(f"list {LIST}")
        assert project.run(ShowApprovals()).approvals == []


def test_a_request_that_has_ended_is_removed_by_who_may_edit_lists(bank):
    with (bank / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write("second_person: [lists]\n")
    project = app.open_exactly(bank)
    who = {name: replace(project.context.who, kind="user", id=name, name=name) for name in ("ann", "ben")}
    ann, ben = map(project.acting_as, who.values())
    viewer = project.acting_as(replace(who["ann"], rights=RIGHTS[Role.VIEWER]))
    ann.lists.change(LIST, [Entry("a")], tag=ann.lists.tag(LIST))
    (asked,) = project.agreements.asked(f"list {LIST}")
    removal = AnswerApproval(etag=asked.tag, approve=False)
    with pytest.raises(NotWaitingError):
        ann.run(removal)  # one that waits is on the page of its list
    (bank / "lists" / f"{LIST}.csv").write_text(f"{HEAD}b,,,\n", encoding="utf-8")
    with pytest.raises(ChangedMeanwhileError):
        ben.lists.approve(LIST, asked.tag)
    with pytest.raises(NotWaitingError):
        ben.run(AnswerApproval(etag=asked.tag, approve=True))
    with pytest.raises(NotAllowedError):
        viewer.run(removal)
    assert ben.run(removal).says == "The request is withdrawn."
    assert project.run(ShowApprovals()).approvals == []


@pytest.mark.slow
def test_the_page_of_a_list_shows_what_waits_for_a_second_person(bank):
    with (bank / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write("second_person: [lists]\n")

    async def steps(asks: Asker, browser: Browser) -> None:
        assert "said=asked" in (await send(browser, f"/lists/{LIST}", value="c-1", note="stolen")).headers["location"]
        page = (await browser.get(f"/lists/{LIST}")).body.decode()
        (asked,) = asks.service.project.agreements.asked(f"list {LIST}")

        assert "Waiting for approval" in page
        assert asked.tag in page
        assert (await send(browser, f"/lists/{LIST}/approve", etag=asked.tag)).status == 403

        assert ">Open<" in (await browser.get("/approvals")).body.decode()
        asks.service.project.agreements.put(replace(asked, ended="the list has changed since"))
        assert ">Remove<" in (await browser.get("/approvals")).body.decode()
        assert (await send(browser, f"/approvals/{asked.tag}", do="")).status == 200
        assert asks.service.project.agreements.all() == []

    run(bank, steps)
