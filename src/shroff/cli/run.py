"""`shroff run`: run a worker until it is stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from shroff import __version__
from shroff.cli import completion
from shroff.cli.ingest import next_steps, text_of
from shroff.cli.session import Session, command, finished_first, many, one_line
from shroff.cli.watched_work import watched
from shroff.errors import ShroffError
from shroff.json_types import JsonObject
from shroff.language.values import named_duration
from shroff.operations.declaration import QUARANTINED
from shroff.runtime import logs, traces

if TYPE_CHECKING:
    from shroff.worker.outbox import SinkState
    from shroff.worker.serving.counts import WorkerCounts

PARTS_SHOWN = 8
UNSENT_MAX = 10_000  # unsent messages that are counted


@command("run")
@click.option(
    "--from",
    "sources",
    metavar="SOURCE",
    multiple=True,
    shell_complete=completion.files,
    help="The URL of a live source, or a file; repeat it for several files.  [default: 'source:' of shroff.yaml]",
)
@click.option(
    "--as",
    "as_type",
    metavar="EVENT",
    shell_complete=completion.event_types_and_labels,
    help="The event type of every line or message.  [default: each names its own]",
)
@click.option(
    "--format",
    metavar="FORMAT",
    shell_complete=completion.words("csv", "jsonl", "parquet", "avro"),
    help="csv, jsonl, parquet, avro or xml.  [default: by the file's extension]",
)
@click.option(
    "--standby",
    "stands_by",
    is_flag=True,
    help="Run as standby: follow the log while another worker writes it, and take over if that one stops.",
)
@click.option("--until-idle", metavar="DURATION", help="Stop after this time without messages, such as 5s.")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="Stop after this many messages.")
@click.option(
    "--metrics-port",
    metavar="PORT",
    type=click.IntRange(0, 65_535),
    help="Serve /metrics, /health/live and /health/ready at this port; 0 for any free one.  [default: 'metrics:' of "
    "shroff.yaml]",
)
def run(
    session: Session, sources: tuple[str, ...], until_idle: str | None, metrics_port: int | None, **how: Any
) -> int:
    """Run a worker: read events from a live source, decide them and store the results, until you stop it.

    Every message is decided exactly once or goes to quarantine, also across failures; if a system is unavailable, the
    worker waits for it. Ctrl-C finishes the current batch, and the next run continues from there. Files are read to
    their end. After that, due notices are tried once, for at most one minute.

    Examples:
        shroff run
        shroff run --from kafka://localhost:9092/payments --as payment
        shroff run --standby
        shroff run --from march.csv --from april.csv --as payment
    """
    session.stopped = "Committed input is stored; the next run continues after it."
    idle_s = None if until_idle is None else named_duration("--until-idle", until_idle) / 1_000
    from shroff.cli.demo_kernels import LIVE, kernels_beside
    from shroff.web.metrics_port import worker_port

    with (
        traces.exporting(__version__),
        kernels_beside(listed=LIVE, gives_way=True),
        finished_first() as stop,
        session.project.live.worker(sources, until_idle_s=idle_s, stop=stop, tell=logs.tell, **how) as worker,
        worker_port(session.project, worker.work, metrics_port) as measured,
        watched(worker.work, session),
    ):
        if measured:
            session.say(f"shroff: metrics at {measured}")
        work = worker.run()
    sinks = _sinks(session)
    unsent = _unsent(session)
    document = work_document(work) | {"sinks": _documents(sinks), "unsent": {"count": unsent[0], "reason": unsent[1]}}
    session.answer(document, "\n".join([_text(work), *_held_back(sinks), *_unsent_text(*unsent)]))
    hints = [*next_steps(work.quarantined, work.counts), *(["shroff outbox list"] if _held_back(sinks) else [])]
    hints += ["shroff notices letters"] if unsent[0] else []
    session.next(*(hints or ["shroff export decisions"]))
    return QUARANTINED if work.quarantined or work.counts.unmatched else 0


def work_document(work: WorkerCounts) -> JsonObject:
    from shroff.streams.source import shown

    counts = work.counts.document()
    return {
        **counts,
        "quarantined": work.quarantined,
        "late": work.counts.events.late,
        "offset": {part: shown(at) for part, at in work.offsets.items()},
        "latency_ms": {
            "p50": _rounded(work.latencies.quantile_ms(0.5)),
            "p99": _rounded(work.latencies.quantile_ms(0.99)),
        },
        "overtaken": work.health.overtaken,
        "overtaken_ms": work.health.overtaken_ms,
        "unbearable": work.unbearable,
        "restored": work.restored,
        "snapshots": work.snapshots,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _text(work: WorkerCounts) -> str:
    from shroff.streams.source import shown

    lines = [text_of(work.counts)]
    parts = list(work.offsets.items())[:PARTS_SHOWN]
    if parts:
        more = f" and {len(work.offsets) - len(parts):,} more" if len(work.offsets) > len(parts) else ""
        lines.append(f"Read up to {', '.join(f'{one_line(part)} {one_line(shown(at))}' for part, at in parts)}{more}.")
    if work.unbearable:
        lines.append(f"{many(work.unbearable, 'message')} quarantined because of a bug in shroff: please report it.")
    return "\n".join(lines)


def _sinks(session: Session) -> list[SinkState] | None:
    """Return the states of the sinks; None, with a message, if the store cannot be read."""
    project = session.project
    if not project.context.systems.sinks and project.context.systems.online is None:
        return []
    try:
        return project.sinks.states()
    except ShroffError as error:
        session.say(f"shroff: the state of the sinks is unknown: {one_line(error)}")
        return None


def _unsent(session: Session) -> tuple[int, str | None]:
    """Return the number of unsent messages of notices, and the reason of the newest failure."""
    from shroff.notices.store import OPEN

    project = session.project
    if not project.notice_files.tells():
        return 0, None
    try:
        with project.notice_files.told() as store, store.look() as reader:
            letters = reader.letters([OPEN], limit=UNSENT_MAX)
    except ShroffError as error:
        session.say(f"shroff: the number of unsent messages is unknown: {one_line(error)}")
        return 0, None
    return len(letters), next((sink.reason for sink in letters if sink.reason), None)


def _unsent_text(count: int, reason: str | None) -> list[str]:
    if not count:
        return []
    why = f": {reason.rstrip('.')}" if reason else ""
    many_ = f"{count:,} messages or more have" if count == UNSENT_MAX else many(count, "message has", "messages have")
    return [one_line(f"{many_} not been sent yet{why}. The next run retries.")]


def _documents(sinks: list[SinkState] | None) -> list[JsonObject] | None:
    from shroff.services.sinks.operations import state_shown

    return None if sinks is None else [msgspec.to_builtins(state_shown(sink)) for sink in sinks]


def _held_back(sinks: list[SinkState] | None) -> list[str]:
    from shroff.events.event import time_text

    lines = []
    for sink in sinks or ():
        parts = [f"{many(sink.stuck, 'row is', 'rows are')} stuck"] if sink.stuck else []
        parts += [f"it is {many(sink.lag, 'record')} behind"] if sink.lag else []
        if sink.trouble is not None:
            parts.append(f"it has been failing since {time_text(sink.trouble.since_ms)}: {sink.trouble.words}")
        if parts:
            lines.append(one_line(f"Sink {sink.name}: {'; '.join(parts).rstrip('.')}."))
    return lines
