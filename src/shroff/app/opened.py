"""Opened project: the definitions, settings, log, clock and acting user that every part works on."""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from shroff import config
from shroff.app.adapter_factory import AdapterFactory, make_state_folder
from shroff.app.system_names import id_problems, name_problems, unread_mappings
from shroff.errors import DefinitionError, Problem, ShroffError, StorageError, UsageError, ended
from shroff.events import hash_keys
from shroff.log.active_files import ActiveFilesInUse
from shroff.log.ruletests import CheckReport, check
from shroff.models.registry import Registry
from shroff.monitoring.live_order import warnings_of
from shroff.project.definitions import Definitions, Loaded, load_definitions
from shroff.project.loader import MadeOnce, files_of, line_of, systems_of
from shroff.project.parse_cache import ReadOnce
from shroff.project.scoring import problems_of
from shroff.project.settings.loader import currency_warning
from shroff.project.settings.systems import Systems
from shroff.runtime.process_wide import user_name
from shroff.runtime.progress import Progress, unheard
from shroff.streams.snapshots import Snapshots

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from shroff.app.rules.rule_looks import RuleStatistics
    from shroff.cases.desk import CaseService
    from shroff.events.intake import Intake
    from shroff.explain.key_index import KeyIndex
    from shroff.log.writer import Writer
    from shroff.people.access import Who
    from shroff.people.store import Desk
    from shroff.streams.log import Log

FIRST_EVENTS: Final = "Bring events in with 'shroff ingest FILE --as EVENT'."


class Warnings(list[str]):
    """What somebody should be told of calls that went well."""

    def once(self, words: str) -> None:
        """Add a warning that is not among these."""
        if words not in self:
            self.append(words)


