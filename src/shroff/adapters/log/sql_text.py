"""The questions of a log in SQL: the words that all databases have in common, and the few that differ."""

# ruff: noqa: S608 - the names put into SQL are this module's own; values are always bound

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where databases differ.

    Args:
        mark: Stands for a value.
        quote: Stands around a name that is a word of SQL.
        as_bytes: A text as its bytes, `{}` being the column.
        table: The name of a table of ours in the database.
    """

    mark: str
    quote: str
    as_bytes: str
    table: Callable[[str], str] = str

    def bytes_of(self, column: str) -> str:
        return self.as_bytes.format(column)


@dataclass(frozen=True, slots=True)
class SqlWording:
    """Every question as the SQL of one database; of those about a list of ids, what its adapter makes of them."""

    last_seq: str
    watermark: str
    epoch: str
    read: str
    controls: str
    labels: str
    decisions: str
    frames: str
    frame_outcomes: str
    frame_at: str
    named: str
    decided: str
    ends: str
    move_end: str
    set_watermark: str
    event_frame_spans: str
    flags: str
    flags_of: str
    hits: str
    indexed: str
    waiting_all: str
    refused_list: str
    refused_numbers: str
    counts: str
    remarks: str
    asked: str
    reply_to: str
    offset: str
    offsets: str
    outbox: str
    stuck: str
    late_after: str
    pruned: str
    ingested: str
    chains: str
    event_frames: str
    frames_with_labels: str
    frames_with_controls: str
    event_frame_at: str
    next_event_frame: str
    framed_chains: str
    any_row: str
    rows_behind: str
    next_frame: str
    some_rows: dict[str, str]
    oldest_row: dict[str, str]
    framed_rows: dict[str, str]
    ids_between: str
    prune: tuple[str, ...]
    prune_frames: tuple[str, ...]
    records_at: Any
    decisions_at: Any
    find_places: Any
    personal: Any
    late: Any
    pruned_places: Any
    unique_places: Any
    waiting_for: Any
    waiting_with: Any
    refused_with: Any


def event_columns(dialect: Dialect, alias: str = "") -> str:
    """The columns of a record, its sum last."""
    names = [f"{alias}{name}" for name in ("seq", "kind", "type", "id", "time_ms")]
    return ", ".join([*names, dialect.bytes_of(f"{alias}body"), f"{alias}decided", f"{alias}crc"])


def decision_columns(dialect: Dialect) -> str:
    """The columns of a decision, its sum last."""
    return f"seq, outcome, receipt, {dialect.bytes_of('document')}, crc"


def waiting_columns(dialect: Dialect) -> str:
    """The columns of a waiting label, its number ahead."""
    return f"number, event_type, event_id, id, {dialect.bytes_of('body')}, source, place, raw, field"


FRAME_COLUMNS = "seq, first_seq, outcomes, data, crc"
_EVENT_FRAME = "seq, first_seq, labels, controls, chain, crc, data"
REFUSED_COLUMNS = "number, source, place, type, reason, raw, at_ms"


def late_columns(dialect: Dialect) -> str:
    """The columns of an event that came too late."""
    return f"type, id, time_ms, {dialect.bytes_of('body')}, at_ms"


def overlapping(after: int, upto: int) -> tuple[int, ...]:
    """What a question about frames with records in (after, upto] is asked with."""
    return after, upto, upto, upto


def wording(dialect: Dialect, **about_ids: Any) -> SqlWording:
    """The questions in a dialect; `about_ids` are those about a list of ids."""
    table, mark, quote, as_bytes = dialect.table, dialect.mark, dialect.quote, dialect.bytes_of
    events, decisions, inbox = table("events"), table("decisions"), table("inbox")
    quarantine, waiting, outbox, stuck = (table(one) for one in ("quarantine", "waiting_labels", "outbox", "stuck"))
    late, frames, event_frames = table("late_events"), table("decision_frames"), table("event_frames")
    rows = {"decisions": decisions, "events": events}
    columns, between = event_columns(dialect), f"seq > {mark} AND seq <= {mark}"
    # The first condition alone is one that every database finds its place in the index by.
    numbered = (
        f"seq >= {mark} AND (seq > {mark} OR number > {mark}) AND seq <= {mark} ORDER BY seq, number LIMIT {mark}"
    )
    offset = f"{quote}offset{quote}"
    framed, framed_events = (
        # The first that ends behind is the last: without its end a database reads on to the last of all.
        f"seq > {mark} AND seq <= COALESCE((SELECT min(seq) FROM {one} WHERE seq >= {mark}), {mark}) "
        f"AND first_seq <= {mark}"
        for one in (frames, event_frames)
    )
    some_events = f"{framed_events} ORDER BY seq LIMIT {mark}"
    last_seq = (
        f"SELECT max(seq) FROM (SELECT max(seq) AS seq FROM {events} UNION ALL "
        f"SELECT max(seq) AS seq FROM {event_frames}) AS both_of"
    )
    return SqlWording(
        last_seq=last_seq,
        watermark=f"SELECT time_ms FROM {table('watermark')}",
        epoch=f"SELECT epoch FROM {table('lead')}",
        read=f"SELECT {columns} FROM {events} WHERE {between} ORDER BY seq LIMIT {mark}",
        controls=f"SELECT {columns} FROM {events} WHERE type = 'control' AND kind = 'control' AND {between} "
        "ORDER BY seq",
        labels=f"SELECT {columns} FROM {events} WHERE {between} AND kind = 'label' ORDER BY seq LIMIT {mark}",
        decisions=f"SELECT {decision_columns(dialect)} FROM {decisions} WHERE {between} ORDER BY seq LIMIT {mark}",
        frames=f"SELECT {FRAME_COLUMNS} FROM {frames} WHERE {framed} ORDER BY seq LIMIT {mark}",
        frame_outcomes=f"SELECT seq, first_seq, outcomes FROM {frames} WHERE {framed} ORDER BY seq",
        frame_at=f"SELECT {FRAME_COLUMNS} FROM {frames} WHERE seq >= {mark} ORDER BY seq LIMIT 1",
        named=f"SELECT seq, type, id FROM {events} WHERE {between} AND kind = 'event'",
        decided=f"SELECT seq, type FROM {events} WHERE {between} AND decided = 1",
        ends=f"SELECT last_seq, ({last_seq}) FROM {table('watermark')}",
        move_end=f"UPDATE {table('watermark')} SET last_seq = {mark}, "
        f"time_ms = CASE WHEN time_ms IS NULL OR time_ms < {mark} THEN {mark} ELSE time_ms END",
        set_watermark=f"UPDATE {table('watermark')} SET time_ms = {mark}",
        event_frame_spans=f"SELECT first_seq, seq FROM {event_frames} WHERE {framed_events}",
        flags=f"SELECT seq, rule, entity, {quote}key{quote}, event, reason, time_ms, accuracy, crc, number "
        f"FROM {table('flags')} WHERE {numbered}",
        flags_of=f"SELECT seq, rule, entity, {quote}key{quote}, event, reason, time_ms, accuracy, crc "
        f"FROM {table('flags')} "
        f"WHERE entity = {mark} AND {quote}key{quote} = {mark} AND (seq < {mark} OR (seq = {mark} AND rule > {mark})) "
        f"ORDER BY seq DESC, rule LIMIT {mark}",
        hits=f"SELECT seq, rule, {quote}key{quote}, shadow, crc, number FROM {table('hits')} WHERE {numbered}",
        indexed=f"SELECT type, field, form FROM {table('unique_fields')} ORDER BY type, field",
        waiting_all=f"SELECT {waiting_columns(dialect)} FROM {waiting}",
        refused_list=f"SELECT {REFUSED_COLUMNS} FROM {quarantine} ORDER BY number",
        refused_numbers=f"SELECT number FROM {quarantine} ORDER BY number",
        counts=f"SELECT (SELECT count(*) FROM {quarantine}), (SELECT count(*) FROM {waiting}), "
        f"(SELECT count(*) FROM {outbox}), (SELECT count(*) FROM {stuck}), (SELECT count(*) FROM {late})",
        remarks=f"SELECT what, asker, {quote}count{quote}, first_seq, first_ms, last_seq, last_ms "
        f"FROM {table('remarks')} ORDER BY what, asker",
        asked=f"SELECT number, kind, {as_bytes('body')}, at_ms FROM {inbox} WHERE reply IS NULL ORDER BY number "
        f"LIMIT {mark}",
        reply_to=f"SELECT {as_bytes('reply')} FROM {inbox} WHERE number = {mark} AND reply IS NOT NULL",
        offset=f"SELECT {offset} FROM {table('offsets')} WHERE source = {mark} AND part = {mark}",
        offsets=f"SELECT part, {offset} FROM {table('offsets')} WHERE source = {mark}",
        outbox=f"SELECT seq, number, kind, {as_bytes('body')} FROM {outbox} ORDER BY seq, number LIMIT {mark}",
        stuck=f"SELECT sink, seq, number, kind, event, id, outcome, {as_bytes('body')}, {as_bytes('fields')}, reason, "
        f"attempts, at_ms, is_due FROM {stuck} WHERE (sink, seq, number) > ({mark}, {mark}, {mark}) "
        f"AND ({mark} = '' OR sink = {mark}) AND is_due >= {mark} ORDER BY sink, seq, number LIMIT {mark}",
        late_after=f"SELECT {late_columns(dialect)} FROM {late} WHERE (type, id) > ({mark}, {mark}) "
        f"ORDER BY type, id LIMIT {mark}",
        pruned=f"SELECT seq FROM {table('pruned')}",
        ingested=f"SELECT seq, at_ms FROM {table('batches')} WHERE seq >= (SELECT coalesce(max(seq), 0) "
        f"FROM {table('batches')} WHERE seq <= {mark}) AND seq <= {mark} ORDER BY seq",
        chains=f"SELECT seq, chain FROM {events} WHERE seq IN ({mark}, {mark})",
        event_frames=f"SELECT {_EVENT_FRAME} FROM {event_frames} WHERE {some_events}",
        frames_with_labels=f"SELECT {_EVENT_FRAME} FROM {event_frames} WHERE labels > 0 AND {some_events}",
        frames_with_controls=f"SELECT {_EVENT_FRAME} FROM {event_frames} WHERE controls > 0 AND {some_events}",
        event_frame_at=f"SELECT {_EVENT_FRAME} FROM {event_frames} WHERE seq >= {mark} ORDER BY seq LIMIT 1",
        next_event_frame=f"SELECT first_seq, seq FROM {event_frames} WHERE seq > {mark} ORDER BY seq LIMIT 1",
        framed_chains=f"SELECT seq, chain FROM {event_frames} WHERE seq IN ({mark}, {mark})",
        any_row=f"SELECT 1 FROM {events} WHERE type = {mark} LIMIT 1",
        rows_behind=f"SELECT count(*) FROM (SELECT 1 FROM {events} WHERE {between} LIMIT {mark}) AS some_rows",
        next_frame=f"SELECT min(first_seq) FROM {frames} WHERE seq > {mark}",
        some_rows={
            name: f"SELECT count(*) FROM (SELECT 1 FROM {one} WHERE seq > {mark} LIMIT {mark}) AS some_rows"
            for name, one in rows.items()
        },
        oldest_row={name: f"SELECT min(seq) FROM {one} WHERE seq > {mark}" for name, one in rows.items()},
        framed_rows={name: f"DELETE FROM {one} WHERE seq >= {mark} AND seq <= {mark}" for name, one in rows.items()},
        ids_between=f"SELECT seq, type, id FROM {events} WHERE seq > {mark} AND seq <= {mark} AND kind <> 'control'",
        prune=(
            f"DELETE FROM {decisions} WHERE seq > {mark} AND seq <= {mark}",
            f"DELETE FROM {events} WHERE seq > {mark} AND seq <= {mark} AND kind <> 'control'",
        ),
        prune_frames=(
            f"DELETE FROM {frames} WHERE {framed}",
            f"DELETE FROM {event_frames} WHERE {framed_events}",
        ),
        **about_ids,
    )
