"""Analytics: counts, facts, funnels, marts, summaries, warehouse files and dashboards."""

from __future__ import annotations

_HERE = "shroff_plugins.analytics"
OPERATIONS = {  # word: (module, help, the word that it stands behind)
    "counts": (f"{_HERE}.count_operations", "count events by type, day, week or a field", "jobs"),
    "facts": (f"{_HERE}.count_operations", "show the features of one card, user or other key at a time", "counts"),
    "summaries": (f"{_HERE}.summaries.command", "write five-minute counts and sums into SQL tables", "facts"),
    "funnel": (f"{_HERE}.funnel_operations", "count drop-off and recovery of users by day and step", "summaries"),
    "marts": (f"{_HERE}.marts.mart_operations", "build tables from the lake with your SQL and tests", "funnel"),
    "dashboards": (f"{_HERE}.dashboards", "write Grafana dashboards of the project's metrics", "capacity"),
}
KERNELS = (f"{_HERE}.funnel_steps:follow",)  # compiled for an image
