"""`shroff jobs run` and `shroff jobs work`: queue a job and wait for it, and the process that runs jobs."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec.json import decode as from_json

from shroff.cli.session import Session, command, one_line
from shroff.errors import UsageError
from shroff.jobs.job import DONE
from shroff.json_types import JsonObject
from shroff.language.values import named_duration
from shroff.services.jobs.operations import document_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shroff.jobs.job import Job
    from shroff.services.jobs.desk import JobDesk

LOOK_S = 0.5


@command("run")
@click.argument("kind", required=False)
@click.argument("params", nargs=-1, metavar="[NAME=VALUE ...]")
@click.option("--schedule", metavar="NAME", help="Run the job of this schedule now.")
@click.option("--timeout", metavar="LENGTH", default="1h", show_default=True, help="Time limit of a run, up to 7d.")
@click.option("--retries", type=click.IntRange(0, 10), default=0, show_default=True, help="Retries after a failure.")
@click.option("--wait", "waits", is_flag=True, help="Wait until the job ends. If no process runs jobs, run it here.")
def run(session: Session, kind: str | None, params: tuple[str, ...], schedule: str | None, **how: Any) -> int:
    """Queue a job of a kind, or the job of a schedule. With --wait, exit status 1 if it did not succeed.

    Examples:
        shroff jobs run marts full=true --wait
        shroff jobs run features event=payment out=out/features.parquet
        shroff jobs run --schedule nightly_marts
    """
    if (kind is None) == (schedule is None):
        raise UsageError("name either a kind of job, as 'shroff jobs run marts', or a --schedule.")
    with session.project.jobs.open() as desk:
        who = session.project.context.who
        if kind is None:
            job = desk.run_now(who, str(schedule))
        else:
            timeout_ms = named_duration("--timeout", how["timeout"])
            job = desk.begin(who, kind, _plain(kind, params), timeout_ms=timeout_ms, retries=how["retries"])
        if how["waits"]:
            job = _waited(session, desk, job.id)
    document = document_of(job)
    words = document.text() if how["waits"] else f"{job.kind} is queued as {job.id}."
    session.answer(msgspec.to_builtins(document), words)
    session.next(f"shroff jobs show {job.id}", "shroff jobs work")
    return int(how["waits"] and job.state != DONE)


@command("work")
def work(session: Session) -> None:
    """Run jobs and schedules until Ctrl-C, if no service does. Several may work at once: each job runs once.

    Examples:
        shroff jobs work
    """
    from shroff.runtime.process_wide import ended_cleanly
    from shroff.services.jobs.worker import JobWorker, command_of

    folder = session.project.context.paths.folder
    with session.project.jobs.open() as desk, ended_cleanly():
        session.say(f"shroff runs the jobs of {one_line(folder)}. Ctrl-C ends it.")
        JobWorker(desk, command_of(str(folder)), lambda words: session.say(f"shroff: {one_line(words)}")).run()
    session.answer({"stopped": True}, "Stopped. Interrupted jobs start again with the next 'shroff jobs work'.")
    session.next("shroff jobs list")


BY_HAND = (run, work)


def _waited(session: Session, desk: JobDesk, id: str) -> Job:
    from shroff.services.jobs.worker import JobWorker, command_of

    worker = JobWorker(desk, command_of(str(session.project.context.paths.folder)), session.say)
    last_shown = ""
    try:
        while True:
            job = desk.job(id)
            if not job.is_open:
                return job
            worker.step(id)
            progress = document_of(job).progress
            if progress not in {"", last_shown} and sys.stderr.isatty():
                session.say(progress)
                last_shown = progress
            time.sleep(LOOK_S)
    finally:
        worker.end_all()


def _plain(kind: str, params: Sequence[str]) -> JsonObject:
    """Parse NAME=VALUE parameters of a kind of job. Raises: UsageError for any other text; ParamsError."""
    from shroff.services.jobs.kinds import kind_to_begin

    texts = JsonObject()
    for param in params:
        name, sign, value = param.partition("=")
        if not sign:
            raise UsageError(f"{param!r} is not a parameter. Write NAME=VALUE, such as 'full=true'.")
        try:
            texts[name] = from_json(value) if value.startswith("[") else value
        except msgspec.DecodeError as error:
            raise UsageError(f'{param!r} is not a list in JSON, such as {name}=\'["a", "b"]\': {error}.') from None
    values = msgspec.to_builtins(kind_to_begin(kind).read(texts, is_text=True))
    return {name: value for name, value in values.items() if name in texts}
