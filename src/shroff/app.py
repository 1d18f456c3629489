"""A project, opened: what commands, programs and notebooks call. The only place that picks adapters."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shroff import config
from shroff.cases.views import LabelViews
from shroff.decisions.additions import FIRST_EVENTS
from shroff.decisions.backtests import Backtests
from shroff.decisions.decision import Decision, Reason, Refusal, Undecided
from shroff.decisions.definitions import Definitions, Loaded, load_definitions
from shroff.decisions.importings import Importings
from shroff.decisions.progress import Meter, Progress, counted, unheard
from shroff.decisions.retrainings import Retrainings
from shroff.decisions.ruletests import CheckReport, check
from shroff.decisions.scoring import problems_of
from shroff.decisions.training_sets import TrainingSets
from shroff.decisions.views import Files, Views, paths
from shroff.errors import DefinitionError, Problem, ShroffError, StorageError, UsageError
from shroff.events.encodings import read_lines
from shroff.models.registry import Registry
from shroff.monitoring.views import DriftViews
from shroff.streams.log import Log
from shroff.streams.snapshots import Snapshots

if TYPE_CHECKING:
    import pyarrow as pa

    from shroff.decisions.doctor import Finding
    from shroff.decisions.explain import Explained
    from shroff.decisions.histories import LeftOut
    from shroff.decisions.inbox import Inbox
    from shroff.decisions.ingest import IngestReport
    from shroff.decisions.replay import Replayed, Verification
    from shroff.decisions.tables import Way
    from shroff.decisions.writer import Answer, Writer
    from shroff.events.intake import Intake, Submission
    from shroff.events.lines import Lines
    from shroff.features.partitioned import Cluster

__all__ = ["Decision", "Project", "Reason", "Refusal", "Undecided", "make_project", "open", "open_exactly"]

ADAPTERS: Final = "shroff.adapters"


@dataclass(slots=True)
class Project(Views, LabelViews, Retrainings, Importings, TrainingSets, Backtests, DriftViews):
    """One project folder.

    Definitions are read when first needed, and once. A log is opened for each call and
    closed after it, so several programs may read beside one writer. `warnings` is what
    somebody should be told of a call that went well; `waiting` is told for whom one waits, after a second.
    """

    places: config.Places
    now_ms: Callable[[], int] = field(default=lambda: time.time_ns() // 1_000_000)
    warnings: list[str] = field(default_factory=list)
    waiting: Callable[[str], None] = unheard
    _loaded: Loaded | None = None
    _registry: Registry | None = None

    def __repr__(self) -> str:
        return f"<shroff project {self.places.folder}>"

    # ---- definitions

    @property
    def loaded(self) -> Loaded:
        if self._loaded is None:
            unreadable: list[Problem] = []
            files = config.read_files(self.places.folder, unreadable)
            loaded = load_definitions(files, self.hasher, self.registry.load)
            mistakes, warnings = config.look_alikes(self.places.folder)
            self._loaded = loaded.beside([*unreadable, *mistakes], warnings)
        return self._loaded

    @property
    def registry(self) -> Registry:
        """The models of the project, in force or not."""
        if self._registry is None:
            self._registry = Registry(self.places.models)
        return self._registry

    @property
    def hasher(self) -> Callable[[str], str]:
        """What stands for the clear values of hashed fields (see `config.hasher`).

        Asking it raises StorageError where the key is lost: a new one would not know the values that the log has.
        """
        return config.hasher(self.places, self._refuse_a_second_key)

    def _refuse_a_second_key(self) -> None:
        from shroff.decisions.history import has_hashed

        if not self.places.log.exists():
            return
        with closing(self.open_log(read_only=True)) as log:
            if has_hashed(log):
                raise StorageError(
                    f"{self.places.hash_key} is not there, and the log has values that were hashed with it. "
                    "Restore it from a backup: with a new key, nothing that the log knows would be known again"
                )

    @property
    def definitions(self) -> Definitions:
        """The project's definitions. Raises: DefinitionError with every mistake."""
        return self.loaded.or_raise()

    def check_with(self, changes: Mapping[str, str]) -> None:
        """Raises: DefinitionError where the project would have mistakes if these files had these texts."""
        changed = {name: config.lines_ended(text) for name, text in changes.items()}
        files = {**config.read_files(self.places.folder, []), **changed}
        replace(self, _loaded=load_definitions(files, self.hasher, self.registry.load)).checked()

    def _at(self, places: config.Places) -> Project:
        """The same project with its log at another place."""
        return replace(self, places=places)

    def reload(self) -> None:
        """Read the project's files again when they are next needed."""
        self._loaded = None

    def source_line(self, problem: Problem) -> str:
        """The line that a problem is on, as it is written; nothing where it is on none."""
        lines = config.read_files(self.places.folder, []).get(problem.file, "").splitlines()
        return lines[problem.line - 1] if 0 < problem.line <= len(lines) else ""

    def check(self) -> CheckReport:
        """Load everything, type every expression, run every rule test; where there is a log, hold the types against it.

        A log that cannot be read is a warning; a model in force that cannot be loaded is a mistake, though only
        deciding needs it.
        """
        from shroff.decisions.activation import check_change

        report = check(self.loaded, self.hasher)
        if report.definitions is not None:
            report = replace(report, errors=(*report.errors, *problems_of(report.definitions.unloaded())))
        if report.definitions is None or report.errors or not self.places.log.exists():
            return report
        try:
            with closing(self.open_log(read_only=True)) as log:
                check_change(log, report.definitions)
        except DefinitionError as error:
            return replace(report, errors=error.problems)
        except ShroffError as error:
            words = f"whether these files can come into force was not looked at: {error}."
            unread = Problem(self.places.log.relative_to(self.places.folder).as_posix(), 0, 0, "", words)
            return replace(report, warnings=(*report.warnings, unread))
        return report

    def checked(self) -> Definitions:
        """The definitions, rule tests run. Raises: DefinitionError."""
        report = check(self.loaded, self.hasher)
        if report.definitions is None or report.errors:
            raise DefinitionError(report.errors)
        return report.definitions

    # ---- the log

    @contextmanager
    def reading(self) -> Iterator[Log]:
        """The log, to read. Raises: UsageError where there is none yet."""
        if not self.places.log.exists():
            raise UsageError(f"this project has no log yet. {FIRST_EVENTS}")
        with closing(self.open_log(read_only=True)) as log:
            yield log

    @contextmanager
    def writing(self, progress: Progress | None = None) -> Iterator[tuple[Writer, Log]]:
        """The log's writer, its state restored. Raises: LogBusyError where another process writes.

        At its end, state is saved where the next start would have much to read.
        """
        from shroff.decisions import snapshots
        from shroff.decisions.writer import Writer

        checked = None if self.places.log.exists() else self.checked()  # a project with mistakes gets no log
        if checked is not None:
            self._make_state_folder()
        with closing(self.open_log(read_only=False)) as log:
            definitions = checked or self.checked()
            if definitions.events.has_hashed:
                self.hasher("")  # before the log says that it has hashed values, there is a key
            writer = Writer(log, definitions, self.now_ms, progress, Snapshots(self.places.snapshots))
            self.warnings += writer.warnings
            yield writer, log
            if writer.unsaved > snapshots.EVERY:
                try:
                    writer.snapshot()
                except StorageError as error:
                    self.warnings.append(f"{error}.")

    def inbox(self, writer: Writer, log: Log) -> Inbox:
        """What other processes ask of this one, which writes the log."""
        from shroff.decisions.inbox import Inbox

        def load() -> Definitions:
            definitions = replace(self, _loaded=None).checked()
            definitions.require_models()
            return definitions

        return Inbox(log, writer, self.hasher, load, lambda: self.open_log(read_only=True))

    def _make_state_folder(self) -> None:
        try:
            config.make_folder(self.places.state)
        except OSError as error:
            raise StorageError(
                f"{self.places.state} cannot be made: {error.strerror}. The log needs a folder that it may write."
            ) from None

    def open_log(self, *, read_only: bool) -> Log:
        """The log, to be closed by the caller. Raises: LogBusyError where another process writes."""
        log: Log = load_adapter("log.sqlite")(self.places.log, read_only=read_only)
        return log

    # ---- bringing in

    def ingest(
        self,
        files: Files,
        *,
        as_type: str | None = None,
        labels: str | Path | None = None,
        order: str = "file",
        format: str | None = None,
        decide: bool = True,
        is_hashed: bool = False,
        progress: Progress | None = None,
        sorting: Progress | None = None,
        meter: Meter | None = None,
        restoring: Progress | None = None,
        on_batch: Callable[[Sequence[Answer]], None] | None = None,
    ) -> IngestReport:
        """Append files to the log, deciding on the way.

        All files are opened and looked into first, so that one that cannot be read stops before writing, and so
        does one with too many lines that come too late.

        Args:
            files: One, or several in their order.
            as_type: The event type of every line; without it lines name their own.
            labels: Rows of labels, merged in by when they were known; it may be one of the files.
            order: `file`, or `time` to sort by event time first.
            is_hashed: Values of hashed fields that look like hashes are ones, as in what `shroff export` wrote.
            progress: Is told how many lines were read.
            sorting: Is told how many lines there are to be sorted.
            meter: Knows which share of the files that is.
            restoring: Is told how many events of the log were read.
        """
        from shroff.decisions.ingest import arranged, ingest, with_labels

        if order not in {"file", "time"}:
            raise UsageError(f"there is no order {order!r}. There are file and time.")
        intake, by_time, meter = self.intake(keeps_hashes=is_hashed), order == "time", meter or Meter()
        with ExitStack() as opened:

            def read(path: Path, type_name: str | None) -> Iterator[Submission]:
                lines = meter.opened(opened.enter_context(read_lines(path, format)))
                return intake.submissions(lines, path.name, type_name)

            def sort(rows: Iterator[Submission]) -> Iterator[Submission]:
                return meter.taken(counted(rows, sorting))

            inputs = [(path.name, read(path, as_type)) for path in paths(files)]
            rows = None if labels is None else read(Path(labels), "label")
            writer, log = opened.enter_context(self.writing(restoring))
            if decide and as_type != "label":
                writer.definitions.require_models()
                self.warnings += writer.definitions.remarks()
            if by_time:
                submissions = meter.given(
                    arranged([(name, sort(lines)) for name, lines in inputs], writer, by_time=True)
                )
            else:
                submissions = arranged(inputs, writer)
            if rows is not None:
                submissions = with_labels(submissions, counted(rows, sorting))
            inbox = opened.enter_context(closing(self.inbox(writer, log)))
            return ingest(
                writer,
                counted(submissions, progress),
                decide=decide,
                on_batch=on_batch,
                between=log.maintain,
                inbox=inbox,
            )

    def intake(self, *, keeps_hashes: bool) -> Intake:
        """The door for files and lines.

        With `keeps_hashes` values that look like hashes are kept, as exports and quarantine have them; without, a
        sender could write a hash that was seen somewhere and so into the history of somebody else's card.
        """
        from shroff.events.intake import Intake
        from shroff.events.kept import keeping_hashed

        definitions = self.definitions
        hasher = keeping_hashed(self.hasher) if keeps_hashes else self.hasher
        return Intake(definitions.events, definitions.settings, hasher)

    def answers(
        self,
        lines: Lines,
        source: str,
        *,
        as_type: str | None = None,
        is_hashed: bool = False,
        has_more: Callable[[], bool] = lambda: True,
        restoring: Progress | None = None,
    ) -> Generator[list[tuple[str, Answer]], None, None]:
        """Take lines as they come and answer each, with its place, once it is durable.

        Args:
            has_more: Whether a further line is there without waiting; where it is not, what came is answered.
        """
        from shroff.decisions.answers import in_groups

        submissions = self.intake(keeps_hashes=is_hashed).submissions(lines, source, as_type)
        with self.writing(restoring) as (writer, log), closing(self.inbox(writer, log)) as inbox, inbox.attended():
            writer.definitions.require_models()
            self.warnings += writer.definitions.remarks()
            for group in in_groups(submissions, has_more):
                with inbox.turn():
                    answers = writer.write(group)
                yield [(one.place, answer) for one, answer in zip(group, answers, strict=True)]
                with inbox.turn():
                    log.maintain()

    def decide(
        self, events: Iterable[Mapping[str, Any]], *, as_type: str | None = None, is_hashed: bool = False
    ) -> list[Decision | Undecided | Refusal]:
        """Take events and give for each, in order, what `shroff decide` would answer, durable when this returns.

        Args:
            events: Mappings of fields, all of `as_type`; or each `{"payment": {...}}`.

        Returns: A `Decision`; `Undecided` where the type is not decided; a `Refusal` for one that is quarantined.
        """
        from shroff.decisions.answers import answer_value, json_lines
        from shroff.events.encodings import read_stream

        lines = read_stream(io.BytesIO(b"".join(json_lines(events))), "jsonl")
        groups = self.answers(lines, "python", as_type=as_type, is_hashed=is_hashed)
        return [answer_value(answer, int(place)) for group in groups for place, answer in group]

    # ---- asking

    def replay(self, reference: str) -> Replayed:
        """The recorded decision and the same computed again from the log."""
        from shroff.decisions.finding import find
        from shroff.decisions.replay import Replayed, replay

        with self.reading() as log:
            row = find(log, self.definitions.events, reference)
            return Replayed(row, replay(log, row.seq, self.registry.load))

    def doctor(self) -> list[Finding]:
        """Everything that was looked at, with how it stands. What cannot be had is a finding, not an error."""
        from shroff.decisions.doctor import look
        from shroff.monitoring.drift_record import findings

        report = self.check()
        found = look(self.places, report.definitions, report.errors, self.reading, self.now_ms())
        return [*found, *findings(self.places)]

    def explain(self, reference: str, progress: Progress | None = None) -> Explained:
        """A decision with its features beside this entity's earlier ones, and the words of its rules."""
        from shroff.decisions.explain import explain
        from shroff.decisions.finding import find

        with self.reading() as log:
            return explain(log, find(log, self.definitions.events, reference), progress, self.registry.load)

    def verify(
        self,
        engines: str | Sequence[str] = ("online", "batch", "naive"),
        sample: int | None = None,
        progress: Progress | None = None,
    ) -> Verification:
        """Compute the log again through the engines and compare (see `decisions.verifying`)."""
        from shroff.decisions.verifying import known_engines, verify

        names = known_engines(engines)
        if sample is not None and sample < 1:
            raise UsageError(f"a sample has 1 event at least, not {sample}.")
        with self.reading() as log:
            return verify(log, names, sample, progress, self.registry.load)

    def cluster(
        self, backend: str, address: str | None = None, partitions: int | None = None
    ) -> AbstractContextManager[Cluster | None]:
        """Where the batch engine answers (see `decisions.clusters.cluster_of`)."""
        from shroff.decisions.clusters import cluster_of

        return cluster_of(backend, address, partitions, adapters())

    def feature_tables(
        self,
        event: str,
        files: Sequence[Path],
        way: Way,
        *,
        as_of_ms: int | None = None,
        left: LeftOut | None = None,
    ) -> Iterator[pa.Table]:
        """The features of one type, as Arrow tables that follow each other in log order or in the files' order.

        `left` is told of the lines that gave no event; without it they are a warning.
        """
        from shroff.decisions.fold import lateness_of
        from shroff.decisions.histories import LeftOut, file_batches, log_batches
        from shroff.decisions.notebook import known_by
        from shroff.decisions.tables import feature_tables, tables_of

        told = LeftOut() if left is None else left
        definitions = self.definitions
        if files and way.engine in {"batch", "online"}:
            from shroff.decisions.columnar import file_columns

            found = file_columns(files, definitions, self.hasher, event, as_of_ms, told)
            yield from tables_of(definitions, event, found, definitions.settings.lateness_ms, way)
        elif files:
            lines = ((path.name, read_lines(path)) for path in files)
            batches = known_by(file_batches(lines, definitions, self.hasher, event, told), as_of_ms)
            yield from feature_tables(definitions, event, batches, definitions.settings.lateness_ms, way)
        else:
            with self.reading() as log:
                batches = known_by(log_batches(log, definitions), as_of_ms)
                yield from feature_tables(definitions, event, batches, lateness_of(log, definitions), way)
        if left is None and told.count:
            self.warnings.append(f"{told}.")


