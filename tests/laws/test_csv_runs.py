"""Records of CSV that are read and decided as columns leave what the same records leave that are taken one by one."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from shroff.errors import UsageError
from shroff.events.event import time_text
from shroff.events.formats.encodings import read_stream
from shroff.events.formats.lines import LINE_BYTES_MAX
from shroff.events.intake import Intake
from shroff.log.columns import csv_columns, file_runs
from shroff.log.columns.csv_columns import CellForm, cell_form
from shroff.log.columns.file_runs import submissions_in_runs
from shroff.log.columns.lines import InRuns
from tests.laws.test_line_runs import PROJECT, START_MS, left_by, runs_of
from tests.support.effort import examples
from tests.support.projects import definitions

HEADER = ["id", "at", "card", "note", "amount", "channel", "points", "weight", "is_new", "shop"]
CELLS: dict[str, list[str]] = {
    "card": ["c1", "c2", "ümlaut", "", "c 3 ", "  "],
    "note": ["", " ", "\u00a0", "a\\b", "tab\there", "{}", "é"],
    "amount": ["5.00", "150.00", "12", "7.5", "1e2", " 5.00", "  ", "5000.00", "-0.00", "1,5", ""],
    "channel": ["pos", "web", "phone", ""],
    "points": ["1", "-7", "007", "1.0", "-0", "9007199254740992", "12 ", "x"],
    "weight": ["1.5", "1.500", "2", "0.1255", ""],
    "is_new": ["true", "false", "true ", "True", "1", 'true,"id":"p1"'],
    "shop": ["s1", "s2", "a;b", 'say "hi"', "two\nlines", "a\\b", "\u2028", "ret\rurn"],
}
ODD_LINES = ["\n", "\r\n", "  \n", "p1,only\n", 'p1,"open\n', 'p1,a"b,c\n', '"p1" ,x\n', "p1,\x00\n", "\t\n"]


def naive(time: str) -> str:
    """A time without its offset."""
    return time.removesuffix("Z")


def blank(time: str) -> str:
    """The same as databases write it."""
    return naive(time).replace("T", " ")


def spaced(time: str) -> str:
    return f" {blank(time)}"


@st.composite
def payments(draw: st.DrawFn) -> bytes:
    """A file in the order of time but for a few; most of its records are a line of plain cells."""
    header = draw(st.permutations(HEADER)) if draw(st.booleans()) else HEADER
    separator = draw(st.sampled_from([",", ",", ";", "\t", "|"]))
    is_plain, ends = draw(st.booleans()), draw(st.sampled_from(["\n", "\r\n"]))
    out, now_ms = io.StringIO(newline=""), START_MS + draw(st.integers(0, 3)) * 3_600_000
    quoting: Any = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    writer = csv.writer(out, delimiter=separator, lineterminator=ends, quoting=quoting)
    writer.writerow(header)
    for _ in range(draw(st.integers(1, 16))):
        now_ms += draw(st.sampled_from([0, 1, 250, 60_000, 600_000]))
        late_ms = draw(st.sampled_from([*[0] * 12, 60_000, 7_300_000]))
        found = {name: texts[0] for name, texts in CELLS.items()}
        written = draw(st.sampled_from([str, str, str, str.upper, naive, blank, spaced]))
        found |= {"id": f"p{draw(st.integers(0, 2_000))}", "at": written(time_text(now_ms - late_ms))}
        for name in draw(st.lists(st.sampled_from(sorted(CELLS)), max_size=3)):
            found[name] = draw(st.sampled_from(CELLS[name][:2] if is_plain else CELLS[name]))
        writer.writerow([found[name] for name in header])
        if draw(st.integers(0, 60 if is_plain else 20)) == 0:
            out.write(draw(st.sampled_from(ODD_LINES)))
    text = out.getvalue() if draw(st.booleans()) else out.getvalue().rstrip("\r\n")
    encoding = draw(st.sampled_from([*["utf-8"] * 6, "latin-1"]))
    content = text.encode(encoding, "replace")
    if draw(st.integers(0, 15)) == 0:
        content = content[: len(content) // 2] + "é".encode("latin-1") + content[len(content) // 2 :]
    return content


def test_runs_leave_what_records_one_by_one_leave():
    seen, plain = list[bool](), list[bool]()
    lines_of = CellForm.lines_of

    def noted(self: CellForm, raws: Any) -> Any:
        found = lines_of(self, raws)
        plain.append(found is not None)
        return found

    @settings(
        max_examples=examples(1_000, usual=20),
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(st.lists(payments(), min_size=1, max_size=3), st.sampled_from([1, 3, 16, 256]))
    def same(contents: list[bytes], size: int) -> None:
        files = [("payment", content) for content in contents]
        with runs_of(size, seen), pytest.MonkeyPatch.context() as patch:
            patch.setattr(CellForm, "lines_of", noted)
            found = told(files, size, in_runs=True)
        assert found == told(files, size, in_runs=False)

    same()
    assert min(seen.count(True), seen.count(False)) > len(seen) // 50
    assert min(plain.count(True), plain.count(False)) > len(plain) // 50


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_each_form_of_a_cell_and_of_a_line_is_read_alike(ends: str):
    """One record for each of them, between plain ones: a run whose lines are records but for those that are odd."""
    lines, usual = [",".join(HEADER)], {name: texts[0] for name, texts in CELLS.items()}
    for number, (name, text) in enumerate((name, text) for name, texts in CELLS.items() for text in texts):
        if not {'"', "\n", "\r"} & set(text):
            found = usual | {"id": f"p{number}", "at": time_text(START_MS + number), name: text.replace(",", ".")}
            lines += [",".join(found[name] for name in HEADER), "", f"p{number},only"]
    content = "\ufeff" + ends.join([*lines, ",".join(found[name].replace("p", "q") for name in HEADER)])
    files = [("payment", content.encode()), ("payment", content.replace("p1", "r1").encode())]
    assert all(map(any, columns_of(content.encode())))
    with runs_of(256):
        assert told(files, 256, in_runs=True) == told(files, 256, in_runs=False)


@pytest.mark.parametrize("format, head, line", [
    ("csv", "id,at,card,amount\n", "p{},2026-03-02T10:00:00Z,c1,5.00\n"),
    ("jsonl", "", '{{"id":"p{}","at":"2026-03-02T10:00:00Z","card":"c1","amount":"5.00"}}\n'),
])  # fmt: skip
def test_a_run_of_long_lines_is_shorter(format: str, head: str, line: str, monkeypatch: pytest.MonkeyPatch):
    intake, lines = Intake(PROJECT.events, PROJECT.settings, None), [line.format(at) for at in range(5)]
    with runs_of(256), read_stream(io.BytesIO((head + "".join(lines)).encode()), format) as opened:
        monkeypatch.setattr(file_runs, "RUN_BYTES", 2 * len(lines[0]))
        found = submissions_in_runs(intake, opened, "x", "payment")
        assert isinstance(found, InRuns)
        assert list(map(len, found.runs)) == [2, 2, 1]


def told(files: Any, size: int, *, in_runs: bool) -> object:
    try:
        return left_by(files, size, in_runs=in_runs, format="csv")
    except UsageError as error:  # a header that an odd line spoiled
        return str(error)


def columns_of(content: bytes, project: Any = PROJECT) -> list[list[bool]]:
    """Of each run of lines which are read as columns."""
    found = list[list[bool]]()
    with read_stream(io.BytesIO(content), "csv") as lines:
        form = cell_form(lines, project.events.types["payment"])
        while form is not None and lines.records is not None and (raws := list(lines.records.lines())):
            plain = form.lines_of(raws)
            if plain is None:
                return [*found, []]
            (_, ends), _ = plain
            found.append([begin < end for begin, end in zip([0, *ends.tolist()], ends.tolist(), strict=False)])
    return found


@pytest.mark.parametrize("cells_, is_column", [
    ("p1,2026-03-02T10:00:00Z,c1,5.00", True),
    ('"p1","2026-03-02T10:00:00Z","c1","5.00"', True),
    ('p1,2026-03-02T10:00:00Z,"c,1",5.00', True),
    ("p1,2026-03-02T10:00:00Z,,5.00", True),
    ("p1,2026-03-02 10:00:00,  ,5.00", True),
    ("p1,2026-03-02T10:00:00.250,c1,5.00", True),
    ("p1,2026-03-02T10:00:00Z,c\\1,5.00", False),
    ("p1,2026-03-02T10:00:00Z,c\t1,5.00", False),
    ("p1,2026-03-02T10:00:00Z,c1", False),
    ("p1,2026-03-02T10:00:00Z,c1,5.00,", False),
    (f'p1,2026-03-02T10:00:00Z,{"c" * csv_columns.kernel.CELL_BYTES_MAX},5.00', False),
])  # fmt: skip
def test_plain_lines_are_read_as_columns(cells_: str, is_column: bool):
    assert columns_of(f"id,at,card,amount\n{cells_}\n".encode()) == [[is_column]]


def test_a_line_that_was_cut_at_the_limit_is_no_record_though_it_has_all_cells():
    names = [*HEADER[:2], "card", "amount", *(f"x{at}" for at in range(129))]
    row = "p1,2026-03-02T10:00:00Z,c1,5.00" + f",{'x' * 131_000}" * 140
    assert row[: LINE_BYTES_MAX + 1].count(",") == len(names) - 1

    assert columns_of(f"{','.join(names)}\n{row}\n".encode()) == [[False]]


@pytest.mark.parametrize("cell", ['"a""b"', 'a"b', '"a', '"a" ', ' "a"'])
def test_a_quotation_mark_that_may_go_on_leaves_the_lines_to_the_reader(cell: str):
    assert columns_of(f"id,card\np1,c1\np2,{cell}\n".encode()) == [[]]


MAPPED = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text?, shop: text?, amount: money }
  from:
    csv: { %s }
login:
  id: id
  time: at
  fields: { id: text, at: time, card: text }
entities:
  card: { payment: card, login: card }
"""


