"""Files for BigQuery: each row of the lake once, the published columns, and loads that a retry does not repeat."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlglot

import shroff
from shroff import config
from shroff.adapters.http_calls import Calls
from shroff.cli.main import run
from shroff.errors import ShroffError, StateError, TransientError
from shroff.services.lake.operations import WriteLake
from shroff_plugins.analytics.bigquery import WAITS_S, BigQuery, LoadFile
from shroff_plugins.analytics.warehouse import _loadable, column_of
from shroff_plugins.analytics.warehouse_export import export_warehouse, load_warehouse
from tests.support.bigquery import TOKEN, BigQueryStandIn, bigquery

ROOT = Path(__file__).parents[2]
PUBLISHED = {  # names and types; all are required but `context`
    "all_user_events": "user_id STRING, event_type STRING, time_transaction_occurred INTEGER, source_of_event STRING, "
    "created_at INTEGER, updated_at INTEGER, context STRING",
    "user_behaviour": "user_id STRING, account_id STRING, transaction_type STRING, amount INTEGER, unit STRING, "
    "currency STRING, time_transaction_occurred INTEGER, created_at INTEGER, updated_at INTEGER",
    "user_flagged_as_fraudulent": "user_id STRING, account_id STRING, rule_label STRING, reason STRING, "
    "accuracy STRING, created_at INTEGER, updated_at INTEGER",
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Savings in three commits of the lake: 30 messages, 21 of them savings."""
    folder = tmp_path_factory.mktemp("warehouse")
    assert run(["init", str(folder / "app"), "--template", "savings"]) == 0
    with (folder / "app" / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write("lake: ./lake\n")
    project = shroff.open(folder / "app")
    for first in (0, 10, 20):
        lines = [json.dumps(message(number)) for number in range(first, first + 10)]
        (folder / "in.jsonl").write_text("\n".join(lines), encoding="utf-8")
        project.ingest(folder / "in.jsonl")
        project.run(WriteLake())
    return folder / "app"


def message(number: int) -> dict[str, Any]:
    return {
        "eventType": "WITHDRAWAL" if number % 10 > 6 else "SAVING",
        "transactionId": f"t-{number}",
        "timestamp": 1_767_225_600_000 + number * 3_600_000,
        "userId": f"u-{number % 4}",
        "amount": f"{(number + 1) * 70_000_001}::HUNDREDTH_CENT::ZAR",
        **({"context": {"screen": number}} if number % 2 else {}),
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}


def once_each(rows: dict[str, list[dict[str, Any]]]) -> None:
    """Each row of the lake that the fixture wrote, and no other."""
    places = Counter(row["seq"] for row in rows["saving"] + rows["withdrawal"])
    assert (len(places), set(places.values())) == (30, {1})
    assert len(rows["all_user_events"]) == len(rows["user_behaviour"]) == len(rows["decisions"]) == 30
    assert len(rows["user_flagged_as_fraudulent"]) == len(rows["flags"]) > 10
    assert sum(Decimal(str(row["amount"])) for row in rows["user_behaviour"]) == 70_000_001 * 465
    kinds = Counter(row["transaction_type"] for row in rows["user_behaviour"])
    assert kinds == {"SAVING_EVENT": 21, "WITHDRAWAL": 9}
    assert Counter(row["event_type"] for row in rows["all_user_events"]) == {"SAVING": 21, "WITHDRAWAL": 9}
    contexts = Counter(row.get("context") for row in rows["all_user_events"])
    assert (contexts.pop(None), contexts) == (15, Counter(f'{{"screen":{number}}}' for number in range(1, 30, 2)))
    flagged = [row["rule_label"] for row in rows["user_flagged_as_fraudulent"]]
    assert flagged == [row["rule"] for row in rows["flags"]]
    assert {"A saving of"} == {
        row["reason"][:11]
        for row in rows["user_flagged_as_fraudulent"]
        if row["rule_label"] == "single_very_large_saving_event"
    }


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["parquet", "ndjson"])
def test_each_row_is_written_once_and_the_same_bytes_come_again_also_behind_a_compaction(format_, app, tmp_path):
    project = shroff.open(app)
    done = export_warehouse(project.context, tmp_path / "one", format_)
    with project.lake.open() as lake:
        lake.compact(files_min=2, grace="0s")
    again = export_warehouse(project.context, tmp_path / "two", format_)
    later = export_warehouse(project.context, tmp_path / "three", format_, behind=2)

    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert (done.rows, done.files["saving"]) == (again.rows, 3)
    assert (later.rows["saving"] + later.rows["withdrawal"], later.files["saving"]) == (10, 1)
    rows: dict[str, list[dict[str, Any]]] = {}
    for table, _, path in done.paths:
        lines = path.read_bytes().splitlines() if format_ == "ndjson" else ()
        rows.setdefault(table, []).extend(map(json.loads, lines) if lines else pq.read_table(path).to_pylist())
    once_each(rows)
    assert (
        sum(Decimal(row["exact_amount"]) for row in rows["saving"] + rows["withdrawal"]) == Decimal("7000.0001") * 465
    )


