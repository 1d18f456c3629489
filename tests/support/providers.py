"""A real OpenID provider in a process of its own, and what somebody does there in a browser."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

from tools.servers.ports import Port

STARTS_S = 120.0


@contextmanager
def provider_started() -> Iterator[str]:
    """A provider for as long as it is needed, by its issuer. It refuses whoever asks without a nonce."""
    held = Port()
    port = held.number
    module = (sys.executable, "-W", "ignore", "-m", "oidc_provider_mock")
    command = [*module, "--port", str(port), "--require-nonce", "yes"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + STARTS_S
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()  # one look of many
                    break
                except OSError:
                    assert server.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            held.close()


def claimed(issuer: str, subject: str, **claims: Any) -> None:
    """Let the provider know a person."""
    parts = urlsplit(issuer)
    assert parts.hostname is not None
    with closing(HTTPConnection(parts.hostname, parts.port)) as connection:
        connection.request("PUT", f"/users/{subject}", json.dumps(claims), {"Content-Type": "application/json"})
        assert connection.getresponse().status == 204


def sent_back(url: str, subject: str) -> str:
    """Where the provider sends a browser that came by this address, once somebody has signed in there."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    with closing(HTTPConnection(parts.hostname, parts.port)) as connection:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", f"{parts.path}?{parts.query}", urlencode({"sub": subject}), headers)
        answer = connection.getresponse()
        assert answer.status == 302, answer.read()
        return answer.headers["Location"]
