"""Makes what this project reads of the handbook's data: payments, and labels that come seven days later.

    python prepare.py FILE_OR_FOLDER

FILE is a Parquet file of the handbook's transactions; FOLDER holds its pickles, one a day, for
which pandas must be installed. A pickle can run any program when it is read, so take it only
from a source that you trust.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

COLUMNS = {
    "TRANSACTION_ID": pa.int64(),
    "TX_DATETIME": pa.timestamp("ms"),
    "CUSTOMER_ID": pa.int64(),
    "TERMINAL_ID": pa.int64(),
    "TX_AMOUNT": pa.float64(),
    "TX_FRAUD": pa.int8(),
}


def read(path: Path) -> pa.Table:
    """The payments in order of time; of one second in the order of the source."""
    if path.is_dir():
        import pandas as pd

        days = [pd.read_pickle(file) for file in sorted(path.glob("*.pkl"))]  # noqa: S301 - said above
        table = pa.Table.from_pandas(pd.concat(days, ignore_index=True), preserve_index=False)
    else:
        table = pq.read_table(path)
    table = pa.table({name: table[name].cast(type_) for name, type_ in COLUMNS.items()})
    places = pa.table({"time": table["TX_DATETIME"], "place": pa.array(range(len(table)))})
    return table.take(pc.sort_indices(places, [("time", "ascending"), ("place", "ascending")]))


def write(table: pa.Table, folder: Path) -> tuple[Path, Path]:
    """Payments without their answers, and a label for each fraud."""
    folder.mkdir(parents=True, exist_ok=True)
    payments, labels = folder / "payments.parquet", folder / "labels.parquet"
    pq.write_table(table.drop_columns(["TX_FRAUD"]), payments)
    frauds = table.filter(pc.equal(table["TX_FRAUD"], 1))
    pq.write_table(frauds.select(["TRANSACTION_ID", "TX_DATETIME"]), labels)
    return payments, labels


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("source", type=Path, help="a Parquet file, or a folder of pickles")
    arguments.add_argument("--folder", type=Path, default=Path(__file__).parent / "data", help="where to write")
    chosen = arguments.parse_args()
    table = read(chosen.source)
    payments, labels = write(table, chosen.folder)
    print(f"{payments}: {len(table):,} payments\n{labels}: {pq.read_metadata(labels).num_rows:,} frauds")


if __name__ == "__main__":
    main()
