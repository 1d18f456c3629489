"""Dashboards as the JSON that Grafana reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from tools.watch.dashboards import CARDS, Dashboard, Panel

HERE: Final = 'job=~"$job", instance=~"$instance"'  # the choice above the panels
PROMETHEUS: Final = {"type": "prometheus", "uid": "${datasource}"}
SUMMARIES: Final = {"type": "mysql", "uid": "${summaries}"}
COLUMNS, HEIGHT = 24, 8


def dashboard_text(dashboard: Dashboard) -> str:
    """A dashboard as Grafana reads it."""
    is_sql = dashboard is CARDS
    at_x, at_y, panels = 0, 0, []
    for number, panel in enumerate(dashboard.panels, 1):
        if at_x + panel.width > COLUMNS:
            at_x, at_y = 0, at_y + HEIGHT
        place = {"x": at_x, "y": at_y, "w": panel.width, "h": HEIGHT}
        panels.append(_panel(panel, number, place, SUMMARIES if is_sql else PROMETHEUS))
        at_x += panel.width
    made = {
        "uid": f"shroff-{dashboard.name}",
        "title": f"shroff: {dashboard.title}",
        "tags": ["shroff"],
        "editable": False,
        "refresh": "30s",
        "schemaVersion": 39,
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "links": [{"type": "dashboards", "tags": ["shroff"], "title": "shroff", "asDropdown": True, "keepTime": True}],
        "templating": {"list": _variables(dashboard, is_sql=is_sql)},
        "panels": panels,
    }
    return json.dumps(made, indent=1) + "\n"


def _panel(panel: Panel, number: int, place: Mapping[str, int], source: Mapping[str, str]) -> dict[str, Any]:
    is_sql, is_table = source is SUMMARIES, panel.kind == "table"
    targets = []
    for at, (query, legend) in enumerate(panel.queries.items()):
        target: dict[str, Any] = {"refId": chr(ord("A") + at), "datasource": source}
        if is_sql:
            target |= {"rawSql": query, "rawQuery": True, "format": "table" if is_table else "time_series"}
        else:
            target |= {"expr": query.replace("$HERE", HERE), "legendFormat": legend}
            target |= {"instant": is_table, "range": not is_table, "format": "table" if is_table else "time_series"}
            if panel.kind == "heatmap":
                target["format"] = "heatmap"
        targets.append(target)
    defaults: dict[str, Any] = {"unit": panel.unit}
    if panel.limit is not None:
        steps = ["green", "red"] if panel.limit > 0 else ["red", "green"]
        defaults["thresholds"] = {
            "mode": "absolute",
            "steps": [{"color": steps[0], "value": None}, {"color": steps[1], "value": abs(panel.limit)}],
        }
        defaults["custom"] = {"thresholdsStyle": {"mode": "line"}} if panel.kind == "timeseries" else {}
    return {
        "id": number,
        "title": panel.title,
        "description": panel.meaning,
        "type": panel.kind,
        "datasource": source,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {},
        "targets": targets,
    }


def _variables(dashboard: Dashboard, *, is_sql: bool) -> list[dict[str, Any]]:
    if is_sql:
        return [{"name": "summaries", "label": "Database", "type": "datasource", "query": "mysql"}]
    chosen = {
        "job": "label_values(shroff_build_info, job)",
        "instance": 'label_values(shroff_build_info{job=~"$job"}, instance)',
        **dashboard.choices,
    }
    return [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        *(
            {
                "name": name,
                "type": "query",
                "datasource": PROMETHEUS,
                "query": query,
                "refresh": 2,
                "multi": True,
                "includeAll": True,
                "allValue": ".+",
                "current": {"text": "All", "value": "$__all"},
            }
            for name, query in chosen.items()
        ),
    ]
