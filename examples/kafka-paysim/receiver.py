"""A receiver of shroff's webhooks: python receiver.py alarms.jsonl, with the secret in HOOK_SECRET.

It takes a call when its signature fits, and each row once. What is safe in the file is answered with 200.
"""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

from shroff import webhooks
from shroff.errors import InputError

LARGEST = 1_000_000  # bytes of a call


class Receiver(BaseHTTPRequestHandler):
    """Takes one call after the other."""

    protocol_version = "HTTP/1.1"  # so that connections stay open
    secret: ClassVar[str]
    file: ClassVar[Path]
    known: ClassVar[set[str]] = set()  # in production: of a day or so, in a store

    def do_POST(self) -> None:
        """Check, keep, answer."""
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), LARGEST))
        try:
            row = webhooks.verify(self.secret, dict(self.headers), body)
        except InputError:
            self._answer(401)
            return
        if row not in self.known:
            with self.file.open("ab") as file:
                file.write(body + b"\n")
                file.flush()
                os.fsync(file.fileno())
            self.known.add(row)
        self._answer(200)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal: the file says what came."""


def main() -> None:
    Receiver.secret, Receiver.file = os.environ["HOOK_SECRET"], Path(sys.argv[1])
    Receiver.file.touch()
    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        print(f"127.0.0.1:{server.server_port}", flush=True)  # where it listens
        server.serve_forever()


if __name__ == "__main__":
    main()
