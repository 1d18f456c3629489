"""Requests that are meant to do harm, sent to a real service: none fails it, none gets further than it may."""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import checks
from schemathesis.generation import GenerationMode

from shroff.cli.main import run
from shroff.config import TEMPLATE_FOLDER
from tests.support import forks
from tests.support.effort import IS_LONG, times
from tests.support.served import Served, served

pytestmark = pytest.mark.slow

TEMPLATE = TEMPLATE_FOLDER / "payments"
EVENTS = "/api/v1/events/payment"
PAYMENT = {
    "payment_id": "p-1",
    "paid_at": "2026-01-05T08:30:00Z",
    "card": "c-1",
    "merchant": "m-1",
    "amount": "24.90",
    "country": "DE",
    "channel": "web",
}
OWN = {**PAYMENT, "payment_id": "p-own", "card": "c-own", "merchant": "m-own"}  # which nothing here touches
CALLS = """
/predict/:
  event: payment
  lists: { features: [amount, card] }
  fields: { amount: money(text(row.amount)), merchant: "'m-1'", country: "'DE'", channel: "'web'" }
  answer: { prediction: 1 when decision.outcome != 'approve' else 0 }
/facts:
  reads: facts
  many: cards
  ask: { entity: "'card'", key: row.card, as_of: time(row.at), since: row.since }
  answer: { card: row.request.card, found: row.features, more: number(row.request.more) }
/found:
  reads: events
  method: get
  ask: { entity: "'card'", key: row.card, limit: integer(row.limit) }
  each: { id: row.id, amount: number(row.fields.amount) }
/post:
  sends: mail
  recipients: [ann@bank.example]
  ask: { kind: "'mail'", to: row.to, subject: row.subject, text: row.text }
  answer: { sent: row.sent }
"""
SECRET = "s3cret-of-hooks"
SOURCES = f"""
sources:
  partner: {{ webhook: {{ secrets: [{SECRET}] }} }}
  stripe: {{ webhook: {{ secrets: [{SECRET}], form: stripe }} }}
  github: {{ webhook: {{ secrets: [{SECRET}], form: github }} }}
  topic: {{ sns: {{ topics: ["arn:aws:sns:eu-west-1:123456789012:payments"] }} }}
  push: {{ pubsub: {{ audience: "https://bank.example/hooks/push", service_account: push@bank.iam.example }} }}
"""
HOOKS = ("partner", "stripe", "github", "topic", "push")
RULE = "- { id: any_payment, on: payment, by: card, when: this.amount > 0, effect: review }\n"
PER_OPERATION = times(1, 8)  # generated requests of each kind
FUZZED = settings(
    deadline=None, database=None, phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One service for all of these: what one request does to it, the next ones see."""
    folder = shutil.copytree(TEMPLATE, tmp_path_factory.mktemp("abuse") / "bank")
    (folder / "calls.yaml").write_text(CALLS, encoding="utf-8")
    with (folder / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write(SOURCES)
    (folder / "rules" / "any.yaml").write_text(RULE, encoding="utf-8")
    with served(folder) as found:
        with found.client() as client:
            for item in (PAYMENT, OWN):
                assert client.post(EVENTS, json=item).status_code == 200
        yield found


@pytest.fixture(autouse=True)
def _unharmed(service: Served) -> Iterator[None]:
    """After whatever a test did the service answers as before, and has told of no mistake of its own."""
    yield
    with service.client() as client:
        found = posted(client)
        assert found.status_code == 200
        assert found.json()["seq"] == 2
        metrics = client.get("/metrics").text
    failed = [line for line in metrics.splitlines() if 'status="500"' in line and not line.endswith(" 0")]
    assert failed == []


def posted(client: httpx2.Client) -> httpx2.Response:
    """What is answered to an event, sent again while the queue is full, as it is where others keep the machine busy."""
    end_s = time.monotonic() + 120
    while (found := client.post(EVENTS, json=PAYMENT)).status_code == 503 and time.monotonic() < end_s:
        time.sleep(0.2)
    return found


def said(service: Served, sent: bytes, *, ends: bool = True) -> bytes:
    """What comes back for bytes as they are."""
    at = urlsplit(service.url)
    with socket.create_connection((at.hostname, at.port), timeout=120) as connection:
        connection.sendall(sent)
        if ends:
            with suppress(OSError):  # it was refused and closed before it ended
                connection.shutdown(socket.SHUT_WR)
        parts = []
        try:
            while part := connection.recv(65_536):
                parts.append(part)
        except ConnectionResetError:  # it was closed while we still spoke
            pass
    return b"".join(parts)


def asked(service: Served, target: str, method: str = "GET", *, body: bytes = b"", more: str = "") -> tuple[int, bytes]:
    """The status of a request whose target is sent as it is, and the whole answer."""
    head = (
        f"{method} {target} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {service.key}\r\nconnection: close\r\n"
        f"content-length: {len(body)}\r\n{more}\r\n"
    )
    found = said(service, head.encode("latin-1") + body, ends=False)
    return int(found.split(b" ", 2)[1]), found


# ---- what the document says, and what it does not

REAL = {"event": "payment", "id": "p-1", "entity": "card", "key": "c-1", "file": "cards.yaml"} | {
    "list": "blocked_cards",
    "value": "c-1",
    "law": "none",
    "rule": "many_payments",
    "name": "ann",
    "etag": "0123456789abcdef",  # of a change: none waits
}
CHECKED = (
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
)


def test_nothing_that_the_document_allows_or_forbids_fails_the_service(service):
    headers = {"authorization": f"Bearer {service.key}"}
    schema = schemathesis.openapi.from_url(f"{service.url}/api/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    statuses: dict[str, set[int]] = {}

    def ask_all(operation: Any, mode: GenerationMode, real: Mapping[str, str] = MappingProxyType({})) -> None:
        @settings(FUZZED, max_examples=PER_OPERATION)
        @given(operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            if real:
                case.path_parameters = {name: real[name] for name in case.path_parameters}
            answer = case.call_and_validate(
                headers=headers, timeout=120, checks=CHECKED if mode is GenerationMode.POSITIVE else CHECKED[:1]
            )
            statuses.setdefault(operation.label, set()).add(answer.status_code)

        ask()

    for item in operations:
        ask_all(item, GenerationMode.POSITIVE)
        for source in HOOKS if "{source}" in item.path else [""] if "{" in item.path else []:
            ask_all(item, GenerationMode.POSITIVE, {**REAL, "source": source})
        if item.body or any(item.iter_parameters()):
            ask_all(item, GenerationMode.NEGATIVE)

    assert len(statuses) == len(operations) > 15
    assert {status for found in statuses.values() for status in found if status >= 500} == set()
    assert 200 in statuses["GET /api/v1/decisions/{event}/{id}/explain"]


# ---- bodies

POSTED = (EVENTS, "/api/v1/score/payment", "/api/v1/labels", "/api/v1/backtests", "/predict/", "/hooks/topic")
TYPES = ("application/json", "application/x-ndjson", "text/json", "application/json; charset=utf-16", "text/plain")
ODD = (None, True, -1, 1e308, 10**400, "", "\u0000", "\ud800", "a" * 300, [], {}, [[]], {"a": {}}, "2026-99-99", "=1+1")
values = st.recursive(st.sampled_from(ODD), lambda inner: st.lists(inner, max_size=3), max_leaves=4)
changed = st.dictionaries(st.sampled_from([*PAYMENT, "seq", "outcome", "", "__proto__", "a.b"]), values, max_size=3)
MARKS = st.sampled_from([b"{", b"}", b"[", b'"', b"\\", b"\xff", b"\x00", b"NaN", b"1e999", b"\xef\xbb\xbf", b"\n"])


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """An event that is nearly right; or its bytes with something cut out of them or put in; or any bytes at all."""
    kind = draw(st.sampled_from(["values", "bytes", "any"]))
    if kind == "any":
        return draw(st.binary(max_size=200))
    raw = json.dumps({**PAYMENT, "payment_id": "p-odd", **(draw(changed) if kind == "values" else {})}).encode()
    if kind == "values":
        return raw if draw(st.booleans()) else b"[" + raw + b"," + raw + b"]"
    start, length = draw(st.integers(0, len(raw))), draw(st.integers(0, 20))
    return raw[:start] + draw(MARKS) + raw[start + length :]


def test_no_body_fails_the_service(service):
    with service.client() as client:

        @settings(FUZZED, max_examples=60)
        @given(st.sampled_from(POSTED), st.sampled_from(TYPES), bodies())
        def ask(path: str, media_type: str, body: bytes) -> None:
            answer = client.post(path, content=body, headers={"content-type": media_type})

            assert answer.status_code < 500, answer.text

        ask()


DEEP = {
    "lists": b"[" * 200_000,
    "objects": b'{"a":' * 100_000,
    "a deep field": b'{"payment_id":' + b"[" * 100_000,
    "a long number": b'{"amount": ' + b"9" * 100_000 + b"}",
    "many keys": b"{" + b",".join(b'"k%d":1' % number for number in range(20_000)) + b"}",
    "the same key": b"{" + b",".join([b'"card":"c"'] * 20_000) + b"}",
    "escapes": b'{"card":"' + b"\\u0041" * 15_000 + b'"}',
}


KINDS_AT = [(kind, path) for path in POSTED for kind in DEEP if IS_LONG or path == EVENTS or kind == "lists"]


@pytest.mark.parametrize("kind, path", KINDS_AT)
def test_a_body_that_is_deep_or_wide_is_refused_at_once(service, kind, path):
    with service.client() as client:
        began_s = time.monotonic()
        answer = client.post(path, content=DEEP[kind], headers={"content-type": "application/json"})

    assert 400 <= answer.status_code < 500
    assert len(answer.content) < 20_000  # the answer is no copy of what was sent
    assert time.monotonic() - began_s < 120


OVERSIZED = {
    "an announced body": (b"content-length: 99999999999\r\n\r\n", b"413"),
    "a number that is none": (b"content-length: 1e9\r\n\r\n", b"400"),
    "two lengths": (b"content-length: 1\r\ncontent-length: 2\r\n\r\n", b"400"),
    "a length and chunks": (b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
    "endless headers": (b"".join(b"x-%d: %b\r\n" % (number, b"a" * 4_000) for number in range(400)), b""),
    "an endless header": (b"x: " + b"a" * 2_000_000, b""),
}


@pytest.mark.parametrize("kind", OVERSIZED)
def test_what_is_too_large_or_said_in_two_ways_is_refused_unread(service, kind):
    rest, wanted = OVERSIZED[kind]
    head = f"POST {EVENTS} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {service.key}\r\n"
    found = said(service, head.encode() + rest)

    assert found.split(b" ", 2)[1:2] == [wanted] if wanted else not found.startswith(b"HTTP/1.1 2")


ENDLESS = {
    "too long": (EVENTS, True),
    "of nobody known": (EVENTS, False),
    "that nobody asked for": ("/health/live", True),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_body_without_an_end_is_cut_off(service, kind):
    at = urlsplit(service.url)
    path, is_known = ENDLESS[kind]
    key = f"authorization: Bearer {service.key}\r\n" if is_known else ""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\n{key}content-type: application/x-ndjson\r\n"
        "transfer-encoding: chunked\r\n\r\n"
    )
    part = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    sent = 0
    with socket.create_connection((at.hostname, at.port), timeout=120) as connection:
        connection.sendall(head.encode())
        try:
            while sent < 200:
                connection.sendall(part)
                sent += 1
        except OSError:  # it is closed
            pass

    assert sent < 100  # MiB: a body may have 16, and what was on its way when it was cut off counts here, too


# ---- addresses

CLIMBS = """
/static/../../shroff.yaml /static/x/..%2f..%2fshroff.yaml /static/x/%2e%2e/%2e%2e/etc/passwd /static/x//etc/passwd
/static/x/..%5c..%5cshroff.yaml /static/x/%252e%252e%252fshroff.yaml /static/x/shroff.css%00.yaml /static/..;/x
/api/v1/rules/..%2fshroff.yaml /api/v1/rules/..%2f..%2f..%2fetc%2fpasswd /api/v1/rules/%2fetc%2fpasswd
/api/v1/rules/..%5cshroff.yaml /api/v1/rules/cards.yaml%00 /api/v1/rules/.. /api/v1/rules/. /api/v1/rules/%2e%2e
/api/v1/rules/~root /api/v1/decisions/..%2f..%2fx/y /api/v1/../../shroff.yaml /%2e%2e/shroff.yaml /shroff.yaml
/.git/config //etc/passwd /api/v1/rules/cards.yaml/ /api/v1/rules/CON /api/v1/rules/%c0%ae%c0%ae%2fshroff.yaml
"""
OUTSIDE = (b"root:", b"shroff: 1", b"lateness:")


@pytest.mark.parametrize("target", [*CLIMBS.split(), "/api/v1/rules/" + "a" * 5_000, "/" + "a/" * 4_000])
def test_no_address_leads_out_of_what_is_served(service, target):
    status, found = asked(service, target)

    assert 400 <= status < 500
    assert not any(words in found for words in OUTSIDE)


@pytest.mark.parametrize("target", ["http://evil.example/api/v1/models", "//evil.example/x", "*", "evil.example:443"])
def test_an_address_of_another_host_is_none_of_this_one(service, target):
    status, found = asked(service, target)

    assert status in {200, 400, 404}
    assert b"evil.example" not in found


WRITES = """
..%2fshroff.yaml ..%2f..%2fout.yaml %2ftmp%2fout.yaml ..%5cx.yaml .hidden.yaml a%00.yaml a.yaml%00.txt sub%2fx.yaml
"""


@pytest.mark.parametrize("name", [*WRITES.split(), "a.txt", "..", quote("ä" * 200) + ".yaml", "a" * 300 + ".yaml"])
def test_rules_are_written_into_their_folder_and_nowhere_else(service, name):
    before = tree(service.folder.parent)
    status, _ = asked(
        service,
        f"/api/v1/rules/{name}",
        "PUT",
        body=b"- { id: x, on: payment, by: card, when: this.amount > 1, effect: note }\n",
        more="if-none-match: *\r\ncontent-type: application/yaml\r\n",
    )

    assert 400 <= status < 500
    assert tree(service.folder.parent) == before


def tree(folder: Path) -> dict[str, bytes]:
    """What lies in a folder, but for what the service writes by itself, in `.shroff`: no file of rules is there."""
    found = (path for path in folder.rglob("*") if path.suffix in {".yaml", ".csv", ".txt", ".json", ""})
    others = (path for path in found if ".shroff" not in path.parts or path.suffix in {".yaml", ".txt"})
    return {str(path): path.read_bytes() for path in others if path.is_file()}


# ---- more than one is asked for

BOUGHT = {
    EVENTS: {"outcome": "approve", "score": 0, "seq": 1, "decided": True, "ingested_at": "2026-01-01T00:00:00Z"},
    "/api/v1/score/payment": {"outcome": "approve", "role": "admin"},
    "/api/v1/labels": {"as": "admin", "seq": 1, "accuracy": 1},
    "/predict/": {"outcome": "approve", "prediction": 0, "write": True},
}
WHOLE: dict[str, dict[str, object]] = {
    EVENTS: {**PAYMENT, "payment_id": "p-bought"},
    "/api/v1/score/payment": {**PAYMENT, "payment_id": "p-bought"},
    "/api/v1/labels": {"event": "payment/p-1", "verdict": "genuine", "source": "analyst"},
    "/predict/": {"features": [5, "c-1"]},
}


@pytest.mark.parametrize("path, name", [(path, name) for path, names in BOUGHT.items() for name in names])
def test_a_field_that_is_not_asked_for_is_refused_and_not_taken_along(service, path, name):
    with service.client() as client:
        answer = client.post(path, json={**WHOLE[path], name: BOUGHT[path][name]})

        assert answer.status_code == 422
        assert name in answer.text
        assert client.get("/api/v1/decisions/payment/p-bought").status_code == 404


# ---- SQL

SQL = (
    "' OR '1'='1",
    "'; DROP TABLE events; --",
    '" OR ""="',
    "1) OR (1=1",
    "\\' OR 1=1 --",
    "%' OR '%'='",
    "x' UNION SELECT 1 --",
)
FILTERS = (
    "/api/v1/flags?entity=card&key={}",
    "/api/v1/flags?entity={}&key=c-own",
    "/api/v1/flags?entity=card&key=c-own&cursor={}",
    "/api/v1/flags?entity=card&key=c-own&limit={}",
    "/api/v1/entities/card/{}",
    "/api/v1/entities/{}/c-own",
    "/api/v1/entities/card/c-own?cursor={}",
    "/api/v1/decisions/payment/{}",
    "/api/v1/decisions/{}/p-own",
    "/api/v1/decisions/payment/{}/explain",
    "/api/v1/rules/{}",
)


@pytest.mark.parametrize("path", FILTERS)
def test_sql_in_a_filter_is_a_value_that_nothing_has(service, path):
    with service.client() as client:
        for text in SQL:
            answer = client.get(path.format(quote(text, safe="")))

            assert answer.status_code in {200, 400, 404}, text
            assert "m-own" not in answer.text
            assert "any_payment" not in answer.text
        assert len(client.get("/api/v1/flags?entity=card&key=c-own").json()["flags"]) == 1


def test_sql_in_every_field_is_kept_as_it_is(service):
    with service.client() as client:
        for number, text in enumerate(SQL):
            payment = {**PAYMENT, "payment_id": f"{text} {number}", "card": f"{text} card", "merchant": text}

            assert client.post("/api/v1/score/payment", json=payment).status_code == 200
            assert client.get(f"/api/v1/decisions/payment/{quote(payment['payment_id'], safe='')}").status_code == 404


DAYS = {"startDate": "2026-01-01", "endDate": "2026-01-31"}
ANALYTICS = (  # a question with a text in one of its places, and how it is answered
    ("event-counts", lambda text: {**DAYS, "eventTypes": [text]}, 422),
    ("event-counts", lambda text: {**DAYS, "eventTypes": ["payment"], "by": text}, 422),
    ("event-counts", lambda text: {**DAYS, "eventTypes": ["payment"], "source": text}, 422),
    ("event-counts", lambda text: {**DAYS, "eventTypes": ["payment"], "zone": text}, 422),
    ("facts", lambda text: {"entity": text, "key": "c-own"}, 422),
    ("facts", lambda text: {"entity": "card", "key": text}, 200),
    ("facts", lambda text: {"entity": "card", "key": "c-own", "features": [text]}, 422),
    ("funnels", lambda text: {"funnel": text}, 422),
)


def test_sql_in_a_question_of_analytics_is_a_name_that_nothing_has(service):
    with service.client() as client:
        for text in SQL:
            for route, body, status in ANALYTICS:
                answer = client.post(f"/api/v1/analytics/{route}", json=body(text))

                assert (answer.status_code, "m-own" in answer.text) == (status, False), body(text)


# ---- many, and slow


def test_a_body_that_dribbles_is_given_up_and_others_are_answered(tmp_path, monkeypatch):
    monkeypatch.setenv(forks.SET, "shroff.web.http.messages.BODY_S_MAX=6")
    with served(shutil.copytree(TEMPLATE, tmp_path / "bank")) as service:
        assert dribbled(service).split(b" ", 2)[1] == b"408"


def dribbled(service: Served) -> bytes:
    """What is answered in the end to a body of which a byte comes now and then."""
    at = urlsplit(service.url)
    head = (
        f"POST {EVENTS} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {service.key}\r\n"
        "content-type: application/json\r\ncontent-length: 100000\r\n\r\n"
    )
    ended = threading.Event()
    with socket.create_connection((at.hostname, at.port), timeout=120) as slow, service.client() as client:
        slow.sendall(head.encode())

        def dribble() -> None:
            while not ended.wait(0.2):
                try:
                    slow.sendall(b" ")
                except OSError:
                    return

        thread = threading.Thread(target=dribble)
        thread.start()
        try:
            for _ in range(20):
                assert posted(client).status_code == 200
            found = b""
            while part := slow.recv(65_536):
                found += part
        finally:
            ended.set()
            thread.join()
    return found


CONNECTIONS = times(2_500, 10_000)
OF_AN_ADDRESS = 900  # ports and queues of one sender are not what is tried


def held_by(service: Served) -> int:
    """How many files and connections a service has open."""
    return len(list(Path(f"/proc/{forks.pid_of(service.process)}/fd").iterdir()))


def test_thousands_of_open_connections_leave_others_their_answers(service):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(CONNECTIONS, (CONNECTIONS + 500 if hard == resource.RLIM_INFINITY else hard) - 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, count + 500)), hard))
    at = urlsplit(service.url)
    asked = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"

    async def hold() -> None:
        opened: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

        async def open_one(number: int) -> None:
            sender = f"127.0.0.{2 + number // OF_AN_ADDRESS}"
            reader, writer = await asyncio.open_connection(at.hostname, at.port, local_addr=(sender, 0))
            opened.append((reader, writer))
            writer.write(asked)
            assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 120)).startswith(b"HTTP/1.1 200")

        for start in range(0, count, 500):
            await asyncio.gather(*(open_one(item) for item in range(start, min(count, start + 500))))
        held = held_by(service)
        answered = await asyncio.to_thread(others)
        for _, writer in opened:
            writer.transport.abort()

        assert held > count
        assert answered == [200] * 50

    def others() -> list[int]:
        with service.client() as client:
            return [posted(client).status_code for _ in range(50)]

    try:
        asyncio.run(hold())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    end_s = time.monotonic() + 120
    while held_by(service) > 500:
        assert time.monotonic() < end_s, "connections that were closed are still held"
        time.sleep(0.1)


def test_no_secret_is_in_a_file_of_the_service_or_its_name_after_all_of_this(service):
    files = [letter for letter in (service.folder / ".shroff").rglob("*") if letter.is_file()]

    assert len(files) > 3
    for secret in (SECRET, service.key):
        assert [file for file in files if secret in str(file) or secret.encode() in file.read_bytes()] == []


def test_the_log_is_whole_after_all_of_this(service, capsys):
    assert run(["-C", str(service.folder), "verify"]) == 0
    capsys.readouterr()
