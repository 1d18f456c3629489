"""Real files through the whole program, beside plain SQL that knows nothing of it.

The engines share a parser and key dictionaries; DuckDB shares nothing with them.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.features.computed import ENGINES
from shroff.services import project as app
from tests.support.effort import PROFILE

PAYSIM_ROWS = 19_999
HANDBOOK_FILE = "handbook_tx_2018-04-01_2018-06-30.parquet"
HANDBOOK_ROWS = 872_795
PAYSIM_TIMES = """
    CREATE TABLE payments AS
    SELECT row_number() OVER () AS seq, *, step * 3600000 AS t, round(amount * 100)::BIGINT AS cents
    FROM read_csv('{file}', header = true, all_varchar = false)
"""
HANDBOOK = {
    "shroff.yaml": "shroff: 1\nname: handbook\nmoney: EUR\n",
    "events.yaml": """
payment:
  id: payment_id
  time: paid_at
  decide: true
  fields: { payment_id: text, paid_at: time, customer: text, terminal: text, amount: money }
  from:
    parquet:
      payment_id: row.TRANSACTION_ID
      paid_at: row.TX_DATETIME
      customer: row.CUSTOMER_ID
      terminal: row.TERMINAL_ID
      amount: row.TX_AMOUNT
entities:
  customer: { payment: customer }
  terminal: { payment: terminal }
""",
    "features.yaml": """
customer:
  payments_1d: count(payment) over 1d
  spent_7d: sum(payment.amount) over 7d including this
  mean_30d: mean(payment.amount) over 30d
  largest_7d: max(payment.amount) over 7d
terminal:
  payments_1h: count(payment) over 1h
  smallest_7d: min(payment.amount) over 7d
  customers_1d: distinct(payment.customer) over 1d
  mean_7d: mean(payment.amount) over 7d including this
