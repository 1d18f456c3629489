"""Operation that trains: once on log or files, or again for each new file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import UNSET, UnsetType

from shroff.errors import UsageError
from shroff.events.event import time_text
from shroff.json_types import JsonMapping, JsonObject
from shroff.language.values import named_duration
from shroff.models.model import IMPORTED
from shroff.models.registry import GateResult
from shroff.operations.declaration import (
    NOT_READ,
    QUARANTINED,
    AsEvent,
    OperationAnswer,
    OperationRequest,
    Param,
    ProgressSteps,
    ReportAnswer,
    operation,
)
from shroff.people.access import Who
from shroff.project.settings.systems import Systems
from shroff.runtime.texts import argument, many, one_line
from shroff.runtime.values import FrozenStruct
from shroff.services.decisions.history import DecisionHistory
from shroff.services.jobs.kinds import Name
from shroff.services.training.trainings import Training

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from shroff.features.cluster.partitioned import Cluster
    from shroff.services.training.retraining import FileReport
    from shroff.training.train import TrainReport

NOT_PASSED = 1
NO_MODEL = 5
WATCHED = "once file again settled markers poll labels_inside no_decide".split()
EventOfModel = Annotated[Name | None, AsEvent("The event type, if model.yaml has models of several.")]
InputPaths = Annotated[
    tuple[Path, ...],
    Param("Input files to use instead of the log, in their order.", metavar="[FILE...]", is_argument=True),
]
LabelPath = Annotated[
    Path | None, Param("Labels of the events of FILEs, merged in by the time they became known.", metavar="FILE")
]
InputOrder = Annotated[Literal["file", "time"], Param("time: sort by event time.")]
KnownAt = Annotated[
    Name | None,
    Param("Use what was known at this time; a day is its start, UTC.  [default: the last record]", metavar="TIME"),
]


class TrainModel(OperationRequest[OperationAnswer]):
    """
    Args:
        promote: Make it the champion if its gates passed.
        by (NAME): Who promotes it.
        watch (DIR|URL|SOURCE): Watch a folder, a file list behind a URL, or a pulled source of shroff.yaml, such as a
            table; take each complete new file or range of rows and train again.
        once: With --watch: exit when all present files are taken.
        file (NAME): With --once: the exit status is about this file, also if an earlier run ingested it.
        again (NAME): With --once: ingest this file again, which was corrected after it was ingested. Its new labels
            replace the earlier ones; known events are duplicates, and changed ones are quarantined.
        settled (LENGTH): With --watch: a file is complete if unchanged for this time.  [default: 2s]
        markers: With --watch: a file is complete if FILE.done or _SUCCESS is there.
        poll (LENGTH): With --watch: polling interval.  [default: 5s]
        labels_inside: With --watch: each file also has labels of its events, read by `from` of `label` in events.yaml.
        no_decide: With --watch: do not decide the new events.
        backend: local: in this process. dask, spark: features and trees on a cluster, for learner xgboost.
        cluster (ADDRESS): Address of a running cluster, such as tcp://HOST:8786 or spark://HOST:7077.  [default: one is
            started here]
        partitions (N): Number of partitions of each entity's keys (16); each must fit into the memory of one process.
    """

    files: InputPaths = ()
    event: EventOfModel = None
    labels: LabelPath = None
    order: InputOrder = "file"
    as_of: KnownAt = None
    promote: bool = False
    by: str = ""
    watch: str = ""
    once: bool = False
    file: str = ""
    again: str = ""
    settled: str = ""
    markers: bool = False
    poll: str = ""
    labels_inside: bool = False
    no_decide: bool = False
    backend: Annotated[str, Param(complete="backends")] = "local"
    cluster: str | None = None
    partitions: int | None = None

    def on(self, history: DecisionHistory) -> AbstractContextManager[Cluster | None]:
        return history.cluster(self.backend, self.cluster, self.partitions)


class TrainedModel(ReportAnswer["TrainReport"]):
    """A trained model with its measures, and whether it is the champion."""

    model: str
    event: str
    as_of: str
    rows: int
    fraud: int
    immature: int
    metrics: JsonObject
    baselines: JsonObject
    gates: tuple[GateResult, ...]
    passed: bool
    promoted: bool
    why_not: str
    seconds: float
    folds: list[JsonObject]
    slices: list[JsonObject]
    curve: list[JsonObject]
    without_give_away: JsonObject
    give_away: list[str]
    drawn: str
    remarks: list[str]
    leak_test: list[JsonObject] | UnsetType = UNSET
    imported: JsonObject | UnsetType = UNSET

    @classmethod
    def measured(cls, report: TrainReport) -> TrainedModel:
        from shroff.training.measured import metrics_document, with_money

        return cls(
            model=report.stored.id,
            event=report.stored.event,
            as_of=time_text(report.as_of_ms),
            rows=report.rows,
            fraud=report.fraud,
            immature=report.immature,
            gates=report.gates,
            passed=report.passed,
            promoted=report.promoted,
            why_not=report.why_not,
            seconds=round(report.seconds, 3),
            imported=report.stored.manifest.get(IMPORTED, UNSET),
            **with_money(metrics_document(report.evaluation, report.leak), report.evaluation.money_places)
            | {"remarks": [*report.remarks]},
        ).about(report)

    def hints(self) -> Sequence[str]:
        id_ = argument(self.model)
        if self.promoted:
            return "shroff thresholds", "shroff models list"
        if self.report.is_champion:
            return ["shroff models list"]
        return f"shroff models {'promote' if self.passed else 'show'} {id_}", f"shroff models shadow {id_}"

    def exit_status(self) -> int:
        if not self.passed:
            return NOT_PASSED
        return QUARANTINED if self.report.is_incomplete else 0

    def brief(self) -> JsonMapping:
        names = "model event as_of rows fraud passed gates promoted why_not".split()
        return {name: getattr(self, name) for name in names}


@operation(
    "train",
    right="train:models",
    of_two="models promote",
    rights_of={"promote": "promote:models"},
    is_long=True,
    job_fields=["event", "as_of", "promote"],
)
def train(
    training: Training,
    history: DecisionHistory,
    systems: Systems,
    who: Who,
    progress: ProgressSteps,
    request: TrainModel,
) -> OperationAnswer:
    """Train a model on the log or on FILEs, evaluate it on time folds, and store it in the registry.

    model.yaml sets the inputs, learner and gates. Each fold trains on the labels known at the start of its test
    period, and is tested on later events. The model itself is trained on the newest window. It is stored whether or
    not its gates pass, and becomes the champion only with --promote and if they passed.

    With --watch, files are appended to the log when they are complete, in the order of their names, and each one
    trains a model. A file with "labels" in its name has labels. If another process writes the log, such as `shroff
    serve`, it appends the lines between its own batches. Ctrl-C stops the command; nothing is taken twice. Exit
    status 5: files came, and no model was made of them; the output says why.

    Examples:
        shroff train
        shroff train --as-of 2026-06-30 --promote --by ann
        shroff train payments.csv --labels chargebacks.csv --order time
        shroff train --watch incoming/ --promote --by nightly
        shroff train --watch core --once
        shroff train --backend dask
    """
    from shroff.training.train import Steps

    if request.watch:
        with request.on(history) as cluster:
            return _watched(training, progress, request, cluster, is_table=request.watch in systems.pulled)
    if any(getattr(request, name) for name in WATCHED):
        options = [f"--{name.replace('_', '-')}" for name in WATCHED]
        raise UsageError(f"{', '.join(options[:-1])} and {options[-1]} go with --watch.")
    with request.on(history) as cluster:
        report = training.train(
            request.event,
            as_of=request.as_of,
            files=request.files,
            labels=request.labels,
            order=request.order,
            promote=request.promote,
            by=request.by or (who.name if who.kind in {"user", "key"} else ""),
            steps=Steps(progress.count, trials=lambda _trial: progress.count(1), stage=progress.step),
            cluster=cluster,
        )
    return TrainedModel.measured(report)


# ---- files as they arrive


class TrainedFile(FrozenStruct):
    """What became of a file: taken or skipped, and the model that it led to."""

    file: str
    state: str
    why: str
    appended: JsonObject | None
    model: str
    gates: tuple[GateResult, ...]
    promoted: bool


class TrainedFiles(ReportAnswer[tuple[int, str, str]]):
    """The files of a watch that has ended; its report is exit status, text and hint."""

    files: list[TrainedFile]
    stopped: bool

    def text(self) -> str:
        return self.report[1]

    def hints(self) -> Sequence[str]:
        hint = self.report[2]
        return [hint] if hint else []

    def exit_status(self) -> int:
        return self.report[0]


def _watched(
    training: Training, progress: ProgressSteps, request: TrainModel, cluster: Cluster | None, *, is_table: bool
) -> TrainedFiles:
    """Process files until the user stops it, or with `once` until all present files are done."""
    from shroff.runtime.process_wide import ended_cleanly
    from shroff.services.sources.pulled_files import ASIDE, CHANGING
    from shroff.services.training.retraining import POLL_S, Options
    from shroff.streams.pull import SETTLED_MS

    if request.files or request.labels is not None or request.as_of is not None or request.order != "file":
        raise UsageError(
            "--watch takes its files from where it watches: leave out FILEs, --labels, --order and --as-of. Labels "
            "come as files with the word labels in their names, or in the files themselves with --labels-inside."
        )
    for name, value in (("--file", request.file), ("--again", request.again)):
        if value and not request.once:
            raise UsageError(f"{name} goes with --once: without it, the command has no end.")
    options = Options(
        request.event,
        promote=request.promote,
        by=request.by,
        decide=not request.no_decide,
        once=request.once,
        has_markers=request.markers,
        labels_inside=request.labels_inside,
        file=request.file,
        again=request.again,
        settled_ms=named_duration("--settled", request.settled) if request.settled else SETTLED_MS,
        poll_s=named_duration("--poll", request.poll) / 1_000 if request.poll else POLL_S,
        cluster=cluster,
    )
    reports: list[FileReport] = []
    with ended_cleanly() as stopped:
        for report in training.watch(request.watch, options, say=lambda words: progress.warn(f"{words}.")):
            reports.append(report)
            progress.say(_line(report))
    is_stopped = stopped()
    end = "Stopped; the next run continues from here." if is_stopped else "No more files."
    aside = sum(report.state == ASIDE for report in reports)
    changing = sum(report.state == CHANGING for report in reports)
    skipped = f", {aside:,} skipped" if aside else ""
    skipped += f", {changing:,} changed while it was read" if changing else ""
    text = f"{many(len(reports) - aside - changing, 'file')} ingested{skipped}. {end}"
    about = [number for number, report in enumerate(reports) if report.name == request.file]
    judged = reports
    if is_table:  # a table often has nothing new
        judged = [report for report in reports if report.model or report.state == ASIDE or _is_new(report)]
    status, hint = _status(judged[about[-1] :] if about else judged, is_of_file=bool(about))
    status = 0 if status == NO_MODEL and is_stopped else status
    return TrainedFiles(files=[_entry(report) for report in reports], stopped=is_stopped).about((status, text, hint))


def _is_new(report: FileReport) -> bool:
    counts = report.appended
    return counts is not None and counts.events.appended + counts.events.quarantined + counts.labels.read > 0


def _status(reports: Sequence[FileReport], *, is_of_file: bool) -> tuple[int, str]:
    """Return exit status and hint for the files; or for the first one, and the models trained on it."""
    from shroff.services.sources.pulled_files import ASIDE, CHANGING

    concerned = reports[:1] if is_of_file else reports
    if any(report.state == CHANGING for report in concerned):
        return NOT_READ, ""
    trained = [report for report in reports if report.model]
    if any(report.state == ASIDE or _quarantined(report) for report in concerned):
        return QUARANTINED, "shroff quarantine list"
    # A file with labels of which none matches an event probably uses wrong ids
    if any(
        report.appended is not None and 0 < report.appended.labels.read == report.appended.labels.pending
        for report in concerned
    ):
        return QUARANTINED, "shroff label --pending"
    if reports and not trained:
        return NO_MODEL, ""
    if trained and not trained[-1].has_passed:
        return NOT_PASSED, f"shroff models show {argument(trained[-1].model)}"
    return 0, "shroff models list"


def _entry(report: FileReport) -> TrainedFile:
    return TrainedFile(
        report.name,
        report.state,
        report.why,
        None if report.appended is None else report.appended.document(),
        report.model,
        () if report.trained is None else report.trained.gates,
        report.promoted,
    )


def _line(report: FileReport) -> str:
    from shroff.services.sources.pulled_files import ASIDE, CHANGING

    name, why = one_line(report.name), one_line(report.why)
    if report.state == ASIDE:
        ingested = f"{many(report.lines, 'line')} of it {'was' if report.lines == 1 else 'were'} ingested before"
        return f"{name}: skipped: {why}. {ingested if report.lines else 'None of its lines was ingested'}."
    if report.state == CHANGING:
        return f"{name}: {why}."
    parts = []
    if report.appended is not None:
        events, labels = report.appended.events, report.appended.labels
        parts.append(f"{many(events.appended, 'event')} and {many(labels.appended, 'label')} appended")
        without = many(labels.pending, "label without its event", "labels without their events")
        parts += [without] if labels.pending else []
    refused = _quarantined(report)
    parts += [f"{many(refused, 'line')} quarantined"] if refused else []
    if not report.model:
        brought = f"{', '.join(parts)}; " if parts else ""
        return f"{name}: {brought}no model: {why.rstrip('.')}."
    state = "promoted" if report.promoted else "not promoted"
    if why and not report.promoted:
        state += f": {why.rstrip('.')}"
    return f"{name}: {', '.join([*parts, report.model])}, {state}."


def _quarantined(report: FileReport) -> int:
    counts = report.appended
    return 0 if counts is None else counts.events.quarantined + counts.labels.quarantined
