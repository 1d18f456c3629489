"""A project, opened: what commands, programs and notebooks call. The only place that picks adapters."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from shroff import config
from shroff.adapters.finding import load_adapter, store_adapter
from shroff.app.additions import FIRST_EVENTS
from shroff.app.applying import Applying
from shroff.app.asking import Asking
from shroff.app.cases import CaseViews
from shroff.app.doctoring import Doctoring
from shroff.app.drift import DriftViews
from shroff.app.erasing import Erasing
from shroff.app.lakes import Lakes
from shroff.app.live.deliveries import Deliveries
from shroff.app.live.online_views import NOT_THERE, OnlineViews
from shroff.app.live.productions import Productions, encoder_of
from shroff.app.live.taking import Taking
from shroff.app.live.workings import Workings
from shroff.app.models.importings import Importings
from shroff.app.models.retrainings import Retrainings
from shroff.app.models.training_sets import TrainingSets
from shroff.app.notices import NoticeViews
from shroff.app.people import PeopleViews
from shroff.app.pruning import Pruning
from shroff.app.rules.agreements import Agreements
from shroff.app.rules.backtests import Backtests
from shroff.app.rules.rule_drafts import RuleDrafts
from shroff.app.rules.rule_imports import RuleImports
from shroff.app.system_names import name_problems
from shroff.app.views import Views
from shroff.engine.decision import Decision, Reason, Refusal, Undecided
from shroff.errors import DefinitionError, LogBusyError, Problem, StorageError, UsageError
from shroff.events import hash_keys
from shroff.log.active_files import Taken
from shroff.log.ruletests import CheckReport, check
from shroff.models.registry import Registry
from shroff.monitoring.live_order import warnings_of
from shroff.project.definitions import Definitions, Loaded, load_definitions
from shroff.project.loading import MadeOnce, files_of, line_of, systems_of
from shroff.project.read_once import ReadOnce
from shroff.project.scoring import problems_of
from shroff.project.settings.installed import adapters, kind_at, online_mistake, settings_of
from shroff.project.settings.systems import System, Systems, filled
from shroff.runtime.progress import Progress, unheard
from shroff.streams.log import Log
from shroff.streams.sender import Sender
from shroff.streams.sink import Sink
from shroff.streams.snapshots import Snapshots
from shroff.streams.source import Source
from shroff.worker.lanes.lanes import in_lane, lane_problems, url_of_lane

if TYPE_CHECKING:
    from shroff.cases.following import Tells
    from shroff.cases.store import CaseStore
    from shroff.events.avro.wire import AvroDecoder
    from shroff.events.formats.schemas import SchemaRegistry
    from shroff.events.formats.wire import Decoder, Encoder
    from shroff.explain.key_index import KeyIndex
    from shroff.features.cluster.partitioned import Cluster
    from shroff.log.writer import Writer
    from shroff.people.access import Who
    from shroff.people.oidc import Provider
    from shroff.people.store import PeopleStore
    from shroff.streams.controls import Controls, LanePost
    from shroff.worker.online_features import OnlineStore

__all__ = ["Decision", "Project", "Reason", "Refusal", "Undecided", "make_project", "open", "open_exactly"]


@dataclass(slots=True)
class Project(
    PeopleViews,
    Applying,
    Taking,
    Productions,
    Asking,
    Views,
    CaseViews,
    Retrainings,
    Importings,
    TrainingSets,
    Backtests,
    DriftViews,
    Lakes,
    NoticeViews,
    Workings,
    Erasing,
    RuleDrafts,
    RuleImports,
    Agreements,
    Pruning,
    OnlineViews,
    Deliveries,
    Doctoring,
):
    """One project folder.

    Definitions are read when first needed, and once. A log is opened for each call and
    closed after it, so several programs may read beside one writer. `warnings` is what
    somebody should be told of a call that went well; `waiting` is told for whom one waits, after a second.
    """

    places: config.Places
    now_ms: Callable[[], int] = field(default=lambda: time.time_ns() // 1_000_000)
    warnings: list[str] = field(default_factory=list)
    waiting: Callable[[str], None] = unheard
    via: Literal["command", "program"] = "program"
    served_at: str = ""  # the address of the service that this process is, once it listens
    asked_by: Who | None = None
    read_once: ReadOnce = field(default_factory=ReadOnce)  # shared by all that this process opens of the project
    taken: Taken = field(default_factory=Taken)  # shared as well
    _loaded: MadeOnce[Loaded] = field(default_factory=MadeOnce)
    _registry: Registry | None = None
    _systems: MadeOnce[Systems] = field(default_factory=MadeOnce)
    _key_index: KeyIndex | None = None
    _told: tuple[Mapping[str, str], int] | None = None  # a version that waits for this lane, and the offset behind it

    def __repr__(self) -> str:
        return f"<shroff project {self.places.folder}>"

    # ---- definitions

    @property
    def loaded(self) -> Loaded:
        return self._loaded.get(self._load)

    def _load(self) -> Loaded:
        files, problems, warnings = files_of(self.places.folder, self.files_in_lane())
        loaded = self.with_notices(files, load_definitions(files, self.hasher, self.registry.load, read=self.read_once))
        if loaded.definitions is not None and not self.places.is_elsewhere:
            text = files.get(config.PROJECT_FILE, "")
            problems += lane_problems(loaded.definitions, self.systems, text)
            problems += name_problems(loaded.definitions.events, self.systems, text)
        if loaded.definitions is not None:
            warnings += warnings_of(loaded.definitions, self.systems.source)
        return loaded.beside(problems, warnings, None if self.places.is_elsewhere else files)

    @property
    def systems(self) -> Systems:
        """The outside systems of the project. What is wrong with them is told with all else in its files."""
        return self._systems.get(lambda: systems_of(self.places.folder))

    @property
    def registry(self) -> Registry:
        """The models of the project, in force or not."""
        if self._registry is None:
            self._registry = Registry(self.places.models)
        return self._registry

    @property
    def hasher(self) -> Callable[[str], str]:
        """What stands for the clear values of hashed fields (see `hash_keys.hasher`).

        Asking it raises StorageError where the key is lost: a new one would not know the values that the log has.
        """
        return hash_keys.hasher(self.places, self._refuse_a_second_key)

    def _refuse_a_second_key(self) -> None:
        if self.has_hashed():
            raise StorageError(
                f"{self.places.hash_key} is not there, and the log has values that were hashed with it. "
                "Restore it from a backup: with a new key, nothing that the log knows would be known again"
            )

    @property
    def definitions(self) -> Definitions:
        """The project's definitions. Raises: DefinitionError with every mistake."""
        return self.loaded.or_raise()

    def check_with(self, changes: Mapping[str, str], without: Collection[str] = ()) -> Definitions:
        """The definitions with these texts, and without some files. Raises: DefinitionError for mistakes in them."""
        changed = {name: config.lines_ended(text) for name, text in changes.items()}
        files = {name: text for name, text in config.read_files(self.places.folder, []).items() if name not in without}
        loaded = load_definitions(files | changed, self.hasher, self.registry.load, read=self.read_once)
        return replace(self, _loaded=MadeOnce(loaded)).checked()

    def afresh(self) -> Project:
        return replace(self, taken=Taken(), _loaded=MadeOnce(), _systems=MadeOnce(), _told=None)

    def _at(self, places: config.Places) -> Project:
        """The same project with its log at another place."""
        return replace(self, places=places, _loaded=MadeOnce(), _told=None)

    def begin_with(self, told: tuple[Mapping[str, str], int] | None) -> None:
        self._told = told
        self.reload()

    def acting_as(self, who: Who) -> Project:
        """The same project, whose deeds are recorded as those of who asks a service for them."""
        return replace(self, asked_by=who)

    def reload(self) -> None:
        """Read the project's files again when they are next needed. Where things are stays as it was."""
        self._loaded.forget()

    def source_line(self, problem: Problem) -> str:
        """The line that a problem is on, as it is written; nothing where it is on none."""
        return line_of(self.places.folder, problem)

    def check(self, *, with_log: bool = True) -> CheckReport:
        """Load everything, type every expression, run every rule test; where there is a log, hold the types against it.

        A log that cannot be read is a warning; a model in force that cannot be loaded is a mistake, though only
        deciding needs it.
        """
        report = check(self.loaded, self.hasher, self.read_once)
        if report.definitions is not None:
            report = replace(report, errors=(*report.errors, *problems_of(report.definitions.unloaded())))
        return self.check_change(report) if with_log else report

    def checked(self) -> Definitions:
        """The definitions, rule tests run. Raises: DefinitionError."""
        report = check(self.loaded, self.hasher, self.read_once, self.places.checked)
        if report.definitions is None or report.errors:
            raise DefinitionError(report.errors)
        return report.definitions

    # ---- the log

    def key_index(self, definitions: Definitions) -> KeyIndex:
        from shroff.explain.key_index import KeyIndex, form_of

        if self._key_index is None or self._key_index.form != form_of(definitions):
            self._key_index = KeyIndex(self.places.key_index, definitions)
        return self._key_index

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
        from shroff.log.state import snapshots
        from shroff.log.writer import Writer

        if not self.has_log():
            self.checked()  # a project with mistakes gets no log
            self._make_state_folder()
        with closing(self.open_log(read_only=False)) as log:
            definitions = self.checked()
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

    def _avro_decoder(self) -> AvroDecoder | None:
        """What reads Avro messages of the project's live source; None where that has none."""
        source = self.systems.source
        if source is None or source.text("format", "json") != "avro":
            return None
        return self._avro_of(source)

    def _avro_of(self, system: System) -> AvroDecoder:
        from shroff.events.avro.wire import AvroDecoder

        definitions = self.definitions
        return AvroDecoder(self.open_registry(system), definitions.events, settings=definitions.settings)

    def open_registry(self, system: System | None, address: str = "") -> SchemaRegistry:
        """The schema registry of a live source, or the one at another address, to be closed by the caller.

        Raises: UsageError where neither is given, or a variable is not set.
        """
        from shroff.adapters.http_calls import Calls
        from shroff.adapters.registry.http import HttpRegistry

        told = {"url": address} if address or system is None else dict(system.registry)
        if not told.get("url"):
            raise UsageError("source: Avro messages need 'registry:', the address of their schemas.")
        found = self.systems.called(System("registry", told), self.places.folder)
        return HttpRegistry(found.text("url"), Calls.of(found.options))

    def reach(self, system: System, limit_s: float, contract: str = "sink") -> str:
        """Connect to a system's server and let go of it; gives host and port. Raises: TransientError, UsageError."""
        from shroff.adapters.reach import reach

        return reach(filled(system).text("url"), limit_s, settings_of(contract, system.kind).schemes)

    def prepare_state(self) -> None:
        """Make the folder of state, and the key of hashed fields before a log says that it has such values."""
        self._make_state_folder()
        if self.definitions.events.has_hashed:
            self.hasher("")

    def _make_state_folder(self) -> None:
        try:
            config.make_folder(self.places.state)
        except OSError as error:
            raise StorageError(
                f"{self.places.state} cannot be made: {error.strerror}. The log needs a folder that it may write."
            ) from None

    def open_log(self, *, read_only: bool) -> Log:
        """The log, the lake's part of it included, to be closed by the caller.

        Raises: LogBusyError where another process writes.
        """
        from shroff.lake.whole_log import whole

        if self.is_parted:
            raise self.name_one()
        has_lake = self.systems.lake is not None and not self.places.is_elsewhere
        store = self._opened_store(read_only=read_only)
        try:
            return whole(store, self._lake_reader if has_lake else None)
        except BaseException:
            store.close()
            raise

    def _opened_store(self, *, read_only: bool) -> Log:
        if (store := self._store()) is None:
            kept: Log = load_adapter("log.sqlite")(self.places.log, read_only=read_only)
            return kept
        lease_s = store.duration_ms("lease", "3s") / 1_000
        url, own = _address(store, self.places.lane), self.systems.beside("log", store, self.places.folder)
        held: Log = store_adapter(url)(url, read_only=read_only, lease_s=lease_s, **own)
        return held

    def open_people(self) -> PeopleStore:
        """Where people are kept, to be closed by the caller; those of several lanes are kept with the first."""
        if self.is_parted:
            return self.lane(0).open_people()
        from shroff.adapters.people.sql import SqlPeople
        from shroff.people.audit import sealing_by

        if not self.has_log():
            self.prepare_state()
            with suppress(LogBusyError):  # another process is making it
                self.open_log(read_only=False).close()
        seal = sealing_by(lambda: hash_keys.key_for(self.places, "shroff audit 1", self._refuse_a_second_key))
        store = self._store()
        return SqlPeople(self.places.log if store is None else _address(store, self.places.lane), seal)

    def open_cases(self, people: PeopleStore) -> CaseStore:
        """Where cases are kept: in the database of people, whose store closes it."""
        from shroff.adapters.cases.sql import beside

        return beside(people)

    def tells_cases(self, people: PeopleStore, log: Log) -> Tells | None:
        """What notices tell of cases, in the transaction that opens them."""
        return self.case_notices(people, log)

    def open_provider(self) -> Provider | None:
        """The OpenID provider by which people sign in, None where there is none. Raises: UsageError as its adapter."""
        if self.systems.sign_in is None:
            return None
        from shroff.adapters.people.oidc import provider_of

        return provider_of(self.systems.called(self.systems.sign_in, self.places.folder))

    def open_source(self, system: System) -> Source:
        """The live source of these settings. Raises: UsageError where they contradict each other."""
        from shroff.events.formats.wire import JsonDecoder
        from shroff.streams.merge import merge_of

        definitions = self.definitions
        settled = self.systems.source_in(self.places.folder, in_lane(system, self.places))
        events, settings = definitions.events, definitions.settings
        is_json = settled.text("format", "json") == "json"
        decoder: Decoder = JsonDecoder() if is_json else self._avro_of(system)
        merge = merge_of(events, settings, decoder.format, settled.duration_ms("wait", "0s"))
        source: Source = load_adapter(f"source.{system.kind}")(settled, decoder, project=settings.name, merge=merge)
        return source

    def open_sender(self, system: System) -> tuple[Sender, Callable[[bool], Encoder]]:
        """What sends to a live source, and what makes its messages, by whether they name their type."""
        definitions, settled = self.definitions, self.systems.source_in(self.places.folder, system)
        sender: Sender = load_adapter(f"sender.{system.kind}")(settled, project=definitions.settings.name)
        return sender, lambda names_type: encoder_of(
            settled, definitions, sender, lambda _: self.open_registry(system), names_type=names_type
        )

    def open_controls(self, lane: int) -> Controls:
        """What tells a lane which version is in force, to be closed by the caller."""
        from shroff.adapters.kafka.control import KafkaControls

        assert self.systems.source is not None, "a project with lanes has a source"
        return KafkaControls(filled(self.systems.source), project=self.definitions.settings.name, lane=lane)

    def open_post(self) -> LanePost:
        """What tells lanes."""
        from shroff.adapters.kafka.control import KafkaPost

        assert self.systems.source is not None, "a project with lanes has a source"
        return KafkaPost(filled(self.systems.source), project=self.definitions.settings.name)

    def open_online(self, log: Log | None) -> OnlineStore:
        """Where features for other services are. Raises: UsageError where the project names no place."""
        from shroff.worker.online_features import origin_of

        if self.systems.online is None:
            raise UsageError(NOT_THERE)
        online = filled(self.systems.online)
        scheme = online.text("url").partition(":")[0]
        if not (kind := kind_at("features", scheme)):
            raise UsageError(online_mistake(scheme))
        store: OnlineStore = load_adapter(f"features.{kind}")(
            online.text("url"),
            prefix=online.text("prefix") or self.definitions.settings.name,
            log="" if log is None else origin_of(log),
            ttl_ms=online.duration_ms("ttl", "0ms"),
            **self.systems.beside("features", online, self.places.folder),
        )
        return store

    def open_sink(self, name: str, system: System) -> Sink:
        """A sink by its settings, and a name that no other project's has. Raises: UsageError where they cannot be."""
        sink: Sink = load_adapter(f"sink.{system.kind}")(name, self.systems.settled("sink", system, self.places.folder))
        return sink

    def open_files(self, paths: Sequence[Path], type: str | None, format: str | None) -> Source:
        """Files as a source. Raises: UsageError where one cannot be read."""
        from shroff.adapters.sources.files import FileSource

        return FileSource(paths, type, format)

    def has_log(self) -> bool:
        """Whether there is a log already. Raises: TransientError where it is on a server that cannot be reached."""
        if self.is_parted:
            return any(one.has_log() for one in self.each_lane())
        store = self._store()
        if store is None:
            return self.places.log.exists()
        url = _address(store, self.places.lane)
        return bool(store_adapter(url).is_there(url, **self.systems.beside("log", store, self.places.folder)))

    def _store(self) -> System | None:
        """Where the log is kept; None where that is a file."""
        return None if self.places.is_elsewhere else self.systems.store

    def _adapter_named(self, name: str) -> Callable[..., Any]:
        found: Callable[..., Any] = load_adapter(name)
        return found

    # ---- asking

    def cluster(
        self, backend: str, address: str | None = None, partitions: int | None = None
    ) -> AbstractContextManager[Cluster | None]:
        """Where the batch engine answers (see `replay.clusters.cluster_of`)."""
        from shroff.replay.clusters import cluster_of

        return cluster_of(backend, address, partitions, adapters())


def _address(store: System, lane: int | None) -> str:
    """The address of a store, with what the environment has to say of it; that of a lane has tables of its own."""
    url = config.filled(store.text("url"), "store")
    return url if lane is None else url_of_lane(url, lane)


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
