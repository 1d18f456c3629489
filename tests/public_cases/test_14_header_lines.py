"""A file whose first line is not its header says what to set, and with that it is read."""

from __future__ import annotations

import gzip
import re

import pyarrow as pa
import pytest

from shroff.errors import UsageError
from shroff.language.values import show_time
from shroff.services import project as app
from tests.public_cases import project_of

CASE = "14-header-lines"
EVENTS = """payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, amount: money }
  from: { csv: { SETTINGS } }
label:
  from: { csv: { event: row.id, verdict: "'fraud'", known_at: time(row.at) + 1d } }
entities:
  payer: { payment: id }
"""
NO_HEADER = "columns: [id, at, amount]"


@pytest.fixture
def folder(tmp_path):
    project = project_of(CASE, tmp_path)
    (project / "events.yaml").write_text(EVENTS.replace("SETTINGS", ""))
    return project


def opened(folder, settings=""):
    (folder / "events.yaml").write_text(EVENTS.replace("SETTINGS", settings))
    return app.open(folder)


def amounts(project):
    return project.events("payment")["amount"].to_pylist()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no-header.csv", "name its 3 columns in their order: write `columns: [id, at, amount]` under payment"),
        ("preamble.csv", "Line 4 looks like the header: write `skip: 3` under payment.from.csv in events.yaml"),
    ],
)
def test_what_is_the_matter_is_said_with_its_cure(folder, name, words):
    with pytest.raises(UsageError, match=re.escape(words)):
        opened(folder).ingest([folder / name], as_type="payment")


@pytest.mark.parametrize(
    ("name", "settings", "count"),
    [
        ("no-header.csv", NO_HEADER, 2),
        ("preamble.csv", "skip: 3", 1),
        ("excel-sep.csv", "", 1),
        ("excel-sep.csv", "skip: 1", 1),
        ("excel-sep.csv", "separator: ';'", 1),
    ],
)
def test_with_it_the_file_is_read(folder, name, settings, count):
    project = opened(folder, settings)
    assert not any(row.refusal for row in project.taking.look_at(folder / name, None).rows), (
        "check --with, without --as"
    )
    report = project.ingest([folder / name], as_type="payment")

    assert (report.events.appended, report.events.quarantined) == (count, 0)
    assert [float(amount) for amount in amounts(project)] == [10.0, 12.0][:count]


def test_a_time_without_an_offset_behind_a_blank_is_read(folder):
    project = opened(folder, f"{NO_HEADER}, zone: America/New_York")
    project.ingest([folder / "no-header.csv"], as_type="payment")
    (first, _) = project.events("payment")["at"].cast(pa.int64()).to_pylist()

    assert show_time(first // 1_000 if first > 10**14 else first) == "2014-04-29T17:15:54Z"


def test_a_file_with_both_and_packed_is_read_by_run_and_by_score_too(folder):
    body = (folder / "no-header.csv").read_bytes()
    (folder / "both.csv.gz").write_bytes(gzip.compress(b"A statement\n\n" + body))
    project = opened(folder, f"{NO_HEADER}, skip: 2")
    preview = project.taking.look_at(folder / "both.csv.gz", "payment").rows

    assert [(item.place, item.refusal) for item in preview] == [("3 (row 1)", None), ("4 (row 2)", None)]


def test_labels_in_the_same_file_begin_where_its_payments_do(folder):
    project = opened(folder, f"{NO_HEADER}, skip: 0")
    report = project.ingest(
        [folder / "no-header.csv"], as_type="payment", labels=folder / "no-header.csv", order="file"
    )

    assert (report.events.appended, report.labels.appended) == (2, 2)


def test_header_names_lose_their_blanks(folder):
    (folder / "blanks.csv").write_text("id, at , amount\n1, 2014-04-29T13:15:54Z,1.00\n")
    project = opened(folder, "at: row.at")

    assert project.ingest([folder / "blanks.csv"], as_type="payment").events.appended == 1


def test_a_refused_line_of_a_file_without_a_header_can_be_taken_again_by_itself(folder):
    (folder / "no-header.csv").write_text("1,2014-04-29T13:15:54,NULL\n2,2014-04-29T13:15:54,1.00\n")
    report = opened(folder, NO_HEADER).ingest([folder / "no-header.csv"], as_type="payment")
    assert report.events.quarantined == 1
    (retried,) = opened(
        folder, f"{NO_HEADER}, amount: \"'0' when row.amount == 'NULL' else row.amount\""
    ).quarantine.retry([])

    assert retried.outcome == "decided"


def test_what_is_no_utf_8_is_windows_1252_and_said(folder):
    (folder / "euro.csv").write_bytes("id,at,amount\n“1” €,2014-04-29T13:15:54Z,1.00\n".encode("cp1252"))
    project = opened(folder)
    project.ingest([folder / "euro.csv"], as_type="payment")

    assert project.events("payment")["id"].to_pylist() == ["“1” €"]
    assert "euro.csv is not UTF-8; it is read as windows-1252." in project.context.warnings
