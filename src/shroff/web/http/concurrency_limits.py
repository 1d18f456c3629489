"""Worker threads with fair shares: a client with many requests waits, and other clients do not."""

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


SENDER: Final[ContextVar[str]] = ContextVar("sender", default="")  # of the request; empty in background tasks


class ConcurrencyLimits:
    """Threads that all share, of which one sender has some at a time. For one event loop.

    Args:
        of_sender_max: How many `SENDER` has; what is nobody's request waits for none.
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
            share = self._shares[sender] = _Share(self._of_sender_max)
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
    """The threads of one sender, and how many requests have one or wait."""

    count = 0


class _Turn(Struct):
    """Requests of one sender."""

    count: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Turns:
    """Gives each sender a turn after the other. For one event loop.

    Args:
        what: What is done, for whoever has to wait: `a check of a draft`.
        threads: How many senders have their turn at once.
        seconds_max: For which anybody waits, their turn included. What is under way then goes on, and its sender has
            no further turn before it ends.
        of_sender_max: How many one sender may have, the one under way with those that wait for it.
    """

    def __init__(self, what: str, threads: int, seconds_max: float, of_sender_max: int) -> None:
        self._what = what
        self._seconds_max = seconds_max
        self._of_sender_max = of_sender_max
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="turn")
        self._turns: dict[str, _Turn] = {}

    async def run(self, sender: str, function: Callable[..., One], *arguments: object, wait_s: float = 0.0) -> One:
        """What a function gives, which may wait for others so long beside its work.

        Raises: ProblemError with 429 or 503 where there is too much, or it takes too long.
        """
        turn = self._turns.setdefault(sender, _Turn())
        if turn.count >= self._of_sender_max:
            words = f"{self._what} runs one at a time for each sender, and {turn.count} of yours are not done yet"
            raise too_many(words)
        if sum(turn.count for turn in self._turns.values()) >= OF_ALL_MAX:
            words = f"too many requests for {self._what} now; try again"
            raise ProblemError(503, "overload", "Too many requests at once", words, RETRY_AFTER)
        turn.count += 1
        task = asyncio.ensure_future(self._run(sender, turn, function, arguments))
        task.add_done_callback(_looked_at)
        try:
            async with asyncio.timeout(self._seconds_max + wait_s):
                return await asyncio.shield(task)
        except TimeoutError:
            words = f"{self._what} took more than {self._seconds_max:g} s; try again with less"
            raise ProblemError(503, "too-slow", "This takes too long", words, RETRY_AFTER) from None

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
    return asyncio.get_running_loop().create_task(work, context=Context())


def too_many(words: str) -> ProblemError:
    return ProblemError(429, "too-many", "Too many requests at once", words, RETRY_AFTER)


def _looked_at(task: asyncio.Task[One]) -> None:
    """Drop the error of a call whose caller is gone."""
    if not task.cancelled():
        task.exception()
