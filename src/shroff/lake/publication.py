"""A lake published in a table format, so that general readers of the format see each row once.

Each kind of rows of each event type is one table, of the files in one folder: `events/type=payment`, `labels`. The
manifests remain authoritative. A commit of a table contains the changes of a finished manifest; a table that is behind
takes several at once, but new rows and compactions stay separate, so a stream of the table gets each row once, too.
Each commit stores the table's position: the number of its last manifest, and its last sequence number of the log. So
after a crash the next publisher reads that position, and of several publishers one wins and the others read it again.

    manifest/delta.json      position of all tables of a format: it saves reads, and losing it is harmless

The tables of each format are in `lake.delta` and in the adapters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import pyarrow as pa
from msgspec import Struct, field
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import StateError, TransientError
from shroff.lake.files import opened
from shroff.runtime.values import FrozenStruct
from shroff.streams.lake import RetriedObjects, damaged
from shroff.streams.lake_manifest import File, LakeState, Manifest, Write, read_manifest


class Published(Struct):
    """Result of a publication.

    Args:
        tables: Name of the tables for people.
        manifest: The last manifest that the tables include.
        versions: The version of each table that was checked.
        commits: Number of commits to each table.
        problems: What could not be published, in sentences.
    """

    tables: str = ""
    manifest: int = 0
    versions: dict[str, int] = {}
    commits: dict[str, int] = {}
    problems: list[str] = []


class TableStoppedError(StateError):
    """A table that cannot be continued: it stays unchanged until somebody removes it."""


class TablesAwayError(TransientError):
    """Tables outside the lake that cannot be reached or written. The lake itself is not affected."""


class TableNote(FrozenStruct):
    """Note in a commit for the next one.

    Args:
        schemas: Hashes of the files' schemas (`File.schema`) whose columns the table has.
        schema_at: The version that defined the newest columns.
    """

    schemas: Sequence[str] = ()
    schema_at: int = 0

    def unknown(self, objects: RetriedObjects, files: Iterable[File]) -> list[tuple[File, pa.Schema]]:
        """Return a file with its columns for each schema that the table does not cover, sorted by hash."""
        file_by_schema = {file.schema: file for file in files if file.schema not in self.schemas}
        return [
            (file_by_schema[mark], opened(objects, file_by_schema[mark]).schema_arrow)
            for mark in sorted(file_by_schema)
        ]


class TableHead(FrozenStruct):
    """The last commit of a table: its version, or -1, and the position of each lake."""

    version: int = -1
    transactions: Mapping[str, int] = field(default_factory=dict)
    note: TableNote = field(default_factory=TableNote)


class TableChange(Struct):
    """Change of a table by a commit.

    Args:
        number: The last manifest that it includes, planned at `at_ms`.
        upto: The table's last sequence number of the log after it; 0 if that does not change.
        is_data: Whether it is more than a compaction.
    """

    number: int = 0
    at_ms: int = 0
    upto: int = 0
    added: dict[str, File] = {}
    removed: list[str] = []
    is_data: bool = False

    def take(self, manifest: Manifest, added: Sequence[File], removed: Sequence[str]) -> None:
        """Add a manifest's changes of the table."""
        self.number = manifest.number
        self.at_ms = manifest.at_ms
        if isinstance(manifest.plan, Write):
            self.upto = manifest.plan.upto
            self.is_data = True
        self.removed += [path for path in removed if self.added.pop(path, None) is None]
        self.added |= {file.path: file for file in added}

    def transactions(self, state: LakeState, head: TableHead) -> dict[str, int]:
        """Return the position of each lake after this change, by transaction name, sorted."""
        positions = {**head.transactions, application(state): self.number}
        if self.upto:
            positions[f"{application(state)}-seq"] = self.upto
        return dict(sorted(positions.items()))


class TableFormat(Protocol):
    """A table format, and the location of its tables.

    `head` and `commit` raise `TableStoppedError` if a table cannot be continued, `TablesAwayError` if tables outside
    the lake cannot be reached, and StorageError if the lake cannot be.
    """

    @property
    def name(self) -> str:
        """Identifies the format and the location of its tables: letters, digits, `-` and `_`."""

    @property
    def title(self) -> str:
        """Name of its tables, for people."""

    def head(self, table: str, known_version: int) -> TableHead:
        """Return the last commit of a table; `known_version` is a version seen before, or -1."""

    def commit(self, state: LakeState, table: str, head: TableHead, change: TableChange) -> TableHead | None:
        """Commit a change after a head, atomically; return None if another publisher was faster."""

    def trouble(self) -> str:
        """Return why nothing can be published now; empty if it can."""


def table_of(path: str) -> str:
    """Return the folder of the table that contains a file: `events/type=payment`."""
    return path.rsplit("/", 2)[0]


def partition_of(path: str) -> dict[str, str]:
    """Return the columns that the folders of a file name, with their values: its event type and its day.

    The type is included although it is constant within a table: Polars reads it from the path in any case.
    """
    parts = (part.partition("=") for part in path.split("/")[:-1])
    return {name: value for name, is_named, value in parts if is_named}


