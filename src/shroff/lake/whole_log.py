"""A log whose older records are in the lake: one `Log` over both, transparent to readers.

The store has recent records, and everything that is no record or decision; the lake has what was pruned. A look-up by
id finds a record wherever it is (docs/decisions/0033).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any, TypeVar, cast

from shroff.errors import PrunedError, StateError, StorageError, UsageError
from shroff.streams.log import PRUNED_AT_ONCE, DecisionRow, Log, Record

if TYPE_CHECKING:
    from shroff.lake.reader import LakeReader

READ = 4_096
LINES = 65_536


Part = TypeVar("Part")
Name = TypeVar("Name")


class WholeLog:
    """A log over a store and a lake, which is opened only when a pruned record is needed.

    Keeps the promises of `streams.log.Log` for every record, pruned or not. A look-up of pruned records also costs what
    `LakeReader.records_at` does. If the lake cannot be opened, access to a pruned record raises the lake's error;
    everything else works.

    Args:
        store: The log that is written; it is closed with this one.
        lake: Opens the lake for reading; raises PrunedError if the project has none.
    """

    def __init__(self, store: Log, lake: Callable[[], AbstractContextManager[LakeReader]]) -> None:
        self.store = store
        self._open_lake = lake
        self._held = ExitStack()
        self._reader: LakeReader | None = None
        self._has_pruned = store.pruned_to() > 0
        self.decisions = WholeDecisions(self)
        self.epoch = store.epoch
        self.place = store.place

    def __getattr__(self, name: str) -> Any:
        """Forward everything that pruning does not affect to the store."""
        return getattr(self.store, name)

    def prune(self, upto: int, places: int = PRUNED_AT_ONCE) -> int:
        """Prune the store, and note that records are in the lake from now on."""
        self._has_pruned = True
        return self.store.prune(upto, places)

    def close(self) -> None:
        self.store.close()
        self._held.close()

    # ---- in order

    def read(self, after: int = 0, upto: int | None = None, size: int = READ) -> Iterator[list[Record]]:
        if upto == after + 1 and after < self._pruned_to():
            control = self.controls(after, upto)
            if control:  # control events stay in the store, so a start that reads the first one needs no lake
                yield control
                return
        yield from self.rows(self.store.read, lambda lake, *part: lake.records(*part), after, upto, size)

    def labels_after(self, after: int = 0, upto: int | None = None, size: int = READ) -> Iterator[list[Record]]:
        return self.rows(self.store.labels_after, lambda lake, *part: lake.labels(*part), after, upto, size)

    def lines(self, after: int = 0, upto: int | None = None, size: int = LINES) -> Iterator[bytes]:
        """Yield the same records as text, a line each. Cost: as `read` for those in the lake."""
        return self.rows(
            self.store.lines, _lake_lines, after, upto, size, lambda after, lines: after + lines.count(b"\n")
        )

    def rows(
        self,
        of_store: Callable[[int, int | None, int], Iterator[Part]],
        of_lake: Callable[[LakeReader, int, int, int], Iterator[Part]],
        after: int,
        upto: int | None,
        size: int,
        end_of: Callable[[int, Any], int] = lambda _, rows: rows[-1].seq,
    ) -> Iterator[Part]:
        """Yield parts from the lake up to the pruned sequence number, then from the store.

        If the store prunes further meanwhile, reading continues in the lake.

        Args:
            end_of: Returns the last sequence number of a part of the store, given the one before the part.
        """
        end = self._end(upto)
        while after < end:
            stop = min(self._pruned_to(), end)
            if after < stop:
                yield from of_lake(self.lake(stop), after, stop, size)
                after = stop
            try:
                for part in of_store(after, end, size):
                    yield part
                    after = end_of(after, part)
            except PrunedError:
                continue
            return

    def _end(self, upto: int | None) -> int:
        last: int = self.last_seq()
        return last if upto is None else min(upto, last)

    # ---- by sequence number or id

    def records_at(self, seqs: Collection[int]) -> dict[int, Record]:
        """Return the records with these sequence numbers, pruned or not; unknown ones are left out.

        Cost: as the store's, and `LakeReader.records_at` if some were pruned.
        """
        records = self.store.records_at(seqs)
        # Read after the store, to include what it pruned since.
        pruned = self._pruned_to() if len(records) < len(seqs) else 0
        pruned_seqs = [seq for seq in seqs if 0 < seq <= pruned and seq not in records]
        return {**records, **self._records_at({seq: seq for seq in pruned_seqs})}

    def find(self, type: str, ids: Sequence[str]) -> dict[str, Record]:
        records = self.store.find(type, ids)
        pruned_seqs = self.places_of_rest(type, ids, records)
        if pruned_seqs:
            records.update(self._records_at(pruned_seqs))
            wrong = next((record for id_, record in records.items() if (record.type, record.id) != (type, id_)), None)
            if wrong is not None:
                raise _other_lake(self.lake(0), wrong.seq)
        return records

    def find_unique(self, type: str, field: str, values: Sequence[str]) -> dict[str, Record]:
        records = self.store.find_unique(type, field, values)
        remaining = [value for value in values if value not in records]
        pruned = self._pruned_to() if remaining else 0
        if pruned:
            seqs = self.store.unique_places(type, field, remaining)
            records.update(self._records_at({value: seq for value, seq in seqs.items() if seq <= pruned}))
        return records

    def places_of_rest(self, type_: str, ids: Sequence[str], known_ids: Mapping[str, object]) -> dict[str, int]:
        """Return the pruned sequence numbers of ids not found; call it after the store, which may prune meanwhile."""
        remaining = [id_ for id_ in ids if id_ not in known_ids]
        return self.store.pruned_places(type_, remaining) if remaining and self._pruned_to() else {}

    def _records_at(self, seq_by_name: Mapping[Name, int]) -> dict[Name, Record]:
        if not seq_by_name:
            return {}
        lake = self.lake(max(seq_by_name.values()))
        records = lake.records_at(seq_by_name.values())
        missing = next((seq for seq in seq_by_name.values() if seq not in records), None)
        if missing is not None:
            raise _other_lake(lake, missing)
        return {name: records[seq] for name, seq in seq_by_name.items()}

    # ---- the lake

    def _pruned_to(self) -> int:
        """Return the last pruned sequence number. The writer makes no query while nothing was pruned."""
        if not self._has_pruned and self.epoch:
            return 0
        pruned = self.store.pruned_to()
        self._has_pruned = pruned > 0
        return pruned

    def lake(self, upto: int) -> LakeReader:
        """Return the current lake. Raises: StorageError if it does not reach this sequence number."""
        from shroff.lake.reader import NoLakeError, shortage

        try:
            reader = self._current_lake()
        except PrunedError:
            raise
        except NoLakeError as error:  # records were pruned, so a lake existed
            raise StorageError(str(NoLakeError(error.address, self._pruned_to()))) from error
        except (StateError, UsageError) as error:  # wrong settings are not the reader's fault
            raise StorageError(str(error).rstrip(".")) from error
        if reader.last_seq < upto:
            raise StorageError(shortage(reader.objects.address, reader.last_seq, self._pruned_to()))
        return reader

    def _current_lake(self) -> LakeReader:
        """Open or refresh the lake. Raises: StorageError if its first record, which has a time, is of another log."""
        from shroff.lake.writer import mark_of

        if self._reader is None:
            reader = self._held.enter_context(self._open_lake())
            first = self.controls(upto=1)
            if first and mark_of(first) != reader.state.log:
                raise _other_lake(reader, 1)
            self._reader = reader
        else:
            self._reader.refresh()
        return self._reader


class WholeDecisions:
    """The decisions of a `WholeLog`: `streams.log.Decisions`."""

    def __init__(self, log: WholeLog) -> None:
        self._log = log

    def of(self, type: str, ids: Sequence[str]) -> dict[str, DecisionRow]:
        by_id = self._log.store.decisions.of(type, ids)
        pruned_seqs = self._log.places_of_rest(type, ids, by_id)
        if pruned_seqs:
            rows = self._log.lake(max(pruned_seqs.values())).decisions_at(pruned_seqs.values())
            by_id.update({id_: rows[seq] for id_, seq in pruned_seqs.items() if seq in rows})
        return by_id

    def after(self, after: int = 0, upto: int | None = None, size: int = READ) -> Iterator[list[DecisionRow]]:
        log = self._log
        return log.rows(log.store.decisions.after, lambda lake, *part: lake.decisions(*part), after, upto, size)

    def outcome_lines(self, after: int = 0, upto: int | None = None, size: int = LINES) -> Iterator[bytes]:
        log = self._log
        return log.rows(
            log.store.decisions.outcome_lines, _lake_outcomes, after, upto, size, lambda after, _: after + size
        )


def _lake_lines(lake: LakeReader, after: int, upto: int, size: int) -> Iterator[bytes]:
    return (b"".join(map(_line, rows)) for rows in lake.records(after, upto, size))


def _lake_outcomes(lake: LakeReader, after: int, upto: int, size: int) -> Iterator[bytes]:
    return (b"".join(map(_outcome, rows)) for rows in lake.decisions(after, upto, size))


def _line(record: Record) -> bytes:
    return b"%c%d%s %s\n" % (record.kind.encode()[:1], record.decided, record.type.encode(), record.body)


def _outcome(row: DecisionRow) -> bytes:
    return b"%d %s\n" % (row.seq, row.outcome.encode())


def _other_lake(lake: LakeReader, seq: int) -> StorageError:
    return StorageError(
        f"{lake.objects.address} has another record at sequence number {seq:,} than the log had: it is the "
        "lake of another log. "
        "Name the right one in shroff.yaml as 'lake:'"
    )


def whole(store: Log, lake: Callable[[], AbstractContextManager[LakeReader]] | None) -> Log:
    """Return a log over store and lake if records were or may be pruned; else the store itself.

    Args:
        lake: None if the project has none; access to a pruned record then raises PrunedError.
    """
    if lake is not None:
        return cast("Log", WholeLog(store, lake))
    pruned = store.pruned_to()
    if not pruned:
        return store

    def none() -> AbstractContextManager[LakeReader]:
        raise PrunedError(store.place, pruned)

    return cast("Log", WholeLog(store, none))
