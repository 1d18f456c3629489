"""What the sink of tables promises beside the contract: the tables it makes, and servers that break in the middle."""

from __future__ import annotations

import sqlite3
import time
import uuid
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pymysql
import pytest

from shroff.adapters.databases import deadline, mariadb_connection
from shroff.adapters.sinks.sql import SqlSink
from shroff.errors import UsageError
from shroff.runtime.values import replace
from shroff.streams.sink import AwayError, Outgoing
from shroff.testing.contracts.sink import row
from tests.contracts.cutting import Wire
from tests.support.patience import PATIENCE_S, settled

CHOSEN = {"paid": "event_time", "all_of_it": "fields", "amount": "fields.amount"}
SHAPES = {
    "postgres": "event text NO, id text NO, seq bigint NO, outcome text NO, score double precision YES, rules json NO, "
    "receipt text NO, document json NO, paid timestamp with time zone YES, all_of_it json YES, amount text YES",
    "mariadb": "event varchar(100) NO, id varchar(600) NO, seq bigint(20) NO, outcome varchar(600) NO, "
    "score double YES, rules longtext NO, receipt longtext NO, document longtext NO, paid datetime(3) YES, "
    "all_of_it longtext YES, amount longtext YES",
    "sqlite": "event TEXT NO, id TEXT NO, seq INTEGER NO, outcome TEXT NO, score REAL YES, rules TEXT NO, "
    "receipt TEXT NO, document TEXT NO, paid TEXT YES, all_of_it TEXT YES, amount TEXT YES",
}


@pytest.fixture
def table() -> str:
    return f"decisions_{uuid.uuid4().hex[:12]}"


@pytest.fixture(params=["postgres", "mariadb"])
def address(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param).address)


def connected(address: str) -> Any:
    parts = urlsplit(address)
    if parts.scheme == "sqlite":
        return sqlite3.connect(parts.path[1:])
    if parts.scheme == "postgresql":
        import psycopg

        return psycopg.connect(address, autocommit=True)
    import pymysql

    login = {"user": parts.username, "password": parts.password or "", "database": parts.path[1:]}
    return pymysql.connect(host=parts.hostname, port=parts.port, autocommit=True, **login)


