"""The training set of `bench.training_set` by Polars, a whole process: events and labels as Parquet in, Parquet out.

As `bench.peers.polars_features` computes windows, the best script found: integer keys, amounts as whole cents, sorted
once per entity, one `rolling` by group for each window with all five aggregates in it. Labels: those known at the
moment, the strongest source's latest for each event, joined by id. Events after the moment are left out first. What
trains is what happened in the training window and is as old as the label delay; the others have no label. It writes
with the codec that shroff writes with (snappy), and no statistics either.

Run: POLARS_MAX_THREADS=2 python -m bench.peers.polars_training_set EVENTS LABELS AS_OF_MS TRAIN_FROM_MS TRAIN_TO_MS \
LABEL_DELAY_MS OUT [ROUNDS]
With rounds it does so again and again in one process, and prints the seconds and processor seconds of each.
"""

from __future__ import annotations

import sys
from time import perf_counter, process_time

import polars as pl

LENGTHS = {"1h": "1h", "24h": "24h", "7d": "168h", "30d": "720h"}
SOURCES = ["chargeback", "analyst", "customer", "import"]


def of_entity(payments: pl.DataFrame, entity: str) -> pl.DataFrame:
    """Five aggregates over the windows of one entity, in the order of the file."""
    ordered = payments.select("row", entity, "paid_at", "cents").sort(entity, "paid_at")
    parts = [ordered.select("row")]
    cents = pl.col("cents")
    for window, period in LENGTHS.items():
        columns = {
            f"{entity}.payments_{window}": pl.len().cast(pl.Float64),
            f"{entity}.spent_{window}": cents.sum() / 100,
            f"{entity}.mean_{window}": cents.mean() / 100,
            f"{entity}.std_{window}": cents.std() / 100,
            f"{entity}.largest_{window}": cents.max() / 100,
        }
        rolled = ordered.rolling("paid_at", period=period, closed="none", group_by=entity).agg(
            [expression.alias(name) for name, expression in columns.items()]
        )
        parts.append(rolled.select(list(columns)))
    return pl.concat(parts, how="horizontal").sort("row").drop("row")


def main(events: str, labels: str, *given: str) -> None:
    *moments, out = given[:5]
    for _ in range(int(given[5]) if len(given) > 5 else 1):
        started = perf_counter(), process_time()
        write_set(events, labels, [int(moment) for moment in moments], out)
        print(perf_counter() - started[0], process_time() - started[1])


def at(moment_ms: int) -> pl.Expr:
    return pl.lit(moment_ms).cast(pl.Datetime("ms", "UTC"))


def write_set(events: str, labels: str, moments: list[int], out: str) -> None:
    """The set as of a moment, with what trains a model then."""
    as_of_ms, train_from_ms, train_to_ms, label_delay_ms = moments
    moment = at(as_of_ms)
    payments = pl.read_parquet(events).with_row_index("row", offset=1).filter(pl.col("paid_at") <= moment)
    payments = payments.with_columns((pl.col("amount") * 100).round().cast(pl.Int64).alias("cents"))
    known = (
        pl.read_parquet(labels)
        .filter(pl.col("known_at") <= moment)
        .with_columns(pl.col("source").replace_strict(SOURCES, range(len(SOURCES)), return_dtype=pl.Int8).alias("rank"))
        .sort(["rank", "known_at"], descending=[True, False], maintain_order=True)
        .unique("event", keep="last", maintain_order=True)
        .select(pl.col("event").alias("payment_id"), "verdict", "known_at")
    )
    when, is_old = pl.col("paid_at"), pl.col("paid_at") <= at(as_of_ms - label_delay_ms)
    is_clear = pl.col("verdict").is_null() | (pl.col("verdict") != "unclear")
    trains = (when >= at(train_from_ms)) & (when < at(train_to_ms)) & is_old & is_clear
    waits = (when >= at(train_to_ms)) & (when < moment)
    roles = [
        pl.when(trains).then(pl.lit("train")).when(waits).then(pl.lit("delay")).alias("role"),
        pl.when(trains).then((pl.col("verdict") == "fraud").fill_null(value=False).cast(pl.Int8)).alias("label"),
        pl.when(trains).then(pl.lit(1.0)).alias("weight"),
    ]
    rows = (
        payments.select(
            "payment_id", pl.col("row").cast(pl.Int64), "paid_at", pl.col("card").rank("dense").cast(pl.Int64), "cents"
        )
        .join(known, on="payment_id", how="left", maintain_order="left")
        .with_columns(roles)
    )
    for entity in ("card", "merchant"):
        rows = rows.hstack(of_entity(payments, entity).get_columns())
    rows.write_parquet(out, compression="snappy", statistics=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
