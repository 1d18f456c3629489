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
    document = found.document()
    named = f"{document['event']} {one_line(document['id'])}"
    text = f"{named} is reproduced byte for byte.\nreceipt {found.receipt}"
    if not found.match:
        text = f"{named} differs from the record.\nrecorded: {document['recorded']}\ncomputed: {document['computed']}"
    session.answer(dict(document), text)
    session.next("shroff verify")
    return 0 if found.match else 1
