"""The marts of examples/paysim-marts over generated payments: seconds and memory. Aim: 6.4 million in 60 s and 4 GiB.

    python -m bench.marts [--rows 6400000] [--memory 3GB]

A lake is written as `shroff lake write` would, by DuckDB alone: what is measured is the build.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import duckdb

from bench.machine import describe, write_result
from shroff import config
from shroff.lake.rows import empty_tables
from shroff.runtime.process_wide import threads
from shroff.services import project as app
from shroff_plugins.analytics.closed_duckdb import QueryLimits, literal
from shroff_plugins.analytics.marts.build import BuiltMarts, MartFiles, Origin, build
from shroff_plugins.analytics.marts.models import load_models
from shroff_plugins.analytics.marts.views import ViewFiles

EXAMPLE = Path(__file__).parents[1] / "examples" / "paysim-marts"
# PaySim's columns of made-up payments: every payer once, payees again and again, a fraud in 800, each of them all that
# the payer has.
GENERATED = """
    SELECT 1 + i * 743 // {rows} AS step,
        ['PAYMENT', 'CASH_OUT', 'CASH_IN', 'TRANSFER', 'DEBIT'][(1 + hash(i) % 5)::INTEGER] AS type,
        (hash(i + 7) % 50000000 / 100)::DECIMAL(18, 2) AS amount, concat('C', i) AS nameOrig,
        CASE WHEN hash(i + 3) % 800 = 0 THEN amount ELSE (hash(i + 1) % 90000000 / 100)::DECIMAL(18, 2) END
            oldbalanceOrg, greatest(oldbalanceOrg - amount, 0)::DECIMAL(18, 2) AS newbalanceOrig,
        concat(if(type = 'PAYMENT', 'M', 'C'), 1000000000 + hash(i + 2) % ({rows} // 2 + 1)) AS nameDest,
        (hash(i + 4) % 90000000 / 100)::DECIMAL(18, 2) AS oldbalanceDest,
        (oldbalanceDest + amount)::DECIMAL(18, 2) AS newbalanceDest, (hash(i + 3) % 800 = 0)::INTEGER AS isFraud
    FROM range({rows}) AS t(i)"""
PAYMENTS = """
    SELECT number AS seq, concat('paysim.csv:', number) AS id, time, false AS decided,
        concat('{{"amount":"', amount, '","payee":"', nameDest, '","payer":"', nameOrig, '"}}') AS body,
        id AS payment_id, time AS paid_at, step::BIGINT AS step, type AS type_, amount::DECIMAL(38, 2) AS amount,
        nameOrig AS payer, oldbalanceOrg::DECIMAL(38, 2) AS payer_balance_before,
        newbalanceOrig::DECIMAL(38, 2) AS payer_balance_after, nameDest AS payee,
        oldbalanceDest::DECIMAL(38, 2) AS payee_balance_before, newbalanceDest::DECIMAL(38, 2) AS payee_balance_after
    FROM source WHERE day = {day}"""
LABELS = """
    SELECT {rows} + number AS seq, concat('l-', number) AS id, time, 'label' AS type,
        concat('payment/paysim.csv:', number) AS event, if(isFraud = 1, 'fraud', 'genuine') AS verdict,
        'import' AS source, NULL::VARCHAR AS reason, NULL::VARCHAR AS amount, '{{}}' AS body
    FROM source WHERE day = {day}"""


def write_lake(folder: Path, rows: int, csv: Path | None = None) -> ViewFiles:
    """Files as a lake of the example has them, a day each: of generated payments, or of a file of PaySim's."""
    query = f"SELECT * FROM read_csv({literal(str(csv))}, all_varchar = true)" if csv else GENERATED.format(rows=rows)
    # In order of time, as `ingest --order time` brings it; of equal times as in the file.
    source = f"""CREATE TABLE source AS
        SELECT * REPLACE (step::INTEGER AS step, amount::DECIMAL(18, 2) AS amount, isFraud::DOUBLE::INTEGER AS isFraud),
            row_number() OVER () AS number, TIMESTAMPTZ '2025-01-01 00:00:00+00' + to_hours(step::INTEGER) AS time,
            step::INTEGER // 24 AS day
        FROM ({query})"""
    paths: dict[str, Path] = {}
    with duckdb.connect(str(folder / "source.duckdb"), config={"memory_limit": "3GB"}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(source)
        for day, date in connection.execute("SELECT DISTINCT day, time::DATE FROM source ORDER BY day").fetchall():
            for kind, select in (("events/type=payment", PAYMENTS), ("labels", LABELS)):
                name = f"{kind}/date={date}/0.parquet"
                paths[name] = folder / name
                paths[name].parent.mkdir(parents=True, exist_ok=True)
                text = select.format(day=day, rows=rows)
                connection.execute(f"COPY ({text}) TO {literal(str(paths[name]))} (FORMAT parquet, COMPRESSION zstd)")
    (folder / "source.duckdb").unlink()
    return ViewFiles(paths, empty_tables(app.open_exactly(EXAMPLE).definitions))


def build_example(lake: ViewFiles, folder: Path, memory: str) -> BuiltMarts:
    """The marts of the example, in a folder."""
    models = load_models(config.read_sql(EXAMPLE, "marts"), lake.views)
    (folder / "work" / "spill").mkdir(parents=True)
    return build(models, Origin(lake, {"0": 1}, 0), MartFiles(folder), QueryLimits(memory, threads()))


def main() -> int:
    parser = argparse.ArgumentParser(description="The marts of PaySim over generated payments.")
    parser.add_argument("--rows", type=int, default=6_400_000)
    parser.add_argument("--memory", default="3GB")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="shroff-marts-") as named:
        folder = Path(named)
        lake = write_lake(folder, asked.rows)
        began, used = time.perf_counter(), time.process_time()
        built = build_example(lake, folder / "marts", asked.memory)
        seconds, used = time.perf_counter() - began, time.process_time() - used
        mib = MartFiles(folder / "marts").current.stat().st_size / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    tests, failed = sum(mart.tests for mart in built.marts), sum(len(mart.failures) for mart in built.marts)
    lines = [
        "# SQL marts",
        "",
        f"{describe()}, DuckDB {duckdb.__version__}. All models of examples/paysim-marts with their tests over",
        f"{asked.rows:,} generated payments, as many labels, memory {asked.memory}. Aim: 60 s, 4 GiB.",
        "",
        "| models | tests | failed | seconds | processor seconds | peak | file |",
        "|---|---|---|---|---|---|---|",
        f"| {len(built.marts)} | {tests} | {failed} | {seconds:.0f} | {used:.0f} | {peak:.1f} GiB | {mib:.0f} MiB |",
    ]
    write_result("marts", "\n".join(lines) + "\n")
    print("\n".join(lines[4:]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
