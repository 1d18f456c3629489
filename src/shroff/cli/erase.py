"""`shroff erase`: remove the personal fields of all events of one key."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
from msgspec.structs import asdict

from shroff.cli.progress import bars
from shroff.cli.session import Session, command, many

if TYPE_CHECKING:
    from shroff.cases.case_erasure import WrittenNotes


@command("erase")
@click.argument("entity")
@click.argument("key")
@click.option("--notes", "wants_notes", is_flag=True, help="Also remove notes and files of cases about these events.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Count what would be removed; remove nothing.")
def erase(session: Session, entity: str, key: str, wants_notes: bool, is_dry: bool) -> None:
    """Erase the personal fields of all events of one entity's KEY, such as a card, a user or a device, for good.

    Personal fields are those that events.yaml declares so (`email: text? personal`). They are stored beside the log.
    No event, decision or receipt changes, and `replay` and `verify` give the same results as before. Give a hashed key
    in clear, and a key of several fields as a JSON list.

    Also removed: mails about these events in the mailbox, and all test mails of notices, because their content may be
    about anybody. Links in mails stop working. Quarantine entries that contain the key are listed; they stay until you
    drop them. Notes and files in cases about these events are counted. They are removed with --notes, or if you
    confirm the question. So are the words of customers with an appeal, without a question. Copies in other systems,
    such as backups, are out of reach.

    Examples:
        shroff erase card 4111111111111111
        shroff erase user u-17 --dry-run
    """
    with bars("searching the log, events") as (looking,):
        found = session.project.erasing.erase(entity, key, is_dry=is_dry, progress=looking)
    written = found.written
    document = {**asdict(found), "quarantined": list(found.quarantined)}
    del document["written"], document["of"]
    verb = "would be erased" if is_dry else "erased"
    text = f"{many(found.erased, 'event')} of {found.events:,} had personal values: {verb}."
    if not found.events:
        text = f"No event has this {entity}: check the key. Nothing to erase."
    if found.mails or found.letters:
        removal = "would be removed" if is_dry else "removed"
        letters = many(found.letters, "letter")
        text += f"\n{many(found.mails, 'mail')} in the mailbox and the recipients of {letters}: {removal}."
    hint = "shroff verify"
    if found.quarantined:
        numbers = " ".join(map(str, found.quarantined[:20]))
        entries = many(len(found.quarantined), "quarantine entry contains", "quarantine entries contain")
        text += f"\n{entries} the key: {numbers}."
        hint = f"shroff quarantine show {found.quarantined[0]}"
    if written is not None and written.cases:
        are_notes_erased = not is_dry and (wants_notes or _is_wanted(session, written))
        if are_notes_erased:
            session.project.cases.forget_written(written, found.of)
        notes_state = "would be removed" if is_dry and wants_notes else "kept; '--notes' removes them"
        text += f"\n{_notes_text(written)}: {'removed' if are_notes_erased else notes_state}."
        document |= {
            "cases": list(written.cases),
            "notes": written.notes,
            "files": written.files,
            "notes_erased": are_notes_erased,
        }
    session.answer(document, text)
    session.next(hint)


def _notes_text(written: WrittenNotes) -> str:
    parts = many(written.notes, "note"), many(written.files, "file")
    numbers = " ".join(map(str, written.cases[:20]))
    return f"{' and '.join(parts)} in {many(len(written.cases), 'case')} about these events ({numbers})"


def _is_wanted(session: Session, written: WrittenNotes) -> bool:
    return (
        not session.is_json and sys.stdin.isatty() and click.confirm(f"{_notes_text(written)}. Remove them?", err=True)
    )
