"""What a benchmark says of the machine it ran on and of its runs, and where it leaves its table."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import numpy as np

RESULTS = Path(__file__).parent / "results"
_DECIDING = "adapters/log engine events features language log rules streams"
# The packages of src/shroff that a benchmark measures; all of them if it is not listed.
MEASURED = {
    "ingest": _DECIDING,
    "online": "features language",
    "restart": "adapters/log features log",
    "streams": f"{_DECIDING} models worker",
    "streams_latency": f"{_DECIDING} models worker",
}
STOLEN = 7  # which of the numbers of /proc/stat is the time that the host gave to other machines


def describe() -> str:
    """Processor, cores, versions and commit, in one line; and what other machines took of it since this began.

    A comment at its end has the date, the commit and the measured paths: `docs/figures.py` marks figures of older code.
    """
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "msgspec"))
    machine = f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    words = f"{machine}, {libraries}, SQLite {sqlite3.sqlite_version}, commit {commit or 'none'}"
    taken = f"{stolen():.0%} of the processor's time was taken by other machines meanwhile"
    packages = MEASURED.get(Path(sys.argv[0]).stem, "").split()
    paths = " ".join(f"src/shroff/{package}" for package in packages) or "src/shroff"
    return f"{words}; {taken}<!-- measured {datetime.now(UTC):%Y-%m-%d} {commit or 'none'} {paths} -->"


def stolen() -> float:
    """The share of the processor's busy time that a virtual machine's host took away since this module was loaded."""
    wanted, idle, taken = (now - then for now, then in zip(_ticks(), _BEGAN, strict=True))
    return taken / max(wanted - idle, 1)


def _ticks() -> tuple[int, int, int]:
    """All ticks of all cores, the idle ones of them, and those that the host took."""
    try:
        first, _, _ = Path("/proc/stat").read_text(encoding="ascii").partition("\n")
    except OSError:
        return 0, 0, 0
    found = [int(word) for word in first.split()[1:9]]
    return sum(found), found[3] + found[4], found[STOLEN]


_BEGAN = _ticks()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def spread(values: Sequence[float], form: str) -> str:
    """What runs gave, for a table: the median, and from least to most."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def write_result(name: str, text: str) -> None:
    """Keep a table under bench/results."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")


def tell_result(name: str, title: str, about: str | None, table: str, *, keep: bool) -> None:
    """Print a table with what is measured (the second paragraph of a docstring) and where; keep it if asked to."""
    measured = (about or "").split("\n\n")[1]
    text = f"# {title}\n\n{measured}\n\n{table}\n\n{describe()}\n"
    if keep:
        write_result(name, text)
    print(text)


def keep_memory() -> None:
    """Start this program once more, with glibc told to hold on to all memory that it ever had.

    A round then finds the pages of the one before. Else large arrays go back to the system each time, and on a
    virtual machine, whose host takes free pages away, the next touch of each may cost more than the work.
    """
    kept = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1000000000000"
    if os.environ.get("GLIBC_TUNABLES") != kept:
        module = getattr(sys.modules["__main__"], "__spec__", None)
        program = ["-m", module.name] if module else [sys.argv[0]]
        os.execve(sys.executable, [sys.executable, *program, *sys.argv[1:]], {**os.environ, "GLIBC_TUNABLES": kept})


def first_touch_ms(megabytes: int = 400) -> float:
    """Milliseconds to touch a megabyte that the process did not have before."""
    started = perf_counter()
    np.empty(megabytes << 17, np.int64)[::512] = 1
    return (perf_counter() - started) * 1e3 / megabytes
