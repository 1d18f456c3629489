"""Whether tests notice small faults: `python -m tools.mutants SEED` plants some and runs the tests that run them.

A seed draws places in the rooms of ROOMS, from each room in turn. All faults that a switch can choose are planted in
one clone (`tools/switches.py`); there each test runs once, and once more with each fault whose place it came to, until
one fails (`tests/support/switched.py`). So a fault that lives has passed every test that comes to its place, unless its
minutes were over. What is compiled or evaluated by an import is planted by itself in another clone, which runs the
tests that `tools.reach` names for its line, nearest first, until one fails or its minutes are over. A test counts only
if it passes without the fault. Outcomes are kept in .pytest_cache/mutants.jsonl, and `--table` writes those of a seed
to bench/results/mutants.md.

Why no kept tool: mutmut puts a trampoline into each function, which numba cannot compile, and learns from a whole run
of the suite in one process which tests reach a mutant, while many tests here start the program as another process.
cosmic-ray runs one command for each mutant, and knows nothing of what reaches it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain, repeat
from pathlib import Path
from queue import SimpleQueue
from typing import Final, NamedTuple

from tests.support.switched import ASKED
from tools.imports import ImportGraph
from tools.mutations import Mutant, mutants
from tools.reach import ROOT, git, plan
from tools.switches import plant

ROOMS: Final = (
    "src/shroff/features",
    "src/shroff/engine",
    "src/shroff/log",
    "src/shroff/rules",
    "src/shroff/cases",
    "src/shroff/backtest",
    "src/shroff_plugins/analytics",
    "src/shroff/people",
)
KEPT: Final = ROOT / ".pytest_cache" / "mutants.jsonl"
TABLE: Final = ROOT / "bench" / "results" / "mutants.md"
# Folders of tests that come first: those of the rooms, and of what begins most of their code.
ROOM_TESTS: Final = (*(Path(room).name for room in ROOMS), "laws", "services", "explain", "web")
PYTEST: Final = (".venv/bin/python", "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider")
BATCHES: Final = (3, 5, 8, 20)  # files of tests in the first runs of a mutant; each later run has as many as the last
USUAL: Final = "not server and not long"  # those take longer than a mutant is worth
BELOW: Final = "## "  # what begins with it in the table's file was written by hand
MINUTE_S: Final = 60
FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)


class Outcome(NamedTuple):
    """What became of a mutant."""

    mutant: Mutant
    is_found: bool
    test: str  # the first that failed, or how far the run came
    took_s: float


def drawn(root: Path, seed: int, count: int) -> list[Mutant]:
    """Return mutants that a seed draws: from each room in turn, a module by chance and a place in it by chance."""
    chance = random.Random(seed)  # noqa: S311 - a draw that a number repeats
    modules = {room: sorted((root / room).rglob("*.py")) for room in ROOMS}
    found = list[Mutant]()
    while len(found) < count:
        module = chance.choice(modules[ROOMS[len(found) % len(ROOMS)]])
        path = module.relative_to(root).as_posix()
        if (places := mutants(path, module.read_text("utf-8"))) and (one := chance.choice(places)) not in found:
            found.append(one)
    return found


class Clone:
    """A clone of this one, in which mutants are planted one at a time."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        subprocess.run(["git", "clone", "-q", "--shared", str(ROOT), str(folder)], check=True)
        (folder / ".venv").symlink_to((ROOT / ".venv").resolve())
        beside = folder.with_name("shared")  # data that some tests read
        if (ROOT.parent / beside.name).is_dir() and not beside.exists():
            beside.symlink_to(ROOT.parent / beside.name)
        for kernel in (ROOT / "src").rglob("*.kernel"):
            target = folder / kernel.relative_to(ROOT)
            target.parent.mkdir(exist_ok=True)
            shutil.copy(kernel, target)

    def environment(self) -> dict[str, str]:
        """Return the environment of tests that run here."""
        return os.environ | {"PYTHONPATH": str(self.root / "src"), "COLUMNS": "1000"}

    def judge(self, mutant: Mutant, tests: Sequence[str], limit_s: float) -> Outcome:
        """Plant a mutant, run the tests until one fails, and take the mutant out again."""
        began_s = time.monotonic()
        file = self.root / mutant.path
        source = file.read_text("utf-8")
        waiting = deque(batches(tests))
        n_passed, is_over = 0, False
        while waiting and not is_over:
            batch = waiting.popleft()
            left_s = limit_s - (time.monotonic() - began_s)
            file.write_text(mutant.planted(source), "utf-8")
            try:
                failed = self.first_failure(batch, left_s) if left_s > 0 else ""
            finally:
                file.write_text(source, "utf-8")
            is_over = failed == ""
            if failed:
                took_s = time.monotonic() - began_s
                if self.first_failure([failed], limit_s) is None:
                    return Outcome(mutant, test=failed, took_s=took_s, is_found=True)
                # It fails without the mutant, too: go on with the files after its own.
                index = batch.index(failed.partition("::")[0])
                n_passed += index
                if after := batch[index + 1 :]:
                    waiting.appendleft(after)
            elif not is_over:
                n_passed += len(batch)
        far = f"{n_passed} of {len(tests)} files of tests pass"
        return Outcome(mutant, test=far, took_s=time.monotonic() - began_s, is_found=False)

    def first_failure(self, tests: Sequence[str], limit_s: float) -> str | None:
        """Return the first test that fails; None if all pass, an empty text if the time is over."""
        command = [*PYTEST, "-x", "-m", USUAL, f"--basetemp={self.root.parent / self.root.name}-files", *tests]
        with tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen(
                command, cwd=self.root, env=self.environment(), stdout=said, stderr=said, start_new_session=True
            )
            try:
                status = process.wait(limit_s)
            except subprocess.TimeoutExpired:
                return ""
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if status in {0, 5}:  # 5: no test was selected
                return None
            said.seek(0)
            match = FAILED.search(said.read())
            return match[1] if match else tests[0]