@pytest.mark.slow
def test_the_published_tables_have_their_columns_and_modes(app, tmp_path):
    assert run(["-C", str(app), "export", "warehouse", "--out", str(tmp_path)]) == 0

    for table, columns in PUBLISHED.items():
        found = json.loads((tmp_path / "schemas" / f"{table}.json").read_text())
        assert ", ".join(f"{item['name']} {item['type']}" for item in found) == columns
        modes = {item["name"]: item["mode"] for item in found}
        assert modes == dict.fromkeys(modes, "REQUIRED") | ({"context": "NULLABLE"} if "context" in modes else {})
    saving = {line["name"]: line for line in json.loads((tmp_path / "schemas" / "saving.json").read_text())}
    assert saving["amount"] == {"name": "amount", "type": "NUMERIC", "mode": "NULLABLE"}
    assert saving["seq"]["mode"] == "REQUIRED"


def load(app: Path, out: Path, there: BigQueryStandIn, **more: Any) -> dict[str, int]:
    context = shroff.open(app).context
    return load_warehouse(context, export_warehouse(context, out), "parquet", "bank.fraud", there.url, **more)


@pytest.mark.slow
def test_a_load_that_is_disturbed_and_repeated_loads_each_row_once(app, tmp_path, monkeypatch):
    monkeypatch.setenv("BIGQUERY_TOKEN", TOKEN)
    monkeypatch.setattr("shroff_plugins.analytics.bigquery.WAITS_S", (0.0, 0.0))
    monkeypatch.setattr("shroff_plugins.analytics.bigquery.POLL_S", 0.0)
    with bigquery() as there:
        there.faults = ["busy", "", "lost", "", "failed"]
        with pytest.raises(StateError, match=r"could not load .*: no such column"):
            load(app, tmp_path, there)
        there.faults = ["busy"] * 3
        with pytest.raises(TransientError, match="status 503"):
            load(app, tmp_path, there)

        first = load(app, tmp_path, there)
        assert sum(first.values()) < len(there.jobs) - 1
        assert [id_ for id_ in there.jobs if id_.endswith("_2")]
        assert sum(load(app, tmp_path, there).values()) == 0
        once_each(there.rows)
        assert len(there.schemas["user_behaviour"]) == 9


PART = 256 * 1024


