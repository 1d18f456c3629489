"""`shroff jobs`: work in the background, and what runs by the clock."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from shroff.cli.options import gathered
from shroff.cli.session import ExampleGroup, Session, command, cut, json_option, one_line, table
from shroff.errors import UsageError
from shroff.events.event import time_text
from shroff.language.values import named_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shroff.app.jobs.desk import JobDesk
    from shroff.jobs.job import Job

FAILED: Final = 1


@dataclass(frozen=True, slots=True)
class JobArguments:
    """Options of `shroff jobs run`."""

    schedule: str | None
    timeout: str
    retries: int
    waits: bool


LOOK_S: Final = 0.5
WIDTH: Final = 60


@click.group("jobs", cls=ExampleGroup, no_args_is_help=False)
@json_option
def jobs() -> None:
    """Run features, training, back-tests, marts and other jobs in the background, by hand or on a schedule.

    'shroff serve' runs them; without a service, 'shroff jobs work' does. schedules.yaml lists the schedules.
    """


jobs.examples = ("shroff jobs run marts --wait", "shroff jobs list", "shroff jobs schedules", "shroff jobs work")


@command("list", "shroff jobs list", "shroff jobs list --most 100 --json", group=jobs)
@click.option("--most", type=click.IntRange(1, 500), default=20, show_default=True, help="Maximum number of jobs.")
def list_(session: Session, most: int) -> None:
    """List jobs, newest first."""
    with session.project.jobs.open() as desk:
        found = desk.jobs(most)
    rows = [
        (one.id, one.kind, one.schedule or "-", _state(one), time_text(one.due_ms), cut(_now(one), WIDTH))
        for one in found
    ]
    text = table(rows, ("id", "kind", "schedule", "state", "for", "")) if rows else "No jobs yet."
    session.answer({"jobs": [_document(one) for one in found]}, text)
    session.next("shroff jobs kinds" if not found else f"shroff jobs show {found[0].id}")


@command("show", "shroff jobs show 20261123-094501123-00ab12", group=jobs)
@click.argument("id", metavar="JOB")
def show(session: Session, id: str) -> None:
    """Show a job: its parameters, progress, log and result."""
    with session.project.jobs.open() as desk:
        one = desk.job(id)
    session.answer(_document(one), _text(one))


@command("kinds", "shroff jobs kinds", group=jobs)
def kinds(session: Session) -> None:
    """List the kinds of jobs and their parameters."""
    from shroff.app.jobs.kinds import all_kinds

    known = all_kinds().values()
    rows = [(one.name, " ".join(one.parameters), one.meaning) for one in known]
    document = [{"kind": one.name, "meaning": one.meaning, "params": list(one.parameters)} for one in known]
    session.answer({"kinds": document}, table([(a, b, cut(c, 80)) for a, b, c in rows], ("kind", "params", "")))
    session.next("shroff jobs run KIND NAME=VALUE ...")


@command(
    "run",
    "shroff jobs run marts full=true --wait",
    "shroff jobs run features event=payment out=out/features.parquet",
    "shroff jobs run --schedule nightly_marts",
    group=jobs,
)
@click.argument("kind", required=False)
@click.argument("params", nargs=-1, metavar="[NAME=VALUE ...]")
@click.option("--schedule", metavar="NAME", help="Run the job of this schedule now.")
@click.option("--timeout", metavar="LENGTH", default="1h", show_default=True, help="Time limit of a run, up to 7d.")
@click.option("--retries", type=click.IntRange(0, 10), default=0, show_default=True, help="Retries after a failure.")
@click.option("--wait", "waits", is_flag=True, help="Wait until the job ends. If no process runs jobs, run it here.")
@gathered(JobArguments)
def run(session: Session, kind: str | None, params: tuple[str, ...], options: JobArguments) -> int:
    """Queue a job of a kind, or the job of a schedule. With --wait, exit status 1 if it did not succeed."""
    schedule, waits = options.schedule, options.waits
    if (kind is None) == (schedule is None):
        raise UsageError("name either a kind of job, as 'shroff jobs run marts', or a --schedule.")
    with session.project.jobs.open() as desk:
        who = session.project.opened.who
        if schedule is not None:
            one = desk.run_now(who, schedule)
        else:
            given = _plain(str(kind), params)
            one = desk.begin(
                who, str(kind), given, timeout_ms=named_duration("--timeout", options.timeout), retries=options.retries
            )
        if waits:
            one = _waited(session, desk, one.id)
    session.answer(_document(one), _text(one) if waits else f"{one.kind} is queued as {one.id}.")
    session.next(f"shroff jobs show {one.id}", "shroff jobs work")
    return FAILED if waits and one.state != "done" else 0


@command("cancel", "shroff jobs cancel 20261123-094501123-00ab12", group=jobs)
@click.argument("id", metavar="JOB")
def cancel(session: Session, id: str) -> None:
    """Cancel a job that waits or runs."""
    with session.project.jobs.open() as desk:
        one = desk.cancel(session.project.opened.who, id)
    words = "is cancelled" if not one.is_open else "is being cancelled; this takes a second or two"
    session.answer(_document(one), f"{id} {words}.")
    session.next(f"shroff jobs show {id}")


@command("schedules", "shroff jobs schedules", group=jobs)
def schedules(session: Session) -> None:
    """List the schedules: what they run, when they are due next, and their last result."""
    with session.project.jobs.open() as desk:
        found = desk.states()
    rows, document = [], []
    for one in found:
        last, at = one.last, "paused" if one.next_ms is None else time_text(one.next_ms)
        rows.append(
            (
                one.schedule.name,
                one.schedule.kind,
                one.schedule.cron,
                one.schedule.zone,
                at,
                last.state if last else "-",
            )
        )
        document.append(state_document(one))
    empty = "No schedules yet. Add one to schedules.yaml: 'nightly_marts: { kind: marts, cron: \"0 5 * * *\" }'."
    session.answer({"schedules": document}, table(rows, ("schedule", "kind", "cron", "zone", "next", "last")) or empty)
    session.next("shroff jobs run --schedule NAME", "shroff jobs pause NAME")


@command("pause", "shroff jobs pause nightly_marts", group=jobs)
@click.argument("name")
def pause(session: Session, name: str) -> None:
    """Pause a schedule. Runs that are due during the pause are skipped."""
    _pause(session, name, is_paused=True)


@command("resume", "shroff jobs resume nightly_marts", group=jobs)
@click.argument("name")
def resume(session: Session, name: str) -> None:
    """Resume a paused schedule, from now on."""
    _pause(session, name, is_paused=False)


def _pause(session: Session, name: str, *, is_paused: bool) -> None:
    with session.project.jobs.open() as desk:
        desk.pause(session.project.opened.who, name, is_paused=is_paused)
    session.answer({"schedule": name, "paused": is_paused}, f"{name} {'is paused' if is_paused else 'runs again'}.")
    session.next("shroff jobs schedules")


@command("work", "shroff jobs work", group=jobs)
def work(session: Session) -> None:
    """Run jobs and schedules until Ctrl-C, if no service does. Several may work at once: each job runs once."""
    from shroff.app.jobs.worker import JobWorker, command_of
    from shroff.cli.training_watch import ended_cleanly

    project = session.project
    with project.jobs.open() as desk, ended_cleanly():
        command = command_of(str(project.opened.places.folder))
        session.say(f"shroff runs the jobs of {one_line(project.opened.places.folder)}. Ctrl-C ends it.")
        JobWorker(desk, command, lambda words: session.say(f"shroff: {one_line(words)}")).run()
    session.answer({"stopped": True}, "Stopped. Interrupted jobs start again with the next 'shroff jobs work'.")
    session.next("shroff jobs list")


def _waited(session: Session, desk: JobDesk, id: str) -> Job:
    """The job at its end; run here where nobody else begins it."""
    from shroff.app.jobs.worker import JobWorker, command_of

    worker = JobWorker(desk, command_of(str(session.project.opened.places.folder)), session.say)
    said = ""
    try:
        while (one := desk.job(id)).is_open:
            worker.step(id)
            words = _now(one)
            if words != said and words and sys.stderr.isatty():
                session.say(words)
                said = words
            time.sleep(LOOK_S)
    finally:
        worker.end_all()
    return one


def _plain(kind: str, params: Sequence[str]) -> dict[str, Any]:
    """Parameters as JSON has them. Raises: UsageError for what is not NAME=VALUE; ParamsError."""
    from shroff.app.jobs.kinds import kind_named

    found = dict[str, Any]()
    for param in params:
        name, sign, value = param.partition("=")
        if not sign:
            raise UsageError(f"{param!r} is not a parameter. Write NAME=VALUE, such as 'full=true'.")
        try:
            found[name] = msgspec.json.decode(value) if value.startswith("[") else value
        except msgspec.DecodeError as error:
            raise UsageError(f'{param!r} is not a list in JSON, such as {name}=\'["a", "b"]\': {error}.') from None
    read = kind_named(kind).read(found, is_text=True)
    plain: dict[str, Any] = {name: value for name, value in msgspec.to_builtins(read).items() if name in found}
    return plain


def _document(one: Job) -> dict[str, Any]:
    from shroff.app.jobs.documents import document_of

    return dict(document_of(one))


def _state(one: Job) -> str:
    return f"{one.state} ({one.attempt})" if one.attempt > 1 else one.state


def _now(one: Job) -> str:
    """How far it is, or why it ended so."""
    if one.why or not one.step or not one.is_open:
        return one.why
    of = f" of {one.total:,}" if one.total else ""
    return f"{one.step}: {one.done:,}{of}" if one.done or of else one.step


def _text(one: Job) -> str:
    lines = [f"{one.kind} {one.id}: {_state(one)}{f', {one.why}' if one.why else ''}"]
    lines += [f"  parameters: {one.params}"]
    lines += [f"  now: {_now(one)}"] if one.is_open and _now(one) else []
    lines += ["  log:", *(f"    {one_line(line)}" for line in one.lines)] if one.lines else []
    lines += [f"  result: {one_line(one.result)}"] if one.result else []
    return "\n".join(lines)


def state_document(one: Any) -> dict[str, Any]:
    from shroff.app.jobs.documents import schedule_document

    return dict(schedule_document(one))