def batches(tests: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut the tests into few that begin soon, and more after them."""
    start = 0
    for size in chain(BATCHES, repeat(BATCHES[-1])):
        if start >= len(tests):
            return
        yield tests[start : start + size]
        start += size


def main() -> int:
    """Plant mutants, run what they reach, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("seed", type=int)
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--skip", type=int, default=0, help="of those that the seed draws, so many at the beginning")
    parser.add_argument("--minutes", type=float, default=4, help="of each mutant; by a processor if it has a switch")
    parser.add_argument("--jobs", type=int, default=2, help="mutants without a switch at the same time")
    parser.add_argument("--only", action="append", default=[], help="PATH:LINE instead of what the seed draws")
    parser.add_argument("--list", action="store_true", help="plant nothing")
    parser.add_argument("--table", action="store_true", help="plant nothing, and write what became of the mutants")
    asked = parser.parse_args()
    planted = drawn(ROOT, asked.seed, asked.skip + asked.count)[asked.skip :]
    if asked.only:
        planted = [mutant for place in asked.only for mutant in at_line(ROOT, place)]
    if asked.list:
        print(*(mutant.name for mutant in planted), sep="\n")
        return 0
    if asked.table:
        write_table(kept(planted), f"seed {asked.seed}")
        return 0
    judge_all(planted, asked.jobs, asked.minutes * MINUTE_S)
    return 0


def at_line(root: Path, place: str) -> list[Mutant]:
    """Return all faults that can be planted in a line."""
    path, _, line = place.rpartition(":")
    return [mutant for mutant in mutants(path, (root / path).read_text("utf-8")) if mutant.line == int(line)]


def judge_all(planted: Sequence[Mutant], jobs: int, limit_s: float) -> None:
    """Judge mutants; print and keep what became of each."""
    numbered = {str(number): mutant for number, mutant in enumerate(dict.fromkeys(planted))}
    with tempfile.TemporaryDirectory(prefix="shroff-mutants-") as folder:
        together = Clone(Path(folder) / "together")
        switched = plant(together.root, numbered)
        print(f"{len(switched)} of {len(numbered)} mutants have a switch", flush=True)
        tell(outcomes_of(together, {number: numbered[number] for number in switched}, limit_s))
        tell(judged_alone(Path(folder), [numbered[number] for number in numbered.keys() - switched], jobs, limit_s))


def outcomes_of(clone: Clone, planted: Mapping[str, Mutant], limit_s: float) -> Iterator[Outcome]:
    """Run all tests of a clone with these mutants behind switches; yield what became of each."""
    out = clone.root.with_name("outcomes.jsonl")
    out.touch()
    asked = {"mutants": [*planted], "rooms": ROOM_TESTS, "cpu_s": limit_s, "out": str(out)}
    clone.root.with_name("asked.json").write_text(json.dumps(asked), "utf-8")
    command = [
        *PYTEST,
        "-p",
        "tests.support.switched",
        "-m",
        USUAL,
        f"--basetemp={clone.root.with_name('files')}",
        "tests",
    ]
    environment = clone.environment() | {ASKED: str(clone.root.with_name("asked.json"))}
    subprocess.run(command, cwd=clone.root, env=environment, stdout=subprocess.DEVNULL, check=False)
    found, passed, took_s = dict[str, str](), Counter[str](), defaultdict[str, float](float)
    for row in map(json.loads, out.read_text("utf-8").splitlines()):
        if number := row.get("mutant"):
            passed[number] += row["passed"]
            took_s[number] += row["cpu_s"]
            found |= {number: row["failed"]} if "failed" in row else {}
    for number, mutant in planted.items():
        lives = f"{passed[number]} tests that come there pass" if passed[number] else "no test comes there"
        yield Outcome(mutant, number in found, found.get(number, lives), took_s[number])


def judged_alone(folder: Path, planted: Sequence[Mutant], jobs: int, limit_s: float) -> Iterator[Outcome]:
    """Judge mutants one at a time, in so many clones at once; yield what became of each."""
    graph = ImportGraph(ROOT)
    reached = {mutant: plan(graph, [mutant.path], {mutant.path: [mutant.line]}).tests for mutant in planted}
    clones: SimpleQueue[Clone] = SimpleQueue()
    for number in range(jobs):
        clones.put(Clone(folder / f"clone-{number}"))

    def judge(mutant: Mutant) -> Outcome:
        clone = clones.get()
        try:
            return clone.judge(mutant, reached[mutant], limit_s)
        finally:
            clones.put(clone)

    with ThreadPoolExecutor(jobs) as threads:
        yield from threads.map(judge, planted)


def tell(outcomes: Iterator[Outcome]) -> None:
    """Print and keep outcomes."""
    for outcome in outcomes:
        state = "found" if outcome.is_found else "LIVES"
        print(f"{state} {outcome.took_s:.0f} s  {outcome.mutant.name}  {outcome.test}", flush=True)
        with KEPT.open("a", encoding="utf-8") as file:
            print(json.dumps([outcome.mutant.name, outcome.is_found, outcome.test]), file=file)


def kept(planted: Sequence[Mutant]) -> list[tuple[Mutant, bool, str]]:
    """Return what became of these mutants, by the newest run of each."""
    lines = map(json.loads, KEPT.read_text("utf-8").splitlines())
    newest = {name: (is_found, test) for name, is_found, test in lines}
    return [(mutant, *newest[mutant.name]) for mutant in planted if mutant.name in newest]


def write_table(outcomes: Sequence[tuple[Mutant, bool, str]], draw: str) -> None:
    """Write what became of the mutants to bench/results/mutants.md; what stands below its table stays."""
    n_found = sum(is_found for _, is_found, _ in outcomes)
    (commit,) = git(ROOT, "rev-parse", "--short", "HEAD")
    rows = [
        f"| `{mutant.path.removeprefix('src/')}:{mutant.line}` | {mutant.kind} | `{cell(mutant.before)}` "
        f"| `{cell(mutant.after)}` | {'found' if is_found else '**lives**'} | {cell(test)} |"
        for mutant, is_found, test in outcomes
    ]
    lines = [
        "# Mutants",
        "",
        f"{datetime.now(UTC).date()}, commit {commit}, {draw}: tests found {n_found} of {len(outcomes)} small faults,",
        "planted one at a time by `python -m tools.mutants`.",
        "",
        "| place | fault | before | after | | first test that failed, or what ran |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
    ]
    before = TABLE.read_text("utf-8") if TABLE.exists() else ""
    _, mark, below = before.partition(BELOW)
    TABLE.write_text("\n".join(lines) + "\n" + (f"\n{mark}{below}" if mark else ""), "utf-8")


def cell(text: str) -> str:
    """Return a text as it stands in a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