@pytest.mark.parametrize("mapping, found", [
    ("card: row.pan", [[True]]),
    ("card: row.pan, shop: row.pan", []),
    ("card: row.pan else row.id", []),
    ("decimal: ','", []),
    ("decimal: '.'", []),
    ("zone: Europe/Berlin", []),
    ("id: row.id when row.number > 0 else ''", []),
])  # fmt: skip
def test_a_field_that_is_more_than_a_cell_leaves_the_lines_to_the_mapping(mapping: str, found: list[list[bool]]):
    project = definitions({"events.yaml": MAPPED % mapping, "features.yaml": None, "rules/large.yaml": None})

    assert columns_of(b"id,at,pan,amount\np1,2026-03-02T10:00:00Z,c1,5.00\n", project) == found


@pytest.mark.parametrize("ends", ["\r\r\n", "\r\r\r\n"])
@pytest.mark.parametrize("size", [3, 256])
def test_lines_that_end_in_several_carriage_returns_are_read_alike(ends: str, size: int):
    """Windows writes them where a program that ends its lines itself writes text; a blank one is no record."""
    rows = [f"p{at},{time_text(START_MS + at)},c1,5.00" for at in range(4)]
    files = [("payment", ends.join(["id,at,card,amount", rows[0], "", *rows[1:], "", ""]).encode())]
    with runs_of(size):
        assert told(files, size, in_runs=True) == told(files, size, in_runs=False)
    assert columns_of(files[0][1]) == [[True] * 4]


