"""The HTTP transport of webhooks, the schema registry and OpenID providers: proxy, trust, time and size in one place.

What `http:` of shroff.yaml leaves open the environment says, as it does for other programs: `HTTPS_PROXY`, `HTTP_PROXY`
and `NO_PROXY` (small letters, too), `SSL_CERT_FILE` and `SSL_CERT_DIR`. Addresses of this machine go through no proxy.
Redirects are never followed: a call is answered by the address that was called.
"""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from email.message import Message
from functools import lru_cache, partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from threading import Timer
from types import MappingProxyType
from typing import Any, NamedTuple, Self
from urllib.parse import SplitResult, unquote, urlsplit

from shroff.adapters.databases.server_url import is_loopback
from shroff.errors import UsageError
from shroff.json_types import JsonMapping, TextDict, TextMapping
from shroff.language.values import parse_duration

TIMEOUT = "10s"
NO_PROXY = "none"


class Calls:
    """How calls leave.

    Args:
        proxy: `http://HOST:PORT`, with `USER:PASSWORD@` before the host where it asks for one; `none`; or nothing where
            the environment says.
        ca: A file of certificates to trust instead of the system's.
        cert: A file with a certificate, where the other side asks who we are.
        key: A file with its key, without a password; without one it is in `cert`.
        timeout_s: For the whole of an answer.

    Raises: UsageError where a file is not of certificates, or the proxy is none.
    """

    def __init__(
        self, *, proxy: str = "", ca: str = "", cert: str = "", key: str = "", timeout_s: float | None = None
    ) -> None:
        self.timeout_s = parse_duration(TIMEOUT) / 1_000 if timeout_s is None else timeout_s
        self.has_certificates = bool(ca or cert or key)
        self._proxy = proxy
        self._own_trust = _trust(ca, cert, key) if self.has_certificates else None
        if proxy not in {"", NO_PROXY}:
            _proxy_at(proxy)

    @classmethod
    def of(cls, options: JsonMapping) -> Calls:
        names = {name: str(options[name]) for name in ("proxy", "ca", "cert", "key") if name in options}
        return cls(**names, timeout_s=parse_duration(str(options.get("timeout", TIMEOUT))) / 1_000)

    def connection(self, scheme: str, host: str, port: int | None) -> HTTPConnection:
        """A connection to a host, through the proxy where there is one; nobody is called yet."""
        proxy = self._proxy_of(scheme, host)
        if proxy is None:
            if scheme == "https":
                return HTTPSConnection(host, port, timeout=self.timeout_s, context=self._trust())
            return HTTPConnection(host, port, timeout=self.timeout_s)
        headers = _login(proxy)
        at = proxy.hostname or ""
        if scheme == "https":
            through = HTTPSConnection(at, proxy.port or 80, timeout=self.timeout_s, context=self._trust())
            through.set_tunnel(host, port, headers)
            return through
        named = f"[{host}]" if ":" in host else host
        origin = f"http://{named}" if port is None else f"http://{named}:{port}"
        return _Forwarded(at, proxy.port or 80, self.timeout_s, origin, headers)

    def client(
        self, scheme: str, host: str, port: int | None, *, answer_bytes_max: int, wants_body: bool = True
    ) -> HttpClient:
        """Return a client of one server. Without `wants_body`, a status suffices as an answer."""
        made = partial(self.connection, scheme, host, port)
        return HttpClient(made, self.timeout_s, answer_bytes_max=answer_bytes_max, wants_body=wants_body)

    def _trust(self) -> ssl.SSLContext:
        return self._own_trust or _trust_of_system(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))

    def _proxy_of(self, scheme: str, host: str) -> SplitResult | None:
        if self._proxy == NO_PROXY or is_loopback(host):
            return None
        found = self._proxy or _by_environment(scheme, host)
        return _proxy_at(found) if found else None


class CutOffError(OSError):
    """An answer ended early. What it answers was done, and is not sent again."""


class HttpAnswer(NamedTuple):
    """An answer, whatever its status; without a body where none is wanted."""

    status: int
    headers: Message
    body: bytes