@dataclass(slots=True)
class Opened:
    """One project folder, opened: what the parts of a project share.

    Definitions are read when first needed, and once. A log is opened for each call and
    closed after it, so several programs may read beside one writer. `warnings` is what
    somebody should be told of a call that went well; `waiting` is called with for whom one waits, after a second.
    """

    places: config.ProjectPaths
    now_ms: Callable[[], int] = field(default=lambda: time.time_ns() // 1_000_000)
    warnings: Warnings = field(default_factory=Warnings)
    waiting: Callable[[str], None] = unheard
    via: Literal["command", "program"] = "program"
    served_at: str = ""  # the address of the service that this process is, once it listens
    waits: Callable[[str], None] = unheard  # told what holds if a wait for the writer is ended by Ctrl-C
    asked_by: Who | None = None
    asked_at: str = ""  # the address at which this caller reaches the service
    desk: Desk | None = None  # people and the record, where a service has them open
    case_service: CaseService | None = None  # cases, where a service has them open, and carries out what is due
    adopt: Callable[[], str] | None = None  # how a service makes the files active; gives why that waits
    read_once: ReadOnce = field(default_factory=ReadOnce)  # shared by all that this process opens of the project
    taken: ActiveFilesInUse = field(default_factory=ActiveFilesInUse)  # shared as well
    files_read: MadeOnce[Loaded] = field(default_factory=MadeOnce)
    systems_read: MadeOnce[Systems] = field(default_factory=MadeOnce)
    models_kept: MadeOnce[Registry] = field(default_factory=MadeOnce)  # shared as well
    rule_statistics: MadeOnce[RuleStatistics] = field(default_factory=MadeOnce)  # shared as well
    index: KeyIndex | None = None

    @property
    def loaded(self) -> Loaded:
        return self.files_read.get(self._load)

    def _load(self) -> Loaded:
        from shroff.app.jobs.kinds import with_schedules
        from shroff.app.notice_files import with_notices

        files, problems, warnings = files_of(self.places.folder, self.read_once.texts.text)
        loaded = with_notices(files, load_definitions(files, self.hasher, self.registry.load, read=self.read_once))
        loaded = with_schedules(files, loaded)
        if loaded.definitions is not None and not self.places.is_elsewhere:
            text = files.get(config.PROJECT_FILE, "")
            problems += name_problems(loaded.definitions.events, self.systems, text)
            problems += id_problems(loaded.definitions.events, self.systems, files.get("events.yaml", ""))
            warnings += unread_mappings(loaded.definitions.events, self.systems)
            warnings += currency_warning(loaded.definitions.settings)
        if loaded.definitions is not None:
            warnings += warnings_of(loaded.definitions, self.systems.source)
        return loaded.beside(problems, warnings, None if self.places.is_elsewhere else files)

    @property
    def systems(self) -> Systems:
        """The outside systems of the project. What is wrong with them is told with all else in its files."""
        return self.systems_read.get(lambda: systems_of(self.places.folder))

    @property
    def registry(self) -> Registry:
        """The models of the project, in force or not."""
        return self.models_kept.get(lambda: Registry(self.places.models))

    @property
    def hasher(self) -> Callable[[str], str]:
        """The hash function for clear values of hashed fields (see `hash_keys.hasher`).

        Asking it raises StorageError where the key is lost: a new one would not know the values that the log has.
        """
        return hash_keys.hasher(self.places, self.refuse_a_second_key)

    def refuse_a_second_key(self) -> None:
        from shroff.log.history import has_hashed

        if not self.has_log():
            return
        with closing(self.open_log(read_only=True)) as log:
            is_lost = has_hashed(log)
        if is_lost:
            raise StorageError(
                f"{self.places.hash_key} is missing, and the log has values that were hashed with it. "
                "Restore it from a backup: with a new key, known cards and customers would look new"
            )

    @property
    def definitions(self) -> Definitions:
        """The project's definitions. Raises: DefinitionError with every mistake."""
        return self.loaded.or_raise()

    def check_with(self, changes: Mapping[str, str], without: Collection[str] = ()) -> Definitions:
        """The definitions with these texts, and without some files. Raises: DefinitionError for mistakes in them."""
        changed = {name: config.lines_ended(text) for name, text in changes.items()}
        there = config.read_files(self.places.folder, [], text=self.read_once.texts.text)
        files = {name: text for name, text in there.items() if name not in without}
        loaded = load_definitions(files | changed, self.hasher, self.registry.load, read=self.read_once)
        return replace(self, files_read=MadeOnce(loaded)).checked()

    def afresh(self) -> Opened:
        """The same project, its files read anew."""
        return replace(self, taken=ActiveFilesInUse(), files_read=MadeOnce(), systems_read=MadeOnce())

    def at(self, places: config.ProjectPaths) -> Opened:
        """The same project with its log at another place."""
        return replace(self, places=places, files_read=MadeOnce())

    def reload(self) -> None:
        """Read the project's files again when they are next needed. Where things are stays as it was."""
        self.files_read.forget()

    def check(self, *, with_log: bool = True) -> CheckReport:
        """Load everything, type every expression, run every rule test; where there is a log, hold the types against it.

        A log that cannot be read is a warning; a model in force that cannot be loaded is a mistake, though only
        deciding needs it.
        """
        report = check(self.loaded, self.hasher, self.read_once)
        if report.definitions is not None:
            report = replace(report, errors=(*report.errors, *problems_of(report.definitions.unloaded())))
        report = replace(report, source_line=partial(line_of, self.places.folder))
        return self._held_against_log(report) if with_log else report

    def _held_against_log(self, report: CheckReport) -> CheckReport:
        """The report, with event types held against the log (see `activation`).

        A log that cannot be read is a warning, also where a variable of its address is not set.
        """
        from shroff.log.writer import check_change

        if report.definitions is None or report.errors:
            return report
        try:
            if self.has_log():
                with closing(self.open_log(read_only=True)) as log:
                    check_change(log, report.definitions)
        except DefinitionError as error:
            return replace(report, errors=error.problems)
        except ShroffError as error:
            is_file = self.systems.store is None or self.places.is_elsewhere
            place = self.places.log.relative_to(self.places.folder).as_posix() if is_file else "the log"
            unread = Problem(place, 0, 0, "", f"these files were not checked: {ended(str(error))}")
            return replace(report, warnings=(*report.warnings, unread))
        return report

    def checked(self) -> Definitions:
        """The definitions, rule tests run. Raises: DefinitionError."""
        report = check(self.loaded, self.hasher, self.read_once, self.places.checked)
        if report.definitions is None or report.errors:
            raise DefinitionError(report.errors)
        return report.definitions

    @contextmanager
    def reading(self) -> Iterator[Log]:
        """The log, to read. Raises: UsageError where there is none yet."""
        if not self.has_log():
            raise UsageError(f"this project has no log yet. {FIRST_EVENTS}")
        with closing(self.open_log(read_only=True)) as log:
            yield log

    @contextmanager
    def writing(self, progress: Progress | None = None) -> Iterator[tuple[Writer, Log]]:
        """The log's writer, its state restored. Raises: LogBusyError where another process writes.

        At its end, state is saved where the next start would have much to read.
        """
        from shroff.log.state.snapshots import EVERY
        from shroff.log.writer import Writer

        if not self.has_log():
            self.checked()  # a project with mistakes gets no log
            make_state_folder(self.places)
        with closing(self.open_log(read_only=False)) as log:
            definitions = self.checked()
            if definitions.events.has_hashed:
                self.hasher("")  # before the log says that it has hashed values, there is a key
            writer = Writer(log, definitions, self.now_ms, progress, Snapshots(self.places.snapshots))
            self.warnings += writer.warnings
            yield writer, log
            if writer.unsaved > EVERY:
                try:
                    writer.snapshot()
                except StorageError as error:
                    self.warnings.append(f"{error}.")

    def open_log(self, *, read_only: bool) -> Log:
        """The log, the lake's part of it included, to be closed by the caller.

        Raises: LogBusyError where another process writes.
        """
        from shroff.app.lakes import Lakes
        from shroff.lake.whole_log import whole
        from shroff.runtime.process_wide import keep_freed_memory

        keep_freed_memory()
        has_lake = self.systems.lake is not None and not self.places.is_elsewhere
        store = AdapterFactory(self).open_store(read_only=read_only)
        try:
            return whole(store, Lakes(self).reader if has_lake else None)
        except BaseException:
            store.close()
            raise

    def has_log(self) -> bool:
        """Whether there is a log already. Raises: TransientError where it is on a server that cannot be reached."""
        return AdapterFactory(self).has_store()

    @property
    def who(self) -> Who:
        """The caller: the user of this process. They may read and write the project's files, so they may do all.

        In a service it is who asks for something: what they may was looked at before.
        """
        from shroff.people.access import local

        return self.asked_by if self.asked_by is not None else local(user_name(), self.via)


@dataclass(frozen=True, slots=True)
class ScratchPaths(config.ProjectPaths):
    """A project whose log and saved state are in another folder."""

    state_folder: Path

    @property
    def log(self) -> Path:
        return self.state_folder / "log.db"

    @property
    def is_elsewhere(self) -> bool:
        return True

    @property
    def snapshots(self) -> Path:
        return self.state_folder / "snapshots"


def intake_of(opened: Opened, *, keeps_hashes: bool, definitions: Definitions | None = None) -> Intake:
    """The validator of files and lines, by the project's definitions or by others.

    With `keeps_hashes` values that look like hashes are kept, as exports and quarantine have them; without, a
    sender could write a hash that was seen somewhere and so into the history of somebody else's card.
    """
    from shroff.events.intake import Intake
    from shroff.events.redaction import keeping_hashed
    from shroff.worker.pushed import own_types

    definitions = definitions or opened.definitions
    hasher = keeping_hashed(opened.hasher) if keeps_hashes else opened.hasher
    return Intake(definitions.events, definitions.settings, hasher, own_types(opened.systems, definitions.events))
