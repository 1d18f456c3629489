"""Letting go of old places as tests: what stays, and that nobody overlooks what went. A part of `contracts.log`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from shroff.errors import OvertakenError, PrunedError, StateError
from shroff.streams.log import Batch, Log, UniqueValue
from shroff.testing.contracts.promises import ODD_IDS
from tests.support.contracts.log import LogCase
from tests.support.log_memory_parts import quarantined
from tests.support.log_rows import contents, decision, everything, payments, record


class LogPruningContract(LogCase):
    """The log contract: pruning of old records."""

    def test_what_is_behind_a_pruned_place_reads_as_before(self, log: Log, tmp_path: Path) -> None:
        for first in (1, 4, 7):
            log.append(everything(first))
        places = (
            "read",
            "labels_after",
            "decisions.after",
            "flags.after",
            "hits.after",
            "lines",
            "decisions.outcome_lines",
        )
        before = [_flat(attrgetter(name)(log)(4)) for name in places]
        assert log.prune(4) == 4

        reader = self.make_reader(tmp_path)
        for each in (log, reader):
            assert each.pruned_to() == 4
            assert [_flat(attrgetter(name)(each)(4)) for name in places] == before
            assert each.last_seq() == 9
        reader.close()

    def test_what_is_no_record_and_no_decision_stays(self, log: Log) -> None:
        log.append(everything(1))
        log.append(payments(4, 2))
        before = contents(log)
        flags, hits = _flat(log.flags.after()), _flat(log.hits.after())
        log.prune(4)

        assert (_flat(log.flags.after()), _flat(log.hits.after())) == (flags, hits)
        assert log.watermark_ms() == before[1]
        assert [refused for _, refused in quarantined(log)] == everything(1).refused
        assert log.waiting.all() == everything(1).waiting
        assert log.outbox.rows() == before[8]
        assert log.remarks() == before[10]
        assert log.outbox.stuck() == before[11]
        assert log.late.after() == before[13]

    def test_the_ingest_time_of_each_batch_is_kept_beyond_its_records(self, log: Log) -> None:
        for first, count, at_ms in ((1, 3, 1_000), (4, 1, None), (5, 4, 2_000)):
            batch = payments(first, count)
            batch.at_ms = at_ms
            log.append(batch)
        log.append(Batch(at_ms=3_000))
        whole = [(1, 1_000), (4, None), (5, 2_000)]
        for _ in ("there", "pruned"):
            assert log.ingested() == whole
            assert [log.ingested(after) for after in (2, 3, 4, 7, 8)] == [whole, whole[1:], *[whole[2:]] * 2, []]
            assert [log.ingested(0, upto) for upto in (0, 1, 4)] == [[], whole[:1], whole[:2]]
            log.prune(6)

    def test_reading_from_a_pruned_place_is_refused(self, log: Log) -> None:
        log.append(payments(1, 9))
        log.prune(5)

        for name in ("read", "lines", "labels_after", "decisions.after", "decisions.outcome_lines"):
            for after, upto in ((0, None), (0, 1), (4, None), (4, 5), (3, 9)):
                with pytest.raises(PrunedError, match=r"up to sequence number 5 .*lake"):
                    list(attrgetter(name)(log)(after, upto))
            assert list(attrgetter(name)(log)(5, 5)) == []

    def test_a_reader_that_is_overtaken_by_pruning_is_told(self, log: Log) -> None:
        log.append(payments(1, 9))
        read = log.read(size=3)
        assert [record.seq for record in next(read)] == [1, 2, 3]
        lines = log.lines(size=3)
        next(lines)
        log.prune(7)

        seen = []
        with pytest.raises(PrunedError):
            seen += [record.seq for part in log.read(size=3) for record in part]
        assert seen == []
        rest = _until_pruned(read)
        assert rest in ([], list(range(4, 10)))  # what was read at once, or nothing: never places 8 and 9 behind 3
        assert len(_until_pruned(lines)) in (0, 2)

    def test_control_events_stay(self, log: Log) -> None:
        controls = [record(seq, str(seq), kind="control", type="control") for seq in (1, 3, 5)]
        rest = [record(2), record(4), record(6)]
        log.append(Batch(records=sorted([*controls, *rest], key=lambda control: control.seq)))
        log.prune(4)

        assert log.controls() == controls
        assert log.find("control", ["1", "3", "5"]) == {control.id: control for control in controls}
        assert [record.seq for record in _flat(log.read(4))] == [5, 6]
        assert log.records_at(range(8)) == {record.seq: record for record in (*controls, rest[-1])}

    def test_ids_are_remembered_for_ever(self, tmp_path: Path) -> None:
        log = self.make_log(tmp_path)
        count = len(ODD_IDS)
        log.append(Batch(records=[record(seq, id_) for seq, id_ in enumerate(ODD_IDS, start=1)]))
        log.append(Batch(records=[record(count + 1, "l-1", type="label", kind="label"), record(count + 2, "last")]))
        log.prune(count + 1)
        log.close()
        log = self.make_log(tmp_path)

        assert log.pruned_places("payment", [*ODD_IDS, "last", "l-1"]) == {
            id_: seq for seq, id_ in enumerate(ODD_IDS, start=1)
        }
        assert log.pruned_places("label", ["l-1", ODD_IDS[0], "b"]) == {"l-1": count + 1}
        assert log.pruned_places("payment", []) == {}
        assert log.find("payment", [*ODD_IDS, "last"]) == {"last": record(count + 2, "last")}
        for taken in (record(count + 3, ODD_IDS[0]), record(count + 3, "l-1", type="label", kind="label")):
            with pytest.raises(StateError, match="moved to the lake"):
                log.append(Batch(records=[taken]))
        log.append(Batch(records=[record(count + 3, "l-1")]))
        assert log.last_seq() == count + 3
        log.close()

    def test_decisions_of_pruned_events_are_gone_and_no_others(self, log: Log) -> None:
        records = [record(seq) for seq in range(1, 5)]
        log.append(Batch(records=records, decisions=[decision(record) for record in records]))
        log.prune(2)

        assert list(log.decisions.of("payment", [record.id for record in records])) == [
            record.id for record in records[2:]
        ]
        assert _flat(log.decisions.after(2)) == [decision(record) for record in records[2:]]

    def test_unique_values_of_pruned_events_keep_their_places(self, log: Log) -> None:
        values = [UniqueValue("payment", "arn", f"v{seq}", seq) for seq in (1, 2, 3)]
        log.append(Batch(records=[record(seq) for seq in (1, 2, 3)], unique=values))
        log.prune(2)

        asked = ["v1", "v3", "v4"]
        assert log.unique_places("payment", "arn", asked) == {"v1": 1, "v3": 3}
        assert log.unique_places("payment", "rrn", asked) == {}
        assert log.unique_places("login", "arn", asked) == {}
        assert log.find_unique("payment", "arn", asked) == {"v3": record(3)}
        with pytest.raises(StateError, match=r"arn is unique.* sequence number 1"):
            log.append(Batch(records=[record(4)], unique=[UniqueValue("payment", "arn", "v1", 4)]))

    def test_pruning_goes_in_parts_and_never_back(self, log: Log) -> None:
        log.append(payments(1, 9))

        assert [log.prune(6, 4), log.prune(6, 4), log.prune(6, 4), log.prune(2)] == [4, 6, 6, 6]
        assert [record.seq for record in _flat(log.read(6))] == [7, 8, 9]

    def test_the_last_place_is_never_pruned(self, log: Log) -> None:
        with pytest.raises(StateError):
            log.prune(0)
        log.append(payments(1, 3))
        for upto in (3, 4):
            with pytest.raises(StateError, match="ends at sequence number 3"):
                log.prune(upto)

        assert (log.pruned_to(), len(_flat(log.read()))) == (0, 3)

    def test_only_who_leads_prunes(self, log: Log, tmp_path: Path) -> None:
        log.append(payments(1, 3))
        reader = self.make_reader(tmp_path)
        with pytest.raises(StateError):
            reader.prune(2)
        reader.close()
        other = self.overtake(log, tmp_path)
        with pytest.raises(OvertakenError):
            log.prune(2)

        assert other.pruned_to() == 0
        log.close()
        other.close()

    def test_what_was_pruned_is_pruned_after_a_start_and_the_log_goes_on(self, tmp_path: Path) -> None:
        log = self.make_log(tmp_path)
        log.append(payments(1, 5))
        log.prune(3)
        log.close()
        log = self.make_log(tmp_path)

        assert (log.pruned_to(), log.last_seq()) == (3, 5)
        log.append(payments(6, 1))
        assert [record.seq for record in _flat(log.read(3))] == [4, 5, 6]
        log.close()


def _flat(parts: Iterable[Iterable[Any]]) -> list[Any]:
    return list(chain.from_iterable(parts))


def _until_pruned(parts: Iterable[Any]) -> list[object]:
    """What still comes, up to the refusal: places of records, or pieces of text."""
    found: list[object] = []
    try:
        for part in parts:
            found += [part] if isinstance(part, bytes) else [record.seq for record in part]
    except PrunedError:
        pass
    return found
