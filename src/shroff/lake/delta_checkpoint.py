"""Checkpoints of a Delta table: what its commits up to a version come to, so that a reader need not read them all.

    events/type=payment/_delta_log/00000000000000000100.checkpoint.parquet
    events/type=payment/_delta_log/_last_checkpoint

A publisher that was killed before it put one leaves that to the next one, a hundred commits later.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shroff.json_types import JsonObject
from shroff.lake.files import arrow_reader
from shroff.streams.lake import RetriedObjects

CHECKPOINT_EVERY = 100  # commits: what a reader reads as small objects at most, and twice that behind a kill
TOMBSTONE_MS = 7 * 86_400_000  # how long a removed file is remembered: Delta's own `deletedFileRetentionDuration`

_TEXTS = pa.map_(pa.string(), pa.string())
_SCHEMA = pa.schema(
    {
        "txn": pa.struct({"appId": pa.string(), "version": pa.int64()}),
        "add": pa.struct(
            {
                "path": pa.string(),
                "partitionValues": _TEXTS,
                "size": pa.int64(),
                "modificationTime": pa.int64(),
                "dataChange": pa.bool_(),
                "stats": pa.string(),
            }
        ),
        "remove": pa.struct({"path": pa.string(), "deletionTimestamp": pa.int64(), "dataChange": pa.bool_()}),
        "metaData": pa.struct(
            {
                "id": pa.string(),
                "format": pa.struct({"provider": pa.string(), "options": _TEXTS}),
                "schemaString": pa.string(),
                "partitionColumns": pa.list_(pa.string()),
                "configuration": _TEXTS,
                "createdTime": pa.int64(),
            }
        ),
        "protocol": pa.struct({"minReaderVersion": pa.int32(), "minWriterVersion": pa.int32()}),
    }
)
_MAPS = frozenset({"partitionValues", "options", "configuration"})
Action = JsonObject


def commit_name(table: str, version: int) -> str:
    """The object of a commit."""
    return f"{table}/_delta_log/{version:020d}.json"


def keep_checkpoint(objects: RetriedObjects, table: str, version: int) -> None:
    """Put the checkpoint of a version, and tell readers of it, unless they know a newer one.

    Cost: reads the last checkpoint and each commit behind it.
    """
    name = f"{table}/_delta_log/_last_checkpoint"
    found = objects.get(name)
    try:
        last = -1 if found is None else int(json.loads(found.data)["version"])
    except (ValueError, KeyError):
        last = -1  # damaged: it is made anew
    rows = _replayed(objects, table, last, version) if last < version else None
    if rows is None:
        return
    out = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([_pairs(row) for row in rows], _SCHEMA), out, compression="zstd")
    objects.put(_name(table, version), out.getvalue().to_pybytes())
    told = json.dumps({"version": version, "size": len(rows)}).encode()
    if found is None:
        objects.put(name, told)
    else:
        objects.replace(name, told, found.version)


def _name(table: str, version: int) -> str:
    return f"{table}/_delta_log/{version:020d}.checkpoint.parquet"


def _replayed(objects: RetriedObjects, table: str, last: int, version: int) -> list[Action] | None:
    """What the commits up to a version come to, from the last checkpoint on, or from the first commit.

    None where one of them is not there: somebody has removed it.
    """
    kept: dict[tuple[str, str], Action] = {}
    before = objects.get(_name(table, last)) if last >= 0 else None
    for action in [] if before is None else pq.read_table(arrow_reader(before.data), schema=_SCHEMA).to_pylist():
        _apply(kept, {kind: value for kind, value in action.items() if value is not None})
    now_ms = 0
    for number in range(0 if before is None else last + 1, version + 1):
        commit = objects.get(commit_name(table, number))
        if commit is None:
            return None
        for line in commit.data.splitlines():
            action = json.loads(line)
            now_ms = action.get("commitInfo", {}).get("timestamp", now_ms)
            _apply(kept, action)
    return [
        kept[key]
        for key in sorted(kept)
        if kept[key].get("remove", {}).get("deletionTimestamp", now_ms) >= now_ms - TOMBSTONE_MS
    ]


def _apply(kept: dict[tuple[str, str], Action], action: Action) -> None:
    [(kind, value)] = action.items()
    if kind in {"add", "remove"}:
        kept["file", value["path"]] = {kind: value | {"dataChange": False}}
    elif kind == "txn":
        kept[kind, value["appId"]] = action
    elif kind != "commitInfo":
        kept[kind, ""] = action


def _pairs(value: Any) -> Any:
    """An action as Arrow takes it: a map as a list of pairs."""
    if not isinstance(value, dict):
        return value
    return {
        key: list(dict(part).items()) if key in _MAPS and part is not None else _pairs(part)
        for key, part in value.items()
    }
