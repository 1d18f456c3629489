"""`shroff demo`: a made-up bank in a temporary project, its payments streamed, decided, and summed up."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from shroff.cli.session import Session, command, dump

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shroff.cli.demo_progress import Progress
    from shroff.cli.demo_report import Summary
    from shroff.decisions.definitions import Definitions
    from shroff.decisions.writer import Answer
    from shroff.examples.demo import Example

# A minute must do with a cold kernel cache on two slow cores: ten seconds of compiling, then 10,000 a second or more.
EVENTS: Final = 100_000
SEED: Final = 2  # the template's rules were written looking at seed 1
TEMPLATE: Final = "payments"
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
    """Stream a made-up bank's payments through a project and sum up what was decided.

    The bank has customers with habits and a few frauds among them; the project is the
    template `payments`, in a temporary folder. It neither trains nor serves yet. Without
    --once the project stays, and the last lines say how to look into it.
    """
    from shroff.cli.demo_progress import shown_progress

    session.stopped = "The demo's project was removed."
    with _project_folder(keep=not once) as folder:
        with shown_progress(events) as progress:
            summary = run_demo(folder, events, seed, progress, keep=not once)
        _answer(session, summary)


def run_demo(folder: Path, events: int, seed: int, progress: Progress, *, keep: bool) -> Summary:
    """Run the demo in an empty folder."""
    from shroff import app
    from shroff.cli.demo_report import Summary

    progress.phase(f"making a project from the template {TEMPLATE}")
    project, _ = app.make_project(folder, TEMPLATE)
    _load_kernels(progress)
    from shroff.decisions.ingest import ingest
    from shroff.examples.demo import Tally, Truth, stream

    progress.phase("checking the project and opening its log")
    definitions, truth = project.definitions, Truth()
    tally = Tally(truth, {rule.id: rule.effect for rule in definitions.rules})
    intake = project.intake(keeps_hashes=False)
    with project.writing() as (writer, log):
        progress.phase(f"deciding {events:,} payments of a made-up bank, seed {seed}")

        def on_batch(answers: Sequence[Answer]) -> None:
            tally.add(answers)
            progress.decided(tally)

        report = ingest(writer, stream(intake, events, seed, truth), on_batch=on_batch, between=log.maintain)
    return Summary(
        tally,
        seed,
        report.events.appended,
        report.labels.appended,
        report.seconds,
        definitions.settings.currency,
        _features_read(tally.example, definitions),
        str(folder) if keep else None,
    )


def _load_kernels(progress: Progress) -> None:
    from shroff.cli.demo_progress import told_of_compiling

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


def _features_read(example: Example | None, definitions: Definitions) -> frozenset[str]:
    """The features that the rules behind a decision look at."""
    from shroff.language.expression import FeatureValue, walk

    if example is None:
        return frozenset()
    rules = (rule for rule in definitions.rules if rule.id in example.rules)
    return frozenset(node.name for rule in rules for node in walk(rule.when) if isinstance(node, FeatureValue))


def _answer(session: Session, summary: Summary) -> None:
    from rich.console import Console

    from shroff.cli.demo_report import document, print_report

    if session.is_json:
        session.line(dump(document(summary)))
        return
    session.has_written = True
    print_report(summary, Console(highlight=False))
