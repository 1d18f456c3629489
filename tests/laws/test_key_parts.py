"""The index of keys answers as a dictionary would, whatever keys and sequence numbers its parts have."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from contextlib import closing
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroff.adapters.log.ids import key_parts
from shroff.adapters.log.ids.key_parts import BUCKET_BITS, BUCKETS
from shroff.adapters.log.sqlite import SqliteLog
from shroff.streams.log import Batch
from shroff.streams.log_columns import KeyPlaces
from tests.support.effort import examples
from tests.support.log_rows import record

HIGH = 1 << 32
# Keys of one bucket and of others, some next to each other in it, at both ends of it, and in its middle
KEYS = (0, HIGH, 2 * HIGH, (HIGH - 1) * HIGH, 1, HIGH + 1, BUCKETS - 1, HIGH * HIGH - 1)
ABSENT = (2, 3 * HIGH, (HIGH - 2) * HIGH)
# Gaps after which the distances of a part take one byte, two, four and eight
GAPS = (1, 250, 70_000, HIGH)

entries = st.tuples(st.sampled_from(KEYS), st.sampled_from(GAPS))
batches = st.lists(st.lists(entries, min_size=1, max_size=40), min_size=1, max_size=6)


@given(batches)
@settings(max_examples=examples(200), deadline=None)
def test_parts_have_each_key_with_its_sequence_numbers_and_no_other_key(tmp_path_factory, given_batches):
    seqs = defaultdict[int, set[int]](set)
    seq = 0
    with closing(SqliteLog(tmp_path_factory.mktemp("keys") / "log.db")) as log:
        for batch in given_batches:
            places = list[int]()
            for key, gap in batch:
                seq += gap
                places.append(seq)
                seqs[key].add(seq)
            hashes = np.array([key for key, _ in batch], np.uint64)
            log.append(Batch(keys=KeyPlaces(hashes, np.array(places, np.int64))))
        found = log.key_places([*KEYS, *ABSENT])

    assert {key: places.tolist() for key, places in found.items()} == {
        key: sorted(seqs[key]) for key in (*KEYS, *ABSENT)
    }


@pytest.mark.parametrize("count", [255, 256, 65_535, 65_536])
def test_a_key_may_have_as_many_events_as_a_count_holds_and_one_more(tmp_path, count):
    hashes = np.concatenate([np.full(count, 5 * HIGH, np.uint64), np.array([6 * HIGH], np.uint64)])
    with closing(SqliteLog(tmp_path / "log.db")) as log:
        log.append(Batch(keys=KeyPlaces(hashes, np.arange(count + 1) + 9)))
        found = log.key_places([5 * HIGH, 6 * HIGH])

    assert found[5 * HIGH].tolist() == list(range(9, count + 9))
    assert found[6 * HIGH].tolist() == [count + 9]


def test_keys_answer_the_same_before_and_after_rows_of_batches_become_parts(tmp_path):
    path = tmp_path / "log.db"
    with closing(SqliteLog(path)) as log, closing(sqlite3.connect(path)) as reader:
        for seq in range(1, 41):
            log.append(Batch(records=[record(seq)], keys=KeyPlaces([KEYS[seq % 5], KEYS[seq % 3]], [seq, seq])))
        before = log.key_places(KEYS)
        with patch.object(key_parts, "ROWS_MAX", 40):
            log.maintain()
        assert reader.execute("SELECT min(part) >> ? FROM key_parts", (BUCKET_BITS,)).fetchone() == (1,)
        after = log.key_places(KEYS)

    assert {key: seqs.tolist() for key, seqs in after.items()} == {key: seqs.tolist() for key, seqs in before.items()}
    assert len(before[KEYS[1]]) > 1
