"""The tests in three tiers: `make check` quick ones, `make test` each promise once, `make test-long` all and campaigns.

The first two run the same tests each time, in the same order, by the same examples. The third one shuffles them and
draws new examples; its first line tells the number that repeats it. `--changed` runs what a change can reach of all
three, nearest first. What each test cost is written while the run goes on. No test is tried twice.
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
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from tools.checkout import foreign_sources
from tools.servers.fetching import cache
from tools.servers.process import DATA

ROOT: Final = Path(__file__).parent.parent
TIMES: Final = Path(".pytest_cache") / "times.jsonl"
# Folders that `make check` leaves out.
NOT_QUICK: Final = ("analytics", "conformance", "contracts", "examples", "journeys", "lake", "laws", "recovery")
PATIENT: Final = ("slow", "server", "long")  # marks of tests that it leaves out
MARKS: Final = {"quick": " and ".join(f"not {mark}" for mark in PATIENT), None: "not long", "long": "long or not long"}
SEED: Final = 1  # of `random` before each test, but in campaigns
WORKERS: Final = 4  # on 2 cores: half of the time a test waits for a server, a browser or a process
# What compiles the kernels, once and side by side; on a first run each worker would compile them again. The second step
# imports what the first one compiles.
KERNELS: Final = tuple(f"from tools.kernels import keep; keep(at_import={is_theirs})" for is_theirs in (True, False))
ENTRY_POINTS: Final = tuple(
    f"from tools.kernels import keep_entry_points; keep_entry_points(of_scoring={is_theirs})"
    for is_theirs in (True, False)
)
MACHINE_CODE: Final = ("**/*.kernel", "**/*.nb[ci]")
LOCKS_KEPT: Final = 2  # whose machine code is kept: this clone's and the one that was used before
MINUTE_S: Final = 60
NONE_LEFT: Final = 5  # pytest's status where each test was left out
CHANGED_MINUTES: Final = 10  # of a run of what a change reaches; a central module reaches nearly all
ROOM_BYTES: Final = 6 << 30


def main() -> int:
    """Run the tests; pytest's own status."""
    parser = argparse.ArgumentParser(prog="python -m tools.suite", description=__doc__.splitlines()[0])
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--long", dest="size", action="store_const", const="long", help="with campaigns of hours")
    sizes.add_argument(
        "--quick", dest="size", action="store_const", const="quick", help="only the tests of `make check`"
    )
    parser.add_argument("--seed", type=int, help="of --long: its order and its examples; a new one without it")
    parser.add_argument("--warm", action="store_true", help="run nothing, but leave all that a first run compiles")
    parser.add_argument(
        "--changed",
        nargs="?",
        const="",
        metavar="BASE",
        help="tests of all sizes that the changes since BASE can reach, nearest first; without BASE since the branch "
        "left main, else since the last commit",
    )
    parser.add_argument("--rest", action="store_true", help="with --changed: leave out what `make test` runs")
    parser.add_argument(
        "--minutes",
        type=float,
        default=CHANGED_MINUTES,
        help="with --changed: begin no test after so many, and say which did not run; 0 for no limit "
        f"[default: {CHANGED_MINUTES}]",
    )
    parser.add_argument("paths", nargs="*", help="folders or files; all of tests/ without any")
    asked = parser.parse_args()
    if refusal := foreign_sources(ROOT):
        parser.error(refusal)
    if asked.warm:
        return warm()
    if asked.changed is not None:
        asked.paths = changed(asked.changed)
        if not asked.paths:
            return 0
    if asked.size == "long":
        seed = random.SystemRandom().randrange(2**32) if asked.seed is None else asked.seed
        print(f"The order of this run: python -m tools.suite --long --seed {seed} {' '.join(asked.paths)}", flush=True)
        order = [f"--randomly-seed={seed}", f"--hypothesis-seed={seed}"]
    else:
        order = [f"--randomly-seed={SEED}", "--randomly-dont-reorganize"]
    times = TIMES if asked.size != "quick" else TIMES.with_stem("quick-times")
    (ROOT / times).parent.mkdir(exist_ok=True)
    began_s, idle_s = time.monotonic(), read_idle_s()
    marks = MARKS[asked.size] if asked.changed is None else "long" if asked.rest else MARKS["long"]
    command = [sys.executable, "-m", "pytest", "-q", *order, "-m", marks, *asked.paths]
    command += ["-p", "no:anyio"]  # no test is a coroutine, and it looks at each fixture of each test
    if asked.size == "quick" and not asked.paths:
        command += [f"--ignore=tests/{name}" for name in NOT_QUICK]
    if folder := in_memory(asked.size or "usual"):
        command.append(f"--basetemp={folder}")
    env = environment(ROOT / times, asked.size, is_part=bool(asked.paths))
    if asked.changed is not None:
        command += ["-p", "tests.support.time_limit"]
        env |= {"SHROFF_TEST_MINUTES": str(asked.minutes), "SHROFF_TEST_IN_ORDER": "1"}
    if folder:
        env.setdefault(DATA, str(folder.parent))
    compile_kernels(env)
    status = subprocess.run(command, cwd=ROOT, env=env, check=False)
    took_s, idle_s = time.monotonic() - began_s, read_idle_s() - idle_s
    spare = f", {idle_s / took_s / (os.cpu_count() or 1):.0%} of it without work" if idle_s else ""
    print(f"{took_s / MINUTE_S:.1f} minutes{spare}; what each test cost: {times}", flush=True)
    is_empty = asked.rest and status.returncode == NONE_LEFT  # what the change reaches was in `make test`
    return 0 if is_empty else status.returncode