class HttpClient:
    """Calls of one server over a connection that is kept between them. For one thread at a time."""

    def __init__(
        self, made: Callable[[], HTTPConnection], timeout_s: float, *, answer_bytes_max: int, wants_body: bool
    ) -> None:
        self._made = made
        self._timeout_s = timeout_s
        self._answer_bytes_max = answer_bytes_max
        self._wants_body = wants_body
        self._connection: HTTPConnection | None = None

    def call(
        self, method: str, target: str, body: bytes | None = None, headers: TextMapping = MappingProxyType({})
    ) -> HttpAnswer:
        """Call once; again on a new connection where the server had closed the kept one.

        Args:
            target: Path and query.

        Raises: OSError where no answer comes, or it is too long; TimeoutError where it does not end in time. `reason`
            says why, without addresses.
        """
        while True:
            is_kept = self._connection is not None
            try:
                found = self._called(method, target, body, headers)
            except (OSError, HTTPException) as error:
                self.close()
                if not is_kept or isinstance(error, TimeoutError | CutOffError):
                    raise error if isinstance(error, OSError) else OSError(reason(error)) from None
            else:
                if len(found.body) > self._answer_bytes_max:
                    raise OSError(f"its answer is longer than {self._answer_bytes_max:,} bytes")
                return found

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _called(self, method: str, target: str, body: bytes | None, headers: TextMapping) -> HttpAnswer:
        connection = self._connection = self._connection or self._made()
        with CallDeadline(connection, self._timeout_s) as deadline:
            connection.request(method, target, body, dict(headers))
            answer = connection.getresponse()
            data = answer.read(self._answer_bytes_max + 1) if self._wants_body else self._read_away(answer)
            deadline.is_over = deadline.is_over and self._wants_body
        if self._wants_body and answer.length and len(data) <= self._answer_bytes_max:
            raise CutOffError("its answer was cut off")  # an early end, which `read` takes for the end
        if not answer.isclosed():
            answer.close()
            self.close()
        return HttpAnswer(answer.status, answer.headers, data)

    def _read_away(self, answer: HTTPResponse) -> bytes:
        """Read the body so that the connection can be reused, unless the server closes it."""
        with suppress(OSError, HTTPException):  # the status is known
            if not answer.will_close:
                answer.read(self._answer_bytes_max)
        return b""


class _Forwarded(HTTPConnection):
    """A connection to a forward proxy: each request has the absolute URL."""

    def __init__(self, host: str, port: int, timeout_s: float, origin: str, headers: TextMapping) -> None:
        super().__init__(host, port, timeout=timeout_s)
        self._origin = origin
        self._own = headers

    def request(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: JsonMapping = MappingProxyType({}),
        *,
        encode_chunked: bool = False,
    ) -> None:
        whole = f"{self._origin}{url}"
        super().request(method, whole, body, {**headers, **self._own}, encode_chunked=encode_chunked)


class CallDeadline:
    """Ends a call that is not over in time, however slowly an answer drips: the client's timeout is for each read."""

    def __init__(self, connection: HTTPConnection, within_s: float) -> None:
        self._connection = connection
        self._within_s = within_s
        self.is_over = False
        self._timer = Timer(within_s, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        if self._connection.sock is None:
            self._connection.connect()  # which has a timeout of its own
        self._socket = self._connection.sock  # the connection lets go of it where it ends with the answer
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self.is_over:  # also without an error: what was cut off may look like an end
            raise TimeoutError(f"no answer within {self._within_s:g} s")

    def _end(self) -> None:
        self.is_over = True
        with suppress(OSError):
            self._socket.shutdown(2)  # both directions, to wake a reading thread


def reason(error: Exception) -> str:
    """Error of a connection, in words without addresses."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, OSError):
        return (error.strerror or str(error) or type(error).__name__).rstrip(".")
    return f"its response is not valid HTTP ({type(error).__name__})"


def _proxy_at(address: str) -> SplitResult:
    """The parts of a proxy's address. Raises: UsageError, without the address, which may hold a password."""
    with suppress(ValueError):
        found = urlsplit(address if "://" in address else f"http://{address}")
        if found.scheme == "http" and found.hostname and found.port != 0:
            return found
    raise UsageError(
        "the address of an HTTP proxy is http://HOST:PORT; proxies by TLS or SOCKS are not supported. It stands under "
        "http: in shroff.yaml, or in HTTPS_PROXY or HTTP_PROXY."
    )


def _by_environment(scheme: str, host: str) -> str:
    from urllib.request import getproxies_environment
    from urllib.request import proxy_bypass_environment as bypassed  # type: ignore[attr-defined]  # typeshed lacks it

    proxies = getproxies_environment()
    return "" if bypassed(host, proxies) else proxies.get(scheme, proxies.get("all", ""))


def basic(user: str, password: str) -> str:
    """The value of a header that logs in by user and password."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def target_of(parts: SplitResult) -> str:
    """Request target of an address: its path and query."""
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _login(proxy: SplitResult) -> TextDict:
    if proxy.username is None:
        return {}
    return {"Proxy-Authorization": basic(unquote(proxy.username), unquote(proxy.password or ""))}


def _trust(ca: str, cert: str, key: str) -> ssl.SSLContext:
    try:
        found = ssl.create_default_context(cafile=ca or None)
        if cert:
            found.load_cert_chain(cert, key or None, password=_no_password)
    except OSError as error:  # of ssl, too
        named = " or ".join(name for name in (ca, cert, key) if name)
        raise UsageError(f"{named} cannot be read as certificates: {reason(error)}.") from None
    return found


@lru_cache(maxsize=4)
def _trust_of_system(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    """What the system trusts, or the environment's file and folder: read in 60 ms, so once for all calls."""
    return ssl.create_default_context()


def _no_password() -> str:
    """Without it the library would ask for one on the terminal. Raises: UsageError."""
    raise UsageError("the key of a client certificate has a password: give it without one.")