def adapters() -> dict[str, EntryPoint]:
    """The adapters of all installed packages, by contract and technology."""
    return {point.name: point for point in entry_points(group=ADAPTERS)}


def load_adapter(name: str) -> Any:
    """The adapter of this name, found by its entry point, ours and others' alike.

    Raises: UsageError where no installed package has it.
    """
    found = adapters()
    if name not in found:
        raise UsageError(f"no adapter {name!r} is installed; there is {', '.join(sorted(found)) or 'none'}.")
    return found[name].load()


def open(folder: str | Path = ".") -> Project:
    """Open the project in a folder or above it. Raises: UsageError where there is none."""
    return Project(config.find_project(Path(folder)))


def open_exactly(folder: Path) -> Project:
    """Open the project in this folder, not one above it. Raises: UsageError where there is none."""
    if not (folder / config.PROJECT_FILE).is_file():
        what = f"there is no {config.PROJECT_FILE} in {folder}" if folder.is_dir() else f"there is no folder {folder}"
        raise UsageError(f"{what}. Make a project with 'shroff init {folder} --template payments'.")
    return Project(config.Places(folder.resolve()))


def make_project(folder: Path, template: str) -> tuple[Project, list[str]]:
    """Write a project from a template into a new or empty folder; gives it and its files.

    A key for hashed fields is made where a field is hashed.
    Raises: UsageError where the folder holds something; StorageError where it cannot be written, which leaves nothing.
    """
    files = config.copy_template(template, folder)
    project = Project(config.Places(folder.resolve()))
    if project.definitions.events.has_hashed:
        project.hasher("")
        files.append(project.places.hash_key.relative_to(project.places.folder).as_posix())
    return project, files
