"""What watches shroff, tried with the program itself."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from urllib.parse import urlsplit

import pymysql
import pytest

from shroff.web.metrics_port import listening
from tests.deploy import checks, watchers, watching
from tests.support.forks import SHROFF

# What a runbook's command says where a project has no such thing: it was understood and looked.
NOTHING = re.compile(r"there is no |no active model|does not say where its backups are")


@pytest.mark.slow
def test_the_commands_that_runbooks_look_with_run_in_a_project(tmp_path):
    bank = tmp_path / "bank"
    shutil.copytree(checks.ROOT / "src/shroff/templates/payments", bank)
    subprocess.run([SHROFF, "-C", bank, "ingest", bank / "examples/payment.json", "--as", "payment"], check=True)
    text = "\n".join(page.read_text() for page in (checks.ROOT / "docs/runbooks").glob("*.md"))
    looks = {
        command
        for line in re.findall(r"(?m)^- \*\*(?:Check|Verify)\*\*.*", text)
        for command in re.findall(r"`shroff ([^`]+)`", line)
    }
    failed = {}
    for command in sorted(looks):
        done = subprocess.run([SHROFF, "-C", bank, *shlex.split(command)], capture_output=True, text=True, check=False)
        if done.returncode and not NOTHING.search(done.stderr):
            failed[command] = done.stdout + done.stderr

    assert failed == {}
    assert len(looks) > 20


@pytest.mark.slow
def test_each_panel_and_variable_finds_something_in_a_real_prometheus(tmp_path):
    boards = [json.loads(path.read_text()) for path in (checks.DEPLOY / "grafana").glob("*.json")]
    panels = {query for board in boards for query in watching.queries(board)}
    panels = {one if "ALERTS" in one else one.replace(" or vector(0)", "") for one in panels}
    choices = {query for board in boards for query in watching.variables(board).values()}
    collectors, _ = watchers.everything()
    with (
        listening("127.0.0.1", 0, collectors, lambda: True) as scraped,
        watchers.prometheus(tmp_path, scraped.split("/")[2]) as address,
    ):
        ends = time.monotonic() + 60
        while (panels or choices) and time.monotonic() < ends:
            time.sleep(0.5)  # between two scrapes
            panels = {
                one for one in panels if not watchers.asked(address, "/api/v1/query", query=one)["data"]["result"]
            }
            choices = {one for one in choices if not values_of(address, one)}

    assert (panels, choices) == (set(), set())


def values_of(address: str, variable: str) -> list[str]:
    """The values that can be chosen."""
    series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable).groups()
    return watchers.asked(address, f"/api/v1/label/{label}/values", **{"match[]": series})["data"]


@pytest.mark.slow
def test_each_panel_of_cards_finds_something_in_a_real_mariadb(tmp_path, mariadb):
    bank, tables = (
        tmp_path / "bank",
        {one: f"{one}_{os.getpid()}" for one in ("transaction_summaries", "fraud_summaries")},
    )
    shutil.copytree(checks.ROOT / "src/shroff/templates/cards", bank)
    settings = (bank / "shroff.yaml").read_text()
    named = f"{mariadb.address}\n  table: {tables['transaction_summaries']}\n  fraud_table: {tables['fraud_summaries']}"
    (bank / "shroff.yaml").write_text(settings.replace("sqlite:///summaries.db", named))
    for words in (
        ["ingest", str(bank / "examples/payment.json"), "--as", "payment", "--format", "jsonl"],
        ["summaries", "build", "--to", "2100-01-01"],
    ):
        subprocess.run([SHROFF, "-C", bank, *words], check=True, capture_output=True)
    board, found, where = json.loads((checks.DEPLOY / "grafana/cards.json").read_text()), {}, urlsplit(mariadb.address)
    server = pymysql.connect(
        host=where.hostname, port=where.port, user=where.username, password=where.password, database=where.path[1:]
    )
    with server, server.cursor() as cursor:
        for panel in board["panels"]:
            (target,) = panel["targets"]
            query = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 < '2100-01-01'", target["rawSql"])
            cursor.execute(re.sub("transaction_summaries|fraud_summaries", lambda one: tables[one[0]], query))
            found[panel["title"]] = len(cursor.fetchall())

    assert min(found.values()) > 0, found


def test_a_metric_that_is_renamed_is_missed_by_alerts_and_dashboards(monkeypatch):
    renamed = {name.replace("shroff_waits", "shroff_awaits"): one for name, one in watching.metrics().items()}
    monkeypatch.setattr(watching, "metrics", lambda: renamed)

    assert "prometheus/rules.yaml: the program has no metric shroff_waits" in watching.watch(checks.DEPLOY)
    assert "grafana/overview.json: the program has no metric shroff_waits" in watching.dashboards(checks.DEPLOY)
