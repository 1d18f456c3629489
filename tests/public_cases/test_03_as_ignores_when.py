"""A mapping's `when` applies whether or not the type is given: excluded lines count nowhere."""

from __future__ import annotations

import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shroff.cli.main import run
from shroff.services import project as app
from tests.public_cases import project_of

CASE = "03-as-ignores-when"


@pytest.fixture
def statement(tmp_path):
    return project_of(CASE, tmp_path)


@pytest.mark.parametrize("as_type", [None, "transfer"])
def test_only_completed_transfers_count(statement, as_type):
    project = app.open(statement)
    report = project.ingest([statement / "statement.csv"], as_type=as_type)

    assert (report.events.appended, report.untaken) == (2, 1)
    assert project.features("transfer")["account.out_1h"].to_pylist() == [Decimal("10.00"), Decimal("40.00")]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_so_it_is_in_every_format_that_has_a_short_way(statement, form, tmp_path):
    rows = [{"receipt": f"R{n}", "at": f"2026-01-16T00:{n:02}:00Z", "account": "a", "amount": "1.00"} for n in range(4)]
    rows = [row | {"status": "Failed" if n % 2 else "Completed"} for n, row in enumerate(rows)]
    events = statement / "events.yaml"
    events.write_text(events.read_text().replace("csv:", "json:" if form == "jsonl" else "parquet:"))
    file = tmp_path / f"rows.{form}"
    if form == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows * 600))  # enough to be read as columns
    else:
        pq.write_table(pa.Table.from_pylist(rows), file)
    project = app.open(statement)
    with pytest.warns(UserWarning, match="not an event of any type"):
        table = project.features("transfer", files=[file])
    report = project.ingest([file], as_type="transfer")

    assert table["id"].to_pylist() == ["R0", "R2"]
    assert report.events.appended == 2


def test_a_preview_and_a_decision_say_the_same(statement, capsys):
    file = str(statement / "statement.csv")
    said = []
    for command in (["score", file], ["score", "transfer", file], ["decide", file, "--as", "transfer"]):
        assert run(["-C", str(statement), *command]) == 0, "a line that is left out is not refused"
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        said.append([row.get("detail") or row["features"]["account.out_1h"] for row in lines])

    unnamed = 'no event type accepts this line; name its type, or write {"EVENT": {…}}'
    named = "skipped: 'when' of transfer in events.yaml is not true for this line"
    assert [row.pop(1) for row in said] == [unnamed, named, named]
    assert said == [["10.00", "40.00"]] * 3


def test_every_command_says_how_many_lines_were_left_out(statement, capsys):
    file = str(statement / "statement.csv")
    for command in (
        ["check", "--with", file, "--as", "transfer"],
        ["features", file, "--as", "transfer", "--out", str(statement / "x.parquet")],
        ["ingest", file, "--as", "transfer"],
    ):
        assert run(["-C", str(statement), *command]) == 0
        said = capsys.readouterr().out

        assert "1 line skipped: no event type's 'when' accepts" in said or "1 unmatched" in said


def test_a_file_none_of_whose_lines_the_type_takes_is_told_with_what_it_has(statement, capsys):
    file = statement / "failed.csv"
    file.write_text("receipt,at,account,status,amount\nR1,2026-01-16T00:08:00Z,a,Failed,10.00\n")

    assert run(["-C", str(statement), "ingest", str(file), "--as", "transfer"]) == 4
    assert "transfer: when row.status == 'Completed'; in line 1, status is 'Failed'" in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.parametrize(("when", "refused"), [("", 1), ("login: { csv: { when: row.status == 'Failed' } }", 0)])
def test_lines_that_no_type_takes_are_quarantined_where_the_project_says_so(statement, when, refused):
    (statement / "shroff.yaml").write_text("shroff: 1\nname: people\nmoney: EUR\nuntaken: quarantine\n")
    if when:
        events = statement / "events.yaml"
        other = "login:\n  id: receipt\n  time: at\n  fields: { receipt: text, at: time }\n  from:\n    csv:\n"
        events.write_text(f"{other}      when: row.status == 'Failed'\n{events.read_text()}")
    report = app.open(statement).ingest([statement / "statement.csv"], as_type="transfer")

    assert (report.events.appended, report.events.quarantined) == (2, refused)
