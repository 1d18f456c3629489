"""`shroff audit`: the record of who did what, and whether it is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from shroff.cli.session import ExampleGroup, Session, command, cut, json_option, many, table
from shroff.cli.users import at_desk, moment_text

if TYPE_CHECKING:
    from shroff.people.audit import AuditEntry

SHOWN = 100
WIDTH = 60


@click.group("audit", cls=ExampleGroup, invoke_without_command=True)
@json_option
@click.pass_context
def audit(context: click.Context) -> None:
    """Show and verify the audit log: every write by a person, a program or a command, with old and new values.

    Its rows form a hash chain, and its end is sealed with a key of the project (.shroff/hash.key).
    """
    if context.invoked_subcommand is None:
        context.invoke(list_)


audit.examples = ("shroff audit", "shroff audit verify", "shroff audit list --who ann --from 2026-11-01 --json")


@command("verify", "shroff audit verify", "shroff audit verify --json", group=audit)
def verify(session: Session) -> int:
    """Verify the hash chain of the audit log and its sealed end.

    Exit status 1 if a row was changed, removed, inserted or moved, or rows are missing at the end; the output names
    the first row that does not match. A verified audit log is noted in .shroff/audit.head. With this note, this
    machine detects an older copy put in its place.
    """
    found = session.project.people.verify_audit()
    told = {"ok": found.is_whole, "rows": found.rows, "broken_at": found.broken_at or None, "why": found.why or None}
    if found.is_whole:
        session.answer(told, f"{many(found.rows, 'row')}, none changed or removed since it was recorded.")
        session.next("shroff audit list")
        return 0
    session.answer(
        told, f"Broken at row {found.broken_at:,}: {found.why}.\n{many(found.rows, 'row')} before it are intact."
    )
    session.next("shroff audit list --limit 20", "shroff doctor")
    return 1


@command(
    "list",
    "shroff audit list",
    "shroff audit list --who ann --action user --from 2026-11-01 --to 2026-12-01",
    "shroff audit list --subject 'user ann' --json",
    group=audit,
)
@click.option("--who", default="", help="The user or program: a name, or an id such as user-3.")
@click.option("--action", default="", help="The action, or all actions with this prefix: user.role, user.")
@click.option("--subject", default="", help="The object: 'user ann', payment/p-1.")
@click.option("--from", "start", metavar="TIME", help="Rows from this time on; a day is its start, UTC.")
@click.option("--to", "end", metavar="TIME", help="Rows before this time.")
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=SHOWN, show_default=True, help="Maximum number, newest first."
)
def list_(
    session: Session, who: str, action: str, subject: str, start: str | None, end: str | None, limit: int
) -> None:
    """Show rows of the audit log, newest first."""
    from shroff.people.documents import of_row
    from shroff.people.store import AuditFilter
    from shroff.replay.notebook import moment_ms

    wanted = AuditFilter(who, action, subject, moment_ms(start, "start"), moment_ms(end, "end"))
    with at_desk(session) as (desk, _), desk.store.look() as look:
        rows = look.record(wanted, limit=limit, is_newest_first=True)
    text = f"{many(len(rows), 'row')}, newest first."
    if rows:
        heads = ("row", "time", "who", "via", "action", "subject", "to")
        text += "\n" + table([_cells(row) for row in rows], heads)
    session.answer({"rows": [of_row(row) for row in rows]}, text)
    session.next("shroff audit verify")


def _cells(row: AuditEntry) -> tuple[object, ...]:
    after = "" if row.after == "null" else row.after
    return row.number, moment_text(row.at_ms), row.name, row.via, row.action, cut(row.subject, WIDTH), cut(after, WIDTH)
