"""`shroff backup create`: once, or every few seconds until it is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
import msgspec

from shroff.app.backups.backup_operations import BackupEntry, CreateBackup, line_of
from shroff.cli.operations import options_of, tell
from shroff.cli.session import Session, command, finished_first
from shroff.errors import TransientError

TRIED_AGAIN_S: Final = 10.0  # after the place could not be reached


@command("create", "shroff backup create", "shroff backup create --follow --every 5")
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
    """
    if not follow:
        return tell(session, session.project.run(CreateBackup(place=place, key=key, is_full=is_full)))
    _follow(session, place, key, every_s)
    return 0


def _follow(session: Session, place: str | None, key: Path | None, every_s: float) -> None:
    from shroff.app.backups.retention import KeepRules, check_follows, pruned, vault_of, writer_of

    def say(entry: BackupEntry) -> None:
        session.answer(msgspec.structs.asdict(entry), line_of(entry))
        session.flush()

    context = session.project.context
    check_follows(context)
    with vault_of(context, place, key) as vault, writer_of(context, vault) as writer, finished_first() as stop:
        wait_s = every_s
        while not stop.is_set():
            try:
                if (
                    point := writer.create(tail_every_s=every_s, made=lambda tail: say(BackupEntry.of(tail)))
                ) is not None:
                    say(BackupEntry.of(point))
                    if point.is_full:  # once a day, as it reads every point
                        pruned(vault, KeepRules(), context.now_ms())
                wait_s = every_s
            except TransientError as error:
                session.say(f"shroff: {error} The next try is in {TRIED_AGAIN_S:.0f} s.")
                wait_s = TRIED_AGAIN_S
            stop.wait(wait_s)


BY_HAND: Final = (create,)
