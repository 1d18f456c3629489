"""`shroff demo`: a model from one made-up bank's past, and another one's payments streamed, decided and summed up."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from shroff.cli.session import Session, command, dump

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shroff.app import Project
    from shroff.cli.demo_progress import Progress
    from shroff.cli.demo_report import Summary
    from shroff.decisions.explain import Explained
    from shroff.decisions.writer import Answer
    from shroff.examples.demo import Example

# A minute must do with a cold kernel cache on two slow cores: compiling, a past to learn from, then 10,000 a second.
EVENTS: Final = 100_000
SEED: Final = 2  # the template's rules were written looking at seed 1
TEMPLATE: Final = "payments"
PAST: Final = "past"  # the project that learns, beside the one that is shown
PORT: Final = 8000


def _at_least(least: int) -> Callable[[click.Context, click.Parameter, int], int]:
    def check(context: click.Context, parameter: click.Parameter, value: int) -> int:
        if value < least:
            raise click.BadParameter(f"it must be at least {least}, got {value}.", context, parameter)
        return value

    return check


@command("demo", "shroff demo", "shroff demo --once --events 20000 --seed 7", "shroff demo --once --json")
@click.option(
    "--events",
    metavar="N",
    type=int,
    default=EVENTS,
    show_default=True,
    callback=_at_least(1),
    help="How many payments.",
)
@click.option(
    "--seed",
    metavar="S",
    type=int,
    default=SEED,
    show_default=True,
    callback=_at_least(0),
    help="Another one is another bank.",
)
@click.option(
    "--port", metavar="P", type=int, default=PORT, callback=_at_least(1), help="Not used yet: nothing is served."
)
@click.option("--once", is_flag=True, help="End after the summary, and remove the project.")
def demo(session: Session, events: int, seed: int, port: int, once: bool) -> None:
    """Train on one made-up bank, stream another one's payments, and sum up what rules and model decided.

    A bank has customers with habits and a few frauds among them; the project is the
    template `payments`, in a temporary folder. Its model learns from the past of another
    bank, and neither its rules nor its model have seen the one that is shown. Nothing is
    served yet. Without --once the project stays, and the last lines say how to look into it.
    """
    from shroff.cli.demo_progress import shown_progress

    session.stopped = "The demo's project was removed."
    with _project_folder(keep=not once) as folder:
        with shown_progress() as progress:
            summary = run_demo(folder, events, seed, progress, keep=not once)
        _answer(session, summary)


def run_demo(folder: Path, events: int, seed: int, progress: Progress, *, keep: bool) -> Summary:
    """Run the demo: a past in a folder beside the one that is named, then the stream in a copy of its project."""
    from shroff import app
    from shroff.cli import demo_past
    from shroff.cli.demo_report import Summary

    progress.phase(f"making a project from the template {TEMPLATE}")
    past, _ = app.make_project(folder.with_name(PAST), TEMPLATE)
    _load_kernels(progress)
    from shroff.decisions.ingest import ingest
    from shroff.examples.demo import Tally, Truth, stream

    learnt = demo_past.learn_from_past(past, _past_seed(seed), progress)
    project = _copied(past, folder)
    definitions, truth = project.definitions, Truth()
    tally = Tally(truth, {rule.id: rule.effect for rule in definitions.rules})
    intake = project.intake(keeps_hashes=False)
    with project.writing() as (writer, log):
        progress.phase(f"deciding {events:,} payments of a made-up bank, seed {seed}", events)

        def on_batch(answers: Sequence[Answer]) -> None:
            tally.add(answers)
            progress.decided(tally)

        report = ingest(writer, stream(intake, events, seed, truth), on_batch=on_batch, between=log.maintain)
    progress.phase("explaining one decision")
    return Summary(
        tally,
        learnt,
        seed,
        report.events.appended,
        report.labels.appended,
        report.seconds,
        definitions.settings.currency,
        definitions.policy(demo_past.EVENT),
        _explained(project, tally.example),
        str(folder) if keep else None,
    )


def _past_seed(seed: int) -> int:
    """The bank to learn from: the one that the rules were written looking at, and another one where that is shown."""
    from shroff.cli import demo_past

    return demo_past.SEED if seed != demo_past.SEED else demo_past.SEED + 1


def _copied(past: Project, folder: Path) -> Project:
    """The same project with a new log: its rules, its model in force and its cut-offs."""
    from shroff import app, config

    shutil.copytree(past.places.folder, folder, ignore=shutil.ignore_patterns(config.STATE_FOLDER))
    return app.open_exactly(folder)


def _explained(project: Project, example: Example | None) -> Explained | None:
    """The example as `shroff explain` has it."""
    if example is None:
        return None
    return project.explain(msgspec.json.decode(example.document)["id"])


def _load_kernels(progress: Progress) -> None:
    from shroff.cli.progress import told_of_compiling

    progress.phase("loading the window kernels")
    with told_of_compiling(lambda: progress.phase("compiling the window kernels, once on this machine (some seconds)")):
        import shroff.features.kernel  # noqa: F401 (importing it is the loading)


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


def _answer(session: Session, summary: Summary) -> None:
    from rich.console import Console

    from shroff.cli.demo_report import document, print_report

    if session.is_json:
        session.line(dump(document(summary)))
        return
    session.has_written = True
    print_report(summary, Console(highlight=False))
