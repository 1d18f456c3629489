"""The dashboards of Grafana, made from tables: `$HERE` in a query is the choice of job and process above the panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tools.watch.alerts import BUDGET_S
from tools.watch.objectives import OBJECTIVES

RATE: Final = "[$__rate_interval]"


@dataclass(frozen=True)
class Panel:
    """One panel.

    Args:
        title: What it shows.
        queries: The legend by query, of PromQL or of SQL.
        unit: As Grafana names it.
        kind: `timeseries`, `stat`, `table` or `heatmap`.
        meaning: Shown behind its title.
        width: Of 24 columns.
        limit: Drawn red from here on; if negative, red below its absolute value.
    """

    title: str
    queries: Mapping[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    meaning: str = ""
    width: int = 8
    limit: float | None = None


@dataclass(frozen=True)
class Dashboard:
    """One dashboard; `choices` are variables by name, each with its query, besides job and process."""

    name: str
    title: str
    panels: Sequence[Panel]
    choices: Mapping[str, str] = field(default_factory=dict)


def rate(name: str, by: str = "instance", where: str = "") -> str:
    """The sum of a counter's growth per second."""
    return f"sum by ({by}) (rate({name}{{$HERE{where}}}{RATE}))"


def quantiles(name: str, by: str = "", where: str = "") -> dict[str, str]:
    """The median and the 99th percentile of a histogram."""
    buckets = f"sum by ({', '.join(filter(None, ('le', by)))}) (rate({name}_bucket{{$HERE{where}}}{RATE}))"
    named = f" {{{{{by}}}}}" if by else ""
    return {
        f"histogram_quantile({share}, {buckets})": f"{words}{named}" for share, words in ((0.5, "p50"), (0.99, "p99"))
    }


def plain(name: str, legend: str = "{{instance}}") -> dict[str, str]:
    """A gauge as it is."""
    return {f"{name}{{$HERE}}": legend}


def top(name: str, legend: str) -> dict[str, str]:
    """A gauge that each process has of the same store: the largest."""
    return {f"max by (job) ({name}{{$HERE}})": legend}


