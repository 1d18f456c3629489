"""Faults by the hundred: `make faults`. Writes the table of what came of them to bench/results/faults.md.

    make faults
    SHROFF_FAULT_SEED=4f1cb8e COUNT=100 make faults

Of a hundred faults sixty strike a worker on a pipe, fifteen one that takes a file, and twenty-five workers on brokers
and a store. Worlds are given up after some faults, so that logs stay short and each fault is looked at in a second.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench.machine import describe, write_result
from tests.recovery.faults_embedded import FAULTS as ON_A_PIPE
from tests.recovery.faults_files import FAULTS as ON_FILES
from tests.recovery.faults_files import FileWorld
from tests.recovery.faults_outside import FAULTS as OUTSIDE
from tests.recovery.faults_process import Stable
from tests.recovery.faults_servers import Servers
from tests.recovery.faults_streams import StreamWorld
from tests.recovery.faults_strike import Fault, planned, strike_all
from tests.recovery.faults_table import SEED, Row, seed, table
from tests.recovery.faults_world import PipeWorld, World
from tools.servers.errors import ServerError, UnavailableError

COUNT: Final = 500
SHARES: Final = (("pipe", 0.60), ("file", 0.15), ("streams", 0.25))
IN_A_WORLD: Final = 25

Make = Callable[[Path, str, Stable], World]


def main() -> int:
    """0 when nothing was lost, doubled or changed, 1 else; 3 where servers cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m tools.faults", description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=COUNT, help=f"how many faults; {COUNT} without")
    count: int = parser.parse_args().count
    began, rows = time.monotonic(), list[Row]()
    print(f"{SEED}={seed()}", flush=True)
    places: list[tuple[str, Sequence[Fault]]] = [("pipe", ON_A_PIPE), ("file", ON_FILES), ("streams", OUTSIDE)]
    try:
        with Stable() as stable, Servers() as servers:
            makes: dict[str, Make] = {
                "pipe": PipeWorld,
                "file": FileWorld,
                "streams": lambda folder, name, stable: StreamWorld(folder, name, stable, servers),
            }
            for (name, faults), (_, share) in zip(places, SHARES, strict=True):
                failed = struck(name, makes[name], faults, round(count * share), stable, rows)
                if failed:
                    print(failed, file=sys.stderr)
                    return 1
    except (UnavailableError, ServerError) as error:
        print(f"{error}", file=sys.stderr)
        return 3
    text = "\n".join(table(rows))
    print(text)
    minutes = (time.monotonic() - began) / 60
    write_result("faults", page(text, sum(row.times for row in rows), minutes))
    return 0


def struck(name: str, make: Make, faults: Sequence[Fault], count: int, stable: Stable, rows: list[Row]) -> str:
    """Let so many faults strike, in worlds one after the other; gives what went wrong, in words.

    The folder of a world in which something did stays.
    """
    worlds = max(1, -(-count // IN_A_WORLD))
    for number, part in enumerate(planned(faults, seed(), count, worlds)):
        folder = Path(tempfile.mkdtemp(prefix=f"shroff-faults-{name}-"))
        world = make(folder / "world", f"{seed()} {name} {number}", stable)
        try:
            world.begin_settled()
            strike_all(world, part, rows)
        except AssertionError as error:
            return f"{SEED}={seed()} repeats it: {error}"
        finally:
            world.close()
        shutil.rmtree(folder)
        print(f"{name}: world {number + 1} of {worlds}, {sum(row.times for row in rows)} faults", flush=True)
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
