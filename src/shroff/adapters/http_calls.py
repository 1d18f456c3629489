"""The HTTP client of webhooks, the schema registry and OpenID providers, with proxies, TLS, time and size limits.

Settings that `http:` in shroff.yaml leaves open come from the environment: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`
(also in lower case), `SSL_CERT_FILE` and `SSL_CERT_DIR`. Addresses of this machine use no proxy. Redirects are never
followed, so that credentials reach no other server.
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
    """Settings of HTTP calls, and the connections made by them.

    Args:
        proxy: `http://HOST:PORT`, with `USER:PASSWORD@` before the host if the proxy needs a sign-in; `none`; or "" for
            that of the environment.
        ca: A file of certificates to trust instead of the system's.
        cert: A file with a client certificate.
        key: A file with its key, without a password; by default the key is in `cert`.
        timeout_s: Time limit for a whole answer.

    Raises: UsageError if a file has no certificates, or the address of the proxy is invalid.
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
        """Return a connection to a host, through the proxy if there is one. It connects at its first request."""
        proxy = self._proxy_of(scheme, host)
        if proxy is None:
            if scheme == "https":
                return HTTPSConnection(host, port, timeout=self.timeout_s, context=self._trust())
            return HTTPConnection(host, port, timeout=self.timeout_s)
        headers = _login(proxy)
        proxy_host = proxy.hostname or ""
        if scheme == "https":
            through = HTTPSConnection(proxy_host, proxy.port or 80, timeout=self.timeout_s, context=self._trust())
            through.set_tunnel(host, port, headers)
            return through
        host_text = f"[{host}]" if ":" in host else host
        origin = f"http://{host_text}" if port is None else f"http://{host_text}:{port}"
        return _Forwarded(proxy_host, proxy.port or 80, self.timeout_s, origin, headers)

    def client(
        self, scheme: str, host: str, port: int | None, *, answer_bytes_max: int, wants_body: bool = True
    ) -> HttpClient:
        """Return a client of one server. Without `wants_body`, a status suffices as an answer."""
        connect = partial(self.connection, scheme, host, port)
        return HttpClient(connect, self.timeout_s, answer_bytes_max=answer_bytes_max, wants_body=wants_body)

    def _trust(self) -> ssl.SSLContext:
        return self._own_trust or _trust_of_system(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))

    def _proxy_of(self, scheme: str, host: str) -> SplitResult | None:
        if self._proxy == NO_PROXY or is_loopback(host):
            return None
        address = self._proxy or _proxy_from_environment(scheme, host)
        return _proxy_at(address) if address else None


class CutOffError(OSError):
    """An answer ended early. The server has received the request, so it is not sent again."""


class HttpAnswer(NamedTuple):
    """An answer of any status; without a body if the client wants none."""

    status: int
    headers: Message
    body: bytes


class HttpClient:
    """Calls one server over a persistent connection. For one thread at a time."""

    def __init__(
        self, connect: Callable[[], HTTPConnection], timeout_s: float, *, answer_bytes_max: int, wants_body: bool
    ) -> None:
        self._made = connect
        self._timeout_s = timeout_s
        self._answer_bytes_max = answer_bytes_max
        self._wants_body = wants_body
        self._connection: HTTPConnection | None = None

    def call(
        self, method: str, target: str, body: bytes | None = None, headers: TextMapping = MappingProxyType({})
    ) -> HttpAnswer:
        """Send a request; once more on a new connection if the server had closed the persistent one.

        Args:
            target: Path and query.

        Raises: OSError if there is no answer, or it is too long; TimeoutError if it does not end in time. `reason`
            returns a message without addresses.
        """
        while True:
            is_kept = self._connection is not None
            try:
                answer = self._send(method, target, body, headers)
            except (OSError, HTTPException) as error:
                self.close()
                if not is_kept or isinstance(error, TimeoutError | CutOffError):
                    raise error if isinstance(error, OSError) else OSError(reason(error)) from None
            else:
                if len(answer.body) > self._answer_bytes_max:
                    raise OSError(f"its answer is longer than {self._answer_bytes_max:,} bytes")
                return answer

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _send(self, method: str, target: str, body: bytes | None, headers: TextMapping) -> HttpAnswer:
        connection = self._connection = self._connection or self._made()
        with CallDeadline(connection, self._timeout_s) as deadline:
            connection.request(method, target, body, dict(headers))
            answer = connection.getresponse()
            data = answer.read(self._answer_bytes_max + 1) if self._wants_body else self._read_rest(answer)
            deadline.is_over = deadline.is_over and self._wants_body
        if self._wants_body and answer.length and len(data) <= self._answer_bytes_max:
            raise CutOffError("its answer was cut off")  # `read` returns without an error at an early end
        if not answer.isclosed():
            answer.close()
            self.close()
        return HttpAnswer(answer.status, answer.headers, data)

    def _read_rest(self, answer: HTTPResponse) -> bytes:
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
        full_url = f"{self._origin}{url}"
        super().request(method, full_url, body, {**headers, **self._own}, encode_chunked=encode_chunked)


