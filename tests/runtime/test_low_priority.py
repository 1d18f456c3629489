"""Processes beside the work leave the processors to it: alone in their session, and last in line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec

from shroff.log.writer import Writer
from shroff.runtime.process_wide import LOWEST
from shroff.streams.snapshots import Header, Snapshots
from tests.support.log_memory import MemoryLog, MemoryStore
from tests.support.projects import NOW_MS, definitions, payment

SHARED = Path("/proc/self/autogroup")  # of a session: "/autogroup-7 nice 0"; empty where nobody began one yet
TOLD = """
import os, pathlib
from shroff.runtime.process_wide import give_way

give_way(7)
shared = pathlib.Path("/proc/self/autogroup")
print(os.nice(0), (shared.read_text().split() if shared.exists() else [])[-1:])
"""


def given_way() -> str:
    """The niceness of a process that gave way, however nice this one is itself."""
    return str(min(os.nice(0) + 7, LOWEST))


def said(*, is_alone: bool) -> list[str]:
    """The niceness of a process that gave way, and that of its session, in a list: empty where it has none."""
    command = [sys.executable, "-c", TOLD]
    found = subprocess.run(command, capture_output=True, text=True, check=True, start_new_session=is_alone)
    return found.stdout.split()


def test_a_process_alone_in_its_session_gives_way_with_it():
    assert said(is_alone=True) == [given_way(), str(["7"] if SHARED.exists() else [])]


def test_a_process_leaves_the_session_of_others_as_it_is():
    before = SHARED.read_text(encoding="ascii").split()[-1:] if SHARED.exists() else []

    assert said(is_alone=False) == [given_way(), str(before)]


class _Looking(Snapshots):
    """Has the process that writes say which session it is of, and how nice it is."""

    def write(self, header: Header, parts: object) -> Path:
        found = self.folder.with_name("said.json")
        found.write_bytes(msgspec.json.encode([os.getsid(0) == os.getpid(), os.nice(0)]))
        return found


def test_a_snapshot_beside_the_work_is_written_by_one_that_gives_way(tmp_path: Path):
    writer = Writer(MemoryLog(MemoryStore()), definitions(), lambda: NOW_MS, snapshots=_Looking(tmp_path / "snapshots"))
    writer.commit(writer.prepare([payment(1)]))
    own = os.getsid(0)

    saved = writer.snapshot_beside().result()

    assert msgspec.json.decode(saved.file.read_bytes()) == [True, LOWEST]
    assert os.getsid(0) == own
