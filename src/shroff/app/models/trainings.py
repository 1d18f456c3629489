"""What an opened project trains: a model from its log or from files, and cut-offs for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shroff import config
from shroff.app.additions import Waits
from shroff.app.models.promoting import Promotions
from shroff.app.rules.rule_files import ChangedMeanwhileError
from shroff.app.views import Files, paths
from shroff.errors import UsageError
from shroff.events.formats.encodings import format_by_name
from shroff.log.deeds import Deed
from shroff.runtime.progress import unheard

if TYPE_CHECKING:
    from shroff.features.cluster.partitioned import Cluster
    from shroff.models.evaluation.cost_table import Cuts
    from shroff.models.registry import Stored
    from shroff.replay.notebook import Moment
    from shroff.streams.log import Log
    from shroff.training.comparing import Comparison
    from shroff.training.cutoffs import Cutoffs, WhatIf
    from shroff.training.train import Steps, TrainReport
    from shroff.worker.ingest import IngestReport

NOT_ASKED: Final = "it was not asked for"
REFUSED_SHOWN: Final = 3
CUT: Final = "The cut-offs are written; they come into force with the next command that writes."
NO_EVENTS: Final = "There is nothing to train on: bring events and labels in with 'shroff ingest FILE --labels FILE'."
NO_EVENTS_IN_FILES: Final = "No line of the files gives an event to train on."


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
        order: str = "file",
        promote: bool = False,
        by: str = "",
        steps: Steps | None = None,
        brought_by: Mapping[str, str] | None = None,
        cluster: Cluster | None = None,
    ) -> TrainReport:
        """Train a model of what was known at a moment, judge it, and put it into the registry.

        Args:
            event: The event type; may be left out where model.yaml has one.
            as_of: By default the time of the last record of the log or of the files: of an event when it happened, of
                a label when it became known. A label that becomes known only after now is passed over.
            files: Train on these files instead of the log, with `labels` merged in by when they were known: they are
                taken in by the same door, into a log of their own that goes afterwards.
            order: `time` sorts the files first, as `ingest` does.
            promote: Put it in force if its gates passed.
            brought_by: What it is trained for, for its manifest, where nobody asked.
            cluster: Where features are computed and trees grown; without it in this process.

        Raises: UsageError where there is nothing to learn from, with what is missing, and where a cluster has nothing
            for the learner.
        """
        from shroff.log.columns.tables import Way
        from shroff.log.later_labels import labels_after, last_moment, now_of, told_of
        from shroff.replay.clusters import growing_on
        from shroff.replay.notebook import moment_ms
        from shroff.training.sets.sources import log_source
        from shroff.training.sets.wanted import settings_of
        from shroff.training.train import at_stage, train_model

        settings = settings_of(self.definitions, event)
        given = paths(files)
        if labels is not None and not given:
            raise UsageError("labels go with files; those of the log are in it, by 'shroff label FILE'.")
        if order != "file" and not given:
            raise UsageError("the log has its order; one by time is for files.")
        for path in (*given, *(paths(labels) if labels is not None else ())):
            _check_readable(path)
        folder = self._spill_folder()
        growing = growing_on(cluster, settings.learner, folder)
        said: list[str] = []
        with ExitStack() as opened:
            if given:
                at_stage(steps, "reading files")
                reading = None if steps is None else steps.reading
                taking = self._log_of(given, settings.event, labels, decide=False, order=order, progress=reading)
                log, taken = opened.enter_context(taking)
                said = left_out(taken, log)
            else:
                log = opened.enter_context(self.reading())
            source = log_source(log, self.definitions, settings.event)
            source = replace(source, log=None) if given else source  # nothing of the files was decided
            as_of_ms = moment_ms(as_of)
            told: list[str] = []
            if as_of_ms is None:
                as_of_ms = last_moment(log, self.now_ms())
                told = told_of(labels_after(log, now_of(log, self.now_ms())))
            if as_of_ms is None:
                raise UsageError(" ".join([NO_EVENTS_IN_FILES, *said]) if given else NO_EVENTS)
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
                way=Way(spill=folder, cluster=cluster),
                growing=growing,
            )
        report = replace(report, remarks=(*said, *told, *report.remarks), is_incomplete=bool(said))
        return self._promoted(report, by) if promote else replace(report, why_not=NOT_ASKED)

    def thresholds(
        self,
        event: str = "",
        *,
        model: str = "",
        apply: bool = False,
        waits: Waits = unheard,
        what_if: WhatIf | None = None,
    ) -> tuple[Cutoffs, Applied | None]:
        """The cheapest cut-offs of the score by the policy's costs and capacity; with `apply`, put in force.

        Args:
            event: The event type whose champion is meant; may be left out where one has a model in force.
            model: A model of the registry instead.
            what_if: Other costs and capacity to weigh by, and cut-offs to try.

        Raises: UsageError where there is no model, no test rows or no costs.
        """
        from shroff.training.cutoffs import AS_IT_IS, cutoffs_of

        stored = self.registry.read(model) if model else self._champion(event)
        settings = self.definitions.models.get(stored.event)
        found = cutoffs_of(self.definitions, settings, stored, what_if or AS_IT_IS)
        if not apply:
            return found, None
        best = found.found.best
        return found, self.set_cutoffs(stored.event, (best.review_at, best.decline_at), model=stored.id, waits=waits)

    @property
    def policy_tag(self) -> str:
        """Changes with the text of policy.yaml."""
        return sha256(self._policy_text().encode()).hexdigest()[:32]

    def set_cutoffs(
        self, event: str, cuts: Cuts, *, model: str = "", reason: str = "", tag: str = "", waits: Waits = unheard
    ) -> Applied:
        """Write cut-offs of the score of an event type into policy.yaml, and put them in force.

        They stand in the record first, and are not written where that fails.

        Args:
            cuts: Where to review and where to decline; None for nowhere.
            model: On whose test rows they were chosen, for the record.
            tag: The `policy_tag` that they were chosen by; left out, they are written whatever stands there.

        Raises: ChangedMeanwhileError; UsageError where policy.yaml cannot be changed; DefinitionError where they fit
            nothing.
        """
        from shroff.project.policy_text import POLICY, with_cutoffs

        with config.editing(self.places):
            if tag and tag != self.policy_tag:
                raise ChangedMeanwhileError(f"{POLICY} was changed meanwhile; look again, and choose by that.")
            self.reload()
            policy = self.definitions.policy(event)
            changed = with_cutoffs(self._policy_text(), event, *cuts)
            self.check_with({POLICY: changed})
            before, after = _cuts_told((policy.review_at, policy.decline_at)), _cuts_told(cuts)
            more = {name: text for name, text in (("model", model), ("reason", reason)) if text}
            self.record(Deed("thresholds.apply", f"policy of {event}", before, after | more))
            config.write_text(self.places.folder / POLICY, changed)
        self.reload()
        return Applied(*self._put_in_force(waits, CUT))

    def _policy_text(self) -> str:
        from shroff.project.policy_text import POLICY

        path = self.places.folder / POLICY
        return config.read_text(path) if path.exists() else ""

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
            as_of: Labels that were known then count; by default those known at the time of the log's last record.

        Raises: UsageError where it is not clear which are meant, or nothing was scored by both.
        """
        from shroff.log.later_labels import last_moment
        from shroff.replay.notebook import moment_ms
        from shroff.training.comparing import compare_tested, compare_tried, tried_pair

        if len(models) > 2 or len(set(models)) != len(models):
            raise UsageError("two models are compared, and two different ones.")
        otherwise = "so name two: shroff models compare ONE OTHER"
        event = self.registry.read(models[-1]).event if models else self._one_event("", otherwise)
        scoring = self.definitions.scoring_of(event)
        pair = tried_pair(scoring, models)
        if pair is not None:
            with self.reading() as log:
                as_of_ms = moment_ms(as_of)
                as_of_ms = last_moment(log, self.now_ms()) if as_of_ms is None else as_of_ms
                return compare_tried(log, self.definitions, *pair, event, as_of_ms=as_of_ms or 0, reading=reading)
        first = models[0] if len(models) == 2 or scoring.champion is None else scoring.champion.id
        return compare_tested(self.definitions, self.registry.read(first), self.registry.read(models[-1]))

    def _spill_folder(self) -> Path:
        """Where what memory does not hold lies: beside the log, where the room is, and not on a small disk."""
        config.make_folder(self.places.state)
        return self.places.state

    def _promoted(self, report: TrainReport, by: str) -> TrainReport:
        """What became of a model, put in force if its gates passed."""
        deployed = self.promote(report.stored.id, by=by)
        why_not = deployed.failure or deployed.why_not
        is_champion = deployed.champion == report.stored.id
        is_promoted = deployed.in_force and is_champion
        remarks = (*report.remarks, deployed.unused) if is_champion and deployed.unused else report.remarks
        return replace(report, promoted=is_promoted, is_champion=is_champion, why_not=why_not, remarks=remarks)

    def _champion(self, event: str) -> Stored:
        event = self._one_event(event, "so there is no score to weigh")
        champion = self._in_force()[event].champion
        assert champion is not None, "an event type that has a model in force"
        return self.registry.read(champion.id, champion.digest)