class CallDeadline:
    """Limits the time of a whole call. The timeout of a connection limits only each read of a slow answer."""

    def __init__(self, connection: HTTPConnection, within_s: float) -> None:
        self._connection = connection
        self._within_s = within_s
        self.is_over = False
        self._timer = Timer(within_s, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        if self._connection.sock is None:
            self._connection.connect()  # has its own timeout
        self._socket = self._connection.sock  # kept, as the connection drops it if it ends with the answer
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self.is_over:  # also without an error, as an answer that was cut off may look complete
            raise TimeoutError(f"no answer within {self._within_s:g} s")

    def _end(self) -> None:
        self.is_over = True
        with suppress(OSError):
            self._socket.shutdown(2)  # both directions, to wake a reading thread


def reason(error: Exception) -> str:
    """Describe the error of a connection without addresses."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, OSError):
        return (error.strerror or str(error) or type(error).__name__).rstrip(".")
    return f"its response is not valid HTTP ({type(error).__name__})"


def _proxy_at(address: str) -> SplitResult:
    """Parse a proxy's address. Raises: UsageError, without the address, which may have a password."""
    with suppress(ValueError):
        parts = urlsplit(address if "://" in address else f"http://{address}")
        if parts.scheme == "http" and parts.hostname and parts.port != 0:
            return parts
    raise UsageError(
        "the address of an HTTP proxy is http://HOST:PORT; proxies by TLS or SOCKS are not supported. It stands under "
        "http: in shroff.yaml, or in HTTPS_PROXY or HTTP_PROXY."
    )


def _proxy_from_environment(scheme: str, host: str) -> str:
    from urllib.request import getproxies_environment
    from urllib.request import proxy_bypass_environment as bypassed  # type: ignore[attr-defined]  # typeshed lacks it

    proxies = getproxies_environment()
    return "" if bypassed(host, proxies) else proxies.get(scheme, proxies.get("all", ""))


def basic(user: str, password: str) -> str:
    """Return the value of a header that signs in by user and password."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def target_of(parts: SplitResult) -> str:
    """Return the request target of an address: its path and query."""
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _login(proxy: SplitResult) -> TextDict:
    if proxy.username is None:
        return {}
    return {"Proxy-Authorization": basic(unquote(proxy.username), unquote(proxy.password or ""))}


def _trust(ca: str, cert: str, key: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca or None)
        if cert:
            context.load_cert_chain(cert, key or None, password=_no_password)
    except OSError as error:  # of ssl, too
        file_names = " or ".join(name for name in (ca, cert, key) if name)
        raise UsageError(f"{file_names} cannot be read as certificates: {reason(error)}.") from None
    return context


@lru_cache(maxsize=4)
def _trust_of_system(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    """Return the certificates of the system or the environment; cached, as reading them takes 60 ms."""
    return ssl.create_default_context()


def _no_password() -> str:
    """Raises: UsageError, in place of the library's question on the terminal."""
    raise UsageError("the key of a client certificate has a password: give it without one.")
