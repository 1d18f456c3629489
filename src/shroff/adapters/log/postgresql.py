"""The log in one schema of a PostgreSQL database, for workers and readers on several machines.

Its tables are in `log_postgres.sql`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from shroff.adapters.databases.server_url import ServerUrl, server_url
from shroff.adapters.log.batch_rows import BatchRows
from shroff.adapters.log.ids.id_index import IdIndex
from shroff.adapters.log.key_parts import KeyParts
from shroff.adapters.log.lease import LEASE_S
from shroff.adapters.log.rows import APPEND_STEPS, RowTable, digest
from shroff.adapters.log.server_connection import ServerConnection
from shroff.errors import StateError, StorageError, UsageError
from shroff.runtime.progress import unheard
from shroff.streams.batch_check import next_pruned
from shroff.streams.log import PRUNED_AT_ONCE, Batch, Reply

try:
    from shroff.adapters.databases.postgres_errors import CollisionError
    from shroff.adapters.databases.postgres_session import WORDING, PostgresSession
    from shroff.adapters.databases.postgres_tables import (
        VERSION,
        check_durable,
        known_version,
        make_tables,
        size_bytes,
        there_is_a_log,
    )
    from shroff.adapters.databases.postgres_values import column
except ModuleNotFoundError:
    raise UsageError("PostgreSQL needs the extra 'postgres': pip install 'shroff[postgres]'.") from None

if TYPE_CHECKING:
    from shroff.adapters.databases.postgres_dump import PostgresDump

PORT = 5432
OPTIONS = ("schema", "sslmode", "sslrootcert", "sslcert", "sslkey")
STEPS = APPEND_STEPS
_IDS_AT_ONCE = 4_096
_REQUEST = (
    "WITH next AS (UPDATE inbox_number SET number = number + 1 RETURNING number) "
    "INSERT INTO inbox (number, kind, body, at_ms) SELECT number, ?, ?, ? FROM next RETURNING number"
)
_REPLY = (
    "UPDATE inbox SET body = '', reply = r.reply FROM unnest(?, ?) AS r (reply, number) "
    "WHERE inbox.number = r.number AND inbox.reply IS NULL"
)
_Given = TypeVar("_Given")


class PostgresLog(BatchRows):
    """The event log in PostgreSQL: for a worker and its standby on different machines, and for many readers.

    Keeps every promise of `streams.log.Log`. One process leads: it has a lease of `lease_s` seconds, which a thread
    renews, and each of its transactions commits only while it leads. A second writer gets `LogBusyError` at once. If
    the leader hangs or is gone, the lease runs out, and the next writer takes over within seconds. An open log needs a
    session of its own: connect to the server, or to a pooler in session mode.

    An id may have up to 2,000 bytes; validation accepts only shorter ones.
    """

    def __init__(
        self, url: str, *, read_only: bool = False, on_step: Callable[[str], None] = unheard, lease_s: float = LEASE_S
    ) -> None:
        """Open the log; a writer creates missing tables.

        Args:
            url: `postgresql://user:password@host:port/database?schema=shroff&sslmode=verify-full`. The schema is
                `shroff` by default. Unless `sslmode` says otherwise, a server on another machine needs a certificate
                that this machine or `sslrootcert` trusts.
            read_only: Read while another process writes; only `ask` changes anything.
            on_step: Called with each of `STEPS` once `append` has done it. An error that it raises before the commit
                undoes the batch.
            lease_s: Seconds without a renewal after which another process may take over.

        Raises: LogBusyError if another process writes it; TransientError if the server cannot be reached; StorageError
            if the server refuses, or the schema has other tables; UsageError if the address is invalid.
        """
        super().__init__(self._store_request)
        address = _read(url)
        self.place = address.place
        self.epoch = 0
        self.wording = WORDING
        self._read_only = read_only
        self._is_counted = read_only
        self._on_step = on_step
        self._end = None
        self._pruned = 0
        self._is_pruned_known = True
        self._connection = ServerConnection(address.place, partial(PostgresSession, address), lease_s)
        tables = self.wording, self.select, self.select_by_ids, self.put, self.execute
        self._ids = IdIndex(*tables, self._damaged_ids, is_writer=not read_only)
        self._keys = KeyParts(self.wording, self.select, self.put, self.execute, self._damaged_ids)
        try:
            session = self._connection.connected()
            version = known_version(session, read_only=read_only)
            if not read_only:
                check_durable(session)
                if not version:
                    make_tables(session)
                self.epoch = self._connection.lead()
                if version and version != VERSION:  # after the lead, so that no older program writes meanwhile
                    make_tables(session)
                self._pruned = self.pruned_to()
            self._check_ends(is_writer=not read_only)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def is_there(url: str) -> bool:
        """Whether there is a log to read at this address. Raises: as the constructor."""
        return there_is_a_log(_read(url))

    @staticmethod
    def dump_tool(url: str, tools: Path | None) -> PostgresDump:
        """Return the backup tool for the log at this address; `tools` is the folder of its programs, by default
        PATH.
        """
        from shroff.adapters.databases.postgres_dump import PostgresDump

        return PostgresDump(_read(url), tools)

    # Writing

    def append(self, batch: Batch) -> None:
        """Commit a batch in one transaction, durable on return.

        If the connection is lost during the commit, it is unknown whether the batch is stored. The log then fails every
        call until it is opened again. After any other error nothing of the batch is stored.

        Raises: StateError, OvertakenError, StorageError as in the contract; TransientError if the server cannot be
            reached or shuts down; LogBusyError if another session has a needed lock for longer than 5 s.
        """

        def write() -> None:
            self._on_step("begin")
            self._insert(batch)

        try:
            self.transact(write, before_commit=partial(self._on_step, "before commit"))
        except CollisionError as error:
            raise self._taken(batch, error) from error
        self._count_rows(batch)
        self._on_step("after commit")

    def maintain(self) -> None:
        """Move older records and decisions of small batches into frames. Call it between batches."""
        self._frame_small_batches()

    def _store_request(self, kind: str, body: bytes, at_ms: int) -> int:
        """Put a request into the inbox, durable on return, and return its number. Readers may call it, too."""
        self.select("SELECT 1")  # finds a lost idle connection: the request itself must not be repeated
        return int(self._connection.connected().ask(_REQUEST, (kind, body.decode(), at_ms))[0][0])

    def prune(self, upto: int, places: int = PRUNED_AT_ONCE) -> int:
        """Delete events, labels and decisions up to a sequence number; return the last deleted one.

        One call deletes at most `places` sequence numbers.
        """
        self._forget_moving()

        def write() -> int:
            pruned = self.pruned_to()
            stop = next_pruned(upto, places, pruned, self.last_seq(), self.place)
            self._prune_to(pruned, stop)
            return stop

        try:
            self._pruned = self.transact(write)
        except BaseException:
            self._is_pruned_known = False  # the transaction may have been committed all the same
            raise
        return self._pruned

    # Size and end

    def size_bytes(self) -> int:
        return self._connection.use(size_bytes)

    def close(self) -> None:
        self._connection.close()

    def damaged(self, what: str) -> StorageError:
        return StorageError(f"{self.place}: {what}. Restore a backup")

    # Writing and reading rows

    def put(self, table: RowTable, rows: Sequence[Any], *, newest_wins: Sequence[str] = (), adds: str = "") -> None:
        self._connection.connected().put(table, rows, newest_wins=newest_wins, adds=adds)

    def take_out(self, table: RowTable, rows: Iterable[Any]) -> None:
        self._connection.connected().take_out(table, rows)

    def execute(self, sql: str, values: Sequence[object]) -> None:
        self._connection.connected().do(sql, values)

    def _answer(self, replies: Sequence[Reply]) -> int:
        bodies = [reply.body for reply in replies]
        numbers = [reply.number for reply in replies]
        return self._connection.connected().changed(_REPLY, (column("j", bodies), column("i", numbers)))

    def transact(self, write: Callable[[], _Given], *, before_commit: Callable[[], None] | None = None) -> _Given:
        """Call `write` in a transaction, commit it, and return the result.

        Raises: StateError for a reader; otherwise as `append`, and what `write` raises.
        """
        if self._read_only:
            raise StateError(f"{self.place} was opened for reading only")
        session = self._connection.begin()
        is_committing = False
        try:
            if not self._is_pruned_known:
                self._pruned = self.pruned_to()
                self._is_pruned_known = True
            given = write()
            session.flush()
            if before_commit is not None:
                before_commit()
                is_committing = True
            session.commit()
            self._connection.committed()
        except BaseException as error:
            self._end = None
            self._ids.forget()
            self._connection.undo(error, is_committing=is_committing)
            raise
        return given

    def select(self, sql: str, values: Sequence[object] = (), shape: str = "") -> list[Any]:
        return self._connection.use(lambda session: session.ask(sql, values, shape))

    def select_by_ids(self, question: Any, shape: str, ids: Iterable[Any], *more: str) -> Iterator[Any]:
        wanted = list(dict.fromkeys(ids))
        if question.kind == "b":  # long texts are looked up by their digests, as an index takes no long texts
            wanted = [digest(id_.encode()) if isinstance(id_, str) else id_ for id_ in wanted]
        for start in range(0, len(wanted), _IDS_AT_ONCE):
            part = wanted[start : start + _IDS_AT_ONCE]
            yield from self.select(question.sql, (column(question.kind, part), *more), shape)


def _read(url: str) -> ServerUrl:
    address = server_url(url, ("postgresql", "postgres"), PORT, OPTIONS)
    address.name("schema", "shroff")  # raises if the schema is no valid name
    return address
