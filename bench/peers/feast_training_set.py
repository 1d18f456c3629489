"""Feast's historical retrieval with its local engine over features that are computed already: what only joins them.

Takes the rows of a set that `bench.make_set` wrote. Their features stand in two Parquet files, by card and by
merchant, as a nightly job would leave them; Feast finds for each payment the newest row of each at or before its time.

Feast wants other versions of libraries than this project, so it has an environment of its own:
uv venv feast && uv pip install --python feast feast
Run: feast/bin/python bench/peers/feast_training_set.py SET_ROWS FOLDER ROWS
"""

from __future__ import annotations

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
offline_store: { type: file }
online_store: { type: sqlite, path: online.db }
entity_key_serialization_version: 3
"""


def main(rows: str, folder: str, count: str) -> None:
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    (place / "feature_store.yaml").write_text(CONFIG, encoding="utf-8")
    table = pq.read_table(rows).slice(0, int(count))
    store = FeatureStore(repo_path=folder)
    keys = {"card": table["key"], "merchant": pa.array([number % 1_000 for number in range(len(table))])}
    wanted: list[str] = []
    for name, column in keys.items():
        features = [one for one in table.schema.names if one.startswith(f"{name}.")]
        short = [one.partition(".")[2] for one in features]
        view = pa.table([column, table["time"], *(table[one] for one in features)], [name, "event_timestamp", *short])
        pq.write_table(view, place / f"{name}.parquet")
        entity = Entity(name=name, join_keys=[name], value_type=ValueType.INT64)
        source = FileSource(path=str((place / f"{name}.parquet").resolve()), timestamp_field="event_timestamp")
        fields = [Field(name=one, dtype=Float64) for one in short]
        store.apply([entity, FeatureView(name=name, entities=[entity], ttl=timedelta(0), schema=fields, source=source)])
        wanted += [f"{name}:{one}" for one in short]
    asked = pa.table([*keys.values(), table["time"]], [*keys, "event_timestamp"]).to_pandas()
    started = perf_counter()
    found = store.get_historical_features(entity_df=asked, features=wanted, full_feature_names=True).to_df()
    found.to_parquet(place / "set.parquet")
    seconds = perf_counter() - started
    print(f"Feast {version('feast')}: {len(found):,} rows of {len(wanted)} features in {seconds:.1f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
