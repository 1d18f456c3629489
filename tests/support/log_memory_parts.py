"""The parts of the log in memory, each as `streams.log` names it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, TypeVar

from shroff.streams.batch_check import check_epoch
from shroff.streams.log import (
    DecisionRow,
    FlagRow,
    HitRow,
    InboxRequest,
    LateEvent,
    Log,
    OutboxRow,
    Refused,
    StuckKey,
    StuckRow,
    WaitingLabel,
)

if TYPE_CHECKING:
    from tests.support.log_memory import MemoryLog

_Row = TypeVar("_Row")


class _Part:
    def __init__(self, log: MemoryLog) -> None:
        self.log = log


class MemoryDecisions(_Part):
    def of(self, type: str, ids: Sequence[str]) -> dict[str, DecisionRow]:
        with self.log.held() as store:
            places = ((id_, store.places.get((type, id_), 0)) for id_ in ids)
            return {id_: store.decisions[place] for id_, place in places if place in store.decisions}

    def after(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[DecisionRow]]:
        return slices(self.log.rows(lambda store: list(store.decisions.values()), after, upto), size)

    def outcome_lines(self, after: int = 0, upto: int | None = None, size: int = 65_536) -> Iterator[bytes]:
        for rows in self.after(after, upto, size):
            yield b"".join(b"%d %s\n" % (row.seq, row.outcome.encode()) for row in rows)


class MemoryFlags(_Part):
    def after(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[FlagRow]]:
        return slices(self.log.between(self.log.usable().flags, after, upto), size)

    def of(self, entity: str, key: str, before: tuple[int, str] | None = None, limit: int = 100) -> list[FlagRow]:
        rows = [row for row in self.log.usable().flags if (row.entity, row.key) == (entity, key)]
        rows.sort(key=_newest_first)
        return [row for row in rows if before is None or _newest_first(row) > (-before[0], before[1])][:limit]


class MemoryHits(_Part):
    def after(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[HitRow]]:
        return slices(self.log.between(self.log.usable().hits, after, upto), size)


class MemoryInbox(_Part):
    def ask(self, kind: str, body: bytes, at_ms: int) -> int:
        """Put a request into the inbox; gives its number."""
        with self.log.held() as store:
            store.inbox_count += 1
            store.inbox[store.inbox_count] = InboxRequest(store.inbox_count, kind, body, at_ms)
            return store.inbox_count

    def pending(self, limit: int = 1_000) -> list[InboxRequest]:
        """The requests that wait, in the order of their arrival."""
        with self.log.held() as store:
            return list(islice(store.inbox.values(), limit))

    def reply_to(self, number: int) -> bytes | None:
        """The reply to a request; None while it waits, and for a number that never was or is long gone."""
        return self.log.usable().replies.get(number)


class MemoryQuarantine(_Part):
    def entries(self, numbers: Sequence[int]) -> list[tuple[int, Refused]]:
        """The entries of these numbers, oldest first; numbers that are not there are left out."""
        wanted = set(numbers)
        with self.log.held() as store:
            return [entry for entry in store.refused.values() if entry[0] in wanted]

    def numbers(self) -> list[int]:
        """The numbers of all that is in quarantine, oldest first."""
        with self.log.held() as store:
            return [number for number, _ in store.refused.values()]


class MemoryOutbox(_Part):
    def rows(self, limit: int = 100) -> list[OutboxRow]:
        """What still has to leave, oldest first."""
        with self.log.held() as store:
            return sorted(store.outbox.values(), key=attrgetter("seq", "number"))[:limit]

    def done(self, keys: Iterable[str]) -> None:
        """Take delivered rows out of the outbox."""
        store = self.log.writable()
        with store.lock:
            check_epoch(self.log.epoch, store.epoch, self.log.place)
            for key in keys:
                store.outbox.pop(key, None)

    def stuck(
        self, sink: str = "", *, is_due: bool = False, after: StuckKey = ("", 0, 0), limit: int = 1_000
    ) -> list[StuckRow]:
        """What sinks would not take, behind a key, in the order of keys."""
        with self.log.held() as store:
            keys = sorted(key for key in store.stuck if key > after and (not sink or key[0] == sink))
            rows = (store.stuck[key] for key in keys)
            return list(islice((row for row in rows if row.is_due or not is_due), limit))


class MemoryOffsets(_Part):
    def get(self, source: str, part: str) -> str | None:
        """How far this part of the source was read."""
        return self.log.usable().offsets.get((source, part))

    def of(self, source: str) -> dict[str, str]:
        """How far each part of the source was read."""
        with self.log.held():
            return self.log.offsets_of(source)


class MemoryWaitingLabels(_Part):
    def for_events(self, type: str, ids: Sequence[str], field: str = "") -> list[WaitingLabel]:
        """Labels that wait for these events, in the order of their arrival; with a field, for its values."""
        wanted = set(ids)
        return [
            label
            for label in self.all()
            if (label.event_type, label.field) == (type, field) and label.event_id in wanted
        ]

    def with_ids(self, ids: Iterable[str]) -> list[WaitingLabel]:
        """Waiting labels with these label ids, in the order of their arrival."""
        wanted = set(ids)
        return [label for label in self.all() if label.id in wanted]

    def all(self) -> list[WaitingLabel]:
        """All waiting labels, in the order of their arrival."""
        with self.log.held() as store:
            return list(store.waiting.values())


class MemoryPersonalValues(_Part):
    def of(self, type: str, ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """What lies beside the events of one type with these ids, by id and field."""
        with self.log.held() as store:
            return {id_: dict(store.personal[type, id_]) for id_ in ids if (type, id_) in store.personal}


class MemoryLateEvents(_Part):
    def with_ids(self, type: str, ids: Sequence[str]) -> dict[str, LateEvent]:
        """The events of one type with these ids that came too late and are kept."""
        with self.log.held() as store:
            return {id_: store.late[type, id_] for id_ in ids if (type, id_) in store.late}

    def after(self, type: str = "", id: str = "", limit: int = 1_000) -> list[LateEvent]:
        """The kept late events behind this one, in the order of type and id."""
        with self.log.held() as store:
            return [event for key, event in sorted(store.late.items()) if key > (type, id)][:limit]


def quarantined(log: Log) -> list[tuple[int, Refused]]:
    """Return all entries in quarantine, oldest first, with their numbers."""
    return log.quarantine.entries(log.quarantine.numbers())


def slices(rows: Sequence[_Row], size: int) -> Iterator[list[_Row]]:
    yield from (list(rows[start : start + size]) for start in range(0, len(rows), size))


def _newest_first(flag: FlagRow) -> tuple[int, str]:
    return -flag.seq, flag.rule
