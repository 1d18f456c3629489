"""The client for programs that wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable
from concurrent.futures import Future, wait
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar
from weakref import finalize

from shroff.client import calls
from shroff.client.answers import (
    Answer,
    Labelled,
    RefusedError,
    StandIn,
    TimedOutError,
    UnavailableError,
    answer_of,
    check_otherwise,
)
from shroff.client.asynchronous import TIMEOUT_S, AsyncClient
from shroff.json_types import JsonMapping, JsonObject
from shroff.operations.declaration import OperationRequest, Outcome

CLOSE_S = 5.0
_Given = TypeVar("_Given")


class Client:
    """Calls one service with one key. May be used by several threads, of the process that made it.

    The calls are those of an `AsyncClient` in a thread of its own. So a call ends when its time is over, whatever the
    peer does: a socket that is read by the caller who waits keeps them as long as single bytes come.

    Args:
        url: Of the service, such as http://localhost:8080.
        key: As `shroff keys create` showed it.
        timeout: Seconds for a whole call, tries included.
    """

    def __init__(self, url: str, key: str, *, timeout: float = TIMEOUT_S) -> None:
        self._client = AsyncClient(url, key, timeout=timeout)
        self._pending: set[Future[Answer]] = set()
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=_run, args=(self._loop,), name="shroff client", daemon=True)
        thread.start()
        self._end = finalize(self, _end, self._client, self._loop, thread)  # at the latest at exit

    def __repr__(self) -> str:
        return repr(self._client)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self, wait_s: float = CLOSE_S) -> int:
        """Close the client after pending retries or `wait_s` seconds; gives the number of undelivered events."""
        wait(set(self._pending), wait_s)
        left = len(self._pending)
        self._end()
        return left

    # ---- calls

    def decide(
        self, event: str, fields: JsonMapping, *, timeout: float | None = None, otherwise: str | None = None
    ) -> Answer | StandIn:
        """Decide one event and give its durable decision.

        Args:
            timeout: Seconds for this call.
            otherwise: The outcome to answer where no decision came in time, or the service could not take the event.
                It is sent again then, by the same id, and the record has what was answered.

        Raises: RefusedError; NotAllowedError; without `otherwise` TimedOutError, UnavailableError.
        """
        check_otherwise(otherwise)
        call = calls.event(event, fields)
        try:
            return answer_of(self._given(self._client.sent(call, timeout)))
        except (TimedOutError, UnavailableError):
            if otherwise is None:
                raise
        again = self._begun(self._client.send_again(call.answered(otherwise)))
        self._pending.add(again)
        again.add_done_callback(self._pending.discard)
        return StandIn(event, otherwise, again)

    def decide_many(
        self, event: str, many: Iterable[JsonMapping], *, timeout: float | None = None
    ) -> list[Answer | RefusedError]:
        """Decide events in order; gives a decision or a refusal for each, in the same order."""
        return self._given(self._client.decide_many(event, many, timeout=timeout))

    def score(self, event: str, fields: JsonMapping, *, timeout: float | None = None) -> Answer:
        """Score an event without writing anything."""
        return self._given(self._client.score(event, fields, timeout=timeout))

    def decision(self, event: str, id: str) -> Answer:
        """Get a recorded decision."""
        return self._given(self._client.decision(event, id))

    def explain(self, event: str, id: str) -> JsonObject:
        """Explain a decision: the document with the model's reasons and the explanation."""
        return self._given(self._client.explain(event, id))

    def replay(self, event: str, id: str) -> bool:
        """Compute the decision again from the log; gives whether its bytes are equal."""
        return self._given(self._client.replay(event, id))

    def label(
        self,
        event: str,
        verdict: str,
        *,
        source: str | None = None,
        known_at: datetime | str | None = None,
        reason: str | None = None,
    ) -> Labelled:
        """Record a label of an event, such as payment/p-1; `known_at` is now by default, or the event's later time."""
        return self._given(self._client.label(event, verdict, source=source, known_at=known_at, reason=reason))

    def flags(self, entity: str, key: str, *, limit: int = 50, cursor: str | None = None) -> JsonObject:
        """List flags of one key, newest first: `flags`, and `next` for the next page."""
        return self._given(self._client.flags(entity, key, limit=limit, cursor=cursor))

    def entity(self, entity: str, key: str, *, limit: int = 50, cursor: str | None = None) -> JsonObject:
        """Get one key: timeline, features, flags, related keys."""
        return self._given(self._client.entity(entity, key, limit=limit, cursor=cursor))

    # ---- operations

    def send(self, request: OperationRequest[Outcome], *, timeout: float | None = None) -> Outcome:
        """Run the operation of a request, such as `ShowList(name="cards")`, and give its answer.

        The reference lists all operations.
        """
        return self._given(self._client.send(request, timeout=timeout))

    def call(self, name: str, /, **fields: Any) -> Any:
        """Run an operation by the name of its command, without types: `"lists show", name="cards"`.

        Raises: RefusalError where there is none, or a field does not fit.
        """
        return self._given(self._client.call(name, **fields))

    # ---- the thread

    def _begun(self, call: Coroutine[Any, Any, _Given]) -> Future[_Given]:
        if not self._end.alive:
            call.close()
            raise RuntimeError("this client was closed. Make another one")
        return asyncio.run_coroutine_threadsafe(call, self._loop)

    def _given(self, call: Coroutine[Any, Any, _Given]) -> _Given:
        begun = self._begun(call)
        try:
            return begun.result()
        finally:
            begun.cancel()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


def _end(client: AsyncClient, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    """End a client's thread, with what is sent again by then."""

    async def closed() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await client.close(0)
        loop.stop()

    asyncio.run_coroutine_threadsafe(closed(), loop)
    if threading.current_thread() is not thread:
        thread.join(CLOSE_S)