OVERVIEW: Final = Dashboard(
    "overview",
    "Overview",
    (
        Panel("Ready", plain("shroff_ready"), "bool_yes_no", "stat", "Accepts or decides events.", 6),
        Panel("State", {"shroff_state{$HERE} == 1": "{{instance}} {{state}}"}, "none", "stat", width=6),
        Panel("Version", {"shroff_build_info{$HERE}": "{{version}} on Python {{python}}"}, "none", "stat", width=6),
        Panel("Alerts", {'count by (alertname) (ALERTS{alertstate="firing"}) or vector(0)': "{{alertname}}"}, width=6),
        Panel("Decisions", {rate("shroff_decisions_total", "outcome"): "{{outcome}}"}, "ops"),
        Panel("Time to a decision", quantiles("shroff_decision_seconds"), "s", limit=float(BUDGET_S)),
        Panel("Received", {rate("shroff_taken_total", "kind, became"): "{{kind}} {{became}}"}, "ops"),
        Panel("Requests by status", {rate("shroff_http_requests_total", "status"): "{{status}}"}, "reqps"),
        Panel("Time of a request", quantiles("shroff_http_request_seconds", "route"), "s"),
        Panel(
            "Requests that wait",
            plain("shroff_waiting") | {rate("shroff_turned_away_total"): "rejected per second {{instance}}"},
        ),
        Panel("Waiting time of the oldest request", plain("shroff_waiting_age_seconds"), "s", limit=1),
        Panel(
            "Time since the newest event",
            top("shroff_newest_event_age_seconds", "event time")
            | top("shroff_watermark_beyond_clock_seconds", "watermark beyond the clock"),
            "s",
        ),
        Panel(
            "Unreconciled events",
            plain("shroff_unreconciled_events")
            | plain("shroff_unreconciled_summary_events", "summaries of {{instance}}"),
            meaning="Received, but neither decided nor quarantined; or different in summaries and log: always 0.",
            limit=1,
        ),
        Panel(
            "Clock, compared with Prometheus",
            {"shroff_clock_seconds{$HERE} - timestamp(shroff_clock_seconds{$HERE})": "{{instance}}"},
            "s",
        ),
        Panel("Failing checks of doctor", {"max by (check) (shroff_check_failing{$HERE})": "{{check}}"}, limit=1),
        Panel("Waits for its source or log", plain("shroff_waits"), "bool_yes_no", limit=1),
        Panel(
            "Failures",
            {
                "increase(shroff_restored_total{$HERE}[1h])": "restores in an hour {{instance}}",
                "increase(shroff_unbearable_total{$HERE}[1h])": "defects in an hour {{instance}}",
            },
            limit=1,
        ),
    ),
)
DECISIONS: Final = Dashboard(
    "decisions",
    "Decisions and rules",
    (
        Panel("Decisions", {rate("shroff_decisions_total", "outcome"): "{{outcome}}"}, "ops"),
        Panel(
            "Declined share in an hour",
            {
                'shroff:declined_events:ratio1h{job=~"$job"}': "of events",
                'shroff:declined_amount:ratio1h{job=~"$job"}': "of the amount",
            },
            "percentunit",
        ),
        Panel(
            "Amount by outcome",
            {'sum by (outcome) (increase(shroff_decided_amount_total{$HERE, event=~"$event"}[1h]))': "{{outcome}}"},
            meaning="Of the last hour, in the project's currency.",
        ),
        Panel(
            "Rule hits", {rate("shroff_rule_hits_total", "rule", ', mode="active", rule=~"$rule"'): "{{rule}}"}, "ops"
        ),
        Panel(
            "Rule hits, share of events",
            {'shroff:rule_hits:ratio1h{job=~"$job", rule=~"$rule"}': "{{rule}}"},
            "percentunit",
        ),
        Panel(
            "Shadow rule hits",
            {rate("shroff_rule_hits_total", "rule", ', mode="shadow"') + " or vector(0)": "{{rule}}"},
            "ops",
        ),
        Panel(
            "Hits by rule in a day",
            {"sort_desc(sum by (rule, mode) (increase(shroff_rule_hits_total{$HERE}[1d])))": "{{rule}} {{mode}}"},
            kind="table",
        ),
        Panel(
            "Scores",
            {'sum by (le) (increase(shroff_score_bucket{$HERE, event=~"$event"}' + RATE + "))": "{{le}}"},
            kind="heatmap",
        ),
        Panel(
            "Median score",
            {
                "histogram_quantile(0.5, sum by (le, event)"
                ' (rate(shroff_score_bucket{$HERE, event=~"$event"}[1h])))': "{{event}}"
            },
        ),
        Panel(
            "Earlier names: decided, and decided as fraud",
            {
                "sum by (transaction_type, country) (rate(transactions_total{$HERE}"
                + RATE
                + ")) or vector(0)": "{{transaction_type}} {{country}}",
                "sum by (country) (rate(fraudulent_transactions_total{$HERE}"
                + RATE
                + ")) or vector(0)": "decided as fraud {{country}}",
            },
            "ops",
            meaning="Only with `metrics: earlier_names` in shroff.yaml.",
            width=12,
        ),
        Panel(
            "Earlier names: median amount",
            {
                "histogram_quantile(0.5, sum by (le, country) (rate(transaction_amount_bucket{$HERE}[1h])))"
                " or vector(0)": "{{country}}"
            },
            meaning="Only with `metrics: earlier_names` in shroff.yaml.",
            width=12,
        ),
    ),
    {"rule": "label_values(shroff_rule_hits_total, rule)", "event": "label_values(shroff_score_bucket, event)"},
)
MODELS: Final = Dashboard(
    "models",
    "Models and drift",
    (
        Panel(
            "Age of the champion",
            {"max by (event, model) (shroff_model_age_seconds{$HERE})": "{{event}} {{model}}"},
            "s",
            "stat",
            width=12,
        ),
        Panel(
            "Failed gates of the newest model",
            {"max by (event, model) (shroff_model_failed_gates{$HERE})": "{{event}} {{model}}"},
            kind="stat",
            width=12,
            limit=1,
        ),
        Panel("Largest drift (PSI)", {"max by (event) (shroff_drift_psi_max{$HERE})": "{{event}}"}, limit=0.2),
        Panel("Inputs that drifted", {"max by (event) (shroff_drift_inputs{$HERE})": "{{event}}"}, limit=1),
        Panel(
            "Time since the drift check", {"max by (event) (shroff_drift_check_age_seconds{$HERE})": "{{event}}"}, "s"
        ),
        Panel(
            "Share of high scores",
            {
                '1 - sum by (event) (rate(shroff_score_bucket{$HERE, le="0.9"}[1h]))'
                " / sum by (event) (rate(shroff_score_count{$HERE}[1h]))": "above 0.9 {{event}}"
            },
            "percentunit",
        ),
        Panel("Label delay", quantiles("shroff_label_delay_seconds", "verdict"), "s"),
        Panel("Labels without their event", top("shroff_labels_waiting", "waiting")),
        Panel("Amounts without a rate", top("shroff_unrated_amounts", "missing")),
    ),
)
SOURCES: Final = Dashboard(
    "sources-and-sinks",
    "Sources and sinks",
    (
        Panel("Backlog of the live source", plain("shroff_source_waiting")),
        Panel("Backlog in time", {"shroff:source_backlog:seconds{$HERE}": "{{instance}}"}, "s", limit=60),
        Panel("Received", {rate("shroff_taken_total", "kind, became"): "{{kind}} {{became}}"}, "ops"),
        Panel(
            "Sources that cannot be read",
            {'max by (source) (shroff_source_failing{$HERE, source=~"$source"})': "{{source}}"},
            limit=1,
        ),
        Panel(
            "Errors and rebalances",
            {
                "increase(shroff_source_errors_total{$HERE}[1h])": "errors {{instance}}",
                "increase(shroff_source_rebalances_total{$HERE}[1h])": "rebalances {{instance}}",
            },
            meaning="In an hour.",
        ),
        Panel(
            "Overtaken messages",
            {
                rate("shroff_source_overtaken_total"): "per second {{instance}}",
                "shroff_source_overtaken_seconds{$HERE}": "largest, in seconds {{instance}}",
            },
        ),
        Panel("Quarantine", top("shroff_quarantine_entries", "entries")),
        Panel("Unmatched input", {rate("shroff_unmatched_total"): "{{instance}}"}, "ops"),
        Panel("Late events", top("shroff_late_events", "kept without a decision")),
        Panel(
            "Pulled sources: time since they brought events",
            {"max by (source) (shroff_pull_age_seconds{$HERE})": "{{source}}"},
            "s",
            limit=93_600,
            width=12,
        ),
        Panel(
            "Pulled sources: skipped files",
            {"max by (source) (shroff_pull_skipped_files{$HERE})": "{{source}}"},
            limit=1,
            width=12,
        ),
        Panel(
            "Sinks: rows per second",
            {rate("shroff_delivered_rows_total", "sink", ', sink=~"$sink"'): "{{sink}}"},
            "ops",
        ),
        Panel(
            "Sinks: records behind the log", {'max by (sink) (shroff_delivery_lag{$HERE, sink=~"$sink"})': "{{sink}}"}
        ),
        Panel(
            "Sinks: rejected rows",
            {'max by (sink) (shroff_delivery_stuck{$HERE, sink=~"$sink"})': "{{sink}}"}
            | top("shroff_stuck_rows", "all"),
            limit=1,
        ),
        Panel(
            "Sinks that fail",
            {
                'max by (sink) (shroff_delivery_failing{$HERE, sink=~"$sink"})': "{{sink}}",
                'max by (sink) (shroff_delivery_failed_attempts{$HERE, sink=~"$sink"})': "attempts {{sink}}",
            },
            limit=1,
        ),
        Panel("Outbox", top("shroff_outbox_rows", "messages")),
    ),
    {"source": "label_values(shroff_source_failing, source)", "sink": "label_values(shroff_delivery_lag, sink)"},
)
CASES: Final = Dashboard(
    "cases",
    "Cases and customers",
    (
        Panel("Open cases", top("shroff_cases_open", "open"), kind="stat", width=6),
        Panel("Overdue", top("shroff_cases_overdue", "overdue"), kind="stat", width=6, limit=1),
        Panel("Escalated", top("shroff_cases_escalated", "escalated"), kind="stat", width=6),
        Panel("Age of the oldest open case", top("shroff_case_age_seconds", "age"), "s", "stat", width=6),
        Panel(
            "Cases",
            top("shroff_cases_open", "open")
            | top("shroff_cases_overdue", "overdue")
            | top("shroff_cases_escalated", "escalated"),
        ),
        Panel("Time until the next case is due", {"min by (job) (shroff_case_due_seconds{$HERE})": "due in"}, "s"),
        Panel("Labels", {rate("shroff_label_delay_seconds_count", "verdict"): "{{verdict}}"}, "ops"),
        Panel("Label delay", quantiles("shroff_label_delay_seconds", "verdict"), "s"),
        Panel(
            "Notifications that wait",
            {'max by (sink) (shroff_delivery_lag{$HERE, sink=~"notices|notice .*"})': "{{sink}}"},
        ),
        Panel(
            "Notifications refused",
            {'max by (sink) (shroff_delivery_stuck{$HERE, sink=~"notices|notice .*"})': "{{sink}}"},
            limit=1,
        ),
    ),
)
STORE: Final = Dashboard(
    "store-and-host",
    "Store and host",
    (
        Panel("Time of a commit", quantiles("shroff_log_commit_seconds"), "s", limit=0.5),
        Panel("Time to decide a batch", quantiles("shroff_batch_decide_seconds"), "s"),
        Panel("Records of a commit", quantiles("shroff_log_commit_records")),
        Panel("Commits", {rate("shroff_batches_total"): "{{instance}}"}, "ops"),
        Panel("Sequence number of the log", plain("shroff_log_place")),
        Panel(
            "Size of the log",
            top("shroff_log_size_bytes", "size") | top("shroff_log_write_ahead_bytes", "write-ahead log"),
            "bytes",
        ),
        Panel(
            "Free disk",
            {"min by (job) (shroff_disk_free_bytes{$HERE} / shroff_disk_size_bytes{$HERE})": "free"},
            "percentunit",
            limit=-0.1,
        ),
        Panel("Age of the newest snapshot", top("shroff_snapshot_age_seconds", "age"), "s", limit=7_200),
        Panel(
            "Age of the newest backup",
            top("shroff_backup_age_seconds", "age") | top("shroff_backup_missing_seconds", "no backup since"),
            "s",
            limit=93_600,
        ),
        Panel("Snapshots in an hour", {"increase(shroff_snapshots_total{$HERE}[1h])": "{{instance}}"}),
        Panel(
            "Metrics of the store",
            {
                "shroff_store_read_age_seconds{$HERE}": "age in seconds {{instance}}",
                "shroff_store_read_failed{$HERE}": "failed {{part}}",
            },
        ),
        Panel("Processor", {"rate(process_cpu_seconds_total{$HERE}" + RATE + ")": "{{instance}}"}, "percentunit"),
        Panel("Memory", plain("process_resident_memory_bytes"), "bytes"),
        Panel(
            "Open files", {"process_open_fds{$HERE} / process_max_fds{$HERE}": "{{instance}}"}, "percentunit", limit=0.8
        ),
        Panel("Time since the start", {"time() - process_start_time_seconds{$HERE}": "{{instance}}"}, "s"),
        Panel(
            "Garbage collections",
            {"rate(python_gc_collections_total{$HERE}" + RATE + ")": "{{instance}} {{generation}}"},
            "ops",
        ),
    ),
)
OBJECTIVE_WORDS: Final = " ".join(f"{objective.name}: {objective.meaning}" for objective in OBJECTIVES)
SLOS: Final = Dashboard(
    "slos",
    "SLOs",
    (
        Panel(
            "Error budget that is left",
            {'1 - avg_over_time(shroff:slo_burn:1h{job=~"$job", slo=~"$slo"}[30d])': "{{slo}}"},
            "percentunit",
            "stat",
            f"Of 30 days. {OBJECTIVE_WORDS}",
            24,
            -0.1,
        ),
        *(
            Panel(
                f"Burn rate over {window}",
                {f'shroff:slo_burn:{window}{{job=~"$job", slo=~"$slo"}}': "{{slo}}"},
                limit=limit,
            )
            for window, limit in (("5m", 14.4), ("30m", 6), ("1h", 14.4), ("2h", 3), ("6h", 6), ("1d", 3), ("3d", 1))
        ),
        Panel(
            "Signals of freshness and correctness",
            {
                "shroff:source_stale:bool{$HERE}": "stale {{instance}}",
                "shroff:unreconciled:bool{$HERE}": "unreconciled {{instance}}",
            },
        ),
    ),
    {"slo": "label_values(shroff:slo_burn:5m, slo)"},
)
# The tables of `shroff summaries`, one row for each window.
ROWS: Final = "SELECT window_start AS time, WHAT FROM TABLE WHERE $__timeFilter(window_start) ORDER BY 1"
NAMED: Final = (
    "SELECT named.value AS name, SUM(JSON_VALUE(COLUMN, CONCAT('$.\"', named.value, '\"'))) AS transactions"
    " FROM transaction_summaries, JSON_TABLE(JSON_KEYS(COLUMN), '$[*]' COLUMNS (value VARCHAR(200) PATH '$')) AS named"
    " WHERE $__timeFilter(window_start) GROUP BY 1 ORDER BY 2 DESC"
)