def changed(base: str) -> list[str]:
    """Say which tests the changes since a commit reach, and why; return their files, nearest first."""
    from tools import reach
    from tools.imports import ImportGraph

    commit, files = reach.changed_files(ROOT, base)
    print(f"{len(files)} files changed since {commit}:", flush=True)
    plan = reach.plan(ImportGraph(ROOT), files, reach.changed_lines(ROOT, commit))
    print(*plan.lines(), sep="\n", flush=True)
    return plan.tests


def read_idle_s(stat: Path = Path("/proc/stat")) -> float:
    """Seconds that all processors had nothing to do since the machine started; 0 where no file says so."""
    if not stat.exists():
        return 0.0
    idle, waiting = stat.read_text("ascii").split("\n", 1)[0].split()[4:6]
    return (int(idle) + int(waiting)) / os.sysconf("SC_CLK_TCK")


def warm() -> int:
    """Compile kernels, and what tests import, which each worker of a first run would compile by itself.

    What cannot be imported fails in the run, which says why.
    """
    env = environment(Path(os.devnull), None, is_part=True)
    command = [sys.executable, "-m", "pytest", "--collect-only", "-qq", "--no-header", "-p", "no:cacheprovider"]
    command += ["-p", "no:anyio", "-p", "tools.suite"]
    compile_kernels(env)  # first: tests import the kernels, and would compile them a second time
    subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, check=False)
    return 0


def pytest_pycollect_makeitem() -> list[object]:
    """Make no test of what a module declares: as the plugin of `warm` this leaves its import, which compiles."""
    return []


def compile_kernels(env: Mapping[str, str]) -> None:
    """Fill the kernel cache, if it is empty; what cannot be compiled here fails in the tests, which say why.

    Other clones of this machine with the same lock have compiled most of it: that takes 126 s of a processor.
    """
    source, lock = ROOT / "src", (ROOT / "requirements" / "dev.txt").read_bytes()
    kept = cache() / f"kernels-{sys.implementation.cache_tag}-{sha256(lock).hexdigest()[:16]}"
    kept.mkdir(parents=True, exist_ok=True)
    kept.touch()
    for older in sorted(cache().glob("kernels-*"), key=lambda folder: folder.stat().st_mtime)[:-LOCKS_KEPT]:
        shutil.rmtree(older, ignore_errors=True)
    copy_kernels(kept, source)
    for step in (KERNELS, ENTRY_POINTS):
        compilers = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=env) for code in step]
        for compiler in compilers:
            compiler.wait()
    copy_kernels(source, kept)
    for stale in machine_code(kept):
        if not (source / stale.relative_to(kept)).exists():
            stale.unlink(missing_ok=True)


def machine_code(folder: Path) -> list[Path]:
    """Return the files of machine code below a folder."""
    return [file for pattern in MACHINE_CODE for file in folder.glob(pattern)]


def copy_kernels(source: Path, target: Path) -> None:
    """Copy machine code that the target lacks.

    A file is named by what it was made from and for, and has the digest of its code: what is of other sources is
    compiled all the same.
    """
    for file in machine_code(source):
        place = target / file.relative_to(source)
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            begun = place.with_suffix(f".{os.getpid()}")
            shutil.copyfile(file, begun)
            begun.replace(place)


def in_memory(size: str, memory: Path = Path("/dev/shm")) -> Path | None:  # noqa: S108 - the folder is of one user
    """Where tests write files: in memory, if there is room, since a sync to a disk is what many of them wait for.

    Those that lose power record what is synced, and need no disk for it. pytest empties the folder at its next run.
    """
    if not memory.is_dir() or shutil.disk_usage(memory).free < ROOM_BYTES:
        return None
    return memory / f"shroff-tests-{size}-{os.getuid()}-{zlib.crc32(os.fsencode(ROOT)):08x}"


def environment(times: Path, size: str | None, *, is_part: bool) -> dict[str, str]:
    """What the run and its processes see: bytecode is kept, or each process would compile all of it again."""
    found = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    found["SHROFF_TEST_TIMES"] = str(times)
    if sys.platform == "linux":  # elsewhere a fork harms what system libraries have begun
        found["SHROFF_TEST_WORKERS"] = str(WORKERS)
    if size == "long":
        found["SHROFF_TEST_PROFILE"] = "long"
    if size == "long" or not is_part:
        found["SHROFF_TEST_WHOLE"] = size or "all"
    return found


if __name__ == "__main__":
    sys.exit(main())
