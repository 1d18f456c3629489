"""Feast's historical retrieval over features that are computed already: it has none of its own, and only joins them.

Takes the first rows of a set that `bench.make_set` wrote. Feast has two local engines, `file` (Dask) and `duckdb`, and
its features can stand in two ways:

- `entities`: a table for each entity, a row an event, as a nightly job would leave them. Feast finds for each payment
  the newest row of its card and of its merchant at or before its time.
- `events`: one table, a row an event, by the payment's own id: each payment has one row that can be meant.

It is asked for all 40 features, and writes what it found as Parquet. Only that is measured: neither its import, nor the
making of its tables, nor its registry.

Feast wants other versions of libraries than this project, so it has an environment of its own:
uv venv feast && uv pip install --python feast 'feast[duckdb]'
Run: feast/bin/python bench/peers/feast_training_set.py SET_ROWS PAYMENTS FOLDER ROWS file|duckdb entities|events
"""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.types import Float64
from feast.value_type import ValueType

CONFIG = """project: bench
registry: registry.db
provider: local
offline_store: {{ type: {store} }}
online_store: {{ type: sqlite, path: online.db }}
entity_key_serialization_version: 3
"""


def main(rows: str, payments: str, folder: str, count: str, engine: str, way: str) -> None:
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    (place / "feature_store.yaml").write_text(CONFIG.format(store=engine), encoding="utf-8")
    made = pq.read_table(rows).slice(0, int(count))
    given = pq.read_table(payments, columns=["payment_id", "card", "merchant"]).slice(0, int(count))
    if given["payment_id"].to_pylist() != made["id"].to_pylist():
        raise SystemExit("the set is not of these payments")
    features = [name for name in made.schema.names if name.startswith(("card.", "merchant."))]
    keys = {"payment": given["payment_id"]} if way == "events" else {name: given[name] for name in ("card", "merchant")}
    os.chdir(place)
    store = FeatureStore(repo_path=".")
    wanted: list[str] = []
    for name, column in keys.items():
        mine = [feature for feature in features if way == "events" or feature.startswith(f"{name}.")]
        short = [item.replace(".", "_") for item in mine]
        view = pa.table([column, made["time"], *(made[item] for item in mine)], [name, "event_timestamp", *short])
        pq.write_table(view, f"{name}.parquet")
        kind = ValueType.STRING if way == "events" else ValueType.INT64
        entity = Entity(name=name, join_keys=[name], value_type=kind)
        source = FileSource(path=str(Path(f"{name}.parquet").resolve()), timestamp_field="event_timestamp")
        fields = [Field(name=item, dtype=Float64) for item in short]
        store.apply([entity, FeatureView(name=name, entities=[entity], ttl=timedelta(0), schema=fields, source=source)])
        wanted += [f"{name}:{item}" for item in short]
    asked = pa.table([*keys.values(), made["time"]], [*keys, "event_timestamp"]).to_pandas()
    started = perf_counter()
    found = store.get_historical_features(entity_df=asked, features=wanted).to_df()
    found.to_parquet("set.parquet")
    seconds = perf_counter() - started
    print(
        json.dumps(
            {"feast": version("feast"), "rows": len(found), "features": len(wanted), "seconds": round(seconds, 2)}
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
