"""What one client may ask for of a service, and of which others must not notice anything."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, closing, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from uvicorn.server import ServerState

from shroff.app import project as app
from shroff.config import TEMPLATE_FOLDER
from shroff.language.yaml import nodes as yamlnodes
from shroff.log.ruletests import run_tests_of
from shroff.web import server, service
from shroff.web.api.rules.draft_checks import check_of
from shroff.web.http import asgi, protocol
from shroff.web.http.gate import SENDERS_MAX, Pace, gate_of
from shroff.web.http.problems import ProblemError
from shroff.web.http.proxies import FORWARDED, Proxies
from shroff.web.http.turns import SENDER, Shares, Turns
from shroff.web.service import UNKNOWN_RATE
from shroff.web.work.checking import Checkers
from tests.support.webs import Asker, asker
from tests.web.test_short import Spoken, connected

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
    monkeypatch.setattr(server, "_many_files", lambda: 1_000)
    project, told = app.open_exactly(bank), list[str]()
    with server.bound(server.At(port=0)) as listening, project.people.open() as desk, gate_of(desk) as gate:

        def begun() -> None:
            socket.create_connection(listening.getsockname(), 30).close()
            os.kill(os.getpid(), signal.SIGTERM)

        project.opened.served_at = "http://127.0.0.1"
        server.serve(project, gate, desk, listening, tell=told.append, begun=begun)

    assert told == []


@pytest.mark.parametrize("limit", ["most", "of_address_max"])
def test_beyond_the_most_connections_the_one_that_is_idle_longest_makes_room(bank, limit):
    async def whole() -> None:
        async with asker(bank) as asks, AsyncExitStack() as stack:
            setattr(asks._application.connections, limit, 3)
            state = ServerState()
            first, second, third = [await stack.enter_async_context(connected(asks, state)) for _ in range(3)]
            for one in (first, second, third, first):
                assert (await one.ask(LIVE))[0] == 200
            fourth = await stack.enter_async_context(connected(asks, state))

            assert await second.reader.read() == b""
            assert [(await one.ask(LIVE))[0] for one in (first, third, fourth)] == [200] * 3

    asyncio.run(whole())


@pytest.mark.slow
def test_requests_sent_without_waiting_are_kept_few_at_a_time_and_all_answered(bank, monkeypatch):
    waiting: list[int] = []
    feed = protocol.Patient._feed

    def counting(self: protocol.Patient, data: bytes) -> None:
        feed(self, data)
        waiting.append(len(self.pipeline))

    monkeypatch.setattr(protocol.Patient, "_feed", counting)

    async def steps(asks: Asker, spoken: Spoken) -> None:
        spoken.writer.write(LIVE * 2_000)
        assert [(await spoken.answer())[0] for _ in range(2_000)] == [200] * 2_000

    run(bank, steps)

    assert 0 < max(waiting) <= protocol._FED_BYTES // len(LIVE) + 1


@pytest.mark.slow
def test_an_answer_that_nobody_takes_is_given_up(bank, monkeypatch):
    monkeypatch.setattr(protocol, "STALLED_S", 0.05)
    lost, was_lost = asyncio.Event(), protocol.Patient.connection_lost

    def told(self: protocol.Patient, exc: Exception | None) -> None:
        was_lost(self, exc)
        lost.set()

    monkeypatch.setattr(protocol.Patient, "connection_lost", told)

    async def steps(asks: Asker, spoken: Spoken) -> None:
        spoken.writer.transport.pause_reading()
        spoken.writer.write(b"GET /api/openapi.json HTTP/1.1\r\nhost: x\r\n\r\n" * 200)
        await asyncio.wait_for(lost.wait(), 30)

    run(bank, steps)


def test_a_refused_request_waits_behind_the_answer_before_it(bank):
    async def steps(asks: Asker, spoken: Spoken) -> None:
        assert (await spoken.ask(LIVE + b"no HTTP at all\r\n\r\n"))[0] == 200
        assert await spoken.reader.read() == b""

    run(bank, steps)


@pytest.mark.slow
def test_the_rest_of_a_refused_request_is_discarded_piece_by_piece(bank, monkeypatch):
    pieces: list[protocol.Patient] = []
    discard = protocol.Patient._discard

    def counting(self: protocol.Patient, size: int) -> None:
        pieces.append(self)
        discard(self, size)

    monkeypatch.setattr(protocol.Patient, "_discard", counting)
    monkeypatch.setattr(protocol, "LINGER_PAUSE_S", 1_000.0)

    async def steps(asks: Asker, spoken: Spoken) -> None:
        spoken.writer.write(b"GET / HTTP/1.1\r\nx: " + b"a" * 16 * 1024 * 1024)
        assert (await spoken.answer())[0] == 431
        for _ in range(20):
            assert (await asks.ask("GET", "/health/live")).status == 200
            await asyncio.sleep(0)
        assert 0 < len(pieces) < 4  # the rest of what was being fed, and a piece
        pieces[0].close()
        spoken.writer.transport.abort()
        with suppress(OSError):
            await spoken.writer.wait_closed()

    run(bank, steps)


# ---- drafts, in processes of their own


@pytest.mark.slow
def test_a_draft_is_checked_in_another_process_which_is_ended_where_it_takes_too_long(bank):
    project = app.open_exactly(bank)
    with closing(Checkers(project)) as checkers:
        assert checkers.check("x", RULE + TEST) == check_of(project, "x", RULE + TEST)
        assert checkers.check("x", RULE + "  k: 1\n")["mistakes"]
        (process,) = checkers._all
        os.kill(process.pid, signal.SIGSTOP)
        checkers._seconds_max = 0.01
        with pytest.raises(ProblemError) as refused:
            checkers.check("x", RULE)
        assert (refused.value.status, process.returncode) == (503, -signal.SIGKILL)
        checkers._seconds_max = 60.0
        assert checkers.check("x", RULE)["ok"]
        (other,) = checkers._all
        other.kill()
        other.wait()
        assert checkers.check("x", RULE)["ok"]
        assert other not in checkers._all
    assert checkers._all == set()


# ---- turns, paces, senders


def test_a_sender_has_one_turn_at_a_time_and_others_have_theirs_meanwhile():
    async def steps() -> None:
        turns = Turns("a check", threads=2, seconds_max=30.0, of_sender_max=3)
        began, ended, both = list[str](), threading.Event(), threading.Barrier(3)

        def wait(name: str) -> str:
            began.append(name)
            if name in {"mine 0", "yours"}:
                both.wait(30)
            ended.wait(30)
            return name

        mine = [asyncio.ensure_future(turns.run("me", wait, f"mine {number}")) for number in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(ProblemError) as refused:
            await turns.run("me", wait, "mine 3")
        yours = asyncio.ensure_future(turns.run("you", wait, "yours"))
        await asyncio.to_thread(both.wait, 30)
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
            shares = Shares(threads, of_sender_max=2)

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

        await asks.ask("GET", "/metrics", key="of nobody", address="203.0.113.9")
        assert waits[-1] == 0.0
        assert (await asks.ask("GET", "/metrics", address="198.51.100.7")).status == 200
        assert len(waits) == at_once + 2

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
    assert checked.rule is not None
    (stopped,) = run_tests_of(checked.rule, project.definitions, seconds_max=-1.0)

    assert stopped.problem is not None
    assert "was stopped" in str(stopped.problem)
