"""A log whose older places lie in the lake: one `Log` over both, so that nobody who reads it has to know.

The store has what is young, and all that is no record or decision; the lake has what was pruned. Whoever asks for an
id gets its record wherever it lies (docs/decisions/0033).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar, cast

from shroff.errors import PrunedError, StateError, StorageError, UsageError
from shroff.streams.log import PRUNED_AT_ONCE, DecisionRow, Log, Record

if TYPE_CHECKING:
    from shroff.lake.reader import LakeReader

READ = 4_096
LINES = 65_536


Part = TypeVar("Part")
Name = TypeVar("Name")


def _both(kind: str) -> Callable[..., Iterator[Any]]:
    """A method that gives the rows of a kind in order, in lists."""

    def rows(log: WholeLog, after: int = 0, upto: int | None = None, size: int = READ) -> Iterator[Any]:
        of_store = getattr(log.store, f"{kind}_after")
        return log._rows(of_store, attrgetter(kind), after, upto, size)  # noqa: SLF001 - it becomes a method

    return rows


class WholeLog:
    """A log of a store and of a lake, which is opened when a pruned place is asked for, and not before.

    Keeps the promises of `streams.log.Log` for every place, pruned or not. Where the lake cannot be had, what comes
    to a pruned place raises what the lake raises; all else goes on.

    Args:
        store: The log that is written; it is closed with this one.
        lake: Opens the lake to read; raises PrunedError where the project names none.
    """

    def __init__(self, store: Log, lake: Callable[[], AbstractContextManager[LakeReader]]) -> None:
        self.store = store
        self._open_lake = lake
        self._held = ExitStack()
        self._reader: LakeReader | None = None
        self._has_pruned = store.pruned_to() > 0
        self.epoch = store.epoch
        self.place = store.place

    def __getattr__(self, name: str) -> Any:
        """What no pruned place changes goes to the store as it is."""
        return getattr(self.store, name)

    def prune(self, upto: int, places: int = PRUNED_AT_ONCE) -> int:
        """Let go of events, labels and decisions up to a place; gives the place that it came to."""
        self._has_pruned = True
        return self.store.prune(upto, places)

    def close(self) -> None:
        """Let go of the store and of the lake. Closing twice does nothing."""
        self.store.close()
        self._held.close()

    # ---- in order

    def read(self, after: int = 0, upto: int | None = None, size: int = READ) -> Iterator[list[Record]]:
        """Records with `after < seq <= upto` in order, in lists of at most `size`."""
        if upto == after + 1 and after < self._pruned():
            control = self.controls(after, upto)
            if control:  # which stay in the store: so a start that looks at the first one needs no lake
                yield control
                return
        yield from self._rows(self.store.read, lambda lake: lake.records, after, upto, size)

    labels_after = _both("labels")
    decisions_after = _both("decisions")

    def lines(self, after: int = 0, upto: int | None = None, size: int = LINES) -> Iterator[bytes]:
        """The same records as text, a line each. Cost: of those in the lake as `read`."""
        return self._rows(
            self.store.lines,
            lambda lake: lambda *part: (b"".join(map(_line, rows)) for rows in lake.records(*part)),
            after,
            upto,
            size,
            lambda after, lines: after + lines.count(b"\n"),
        )

    def outcome_lines(self, after: int = 0, upto: int | None = None, size: int = LINES) -> Iterator[bytes]:
        """Place and outcome of decisions, as lines."""
        return self._rows(
            self.store.outcome_lines,
            lambda lake: lambda *part: (b"".join(map(_outcome, rows)) for rows in lake.decisions(*part)),
            after,
            upto,
            size,
            lambda after, _: after + size,
        )

    def _rows(
        self,
        of_store: Callable[[int, int | None, int], Iterator[Part]],
        of_lake: Callable[[LakeReader], Callable[[int, int | None, int], Iterator[Part]]],
        after: int,
        upto: int | None,
        size: int,
        behind: Callable[[int, Any], int] = lambda _, rows: rows[-1].seq,
    ) -> Iterator[Part]:
        """Parts of the lake up to the place that was pruned, and of the store behind it.

        Where the store lets go of places meanwhile, they are read on from the lake.

        Args:
            behind: The last place of a part of the store, by the one before it.
        """
        end = self._end(upto)
        while after < end:
            stop = min(self._pruned(), end)
            if after < stop:
                yield from of_lake(self._lake(stop))(after, stop, size)
                after = stop
            try:
                for part in of_store(after, end, size):
                    yield part
                    after = behind(after, part)
            except PrunedError:
                continue
            return

    def _end(self, upto: int | None) -> int:
        last: int = self.last_seq()
        return last if upto is None else min(upto, last)

    # ---- by place or id

    def records_at(self, places: Collection[int]) -> dict[int, Record]:
        """The records at these places, pruned or not; places that are not there are left out.

        Cost: as the store's, and `LakeReader.records_at` where some were pruned.
        """
        found = self.store.records_at(places)
        pruned = self._pruned() if len(found) < len(places) else 0  # behind it: what goes meanwhile is pruned now
        rest = [seq for seq in places if 0 < seq <= pruned and seq not in found]
        return {**found, **self._records_at({seq: seq for seq in rest})}

    def find(self, type: str, ids: Sequence[str]) -> dict[str, Record]:
        """The records of one type with these ids; ids that are not there are left out.

        Cost: as the store's, and `LakeReader.records_at` where some were pruned.
        """
        found = self.store.find(type, ids)
        places = self._places_of_rest(type, ids, found)
        if places:
            found.update(self._records_at(places))
            wrong = next((record for id_, record in found.items() if (record.type, record.id) != (type, id_)), None)
            if wrong is not None:
                raise _other_lake(self._lake(0), wrong.seq)
        return found

    def find_unique(self, type: str, field: str, values: Sequence[str]) -> dict[str, Record]:
        """The records of one type that a unique field's values name, by the texts of those; others are left out."""
        found = self.store.find_unique(type, field, values)
        rest = [value for value in values if value not in found]
        pruned = self._pruned() if rest else 0
        if pruned:
            places = self.store.unique_places(type, field, rest)
            found.update(self._records_at({value: seq for value, seq in places.items() if seq <= pruned}))
        return found

    def decisions(self, type: str, ids: Sequence[str]) -> dict[str, DecisionRow]:
        """The decisions of events of one type with these ids."""
        found = self.store.decisions(type, ids)
        places = self._places_of_rest(type, ids, found)
        if places:
            rows = self._lake(max(places.values())).decisions_at(places.values())
            found.update({id_: rows[seq] for id_, seq in places.items() if seq in rows})
        return found

    def _places_of_rest(self, type_: str, ids: Sequence[str], found: Mapping[str, object]) -> dict[str, int]:
        """The pruned places of ids that the store did not find. Asked behind it: what goes meanwhile is there then."""
        rest = [id_ for id_ in ids if id_ not in found]
        return self.store.pruned_places(type_, rest) if rest and self._pruned() else {}

    def _records_at(self, places: Mapping[Name, int]) -> dict[Name, Record]:
        if not places:
            return {}
        lake = self._lake(max(places.values()))
        records = lake.records_at(places.values())
        missing = next((seq for seq in places.values() if seq not in records), None)
        if missing is not None:
            raise _other_lake(lake, missing)
        return {name: records[seq] for name, seq in places.items()}

    # ---- the lake

    def _pruned(self) -> int:
        """The last place that was pruned. What leads the log knows that none was without asking."""
        if not self._has_pruned and self.epoch:
            return 0
        pruned = self.store.pruned_to()
        self._has_pruned = pruned > 0
        return pruned

    def _lake(self, upto: int) -> LakeReader:
        """The lake, which has all places up to this one, as it is now. Raises: StorageError where it has not."""
        from shroff.lake.reader import NoLakeError, shortage

        try:
            reader = self._opened_lake()
        except PrunedError:
            raise
        except NoLakeError as error:  # where one was
            raise StorageError(str(NoLakeError(error.address, self._pruned()))) from error
        except (StateError, UsageError) as error:  # its settings are no mistake of whoever reads
            raise StorageError(str(error).rstrip(".")) from error
        if reader.last_seq < upto:
            raise StorageError(shortage(reader.objects.address, reader.last_seq, self._pruned()))
        return reader

    def _opened_lake(self) -> LakeReader:
        """Raises: StorageError where the lake is of another log, by the first record, which has the time."""
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
    """The log over store and lake, where something was pruned or may be; else the store as it is.

    Args:
        lake: None where the project names none. What comes to a pruned place raises PrunedError then.
    """
    if lake is not None:
        return cast("Log", WholeLog(store, lake))
    pruned = store.pruned_to()
    if not pruned:
        return store

    def none() -> AbstractContextManager[LakeReader]:
        raise PrunedError(store.place, pruned)

    return cast("Log", WholeLog(store, none))
