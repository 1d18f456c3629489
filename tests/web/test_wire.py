"""Events over connections: whole or in pieces, one after the other or without waiting, and what clients do wrong."""

from __future__ import annotations

import asyncio
import inspect
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from shroff.config import TEMPLATE_FOLDER
from shroff.errors import SignInError
from shroff.log.writer import Writer
from shroff.web.api import events
from shroff.web.http import asgi
from shroff.web.http.authentication import Pace
from shroff.web.http.connections import Connection
from shroff.web.http.proxies import Proxies
from shroff.web.work import writer_client
from shroff.worker.request_bodies import RequestReader
from shroff.worker.request_queue import PendingRequest
from tests.support.webs import Asker, asker
from tests.support.wire import Answer, Spoken, connected
from tests.web.test_web import PAYMENT, payment

pytestmark = pytest.mark.slow

TEMPLATE = TEMPLATE_FOLDER / "payments"
PATH = "/api/v1/events/payment"
STREAMS = 30


def request(body: object, path: str = PATH, *, key: str = "admin", method: str = "POST", **headers: str) -> bytes:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    found = {"host": "here", "content-type": "application/json", "content-length": str(len(raw))}
    found |= {"authorization": f"Bearer {key}"} if key else {}
    found |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in found.items() if value)]
    return "\r\n".join([*lines, "", ""]).encode() + raw


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    shutil.copytree(TEMPLATE, tmp_path / "bank")
    return tmp_path / "bank"


