"""Backups of projects whose log is in a database server: by the server's own program, always full."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from shroff import config
from shroff.app.adapter_factory import store_adapter
from shroff.app.backups.creation import BackupWriter, StoredNow
from shroff.app.backups.vault import SERVER_FORMAT, BackedUpDatabase, BackupPoint, DumpedLog, Vault
from shroff.errors import UsageError
from shroff.notices.store import OPEN, UNKNOWN
from shroff.runtime.progress import Progress

if TYPE_CHECKING:
    from shroff.app.context import ProjectContext

LOG: Final = "log"


class DumpTool(Protocol):
    """The backup programs of a database server, for the tables of one log.

    `kind` is the kind of log, `version` that of the tables as this program writes them, `place` the address without
    credentials, `tables` its schema or prefix, and `others` names the server's own means to ship changes.
    """

    kind: str
    version: int
    place: str
    tables: str
    others: str

    def dump(self) -> AbstractContextManager[tuple[int, str, str, Iterator[bytes]]]:
        """One moment of the log: its last `seq`, the program's version, the position in the server's own record of
        changes (empty where there is none), and the bytes, which are still to be read.

        Raises: UsageError where the program is missing, or older than the server; StorageError where it fails, also
            after the last byte.
        """

    def emptied(self, *, again: bool) -> AbstractContextManager[None]:
        """Keep the database for one restore, and see that there are no tables.

        Args:
            again: Remove those that an interrupted restore left: marked, of ours alone, and never opened as a log.

        Raises: UsageError where tables are there; LogBusyError where another restore runs; as `dump`.
        """

    def load(self, pieces: Iterable[bytes], holds: Sequence[object]) -> int:
        """Restore a log whole or not at all, then hold open letters; gives how many.

        Args:
            holds: State and reason of held letters, and the state of open ones.
        """

    def versions(self, tables: Sequence[str]) -> dict[str, int]:
        """The greatest `number` in each of these tables that is there."""

    def alone(self) -> AbstractContextManager[None]:
        """Keep other processes from leading the log, whose tables stay as they are. Raises: LogBusyError."""

    def finish(self) -> None:
        """Say that the restored log is in use from now on, and no more what an interrupted restore left."""


class ServerBackupWriter(BackupWriter):
    """Makes the backups of a project whose log is in a database server. Each is a full one."""

    format = SERVER_FORMAT

    def _tail(self, last: BackupPoint) -> tuple[bool, BackupPoint | None]:
        return False, None  # what changed is not known

    def _full(self, tail_every_s: float | None, made: Callable[[BackupPoint], object]) -> BackupPoint:
        """The log as it is when this begins, with the project's files of that moment.

        Raises: as `BackupWriter.create` and `DumpTool.dump`.
        """
        at_ms, before, kept = self._moment_ms(), self._vault.stored, dict[str, BackedUpDatabase]()
        with ExitStack() as held:
            with config.editing(self._context.paths):
                tools = dump_tools(self._context)
                begun = {name: held.enter_context(tool.dump()) for name, tool in tools.items()}
                files, secrets = self._scan({})
            pool = held.enter_context(ThreadPoolExecutor(len(begun)))  # a server waits a minute for its reader
            stored = pool.map(self._vault.put_all, [pieces for *_, pieces in begun.values()])
            for (name, (last_seq, made_by, position, _)), whole in zip(begun.items(), stored, strict=True):
                dump = DumpedLog(tools[name].kind, tools[name].tables, made_by, position)
                kept[name] = BackedUpDatabase(0, 0, ("", 0, ""), whole, [], last_seq, dump)
        return self._add(StoredNow(at_ms, kept, files, secrets), self._vault.stored - before, is_full=True)


def dump_tools(context: ProjectContext) -> dict[str, DumpTool]:
    """The programs for each log of a project. Raises: UsageError where there are none for its kind."""
    assert context.systems.store is not None, "asked for a log in a server"
    url = config.filled(context.systems.store.text("url"), "store")
    return {LOG: _tool(url, tools_folder(context))}


def restored_tools(point: BackupPoint, folder: Path, url: str | None, tools: Path | None) -> dict[str, DumpTool]:
    """The programs that restore the logs of a point.

    Args:
        folder: The project's files, whose settings are the default.
        url: The database, with `${NAME}` for what the environment has to say.
        tools: The folder of the programs.

    Raises: UsageError where no database is named, or it is of another kind.
    """
    from shroff.app.context import ProjectContext

    context = ProjectContext(config.ProjectPaths(folder))
    if url is None:
        store = context.systems.store
        url = None if store is None else store.text("url")
    dumps = {name: database.dump for name, database in point.databases.items() if database.dump is not None}
    if not dumps or url is None:
        raise UsageError(
            "this backup is of a log in a file, which needs no --store."
            if url is not None and not dumps
            else "this backup is of a log in a database server. Name an empty database with --store."
        )
    if urlsplit(url).password and "${" not in (urlsplit(url).password or ""):
        raise UsageError("--store has a password. Write ${NAME} instead, and set that environment variable.")
    filled, found = config.filled(url, "store"), dict[str, DumpTool]()
    for name, dump in dumps.items():
        found[name] = tool = _tool(filled, tools or tools_folder(context))
        if (tool.kind, tool.tables) != (dump.kind, dump.tables):
            raise UsageError(
                f"the backup is of tables {dump.tables} in {dump.kind}, and {tool.place} is of tables {tool.tables} "
                f"in {tool.kind}. Name a database of that kind, with the same schema or prefix."
            )
    return found


def tools_folder(context: ProjectContext) -> Path | None:
    """The folder of the programs that the settings name."""
    settings = context.systems.backup
    named = "" if settings is None else settings.text("tools")
    return context.paths.folder / config.filled(named, "backup") if named else None


def restore_log(tool: DumpTool, vault: Vault, database: BackedUpDatabase, reason: str, progress: Progress) -> int:
    """Restore one log; gives how many letters are held."""

    def pieces() -> Iterator[bytes]:
        for data in vault.contents(database.whole or ()):
            yield data
            progress(1)

    return tool.load(pieces(), (UNKNOWN, reason, OPEN))


def _tool(url: str, tools: Path | None) -> DumpTool:
    adapter = store_adapter(url)
    make = getattr(adapter, "dump_tool", None)
    if make is None:
        raise UsageError(
            "the log of this project is in a database server that 'shroff backup' does not copy. Use its own program, "
            "and copy the project's folder beside."
        )
    found: DumpTool = make(url, tools)
    return found
