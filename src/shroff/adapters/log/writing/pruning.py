"""Remove old records and decisions from a log in SQL."""

from __future__ import annotations

from collections.abc import Callable

from shroff.adapters.log.decisions.decisions import SqlDecisions
from shroff.adapters.log.ends import LogPart
from shroff.adapters.log.frames import event_frames
from shroff.adapters.log.frames.frame_rows import EventFrames
from shroff.adapters.log.ids.id_index import IdIndex
from shroff.adapters.log.tables.rows import EVENT_FRAMES, EVENTS, FRAMES, PRUNED, id_digest
from shroff.adapters.log.tables.sql_text import overlapping
from shroff.streams.batch_check import next_pruned
from shroff.streams.log import Record


class Pruning(LogPart):
    """The pruning of a log by its writer."""

    _event_frames: EventFrames
    _decisions: SqlDecisions
    _index: IdIndex
    _on_step: Callable[[str], None]
    _pruned: int | None = None  # last pruned sequence number, which only the writer changes; None if it must be read

    def pruned_to(self) -> int:
        """Return the last pruned sequence number, or 0. Reads the database at the first call only."""
        if self._pruned is None:
            self._pruned = self._ends.pruned_to()
        return self._pruned

    def prune(self, upto: int, places: int) -> int:
        """Remove up to `places` sequence numbers in a transaction of its own, as `Log.prune`."""

        def write() -> int:
            pruned = self._ends.pruned_to()
            stop = next_pruned(upto, places, pruned, self._ends.last_seq(), self._connection.place)
            if stop > pruned:
                self._remove(pruned, stop)
            return stop

        self._pruned = None  # an error leaves open whether the transaction was committed
        self._pruned = self._connection.transact(write)
        self._on_step("after commit")
        return self._pruned

    def _remove(self, pruned: int, stop: int) -> None:
        """Delete the sequence numbers in (pruned, stop] inside the open transaction."""
        self._on_step("pruning")
        records = list[Record]()
        for frame in self._event_frames.between(self._wording.event_frames, pruned, stop):
            records += self._event_frames.records(frame)
        removed = [record for record in records if record.seq <= stop]
        remaining = [record for record in records if record.seq > stop]
        decision_frames = self._decisions.behind(stop)
        names = self._connection.select(self._wording.ids_between, (pruned, stop), "itt")
        names += [(record.seq, record.type, record.id) for record in removed if record.kind != "control"]
        self._connection.put(PRUNED, [(id_digest(type_, id_), seq) for seq, type_, id_ in names])
        self._index.prune(stop)
        self._on_step("ids")
        for sql in self._wording.prune:
            self._connection.execute(sql, (pruned, stop))
        for sql in self._wording.prune_frames:
            self._connection.execute(sql, overlapping(pruned, stop))
        self._connection.put(FRAMES, decision_frames)
        if remaining:
            self._connection.put(EVENT_FRAMES, [event_frames.pack(remaining)])
        self._connection.put(EVENTS, [record for record in removed if record.kind == "control"])
        self._connection.execute(self._wording.move_pruned, (stop,))
        self._on_step("rows")
