"""A batch of columns is held to what one of rows is."""

from __future__ import annotations

import numpy as np
import pytest

from shroff.errors import StateError
from shroff.runtime.values import replace
from shroff.streams.batch_check import check_batch
from shroff.streams.log import Batch
from shroff.streams.log_columns import DecisionColumns, JoinedTexts, RecordColumns, newest_ms

IDS = ["a", "b", "c"]
RECORDS = RecordColumns(["payment"] * 3, range(8, 11), IDS, np.array([5, 9, 7]), JoinedTexts.of([b"{}"] * 3))
DECISIONS = DecisionColumns(
    ["payment"] * 3, range(8, 11), IDS, ["approve"] * 3, np.zeros((3, 32), np.uint8), JoinedTexts.of([b"[]"] * 3)
)


@pytest.mark.parametrize("is_listed", [False, True], ids=["columns", "rows"])
@pytest.mark.parametrize(
    ("last_seq", "changed", "words"),
    [
        (7, {}, ""),
        (7, {"ids": ["a", "b", "c"]}, ""),
        (6, {}, "place 8 does not follow"),
        (8, {}, "place 8 does not follow"),
        (7, {"seqs": range(9, 12)}, "names place"),
        (7, {"events": ["login"] * 3}, "names place 8, where payment/a stands"),
        (7, {"ids": ["a", "x", "c"]}, "names place 9, where payment/b stands"),
    ],
)
def test_what_does_not_follow_or_fit_is_refused(last_seq, changed, words, is_listed):
    decisions = replace(DECISIONS, **changed)
    batch = Batch(records=RECORDS, decisions=decisions)
    if is_listed:
        batch = Batch(records=list(RECORDS), decisions=list(decisions))
    if not words:
        check_batch(batch, last_seq)
        return
    with pytest.raises(StateError, match=words):
        check_batch(batch, last_seq)


def test_the_newest_time_is_that_of_the_rows():
    assert newest_ms(RECORDS) == newest_ms(list(RECORDS)) == 9
    assert newest_ms([]) is None


def test_texts_are_cut_out_of_their_middle():
    texts = JoinedTexts.of([b"one", b"", b"two"])

    assert (list(texts[1:]), texts[-1], list(texts[3:])) == ([b"", b"two"], b"two", [])
    with pytest.raises(IndexError):
        _ = texts[3]
