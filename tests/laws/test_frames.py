"""What is put into a frame comes out of it to the byte, whatever it is."""

from __future__ import annotations

import random
import tracemalloc
from itertools import accumulate, compress, pairwise
from unittest.mock import patch
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroff.adapters.log.frames import decision_frames as frames
from shroff.adapters.log.frames import event_frames
from shroff.adapters.log.frames.patterns import digit_distances, first_positions
from shroff.adapters.log.tables.sums import line_of
from shroff.streams.log import DecisionRow, Record
from shroff.streams.log_columns import DecisionColumns, JoinedTexts, RecordColumns
from tests.support.effort import examples
from tests.support.log_format import documented

pieces = st.sampled_from([b",", b":", b"{", b"caf\xc3\xa9", b"\x00", b"12", b"a b"])
texts = st.lists(pieces, max_size=9).map(b"".join)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9)
kinds = st.sampled_from(["event", "label", "control"])
repeats = st.sampled_from([1, 1, 5])  # so that some have several blocks


@given(st.lists(st.tuples(texts, st.binary(max_size=32), texts, st.integers(1, 5)), min_size=1, max_size=40), repeats)
def test_decisions_come_out_of_a_frame_as_they_went_in(given_, times):
    rows, seq = list[DecisionRow](), 0
    for head, receipt, tail, gap in given_ * times:
        seq += gap
        document = head + receipt.hex().encode() + tail
        rows.append(DecisionRow(seq, "", "", ("approve", "decline")[seq % 2], receipt, document))
    frame, wanted = frames.pack(rows), {row.seq for row in rows[::3]}
    expected = [(row.seq, row.outcome, row.receipt, row.document) for row in rows]

    assert list(frames.unpack(frames.blocks_of(frame))) == expected == list(documented().framed_decisions(*frame))
    assert list(frames.unpack(frames.blocks_of(frame, sorted(wanted)))) == [row for row in expected if row[0] in wanted]
    assert frames.outcome_lines(frame.outcomes) == b"".join(b"%d %s\n" % (row[0], row[1].encode()) for row in expected)


@given(
    st.lists(st.tuples(kinds, ids, st.integers(-(2**62), 2**62), texts, st.booleans()), min_size=1, max_size=40),
    st.integers(1, 2**40),
    repeats,
    st.data(),
)
def test_records_come_out_of_a_frame_as_they_went_in(given_, first, times, data):
    records = [
        Record(seq, kind, "payment", id_, time_ms, body + id_.encode() * is_there, is_there)
        for seq, (kind, id_, time_ms, body, is_there) in enumerate(given_ * times, first)
    ]
    frame, wanted = event_frames.pack(records), {record.seq for record in records[::3]}
    after, upto = sorted(data.draw(st.lists(st.integers(first - 1, records[-1].seq), min_size=2, max_size=2)))

    assert list(event_frames.unpack(frame)) == records
    assert list(documented().framed_events(*frame)) == [
        (record.seq, record.kind, record.type, record.id, record.time_ms, record.decided, record.body)
        for record in records
    ]
    assert list(event_frames.unpack(frame, sorted(wanted))) == [record for record in records if record.seq in wanted]
    for kind in ("event", "label", "control"):
        assert list(event_frames.unpack(frame, kind=kind)) == [record for record in records if record.kind == kind]
    lines = b"".join(map(line_of, records[after + 1 - first : upto + 1 - first]))
    assert upto == after or event_frames.lines_of(frame, after, upto) == lines
    assert (frame.labels, frame.controls) == tuple(
        sum(record.kind == kind for record in records) for kind in ("label", "control")
    )


def test_a_frame_is_refused_as_soon_as_its_bytes_differ():
    records = [Record(seq, "event", "payment", f"p-{seq}", 1, b"{}", True) for seq in range(1, 9)]
    frame = event_frames.pack(records)
    assert list(event_frames.unpack(frame, [3])) == [records[2]]

    for at in range(len(frame.data)):
        changed = bytearray(frame.data)
        changed[at] ^= 4
        with pytest.raises(frames.DamagedFrameError):
            list(event_frames.unpack(frame._replace(data=bytes(changed)), [3]))
    with pytest.raises(frames.DamagedFrameError):
        list(event_frames.unpack(frame._replace(data=frame.data[:-1]), [3]))


