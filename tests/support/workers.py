"""Workers that are forked from the process that has collected: what tests import is loaded once, not once in each.

The process at the terminal collects, forks the workers, and deals tests out: each worker takes a module whole, since
its tests share what they made, and where no module is left, half of what another one still has. A worker knows the next
test before it begins one, as pytest must to keep what both need. A worker that ends by itself fails the test that it
ran, and another one takes its place.
"""

from __future__ import annotations

import atexit
import os
import pickle
import signal
import sys
import threading
import traceback
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest

from tests.support import forks

COUNT: Final = "SHROFF_TEST_WORKERS"  # how many; without it a test runs where it was collected
IN_ORDER: Final = "SHROFF_TEST_IN_ORDER"  # set if modules run in the order in which the run names them
NAME: Final = "SHROFF_TEST_WORKER"  # of this process, if it is one
AHEAD: Final = 3  # tests that a worker has: the one that runs, the next one, and one that saves it from waiting
LAST: Final = 100  # tests: when no more are left none waits behind another that runs
FOLDERS_TOGETHER: Final = ("recovery",)  # its processes are forked from one that has the program loaded
MODULES_TOGETHER: Final = ("tests.architecture.sources",)  # the trees of all modules of the program
QUICK_AT_END: Final = 4  # one of so many modules without a slow test is kept for the end, which is then even


@dataclass(slots=True, eq=False)
class Worker:
    """A worker, as the process at the terminal sees it; tests are numbers."""

    name: str
    pid: int
    alive: int  # becomes readable when the process has ended
    connection: Connection
    queue: deque[int] = field(default_factory=deque)  # its module's, not sent yet
    sent: deque[int] = field(default_factory=deque)  # and not done; the first one runs
    is_ending: bool = False


