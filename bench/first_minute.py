"""First minute: seconds that the first `shroff demo --once` on a machine takes, and every later one.

A cold run finds an empty kernel cache, in a folder of its own, and compiles the window
kernels; what is installed, and Python's own cache of it, is there, as after an installation. A
warm run comes after it, with the same cache. Whole processes are timed, from start to
exit; runs take turns. Processor seconds, of all cores together, say how far a machine that
is shared with other work bends the clock's. Prints a table and writes it to `bench/results/first_minute.md`.

    python -m bench.first_minute [--runs 3]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import NamedTuple

from bench.machine import describe, write_result
from shroff.cli.demo import EVENTS

PROGRAM = (sys.executable, "-c", "from shroff.cli.main import main; main()")
COMMANDS = {
    "demo --once, cold": (("demo", "--once"), 60.0),
    "demo --once, warm": (("demo", "--once"), 20.0),
    "--help": (("--help",), 0.4),
    "import shroff": (None, 0.3),
}


class Seconds(NamedTuple):
    """What a process took, by the clock and of the processors."""

    clock: float
    processor: float


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--runs", type=int, default=3)
    runs = arguments.parse_args().runs
    seconds: dict[str, list[Seconds]] = {name: [] for name in COMMANDS}
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as cache:
            for name, (command, _) in COMMANDS.items():
                seconds[name].append(timed(command, Path(cache)))
    table = report(seconds, runs)
    print(table)
    write_result("first_minute", table)
    return 0


def timed(command: tuple[str, ...] | None, cache: Path) -> Seconds:
    """What a process takes from its start to its exit; None imports the package and does nothing."""
    line = (sys.executable, "-c", "import shroff") if command is None else (*PROGRAM, *command)
    began, before = time.perf_counter(), getrusage(RUSAGE_CHILDREN)
    subprocess.run(line, check=True, capture_output=True, env=os.environ | {"NUMBA_CACHE_DIR": str(cache)})
    after = getrusage(RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Seconds(time.perf_counter() - began, processor)


def report(seconds: dict[str, list[Seconds]], runs: int) -> str:
    lines = [
        "# First minute",
        "",
        f"{describe()}. {EVENTS:,} payments, {runs} runs of each in turn, whole processes.",
        "",
        "| process | seconds, median | range | at most | processor seconds, median |",
        "|---|---|---|---|---|",
    ]
    for name, (_, limit) in COMMANDS.items():
        found, processor = (sorted(column) for column in zip(*seconds[name], strict=True))
        between = f"{found[0]:.2f} to {found[-1]:.2f}"
        middle = statistics.median(processor)
        lines.append(f"| {name} | {statistics.median(found):.2f} | {between} | {limit:g} | {middle:.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
