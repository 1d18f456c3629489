"""Service level objectives: what share of what must be right, and the alerts on how fast the rest is used up.

An objective's errors are a ratio over a window. Its burn rate is that ratio divided by the share that may be wrong: at
1, the budget of 30 days lasts 30 days. An alert looks at a long window, and at a short one so that it resolves soon
(Google, The Site Reliability Workbook, chapter 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tools.watch.alerts import BUDGET_S, CRITICAL, JOB, WARNING, Alert, Count, Trial, Value, _at

WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")


@dataclass(frozen=True)
class Objective:
    """What must be right.

    Args:
        name: The label `slo` of its series.
        share: Of what is right, at least.
        errors: The expression of the share that is wrong, over the window WINDOW.
        meaning: What is right, for the dashboard and the page.
        wrong: Series of its trials: burning at most 0.9 times the budget at first, then everything is wrong.
    """

    name: str
    share: float
    errors: str
    meaning: str
    wrong: Mapping[str, tuple[Value, Value]]


OBJECTIVES: Final = (
    Objective(
        "latency",
        0.99,
        f'1 - sum by (job) (rate(shroff_decision_seconds_bucket{{le="{BUDGET_S}"}}[WINDOW]))'
        " / sum by (job) (rate(shroff_decision_seconds_count[WINDOW]))",
        f"Events are decided and committed within {BUDGET_S} s of their arrival.",
        {
            _at("shroff_decision_seconds_bucket", le=BUDGET_S): (Count(99.1), Count(0)),
            _at("shroff_decision_seconds_count"): (Count(100), Count(100)),
        },
    ),
    Objective(
        "availability",
        0.999,
        '1 - sum by (job) (rate(shroff_http_requests_total{status!~"5.."}[WINDOW]))'
        " / sum by (job) (rate(shroff_http_requests_total[WINDOW]))",
        "Requests are answered without an error of the service (5xx).",
        {
            _at("shroff_http_requests_total", status="200"): (Count(9_991), Count(0)),
            _at("shroff_http_requests_total", status="503"): (Count(9), Count(10_000)),
        },
    ),
    Objective(
        "freshness",
        0.99,
        "max by (job) (avg_over_time(shroff:source_stale:bool[WINDOW]))",
        "The backlog of the live source is at most a minute of work.",
        {_at("shroff_source_waiting"): (0, 9), _at("shroff_taken_total"): (Count(1), Count(0))},
    ),
    Objective(
        "correctness",
        0.999,
        "max by (job) (avg_over_time(shroff:unreconciled:bool[WINDOW]))",
        "Each event that was received is decided, quarantined or known.",
        {_at("shroff_unreconciled_events"): (0, 1)},
    ),
    Objective(
        "delivery",
        0.99,
        "max by (job) (avg_over_time(shroff_delivery_failing[WINDOW]))",
        "Each sink, notifications included, accepts what it is sent.",
        {_at("shroff_delivery_failing", sink="notice owners"): (0, 1)},
    ),
)

# A ratio of the last hour, per job: what the alerts on decisions and the dashboards compare.
RECORDED: Final = {
    "shroff:decisions:1h": "sum by (job) (increase(shroff_decisions_total[1h]))",
    "shroff:declined_events:ratio1h": 'sum by (job) (rate(shroff_decisions_total{outcome="decline"}[1h]))'
    " / sum by (job) (rate(shroff_decisions_total[1h]))",
    "shroff:declined_amount:ratio1h": '(sum by (job) (rate(shroff_decided_amount_total{outcome="decline"}[1h]))'
    " or 0 * sum by (job) (rate(shroff_decided_amount_total[1h])))"
    " / sum by (job) (rate(shroff_decided_amount_total[1h]))",
    "shroff:rule_hits:1h": 'sum by (job, rule) (increase(shroff_rule_hits_total{mode="active"}[1h]))',
    "shroff:rule_hits:ratio1h": "shroff:rule_hits:1h / on (job) group_left () shroff:decisions:1h",
    "shroff:source_backlog:seconds": "shroff_source_waiting"
    " / on (job, instance) sum by (job, instance) (rate(shroff_taken_total[5m]))",
    "shroff:source_stale:bool": "shroff:source_backlog:seconds > bool 60",
    "shroff:unreconciled:bool": "shroff_unreconciled_events != bool 0",
}


def recorded() -> dict[str, list[tuple[str, str, dict[str, str]]]]:
    """The recording rules by group: name, expression, labels."""
    burned = []
    for objective in OBJECTIVES:
        labels = {"slo": objective.name}
        for window in WINDOWS:
            errors = objective.errors.replace("WINDOW", window)
            burned.append((f"shroff:slo_burn:{window}", f"({errors}) / {1 - objective.share:.4g}", labels))
    return {"recorded": [(name, expr, {}) for name, expr in RECORDED.items()], "objectives": burned}


def _burns(*pairs: tuple[str, str, float]) -> str:
    return " or ".join(
        f"(shroff:slo_burn:{long} > {rate:g} and shroff:slo_burn:{short} > {rate:g})" for long, short, rate in pairs
    )


SLO: Final = "{{ $labels.slo }}"
RATE: Final = "{{ $value | humanize }}"


def burning(objective: Objective) -> tuple[Alert, ...]:
    """The two alerts of an objective's label, with the trial of this one: the rules themselves are the same for all."""
    full = f"{1 / (1 - objective.share):.4g}".replace("1000", "1k")
    labels = JOB | {"slo": objective.name}
    return (
        Alert(
            "ShroffBudgetBurnsFast",
            CRITICAL,
            2,
            _burns(("1h", "5m", 14.4), ("6h", "30m", 6)),
            f"The error budget of {SLO} burns {RATE} times too fast: it is gone within days",
            Trial(
                objective.wrong,
                f"The error budget of {objective.name} burns {full} times too fast: it is gone within days",
                labels=labels,
                delay=60,
                back=120,
                before=30,
                step=2,
            ),
            "objectives",
        ),
        Alert(
            "ShroffBudgetBurnsSlowly",
            WARNING,
            15,
            _burns(("1d", "2h", 3), ("3d", "6h", 1)),
            f"The error budget of {SLO} burns {RATE} times too fast: it is gone before its 30 days are over",
            Trial(
                objective.wrong,
                f"The error budget of {objective.name} burns {full} times too fast: "
                "it is gone before its 30 days are over",
                labels=labels,
                delay=60,
                back=460,
                before=0,
                step=5,
            ),
            "objectives",
        ),
    )
