"""A lake published in a table format, so that plain readers of the format see each row once.

Each kind of rows of each event type is one table, of the files in one folder: `events/type=payment`, `labels`. The
manifests stay the truth. A commit of a table says what a finished manifest changed in it; one that is behind takes
several at once, but keeps new rows and compactions apart, so a stream of the table gets each row once, too. With each
commit goes how far the table is: the number of its last manifest, and the sequence number up to which it has the log.
So a publisher that was killed is followed by one that reads how far the table is, and of several publishers one wins
and the others look again.

    manifest/delta.json      how far all tables of a format are: it spares reading, and losing it does no harm

What a table of each format is stands in `lake.delta`, and with the adapters.
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
        tables: What the tables are called.
        manifest: The last manifest that the tables have now.
        versions: The version of each table that was looked at.
        commits: How many commits each table got.
        problems: What could not be published, in sentences.
    """

    tables: str = ""
    manifest: int = 0
    versions: dict[str, int] = {}
    commits: dict[str, int] = {}
    problems: list[str] = []


class TableStoppedError(StateError):
    """A table that cannot go on: it stays as it is until somebody removes it."""


class TablesAwayError(TransientError):
    """Tables that are kept outside the lake, and cannot be reached or written. The lake itself goes on."""


class TableNote(FrozenStruct):
    """Note of a commit for the next one: the columns of the table, and their versions.

    Args:
        schemas: The marks of the files' schemas (`File.schema`) that the table's columns cover.
        schema_at: The version with the newest columns.
    """

    schemas: Sequence[str] = ()
    schema_at: int = 0

    def unknown(self, objects: RetriedObjects, files: Iterable[File]) -> list[tuple[File, pa.Schema]]:
        """A file of each schema that the columns do not cover, with its columns, in the order of their marks."""
        found = {file.schema: file for file in files if file.schema not in self.schemas}
        return [(found[mark], opened(objects, found[mark]).schema_arrow) for mark in sorted(found)]


class TableHead(FrozenStruct):
    """The last commit of a table: its version, -1 where there is none, and how far each lake is."""

    version: int = -1
    transactions: Mapping[str, int] = field(default_factory=dict)
    note: TableNote = field(default_factory=TableNote)


class TableChange(Struct):
    """Change of a table by a commit.

    Args:
        number: The last manifest that it takes, planned at `at_ms`.
        upto: The sequence number up to which the table has the log then; 0 where that does not change.
        is_data: Whether it is more than putting files together.
    """

    number: int = 0
    at_ms: int = 0
    upto: int = 0
    added: dict[str, File] = {}
    removed: list[str] = []
    is_data: bool = False

    def take(self, manifest: Manifest, added: Sequence[File], removed: Sequence[str]) -> None:
        """Add what a manifest changes in the table."""
        self.number = manifest.number
        self.at_ms = manifest.at_ms
        if isinstance(manifest.plan, Write):
            self.upto = manifest.plan.upto
            self.is_data = True
        self.removed += [path for path in removed if self.added.pop(path, None) is None]
        self.added |= {file.path: file for file in added}

    def transactions(self, state: LakeState, head: TableHead) -> dict[str, int]:
        """How far each lake is with this change, by the names of its transactions, in their order."""
        found = {**head.transactions, application(state): self.number}
        if self.upto:
            found[f"{application(state)}-seq"] = self.upto
        return dict(sorted(found.items()))


class TableFormat(Protocol):
    """A table format, and where its tables are.

    Both calls raise `TableStoppedError` where a table cannot go on, `TablesAwayError` where tables outside the lake
    cannot be reached, and StorageError where the lake cannot be.
    """

    @property
    def name(self) -> str:
        """Tells it from other formats and other places of tables: letters, digits, `-` and `_`."""

    @property
    def title(self) -> str:
        """Name of its tables, for people."""

    def head(self, table: str, known: int) -> TableHead:
        """The last commit of a table as it is now, where a version was seen before; -1 where none was."""

    def commit(self, state: LakeState, table: str, head: TableHead, change: TableChange) -> TableHead | None:
        """Commit a change behind a head, whole or not at all; None where another publisher was quicker."""

    def trouble(self) -> str:
        """Why nothing can be published now, in a sentence; empty where it can."""


def table_of(path: str) -> str:
    """The folder of the table that has a file: `events/type=payment`."""
    return path.rsplit("/", 2)[0]


def partition_of(path: str) -> dict[str, str]:
    """The columns that the folders of a file name, and their values: its event type and its day.

    The type is one of them although it is the same in all of a table: Polars reads it from the path in any case.
    """
    parts = (part.partition("=") for part in path.split("/")[:-1])
    return {name: value for name, is_named, value in parts if is_named}


