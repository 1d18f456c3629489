"""`shroff replay`: one decision computed again."""

from __future__ import annotations

import click

from shroff.cli import completion
from shroff.cli.session import Session, command, one_line


@command("replay", "shroff replay p-1", "shroff replay payment/p-1 --json")
@click.argument("reference", metavar="[TYPE/]ID", shell_complete=completion.references)
@click.option("is_full", "--full", is_flag=True, help="Read the whole log before the event.")
def replay(session: Session, reference: str, is_full: bool) -> int:
    """Compute one decision again from the log with the definitions active then, and compare every byte.

    Without --full only the earlier events of its keys are read where that gives the same bytes.
    """
    found = session.project.replay(reference, is_full=is_full)
    recorded, receipt, match = found.recorded, found.receipt, found.match
    document: dict[str, object] = {"match": match, "receipt": receipt, "event": recorded.event, "id": recorded.id}
    named = f"{recorded.event} {one_line(recorded.id)}"
    text = f"{named} is reproduced byte for byte.\nreceipt {receipt}"
    if not match:
        sides = recorded.document.decode(), found.computed.document.decode()
        document |= {"recorded": sides[0], "computed": sides[1]}
        text = f"{named} differs from the record.\n"
        text += f"recorded: {sides[0]}\ncomputed: {sides[1]}"
    session.answer(document, text)
    session.next("shroff verify")
    return 0 if match else 1
