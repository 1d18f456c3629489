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

PATIENCE_S = 5.0  # of silence of a client
HOST = "127.0.0.1"
JSON = "application/json"
Answer = tuple[int, str, bytes]


@contextmanager
def worker_port(project: Project, work: WorkerCounts, port: int | None = None) -> Iterator[str]:
    """Serve the metrics of a worker while this lasts, where a port is given or set in shroff.yaml; gives the address.

    Empty where there is none; port 0 is any that is free. To be entered before the worker runs.

    Raises: UsageError where the port is not available.
    """
    at = _place(project, port)
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
    """Serve the metrics of a service at the port that shroff.yaml names, if it names one. Raises: as `worker_port`."""
    at = _place(service.project, None)
    if at is None:
        yield
        return
    with listening(*at, service.measured, lambda: service.is_ready):
        yield


def _place(project: Project, port: int | None) -> tuple[str, int] | None:
    settings = project.context.systems.metrics
    if port is None:
        if not settings.text("port"):
            return None
        port = int(settings.text("port"))
    return settings.text("host") or HOST, port


@contextmanager
def listening(host: str, port: int, collectors: Sequence[Collector], is_ready: Callable[[], bool]) -> Iterator[str]:
    """Answer on this port while this lasts; gives the address. Raises: UsageError where it is not available."""

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
            """Say nothing of a request."""

    try:
        server = ThreadingHTTPServer((host, port), _MetricsHandler)
    except (OSError, OverflowError) as error:
        words = f"port {port} for metrics on {host} is not available: {getattr(error, 'strerror', None) or error}."
        raise UsageError(f"{words} Choose another with --metrics-port, or 'metrics: port' in shroff.yaml.") from None
    server.daemon_threads = True
    for collector in collectors:
        if isinstance(collector, StoreMetrics):
            collector.begin()  # so that no scrape waits for it
    thread = Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_address[1]}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
