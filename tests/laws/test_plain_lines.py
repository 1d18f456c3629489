"""A line that is read as columns becomes the event, and the bytes, that validation and the codec make of it."""

from __future__ import annotations

import json
from collections import Counter
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroff.errors import InputError
from shroff.events.event import Codec, has_column_form
from shroff.events.formats.encodings import doubled_key, read_stream
from shroff.events.formats.lines import Line
from shroff.events.intake import Submission
from shroff.events.validation import EventValidator
from shroff.log.columns.lines import EventRun, LineOrigin
from shroff.log.columns.read_lines import LineForm, ReadLines, TextRoom, joined_texts
from tests.support.effort import examples
from tests.support.projects import definitions

EVENTS = """
payment:
  id: id
  time: at
  decide: true
  fields:
    id: text
    at: time
    amount: money >= -0.05 and < 99_999
    note: text?
    paid: time? >= 2026-03-01
    channel: choice(pos, web)?
    kind: choice(a, b, ...)?
    count: integer? >= 0 and < 9007199254740990
    large: boolean?
    rate: number(3)? > -0.5
"""
OTHERS = {"features.yaml": None, "rules/large.yaml": None}
PROJECT = definitions({"events.yaml": EVENTS, **OTHERS})
TYPE = PROJECT.events.types["payment"]

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.sampled_from(["é" * 20, '"\\\n\u2028', "😀"])
TIMES = st.sampled_from(
    [
        *("2026-03-01T10:00:00Z", "2026-03-01T10:00:00.250Z", "2026-03-01T10:00:00.000Z", "2026-03-01T10:00:00.5Z"),
        *("2026-02-29T10:00:00Z", "2026-03-01T24:00:00Z", "2026-03-01T10:00:60Z", "2026-03-01T10:00:00+01:00"),
        *("2026-03-01 10:00:00Z", "2026-03-01T10:00:00z", "0999-03-01T10:00:00Z", "9999-12-31T23:59:59.999Z"),
        *(1772323200000, 1772323200250, "1772323200250", 0, -1, 5, -30_610_224_000_000, -30_610_224_000_001, 1.5e12),
        *(253_402_300_799_999, 253_402_300_800_000, "0", "-0", "01772323200000", "9" * 19, 10**18, 1772323200000.0),
        *("1772323200000", "2026-03-01T10:00Z", "2026-03-01T10:00:00.250250Z", "٢026-03-01T10:00:00Z"),
    ]
)
AMOUNTS = st.sampled_from(
    [
        *("12.34", "0.05", "-0.05", "00.05", ".05", "12.3", "12", "+1.00", "1e2", " 1.00", "1_0.00", "٣.00", "-0.00"),
        *("10000000000000.00", "99999999999999.99", 12, 12.5, {"amount": "1.00", "currency": "EUR"}),
    ]
)
INTEGERS = st.integers(-(2**53) - 2, 2**53 + 2) | st.sampled_from([5.0, "5", 1e15, 2**63, True])
FIELDS = {
    "id": TEXTS | st.sampled_from(["p1", "x" * 200, "x" * 201]),
    "at": TIMES,
    "amount": AMOUNTS,
    "note": st.none() | TEXTS,
    "paid": st.none() | TIMES,
    "channel": st.sampled_from(["pos", "web", "", "other", None]),
    "kind": st.sampled_from(["a", "c", "", None, 1]),
    "count": INTEGERS,
    "large": st.sampled_from([True, False, None, "true", 1]),
    "rate": st.sampled_from(["1.5", "1.500", "0.125", "0.1255", "-0.5", 1.5, 2, "0"]),
    "further": st.sampled_from([1, {"a": [1]}]),
}
USUAL = {"id": "p1", "at": "2026-03-01T10:00:00Z", "amount": "5.00"}


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """A line of JSON: usual values, and some that are not; now and then a key twice, or spaces."""
    fields = dict(USUAL)
    for name in draw(st.lists(st.sampled_from(list(FIELDS)), unique=True, max_size=4)):
        fields[name] = draw(FIELDS[name])
    text = json.dumps(fields, ensure_ascii=draw(st.booleans()), separators=draw(st.sampled_from([(",", ":"), None])))
    if draw(st.integers(0, 9)) == 0:
        text = f'{text[:-1]},"note":"again"}}'
    return f"{text}{draw(st.sampled_from([chr(10), '', chr(13) + chr(10)]))}".encode()


