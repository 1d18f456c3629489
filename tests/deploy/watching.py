"""The checks of what watches shroff: each takes the folder deploy/ and gives the faults it finds, as in `checks.py`."""

from __future__ import annotations

import functools
import json
import re
import shlex
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from docs.made_metrics import collectors_of_page, labels_of, shown_name
from shroff.web.api import operator_alerts, probes
from tests.deploy.checks import COMPOSE, commands, judged
from tests.deploy.trials import write_trials
from tools.watch.__main__ import MADE
from tools.watch.dashboards import UNSHOWN
from tools.watch.objectives import OBJECTIVES
from tools.watch.rules import quoted

RULES = "prometheus/rules.yaml"
NAMED = r"\b((?:shroff|process|python)_\w+|(?:fraudulent_)?transactions_total|transaction_amount\w*)(?:\{([^}]*)\})?"
PARTS = ("Meaning", "Impact", "Check", "Fix", "Verify")
JOBS = "shroff.*"  # of `up` in ShroffDown
OF_SCRAPE = {"job", "instance", "le"}


@functools.cache
def metrics() -> dict[str, tuple[str, set[str]]]:
    """The family and the labels of each series that the program can have, by the series' name."""
    found = {}
    for family in (item for group in collectors_of_page() for collector in group for item in collector.collect()):
        name, labels = shown_name(family), set(labels_of(family))
        ends = ("_bucket", "_sum", "_count") if family.type == "histogram" else ("",)
        found |= {f"{name}{end}": (name, labels) for end in ends}
    return found


