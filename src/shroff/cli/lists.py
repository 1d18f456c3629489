"""`shroff lists`: the lists that features and rules ask."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from shroff.cli import completion
from shroff.cli.session import ExampleGroup, Session, argument, command, json_option, many, one_line, table

if TYPE_CHECKING:
    from shroff.project.lists import ListOutcome

NAMED_MAX = 3  # readers that an overview names


@click.group("lists", cls=ExampleGroup, invoke_without_command=True)
@json_option
@click.pass_context
def lists(context: click.Context) -> None:
    """Show and change the lists of the project.

    A list is the file lists/NAME.csv. You can also edit it by hand; 'shroff apply' then makes it active. Changes by
    these commands are active at once, also in a running service.
    """
    if context.invoked_subcommand is None:
        _overview(context.obj)


lists.examples = (
    "shroff lists",
    "shroff lists show blocked_cards",
    "shroff lists add blocked_cards 4111111111111111 --note 'reported stolen' --by ann",
)


def _overview(session: Session) -> None:
    found = session.project.lists.all()
    documents = [{"name": one.name, "entries": one.entries, "read_by": list(one.read_by)} for one in found]
    text = f"{many(len(found), 'list')}."
    if found:
        rows = [(one.name, one.entries, _readers(one.read_by)) for one in found]
        text += "\n" + table(rows, ("list", "entries", "read by"))
    session.answer({"lists": documents}, text)
    session.next(f"shroff lists show {argument(found[0].name)}" if found else "shroff check")


def _readers(names: tuple[str, ...]) -> str:
    if not names:
        return "nothing"
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return ", ".join(names[:NAMED_MAX]) + more


@command("show", "shroff lists show blocked_cards", group=lists)
@click.argument("name", shell_complete=completion.list_names)
def show(session: Session, name: str) -> None:
    """Show the entries of a list, in the order of its file.

    Values that are compared with a hashed field are shown as hashes, as 'lists add' writes them.
    """
    entries = session.project.lists.entries(name)
    text = f"{name}: {many(len(entries), 'entry', 'entries')}."
    if entries:
        rows = [(entry.value, entry.note, entry.added_by, entry.expires_at or "never") for entry in entries]
        text += "\n" + table(rows, ("value", "note", "added by", "expires"))
    session.answer({"name": name, "entries": [asdict(entry) for entry in entries]}, text)
    session.next(f"shroff lists add {argument(name)} VALUE", "shroff lists")


@command(
    "add",
    "shroff lists add blocked_cards 4111111111111111",
    "shroff lists add blocked_cards c-17 --note 'reported stolen' --by ann --expires 2027-01-01T00:00:00Z",
    group=lists,
)
@click.argument("name", shell_complete=completion.list_names)
@click.argument("value")
@click.option("--note", default="", help="The reason, as free text.")
@click.option("--by", default="", help="Who adds it, if the list has that column.  [default: the user of this command]")
@click.option("--expires", metavar="TIME", default="", help="Expiry: applies to events before this.  [default: never]")
def add(session: Session, name: str, value: str, note: str, by: str, expires: str) -> None:
    """Add a value to lists/NAME.csv and make it active; an entry with the same value is replaced.

    If the list is compared with a hashed field, the value is written as its hash.
    """
    from shroff.language.values import parse_time
    from shroff.project.lists import Entry

    project = session.project
    change = project.lists.add(name, Entry(value, note, by or project.opened.who.name, expires), session.waits)
    is_over = bool(expires) and parse_time(expires) <= project.opened.now_ms()
    _tell(
        session, change, f" It has expired already: it applies to events before {one_line(expires)}." if is_over else ""
    )


@command("remove", "shroff lists remove blocked_cards c-17", group=lists)
@click.argument("name", shell_complete=completion.list_names)
@click.argument("value")
def remove(session: Session, name: str, value: str) -> None:
    """Remove a value from lists/NAME.csv and make that active."""
    _tell(session, session.project.lists.remove(name, value, session.waits))


def _tell(session: Session, change: ListOutcome, over: str = "") -> None:
    """Tell what became of a list; `over` is said in place of from when on that holds."""
    words = {"added": "added to", "changed": "changed in", "removed": "removed from", "same": "is already in"}
    text = (
        f"{change.value} {words[change.what]} {change.list}, which has {many(change.entries, 'entry', 'entries')} now."
    )
    if change.in_force:
        text += over or " It is active from the next event."
        if change.others:
            text += f" Earlier changes were activated with it: {', '.join(change.others)}."
    else:
        text += f"{over} It is not active yet: {change.why_not.rstrip('.')}."
    session.answer(asdict(change), text)
    session.next(f"shroff lists show {argument(change.list)}", "shroff verify")
