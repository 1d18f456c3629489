"""Lists, verifies and prunes backups, and opens their vault."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from shroff.errors import StorageError, UsageError, os_words
from shroff.events.event import time_text
from shroff.json_types import JsonObject, TextDict
from shroff.language.values import DAY_MS, show_duration
from shroff.runtime import environment, state_folder
from shroff.runtime.progress import Progress, unheard
from shroff.runtime.values import FrozenStruct
from shroff.services.backups.creation import BackupWriter, read_note
from shroff.services.backups.restoration import log_damage
from shroff.services.backups.server_logs import ServerBackupWriter, dump_tool
from shroff.services.backups.vault import BackupPoint, DamagedError, Vault, points_of, read_key
from shroff.services.lake.project_lake import Lakes

if TYPE_CHECKING:
    from shroff.monitoring.doctor import Finding
    from shroff.services.context import ProjectContext

OLD_MS = 2 * DAY_MS  # a full backup is due each day


class VerifiedBackups(FrozenStruct):
    """Result of `verified`: numbers read, and the damaged points with the reason."""

    points: int
    pieces: int
    bytes: int
    damaged: dict[int, str]


class KeepRules(FrozenStruct):
    """Backups that `pruned` keeps: all recent ones, then one full backup per day, then one per month."""

    all_ms: int = 7 * DAY_MS
    days: int = 30
    months: int = 12


@contextmanager
def vault_of(context: ProjectContext, to: str | None = None, key: Path | None = None) -> Iterator[Vault]:
    """Open the vault that shroff.yaml names, or the one at `to`. Raises: UsageError if neither is given."""
    settings = context.systems.backup
    if to is None and settings is None:
        raise UsageError(
            "this project does not say where its backups are. Set 'backup:' in shroff.yaml to a folder, "
            "s3://bucket/prefix, gs://bucket/prefix or az://container/prefix, or name it with --at."
        )
    options: JsonObject = {} if settings is None else dict(settings.options)
    named = str(options.pop("key", ""))
    options.pop("tools", None)
    if key is None and named and to is None:
        key = context.paths.folder / environment.fill_variables(named, "backup")
    with Lakes(context).objects_at(options, to) as objects:
        yield Vault(objects, None if key is None else read_key(key))


def writer_of(context: ProjectContext, vault: Vault) -> BackupWriter:
    return (BackupWriter if context.systems.store is None else ServerBackupWriter)(context, vault)


def check_follows(context: ProjectContext) -> None:
    """Raises: UsageError for a log in a server, which has its own replication."""
    if context.systems.store is not None:
        others = dump_tool(context).others
        raise UsageError(
            f"--follow ships the changes of a log in a file. The log of this project is in a database server: use its "
            f"own {others}, and run 'shroff backup create' on a schedule."
        )


def listed(vault: Vault) -> tuple[list[BackupPoint], dict[int, str]]:
    """Return the backups, oldest first, and the reasons of damaged points. Raises: as `points_of`."""
    points_of(vault)
    return vault.readable()


def verified(vault: Vault, progress: Progress = unheard) -> VerifiedBackups:
    """Read every point and piece, and compare each with its hash. Raises: as `points_of`.

    The log of the newest point is checked as `doctor` does; if it is damaged, also those of earlier full ones.
    """
    numbers, sizes = points_of(vault), vault.pieces()
    read: TextDict = {}  # error of each piece, empty if sound
    damaged: dict[int, str] = {}
    before: tuple[int, str] = (0, "")
    candidates = set(numbers[-1:])  # points whose logs are checked, newest first, until one is sound
    for number in numbers:
        try:
            point, digest = vault.point(number)
        except StorageError as error:
            damaged[number] = str(error)
            continue
        if not point.is_full and before != (number - 1, point.before):
            damaged[number] = f"it needs the backup {number - 1}, which is missing, damaged or altered"
            continue
        for name in _pieces(point) - read.keys():
            read[name] = ""
            try:
                vault.get(name)
            except StorageError as error:
                read[name] = str(error)
            progress(1)
        problems = [read[name] for name in sorted(_pieces(point)) if read[name]]
        if problems:
            damaged[number] = problems[0]
            continue
        before = number, digest
        if point.is_full:
            candidates.add(number)
    for number in sorted(candidates - damaged.keys(), reverse=True):
        try:
            problem = log_damage(vault, number)
        except OSError as error:
            problem = f"its log was not checked, as its temporary copy cannot be written: {os_words(error)}"
        if not problem:
            break
        damaged[number] = problem
    return VerifiedBackups(len(numbers), len(read), sum(sizes.values()), damaged)


def pruned(
    vault: Vault, rules: KeepRules, now_ms: int, *, is_dry: bool = False, is_alone: bool = True
) -> tuple[list[int], int]:
    """Remove backups by rules; return their numbers, and the bytes of pieces that no backup needs any more.

    The newest full backup and all after it stay. Damaged points before it are removed, with the tails that need them,
    as nothing can restore them. Points go before pieces, newest first: an interrupted call leaves only restorable
    points, and the next call completes it. Pieces stay if a remaining backup is damaged, no backup exists, or another
    process may be making one, because then the needed pieces are not known.

    Args:
        is_alone: No other process makes a backup: the project's lock is held.

    Raises: StorageError if a backup cannot be read, so its pieces are unknown; as `Vault.open`.
    """
    vault.open()
    points, damaged = vault.readable(DamagedError)
    gone = sorted({point.number for point in _gone(points, rules, now_ms)} | _useless(points, damaged))
    needed = set().union(*(_pieces(point) for point in points if point.number not in gone))
    is_known = is_alone and points and damaged.keys() <= set(gone)
    spare = {name: size for name, size in vault.pieces().items() if name not in needed} if is_known else {}
    if not is_dry:
        for number in reversed(gone):
            vault.remove_point(number)
        for name in spare:
            vault.remove_piece(name)
    return gone, sum(spare.values())


def _useless(points: list[BackupPoint], damaged: Collection[int]) -> set[int]:
    """Return the damaged points before the newest full backup, and the tails that need them."""
    full = {point.number for point in points if point.is_full}
    newest = max(full, default=0)
    useless: set[int] = set()
    for number in sorted({point.number for point in points} | set(damaged)):
        if number < newest and (number in damaged or (number - 1 in useless and number not in full)):
            useless.add(number)
    return useless


def _gone(points: list[BackupPoint], rules: KeepRules, now_ms: int) -> list[BackupPoint]:
    full = [point for point in points if point.is_full]
    if not full:
        return []
    recent = [point for point in full if point.at_ms <= now_ms - rules.all_ms]
    start = recent[-1].number if recent else full[0].number  # the last full one before: later tails need it
    start = min(start, full[-1].number)
    remaining: set[int] = set()
    for form, count in (("%Y-%m-%d", rules.days), ("%Y-%m", rules.months)):
        newest: dict[str, int] = {}
        for point in full:
            newest[datetime.fromtimestamp(point.at_ms / 1_000, UTC).strftime(form)] = point.number
        remaining |= set(list(newest.values())[-count:]) if count else set()
    return [point for point in points if point.number < start and not (point.is_full and point.number in remaining)]


def finding(context: ProjectContext) -> Finding:
    """Report the age of the newest backup for `doctor`, from this machine's note, so the vault is not contacted."""
    from shroff.monitoring.doctor import NOTE, OK, Finding

    note = read_note(context.paths.folder / state_folder.STATE_FOLDER)
    cure = "Run 'shroff backup create', or let 'shroff backup create --follow' run beside the service."
    if note is None or not note.number:
        return Finding("backup", NOTE, "this project was never backed up", cure)
    age_ms = max(0, context.now_ms() - note.at_ms)
    message = f"the newest of {time_text(note.at_ms)}, {show_duration(age_ms - age_ms % 1_000)} ago, at {note.address}"
    return Finding("backup", OK, message) if age_ms <= OLD_MS else Finding("backup", NOTE, message, cure)


def _pieces(point: BackupPoint) -> set[str]:
    names = {*(point.log.whole or ()), *point.log.changed} if point.log else set()
    return names | {name for _, pieces in (point.files or {}).values() for name in pieces}
