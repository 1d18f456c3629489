"""A plugin of pytest that judges mutants behind switches (`tools/switches.py`), each in a fork that imports nothing.

A module of tests runs once without a mutant. Then each mutant whose place it came to is on while the tests run that
came there, the quickest first, until one fails. That test runs once more without the mutant: only if it passes the
mutant is found. A process that a test starts has the switch of the test in its environment.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support import workers

ASKED: Final = "SHROFF_MUTANTS_ASKED"  # the file that says which mutants are judged, and where outcomes are written
# The number of the mutant that is on. In a run without one, the file to which a process adds the mutants whose places
# it comes to, with the test that runs.
ON: Final = "SHROFF_MUTANT"
PASSED: Final = "SHROFF_MUTANTS_PASSED"
NONE: Final = "none"  # is on where nothing is, and no file is written
STEP: Final = re.compile(r" \((setup|call|teardown)\)$")  # behind a test's name
LAST: Final = (
    "contracts",
    "recovery",
    "docs",
    "examples",
    "journeys",
    "architecture",
)  # folders, as dear ones find few
MODULE_S: Final = 900  # of one module without a mutant
TRY_S: Final = 60  # of the tests of a mutant, and TIMES what they took without it
TIMES: Final = 10
RED_MAX: Final = 5  # tests of a module that fail with and without a mutant; then the next module is asked
LOOK_S: Final = 0.02


@dataclass(slots=True)
class Progress:
    """What the lines that a `Judge` wrote say so far.

    Args:
        modules: All modules of tests; empty before the first process has collected them.
        done: Modules that have run to their end; what an interrupted one wrote of mutants that live does not count.
        failed: The first test that failed with a mutant, by its number.
        passed: Tests that passed with a mutant, by its number.
        left_out: Tests that come to a mutant and did not run, since its processor time was over.
        spent_s: Processor time of a mutant.
    """

    modules: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    passed: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    spent_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    @classmethod
    def read(cls, out: Path) -> Progress:
        rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()] if out.exists() else []
        progress = cls()
        for row in rows:
            progress.modules.update(row.get("modules", ()))
            progress.done.update([row["module"]] if "module" in row else ())
        for row in rows:
            number = row.get("mutant")
            if number is None:
                continue
            if "failed" in row:
                progress.failed[number] = row["failed"]
            elif row["within"] not in progress.done:
                continue
            progress.passed[number] += row.get("passed", 0)
            progress.left_out[number] += row.get("left_out", 0)
            progress.spent_s[number] += row.get("cpu_s", 0.0)
        return progress


class Judge:
    """Mutants that are not found yet, and the processor time that each has cost.

    Args:
        mutants: Their numbers.
        rooms: Folders of tests that come first.
        cpu_s: Processor time after which no more tests of a mutant run.
        out: Where each outcome is added, as a line of JSON. What stands there is not run again.
        part: Which of the processes this is that share the modules of tests and `out`.
        parts: How many these are.
        until_s: Unix time after which no module of tests begins; 0 for no limit.
    """

    def __init__(
        self,
        *,
        mutants: Collection[str],
        rooms: Sequence[str],
        cpu_s: float,
        out: str,
        part: int = 0,
        parts: int = 1,
        until_s: float = 0,
    ) -> None:
        self._mutants = set(mutants)
        self._living = set(mutants)
        self._rooms = rooms
        self._cpu_s = cpu_s
        self._spent_s = dict[str, float]()
        self._out = Path(out)
        self._part = part
        self._parts = parts
        self._until_s = until_s

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        folder = session.config._tmp_path_factory.getbasetemp()
        modules = [(name, list(items)) for name, items in groupby(session.items, key=lambda item: item.location[0])]
        modules.sort(key=lambda module: self._place(module[0]))
        self._say(modules=[name for name, _ in modules])
        for number, (name, items) in enumerate(modules):
            progress = Progress.read(self._out)
            self._living = self._mutants - progress.failed.keys()
            self._spent_s = progress.spent_s
            if number % self._parts != self._part or name in progress.done or not self._living:
                continue
            if self._until_s and time.time() > self._until_s:
                break
            place = folder / str(number)
            place.mkdir()
            self._module(session.config, name, items, place)
            shutil.rmtree(place, ignore_errors=True)
        return True

    def _place(self, name: str) -> tuple[int, int, str]:
        folder = name.split("/")[1]
        near = self._rooms.index(folder) if folder in self._rooms else len(self._rooms)
        return near, LAST.index(folder) + 1 if folder in LAST else 0, name

    def _module(self, config: pytest.Config, name: str, items: list[pytest.Item], folder: Path) -> None:
        """Run the tests of a module, then each mutant whose place one of them came to."""
        passed = folder / "passed"
        rows, cpu_s = tried(config, items, {PASSED: str(passed)}, folder / "clean", MODULE_S, until_failure=False)
        took_s = {test: took_s for test, took_s, said in rows if not said}
        tests = defaultdict[str, set[str]](set)
        for line in passed.read_text("utf-8").splitlines() if passed.exists() else ():
            number, test, _ = line.split("\t")
            tests[number].add(STEP.sub("", test))
        for number in sorted(self._living & tests.keys(), key=int):
            mine = [item for item in items if item.nodeid in tests[number] and item.nodeid in took_s]
            if mine and self._spent_s[number] > self._cpu_s:
                self._say(mutant=number, within=name, left_out=len(mine))
            elif mine:
                mine.sort(key=lambda item: took_s[item.nodeid])
                limit_s = TRY_S + TIMES * sum(took_s[item.nodeid] for item in mine)
                row, spent_s = self._judged(config, number, mine, folder / number, limit_s)
                self._spent_s[number] += spent_s
                self._say(mutant=number, within=name, cpu_s=round(spent_s, 2), **row)
        self._say(module=name, passed=len(took_s), of=len(items), cpu_s=round(cpu_s, 2), living=len(self._living))

    def _judged(
        self, config: pytest.Config, number: str, items: list[pytest.Item], folder: Path, limit_s: float
    ) -> tuple[dict[str, object], float]:
        """Return the first test that fails with the mutant alone, if any, how many passed, and processor time."""
        folder.mkdir()
        n_passed, spent_s, red = 0, 0.0, list[str]()
        while items and len(red) < RED_MAX:
            rows, cpu_s = tried(config, items, {ON: number}, folder / f"on{len(red)}", limit_s)
            spent_s += cpu_s
            count = sum(not said for _, _, said in rows)
            n_passed += count
            if count == len(items):
                break
            said = rows[-1][2] if len(rows) > count else "it did not end"
            alone, _ = tried(config, [items[count]], {ON: NONE}, folder / f"off{len(red)}", limit_s)
            if alone and not alone[0][2]:
                self._living.discard(number)
                return {"failed": items[count].nodeid, "said": said, "passed": n_passed, "red": red}, spent_s
            red.append(items[count].nodeid)
            items = items[count + 1 :]
        return {"passed": n_passed, "red": red}, spent_s

    def _say(self, **row: object) -> None:
        with self._out.open("a", encoding="utf-8") as file:
            print(json.dumps(row), file=file)


Row = tuple[str, float, str]  # a test, its seconds, and what it said if it failed


def tried(
    config: pytest.Config,
    items: Sequence[pytest.Item],
    environment: dict[str, str],
    folder: Path,
    limit_s: float,
    *,
    until_failure: bool = True,
) -> tuple[list[Row], float]:
    """Run tests in a fork that is killed at its limit; return what became of them, and its processor time."""
    folder.mkdir()
    told = folder / "told"

    def run() -> None:
        become(config, folder)
        os.environ.update(environment)
        hearing = Hearing()
        config.pluginmanager.register(hearing)
        with told.open("w", encoding="utf-8") as file:
            for item, following in zip(items, [*items[1:], None], strict=True):
                hearing.took_s, hearing.said = 0.0, ""
                config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                print(json.dumps([item.nodeid, hearing.took_s, hearing.said]), file=file, flush=True)
                if hearing.said and until_failure:
                    break

    cpu_s = forked(run, limit_s)
    rows = [tuple(json.loads(line)) for line in told.read_text("utf-8").splitlines()] if told.exists() else []
    return rows, cpu_s


def forked(run: Callable[[], None], limit_s: float) -> float:
    """Call a function in a process of its own; return the processor time of that and of its children."""
    pid = os.fork()
    if not pid:
        try:
            os.setsid()
            run()
        except BaseException:  # noqa: BLE001 - a fork must not go on as the process that it came from
            traceback.print_exc()
        os._exit(0)
    until_s = time.monotonic() + limit_s
    ended, _, used = os.wait4(pid, os.WNOHANG)
    while not ended and time.monotonic() < until_s:
        time.sleep(LOOK_S)
        ended, _, used = os.wait4(pid, os.WNOHANG)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    if not ended:
        _, _, used = os.wait4(pid, 0)
    return used.ru_utime + used.ru_stime


def become(config: pytest.Config, folder: Path) -> None:
    """Be a process of its own, with its own folder and output."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    workers.forget_at_end()
    manager = config.pluginmanager
    manager.unregister(name="terminalreporter")
    if capture := manager.getplugin("capturemanager"):
        capture.stop_global_capturing()
        capture.start_global_capturing()
        capture.suspend_global_capture()
    config._tmp_path_factory._basetemp = folder


class Hearing:
    """The plugin of a fork: how long the test that runs took, and what it said if it failed."""

    took_s = 0.0
    said = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.took_s += report.duration
        if report.failed and not self.said:
            lines = [line for line in str(report.longrepr).splitlines() if line.startswith("E ")]
            self.said = " ".join([f"{report.when}:", *lines[:2]])


def pytest_configure(config: pytest.Config) -> None:
    """Judge what the environment names."""
    asked: dict[str, Any] = json.loads(Path(os.environ.pop(ASKED)).read_text("utf-8"))
    config.pluginmanager.register(Judge(**asked))
