"""`shroff source`: how far the live source was read."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import click

from shroff.cli.session import ExampleGroup, Session, argument, command, json_option, one_line, table
from shroff.errors import UsageError

if TYPE_CHECKING:
    from shroff.log.read_positions import PartRead

WRONG: Final = 1  # exit status: a part cannot be read on


@click.group("source", cls=ExampleGroup, no_args_is_help=False)
@json_option
def source() -> None:
    """Show the read position of each part of the live source, or reset one."""


source.examples = ("shroff source list", "shroff source forget payments/0")


@command("list", "shroff source list", group=source)
def list_(session: Session) -> int:
    """List the parts (partitions, streams, files) with their read position and number of waiting messages.

    Exit status 1: a part cannot be read on from its position; the output says why.
    """
    found = session.project.source.all()
    parts = [(kind, part) for kind, parts in found.items() for part in parts]
    troubles = [one for _, one in parts if one.trouble]
    named = _kind(session)
    document = {"source": named, "parts": [_document(kind, one) for kind, one in parts]}
    session.answer(document, _text(parts, named))
    if troubles:
        session.next(f"shroff source forget {argument(troubles[0].part)}")
    else:
        session.next("shroff run" if parts else "shroff check")
    return WRONG if troubles else 0


@command("forget", "shroff source forget payments/0", "shroff source forget payments/0 --yes", group=source)
@click.argument("part")
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask for confirmation.")
def forget(session: Session, part: str, is_sure: bool) -> None:
    """Reset the read position of a PART, for example after its topic was deleted and created again.

    The next worker reads the PART from its first message, or from the source's 'start'. The log knows its events by
    id, so messages read twice change nothing. Deleted messages stay lost. No worker may run meanwhile. The log keeps
    the time of the reset and the old position; 'shroff source list' shows them.
    """
    from shroff.streams.source import shown

    if not is_sure:
        if not sys.stdin.isatty():
            raise UsageError(f"this resets the read position of {one_line(part)}. Add --yes to confirm.")
        click.confirm(f"Reset the read position of {one_line(part)}?", abort=True, err=True)
    before = shown(session.project.source.forget(part))
    session.answer(
        {"part": part, "offset": before}, f"The read position of {one_line(part)} is reset; it was {one_line(before)}."
    )
    session.next("shroff source list", "shroff run")


def _kind(session: Session) -> str | None:
    system = session.project.opened.systems.source
    return None if system is None else system.kind


def _document(kind: str, one: PartRead) -> dict[str, Any]:
    from shroff.events.event import time_text
    from shroff.streams.source import shown

    told = one.forgotten
    return {
        "source": kind,
        "part": one.part,
        "offset": shown(one.offset) or None,
        "waiting": one.waiting,
        "trouble": one.trouble or None,
        "forgotten": None if told is None else {"offset": shown(told.offset), "at": time_text(told.at_ms)},
    }


def _text(parts: list[tuple[str, PartRead]], named: str | None) -> str:
    from shroff.events.event import time_text
    from shroff.streams.source import shown

    if not parts and named is not None:
        return f"Nothing was read from the source {named} yet."
    if not parts:
        return "No live source yet: shroff.yaml has no 'source:'."
    rows = [
        (kind, read.part, shown(read.offset) or "nothing", "?" if read.waiting is None else f"{read.waiting:,}")
        for kind, read in parts
    ]
    lines = [table(rows, ("source", "part", "read up to", "waiting"))]
    for _, part_read in parts:
        if part_read.trouble:
            lines.append(one_line(f"{part_read.part}: {part_read.trouble}"))
        if part_read.forgotten is not None:
            at, before = time_text(part_read.forgotten.at_ms), shown(part_read.forgotten.offset)
            lines.append(one_line(f"{part_read.part}: read position reset at {at}; it was {before}."))
    return "\n".join(lines)
