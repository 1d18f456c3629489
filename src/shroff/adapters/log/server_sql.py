"""SQL of a log on a server, beyond the queries that all databases have in common."""

# ruff: noqa: S608 - the names put into SQL are this module's own, or checked ones; values are always bound

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from shroff.adapters.log.sql_text import (
    REFUSED_COLUMNS,
    Dialect,
    SqlWording,
    decision_columns,
    event_columns,
    late_columns,
    waiting_columns,
    wording,
)


@dataclass(frozen=True, slots=True)
class About:
    """A question about a list of ids, `{}` being the list; `kind` is that of the ids, as `log_questions` has them."""

    sql: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerWording(SqlWording):
    """Every statement of a log on a server but those that write many rows."""

    end: str
    id_runs: str
    id_filter: str
    id_runs_missing: str
    id_parts: About
    id_parts_between: str
    drop_run: str
    drop_parts: str
    clear_ids: tuple[str, ...]
    begin_batch: str
    lines: str
    outcome_lines: str
    move_pruned: str
    unindexed: tuple[str, str]
    forget_replies: str
    lead_held: str
    lead: str
    lease_held: str
    take_lease: str
    renew_lease: str
    lease_session: str
    move_lease: str
    give_lease_back: str


def server_wording(dialect: Dialect, *, now_ms: str, line: str, outcome_line: str, listed: str) -> ServerWording:
    """The statements in a dialect.

    Args:
        now_ms: The server's clock, in milliseconds.
        line: A record as the line that `Log.lines` gives, in bytes; `outcome_line` likewise.
        listed: A question for `{columns}` of the rows of a `{table}` whose `{column}` has one of the ids `{{}}`, with
            another condition, `{more}`.
    """
    table = dialect.table
    events, lead, lease, inbox = table("events"), table("lead"), table("lease"), table("inbox")
    runs, parts = table("id_runs"), table("id_parts")
    common = wording(dialect, **_about_ids(dialect, listed))
    between = "seq > %s AND seq <= %s ORDER BY seq"
    return ServerWording(
        **{field.name: getattr(common, field.name) for field in fields(common)},
        end=f"(SELECT seq, chain FROM {events} ORDER BY seq DESC LIMIT 1) UNION ALL "
        f"(SELECT seq, chain FROM {table('event_frames')} ORDER BY seq DESC LIMIT 1) ORDER BY seq DESC LIMIT 1",
        id_runs=f"SELECT run, crc, bits, size, last_seq, filter_crc FROM {runs} ORDER BY run",
        id_filter=f"SELECT filter FROM {runs} WHERE run = %s",
        id_runs_missing=f"WITH RECURSIVE firsts (part) AS (SELECT min(part) FROM {parts} UNION ALL SELECT ("
        f"SELECT min(part) FROM {parts} WHERE part > firsts.part | 4294967295) FROM firsts WHERE part IS NOT NULL) "
        f"SELECT part >> 32 FROM firsts WHERE part IS NOT NULL AND part >> 32 NOT IN (SELECT run FROM {runs}) LIMIT 1",
        id_parts=About(listed.format(columns="part, data, crc", table=parts, column="part", more=""), "i"),
        id_parts_between=f"SELECT part, data, crc FROM {parts} WHERE part >= %s AND part < %s ORDER BY part",
        drop_run=f"DELETE FROM {runs} WHERE run = %s",
        drop_parts=f"DELETE FROM {parts} WHERE part >= %s AND part < %s",
        clear_ids=tuple(f"DELETE FROM {one}" for one in (runs, parts)),
        begin_batch=f"INSERT INTO {table('batches')} (seq, at_ms) VALUES (%s, %s)",
        lines=f"SELECT {line} FROM {events} WHERE {between}",
        outcome_lines=f"SELECT {outcome_line} FROM {table('decisions')} WHERE {between}",
        move_pruned=f"UPDATE {table('pruned')} SET seq = %s",
        unindexed=(
            f"DELETE FROM {table('unique_values')} WHERE type = %s AND field = %s",
            f"DELETE FROM {table('unique_fields')} WHERE type = %s AND field = %s",
        ),
        forget_replies=f"DELETE FROM {inbox} WHERE number <= %s AND reply IS NOT NULL",
        lead_held=f"SELECT epoch FROM {lead} FOR UPDATE",
        lead=f"UPDATE {lead} SET epoch = %s",
        lease_held=f"SELECT owner, session, expires_ms - {now_ms}, epoch FROM {lease} FOR UPDATE",
        take_lease=f"UPDATE {lease} SET epoch = %s, owner = %s, session = %s, expires_ms = {now_ms} + %s",
        renew_lease=f"UPDATE {lease} SET expires_ms = {now_ms} + %s WHERE epoch = %s",
        lease_session=f"SELECT session FROM {lease} WHERE epoch = %s",
        move_lease=f"UPDATE {lease} SET session = %s WHERE epoch = %s",
        give_lease_back=f"UPDATE {lease} SET expires_ms = 0 WHERE epoch = %s",
    )


def _about_ids(dialect: Dialect, listed: str) -> dict[str, Any]:
    table = dialect.table
    events, decisions, waiting = table("events"), table("decisions"), table("waiting_labels")
    unique, columns = table("unique_values"), waiting_columns(dialect)

    def about(columns: str, of: str, column: str, more: str = "", kind: str = "t") -> About:
        return About(listed.format(columns=columns, table=of, column=column, more=more), kind)

    of_type = " AND type = %s"
    return {
        "records_at": about(event_columns(dialect), events, "seq", kind="i"),
        "decisions_at": about(decision_columns(dialect), decisions, "seq", kind="i"),
        "find_places": about("id, seq", events, "id", of_type),
        "personal": about("id, field, value", table("personal"), "id", of_type),
        "late": about(late_columns(dialect), table("late_events"), "id", of_type),
        "pruned_places": about("digest, seq", table("pruned_ids"), "digest", kind="b"),
        "unique_places": about("value, seq", unique, "digest", f"{of_type} AND field = %s", "b"),
        "waiting_for": about(columns, waiting, "digest", " AND event_type = %s AND field = %s", "b"),
        "waiting_with": about(columns, waiting, "id"),
        "refused_with": about(REFUSED_COLUMNS, table("quarantine"), "number", kind="i"),
    }
