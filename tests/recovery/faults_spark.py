"""The third world: a log that grows, its lake, and Spark's driver, which decides it once more."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec
import pyarrow.parquet as pq

from tests.support.recorded_lake import Recorded
from tools.servers.errors import UnavailableError

from .faults_check import Found
from .faults_process import SHROFF
from .faults_strike import Fault

PLACES: Final = 150  # of a batch
FAULT_PLACES: Final = 8 * PLACES  # so many come before each fault
PAYMENTS: Final = 60_000  # that the bank could have
SETTLED_WITHIN_S: Final = 400.0  # a machine that is busy needs minutes until the first batch on Spark is done
Row = tuple[int, str, str, str, bytes, str]


def check_spark() -> None:
    """Raises: UnavailableError where Spark cannot run on this machine."""
    if importlib.util.find_spec("pyspark") is None:
        raise UnavailableError("Spark cannot be had here: PySpark is not installed; 'make setup' installs it.")
    if shutil.which("java") is None and not os.environ.get("JAVA_HOME"):
        raise UnavailableError("Spark cannot be had here: it needs Java 17 or newer; install one, or set JAVA_HOME.")


class SparkWorld:
    """`shroff lake decide`, started again until all is decided. `chance` is the world's own."""

    def __init__(self, folder: Path, seed: str) -> None:
        check_spark()
        self.folder, self.seed = folder, seed
        self.chance = Random(seed)
        folder.mkdir(parents=True)
        self.recorded = Recorded(folder, PAYMENTS)
        self.out = folder / "out"
        self.driver: subprocess.Popen[bytes] | None = None
        self.errors = folder / "driver.log"
        self._heard_bytes = 0
        self._reports: list[Path] = []
        self._below: set[int] = set()  # what drivers that ended had started

    # ---- the driver

    def begin(self) -> None:
        """Start a driver, with nobody waiting for what the one before it started."""
        command = [str(SHROFF), "-C", str(self.recorded.project.context.paths.folder), "lake", "decide", "--json"]
        command += ["--out", str(self.out), "--partitions", "2", "--places", str(PLACES)]
        self._reports.append(self.folder / f"report-{len(self._reports)}.json")
        with self._reports[-1].open("wb") as report, self.errors.open("ab") as errors:
            ends_with_us = ["setpriv", "--pdeathsig", "KILL"]
            self.driver = subprocess.Popen([*ends_with_us, *command], stdout=report, stderr=errors)

    def begin_settled(self) -> None:
        """Let a driver decide the first places."""
        self.recorded.grow(PLACES)
        self.begin()
        self.settle()

    @property
    def started(self) -> subprocess.Popen[bytes]:
        """The newest driver."""
        assert self.driver is not None
        return self.driver

    def below(self) -> list[int]:
        """The processes that the driver started, and those that they did: Java, and Python for its tasks."""
        found = processes_below(self.started.pid)
        self._below |= set(found)
        return found

    def ended(self) -> int | None:
        """How the driver ended; None where it goes on, or came to its end."""
        status = self.started.poll()
        return None if status == 0 else status

    def n_written(self) -> int:
        return len(list((self.out / "decisions").glob("[0-9]*.parquet")))

    def in_the_middle(self) -> None:
        """Let the log grow, and a driver decide some of it: gives back somewhere in a batch."""
        self.recorded.grow(FAULT_PLACES)
        before = self.n_written()
        self.begin()
        some = self.chance.randrange(1, 4)
        self.until(lambda: self.n_written() >= before + some, f"{some} files of decisions")
        time.sleep(self.chance.random())
        self.below()
        assert self.started.poll() is None, "the driver was at its end before the fault: nobody felt it"

    # ---- after a fault

    def recover(self) -> float:
        """Start a driver where none runs; the seconds until something new is decided."""
        began, before = time.monotonic(), self.n_written()
        if self.started.poll() is not None:
            self.begin()
        self.until(lambda: self.n_written() > before or self.started.poll() == 0, "a file of decisions")
        return time.monotonic() - began

    def settle(self) -> None:
        """Wait until the driver has come to its end."""
        self.until(lambda: self.started.poll() is not None, "the driver to end")
        assert self.started.returncode == 0, f"the driver ended with {self.started.returncode}:\n{self.last_words()}"

    def until(self, is_met: Callable[[], bool], what: str) -> None:
        """Wait, also where the driver is at its end. Raises: AssertionError after minutes, or where it failed."""
        until = time.monotonic() + SETTLED_WITHIN_S
        while not is_met():
            status = self.started.poll()
            assert status in {None, 0} or is_met(), f"the driver ended with {status}:\n{self.last_words()}"
            assert time.monotonic() < until, f"waited for {what} in vain:\n{self.last_words()}"
            time.sleep(0.02)

    def look(self) -> Found:
        """Everything that is not as it must be. The driver must have come to its end."""
        found = look(self.out, self.recorded.project)
        reports = [path.read_bytes() for path in self._reports]
        # A driver that failed with words wrote a problem in place of a report.
        differing = sum(msgspec.json.decode(report).get("differing", 0) for report in reports if report)
        found.changed += [f"{differing} places differ from what the lake has"] if differing else []
        found.wrong += [f"process {pid} of an ended driver is still there" for pid in self._below if not is_gone(pid)]
        found.wrong += [self.last_words()] if "Traceback" in self.last_words() else []
        self._below.clear()
        self._heard_bytes = self.errors.stat().st_size if self.errors.exists() else 0
        return found

    def last_words(self) -> str:
        """What drivers said to people since the last look."""
        if not self.errors.exists():
            return ""
        with self.errors.open("rb") as said:
            said.seek(self._heard_bytes)
            return said.read().decode("utf-8", "replace")

    def close(self) -> None:
        """End what runs. The folder stays."""
        if self.driver is not None:
            kill([self.driver.pid, *self.below()] if self.driver.poll() is None else [])
            self.driver.wait()
            kill([pid for pid in self._below if not is_gone(pid)])