def rules_of(deploy: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load((deploy / RULES).read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def unknown(file: str, expr: str, recorded: set[str]) -> Iterator[str]:
    """Metrics and labels of an expression that the program does not have."""
    for name, matchers in re.findall(NAMED, expr):
        if name not in metrics():
            yield f"{file}: the program has no metric {name}"
            continue
        labels = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", matchers)) - OF_SCRAPE - metrics()[name][1]
        yield from (f"{file}: {name} has no label {label}" for label in sorted(labels))
    yield from (
        f"{file}: no rule records {name}" for name in re.findall(r"\bshroff:[\w:]+", expr) if name not in recorded
    )


def watch(deploy: Path) -> list[str]:
    """Faults of what Prometheus and Alertmanager read."""
    compose = deploy / "compose"
    found = judged(
        "compose/prometheus.yaml", ["promtool", "check", "config", "--syntax-only", str(compose / "prometheus.yaml")]
    )
    found += judged("compose/alertmanager.yaml", ["amtool", "check-config", str(compose / "alertmanager.yaml")])
    found += judged(RULES, ["promtool", "check", "rules", str(deploy / RULES)])
    if "rule_files: [/etc/prometheus/rules.yaml]" not in (compose / "prometheus.yaml").read_text(encoding="utf-8"):
        found.append("compose/prometheus.yaml: it does not read the rules")
    found += [*scraping(deploy), *posting(deploy)]
    rules = rules_of(deploy)
    recorded = {rule["record"] for rule in rules if "record" in rule}
    found += [fault for rule in rules for fault in unknown(RULES, rule["expr"], recorded)]
    known = {rule["alert"] for rule in rules if "alert" in rule}
    for pattern in re.findall(r'alertname=~?"([^"]*)"', (compose / "alertmanager.yaml").read_text(encoding="utf-8")):
        found += [
            f"compose/alertmanager.yaml: no alert {part}"
            for part in pattern.split("|")
            if not any(re.fullmatch(part, alert) for alert in known)
        ]
    return found + [
        f"{path}: it differs from what `python -m tools.watch` writes"
        for path, made in MADE.items()
        if (deploy / path).read_text(encoding="utf-8") != made()
    ]


def scraping(deploy: Path) -> Iterator[str]:
    """Faults of what Prometheus of Compose asks, with which key, and of where its alerts go."""
    file = "compose/prometheus.yaml"
    given = yaml.safe_load((deploy / file).read_text(encoding="utf-8"))
    secrets = yaml.safe_load((deploy / COMPOSE).read_text(encoding="utf-8"))["services"]["prometheus"]["secrets"]
    for job in given.get("scrape_configs", ()):
        key = Path(job["authorization"]["credentials_file"]).name
        if key not in secrets:
            yield f"{file}: it gets no secret {key}"
        if not any((route.method, route.path) == ("GET", job["metrics_path"]) for route in probes.ROUTES):
            yield f"{file}: the program has no GET {job['metrics_path']}"
        if not re.fullmatch(JOBS, job["job_name"]):
            yield f"{file}: the alerts know no job {job['job_name']}"
    command = str(yaml.safe_load((deploy / COMPOSE).read_text(encoding="utf-8"))["services"]["prometheus"]["command"])
    kept = re.findall(r"retention\.time=(\d+)d", command)
    looked = max(int(days) for days in re.findall(r"\[(\d+)d\]", (deploy / RULES).read_text(encoding="utf-8")))
    if not kept or int(kept[0]) <= looked + 1:  # of a day before
        yield f"{COMPOSE}: prometheus keeps {kept} days, and rules look {looked} days back"
    targets = [
        target
        for to in given["alerting"]["alertmanagers"]
        for part in to["static_configs"]
        for target in part["targets"]
    ]
    if targets != ["alertmanager:9093"]:
        yield f"{file}: its alerts go to {targets}"


def posting(deploy: Path) -> Iterator[str]:
    """Faults of the webhooks with which Alertmanager posts alerts to the service."""
    file = "compose/alertmanager.yaml"
    receivers = yaml.safe_load((deploy / file).read_text(encoding="utf-8"))["receivers"]
    secrets = yaml.safe_load((deploy / COMPOSE).read_text(encoding="utf-8"))["services"]["alertmanager"]["secrets"]
    for hook in (config for receiver in receivers for config in receiver.get("webhook_configs", ())):
        path, key = urlsplit(hook["url"]).path, hook["http_config"]["authorization"]["credentials_file"]
        if not any((route.method, route.path) == ("POST", path) for route in operator_alerts.ROUTES):
            yield f"{file}: the program has no POST {path}"
        if Path(key).name not in secrets:
            yield f"{file}: it gets no secret {Path(key).name}"


def runbooks(deploy: Path) -> list[str]:
    """Alerts without a whole runbook where they link to, runbooks without an alert, and commands that cannot work."""
    docs = deploy.parent / "docs/runbooks"
    pages = {page.name: page.read_text(encoding="utf-8") for page in docs.glob("*.md")}
    found, linked = [], set()
    for rule in rules_of(deploy):
        if "alert" in rule:
            page, _, anchor = rule["annotations"]["runbook_url"].rpartition("/docs/runbooks/")[2].partition("#")
            section = re.search(rf"(?sm)^## {rule['alert']}$(.*?)(?=^## |\Z)", pages.get(page, ""))
            if section is None or anchor != rule["alert"].lower():
                found.append(f"{RULES}: {rule['alert']}: there is no runbook {page}#{anchor}")
            else:
                found += [f"{page}: {anchor}: no {part}" for part in PARTS if f"**{part}**" not in section[1]]
            linked.add(rule["alert"])
    for page, text in pages.items():
        found += [
            f"{page}: no alert {line}" for line in re.findall(r"(?m)^## (Shroff\w+)$", text) if line not in linked
        ]
        called = [shlex.split(line) for line in re.findall(r"`shroff ([^`]+)`", text)]
        found += commands(page, called)
        known = {*metrics(), *(family for family, _ in metrics().values())}
        named = [line for line in re.findall(r"\bshroff_\w+", text) if line not in known]
        found += [f"{page}: the program has no metric {item}" for item in named]
    objectives = [
        f"| `{objective.name}` | {100 * objective.share:g} % | {objective.meaning} |" for objective in OBJECTIVES
    ]
    return found + [f"objectives.md: no {row}" for row in objectives if row not in pages["objectives.md"]]


def dashboards(deploy: Path) -> list[str]:
    """Faults of the dashboards: what no Prometheus can answer, and metrics that nobody sees."""
    recorded = {rule["record"] for rule in rules_of(deploy) if "record" in rule}
    found, shown, uids = [], set(), set()
    lines = []
    for path in sorted((deploy / "grafana").glob("*.json")):
        file, board = f"grafana/{path.name}", json.loads(path.read_text(encoding="utf-8"))
        found += [f"{file}: another one has its uid"] * (board["uid"] in uids)
        uids.add(board["uid"])
        for query in [*queries(board), *variables(board).values()]:
            found += unknown(file, query, recorded)
            shown |= {metrics()[name][0] for name, _ in re.findall(NAMED, query) if name in metrics()}
        lines += [
            f"      - {{ record: 'x{len(lines) + at}', expr: {quoted(query)} }}"
            for at, query in enumerate(queries(board))
        ]
    with tempfile.TemporaryDirectory() as made:
        text = "\n".join(["groups:", "  - name: panels", "    rules:", *lines])
        (Path(made) / "panels.yaml").write_text(text, encoding="utf-8")
        found += judged("grafana", ["promtool", "check", "rules", "--lint=none", "panels.yaml"], cwd=Path(made))
    families = {family for family, _ in metrics().values()}
    found += [f"grafana: no panel shows {item}" for item in sorted(families - shown - set(UNSHOWN))]
    found += [
        f"grafana: {item} is shown, or is no metric" for item in sorted(set(UNSHOWN) & shown | set(UNSHOWN) - families)
    ]
    found += data_sources(deploy)
    folder = re.findall(r"path: (\S+)", (deploy / "compose/dashboards.yaml").read_text(encoding="utf-8"))
    if f"../grafana:{folder[0]}:ro" not in (deploy / COMPOSE).read_text(encoding="utf-8"):
        found.append(f"{COMPOSE}: Grafana does not get the dashboards in {folder[0]}")
    return found


def data_sources(deploy: Path) -> Iterator[str]:
    """Faults of Grafana's data sources: those that panels ask, and the secrets that they read."""
    file = "compose/grafana.yaml"
    text = (deploy / file).read_text(encoding="utf-8")
    try:
        given = {datasource["type"] for datasource in yaml.safe_load(text)["datasources"]}
    except yaml.YAMLError as error:
        yield f"{file}: {error}"
        return
    boards = [json.loads(path.read_text(encoding="utf-8")) for path in (deploy / "grafana").glob("*.json")]
    chosen_from = {
        row["query"] for board in boards for row in board["templating"]["list"] if row["type"] == "datasource"
    }
    yield from (f"{file}: no source of {kind}, which panels ask" for kind in chosen_from - given)
    secrets = yaml.safe_load((deploy / COMPOSE).read_text(encoding="utf-8"))["services"]["grafana"]["secrets"]
    named = re.findall(r"\$__file\{/run/secrets/(\w+)\}", text)
    yield from (f"{file}: it gets no secret {item}" for item in named if item not in secrets)


def queries(board: Mapping[str, Any]) -> list[str]:
    """The queries of a dashboard's panels in PromQL, for everything that can be chosen."""
    found = [target["expr"] for panel in board["panels"] for target in panel["targets"] if "expr" in target]
    return [chosen(item) for item in found]


def variables(board: Mapping[str, Any]) -> dict[str, str]:
    """The queries of a dashboard's variables, by name."""
    return {row["name"]: chosen(row["query"]) for row in board["templating"]["list"] if row["type"] == "query"}


def chosen(query: str) -> str:
    """A query as Grafana sends it if all is chosen."""
    return re.sub(r"\$(?!__)\w+", ".+", query.replace("$__rate_interval", "10s"))


def tried(deploy: Path, only: Collection[str] = ()) -> list[str]:
    """Alerts that do not fire in their trial, or do when they must not; of some alerts only where they are named."""
    rules = yaml.safe_load((deploy / RULES).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as made:
        names = write_trials(rules, Path(made), only)
        return judged(RULES, ["promtool", "test", "rules", *names], cwd=Path(made))


def two_tried(deploy: Path) -> list[str]:
    """The same of two alerts, for planted faults."""
    return tried(deploy, {"ShroffWaits", "ShroffNotReady"})


WATCHING = (watch, runbooks, dashboards, tried)
