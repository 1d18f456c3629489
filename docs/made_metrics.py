"""The reference page of metrics, made from the collectors that a service and a worker register."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Final

from prometheus_client import CollectorRegistry, GCCollector, Metric, ProcessCollector

from docs.made_files import MADE, markdown_table
from shroff.web.metric_families import Family
from shroff.web.metrics import BuildMetrics, EarlierMetrics, QueueMetrics, Requests, WorkMetrics
from shroff.web.metrics_store import StoreLook, StoreMetrics
from shroff.worker.serving.counts import WorkerCounts

INTRODUCTION: Final = (
    "Prometheus reads the metrics of each process:\n\n"
    "- **Service** (`shroff serve`): `/metrics` on its own port, with an API key that has the right `read:metrics`.\n"
    "- **Worker** (`shroff run`): `/metrics` on the port of `--metrics-port`, or of `metrics: port` in shroff.yaml, "
    "without a key. `/health/live` answers 200 while the process "
    "responds. `/health/ready` answers 200 if the worker decides events or is on standby, and 503 if it restores its "
    "state or waits for a system.\n\n"
    "If `metrics: port` is set, a service serves the same page on that port too, without a key. Let only Prometheus "
    "reach this port.\n\n"
    "Names begin with `shroff_`, units are seconds, bytes and the project's currency. Counters count since the start "
    "of the process. Labels hold names from the project's files; only the names of earlier dashboards have labels with "
    "values of events. A family has at most 500 series.\n"
)
EARLIER: Final = (
    "Only if `metrics: earlier_names` in shroff.yaml names the event fields of the two labels. A label has at most 200 "
    "values; further ones are counted as `other`. Hashed and personal fields are left empty."
)
GROUPS: Final = (
    ("Service only", "HTTP requests, and posted events that wait for their decision."),
    ("Work of a process", "Decisions, rule hits, scores, amounts, commits and the live source."),
    ("Store", "Read from the store at most every 15 seconds. A metric without a value is left out."),
    ("Process and build", "From the operating system, Python and the package."),
    ("Names of earlier dashboards", EARLIER),
)


def metrics_page() -> str:
    """All metrics, by where they come from."""
    parts = [MADE, "# Metrics\n\n", INTRODUCTION]
    for (title, words), collectors in zip(GROUPS, collectors_of_page(), strict=True):
        rows = [
            (
                f"`{shown_name(metric)}`",
                metric.type,
                ", ".join(f"`{name}`" for name in labels_of(metric)),
                meaning_of(metric),
            )
            for collector in collectors
            for metric in collector.collect()
        ]
        parts.append(f"\n## {title}\n\n{words}\n\n{markdown_table(('name', 'kind', 'labels', 'meaning'), rows)}")
    return "".join(parts)


def collectors_of_page() -> list[list[Any]]:
    """The collectors of each group, of a process that has done nothing."""
    service: Any = SimpleNamespace(writer=SimpleNamespace(queue=SimpleNamespace(waiting=0, age_s=0.0, turned_away=0)))
    return [
        [Requests(), QueueMetrics(service)],
        [WorkMetrics(WorkerCounts, lambda: False)],
        [StoreMetrics(StoreLook)],
        [BuildMetrics(), ProcessCollector(registry=None), GCCollector(CollectorRegistry())],
        [EarlierMetrics(WorkerCounts)],
    ]


def shown_name(metric: Family | Metric) -> str:
    """A metric's name as Prometheus has it."""
    return f"{metric.name}{'_total' * (metric.type == 'counter')}"


def labels_of(metric: Family | Metric) -> list[str]:
    """The labels of a metric."""
    if isinstance(metric, Family):
        return [*metric.labels]
    return sorted({name for sample in metric.samples for name in sample.labels} - {"le"})


def meaning_of(metric: Family | Metric) -> str:
    """What a metric says, as a sentence."""
    return f"{metric.documentation.rstrip('.')}."
