"""The short way of `POST /api/v1/events/{event}` against the long way, and against the same handler on Starlette.

One process serves three ports by one event loop, one service and one log: `short` is `shroff serve` as it is; `long` is
the same protocol with the short way shut; `starlette` is a prototype of the handler, with key, right, metrics and
standing headers, on Starlette under uvicorn's own httptools protocol, without our limits. One event a request, 40
features and rules without a model, durable before it is answered. The three are asked in turn, in another order each
round: first at a steady rate (p50, p99, from when a request was due), then all at once over 32 connections (answered a
second). Processor time is of the service's event loop alone, and of its whole process, per request: it counts where
other programs share the machine.

    python -m bench.short_way [--rate 200] [--seconds 4] [--rush 1000] [--rounds 5] [--keep]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import msgspec
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.machine import describe, spread, write_result
from bench.service import ME, load, request
from shroff.app import project as app
from shroff.examples.bank import bank
from shroff.people import keys
from shroff.people.access import Right, Role
from shroff.web.api.events import shown
from shroff.web.http.asgi import STANDING, Application
from shroff.web.http.gate import gate_of
from shroff.web.http.protocol import Patient
from shroff.web.service import Limits, Service, ServiceOptions
from shroff.web.table import table

WAYS = ("short", "long", "starlette")
PROJECT = Path(__file__).parent / "projects" / "forty_features"
EVENTS = "/api/v1/events/payment"
CONNECTIONS = 32
WARM = 200
LIMITS = Limits(rate=1e6, age_s_max=60.0)
_PORTS = re.compile(r"at ports (\d+) (\d+) (\d+)")


# ---- what is asked


class Long(Patient):
    """The protocol without its short way."""

    def _may_be_short(self) -> bool:
        return False


def starlette(service: Service) -> Starlette:
    """What the handler of events would be on Starlette, for one event that has no mistake."""
    standing = {name.decode(): value.decode() for name, value in STANDING}

    async def post(asked: Request) -> Response:
        began_s, reader = time.perf_counter(), service.reader
        scheme, _, key = asked.headers.get("authorization", "").partition(" ")
        assert scheme == "Bearer"
        assert reader is not None
        who = service.gate.at_hand(key)
        if who is None:
            who = await service.known(service.gate.who, key)
        who.require(Right.SUBMIT_EVENTS)
        body, name = await asked.body(), asked.path_params["event"]
        assert service.pace.wait_s(who, 1) == 0
        (answer,) = await service.decided([reader.one(name, body, who.id)], reader)
        status, found = shown(answer)
        seconds = time.perf_counter() - began_s
        service.requests.add("POST", "/api/v1/events/{event}", status, seconds)
        headers = {**standing, "server-timing": f"total;dur={1_000 * seconds:.3f}"}
        return Response(found, status, headers, "application/json")

    return Starlette(routes=[Route("/api/v1/events/{event}", post, methods=["POST"])])


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(folder: Path) -> None:
    """Serve the three ways until the process is ended."""
    project, routes = app.open_exactly(folder), table()
    with ThreadPoolExecutor(4) as threads, project.people.open() as desk, gate_of(desk) as gate:
        service = Service(project, gate, desk, threads, ServiceOptions(LIMITS), routes=routes.routes)
        service.begin(lambda: None)
        for _ in range(2_400):
            if service.is_ready:
                break
            await asyncio.sleep(0.05)
        ours = Application(service, routes, print)
        applications = ((ours, Patient), (ours, Long), (starlette(service), "httptools"))
        servers, sockets = [], []
        for application, protocol in applications:
            config = uvicorn.Config(
                application,
                http=protocol,
                loop="none",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                port=0,
            )
            servers.append(_Server(config))
            sockets.append(config.bind_socket())
        print("at ports", *(one.getsockname()[1] for one in sockets), file=sys.stderr, flush=True)
        await asyncio.gather(*(one.serve([at]) for one, at in zip(servers, sockets, strict=True)))


@contextmanager
def served(folder: Path) -> Iterator[tuple[int, dict[str, int]]]:
    """The process and the port of each way."""
    command = [sys.executable, "-m", "bench.short_way", "--serve", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if found := _PORTS.search(line):
                break
        else:
            raise RuntimeError("".join(said))
        yield process.pid, dict(zip(WAYS, map(int, found.groups()), strict=True))
    finally:
        process.kill()
        process.communicate()


# ---- measuring


def used_s(process: int) -> tuple[float, float]:
    """Processor time of the thread of the event loop, and of the process."""
    loop = int(Path(f"/proc/{process}/task/{process}/schedstat").read_text().split()[0]) / 1e9
    ticks = sum(map(int, Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return loop, ticks / os.sysconf("SC_CLK_TCK")


def measured(
    process: int, port: int, posts: Iterator[bytes], options: argparse.Namespace, count: int
) -> dict[str, float]:
    """One way in one round."""
    loop_s, whole_s = used_s(process)
    calm = load(port, posts, options.rate, count, connections=CONNECTIONS)
    rush = load(port, posts, 1e9, options.rush, connections=CONNECTIONS)
    now = used_s(process)
    assert not calm.others, calm.others
    assert not rush.others, rush.others
    requests = count + options.rush
    return {
        "p50 ms": calm.quantile_ms(0.5),
        "p99 ms": calm.quantile_ms(0.99),
        "answered/s in the rush": rush.answered,
        "µs of the loop": 1e6 * (now[0] - loop_s) / requests,
        "µs of the process": 1e6 * (now[1] - whole_s) / requests,
    }


def run(options: argparse.Namespace, scratch: Path) -> None:
    """Measure, print, and write the table."""
    folder = shutil.copytree(PROJECT, scratch / "bank")
    with app.open_exactly(folder).people.open() as desk:
        key = keys.create(desk, ME, "bench", Role.SERVICE)[1]
    encode = msgspec.json.Encoder().encode
    count = max(1, int(options.rate * options.seconds))
    needed = len(WAYS) * (WARM + options.rounds * (count + options.rush))
    posts = iter([request(EVENTS, encode(one.event), key) for one in islice(bank(3_000_000, seed=1), needed)])
    found: dict[str, dict[str, list[float]]] = {way: defaultdict(list) for way in WAYS}
    with served(folder) as (process, ports):
        for way in ("long", "short", "starlette"):  # the long way looks the key up
            load(ports[way], posts, 100, WARM, connections=1)
        for number in range(options.rounds):
            for at in range(len(WAYS)):
                way = WAYS[(at + number) % len(WAYS)]
                for what, value in measured(process, ports[way], posts, options, count).items():
                    found[way][what].append(value)
    whats = list(found["short"])
    rows = [f"| {way} | " + " | ".join(spread(found[way][what], ".3g") for what in whats) + " |" for way in WAYS]
    for way in WAYS[1:]:  # of each round by itself: what else the machine does is in both
        shares = [
            statistics.median(there / here for here, there in zip(found["short"][what], found[way][what], strict=True))
            for what in whats
        ]
        rows.append(f"| {way} / short | " + " | ".join(f"{share:.2f}" for share in shares) + " |")
    table_ = "\n".join(["| way | " + " | ".join(whats) + " |", "| --- " * (len(whats) + 1) + "|", *rows])
    paragraph = (__doc__ or "").split("\n\n")[1]
    sizes = f"{options.rounds} rounds of {count} requests at {options.rate:g}/s, then {options.rush} at once"
    text = (
        f"# The short way of an event\n\n{paragraph}\n\n{sizes}; median (least to most).\n\n{table_}\n\n{describe()}\n"
    )
    if options.keep:
        write_result("short_way", text)
    print(text)


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rush", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="write bench/results/short_way.md")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(options.serve))
        return
    with tempfile.TemporaryDirectory() as folder:
        run(options, Path(folder))


if __name__ == "__main__":
    main()