""",
    "rules/large.yaml": "- { id: large, on: payment, by: customer, when: this.amount > 220, effect: decline }\n",
}


@pytest.fixture
def paysim(tmp_path: Path) -> app.Project:
    shutil.copytree(TEMPLATE_FOLDER / "paysim", tmp_path / "paysim")
    return app.open(tmp_path / "paysim")


@pytest.fixture
def handbook(tmp_path: Path) -> app.Project:
    for name, text in HANDBOOK.items():
        (tmp_path / "handbook" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "handbook" / name).write_text(text, encoding="utf-8")
    return app.open(tmp_path / "handbook")


@pytest.mark.long
@pytest.mark.slow
def test_paysim_goes_in_whole_once_and_verifies(paysim: app.Project, data: Path) -> None:
    file = data / "paysim_first19998.csv"
    first = paysim.ingest([file], as_type="payment", labels=file)
    second = app.open(paysim.context.paths.folder).ingest([file], as_type="payment", labels=file)
    found = {engine: paysim.verify([engine], sample=PAYSIM_ROWS) for engine in ENGINES}

    assert (first.events.read, first.events.appended, first.decisions) == (PAYSIM_ROWS,) * 3
    assert (first.labels.appended, first.events.quarantined) == (PAYSIM_ROWS, 0)
    assert (second.events.appended, second.events.duplicates, second.labels.duplicates) == (0, PAYSIM_ROWS, PAYSIM_ROWS)
    assert {(item.events, item.mismatches) for item in found.values()} == {(PAYSIM_ROWS, 0)}


@pytest.mark.long
@pytest.mark.slow
def test_all_card_payments_verify(handbook: app.Project, data: Path) -> None:
    """By the definition only where SHROFF_TEST_PROFILE is `thorough`: it takes some minutes."""
    handbook.ingest([data / HANDBOOK_FILE], as_type="payment")
    engines = ENGINES if PROFILE == "thorough" else ENGINES[:2]
    found = {engine: handbook.verify([engine], sample=HANDBOOK_ROWS) for engine in engines}

    assert {(item.events, item.mismatches) for item in found.values()} == {(HANDBOOK_ROWS, 0)}


@pytest.mark.long
@pytest.mark.slow
def test_rules_on_paysim_hit_what_sql_finds(paysim: app.Project, data: Path) -> None:
    file = data / "paysim_first19998.csv"
    paysim.ingest([file], as_type="payment")
    with paysim.log.reading() as log:
        documents = [msgspec.json.decode(row.document) for rows in log.decisions.after() for row in rows]
    hits = {
        rule: sum(rule in document["rules"] for document in documents) for rule in ("large_transfer", "account_emptied")
    }
    counted = duckdb.sql(f"""
        SELECT count(*) FILTER (type = 'TRANSFER' AND amount > 200000),
               count(*) FILTER (type IN ('TRANSFER', 'CASH_OUT') AND oldbalanceOrg > 0 AND amount = oldbalanceOrg)
        FROM read_csv('{file}')
    """).fetchall()[0]

    assert (hits["large_transfer"], hits["account_emptied"]) == counted
    assert counted == (1361, 77)


@pytest.mark.long
@pytest.mark.slow
def test_windows_on_paysim_are_what_sql_finds(paysim: app.Project, data: Path, tmp_path: Path) -> None:
    file = data / "paysim_first19998.csv"
    paysim.tables.write_features("payment", [file], tmp_path / "features.parquet")
    ours = pq.read_table(tmp_path / "features.parquet")
    duckdb.sql("DROP TABLE IF EXISTS payments")
    duckdb.sql(PAYSIM_TIMES.format(file=file))
    theirs = _sql(
        """
        SELECT count(*) FILTER (x.t > e.t - 86400000), coalesce(sum(x.cents) FILTER (x.t > e.t - 86400000), 0),
               count(DISTINCT x.nameOrig) FILTER (x.t > e.t - 86400000),
               sum(x.cents) FILTER (x.seq < e.seq)::DOUBLE
                 / nullif(100 * count(*) FILTER (x.seq < e.seq), 0)::DOUBLE,
               max(x.cents) FILTER (x.seq < e.seq)
        FROM payments e JOIN payments x
          ON x.nameDest = e.nameDest AND x.seq <= e.seq AND x.t <= e.t AND x.t > e.t - 604800000
        GROUP BY e.seq ORDER BY e.seq
        """
    )

    names = ("payments_24h", "received_24h", "payers_24h", "mean_7d", "largest_7d")
    assert _rows(ours, [f"payee.{name}" for name in names]) == theirs


@pytest.mark.long
@pytest.mark.slow
def test_windows_on_card_payments_are_what_sql_finds(handbook: app.Project, data: Path, tmp_path: Path) -> None:
    table = pq.read_table(data / HANDBOOK_FILE).slice(0, 20_000)
    pq.write_table(table, tmp_path / "first.parquet")
    report = handbook.ingest([tmp_path / "first.parquet"], as_type="payment")
    handbook.tables.write_features("payment", [], tmp_path / "features.parquet")
    verified = [handbook.verify([engine], sample=20_000) for engine in ENGINES]
    ours = pq.read_table(tmp_path / "features.parquet")
    duckdb.sql("DROP TABLE IF EXISTS payments")
    duckdb.sql(f"""
        CREATE TABLE payments AS SELECT row_number() OVER () AS seq, CUSTOMER_ID AS c, TERMINAL_ID AS m,
               epoch_ms(TX_DATETIME) AS t, round(TX_AMOUNT * 100)::BIGINT AS cents
        FROM read_parquet('{tmp_path / "first.parquet"}')
    """)
    customers = _sql(
        """
        SELECT count(*) FILTER (x.seq < e.seq AND x.t > e.t - 86400000),
               sum(x.cents) FILTER (x.t > e.t - 604800000),
               sum(x.cents) FILTER (x.seq < e.seq)::DOUBLE
                 / nullif(100 * count(*) FILTER (x.seq < e.seq), 0)::DOUBLE,
               max(x.cents) FILTER (x.seq < e.seq AND x.t > e.t - 604800000)
        FROM payments e JOIN payments x ON x.c = e.c AND x.seq <= e.seq AND x.t <= e.t AND x.t > e.t - 2592000000
        GROUP BY e.seq ORDER BY e.seq
        """
    )
    terminals = _sql(
        """
        SELECT count(*) FILTER (x.seq < e.seq AND x.t > e.t - 3600000), min(x.cents) FILTER (x.seq < e.seq),
               count(DISTINCT x.c) FILTER (x.seq < e.seq AND x.t > e.t - 86400000),
               sum(x.cents)::DOUBLE / (100 * count(*))::DOUBLE
        FROM payments e JOIN payments x ON x.m = e.m AND x.seq <= e.seq AND x.t <= e.t AND x.t > e.t - 604800000
        GROUP BY e.seq ORDER BY e.seq
        """
    )

    assert report.events.appended == report.decisions == 20_000
    assert {(item.events, item.mismatches) for item in verified} == {(20_000, 0)}
    customer_names = [f"customer.{name}" for name in ("payments_1d", "spent_7d", "mean_30d", "largest_7d")]
    terminal_names = [f"terminal.{name}" for name in ("payments_1h", "smallest_7d", "customers_1d", "mean_7d")]
    assert _rows(ours, customer_names) == customers
    assert _rows(ours, terminal_names) == terminals


def _sql(query: str) -> list[tuple[Any, ...]]:
    """Rows of a query. Its means are one division of the same two floats as ours, so equal to the bit."""
    return [_row(row) for row in duckdb.sql(query).fetchall()]


def _rows(table: pa.Table, names: Sequence[str]) -> list[tuple[Any, ...]]:
    columns = []
    for name in names:
        values = table.column(name).to_pylist()
        is_money = pa.types.is_decimal(table.schema.field(name).type)
        columns.append([int(value.scaleb(2)) if is_money and value is not None else value for value in values])
    return [_row(row) for row in zip(*columns, strict=True)]


def _row(row: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(value if isinstance(value, float) else None if value is None else int(value) for value in row)
