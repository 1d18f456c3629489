"""The client for programs that wait."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self

import msgspec

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
from shroff.client.transport import CONNECTIONS, library

TIMEOUT_S: Final = 10.0
AGAIN_S: Final = 60.0  # for which an event that was answered by a stand-in is sent again
SENDERS: Final = 4


class Client:
    """Calls one service with one key. May be used by several threads.

    Args:
        url: Of the service, such as http://localhost:8080.
        key: As `shroff keys create` showed it.
        timeout: Seconds for a whole call, tries included.
    """

    def __init__(self, url: str, key: str, *, timeout: float = TIMEOUT_S) -> None:
        httpx = library()
        self._timed_out, self._failed = httpx.TimeoutException, httpx.TransportError
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        headers = {"authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=url, headers=headers, limits=limits)
        self._timeout = timeout
        self._again = ThreadPoolExecutor(SENDERS, thread_name_prefix="shroff-again")
        self._pending: set[Future[Answer]] = set()

    def __repr__(self) -> str:
        return f"<shroff client of {self._http.base_url}>"  # the key is in no log

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self, wait_s: float = 5.0) -> int:
        """Let go, after what is sent again has arrived, or some seconds; gives how many events did not."""
        _, left = wait(self._pending, wait_s)
        self._again.shutdown(wait=False, cancel_futures=True)
        self._http.close()
        return len(left)

    # ---- calls

    def decide(
        self, event: str, fields: Mapping[str, Any], *, timeout: float | None = None, otherwise: str | None = None
    ) -> Answer | StandIn:
        """Have one event decided, and give its decision, durable.

        Args:
            timeout: Seconds for this call.
            otherwise: The outcome to answer where no decision came in time, or the service could not take the event.
                It is sent again then, by the same id, and the record has what was answered.

        Raises: RefusedError; NotAllowedError; without `otherwise` TimedOutError, UnavailableError.
        """
        check_otherwise(otherwise)
        call = calls.event(event, fields)
        try:
            return answer_of(self._send(call, timeout))
        except (TimedOutError, UnavailableError):
            if otherwise is None:
                raise
        again = self._again.submit(self._send_again, call.answered(otherwise))
        self._pending.add(again)
        again.add_done_callback(self._pending.discard)
        return StandIn(event, otherwise, again)

    def decide_many(
        self, event: str, many: Iterable[Mapping[str, Any]], *, timeout: float | None = None
    ) -> list[Answer | RefusedError]:
        """Have events decided in their order; for each its decision, or why it was refused, at its place."""
        body = self._send(calls.events(event, many), timeout)
        return [place_of(line) for line in body.splitlines()]

    def score(self, event: str, fields: Mapping[str, Any], *, timeout: float | None = None) -> Answer:
        """What would be decided, without anything being written."""
        return answer_of(self._send(calls.event(event, fields, verb="score"), timeout))

    def decision(self, event: str, id: str) -> Answer:
        """A decision that was made."""
        return answer_of(self._send(calls.decision(event, id)))

    def explain(self, event: str, id: str) -> dict[str, Any]:
        """A decision with the model's reasons and its explanation, as the document."""
        return self._document(calls.decision(event, id, "/explain"))

    def replay(self, event: str, id: str) -> bool:
        """Whether the decision, computed again from the log, has the same bytes."""
        return bool(self._document(calls.decision(event, id, "/replay"))["match"])

    def label(
        self,
        event: str,
        verdict: str,
        *,
        source: str | None = None,
        known_at: datetime | str | None = None,
        reason: str | None = None,
    ) -> Labelled:
        """Say what was found out about an event, such as payment/p-1; left out, `known_at` is now or its later time."""
        found = self._send(calls.label(event, verdict, known_at, {"source": source, "reason": reason}))
        return msgspec.json.decode(found, type=Labelled)

    def flags(self, entity: str, key: str, *, limit: int = 50, cursor: str | None = None) -> dict[str, Any]:
        """Flags of one key, the newest first: `flags`, and `next` for those behind them."""
        return self._document(calls.get("flags", entity=entity, key=key, limit=limit, cursor=cursor))

    def entity(self, entity: str, key: str, *, limit: int = 50, cursor: str | None = None) -> dict[str, Any]:
        """What is known of one key: timeline, features, flags, neighbours."""
        path = f"entities/{calls.quoted(entity)}/{calls.quoted(key)}"
        return self._document(calls.get(path, limit=limit, cursor=cursor))

    # ---- sending

    def _document(self, call: calls.Call) -> dict[str, Any]:
        return msgspec.json.decode(self._send(call), type=dict[str, Any])

    def _send(self, call: calls.Call, timeout: float | None = None) -> bytes:
        """The body of the answer; what is not taken now is tried again until there is no more time."""
        end_s, tries = time.monotonic() + (self._timeout if timeout is None else timeout), 0
        while True:
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                raise TimedOutError(f"{call.method} {call.path}: no answer in time")
            try:
                answered = self._http.request(
                    call.method, call.path, content=call.body, headers=call.headers, params=call.query, timeout=left_s
                )
            except self._timed_out:
                raise TimedOutError(f"{call.method} {call.path}: no answer in time") from None
            except self._failed as error:
                wait_s, failure = retry_s({}, tries), UnavailableError(f"{call.method} {call.path}: {error}")
            else:
                body: bytes = answered.content
                if answered.status_code == 200:
                    return body
                found = error_of(answered.status_code, body)
                if not isinstance(found, UnavailableError):
                    raise found
                wait_s, failure = retry_s(answered.headers, tries), found
            if time.monotonic() + wait_s >= end_s:
                raise failure
            time.sleep(wait_s)
            tries += 1

    def _send_again(self, call: calls.Call) -> Answer:
        """Send an event until it is taken; a refusal ends that, too."""
        end_s = time.monotonic() + AGAIN_S
        while True:
            try:
                return answer_of(self._send(call, max(1.0, end_s - time.monotonic())))
            except (TimedOutError, UnavailableError):
                if time.monotonic() >= end_s:
                    raise