def _cuts_told(cuts: Cuts) -> dict[str, str]:
    named = zip(("review_at", "decline_at"), cuts, strict=True)
    return {name: str(cut) for name, cut in named if cut is not None}


def _check_readable(path: Path) -> None:
    """Raises: UsageError for a folder, and where a file's name does not say how it is to be read."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name its files, or take each as it comes with --watch {path}.")
    if format_by_name(path.name) is None:
        raise UsageError(f"{path} does not end in .csv, .jsonl, .parquet or another format's name: name it so.")


def left_out(taken: IngestReport, log: Log) -> list[str]:
    """What of files a model cannot have learnt from, in sentences.

    Args:
        log: What they were taken into.
    """
    found = []
    if refused := taken.events.quarantined + taken.labels.quarantined + taken.untaken:
        words = "were" if refused != 1 else "was"
        listed = [one for _, one in log.refused_list()]
        places = "; ".join(f"{one.source}, {one.place}: {one.reason.rstrip('.')}" for one in listed[:REFUSED_SHOWN])
        rest = "; and so on" if places and refused > REFUSED_SHOWN else ""
        said = f": {places}{rest}" if places else ": no event type takes them"
        found.append(f"{refused:,} of the lines {words} refused, and left out{said}.")
    if waiting := taken.labels.pending:
        named = "1 label names an event that is" if waiting == 1 else f"{waiting:,} labels name events that are"
        found.append(f"{named} not in the files, and {'was' if waiting == 1 else 'were'} left out.")
    return found
