"""Scale: what the hundred-millionth event costs beside the first one, and how long so long a log takes to verify.

Made-up payments in compressed files of JSON lines go through one `shroff ingest`, with forty features and ten rules.
Meanwhile the process and its log are looked at every second. Then the last decisions are computed again, and a sample
of all by their definition. The table has a row for each tenth; it is printed and written to `bench/results/scale.md`.

    python -m bench.scale [--events 1000000] [--last 100000] [--sample 50] [--kept FOLDER]

A hundred million events take about 12 minutes to make and 35 GB of disk, in FOLDER where the files are found again.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import msgspec

from bench.ingest import FORTY, fresh_project
from bench.machine import describe, write_result
from shroff.adapters.log.sqlite import SqliteLog
from shroff.examples.bank import bank
from shroff.runtime.values import replace

PARTS = 10  # files, and rows of the table


@dataclass(frozen=True, slots=True)
class Sample:
    """The process and its log at one moment."""

    seconds: float
    place: int
    processor_seconds: float
    memory_mb: float
    log_gb: float
    disk_gb: float


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--events", type=int, default=1_000_000)
    arguments.add_argument("--last", type=int, default=100_000, help="decisions that are computed again")
    arguments.add_argument("--sample", type=int, default=50, help="decisions computed by their definition")
    arguments.add_argument("--kept", type=Path, help="a folder with room: 350 bytes an event")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = chosen.kept or Path(scratch)
        files = write_files(folder, chosen.events)
        project = fresh_project(FORTY, folder)
        samples = ingest(project, files)
        verified = [
            verify(project, "online", "--last", str(chosen.last)),
            verify(project, "naive", "--sample", str(chosen.sample)),
        ]
    text = report(chosen.events, samples, verified)
    sys.stdout.write(text)
    write_result("scale", text)
    return 0


def write_files(folder: Path, events: int) -> list[Path]:
    """Compressed files of the bank's payments; those that are there already are used."""
    files = [folder / f"payments-{part:02d}.jsonl.gz" for part in range(PARTS)]
    if not all(path.exists() for path in files):
        payments = bank(events, seed=1)
        for part, path in enumerate(files):
            with gzip.open(path, "wb", compresslevel=1) as file:
                count = events * (part + 1) // PARTS - events * part // PARTS
                file.writelines(msgspec.json.encode(payment.event) + b"\n" for payment in islice(payments, count))
    return files


def ingest(project: Path, files: Sequence[Path]) -> list[Sample]:
    """Run the command, and look at it until it has ended."""
    command = [sys.executable, "-m", "shroff", "-C", str(project), "ingest", *map(str, files), "--as", "payment"]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        samples = [Sample(0, 0, 0, 0, 0, 0)]
        while running.poll() is None:
            time.sleep(min(1, 0.1 * len(samples)))
            samples.append(looked_at(running.pid, project / ".shroff", time.perf_counter() - began, samples[-1]))
    if running.returncode:
        raise SystemExit(f"ingest ended with status {running.returncode}")
    return samples


def looked_at(process: int, store: Path, seconds: float, before: Sample) -> Sample:
    """What is there now; of a process that has ended, what it had before."""
    log = store / "log.db"
    sizes = {path.name: path.stat().st_size / 1e9 for path in list(store.rglob("*")) if path.is_file()}
    place = before.place
    if log.exists():
        with closing(SqliteLog(log, read_only=True)) as reader:
            place = reader.last_seq()
    try:
        numbers = [int(word) for word in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1:22]]
    except OSError:  # it has ended
        return replace(before, seconds=seconds, place=place)
    spent = sum(numbers[10:12]) / os.sysconf("SC_CLK_TCK")
    memory = numbers[20] * os.sysconf("SC_PAGE_SIZE") / 1e6
    return Sample(seconds, place, spent, memory or before.memory_mb, sizes.get("log.db", 0), sum(sizes.values()))


def verify(project: Path, engine: str, *how: str) -> dict[str, Any]:
    """What the command says, and how long it took."""
    command = [sys.executable, "-m", "shroff", "-C", str(project), "verify", "--json", "--engines", engine, *how]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return {"engine": engine, "how": " ".join(how), **json.loads(done.stdout)}


def report(events: int, samples: Sequence[Sample], verified: Sequence[dict[str, Any]]) -> str:
    """The tables that are printed and kept."""
    places = [sample.place for sample in samples]
    rows = []
    ends = [samples[min(bisect_left(places, events * part // PARTS), len(samples) - 1)] for part in range(PARTS + 1)]
    for before, sample in pairwise(ends):
        if (count := sample.place - before.place) == 0:
            continue
        rows.append(
            f"| {sample.place:,} | {count / (sample.seconds - before.seconds):,.0f} | "
            f"{(sample.processor_seconds - before.processor_seconds) / count * 1e6:.1f} | {sample.memory_mb:,.0f} | "
            f"{sample.log_gb * 1e9 / sample.place:,.0f} | {sample.disk_gb:.1f} |"
        )
    again = [
        f"| {row['engine']} {row['how']} | {row['events']:,} | {row['mismatches']} | {row['seconds']:,.0f} |"
        for row in verified
    ]
    return f"""# Scale

{describe()}. {events:,} payments of the made-up bank in {PARTS} compressed files, 40 features, 10 rules, receipts,
durable commits.

| events so far | events/s since the row above | processor µs an event | memory, MB | log, bytes an event | disk, GB |
|---|---|---|---|---|---|
{chr(10).join(rows)}

| `shroff verify` | decisions compared | mismatches | seconds |
|---|---|---|---|
{chr(10).join(again)}

The first row has the start of the process in it. The log has events with decisions, ids, index and flags; the disk
has snapshots, too.
"""


if __name__ == "__main__":
    sys.exit(main())
