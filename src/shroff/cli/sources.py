"""`shroff sources`: the named sources of a project, syncs, subscriptions, and saved messages judged."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from shroff.cli.session import ExampleGroup, Session, command, json_option, many, one_line, table
from shroff.errors import TransientError, UsageError
from shroff.events.event import time_text
from shroff.language.values import parse_time

if TYPE_CHECKING:
    from shroff.app.live.sync_sources import PulledView, SyncedFile
    from shroff.app.live.webhook_sources import JudgedMessage, ReadView, SourceCounts, Subscription
    from shroff.project.settings.sources import NamedSource

REFUSED: Final = 1  # exit status: a message is refused, or something keeps messages away
QUARANTINED: Final = 4
FILE_BYTES_MAX: Final = 1024 * 1024
FILES_MAX: Final = 1_000
_SIGNS: Final = {True: "accepted", False: "refused"}


@click.group("sources", cls=ExampleGroup, no_args_is_help=False)
@json_option
def sources() -> None:
    """Show named sources, sync pulled ones, confirm subscriptions, and verify saved messages."""


sources.examples = (
    "shroff sources list",
    "shroff sources sync nightly",
    "shroff sources test savings_topic message.json",
)


@command("list", "shroff sources list", "shroff sources list --json", group=sources)
def list_(session: Session) -> None:
    """List named sources: their last message or sync, its results, and which of them fail.

    'shroff source list' lists the read positions of sources that a worker reads (Kafka, Redis, Pub/Sub).
    """
    found, pulled, read = session.project.pushed.all(), session.project.pulled.all(), session.project.source.named()
    document = [_document(*one) for one in found] + [_document_of_pulled(one) for one in pulled]
    document += [_document_of_read(one) for one in read]
    session.answer({"sources": document}, _text(found, pulled, read))
    session.next(f"shroff sources sync {pulled[0][0].name}" if pulled else "shroff sources check")


@command("check", "shroff sources check", group=sources)
def check(session: Session) -> int:
    """Check that each source can be opened and that nothing blocks its messages.

    Exit status 1: a subscription is unconfirmed or ended, a file is set aside or suspicious, or a source does not
    answer or cannot be opened.
    """
    project, now_ms = session.project, session.project.opened.now_ms()
    found = [*project.pushed.troubles(), *project.pulled.troubles(), *project.source.troubles()]
    opens: dict[str, Callable[[], object]] = {
        one.name: partial(project.pushed.opened, one) for one, _, _ in project.pushed.all()
    }
    opens |= {name: partial(project.pulled.look_at, name) for name in project.opened.systems.pulled}
    for name, look in opens.items():
        try:
            look()
        except (TransientError, UsageError) as error:
            found.append((name, f"{error}".rstrip("."), now_ms))
    troubles = [{"source": name, "since": time_text(at_ms), "message": words} for name, words, at_ms in found]
    text = "\n".join(f"{name}: {words}" for name, words, _ in found) or "All sources are healthy."
    session.answer({"ok": not found, "troubles": troubles}, text)
    return REFUSED if found else 0


@command(
    "sync",
    "shroff sources sync nightly",
    "shroff sources sync core --no-decide --json",
    "shroff sources sync app --day 2026-03-01 --to 2026-03-07",
    "shroff sources sync app --day 2026-03-01 --from-backup",
    group=sources,
)
@click.argument("name")
@click.option(
    "--day", default="", metavar="NAME", help="Only this day of an export, or this file, even if taken before."
)
@click.option("--to", default="", metavar="NAME", help="With --day: up to this day or file.")
@click.option("--from-backup", is_flag=True, help="With --day: take the archive kept at the download again.")
@click.option("--no-decide", is_flag=True, help="Do not decide the new events; they count only in windows.")
def sync(session: Session, name: str, day: str, to: str, from_backup: bool, no_decide: bool) -> int:
    """Append the new data of the pulled source NAME; each file or range of rows is taken whole and once.

    A sync is idempotent: the log knows what it has. An interrupted sync continues, and a repeated one does nothing. If
    a service runs, it appends the lines. To sync on a schedule, use a schedule of kind 'sync'.

    Exit status 1: no archive of a day is kept; 4: lines were quarantined, or a file was set aside.
    """
    if from_backup and not day:
        raise UsageError("--from-backup goes with --day.")
    if to and not day:
        raise UsageError("--to goes with --day, which is the first one.")
    found = []
    for file in session.project.pulled.sync(
        name,
        first=day,
        last=to,
        from_backup=from_backup,
        decide=not no_decide,
        say=lambda words: session.say(f"shroff: {words}."),
    ):
        found.append(file)
        if not session.is_json:
            session.show(_line(file))
        session.flush()
    taken = [one for one in found if one.appended is not None]
    more = "" if found else " No new files."
    words = f"{many(len(taken), 'file')} ingested.{more}"
    session.answer({"source": name, "files": [_synced(one) for one in found]}, words)
    aside = any(one.state == "set aside" for one in found)
    session.next(
        "shroff sources check" if aside else "shroff quarantine list" if _refused(taken) else "shroff export decisions"
    )
    if any(one.state == "not kept" for one in found):
        return REFUSED
    return QUARANTINED if aside or _refused(taken) else 0


@command(
    "test",
    "shroff sources test savings_topic message.json --certificates certs",
    "shroff sources test savings_topic saved/*.json --at 2026-03-01T12:00:00Z --json",
    group=sources,
)
@click.argument("name")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--at", metavar="TIME", help="When the messages arrived, as 2026-03-01T12:00:00Z.  [default: now]")
@click.option(
    "--certificates",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A folder of certificates (*.pem), named as in their URLs.",
)
def test(session: Session, name: str, files: tuple[Path, ...], at: str | None, certificates: Path | None) -> int:
    """Verify the signatures of saved messages of source NAME. Nothing is stored, and no request is sent.

    Each FILE is the body of one request. Certificates are read from the folder of '--certificates' by file name. A
    missing one is listed under 'would_fetch', and its message is not accepted.

    Exit status 1: a message is refused.
    """
    at_ms = session.project.opened.now_ms() if at is None else _moment(at)
    if len(files) > FILES_MAX:
        raise UsageError(f"these are {len(files):,} files; at most {FILES_MAX:,} are judged at once.")
    bodies = {str(file): _read(file) for file in files}
    known = {path.name: _read(path) for path in certificates.glob("*.pem")} if certificates is not None else {}
    found = session.project.pushed.judged(name, bodies, at_ms, known)
    session.answer({"messages": [msgspec.to_builtins(events) for events in found]}, _judged(found))
    return 0 if all(events.accepted for events in found) else REFUSED


@command(
    "confirm",
    "shroff sources confirm savings_topic",
    "shroff sources confirm savings_topic --topic arn:aws:sns:eu-west-1:123456789012:savings",
    group=sources,
)
@click.argument("name")
@click.option("--topic", metavar="ARN", help="Only the subscription of this topic.")
def confirm(session: Session, name: str, topic: str | None) -> None:
    """Confirm the pending subscriptions of source NAME, so that the sender starts to deliver."""
    found = session.project.pushed.confirm(name, topic)
    words = "\n".join(f"{subscription.topic}: confirmed." for subscription in found)
    session.answer({"confirmed": [subscription.topic for subscription in found]}, words)
    session.next("shroff sources list")


def _moment(text: str) -> int:
    try:
        return parse_time(text)
    except ValueError:
        raise UsageError(f"--at: {text!r} is not a time. Write it as 2026-03-01T12:00:00Z.") from None


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            found = opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.") from None
    if len(found) > FILE_BYTES_MAX:
        raise UsageError(f"{file} has more than {FILE_BYTES_MAX:,} bytes, the limit of a message.")
    return found


def _document(named: NamedSource, counts: SourceCounts, subscriptions: list[Subscription]) -> dict[str, Any]:
    return {
        "name": named.name,
        "kind": named.system.kind,
        "path": f"/hooks/{named.name}",
        "events": list(named.events),
        "others": named.others,
        "last_message": _time(counts.received_ms),
        "last_event": _time(counts.event_ms),
        "appended": counts.appended,
        "duplicates": counts.duplicates,
        "quarantined": counts.quarantined,
        "skipped": counts.skipped,
        "refused": counts.refused,
        "subscriptions": [
            {"topic": subscription.topic, "state": subscription.state, "at": time_text(subscription.at_ms)}
            for subscription in subscriptions
        ],
    }


def _document_of_pulled(view: PulledView) -> dict[str, Any]:
    named, counts, aside, suspicious = view
    return {
        "name": named.name,
        "kind": named.system.kind,
        "events": list(named.events),
        "others": named.others,
        "last_sync": _time(counts.received_ms),
        "appended": counts.appended,
        "duplicates": counts.duplicates,
        "quarantined": counts.quarantined,
        "skipped": counts.skipped,
        "set_aside": [{"file": file, "why": progress.why} for file, progress in aside.items()],
        "suspicious": [
            {"file": file, "why": progress.suspicious, "since": time_text(progress.since_ms)}
            for file, progress in suspicious.items()
        ],
    }


def _document_of_read(view: ReadView) -> dict[str, Any]:
    counts = view.counts
    return {
        "name": view.name,
        "kind": view.system.kind,
        "state": _state(counts),
        "failing": None if not counts.failing else {"why": counts.failing, "since": _time(counts.failing_ms)},
        "last_message": _time(counts.received_ms),
        "last_event": _time(counts.event_ms),
        "waiting": counts.waiting,
        "appended": counts.appended,
        "duplicates": counts.duplicates,
        "quarantined": counts.quarantined,
        "skipped": counts.skipped,
    }


def _state(counts: SourceCounts) -> str:
    """Of a source that a worker reads."""
    return "failing" if counts.failing else "not read yet" if counts.received_ms is None else "read"


def _synced(one: SyncedFile) -> dict[str, Any]:

    appended = None if one.appended is None else one.appended.document()
    return {"file": one.name, "state": one.state, "why": one.why, "suspicious": one.suspicious, "appended": appended}


def _line(one: SyncedFile) -> str:
    name, why = one_line(one.name), one_line(one.why).rstrip(".")
    if one.appended is None:
        return f"{name}: {one.state}{', since ' + why if why else ''}."
    events, labels = one.appended.events, one.appended.labels
    parts = [f"{many(events.appended, 'event')} appended"] if events.read or not labels.read else []
    parts += [f"{many(labels.appended, 'label')} appended"] if labels.read else []
    duplicates, refused = events.duplicates + labels.duplicates, _refused([one])
    parts += [f"{many(duplicates, 'duplicate')}"] if duplicates else []
    parts += [f"{many(refused, 'line')} quarantined"] if refused else []
    parts += [f"{one.appended.untaken:,} of no event type"] if one.appended.untaken else []
    doubt = f" Suspicious: {one_line(one.suspicious)}." if one.suspicious else ""
    return f"{name}: {', '.join(parts)}.{doubt}"


def _refused(found: list[SyncedFile]) -> int:
    return sum(file.appended.events.quarantined + file.appended.labels.quarantined for file in found if file.appended)


def _text(
    found: list[tuple[NamedSource, SourceCounts, list[Subscription]]], pulled: list[PulledView], read: list[ReadView]
) -> str:
    if not found and not pulled and not read:
        return "No named sources. Name one under 'sources:' in shroff.yaml."
    sources = [
        *((one[0].name, one[0].system.kind, one[1]) for one in found),
        *((view.source.name, view.source.system.kind, view.counts) for view in pulled),
        *((view.name, view.system.kind, view.counts) for view in read),
    ]
    rows = [
        (
            name,
            kind,
            _time(counts.received_ms) or "never",
            counts.appended,
            counts.duplicates,
            counts.quarantined,
            sum(counts.skipped.values()),
            sum(counts.refused.values()),
        )
        for name, kind, counts in sources
    ]
    heads = ("source", "kind", "last message", "new", "duplicates", "quarantined", "skipped", "refused")
    lines = [table(rows, heads)]
    for named, _, subscriptions in found:
        lines += [
            f"{named.name}: {subscription.topic} {subscription.state} since {time_text(subscription.at_ms)}"
            for subscription in subscriptions
        ]
    for name, _, counts in sources:
        for did, by in (("skipped", counts.skipped), ("refused", counts.refused)):
            lines += [f"{name}: {did} {many(count, 'time')}: {one_line(words)}" for words, count in by.items() if count]
    for named, _, aside, suspicious in pulled:
        lines += [
            f"{named.name}: {one_line(file)} is skipped: {one_line(progress.why)}" for file, progress in aside.items()
        ]
        lines += [
            f"{named.name}: {file} is suspicious: {one_line(progress.suspicious)}"
            for file, progress in suspicious.items()
        ]
    for read_view in read:
        if read_view.counts.failing:
            since = _time(read_view.counts.failing_ms)
            lines.append(f"{read_view.name}: failing since {since}: {one_line(read_view.counts.failing)}")
        if read_view.counts.waiting:
            lines.append(f"{read_view.name}: {many(read_view.counts.waiting, 'message')} waiting")
    return "\n".join(lines)


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else time_text(at_ms)


def _judged(found: list[JudgedMessage]) -> str:
    rows = []
    for message in found:
        reason = one_line(message.reason) + (f" (would fetch {message.would_fetch})" if message.would_fetch else "")
        rows.append((one_line(message.file), _SIGNS[message.accepted], one_line(message.type), reason.strip()))
    return table(rows, ("file", "", "type", "reason"))
