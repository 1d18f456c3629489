"""`shroff outbox`: what leaves for sinks, and what is stuck."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from shroff.cli.progress import bars
from shroff.cli.session import ExampleGroup, Session, command, cut, json_option, many, one_line, table

if TYPE_CHECKING:
    from shroff.streams.log import StuckKey, StuckRow
    from shroff.streams.sink_cursor import DeliveryHealth, Trouble
    from shroff.worker.outbox import SinkState

SHOWN_MAX: Final = 50  # rows that a list shows to people; --json has all
REASON_MAX: Final = 140  # characters of a reason in a list; 'show' and --json have all of it
STUCK: Final = 1  # exit status: done, and some of it is stuck
AWAY: Final = 3  # exit status: a sink cannot be reached
_SINK: Final = click.option("--sink", metavar="NAME", default="", help="Only rows that are stuck at this sink.")
_ROWS: Final = click.argument("rows", metavar="[ROW...]", nargs=-1)


@click.group("outbox", cls=ExampleGroup, no_args_is_help=False)
@json_option
def outbox() -> None:
    """Show outgoing deliveries: how far each sink is, its errors and its stuck rows; retry or drop rows."""


outbox.examples = ("shroff outbox list", "shroff outbox deliver")


@command("list", "shroff outbox list", "shroff outbox list --sink decided", group=outbox)
@_SINK
def list_(session: Session, sink: str) -> None:
    """List all outgoing deliveries: sinks, notices and the lake, each with its backlog and what it refused.

    The backlog of a sink or the lake is a number of log positions; that of notices is a number of messages.
    """
    states = [one for one in session.project.health.leaving().states if sink in {"", one.name}]
    rows = session.project.sinks.stuck(sink)
    document = {
        "sinks": [state_document(state) for state in states],
        "count": len(rows),
        "stuck": [_row(row) for row in rows],
    }
    session.answer(document, _list_text(states, rows))
    if any(state.stuck and state.name == "notices" for state in states):
        session.next("shroff notices letters --state refused")
    if rows:
        session.next(f"shroff outbox show {_key(rows[0])}", "shroff outbox retry")
    elif any(state.lag for state in states if state.name != "notices"):  # those a service or worker sends
        session.next("shroff outbox deliver")


@command("show", "shroff outbox show decided/4211-0", group=outbox)
@click.argument("row")
def show(session: Session, row: str) -> None:
    """Show one stuck row with its full content."""
    found = next((one for one in session.project.sinks.stuck(_named(row)[0]) if one.key == _named(row)), None)
    if found is None:
        raise click.UsageError(f"row {row} is not stuck. 'shroff outbox list' shows all stuck rows.")
    document = _row(found) | {"body": found.body.decode()}
    what = f"{_key(found)}: the {found.kind} of {found.event}/{found.id}"
    times = f"{many(found.attempts, 'attempt')}, the last at {document['at']}: {found.reason}"
    session.answer(document, "\n".join(map(one_line, (what, times, found.body.decode()))))
    session.next(f"shroff outbox retry {_key(found)}", f"shroff outbox drop {_key(found)}")


@command(
    "retry",
    "shroff outbox retry",
    "shroff outbox retry decided/4211-0",
    "shroff outbox retry --sink decided",
    group=outbox,
)
@_ROWS
@_SINK
def retry(session: Session, rows: tuple[str, ...], sink: str) -> None:
    """Retry stuck rows, all of them if none is named: they are sent with the next delivery.

    A running worker delivers them at once; without one, use 'shroff outbox deliver'.
    """
    count = session.project.sinks.retry(_chosen(rows, sink), sink, session.waits)
    session.answer({"retried": count}, f"{many(count, 'row')} queued again.")
    session.next("shroff outbox list", "shroff outbox deliver")


@command("drop", "shroff outbox drop decided/4211-0", "shroff outbox drop --all", group=outbox)
@_ROWS
@_SINK
@click.option("--all", "all_", is_flag=True, help="Drop every stuck row.")
def drop(session: Session, rows: tuple[str, ...], sink: str, all_: bool) -> None:
    """Drop stuck rows for good. Their content stays in the log."""
    if bool(rows) + bool(sink) + all_ != 1:
        raise click.UsageError("name the rows to drop, or --sink NAME for all of one sink, or --all for every row.")
    count = session.project.sinks.drop(_chosen(rows, sink), sink, session.waits)
    session.answer({"dropped": count}, f"{many(count, 'row')} dropped.")
    session.next("shroff outbox list")


@command("deliver", "shroff outbox deliver", group=outbox)
def deliver(session: Session) -> int:
    """Deliver all pending and retried rows once, if no worker does.

    Exit status 3: a sink failed three times and is left for the next run. Exit status 1: a sink refused rows, which
    are now stuck.
    """
    before = {row.key: row.attempts for row in session.project.sinks.stuck()}
    with bars("delivering, rows") as (progress,):
        sent = 0

        def told(found: list[DeliveryHealth]) -> None:
            nonlocal sent
            now = sum(one.sent for one in found)
            progress(now - sent)
            sent = now

        found = session.project.sinks.deliver(session.waits, told)
    stuck = [row for row in session.project.sinks.stuck() if row.attempts != before.get(row.key)]
    away = [one for one in found if one.trouble is not None]
    document = {"sinks": [_health(one) for one in found], "stuck": len(stuck)}
    session.answer(document, _delivered_text(found, len(stuck)))
    session.next("shroff outbox list" if stuck or away else "shroff export decisions")
    return AWAY if away else STUCK if stuck else 0


def _chosen(rows: tuple[str, ...], sink: str) -> list[StuckKey]:
    if rows and sink:
        raise click.UsageError("name rows, or a sink with --sink, not both.")
    return [_named(row) for row in rows]


def _named(row: str) -> StuckKey:
    from shroff.worker.outbox import key_of

    return key_of(row)


def _key(row: StuckRow) -> str:
    from shroff.worker.outbox import key_text

    return key_text(row.key)


def state_document(one: SinkState) -> dict[str, Any]:
    return {
        "name": one.name,
        "kind": one.kind,
        "take": one.take,
        "through": one.through,
        "lag": one.lag,
        "stuck": one.stuck,
        "trouble": _trouble(one.trouble),
    }


def _health(one: DeliveryHealth) -> dict[str, Any]:
    return {
        "name": one.name,
        "sent": one.sent,
        "through": one.through,
        "lag": one.lag,
        "trouble": _trouble(one.trouble),
    }


def _trouble(trouble: Trouble | None) -> dict[str, str] | None:
    from shroff.events.event import time_text

    return None if trouble is None else {"words": trouble.words, "since": time_text(trouble.since_ms)}


def _row(row: StuckRow) -> dict[str, Any]:
    from shroff.events.event import time_text

    return {
        "row": _key(row),
        "sink": row.sink,
        "kind": row.kind,
        "event": f"{row.event}/{row.id}",
        "seq": row.seq,
        "reason": row.reason,
        "attempts": row.attempts,
        "at": time_text(row.at_ms),
        "is_due": row.is_due,
    }


def _list_text(states: list[SinkState], rows: list[StuckRow]) -> str:
    heads = ("sink", "kind", "takes", "behind", "stuck")
    cells = [(state.name, state.kind, state.take, f"{state.lag:,}", f"{state.stuck:,}") for state in states]
    lines = [table(cells, heads) if cells else "This project has no sinks, no notices and no lake."]
    for state in states:
        if state.trouble is not None:
            told = _trouble(state.trouble) or {}
            lines.append(one_line(f"{state.name} has been failing since {told['since']}: {told['words']}"))
    if rows:
        shown = [
            (_key(row), f"{row.event}/{row.id}", str(row.attempts), cut(row.reason, REASON_MAX))
            for row in rows[:SHOWN_MAX]
        ]
        lines.append(table(shown, ("row", "event", "attempts", "reason")))
    if len(rows) > SHOWN_MAX:
        lines.append(f"  … and {len(rows) - SHOWN_MAX:,} more; --json has them all.")
    return "\n".join(lines)


def _delivered_text(found: list[DeliveryHealth], stuck: int) -> str:
    lines = []
    for one in found:
        words = f"{one.name}: {many(one.sent, 'row')} delivered"
        if one.trouble is not None:
            words += f"; {many(one.lag, 'record')} left, because the sink fails: {one.trouble.words}"
        lines.append(one_line(words))
    return "\n".join([*lines, *([f"{many(stuck, 'row')} stuck."] if stuck else [])])
