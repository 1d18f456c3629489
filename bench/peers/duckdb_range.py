"""The windows of `bench.backfill` by DuckDB: one query with named windows, RANGE over integer times.

As its documentation shows sliding windows over time: the frame by `RANGE BETWEEN`, windows
named once and shared by their aggregates. The result is taken as an Arrow table, without
copying, in the order DuckDB gives it; sorting it by row number is not timed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

FUNCTIONS = {
    "count": "count(*)",
    "sum": "sum(amount)",
    "mean": "avg(amount)",
    "std": "stddev_samp(amount)",
    "max": "max(amount)",
}


def connect(
    times: NDArray[np.int64], keys: Mapping[str, NDArray[np.int64]], amounts: NDArray[np.int64], threads: int
) -> duckdb.DuckDBPyConnection:
    """A database in memory that holds the columns; not timed."""
    connection = duckdb.connect(config={"threads": threads, "preserve_insertion_order": False})
    events = pa.table({"number": np.arange(len(times)), "at_ms": times, "amount": amounts, **keys})
    connection.register("given", events)
    connection.execute("CREATE TABLE events AS SELECT * FROM given")
    connection.unregister("given")
    return connection


def compute(connection: duckdb.DuckDBPyConnection, entities: Sequence[str], lengths_ms: Sequence[int]) -> pa.Table:
    """Count, sum, mean, std and max of each entity and window; a window holds the events of the times before."""
    columns, windows = ["number"], []
    for entity in entities:
        for length_ms in lengths_ms:
            window = f"{entity}_{length_ms}"
            columns += [f"{text} OVER {window} AS {window}_{name}" for name, text in FUNCTIONS.items()]
            frame = f"RANGE BETWEEN {length_ms - 1} PRECEDING AND 1 PRECEDING"
            windows.append(f"{window} AS (PARTITION BY {entity} ORDER BY at_ms {frame})")
    return connection.sql(f"SELECT {', '.join(columns)} FROM events WINDOW {', '.join(windows)}").to_arrow_table()


def in_log_order(
    table: pa.Table, entities: Sequence[str], lengths_ms: Sequence[int]
) -> list[dict[str, NDArray[np.float64]]]:
    """The columns of each entity and window by name, by row number; missing is NaN, and so is the sum of nothing."""
    places = np.argsort(table["number"].to_numpy())
    return [
        {name: table[f"{entity}_{length_ms}_{name}"].cast(pa.float64()).to_numpy()[places] for name in FUNCTIONS}
        for entity in entities
        for length_ms in lengths_ms
    ]
