"""`shroff snapshot`: state saved, for a quicker start."""

from __future__ import annotations

from shroff.cli.progress import bars
from shroff.cli.session import Session, command


@command("snapshot", "shroff snapshot", "shroff -C mybank snapshot --json")
def snapshot(session: Session) -> None:
    """Save a snapshot of the state, so that the next start reads only later events.

    Long runs of 'ingest' save one at their end. The two newest snapshots are kept in .shroff/snapshots/. You may
    delete the folder at any time: the next start then reads the whole log. If another process writes the log, that
    process saves its state between two batches.
    """
    from shroff.runtime.texts import bytes_text

    with bars("restoring state, events") as (restoring,):
        saved = session.project.retention.snapshot(restoring)
    document = {"file": str(saved.file), "seq": saved.seq, "bytes": saved.bytes, "seconds": round(saved.seconds, 3)}
    what = f"state at sequence number {saved.seq:,}, {bytes_text(saved.bytes)}, written in {saved.seconds:.1f} s"
    session.answer(document, f"{saved.file}: {what}.")
    session.next("shroff doctor")
