# ruff: noqa: E501 - tables of models and messages read best with a case on a line
"""SQL marts: their figures, each row of the lake once, what SQL cannot reach, and what a mistake says."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import yaml

import shroff
from bench.marts import build_example, write_lake
from shroff.cli.main import run
from shroff.errors import DefinitionError, StateError, UsageError
from shroff.services.lake.operations import WriteLake
from shroff.services.lake.project_lake import Lakes
from shroff.services.project import Project
from shroff_plugins.analytics.closed_duckdb import QueryLimits, closed_duckdb
from shroff_plugins.analytics.marts.build import BuiltMarts, MartFiles, Origin, build
from shroff_plugins.analytics.marts.models import load_models
from shroff_plugins.analytics.marts.project_marts import Marts
from shroff_plugins.analytics.marts.views import ViewFiles, view_name
from tests.support.effort import long_after

SETTINGS = "shroff: 1\nname: bank\nmoney: EUR\nlateness: 10d\nlake: ./lake\n"
EVENTS = """\
payment:
  id: id
  time: at
  fields: {id: text, at: time, amount: money, channel: text?}
"""
BY_DAY = "SELECT date AS day, count(*) AS payments, sum(amount) AS value FROM payment GROUP BY date ORDER BY date\n"
VIEWS = ("payment", "labels")


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    bank = tmp_path / "bank"
    (bank / "marts" / "staging").mkdir(parents=True)
    (bank / "shroff.yaml").write_text(SETTINGS, encoding="utf-8")
    (bank / "events.yaml").write_text(EVENTS, encoding="utf-8")
    return bank


def payment(number: int, day: int, amount: str = "1.10") -> dict[str, Any]:
    return {"payment": {"id": f"p{number}", "at": f"2026-03-{day:02}T12:00:00Z", "amount": amount}}


def brought(bank: Path, *payments: dict[str, Any]) -> Project:
    project = shroff.open(bank)
    (bank / "in.jsonl").write_text("".join(f"{json.dumps(item)}\n" for item in payments), encoding="utf-8")
    project.ingest(bank / "in.jsonl")
    project.run(WriteLake())
    return project


def write(bank: Path, **files: str) -> None:
    for name, text in files.items():
        kind = "yaml" if name.endswith("_yaml") else "sql"
        (bank / "marts" / f"{name.removesuffix('_yaml')}.{kind}").write_text(text, encoding="utf-8")


def built_of(folder: Path, files: dict[str, str], memory: str = "500MB") -> BuiltMarts:
    """Models over an empty lake, without a project."""
    lake = ViewFiles({}, {"events/type=payment": pa.table({"id": pa.array([], pa.string())})})
    (folder / "work" / "spill").mkdir(parents=True)
    return build(load_models(files, lake.views), Origin(lake, {"0": 1}, 0), MartFiles(folder), QueryLimits(memory, 1))


def mistakes(files: dict[str, str]) -> list[str]:
    with pytest.raises(DefinitionError) as raised:
        load_models(files, VIEWS)
    return [str(problem) for problem in raised.value.problems]


# ---- PaySim, to the cent

SAMPLE = {
    "overview": [
        (
            *(51_392, "9392592295.59", 1_392, "1661644102.03", 8_303, 5_476, 94_500, 51_389, 43_112, 1),
            *(1_381, 1_392, 11, 22, 350, 0, 0, 0, 0),
        )
    ],
    "customer_status": [("Fraudster", 1_381), ("Not Affiliated", 91_377), ("Suspect", 350), ("Victim", 1_392)],
    "fraud_by_amount": [(0, 971), (1, 177), (2, 88), (3, 48), (4, 22), (5, 86)],
    "payments_by_part_of_day": [("Night", 6_474), ("Morning", 11_095), ("Afternoon", 17_277), ("Evening", 16_546)],
}
FIRST = {
    "overview": [
        (
            *(19_999, "2519017889.55", 81, "48347524.52", 929, 578, 32_870, 19_999, 12_871, 0),
            *(80, 81, 1, 2, 376, 0, 0, 0, 0),
        )
    ],
    "customer_status": [("Fraudster", 80), ("Not Affiliated", 32_333), ("Suspect", 376), ("Victim", 81)],
    "fraud_by_amount": [(0, 71), (1, 4), (2, 2), (5, 4)],
    "payments_by_part_of_day": [("Night", 4_839), ("Morning", 15_160)],
}
SHOWN = {
    "customer_status": "status, customers",
    "fraud_by_amount": "millions, frauds",
    "payments_by_part_of_day": "part, payments",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "expected"), long_after(1, [("paysim_sample_51392.csv", SAMPLE), ("paysim_first19998.csv", FIRST)])
)
def test_the_marts_of_paysim_give_the_known_figures_to_the_cent(file, expected, data, tmp_path):
    built = build_example(write_lake(tmp_path, 10**6, data / file), tmp_path / "marts", "2GB")

    assert [mart.failures for mart in built.marts if mart.failures] == []
    assert [
        f"{mart.name}.{column.name}" for mart in built.marts for column in mart.columns if not column.description
    ] == []
    with duckdb.connect(str(tmp_path / "marts" / "marts.duckdb"), read_only=True) as marts:
        for name, rows in expected.items():
            found = marts.execute(f"SELECT {SHOWN.get(name, '*')} FROM {name}").fetchall()
            assert [tuple(str(item) for item in row) for row in found] == [tuple(map(str, row)) for row in rows], name


# ---- the commands, from outside


@pytest.mark.slow
def test_marts_are_built_tested_and_shown_by_commands(bank, capsys):
    brought(bank, payment(1, 1), payment(2, 1, "2.20"), payment(3, 2))
    write(
        bank,
        by_day=f"-- Payments by day.\n-- day: In UTC.\n{BY_DAY};\n",
        by_day_yaml="unique: [day]\nequal_sums: [[sum(value), payment.sum(amount)]]\n",
    )
    assert run(["-C", str(bank), "marts", "build", "--json"]) == 0
    built = json.loads(capsys.readouterr().out)

    assert built["marts"] == [{"name": "by_day", "kind": "mart", "rows": 2, "tests": 2, "failed": 0, "failures": []}]
    assert (built["upto"], built["behind"]) == (4, 0)
    assert run(["-C", str(bank), "marts", "show", "by_day", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["marts"][0]
    assert shown["data"][0] == {"day": "2026-03-01", "payments": 2, "value": "3.30"}
    assert (shown["description"], shown["columns"][0]["description"]) == ("Payments by day.", "In UTC.")
    write(bank, by_day_yaml="accepted_values: {payments: ['1', '3']}\n")
    assert run(["-C", str(bank), "marts", "test"]) == 1
    assert "accepted_values: payments in 1, 3: 1 row, such as 2" in capsys.readouterr().out


@pytest.mark.slow
def test_after_a_failed_test_the_last_good_build_stays(bank, capsys):
    brought(bank, payment(1, 1))
    write(bank, by_day=BY_DAY, by_day_yaml="accepted_values: {payments: ['1']}\n")
    assert run(["-C", str(bank), "marts", "build"]) == 0
    project = brought(bank, payment(2, 1))
    capsys.readouterr()

    assert run(["-C", str(bank), "marts", "build", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["marts"][0]["failed"] == 1
    assert [row[1] for row in Marts(project.context).rows("by_day").rows] == [1]
    assert [row[1] for row in Marts(project.context).rows("by_day", failed=True).rows] == [2]
    write(bank, by_day_yaml="not_null: [day]\n")
    assert run(["-C", str(bank), "marts", "build"]) == 0
    with pytest.raises(UsageError, match="no build since the last good one has failed tests"):
        Marts(project.context).built(failed=True)


@pytest.mark.slow
def test_what_marts_need_is_said(bank, monkeypatch):
    project = shroff.open(bank)
    with pytest.raises(UsageError, match=r"not built yet. Run 'shroff marts build'"):
        Marts(project.context).built()
    write(bank, by_day=BY_DAY)
    (bank / "first.jsonl").write_text(json.dumps(payment(1, 1)), encoding="utf-8")
    project.ingest(bank / "first.jsonl")
    with pytest.raises(UsageError, match=r"this one has no events yet. Run 'shroff lake write'"):
        Marts(project.context).build()
    (bank / "marts" / "by_day.sql").unlink()
    project = brought(bank, payment(1, 1))
    with pytest.raises(UsageError, match=r"there are no marts. Write one SELECT as marts/"):
        Marts(project.context).build()
    write(bank, by_day=BY_DAY)
    with pytest.raises(UsageError, match=r"'1 TB' is not a size of memory. Write it as 500MB or 4GB"):
        Marts(project.context).build(memory="1 TB")
    Marts(project.context).build()
    with pytest.raises(UsageError, match=r"there is no mart 'by_dya'. Did you mean by_day?"):
        Marts(project.context).rows("by_dya")
    write(bank, by_day=BY_DAY + "LIMIT 1")
    with pytest.raises(UsageError, match=r"by_day changed since the last build. Run 'shroff marts build'"):
        Marts(project.context).test()
    next((bank / "lake" / "events").rglob("*.parquet")).write_bytes(b"")
    with pytest.raises(StateError, match=r"is not as long as the lake says. Run 'shroff lake check'"):
        Marts(project.context).build()
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(UsageError, match=r"needs the extra 'analytics': pip install 'shroff\[analytics\]'"):
        Marts(project.context).build()


# ---- each row of the lake once


@pytest.mark.slow
def test_built_day_by_day_marts_are_those_that_are_built_whole(bank):
    chance, all_of = random.Random(3), list[dict[str, Any]]()
    (bank / "marts" / "staging" / "shown.sql").write_text("SELECT date, amount FROM payment", encoding="utf-8")
    write(
        bank,
        by_day=BY_DAY.replace("payment G", "shown G"),
        by_day_yaml="by_day: day\nequal_sums: [[sum(value), payment.sum(amount)]]\n",
    )
    for part in range(4):
        new = [
            payment(100 * part + at, chance.randint(1, 9), f"{chance.randint(1, 999)}.05")
            for at in range(chance.randint(1, 9))
        ]
        all_of += new
        project = brought(bank, *new)
        if part == 2:
            with project.lake.open() as lake:
                lake.compact(files_min=2, grace="1d")  # those that were replaced still lie there
        (bank / "lake" / "events" / "type=payment" / "date=2026-03-01").mkdir(exist_ok=True)
        (bank / "lake" / "events" / "type=payment" / "date=2026-03-01" / "stray.parquet").write_bytes(
            b"no manifest names it"
        )
        assert Marts(project.context).build().marts.is_passed
        by_parts = sorted(Marts(project.context).rows("by_day", 99).rows)
        Marts(project.context).build(is_full=True)

        assert by_parts == sorted(Marts(project.context).rows("by_day", 99).rows)
        by_definition: dict[str, list[int]] = {}
        for row in all_of:
            by_definition.setdefault(row["payment"]["at"][:10], []).append(
                int(row["payment"]["amount"].replace(".", ""))
            )
        assert [(str(day), count, int(value * 100)) for day, count, value in by_parts] == [
            (day, len(cents), sum(cents)) for day, cents in sorted(by_definition.items())
        ]


@pytest.mark.slow
def test_files_of_a_bucket_are_fetched_once_and_go_with_it(bank, monkeypatch):
    """A bucket is a lake without a folder here: its objects are fetched by name, and checked."""
    monkeypatch.setattr(Lakes, "folder", property(lambda self: None))
    write(bank, by_day=BY_DAY)
    Marts(brought(bank, payment(1, 1), payment(2, 2)).context).build()
    copies = bank / ".shroff" / "marts" / "lake"
    before = {path.name: path.stat().st_mtime_ns for path in copies.rglob("*.parquet")}
    project = brought(bank, payment(3, 2))
    Marts(project.context).build()
    after = {path.name: path.stat().st_mtime_ns for path in copies.rglob("*.parquet")}

    assert [str(row[2]) for row in Marts(project.context).rows("by_day").rows] == ["1.10", "2.20"]
    assert before.items() <= after.items()
    with project.lake.open() as lake:
        lake.compact(files_min=2, grace="0s")
    assert Marts(project.context).build(is_full=True).marts.is_passed
    with project.lake.open() as lake:
        counted = {Path(file.path).name for file in lake.files()}
    assert {path.name for path in copies.rglob("*.parquet")} == counted


@pytest.mark.slow
def test_a_build_that_was_killed_leaves_the_last_one_and_nothing_else(bank):
    write(bank, by_day=BY_DAY)
    project = brought(bank, payment(1, 1))
    Marts(project.context).build()
    part = bank / ".shroff" / "marts" / "work" / "marts.duckdb"
    part.parent.mkdir()
    part.write_bytes(b"half of a file")
    assert [row[1] for row in Marts(project.context).rows("by_day").rows] == [1]
    Marts(project.context).build()

    assert sorted(path.name for path in part.parent.parent.iterdir()) == ["build.lock", "marts.duckdb"]


@pytest.mark.slow
def test_days_without_new_files_are_copied_and_not_made_again(bank):
    write(bank, by_day=BY_DAY.replace("sum(amount)", "random()"), by_day_yaml="by_day: day\n")
    Marts(brought(bank, payment(1, 1), payment(2, 2)).context).build()
    before = dict(Marts(shroff.open(bank).context).rows("by_day").rows[at][::2] for at in range(2))
    project = brought(bank, payment(3, 2))
    Marts(project.context).build()
    after = dict(row[::2] for row in Marts(project.context).rows("by_day").rows)

    assert [before[day] == after[day] for day in sorted(before)] == [True, False]


def twice(bank: Path, project: Project) -> None:
    """Build whole, then by day."""
    Marts(project.context).build()
    Marts(brought(bank, payment(2, 2)).context).build()


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT DATE '2026-01-01' AS day", "gives rows of 2026-01-01, whose files it was not given"),
        ("SELECT NULL::DATE AS day FROM payment", "gives rows of no day"),
        ("SELECT time AS day FROM payment", "'day' is TIMESTAMP WITH TIME ZONE, and has to be a DATE"),
        ("SELECT 1 AS x", "'day' is not a column, and has to be a DATE"),
    ],
)
def test_a_model_that_cannot_be_built_by_day_is_refused(sql, words, bank):
    write(bank, m=sql, m_yaml="by_day: day\n")
    project = brought(bank, payment(1, 1))
    with pytest.raises(DefinitionError, match=words):
        twice(bank, project)


# ---- what a mistake says


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"marts/a.sql": "SELECT\n  *\nFROM paymnt"}, "marts/a.sql:3:6: nothing is named 'paymnt': neither a model nor a view of the lake. Did you mean payment?"),
        ({"marts/a.sql": "SELECT 1;\nDROP TABLE b"}, "marts/a.sql:1:1: this is not a SELECT."),
        ({"marts/a.sql": "SELECT 1; SELECT 2"}, "marts/a.sql:1:1: 2 statements; a model is one SELECT."),
        ({"marts/a.sql": "COPY payment TO 'x'"}, "marts/a.sql:1:1: this is not a SELECT."),
        ({"marts/a.sql": "SELECT 1\nFROM payment x y"}, 'marts/a.sql:2:16: syntax error at or near "y".'),
        ({"marts/a.sql": "SELECT * FROM read_csv('/etc/passwd')"}, "marts/a.sql:1:15: read_csv() cannot stand here: a model reads the lake and other models. Functions: generate_series, range, unnest."),
        ({"marts/a.sql": "SELECT * FROM query('SELECT 1')"}, "marts/a.sql:1:15: query() cannot stand here: a model reads the lake and other models. Functions: generate_series, range, unnest."),
        ({"marts/a.sql": "SELECT * FROM old.main.a"}, "marts/a.sql:1:15: 'a' is named with a schema: models have a name alone."),
        ({"marts/a.sql": "SELECT (SELECT max(x) FROM b) FROM payment", "marts/b.sql": "WITH c AS (SELECT 1)\nSELECT * FROM c JOIN a USING (x)"}, "marts/a.sql:1:28: models read each other in a circle: a → b → a."),
        ({"marts/Big.sql": "SELECT 1"}, "marts/Big.sql: its name is the table's: lower-case letters, digits and _, a letter first."),
        ({"marts/payment.sql": "SELECT 1"}, "marts/payment.sql:1:1: the lake has a view 'payment' already. Rename this file."),
        ({"marts/a.sql": "SELECT 1", "marts/tables/a.sql": "SELECT 1"}, "marts/tables/a.sql:1:1: marts/a.sql has this name, too. Rename one."),
        ({"marts/staging/a.sql": "SELECT * FROM b", "marts/b.sql": "SELECT 1"}, "marts/staging/a.sql:1:15: a staging view reads the lake and other views, and 'b' is a table."),
        ({"marts/a.sql": "FROM b", "marts/staging/b.sql": "FROM labels", "marts/a.yaml": "by_day: d"}, "marts/a.sql:1:1: built by day, it cannot read 'labels', also by way of a view: these lie at days of their own. Leave out 'by_day'."),
        ({"marts/a.sql": "FROM payment", "marts/b.yaml": ""}, "marts/b.yaml: there is no b.sql beside these tests."),
        ({"marts/a.sql": "FROM payment", "marts/a.yml": ""}, "marts/a.yml: this file is not read. Rename it to .yaml."),
        ({"marts/a.sql": "FROM payment", "marts/a.yaml": "uniqe: [id]"}, "marts/a.yaml:1:1 uniqe: the file has no key 'uniqe'. Did you mean unique?"),
        ({"marts/a.sql": "FROM payment", "marts/a.yaml": "equal_sums: [[sum(x); DROP, 1]]"}, "marts/a.yaml:1:15 equal_sums[0][0]: equal_sums is a sum as sum(amount) or payments.count(*), or a number."),
    ],
)  # fmt: skip
def test_a_mistake_in_a_model_is_told_with_its_place(files, expected):
    assert expected in mistakes(files)


@pytest.mark.parametrize(
    ("sql", "yaml", "expected"),
    [
        ("SELECT id,\n  nope FROM payment", "", 'marts/m.sql:2:1: Binder Error: Referenced column "nope" not found in FROM clause!'),
        ("SELECT id FROM payment", "unique: [it]", "marts/m.yaml:1:10 unique[0]: m has no column 'it'."),
        ("SELECT id FROM payment", "relationships: {id: mm.id}", "marts/m.yaml:1:21 relationships.id: there is no model 'mm'. Did you mean m?"),
        ("SELECT id FROM payment", "equal_sums: [[sum(id), 1]]", "marts/m.yaml:1:15 equal_sums[0][0]: equal_sums: sum(id) = 1: Binder Error"),
        ("-- What: it is.\n-- idd: What?\nSELECT id FROM payment", "", "marts/m.sql:1:1: 'idd' is described, and is not a column of m. Did you mean id?"),
    ],
)  # fmt: skip
def test_what_only_a_build_can_see_has_its_place_too(sql, yaml, expected, tmp_path):
    with pytest.raises(DefinitionError) as raised:
        built_of(tmp_path, {"marts/m.sql": sql, "marts/m.yaml": yaml})

    assert str(raised.value.problems[0]).startswith(expected)
    assert list(tmp_path.glob("*.duckdb")) == [], "nothing half made"


def test_names_that_with_gives_are_no_models_where_they_are_seen():
    files = {
        "marts/a.sql": "WITH payments AS (SELECT * FROM payment), b AS (FROM payments) SELECT * FROM payments, B",
        "marts/payments.sql": "WITH RECURSIVE r AS (SELECT 1 n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT * FROM r, unnest([1])",
        "marts/c.sql": "WITH payments AS (SELECT * FROM payments) SELECT * FROM payments",
    }
    found = {model.name: [read.name for read in model.reads] for model in load_models(files, VIEWS)}

    assert found == {"a": ["payment"], "payments": [], "c": ["payments"]}
    assert list(found).index("payments") < list(found).index("c")


# ---- tests of rows


@pytest.mark.parametrize(
    ("yaml", "failed"),
    [
        ("not_null: [a]", [("not_null: a", 1, "")]),
        ("unique: [a]", [("unique: a", 1, "1")]),
        ("unique: [[a, b]]", []),
        ("accepted_values: {a: ['1']}", [("accepted_values: a in 1", 1, "2")]),
        ("relationships: {a: n.k}", [("relationships: a in n.k", 3, "1")]),
        ("relationships: {b: n.k}", []),
        ("equal_sums: [[sum(a), n.sum(k)], [count(*), 4]]", [("equal_sums: sum(a) = n.sum(k)", 1, "4 and 9")]),
        ("equal_sums: [[m.max(b), 5.00], [n.count(k), 2]]", []),
    ],
)
def test_a_test_counts_the_rows_that_fail(yaml, failed, tmp_path):
    rows = "FROM (VALUES (1, 4), (1, 5), (2, 4), (NULL, NULL)) AS t(a, b)"
    keys = "FROM (VALUES (4), (5)) AS t(k)"
    built = built_of(tmp_path, {"marts/m.sql": rows, "marts/m.yaml": yaml, "marts/n.sql": keys})

    assert built.named("m").failures == failed


# ---- what SQL cannot reach


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('{other}')",
        "SELECT * FROM '{other}'",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM read_parquet('{folder}/*.parquet')",
        "SELECT * FROM sniff_csv('{other}')",
        "SELECT * FROM read_parquet('http://127.0.0.1:9/x.parquet')",
        "SELECT * FROM local_variable",
        "COPY (SELECT 1) TO '{other}.out'",
        "ATTACH '{other}.duckdb' AS stolen",
        "EXPORT DATABASE '{folder}/all'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET memory_limit = '100GB'",
        "SET allowed_paths = ['{other}']",
        "SET enable_external_access = true",
        "RESET lock_configuration",
    ],
)
def test_a_closed_duckdb_reads_the_named_file_and_nothing_else(sql, tmp_path):
    named, other = tmp_path / "named.parquet", tmp_path / "other.csv"
    duckdb.execute(f"COPY (SELECT 7 AS x) TO '{named}'")
    other.write_text("a,b\n1,2\n")
    local_variable = duckdb.sql("SELECT 1").to_arrow_table()
    before = sorted(tmp_path.iterdir())
    with closed_duckdb(None, [named], spill=tmp_path / "spill", limits=QueryLimits("100MB", 1)) as connection:
        assert connection.execute(f"SELECT x FROM read_parquet('{named}')").fetchone() == (7,)
        with pytest.raises(duckdb.Error):
            connection.execute(sql.format(other=other, folder=tmp_path)).fetchall()

    assert sorted(tmp_path.iterdir()) == before
    assert local_variable.num_rows == 1


STOPPED = """
import os, signal, sys, threading
from pathlib import Path
from shroff_plugins.analytics.closed_duckdb import QueryLimits, closed_duckdb
signal.signal(signal.SIGINT, signal.default_int_handler)
with closed_duckdb(None, [], spill=Path(sys.argv[1]), limits=QueryLimits("500MB", 1)) as connection:
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    connection.execute("SELECT sum(a.range * b.range) FROM range(9999999) a, range(9999999) b").fetchall()
"""


def test_a_query_that_would_take_a_day_ends_by_ctrl_c(tmp_path):
    command = [sys.executable, "-c", STOPPED, str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)

    assert done.returncode in {-signal.SIGINT, 1}
    assert "KeyboardInterrupt" in done.stderr
    assert list(tmp_path.glob("*.duckdb")) == []


def test_a_query_ends_by_its_limit_of_memory(tmp_path):
    large = {"marts/a.sql": "SELECT repeat('x', 300) || range AS t FROM range(400000) ORDER BY 1"}
    with pytest.raises(UsageError, match=r"marts/a.sql needs more memory or disk than it may use"):
        built_of(tmp_path / "large", large, "5MB")
    assert list(tmp_path.glob("*/*.duckdb")) == []


def test_dbt_gets_the_files_that_count_as_sources(bank, capsys):
    project = brought(bank, payment(1, 1), payment(2, 2))
    path = next((bank / "lake" / "events").rglob("*.parquet"))
    shutil.copy(path, path.with_name("stray.parquet"))
    assert run(["-C", str(bank), "marts", "dbt", "--out", str(bank / "sources.yml"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tables"] == 2
    (source,) = yaml.safe_load((bank / "sources.yml").read_text())["sources"]
    locations = {table["name"]: table["config"]["external_location"].format() for table in source["tables"]}
    assert str(duckdb.sql(f"SELECT sum(amount) FROM {locations['payment']}").fetchall()[0][0]) == "2.20"
    assert Marts(project.context).sources() == (bank / "sources.yml").read_text(encoding="utf-8")


def test_a_view_of_events_has_no_name_that_another_folder_of_the_lake_has():
    folders = ("events/type=labels", "events/type=features_payment", "features/event=payment", "labels")

    assert list(map(view_name, folders)) == ["labels_", "features_payment_", "features_payment", "labels"]
