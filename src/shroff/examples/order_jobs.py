"""Jobs on the synthetic shop of the template `orders`: its data alone, or the whole way to a published model."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shroff.app.jobs.work import path_of, trained
from shroff.errors import UsageError
from shroff.examples.orders import generate_orders

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shroff.app.jobs.kinds import OrdersParams, PipelineParams
    from shroff.app.jobs.work import JobRun
    from shroff.app.project import Project
    from shroff.examples.orders import GeneratedOrders

EVENT: Final = "order"
SET: Final = "training-set"


def make_orders(project: Project, params: OrdersParams, run: JobRun) -> Mapping[str, Any]:
    """As `shroff generate orders`."""
    made = _made(project, params, run)
    return {**_told(made), "files": [path.name for path in made.files]}


def orders_pipeline(project: Project, params: PipelineParams, run: JobRun) -> Mapping[str, Any]:
    """From nothing to a model: orders in files by week, features, a training set, a model, its gates, its promotion.

    It reads files alone, so it runs beside a service that writes the log.

    Raises: UsageError where the project has no orders.
    """
    from shroff.log.columns.tables import Way

    if EVENT not in project.definitions.events.decided:
        words = f"this project decides no event type {EVENT!r}. Make one: 'shroff init shop --template orders'."
        raise UsageError(words)
    made = _made(project, params, run)
    folder = made.labels_file.parent.parent
    run.step("partition")
    parts = partitions(made)
    (folder / "partitions.json").write_bytes(msgspec.json.format(msgspec.json.encode(parts), indent=2))
    way = Way(reading=run.counting("features, reading"), computing=run.counting("features, computing"))
    features = project.tables.write_features(EVENT, made.files, folder / "features.parquet", way)
    run.step("training set")
    shutil.rmtree(folder / SET, ignore_errors=True)
    way = Way(reading=run.counting("training set, reading"), computing=run.counting("training set, computing"))
    given = made.files, made.labels_file
    rows = project.training_sets.write(folder / SET, EVENT, way=way, files=given[0], labels=given[1], order="time")
    model = trained(project, run, EVENT, promote=params.promote, files=given[0], labels=given[1], order="time")
    run.step("gates and publishing")
    run.say(f"{model['model']}: {'passed its gates' if model['passed'] else 'did not pass its gates'}")
    return {"generated": _told(made), "features": features.rows, "training_rows": rows.manifest.rows, **model}


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
        before = max((one["last"] for one in found if one["orders"]), default=None)
        if before is not None and span["min"].isoformat() < before:
            raise UsageError(f"{path.name} has orders of the file before.")
        ends = {"first": span["min"].isoformat(), "last": span["max"].isoformat()}
        found.append({"file": path.name, "orders": len(times), **ends})
    return found


def _made(project: Project, params: OrdersParams, run: JobRun) -> GeneratedOrders:
    folder = path_of(project, params, "out")
    run.step("generate", 0, params.batches)
    return generate_orders(folder, params.batches, params.size, params.seed, run.count)


def _told(made: GeneratedOrders) -> dict[str, Any]:
    return {"periods": len(made.files), "orders": made.orders, "fraud": made.fraud, "labels": made.labels}
