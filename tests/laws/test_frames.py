"""What is put into a frame comes out of it to the byte, whatever it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shroff.adapters.log import event_frames, frames
from shroff.adapters.log.sums import line_of
from shroff.streams.log import DecisionRow, Record

pieces = st.sampled_from([b",", b":", b"{", b"caf\xc3\xa9", b"\x00", b"12", b"a b"])
texts = st.lists(pieces, max_size=9).map(b"".join)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9)
kinds = st.sampled_from(["event", "label", "control"])


@given(st.lists(st.tuples(texts, st.binary(max_size=32), texts, st.integers(1, 5)), min_size=1, max_size=40))
def test_decisions_come_out_of_a_frame_as_they_went_in(given_):
    rows, seq = list[DecisionRow](), 0
    for head, receipt, tail, gap in given_:
        seq += gap
        document = head + receipt.hex().encode() + tail
        rows.append(DecisionRow(seq, "", "", ("approve", "decline")[seq % 2], receipt, document))
    frame, wanted = frames.pack(rows), {one.seq for one in rows[::3]}
    expected = [(one.seq, one.outcome, one.receipt, one.document) for one in rows]

    assert list(frames.unpack(frame)) == expected
    assert list(frames.unpack(frame, sorted(wanted))) == [one for one in expected if one[0] in wanted]
    assert frames.outcome_lines(frame.outcomes) == b"".join(b"%d %s\n" % (one[0], one[1].encode()) for one in expected)


@given(
    st.lists(st.tuples(kinds, ids, st.integers(-(2**62), 2**62), texts, st.booleans()), min_size=1, max_size=40),
    st.integers(1, 2**40),
    st.data(),
)
def test_records_come_out_of_a_frame_as_they_went_in(given_, first, data):
    records = [
        Record(seq, kind, "payment", id_, time_ms, body + id_.encode() * is_there, is_there)
        for seq, (kind, id_, time_ms, body, is_there) in enumerate(given_, first)
    ]
    frame, wanted = event_frames.pack(records, 7), {one.seq for one in records[::3]}
    after, upto = sorted(data.draw(st.lists(st.integers(first - 1, records[-1].seq), min_size=2, max_size=2)))

    assert list(event_frames.unpack(frame)) == records
    assert list(event_frames.unpack(frame, sorted(wanted))) == [one for one in records if one.seq in wanted]
    for kind in ("event", "label", "control"):
        assert list(event_frames.unpack(frame, kind=kind)) == [one for one in records if one.kind == kind]
    lines = b"".join(map(line_of, records[after + 1 - first : upto + 1 - first]))
    assert upto == after or event_frames.lines_of(frame, after, upto) == lines
    assert (frame.labels, frame.controls) == tuple(
        sum(one.kind == kind for one in records) for kind in ("label", "control")
    )
