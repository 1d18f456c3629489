"""Operations on backups: made, listed, verified, pruned and restored; and tables migrated, after a backup."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from shroff import __version__, config
from shroff.errors import UsageError
from shroff.events.event import time_text
from shroff.operations.declaration import (
    OperationAnswer,
    OperationRequest,
    Outcome_co,
    Param,
    ReportAnswer,
    group,
    operation,
)
from shroff.runtime.texts import argument, bytes_text, many, table

if TYPE_CHECKING:
    from shroff.app.backups.vault import BackupPoint, Vault
    from shroff.app.context import ProjectContext
    from shroff.app.project import Project
    from shroff.operations.declaration import ProgressSteps, Warn

SHOWN: Final = 20

group(
    "backup",
    """Back up the whole project: log, cases, users, audit log, models and project files.

    Backups are in a folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix; 'backup:' in shroff.yaml
    or --at names it. Secrets, such as .shroff/hash.key, are never in a backup: keep copies of them elsewhere.
    'shroff restore' restores a project.
    """,
    examples=("shroff backup create --at /mnt/backups/mybank", "shroff backup list --json"),
)


class OfBackups(OperationRequest[Outcome_co]):
    """A request about the backups at a place; it can be asked where the project is lost."""

    place: Annotated[
        str | None,
        Param("Folder or bucket of the backups.  [default: 'backup' in shroff.yaml]", flags="--at", metavar="PLACE"),
    ] = None
    key: Annotated[
        Path | None,
        Param("File with the encryption key: 64 hexadecimal digits.  [default: 'key' under 'backup' in shroff.yaml]"),
    ] = None


class OfVault(ReportAnswer[str]):
    """Where backups are, and the one that was made, used or is newest: its file, sequence number and bytes.

    The report is how the next command names that place.
    """

    backups: str
    file: str | None = None
    seq: int | None = None
    bytes: int = 0
    seconds: float = 0.0


class DamagedBackup(msgspec.Struct):
    """A backup that cannot be restored, and why."""

    number: int
    why: str


class BackupEntry(msgspec.Struct):
    """One backup. `positions` says of a log in a server where its own record of changes goes on."""

    number: int
    kind: str
    at: str
    seq: int
    bytes: int
    program: str
    secrets: list[str]
    positions: dict[str, str]

    @classmethod
    def of(cls, point: BackupPoint) -> BackupEntry:
        dumps = {name: database.dump for name, database in point.databases.items() if database.dump is not None}
        return cls(
            point.number,
            "full" if point.is_full else "tail",
            time_text(point.at_ms),
            point.last_seq,
            point.bytes,
            point.program,
            sorted(point.secrets),
            {name: dump.position for name, dump in dumps.items()},
        )


@contextmanager
def _vault(context: ProjectContext, request: OfBackups[Any]) -> Iterator[tuple[Vault, Callable[..., dict[str, Any]]]]:
    """The backups, and a function: what every answer says of one of them, the newest one by default."""
    from shroff.app.backups.retention import vault_of
    from shroff.app.backups.vault import point_name

    began = time.monotonic()

    def told(point: BackupPoint | None) -> dict[str, Any]:
        seconds, there = round(time.monotonic() - began, 3), "" if request.place is None else argument(request.place)
        told: dict[str, Any] = {"report": there, "backups": vault.address, "seconds": seconds}
        if point is None:
            return told
        return told | {
            "file": f"{vault.address}/{point_name(point.number)}",
            "seq": point.last_seq,
            "bytes": point.bytes,
        }

    with vault_of(context, request.place, request.key) as vault:
        yield vault, told


def _newest(points: Sequence[BackupPoint]) -> BackupPoint | None:
    return points[-1] if points else None


def line_of(made: BackupEntry | CreatedBackup) -> str:
    """A backup in a line."""
    kind = "full backup" if made.kind == "full" else "tail"
    return f"{kind} {made.number} of {made.at}, up to seq {made.seq:,}, {bytes_text(made.bytes)} stored."


def _at(place: str, option: str = "--at") -> str:
    """The place for the next command, where the settings may not name it."""
    return f" {option} {place}" if place else ""


# ---- making


class CreateBackup(OfBackups["CreatedBackup"]):
    """A backup to make."""

    is_full: Annotated[bool, Param("Read everything again, also if the changes would suffice.", flags="--full")] = False


class CreatedBackup(OfVault):
    """The backup that was made; `number` is null where nothing changed."""

    number: int | None = None
    kind: str | UnsetType = UNSET
    at: str | UnsetType = UNSET
    program: str | UnsetType = UNSET
    secrets: list[str] | UnsetType = UNSET
    positions: dict[str, str] | UnsetType = UNSET

    def text(self) -> str:
        return f"{self.backups}: {'nothing changed.' if self.number is None else line_of(self)}"

    def hints(self) -> Sequence[str]:
        return f"shroff backup verify{_at(self.report)}", f"shroff backup list{_at(self.report)}"


@operation("backup create", right="read:audit", has_command=False)
def create_backup(project: Project, warn: Warn, request: CreateBackup) -> CreatedBackup:
    """Make a backup while other processes write the project: the changes since the last one, or a full one."""
    from shroff.app.backups.retention import writer_of

    with _vault(project.context, request) as (vault, told), writer_of(project.context, vault) as writer:
        if (made := writer.create(is_full=request.is_full)) is None:
            return CreatedBackup.of(**told(None))
    entry = msgspec.structs.asdict(BackupEntry.of(made))
    if made.secrets:
        warn(f"not in the backup, keep copies elsewhere: {', '.join(entry['secrets'])}")
    return CreatedBackup.of(**told(made) | entry)


# ---- looking


class ListBackups(OfBackups["BackupList"]):
    """All backups."""


class BackupList(OfVault, kw_only=True):
    """Backups, oldest first; file and sequence number are those of the newest, bytes those of all."""

    points: list[BackupEntry]
    damaged: list[DamagedBackup]

    def text(self) -> str:
        text = f"{self.backups}: {many(len(self.points), 'backup')}."
        if self.damaged:
            numbers = ", ".join(str(damaged.number) for damaged in self.damaged)
            text += f" {many(len(self.damaged), 'other one', 'others')} cannot be read: number {numbers}."
        groups: list[list[BackupEntry]] = []
        for point in self.points:
            groups += [[]] if point.kind == "full" or not groups else []
            groups[-1].append(point)
        rows = [
            (
                group[0].number,
                group[0].at,
                group[-1].at,
                len(group) - 1,
                f"{group[-1].seq:,}",
                bytes_text(_bytes(group)),
            )
            for group in groups
        ]
        return text + ("\n" + table(rows, ("number", "first", "last", "tails", "seq", "size")) if rows else "")

    def hints(self) -> Sequence[str]:
        return f"shroff restore FOLDER{_at(self.report, '--from')} --to TIME", f"shroff backup verify{_at(self.report)}"


def _bytes(entries: Sequence[BackupEntry]) -> int:
    return sum(entry.bytes for entry in entries)


@operation(
    "backup list",
    right="read:audit",
    place="place",
    examples=["shroff backup list", "shroff backup list --json"],
)
def list_backups(project: Project, request: ListBackups) -> BackupList:
    """List backups, oldest first: full ones, each with the tail that follows it."""
    from shroff.app.backups.retention import listed

    with _vault(project.context, request) as (vault, told):
        points, damaged = listed(vault)
    entries = [BackupEntry.of(point) for point in points]
    found = told(_newest(points)) | {"bytes": _bytes(entries), "damaged": _damaged(damaged)}
    return BackupList.of(**found, points=entries)


def _damaged(found: Mapping[int, str]) -> list[DamagedBackup]:
    return [DamagedBackup(number, why) for number, why in found.items()]


class VerifyBackups(OfBackups["CheckedBackups"]):
    """All backups, byte for byte."""


class CheckedBackups(OfVault, kw_only=True):
    """What was read; file and sequence number are those of the newest backup."""

    points: int
    pieces: int
    damaged: list[DamagedBackup]

    def text(self) -> str:
        counts = f"{many(self.points, 'backup')}, {many(self.pieces, 'piece')}, {bytes_text(self.bytes)}"
        lines = [f"  backup {damaged.number}: {damaged.why}" for damaged in self.damaged[:SHOWN]]
        return "\n".join([f"{self.backups}: {counts} read, {len(self.damaged):,} damaged.", *lines])

    def hints(self) -> Sequence[str]:
        if self.damaged:
            return [f"shroff backup create --full{_at(self.report)}"]
        return [f"shroff restore FOLDER{_at(self.report, '--from')}"]

    def exit_status(self) -> int:
        return 1 if self.damaged else 0


@operation(
    "backup verify",
    right="read:audit",
    place="place",
    examples=["shroff backup verify", "shroff backup verify --at s3://mybank-backups/shroff"],
)
def verify_backups(project: Project, progress: ProgressSteps, request: VerifyBackups) -> CheckedBackups:
    """Read all backups and compare every byte with its hash.

    Exit status 1 if a backup is truncated, altered or incomplete; the output names each and says why.
    """
    from shroff.app.backups.retention import verified

    with _vault(project.context, request) as (vault, told):
        found = verified(vault, progress.counting("reading, pieces"))
        newest = told(_newest(vault.readable()[0])) | {"bytes": found.bytes, "damaged": _damaged(found.damaged)}
    return CheckedBackups.of(**newest, points=found.points, pieces=found.pieces)


# ---- removing


class PruneBackups(OfBackups["PrunedBackups"]):
    """Which backups to keep."""

    keep: Annotated[str, Param("Keep every backup this long.", metavar="DURATION")] = "7d"
    days: Annotated[int, msgspec.Meta(ge=0), Param("Full backups: one a day.")] = 30
    months: Annotated[int, msgspec.Meta(ge=0), Param("And one a month.")] = 12
    is_dry: Annotated[bool, Param("Show what would be removed; remove nothing.", flags="--dry-run")] = False


class PrunedBackups(OfVault, kw_only=True):
    """The numbers of backups that were removed, or would be; bytes are those that this frees."""

    removed: list[int]
    dry_run: bool

    def text(self) -> str:
        verb = "would be removed" if self.dry_run else "removed"
        return f"{self.backups}: {many(len(self.removed), 'backup')} {verb}, {bytes_text(self.bytes)} freed."

    def hints(self) -> Sequence[str]:
        return [f"shroff backup list{_at(self.report)}"]


@operation(
    "backup prune",
    right="read:audit",
    place="place",
    examples=["shroff backup prune", "shroff backup prune --keep 3d --days 14 --months 6 --dry-run"],
)
def prune_backups(project: Project, request: PruneBackups) -> PrunedBackups:
    """Remove old backups. The newest full backup and its tail always stay."""
    from shroff.app.backups.retention import KeepRules, pruned, writer_of
    from shroff.language.values import named_duration

    context = project.context
    has_project = (context.paths.folder / config.PROJECT_FILE).is_file()
    rules = KeepRules(named_duration("--keep", request.keep), request.days, request.months)
    with _vault(context, request) as (vault, told), writer_of(context, vault) if has_project else nullcontext():
        gone, freed = pruned(vault, rules, context.now_ms(), is_dry=request.is_dry)
        found = told(_newest(vault.readable()[0])) | {"bytes": freed}
    return PrunedBackups.of(**found, removed=gone, dry_run=request.is_dry)


# ---- restoring


class RestoreBackup(OperationRequest["Restored"]):
    """The backups to restore a project from, and the folder for it."""

    folder: Annotated[Path, Param("The folder.")]
    place: Annotated[
        str | None, Param("The backups.  [default: 'backup' in shroff.yaml]", flags="--from", metavar="PLACE")
    ] = None
    to: Annotated[str, Param("The project as it was then.  [default: the newest backup]", metavar="TIME")] = ""
    key: Annotated[Path | None, Param("File with the encryption key of the backups.")] = None
    secrets: Annotated[
        Path | None, Param("Folder with the files that are never in a backup, such as hash.key.", metavar="DIRECTORY")
    ] = None
    store: Annotated[
        str | None,
        Param(
            "Empty PostgreSQL database; ${NAME} is read from the environment.  [default: as in shroff.yaml]",
            metavar="URL",
        ),
    ] = None
    again: Annotated[bool, Param("First remove the tables that an interrupted restore left in the database.")] = False


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

    def text(self) -> str:
        what = f"the project of {self.at}, up to seq {self.seq:,}, {many(self.files, 'file')}"
        lines = [f"{self.folder}: {what}, in {self.seconds:.1f} s."]
        if self.held_letters:
            held = many(self.held_letters, "notification")
            lines.append(f"{held} held, because sending after the backup is unknown.")
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
        there = f"shroff -C {argument(self.folder)}"
        return f"{there} verify", f"{there} audit verify"

    def exit_status(self) -> int:
        return 1 if self.missing_secrets else 0


@operation(
    "restore",
    right="read:audit",
    place="place",
    examples=[
        "shroff restore mybank --from /mnt/backups/mybank --secrets /mnt/secrets/mybank",
        "shroff restore mybank-monday --from s3://mybank-backups/shroff --to 2026-11-23T09:00:00Z",
    ],
)
def restore_backup(project: Project, progress: ProgressSteps, request: RestoreBackup) -> Restored:
    """Restore a project into FOLDER, which must be empty or new. It appears there as a whole or not at all.

    Exit status 1 if secrets are missing: copy them to where the output says before you start the project.

    Every piece is compared with its hash; backups that were truncated or altered are refused. Notifications that had
    not been sent at that moment are held, because they may have been sent later: 'shroff notices letters' lists them.
    Stop the lost project for good before you start the restored one: both would write the same backups.

    A log in a database server is restored by its own program (pg_restore), before FOLDER appears. After
    --store, set 'store' in the shroff.yaml of FOLDER to the same database. A restore that was killed can leave tables,
    which no command opens: run it again with --again.
    """
    from shroff.app.backups.restoration import ServerTarget, restore
    from shroff.app.backups.retention import vault_of
    from shroff.app.backups.vault import point_name
    from shroff.replay.notebook import moment_ms

    if request.secrets is not None and not request.secrets.is_dir():
        raise UsageError(f"--secrets: there is no folder {request.secrets}.")
    began, to_ms = time.monotonic(), moment_ms(request.to or None, "to")
    into = ServerTarget.named(project.context, store=request.store, again=request.again)
    with vault_of(project.context, request.place, request.key) as vault:
        counted = progress.counting("restoring, pieces")
        folder = request.folder.absolute()
        found = restore(vault, folder, to_ms=to_ms, secrets=request.secrets, into=into, progress=counted)
    return Restored.of(
        into.url is not None,
        folder=str(request.folder),
        number=found.number,
        at=time_text(found.at_ms),
        seq=found.last_seq,
        files=found.files,
        missing_secrets=list(found.missing),
        damaged=list(found.damaged),
        held_letters=found.held,
        file=f"{vault.address}/{point_name(found.number)}",
        bytes=found.bytes,
        seconds=round(time.monotonic() - began, 3),
    )


# ---- migrating


class MigrateTables(OfBackups["MigratedTables"]):
    """Whether to show or to do it, and the place for the backup before."""

    is_plan: Annotated[
        bool, Param("Show what would be migrated, or do it.  [default: plan]", flags="--plan/--apply")
    ] = True
    is_compared: Annotated[
        bool,
        Param("Look for each event in the index of ids: 2 seconds for a million events.", flags="--compare-ids"),
    ] = False


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
        told = {
            "refuse": "A newer shroff wrote these tables.",
            "migrate": "Tables of an older version.",
            "index": "The index of ids of events is damaged.",
        }
        said = next((words for action, words in told.items() if action in self._actions()), "Nothing to migrate.")
        if self.backup is not None:
            said = f"Backup {self.backup} made, tables migrated."
        heads = ("database", "tables", "version", "this program", "action")
        rows = [msgspec.structs.astuple(part) for part in self.tables]
        return f"shroff {self.program}. {said}" + (f"\n{table(rows, heads)}" if rows else "")

    def hints(self) -> Sequence[str]:
        if self.exit_status():
            return ["shroff backup list"]
        return ["shroff migrate --apply" if self._actions() - {"none"} else "shroff verify"]

    def exit_status(self) -> int:
        return 1 if "refuse" in self._actions() else 0


@operation(
    "migrate",
    right="read:audit",
    examples=["shroff migrate --plan", "shroff migrate --apply --at /mnt/backups/mybank"],
)
def migrate_tables(project: Project, request: MigrateTables) -> MigratedTables:
    """Back up a project, then bring its tables up to this version of shroff.

    --plan checks the project's files with this version and shows the version of each set of tables. Exit status 1 if
    a newer shroff wrote some of them.

    --apply needs a place for the backup and stops if a worker or service runs. After a kill, run it again: each set of
    tables is either old or new. To go back, restore the backup with 'shroff restore' and use the old version.
    """
    from shroff.app.backups.migration import apply, plan

    began, number, made = time.monotonic(), None, dict[str, Any](file=None, seq=None, bytes=0)
    planned = plan(project.context, is_compared=request.is_compared)
    if not request.is_plan:
        with _vault(project.context, request) as (vault, told):
            if (number := apply(project.context, vault, planned)) is not None:
                made = {name: value for name, value in told(vault.point(number)[0]).items() if name in made}
        planned = plan(project.context)
    return MigratedTables(
        program=__version__,
        backup=number,
        seconds=round(time.monotonic() - began, 3),
        tables=[MigratedTable(part.database, part.part, part.found, part.known, part.action) for part in planned],
        **made,
    )
