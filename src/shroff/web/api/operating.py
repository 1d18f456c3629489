"""For operators: whether the service lives, whether it takes posts, and what it counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, TypedDict

from shroff.people.access import Right
from shroff.web.http.messages import Json, Request, Response, json_response
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import Route, Told
from shroff.web.metrics import TEXT, Family, Samples, lines
from shroff.worker.posts import RETRY_S

if TYPE_CHECKING:
    from shroff.web.service import Service

FAMILIES: Final = (
    Family("shroff_ready", "gauge", "1 where events are taken now."),
    Family("shroff_waiting", "gauge", "Events that wait to be decided."),
    Family("shroff_waiting_age_seconds", "gauge", "For how long the first of them has waited."),
    Family("shroff_turned_away_total", "counter", "Requests that were turned away: they would have waited too long."),
    Family("shroff_batches_total", "counter", "Commits with events."),
    Family("shroff_decisions_total", "counter", "Decisions, by outcome."),
    Family("shroff_taken_total", "counter", "What became of events that were posted, by kind and what they became."),
    Family("shroff_commit_seconds", "gauge", "From a post's arrival to its commit since the start, by quantile."),
    Family("shroff_log_place", "gauge", "The last place of the log that this process wrote."),
    Family("shroff_restored_total", "counter", "How often state was restored after a failure."),
    Family("shroff_snapshots_total", "counter", "Snapshots that were saved."),
    Family("shroff_source_waiting", "gauge", "Messages of the live source that wait, where that is known."),
    Family(
        "shroff_source_overtaken_total",
        "counter",
        "Messages of the live source that were decided after later ones of other partitions.",
    ),
    Family("shroff_source_overtaken_seconds", "gauge", "By how much event time at most, since the start."),
)


class Liveness(TypedDict):
    """The process answers."""

    live: bool


class Readiness(TypedDict):
    """Whether events are taken now, and what the service does."""

    ready: bool
    state: str


async def live(service: Service, request: Request) -> Json[Liveness]:
    """That it answers at all."""
    return json_response({"live": True})


async def ready(service: Service, request: Request) -> Json[Readiness]:
    """Whether posts are taken now. Raises: ProblemError with 503 where not, with what it does instead."""
    state = service.state
    if not service.is_ready:
        retry = ((b"retry-after", b"%d" % RETRY_S),)
        words = f"this service takes no events now; it is {state}"
        raise ProblemError(503, "not-ready", "Nothing is decided here now", words, retry, ready=False, state=state)
    return json_response({"ready": True, "state": state})


async def metrics(service: Service, request: Request) -> Response:
    """All that is counted, in Prometheus' text form."""
    own = (line for family, samples in zip(FAMILIES, _samples(service), strict=True) for line in lines(family, samples))
    return Response("\n".join([*service.requests.text(), *own, ""]).encode(), media_type=TEXT)


def _samples(service: Service) -> Iterator[Samples]:
    """Of each family, in their order."""
    work, posts = service.work, service.posts
    yield [({}, float(service.is_ready))]
    yield [({}, posts.waiting)]
    yield [({}, posts.age_s)]
    yield [({}, posts.turned_away)]
    yield [({}, work.batches)]
    yield [({"outcome": outcome}, count) for outcome, count in sorted(work.counts.by_outcome.copy().items())]
    yield [
        ({"kind": kind, "became": became}, value)
        for kind, one in (("event", work.counts.events), ("label", work.counts.labels))
        for became, value in (
            ("appended", one.appended),
            ("duplicate", one.duplicates),
            ("quarantined", one.quarantined),
        )
    ]
    quantiles = [(share, work.latencies.quantile_ms(share)) for share in (0.5, 0.99, 0.999)]
    yield [({"quantile": str(share)}, ms / 1_000) for share, ms in quantiles if ms is not None]
    yield [({}, work.seq)]
    yield [({}, work.restored)]
    yield [({}, work.snapshots)]
    lag = work.health.lag
    yield [] if lag is None else [({}, lag)]
    yield [({}, work.health.overtaken)]
    yield [({}, work.health.overtaken_ms / 1_000)]


ROUTES: Final = (
    Route("GET", "/health/live", None, live, Told("Whether the process answers at all.", "It does.")),
    Route(
        "GET",
        "/health/ready",
        None,
        ready,
        Told(
            "Whether events are taken now.",
            "They are.",
            problems={503: "They are not: `state` says what it does instead, and `ready` is false."},
        ),
    ),
    Route(
        "GET",
        "/metrics",
        Right.READ_METRICS,
        metrics,
        Told("All that is counted, for Prometheus.", "In Prometheus' text form."),
    ),
)
