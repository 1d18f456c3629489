"""The index of ids held against the records in frames, and made again from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from shroff.adapters.log.frame_queries import FRAMES_AT_ONCE
from shroff.adapters.log.ids.entries import PlaceSums, entries_of
from shroff.adapters.log.lost_rows import LossChecks
from shroff.adapters.log.queries import NUMBER_MAX
from shroff.adapters.log.rows import ids_by_type, places_by_type
from shroff.errors import StorageError


class IdChecks(LossChecks):
    """Checks over the whole index of ids."""

    def ids_lost(self, after: int | None = None) -> str:
        """Damage of the indexes of ids and of keys, of which every part is read, in words.

        Args:
            after: Look for each record in a frame behind this place as well.

        Cost: 0.15 µs an id of the index, and 2 µs for each record that is looked for.
        """
        try:
            self._check_ids(after)
            self._keys.check()
        except StorageError as error:
            return str(error)
        return ""

    def _check_ids(self, after: int | None) -> None:
        """Raises: StorageError where the index is damaged, or has not each record."""
        pruned, last = self.pruned_to(), self.last_seq()
        start = max(after or 0, pruned)
        ((rows,),) = self._ask(self.wording.rows_behind, (start, last, NUMBER_MAX), "i")
        logged = PlaceSums(start, last)
        for ids, seqs in self._ids_of_frames(start, last) if after is not None else ():
            logged.add(entries_of(self._ids.seqs(ids, seqs)))
        indexed = self._ids.sum_up(start, last)
        self._check_count(last - start - rows, indexed.count, pruned)
        for first, stop in logged.unlike(indexed) if after is not None else ():
            for ids, seqs in self._ids_of_frames(first, stop):
                for type_, of_type in ids.items():
                    found = self._framed_places(type_, of_type)
                    for id_, seq in zip(of_type, seqs[type_], strict=True):
                        if found.get(id_) != seq and seq > self.pruned_to():
                            raise self._damaged_ids(
                                f"the index of ids does not have the record {type_}/{id_} at sequence number {seq}"
                            )

    def _ids_of_frames(self, after: int, upto: int) -> Iterator[tuple[Mapping[str, Sequence[str]], Any]]:
        while frames := self._frames_with(self.wording.event_frames, after, upto, FRAMES_AT_ONCE):
            records = chain.from_iterable(map(self._records, frames))
            if found := [record for record in records if after < record.seq <= upto]:
                yield ids_by_type(found), places_by_type(found)
            after = frames[-1].seq

    def _index_again(self) -> int:
        """Make the index of ids again from the records in frames, and see that it has each; gives how many it has.

        To be done in a transaction of its own. Cost: 3 µs an id, and 25 bytes of the database's own log.
        """
        after, last = self.pruned_to(), self.last_seq()
        logged = PlaceSums(after, last)
        self._ids.clear()
        for ids, seqs in self._ids_of_frames(after, last):
            logged.add(entries_of(self._ids.seqs(ids, seqs)))
            self._ids.add(ids, seqs)
        if logged.unlike(self._ids.sum_up(after, last)):
            raise self._damaged("the index of ids that was made again is not the one that was written")
        self._is_counted = True
        return logged.count
