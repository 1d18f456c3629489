"""The features of `bench.features` by Polars, a whole process: one Parquet file in, another out.

The best script found: integer keys, only the columns that are needed, amounts as whole
cents, sorted once per entity, then one `rolling` by group for each window with both
aggregates in it; results put back into the order of the file by one sort per entity. No two
events have one time, so "events before this one" is the window open on both sides. Lazy
frames collected together, the streaming engine, `rolling_sum_by(...).over(...)`, and sums as
differences of running totals were tried and were no faster.

Run: POLARS_MAX_THREADS=2 python -m bench.peers.polars_features IN.parquet OUT.parquet
"""

from __future__ import annotations

import sys

import polars as pl

LENGTHS = {"1h": "1h", "1d": "24h", "7d": "168h", "30d": "720h"}


def of_entity(payments: pl.DataFrame, entity: str) -> pl.DataFrame:
    """Count and sum of the windows of one entity, in the order of the file."""
    ordered = payments.select("row", entity, "paid_at", "cents").sort(entity, "paid_at")
    parts = [ordered.select("row")]
    for window, period in LENGTHS.items():
        count, total = f"{entity}.payments_{window}", f"{entity}.spent_{window}"
        rolled = ordered.rolling("paid_at", period=period, closed="none", group_by=entity).agg(
            pl.len().alias(count), pl.col("cents").sum().alias(total)
        )
        parts.append(rolled.select(count, total))
    return pl.concat(parts, how="horizontal").sort("row").drop("row")


def main(given: str, out: str) -> None:
    columns = ["payment_id", "paid_at", "card", "merchant", "amount"]
    payments = pl.read_parquet(given, columns=columns).with_row_index("row", offset=1)
    payments = payments.with_columns((pl.col("amount") * 100).round().cast(pl.Int64).alias("cents"))
    features = payments.select(pl.col("payment_id").alias("id"), pl.col("row").cast(pl.Int64).alias("seq"))
    for entity in ("card", "merchant"):
        features = features.hstack(of_entity(payments, entity).get_columns())
    features.write_parquet(out, compression="snappy", statistics=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
