"""A log in MariaDB as a stream of bytes, by `mariadb-dump` and `mariadb`."""

# ruff: noqa: S608 - the names put into SQL are checked ones

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pymysql

from shroff.adapters.databases.dump_tools import UNFINISHED, ClientPrograms, check_removable, dumped, feed
from shroff.adapters.databases.mariadb_errors import mariadb_error
from shroff.adapters.databases.mariadb_session import MARK, VERSION, MariadbSession, connection
from shroff.adapters.databases.server_url import ServerUrl
from shroff.adapters.log.lease import alone
from shroff.errors import LogBusyError

PROGRAMS: Final = ClientPrograms("MariaDB", "mariadb-client", re.compile(r"(\d+)\.\d+\.\d+-MariaDB"))
_WHOLE: Final = "version"  # the table that says that the others are whole: the last one in a dump
_BEGUN: Final = b"CREATE TABLE"  # behind the snapshot, and the position in the binary log
_POSITION: Final = re.compile(rb"^-- CHANGE MASTER TO MASTER_LOG_FILE='([^']+)', MASTER_LOG_POS=(\d+)", re.MULTILINE)
# Each commit waits while a dump begins, some 30 ms: a process that is stopped there loses its lock after 10 s.
_SETTINGS: Final = "SET SESSION lock_wait_timeout = 30, wait_timeout = 10"

Asking = Callable[..., Sequence[Any]]


