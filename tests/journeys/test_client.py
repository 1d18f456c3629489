"""`shroff.client`, sync and async, against a real service: decisions as values, and an answer in time."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from shroff import Decision
from shroff.client import (
    AsyncClient,
    Client,
    ClientError,
    NotAllowedError,
    RefusedError,
    StandIn,
    TimedOutError,
    UnavailableError,
)
from shroff.config import TEMPLATE_FOLDER
from shroff.people.key_operations import RevokeKey
from shroff.people.store import AuditFilter
from shroff.services import project as app
from shroff.services.cases.operations import NoteCase
from shroff.services.jobs.operations import ListJobs, ListKinds, NewJob
from tests.support import forks
from tests.support.patience import PATIENCE_S
from tests.support.served import Served, served

pytestmark = pytest.mark.slow

TEMPLATE = TEMPLATE_FOLDER / "payments"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Served]:
    shutil.copytree(TEMPLATE, tmp_path / "bank")
    with served(tmp_path / "bank") as running:
        yield running


def payment(number: int, **fields: object) -> dict[str, object]:
    at = datetime(2026, 1, 5, 8, number, tzinfo=UTC)
    fixed = {"card": "c-1", "merchant": "m-1", "terminal": "t-1", "country": "DE", "channel": "pos"}
    return {"payment_id": f"p/{number} ü", "paid_at": at, "amount": Decimal("24.90"), **fixed, **fields}


def test_what_is_asked_comes_back_as_values(service):
    with Client(service.url, service.key, timeout=PATIENCE_S) as client:
        decision = client.decide("payment", payment(1))

        assert isinstance(decision, Decision)
        assert decision.outcome == "approve"
        assert client.decide("payment", payment(1)) == decision
        assert client.decision("payment", "p/1 ü") == decision
        assert client.explain("payment", "p/1 ü")["explanation"]["rules"]
        assert client.replay("payment", "p/1 ü") is True

        many = client.decide_many("payment", [payment(2), payment(3, amount="x"), payment(4)])

        assert [isinstance(item, Decision) for item in many] == [True, False, True]
        assert isinstance(many[1], RefusedError)
        assert [error["path"] for error in many[1].errors] == ["amount"]

        foreseen = client.score("payment", payment(5))

        assert isinstance(foreseen, Decision)
        assert foreseen.seq == 0
        assert client.label("payment/p/1 ü", "fraud", source="analyst").state == "appended"
        assert client.entity("card", "c-1")["timeline"][0]["id"] == "p/4 ü"
        assert client.flags("card", "c-1")["flags"] == []
        with pytest.raises(RefusedError) as refused:
            client.decide("payment", payment(1, amount="1.00"))
        assert refused.value.status == 409
        assert service.key not in repr(client)
    with Client(service.url, "shroff_nobody", timeout=PATIENCE_S) as nobody, pytest.raises(NotAllowedError):
        nobody.decide("payment", payment(9))


def test_an_answer_comes_in_time_and_the_decision_later(service):
    with Client(service.url, service.key, timeout=PATIENCE_S) as client:
        client.decide("payment", payment(1))
        os.kill(forks.pid_of(service.process), signal.SIGSTOP)
        began_s = time.monotonic()
        found = client.decide("payment", payment(2), timeout=0.2, otherwise="review")  # it stands still
        took_s = time.monotonic() - began_s
        with pytest.raises(TimedOutError):
            client.decide("payment", payment(3), timeout=0.2)  # it stands still
        os.kill(forks.pid_of(service.process), signal.SIGCONT)

        assert isinstance(found, StandIn)
        assert found.outcome == "review"
        assert took_s < 120

        late = found.late.result(timeout=120)

        assert late == client.decision("payment", "p/2 ü")
        with service.client() as asked:
            path = "/api/v1/decisions/payment/p%2F2%20%C3%BC"
            assert asked.get(path).json()["answered"] == "review"
            assert asked.get(f"{path}/explain").json()["answered"] == "review"
        assert late.outcome == "approve"
        with app.open_exactly(service.folder).people.open() as desk, desk.store.look() as look:
            (act,) = look.record(AuditFilter(action="event.answered"))
        assert act.subject == "payment/p/2 ü"
        assert "review" in str(act.after)
        with pytest.raises(ValueError, match="otherwise"):
            client.decide("payment", payment(4), otherwise="maybe")


def test_the_async_client_answers_the_same(service):
    async def steps() -> None:
        async with AsyncClient(service.url, service.key, timeout=PATIENCE_S) as client:
            found = await asyncio.gather(*(client.decide("payment", payment(number)) for number in range(1, 30)))
            assert sorted(item.seq for item in found if isinstance(item, Decision)) == list(range(2, 31))

            os.kill(forks.pid_of(service.process), signal.SIGSTOP)
            stand_in = await client.decide("payment", payment(40), timeout=0.2, otherwise="decline")  # stopped
            os.kill(forks.pid_of(service.process), signal.SIGCONT)

            assert isinstance(stand_in, StandIn)
            assert (await stand_in.late) == await client.decision("payment", "p/40 ü")
            assert await client.replay("payment", "p/40 ü") is True

    asyncio.run(steps())


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: "])
@pytest.mark.parametrize("is_sync", [True, False])
def test_a_peer_that_sends_byte_by_byte_keeps_nobody_longer_than_the_timeout(answer: bytes, *, is_sync: bool):
    with dripping(answer) as url:
        began_s = time.monotonic()
        with pytest.raises(TimedOutError):
            decided(url) if is_sync else asyncio.run(decided_async(url))

        assert 0.1 < time.monotonic() - began_s < 120


def decided(url: str) -> None:
    with Client(url, "key", timeout=0.1) as client:  # no answer ends
        client.decide("payment", payment(1))


async def decided_async(url: str) -> None:
    async with AsyncClient(url, "key", timeout=0.1) as client:  # no answer ends
        await client.decide("payment", payment(1))


@contextmanager
def dripping(answer: bytes) -> Iterator[str]:
    """A peer that begins to answer, and goes on by single bytes until nobody listens."""

    def drip() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(answer)
            for _ in range(30_000):
                connection.sendall(b"x")
                time.sleep(0.01)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@contextmanager
def losing(answer: bytes) -> Iterator[tuple[str, list[str]]]:
    """A service that takes each call and loses its first answer; and what it took."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            taken.append(self.requestline)
            self.wfile.write(answer if len(taken) > 1 else b"")

        def __getattr__(self, name: str) -> object:
            if name.startswith("do_"):
                return self.do_POST
            raise AttributeError(name)

        def log_message(self, *_: object) -> None: ...

    taken: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", taken
        finally:
            server.shutdown()
            thread.join()


