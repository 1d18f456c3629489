"""`shroff erase`: what is personal of one entity's events, taken away."""

from __future__ import annotations

from dataclasses import asdict

import click

from shroff.cli.progress import bars
from shroff.cli.session import Session, command, many


@command("erase", "shroff erase card 4111111111111111", "shroff erase user u-17 --dry-run")
@click.argument("entity")
@click.argument("key")
@click.option("--dry-run", "is_dry", is_flag=True, help="Count what would go, and remove nothing.")
def erase(session: Session, entity: str, key: str, is_dry: bool) -> None:
    """Remove the personal fields of all events of one entity's KEY, for ever: a card, a user, a device.

    Fields are personal that events.yaml declares so (`email: text? personal`). They lie beside the log, so no event,
    decision or receipt changes, and `replay` and `verify` find the same as before. A hashed key is given in clear, one
    of several fields as a JSON list. Entries of quarantine in which the key stands are named, and stay until somebody
    drops them. Mails about these events that lie in the mailbox go, too, with all tests of notices, of which nobody
    knows whom they showed; links in mails answer nothing any more. What was sent to other systems, backups among them,
    is not reached from here.
    """
    with bars("looking through the log, events") as (looking,):
        found = session.project.erase(entity, key, is_dry=is_dry, progress=looking, waits=session.waits)
    document = {**asdict(found), "quarantined": list(found.quarantined)}
    verb = "would be erased" if is_dry else "erased"
    text = f"{many(found.erased, 'event')} of {found.events:,} had personal values: {verb}."
    if found.mails or found.letters:
        gone, told = "would be removed" if is_dry else "removed", many(found.letters, "letter")
        text += f"\n{many(found.mails, 'mail')} in the mailbox, and for whom {told} was: {gone}."
    if found.quarantined:
        numbers = " ".join(map(str, found.quarantined[:20]))
        text += f"\nThe key stands in {many(len(found.quarantined), 'entry', 'entries')} of quarantine: {numbers}."
    session.answer(document, text)
    session.next(f"shroff quarantine show {found.quarantined[0]}" if found.quarantined else "shroff verify")
