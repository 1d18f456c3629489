"""Metrics of a service and of a worker.

The hot path only adds to plain counters. Each family stands here once, with its meaning and its labels: the reference
page is made from these collectors (docs/reference/metrics.md), and a scrape shows the same families.
"""

from __future__ import annotations

import platform
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from logging import DEBUG
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from shroff import __version__
from shroff.monitoring.doctor import EarlierFindings
from shroff.project.policy import OUTCOMES
from shroff.runtime.logs import LOG, say
from shroff.runtime.values import Fresh, replace
from shroff.web.metric_families import Collector, Family, counter, counters, gauge, gauges, histograms
from shroff.web.metrics_store import StoreMetrics, look_at_store
from shroff.worker.serving.counts import (
    FRAUD_OUTCOMES,
    LEADING,
    RESTORING,
    SECONDS,
    STANDING_BY,
    BatchTally,
    Buckets,
    WorkerCounts,
)

if TYPE_CHECKING:
    from shroff.services.project import Project
    from shroff.web.service import Service

CHECKED_S = 60.0  # lifetime of a check of external systems
METHODS = frozenset("GET HEAD POST PUT PATCH DELETE OPTIONS".split())


class Requests:
    """Requests by route and status, and how long they took by route. One thread counts, any reads."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str, int]] = Counter()
        self._timed: dict[str, Buckets] = defaultdict(lambda: Buckets(SECONDS))

    def add(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request. Unknown methods are counted together."""
        method = method if method in METHODS else "other"
        self.counts[method, route, status] += 1
        if LOG.isEnabledFor(DEBUG):
            say(DEBUG, "request answered", method=method, route=route, status=status, ms=round(1_000 * seconds, 1))
        self._timed[route].add(seconds)

    def collect(self) -> Iterator[Family]:
        labels = ("method", "route", "status")
        counted = {(method, route, str(status)): count for (method, route, status), count in self.counts.copy().items()}
        yield counters("shroff_http_requests_total", "Answered requests, by method, route and status.", labels, counted)
        words = "Time from the request's headers to the end of the response, by route."
        timed = {(route,): buckets for route, buckets in self._timed.copy().items()}
        yield histograms("shroff_http_request_seconds", words, ("route",), timed)


