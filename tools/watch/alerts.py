"""The alerts: when each fires, what it says, and the values by which its test makes it fire.

`rules.py` writes them as rules of Prometheus, `tests/deploy/trials.py` as tests of promtool. The section of the same
name in `docs/runbooks/` says what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from shroff.monitoring.doctor_systems import WRITE_AHEAD_BYTES_MAX
from shroff.runtime.values import replace
from shroff.worker.outbox import ONLINE

CRITICAL: Final = "critical"  # somebody must look now
WARNING: Final = "warning"  # somebody must look today
BUDGET_S: Final = "0.25"  # from the arrival of an event to its commit; a bound of shroff_decision_seconds
HERE: Final = {"job": "shroff", "instance": "a:8080"}  # of the series in tests
JOB: Final = {"job": "shroff"}


@dataclass(frozen=True)
class Count:
    """A counter in a test, going on from where it was: what it adds per minute, and how far it is off (a clock)."""

    per_minute: float
    off: float = 0


Value = float | Count | None  # None: the series is missing
Labels = Mapping[str, str]


@dataclass(frozen=True)
class Trial:
    """What makes an alert fire in its test.

    Args:
        series: By name and labels: the value just below the limit and the one at fault.
        says: The summary that then arrives.
        labels: Those of the alert, besides its severity.
        delay: Minutes from the fault until the expression is true: a window must fill.
        back: Minutes from its end until the alert has resolved.
        before: Minutes of the value just below, first.
        step: Minutes between two scrapes.
    """

    series: Mapping[str, tuple[Value, Value]]
    says: str
    labels: Labels = field(default_factory=lambda: HERE)
    delay: int = 0
    back: int = 1
    before: int = 10
    step: int = 1


@dataclass(frozen=True)
class Alert:
    """One alert; `minutes` is how long the expression must be true, `page` that of its runbook."""

    name: str
    severity: str
    minutes: int
    expr: str
    summary: str
    trial: Trial
    page: str = ""


def _checks_of(deliveries: str) -> str:
    """Samples of sinks under the names that `doctor` has for their checks."""
    found = f'label_replace({deliveries}, "check", "sink $1", "sink", "(.*)")'
    return f'label_replace({found}, "check", "online", "sink", "{ONLINE}")'


def _at(name: str, **labels: str) -> str:
    """A series of one process."""
    return f"{name}{{" + ", ".join(f'{key}="{value}"' for key, value in (HERE | labels).items()) + "}"


def _usual(ratio: str) -> str:
    """A ratio that is far from its week: by three standard deviations, and by at least a percentage point."""
    week = f"{ratio}[7d] offset 1h"
    away = f"abs({ratio} - avg_over_time({week}))"
    return f"{away} > 0.01 and {away} > 3 * stddev_over_time({week}) and shroff:decisions:1h > 100"


WHO: Final = "{{ $labels.instance }}"
PERCENT: Final = "{{ $value | humanizePercentage }}"
NUMBER: Final = "{{ $value | humanize }}"
SPAN: Final = "{{ $value | humanizeDuration }}"
BYTES: Final = "{{ $value | humanize1024 }}B"
LAG: Final = "shroff_source_waiting"
P99: Final = "histogram_quantile(0.99, sum by (job, instance, le) (rate({}_bucket[5m])))"

SERVICE: Final = (
    Alert(
        "ShroffDown",
        CRITICAL,
        1,
        'up{job=~"shroff.*"} == 0 or (up == 0 and on (job, instance) last_over_time(shroff_ready[1d]))',
        f"{WHO} does not answer Prometheus",
        Trial({_at("up"): (1, 0)}, "a:8080 does not answer Prometheus"),
    ),
    Alert(
        "ShroffNotScraped",
        CRITICAL,
        5,
        'absent(up{job=~"shroff.*"}) unless on () count(last_over_time(shroff_ready[1d]))',
        "Prometheus knows no process of shroff",
        Trial({_at("up"): (1, None)}, "Prometheus knows no process of shroff", labels={}, delay=5),
    ),
    Alert(
        "ShroffJobVanished",
        CRITICAL,
        5,
        "count by (job) (last_over_time(shroff_ready[1d])) unless on (job) up",
        "Prometheus no longer finds any process of job {{ $labels.job }}; it found {{ $value }} within the last day",
        Trial(
            {
                'up{job="worker", instance="w:8080"}': (1, None),
                'shroff_ready{job="worker", instance="w:8080"}': (1, None),
                _at("up"): (1, 1),
                _at("shroff_ready"): (1, 1),
            },
            "Prometheus no longer finds any process of job worker; it found 1 within the last day",
            labels={"job": "worker"},
            delay=5,
        ),
    ),
    Alert(
        "ShroffNotReady",
        CRITICAL,
        2,
        'shroff_ready == 0 unless on (job, instance) shroff_state{state="standing by"} == 1',
        f"{WHO} is not ready: it takes no events",
        Trial(
            {
                _at("shroff_ready"): (1, 0),
                _at("shroff_ready", instance="standby:8080"): (0, 0),
                _at("shroff_state", instance="standby:8080", state="standing by"): (1, 1),
            },
            "a:8080 is not ready: it takes no events",
        ),
    ),
    Alert(
        "ShroffNoWriter",
        CRITICAL,
        2,
        'sum by (job) (shroff_state{state="leading"}) == 0',
        "No process of {{ $labels.job }} decides events",
        Trial({_at("shroff_state", state="leading"): (1, 0)}, "No process of shroff decides events", labels=JOB),
    ),
    Alert(
        "ShroffWaits",
        CRITICAL,
        5,
        "shroff_waits == 1",
        f"{WHO} waits for its source or its log",
        Trial({_at("shroff_waits"): (0, 1)}, "a:8080 waits for its source or its log"),
    ),
    Alert(
        "ShroffRequestsRejected",
        WARNING,
        5,
        "increase(shroff_turned_away_total[5m]) > 0",
        f"{WHO} rejected {NUMBER} requests in 5 minutes: it is overloaded",
        Trial(
            {_at("shroff_turned_away_total"): (Count(0), Count(20))},
            "a:8080 rejected 100 requests in 5 minutes: it is overloaded",
            delay=5,
            back=6,
        ),
    ),
    Alert(
        "ShroffRequestsFail",
        CRITICAL,
        5,
        'sum by (job, instance) (rate(shroff_http_requests_total{status=~"5..", status!="503"}[5m]))'
        " / sum by (job, instance) (rate(shroff_http_requests_total[5m])) > 0.01",
        f"{WHO} answers {PERCENT} of requests with an error of its own",
        Trial(
            {
                _at("shroff_http_requests_total", status="200"): (Count(991), Count(980)),
                _at("shroff_http_requests_total", status="500"): (Count(9), Count(20)),
                _at("shroff_http_requests_total", status="503"): (Count(0), Count(0)),
            },
            "a:8080 answers 2% of requests with an error of its own",
            delay=5,
            back=6,
        ),
    ),
    Alert(
        "ShroffDecisionsSlow",
        CRITICAL,
        10,
        f"{P99.format('shroff_decision_seconds')} > {BUDGET_S}",
        f"{WHO}: 1 % of decisions take {SPAN} or more",
        Trial(
            {
                _at("shroff_decision_seconds_bucket", le="0.1"): (Count(0), Count(0)),
                _at("shroff_decision_seconds_bucket", le="0.25"): (Count(99), Count(98)),
                _at("shroff_decision_seconds_bucket", le="0.5"): (Count(100), Count(100)),
                _at("shroff_decision_seconds_bucket", le="+Inf"): (Count(100), Count(100)),
            },
            "a:8080: 1 % of decisions take 375ms or more",
            delay=5,
            back=6,
        ),
    ),
    Alert(
        "ShroffQueueOld",
        WARNING,
        2,
        "shroff_waiting_age_seconds > 1",
        f"{WHO}: a request has waited {SPAN} for its decision",
        Trial({_at("shroff_waiting_age_seconds"): (1, 2.5)}, "a:8080: a request has waited 2.5s for its decision"),
    ),
    Alert(
        "ShroffRestores",
        WARNING,
        0,
        "increase(shroff_restored_total[1h]) > 2",
        f"{WHO} restored its state {NUMBER} times in an hour",
        Trial(
            {_at("shroff_restored_total"): (Count(1 / 30), Count(0.1))},
            "a:8080 restored its state 6 times in an hour",
            delay=60,
            back=60,
            before=60,
        ),
    ),
    Alert(
        "ShroffRestarts",
        WARNING,
        0,
        "changes(process_start_time_seconds[30m]) > 2 and on (job, instance) shroff_build_info",
        f"{WHO} started {NUMBER} times in 30 minutes",
        Trial(
            {
                _at("process_start_time_seconds"): (Count(0), Count(1)),
                _at("shroff_build_info", version="1", python="3"): (1, 1),
            },
            "a:8080 started 6 times in 30 minutes",
            delay=5,
            back=31,
        ),
    ),
    Alert(
        "ShroffDefect",
        WARNING,
        0,
        "increase(shroff_unbearable_total[30m]) > 0",
        f"{WHO} quarantined messages because of a defect in shroff",
        Trial(
            {_at("shroff_unbearable_total"): (Count(0), Count(1))},
            "a:8080 quarantined messages because of a defect in shroff",
            delay=2,
            back=31,
        ),
    ),
    Alert(
        "ShroffCheckFailing",
        WARNING,
        10,
        f"shroff_check_failing == 1 unless on (job, instance, check) {_checks_of('shroff_delivery_failing == 1')}",
        f"{WHO}: 'shroff doctor' finds something wrong with: {{{{ $labels.check }}}}",
        Trial(
            {
                _at("shroff_check_failing", check="mail server"): (0, 1),
                _at("shroff_check_failing", check="sink hook"): (0, 1),
                _at("shroff_delivery_failing", sink="hook"): (0, 1),
            },
            "a:8080: 'shroff doctor' finds something wrong with: mail server",
            labels=HERE | {"check": "mail server"},
        ),
    ),
    Alert(
        "ShroffClockSkew",
        WARNING,
        5,
        "abs(shroff_clock_seconds - timestamp(shroff_clock_seconds)) > 2",
        f"The clocks of {WHO} and of Prometheus differ by {SPAN}",
        Trial(
            {_at("shroff_clock_seconds"): (Count(60, off=2), Count(60, off=-7))},
            "The clocks of a:8080 and of Prometheus differ by 7s",
        ),
    ),
    Alert(
        "ShroffFilesRunOut",
        WARNING,
        10,
        "process_open_fds / process_max_fds > 0.8 and on (job, instance) shroff_build_info",
        f"{WHO} has {PERCENT} of its file descriptors open",
        Trial(
            {
                _at("process_open_fds"): (800, 900),
                _at("process_max_fds"): (1_000, 1_000),
                _at("shroff_build_info", version="1", python="3"): (1, 1),
            },
            "a:8080 has 90% of its file descriptors open",
        ),
    ),
)

SOURCES: Final = (
    Alert(
        "ShroffSourceFailing",
        WARNING,
        5,
        "shroff_source_failing == 1",
        "Source {{ $labels.source }} cannot be read",
        Trial(
            {_at("shroff_source_failing", source="kafka"): (0, 1)},
            "Source kafka cannot be read",
            labels=HERE | {"source": "kafka"},
        ),
    ),
    Alert(
        "ShroffNoEvents",
        CRITICAL,
        5,
        f"sum by (job, instance) (rate(shroff_taken_total[5m])) == 0 and on (job, instance) {LAG} > 0",
        f"{WHO} receives nothing while its source has messages",
        Trial(
            {_at("shroff_taken_total", kind="event", became="appended"): (Count(1), Count(0)), _at(LAG): (9, 9)},
            "a:8080 receives nothing while its source has messages",
            delay=5,
        ),
    ),
    Alert(
        "ShroffBacklog",
        WARNING,
        10,
        "shroff:source_backlog:seconds > 60",
        f"{WHO} needs {SPAN} for the backlog of its source",
        Trial(
            {
                _at("shroff_taken_total", kind="event", became="appended"): (Count(6_000), Count(6_000)),
                _at(LAG): (6_000, 30_000),
            },
            "a:8080 needs 5m 0s for the backlog of its source",
        ),
    ),
    Alert(
        "ShroffSourceSilent",
        WARNING,
        10,
        "shroff_pull_age_seconds > 26 * 3600",
        f"Source {{{{ $labels.source }}}} brought nothing for {SPAN}: a day is missing",
        Trial(
            {_at("shroff_pull_age_seconds", source="exports"): (93_600, 180_000)},
            "Source exports brought nothing for 2d 2h 0m 0s: a day is missing",
            labels=HERE | {"source": "exports"},
        ),
    ),
    Alert(
        "ShroffFilesSkipped",
        WARNING,
        5,
        "shroff_pull_skipped_files > 0",
        f"{NUMBER} files of source {{{{ $labels.source }}}} are skipped",
        Trial(
            {_at("shroff_pull_skipped_files", source="exports"): (0, 3)},
            "3 files of source exports are skipped",
            labels=HERE | {"source": "exports"},
        ),
    ),
    Alert(
        "ShroffQuarantineGrows",
        WARNING,
        5,
        'sum by (job, instance) (increase(shroff_taken_total{became="quarantined"}[30m])) > 10',
        f"{WHO} quarantined {NUMBER} messages in 30 minutes",
        Trial(
            {_at("shroff_taken_total", kind="event", became="quarantined"): (Count(1 / 3), Count(2))},
            "a:8080 quarantined 60 messages in 30 minutes",
            delay=30,
            back=30,
            before=30,
        ),
    ),
    Alert(
        "ShroffUnmatchedInput",
        WARNING,
        5,
        "increase(shroff_unmatched_total[30m]) > 100",
        f"{WHO} received {NUMBER} messages in 30 minutes that no event type accepts",
        Trial(
            {_at("shroff_unmatched_total"): (Count(10 / 3), Count(10))},
            "a:8080 received 300 messages in 30 minutes that no event type accepts",
            delay=30,
            back=30,
            before=30,
        ),
    ),
    Alert(
        "ShroffLateEvents",
        WARNING,
        10,
        'sum by (job, instance) (rate(shroff_taken_total{kind="event", became="late"}[30m]))'
        ' / sum by (job, instance) (rate(shroff_taken_total{kind="event"}[30m])) > 0.01',
        f"{PERCENT} of events reach {WHO} too late for a decision",
        Trial(
            {
                _at("shroff_taken_total", kind="event", became="appended"): (Count(992), Count(980)),
                _at("shroff_taken_total", kind="event", became="late"): (Count(8), Count(20)),
            },
            "2% of events reach a:8080 too late for a decision",
            delay=30,
            back=30,
            before=30,
        ),
    ),
    Alert(
        "ShroffWatermarkAhead",
        CRITICAL,
        1,
        "shroff_watermark_beyond_clock_seconds > 0",
        f"{WHO}: the watermark is {SPAN} ahead of the clock: every event is too late",
        Trial(
            {_at("shroff_watermark_beyond_clock_seconds"): (0, 7_200)},
            "a:8080: the watermark is 2h 0m 0s ahead of the clock: every event is too late",
        ),
    ),
    Alert(
        "ShroffRebalances",
        WARNING,
        5,
        "increase(shroff_source_rebalances_total[30m]) > 5",
        f"The partitions of {WHO} were rebalanced {NUMBER} times in 30 minutes",
        Trial(
            {_at("shroff_source_rebalances_total"): (Count(0.16), Count(1))},
            "The partitions of a:8080 were rebalanced 30 times in 30 minutes",
            delay=30,
            back=30,
            before=30,
        ),
    ),
)

DELIVERIES: Final = (
    Alert(
        "ShroffDeliveryFailing",
        WARNING,
        10,
        "shroff_delivery_failing == 1",
        "Sink {{ $labels.sink }} accepts no rows",
        Trial(
            {_at("shroff_delivery_failing", sink="warehouse"): (0, 1)},
            "Sink warehouse accepts no rows",
            labels=HERE | {"sink": "warehouse"},
        ),
    ),
    Alert(
        "ShroffDeliveryBehind",
        WARNING,
        15,
        '(shroff_delivery_lag{sink!="notices"} > 10000 or shroff_delivery_lag{sink="notices"} > 1000)'
        " and deriv(shroff_delivery_lag[10m]) >= 0",
        f"{{{{ $labels.sink }}}}: {NUMBER} records or messages wait to be sent, and they do not become fewer",
        Trial(
            {_at("shroff_delivery_lag", sink="warehouse"): (10_000, 25_000)},
            "warehouse: 25k records or messages wait to be sent, and they do not become fewer",
            labels=HERE | {"sink": "warehouse"},
        ),
    ),
    Alert(
        "ShroffDeadLettersGrow",
        WARNING,
        0,
        'delta(shroff_delivery_stuck{sink!="notices"}[1h]) > 0',
        f"Sink {{{{ $labels.sink }}}} rejected {NUMBER} rows in an hour",
        Trial(
            {_at("shroff_delivery_stuck", sink="warehouse"): (4, Count(1))},
            "Sink warehouse rejected 60 rows in an hour",
            labels=HERE | {"sink": "warehouse"},
            delay=60,
            back=60,
            before=60,
        ),
    ),
    Alert(
        "ShroffMailRefused",
        WARNING,
        0,
        'delta(shroff_delivery_stuck{sink="notices"}[1h]) > 0',
        f"The mail server refused {NUMBER} notifications in an hour",
        Trial(
            {_at("shroff_delivery_stuck", sink="notices"): (4, Count(0.1))},
            "The mail server refused 6 notifications in an hour",
            labels=HERE | {"sink": "notices"},
            delay=60,
            back=60,
            before=60,
        ),
    ),
    Alert(
        "ShroffOutboxStuck",
        WARNING,
        0,
        "min_over_time(shroff_outbox_rows[12h]) > 0 and delta(shroff_outbox_rows[1h]) >= 0"
        " and count_over_time(shroff_outbox_rows[12h]) > 12",
        f"{NUMBER} or more messages have waited in the outbox for 12 hours",
        Trial(
            {_at("shroff_outbox_rows"): (0, 7)},
            "7 or more messages have waited in the outbox for 12 hours",
            delay=720,
            before=720,
            step=10,
            back=10,
        ),
    ),
)

STORE: Final = (
    Alert(
        "ShroffUnreconciled",
        CRITICAL,
        2,
        "shroff_unreconciled_events != 0",
        f"{WHO}: {NUMBER} events were received but neither decided nor quarantined",
        Trial(
            {_at("shroff_unreconciled_events"): (0, 2)},
            "a:8080: 2 events were received but neither decided nor quarantined",
        ),
    ),
    Alert(
        "ShroffDiskNearlyFull",
        CRITICAL,
        5,
        "shroff_disk_free_bytes / shroff_disk_size_bytes < 0.1",
        f"{WHO}: {PERCENT} of the disk is free",
        Trial(
            {_at("shroff_disk_free_bytes"): (10, 5), _at("shroff_disk_size_bytes"): (100, 100)},
            "a:8080: 5% of the disk is free",
        ),
    ),
    Alert(
        "ShroffDiskFills",
        WARNING,
        30,
        "predict_linear(shroff_disk_free_bytes[6h], 2 * 86400) < 0"
        " and shroff_disk_free_bytes / shroff_disk_size_bytes < 0.4",
        f"{WHO}: the disk is full in two days at the rate of the last 6 hours",
        Trial(
            {_at("shroff_disk_free_bytes"): (39, Count(-0.3)), _at("shroff_disk_size_bytes"): (100, 100)},
            "a:8080: the disk is full in two days at the rate of the last 6 hours",
            delay=60,
            before=360,
            back=400,
        ),
    ),
    Alert(
        "ShroffCommitsSlow",
        WARNING,
        10,
        f"{P99.format('shroff_log_commit_seconds')} > 0.5",
        f"{WHO}: 1 % of commits to the log take {SPAN} or more",
        Trial(
            {
                _at("shroff_log_commit_seconds_bucket", le="0.25"): (Count(0), Count(0)),
                _at("shroff_log_commit_seconds_bucket", le="0.5"): (Count(99), Count(98)),
                _at("shroff_log_commit_seconds_bucket", le="1.0"): (Count(100), Count(100)),
                _at("shroff_log_commit_seconds_bucket", le="+Inf"): (Count(100), Count(100)),
            },
            "a:8080: 1 % of commits to the log take 750ms or more",
            delay=5,
            back=6,
        ),
    ),
    Alert(
        "ShroffWriteAheadGrows",
        WARNING,
        5,
        f"shroff_log_write_ahead_bytes > {WRITE_AHEAD_BYTES_MAX}",
        f"{WHO}: {BYTES} of the write-ahead log have not moved into the log",
        Trial(
            {_at("shroff_log_write_ahead_bytes"): (WRITE_AHEAD_BYTES_MAX, 2 * WRITE_AHEAD_BYTES_MAX)},
            "a:8080: 1GiB of the write-ahead log have not moved into the log",
        ),
    ),
    Alert(
        "ShroffSnapshotOld",
        WARNING,
        10,
        "shroff_snapshot_age_seconds > 2 * 3600 and on (job, instance) rate(shroff_batches_total[1h]) > 0",
        f"{WHO}: the newest snapshot is {SPAN} old, so a restart takes long",
        Trial(
            {_at("shroff_snapshot_age_seconds"): (7_200, 10_800), _at("shroff_batches_total"): (Count(1), Count(1))},
            "a:8080: the newest snapshot is 3h 0m 0s old, so a restart takes long",
        ),
    ),
    Alert(
        "ShroffBackupOld",
        WARNING,
        10,
        "shroff_backup_age_seconds > 26 * 3600",
        f"{WHO}: the newest backup is {SPAN} old",
        Trial({_at("shroff_backup_age_seconds"): (93_600, 180_000)}, "a:8080: the newest backup is 2d 2h 0m 0s old"),
    ),
    Alert(
        "ShroffBackupMissing",
        WARNING,
        10,
        "shroff_backup_missing_seconds > 26 * 3600",
        f"{WHO}: no backup was made since its log began {SPAN} ago",
        Trial(
            {_at("shroff_backup_missing_seconds"): (93_600, 180_000)},
            "a:8080: no backup was made since its log began 2d 2h 0m 0s ago",
        ),
    ),
    Alert(
        "ShroffSummariesDiffer",
        WARNING,
        15,
        "shroff_unreconciled_summary_events != 0",
        f"{WHO}: summaries of the last day differ from the log by {NUMBER} events",
        Trial(
            {_at("shroff_unreconciled_summary_events"): (0, 3)},
            "a:8080: summaries of the last day differ from the log by 3 events",
        ),
    ),
    Alert(
        "ShroffStoreUnread",
        WARNING,
        5,
        "shroff_store_read_failed == 1",
        f"{WHO} cannot read the part {{{{ $labels.part }}}} of its store",
        Trial(
            {_at("shroff_store_read_failed", part="cases"): (0, 1)},
            "a:8080 cannot read the part cases of its store",
            labels=HERE | {"part": "cases"},
        ),
    ),
    Alert(
        "ShroffStoreSlow",
        WARNING,
        5,
        "shroff_store_read_age_seconds > 300",
        f"{WHO}: metrics of the store are {SPAN} old",
        Trial({_at("shroff_store_read_age_seconds"): (300, 600)}, "a:8080: metrics of the store are 10m 0s old"),
    ),
)

DECISIONS: Final = (
    Alert(
        "ShroffDeclinesUnusual",
        WARNING,
        30,
        _usual("shroff:declined_events:ratio1h"),
        f"The share of declined events of {{{{ $labels.job }}}} is {PERCENT} away from its week",
        Trial(
            {
                _at("shroff_decisions_total", outcome="approve"): (Count(91), Count(80)),
                _at("shroff_decisions_total", outcome="decline"): (Count(9), Count(20)),
            },
            "The share of declined events of shroff is 10.88% away from its week",
            labels=JOB,
            delay=60,
            back=90,
            before=1_500,
            step=10,
        ),
    ),
    Alert(
        "ShroffDeclinedMoneyUnusual",
        WARNING,
        30,
        _usual("shroff:declined_amount:ratio1h"),
        f"The declined share of the amount of {{{{ $labels.job }}}} is {PERCENT} away from its week",
        Trial(
            {
                _at("shroff_decided_amount_total", event="payment", outcome="approve"): (Count(9_000), Count(8_000)),
                _at("shroff_decided_amount_total", event="payment", outcome="decline"): (None, Count(2_000)),
                _at("shroff_decisions_total", outcome="approve"): (Count(10), Count(10)),
            },
            "The declined share of the amount of shroff is 19.79% away from its week",
            labels=JOB,
            delay=60,
            back=90,
            before=1_500,
            step=10,
        ),
    ),
    Alert(
        "ShroffRuleSpikes",
        WARNING,
        15,
        "shroff:rule_hits:ratio1h > 5 * avg_over_time(shroff:rule_hits:ratio1h[7d] offset 1h)"
        " and shroff:rule_hits:1h > 20",
        f"Rule {{{{ $labels.rule }}}} hits {PERCENT} of events, more than five times its week",
        Trial(
            {
                _at("shroff_rule_hits_total", rule="card_testing", mode="active"): (Count(2), Count(20)),
                _at("shroff_decisions_total", outcome="approve"): (Count(100), Count(100)),
            },
            "Rule card_testing hits 20% of events, more than five times its week",
            labels=JOB | {"rule": "card_testing"},
            delay=60,
            back=60,
            before=1_500,
            step=10,
        ),
    ),
    Alert(
        "ShroffRuleSilent",
        WARNING,
        60,
        'sum by (job, rule) (increase(shroff_rule_hits_total{mode="active"}[7d] offset 1d)) > 70'
        ' unless sum by (job, rule) (increase(shroff_rule_hits_total{mode="active"}[1d])) > 0'
        " unless on (job) shroff:decisions:1h < 100",
        f"Rule {{{{ $labels.rule }}}} had {NUMBER} hits in the week before, and none in the last day",
        Trial(
            {
                _at("shroff_rule_hits_total", rule="card_testing", mode="active"): (Count(0.1), Count(0)),
                _at("shroff_decisions_total", outcome="approve"): (Count(100), Count(100)),
            },
            "Rule card_testing had 719 hits in the week before, and none in the last day",
            labels=JOB | {"rule": "card_testing"},
            delay=1_440,
            back=30,
            before=7_200,
            step=10,
        ),
    ),
)

CASES: Final = (
    Alert(
        "ShroffDrift",
        WARNING,
        60,
        "shroff_drift_inputs > 0",
        f"{NUMBER} inputs or scores of {{{{ $labels.event }}}} drifted from their reference",
        Trial(
            {_at("shroff_drift_inputs", event="payment"): (0, 2)},
            "2 inputs or scores of payment drifted from their reference",
            labels=HERE | {"event": "payment"},
        ),
    ),
    Alert(
        "ShroffDriftUnchecked",
        WARNING,
        60,
        "shroff_drift_check_age_seconds > 8 * 86400",
        f"The last drift check of {{{{ $labels.event }}}} is {SPAN} old",
        Trial(
            {_at("shroff_drift_check_age_seconds", event="payment"): (691_200, 777_600)},
            "The last drift check of payment is 9d 0h 0m 0s old",
            labels=HERE | {"event": "payment"},
        ),
    ),
    Alert(
        "ShroffGateFailed",
        WARNING,
        0,
        "shroff_model_failed_gates > 0",
        f"Model {{{{ $labels.model }}}} of {{{{ $labels.event }}}} failed {NUMBER} gates",
        Trial(
            {_at("shroff_model_failed_gates", event="payment", model="m-2"): (0, 1)},
            "Model m-2 of payment failed 1 gates",
            labels=HERE | {"event": "payment", "model": "m-2"},
        ),
    ),
    Alert(
        "ShroffModelOld",
        WARNING,
        60,
        "shroff_model_age_seconds > 180 * 86400",
        f"Model {{{{ $labels.model }}}} of {{{{ $labels.event }}}} has been champion for {SPAN}",
        Trial(
            {_at("shroff_model_age_seconds", event="payment", model="m-1"): (15_552_000, 17_280_000)},
            "Model m-1 of payment has been champion for 200d 0h 0m 0s",
            labels=HERE | {"event": "payment", "model": "m-1"},
        ),
    ),
    Alert(
        "ShroffSchemeLimitNear",
        WARNING,
        60,
        "shroff_scheme_limit_seconds < 8 * 86400",
        "{{ $labels.merchant }} {{ $labels.acquirer }} reaches the limit of {{ $labels.programme }} "
        f"in {SPAN}",
        Trial(
            {
                _at("shroff_scheme_limit_seconds", programme="VAMP", acquirer="north", merchant="hats"): (
                    691_200,
                    432_000,
                )
            },
            "hats north reaches the limit of VAMP in 5d 0h 0m 0s",
            labels=HERE | {"programme": "VAMP", "acquirer": "north", "merchant": "hats"},
        ),
    ),
    Alert(
        "ShroffCasesOverdue",
        WARNING,
        30,
        "shroff_cases_overdue > 0",
        f"{NUMBER} cases are overdue",
        Trial({_at("shroff_cases_overdue"): (0, 12)}, "12 cases are overdue"),
    ),
)

_BY_PAGE: Final = {"service": SERVICE, "sources": SOURCES, "deliveries": DELIVERIES, "store": STORE} | {
    "decisions": DECISIONS,
    "models-and-cases": CASES,
}
ALERTS: Final = {page: tuple(replace(alert, page=page) for alert in alerts) for page, alerts in _BY_PAGE.items()}
