"""`shroff produce`: the events of a file, sent to where a live source reads them."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

import click

from shroff.cli import completion
from shroff.cli.ingest import QUARANTINED, unmatched_text
from shroff.cli.options import FORMAT, gathered
from shroff.cli.progress import drawing
from shroff.cli.session import Session, command, many, one_line
from shroff.errors import TransientError, UsageError

if TYPE_CHECKING:
    from shroff.runtime.progress import Meter
    from shroff.streams.sender import Sender
    from shroff.worker.producer import Production

NOT_TAKEN: Final = 3
DRAWN_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class ProduceArguments:
    """Options of `shroff produce`."""

    as_type: str | None
    labels: Path | None
    order: str
    rate: float | None
    speed: float | None
    key: str | None
    topic_by: str | None
    first_row: int
    to: str | None
    makes_topics: bool
    partitions: int | None
    format_: str | None


@command(
    "produce",
    "shroff produce payments.csv --as payment",
    "shroff produce paysim.csv --as payment --labels paysim.csv --speed 60",
    "shroff produce paysim.csv --as payment --topic-by \"'fraud_transaction' when row.isFraud == 1 else "
    "'non_fraud_transaction'\"",
    "shroff produce payments.jsonl --as payment --rate 1000 --create-topics --partitions 3",
    "shroff produce --create-topics",
)
@click.argument("file", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--as",
    "as_type",
    metavar="EVENT",
    shell_complete=completion.event_types_and_labels,
    help="The event type of every line.  [default: each line names its own]",
)
@click.option("--labels", metavar="FILE", type=click.Path(path_type=Path), help="Labels, sent when they became known.")
@click.option(
    "--order", type=click.Choice(["file", "time"]), default="file", show_default=True, help="time: sort by event time."
)
@click.option("--rate", metavar="N", type=float, help="Events per second.")
@click.option("--speed", metavar="X", type=float, help="Send by event time: 1 is real time, 60 an hour per minute.")
@click.option("--key", metavar="FIELD", help="Field for the partition.  [default: the type's first entity]")
@click.option(
    "--topic-by",
    metavar="EXPRESSION",
    help=("The topic of each event, as an expression over its line: \"'fraud' when row.isFraud == 1 else 'genuine'\"."),
)
@click.option("--from", "first_row", metavar="N", type=click.IntRange(min=1), default=1, help="Start at line N.")
@click.option("--to", metavar="SOURCE", help="The destination.  [default: 'source:' of shroff.yaml]")
@click.option("--create-topics", "makes_topics", is_flag=True, help="Create missing topics.")
@click.option(
    "--partitions", metavar="N", type=click.IntRange(min=1), help="Partitions of created topics.  [default: 1]"
)
@FORMAT
@gathered(ProduceArguments)
def produce(session: Session, file: Path | None, options: ProduceArguments) -> int:
    """Send the events of a file to the live source, as fast as it accepts them or at a set pace.

    Lines are read as by 'shroff ingest'; lines that are no event are reported and not sent. Events with the same key
    keep their order. Ctrl-C waits for messages in flight and shows how to continue. With --create-topics and no FILE,
    nothing is sent: all topics of shroff.yaml are created, including those of dead letters and sinks.
    """
    from shroff.worker.producer import Production, SendingPace

    if options.partitions is not None and not options.makes_topics:
        raise UsageError("--partitions is for topics that --create-topics makes.")
    if file is None:
        return _made(session, options.partitions or 1, is_asked=options.makes_topics and options.to is None)
    done, began_s = Production(next_row=options.first_row), time.monotonic()
    session.stopped = "Nothing was sent yet."
    try:
        with _watched(done, session) as watch:
            session.project.production.produce(
                file,
                as_type=options.as_type,
                labels=options.labels,
                to=options.to,
                order=options.order,
                pace=SendingPace(options.rate, options.speed),
                key=options.key,
                topic_by=options.topic_by,
                format=options.format_,
                first_row=options.first_row,
                partitions=(options.partitions or 1) if options.makes_topics else None,
                done=done,
                watch=watch,
            )
    except KeyboardInterrupt:
        session.stopped = _went_on(done, file, options)
        raise
    except TransientError:
        session.say(f"shroff: {_went_on(done, file, options)}")
        raise
    done.seconds = done.seconds or time.monotonic() - began_s
    _tell(done, session)
    return NOT_TAKEN if done.failed else QUARANTINED if done.refused or done.unmatched else 0


def _made(session: Session, partitions: int, *, is_asked: bool) -> int:
    """Make topics and send nothing."""
    if not is_asked:
        raise UsageError("name the FILE to send; or --create-topics alone, to make the topics that shroff.yaml names.")
    made = session.project.production.make_topics(partitions)
    text = f"Made: {', '.join(made)}." if made else "All topics exist already."
    session.answer({"sent": 0, "seconds": 0.0, "topics": made}, text)
    session.next("shroff doctor", "shroff run")
    return 0


def _tell(done: Production, session: Session) -> None:
    document = {
        "sent": done.sent,
        "seconds": round(done.seconds, 3),
        "labels": done.labels,
        "failed": done.failed,
        "refused": done.refused,
        "untaken": done.untaken,
        "unmatched": [source.document() for source in done.unmatched],
        "behind": done.behind,
        "topics": done.made,
        "by_topic": done.by_topic,
    }
    pace = f", {done.sent / done.seconds:,.0f} a second" if done.seconds > 0 and done.sent else ""
    lines = [f"{many(done.sent, 'event')} sent in {done.seconds:.1f} s{pace}."]
    if done.by_topic:
        parts = (f"{count:,} to {topic}" for topic, count in done.by_topic.most_common())
        lines.append(f"By --topic-by: {', '.join(parts)}.")
    if done.labels:
        lines.append(f"{many(done.labels, 'label')} sent.")
    if done.made:
        lines.append(f"Topics made: {', '.join(done.made)}.")
    if done.untaken and not done.unmatched:
        lines.append(f"{many(done.untaken, 'line')} skipped: no event type's 'when' accepts them.")
    lines += unmatched_text(done.unmatched)
    if done.behind:
        session.say(
            f"shroff: {many(done.behind, 'event')} happened so long before one that was sent earlier that a worker "
            "refuses them as too late. --order time sorts the file first."
        )
    for words in done.words:
        session.say(f"shroff: {one_line(words)}")
    if done.refused:
        lines.append(f"{many(done.refused, 'line')} not sent: they are not valid events.")
    if done.failed:
        lines.append(f"{many(done.failed, 'message')} refused by the destination.")
    session.answer(document, "\n".join(lines))
    if not done.refused and not done.failed and not done.unmatched:
        session.next("shroff run")


def _went_on(done: Production, file: Path, options: ProduceArguments) -> str:
    """Messages sent so far, and how to resume."""
    if not done.sent and not done.labels:
        return "Nothing was sent."
    named = f" --as {options.as_type}" if options.as_type else ""
    named += f" --topic-by {shlex.quote(options.topic_by)}" if options.topic_by else ""
    behind = f"--from {done.next_row}" if options.order == "file" else "--order time"
    again = f"shroff produce {shlex.quote(str(file))}{named} {behind}"
    return f"{many(done.sent, 'event was', 'events were')} sent; '{again}' continues; duplicates are ignored."


@contextmanager
def _watched(done: Production, session: Session) -> Iterator[Callable[[Sender, Meter], None]]:
    """Tell on a terminal how far it is, as long as this lasts."""
    over = Event()
    watchers: list[Thread] = []

    def watch(sender: Sender, meter: Meter) -> None:
        def draw() -> None:
            drawn = drawing("sending")
            (task,) = drawn.task_ids
            sent, at_s = done.sent, time.monotonic()
            try:
                while not over.wait(DRAWN_S):
                    now_s = time.monotonic()
                    rate, sent, at_s = (done.sent - sent) / (now_s - at_s), done.sent, now_s
                    drawn.update(task, description=_progress(done, sender, meter, rate))
            finally:
                drawn.stop()

        if sys.stderr.isatty():
            watchers.append(Thread(target=draw, name="watch", daemon=True))
            watchers[-1].start()

    try:
        yield watch
    finally:
        over.set()
        for watcher in watchers:
            watcher.join()


def _progress(done: Production, sender: Sender, meter: Meter, rate: float) -> str:
    share = meter.share()
    parts = [f"sending: {done.sent:,} events, {rate:,.0f} a second"]
    if share is not None:
        parts.append(f"{share:.0%} of the file")
    if done.behind_s > 1:
        parts.append(f"{done.behind_s:,.0f} s late")
    if done.refused:
        parts.append(f"{done.refused:,} lines refused")
    parts += [one_line(words) for words in list(sender.words)[-1:]]
    return "; ".join(parts)
