"""`shroff label`: what was found out about events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from shroff.cli import completion
from shroff.cli.ingest import QUARANTINED, labels_text
from shroff.cli.options import gathered
from shroff.cli.progress import bars
from shroff.cli.session import Session, argument, command, many, one_line, table
from shroff.errors import ended, nearest
from shroff.events.event import time_text

if TYPE_CHECKING:
    from shroff.cases.labels import LabelSaid, Maturity
    from shroff.log.history import ListedWaiting
    from shroff.log.writer import Answer


FIELDS: Final = ("source", "known_at", "reason", "amount")  # of one label
LISTS: Final = ("pending", "conflicts", "maturity")
BAR: Final = 30  # characters of a whole bar
DAYS_SHOWN: Final = frozenset([0, 1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 90, 120, 180, 270, 365, 730])


@dataclass(frozen=True, slots=True)
class LabelArguments:
    """Options of `shroff label`."""

    source: str | None
    known_at: str | None
    reason: str | None
    amount: str | None
    pending: bool
    conflicts: bool
    maturity: bool
    as_of: str | None
    days: int | None


@command(
    "label",
    "shroff label labels.csv",
    "shroff label payment/p-1 fraud --source chargeback",
    "shroff label --pending",
    "shroff label --conflicts --as-of 2026-06-30",
    "shroff label --maturity --days 90",
)
@click.argument("what", metavar="[FILE | TYPE/ID VERDICT]", nargs=-1, shell_complete=completion.labelled)
@click.option(
    "--source",
    shell_complete=completion.words("chargeback", "analyst", "customer", "import"),
    help="chargeback, analyst, customer or import, from strongest to weakest.  [default: import]",
)
@click.option(
    "--known-at",
    metavar="TIME",
    help="When it became known, as 2026-03-01T10:00:00Z.  [default: now, or the time of its event if that is later]",
)
@click.option("--reason", help="The reason, as free text.")
@click.option("--amount", help="An amount in the project's currency, such as the loss, as 12.34.")
@click.option("--pending", is_flag=True, help="List unmatched labels: those whose event is not in the log yet.")
@click.option("--conflicts", is_flag=True, help="List conflicting labels: events labeled both fraud and genuine.")
@click.option("--maturity", is_flag=True, help="Show how many frauds are known n days after their event, by source.")
@click.option("--as-of", metavar="TIME", help="For the lists: labels known at this time; a day is its start, UTC.")
@click.option("--days", type=int, metavar="N", help="Number of days for --maturity.  [default: as labels allow]")
@gathered(LabelArguments)
def label(session: Session, what: tuple[str, ...], options: LabelArguments) -> int:
    """Record labels from a file or one by hand, or list unmatched and conflicting labels.

    A file has the columns event, verdict, source and known_at. The values of a field declared unique may name the
    event too. Verdicts are fraud, genuine and unclear. A day without a time is its start in UTC. A label whose event
    is not in the log yet waits for it. The same label again is a duplicate.

    A single label without --known-at is known now. It is a duplicate if the last label of this source for the event
    says the same. If another process writes the log, such as a long 'shroff ingest', that process writes the labels.
    This command then ends when they are committed.
    """
    fields = {name: value for name in FIELDS if (value := getattr(options, name)) is not None}
    asked = [name for name in LISTS if getattr(options, name)]
    if len(asked) > 1 or (asked and (what or fields)):
        raise click.UsageError(f"--{asked[0]} lists labels; the only other option it takes is --as-of.")
    if options.days is not None and not options.maturity:
        raise click.UsageError("--days is for --maturity.")
    if options.maturity:
        return _maturity(session, options.as_of, options.days)
    if asked:
        return _pending(session, options.as_of) if options.pending else _conflicts(session, options.as_of)
    if options.as_of is not None:
        raise click.UsageError(
            "--as-of is for --pending, --conflicts and --maturity; when a label became known is --known-at."
        )
    if len(what) == 2:
        return _one(session, what[0], what[1], fields)
    if len(what) != 1:
        raise click.UsageError("name a FILE, or an event and its verdict: payment/p-1 fraud.")
    if fields:
        raise click.UsageError(
            f"--{next(iter(fields)).replace('_', '-')} is for one label; a file says it in its columns."
        )
    return _file(session, Path(what[0]))


def _pending(session: Session, as_of: str | None) -> int:
    waiting = session.project.label_reports.pending(as_of=as_of)
    labels = [
        {
            "event": label.event,
            "unique": dict(label.unique),
            "verdict": label.verdict,
            "source": label.source,
            "known_at": time_text(label.known_at_ms),
        }
        for label in waiting
    ]
    rows = [(_waits_for(label), label.verdict, label.source, time_text(label.known_at_ms)) for label in waiting]
    text = f"{many(len(labels), 'label has', 'labels have')} no matching event yet."
    body = table(rows, ("event", "verdict", "source", "known at"))
    session.answer(_counts(pending=len(labels)) | {"labels": labels}, f"{text}\n{body}" if rows else text)
    session.next("shroff ingest FILE --as EVENT")
    return 0


def _waits_for(waiting: ListedWaiting) -> str:
    """`payment/p-1`, or `payment with arn A-1` where only a unique field says which."""
    named = ", ".join(f"{name} {value}" for name, value in waiting.unique.items())
    return f"{waiting.event} with {named}" if named else waiting.event


def _conflicts(session: Session, as_of: str | None) -> int:
    found = session.project.label_reports.conflicts(as_of=as_of)
    document = [
        {
            "event": f"{conflict.event}/{conflict.id}",
            "time": time_text(conflict.time_ms),
            "kind": conflict.kind,
            "labels": [
                {
                    "verdict": said.verdict,
                    "source": said.source,
                    "known_at": time_text(said.known_at_ms),
                    "seq": said.seq,
                    "reason": said.reason,
                    "in_force": said.in_force,
                }
                for said in conflict.labels
            ],
        }
        for conflict in found
    ]
    heads = ("event", "kind", "verdict", "source", "known at", "")
    rows = [
        (*((f"{conflict.event}/{conflict.id}", conflict.kind) if at == 0 else ("", "")), *_said(said))
        for conflict in found
        for at, said in enumerate(conflict.labels)
    ]
    text = f"{many(len(found), 'event has', 'events have')} labels that contradict each other."
    if not found:
        text = "No event has labels that contradict each other."
    session.answer({"conflicts": document}, f"{text}\n{table(rows, heads)}" if rows else text)
    session.next(f"shroff explain {argument(found[0].id)}" if found else "shroff label --maturity")
    return 0


def _said(said: LabelSaid) -> tuple[str, str, str, str]:
    return said.verdict, said.source, time_text(said.known_at_ms), "active" if said.in_force else ""


def _maturity(session: Session, as_of: str | None, days: int | None) -> int:
    found = session.project.label_reports.maturity(as_of=as_of, days=days)
    document = {
        "as_of": time_text(found.as_of_ms),
        "frauds": found.frauds,
        "too_young": found.too_young,
        "later": found.later,
        "days": [
            {
                "days": point.days,
                "share": round(point.share, 6),
                "by_source": {source: round(share, 6) for source, share in point.by_source.items()},
                "became_known": point.became_known,
                "at_risk": point.at_risk,
            }
            for point in found.points
        ],
    }
    session.answer(document, "\n".join(_maturity_text(found)))
    session.next("shroff label --conflicts")
    return 0


def _maturity_text(found: Maturity) -> Iterator[str]:
    if not found.points:
        yield f"No fraud known at {time_text(found.as_of_ms)} is old enough to show how long labels take."
        return
    last = found.points[-1].days
    yield f"Frauds known n days after their event, of those that become known within {many(last, 'day')}:"
    sources = [source for source in found.points[-1].by_source if found.points[-1].by_source[source] > 0]
    shown = [point for point in found.points if point.days in DAYS_SHOWN or point.days == last]
    rows = [
        (
            point.days,
            f"{point.share:.1%}",
            "█" * round(point.share * BAR),
            *(f"{point.by_source[source]:.1%}" for source in sources),
            sum(each.became_known for each in found.points[: point.days + 1]),
        )
        for point in shown
    ]
    yield table(rows, ("days", "known", " " * BAR, *sources, "frauds"))
    kept = found.frauds - found.too_young - found.later
    left = [
        f"{count:,} {words}"
        for count, words in ((found.too_young, "too recent"), (found.later, "known later"))
        if count
    ]
    beside = f"; not counted: {' and '.join(left)}" if left else ""
    yield f"Based on {many(kept, 'fraud')} known at {time_text(found.as_of_ms)}{beside}."
    yield "Each fraud counts for the source that reported it first."


def _one(session: Session, reference: str, verdict: str, fields: dict[str, str]) -> int:
    from shroff.events.definitions import SOURCES, VERDICTS
    from shroff.log.writer import DUPLICATE, REFUSED, WAITING

    verdict = verdict.strip().lower()
    _require_one_of(VERDICTS, verdict, "verdict")
    _require_one_of(SOURCES, fields.get("source", SOURCES[-1]), "source")
    answer = session.project.labelling.add(reference, verdict, **fields)
    event = one_line(reference)
    if answer.kind == REFUSED:
        session.answer(
            _counts(read=1, quarantined=1) | {"reason": answer.reason},
            ended(f"The label was refused: {answer.reason}"),
        )
        session.next("shroff quarantine list")
        return QUARANTINED
    if answer.kind == WAITING:
        session.answer(
            _counts(read=1, pending=1),
            f"{_understood(reference, answer)} is not in the log yet; the label '{verdict}' waits for it.",
        )
        session.next("shroff label --pending")
    elif answer.kind == DUPLICATE:
        session.answer(_counts(read=1, duplicates=1), f"This label of {event} is already recorded.")
        session.next(f"shroff explain {argument(reference)}")
    else:
        in_force, of_source = answer.in_force or (verdict, "")
        text = f"{event} is labeled '{verdict}', sequence number {answer.seq:,}"
        text += "." if in_force == verdict else f"; the active verdict is still '{in_force}', from {of_source}."
        document = _counts(read=1, appended=1) | {"seq": answer.seq, "in_force": in_force}
        session.answer(document, text)
        session.next("shroff export labels")
    return 0


def _require_one_of(known: Sequence[str], given: str, what: str) -> None:
    """Raises: click.UsageError; what is mistyped in one's own command is nothing to keep in quarantine."""
    if given not in known:
        words = nearest(given, known) or f"There are {', '.join(known[:-1])} and {known[-1]}."
        raise click.UsageError(f"{one_line(given)!r} is not a {what}. {words}")


def _understood(reference: str, answer: Answer) -> str:
    """The event that a label waits for, with its type where what was named is all of its id."""
    type_name = answer.id.partition("/")[0]
    return one_line(reference if reference.startswith(f"{type_name}/") else f"{type_name}/{reference}")


def _file(session: Session, file: Path) -> int:
    with bars("reading, labels") as (progress,):
        report = session.project.labelling.add_file(file, progress)
    counts: dict[str, Any] = report.document()["labels"]
    session.answer(counts, "\n".join(labels_text(report)))
    session.next("shroff quarantine list" if report.labels.quarantined else "shroff export labels")
    return QUARANTINED if report.labels.quarantined else 0


def _counts(**given: int) -> dict[str, Any]:
    return {"read": 0, "appended": 0, "pending": 0, "duplicates": 0, "quarantined": 0} | given