def application(state: LakeState) -> str:
    """Return the committer's name in a table's transactions, which identifies this lake's log."""
    return f"shroff-lake-{state.log}"


def publish(objects: RetriedObjects, state: LakeState, tables: TableFormat, *, is_thorough: bool = False) -> Published:
    """Bring the tables of a lake up to the manifests of a state.

    Args:
        is_thorough: Check every table, even if all were up to date: one may have been removed since.

    Raises: StorageError if the lake cannot be read or written; TablesAwayError if tables outside it cannot be.
    Cost: one small object if nothing is new; else one more for each new manifest, the head of each table, and a commit
        for each table that changed. A file with columns that the table lacks is fetched once.
    """
    progress, version = _progress(objects, tables.name)
    result = Published(tables.title, state.number)
    if state.number <= progress.manifest and not is_thorough:
        return result
    manifests = _Manifests(objects, state, progress.manifest)
    problems: dict[str, str] = {}
    for table in sorted({table_of(path) for path in state.files} | progress.versions.keys()):
        try:
            result.versions[table] = _publish_table(tables, state, manifests, table, progress, result)
        except TableStoppedError as error:
            problems[table] = str(error)
    result.problems += problems.values()
    after = _Progress(max(state.number, progress.manifest), result.versions, problems)
    if after != progress:
        # Store the position of all tables. If another publisher was faster, that is fine.
        data = to_json(after) + b"\n"
        if version is None:
            objects.put(_progress_name(tables.name), data)
        else:
            objects.replace(_progress_name(tables.name), data, version)
    return result


def stopped_tables(objects: RetriedObjects, formats: Iterable[str]) -> list[str]:
    """Return why tables of a lake cannot be continued, in sentences."""
    return [problem for name in formats for problem in _progress(objects, name)[0].problems.values()]


class _Manifests:
    def __init__(self, objects: RetriedObjects, state: LakeState, since: int) -> None:
        self._objects = objects
        self._state = state
        self._since = since
        self._read: dict[int, Manifest] = {}

    def behind(self, number: int) -> list[Manifest]:
        """Return the manifests after `number` and after those that all tables include, up to the state's."""
        return [
            self.at(manifest_number) for manifest_number in range(max(number, self._since) + 1, self._state.number + 1)
        ]

    def at(self, number: int) -> Manifest:
        if number not in self._read:
            manifest = read_manifest(self._objects, number)
            if manifest is None:
                raise damaged(self._objects, f"manifest {number:,}", "it is not there")
            self._read[number] = manifest[0]
        return self._read[number]


class _Progress(FrozenStruct):
    """Position of the tables of a lake, the version at which each was seen, and why some are behind."""

    manifest: int = 0
    versions: Mapping[str, int] = {}
    problems: Mapping[str, str] = {}


def _publish_table(
    tables: TableFormat, state: LakeState, manifests: _Manifests, table: str, progress: _Progress, published: Published
) -> int:
    head = tables.head(table, progress.versions.get(table, -1))
    while True:
        if head.version >= 0 and table in progress.problems:
            raise TableStoppedError(progress.problems[table])
        change = _change(state, manifests, table, head.transactions.get(application(state)))
        if change is None:
            return head.version
        after = tables.commit(state, table, head, change)
        if after is None:  # read what the other publisher did
            head = tables.head(table, head.version)
            continue
        published.commits[table] = published.commits.get(table, 0) + 1
        head = after


def _change(state: LakeState, manifests: _Manifests, table: str, manifest_number: int | None) -> TableChange | None:
    """Return the next change of a table that includes the lake up to a manifest; None if it is up to date.

    A table without any files of the lake gets all of them. Otherwise consecutive manifests are combined while all of
    them add rows, or none does; and further if a file that the commit would name may be gone by now.
    """
    change = TableChange()
    if manifest_number is None:
        change.take(
            manifests.at(state.number), [file for file in state.files.values() if table_of(file.path) == table], ()
        )
        change.upto = state.upto
        change.is_data = True
        return change if change.added else None
    for manifest in manifests.behind(manifest_number):
        added = [file for file in manifest.added if table_of(file.path) == table]
        removed = [path for path in manifest.removed if table_of(path) == table]
        if not added and not removed:
            continue
        is_there = all(path in state.files or path in state.replaced for path in change.added)
        if change.number and change.is_data != isinstance(manifest.plan, Write) and is_there:
            break
        change.take(manifest, added, removed)
    return change if change.number else None


# ---- position of all tables


def _progress_name(format_: str) -> str:
    return f"manifest/{format_}.json"


def _progress(objects: RetriedObjects, format_: str) -> tuple[_Progress, str | None]:
    """Return the position of all tables, and the version of its object; an empty position if it is damaged."""
    stored = objects.get(_progress_name(format_))
    if stored is None:
        return _Progress(), None
    try:
        return from_json(stored.data, type=_Progress), stored.version
    except ValueError:
        return _Progress(), stored.version
