"""What a benchmark says of the machine it ran on, and where it leaves its table."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import numpy as np

RESULTS = Path(__file__).parent / "results"


def describe() -> str:
    """Processor, cores, versions and commit, in one line."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "msgspec"))
    machine = f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return f"{machine}, {libraries}, SQLite {sqlite3.sqlite_version}, commit {commit or 'none'}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def write_result(name: str, text: str) -> None:
    """Keep a table under bench/results."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")


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