@pytest.mark.parametrize("wanted", [[21], [14, 560], None])
def test_a_changed_byte_of_a_frame_of_decisions_changes_nothing_that_is_given(wanted):
    rows = [DecisionRow(7 * n, "", "", "ok", bytes([n % 251] * 32), b"%d,%d" % (n, n * n)) for n in range(1, 90)]
    frame, chance = frames.pack(rows), random.Random(1)
    expected = [
        (row.seq, row.outcome, row.receipt, row.document) for row in rows if wanted is None or row.seq in wanted
    ]
    for name in ("outcomes", "receipts", "data"):
        whole, refused = getattr(frame, name), 0
        places = [0, len(whole) - 1, *chance.sample(range(len(whole)), 60)]
        for at in places:
            changed = bytearray(whole)
            changed[at] ^= 4
            try:
                assert (
                    list(frames.unpack(frames.blocks_of(frame._replace(**{name: bytes(changed)}), wanted))) == expected
                )
            except frames.DamagedFrameError:
                refused += 1
        assert refused == len(places) or (wanted == [21] and name != "outcomes" and refused), "but in another block"
    for other in (frame._replace(crc=frame.crc ^ 1), frame._replace(first=8), frame._replace(seq=6)):
        with pytest.raises(frames.DamagedFrameError):
            list(frames.unpack(frames.blocks_of(other, wanted)))


def test_damaged_places_of_a_frame_take_no_memory_before_they_are_refused():
    frame = event_frames.pack([Record(seq, "event", "payment", "p", 1, b"{}", True) for seq in (1, 2)])
    tracemalloc.start()
    try:
        for damaged in (frame._replace(first=1 - (1 << 22)), frame._replace(seq=1 << 22)):
            with pytest.raises(frames.DamagedFrameError):
                list(event_frames.unpack(damaged))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


# ---- the same bytes as one by one


def cut(text: bytes) -> list[bytes]:
    """The pieces of a text, each up to a comma or a colon."""
    found, last = [], 0
    for at, byte in enumerate(text, 1):
        if byte in b",:":
            found.append(text[last:at])
            last = at
    return [*found, text[last:]]


def plain(numbers: list[int]) -> bytes:
    return b"".join(number.to_bytes(4, "little") for number in numbers)


def planes(numbers: list[int]) -> bytes:
    return b"".join(bytes(number >> shift & 255 for number in numbers) for shift in (0, 8, 16, 24))


def content_of(rows: list[DecisionRow]) -> tuple[bytes, bytes, list[bytes], list[int]]:
    """The lines, the receipts, the parts and the sizes of receipts of a frame of decisions, one by one."""
    behind, rest, sizes = [], [], [len(row.receipt) for row in rows]
    for row in rows:
        digits = row.receipt.hex().encode()
        at = row.document.rfind(digits) if digits else -1
        behind.append(len(row.document) - at if at >= 0 else 0)
        rest.append(row.document if at < 0 else row.document[:at] + row.document[at + len(digits) :])
    pieces = list(map(cut, rest))
    counts = sorted({len(item) for item in pieces})
    gaps, fixed = dict[int, list[bool]](), list[list[bytes]]()
    for count in counts:
        columns = list(zip(*(item for item in pieces if len(item) == count), strict=True))
        gaps[count] = [len(set(column)) > 1 for column in columns]
        texts = [b""]
        for column, is_gap in zip(columns, gaps[count], strict=True):
            if is_gap:
                texts.append(b"")
            else:
                texts[-1] += column[0]
        fixed.append(texts)
    own = [b"".join(compress(item, gaps[len(item)])) for item in pieces]
    flat = [text for texts in fixed for text in texts]
    head = plain([len(counts), *map(len, fixed), *map(len, flat)]) + b"".join(flat)
    blocks = [range(len(rows))[start : start + frames.BLOCK_ROWS] for start in range(0, len(rows), frames.BLOCK_ROWS)]
    parts = [
        b"".join(planes([column[row] for row in block]) for column in numbers) + b"".join(own[row] for row in block)
        for numbers in [([len(item) for item in own], [counts.index(len(item)) for item in pieces], behind, sizes)]
        for block in blocks
    ]
    lines = b"".join(b"%d %s\n" % (item.seq, item.outcome.encode()) for item in rows)
    held = [sum(sizes[row] for row in block) for block in blocks]
    return lines, b"".join(row.receipt for row in rows), [head, *parts], held


