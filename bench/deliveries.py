"""Mails, calls of notices and calls of a sink, one for each decision, to servers of this machine.

The template `payments` with a notice for all outcomes; payments are posted as fast as the service takes them, or at a
rate. What arrives is counted where it arrives: how many a second, how many twice, and whether what belongs to one
recipient, or to one address that is called, came in the order of the log. The servers share the machine's cores.

    python -m bench.deliveries [--events 5000] [--kinds mail,webhook,sink] [--scratch FOLDER] [--keep]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from shutil import copytree

import httpx2

from bench.machine import tell_result
from bench.service import ME, SHROFF, running
from shroff.config import TEMPLATE_FOLDER
from shroff.people import keys
from shroff.people.access import Role
from shroff.services import project as app

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
RECIPIENTS = 500
_NUMBER = re.compile(rb"p-n(\d{7})")
PATIENCE_S = 900.0
_ANSWERS = {b"EHLO": b"250-here\r\n250 8BITMIME\r\n", b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}


class Arrived:
    """What arrived, in order: the moment, the recipient, and the number of the payment in it."""

    def __init__(self) -> None:
        self.all: list[tuple[float, str, int]] = []

    def add(self, recipient: str, body: bytes) -> None:
        found = _NUMBER.search(body.replace(b"=\r\n", b""))  # as quoted-printable breaks lines
        self.all.append((time.monotonic(), recipient, int(found[1]) if found else -1))


async def _mails(arrived: Arrived, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 here\r\n")
    recipient = ""
    while line := await reader.readline():
        verb = line[:4].upper()
        if verb == b"RCPT":
            recipient = line.decode().partition("<")[2].partition(">")[0]
        writer.write(_ANSWERS.get(verb, b"250 ok\r\n"))
        if verb == b"DATA":
            arrived.add(recipient, await reader.readuntil(b"\r\n.\r\n"))
            writer.write(b"250 ok\r\n")
        if verb == b"QUIT":
            break
    writer.close()


async def _calls(arrived: Arrived, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while head := await reader.readuntil(b"\r\n\r\n"):
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        arrived.add("", await reader.readexactly(length))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")


@contextmanager
def receiving(
    of: Callable[[Arrived, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> Iterator[tuple[int, Arrived]]:
    """A server on a thread; gives its port and what arrives."""
    arrived, loop, stop, ports, is_up = (
        Arrived(),
        asyncio.new_event_loop(),
        asyncio.Event(),
        list[int](),
        threading.Event(),
    )

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await of(arrived, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        is_up.set()
        await stop.wait()
        server.close()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    is_up.wait()
    try:
        yield ports[0], arrived
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def project(folder: Path, kind: str, port: int) -> Path:
    """The template with what leaves."""
    copytree(TEMPLATE_FOLDER / "payments", folder)
    events, settings = folder / "events.yaml", folder / "shroff.yaml"
    text = events.read_text().replace("    device: text?", "    email: text? personal\n    device: text?", 1)
    events.write_text(text)
    (folder / "notices" / "report.yaml").unlink()
    every = "on: decision\nevent: payment\noutcomes: [approve, challenge, review, decline]\n"
    hook = f"url: http://127.0.0.1:{port}/hook, secret: {SECRET}"
    more = ""
    if kind == "mail":
        more = "to: { field: email }\nshow: { number: this.payment_id }\n"
        (folder / "notices" / "each.yaml").write_text(f"{every}{more}")
        more = f"mail: {{ smtp: 'smtp://127.0.0.1:{port}', security: plain, from: b@bank.example }}\n"
    elif kind == "webhook":
        text = f"{every}channel: webhook\nurl: http://127.0.0.1:{port}/hook\nsecret: {SECRET}\n"
        (folder / "notices" / "each.yaml").write_text(text)
    else:
        more = f"sinks:\n  each: {{ webhook: {{ {hook} }} }}\n"
    settings.write_text(settings.read_text() + more)
    return folder


def payments(count: int) -> Iterator[str]:
    """Payments of now, as lines."""
    at = datetime.now(UTC)
    for number in range(count):
        yield json.dumps(
            {
                "payment_id": f"p-n{number:07}",
                "paid_at": at.isoformat(),
                "card": f"c-{number % RECIPIENTS}",
                "merchant": f"m-{number % 50}",
                "amount": "12.00",
                "country": "DE",
                "channel": "pos",
                "email": f"k{number % RECIPIENTS}@customers.example",
            }
        )


def measured(scratch: Path, kind: str, events: int) -> str:
    """A row of the table."""
    with receiving(_mails if kind == "mail" else _calls) as (port, arrived):
        folder = project(scratch / kind, kind, port)
        with app.open_exactly(folder).people.open() as desk:
            key = keys.create(desk, ME, "bench", Role.SERVICE)[1]
        cores = sorted(os.sched_getaffinity(0))
        with running([str(SHROFF), "-C", str(folder), "serve", "--port", "0", "--rate", "1000000"], *cores) as at:
            url, lines = f"http://127.0.0.1:{at}/api/v1/events/payment", list(payments(events))
            for start in range(0, events, 500):
                body = "\n".join(lines[start : start + 500])
                headers = {"authorization": f"Bearer {key}", "content-type": "application/x-ndjson"}
                httpx2.post(url, content=body, headers=headers, timeout=60).raise_for_status()
            posted_s, wal, most = time.monotonic(), folder / ".shroff/log.db-wal", 0
            end_s = posted_s + PATIENCE_S
            while len({number for _, _, number in arrived.all}) < events and time.monotonic() < end_s:
                time.sleep(0.2)
                most = max(most, wal.stat().st_size)
        found = arrived.all
        seconds = found[-1][0] - found[0][0]
        by_recipient: dict[str, list[int]] = {}
        for _, recipient, number in found:
            by_recipient.setdefault(recipient, []).append(number)
        swaps = sum(after < before for numbers in by_recipient.values() for before, after in pairwise(numbers))
        twice = len(found) - len({number for _, _, number in found})
        cells = (kind, f"{len(found):,}", f"{len(found) / seconds:,.0f}", f"{found[-1][0] - posted_s:,.1f}")
        more = (f"{twice:,}", f"{swaps:,}", f"{most / 2**20:,.0f}")
        return f"| {' | '.join([*cells, *more])} |"


def main() -> None:
    """Read the options, measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=5_000)
    parser.add_argument("--kinds", default="mail,webhook,sink")
    parser.add_argument("--scratch", type=Path, default=None)
    parser.add_argument("--keep", action="store_true", help="keep the table")
    options = parser.parse_args()
    heads = "| what leaves | arrived | a second | last one after s | twice | out of order | WAL at most, MiB |"
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        rows = []
        for kind in options.kinds.split(","):
            rows.append(measured(Path(scratch), kind, options.events))
            print(rows[-1], flush=True)
    table = "\n".join([heads, "| --- " * 7 + "|", *rows])
    tell_result("deliveries", "Deliveries", __doc__, table, keep=options.keep)


if __name__ == "__main__":
    main()
