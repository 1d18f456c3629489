"""A lake published as Delta Lake tables, in the folders of its files.

A commit is put under the next version only if that is absent, so one of several publishers wins. Its transactions
store the table's position (see `lake.publication`).

    events/type=payment/_delta_log/00000000000000000007.json

Format: https://github.com/delta-io/delta/blob/master/PROTOCOL.md, reader version 1, writer version 2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from uuid import UUID

from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.json_types import JsonObject
from shroff.lake.delta_checkpoint import CHECKPOINT_EVERY, commit_name, keep_checkpoint
from shroff.lake.delta_schema import schema_of, widened
from shroff.lake.publication import TableChange, TableHead, TableNote, TableStoppedError, partition_of
from shroff.runtime.values import replace
from shroff.streams.lake import RetriedObjects, digest
from shroff.streams.lake_manifest import File, LakeState

NAME = "delta"
_COMMIT = re.compile(r"(\d{20})\.json")
_ENGINE = "shroff"


class DeltaTables:
    """The Delta tables of a lake."""

    name = NAME
    title = "Delta tables"

    def __init__(self, objects: RetriedObjects) -> None:
        self._objects = objects

    def head(self, table: str, known_version: int) -> TableHead:
        return _head(self._objects, table, known_version)

    def commit(self, state: LakeState, table: str, head: TableHead, change: TableChange) -> TableHead | None:
        after, data = _commit(self._objects, state, table, head, change)
        if not self._objects.put(commit_name(table, after.version), data):
            return None
        if after.version and after.version % CHECKPOINT_EVERY == 0:
            keep_checkpoint(self._objects, table, after.version)
        return after

    def trouble(self) -> str:
        return ""  # the lake itself reports failures


def _head(objects: RetriedObjects, table: str, known_version: int) -> TableHead:
    """Return the last commit, searched from a known version.

    Raises: TableStoppedError if another program wrote it.
    """
    data = objects.get(commit_name(table, known_version)) if known_version >= 0 else None
    if data is None:
        matches = (_COMMIT.fullmatch(stored.name.rpartition("/")[2]) for stored in objects.list(f"{table}/_delta_log"))
        known_version = max((int(match[1]) for match in matches if match), default=-1)
        data = objects.get(commit_name(table, known_version)) if known_version >= 0 else None
    if data is None:
        return TableHead()
    while (later := objects.get(commit_name(table, known_version + 1))) is not None:
        known_version = known_version + 1
        data = later
    actions = [json.loads(line) for line in data.data.splitlines() if line]
    info: JsonObject = next((action["commitInfo"] for action in actions if "commitInfo" in action), {})
    if info.get("engineInfo") != _ENGINE:
        raise TableStoppedError(
            f"{table}: version {known_version} of its Delta table was written by another program "
            f"({str(info.get('engineInfo', 'unnamed'))[:80]}). Only shroff may write the tables of a lake: remove "
            f"{table}/_delta_log in {objects.address}, then run 'shroff lake publish'"
        )
    transactions = {action["txn"]["appId"]: int(action["txn"]["version"]) for action in actions if "txn" in action}
    return TableHead(known_version, transactions, from_json(info["userMetadata"], type=TableNote))


def _commit(
    objects: RetriedObjects, state: LakeState, table: str, head: TableHead, change: TableChange
) -> tuple[TableHead, bytes]:
    """Return the head after one more commit, and the commit's bytes: equal for equal changes after the same head."""
    actions: list[JsonObject] = []
    if head.version < 0:
        actions.append({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}})
    note, metadata = _columns(objects, table, head, change.added.values())
    if metadata is not None:
        identity = {"id": str(UUID(digest(f"{state.log} {table}".encode())[:32])), "createdTime": change.at_ms}
        actions.append({"metaData": identity | metadata})
    transactions = change.transactions(state, head)
    actions += [{"txn": {"appId": name, "version": version}} for name, version in transactions.items()]
    actions += [_remove(path, table, change) for path in change.removed]
    actions += [_add(change.added[path], table, change) for path in sorted(change.added)]
    info: JsonObject = {
        "timestamp": change.at_ms,
        "operation": "WRITE" if change.is_data else "OPTIMIZE",
        "operationParameters": {},
        "engineInfo": _ENGINE,
        "userMetadata": to_json(note).decode(),
    }
    data = b"".join(to_json(action) + b"\n" for action in [{"commitInfo": info}, *actions])
    return TableHead(head.version + 1, transactions, note), data


def _columns(
    objects: RetriedObjects, table: str, head: TableHead, added: Iterable[File]
) -> tuple[TableNote, JsonObject | None]:
    """Return the note of the next commit, and new metadata if files have columns that the table lacks.

    Raises: TableStoppedError if a column of these files has another type in the table.
    """
    new = head.note.unknown(objects, added)
    if not new:
        return head.note, None
    fields: list[JsonObject] = []
    if head.version >= 0:
        commit = objects.get(commit_name(table, head.note.schema_at))
        if commit is None:
            raise TableStoppedError(
                f"{table}: version {head.note.schema_at} of its Delta table, with its columns, is not there. Remove "
                f"{table}/_delta_log in {objects.address}, then run 'shroff lake publish'"
            )
        lines = map(json.loads, commit.data.splitlines())
        fields = next(json.loads(line["metaData"]["schemaString"])["fields"] for line in lines if "metaData" in line)
    old_fields = list(fields)
    for file, columns in new:
        try:
            fields = widened(fields, schema_of(columns, partition_of(file.path)))
        except ValueError as error:
            raise TableStoppedError(
                f"{table}: {error} A Delta table has one type for each column, so this one stays as it was: read the "
                "files that 'shroff lake files' names"
            ) from None
    schemas = sorted({*head.note.schemas, *(file.schema for file, _ in new)})
    if fields == old_fields:
        return replace(head.note, schemas=schemas), None
    # The `metaData` of a table with these fields, without its id and time.
    return TableNote(schemas, head.version + 1), {
        "format": {"provider": "parquet", "options": {}},
        "schemaString": json.dumps({"type": "struct", "fields": fields}),
        "partitionColumns": list(partition_of(file.path)),
        "configuration": {},
    }


def _add(file: File, table: str, change: TableChange) -> JsonObject:
    stats = {
        "numRecords": file.rows,
        "minValues": {"seq": file.first},
        "maxValues": {"seq": file.last},
        "nullCount": {"seq": 0},
    }
    return {
        "add": {
            "path": file.path.removeprefix(f"{table}/"),
            "partitionValues": partition_of(file.path),
            "size": file.bytes,
            "modificationTime": change.at_ms,
            "dataChange": change.is_data,
            "stats": json.dumps(stats),
        }
    }


def _remove(path: str, table: str, change: TableChange) -> JsonObject:
    name = path.removeprefix(f"{table}/")
    return {"remove": {"path": name, "deletionTimestamp": change.at_ms, "dataChange": change.is_data}}
