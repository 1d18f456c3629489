"""The law of the log's columns: they hold what the records say, value by value."""

from __future__ import annotations

from itertools import chain
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.errors import DefinitionError
from shroff.events.event import Event, time_text
from shroff.features.frames import Coded, ColumnFrame
from shroff.language.columns import values_of
from shroff.language.values import Value
from shroff.log.columns import stored as columns
from shroff.log.columns.stored import LineReader, ids_of, log_columns, outcomes_of
from shroff.log.history import Records
from shroff.log.writer import Writer
from shroff.project.policy import OUTCOMES
from shroff.streams.log import Record
from tests.laws.projects import histories, history_of, project
from tests.laws.test_engines import LAW, NOW_MS, Made, in_disorder, submission
from tests.support import projects
from tests.support.log_memory import MemoryLog

FEATURES = "card: { labels: count(label) }\n"
ODD_TEXTS = ('a"b\\c', "é\u2028", "\U0001f4b6", "line\nend", "tab\t", " ", "x" * 200)


def rows_of(log: MemoryLog, definitions: object) -> dict[int, tuple[Value, ...]]:
    """The values of every event by its place, from the columns."""
    found: dict[int, tuple[Value, ...]] = {}
    for piece in log_columns(log, definitions):
        for name, frame in piece.frames.items():
            if name == "label":
                continue
            assert isinstance(frame, ColumnFrame)
            read = [frame.columns[field.name] for field in frame.type.fields]
            listed = [values_of(item.column() if isinstance(item, Coded) else item) for item in read]
            for row, values in zip(frame.rows.tolist(), zip(*listed, strict=True), strict=True):
                found[piece.after + 1 + row] = values
            assert ids_of(frame).to_pylist() == listed[frame.type.at(frame.type.id_field)]
    return found


@LAW
@given(made=histories())
def test_columns_hold_what_the_records_say(made: Made):
    definitions, history = project(FEATURES), in_disorder(history_of(*made), Random(made[0]))
    log = MemoryLog()
    writer = Writer(log, definitions, lambda: NOW_MS)
    writer.write([submission(event) for event in history])
    records = list(chain.from_iterable(log.read()))
    events = {record.seq: writer.state.records.decode(record) for record in records}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "LINES", 7)
        pieces = list(log_columns(log, definitions))
        found = rows_of(log, definitions)

    assert found == {seq: event.values for seq, event in events.items() if isinstance(event, Event)}
    labels = {piece.after + 1 + row: label.values for piece in pieces for row, label in piece.labels}
    assert labels == {record.seq: events[record.seq].values for record in records if record.kind == "label"}
    places, outcomes = outcomes_of(log)
    rows = list(chain.from_iterable(log.decisions.after()))
    assert list(zip(places.tolist(), [OUTCOMES[outcome] for outcome in outcomes.tolist()], strict=True)) == [
        (row.seq, row.outcome) for row in rows
    ]


@pytest.mark.parametrize("time_ms", [-1, 0, 951_782_400_000, 951_868_800_000, 4_107_542_399_999, 253_402_300_799_000])
def test_times_of_any_year_are_read(time_ms: int):
    """The 28th and 29th of February 2000, the end of February 2100, the last second of the year 9999."""
    log = MemoryLog()
    fields = {"id": "p", "at": time_text(time_ms), "card": "c", "amount": "1.00"}
    without_limit = {"shroff.yaml": projects.FILES["shroff.yaml"] + "ahead: off\n"}
    projects.writer(log, without_limit).write([projects.submission("payment", 1, fields)])

    assert rows_of(log, projects.definitions(without_limit))[2][1] == time_ms


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_texts_with_escapes_are_read(text: str):
    log = MemoryLog()
    fields = {"id": text, "at": "2026-03-01T12:00:00Z", "card": text, "amount": "1.00"}
    projects.writer(log).write([projects.payment(1), projects.submission("payment", 2, fields), projects.payment(3)])

    assert [values[:1] + values[2:3] for values in rows_of(log, projects.definitions()).values()] == [
        ("p1", "c"),
        (text, text),
        ("p3", "c"),
    ]


def test_amounts_that_were_written_with_other_places_are_brought_to_these():
    log = MemoryLog()
    projects.writer(log).write([projects.payment(1, amount="12.35"), projects.payment(2, amount="-0.05")])
    fewer = projects.definitions({"shroff.yaml": "shroff: 1\nname: small\nmoney: { currency: EUR, places: 1 }\n"})
    more = projects.definitions({"shroff.yaml": "shroff: 1\nname: small\nmoney: { currency: EUR, places: 4 }\n"})

    assert [values[3] for values in rows_of(log, fewer).values()] == [124, 0]
    assert [values[3] for values in rows_of(log, more).values()] == [123_500, -500]


def test_a_field_that_cannot_be_read_any_more_is_told_as_the_codec_tells_it():
    log = MemoryLog()
    projects.writer(log).write([projects.payment(1)])
    changed = projects.FILES["events.yaml"].replace("amount: money", "amount: integer")
    other = projects.definitions({"events.yaml": changed, "features.yaml": "", "rules/large.yaml": None})

    with pytest.raises(DefinitionError, match="sequence number 2"):
        rows_of(log, other)


EVERY_KIND = """
payment:
  id: id
  time: at
  decide: true
  fields:
    id: text
    at: time
    how: choice(pos, web)?
    sum: money?
    rate: number(6)?
    count: integer?
    weight: real?
    took: duration?
    is_new: boolean?
    name: text?
"""
GONE = "    gone: text?\n"
UNITS = st.integers(-(10**15), 10**15)
VALUES: tuple[st.SearchStrategy[Value], ...] = (
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5),
    st.integers(-62_135_596_800_000, 253_402_300_799_999),
    st.none() | st.sampled_from(["pos", "web", "atm"]),
    st.none() | UNITS | st.integers(-200, 200),
    st.none() | UNITS,
    st.none() | st.integers(-200, 200) | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-99, 99).map(float),
    st.none() | st.integers(-(10**6), 10**6) | UNITS,
    st.none() | st.booleans(),
    st.none() | st.sampled_from([*ODD_TEXTS, "n", "", "null"]),
)


@given(st.lists(st.tuples(*VALUES, st.none() | st.sampled_from(["", '"', "x"])), min_size=1, max_size=9))
def test_a_value_of_any_kind_is_read_as_the_codec_reads_it(rows: list[tuple[Value, ...]]):
    small = {"features.yaml": "", "rules/large.yaml": None}
    before, now = (projects.definitions(small | {"events.yaml": EVERY_KIND + gone}) for gone in (GONE, ""))
    stored, codec = Records(before.events, 2), Records(now.events, 2)
    bodies = [stored.encode(Event("payment", str(row[0]), int(str(row[1])), row)) for row in rows]
    records = [Record(seq, "event", "payment", "", 0, body, decided=True) for seq, body in enumerate(bodies, 7)]

    frame = LineReader(now).piece_of(records).frames["payment"]
    assert isinstance(frame, ColumnFrame)
    read = [frame.columns[field.name] for field in frame.type.fields]
    listed = [values_of(item.column() if isinstance(item, Coded) else item) for item in read]
    expected = [codec.decode(record) for record in records]
    assert list(zip(*listed, strict=True)) == [item.values for item in expected if isinstance(item, Event)]
