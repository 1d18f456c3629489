"""`shroff index`: where the events of each key stand, for quick answers about one of them."""

from __future__ import annotations

from shroff.cli.progress import bars
from shroff.cli.session import Session, command
from shroff.runtime.process_wide import give_way


@command("index", "shroff index", "shroff -C mybank index --json")
def index(session: Session) -> None:
    """Index the log by key, so that 'explain' and pages about one entity find its events quickly.

    'serve' does this by itself in the background. The newest events, 65,536 at most, are read from the log instead.
    The index is in .shroff/keys/ and holds only hashes of keys. You may delete the folder at any time. The command
    runs at low processor priority.
    """
    give_way()
    with bars("indexing keys, events") as (noting,):
        places = session.project.history.index_keys(noting)
    session.answer({"indexed": places}, f"{places:,} more log records are indexed.")
    session.next("shroff explain ID")
