"""Inboxes of the process that writes the log: requests of other processes, and activation of changed files."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from shroff import config
from shroff.errors import DefinitionError, UsageError
from shroff.json_types import TextMapping
from shroff.log.active_files import ACTIVE, NOTICES, is_live, notice_files, renewed, taken_up
from shroff.log.version_switch import check_inputs_unchanged
from shroff.project.definitions import Definitions
from shroff.runtime.values import FrozenStruct
from shroff.services.adapter_factory import AdapterFactory
from shroff.services.parts import ProjectPart, ProjectParts
from shroff.services.project_files import FileVersions, as_active, checked, intake_of
from shroff.services.sinks.routes import sink_routes
from shroff.streams.log import Batch, Log, Offset

if TYPE_CHECKING:
    from shroff.log.writer import Writer
    from shroff.project.settings.systems import Systems
    from shroff.services.context import ProjectContext
    from shroff.worker.inbox_server import InboxServer


class Inboxes(ProjectPart):
    """The inbox of the process that writes the log, and the settings and notices that this process has adopted."""

    _outside: AdapterFactory

    def brief(self, writer: Writer, log: Log) -> InboxServer:
        return self._inbox(writer, log, is_running=False)

    def running(self, writer: Writer, log: Log) -> InboxServer:
        """Return the inbox of a worker or service; unlike `brief`, it keeps settings that only a restart can change."""
        return self._inbox(writer, log, is_running=True)

    def _inbox(self, writer: Writer, log: Log, *, is_running: bool) -> InboxServer:
        from shroff.worker.inbox_server import InboxServer

        loaded: list[_LoadedProject] = []  # what `load` returned last, until `took_up` adopts it

        def load(names: list[str] | None) -> Definitions:
            fresh = self._context.afresh()
            if names is not None:
                if not names:  # a retry: a changed reading of input needs a restart
                    check_inputs_unchanged(writer.definitions, fresh.definitions)
                loaded[:] = [_LoadedProject(as_active(fresh, writer.definitions.files, names), None)]
                return loaded[0].project.definitions
            definitions = checked(fresh)
            definitions.require_models()
            if is_running:
                loaded[:] = [self._renewed(fresh, log)]
            else:
                loaded[:] = [_LoadedProject(fresh, FileVersions(fresh).beside())]
            ProjectParts(fresh).notices.check()
            return definitions

        def took_up() -> list[Offset]:
            return self._took_up(loaded[0], log, is_running=is_running) if loaded else []

        return InboxServer(
            log,
            writer,
            lambda definitions: intake_of(self._context, keeps_hashes=True, definitions=definitions),
            load,
            lambda: self._log.open(read_only=True),
            self._outside.avro_decoder,
            took_up,
        )

    def begin_active(self, log: Log) -> None:
        """Adopt the current files and record them in the log, since they may have changed after this process started.

        Raises: as the log's `append`.
        """
        with suppress(UsageError, DefinitionError):  # keeps its settings; the offsets recorded below show that
            self._take_over(self._renewed(self._context.afresh(), log).project.systems)
        offsets = taken_up(log, FileVersions(self._context).beside(), is_running=False)
        if offsets:
            log.append(Batch(offsets=offsets))

    def follow_active(self, log: Log) -> str:
        """Adopt the settings and notices that the log's writer activated, if this machine's files are the same.

        Returns why that failed, else "". Cost: one query; reads the files if something else is active.
        """
        active = log.offsets.of(ACTIVE)
        if not active or active == self._context.taken.followed:
            return ""
        fresh = self._context.afresh()
        now = FileVersions(fresh).beside()
        if any(now.get(name, "") != text for name, text in active.items() if is_live(name, active, now)):
            return ""
        self._context.taken.followed = active
        try:
            self._take_over(self._renewed(fresh, log).project.systems)
        except (UsageError, DefinitionError) as error:
            return f"settings that are active now are not taken up here: {error}"
        return ""

    def _renewed(self, fresh: ProjectContext, log: Log) -> _LoadedProject:
        """Return the project with its files read again, and the settings of this process with them.

        Raises: UsageError if something cannot be opened with them, such as a variable that is not set.
        """
        now = FileVersions(fresh).beside()
        systems = renewed(self._systems, fresh.systems, log.offsets.of(ACTIVE), now)
        fresh.systems_read.put(systems)
        if systems != self._systems:
            sink_routes(fresh)
            if self._context.served_at:
                _ = systems.public_url
                AdapterFactory(fresh).open_provider()
        return _LoadedProject(fresh, now)

    def _take_over(self, systems: Systems) -> None:
        files = notice_files(config.read_files(self._paths.folder, [], (NOTICES,)))
        if (systems, files) != (self._systems, self._context.taken.files):
            self._context.systems_read.put(systems)
            self._context.taken.files = files
            self._context.taken.number += 1

    def _took_up(self, loaded: _LoadedProject, log: Log, *, is_running: bool) -> list[Offset]:
        """Adopt the loaded files; return the offsets to record in the log."""
        offsets = [] if loaded.beside is None else taken_up(log, loaded.beside, is_running=is_running)
        self._context.files_read.put(loaded.project.loaded)
        if offsets and is_running:
            self._take_over(loaded.project.systems)
        return offsets


class _LoadedProject(FrozenStruct):
    """A project with its files read again; `beside` has the settings and notices, None if they are not adopted."""

    project: ProjectContext
    beside: TextMapping | None
