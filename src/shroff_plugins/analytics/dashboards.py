"""The operation that exports Grafana dashboards of a project's metrics."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from shroff.json_types import JsonObject
from shroff.plugins.operations import OperationAnswer, OperationRequest, argument, group, many, operation
from shroff.plugins.project import Project, write_text
from shroff_plugins.analytics.summaries.project_summaries import Summaries

if TYPE_CHECKING:
    from shroff_plugins.analytics.summaries.settings import SummarySettings

CARDS = "cards.json"  # needs the tables of summaries with these columns
COLUMNS = frozenset({"card_type", "transaction_country", "bank"})

group(
    "dashboards",
    """Dashboards of a project's metrics, for Grafana.

    Examples:
        shroff dashboards export grafana
    """,
)


class ExportDashboards(OperationRequest["DashboardFiles"]):
    """
    Args:
        folder (FOLDER): The folder.
    """

    folder: Path


class DashboardFiles(OperationAnswer):
    """The files that were written."""

    folder: str
    files: list[str]

    def text(self) -> str:
        return f"{many(len(self.files), 'dashboard')} written to {self.folder}."

    def hints(self) -> Sequence[str]:
        return (f"ls {argument(self.folder)}",)


@operation("dashboards export", right="read:definitions")
def export_dashboards(project: Project, request: ExportDashboards) -> DashboardFiles:
    """Write the dashboards as files into FOLDER, under the project's name; Grafana imports them.

    Each one lets you choose the data source, the job and the process. The dashboard of card transactions is written
    if 'summaries:' in shroff.yaml has the columns card_type, transaction_country and bank. Files of an earlier export
    are replaced.

    Examples:
        shroff dashboards export grafana
        shroff dashboards export grafana --json
    """
    files = (resources.files("shroff") / "monitoring" / "dashboards").iterdir()
    texts = {file.name: file.read_text(encoding="utf-8") for file in files}
    summaries = Summaries(project.context).declared
    if summaries is None or not set(summaries.columns) >= COLUMNS:
        del texts[CARDS]
    request.folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_text(request.folder / name, dashboard_of(text, project.definitions.settings.name, summaries))
    return DashboardFiles(folder=str(request.folder), files=sorted(texts))


def dashboard_of(text: str, project: str, summaries: SummarySettings | None) -> str:
    if summaries is not None:
        for table, own_table in (
            ("fraud_summaries", summaries.fraud_table),
            ("transaction_summaries", summaries.table),
        ):
            text = text.replace(f" {table}", f" {own_table}")
    dashboard: JsonObject = json.loads(text)
    dashboard["uid"] = dashboard["uid"].replace("shroff-", f"{project}-", 1)[:40]  # limit of Grafana
    dashboard["title"] = dashboard["title"].replace("shroff:", f"{project}:", 1)
    dashboard["tags"].append(project)
    return json.dumps(dashboard, indent=1) + "\n"
