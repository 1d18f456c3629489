"""Starlette's requests with limits on their size and time, and JSON responses written by msgspec."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json
from starlette import requests
from starlette.datastructures import Headers, QueryParams
from starlette.responses import Response
from starlette.types import Receive, Scope

from shroff.errors import decode_words
from shroff.json_types import TextDict, TextMapping
from shroff.web.http.problems import ProblemError, problem
from shroff.web.http.proxies import Proxies

if TYPE_CHECKING:
    from shroff.operations.declaration import Param
    from shroff.people.access import Who
    from shroff.people.sessions import SignedIn

ANY = "*"
_TAG = re.compile(r'(?:W/)?"([^"]*)"|([^\s,"]+)')

Document = TypeVar("Document")

JSON = "application/json"
PROBLEM = "application/problem+json"
LINES = "application/x-ndjson"
HEAD_BYTES_MAX = 64 * 1024  # address, and names and values of all header lines
HEADERS_MAX = 100
URL_BYTES_MAX = 16 * 1024
BODY_BYTES_MAX = 16 * 1024 * 1024
BODY_S_MAX = 30.0  # for a body to arrive
UNREAD_BYTES_MAX = 64 * 1024  # of an unread body; with more, the connection serves no further request
# The rest of a refused body is read for so long and so far, so that the client reads its response. A pause after each
# part lets other requests run.
DISCARDED_S = 10.0
DISCARDED_BYTES_MAX = 64 * 1024 * 1024
DISCARDED_PAUSE_S = 0.02
QUERY_FIELDS_MAX = 100
FORM = "application/x-www-form-urlencoded"
FORM_BYTES_MAX = 1024 * 1024  # of a signed-in user
STRANGERS_FORM_BYTES_MAX = 16 * 1024  # of anybody else
COOKIES_MAX = 50  # read of one request
FORM_FIELDS_MAX = 1_000
NO_PROXIES = Proxies()
NO_QUERY = QueryParams()


class Form(TextDict):
    """The fields of a form; a missing field is an empty text."""

    def __missing__(self, name: str) -> str:
        return ""


NOTHING = Form()  # of a form that was not sent


class Head(Headers):
    """The headers of a request as a dictionary; of repeated headers the first counts.

    Starlette's class searches all lines at each access.
    """

    def __init__(self, lines: list[tuple[bytes, bytes]]) -> None:
        self._list = lines
        self._table = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(lines)}

    def __getitem__(self, key: str) -> str:
        return self._table[key.lower()]

    def get(self, key: str, default: str = "") -> str:  # type: ignore[override]  # a text, as it is read everywhere
        return self._table.get(key.lower(), default)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.lower() in self._table


NO_HEAD = Head([])


class Request(requests.Request):
    """Starlette's request, whose query, cookies, form and body have limits and raise ProblemError if malformed.

    `who` is the caller, set before a handler runs, except on routes that need no right. `signed_in` is the session of a
    browser; None for a program with a key. `told` holds the result that the panels of the page show.
    """

    who: Who
    # Plain attributes rather than Starlette's properties: a posted event reads them some fifteen times.
    headers: Head = NO_HEAD
    method: str = ""

    def __init__(self, scope: Scope, receive: Receive, proxies: Proxies = NO_PROXIES) -> None:
        super().__init__(scope, receive)
        self.headers = Head(scope["headers"])
        self.method = scope["method"]
        self.proxies = proxies
        self.signed_in: SignedIn | None = None
        self.told = NOTHING
        self.form_bytes_max = STRANGERS_FORM_BYTES_MAX
        self._fields: Form | None = None
        self._size = 0  # bytes of the body read so far
        self._is_read = False  # whether all of the body is read
        self._is_given_up = False

    def check_head(self) -> None:
        """Check the size of address and headers. Raises: ProblemError with 414 or 431."""
        address = len(self.scope.get("raw_path") or b"") + len(self.scope["query_string"])
        if address > URL_BYTES_MAX:
            detail = f"an address has at most {URL_BYTES_MAX:,} bytes"
            raise ProblemError(414, "address-too-long", "The address is too long", detail)
        headers = self.scope["headers"]
        size = address
        for name, value in headers:
            size += len(name) + len(value)
        if len(headers) > HEADERS_MAX or size > HEAD_BYTES_MAX:
            detail = f"the head of a request has at most {HEADERS_MAX} lines and {HEAD_BYTES_MAX:,} bytes"
            raise ProblemError(431, "head-too-long", "The head of the request is too long", detail)

    @property
    def path(self) -> str:
        raw: bytes = self.scope.get("raw_path") or self.scope["path"].encode()
        return raw.partition(b"?")[0].decode("latin-1")

    @property
    def address(self) -> str:
        """Address of the client, for rate limits and the audit log; trusted proxies are skipped."""
        client = self.scope.get("client")
        return "" if client is None else self.proxies.sender(client[0], self.headers.raw)

    @property
    def is_encrypted(self) -> bool:
        """Whether the browser uses TLS, with this service or with a trusted proxy before it."""
        if self.scope.get("scheme") == "https":
            return True
        return self.client is not None and self.proxies.is_encrypted(self.client.host, self.headers.raw)

    @property
    def wants_page(self) -> bool:
        return "text/html" in self.headers.get("accept", "")

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def path_params(self) -> TextDict:
        return super().path_params

    @property
    def query_params(self) -> QueryParams:
        """Query by name; of a repeated name the last value counts. Raises: ProblemError if it cannot be read."""
        if not self.scope["query_string"]:
            return NO_QUERY
        if hasattr(self, "_query_params"):
            return self._query_params
        try:
            text = self.scope["query_string"].decode("ascii")
            pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX)
        except ValueError:
            raise ProblemError(400, "bad-query", "The query cannot be read", "write it as a=1&b=2, in UTF-8") from None
        self._query_params = QueryParams(pairs)
        return self._query_params

    @property
    def cookies(self) -> TextDict:
        """Cookies by name; of a repeated name the first counts. Quotes stay part of a value.

        Starlette strips quotes by the standard library, which took 9 s for a header of 64 KB in Python 3.11.7.
        """
        pairs = (word.partition("=") for word in self.headers.get("cookie", "").split(";", COOKIES_MAX))
        value_by_name: TextDict = {}
        for name, _, value in pairs:
            value_by_name.setdefault(name.strip(), value.strip())
        return value_by_name

    async def form(self) -> Form:  # type: ignore[override]  # only texts: forms upload no files
        """Read the form; of a repeated field the last value counts. Raises: ProblemError if it cannot be read."""
        if self._fields is None:
            if self.media_type != FORM:
                raise ProblemError(415, "not-a-form", "This is not a form", f"send it as {FORM}")
            raw = await self.body(self.form_bytes_max)
            try:
                is_short = len(raw) <= STRANGERS_FORM_BYTES_MAX
                self._fields = _fields(raw) if is_short else await asyncio.to_thread(_fields, raw)
            except ValueError:
                raise ProblemError(400, "bad-form", "The form cannot be read", "send its fields in UTF-8") from None
        return self._fields

    @property
    def leaves_body(self) -> bool:
        """Whether the unread rest of the body is too long for another request on this connection."""
        if self._is_read or self._is_given_up:
            return self._is_given_up
        announced = self.headers.get("content-length", "")
        return "transfer-encoding" in self.headers or (announced.isdecimal() and int(announced) > UNREAD_BYTES_MAX)

    async def body(self, size_max: int = BODY_BYTES_MAX) -> bytes:
        """Read the whole body. Raises: ProblemError if it is encoded, too long or too slow; ClientDisconnect."""
        encoding = self.headers.get("content-encoding", "").strip().lower()
        if encoding not in {"", "identity"}:
            raise ProblemError(415, "wrong-encoding", "This body is encoded", f"send it without {encoding[:40]}")
        announced = self.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > size_max:
            raise _too_long(size_max)
        parts = [await self._part(size_max)]  # mostly the whole body; a time limit would cost 15 µs
        try:
            if not self._is_read:
                async with asyncio.timeout(BODY_S_MAX):
                    while not self._is_read:
                        parts.append(await self._part(size_max))
        except TimeoutError:
            self._is_given_up = True
            detail = f"the body did not arrive within {BODY_S_MAX:g} s"
            raise ProblemError(408, "too-slow", "The request came too slowly", detail) from None
        return b"".join(parts)

    async def discard(self) -> None:
        """Read the rest of the body up to the limits: if a socket is closed with unread data, the response is lost."""
        size_max = self._size + DISCARDED_BYTES_MAX
        with suppress(ProblemError, requests.ClientDisconnect, TimeoutError):
            async with asyncio.timeout(DISCARDED_S):
                while not self._is_read:
                    await self._part(size_max)
                    await asyncio.sleep(DISCARDED_PAUSE_S)

    async def _part(self, size_max: int) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise requests.ClientDisconnect
        part: bytes = message.get("body", b"")
        self._size += len(part)
        if self._size > size_max:
            raise _too_long(size_max)
        self._is_read = not message.get("more_body", False)
        return part


def whole(text: str) -> int | None:
    """Parse a number of at most 18 digits; None for any other text."""
    return int(text) if text.isdecimal() and text.isascii() and len(text) <= 18 else None


def _fields(raw: bytes) -> Form:
    text = raw.decode("ascii")
    return Form(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=FORM_FIELDS_MAX))


def decoded(raw: bytes, type_: type[Document]) -> Document:
    """Parse a JSON body. Raises: ProblemError with 422 if it does not fit the type."""
    try:
        return from_json(raw, type=type_)
    except (ValueError, RecursionError) as error:
        raise ProblemError(422, "bad-body", "The body cannot be read", decode_words(error)) from None


def _too_long(size_max: int) -> ProblemError:
    detail = f"a body has at most {size_max:,} bytes here; send it in parts"
    return ProblemError(413, "too-long", "The body is too long", detail)


class WrittenJson(Response):
    """A response whose body is JSON text.

    Its header lines are built when they are first read; a response that is written at once (`connections.WHOLE`) does
    not need them.
    """

    def __init__(
        self, body: bytes, status_code: int = 200, headers: TextMapping | None = None, media_type: str = JSON
    ) -> None:
        self.body = body
        self.status_code = status_code
        self.media_type = media_type
        self.background = None
        self._lines: list[tuple[bytes, bytes]] | None = None
        if headers is not None:
            self.init_headers(headers)

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        if self._lines is None:
            self.init_headers()
        assert self._lines is not None
        return self._lines

    @raw_headers.setter
    def raw_headers(self, lines: list[tuple[bytes, bytes]]) -> None:
        self._lines = lines

    @property
    def content_type(self) -> bytes:
        return (self.media_type or JSON).encode()

    @property
    def is_plain(self) -> bool:
        return self._lines is None


class Json(WrittenJson, Generic[Document]):
    """A JSON response of one type. The OpenAPI document takes the type from the handler that returns it."""

    def __init__(
        self,
        content: Document | msgspec.Raw,
        status_code: int = 200,
        headers: TextMapping | None = None,
        media_type: str = JSON,
    ) -> None:
        super().__init__(to_json(content), status_code, headers, media_type)


def refused(error: ProblemError) -> Response:
    document = problem(error.status, error.code, error.title, error.detail, **error.more)
    return Json(document, error.status, error.headers, PROBLEM)


def precondition(request: Request, about: Param) -> str:
    """Return the tags of If-Match, joined by commas: the versions to which a change applies.

    Quotes and the mark of weak tags are removed. The text is empty for a new object (`If-None-Match: *`), and if the
    header is optional and missing.

    Raises: ProblemError with 428 if a required header is missing.
    """
    if about.may_be_new and request.headers.get("if-none-match", "").strip() == ANY:
        return ""
    tags = [quoted or plain for quoted, plain in _TAG.findall(request.headers.get("if-match", ""))]
    if not (tags or about.is_optional):
        remedy = (
            "send the ETag of what you read as If-Match" + ", or If-None-Match: * for what is new" * about.may_be_new
        )
        raise ProblemError(428, "no-precondition", "If-Match is missing", remedy)
    return ",".join(tags)


def tagged(tag: str) -> TextDict:
    return {"etag": f'"{tag}"'} if tag else {}
