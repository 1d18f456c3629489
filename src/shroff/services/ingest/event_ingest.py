"""Bulk input: files, streams of lines, and events of a program."""

from __future__ import annotations

import io
import re
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple, TypedDict, Unpack

from shroff.engine.decision import Refusal
from shroff.errors import UsageError
from shroff.events.formats.encodings import read_lines
from shroff.events.formats.lines import Meter, line_of
from shroff.events.mapping import MappedRow, Mapper
from shroff.language.expression import ThisField
from shroff.runtime.progress import Progress, counted
from shroff.runtime.values import replace
from shroff.services.arrow_tables import Files, paths
from shroff.services.parts import ProjectPart, ProjectParts
from shroff.services.project_files import checked, intake_of
from shroff.services.project_log import ScratchPaths
from shroff.services.writer.request_inbox import Inboxes

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from shroff.events.formats.lines import Lines
    from shroff.events.intake import Intake, Submission
    from shroff.log.state.fold import Folded
    from shroff.log.writer import Answer
    from shroff.project.definitions import Definitions
    from shroff.replay.notebook import AnswerList
    from shroff.services.context import ProjectContext
    from shroff.streams.log import Log
    from shroff.worker.answers import Events
    from shroff.worker.file_order import Obstacle
    from shroff.worker.ingest import IngestReport


SAMPLED = 100  # lines of a file
ROUNDED = re.compile(r"\d(\.\d+)?[eE]\+\d{2,}|\d{6,}\.0+")  # 3.52721E+11 and 4012888888881881.0


class IngestHooks(TypedDict, total=False):
    """Keyword arguments of `EventIngest.ingest` for progress.

    Args:
        progress: Called with the number of lines read.
        sorting: Called with the number of lines to sort.
        meter: Tracks the share of the files that was read.
        restoring: Called with the number of log events read.
        on_batch: Called with the answers of each committed batch.
    """

    progress: Progress | None
    sorting: Progress | None
    meter: Meter | None
    restoring: Progress | None
    on_batch: Callable[[Sequence[Answer]], None] | None


class FileLook(NamedTuple):
    """The first lines of a file, the answer to each, and the obstacles to ingesting it.

    `has_more` says whether the file may have more lines.
    """

    rows: Sequence[Submission]
    answers: Sequence[Answer]
    obstacles: Sequence[Obstacle]
    has_more: bool


def only_type(definitions: Definitions) -> str | None:
    """Return the event type of lines without one: the only type, unless a `when` chooses lines."""
    types = definitions.events.types
    has_when = any(mapping.when is not None for type_ in types.values() for mapping in type_.mappings.values())
    return None if len(types) != 1 or has_when else next(iter(types))


