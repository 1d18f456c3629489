"""`shroff demo`: train a model on a synthetic bank, decide the payments of another, print a summary, and serve it."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.json import decode as from_json

from shroff.cli.session import Session, argument, command, one_line
from shroff.language.values import DAY_MS
from shroff.runtime.texts import many
from shroff.runtime.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shroff.cli.demo_report import DemoSummary, DemoTraining
    from shroff.examples.bank import BankLabel, BankPeriod, Payment
    from shroff.examples.demo import Tally
    from shroff.log.writer import Answer
    from shroff.services.project import Project
    from shroff.worker.ingest import IngestReport

# The demo should take a minute on two slow cores without compiled kernels: compiling, training, 10,000 events a second.
EVENTS = 100_000
SEED = 2
TEMPLATE = "payments"
EVENT = "payment"
NAME = "Demo Bank"
HOST = "127.0.0.1"
PORT = 8000
LINE_EVERY_S = 1.0
PAST_EVENTS = 60_000  # of eight weeks: four for training, two for tests, two for labels to arrive
BEFORE_MS = 63 * DAY_MS  # start of the past before the stream, in whole weeks, so that it ends before the stream begins
# Eight weeks allow two folds. Few trees with a high learning rate keep training short.
SPLIT = "  split: { train: 28d, delay: 7d, test: 7d, folds: 2 }"
PARAMETERS = "  parameters: { trees: 60, depth: 4, learning_rate: 0.1 }"


def _at_least(minimum: int) -> Callable[[click.Context, click.Parameter, int], int]:
    def check(context: click.Context, parameter: click.Parameter, value: int) -> int:
        if value < minimum:
            raise click.BadParameter(f"it must be at least {minimum}, got {value}.", context, parameter)
        return value

    return check


def _number(flag: str, metavar: str, default: int, words: str, **more: Any) -> Callable[..., Any]:
    more = {"type": int} | more
    return click.option(flag, metavar=metavar, default=default, show_default=True, help=words, **more)


@command("demo")
@_number("--events", "N", EVENTS, "Number of payments.", callback=_at_least(1))
@_number("--seed", "S", SEED, "Random seed; a different seed generates a different bank.", callback=_at_least(0))
@_number("--port", "P", PORT, "The port of the service; 0 for any free one.", type=click.IntRange(0, 65_535))
@click.option("--once", is_flag=True, help="Exit after the summary, and remove the project.")
def demo(session: Session, events: int, seed: int, port: int, once: bool) -> None:
    """Train a model on one synthetic bank, score the payments of a second one, and serve the result.

    Each bank has customers with habits and a few frauds. The project is the template `payments`, in a temporary
    folder. Neither its rules nor its model have seen the second bank. The last lines show the URL to open: a queue of
    cases, mails to customers, rules and the model, while more payments arrive. Ctrl-C stops the service; the project
    stays.

    Examples:
        shroff demo
        shroff demo --port 9000
        shroff demo --once --events 20000 --seed 7
        shroff demo --once --json
    """
    session.stopped = "The demo's project was removed."
    if once:
        with _project_folder(keep=False) as folder:
            _answer(session, run_demo(folder, events, seed, is_served=False)[1])
        return
    from shroff.cli.demo_served import GUEST, serve_bank
    from shroff.web.server import At, bound

    with bound(At(HOST, port)) as listening:  # first, since a port in use would make a minute's work useless
        listening.listen()
        with _project_folder(keep=True) as folder:
            project, summary, upcoming = run_demo(folder, events, seed, is_served=True)

            def begun(url: str) -> None:
                _answer(session, replace(summary, url=url))
                session.flush()

            serve_bank(project, listening, upcoming, begun, lambda words: session.say(f"shroff: {one_line(words)}"))
    session.say("Stopped. The project is kept.")
    session.next(f"shroff -C {argument(folder)} serve --port {port} --sign-in {GUEST}")


class DemoProgress:
    """Progress on standard error: a line that is redrawn on a terminal; else a line for each phase and second."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)
        self.status = self._console.status("")
        self._words = ""
        self._events = 0
        self._began_s = 0.0
        self._said_s = 0.0

    def phase(self, words: str, events: int = 0) -> None:
        """Begin a phase; `events` is the number of payments that it decides."""
        if words != self._words:
            self._show(words)
        self._words = words
        self._events = events
        self._began_s = time.monotonic()
        self._said_s = self._began_s

    def decided(self, tally: Tally) -> None:
        """Show the progress of the stream. Cheap enough for every batch."""
        now_s = time.monotonic()
        counts = tally.by_outcome
        frauds = tally.frauds
        if not self._console.is_terminal and now_s - self._said_s < LINE_EVERY_S:
            return
        self._said_s = now_s
        rate = tally.decisions / max(now_s - self._began_s, 0.001)
        self._show(
            f"{tally.decisions:,} of {self._events:,} payments, {rate:,.0f} a second: "
            f"{counts['decline']:,} declined, {counts['review']:,} to review, {counts['challenge']:,} challenged, "
            f"{frauds.caught.payments:,} of {many(frauds.payments, 'fraud')} caught"
        )

    def _show(self, words: str) -> None:
        if self._console.is_terminal:
            self.status.update(words)
        else:
            self._console.file.write(f"{words}\n")


