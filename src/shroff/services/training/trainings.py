"""Training of models from a project's log or from files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from shroff.errors import UsageError, nearest
from shroff.events.formats.encodings import file_format
from shroff.json_types import TextMapping
from shroff.runtime import state_folder
from shroff.runtime.entry_points import IMPORTERS, entries, load_entry
from shroff.runtime.process_wide import threads
from shroff.runtime.progress import Tell, unheard
from shroff.runtime.texts import many
from shroff.runtime.values import replace
from shroff.services.arrow_tables import Files, InputFiles, paths
from shroff.services.ingest.event_ingest import scratch_log
from shroff.services.models.deployment import champion_then
from shroff.services.models.promotion import Promotions
from shroff.services.parts import ProjectPart
from shroff.services.rules.files import ChangedMeanwhileError
from shroff.services.sources.pulled import PulledSources
from shroff.streams.log import Log

if TYPE_CHECKING:
    from shroff.features.cluster.partitioned import Cluster
    from shroff.log.columns.tables import Way
    from shroff.models.learners.cluster import Growing
    from shroff.replay.notebook import Moment
    from shroff.services.context import ProjectContext
    from shroff.services.training.retraining import FileReport, Options, Watch
    from shroff.streams.pull import PulledSource
    from shroff.training.foreign.inputs import Declared
    from shroff.training.train import Steps, TrainingRun, TrainReport
    from shroff.worker.ingest import IngestReport

Inputs = str | Path | Sequence[str] | TextMapping
NOT_ASKED = "--promote was not given"
REFUSED_SHOWN = 3
NO_EVENTS = "There are no events to train on: add events and labels with 'shroff ingest FILE --labels FILE'."
NO_EVENTS_IN_FILES = "No line of the files gives an event to train on."


class Training(ProjectPart):
    """Training and import of models."""

    _pulled: PulledSources
    _models: Promotions

    @property
    def context(self) -> ProjectContext:
        return self._context

    def train(
        self,
        event: str | None = None,
        *,
        as_of: Moment | None = None,
        promote: bool = False,
        by: str = "",
        steps: Steps | None = None,
        brought_by: TextMapping | None = None,
        cluster: Cluster | None = None,
        files: Files = (),
        labels: str | Path | None = None,
        order: str = "file",
    ) -> TrainReport:
        """Train a model with the labels known at `as_of`, evaluate it, and store it in the registry.

        Args: as `shroff train` has them, and
            as_of: By default the time of the last record in the log or files: of an event when it happened, of a label
                when it became known. Labels that become known in the future are ignored.
            brought_by: The cause of the training for the manifest, such as a file.
            cluster: The cluster for features and trees; by default this process.

        Raises: UsageError if there is no training data, naming what is missing, or the cluster does not support the
            learner.
        """
        from shroff.log.columns.tables import Way
        from shroff.log.later_labels import CORRECT, LaterLabels, last_moment, now_of
        from shroff.replay.clusters import growing_on
        from shroff.replay.notebook import moment_ms
        from shroff.training.sets.sources import log_source
        from shroff.training.sets.wanted import settings_of
        from shroff.training.train import at_stage, train_model

        settings = settings_of(self._definitions, event)
        inputs = InputFiles(files=files, labels=labels, order=order)
        inputs.check()
        files, labels = inputs.paths, inputs.labels
        for path in (*files, *(paths(labels) if labels is not None else ())):
            _check_readable(path)
        folder = self._spill_folder()
        growing = growing_on(cluster, settings.learner, folder)
        said: list[str] = []
        with ExitStack() as opened:
            if files:
                at_stage(steps, "reading files")
                reading = None if steps is None else steps.reading
                taking = scratch_log(
                    self._context, files, settings.event, labels, decide=False, order=inputs.order, progress=reading
                )
                log, counts = opened.enter_context(taking)
                said = left_out(counts, log)
            else:
                log = opened.enter_context(self._log.reading())
            source = log_source(log, self._definitions, settings.event)
            source = replace(source, log=None) if files else source  # the files' events have no decisions
            as_of_ms = moment_ms(as_of)
            corrections: list[str] = []
            if as_of_ms is None:
                as_of_ms = last_moment(log, self._now_ms())
                later = LaterLabels().follow(log, now_of(log, self._now_ms()))
                corrections = [f"{later.words}. {CORRECT}"] if later.count else []
            if as_of_ms is None:
                raise UsageError(" ".join([NO_EVENTS_IN_FILES, *said]) if files else NO_EVENTS)
            report = train_model(
                self._definitions,
                settings,
                source,
                self._run(steps, Way(spill=folder, cluster=cluster), growing),
                as_of_ms=as_of_ms,
                brought_by=brought_by,
            )
        report = replace(report, remarks=(*said, *corrections, *report.remarks), is_incomplete=bool(said))
        return self._promoted(report, by) if promote else replace(report, why_not=NOT_ASKED)

    def _run(self, steps: Steps | None, way: Way, growing: Growing | None = None) -> TrainingRun:
        from shroff.training.train import Steps, TrainingRun

        registry, now_ms = self._registry, self._now_ms()
        return TrainingRun(registry, now_ms, threads(), steps or Steps(), way, growing)

    def _spill_folder(self) -> Path:
        """Return the folder for data that exceeds memory: beside the log, rather than on a small temporary disk."""
        state_folder.make_folder(self._paths.state)
        return self._paths.state

    def _promoted(self, report: TrainReport, by: str) -> TrainReport:
        """Promote a model if its gates passed and the champion that it was judged against is still active."""
        try:
            deployed = self._models.promote(report.stored.id, by=by, champion=champion_then(report.stored))
        except ChangedMeanwhileError as error:
            return replace(report, why_not=str(error))
        why_not = deployed.failure or deployed.why_not
        is_champion = deployed.champion == report.stored.id
        is_promoted = deployed.in_force and is_champion
        remarks = (*report.remarks, deployed.unused) if is_champion and deployed.unused else report.remarks
        return replace(report, promoted=is_promoted, is_champion=is_champion, why_not=why_not, remarks=remarks)

    def import_model(
        self,
        file: str | Path | Any,
        event: str | None = None,
        *,
        check: str | Path | Any,
        as_of: Moment | None = None,
        promote: bool = False,
        by: str = "",
        steps: Steps | None = None,
        inputs: Inputs | None = None,
        categories: Mapping[str, Sequence[str]] | None = None,
        trained_until: Moment | None = None,
        calibrate: bool = False,
        rounds: int | None = None,
        tolerance: float | None = None,
    ) -> TrainReport:
        """Import a model trained elsewhere: check it on rows, evaluate it like a model trained here, and store it.

        Args: as `shroff models import` has them, and
            file: XGBoost's JSON or UBJSON, LightGBM's text, or ONNX. Or a fitted classifier of XGBoost, LightGBM or
                scikit-learn, which is written in such a format.
            check: Rows (CSV, JSON lines, Parquet) with the inputs' values and the model's own `score` or `margin`. For
                a fitted classifier the frame that it scores, with the inputs as its columns.
            inputs: Its inputs, in the order of its features: expressions, one text with commas between them, or the
                names of its features with an expression each; or a YAML file of these. By default the inputs of
                model.yaml in their order.
            categories: Category texts in the order of their codes, by input, if the file lacks them.

        Raises: UsageError for a file that cannot be imported, for rows that it does not reproduce, and if there are no
            labeled events to evaluate it on.
        """
        from shroff.log.columns.tables import Way
        from shroff.log.later_labels import last_moment
        from shroff.replay.notebook import moment_ms
        from shroff.training.foreign.inputs import read_by
        from shroff.training.foreign.model_import import (
            ImportedModel,
            checked_scores,
            foreign_file,
            refuse_numbers,
            settings_for,
        )
        from shroff.training.sets.sources import log_source
        from shroff.training.train import train_model

        if not isinstance(file, str | Path):
            from shroff.services.models.frames import written_model

            if isinstance(inputs, str | Path | Mapping):
                raise UsageError("inputs of a fitted classifier are a list, in the order of the columns of check.")
            with TemporaryDirectory(prefix="shroff-") as folder:
                written = written_model(file, check, inputs, Path(folder))
                return self.import_model(
                    written.model,
                    event,
                    check=written.rows,
                    as_of=as_of,
                    promote=promote,
                    by=by,
                    steps=steps,
                    inputs=written.inputs,
                    categories={**written.categories, **(categories or {})},
                    trained_until=trained_until,
                    calibrate=calibrate,
                    rounds=rounds,
                    tolerance=written.tolerance if tolerance is None else tolerance,
                )
        path, definitions = Path(file), self._definitions
        event = self._event_of(event)
        names = [name for name in reversed([*entries(IMPORTERS)]) if name.startswith("model.")]  # shroff's own last
        foreign, digest = foreign_file(path, rounds, (load_entry(name, IMPORTERS) for name in names))
        read = read_by(foreign, path.name, definitions, event, _declared(inputs), dict(categories or {}))
        settings, said = settings_for(definitions, event, read)
        refuse_numbers(path.name, foreign, calibrate=calibrate)
        imported = ImportedModel(
            path.name,
            digest,
            foreign,
            read,
            checked_scores(path.name, foreign, read, Path(check), tolerance),
            moment_ms(trained_until, "trained_until"),
            calibrate,
            by,
            tuple(said),
        )
        with self._log.reading() as log:
            as_of_ms = last_moment(log, self._now_ms(), moment_ms(as_of))
            if as_of_ms is None:
                raise UsageError(NO_EVENTS)
            report = train_model(
                definitions,
                settings,
                log_source(log, definitions, event),
                self._run(steps, Way(spill=self._spill_folder())),
                as_of_ms=as_of_ms,
                making=lambda given: imported.maker(given, settings),
            )
        return self._promoted(report, by) if promote else replace(report, why_not=NOT_ASKED)

    def _event_of(self, event: str | None) -> str:
        definitions = self._definitions
        decided = list(definitions.events.decided)
        if event is None and len(definitions.models) == 1:
            return next(iter(definitions.models))
        if event is None and len(decided) == 1:
            return decided[0]
        if event is None:
            raise UsageError(f"{', '.join(decided)} can have a model: name one with --as.")
        if event not in decided:
            raise UsageError(f"there is no event type {event!r} that is decided. {nearest(event, decided)}".rstrip())
        return event

    def watch(
        self, place: str | Path, options: Options | None = None, *, say: Tell = unheard, steps: Steps | None = None
    ) -> Iterator[FileReport]:
        """Ingest each complete new file of a folder or list once, in order, and train again for each.

        Without the option `once`, it continues until the iteration is left. Files are checked before a line is
        ingested. A broken, empty or truncated file is skipped, and checked again when it has changed.

        Args:
            place: A folder, s3://, gs:// or az:// with bucket and prefix, the URL of a text that lists files, or the
                name of a pulled source in shroff.yaml, such as a table.
            say: Called with messages, such as a file that it waits for.

        Raises: UsageError at once if there is nothing to watch. During iteration: LogBusyError while another process
            watches for this project, or, with `once`, if the log's writer does not respond for a minute;
            TransientError, with `once`, if the location cannot be reached.
        """
        from shroff.replay.clusters import growing_on
        from shroff.services.sources.pulled import SourceReader
        from shroff.services.training.retraining import Options, Watch
        from shroff.training.sets.wanted import settings_of

        options = options or Options()
        if options.cluster is not None:  # fail before ingesting if the cluster does not support the learner
            growing_on(options.cluster, settings_of(self._definitions, options.event).learner, self._paths.state)
        sources, name = self._pulled, str(place)
        if name in self._systems.pulled:
            if options.labels_inside or options.has_markers:
                raise UsageError(
                    f"the source {name!r} in shroff.yaml says how it is read: leave out the other options."
                )
            given = sources.opened(name)
            return self._watching(given, Watch(self, given, options, say, steps, SourceReader(self._context, given)))
        given = sources.at(
            name, {"settled": f"{options.settled_ms}ms", "markers": "true" if options.has_markers else "false"}
        )
        return self._watching(given, Watch(self, given, options, say, steps))

    def _watching(self, source: PulledSource, watch: Watch) -> Iterator[FileReport]:
        message = "another 'shroff train --watch' runs for this project; stop it first"
        with state_folder.lock_file(self._paths.state / "watch.lock", message), closing(source):
            yield from watch.reports()


def _check_readable(path: Path) -> None:
    """Raises: UsageError for a folder, and for a file name without a known format."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name its files, or take each as it comes with --watch {path}.")
    file_format(path)


