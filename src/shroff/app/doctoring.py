"""`doctor` of an opened project: its files, its log, and each system that it names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shroff import config
from shroff.errors import ShroffError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shroff.events.formats.schemas import SchemaRegistry
    from shroff.lake.reader import LakeReader
    from shroff.log.active_files import Change
    from shroff.log.ruletests import CheckReport
    from shroff.monitoring.doctor import Finding, Seen
    from shroff.monitoring.doctor_systems import Try
    from shroff.project.definitions import Definitions
    from shroff.project.settings.systems import System, Systems
    from shroff.streams.lake import Patient
    from shroff.streams.log import Log
    from shroff.streams.sink import Sink
    from shroff.streams.source import Source
    from shroff.worker.outbox import SinkState


class Doctoring(ABC):
    """What an opened project finds wrong with itself."""

    __slots__ = ()

    places: config.Places
    now_ms: Callable[[], int]

    @property
    @abstractmethod
    def systems(self) -> Systems:
        """The outside systems of the project."""

    @abstractmethod
    def check(self, *, with_log: bool = True) -> CheckReport:
        """Load everything; where there is a log, hold the types against it."""

    @property
    @abstractmethod
    def is_parted(self) -> bool:
        """Whether this project has several lanes, and this is none of them."""

    @abstractmethod
    def each_lane(self) -> Sequence[Doctoring]:
        """The lanes."""

    @abstractmethod
    def has_log(self) -> bool:
        """Whether there is a log already."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Log]:
        """The log, to read."""

    @abstractmethod
    def open_source(self, system: System) -> Source:
        """The live source of these settings."""

    @abstractmethod
    def open_registry(self, system: System | None, address: str = "") -> SchemaRegistry:
        """The schema registry of a live source."""

    @abstractmethod
    def open_sink(self, name: str, system: System) -> Sink:
        """A sink by its settings."""

    @abstractmethod
    def reach(self, system: System, limit_s: float, contract: str = "sink") -> str:
        """Have a connection to the server of a system, and let go of it; gives its host and port."""

    @abstractmethod
    def _lake_reader(self) -> AbstractContextManager[LakeReader]:
        """The lake, to read."""

    @property
    @abstractmethod
    def definitions(self) -> Definitions:
        """The project's definitions."""

    @abstractmethod
    def as_in_files(self) -> Doctoring:
        """The whole project with its files as they are now."""

    @abstractmethod
    def changes_in(self, log: Log, definitions: Definitions) -> Sequence[Change]:
        """What these definitions, and the files beside them, have that is not active."""

    @abstractmethod
    def look_at_mail(self) -> Finding:
        """What mails, calls and documents did not leave."""

    @abstractmethod
    def _objects_at(self, options: Mapping[str, Any], to: str | None = None) -> AbstractContextManager[Patient]:
        """A folder or bucket by its settings."""

    @abstractmethod
    def sink_states(self) -> list[SinkState]:
        """Where the store has each sink."""

    @abstractmethod
    def notice_states(self) -> list[SinkState]:
        """The same of notices."""

    def leaving(self) -> list[SinkState]:
        """All that leaves: sinks, notices, and the lake, as far as that can be read.

        Raises: UsageError where there is no log yet.
        """
        from shroff.streams.delivering import Trouble
        from shroff.worker.outbox import SinkState

        found = [*self.sink_states(), *self.notice_states()]
        if self.systems.lake is None:
            return found
        with self.reading() as log:
            last = log.last_seq()
        try:
            with self._lake_reader() as lake:
                through, trouble = lake.last_seq, None
        except ShroffError as error:
            through, trouble = 0, Trouble(str(error), self.now_ms())
        kind = self.systems.lake.text("layout", "parquet")
        return [*found, SinkState("lake", kind, "log", through, max(last - through, 0), trouble, 0)]

    def doctor(self, seen: Seen | None = None) -> list[Finding]:
        """Everything that was looked at, with how it stands. What cannot be had is a finding, not an error.

        Each system outside is asked once, for 5 seconds at most, and nothing is changed there; with several lanes
        once for each.

        Args:
            seen: What earlier looks of this process found: the same is not read again, and what is found goes there.
        """
        from shroff.monitoring.doctor import Seen, look

        seen = Seen() if seen is None else seen
        if self.is_parted:
            return _together([one.doctor(seen.of(one.places.state)) for one in self.each_lane()])
        from shroff.monitoring.doctor_systems import LIMIT_S, asked, look_at_variables, within
        from shroff.monitoring.drift_record import findings
        from shroff.monitoring.live_order import look_at_order

        systems, away = self.systems, list[ShroffError]()
        try:
            is_there = within(LIMIT_S, self.has_log, "the store")
        except ShroffError as error:
            is_there = False
            away.append(error)

        def has_log() -> bool:
            if away:
                raise away[0]
            return is_there

        report = self.check(with_log=is_there)
        definitions, errors = report.definitions, report.errors

        def unapplied(log: Log) -> Sequence[Change]:
            fresh = self.as_in_files()  # a service works with the files that it took up
            return fresh.changes_in(log, fresh.definitions)

        now_ms = self.now_ms()
        found = look(self.places, definitions, errors, has_log, self.reading, now_ms, systems.sinks, seen, unapplied)
        tried = asked([*self._tries(can_read=definitions is not None and not errors, has_log=is_there)])
        known = {one.subject: one.state for one in found}
        found += [
            one for one in tried if one.subject not in known or (one.state != "ok" and known[one.subject] != "wrong")
        ]
        if is_there and definitions is not None and not errors:
            found.append(self.look_at_mail())
            if known.get("log") != "wrong":
                with self.reading() as log:
                    found += look_at_order(log, definitions, systems.source)
        return [*found, *look_at_variables(systems), *findings(self.places)]

    def _tries(self, *, can_read: bool, has_log: bool) -> list[Try]:
        """What is to be asked outside; nothing of what reads a variable that is not set."""
        from shroff.monitoring.doctor import OK, Finding, look_at_lake
        from shroff.monitoring.doctor_systems import LIMIT_S, Try, is_set

        systems, tries = self.systems, list[Try]()
        source, online = systems.source, systems.online
        if source is not None and is_set(source):
            if can_read:
                tries.append(Try("source", lambda: self._look_at_source(source, has_log=has_log)))
            if source.registry:
                tries.append(Try("registry", lambda: self._look_at_registry(source)))
        if systems.lake is not None and is_set(systems.lake):
            tries.append(Try("lake", lambda: look_at_lake(self._lake_reader, systems.keep_ms)))
        if systems.snapshots.text("to") and is_set(systems.snapshots):
            tries.append(Try("copies of snapshots", self._look_at_copies))
        for name, one in systems.sinks.items():
            if is_set(one):
                tries.append(Try(f"sink {name}", self._sink_try(name, one)))
        if online is not None and is_set(online):
            tries.append(
                Try(
                    "online",
                    lambda: Finding("online", OK, f"{self.reach(online, LIMIT_S, 'features')} takes connections"),
                )
            )
        return tries

    def _look_at_source(self, system: System, *, has_log: bool) -> Finding:
        from shroff.log.forgetting import known
        from shroff.monitoring.doctor_systems import source_finding

        with closing(self.open_source(system)) as source:
            offsets = {}
            if has_log:
                with self.reading() as log:
                    offsets = known(log.offsets(source.name))
            return source_finding(system.kind, source.look(offsets))

    def _look_at_registry(self, system: System) -> Finding:
        from shroff.monitoring.doctor import OK, Finding

        with closing(self.open_registry(system)) as registry:
            registry.schema(1)
            return Finding("registry", OK, f"{registry.address} answers")

    def _look_at_copies(self) -> Finding:
        from shroff.monitoring.doctor import OK, Finding

        with self._objects_at(self.systems.snapshots.options) as objects:
            count = sum(1 for _ in objects.list())
            return Finding("copies of snapshots", OK, f"{objects.address} answers: {count:,} objects")

    def _sink_try(self, name: str, system: System) -> Callable[[], Finding]:
        from shroff.monitoring.doctor import OK, Finding
        from shroff.monitoring.doctor_systems import LIMIT_S
        from shroff.streams.sink import PreparedSink

        def ask() -> Finding:
            with closing(self.open_sink(name, system)) as sink:
                if isinstance(sink, PreparedSink):
                    sink.prepare(None)
                    return Finding(f"sink {name}", OK, "answers, and has what it needs")
            if not system.options.get("url"):
                return Finding(f"sink {name}", OK, "opens with these settings; it has no way to be asked")
            if system.text("url").startswith("sqlite:"):
                return Finding(f"sink {name}", OK, "is a file of this machine")
            return Finding(f"sink {name}", OK, f"{self.reach(system, LIMIT_S)} takes connections")

        return ask


def _together(found: Sequence[Sequence[Finding]]) -> list[Finding]:
    """What was found of several lanes: what all have alike once, and all else by its lane."""
    alike = [one for one in found[0] if all(one in other for other in found)]
    return alike + [
        replace(one, subject=f"lane {number}: {one.subject}")
        for number, findings in enumerate(found)
        for one in findings
        if one not in alike
    ]
