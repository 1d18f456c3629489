"""One posted event, by thread of the service: processor time and Python calls, of several commits by turns.

Events go one at a time over one connection, as many to each service in turn, so that other work on the machine meets
all of them: what counts are the ratios. Processor time is the scheduler's, of each thread. With `--calls` each service
counts the functions of Python and of C that its threads call; these numbers are the same on a busy machine.

    python -m bench.one_event [--trees FOLDER,FOLDER] [--turns 30] [--events 100] [--calls] [--scratch FOLDER]

The first tree, by default this one alone, is what the others are compared with. Each has a project of its own, since
an older commit may not read a newer one's; one that lies in the scratch folder already is used again, without its log.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median

import msgspec

from bench.machine import describe
from bench.streams_setup import LEARNED_FROM
from shroff.examples.bank import bank

HERE = Path(__file__).parents[1]
WARM = 2_500  # events before the first turn: numba calls a kernel after 1,000
LEAST = 0.01  # of all, for a thread to have a row of its own
SLOTS = 512  # threads that are counted
ALL = "all"
_ADDRESS = re.compile(r"at http://127.0.0.1:(\d+)")
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_SLOT = struct.Struct("QQQ")  # a thread's number, its calls of Python's functions, and of C's
_PREPARE = """
import sys
from pathlib import Path
from bench.streams_setup import scored_project
from shroff.cli.demo_kernels import keep_kernels
keep_kernels()
if not Path(sys.argv[1]).exists():
    scored_project(Path(sys.argv[1]))
"""
# Runs in a service before shroff is imported: the system learns the names of threads, and a file their calls.
_SERVE = """
import itertools, mmap, os, runpy, sys, threading
file, sys.argv[1:] = sys.argv[1], sys.argv[2:]
slots = itertools.count()
if file:
    with open(file, "r+b") as opened:
        counts = memoryview(mmap.mmap(opened.fileno(), 0)).cast("Q")

def count_calls():
    at = 3 * next(slots)
    counts[at] = threading.get_native_id()
    def called(frame, event, argument):
        if event == "call":
            counts[at + 1] += 1
        elif event == "c_call":
            counts[at + 2] += 1
    sys.setprofile(called)

def begin_named(thread):
    with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as own:
        own.write(thread.name[:15])
    if file:
        count_calls()
    begin(thread)

def leave():
    global file
    file = ""
    sys.setprofile(None)

os.register_at_fork(after_in_child=leave)
begin, threading.Thread._bootstrap_inner = threading.Thread._bootstrap_inner, begin_named
if file:
    count_calls()
