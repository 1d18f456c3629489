"""Answers without an end: server-sent events, so many for each session, until who listens goes away."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Final

import msgspec

from shroff.errors import ShroffError
from shroff.web.http.gate import COOKIE
from shroff.web.http.messages import Request, Response, Send
from shroff.web.http.problems import ProblemError

if TYPE_CHECKING:
    from shroff.web.service import Service

EVENTS: Final = b"text/event-stream"
OF_SESSION_MAX: Final = 4  # browsers open six connections to a host at most, and pages need some
OF_ALL_MAX: Final = 500
STILL_HERE_S: Final = 15.0  # a word in between, so that nothing on the way takes the connection for a dead one
LASTS_S: Final = 3_600.0
AGAIN_S: Final = 0.1  # between two looks at a body that nobody asked for
STUCK_S: Final = 30.0  # for which one who listens may take nothing


class Streams:
    """Who listens now, for one event loop."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def take(self, token: str) -> None:
        """One more. Raises: ProblemError with 429 or 503 where there are too many."""
        if self._open[token] >= OF_SESSION_MAX:
            words = f"{OF_SESSION_MAX} pages of this session are open that update by themselves; close one of them"
            raise ProblemError(429, "too-many-streams", "Too many pages update by themselves", words)
        if self._open.total() >= OF_ALL_MAX:
            words = "so many pages update by themselves that this one cannot; it shows what was when it was opened"
            raise ProblemError(503, "too-many-streams", "Too many pages update by themselves", words)
        self._open[token] += 1

    def let_go(self, token: str) -> None:
        """One less."""
        self._open[token] -= 1
        if not self._open[token]:
            del self._open[token]

    @property
    def count(self) -> int:
        """How many there are."""
        return self._open.total()


class Stream(Response):
    """Parts of a text, each sent as it comes; where the log cannot be read it ends, and browsers come again.

    Raises, when it is made: ProblemError where there are too many.
    """

    def __init__(self, service: Service, request: Request, parts: AsyncGenerator[bytes]) -> None:
        super().__init__(b"", 200, EVENTS, ((b"x-accel-buffering", b"no"),))
        self._service, self._token, self._receive = service, request.cookie(COOKIE), request.receive
        self._parts = parts
        service.streams.take(self._token)

    async def send(self, send: Send, *, is_head: bool = False) -> None:
        """Say it until it ends, or until nobody listens any more."""
        try:
            head = [(b"content-type", self.media_type), *self.headers]
            await send({"type": "http.response.start", "status": self.status, "headers": head})
            if not is_head:
                await self._say(send)
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._service.streams.let_go(self._token)

    async def _say(self, send: Send) -> None:
        gone = asyncio.ensure_future(self._gone())
        saying = asyncio.ensure_future(self._all(send))
        try:
            await asyncio.wait({gone, saying}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in (gone, saying):
                one.cancel()
            _, failure = await asyncio.gather(gone, saying, return_exceptions=True)
        if isinstance(failure, Exception) and not isinstance(failure, ShroffError):
            raise failure

    async def _all(self, send: Send) -> None:
        with suppress(TimeoutError):
            async with aclosing(self._parts) as parts:
                async for part in parts:
                    async with asyncio.timeout(STUCK_S):
                        await send({"type": "http.response.body", "body": part, "more_body": True})

    async def _gone(self) -> None:
        while True:
            if (await self._receive())["type"] == "http.disconnect":
                return
            await asyncio.sleep(AGAIN_S)


async def updates(
    service: Service, request: Request, changed: Callable[[], Awaitable[bytes | None]], every_s: float
) -> AsyncGenerator[bytes]:
    """The text of a stream: what `changed` gives, which is asked every so often and gives None where nothing did.

    It ends with the service, with the session, and after an hour; browsers then come again.
    """
    token = request.cookie(COOKIE)
    said_s = looked_s = began_s = time.monotonic()
    yield b"retry: 3000\n\n"
    while not service.is_ending and time.monotonic() - began_s < LASTS_S:
        part, now_s = await changed(), time.monotonic()
        if part is not None:
            said_s = now_s
            yield part
        elif now_s - said_s >= STILL_HERE_S:
            said_s = now_s
            yield b": still here\n\n"
        if now_s - looked_s >= STILL_HERE_S:
            looked_s = now_s
            if await service.known(_is_over, service, token):
                return
        await asyncio.sleep(every_s)


def _is_over(service: Service, token: str) -> bool:
    return service.gate.signed_in(token, is_use=False) is None


def told(name: str, content: object) -> bytes:
    """A part of a stream: an event of this name with JSON."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(content))
