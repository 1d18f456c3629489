"""The active writer (leader) of a log, as tests: an overtaken one writes nothing more. A part of `contracts.log`."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

import pytest

from shroff.errors import LogBusyError, OvertakenError
from shroff.streams.log import Batch, Log, Offset
from shroff.testing.contracts.promises import promise
from tests.support.contracts.log import LogCase
from tests.support.log_holder import APPENDED
from tests.support.log_rows import contents, everything, payments
from tests.support.patience import PATIENCE_S

OPENERS = 4  # at once


class LogLeadContract(LogCase):
    """The log contract: several processes that each believe to be the active writer (leader).

    `free_s`: within so many seconds the place of a killed owner is free. `overtaken_s`: within so many a frozen owner's
    is, in the middle of a transaction too. A log that breaks this on purpose has shorter ones.
    """

    free_s: ClassVar[float] = PATIENCE_S
    overtaken_s: ClassVar[float] = PATIENCE_S

    @abstractmethod
    def holding_program(self, folder: Path) -> Sequence[str]:
        """A command that opens the log in this folder for writing and calls `tests.support.log_holder.hold` with it."""

    # Epochs

    def test_each_opening_for_writing_has_an_epoch_of_its_own(self, tmp_path: Path) -> None:
        epochs = []
        for _ in range(3):
            log = self.make_log(tmp_path)
            with closing_both(log, self.make_reader(tmp_path)) as reader:
                epochs.append(log.epoch)
                assert reader.epoch == 0

        assert epochs == [1, 2, 3]

    def test_nothing_is_written_by_a_log_that_was_overtaken(self, tmp_path: Path) -> None:
        former = self.make_log(tmp_path)
        former.append(everything(1))
        log = self.overtake(former, tmp_path)
        before = contents(log)
        writes: list[Callable[[], None]] = [
            lambda: former.append(everything(4)),
            lambda: former.append(Batch(offsets=[Offset("march.csv", "0", "9")])),
            lambda: former.outbox.done(["1-0"]),
        ]
        for write in writes:
            with pytest.raises(OvertakenError, match="End this process"):
                write()

        assert contents(log) == before
        log.append(everything(4))
        former.close()
        log.append(everything(7))
        assert log.last_seq() == 9
        log.close()

    def test_what_an_overtaken_log_reads_is_what_its_successor_wrote(self, tmp_path: Path) -> None:
        former = self.make_log(tmp_path)
        former.append(everything(1))
        log = self.overtake(former, tmp_path)
        log.append(everything(4))

        assert contents(former) == contents(log)
        former.close()
        log.close()

    def test_of_those_that_open_at_once_exactly_one_leads(self, tmp_path: Path) -> None:
        self.make_log(tmp_path).close()
        for turn in range(3):
            opened = self._opened_at_once(tmp_path)
            assert [type(result) for result in opened].count(LogBusyError) == OPENERS - 1
            (log,) = [result for result in opened if not isinstance(result, Exception)]
            log.append(payments(1 + turn, 1))
            log.close()

    # Offsets

    def test_the_offsets_of_a_source_are_told_together(self, log: Log) -> None:
        parts = {str(part): f"{part}:é" for part in range(12)}
        log.append(Batch(offsets=[*(Offset("a", *each) for each in parts.items()), Offset("b", "0", "7")]))

        assert log.offsets.of("a") == parts
        assert (log.offsets.of("b"), log.offsets.of("c")) == ({"0": "7"}, {})

    def test_an_offset_moves_only_from_where_the_batch_says_it_was(self, log: Log) -> None:
        log.append(Batch(offsets=[Offset("a", "0", "5"), Offset("a", "1", "")]))
        before = contents(log)
        for wrong in (
            [Offset("a", "0", "9", before="4")],
            [Offset("a", "0", "9", before="05")],
            [Offset("a", "0", "9", before=None)],
            [Offset("a", "1", "9", before=None)],
            [Offset("a", "2", "9", before="5")],
            [Offset("a", "2", "9", before="")],
            [Offset("b", "0", "9", before="5")],
            [Offset("a", "1", "9", before=""), Offset("a", "0", "9", before="4")],
            [Offset("a", "0", "6", before="5"), Offset("a", "0", "7", before="5")],
        ):
            batch = everything(1)
            batch.offsets = wrong
            with pytest.raises(OvertakenError, match=r"part [012].* goes on from"):
                log.append(batch)
            assert contents(log) == before
            assert (log.offsets.of("a"), log.offsets.of("b")) == ({"0": "5", "1": ""}, {})

    def test_an_offset_that_is_where_the_batch_says_moves_with_it(self, log: Log) -> None:
        log.append(Batch(offsets=[Offset("a", "0", "5", before=None), Offset("a", "1", "", before=None)]))
        moves = [
            Offset("a", "0", "6", before="5"),
            Offset("a", "0", "7", before="6"),
            Offset("a", "1", "1", before=""),
            Offset("a", "2", "3"),
        ]
        log.append(Batch(offsets=moves))

        assert log.offsets.of("a") == {"0": "7", "1": "1", "2": "3"}

    # Owners that are killed or frozen

    @promise("outlives its process")
    def test_a_killed_writer_leaves_its_place_free(self, tmp_path: Path) -> None:
        with self._held(tmp_path) as holder:
            assert told(holder, "append 1") == APPENDED
            with pytest.raises(LogBusyError, match=str(holder.pid)):
                self.make_log(tmp_path)
            holder.kill()
            holder.wait()
            log = self._opened_within(tmp_path, self.free_s)

        assert (log.last_seq(), log.epoch) == (1, 2)
        log.append(payments(2, 1))
        log.close()

    @promise("overtakes a frozen owner")
    @pytest.mark.parametrize("line", ["", "freeze 2"], ids=["between batches", "in a transaction"])
    def test_an_owner_that_was_frozen_is_overtaken_and_finds_that_out(self, tmp_path: Path, line: str) -> None:
        with self._held(tmp_path) as holder:
            assert told(holder, "append 1") == APPENDED
            if line:
                tell(holder, line)
                wait_until_frozen(holder)
            else:
                holder.send_signal(signal.SIGSTOP)
            log = self._opened_within(tmp_path, self.overtaken_s)
            log.append(payments(2, 2))
            before = contents(log)
            holder.send_signal(signal.SIGCONT)

            assert (heard(holder) if line else told(holder, "append 2")) == "OvertakenError"
            assert told(holder, "append 4") == "OvertakenError"
            assert contents(log) == before
            log.append(payments(4, 1))
            log.close()

    # Below: how they are opened and told

    def _opened_at_once(self, folder: Path) -> list[Log | Exception]:
        """Results of several openings at the same moment."""
        opened: list[Log | Exception] = []
        together = threading.Barrier(OPENERS)

        def open_one() -> None:
            together.wait()
            try:
                opened.append(self.make_log(folder))
            except LogBusyError as error:
                opened.append(error)

        threads = [threading.Thread(target=open_one) for _ in range(OPENERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return opened

    def _opened_within(self, folder: Path, within_s: float) -> Log:
        """The log, as soon as it can be had."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                return self.make_log(folder)
            except LogBusyError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    @contextmanager
    def _held(self, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
        """A process that holds the log."""
        command = self.holding_program(folder)
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with holder:
            try:
                assert heard(holder) == "held"
                yield holder
            finally:
                with suppress(ProcessLookupError):
                    holder.kill()


@contextmanager
def closing_both(log: Log, reader: Log) -> Iterator[Log]:
    """Close a log and its reader at the end."""
    try:
        yield reader
    finally:
        reader.close()
        log.close()


def tell(holder: subprocess.Popen[bytes], line: str) -> None:
    """Tell a process that holds a log what to do."""
    assert holder.stdin is not None
    holder.stdin.write(line.encode() + b"\n")
    holder.stdin.flush()


def heard(holder: subprocess.Popen[bytes]) -> str:
    """The next line of a process that holds a log."""
    assert holder.stdout is not None
    return holder.stdout.readline().decode().strip()


def told(holder: subprocess.Popen[bytes], line: str) -> str:
    """Reply of a process to a line."""
    tell(holder, line)
    return heard(holder)


def wait_until_frozen(holder: subprocess.Popen[bytes]) -> None:
    """Wait until a process has stopped itself."""
    found = os.waitid(os.P_PID, holder.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    assert found is not None
    assert found.si_code == os.CLD_STOPPED, "it ended"
