"""Rows for sinks, read from the log: decisions, flags, events or labels, in log order.

Rows of one `seq` stay together.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Annotated, Final, TypedDict

import msgspec
from msgspec.json import encode as to_json

from shroff.events.event import TimeText, time_text
from shroff.runtime.values import replace
from shroff.streams.log import PENDING, FlagRow, LogReader, StuckRow
from shroff.streams.sink import Outgoing

Part = tuple[int, list[Outgoing]]  # the sequence number that is reached by delivering the rows, and the rows


def decisions(log: LogReader, after: int, upto: int, outcomes: Collection[str] = ()) -> list[Outgoing]:
    """Return the decisions at `after < seq <= upto` with these outcomes, or all. Cost: 1 µs each beside reading."""
    return [
        Outgoing(row.seq, 0, "decision", row.event, row.id, row.outcome, row.document)
        for rows in log.decisions.after(after, upto)
        for row in rows
        if not outcomes or row.outcome in outcomes
    ]


def flags(log: LogReader, after: int, upto: int, outcomes: Collection[str] = ()) -> list[Outgoing]:
    """Return the flags at `after < seq <= upto`, numbered within each sequence number."""
    rows_out: list[Outgoing] = []
    for rows in log.flags.after(after, upto):
        for row in rows:
            number = rows_out[-1].number + 1 if rows_out and rows_out[-1].seq == row.seq else 1
            event, _, id_ = row.event.partition("/")
            rows_out.append(Outgoing(row.seq, number, "flag", event, id_, "", flag_body(row)))
    return rows_out


def events(log: LogReader, after: int, upto: int, outcomes: Collection[str] = ()) -> list[Outgoing]:
    """Return the events at `after < seq <= upto`, decided or not, as stored; no labels or control events."""
    return [
        Outgoing(record.seq, 0, "event", record.type, record.id, "", record.body)
        for records in log.read(after, upto)
        for record in records
        if record.kind == "event"
    ]


def labels(log: LogReader, after: int, upto: int, outcomes: Collection[str] = ()) -> list[Outgoing]:
    """Return the labels at `after < seq <= upto`, each with the type and id of its event."""
    rows_out: list[Outgoing] = []
    for records in log.labels_after(after, upto):
        for record in records:
            event, _, id_ = record.id.rpartition("#")[0].partition("/")
            rows_out.append(Outgoing(record.seq, 0, "label", event, id_, "", record.body))
    return rows_out


def with_fields(log: LogReader, rows: Sequence[Outgoing]) -> list[Outgoing]:
    """Add to ordered rows the fields and times of their events. Cost: reads the events between them."""
    if not rows:
        return []
    after = rows[0].seq - 1
    upto = rows[-1].seq
    by_seq = {record.seq: record for records in log.read(after, upto) for record in records if record.kind == "event"}
    batches = log.ingested(after, upto)
    firsts = [first for first, _ in batches]
    completed = list[Outgoing]()
    for row in rows:
        event = by_seq.get(row.seq)
        index = bisect_right(firsts, row.seq) - 1
        more = {} if event is None else {"fields": event.body, "time_ms": event.time_ms}
        completed.append(replace(row, **more, at_ms=batches[index][1] if index >= 0 else None))
    return completed


KINDS: Final[Mapping[str, Callable[..., list[Outgoing]]]] = {
    "decisions": decisions,
    "flags": flags,
    "events": events,
    "labels": labels,
}


def flag_body(row: FlagRow) -> bytes:
    """Encode a flag as JSON, as it was raised: like `shroff export flags` before any label."""
    return to_json(flag_document(row, row.accuracy, row.time_ms))


class Flag(TypedDict):
    """A flag: one rule flagged one entity at one event."""

    id: str
    seq: int
    rule: str
    entity: str
    key: str
    event: str
    reason: str
    accuracy: Annotated[str, msgspec.Meta(extra_json_schema={"enum": [PENDING, "FALSE_ALARM", "ACCURATE_PREDICTION"]})]
    created: TimeText
    time: TimeText
    updated: TimeText


def flag_document(row: FlagRow, accuracy: str, updated_ms: int) -> Flag:
    """Return a flag as it is answered, sent and exported. Its id is its sequence number and its rule."""
    created = time_text(row.time_ms)
    return {
        "id": f"{row.seq}-{row.rule}",
        "seq": row.seq,
        "rule": row.rule,
        "entity": row.entity,
        "key": row.key,
        "event": row.event,
        "reason": row.reason,
        "accuracy": accuracy,
        "created": created,
        "time": created,
        "updated": time_text(updated_ms),
    }


def parts(rows: Sequence[Outgoing], upto: int, places_max: int) -> Iterator[Part]:
    """Split rows into parts with at most `places_max` distinct sequence numbers; the last part reaches `upto`."""
    part: list[Outgoing] = []
    seq_count = 0
    for row in rows:
        if not part or row.seq != part[-1].seq:
            if seq_count == places_max:
                yield part[-1].seq, part
                part = []
                seq_count = 0
            seq_count += 1
        part.append(row)
    yield upto, part


def outgoing(row: StuckRow) -> Outgoing:
    """Return a stuck row for another attempt."""
    return Outgoing(
        seq=row.seq,
        number=row.number,
        kind=row.kind,
        event=row.event,
        id=row.id,
        outcome=row.outcome,
        body=row.body,
        fields=row.fields,
    )


def stuck(sink: str, row: Outgoing, reason: str, at_ms: int) -> StuckRow:
    """Return the stuck form of a row that was refused for the first time."""
    return StuckRow(
        sink=sink,
        seq=row.seq,
        number=row.number,
        kind=row.kind,
        event=row.event,
        id=row.id,
        outcome=row.outcome,
        body=row.body,
        fields=row.fields,
        reason=reason,
        attempts=1,
        at_ms=at_ms,
    )