class Workers:
    """The plugin: it runs the tests of a session in forked processes."""

    def __init__(self, count: int, folder: Path) -> None:
        self._folder = folder  # of forked commands
        self._names = [f"w{number}" for number in range(count)]
        self._running: list[Worker] = []
        self._modules: deque[list[int]] = deque()
        self._n_left = 0
        self._n_threads = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Load the program for commands while tests are collected."""
        if not session.config.option.collectonly:
            forks.begin_for(self._folder, self._names)
            forks.load_heavy()
        self._n_threads = n_threads()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Refuse modules that train or serve when they are imported: a fork has none of the threads that wait here.

        It would wait for them for ever.
        """
        was, self._n_threads = self._n_threads, n_threads()
        if self._n_threads > was:
            raise pytest.UsageError(f"{report.nodeid} starts threads when it is imported; do it in a fixture or a test")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        config = session.config
        if config.option.collectonly or (session.testsfailed and not config.option.continue_on_collection_errors):
            return None  # as without this plugin
        self._modules, self._n_left = deque(modules(session.items)), len(session.items)
        config._tmp_path_factory.getbasetemp()  # empties it
        try:
            for name in self._names[: len(self._modules)]:
                self._begin(session, name)
            while self._running:
                self._hear(session)
                if session.shouldfail:
                    raise session.Failed(session.shouldfail)
                if session.shouldstop:
                    raise session.Interrupted(session.shouldstop)
        finally:
            for worker in self._running:
                os.kill(worker.pid, signal.SIGTERM)
        if self._n_left:
            raise session.Failed(f"{self._n_left} tests were not run")
        return True

    def _begin(self, session: pytest.Session, name: str) -> None:
        ours, theirs = Pipe()
        pid = os.fork()  # the threads here are of libraries that wait for work
        if not pid:
            for other in self._running:
                other.connection.close()
                os.close(other.alive)
            ours.close()
            _work(session, theirs, self._folder / name)
        theirs.close()
        worker = Worker(name, pid, os.pidfd_open(pid), ours)
        self._running.append(worker)
        self._send(worker)

    def _send(self, worker: Worker) -> None:
        """Give a worker as many tests as it may have ahead."""
        ahead = AHEAD if self._n_left > LAST else AHEAD - 1
        numbers = []
        while len(worker.sent) + len(numbers) < ahead and (worker.queue or self._fill(worker)):
            numbers.append(worker.queue.popleft())
        worker.sent.extend(numbers)
        worker.is_ending = not worker.queue and not self._modules and len(worker.sent) < ahead
        if numbers or worker.is_ending:
            with suppress(BrokenPipeError):  # where it has ended this is heard next
                worker.connection.send((numbers, worker.is_ending))

    def _fill(self, worker: Worker) -> bool:
        if self._modules:
            worker.queue.extend(self._modules.popleft())
            return True
        richest = max(self._running, key=lambda other: len(other.queue))
        stolen = [richest.queue.pop() for _ in range((len(richest.queue) + 1) // 2)]
        worker.queue.extend(reversed(stolen))
        return bool(stolen)

    def _hear(self, session: pytest.Session) -> None:
        ready = wait([item for worker in self._running for item in (worker.connection, worker.alive)])
        for worker in list(self._running):
            if worker.connection in ready:
                try:
                    number, reports = pickle.loads(worker.connection.recv_bytes())
                except (EOFError, ConnectionResetError):
                    self._end(session, worker)
                else:
                    self._done(session, worker, number, reports)
            elif worker.alive in ready:
                self._end(session, worker)

    def _done(self, session: pytest.Session, worker: Worker, number: int, reports: list[dict[str, Any]]) -> None:
        item, hook = session.items[number], session.config.hook
        assert number == worker.sent.popleft()
        self._n_left -= 1
        if not worker.is_ending:
            self._send(worker)
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for data in reports:
            report = hook.pytest_report_from_serializable(config=session.config, data=data)
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def _end(self, session: pytest.Session, worker: Worker) -> None:
        """Take leave of a worker; where it has tests left it ended by itself, and another one goes on."""
        _, status = os.waitpid(worker.pid, 0)
        worker.connection.close()
        os.close(worker.alive)
        self._running.remove(worker)
        if not worker.sent and not worker.queue and status == 0:
            return
        if worker.sent:
            item = session.items[worker.sent.popleft()]
            self._n_left -= 1
            said = f"the worker that ran this test ended with status {os.waitstatus_to_exitcode(status)}"
            report = pytest.TestReport(item.nodeid, item.location, {}, "failed", said, "call")
            session.config.hook.pytest_runtest_logreport(report=report)
        else:
            session.shouldfail = session.shouldfail or f"a worker ended with status {os.waitstatus_to_exitcode(status)}"
        if left := [*worker.sent, *worker.queue]:
            self._modules.appendleft(left)
            self._begin(session, worker.name)


def n_threads() -> int:
    """Threads of this process, but those with a name of their own, as of memory allocators, which may be lost."""
    ours = Path("/proc/self/comm").read_text("ascii")
    return sum(path.read_text("ascii") == ours for path in Path("/proc/self/task").glob("*/comm"))


def modules(items: Sequence[pytest.Item]) -> Iterator[list[int]]:
    """The tests of each module, as numbers, in their order; some modules whose tests are all quick come last.

    So the workers end at nearly the same time. Modules that share what takes seconds to make are one, and begin.
    """
    found = [list(group) for _, group in groupby(range(len(items)), key=lambda number: items[number].path)]
    if IN_ORDER in os.environ:
        yield from found
        return
    together = dict[str, list[int]]()
    for group in found:
        if shared := made_once(items[group[0]]):
            together.setdefault(shared, []).extend(group)
    alone = [group for group in found if not made_once(items[group[0]])]
    quick = [group for group in alone if not any(items[number].get_closest_marker("slow") for number in group)]
    last = quick[::QUICK_AT_END]
    kept = {group[0] for group in last}
    rest = [group for group in alone if group[0] not in kept]
    is_begun = [group for group in rest if items[group[0]].get_closest_marker("first")]
    yield from is_begun
    yield from together.values()
    yield from (group for group in rest if group not in is_begun)
    yield from last


def made_once(item: pytest.Item) -> str:
    """What the module of a test shares with others that a worker makes once: half of some tests is nothing else."""
    if item.path.parent.name in FOLDERS_TOGETHER:
        return item.path.parent.name
    used = {getattr(value, "__module__", "") for value in vars(getattr(item, "module", None) or object).values()}
    return next((name for name in MODULES_TOGETHER if name in used), "")


class _Telling:
    """The plugin of a worker: it keeps the reports of a test, to send them together."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._reports: list[dict[str, Any]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        hook = self._config.hook
        self._reports.append(hook.pytest_report_to_serializable(config=self._config, report=report))

    def taken(self) -> list[dict[str, Any]]:
        found, self._reports = self._reports, []
        return found


def _work(session: pytest.Session, connection: Connection, folder: Path) -> NoReturn:
    """Run what is sent, in the forked process: never comes back."""
    status = 1
    try:
        _become(session.config, folder)
        telling = _Telling(session.config)
        session.config.pluginmanager.register(telling)
        for number, following in _sent(connection):
            item, nextitem = session.items[number], None if following is None else session.items[following]
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
            connection.send_bytes(pickle.dumps((number, telling.taken())))
        status = 0
        threading._shutdown()  # what an interpreter calls at its end
        atexit._run_exitfuncs()
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        pass  # the run has ended
    except BaseException:  # noqa: BLE001 - a worker must not go on as the process that it came from
        traceback.print_exc(file=sys.__stderr__)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _sent(connection: Connection) -> Iterator[tuple[int, int | None]]:
    """Each test with the one after it; waits for that one's number."""
    numbers: deque[int] = deque()
    is_ending = False
    while True:
        while not is_ending and (len(numbers) < 2 or connection.poll()):
            more, is_ending = connection.recv()
            numbers.extend(more)
        if not numbers:
            return
        yield numbers.popleft(), numbers[0] if numbers else None


def _become(config: pytest.Config, folder: Path) -> None:
    """Be a process of its own: its output, its folders, and its end are not those of the one it came from."""
    os.environ[NAME] = folder.name
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    forget_at_end()
    manager = config.pluginmanager
    manager.unregister(name="terminalreporter")
    if capture := manager.getplugin("capturemanager"):
        capture.stop_global_capturing()
        capture.start_global_capturing()
        capture.suspend_global_capture()
    factory = config._tmp_path_factory
    factory._basetemp = factory.getbasetemp() / folder.name
    factory._basetemp.mkdir(mode=0o700, exist_ok=True)
    forks.begin(folder, os.getppid())


def forget_at_end() -> None:
    """Leave what was to be done at the end of the process that this one came from, such as the removal of folders."""
    atexit._clear()
    weakref.finalize._registry.clear()
    weakref.finalize._registered_with_atexit = False
