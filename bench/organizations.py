"""Organizations beside each other: what one notices of a heavy load on another, and of its full disk.

One service serves the organizations north and south. Every 50 ms south is sent one payment, while north rests, takes
lists of 500 payments from two senders, or takes single ones from eight. Then the disk of north, a file system of its
own, is filled and freed again. Senders and service share the machine, so latencies include waits for a core.

    python -m bench.organizations [--seconds 20] [--keep]

It mounts a file system in memory for the disk of north, which takes root.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import count, cycle
from pathlib import Path
from threading import Event, Lock, Thread

import httpx2

from bench.machine import describe
from shroff.examples.bank import bank
from tests.support.served import NO_TLS, SHROFF, key_of, started

EVERY_S = 0.05
DISK = "256m"
POST = "/api/v1/events/payment"
LIST = 500
WARM = 20  # posts before anything is counted
BACK_S = 120.0
START_S = 1_767_600_000


class Senders:
    """Sends payments of one organization, and counts the answers by status."""

    def __init__(self, url: str, name: str, folder: Path, seed: int) -> None:
        self.url, self.name, self.key = f"{url}/o/{name}", name, key_of(folder)
        self.events = (payment.event for payment in cycle(list(bank(20_000, seed=seed))))
        self.numbers, self.lock = count(), Lock()

    def client(self) -> httpx2.Client:
        head = {"authorization": f"Bearer {self.key}"}
        return httpx2.Client(base_url=self.url, headers=head, timeout=BACK_S, verify=NO_TLS)

    def post(self, client: httpx2.Client, size: int = 1) -> int:
        """Send one payment, or a list; gives the status."""
        with self.lock:
            part = [(next(self.numbers), next(self.events)) for _ in range(size)]
        at = ((number, datetime.fromtimestamp(START_S + number / 10, UTC).isoformat()) for number, _ in part)
        found = [
            {**event, "payment_id": f"p-{number}", "paid_at": time_}
            for (number, time_), (_, event) in zip(at, part, strict=True)
        ]
        return client.post(POST, json=found if size > 1 else found[0]).status_code

    def paced(self, seconds: float) -> list[float]:
        """Latencies in milliseconds of one payment every 50 ms, each from the moment at which it was due."""
        found = list[float]()
        with self.client() as client:
            begun_s = time.perf_counter()
            for number in range(int(seconds / EVERY_S)):
                due_s = begun_s + number * EVERY_S
                time.sleep(max(0.0, due_s - time.perf_counter()))
                if self.post(client) == 200:
                    found.append(1_000 * (time.perf_counter() - due_s))
        return found

    @contextmanager
    def loaded(self, senders: int, size: int) -> Iterator[Counter[int]]:
        """Send without pause while this is open; gives how many payments were answered by each status so far."""
        ended, answers = Event(), Counter[int]()

        def send() -> None:
            with self.client() as client:
                while not ended.is_set():
                    answers[self.post(client, size)] += size

        threads = [Thread(target=send) for _ in range(senders)]
        for thread in threads:
            thread.start()
        try:
            yield answers
        finally:
            ended.set()
            for thread in threads:
                thread.join()


def quantiles(latencies: Sequence[float]) -> str:
    ordered = sorted(latencies)
    return " | ".join(f"{ordered[int(share * (len(ordered) - 1))]:.0f}" for share in (0.5, 0.95, 0.99, 1))


def loads(north: Senders, south: Senders, seconds: float) -> Iterator[str]:
    """A row for each load on north: how many payments it takes a second, and the latencies of south."""
    south.paced(WARM * EVERY_S)
    yield f"| rests | 0 | {quantiles(south.paced(seconds))} |"
    for says, senders, size in (("two senders of lists of 500", 2, LIST), ("eight senders of single payments", 8, 1)):
        with north.loaded(senders, size) as answers:
            begun, begun_s = answers[200], time.perf_counter()
            latencies = south.paced(seconds)
            rate = (answers[200] - begun) / (time.perf_counter() - begun_s)
        yield f"| {says} | {rate:,.0f} | {quantiles(latencies)} |"


def disk(north: Senders, south: Senders, folder: Path, said: Sequence[str]) -> Iterator[str]:
    """What both answer while the disk of north is full, and how long it takes north to be back once it is not."""
    filler = folder / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                file.write(b"\0" * 65_536)
                file.flush()
        except OSError:
            pass
    before = len(said)
    with north.client() as client:
        answers = Counter(north.post(client, LIST) for _ in range(20))
    latencies = south.paced(10)
    yield f"- Disk full: north answers {dict(answers)} to 20 lists; south decides {len(latencies)} of 200 payments."
    yield f"- South meanwhile, p50, p95, p99, most in ms: {quantiles(latencies).replace(' |', ',')}."
    yield from (f"- Logged: `{line[:200]}`" for line in dict.fromkeys(said[before:]))
    filler.unlink()
    begun_s = time.perf_counter()
    with north.client() as client:
        while north.post(client) != 200 and time.perf_counter() - begun_s < BACK_S:
            time.sleep(0.1)
    yield f"- North decides again {time.perf_counter() - begun_s:.1f} s after the disk has room."


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seconds", type=float, default=20)
    arguments.add_argument("--keep", action="store_true")
    chosen = arguments.parse_args()
    with ExitStack() as held:
        scratch = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="shroff-organizations-")))
        for name, template in (("home", "blank"), ("banks/north", "payments"), ("banks/south", "payments")):
            subprocess.run([SHROFF, "init", str(scratch / name), "--template", template], check=True)
        full = scratch / "banks/north/.shroff"
        full.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(full)], check=True)
        held.callback(subprocess.run, ["umount", "-l", str(full)], check=True)
        service = started(scratch / "home", "--organizations", str(scratch / "banks"))
        held.callback(service.kill)
        logged = service.process.stderr
        assert logged is not None
        Thread(target=lambda: service.said.extend(map(str.rstrip, logged)), daemon=True).start()
        north, south = (
            Senders(service.url, name, scratch / "banks" / name, at) for at, name in enumerate(("north", "south"))
        )
        for senders in (north, south):
            with senders.client() as client:
                while senders.post(client) != 200:
                    time.sleep(0.1)
        rows = list(loads(north, south, chosen.seconds))
        rows_disk = list(disk(north, south, full, service.said))
    print("\n".join([*rows, *rows_disk, describe()]))


if __name__ == "__main__":
    main()
