"""Flags and hits in a log as tests: their order, and those of one key. A part of the contract in `contracts.log`."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from shroff.streams.log import Batch, HitRow, Log
from shroff.testing.contracts.promises import Contract
from shroff.testing.rows import flag, record


class LogFlagsContract(Contract):
    """What every log must keep of flags and hits."""

    @abstractmethod
    def make_log(self, folder: Path) -> Log:
        """Open the log in this folder for writing, a new one where there is none."""

    def test_several_flags_and_hits_of_one_event_keep_their_order(self, tmp_path: Path) -> None:
        log = self.make_log(tmp_path)
        flags = [flag(1, "b"), flag(1, "a"), flag(1, "a", "c2"), flag(2, "c"), flag(2, "b")]
        hits = [HitRow(each.seq, each.rule, each.key, shadow=each.rule == "b") for each in flags]
        log.append(Batch(records=[record(1), record(2)], flags=flags, hits=hits))

        assert [row for part in log.flags_after(size=2) for row in part] == flags
        assert [row for part in log.hits_after(size=1) for row in part] == hits
        assert [row for part in log.hits_after(after=1) for row in part] == hits[3:]
        log.close()

    def test_flags_of_a_key_come_newest_first_and_go_on_where_they_ended(self, tmp_path: Path) -> None:
        log = self.make_log(tmp_path)
        flags = [flag(1, "b"), flag(1, "a"), flag(1, "a", "c2"), flag(2, "c"), flag(2, "b"), flag(3, "a", "C")]
        log.append(Batch(records=[record(1), record(2), record(3)], flags=flags))
        entity, key = flags[0].entity, flags[0].key
        newest_first = [flags[4], flags[3], flags[1], flags[0]]

        assert log.flags_of(entity, key) == newest_first
        assert log.flags_of(entity, key, limit=3) == newest_first[:3]
        assert log.flags_of(entity, key, (1, "a"), limit=3) == newest_first[3:]
        assert log.flags_of(entity, "c2") == [flags[2]]
        assert log.flags_of("other", key) == log.flags_of(entity, "nobody") == []
        log.close()
