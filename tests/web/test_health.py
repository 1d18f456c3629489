"""How all is, as a page and for programs; and input that was refused, brought back in or dropped by who may."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.errors import StorageError
from shroff.monitoring.doctor import OK, WRONG, Finding
from shroff.people import users
from shroff.people.access import Role
from shroff.people.store import AuditFilter
from shroff.services import project as app
from shroff.services.health.checks import HealthChecks
from shroff.streams.log import Refused
from shroff.web.api.health import HealthBoard, Known
from shroff.web.api.operator_alerts import ALERTS_MAX, ENDS_AFTER_MS, TEXT_MAX, FiringAlert, OperatorAlerts, PostedAlert
from tests.support.webs import PASSWORD, Answered, Asker, Browser, asker, run

pytestmark = pytest.mark.slow

TEMPLATE = TEMPLATE_FOLDER / "payments"
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    shutil.copytree(TEMPLATE, tmp_path / "bank")
    return tmp_path / "bank"


async def call(browser: Browser, method: str, path: str, body: object = None) -> Answered:
    headers = {"x-csrf-token": await browser.csrf(), "content-type": "application/json", "accept": "*/*"}
    return await browser.send(method, path, b"" if body is None else msgspec.json.encode(body), headers)


async def refuse(browser: Browser, *ids: str) -> list[Any]:
    """Put events into quarantine; gives its entries, newest first."""
    sent = [
        {"payment_id": item, "paid_at": "2026-01-05T08:30:00Z", "card": "c-1", "merchant": EVIL, "amount": "1,50"}
        for item in ids
    ]
    await call(browser, "POST", "/api/v1/events/payment", sent)
    found: list[Any] = (await call(browser, "GET", "/api/v1/quarantine")).json()["entries"]
    return found


async def looked(browser: Browser) -> str:
    """The page, once it shows what was found."""
    for _ in range(12_000):
        page = (await browser.get("/checks")).body.decode()
        if "data-again" not in page:
            return page
        await asyncio.sleep(0.05)
    raise AssertionError(page)


def acts(asks: Asker, action: str) -> list[Any]:
    with asks.service.desk.store.look() as look:
        return look.record(AuditFilter(action=action))


def test_what_the_doctor_says_is_on_the_page_and_for_programs(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        found = (await call(browser, "GET", "/api/v1/health")).json()
        assert (found["ok"], found["ready"], found["state"]) == (True, True, "leading")
        assert {"project", "log", "clock"} <= {finding["subject"] for finding in found["findings"]}
        page = await looked(browser)
        assert "All checks are OK." in page
        assert "Quarantine is empty" in page
        again = await browser.post("/checks", {"csrf": await browser.csrf()})
        assert again.headers["location"] == "/checks"

    run(bank, steps)


def test_what_is_wrong_stands_first_with_its_cure(bank, monkeypatch):
    found = [Finding("clock", OK, "well"), Finding("disk", WRONG, f"full of {EVIL}", "Make room.")]
    monkeypatch.setattr(HealthChecks, "doctor", lambda self, seen: found)

    async def steps(asks: Asker, browser: Browser) -> None:
        page = await looked(browser)
        assert "1 problem" in page
        assert page.index("full of &lt;script&gt;") < page.index("Make room.") < page.index("Clock")
        assert EVIL not in page
        assert not (await call(browser, "GET", "/api/v1/health")).json()["ok"]

    run(bank, steps)


def test_an_entry_that_was_corrected_and_sent_again_is_shown_as_fixed(bank):
    def sent(id_: str, amount: str = "1.50", **more: str) -> dict[str, str]:
        known = {"payment_id": id_, "paid_at": "2026-01-05T08:30:00Z", "merchant": "m-1", "terminal": "t-1"}
        return {**known, "card": "c-1", "country": "DE", "channel": "pos", "amount": amount, **more}

    async def steps(asks: Asker, browser: Browser) -> None:
        async def post(*events: object) -> None:
            await call(browser, "POST", "/api/v1/events/payment", [*events])

        await post(sent("known"))
        await post(sent("known", "2.50"))  # the id was in the log before: this entry is another event
        await post(sent("p-1", "1,50"), sent("p-2", "1,50"), sent("p-3", "1,50", country="p-4"))
        other = {
            "paid_at": "2026-01-06T08:30:00Z",
            "merchant": "m-2",
            "terminal": "t-2",
            "card": "c-2",
            "country": "FR",
        }
        await post(sent("p-1"), sent("p-4", **other, channel="web"))
        entries = (await call(browser, "GET", "/api/v1/quarantine")).json()["entries"]
        fixed = {msgspec.json.decode(entry["raw"])["payment_id"]: entry["fixed_by"] for entry in entries}
        assert fixed == {"known": None, "p-1": "payment/p-1", "p-2": None, "p-3": None}
        page = (await browser.get("/checks")).body.decode()
        assert "<span>3 open, newest first; 1 fixed</span>" in page
        broken = [sent(f"q-{number}", "1,50") for number in range(21)]
        await post(*broken)
        later = (await browser.get("/checks")).body.decode()  # the one that is fixed is not among those shown
        assert "<span>24 open, the newest 20 shown; 1 fixed</span>" in later
        assert 'Accepted as <a href="/find?q=payment/p-1">payment p-1</a>' in page

    run(bank, steps)


ODD = (
    b"",
    b"a\rb",
    b'a,"b\rc',
    b"x" * 200_000,
    b"[1, 2]",
    b'{"payment_id": "p-\\u0000"}',
    b"\xff\x00;1",
    b"[" * 9_000,
    b'{"n": 1%s}' % (b"0" * 5_000),
)


def test_a_line_of_a_file_is_fixed_by_the_event_with_its_own_id_and_two_more_of_its_values(bank):
    project = app.open_exactly(bank)
    fields = {"paid_at": "2026-01-05T08:30:00Z", "card": "c-1", "merchant": "m-1", "terminal": "t-1"}
    event = {"payment_id": "p-1", **fields, "amount": "1.50", "country": "DE", "channel": "pos"}
    raw = msgspec.json.encode(event | {"amount": "1,50"})
    other = msgspec.json.encode(event | {"payment_id": "p-2", "channel": "p-1"})
    cells = b"p-1,2026-01-05T08:30:00Z,c-1,m-1,t-1,x,DE,pos\n"  # of columns that stand elsewhere
    given = [(raw, 0), (raw, 2**60), (b'{"payment_id":"p-1","card":"c-1"}\n', 0), (other, 0)]
    entries = [
        (number, Refused("march.jsonl", "3", "payment", "amount", line, at_ms))
        for number, (line, at_ms) in enumerate([*given, *((item, 0) for item in ODD)])
    ]
    entries.append((len(entries), Refused("march.csv", "3", "payment", "amount", cells, 0)))
    project.decide([event], as_type="payment")
    with project.log.reading() as log:
        assert project.quarantine.fixed(log, entries) == {0: "payment/p-1"}


def test_entries_of_quarantine_are_retried_and_dropped_by_their_numbers(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        entries = await refuse(browser, "p-1", "p-2", "p-3")
        assert [entry["raw"].count(EVIL) for entry in entries] == [1, 1, 1]
        page = (await browser.get("/checks")).body.decode()
        assert "&lt;script&gt;alert(1)" in page
        assert EVIL not in page
        csrf = await browser.csrf()
        numbers = [entry["number"] for entry in entries]
        again = await browser.post("/checks/quarantine", {"csrf": csrf, "numbers": str(numbers[0]), "do": "retry"})
        assert again.headers["location"] == "/checks?taken=0&refused+again=1"
        assert b"0 taken, 1 refused again." in (await browser.get(again.headers["location"])).body
        gone = await browser.post("/checks/quarantine", {"csrf": csrf, "numbers": str(numbers[1]), "do": "drop"})
        assert gone.headers["location"] == "/checks?dropped=1"
        for form in ({"numbers": str(numbers[1])}, {"numbers": "x"}, {}):
            assert (await browser.post("/checks/quarantine", {"csrf": csrf, **form})).status == 422
        tried = (await call(browser, "POST", "/api/v1/quarantine/retry", {"numbers": [numbers[2]]})).json()
        assert (tried["taken"], tried["quarantined"]) == (0, 1)
        dropped = await call(browser, "POST", "/api/v1/quarantine/drop", {"numbers": [numbers[0], numbers[2]]})
        assert dropped.json() == {"dropped": 2}
        assert (await call(browser, "POST", "/api/v1/quarantine/drop", {"numbers": numbers})).status == 400
        assert (await call(browser, "POST", "/api/v1/quarantine/drop", {"numbers": ["x"]})).status == 422
        assert [act.name for act in acts(asks, "quarantine")] == ["ann"] * 4

    run(bank, steps)


def test_quarantine_is_for_who_may_mend_it(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await refuse(browser, "p-1")
        me = asks.service.project.context.who
        await asyncio.to_thread(users.add, asks.service.desk, me, "art", Role.AUTHOR, password=PASSWORD)
        await browser.post("/login", {"name": "art", "password": PASSWORD})
        page = (await browser.get("/checks")).body.decode()
        assert "alert(1)" not in page
        assert "/checks/quarantine" not in page
        assert (await browser.post("/checks/quarantine", {"csrf": await browser.csrf(), "numbers": "1"})).status == 403
        assert (await asks.ask("GET", "/api/v1/quarantine", key="author")).status == 401

    run(bank, steps)


def test_looks_are_shared_and_who_wants_a_new_one_has_it_after_a_moment(bank, monkeypatch):
    project, now, looked = app.open_exactly(bank), [0.0], list[int]()
    monkeypatch.setattr(HealthChecks, "doctor", lambda self, seen: looked.append(1) or [])
    board = HealthBoard(project, lambda: now[0])

    board.look()
    board.look(is_now=True)
    assert len(looked) == 1
    now[0] = 6.0
    board.look()
    assert len(looked) == 1
    board.look(is_now=True)
    assert len(looked) == 2
    now[0] = 70.0
    board.look()
    assert len(looked) == 3


def test_a_page_shows_what_is_known_while_a_look_goes_on(bank, monkeypatch):
    answers, asked = Event(), Event()

    def doctor(*_: object) -> list[Finding]:
        asked.set()
        assert answers.wait(120)
        return [Finding("disk", WRONG, "full", "Make room.")]

    monkeypatch.setattr(HealthChecks, "doctor", doctor)

    async def steps(asks: Asker, browser: Browser) -> None:
        first = (await browser.get("/checks")).body.decode()
        assert await asyncio.to_thread(asked.wait, 120)  # on a thread that may begin late
        assert "A check is running." in first
        assert "Nothing is wrong" not in first
        assert "Quarantine is empty" in first
        answers.set()
        assert "1 problem" in await looked(browser)

        answers.clear()
        monkeypatch.setattr("shroff.web.api.health.FRESH_S", 0.0)
        stale = (await browser.get("/checks")).body.decode()
        assert "1 problem" in stale
        assert "; a new check is running." in stale
        monkeypatch.setattr("shroff.web.api.health.OLD_S", 0.0)
        assert "1 problem" not in (await browser.get("/checks")).body.decode(), "that said nothing of now"
        answers.set()
        assert (await call(browser, "GET", "/api/v1/health")).json()["findings"][0]["subject"] == "disk"

    run(bank, steps)


def test_a_look_that_fails_beside_a_page_is_told_the_next_one_and_then_made_again(bank, monkeypatch):
    fails, found = Event(), list[object]()

    def doctor(*_: object) -> list[Finding]:
        if found:
            return []
        assert fails.wait(120)
        raise StorageError("the disk is gone")

    monkeypatch.setattr(HealthChecks, "doctor", doctor)
    board = HealthBoard(app.open_exactly(bank))

    async def steps() -> None:
        assert await board.known(asyncio.to_thread) == Known(None, is_looking=True)
        monkeypatch.setattr("shroff.web.api.health.PATIENCE_S", 60.0)
        fails.set()
        with pytest.raises(StorageError, match="disk is gone"):
            await board.known(asyncio.to_thread)
        found.append(1)
        assert (await board.known(asyncio.to_thread)).look is not None

    asyncio.run(steps())


# ---- alerts for operators


def posted(**changes: Any) -> dict[str, Any]:
    """An alert as Alertmanager posts it."""
    return {
        "status": "firing",
        "labels": {"alertname": "ShroffWaits", "severity": "warning", "instance": "shroff:8080"},
        "annotations": {"summary": f"it waits {EVIL}", "runbook_url": "https://docs.test/service.md#shroffwaits"},
        "startsAt": "2026-01-05T08:30:00.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": "f-1",
    } | changes


async def post_alerts(asks: Asker, *alerts: object, key: str) -> Answered:
    webhook = {"version": "4", "status": "firing", "receiver": "health", "alerts": alerts, "truncatedAlerts": 0}
    return await asks.ask("POST", "/api/v1/health/alerts", webhook, key=key)


def test_alerts_that_alertmanager_posts_are_shown_until_they_are_resolved(bank, monkeypatch):
    monkeypatch.setattr(HealthChecks, "doctor", lambda self, seen: [])
    down = {"labels": {"alertname": "ShroffDown", "severity": "critical"}, "annotations": {}, "fingerprint": "f-2"}

    async def steps(asks: Asker, browser: Browser) -> None:
        made = {"name": "alertmanager", "role": "service", "scopes": ["post:alerts"]}
        key = (await call(browser, "POST", "/api/v1/keys", made)).json()["key"]
        assert "No alert fires" in await looked(browser)
        assert (await post_alerts(asks, posted(), posted(**down), key=key)).json() == {"firing": 2}
        found = (await call(browser, "GET", "/api/v1/health")).json()["alerts"]
        assert [(item["name"], item["severity"], item["instance"]) for item in found] == [
            ("ShroffDown", "critical", None),
            ("ShroffWaits", "warning", "shroff:8080"),
        ]
        assert found[1]["since"] == "2026-01-05T08:30:00.123Z"
        page = await looked(browser)
        assert "2 Prometheus alerts" in page
        assert '<a href="https://docs.test/service.md#shroffwaits"' in page
        assert "it waits &lt;script&gt;" in page
        assert EVIL not in page
        assert (await post_alerts(asks, posted(status="resolved"), key=key)).json() == {"firing": 1}
        page = await looked(browser)
        assert "ShroffWaits" not in page
        assert "ShroffDown" in page

    run(bank, steps)


def test_only_webhooks_of_alertmanager_with_a_key_that_may_post_alerts_are_taken(bank):
    wrong = ({"status": "odd"}, {"startsAt": "today"}, {"fingerprint": "f" * 65}, {"labels": {"severity": 1}})

    async def steps() -> None:
        async with asker(bank) as asks:
            for key, status in {"": 401, "viewer": 403, "nothing": 403, "author": 403}.items():
                assert (await post_alerts(asks, posted(), key=key)).status == status
            for item in wrong:
                assert (await post_alerts(asks, posted(), posted(**item), key="service")).status == 422
            assert (await post_alerts(asks, *[posted()] * (ALERTS_MAX + 1), key="service")).status == 422
            long = posted(annotations={"summary": "x" * 512 * 1024})
            assert (await post_alerts(asks, long, key="service")).status == 413
            assert (await post_alerts(asks, key="service")).json() == {"firing": 0}

    asyncio.run(steps())


def alerts_of(*changes: dict[str, Any]) -> list[PostedAlert]:
    return [msgspec.convert(posted(**change), PostedAlert) for change in changes]


def test_an_alert_ends_without_a_repeat():
    alerts, now_ms = OperatorAlerts(), 1_800_000_000_000
    alerts.take(alerts_of({}, {"fingerprint": "f-2"}), now_ms)
    alerts.take(alerts_of({}), now_ms + 60_000)

    assert len(alerts.firing(now_ms + ENDS_AFTER_MS - 1)) == 2
    assert len(alerts.firing(now_ms + ENDS_AFTER_MS)) == 1
    assert alerts.firing(now_ms + ENDS_AFTER_MS + 60_000) == []


def test_of_too_many_alerts_the_most_severe_are_kept_and_long_texts_are_cut():
    alerts, now_ms = OperatorAlerts(), 1_800_000_000_000
    alerts.take(alerts_of(*({"fingerprint": f"f-{at}"} for at in range(ALERTS_MAX))), now_ms)
    critical = {"alertname": "a" * 5_000, "severity": "critical"}
    odd = {"startsAt": "0001-01-01T00:00:00Z", "annotations": {"runbook_url": "javascript:alert(1)"}}
    alerts.take(alerts_of({"fingerprint": "new", "labels": critical} | odd), now_ms)
    first, *others = alerts.firing(now_ms)

    assert first == FiringAlert("a" * TEXT_MAX, "critical", None, None, None, "1970-01-01T00:00:00Z")
    assert len(others) == ALERTS_MAX - 1
