"""Faults by the hundred: `make faults`. Writes the table of what came of them to bench/results/faults.md.

    make faults
    SHROFF_FAULT_SEED=4f1cb8e COUNT=100 make faults
    python -m tools.faults 500 --kept FILE      # a run that was stopped goes on from FILE

Of a hundred faults sixty strike a worker on a pipe, fifteen one that takes a file, and twenty-five workers on brokers
and a store; sixteen more strike the servers of tier 2, and one Spark. Each source that is pulled, and Pub/Sub, has
eight more. Worlds are given up after some faults, so that
logs stay short and each fault is looked at in a second.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final
from unittest.mock import patch

from bench.machine import describe, write_result
from tests.recovery import faults_embedded, faults_files, faults_outside, faults_pubsub, faults_spark, faults_tier2
from tests.recovery.faults_files import FileWorld
from tests.recovery.faults_process import Stable
from tests.recovery.faults_pubsub import PubsubWorld
from tests.recovery.faults_pulled import SERVERS, faults_of, world_at
from tests.recovery.faults_servers import Servers
from tests.recovery.faults_spark import SparkWorld, check_spark
from tests.recovery.faults_streams import StreamWorld
from tests.recovery.faults_strike import Fault, planned, strike_all
from tests.recovery.faults_table import SEED, Row, of_commit, seed, table
from tests.recovery.faults_tier2 import SecondServers, SecondWorld
from tests.recovery.faults_world import PipeWorld, World
from tools.servers.errors import ServerError, UnavailableError
from tools.servers.keep import Kept as Server
from tools.servers.kinds import KINDS

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
PULLED: Final = tuple(Place(name, 0.08, faults_of(name)) for name in SERVERS)
PUBSUB: Final = Place("pubsub", 0.08, faults_pubsub.FAULTS)
PLACES: Final = (STREAMS, SPARK, TIER_2, PIPE, FILES, *PULLED, PUBSUB)


def main() -> int:
    """0 when nothing was lost, doubled or changed, 1 else; 3 where servers cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m tools.faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("count", nargs="?", type=int, default=COUNT, help=f"how many faults; {COUNT} without")
    names = [place.name for place in PLACES]
    parser.add_argument("--places", nargs="+", choices=names, default=names, help="only these; no table is written")
    parser.add_argument("--kept", type=Path, help="a file that a run which was stopped goes on from")
    chosen = parser.parse_args()
    began, kept = time.monotonic(), Kept(chosen.kept, chosen.count)
    os.environ.setdefault(SEED, of_commit())
    print(f"{SEED}={seed()}", flush=True)
    try:
        failed = in_places(chosen.places, chosen.count, kept)
    except (UnavailableError, ServerError) as error:
        print(f"{error}", file=sys.stderr)
        return 3
    text = "\n".join(table(kept.rows))
    print(text)
    if failed:
        return 1
    if chosen.places == names:
        minutes = kept.minutes + (time.monotonic() - began) / 60
        write_result("faults", page(text, sum(row.times for row in kept.rows), minutes))
    return 0


class Kept:
    """What came of each world, in a file where one is named: a run that goes on with it passes over what is there.

    Raises: SystemExit where the file is of another seed, or of another number of faults.
    """

    def __init__(self, file: Path | None, count: int) -> None:
        self.rows: list[Row] = []
        self.minutes = 0.0  # of the runs before
        self._file, self._worlds = file, set[tuple[str, int]]()
        head = {"seed": seed(), "count": count}
        if file is None:
            return
        if not file.exists():
            file.write_text(f"{json.dumps(head)}\n", encoding="utf-8")
        found, *lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
        if found != head:
            raise SystemExit(f"{file} is of {found}, and this is {head}: name another file, or set {SEED}")
        for line in lines:
            self._worlds.add((line["place"], line["world"]))
            self.rows += [Row(*values) for values in line["rows"]]
            self.minutes += line["minutes"]

    def has(self, place: str, world: int) -> bool:
        return (place, world) in self._worlds

    def add(self, place: str, world: int, rows: Sequence[Row], minutes: float) -> None:
        """Keep what came of a world."""
        self.rows += rows
        if self._file is not None:
            line = {"place": place, "world": world, "minutes": minutes, "rows": [astuple(row) for row in rows]}
            with self._file.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps(line)}\n")


