"""`shroff serve` under open-loop load: from the moment at which a request was due to its whole answer.

One event a request, 40 features, 10 rules and a model, durable before it is answered; beside an empty endpoint, the
same server with an application that answers at once. The generator is pinned to one core, the service to the other.
What is counted begins when a request was *due*, so a server that stands still does not look fast; a request that finds
all connections in use waits for one, and that counts. Kernels are on disk before, as in an image. Lists are sent to the
service on one core, and then to one that has both, of which the generator takes some time of one. Scores without
writing are sent as events are; then both by turns, one at a time, for the processor time of each.

    python -m bench.service [--rates 1000,2000] [--seconds 30] [--most] [--lists] [--peers FOLDER] [--scratch FOLDER]
                            [--keep]

FOLDER has an environment with fastapi, uvicorn[standard], redis and scikit-learn; without it that peer is left out. Its
Redis shares the service's core.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median
from typing import cast

import httpx2
import msgspec
import uvloop

from bench.machine import tell_result
from bench.streams_setup import LEARNED_FROM, scored_project
from shroff.cli.demo_kernels import keep_kernels
from shroff.examples.bank import bank
from shroff.people import keys
from shroff.people.access import RIGHTS, Role, Who
from shroff.services import project as app
from tools.servers.databases import Redis

SHROFF = Path(sys.executable).parent / "shroff"
CONNECTIONS = 128
WARM_S = 3.0
LISTS_S_MAX = 5.0  # for which lists are sent at a rate: three million events are all there are
P99_MS_MAX = 20.0
UNANSWERED = 0  # in place of a status
PATIENCE_S = 30.0  # for answers behind the last request
START_S = 180.0  # for a program to be ready
PEER = Path(__file__).parent / "peers" / "fastapi_service.py"
ME = Who("command", "os-bench", "bench", Role.ADMIN, RIGHTS[Role.ADMIN])
TURNS, IN_A_TURN = 6, 200  # of events and scores; the first turn is not counted
_ADDRESS = re.compile(r"at http://127.0.0.1:(\d+)")
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


# ---- the load


@dataclass(slots=True)
class Load:
    """What came of one run: latencies in seconds of what was answered by 200, and how many were answered otherwise."""

    rate: float
    latencies: list[float] = field(default_factory=list)
    others: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0

    def quantile_ms(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return 1_000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")

    @property
    def answered(self) -> float:
        """Requests a second that were answered by 200."""
        return len(self.latencies) / self.seconds


class _Connection(asyncio.Protocol):
    """One connection with one request at a time on its way."""

    def __init__(self, sender: _Sender) -> None:
        self._sender, self._due_s, self._got, self._wanted = sender, 0.0, b"", 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._sender.idle.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._sender.is_over:
            self._sender.lost(self)

    def send(self, due_s: float, request: bytes) -> None:
        assert self.transport is not None
        self._due_s = due_s
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        if not self._wanted:
            end = self._got.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(self._got, 0, end)
            assert length is not None
            self._wanted = end + 4 + int(length[1])
        if len(self._got) < self._wanted:
            return
        status = int(self._got[9:12])
        self._got, self._wanted = self._got[self._wanted :], 0
        self._sender.answered(self, status, self._due_s)


class _Sender:
    """Sends requests when they are due."""

    def __init__(self, requests: Iterator[bytes], rate: float, count: int) -> None:
        self.load = Load(rate)
        self.idle: deque[_Connection] = deque()
        self.is_over = False
        self._requests, self._rate, self._left = requests, rate, count
        self._late: deque[tuple[float, bytes]] = deque()
        self._transports: list[asyncio.Transport] = []
        self._open, self._connected = count, 0
        self._done = asyncio.get_running_loop().create_future()

    async def run(self, port: int, connections: int) -> Load:
        loop = asyncio.get_running_loop()
        self._connected = connections
        for _ in range(connections):
            transport, _ = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", port)
            self._transports.append(transport)
        began_s = time.perf_counter()
        sent = 0
        while self._left:
            now_s = time.perf_counter()
            due = min(self._left, int((now_s - began_s) * self._rate) + 1 - sent)
            for _ in range(due):
                self._send(began_s + sent / self._rate, next(self._requests))
                sent += 1
            self._left -= max(0, due)
            wait_s = began_s + sent / self._rate - time.perf_counter()
            # The system's timers are late by a tenth of a millisecond: the last bit is spent looking at the clock.
            await asyncio.sleep(wait_s - 0.0003 if wait_s > 0.0005 else 0)
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._done), PATIENCE_S)
        if self._open:
            self.load.others[UNANSWERED] = self.load.others.get(UNANSWERED, 0) + self._open
        self.load.seconds = time.perf_counter() - began_s
        self.is_over = True
        for transport in self._transports:  # also of a request without an answer
            transport.abort()
        return self.load

    def _send(self, due_s: float, request: bytes) -> None:
        if self.idle:
            self.idle.popleft().send(due_s, request)
        elif self._connected:
            self._late.append((due_s, request))
        else:
            self._count(UNANSWERED)

    def answered(self, connection: _Connection, status: int, due_s: float) -> None:
        if status == 200:
            self.load.latencies.append(time.perf_counter() - due_s)
        if self._late:
            connection.send(*self._late.popleft())
        else:
            self.idle.append(connection)
        self._count(status)

    def lost(self, connection: _Connection) -> None:
        """The service closed a connection: what was on its way there, and what finds none any more, has no answer."""
        self._connected -= 1
        if connection in self.idle:
            self.idle.remove(connection)
        else:
            self._count(UNANSWERED)
        while self._late and not self._connected:
            self._late.popleft()
            self._count(UNANSWERED)

    def _count(self, status: int) -> None:
        if status != 200:
            self.load.others[status] = self.load.others.get(status, 0) + 1
        self._open -= 1
        if not self._open:
            self._done.set_result(None)


def load(port: int, requests: Iterator[bytes], rate: float, count: int, connections: int = CONNECTIONS) -> Load:
    """Send so many requests, each when it is due. They are made first: making some takes tens of milliseconds."""
    made = list(islice(requests, count))

    async def run() -> Load:
        return await _Sender(iter(made), rate, len(made)).run(port, connections)

    gc.collect()
    gc.disable()
    try:
        return uvloop.run(run())
    finally:
        gc.enable()


# ---- what is served


def request(path: str, body: bytes, key: str) -> bytes:
    """A whole request as it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Port(int):
    """A port with the number of the process that listens at it."""

    pid: int

    def processor_s(self) -> float:
        """Processor time that the process has taken."""
        ticks = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[11:13]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(command: Sequence[str], *cores: int) -> Iterator[Port]:
    """A program on these cores, by the port that it says it listens at."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # as a user's
    process = subprocess.Popen(
        ["taskset", "-c", ",".join(map(str, cores)), *command],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=env,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            found = _ADDRESS.search(line)
            if found:
                port = Port(found[1])
                port.pid = process.pid
                break
        else:
            raise RuntimeError(f"{command} did not start")
        end_s = time.monotonic() + START_S
        while True:
            if process.poll() is not None or time.monotonic() > end_s:
                raise RuntimeError(f"{command} is not ready after {START_S:g} s, or has ended: {process.poll()}")
            try:
                if httpx2.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).status_code == 200:
                    break
            except httpx2.TransportError:
                pass
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.communicate()


async def _empty(scope: dict[str, object], receive: Callable[[], object], send: Callable[[object], object]) -> None:
    message = await receive()  # type: ignore[misc]
    while message.get("more_body"):
        message = await receive()  # type: ignore[misc]
    head = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": head})  # type: ignore[misc]
    await send({"type": "http.response.body", "body": b"{}"})  # type: ignore[misc]


def serve_empty() -> None:
    """An application that answers at once, on the server that shroff uses."""
    import socket

    import uvicorn

    listening = socket.create_server(("127.0.0.1", 0))
    print(f"empty at http://127.0.0.1:{listening.getsockname()[1]}", file=sys.stderr, flush=True)
    config = uvicorn.Config(_empty, http="httptools", loop="uvloop", log_config=None, access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[listening])


def most(port: int, posts: Iterator[bytes], rates: Iterable[int], seconds: float) -> Iterator[Load]:
    """Runs at rising rates, up to the first with a p99 above 20 ms or an answer that is none."""
    for rate in rates:
        found = load(port, posts, rate, int(rate * seconds))
        yield found
        if found.quantile_ms(0.99) > P99_MS_MAX or found.others:
            return


def lists(events: Iterator[bytes], path: str, key: str) -> Iterator[bytes]:
    """Requests with 500 events each, as long as there are some."""
    while of_one := list(islice(events, 500)):
        yield request(path, b"[" + b",".join(of_one) + b"]", key)


def by_lists(port: int, requests: Iterator[bytes], seconds: float) -> Iterator[Load]:
    """Runs of lists at rising rates, up to the first that waits for a second or is answered otherwise."""
    load(port, requests, 20, int(20 * WARM_S), connections=8)
    for rate in (40.0, 60.0, 80.0, 100.0, 120.0, 160.0):
        found = load(port, requests, rate, int(rate * min(seconds, LISTS_S_MAX)), connections=8)
        yield found
        if found.quantile_ms(0.5) > 1_000 or found.others:
            return


def processor_ms(port: Port, kinds: Sequence[Iterator[bytes]]) -> list[float]:
    """Processor time of the service for a request of each kind: the median of turns, one request at a time."""
    found: list[list[float]] = [[] for _ in kinds]
    for _ in range(TURNS + 1):
        for times, requests in zip(found, kinds, strict=True):
            began_s = port.processor_s()
            load(port, requests, 1_000_000, IN_A_TURN, connections=1)
            times.append(1_000 * (port.processor_s() - began_s) / IN_A_TURN)
    return [median(times[1:]) for times in found]


def row(name: str, found: Load) -> str:
    """A line of the table."""
    quantiles = " | ".join(f"{found.quantile_ms(share):.2f}" for share in (0.5, 0.9, 0.99, 0.999, 1.0))
    others = ", ".join(f"{count} by {status}" for status, count in sorted(found.others.items())) or "none"
    return f"| {name} | {found.rate:,.0f} | {found.answered:,.0f} | {quantiles} | {others} |"


def run(options: argparse.Namespace, scratch: Path) -> None:
    """Measure, print, and write the table."""
    generator, core = 1, 0
    keep_kernels()
    os.sched_setaffinity(0, {generator})
    folder = shutil.copytree(options.project, scratch / "bank") if options.project else scored_project(scratch / "bank")
    with app.open_exactly(folder).people.open() as desk:
        key = keys.create(desk, ME, "bench", Role.SERVICE)[1]
    encode = msgspec.json.Encoder().encode
    events = (encode(item.event) for item in islice(bank(3_000_000, seed=1), LEARNED_FROM, None))
    path = "/api/v1/events/payment"
    posts = (request(path, body, key) for body in events)
    scores = (request("/api/v1/score/payment", body, key) for body in events)
    rows = []

    def told(name: str, found: Load) -> None:
        rows.append(row(name, found))
        print(rows[-1], flush=True)

    served = [str(SHROFF), "-C", str(folder), "serve", "--port", "0", "--rate", "1000000"]
    empty_one = [sys.executable, "-m", "bench.service", "--serve-empty"]
    with running(empty_one, core) as empty, running(served, core) as port:
        load(port, posts, 500, int(500 * WARM_S))
        load(empty, iter([request(path, b"{}", key)] * 2_000), 500, 1_000)
        for rate in options.rates:
            count = int(rate * options.seconds)
            told("one event a request", load(port, posts, rate, count))
            told("one score a request", load(port, scores, rate, count))
            body = request(path, encode(next(bank(1, seed=1)).event), key)
            told("an empty endpoint", load(empty, iter([body] * count), rate, count))
        if options.most:
            steps = range(3_000, 20_001, 1_000)
            for found in most(port, posts, steps, options.seconds):
                told("one event a request", found)
            for found in most(port, scores, steps, options.seconds):
                told("one score a request", found)
        event_ms, score_ms = processor_ms(port, (posts, scores))
        print(f"processor time: {event_ms:.2f} ms an event, {score_ms:.2f} ms a score", flush=True)
        if options.lists:  # last: what they leave to be gathered into cases takes a while
            for found in by_lists(port, lists(events, path, key), options.seconds):
                told("lists of 500 events", found)
    if options.lists:
        with running(served, core, generator) as port:
            for found in by_lists(port, lists(events, path, key), options.seconds):
                told("lists of 500 events, the service on both cores", found)
    if options.peers:
        with (
            Redis() as server,
            running([str(options.peers / "bin" / "python"), str(PEER), server.address], core) as port,
        ):
            os.sched_setaffinity(server.children()[0].pid, {core})
            load(port, posts, 50, int(50 * WARM_S))
            for found in most(port, posts, (100, 200, 300, 400, 600, 800, 1_000, 1_500, 2_000), options.seconds):
                told("FastAPI, scikit-learn, Redis", found)
    heads = "| work | due/s | answered/s | p50 ms | p90 | p99 | p99.9 | most | answered otherwise |"
    table = "\n".join([heads, "| --- " * 9 + "|", *rows])
    table += f"\n\nProcessor time by turns, one at a time: {event_ms:.2f} ms an event, {score_ms:.2f} ms a score."
    tell_result("service", "The service under load", __doc__, table, keep=options.keep)


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rates", type=lambda text: [float(part) for part in text.split(",")], default=[1_000.0, 2_000.0]
    )
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--most", action="store_true", help="also the most requests a second with p99 below 20 ms")
    parser.add_argument("--lists", action="store_true", help="also lists of 500 events")
    parser.add_argument("--peers", type=Path, default=None)
    parser.add_argument("--scratch", type=Path, default=None)
    parser.add_argument("--project", type=Path, default=None, help="a project with a model; by default one is trained")
    parser.add_argument("--keep", action="store_true", help="write bench/results/service.md")
    parser.add_argument("--serve-empty", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_empty:
        serve_empty()
        return
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        run(options, Path(folder))


if __name__ == "__main__":
    main()
