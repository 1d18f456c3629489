"""Tests of promtool for each alert, made from its trial: just below, just before, firing, resolved."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from tools.watch.alerts import Alert, Count, Value
from tools.watch.objectives import OBJECTIVES, burning
from tools.watch.rules import all_alerts, runbook


def alerts_tried() -> list[Alert]:
    """Each alert with its trial; those of objectives once per objective."""
    burns = [alert for objective in OBJECTIVES for alert in burning(objective)]
    return [item for item in all_alerts() if item.page != "objectives"] + burns


def values(below: Value, fault: Value, counts: tuple[int, int, int], step: int) -> str:
    """A series below its limit, at fault and below again, so many values each, as promtool reads it."""
    found, at, first = [], 0.0, True
    for value, count in zip((below, fault, below), counts, strict=True):
        if count <= 0:
            continue
        if value is None:
            found.append(f"_x{count}")
        elif isinstance(value, Count):
            adds = value.per_minute * step
            at = 0.0 if first else at + adds
            found.append(f"{at + value.off:.12g}{adds:+.12g}x{count - 1}")
            at += adds * (count - 1)
        else:
            at = float(value)
            found.append(f"{at:.12g}x{count - 1}")
        first = False
    return " ".join(found)


def trial_of(alert: Alert, number: int) -> dict[str, Any]:
    """The test of one alert."""
    trial = alert.trial
    step, begins = trial.step, trial.before
    fires = begins + trial.delay + alert.minutes
    ends = fires + step
    counts = begins // step, -(-(ends - begins) // step), -(-trial.back // step) + 1
    rests = begins + counts[1] * step + -(-trial.back // step) * step
    silent = [begins - step] * bool(begins) + [begins + alert.minutes - step] * (alert.minutes >= step)
    shown = {
        "exp_labels": {"severity": alert.severity, **trial.labels},
        "exp_annotations": {"summary": trial.says, "runbook_url": runbook(alert)},
    }
    checks: Mapping[int, list[Any]] = {minute: [] for minute in silent} | {fires: [shown], rests: []}
    series = [
        {"series": name, "values": values(below, fault, counts, step)} for name, (below, fault) in trial.series.items()
    ]
    return {
        "rule_files": [f"rules{number}.yaml"],
        "evaluation_interval": f"{step}m",
        "tests": [
            {
                "name": alert.name,
                "interval": f"{step}m",
                "input_series": series,
                "alert_rule_test": [
                    {"eval_time": f"{minute}m", "alertname": alert.name, "exp_alerts": found}
                    for minute, found in checks.items()
                ],
            }
        ],
    }


def write_trials(rules: Mapping[str, Any], folder: Path, only: Collection[str] = ()) -> list[str]:
    """Write each trial with the rules that it needs, of a rule file that was read; gives the names of the tests."""
    names = []
    for number, alert in enumerate(path for path in alerts_tried() if not only or path.name in only):
        own = [rule for group in rules["groups"] for rule in group["rules"] if rule.get("alert") == alert.name]
        needed = [rule for group in rules["groups"] for rule in group["rules"] if needs(alert, rule)]
        made = {"groups": [{"name": "tried", "rules": [*needed, *own]}]}
        (folder / f"rules{number}.yaml").write_text(yaml.safe_dump(made), encoding="utf-8")
        (folder / f"test{number}.yaml").write_text(yaml.safe_dump(trial_of(alert, number)), encoding="utf-8")
        names.append(f"test{number}.yaml")
    return names


def needs(alert: Alert, rule: Mapping[str, Any]) -> bool:
    """Whether an alert can need a recording rule."""
    if "record" not in rule or "shroff:" not in alert.expr:
        return False
    return rule.get("labels", {}).get("slo", alert.trial.labels.get("slo")) == alert.trial.labels.get("slo")
