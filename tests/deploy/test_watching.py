"""What watches shroff, tried with the program itself."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pymysql
import pytest
import yaml

from shroff.config import TEMPLATE_FOLDER
from shroff.people import keys
from shroff.people.access import Right, Role
from shroff.services import project as app
from shroff.web.api.operator_alerts import ENDS_AFTER_MS
from shroff.web.metrics_port import listening
from tests.deploy import checks, watchers, watching
from tests.support.forks import SHROFF
from tests.support.patience import until
from tests.support.served import ME, served
from tools.watch.rules import all_alerts

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


class Sick:
    """A project with faults, and the commands of an alert's runbook in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._alert = folder, ""
        pages = "\n".join(page.read_text() for page in (checks.ROOT / "docs/runbooks").glob("*.md"))
        self._sections = dict(re.findall(r"(?ms)^## (Shroff\w+)$(.*?)(?=^## |\Z)", pages))

    def alert(self, name: str, command: str, shown: str) -> None:
        """Begin with a runbook: what its check shows."""
        self._alert = name
        self.does("Check", command, shown)

    def does(self, part: str, command: str, shown: str = "", **given: str) -> None:
        """Run a command of a part of the runbook, with its placeholders filled."""
        (line,) = re.findall(rf"(?m)^- \*\*{part}\*\*.*", self._sections[self._alert])
        assert f"`shroff {command}`" in line
        words = [given.get(word, word) for word in shlex.split(command)]
        assert shown in (told := self.run(*words)), (self._alert, command, told)

    def run(self, *words: str) -> str:
        done = subprocess.run([SHROFF, "-C", self.folder, *words], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def write(self, name: str, *lines: str, end: str = "\n") -> str:
        path = self.folder / "inbox" / name
        path.write_text("payment_id,paid_at,account,amount\n" + "\n".join(lines) + end)
        return str(path)


RULE = "- { id: all, on: payment, by: account, when: true, reason: x, effect: review, notify: team }\n"


@pytest.mark.slow
def test_the_fixes_of_runbooks_end_the_faults(tmp_path):
    bank = Sick(shutil.copytree(TEMPLATE_FOLDER / "blank", tmp_path / "bank"))
    for name, text in {
        "inbox/README.md": "",
        "notices/team.yaml": "event: payment\nto: [team@bank.example]\n",
        "rules/all.yaml": RULE,
    }.items():
        (bank.folder / name).parent.mkdir()
        (bank.folder / name).write_text(text)
    with (bank.folder / "shroff.yaml").open("a") as file:
        file.write("sources: { exports: { files: { from: inbox, settled: 0s }, events: [payment] } }\n")
        file.write("sinks: { table: { sql: { url: 'sqlite:///table.db', table: decisions } } }\n")
        file.write("summaries: { url: 'sqlite:///summaries.db', columns: { account: account } }\n")
        file.write(f"backup: {tmp_path / 'backups'}\n")
    bank.write("a.csv", "p-1,2026-03-01T10:00:00Z,a-1,1", "p-2,2026-03-01T10:00:00Z,a-1,€1")
    cut = bank.write("b.csv", "p-3,2026-03-01T10:05:00Z,a-1,1", "p-4,2026", end="")
    bank.run("sources", "sync", "exports")
    bank.run("outbox", "deliver")

    bank.alert("ShroffQuarantineGrows", "quarantine list", "1 entry is in quarantine")
    with (bank.folder / "events.yaml").open("r+") as file:
        text = file.read().replace(
            "\n  time:", "\n  from: { csv: { amount: \"money(replace(row.amount, '€', ''))\" } }\n  time:", 1
        )
        file.seek(0)
        file.write(text)
    bank.does("Fix", "quarantine retry", "1 accepted")
    bank.does("Verify", "quarantine list", "0 entries are in quarantine")

    bank.alert("ShroffFilesSkipped", "sources check", "b.csv is skipped: its last line is cut off")
    bank.write("b.csv", "p-3,2026-03-01T10:05:00Z,a-1,1", "p-4,2026-03-01T11:00:00Z,a-1,1")
    bank.does("Fix", "sources sync exports --day FILE", "2 events appended", FILE=Path(cut).name)
    bank.does("Verify", "sources check", "All sources are healthy")

    with closing(sqlite3.connect(bank.folder / "table.db")) as table:
        table.execute("CREATE TRIGGER no BEFORE INSERT ON decisions BEGIN SELECT RAISE(ABORT, 'not now'); END")
        bank.run("outbox", "deliver")
        bank.alert("ShroffDeadLettersGrow", "outbox list", "SQLite refuses it: not now")
        table.execute("DROP TRIGGER no")
    bank.does("Fix", "outbox retry", "3 rows queued again")
    bank.does("Fix", "outbox deliver", "table: 3 rows delivered")
    bank.does("Verify", "outbox list", "decisions       0      0\n")
    assert "messages        4" in (left := bank.run("outbox", "list"))  # which a service or a worker alone sends
    assert "outbox deliver" not in left

    bank.alert("ShroffBackupMissing", "backup list", "no backup")
    bank.does("Fix", "backup create", "full backup 1")
    bank.does("Verify", "backup verify", "0 damaged")

    bank.alert("ShroffSnapshotOld", "doctor", "snapshots       none")
    bank.does("Fix", "snapshot", "written")

    bank.alert("ShroffSummariesDiffer", "doctor", "summaries")
    bank.does("Fix", "summaries build --from DAY", "window", DAY=f"{datetime.now(UTC):%Y-%m-%d}")


@pytest.mark.slow
def test_each_panel_and_variable_finds_something_in_a_real_prometheus(tmp_path):
    boards = [json.loads(path.read_text()) for path in (checks.DEPLOY / "grafana").glob("*.json")]
    panels = {query for board in boards for query in watching.queries(board)}
    panels = {panel if "ALERTS" in panel else panel.replace(" or vector(0)", "") for panel in panels}
    choices = {query for board in boards for query in watching.variables(board).values()}
    collectors, _ = watchers.everything()
    with (
        listening("127.0.0.1", 0, collectors, lambda: True) as scraped,
        watchers.prometheus(tmp_path, scraped.split("/")[2]) as address,
    ):
        ends = time.monotonic() + 120
        while (panels or choices) and time.monotonic() < ends:
            time.sleep(0.5)  # between two scrapes
            panels = {
                panel for panel in panels if not watchers.asked(address, "/api/v1/query", query=panel)["data"]["result"]
            }
            choices = {choice for choice in choices if not values_of(address, choice)}

    assert (panels, choices) == (set(), set())


def values_of(address: str, variable: str) -> list[str]:
    """The values that can be chosen."""
    series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable).groups()
    return watchers.asked(address, f"/api/v1/label/{label}/values", **{"match[]": series})["data"]


