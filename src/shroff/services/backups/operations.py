"""Operations on backups: create, list, verify, prune. Also follows a project with backups until stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec
from msgspec import UNSET, UnsetType

from shroff import config
from shroff.errors import StorageError, TransientError
from shroff.events.event import time_text
from shroff.json_types import JsonObject, TextDict
from shroff.operations.declaration import (
    DryRun,
    OperationRequest,
    Outcome_co,
    Param,
    ProgressSteps,
    ReportAnswer,
    Warn,
    group,
    operation,
)
from shroff.runtime.retries import Backoff
from shroff.runtime.texts import argument, bytes_text, headed, many
from shroff.services.project import Project

if TYPE_CHECKING:
    from threading import Event

    from shroff.services.backups.vault import BackupPoint, Vault
    from shroff.services.context import ProjectContext

SHOWN = 20
DAMAGED = "the log in this backup is damaged, keep the backups before it"
TRIED_AGAIN_S = 10.0  # retry delay after the vault could not be reached

group(
    "backup",
    """Back up the whole project: log, cases, users, audit log, models and project files.

    Backups are in a folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix; 'backup:' in shroff.yaml
    or --at names it. Secrets, such as .shroff/hash.key, are never in a backup: keep copies of them elsewhere.
    'shroff restore' restores a project.

    Examples:
        shroff backup create --at /mnt/backups/mybank
        shroff backup list --json
    """,
)


class OfBackups(OperationRequest[Outcome_co]):
    """A request about the backups at a place; it can be asked where the project is lost.

    Args:
        place (PLACE): Folder or bucket of the backups.  [default: 'backup' in shroff.yaml]
        key: File with the encryption key: 64 hexadecimal digits.  [default: 'key' under 'backup' in shroff.yaml]
    """

    place: Annotated[str | None, Param(flags="--at")] = None
    key: Path | None = None

    @property
    def place_argument(self) -> str:
        return "" if self.place is None else argument(self.place)


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
    positions: TextDict

    @classmethod
    def of(cls, point: BackupPoint) -> BackupEntry:
        dump = point.log.dump if point.log else None
        return cls(
            point.number,
            "full" if point.is_full else "tail",
            time_text(point.at_ms),
            point.last_seq,
            point.bytes,
            point.program,
            sorted(point.secrets),
            {"log": dump.position} if dump else {},
        )


@contextmanager
def open_vault(context: ProjectContext, request: OfBackups[Any]) -> Iterator[tuple[Vault, Callable[..., JsonObject]]]:
    """Open the vault; yield it with a function that returns the fields of `OfVault` for the newest of some points."""
    from shroff.services.backups.retention import vault_of
    from shroff.services.backups.vault import point_name

    began = time.monotonic()

    def document(points: Sequence[BackupPoint]) -> JsonObject:
        fields: JsonObject = {"backups": vault.address, "seconds": round(time.monotonic() - began, 3)}
        if not points:
            return fields
        point = points[-1]
        return fields | {
            "file": f"{vault.address}/{point_name(point.number)}",
            "seq": point.last_seq,
            "bytes": point.bytes,
        }

    with vault_of(context, request.place, request.key) as vault:
        yield vault, document


def line_of(made: BackupEntry | CreatedBackup) -> str:
    kind = "full backup" if made.kind == "full" else "tail"
    return f"{kind} {made.number} of {made.at}, up to seq {made.seq:,}, {bytes_text(made.bytes)} stored."


def _at(place: str, option: str = "--at") -> str:
    return f" {option} {place}" if place else ""


# ---- making


class CreateBackup(OfBackups["CreatedBackup"]):
    """
    Args:
        is_full: Read everything again, also if the changes would suffice.
    """

    is_full: Annotated[bool, Param(flags="--full")] = False


class CreatedBackup(OfVault):
    """The backup that was made; `number` is null where nothing changed, `damage` is why its log cannot be trusted."""

    number: int | None = None
    damage: str | UnsetType = UNSET
    kind: str | UnsetType = UNSET
    at: str | UnsetType = UNSET
    program: str | UnsetType = UNSET
    secrets: list[str] | UnsetType = UNSET
    positions: TextDict | UnsetType = UNSET
    STATUS: ClassVar = "damage"

    def text(self) -> str:
        return f"{self.backups}: {'nothing changed.' if self.number is None else line_of(self)}"

    def hints(self) -> Sequence[str]:
        return f"shroff backup verify{_at(self.report)}", f"shroff backup list{_at(self.report)}"


@operation("backup create", right="read:audit", has_command=False)
def create_backup(project: Project, warn: Warn, request: CreateBackup) -> CreatedBackup:
    """Make a backup while other processes write the project: the changes since the last one, or a full one."""
    from shroff.services.backups.restoration import damage_of
    from shroff.services.backups.retention import writer_of

    with open_vault(project.context, request) as (vault, document), writer_of(project.context, vault) as writer:
        point = writer.create(is_full=request.is_full)
        if point is None:
            return CreatedBackup(**document([])).about(request.place_argument)
    entry = msgspec.structs.asdict(BackupEntry.of(point))
    damage = damage_of(project.context.log.reading) if point.is_full and point.log else ""
    if damage:
        warn(f"{DAMAGED}: {damage}")
        entry["damage"] = damage
    if point.secrets:
        warn(f"not in the backup, keep copies elsewhere: {', '.join(entry['secrets'])}")
    return CreatedBackup(**document([point]) | entry).about(request.place_argument)


def follow_backups(
    context: ProjectContext,
    request: CreateBackup,
    every_s: float,
    *,
    say: Callable[[BackupEntry], None],
    warn: Warn,
    stop: Event,
) -> None:
    """Make a backup every `every_s` seconds until `stop` is set: tails, and a full one daily."""
    from shroff.services.backups.restoration import damage_of
    from shroff.services.backups.retention import KeepRules, check_follows, pruned, writer_of

    def made(point: BackupPoint) -> None:
        say(BackupEntry.of(point))

    check_follows(context)
    with open_vault(context, request) as (vault, _), writer_of(context, vault) as writer:
        retry = Backoff(TRIED_AGAIN_S)
        wait_s = every_s
        while not stop.is_set():
            try:
                point = writer.create(tail_every_s=every_s, made=made)
                if point is not None:
                    made(point)
                    damage = damage_of(context.log.reading) if point.is_full and point.log else ""
                    if damage:
                        warn(f"shroff: {DAMAGED}: {damage}")
                    elif point.is_full:  # once a day, as it reads every point
                        try:
                            pruned(vault, KeepRules(), context.now_ms())
                        except StorageError as error:  # a backup was made all the same
                            warn(f"shroff: no old backup is removed: {error}")
                wait_s = every_s
            except TransientError as error:
                wait_s = retry.failed()
                warn(f"shroff: {error} The next try is in {wait_s:.0f} s.")
            stop.wait(wait_s)


# ---- looking


class ListBackups(OfBackups["BackupList"]):
    pass


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
                bytes_text(sum(point.bytes for point in group)),
            )
            for group in groups
        ]
        return headed(text, rows, ("number", "first", "last", "tails", "seq", "size"))

    def hints(self) -> Sequence[str]:
        return f"shroff restore FOLDER{_at(self.report, '--from')} --to TIME", f"shroff backup verify{_at(self.report)}"


@operation("backup list", right="read:audit", place="place")
def list_backups(project: Project, request: ListBackups) -> BackupList:
    """List backups, oldest first: full ones, each with the tail that follows it.

    Examples:
        shroff backup list
        shroff backup list --json
    """
    from shroff.services.backups.retention import listed

    with open_vault(project.context, request) as (vault, document):
        points, damaged = listed(vault)
    entries = [BackupEntry.of(point) for point in points]
    fields = document(points) | {
        "bytes": sum(entry.bytes for entry in entries),
        "damaged": list(starmap(DamagedBackup, damaged.items())),
    }
    return BackupList(**fields, points=entries).about(request.place_argument)


class VerifyBackups(OfBackups["CheckedBackups"]):
    pass


class CheckedBackups(OfVault, kw_only=True):
    """Result of a check of all backups; file and sequence number are those of the newest backup."""

    points: int
    pieces: int
    damaged: list[DamagedBackup]
    STATUS: ClassVar = "damaged"

    def text(self) -> str:
        counts = f"{many(self.points, 'backup')}, {many(self.pieces, 'piece')}, {bytes_text(self.bytes)}"
        lines = [f"  backup {damaged.number}: {damaged.why}" for damaged in self.damaged[:SHOWN]]
        return "\n".join([f"{self.backups}: {counts} read, {len(self.damaged):,} damaged.", *lines])

    def hints(self) -> Sequence[str]:
        if self.damaged:
            return [f"shroff backup create --full{_at(self.report)}"]
        return [f"shroff restore FOLDER{_at(self.report, '--from')}"]


@operation("backup verify", right="read:audit", place="place")
def verify_backups(project: Project, progress: ProgressSteps, request: VerifyBackups) -> CheckedBackups:
    """Read all backups, compare every byte with its hash, and check the log in the newest one.

    Exit status 1 if a backup is truncated, altered or incomplete, or its log is damaged; the output names each and
    says why. If the newest log is damaged, those in full backups before it are checked until one is sound. A log is
    checked in a temporary copy, which takes its size in TMPDIR.

    Examples:
        shroff backup verify
        shroff backup verify --at s3://mybank-backups/shroff
    """
    from shroff.services.backups.retention import verified

    with open_vault(project.context, request) as (vault, document):
        result = verified(vault, progress.counting("reading, pieces"))
        newest = document(vault.readable()[0]) | {
            "bytes": result.bytes,
            "damaged": list(starmap(DamagedBackup, result.damaged.items())),
        }
    return CheckedBackups(**newest, points=result.points, pieces=result.pieces).about(request.place_argument)


# ---- removing


class PruneBackups(OfBackups["PrunedBackups"]):
    """
    Args:
        keep (DURATION): Keep every backup this long.
        days: Full backups: one a day.
        months: And one a month.
        is_dry: Show what would be removed; remove nothing.
    """

    keep: str = "7d"
    days: Annotated[int, msgspec.Meta(ge=0)] = 30
    months: Annotated[int, msgspec.Meta(ge=0)] = 12
    is_dry: DryRun = False


class PrunedBackups(OfVault, kw_only=True):
    """The numbers of backups that were removed, or would be; bytes are those that this frees."""

    removed: list[int]
    dry_run: bool

    def text(self) -> str:
        verb = "would be removed" if self.dry_run else "removed"
        return f"{self.backups}: {many(len(self.removed), 'backup')} {verb}, {bytes_text(self.bytes)} freed."

    def hints(self) -> Sequence[str]:
        return [f"shroff backup list{_at(self.report)}"]


@operation("backup prune", right="read:audit", place="place")
def prune_backups(project: Project, request: PruneBackups) -> PrunedBackups:
    """Remove old backups. The newest full backup and its tail always stay.

    While a backup cannot be read, nothing is removed. Outside the project's folder no space is freed, since the
    project may be making a backup: its next 'prune' removes what no backup needs any more.

    Examples:
        shroff backup prune
        shroff backup prune --keep 3d --days 14 --months 6 --dry-run
    """
    from shroff.language.values import named_duration
    from shroff.services.backups.retention import KeepRules, pruned, writer_of

    context = project.context
    has_project = (context.paths.folder / config.PROJECT_FILE).is_file()
    rules = KeepRules(named_duration("--keep", request.keep), request.days, request.months)
    with open_vault(context, request) as (vault, document), writer_of(context, vault) if has_project else nullcontext():
        gone, freed = pruned(vault, rules, context.now_ms(), is_dry=request.is_dry, is_alone=has_project)
        fields = document(vault.readable()[0]) | {"bytes": freed}
    return PrunedBackups(**fields, removed=gone, dry_run=request.is_dry).about(request.place_argument)
