"""`shroff index`: where the events of each key stand, for quick answers about one of them."""

from __future__ import annotations

from shroff.cli.progress import bars
from shroff.cli.session import Session, command
from shroff.runtime.process_wide import give_way


@command("index", "shroff index", "shroff -C mybank index --json")
def index(session: Session) -> None:
    """Note where the events of each key of each entity stand in the log, so that 'explain' and pages about one of them
    do not read it backwards.

    'serve' does this by itself, beside its work. The newest events, 65,536 at most, are read from the log. The notes
    are in .shroff/keys/ and hold no keys, only hashes of them; the folder may be removed at any time. Whatever else
    wants the processor goes first.
    """
    give_way()
    with bars("noting keys, events") as (noting,):
        places = session.project.history.index_keys(noting)
    session.answer({"indexed": places}, f"{places:,} further places of the log are in the index.")
    session.next("shroff explain ID")
