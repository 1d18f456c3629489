"""`shroff backup create`: once, or every few seconds until it is stopped."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from shroff.cli.operations import options_of, tell
from shroff.cli.session import Session, command, finished_first
from shroff.services.backups.operations import BackupEntry, CreateBackup, follow_backups, line_of


@command("create")
@options_of(CreateBackup)
@click.option("--follow", is_flag=True, help="Continue until stopped: back up the changes every few seconds.")
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    default=5.0,
    show_default=True,
    help="With --follow: the time between two backups. This much can be lost with the disk.",
)
def create(session: Session, follow: bool, every_s: float, place: str | None, key: Path | None, is_full: bool) -> int:
    """Make a backup while other processes write the project: the changes since the last one, or a full one.

    A backup is full if it is the first, a day after the last full one, or if changes since the last one cannot be
    known, for example because no process was running. Equal pieces are stored once. With --follow, run it beside the
    service, for example as a second systemd unit. It backs up changes also while it makes a full backup, and after each
    full one it removes old ones, as 'shroff backup prune' does.

    A log in PostgreSQL is backed up by pg_dump, in full each time. It has no --follow: for the changes in between, use
    WAL archiving.

    Exit status 1 if the log in the backup is damaged: it was made, and those before it are still needed.

    Examples:
        shroff backup create
        shroff backup create --follow --every 5
    """
    request = CreateBackup(place=place, key=key, is_full=is_full)
    if not follow:
        return tell(session, session.project.run(request))

    def say(entry: BackupEntry) -> None:
        session.answer(msgspec.structs.asdict(entry), line_of(entry))
        session.flush()

    with finished_first() as stop:
        follow_backups(session.project.context, request, every_s, say=say, warn=session.say, stop=stop)
    return 0


BY_HAND = (create,)
