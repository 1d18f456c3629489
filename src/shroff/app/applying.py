"""Making the project's files the active version, also in a process that runs: what differs, and the step itself."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from shroff import config
from shroff.app.additions import Waits
from shroff.app.live.deliveries import Deliveries
from shroff.errors import DefinitionError, ShroffError, UsageError
from shroff.log.active_files import (
    ACTIVE,
    BESIDE,
    NOTICES,
    Change,
    Taken,
    active_seq,
    beside,
    changes,
    is_beside,
    is_live,
    notice_files,
    renewed,
    taken_up,
)
from shroff.log.deeds import Deed
from shroff.project.definitions import Definitions, Loaded, load_definitions
from shroff.project.loading import MadeOnce
from shroff.project.settings.systems import Systems
from shroff.runtime.progress import unheard
from shroff.streams.log import Batch, Log, Offset

if TYPE_CHECKING:
    from shroff.events.avro.wire import AvroDecoder
    from shroff.log.writer import Writer
    from shroff.project.read_once import ReadOnce
    from shroff.worker.inbox import Inbox

WAITS: Final = "The files are unchanged; the process that writes the log makes them active"


@dataclass(frozen=True, slots=True)
class Applied:
    """What was to become active, and where the log has it, 0 with several lanes.

    `why_not` says why it is not yet, and is empty else.
    """

    changed: Sequence[Change]
    seq: int
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class _Afresh:
    """A project whose files were read anew, and what they have beside versions."""

    project: Applying
    beside: Mapping[str, str]


class Applying(Deliveries):
    """The files of a project, and which of them are active."""

    __slots__ = ()

    taken: Taken
    served_at: str
    read_once: ReadOnce
    _loaded: MadeOnce[Loaded]
    _systems: MadeOnce[Systems]

    @property
    @abstractmethod
    def systems(self) -> Systems:
        """The outside systems of the project."""

    @property
    @abstractmethod
    def loaded(self) -> Loaded:
        """What came of reading the project's files."""

    @abstractmethod
    def checked(self) -> Definitions:
        """The definitions, rule tests run. Raises: DefinitionError."""

    @abstractmethod
    def afresh(self) -> Self:
        """The same project, its files read anew."""

    @abstractmethod
    def open_provider(self) -> object:
        """What people sign in by at an OpenID provider. Raises: UsageError for settings by which that cannot be."""

    @abstractmethod
    def _avro_decoder(self) -> AvroDecoder | None:
        """What reads Avro messages of the project's live source."""

    @abstractmethod
    def _at(self, places: config.Places) -> Self:
        """The same project with its log at another place."""

    def as_in_files(self) -> Self:
        """The whole project with its files as they are now: a lane has the version that it was told of."""
        return self.afresh() if self.places.lane is None else self._at(config.Places(self.places.folder)).afresh()

    def unapplied(self) -> list[Change]:
        """What the project's files have that is not active, in whichever lane.

        Raises: DefinitionError; UsageError without a log.
        """
        fresh, lanes = self.afresh(), self.each_lane()
        definitions, found = fresh.definitions, dict[str, Change]()
        for lane in [one for one in lanes if one.has_log()] or lanes[:1]:
            with lane.reading() as log:
                for one in fresh.changes_in(log, definitions):
                    found.setdefault(one.file, one)
        return list(found.values())

    def changes_in(self, log: Log, definitions: Definitions) -> list[Change]:
        """What these definitions, and the files beside them, have that is not active."""
        return changes(log, definitions, self.beside(), self.load_active)

    def file_stamps(self) -> list[tuple[str, int, int]]:
        """What shows that a file of the project has changed."""
        return config.file_stamps(self.places.folder)

    def beside(self) -> dict[str, str]:
        """What is kept of the project's files and settings that no version has."""
        return beside(config.read_files(self.places.folder, [], BESIDE), self.systems)

    def load_active(self, files: Mapping[str, str]) -> Definitions:
        """The definitions of files that the log has. Raises: DefinitionError."""
        return load_definitions(files, self.hasher, read=self.read_once).or_raise()

    def active_seq(self) -> int:
        """The sequence number of the version that decides now; 0 with several lanes, where each has its own."""
        if self.is_parted:
            return 0
        with self.reading() as log:
            return active_seq(log)

    def apply(self, waits: Waits = unheard) -> Applied:
        """Make the project's files the active version: by the process that writes the log, or here where none does.

        Raises: DefinitionError for mistakes in the files; UsageError where there is no log yet.
        """
        self._needs_log("so nothing is active; the first events make the files active")
        self.reload()
        self.checked()
        found = self.unapplied()
        why_not = ""
        if found:
            self.record(Deed("project.apply", "project", None, {"files": [one.file for one in found]}))
            if not self.is_parted or any(not is_beside(one.file) for one in found):
                _, why_not = self._put_in_force(waits, WAITS, rows_alone=False)
            if self.is_parted and not why_not:
                why_not = self._take_up_in_lanes(waits)  # which were told a version alone
        return Applied(found, self.active_seq(), why_not)

    def _take_up_in_lanes(self, waits: Waits) -> str:
        """Have each lane take up settings and notices; gives why one did not, empty where all did.

        A lane reads the files of its own folder. One whose log cannot be had from here is left out.
        """
        for number, lane in enumerate(self.each_lane()):
            try:
                if lane.has_log():
                    lane.take_up(waits)
            except ShroffError as error:
                return f"lane {number}: {error}"
        return ""

    def take_up(self, waits: Waits = unheard) -> None:
        """Have the process that writes this log look at the project's files. Raises: UsageError where it refuses."""
        from shroff.worker.inbox import ADOPT

        self._ask(ADOPT, b"null", waits)

    # ---- for the process that writes the log

    def inbox(self, writer: Writer, log: Log) -> Inbox:
        """The inbox of a log that this process writes, for as long as a call lasts."""
        return self._inbox(writer, log, is_running=False)

    def running_inbox(self, writer: Writer, log: Log) -> Inbox:
        """The same for a worker or a service, which keeps what it can only take up with a restart."""
        return self._inbox(writer, log, is_running=True)

    def _inbox(self, writer: Writer, log: Log, *, is_running: bool) -> Inbox:
        from shroff.worker.inbox import Inbox

        loaded: list[_Afresh] = []

        def load() -> Definitions:
            fresh = self.afresh()
            definitions = fresh.checked()
            definitions.require_models()
            loaded[:] = [self._renewed(fresh, log) if is_running else _Afresh(fresh, fresh.beside())]
            fresh.check_telling()
            return definitions

        def took_up() -> list[Offset]:
            return self._took_up(loaded[0], log, is_running=is_running) if loaded else []

        return Inbox(log, writer, self.hasher, load, lambda: self.open_log(read_only=True), self._avro_decoder, took_up)

    def begin_active(self, log: Log) -> None:
        """Note in the log what this process begins with: what it takes up is as in the files, which others may have
        had applied since it was started. Raises: as the log's `append`.
        """
        with suppress(UsageError, DefinitionError):  # it goes on with what it has, and says so by what it notes
            self._take_over(self._renewed(self.afresh(), log).project.systems)
        offsets = taken_up(log, self.beside(), is_running=False)
        if offsets:
            log.append(Batch(offsets=offsets))

    def follow_active(self, log: Log) -> str:
        """Take up what the process that writes the log has made active, once the files are as they were then.

        Gives why it cannot, empty where it can. Cost: one query; reading the files where something else is active.
        """
        active = log.offsets(ACTIVE)
        if not active or active == self.taken.followed:
            return ""
        fresh = self.afresh()
        now = fresh.beside()
        if any(now.get(name, "") != text for name, text in active.items() if is_live(name, active, now)):
            return ""
        self.taken.followed = active
        try:
            self._take_over(self._renewed(fresh, log).project.systems)
        except (UsageError, DefinitionError) as error:
            return f"settings that are active now are not taken up here: {error}"
        return ""

    def _renewed(self, fresh: Applying, log: Log) -> _Afresh:
        """The project with its files read anew, by the settings that this process has once it took those up.

        Raises: UsageError where something of it cannot be opened by them, such as a variable that is not set here.
        """
        now = fresh.beside()
        systems = renewed(self.systems, fresh.systems, log.offsets(ACTIVE), now)
        fresh._systems.put(systems)
        if systems != self.systems:
            fresh.routes()
            if self.served_at:
                _ = systems.public_url
                fresh.open_provider()
        return _Afresh(fresh, now)

    def _take_over(self, systems: Systems) -> None:
        """Work with these settings from now on, and with the notices that the files have."""
        files = notice_files(config.read_files(self.places.folder, [], (NOTICES,)))
        if (systems, files) != (self.systems, self.taken.files):
            self._systems.put(systems)
            self.taken.files = files
            self.taken.number += 1

    def _took_up(self, found: _Afresh, log: Log, *, is_running: bool) -> list[Offset]:
        """Work with what the files have now; gives what the log is to keep of that."""
        offsets = taken_up(log, found.beside, is_running=is_running)
        self._loaded.put(found.project.loaded)
        if offsets and is_running:
            self._take_over(found.project.systems)
        return offsets
