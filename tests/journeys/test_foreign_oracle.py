"""Features of real files beside SQL written by hand, which shares nothing with the engines but the file.

Of each file up to 10,000 events, in the order of the file: where that is not the order of
time, most of them are late.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shroff.log.columns.tables import Way
from shroff.services import project as app

pytestmark = [pytest.mark.slow, pytest.mark.long]

ROWS = 10_000
ROWS_NAIVE = 600  # the definition looks at every earlier event of the key for each feature
WINDOWS_MS = {"5h": 5 * 3_600_000, "9d": 9 * 86_400_000}
SHROFF = "shroff: 1\nname: oracle\nmoney: EUR\nlateness: 400d\n"
EVENTS = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, amount: money, other: text?, a: text, b: text }
  from:
    csv:
      id: join(row.file, ':', row.number)MAPPING
    parquet:
      id: row.TRANSACTION_IDMAPPING
entities:
  a: { payment: a }
  b: { payment: b }
  pair: { payment: [a, b] }
"""
KEYS = {"a": "x.a = e.a", "b": "x.b = e.b", "pair": "x.a = e.a AND x.b = e.b"}
FEATURES = {
    "count": "count(payment)",
    "sum": "sum(payment.amount)",
    "min": "min(payment.amount)",
    "max": "max(payment.amount)",
    "distinct": "distinct(payment.other)",
    "mean": "mean(payment.amount)",
}
# The mean is one division of the same two floats as ours, so it is equal to the bit.
SQL = """
    SELECT count(x.seq), coalesce(sum(x.cents), 0), min(x.cents), max(x.cents), count(DISTINCT x.other),
           sum(x.cents)::DOUBLE / nullif(100 * count(x.seq), 0)::DOUBLE
    FROM events e LEFT JOIN events x ON {same_key} AND x.seq < e.seq AND x.t <= e.t AND x.t > e.t - {window_ms}
    GROUP BY e.seq ORDER BY e.seq
"""


@dataclass(frozen=True)
class RealFile:
    """How a project maps a file to the fields of a payment, and how SQL reads the same from it."""

    name: str
    mapping: str
    sql: str
    encoding: str = "utf-8"


PAYSIM = (
    """
      at: time('2026-01-01T00:00:00Z') + integer(row.step) * 1h
      amount: row.amount
      other: row.nameOrig
      a: row.nameDest
      b: row.type""",
    """
    SELECT row_number() OVER () AS seq, step::BIGINT * 3600000 AS t, round(amount * 100)::BIGINT AS cents,
           nameOrig AS other, nameDest AS a, type AS b
    FROM read_csv('{file}')""",
)
CARDS = (
    """
      at: time(row.Date, '%d-%b-%y') + integer(row.Time) * 1h
      amount: replace(row.Amount, '£', '')
      other: row['Shipping Address']
      a: row['Merchant Group']
      b: replace(row.Bank, 'Barlcays', 'Barclays')""",
    """
    SELECT row_number() OVER () AS seq, epoch_ms(strptime("Date", '%d-%b-%y')) + "Time" * 3600000 AS t,
           100 * replace("Amount", '£', '')::BIGINT AS cents, "Shipping Address" AS other, "Merchant Group" AS a,
           CASE "Bank" WHEN 'Barlcays' THEN 'Barclays' ELSE "Bank" END AS b
    FROM read_csv('{file}', encoding = '{encoding}') WHERE "Amount" IS NOT NULL""",
)
FILES = [
    RealFile("paysim_first19998.csv", *PAYSIM),
    RealFile("paysim_sample_51392.csv", *PAYSIM),
    RealFile("creditcarddata_extract_50.csv", *CARDS),
    RealFile("creditcarddata_atm_usa_2429.csv", *CARDS, encoding="latin-1"),
    RealFile(
        "handbook_tx_2018-04-01_2018-06-30.parquet",
        """
      at: row.TX_DATETIME
      amount: row.TX_AMOUNT
      other: text(row.TX_FRAUD)
      a: row.CUSTOMER_ID
      b: row.TERMINAL_ID""",
        """
    SELECT row_number() OVER () AS seq, epoch_ms(TX_DATETIME) AS t, round(TX_AMOUNT * 100)::BIGINT AS cents,
           TX_FRAUD AS other, CUSTOMER_ID AS a, TERMINAL_ID AS b
    FROM read_parquet('{file}')""",
    ),
    RealFile(
        "ulb_creditcard_sample_1722.csv",
        """
      at: time('2013-09-01T00:00:00Z') + integer(part(row.Time, '.', 1)) * 1s
      amount: row.Amount
      other: part(row.V2, '.', 1)
      a: part(row.V1, '.', 1)
      b: row.Class""",
        """
    SELECT row_number() OVER () AS seq, "Time"::DOUBLE::BIGINT * 1000 AS t,
           round("Amount"::DOUBLE * 100)::BIGINT AS cents,
           split_part("V2", '.', 1) AS other, split_part("V1", '.', 1) AS a, "Class" AS b
    FROM read_csv('{file}', all_varchar = true)""",
    ),
]