class EventIngest(ProjectPart):
    """Input into a project's log, in the one process that writes it."""

    _inboxes: Inboxes

    def ingest(
        self,
        files: Files,
        *,
        as_type: str | None = None,
        labels: str | Path | None = None,
        order: str | None = None,
        format: str | None = None,
        decide: bool = True,
        is_hashed: bool = False,
        **hooks: Unpack[IngestHooks],
    ) -> IngestReport:
        """Append the events of files to the log and decide them.

        All files are checked first. An unreadable file stops before anything is written, and so does one with too many
        late lines, unless `order` allows it.

        Args:
            files: One, or several in their order.
            as_type: The event type of every line; without it lines name their own.
            labels: A file of labels, merged in by the time they became known; may be one of the files.
            order: `time` sorts by event time first. `file` accepts files that are out of order, with a warning; None
                (default) stops before writing.
            is_hashed: Treat values that look like hashes as hashed already, as `shroff export` writes them.
        """
        from shroff.events.formats.sorting import in_order_of_arrival
        from shroff.log.columns.file_runs import counted_in_runs, submissions_in_runs
        from shroff.log.unmatched_files import note_unmatched
        from shroff.worker.file_order import Overlaps, arranged, with_labels
        from shroff.worker.ingest import ingest

        if order not in {None, "file", "time"}:
            raise UsageError(f"there is no order {order!r}. Use file or time.")
        intake, meter = intake_of(self._context, keeps_hashes=is_hashed), hooks.get("meter") or Meter()
        sorting, on_batch = hooks.get("sorting"), hooks.get("on_batch")
        overlaps = Overlaps() if order is None and len(paths(files)) > 1 else None

        def told(answers: Sequence[Answer]) -> None:
            if overlaps is not None:
                overlaps.count(answers)
            if on_batch is not None:
                on_batch(answers)

        with ExitStack() as opened:

            def read(path: Path, type_name: str | None) -> Iterator[Submission]:
                lines = meter.opened(opened.enter_context(read_lines(path, format, self._context.warnings.once)))
                if type_name == "label" and path in paths(files):
                    intake.lay_out(lines, path.name, "label", beside=as_type)
                only = only_type(self._definitions) if type_name is None else None
                if only is not None and lines.records is None and lines.columns is None:
                    # JSON lines may name their type.
                    rows = intake.submissions(lines, path.name, only, is_default=True)
                    return in_order_of_arrival(rows, intake.events, lines.format, only)
                return submissions_in_runs(intake, lines, path.name, only if type_name is None else type_name)

            def sort(rows: Iterator[Submission]) -> Iterator[Submission]:
                return meter.taken(counted(rows, sorting))

            stamps = {path: _stamp(path) for path in (*paths(files), *([] if labels is None else [Path(labels)]))}
            inputs = [(path.name, read(path, as_type)) for path in paths(files)]
            rows = None if labels is None else read(Path(labels), "label")
            writer, log = opened.enter_context(self._log.writing(hooks.get("restoring")))
            if decide and as_type != "label":
                writer.definitions.require_models()
                self._context.warnings += writer.definitions.remarks()
            if order == "time":
                sorted_inputs = [(name, sort(lines)) for name, lines in inputs]
                warn = self._context.warnings.append
                submissions = meter.given(arranged(sorted_inputs, writer, order=order, warn=warn))
            else:
                submissions = arranged(
                    inputs, writer, order=order, warn=self._context.warnings.append, overlaps=overlaps
                )
            if rows is not None:
                submissions = with_labels(submissions, counted(rows, sorting))
            if overlaps is not None:
                submissions = overlaps.noted(submissions)
            inbox = opened.enter_context(closing(self._inboxes.brief(writer, log)))
            report = ingest(
                writer, counted_in_runs(submissions, hooks.get("progress")), decide=decide, on_batch=told, inbox=inbox
            )
            note_unmatched(log, [name for name, _ in inputs], intake.unmatched, self._now_ms())
        report.unmatched = intake.unmatched
        report.changed = [path.name for path, stamp in stamps.items() if _stamp(path) != stamp]
        for name in report.changed:
            message = f"{name} changed while it was read, so its lines may be of two versions"
            self._context.warnings.once(f"{message}. Run the command again: what the log has already is not doubled.")
        for path in paths(files):
            self._context.warnings += _rounded_keys(
                self._context, path, as_type or only_type(self._definitions), format
            )
        self._context.warnings += [] if overlaps is None else overlaps.warnings()
        return report

    def answers(
        self,
        lines: Lines,
        source: str,
        *,
        as_type: str | None = None,
        is_hashed: bool = False,
        has_more: Callable[[], bool] = lambda: True,
        restoring: Progress | None = None,
        ready: Callable[[], None] = lambda: None,
    ) -> Generator[list[tuple[str, Answer]], None, None]:
        """Take lines as they arrive and answer each one, in order, once it is durable.

        Args:
            has_more: Whether another line is available without waiting; if not, pending lines are answered.
            ready: Called once, after the state is restored and before the first line; `warnings` then has the warnings.
        """
        from shroff.log.experiment_arms import ExperimentArms
        from shroff.worker.answers import in_groups

        arms = ExperimentArms()
        submissions = self._submissions(lines, source, as_type, keeps_hashes=is_hashed)
        with (
            self._log.writing(restoring) as (writer, log),
            closing(self._inboxes.brief(writer, log)) as inbox,
            inbox.attended(),
        ):
            writer.definitions.require_models()
            self._context.warnings += writer.definitions.remarks()
            ready()
            for group in in_groups(submissions, has_more):
                with inbox.turn():
                    answers = arms.answers(writer.write(group), log)
                yield [(submission.place, answer) for submission, answer in zip(group, answers, strict=True)]
                with inbox.turn():
                    log.maintain()

    def decide(self, events: Events, *, as_type: str | None = None, is_hashed: bool = False) -> AnswerList:
        """Decide events, as `Project.decide`; all are durable when this returns."""
        from shroff.replay.notebook import AnswerList
        from shroff.worker.answers import answer_value

        groups = self.answers(_lines_of(events), "python", as_type=as_type, is_hashed=is_hashed)
        return AnswerList(answer_value(answer, line_of(place)) for group in groups for place, answer in group)

    def foreseen(
        self,
        lines: Lines,
        source: str,
        *,
        as_type: str | None = None,
        is_hashed: bool = False,
        restoring: Progress | None = None,
    ) -> list[tuple[str, Answer]]:
        """Preview the answers to lines as if they arrived now, one after the other. Nothing is written.

        Works while another process writes. Each event counts for those after it. All answers are kept in memory.
        """
        rows = list(self._submissions(lines, source, as_type, keeps_hashes=is_hashed))
        definitions = checked(self._context)
        definitions.require_models()
        answers = self.foreseen_events(rows, definitions, self._now_ms, restoring)
        self._context.warnings += definitions.remarks()
        return [(row.place, answer) for row, answer in zip(rows, answers, strict=True)]

    def foreseen_events(
        self,
        rows: Sequence[Submission],
        definitions: Definitions,
        now_ms: Callable[[], int],
        restoring: Progress | None = None,
        start: Callable[[], Folded] | None = None,
    ) -> Sequence[Answer]:
        """Preview the answers to submissions, in order, from a state of `restored`. Nothing is written."""
        from shroff.log.experiment_arms import ExperimentArms
        from shroff.log.writer import Writer, unwritten
        from shroff.streams.snapshots import Snapshots

        arms = ExperimentArms(experiment.id for experiment in definitions.experiments)
        with self.log_or_empty() as log:
            state, snapshots = (start(), 0) if start else None, Snapshots(self._paths.snapshots)
            writer = Writer(unwritten(log), definitions, now_ms, restoring, snapshots, state)
            answers = arms.answers(writer.prepare(rows).answers, log)
        self._context.warnings += writer.warnings
        return answers

    def restored(self, definitions: Definitions) -> Callable[[], Folded]:
        """Restore the state at the end of the log once; return a function that copies it."""
        from shroff.log.state.snapshots import copies_of, restore
        from shroff.streams.snapshots import Snapshots

        with self.log_or_empty() as log:
            folded, _, warnings = restore(Snapshots(self._paths.snapshots), log, definitions)
            self._context.warnings += warnings
            return copies_of(folded, log)

    def score(self, events: Events, *, as_type: str | None = None, is_hashed: bool = False) -> AnswerList:
        """Preview the result of `decide`. Nothing is written: decisions have no `seq`, refusals no quarantine entry."""
        from shroff.replay.notebook import AnswerList
        from shroff.worker.answers import answer_value

        answers = self.foreseen(_lines_of(events), "python", as_type=as_type, is_hashed=is_hashed)
        values = (answer_value(answer, line_of(place)) for place, answer in answers)
        return AnswerList(value if isinstance(value, Refusal) else replace(value, seq=None) for value in values)

    def look_at(
        self, file: Path, as_type: str | None, labels: Path | None = None, format: str | None = None
    ) -> FileLook:
        """Preview a first `ingest` of the first 10,000 lines of a file. Nothing is written.

        Args:
            labels: A file of labels for it; the same number of its lines is read.

        Raises: UsageError if one cannot be read, or lacks a column that its type needs.
        """
        from shroff.events.formats.sorting import in_order_of_arrival
        from shroff.log.writer import LogEnd, foreseen, unknown
        from shroff.worker import file_order
        from shroff.worker.file_order import PROBED_LINES, FirstLook, refuse_implausible, with_labels

        context, now_ms = self._context, self._now_ms()
        with ExitStack() as stack:

            def first_of(path: Path, type_name: str | None) -> list[Submission]:
                lines = stack.enter_context(read_lines(path, format, context.warnings.once))
                rows = self._submissions(lines, path.name, type_name, keeps_hashes=False)
                rows = in_order_of_arrival(rows, context.definitions.events, lines.format, type_name)
                found = list(islice(rows, PROBED_LINES))
                context.warnings += _rounded_keys(context, path, type_name or only_type(self._definitions), format)
                return found

            log = stack.enter_context(self.log_or_empty())
            rows = list(refuse_implausible(first_of(file, as_type), context.definitions, now_ms))
            end = LogEnd(context.definitions, log.watermark_ms(), now_ms, partial(unknown, log))
            obstacles, has_more = FirstLook(end).at(rows, file.name), len(rows) == PROBED_LINES
            for remarks in () if obstacles else (file_order.order_remarks, file_order.lookup_remarks):
                context.warnings += remarks(rows, file.name, context.definitions)
            if labels is not None:
                rows = list(with_labels(rows, first_of(labels, "label")))
            return FileLook(rows, foreseen(rows, log, context.definitions, now_ms), obstacles, has_more)

    @contextmanager
    def log_or_empty(self) -> Iterator[Log]:
        """Open the log to read; without one, a temporary empty log."""
        with ExitStack() as stack:
            held = self._context
            if not held.log.exists():
                folder = stack.enter_context(TemporaryDirectory(prefix="shroff-"))
                held = held.at(ScratchPaths(held.paths.folder, Path(folder)))
            yield stack.enter_context(closing(held.log.open(read_only=held is self._context)))

    def _submissions(
        self, lines: Lines, source: str, as_type: str | None, *, keeps_hashes: bool
    ) -> Iterator[Submission]:
        """Lines without a type get the only one, unless a `when` chooses lines."""
        intake, only = (
            intake_of(self._context, keeps_hashes=keeps_hashes),
            None if as_type else only_type(self._definitions),
        )
        return intake.submissions(lines, source, only or as_type, is_default=only is not None)

    def intake(self, *, keeps_hashes: bool) -> Intake:
        return intake_of(self._context, keeps_hashes=keeps_hashes)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return size and modification time of a file; None if it is no regular file, such as a pipe."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if path.is_file() else None


