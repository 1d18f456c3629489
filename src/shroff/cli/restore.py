"""`shroff restore`: a project from its backups, in a new folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from shroff.cli.progress import bars
from shroff.cli.session import Session, argument, command, many


@command(
    "restore",
    "shroff restore mybank --from /mnt/backups/mybank --secrets /mnt/secrets/mybank",
    "shroff restore mybank-monday --from s3://mybank-backups/shroff --to 2026-11-23T09:00:00Z",
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--from", "place", metavar="PLACE", help="The backups.  [default: 'backup' in shroff.yaml]")
@click.option("--to", metavar="TIME", help="The project as it was then.  [default: the newest backup]")
@click.option("--key", type=click.Path(path_type=Path), help="File with the encryption key of the backups.")
@click.option(
    "--secrets",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with the files that are never in a backup, such as hash.key.",
)
@click.option(
    "--store",
    metavar="URL",
    help="Empty PostgreSQL database; ${NAME} is read from the environment.  [default: as in shroff.yaml]",
)
@click.option("--again", is_flag=True, help="First remove the tables that an interrupted restore left in the database.")
def restore(
    session: Session,
    folder: Path,
    place: str | None,
    to: str | None,
    key: Path | None,
    secrets: Path | None,
    **target: Any,
) -> int:
    """Restore a project into FOLDER, which must be empty or new. It appears there as a whole or not at all.

    Exit status 1 if secrets are missing: copy them to where the output says before you start the project.

    Every piece is compared with its hash; backups that were truncated or altered are refused. Notifications that had
    not been sent at that moment are held, because they may have been sent later: 'shroff notices letters' lists them.
    Stop the lost project for good before you start the restored one: both would write the same backups.

    A log in a database server is restored by its own program (pg_restore), before FOLDER appears. After
    --store, set 'store' in the shroff.yaml of FOLDER to the same database. A restore that was killed can leave tables,
    which no command opens: run it again with --again.
    """
    from shroff import config
    from shroff.app.backups.restoration import ServerTarget
    from shroff.app.backups.restoration import restore as restored
    from shroff.app.backups.retention import vault_of
    from shroff.app.backups.vault import point_name
    from shroff.app.context import ProjectContext
    from shroff.events.event import time_text
    from shroff.replay.notebook import moment_ms

    context = (
        session.project.context if place is None else ProjectContext(config.ProjectPaths(session.folder or Path.cwd()))
    )
    began, to_ms = time.monotonic(), moment_ms(to, "to")
    with vault_of(context, place, key) as vault, bars("restoring, pieces") as (progress,):
        into = ServerTarget.named(context, **target)
        found = restored(vault, folder.absolute(), to_ms=to_ms, secrets=secrets, into=into, progress=progress)
    seconds = time.monotonic() - began
    document = {
        "folder": str(folder),
        "number": found.number,
        "at": time_text(found.at_ms),
        "seq": found.last_seq,
        "files": found.files,
        "missing_secrets": list(found.missing),
        "damaged": list(found.damaged),
        "held_letters": found.held,
        "file": f"{vault.address}/{point_name(found.number)}",
        "bytes": found.bytes,
        "seconds": round(seconds, 3),
    }
    what = f"the project of {time_text(found.at_ms)}, up to seq {found.last_seq:,}, {many(found.files, 'file')}"
    text = f"{folder}: {what}, in {seconds:.1f} s."
    if found.held:
        text += f"\n{many(found.held, 'notification')} held, because sending after the backup is unknown."
    if found.missing:
        text += f"\nMissing secrets, copy them into {folder}: {', '.join(found.missing)}."
    if found.damaged:
        numbers = ", ".join(map(str, found.damaged))
        text += f"\nSkipped because they cannot be read, although they may be nearer to that time: backups {numbers}."
    if into.url is not None:
        text += f"\nNow set 'store' in {folder / 'shroff.yaml'} to the database of --store."
    session.answer(document, text)
    there = f"shroff -C {argument(folder)}"
    session.next(f"{there} verify", f"{there} audit verify")
    return 1 if found.missing else 0
