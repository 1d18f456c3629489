"""What keys cost that come once and never again: cards that pay once each in 300 days, with windows of up to 30 days.

Measured: memory of the process beyond that before the first payment, of the windows, and of a snapshot,
and processor time of an event, decided as columns in batches of 4,096 and one by one. With `--beside`, another
checkout takes turns with this one, each turn in a process of its own.

    python -m bench.keys [--keys 1000000] [--rounds 3] [--beside CHECKOUT]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from time import process_time

import msgspec
import numpy as np

from bench.machine import spread, tell_result
from shroff.events.event import Event
from shroff.features.frames import Coded, ColumnFrame, Dictionary, Frame
from shroff.features.online.engine import Online
from shroff.language.columns import Column
from shroff.project.definitions import Definitions, computed_of, load_definitions

HERE = Path(__file__).parents[1]
DAY_MS = 86_400_000
DAYS = 300
BATCH = 4_096
SINGLE = 20_000  # events one by one, after the others
WINDOWS = ("1h", "1d", "7d", "30d")
FUNCTIONS = ("count(payment)", "sum(payment.amount)", "max(payment.amount)", "distinct(payment.country)")
FILES = {
    "shroff.yaml": "shroff: 1\nname: keys\nmoney: EUR\nlateness: 1h\n",
    "events.yaml": """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text, country: text, amount: money }
entities:
  card: { payment: card }
""",
    "features.yaml": "card:\n"
    + "".join(
        f"  f{number}: {function} over {window}\n"
        for number, (function, window) in enumerate((each, window) for each in FUNCTIONS for window in WINDOWS)
    ),
}


class Found(msgspec.Struct):
    """What one run took; sizes in bytes, by the tenth of the days."""

    process: list[int]
    windows: list[int]
    snapshot: int
    batch_us: float
    single_us: float


def resident_bytes() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) << 10


def card(number: int) -> str:
    return f"c-{number * 7919 % 10**14:014d}"


def frames(definitions: Definitions, first: int, keys: int) -> dict[str, Frame]:
    """The payments of the cards from `first` on, one of each."""
    numbers = np.arange(first, min(first + BATCH, keys))
    count = len(numbers)
    times = numbers * (DAYS * DAY_MS // keys)
    present = np.ones(count, np.bool_)
    columns: dict[str, Column | Coded] = {
        "card": Coded(np.arange(count), Dictionary([card(number) for number in numbers.tolist()])),
        "country": Coded(numbers % 3, Dictionary(["DE", "FR", "NL"])),
        "amount": Column(numbers % 10_000, present),
        "at": Column(times, present),
    }
    type_ = definitions.events.types["payment"]
    frame = ColumnFrame(type_, columns, times, np.arange(count), definitions.events, definitions.reference)
    return {"payment": frame}


def measured(keys: int) -> Found:
    definitions = load_definitions(FILES).or_raise()
    lateness_ms = definitions.settings.lateness_ms
    online = Online(definitions.events, computed_of(definitions), definitions.reference, lateness_ms)
    batches = range(0, keys, BATCH)
    tenth = max(len(batches) // 10, 1)
    found = Found([], [], 0, 0.0, 0.0)
    before = resident_bytes()
    for number, first in enumerate(batches):
        made = frames(definitions, first, keys)
        began_s = process_time()
        online.take(made, len(made["payment"]))
        found.batch_us += (process_time() - began_s) / keys * 1e6
        if number % tenth == tenth - 1:
            found.process.append(resident_bytes() - before)
            found.windows.append(sum(group.memory_bytes for group in online.groups))
    found.snapshot = sum(len(part) for part in online.state())
    step_ms = DAYS * DAY_MS // keys
    events = [
        Event("payment", f"e{number}", number * step_ms, (f"e{number}", number * step_ms, card(number), "DE", 100))
        for number in range(keys, keys + SINGLE)
    ]
    online.reads("payment")
    online.few(events[:1_000:100])
    began_s = process_time()
    for event in events[1_000:]:
        online.few([event])
    found.single_us = (process_time() - began_s) / (SINGLE - 1_000) * 1e6
    return found


def in_process(checkout: Path, keys: int) -> Found:
    """Measure a checkout by this file, in a new process."""
    paths = os.pathsep.join([str(checkout / "src"), str(HERE)])
    command = [sys.executable, "-m", "bench.keys", "--keys", str(keys), "--measure"]
    ran = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, check=True)
    return msgspec.json.decode(ran.stdout, type=Found)


def row(name: str, runs: list[Found]) -> str:
    def mb(sizes: list[int]) -> str:
        return " ".join(f"{size / 1e6:.0f}" for size in sizes)

    micros = spread([run.batch_us for run in runs], ".2f"), spread([run.single_us for run in runs], ".1f")
    first = runs[0]
    return f"| {name} | {mb(first.process)} | {mb(first.windows)} | {mb([first.snapshot])} | {' | '.join(micros)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(msgspec.json.encode(measured(options.keys)).decode())
        return
    checkouts = {"this": HERE} if options.beside is None else {"before": options.beside, "this": HERE}
    runs: dict[str, list[Found]] = {name: [] for name in checkouts}
    for _ in range(options.rounds):
        for name, checkout in checkouts.items():
            runs[name].append(in_process(checkout, options.keys))
    head = "| checkout | process MB, by the tenth | windows MB | snapshot MB | µs an event in batches | one by one |"
    table = "\n".join([head, "|---|---|---|---|---|---|", *(row(name, of) for name, of in runs.items())])
    title = f"Keys that come once: {options.keys:,} in {DAYS} days, {len(WINDOWS) * len(FUNCTIONS)} features"
    tell_result("keys", title, __doc__, table, keep=options.keys >= 1_000_000)


if __name__ == "__main__":
    main()
