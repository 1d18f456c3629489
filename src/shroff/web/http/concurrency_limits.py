"""Thread pools with fair shares, so that a sender with many requests delays only its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import Context, ContextVar
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from msgspec import Struct, field

from shroff.web.http.problems import RETRY_AFTER, ProblemError

OF_ALL_MAX = 64

One = TypeVar("One")


SENDER: Final[ContextVar[str]] = ContextVar("sender", default="")  # caller or network; empty in background tasks


class ConcurrencyLimits:
    """A thread pool with a limit per sender. For one event loop.

    Args:
        of_sender_max: Threads that one `SENDER` may use at a time; background tasks have no limit.
    """

    def __init__(self, threads: Executor, of_sender_max: int) -> None:
        self._threads = threads
        self._of_sender_max = of_sender_max
        self._shares: WeakValueDictionary[str, _Share] = WeakValueDictionary()

    async def run(self, function: Callable[..., One], *arguments: object) -> One:
        """Run a function on one of the threads, within the share of `SENDER`."""
        loop = asyncio.get_running_loop()
        sender = SENDER.get()
        if not sender:
            return await loop.run_in_executor(self._threads, function, *arguments)
        share = self._shares.get(sender)
        if share is None:
            share = _Share(self._of_sender_max)
            self._shares[sender] = share
        share.count += 1
        try:
            async with share:
                return await loop.run_in_executor(self._threads, function, *arguments)
        finally:
            share.count -= 1

    def count(self) -> int:
        """Return the number of requests of `SENDER` that have a thread or wait for one."""
        share = self._shares.get(SENDER.get())
        return 0 if share is None else share.count


class _Share(asyncio.Semaphore):
    """The threads of one sender, and the count of its requests that have one or wait."""

    count = 0


class _Turn(Struct):
    count: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Turns:
    """A thread pool that runs one request per sender at a time. For one event loop.

    Args:
        what: The work, for error messages: `a check of a draft`.
        threads: Senders whose requests run at once.
        seconds_max: Time limit of a caller, including its wait. Work that is running then continues, and blocks
            further work of its sender until it ends.
        of_sender_max: Requests of one sender that run or wait.
    """

    def __init__(self, what: str, threads: int, seconds_max: float, of_sender_max: int) -> None:
        self._what = what
        self._seconds_max = seconds_max
        self._of_sender_max = of_sender_max
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="turn")
        self._turns: dict[str, _Turn] = {}

    async def run(self, sender: str, function: Callable[..., One], *arguments: object, wait_s: float = 0.0) -> One:
        """Run a function in its sender's turn, and return its result.

        Args:
            wait_s: Added to the time limit, for a function that waits for something else.

        Raises: ProblemError with 429 if the sender has too many requests, with 503 if all have, or after the limit.
        """
        turn = self._turns.setdefault(sender, _Turn())
        if turn.count >= self._of_sender_max:
            detail = f"{self._what} runs one at a time for each sender, and {turn.count} of yours are not done yet"
            raise too_many(detail)
        if sum(other.count for other in self._turns.values()) >= OF_ALL_MAX:
            detail = f"too many requests for {self._what} now; try again"
            raise ProblemError(503, "overload", "Too many requests at once", detail, RETRY_AFTER)
        turn.count += 1
        task = asyncio.ensure_future(self._run(sender, turn, function, arguments))
        task.add_done_callback(_drop_error)
        try:
            async with asyncio.timeout(self._seconds_max + wait_s):
                return await asyncio.shield(task)
        except TimeoutError:
            detail = f"{self._what} took more than {self._seconds_max:g} s; try again with less"
            raise ProblemError(503, "too-slow", "This takes too long", detail, RETRY_AFTER) from None

    async def _run(self, sender: str, turn: _Turn, function: Callable[..., One], arguments: tuple[object, ...]) -> One:
        try:
            async with turn.lock:
                return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
        finally:
            turn.count -= 1
            if not turn.count:
                del self._turns[sender]

    def end(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def beside(work: Coroutine[Any, Any, One]) -> asyncio.Task[One]:
    """Start a task in an empty context, so that it belongs to no sender."""
    return asyncio.get_running_loop().create_task(work, context=Context())


def too_many(words: str) -> ProblemError:
    return ProblemError(429, "too-many", "Too many requests at once", words, RETRY_AFTER)


def _drop_error(task: asyncio.Task[One]) -> None:
    if not task.cancelled():
        task.exception()  # reading the error keeps asyncio from logging it if the caller is gone
