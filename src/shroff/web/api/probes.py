"""Routes for operators: liveness, readiness and metrics."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypedDict

from starlette.responses import Response

from shroff.people.access import Right
from shroff.web.http.messages import Json, Request
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import Route, RouteDoc
from shroff.web.metrics import page
from shroff.worker.request_queue import RETRY_S

if TYPE_CHECKING:
    from shroff.web.service import Service


class Liveness(TypedDict):
    """The process responds."""

    live: bool


class Readiness(TypedDict):
    """Readiness: the state of the service, and if it accepts events."""

    ready: bool
    state: str


async def live(service: Service, request: Request) -> Json[Liveness]:
    return Json({"live": True})


async def ready(service: Service, request: Request) -> Json[Readiness]:
    """Respond if events are accepted. Raises: ProblemError with 503 and the service's state otherwise."""
    state = service.state
    if not service.is_ready:
        retry = {"retry-after": str(RETRY_S)}
        detail = f"this service accepts no events now; its state is {state}"
        raise ProblemError(
            503, "not-ready", "This service makes no decisions now", detail, retry, ready=False, state=state
        )
    return Json({"ready": True, "state": state})


async def metrics(service: Service, request: Request) -> Response:
    accept = request.headers.get("accept", "")
    body, media_type = await service.in_thread(partial(page, service.measured, accept))
    return Response(body, media_type=media_type)


ROUTES = (
    Route("GET", "/health/live", None, live, RouteDoc("Check that the process responds (liveness).", "It does.")),
    Route(
        "GET",
        "/health/ready",
        None,
        ready,
        RouteDoc(
            "Check readiness: whether the service accepts events.",
            "Ready.",
            problems={503: "Not ready: `state` says what the service does instead, and `ready` is false."},
        ),
    ),
    Route(
        "GET",
        "/metrics",
        Right.READ_METRICS,
        metrics,
        RouteDoc(
            "Get all metrics for Prometheus.",
            "The metrics in Prometheus text format; in OpenMetrics, with example traces, if the request accepts it.",
            media_type="text/plain or application/openmetrics-text",
        ),
    ),
)
