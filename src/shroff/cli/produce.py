"""`shroff produce`: send the events of a file to the live source."""

from __future__ import annotations

import shlex
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from shroff.cli.ingest import unmatched_text
from shroff.cli.operations import FORMAT, takes
from shroff.cli.progress import beside, redrawn
from shroff.cli.session import Session, command, many, one_line
from shroff.errors import TransientError, UsageError
from shroff.operations.declaration import QUARANTINED, AsEvent, OperationRequest, Param
from shroff.runtime.texts import percent

if TYPE_CHECKING:
    from shroff.events.formats.lines import Meter
    from shroff.streams.sender import Sender
    from shroff.worker.producer import Production

NOT_TAKEN = 3
DRAWN_S = 0.5
TOPIC_BY = "The topic of each event, as an expression over its line: \"'fraud' when row.isFraud == 1 else 'genuine'\"."


class ProduceArguments(OperationRequest[Any]):
    """The file to send, and how.

    Args:
        labels (FILE): Labels, sent when they became known.
        order: time: sort by event time.
        rate (N): Events per second.
        speed (X): Send by event time: 1 is real time, 60 an hour per minute.
        key (FIELD): Field for the partition.  [default: the type's first entity]
        row (N): Start at line N.
        to (SOURCE): The destination.  [default: 'source:' of shroff.yaml]
        makes_topics: Create missing topics.
        partitions (N): Partitions of created topics.  [default: 1]
    """

    file: Annotated[Path | None, Param(metavar="[FILE]", is_argument=True)] = None
    as_type: Annotated[
        str | None,
        AsEvent("The event type of every line.  [default: each line names its own]", complete="event_types_and_labels"),
    ] = None
    labels: Path | None = None
    order: Literal["file", "time"] = "file"
    rate: float | None = None
    speed: float | None = None
    key: str | None = None
    topic_by: Annotated[str | None, Param(TOPIC_BY, metavar="EXPRESSION")] = None
    row: Annotated[Annotated[int, Meta(ge=1)] | None, Param(flags="--from")] = None
    to: str | None = None
    makes_topics: Annotated[bool, Param(flags="--create-topics")] = False
    partitions: Annotated[int, Meta(ge=1)] | None = None
    format: Annotated[str | None, FORMAT] = None


@command("produce")
@takes(ProduceArguments)
def produce(session: Session, asked: ProduceArguments) -> int:
    """Send the events of a file to the live source, as fast as it accepts them or at a set pace.

    Lines are read as by 'shroff ingest'; lines that are no event are reported and not sent. Events with the same key
    keep their order. Ctrl-C waits for messages in flight and shows how to continue. With --create-topics and no FILE,
    nothing is sent: all topics of shroff.yaml are created, including those of dead letters and sinks.

    Examples:
        shroff produce payments.csv --as payment
        shroff produce paysim.csv --as payment --labels paysim.csv --speed 60
        shroff produce paysim.csv --as payment --topic-by "'fraud_transaction' when row.isFraud == 1 else 'non_fraud_transaction'"
        shroff produce payments.jsonl --as payment --rate 1000 --create-topics --partitions 3
        shroff produce --create-topics
    """  # noqa: E501 (a command is one line)
    from shroff.worker.producer import Production, SendingPace

    if asked.partitions is not None and not asked.makes_topics:
        raise UsageError("--partitions is for topics that --create-topics makes.")
    if asked.file is None:
        return _make_topics(session, asked.partitions or 1, is_asked=asked.makes_topics and asked.to is None)
    first_row = asked.row or 1
    done = Production(next_row=first_row)
    began_s = time.monotonic()
    session.stopped = "Nothing was sent yet."
    try:
        session.project.production.produce(
            asked.file,
            as_type=asked.as_type,
            labels=asked.labels,
            order=asked.order,
            format=asked.format,
            to=asked.to,
            pace=SendingPace(asked.rate, asked.speed),
            key=asked.key,
            topic_by=asked.topic_by,
            first_row=first_row,
            partitions=(asked.partitions or 1) if asked.makes_topics else None,
            done=done,
            watch=partial(_drawn, done),
        )
    except KeyboardInterrupt:
        session.stopped = _how_to_continue(done, asked)
        raise
    except TransientError:
        session.say(f"shroff: {_how_to_continue(done, asked)}")
        raise
    done.seconds = done.seconds or time.monotonic() - began_s
    _tell(done, session)
    if done.failed:
        return NOT_TAKEN
    return QUARANTINED if done.refused or done.unmatched else 0


def _make_topics(session: Session, partitions: int, *, is_asked: bool) -> int:
    if not is_asked:
        raise UsageError("name the FILE to send; or --create-topics alone, to make the topics that shroff.yaml names.")
    topics = session.project.production.make_topics(partitions)
    text = f"Made: {', '.join(topics)}." if topics else "All topics exist already."
    session.answer({"sent": 0, "seconds": 0.0, "topics": topics}, text)
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
    if done.one_way:
        lines.append(done.one_way)
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


def _how_to_continue(done: Production, asked: ProduceArguments) -> str:
    if not done.sent and not done.labels:
        return "Nothing was sent."
    options = f" --as {asked.as_type}" if asked.as_type else ""
    options += f" --topic-by {shlex.quote(asked.topic_by)}" if asked.topic_by else ""
    position = f"--from {done.next_row}" if asked.order == "file" else "--order time"
    command_line = f"shroff produce {shlex.quote(str(asked.file))}{options} {position}"
    return f"{many(done.sent, 'event was', 'events were')} sent; '{command_line}' continues; duplicates are ignored."


def _drawn(done: Production, sender: Sender, meter: Meter) -> AbstractContextManager[None]:
    sent = done.sent
    at_s = time.monotonic()

    def words() -> str:
        nonlocal sent, at_s
        now_s = time.monotonic()
        rate = (done.sent - sent) / max(now_s - at_s, 1e-3)
        sent = done.sent
        at_s = now_s
        return _progress(done, sender, meter, rate)

    return beside(redrawn(words, DRAWN_S), "watch") if sys.stderr.isatty() else nullcontext()


def _progress(done: Production, sender: Sender, meter: Meter, rate: float) -> str:
    share = meter.share()
    parts = [f"sending: {many(done.sent, 'event')}, {rate:,.0f} a second"]
    if share is not None:
        parts.append(f"{percent(share)} of the file")
    if done.behind_s > 1:
        parts.append(f"{done.behind_s:,.0f} s late")
    if done.refused:
        parts.append(f"{many(done.refused, 'line')} refused")
    parts += [one_line(words) for words in list(sender.words)[-1:]]
    return "; ".join(parts)
