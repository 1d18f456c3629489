"""What one client may ask for of a service, and of which others must not notice anything."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import shutil
import signal
import socket
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.responses import Response

from shroff.config import TEMPLATE_FOLDER
from shroff.language.yaml import nodes as yamlnodes
from shroff.log.ruletests import run_tests_of
from shroff.people.access import Right
from shroff.services import project as app
from shroff.services.drafts.operations import CheckDraft
from shroff.web import server, service
from shroff.web.http import asgi, connections, messages
from shroff.web.http.authentication import SENDERS_MAX, Pace, gate_of
from shroff.web.http.concurrency_limits import SENDER, ConcurrencyLimits, Turns
from shroff.web.http.connections import FRAMING_BYTES_MAX, limited
from shroff.web.http.messages import HEAD_BYTES_MAX, Request
from shroff.web.http.problems import ProblemError
from shroff.web.http.proxies import FORWARDED, Proxies
from shroff.web.http.routes import Route
from shroff.web.service import UNKNOWN_RATE, Service
from shroff.web.work import operation_processes
from shroff.web.work.operation_processes import DraftCheckers
from tests.support import forks
from tests.support.webs import Asker, asker
from tests.support.wire import Spoken, connected
from tests.web.test_wire import request

TEMPLATE = TEMPLATE_FOLDER / "payments"
LIVE = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"
RULE = "- id: x\n  on: payment\n  by: card\n  when: this.amount > 1\n  effect: note\n"
TEST = "  tests:\n    - name: t\n      events: [{ payment: { at: 2026-01-05T08:00:00Z } }]\n      hits: [false]\n"


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    shutil.copytree(TEMPLATE, tmp_path / "bank")
    return tmp_path / "bank"


def run(folder: Path, steps: Callable[[Asker, Spoken], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asker(folder) as asks, connected(asks) as spoken:
            await steps(asks, spoken)

    asyncio.run(whole())


# ---- connections


def test_whoever_is_told_that_a_service_has_begun_can_connect_to_it(bank, monkeypatch):
    project, told = app.open_exactly(bank), list[str]()
    with server.bound(server.At(port=0)) as listening, project.people.open() as desk, gate_of(desk) as gate:

        def begun() -> None:
            socket.create_connection(listening.getsockname(), 120).close()
            os.kill(os.getpid(), signal.SIGTERM)

        project.context.served_at = "http://127.0.0.1"
        server.serve(project, gate, desk, listening, tell=told.append, begun=begun)

    assert told == []


def test_the_first_signal_ends_cleanly_and_the_second_at_once_whatever_a_thread_still_does(monkeypatch):
    left, running = list[int](), SimpleNamespace(should_exit=False)
    monkeypatch.setattr(os, "_exit", left.append)
    handle = server._ended(lambda: setattr(running, "should_exit", True))
    handle()
    assert (running.should_exit, left) == (True, [])
    handle()

    assert left == [130]


@pytest.mark.slow
@pytest.mark.parametrize("is_proxy", [False, True])
def test_an_address_has_only_so_many_connections_at_once_and_a_trusted_proxy_any_number(bank, monkeypatch, is_proxy):
    monkeypatch.setattr(connections, "OF_ADDRESS_MAX", 2)

    async def whole() -> None:
        http = limited(lambda: Proxies(["127.0.0.0/8"] if is_proxy else []))
        async with asker(bank) as asks, connected(asks, http=http) as first:
            assert (await first.ask(LIVE))[0] == 200
            at = first.writer.get_extra_info("peername")
            second = Spoken(*await asyncio.open_connection(*at))
            assert (await second.ask(LIVE))[0] == 200
            assert (await said(at) == b"HTTP/1.1 200") is is_proxy
            assert (await first.ask(LIVE))[0] == 200
            second.writer.close()
            await second.writer.wait_closed()
            async with asyncio.timeout(120):  # one that has ended counts no more, as soon as the server sees it
                while await said(at) != b"HTTP/1.1 200":
                    pass

    async def said(at: tuple[str, int]) -> bytes:
        try:
            spoken = Spoken(*await asyncio.open_connection(*at))
        except ConnectionError:  # refused before the client had noticed that it was connected
            return b""
        try:
            spoken.writer.write(LIVE)
            return await asyncio.wait_for(spoken.reader.readexactly(12), 120)
        except (ConnectionError, asyncio.IncompleteReadError):
            return b""
        finally:
            spoken.writer.close()
            with suppress(ConnectionError):
                await spoken.writer.wait_closed()

    asyncio.run(whole())


def test_a_new_connection_that_sends_nothing_is_closed(bank, monkeypatch):
    monkeypatch.setattr(connections, "FIRST_S", 0.05)

    async def whole() -> None:
        async with asker(bank) as asks, connected(asks, http=limited(Proxies)) as spoken:
            assert await asyncio.wait_for(spoken.reader.read(), 120) == b""

    asyncio.run(whole())


def test_no_trailer_is_taken_for_a_header(bank):
    head = b"POST /api/v1/events/payment HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    trailed = head + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nauthorization: Bearer admin\r\n\r\n"

    async def whole() -> None:
        async with asker(bank) as asks, connected(asks, http=limited(Proxies)) as spoken:
            assert (await spoken.ask(trailed))[0] == 401

    asyncio.run(whole())


POST = b"POST /api/v1/events/payment HTTP/1.1\r\nhost: x\r\nauthorization: Bearer admin\r\n"
CHUNKED = POST + b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("beginning", "status", "limit"),
    [
        (POST + b"x: ", 431, HEAD_BYTES_MAX),
        (b"GET /", 431, HEAD_BYTES_MAX),
        (CHUNKED + b"2;a=", 413, FRAMING_BYTES_MAX),
        (CHUNKED + b"2\r\n{}\r\n0\r\nx: ", 413, FRAMING_BYTES_MAX),
    ],
    ids=["header", "address", "chunk extension", "trailer"],
)
def test_what_does_not_end_is_refused_at_its_limit(bank, beginning, status, limit):
    async def whole() -> None:
        async with asker(bank) as asks, connected(asks, http=limited(Proxies)) as spoken:
            spoken.writer.write(beginning)
            await spoken.writer.drain()
            await asyncio.sleep(0.01)  # so that it comes as a second read, which counts whole
            spoken.writer.write(b"a" * (limit + 1_000))
            answer = await asyncio.wait_for(spoken.reader.read(), 120)

        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"connection: close" in answer

    asyncio.run(whole())


def test_a_head_that_arrives_too_slowly_is_refused(bank, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_S", 0.05)

    async def whole() -> None:
        async with asker(bank) as asks, connected(asks, http=limited(Proxies)) as spoken:
            assert (await spoken.ask(LIVE))[0] == 200
            spoken.writer.write(LIVE[:-3])
            answer = await asyncio.wait_for(spoken.reader.read(), 120)

        assert answer.startswith(b"HTTP/1.1 408 ")

    asyncio.run(whole())


def test_requests_in_pieces_of_any_size_are_all_answered(bank):
    one_byte_chunks = CHUNKED + b"1\r\n \r\n" * 3_000 + b"2\r\n{}\r\n0\r\n\r\n"
    sent = LIVE + one_byte_chunks + LIVE

    async def steps(asks: Asker, spoken: Spoken) -> None:
        for size in (1_000, 4_099):
            for start in range(0, len(sent), size):
                spoken.writer.write(sent[start : start + size])
                await spoken.writer.drain()
                await asyncio.sleep(0)
            assert [(await spoken.answer())[0] for _ in range(3)] == [200, 422, 200]

    run(bank, steps)


def test_requests_sent_without_waiting_are_all_answered(bank):
    async def steps(asks: Asker, spoken: Spoken) -> None:
        spoken.writer.write(LIVE * 2_000)
        assert [(await spoken.answer())[0] for _ in range(2_000)] == [200] * 2_000

    run(bank, steps)


def test_the_system_ends_a_connection_whose_client_takes_nothing(monkeypatch):
    monkeypatch.setattr(server, "STALLED_S", 0.2)
    with server.bound(server.At(port=0)) as listening, ExitStack() as sockets:
        listening.listen()
        sockets.enter_context(socket.create_connection(listening.getsockname()))
        stalled = sockets.enter_context(listening.accept()[0])
        stalled.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                stalled.send(b"x" * 65_536)
        ended = select.poll()
        ended.register(stalled, select.POLLERR)
        assert ended.poll(120_000)
        assert stalled.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ETIMEDOUT


@pytest.mark.slow
def test_the_rest_of_a_refused_body_is_read_piece_by_piece_and_the_connection_ends_behind_it(bank, monkeypatch):
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def counted(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    async def steps(asks: Asker, spoken: Spoken) -> None:
        size = 17 * 1024 * 1024
        monkeypatch.setattr("shroff.web.http.messages.asyncio.sleep", counted)
        spoken.writer.write(request(b"", content_length=str(size)) + b" " * size)
        status, headers, _ = await spoken.answer()
        assert (status, headers["connection"]) == (413, "close")
        assert await spoken.reader.read() == b""
        assert len(pauses) > size // (1024 * 1024)
        assert set(pauses) == {messages.DISCARDED_PAUSE_S}

    run(bank, steps)


# ---- drafts, in processes of their own


@pytest.mark.slow
def test_a_draft_is_checked_in_another_process_which_is_ended_where_it_takes_too_long(bank, monkeypatch):
    project = app.open_exactly(bank)
    rule, mistaken, plain = (CheckDraft(rule="x", source=RULE + more) for more in (TEST, "  k: 1\n", ""))
    monkeypatch.setattr(operation_processes, "CHECK_S_MAX", 120.0)  # a busy machine starts a process in 20 s
    with closing(DraftCheckers(project)) as checkers:
        assert checkers.run(rule) == project.run(rule)
        assert checkers.run(mistaken).mistakes
        (process,) = (checker._process for checker in checkers._all)
        os.kill(forks.pid_of(process), signal.SIGSTOP)
        monkeypatch.setattr(operation_processes, "CHECK_S_MAX", 0.01)
        with pytest.raises(ProblemError) as refused:
            checkers.run(plain)
        assert (refused.value.status, process.returncode) == (503, -signal.SIGKILL)
        monkeypatch.setattr(operation_processes, "CHECK_S_MAX", 120.0)
        assert checkers.run(plain).ok
        (other,) = checkers._all
        other.kill()
        other.end()
        assert checkers.run(plain).ok
        assert other not in checkers._all
    assert checkers._all == set()


def test_a_free_process_may_be_taken_by_another_thread_at_any_moment():
    class TakenMeanwhile(list[object]):
        def __len__(self) -> int:
            self.clear()
            return 1

    process = SimpleNamespace(runs=True)
    checkers = DraftCheckers(SimpleNamespace())
    checkers._free = TakenMeanwhile([process])

    assert checkers._taken() is process


# ---- turns, paces, senders


def test_a_sender_has_one_turn_at_a_time_and_others_have_theirs_meanwhile():
    async def steps() -> None:
        turns = Turns("a check", threads=2, seconds_max=30.0, of_sender_max=3)
        began, ended, both = list[str](), threading.Event(), threading.Barrier(3)

        def wait(name: str) -> str:
            began.append(name)
            if name in {"mine 0", "yours"}:
                both.wait(120)
            ended.wait(120)
            return name

        mine = [asyncio.ensure_future(turns.run("me", wait, f"mine {number}")) for number in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(ProblemError) as refused:
            await turns.run("me", wait, "mine 3")
        yours = asyncio.ensure_future(turns.run("you", wait, "yours"))
        await asyncio.to_thread(both.wait, 120)
        assert sorted(began) == ["mine 0", "yours"]
        assert refused.value.status == 429
        ended.set()
        assert await asyncio.gather(*mine, yours) == ["mine 0", "mine 1", "mine 2", "yours"]
        turns.end()

    asyncio.run(steps())


def test_of_the_threads_that_all_share_one_sender_has_only_some():
    async def steps() -> None:
        ended = threading.Event()
        with ThreadPoolExecutor(4) as threads:
            shares = ConcurrencyLimits(threads, of_sender_max=2)

            async def asked(sender: str, wait_s: float) -> bool:
                SENDER.set(sender)
                return await shares.run(ended.wait, wait_s)

            mine = [asyncio.ensure_future(asked("me", 30)) for _ in range(8)]
            assert await asyncio.gather(*(asked(sender, 0) for sender in ("you", ""))) == [False, False]
            ended.set()
            assert await asyncio.gather(*mine) == [True] * 8

    asyncio.run(steps())


@pytest.mark.slow
@pytest.mark.parametrize("limit", [(service, "READS_OF_SENDER_MAX"), (asgi, "OF_SENDER_MAX")])
def test_a_sender_of_whom_too_much_is_not_answered_yet_is_told_so(bank, monkeypatch, limit):
    monkeypatch.setattr(*limit, 0)

    async def steps(asks: Asker, spoken: Spoken) -> None:
        answer = await asks.ask("POST", "/api/v1/events/payment", [{}] * 60, key="service")

        assert (answer.status, answer.json()["type"], "retry-after" in answer.headers) == (429, "too-many", True)

    run(bank, steps)


@pytest.mark.slow
def test_beyond_the_most_requests_at_once_all_are_turned_away_for_a_moment(bank, monkeypatch):
    monkeypatch.setattr(asgi, "OF_ALL_MAX", 1)
    began, ended = asyncio.Event(), asyncio.Event()

    async def slow(service: Service, request: Request) -> Response:
        began.set()
        await ended.wait()
        return Response()

    async def steps(asks: Asker, _: Spoken) -> None:
        asks._application = asgi.Application(
            asks.service, [Route("GET", "/slow", Right.READ_METRICS, slow, is_plain=True)], print
        )
        first = asyncio.ensure_future(asks.ask("GET", "/slow"))
        await began.wait()
        second = await asks.ask("GET", "/slow", key="service")
        ended.set()

        assert (second.status, second.json()["type"], "retry-after" in second.headers) == (503, "overload", True)
        assert (await first).status == (await asks.ask("GET", "/slow")).status == 200

    run(bank, steps)


def test_who_shows_no_key_that_holds_waits_for_an_answer_beyond_a_pace_and_others_do_not(bank, monkeypatch):
    waits = list[float]()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def steps(asks: Asker, _: Spoken) -> None:
        monkeypatch.setattr("shroff.web.http.asgi.asyncio", SimpleNamespace(sleep=sleep))
        asks.service.unknown._clock_s = lambda: 0.0
        at_once = round(2 * UNKNOWN_RATE)
        for _ in range(at_once + 1):
            assert (await asks.ask("GET", "/metrics", key="of nobody", address="198.51.100.7")).status == 401
        assert waits == [0.0] * at_once + [1 / UNKNOWN_RATE]
        assert (await asks.ask("GET", "/metrics", key="of nobody", address="198.51.100.7")).status == 401
        assert waits[-1] == 2 / UNKNOWN_RATE, "those that wait at once, wait one behind the other"

        await asks.ask("GET", "/metrics", key="of nobody", address="203.0.113.9")
        assert waits[-1] == 0.0
        assert (await asks.ask("GET", "/metrics", address="198.51.100.7")).status == 200
        assert len(waits) == at_once + 3

    run(bank, steps)


def test_who_sends_much_is_remembered_while_many_others_come():
    now_s = 0.0
    pace = Pace(1.0, lambda: now_s)
    for number in range(SENDERS_MAX):
        assert pace.wait_s_of(str(number), 2) == 0
        assert pace.wait_s_of("much", 2) == (0 if number == 0 else 2)

    assert pace.wait_s_of("one more", 2) == 0
    assert pace.wait_s_of("much", 2) == 2
    assert len(pace._buckets) == SENDERS_MAX


def test_who_waits_takes_what_is_sent_later_up_to_a_limit():
    now_s = 0.0
    pace = Pace(1.0, lambda: now_s, waits_s_max=3.0)

    assert [pace.wait_s_of("a", 1) for _ in range(7)] == [0, 0, 1, 2, 3, 4, 4]
    now_s = 4.0
    assert [pace.wait_s_of("a", 1) for _ in range(2)] == [0, 1]


def test_what_is_done_for_many_waits_for_no_sender_and_its_failure_reaches_all(bank, monkeypatch):
    async def steps(asks: Asker, _: Spoken) -> None:
        serves, senders = asks.service, list[str]()

        def broken(_steps: object) -> None:
            raise RuntimeError("a mistake of the program")

        async def in_thread(function: Callable[..., object], *arguments: object) -> object:
            senders.append(SENDER.get())
            return function(*arguments)

        monkeypatch.setattr(serves.changes, "_in_thread", in_thread)
        monkeypatch.setattr(serves.changes, "_take_steps", broken)
        SENDER.set("me")
        gone, *both = [asyncio.ensure_future(serves.changes.make(lambda _change, _now_ms: None)) for _ in range(3)]
        await asyncio.sleep(0)
        gone.cancel()
        found = await asyncio.wait_for(asyncio.gather(*both, return_exceptions=True), 120)
        assert (senders, [str(error) for error in found]) == ([""], ["a mistake of the program"] * 2)

        monkeypatch.setattr(serves.health, "look", lambda **_: senders.append(SENDER.get()))
        await serves.health.known(in_thread)
        assert senders[1:] == ["", ""]

    run(bank, steps)


@pytest.mark.parametrize("said", ['"\\' * 8_000, 'for="' + "a" * 2_000 + '",for=198.51.100.9'], ids=["open", "long"])
def test_of_a_long_forwarded_header_nothing_is_believed(said):
    assert Proxies(["10.0.0.0/8"], FORWARDED).sender("10.1.1.1", [(FORWARDED, said.encode())]) == "10.1.1.1"


# ---- drafts of rules


def test_the_places_of_a_text_are_found_once_however_many_mistakes_it_has(bank):
    project = app.open_exactly(bank)
    yamlnodes._places_of.cache_clear()
    found = project.drafts.check("x", RULE + f'  reason: "{"".join(f"{{this.x{n}}}" for n in range(200))}"\n')

    assert len(found.mistakes) == 200
    assert yamlnodes._places_of.cache_info().misses == 1


def test_the_tests_of_a_rule_end_in_time_and_those_that_were_stopped_fail(bank):
    project = app.open_exactly(bank)
    checked = project.drafts.check("x", RULE + TEST)
    assert len(checked.rules) == 1
    (stopped,) = run_tests_of(checked.rules[0], project.definitions, seconds_max=-1.0)

    assert stopped.problem is not None
    assert "was stopped" in str(stopped.problem)