class QueueMetrics:
    """Requests of a service that wait for their decision."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Family]:
        queue = self._service.writer.queue
        yield gauge("shroff_waiting", "Events that wait for their decision.", queue.waiting)
        yield gauge("shroff_waiting_age_seconds", "Waiting time of the oldest of these events.", queue.age_s)
        words = "Requests rejected because they would have waited too long."
        yield counter("shroff_turned_away_total", words, queue.turned_away)


class WorkMetrics:
    """Work of the process that leads a log, or stands by.

    Args:
        work: Gives its counts.
        is_ready: Says whether it is ready.
    """

    def __init__(self, work: Callable[[], WorkerCounts], is_ready: Callable[[], bool]) -> None:
        self._work = work
        self._is_ready = is_ready

    def collect(self) -> Iterator[Family]:
        work = self._work()
        words = "1 if the process is ready: a service accepts events, a worker decides them or is on standby."
        yield gauge("shroff_ready", words, self._is_ready())
        states = {(state,): float(work.state == state) for state in (LEADING, STANDING_BY, RESTORING)}
        yield gauges("shroff_state", "1 for the current state of the process.", ("state",), states)
        yield from self._decided(work)
        yield from _of_source(work)
        yield counter("shroff_restored_total", "Restores of the state after a failure.", work.restored)
        yield counter("shroff_snapshots_total", "Saved snapshots.", work.snapshots)
        words = "Messages quarantined because of a bug in shroff."
        yield counter("shroff_unbearable_total", words, work.unbearable)
        sent = {(sink.name,): float(sink.sent) for sink in work.sinks}
        yield counters("shroff_delivered_rows_total", "Rows that a sink accepted, by sink.", ("sink",), sent)
        attempts = {(sink.name,): float(sink.attempts) for sink in work.sinks}
        words = "Failed attempts in a row to deliver to a sink, by sink."
        yield gauges("shroff_delivery_failed_attempts", words, ("sink",), attempts)
        yield from _of_batches(work.counts.tally or BatchTally())

    def _decided(self, work: WorkerCounts) -> Iterator[Family]:
        yield counter("shroff_batches_total", "Commits with events.", work.batches)
        decided = {(outcome,): float(work.counts.by_outcome[outcome]) for outcome in OUTCOMES}
        yield counters("shroff_decisions_total", "Decisions, by outcome.", ("outcome",), decided)
        taken = {
            (kind, became): float(count)
            for kind, counted in (("event", work.counts.events), ("label", work.counts.labels))
            for became, count in (
                ("appended", counted.appended),
                ("duplicate", counted.duplicates),
                ("quarantined", counted.quarantined),
                ("late", counted.late),
                ("waiting", counted.pending),
            )
        }
        yield counters(
            "shroff_taken_total", "Received events and labels, by kind and result.", ("kind", "became"), taken
        )
        yield counter("shroff_unmatched_total", "Input that no event type accepts.", work.counts.untaken)
        words = "Time from the arrival of an event to its commit."
        found = work.latencies
        timed = histograms("shroff_decision_seconds", words, (), {(): found})
        yield replace(timed, exemplars=found.exemplars.copy())
        yield gauge("shroff_log_place", "The last sequence number of the log that this process wrote.", work.seq)


def _of_source(work: WorkerCounts) -> Iterator[Family]:
    health = work.health
    yield gauge("shroff_source_waiting", "Backlog of the live source in messages, if known.", health.lag)
    words = "Messages of the live source decided after later messages of other partitions."
    yield counter("shroff_source_overtaken_total", words, health.overtaken)
    words = "Largest overtaking in event time, since the start."
    yield gauge("shroff_source_overtaken_seconds", words, health.overtaken_ms / 1_000)
    yield counter("shroff_source_errors_total", "Errors of the live source.", health.errors)
    yield counter(
        "shroff_source_rebalances_total", "Rebalances of the partitions of the live source.", health.rebalances
    )
    failing = {(name,): float(bool(reason)) for name, reason in health.failing.items()}
    words = "1 if a named source cannot be read now, by source."
    yield gauges("shroff_source_failing", words, ("source",), failing)
    words = "1 if the process waits for its source or its log."
    yield gauge("shroff_waits", words, bool(work.waits_for))


def _of_batches(tally: BatchTally) -> Iterator[Family]:
    hits = {(rule, "shadow" if is_shadow else "active"): n for (rule, is_shadow), n in tally.all_hits().items()}
    yield counters("shroff_rule_hits_total", "Rule hits, by rule and mode.", ("rule", "mode"), hits)
    scores = {(event,): score for event, score in tally.scores.copy().items()}
    yield histograms("shroff_score", "Scores of decided events, by event type.", ("event",), scores)
    words = "Amount of decided events in the project's currency, by event type and outcome."
    yield counters("shroff_decided_amount_total", words, ("event", "outcome"), tally.money.copy())
    words = "Time from an event to its label, by verdict."
    delays = {(verdict,): delay for verdict, delay in tally.label_s.copy().items()}
    yield histograms("shroff_label_delay_seconds", words, ("verdict",), delays)
    words = "Time to decide a batch, without reading its input."
    yield histograms("shroff_batch_decide_seconds", words, (), {(): tally.decide_s})
    yield histograms("shroff_log_commit_seconds", "Time of a commit to the log.", (), {(): tally.commit_s})
    yield histograms("shroff_log_commit_records", "Records of a commit to the log.", (), {(): tally.records})
    words = "Events received minus those decided, taken, quarantined or known before: 0, or shroff has lost events."
    yield gauge("shroff_unreconciled_events", words, tally.unreconciled)


class EarlierMetrics:
    """The metrics of earlier dashboards, under their names; only where `metrics: earlier_names` is set."""

    def __init__(self, work: Callable[[], WorkerCounts]) -> None:
        self._work = work

    def collect(self) -> Iterator[Family]:
        tally = self._work().counts.tally or BatchTally()
        labels = ("transaction_type", "country")
        found = tally.earlier.copy()
        frauds = Counter[tuple[str]]()
        for (_, country), figures in found.items():
            frauds[(country,)] += figures.decided_as_fraud
        decided = {key: float(sum(figures.counts)) for key, figures in found.items()}
        yield counters("transactions_total", "Decided events, by transaction type and country.", labels, decided)
        words = "Events decided as fraud (reviewed or declined, unless earlier_names says otherwise), by country."
        yield counters("fraudulent_transactions_total", words, ("country",), frauds)
        words = "Amounts of decided events, by transaction type and country."
        yield histograms("transaction_amount", words, labels, found)


class BuildMetrics:
    """Version of the program and of Python, and the clock of this machine."""

    def collect(self) -> Iterator[Family]:
        words = "1, with the version of shroff and of Python."
        versions = {(__version__, platform.python_version()): 1.0}
        yield gauges("shroff_build_info", words, ("version", "python"), versions)
        yield gauge("shroff_clock_seconds", "Time by the clock of this machine, since 1970.", time.time())


class OfOrganization:
    """Metrics of one organization of a service: each with its name as a label.

    Args:
        base: The path below which it is served.
    """

    def __init__(self, base: str, collectors: Sequence[Collector]) -> None:
        self._name = base.rpartition("/")[2]
        self._collectors = collectors

    def collect(self) -> Iterator[Family]:
        for family in (family for collector in self._collectors for family in collector.collect()):
            samples = {(*values, self._name): sample for values, sample in family.samples.items()}
            yield replace(family, labels=(*family.labels, "organization"), samples=samples)


# ---- all collectors of a process


def of_process(project: Project, work: Callable[[], WorkerCounts], is_ready: Callable[[], bool]) -> list[Collector]:
    """Collectors that every process has: its work, the store, the build; and the earlier names where they are set."""
    fresh = Fresh[Mapping[str, bool]]()
    seen = EarlierFindings()

    def checks() -> Mapping[str, bool]:
        return fresh.get("", lambda: project.health.failing_checks(seen), CHECKED_S)

    store = StoreMetrics(lambda: look_at_store(project, checks=checks))
    found: list[Collector] = [WorkMetrics(work, is_ready), store, BuildMetrics()]
    if project.context.systems.metrics.options.get("earlier_names"):
        found.append(EarlierMetrics(work))
    return found


def of_service(service: Service) -> list[Collector]:
    every = of_process(service.project, lambda: service.work, lambda: service.is_ready)
    found: list[Collector] = [service.requests, QueueMetrics(service), *every]
    return [OfOrganization(service.options.base, found)] if service.options.base else found


def tally_of(project: Project) -> BatchTally:
    options = project.context.systems.metrics.options.get("earlier_names") or {}
    fields = [str(options[name]) for name in ("transaction_type", "country") if name in options]
    return BatchTally(fields, options.get("fraud") or FRAUD_OUTCOMES)


def text(*collectors: Collector) -> bytes:
    """All their metrics, and those of the process, in the text format of Prometheus."""
    return page(collectors)[0]


def page(collectors: Sequence[Collector], accept: str = "") -> tuple[bytes, str]:
    """All their metrics, and those of the process, and their media type: Prometheus' text format, or OpenMetrics, which
    has examples of traces, for who accepts it. An organization has none of the process, which it shares.
    """
    write, media_type = choose_encoder(accept)
    is_open = media_type.startswith("application/openmetrics-text")
    ours = "".join([family.text(is_open=is_open) for collector in collectors for family in collector.collect()])
    registry = CollectorRegistry()
    if not any(isinstance(collector, OfOrganization) for collector in collectors):
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
    return ours.encode() + write(registry), media_type
