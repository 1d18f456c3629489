"""What only a proxy can limit, tried through a real Caddy and HAProxy with the shipped files, while others use it."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.deploy.proxy import balanced, proxied
from tests.journeys.test_abuse_requests import EVENTS, PAYMENT
from tests.journeys.test_limits import CHUNKED, JSON, MIB, TEMPLATE, Attack, chunk, others, request
from tests.support.served import Served, served

pytestmark = pytest.mark.slow

READ_HEADER_S = 10.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, int]]:
    """A service, and its port."""
    with served(Path(shutil.copytree(TEMPLATE, tmp_path_factory.mktemp("limited") / "bank"))) as found:
        port = urlsplit(found.url).port
        assert port is not None
        yield found, port


@pytest.fixture(scope="module", params=["caddy", "haproxy"])
def service(request, running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, int]]:
    """A service, and the port of the proxy before it."""
    (found, port), folder = running, tmp_path_factory.mktemp("proxied")
    if request.param == "haproxy":
        with balanced(folder, port) as at:
            yield found, at
    else:
        with proxied(folder, port) as (at, _):
            yield found, at


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=120)


def answer(connection: socket.socket) -> bytes:
    """What comes back until the connection ends; it may be reset behind it."""
    found = b""
    try:
        while part := connection.recv(65_536):
            found += part
    except ConnectionResetError:
        pass
    return found


EVENT = chunk(json.dumps(PAYMENT).encode())
ATTACKS: dict[str, tuple[Attack, tuple[int, ...]]] = {
    "a header without an end": (lambda service: (request(service, EVENTS), b"x: ", *[b"a" * MIB] * 8), (431, 400)),
    "many headers": (lambda service: (request(service, EVENTS), b"x: y\r\n" * 200_000), (431, 400)),
    "an address without an end": (lambda service: (b"GET /" + b"a" * MIB,), (431, 400)),
    "a chunk extension without an end": (
        lambda service: (request(service, EVENTS, JSON + CHUNKED), b"\r\n1;", b"a" * MIB),
        (400, 502),
    ),
    "a trailer without an end": (
        lambda service: (request(service, EVENTS, JSON + CHUNKED), b"\r\n" + EVENT + b"0\r\nx: ", b"a" * MIB),
        (400, 502),
    ),
    "chunks of one byte": (
        lambda service: (request(service, EVENTS, JSON + CHUNKED), b"\r\n", chunk(b" ") * 200_000, EVENT, b"0\r\n\r\n"),
        (200, 400, 502),
    ),
    "a key in a trailer": (
        lambda service: (
            request(service, EVENTS, JSON + CHUNKED + "trailer: authorization\r\n", key=""),
            b"\r\n" + EVENT + b"0\r\nauthorization: Bearer " + service.key.encode() + b"\r\n\r\n",
        ),
        (401,),
    ),
    "no HTTP": (lambda service: (b"\x16\x03\x01" + b"\x00" * MIB,), (400, 431)),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_what_is_sent_without_an_end_is_refused_by_the_proxy_and_holds_up_nobody(service, name):
    found, port = service
    attack, statuses = ATTACKS[name]
    with others(found), connected(port) as connection:
        try:
            for part in attack(found):
                connection.sendall(part)
        except (BrokenPipeError, ConnectionResetError):  # it reads no more
            pass
        said = answer(connection)

    assert int(said.split(b" ", 2)[1]) in statuses, said[:200]


def test_who_says_nothing_or_speaks_slowly_is_let_go_and_others_are_answered(service):
    found, port = service
    began_s = time.monotonic()
    with others(found):
        idle = [connected(port) for _ in range(100)]
        half = connected(port)
        half.sendall(request(found, EVENTS))
        said = [answer(item) for item in (*idle, half)]
        for item in (*idle, half):
            item.close()

    assert set(said[:-1]) == {b""}
    assert said[-1] == b"" or int(said[-1].split()[1]) == 408
    assert READ_HEADER_S * 0.9 < time.monotonic() - began_s < READ_HEADER_S + 20


def test_an_address_has_only_so_many_connections_to_haproxy_and_what_has_ended_counts_no_more(running, tmp_path):
    _, port = running
    ask = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"

    def said(connection: socket.socket) -> bytes:
        try:
            connection.sendall(ask)
            return connection.recv(12)
        except (BrokenPipeError, ConnectionResetError):
            return b""

    def said_to_another(at: int) -> bytes:
        try:
            with connected(at) as connection:
                return said(connection)
        except ConnectionResetError:  # refused before the client had noticed that it was connected
            return b""

    with balanced(tmp_path, port, connections_max=20) as at:
        deadline_s = time.monotonic() + 120
        held = [connected(at) for _ in range(20)]
        assert {said(item) for item in held} == {b"HTTP/1.1 200"}
        assert said_to_another(at) == b""
        for item in held:
            item.close()
        while said_to_another(at) != b"HTTP/1.1 200":
            assert time.monotonic() < deadline_s
