"""The sequence numbers of records by their ids: those of rows, of framed records, and of pruned records."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from shroff.adapters.log.ends import LogPart
from shroff.adapters.log.frames.decision_frames import FRAME_ROWS
from shroff.adapters.log.ids.id_index import IdIndex
from shroff.adapters.log.tables.rows import id_digest, ids_by_type, places_by_type
from shroff.streams.log import Record

_ROWS_COUNTED = 65_536  # rows that `check_size` counts at most; 20 ms


class RecordIds(LogPart):
    """The ids of a log's records.

    Args:
        index: Has the ids of framed records; those of rows are in their table.
        is_checked: Whether the index has the ids of all framed records. Else this is checked before the first look-up.
    """

    _index: IdIndex
    is_checked: bool

    def places(self, type: str, ids: Sequence[str]) -> dict[str, int]:
        return self._row_places(type, ids) | self.framed_places(type, ids)

    def framed_places(self, type: str, ids: Sequence[str]) -> dict[str, int]:
        if not self.is_checked:
            self.check_size()
            self.is_checked = True
        places = self._index.places(type, ids)
        if places:
            pruned = self._ends.pruned_to()
            places = {id_: seq for id_, seq in places.items() if seq > pruned}
        return places

    def pruned_places(self, type: str, ids: Sequence[str]) -> dict[str, int]:
        """Return the sequence numbers of pruned records of one type with these ids. Cost in SQLite: 4 µs an id."""
        id_by_digest = {id_digest(type, id_): id_ for id_ in ids}
        rows = self._connection.select_by_ids(self._wording.pruned_places, "bi", list(id_by_digest))
        return {id_by_digest[bytes(digest)]: seq for digest, seq in rows}

    def note(self, records: Collection[Record]) -> None:
        self._index.note(records)

    def add(self, records: Collection[Record]) -> None:
        """Add the ids of framed records to the index, within the open transaction."""
        self._index.add(ids_by_type(records), places_by_type(records))

    def check_size(self) -> None:
        """Check that the index has the ids of all framed records; from 65,536 rows outside of frames on, check nothing.

        Framed records are counted first: more may follow meanwhile, but never fewer.

        Raises: StorageError if ids are missing.
        """
        pruned = self._ends.pruned_to()
        last = self._ends.last_seq()
        ((rows,),) = self._connection.select(self._wording.rows_behind, (pruned, last, _ROWS_COUNTED), "i")
        self.check_count(last - pruned - rows if rows < _ROWS_COUNTED else 0, self._index.size(), pruned)

    def check_count(self, framed: int, indexed: int, pruned: int) -> None:
        """Raises: StorageError if fewer ids are indexed than records are framed, unless pruning went on meanwhile."""
        if indexed < framed and self._ends.pruned_to() == pruned:
            raise self._connection.damaged_index(
                f"of {framed:,} ids of records in frames the index of ids has {indexed:,}"
            )

    def _row_places(self, type: str, ids: Sequence[str]) -> dict[str, int]:
        if len(ids) >= FRAME_ROWS and not self._connection.select(self._wording.any_row, (type,), "i"):
            return {}  # most logs of large batches have no rows
        return dict(self._connection.select_by_ids(self._wording.find_places, "ti", ids, type))
