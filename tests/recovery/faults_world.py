"""A small world around the program: a project, a worker as its user starts it, a sender, a disk and a clock.

Whoever sends sends again until it has an answer. A fault strikes while lines flow; then all is well again, the worker
is started where it is gone, and everything must be settled.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import Final

from shroff.services import project as app
from tests.support.effort import IS_LONG
from tools.servers.surroundings import Surroundings

from .faults_check import Delivery, Found, Sent, Twin, look, verified
from .faults_input import Line, lines
from .faults_process import Process, Stable, started_as_users_do
from .harness import make_project

SETTLED_WITHIN_S: Final = 120.0
HEARD_WITHIN_S: Final = 120.0
ENDING: Final = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
EVENTS: Final = 20_000  # that a world could have; it stops long before
COMPUTED_AGAIN_EVERY: Final = 5  # faults, by all engines; in a campaign after each other one by the engine that decided
ENGINES: Final = ("online", "batch", "naive")


class World(ABC):
    """What faults strike at. `chance` is the world's own, so that a seed gives the same faults again."""

    # In shroff.yaml of the world and its twin. What a clock that is far back refuses would be taken when it is sent
    # again: here nothing is too early.
    settings = "ahead: off\n"

    def __init__(self, folder: Path, seed: str, stable: Stable, broken: str = "") -> None:
        self.folder, self.seed, self.stable, self.broken = folder, seed, stable, broken
        self.chance = Random(seed)
        folder.mkdir(parents=True)
        self.place, undisturbed = make_project(folder / "bank"), make_project(folder / "undisturbed")
        for place, written in ((self.place, self.settings + self.systems()), (undisturbed, self.settings)):
            with (place / "shroff.yaml").open("a", encoding="utf-8") as file:
                file.write(written)
        self.project = app.open(self.place)
        self.surroundings = Surroundings(self.place)
        self.twin = Twin(undisturbed)
        self.sent = Sent()
        self.worker: Process | None = None
        self.n_looks = 0
        self.errors = folder / "worker.log"
        self.env: dict[str, str] = {}  # of its processes, beside ours
        self._heard_bytes = 0
        self._lines = lines(EVENTS, self.chance.randrange(1 << 30))

    def systems(self) -> str:
        """Where the project's source and store are, as shroff.yaml has it."""
        return ""

    @property
    def log(self) -> Path:
        return self.project.context.paths.log

    # ---- the sender

    def fresh(self, count: int) -> list[Line]:
        """The next lines that nobody sent yet."""
        return list(islice(self._lines, count))

    def flow(self, count: int) -> None:
        """Send lines in small pieces with small pauses, so that there are many commits; no longer than it runs."""
        while count > 0 and self.is_running:
            piece = self.chance.randrange(1, 7)
            self.send(self.fresh(piece))
            count -= piece
            time.sleep(self.chance.random() * 0.004)

    def flow_until_it_ends(self) -> None:
        """Send lines until the worker is gone. Raises: AssertionError where it stays.

        It is waited for now and then: a worker that falls behind makes large commits, and no small ones.
        """
        until = time.monotonic() + SETTLED_WITHIN_S
        while self.is_running:
            assert time.monotonic() < until, f"the worker went on for {SETTLED_WITHIN_S} s"
            if self.is_settled():
                self.flow(20)
            time.sleep(0.001)

    def send(self, given: Sequence[Line]) -> None:
        """Send lines, for the first time or again."""
        self.sent.lines |= {line.number: line for line in given}
        self._deliver(given)

    @abstractmethod
    def _deliver(self, given: Sequence[Line]) -> None:
        """Hand lines over, as far as somebody takes them."""

    # ---- the worker

    @property
    def is_running(self) -> bool:
        return self.worker is not None and self.worker.is_running

    def ended(self) -> int | None:
        """How the worker ended; None while it runs."""
        return None if self.worker is None or self.is_running else self.worker.status

    @abstractmethod
    def begin(self) -> None:
        """Start the worker, and send again what is not settled."""

    def begin_settled(self) -> None:
        """Start the worker for the first time, and let it take some lines."""
        self.begin()
        self.flow(20)
        self.settle()

    @abstractmethod
    def is_settled(self) -> bool:
        """Whether all that was sent has its answer."""

    @abstractmethod
    def n_settled(self) -> int:
        """How much has."""

    def run(self, *command: str) -> Process:
        """Start another command on the project, beside the worker."""
        given = ["-C", str(self.place), *command]
        return self.stable.start(given, self.surroundings, stderr=self.errors, env=self.env)

    def _started(self, command: Sequence[str], stdin: int = -1, stdout: int = -1) -> Process:
        """The worker: once in a while as a user starts it, mostly in a tenth of that time."""
        given = ["-C", str(self.place), *command]
        if not self.broken and self.chance.random() < 0.03:
            return started_as_users_do(
                given, self.surroundings, stdin=stdin, stdout=stdout, stderr=self.errors, env=self.env
            )
        return self.stable.start(
            given,
            self.surroundings,
            stdin=stdin,
            stdout=stdout,
            stderr=self.errors,
            broken=self.broken or "small_frames",
            env=self.env,
        )

    def signal(self, number: int) -> None:
        """Send the worker a signal. One that ends it has ended it when this returns."""
        assert self.worker is not None
        if number == signal.SIGINT:
            self.worker.begin()
        self.worker.signal(number)
        if number in ENDING:
            self.worker.wait()

    def restart(self) -> None:
        """Kill the worker, and start it again."""
        if self.is_running:
            self.signal(signal.SIGKILL)
        self.begin()

    def hears(self, words: str, within_s: float = HEARD_WITHIN_S) -> None:
        """Wait until a process of this world has said so to people since the last look."""
        until = time.monotonic() + within_s
        while words not in self.last_words():
            assert time.monotonic() < until, f"nobody said {words!r}, but:\n{self.last_words()}"
            time.sleep(0.01)

    # ---- after a fault

    def recover(self) -> float:
        """All is well again: give the seconds until something new is settled."""
        began = time.monotonic()
        self.surroundings.heal()
        if not self.is_running:
            self.begin()
        before = self.n_settled()
        self.send(self.fresh(3))
        self._wait(lambda: self.n_settled() > before)
        return time.monotonic() - began

    def settle(self) -> None:
        """Wait until everything is."""
        self._wait(self.is_settled)

    def _wait(self, is_met: Callable[[], bool]) -> None:
        until = time.monotonic() + SETTLED_WITHIN_S
        while not is_met():
            if not self.is_running:
                status = None if self.worker is None else self.worker.status
                raise AssertionError(f"the worker ended with {status} though all was well:\n{self.last_words()}")
            assert time.monotonic() < until, f"nothing came for {SETTLED_WITHIN_S} s:\n{self.last_words()}"
            time.sleep(0.001)

    def last_words(self) -> str:
        """What processes of this world said to people since the last look."""
        if not self.errors.exists():
            return ""
        with self.errors.open("rb") as said:
            said.seek(self._heard_bytes)
            return said.read().decode("utf-8", "replace")

    def look(self) -> Found:
        """Everything that is not as it must be. All must be settled."""
        with self.project.log.reading() as log, self.project.notice_files.told() as notices:
            found = look(log, notices, self.sent, self.twin)
        self.n_looks += 1
        # After each fault the twin decided all again: what its engine gave is compared with the log above.
        if engines := ENGINES if self.n_looks % COMPUTED_AGAIN_EVERY == 0 else ENGINES[:IS_LONG]:
            verified(self.project, found, engines, 50)
        if "Traceback" in (words := self.last_words()):
            found.wrong.append(words)
        self._heard_bytes = self.errors.stat().st_size if self.errors.exists() else 0
        return found

    def close(self) -> None:
        """End what runs. The folder stays."""
        if self.worker is not None:
            self.worker.kill()
        self.twin.close()
        self.surroundings.close()


