"""Unique fields and keys in a log as tests: values that name events. A part of the contract in `contracts.log`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shroff.errors import StateError
from shroff.runtime.values import replace
from shroff.streams.log import Batch, Indexed, Log, UniqueValue
from shroff.streams.log_columns import KeyPlaces
from shroff.testing.contracts.promises import ODD_IDS
from tests.support.contracts.log import LogCase
from tests.support.log_rows import label, payments, record


class LogUniqueContract(LogCase):
    """The log contract: unique fields, and keys of entities."""

    def test_values_find_their_records(self, log: Log, tmp_path: Path) -> None:
        batch = payments(1, len(ODD_IDS))
        batch.unique = [_value(id_, seq) for seq, id_ in enumerate(ODD_IDS, start=1)]
        log.append(batch)
        log.append(Batch(unique=[_value("x", 1, "rrn"), _value("x", 2, type="login")], records=[]))

        reader = self.make_reader(tmp_path)
        assert reader.find_unique("payment", "arn", ODD_IDS) == dict(zip(ODD_IDS, batch.records, strict=True))
        assert reader.find_unique("payment", "rrn", ["x", "A", "x"]) == {"x": batch.records[0]}
        assert reader.find_unique("login", "arn", ["x"]) == {"x": batch.records[1]}
        assert reader.find_unique("payment", "arn", ["nobody", "x"]) == {}
        assert reader.find_unique("payment", "arn", []) == {}
        reader.close()

    def test_a_value_stands_once_and_a_batch_that_repeats_one_is_refused_whole(self, log: Log) -> None:
        log.append(Batch(records=[record(1), record(2)], unique=[_value("a", 1)]))
        for wrong in ([_value("a", 3)], [_value("b", 2), _value("b", 3)]):
            with pytest.raises(StateError, match=r"payment.arn is unique.* sequence number 3 .*sequence number [12]"):
                log.append(Batch(records=[record(3)], unique=wrong))
        for place in (0, 4):
            with pytest.raises(StateError, match="which there is not"):
                log.append(Batch(records=[record(3)], unique=[_value("c", place)]))

        assert log.last_seq() == 2
        assert list(log.find_unique("payment", "arn", ["a", "b", "c"])) == ["a"]

    def test_what_is_indexed_is_told_until_it_is_forgotten(self, log: Log) -> None:
        fields = [Indexed("login", "token", "text"), Indexed("payment", "arn", "text")]
        log.append(Batch(records=[record(1)], unique=[_value("a", 1), _value("a", 1, "rrn")], indexed=fields[::-1]))
        assert log.indexed() == fields
        log.append(Batch(unindexed=[("payment", "arn")]))
        assert log.indexed() == fields[:1]
        assert log.find_unique("payment", "arn", ["a"]) == {}
        assert len(log.find_unique("payment", "rrn", ["a"])) == 1
        again = Indexed("payment", "arn", "integer")
        log.append(Batch(unindexed=[("login", "token"), ("payment", "arn")], unique=[_value("b", 1)], indexed=[again]))

        assert log.indexed() == [again]
        assert list(log.find_unique("payment", "arn", ["a", "b"])) == ["b"]

    def test_keys_give_the_places_of_their_events_whenever_they_came(self, log: Log, tmp_path: Path) -> None:
        many = _keys(*((hashed << 32 | hashed, 1 + hashed % 3) for hashed in range(10, 70_000)))
        log.append(replace(payments(1, 3), keys=many))
        log.maintain()  # by now they are many
        log.append(Batch(records=[record(4)], keys=_keys((7, 4), (2**64 - 1, 4))))
        log.append(Batch(keys=_keys((7, 2), (9, 1), (7, 4))))  # of records that were there before

        reader = self.make_reader(tmp_path)
        found = reader.key_places([7, 9, 2**64 - 1, 5, 12 << 32 | 12])
        assert [places.tolist() for places in found.values()] == [[2, 4], [1], [4], [], [1]]
        assert list(found) == [7, 9, 2**64 - 1, 5, 12 << 32 | 12]
        assert reader.key_places([]) == {}
        reader.close()

    def test_keys_of_a_batch_that_is_refused_are_not_there_and_those_of_pruned_events_are(self, log: Log) -> None:
        log.append(Batch(records=[record(1), record(2)], keys=_keys((7, 1))))
        with pytest.raises(StateError):
            log.append(Batch(records=[record(2)], keys=_keys((7, 2))))
        log.prune(1)

        assert log.key_places([7])[7].tolist() == [1]

    def test_a_label_that_waits_for_a_value_does_not_wait_for_the_id_of_that_text(self, log: Log) -> None:
        by_id, by_arn, by_rrn = label("a", "x"), label("b", "x", field="arn"), label("c", "x", field="rrn")
        log.append(Batch(waiting=[by_rrn, by_arn, by_id]))

        assert log.waiting.for_events("payment", ["x"]) == [by_id]
        assert log.waiting.for_events("payment", ["x", "y"], "arn") == [by_arn]
        assert log.waiting.for_events("login", ["x"], "arn") == []
        assert log.waiting.all() == [by_rrn, by_arn, by_id]


def _keys(*keys: tuple[int, int]) -> KeyPlaces:
    hashes, seqs = zip(*keys, strict=True)
    return KeyPlaces(np.array(hashes, np.uint64), np.array(seqs, np.int64))


def _value(value: str, seq: int, field: str = "arn", type: str = "payment") -> UniqueValue:
    return UniqueValue(type, field, value, seq)
