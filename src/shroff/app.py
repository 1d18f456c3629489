"""A project, opened: what commands, programs and notebooks call. The only place that picks adapters."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shroff import config
from shroff.decisions.definitions import Definitions, Loaded, load_definitions
from shroff.decisions.progress import Progress, batched, counted
from shroff.decisions.ruletests import run_rule_tests
from shroff.errors import DefinitionError, LogBusyError, Problem, StorageError, UsageError, nearest
from shroff.events.encodings import read_lines
from shroff.events.event import time_text
from shroff.streams.log import DecisionRow, Log
from shroff.streams.snapshots import Snapshots

if TYPE_CHECKING:
    import pyarrow as pa

    from shroff.decisions.doctor import Finding
    from shroff.decisions.explain import Explained
    from shroff.decisions.ingest import IngestReport
    from shroff.decisions.replay import Verification
    from shroff.decisions.retrying import Retried
    from shroff.decisions.snapshots import Saved
    from shroff.decisions.writer import Answer, Writer
    from shroff.events.intake import Intake, Submission
    from shroff.events.lines import Lines

ADAPTERS: Final = "shroff.adapters"
FIRST_EVENTS: Final = "Bring events in with 'shroff ingest FILE --as EVENT'."
TEMPLATES: Final = ("payments", "paysim", "savings", "orders", "cards", "blank")


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What `check` found. `definitions` is None where there are errors in the files themselves."""

    definitions: Definitions | None
    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    tests: int = 0

    @property
    def is_ok(self) -> bool:
        return not self.errors


@dataclass(frozen=True, slots=True)
class FeatureReport:
    """What `features` wrote."""

    rows: int
    columns: tuple[str, ...]
    seconds: float


