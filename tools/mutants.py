"""Whether tests notice small faults: `python -m tools.mutants SEED` plants some and runs the tests that run them.

A seed draws places in the rooms of ROOMS, from each room in turn. All faults that a switch can choose are planted in
one clone (`tools/switches.py`); there each test runs once, and once more with each fault whose place it came to, until
one fails (`tests/support/switched.py`). So a fault that lives has passed every test that comes to its place, unless its
minutes were over. What is compiled or evaluated by an import is planted by itself in another clone, which runs the
tests that `tools.reach` names for its line, nearest first, until one fails or its minutes are over. A test counts only
if it passes without the fault.

Outcomes are kept in .pytest_cache/mutants, by commit and draw: a run that was stopped, or whose `--hours` were over,
goes on where it was when the same command runs again. When all are judged, the table is written to
bench/results/mutants.md; `--table` writes it before.

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
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from itertools import chain, repeat
from pathlib import Path
from queue import SimpleQueue
from typing import Final, NamedTuple

from tests.support.switched import ASKED, Progress
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
KEPT: Final = ROOT / ".pytest_cache" / "mutants"
SWITCHED: Final = "switched.jsonl"  # what each module of tests found of the mutants that have a switch
ALONE: Final = "alone.jsonl"  # outcomes of the others
TABLE: Final = ROOT / "bench" / "results" / "mutants.md"
# Folders of tests that come first: those of the rooms, and of what begins most of their code.
ROOM_TESTS: Final = (*(Path(room).name for room in ROOMS), "laws", "services", "explain", "web")
PYTEST: Final = (".venv/bin/python", "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider")
BATCHES: Final = (3, 5, 8, 20)  # files of tests in the first runs of a mutant; each later run has as many as the last
USUAL: Final = "not server and not long"  # those take longer than a mutant is worth
BELOW: Final = "## "  # what begins with it in the table's file was written by hand
MINUTE_S: Final = 60
HOUR_S: Final = 3600
FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)


class Outcome(NamedTuple):
    """What became of a mutant."""

    mutant: Mutant
    is_found: bool
    test: str  # the first that failed, or how far the run came
    took_s: float
    is_judged: bool = True  # it is found, or all tests that come to it passed

    @property
    def state(self) -> str:
        return "found" if self.is_found else "**lives**" if self.is_judged else "**not judged**"


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
        for kernel in chain((ROOT / "src").rglob("*.kernel"), (ROOT / "src").rglob("*.nb[ci]")):
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
                    return Outcome(mutant, is_found=True, test=failed, took_s=took_s)
                # It fails without the mutant, too: go on with the files after its own.
                index = batch.index(failed.partition("::")[0])
                n_passed += index
                if after := batch[index + 1 :]:
                    waiting.appendleft(after)
            elif not is_over:
                n_passed += len(batch)
        far = f"{n_passed} of {len(tests)} files of tests pass"
        return Outcome(mutant, is_found=False, test=far, took_s=time.monotonic() - began_s, is_judged=not is_over)

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
    parser.add_argument("--hours", type=float, default=0, help="of this run; then the same command goes on [no limit]")
    parser.add_argument("--jobs", type=int, default=2, help="processes that judge at the same time")
    parser.add_argument("--only", action="append", default=[], help="PATH:LINE instead of what the seed draws")
    parser.add_argument("--list", action="store_true", help="plant nothing")
    parser.add_argument("--table", action="store_true", help="plant nothing, and write what became of the mutants")
    parser.add_argument("--marks", default=USUAL, help=f"tests that run with mutants that have a switch [{USUAL}]")
    parser.add_argument("paths", nargs="*", default=["tests"], help="folders or files of tests, as for a trial [all]")
    asked = parser.parse_intermixed_args()
    planted = drawn(ROOT, asked.seed, asked.skip + asked.count)[asked.skip :]
    if asked.only:
        planted = [mutant for place in asked.only for mutant in at_line(ROOT, place)]
    if asked.list:
        print(*(mutant.name for mutant in planted), sep="\n")
        return 0
    until_s = time.time() + asked.hours * HOUR_S if asked.hours else 0.0
    (commit,) = git(ROOT, "rev-parse", "--short", "HEAD")
    draw = Draw(planted, KEPT / f"{commit}-{name_of(asked.seed, planted)}", tests=asked.paths, marks=asked.marks)
    if not asked.table:
        draw.judge(asked.jobs, asked.minutes * MINUTE_S, until_s)
    outcomes = draw.outcomes()
    print(*(f"{outcome.state} {outcome.mutant.name}  {outcome.test}" for outcome in outcomes), sep="\n")
    n_open = sum(not outcome.is_judged for outcome in outcomes)
    if n_open and not asked.table:
        print(f"{n_open} of {len(outcomes)} are not judged; the same command goes on, and --table writes the others")
    elif not asked.only:
        write_table(outcomes, f"seed {asked.seed}")
    return 0


def name_of(seed: int, planted: Sequence[Mutant]) -> str:
    """Return a name for a draw: other mutants of one seed have another."""
    return f"{seed}-{sha256(repr(planted).encode()).hexdigest()[:8]}"


def at_line(root: Path, place: str) -> list[Mutant]:
    """Return all faults that can be planted in a line."""
    path, _, line = place.rpartition(":")
    return [mutant for mutant in mutants(path, (root / path).read_text("utf-8")) if mutant.line == int(line)]


class Draw:
    """Mutants that are judged together, and what became of them so far.

    Args:
        planted: The mutants.
        folder: Where outcomes are kept, so that a run that was stopped goes on.
        tests: Folders or files of tests that run with the mutants that have a switch.
        marks: Which of these tests, in pytest's words.
    """

    def __init__(
        self, planted: Sequence[Mutant], folder: Path, *, tests: Sequence[str] = ("tests",), marks: str = USUAL
    ) -> None:
        self.numbered = {str(number): mutant for number, mutant in enumerate(dict.fromkeys(planted))}
        self._folder = folder
        self._tests = tests
        self._marks = marks
        folder.mkdir(parents=True, exist_ok=True)

    def judge(self, jobs: int, limit_s: float, until_s: float = 0) -> None:
        """Judge the mutants of which it is not known yet what becomes of them, until a Unix time; 0: without end."""
        with tempfile.TemporaryDirectory(prefix="shroff-mutants-") as folder:
            together = Clone(Path(folder) / "together")
            switched = plant(together.root, self.numbered)
            print(f"{len(switched)} of {len(self.numbered)} mutants have a switch; {self._folder}", flush=True)
            self.judge_together(together, switched, jobs, limit_s, until_s)
            known = {outcome.mutant for outcome in self._alone() if outcome.is_judged}
            alone = [self.numbered[number] for number in self.numbered.keys() - switched]
            self._judge_alone(Path(folder), [mutant for mutant in alone if mutant not in known], jobs, limit_s, until_s)

    def judge_together(
        self, clone: Clone, numbers: Sequence[str], jobs: int = 1, limit_s: float = MINUTE_S, until_s: float = 0
    ) -> None:
        """Run the tests of a clone with these mutants behind switches, in so many processes."""
        out = (self._folder / SWITCHED).resolve()
        known = Progress.read(out)
        if not numbers or not set(numbers) - known.failed.keys() or (known.modules and known.modules <= known.done):
            return
        processes = []
        for part in range(jobs):
            asked = {"mutants": list(numbers), "rooms": ROOM_TESTS, "cpu_s": limit_s, "out": str(out)}
            asked |= {"part": part, "parts": jobs, "until_s": until_s}
            file = clone.root.with_name(f"asked-{part}.json")
            file.write_text(json.dumps(asked), "utf-8")
            files = clone.root.with_name(f"files-{part}")
            command = [*PYTEST, "-p", "tests.support.switched", "-m", self._marks, f"--basetemp={files}", *self._tests]
            with (self._folder / f"said-{part}.txt").open("a", encoding="utf-8") as said:
                processes.append(
                    subprocess.Popen(
                        command,
                        cwd=clone.root,
                        env=clone.environment() | {ASKED: str(file)},
                        stdout=said,
                        stderr=said,
                        start_new_session=True,
                    )
                )
        try:
            for process in processes:
                process.wait()
        finally:
            for process in processes:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def _judge_alone(self, folder: Path, planted: Sequence[Mutant], jobs: int, limit_s: float, until_s: float) -> None:
        """Judge mutants one at a time, in so many clones at once; keep what became of each."""
        if not planted:
            return
        graph = ImportGraph(ROOT)
        reached = {mutant: plan(graph, [mutant.path], {mutant.path: [mutant.line]}).tests for mutant in planted}
        clones: SimpleQueue[Clone] = SimpleQueue()
        for number in range(jobs):
            clones.put(Clone(folder / f"clone-{number}"))

        def judge(mutant: Mutant) -> Outcome | None:
            left_s = until_s - time.time() if until_s else limit_s
            if left_s <= 0:
                return None
            clone = clones.get()
            try:
                return clone.judge(mutant, reached[mutant], min(limit_s, left_s))
            finally:
                clones.put(clone)

        with ThreadPoolExecutor(jobs) as threads, (self._folder / ALONE).open("a", encoding="utf-8") as file:
            for outcome in filter(None, threads.map(judge, planted)):
                print(f"{outcome.state} {outcome.took_s:.0f} s  {outcome.mutant.name}", flush=True)
                print(json.dumps([outcome.mutant.name, *outcome[1:]]), file=file, flush=True)

    def outcomes(self) -> list[Outcome]:
        """Return what is known of each mutant."""
        alone = {outcome.mutant: outcome for outcome in self._alone()}
        progress = Progress.read(self._folder / SWITCHED)
        n_left = len(progress.modules - progress.done) if progress.modules else None
        return [
            alone.get(mutant) or switched(mutant, number, progress, n_left) for number, mutant in self.numbered.items()
        ]

    def _alone(self) -> list[Outcome]:
        """Return the newest outcome of each mutant without a switch."""
        file = self._folder / ALONE
        lines = map(json.loads, file.read_text("utf-8").splitlines()) if file.exists() else ()
        newest = {name: rest for name, *rest in lines}
        return [Outcome(mutant, *newest[mutant.name]) for mutant in self.numbered.values() if mutant.name in newest]


def switched(mutant: Mutant, number: str, progress: Progress, n_left: int | None) -> Outcome:
    """Return what became of a mutant behind a switch; `n_left` modules of tests are still to run, None for all."""
    took_s = progress.spent_s[number]
    if number in progress.failed:
        return Outcome(mutant, is_found=True, test=progress.failed[number], took_s=took_s)
    count = progress.passed[number]
    lives = f"{count} tests that come there pass" if count else "no test comes there"
    left_out = progress.left_out[number]
    is_judged = n_left == 0 and not left_out
    if n_left is None:
        lives = "no test has run"
    elif not is_judged:
        lives += f"; {n_left} modules of tests have not run, {left_out} tests that come there were left out"
    return Outcome(mutant, is_found=False, test=lives, took_s=took_s, is_judged=is_judged)


def write_table(outcomes: Sequence[Outcome], draw: str) -> None:
    """Write what became of the mutants to bench/results/mutants.md; what stands below its table stays."""
    n_found = sum(outcome.is_found for outcome in outcomes)
    n_open = sum(not outcome.is_judged for outcome in outcomes)
    (commit,) = git(ROOT, "rev-parse", "--short", "HEAD")
    rows = [
        f"| `{mutant.path.removeprefix('src/')}:{mutant.line}` | {mutant.kind} | `{cell(mutant.before)}` "
        f"| `{cell(mutant.after)}` | {outcome.state} | {cell(outcome.test)} |"
        for outcome in outcomes
        for mutant in [outcome.mutant]
    ]
    lines = [
        "# Mutants",
        "",
        f"{datetime.now(UTC).date()}, commit {commit}, {draw}: tests found {n_found} of {len(outcomes)} small faults,",
        f"planted by `python -m tools.mutants`; {n_open} were not judged.",
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