@pytest.mark.parametrize(
    ("faults", "sessions"),
    [
        ([], 1),
        (["cut", "less", "busy", "none", "", "lost"], 1),
        (["", "expired", "cut", "", "expired", "less"], 3),
        (["", "", "", "", "lost"], 1),
    ],
)
def test_a_large_file_goes_in_parts_from_where_its_session_is_whatever_disturbs_it(
    faults, sessions, tmp_path, monkeypatch
):
    monkeypatch.setattr("shroff_plugins.analytics.bigquery.PART_BYTES", 2 * PART)
    monkeypatch.setattr("shroff_plugins.analytics.bigquery.POLL_S", 0.0)
    slept: list[float] = []
    with (
        bigquery() as there,
        closing(BigQuery("bank.fraud", TOKEN, Calls(), endpoint=there.url, sleep=slept.append)) as warehouse,
    ):
        there.part_faults = list(faults)
        assert warehouse.load(large(tmp_path))
        assert len(there.sessions) + faults.count("expired") == sessions
        assert (len(there.rows["a"]), list(there.jobs)) == (36, ["shroff_fraud_a_0-1"])
        assert max(there.parts) == 2 * PART
        assert faults or len(there.parts) == 5
        assert not warehouse.load(large(tmp_path))
        assert len(there.rows["a"]) == 36


