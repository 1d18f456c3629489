"""Training data and model of the demo: another bank's past, decided by rules, with delayed labels."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from shroff import config
from shroff.language.values import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shroff.app.project import Project
    from shroff.cli.demo_progress import DemoProgress
    from shroff.log.writer import Answer
    from shroff.training.train import TrainReport

EVENTS: Final = 60_000  # eight weeks: four to learn from, two to test on, two in which labels come
SEED: Final = 1  # of the bank that the template's rules were written looking at
BEFORE_MS: Final = 63 * DAY_MS  # whole weeks, so many that all of the past is over when the stream begins
MODEL_FILE: Final = "model.yaml"
EVENT: Final = "payment"
# Eight weeks hold two folds, and a demo is to be over before somebody leaves: few trees that learn fast.
SPLIT: Final = "  split: { train: 28d, delay: 7d, test: 7d, folds: 2 }"
PARAMETERS: Final = "  parameters: { trees: 60, depth: 4, learning_rate: 0.1 }"


@dataclass(frozen=True, slots=True)
class DemoTraining:
    """Result of the training. Shares are means of the folds; the thresholds are of `shroff thresholds`.

    `why_not` says why the model is not in force; then rules alone decide.
    """

    model: str
    seed: int
    events: int
    labels: int
    report: TrainReport
    is_in_force: bool
    why_not: str
    review_at: float | None = None
    decline_at: float | None = None

    @property
    def average_precision(self) -> float | None:
        return self.report.evaluation.metrics["average_precision"].mean

    @property
    def average_precision_of_rules(self) -> float | None:
        found = self.report.evaluation.compared["rules_only"].metrics.get("average_precision")
        return None if found is None else found.mean


def learn_from_past(
    project: Project, seed: int, progress: DemoProgress, upto_ms: int, wait: Callable[[], None]
) -> DemoTraining:
    """Fill a project's log with another bank's past, train on it, and put the model with its thresholds in force.

    Args:
        upto_ms: The first instant of the stream that follows, a Monday.
        wait: Called before training: it returns when the kernels for that are compiled.

    Cost: about 10 s of one core, half of it training.
    """
    from shroff.examples.demo import Tally, Truth, stream
    from shroff.training.train import Steps
    from shroff.worker.ingest import ingest

    _shorten(project)
    project.opened.now_ms = lambda: upto_ms  # a demo gives the same each time, the model's id too
    truth = Truth()
    tally = Tally(truth, {rule.id: rule.effect for rule in project.definitions.rules})
    intake = project.taking.intake(keeps_hashes=False)
    progress.phase(f"training data: {EVENTS:,} payments of another bank, seed {seed}, with their labels", EVENTS)

    def on_batch(answers: Sequence[Answer]) -> None:
        tally.add(answers)
        progress.decided(tally)

    with project.opened.writing() as (writer, _):
        past = stream(intake, EVENTS, seed, truth, upto_ms - BEFORE_MS, ends_at_once=True)
        taken = ingest(writer, past, on_batch=on_batch)
    wait()
    progress.phase("training a model on these payments")
    steps = Steps(folds=lambda number, of: progress.phase(f"training a model: fold {number} of {of} is done"))
    report = project.train(EVENT, promote=True, by="shroff demo", steps=steps)
    learnt = DemoTraining(
        report.stored.id,
        seed,
        taken.events.appended,
        taken.labels.appended,
        report,
        report.promoted,
        report.why_not,
    )
    return _with_cutoffs(project, learnt, progress) if report.promoted else learnt


def _with_cutoffs(project: Project, learnt: DemoTraining, progress: DemoProgress) -> DemoTraining:
    progress.phase("choosing thresholds of the score by cost")
    cutoffs, _ = project.cutoffs.thresholds(EVENT, apply=True)
    best = cutoffs.found.best
    return replace(learnt, review_at=best.review_at, decline_at=best.decline_at)


def _shorten(project: Project) -> None:
    """Have the template's model learn within seconds, from the weeks that there are."""
    path = project.opened.places.folder / MODEL_FILE
    text, found = re.subn(r"(?m)^  split:.*$", f"{SPLIT}\n{PARAMETERS}", config.read_text(path))
    assert found == 1, "the template says once how time is split"
    config.write_text(path, text)
    project.opened.reload()
