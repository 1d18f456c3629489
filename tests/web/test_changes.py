"""Changes of files over HTTP and on their page: shown first, then applied, and by itself where a service watches."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest

from shroff.log.active_files import FileDifference
from shroff.people.access import Right
from shroff.people.store import rows_of
from shroff.services.apply.deployment import needed
from shroff.web.api.rules.changes import keep_applied
from shroff.web.http.authentication import gate_of
from tests.support.telling import FILES, Bank, payment
from tests.support.webs import PASSWORD, Asker, Browser, asker, let_in

pytestmark = pytest.mark.slow

RULES = FILES["rules/large.yaml"]
STRICTER = RULES.replace("> 100", "> 10")


@pytest.mark.parametrize(
    ("file", "right"),
    [
        ("rules/large.yaml", Right.EDIT_RULES),
        ("features.yaml", Right.EDIT_RULES),
        ("policy.yaml", Right.SET_THRESHOLDS),
        ("lists/cards.csv", Right.EDIT_LISTS),
        ("tables/countries.csv", Right.EDIT_LISTS),
        ("models/m-1/model.json", Right.PROMOTE_MODELS),
        ("notices/customer.yaml", Right.SEND_NOTICES),
        ("shroff.yaml: http", Right.MANAGE_USERS),
        ("shroff.yaml: sessions", Right.MANAGE_USERS),
        ("shroff.yaml: sign_in", Right.MANAGE_USERS),
        ("shroff.yaml: sources", Right.MANAGE_USERS),
        ("shroff.yaml: web", Right.MANAGE_USERS),
        ("shroff.yaml: online", Right.MEND_INPUT),
        ("shroff.yaml: sinks", Right.MEND_INPUT),
        ("shroff.yaml: mail", Right.SEND_NOTICES),
    ],
)
def test_a_file_is_applied_by_who_may_change_what_it_says(file, right):
    assert needed([FileDifference(file, "changed", "now")]) == {right}


async def outcome(asks: Asker, id: str) -> str:
    found = await asks.ask("POST", "/api/v1/events/payment", payment(id, "50.00", card=id))
    return str(found.json()["outcome"])


def test_files_are_applied_to_a_running_service_with_no_restart(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()

    async def steps() -> None:
        async with asker(tmp_path, now_ms=lambda: bank.clock_ms) as asks:
            assert (await asks.ask("GET", "/api/v1/changes")).json()["changes"] == []
            assert await outcome(asks, "p-2") == "approve"
            (tmp_path / "rules/large.yaml").write_text(STRICTER)
            (tmp_path / "notices/customer.txt.j2").write_text("Subject: own\n\n{{ link }}")
            shown = (await asks.ask("GET", "/api/v1/changes", key="viewer")).json()
            assert [change["file"] for change in shown["changes"]] == ["rules/large.yaml", "notices/customer.txt.j2"]
            meant = {"etag": shown["etag"]}
            for key, body, status in (("viewer", meant, 403), ("author", meant, 403), ("admin", {"etag": "x"}, 412)):
                assert (await asks.ask("POST", "/api/v1/changes/apply", body, key=key)).status == status
            done = await asks.ask("POST", "/api/v1/changes/apply", meant)

            assert (done.status, done.json()["applied"]) == (200, True), done.body
            assert await outcome(asks, "p-3") == "review"
            assert (await asks.ask("GET", "/api/v1/changes")).json()["changes"] == []

            (tmp_path / "rules/large.yaml").write_text("- id: broken\n")
            assert (await asks.ask("GET", "/api/v1/changes")).status == 422

    asyncio.run(steps())


def test_the_page_shows_the_difference_and_then_applies_it(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()

    async def steps() -> None:
        async with asker(tmp_path, gate=gate_of, now_ms=lambda: bank.clock_ms) as asks:
            browser = Browser(asks)
            await let_in(asks, browser)
            assert "Nothing to apply" in (await browser.get("/changes")).body.decode()
            (tmp_path / "rules/large.yaml").write_text(STRICTER)
            assert "1 change in files not active" in (await browser.get("/rules")).body.decode()
            shown = (await browser.get("/changes")).body.decode()
            assert "100</b>" in shown
            (etag,) = re.findall('name="etag" value="([0-9a-f]+)"', shown)
            form = {"etag": etag, "csrf": await browser.csrf()}
            assert (await browser.post("/changes", {"etag": etag, "csrf": "wrong"})).status == 403
            assert (await browser.post("/changes", form)).status == 303

            assert "Nothing to apply" in (await browser.get("/changes")).body.decode()
            acts = [row for row in rows_of(asks.service.desk.store) if row.action == "project.apply"]
            assert [(act.via, act.after) for act in acts] == [("web", '{"files":["rules/large.yaml"]}')]

    asyncio.run(steps())


def test_web_settings_that_are_applied_count_from_the_next_request_on(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()
    sign_in = "sign_in: { oidc: { issuer: 'http://127.0.0.1:9', client_id: x, roles: { team: analyst } } }\n"
    moved = (
        FILES["shroff.yaml"].replace("answer.bank", "new.bank").replace("name: Small Bank }", "proxies: [10.0.0.9] }")
    )

    async def steps() -> None:
        async with asker(tmp_path, gate=gate_of, now_ms=lambda: bank.clock_ms) as asks:
            browser, service = Browser(asks), asks.service
            await let_in(asks, browser)
            (tmp_path / "shroff.yaml").write_text(moved + sign_in + "sessions: { idle: 15m, lasts: 8h }\n")
            shown = (await browser.get("/changes")).body.decode()
            assert "takes effect when the service is restarted" not in shown
            assert "127.0.0.1" not in (await Browser(asks).get("/login")).body.decode()
            (etag,) = re.findall('name="etag" value="([0-9a-f]+)"', shown)
            assert (await browser.post("/changes", {"etag": etag, "csrf": await browser.csrf()})).status == 303

            assert "127.0.0.1" in (await Browser(asks).get("/login")).body.decode()
            assert service.address.public == Browser(asks).origin == "https://new.bank.example"
            assert service.settings.proxies.has("10.0.0.9")
            found = await browser.post("/login", {"name": "ann", "password": PASSWORD})
            assert found.status == 403, "the form is of the address before"
            browser.origin = "https://new.bank.example"
            found = await browser.post("/login", {"name": "ann", "password": PASSWORD})
            assert (found.status, "Max-Age=28800" in found.cookies[0]) == (303, True)
            assert service.desk.settings.idle_ms == 15 * 60_000
            (tmp_path / "shroff.yaml").write_text(moved)
            await asyncio.to_thread(asks.service.project.versions.apply)
            assert "127.0.0.1" not in (await Browser(asks).get("/login")).body.decode()

    asyncio.run(steps())


def test_a_service_that_watches_applies_what_is_complete_and_tells_what_is_wrong(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()

    async def steps() -> None:
        async with asker(tmp_path, now_ms=lambda: bank.clock_ms) as asks:
            told: list[str] = []
            asks.service.tell = told.append
            watching = asyncio.create_task(keep_applied(asks.service, every_s=0.01))
            await asyncio.sleep(0)
            (tmp_path / "rules/large.yaml").write_text("- id: broken\n")
            await until(lambda: len(told) == 1)
            (tmp_path / "rules/large.yaml").write_text(STRICTER)
            await until(lambda: len(told) == 2)
            (tmp_path / "rules/large.yaml").write_text(STRICTER.replace("effect: review", "effect: decline"))
            await until(lambda: len(told) == 3)
            watching.cancel()

            assert "mistakes and are not active: rules/large.yaml:1" in told[0]
            assert told[1] == "active now: rules/large.yaml, from sequence number 3 on"
            assert told[2] == "active now: rules/large.yaml, from sequence number 4 on"
            assert await outcome(asks, "p-3") == "decline"

    asyncio.run(steps())


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(60_000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("that never came")


TWO = FILES["shroff.yaml"] + "second_person: [rules]\n"
BLOCKED = """
- id: blocked
  on: payment
  by: card
  when: this.card in lists.blocked
  effect: decline