def in_places(names: Sequence[str], count: int, kept: Kept) -> list[str]:
    """Let faults strike in one place after the other; tells what goes wrong, and gives it, in words for each world."""
    if SPARK.name in names:
        check_spark()  # before an hour has gone by
    failed: list[str] = []
    with Stable() as stable:
        if STREAMS.name in names and missing(STREAMS, count, kept):
            with Servers() as first:
                failed += struck(STREAMS, lambda to, name: StreamWorld(to, name, stable, first), count, kept)
        if SPARK.name in names:
            failed += struck(SPARK, SparkWorld, count, kept)
        if TIER_2.name in names and missing(TIER_2, count, kept):
            with SecondServers() as second:
                failed += struck(TIER_2, lambda to, name: SecondWorld(to, name, stable, second), count, kept)
        if PIPE.name in names:
            failed += struck(PIPE, lambda to, name: PipeWorld(to, name, stable), count, kept)
        if FILES.name in names:
            failed += struck(FILES, lambda to, name: FileWorld(to, name, stable), count, kept)
        for place in (*PULLED, PUBSUB):
            if place.name in names and missing(place, count, kept):
                with ExitStack() as running:
                    failed += struck(place, on_source(place, stable, running), count, kept)
    return failed


def on_source(place: Place, stable: Stable, running: ExitStack) -> Make:
    """The worlds of a source; its server ends with `running`."""
    kind = "pubsub" if place is PUBSUB else SERVERS[place.name]
    if not kind:
        return lambda to, name: world_at(place.name, to, name, stable)
    found = running.enter_context(KINDS[kind]())
    server = Server(kind, found.address, found.details)
    if place is not PUBSUB:
        return lambda to, name: world_at(place.name, to, name, stable, server)
    running.enter_context(patch.dict(os.environ, {"PUBSUB_EMULATOR_HOST": server.address}))
    return lambda to, name: PubsubWorld(to, name, stable, server.address)


def worlds_of(place: Place, count: int) -> list[list[Fault]]:
    """The faults of a place, in worlds."""
    own = round(count * place.share)
    return planned(place.faults, seed(), own, max(1, -(-own // IN_A_WORLD)))


def missing(place: Place, count: int, kept: Kept) -> list[int]:
    """The worlds that there are still to be."""
    return [number for number, _ in enumerate(worlds_of(place, count)) if not kept.has(place.name, number)]


def struck(place: Place, make: Make, count: int, kept: Kept) -> list[str]:
    """Let a place's share of so many faults strike, in worlds one after the other; gives what went wrong, in words.

    The folder of a world in which something did stays, and the next world is made.
    """
    worlds, failed = worlds_of(place, count), list[str]()
    for number in missing(place, count, kept):
        folder = Path(tempfile.mkdtemp(prefix="shroff-faults-"))
        world, rows, began = make(folder / "world", f"{seed()} {place.name} {number}"), list[Row](), time.monotonic()
        try:
            with closing(world):
                world.begin_settled()
                strike_all(world, worlds[number], rows)
        except (AssertionError, OSError) as error:
            failed.append(f"{SEED}={seed()} repeats it: {error}")
            print(failed[-1], file=sys.stderr, flush=True)
        else:
            shutil.rmtree(folder)
            kept.add(place.name, number, rows, (time.monotonic() - began) / 60)
        told = f"{sum(row.times for row in kept.rows)} faults{f', {len(failed)} worlds failed' if failed else ''}"
        print(f"{place.name}: world {number + 1} of {len(worlds)}, {told}", flush=True)
    return failed


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
