"""`shroff notices`: who is told what, how a mail looks, and letters that were refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shroff.cli.session import ExampleGroup, Session, command, cut, json_option, many, table

if TYPE_CHECKING:
    from shroff.notices.definitions import Notice
    from shroff.notices.mailer import Mail

REASON_MAX = 80  # characters of a reason in a list


@click.group("notices", cls=ExampleGroup, invoke_without_command=True)
@json_option
@click.pass_context
def notices(context: click.Context) -> None:
    """List notices, preview their mails, send a test, and resend failed letters."""
    if context.invoked_subcommand is None:
        context.invoke(list_)


notices.examples = (
    "shroff notices",
    "shroff notices preview customer --event payment/p-1",
    "shroff notices test customer ann@bank.example",
)


@command("list", "shroff notices list", group=notices)
def list_(session: Session) -> None:
    """List the notices of the project with their triggers and channels."""
    found = list(session.project.notice_files.declared.values())
    rows = [(one.name, one.on, one.event or "", one.channel, _how(one)) for one in found]
    text = table(rows, ("notice", "on", "event", "by", "how")) if rows else "This project has no notices."
    session.answer({"notices": [_document(one) for one in found]}, text)
    if found:
        session.next(f"shroff notices preview {found[0].name}", "shroff notices letters")


@command(
    "preview",
    "shroff notices preview customer",
    "shroff notices preview customer --event payment/p-1 --html mail.html",
    "shroff notices preview daily_figures --day 2026-03-04",
    group=notices,
)
@click.argument("name")
@click.option("--event", default="", help="The event of the mail, as payment/p-1.  [default: the newest]")
@click.option("--day", default="", help="The day of a report, as 2026-03-01.  [default: the last that was due]")
@click.option(
    "--html", "html_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the HTML into this file."
)
def preview(session: Session, name: str, event: str, day: str, html_file: Path | None) -> None:
    """Show the mail of a notice. Nothing is sent, and the link in it does not work."""
    subject, text, html = _parts(session.project.notices.preview(name, event, day))
    if html_file is not None:
        html_file.write_text(html, encoding="utf-8")
    session.answer({"subject": subject, "text": text, "html": html}, f"Subject: {subject}\n\n{text}")
    session.next(f"shroff notices test {name} ADDRESS")


@command("test", "shroff notices test customer ann@bank.example", group=notices)
@click.argument("name")
@click.argument("to", metavar="ADDRESS")
@click.option("--event", default="", help="The event of the mail, as payment/p-1.  [default: the newest]")
@click.option("--day", default="", help="The day of a report, as 2026-03-01.  [default: the last that was due]")
def test(session: Session, name: str, to: str, event: str, day: str) -> int:
    """Send the mail of a notice to an address, marked as a test. Exit status 1 if it is refused."""
    refused = session.project.notices.test(name, to, event, day)
    opened = session.project.opened
    where = "" if not opened.systems.mails_are_files else f" It is a file in {opened.places.mail}."
    words = f"It was refused: {refused[0]}" if refused else f"It was accepted.{where}"
    session.answer({"sent": not refused, "refused": refused}, words)
    return 1 if refused else 0


@command("letters", "shroff notices letters", "shroff notices letters --state refused", group=notices)
@click.option(
    "--state",
    default="",
    help="Only letters in this state: open (waiting or deferred), sent, refused, unknown or dropped.",
)
def letters(session: Session, state: str) -> None:
    """List the newest letters (mails, calls and documents): sent, waiting or refused."""
    from shroff.events.event import time_text

    with session.project.notice_files.told() as store, store.look() as look:
        found, waiting = look.letters([state] if state else ()), look.count_waiting()
    documents = [
        {"id": one.id, "notice": one.notice, "to": one.shown, "state": one.state, "reason": one.reason}
        | {"attempts": one.attempts, "made": time_text(one.made_ms)}
        for one in found
    ]
    rows = [
        (one.id, one.notice, one.shown, one.state_words, str(one.attempts), cut(one.reason, REASON_MAX))
        for one in found
    ]
    heads = ("letter", "notice", "to", "state", "attempts", "reason")
    text = table(rows, heads) if rows else "No letters."
    session.answer(
        {"waiting": waiting, "letters": documents}, f"{text}\n{many(waiting, 'notification')} not in a message yet."
    )
    refused = next((one for one in found if one.state in {"refused", "unknown"}), None)
    if refused is not None:
        session.next(f"shroff notices retry {refused.id}", f"shroff notices drop {refused.id}")


@command("retry", "shroff notices retry 4f2a09c1d7e3b85566aa01fe", group=notices)
@click.argument("letter")
def retry(session: Session, letter: str) -> None:
    """Send a letter again that was refused, or whose delivery is unknown."""
    found = session.project.letters.retry(letter)
    session.answer({"id": found.id, "state": found.state}, "It is sent again when a service or a worker runs.")
    session.next("shroff notices letters")


@command("drop", "shroff notices drop 4f2a09c1d7e3b85566aa01fe", group=notices)
@click.argument("letter")
def drop(session: Session, letter: str) -> None:
    """Drop a letter that was refused, or whose delivery is unknown: 'doctor' no longer counts it."""
    found = session.project.letters.drop(letter)
    session.answer({"id": found.id, "state": found.state}, "It is not sent again.")
    session.next("shroff notices letters")


def _how(one: Notice) -> str:
    parts = ["asks" if one.asks else "", "digest" if one.digest_ms else "", "quiet hours" if one.quiet else ""]
    return ", ".join(part for part in parts if part)


def _document(one: Notice) -> dict[str, Any]:
    return {"name": one.name, "on": one.on, "event": one.event, "channel": one.channel, "asks": one.asks}


def _parts(mail: Mail) -> tuple[str, str, str]:
    from email import message_from_bytes
    from email.policy import SMTP

    message = message_from_bytes(mail.data, policy=SMTP)
    plain, html = (message.get_body((kind,)) for kind in ("plain", "html"))
    text = "" if plain is None else str(plain.get_content())
    return str(message["Subject"]), text.replace("\r\n", "\n"), "" if html is None else str(html.get_content())
