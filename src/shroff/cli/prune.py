"""`shroff prune`: old events out of the store, once the lake has them."""

from __future__ import annotations

from dataclasses import asdict

import click

from shroff.cli.progress import bars
from shroff.cli.session import Session, command, many


@command("prune", "shroff prune", "shroff prune --dry-run")
@click.option("--dry-run", "is_dry", is_flag=True, help="Show what would be moved; change nothing.")
def prune(session: Session, is_dry: bool) -> None:
    """Move events, labels and decisions older than 'keep' in shroff.yaml from the store to the lake.

    Nothing else changes. Ids stay known forever, and an old event that is sent again gets its original decision.
    Labels still join old events, and 'verify', 'replay', 'explain', 'backtest' and 'export' read lake and store as one
    log. Each record is read back from the lake and compared before it leaves the store, and state is saved first. A
    worker prunes by itself about once an hour; if one runs, it does the work between two batches.
    """
    with bars("writing the lake, records", "pruning, records") as (writing, pruning):
        found = session.project.retention.prune(is_dry=is_dry, writing=writing, pruning=pruning)
    verb = "would move" if is_dry else "moved"
    text = f"{many(found.places, 'record')} {verb} to {found.lake}."
    text += f"\nThe store has the records {found.upto + 1:,} to {found.last:,}: {found.kept_by}."
    session.answer(asdict(found) | {"dry_run": is_dry}, text)
    session.next("shroff prune" if is_dry else "shroff verify")
