"""Rules on pages and over HTTP: from a draft with a mistake to being in force, by whom, and the way back."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shroff.adapters.people.sql import SqlPeople
from shroff.backtest.document import BacktestReport
from shroff.backtest.report import sentence
from shroff.cli.main import run as command
from shroff.config import TEMPLATE_FOLDER
from shroff.errors import LogBusyError
from shroff.explain import hit_records
from shroff.explain.hit_records import RuleRecord
from shroff.language.expression import Literal
from shroff.language.types import BOOLEAN
from shroff.people import links, users
from shroff.people.access import RIGHTS, Role, Who
from shroff.people.store import AuditFilter, rows_of
from shroff.rules.definitions import Rule
from shroff.rules.texts import in_shadow
from shroff.runtime.values import replace
from shroff.services import project as app
from shroff.services.rules import overview as rule_looks
from shroff.web.api.rules import backtests as backtests_api
from shroff.web.http.authentication import gate_of
from shroff.web.http.problems import ProblemError
from shroff.web.pages.rules import backtests, table
from shroff.web.pages.rules.backtests import examples, worth
from shroff.web.pages.rules.table import least_precise
from tests.support.served import ME
from tests.support.webs import Answered, Asker, Browser, asker, owned, working
from tests.support.webs import run as run_signed_in

pytestmark = pytest.mark.slow

TEMPLATE = TEMPLATE_FOLDER / "payments"
PASSWORD = "correct horse battery"
RULE = "- id: dear_one\n  on: payment\n  by: card\n  when: this.amount > 500\n  effect: review\n"
DRAFT = "/api/v1/rules/dear_one/draft"
NEW = {"if-none-match": "*"}
ADMIN = Who("user", "u-1", "ann", Role.ADMIN, RIGHTS[Role.ADMIN])
Steps = Callable[[Asker], Awaitable[None]]


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    shutil.copytree(TEMPLATE, tmp_path / "bank")
    return tmp_path / "bank"


def run(folder: Path, steps: Steps) -> None:
    async def whole() -> None:
        async with asker(folder) as asks:
            await steps(asks)

    asyncio.run(whole())


def payment(number: int, amount: str) -> dict[str, object]:
    return {
        "payment_id": f"p-{number}",
        "paid_at": f"2026-01-05T08:{number:02}:00Z",
        "card": f"c-{number}",
        "merchant": "m-1",
        "terminal": "t-1",
        "amount": amount,
        "country": "DE",
        "channel": "pos",
    }


async def outcome(asks: Asker, number: int, amount: str = "600.00") -> Any:
    """The outcome of a payment, and the rules that hit in shadow."""
    found = (await asks.ask("POST", "/api/v1/events/payment", payment(number, amount))).json()
    return found["outcome"], found["rules"], found["shadow_rules"]


async def written(asks: Asker, text: str = RULE, path: str = DRAFT, key: str = "author") -> dict[str, str]:
    """Write a draft; gives what names its text."""
    before = await asks.ask("GET", path)
    headers = {"if-match": before.headers["etag"]} if before.status == 200 else NEW
    put = await asks.ask("PUT", path, {"text": text}, headers=headers, key=key)
    assert put.status == 200, put.body
    return {"etag": put.json()["etag"]}


def acts(asks: Asker) -> list[tuple[str, str]]:
    rows = rows_of(asks.service.desk.store, AuditFilter(subject="rule dear_one"))
    return [(row.name, row.action) for row in rows]


# ---- the way of a rule


def test_a_rule_goes_from_a_typo_to_being_in_force_and_back(bank):
    async def steps(asks: Asker) -> None:
        typo = RULE.replace("amount", "amuont")
        checked = (await asks.ask("POST", f"{DRAFT}/check", {"text": typo})).json()
        (mistake,) = checked["mistakes"]

        assert checked["ok"] is False
        assert (mistake["line"], mistake["column"], mistake["length"]) == (4, 9, len("this.amuont"))
        assert mistake["instead"] == "this.amount"

        which = await written(asks, typo)
        refused = await asks.ask("POST", f"{DRAFT}/activate", which)
        assert refused.status == 422
        assert refused.json()["errors"][0]["line"] == 4

        which = await written(asks)
        assert await written(asks, key="admin") == which  # the same text again: nothing for the audit log, no author
        assert (await outcome(asks, 1))[0] == "approve"
        shadowed = await asks.ask("POST", f"{DRAFT}/shadow", {**which, "file": "dear.yaml"})
        assert shadowed.json() == {"file": "dear.yaml", "in_force": True, "why_not": None}
        assert await outcome(asks, 2) == ("approve", [], ["dear_one"])
        assert "shadow: true" in (bank / "rules" / "dear.yaml").read_text(encoding="utf-8")

        why = {**which, "reason": "it found three"}
        assert (await asks.ask("POST", f"{DRAFT}/activate", why)).json()["in_force"] is True
        assert (await outcome(asks, 3))[:2] == ("review", ["dear_one"])
        assert (bank / "rules" / "dear.yaml").read_text(encoding="utf-8") == RULE
        assert (await asks.ask("GET", DRAFT)).status == 404

        versions = (await asks.ask("GET", "/api/v1/rules/dear_one/history")).json()["versions"]
        assert [("shadow" in version["text"], version["by"]) for version in versions] == [
            (False, "admin"),
            (True, "admin"),
        ]
        assert versions[0]["reason"] == "it found three"
        back = {"seq": versions[1]["seq"], "reason": "too many reviews"}
        assert (await asks.ask("POST", "/api/v1/rules/dear_one/back", back)).json()["in_force"] is True
        assert (await outcome(asks, 4))[0] == "approve"
        off = {"seq": 0, "reason": "not wanted"}
        assert (await asks.ask("POST", "/api/v1/rules/dear_one/back", off)).status == 200
        assert (await outcome(asks, 5)) == ("approve", [], [])
        assert not (bank / "rules" / "dear.yaml").exists()
        assert (await asks.ask("POST", "/api/v1/rules/dear_one/back", off)).status == 409
        assert acts(asks) == [
            ("author", "draft.write"),
            ("author", "draft.write"),
            ("admin", "rule.shadow"),
            ("admin", "rule.activate"),
            ("admin", "rule.back"),
            ("admin", "rule.off"),
        ]
        with asks.service.desk.store.look() as look:
            drafted = [
                msgspec.json.decode(row.after)["lines"] for row in look.record(AuditFilter(action="draft.write"))
            ]
            activated = next(iter(look.record(AuditFilter(action="rule.activate"))))
        assert "effect: review" in drafted[0]
        old, new = (msgspec.json.decode(text)["lines"] for text in (activated.before, activated.after))
        assert (old, new) == (["shadow: true"], [])
        record = (await asks.ask("GET", "/api/v1/rules/dear_one/record")).json()
        assert record["state"] == "off"
        assert (record["record"]["hits"], record["record"]["in_shadow"]) == (3, 2)
        hits = (await asks.ask("GET", "/api/v1/rules/dear_one/hits?limit=2")).json()
        assert [hit["id"] for hit in hits["hits"]] == ["p-4", "p-3"]
        older = (await asks.ask("GET", f"/api/v1/rules/dear_one/hits?limit=2&cursor={hits['next']}")).json()
        assert [(hit["id"], hit["money"], hit["shadow"]) for hit in older["hits"]] == [("p-2", "600.00", True)]

    run(bank, steps)


def test_a_change_runs_as_a_trial_beside_the_rule_that_is_in_force(bank):
    (bank / "rules" / "dear.yaml").write_text(f"# all that is dear\n\n{RULE}", encoding="utf-8")

    async def steps(asks: Asker) -> None:
        file = bank / "rules" / "dear.yaml"
        which = await written(asks, RULE.replace("500", "100"))
        await asks.ask("POST", f"{DRAFT}/shadow", which)

        assert await outcome(asks, 1, "200.00") == ("approve", [], ["dear_one_try1"])
        assert await outcome(asks, 2) == ("review", ["dear_one"], ["dear_one_try1"])

        which = await written(asks, RULE.replace("500", "50"))
        await asks.ask("POST", f"{DRAFT}/shadow", which)
        assert await outcome(asks, 3, "60.00") == ("approve", [], ["dear_one_try2"])
        await asks.ask("POST", f"{DRAFT}/activate", which)
        assert await outcome(asks, 4, "60.00") == ("review", ["dear_one"], [])
        assert file.read_text(encoding="utf-8") == f"# all that is dear\n\n{RULE.replace('500', '50')}"

        which = await written(asks, RULE)
        await asks.ask("POST", f"{DRAFT}/shadow", which)
        assert "dear_one_try3" in file.read_text(encoding="utf-8")
        dropped = await asks.ask("DELETE", DRAFT, headers={"if-match": f'"{which["etag"]}"'})
        assert dropped.status == 200
        assert acts(asks)[-1] == ("admin", "draft.drop")
        assert "_try" not in file.read_text(encoding="utf-8")

    run(bank, steps)


def test_a_failing_test_keeps_a_draft_from_going_on(bank):
    tested = RULE + (
        "  tests:\n    - name: dear\n      events:\n        - payment: { card: c1, at: 2026-01-05T10:00:00Z, "
        "merchant: m1, amount: 400.00, country: DE, channel: pos }\n      hits: [true]\n"
    )

    async def steps(asks: Asker) -> None:
        which = await written(asks, tested)
        checked = (await asks.ask("POST", f"{DRAFT}/check", {"text": tested})).json()

        assert checked["mistakes"] == []
        assert [test["passed"] for test in checked["tests"]] == [False]
        assert "expected hits [true], found [false]" in checked["tests"][0]["problem"]
        assert checked["says"] == ("Send a payment to review and flag its card when the amount is above 500 EUR.")
        assert (await asks.ask("POST", f"{DRAFT}/shadow", which)).status == 422

    run(bank, steps)


def test_nothing_of_somebody_else_is_overwritten(bank):
    async def steps(asks: Asker) -> None:
        first = await written(asks)
        await written(asks, RULE.replace("500", "900"))
        stale = await asks.ask("PUT", DRAFT, {"text": RULE}, headers={"if-match": f'"{first["etag"]}"'})

        assert stale.status == 412
        assert (await asks.ask("PUT", DRAFT, {"text": RULE}, headers=NEW)).status == 412
        assert (await asks.ask("PUT", DRAFT, {"text": RULE})).status == 428
        assert (await asks.ask("DELETE", DRAFT, headers=NEW)).status == 428
        for step in ("shadow", "approve", "activate"):
            assert (await asks.ask("POST", f"{DRAFT}/{step}", first, key="person")).status == 412
        assert "900" in (await asks.ask("GET", DRAFT)).json()["text"]

    run(bank, steps)


@pytest.mark.parametrize("id_", ["Dear", "..%2Fx", "dear_try1", "a" * 300, "%2Fetc", "1a"])
def test_an_id_that_cannot_be_one_is_no_file(bank, id_):
    async def steps(asks: Asker) -> None:
        put = await asks.ask("PUT", f"/api/v1/rules/{id_}/draft", {"text": RULE}, headers=NEW)

        assert put.status == 400
        assert not (bank / "drafts").exists()

    run(bank, steps)


def test_readers_read_and_do_no_more(bank):
    async def steps(asks: Asker) -> None:
        which = await written(asks)

        for role in ("viewer", "analyst"):
            assert (await asks.ask("GET", DRAFT, key=role)).status == 200
            assert (await asks.ask("POST", f"{DRAFT}/check", {"text": RULE}, key=role)).status == 200
            for path in (f"{DRAFT}/shadow", f"{DRAFT}/approve", f"{DRAFT}/activate", "/api/v1/rules/x/back"):
                assert (await asks.ask("POST", path, which, key=role)).status == 403
            assert (await asks.ask("PUT", DRAFT, {"text": ""}, headers=NEW, key=role)).status == 403
        assert (await asks.ask("GET", "/api/v1/names", key="viewer")).json()["names"][0].keys() == {
            "name",
            "type",
            "says",
        }

    run(bank, steps)


def test_what_cannot_be_recorded_is_not_put_in_force(bank, monkeypatch):
    async def steps(asks: Asker) -> None:
        which = await written(asks)

        def change(*_: object) -> None:
            raise LogBusyError("another process holds it", "a backup")

        with monkeypatch.context() as held:
            held.setattr(SqlPeople, "change", change)
            for step in ("shadow", "activate"):
                assert (await asks.ask("POST", f"{DRAFT}/{step}", which)).status == 503
            assert (await asks.ask("PUT", "/api/v1/rules/dear.yaml", {"text": RULE}, headers=NEW)).status == 503
        assert not (bank / "rules" / "dear_one.yaml").exists()
        assert not (bank / "rules" / "dear.yaml").exists()
        assert (await asks.ask("POST", f"{DRAFT}/activate", which)).json()["in_force"] is True

    run(bank, steps)


def test_where_a_second_person_approves_nobody_puts_their_own_in_force(bank):
    with (bank / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write("second_person: [rules]\n")

    async def steps(asks: Asker) -> None:
        nobodys = await asks.ask("PUT", DRAFT, {"text": RULE}, headers=NEW, key="author")
        which = await written(asks, key="another")
        by_file = await asks.ask("PUT", "/api/v1/rules/dear.yaml", {"text": RULE}, headers=NEW)

        assert (nobodys.status, b"no user of the service made this key" in nobodys.body) == (403, True)
        assert by_file.status == 409
        assert (await asks.ask("POST", f"{DRAFT}/shadow", which, key="another")).status == 200
        assert (await asks.ask("POST", f"{DRAFT}/activate", which, key="another")).status == 403
        assert (await asks.ask("POST", f"{DRAFT}/approve", which, key="another")).status == 403
        assert (await asks.ask("POST", f"{DRAFT}/approve", which)).status == 403, "a key is no second person"
        approved = await asks.ask("POST", f"{DRAFT}/approve", which, key="person")
        assert approved.json()["approved_by"] == "ann"

        which = await written(asks, RULE.replace("500", "501"), key="another")
        assert (await asks.ask("POST", f"{DRAFT}/activate", which, key="another")).status == 403
        assert (await asks.ask("POST", f"{DRAFT}/approve", which, key="person")).status == 200
        assert (await asks.ask("POST", f"{DRAFT}/activate", which, key="another")).json()["in_force"] is True
        assert (await outcome(asks, 1, "500.50"))[0] == "approve"
        assert (await outcome(asks, 2, "501.50"))[0] == "review"

        off = {"seq": 0, "reason": "too many"}
        back = "/api/v1/rules/dear_one/back"
        assert (await asks.ask("POST", back, off, key="author")).status == 403, "nobody knows whose key it is"
        for key in ("another", "another"):
            waits = await asks.ask("POST", back, off, key=key)
            assert (waits.status, waits.json()["in_force"]) == (200, False)
            assert "this needs approval by a second person" in waits.json()["why_not"]
        (asked,) = (await asks.ask("GET", "/api/v1/rules/dear_one/record")).json()["asked"]
        assert (asked["by"], asked["says"]) == ("ben", "take it out: too many")
        assert (await outcome(asks, 3, "501.50"))[0] == "review"
        assert (await asks.ask("POST", back, off, key="person")).json()["in_force"] is True
        assert (await outcome(asks, 4, "501.50"))[0] == "approve"
        assert (await asks.ask("GET", "/api/v1/rules/dear_one/record")).json()["asked"] == []
        done = [act for act in acts(asks) if act[1] in {"change.ask", "rule.off"}]
        assert sorted(done) == [("ann", "rule.off"), ("ben", "change.ask"), ("ben", "change.ask")]
        assert [act for act in acts(asks) if act[1] == "draft.approve"] == [("ann", "draft.approve")] * 2

    run(bank, steps)


def test_whoever_made_a_key_approves_nothing_that_it_wrote(bank):
    with (bank / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write("second_person: [rules]\n")

    async def steps(asks: Asker) -> None:
        gate: Any = asks.service.gate
        gate.known["cem"] = await owned(asks, "author", "cem")
        which = await written(asks)

        assert (await asks.ask("POST", f"{DRAFT}/approve", which, key="cem")).status == 403
        assert (await asks.ask("POST", f"{DRAFT}/approve", which, key="person")).status == 200

    run(bank, steps)


PRECISION = ("precision", "precision_low", "precision_high")
BY_LABEL = ("hits", "fraud", "older_fraud", "older_genuine", "older_unclear", "older_none")


def test_labels_make_the_precision_of_a_rule_the_same_everywhere(bank, capsys):
    (bank / "rules" / "dear.yaml").write_text(RULE, encoding="utf-8")

    async def steps(asks: Asker) -> None:
        for number in range(1, 5):
            await outcome(asks, number)
        label = {"event": "payment/p-1", "verdict": "fraud", "source": "chargeback", "known_at": "2026-01-06T00:00:00Z"}
        await asks.ask("POST", "/api/v1/labels", label)
        young = (await asks.ask("GET", "/api/v1/rules/dear_one/record")).json()["record"]
        assert (young["fraud"], young["immature"], young["precision"]) == (1, 4, None)
        assert young["older_fraud"] == 0, "young frauds do not count for the precision"

        late = payment(9, "1.00") | {"paid_at": "2026-02-20T00:00:00Z"}
        await asks.ask("POST", "/api/v1/events/payment", late)
        await asks.ask("POST", "/api/v1/labels", label | {"verdict": "unclear", "event": "payment/p-2"})
        weaker = label | {"verdict": "genuine", "source": "customer", "known_at": "2026-01-09T00:00:00Z"}
        await asks.ask("POST", "/api/v1/labels", weaker)
        found = (await asks.ask("GET", "/api/v1/rules/dear_one/record")).json()["record"]

        assert [found[name] for name in BY_LABEL] == [4, 1, 1, 0, 1, 2]
        assert [found[name] for name in PRECISION] == pytest.approx([1 / 3, 0.0615, 0.7923], abs=5e-5)
        assert (found["money"], found["fraud_money"]) == ("2400.00", "600.00")
        files = (await asks.ask("GET", "/api/v1/rules")).json()["files"]
        (listed,) = [rule for file in files for rule in file["rules"] if rule["id"] == "dear_one"]
        same = ("hits", "fraud", "older_fraud", "older_genuine", "older_none", *PRECISION)
        assert {name: listed[name] for name in same} == {name: found[name] for name in same}

        capsys.readouterr()
        assert command(["-C", str(bank), "backtest", "--rows", "0"]) == 0
        assert "33 (6 to 79)" in capsys.readouterr().out

    async def pages() -> None:
        async with signed_in(bank) as browser, working(browser.asks):
            key = {"x-csrf-token": await browser.csrf(), "content-type": "application/json", "accept": "*/*"}
            found = (await browser.send("GET", "/api/v1/rules/dear_one/record", b"", key)).json()["record"]
            draft = encoded({"rules": {"dear.yaml": RULE}})
            report = (await browser.send("POST", "/api/v1/backtests", draft, key)).json()
            (tested,) = [rule for rule in report["rules"] if rule["id"] == "dear_one"]
            for name in ("older_fraud", "older_genuine", "older_unclear", "older_none", "immature", *PRECISION):
                assert tested[name] == tested["old"][name] == found[name], name
            for path in ("/rules", "/rules/dear_one", "/rules/dear_one/hits"):
                page = (await browser.get(path)).body.decode().replace("\u00a0", " ")
                assert "33 %" in page, path
                assert "6 % to 79 %" in page, path
                words = " ".join(page.split())
                of_what = (
                    "1 of 3 older hits" if path == "/rules" else "of 3 older hits, 1 fraud, 2 genuine or unlabeled; 0"
                )
                assert of_what in words, path
                assert path != "/rules" or "older than the label delay, 7 d, with" in words
            rule = " ".join((await browser.get("/rules/dear_one")).body.decode().split())
            assert re.search(r"Events that came in since happened from <time[^>]*>5 January 2026</time> on", rule), (
                "hits may be older than the first version"
            )

    run(bank, steps)
    asyncio.run(pages())


def test_the_day_that_is_not_over_is_marked_in_the_chart_and_the_table_of_hits(bank, monkeypatch):
    (bank / "rules" / "dear.yaml").write_text(RULE, encoding="utf-8")
    sent = msgspec.json.encode([payment(number, "600.00") for number in range(1, 4)])

    async def steps(asks: Asker, browser: Browser) -> None:
        headers = {"x-csrf-token": await browser.csrf(), "content-type": "application/json", "accept": "*/*"}
        assert (await browser.send("POST", "/api/v1/events/payment", sent, headers)).status == 200
        assert "not over" not in (await browser.get("/rules/dear_one")).body.decode()
        now_ms = int(datetime(2026, 1, 5, 22, tzinfo=UTC).timestamp() * 1_000)
        monkeypatch.setattr(type(asks.service.project.context), "now_ms", lambda self: now_ms)
        page = (await browser.get("/rules/dear_one")).body.decode()

        assert page.count('class="bar open"') == 1
        assert "not over: 5 January 2026: 3, 0 fraud so far" in page
        assert re.findall(r'row">([^<]*) <span[^>]*>not over<', page) == ["5 January 2026"]

    run_signed_in(bank, steps)


# ---- backtests


async def done(asks: Asker, id_: str) -> Any:
    for _ in range(12_000):
        found = (await asks.ask("GET", f"/api/v1/backtests/{id_}")).json()
        if found["state"] in {"done", "failed"}:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(found)


async def watched(browser: Browser, path: str) -> Any:
    """The page of a backtest, once it is done."""
    page = await browser.get(path)
    for _ in range(12_000):
        if b"data-again" not in page.body:
            break
        await asyncio.sleep(0.05)
        page = await browser.get(path)
    return page


def test_a_backtest_goes_on_by_itself_and_is_kept(bank):
    async def steps(asks: Asker) -> None:
        async with working(asks, "admin"):
            await judged(asks)

    async def judged(asks: Asker) -> None:
        for number in range(1, 4):
            await outcome(asks, number)
        which = await written(asks)
        begun = await asks.ask("POST", "/api/v1/backtests", {"rule": "dear_one", "wait": False})
        found = await done(asks, begun.json()["id"])

        assert begun.status == 202
        kept = [row.after for row in rows_of(asks.service.desk.store) if row.action == "job.begin"]
        assert [msgspec.json.decode(after)["job"] for after in kept] == [found["id"]]
        assert begun.headers["location"] == f"/api/v1/backtests/{found['id']}"
        assert (found["state"], found["etag"]) == ("done", which["etag"])
        assert found["report"]["changed"] == 3
        assert [backtest["id"] for backtest in (await asks.ask("GET", "/api/v1/backtests")).json()["backtests"]] == [
            found["id"]
        ]

        await written(asks, RULE.replace("amount", "amuont"))
        broken = await asks.ask("POST", "/api/v1/backtests", {"rule": "dear_one", "wait": False})
        failed = await done(asks, broken.json()["id"])
        assert failed["state"] == "failed"
        assert "this.amuont" in failed["why_not"]
        assert (await asks.ask("GET", "/api/v1/backtests/..%2F..%2Fshroff")).status == 404
        assert (await asks.ask("POST", "/api/v1/backtests", {"rule": "nobody"})).status == 404

    run(bank, steps)


def test_a_backtest_that_is_cancelled_fails_and_says_why_and_nine_do_not_wait(bank):
    async def steps(asks: Asker) -> None:
        begun = [await asks.ask("POST", "/api/v1/backtests", {"wait": False}, key="analyst") for _ in range(9)]
        first = begun[0].json()["id"]
        cancelled = await asks.ask("POST", f"/api/v1/jobs/{first}/cancel", key="analyst")
        shown = (await asks.ask("GET", f"/api/v1/backtests/{first}")).json()

        assert [answer.status for answer in begun] == [202] * 8 + [503]
        assert begun[0].json()["state"] == "waiting"
        assert cancelled.status == 200
        assert (shown["state"], shown["why_not"]) == ("failed", "it was cancelled")
        assert len((await asks.ask("GET", "/api/v1/backtests")).json()["backtests"]) == 8

        marts = (await asks.ask("POST", "/api/v1/jobs", {"kind": "marts"})).json()["id"]
        assert (await asks.ask("POST", f"/api/v1/jobs/{marts}/cancel", key="analyst")).status == 403
        other = {"kind": "draft-backtest", "params": {"name": "a draft", "draft": "../../other"}}
        assert (await asks.ask("POST", "/api/v1/jobs", other)).status == 422

    run(bank, steps)


def test_a_request_does_not_wait_behind_many_backtests(bank):
    async def steps(asks: Asker) -> None:
        for _ in range(3):
            assert (await asks.ask("POST", "/api/v1/backtests", {"wait": False})).status == 202
        refused = await asks.ask("POST", "/api/v1/backtests", {})

        assert (refused.status, refused.headers["retry-after"]) == (503, "30")
        assert (await asks.ask("POST", "/api/v1/backtests", {"wait": False})).status == 202

    run(bank, steps)


@pytest.mark.parametrize(
    ("files", "name"), [([], "the project as it is"), (["b"], "b.yaml"), (["b", "a", "c"], "b.yaml and 2 more")]
)
def test_a_job_of_a_draft_names_one_file_however_many_it_has(files, name):
    draft = backtests_api.BacktestRequest(rules={f"{file}.yaml": "" for file in files})

    assert backtests_api._name_of(draft) == name


def test_a_backtest_that_ends_at_the_time_limit_returns_its_report(bank, monkeypatch):
    async def steps(asks: Asker) -> None:
        await outcome(asks, 1)
        jobs = asks.service.backtests.jobs
        begun = await asks.ask("POST", "/api/v1/backtests", {"wait": False})
        while_open = jobs.job(begun.json()["id"])
        async with working(asks, "admin"):
            await done(asks, while_open.id)
        waiting = await asks.ask("POST", "/api/v1/backtests", {"wait": False})
        monkeypatch.setattr(backtests_api, "SECONDS_MAX", 0)

        report = await backtests_api._report(asks.service, ADMIN, while_open)
        assert report.changed == 0
        with pytest.raises(ProblemError, match="it took longer"):
            await backtests_api._report(asks.service, ADMIN, jobs.job(waiting.json()["id"]))
        assert jobs.job(waiting.json()["id"]).state == "cancelled"

    run(bank, steps)


# ---- pages


@asynccontextmanager
async def signed_in(folder: Path) -> AsyncIterator[Browser]:
    async with asker(folder, gate=gate_of) as asks:
        browser = Browser(asks)
        link = await asyncio.to_thread(links.first, asks.service.desk, asks.service.project.context.who)
        assert link is not None
        await browser.post(link, {"name": "ann", "password": PASSWORD, "again": PASSWORD})
        yield browser


async def sent(browser: Browser, path: str, **form: str) -> Answered:
    return await browser.post(path, {"csrf": await browser.csrf(), **form})


def tag_in(body: bytes) -> str:
    found = re.search(r'name="tag" value="([0-9a-f]*)"', body.decode())
    assert found is not None
    return found[1]


def test_a_rule_is_written_mended_and_put_in_force_without_scripts(bank):
    evil = RULE.replace("  effect", '  reason: "<script>alert(1)</script>{this.merchant}"\n  effect')

    async def steps() -> None:
        async with signed_in(bank) as browser:
            started = await sent(browser, "/rules", rule="dear_one")
            page = await browser.get(started.headers["location"])
            assert started.headers["location"] == "/rules/dear_one/draft"
            assert b"- id: dear_one" in page.body

            typo = evil.replace("amount", "amuont")
            await sent(browser, "/rules/dear_one/draft", text=typo.replace("\n", "\r\n"), tag="")
            assert b"No version was active yet." in (await browser.get("/rules/dear_one")).body
            page = await browser.get("/rules/dear_one/draft")
            assert b"Line 4, column 9:" in page.body
            assert b"Did you mean " in page.body
            assert b"<script>alert" not in page.body
            early = await sent(browser, "/rules/dear_one/draft/activate", tag=tag_in(page.body), reason="soon")
            assert early.status == 422
            assert b"Fix them first." in early.body

            await sent(browser, "/rules/dear_one/draft", text=evil, tag=tag_in(page.body))
            stale = await sent(browser, "/rules/dear_one/draft", text="mine", tag=tag_in(page.body))
            assert stale.status == 412
            assert b"ann changed this draft meanwhile" in stale.body
            page = await browser.get("/rules/dear_one/draft")
            assert re.findall(rb'class="button main"[^>]*data-says="(\w+)"', page.body) == [b"Backtest"], (
                "it comes first"
            )
            silent = await sent(browser, "/rules/dear_one/draft/activate", tag=tag_in(page.body), file="dear.yaml")
            assert (silent.status, b"Say why" in silent.body) == (422, True)
            why = {"file": "dear.yaml", "reason": "a <b>wave"}
            for step in ("shadow", "activate"):
                moved = await sent(browser, f"/rules/dear_one/draft/{step}", tag=tag_in(page.body), **why)
                assert moved.status == 303, moved.body
            assert b"a &lt;b&gt;wave" in (await browser.get("/rules/dear_one")).body, "the reason stands in its history"
            assert (bank / "rules" / "dear.yaml").read_text(encoding="utf-8") == evil

            shown = await browser.get("/rules/dear_one")
            assert b"active" in shown.body
            assert b"and flag its card when the" in shown.body.partition(b"<pre")[0], (
                "what it does stands above its text"
            )
            assert b"and flag its card when the" in (await browser.get("/rules")).body
            for title, id_ in (("Dear one", "dear_one_2"), ("5 an hour", "rule_5_an_hour"), ("Über 200", "uber_200")):
                assert (await sent(browser, "/rules", rule=title)).headers["location"] == f"/rules/{id_}/draft"
            without = await sent(browser, "/rules/dear_one/back", seq="0", reason=" ")
            assert without.status == 422
            assert b"A reason is missing" in without.body
            gone = await sent(browser, "/rules/dear_one/back", seq="0", reason="<b>no</b>")
            assert gone.status == 303
            assert b"&lt;b&gt;no&lt;/b&gt;" in (await browser.get("/rules/dear_one")).body
            assert b"dear_one" not in (await browser.get("/rules")).body
            assert b"dear_one" in (await browser.get("/rules?state=off")).body

    asyncio.run(steps())


LAWS = """
dear:
  sentence: A payment that the rule hits is never approved.
  on: payment
  rule: dear_one
  never: [approve]
  required: true
