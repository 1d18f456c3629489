"""`shroff demo`: a model from one made-up bank's past; another one's payments decided, summed up, and served."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from shroff.cli.session import Session, argument, command, dump, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shroff.app.project import Project
    from shroff.cli.demo_progress import DemoProgress
    from shroff.cli.demo_report import DemoSummary
    from shroff.examples.bank import BankPeriod, Label, Payment
    from shroff.examples.demo import Example, Tally
    from shroff.explain.explanation import Explained
    from shroff.log.writer import Answer
    from shroff.worker.ingest import IngestReport

# A minute must do with a cold kernel cache on two slow cores: compiling, a past to learn from, then 10,000 a second.
EVENTS: Final = 100_000
SEED: Final = 2  # the template's rules were written looking at seed 1
TEMPLATE: Final = "payments"
PAST: Final = "past"  # the project that learns, beside the one that is shown
NAME: Final = "Demo Bank"
HOST: Final = "127.0.0.1"
PORT: Final = 8000


def _at_least(least: int) -> Callable[[click.Context, click.Parameter, int], int]:
    def check(context: click.Context, parameter: click.Parameter, value: int) -> int:
        if value < least:
            raise click.BadParameter(f"it must be at least {least}, got {value}.", context, parameter)
        return value

    return check


@command(
    "demo",
    "shroff demo",
    "shroff demo --port 9000",
    "shroff demo --once --events 20000 --seed 7",
    "shroff demo --once --json",
)
@click.option(
    "--events",
    metavar="N",
    type=int,
    default=EVENTS,
    show_default=True,
    callback=_at_least(1),
    help="Number of payments.",
)
@click.option(
    "--seed",
    metavar="S",
    type=int,
    default=SEED,
    show_default=True,
    callback=_at_least(0),
    help="Random seed; a different seed generates a different bank.",
)
@click.option(
    "--port",
    metavar="P",
    type=click.IntRange(0, 65_535),
    default=PORT,
    show_default=True,
    help="The port of the service; 0 for any free one.",
)
@click.option("--once", is_flag=True, help="Exit after the summary, and remove the project.")
def demo(session: Session, events: int, seed: int, port: int, once: bool) -> None:
    """Train a model on one synthetic bank, score the payments of a second one, and serve the result.

    Each bank has customers with habits and a few frauds. The project is the template `payments`, in a temporary
    folder. Neither its rules nor its model have seen the second bank. The last lines show the URL to open: a queue of
    cases, mails to customers, rules and the model, while more payments arrive. Ctrl-C stops the service; the project
    stays.
    """
    session.stopped = "The demo's project was removed."
    if once:
        with _project_folder(keep=False) as folder:
            _answer(session, _run(folder, events, seed, is_served=False).summary)
    else:
        _serve(session, events, seed, port)


def _serve(session: Session, events: int, seed: int, port: int) -> None:
    """Make the bank and serve it, at a port that is held from the start: else a minute's work might be for nothing."""
    from shroff.cli.demo_served import GUEST, serve_bank
    from shroff.web.server import At, bound

    with bound(At(HOST, port)) as listening:
        listening.listen()
        with _project_folder(keep=True) as folder:
            made = _run(folder, events, seed, is_served=True)

            def begun(url: str) -> None:
                _answer(session, replace(made.summary, url=url))
                session.flush()

            def tell(words: str) -> None:
                session.say(f"shroff: {one_line(words)}")

            serve_bank(made.project, listening, made.going, begun, tell)
    session.say("Stopped. The project is kept.")
    session.next(f"shroff -C {argument(folder)} serve --port {port} --sign-in {GUEST}")


@dataclass(frozen=True, slots=True)
class DemoProject:
    """Result of the demo. `going` are the events that follow later; nothing where it is not served."""

    project: Project
    summary: DemoSummary
    going: Iterator[Payment | Label]


def _run(folder: Path, events: int, seed: int, *, is_served: bool) -> DemoProject:
    from shroff.cli.demo_progress import shown_progress

    with shown_progress() as progress:
        return run_demo(folder, events, seed, progress, is_served=is_served)


