"""Metrics of the service, in the families of prometheus-client. The hot path only adds to plain counters."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from shroff.web.service import Service

BOUNDS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS: Final = frozenset("GET HEAD POST PUT PATCH DELETE OPTIONS".split())
TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
QUANTILES: Final = (0.5, 0.99, 0.999)


class Requests(Collector):
    """Requests by route and status, and how long they took by route. For one thread."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str, int]] = Counter()
        self._buckets: dict[str, list[int]] = defaultdict(lambda: [0] * (len(BOUNDS_S) + 1))
        self._seconds: dict[str, float] = defaultdict(float)

    def add(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one that is answered. Methods that nobody defined are counted together."""
        method = method if method in METHODS else "other"
        self.counts[method, route, status] += 1
        self._buckets[route][bisect_left(BOUNDS_S, seconds)] += 1
        self._seconds[route] += seconds

    def collect(self) -> Iterator[Metric]:
        words = "Answered requests, by method, route and status."
        counted = CounterMetricFamily("shroff_http_requests_total", words, labels=("method", "route", "status"))
        for (method, route, status), count in sorted(self.counts.items()):
            counted.add_metric((method, route, str(status)), count)
        yield counted
        words = "Time from the request's headers to the end of the response, by route."
        timed = HistogramMetricFamily("shroff_http_request_seconds", words, labels=("route",))
        for route, buckets in sorted(self._buckets.items()):
            so_far = accumulate(buckets)
            bounds = [(str(bound), count) for bound, count in zip((*BOUNDS_S, "+Inf"), so_far, strict=True)]
            timed.add_metric((route,), bounds, self._seconds[route])
        yield timed


class ServiceMetrics(Collector):
    """Current state of a service: its work, and the posts that wait for it."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        work, queue, health = self._service.work, self._service.queue, self._service.work.health
        yield _gauge("shroff_ready", "1 if the service accepts events (readiness).", self._service.is_ready)
        yield _gauge("shroff_waiting", "Events that wait for their decision.", queue.waiting)
        yield _gauge("shroff_waiting_age_seconds", "Waiting time of the oldest of these events.", queue.age_s)
        words = "Requests rejected because they would have waited too long."
        yield _counter("shroff_turned_away_total", words, queue.turned_away)
        yield _counter("shroff_batches_total", "Commits with events.", work.batches)
        decided = CounterMetricFamily("shroff_decisions_total", "Decisions, by outcome.", labels=("outcome",))
        for outcome, count in sorted(work.counts.by_outcome.copy().items()):
            decided.add_metric((outcome,), count)
        yield decided
        words = "Posted events, by kind and result."
        taken = CounterMetricFamily("shroff_taken_total", words, labels=("kind", "became"))
        for kind, one in (("event", work.counts.events), ("label", work.counts.labels)):
            taken.add_metric((kind, "appended"), one.appended)
            taken.add_metric((kind, "duplicate"), one.duplicates)
            taken.add_metric((kind, "quarantined"), one.quarantined)
        yield taken
        words = "Time from the arrival of a request to its commit since the start, by quantile."
        commits = GaugeMetricFamily("shroff_commit_seconds", words, labels=("quantile",))
        for share in QUANTILES:
            if (ms := work.latencies.quantile_ms(share)) is not None:
                commits.add_metric((str(share),), ms / 1_000)
        yield commits
        yield _gauge("shroff_log_place", "The last sequence number of the log that this process wrote.", work.seq)
        yield _counter("shroff_restored_total", "Restores of the state after a failure.", work.restored)
        yield _counter("shroff_snapshots_total", "Saved snapshots.", work.snapshots)
        words = "Backlog of the live source in messages, if known."
        yield _gauge("shroff_source_waiting", words, health.lag)
        words = "Messages of the live source decided after later messages of other partitions."
        yield _counter("shroff_source_overtaken_total", words, health.overtaken)
        words = "Largest overtaking in event time, since the start."
        yield _gauge("shroff_source_overtaken_seconds", words, health.overtaken_ms / 1_000)
        words = "1 if a named source cannot be read now, by source."
        failing = GaugeMetricFamily("shroff_source_failing", words, labels=("source",))
        for name, reason in health.failing.items():
            failing.add_metric((name,), float(bool(reason)))
        yield failing


def _gauge(name: str, meaning: str, value: float | None) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)


def _counter(name: str, meaning: str, value: float) -> Metric:
    return CounterMetricFamily(name, meaning, value=value)


def text(*collectors: Collector) -> bytes:
    """All their metrics in the text format of Prometheus."""
    registry = CollectorRegistry()
    for one in collectors:
        registry.register(one)
    return generate_latest(registry)
