"""Checkpoints of a Delta table: the sum of its commits up to a version, so that a reader need not read them all.

    events/type=payment/_delta_log/00000000000000000100.checkpoint.parquet
    events/type=payment/_delta_log/_last_checkpoint

If a publisher is killed before it puts one, the next checkpoint comes a hundred commits later.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shroff.json_types import JsonObject
from shroff.lake.files import arrow_reader
from shroff.streams.lake import RetriedObjects

CHECKPOINT_EVERY = 100  # commits: the most that a reader reads as small objects; twice that after a crash
TOMBSTONE_MS = 7 * 86_400_000  # how long a removed file is listed: Delta's default `deletedFileRetentionDuration`

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
    return f"{table}/_delta_log/{version:020d}.json"


def keep_checkpoint(objects: RetriedObjects, table: str, version: int) -> None:
    """Put the checkpoint of a version, and point readers to it, unless there is a newer one.

    Cost: reads the last checkpoint and each commit after it.
    """
    name = f"{table}/_delta_log/_last_checkpoint"
    pointer = objects.get(name)
    try:
        last = -1 if pointer is None else int(json.loads(pointer.data)["version"])
    except (ValueError, KeyError):
        last = -1  # damaged: write it again
    rows = _replay(objects, table, last, version) if last < version else None
    if rows is None:
        return
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([_pairs(row) for row in rows], _SCHEMA), buffer, compression="zstd")
    objects.put(_name(table, version), buffer.getvalue().to_pybytes())
    pointer_text = json.dumps({"version": version, "size": len(rows)}).encode()
    if pointer is None:
        objects.put(name, pointer_text)
    else:
        objects.replace(name, pointer_text, pointer.version)


def _name(table: str, version: int) -> str:
    return f"{table}/_delta_log/{version:020d}.checkpoint.parquet"


def _replay(objects: RetriedObjects, table: str, last: int, version: int) -> list[Action] | None:
    """Return the sum of the commits up to a version, from the last checkpoint or the first commit.

    Return None if a commit is missing, since somebody removed it.
    """
    actions: dict[tuple[str, str], Action] = {}
    checkpoint = objects.get(_name(table, last)) if last >= 0 else None
    for action in (
        [] if checkpoint is None else pq.read_table(arrow_reader(checkpoint.data), schema=_SCHEMA).to_pylist()
    ):
        _apply(actions, {kind: value for kind, value in action.items() if value is not None})
    now_ms = 0
    for number in range(0 if checkpoint is None else last + 1, version + 1):
        commit = objects.get(commit_name(table, number))
        if commit is None:
            return None
        for line in commit.data.splitlines():
            action = json.loads(line)
            now_ms = action.get("commitInfo", {}).get("timestamp", now_ms)
            _apply(actions, action)
    return [
        actions[key]
        for key in sorted(actions)
        if actions[key].get("remove", {}).get("deletionTimestamp", now_ms) >= now_ms - TOMBSTONE_MS
    ]


def _apply(actions: dict[tuple[str, str], Action], action: Action) -> None:
    [(kind, value)] = action.items()
    if kind in {"add", "remove"}:
        actions["file", value["path"]] = {kind: value | {"dataChange": False}}
    elif kind == "txn":
        actions[kind, value["appId"]] = action
    elif kind != "commitInfo":
        actions[kind, ""] = action


def _pairs(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {
        key: list(dict(part).items()) if key in _MAPS and part is not None else _pairs(part)
        for key, part in value.items()
    }
