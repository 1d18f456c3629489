"""The rules of Prometheus, made from the tables of alerts and objectives."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tools.watch.alerts import ALERTS, Alert
from tools.watch.objectives import OBJECTIVES, burning, recorded

ROOT: Final = Path(__file__).parents[2]
RULES: Final = Path("prometheus/rules.yaml")  # in deploy/
HEAD: Final = "# Made by `python -m tools.watch` from tools/watch/{}: what is changed here is lost.\n"


def all_alerts() -> list[Alert]:
    """Each alert once."""
    return [*(item for group in ALERTS.values() for item in group), *burning(OBJECTIVES[0])]


def runbook(alert: Alert) -> str:
    """Where its runbook is."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    return f"{urls['Source']}/blob/main/docs/runbooks/{alert.page}.md#{alert.name.lower()}"


def rules_text() -> str:
    """The rules as a file."""
    parts = [HEAD.format("alerts.py and tools/watch/objectives.py"), "groups:\n"]
    for name, found in recorded().items():
        parts += [_group(name), *(_recording(*item) for item in found)]
    for name, alerts in {**ALERTS, "budgets": burning(OBJECTIVES[0])}.items():
        parts += [_group(name), *(_alerting(alert) for alert in alerts)]
    return "".join(parts)


def _group(name: str) -> str:
    return f"  - name: shroff-{name}\n    rules:\n"


def _alerting(alert: Alert) -> str:
    lines = [
        f"      - alert: {alert.name}",
        f"        expr: {quoted(alert.expr)}",
        f"        for: {alert.minutes}m",
        f"        labels: {{ severity: {alert.severity} }}",
        "        annotations:",
        f"          summary: {quoted(alert.summary)}",
        f"          runbook_url: {runbook(alert)}",
    ]
    return "\n".join(lines) + "\n"


def _recording(name: str, expr: str, labels: Mapping[str, str]) -> str:
    given = ", ".join(f"{key}: {value}" for key, value in labels.items())
    return f"      - record: {name}\n        expr: {quoted(expr)}\n" + (
        f"        labels: {{ {given} }}\n" if given else ""
    )


def quoted(text: str) -> str:
    """A text of YAML in single quotes, in which nothing but these has a meaning."""
    return "'" + text.replace("'", "''") + "'"
