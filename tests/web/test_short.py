"""The short way of one event: the same answers as the long one, byte for byte, and nobody's turn taken."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvicorn
from uvicorn.server import ServerState

from shroff.config import TEMPLATE_FOLDER
from shroff.log.writer import Writer
from shroff.web.http import protocol, short
from shroff.web.http.asgi import Application
from shroff.web.http.protocol import Patient
from shroff.worker.request_bodies import RequestReader
from tests.support.webs import Asker, asker
from tests.web.test_web import PAYMENT, payment

pytestmark = pytest.mark.slow

TEMPLATE = TEMPLATE_FOLDER / "payments"
PATH = "/api/v1/events/payment"
Answer = tuple[int, dict[str, str], bytes]


def request(body: object, path: str = PATH, *, key: str = "admin", method: str = "POST", **headers: str) -> bytes:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    found = {"host": "here", "content-type": "application/json", "content-length": str(len(raw))}
    found |= {"authorization": f"Bearer {key}"} if key else {}
    found |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in found.items() if value)]
    return "\r\n".join([*lines, "", ""]).encode() + raw


class Spoken:
    """A connection to a server inside of the test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, *packets: bytes) -> None:
        for packet in packets:
            self.writer.write(packet)
            await self.writer.drain()
            await asyncio.sleep(0.02)  # so that they come one by one

    async def answer(self) -> Answer:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 60)
        status, *lines = head.decode().split("\r\n")[:-2]
        headers = dict(line.split(": ", 1) for line in lines)
        body = await self.reader.readexactly(int(headers["content-length"]))
        return int(status.split()[1]), headers, body

    async def ask(self, *packets: bytes) -> Answer:
        await self.send(*packets)
        return await self.answer()


