"""The faults that strike the program where it needs no server: its process, input, disk, clock and files."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Final

import msgspec

from .faults_strike import Fault
from .faults_world import PipeWorld

DAY_MS: Final = 86_400_000
STORAGE: Final = 3  # the exit status where the disk or the log cannot be had
INTERRUPTED: Final = 130
NOBODY_READS: Final = 141
HALF: Final = b'{"payment": {"payment_id": "half'


def after(world: PipeWorld, longest_s: float) -> None:
    """Let some lines flow and then some time go by, each as chance has it."""
    world.flow(world.chance.randrange(10, 50))
    time.sleep(world.chance.random() * longest_s)


# ---- the process


def killed(world: PipeWorld) -> None:
    after(world, 0.01)
    world.signal(signal.SIGKILL)


def killed_by_itself(world: PipeWorld) -> None:
    """Lines flow until it is gone: for a program that was broken so that it kills itself between two commits."""
    world.flow_until_it_ends()


def killed_at_a_step(world: PipeWorld) -> None:
    world.surroundings.kill_at_step(world.chance.randrange(1, 120))
    world.flow_until_it_ends()


def killed_while_it_starts(world: PipeWorld) -> None:
    after(world, 0.01)
    world.signal(signal.SIGKILL)
    for _ in range(2):
        world.begin()
        time.sleep(world.chance.random() * 0.2)
        world.signal(signal.SIGKILL)


def terminated(world: PipeWorld) -> None:
    after(world, 0.01)
    world.signal(signal.SIGTERM)


def interrupted(world: PipeWorld) -> None:
    after(world, 0.01)
    world.signal(signal.SIGINT)


def frozen(world: PipeWorld) -> None:
    """Stopped in its tracks, with more to do when it wakes."""
    after(world, 0.01)
    world.signal(signal.SIGSTOP)
    world.send(world.fresh(30))
    time.sleep(0.05 + world.chance.random() * 0.2)
    world.signal(signal.SIGCONT)


# ---- the input


def sent_again(world: PipeWorld) -> None:
    """What was answered long ago, what was just sent, and what is on its way, all of it again."""
    given = world.fresh(30)
    world.send(given)
    old = list(world.sent.lines.values())
    world.send(world.chance.sample(given, len(given)))
    world.send(world.chance.sample(old, min(40, len(old))))
    world.send(given)


def out_of_order(world: PipeWorld) -> None:
    given = world.fresh(60)
    world.chance.shuffle(given)
    world.send(given)


def late(world: PipeWorld) -> None:
    """Some lines come when hundreds of later ones were taken; a few too late to be taken at all."""
    held = world.fresh(25)
    world.flow(world.chance.choice([60, 300]))
    world.send(held)


def torn_input(world: PipeWorld) -> None:
    """The sender is gone in the middle of a line."""
    after(world, 0.005)
    world.hang_up(half=HALF)


def torn_output(world: PipeWorld) -> None:
    """Nobody reads the answers any more: what is committed from now on nobody is told of."""
    after(world, 0.0)
    world.stop_reading()
    world.flow_until_it_ends()


# ---- the disk


def full_disk(world: PipeWorld) -> None:
    world.surroundings.full(world.chance.randrange(60_000))
    world.flow_until_it_ends()
    assert world.surroundings.n_refused, "the disk was never full"


def full_disk_at_the_start(world: PipeWorld) -> None:
    after(world, 0.01)
    world.signal(signal.SIGKILL)
    world.surroundings.full(world.chance.randrange(2_000))
    world.begin()
    world.flow_until_it_ends()


def slow_disk(world: PipeWorld) -> None:
    world.surroundings.slow(sync_ms=20 + world.chance.random() * 40, write_ms=world.chance.random())
    world.flow(30)
    world.settle()
    assert world.surroundings.n_slowed, "the disk was never slow"


def killed_on_a_slow_disk(world: PipeWorld) -> None:
    """Most of the time is spent in a sync then, and so that is where it is killed."""
    world.surroundings.slow(sync_ms=30)
    after(world, 0.06)
    world.signal(signal.SIGKILL)


def failing_disk(world: PipeWorld) -> None:
    """A sync fails once: nobody knows what of it is on the disk."""
    world.surroundings.fail_sync(world.chance.randrange(1, 8))
    world.flow_until_it_ends()
    assert world.surroundings.n_failed, "no sync failed"


# ---- the clock


def clock_ahead(world: PipeWorld) -> None:
    _clock(world, world.chance.choice([61_000, DAY_MS, 400 * DAY_MS]))


def clock_back(world: PipeWorld) -> None:
    _clock(world, -world.chance.choice([61_000, DAY_MS, 400 * DAY_MS]))


def _clock(world: PipeWorld, ms: int) -> None:
    """While it runs; or over a start, when what was written before is of another time."""
    world.flow(10)
    world.surroundings.shift_clock(ms)
    if world.chance.random() < 0.3:
        world.restart()
    while not world.surroundings.n_shifted:  # the time is asked for where a line is refused
        world.flow(30)
        world.settle()


# ---- others at the log


def second_writer(world: PipeWorld) -> None:
    """Somebody starts the program a second time. It must be told so, and do nothing."""
    world.flow(10)
    raw = msgspec.json.encode({"payment": {"payment_id": "of-the-second-writer"}}) + b"\n"
    file = world.folder / "second.jsonl"
    file.write_bytes(raw)
    second = world.run("ingest", str(file))
    world.flow(30)
    assert second.wait() == STORAGE, "a second writer was not refused"
    world.hears("is being written by process")


def long_reader(world: PipeWorld) -> None:
    """Somebody reads the log for long: what is committed cannot move from the write-ahead log into the file."""
    with closing(sqlite3.connect(f"file:{world.log}?mode=ro", uri=True, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
        after(world, 0.01)
        if world.chance.random() < 0.5:
            world.restart()
            world.flow(20)
        world.settle()


def locked(world: PipeWorld) -> None:
    """Another program holds the file for a while, and the worker must wait for it."""
    world.flow(10)
    with closing(sqlite3.connect(world.log, isolation_level=None, timeout=120)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        world.flow(20)
        time.sleep(0.05 + world.chance.random() * 0.3)
        holder.execute("ROLLBACK")


# ---- saved state


def damaged_snapshot(world: PipeWorld) -> None:
    """Some bits of the newest saved state are not what they were."""
    with _started_anew(world) as files:
        file = files[-1]
        whole = bytearray(file.read_bytes())
        for _ in range(world.chance.randrange(1, 9)):
            whole[world.chance.randrange(len(whole))] ^= 1 << world.chance.randrange(8)
        kind = world.chance.choice(["flipped", "cut", "empty"])
        cut = len(whole) if kind == "flipped" else world.chance.randrange(len(whole)) if kind == "cut" else 0
        file.write_bytes(whole[:cut])
    world.flow(5)
    world.settle()
    assert not file.exists(), "a damaged snapshot was taken up"


def no_snapshots(world: PipeWorld) -> None:
    """The folder of saved state is gone, beside a worker that runs and over a start."""
    with _started_anew(world):
        rmtree(world.log.parent / "snapshots")


def good_snapshot(world: PipeWorld) -> None:
    """Nothing is damaged: a start from saved state must give the same as one without."""
    with _started_anew(world):
        pass


@contextmanager
def _started_anew(world: PipeWorld) -> Iterator[list[Path]]:
    """Have state saved, let the worker die, do what is in the block, and start it."""
    after(world, 0.0)
    world.settle()
    assert world.run("snapshot").wait() == 0, f"no state was saved:\n{world.last_words()}"
    world.flow(20)
    world.signal(signal.SIGKILL)
    yield sorted((world.log.parent / "snapshots").glob("*.snapshot"))
    world.restart()


FAULTS: Final[Sequence[Fault]] = (
    Fault("kill -9 at any moment", killed, frozenset({-signal.SIGKILL})),
    Fault("kill -9 between two writes", killed_at_a_step, frozenset({-signal.SIGKILL})),
    Fault("kill -9 while it starts", killed_while_it_starts, frozenset({-signal.SIGKILL})),
    Fault("kill -9 on a slow disk", killed_on_a_slow_disk, frozenset({-signal.SIGKILL})),
    Fault("SIGTERM", terminated, frozenset({-signal.SIGTERM})),
    Fault("SIGINT", interrupted, frozenset({INTERRUPTED})),
    Fault("frozen for a while", frozen),
    Fault("delivered again", sent_again),
    Fault("delivered out of order", out_of_order),
    Fault("delivered late", late),
    Fault("sender gone in a line", torn_input, frozenset({4})),
    Fault("nobody reads the answers", torn_output, frozenset({NOBODY_READS})),
    Fault("full disk", full_disk, frozenset({STORAGE})),
    Fault("full disk at the start", full_disk_at_the_start, frozenset({STORAGE})),
    Fault("slow disk", slow_disk),
    Fault("failing disk", failing_disk, frozenset({STORAGE})),
    Fault("clock ahead", clock_ahead),
    Fault("clock back", clock_back),
    Fault("a second writer", second_writer),
    Fault("a long reader", long_reader),
    Fault("log held by another", locked),
    Fault("snapshot damaged", damaged_snapshot),
    Fault("snapshots gone", no_snapshots),
    Fault("start from a snapshot", good_snapshot),
)