@pytest.mark.slow
def test_each_panel_of_cards_finds_something_in_a_real_mariadb(tmp_path, mariadb):
    bank, tables = (
        tmp_path / "bank",
        {text: f"{text}_{os.getpid()}" for text in ("transaction_summaries", "fraud_summaries")},
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
            cursor.execute(re.sub("transaction_summaries|fraud_summaries", lambda match: tables[match[0]], query))
            found[panel["title"]] = len(cursor.fetchall())

    assert min(found.values()) > 0, found


def test_a_trial_begins_at_the_limit_of_its_alert_or_just_below_it():
    """Of those that compare one series with a number: a limit that is moved is met by no trial of before."""
    moved, compared = [], 0
    for alert in all_alerts():
        if limit := re.fullmatch(r"(\w+) > ([\d.]+(?: \* \d+)*)", alert.expr):
            number = math.prod(map(float, limit[2].split(" * ")))
            ((below, _),) = alert.trial.series.values()
            moved += [f"{alert.name}: {below} is not at {number}"] * (not 0.8 * number <= below <= number)
            compared += 1

    assert moved == []
    assert compared > 10


def test_a_metric_that_is_renamed_is_missed_by_alerts_and_dashboards(monkeypatch):
    renamed = {name.replace("shroff_waits", "shroff_awaits"): metric for name, metric in watching.metrics().items()}
    monkeypatch.setattr(watching, "metrics", lambda: renamed)

    assert "prometheus/rules.yaml: the program has no metric shroff_waits" in watching.watch(checks.DEPLOY)
    assert "grafana/overview.json: the program has no metric shroff_waits" in watching.dashboards(checks.DEPLOY)


# --- Alertmanager


def settings_of_alertmanager() -> dict[str, Any]:
    return yaml.safe_load((checks.DEPLOY / "compose/alertmanager.yaml").read_text())


def labels_of(matchers: list[str]) -> list[dict[str, str]]:
    """An alert for each name of a rule's matchers."""
    ((names,),) = [re.findall(r'^alertname=~?"(.*)"$', matcher) for matcher in matchers]
    return [{"alertname": name.replace(".*", "BurnsFast")} for name in names.split("|")]


@pytest.mark.slow
def test_alertmanager_hides_what_another_alert_explains_in_the_same_process(tmp_path):
    settings = settings_of_alertmanager()
    settings["route"]["group_wait"] = "1h"
    pairs = [
        (number, rule["equal"], source, target)
        for number, rule in enumerate(settings["inhibit_rules"])
        for source in labels_of(rule["source_matchers"])
        for target in labels_of(rule["target_matchers"])
    ]
    alerts, hidden = [], set()
    for number, equal, source, target in pairs:
        place = {name: f"{name} {number} {source['alertname']}" for name in equal}
        elsewhere = {equal[-1]: f"beside {number} {source['alertname']} {target['alertname']}"}
        alerts += [source | place, target | place, target | place | elsewhere]
        hidden.add(frozenset((target | place).items()))
    with watchers.alertmanager(tmp_path, settings) as address:
        watchers.posted(address, "/api/v2/alerts", [{"labels": alert} for alert in alerts])
        found, ends = set(), time.monotonic() + 120
        while not found >= hidden and time.monotonic() < ends:  # it hides them in its own time
            shown = watchers.asked(address, "/api/v2/alerts")
            found = {frozenset(row["labels"].items()) for row in shown if row["status"]["inhibitedBy"]}

    assert found == hidden
    assert len(pairs) > 10


@pytest.mark.slow
def test_a_fault_is_mailed_and_on_health_and_so_is_its_end(tmp_path, mail):
    shutil.copytree(checks.ROOT / "src/shroff/templates/payments", tmp_path / "bank")
    with app.open_exactly(tmp_path / "bank").people.open() as desk:
        key = keys.create(desk, ME, "alertmanager", Role.SERVICE, scopes=[Right.POST_ALERTS])[1]
    (tmp_path / "key").write_text(key)
    settings = settings_of_alertmanager()
    settings["global"]["smtp_smarthost"] = urlsplit(mail.address).netloc
    settings["route"] |= {"group_wait": "0s", "group_interval": "1s"}
    for folder in ("prometheus", "alertmanager"):
        (tmp_path / folder).mkdir()
    collectors, work = watchers.everything()

    def arrived(state: str) -> bool:
        """Whether a mail says so, and Health does."""
        mails = [path.read_bytes() for path in Path(mail.details["mails"]).iterdir()]
        subjects = [message_from_bytes(item, policy=default)["Subject"] for item in mails]
        mailed = any(subject.startswith(f"[{state.upper()}") and "ShroffWaits" in subject for subject in subjects)
        health = asker.get("/api/v1/health").json()["alerts"]
        shown.update({row["name"]: row for row in health})
        return mailed and any(row["name"] == "ShroffWaits" for row in health) == (state == "firing")

    with served(tmp_path / "bank") as service, service.client() as asker:
        (hook,) = next(receiver for receiver in settings["receivers"] if receiver["name"] == "health")[
            "webhook_configs"
        ]
        hook["url"] = hook["url"].replace("http://shroff:8080", service.url)
        hook["http_config"]["authorization"]["credentials_file"] = str(tmp_path / "key")
        shown: dict[str, Any] = {}
        with (
            listening("127.0.0.1", 0, collectors, lambda: True) as scraped,
            watchers.alertmanager(tmp_path / "alertmanager", settings) as manager,
            watchers.prometheus(tmp_path / "prometheus", scraped.split("/")[2], manager, fast=True),
        ):
            work.waits_for = "the log is away"
            until(lambda: arrived("firing"))
            work.waits_for = ""
            until(lambda: arrived("resolved"))

    assert shown["ShroffWaits"]["severity"] == "critical"
    assert shown["ShroffWaits"]["summary"].endswith("waits for its source or its log")
    assert shown["ShroffWaits"]["runbook_url"].endswith("/docs/runbooks/service.md#shroffwaits")


def test_alertmanager_repeats_alerts_before_health_ends_them():
    route = settings_of_alertmanager()["route"]
    (repeats,) = [row["repeat_interval"] for row in route["routes"] if row["receiver"] == "health"]
    minutes = [int(text.removesuffix("m")) for text in (repeats, route["group_interval"])]

    assert 2 * sum(minutes) * 60_000 < ENDS_AFTER_MS
