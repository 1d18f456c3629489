"""Syncs of pulled sources: each row of each file becomes an event, a duplicate or a quarantined line, once."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, DateTime, Integer, MetaData, Numeric, Table, Text, insert, text

from shroff.adapters.databases.sql_database import SqlDatabase
from shroff.cli.main import run
from shroff.errors import DefinitionError, LogBusyError, UsageError
from shroff.runtime import state_folder
from shroff.services import project as app
from shroff.services.sources.file_sync import FileTaking
from shroff.services.sources.pulled import BEING_WRITTEN, LOCK, SyncedFile
from shroff.services.sources.pulled_files import ASIDE, DONE
from shroff.services.training.retraining import Options
from tests.support.learnable import FILES, make_project
from tests.support.log_memory_parts import quarantined

SHROFF = FILES["shroff.yaml"] + "sources: { nightly: { files: { from: inbox, settled: 0s } } }\n"


@pytest.fixture(name="bank")
def _bank(tmp_path: Path) -> Path:
    bank = make_project(tmp_path / "bank", shroff=SHROFF, model="", policy="")
    (bank / "model.yaml").unlink()
    (bank / "inbox").mkdir()
    return bank


def row(number: int, **changes: Any) -> dict[str, Any]:
    own = {"id": f"p{number}", "at": f"2026-03-01T12:{number:02}:00Z", "card": "c", "amount": "10.00", "channel": "web"}
    return {**own, **changes}


def write(bank: Path, name: str, rows: Sequence[dict[str, Any]], end: str = "\n") -> None:
    text = "\n".join(json.dumps(item) for item in rows) + end
    (bank / "inbox" / name).write_text(text, encoding="utf-8")


def sync(bank: Path, name: str = "nightly") -> list[SyncedFile]:
    return list(app.open(bank).pulled.sync(name))


def counts(found: Sequence[SyncedFile]) -> list[tuple[str, int, int, int]]:
    """Of each file the events appended, duplicates, and lines in quarantine."""
    reports = [(item.name, item.appended.events) for item in found if item.appended is not None]
    return [(name, report.appended, report.duplicates, report.quarantined) for name, report in reports]


def test_each_file_is_taken_once_in_order_and_each_row_is_counted(bank: Path, capsys: pytest.CaptureFixture[str]):
    write(bank, "b.jsonl", [row(2), row(3, amount="1.005")])
    write(bank, "a.jsonl", [row(1), row(1)])

    assert counts(sync(bank)) == [("a.jsonl", 1, 1, 0), ("b.jsonl", 1, 0, 1)]
    assert sync(bank) == []
    assert run(["-C", str(bank), "quarantine", "list", "--json"]) == 0
    assert '"pulled/nightly/b.jsonl"' in capsys.readouterr().out


def test_of_a_file_that_changed_what_is_new_is_appended(bank: Path):
    write(bank, "a.jsonl", [row(1), row(2)])
    sync(bank)
    write(bank, "a.jsonl", [row(1), row(2), row(3)])

    assert counts(sync(bank)) == [("a.jsonl", 1, 2, 0)]
    assert sync(bank) == []


def test_a_file_that_is_cut_off_is_set_aside_and_taken_when_it_is_whole(bank: Path, capsys: pytest.CaptureFixture[str]):
    write(bank, "a.jsonl", [row(1)], end='\n{"id": "p2", "at"')
    write(bank, "b.jsonl", [row(3)])

    found = sync(bank)
    assert [(item.name, item.state) for item in found] == [("a.jsonl", ASIDE), ("b.jsonl", DONE)]
    assert "its last line is cut off" in found[0].why
    assert run(["-C", str(bank), "sources", "check", "--json"]) == 1
    (trouble,) = json.loads(capsys.readouterr().out)["troubles"]
    assert trouble["message"].startswith("a.jsonl is skipped: its last line is cut off")
    assert run(["-C", str(bank), "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == [trouble]
    assert run(["-C", str(bank), "status"]) == 0
    assert "! file" in (shown := capsys.readouterr().out)
    assert "a.jsonl is skipped: its last line is cut off" in shown
    write(bank, "a.jsonl", [row(1), row(2)])
    assert counts(sync(bank)) == [("a.jsonl", 2, 0, 0)]
    assert run(["-C", str(bank), "sources", "check"]) == 0


def test_a_file_that_is_still_written_holds_up_those_behind_it(bank: Path):
    (bank / "shroff.yaml").write_text(SHROFF.replace("settled: 0s", "markers: true"))
    write(bank, "a.jsonl", [row(1)])
    write(bank, "b.jsonl", [row(2)])
    (bank / "inbox" / "b.jsonl.done").touch()

    assert [(path.name, path.state) for path in sync(bank)] == [("a.jsonl", BEING_WRITTEN)]
    (bank / "inbox" / "_SUCCESS").touch()
    assert counts(sync(bank)) == [("a.jsonl", 1, 0, 0), ("b.jsonl", 1, 0, 0)]


def test_a_file_that_changes_while_it_is_read_ends_the_sync_with_a_status(
    bank: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    write(bank, "a.jsonl", [row(1)])
    write(bank, "b.jsonl", [row(9)])
    usual = FileTaking._append_here

    def changed_while(*given: Any, **more: Any) -> object:
        write(bank, "a.jsonl", [row(1), row(2)])
        return usual(*given, **more)

    monkeypatch.setattr(FileTaking, "_append_here", changed_while)
    assert run(["-C", str(bank), "sources", "sync", "nightly"]) == 3
    assert "a.jsonl changed while it was read; the next sync reads it again." in capsys.readouterr().out
    monkeypatch.setattr(FileTaking, "_append_here", usual)
    assert run(["-C", str(bank), "sources", "sync", "nightly", "--json"]) == 0
    assert [file["file"] for file in json.loads(capsys.readouterr().out)["files"]] == ["a.jsonl", "b.jsonl"]


WINDOWS = "id|at|Kärtchen|amount|channel\np1|2026-03-01T12:00:00Z|“c”|1.00|web\n".encode("cp1252")
CSV_MAPPING = FILES["events.yaml"].replace("entities:", "  from:\n    csv: { card: \"row['Kärtchen']\" }\nentities:")


def test_a_text_is_a_file_where_a_mapping_reads_csv_and_another_encoding_is_told(bank: Path):
    (bank / "inbox" / "a.txt").write_bytes(WINDOWS)
    assert sync(bank) == []
    (bank / "events.yaml").write_text(CSV_MAPPING)

    project = app.open(bank)
    assert counts(list(project.pulled.sync("nightly"))) == [("a.txt", 1, 0, 0)]
    assert project.context.warnings == ["a.txt is not UTF-8; it is read as windows-1252."]
    assert project.events("payment")["card"].to_pylist() == ["“c”"]


def test_whoever_reads_files_tells_of_another_encoding_once(bank: Path, tmp_path: Path):
    (bank / "events.yaml").write_text(CSV_MAPPING)
    (bank / "inbox" / "a.csv").write_bytes(WINDOWS)
    for engine in ("batch", "naive"):
        project = app.open(bank)
        project.features("payment", files=[bank / "inbox" / "a.csv"], engine=engine)
        assert project.context.warnings == ["a.csv is not UTF-8; it is read as windows-1252."]
    said: list[str] = []
    (bank / "model.yaml").write_text(FILES["model.yaml"])
    options = Options(once=True, settled_ms=0)
    for _ in app.open(bank).training.watch(bank / "inbox", options, say=said.append):
        pass
    assert said == ["a.csv is not UTF-8; it is read as windows-1252"]


def test_a_line_of_csv_is_tried_again_with_the_columns_of_its_file(bank: Path):
    (bank / "inbox" / "a.csv").write_text("id,at,card,amount,channel\np1,2026-03-01T12:00:00Z,c,1.00,sms\n")
    assert counts(sync(bank)) == [("a.csv", 0, 0, 1)]
    (bank / "events.yaml").write_text(FILES["events.yaml"].replace("shop, web, post", "shop, web, post, sms"))

    (found,) = app.open(bank).quarantine.retry([])
    assert not found.stays, found.reason


def test_a_file_whose_column_has_another_name_is_taken_when_the_mapping_is_mended(bank: Path):
    (bank / "inbox" / "a.csv").write_text("id,at,crd,amount,channel\np1,2026-03-01T12:00:00Z,c,1.00,web\n")
    (found,) = sync(bank)
    assert (found.state, "lacks the column card" in found.why, "Did you mean crd?" in found.why) == (ASIDE, True, True)
    assert sync(bank) == []

    mapping = "  from: { csv: { card: row.crd } }\nentities:"
    (bank / "events.yaml").write_text(FILES["events.yaml"].replace("entities:", mapping))
    assert counts(sync(bank)) == [("a.csv", 1, 0, 0)]
    assert run(["-C", str(bank), "sources", "check"]) == 0


TABLE = Table(
    "payments",
    MetaData(),
    Column("n", Integer),
    Column("id", Text),
    Column("at", DateTime),
    Column("card", Text),
    Column("amount", Numeric(12, 2)),
    Column("channel", Text),
)


OPTIONS = "url: 'sqlite:///{}/core.db', table: payments, by: n, rows: 20, overlap: 30"
CORE = f"sources: {{{{ core: {{{{ table: {{{{ {OPTIONS} }}}} }}}} }}}}\n"


def fill(bank: Path, numbers: Sequence[int], **changes: Any) -> None:
    """Rows of a table whose column `n` grows."""
    with closing(SqlDatabase(f"sqlite:///{bank}/core.db", "a test")) as database:
        database.make_table(TABLE)
        with database.begun() as connection:
            at = [datetime(2026, 3, 1, 12, number // 60, number % 60, tzinfo=UTC) for number in numbers]
            found = [
                {**row(number % 60), "id": f"p{number}", "n": number, "at": at_, **changes}
                for number, at_ in zip(numbers, at, strict=True)
            ]
            connection.execute(insert(TABLE), found)


def refused(bank: Path) -> list[tuple[str, str]]:
    """Source and place of each line in quarantine."""
    with app.open(bank).log.reading() as log:
        return [(entry.source, entry.place) for _, entry in quarantined(log)]


def test_new_rows_of_a_table_are_taken_and_those_that_came_late(bank: Path):
    (bank / "shroff.yaml").write_text(FILES["shroff.yaml"] + CORE.format(bank))
    fill(bank, [number for number in range(50) if number != 45])

    assert counts(sync(bank, "core")) == [("~19", 20, 0, 0), ("19~39", 20, 20, 0), ("39~49", 9, 30, 0)]
    assert sync(bank, "core") == []
    fill(bank, [45])
    assert counts(sync(bank, "core")) == [("39~49", 1, 39, 0)], "it came behind rows that were read before"
    fill(bank, [50])
    assert counts(sync(bank, "core")) == [("49~50", 1, 30, 0)]


NUMBERED = "  from: { json: { id: \"join(row.file, ':', row.number)\" } }\nentities:"


def test_ids_of_a_tables_rows_made_of_file_and_number_are_refused_in_their_place(bank: Path):
    core = CORE.format(bank)
    fill(bank, [1])
    (bank / "shroff.yaml").write_text(FILES["shroff.yaml"] + core)
    (bank / "events.yaml").write_text(FILES["events.yaml"].replace("entities:", NUMBERED))

    (problem,) = app.open(bank).check().errors
    assert (problem.file, problem.path) == ("events.yaml", "payment.from.json.id")
    assert "row.file and row.number in an id: a row of the source 'core' may have another" in problem.message
    assert "Use a column that identifies the row" in problem.hint
    assert "row.file and row.number always mean the place of the row: a column named file or" in problem.hint
    assert problem.hint.endswith("If the source has no payment events, list its types in its `events:`.")
    own = core.removeprefix("sources: { ").removesuffix(" }\n")
    (bank / "shroff.yaml").write_text(f"{FILES['shroff.yaml']}sources: {{ {own}, {own.replace('core:', 'copy:')} }}\n")
    assert [re.findall("source '(.*?)'", error.message) for error in app.open(bank).check().errors] == [
        ["core"],
        ["copy"],
    ]
    named = core.replace(" } } }", " }, events: [payment] } }")
    (bank / "shroff.yaml").write_text(FILES["shroff.yaml"] + named)
    assert "`events:`" not in app.open(bank).check().errors[0].hint
    (bank / "shroff.yaml").write_text(FILES["shroff.yaml"] + core)
    with pytest.raises(DefinitionError, match=r"events.yaml:[0-9]+:[0-9]+ payment.from.json.id: row.file and"):
        sync(bank, "core")
    (bank / "shroff.yaml").write_text(FILES["shroff.yaml"] + core.replace(" } } }", " }, events: [label] } }"))
    assert app.open(bank).check().errors == (), "no table brings payments"
    label = "label: { from: { json: { event: \"join('payment/', row.number)\", verdict: row.verdict } } }\n"
    with (bank / "events.yaml").open("a") as file:
        file.write(label)
    assert [error.path for error in app.open(bank).check().errors] == ["label.from.json.event"]
    (bank / "shroff.yaml").write_text(
        FILES["shroff.yaml"] + "sources: { shop: { webhook: { secrets: [s] }, id: row } }\n"
    )
    (problem,) = app.open(bank).check().errors
    assert problem.message.startswith("row.number in an id: messages of the source 'shop' have no number")
    (bank / "shroff.yaml").write_text(FILES["shroff.yaml"] + "sources: { shop: { webhook: { secrets: [s] } } }\n")
    assert app.open(bank).check().errors == (), "the sender's id is that of the event"


def test_a_row_of_a_file_has_the_same_id_when_it_is_retried_and_when_it_is_read_again(bank: Path):
    (bank / "shroff.yaml").write_text(SHROFF.replace("settled: 0s }", "settled: 0s }, others: quarantine"))
    mapping = NUMBERED.replace("{ id:", "{ when: row.kind != 'login', id:")
    (bank / "events.yaml").write_text(FILES["events.yaml"].replace("entities:", mapping))
    rows = [row(1, kind="pay"), row(2, kind="pay", channel="sms"), row(3, kind="login")]
    write(bank, "a.jsonl", rows)
    assert counts(sync(bank)) == [("a.jsonl", 1, 0, 2)]
    assert {source for source, _ in refused(bank)} == {"pulled/nightly/a.jsonl"}

    wider = FILES["events.yaml"].replace("shop, web, post", "shop, web, post, sms")
    (bank / "events.yaml").write_text(wider.replace("entities:", mapping.replace("!= 'login'", "!= 'logout'")))
    assert [item.stays for item in app.open(bank).quarantine.retry([], [])] == [False, False]
    write(bank, "a.jsonl", [*rows, row(4, kind="pay")])
    assert counts(sync(bank)) == [("a.jsonl", 1, 3, 0)]


def test_a_bad_row_that_is_read_again_with_later_ones_is_quarantined_once(bank: Path):
    (bank / "shroff.yaml").write_text(FILES["shroff.yaml"] + CORE.format(bank))
    for number in range(10, 15):
        fill(bank, [number], channel="sms" if number in {11, 12} else "web")
        sync(bank, "core")

    assert refused(bank) == [("pulled/core", "11"), ("pulled/core", "12")]
    (bank / "events.yaml").write_text(FILES["events.yaml"].replace("shop, web, post", "shop, web, post, sms"))
    assert [item.stays for item in app.open(bank).quarantine.retry([], [])] == [False, False]


def test_a_text_that_is_no_utf_8_quarantines_its_row_once_and_stops_no_other(bank: Path):
    (bank / "shroff.yaml").write_text(FILES["shroff.yaml"] + CORE.format(bank))
    fill(bank, range(3))
    with closing(SqlDatabase(f"sqlite:///{bank}/core.db", "a test")) as database, database.begun() as connection:
        connection.execute(text("UPDATE payments SET channel = CAST(x'61ff' AS text) WHERE n = 1"))

    assert counts(sync(bank, "core")) == [("~2", 2, 0, 1)]
    fill(bank, [3])
    sync(bank, "core")
    assert refused(bank) == [("pulled/core", "1")]


def test_new_rows_of_a_table_train_again_and_a_bad_one_is_quarantined_once(bank: Path):
    (bank / "shroff.yaml").write_text(FILES["shroff.yaml"] + CORE.format(bank))
    (bank / "model.yaml").write_text(FILES["model.yaml"])
    fill(bank, [number for number in range(30) if number not in {5, 25}])
    fill(bank, [5], channel="sms")

    def watch() -> list[tuple[str, int, str]]:
        found = list(app.open(bank).training.watch("core", Options(once=True)))
        return [(item.name, item.appended.events.appended if item.appended else 0, item.why[:19]) for item in found]

    assert watch() == [("~19", 19, "payment has 0.0 day"), ("19~29", 9, "payment has 0.0 day")]
    assert watch() == []
    fill(bank, [25])
    assert watch() == [("19~29", 1, "payment has 0.0 day")]
    assert refused(bank) == [("pulled/core", "5")], "it was read three times"
    with pytest.raises(UsageError, match="the source 'core' in shroff"):
        app.open(bank).training.watch("core", Options(once=True, labels_inside=True))


def test_rows_of_no_type_are_counted_and_those_of_another_type_are_left(bank: Path):
    events = FILES["events.yaml"].replace("entities:", "  from: { json: { when: row.kind == 'pay' } }\nentities:")
    (bank / "events.yaml").write_text(events)
    write(bank, "a.jsonl", [row(1, kind="pay"), row(2, kind="login"), row(3, kind="login")])

    (found,) = sync(bank)
    assert found.appended is not None
    assert (counts([found]), found.appended.untaken) == ([("a.jsonl", 1, 0, 0)], 2)


def test_labels_have_a_source_of_their_own_over_the_same_files(bank: Path):
    own = "verdicts: { files: { from: inbox, settled: 0s }, events: [label] }"
    (bank / "shroff.yaml").write_text(SHROFF.replace(" } } }\n", f" }} }}, {own} }}\n").replace("} } },", "} },"))
    mapping = "label: { from: { json: { event: \"'payment/' + row.id\", verdict: row.verdict, known_at: row.at } } }\n"
    (bank / "events.yaml").write_text(
        FILES["events.yaml"] + mapping.replace("'payment/' + row.id", "join('payment/', row.id)")
    )
    write(bank, "a.jsonl", [row(1, verdict="fraud"), row(2, verdict="genuine")])

    sync(bank)
    (found,) = sync(bank, "verdicts")
    assert found.appended is not None
    assert (found.appended.labels.appended, found.appended.events.read) == (2, 0)
    assert sync(bank, "verdicts") == []


def test_one_process_syncs_at_a_time(bank: Path):
    write(bank, "a.jsonl", [row(1)])

    with (
        state_folder.lock_file(app.open(bank).context.paths.state / LOCK, ""),
        pytest.raises(LogBusyError, match="another process already syncs"),
    ):
        sync(bank)


def test_a_name_that_is_none_is_told_with_those_there_are(bank: Path):
    with pytest.raises(UsageError, match=r"there is no pulled source 'nightlly'. .*nightly"):
        sync(bank, "nightlly")


def test_the_command_tells_each_file_and_the_list_has_what_came(bank: Path, capsys: pytest.CaptureFixture[str]):
    write(bank, "a.jsonl", [row(1), row(2, amount="1.005")])

    assert run(["-C", str(bank), "sources", "sync", "nightly"]) == 4
    assert "a.jsonl: 1 event appended, 1 line quarantined.\n1 file ingested." in capsys.readouterr().out
    assert run(["-C", str(bank), "sources", "sync", "nightly"]) == 0
    assert "0 files ingested. No new files." in capsys.readouterr().out
    assert run(["-C", str(bank), "sources", "list", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["sources"]
    assert (found["name"], found["kind"], found["appended"], found["quarantined"]) == ("nightly", "files", 1, 1)


def test_the_check_names_each_source_that_does_not_answer(bank: Path, capsys: pytest.CaptureFixture[str]):
    (bank / "core.db").touch()
    core, web = f"{{ url: 'sqlite:///{bank}/core.db', table: payments, by: n }}", "{ from: 'http://127.0.0.1:1/a.txt' }"
    sources = (
        f"sources: {{ core: {{ table: {core} }}, web: {{ files: {web} }}, nightly: {{ files: {{ from: away }} }} }}"
    )
    (bank / "shroff.yaml").write_text(FILES["shroff.yaml"] + sources + "\n")

    assert run(["-C", str(bank), "sources", "check", "--json"]) == 1
    found = {trouble["source"]: trouble["message"] for trouble in json.loads(capsys.readouterr().out)["troubles"]}
    assert found["core"] == "there is no table payments; the database has no table"
    assert {*found} == {"core", "web", "nightly"}


def test_a_job_syncs_and_says_what_came(bank: Path):
    from shroff.services.jobs.kinds import kind_named
    from shroff.services.jobs.work import JobRun

    write(bank, "a.jsonl", [row(1), row(1), row(2)])
    kind = kind_named("sync")

    found = kind.load()(app.open(bank), kind.read({"source": "nightly"}), JobRun(0))
    assert found == {"files": 1, "appended": 2, "duplicates": 1, "quarantined": 0}


def test_a_link_out_of_the_folder_is_told_by_sync_and_check_and_nothing_of_it_is_read(
    bank: Path, capsys: pytest.CaptureFixture[str]
):
    write(bank, "a.jsonl", [row(1)])
    (bank / "key.json").write_text('{"secret": "s3cret"}\n')
    (bank / "inbox" / "h.jsonl").symlink_to(bank / "key.json")

    assert run(["-C", str(bank), "sources", "sync", "nightly"]) == 0
    assert "h.jsonl: links out of the folder are not read" in capsys.readouterr().err
    assert run(["-C", str(bank), "sources", "check"]) == 1
    assert "h.jsonl: links out of the folder" in capsys.readouterr().out
    assert refused(bank) == []
