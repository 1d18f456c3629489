"""Calls of earlier services, asked of a service: who may, what is refused, what is written, what is answered."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.errors import UsageError
from shroff.notices.mailer import DoubtError, Unmailed
from shroff.people.access import RIGHTS, Right, Role
from shroff.people.store import AuditFilter, rows_of
from shroff.services import project as app
from shroff.services.notices.files import SentLetters
from shroff.streams.sink import AwayError
from shroff.web.http.openapi import openapi
from shroff.web.table import table
from tests.support.log_memory_parts import quarantined
from tests.support.webs import Asker
from tests.web.test_web import _quick, run  # noqa: F401 - the fixture is used by its name

pytestmark = pytest.mark.slow

ORDER = {"customer_id": "c-1", "email": "ann@example.com", "amount": 59.9}
WRITING = """
/orders:
  event: order
  write: true
  fields: { order_id: row.order.number, ordered_at: row.order.at }
  answer: { id: decision.id, decision: decision.outcome, before: customer.orders_before }
"""


def project(tmp_path: Path, name: str) -> Path:
    return shutil.copytree(TEMPLATE_FOLDER / name, tmp_path / name)


def order(number: int, **changes: object) -> dict[str, object]:
    at = f"2026-01-05T08:{number:02d}:00Z"
    return {"order_id": f"o-{number}", "ordered_at": at, **ORDER, **changes}


def test_an_order_is_scored_by_customer_and_mail_with_its_features(tmp_path):
    async def steps(asks: Asker) -> None:
        first = await asks.ask("POST", "/score_order/", {"customer_id": "nobody", "email": "no@body.example"})

        assert first.status == 200
        assert {name: first.json()[name] for name in ("customer_id", "probability", "outcome")} == {
            "customer_id": "nobody",
            "probability": None,
            "outcome": "approve",
        }
        assert first.json()["features"]["customer.orders_before"] == 0

        for number in range(3):
            await asks.ask("POST", "/api/v1/events/order", order(number))
        known = await asks.ask("POST", "/score_order", ORDER)

        assert known.json()["features"]["customer.orders_before"] == 3
        assert known.json()["features"]["mail.amount_mean"] == 59.9
        assert (await asks.ask("GET", "/metrics")).body.count(b'became="appended",kind="event"} 3') == 1

    run(project(tmp_path, "orders"), steps)


def test_the_columns_of_the_file_give_a_prediction(tmp_path):
    columns = {
        "Type of Card": "Visa",
        "Entry Mode": "PIN",
        "Amount": "£21",
        "Type of Transaction": "ATM",
        "Country of Transaction": "USA",
        "Country of Residence": "United Kingdom",
    }

    async def steps(asks: Asker) -> None:
        abroad = await asks.ask("POST", "/predict/", columns)
        at_home = await asks.ask("POST", "/predict/", {**columns, "Country of Transaction": "United Kingdom"})
        wrong = await asks.ask("POST", "/predict/", {**columns, "Amount": "much", "Colour": "red", "Entry Mode": 7})
        mistaken = await asks.ask("POST", "/predict/", {**columns, "Amount": "much", "Entry Mode": 7})

        assert abroad.json() == {"prediction": 1}
        assert at_home.json() == {"prediction": 0}
        assert wrong.status == mistaken.status == 422
        assert [error["path"] for error in wrong.json()["errors"]] == ["Colour"]
        assert [error["path"] for error in mistaken.json()["errors"]] == ["Amount", "Entry Mode"]

        readme = (TEMPLATE_FOLDER / "cards" / "README.md").read_text(encoding="utf-8")
        refuses = readme.partition("refuses four columns: ")[2]
        line = dict.fromkeys(re.findall("`([^`]+)`", refuses.splitlines()[0]), "1")
        whole = await asks.ask("POST", "/predict/", {**columns, **line})

        assert [error["path"] for error in whole.json()["errors"]] == list(line)

    run(project(tmp_path, "cards"), steps)


def test_a_call_that_writes_is_an_event_that_was_posted(tmp_path):
    folder = project(tmp_path, "orders")
    (folder / "calls.yaml").write_text(WRITING, encoding="utf-8")
    body = {**ORDER, "order": {"number": "o-1", "at": "2026-01-05T08:30:00Z"}}

    async def steps(asks: Asker) -> None:
        first, again = [await asks.ask("POST", "/orders", body) for _ in range(2)]
        posted = await asks.ask("POST", "/api/v1/events/order", {**ORDER, **ORDER_OF_BODY})
        other = await asks.ask("POST", "/orders", {**body, "amount": 1})
        nameless = await asks.ask("POST", "/orders", ORDER)
        text = (await asks.ask("GET", "/metrics")).body.decode()

        assert first.json() == again.json() == {"id": "o-1", "decision": "approve", "before": 0}
        assert posted.json() == (await asks.ask("GET", "/api/v1/decisions/order/o-1")).json()
        assert other.status == 409
        assert nameless.status == 422
        assert [error["path"] for error in nameless.json()["errors"]] == ["order.number", "order.at"]
        assert 'became="quarantined",kind="event"} 2.0\n' in text  # the other content, and the one without a name

    run(folder, steps)


def hashed_orders(tmp_path: Path, more: str = "") -> Path:
    """A project that hashes who orders and where to, and whose call takes orders in another shape."""
    folder = project(tmp_path, "orders")
    events = (folder / "events.yaml").read_text(encoding="utf-8")
    for clear, hashed in (
        ("customer_id: text", "customer_id: text hashed"),
        ("location: text?", "location: text? hashed"),
    ):
        events = events.replace(clear, hashed)
    (folder / "events.yaml").write_text(events, encoding="utf-8")
    fields = f"ordered_at: row.order.at, customer_id: row.buyer, location: row.to.place{more} }}"
    calls = WRITING.replace("ordered_at: row.order.at }", fields).replace(
        "  event:", "  lists: { who: [buyer] }\n  event:"
    )
    (folder / "calls.yaml").write_text(calls, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({"amount": "x"}, ""),
        ({"colour": "red"}, ""),
        ({"order": 7}, ""),
        ({"who": ["CLEAR-c1", "CLEAR-c2"]}, ""),
        ({"order": {"number": "o-1", "at": "soon"}}, ""),
        ({}, ", amount: row.to.place"),  # clear, and made of a value that is not
    ],
)
def test_what_a_call_refuses_is_kept_without_a_clear_value_of_a_hashed_field(tmp_path, changes, more):
    body = {
        "who": ["CLEAR-c1"],
        "to": {"place": "CLEAR-town"},
        "order": {"number": "o-1", "at": "2026-01-05T08:30:00Z"},
        **({} if more else {"amount": 59.9}),
    }

    async def steps(asks: Asker) -> None:
        found = await asks.ask("POST", "/orders", {**body, **changes})
        with asks.service.project.log.reading() as log:
            ((_, entry),) = quarantined(log)

        assert found.status == 422
        assert b"CLEAR" not in entry.raw + found.body + entry.reason.encode()
        assert b"hashed:" in entry.raw
        assert entry.type == "order"

    run(hashed_orders(tmp_path, more), steps)


ORDER_OF_BODY = {"order_id": "o-1", "ordered_at": "2026-01-05T08:30:00Z"}


def test_who_may_not_gets_no_further_and_nobody_learns_what_there_is(tmp_path):
    folder = project(tmp_path, "orders")
    (folder / "calls.yaml").write_text(WRITING + (folder / "calls.yaml").read_text(), encoding="utf-8")
    paths = {"/orders": Right.SUBMIT_EVENTS, "/score_order/": Right.SCORE}

    async def steps(asks: Asker) -> None:
        for path, right in paths.items():
            assert (await asks.ask("POST", path, b"{", key="")).status == 401
            for role in Role:
                found = await asks.ask("POST", path, b"{", key=role.value)
                assert found.status == (422 if right in RIGHTS[role] else 403), (path, role)
            assert (await asks.ask("POST", path, ORDER, media_type="application/x-ndjson")).status == 415
            assert (await asks.ask("POST", path, [ORDER])).status == 422
            assert (await asks.ask("POST", path, b" " * 1_100_000)).status == 413
            assert (await asks.ask("GET", path)).status == 405

    run(folder, steps)


def test_thirty_numbers_give_one(tmp_path, data, root):
    folder = shutil.copytree(root / "examples" / "ulb", tmp_path / "ulb")
    with (data / "ulb_creditcard_sample_1722.csv").open() as file:
        rows = list(csv.reader(file))[1:]
    low = next(row for row in rows if float(row[15]) < -8)
    usual = next(row for row in rows if row[-1] == "0" and abs(float(row[15])) < 1)

    async def steps(asks: Asker) -> None:
        found = [
            await asks.ask("POST", "/predict/", {"features": [float(item) for item in row[1:31]]})
            for row in (low, usual)
        ]
        strings = await asks.ask(
            "POST", "/predict/", {"features": [*map(float, low[1:5]), "a", *map(float, low[6:31])]}
        )
        short = await asks.ask("POST", "/predict/", {"features": [1.0] * 29})
        not_a_number = await asks.ask("POST", "/predict/", b'{"features": [NaN' + b", 1" * 29 + b"]}")
        nothing = await asks.ask("POST", "/predict/", {})
        odd = [
            await asks.ask(
                "POST", "/predict/", {"features": [*map(float, low[1:at]), value, *map(float, low[at + 1 : 31])]}
            )
            for at, value in ((1, None), (5, None), (1, -1), (30, -5))
        ]

        assert [item.json() for item in found] == [{"prediction": 1}, {"prediction": 0}]
        assert [element.status for element in (strings, short, not_a_number, nothing)] == [422] * 4
        assert [element.json()["errors"][0]["path"] for element in (strings, short, not_a_number, nothing)] == [
            "features[4]",
            "features",
            "",
            "features",
        ]
        assert [item.status for item in odd] == [422] * 4
        assert [item.json()["errors"][0]["path"] for item in odd] == [f"features[{at}]" for at in (0, 4, 0, 29)]

    run(folder, steps)


def test_the_openapi_document_has_the_calls_of_the_project(tmp_path, root):
    definitions = app.open(shutil.copytree(root / "examples" / "ulb", tmp_path / "ulb")).definitions
    found = openapi(table(definitions), definitions.events)["paths"]["/predict/"]["post"]
    body = found["requestBody"]["content"]["application/json"]["schema"]

    assert "/predict" not in openapi(table(definitions), definitions.events)["paths"]
    assert body["required"] == ["features"]
    assert body["properties"]["features"]["minItems"] == body["properties"]["features"]["maxItems"] == 30
    assert found["responses"]["200"]["content"]["application/json"]["schema"]["properties"] == {
        "prediction": {"type": ["integer", "string", "null"]}
    }
    assert "`score`" in found["description"]


@pytest.mark.slow
def test_the_call_of_an_earlier_service_takes_steps_in_any_order_and_no_body_at_all(tmp_path, root):
    folder = shutil.copytree(root / "examples" / "app-funnels", tmp_path / "app")
    app.open(folder).ingest([folder / "app.jsonl"])
    steps_of = {
        "ENTERED_ONBOARD_SCREEN": ["ENTERED_REFERRAL_CODE", "USER_LOGGED_IN"],
        "ENTERED_REFERRAL_CODE": ["USER_LOGGED_IN"],
    }
    march = {"startDate": "2026-03-01", "endDate": "2026-03-04"}

    async def steps(asks: Asker) -> None:
        orders = [
            [
                {"events": {"stepBeforeDropOff": step, "nextStepList": following[::way]}, "dateIntervals": march}
                for step, following in steps_of.items()
            ]
            for way in (1, -1)
        ]
        ahead, back = [
            (await asks.ask("POST", "/funnel-analysis", {"eventsAndDatesList": items})).json() for items in orders
        ]
        assert ahead == back
        assert ahead[0] == {"dropOffStep": "ENTERED_ONBOARD_SCREEN", "dropOffCount": 23, "recoveryCount": 1}

        for body in (b"", b"{}"):
            found = await asks.ask("POST", "/funnel-analysis", body, media_type="" if not body else "application/json")
            assert [item["dropOffStep"] for item in found.json()] == list(steps_of)
        assert (await asks.ask("POST", "/funnel-analysis", {"eventsAndDatesList": []})).status == 422
        assert (await asks.ask("POST", "/fetch-from-big-query", b"", media_type="")).status == 422

    run(folder, steps)


def test_a_mail_goes_to_named_recipients_alone_and_once_for_each_key(tmp_path):
    mail = {"notificationType": "EMAIL", "subject": "Alert", "message": "u-1", "contacts": ["analysts@bank.example"]}
    keyed = {"Idempotency-Key": "k-1"}
    refused = {
        "a stranger": (mail | {"contacts": ["analysts@bank.example", "eve@x.example"]}, 422),
        "no list": (mail | {"contacts": "analysts@bank.example"}, 422),
        "nobody": (mail | {"contacts": []}, 422),
        "another channel": (mail | {"notificationType": "SMS"}, 422),
        "no subject": ({name: mail[name] for name in mail if name != "subject"}, 422),
        "another name": (mail | {"bcc": ["eve@x.example"]}, 422),
    }

    async def steps(asks: Asker) -> None:
        async def kept() -> list[dict[str, str]]:
            return (await asks.ask("GET", "/api/v1/mailbox")).json()["mails"]

        for body, status in refused.values():
            assert (await asks.ask("POST", "/notification-service", body)).status == status
        assert (await asks.ask("POST", "/notification-service", mail, key="service")).status == 403
        assert await kept() == []

        answers = [await asks.ask("POST", "/notification-service", mail, headers=keyed) for _ in range(3)]
        other = await asks.ask("POST", "/notification-service", mail | {"message": "u-2"}, headers=keyed)

        assert [answer.json() for answer in answers] == ["Successfully sent notification request"] * 3
        assert other.status == 409
        assert [(item["subject"], item["to"]) for item in await kept()] == [("Alert", "analysts@bank.example")]

        await asks.ask("POST", "/notification-service", mail)
        await asks.ask(
            "POST",
            "/notification-service",
            mail | {"subject": "A\r\nBcc: eve@x.example"},
            headers={"Idempotency-Key": "k-2"},
        )
        found = await kept()

        assert len(found) == 3
        assert {item["to"] for item in found} == {"analysts@bank.example"}
        acts = {row.after for row in rows_of(asks.service.desk.store, AuditFilter(action="mail.send"))}
        assert acts == {'{"recipients":1}'}

    run(project(tmp_path, "savings"), steps)


def test_a_mail_that_nobody_has_may_be_sent_again_and_one_of_which_nobody_knows_may_not(tmp_path, monkeypatch):
    opened = app.open(project(tmp_path, "savings"))
    opened.ingest(TEMPLATE_FOLDER / "savings" / "examples" / "saving.json", as_type="saving")
    ways: list[object] = [AwayError("it is away"), [], DoubtError("who knows"), [Unmailed("a@b.example", "550 no")]]
    told: list[str] = []

    class Scripted:
        def send(self, mail):
            told.append(mail.id)
            way = ways.pop(0)
            if isinstance(way, Exception):
                raise way
            return way

        def close(self):
            pass

    monkeypatch.setattr(SentLetters, "open_mailer", lambda _: Scripted())

    def sent(key: str) -> object:
        try:
            return opened.letters.send_once("/mails", ["a@b.example"], "s", "t", key)
        except (UsageError, AwayError) as error:
            return str(error)[:12]

    assert [sent("k-1") for _ in range(3)] == ["it is away", [], []]
    assert [sent("k-2") for _ in range(2)] == ["who knows", "the mail wit"]
    assert [sent("k-3") for _ in range(2)] == [["550 no"]] * 2
    assert len(told) == 4
    assert told[0] == told[1]  # the mail server, too, can tell that it is the same