class MariadbDump:
    """Keeps the promises of `app.backups.server_logs.DumpTool`.

    Args:
        tools: The folder of `mariadb-dump` and `mariadb`; by default they are found on PATH.
    """

    kind = "mariadb"
    version = VERSION
    others = "binary log (log_bin, mariadb-binlog)"

    def __init__(self, url: ServerUrl, tools: Path | None) -> None:
        self._url, self._tools = url, tools
        self.place, self.tables = url.place, url.name("prefix", "shroff_")
        self._variables = {"MYSQL_PWD": url.password}

    @contextmanager
    def dump(self) -> Iterator[tuple[int, str, str, Iterator[bytes]]]:
        with self._asking() as ask:
            path, made_by = self._tool("mariadb-dump", ask)
            ask(_SETTINGS)
            names = [name for name in self._names(ask) if name not in {self._name(_WHOLE), self._name(MARK)}]
            ((has_binary_log,),) = ask("SELECT @@log_bin")
            words = [path, *self._signing_in(ask), "--single-transaction", "--quick", "--no-tablespaces"]
            words += ["--skip-add-drop-table", "--skip-add-locks", "--skip-disable-keys", "--skip-triggers"]
            words += ["--skip-dump-date", *(["--master-data=2"] if has_binary_log else [])]
            words += [self._url.database, *names, self._name(_WHOLE)]
            pieces = dumped(words, self._variables, self._url.password, _BEGUN)
            held = [f"`{name}`" for name in map(self._name, ("events", "event_frames")) if name in names]
            ask(f"LOCK TABLES {' READ, '.join(held)} READ")  # until the snapshot is there, so that its end is known
            seq = max(ask(f"SELECT coalesce(max(seq), 0) FROM {name}")[0][0] for name in held)
            head = next(pieces, b"")
            ask("UNLOCK TABLES")
        found = _POSITION.search(head)
        position = f"{found[1].decode()}:{found[2].decode()}" if found else ""
        with closing(pieces):
            yield seq, made_by, position, chain([head], pieces)

    @contextmanager
    def emptied(self, *, again: bool) -> Iterator[None]:
        with ExitStack() as kept:
            with self._failing():
                ask = _asker(kept.enter_context(closing(connection(self._url))))
                self._tool("mariadb", ask)
                lock = f"shroff restore {self.tables} {self._url.database}"[:64]
                ((is_free,),) = ask("SELECT GET_LOCK(%s, 0)", (lock,))
                if not is_free:
                    raise LogBusyError(f"{self.place}: another restore into it is running")
                if names := self._names(ask):
                    what = f"it has tables that begin with {self.tables!r}"
                    found = [name.removeprefix(self.tables) for name in names if name != self._name(MARK)]
                    check_removable(self.place, found, what, is_left=self._name(MARK) in names, again=again)
                    ask(_dropping(names))
            yield

    def load(self, pieces: Iterable[bytes], holds: Sequence[object]) -> int:
        with self._asking() as ask:
            path, _ = self._tool("mariadb", ask)
            # A dump that somebody altered is SQL all the same: in binary mode the program takes no other command.
            words = [path, *self._signing_in(ask), "--batch", "--binary-mode", self._url.database]
            ask(f"CREATE TABLE `{self._name(MARK)}` (at_ms BIGINT) COMMENT '{UNFINISHED}'")
        try:
            feed(words, self._variables, self._url.password, pieces)
        except BaseException:
            with self._asking() as ask:
                ask(_dropping(self._names(ask)))
            raise
        with self._asking() as ask:
            letters = self._name("notice_letters")
            if letters not in self._names(ask):
                return 0
            ask(f"UPDATE `{letters}` SET state = %s, reason = %s, claimed_ms = 0 WHERE state = %s", holds)
            ((count,),) = ask("SELECT ROW_COUNT()")
            return int(count)

    def versions(self, tables: Sequence[str]) -> dict[str, int]:
        with self._asking() as ask:
            there = set(self._names(ask))
            sql = "SELECT coalesce(max(number), 0) FROM `{}`"
            names = {table: self._name(table) for table in tables if self._name(table) in there}
            return {one: ask(sql.format(name))[0][0] for one, name in names.items()}

    def alone(self) -> AbstractContextManager[None]:
        return alone(self.place, partial(MariadbSession, self._url))

    def finish(self) -> None:
        with self._asking() as ask:
            ask(f"DROP TABLE `{self._name(MARK)}`")

    def _name(self, table: str) -> str:
        return f"{self.tables}{table}"

    def _names(self, ask: Asking) -> list[str]:
        """All tables of the log, and those of others that begin as they do."""
        sql = (
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() "
            "AND left(table_name, %s) = %s ORDER BY table_name"
        )
        return [name for (name,) in ask(sql, (len(self.tables), self.tables))]

    def _tool(self, name: str, ask: Asking) -> tuple[str, str]:
        ((version,),) = ask("SELECT version()")
        return PROGRAMS.found(name, self._tools, int(version.partition(".")[0]), self.place)

    def _signing_in(self, ask: Asking) -> list[str]:
        """How a program connects: as the log does, whatever the option files of this machine say.

        Where the log verifies a certificate but not the name in it, the programs verify both: they have no such mode.
        """
        url = self._url
        words = ["--no-defaults", "--protocol=tcp", f"--host={url.host}", f"--port={url.port}", f"--user={url.user}"]
        words += ["--default-character-set=utf8mb4", "--max-allowed-packet=1G"]
        ((_, cipher),) = ask("SHOW SESSION STATUS LIKE 'ssl_cipher'")
        if not cipher:  # which the address allows
            return [*words, "--skip-ssl"]
        files = {one: url.options[one] for one in ("ssl_ca", "ssl_cert", "ssl_key") if one in url.options}
        if url.ssl_mode not in {"verify-ca", "verify-full"}:
            files.pop("ssl_ca", None)
            words.append("--skip-ssl-verify-server-cert")
        else:
            if (trusted := ssl.get_default_verify_paths().cafile) is not None:
                files.setdefault("ssl_ca", trusted)
            words.append("--ssl-verify-server-cert")
        return [*words, "--ssl", *(f"--{name.replace('_', '-')}={path}" for name, path in files.items())]

    @contextmanager
    def _asking(self) -> Iterator[Asking]:
        """A connection that gives the rows of a statement. Raises: as `_failing`."""
        with self._failing(), closing(connection(self._url)) as opened:
            yield _asker(opened)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Raises: what a failure of MariaDB means, instead of it."""
        try:
            yield
        except (pymysql.Error, OSError) as error:
            raise mariadb_error(error, self.place, self._url.user) from error


def _asker(opened: Any) -> Asking:
    def ask(sql: str, values: Sequence[object] = ()) -> Sequence[Any]:
        with opened.cursor() as cursor:
            cursor.execute(sql, values or None)
            found: Sequence[Any] = cursor.fetchall()
            return found

    return ask


def _dropping(names: Sequence[str]) -> str:
    """The statement that removes tables, of which the mark is the last."""
    marks = [name for name in names if name.endswith(MARK)]
    ordered = [*(name for name in names if name not in marks), *marks]
    return f"DROP TABLE IF EXISTS {', '.join(f'`{one}`' for one in ordered)}"
