"""The routes' connection to the thread that writes the log: events to decide or score, tasks, and inbox requests."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from msgspec.json import encode as to_json

from shroff.errors import ShroffError, TransientError
from shroff.runtime.logs import failure
from shroff.web.http.concurrency_limits import too_many
from shroff.worker.inbox import ADOPT, LEFT, result_of
from shroff.worker.request_bodies import RequestReader
from shroff.worker.request_loop import AWAY, PATIENCE_S
from shroff.worker.request_queue import PendingRequest, RequestQueue, TurnedAwayError
from shroff.worker.writer_tasks import LATER, ScoreQueue, WriterTasks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import msgspec

    from shroff.events.intake import Submission
    from shroff.log.writer import Answer, Writer
    from shroff.people.audit import Act
    from shroff.streams.log import Log
    from shroff.web.service import Service

LOOK_S = 0.005  # between checks for a reply; grows with each check
LOOK_S_MAX = 0.1
COMPILING_LOOKS = 600  # checks in a minute, which a fresh clone needs to compile its code

One = TypeVar("One")


class WriterClient:
    """Requests of routes to the log's thread. For the event loop.

    `reader` parses posted events; None until this process has led the log. `loop` is the service's event loop.
    """

    def __init__(self, service: Service) -> None:
        limits = service.options.limits
        self._service = service
        self._project = service.project
        self.queue = RequestQueue(self._answered, waiting_max=limits.waiting_max, age_s_max=limits.age_s_max)
        self.tasks = WriterTasks()
        told = self._answered, self.queue.wake, service.tell, self._project.log.reading
        self.scores = ScoreQueue(*told, waiting_max=limits.scores_waiting_max, age_s_max=limits.age_s_max)
        self.reader: RequestReader | None = None
        self._label_reader: RequestReader | None = None
        self._definitions: object = None  # whose experiments are known
        self.loop: asyncio.AbstractEventLoop | None = None
        self._pending: dict[PendingRequest, None] = {}  # whose callers wait, oldest first
        self._timer: asyncio.TimerHandle | None = None

    def begun(self, reader: RequestReader) -> None:
        """Accept events to score, parsed by this reader. Called on the log's thread when it begins to lead."""
        self.scores.line.open(reader)

    def between(self, writer: Writer, log: Log) -> None:
        """Run waiting tasks and scores between two batches, on the log's thread."""
        if writer.definitions is not self._definitions:  # an inbox request may have changed them since the last batch
            with suppress(ShroffError):  # the next batch reads them; until then answers name no arms
                self._service.arms.read(log)
                self._definitions = writer.definitions
        self.tasks.attend(writer, log)
        self.scores.attend(writer, log)

    def decided(self, submissions: Sequence[Submission], reader: RequestReader) -> Awaitable[list[Answer]]:
        """Decide these submissions and return their answers once they are durable, even if the caller has gone.

        Raises: TurnedAwayError if nothing was accepted; TransientError if the result is not known in time.
        """
        return self._answers_to(submissions, reader, self.queue, AWAY)

    async def foreseen(self, submissions: Sequence[Submission], reader: RequestReader) -> list[Answer]:
        """Return the answer that each submission would get if it alone came now. Nothing is recorded.

        Raises: ProblemError with 429 if too many events wait; TurnedAwayError if this service does not lead the log;
            TransientError if the answer takes too long.
        """
        if not self._service.is_ready:
            raise TurnedAwayError(self.queue.why_closed, is_overload=False)
        if not submissions:
            return []
        for _ in range(COMPILING_LOOKS):
            if self.scores.is_ready():
                break
            await asyncio.sleep(LOOK_S_MAX)
        try:
            return await self._answers_to(submissions, reader, self.scores, LATER)
        except TurnedAwayError as error:
            if error.is_overload:
                raise too_many("too many events wait to be scored; none of this request was scored") from None
            raise

    async def _answers_to(
        self, submissions: Sequence[Submission], reader: RequestReader, queue: RequestQueue | ScoreQueue, late: str
    ) -> list[Answer]:
        """Put a request into a queue and wait for its answers. Raises: TransientError(late) after `PATIENCE_S`."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not waiter.done():
                waiter.set_result(None)

        request = PendingRequest(submissions, reader, wake)
        self.put(request, queue)
        await waiter
        return self.answers_of(request, late)

    def put(self, request: PendingRequest, queue: RequestQueue | ScoreQueue) -> None:
        """Put a request into a queue. Its caller is told once: when it is answered, or after `PATIENCE_S`."""
        queue.put(request)
        self._pending[request] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PATIENCE_S, self._end_late)

    def _end_late(self) -> None:
        self._timer = None
        for request in list(self._pending):
            wait_s = request.arrived_s + PATIENCE_S - time.monotonic()
            if wait_s > 0:
                self._timer = asyncio.get_running_loop().call_later(wait_s, self._end_late)
                return
            self._tell(request)

    def _tell(self, request: PendingRequest) -> None:
        if request not in self._pending:  # its caller was told that it takes too long
            return
        del self._pending[request]
        try:
            request.told()
        except Exception as error:  # noqa: BLE001 - one answer must not keep the others waiting
            self._service.tell(failure("an answer failed", error))

    def answers_of(self, request: PendingRequest, late: str = AWAY) -> list[Answer]:
        """Return the answers of a request, with their arms. Raises: TransientError if some are missing."""
        if len(request.answers) < len(request.submissions):
            raise TransientError(request.failure or late)
        return self._service.arms.answers(request.answers)

    async def run(self, task: Callable[[Writer, Log], One]) -> One:
        """Run a task on the log's thread between two batches, and return its result.

        Raises: TurnedAwayError if this service does not lead the log; TransientError if it takes too long.
        """
        if not self._service.is_ready:
            raise TurnedAwayError(self.queue.why_closed, is_overload=False)
        done = self.tasks.put(task)
        self.queue.wake()
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await asyncio.wrap_future(done)
        except TimeoutError:
            raise TransientError(LATER) from None

    def reader_now(self) -> RequestReader:
        """Return the reader of posted events. Raises: TurnedAwayError if this service has not led the log yet."""
        if self.reader is None:
            raise TurnedAwayError(self.queue.why_closed, is_overload=False)
        return self.reader

    def label_reader(self) -> RequestReader:
        """Return the reader of labels. It takes values in the form of hashes as hashes, as decisions show them."""
        definitions = self._project.definitions
        if self._label_reader is None or self._label_reader.definitions is not definitions:
            intake = self._project.taking.intake(keeps_hashes=True)
            self._label_reader = RequestReader(definitions, intake, self._project.context.now_ms)
        return self._label_reader

    async def ask(self, act: Act | None, kind: str, bodies: Sequence[bytes]) -> list[msgspec.Raw]:
        """Put requests into the inbox of the active writer, wherever it runs, and return the results.

        Args:
            act: Recorded in the audit log in the same transaction, unless None.

        Raises: UsageError if a request was refused; TransientError if it takes too long: it is then done later.
        """
        numbers = await self._service.in_thread(self._put, act, kind, bodies)
        self.queue.wake()
        end_s = time.monotonic() + PATIENCE_S
        wait_s = LOOK_S
        while True:
            replies = await self._service.in_thread(self._replies, numbers)
            if replies is not None:
                return replies
            if time.monotonic() > end_s:
                raise TransientError(f"the active writer has not run this request yet. {LEFT}")
            await asyncio.sleep(wait_s)  # sleeping in a thread would keep it from others
            wait_s = min(wait_s * 1.5, LOOK_S_MAX)

    async def adopted(self, files: list[str] | None) -> str:
        """Activate written files (None: all) from the next event on. Return why that is delayed; empty if done.

        Nothing is raised: after a failure the files become active later.
        """
        try:
            await self.ask(None, ADOPT, [to_json(files)])
        except ShroffError as error:
            return str(error)
        return ""

    def _put(self, act: Act | None, kind: str, bodies: Sequence[bytes]) -> list[int]:
        now_ms = self._project.context.now_ms()
        with self._service.desk.store.change() as change:
            if act is not None:
                change.audit(act, now_ms)
            return [change.ask(kind, body, now_ms) for body in bodies]

    def _replies(self, numbers: Sequence[int]) -> list[msgspec.Raw] | None:
        with self._project.log.reading() as log:
            replies = [log.inbox.reply_to(number) for number in numbers]
        present = [reply for reply in replies if reply is not None]
        return None if len(present) < len(replies) else [result_of(reply) for reply in present]

    def _answered(self, requests: list[PendingRequest]) -> None:
        """Wake all requests of a batch with one call to the event loop. On the log's thread."""
        assert self.loop is not None

        def wake() -> None:
            for request in requests:
                self._tell(request)

        try:
            self.loop.call_soon_threadsafe(wake)
        except RuntimeError:  # the event loop has ended
            return
