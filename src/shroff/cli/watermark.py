"""`shroff watermark`: what late events are judged against, and setting it back."""

from __future__ import annotations

import click
import msgspec

from shroff.cli.session import Session, command


@command(
    "watermark",
    "shroff watermark",
    "shroff watermark --set 2026-03-01T10:00:00Z --because 'payment m2 has a mistyped year'",
)
@click.option("--set", "to", metavar="TIME", help="Set the watermark back to this time, with its offset.")
@click.option("--because", metavar="TEXT", help="The reason, for the audit log.")
def watermark(session: Session, to: str | None, because: str | None) -> int:
    """Show the watermark, or set it back where one event with a wrong time made all later events too late.

    The watermark is the time of the newest event. Events older than it by more than 'lateness' are quarantined. If it
    lies beyond the clock, the event that holds it is named. Setting it back loses no event: a control event in the log
    says so, that event stays, and the events that were refused meanwhile can be retried. A service that runs does it
    between two batches; it computes its state again, which takes about as long as a first start.
    """
    if (to is None) != (because is None):
        raise click.UsageError("--set TIME needs --because TEXT, and the other way round.")
    if to is not None and because is not None:
        done = session.project.watermark.set_back(to, because, session.waits)
        session.answer(
            msgspec.to_builtins(done),
            f"The watermark is {done.watermark} from sequence number {done.seq:,} on; it was {done.was}.",
        )
        session.next("shroff quarantine retry", "shroff verify")
        return 0
    found = session.project.watermark.look()
    text = "The log has no event, and so no watermark."
    if found.watermark is not None:
        text = f"The watermark is {found.watermark}; the clock shows {found.clock}."
    if found.event is not None:
        text += f"\n{found.event} (sequence number {found.seq:,}) holds it beyond the clock: later events are too late."
    session.answer(msgspec.to_builtins(found), text)
    if found.event is not None and found.proposed is not None:
        session.next(f"shroff watermark --set {found.proposed} --because 'the time of {found.event} is wrong'")
    return 0 if found.event is None else 1
