"""A receiver of webhooks for tests: it takes calls, and misbehaves as it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    """What came, and what is answered: the next of `answers`, else what `judge` says.

    An answer is a status, with headers where it has any; `hang`, `reset` and `drip` are none; bytes are
    a head whose body drips.
    """

    calls: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    taken: list[bytes] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    connections: int = 0
    url: str = ""
    is_over: threading.Event = field(default_factory=threading.Event)

    def judge(self, body: bytes) -> int:
        return 400 if b"poison" in body else 200


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer is 40 ms late: its head and its body are written apart
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.received.connections += 1

    def do_POST(self) -> None:
        received = self.server.received
        body = self.rfile.read(int(self.headers["Content-Length"]))
        received.paths.append(self.path)
        received.calls.append(({name.lower(): value for name, value in self.headers.items()}, body))
        answer = received.answers.pop(0) if received.answers else received.judge(body)
        if answer == "hang":
            received.is_over.wait(1_200)
        if answer == "reset":
            self.connection.close()
        if answer == "drip":
            self._drip(b"X-Filler: ")
        if isinstance(answer, bytes):
            self._drip(answer)
        if not isinstance(answer, str | bytes):
            self._answer(answer, body)
        self.close_connection = self.close_connection or isinstance(answer, str | bytes)

    def _answer(self, answer: Any, body: bytes) -> None:
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        if 200 <= status < 300:
            self.server.received.taken.append(body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def _drip(self, head: bytes) -> None:
        for byte in b"HTTP/1.1 200 OK\r\n" + head + b"x" * 10_000:
            try:
                self.wfile.write(bytes([byte]))
            except OSError:
                return
            time.sleep(0.05)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on standard error."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    received: Received

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are what is tested."""


@contextmanager
def receiver(port: int = 0) -> Iterator[Received]:
    server = _Server(("127.0.0.1", port), _Handler)
    received = server.received = Received(url=f"http://127.0.0.1:{server.server_address[1]}/hooks/key-in-path")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield received
    finally:
        received.is_over.set()
        server.shutdown()
        server.server_close()
        thread.join()