def run_demo(
    folder: Path, events: int, seed: int, *, is_served: bool
) -> tuple[Project, DemoSummary, Iterator[Payment | BankLabel]]:
    """Run the demo: train in the folder `past` beside `folder`, then decide the stream in a copy of that project.

    With `is_served` the stream ends now; otherwise it is the same at each run.

    Returns: The project, its summary, and the events that come later.
    """
    from shroff.cli import demo_served
    from shroff.cli.demo_kernels import kernels_beside
    from shroff.cli.demo_report import SEED_OF_THE_RULES, DemoSummary
    from shroff.runtime import state_folder
    from shroff.services import project as app

    progress = DemoProgress()
    with progress.status, kernels_beside(lambda: progress.phase("compiling the kernels for training")) as wait:
        progress.phase(f"making a project from the template {TEMPLATE}")
        past, _ = app.make_project(folder.with_name("past"), TEMPLATE, NAME)
        _load_kernels(progress)
        from shroff.examples.bank import START_MS, BankPeriod, stretch_upto

        period = stretch_upto(events, seed, past.context.now_ms()) if is_served else BankPeriod(START_MS, 0)
        past_seed = SEED_OF_THE_RULES + (seed == SEED_OF_THE_RULES)
        training = learn_from_past(past, past_seed, progress, period.start_ms, wait)
        shutil.copytree(past.context.paths.folder, folder, ignore=shutil.ignore_patterns(state_folder.STATE_FOLDER))
        shutil.rmtree(past.context.paths.folder, ignore_errors=True)
        project = app.open_exactly(folder)
        if is_served:
            demo_served.declare_names(project)
        progress.phase(f"deciding {events:,} payments of a synthetic bank, seed {seed}", events)
        reports, tally, upcoming, asked = _decide(project, events, seed, period, progress, is_served=is_served)
        progress.phase("explaining one decision")
        example = tally.example
        summary = DemoSummary(
            tally,
            training,
            seed,
            reports,
            project.definitions,
            None if example is None else project.explain(from_json(example.document)["id"]),
            str(folder) if is_served else None,
            demo_served.raise_cases(project) if is_served else 0,
            asked,
        )
    return project, summary, upcoming