@contextmanager
def scratch_log(
    context: ProjectContext,
    files: Files,
    as_type: str | None,
    labels: str | Path | None,
    *,
    decide: bool,
    order: str | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[Log, IngestReport]]:
    """Ingest these files into a temporary log; yield it with the report.

    Files out of time order are rejected unless sorted, also with order `file`: late events would be missing.

    Raises: as `ingest`. Cost: that of an ingest; the log is in the system's temporary folder.
    """
    with TemporaryDirectory(prefix="shroff-") as folder:
        held = context.at(ScratchPaths(context.paths.folder, Path(folder)))
        order = None if order == "file" else order
        report = ProjectParts(held).taking.ingest(
            files, as_type=as_type, labels=labels, order=order, decide=decide, progress=progress
        )
        with held.log.reading() as log:
            yield log, report


def _rounded_keys(context: ProjectContext, path: Path, as_type: str | None, format: str | None) -> list[str]:
    """Warn of entity keys in the first lines of a file that look like numbers rounded by a spreadsheet."""
    events, found = context.definitions.events, dict[str, str]()
    types = [type_ for name, type_ in events.types.items() if as_type in {None, name}]
    with read_lines(path, format) as lines:
        intake_of(context, keeps_hashes=True).lay_out(lines, path.name, as_type)
        reads: list[tuple[str, bool, Callable[[MappedRow], object]]] = []
        for type_ in types:
            mapper = Mapper(type_, lines.format)
            parts = [part for entity in events.entities.values() for part in entity.keys.get(type_.name, ())]
            names = {part.name for part in parts if isinstance(part, ThisField) and part.type.is_text}
            reads += [(name, name in mapper.hidden, mapper.reader_of(name)) for name in sorted(names)]
        for line in islice(lines, SAMPLED):
            for name, is_hidden, read in reads if line.columns is not None else ():
                value = read(MappedRow(path.name, line.number, line.columns or {}))
                if type(value) is str and name not in found and ROUNDED.fullmatch(value.strip()):
                    shown = "" if is_hidden else f" such as {value.strip()}"
                    found[name] = f"{path.name}: {name} has values{shown} that look like numbers"
    why = "which a spreadsheet rounded: different keys may have become one. Export the column as text"
    return [f"{words} {why}." for words in found.values()]


def _lines_of(events: Events) -> Lines:
    from shroff.events.formats.encodings import read_stream
    from shroff.worker.answers import json_lines, table_of

    table = table_of(events)
    if table is None:
        return read_stream(io.BytesIO(b"".join(json_lines(events))), "jsonl")
    from shroff.events.formats.parquet import table_lines

    return table_lines(table)