cheap:
  sentence: "A payment of more than 1 is <b>dear</b>."
  on: payment
  when: this.amount > 1
  hits: dear_one
"""


def test_laws_are_answered_and_an_event_that_breaks_one_becomes_a_test(bank):
    (bank / "rules" / "dear.yaml").write_text(RULE, encoding="utf-8")

    async def steps() -> None:
        async with signed_in(bank) as browser:
            assert "No laws yet" in (await browser.get("/laws")).body.decode()
            (bank / "laws").mkdir()
            (bank / "laws" / "own.yaml").write_text(LAWS, encoding="utf-8")
            page = (await browser.get("/laws")).body.decode()
            assert re.findall("Proved|Refuted|Unknown", page) == ["Proved", "Refuted"]
            assert "is &lt;b&gt;dear&lt;/b&gt;." in page
            assert page.count("Write it as a test") == 1

            wrong = await sent(browser, "/laws/cheap/test", rule="nothing")
            assert (wrong.status, "no rule" in wrong.body.decode()) == (422, True)
            assert (await sent(browser, "/laws/dear/test", rule="dear_one")).status == 422, "nothing breaks it"
            written = await sent(browser, "/laws/cheap/test", rule="dear_one")
            assert written.headers["location"] == "/rules/dear_one/draft"
            assert "law cheap" in (await browser.get("/rules/dear_one/draft")).body.decode()

    asyncio.run(steps())


def test_a_draft_is_held_against_what_activating_it_changes_and_nothing_is_claimed_of_what_is_not_saved(bank):
    (bank / "rules" / "dear.yaml").write_text(RULE, encoding="utf-8")
    quiet = in_shadow(RULE.replace("dear_one", "quiet_one"), shadow=True)
    (bank / "rules" / "quiet.yaml").write_text(quiet, encoding="utf-8")

    async def difference(browser: Browser, rule: str) -> str:
        body = (await browser.get(f"/rules/{rule}/draft")).body.decode()
        return body.partition('id="diff"')[2].partition("</section>")[0]

    async def steps() -> None:
        async with signed_in(bank) as browser:
            unsaved = await difference(browser, "dear_one")
            assert "No difference." not in unsaved
            assert "Nothing is saved yet." in unsaved

            await sent(browser, "/rules/dear_one/draft", text=RULE, tag="")
            assert "No difference." in await difference(browser, "dear_one")
            radius = await browser.get("/rules/dear_one/draft?radius=1")
            assert b"no longer hit" in radius.body
            laws = await browser.get("/rules/dear_one/draft?laws=1")
            assert b"proved   loosens_nothing" in laws.body

            changed = await difference(browser, "quiet_one")
            assert "shadow" in changed
            assert "No difference." not in changed

    asyncio.run(steps())


def test_who_may_only_read_is_shown_rules_and_no_way_to_change_them(bank):
    (bank / "rules" / "dear.yaml").write_text(RULE, encoding="utf-8")
    with app.open_exactly(bank).people.open() as desk:
        users.add(desk, ME, "vera", Role.VIEWER, password=PASSWORD)

    async def steps() -> None:
        async with asker(bank, gate=gate_of) as asks:
            browser = Browser(asks)
            await browser.post("/login", {"name": "vera", "password": PASSWORD})
            for path in ("/rules", "/rules/dear_one", "/rules/dear_one/hits", "/rules/dear_one/draft", "/backtests"):
                page = await browser.get(path)
                assert page.status == 200
                assert page.body.count(b'method="post"') == path.endswith("draft")  # the text alone, and no button
            assert (await sent(browser, "/rules/dear_one/draft", text="x", tag="")).status == 403
            assert (await sent(browser, "/backtests", of="now")).status == 403
            assert (await browser.get("/rules/nobody")).status == 404
            assert (await browser.get("/backtests/nobody")).status == 404

    asyncio.run(steps())


def test_an_analyst_cancels_a_backtest_on_the_page_of_its_job_and_no_other_job(bank):
    with app.open_exactly(bank).people.open() as desk:
        users.add(desk, ME, "anton", Role.ANALYST, password=PASSWORD)

    async def steps() -> None:
        async with asker(bank, gate=gate_of) as asks:
            browser = Browser(asks)
            await browser.post("/login", {"name": "anton", "password": PASSWORD})
            begun = await sent(browser, "/backtests", of="now")
            waiting = await browser.get(begun.headers["location"])
            path = re.search(r'href="(/jobs/[^"]+)">Its job</a> can be canceled', waiting.body.decode())
            assert path is not None
            assert f'action="{path[1]}/cancel"'.encode() in (await browser.get(path[1])).body
            assert (await sent(browser, f"{path[1]}/cancel")).status == 303
            ended = (await browser.get(path[1])).body
            assert b"cancelled" in ended
            assert b"/again" not in ended, "a job of this kind starts on the page of back-tests only"

            marts = asks.service.jobs.begin(ADMIN, "marts", {})
            assert b"/cancel" not in (await browser.get(f"/jobs/{marts.id}")).body
            assert (await sent(browser, f"/jobs/{marts.id}/cancel")).status == 403

    asyncio.run(steps())


def test_an_earlier_version_is_compared_with_the_project_of_today(bank, monkeypatch):
    (bank / "rules" / "dear.yaml").write_text(RULE, encoding="utf-8")

    async def steps() -> None:
        async with signed_in(bank) as browser:
            key = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
            await browser.send("POST", "/api/v1/events/payment", encoded(payment(1, "600.00")), key)
            await sent(browser, "/rules/dear_one/back", seq="0", reason="to see")
            late = payment(9, "1.00") | {"paid_at": "2026-02-20T00:00:00Z"}
            for item in (payment(2, "600.00"), late):
                await browser.send("POST", "/api/v1/events/payment", encoded(item), key)
            said = {"event": "payment/p-2", "verdict": "fraud", "source": "chargeback"}
            known = said | {"known_at": "2026-01-06T00:00:00Z"}
            assert (await browser.send("POST", "/api/v1/labels", encoded(known), key)).status == 200
            page = await browser.get("/rules/dear_one")
            of = re.search(r"/backtests\?of=(version%20dear_one@\d+)", page.body.decode())
            assert of is not None
            begun = await sent(browser, "/backtests", of=of[1].replace("%20", " "))
            async with working(browser.asks):
                page = await watched(browser, begun.headers["location"])
            assert b"/decisions/payment/p-2" in page.body
            assert b"/decisions/payment/p-1" in page.body, "the project without that version approves it"
            assert b"1 recorded decision differs for other reasons: rules changed since." in page.body
            assert page.body.partition(b'class="sum"')[2].partition(b"</ol>")[0].count(b" EUR</b>") == 4
            monkeypatch.setattr(backtests, "_worth", lambda *_: None)  # as where event types differ in their costs
            page = await browser.get(begun.headers["location"])
            assert page.body.partition(b'class="sum"')[2].partition(b"</ol>")[0].count(b"not counted</span></b>") == 2

    asyncio.run(steps())


@pytest.mark.parametrize(
    "net, low, high, advice",
    [
        ("-34.01", "-616.20", "766.58", "No gain shown; a loss is possible."),
        ("-90.00", "-120.00", "-60.00", "Not worth it: the draft costs money."),
        ("90.00", "-10.00", "190.00", "Not proven: the gain is within chance."),
        ("90.00", None, None, "Not proven: the gain is within chance."),
        ("90.00", "60.00", "120.00", "Worth it: the gain is beyond chance."),
        ("0.00", "0.00", "0.00", "No gain and no loss: the decisions that change come to 0."),
        (None, None, None, ""),
    ],
)
def test_a_backtest_says_whether_its_draft_is_worth_activating(net, low, high, advice):
    report = report_of(net, low, high)
    found, unchanged = worth(report), worth(replace(report, changed=0))

    assert (found["says"], found["advice"]) == (sentence(report), advice)
    assert (unchanged["kind"], unchanged["advice"]) == ("warn", "The draft changes nothing.")
    assert worth(None) is None


def report_of(net: str | None, low: str | None, high: str | None) -> BacktestReport:
    side = {"frauds_stopped": 0, "fraud_money_stopped": "0.00", "reviews": 0, "presumed_false_declines": 0}
    balance = {"old": side, "new": side, "net": net, "low": low, "high": high, "days": 20, "events": 9, "mature": 9}
    lists = {name: [] for name in ("draft", "outcomes", "remarks", "rules", "changed_rows", "exploration")}
    numbers = dict.fromkeys(("events", "seconds", "immature", "undecided"), 0)
    parts = {"start": None, "end": None, "as_of": "", "money": "EUR", "learnt_from": None, "rules_gone": {}}
    parts |= {"recorded": {"differ": 0, "because": []}, "costs": {"review": None, "false_decline": None, "named": True}}
    parts |= {"balance": balance | {"labelled": 9, "weeks": []}, "changed": 1, "unknowable": ""}
    renamed = {"from": parts.pop("start"), "to": parts.pop("end")}
    return msgspec.convert(lists | numbers | parts | renamed, BacktestReport)


def look_of(id_: str, effect: str, genuine: int) -> rule_looks.RuleLook:
    rule, record = (
        Rule(id_, "payment", "card", Literal(BOOLEAN, True), effect),
        RuleRecord(10, older_fraud=1, older_genuine=genuine),
    )
    return rule_looks.RuleLook(id_, (rule,), None, None, record, ())


def test_the_least_precise_rule_is_one_that_is_to_catch_fraud():
    spared, first, second = look_of("spared", "allow", 9), look_of("a", "review", 1), look_of("b", "decline", 2)

    assert least_precise([spared, first, second]) is second
    assert least_precise([spared, first]) is None


def test_examples_of_a_backtest_are_drawn_from_all_of_it():
    drawn = examples(range(1_000))

    assert (len(set(drawn)), drawn) == (25, sorted(drawn))
    assert drawn == examples(range(1_000))
    assert drawn[0] < 300
    assert drawn[-1] > 700
    assert examples([3, 1]) == [3, 1]


def test_a_backtest_is_begun_watched_and_shown(bank):
    async def steps() -> None:
        async with signed_in(bank) as browser:
            without_drafts = (await browser.get("/backtests")).body
            assert b"None yet" in without_drafts
            assert b"Compares the project with itself. For a draft, change a rule." in without_drafts
            for number in range(1, 4):
                body = payment(number, "600.00")
                key = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
                assert (await browser.send("POST", "/api/v1/events/payment", encoded(body), key)).status == 200
            await sent(browser, "/rules/dear_one/draft", text=RULE, tag="")
            begun = await sent(browser, "/backtests", of="draft dear_one", **{"from": "2026-01-05"})
            path = begun.headers["location"]
            async with working(browser.asks):
                page = await watched(browser, path)

            assert b"Outcomes: without and with the draft" in page.body
            sentence = re.search(r'<p class="lead">(.*?)</p>', page.body.decode())
            assert sentence is not None
            for place in (page, await browser.get("/rules/dear_one/draft")):
                shown = place.body.decode()
                assert shown.count(sentence[1]) == 1, "where it can be activated, too, and once on each page"
                assert 'button main" data-key="s"' in shown, "shadow is the first choice"
                assert re.search(r'<button class="button">Activate|<button class="button" data-step>Activate', shown)
            assert b"1,800.00" in page.body
            assert b"/decisions/payment/p-1" in page.body
            assert b"/rules/dear_one" in page.body
            assert path.encode() in (await browser.get("/rules/dear_one/draft")).body
            assert (await sent(browser, "/backtests", of="draft nobody")).status == 422
            listed = (await browser.get("/backtests")).body.decode()
            assert "3 decisions change" in listed, "the list says what came of it"

            tag = re.search(r'name="tag" value="([^"]+)"', page.body.decode())
            assert tag is not None
            await sent(browser, "/rules/dear_one/draft/activate", tag=tag[1], reason="it is worth it")
            page = await browser.get(path)
            assert b">Activate<" not in page.body, "there is no such draft any more"
            form = dict(re.findall(r'<input type="hidden" name="(of|again)" value="([^"]*)"', page.body.decode()))
            again = await sent(browser, "/backtests", **form, **{"from": "2026-01-05"})
            assert again.status == 303, "the draft went live, and is still what was tested"
            async with working(browser.asks):
                page = await watched(browser, again.headers["location"])
            assert b"The draft changes nothing." in page.body
            assert b"<h1>Draft of dear_one</h1>" in page.body
            assert b"changes nothing" in (await browser.get("/backtests")).body
            assert (await sent(browser, "/backtests", of="now", to="2026-13-01")).status == 422

    asyncio.run(steps())


def encoded(body: object) -> bytes:
    import msgspec

    return msgspec.json.encode(body)


def test_rules_in_braces_are_shown_and_left_alone(bank):
    braced = "[{ id: dear_one, on: payment, by: card, when: this.amount > 500, effect: review }]\n"
    (bank / "rules" / "dear.yaml").write_text(braced, encoding="utf-8")
    (bank / "rules" / "near.yaml").write_text(f"- {braced[1:-2].replace('dear', 'near')}\n", encoding="utf-8")

    async def steps() -> None:
        async with signed_in(bank) as browser:
            assert b"near_one" in (await browser.get("/rules")).body
            for id_ in ("dear_one", "near_one"):
                assert b"active" in (await browser.get(f"/rules/{id_}")).body
                assert (await browser.get(f"/rules/{id_}/draft")).status == 200
                text = RULE.replace("dear", id_.partition("_")[0])
                await sent(browser, f"/rules/{id_}/draft", text=text, tag="")
                page = await browser.get(f"/rules/{id_}/draft")
                moved = await sent(
                    browser, f"/rules/{id_}/draft/activate", tag=tag_in(page.body), file="dear.yaml", reason="x"
                )
                assert (id_, moved.status) in {("dear_one", 422), ("near_one", 303)}
            assert (bank / "rules" / "dear.yaml").read_text(encoding="utf-8") == braced

    asyncio.run(steps())


def test_what_is_no_text_is_refused(bank):
    async def steps(asks: Asker) -> None:
        for body in (b'{"text":"\\ud800"}', b'{"text":5}', b"[]", b'{"text":"a","more":1}', b"\xff"):
            assert (await asks.ask("PUT", DRAFT, body, headers=NEW)).status == 422
            assert (await asks.ask("POST", f"{DRAFT}/check", body)).status == 422
        odd = (await asks.ask("POST", f"{DRAFT}/check", {"text": "\x00\t- &a *b !!x\r\n---\n"})).json()
        assert odd["ok"] is False
        for size, status in ((200_000, 400), (600_000, 413)):
            assert (await asks.ask("PUT", DRAFT, {"text": "x" * size}, headers=NEW)).status == status

    run(bank, steps)


# ---- a long log


@asynccontextmanager
async def hit_eleven_times(bank: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Browser]:
    """Somebody looks at a rule that hit, where a page counts one block at once."""
    monkeypatch.setattr(rule_looks, "SLICE_S", 0.0)
    (bank / "rules" / "dear.yaml").write_text(RULE, encoding="utf-8")
    async with signed_in(bank) as browser:
        key = {"x-csrf-token": await browser.csrf(), "content-type": "application/json"}
        posted = [payment(number, "600.00") for number in range(1, 12)]
        await browser.send("POST", "/api/v1/events/payment", encoded(posted), key)
        yield browser


def test_pages_show_the_hits_counted_so_far_and_programs_have_all(bank, monkeypatch):
    monkeypatch.setattr(hit_records, "_BLOCK", 3)

    async def steps() -> None:
        async with hit_eleven_times(bank, monkeypatch) as browser:
            looks = browser.asks.service.project.rule_looks
            monkeypatch.setattr(table, "count_hits", lambda *_: None)
            seen = []
            for path in ("/rules", "/rules/dear_one", "/rules/dear_one/hits"):
                page = (await browser.get(path)).body.decode()
                assert "data-again" in page
                assert "so far" in page
                assert "again.js" in page
                seen.append(len(looks.records.newest("dear_one", None, 100)))
            assert seen == [3, 6, 9]
            found = await browser.send("GET", "/api/v1/rules/dear_one/record", b"", {"accept": "application/json"})
            assert found.json()["record"]["hits"] == 11
            whole = (await browser.get("/rules/dear_one/hits")).body.decode()
            assert ("data-again" in whole, "so far" in whole, "again.js" in whole) == (False, False, False)
            assert whole.count("/decisions/payment/") == 11

    asyncio.run(steps())


def test_the_rest_is_counted_beside_whoever_looks(bank, monkeypatch):
    monkeypatch.setattr(hit_records, "_BLOCK", 1)

    async def steps() -> None:
        async with hit_eleven_times(bank, monkeypatch) as browser:
            records = browser.asks.service.project.rule_looks.records
            assert b"data-again" in (await browser.get("/rules")).body
            for _ in range(12_000):
                if records.is_whole:
                    break
                await asyncio.sleep(0.05)
            assert len(records.newest("dear_one", None, 100)) == 11

    asyncio.run(steps())