def left_out(taken: IngestReport, log: Log) -> list[str]:
    """Describe the rows of files that were left out of a training.

    Args:
        log: The log into which the files were read.
    """
    remarks = []
    if refused := taken.events.quarantined + taken.labels.quarantined + taken.untaken:
        words = "were" if refused != 1 else "was"
        listed = [rejected for _, rejected in log.quarantine.entries(log.quarantine.numbers()[:REFUSED_SHOWN])]
        places = "; ".join(f"{rejected.source}, {rejected.place}: {rejected.reason.rstrip('.')}" for rejected in listed)
        rest = "; and so on" if places and refused > REFUSED_SHOWN else ""
        reason = f": {places}{rest}" if places else ": no event type accepts them"
        remarks.append(f"{refused:,} of the lines {words} refused, and left out{reason}.")
    if waiting := taken.labels.pending:
        named = many(waiting, "label names an event that is", "labels name events that are")
        remarks.append(f"{named} not in the files, and {'was' if waiting == 1 else 'were'} left out.")
    return remarks


def _declared(inputs: Inputs | None) -> list[Declared] | None:
    from shroff.training.foreign.inputs import declared, declared_in

    if inputs is None or isinstance(inputs, str | Path):
        return None if inputs is None else declared_in(inputs)
    pairs = inputs.items() if isinstance(inputs, Mapping) else [("", input_) for input_ in inputs]
    return [declared(theirs, text) for theirs, text in pairs]
