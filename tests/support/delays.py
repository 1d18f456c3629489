"""Delays where threads and processes hand over, by chance: what a busy machine does now and then, here at once.

Off by default. With `SHROFF_TEST_DELAYS=SEED` each hand-over in `PLACES`, and each start of a thread, a task of an
executor and a signal between threads, waits half of the time: up to 20 ms, and seldom 200. A test that passes only
because somebody else was quick enough fails then. With an even seed the thread that runs the tests never waits: all
that it asks for is late. A process with no thread beside the first hands nothing over, and waits for nothing. The seed
gives the drawings of each process; who draws next is up to the machine.
"""

from __future__ import annotations

import importlib
import os
import random
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from queue import SimpleQueue
from typing import Any, Final

ASKED: Final = "SHROFF_TEST_DELAYS"
SHARE: Final = 0.5  # of hand-overs that wait at all
SELDOM: Final = 0.02  # of those, the share that waits for long
SHORT_S_MAX: Final = 0.02
LONG_S: Final = 0.2
TURN_S: Final = 1e-5
PLACES: Final = (  # waited for before and after
    "shroff.adapters.log.postgresql:PostgresLog.append",
    "shroff.adapters.log.sqlite:SqliteLog.append",
    "shroff.services.jobs.desk:JobDesk.claim",
    "shroff.services.jobs.desk:JobDesk.end",
    "shroff.services.jobs.desk:JobDesk.renew",
    "shroff.cases.alert_consumer:AlertConsumer.step",
    "shroff.cases.alert_rules:RecentDecisions.take",
    "shroff.log.writer:Writer.commit",
    "shroff.runtime.traces:batch",
    "shroff.streams.sink_cursor:Courier.moved",
    "shroff.streams.sink_cursor:Courier.recorded",
    "shroff.streams.sink_cursor:Courier.step",
    "shroff.web.work.store_changes:StoreChanges._take_steps",
    "shroff.web.work.writer_client:WriterClient._answered",
    "shroff.worker.inbox_server:InboxServer.serve",
    "shroff.worker.ingest:IngestReport.add",
    "shroff.worker.request_queue:RequestQueue.answer",
    "shroff.worker.serving.counts:BatchTally.add",
    "shroff.worker.serving.counts:Latencies.add",
)
QUEUES: Final = ("shroff.worker.request_queue", "shroff.worker.writer_tasks")  # modules with a SimpleQueue

_sleep: Final = time.sleep  # tests put others in its place
_chance: Final = random.Random()
_own: Final = [1]  # threads of a process in which nobody waits for anybody
_spared: Final = set[int]()  # threads that never wait


def begin(patch: Callable[[object, str, object], None] = setattr) -> None:
    """Delay hand-overs of this process and of those forked from it, where the environment asks for that."""
    seed = os.environ.get(ASKED)
    if not seed:
        return
    _own[0] = threading.active_count()  # pytest-xdist has one more
    _spared.update([] if int(seed) % 2 else [threading.get_ident()])
    _chance.seed(seed)
    os.register_at_fork(after_in_child=lambda: _forked(seed))
    sys.setswitchinterval(TURN_S)
    patch(threading.Thread, "start", _started_late(threading.Thread.start))
    patch(ThreadPoolExecutor, "submit", _submitted_late(ThreadPoolExecutor.submit))
    patch(threading.Event, "set", late(threading.Event.set))
    patch(subprocess.Popen, "__init__", late(subprocess.Popen.__init__))
    patch(socketserver._SocketWriter, "write", late(socketserver._SocketWriter.write))
    for module in map(importlib.import_module, QUEUES):
        patch(module, "SimpleQueue", LateQueue)
    for place in PLACES:
        name, _, path = place.partition(":")
        owner: Any = importlib.import_module(name)
        *within, last = path.split(".")
        for part in within:
            owner = getattr(owner, part)
        patch(owner, last, late(getattr(owner, last)))


def _forked(seed: str) -> None:
    _own[0] = 1
    _spared.clear()
    _chance.seed(f"{seed} {os.getpid()}")


def wait() -> None:
    """Wait as chance has it: mostly not or briefly, seldom for long."""
    if threading.active_count() <= _own[0] or threading.get_ident() in _spared:
        return
    if _chance.random() < SHARE:
        _sleep(LONG_S if _chance.random() < SELDOM else _chance.uniform(0.0, SHORT_S_MAX))


def late(call: Callable[..., Any]) -> Callable[..., Any]:
    """The same call, with a wait before and behind it, also where it raises."""

    @wraps(call)
    def waiting(*given: Any, **named: Any) -> Any:
        wait()
        try:
            return call(*given, **named)
        finally:
            wait()

    return waiting


class LateQueue(SimpleQueue[Any]):
    """A queue that gives late what was put into it."""

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        wait()
        super().put(item, block, timeout)


def _started_late(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    @wraps(start)
    def starting(self: threading.Thread) -> None:
        self.run = late(self.run)
        start(self)
        wait()

    return starting


def _submitted_late(submit: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(submit)
    def submitting(self: ThreadPoolExecutor, call: Callable[..., Any], /, *given: Any, **named: Any) -> Any:
        return submit(self, late(call), *given, **named)

    return submitting