FINE = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nnull"


@pytest.mark.parametrize(
    ("ask", "times"),
    [
        (lambda client: client.send(NoteCase(1, text="a")), 1),
        (lambda client: client.send(NewJob("train")), 1),
        (lambda client: client.send(ListKinds()), 2),
        (lambda client: client.send(RevokeKey("a")), 2),
        (lambda client: client.decide("payment", payment(1)), 2),
        (lambda client: client.decide_many("payment", [payment(1)]), 2),
        (lambda client: client.score("payment", payment(1)), 2),
        (lambda client: client.label("payment/p-1", "fraud"), 2),
    ],
)
def test_after_a_lost_answer_only_what_may_be_taken_twice_is_sent_again(ask, times: int):
    error = UnavailableError if times == 1 else (ClientError, ValueError)  # the second answer is no document
    with losing(FINE) as (url, taken), Client(url, "key", timeout=PATIENCE_S) as client, pytest.raises(error):
        ask(client)

    assert len(taken) == times


def test_a_job_that_is_queued_is_no_error(service):
    with Client(service.url, service.key, timeout=PATIENCE_S) as client:
        job = client.send(NewJob("marts"))

        assert [shown.id for shown in client.send(ListJobs()).jobs] == [job.id]


def test_a_service_that_is_away_is_tried_again_until_there_is_no_time(service):
    service.process.send_signal(signal.SIGTERM)
    service.process.communicate()
    with Client(service.url, service.key, timeout=PATIENCE_S) as client:
        began_s = time.monotonic()
        with pytest.raises(UnavailableError):
            client.decide("payment", payment(1), timeout=1.0)  # nobody is there

        assert 0.3 < time.monotonic() - began_s < 120

        found = client.decide("payment", payment(1), timeout=0.3, otherwise="approve")  # nobody

        assert isinstance(found, StandIn)
        assert client.close(wait_s=0.2) == 1  # nobody is there
    assert threading.active_count() < 50
