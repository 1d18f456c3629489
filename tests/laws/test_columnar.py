"""The law of validation for columns: of any table it admits the rows that row validation admits, and as the same."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroff.events.definitions import Events, EventType, Field, FileMapping, Settings
from shroff.events.formats.column_readers import WantedField, column_reader
from shroff.events.formats.columns import ColumnValidator
from shroff.events.formats.lines import Lines
from shroff.events.formats.parquet import lines_of, row_values
from shroff.events.intake import Intake
from shroff.events.raw_values import text_of
from shroff.events.readers import reader
from shroff.language.checker import check
from shroff.language.columns import Column, values_of
from shroff.language.field_types import parse_field_type
from shroff.language.names import DeclaredNames, Scope
from tests.support.effort import examples

LAW = settings(max_examples=examples(600))
FIELD_TYPES = [
    *("text", "text hashed", "choice(pos, web)", "choice(pos, 1, ...)", "integer", "number", "number(0)", "number(2)"),
    *("number(12)", "money", "real", "boolean", "time", "duration"),
    *("integer >= 0 and < 1000", "money > 0", "number(2) <= 12.3", "real > -1.5", "time >= 2026-03-01"),
]
TEXTS = st.one_of(
    st.sampled_from(
        ["", "pos", "web", "1", "true", "false", "12.30", "-0", "1e3", " 7 ", "2026-03-01T10:00:00Z", "7d"]
    ),
    st.sampled_from(["é" * 200, "é" * 201, "x" * 200, "x" * 201, "€" * 21_846, "x" * 65_536, "x" * 65_537]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**14), max_value=10**14).map(str),
    st.integers().map(str),
)
EDGES = [0, 1, -1, 10**13, 10**13 + 1, -(10**13), 10**15, 10**15 + 1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1]
CALENDAR_MS = [-62_135_596_800_000, -62_135_596_800_001, 253_402_300_799_999, 253_402_300_800_000]
FLOATS = st.one_of(
    st.floats(),
    st.floats(-1e5, 1e5),
    st.integers(-(10**9), 10**9).map(lambda cents: cents / 100),
    st.integers(-(10**7), 10**7).map(lambda mills: mills / 1_000 + 0.005),
    st.sampled_from([0.0, -0.0, 2.0**53, 2.0**53 + 2, 2.0**24, 2.0**24 + 2, 1e13, 1e15, 1e300, 131_072.01, 0.005]),
)


def whole(low: int, high: int) -> st.SearchStrategy[int]:
    return st.one_of(
        st.integers(low, high),
        st.integers(max(low, -1_000), min(high, 1_000)),
        st.sampled_from([edge for edge in EDGES + CALENDAR_MS if low <= edge <= high] or [0]),
    )


def digits(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    limit = 10**precision - 1
    return whole(-limit, limit).map(lambda number: Decimal(f"{number}E-{scale}"))


def instants(unit: str) -> st.SearchStrategy[int]:
    """Ticks around the ends of the calendar and inside it, and any."""
    per_s = {"s": 1, "ms": 1_000, "us": 10**6, "ns": 10**9}[unit]
    edges = [at_ms * per_s // 1_000 + more for at_ms in CALENDAR_MS for more in (-1, 0, 1)]
    inside = [edge for edge in edges if -(2**63) <= edge < 2**63]
    return st.one_of(
        st.integers(-(2**63) // per_s, 2**63 // per_s - 1),
        whole(-(2**63), 2**63 - 1),
        st.integers(0, 4 * 10**9).map(lambda at_s: min(at_s * per_s + 7, 2**63 - 1)),
        st.sampled_from(inside or [0]),
    )


COLUMNS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    *((getattr(pa, f"int{bits}")(), whole(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)) for bits in (8, 16, 32, 64)),
    *((getattr(pa, f"uint{bits}")(), whole(0, 2**bits - 1)) for bits in (8, 16, 32, 64)),
    (pa.float64(), FLOATS),
    (pa.float32(), FLOATS.map(lambda value: float(np.float32(min(max(value, -3e38), 3e38))))),
    (pa.float16(), st.floats(-60_000, 60_000).map(np.float16)),
    *((pa.decimal128(p, s), digits(p, s)) for p, s in ((5, 2), (18, 2), (38, 0), (38, 3), (20, 13), (38, 30))),
    (pa.decimal256(60, 4), digits(60, 4)),
    (pa.bool_(), st.booleans()),
    (pa.string(), TEXTS),
    (pa.large_string(), TEXTS),
    (pa.string_view(), TEXTS),
    (pa.string(), st.one_of(TEXTS, st.sampled_from([b"\xff", b"a\xe2\x82"]))),  # what is no UTF-8
    (pa.binary(), st.one_of(st.binary(max_size=4), TEXTS.map(str.encode))),
    (pa.binary_view(), st.one_of(st.binary(max_size=4), TEXTS.map(str.encode))),
    *((pa.timestamp(unit), instants(unit)) for unit in ("s", "ms", "us", "ns")),
    (pa.timestamp("us", tz="Europe/Berlin"), instants("us")),
    *(
        (pa.duration(unit), st.one_of(st.integers(-(2**53), 2**53), whole(-(2**63), 2**63 - 1)))
        for unit in ("s", "ms", "us", "ns")
    ),
    (pa.date32(), st.dates()),
    (pa.time64("us"), st.times()),
    (pa.null(), st.none()),
    (pa.dictionary(pa.int8(), pa.string()), TEXTS),
    (pa.dictionary(pa.uint8(), pa.int64()), whole(-(2**63), 2**63 - 1)),
    (pa.list_(pa.int64()), st.lists(st.integers(0, 9), max_size=2)),
    (
        pa.struct([("amount", pa.string()), ("currency", pa.string())]),
        st.fixed_dictionaries({"amount": TEXTS, "currency": st.sampled_from(["EUR", "USD"])}),
    ),
]
PLAIN = st.text("ab-1", min_size=1, max_size=3)  # texts, numbers and times that nearly every row may have
IDS = [
    *((type_, st.one_of(PLAIN, PLAIN, TEXTS)) for type_ in (pa.string(), pa.large_string())),
    (pa.int64(), whole(-(2**63), 2**63 - 1)),
    (pa.dictionary(pa.int8(), pa.string()), st.one_of(PLAIN, TEXTS)),
]
SECONDS = st.integers(0, 4 * 10**9)
TIMES = [
    *((pa.timestamp(unit), st.one_of(SECONDS, SECONDS, instants(unit))) for unit in ("ms", "us", "ns")),
    (pa.int64(), st.one_of(SECONDS, SECONDS, whole(-(2**63), 2**63 - 1))),
    (pa.uint64(), st.one_of(SECONDS, whole(0, 2**64 - 1))),
    (pa.string(), st.one_of(SECONDS.map(str), TEXTS)),
]
FITTING = {  # the columns that people have for a field, by what their types are called
    **dict.fromkeys(["integer", "number", "money", "real"], ("int", "uint", "decimal", "double", "float")),
    **dict.fromkeys(["text", "choice"], ("string", "dictionary", "int64")),
    "boolean": ("bool",),
    "time": ("timestamp",),
    "duration": ("duration",),
}
MAPPINGS = {
    "renamed": "row.other",
    "number": "row.number",
    "computed": "text(row.other) else 'none'",
    "nested": "row.other.amount",
}


@dataclass(frozen=True)
class Case:
    """A table, and the type that its rows are read as."""

    batch: Any
    type: EventType


def array_of(type_: Any, values: list[Any]) -> Any:
    if pa.types.is_timestamp(type_) or pa.types.is_duration(type_):
        return pa.array(values, pa.int64()).cast(type_)
    if pa.types.is_string(type_):  # bytes stay what they are
        return pa.array([value.encode() if isinstance(value, str) else value for value in values], pa.binary()).view(
            type_
        )
    if pa.types.is_dictionary(type_):
        return pa.array(values, type_.value_type).dictionary_encode().cast(type_)
    return pa.array(values, type_)


@st.composite
def columns(draw: st.DrawFn, choices: list[tuple[Any, st.SearchStrategy[Any]]], rows: int) -> Any:
    """An array that may start inside another one."""
    type_, values = draw(st.sampled_from(choices))
    hole = st.none() if draw(st.booleans()) else values
    listed = draw(st.lists(st.one_of(values, values, hole), min_size=rows + 1, max_size=rows + 1))
    return array_of(type_, listed).slice(1)


def fitting(kind: str) -> list[tuple[Any, st.SearchStrategy[Any]]]:
    """Every column once, and thrice those that fit a field of this type."""
    starts = FITTING[kind.split("(", maxsplit=1)[0].split(maxsplit=1)[0].rstrip("?")]
    return COLUMNS + 3 * [(type_, values) for type_, values in COLUMNS if str(type_).startswith(starts)]


def _marked(kind: str, mark: str) -> str:
    """The type with a question mark, which stands before its bounds."""
    name, space, bounds = kind.partition(" ") if "choice" not in kind else (kind, "", "")
    return f"{name}{mark}{space}{bounds}"


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rows = draw(st.integers(0, 6))
    plain = st.sampled_from([kind.replace(" hashed", "") for kind in FIELD_TYPES])
    kinds = [_marked(draw(plain), draw(st.sampled_from(["", "?"]))) for _ in "xy"]
    marks = [draw(st.booleans()) and kind.startswith("text") for kind in kinds]
    texts = {
        "id": "text hashed" if draw(st.booleans()) else "text",
        "at": "time",
        "x": kinds[0] + " hashed" * marks[0],
        "y": kinds[1] + " hashed" * marks[1],
    }
    fields = tuple(Field(name, parse_field_type(text, money_places=2)) for name, text in texts.items())
    chosen = draw(st.sampled_from([*[""] * 6, "renamed", *MAPPINGS]))
    mappings = {}
    if chosen:
        scope = Scope(DeclaredNames(money_places=2), what="a mapping", reads_row=True)
        mappings["parquet"] = FileMapping(None, {"x": check(MAPPINGS[chosen], scope)})
    names = ["id", "at", "y", "other", "z"] if chosen else ["id", "at", "x", "y"]
    if "?" in kinds[1] and draw(st.booleans()):
        names.remove("y")
    choices = {"id": IDS, "at": TIMES, "x": fitting(kinds[0]), "other": fitting(kinds[0]), "y": fitting(kinds[1])}
    drawn = {name: draw(columns(choices.get(name, COLUMNS), rows)) for name in names}
    return Case(pa.RecordBatch.from_pydict(drawn), EventType("payment", "id", "at", False, fields, mappings))


Rows = tuple[list[tuple[int, tuple[Any, ...]]], list[tuple[int, str]]]


def hasher(value: str) -> str:
    return f"#{value}#"


def by_rows(case: Case) -> Rows:
    """What row validation admits, by place, and what it refuses."""
    lines = Lines("parquet", tuple(case.batch.schema.names), lines_of(case.batch, range(1, 100)), lambda: None)
    intake = Intake(Events({"payment": case.type}), Settings(), hasher)
    admitted, refused = [], []
    for at, submission in enumerate(intake.submissions(lines, "f.parquet", "payment")):
        if submission.event is None:
            refused.append((at, submission.refusal or ""))
        else:
            admitted.append((at, submission.event.values))
    return admitted, refused


def by_columns(case: Case) -> Rows:
    validator = ColumnValidator(
        Events({"payment": case.type}), Settings(), hasher, "payment", case.batch.schema, "f.parquet"
    )
    found = validator.admit(case.batch.select(validator.columns), 0)
    values = [column_values(found.columns[name]) for name in case.type.field_names]
    return list(zip(found.rows.tolist(), zip(*values, strict=True), strict=True)), list(found.refused)


def column_values(column: Any) -> list[Any]:
    if not isinstance(column, Column):
        return list((column.cast(pa.string()) if pa.types.is_integer(column.type) else column).to_pylist())
    assert not column.values[~column.valid].any(), "where a value is missing, columns have 0"
    return values_of(column)


def exact(rows: Rows) -> Any:
    """With types, since True equals 1 and 0.0 equals -0.0."""
    return [(at, tuple((type(value), repr(value)) for value in values)) for at, values in rows[0]], rows[1]


@LAW
@given(cases())
def test_both_doors_admit_the_same_events_and_refuse_the_same_rows(case: Case) -> None:
    assert exact(by_columns(case)) == exact(by_rows(case))


@LAW
@given(st.data(), st.sampled_from([kind for kind in FIELD_TYPES if "hashed" not in kind]))
def test_a_column_is_read_as_its_rows_are_wherever_its_reader_is_sure(data: st.DataObject, kind: str) -> None:
    type_ = parse_field_type(kind, money_places=2).type
    column = data.draw(columns(fitting(kind), data.draw(st.integers(0, 12))))
    wanted = WantedField(type_, "EUR", is_id=False, hasher=None)

    agrees(column, wanted)


TIES = [1.015, 1.025, -1.015, 2.675, 0.005, 0.015, 4_503_599_627.005, 131_072.01, 20_000.255, 83_886.085]
WHOLE = [2.0**53, 2.0**53 + 2, 2.0**24, 2.0**24 + 2, 999_999_936.0, 1e13, 1e15, 1e16, 1e300, -1e15, -0.0, 0.5]
NOT_FINITE = [float("nan"), float("inf"), float("-inf")]


@pytest.mark.parametrize("kind", ["integer", "money", "number", "number(0)", "number(2)", "real", "text"])
@pytest.mark.parametrize(
    ("type_", "values"),
    [
        (pa.float64(), TIES + WHOLE + NOT_FINITE + [float(np.float32(tie)) for tie in TIES]),
        (pa.float32(), TIES + WHOLE + NOT_FINITE),
        (pa.decimal128(38, 3), [Decimal(f"{mills}E-3") for mills in (5, 15, 500, 1_025, -5, -15, 1_500)]),
        (pa.decimal128(38, 0), [Decimal(edge) for edge in EDGES]),
        (pa.int64(), [edge for edge in EDGES if edge < 2**63]),
        (pa.uint64(), [edge for edge in EDGES if edge >= 0]),
    ],
)
def test_ties_and_edges_are_read_as_rows_read_them(type_: Any, values: list[Any], kind: str) -> None:
    agrees(
        pa.array(values, type_),
        WantedField(parse_field_type(kind, money_places=2).type, "EUR", is_id=False, hasher=None),
    )


def agrees(column: Any, wanted: WantedField) -> None:
    """The reader of columns gives what the reader of rows gives, wherever it is sure."""
    fast, slow = column_reader(column.type, wanted)(column), by_rows_only(column, wanted)

    sure = np.ones(len(column), np.bool_) if fast.sure is None else fast.sure
    there = np.ones(len(column), np.bool_) if fast.there is None else fast.there
    for at in np.flatnonzero(sure | ~there).tolist():
        assert slow[at] is not REFUSED
        assert (slow[at] is not None) == there[at]
        if there[at]:
            found = column_values(fast.values)[at] if wanted.type.is_text else fast.values[at].item()
            assert (type(found), repr(found)) == (type(slow[at]), repr(slow[at]))


REFUSED = object()


def by_rows_only(column: Any, wanted: WantedField) -> list[Any]:
    read = reader(wanted.type, currency=wanted.currency)
    found: list[Any] = []
    for given_value in row_values(column):
        value = text_of(given_value) if wanted.type.is_text else given_value
        try:
            found.append(None if value is None or value == "" else read(value))
        except (ValueError, OverflowError):
            found.append(REFUSED)
    return found


@pytest.mark.parametrize(
    ("type_", "values", "kind"),
    [
        (pa.int64(), [1, -7, 10**13], "money"),
        (pa.uint64(), [1, 2**63 - 1], "integer"),
        (pa.decimal128(18, 4), [Decimal("1.5000"), Decimal("-99.0100")], "money"),
        (pa.decimal128(18, 8), [Decimal("0.00000050"), Decimal("0.00000150")], "number"),
        (pa.float64(), [12.34, 0.1 + 0.2, 99_999.994, 1e12], "money"),
        (pa.float32(), [12.34, 20_000.25], "money"),
        (pa.float64(), [3.0, -(2.0**53)], "integer"),
        (pa.timestamp("us"), [0, 1_999], "time"),
        (pa.string(), ["pos", "x" * 65_536], "text"),
    ],
)
def test_what_people_have_is_read_without_a_look_at_rows(type_: Any, values: list[Any], kind: str) -> None:
    wanted = WantedField(parse_field_type(kind, money_places=2).type, "EUR", is_id=False, hasher=None)
    read = column_reader(type_, wanted)(array_of(type_, values))

    assert read.sure is None or read.sure.all()