def application(state: LakeState) -> str:
    """The committer's name in the transactions of a table: this lake's log."""
    return f"shroff-lake-{state.log}"


def publish(objects: RetriedObjects, state: LakeState, tables: TableFormat, *, is_thorough: bool = False) -> Published:
    """Bring the tables of a lake to the manifests of a state.

    Args:
        is_thorough: Look at every table, also where all were up to date before: one may have been removed since.

    Raises: StorageError where the lake cannot be read or written; TablesAwayError where tables outside of it cannot be.
    Cost: one small object where nothing is new; else one more for each new manifest, the head of each table, and a
        commit for each table that changed. A file with columns that the table lacks is fetched once.
    """
    progress, version = _progress(objects, tables.name)
    found = Published(tables.title, state.number)
    if state.number <= progress.manifest and not is_thorough:
        return found
    manifests = _Manifests(objects, state, progress.manifest)
    problems: dict[str, str] = {}
    for table in sorted({table_of(path) for path in state.files} | progress.versions.keys()):
        try:
            found.versions[table] = _bring(tables, state, manifests, table, progress, found)
        except TableStoppedError as error:
            problems[table] = str(error)
    found.problems += problems.values()
    after = _Progress(max(state.number, progress.manifest), found.versions, problems)
    if after != progress:
        # Keep how far all tables are. Another publisher may have been quicker, which is fine.
        data = to_json(after) + b"\n"
        if version is None:
            objects.put(_progress_name(tables.name), data)
        else:
            objects.replace(_progress_name(tables.name), data, version)
    return found


def stopped_tables(objects: RetriedObjects, formats: Iterable[str]) -> list[str]:
    """Which tables of a lake could not go on, and why, in sentences."""
    return [problem for name in formats for problem in _progress(objects, name)[0].problems.values()]


class _Manifests:
    """The finished manifests of a lake behind a number, each read once, when it is first asked for."""

    def __init__(self, objects: RetriedObjects, state: LakeState, since: int) -> None:
        self._objects = objects
        self._state = state
        self._since = since
        self._read: dict[int, Manifest] = {}

    def behind(self, number: int) -> list[Manifest]:
        """Those behind a number, and behind what all tables have, up to the state's."""
        return [self.at(at) for at in range(max(number, self._since) + 1, self._state.number + 1)]

    def at(self, number: int) -> Manifest:
        if number not in self._read:
            found = read_manifest(self._objects, number)
            if found is None:
                raise damaged(self._objects, f"manifest {number:,}", "it is not there")
            self._read[number] = found[0]
        return self._read[number]


class _Progress(FrozenStruct):
    """How far the tables of a lake are, the version at which each was seen, and why some stay behind."""

    manifest: int = 0
    versions: Mapping[str, int] = {}
    problems: Mapping[str, str] = {}


def _bring(
    tables: TableFormat, state: LakeState, manifests: _Manifests, table: str, progress: _Progress, found: Published
) -> int:
    """Bring one table to the state; gives its version then."""
    head = tables.head(table, progress.versions.get(table, -1))
    while True:
        if head.version >= 0 and table in progress.problems:
            raise TableStoppedError(progress.problems[table])
        change = _change(state, manifests, table, head.transactions.get(application(state)))
        if change is None:
            return head.version
        after = tables.commit(state, table, head, change)
        if after is None:  # look what the other publisher did
            head = tables.head(table, head.version)
            continue
        found.commits[table] = found.commits.get(table, 0) + 1
        head = after


def _change(state: LakeState, manifests: _Manifests, table: str, at: int | None) -> TableChange | None:
    """The next change of a table that has the lake up to a manifest; None where it lacks nothing.

    A table that has nothing of the lake lacks all its files. Else manifests go together as long as all of them bring
    rows, or none does; and on, where a file that the commit would name may be gone by now.
    """
    change = TableChange()
    if at is None:
        change.take(
            manifests.at(state.number), [file for file in state.files.values() if table_of(file.path) == table], ()
        )
        change.upto = state.upto
        change.is_data = True
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


# ---- how far all tables are


def _progress_name(format_: str) -> str:
    return f"manifest/{format_}.json"


def _progress(objects: RetriedObjects, format_: str) -> tuple[_Progress, str | None]:
    """How far all tables are, and the version of the object that says it; nothing where it is damaged."""
    found = objects.get(_progress_name(format_))
    if found is None:
        return _Progress(), None
    try:
        return from_json(found.data, type=_Progress), found.version
    except ValueError:
        return _Progress(), found.version
