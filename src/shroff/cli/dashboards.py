"""`shroff dashboards`: dashboards of a project's metrics."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any, Final

import click

from shroff import config
from shroff.cli.session import ExampleGroup, Session, argument, command, json_option, many
from shroff.project.settings.summaries import SummarySettings

CARDS: Final = "cards.json"  # its queries read the tables of summaries, and these columns of theirs
COLUMNS: Final = frozenset({"card_type", "transaction_country", "bank"})


@click.group("dashboards", cls=ExampleGroup, no_args_is_help=False)
@json_option
def dashboards() -> None:
    """Dashboards of a project's metrics, for Grafana."""


dashboards.examples = ("shroff dashboards export grafana",)


@command("export", "shroff dashboards export grafana", "shroff dashboards export grafana --json", group=dashboards)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def export(session: Session, folder: Path) -> None:
    """Write the dashboards as files into FOLDER, under the project's name; Grafana imports them.

    Each one lets you choose the data source, the job and the process. The dashboard of card transactions is written
    if 'summaries:' in shroff.yaml has the columns card_type, transaction_country and bank. Files of an earlier export
    are replaced.
    """
    definitions = session.project.definitions
    texts = {
        one.name: one.read_text(encoding="utf-8")
        for one in (resources.files("shroff") / "monitoring" / "dashboards").iterdir()
    }
    summaries = session.project.summaries.declared
    if summaries is None or not set(summaries.columns) >= COLUMNS:
        del texts[CARDS]
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        config.write_text(folder / name, dashboard_of(text, definitions.settings.name, summaries))
    session.answer(
        {"folder": str(folder), "files": sorted(texts)}, f"{many(len(texts), 'dashboard')} written to {folder}."
    )
    session.next(f"ls {argument(folder)}")


def dashboard_of(text: str, project: str, summaries: SummarySettings | None) -> str:
    """A dashboard under a project's name, on its own tables."""
    if summaries is not None:
        for table, own in (("fraud_summaries", summaries.fraud_table), ("transaction_summaries", summaries.table)):
            text = text.replace(f" {table}", f" {own}")
    made: dict[str, Any] = json.loads(text)
    made["uid"] = made["uid"].replace("shroff-", f"{project}-", 1)[:40]  # at most, says Grafana
    made["title"] = made["title"].replace("shroff:", f"{project}:", 1)
    made["tags"].append(project)
    return json.dumps(made, indent=1) + "\n"