@pytest.mark.parametrize("real", FILES, ids=lambda real: real.name)
def test_features_of_real_files_are_what_sql_finds(real: RealFile, data: Path, tmp_path: Path) -> None:
    for engines, rows in ((("online", "batch"), ROWS), (("naive",), ROWS_NAIVE)):
        folder = tmp_path / str(rows)
        folder.mkdir()
        file = beginning_of(data / real.name, rows, folder)
        theirs = by_sql(real, file)
        project = project_of(real, folder)
        report = project.ingest([file], as_type="payment")

        assert report.events.appended == len(theirs)
        for engine in engines:
            project.tables.write_features("payment", [], folder / f"{engine}.parquet", Way(engine))
            ours = rows_of(pq.read_table(folder / f"{engine}.parquet"))
            assert ours == theirs, next(pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1])


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("x.t > e.t", "x.t >= e.t"), ("x.t <= e.t", "x.t < e.t"), ("x.seq < e.seq", "x.seq <= e.seq")],
    ids=["left end", "right end", "event itself"],
)
def test_real_files_have_the_edges_that_a_window_gets_wrong(right: str, wrong: str, data: Path) -> None:
    real = FILES[3]
    altered = SQL.replace(right, wrong)

    assert by_sql(real, data / real.name, altered) != by_sql(real, data / real.name)


def beginning_of(path: Path, rows: int, folder: Path) -> Path:
    """A file of the same name with the first rows, byte by byte those of the file."""
    target = folder / path.name
    if path.suffix == ".parquet":
        pq.write_table(pq.read_table(path).slice(0, rows), target)
    else:
        target.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[: rows + 1]))
    return target


def project_of(real: RealFile, folder: Path) -> app.Project:
    features = [
        f"{entity}:\n"
        + "".join(
            f"  {name}_{window}: {text} over {window}\n" for window in WINDOWS_MS for name, text in FEATURES.items()
        )
        for entity in KEYS
    ]
    texts = {
        "shroff.yaml": SHROFF,
        "events.yaml": EVENTS.replace("MAPPING", real.mapping),
        "features.yaml": "".join(features),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return app.open(folder)


def by_sql(real: RealFile, file: Path, sql: str = SQL) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE events AS {real.sql.format(file=file, encoding=real.encoding)}")
        parts = [
            connection.execute(sql.format(same_key=same_key, window_ms=window_ms)).fetchall()
            for same_key in KEYS.values()
            for window_ms in WINDOWS_MS.values()
        ]
    return [tuple(value for part in row for value in part) for row in zip(*parts, strict=True)]


def rows_of(table: pa.Table) -> list[tuple[Any, ...]]:
    columns = []
    for name in (f"{entity}.{name}_{window}" for entity in KEYS for window in WINDOWS_MS for name in FEATURES):
        values = table.column(name).to_pylist()
        is_money = pa.types.is_decimal(table.schema.field(name).type)
        columns.append([int(value.scaleb(2)) if is_money and value is not None else value for value in values])
    return list(zip(*columns, strict=True))
