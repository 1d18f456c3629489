"""Each limit attacked on a real service, while somebody else uses it: a clear answer, and hardly any time of the loop.

What an attack costs is the processor time of the service's event loop (docs/reference/limits.md names the limits). That
is the same on a busy machine, and bounds how long others can be held up; `bench/limits.py` has what they see.
"""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.people.access import Role
from tests.journeys.test_abuse_requests import EVENTS, PAYMENT
from tests.support.forks import pid_of
from tests.support.served import Served, key_of, served

pytestmark = pytest.mark.slow

TEMPLATE = TEMPLATE_FOLDER / "payments"
LOOP_S_MAX = 1.2  # of the event loop's time that one attack may take; before, these took 2 to 80
OWN_S = 0.004  # of the event loop's time that one request of somebody else may take meanwhile
CHECK = "/api/v1/rules/x/draft/check"
CHUNKED = "transfer-encoding: chunked\r\n"
RULE = "- id: x\n  on: payment\n  by: card\n  when: this.amount > 1\n  effect: note\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = shutil.copytree(TEMPLATE, tmp_path_factory.mktemp("limits") / "bank")
    with (folder / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write("sources: { partner: { webhook: { secrets: [s3cret] } } }\n")
    viewer = key_of(folder, Role.VIEWER, "viewer")
    with served(folder) as found:
        found.said.append(viewer)
        yield found


def loop_s(service: Served) -> float:
    """The processor time that the main thread of a service has used, on which its event loop runs."""
    process = pid_of(service.process)
    return int(Path(f"/proc/{process}/task/{process}/schedstat").read_text().split()[0]) / 1e9


@contextmanager
def others(service: Served) -> Iterator[None]:
    """Somebody else asks and posts all the time, and is answered each time."""
    ended, statuses = threading.Event(), list[int]()

    def use() -> None:
        with service.client() as client:
            while not ended.wait(0.02):
                statuses.append(client.get("/health/live").status_code)
                statuses.append(client.post(EVENTS, json=PAYMENT).status_code)

    with ThreadPoolExecutor(1) as threads:
        using = threads.submit(use)
        before_s = loop_s(service)
        try:
            yield
        finally:
            used_s = loop_s(service) - before_s
            ended.set()
        using.result()

    assert set(statuses) <= {200}
    assert used_s < LOOP_S_MAX + OWN_S * len(statuses)


def said(service: Served, *parts: bytes) -> bytes:
    """What comes back for bytes as they are, up to the end of the connection. A reset fails the test."""
    at = urlsplit(service.url)
    found = b""
    with socket.create_connection((at.hostname, at.port), timeout=120) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except BrokenPipeError:  # it reads no more; what it said is there to be read
            pass
        while part := connection.recv(65_536):
            found += part
    return found


def request(service: Served, path: str, more: str = "", *, method: str = "POST", key: str | None = None) -> bytes:
    """The head of a request without its empty line."""
    known = service.key if key is None else key
    kept = f"authorization: Bearer {known}\r\n" if known else ""
    return f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{kept}{more}".encode()


def posted(service: Served, body: bytes) -> bytes:
    return request(service, EVENTS, f"{JSON}content-length: {len(body)}\r\n") + b"\r\n" + body


def called(service: Served, body: bytes) -> bytes:
    """A webhook that nobody signed."""
    signed = "webhook-id: a\r\nwebhook-timestamp: 1\r\nwebhook-signature: v1,AAAA\r\n"
    return request(service, "/hooks/partner", f"{signed}content-length: {len(body)}\r\n", key="") + b"\r\n" + body


def chunk(body: bytes, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(body), extension, body)


MIB = 1024 * 1024
JSON = "content-type: application/json\r\n"
COOKIE = 'cookie: shroff_session="' + "\\" * 60_000 + '"\r\n'
Attack = Callable[[Served], tuple[bytes, ...]]
ATTACKS: dict[str, tuple[Attack, int]] = {
    "a header of 64 KiB": (lambda service: (request(service, EVENTS), b"x: " + b"a" * 65_536 + b"\r\n\r\n"), 431),
    "101 headers": (lambda service: (request(service, EVENTS), b"x: y\r\n" * 98 + b"\r\n"), 431),
    "99 headers": (lambda service: (request(service, "/health/live", method="GET"), b"x: y\r\n" * 96, b"\r\n"), 200),
    "a long address": (lambda service: (request(service, "/" + "a" * 17_000, method="GET"), b"\r\n"), 414),
    "a body above 16 MiB": (
        lambda service: (
            request(service, EVENTS, f"{JSON}content-length: {17 * MIB}\r\n"),
            b"\r\n",
            *[b" " * MIB] * 17,
        ),
        413,
    ),
    "chunks above 16 MiB": (
        lambda service: (request(service, EVENTS, JSON + CHUNKED), b"\r\n", *[chunk(b" " * MIB)] * 20, b"0\r\n\r\n"),
        413,
    ),
    "a body that nobody reads": (
        lambda service: (request(service, "/health/live", CHUNKED), b"\r\n", *[chunk(b" " * MIB)] * 20, b"0\r\n\r\n"),
        405,
    ),
    "a cookie of escapes": (lambda service: (request(service, "/queue", COOKIE, method="GET", key=""), b"\r\n"), 303),
    "a form of nobody known": (
        lambda service: (
            request(service, "/login", f"content-type: application/x-www-form-urlencoded\r\ncontent-length: {MIB}\r\n"),
            b"\r\n" + b"%41=" * (MIB // 4),
        ),
        413,
    ),
    "many empty events": (lambda service: (posted(service, b"[" + b"{}," * 9_999 + b"{}]"),), 200),
    "a deep event": (lambda service: (posted(service, b'{"card":' + b"[" * 1_000_000),), 422),
    "a webhook above 1 MiB": (lambda service: (called(service, b"{" * (MIB + 1)),), 413),
    "a forged webhook of 1 MiB": (lambda service: (called(service, b"{" * MIB),), 403),
    "a header without an end": (lambda service: (request(service, EVENTS), b"x: " + b"a" * MIB), 431),
    "an address without an end": (lambda service: (b"GET /" + b"a" * MIB,), 431),
    "chunk extensions without an end": (
        lambda service: (request(service, EVENTS, JSON + CHUNKED), b"\r\n2;a=" + b"a" * MIB),
        413,
    ),
    "no HTTP": (lambda service: (b"\x16\x03\x01\x00",), 400),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_request_beyond_a_limit_is_answered_and_holds_up_nobody(service, name):
    attack, status = ATTACKS[name]
    with others(service):
        found = said(service, *attack(service))

    assert int(found.split(b" ", 2)[1]) == status, found[:200]
    assert b"connection: close" in found.lower()


@pytest.mark.parametrize("beginning", [b"GET / HTTP/1.1\r\nx: ", b"GET /"], ids=["header", "address"])
def test_a_flood_that_never_completes_a_head_holds_up_nobody(service, beginning):
    at = urlsplit(service.url)
    refused = 0
    with others(service):
        for _ in range(20):
            with socket.create_connection((at.hostname, at.port), timeout=120) as connection:
                connection.sendall(beginning)
                try:
                    for _ in range(64):
                        connection.sendall(b"a" * MIB)
                except (BrokenPipeError, ConnectionResetError):
                    refused += 1

    assert refused == 20


# ---- drafts of rules, which a viewer may have checked


def checked(service: Served, text: str, who: str = "") -> tuple[int, Any]:
    with service.client(who or service.said[-1]) as client:
        answer = client.post(CHECK, json={"text": text})
        return answer.status_code, answer.json()


def begun_by(parent: int) -> list[Path]:
    """The processes that this one has begun."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (path / "stat").read_text().rpartition(")")[2].split()[1] == str(parent):
                found.append(path)
    return found


def test_a_draft_of_very_many_mistakes_gets_the_first_hundred_and_their_number(service):
    with others(service):
        status, said = checked(service, RULE + "".join(f"  k{number}: 1\n" for number in range(3_000)))

    assert status == 200
    assert len(said["mistakes"]) == 100
    assert said["more"] == {"mistakes": 2_900, "elsewhere": 0, "warnings": 0, "tests": 0}
    assert any(
        b"shroff.web.work.operation_work" in (item / "cmdline").read_bytes()
        for item in begun_by(pid_of(service.process))
    )


def test_a_draft_that_is_too_long_is_refused_unread(service):
    with others(service):
        status, said = checked(service, RULE + "".join(f"  k{number}: 1\n" for number in range(20_000)))

    assert (status, "131,072 bytes" in said["detail"]) == (400, True)


# ---- many connections


def test_many_connections_that_say_nothing_or_half_of_it_hold_up_nobody(service):
    at = urlsplit(service.url)
    halves = (b"", b"GET /health/live HTTP/1.1\r\n", request(service, EVENTS, "content-length: 9\r\n") + b"\r\n{")
    with others(service), ExitStack() as open_ones:
        for number in range(300):
            connection = open_ones.enter_context(socket.create_connection((at.hostname, at.port), timeout=120))
            connection.sendall(halves[number % len(halves)])
        with service.client() as client:
            assert client.get("/health/live").status_code == 200
