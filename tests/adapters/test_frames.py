"""Frames of decisions: what was packed comes back, all of it or only what is asked for."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shroff.adapters.log.columns import by_columns, some_rows
from shroff.adapters.log.frames import pack, unpack
from shroff.streams.log import DecisionRow
from tests.support.effort import examples


@st.composite
def decided(draw):
    """Rows at rising places of one to four digits, some of whose documents end in their receipt's digits."""
    rows = []
    for seq in sorted(draw(st.sets(st.integers(1, 3_000), min_size=1, max_size=40))):
        receipt = draw(st.binary(max_size=40))
        text = draw(st.binary(max_size=30)) + (receipt.hex().encode() if draw(st.booleans()) else b"")
        rows.append(DecisionRow(seq, "", "", draw(st.sampled_from(["approve", "review"])), receipt, text + b"}"))
    return rows


@settings(max_examples=examples(400))
@given(decided(), st.sets(st.integers(1, 3_000), max_size=40), st.data())
def test_a_frame_gives_the_wanted_rows_as_they_were_packed(rows, more, data):
    frame = pack(rows)
    wanted = more | set(data.draw(st.lists(st.sampled_from([row.seq for row in rows]))))
    whole = [(row.seq, row.outcome, row.receipt, row.document) for row in rows]

    assert list(unpack(frame)) == whole
    assert list(unpack(frame, sorted(wanted))) == [row for row in whole if row[0] in wanted]


@settings(max_examples=examples(400))
@given(st.lists(st.text("a,:", min_size=1, max_size=9).map(str.encode), min_size=1, max_size=30), st.data())
def test_some_texts_come_out_of_columns_as_they_went_in(texts, data):
    ends = np.cumsum(list(map(len, texts)))
    nothing = np.zeros_like(ends)
    columns, _, pieces = by_columns(np.frombuffer(b"".join(texts), np.uint8), ends, ends, nothing, nothing)
    wanted = sorted(data.draw(st.sets(st.integers(0, len(texts) - 1))))
    found = some_rows(columns, ends, pieces, wanted).tobytes()

    assert [found[ends[row] - len(texts[row]) : ends[row]] for row in wanted] == [texts[row] for row in wanted]
