"""Run moto as a server of buckets: S3's interface, and the dialect of it that Google's XML interface is.

moto looks at a condition and writes in two steps; here writes come one after the other, so a condition holds for many
clients at once. Requests with a bearer token are Google's: the same XML, with generations for conditions and answers.
It runs as a program: `python buckets.py PORT`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from io import BytesIO
from itertools import count
from threading import Lock
from typing import Any, Final
from urllib.parse import quote

WRITES: Final = {"PUT", "POST", "DELETE"}
ERROR: Final = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{0}</Code></Error>"
SIGNED: Final = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
Start = Callable[..., Any]


class Buckets:
    """The application in front of moto's."""

    def __init__(self, inner: Callable[[dict[str, Any], Start], Iterable[bytes]]) -> None:
        self._inner = inner
        self._lock = Lock()
        self._next = count(1_700_000_000_000_001)
        self._generations: dict[str, int] = {}

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        is_google = environ.get("HTTP_AUTHORIZATION", "").startswith("Bearer ")
        if not is_google and environ["REQUEST_METHOD"] not in WRITES:
            return self._inner(environ, start)
        if length := int(environ.get("CONTENT_LENGTH") or 0):  # before anybody has to wait for a client that is slow
            body = environ["wsgi.input"].read(length)
            if len(body) < length:
                return _error(start, "400 Bad Request", "IncompleteBody")
            environ["wsgi.input"] = BytesIO(body)
        ask = self._google if is_google else self._inner
        with self._lock:
            return [b"".join(ask(environ, start))]

    def _google(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        whole = f"{quote(path)}?{environ['QUERY_STRING']}"  # a client may write `%2D` for `-`, which moto does not read
        environ |= {"HTTP_AUTHORIZATION": SIGNED, "RAW_URI": whole, "REQUEST_URI": whole}
        now = self._generations.get(path, 0)
        wanted = environ.get("HTTP_X_GOOG_IF_GENERATION_MATCH")
        if wanted is not None and int(wanted) != now:
            return _error(start, "412 Precondition Failed", "PreconditionFailed")
        if method == "DELETE" and not now:
            return _error(start, "404 Not Found", "NoSuchKey")

        def started(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            if status.startswith("2") and method == "PUT":
                self._generations[path] = next(self._next)
            if status.startswith("2") and method == "DELETE":
                del self._generations[path]
            generation = self._generations.get(path)
            return start(status, [*headers, *([("x-goog-generation", str(generation))] if generation else [])], *rest)

        return self._inner(environ, started)


def _error(start: Start, status: str, code: str) -> list[bytes]:
    body = ERROR.format(code).encode()
    start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


def main(port: int) -> None:
    """Serve until the end of the process."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import run_simple

    app = Buckets(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", port, app, threaded=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
