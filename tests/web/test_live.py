"""What happens now: the figures, the page without a script, and the stream that ends when it has to."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from starlette.types import ASGIApp

from shroff.config import TEMPLATE_FOLDER
from shroff.monitoring import live_metrics
from shroff.monitoring.live_metrics import DAY_MS, HOUR_MS, MINUTE_MS, Pulse
from shroff.people import sessions
from shroff.people.access import Right, Role
from shroff.runtime.values import replace
from shroff.streams.log import Counts
from shroff.web.api import live as board
from shroff.web.http import streaming
from shroff.web.http.asgi import Application
from shroff.web.pages import decisions, live
from shroff.web.pages.cases import decided
from shroff.web.pages.charts.strips import Strip
from shroff.web.pages.renderer import environment
from shroff.web.pages.words import per_second
from shroff.web.service import Service
from shroff.web.table import PAGES, table
from shroff.worker.outbox import SinkState, leaving
from tests.support.webs import PASSWORD, Asker, Browser, Gate, asker, run, who

pytestmark = pytest.mark.slow

TEMPLATE = TEMPLATE_FOLDER / "payments"
EVIL = '<script>alert("x")</script>'
RULE = """
- id: large
  on: payment
  by: card
  when: this.amount >= 1000
  reason: Paid at {this.merchant}
  effect: review