def test_a_session_that_takes_nothing_or_expires_again_and_again_is_given_up_and_a_failed_job_gets_the_next_id(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("shroff_plugins.analytics.bigquery.PART_BYTES", 2 * PART)
    monkeypatch.setattr("shroff_plugins.analytics.bigquery.POLL_S", 0.0)
    file = large(tmp_path)
    slept: list[float] = []
    with (
        bigquery() as there,
        closing(BigQuery("bank.fraud", TOKEN, Calls(), endpoint=there.url, sleep=slept.append)) as warehouse,
    ):
        there.part_faults = ["", *["none"] * 9]
        with pytest.raises(TransientError, match=r"takes no more than 524,288 of 2,\d+,\d+ bytes"):
            warehouse.load(file)
        assert slept == list(WAITS_S)
        there.part_faults = ["expired"] * 5
        with pytest.raises(TransientError, match="5 upload sessions of BigQuery expired"):
            warehouse.load(file)
        there.part_faults, there.faults = [], ["failed"]
        with pytest.raises(StateError, match="no such column"):
            warehouse.load(file)
        assert warehouse.load(file)
        assert list(there.jobs) == ["shroff_fraud_a_0-1", "shroff_fraud_a_0-1_2"]


def large(folder: Path) -> LoadFile:
    """A file of 36 rows, a bit over two megabytes: four parts of half a megabyte and a rest."""
    row = json.dumps({"a": "x" * 60_000}).encode()
    (folder / "a.ndjson").write_bytes(b"\n".join([row] * 36))
    return LoadFile(folder / "a.ndjson", "a", "0-1", "ndjson", [{"name": "a", "type": "STRING", "mode": "NULLABLE"}])


def test_a_load_whose_reply_was_lost_is_one_of_this_call(tmp_path, monkeypatch):
    monkeypatch.setattr("shroff_plugins.analytics.bigquery.POLL_S", 0.0)
    with (
        bigquery() as there,
        closing(BigQuery("bank.fraud", TOKEN, Calls(), endpoint=there.url, sleep=lambda _: None)) as warehouse,
    ):
        there.faults = ["lost"]
        assert warehouse.load(large(tmp_path))
        assert not warehouse.load(large(tmp_path))


@pytest.mark.parametrize(("failure", "words"), [({"reason": "invalid"}, "invalid"), ({}, "no reason given")])
def test_a_job_that_failed_without_a_message_has_not_loaded(failure, words, tmp_path):
    with bigquery() as there, closing(BigQuery("bank.fraud", TOKEN, Calls(), endpoint=there.url)) as warehouse:
        there.faults, there.failure = ["failed"], failure
        with pytest.raises(StateError, match=words):
            warehouse.load(large(tmp_path))


def test_a_dataset_that_is_not_there_is_named_in_the_words_of_bigquery(tmp_path):
    (tmp_path / "a.ndjson").write_bytes(b"{}\n")
    file = LoadFile(tmp_path / "a.ndjson", "a", "0-1", "ndjson", [])
    with bigquery() as there, closing(BigQuery("bank.none", TOKEN, Calls(), endpoint=there.url)) as warehouse:
        with pytest.raises(StateError, match=r"status 404: Not found: .*/datasets/none"):
            warehouse.load(file)
        assert there.jobs == {}


@pytest.mark.slow
def test_the_command_loads_and_says_how_much(app, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BIGQUERY_TOKEN", TOKEN)
    monkeypatch.setattr("shroff_plugins.analytics.bigquery.POLL_S", 0.0)
    with bigquery() as there:
        words = ["export", "warehouse", "--out", str(tmp_path), "--format", "ndjson", "--load", "bank.fraud"]
        for loaded in (True, False):
            capsys.readouterr()
            assert run(["-C", str(app), *words, "--endpoint", there.url, "--json"]) == 0
            assert (sum(json.loads(capsys.readouterr().out)["loaded"].values()) > 0) is loaded
        once_each(there.rows)
        monkeypatch.setenv("BIGQUERY_TOKEN", "another")
        assert run(["-C", str(app), *words, "--endpoint", there.url]) != 0
        assert "Is BIGQUERY_TOKEN still valid?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["warehouse"], "a warehouse takes --out FOLDER"),
        (["warehouse", "--out", "x", "--format", "csv"], "there is no format 'csv'"),
        (["warehouse", "--out", "{out}", "--load", "fraud"], "'fraud' is not a dataset"),
        (
            ["warehouse", "--out", "{out}", "--load", "b.f", "--endpoint", "http://example.com"],
            "not an address of BigQuery",
        ),
        (["warehouse", "--out", "{out}", "--load", "b.f"], "BIGQUERY_TOKEN is not set"),
        (["events", "--behind", "1"], "--behind, --load and --endpoint are for a warehouse"),
    ],
)
def test_what_cannot_be_is_refused_with_its_cure(words, said, app, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("BIGQUERY_TOKEN", raising=False)
    if "--endpoint" in words or "fraud" in words:
        monkeypatch.setenv("BIGQUERY_TOKEN", TOKEN)
    (app / "warehouse").rename(app / "kept")
    try:
        assert run(["-C", str(app), "export", *(word.format(out=tmp_path) for word in words)]) == 2
    finally:
        (app / "kept").rename(app / "warehouse")

    assert said in capsys.readouterr().err


def test_a_row_without_a_required_value_or_one_that_does_not_fit_is_refused(app, tmp_path):
    file = app / "warehouse" / "user_behaviour.sql"
    sql = file.read_text()
    file.write_text(sql.replace("coalesce(account, '')", "account"))
    try:
        with pytest.raises(StateError, match=r"user_behaviour, places .*'account_id' has no value in 10 of 10 rows"):
            export_warehouse(shroff.open(app).context, tmp_path)
    finally:
        file.write_text(sql)
    with pytest.raises(ShroffError, match="column 'a' does not fit"):
        _loadable(pa.table({"a": pa.array([Decimal(10) ** 30], pa.decimal128(38, 2))}))
    with pytest.raises(StateError, match="column 'a' has the type duration"):
        column_of(pa.field("a", pa.duration("s")), frozenset())
    assert column_of(pa.field("a", pa.decimal128(38, 12)), frozenset())["type"] == "BIGNUMERIC"
    assert column_of(pa.field("a", pa.list_(pa.string())), frozenset())["mode"] == "REPEATED"


MODELS = {
    name: text
    for folder, room in (
        (config.TEMPLATE_FOLDER / "savings", "warehouse"),
        (ROOT / "examples" / "paysim-marts", "marts"),
    )
    for name, text in config.read_sql(folder, room).items()
    if name.endswith(".sql")
}


@pytest.mark.parametrize("name", MODELS)
def test_the_sql_of_models_is_transpiled_to_the_dialect_of_bigquery_and_parsed(name):
    [made] = sqlglot.transpile(
        MODELS[name], read="duckdb", write="bigquery", unsupported_level=sqlglot.ErrorLevel.RAISE
    )

    parsed = sqlglot.parse_one(made, read="bigquery")
    assert parsed.named_selects == sqlglot.parse_one(MODELS[name], read="duckdb").named_selects
