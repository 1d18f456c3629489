"""Write the files that are made from the tables: `python -m tools.watch`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from tools.watch.dashboards import DASHBOARDS
from tools.watch.grafana import dashboard_text
from tools.watch.rules import ROOT, RULES, rules_text

MADE: Final[dict[Path, Callable[[], str]]] = {RULES: rules_text} | {
    Path(f"grafana/{dashboard.name}.json"): partial(dashboard_text, dashboard) for dashboard in DASHBOARDS
}

if __name__ == "__main__":
    for path, made in MADE.items():
        (ROOT / "deploy" / path).parent.mkdir(exist_ok=True)
        (ROOT / "deploy" / path).write_text(made(), encoding="utf-8")
