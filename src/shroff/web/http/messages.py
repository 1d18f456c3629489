"""Requests and answers: as much of HTTP as this service speaks, over ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar
from urllib.parse import parse_qsl

import msgspec

from shroff.web.http.problems import ProblemError, problem
from shroff.web.http.proxies import Proxies

if TYPE_CHECKING:
    from shroff.people.access import Who
    from shroff.people.sessions import SignedIn

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
Document = TypeVar("Document")

JSON: Final = b"application/json"
PROBLEM: Final = b"application/problem+json"
LINES: Final = b"application/x-ndjson"
BODY_BYTES_MAX: Final = 16 * 1024 * 1024
BODY_S_MAX: Final = 30.0  # for a body to arrive
UNREAD_BYTES_MAX: Final = 64 * 1024  # of a body that nobody reads, before the next request of the same connection
QUERY_FIELDS_MAX: Final = 100
FORM: Final = b"application/x-www-form-urlencoded"
FORM_BYTES_MAX: Final = 1024 * 1024  # of somebody who is signed in
STRANGERS_FORM_BYTES_MAX: Final = 16 * 1024  # of anybody else
COOKIES_MAX: Final = 50  # of one request that are looked at
FORM_FIELDS_MAX: Final = 1_000
NO_PROXIES: Final = Proxies()


class GoneError(Exception):
    """Who asked went away before all of it was said."""


@dataclass(slots=True)
class Request:
    """One request; `who` is set before any route sees it, but for those that anybody may ask.

    `signed_in` is whoever has a session in a browser; None for a program with a key.
    """

    scope: Scope
    receive: Receive
    proxies: Proxies = NO_PROXIES
    params: dict[str, str] = field(default_factory=dict)
    signed_in: SignedIn | None = None
    form_bytes_max: int = STRANGERS_FORM_BYTES_MAX
    _who: Who | None = None
    _form: dict[str, str] | None = None
    _is_read: bool = False  # the body, up to its end
    _is_given_up: bool = False

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        """The path as it was sent, with its escapes."""
        raw: bytes = self.scope.get("raw_path") or self.scope["path"].encode()
        return raw.partition(b"?")[0].decode("latin-1")

    @property
    def address(self) -> str:
        """From where it comes, for pauses and the record: a proxy that is named is passed over."""
        client = self.scope.get("client")
        return self.proxies.sender(str(client[0]), self.scope["headers"]) if client else ""

    @property
    def is_encrypted(self) -> bool:
        """Whether the browser speaks TLS, with this service or with what stands before it, as a named proxy says."""
        if self.scope.get("scheme") == "https":
            return True
        client = self.scope.get("client")
        return client is not None and self.proxies.is_encrypted(str(client[0]), self.scope["headers"])

    @property
    def wants_page(self) -> bool:
        """Whether a person would read the answer."""
        return b"text/html" in self.header(b"accept")

    @property
    def who(self) -> Who:
        """Who asks. Only for routes that ask for a right."""
        assert self._who is not None, "this route is for anybody"
        return self._who

    @who.setter
    def who(self, who: Who) -> None:
        self._who = who

    def header(self, name: bytes) -> bytes:
        """The value of a header by its name in lower case; nothing where it is not there."""
        for one, value in self.scope["headers"]:
            if one == name:
                found: bytes = value
                return found
        return b""

    @property
    def media_type(self) -> bytes:
        """What the body says that it is, without its parameters, in lower case."""
        return self.header(b"content-type").partition(b";")[0].strip().lower()

    @property
    def query(self) -> dict[str, str]:
        """The query by names, of those that come twice the last. Raises: ProblemError where it is none."""
        try:
            text = self.scope["query_string"].decode("ascii")
            return dict(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX))
        except ValueError:
            raise ProblemError(400, "bad-query", "The query cannot be read", "write it as a=1&b=2, in UTF-8") from None

    def cookie(self, name: str) -> str:
        """The value of a cookie; empty where it is not sent. Quotes around a value are part of it: ours have none."""
        start = f"{name}=".encode()
        for pair in self.header(b"cookie").split(b";", COOKIES_MAX):
            bare = pair.strip()
            if bare.startswith(start):
                return bare[len(start) :].decode("latin-1")
        return ""

    async def form(self) -> dict[str, str]:
        """The fields of a form, of those that come twice the last. Raises: ProblemError where it is none."""
        if self._form is None:
            if self.media_type != FORM:
                raise ProblemError(415, "not-a-form", "This is not a form", f"send it as {FORM.decode()}")
            raw = await self.body(self.form_bytes_max)
            try:
                is_short = len(raw) <= STRANGERS_FORM_BYTES_MAX
                self._form = _fields(raw) if is_short else await asyncio.to_thread(_fields, raw)
            except ValueError:
                raise ProblemError(400, "bad-form", "The form cannot be read", "send its fields in UTF-8") from None
        return self._form

    @property
    def leaves_body(self) -> bool:
        """Whether there is more of a body, and nobody reads it: then no further request is waited for behind it."""
        if self._is_read or self._is_given_up:
            return self._is_given_up
        announced = self.header(b"content-length")
        return bool(self.header(b"transfer-encoding")) or (announced.isdigit() and int(announced) > UNREAD_BYTES_MAX)

    async def body(self, size_max: int = BODY_BYTES_MAX) -> bytes:
        """All of the body. Raises: ProblemError where it is encoded, too long or slow; GoneError where it broke off."""
        encoding = self.header(b"content-encoding").decode("latin-1").strip().lower()
        if encoding not in {"", "identity"}:
            raise ProblemError(415, "wrong-encoding", "This body is encoded", f"send it without {encoding[:40]}")
        announced = self.header(b"content-length")
        if announced.isdigit() and int(announced) > size_max:
            raise _too_long(size_max)
        message = await self.receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            found: bytes = message.get("body", b"")
            if len(found) > size_max:
                raise _too_long(size_max)
            self._is_read = True
            return found
        try:
            async with asyncio.timeout(BODY_S_MAX):
                return await self._rest(message, size_max)
        except TimeoutError:
            self._is_given_up = True
            words = f"the body did not arrive within {BODY_S_MAX:g} s"
            raise ProblemError(408, "too-slow", "The request came too slowly", words) from None

    async def _rest(self, message: Message, size_max: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            if message["type"] == "http.disconnect":
                raise GoneError
            part = message.get("body", b"")
            size += len(part)
            if size > size_max:
                raise _too_long(size_max)
            parts.append(part)
            if not message.get("more_body"):
                self._is_read = True
                return b"".join(parts)
            message = await self.receive()


def _fields(raw: bytes) -> dict[str, str]:
    text = raw.decode("ascii")
    return dict(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=FORM_FIELDS_MAX))


def decoded(raw: bytes, type_: type[Document]) -> Document:
    """A JSON body as one of a type. Raises: ProblemError with 422."""
    try:
        return msgspec.json.decode(raw, type=type_)
    except (ValueError, RecursionError) as error:
        raise ProblemError(422, "bad-body", "The body cannot be read", str(error)) from None


def _too_long(size_max: int) -> ProblemError:
    words = f"a body has at most {size_max:,} bytes here; send it in parts"
    return ProblemError(413, "too-long", "The body is too long", words)


@dataclass(slots=True)
class Response:
    """One answer. `headers` are beside those that every answer has."""

    body: bytes = b""
    status: int = 200
    media_type: bytes = JSON
    headers: Headers = ()

    def head(self) -> list[tuple[bytes, bytes]]:
        """All its headers."""
        return [(b"content-type", self.media_type), (b"content-length", b"%d" % len(self.body)), *self.headers]

    async def send(self, send: Send, *, is_head: bool = False) -> None:
        """Say it."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.head()})
        await send({"type": "http.response.body", "body": b"" if is_head else self.body})


class Json(Response, Generic[Document]):
    """A JSON response of one type. The OpenAPI document takes the type from the handler that returns it."""

    __slots__ = ()


def json_response(document: Document, status: int = 200, headers: Headers = ()) -> Json[Document]:
    """A document as JSON."""
    return Json(msgspec.json.encode(document), status, JSON, headers)


def problem_response(document: Mapping[str, Any], headers: Headers = ()) -> Response:
    """A problem document, with its own status."""
    return Response(msgspec.json.encode(document), document["status"], PROBLEM, headers)


def refused(error: ProblemError) -> Response:
    """What a `ProblemError` is answered by."""
    return problem_response(problem(error.status, error.code, error.title, error.detail, **error.more), error.headers)
