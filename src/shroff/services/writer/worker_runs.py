"""Live input of an opened project: its sources, and the workers that read them."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack
from urllib.parse import urlsplit

from shroff.errors import StorageError, TransientError, UsageError, nearest
from shroff.events.intake import READ
from shroff.monitoring.live_order import remarks
from shroff.project.settings.installed import each_settings, kind_at
from shroff.project.settings.system import System
from shroff.project.settings.systems import source_at
from shroff.runtime.progress import Tell, unheard
from shroff.runtime.values import FrozenStruct, replace
from shroff.services.adapter_factory import AdapterFactory, open_sources
from shroff.services.lake.project_lake import Lakes
from shroff.services.parts import ProjectPart, ProjectParts
from shroff.services.project_files import checked, intake_of
from shroff.services.sinks.routes import sink_routes
from shroff.services.sources.position_operations import notes_of
from shroff.streams.snapshots import KEPT, Snapshots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from threading import Event

    from shroff.events.intake import Intake
    from shroff.log.writer import Writer
    from shroff.project.definitions import Definitions
    from shroff.services.context import ProjectContext
    from shroff.streams.log import Log
    from shroff.streams.snapshot_copies import SnapshotCopies
    from shroff.streams.source import Source
    from shroff.worker.inbox_server import InboxServer
    from shroff.worker.request_loop import RequestLeader
    from shroff.worker.request_queue import RequestQueue
    from shroff.worker.serving.background_tasks import BackgroundTask
    from shroff.worker.serving.counts import WorkerCounts, WorkerOptions
    from shroff.worker.serving.delivery import Tended
    from shroff.worker.serving.live_feed import SourceFeed
    from shroff.worker.serving.worker import Leader, Worker
    from shroff.worker.writer_tasks import ScoreQueue

NO_SOURCE = (
    "this project has no live source. Name one with 'shroff run --from kafka://localhost:9092/payments', or write it "
    "into shroff.yaml as 'source:'; for a file there is 'shroff run --from payments.csv --as payment'."
)


class EndOptions(TypedDict, total=False):
    """Keyword arguments of `WorkerRuns.worker` that end it.

    Args:
        until_idle_s: End after this many seconds without a message.
        limit: End after this many messages.
        stop: Ends the worker, from any thread; polled messages are committed first.
    """

    until_idle_s: float | None
    limit: int | None
    stop: Event | None


class WorkerRuns(ProjectPart):
    _lake: Lakes
    _outside: AdapterFactory

    @contextmanager
    def worker(
        self,
        sources: Sequence[str | Path] = (),
        *,
        as_type: str | None = None,
        format: str | None = None,
        stands_by: bool = False,
        tell: Tell = unheard,
        **ends: Unpack[EndOptions],
    ) -> Iterator[Worker]:
        """Get a worker that reads live input into the log: `run` does the work, `work` reports progress.

        Args:
            sources: An address of a live source, or files, which are read to their end; by default the source of
                shroff.yaml.
            as_type: The event type of every line of files, or of messages at an address; without it lines name theirs.
            stands_by: Run as standby: follow the log while another process writes it, and take over when that one is
                gone.
            tell: Called with messages for people, such as what the worker waits for.

        Raises: UsageError if there is no such source.
        """
        from shroff.worker.serving.background_tasks import BackgroundTasks
        from shroff.worker.serving.worker import Worker

        definitions = checked(self._context)  # check first: a project with errors contacts no server
        files, system = self._chosen(sources, as_type, format)
        several = self._systems.named_read if system is not None and not sources else {}
        _tell_remarks(definitions, several.values() or [system], tell)
        is_live = system is not None
        idle_s = ends.get("until_idle_s")
        if system is not None:
            opened, keeps_late = self._opened(system, several, tell)
        else:
            opened, keeps_late = self._outside.open_files(files, as_type, format, tell), False
            if idle_s is None:
                idle_s = 0.0
        with closing(opened) as source:
            snapshots = self._prepared(tell)
            options = replace(
                self._options(idle_s, ends.get("limit")),
                keeps_late=keeps_late,
                source_name=next((name for name, named in self._systems.read.items() if named.system is system), ""),
                stands_by=stands_by,
            )
            worker = Worker(
                _Workplace(self._context, snapshots), source, options, is_live=is_live, stop=ends.get("stop"), tell=tell
            )
            with BackgroundTasks(self._chores(snapshots, worker), tell):
                yield worker

    @contextmanager
    def answerer(
        self,
        posts: RequestQueue,
        begun: Callable[[Writer], object],
        between: Callable[[Writer, Log], None],
        *,
        scores: ScoreQueue | None = None,
        stands_by: bool = False,
        stop: Event | None = None,
        tell: Tell = unheard,
        reads_source: bool = True,
    ) -> Iterator[RequestLeader]:
        """Get the loop that decides posted events; `run` starts it, with all background tasks of a worker.

        A live source of the project is read between posts, because its log has no other writer.

        Args: as `worker.request_loop.RequestLeader` and its `ServiceHooks`.
            reads_source: Whether to read the live source.

        Raises: UsageError for wrong settings of a source or sink.
        """
        from shroff.worker.request_loop import RequestLeader, ServiceHooks
        from shroff.worker.serving.background_tasks import BackgroundTasks

        definitions = checked(self._context)
        snapshots = self._prepared(tell)
        place, options = _Workplace(self._context, snapshots), replace(self._options(None, None), stands_by=stands_by)
        with ExitStack() as held:
            feed = self._feed(place, held, tell) if reads_source else None
            _tell_remarks(definitions, [system for _, system in self._systems.all_read] if feed else [], tell)
            hooks = ServiceHooks(begun, between, scores)
            answerer = RequestLeader(place, posts, hooks, options, stop=stop, tell=tell, feed=feed)
            held.enter_context(BackgroundTasks(self._chores(snapshots, answerer), tell))
            yield answerer

    def _feed(self, workplace: _Workplace, stack: ExitStack, tell: Tell) -> SourceFeed | None:
        """Open the live sources of shroff.yaml until `stack` closes; None if there are none."""
        from shroff.worker.serving.live_feed import SourceFeed
        from shroff.worker.serving.message_decoder import MessageDecoder

        system = self._systems.source
        if system is None:
            return None

        def opened(writer: Writer) -> MessageDecoder:
            return MessageDecoder(workplace.intake(), writer.definitions, workplace.now_ms, is_live=True, tell=tell)

        source, keeps_late = self._opened(system, self._systems.named_read, tell)
        return SourceFeed(stack.enter_context(closing(source)), opened, keeps_late)

    def _opened(
        self, system: System, several: Mapping[str, System], tell: Tell
    ) -> tuple[Source, bool | frozenset[str]]:
        """Open one live source, or several read together; also return whether, or for which sources, late events are
        kept.
        """
        if not several:
            return self._outside.open_source(system), system.text("late") == "keep"
        late = frozenset(f"{READ}/{name}" for name, system in several.items() if system.text("late") == "keep")
        return open_sources(self._context, several, tell, notes_of(self._context)), late

    def run(
        self,
        sources: Sequence[str | Path] = (),
        *,
        as_type: str | None = None,
        until_idle_s: float | None = None,
        limit: int | None = None,
    ) -> WorkerCounts:
        """Read live input into the log, as `worker`, until it ends; return the counts."""
        with self.worker(sources, as_type=as_type, until_idle_s=until_idle_s, limit=limit) as worker:
            return worker.run()

    def _chosen(
        self, sources: Sequence[str | Path], as_type: str | None, format: str | None
    ) -> tuple[list[Path], System | None]:
        live = [source for source in sources if isinstance(source, str) and "://" in source]
        if sources and not live:
            return [Path(source) for source in sources], None
        if not sources and self._systems.source is None:
            named = (f" 'shroff sources sync {pulled}' reads {pulled}." for pulled in self._systems.pulled)
            raise UsageError("".join((NO_SOURCE, *named)))
        if len(sources) > 1:
            raise UsageError("--from takes one live source, or files. Name several under 'sources:' in shroff.yaml.")
        if format is not None:
            raise UsageError(
                "--format is for files; an address has it as a setting after a question mark: format=avro."
            )
        if not live:
            if as_type is not None:
                raise UsageError(
                    "--as is for files and addresses; 'source:' in shroff.yaml names its event types itself."
                )
            return [], self._systems.source
        types = (*self._definitions.events.types, "label")
        if as_type is not None and as_type not in types:
            raise UsageError(f"{as_type!r} is not an event type. {nearest(as_type, types) or ', '.join(types)}")
        return [], _at_address(live[0], as_type)

    def _options(self, until_idle_s: float | None, limit: int | None) -> WorkerOptions:
        from shroff.worker.serving.counts import WorkerOptions

        saved = self._systems.snapshots
        return WorkerOptions(
            until_idle_s=until_idle_s,
            limit=limit,
            snapshot_s=saved.duration_ms("every", "10m") / 1_000,
            snapshot_places=int(saved.text("events", "1000000")),
        )

    def _chores(self, snapshots: Snapshots, leader: Leader) -> list[BackgroundTask]:
        from shroff.worker.serving.background_tasks import PRUNE_EVERY_S, PRUNE_FIRST_S, BesideCommand, Copying
        from shroff.worker.serving.counts import LEADING

        def leads() -> bool:
            return leader.work.state == LEADING

        shroff: tuple[str, ...] = (sys.executable, "-P", "-m", "shroff", "-C", str(self._paths.folder))

        tasks: list[BackgroundTask] = []
        if self._systems.snapshots.text("to"):
            tasks.append(Copying(snapshots, self._copies))
        lake = None if self._paths.is_elsewhere else self._systems.lake
        if lake is not None:
            every_s, words = lake.duration_ms("every", "1m") / 1_000, "the lake is behind the log"
            command = (*shroff, "lake", "write", "--json")
            tasks.append(
                BesideCommand(command, leads, every_s=every_s, first_s=every_s, otherwise=words, at_the_end=True)
            )
        if self._systems.keep_ms is not None and not self._paths.is_elsewhere:
            prune, words = (*shroff, "prune", "--json"), "old events stay in the store"
            tasks.append(BesideCommand(prune, leads, every_s=PRUNE_EVERY_S, first_s=PRUNE_FIRST_S, otherwise=words))
        return tasks

    def _copies(self, stack: ExitStack) -> SnapshotCopies | None:
        """Open the store of snapshot copies until `stack` closes; None if the log has no record yet."""
        from shroff.log.state.snapshots import mark
        from shroff.streams.snapshot_copies import SnapshotCopies

        if not self._log.exists():
            return None
        with closing(self._log.open(read_only=True)) as log:
            if not log.last_seq():
                return None
            first = mark(log, 1)[:16]
        options = self._systems.snapshots.options
        objects = stack.enter_context(self._lake.objects_at(options))
        return SnapshotCopies(objects, first, kept=int(self._systems.snapshots.text("kept", str(KEPT))))

    def _prepared(self, tell: Tell) -> Snapshots:
        """Check sinks before input is read; return the snapshots, with the newest copy if it is newer than all."""
        sink_routes(self._context)
        self._outside.prepare_state()
        snapshots = Snapshots(self._paths.snapshots, kept=int(self._systems.snapshots.text("kept", str(KEPT))))
        try:
            with ExitStack() as stack:
                if self._systems.snapshots.text("to") and (copies := self._copies(stack)) is not None:
                    with closing(self._log.open(read_only=True)) as log:
                        copies.fetch(snapshots, log.last_seq(), tell)
        except (TransientError, StorageError) as error:
            tell(f"no copy of a snapshot was fetched, so more of the log is read: {error}")
        return snapshots


class _Workplace(FrozenStruct):
    """Project as a worker needs it (see `worker.serving.worker.Workplace`)."""

    project: ProjectContext
    snapshots: Snapshots

    def open_log(self, *, read_only: bool) -> Log:
        return self.project.log.open(read_only=read_only)

    def definitions(self) -> Definitions:
        self.project.reload()
        return checked(self.project)

    def intake(self) -> Intake:
        return intake_of(self.project, keeps_hashes=False)

    def inbox(self, writer: Writer, log: Log) -> InboxServer:
        ProjectParts(self.project).inboxes.begin_active(log)
        return ProjectParts(self.project).inboxes.running(writer, log)

    def follow(self, log: Log) -> str:
        return ProjectParts(self.project).inboxes.follow_active(log)

    def delivering(self, log: Log) -> AbstractContextManager[Tended]:
        return ProjectParts(self.project).sinks.delivering(log)

    def now_ms(self) -> int:
        return self.project.now_ms()


def _tell_remarks(definitions: Definitions, systems: Iterable[System | None], tell: Tell) -> None:
    for words in dict.fromkeys(chain.from_iterable(remarks(definitions, system) for system in systems)):
        tell(words)


def _at_address(url: str, as_type: str | None) -> System:
    """Return the live source at an address, with an optional event type. Raises: UsageError."""
    if not kind_at("source", urlsplit(url).scheme):
        forms = " or ".join(settings.form for _, settings in each_settings("source") if settings.form)
        raise UsageError(f"--from: the address of a live source is {forms}.")
    return source_at(url, "--from", as_type)