@dataclass(slots=True)
class Project:
    """One project folder.

    Definitions are read when first needed, and once. A log is opened for each call and
    closed after it, so several programs may read beside one writer. `warnings` is what
    somebody should be told of a call that went well.
    """

    places: config.Places
    now_ms: Callable[[], int] = field(default=lambda: time.time_ns() // 1_000_000)
    warnings: list[str] = field(default_factory=list)
    _loaded: Loaded | None = None

    # ---- definitions

    @property
    def loaded(self) -> Loaded:
        if self._loaded is None:
            unreadable: list[Problem] = []
            loaded = load_definitions(config.read_files(self.places.folder, unreadable), self.hasher)
            self._loaded = loaded.beside(unreadable)
        return self._loaded

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
        with closing(self._open_log(read_only=True)) as log:
            if has_hashed(log):
                raise StorageError(
                    f"{self.places.hash_key} is not there, and the log has values that were hashed with it. "
                    "Restore it from a backup: with a new key, nothing that the log knows would be known again"
                )

    @property
    def definitions(self) -> Definitions:
        """The project's definitions. Raises: DefinitionError with every mistake."""
        return self.loaded.or_raise()

    def source_line(self, problem: Problem) -> str:
        """The line that a problem is on, as it is written; nothing where it is on none."""
        lines = config.read_files(self.places.folder, []).get(problem.file, "").splitlines()
        return lines[problem.line - 1] if 0 < problem.line <= len(lines) else ""

    def check(self) -> CheckReport:
        """Load everything, type every expression, run every rule test."""
        loaded = self.loaded
        if loaded.definitions is None:
            return CheckReport(None, tuple(loaded.problems), tuple(loaded.warnings))
        tests, failed = run_rule_tests(loaded.definitions, self.hasher)
        return CheckReport(loaded.definitions, tuple(failed), tuple(loaded.warnings), tests)

    def checked(self) -> Definitions:
        """The definitions, rule tests run. Raises: DefinitionError."""
        report = self.check()
        if report.definitions is None or report.errors:
            raise DefinitionError(report.errors)
        return report.definitions

    # ---- the log

    @contextmanager
    def reading(self) -> Iterator[Log]:
        """The log, to read. Raises: UsageError where there is none yet."""
        if not self.places.log.exists():
            raise UsageError(f"this project has no log yet. {FIRST_EVENTS}")
        with closing(self._open_log(read_only=True)) as log:
            yield log

    @contextmanager
    def writing(self, progress: Progress | None = None) -> Iterator[tuple[Writer, Log]]:
        """The log's writer, its state restored. Raises: LogBusyError where another process writes.

        At its end, state is saved where the next start would have much to read.
        """
        from shroff.decisions import snapshots
        from shroff.decisions.writer import Writer

        definitions = self.checked()
        self._make_state_folder()
        if definitions.events.has_hashed:
            self.hasher("")  # before the log says that it has hashed values, there is a key
        with closing(self._open_log(read_only=False)) as log:
            writer = Writer(log, definitions, self.now_ms, progress, Snapshots(self.places.snapshots))
            self.warnings += writer.warnings
            yield writer, log
            if writer.unsaved > snapshots.EVERY:
                try:
                    writer.snapshot()
                except StorageError as error:
                    self.warnings.append(f"{error}.")

    def snapshot(self, progress: Progress | None = None) -> Saved:
        """Save state, so that the next start reads only what comes after it.

        Raises: UsageError where there is no log yet; StorageError where it cannot be written.
        """
        if not self.places.log.exists():
            raise UsageError(f"this project has no log yet, so there is no state to save. {FIRST_EVENTS}")
        with self.writing(progress) as (writer, _):
            return writer.snapshot()

    @contextmanager
    def adding(self) -> Iterator[tuple[Writer, Log]]:
        """The writer for a single record. Raises: LogBusyError beside another writer."""
        with _apart(), self.writing() as held:
            yield held

    def _make_state_folder(self) -> None:
        try:
            self.places.state.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"{self.places.state} cannot be made: {error.strerror}. The log needs a folder that it may write."
            ) from None

    def _open_log(self, *, read_only: bool) -> Log:
        log: Log = load_adapter("log.sqlite")(self.places.log, read_only=read_only)
        return log

    # ---- bringing in

    def ingest(
        self,
        files: Sequence[Path],
        *,
        as_type: str | None = None,
        labels: Path | None = None,
        order: str = "file",
        format: str | None = None,
        decide: bool = True,
        is_hashed: bool = False,
        progress: Progress | None = None,
        restoring: Progress | None = None,
        on_batch: Callable[[Sequence[Answer]], None] | None = None,
    ) -> IngestReport:
        """Append files to the log, deciding on the way (INTERFACES, `shroff ingest`).

        All files are opened and looked into first, so that one that cannot be read stops before writing, and so
        does one with too many lines that come too late.
        `is_hashed`: values of hashed fields that look like hashes are ones, as in what `shroff export` wrote.
        `progress` is told how many lines were read, `restoring` how many events of the log.
        """
        from shroff.decisions.ingest import arranged, ingest, with_labels

        intake = self.intake(keeps_hashes=is_hashed)
        with ExitStack() as opened:

            def read(path: Path, type_name: str | None) -> Iterator[Submission]:
                return intake.submissions(opened.enter_context(read_lines(path, format)), path.name, type_name)

            inputs = [(path.name, read(path, as_type)) for path in files]
            rows = None if labels is None else read(labels, "label")
            writer, log = opened.enter_context(self.writing(restoring))
            submissions = arranged(inputs, writer, by_time=order == "time")
            if rows is not None:
                submissions = with_labels(submissions, rows)
            return ingest(
                writer, counted(submissions, progress), decide=decide, on_batch=on_batch, between=log.maintain
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
        with self.writing(restoring) as (writer, log):
            for group in in_groups(submissions, has_more):
                answers = writer.write(group)
                yield [(one.place, answer) for one, answer in zip(group, answers, strict=True)]
                log.maintain()

    def label(self, fields: Mapping[str, object]) -> Answer:
        """Record one label; without `known_at` it is known now."""
        import msgspec

        given = {"known_at": time_text(self.now_ms()), **fields}
        raw = msgspec.json.encode({"label": given})
        one = self.intake(keeps_hashes=True).submit(
            "label", given, source="shroff label", place="1", raw=raw, is_strict=True
        )
        with self.adding() as (writer, _):
            return writer.write([one])[0]

    def retry(self, numbers: Sequence[int], files: Sequence[Path] = ()) -> list[Retried]:
        """Bring quarantined input back in, all of it without numbers; what is refused again stays.

        `files` are those that CSV lines came from, or others with the same name and first line.
        """
        from shroff.decisions.retrying import retry

        intake = self.intake(keeps_hashes=True)
        headers = {path.name: columns for path in files if (columns := _columns(path)) is not None}
        with self.adding() as (writer, log):
            return retry(log, writer, intake, numbers, headers)

    def drop(self, numbers: Sequence[int]) -> int:
        """Remove entries from quarantine for ever, all of them without numbers; gives how many there were.

        Raises: UsageError where there is no log yet; LogBusyError beside another writer.
        """
        from shroff.decisions.retrying import chosen

        if not self.places.log.exists():
            raise UsageError(f"this project has no log yet, so nothing is in quarantine. {FIRST_EVENTS}")
        with _apart(), closing(self._open_log(read_only=False)) as log:
            return log.refused_drop([number for number, _ in chosen(log.refused_list(), numbers)])

    # ---- asking

    def find(self, log: Log, reference: str) -> DecisionRow:
        """The decision of `payment/p-1`, or of `p-1` while one type is decided.

        Types are those of the project and those that the log has from earlier versions of it.

        Raises: UsageError where there is none.
        """
        from shroff.decisions.history import types_of

        named = self._named(reference, types_of(log))
        for name, id_ in named:
            row = log.decisions(name, [id_]).get(id_)
            if row is not None:
                return row
        for name, id_ in named:
            if log.find(name, [id_]):
                raise UsageError(f"{name} {id_!r} is in the log and was not decided.")
        name, id_ = named[0]
        raise UsageError(f"there is no {name} {id_!r} in the log. 'shroff export decisions' lists what there is.")

    def _named(self, reference: str, past: Mapping[str, bool]) -> list[tuple[str, str]]:
        """The type and id that are meant; several where a bare id may be of a type that was decided once."""
        events = self.definitions.events
        before, sign, after = reference.partition("/")
        if sign and (before in events.types or before in past):
            return [(before, after)]
        once = [name for name, was_decided in past.items() if was_decided and name not in events.decided]
        decided = [*events.decided, *once]
        if len(events.decided) > 1 or not decided:
            such = f", such as {decided[0]}/{reference}" if decided else ""
            what = "several types are decided" if decided else "no type is decided"
            raise UsageError(f"{reference!r}: {what}; write TYPE/ID{such}.")
        return [(name, reference) for name in decided]

    def replay(self, reference: str) -> tuple[DecisionRow, DecisionRow]:
        """The recorded decision and the same computed again from the log."""
        from shroff.decisions.replay import replay

        with self.reading() as log:
            row = self.find(log, reference)
            return row, replay(log, row.seq)

    def doctor(self) -> list[Finding]:
        """Everything that was looked at, with how it stands. What cannot be had is a finding, not an error."""
        from shroff.decisions.doctor import look

        report = self.check()
        return look(self.places, report.definitions, report.errors, self.reading, self.now_ms())

    def explain(self, reference: str, progress: Progress | None = None) -> Explained:
        """A decision with its features beside this entity's earlier ones, and the words of its rules."""
        from shroff.decisions.explain import explain

        with self.reading() as log:
            return explain(log, self.find(log, reference), progress)

    def verify(
        self, engines: Sequence[str] = ("online",), sample: int | None = None, progress: Progress | None = None
    ) -> Verification:
        """Compute the log again through the engines and compare (see `decisions.verifying`)."""
        from shroff.decisions.verifying import known_engines, verify

        known_engines(engines)
        with self.reading() as log:
            return verify(log, engines, sample, progress)

    def features(
        self, event: str, files: Sequence[Path], out: Path, *, engine: str = "online", progress: Progress | None = None
    ) -> FeatureReport:
        """Write the features of the log's or the files' events as Parquet."""
        from shroff.decisions.outfiles import write_tables
        from shroff.decisions.tables import feature_schema
        from shroff.decisions.verifying import known_engines

        known_engines([engine])
        definitions = self.definitions
        if event not in definitions.events.types:
            hint = nearest(event, definitions.events.types) or f"There is {', '.join(definitions.events.types)}."
            raise UsageError(f"--as: {event!r} is no event type. {hint}")
        started = time.monotonic()
        schema = feature_schema(definitions, event)
        rows = write_tables(out, schema, self.feature_tables(event, files, engine=engine, progress=progress))
        return FeatureReport(rows, tuple(schema.names), time.monotonic() - started)

    def feature_tables(
        self, event: str, files: Sequence[Path] = (), *, engine: str = "online", progress: Progress | None = None
    ) -> Iterator[pa.Table]:
        """The features of one type, one Arrow table a batch, in log order or in the files' order."""
        from shroff.decisions.fold import lateness_of
        from shroff.decisions.histories import file_batches, log_batches
        from shroff.decisions.tables import feature_tables

        definitions = self.definitions
        if files:
            lines = ((path.name, read_lines(path)) for path in files)
            batches = file_batches(lines, definitions, self.hasher, event)
            late_ms = definitions.settings.lateness_ms
            yield from feature_tables(definitions, event, batched(batches, progress), engine, late_ms)
            return
        with self.reading() as log:
            batches = log_batches(log, definitions)
            late_ms = lateness_of(log, definitions)
            yield from feature_tables(definitions, event, batched(batches, progress), engine, late_ms)


@contextmanager
def _apart() -> Iterator[None]:
    """Says of a log that is busy that single records cannot be added beside a writer."""
    try:
        yield
    except LogBusyError as error:
        raise LogBusyError(f"{error}. Adding single records beside a writer is not there yet") from None


def _columns(path: Path) -> tuple[str, ...] | None:
    with read_lines(path) as lines:
        return lines.columns


def load_adapter(name: str) -> Any:
    """The adapter of this name, found by its entry point, ours and others' alike.

    Raises: UsageError where no installed package has it.
    """
    found = {point.name: point for point in entry_points(group=ADAPTERS)}
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
    if template not in TEMPLATES:
        hint = f"{nearest(template, TEMPLATES)} There are {', '.join(TEMPLATES)}.".lstrip()
        raise UsageError(f"there is no template {template!r}. {hint}")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; name a new folder.")
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty, and init overwrites nothing. Name a new or an empty folder.")
    files = config.copy_template(template, folder)
    project = Project(config.Places(folder.resolve()))
    if project.definitions.events.has_hashed:
        project.hasher("")
        files.append(project.places.hash_key.relative_to(project.places.folder).as_posix())
    return project, files
