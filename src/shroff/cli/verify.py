"""`shroff verify`: the whole log computed again."""

from __future__ import annotations

import time
from dataclasses import asdict

import click

from shroff.cli import completion
from shroff.cli.progress import bars
from shroff.cli.session import Session, command, many, one_line


@command("verify", "shroff verify", "shroff verify --engines naive --sample 500", "shroff verify --last 1000000")
@click.option(
    "--engines",
    shell_complete=completion.words_in_turn("online", "batch", "naive"),
    help="online: all decisions. batch: all features and most hits. naive: features of a sample, by the definition.  "
    "[default: online,batch,naive; without batch with --last]",
)
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    help="Events for the naive engine.  [default: 200, and fewer where they take longer than 5 s]",
)
@click.option(
    "--last",
    metavar="N",
    type=click.IntRange(min=1),
    help="Compare only the last N sequence numbers; earlier events are read, and not compared.",
)
def verify(session: Session, engines: str | None, sample: int | None, last: int | None) -> int:
    """Compute the whole log again through the engines, and compare features, decisions and receipts.

    Exit status 1 on a mismatch, 3 if a part of the log could not be compared.
    """
    from shroff.replay.verification import engines_for

    began, names = time.monotonic(), engines_for(engines, last)
    context, done, total = session.project.context, 0, 0
    if context.log.exists():
        with context.log.reading() as log:
            total = len(names) * log.last_seq()

    def counted(number: int) -> None:
        nonlocal done
        done += number
        progress(number)

    with bars(("computing, events", lambda: min(done / total, 1.0) if total else None)) as (progress,):
        found = session.project.verify(names, sample, counted, last=last)
    seconds, first = time.monotonic() - began, found.first_mismatch
    document = {**asdict(found), "seconds": round(seconds, 3)}
    del document["sampled"]
    counts = f"{many(found.mismatches, 'mismatch', 'mismatches')}"
    text = f"{many(found.events, 'event')} recomputed by {', '.join(names)} in {seconds:.1f} s: {counts}."
    compared, decided = found.sampled
    if compared < decided:
        text += f"\nBy their definition {compared:,} of {decided:,}; all of them: --sample {decided}."
    if not found.events and not found.unread:
        text = (
            f"No decision was compared: {'the log has none' if last is None else 'none is at these sequence numbers'}."
        )
    if first is not None:
        text += f"\nThe first: {first.event} {one_line(first.id)}, seq {first.seq:,}, engine {first.engine}."
        text += f"\nrecorded: {one_line(first.recorded)}\ncomputed: {one_line(first.computed)}"
    text = "\n".join([text, *found.unread])
    session.answer(document, text)
    session.next("shroff doctor" if found.mismatches or found.unread else "shroff export decisions")
    return 1 if found.mismatches else 3 if found.unread else 0