def run(address: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements by hand; gives the rows of the last one."""
    with closing(connected(address)) as connection:
        cursor = connection.cursor()
        for sql in statements:
            cursor.execute(sql)
        return list(cursor.fetchall()) if cursor.description else []


def through(wire: Wire, address: str, table: str) -> SqlSink:
    parts = urlsplit(address)
    netloc = f"{parts.username}:{parts.password}@127.0.0.1:{wire.own_port}"
    return SqlSink("s", {"url": parts._replace(netloc=netloc).geturl(), "table": table})


@pytest.mark.parametrize("kind", SHAPES)
def test_a_new_table_has_the_columns_and_the_key_that_it_always_had(kind, request, tmp_path, table):
    address = f"sqlite:///{tmp_path}/d.db" if kind == "sqlite" else request.getfixturevalue(kind).address
    with closing(SqlSink("s", {"url": address, "table": table, "columns": CHOSEN})) as sink:
        sink.send([])

    if kind == "sqlite":
        found = run(address, f"PRAGMA table_info({table})")
        shape = [f"{name} {type_} {'NO' if is_there else 'YES'}" for _, name, type_, is_there, _, _ in found]
        keys = [name for _, name, _, _, _, at in sorted(found, key=lambda column: column[5]) if at]
    else:
        type_ = "data_type" if kind == "postgres" else "column_type"
        columns = "information_schema.columns"
        sql = f"SELECT column_name, {type_}, is_nullable FROM {columns} WHERE table_name = '{table}'"
        shape = [" ".join(item) for item in run(address, f"{sql} ORDER BY ordinal_position")]
        sql = f"SELECT column_name FROM information_schema.key_column_usage WHERE table_name = '{table}'"
        keys = [name for (name,) in run(address, f"{sql} ORDER BY ordinal_position")]
    assert ", ".join(shape) == SHAPES[kind]
    assert keys == ["event", "id"]


def test_the_column_of_rules_has_no_experiment(tmp_path):
    reasons = [
        {"code": "large", "kind": "rule", "text": "", "effect": "review"},
        {"code": "trial", "kind": "rule", "text": "", "effect": "experiment"},
    ]
    document = {"receipt": "sha256:", "score": None, "reasons": reasons, "rules": ["large", "trial"]}
    address = f"sqlite:///{tmp_path}/d.db"
    with closing(SqlSink("s", {"url": address, "table": "decisions"})) as sink:
        sink.send([Outgoing(1, 0, "decision", "payment", "p-1", "review", msgspec.json.encode(document))])

    assert run(address, "SELECT rules FROM decisions") == [('["large"]',)]


def test_texts_of_mariadb_are_compared_byte_by_byte(mariadb, table):
    with closing(SqlSink("s", {"url": mariadb.address, "table": table})) as sink:
        assert sink.send([row(1, "a"), row(2, "A"), row(3, "a "), row(4, "á")]) == []

    assert run(mariadb.address, f"SELECT count(*) FROM {table}") == [(4,)]
    assert set(
        run(
            mariadb.address,
            "SELECT collation_name, engine FROM information_schema.columns JOIN information_schema.tables "
            f"USING (table_schema, table_name) WHERE table_name = '{table}' AND column_name IN ('event', 'receipt')",
        )
    ) == {("utf8mb4_nopad_bin", "InnoDB")}


def test_a_table_that_lacks_a_column_is_named_and_rows_wait(address, table):
    with closing(SqlSink("s", {"url": address, "table": table})) as sink:
        sink.send([])
    words = r"^the table decisions_\w+ has no column more: add it"
    sink = SqlSink("s", {"url": address, "table": table, "columns": {"more": "fields"}})
    with closing(sink), pytest.raises(UsageError, match=words):
        sink.prepare(None)
    with closing(sink), pytest.raises(UsageError, match=words) as raised:
        sink.send([row(1)])

    assert "sha256" not in str(raised.value)


BY_HAND = (
    "CREATE TABLE {} (event varchar(20), id varchar(40), seq bigint, outcome varchar(20), score double precision, "
    "rules text, receipt varchar(99), document text, {})"
)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("PRIMARY KEY (id)", r"no unique key of event, id, .* ADD UNIQUE \(event, id\);"),
        ("PRIMARY KEY (id), UNIQUE (event, id)", r"unique key PRIMARY \(id\) .* DROP PRIMARY KEY;"),
        ("UNIQUE (event, id), UNIQUE r (receipt(20))", r"unique key r \(receipt\(20\)\) .* DROP INDEX `r`;"),
        ("UNIQUE (event, id(5))", "no unique key of event, id"),
    ],
)
def test_a_table_of_mariadb_whose_keys_let_rows_overwrite_each_other_is_refused(mariadb, table, key, words):
    run(mariadb.address, BY_HAND.format(table, key))
    with closing(SqlSink("s", {"url": mariadb.address, "table": table})) as sink:
        with pytest.raises(UsageError, match=words):
            sink.prepare(None)
        with pytest.raises(UsageError, match=words):
            sink.send([row(1)])


def test_a_table_without_the_key_of_its_rows_is_refused_and_one_with_more_keys_is_not(postgres, table):
    run(postgres.address, BY_HAND.format(table, "PRIMARY KEY (seq)"))
    with closing(SqlSink("s", {"url": postgres.address, "table": table})) as sink:
        with pytest.raises(UsageError, match="no unique key of event, id"):
            sink.send([row(1)])
        run(postgres.address, f"ALTER TABLE {table} ADD UNIQUE (event, id)")
        assert sink.send([row(1)]) == []


@pytest.mark.parametrize("cause", ["a collation that takes two ids for one", "a unique key made after the start"])
def test_a_row_never_overwrites_that_of_another_event(mariadb, table, cause):
    by_hand = BY_HAND.format(table, "PRIMARY KEY (event, id)")
    run(mariadb.address, f"{by_hand} DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_general_ci")
    with closing(SqlSink("s", {"url": mariadb.address, "table": table})) as sink:
        assert sink.send([row(1, "a")]) == []
        if cause == "a unique key made after the start":
            run(mariadb.address, f"ALTER TABLE {table} ADD UNIQUE (outcome)")
        refused = sink.send([row(2, "A"), row(1, "a")])

    assert [(undelivered.row.id, "row of another event" in undelivered.reason) for undelivered in refused] == [
        ("A", True)
    ]
    assert run(mariadb.address, f"SELECT id, seq FROM {table}") == [("a", 1)]


def test_times_are_utc_whatever_the_time_zone_of_the_server(address, table, monkeypatch):
    whole, is_mariadb = address, address.startswith("mariadb")
    if is_mariadb:
        elsewhere = partial(pymysql.connect, init_command="SET time_zone = '+05:00'")
        monkeypatch.setattr(mariadb_connection.pymysql, "connect", elsewhere)
    else:
        who = table.replace("decisions", "elsewhere")
        run(address, f"CREATE ROLE {who} LOGIN SUPERUSER PASSWORD 'p'", f"ALTER ROLE {who} SET TimeZone = '-05:00'")
        parts = urlsplit(address)
        whole = parts._replace(netloc=f"{who}:p@{parts.hostname}:{parts.port}").geturl()
    run(address, BY_HAND.format(table, "paid TIMESTAMP NULL, PRIMARY KEY (event, id)"))
    try:
        with closing(SqlSink("s", {"url": whole, "table": table, "columns": {"paid": "event_time"}})) as sink:
            sent = replace(row(1), time_ms=1_772_366_400_000)
            assert sink.send([sent]) == []
    finally:
        if not is_mariadb:
            run(address, f"DROP ROLE {who}")

    monkeypatch.undo()
    utc = "SET time_zone = '+00:00'" if is_mariadb else "SET TimeZone = 'UTC'"
    assert run(address, utc, f"SELECT paid FROM {table}") == [(datetime.fromisoformat("2026-03-01 12:00"),)]


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["while SQLAlchemy asks what the server is", "while rows are written"])
def test_a_server_that_takes_everything_and_says_nothing_is_given_up(address, table, moment, monkeypatch, caplog):
    monkeypatch.setattr(deadline, "ANSWER_S", 1.0)
    monkeypatch.setattr(mariadb_connection, "ANSWER_S", 1.0)
    parts = urlsplit(address)
    with Wire("127.0.0.1", parts.port, how="mute") as wire, closing(through(wire, address, table)) as sink:
        if moment == "while rows are written":
            settled(lambda: sink.send([row(1)]), AwayError)
            wire.cut_at = b"late-4"
        else:
            wire.cut_at = b"ersion()" if parts.scheme == "postgresql" else b"VERSION()"
        while not wire.cuts:  # a busy machine may be given up before it comes to that
            began_s = time.monotonic()
            with pytest.raises(AwayError) as raised:
                sink.send([row(4, "late-4")])

        assert wire.cuts == 1
        assert time.monotonic() - began_s < PATIENCE_S
        assert str(parts.password) not in str(raised.value)
        wire.cut_at = b""
        assert settled(lambda: sink.send([row(4, "late-4"), row(4, "late-4")]), AwayError) == []
    assert run(address, f"SELECT id FROM {table} WHERE id LIKE 'late%'") == [("late-4",)]
    assert not caplog.records


@pytest.mark.parametrize("how", ["before", "behind"])
def test_a_connection_that_breaks_in_a_write_is_told_and_made_anew(address, table, how, caplog):
    port = urlsplit(address).port
    with Wire("127.0.0.1", port, how=how) as wire, closing(through(wire, address, table)) as sink:
        assert sink.send([row(1)]) == []
        wire.cut_at = b"late-4"
        with pytest.raises(AwayError):
            sink.send([row(4, "late-4")])
        wire.cut_at = b""

        assert sink.send([row(1), row(4, "late-4")]) == []
    assert run(address, f"SELECT count(*) FROM {table}") == [(2,)]
    assert not caplog.records


def test_a_file_that_another_program_holds_is_told_by_its_name(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("shroff.adapters.databases.sql_database._BUSY_S", 0.05)
    path = tmp_path / "d.db"
    with closing(SqlSink("s", {"url": f"sqlite:///{path}", "table": "d"})) as sink:
        sink.send([row(1)])
        with closing(sqlite3.connect(path)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(AwayError, match=rf"^{path}: database is locked$"):
                sink.send([row(2)])
        second = replace(row(2), outcome="approve")

        assert sink.send([row(2), second]) == []
    assert run(f"sqlite:///{path}", "SELECT seq, outcome FROM d") == [(1, "review"), (2, "approve")]


def test_a_table_and_a_column_may_have_a_word_of_sql_as_their_name(tmp_path: Path):
    address = f"sqlite:///{tmp_path}/d.db"
    with closing(SqlSink("s", {"url": address, "table": "order", "columns": {"group": "fields.amount"}})) as sink:
        assert sink.send([row(1)]) == []

    assert run(address, 'SELECT seq, "group" FROM "order"') == [(1, "12.00")]


def test_rows_of_mariadb_leave_in_statements_of_many(mariadb, table):
    from pymysql.cursors import RE_INSERT_VALUES
    from sqlalchemy.dialects import mysql

    with closing(SqlSink("s", {"url": mariadb.address, "table": table})) as sink:
        statement = str(sink._replacing.compile(dialect=mysql.dialect(paramstyle="format")))

        assert RE_INSERT_VALUES.match(statement), "else PyMySQL sends a statement for each row"


def test_who_may_only_write_into_the_table_needs_no_right_to_make_one(postgres, table):
    with closing(SqlSink("s", {"url": postgres.address, "table": table})) as sink:
        sink.send([row(1)])
    parts, who = urlsplit(postgres.address), table.replace("decisions", "writer")
    narrow = parts._replace(netloc=f"{who}:narrow@{parts.hostname}:{parts.port}").geturl()
    may = f"GRANT SELECT, INSERT, UPDATE ON {table} TO {who}"
    run(postgres.address, f"CREATE ROLE {who} LOGIN PASSWORD 'narrow'", may)
    try:
        with closing(SqlSink("s", {"url": narrow, "table": table})) as sink:
            assert sink.send([row(1), row(2)]) == []
        sink = SqlSink("s", {"url": narrow, "table": f"{table}_2"})
        with closing(sink), pytest.raises(UsageError, match=r"cannot use the table .* permission denied") as raised:
            sink.send([row(1)])
    finally:
        run(postgres.address, f"REVOKE ALL ON {table} FROM {who}", f"DROP ROLE {who}")

    assert "narrow" not in str(raised.value)
    assert run(postgres.address, f"SELECT count(*) FROM {table}") == [(2,)]
