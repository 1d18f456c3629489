"""Columns that a mapping needs in a file, and the verdicts that a file of labels must have."""

from __future__ import annotations

import json
import os
import threading

import pytest

from shroff.errors import UsageError
from shroff.events.definitions import Settings
from shroff.events.formats.encodings import read_lines
from shroff.events.intake import Intake
from shroff.events.needed_columns import lacking_columns
from shroff.language.checker import check
from shroff.language.names import DeclaredNames, Scope
from tests.support.declare import declare

SCOPE = Scope(DeclaredNames(money_places=2), what="a mapping", reads_row=True)
EVENTS = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text, amount: money, device: text?, email: text? }
label:
  from:
    csv:
      event: row.id
      verdict: "'fraud' when row.Class == '1' else 'genuine' when row.Class == '0'"
      known_at: row.at
      reason: row.why
    json:
      event: row.id
      verdict: "'fraud' when row.data.status == 'lost' else 'genuine' when row.data.status == 'won'"
      known_at: row.at
entities: { card: { payment: card } }
"""


@pytest.mark.parametrize(
    ("text", "columns", "lacking"),
    [
        ("row.a", "b", ["a"]),
        ("row.a else row.b", "b", []),
        ("row.a else row.b", "c", ["a", "b"]),
        ("row.a else 'web'", "b", ["a"]),  # the constant would stand in every line
        ("row.a else join(row.file, ':', row.number)", "b", []),
        ("row.a when row.b is missing else row.c", "ac", []),
        ("join(row.a, row.b)", "a", ["b"]),
        ("row.a.b.c", "b", ["a"]),
        ("row.a == '1' or row.b == '1'", "b", []),
        ("row.a == '1' and row.b == '1'", "b", ["a"]),
    ],
)
def test_values_joined_by_else_replace_each_other(text, columns, lacking):
    assert lacking_columns(check(text, SCOPE), columns) == lacking


@pytest.mark.parametrize(
    ("text", "columns", "lacking"),
    [
        ("'fraud' when row.a == '1' else 'genuine' when row.b == '1'", "a", ["b"]),
        ("'fraud' when row.a == '1' else 'genuine' when row.a == '0'", "b", ["a", "a"]),
        ("row.v else ('fraud' when row.a == '1' else 'genuine' when row.a == '0')", "a", []),
        ("row.v else ('fraud' when row.a == '1' else 'genuine' when row.a == '0')", "v", []),
    ],
)
def test_a_verdict_needs_the_columns_of_both_of_its_values(text, columns, lacking):
    assert lacking_columns(check(text, SCOPE), columns, is_verdict=True) == list(dict.fromkeys(lacking))


def read(tmp_path, text, as_type="label", told=None, format="csv"):
    file = tmp_path / f"file.{format}"
    file.write_text(text)
    intake = Intake(declare(EVENTS), Settings(), None)
    with read_lines(file, tell=[].append if told is None else told.append) as lines:
        return list(intake.submissions(lines, file.name, as_type))


def test_a_file_without_the_column_of_a_verdict_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(UsageError, match=r"lacks the column Class, which label needs\. Did you mean Clas\?"):
        read(tmp_path, "id,at,Clas\np1,2026-03-01T10:00:00Z,1\n")


@pytest.mark.parametrize("values", [("2", "3"), ("", ""), ("fraud", "genuine")])
def test_a_file_none_of_whose_lines_has_a_verdict_is_refused_with_the_values_that_it_has(tmp_path, values):
    lines = "".join(f"p{at},2026-03-01T10:00:00Z,{value}\n" for at, value in enumerate(values))
    with pytest.raises(UsageError, match="has no line with a verdict") as refused:
        read(tmp_path, f"id,at,Class\n{lines}")

    shown = [f"Class is '{value}' in 1 line" if value else "Class is missing in 2 lines" for value in values]
    assert all(text in str(refused.value) for text in shown)


def test_a_line_without_a_verdict_is_refused_with_the_value_of_its_column(tmp_path):
    rows = read(
        tmp_path, "id,at,Class\np1,2026-03-01T10:00:00Z,1\np2,2026-03-01T10:00:00Z,x\np3,2026-03-01T10:00:00Z,\n"
    )

    assert rows[0].label.verdict == "fraud"
    assert "Class is 'x', for which events.yaml names no verdict" in rows[1].refusal
    assert "Class is missing, for which events.yaml names no verdict" in rows[2].refusal
    assert [row.type for row in rows] == ["label"] * 3


def test_a_file_without_the_columns_of_optional_fields_is_taken_and_says_so(tmp_path):
    told = []
    (row,) = read(tmp_path, "id,at,card,amount,e_mail\np1,2026-03-01T10:00:00Z,c,1.00,x\n", "payment", told)
    assert row.event is not None
    words = "file.csv has no columns device, email: payment.device, payment.email are missing in each of its lines."
    assert told == [f"{words} Did you mean e_mail?"]

    told = []
    read(tmp_path, "id,at,Class\np1,2026-03-01T10:00:00Z,1\n", "label", told)
    assert told == ["file.csv has no column why: label.reason is missing in each of its lines."]


def test_a_message_with_another_value_is_refused_as_a_label_with_that_value(tmp_path):
    sent = {"id": "p1", "at": "2026-03-01T10:00:00Z"}
    statuses = [{"data": {"status": "lost"}}, {"data": {"status": "draft"}}, {"data": {}}, {}]
    lines = "".join(json.dumps(sent | status) + "\n" for status in statuses)
    found, *refused = read(tmp_path, lines, format="jsonl")

    assert found.label.verdict == "fraud"
    assert [row.label for row in refused] == [None] * 3
    assert ["data.status is 'draft'" in row.refusal for row in refused] == [True, False, False]
    assert ["data.status is missing, for which events.yaml names" in row.refusal for row in refused[1:]] == [True] * 2


LABEL_MAPPING = """
      when: row.kind == 'verdict'
      event: row.id
      verdict: "'fraud' when row.Class == '1' else 'genuine' when row.Class == '0'"
      known_at: row.at
