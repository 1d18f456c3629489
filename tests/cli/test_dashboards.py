"""`shroff dashboards export`: dashboards under a project's name."""

from __future__ import annotations

import json
import shutil

import pytest

from shroff.cli.main import run
from shroff.config import TEMPLATE_FOLDER
from tests.support.forks import ROOT

COUNTRY = "    transaction_country: country\n"
COLUMNS = f"""    entry_mode: entry_mode
    transaction_type: channel
    merchant_group: merchant_group
{COUNTRY}    shipping_address: shipping_country
    residence_country: residence
"""  # but for two


def exported(tmp_path, template, change=("", "")):
    bank = tmp_path / template
    shutil.copytree(TEMPLATE_FOLDER / template, bank)
    settings = (bank / "shroff.yaml").read_text()
    assert change[0] in settings
    (bank / "shroff.yaml").write_text(settings.replace(*change))
    assert run(["-C", str(bank), "dashboards", "export", str(tmp_path / "made/grafana")]) == 0
    return {path.name: json.loads(path.read_text()) for path in (tmp_path / "made/grafana").iterdir()}


def test_dashboards_have_the_name_of_the_project_and_nothing_else_differs(tmp_path):
    found = exported(tmp_path, "payments")
    (name,) = {item["title"].partition(":")[0] for item in found.values()}
    shipped = {path.name: json.loads(path.read_text()) for path in (ROOT / "deploy/grafana").glob("*.json")}

    assert set(found) == set(shipped) - {"cards.json"}
    for file, dashboard in found.items():
        assert dashboard["uid"] == f"{name}-{file.removesuffix('.json')}"
        assert dashboard["panels"] == shipped[file]["panels"]


@pytest.mark.parametrize(
    ("change", "table"),
    [
        (("    bank: bank\n", ""), None),
        (("summaries.db", "summaries.db\n  table: rows\n  fraud_table: fraud_rows"), "rows"),
        ((COLUMNS, COUNTRY), "transaction_summaries"),
        (("", ""), "transaction_summaries"),
    ],
    ids=["without a column", "own tables", "these columns alone", "as it is"],
)
def test_card_transactions_are_read_from_the_tables_that_the_project_writes(tmp_path, change, table):
    found = exported(tmp_path, "cards", change)
    queries = [panel["targets"][0]["rawSql"] for panel in found.get("cards.json", {"panels": []})["panels"]]

    assert bool(queries) == (table is not None)
    assert all(f" FROM {table}" in query or " FROM fraud_" in query for query in queries)
    assert sum(" FROM fraud_rows " in query for query in queries) == (table == "rows")