LAID_OUT = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text?, amount: money }
  from: { csv: { %s } }
entities:
  card: { payment: card }
"""
FIRST = ["id", "at", "card", "amount"]


@pytest.mark.parametrize("mapping, before, header", [
    ("skip: 2", "A statement,,,\n\n", True),
    ("columns: [id, at, card, amount]", "", False),
    ("columns: [id, at, card, amount], skip: 1", '"sep=,"\n', False),
    ("missing: [NULL, '-']", "", True),
    ("decimal: '.'", "sep=,\n", True),
    ("zone: Asia/Tokyo", "", True),
])  # fmt: skip
def test_a_file_that_begins_otherwise_is_read_alike(mapping: str, before: str, header: bool):
    project = definitions({"events.yaml": LAID_OUT % mapping, "features.yaml": None, "rules/large.yaml": None})
    values = [("c1", "5.00"), ("NULL", '"1,5.00"'), (" - ", "(5.00)"), ("", '"1,234.50"'), (" ", "$2.00"), ("c", "-")]
    rows = [f"p{at},2026-03-02 10:00:0{at},{card},{amount}\n" for at, (card, amount) in enumerate(values)]
    content = (before + ",".join(FIRST) * header + "\n" * header + "".join(rows)).encode()

    def read(taken: Any, size: int) -> list[Any]:
        with runs_of(size), read_stream(io.BytesIO(content), "csv", name="x.csv") as lines:
            submissions = list(taken(Intake(project.events, project.settings, None), lines, "x.csv", "payment"))
        return [
            (submission.place, bytes(submission.raw()), submission.event, submission.refusal)
            for submission in submissions
        ]

    found = read(submissions_in_runs, 256)
    assert found == read(Intake.submissions, 1)
    first = found[0][2]
    assert first.values[2:] == ("c1", 500)
    assert first.time_ms == 1_772_445_600_000 - ("Tokyo" in mapping) * 9 * 3_600_000
    assert [item[0] for item in found][-1] == (
        "6" if not before and not header else f"{6 + before.count(chr(10)) + header} (row 6)"
    )


def test_a_quotation_mark_that_is_open_where_a_file_is_cut_short_refuses_no_line():
    """A whole file comes later: what was refused now would stay refused."""

    def read(taken: Any) -> list[object]:
        found = list[object]()
        with read_stream(io.BytesIO(b"id,at,card,amount\n" + rows), "csv", name="x") as lines:
            assert lines.records is not None
            lines.records._text.physical = cut(lines.records._text.physical)
            submissions = taken(Intake(PROJECT.events, PROJECT.settings, None), lines, "x.csv", "payment")
            with pytest.raises(UsageError, match="not whole"):
                found.extend(
                    (submission.place, submission.raw(), submission.event, submission.refusal)
                    for submission in submissions
                )
        return found

    def cut(lines: Any) -> Any:
        yield from lines
        raise UsageError("x.csv is not whole")

    row = f"p%d,{time_text(START_MS)},%s,5.00\n"
    rows = "".join(row % (at, '"open' if at == 4 else "c1") for at in range(7)).encode()
    with runs_of(256):
        assert len(found := read(submissions_in_runs)) == 4
    assert found == read(Intake.submissions)
