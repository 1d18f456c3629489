"""`shroff run` of a project with several lanes: a process for each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final

from shroff.cli.ingest import QUARANTINED
from shroff.cli.session import Session, many, table

if TYPE_CHECKING:
    from types import FrameType

WELL: Final = (0, QUARANTINED)
KILLED: Final = 3  # the status where a worker had no time for one of its own
SUMMED: Final = ("read", "decisions", "quarantined")
LOOK_S: Final = 0.2


def run_lanes(session: Session, options: Sequence[str]) -> int:
    """Start a worker for each lane, and wait until all have ended; gives the worst of their statuses.

    One that ends by itself is told of, and the others go on. Ctrl-C and SIGTERM are passed on; and where this process
    is killed, the workers end as well.
    """
    if not session.project.opened.has_log():
        session.project.opened.checked()  # mistakes are told once
    folder = str(session.project.opened.places.folder)
    program = (sys.executable, "-m", "shroff", "-C", folder)
    pipe = Pipe()
    options = [*options, "--ends-with", str(pipe.inherited)]
    workers = [
        subprocess.Popen(  # noqa: S603 - this program, with its own options
            [*program, "--lane", str(lane), "run", "--json", *options],
            stdout=subprocess.PIPE,
            start_new_session=True,  # so that Ctrl-C comes to it once, from here
            pass_fds=[pipe.inherited],
        )
        for lane in range(session.project.lanes.count)
    ]
    with closing(pipe), _passed_on(workers):
        documents = _ended(session, workers)
    statuses = [worker.returncode for worker in workers]
    sums = {name: sum(document.get(name, 0) for document in documents) for name in SUMMED}
    offsets = {part: at for document in documents for part, at in document.get("offset", {}).items()}
    rows = [
        (f"lane {lane}", status, *(one.get(name, "") for name in SUMMED))
        for lane, (status, one) in enumerate(zip(statuses, documents, strict=True))
    ]
    text = f"{many(sums['read'], 'event')} read in {len(workers)} lanes.\n"
    session.answer(
        {
            **sums,
            "offset": offsets,
            "lanes": [{"status": at, **one} for at, one in zip(statuses, documents, strict=True)],
        },
        text + table(rows, ("", "status", *SUMMED)),
    )
    session.next("shroff lanes show")
    wrong = [one for one in statuses if one not in WELL]
    return max(one if one > 0 else KILLED for one in wrong) if wrong else max(statuses)


def _ended(session: Session, workers: Sequence[subprocess.Popen[bytes]]) -> list[dict[str, Any]]:
    """What each worker told at its end, those told of that ended badly."""
    documents: list[dict[str, Any]] = [{} for _ in workers]
    waiting = dict(enumerate(workers))
    while waiting:
        for lane, worker in list(waiting.items()):
            try:
                out, _ = worker.communicate(timeout=LOOK_S)
            except subprocess.TimeoutExpired:
                continue
            del waiting[lane]
            documents[lane] = json.loads(out) if worker.returncode in WELL and out else {}
            if worker.returncode not in WELL:
                rest = "; the others continue" if waiting else ""
                session.say(f"shroff: the worker of lane {lane} ended with {worker.returncode}{rest}")
    return documents


@contextmanager
def _passed_on(workers: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Ctrl-C and SIGTERM go to all workers; whatever else ends this ends them."""

    def pass_on(_signal: int, _frame: FrameType | None) -> None:
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)

    before = {one: signal.signal(one, pass_on) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        for worker in workers:
            if worker.poll() is None:
                worker.terminate()


# ---- processes that end when the one that started them is gone, however that one ended: also by SIGKILL
#
# The one that starts has a pipe that nobody else writes to; where it ends, the system closes the pipe.


END_WITHIN_S: Final = 30.0  # for what was begun to be finished; what is not then will not be


class Pipe:
    """Held by the process that starts others: they are given `inherited`, to be told of its end."""

    def __init__(self) -> None:
        self.inherited, self._held = os.pipe()  # neither goes to a process that is not given it by name

    def close(self) -> None:
        """Let all end that were given it."""
        os.close(self.inherited)
        os.close(self._held)


def end_with(inherited: int) -> None:
    """Have this process stopped as by SIGTERM when the process that holds the other end of this pipe is gone."""
    threading.Thread(target=_watch, args=(inherited,), name="belonging", daemon=True).start()


def _watch(inherited: int) -> None:
    while os.read(inherited, 1):
        pass  # nobody writes; what comes all the same says that somebody is there
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(END_WITHIN_S)
    os.kill(os.getpid(), signal.SIGKILL)
