"""Writer lease of a log on a database server: lets one process lead, and another take over if it stops renewing.

Times are those of the server's clock. Each leader gets a higher epoch, which every transaction checks.
"""

# ruff: noqa: S608 - the names put into SQL are this module's own; values are always bound

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Final

from shroff.errors import LogBusyError, ShroffError
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    from shroff.adapters.databases.postgres_session import PostgresSession

LEASE_S = 3.0
EPOCH_HELD = "SELECT epoch FROM lead FOR UPDATE"  # locks the row for a transaction, so that no former leader commits
_NOW_MS = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"  # the server's clock
_HELD = f"SELECT owner, session, expires_ms - {_NOW_MS}, epoch FROM lease FOR UPDATE"
_TAKE = f"UPDATE lease SET epoch = ?, owner = ?, session = ?, expires_ms = {_NOW_MS} + ?"
_RENEW = f"UPDATE lease SET expires_ms = {_NOW_MS} + ? WHERE epoch = ?"
_GIVE_BACK = "UPDATE lease SET expires_ms = 0 WHERE epoch = ?"
BEATS = 3  # renewals in the length of a lease
OWNER_LENGTH_MAX = 200
# Epochs of leases that this process could not return when it closed the log, by address of the log
_UNRETURNED: Final[dict[str, int]] = {}


class Lease(FrozenStruct):
    """The right to lead a log for `length_ms` milliseconds after the last renewal.

    A late renewal does no harm: the lease only keeps others from taking over. A former leader cannot write, as each
    transaction checks its epoch.
    """

    place: str
    length_ms: int

    def take(self, session: PostgresSession) -> int:
        """Take the lead, and return the new epoch.

        The open transaction of a former leader that hangs or lost its connection is ended first. This process need not
        wait for a lease that it could not return itself.

        Raises: LogBusyError if another process has the lease, or its last transaction does not end in time.
        """
        try:
            ((owner, session_name, left_ms, lease_epoch),) = session.begin(_HELD)
            if (owner, lease_epoch) != (_owner(), _UNRETURNED.get(self.place)):
                _check_free(self.place, owner, left_ms)
            session.end(session_name)
            ((epoch,),) = session.ask(EPOCH_HELD)
            session.do("UPDATE lead SET epoch = ?", (epoch + 1,))
            session.do(_TAKE, (epoch + 1, _owner(), session.name(), self.length_ms))
            session.commit()
        except BaseException:
            with suppress(ShroffError):
                session.rollback()
            raise
        _UNRETURNED.pop(self.place, None)
        return int(epoch) + 1

    def renew(self, session: PostgresSession, epoch: int) -> bool:
        """Extend the lease; return False if another process has taken it."""
        return session.changed(_RENEW, (self.length_ms, epoch)) == 1

    def move(self, session: PostgresSession, epoch: int) -> None:
        """Store this session as the leader's, and end its previous session, which may still have locks."""
        rows = session.ask("SELECT session FROM lease WHERE epoch = ?", (epoch,), "t")
        if rows:
            session.end(rows[0][0])
            session.do("UPDATE lease SET session = ? WHERE epoch = ?", (session.name(), epoch))

    def give_back(self, session: PostgresSession | None, connect: Callable[[], PostgresSession], epoch: int) -> None:
        """Return the lease, so that the next process can lead at once. If the server is away, the lease runs out."""
        _UNRETURNED[self.place] = epoch
        with suppress(ShroffError):
            if session is not None and not session.is_lost:
                session.do(_GIVE_BACK, (epoch,))
            else:
                with closing(connect()) as another:
                    another.do(_GIVE_BACK, (epoch,))
            _UNRETURNED.pop(self.place, None)


class Heart:
    """Renews a lease in its own thread and session, so that a long commit or computation does not lose the lease."""

    def __init__(self, connect: Callable[[], PostgresSession], lease: Lease, epoch: int) -> None:
        self._connect = connect
        self._lease = lease
        self._epoch = epoch
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="shroff lease", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _beat(self) -> None:
        session: PostgresSession | None = None
        is_ours = True
        while is_ours and not self._stopped.wait(self._lease.length_ms / 1_000 / BEATS):
            try:
                session = session if session is not None and not session.is_lost else self._connect()
                is_ours = self._lease.renew(session, self._epoch)
            except ShroffError:
                continue  # the next beat tries again; until then another process may take over
        if session is not None:
            session.close()


@contextmanager
def alone(place: str, connect: Callable[[], PostgresSession]) -> Iterator[None]:
    """Keep other processes from writing a log while the context is open. Raises: LogBusyError as `Lease.take`."""
    with closing(connect()) as session:
        lease = Lease(place, int(LEASE_S * 1_000))
        epoch = lease.take(session)
        heart = Heart(connect, lease, epoch)
        try:
            yield
        finally:
            heart.stop()
            lease.give_back(session, connect, epoch)


def _owner() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"[:OWNER_LENGTH_MAX]


def _check_free(place: str, who: str, left_ms: int) -> None:
    if left_ms > 0:
        raise LogBusyError(
            f"{place} is being written by {who}, and only one process can write a log at a time. "
            f"Stop that process or wait for it to end; read commands, labels and lists still work",
            who,
        )
