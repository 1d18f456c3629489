"""A lake published as Delta Lake tables, so that plain readers of Delta see each row once.

Each kind of rows of each event type is one table, in the folder where its files lie: `events/type=payment`, `labels`.
The manifests stay the truth. A Delta commit says what a finished manifest changed in one table; one that is behind
takes several at once, but keeps new rows and compactions apart, so a stream of the table gets each row once, too.
Its transactions are the number of its last manifest, and the sequence number up to which the table has the log.
It is put if absent under the next version, so of several publishers one wins, and a publisher that was killed is
followed by one that reads how far the table is.

    events/type=payment/_delta_log/00000000000000000007.json
    manifest/lane=0/delta.json      how far all tables are: it spares reading, and losing it does no harm

Format: https://github.com/delta-io/delta/blob/master/PROTOCOL.md, reader version 1, writer version 2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import msgspec

from shroff.errors import StateError
from shroff.lake.delta_checkpoint import CHECKPOINT_EVERY, commit_name, keep_checkpoint
from shroff.lake.delta_schema import metadata_of, schema_of, widened
from shroff.lake.files import opened
from shroff.streams.lake import RetriedObjects, damaged, digest
from shroff.streams.lake_manifest import File, LakeState, Manifest, Write, read_manifest

_COMMIT: Final = re.compile(r"(\d{20})\.json")
_ENGINE: Final = "shroff"


@dataclass(slots=True)
class Published:
    """What a publication did.

    Args:
        manifest: The last manifest that the tables have now.
        versions: The version of each table that was looked at.
        commits: How many commits each table got.
        problems: What could not be published, in sentences.
    """

    manifest: int = 0
    versions: dict[str, int] = field(default_factory=dict)
    commits: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class _Progress(msgspec.Struct, frozen=True):
    """How far the tables of a lane are, the version at which each was seen, and why some stay behind."""

    manifest: int = 0
    versions: Mapping[str, int] = {}
    problems: Mapping[str, str] = {}


class _Note(msgspec.Struct, frozen=True):
    """What each commit keeps for the next one: which columns the table has, and since which version.

    Args:
        schemas: The marks of the files' schemas (`File.schema`) that the table's columns cover.
        schema_at: The version with the newest `metaData`.
    """

    schemas: Sequence[str] = ()
    schema_at: int = 0


@dataclass(frozen=True, slots=True)
class _Head:
    """The last commit of a table: its version, -1 where there is none, and how far each lane is."""

    version: int = -1
    transactions: Mapping[str, int] = field(default_factory=dict)
    note: _Note = field(default_factory=_Note)


def table_of(path: str) -> str:
    """The folder of the Delta table that has a file: `events/type=payment`."""
    return path.rsplit("/", 2)[0]


def partition_of(path: str) -> dict[str, str]:
    """The columns that the folders of a file name, and their values: its event type and its day.

    The type is one of them although it is the same in all of a table: Polars reads it from the path in any case.
    """
    parts = (part.partition("=") for part in path.split("/")[:-1])
    return {name: value for name, is_named, value in parts if is_named}


def publish(objects: RetriedObjects, state: LakeState, *, is_thorough: bool = False) -> Published:
    """Bring the Delta tables of a lane to the manifests of a state.

    Args:
        is_thorough: Look at every table, also where all were up to date before: one may have been removed since.

    Raises: StorageError where the lake cannot be read or written.
    Cost: one small object where nothing is new; else one more for each table and each new manifest, and one new one
        for each table that changed. A file with columns that the table lacks is fetched once.
    """
    progress, version = _progress(objects, state.lane)
    found = Published(state.number)
    if state.number <= progress.manifest and not is_thorough:
        return found
    manifests = _Manifests(objects, state, progress.manifest)
    problems: dict[str, str] = {}
    for table in sorted({table_of(path) for path in state.files} | progress.versions.keys()):
        try:
            found.versions[table] = _bring(objects, state, manifests, table, progress, found)
        except _RefusedError as error:
            problems[table] = str(error)
    found.problems += problems.values()
    after = _Progress(max(state.number, progress.manifest), found.versions, problems)
    if after != progress:
        _keep_progress(objects, state.lane, after, version)
    return found


def stopped_tables(objects: RetriedObjects, lane: int) -> list[str]:
    """Which Delta tables of a lane could not go on, and why, in sentences."""
    return list(_progress(objects, lane)[0].problems.values())


class _RefusedError(StateError):
    """A table that cannot go on: it stays as it is until somebody removes its log."""


class _Manifests:
    """The finished manifests of a lane behind a number, each read once, when it is first asked for."""

    def __init__(self, objects: RetriedObjects, state: LakeState, since: int) -> None:
        self._objects, self._state, self._since = objects, state, since
        self._read: dict[int, Manifest] = {}

    def behind(self, number: int) -> list[Manifest]:
        """Those behind a number, and behind what all tables have, up to the state's."""
        return [self.at(one) for one in range(max(number, self._since) + 1, self._state.number + 1)]

    def at(self, number: int) -> Manifest:
        if number not in self._read:
            found = read_manifest(self._objects, self._state.lane, number)
            if found is None:
                raise damaged(self._objects, f"manifest {number:,}", "it is not there")
            self._read[number] = found[0]
        return self._read[number]


