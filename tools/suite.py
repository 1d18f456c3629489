"""Every test that a change needs: `make test`. With the campaigns of hours: `make test-long`.

Tests run in a new order each time; the first line tells the number that repeats it. What each test cost is written
while the run goes on, and a folder that is above its budget (tests/budgets.toml) fails the run. No test is tried twice.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
TIMES: Final = Path(".pytest_cache") / "times.jsonl"
WORKERS: Final = 3  # on 2 cores: half of the time a test waits for a server, a browser or a process
MINUTE_S: Final = 60
ROOM_BYTES: Final = 6 << 30


def main() -> int:
    """Run the tests; pytest's own status."""
    parser = argparse.ArgumentParser(prog="python -m tools.suite", description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true", help="with the campaigns, which take hours")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32), help="of the order")
    parser.add_argument("paths", nargs="*", help="folders or files; all of tests/ without any")
    asked = parser.parse_args()
    times = ROOT / TIMES
    times.parent.mkdir(exist_ok=True)
    print(f"The order of this run: python -m tools.suite --seed {asked.seed}", flush=True)
    began_s = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-n", str(WORKERS), "--dist", "worksteal"]
    command += [f"--randomly-seed={asked.seed}", "-m", "long or not long" if asked.long else "not long", *asked.paths]
    if folder := in_memory():
        command.append(f"--basetemp={folder}")
    env = environment(times, is_long=asked.long, is_part=bool(asked.paths))
    status = subprocess.run(command, cwd=ROOT, env=env, check=False)
    print(f"{(time.monotonic() - began_s) / MINUTE_S:.1f} minutes; what each test cost: {TIMES}", flush=True)
    return status.returncode


def in_memory(memory: Path = Path("/dev/shm")) -> Path | None:  # noqa: S108 - the folder in it is of one user
    """Where tests write files: in memory, if there is room, since a sync to a disk is what many of them wait for.

    Those that lose power record what is synced, and need no disk for it. pytest empties the folder at its next run.
    """
    if not memory.is_dir() or shutil.disk_usage(memory).free < ROOM_BYTES:
        return None
    return memory / f"shroff-tests-{os.getuid()}-{zlib.crc32(os.fsencode(ROOT)):08x}"


def environment(times: Path, *, is_long: bool, is_part: bool) -> dict[str, str]:
    """What the run and its processes see: bytecode is kept, or each process would compile all of it again."""
    found = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    found["SHROFF_TEST_TIMES"] = str(times)
    if is_long:
        found["SHROFF_TEST_PROFILE"] = "long"
    elif not is_part:
        found["SHROFF_TEST_BUDGETS"] = "1"
    return found


if __name__ == "__main__":
    sys.exit(main())
