"""The client for programs with an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from datetime import datetime
from importlib import import_module
from types import ModuleType, TracebackType
from typing import Any, Self

from msgspec.json import decode as from_json

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
    error_of,
    place_of,
    retry_s,
)
from shroff.json_types import JsonMapping, JsonObject
from shroff.operations.declaration import OperationRequest, Outcome, request_of

TIMEOUT_S = 10.0
AGAIN_S = 60.0  # for which an event that was answered by a stand-in is sent again
SENDERS = 4  # of those at once, so that they take no connections from new ones


class AsyncClient:
    """Like `Client`, for one event loop: its methods are coroutines, with the same arguments, answers and errors."""

    def __init__(self, url: str, key: str, *, timeout: float = TIMEOUT_S) -> None:
        httpx = library()
        self._failed, self._unsent = httpx.TransportError, httpx.ConnectError
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        headers = {"authorization": f"Bearer {key}"}
        self._http = httpx.AsyncClient(base_url=url, headers=headers, limits=limits)
        self._timeout, self._senders = timeout, asyncio.Semaphore(SENDERS)
        self._pending: set[asyncio.Task[Answer]] = set()

    def __repr__(self) -> str:
        return f"<shroff async client of {self._http.base_url}>"  # the key is in no log

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, wait_s: float = 5.0) -> int:
        pending = set(self._pending)
        _, left = await asyncio.wait(pending, timeout=wait_s) if pending else (pending, pending)
        for task in left:
            task.cancel()
        await self._http.aclose()
        return len(left)

    # ---- calls

    async def decide(
        self, event: str, fields: JsonMapping, *, timeout: float | None = None, otherwise: str | None = None
    ) -> Answer | StandIn:
        check_otherwise(otherwise)
        call = calls.event(event, fields)
        try:
            return answer_of(await self.sent(call, timeout))
        except (TimedOutError, UnavailableError):
            if otherwise is None:
                raise
        again = asyncio.create_task(self.send_again(call.answered(otherwise)))
        self._pending.add(again)
        again.add_done_callback(self._pending.discard)
        return StandIn(event, otherwise, again)

    async def decide_many(
        self, event: str, many: Iterable[JsonMapping], *, timeout: float | None = None
    ) -> list[Answer | RefusedError]:
        body = await self.sent(calls.events(event, many), timeout)
        return [place_of(line) for line in body.splitlines()]

    async def score(self, event: str, fields: JsonMapping, *, timeout: float | None = None) -> Answer:
        return answer_of(await self.sent(calls.event(event, fields, verb="score"), timeout))

    async def decision(self, event: str, id: str) -> Answer:
        return answer_of(await self.sent(calls.decision(event, id)))

    async def explain(self, event: str, id: str) -> JsonObject:
        return await self._document(calls.decision(event, id, "/explain"))

    async def replay(self, event: str, id: str) -> bool:
        return bool((await self._document(calls.decision(event, id, "/replay")))["match"])

    async def label(
        self,
        event: str,
        verdict: str,
        *,
        source: str | None = None,
        known_at: datetime | str | None = None,
        reason: str | None = None,
    ) -> Labelled:
        found = await self.sent(calls.label(event, verdict, known_at, {"source": source, "reason": reason}))
        return from_json(found, type=Labelled)

    async def flags(self, entity: str, key: str, *, limit: int = 50, cursor: str | None = None) -> JsonObject:
        return await self._document(calls.get("flags", entity=entity, key=key, limit=limit, cursor=cursor))

    async def entity(self, entity: str, key: str, *, limit: int = 50, cursor: str | None = None) -> JsonObject:
        path = f"entities/{calls.quoted(entity)}/{calls.quoted(key)}"
        return await self._document(calls.get(path, limit=limit, cursor=cursor))

    # ---- operations

    async def send(self, request: OperationRequest[Outcome], *, timeout: float | None = None) -> Outcome:
        return calls.answer(request, await self.sent(calls.operation(request), timeout))

    async def call(self, name: str, /, **fields: Any) -> Any:
        return await self.send(request_of(name, fields))

    # ---- sending

    async def _document(self, call: calls.ClientCall) -> JsonObject:
        return from_json(await self.sent(call), type=JsonObject)

    async def sent(self, call: calls.ClientCall, timeout: float | None = None) -> bytes:
        """The body of the answer; what was not taken, or may be sent twice, is tried until there is no more time."""
        end_s, tries = time.monotonic() + (self._timeout if timeout is None else timeout), 0
        while True:
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                raise TimedOutError(f"{call.method} {call.path}: no answer in time")
            try:
                async with asyncio.timeout(left_s):  # the library's own limits are for each read
                    answered = await self._http.request(
                        call.method, call.path, content=call.body, headers=call.headers, params=call.query, timeout=None
                    )
            except TimeoutError:
                raise TimedOutError(f"{call.method} {call.path}: no answer in time") from None
            except self._failed as error:
                wait_s, failure = retry_s({}, tries), UnavailableError(f"{call.method} {call.path}: {error}")
                if not call.is_repeatable and not isinstance(error, self._unsent):
                    raise failure from None
            else:
                body: bytes = answered.content
                if answered.is_success:
                    return body
                found = error_of(answered.status_code, body)
                if not isinstance(found, UnavailableError):
                    raise found
                wait_s, failure = retry_s(answered.headers, tries), found
            if time.monotonic() + wait_s >= end_s:
                raise failure
            await asyncio.sleep(wait_s)
            tries += 1

    async def send_again(self, call: calls.ClientCall) -> Answer:
        """Send an event until it is taken; a refusal ends that, too."""
        async with self._senders:
            end_s = time.monotonic() + AGAIN_S
            while True:
                try:
                    return answer_of(await self.sent(call, max(1.0, end_s - time.monotonic())))
                except (TimedOutError, UnavailableError):
                    if time.monotonic() >= end_s:
                        raise


CONNECTIONS = 100


def library() -> ModuleType:
    """`httpx2`. Raises: ImportError that says how to install it."""
    try:
        return import_module("httpx2")
    except ImportError:
        raise ImportError("the HTTP client needs httpx2: pip install 'shroff[client]'") from None
