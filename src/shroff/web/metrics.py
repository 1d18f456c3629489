"""Metrics of a service and of a worker.

The hot path only adds to plain counters; a scrape turns them into families. The collectors here define name, meaning
and labels of each family, and docs/reference/metrics.md is generated from them.
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
from shroff.web.metrics_store import StoreLook, StoreMetrics, look_at_store
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
    from shroff.services.results.outcome_rates import SchemeRatio
    from shroff.web.service import Service

SCHEMES_S = 3_600.0  # for which ratios of card schemes are reused
CHECKED_S = 60.0  # for which a check of external systems is reused
METHODS = frozenset("GET HEAD POST PUT PATCH DELETE OPTIONS".split())


class Requests:
    """Counts of requests by method, route and status, and durations by route. One thread adds, any thread reads."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str, int]] = Counter()
        self._timed: dict[str, Buckets] = defaultdict(lambda: Buckets(SECONDS))

    def add(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request. Nonstandard methods share the label `other`."""
        method = method if method in METHODS else "other"
        self.counts[method, route, status] += 1
        if LOG.isEnabledFor(DEBUG):
            say(DEBUG, "request answered", method=method, route=route, status=status, ms=round(1_000 * seconds, 1))
        self._timed[route].add(seconds)

    def collect(self) -> Iterator[Family]:
        labels = ("method", "route", "status")
        counts = {(method, route, str(status)): count for (method, route, status), count in self.counts.copy().items()}
        yield counters("shroff_http_requests_total", "Answered requests, by method, route and status.", labels, counts)
        meaning = "Time from the request's headers to the end of the response, by route."
        durations = {(route,): buckets for route, buckets in self._timed.copy().items()}
        yield histograms("shroff_http_request_seconds", meaning, ("route",), durations)


class QueueMetrics:
    """Events of a service that wait for their decision."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Family]:
        queue = self._service.writer.queue
        yield gauge("shroff_waiting", "Events that wait for their decision.", queue.waiting)
        yield gauge("shroff_waiting_age_seconds", "Waiting time of the oldest of these events.", queue.age_s)
        meaning = "Requests rejected because they would have waited too long."
        yield counter("shroff_turned_away_total", meaning, queue.turned_away)


class WorkMetrics:
    """Counts of the process that leads a log, or stands by.

    Args:
        work: Returns the current counts.
        is_ready: Returns whether the process is ready.
    """

    def __init__(self, work: Callable[[], WorkerCounts], is_ready: Callable[[], bool]) -> None:
        self._work = work
        self._is_ready = is_ready

    def collect(self) -> Iterator[Family]:
        work = self._work()
        meaning = "1 if the process is ready: a service accepts events, a worker decides them or is on standby."
        yield gauge("shroff_ready", meaning, self._is_ready())
        states = {(state,): float(work.state == state) for state in (LEADING, STANDING_BY, RESTORING)}
        yield gauges("shroff_state", "1 for the current state of the process.", ("state",), states)
        yield from self._decided(work)
        yield from _of_source(work)
        yield counter("shroff_restored_total", "Restores of the state after a failure.", work.restored)
        yield counter("shroff_snapshots_total", "Saved snapshots.", work.snapshots)
        meaning = "Messages quarantined because of a bug in shroff."
        yield counter("shroff_unbearable_total", meaning, work.unbearable)
        sent = {(sink.name,): float(sink.sent) for sink in work.sinks}
        yield counters("shroff_delivered_rows_total", "Rows that a sink accepted, by sink.", ("sink",), sent)
        attempts = {(sink.name,): float(sink.attempts) for sink in work.sinks}
        meaning = "Failed attempts in a row to deliver to a sink, by sink."
        yield gauges("shroff_delivery_failed_attempts", meaning, ("sink",), attempts)
        yield from _of_batches(work.counts.tally or BatchTally())

    def _decided(self, work: WorkerCounts) -> Iterator[Family]:
        yield counter("shroff_batches_total", "Commits with events.", work.batches)
        decided = {(outcome,): float(work.counts.by_outcome[outcome]) for outcome in OUTCOMES}
        yield counters("shroff_decisions_total", "Decisions, by outcome.", ("outcome",), decided)
        taken = {
            (kind, result): float(count)
            for kind, counts in (("event", work.counts.events), ("label", work.counts.labels))
            for result, count in (
                ("appended", counts.appended),
                ("duplicate", counts.duplicates),
                ("quarantined", counts.quarantined),
                ("late", counts.late),
                ("waiting", counts.pending),
            )
        }
        yield counters(
            "shroff_taken_total", "Received events and labels, by kind and result.", ("kind", "became"), taken
        )
        yield counter("shroff_unmatched_total", "Input that no event type accepts.", work.counts.untaken)
        meaning = "Time from the arrival of an event to its commit."
        latencies = work.latencies
        durations = histograms("shroff_decision_seconds", meaning, (), {(): latencies})
        yield replace(durations, exemplars=latencies.exemplars.copy())
        yield gauge("shroff_log_place", "The last sequence number of the log that this process wrote.", work.seq)


def _of_source(work: WorkerCounts) -> Iterator[Family]:
    health = work.health
    yield gauge("shroff_source_waiting", "Backlog of the live source in messages, if known.", health.lag)
    meaning = "Messages of the live source decided after later messages of other partitions."
    yield counter("shroff_source_overtaken_total", meaning, health.overtaken)
    meaning = "Largest overtaking in event time, since the start."
    yield gauge("shroff_source_overtaken_seconds", meaning, health.overtaken_ms / 1_000)
    yield counter("shroff_source_errors_total", "Errors of the live source.", health.errors)
    yield counter(
        "shroff_source_rebalances_total", "Rebalances of the partitions of the live source.", health.rebalances
    )
    failing = {(name,): float(bool(reason)) for name, reason in health.failing.items()}
    meaning = "1 if a named source cannot be read now, by source."
    yield gauges("shroff_source_failing", meaning, ("source",), failing)
    meaning = "1 if the process waits for its source or its log."
    yield gauge("shroff_waits", meaning, bool(work.waits_for))


def _of_batches(tally: BatchTally) -> Iterator[Family]:
    hits = {(rule, "shadow" if is_shadow else "active"): n for (rule, is_shadow), n in tally.all_hits().items()}
    yield counters("shroff_rule_hits_total", "Rule hits, by rule and mode.", ("rule", "mode"), hits)
    scores = {(event,): score for event, score in tally.scores.copy().items()}
    yield histograms("shroff_score", "Scores of decided events, by event type.", ("event",), scores)
    meaning = "Amount of decided events in the project's currency, by event type and outcome."
    yield counters("shroff_decided_amount_total", meaning, ("event", "outcome"), tally.money.copy())
    meaning = "Time from an event to its label, by verdict."
    delays = {(verdict,): delay for verdict, delay in tally.label_s.copy().items()}
    yield histograms("shroff_label_delay_seconds", meaning, ("verdict",), delays)
    meaning = "Time to decide a batch, without reading its input."
    yield histograms("shroff_batch_decide_seconds", meaning, (), {(): tally.decide_s})
    yield histograms("shroff_log_commit_seconds", "Time of a commit to the log.", (), {(): tally.commit_s})
    yield histograms("shroff_log_commit_records", "Records of a commit to the log.", (), {(): tally.records})
    meaning = "Events received minus those decided, taken, quarantined or known before: 0, or shroff has lost events."
    yield gauge("shroff_unreconciled_events", meaning, tally.unreconciled)


class EarlierMetrics:
    """Metrics under the names of an earlier system's dashboards; only if `metrics: earlier_names` is set."""

    def __init__(self, work: Callable[[], WorkerCounts]) -> None:
        self._work = work

    def collect(self) -> Iterator[Family]:
        tally = self._work().counts.tally or BatchTally()
        labels = ("transaction_type", "country")
        figures_by_key = tally.earlier.copy()
        frauds = Counter[tuple[str]]()
        for (_, country), figures in figures_by_key.items():
            frauds[(country,)] += figures.decided_as_fraud
        decided = {key: float(sum(figures.counts)) for key, figures in figures_by_key.items()}
        yield counters("transactions_total", "Decided events, by transaction type and country.", labels, decided)
        meaning = "Events decided as fraud (reviewed or declined, unless earlier_names says otherwise), by country."
        yield counters("fraudulent_transactions_total", meaning, ("country",), frauds)
        meaning = "Amounts of decided events, by transaction type and country."
        yield histograms("transaction_amount", meaning, labels, figures_by_key)


class BuildMetrics:
    """Versions of shroff and Python, and the clock of this machine."""

    def collect(self) -> Iterator[Family]:
        meaning = "1, with the version of shroff and of Python."
        versions = {(__version__, platform.python_version()): 1.0}
        yield gauges("shroff_build_info", meaning, ("version", "python"), versions)
        yield gauge("shroff_clock_seconds", "Time by the clock of this machine, since 1970.", time.time())


class OfOrganization:
    """Metrics of one organization of a service, with the organization's name as a further label.

    Args:
        base: Path prefix of the organization, such as `/o/acme`.
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
    """Return the collectors that a service and a worker share: work, store, build, and earlier names if set."""
    fresh = Fresh[Mapping[str, bool]]()
    ratios: Fresh[list[SchemeRatio]] = Fresh()
    findings = EarlierFindings()

    def checks(project: Project, look: StoreLook, now_ms: int) -> None:
        look.checks = fresh.get("", lambda: project.health.failing_checks(findings), CHECKED_S)

    def schemes(project: Project, look: StoreLook, now_ms: int) -> None:
        from shroff.services.results.operations import ShowResults

        if project.context.systems.scheme_programmes is not None and project.log.exists():
            look.schemes = ratios.get("", lambda: project.run(ShowResults()).programmes, SCHEMES_S)

    store = StoreMetrics(lambda: look_at_store(project, further={"checks": checks, "schemes": schemes}))
    collectors: list[Collector] = [WorkMetrics(work, is_ready), store, BuildMetrics()]
    if project.context.systems.metrics.options.get("earlier_names"):
        collectors.append(EarlierMetrics(work))
    return collectors


def of_service(service: Service) -> list[Collector]:
    shared = of_process(service.project, lambda: service.work, lambda: service.is_ready)
    collectors: list[Collector] = [service.requests, QueueMetrics(service), *shared]
    return [OfOrganization(service.options.base, collectors)] if service.options.base else collectors


def tally_of(project: Project) -> BatchTally:
    options = project.context.systems.metrics.options.get("earlier_names") or {}
    fields = [str(options[name]) for name in ("transaction_type", "country") if name in options]
    return BatchTally(fields, options.get("fraud") or FRAUD_OUTCOMES)


def text(*collectors: Collector) -> bytes:
    """Return the metrics of these collectors and of the process in Prometheus' text format."""
    return page(collectors)[0]


def page(collectors: Sequence[Collector], accept: str = "") -> tuple[bytes, str]:
    """Return the metrics of these collectors and of the process, and the media type.

    The format is OpenMetrics, which has exemplars, if `accept` allows it, else Prometheus' text format. Metrics of
    the process are left out for an organization, which shares it.
    """
    write, media_type = choose_encoder(accept)
    is_open = media_type.startswith("application/openmetrics-text")
    own_text = "".join([family.text(is_open=is_open) for collector in collectors for family in collector.collect()])
    registry = CollectorRegistry()
    if not any(isinstance(collector, OfOrganization) for collector in collectors):
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
    return own_text.encode() + write(registry), media_type