"""


def payment(number: int, paid_at: str, amount: str = "20.00", **fields: str) -> dict[str, str]:
    known = {"payment_id": f"p-{number}", "paid_at": paid_at, "card": f"c-{number}", "merchant": "m-1"}
    return {**known, "terminal": "t-1", "amount": amount, "country": "DE", "channel": "pos", **fields}


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(TEMPLATE, tmp_path / "bank")
    (tmp_path / "bank" / "rules" / "large.yaml").write_text(RULE, encoding="utf-8")
    monkeypatch.setattr(board, "FRESH_S", 0.0)
    monkeypatch.setattr(live, "EVERY_S", 0.01)
    return tmp_path / "bank"


async def post(browser: Browser, *events: object) -> None:
    csrf = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
    found = await browser.send("POST", "/api/v1/events/payment", msgspec.json.encode(events), csrf)
    assert found.status == 200
    assert all("receipt" in row for row in found.json()), found.body


async def figures(browser: Browser, query: str = "") -> Any:
    found = await browser.get(f"/api/v1/live{query}")
    assert found.status == 200, found.body
    return found.json()


class Listener:
    """Somebody who opened the stream, and hears what comes."""

    def __init__(
        self,
        asks: Asker,
        browser: Browser,
        path: str = "/live/stream",
        query: str = "",
        application: ASGIApp | None = None,
    ) -> None:
        self.heard: list[bytes] = []
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self._left = asyncio.Event()
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        headers = [(b"accept", b"text/event-stream"), (b"cookie", cookie.encode()), (b"host", b"shroff.test")]
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
        }
        application = application or Application(asks.service, table(), asks.told.append)
        whole = {**scope, "headers": headers, "client": ("127.0.0.1", 1)}
        self.task = asyncio.ensure_future(application(whole, self._receive, self._send))

    async def _receive(self) -> Any:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        elif message["body"]:
            self.heard.append(message["body"])

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(120):
            while True:
                if is_so():
                    return
                await asyncio.sleep(0.01)

    async def leave(self) -> None:
        self._left.set()
        async with asyncio.timeout(120):
            await self.task

    @property
    def parts(self) -> list[dict[str, Any]]:
        return self.told("parts")

    def told(self, name: str) -> list[dict[str, Any]]:
        """The contents of the events of a name."""
        begin = f"event: {name}\ndata: ".encode()
        return [msgspec.json.decode(text.removeprefix(begin)) for text in self.heard if text.startswith(begin)]


# ---- figures


def test_figures_are_those_of_the_period_up_to_the_newest_event(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        assert (await figures(browser))["decided"] == 0
        early = payment(1, "2026-01-04T09:00:00Z", "5000.00")
        await post(browser, early, payment(2, "2026-01-05T08:00:00Z"), payment(3, "2026-01-05T08:30:00Z", "1500.00"))
        hour, week = await figures(browser, "?period=1h"), await figures(browser, "?period=7d")

        assert (hour["from"], hour["to"]) == ("2026-01-05T07:31:00Z", "2026-01-05T08:31:00Z")
        assert (hour["came"], hour["decided"], hour["is_whole"]) == (2, 2, True)
        assert hour["by_outcome"]["review"] == {"count": 1, "money": "1500.00"}
        assert week["by_outcome"]["review"] == {"count": 2, "money": "6500.00"}
        assert [step["decided"] for step in hour["steps"] if step["decided"]] == [1, 1]
        assert {rule["rule"]: rule["hits_1h"] for rule in hour["rules"]}["large"] == 1
        await browser.send(
            "POST",
            "/api/v1/labels",
            msgspec.json.encode(
                {"event": "payment/p-3", "verdict": "fraud", "source": "analyst", "known_at": "2026-01-05T08:40:00Z"}
            ),
            {"x-csrf-token": await browser.csrf(), "content-type": "application/json"},
        )
        assert (await figures(browser, "?period=1h"))["verdicts"] == {"fraud": 1}
        assert (await browser.get("/api/v1/live?period=2h")).status == 400

    run(bank, steps)


def test_a_rule_that_hits_far_more_often_than_in_the_hours_before_is_a_spike(bank):
    def burst(hour: int, count: int, first: int) -> list[dict[str, str]]:
        return [
            payment(first + number, f"2026-01-05T{hour:02d}:{10 + number}:00Z", "1200.00") for number in range(count)
        ]

    async def steps(asks: Asker, browser: Browser) -> None:
        usual = [item for hour in range(1, 9) for item in burst(hour, 1, 100 * hour)]
        await post(browser, *usual, payment(5, "2026-01-05T09:59:00Z", "1200.00"))
        assert not any(rule["is_spike"] for rule in (await figures(browser))["rules"])
        assert b"more than three times as often as usual" not in (await browser.get("/live")).body
        await post(browser, *burst(9, 9, 1_000))
        found = {rule["rule"]: rule for rule in (await figures(browser))["rules"]}["large"]
        assert found["is_spike"]
        assert found["usual_1h"] == {"low": 1, "high": 1}
        assert b"more than three times as often as usual" in (await browser.get("/live")).body

    run(bank, steps)


def test_a_log_that_was_there_before_is_counted_backwards_and_then_followed(bank, monkeypatch):
    monkeypatch.setattr("shroff.monitoring.live_metrics.BLOCK", 3)

    async def steps(asks: Asker, browser: Browser) -> None:
        await post(
            browser, *[payment(number, f"2026-01-05T08:{number:02d}:00Z", "1200.00") for number in range(10, 20)]
        )
        project, pulse = asks.service.project, Pulse()
        with project.log.reading() as log:
            assert pulse.follow(log, project.definitions)
            first = pulse.figures(HOUR_MS, MINUTE_MS)
            assert not first.is_whole
            assert [item.id for item in first.newest] == ["p-19", "p-18", "p-17"]
            while pulse.follow(log, project.definitions):
                pass
            whole = pulse.figures(DAY_MS, HOUR_MS)
            assert (whole.decided, whole.is_whole, whole.counted_from) == (10, True, 1)
            assert {item.rule for item in whole.rules} == {rule.id for rule in project.definitions.rules}
            assert [item.id for item in whole.newest] == [f"p-{number}" for number in range(19, 9, -1)]
        await post(browser, payment(20, "2026-01-05T08:20:00Z", "1200.00"))
        with project.log.reading() as log:
            pulse.follow(log, project.definitions)
        assert pulse.figures(DAY_MS, HOUR_MS).newest[0].id == "p-20"

    run(bank, steps)


def test_a_period_that_is_longer_than_what_is_looked_back_at_is_never_whole(bank, monkeypatch):
    monkeypatch.setattr("shroff.monitoring.live_metrics.BLOCK", 3)

    async def steps(asks: Asker, browser: Browser) -> None:
        await post(browser, *[payment(number, f"2025-12-01T08:{number:02d}:00Z") for number in range(5)])
        await post(browser, *[payment(number, f"2026-01-05T08:{number:02d}:00Z") for number in range(10, 20)])
        found = []
        for places in (4, 10, 14, 16):
            monkeypatch.setattr("shroff.monitoring.live_metrics.LOOKED_BACK", places)
            pulse = Pulse()
            with asks.service.project.log.reading() as log:
                while pulse.follow(log, asks.service.project.definitions):
                    pass
            day = pulse.figures(DAY_MS, HOUR_MS)
            found.append((day.decided, day.is_whole, pulse.figures(MINUTE_MS, MINUTE_MS).is_whole))

        assert found == [(4, False, True), (10, False, True), (10, True, True), (10, True, True)]

    run(bank, steps)


def counts_on(page: str) -> tuple[str, ...]:
    """Open cases in the navigation, open cases on the screen, snoozed ones."""
    places = ('data-part="open">', 'Open cases</a>.*?number">', 'Snoozed cases</a>.*?number">')
    found = [re.search(place + r"(\d+)<", page) for place in places]
    return tuple(item[1] if item else "" for item in found)


def test_open_cases_are_told_with_what_they_have_at_stake(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        assert (await figures(browser))["cases"] == {"open": 0, "snoozed": 0, "at_stake": None, "first_due": None}
        page = (await browser.get("/live")).body.decode()
        assert "No case waits for an answer. No rule hits unusually often, and nothing is in quarantine" in page
        large = payment(1, "2026-01-05T08:30:00Z", "1234.50"), payment(2, "2026-01-05T08:31:00Z", "2000.00")
        await post(browser, *large)
        for _ in range(12_000):
            found = (await figures(browser))["cases"]
            if found["open"] == 2:
                break
            await asyncio.sleep(0.05)
        assert found["at_stake"] == "3234.50"
        assert found["first_due"] is not None
        page = (await browser.get("/live")).body.decode()
        assert '<a href="/queue">2 cases wait</a> for an answer, 3,234.50\N{NO-BREAK SPACE}EUR at stake.' in page
        assert counts_on(page) == ("2", "2", "0")
        done = await browser.post("/cases/1/snooze", {"csrf": await browser.csrf(), "for": "4h", "tag": ""})
        assert done.status == 303
        assert counts_on((await browser.get("/live")).body.decode()) == ("1", "1", "1")
        found = (await figures(browser))["cases"]
        assert (found["open"], found["snoozed"], found["at_stake"]) == (1, 1, "2000.00")
        await browser.post("/cases/2/snooze", {"csrf": await browser.csrf(), "for": "4h", "tag": ""})
        assert (await figures(browser))["cases"] == {"open": 0, "snoozed": 2, "at_stake": None, "first_due": None}
        page = (await browser.get("/live")).body.decode()
        backlog = page.partition('data-part="backlog"')[2].partition("Snoozed cases")[0]
        assert "No case waits for an answer." in page
        assert ["at stake" in backlog, "due " in backlog] == [False, False]
        listener = Listener(asks, browser)
        await listener.until(lambda: bool(listener.parts))
        assert re.findall(r'">(\d+)</td>', listener.parts[0]["backlog"])[:2] == ["0", "2"]
        await listener.leave()

    run(bank, steps)


def test_a_key_that_may_not_read_cases_gets_no_figures_of_them(bank):
    async def whole() -> None:
        async with asker(bank) as asks:
            gate = asks.service.gate
            assert isinstance(gate, Gate)
            gate.known["narrow"] = who(Role.VIEWER, frozenset([Right.READ_DECISIONS]))
            assert "cases" in (await asks.ask("GET", "/api/v1/live", key="viewer")).json()
            assert "cases" not in (await asks.ask("GET", "/api/v1/live", key="narrow")).json()

    asyncio.run(whole())


def test_all_who_look_within_a_second_are_shown_one_look_whose_parts_are_made_once(bank, monkeypatch):
    async def steps(asks: Asker, browser: Browser) -> None:
        await post(browser, payment(1, "2026-01-05T08:30:00Z"))
        monkeypatch.setattr(board, "FRESH_S", 600.0)
        look = asks.service.board.look
        first = await asyncio.to_thread(look, board.PERIODS["1h"], 0, 0.0)
        assert await asyncio.to_thread(look, board.PERIODS["1h"], 0, 0.0) is first
        assert await asyncio.to_thread(look, board.PERIODS["7d"], 0, 0.0) is not first
        shown = first, asks.service, first.cases, False
        once = await asyncio.to_thread(live._rendered, *shown)
        assert once is await asyncio.to_thread(live._rendered, *shown)

    run(bank, steps)


def test_what_failed_leads_to_the_checks_only_who_may_open_them(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        look = await asyncio.to_thread(asks.service.board.look, board.PERIODS["1h"], 0, 0.0)
        out = leaving([SinkState("decided", "webhook", "decisions", 3, 0, None, 1)])
        failed = replace(look, counts=Counts(refused=2, waiting=0, outbox=0, stuck=1), leaving=out)
        (checks,) = [page.right for page in PAGES if page.path == "/checks" and page.method == "GET"]
        assert checks is not None
        for role in Role:
            seen = live._seen_by(failed, who(role))
            told = (await asyncio.to_thread(live._rendered, failed, asks.service, *seen))["spike"]
            assert "2 in quarantine, 1 failed to send" in re.sub("<[^>]*>", "", told)
            assert ('<a href="/checks">' in told) is who(role).may(checks)

    run(bank, steps)


# ---- the page and its stream


def test_the_page_shows_all_without_a_script_and_makes_nothing_of_the_data_a_part_of_it(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        assert b"No events yet" in (await browser.get("/live")).body
        await post(browser, payment(1, "2026-01-05T08:30:00Z", "1234.50", merchant=EVIL))
        page = (await browser.get("/live?period=1h")).body.decode()
        assert "1,234.50\N{NO-BREAK SPACE}EUR" in page
        assert "/decisions/payment/p-1" in page
        assert "&lt;script&gt;alert" in page
        assert "<script>" not in page
        assert (await browser.get("/live?period=x")).status == 400

    run(bank, steps)


def test_a_row_whose_reason_the_page_did_not_wait_for_says_where_it_comes_from(bank, monkeypatch):
    async def steps(asks: Asker, browser: Browser) -> None:
        await post(browser, payment(1, "2026-01-05T08:30:00Z", "1234.50"))
        with monkeypatch.context() as patch:
            patch.setattr(asks.service.reasons, "of", lambda names, within_s=0.0: {})
            waits = (await browser.get("/live?period=1h")).body.decode()
        assert 'data-why="/decisions/payment/p-1/why"' in waits
        assert b"Paid at m-1" in (await browser.get("/decisions/payment/p-1/why")).body
        assert "data-why" not in (await browser.get("/live?period=1h")).body.decode()

    run(bank, steps)


@pytest.mark.parametrize("path", ["/live?period=1h", "/decisions"])
def test_a_row_whose_reason_is_on_its_way_does_not_say_that_there_is_none(bank, monkeypatch, path):
    for module in (live_metrics, decisions, decided):  # as if the score alone had decided
        monkeypatch.setattr(module, "rule_reasons", lambda _document: [])

    async def steps(asks: Asker, browser: Browser) -> None:
        def reason(page: str) -> str:
            (cell,) = re.findall(r'<td class="second"[^>]*>(.*?)</td>', page, re.DOTALL)
            return str(cell).strip()

        await post(browser, payment(1, "2026-01-05T08:30:00Z", "1234.50"))
        monkeypatch.setattr(asks.service.reasons, "of", lambda names, within_s=0.0: {})
        assert reason((await browser.get(path)).body.decode()) == "…"
        none = dict.fromkeys([("payment", "p-1")])
        monkeypatch.setattr(asks.service.reasons, "of", lambda names, within_s=0.0: none)
        assert reason((await browser.get(path)).body.decode()) == "By the score alone"
        assert b"By the score alone" in (await browser.get("/decisions/payment/p-1/why")).body

    run(bank, steps)


def test_the_stream_tells_the_parts_that_changed(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        listener = Listener(asks, browser)
        await listener.until(lambda: len(listener.parts) == 1)
        assert set(listener.parts[0]) == {*live.PARTS, "open"}
        assert listener.parts[0]["open"] == ""
        assert listener.headers[b"content-type"] == b"text/event-stream"
        assert b"content-length" not in listener.headers
        await post(browser, payment(1, "2026-01-05T08:30:00Z", "1234.50"))
        await listener.until(lambda: any("p-1" in part.get("newest", "") for part in listener.parts))
        assert set(listener.parts[-1]) < {*live.PARTS, "open"}  # the case that it raises may be there already
        await listener.leave()
        assert asks.service.streams.count == 0

    run(bank, steps)


def test_the_stream_tells_times_of_the_day_in_the_zone_of_the_page(bank, monkeypatch):
    monkeypatch.setattr(live, "_rendered", lambda *_: {"newest": '<time data-clock="0">00:00 UTC</time>'})

    async def steps(asks: Asker, browser: Browser) -> None:
        listener = Listener(asks, browser)
        await listener.until(lambda: len(listener.parts) == 1)
        assert listener.parts[0]["newest"] == "<time>01:00</time>"
        await listener.leave()

    run(bank, steps)


def test_a_stream_says_that_it_is_still_there(bank, monkeypatch):
    monkeypatch.setattr(streaming, "STILL_HERE_S", 0.05)

    async def steps(asks: Asker, browser: Browser) -> None:
        listener = Listener(asks, browser)
        await listener.until(lambda: b": still here\n\n" in listener.heard)
        await listener.leave()

    run(bank, steps)


def test_streams_of_one_session_are_few_and_their_room_comes_back(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        listeners = [Listener(asks, browser) for _ in range(streaming.OF_SESSION_MAX)]
        for listener in listeners:
            await listener.until(lambda listener=listener: bool(listener.heard))
        refused = Listener(asks, browser)
        await refused.task
        assert refused.status == 429
        await listeners[0].leave()
        again = Listener(asks, browser)
        await again.until(lambda: bool(again.heard))
        for listener in (*listeners[1:], again):
            await listener.leave()
        assert asks.service.streams.count == 0

    run(bank, steps)


def test_a_stream_ends_with_the_service_and_with_its_session(bank, monkeypatch):
    monkeypatch.setattr(streaming, "CHECKED_EVERY_S", 0.05)

    async def steps(asks: Asker, browser: Browser) -> None:
        listener = Listener(asks, browser)
        await listener.until(lambda: bool(listener.heard))
        await asyncio.to_thread(sessions.sign_out, asks.service.desk, browser.cookies["shroff_session"])
        async with asyncio.timeout(120):
            await listener.task
        nobody = Listener(asks, browser)
        await nobody.task
        assert nobody.status == 303
        await browser.post("/login", {"name": "ann", "password": PASSWORD})
        last = Listener(asks, browser)
        await last.until(lambda: bool(last.heard))
        asks.service.is_ending = True
        async with asyncio.timeout(120):
            await last.task
        assert asks.service.streams.count == 0

    run(bank, steps)


def test_a_stream_ends_with_the_rights_and_with_the_network_that_it_began_with(bank, monkeypatch):
    monkeypatch.setattr(streaming, "CHECKED_EVERY_S", 0.05)

    async def steps(asks: Asker, browser: Browser) -> None:
        gate = asks.service.gate
        known = gate.signed_in

        def with_fewer_rights(token: str, *, is_use: bool = True, device: str = "") -> Any:
            found = known(token, is_use=is_use, device=device)
            return replace(found, who=replace(found.who, rights=frozenset()))

        for owner, name, other in ((gate, "signed_in", with_fewer_rights), (Service, "is_allowed", lambda *_: False)):
            listener = Listener(asks, browser)
            await listener.until(lambda listener=listener: bool(listener.heard))
            with monkeypatch.context() as patched:
                patched.setattr(owner, name, other)
                async with asyncio.timeout(120):
                    await listener.task
                again = Listener(asks, browser)
                await again.task
            assert again.status == 403

    run(bank, steps)


def test_listening_is_no_use_of_a_session(bank, monkeypatch):
    uses: list[bool] = []

    async def steps(asks: Asker, browser: Browser) -> None:
        known = asks.service.gate.signed_in

        def signed_in(token: str, *, is_use: bool = True, device: str = "") -> Any:
            uses.append(is_use)
            return known(token, is_use=is_use)

        monkeypatch.setattr(asks.service.gate, "signed_in", signed_in)
        listener = Listener(asks, browser)
        await listener.until(lambda: bool(listener.heard))
        await listener.leave()
        assert uses
        assert not any(uses)
        await browser.get("/live")
        assert uses[-1]

    run(bank, steps)


# ---- charts and words


def test_a_line_and_bars_lie_within_their_box():
    line, bars = live._line([0, 7, 3]), live._bars([0, 4, 2])

    assert line.lines == [("now", "166.7,150.0 500.0,45.0 833.3,105.0")]
    assert [(item.at, item.says) for item in line.across] == [(75, "2.5"), (50, "5"), (25, "7.5"), (0, "10")]
    assert [(spot.x, spot.y) for spot in line.spots] == [(83.33, 70)]
    assert [(y, height) for _, y, _, height in bars] == [(0, 100), (50, 50)]
    assert live._line([]).lines == []
    assert live._bars([]) == []


@pytest.mark.parametrize(
    ("rate", "said"),
    [(0.05, "3 a minute"), (2.25, "2.2 a second"), (1_234.0, "1,234 a second"), (0.0133, "48 an hour")],
)
def test_a_rate_is_said_in_the_unit_that_fits(rate, said):
    assert per_second(rate) == said


def test_the_head_of_the_page_counts_the_rules_outside_their_usual_range(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await post(browser, *(payment(hour, f"2026-01-05T{hour:02d}:10:00Z") for hour in range(1, 10)))
        assert b"No rule hits unusually often, and nothing is in quarantine" in (await browser.get("/live")).body
        await post(browser, payment(20, "2026-01-05T09:58:00Z", "1200.00"))
        assert "outside the usual range" not in (await browser.get("/live")).body.decode(), "a single hit"
        await post(browser, payment(21, "2026-01-05T09:59:00Z", "1200.00"))
        page = (await browser.get("/live")).body.decode()
        assert "usual: 0<" in page
        assert "1 rule hits outside the usual range; nothing is in quarantine or failed to send." in page
        assert "unusually often" not in page

    run(bank, steps)


def test_a_rule_that_acts_for_a_share_of_the_keys_is_not_in_shadow(bank):
    large = (bank / "rules" / "large.yaml").read_text(encoding="utf-8")
    (bank / "rules" / "large.yaml").write_text(large + "  rollout: 50%\n", encoding="utf-8")

    async def steps(asks: Asker, browser: Browser) -> None:
        for number in range(1, 30):
            await post(browser, payment(number, f"2026-01-05T09:{number:02d}:00Z", "1200.00"))
            (rule,) = [rule for rule in (await figures(browser))["rules"] if rule["rule"] == "large"]
            assert (rule["hits_1h"], rule["shadow"]) == (number, False), "by its definition, not by its newest hit"
        page = (await browser.get("/live")).body.decode()
        assert "in shadow" not in page
        assert ">shadow<" not in page

    run(bank, steps)


def test_rules_that_hit_as_usual_stand_in_one_line():
    def rule(name: str, hits: int, highest: int) -> live.LiveRuleLine:
        usual = SimpleNamespace(lowest=0, highest=highest)
        return live.LiveRuleLine(
            SimpleNamespace(rule=name, hits=hits, usual=usual, is_shadow=False), Strip(0, 0, 0, is_far=hits > highest)
        )

    def shown(*rules: live.LiveRuleLine) -> str:
        part = environment().get_template("live_parts.html").module.rules
        titles = SimpleNamespace(named=str.upper)
        return str(part(SimpleNamespace(rules=rules, rules_shown=2, titles=titles)))

    quiet = shown(rule("a", 3, 4), rule("b", 0, 0))
    assert "All 2 rules as usual: A 3" in quiet
    assert (quiet.count("<li>"), "normally" in quiet) == (1, False)
    loud = shown(rule("a", 3, 4), rule("b", 9, 1))
    assert "1 rule as usual: A 3" in loud
    assert "usual: 0 to 1" in loud
    assert "All 12 rules as usual" in shown(*(rule(str(number), 0, 1) for number in range(12)))
    assert "<span>1 more</span>" in shown(*(rule(str(number), 9, 1) for number in range(3)))
