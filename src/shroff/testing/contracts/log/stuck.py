"""Stuck rows of sinks in a log, as tests. A part of `contracts.log`."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from pathlib import Path

import pytest

from shroff.errors import StateError
from shroff.streams.log import Batch, Counts, Log, Offset
from shroff.testing.contracts.promises import Contract
from shroff.testing.rows import ODD_IDS, contents, payments, record, stuck


class LogStuckContract(Contract):
    """The log contract: rows that are stuck."""

    @abstractmethod
    def make_log(self, folder: Path) -> Log:
        """Open the log in this folder for writing; a new one where there is none."""

    def test_stuck_rows_are_kept_as_they_were_in_the_order_of_their_keys(self, tmp_path: Path) -> None:
        log = self.make_log(tmp_path)
        rows = [stuck(9, sink="b"), stuck(10, 2, "a"), stuck(10, 1, "a"), stuck(2, 7, "a"), stuck(1, sink="B")]
        log.append(Batch(stuck=rows))
        in_order = [rows[4], rows[3], rows[2], rows[1], rows[0]]

        assert log.stuck() == in_order
        assert log.stuck("a") == in_order[1:4]
        assert log.stuck("c") == []
        assert log.stuck(limit=2) == in_order[:2]
        assert log.stuck(after=in_order[1].key) == in_order[2:]
        assert log.stuck("a", after=in_order[1].key, limit=1) == in_order[2:3]
        assert log.counts() == Counts(0, 0, 0, 5)
        log.close()

    def test_a_stuck_row_takes_the_place_of_one_of_its_key(self, tmp_path: Path) -> None:
        log = self.make_log(tmp_path)
        log.append(Batch(stuck=[stuck(1), stuck(2)]))
        again = replace(stuck(1), reason="still", attempts=2, at_ms=5, body=b'{"a":1}', fields=b'{"b":2}', is_due=True)
        log.append(Batch(stuck=[replace(again, reason="between"), again]))

        assert log.stuck() == [again, stuck(2)]
        assert log.stuck(is_due=True) == [again]
        assert log.stuck("other", is_due=True) == []
        log.close()

    def test_what_is_stuck_no_more_goes_before_new_rows_come(self, tmp_path: Path) -> None:
        log = self.make_log(tmp_path)
        log.append(Batch(stuck=[stuck(1), stuck(2), stuck(2, 1), stuck(2, sink="other")]))
        log.append(Batch(unstuck=[("decided", 1, 0), ("decided", 2, 0), ("nobody", 1, 0)], stuck=[stuck(1)]))

        assert log.stuck() == [stuck(1), stuck(2, 1), stuck(2, sink="other")]
        log.append(Batch(unstuck=[row.key for row in log.stuck()]))
        assert log.counts() == Counts(0, 0, 0, 0)
        log.close()

    def test_odd_ids_of_stuck_rows_stay_as_they_are(self, tmp_path: Path) -> None:
        log = self.make_log(tmp_path)
        rows = [replace(stuck(seq), id=id_, reason=id_) for seq, id_ in enumerate(ODD_IDS, 1)]
        log.append(Batch(stuck=rows))

        assert log.stuck() == rows
        log.close()

    def test_a_refused_batch_leaves_what_is_stuck_as_it_was(self, tmp_path: Path) -> None:
        log = self.make_log(tmp_path)
        log.append(payments(1, 1))
        log.append(Batch(stuck=[stuck(1)]))
        before = contents(log)
        gone = Batch(records=[record(1)], unstuck=[("decided", 1, 0)], stuck=[stuck(7)])
        with pytest.raises(StateError):
            log.append(gone)

        assert contents(log) == before
        log.append(Batch(unstuck=gone.unstuck, stuck=gone.stuck, offsets=[Offset("sink:decided", "", "7")]))
        assert (log.stuck(), log.offset("sink:decided", "")) == ([stuck(7)], "7")
        log.close()
