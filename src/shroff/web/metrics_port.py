"""A port for Prometheus and for probes: `/metrics`, `/health/live` and `/health/ready`, of a worker or a service.

No key is needed, because metrics have no personal data. By default only this machine can connect.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

from shroff.errors import UsageError
from shroff.web.metrics import of_process, page, tally_of
from shroff.web.metrics_store import StoreMetrics
from shroff.worker.serving.counts import LEADING, STANDING_BY, WorkerCounts

if TYPE_CHECKING:
    from shroff.services.project import Project
    from shroff.web.metric_families import Collector
    from shroff.web.service import Service

PATIENCE_S = 5.0  # for which a client may be silent
HOST = "127.0.0.1"
JSON = "application/json"
Answer = tuple[int, str, bytes]


@contextmanager
def worker_port(project: Project, work: WorkerCounts, port: int | None = None) -> Iterator[str]:
    """Serve a worker's metrics while the context is open; yield their address, empty if no port is configured.

    Enter before the worker runs: this sets the tally of `work`.

    Args:
        port: Overrides the port of shroff.yaml; 0 is any free port.

    Raises: UsageError if the port is not available.
    """
    at = _host_and_port(project, port)
    if at is None:
        yield ""
        return
    work.counts.tally = tally_of(project)

    def is_ready() -> bool:
        return work.state in {LEADING, STANDING_BY} and not work.waits_for

    with listening(*at, of_process(project, lambda: work, is_ready), is_ready) as where:
        yield where


@contextmanager
def service_port(service: Service) -> Iterator[None]:
    """Serve a service's metrics while the context is open, if shroff.yaml names a port.

    Raises: UsageError if the port is not available.
    """
    at = _host_and_port(service.project, None)
    if at is None:
        yield
        return
    with listening(*at, service.measured, lambda: service.is_ready):
        yield


def _host_and_port(project: Project, port: int | None) -> tuple[str, int] | None:
    settings = project.context.systems.metrics
    if port is None:
        if not settings.text("port"):
            return None
        port = int(settings.text("port"))
    return settings.text("host") or HOST, port


@contextmanager
def listening(host: str, port: int, collectors: Sequence[Collector], is_ready: Callable[[], bool]) -> Iterator[str]:
    """Answer on this port while the context is open; yield the address of `/metrics`.

    Raises: UsageError if the port is not available.
    """

    def answer(path: str, accept: str) -> Answer:
        if path == "/metrics":
            body, media_type = page(collectors, accept)
            return 200, media_type, body
        if path == "/health/live":
            return 200, JSON, b'{"live": true}'
        if path == "/health/ready":
            return 200 if is_ready() else 503, JSON, json.dumps({"ready": is_ready()}).encode()
        return 404, JSON, b'{"type": "not-found", "title": "Not found", "status": 404}'

    class _MetricsHandler(BaseHTTPRequestHandler):
        timeout = PATIENCE_S

        def do_GET(self) -> None:
            status, kind, body = answer(self.path.partition("?")[0], self.headers.get("accept", ""))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log no request."""

    try:
        server = ThreadingHTTPServer((host, port), _MetricsHandler)
    except (OSError, OverflowError) as error:
        reason = f"port {port} for metrics on {host} is not available: {getattr(error, 'strerror', None) or error}."
        raise UsageError(f"{reason} Choose another with --metrics-port, or 'metrics: port' in shroff.yaml.") from None
    server.daemon_threads = True
    for collector in collectors:
        if isinstance(collector, StoreMetrics):
            collector.begin()  # so that the first scrape need not wait for the store
    thread = Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_address[1]}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
