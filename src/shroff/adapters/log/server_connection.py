"""The connection of a log to its database server: reconnect after a loss, and stop once another process leads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from shroff.adapters.log.lease import EPOCH_HELD, Heart, Lease
from shroff.errors import OvertakenError, ShroffError, StateError, StorageError, TransientError
from shroff.streams.batch_check import OVERTAKEN, check_epoch

if TYPE_CHECKING:
    from shroff.adapters.databases.postgres_session import PostgresSession

_Given = TypeVar("_Given")


class ServerConnection:
    """The session of a log, and the lease of its writer.

    docs/decisions/0023 says how a leader is chosen, and how a former leader is kept from writing.

    Raises: TransientError if the server cannot be reached; StorageError if it refuses.
    """

    def __init__(self, place: str, connect: Callable[[], PostgresSession], lease_s: float) -> None:
        self.place = place
        self.connect = connect
        self.epoch = 0
        self.ended: StateError | None = None
        self.session: PostgresSession | None = connect()
        self._writing: PostgresSession | None = None  # that of the open transaction
        self._lease = Lease(place, int(lease_s * 1_000))
        self._heart: Heart | None = None

    def lead(self) -> int:
        """Take the lead, start to renew it, and return the epoch. Raises: LogBusyError if another process leads."""
        self.epoch = self._lease.take(self.connected())
        self._heart = Heart(self.connect, self._lease, self.epoch)
        return self.epoch

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

    def committed(self) -> None:
        """Note that no transaction is open."""
        self._writing = None

    def undo(self, error: BaseException, *, is_committing: bool) -> None:
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
            self._tell_if_overtaken()
        if self.ended is not None and isinstance(error, Exception):
            raise self.ended from error

    def _tell_if_overtaken(self) -> None:
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
