"""An Amplitude day: events a second from the API to the log. Aim: a million events at 15,000/s within 1 GiB.

`shroff sources sync` in a process of its own, with the project of `bench/projects/amplitude`: the zip is stored, each
event is checked, known by two ids and committed. The stand-in for the API sends one day of 24 files.

    python -m bench.amplitude [--events 1000000]
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import shroff
from bench.machine import describe, write_result
from tools.amplitude import API_KEY, SECRET_KEY, amplitude, packed

PROJECT = Path(__file__).resolve().parent / "projects/amplitude"
USERS = 200
NAMES = ("App Opened", "Screen Viewed", "Link Shared", "Purchased")


def hours(day: datetime, events: int) -> dict[str, bytes]:
    """The files of a day, by hour."""
    chance, found = Random(7), {}
    for hour in range(24):
        numbers = range(events * hour // 24, events * (hour + 1) // 24)
        at = [day + timedelta(seconds=number * 86_399 // events) for number in numbers]
        some = [event(chance, number, uploaded) for number, uploaded in zip(numbers, at, strict=True)]
        found[f"{day:%Y%m%d}T{hour:02}"] = packed(some)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    asked = parser.parse_args()
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=2)  # it is settled
    with tempfile.TemporaryDirectory() as named, amplitude() as server:
        folder = Path(named) / "app"
        shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        server.events |= hours(day, asked.events)
        told = {"AMPLITUDE_API_KEY": API_KEY, "AMPLITUDE_SECRET_KEY": SECRET_KEY, "AMPLITUDE_URL": server.url}
        environment = {**os.environ, **told, "AMPLITUDE_FROM": f"{day:%Y-%m-%d}"}
        command = [sys.executable, "-m", "shroff", "-C", str(folder), "sources", "sync", "app"]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        said = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout
        seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        os.environ.update(environment)
        context = shroff.open(folder).context
        if not context.log.exists():
            raise SystemExit(f"nothing was taken; it says: {said}; asked: {server.asked}; from {day:%Y-%m-%d}")
        with context.log.reading() as log:
            taken = sum(item.kind == "event" for some in log.read() for item in some)
    if taken != asked.events:
        raise SystemExit(f"{taken:,} of {asked.events:,} events are in the log")
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    words = f"{describe()}. {asked.events:,} events of one day. Load average at the end: {os.getloadavg()[0]:.1f}."
    figures = (seconds, processor, taken / seconds, taken / processor, after.ru_maxrss / 2**20)
    row = "| {:.1f} | {:.1f} | {:,.0f} | {:,.0f} | {:.2f} GiB |".format(*figures)
    heads = ("seconds", "processor seconds", "events/s", "events a processor second", "peak memory")
    table = f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}\n{row}"
    text = f"# An Amplitude day\n\n{words} Aim: 15,000/s within 1 GiB.\n\n{table}\n"
    sys.stdout.write(text)
    write_result("amplitude", text)
    return 0


def event(chance: Random, number: int, uploaded: datetime) -> dict[str, Any]:
    """An event, in the form of an export; it happened up to two hours before its upload."""
    (name,) = chance.choices(NAMES, (4, 8, 1, 2))
    user = chance.randrange(USERS)
    found = {
        "app": 1,
        "amplitude_id": 5_000_000 + user,
        "device_id": f"d-{user}",
        "user_id": f"u-{user}" if user % 4 else None,
        "$insert_id": f"i-{number}",
        "uuid": f"uuid-{number}",
        "event_type": name,
        "event_time": f"{uploaded - timedelta(seconds=chance.randrange(7_200)):%Y-%m-%d %H:%M:%S}.000000",
        "event_properties": {},
    }
    if name == "Purchased":
        found["event_properties"] = {"Total Price": round(chance.lognormvariate(4, 0.7), 2)}
    return found


if __name__ == "__main__":
    sys.exit(main())