runpy.run_module("shroff", run_name="__main__", alter_sys=True)
"""

Figures = Mapping[str, tuple[float, ...]]  # of each thread by its name


@dataclass
class Tree:
    """A commit, in a folder of its own, and what its service took for an event in each turn."""

    folder: Path
    scratch: Path
    turns: list[Figures] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    @property
    def environment(self) -> Mapping[str, str]:
        own = [self.folder / "src", self.scratch / "installed", self.folder]
        paths = [*map(str, own), *filter(None, [os.environ.get("PYTHONPATH")])]  # with what an older commit needs
        return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}

    def run(self, *arguments: str) -> str:
        command = [sys.executable, "-P", *arguments]
        return subprocess.run(
            command, env=self.environment, cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout

    def prepare(self) -> None:
        """Make its project and its kernels, and say which adapters it has as if it were installed."""
        about = self.scratch / "installed" / "shroff-0.dist-info"
        about.mkdir(parents=True, exist_ok=True)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: shroff\nVersion: 0\n", encoding="utf-8")
        declared = tomllib.loads((self.folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        lines = list[str]()
        for group, entries in declared["entry-points"].items():
            lines += [f"[{group}]", *[f"{name} = {at}" for name, at in entries.items()]]
        (about / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.run("-c", _PREPARE, str(self.project))

    @property
    def project(self) -> Path:
        return self.scratch / "project"


class Service:
    """A service that runs, with one connection to it."""

    def __init__(self, pid: int, port: int, key: str, counts: Path | None) -> None:
        self._pid, self._port, self._key, self._counts = pid, port, key, counts
        self._connection = socket.socket()

    def close(self) -> None:
        self._connection.close()

    def connect(self) -> None:
        """Open a connection anew: the service closes one that was idle."""
        self._connection.close()
        self._connection = socket.create_connection(("127.0.0.1", self._port))
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def wait(self) -> None:
        """Wait until it decides events."""
        while True:
            self.connect()
            self._connection.sendall(b"GET /health/ready HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
            if self._received()[9:12] == b"200":
                return
            time.sleep(0.05)

    def post(self, body: bytes) -> float:
        """Post an event; return the seconds until its answer was here."""
        head = (
            f"POST /api/v1/events/payment HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {self._key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        began_s = time.perf_counter()
        self._connection.sendall(head.encode() + body)
        answer = b""
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._received()
        length = _LENGTH.search(answer, 0, end)
        assert length is not None
        while len(answer) < end + 4 + int(length[1]):
            answer += self._received()
        seconds = time.perf_counter() - began_s
        if answer[9:12] != b"200":
            raise RuntimeError(answer.decode())
        return seconds

    def _received(self) -> bytes:
        part = self._connection.recv(65_536)
        if not part:
            raise RuntimeError(f"the service at {self._port} closed the connection")
        return part

    def figures(self) -> Figures:
        """Microseconds of processor time of each thread since it began; or its calls of Python and of C."""
        tasks = [task for task in Path(f"/proc/{self._pid}/task").iterdir() if task.name.isdecimal()]
        counted = dict[int, tuple[int, int]]()
        if self._counts is not None:
            for number, python, c in _SLOT.iter_unpack(self._counts.read_bytes()):
                counted[number] = python, c
        found: dict[str, tuple[float, ...]] = {}
        for task in tasks:
            name = (task / "comm").read_text(encoding="utf-8").strip()
            own: tuple[float, ...] = (int((task / "schedstat").read_text(encoding="ascii").split()[0]) / 1_000,)
            if self._counts is not None:
                own = counted.get(int(task.name), (0, 0))
            before = found.get(name, (0,) * len(own))
            found[name] = tuple(one + other for one, other in zip(before, own, strict=True))
        found[ALL] = tuple(map(sum, zip(*found.values(), strict=True)))
        return found


@contextmanager
def served(tree: Tree, *, is_counted: bool) -> Iterator[Service]:
    """The service of a tree."""
    shutil.rmtree(tree.project / ".shroff", ignore_errors=True)
    counts = tree.scratch / "calls" if is_counted else None
    if counts is not None:
        counts.write_bytes(bytes(SLOTS * _SLOT.size))
    shroff = ["-m", "shroff", "-C", str(tree.project)]
    key = json.loads(tree.run(*shroff, "keys", "create", "bench", "--role", "service", "--json"))
    command = [sys.executable, "-P", "-c", _SERVE, str(counts or ""), "-C", str(tree.project)]
    process = subprocess.Popen(
        [*command, "serve", "--port", "0", "--rate", "1000000"],
        env=tree.environment,
        cwd=tree.folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if found := _ADDRESS.search(line):
                service = Service(process.pid, int(found[1]), key["key"], counts)
                service.wait()
                with closing(service):
                    yield service
                return
        raise RuntimeError(f"the service of {tree.folder} did not start: {said}")
    finally:
        process.terminate()
        process.communicate()


def measure(trees: Sequence[Tree], events: Sequence[bytes], *, warm: int, turns: int, is_counted: bool) -> None:
    """Post the same events to the service of each tree by turns."""
    in_a_turn = (len(events) - warm) // turns
    with ExitStack() as running:
        services = [running.enter_context(served(tree, is_counted=is_counted)) for tree in trees]
        for service in services:
            service.connect()
            for body in events[:warm]:
                service.post(body)
        for turn in range(turns):
            bodies = events[warm + turn * in_a_turn :][:in_a_turn]
            served_trees = list(zip(trees, services, strict=True))
            random.Random(turn).shuffle(served_trees)  # a fixed order would let one tree always follow another
            for tree, service in served_trees:
                service.connect()
                service.post(events[0])
                before = service.figures()
                tree.latencies += [service.post(body) for body in bodies]
                after = service.figures()
                zeros = (0,) * len(after[ALL])
                tree.turns.append(
                    {
                        name: tuple((b - a) / in_a_turn for a, b in zip(before.get(name, zeros), values, strict=True))
                        for name, values in after.items()
                    }
                )


def table(trees: Sequence[Tree], *, is_counted: bool) -> str:
    """What each thread took for an event: the median of turns, and that of the ratios to the first tree's turns."""
    kinds = ("Python calls", "C calls") if is_counted else ("µs",)
    names = {name for tree in trees for turn in tree.turns for name in turn}
    rows = ["| thread | of | " + " | ".join(tree.folder.name for tree in trees) + " |", "|---" * (2 + len(trees)) + "|"]
    first = trees[0]
    for name in sorted(names, key=lambda name: (name == ALL, name)):
        for kind, words in enumerate(kinds):
            cells, is_shown = [], False
            for tree in trees:
                own, of_first, of_all = (
                    [turn.get(one, (0,) * len(kinds))[kind] for turn in here.turns]
                    for here, one in ((tree, name), (first, name), (tree, ALL))
                )
                is_shown = is_shown or median(own) > LEAST * median(of_all)
                ratios = [a / b for a, b in zip(own, of_first, strict=True) if b]
                ratio = f" ({median(ratios):.3f})" if ratios and tree is not first else ""
                cells.append(f"{median(own):,.1f}{ratio}")
            if is_shown:
                rows.append(f"| {name} | {words} | " + " | ".join(cells) + " |")
    if not is_counted:
        for share in (0.5, 0.9, 0.99, 0.999):
            ordered = [sorted(tree.latencies) for tree in trees]
            cells = [f"{1_000 * own[int(share * len(own))]:.2f}" for own in ordered]
            rows.append(f"| answer, ms | {share:.1%} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trees", type=lambda text: [Path(part).resolve() for part in text.split(",")], default=[HERE])
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--events", type=int, default=100, help="in a turn")
    parser.add_argument("--warm", type=int, default=WARM)
    parser.add_argument("--calls", action="store_true", help="count calls instead of time")
    parser.add_argument("--scratch", type=Path, default=None)
    options = parser.parse_args()
    encode = msgspec.json.Encoder().encode
    count = options.warm + options.turns * options.events
    with tempfile.TemporaryDirectory() as temporary:
        scratch = options.scratch or Path(temporary)
        trees = [Tree(folder, scratch / folder.name) for folder in options.trees]
        for tree in trees:
            tree.prepare()
        events = [encode(item.event) for item in islice(bank(LEARNED_FROM + count, seed=1), LEARNED_FROM, None)]
        measure(trees, events, warm=options.warm, turns=options.turns, is_counted=options.calls)
        print(f"{table(trees, is_counted=options.calls)}\n\n{describe()}")


if __name__ == "__main__":
    main()
