"""A stand-in for Amplitude's export API, with the ways in which that fails.

It answers `GET /api/2/export?start=YYYYMMDDTHH&end=YYYYMMDDTHH` with a zip that has a `.json.gz` for each hour with
events, or with what `failures` says.
Source: https://amplitude.com/docs/apis/analytics/export
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

from shroff.adapters.http_calls import basic

API_KEY, SECRET_KEY = "key-1", "secret-1"
MEMBER: Final = "{app}/{app}_{day}_{hour}#0.json.gz"
_TARGET: Final = re.compile(r"/api/2/export\?start=(\d{8})T(\d\d)&end=(\d{8})T(\d\d)")


@dataclass
class AmplitudeServer:
    """Its data, and the requests it received.

    Attributes:
        events: By the hour of their upload, such as `20260301T07`; bytes stand for a file as it is.
        failures: Statuses of the next answers, in turn; 0 is an answer that is cut off, 1 one that stops half
            way and stays open.
        hours_max: More hours at once are answered with 400, as more than 4 GB are.
    """

    url: str = ""
    events: dict[str, Sequence[Mapping[str, Any]] | bytes] = field(default_factory=dict)
    failures: list[int] = field(default_factory=list)
    hours_max: int = 24
    asked: list[str] = field(default_factory=list)

    def archive(self, first: str, last: str) -> bytes | None:
        """The zip of the hours from one to another; None where these have no event."""
        found = {hour: events for hour, events in sorted(self.events.items()) if first <= hour <= last}
        if not found:
            return None
        with io.BytesIO() as made:
            with zipfile.ZipFile(made, "w") as opened:
                for hour, events in found.items():
                    name = MEMBER.format(app=1, day=f"{hour[:4]}-{hour[4:6]}-{hour[6:8]}", hour=int(hour[9:]))
                    opened.writestr(zipfile.ZipInfo(name), events if isinstance(events, bytes) else packed(events))
            return made.getvalue()

    def answer(self, target: str, login: str) -> tuple[int, bytes]:
        """Status and body of an answer; a status of 0 or 1 as in `failures`."""
        self.asked.append(target)
        match = _TARGET.fullmatch(target)
        if login != basic(API_KEY, SECRET_KEY):
            return 403, b""
        if match is None:
            return 405, b""
        status = self.failures.pop(0) if self.failures else 200
        if status not in {0, 1, 200}:
            return status, b""
        if int(match[4]) - int(match[2]) >= self.hours_max:
            return 400, b""
        found = self.archive(f"{match[1]}T{match[2]}", f"{match[3]}T{match[4]}")
        return (404, b"") if found is None else (status, found)


def packed(events: Sequence[Mapping[str, Any]]) -> bytes:
    """The file of an hour."""
    return gzip.compress(b"".join(json.dumps(event).encode() + b"\n" for event in events), mtime=0)


@contextmanager
def amplitude() -> Iterator[AmplitudeServer]:
    """A server on loopback, until the block ends."""
    state = AmplitudeServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = state.answer(self.path, self.headers.get("Authorization", ""))
            self.send_response(max(status, 200))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if status > 1 else body[: len(body) // 2])
            if status == 1:
                self.rfile.read(1)  # until the other side ends it

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