def by_the_door(raw: bytes) -> tuple[object, bytes]:
    """The event of a line as the long way gives it, and its body."""
    with read_stream(BytesIO(raw), "jsonl", name="x") as opened:
        (line,) = opened
    assert line.columns is not None, line.error
    event = EventValidator(PROJECT.events, PROJECT.settings).admit("payment", line.columns, is_strict=False)
    return event, Codec(TYPE).encode(event)


def law_of_runs(outcomes: Counter[bool]) -> None:
    form, codec = LineForm(TYPE, TextRoom()), Codec(TYPE)

    def careful(line: Line) -> Submission:
        return Submission("x", line.place, bytes, "payment", refusal="odd")

    @settings(max_examples=examples(2_000, usual=150), database=None, derandomize=True)
    @given(st.lists(lines(), min_size=1, max_size=4))
    def same(raws: list[bytes]) -> None:
        read = ReadLines.of(raws, form)
        others = {at: careful(Line(at, raws[at], None, None)) for at in read.odd}
        run = EventRun([read], others, [LineOrigin("x", len(raws), str)])
        outcomes.update(at in others for at in range(len(raws)))
        assert list(zip(run.events, run.bodies, strict=True)) == [by_the_door(raws[at]) for at in run.at]
        assert [run.event(row) for row in range(len(run.at))] == run.events
        assert [item.event and codec.encode(item.event) for item in run] == [
            None if at in others else by_the_door(raw)[1] for at, raw in enumerate(raws)
        ]
        assert all(at not in others for at, raw in enumerate(raws) if plain(raw)), "it is as plain as can be"

    def plain(raw: bytes) -> bool:
        """Whether every field is as the log stores it."""
        is_early = b'"0999-' in raw  # compiled code leaves years of three digits to others
        if not raw.isascii() or is_early or b"\\" in raw or doubled_key(raw) is not None:
            return False
        try:
            _, body = by_the_door(raw)
        except InputError:
            return False
        given = {name: value for name, value in json.loads(raw).items() if value is not None}
        return json.dumps(given, sort_keys=True) == json.dumps(json.loads(body), sort_keys=True)  # 5.0 is not 5

    same()


def test_lines_that_are_read_as_columns_are_what_the_door_makes_of_each():
    outcomes: Counter[bool] = Counter()
    law_of_runs(outcomes)

    assert min(outcomes[True], outcomes[False]) > outcomes.total() // 10


def test_times_in_milliseconds_are_read_as_columns():
    times_ms = [1772323200000, 1772323200250, 0, -1, 7, -30_610_224_000_000, 253_402_300_799_999, 951_782_400_000]
    tokens = [form % time_ms for time_ms in times_ms for form in ("%d", " %d ", '"%d"')]
    raws = [b'{"id":"p1","at":%s,"amount":"5.00"}' % token.encode() for token in tokens]
    read = ReadLines.of(raws, LineForm(TYPE, TextRoom()))

    assert read.odd == []
    assert list(read.bodies()) == [by_the_door(raw)[1] for raw in raws]


TOKENS = [
    *(
        "-0",
        "-0.0",
        "012",
        "1.",
        ".5",
        "-",
        "1e2",
        "1E2",
        "+1",
        "NaN",
        "1 2",
        "1,",
        "12x",
        "0x1",
        "99999999999999999999",
    ),
    *('""', '"0012.50"', '"-"', '"."', '"1."', '" 1"', '"1.00 "', '"-0.00"', '"0.000"', '"1000000000000000.00"'),
    *("tru", "truee", "True", "null", "nul", "nulll", "{}", "[]", "[1]", '"a\tb"', '"a\x1fb"', '"open', "'1'", ""),
]


@pytest.mark.parametrize("field", ["amount", "count", "large", "rate", "note", "kind", "paid", "id", "at"])
def test_tokens_that_are_no_values_are_left_to_the_door(field: str):
    form, whole = LineForm(TYPE, TextRoom()), {name: json.dumps(value) for name, value in USUAL.items()}
    texts = ["{" + ",".join(f'"{name}":{text}' for name, text in (whole | {field: token}).items()) for token in TOKENS]
    raws = [f"{text}{end}".encode() for text in texts for end in ("}", "} \r\n", "}}", "},", ",}", "", "} x", "}\n{}")]
    read = ReadLines.of(raws, form)
    found = set(range(len(raws))) - set(read.odd)
    bodies = read.bodies()

    for at in found:
        assert bodies[at] == by_the_door(raws[at])[1]
    assert len(found) < len(raws) / 4