def look(out: Path, project: Any) -> Found:
    """Hold the files of decisions against what the log has."""
    found = Found()
    files = sorted((out / "decisions").glob("[0-9]*.parquet"))
    ends = [(0, 0), *(tuple(map(int, re.findall(r"\d+", file.stem))) for file in files)]
    found.wrong += [f"{span[1]} is followed by {other[0]}" for span, other in pairwise(ends) if other[0] != span[1] + 1]
    has = Counter(row for file in files for row in _rows_of(file))
    with project.log.reading() as log:
        must = {
            row.seq: (row.seq, row.event, row.id, row.outcome, row.receipt, row.document.decode())
            for rows in log.decisions.after()
            for row in rows
        }
    counts = Counter(row[0] for row in has.elements())
    found.lost += [f"place {seq} was decided, and is in no file" for seq in must if seq not in counts]
    found.doubled += [f"place {seq} is there {count} times" for seq, count in counts.items() if count > 1]
    found.changed += [f"{row}, recorded {must.get(row[0])}" for row in has if must.get(row[0]) != row]
    return found


def _rows_of(file: Path) -> list[Row]:
    table = pq.read_table(file)
    names = ("seq", "event", "id", "outcome", "receipt", "document")
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))


def processes_below(pid: int) -> list[int]:
    """The processes that one started, and those that they did."""
    found, waiting = list[int](), [pid]
    while waiting:
        told = Path(f"/proc/{waiting.pop()}/task")
        with suppress(OSError):
            for task in told.iterdir():
                started_by = [int(part) for part in (task / "children").read_text().split()]
                found += started_by
                waiting += started_by
    return found


def is_gone(pid: int, within_s: float = 120.0) -> bool:
    """Whether a process ends by itself soon: Java and its workers see that nobody is there any more."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":  # it has ended, and nobody asked how
            return True
        time.sleep(0.1)
    return False


def kill(pids: Sequence[int]) -> None:
    """End processes at once; some may be gone."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


# ---- the faults


def driver_killed(world: SparkWorld) -> None:
    """The next driver begins while Java and the tasks of this one still see that nobody is there."""
    world.in_the_middle()
    kill([world.started.pid])
    world.started.wait()


def all_killed(world: SparkWorld) -> None:
    world.in_the_middle()
    kill([world.started.pid, *world.below()])
    world.started.wait()


def frozen(world: SparkWorld) -> None:
    """Driver, Java and tasks stand still, and go on."""
    world.in_the_middle()
    below = [world.started.pid, *world.below()]
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in below:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        time.sleep(1 + world.chance.random())


KILLED: Final = frozenset({-signal.SIGKILL})
FAULTS: Final[Sequence[Fault]] = (
    Fault("spark: driver killed", driver_killed, KILLED),
    Fault("spark: driver and all its processes killed", all_killed, KILLED),
    Fault("spark: frozen", frozen),
)
