"""A training set of three weeks of card payments with labels a week late, beside plain SQL that knows nothing of it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from shroff.language.values import DAY_MS, parse_time
from shroff.models.definitions import Split
from shroff.models.evaluation.windows import rows_of, windows_of
from shroff.models.sets import FRAUD
from shroff.runtime.values import replace
from shroff.services import project as app
from shroff.training.leak_test import leak_test
from shroff.training.sets.files import write_set
from shroff.training.sets.sources import log_source
from tests.journeys.test_real_data import HANDBOOK, HANDBOOK_FILE
from tests.support.written_sets import read_set

FEATURES = """
customer:
  payments_7d: count(payment) over 7d including this
terminal:
  payments_7d: count(payment) over 7d delayed 7d
  frauds_7d: count(label where label.verdict == 'fraud') over 7d
  risk_7d: terminal.frauds_7d / terminal.payments_7d else 0
"""
MODEL = """
payment:
  inputs: [payment.amount, customer.*, terminal.*]
  capacity: { by: customer, k: 100 }
"""
END_MS = parse_time("2018-04-22T00:00:00Z")
AS_OF_MS = parse_time("2018-04-21T12:00:00Z")
PAYMENTS = """
    CREATE OR REPLACE TABLE payments AS
    SELECT row_number() OVER () AS seq, CUSTOMER_ID AS c, TERMINAL_ID AS m, epoch_ms(TX_DATETIME) AS t, TX_FRAUD AS f,
           round(TX_AMOUNT * 100) / 100 AS amount
    FROM read_parquet('{file}')
"""
WEEK = 7 * DAY_MS


@pytest.mark.long
@pytest.mark.slow
def test_a_set_of_card_payments_is_what_sql_finds_and_has_no_leak(data: Path, tmp_path: Path) -> None:
    payments, labels = _files(data, tmp_path)
    for name, text in (HANDBOOK | {"features.yaml": FEATURES, "model.yaml": MODEL}).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    project = app.open(tmp_path)
    definitions = project.definitions
    project.ingest(payments, as_type="payment", labels=labels, decide=False)
    split = Split(5 * DAY_MS, WEEK, DAY_MS, 1)
    settings = replace(definitions.models["payment"], label_delay_ms=WEEK, split=split)
    with project.log.reading() as log:
        source = log_source(log, definitions, settings.event)
        manifest = write_set(tmp_path / "set", definitions, settings, source, AS_OF_MS)
        leak = leak_test(definitions, settings, source, AS_OF_MS)
    found = read_set(tmp_path / "set")
    duckdb.sql(PAYMENTS.format(file=payments))
    (counted,) = duckdb.sql(
        f"SELECT count(*), count(*) FILTER (f = 1 AND t + {WEEK} <= {AS_OF_MS}) FROM payments WHERE t <= {AS_OF_MS}"
    ).fetchall()
    theirs = duckdb.sql(f"""
        WITH mine AS (SELECT * FROM payments WHERE t <= {AS_OF_MS})
        SELECT e.seq, any_value(e.amount) AS amount,
               count(x.seq) FILTER (x.t > e.t - {2 * WEEK} AND x.t <= e.t - {WEEK}) AS paid,
               count(x.seq) FILTER (x.f = 1 AND x.t > e.t - {2 * WEEK} AND x.t <= e.t - {WEEK}) AS frauds
        FROM mine e LEFT JOIN mine x ON x.m = e.m AND x.seq < e.seq
        GROUP BY e.seq ORDER BY e.seq
    """).fetchnumpy()
    customers = duckdb.sql(f"""
        SELECT e.seq, count(*) AS paid FROM payments e
        JOIN payments x ON x.c = e.c AND x.seq <= e.seq AND x.t <= e.t AND x.t > e.t - {WEEK}
        WHERE e.t <= {AS_OF_MS} GROUP BY e.seq ORDER BY e.seq
    """).fetchnumpy()
    ours = {item.name: item.values for item in found.inputs}

    assert (manifest.rows, manifest.fraud) == counted
    assert counted[1] > 400
    assert np.array_equal(ours["payment.amount"], theirs["amount"])
    assert np.array_equal(ours["terminal.payments_7d"], theirs["paid"])
    assert np.array_equal(ours["terminal.frauds_7d"], theirs["frauds"])
    assert theirs["frauds"].sum() > 1_000
    assert np.array_equal(ours["customer.payments_7d"], customers["paid"])
    (fold,) = windows_of(split, WEEK, AS_OF_MS)
    rows = rows_of(found, fold, WEEK)
    inside = f"t >= {fold.train_start_ms} AND t < {fold.train_end_ms}"
    wanted = duckdb.sql(f"SELECT count(*), coalesce(sum(f), 0) FROM payments WHERE {inside}").fetchall()[0]

    assert (len(rows.train.rows), int(np.count_nonzero(rows.train.verdicts == FRAUD))) == wanted
    assert rows.train.immature == 0
    assert leak.passed


def _files(data: Path, folder: Path) -> tuple[Path, Path]:
    """The payments of three weeks, and their frauds as labels that were known a week later."""
    table = pq.read_table(data / HANDBOOK_FILE)
    table = table.filter(pc.less(table["TX_DATETIME"].cast("int64"), END_MS))
    pq.write_table(table, folder / "payments.parquet")
    frauds = table.filter(pc.equal(table["TX_FRAUD"], 1))
    known_at = pc.add(frauds["TX_DATETIME"].cast("int64"), WEEK).cast(pa.timestamp("ms", tz="UTC"))
    columns = {
        "event": frauds["TRANSACTION_ID"].cast("string"),
        "verdict": pa.array(["fraud"] * len(frauds)),
        "known_at": known_at,
    }
    pq.write_table(pa.table(columns), folder / "labels.parquet")
    return folder / "payments.parquet", folder / "labels.parquet"
