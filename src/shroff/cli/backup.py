"""`shroff backup`: the whole project, copied beside its writers."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from shroff import config
from shroff.cli.progress import bars
from shroff.cli.session import ExampleGroup, Session, argument, command, finished_first, json_option, many, table
from shroff.errors import TransientError, UsageError

if TYPE_CHECKING:
    from shroff.app.backups.vault import BackupPoint, Vault
    from shroff.app.context import ProjectContext

Function = TypeVar("Function", bound=Callable[..., Any])
SHOWN: Final = 20
TRIED_AGAIN_S: Final = 10.0  # after the place could not be reached


@click.group("backup", cls=ExampleGroup, no_args_is_help=False)
@json_option
def backup() -> None:
    """Back up the whole project: log, cases, users, audit log, models and project files.

    Backups are in a folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix; 'backup:' in shroff.yaml
    or --at names it. Secrets, such as .shroff/hash.key, are never in a backup: keep copies of them elsewhere.
    'shroff restore' restores a project.
    """


backup.examples = ("shroff backup create --at /mnt/backups/mybank", "shroff backup list --json")


def at(function: Function) -> Function:
    """Add `--at` and `--key`."""
    place = "Folder or bucket of the backups.  [default: 'backup' in shroff.yaml]"
    key = "File with the encryption key: 64 hexadecimal digits.  [default: 'key' under 'backup' in shroff.yaml]"
    add_key = click.option("--key", type=click.Path(path_type=Path), help=key)
    return click.option("--at", "place", metavar="PLACE", help=place)(add_key(function))


@command("create", "shroff backup create", "shroff backup create --follow --every 5", group=backup)
@at
@click.option("--full", "is_full", is_flag=True, help="Read everything again, also if the changes would suffice.")
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
def create(session: Session, place: str | None, key: Path | None, is_full: bool, follow: bool, every_s: float) -> None:
    """Make a backup while other processes write the project: the changes since the last one, or a full one.

    A backup is full if it is the first, a day after the last full one, or if changes since the last one cannot be
    known, for example because no process was running. Equal pieces are stored once. With --follow, run it beside the
    service, for example as a second systemd unit. It backs up changes also while it makes a full backup, and after each
    full one it removes old ones, as 'shroff backup prune' does.

    A log in PostgreSQL is backed up by pg_dump, in full each time. It has no --follow: for the changes in between, use
    WAL archiving.
    """
    from shroff.app.backups.retention import KeepRules, check_follows, pruned, vault_of, writer_of

    def say(point: BackupPoint) -> None:
        session.answer(_document(point), _line(point))
        session.flush()

    context, seconds = session.project.context, _stopwatch()
    if follow:
        check_follows(context)
    with vault_of(context, place, key) as vault, writer_of(context, vault) as writer:
        if follow:
            with finished_first() as stop:
                wait_s = every_s
                while not stop.is_set():
                    try:
                        if (point := writer.create(tail_every_s=every_s, made=say)) is not None:
                            say(point)
                            if point.is_full:  # once a day, as it reads every point
                                pruned(vault, KeepRules(), context.now_ms())
                        wait_s = every_s
                    except TransientError as error:
                        session.say(f"shroff: {error} The next try is in {TRIED_AGAIN_S:.0f} s.")
                        wait_s = TRIED_AGAIN_S
                    stop.wait(wait_s)
            return
        made = writer.create(is_full=is_full)
        if made is None:
            document = {"number": None, "backups": vault.address, **unmade(), "seconds": seconds()}
            session.answer(document, f"{vault.address}: nothing changed.")
        else:
            document = {**_document(made), "backups": vault.address, **stored(vault, made), "seconds": seconds()}
            session.answer(document, f"{vault.address}: {_line(made)}")
            if made.secrets:
                session.say(f"shroff: not in the backup, keep copies elsewhere: {', '.join(sorted(made.secrets))}")
    session.next(f"shroff backup verify{_at(place)}", f"shroff backup list{_at(place)}")


@command("list", "shroff backup list", "shroff backup list --json", group=backup)
@at
def list_(session: Session, place: str | None, key: Path | None) -> None:
    """List backups, oldest first: full ones, each with the tail that follows it."""
    from shroff.app.backups.retention import listed, vault_of

    seconds = _stopwatch()
    with vault_of(_opened(session, place), place, key) as vault:
        (points, damaged), address = listed(vault), vault.address
        newest = _newest(vault, points)
    groups: list[list[BackupPoint]] = []
    for point in points:
        groups += [[]] if point.is_full or not groups else []
        groups[-1].append(point)
    text = f"{address}: {many(len(points), 'backup')}."
    if damaged:
        text += f" {many(len(damaged), 'other one', 'others')} cannot be read: number {', '.join(map(str, damaged))}."
    if groups:
        heads = ("number", "first", "last", "tails", "seq", "size")
        text += "\n" + table([_row(group) for group in groups], heads)
    told = [{"number": number, "why": why} for number, why in damaged.items()]
    document = {
        "backups": address,
        "points": [_document(point) for point in points],
        "damaged": told,
        **newest,
        "bytes": sum(point.bytes for point in points),
        "seconds": seconds(),
    }
    session.answer(document, text)
    session.next(f"shroff restore FOLDER{_at(place, '--from')} --to TIME", f"shroff backup verify{_at(place)}")


@command("verify", "shroff backup verify", "shroff backup verify --at s3://mybank-backups/shroff", group=backup)
@at
def verify(session: Session, place: str | None, key: Path | None) -> int:
    """Read all backups and compare every byte with its hash.

    Exit status 1 if a backup is truncated, altered or incomplete; the output names each and says why.
    """
    from shroff.app.backups.retention import vault_of, verified
    from shroff.monitoring.doctor import bytes_text

    seconds = _stopwatch()
    with vault_of(_opened(session, place), place, key) as vault, bars("reading, pieces") as (progress,):
        found, address = verified(vault, progress), vault.address
        newest = _newest(vault, vault.readable()[0])
    counts = f"{many(found.points, 'backup')}, {many(found.pieces, 'piece')}, {bytes_text(found.bytes)}"
    text = f"{address}: {counts} read, {len(found.damaged):,} damaged."
    lines = [f"  backup {number}: {why}" for number, why in found.damaged.items()]
    document = {
        **newest,
        "backups": address,
        "points": found.points,
        "pieces": found.pieces,
        "bytes": found.bytes,
        "seconds": seconds(),
        "damaged": [{"number": number, "why": why} for number, why in found.damaged.items()],
    }
    session.answer(document, "\n".join([text, *lines[:SHOWN]]))
    session.next(
        f"shroff backup create --full{_at(place)}" if found.damaged else f"shroff restore FOLDER{_at(place, '--from')}"
    )
    return 1 if found.damaged else 0


@command("prune", "shroff backup prune", "shroff backup prune --keep 3d --days 14 --months 6 --dry-run", group=backup)
@at
@click.option("--keep", metavar="DURATION", default="7d", show_default=True, help="Keep every backup this long.")
@click.option("--days", type=click.IntRange(min=0), default=30, show_default=True, help="Full backups: one a day.")
@click.option("--months", type=click.IntRange(min=0), default=12, show_default=True, help="And one a month.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Show what would be removed; remove nothing.")
def prune(
    session: Session, place: str | None, key: Path | None, keep: str, days: int, months: int, is_dry: bool
) -> None:
    """Remove old backups. The newest full backup and its tail always stay."""
    from shroff.app.backups.retention import KeepRules, pruned, vault_of, writer_of
    from shroff.language.values import named_duration
    from shroff.monitoring.doctor import bytes_text

    context, seconds = _opened(session, place), _stopwatch()
    has_project = (context.paths.folder / config.PROJECT_FILE).is_file()
    rules = replace(KeepRules(), all_ms=named_duration("--keep", keep), days=days, months=months)
    with vault_of(context, place, key) as vault, writer_of(context, vault) if has_project else nullcontext():
        gone, freed = pruned(vault, rules, context.now_ms(), is_dry=is_dry)
        address, newest = vault.address, _newest(vault, vault.readable()[0])
    verb = "would be removed" if is_dry else "removed"
    document = {**newest, "backups": address, "removed": gone, "bytes": freed, "dry_run": is_dry, "seconds": seconds()}
    session.answer(document, f"{address}: {many(len(gone), 'backup')} {verb}, {bytes_text(freed)} freed.")
    session.next(f"shroff backup list{_at(place)}")


def _at(place: str | None, option: str = "--at") -> str:
    """The place for the next command, where the settings may not name it."""
    return "" if place is None else f" {option} {argument(place)}"


def _opened(session: Session, place: str | None) -> ProjectContext:
    """The project; with `--at` backups can be looked at where there is none, for example because its disk was lost."""
    from shroff.app.context import ProjectContext

    try:
        return session.project.context
    except UsageError:
        if place is None:
            raise
        return ProjectContext(config.ProjectPaths(session.folder or Path.cwd()))


def _row(points: list[BackupPoint]) -> tuple[object, ...]:
    from shroff.events.event import time_text
    from shroff.monitoring.doctor import bytes_text

    first, last = points[0], points[-1]
    times = time_text(first.at_ms), time_text(last.at_ms)
    return first.number, *times, len(points) - 1, f"{_seq(last):,}", bytes_text(sum(point.bytes for point in points))


def _document(point: BackupPoint) -> dict[str, object]:
    from shroff.events.event import time_text

    return {
        "number": point.number,
        "kind": "full" if point.is_full else "tail",
        "at": time_text(point.at_ms),
        "seq": _seq(point),
        "bytes": point.bytes,
        "program": point.program,
        "secrets": sorted(point.secrets),
        "positions": {
            name: database.dump.position for name, database in point.databases.items() if database.dump is not None
        },
    }


def stored(vault: Vault, point: BackupPoint) -> dict[str, object]:
    """What every command about backups says of the backup that it made, used or found newest."""
    from shroff.app.backups.vault import point_name

    return {"file": f"{vault.address}/{point_name(point.number)}", "seq": _seq(point), "bytes": point.bytes}


def unmade() -> dict[str, object]:
    """The same where there is none."""
    return {"file": None, "seq": None, "bytes": 0}


def _newest(vault: Vault, points: list[BackupPoint]) -> dict[str, object]:
    return stored(vault, points[-1]) if points else unmade()


def _stopwatch() -> Callable[[], float]:
    """Tells the seconds since it was made."""
    began = time.monotonic()
    return lambda: round(time.monotonic() - began, 3)


def _line(point: BackupPoint) -> str:
    from shroff.events.event import time_text
    from shroff.monitoring.doctor import bytes_text

    kind = "full backup" if point.is_full else "tail"
    size = bytes_text(point.bytes)
    return f"{kind} {point.number} of {time_text(point.at_ms)}, up to seq {_seq(point):,}, {size} stored."


def _seq(point: BackupPoint) -> int:
    return max((database.last_seq for database in point.databases.values()), default=0)
