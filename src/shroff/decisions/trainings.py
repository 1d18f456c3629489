"""What an opened project trains: a model from its log or from files, and cut-offs for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shroff import config
from shroff.decisions.additions import Waits
from shroff.decisions.progress import unheard
from shroff.decisions.promoting import Promotions
from shroff.decisions.views import Files, paths
from shroff.errors import UsageError

if TYPE_CHECKING:
    from shroff.decisions.comparing import Comparison
    from shroff.decisions.cutoffs import Cutoffs
    from shroff.decisions.ingest import IngestReport
    from shroff.decisions.notebook import Moment
    from shroff.decisions.training import Steps, TrainReport
    from shroff.models.registry import Stored

CUT: Final = "The cut-offs are written; they come into force with the next command that writes."
NO_EVENTS: Final = "There is nothing to train on: bring events and labels in with 'shroff ingest FILE --labels FILE'."


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of new cut-offs: whether they are in force, and why they are not."""

    in_force: bool
    why_not: str


class Trainings(Promotions):
    """The calls of a project that make models."""

    __slots__ = ()

    def train(
        self,
        event: str | None = None,
        *,
        as_of: Moment | None = None,
        files: Files = (),
        labels: str | Path | None = None,
        promote: bool = False,
        by: str = "",
        steps: Steps | None = None,
        brought_by: Mapping[str, str] | None = None,
    ) -> TrainReport:
        """Train a model of what was known at a moment, judge it, and put it into the registry.

        Args:
            event: The event type; may be left out where model.yaml has one.
            as_of: By default the time of the log's last event or label, or of the files' last.
            files: Train on these files instead of the log, with `labels` merged in by when they were known: they are
                taken in by the same door, into a log of their own that goes afterwards.
            promote: Put it in force if its gates passed.
            brought_by: What it is trained for, for its manifest, where nobody asked.

        Raises: UsageError where there is nothing to learn from, with what is missing.
        """
        from shroff.decisions.notebook import moment_ms
        from shroff.decisions.training import settings_of, train_model
        from shroff.decisions.training_sources import last_moment, log_source

        settings = settings_of(self.definitions, event)
        given = paths(files)
        if labels is not None and not given:
            raise UsageError("labels go with files; those of the log are in it, by 'shroff label FILE'.")
        said: list[str] = []
        with ExitStack() as opened:
            if given:
                log, taken = opened.enter_context(self._log_of(given, settings.event, labels, decide=False))
                said = left_out(taken)
            else:
                log = opened.enter_context(self.reading())
            source = log_source(log, self.definitions, settings.event)
            source = replace(source, log=None) if given else source  # nothing of the files was decided
            as_of_ms = moment_ms(as_of)
            as_of_ms = last_moment(log) if as_of_ms is None else as_of_ms
            if as_of_ms is None:
                raise UsageError(NO_EVENTS)
            report = train_model(
                self.definitions,
                settings,
                source,
                self.registry,
                as_of_ms=as_of_ms,
                now_ms=self.now_ms(),
                threads=config.threads(),
                steps=steps,
                brought_by=brought_by,
            )
        report = replace(report, remarks=(*said, *report.remarks), is_incomplete=bool(said))
        if not promote:
            return replace(report, why_not="it was not asked for")
        deployed = self.promote(report.stored.id, by=by)
        names = ", ".join(gate.name for gate in deployed.failed)
        why_not = f"it failed {names}" if names else deployed.why_not
        return replace(report, promoted=deployed.in_force and deployed.champion == report.stored.id, why_not=why_not)

    def thresholds(
        self, event: str = "", *, model: str = "", apply: bool = False, waits: Waits = unheard
    ) -> tuple[Cutoffs, Applied | None]:
        """The cheapest cut-offs of the score by the policy's costs and capacity; with `apply`, put in force.

        Args:
            event: The event type whose champion is meant; may be left out where one has a model in force.
            model: A model of the registry instead.

        Raises: UsageError where there is no model, no test rows or no costs.
        """
        from shroff.decisions.cutoffs import POLICY, cutoffs_of, with_cutoffs

        stored = self.registry.read(model) if model else self._champion(event)
        settings = self.definitions.models.get(stored.event)
        found = cutoffs_of(self.definitions, stored, seed=settings.seed if settings else 1)
        if not apply:
            return found, None
        with config.editing(self.places):
            path = self.places.folder / POLICY
            text = config.read_text(path) if path.exists() else ""
            best = found.found.best
            changed = with_cutoffs(text, stored.event, best.review_at, best.decline_at)
            self.check_with({POLICY: changed})
            config.write_text(path, changed)
        self.reload()
        return found, Applied(*self._put_in_force(waits, CUT))

    def compare(
        self,
        *models: str,
        as_of: Moment | None = None,
        reading: Callable[[int], None] | None = None,
    ) -> Comparison:
        """Two models on the same events: the paired difference so far, and the smallest that could be seen.

        Both in force or in shadow: on the events that both scored since. Else on those on which folds of both were
        tested.

        Args:
            models: The champion and another; or the other alone; or none, where one is tried beside the champion.
            as_of: Labels that were known then count; by default when the last event or label of the log was.

        Raises: UsageError where it is not clear which are meant, or nothing was scored by both.
        """
        from shroff.decisions.comparing import compare_tested, compare_tried, tried_pair
        from shroff.decisions.notebook import moment_ms

        if len(models) > 2 or len(set(models)) != len(models):
            raise UsageError("two models are compared, and two different ones.")
        event = self.registry.read(models[-1]).event if models else self._one_event("")
        scoring = self.definitions.scoring_of(event)
        pair = tried_pair(scoring, models)
        if pair is not None:
            with self.reading() as log:
                return compare_tried(log, self.definitions, *pair, event, as_of_ms=moment_ms(as_of), reading=reading)
        first = models[0] if len(models) == 2 or scoring.champion is None else scoring.champion.id
        return compare_tested(self.definitions, self.registry.read(first), self.registry.read(models[-1]))

    def _champion(self, event: str) -> Stored:
        event = self._one_event(event, "so there is no score to weigh; name one with --model")
        champion = self._in_force()[event].champion
        assert champion is not None, "an event type that has a model in force"
        return self.registry.read(champion.id, champion.digest)


def left_out(taken: IngestReport) -> list[str]:
    """What of files a model cannot have learnt from, in sentences."""
    found = []
    if refused := taken.events.quarantined + taken.labels.quarantined + taken.untaken:
        words = "were" if refused != 1 else "was"
        found.append(f"{refused:,} of the lines {words} refused, and left out: 'shroff ingest' says which, and why.")
    if waiting := taken.labels.pending:
        found.append(f"{waiting:,} labels name events that are not in the files, and were left out.")
    return found