@dataclass(slots=True)
class _Change:
    """What a commit does to a table.

    Args:
        number: The last manifest that it takes, planned at `at_ms`.
        upto: The sequence number up to which the table has the log then; 0 where that does not change.
        is_data: Whether it is more than putting files together.
    """

    number: int = 0
    at_ms: int = 0
    upto: int = 0
    added: dict[str, File] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    is_data: bool = False

    def take(self, manifest: Manifest, added: Sequence[File], removed: Sequence[str]) -> None:
        """Add what a manifest changes in the table."""
        self.number, self.at_ms = manifest.number, manifest.at_ms
        if isinstance(manifest.plan, Write):
            self.upto, self.is_data = manifest.plan.upto, True
        self.removed += [path for path in removed if self.added.pop(path, None) is None]
        self.added |= {file.path: file for file in added}


def _bring(
    objects: RetriedObjects,
    state: LakeState,
    manifests: _Manifests,
    table: str,
    progress: _Progress,
    found: Published,
) -> int:
    """Bring one table to the state; gives its version then."""
    head = _head(objects, table, progress.versions.get(table, -1))
    while True:
        if head.version >= 0 and table in progress.problems:
            raise _RefusedError(progress.problems[table])
        change = _change(state, manifests, table, head.transactions.get(_application(state)))
        if change is None:
            return head.version
        after, data = _commit(objects, state, table, head, change)
        if not objects.put(commit_name(table, after.version), data):
            head = _head(objects, table, head.version)  # another publisher was quicker: look what it did
            continue
        found.commits[table] = found.commits.get(table, 0) + 1
        head = after
        if head.version and head.version % CHECKPOINT_EVERY == 0:
            keep_checkpoint(objects, table, head.version)


def _change(state: LakeState, manifests: _Manifests, table: str, at: int | None) -> _Change | None:
    """The next change of a table that has a lane up to a manifest; None where it lacks nothing.

    A table that has nothing of the lane lacks all its files. Else manifests go together as long as all of them bring
    rows, or none does; and on, where a file that the commit would name may be gone by now.
    """
    change = _Change()
    if at is None:
        change.take(
            manifests.at(state.number), [one for one in state.files.values() if table_of(one.path) == table], ()
        )
        change.upto, change.is_data = state.upto, True
        return change if change.added else None
    for manifest in manifests.behind(at):
        added = [file for file in manifest.added if table_of(file.path) == table]
        removed = [path for path in manifest.removed if table_of(path) == table]
        if not added and not removed:
            continue
        is_there = all(path in state.files or path in state.replaced for path in change.added)
        if change.number and change.is_data != isinstance(manifest.plan, Write) and is_there:
            break
        change.take(manifest, added, removed)
    return change if change.number else None


# ---- a table's log


def _head(objects: RetriedObjects, table: str, known: int) -> _Head:
    """The last commit, looked for from a version that was seen.

    Raises: _RefusedError where another program wrote it.
    """
    data = objects.get(commit_name(table, known)) if known >= 0 else None
    if data is None:
        named = (_COMMIT.fullmatch(one.name.rpartition("/")[2]) for one in objects.list(f"{table}/_delta_log"))
        known = max((int(one[1]) for one in named if one), default=-1)
        data = objects.get(commit_name(table, known)) if known >= 0 else None
    if data is None:
        return _Head()
    while (later := objects.get(commit_name(table, known + 1))) is not None:
        known, data = known + 1, later
    actions = [json.loads(line) for line in data.data.splitlines() if line]
    info: dict[str, Any] = next((one["commitInfo"] for one in actions if "commitInfo" in one), {})
    if info.get("engineInfo") != _ENGINE:
        raise _RefusedError(
            f"{table}: version {known} of its Delta table was written by another program "
            f"({str(info.get('engineInfo', 'unnamed'))[:80]}). Only shroff may write the tables of a lake: remove "
            f"{table}/_delta_log in {objects.address}, then run 'shroff lake publish'"
        )
    transactions = {one["txn"]["appId"]: int(one["txn"]["version"]) for one in actions if "txn" in one}
    return _Head(known, transactions, msgspec.json.decode(info["userMetadata"], type=_Note))