"""


def test_an_act_in_the_service_makes_only_the_files_active_that_it_writes(tmp_path):
    files = {"rules/blocked.yaml": BLOCKED, "lists/blocked.csv": "value,note,added_by,expires_at\n"}
    bank = Bank(tmp_path, {**files, "shroff.yaml": TWO})
    bank.pay()
    (tmp_path / "payment.ndjson").write_text("{}")
    bank.project.ingest(tmp_path / "payment.ndjson", as_type="payment")

    async def steps() -> None:
        async with asker(tmp_path, now_ms=lambda: bank.clock_ms) as asks:

            async def waiting() -> list[str]:
                return [change["file"] for change in (await asks.ask("GET", "/api/v1/changes")).json()["changes"]]

            (tmp_path / "rules/large.yaml").write_text(STRICTER)
            (tmp_path / "notices/customer.txt.j2").write_text("Subject: own\n\n{{ link }}")
            etag = (await asks.ask("GET", "/api/v1/changes")).json()["etag"]
            assert (await asks.ask("POST", "/api/v1/changes/apply", {"etag": etag})).status == 403
            entry = {"value": "bad", "note": "stolen"}
            added = await asks.ask("POST", "/api/v1/lists/blocked/entries", entry, key="analyst")
            assert (added.json()["in_force"], added.json()["others"]) == (True, []), added.body
            assert await outcome(asks, "bad") == "decline"
            assert await outcome(asks, "p-2") == "approve", "the rule on the disk was refused"
            assert await waiting() == ["rules/large.yaml", "notices/customer.txt.j2"]
            assert (await asks.ask("POST", "/api/v1/quarantine/retry", {"numbers": [1]})).status == 200
            assert await waiting() == ["rules/large.yaml", "notices/customer.txt.j2"]
            assert asks.service.project.definitions.files["rules/large.yaml"] == RULES, "it shows what decides"
            (tmp_path / "events.yaml").write_text(FILES["events.yaml"].replace("zone: text?", "zone: text?, x: text?"))
            retried = await asks.ask("POST", "/api/v1/quarantine/retry", {"numbers": [1]})
            assert b"Start it again" in retried.body

    asyncio.run(steps())


def test_a_file_that_needs_other_changed_files_waits_until_those_are_applied(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()
    rule = "- id: many\n  on: payment\n  by: card\n  when: card.many > 0\n  effect: decline\n"

    async def steps() -> None:
        async with asker(tmp_path, now_ms=lambda: bank.clock_ms) as asks:
            (tmp_path / "features.yaml").write_text("card:\n  many: count(payment) over 1h\n")
            put = await asks.ask("PUT", "/api/v1/rules/many.yaml", {"text": rule}, headers={"if-none-match": "*"})
            assert (put.status, put.json()["in_force"]) == (200, False), put.body
            assert "needs changes of other files that are not active: rules/many.yaml" in put.json()["why_not"]
            assert await outcome(asks, "p-4") == "approve"
            etag = (await asks.ask("GET", "/api/v1/changes")).json()["etag"]
            assert (await asks.ask("POST", "/api/v1/changes/apply", {"etag": etag})).json()["applied"]
            assert await outcome(asks, "p-2") == "approve"
            again = await asks.ask("POST", "/api/v1/events/payment", payment("p-3", "50.00", card="p-2"))
            assert again.json()["outcome"] == "decline"

    asyncio.run(steps())
