"""Whether a server takes connections at all: for what cannot be asked more without being used."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from shroff.errors import TransientError, UsageError


def reach(url: str, limit_s: float, ports: Mapping[str, int | None]) -> str:
    """Have a connection to the server at an address, and let go of it; gives its host and port.

    `ports` has the default port of each scheme. Of several hosts, as of MongoDB, the first that answers will do.
    Raises: TransientError where nobody takes it in time, without a credential; UsageError where this is no address.
    """
    scheme, _, rest = url.partition("://")
    hosts = rest.partition("/")[0].partition("?")[0].rpartition("@")[2].split(",")
    reasons = []
    for one in hosts:
        host, port = None, None
        with suppress(ValueError):
            parts = urlsplit(f"//{one}")
            host, port = parts.hostname, parts.port or ports.get(scheme)
        if not host or port is None:
            raise UsageError("its address has no host and port that can be read.")
        shown = f"{f'[{host}]' if ':' in host else host}:{port}"
        try:
            socket.create_connection((host, port), limit_s / len(hosts)).close()
        except OSError as error:
            reasons.append(f"{shown} does not take connections: {_words(error)}")
        else:
            return shown
    raise TransientError("; ".join(reasons))


def _words(error: OSError) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else str(error.strerror or error).lower()