BODY = {
    "id": "p1",
    "at": "2026-03-01T10:00:00Z",
    "amount": "5.00",
    "a_name_of_more_letters_than_a_vector_has": 7,
    "channel": "pos",
    "note": "é" * 16,
}
LONG = definitions({"events.yaml": f"{EVENTS}    a_name_of_more_letters_than_a_vector_has: integer?\n", **OTHERS})


@pytest.mark.parametrize("end", ['"', "\\n", "\n", "\t", "é", "\\u00e9", "\0", " "])
def test_a_text_ends_where_json_says_at_any_distance(end: str):
    """With bodies as a log has them, behind whose last line no more stands."""
    texts = ["x" * size + end + "," + "y" * (size // 2) for size in range(70)]
    raws = [b'{"amount":"5.00","at":"2026-03-01T10:00:00Z","id":"p1","note":"%s"}\n' % text.encode() for text in texts]
    data = np.frombuffer(b"".join(raws), np.uint8)
    ends = np.array(list(map(len, raws))).cumsum() - 1
    read = ReadLines.scanned([b""] * len(raws), LineForm(TYPE, None), data, np.append(0, ends[:-1] + 1), ends)
    note = TYPE.at("note")
    found = zip(read.firsts[note].tolist(), read.lasts[note].tolist(), strict=True)

    if end in {"é", " "}:
        assert [data[first:last].tobytes().decode() for first, last in found] == texts
    assert bool(read.is_odd.all()) is (end not in {"é", " "}) is bool(read.is_odd.any())


def test_a_line_with_any_byte_changed_or_cut_is_read_as_json_says_or_left_to_the_door():
    type_, validator = LONG.events.types["payment"], EventValidator(LONG.events, LONG.settings)
    whole = [json.dumps(BODY, ensure_ascii=False, separators=marks).encode() for marks in ((",", ":"), (" ,", ": "))]
    whole.append(json.dumps(dict(reversed(BODY.items())), ensure_ascii=False).encode())
    raws = [line[:cut] for line in whole for cut in range(len(line)) if line[:cut].decode(errors="ignore")]
    raws = [raw for raw in raws if raw.decode(errors="replace").encode() == raw]
    changes = ('"', "\\", ",", ":", "{", "}", "[1]", "0", "-", "\n", " ", "\0", "é", '"note":"z",', "")
    for line in whole:
        text = line.decode()
        raws += [f"{text[:at]}{to}{text[at + 1 :]}".encode() for at in range(len(text)) for to in changes]
    read = ReadLines.of([*whole, *raws], LineForm(type_, TextRoom()))
    bodies, codec = read.bodies(), Codec(type_)
    taken = sorted({*range(len(whole) + len(raws))} - {*read.odd})

    assert taken[: len(whole)] == list(range(len(whole)))
    assert len(taken) > 500
    for at in taken:
        raw = [*whole, *raws][at]
        assert doubled_key(raw) is None
        assert bodies[at] == codec.encode(validator.admit("payment", json.loads(raw), is_strict=False)), raw


def test_a_field_that_no_line_has_is_not_read_by_the_name_that_stands_for_it():
    form = LineForm(TYPE, TextRoom())
    form.sent = joined_texts([b'"\0":' if name == "note" else b'"%s":' % name.encode() for name in TYPE.field_names])
    read = ReadLines.of([b'{"id":"p1","at":1772323200000,"amount":"5.00","\0":"x"}' + b" " * 40], form)

    assert read.odd == [0]


def test_the_law_sees_an_amount_that_is_not_as_it_is_stored(monkeypatch: pytest.MonkeyPatch):
    form = LineForm(TYPE, TextRoom())
    form.plan[TYPE.at("amount")][1] += 1  # decimal places
    monkeypatch.setattr("tests.laws.test_plain_lines.LineForm", lambda *_: form)
    with pytest.raises(AssertionError):
        law_of_runs(Counter())


@pytest.mark.parametrize("shape", ["real?", "duration?", "text? hashed", "text? personal"])
def test_types_that_are_stored_in_another_form_are_not_read_as_columns(shape: str):
    changed = definitions({"events.yaml": f"{EVENTS}    more: {shape}\n", **OTHERS})

    assert has_column_form(TYPE)
    assert not has_column_form(changed.events.types["payment"])
