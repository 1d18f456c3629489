"""The connection of a log to its PostgreSQL server: reconnect after a loss, and stop once another process leads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from shroff.adapters.databases.server_url import ServerUrl
from shroff.adapters.log.connection.lease import EPOCH_HELD, Heart, Lease
from shroff.adapters.log.connection.log_connection import LogConnection
from shroff.adapters.log.tables.rows import RowTable, digest
from shroff.errors import OvertakenError, ShroffError, StateError, StorageError, TransientError, UsageError
from shroff.streams.batch_check import OVERTAKEN, check_epoch
from shroff.streams.log import Reply

try:
    from shroff.adapters.databases.postgres_session import WORDING, PostgresSession
    from shroff.adapters.databases.postgres_tables import (
        VERSION,
        check_durable,
        checked_version,
        make_tables,
        size_bytes,
    )
    from shroff.adapters.databases.postgres_values import column
except ModuleNotFoundError:
    raise UsageError("PostgreSQL needs the extra 'postgres': pip install 'shroff[postgres]'.") from None

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


class PostgresConnection(LogConnection):
    """The session of a log, and the lease of its writer.

    docs/decisions/0023 says how a leader is chosen, and how a former leader is kept from writing. If the connection is
    lost during a commit, it is unknown whether the batch is stored. Every call then fails until the log is opened
    again.

    Raises, from every method: TransientError if the server cannot be reached; StorageError if it refuses.
    """

    wording = WORDING

    def __init__(self, address: ServerUrl, *, read_only: bool, lease_s: float) -> None:
        """Connect; a writer creates missing tables and takes the lead. Raises: as `PostgresLog`."""
        super().__init__()
        self.place = address.place
        self.connect = partial(PostgresSession, address)
        self.ended: StateError | None = None
        self.session: PostgresSession | None = self.connect()
        self._read_only = read_only
        self._writing: PostgresSession | None = None  # that of the open transaction
        self._lease = Lease(self.place, int(lease_s * 1_000))
        self._heart: Heart | None = None
        try:
            session = self.connected()
            version = checked_version(session, read_only=read_only)
            if not read_only:
                check_durable(session)
                if not version:
                    make_tables(session)
                self._lead()
                if version and version != VERSION:  # after the lead, so that no older program writes meanwhile
                    make_tables(session)
        except BaseException:
            self.close()
            raise

    # Reading

    def select(self, sql: str, values: Sequence[object] = (), shape: str = "") -> list[Any]:
        return self.use(lambda session: session.ask(sql, values, shape))

    def select_by_ids(self, question: Any, shape: str, ids: Iterable[Any], *more: str) -> Iterator[Any]:
        unique_ids = list(dict.fromkeys(ids))
        if question.kind == "b":  # long texts are looked up by their digests, as an index takes no long texts
            unique_ids = [digest(id_.encode()) if isinstance(id_, str) else id_ for id_ in unique_ids]
        for start in range(0, len(unique_ids), _IDS_AT_ONCE):
            part = unique_ids[start : start + _IDS_AT_ONCE]
            yield from self.select(question.sql, (column(question.kind, part), *more), shape)

    def damaged(self, damage: str) -> StorageError:
        return StorageError(f"{self.place}: {damage}. Restore a backup")

    def check(self, within_s: float) -> None:
        """Do nothing: PostgreSQL has no check of one schema."""

    def size_bytes(self) -> int:
        return self.use(size_bytes)

    # Writing

    def transact(
        self, write: Callable[[], _Given], *, before_commit: Callable[[], None] | None = None, erases: bool = False
    ) -> _Given:
        if self._read_only:
            raise StateError(f"{self.place} was opened for reading only")
        session = self.begin()
        is_committing = False
        try:
            result = write()
            session.flush()
            if before_commit is not None:
                before_commit()
                is_committing = True
            session.commit()
            self._writing = None
        except BaseException as error:
            for forget in self.on_rollback:
                forget()
            self._undo(error, is_committing=is_committing)
            raise
        return result

    def put(self, table: RowTable, rows: Sequence[Any], *, newest_wins: Sequence[str] = (), adds: str = "") -> None:
        self.connected().put(table, rows, newest_wins=newest_wins, adds=adds)

    def take_out(self, table: RowTable, rows: Iterable[Any]) -> None:
        self.connected().take_out(table, rows)

    def execute(self, sql: str, values: Sequence[object]) -> None:
        self.connected().do(sql, values)

    def ask(self, kind: str, body: bytes, at_ms: int) -> int:
        self.select("SELECT 1")  # finds a lost idle connection: the request itself must not be repeated
        return int(self.connected().ask(_REQUEST, (kind, body.decode(), at_ms))[0][0])

    def answer(self, replies: Sequence[Reply]) -> int:
        bodies = [reply.body for reply in replies]
        numbers = [reply.number for reply in replies]
        return self.connected().changed(_REPLY, (column("j", bodies), column("i", numbers)))

    def maintain(self) -> None:
        """Do nothing: the server does its upkeep itself."""

    # The session and the lease

    def _lead(self) -> None:
        """Take the lead, and start to renew it. Raises: LogBusyError if another process leads."""
        self.epoch = self._lease.take(self.connected())
        self._heart = Heart(self.connect, self._lease, self.epoch)

    def close(self) -> None:
        self.ended = self.ended or StorageError(f"{self.place}: this log was closed. Open it again")
        session = self.session
        self.session = None
        if self._heart is not None:
            self._heart.stop()
            self._heart = None
            self._lease.give_back(session, self.connect, self.epoch)
        if session is not None:
            session.close()

    def use(self, use: Callable[[PostgresSession], _Given]) -> _Given:
        """Call `use`; once more after a lost connection, unless a transaction was open on it."""
        self.check_usable()
        session = self.connected()
        try:
            return use(session)
        except TransientError:
            if not session.is_lost or self._writing is not None:
                raise
        return use(self.connected())

    def connected(self) -> PostgresSession:
        """Return the session of the open transaction, else the last one; connect again if it is lost."""
        if self._writing is not None:
            return self._writing
        if self.session is None or self.session.is_lost:
            self.session = self.connect()
            if self._heart is not None:
                self._lease.move(self.session, self.epoch)
        return self.session

    def check_usable(self) -> None:
        """Raises: the error that ended this log, if one did."""
        if self.ended is not None:
            raise type(self.ended)(str(self.ended))

    def begin(self) -> PostgresSession:
        """Begin a transaction that commits only while this process leads; a new leader waits for its end.

        Raises: OvertakenError if another process leads.
        """
        self.check_usable()
        self._writing = None
        try:
            ((epoch,),) = self.use(lambda session: session.begin(EPOCH_HELD))
            check_epoch(self.epoch, epoch, self.place)
        except ShroffError:
            if self.session is not None and not self.session.is_lost:
                _roll_back(self.session)
            raise
        self._writing = session = self.connected()
        return session

    def _undo(self, error: BaseException, *, is_committing: bool) -> None:
        """Roll back the open transaction after an error.

        Raises: OvertakenError if another process leads by now; StorageError if the commit may have come through.
        """
        session = self.connected()
        self._writing = None
        if not session.is_lost and isinstance(error, ShroffError):
            _roll_back(session)
            return
        session.close()  # the server then rolls back
        if is_committing:
            doubt = f"{_sentence(error)} Whether the last batch is stored shows when the log is opened again"
            self.ended = StorageError(f"{self.place}: {doubt}")
        if isinstance(error, ShroffError):
            self._raise_if_overtaken()
        if self.ended is not None and isinstance(error, Exception):
            raise self.ended from error

    def _raise_if_overtaken(self) -> None:
        """Raises: OvertakenError if another process leads; does nothing if the server does not answer."""
        try:
            epoch = self.connected().ask("SELECT epoch FROM lead", shape="i")[0][0]
        except (TransientError, StorageError):
            return
        try:
            check_epoch(self.epoch, epoch, self.place)
        except OvertakenError as error:
            self.ended = error if self.ended is None else OvertakenError(f"{self.ended}. {OVERTAKEN}")
            raise self.ended from None


def _roll_back(session: PostgresSession) -> None:
    """Roll back, or close the session, so that the server rolls back."""
    try:
        session.rollback()
    except ShroffError:
        session.close()


def _sentence(error: BaseException) -> str:
    return f"{(str(error) or type(error).__name__).removesuffix('.')}."
