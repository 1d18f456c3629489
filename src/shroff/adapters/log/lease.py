"""Writer lease of a log on a server: renewed by the server's clock, with an epoch that outlives it."""

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
EPOCH_HELD = "SELECT epoch FROM lead FOR UPDATE"  # each transaction holds it, so that no former leader commits
_NOW_MS = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"  # the server's clock
_HELD = f"SELECT owner, session, expires_ms - {_NOW_MS}, epoch FROM lease FOR UPDATE"
_TAKE = f"UPDATE lease SET epoch = ?, owner = ?, session = ?, expires_ms = {_NOW_MS} + ?"
_RENEW = f"UPDATE lease SET expires_ms = {_NOW_MS} + ? WHERE epoch = ?"
_GIVE_BACK = "UPDATE lease SET expires_ms = 0 WHERE epoch = ?"
BEATS = 3  # in the time of a lease
OWNER_LENGTH_MAX = 200
_LET_GO: Final[dict[str, int]] = {}  # by place: the epoch of the lease that this process closed and could not give back


class Lease(FrozenStruct):
    """The right to lead a log for `length_ms` milliseconds from its last renewal.

    It only keeps others from trying: what keeps a former leader from writing is the epoch, which each transaction
    holds. So it does no harm where it is renewed late.
    """

    place: str
    length_ms: int

    def take(self, session: PostgresSession) -> int:
        """Lead from now on; gives the epoch.

        A transaction that a former owner still has open, frozen or cut off, is ended first. A lease that a log of this
        process held until it was closed is no other's: whoever was cut off need not wait for himself.

        Raises: LogBusyError where another process holds the lease, or its last transaction does not end in time.
        """
        try:
            ((owner, name, left_ms, held),) = session.begin(_HELD)
            if (owner, held) != (_owner(), _LET_GO.get(self.place)):
                _check_free(self.place, owner, left_ms)
            session.end(name)
            ((epoch,),) = session.ask(EPOCH_HELD)
            session.do("UPDATE lead SET epoch = ?", (epoch + 1,))
            session.do(_TAKE, (epoch + 1, _owner(), session.name(), self.length_ms))
            session.commit()
        except BaseException:
            with suppress(ShroffError):
                session.rollback()
            raise
        _LET_GO.pop(self.place, None)
        return int(epoch) + 1

    def renew(self, session: PostgresSession, epoch: int) -> bool:
        """Extend the lease; return whether it was still ours."""
        return session.changed(_RENEW, (self.length_ms, epoch)) == 1

    def move(self, session: PostgresSession, epoch: int) -> None:
        """Say that this is the owner's session from now on, and end the one before, which may hold locks."""
        rows = session.ask("SELECT session FROM lease WHERE epoch = ?", (epoch,), "t")
        if rows:
            session.end(rows[0][0])
            session.do("UPDATE lease SET session = ? WHERE epoch = ?", (session.name(), epoch))

    def give_back(self, session: PostgresSession | None, connect: Callable[[], PostgresSession], epoch: int) -> None:
        """Let the next one in at once. Where the server is away the lease runs out by itself."""
        _LET_GO[self.place] = epoch
        with suppress(ShroffError):
            if session is not None and not session.is_lost:
                session.do(_GIVE_BACK, (epoch,))
            else:
                with closing(connect()) as another:
                    another.do(_GIVE_BACK, (epoch,))
            _LET_GO.pop(self.place, None)


class Heart:
    """Renews a lease from a thread and a session of its own, so that a long commit or computation does not lose it."""

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
                continue  # try again at the next beat; until then others may lead
        if session is not None:
            session.close()


@contextmanager
def alone(place: str, connect: Callable[[], PostgresSession]) -> Iterator[None]:
    """Keep other processes from leading a log, whose tables stay as they are. Raises: as `Lease.take`."""
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
    """Raises: LogBusyError where the lease of another process has not run out."""
    if left_ms > 0:
        raise LogBusyError(
            f"{place} is being written by {who}, and only one process can write a log at a time. "
            f"Stop that process or wait for it to end; read commands, labels and lists still work",
            who,
        )
