"""Tests of refused rows: quarantine, and stuck rows of sinks. A part of `contracts.log`."""

from __future__ import annotations

import pytest

from shroff.errors import StateError
from shroff.runtime.values import replace
from shroff.streams.log import Batch, Counts, Log, Offset
from shroff.testing.contracts.promises import ODD_IDS
from tests.support.contracts.log import LogCase
from tests.support.log_memory_parts import quarantined
from tests.support.log_rows import NOW_MS, contents, everything, label, payments, record, refused, stuck


class LogStuckContract(LogCase):
    """The log contract: rows that are stuck."""

    def test_stuck_rows_are_kept_as_they_were_in_the_order_of_their_keys(self, log: Log) -> None:
        rows = [stuck(9, sink="b"), stuck(10, 2, "a"), stuck(10, 1, "a"), stuck(2, 7, "a"), stuck(1, sink="B")]
        log.append(Batch(stuck=rows))
        in_order = [rows[4], rows[3], rows[2], rows[1], rows[0]]

        assert log.outbox.stuck() == in_order
        assert log.outbox.stuck("a") == in_order[1:4]
        assert log.outbox.stuck("c") == []
        assert log.outbox.stuck(limit=2) == in_order[:2]
        assert log.outbox.stuck(after=in_order[1].key) == in_order[2:]
        assert log.outbox.stuck("a", after=in_order[1].key, limit=1) == in_order[2:3]
        assert log.counts() == Counts(0, 0, 0, 5)

    def test_a_stuck_row_takes_the_place_of_one_of_its_key(self, log: Log) -> None:
        log.append(Batch(stuck=[stuck(1), stuck(2)]))
        again = replace(stuck(1), reason="still", attempts=2, at_ms=5, body=b'{"a":1}', fields=b'{"b":2}', is_due=True)
        log.append(Batch(stuck=[replace(again, reason="between"), again]))

        assert log.outbox.stuck() == [again, stuck(2)]
        assert log.outbox.stuck(is_due=True) == [again]
        assert log.outbox.stuck("other", is_due=True) == []

    def test_what_is_stuck_no_more_goes_before_new_rows_come(self, log: Log) -> None:
        log.append(Batch(stuck=[stuck(1), stuck(2), stuck(2, 1), stuck(2, sink="other")]))
        log.append(Batch(unstuck=[("decided", 1, 0), ("decided", 2, 0), ("nobody", 1, 0)], stuck=[stuck(1)]))

        assert log.outbox.stuck() == [stuck(1), stuck(2, 1), stuck(2, sink="other")]
        log.append(Batch(unstuck=[row.key for row in log.outbox.stuck()]))
        assert log.counts() == Counts(0, 0, 0, 0)

    def test_odd_ids_of_stuck_rows_stay_as_they_are(self, log: Log) -> None:
        rows = [replace(stuck(seq), id=id_, reason=id_) for seq, id_ in enumerate(ODD_IDS, 1)]
        log.append(Batch(stuck=rows))

        assert log.outbox.stuck() == rows

    def test_a_refused_batch_leaves_what_is_stuck_as_it_was(self, log: Log) -> None:
        log.append(payments(1, 1))
        log.append(Batch(stuck=[stuck(1)]))
        before = contents(log)
        gone = Batch(records=[record(1)], unstuck=[("decided", 1, 0)], stuck=[stuck(7)])
        with pytest.raises(StateError):
            log.append(gone)

        assert contents(log) == before
        log.append(Batch(unstuck=gone.unstuck, stuck=gone.stuck, offsets=[Offset("sink:decided", "", "7")]))
        assert (log.outbox.stuck(), log.offsets.get("sink:decided", "")) == ([stuck(7)], "7")


class LogQuarantineContract(LogCase):
    """The log contract: the quarantine."""

    def test_the_same_refused_bytes_of_one_place_and_type_are_one_entry(self, log: Log) -> None:
        log.append(Batch(refused=[refused(), refused()]))
        others = [refused(place="18"), refused(raw=b""), refused(source="april.csv"), replace(refused(), type="label")]
        log.append(Batch(refused=[*others, refused()]))

        assert [entry for _, entry in quarantined(log)] == [refused(), *others]

    def test_an_entry_that_is_refused_again_has_the_newest_reason(self, log: Log) -> None:
        log.append(Batch(refused=[refused("1"), refused("2")]))
        numbers = log.quarantine.numbers()
        newest = replace(refused("1"), reason="it is too late", at_ms=NOW_MS + 5)
        log.append(Batch(refused=[replace(newest, reason="between"), newest]))

        assert quarantined(log) == list(zip(numbers, [newest, refused("2")], strict=True))

    def test_entries_are_found_by_their_numbers_and_counted(self, log: Log) -> None:
        log.append(Batch(refused=[refused(str(place)) for place in range(5)]))
        first, *_, last = numbers = log.quarantine.numbers()
        entries = quarantined(log)

        assert numbers == [number for number, _ in entries]
        assert log.quarantine.entries([last, 10**6, first, last]) == [entries[0], entries[-1]]
        assert log.quarantine.entries([]) == []
        assert log.counts() == Counts(5, 0, 0)
        log.append(everything(1))
        log.append(Batch(dropped=[first], waiting=[label("a", "p-1")]))
        assert log.counts() == Counts(4, 2, 1, 1, 1)
        assert log.quarantine.numbers() == numbers[1:]

    def test_a_number_in_quarantine_never_means_another_entry(self, log: Log) -> None:
        log.append(Batch(refused=[refused("1"), refused("2"), refused("3")]))
        numbers = [number for number, _ in quarantined(log)]

        log.append(Batch(dropped=[numbers[2], numbers[0], 10**6]))
        assert [entry for _, entry in quarantined(log)] == [refused("2")]
        log.append(Batch(refused=[refused("3")]))
        kept, new = (number for number, _ in quarantined(log))
        assert kept == numbers[1]
        assert new > numbers[2]