def learn_from_past(
    project: Project, seed: int, progress: DemoProgress, upto_ms: int, wait: Callable[[], None]
) -> DemoTraining:
    """Fill a project's log with the past of a bank, train a model on it, and activate it with its best thresholds.

    Args:
        upto_ms: Start of the following stream, a Monday.
        wait: Called before training; returns when the kernels for training are compiled.

    Cost: about 10 s of one core, half of them for training.
    """
    from shroff.cli.demo_report import DemoTraining
    from shroff.cli.demo_served import edit
    from shroff.examples.demo import Truth, stream
    from shroff.training.train import Steps
    from shroff.worker.ingest import ingest

    edit(project.context.paths.folder / "model.yaml", r"(?m)^  split:.*$", f"{SPLIT}\n{PARAMETERS}")
    project.context.reload()
    project.context.now_ms = lambda: upto_ms  # so that each run gives the same result, including the model's id
    truth = Truth()
    words = f"training data: {PAST_EVENTS:,} payments of another bank, seed {seed}, with their labels"
    progress.phase(words, PAST_EVENTS)
    _, on_batch = _counted(project, truth, progress)
    intake = project.taking.intake(keeps_hashes=False)
    with project.log.writing() as (writer, _log):
        past = stream(intake, PAST_EVENTS, seed, truth, upto_ms - BEFORE_MS, ends_at_once=True)
        ingested = ingest(writer, past, on_batch=on_batch)
    wait()
    progress.phase("training a model on these payments")
    steps = Steps(folds=lambda number, of: progress.phase(f"training a model: fold {number} of {of} is done"))
    report = project.train(EVENT, promote=True, by="shroff demo", steps=steps)
    if not report.promoted:
        return DemoTraining(seed, ingested, report)
    progress.phase("choosing thresholds of the score by cost")
    best = project.cutoffs.thresholds(EVENT, apply=True)[0].found.best
    return DemoTraining(seed, ingested, report, best.review_at, best.decline_at)


def _counted(project: Project, truth: Any, progress: DemoProgress) -> tuple[Tally, Callable[[Sequence[Answer]], None]]:
    from shroff.examples.demo import Tally

    tally = Tally(truth, {rule.id: rule.effect for rule in project.definitions.rules})

    def on_batch(answers: Sequence[Answer]) -> None:
        tally.add(answers)
        progress.decided(tally)

    return tally, on_batch


def _decide(
    project: Project, events: int, seed: int, period: BankPeriod, progress: DemoProgress, *, is_served: bool
) -> tuple[Sequence[IngestReport], Tally, Iterator[Payment | BankLabel], int]:
    from shroff.cli import demo_served
    from shroff.examples.bank import bank_from, known_at_the_end, with_labels
    from shroff.examples.demo import Truth, named, stream, submitted
    from shroff.worker.ingest import BATCH_SIZE, ingest

    truth = Truth()
    tally, count = _counted(project, truth, progress)
    intake = project.taking.intake(keeps_hashes=False)
    analysts = demo_served.Analysts(truth)

    def on_batch(answers: Sequence[Answer]) -> None:
        count(answers)
        analysts.see(answers)

    upcoming: Iterator[Payment | BankLabel] = iter(())
    submissions = stream(intake, events, seed, truth)
    if is_served:
        upcoming = named(with_labels(bank_from(events, seed, period), seed), events, seed)
        submissions = submitted(intake, analysts.beside(known_at_the_end(upcoming, events)), truth)
    with project.log.writing() as (writer, log):
        first = ingest(writer, islice(submissions, max(0, events - demo_served.TAIL)), on_batch=on_batch)
        size = demo_served.AT_ONCE if is_served else BATCH_SIZE
        last = ingest(writer, submissions, batch_size=size, on_batch=on_batch)
        if is_served:
            ingest(writer, submitted(intake, analysts.answers(), truth))
        asked = demo_served.leave_questions(log) if is_served else 0
    return (first, last), tally, upcoming, asked


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
    parent = Path(tempfile.mkdtemp(prefix="shroff-demo-"))
    try:
        yield parent / "bank"
    except BaseException:
        keep = False
        raise
    finally:
        if not keep:
            shutil.rmtree(parent, ignore_errors=True)


def _answer(session: Session, summary: DemoSummary) -> None:
    from shroff.cli.demo_report import document, text_of

    session.answer(document(summary), "" if session.is_json else text_of(summary))
