"""Frames of decisions: what was packed comes back, all of it or only what is asked for."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from shroff.adapters.log.frames.decision_frames import blocks_of, pack, unpack
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


def moved(rows, places):
    """The same decisions so many places later."""
    return [DecisionRow(row.seq + places, "", "", row.outcome, row.receipt, row.document) for row in rows]


@settings(max_examples=examples(400))
@given(decided(), st.sets(st.integers(1, 9_000), max_size=40), st.data(), st.sampled_from([1, 3, 9]))
def test_a_frame_gives_the_wanted_rows_as_they_were_packed(rows, more, data, times):
    rows = [row for part in range(times) for row in moved(rows, 4_000 * part)]
    frame = pack(rows)
    wanted = more | set(data.draw(st.lists(st.sampled_from([row.seq for row in rows]))))
    whole = [(row.seq, row.outcome, row.receipt, row.document) for row in rows]

    assert list(unpack(blocks_of(frame))) == whole
    some = [row for row in whole if row[0] in wanted]
    assert list(unpack([*blocks_of(frame, sorted(wanted)), *blocks_of(frame)])) == [*some, *whole]
