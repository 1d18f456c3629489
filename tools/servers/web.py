"""Whether something answers on loopback."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPConnection
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

SERVER_ERROR: Final = 500


def answers(url: str) -> bool:
    """Whether a page is answered, with whatever status below 500."""
    try:
        return status(url) < SERVER_ERROR
    except OSError:
        return False


def status(
    url: str,
    method: str = "GET",
    body: bytes | None = None,
    kind: str = "application/json",
    headers: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """The status of a request to a server of ours on loopback. Raises: OSError where nothing answers."""
    where = urlsplit(url)
    assert where.hostname == "127.0.0.1"
    with closing(HTTPConnection(where.hostname, where.port, timeout=120)) as connection:
        connection.request(
            method, f"{where.path}?{where.query}", body, {**headers, **({"Content-Type": kind} if kind else {})}
        )
        return connection.getresponse().status


def listens(port: int) -> bool:
    """Whether a port takes connections."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()  # the system answers
    except OSError:
        return False
    return True
