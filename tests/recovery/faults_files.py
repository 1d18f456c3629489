"""The world of `shroff ingest FILE`: a file that grows, and is given again after every fault, from its first line."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .faults_embedded import DAY_MS, INTERRUPTED, STORAGE
from .faults_input import Line
from .faults_process import Stable
from .faults_strike import Fault
from .faults_world import World

DONE: Final = (0, 4)  # 4: some lines are in quarantine
AT_ONCE: Final = 150  # new lines of the file in each run


class FileWorld(World):
    """A worker that ends by itself when the file is in the log. Each line has one place, however often it is read."""

    def __init__(self, folder: Path, seed: str, stable: Stable, broken: str = "") -> None:
        super().__init__(folder, seed, stable, broken)
        self.file = folder / "events.jsonl"
        self.file.touch()
        self.command = ["ingest", str(self.file), "--order", "file"]  # some lines are too late on purpose
        self._n_written = self._n_settled = 0

    def begin(self) -> None:
        self.worker = self._started(self.command)

    def begin_settled(self) -> None:
        self.send(self.fresh(20))
        self.begin()
        self.settle()

    def begin_with_more(self) -> None:
        """Start it with new lines in the file, and some old ones again, between the others."""
        given = self.fresh(AT_ONCE)
        old = list(self.sent.lines.values())
        given += self.chance.sample(old, min(20, len(old)))
        self.chance.shuffle(given)
        self.send(given)
        self.begin()

    def ended(self) -> int | None:
        """How it ended before its time; None where it came to its end."""
        assert self.worker is not None
        status = self.worker.wait()
        return None if status in DONE else status

    def recover(self) -> float:
        began = time.monotonic()
        self.surroundings.heal()
        self.send(self.fresh(3))
        self.begin()
        self.settle()
        return time.monotonic() - began

    def settle(self) -> None:
        assert self.worker is not None
        status = self.worker.wait()
        assert status in DONE, f"the file was not taken though all was well: {status}\n{self.last_words()}"
        self._n_settled = self._n_written

    def is_settled(self) -> bool:
        return self._n_settled == self._n_written

    def n_settled(self) -> int:
        return self._n_settled

    def _deliver(self, given: Sequence[Line]) -> None:
        with self.file.open("ab") as file:
            for line in given:
                self._n_written += 1
                self.sent.deliveries.add((self.file.name, str(self._n_written), line.raw))
                file.write(line.raw)


def killed(world: FileWorld) -> None:
    _ended_by(world, signal.SIGKILL)


def interrupted(world: FileWorld) -> None:
    _ended_by(world, signal.SIGINT)


def terminated(world: FileWorld) -> None:
    _ended_by(world, signal.SIGTERM)


def _ended_by(world: FileWorld, number: int) -> None:
    """Once more with other lines, where it had come to its end before."""
    while True:
        world.begin_with_more()
        time.sleep(0.05 + world.chance.random() * 0.2)
        world.signal(number)
        if world.ended() is not None:
            return


def killed_at_a_step(world: FileWorld) -> None:
    world.surroundings.kill_at_step(world.chance.randrange(1, 40))
    while True:
        world.begin_with_more()
        if world.ended() is not None:
            return


def full_disk(world: FileWorld) -> None:
    world.surroundings.full(world.chance.randrange(200_000))
    while not world.surroundings.n_refused:
        world.begin_with_more()
        world.ended()


def failing_disk(world: FileWorld) -> None:
    """Where it fails when the log is closed, all was committed before."""
    world.surroundings.fail_sync(world.chance.randrange(1, 5))
    while not world.surroundings.n_failed:
        world.begin_with_more()
        world.ended()


def clock_jumps(world: FileWorld) -> None:
    """Ahead, and in the middle of it all far back."""
    world.surroundings.shift_clock(400 * DAY_MS)
    world.begin_with_more()
    time.sleep(0.1 + world.chance.random() * 0.1)
    world.surroundings.shift_clock(-400 * DAY_MS)


def given_twice_at_once(world: FileWorld) -> None:
    """Two processes with the same file: one does it, the other is refused, or comes when all is done."""
    world.begin_with_more()
    second = world.run(*world.command)
    assert world.worker is not None
    found = [world.worker.wait(), second.wait()]
    assert set(found) <= {*DONE, STORAGE}, f"two writers ended with {found}"
    if found[0] == STORAGE:
        world.worker = second


FAULTS: Final[Sequence[Fault]] = (
    Fault("file: kill -9 at any moment", killed, frozenset({-signal.SIGKILL})),
    Fault("file: kill -9 between two writes", killed_at_a_step, frozenset({-signal.SIGKILL})),
    Fault("file: SIGINT", interrupted, frozenset({INTERRUPTED})),
    Fault("file: SIGTERM", terminated, frozenset({-signal.SIGTERM})),
    Fault("file: full disk", full_disk, frozenset({STORAGE})),
    Fault("file: failing disk", failing_disk, frozenset({STORAGE}), may_go_on=True),
    Fault("file: clock jumps", clock_jumps),
    Fault("file: given twice at once", given_twice_at_once),
)
