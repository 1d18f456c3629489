"""What the jobs do: the shop's data alone, or the whole way to a published model."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

import msgspec
from msgspec.json import encode as to_json

from shroff.errors import UsageError
from shroff.plugins.operations import path_of
from shroff.plugins.project import SyncSource, TrainModel, Way
from shroff_orders.periods import generate_orders

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from shroff.plugins.operations import JobRun
    from shroff.plugins.project import Project
    from shroff_orders.jobs import OrdersParams, PipelineParams
    from shroff_orders.periods import GeneratedOrders

EVENT: Final = "order"
SET: Final = "training-set"
KEYS: Final = ("customer_id", "email")
PARTITIONS: Final = 8  # of the orders by each key


def make_orders(project: Project, params: OrdersParams, run: JobRun) -> Mapping[str, Any]:
    """As `shroff generate orders`."""
    made = _made(project, params, run)
    return {**_summary(made), "files": [path.name for path in made.files]}


def orders_pipeline(project: Project, params: PipelineParams, run: JobRun) -> Mapping[str, Any]:
    """From nothing to a service that answers: orders in files by week or month, features by order and by key, a
    training set, a model, its gates, its promotion, and the orders in the log.

    All but the last step reads files alone, and that one hands the orders to the process that writes the log.

    Raises: UsageError where the project has no orders.
    """
    if EVENT not in project.definitions.events.decided:
        words = f"this project decides no event type {EVENT!r}. Make one: 'shroff init shop --template orders'."
        raise UsageError(words)
    made = _made(project, params, run, params.sources)
    folder = made.labels_file.parent.parent
    tables = folder / "tables"
    tables.mkdir(exist_ok=True)
    run.step("partition")
    parts = partitions(made)
    (tables / "partitions.json").write_bytes(msgspec.json.format(to_json(parts), indent=2))
    way = Way(reading=run.counting("features, reading"), computing=run.counting("features, computing"))
    features = project.tables.write_features(EVENT, made.files, tables / "features.parquet", way)
    run.step("partition by key")
    keys = {column: by_key(made, tables, column) for column in KEYS}
    run.step("training set")
    shutil.rmtree(folder / SET, ignore_errors=True)
    way = Way(reading=run.counting("training set, reading"), computing=run.counting("training set, computing"))
    given = made.files, made.labels_file
    rows = project.training_sets.write(folder / SET, EVENT, way=way, files=given[0], labels=given[1], order="time")
    wanted = TrainModel(files=tuple(given[0]), event=EVENT, labels=given[1], order="time", promote=params.promote)
    model = project.run(wanted, run).brief()
    run.step("gates and publishing")
    run.say(f"{model['model']}: {'passed its gates' if model['passed'] else 'did not pass its gates'}")
    taken = {name: project.run(SyncSource(source=name), run).brief() for name in params.sources}
    told = {"features": features.rows, "keys": keys, "training_rows": rows.manifest.rows, "taken": taken}
    return {"generated": _summary(made), **told, **model}


def by_key(made: GeneratedOrders, folder: Path, column: str) -> int:
    """Write `by-COLUMN/part-00.parquet` and so on: each has all orders of its keys, by their time.

    What a cluster reads to compute a key's features in one place. Gives the number of keys.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    orders = pa.concat_tables(pq.read_table(path) for path in made.files).combine_chunks()
    keys = pc.unique(pc.drop_null(pc.utf8_lower(orders[column])))
    target = folder / f"by-{column}"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for number in range(PARTITIONS):
        own = pa.array([key for key in keys.to_pylist() if crc32(key.encode()) % PARTITIONS == number], pa.string())
        part = orders.filter(pc.is_in(pc.utf8_lower(orders[column]), value_set=own))
        ordered = part.sort_by([(column, "ascending"), ("ordered_at", "ascending")])
        pq.write_table(ordered, target / f"part-{number:02}.parquet")
    return len(keys)


def partitions(made: GeneratedOrders) -> list[dict[str, Any]]:
    """Each file with its rows and its first and last order, which lie behind those of the file before.

    Raises: UsageError where they overlap.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found = list[dict[str, Any]]()
    for path in made.files:
        times = pq.read_table(path, columns=["ordered_at"])["ordered_at"]
        if not len(times):
            found.append({"file": path.name, "orders": 0, "first": None, "last": None})
            continue
        span = pc.min_max(times).as_py()
        before = max((partition["last"] for partition in found if partition["orders"]), default=None)
        if before is not None and span["min"].isoformat() < before:
            raise UsageError(f"{path.name} has orders of the file before.")
        ends = {"first": span["min"].isoformat(), "last": span["max"].isoformat()}
        found.append({"file": path.name, "orders": len(times), **ends})
    return found


def _made(project: Project, params: OrdersParams, run: JobRun, feeds: Sequence[str] = ()) -> GeneratedOrders:
    folder = path_of(project, params, "out", feeds)
    run.step("generate", 0, params.batches)
    return generate_orders(folder, params.batches, params.size, params.seed, run.count, params.by)


def _summary(made: GeneratedOrders) -> dict[str, Any]:
    return {"periods": len(made.files), "orders": made.orders, "fraud": made.fraud, "labels": made.labels}
