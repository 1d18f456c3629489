"""Copies of a process: what one holds of the process that it was made of."""

from __future__ import annotations

import fcntl
import gc
import os
from collections.abc import Callable
from pathlib import Path

from shroff.log.state.snapshot_writer import forked, let_go


def said_by_a_copy(say: Callable[[], str]) -> str:
    reading, writing = os.pipe()
    process = forked()
    if process == 0:
        try:
            let_go(writing)
            os.write(writing, say().encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(process, 0)
    with os.fdopen(reading) as said:
        return said.read()


def test_a_copy_collects_no_garbage_whose_end_could_wait_for_threads_that_it_lacks():
    assert gc.isenabled()
    assert said_by_a_copy(lambda: str(gc.isenabled())) == "False"


def test_a_copy_holds_no_file_of_the_process_that_was_open(tmp_path: Path):
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        numbers = [lock.fileno(), os.open(tmp_path / "other", os.O_CREAT | os.O_RDWR)]
        said = said_by_a_copy(lambda: " ".join(os.path.realpath(f"/dev/fd/{number}") for number in numbers))
    os.close(numbers[1])

    assert said == "/dev/null /dev/null"