def run_demo(folder: Path, events: int, seed: int, progress: DemoProgress, *, is_served: bool) -> DemoProject:
    """Run the demo: a past in a folder beside the one that is named, then the stream in a copy of its project.

    The stream of one that is served ends now; any other is the same whenever it runs.
    """
    from shroff.app import project as app
    from shroff.cli import demo_past, demo_served
    from shroff.cli.demo_kernels import kernels_beside
    from shroff.cli.demo_report import DemoSummary

    with kernels_beside(lambda: progress.phase("compiling the kernels for training")) as wait:
        progress.phase(f"making a project from the template {TEMPLATE}")
        past, _ = app.make_project(folder.with_name(PAST), TEMPLATE, NAME)
        _load_kernels(progress)
        from shroff.examples.bank import START_MS, BankPeriod, stretch_upto

        stretch = stretch_upto(events, seed, past.opened.now_ms()) if is_served else BankPeriod(START_MS, 0)
        learnt = demo_past.learn_from_past(past, _past_seed(seed), progress, stretch.start_ms, wait)
    project = _copied(past, folder)
    shutil.rmtree(past.opened.places.folder, ignore_errors=True)
    if is_served:
        demo_served.declare_names(project)
    progress.phase(f"deciding {events:,} payments of a synthetic bank, seed {seed}", events)
    decided = _decide(project, events, seed, stretch, progress, is_served=is_served)
    progress.phase("explaining one decision")
    definitions, reports, tally = project.definitions, decided.reports, decided.tally
    summary = DemoSummary(
        tally,
        learnt,
        seed,
        sum(report.events.appended for report in reports),
        sum(report.labels.appended for report in reports),
        sum(report.seconds for report in reports),
        definitions.settings.currency,
        definitions.policy(demo_past.EVENT),
        _explained(project, tally.example),
        str(folder) if is_served else None,
        demo_served.raise_cases(project) if is_served else 0,
        decided.asked,
    )
    return DemoProject(project, summary, decided.going)


@dataclass(frozen=True, slots=True)
class _Decided:
    """Result of the stream."""

    reports: Sequence[IngestReport]
    tally: Tally
    asked: int
    going: Iterator[Payment | Label]


def _decide(
    project: Project, events: int, seed: int, stretch: BankPeriod, progress: DemoProgress, *, is_served: bool
) -> _Decided:
    from shroff.cli import demo_served
    from shroff.examples.bank import bank_from, known_at_the_end, with_labels
    from shroff.examples.demo import Tally, Truth, named, stream, submitted
    from shroff.worker.ingest import BATCH_SIZE, ingest

    definitions, truth = project.definitions, Truth()
    tally = Tally(truth, {rule.id: rule.effect for rule in definitions.rules})
    intake, analysts = project.taking.intake(keeps_hashes=False), demo_served.Analysts(truth)

    def on_batch(answers: Sequence[Answer]) -> None:
        tally.add(answers)
        analysts.see(answers)
        progress.decided(tally)

    going: Iterator[Payment | Label] = iter(())
    submissions = stream(intake, events, seed, truth)
    if is_served:
        going = named(with_labels(bank_from(events, seed, stretch), seed), events, seed)
        submissions = submitted(intake, analysts.beside(known_at_the_end(going, events)), truth)
    with project.opened.writing() as (writer, log):
        first = ingest(writer, islice(submissions, max(0, events - demo_served.TAIL)), on_batch=on_batch)
        last = ingest(
            writer, submissions, batch_size=demo_served.AT_ONCE if is_served else BATCH_SIZE, on_batch=on_batch
        )
        if is_served:
            ingest(writer, submitted(intake, analysts.answers(), truth))
        asked = demo_served.leave_questions(log) if is_served else 0
    return _Decided((first, last), tally, asked, going)


def _past_seed(seed: int) -> int:
    """The bank to learn from: the one that the rules were written looking at, and another one where that is shown."""
    from shroff.cli import demo_past

    return demo_past.SEED if seed != demo_past.SEED else demo_past.SEED + 1


def _copied(past: Project, folder: Path) -> Project:
    """The same project with a new log: its rules, its model in force and its thresholds."""
    from shroff import config
    from shroff.app import project as app

    shutil.copytree(past.opened.places.folder, folder, ignore=shutil.ignore_patterns(config.STATE_FOLDER))
    return app.open_exactly(folder)


def _explained(project: Project, example: Example | None) -> Explained | None:
    """The example as `shroff explain` has it."""
    if example is None:
        return None
    return project.explain(msgspec.json.decode(example.document)["id"])


def _load_kernels(progress: DemoProgress) -> None:
    from shroff.cli.progress import COMPILING
    from shroff.runtime.process_wide import compile_listeners

    @contextmanager
    def listener(_kernel: str) -> Iterator[None]:
        progress.phase(COMPILING)
        yield

    compile_listeners.append(listener)
    progress.phase("loading the window kernels")
    import shroff.features.kernels.windows  # noqa: F401 (importing it is the loading)

    compile_listeners.remove(listener)


@contextmanager
def _project_folder(*, keep: bool) -> Iterator[Path]:
    """A temporary folder; it stays only if asked for, and if the demo came to its end."""
    parent = Path(tempfile.mkdtemp(prefix="shroff-demo-"))
    is_done = False
    try:
        yield parent / "bank"
        is_done = True
    finally:
        if not (keep and is_done):
            shutil.rmtree(parent, ignore_errors=True)


def _answer(session: Session, summary: DemoSummary) -> None:
    from rich.console import Console

    from shroff.cli.demo_report import document, print_report

    if session.is_json:
        session.line(dump(document(summary)))
        return
    session.has_written = True
    print_report(summary, Console(highlight=False))