def shown(frame: frames.DecisionFrame) -> tuple[bytes, bytes, list[bytes], list[int]]:
    lines = frames.outcome_lines(frame.outcomes)
    blocks = -(-lines.count(b"\n") // frames.BLOCK_ROWS)
    before = crc32(b"%d %d%s" % (frame.first, frame.seq, frame.outcomes))
    parts = frames.parts_of(frame.data, before, frame.crc, 1 + blocks, blocks)
    ends = list(accumulate(parts.beside, initial=0))
    beside = [b"", *(frame.receipts[start:end] for start, end in pairwise(ends))]
    return lines, frame.receipts, list(map(parts.text, range(1 + blocks), beside)), list(parts.beside)


documents = st.tuples(
    texts, st.binary(min_size=32, max_size=32), texts, st.booleans(), st.sampled_from(["approve", "b"])
)
events = st.tuples(ids, st.integers(-(2**62), 2**62), texts, st.booleans())


@settings(max_examples=examples(400), deadline=None)
@given(
    st.lists(documents, min_size=1, max_size=30),
    st.lists(events, min_size=1, max_size=30),
    st.integers(1, 2**40),
    st.booleans(),
)
def test_columns_of_a_batch_are_framed_to_the_same_bytes(decided, recorded, first, has_labels):
    made = [
        (head + digest.hex().encode() * (1 + (seq % 3 == 0)) * is_there + tail, digest, outcome)
        for seq, (head, digest, tail, is_there, outcome) in enumerate(decided)
    ]
    names = [str(at) for at in range(len(made))]
    receipts = np.frombuffer(b"".join(item[1] for item in made), np.uint8).reshape(-1, 32)
    columns = DecisionColumns(
        ["p"] * len(made),
        range(first, first + len(made)),
        names,
        [item[2] for item in made],
        receipts,
        JoinedTexts.of([item[0] for item in made]),
    )
    rows = [
        DecisionRow(first + at, "p", names[at], decision[2], decision[1], decision[0])
        for at, decision in enumerate(made)
    ]
    listed = [
        Record(first + at, "label", "label", id_, time_ms, body, False)
        if has_labels and at % 4 in {0, 3}
        else Record(
            first + at, "event", ["pay", "log in"][at % 5 == 0], id_, time_ms, body + id_.encode() * is_there, True
        )
        for at, (id_, time_ms, body, is_there) in enumerate([*recorded, recorded[0]])
    ]
    paid = [record for record in listed if record.kind == "event"]
    seqs, times = [record.seq for record in paid], np.array([record.time_ms for record in paid])
    bodies, others = JoinedTexts.of([record.body for record in paid]), [item for item in listed if item.kind == "label"]
    of_others = {record.seq: record for record in others}
    records = RecordColumns(
        [record.type for record in paid], seqs, [record.id for record in paid], times, bodies, of_others
    )

    assert list(columns) == rows == [columns[at] for at in range(len(rows))] == columns[:]
    assert list(records) == listed == [records[at] for at in range(len(listed))] == records[:]
    assert frames.pack(columns) == frames.pack(rows)
    assert event_frames.pack(records) == event_frames.pack(listed)
    with (
        patch.object(frames, "FRAME_ROWS", 4),
        patch.object(event_frames, "FRAME_ROWS", 4),
        patch.object(event_frames, "EVENT_FRAME_ROWS", 5),
        patch.object(frames, "BLOCK_ROWS", 3),
        patch.object(event_frames, "BLOCK_ROWS", 3),
    ):
        assert frames.framed(columns)[0] == frames.framed(rows)[0]
        assert event_frames.framed(records)[0] == event_frames.framed(listed)[0]
        ends = [len(rows) * part // max(1, len(rows) // 4) for part in range(max(1, len(rows) // 4) + 1)]
        if len(rows) >= 4:
            found = [shown(frame) for frame in frames.framed(rows)[0]]
            assert found == [content_of(rows[start:end]) for start, end in pairwise(ends)]


@given(st.lists(st.tuples(texts, st.binary(max_size=3), texts), max_size=9), st.integers(0, 9))
def test_texts_are_found_and_replaced_as_python_does(given_, place):
    held = [head + digest.hex().encode() + tail for head, digest, tail in given_]
    inside, digests, others = (
        JoinedTexts.of(list(each)) for each in (held, [row[1] for row in given_], [b":"] * len(held))
    )
    digits = [digest.hex().encode() for _, digest, _ in given_]
    behind = [len(text) - text.rfind(digit) if digit else 0 for text, digit in zip(held, digits, strict=True)]
    replaced = {place: b"other", 0: b""} if place < len(held) else {}

    assert digit_distances(inside.data, inside.ends, digests.data, digests.ends).tolist() == behind
    assert first_positions(inside.data, inside.ends, others.data, others.ends).tolist() == [
        item.find(b":") for item in held
    ]
    assert list(inside.but(replaced)) == [replaced.get(at, text) for at, text in enumerate(held)]
    assert [text.encode() for text in ("é", "", "a")] == list(JoinedTexts.written(["é", "", "a"]))
    assert list(JoinedTexts.written(["é", "", "a"], "'é", "'")) == ["'éé'".encode(), "'é'".encode(), "'éa'".encode()]
    assert [list(inside[start:]) for start in range(len(held) + 1)] == [held[start:] for start in range(len(held) + 1)]