"""
MIXED = f"""
payment:
  id: id
  time: at
  decide: true
  fields: {{ id: text, at: time, card: text, amount: money }}
  from:
    csv: {{ when: row.kind == 'sale', id: row.id, amount: row.sum }}
    json: {{ when: row.kind == 'sale', id: row.id, amount: row.sum }}
label:
  from:
    csv: {LABEL_MAPPING}
    json: {LABEL_MAPPING}
entities: {{ card: {{ payment: card }} }}
"""
AT = "2026-03-01T10:00:00Z"
SALE = {"kind": "sale", "id": "p1", "at": AT, "card": "c", "sum": "1.00"}
VERDICT_LINE = {"kind": "verdict", "id": "p1", "at": AT, "Class": "1"}


def mixed(tmp_path, rows, format, as_type=None, text=MIXED):
    """Read rows of several types from one file."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [json.dumps(row) for row in rows]
    if format == "csv":
        lines = [",".join(columns), *(",".join(row.get(name, "") for name in columns) for row in rows)]
    file = tmp_path / f"file.{format}"
    file.write_text("\n".join(lines) + "\n")
    intake = Intake(declare(text), Settings(), None)
    with read_lines(file) as opened:
        return [row.refusal or row.type for row in intake.submissions(opened, file.name, as_type)]


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_labels_that_when_picks_out_need_their_columns_in_one_line(tmp_path, format):
    renamed = [SALE, *({**VERDICT_LINE, "id": f"p{at}"} for at in range(3))]
    for row in renamed[1:]:
        row["Clas"] = row.pop("Class")

    with pytest.raises(UsageError, match=r"lacks the column Class, which label needs\. Did you mean Clas\?"):
        mixed(tmp_path, renamed, format)
    assert mixed(tmp_path, [SALE, VERDICT_LINE], format) == ["payment", "label"]
    assert mixed(tmp_path, [SALE], format) == ["payment"]  # no label, nothing lacks


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_labels_that_when_picks_out_need_one_verdict(tmp_path, format):
    unknown = [SALE, VERDICT_LINE | {"Class": "2"}, VERDICT_LINE | {"id": "p2", "Class": "3"}]

    with pytest.raises(UsageError, match=r"no line with a verdict .*Class is '2' in 1 line, Class is '3' in 1 line"):
        mixed(tmp_path, unknown, format)
    found = mixed(tmp_path, [*unknown, VERDICT_LINE | {"id": "p3"}], format)
    assert found[0] == "payment"
    assert found[3] == "label"
    assert ["for which events.yaml names no verdict" in words for words in found[1:3]] == [True, True]


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_an_event_type_that_when_picks_out_needs_its_columns_in_one_line(tmp_path, format):
    with pytest.raises(UsageError, match="lacks the column sum, which payment needs"):
        mixed(tmp_path, [VERDICT_LINE, _without_sum()], format)


