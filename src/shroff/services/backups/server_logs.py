"""Backups of logs in a database server, with the server's dump tool. Each is a full one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shroff import config
from shroff.errors import UsageError
from shroff.notices.store import OPEN, UNKNOWN
from shroff.runtime import environment
from shroff.runtime.progress import Progress
from shroff.services.adapter_factory import store_adapter
from shroff.services.backups.creation import BackupWriter, StoredNow
from shroff.services.backups.vault import SERVER_FORMAT, BackedUpLog, BackupPoint, DumpedLog, Vault

if TYPE_CHECKING:
    from shroff.adapters.databases.postgres_dump import PostgresDump
    from shroff.services.context import ProjectContext


class ServerBackupWriter(BackupWriter):
    """Creates full backups of a project whose log is in a database server."""

    format = SERVER_FORMAT

    def _tail(self, last: BackupPoint) -> tuple[bool, BackupPoint | None]:
        return False, None  # changes are not known

    def _full(self, tail_every_s: float | None, made: Callable[[BackupPoint], object]) -> BackupPoint:
        """Dump the log as it is at the start of the call, with the project's files of that moment.

        Raises: as `BackupWriter.create` and `PostgresDump.dump`.
        """
        at_ms, before = self._moment_ms(), self._vault.stored
        tool = dump_tool(self._context)
        with ExitStack() as stack:
            with config.editing(self._context.paths):
                last_seq, made_by, position, pieces = stack.enter_context(tool.dump())
                files, secrets = self._scan({})
            whole = self._vault.put_all(pieces)
        dump = DumpedLog(tool.kind, tool.tables, made_by, position)
        log = BackedUpLog(0, 0, ("", 0, ""), whole, [], last_seq, dump)
        return self._add(StoredNow(at_ms, log, files, secrets), self._vault.stored - before, is_full=True)


def dump_tool(context: ProjectContext) -> PostgresDump:
    """Return the dump tool for a project's log. Raises: UsageError if its kind has none."""
    assert context.systems.store is not None, "asked for a log in a server"
    url = environment.fill_variables(context.systems.store.text("url"), "store")
    return _tool(url, tools_folder(context))


def restored_tool(point: BackupPoint, folder: Path, url: str | None, tools: Path | None) -> PostgresDump:
    """Return the tool that restores the log of a point.

    Args:
        folder: The project's files, whose settings are the default.
        url: The database, with `${NAME}` for environment variables.
        tools: The folder of the dump programs.

    Raises: UsageError if no database is named, or it is of another kind.
    """
    from shroff.services.context import ProjectContext

    context = ProjectContext(config.ProjectPaths(folder))
    if url is None:
        store = context.systems.store
        url = None if store is None else store.text("url")
    dump = point.log.dump if point.log else None
    if dump is None or url is None:
        raise UsageError(
            "this backup is of a log in a file, which needs no --store."
            if url is not None
            else "this backup is of a log in a database server. Name an empty database with --store."
        )
    if urlsplit(url).password and "${" not in (urlsplit(url).password or ""):
        raise UsageError("--store has a password. Write ${NAME} instead, and set that environment variable.")
    tool = _tool(environment.fill_variables(url, "store"), tools or tools_folder(context))
    if (tool.kind, tool.tables) != (dump.kind, dump.tables):
        raise UsageError(
            f"the backup is of tables {dump.tables} in {dump.kind}, and {tool.place} is of tables {tool.tables} "
            f"in {tool.kind}. Name a database of that kind, with the same schema or prefix."
        )
    return tool


def tools_folder(context: ProjectContext) -> Path | None:
    settings = context.systems.backup
    named = "" if settings is None else settings.text("tools")
    return context.paths.folder / environment.fill_variables(named, "backup") if named else None


def restore_log(tool: PostgresDump, vault: Vault, database: BackedUpLog, reason: str, progress: Progress) -> int:
    def pieces() -> Iterator[bytes]:
        for data in vault.contents(database.whole or ()):
            yield data
            progress(1)

    return tool.load(pieces(), (UNKNOWN, reason, OPEN))


def _tool(url: str, tools: Path | None) -> PostgresDump:
    adapter = store_adapter(url)
    make = getattr(adapter, "dump_tool", None)
    if make is None:
        raise UsageError(
            "the log of this project is in a database server that 'shroff backup' does not copy. Use its own program, "
            "and copy the project's folder beside."
        )
    tool: PostgresDump = make(url, tools)
    return tool