class PipeWorld(World):
    """`shroff decide -`, fed by a pipe: each line is answered in turn, once it is durable."""

    def __init__(self, folder: Path, seed: str, stable: Stable, broken: str = "") -> None:
        super().__init__(folder, seed, stable, broken)
        self.in_flight: deque[tuple[Line, Delivery]] = deque()
        self._n_answered = 0
        self._n_delivered = 0  # to this worker
        self._stdin = -1
        self._reader: threading.Thread | None = None
        self._reads_on = -1

    def begin(self) -> None:
        self.hang_up()
        again = [line for line, _ in self.in_flight]
        self.in_flight.clear()
        self._n_delivered = 0
        theirs, self._stdin = os.pipe()
        answers, out = os.pipe()
        self.worker = self._started(["decide", "-"], theirs, out)
        os.close(theirs)
        os.close(out)
        stop, self._reads_on = os.pipe()
        self._reader = threading.Thread(target=self._read, args=(answers, stop), daemon=True)
        self._reader.start()
        self._deliver(again)

    def hang_up(self, *, half: bytes = b"") -> int | None:
        """Close the pipe, after half a line; gives how the worker ended, None where none was."""
        if self._stdin >= 0:
            if half:
                self._n_delivered += 1
                self.sent.deliveries.add(("-", str(self._n_delivered), half))
                with contextlib.suppress(BrokenPipeError):
                    os.write(self._stdin, half)
            os.close(self._stdin)
            self._stdin = -1
        status = None if self.worker is None else self.worker.wait()
        if self._reader is not None:
            self._reader.join()
        if self._reads_on >= 0:
            os.close(self._reads_on)
            self._reads_on = -1
        return status

    def is_settled(self) -> bool:
        return not self.in_flight

    def n_settled(self) -> int:
        return self._n_answered

    def _deliver(self, given: Sequence[Line]) -> None:
        for line in given:
            self._n_delivered += 1
            delivery = ("-", str(self._n_delivered), line.raw)
            self.sent.deliveries.add(delivery)
            self.in_flight.append((line, delivery))
            with contextlib.suppress(BrokenPipeError):
                os.write(self._stdin, line.raw)

    def stop_reading(self) -> None:
        """Close the other pipe: whoever writes an answer is told that nobody reads it."""
        os.close(self._reads_on)
        self._reads_on = -1
        if self._reader is not None:
            self._reader.join()

    def _read(self, answers: int, stop: int) -> None:
        """Take answers until there are none any more, or nobody wants them."""
        rest = b""
        while answers in select.select([answers, stop], [], [])[0] and (data := os.read(answers, 1 << 16)):
            *whole, rest = (rest + data).split(b"\n")
            for answer in whole:
                if self.in_flight:  # else it is the answer to half a line
                    line, delivery = self.in_flight.popleft()
                    self.sent.answered(line, delivery, answer)
                    self._n_answered += 1
        os.close(answers)
        os.close(stop)