def _without_sum():
    return {name: value for name, value in SALE.items() if name != "sum"} | {"total": "1.00"}


def test_lines_of_json_of_a_mapped_type_need_its_columns_in_one_line(tmp_path):
    text = MIXED.replace("when: row.kind == 'sale', ", "")
    with pytest.raises(UsageError, match="lacks the column sum, which payment needs"):
        mixed(tmp_path, [_without_sum(), _without_sum()], "jsonl", "payment", text)

    found = mixed(tmp_path, [_without_sum(), SALE], "jsonl", "payment", text)
    assert [words == "payment" for words in found] == [False, True]


def test_lines_that_lack_different_columns_are_refused_line_by_line(tmp_path):
    without_card = {name: value for name, value in SALE.items() if name != "card"}

    assert len(mixed(tmp_path, [_without_sum(), without_card], "jsonl")) == 2


def test_a_pipe_is_read_once(tmp_path):
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(json.dumps(SALE) + "\n",))
    writer.start()
    with read_lines(pipe) as lines:
        found = list(Intake(declare(MIXED), Settings(), None).submissions(lines, pipe.name))
    writer.join()

    assert [row.type for row in found] == ["payment"]


EACH = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text, amount: money }
  from:
    json: { each: row.items, when: item.kind == 'sale', amount: item.sum, card: row.card }
label:
  from:
    json:
      each: row.items
      when: item.kind == 'verdict'
      event: item.id
      verdict: "'fraud' when item.Class == '1' else 'genuine' when item.Class == '0'"
      known_at: item.at
entities: { card: { payment: card } }
"""


def message(*items):
    return {"card": "c", "items": list(items)}


def renamed(item, old, new):
    return {new if name == old else name: value for name, value in item.items()}


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([SALE, renamed(VERDICT_LINE, "Class", "Clas")], r"item\.Class, which label needs\. Did you mean item\.Clas\?"),
        ([renamed(SALE, "sum", "total")], r"item\.sum, which payment needs"),
        ([renamed(SALE, "id", "name")], r"item\.id, which payment needs"),  # a field of its own name
        ([SALE, VERDICT_LINE | {"Class": "2"}], r"no line with a verdict .*item\.Class is '2' in 1 line"),
    ],
)
def test_items_of_an_array_need_their_columns_and_one_verdict(tmp_path, items, words):
    with pytest.raises(UsageError, match=words):
        mixed(tmp_path, [message(), message(*items)], "jsonl", text=EACH)
    with pytest.raises(UsageError, match="lacks the column card"):
        mixed(tmp_path, [{"items": [SALE]}], "jsonl", text=EACH)

    assert mixed(tmp_path, [message(SALE, VERDICT_LINE)], "jsonl", text=EACH) == ["payment", "label"]


def test_a_type_that_first_comes_behind_100_000_lines_needs_its_columns_too(tmp_path):
    file = tmp_path / "file.jsonl"
    late = renamed(VERDICT_LINE, "Class", "Clas")
    file.write_text(f"{json.dumps(SALE)}\n" * 100_000 + f"{json.dumps(late)}\n")

    with read_lines(file) as lines, pytest.raises(UsageError, match="lacks the column Class, which label needs"):
        Intake(declare(MIXED), Settings(), None).submissions(lines, file.name)
