"""Migrates a project's tables to this program's version: planned first, after a backup, safe to kill."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from shroff.adapters.databases.sqlite_file import APPLICATION_ID, WriterLock, storage_error
from shroff.adapters.documents import PART as DOCUMENTS
from shroff.adapters.jobs.sql import PART as JOBS
from shroff.adapters.log.connection.sqlite import VERSION as LOG_VERSION
from shroff.adapters.log.sqlite import SqliteLog
from shroff.errors import StorageError
from shroff.log.key_index import KEYED
from shroff.notices.sql import PART as NOTICES
from shroff.people.sql import VERSION as PEOPLE_VERSION
from shroff.runtime.values import FrozenStruct, replace
from shroff.services.adapter_factory import AdapterFactory
from shroff.services.backups.project_files import LOG_FILE, has_log
from shroff.services.backups.retention import writer_of
from shroff.services.backups.server_logs import dump_tool
from shroff.services.project_files import checked
from shroff.streams.log import Batch, Offset

if TYPE_CHECKING:
    from pathlib import Path

    from shroff.services.backups.vault import Vault
    from shroff.services.context import ProjectContext
    from shroff.streams.log import Log

LOG = "log"
PARTS = {part.name: part for part in (NOTICES, JOBS, DOCUMENTS)}
KNOWN = {LOG: LOG_VERSION, "people": PEOPLE_VERSION, **{name: part.version for name, part in PARTS.items()}}


class TableVersion(FrozenStruct):
    """Version of one set of tables in a database, and the version that this program writes.

    Args:
        is_unindexed: The index of ids or of keys is damaged.
    """

    database: str
    part: str
    found: int
    known: int
    is_unindexed: bool = False

    @property
    def action(self) -> str:
        """`none`, `migrate`, `index` for ids; `refuse` for newer tables."""
        if self.found == self.known:
            return "index" if self.is_unindexed else "none"
        return "migrate" if self.found < self.known else "refuse"


def plan(context: ProjectContext, *, is_compared: bool = False) -> list[TableVersion]:
    """List the versions of all tables of a project. Changes nothing.

    Args:
        is_compared: Also look up each event in the index of ids: 2 µs per event.

    Raises: DefinitionError if this program rejects the project's files; StorageError if a database cannot be read; as
        `dump_tool`.
    """
    checked(context)
    if context.systems.store is not None:
        return _versions_of(context, is_compared=is_compared)
    return _versions(context.paths.folder / LOG_FILE, is_compared=is_compared) if has_log(context.paths.folder) else []


def apply(context: ProjectContext, vault: Vault, planned: list[TableVersion]) -> int | None:
    """Back up, then migrate; return the number of the backup, None if nothing was due.

    Each set of tables is migrated in its own transaction, so a killed call leaves each set old or new, and the next
    call migrates the rest. Then the index of ids is rebuilt if due, in one transaction; the next writer rebuilds the
    index of keys.

    Raises: StorageError for tables of a newer program; LogBusyError while a worker or service runs; as `plan` and
        `writer_of`. Nothing is changed then.
    """
    newer = [
        f"{version.database}: {version.part} version {version.found}"
        for version in planned
        if version.action == "refuse"
    ]
    if newer:
        raise StorageError(
            f"a newer shroff wrote these tables: {', '.join(newer)}. Install that version or a newer one, or restore "
            "a backup from before it with 'shroff restore'"
        )
    actions = {version.action for version in planned}
    due = {version.part for version in planned if version.action in {"migrate", "index"}}
    if not due:
        return None
    log_file = context.paths.folder / LOG_FILE
    with ExitStack() as resources:
        if context.systems.store is not None:
            resources.enter_context(dump_tool(context).alone())
        else:
            resources.callback(WriterLock(log_file.with_suffix(".lock"), guards=log_file).release)
        with writer_of(context, vault) as writer:
            writer.create()
    with closing(AdapterFactory(context).open_store(read_only=False)) as log:
        if "index" in actions:  # before keys are removed: a kill in between leaves too many in the index, never too few
            log.append(Batch(offsets=[Offset(KEYED, "", "{}")]))
        getattr(log, "index_again", int)()
    with closing(AdapterFactory(context).open_people()) as people:
        for name in sorted({"people", *PARTS} & due):
            with people.look_beside(PARTS.get(name)):
                pass
    return vault.numbers()[-1]


def _versions_of(context: ProjectContext, *, is_compared: bool) -> list[TableVersion]:
    tool = dump_tool(context)
    tables = {part: "version" if part == LOG else f"{part}_version" for part in KNOWN}
    found = tool.versions(list(tables.values()))
    known = {**KNOWN, LOG: tool.version}
    versions = [TableVersion(LOG, part, found[tables[part]], known[part]) for part in KNOWN if tables[part] in found]
    read = partial(AdapterFactory(context).open_store, read_only=True)
    return _looked_at(versions, tool.version, read, is_compared=is_compared)


def _versions(path: Path, *, is_compared: bool) -> list[TableVersion]:
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)) as connection:
            (owner,) = connection.execute("PRAGMA application_id").fetchone()
            if owner != APPLICATION_ID:
                raise StorageError(f"{path} is a database, but not a log of shroff")
            found = {LOG: connection.execute("PRAGMA user_version").fetchone()[0]}
            for part in KNOWN.keys() - {LOG}:
                table = f"{part}_version"
                if connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
                    found[part] = connection.execute(f"SELECT max(number) FROM {table}").fetchone()[0] or 0  # noqa: S608 - ours
    except sqlite3.Error as error:
        raise storage_error(error, path) from error
    versions = [TableVersion(LOG_FILE, part, found[part], known) for part, known in KNOWN.items() if part in found]
    return _looked_at(versions, LOG_VERSION, partial(SqliteLog, path, read_only=True), is_compared=is_compared)


def _looked_at(
    versions: list[TableVersion], known: int, read: Callable[[], Log], *, is_compared: bool
) -> list[TableVersion]:
    """Add whether the log's index is damaged, if the log has this program's version."""
    if known not in [version.found for version in versions if version.part == LOG]:
        return versions
    with closing(read()) as log:  # a log of another package need not have these
        is_unindexed = bool(getattr(log, "ids_lost", lambda _: "")(0 if is_compared else None))
    return [replace(version, is_unindexed=is_unindexed) if version.part == LOG else version for version in versions]
