"""SQL statements of the log that SQLite and PostgreSQL share, except for those that write many rows."""

# ruff: noqa: S608 - the names put into SQL are this module's own; values are always bound

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shroff.adapters.log.tables.rows import KEPT, RowTable

_FRAME = "seq, first_seq, outcomes, receipts, data, crc"
_EVENT_FRAME = "seq, first_seq, labels, controls, crc, data"
_REFUSED = "number, digest, header, source, place, type, reason, raw, at_ms"


def overlapping(after: int, upto: int) -> tuple[int, ...]:
    """Return the values of a query for the frames that overlap (after, upto]."""
    return after, upto, upto, upto


def _some_rows(table: RowTable, as_bytes: str) -> str:
    columns = (
        as_bytes.format(name) if kind == "j" else f'"{name}"'
        for name, kind in zip(table.columns, table.kinds, strict=True)
    )
    return f"SELECT {', '.join(columns)} FROM {table.name} LIMIT ? OFFSET ?"


class SqlWording:
    """Statements of a log in the SQL of one database, with `?` for each value as in SQLite.

    Args:
        as_bytes: SQL expression that reads a text as bytes; `{}` stands for the column.
        by_ids: Makes a query for a list of ids, from the result columns, the table, the column with the ids, a further
            condition, and the kind of the ids as in `LogConnection.select`.
        frames_at: Makes a query for a list of sequence numbers: for each, the first frame of a table that ends there or
            later.
        by_digest: Whether long texts are looked up by their digest column, as in PostgreSQL.
    """

    def __init__(
        self, as_bytes: str, by_ids: Callable[..., Any], frames_at: Callable[..., Any], *, by_digest: bool = False
    ) -> None:
        body = as_bytes.format("body")
        event = f"seq, kind, type, id, time_ms, {body}, decided, crc"
        decision = f"seq, outcome, receipt, {as_bytes.format('document')}, crc"
        columns = f"number, event_type, event_id, id, {body}, source, place, raw, field, header"
        late = f"type, id, time_ms, {body}, at_ms"
        between = "seq > ? AND seq <= ?"
        tables = ("decisions", "events")
        # The first condition repeats part of the second, as every database can use an index for it.
        numbered = "seq >= ? AND (seq > ? OR number > ?) AND seq <= ? ORDER BY seq, number LIMIT ?"
        framed, framed_events = (
            # The first frame that ends at or after `upto` is the last one to read. Without this bound a database would
            # read all later frames.
            f"seq > ? AND seq <= COALESCE((SELECT min(seq) FROM {name} WHERE seq >= ?), ?) AND first_seq <= ?"
            for name in ("decision_frames", "event_frames")
        )
        some_events = f"{framed_events} ORDER BY seq LIMIT ?"
        self.kept = {table.name: _some_rows(table, as_bytes) for table in KEPT}
        self.kept_rows = {table.name: f"SELECT count(*) FROM {table.name}" for table in KEPT}
        self.last_seq = (
            "SELECT max(seq) FROM (SELECT max(seq) AS seq FROM events UNION ALL "
            "SELECT max(seq) AS seq FROM event_frames) AS both_of"
        )
        self.watermark = "SELECT time_ms FROM watermark"
        self.epoch = "SELECT epoch FROM lead"
        self.read = f"SELECT {event} FROM events WHERE {between} ORDER BY seq LIMIT ?"
        self.controls = (
            f"SELECT {event} FROM events WHERE type = 'control' AND kind = 'control' AND {between} ORDER BY seq"
        )
        self.labels = f"SELECT {event} FROM events WHERE {between} AND kind = 'label' ORDER BY seq LIMIT ?"
        self.decisions = f"SELECT {decision} FROM decisions WHERE {between} ORDER BY seq LIMIT ?"
        self.outcomes = f"SELECT seq, outcome FROM decisions WHERE {between} ORDER BY seq"
        self.frames = f"SELECT {_FRAME} FROM decision_frames WHERE {framed} ORDER BY seq LIMIT ?"
        self.frame_outcomes = f"SELECT seq, first_seq, outcomes FROM decision_frames WHERE {framed} ORDER BY seq"
        self.frames_at = frames_at(_FRAME, "decision_frames")
        self.named = f"SELECT seq, type, id FROM events WHERE {between} AND kind = 'event'"
        self.decided = f"SELECT seq, type FROM events WHERE {between} AND decided = 1"
        self.ends = f"SELECT last_seq, ({self.last_seq}) FROM watermark"
        self.move_end = (
            "UPDATE watermark SET last_seq = ?, "
            "time_ms = CASE WHEN time_ms IS NULL OR time_ms < ? THEN ? ELSE time_ms END"
        )
        self.set_watermark = "UPDATE watermark SET time_ms = ?"
        self.event_frame_spans = f"SELECT first_seq, seq FROM event_frames WHERE {framed_events}"
        self.flags = (
            f'SELECT seq, rule, entity, "key", event, reason, time_ms, accuracy, crc, number '
            f"FROM flags WHERE {numbered}"
        )
        self.flags_of = (
            'SELECT seq, rule, entity, "key", event, reason, time_ms, accuracy, crc '
            "FROM flags "
            'WHERE entity = ? AND "key" = ? AND (seq < ? OR (seq = ? AND rule > ?)) '
            "ORDER BY seq DESC, rule LIMIT ?"
        )
        self.hits = f'SELECT seq, rule, "key", shadow, crc, number FROM hits WHERE {numbered}'
        self.indexed = "SELECT type, field, form FROM unique_fields ORDER BY type, field"
        self.waiting_all = f"SELECT {columns} FROM waiting_labels"
        self.refused_numbers = "SELECT number FROM quarantine ORDER BY number"
        self.counts = (
            "SELECT (SELECT count(*) FROM quarantine), (SELECT count(*) FROM waiting_labels), "
            "(SELECT count(*) FROM outbox), (SELECT count(*) FROM stuck), (SELECT count(*) FROM late_events)"
        )
        self.remarks = (
            'SELECT what, asker, "count", first_seq, first_ms, last_seq, last_ms FROM remarks ORDER BY what, asker'
        )
        self.asked = f"SELECT number, kind, {body}, at_ms FROM inbox WHERE reply IS NULL ORDER BY number LIMIT ?"
        self.reply_to = f"SELECT {as_bytes.format('reply')} FROM inbox WHERE number = ? AND reply IS NOT NULL"
        self.offset = 'SELECT "offset" FROM offsets WHERE source = ? AND part = ?'
        self.offsets = 'SELECT part, "offset" FROM offsets WHERE source = ?'
        self.outbox = f"SELECT seq, number, kind, {body} FROM outbox ORDER BY seq, number LIMIT ?"
        self.stuck = (
            f"SELECT sink, seq, number, kind, event, id, outcome, {body}, {as_bytes.format('fields')}, reason, "
            f"attempts, at_ms, is_due FROM stuck WHERE (sink, seq, number) > (?, ?, ?) "
            f"AND (? = '' OR sink = ?) AND is_due >= ? ORDER BY sink, seq, number LIMIT ?"
        )
        self.late_after = f"SELECT {late} FROM late_events WHERE (type, id) > (?, ?) ORDER BY type, id LIMIT ?"
        self.pruned = "SELECT seq FROM pruned"
        self.ingested = (
            "SELECT seq, at_ms FROM batches WHERE seq >= (SELECT coalesce(max(seq), 0) "
            "FROM batches WHERE seq <= ?) AND seq <= ? ORDER BY seq"
        )
        self.event_frames = f"SELECT {_EVENT_FRAME} FROM event_frames WHERE {some_events}"
        self.frames_with_labels = f"SELECT {_EVENT_FRAME} FROM event_frames WHERE labels > 0 AND {some_events}"
        self.frames_with_controls = f"SELECT {_EVENT_FRAME} FROM event_frames WHERE controls > 0 AND {some_events}"
        self.event_frames_at = frames_at(_EVENT_FRAME, "event_frames")
        self.next_event_frame = "SELECT first_seq, seq FROM event_frames WHERE seq > ? ORDER BY seq LIMIT 1"
        self.any_row = "SELECT 1 FROM events WHERE type = ? LIMIT 1"
        self.rows_behind = f"SELECT count(*) FROM (SELECT 1 FROM events WHERE {between} LIMIT ?) AS some_rows"
        self.next_frame = "SELECT min(first_seq) FROM decision_frames WHERE seq > ?"
        self.some_rows = {
            name: f"SELECT count(*) FROM (SELECT 1 FROM {name} WHERE seq > ? LIMIT ?) AS some_rows" for name in tables
        }
        self.oldest_record = "SELECT min(seq) FROM events WHERE seq > ?"
        self.framed_rows = {name: f"DELETE FROM {name} WHERE seq >= ? AND seq <= ?" for name in tables}
        self.ids_between = "SELECT seq, type, id FROM events WHERE seq > ? AND seq <= ? AND kind <> 'control'"
        self.prune = (
            "DELETE FROM decisions WHERE seq > ? AND seq <= ?",
            "DELETE FROM events WHERE seq > ? AND seq <= ? AND kind <> 'control'",
        )
        self.prune_frames = (
            f"DELETE FROM decision_frames WHERE {framed}",
            f"DELETE FROM event_frames WHERE {framed_events}",
        )
        self.begin_batch = "INSERT INTO batches (seq, at_ms) VALUES (?, ?)"
        self.move_pruned = "UPDATE pruned SET seq = ?"
        self.unindexed = tuple(
            f"DELETE FROM {name} WHERE type = ? AND field = ?" for name in ("unique_values", "unique_fields")
        )
        self.forget_replies = "DELETE FROM inbox WHERE number <= ? AND reply IS NOT NULL"
        self.id_runs = "SELECT run, crc, bits, size, last_seq, filter_crc FROM id_runs ORDER BY run"
        self.id_filter = "SELECT filter FROM id_runs WHERE run = ?"
        # Jumps to the first part of each run.
        self.id_runs_missing = (
            "WITH RECURSIVE firsts (part) AS (SELECT min(part) FROM id_parts UNION ALL SELECT ("
            "SELECT min(part) FROM id_parts WHERE part > firsts.part | 4294967295) FROM firsts WHERE part IS NOT NULL) "
            "SELECT part >> 32 FROM firsts WHERE part IS NOT NULL AND part >> 32 NOT IN (SELECT run FROM id_runs) "
            "LIMIT 1"
        )
        self.id_parts_between = "SELECT part, data, crc FROM id_parts WHERE part >= ? AND part < ? ORDER BY part"
        self.drop_runs = "DELETE FROM id_runs WHERE run >= ? AND run < ?"
        self.clear_ids = "DELETE FROM id_runs", "DELETE FROM id_parts"
        self.drop_parts = "DELETE FROM id_parts WHERE part >= ? AND part < ?"
        self.id_parts = by_ids("part, data, crc", "id_parts", "part", kind="i")
        self.keys_between = "SELECT part, data, crc FROM key_parts WHERE part >= ? AND part < ? ORDER BY part"
        self.last_key_part = "SELECT max(part) FROM key_parts WHERE part >= ?"
        self.key_rows = "SELECT count(*), CAST(sum(length(data)) AS bigint) FROM key_parts WHERE part < ?"
        self.drop_keys = "DELETE FROM key_parts WHERE part >= ? AND part < ?"
        self.records_at = by_ids(event, "events", "seq", kind="i")
        self.decisions_at = by_ids(decision, "decisions", "seq", kind="i")
        self.find_places = by_ids("id, seq", "events", "id", " AND type = ?")
        self.personal = by_ids("id, field, value", "personal", "id", " AND type = ?")
        self.late = by_ids(late, "late_events", "id", " AND type = ?")
        self.pruned_places = by_ids("digest, seq", "pruned_ids", "digest", kind="b")
        value, event_id, kind = ("digest", "digest", "b") if by_digest else ("value", "event_id", "t")
        self.unique_places = by_ids("value, seq", "unique_values", value, " AND type = ? AND field = ?", kind)
        self.waiting_for = by_ids(columns, "waiting_labels", event_id, " AND event_type = ? AND field = ?", kind)
        self.waiting_with = by_ids(columns, "waiting_labels", "id")
        self.refused_with = by_ids(_REFUSED, "quarantine", "number", kind="i")
