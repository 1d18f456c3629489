"""`shroff quarantine`: input that was refused."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from shroff.cli.ingest import QUARANTINED
from shroff.cli.session import ExampleGroup, Session, command, cut, json_option, many, one_line, table

if TYPE_CHECKING:
    from shroff.streams.log import Refused

SHOWN_MAX = 50  # entries that a list shows to people; --json has all
REASON_MAX = 140  # characters of a reason in a list; 'show' and --json have all of it
WORD_MAX = 10  # characters of a word that are left out where the end of a reason would begin inside of it
_WITHHELD: Final = "its bytes are not shown, since they may hold values of personal fields: add --personal"


@click.group("quarantine", cls=ExampleGroup, no_args_is_help=False)
@json_option
def quarantine() -> None:
    """Show input that was refused, with its original bytes; retry it or drop it."""


quarantine.examples = ("shroff quarantine list", "shroff quarantine retry")


@command("list", "shroff quarantine list", group=quarantine)
def list_(session: Session) -> None:
    """List refused input with the reason, oldest first.

    Input that was corrected and sent again is marked as fixed, with the accepted event.
    """
    with session.project.opened.reading() as log:
        entries = log.refused_list()
        fixed = session.project.quarantine.fixed(log, entries)
    documents = [_document(number, entry) | {"fixed_by": fixed.get(number)} for number, entry in entries]
    shown = [
        (str(number), f"{entry.source}:{entry.place}", entry.type or "?", _reason(entry, fixed.get(number)))
        for number, entry in entries[:SHOWN_MAX]
    ]
    text = many(len(entries), "entry is in quarantine", "entries are in quarantine")
    text += f", {len(fixed):,} of them fixed." if fixed else "."
    if shown:
        text += "\n" + table(shown, ("number", "place", "type", "reason"))
    if len(entries) > SHOWN_MAX:
        text += f"\n  … and {len(entries) - SHOWN_MAX:,} more; --json has them all."
    session.answer({"count": len(entries), "fixed": len(fixed), "entries": documents}, text)
    if entries:
        session.next(f"shroff quarantine show {entries[0][0]}", "shroff quarantine retry")
    else:
        session.next("shroff verify")


@command("show", "shroff quarantine show 3", group=quarantine)
@click.argument("number", type=int)
@click.option("--personal", "is_personal", is_flag=True, help="Show bytes that may contain personal fields.")
def show(session: Session, number: int, is_personal: bool) -> None:
    """Show one entry with its original bytes.

    Values of hashed fields are shown as hashes. In a project with personal fields, the bytes are shown only with
    --personal.
    """
    from shroff.worker.quarantine_retry import known_numbers

    with session.project.opened.reading() as log:
        ((_, entry),) = log.refused(known_numbers(log, [number]))
    definitions = session.project.opened.loaded.definitions
    if definitions is not None and definitions.events.has_personal and not is_personal:
        document, raw = _document(number, entry), _WITHHELD
    else:
        document = _document(number, entry) | _raw(entry.raw)
        raw = document.get("raw", f"base64: {document.get('raw_base64')}")
    what = f"{number}: {entry.source}:{entry.place}, {entry.type or 'no event type'}"
    lines = (what, f"refused at {document['at']}: {entry.reason}", raw.rstrip("\n"))
    session.answer(document, "\n".join(map(one_line, lines)))
    session.next(f"shroff quarantine retry {number}", f"shroff quarantine drop {number}")


@command(
    "retry",
    "shroff quarantine retry",
    "shroff quarantine retry 3 4",
    "shroff quarantine retry --file march.csv",
    group=quarantine,
)
@click.argument("numbers", metavar="[NUMBER...]", nargs=-1, type=int)
@click.option(
    "--file",
    "files",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="The CSV file of the lines; its first line names their columns.",
)
def retry(session: Session, numbers: tuple[int, ...], files: tuple[Path, ...]) -> int:
    """Retry entries, all of them if no number is given.

    The project as it is now accepts or refuses them; refused entries stay.
    """
    found = session.project.quarantine.retry(numbers, files, session.waits)
    stays = [one for one in found if one.stays]
    document = {
        "read": len(found),
        "taken": len(found) - len(stays),
        "quarantined": len(stays),
        "entries": [{"number": one.number, "outcome": one.outcome, "reason": one.reason} for one in found],
    }
    counts = f"{len(found) - len(stays):,} accepted, {len(stays):,} refused again"
    text = f"{many(len(found), 'entry', 'entries')} retried: {counts}."
    if stays:
        rows = [(str(stay.number), f"{stay.source}:{stay.place}", _short(stay.reason)) for stay in stays[:SHOWN_MAX]]
        text += "\n" + table(rows, ("number", "place", "reason"))
    session.answer(document, text)
    session.next("shroff quarantine drop NUMBER" if stays else "shroff verify")
    return QUARANTINED if stays else 0


@command("drop", "shroff quarantine drop 3 4", "shroff quarantine drop --all", group=quarantine)
@click.argument("numbers", metavar="[NUMBER...]", nargs=-1, type=int)
@click.option("--all", "all_", is_flag=True, help="Drop every entry.")
def drop(session: Session, numbers: tuple[int, ...], all_: bool) -> None:
    """Drop entries for good."""
    if bool(numbers) == all_:
        raise click.UsageError("name the numbers to drop, or --all for every entry.")
    count = session.project.quarantine.drop(numbers, session.waits)
    session.answer({"dropped": count}, f"{many(count, 'entry', 'entries')} dropped.")
    session.next("shroff quarantine list")


def _document(number: int, entry: Refused) -> dict[str, Any]:
    from shroff.events.event import time_text
    from shroff.events.formats.lines import line_and_row

    line, row = line_and_row(entry.place)
    return {
        "number": number,
        "source": entry.source,
        "place": line,
        "row": row,
        "type": entry.type,
        "reason": entry.reason,
        "at": time_text(entry.at_ms),
    }


def _raw(raw: bytes) -> dict[str, str]:
    try:
        return {"raw": raw.decode()}
    except UnicodeDecodeError:
        return {"raw_base64": base64.b64encode(raw).decode()}


def _reason(entry: Refused, fixed_by: str | None) -> str:
    return f"fixed by {one_line(fixed_by)}" if fixed_by else _short(entry.reason)


def _short(reason: str) -> str:
    """A reason on one line; of a long one the beginning, which names the field, and the end, which has what to do.

    >>> _short(80 * "x " + "commas " + 66 * "y").partition("…")[2].rstrip("y")
    ' '
    """
    line = one_line(reason)
    begin, end = cut(line, REASON_MAX // 2), line[-REASON_MAX // 2 :]
    return line if len(line) <= REASON_MAX else f"{begin} {end[end.find(' ', 0, WORD_MAX) + 1 :].lstrip()}"
