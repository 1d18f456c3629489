"""Requests and answers: what Starlette reads without a limit has one here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from shroff.errors import StorageError
from shroff.web.http import streaming
from shroff.web.http.messages import COOKIES_MAX, Request, decoded
from shroff.web.http.problems import ProblemError
from shroff.web.http.streaming import Stream, Streams


def request(method: str = "GET", query: bytes = b"", **headers: str) -> Request:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": "/", "query_string": query, "headers": raw}
    return Request(scope, receive_nothing)


async def receive_nothing() -> Any:
    await asyncio.Event().wait()


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"more"
        await asyncio.sleep(0)


async def damaged() -> AsyncIterator[bytes]:
    yield b"one"
    raise StorageError("the log cannot be read")


def streamed(parts: AsyncIterator[bytes], method: str, send: Any) -> int:
    """Send a stream to its end; gives how many are open then."""
    asked, streams = request(method), Streams()
    made: Any = Stream(SimpleNamespace(streams=streams), asked, parts)
    assert streams.count == 1
    made.body = b""  # as the application does for HEAD

    async def whole() -> None:
        async with asyncio.timeout(120):
            await made(asked.scope, asked.receive, send)

    asyncio.run(whole())
    return streams.count


def test_of_cookies_of_one_name_the_first_counts_and_quotes_are_part_of_a_value():
    found = request(cookie='a=1; b="2"; a=3; c; d=e=f').cookies

    assert found == {"a": "1", "b": '"2"', "c": "", "d": "e=f"}


def test_cookies_beyond_the_limit_are_not_looked_at():
    found = request(cookie=";".join(f"c{number}=1" for number in range(10_000))).cookies

    assert len(found) == COOKIES_MAX + 1  # the last one is all that is left


def test_quotes_in_a_cookie_cost_nothing():
    value = '"' + '\\"' * 32_000 + '"'  # Starlette's own reader takes 9 s for it, with Python 3.11.7

    assert request(cookie=f"a={value}").cookies["a"] == value


@pytest.mark.parametrize("query", [b"a=%ff", b"a=\xff", b"&".join([b"a=1"] * 101)])
def test_a_query_that_is_none_is_refused(query):
    with pytest.raises(ProblemError, match="UTF-8"):
        _ = request(query=query).query_params


def test_a_body_that_is_nested_too_deep_is_said_to_be_so():
    with pytest.raises(ProblemError, match="it is nested too deep"):
        decoded(b'{"params": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", dict)


def test_a_stream_to_somebody_who_takes_nothing_ends(monkeypatch):
    monkeypatch.setattr(streaming, "STUCK_S", 0.01)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    assert streamed(endless(), "GET", send) == 0


def test_a_stream_is_complete_where_the_log_cannot_be_read_any_more():
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    assert streamed(damaged(), "GET", send) == 0
    assert [item.get("body") for item in sent] == [None, b"one", b""]
    assert not sent[-1]["more_body"]


def test_the_head_of_a_stream_has_no_parts():
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    assert streamed(endless(), "HEAD", send) == 0
    assert [item.get("body") for item in sent] == [None, b""]
