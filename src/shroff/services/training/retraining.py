"""Retraining for each new file: check, append, train, promote if asked, record."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from shroff.errors import TransientError, UsageError, nearest
from shroff.events.formats.encodings import read_lines
from shroff.events.formats.sorting import in_order_of_arrival
from shroff.json_types import TextDict
from shroff.language.expression import RowValue, walk
from shroff.runtime.values import FrozenStruct, replace
from shroff.services.models.deployment import Deployment, champion_then, failure_of
from shroff.services.parts import ProjectParts
from shroff.services.project_files import intake_of
from shroff.services.rules.files import ChangedMeanwhileError
from shroff.services.sources.file_sync import FileTaking, ReadOnError, TakingRules
from shroff.services.sources.pulled_files import APPENDED, ASIDE, CHANGING, DONE, Progress
from shroff.streams.pull import SETTLED_MS
from shroff.training.sets.wanted import settings_of
from shroff.worker.file_order import with_labels
from shroff.worker.ingest import IngestReport

if TYPE_CHECKING:
    from pathlib import Path

    from shroff.events.intake import Submission
    from shroff.features.cluster.partitioned import Cluster
    from shroff.runtime.progress import Tell
    from shroff.services.sources.file_sync import ReadFile
    from shroff.services.training.trainings import Training
    from shroff.streams.pull import PulledSource
    from shroff.training.train import Steps, TrainReport

POLL_S = 5.0
LABELS = re.compile(r"(?:^|[-_.])labels?(?:[-_.]|$)", re.IGNORECASE)

_LINE = {("file",), ("number",)}  # parts of `row` with the position of a line


class Options(FrozenStruct):
    """Options of a watch; for those of the command see `TrainModel`.

    Args:
        event: Event type of the model, and of lines that do not name theirs; None if model.yaml has one.
        cluster: The cluster for features and trees; by default this process.
    """

    event: str | None = None
    promote: bool = False
    by: str = ""
    decide: bool = True
    once: bool = False
    has_markers: bool = False
    labels_inside: bool = False
    file: str = ""
    again: str = ""
    settled_ms: int = SETTLED_MS
    poll_s: float = POLL_S
    sleep: Callable[[float], None] = time.sleep
    cluster: Cluster | None = None


class FileReport(FrozenStruct):
    """Result of one file.

    Args:
        state: DONE, ASIDE or CHANGING; `why` is the reason if it is set aside, or led to no model.
        lines: For a file that is set aside, the lines that were ingested before.
        appended: Rows appended by this process; None if another one appended them.
        trained: The model trained now.
        model: Its id, also if an earlier process trained it.
        has_passed: The model passed its gates.
    """

    name: str
    state: str
    why: str = ""
    appended: IngestReport | None = None
    trained: TrainReport | None = None
    model: str = ""
    promoted: bool = False
    has_passed: bool = True
    lines: int = 0


class Watch:
    """Watch of one process.

    Args:
        read: Reads the files of a source in shroff.yaml, such as the rows of a table; changed ones are ingested again.
    """

    def __init__(
        self,
        training: Training,
        given: PulledSource,
        options: Options,
        say: Tell,
        steps: Steps | None,
        read: ReadFile | None = None,
    ) -> None:
        self._training, self._context = training, training.context
        self._given, self._options, self._steps = given, options, steps
        self._event = settings_of(self._context.definitions, options.event).event
        self._is_named, self._took, self._waits_for = read is not None, False, ""
        self._changing = ""  # file that changed while it was read, until a read completes
        rules = TakingRules(takes_changed=self._is_named, labels_inside=options.labels_inside)
        self._files = FileTaking(self._context, given, read or self._submissions, say, rules, decide=options.decide)

    def reports(self) -> Iterator[FileReport]:
        """Yield the result of each file, in order.

        Raises: TransientError if `Options.file` is not reached.
        """
        waited, wanted = False, self._options.file
        if self._options.again:
            self._check_again(self._options.again)
        while True:
            try:
                for report in self._round():
                    wanted = "" if report.name == wanted else wanted
                    yield report
                waits_for = self._waits_for
            except TransientError as error:
                if self._options.once:
                    raise
                self._files.tell(f"{error}; trying again")
                waits_for = ""
            if self._is_named and self._took:  # a table returns its rows in chunks
                continue
            if self._options.once and (not waits_for or waited):
                break
            waited = True
            self._options.sleep(self._options.settled_ms / 1_000 if self._options.once else self._options.poll_s)
        if waits_for and waits_for == self._changing:
            yield FileReport(waits_for, CHANGING, "it changed while it was read; the next run reads it again")
        elif waits_for:
            self._files.tell(f"{waits_for} is still being written; later files wait for it")
        if wanted:
            yield self._before(wanted)

    def _check_again(self, name: str) -> None:
        """Raises: UsageError if the file to ingest again is missing, or has not changed since it was ingested."""
        names = self._given.names()
        if name not in names:
            raise UsageError(f"--again: there is no file {name!r} to ingest again. {nearest(name, names)}".rstrip())
        progress = self._files.progress(name)
        if progress is not None and progress.state == DONE and not self._files.has_changed(name, progress):
            raise UsageError(f"--again: {name} has not changed since it was ingested. Correct it first.")

    def _before(self, name: str) -> FileReport:
        progress = self._files.progress(name)
        if name not in self._given.names():
            return FileReport(name, ASIDE, "there is no such file of a kind that can be read")
        if progress is None or progress.state not in {DONE, ASIDE}:
            raise TransientError(f"{name} was not ingested yet")
        if progress.state == DONE and self._files.has_changed(name, progress):
            return FileReport(name, ASIDE, "it changed after it was ingested, and is not ingested again")
        if not progress.model:
            return FileReport(name, progress.state, progress.why)
        return self._of_model(name, progress.model)

    def _round(self) -> Iterator[FileReport]:
        """Process complete files in order; stop at an incomplete one, named by `_waits_for`."""
        self._took, self._waits_for, names = False, "", self._given.names()
        progress_by_name = self._files.known()
        pending = [name for name in names if self._is_wanted(name, progress_by_name.get(name))]
        complete = {name for name in pending if self._given.is_complete(name)}
        for name in pending:
            if name not in complete:
                self._waits_for = name
                return
            self._context.reload()
            report = self._take(name, progress_by_name.get(name))
            self._changing = ""
            if report is None and self._given.stamp(name) is not None:
                self._changing = name
                self._waits_for = name
                return
            if report is not None:
                self._took = self._took or report.appended is not None
                yield report

    def _is_wanted(self, name: str, progress: Progress | None) -> bool:
        if progress is None:
            return True
        if name == self._options.again and progress.state == DONE and self._files.has_changed(name, progress):
            return True
        return not self._files.is_over(name, progress)

    # ---- one file

    def _take(self, name: str, before: Progress | None) -> FileReport | None:
        if before is not None and before.state == APPENDED:
            return self._learn(name, before, None)
        ingested = self._files.take(name, before)
        if ingested is None:
            return None
        if ingested.progress.state == ASIDE:
            return FileReport(name, ASIDE, ingested.progress.why, lines=ingested.progress.lines)
        if name == self._options.again and before is not None and before.state == DONE:
            counts = None if ingested.appended is None else ingested.appended.document()
            ProjectParts(self._context).people.record("file.again", f"file {name}", {"sha256": before.sha256}, counts)
        return self._learn(name, *ingested)

    @contextmanager
    def _submissions(self, name: str, path: Path, *, is_look: bool = False) -> Iterator[Iterator[Submission]]:
        """Read the lines of a file as events, as labels if its name says so, or as both with `labels_inside`."""
        are_labels = LABELS.search(path.name)
        intake = intake_of(self._context, keeps_hashes=False)
        with ExitStack() as opened:
            lines = opened.enter_context(read_lines(path, tell=self._files.tell))
            type_name = "label" if are_labels else self._event
            rows = intake.submissions(lines, path.name, type_name, is_default=True)
            rows = in_order_of_arrival(rows, intake.events, lines.format, type_name)
            if self._options.labels_inside and not is_look and not are_labels:
                again = opened.enter_context(read_lines(path))
                intake.lay_out(again, path.name, "label", beside=self._event)
                rows = with_labels(rows, intake.submissions(again, path.name, "label"))
            yield rows

    # ---- learning

    def _learn(self, name: str, progress: Progress, appended: IngestReport | None) -> FileReport:
        if progress.state == DONE:
            return FileReport(name, DONE, progress.why, appended)
        brought_by = {"source": self._given.source, "file": name, "sha256": progress.sha256}
        report = None if appended is not None else self._made_before(name, brought_by)
        if report is None:
            report = self._trained(name, brought_by, appended)
        done = replace(progress, state=DONE, model=report.model, why=report.why)
        with suppress(ReadOnError):
            self._files.record(name, done, progress)
        return report

    def _trained(self, name: str, brought_by: TextDict, appended: IngestReport | None) -> FileReport:
        options = self._options
        try:
            report = self._training.train(
                self._event,
                promote=options.promote,
                by=options.by,
                steps=self._steps,
                brought_by=brought_by,
                cluster=options.cluster,
            )
        except UsageError as error:
            return FileReport(name, DONE, f"{error}{self._hint(name)}", appended)
        why = "" if report.promoted else report.why_not
        return FileReport(name, DONE, why, appended, report, report.stored.id, report.promoted, report.passed)

    def _hint(self, name: str) -> str:
        """Return advice for a file of events that was read without labels, so that no model was trained."""
        events = self._context.definitions.events
        if self._options.labels_inside or self._is_named or LABELS.search(name):
            return ""
        type_ = events.types[self._event]
        ids = [
            mapping.fields[type_.id_field] for mapping in type_.mappings.values() if type_.id_field in mapping.fields
        ]
        is_of_line = any(isinstance(node, RowValue) and node.path in _LINE for id_ in ids for node in walk(id_))
        hint = " Ids made of file and line cannot be named by a second file of labels." if is_of_line else ""
        if not events.label.mappings and not is_of_line:
            return ""
        return (
            f"{hint} If the file has labels in a column, map them under label in events.yaml and add --labels-inside."
        )

    def _made_before(self, name: str, brought_by: TextDict) -> FileReport | None:
        """Return the model that a killed process trained for this file, promoting it if that was still due."""
        context = self._context
        for summary in context.registry.summaries():
            if summary.problem:
                continue
            stored = context.registry.read(summary.id)
            if stored.manifest.get("brought_by") == brought_by:
                break
        else:
            return None
        return self._of_model(name, stored.id, promotes=self._options.promote)

    def _of_model(self, name: str, id_: str, *, promotes: bool = False) -> FileReport:
        stored, models = self._context.registry.read(id_), ProjectParts(self._context).models
        deployed: Deployment | None = None
        overtaken = ""
        if promotes and not models.one(stored.id).role:
            try:
                deployed = models.promote(stored.id, by=self._options.by, champion=champion_then(stored))
            except ChangedMeanwhileError as error:
                overtaken = str(error)
        why = failure_of(stored.failed) if deployed is None else deployed.failure or deployed.why_not
        why = overtaken or why
        is_champion = models.one(stored.id).role == "champion"
        return FileReport(name, DONE, why, None, None, stored.id, is_champion, not stored.failed)
