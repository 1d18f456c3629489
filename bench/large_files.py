"""Large files: peak memory and lines a second, by the number of lines, to see that memory does not follow it.

Three kinds of work, each in a process of its own over a file made for it: *read* takes the
lines through validation; *sort* does the same and brings them into the order of their
times (`--order time`), which the file does not have at all; *ingest* is the command
`shroff ingest --no-decide` over a file in order, into windows of an hour, with durable
commits. Prints a table and writes it to `bench/results/large_files.md`.

    python -m bench.large_files [--most MILLIONS]
"""

from __future__ import annotations

import argparse
import gzip
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import msgspec

from bench.machine import describe, write_result
from shroff.events.event import time_text
from shroff.events.formats.encodings import read_lines
from shroff.events.formats.sorting import in_order_of_time
from shroff.services import project as app

CASES = (
    ("read", "csv", (1, 5)),
    ("sort", "csv", (1, 5)),
    ("ingest", "csv", (1, 5)),
    ("read", "jsonl", (1, 5)),
    ("read", "csv.gz", (1, 5)),
    ("read", "jsonl.gz", (1, 5)),
    ("read", "csv", (20,)),
    ("sort", "csv", (20,)),
    ("ingest", "csv", (20,)),
)
"""What is done, with which file, of how many million lines."""
START_MS = 1_767_571_200_000
BETWEEN_MS = 250
CARDS = 200_000
SCATTER = 7_368_787  # a prime, so that no two lines fall upon one place
COLUMNS = ("payment_id", "paid_at", "card", "merchant", "amount", "country", "channel")
CHUNK_LINES = 50_000
FEATURES = """
card:
  payments_1h: count(payment) over 1h
  spent_1h: sum(payment.amount) over 1h
merchant:
  payments_1h: count(payment) over 1h
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one process took."""

    lines: int
    seconds: float
    peak_mib: float


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--most", type=float, default=20, help="million lines; below one only so many, of each kind")
    arguments.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.child is not None:
        print(msgspec.json.encode(measure(chosen.child[0], Path(chosen.child[1]))).decode())
        return 0
    rows = []
    for work, kind, sizes in CASES:
        for millions in sizes:
            if millions <= max(chosen.most, 1):
                rows.append(row(work, kind, min(millions, chosen.most)))
                print(rows[-1], flush=True)
                write_result("large_files", report(rows))  # each time: a run that is stopped leaves what it has
    return 0


def row(work: str, kind: str, millions: float) -> str:
    """One line of the table: a file is made, measured and removed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"payments.{kind}"
        write_file(path, int(millions * 1_000_000), is_scattered=work == "sort")
        child = [sys.executable, "-m", "bench.large_files", "--child", work, str(path)]
        found = msgspec.json.decode(
            subprocess.run(child, check=True, capture_output=True, text=True).stdout, type=Measured
        )
        assert found.lines == int(millions * 1_000_000)
        size_mib = path.stat().st_size / 2**20
    return (
        f"| {work} | {kind} | {millions} | {size_mib:,.0f} | {found.peak_mib:,.0f} "
        f"| {found.lines / found.seconds:,.0f} |"
    )


def report(rows: list[str]) -> str:
    lines = [
        "# Large files",
        "",
        f"{describe()}. Payments of seven fields, {CARDS:,} cards, windows of an hour.",
        "",
        "| work | file | million lines | MiB of the file | peak MiB of the process | lines/s |",
        "|---|---|---|---|---|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n"


def measure(work: str, path: Path) -> Measured:
    """Do the work in this process."""
    project = make_project(path.parent / "bank")
    began = time.perf_counter()
    if work == "ingest":
        lines = project.ingest([path], as_type="payment", decide=False).events.appended
    else:
        with read_lines(path) as read:
            submissions = project.taking.intake(keeps_hashes=False).submissions(read, path.name, "payment")
            given = in_order_of_time(submissions) if work == "sort" else submissions
            lines = sum(item.event is not None for item in given)
    seconds = time.perf_counter() - began
    return Measured(lines, seconds, peak_bytes() / 2**20)


def peak_bytes() -> int:
    """The most memory that this process held. On Linux from /proc: `ru_maxrss` begins with what its parent held."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1_024
    return getrusage(RUSAGE_SELF).ru_maxrss


def make_project(folder: Path) -> app.Project:
    """The template `payments` with windows of an hour, without rules and model: state is small from the start."""
    app.make_project(folder, "payments")
    (folder / "features.yaml").write_text(FEATURES, encoding="utf-8")
    for path in ((folder / "model.yaml"), *(folder / "rules").iterdir()):
        path.unlink()
    return app.open_exactly(folder)


def write_file(path: Path, count: int, *, is_scattered: bool) -> None:
    lines = (json_lines if "jsonl" in path.name else csv_lines)(count, is_scattered=is_scattered)
    with gzip.open(path, "wt", compresslevel=1) if path.suffix == ".gz" else path.open("w") as file:
        while chunk := "".join(islice(lines, CHUNK_LINES)):
            file.write(chunk)


def csv_lines(count: int, *, is_scattered: bool) -> Iterator[str]:
    yield ",".join(COLUMNS) + "\n"
    for at in range(count):
        paid_at = time_text(START_MS + (at * SCATTER % count if is_scattered else at) * BETWEEN_MS)
        cents = at * 31 % 20_000 + 5
        yield (
            f"p-{at},{paid_at},c-{at * 7_919 % CARDS:06d},m-{at * 31 % 20_011:05d},"
            f"{cents // 100}.{cents % 100:02d},DE,pos\n"
        )


def json_lines(count: int, *, is_scattered: bool) -> Iterator[str]:
    lines = csv_lines(count, is_scattered=is_scattered)
    form = "{" + ",".join(f'"{name}":"%s"' for name in next(lines).rstrip("\n").split(",")) + "}\n"
    for line in lines:
        yield form % tuple(line.rstrip("\n").split(","))


if __name__ == "__main__":
    raise SystemExit(main())
