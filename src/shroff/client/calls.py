"""Calls of the API, as requests to be sent: what both clients have in common."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, cast

import msgspec
from msgspec import field
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.client.answers import ClientError, RefusedError
from shroff.json_types import JsonMapping, JsonObject, TextMapping
from shroff.operations.declaration import InvalidRequestError, OperationRequest, Outcome, operation_of
from shroff.runtime.texts import path_segment
from shroff.runtime.values import FrozenStruct, replace

API = "/api/v1"
JSON = "application/json"
LINES = "application/x-ndjson"


class ClientCall(FrozenStruct):
    """One request.

    `has_id` says that the same again is the same: the service knows an event and a label by their ids.
    """

    method: str
    path: str
    body: bytes = b""
    headers: TextMapping = field(default_factory=dict)
    query: TextMapping = field(default_factory=dict)
    has_id: bool = False

    @property
    def is_repeatable(self) -> bool:
        """Whether it may be sent again after its answer was lost: it may have been taken."""
        return self.has_id or self.method not in {"POST", "PATCH"}

    def answered(self, outcome: str) -> ClientCall:
        """The same, which says what was answered in the decision's place."""
        return replace(self, headers={**self.headers, "shroff-answered": outcome})


def event(name: str, fields: JsonMapping, *, verb: str = "events") -> ClientCall:
    """One event."""
    return ClientCall("POST", f"{API}/{verb}/{quoted(name)}", encoded(fields), {"content-type": JSON}, has_id=True)


def events(name: str, many: Iterable[JsonMapping]) -> ClientCall:
    """Many events, as JSON lines."""
    body = b"\n".join(map(encoded, many))
    return ClientCall("POST", f"{API}/events/{quoted(name)}", body, {"content-type": LINES}, has_id=True)


def label(named: str, verdict: str, known_at: datetime | str | None, more: JsonMapping) -> ClientCall:
    """One label. Where it is not said when it became known, `known_at` is when it is sent, and a header says so."""
    at = datetime.now(UTC) if known_at is None else known_at
    headers = {"content-type": JSON, **({"shroff-known-at": "sent"} if known_at is None else {})}
    fields = {"event": named, "verdict": verdict, "known_at": at, **{k: v for k, v in more.items() if v is not None}}
    return ClientCall("POST", f"{API}/labels", encoded(fields), headers, has_id=True)


def decision(name: str, id_: str, more: str = "") -> ClientCall:
    """A decision, or what is asked about one."""
    return ClientCall("GET", f"{API}/decisions/{quoted(name)}/{quoted(id_)}{more}")


def get(path: str, **query: object) -> ClientCall:
    """Something to read, its query without what is None."""
    return ClientCall(
        "GET", f"{API}/{path}", query={name: str(value) for name, value in query.items() if value is not None}
    )


def operation(request: OperationRequest[Any]) -> ClientCall:
    """The request of an operation. Raises: InvalidRequestError for one that has no route."""
    declared = operation_of(request)
    if not declared.http:
        raise InvalidRequestError(f"The service has no route for the operation {declared.name!r}.")

    def given(place: str) -> JsonObject:
        return {request_field.wire: getattr(request, request_field.name) for request_field in declared.fields_in(place)}

    path = declared.path.format(**{name: quoted(str(value)) for name, value in given("path").items()})
    query = {name: _word(value) for name, value in given("query").items() if value is not None}
    tag = "".join(given("header").values())
    is_new = not tag and any(field.about.may_be_new for field in declared.fields_in("header"))
    headers = {"if-match": f'"{tag}"'} if tag else {"if-none-match": "*"} if is_new else {}
    if declared.body is None:
        return ClientCall(declared.method, API + path, b"", headers, query)
    body = to_json(given("body"))
    return ClientCall(declared.method, API + path, body, {"content-type": JSON, **headers}, query)


def answer(request: OperationRequest[Outcome], body: bytes) -> Outcome:
    """The answer to a request. Raises: ClientError for another document."""
    try:
        found = from_json(body, type=operation_of(request).answer)
    except msgspec.DecodeError as error:
        raise ClientError(f"the service answered something else than was asked: {error}") from None
    return cast("Outcome", found)


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def quoted(text: str) -> str:
    """Percent-encode a text as one segment of a path.

    Raises: RefusedError for `.` and `..`, which would leave the route.
    """
    try:
        return path_segment(text)
    except ValueError as error:
        raise RefusedError(f"{error}. Nothing was sent.") from None


def encoded(fields: JsonMapping) -> bytes:
    """An event's fields as JSON: moments in UTC, decimals as texts, which lose nothing.

    Raises: TypeError, ValueError for what JSON cannot say.
    """
    return to_json({name: _plain(value) for name, value in fields.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a value of a field")
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date):
        return value.isoformat()
    return value
