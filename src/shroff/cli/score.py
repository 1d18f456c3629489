"""`shroff score`: print what would be decided of the events of a file, without writing to the log."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import click

from shroff.cli.decide import opened_lines
from shroff.cli.operations import FORMAT, HASHED, takes
from shroff.cli.progress import bars
from shroff.cli.session import Session, argument, command
from shroff.operations.declaration import QUARANTINED, AsEvent, OperationRequest, Param


class ScoreArguments(OperationRequest[Any]):
    """The file to score, and how it is read."""

    what: Annotated[tuple[str, ...], Param(metavar="[EVENT] FILE|-", complete="files")]
    as_type: Annotated[str | None, AsEvent("The same as EVENT.")] = None
    is_hashed: Annotated[bool, HASHED] = False
    format: Annotated[str | None, FORMAT] = None


@command("score")
@takes(ScoreArguments)
def score(session: Session, asked: ScoreArguments) -> int:
    """Show what would be decided of the events in FILE if they arrived now. Nothing is written.

    Reads JSON lines, CSV, Parquet and Avro. Writes one JSON line for each event, as 'shroff decide' does, with
    `"seq": null`; with --json one document with `decisions`. Each event counts in the features of those after it.
    EVENT can be left out if there is one event type, or if each line names its own.

    Examples:
        shroff score payment examples/payment.json
        shroff score march.csv
    """
    from shroff.events.formats.lines import line_of
    from shroff.worker.answers import answer_json, foreseen_json, is_lacking

    if len(asked.what) > 2:
        raise click.UsageError("name one event type and one file: payment march.csv.")
    *events, file = asked.what
    event = events[0] if events else asked.as_type
    if asked.as_type not in {None, event}:
        raise click.UsageError(f"EVENT is {event}, and --as says {asked.as_type}; leave one out.")
    lines, _ = opened_lines(file, asked.format)
    name = "-" if file == "-" else Path(file).name
    with lines, bars("restoring state") as (restoring,):
        results = session.project.taking.foreseen(
            lines, name, as_type=event, is_hashed=asked.is_hashed, restoring=restoring
        )
    session.warn()
    texts = [foreseen_json(answer_json(answer, line=line_of(place))) for place, answer in results]
    if session.is_json:
        session.write(b'{"decisions": [' + b", ".join(texts) + b"]}\n")
    else:
        session.write(b"".join(text + b"\n" for text in texts))
    refused = is_lacking(Counter(answer.kind for _, answer in results))
    next_command = "check --with" if refused else "decide"
    session.next(f"shroff {next_command} {argument(file)}{'' if event is None else f' --as {event}'}")
    return QUARANTINED if refused else 0
