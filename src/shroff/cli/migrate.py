"""`shroff migrate`: the tables of a project brought up to this version, after a backup."""

from __future__ import annotations

import time
from pathlib import Path

import click

from shroff.cli.backup import at, stored, unmade
from shroff.cli.session import Session, command, table


@command("migrate", "shroff migrate --plan", "shroff migrate --apply --at /mnt/backups/mybank")
@click.option("--plan/--apply", "is_plan", default=True, help="Show what would be migrated, or do it.  [default: plan]")
@click.option(
    "--compare-ids",
    "is_compared",
    is_flag=True,
    help="Look for each event in the index of ids: 2 seconds for a million events.",
)
@at
def migrate(session: Session, is_plan: bool, is_compared: bool, place: str | None, key: Path | None) -> int:
    """Back up a project, then bring its tables up to this version of shroff.

    --plan checks the project's files with this version and shows the version of each set of tables. Exit status 1 if
    a newer shroff wrote some of them.

    --apply needs a place for the backup and stops if a worker or service runs. After a kill, run it again: each set of
    tables is either old or new. To go back, restore the backup with 'shroff restore' and use the old version.
    """
    import shroff
    from shroff.app.backups.migration import apply, plan
    from shroff.app.backups.retention import vault_of

    context, began = session.project.context, time.monotonic()
    planned = plan(context, is_compared=is_compared)
    number, made = None, unmade()
    if not is_plan:
        with vault_of(context, place, key) as vault:
            number = apply(context, vault, planned)
            made = unmade() if number is None else stored(vault, vault.point(number)[0])
        planned = plan(context)
    rows = [(version.database, version.part, version.found, version.known, version.action) for version in planned]
    keys = ("database", "tables", "found", "known", "action")
    document = {
        "program": shroff.__version__,
        "backup": number,
        **made,
        "seconds": round(time.monotonic() - began, 3),
        "tables": [dict(zip(keys, row, strict=True)) for row in rows],
    }
    actions = {version.action for version in planned}
    said = f"Backup {number} made, tables migrated." if number else "Nothing to migrate."
    if is_plan:
        told = {
            "refuse": "A newer shroff wrote these tables.",
            "migrate": "Tables of an older version.",
            "index": "The index of ids of events is damaged.",
        }
        said = next((words for action, words in told.items() if action in actions), said)
    text = f"shroff {shroff.__version__}. {said}"
    heads = ("database", "tables", "version", "this program", "action")
    session.answer(document, f"{text}\n{table(rows, heads)}" if rows else text)
    is_newer = "refuse" in actions
    session.next(
        "shroff backup list" if is_newer else "shroff migrate --apply" if actions - {"none"} else "shroff verify"
    )
    return 1 if is_newer else 0
