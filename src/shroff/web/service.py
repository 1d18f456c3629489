"""The running service of one project: the thread that leads the log, the thread pools, and the state of all routes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from shroff.cases.case_queries import QueueCount
from shroff.errors import ShroffError
from shroff.log.experiment_arms import ExperimentArms
from shroff.log.flags import VerdictsInForce
from shroff.people.directory import sync_roles
from shroff.runtime.progress import unheard
from shroff.runtime.values import FrozenStruct, replace
from shroff.services.backtest.draft_backtests import DraftBacktests
from shroff.services.sources.pushed import ServedPushes
from shroff.web.api.health import HealthBoard
from shroff.web.api.live import Board
from shroff.web.api.operations import OperationThreads
from shroff.web.api.operator_alerts import OperatorAlerts
from shroff.web.api.rules.backtests import Backtests
from shroff.web.http.address import ActiveSettings, Address
from shroff.web.http.authentication import Gate, Pace
from shroff.web.http.concurrency_limits import ConcurrencyLimits, Turns, too_many
from shroff.web.http.streaming import Streams
from shroff.web.metrics import Requests, of_service, tally_of
from shroff.web.work.helper_processes import CaseKeeper
from shroff.web.work.operation_processes import CHECK_S_MAX
from shroff.web.work.reasons import FirstReasons
from shroff.web.work.store_changes import StoreChanges
from shroff.web.work.writer_client import WriterClient
from shroff.worker.request_bodies import RequestReader
from shroff.worker.serving.counts import LEADING, RESTORING, WorkerCounts
from shroff.worker.writer_tasks import SCORES_WAITING_MAX

if TYPE_CHECKING:
    from shroff.log.writer import Writer
    from shroff.operations.declaration import OperationRequest, Outcome
    from shroff.people.access import Who
    from shroff.people.store import Desk
    from shroff.services.project import Project
    from shroff.web.http.messages import Request
    from shroff.web.http.routes import Route
    from shroff.web.organizations import Organizations
    from shroff.worker.request_loop import RequestLeader

THREADS = 16  # they mostly wait for disks, databases and mail servers
THREADS_OF_SENDER_MAX = 8
READ_THREADS = 2  # more would be no faster, as each holds Python's lock
READS_OF_SENDER_MAX = 32  # long bodies of one sender that are read or wait
IDENTITY_THREADS = 4
CHECK_THREADS = 2
CHECKS_OF_SENDER_MAX = 4  # running or waiting
SIGN_IN_THREADS = 2  # passwords that are hashed at once
SIGN_IN_S_MAX = 15.0
SIGN_INS_OF_SENDER_MAX = 20  # for one address, which a whole office may share
LOOK_S = 0.005  # between checks whether the service has begun
UNKNOWN_RATE = 100.0  # requests a second of one network without a key or session; further ones wait in turn
UNKNOWN_S_MAX = 60.0  # longest such wait
FETCH_RATE = 1.0  # fetches a second of verification keys, caused by one network
STRANGERS_RATE = 20.0  # pages a second of one address without a key; bursts of two seconds are allowed
RATE = 50_000.0  # events a second of one key

One = TypeVar("One")
Check: TypeAlias = "Callable[[Any], Any]"


class Limits(FrozenStruct):
    """Limits of one sender.

    Args:
        rate: Events a second of one key.
        waiting_max: Events that may wait to be decided; further ones are turned away.
        age_s_max: Seconds that the oldest waiting event may have waited before further ones are turned away.
        scores_waiting_max: Events that may wait to be scored.
    """

    rate: float = RATE
    waiting_max: int = 20_000
    age_s_max: float = 0.5
    scores_waiting_max: int = SCORES_WAITING_MAX


class ServiceOptions(FrozenStruct):
    """How a service runs.

    Args:
        stands_by: Wait while another process leads the log.
        reads_source: Read the project's live source between requests.
        watches: Apply changes of the project's files automatically.
        check: Runs checks and counts of drafts; None runs them in this process.
        base: Path prefix of an organization; empty for the home project.
        public: Public address, if shroff.yaml names none.
        projects: Returns the folders of the further organizations by name.
        organizations: The application that serves them.
    """

    limits: Limits = Limits()
    stands_by: bool = False
    reads_source: bool = True
    watches: bool = False
    check: Check | None = None
    base: str = ""
    public: str = ""
    projects: Callable[[], Mapping[str, Path]] | None = None
    organizations: Organizations | None = None


class Service:
    """The service of one project, as its routes use it. Call `begin` in the event loop, and `end` after it.

    Args:
        gate: Identifies callers.
        desk: Records the acts of people.
        threads: Runs functions that wait for the log, a disk or a network.
        routes: Routes for the OpenAPI document.
        tell: Called with messages for the service's log.
    """

    def __init__(
        self,
        project: Project,
        gate: Gate,
        desk: Desk,
        threads: Executor,
        options: ServiceOptions | None = None,
        *,
        routes: Sequence[Route] = (),
        tell: Callable[[str], None] = unheard,
    ) -> None:
        self.options = options = options or ServiceOptions()
        self.of_draft = options.check or project.run
        project.context.of_draft = self.of_draft
        self.project = project
        self.gate = gate
        self.desk = desk
        self.cases = project.cases.desk(desk)
        self.notices = project.notice_files.store_beside(desk.store)
        systems = project.context.systems
        provider = project.outside.open_provider()
        self.by_settings = ActiveSettings.of(systems, provider, options.public, options.base)
        self._threads = ConcurrencyLimits(threads, THREADS_OF_SENDER_MAX)
        self._readers = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="body")
        self._long = ConcurrencyLimits(self._readers, 1)
        self.limits = options.limits
        self._askers = ThreadPoolExecutor(IDENTITY_THREADS, thread_name_prefix="who")
        self.operations = OperationThreads(self)
        self._identities = ConcurrencyLimits(self._askers, 1)
        self.checks = Turns("a check of rules", CHECK_THREADS, CHECK_S_MAX, CHECKS_OF_SENDER_MAX)
        self.signing = Turns("signing in", SIGN_IN_THREADS, SIGN_IN_S_MAX, SIGN_INS_OF_SENDER_MAX)
        self.tell = tell
        self.routes = routes
        self.confirming = project.notices.confirming()
        self.strangers = Pace(STRANGERS_RATE)
        self.unknown = Pace(UNKNOWN_RATE, waits_s_max=UNKNOWN_S_MAX)
        self.fetches = Pace(FETCH_RATE)
        self.pace = Pace(self.limits.rate)
        self.requests = Requests()
        self.writer = WriterClient(self)
        if options.stands_by:
            self.writer.queue.close("this service is on standby; send the request to the active one")
        self.work = WorkerCounts()
        self.measured = of_service(self)
        self.streams = Streams()
        self.verdicts = VerdictsInForce()
        self.operator_alerts = OperatorAlerts()
        self.health = HealthBoard(project)
        self.reasons = FirstReasons(project)
        self.arms = ExperimentArms()
        self.board = Board(project, lambda: self.work, self.cases)
        self.queue_count = QueueCount(self.cases)
        self.is_ending = False
        self.jobs = project.jobs.desk(desk.store)
        self.backtests = Backtests(self.jobs, project.part(DraftBacktests))
        self.changes = StoreChanges(project, desk.store, self.in_thread)
        self.pushed = ServedPushes(project.context)
        self._stop = Event()
        self._thread: Thread | None = None
        self._keeper = CaseKeeper(project, self.cases, self.writer.queue.wake, tell)
        self._error: Exception | None = None
        self._held = ExitStack()

    # ---- active settings

    @property
    def address(self) -> Address:
        return self.settings.address

    def is_allowed(self, request: Request) -> bool:
        """Return whether the request's address is in an allowed network; always true if none is configured."""
        networks = self.settings.networks
        return networks is None or networks.has(request.address)

    @property
    def settings(self) -> ActiveSettings:
        """Settings of the active version: address, proxies, networks and identity provider."""
        systems = self.project.context.systems
        current = self.by_settings
        if systems is not current.systems:
            try:
                is_same = (systems.sign_in, systems.http) == (current.systems.sign_in, current.systems.http)
                provider = current.provider if is_same else self.project.outside.open_provider()
                self.by_settings = ActiveSettings.of(systems, provider, self.options.public, self.options.base)
            except ShroffError as error:  # such as a missing file of certificates
                self.tell(f"active settings of the service are not applied: {error}")
                self.by_settings = replace(current, systems=systems)
            if self.work.state == LEADING:  # on standby, the leading process sets the roles
                self._askers.submit(sync_roles, self.desk, self.tell)
        return self.by_settings

    # ---- begin and end

    def begin(self, ended: Callable[[], None]) -> None:
        """Start the thread that leads the log or stands by. Call in the event loop's thread.

        Args:
            ended: Called in the event loop when that thread has ended.

        Raises: UsageError for a sink with invalid settings.
        """
        self.writer.loop = loop = asyncio.get_running_loop()
        self.pushed.open()
        answerer = self._held.enter_context(
            self.project.live.answerer(
                self.writer.queue,
                self._begun,
                self.writer.between,
                scores=self.writer.scores,
                stands_by=self.options.stands_by,
                stop=self._stop,
                tell=self.tell,
                reads_source=self.options.reads_source,
            )
        )
        self.work = answerer.work
        self.work.counts.tally = tally_of(self.project)
        self.work.counts.told = self._keeper.recent.take

        def lead() -> None:
            try:
                self._lead(answerer)
            finally:
                loop.call_soon_threadsafe(ended)

        self._thread = Thread(target=lead, name="decide", daemon=True)
        self._thread.start()
        self._keeper.begin()

    async def has_begun(self) -> bool:
        """Wait until the work has begun and return True; return False if the thread ends first, as on a locked log."""
        while self._thread is not None and self._thread.is_alive() and not self.is_ending:
            if self.work.has_begun:
                return True
            await asyncio.sleep(LOOK_S)
        return False

    def _lead(self, answerer: RequestLeader) -> None:
        try:
            answerer.run()
        except Exception as error:  # noqa: BLE001 - `end` raises it
            self._error = error
        self.writer.queue.end("the service is stopping" if self._error is None else "the service has failed")

    def hand_over(self) -> None:
        """Decide the queued submissions, then release the log to a standby; turn later ones away. For any thread."""
        self._stop.set()
        self.writer.queue.wake()

    def end(self) -> None:
        """Decide the queued events and release everything. Raises: the error that ended the thread of the log."""
        self.hand_over()
        if self._thread is not None:
            self._thread.join()
        self._keeper.end()
        self.pushed.save()
        self._held.close()
        self.confirming.close()
        for threads in (self._askers, self._readers, self.operations):
            threads.shutdown(wait=False, cancel_futures=True)
        self.reasons.end()
        self.checks.end()
        self.signing.end()
        if self._error is not None:
            raise self._error

    def _begun(self, writer: Writer) -> RequestReader:
        """Return the reader of requests, a new one if events or settings changed. On the log's thread."""
        sync_roles(self.desk, self.tell)
        definitions = writer.definitions
        reader = self.writer.reader
        if reader is None or (reader.definitions.events, reader.definitions.settings) != (
            definitions.events,
            definitions.settings,
        ):
            intake = self.project.taking.intake(keeps_hashes=False)
            reader = self.writer.reader = RequestReader(definitions, intake, self.project.context.now_ms, self.tell)
        self.writer.begun(reader)
        return reader

    @property
    def state(self) -> str:
        return RESTORING if self._error is not None else self.work.state

    @property
    def is_ready(self) -> bool:
        is_leading = self.work.state == LEADING and self.writer.queue.is_open
        return is_leading and not self.is_ending and self._error is None

    # ---- for routes

    async def run(self, request: Request, asked: OperationRequest[Outcome]) -> Outcome:
        return await self.operations.run(request.who, asked, self.address.of(request))

    async def known(self, look: Callable[..., One], *arguments: object) -> One:
        """Identify a caller on threads reserved for that."""
        return await self._identities.run(look, *arguments)

    async def checked(self, who: Who, function: Callable[..., One], *arguments: object) -> One:
        """Run a function that checks drafts or runs their tests, one at a time for each caller."""
        return await self.checks.run(who.id, self._done, function, *arguments)

    def read_arms(self, documents: Sequence[bytes]) -> None:
        """Learn the experiments of these decisions. May wait for the log."""
        with self.project.log.reading() as log:
            self.arms.read(log, documents)

    async def in_thread(self, function: Callable[..., One], *arguments: object) -> One:
        """Run a function that waits for the log or computes for long."""
        return await self._threads.run(self._done, function, *arguments)

    async def read(self, function: Callable[..., One], *arguments: object) -> One:
        """Run a function that reads a long body. Raises: ProblemError with 429 if its sender has too many waiting."""
        if self._long.count() >= READS_OF_SENDER_MAX:
            raise too_many(f"{READS_OF_SENDER_MAX} long requests from you are still being read")
        return await self._long.run(function, *arguments)

    async def written(self, function: Callable[..., One], *arguments: object) -> One:
        return await self._long.run(function, *arguments)

    def _done(self, function: Callable[..., One], *arguments: object) -> One:
        try:
            return function(*arguments)
        finally:
            # The function may have changed files of the project. Read them here rather than later in the event loop.
            with suppress(ShroffError):
                _ = self.project.context.loaded
