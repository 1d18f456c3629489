"""The event log on a database server: batches, lease, reads.

docs/decisions/0023 says who leads such a log, and how a former leader is kept from writing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from shroff.adapters.log import event_frames
from shroff.adapters.log.compaction import RowFraming
from shroff.adapters.log.event_frames import EventFrame
from shroff.adapters.log.frames import DecisionFrame, framed
from shroff.adapters.log.ids.id_index import IdRuns
from shroff.adapters.log.ids.server_tables import ServerIdTables
from shroff.adapters.log.lease import Heart, Lease
from shroff.adapters.log.rows import (
    APPEND_STEPS,
    DECISIONS,
    DONE,
    DROPPED,
    ERASED,
    EVENT_FRAMES,
    EVENTS,
    FLAGS,
    FRAMES,
    HITS,
    INDEXED,
    JOINED,
    LATE,
    OFFSETS,
    OUTBOX,
    PERSONAL,
    PRUNED,
    REFUSED,
    REMARKS,
    STUCK,
    UNIQUE,
    UNSTUCK,
    WAITING,
    added_up,
    digest,
    ids_by_type,
    last_offsets,
    last_stuck,
    numbered,
    of_reply,
    places_by_type,
    refused_once,
)
from shroff.adapters.log.server_sql import ServerWording
from shroff.adapters.log.session import CollisionError, Session
from shroff.adapters.log.sql_text import overlapping
from shroff.adapters.log.sums import chained
from shroff.errors import OvertakenError, ShroffError, StateError, StorageError, TransientError
from shroff.streams.batch_check import (
    OVERTAKEN,
    check_batch,
    check_epoch,
    check_offsets,
    check_pruned,
    next_pruned,
    no_request,
)
from shroff.streams.log import PRUNED_AT_ONCE, REPLIES_KEPT, Batch, Record, Reply, WaitingLabel
from shroff.streams.log_columns import newest_ms

_Given = TypeVar("_Given")
STEPS: Final = APPEND_STEPS
_IDS_AT_ONCE: Final = 4_096
_LINES_AT_ONCE: Final = 8_192


def no_step(_step: str) -> None:
    """Take no notice of a step."""


class ServerLog(RowFraming):
    """The log in a database on a server; its adapter says how a session is opened, and which tables there are.

    Calls may come from any thread, one at a time: the caller sees to that.
    """

    def __init__(
        self,
        place: str,
        connect: Callable[[], Session],
        *,
        version: int,
        read_only: bool,
        on_step: Callable[[str], None],
        lease_s: float,
    ) -> None:
        self.place, self.epoch = place, 0
        self._connect, self._read_only, self._on_step = connect, read_only, on_step
        self._ended: StateError | None = None
        self._end: tuple[int, int] | None = None  # the last place and its `chain`, where they are known for certain
        self._pruned: int | None = 0  # the writer's; nobody else moves it. None: the server is to be asked
        self._heart: Heart | None = None
        self._session: Session | None = connect()
        self._writing: Session | None = None  # that of the open transaction
        self.wording = self._session.wording
        tables = ServerIdTables(self.wording, self._ask, self._with_ids, self._connected)
        self._ids, self._is_counted = IdRuns(tables, self._damaged_ids, is_writer=not read_only), read_only
        self._lease = Lease(place, self.wording, self._session.now_ms, int(lease_s * 1_000))
        try:
            found = self._check_tables(self._session, version)
            if not read_only:
                self._session.check_durable()
                if not found:
                    self._session.make_tables()
                self.epoch = self._lease.take(self._session)
                self._heart = Heart(connect, self._lease, self.epoch)
                if found and found != version:  # nobody of an older version writes them meanwhile
                    self._session.make_tables()
                self._pruned = self.pruned_to()
            self._check_ends(is_writer=not read_only)
        except BaseException:
            self.close()
            raise

    # Writing

    def append(self, batch: Batch) -> None:
        """Commit a batch in one transaction, durable on return.

        Where the connection is lost in the commit itself, whether the batch is there cannot be known before the log is
        opened again: it then says so and answers nothing more. Lost before that, nothing of the batch is there.

        Raises: StateError, OvertakenError, StorageError as in the contract; TransientError where the server cannot be
            reached, or gave up; LogBusyError where a lock of ours is held for longer than 5 s.
        """
        session = self._begun()
        is_committing = False
        try:
            self._on_step("begin")
            self._insert(session, batch)
            session.flush()
            self._on_step("before commit")
            is_committing = True
            session.commit()
            self._ids.committed()
            self._writing = None
        except BaseException as error:
            self._end = None
            self._undo(session, error, is_committing=is_committing)
            if isinstance(error, CollisionError):
                raise self._taken(batch, error) from error
            raise
        self._count_rows(batch)
        self._on_step("after commit")

    def maintain(self) -> None:
        """Put records and decisions of small batches into frames, but for the newest: call it between batches."""
        self._frame_small_batches()

    def ask(self, kind: str, body: bytes, at_ms: int) -> int:
        """Put a request into the inbox, durable on return; gives its number. Readers may, from any machine."""
        self._ask("SELECT 1")  # an idle connection may be lost, and a request is not put twice to find that out
        return self._connected().request(kind, body.decode(), at_ms)

    def outbox_done(self, keys: Iterable[str]) -> None:
        """Take delivered rows out of the outbox."""
        rows = [(int(seq), int(number)) for seq, _, number in (key.partition("-") for key in keys)]
        self._transact(lambda: self._connected().take_out(DONE, rows))  # failed, they leave again

    def prune(self, upto: int, places: int = PRUNED_AT_ONCE) -> int:
        """Let go of events, labels and decisions up to a place; gives the place that it came to."""
        self._forget_moving()
        try:
            self._pruned = self._transact(lambda: self._prune_to(upto, places))
        except BaseException:
            self._pruned = None  # it may be done all the same
            raise
        return self._pruned

    # Reading, where servers differ from a file

    wording: ServerWording

    def _row_lines(self, after: int, upto: int) -> tuple[int, bytes]:
        lines = self._joined(self.wording.lines, after, upto)
        return len(lines), b"".join(lines)

    def _row_outcomes(self, after: int, upto: int) -> bytes:
        return b"".join(self._joined(self.wording.outcome_lines, after, upto))

    def _joined(self, sql: str, start: int, stop: int) -> list[bytes]:
        """The lines of so many places, asked for in pieces, since a driver holds all that it was given twice."""
        found: list[bytes] = []
        for first in range(start, stop, _LINES_AT_ONCE):
            rows = self._ask(sql, (first, min(first + _LINES_AT_ONCE, stop)), "b")
            found += [line for (line,) in rows]
        return found

    def unique_places(self, type: str, field: str, values: Sequence[str]) -> dict[str, int]:
        """The places of the events that a unique field's values name, pruned or not, by the texts of those."""
        return super().unique_places(type, field, _digests(values))

    def waiting_for(self, type: str, ids: Sequence[str], field: str = "") -> list[WaitingLabel]:
        """Labels that wait for these events, in the order of their arrival; with a field, for its values."""
        return super().waiting_for(type, _digests(ids), field)

    # Size and end

    def size_bytes(self) -> int:
        """Bytes of the log's tables and indexes on the server."""
        self._check_usable()
        return self._with_session(lambda session: session.size_bytes())

    def close(self) -> None:
        """Let go of the connection and of the writer's place. Closing twice does nothing."""
        self._ended = self._ended or StorageError(f"{self.place}: this log was closed. Open it again")
        session, self._session = self._session, None
        if self._heart is not None:
            self._heart.stop()
            self._heart = None
            self._lease.give_back(session, self._connect, self.epoch)
        if session is not None:
            session.close()

    def _damaged(self, what: str) -> StorageError:
        return StorageError(f"{self.place}: {what}. Restore a backup")

    # Below: how a batch becomes rows

    def _insert(self, session: Session, batch: Batch) -> None:
        """Write all rows of the batch inside the open transaction."""
        if self._end is None:
            found = session.ask(self.wording.end, shape="iI")
            self._end = (found[0][0], found[0][1] or 0) if found else (0, 0)
        seq, chain = self._end
        check_batch(batch, seq)
        check_offsets(batch.offsets, lambda source: dict(session.ask(self.wording.offsets, (source,), "tt")))
        if self._pruned is None:
            self._pruned = self.pruned_to()
        if self._pruned:
            check_pruned(batch.records, self.pruned_places)
        if batch.records:
            self._end = self._insert_events(session, batch.records, chain)
            session.do(self.wording.begin_batch, (seq + 1, batch.at_ms))
            newest = newest_ms(batch.records)
            session.do(self.wording.move_end, (self._end[0], newest, newest))
        if batch.watermark_ms is not None:
            session.do(self.wording.set_watermark, (batch.watermark_ms,))
        self._on_step("events")
        for type_and_field in batch.unindexed:
            for sql in self.wording.unindexed:
                session.do(sql, type_and_field)
        session.put(UNIQUE, batch.unique)
        session.put(INDEXED, batch.indexed)
        self._on_step("unique")
        frames, few = framed(batch.decisions)
        session.put(FRAMES, frames)
        session.put(DECISIONS, few)
        self._on_step("decisions")
        session.put(FLAGS, numbered(batch.flags))
        session.put(HITS, numbered(batch.hits))
        self._on_step("flags")
        session.put(REFUSED, refused_once(batch.refused), newest_wins=("reason", "at_ms"))
        session.put(WAITING, batch.waiting)
        session.take_out(JOINED, batch.joined)
        self._on_step("refused")
        session.put(OUTBOX, batch.outbox)
        session.take_out(UNSTUCK, batch.unstuck)
        session.put(STUCK, last_stuck(batch.stuck), newest_wins=STUCK.columns[3:])
        session.take_out(ERASED, batch.erased)
        session.put(PERSONAL, batch.personal)
        session.put(LATE, batch.late)
        session.put(OFFSETS, last_offsets(batch.offsets), newest_wins=("offset",))
        session.put(REMARKS, added_up(batch.remarks), newest_wins=("last_seq", "last_ms"), adds="count")
        session.take_out(DROPPED, batch.dropped)
        self._on_step("offsets")
        if batch.replies:
            self._reply(session, batch.replies)
        self._on_step("replies")

    def _insert_events(self, session: Session, records: Sequence[Record], chain: int) -> tuple[int, int]:
        """Write the records, and see that none has an id that another has: rows and frames know of their own only."""
        frames, few = event_frames.framed(records, chain)
        elsewhere, names = self._places if frames else self._framed_places, ids_by_type(records)
        for type_, ids in names.items():
            if elsewhere(type_, ids) or (frames and len(set(ids)) < len(ids)):
                raise CollisionError
        rows = list(chained(few, chain))
        session.put(EVENTS, rows)
        self._insert_frames(frames, records if frames else ())
        return (rows[-1][0], rows[-1][-1]) if rows else (frames[-1].seq, frames[-1].chain or 0)

    def _insert_frames(self, frames: Iterable[EventFrame], records: Sequence[Record]) -> None:
        self._connected().put(EVENT_FRAMES, frames)
        if records:
            self._ids.add(ids_by_type(records), places_by_type(records), self._pruned or 0)

    def _put_decisions(self, frame: DecisionFrame) -> None:
        self._connected().put(FRAMES, [frame])

    def _take_out_rows(self, sql: str, first: int, last: int) -> None:
        self._connected().do(sql, (first, last))

    def _prune_to(self, upto: int, places: int) -> int:
        session = self._connected()
        ((pruned,),) = session.ask(self.wording.pruned, shape="i")
        ((last,),) = session.ask(self.wording.last_seq, shape="I")
        stop = next_pruned(upto, places, pruned, last or 0, self.place)
        self._on_step("pruning")
        leaving = self._leaving(pruned, stop)
        session.put(PRUNED, leaving.digests)
        self._ids.prune(stop)
        self._on_step("ids")
        for sql in self.wording.prune:
            session.do(sql, (pruned, stop))
        for sql in self.wording.prune_frames:
            session.do(sql, overlapping(pruned, stop))
        session.put(FRAMES, leaving.decision_frames)
        session.put(EVENT_FRAMES, leaving.event_frames)
        session.put(EVENTS, leaving.controls)
        session.do(self.wording.move_pruned, (stop,))
        session.flush()
        self._on_step("rows")
        return stop

    def _reply(self, session: Session, replies: Sequence[Reply]) -> None:
        """Answer requests inside the open transaction, and let old replies go."""
        if session.reply([of_reply(reply) for reply in replies]) != len(replies):
            raise no_request(replies, self.asked(limit=2**62))
        session.do(self.wording.forget_replies, (max(reply.number for reply in replies) - REPLIES_KEPT,))

    # Below: sessions, and what becomes of them

    def _begun(self) -> Session:
        """A transaction that commits only while this opening leads: the process that takes the lead waits for its
        end.
        """
        if self._read_only:
            raise StateError(f"{self.place} was opened for reading only")
        self._check_usable()
        self._writing = None
        try:
            ((epoch,),) = self._with_session(lambda session: session.begin(self.wording.lead_held))
            check_epoch(self.epoch, epoch, self.place)
        except ShroffError:
            if self._session is not None and not self._session.is_lost:
                _roll_back(self._session)
            raise
        self._writing = session = self._connected()
        return session

    def _transact(self, write: Callable[[], _Given]) -> _Given:
        """Write something in a transaction of its own."""
        session = self._begun()
        try:
            given = write()
            session.flush()
            session.commit()
            self._ids.committed()
            self._writing = None
        except BaseException as error:
            self._undo(session, error, is_committing=False)
            raise
        return given

    def _undo(self, session: Session, error: BaseException, *, is_committing: bool) -> None:
        """Undo what is open. Raises: what is to be told instead of the error, where there is something."""
        self._writing = None
        self._ids.undone()
        if not session.is_lost and isinstance(error, ShroffError):
            _roll_back(session)
            return
        session.close()  # the server undoes what it has of it
        if is_committing:
            doubt = f"{_sentence(error)} Whether the last batch is stored shows when the log is opened again"
            self._ended = StorageError(f"{self.place}: {doubt}")
        if isinstance(error, ShroffError):
            self._tell_if_overtaken()
        if self._ended is not None and isinstance(error, Exception):
            raise self._ended from error

    def _tell_if_overtaken(self) -> None:
        """Raises: OvertakenError where another process leads; nothing where nobody can be asked."""
        try:
            session = self._connected()
            found = session.ask(self.wording.epoch, shape="i")[0][0]
        except (TransientError, StorageError):
            return
        try:
            check_epoch(self.epoch, found, self.place)
        except OvertakenError as error:
            self._ended = error if self._ended is None else OvertakenError(f"{self._ended}. {OVERTAKEN}")
            raise self._ended from None

    def _ask(self, sql: str, values: Sequence[object] = (), shape: str = "") -> list[Any]:
        self._check_usable()
        return self._with_session(lambda session: session.ask(sql, values, shape))

    def _one(self, sql: str) -> Any:
        return self._ask(sql, shape="I")[0]

    def _with_ids(self, question: Any, shape: str, ids: Iterable[Any], *more: str) -> Iterator[Any]:
        self._check_usable()
        wanted = list(dict.fromkeys(ids))
        for start in range(0, len(wanted), _IDS_AT_ONCE):
            part = wanted[start : start + _IDS_AT_ONCE]
            yield from self._with_session(partial(_asked_about, question=question, ids=part, more=more, shape=shape))

    def _with_session(self, use: Callable[[Session], _Given]) -> _Given:
        """Ask, and once more where the connection was lost, as an idle one is, unless a transaction was open on it."""
        session = self._connected()
        try:
            return use(session)
        except TransientError:
            if not session.is_lost or self._writing is not None:
                raise
        return use(self._connected())

    def _connected(self) -> Session:
        """The session: that of the open transaction, else a new one where it is lost."""
        if self._writing is not None:
            return self._writing
        if self._session is None or self._session.is_lost:
            self._session = self._connect()
            if self._heart is not None:
                self._lease.move(self._session, self.epoch)
        return self._session

    def _check_usable(self) -> None:
        if self._ended is not None:
            raise type(self._ended)(str(self._ended))

    def _check_tables(self, session: Session, version: int) -> int | None:
        """The version of the tables. Raises: StorageError where there is no log to read, or one of a newer version."""
        found = session.version()
        if found is not None and found > version:
            raise StorageError(
                f"{self.place} was written by a newer shroff: its tables are version {found}, and this program "
                f"supports up to {version}. Install that version or a newer one"
            )
        if self._read_only and found is None:
            raise StorageError(
                f"there is no log at {self.place}. Start a writer (`shroff ingest` or `shroff run`) or check the "
                f"address"
            )
        if self._read_only and found == 0:
            raise TransientError(f"the tables of {self.place} are being made. Try again")
        if self._read_only and found is not None and found < version:
            raise StorageError(
                f"{self.place} has tables of version {found}, and this needs {version}: an older shroff wrote it. End "
                f"its processes, then run 'shroff migrate --apply'"
            )
        return found


def _roll_back(session: Session) -> None:
    """Undo what is open; the server undoes that of a session which cannot, as it is closed."""
    try:
        session.rollback()
    except ShroffError:
        session.close()


def _asked_about(session: Session, question: Any, ids: Sequence[Any], more: Sequence[str], shape: str) -> list[Any]:
    return session.ask(*session.about(question, ids, more), shape)


def _digests(texts: Iterable[str]) -> list[Any]:
    return [digest(text.encode()) for text in texts]


def _sentence(error: BaseException) -> str:
    return f"{(str(error) or type(error).__name__).removesuffix('.')}."