def run(folder: Path, steps: Callable[[Asker, Spoken], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asker(folder) as asks, connected(asks) as spoken:
            await steps(asks, spoken)

    asyncio.run(whole())


def told(answer: Answer) -> Any:
    status, headers, body = answer
    return status, {name: value for name, value in headers.items() if name not in {"date", "server-timing"}}, body


CASES = {
    "an event": (request(payment(1)), 200),
    "the same again": (request(payment(1)), 200),
    "other content": (request(payment(1, amount="3.00")), 409),
    "spaces before it": (request(b" " + msgspec.json.encode(payment(2))), 200),
    "a mistake": (request(payment(3, amount="much")), 422),
    "no JSON": (request(b"{"), 422),
    "nothing": (request(b""), 422),
    "a list": (request([payment(4)]), 200),
    "lines": (request(payment(5), content_type="application/x-ndjson"), 200),
    "a charset": (request(payment(6), content_type="application/json; charset=utf-8"), 200),
    "no kind": (request(payment(7), content_type=""), 200),
    "another kind": (request(payment(8), content_type="text/csv"), 415),
    "no such type": (request(payment(9), "/api/v1/events/sale"), 404),
    "a query": (request(payment(10), f"{PATH}?explain=1"), 200),
    "answered otherwise": (request(payment(11), shroff_answered="approve"), 200),
    "nobody": (request(payment(12), key=""), 401),
    "an unknown key": (request(payment(13), key="made-up"), 401),
    "a key without the right": (request(payment(14), key="viewer"), 403),
    "another scheme": (request(payment(15), authorization="Basic admin"), 401),
    "another method": (request(payment(16), method="PUT"), 405),
    "an end": (request(payment(17), connection="close"), 200),
    "an encoding": (request(payment(18), content_encoding="gzip"), 415),
    "no encoding": (request(payment(19), content_encoding="identity"), 200),
}


def test_a_request_in_pieces_is_answered_as_one_that_comes_at_once(bank):
    async def steps(asks: Asker, _: Spoken) -> None:
        for name, (raw, status) in CASES.items():
            async with connected(asks) as whole, connected(asks) as parted:
                found = await whole.ask(raw)
                cut = raw.index(b"\r\n\r\n") + 4 + (len(raw) - raw.index(b"\r\n\r\n") - 4) // 2
                assert found[0] == status, name
                assert told(found) == told(await parted.ask(raw[:cut], raw[cut:])), name
                if "connection" not in found[1]:  # then a head that came before is known
                    assert told(found) == told(await whole.ask(raw)) == told(await whole.ask(raw)), name

    run(bank, steps)


def test_an_event_with_a_known_head_is_held_to_every_limit(bank, monkeypatch):
    async def steps(asks: Asker, spoken: Spoken) -> None:
        service, application = asks.service, asks._application

        async def status(number: int, **headers: str) -> int:
            return (await spoken.ask(request(payment(number), **headers)))[0]

        async def no_more(*_: Any) -> None:
            raise AssertionError("a known head needs no task")

        assert await status(1) == 200
        with monkeypatch.context() as without:
            without.setattr(application, "answer", no_more)
            assert await status(2) == 200
        assert await status(3, x_request_id="a") == await status(3, x_request_id="a") == 200
        assert (await spoken.ask(request(payment(3), f"{PATH}?explain=1")))[0] == 200
        assert len(application._heads) == 1, "a request with an id of its own or a query has more to say"

        service.pace = Pace(0.5)  # one event at once
        assert [await status(number) for number in (4, 5)] == [200, 429]
        service.pace = Pace(0.5)
        with monkeypatch.context() as full:
            full.setattr(service.writer.queue, "why_closed", "it is not taken now")
            full.setattr(service.writer.queue, "_reader", None)
            assert await status(6) == 503
        assert service.writer.queue.turned_away == 1
        service.pace = Pace(1_000.0)
        with monkeypatch.context() as crowded:
            crowded.setattr(asgi, "OF_SENDER_MAX", 0)
            assert await status(7) == 429
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(type(service.settings), "networks", Proxies(["10.0.0.0/8"]), raising=False)
            assert await status(8) == 403
        assert await status(9) == 200
        assert service.work.counts.events.appended == 5
        posted = service.requests.counts["POST", "/api/v1/events/{event}", 200]
        assert posted == 7, "each request is counted once"
        assert not application._under_way

    run(bank, steps)


def padded(number: int, *, raw: bytes = b"", **changes: Any) -> bytes:
    """A request with an event whose head is that of all others."""
    return request((raw or msgspec.json.encode(payment(number, **changes))).ljust(400))


def without_key(asks: Asker, patch: pytest.MonkeyPatch) -> None:
    patch.delitem(asks.service.gate.known, "admin")


def with_expired_key(asks: Asker, patch: pytest.MonkeyPatch) -> None:
    def expired(_: str) -> None:
        raise SignInError("this key is not known")

    patch.setattr(asks.service.gate, "at_hand", expired, raising=False)


def without_right(asks: Asker, patch: pytest.MonkeyPatch) -> None:
    patch.setitem(asks.service.gate.known, "admin", asks.service.gate.known["viewer"])


def from_elsewhere(asks: Asker, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(type(asks.service.settings), "networks", Proxies(["10.0.0.0/8"]), raising=False)


def too_fast(asks: Asker, patch: pytest.MonkeyPatch) -> None:
    pace = Pace(0.001)
    for name in ("admin", "another"):
        pace.wait_s_of(f"key-{name}", 1)
    patch.setattr(asks.service, "pace", pace)


def crowded(asks: Asker, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(asgi, "OF_SENDER_MAX", 0)


def crowded_by_all(asks: Asker, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(asgi, "OF_ALL_MAX", 0)


def on_standby(asks: Asker, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(asks.service.writer.queue, "why_closed", "it is not taken now")
    patch.setattr(asks.service.writer.queue, "_reader", None)


def overloaded(asks: Asker, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(asks.service.writer.queue, "age_s_max", -1.0)


def not_begun(asks: Asker, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(asks.service.writer, "reader", None)


def without_type(asks: Asker, patch: pytest.MonkeyPatch) -> None:
    events = SimpleNamespace(types={"login": None})
    reader = SimpleNamespace(definitions=SimpleNamespace(events=events), types=["login"])
    patch.setattr(asks.service.writer, "reader", reader)


def late(asks: Asker, patch: pytest.MonkeyPatch) -> None:
    class Lost(SimpleQueue):
        def put(self, *_: object) -> None:
            """Nothing comes out."""

    patch.setattr(asks.service.writer.queue, "_given", Lost())
    patch.setattr(writer_client, "PATIENCE_S", 0.05)
    patch.setattr(asks.service.writer, "_timer", None)


def nothing(asks: Asker, patch: pytest.MonkeyPatch) -> None:
    pass


# What is done, the request, its status, and whether a known head is answered without a task
REFUSALS: Mapping[str, tuple[Callable[[Asker, pytest.MonkeyPatch], None], bytes, int, bool]] = {
    "an event": (nothing, padded(1), 200, True),
    "other content": (nothing, padded(1, amount="3.00"), 409, True),
    "a mistake": (nothing, padded(2, amount="much"), 422, True),
    "no JSON": (nothing, padded(2, raw=b"{"), 422, True),
    "an unknown key": (without_key, padded(2), 401, False),
    "an expired key": (with_expired_key, padded(2), 401, False),
    "no right": (without_right, padded(2), 403, True),
    "another network": (from_elsewhere, padded(2), 403, False),
    "too fast": (too_fast, padded(2), 429, True),
    "too many of this sender": (crowded, padded(2), 429, True),
    "too many of all": (crowded_by_all, padded(2), 503, True),
    "on standby": (on_standby, padded(2), 503, True),
    "overloaded": (overloaded, padded(2), 503, True),
    "not begun": (not_begun, padded(2), 503, True),
    "no such type": (without_type, padded(2), 404, True),
    "late": (late, padded(3), 503, True),
}


def test_a_known_head_is_refused_as_a_new_one_is_with_the_same_effects(bank, monkeypatch):
    async def steps(asks: Asker, _: Spoken) -> None:
        service, application = asks.service, asks._application
        tasks: list[object] = []
        answer = application.answer

        async def counted(*given: Any) -> None:
            tasks.append(given)
            await answer(*given)

        monkeypatch.setattr(application, "answer", counted)

        async def effects(spoken: Spoken, raw: bytes, change: Any) -> Any:
            """What comes back, and what it left behind."""
            queue = service.writer.queue
            with monkeypatch.context() as patch:
                change(asks, patch)
                before = Counter(service.requests.counts)
                turned_away, tasks[:] = queue.turned_away, []
                left = {name: bucket.left for name, bucket in service.pace._buckets.items()}
                found = await spoken.ask(raw)
                rate = [left.get(name, 0.0) - bucket.left for name, bucket in service.pace._buckets.items()]
                counts = Counter(service.requests.counts) - before
                assert not application._under_way
            return told(found), counts, queue.turned_away - turned_away, [round(events) for events in rate], len(tasks)

        for name, (change, raw, status, is_taken) in REFUSALS.items():
            async with connected(asks) as usual, connected(asks) as short:
                service.pace = Pace(1_000.0)
                assert (await short.ask(padded(1)))[0] == 200, name
                assert (await usual.ask(raw))[0] in {200, 409, 422}, name  # so that it comes again in both ways
                application._heads, heads = {}, application._heads
                service.pace = Pace(1_000.0)
                await usual.ask(request([]))
                *found, usual_tasks = await effects(usual, raw, change)
                application._heads = heads
                service.pace = Pace(1_000.0)
                await short.ask(request([]))
                *again, short_tasks = await effects(short, raw, change)
            assert found[0][0] == status, name
            assert found == again, name
            assert (usual_tasks, short_tasks) == (1, 0 if is_taken else 1), name

    run(bank, steps)


def test_the_end_of_a_head_is_no_head(bank):
    whole = request(payment(1), host="here")
    cut = whole.index(b"content-length")

    async def steps(asks: Asker, spoken: Spoken) -> None:
        assert (await spoken.ask(whole[:cut], whole[cut:]))[0] == 200
        async with connected(asks) as other:
            await other.ask(request(b"", "/health", method="GET", key=""))
            assert (await other.ask(whole[cut:]))[0] == 400
        assert asks.service.work.counts.events.appended == 1

    run(bank, steps)


def test_an_event_after_a_head_request_has_a_body(bank, monkeypatch):
    async def steps(asks: Asker, spoken: Spoken) -> None:
        raw = request(payment(1))
        await spoken.ask(raw)
        await spoken.send(request(b"", "/health", method="HEAD", key=""))
        await spoken.reader.readuntil(b"\r\n\r\n")
        with monkeypatch.context() as slow:
            slow.setattr(Connection, "_send_whole", lambda *_: False)  # as where the client does not read
            assert (await spoken.ask(raw))[2].startswith(b"{")

    run(bank, steps)


def test_uvicorn_has_what_a_connection_uses_of_it():
    words = "uvicorn changed: look at `Connection._begin_taken` and `_send_whole` in web/http/connections.py"
    given = inspect.signature(RequestResponseCycle).parameters
    asked = "scope transport flow logger access_logger access_log default_headers message_event expect_100_continue"
    assert set(given) == {*asked.split(), "keep_alive", "on_response"}, words
    cycle = RequestResponseCycle(**dict.fromkeys(given))
    begun = {"body": bytearray(), "more_body": True, "response_started": False, "response_complete": False}
    asked_later = {"chunked_encoding": None, "expected_content_length": 0, "disconnected": False}
    own = {"keep_alive": None, "on_response": None, "waiting_for_100_continue": None}
    same = {name: None for name in asked.split() if name != "expect_100_continue"}
    assert vars(cycle) == {**begun, **asked_later, **own, **same}, words
    for name in (
        "_start_asgi_task",
        "_unset_keepalive_if_required",
        "on_response_complete",
        "timeout_keep_alive_handler",
    ):
        assert callable(getattr(HttpToolsProtocol, name)), words


def test_an_event_after_an_upgrade_is_answered_as_by_a_task(bank, monkeypatch):
    async def steps(asks: Asker, spoken: Spoken) -> None:
        raw = request(payment(1))
        sent = [raw, request(payment(1), connection="upgrade", upgrade="h2c"), raw]
        await spoken.ask(raw)
        known = await received(asks, sent, None)
        with monkeypatch.context() as patch:
            patch.setattr(asks._application, "take", lambda *_: False)
            assert await received(asks, sent, None) == known

    run(bank, steps)


def test_an_answer_that_cannot_be_given_keeps_no_other_waiting(bank):
    async def steps(asks: Asker, _: Spoken) -> None:
        answered = asyncio.Event()

        def broken() -> None:
            raise RuntimeError("the connection has gone")

        writer = asks.service.writer
        requests = [PendingRequest([], None, told) for told in (broken, answered.set)]
        for request in requests:
            writer._pending[request] = None
        writer._answered(requests)
        await asyncio.wait_for(answered.wait(), 10)

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
        await spoken.send(b"".join(request(event) for event in events))
        bodies = [msgspec.json.decode((await spoken.answer())[2]) for _ in events]

        found = [body[0]["id"] if isinstance(body, list) else body["id"] for body in bodies]
        assert found == [f"p-{number}" for number in range(1, 7)]

    run(bank, steps)


def test_a_connection_is_used_for_many_requests(bank):
    async def steps(asks: Asker, spoken: Spoken) -> None:
        for number in range(40):
            raw = request(payment(number) if number % 3 else [payment(number)])
            assert (await spoken.ask(raw))[0] == 200

    run(bank, steps)


def test_who_goes_away_gets_no_answer_and_the_event_is_decided(bank):
    async def steps(asks: Asker, spoken: Spoken) -> None:
        spoken.writer.write(request(PAYMENT))
        spoken.writer.close()
        end_s = time.monotonic() + 120
        while (await asks.ask("GET", "/api/v1/decisions/payment/p-1")).status != 200:
            assert time.monotonic() < end_s

    run(bank, steps)


def test_what_is_turned_away_says_so(bank):
    async def steps(asks: Asker, spoken: Spoken) -> None:
        asks.service.writer.queue.close("it is not taken now")
        found = await spoken.ask(request(PAYMENT))
        assert found[0] == 503
        assert found[1]["retry-after"] == "1"
        assert asks.service.writer.queue.turned_away == 1

    run(bank, steps)


def test_who_waits_for_too_long_is_told_and_the_decision_is_made(bank, monkeypatch):
    monkeypatch.setattr(writer_client, "PATIENCE_S", 0.05)
    commit = Writer.commit

    def slowly(self: Writer, prepared: Any) -> None:
        time.sleep(0.4)  # longer than who asks waits
        commit(self, prepared)

    monkeypatch.setattr(Writer, "commit", slowly)

    async def steps(asks: Asker, spoken: Spoken) -> None:
        status, _, body = await spoken.ask(request(PAYMENT))
        assert status == 503
        assert "send the events again with the same ids" in msgspec.json.decode(body)["detail"]
        await asyncio.sleep(0.6)  # it is committed, or soon
        monkeypatch.setattr(writer_client, "PATIENCE_S", 120.0)
        assert (await spoken.ask(request(PAYMENT)))[0] == 200

    run(bank, steps)


def test_each_request_that_waits_for_too_long_is_told_once(bank, monkeypatch):
    async def steps(asks: Asker, _: Spoken) -> None:
        writer = asks.service.writer
        late(asks, monkeypatch)
        monkeypatch.setattr(writer_client, "PATIENCE_S", 1.0)
        waited: list[tuple[int, bool]] = []
        requests: list[PendingRequest] = []
        all_told = asyncio.Event()

        def told(number: int) -> None:
            passed_s = time.monotonic() - requests[number].arrived_s
            waited.append((number, passed_s >= writer_client.PATIENCE_S))
            if len(waited) == 3:
                all_told.set()

        for number in range(3):
            requests.append(PendingRequest([], None, partial(told, number)))
            writer.put(requests[number], writer.queue)
            await asyncio.sleep(0.02)
        await asyncio.wait_for(all_told.wait(), 120)
        writer._answered(requests)
        await asyncio.sleep(0.1)
        assert waited == [(0, True), (1, True), (2, True)]
        assert writer._timer is None

    run(bank, steps)


def test_a_mistake_of_the_program_is_told_and_leaves_the_others_their_answers(bank, monkeypatch):
    shown = events.shown

    def failing(answer: Any, *more: Any) -> Any:
        if answer.id == "p-1":
            raise RuntimeError("p-1 in words")
        return shown(answer, *more)

    async def steps(asks: Asker, spoken: Spoken) -> None:
        async with connected(asks) as other:
            monkeypatch.setattr(events, "shown", failing)
            await asyncio.gather(spoken.send(request(payment(1))), other.send(request(payment(2))))
            status, _, body = await spoken.answer()
            assert (await other.answer())[0] == 200
        (told,) = asks._application.tell.__self__
        id_ = msgspec.json.decode(body)["instance"].rpartition(":")[2]
        assert status == 500
        assert told.startswith(f"error {id_}: /api/v1/events/{{event}}: RuntimeError at ")
        assert re.search(r"shroff/web/api/events\.py:\d+ _listed > \S+:\d+ failing$", told)
        assert b"in words" not in body + told.encode()  # what failed may hold something of what was sent

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


def test_a_key_that_lost_its_rights_is_refused_on_a_connection_that_it_used_before(bank):
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


def test_a_connection_is_closed_when_it_was_idle_for_long_enough_and_not_before(bank):
    async def steps(asks: Asker, _: Spoken) -> None:
        idle_s = 1.0
        while idle_s >= 1:  # a machine that stood still let it be idle
            async with connected(asks, kept_s=1) as spoken:
                idle_s = await asked_again(spoken)

    async def asked_again(spoken: Spoken) -> float:
        """Use it for longer than that in all; the longest time between two answers."""
        answered = [time.monotonic()]
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            for number in range(4):  # what it is kept for is a time
                assert (await spoken.ask(request(payment(number))))[0] == 200
                answered.append(time.monotonic())
                await asyncio.sleep(0.3)
            assert await asyncio.wait_for(spoken.reader.read(), 120) == b""
        answered += [] if len(answered) == 5 else [time.monotonic()]
        longest_s = max(after - before for before, after in pairwise(answered))
        assert len(answered) == 5 or longest_s >= 1
        return longest_s

    run(bank, steps)


def streams(draw: random.Random, *, is_sound: bool) -> list[bytes]:
    """Requests of one connection, in their order; the last one ends it. If sound, each of them has an answer."""

    def event(**headers: str) -> bytes:
        number = draw.randrange(6)
        return request(msgspec.json.encode(payment(number)).ljust(draw.choice((400, 400, 400, 300))), **headers)

    def chunked() -> bytes:
        head = request(b"", content_length="", transfer_encoding="chunked").partition(b"\r\n\r\n")[0]
        body = msgspec.json.encode(payment(draw.randrange(6)))
        cut = draw.randrange(1, len(body) - 1)
        parts = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:cut], body[cut:]))
        return head + b"\r\n\r\n" + parts + b"0\r\n" + draw.choice((b"", b"authorization: Bearer viewer\r\n")) + b"\r\n"

    kinds: Sequence[Callable[[], bytes]] = (
        event,
        event,
        event,
        event,
        chunked,
        lambda: event(expect="100-continue"),
        lambda: event(key="viewer"),
        lambda: event(x_request_id="one"),
        lambda: request(b"", "/health/live", method="GET", key=""),
        lambda: request(b"", "/health/live", method="HEAD", key=""),
        lambda: request(b"", PATH, method="HEAD"),
        lambda: request([payment(draw.randrange(6))]),
        lambda: padded(draw.randrange(6), amount=draw.choice(("much", "24.90"))),
        lambda: padded(0, raw=draw.choice((b"{", b"{}", b"[]", b" {}", b"{}{}", b'{"payment_id": "\r\n\r\n"}'))),
        lambda: b"\r\n" + event(),
        lambda: event(connection="upgrade", upgrade="h2c"),
    )
    kinds = kinds[:-1] if is_sound else kinds
    sent = [draw.choice(kinds)() for _ in range(draw.randrange(3, 9))]
    ends = (event(connection="close"), event().replace(b"HTTP/1.1", b"HTTP/1.0"), b"POST\r\n\r\n", event()[:60])
    return [*sent, draw.choice(ends[:2] if is_sound else ends)]


async def received(asks: Asker, sent: Sequence[bytes], draw: random.Random | None) -> bytes:
    """What a connection answers to these requests: one after the other, or in random pieces."""
    pieces = list(sent)
    if draw is not None:
        whole = b"".join(sent)
        cuts = sorted(draw.sample(range(1, len(whole)), draw.randrange(1, 12)))
        pieces = [whole[start:end] for start, end in pairwise([0, *cuts, len(whole)])]
    got = bytearray()
    async with connected(asks) as spoken:

        async def read() -> None:
            with suppress(ConnectionError):
                while part := await spoken.reader.read(1 << 16):
                    got.extend(part)

        reading = asyncio.create_task(read())
        with suppress(ConnectionError):
            for number, piece in enumerate(pieces, 1):
                await spoken.send(piece)
                for _ in range(200 if draw is None else 0):
                    if reading.done() or len(re.findall(rb"HTTP/1.1 [2-5]", got)) >= number:
                        break
                    await asyncio.sleep(0.01)
            if draw is None:  # an incomplete request has no answer
                spoken.writer.write_eof()
        await asyncio.wait_for(reading, 60)
    return re.sub(rb"total;dur=[\d.]+|urn:shroff:error:\w+", b"", bytes(got))


def test_bytes_are_answered_alike_however_they_arrive(bank, monkeypatch):
    """A stream of bytes gets one answer: by tasks, or in whole requests with known heads, or in random pieces."""

    async def steps(asks: Asker, spoken: Spoken) -> None:
        application = asks._application
        for number in range(6):
            for size in (300, 400):
                assert (await spoken.ask(request(msgspec.json.encode(payment(number)).ljust(size))))[0] == 200
        heads = dict(application._heads)
        taken = Counter[bool]()
        take = application.take

        def counted(*given: Any) -> bool:
            is_taken = take(*given)
            taken[is_taken] += 1
            return is_taken

        for seed in range(STREAMS):
            draw = random.Random(seed)
            is_sound = seed % 2 == 0
            sent = streams(draw, is_sound=is_sound)
            with monkeypatch.context() as patch:
                patch.setattr(application, "take", lambda *_: False)
                found = await received(asks, sent, None)
            with monkeypatch.context() as patch:
                patch.setattr(application, "take", counted)
                application._heads = dict(heads)
                assert await received(asks, sent, None) == found, seed
                if is_sound:  # else the server answers a mistake before the requests that still wait
                    assert await received(asks, sent, draw) == found, seed
        assert taken[True] > STREAMS
        assert asks.service.work.counts.events.appended == 6

    run(bank, steps)
