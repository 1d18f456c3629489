"""Flags, entities, rules, models, backtests and the OpenAPI document."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Awaitable, Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.errors import UsageError
from shroff.events.intake import Intake
from shroff.people.access import RIGHTS, Right, Role
from shroff.people.store import AuditFilter, rows_of
from shroff.services import project as app
from shroff.web.http.messages import Json
from shroff.web.http.openapi import openapi
from shroff.web.http.routes import Route, Screen
from shroff.web.http.schemas import event_schema
from shroff.web.pages.account import START
from shroff.web.pages.renderer import Seen, environment, tabs
from shroff.web.table import PAGES, ROUTES, gathered, table
from tests.support.projects import FILES, definitions
from tests.support.webs import Asker, asker, working

pytestmark = pytest.mark.slow

TEMPLATE = TEMPLATE_FOLDER / "payments"
RULE = """
- id: any_payment
  on: payment
  by: card
  when: this.amount > 0
  reason: A payment of {this.amount}
  effect: review
"""
WITHOUT = {"features.yaml": None, "rules/large.yaml": None}
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


def payment(number: int, **fields: object) -> dict[str, object]:
    return {
        "payment_id": f"p-{number}",
        "paid_at": f"2026-01-05T08:{number:02d}:00Z",
        "card": "c-1",
        "merchant": "m-1",
        "terminal": "t-1",
        "amount": "24.90",
        "country": "DE",
        "channel": "pos",
        **fields,
    }


def acts(asks: Asker) -> list[tuple[str, str, str]]:
    with asks.service.desk.store.look() as look:
        return [(row.who, row.action, row.subject) for row in look.record(AuditFilter())]


def test_flags_are_read_in_parts_and_judged(bank):
    (bank / "rules" / "any.yaml").write_text(RULE, encoding="utf-8")

    async def steps(asks: Asker) -> None:
        await asks.ask("POST", "/api/v1/events/payment", [payment(number) for number in range(5)])
        first = (await asks.ask("GET", "/api/v1/flags?entity=card&key=c-1&limit=3")).json()
        rest = (await asks.ask("GET", f"/api/v1/flags?entity=card&key=c-1&limit=3&cursor={first['next']}")).json()

        assert [flag["id"] for flag in first["flags"] + rest["flags"]] == [f"{n}-any_payment" for n in (6, 5, 4, 3, 2)]
        assert rest["next"] is None
        assert (await asks.ask("GET", "/api/v1/flags?entity=card&key=c-1&limit=5")).json()["next"] is None
        assert {flag["accuracy"] for flag in first["flags"]} == {"PENDING_CONFIRMATION"}

        judged = await asks.ask("PATCH", "/api/v1/flags/4-any_payment", {"accuracy": "FALSE_ALARM"}, key="analyst")

        assert judged.json()["accuracy"] == "FALSE_ALARM"
        assert (await asks.ask("GET", "/api/v1/flags?entity=card&key=c-1")).json()["flags"][2] == judged.json()
        assert acts(asks)[-1][1:] == ("flag.judge", "flag 4-any_payment")

        asks.service.project.label("payment/p-2", "fraud", source="chargeback")  # stronger, and no analyst's word
        for accuracy, reason, labels in (
            ("FALSE_ALARM", None, 2),
            ("FALSE_ALARM", "rang", 3),
            ("FALSE_ALARM", "rang", 3),
            ("ACCURATE_PREDICTION", "rang", 4),
            ("ACCURATE_PREDICTION", "rang", 4),
        ):
            body = {"accuracy": accuracy, "reason": reason}
            assert (await asks.ask("PATCH", "/api/v1/flags/4-any_payment", body, key="analyst")).status == 200
            with asks.service.project.log.reading() as log:
                assert len([item for part in log.labels_after(0) for item in part]) == labels

        for path, body, status in (
            ("/api/v1/flags/4-other_rule", {"accuracy": "FALSE_ALARM"}, 404),
            ("/api/v1/flags/x", {"accuracy": "FALSE_ALARM"}, 404),
            ("/api/v1/flags/4-any_payment", {"accuracy": "MAYBE"}, 422),
            ("/api/v1/flags/4-any_payment", {"accuracy": "FALSE_ALARM", "seq": 1}, 422),
        ):
            assert (await asks.ask("PATCH", path, body)).status == status
        for query in ("", "?entity=card", "?entity=card&key=c-1&limit=0", "?entity=card&key=c-1&cursor=AAAA"):
            assert (await asks.ask("GET", f"/api/v1/flags{query}")).status == 400

    run(bank, steps)


def test_who_does_not_lead_reads_the_verdicts_of_flags_from_the_log(bank):
    (bank / "rules" / "any.yaml").write_text(RULE, encoding="utf-8")
    flags, key = "/api/v1/flags?entity=card&key=c-1", "/api/v1/entities/card/c-1"

    async def steps(asks: Asker) -> None:
        await asks.ask("POST", "/api/v1/events/payment", [payment(number) for number in range(2)])
        await asks.ask("PATCH", "/api/v1/flags/3-any_payment", {"accuracy": "FALSE_ALARM"})
        leads = [(await asks.ask("GET", path)).json()["flags"] for path in (flags, key)]
        asks.service.writer.queue.pause("this service stands by")
        stands_by = [(await asks.ask("GET", path)).json()["flags"] for path in (flags, key)]

        assert [lead["accuracy"] for lead in leads[0]] == ["FALSE_ALARM", "PENDING_CONFIRMATION"]
        assert stands_by == leads
        assert not asks.service.is_ready

        judged = await asks.ask("PATCH", "/api/v1/flags/2-any_payment", {"accuracy": "ACCURATE_PREDICTION"})

        assert judged.json()["accuracy"] == "ACCURATE_PREDICTION"
        assert (await asks.ask("GET", flags)).json()["flags"][1] == judged.json()

    run(bank, steps)


def test_flags_have_the_fields_of_their_event_and_are_found_by_them(bank):
    (bank / "rules" / "any.yaml").write_text(RULE, encoding="utf-8")
    (bank / "rules" / "each.yaml").write_text(RULE.replace("any_payment", "each_payment"), encoding="utf-8")
    events = bank / "events.yaml"
    text = events.read_text(encoding="utf-8").replace("    merchant: text", "    merchant: text hashed")
    events.write_text(text, encoding="utf-8")
    flags = "/api/v1/flags?entity=card&key=c-1"

    async def steps(asks: Asker) -> None:
        sent = [payment(number, amount=f"{number}.50", merchant=f"m-{number % 2}") for number in range(6)]
        await asks.ask("POST", "/api/v1/events/payment", sent)

        async def found(query: str) -> list[str]:
            return [flag["id"] for flag in (await asks.ask("GET", f"{flags}&{query}")).json()["flags"]]

        newest = (await asks.ask("GET", flags)).json()["flags"][0]
        fields = ("payment_id", "card", "amount", "country")

        assert [newest["fields"][name] for name in fields] == ["p-5", "c-1", "5.50", "DE"]
        assert newest["also"] == ["7-each_payment"]
        assert await found("field=amount&value=2.50") == ["4-any_payment", "4-each_payment"]
        assert await found("field=merchant&value=m-1&limit=3") == ["7-any_payment", "7-each_payment", "5-any_payment"]
        assert await found("field=merchant&value=other") == []

        judged = (await asks.ask("PATCH", "/api/v1/flags/4-any_payment", {"accuracy": "FALSE_ALARM"})).json()

        assert judged["also"] == ["4-each_payment"]
        now = {flag["id"]: flag["accuracy"] for flag in (await asks.ask("GET", flags)).json()["flags"]}
        assert now["4-each_payment"] == "FALSE_ALARM"
        for query in ("field=amount", "value=1", "field=amuont&value=1"):
            answer = await asks.ask("GET", f"{flags}&{query}")
            assert answer.status == 400
        assert "Did you mean amount?" in answer.json()["detail"]

    run(bank, steps)


def test_a_hashed_key_is_asked_for_in_clear_or_as_the_log_has_it(bank):
    (bank / "rules" / "any.yaml").write_text(RULE, encoding="utf-8")
    events = bank / "events.yaml"
    text = events.read_text(encoding="utf-8").replace("    card: text ", "    card: text hashed ")
    events.write_text(text, encoding="utf-8")

    async def steps(asks: Asker) -> None:
        await asks.ask("POST", "/api/v1/events/payment", [payment(number) for number in range(2)])
        found = (await asks.ask("GET", "/api/v1/flags?entity=card&key=c-1")).json()["flags"]
        hashed = quote(found[0]["key"], safe="")

        assert [item["key"].partition(":")[0] for item in found] == ["hashed", "hashed"]
        assert (await asks.ask("GET", f"/api/v1/flags?entity=card&key={hashed}")).json()["flags"] == found

        clear = await asks.ask("GET", "/api/v1/entities/card/c-1")

        assert [row["id"] for row in clear.json()["timeline"]] == ["p-1", "p-0"]
        assert clear.json()["key"] == found[0]["key"]
        assert clear.json() == (await asks.ask("GET", f"/api/v1/entities/card/{hashed}")).json()

    run(bank, steps)


def test_labels_stand_in_the_record_with_who_sent_them(bank):
    label = {"event": "payment/p-1", "verdict": "fraud", "source": "analyst", "known_at": "2026-02-01T00:00:00Z"}

    async def steps(asks: Asker) -> None:
        await asks.ask("POST", "/api/v1/labels", label, key="analyst")
        await asks.ask("POST", "/api/v1/labels", [label, {**label, "event": "p-2"}, {"event": "p-3"}], key="service")
        refused = await asks.ask("POST", "/api/v1/labels", {**label, "verdict": "Betrug"}, key="analyst")
        assert refused.status == 422

        assert acts(asks) == [("key-analyst", "label.add", "payment/p-1"), ("key-service", "label.add", "2 labels")]

    run(bank, steps)


def test_a_label_that_names_no_id_stands_in_the_record_by_what_names_it(bank):
    events = bank / "events.yaml"
    more = "    arn: text? unique\n    ref: text? hashed unique\n    card: text "
    events.write_text(events.read_text(encoding="utf-8").replace("    card: text ", more), encoding="utf-8")
    said = {"verdict": "fraud", "source": "analyst", "known_at": "2026-02-01T00:00:00Z"}

    async def steps(asks: Asker) -> None:
        for by in ({"arn": "7452"}, {"ref": "CLEAR-1"}):
            await asks.ask("POST", "/api/v1/labels", {**said, **by})
        subjects = [subject for _, _, subject in acts(asks)]

        assert subjects[0] == "payment with arn 7452"
        assert subjects[1].startswith("payment with ref hashed:")

    run(bank, steps)


def test_an_entity_has_the_links_that_its_features_count(bank):
    features = bank / "features.yaml"
    more = "card:\n  linked: distinct(payment.card via payment.device up to 2) over 30d including this\n"
    features.write_text(features.read_text(encoding="utf-8").replace("card:\n", more, 1), encoding="utf-8")

    async def steps(asks: Asker) -> None:
        events = [payment(number, card=f"c-{number}", device=f"d-{number // 2}", channel="web") for number in range(4)]
        events += [payment(4 + number, card=f"c-{number}", device="hub", channel="web") for number in range(3)]
        await asks.ask("POST", "/api/v1/events/payment", events)
        found = (await asks.ask("GET", "/api/v1/entities/card/c-1/links")).json()

        link = {"via": "payment.device", "value": "d-0", "keys": ["c-0"], "frauds": 0, "spent": "49.80"}
        assert [each | link for each in found["links"]] == found["links"]
        assert [(each["events"], each["step"]) for each in found["links"]] == [(2, 1)]
        assert ([each["key"] for each in found["members"]], found["ring"]) == (["c-1", "c-0"], 2)
        assert found["hubs"] == [{"via": "payment.device", "value": "hub", "keys": 3}]
        early = (await asks.ask("GET", "/api/v1/entities/card/c-1/links?as_of=2020-01-01")).json()
        assert (early["as_of"], early["links"]) == ("2020-01-01T00:00:00Z", [])
        assert (await asks.ask("GET", "/api/v1/entities/cart/c-1/links")).status == 404
        assert (await asks.ask("GET", "/api/v1/entities/card/c-1/links", key=None)).status == 401

    run(bank, steps)


def test_an_entity_has_its_events_features_flags_and_neighbours(bank):
    async def steps(asks: Asker) -> None:
        events = [
            payment(number, card=f"c-{number % 3}", device=f"d-{number % 2}", channel="web") for number in range(30)
        ]
        posted = (await asks.ask("POST", "/api/v1/events/payment", events)).json()
        first = (await asks.ask("GET", "/api/v1/entities/card/c-1?limit=4")).json()

        assert [row["id"] for row in first["timeline"]] == ["p-28", "p-25", "p-22", "p-19"]
        assert first["timeline"][0]["fields"]["amount"] == "24.90"
        assert first["timeline"][0]["outcome"] == posted[28]["outcome"]
        assert first["features_of"] == "payment/p-28"
        assert set(first["features"]) == {name for name in first["features"] if name.startswith("card.")} != set()
        assert {neighbour["key"] for neighbour in first["neighbours"]} == {"c-0", "c-2"}
        assert {"entity": "device", "key": "d-0"} in first["neighbours"][0]["through"]

        seen, cursor = [], first["next"]
        while cursor:
            part = (await asks.ask("GET", f"/api/v1/entities/card/c-1?limit=4&cursor={cursor}")).json()
            seen += [row["id"] for row in part["timeline"]]
            cursor = part["next"]

        assert seen == ["p-16", "p-13", "p-10", "p-7", "p-4", "p-1"]
        assert (await asks.ask("GET", "/api/v1/entities/card/nobody")).json()["timeline"] == []
        assert (await asks.ask("GET", "/api/v1/entities/house/c-1")).status == 404

    run(bank, steps)


def test_a_file_that_was_written_is_answered_so_however_long_the_writer_lets_it_wait(bank, monkeypatch):
    async def steps(asks: Asker) -> None:
        monkeypatch.setattr(asks.service.checks, "_seconds_max", 0.0)
        made = await asks.ask("PUT", "/api/v1/rules/any.yaml", {"text": RULE}, headers={"if-none-match": "*"})
        assert made.status == 200

    run(bank, steps)


def test_rules_are_changed_by_who_has_read_them(bank):
    async def steps(asks: Asker) -> None:
        path = "/api/v1/rules/any.yaml"
        assert (await asks.ask("PUT", path, {"text": RULE})).status == 428
        for nobody_has in ('"x"', "*", 'W/"x", "y"'):
            refused = await asks.ask("PUT", path, {"text": RULE}, headers={"if-match": nobody_has})
            assert refused.status == 412, nobody_has

        made = await asks.ask("PUT", path, {"text": RULE}, headers={"if-none-match": "*"})
        decided = (await asks.ask("POST", "/api/v1/events/payment", payment(1))).json()
        read = await asks.ask("GET", path)

        assert made.json()["in_force"] is True
        assert decided["outcome"] == "review"
        assert read.json()["text"] == RULE
        assert read.headers["etag"] == made.headers["etag"]

        changed = {"text": RULE.replace("review", "challenge")}
        put = await asks.ask("PUT", path, changed, headers={"if-match": read.headers["etag"]}, key="author")
        stale = await asks.ask("PUT", path, {"text": RULE}, headers={"if-match": read.headers["etag"]})

        assert put.status == 200
        assert stale.status == 412
        assert stale.headers["etag"] == put.headers["etag"]
        assert (await asks.ask("POST", "/api/v1/events/payment", payment(2))).json()["outcome"] == "challenge"

        broken = {"text": RULE.replace("this.amount > 0", "this.amonut > 0")}
        refused = await asks.ask("PUT", path, broken, headers={"if-match": put.headers["etag"]})

        assert refused.status == 422
        assert refused.json()["errors"][0] | {"message": "", "hint": ""} == {
            "file": "rules/any.yaml",
            "line": 5,
            "column": 9,
            "path": "[0].when",
            "message": "",
            "hint": "",
        }
        assert (await asks.ask("GET", path)).json()["text"] == changed["text"]
        for matched in ("*", f'"x", {put.headers["etag"]}', f"W/{put.headers['etag']}"):
            assert (await asks.ask("PUT", path, changed, headers={"if-match": matched})).status == 200, matched
        for name in ("..%2Fshroff.yaml", "a.yml", "%2Fetc%2Fpasswd", "A.yaml"):
            asked = await asks.ask("PUT", f"/api/v1/rules/{name}", {"text": RULE}, headers={"if-none-match": "*"})
            assert asked.status == 400
        assert [act[1:] for act in acts(asks)] == [("rules.put", "rules/any.yaml")] * 5

    run(bank, steps)


def test_cases_are_changed_by_who_has_seen_them_and_those_that_are_none_have_failed(bank):
    (bank / "rules" / "any.yaml").write_text(RULE, encoding="utf-8")

    async def steps(asks: Asker) -> None:
        await asks.ask("POST", "/api/v1/events/payment", [payment(1), payment(2, card="c-2")])
        for _ in range(12_000):
            found = (await asks.ask("GET", "/api/v1/cases")).json()["cases"]
            if len(found) == 2:
                break
            await asyncio.sleep(0.05)
        first, other = found
        path = f"/api/v1/cases/{first['id']}"

        for matched in (f'"x-9", W/"{first["tag"]}"', "*"):
            claimed = await asks.ask("POST", f"{path}/claim", headers={"if-match": matched})
            assert claimed.status == 200, claimed.body
        assert (await asks.ask("POST", f"{path}/release", headers={"if-match": f'"{first["tag"]}"'})).status == 409
        assert (await asks.ask("GET", "/api/v1/cases?limit=2")).json()["next"] is None
        assert (await asks.ask("GET", "/api/v1/cases?limit=1")).json()["next"] is not None

        cases = [{"id": number} for number in (other["id"], 2**62 + 1, -(2**70))]
        done = (await asks.ask("POST", "/api/v1/cases/bulk", {"action": "claim", "cases": cases})).json()

        assert [case["id"] for case in done["cases"]] == [other["id"]]
        assert [(row["id"], row["changed"]) for row in done["failed"]] == [(2**62 + 1, False), (-(2**70), False)]

    run(bank, steps)


def test_models_and_rules_are_listed(bank):
    async def steps(asks: Asker) -> None:
        files = (await asks.ask("GET", "/api/v1/rules", key="viewer")).json()["files"]

        assert (await asks.ask("GET", "/api/v1/models")).json() == {"models": []}
        assert "card_testing" in {rule["id"] for file in files for rule in file["rules"]}
        assert (await asks.ask("GET", "/api/v1/rules/nothing.yaml")).status == 404

    run(bank, steps)


def test_a_draft_is_held_against_the_log(bank):
    async def steps(asks: Asker) -> None:
        async with working(asks, "admin", "author"):
            await held(asks)

    async def held(asks: Asker) -> None:
        posted = await asks.ask("POST", "/api/v1/events/payment", [payment(number) for number in range(20)])
        assert posted.status == 200, (posted.body, asks.told)
        report = await asks.ask("POST", "/api/v1/backtests", {"rules": {"any.yaml": RULE}}, key="author")

        assert report.status == 200, report.body
        assert report.json()["events"] == 20
        mistaken = await asks.ask("POST", "/api/v1/backtests", {"rules": {"any.yaml": RULE.replace("> 0", "> x")}})
        assert mistaken.status == 422
        assert mistaken.json()["detail"].startswith("rules/any.yaml:5:")
        assert [(error["file"], error["line"]) for error in mistaken.json()["errors"]] == [("rules/any.yaml", 5)]
        for draft, words in (
            *(
                ({"rules": {name: RULE}}, "is not a name of a file of rules")
                for name in ("../x.yaml", "\0.yaml", f"{'a' * 300}.yaml", "...yaml", ".yaml", "a/b.yaml", "a.yaml\n")
            ),
            ({"rules": {"x.yaml": RULE + "# " + "x" * 1_100_000}}, "x.yaml is too long"),
            ({"from": "zz"}, "from: 'zz' is not a time"),
            ({"to": "zz"}, "to: 'zz' is not a time"),
        ):
            refused = await asks.ask("POST", "/api/v1/backtests", draft)
            assert (refused.status, words in refused.json()["detail"]) == (422, True), refused.body
        first, second = (row for row in rows_of(asks.service.desk.store) if row.action == "job.begin")
        assert (first.name, first.subject) == ("author", "draft-backtest")
        assert msgspec.json.decode(first.after)["params"]["name"] == "any.yaml"
        assert second.name == "admin"
        assert (await asks.ask("GET", "/api/v1/audit?to=zz")).json()["detail"].startswith("to: 'zz' is not a time")

        begun = await asks.ask("POST", "/api/v1/backtests", {"rules": {"any.yaml": RULE}, "wait": False})
        while (now := (await asks.ask("GET", begun.headers["location"])).json())["state"] != "done":
            assert now["state"] != "failed", now
            await asyncio.sleep(0.05)
        assert now["done"] == now["total"] > 0

    run(bank, steps)


# ---- the document


def test_the_document_tells_every_route_of_the_api(bank):
    async def steps(asks: Asker) -> None:
        found = (await asks.ask("GET", "/api/openapi.json", key="")).json()
        told = {
            (
                method.upper(),
                path.replace("/events/payment", "/events/{event}").replace("/score/payment", "/score/{event}"),
            )
            for path, methods in found["paths"].items()
            for method in methods
        }

        assert found["openapi"].startswith("3.1")
        assert told == {(route.method, route.path) for route in ROUTES if route.told is not None}
        untold = {route.path for route in ROUTES if route.told is None and not route.path.startswith("/scim/v2/")}
        assert untold == {"/api/openapi.json", "/api/docs"}, "what SCIM has its RFCs say"

        names = set(re.findall(r'"\$ref":\s*"#/components/schemas/([^"]+)"', str(found).replace("'", '"')))
        assert names <= set(found["components"]["schemas"])
        odd = [
            item
            for item in inside(found)
            if "enum" in item and item.get("default", item["enum"][0]) not in item["enum"]
        ]
        assert odd == []

    run(bank, steps)


def inside(document: object) -> Iterator[dict[str, Any]]:
    """All objects of a document, at any depth."""
    if isinstance(document, dict):
        yield document
    for item in document.values() if isinstance(document, dict) else document if isinstance(document, list) else ():
        yield from inside(item)


def test_the_document_says_what_must_be_sent_and_what_may_be_refused(bank):
    found = openapi(ROUTES, app.open(bank).definitions.events)["paths"]
    required = {
        (path, parameter["name"])
        for path, methods in found.items()
        for method in methods.values()
        for parameter in method["parameters"]
        if parameter["in"] == "query" and parameter.get("required")
    }
    may_lack = {
        path for path, methods in found.items() if not methods.get("post", {}).get("requestBody", {}).get("required", 1)
    }

    assert required == {("/api/v1/flags", "entity"), ("/api/v1/flags", "key"), ("/api/v1/cases/{id}/attach", "name")}
    assert may_lack == set()
    for path, method, status in (
        ("/health/ready", "get", "503"),
        ("/api/v1/rules/{file}", "put", "409"),
        ("/api/v1/lists/{list}", "put", "409"),
        ("/api/v1/lists/{list}/entries", "post", "409"),
        ("/api/v1/lists/{list}/entries/{value}", "delete", "409"),
    ):
        assert "application/problem+json" in found[path][method]["responses"][status]["content"]


VALUES = {
    "integer": (7, "7", 7.0, 7.5),
    "number(2)": (1.25, "1.25", "1", [1]),
    "money": ("24.90", 24.9, {"amount": "24.90", "currency": "EUR"}, {"amount": "24.90"}),
    "real": (0.5, "0.5", 1, None),
    "boolean": (True, "true", "false", 1),
    "time": ("2026-01-05T08:30:00Z", 1_767_601_800_000, "2026-01-05T08:30:00+01:00", 0.5),
    "duration": (90, 1.5, "90s", [90]),
    "choice(pos, web)": ("pos", "web", "pos", "mail"),
}


@pytest.mark.parametrize("kind", VALUES)
def test_what_the_door_takes_is_what_the_document_says(kind):
    of = definitions({"events.yaml": FILES["events.yaml"].replace("amount: money", f'amount: "{kind}"'), **WITHOUT})
    schema, reader = event_schema(of.events.types["payment"]), Intake(of.events, of.settings, None)
    *taken, wrong = VALUES[kind]

    import jsonschema  # it reads grammars for a second

    def is_taken(value: object) -> bool:
        event = {"id": "p-1", "at": "2026-01-05T08:30:00Z", "amount": value}
        is_told = jsonschema.Draft202012Validator(schema).is_valid(event)
        found = reader.submit("payment", event, source="http", place="", raw=b"", is_strict=True)
        assert (found.event is not None) is is_told, (value, found.refusal)
        return is_told

    assert all(map(is_taken, taken))
    assert not is_taken(wrong)


def untyped(schema: object, at: str = "") -> list[str]:
    """Where a schema says nothing: anything, or an object of anything, without a word on what that is."""
    if isinstance(schema, list):
        return [found for number, part in enumerate(schema) for found in untyped(part, f"{at}/{number}")]
    if not isinstance(schema, dict):
        return []
    is_typed = schema.keys() - {"title", "type"} if schema.get("type") == "object" else schema.keys() - {"title"}
    inner = {name: part for name, part in schema.items() if name != "default" and (name, part) != ("properties", {})}
    return [*([] if is_typed else [at]), *(found for name in inner for found in untyped(inner[name], f"{at}/{name}"))]


def test_a_module_brings_its_routes_by_being_there(tmp_path, monkeypatch):
    planted = tmp_path / "planted" / "inner"
    planted.mkdir(parents=True)
    for folder in (planted, planted.parent):
        (folder / "__init__.py").touch()
    route = 'Route("GET", "/new", Right.READ_CASES, print, screen=Screen("New", "Queue", 15))'
    head = "from shroff.people.access import Right\nfrom shroff.web.http.routes import Route, Screen\n"
    text = f"{head}ROUTES = ({route},)\n"
    (planted / "screen.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)

    found = list(gathered(import_module("planted")))

    assert [item.path for item in found] == ["/new"]
    assert [tab.name for tab in tabs([*PAGES, *found])][:4] == ["Queue", "Team", "New", "Decisions"]
    assert {page.handle.__module__.split(".")[2] for page in (*ROUTES, *PAGES)} == {"api", "http", "pages"}


def test_a_group_is_shown_where_one_of_its_screens_may_be_seen_and_each_role_starts_on_its_own():
    screens = [tab for tab in tabs(PAGES) if tab.right in {Right.READ_CASES, Right.SEND_NOTICES}]
    seen = Seen("Ben", "", screens, screens[-1], None, None, "", "", False, "")
    page = environment().get_template("base.html").render(seen=seen, organizations=())
    starts = {tab.path: tab for tab in tabs(PAGES) if tab.path in START.values()}

    assert re.findall(r'data-key="(\d)" data-says="(\w+)"', page) == [("1", "Queue"), ("6", "System")]
    assert re.findall(r'aria-current="page">([\w ]+)', page) == [screens[-1].name]
    assert {role: starts[path].group[1] for role, path in START.items() if starts[path].right in RIGHTS[role]} == {
        Role.AUTHOR: "Policy",
        Role.VIEWER: "Results",
    }
    with pytest.raises(UsageError, match=r"there is no group of screens 'Sistem'.*Did you mean System"):
        Screen("Spool", "Sistem", 20)


def test_every_answer_has_a_type(bank):
    project = app.open(bank).definitions
    found = openapi(table(project), project.events)
    answers = {
        f"{method} {path} {status}": content["schema"]
        for path, methods in found["paths"].items()
        for method, operation in methods.items()
        for status, told in operation["responses"].items()
        for content in told["content"].values()
    }

    assert untyped(answers) == []
    assert untyped(found["components"]["schemas"]) == []
    assert [name for name in found["components"]["schemas"] if "." in name] == ["event.payment"]  # no two of one name
    assert untyped({"a": {}, "b": {"type": "object"}, "c": [{"title": "C", "type": "object"}]}) == ["/a", "/b", "/c/0"]


def test_an_answer_that_is_not_as_the_document_says_is_seen(bank, monkeypatch):
    make = Json.__init__

    async def steps(asks: Asker) -> None:
        for wrong in ({}, {"live": 1}, {"live": True, "since": 1}):
            monkeypatch.setattr(Json, "__init__", lambda self, _, wrong=wrong: make(self, wrong))
            with pytest.raises(AssertionError, match="GET /health/live 200: "):
                await asks.ask("GET", "/health/live", key="")

    run(bank, steps)


def test_what_is_posted_is_as_the_document_says(bank):
    import jsonschema  # as above

    found = openapi(ROUTES, app.open(bank).definitions.events)
    event = {"components": found["components"], **found["components"]["schemas"]["event.payment"]}

    jsonschema.validate(payment(1), event)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**payment(1), "colour": "red"}, event)


def test_the_page_asks_nothing_of_any_other_host_and_runs_no_script(bank):
    async def steps(asks: Asker) -> None:
        page = await asks.ask("GET", "/api/docs", key="")
        text = page.body.decode()

        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert not re.search(r"<script|https?://|\bsrc=|javascript:| style=| on\w+=", text)
        assert "POST /api/v1/events/payment" in text
        assert text.count("<h2>") >= len(
            [route for route in ROUTES if isinstance(route, Route) and route.told is not None]
        )

    run(bank, steps)


# ---- decisions that came too late


def test_what_was_answered_before_a_decision_came_is_told_with_it_ever_after(bank):
    path = "/api/v1/decisions/payment/p-1"

    async def steps(asks: Asker) -> None:
        plain = await asks.ask("POST", "/api/v1/events/payment", payment(1))
        late = await asks.ask("POST", "/api/v1/events/payment", payment(1), headers={"shroff-answered": "review"})
        other = await asks.ask("POST", "/api/v1/events/payment", payment(1), headers={"shroff-answered": "decline"})
        again = await asks.ask("POST", "/api/v1/events/payment", payment(1))
        wrong = await asks.ask("POST", "/api/v1/events/payment", payment(2), headers={"shroff-answered": "maybe"})
        await asks.ask("POST", "/api/v1/events/payment", payment(3))

        assert late.json() == other.json() == {**plain.json(), "answered": "review"}
        assert again.body == plain.body
        assert wrong.status == 400
        assert (await asks.ask("GET", path)).body == late.body
        assert (await asks.ask("GET", f"{path}/explain")).json()["answered"] == "review"
        assert (await asks.ask("GET", f"{path}/replay")).json()["match"] is True
        assert "answered" not in (await asks.ask("GET", "/api/v1/decisions/payment/p-3")).json()
        with asks.service.desk.store.look() as look:
            (act,) = look.record(AuditFilter(action="event.answered"))
        assert (act.subject, '"decided":"approve"' in str(act.after)) == ("payment/p-1", True)

    run(bank, steps)
