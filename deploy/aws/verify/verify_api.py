"""Ask the service as strangers do: it answers by TLS, is ready, shows nothing without a key. And look at its task."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from account import Account, Finding, Seen, main

TIMEOUT_S = 10
CLOSED = ("/api/v1/flags?entity=card&key=1", "/api/v1/jobs")  # nobody gets these without a key


def check(account: Account) -> Iterator[Finding]:
    ecs = account.client("ecs")
    for service in ecs.describe_services(cluster=account.name, services=["service"])["services"]:
        yield from task(service)
        break
    else:
        yield False, f"the cluster {account.name} has no service"
    if account.url:
        yield from ((is_well, Seen(what)) for is_well, what in asked(account.url))
    else:
        yield False, Seen("the service was not asked: add --url https://YOUR-HOST")


def task(service: dict[str, Any]) -> Iterator[Finding]:
    desired, running = service["desiredCount"], service["runningCount"]
    yield desired == 1, f"the service wants {desired} tasks; a log has one writer"
    yield running == desired, Seen(f"{running} of {desired} tasks run")
    rolling = service.get("deploymentConfiguration", {})
    pair = rolling.get("minimumHealthyPercent"), rolling.get("maximumPercent")
    yield pair == (0, 100), f"a new task starts after the old one has ended: {pair}"


def asked(url: str) -> Iterator[Finding]:
    parts = urlsplit(url)
    is_here = parts.hostname in {"127.0.0.1", "localhost"}
    yield parts.scheme == "https" or is_here, f"{url} uses TLS"
    for path in ("/health/live", "/health/ready"):
        status = status_of(url, path)
        yield status == 200, f"GET {path}: {status}"
    for path in CLOSED:
        status = status_of(url, path)
        yield status == 401, f"GET {path} without a key: {status}"
    status = status_of(url, "/metrics")
    yield status in {401, 404}, f"GET /metrics without a key: {status}"
    status = status_of(url, "/hooks/payments", "POST")
    yield status in {400, 403}, f"POST /hooks/payments without a signature: {status}"
    if not is_here:
        status = status_of(f"http://{parts.hostname}", "/health/live")
        yield status in {301, 308}, f"without TLS: {status}, a redirect"


def status_of(url: str, path: str, method: str = "GET") -> int | str:
    """The status of an answer, or why there is none. Redirects are not followed."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, body=b"{}" if method == "POST" else None)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:  # no answer, or one that is not HTTP
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(check))