def _application(state: LakeState) -> str:
    """Who commits, as Delta's transactions name it: this lake's log and lane."""
    return f"shroff-lake-{state.log}-{state.lane}"


def _commit(objects: RetriedObjects, state: LakeState, table: str, head: _Head, change: _Change) -> tuple[_Head, bytes]:
    """The head with one more commit, and its bytes: the same for the same change behind the same head."""
    actions: list[dict[str, Any]] = []
    if head.version < 0:
        actions.append({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}})
    note, metadata = _columns(objects, table, head, change.added.values())
    if metadata is not None:
        made = {"id": str(UUID(digest(f"{state.log} {table}".encode())[:32])), "createdTime": change.at_ms}
        actions.append({"metaData": made | metadata})
    transactions = {**head.transactions, _application(state): change.number}
    if change.upto:
        transactions[f"{_application(state)}-seq"] = change.upto
    actions += [{"txn": {"appId": name, "version": transactions[name]}} for name in sorted(transactions)]
    actions += [_remove(path, table, change) for path in change.removed]
    actions += [_add(change.added[path], table, change) for path in sorted(change.added)]
    info: dict[str, Any] = {
        "timestamp": change.at_ms,
        "operation": "WRITE" if change.is_data else "OPTIMIZE",
        "operationParameters": {},
        "engineInfo": _ENGINE,
        "userMetadata": msgspec.json.encode(note).decode(),
    }
    data = b"".join(msgspec.json.encode(one) + b"\n" for one in [{"commitInfo": info}, *actions])
    return _Head(head.version + 1, transactions, note), data


def _columns(
    objects: RetriedObjects, table: str, head: _Head, added: Iterable[File]
) -> tuple[_Note, dict[str, Any] | None]:
    """The note of the next commit, and the table's metadata where files bring columns that it lacks.

    Raises: _RefusedError where a column of these files has another type in the table.
    """
    new = {file.schema: file for file in added if file.schema not in head.note.schemas}
    if not new:
        return head.note, None
    fields: list[dict[str, Any]] = []
    if head.version >= 0:
        found = objects.get(commit_name(table, head.note.schema_at))
        if found is None:
            raise _RefusedError(
                f"{table}: version {head.note.schema_at} of its Delta table, with its columns, is not there. Remove "
                f"{table}/_delta_log in {objects.address}, then run 'shroff lake publish'"
            )
        lines = map(json.loads, found.data.splitlines())
        fields = next(json.loads(one["metaData"]["schemaString"])["fields"] for one in lines if "metaData" in one)
    before = list(fields)
    for mark in sorted(new):
        try:
            fields = widened(fields, schema_of(opened(objects, new[mark]).schema_arrow, partition_of(new[mark].path)))
        except ValueError as error:
            raise _RefusedError(
                f"{table}: {error} A Delta table has one type for each column, so this one stays as it was: read the "
                "files that 'shroff lake files' names"
            ) from None
    schemas = sorted({*head.note.schemas, *new})
    if fields == before:
        return msgspec.structs.replace(head.note, schemas=schemas), None
    return _Note(schemas, head.version + 1), metadata_of(fields, partition_of(new[mark].path))


def _add(file: File, table: str, change: _Change) -> dict[str, Any]:
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


def _remove(path: str, table: str, change: _Change) -> dict[str, Any]:
    name = path.removeprefix(f"{table}/")
    return {"remove": {"path": name, "deletionTimestamp": change.at_ms, "dataChange": change.is_data}}


# ---- how far all tables are


def _progress_name(lane: int) -> str:
    return f"manifest/lane={lane}/delta.json"


def _progress(objects: RetriedObjects, lane: int) -> tuple[_Progress, str | None]:
    """How far all tables are, and the version of the object that says it; nothing where it is damaged."""
    found = objects.get(_progress_name(lane))
    if found is None:
        return _Progress(), None
    try:
        return msgspec.json.decode(found.data, type=_Progress), found.version
    except ValueError:
        return _Progress(), found.version


def _keep_progress(objects: RetriedObjects, lane: int, progress: _Progress, version: str | None) -> None:
    """Keep how far all tables are. Another publisher may have been quicker, which is fine."""
    data = msgspec.json.encode(progress) + b"\n"
    if version is None:
        objects.put(_progress_name(lane), data)
    else:
        objects.replace(_progress_name(lane), data, version)