def rows(what: str, table: str = "transaction_summaries") -> dict[str, str]:
    """What the windows have."""
    return {ROWS.replace("WHAT", what).replace("TABLE", table): ""}


def named(column: str) -> dict[str, str]:
    """Transactions by the values of a column that counts them."""
    return {NAMED.replace("(COLUMN", f"({column}"): ""}


CARDS: Final = Dashboard(
    "cards",
    "Card transactions",
    (
        Panel("Transactions", rows("transaction_count AS transactions")),
        Panel("Amount", rows("amount_sum AS amount")),
        Panel("Average amount", rows("average_amount AS average")),
        Panel("Fraud", rows("fraud_count AS found, confirmed_fraud_count AS confirmed")),
        Panel("Fraud share", rows("fraud_count / NULLIF(transaction_count, 0) AS share"), "percentunit"),
        Panel("Amount of fraud", rows("amount_sum AS amount", "fraud_summaries")),
        Panel("Transactions by card type", named("card_type"), kind="table"),
        Panel("Transactions by country", named("transaction_country"), kind="table"),
        Panel("Transactions by bank", named("bank"), kind="table"),
    ),
)
DASHBOARDS: Final = (OVERVIEW, DECISIONS, MODELS, SOURCES, CASES, STORE, SLOS, CARDS)
# Metrics that no panel shows, and why.
UNSHOWN: Final = {
    "process_virtual_memory_bytes": "Resident memory says what is used.",
    "python_gc_objects_collected_total": "Collections say how much work the collector has.",
    "python_gc_objects_uncollectable_total": "0 since Python 3.4, except for extensions with defects.",
}
