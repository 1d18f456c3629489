"""Faults by the hundred: `make faults`. Writes the table of what came of them to bench/results/faults.md.

    make faults
    SHROFF_FAULT_SEED=4f1cb8e COUNT=100 make faults

Of a hundred faults sixty strike a worker on a pipe, fifteen one that takes a file, and twenty-five workers on brokers
and a store; sixteen more strike the servers of tier 2, and one Spark. Worlds are given up after some faults, so that
logs stay short and each fault is looked at in a second.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.machine import describe, write_result
from tests.recovery import faults_embedded, faults_files, faults_outside, faults_spark, faults_tier2
from tests.recovery.faults_files import FileWorld
from tests.recovery.faults_process import Stable
from tests.recovery.faults_servers import Servers
from tests.recovery.faults_spark import SparkWorld, check_spark
from tests.recovery.faults_streams import StreamWorld
from tests.recovery.faults_strike import Fault, planned, strike_all
from tests.recovery.faults_table import SEED, Row, seed, table
from tests.recovery.faults_tier2 import SecondServers, SecondWorld
from tests.recovery.faults_world import PipeWorld, World
from tools.servers.errors import ServerError, UnavailableError

COUNT: Final = 500
IN_A_WORLD: Final = 25

Make = Callable[[Path, str], World | SparkWorld]


@dataclass(frozen=True, slots=True)
class Place:
    """Where faults strike, and its share of them."""

    name: str
    share: float
    faults: Sequence[Fault]


PIPE: Final = Place("pipe", 0.60, faults_embedded.FAULTS)
FILES: Final = Place("file", 0.15, faults_files.FAULTS)
STREAMS: Final = Place("streams", 0.25, faults_outside.FAULTS)
TIER_2: Final = Place("tier 2", 0.16, faults_tier2.FAULTS)
SPARK: Final = Place("spark", 0.01, faults_spark.FAULTS)  # each takes most of a minute


def main() -> int:
    """0 when nothing was lost, doubled or changed, 1 else; 3 where servers cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m tools.faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("count", nargs="?", type=int, default=COUNT, help=f"how many faults; {COUNT} without")
    count: int = parser.parse_args().count
    began, rows = time.monotonic(), list[Row]()
    print(f"{SEED}={seed()}", flush=True)
    try:
        failed = in_all_places(count, rows)
    except (UnavailableError, ServerError) as error:
        print(f"{error}", file=sys.stderr)
        return 3
    text = "\n".join(table(rows))
    print(text)
    if failed:
        print(failed, file=sys.stderr)
        return 1
    minutes = (time.monotonic() - began) / 60
    write_result("faults", page(text, sum(row.times for row in rows), minutes))
    return 0


def in_all_places(count: int, rows: list[Row]) -> str:
    """Let faults strike in one place after the other, and add what came of each; gives what went wrong, in words."""
    check_spark()  # before an hour has gone by
    with Stable() as stable:
        failed = struck(PIPE, lambda folder, name: PipeWorld(folder, name, stable), count, rows)
        failed = failed or struck(FILES, lambda folder, name: FileWorld(folder, name, stable), count, rows)
        if not failed:
            with Servers() as first:
                failed = struck(STREAMS, lambda folder, name: StreamWorld(folder, name, stable, first), count, rows)
        if not failed:
            with SecondServers() as second:
                failed = struck(TIER_2, lambda folder, name: SecondWorld(folder, name, stable, second), count, rows)
    return failed or struck(SPARK, SparkWorld, count, rows)


def struck(place: Place, make: Make, count: int, rows: list[Row]) -> str:
    """Let a place's share of so many faults strike, in worlds one after the other; gives what went wrong, in words.

    The folder of a world in which something did stays.
    """
    own = round(count * place.share)
    worlds = max(1, -(-own // IN_A_WORLD))
    for number, part in enumerate(planned(place.faults, seed(), own, worlds)):
        folder = Path(tempfile.mkdtemp(prefix="shroff-faults-"))
        world = make(folder / "world", f"{seed()} {place.name} {number}")
        try:
            world.begin_settled()
            strike_all(world, part, rows)
        except AssertionError as error:
            return f"{SEED}={seed()} repeats it: {error}"
        finally:
            world.close()
        shutil.rmtree(folder)
        print(f"{place.name}: world {number + 1} of {worlds}, {sum(row.times for row in rows)} faults", flush=True)
    return ""


def page(text: str, count: int, minutes: float) -> str:
    """The file of results."""
    return (
        f"# Faults\n\n{describe()}. {count} faults in {minutes:.0f} minutes, seed {seed()}; `make faults` repeats it, "
        f"with `{SEED}` set to this seed by the same faults.\n\n"
        "After each fault everything that was sent is looked for in the log and compared with a project that nobody "
        "disturbed; `lost`, `doubled` and `changed` count what is not as it must be. Seconds run from the end of the "
        "fault until something new is committed; the first figure is the median. What a fault is, and how it is "
        f"looked at, is in docs/explain/recovery.md.\n\n{text}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
