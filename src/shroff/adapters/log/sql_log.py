"""A log in SQL: its parts on one connection, and what spans them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from shroff.adapters.log.connection.log_connection import CollisionError, LogConnection
from shroff.adapters.log.writing.batch_rows import BatchRows
from shroff.streams.batch_check import next_pruned
from shroff.streams.log import PRUNED_AT_ONCE, Batch

Connection = TypeVar("Connection", bound=LogConnection)


class SqlLog(BatchRows, Generic[Connection]):
    """The contract `streams.log.Log` on the connection of one database."""

    _connection: Connection

    def __init__(self, connection: Connection, on_step: Callable[[str], None], *, is_writer: bool) -> None:
        super().__init__(connection, is_writer=is_writer)
        self._on_step = on_step

    @property
    def place(self) -> str:
        return self._connection.place

    @property
    def epoch(self) -> int:
        return self._connection.epoch

    def append(self, batch: Batch) -> None:
        """Commit a batch in one transaction, durable on return.

        Raises: as the contract, and LogBusyError if another program locks the log for longer than 5 s.
        """

        def write() -> None:
            self._on_step("begin")
            self._insert(batch)

        try:
            self._connection.transact(
                write, before_commit=partial(self._on_step, "before commit"), erases=bool(batch.erased)
            )
        except CollisionError as error:
            raise self._taken(batch, error) from error
        self._count_rows(batch)
        self._on_step("after commit")

    def prune(self, upto: int, places: int = PRUNED_AT_ONCE) -> int:
        self._forget_moving()

        def write() -> int:
            pruned = self.pruned_to()
            stop = next_pruned(upto, places, pruned, self.last_seq(), self.place)
            if stop > pruned:
                self._prune_to(pruned, stop)
            return stop

        self._pruned = None  # an error leaves open whether the transaction was committed
        self._pruned = self._connection.transact(write)
        self._on_step("after commit")
        return self._pruned

    def maintain(self) -> None:
        """Move older records and decisions of small batches into frames, and do the upkeep of the database.

        Call it between batches, and also while no events arrive, as other processes write to a file as well.

        Cost: usually some microseconds. A frame is made in steps of one or two ms, one step in each call, and writing a
        frame of events adds its ids as `append` does.
        """
        self._frame_small_batches()
        self._connection.maintain()

    def size_bytes(self) -> int:
        return self._connection.size_bytes()

    def close(self) -> None:
        self._connection.close()