@asynccontextmanager
async def connected(asks: Asker, state: ServerState | None = None):
    """A connection of its own; with a `state`, one of several to the same server."""
    how = {"ws": "none", "lifespan": "off", "timeout_keep_alive": 60, "log_config": None}
    config = uvicorn.Config(asks._application, http=Patient, **how)
    config.load()
    loop, found = asyncio.get_running_loop(), state or ServerState()
    server = await loop.create_server(lambda: Patient(config, found, {}), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield Spoken(reader, writer)
    finally:
        writer.close()
        server.close()
        await server.wait_closed()


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    shutil.copytree(TEMPLATE, tmp_path / "bank")
    return tmp_path / "bank"


@pytest.fixture
def long(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The requests that went the long way."""
    found: list[str] = []
    call = Application.__call__

    async def counting(self: Application, scope: Any, receive: Any, send: Any) -> None:
        found.append(scope["path"])
        await call(self, scope, receive, send)

    monkeypatch.setattr(Application, "__call__", counting)
    return found


def run(folder: Path, steps: Callable[[Asker, Spoken], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asker(folder) as asks, connected(asks) as spoken:
            await steps(asks, spoken)

    asyncio.run(whole())


def told(answer: Answer) -> Any:
    status, headers, body = answer
    return status, [(name, value) for name, value in headers.items() if name not in {"date", "server-timing"}], body


CASES = {
    "an event": (request(payment(1)), 200, True),
    "the same again": (request(payment(1)), 200, True),
    "other content": (request(payment(1, amount="3.00")), 409, True),
    "spaces before it": (request(b" " + msgspec.json.encode(payment(2))), 200, False),
    "a mistake": (request(payment(3, amount="much")), 422, False),
    "no JSON": (request(b"{"), 422, False),
    "nothing": (request(b""), 422, False),
    "a list": (request([payment(4)]), 200, False),
    "lines": (request(payment(5), content_type="application/x-ndjson"), 200, False),
    "a charset": (request(payment(6), content_type="application/json; charset=utf-8"), 200, False),
    "no kind": (request(payment(7), content_type=""), 200, True),
    "another kind": (request(payment(8), content_type="text/csv"), 415, False),
    "no such type": (request(payment(9), "/api/v1/events/sale"), 404, False),
    "a query": (request(payment(10), f"{PATH}?explain=1"), 200, False),
    "answered otherwise": (request(payment(11), shroff_answered="approve"), 200, False),
    "nobody": (request(payment(12), key=""), 401, False),
    "an unknown key": (request(payment(13), key="made-up"), 401, False),
    "a key without the right": (request(payment(14), key="viewer"), 403, False),
    "another scheme": (request(payment(15), authorization="Basic admin"), 401, False),
    "another method": (request(payment(16), method="PUT"), 405, False),
    "an end": (request(payment(17), connection="close"), 200, False),
    "an encoding": (request(payment(18), content_encoding="gzip"), 415, False),
    "no encoding": (request(payment(19), content_encoding="identity"), 200, False),
}


def test_both_ways_give_the_same_answers(bank, long):
    async def steps(asks: Asker, spoken: Spoken) -> None:
        for name, (raw, status, is_short) in CASES.items():
            async with connected(asks) as whole, connected(asks) as parted:
                found = await whole.ask(raw)
                assert (found[0], long == []) == (status, is_short), name
                long.clear()
                cut = raw.index(b"\r\n\r\n") + 4 + (len(raw) - raw.index(b"\r\n\r\n") - 4) // 2
                again = await parted.ask(raw[:cut], raw[cut:])
                assert name == "nothing" or long, name
                long.clear()
                assert told(found) == told(again), name

    run(bank, steps)


def test_an_event_that_comes_byte_by_byte_is_decided(bank):
    async def steps(asks: Asker, spoken: Spoken) -> None:
        raw = request(PAYMENT)
        for at in range(len(raw)):
            spoken.writer.write(raw[at : at + 1])
            await asyncio.sleep(0)
        assert (await spoken.answer())[0] == 200

    run(bank, steps)


def test_requests_sent_without_waiting_are_answered_in_their_order(bank):
    async def steps(asks: Asker, spoken: Spoken) -> None:
        events: Sequence[object] = [payment(1), [payment(2)], payment(3), payment(4), [payment(5)], payment(6)]
        await spoken.send(b"".join(request(one) for one in events))
        bodies = [msgspec.json.decode((await spoken.answer())[2]) for _ in events]

        found = [one[0]["id"] if isinstance(one, list) else one["id"] for one in bodies]
        assert found == [f"p-{number}" for number in range(1, 7)]

    run(bank, steps)


def test_a_connection_is_used_for_many_requests_of_both_ways(bank):
    async def steps(asks: Asker, spoken: Spoken) -> None:
        for number in range(40):
            raw = request(payment(number) if number % 3 else [payment(number)])
            assert (await spoken.ask(raw))[0] == 200

    run(bank, steps)


def test_who_goes_away_gets_no_answer_and_the_event_is_decided(bank):
    async def steps(asks: Asker, spoken: Spoken) -> None:
        spoken.writer.write(request(PAYMENT))
        spoken.writer.close()
        end_s = time.monotonic() + 60
        while (await asks.ask("GET", "/api/v1/decisions/payment/p-1")).status != 200:
            assert time.monotonic() < end_s

    run(bank, steps)


def test_what_is_turned_away_says_so_in_the_same_words(bank, long):
    async def steps(asks: Asker, spoken: Spoken) -> None:
        asks.service.queue.close("it is not taken now")
        found = await spoken.ask(request(PAYMENT))
        assert long == []
        raw = request(PAYMENT)
        assert told(found) == told(await spoken.ask(raw[:-9], raw[-9:]))
        assert found[0] == 503
        assert found[1]["retry-after"] == "1"
        assert asks.service.queue.turned_away == 2

    run(bank, steps)


def test_who_waits_for_too_long_is_told_and_the_decision_is_made(bank, monkeypatch):
    monkeypatch.setattr(short, "PATIENCE_S", 0.05)
    commit = Writer.commit

    def slowly(self: Writer, prepared: Any) -> None:
        time.sleep(0.4)
        commit(self, prepared)

    monkeypatch.setattr(Writer, "commit", slowly)

    async def steps(asks: Asker, spoken: Spoken) -> None:
        status, _, body = await spoken.ask(request(PAYMENT))
        assert status == 503
        assert "send the events again with the same ids" in msgspec.json.decode(body)["detail"]
        await asyncio.sleep(0.6)
        monkeypatch.setattr(short, "PATIENCE_S", 30.0)
        assert (await spoken.ask(request(PAYMENT)))[0] == 200

    run(bank, steps)


def test_a_mistake_of_the_program_is_told_and_leaves_the_others_their_answers(bank, monkeypatch):
    shown = short.event_response

    def failing(answer: Any) -> Any:
        if answer.id == "p-1":
            raise RuntimeError("p-1 in words")
        return shown(answer)

    monkeypatch.setattr(short, "event_response", failing)

    async def steps(asks: Asker, spoken: Spoken) -> None:
        async with connected(asks) as other:
            assert (await spoken.ask(request(payment(1))))[0] == 200
            refused = request(payment(1, amount="3.00"))
            await asyncio.gather(spoken.send(refused), other.send(request(payment(2))))
            status, _, body = await spoken.answer()
            assert (await other.answer())[0] == 200
        (told,) = asks._application.tell.__self__
        id_ = msgspec.json.decode(body)["instance"].rpartition(":")[2]
        assert status == 500
        assert told.startswith(f"error {id_}: {short._ROUTE}: RuntimeError at ")
        assert re.search(r"shroff/web/http/short\.py:\d+ answer > \S+:\d+ failing$", told)
        assert b"in words" not in body + told.encode()  # what failed may hold something of what was sent

    run(bank, steps)


@pytest.mark.parametrize("first", [b"", request(PAYMENT)], ids=["at first", "after an answer"])
def test_a_head_that_does_not_end_ends_the_connection(bank, monkeypatch, first):
    monkeypatch.setattr(protocol, "HEAD_S_MAX", 0.3)

    async def steps(asks: Asker, spoken: Spoken) -> None:
        if first:
            assert (await spoken.ask(first))[0] == 200
        await spoken.send(b"POST /api/v1/events/payment HTTP/1.1\r\nhost: h")
        assert await asyncio.wait_for(spoken.reader.read(), 60) == b""

    run(bank, steps)


def test_a_head_that_came_before_is_not_parsed_again_and_gives_the_same_answers(bank, long, monkeypatch):
    fed: list[bytes] = []
    feed = Patient._feed

    def feeding(self: Patient, data: bytes) -> None:
        fed.append(data)
        feed(self, data)

    monkeypatch.setattr(Patient, "_feed", feeding)

    async def steps(asks: Asker, spoken: Spoken) -> None:
        assert (await spoken.ask(request(payment(1))))[0] == 200
        fed.clear()
        first = await spoken.ask(request(payment(1_000, amount="3.00")))
        assert (fed, long, first[0]) == ([], [], 200)

        for name, (raw, status, is_short) in CASES.items():
            async with connected(asks) as kept, connected(asks) as alone:
                assert (await kept.ask(request(payment(1))))[0] == 200
                assert long == []
                found = await kept.ask(raw)
                assert (found[0], long == []) == (status, is_short), name
                assert told(await alone.ask(raw)) == told(found), name
                long.clear()

    run(bank, steps)


def test_a_mistake_of_the_program_in_reading_is_answered_and_told(bank, monkeypatch):
    read = RequestReader.one

    def failing(self: RequestReader, name: str, raw: bytes, *more: Any) -> Any:
        if b"p-2" in raw:
            raise RuntimeError("p-2 in words")
        return read(self, name, raw, *more)

    monkeypatch.setattr(RequestReader, "one", failing)

    async def steps(asks: Asker, spoken: Spoken) -> None:
        assert (await spoken.ask(request(payment(2))))[0] == 500
        assert (await spoken.ask(request(payment(1))))[0] == 200
        assert (await spoken.ask(request(payment(2))))[0] == 500
        assert len(asks._application.tell.__self__) == 2

    run(bank, steps)


def test_a_key_that_lost_its_rights_is_refused_under_a_head_that_came_before(bank):
    async def steps(asks: Asker, spoken: Spoken) -> None:
        known = asks.service.gate.known
        for now, status in ((known["viewer"], 403), (None, 401)):
            async with connected(asks) as kept:
                assert (await kept.ask(request(payment(1))))[0] == 200
                before = known.pop("admin")
                known |= {} if now is None else {"admin": now}
                assert (await kept.ask(request(payment(2))))[0] == status
                known["admin"] = before

    run(bank, steps)


@pytest.mark.parametrize(
    "raw",
    [
        request(payment(2))[:-1],
        request(payment(2)) + b"P",
        request(payment(2)) + request(payment(3)),
        request(payment(2), x_more="1"),
        request(payment(2), "/api/v1/events/paymen"),
        request(payment(2)).replace(b"content-length: 1", b"content-length: +1"),
        request(payment(2)).replace(b"content-length: ", b"content-length: 0000"),
    ],
    ids=["shorter", "longer", "two", "a header more", "another address", "no digits", "many digits"],
)
def test_a_request_that_differs_from_the_one_before_in_more_than_its_length_is_parsed(raw):
    whole = request(payment(1))
    body = msgspec.json.encode(payment(1))
    head = short.KnownHead.of(whole, len(body), "payment", "admin", ())

    assert head is not None
    assert head.body_of(whole) == body
    assert head.body_of(raw) == b""


def test_a_decision_has_the_bytes_of_any_other_answer():
    answer, more = short.Response(b"{}", media_type="application/json"), [(b"date", b"now")]
    with_standing = short.with_standing(answer, 0.25)

    for is_kept in (True, False):
        assert short.decision(b"{}", 0.25, more, is_kept=is_kept) == short.wire(with_standing, more, is_kept=is_kept)


def test_a_connection_is_closed_when_it_was_idle_for_long_enough_and_not_before(bank, monkeypatch):
    made = Patient.connection_made

    def soon(self: Patient, transport: Any) -> None:
        self.timeout_keep_alive = 0.6
        made(self, transport)

    monkeypatch.setattr(Patient, "connection_made", soon)

    async def steps(asks: Asker, _: Spoken) -> None:
        async with connected(asks) as spoken:
            for number in range(4):  # longer than that in all
                assert (await spoken.ask(request(payment(number))))[0] == 200
                await asyncio.sleep(0.3)
            assert await asyncio.wait_for(spoken.reader.read(), 60) == b""

    run(bank, steps)
