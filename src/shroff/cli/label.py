"""`shroff label`: what was found out about events."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shroff.cli import completion
from shroff.cli.ingest import QUARANTINED, counts_text, document_of
from shroff.cli.progress import bars
from shroff.cli.session import Session, argument, command, many, one_line, table
from shroff.errors import nearest

if TYPE_CHECKING:
    from shroff.decisions.writer import Answer


@command(
    "label",
    "shroff label labels.csv",
    "shroff label payment/p-1 fraud --source chargeback",
    "shroff label --pending",
)
@click.argument("what", metavar="[FILE | TYPE/ID VERDICT]", nargs=-1, shell_complete=completion.labelled)
@click.option(
    "--source",
    shell_complete=completion.words("chargeback", "analyst", "customer", "import"),
    help="chargeback, analyst, customer or import, from strong to weak.  [default: import]",
)
@click.option("--known-at", metavar="TIME", help="When it became known, as 2026-03-01T10:00:00Z.  [default: now]")
@click.option("--reason", help="Why, in words.")
@click.option("--amount", help="An amount of the project's money, such as what was lost, as 12.34.")
@click.option("--pending", is_flag=True, help="List the labels that wait for their event.")
def label(
    session: Session,
    what: tuple[str, ...],
    source: str | None,
    known_at: str | None,
    reason: str | None,
    amount: str | None,
    pending: bool,
) -> int:
    """Record labels: a file with event, verdict, source and known_at, or one by hand.

    Verdicts are fraud, genuine and unclear. A label of an event that is not there yet waits for it.
    Where another process writes, such as a long 'shroff ingest', that one takes the labels in, and this command
    ends when they are committed.
    """
    given = {"source": source, "known_at": known_at, "reason": reason, "amount": amount}
    fields = {name: value for name, value in given.items() if value is not None}
    if pending:
        if what or fields:
            raise click.UsageError("--pending lists what waits; it takes nothing else.")
        return _pending(session)
    if len(what) == 2:
        return _one(session, what[0], what[1], fields)
    if len(what) != 1:
        raise click.UsageError("name a FILE, or an event and its verdict: payment/p-1 fraud.")
    if fields:
        raise click.UsageError(
            f"--{next(iter(fields)).replace('_', '-')} is for one label; a file says it in its columns."
        )
    return _file(session, Path(what[0]))


def _pending(session: Session) -> int:
    from shroff.decisions.history import waiting_fields

    with session.project.reading() as log:
        labels = [waiting_fields(one) for one in log.waiting_all()]
    text = f"{many(len(labels), 'label waits', 'labels wait')} for an event that is not in the log."
    rows = table([tuple(one.values()) for one in labels])
    session.answer(_counts(pending=len(labels)) | {"labels": labels}, f"{text}\n{rows}" if rows else text)
    session.next("shroff ingest FILE --as EVENT")
    return 0


def _one(session: Session, reference: str, verdict: str, fields: dict[str, str]) -> int:
    from shroff.decisions.writer import DUPLICATE, REFUSED, WAITING

    answer = session.project.label(reference, verdict, **fields, waits=session.waits)
    event = one_line(reference)
    if answer.kind == REFUSED:
        session.answer(
            _counts(read=1, quarantined=1) | {"reason": answer.reason},
            f"The label was refused: {answer.reason.rstrip('.')}.",
        )
        session.next("shroff quarantine list")
        return QUARANTINED
    if answer.kind == WAITING:
        session.answer(
            _counts(read=1, pending=1),
            f"{_understood(reference, answer)} is not in the log yet; the label '{verdict}' waits for it."
            + _misspelled(session, reference),
        )
        session.next("shroff label --pending")
    elif answer.kind == DUPLICATE:
        session.answer(_counts(read=1, duplicates=1), f"This label of {event} is there already.")
        session.next(f"shroff explain {argument(reference)}")
    else:
        session.answer(
            _counts(read=1, appended=1) | {"seq": answer.seq},
            f"{event} is labelled '{verdict}', at place {answer.seq:,}.",
        )
        session.next("shroff export labels")
    return 0


def _understood(reference: str, answer: Answer) -> str:
    """The event that a label waits for, with its type where what was named is all of its id."""
    type_name = answer.id.partition("/")[0]
    return one_line(reference if reference.startswith(f"{type_name}/") else f"{type_name}/{reference}")


def _misspelled(session: Session, reference: str) -> str:
    """A hint where the part before the slash may be meant for an event type."""
    before, slash, _ = reference.partition("/")
    types = session.project.definitions.events.types
    hint = nearest(before, types) if slash and before not in types else ""
    return f" {one_line(before)} is no event type, so it was taken for a part of the id. {hint}" if hint else ""


def _file(session: Session, file: Path) -> int:
    with bars("reading, labels") as (progress,):
        report = session.project.label_file(file, progress, session.waits)
    counts: dict[str, Any] = document_of(report)["labels"]
    session.answer(counts, f"{many(report.labels.read, 'label')} read: {counts_text(report.labels)}.")
    session.next("shroff quarantine list" if report.labels.quarantined else "shroff export labels")
    return QUARANTINED if report.labels.quarantined else 0


def _counts(**given: int) -> dict[str, Any]:
    return {"read": 0, "appended": 0, "pending": 0, "duplicates": 0, "quarantined": 0} | given
