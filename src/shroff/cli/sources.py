"""`shroff sources`: the named sources of a project, their subscriptions, and saved messages judged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from shroff.cli.session import ExampleGroup, Session, command, json_option, one_line, table
from shroff.errors import UsageError
from shroff.events.event import time_text
from shroff.language.values import parse_time

if TYPE_CHECKING:
    from shroff.app.live.pushed import JudgedMessage, SourceCounts, Subscription
    from shroff.project.settings.sources import NamedSource

REFUSED: Final = 1  # exit status: a message is refused, or something keeps messages away
FILE_BYTES_MAX: Final = 1024 * 1024
FILES_MAX: Final = 1_000
_SIGNS: Final = {True: "accepted", False: "refused"}


@click.group("sources", cls=ExampleGroup, no_args_is_help=False)
@json_option
def sources() -> None:
    """Look at named sources, confirm their subscriptions, and judge saved messages."""


sources.examples = ("shroff sources list", "shroff sources test savings_topic message.json")


@command("list", "shroff sources list", "shroff sources list --json", group=sources)
def list_(session: Session) -> None:
    """List the pushed sources: their last message, and what came of their messages.

    Sources that are read (Kafka, Redis) stand in 'shroff source list'.
    """
    found = session.project.pushed.all()
    session.answer({"sources": [_document(*one) for one in found]}, _text(found))
    session.next("shroff sources check")


@command("check", "shroff sources check", group=sources)
def check(session: Session) -> int:
    """Check that each source can be opened, and that nothing keeps its messages away.

    Exit status 1: a subscription waits to be confirmed, or was ended.
    """
    for one, _, _ in session.project.pushed.all():
        session.project.pushed.opened(one)
    found = list(session.project.pushed.troubles())
    troubles = [{"source": name, "since": time_text(at_ms), "message": words} for name, words, at_ms in found]
    text = "\n".join(f"{name}: {words}" for name, words, _ in found) or "All sources are healthy."
    session.answer({"ok": not found, "troubles": troubles}, text)
    return REFUSED if found else 0


@command(
    "test",
    "shroff sources test savings_topic message.json --certificates certs",
    "shroff sources test savings_topic saved/*.json --at 2026-03-01T12:00:00Z --json",
    group=sources,
)
@click.argument("name")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--at", metavar="TIME", help="When they came, as 2026-03-01T12:00:00Z.  [default: now]")
@click.option(
    "--certificates",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A folder of certificates (*.pem), named as in their addresses.",
)
def test(session: Session, name: str, files: tuple[Path, ...], at: str | None, certificates: Path | None) -> int:
    """Judge saved messages of source NAME by their signatures. Nothing is taken, and no request leaves.

    Each FILE holds the body of one request. A certificate is looked up in the folder of '--certificates' under its
    file name; one that is not there is named under 'would_fetch', and its message is not accepted.
    Exit status 1: a message is refused.
    """
    at_ms = session.project.opened.now_ms() if at is None else _moment(at)
    if len(files) > FILES_MAX:
        raise UsageError(f"these are {len(files):,} files; at most {FILES_MAX:,} are judged at once.")
    bodies = {str(file): _read(file) for file in files}
    known = {one.name: _read(one) for one in certificates.glob("*.pem")} if certificates is not None else {}
    found = session.project.pushed.judged(name, bodies, at_ms, known)
    session.answer({"messages": [msgspec.to_builtins(one) for one in found]}, _judged(found))
    return 0 if all(one.accepted for one in found) else REFUSED


@command(
    "confirm",
    "shroff sources confirm savings_topic",
    "shroff sources confirm savings_topic --topic arn:aws:sns:eu-west-1:123456789012:savings",
    group=sources,
)
@click.argument("name")
@click.option("--topic", metavar="ARN", help="Only that of this topic.")
def confirm(session: Session, name: str, topic: str | None) -> None:
    """Confirm the subscriptions of source NAME that wait: the sender is told that its messages are wanted."""
    found = session.project.pushed.confirm(name, topic)
    words = "\n".join(f"{one.topic}: confirmed." for one in found)
    session.answer({"confirmed": [one.topic for one in found]}, words)
    session.next("shroff sources list")


def _moment(text: str) -> int:
    try:
        return parse_time(text)
    except ValueError:
        raise UsageError(f"--at: {text!r} is no time. Write it as 2026-03-01T12:00:00Z.") from None


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            found = opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.") from None
    if len(found) > FILE_BYTES_MAX:
        raise UsageError(f"{file} has more than {FILE_BYTES_MAX:,} bytes, which no message has.")
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
            {"topic": one.topic, "state": one.state, "at": time_text(one.at_ms)} for one in subscriptions
        ],
    }


def _text(found: list[tuple[NamedSource, SourceCounts, list[Subscription]]]) -> str:
    if not found:
        return "No pushed sources. Name one under 'sources:' in shroff.yaml."
    rows = [
        (
            named.name,
            named.system.kind,
            _time(counts.received_ms) or "never",
            counts.appended,
            counts.duplicates,
            counts.quarantined,
            sum(counts.skipped.values()),
            sum(counts.refused.values()),
        )
        for named, counts, _ in found
    ]
    heads = ("source", "kind", "last message", "new", "duplicates", "quarantined", "skipped", "refused")
    lines = [table(rows, heads)]
    for named, counts, subscriptions in found:
        lines += [f"{named.name}: {one.topic} {one.state} since {time_text(one.at_ms)}" for one in subscriptions]
        lines += [
            f"{named.name}: refused {count:,} times: {one_line(words)}" for words, count in counts.refused.items()
        ]
    return "\n".join(lines)


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else time_text(at_ms)


def _judged(found: list[JudgedMessage]) -> str:
    rows = []
    for one in found:
        reason = one_line(one.reason) + (f" (would fetch {one.would_fetch})" if one.would_fetch else "")
        rows.append((one_line(one.file), _SIGNS[one.accepted], one_line(one.type), reason.strip()))
    return table(rows, ("file", "", "type", "reason"))
