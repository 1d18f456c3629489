"""Operations that restore a project from backups, or migrate its tables after a backup."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec

from shroff import __version__, config
from shroff.errors import UsageError
from shroff.events.event import time_text
from shroff.json_types import JsonObject
from shroff.operations.declaration import (
    OperationAnswer,
    OperationRequest,
    Param,
    ProgressSteps,
    ReportAnswer,
    operation,
)
from shroff.runtime.texts import argument, many, table
from shroff.services.backups.operations import OfBackups, open_vault
from shroff.services.project import Project


class RestoreBackup(OperationRequest["Restored"]):
    """
    Args:
        folder: The folder.
        place (PLACE): The backups.  [default: 'backup' in shroff.yaml]
        to (TIME): The project as it was then.  [default: the newest backup]
        key: File with the encryption key of the backups.
        secrets (DIRECTORY): Folder with the files that are never in a backup, such as hash.key.
        store (URL): Empty PostgreSQL database; ${NAME} is read from the environment.  [default: as in shroff.yaml]
        again: First remove the tables that an interrupted restore left in the database.
    """

    folder: Path
    place: Annotated[str | None, Param(flags="--from")] = None
    to: str = ""
    key: Path | None = None
    secrets: Path | None = None
    store: str | None = None
    again: bool = False


class Restored(ReportAnswer[bool]):
    """A project that was restored from the backup `file`, as it was at that time.

    The report says whether its log is in another database than the settings name.
    """

    folder: str
    number: int
    at: str
    seq: int
    files: int
    missing_secrets: list[str]
    damaged: list[int]
    held_letters: int
    file: str
    bytes: int
    seconds: float
    STATUS: ClassVar = "missing_secrets"

    def text(self) -> str:
        what = f"the project of {self.at}, up to seq {self.seq:,}, {many(self.files, 'file')}"
        lines = [f"{self.folder}: {what}, in {self.seconds:.1f} s."]
        if self.held_letters:
            letters = many(self.held_letters, "notification")
            lines.append(f"{letters} held, because sending after the backup is unknown.")
        if self.missing_secrets:
            lines.append(f"Missing secrets, copy them into {self.folder}: {', '.join(self.missing_secrets)}.")
        if self.damaged:
            numbers = ", ".join(map(str, self.damaged))
            words = "Skipped because they cannot be read, although they may be nearer to that time"
            lines.append(f"{words}: backups {numbers}.")
        if self.report:
            lines.append(f"Now set 'store' in {self.folder}/{config.PROJECT_FILE} to the database of --store.")
        return "\n".join(lines)

    def hints(self) -> Sequence[str]:
        project = f"shroff -C {argument(self.folder)}"
        return f"{project} verify", f"{project} audit verify"


@operation("restore", right="read:audit", place="place")
def restore_backup(project: Project, progress: ProgressSteps, request: RestoreBackup) -> Restored:
    """Restore a project into FOLDER, which must be empty or new. It appears there as a whole or not at all.

    Exit status 1 if secrets are missing: copy them to where the output says before you start the project.

    Every piece is compared with its hash; backups that were truncated or altered are refused. Notifications that had
    not been sent at that moment are held, because they may have been sent later: 'shroff notices letters' lists them.
    Stop the lost project for good before you start the restored one: both would write the same backups.

    A log in a database server is restored by its own program (pg_restore), before FOLDER appears. After
    --store, set 'store' in the shroff.yaml of FOLDER to the same database. A restore that was killed can leave tables,
    which no command opens: run it again with --again.

    Examples:
        shroff restore mybank --from /mnt/backups/mybank --secrets /mnt/secrets/mybank
        shroff restore mybank-monday --from s3://mybank-backups/shroff --to 2026-11-23T09:00:00Z
    """
    from shroff.replay.notebook import moment_ms
    from shroff.services.backups.restoration import ServerTarget, restore
    from shroff.services.backups.retention import vault_of
    from shroff.services.backups.server_logs import tools_folder
    from shroff.services.backups.vault import point_name

    if request.secrets is not None and not request.secrets.is_dir():
        raise UsageError(f"--secrets: there is no folder {request.secrets}.")
    began, to_ms = time.monotonic(), moment_ms(request.to or None, "to")
    into = ServerTarget(request.store, tools_folder(project.context), request.again)
    with vault_of(project.context, request.place, request.key) as vault:
        counted = progress.counting("restoring, pieces")
        folder = request.folder.absolute()
        restored = restore(vault, folder, to_ms=to_ms, secrets=request.secrets, into=into, progress=counted)
    return Restored(
        folder=str(request.folder),
        number=restored.number,
        at=time_text(restored.at_ms),
        seq=restored.last_seq,
        files=restored.files,
        missing_secrets=list(restored.missing),
        damaged=list(restored.damaged),
        held_letters=restored.held,
        file=f"{vault.address}/{point_name(restored.number)}",
        bytes=restored.bytes,
        seconds=round(time.monotonic() - began, 3),
    ).about(into.url is not None)


# ---- migrating


class MigrateTables(OfBackups["MigratedTables"]):
    """
    Args:
        is_plan: Show what would be migrated, or do it.  [default: plan]
        is_compared: Look for each event in the index of ids: 2 seconds for a million events.
    """

    is_plan: Annotated[bool, Param(flags="--plan/--apply")] = True
    is_compared: Annotated[bool, Param(flags="--compare-ids")] = False


class MigratedTable(msgspec.Struct):
    """One set of tables: its version, the one that this program knows, and what is to be done."""

    database: str
    tables: str
    found: int
    known: int
    action: str


class MigratedTables(OperationAnswer):
    """The versions of all tables, and the backup that was made before they were migrated."""

    program: str
    backup: int | None
    file: str | None
    seq: int | None
    bytes: int
    seconds: float
    tables: list[MigratedTable]

    def _actions(self) -> set[str]:
        return {part.action for part in self.tables}

    def text(self) -> str:
        summaries = {
            "refuse": "A newer shroff wrote these tables.",
            "migrate": "Tables of an older version.",
            "index": "An index of the log is damaged.",
        }
        summary = next(
            (words for action, words in summaries.items() if action in self._actions()), "Nothing to migrate."
        )
        if self.backup is not None:
            summary = f"Backup {self.backup} made, tables migrated."
        heads = ("database", "tables", "version", "this program", "action")
        rows = [msgspec.structs.astuple(part) for part in self.tables]
        return f"shroff {self.program}. {summary}" + (f"\n{table(rows, heads)}" if rows else "")

    def hints(self) -> Sequence[str]:
        if self.exit_status():
            return ["shroff backup list"]
        return ["shroff migrate --apply" if self._actions() - {"none"} else "shroff verify"]

    def exit_status(self) -> int:
        return 1 if "refuse" in self._actions() else 0


@operation("migrate", right="read:audit")
def migrate_tables(project: Project, request: MigrateTables) -> MigratedTables:
    """Back up a project, then bring its tables up to this version of shroff.

    --plan checks the project's files with this version and shows the version of each set of tables. Exit status 1 if
    a newer shroff wrote some of them.

    --apply needs a place for the backup and stops if a worker or service runs. After a kill, run it again: each set of
    tables is either old or new. To go back, restore the backup with 'shroff restore' and use the old version.

    Examples:
        shroff migrate --plan
        shroff migrate --apply --at /mnt/backups/mybank
    """
    from shroff.services.backups.migration import apply, plan

    began, number, made = time.monotonic(), None, JsonObject(file=None, seq=None, bytes=0)
    planned = plan(project.context, is_compared=request.is_compared)
    if not request.is_plan:
        with open_vault(project.context, request) as (vault, document):
            if (number := apply(project.context, vault, planned)) is not None:
                made = {name: value for name, value in document([vault.point(number)[0]]).items() if name in made}
        planned = plan(project.context)
    return MigratedTables(
        program=__version__,
        backup=number,
        seconds=round(time.monotonic() - began, 3),
        tables=[
            MigratedTable(
                database=part.database, tables=part.part, found=part.found, known=part.known, action=part.action
            )
            for part in planned
        ],
        **made,
    )
