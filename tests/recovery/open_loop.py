"""Events posted when they are due, whatever becomes of the services: an open loop behind something like a balancer.

One event a request. What is late counts from when it was *due*. Of two services the one is used that says it is ready;
a request that gets no answer, or 503, goes out again by the same id until it is answered. Connections to the other one
are cut then.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from threading import Thread
from typing import Final, Self
from urllib.parse import urlsplit

import uvloop

CONNECTIONS: Final = 64
TICK_S: Final = 0.001
LOOK_S: Final = 0.05  # between two questions who is ready
READY_WITHIN_S: Final = 0.5  # one look of many
GIVEN_UP_S: Final = 15.0  # a request without an answer is sent again
PAUSE_S: Final = 0.02  # before the same goes out again
_LENGTH: Final = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_FAILED: Final = (OSError, EOFError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Moment:
    """A service answered its first request by 200 after another one had."""

    port: int
    at_s: float


@dataclass(slots=True)
class RouteDoc:
    """What came of it. Events have the numbers in which they were due."""

    events: list[bytes] = field(default_factory=list)
    answers: dict[int, bytes] = field(default_factory=dict)
    latencies_s: list[float] = field(default_factory=list)
    turned_away: int = 0
    lost_requests: int = 0
    wrong: list[bytes] = field(default_factory=list)  # answers that are neither a decision nor "not now"
    changes: list[Moment] = field(default_factory=list)

    def took_s(self, since_s: float, port: int) -> float:
        """From a moment to the first answer of another service; 0 where that one has answered already."""
        if [change.port for change in self.changes if change.at_s < since_s][-1:] == [port]:
            return 0.0
        return next(change.at_s for change in self.changes if change.port == port and change.at_s >= since_s) - since_s

    def quantile_s(self, share: float) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class OpenLoop:
    """Sends on a thread of its own, from `with` to its end; there it waits until everything is answered."""

    def __init__(self, urls: Sequence[str], key: str, events: Iterator[bytes], rate: float) -> None:
        self.told = RouteDoc()
        self._ports = [urlsplit(url).port or 0 for url in urls]
        self._port = self._ports[0]
        self._key, self._events, self._rate = key, events, rate
        self._is_over = False
        self._wires: set[_Wire] = set()
        self._waiting: asyncio.Queue[tuple[int, float]] = asyncio.Queue()
        self._thread = Thread(target=lambda: uvloop.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._is_over = True
        if kind is None:
            self._thread.join(600)
            assert not self._thread.is_alive(), "some events were never answered"

    async def _run(self) -> None:
        tasks = [asyncio.create_task(self._send()) for _ in range(CONNECTIONS)]
        tasks.append(asyncio.create_task(self._look()))
        began_s, events = time.monotonic(), self.told.events
        while not self._is_over:
            for number in range(len(events), int((time.monotonic() - began_s) * self._rate) + 1):
                events.append(next(self._events))
                self._waiting.put_nowait((number, began_s + number / self._rate))
            await asyncio.sleep(TICK_S)
        await self._waiting.join()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self) -> None:
        """Keep to the one that is ready; where that one is not, ask the others."""
        while True:
            for port in sorted(self._ports, key=lambda port: port != self._port):
                if await _Wire(port).is_ready():
                    self._port = port
                    for wire in self._wires:
                        wire.leave(port)
                    break
            await asyncio.sleep(LOOK_S)

    async def _send(self) -> None:
        """One event after the other over one connection."""
        wire = _Wire(self._port)
        self._wires.add(wire)
        try:
            while True:
                number, due_s = await self._waiting.get()
                request = _request("POST", "/api/v1/events/payment", self._key, self.told.events[number])
                while True:
                    by = wire.port
                    status, body = await wire.ask(request, GIVEN_UP_S)
                    if status not in {0, 503}:
                        break
                    self.told.lost_requests += status == 0
                    self.told.turned_away += status == 503
                    await asyncio.sleep(PAUSE_S)
                self._answered(number, due_s, by, status, body)
                self._waiting.task_done()
        finally:
            wire.close()

    def _answered(self, number: int, due_s: float, port: int, status: int, body: bytes) -> None:
        told, now_s = self.told, time.monotonic()
        if status != 200:
            told.wrong.append(body)
            return
        told.answers[number] = body
        told.latencies_s.append(now_s - due_s)
        if not told.changes or told.changes[-1].port != port:
            told.changes.append(Moment(port, now_s))


class _Wire:
    """A connection to one port, made anew where it broke."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes, within_s: float) -> tuple[int, bytes]:
        """The status and the body of the answer; status 0 where there is none."""
        try:
            async with asyncio.timeout(within_s):
                if self._open is None:
                    self._open = await asyncio.open_connection("127.0.0.1", self.port)
                reader, writer = self._open
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                return int(head[9:12]), await reader.readexactly(int(length[1])) if length else b""
        except _FAILED:
            self.close()
            return 0, b""

    def leave(self, port: int) -> None:
        """Use another port from now on; whoever waits for an answer gets none."""
        if port != self.port:
            self.port = port
            self.close()

    async def is_ready(self) -> bool:
        try:
            return (await self.ask(_request("GET", "/health/ready", "", b""), READY_WITHIN_S))[0] == 200
        finally:
            self.close()

    def close(self) -> None:
        if self._open is not None:
            self._open[1].transport.abort()
            self._open = None


def _request(method: str, path: str, key: str, body: bytes) -> bytes:
    """A whole request as it goes over the wire."""
    who = f"authorization: Bearer {key}\r\n" if key else ""
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{who}content-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
