"""Prometheus and Alertmanager for tests, with the files of deploy/; and metrics of a process that did everything."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from shroff.streams.source import Health
from shroff.web import metrics as of
from shroff.web.metric_families import Collector
from shroff.web.metrics_store import PLAIN, StoreLook, StoreMetrics
from shroff.worker.outbox import SinkState
from shroff.worker.serving.counts import AMOUNTS, LEADING, SCORES, BatchTally, Buckets, EarlierAmounts, WorkerCounts
from tests.deploy import checks
from tools.servers.ports import Port
from tools.servers.process import Child
from tools.servers.web import answers

# Debian's Alertmanager reads its own templates here, and nothing is installed: a copy looks in its own folder.
TEMPLATES = b"/usr/share/prometheus/alertmanager"
HERE = b"/proc/self/cwd/" + b"./" * 9 + b"."


def everything() -> tuple[list[Collector], WorkerCounts]:
    """The collectors of a process, each with a value for every label, and the counts behind them."""
    tally = BatchTally(["channel", "country"])
    tally.hits.update({("card_testing", False): 3, ("lost_card", True): 1})
    tally.money["payment", "decline"] = 12.0
    tally.scores["payment"], tally.label_s["fraud"] = Buckets(SCORES), Buckets(of.SECONDS)
    tally.earlier["pos", "DE"] = EarlierAmounts(AMOUNTS)
    sink = SinkState("notices", "smtp", "messages", None, 0, None, 0)
    work = WorkerCounts(state=LEADING, health=Health(lag=0, failing={"kafka": ""}))
    work.counts.tally, work.counts.by_outcome = tally, Counter(approve=5, decline=1)
    work.sinks = [SimpleNamespace(name="notices", sent=1, attempts=0)]
    look = StoreLook(
        dict.fromkeys(PLAIN, 1.0) | {"shroff_disk_free_bytes": 90.0, "shroff_disk_size_bytes": 100.0},
        {"store": False},
        [sink],
        {"exports": (60.0, 0)},
        {("payment", "m-1"): 60.0},
        {("payment", "m-1"): 0.0},
        {"payment": (0.0, 0, 60.0)},
        {"mail server": False},
    )
    requests, service = (
        of.Requests(),
        SimpleNamespace(writer=SimpleNamespace(queue=SimpleNamespace(waiting=0, age_s=0.0, turned_away=0))),
    )
    requests.add("POST", "/api/v1/events", 200, 0.01)
    made = [of.WorkMetrics(lambda: work, lambda: True), of.QueueMetrics(service), StoreMetrics(lambda: look)]
    return [requests, *made, of.BuildMetrics(), of.EarlierMetrics(lambda: work)], work


@contextmanager
def prometheus(
    folder: Path, scraped: str | Sequence[str], alertmanager: str = "", *, fast: bool = False, key: str = ""
) -> Iterator[str]:
    """A Prometheus with the rules of deploy/ that reads one address of metrics, or several; gives its own address.

    Args:
        fast: Each alert fires after a second.
        key: With which metrics are read.
    """
    text = (checks.DEPLOY / "prometheus/rules.yaml").read_text(encoding="utf-8")
    text = re.sub(r"for: \d+m", "for: 1s", text) if fast else text
    (folder / "rules.yaml").write_text(text, encoding="utf-8")
    settings = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {
                "job_name": "shroff",
                "static_configs": [{"targets": [scraped] if isinstance(scraped, str) else [*scraped]}],
                **({"authorization": {"credentials": key}} if key else {}),
            }
        ],
    }
    if alertmanager:
        settings["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
    (folder / "prometheus.yaml").write_text(json.dumps(settings), encoding="utf-8")
    path, env = checks.tool("prometheus")
    options = [f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data"]
    with started("Prometheus", [path, *options], env, folder, "--web.listen-address") as address:
        yield address


@contextmanager
def alertmanager(folder: Path, settings: Mapping[str, Any]) -> Iterator[str]:
    """An Alertmanager with these settings; gives its address."""
    path, env = checks.tool("prometheus-alertmanager")
    program = folder / "alertmanager"
    program.write_bytes(Path(path).read_bytes().replace(TEMPLATES, HERE))
    program.chmod(0o755)
    for template in (Path(path).parents[2] / TEMPLATES.decode().lstrip("/")).glob("*.tmpl"):
        shutil.copy(template, folder)
    (folder / "alertmanager.yaml").write_text(json.dumps(settings), encoding="utf-8")
    options = [
        f"--config.file={folder}/alertmanager.yaml",
        f"--storage.path={folder}/kept",
        "--cluster.listen-address=",
    ]
    with started("Alertmanager", [str(program), *options], env, folder, "--web.listen-address") as address:
        yield address


@contextmanager
def started(name: str, command: list[str], env: Mapping[str, str], folder: Path, option: str) -> Iterator[str]:
    held = Port()
    address = f"127.0.0.1:{held.number}"
    child = Child(name, [*command, f"{option}={address}"], folder / f"{name}.log", env=env)
    try:
        child.start(lambda: answers(f"http://{address}/-/ready"))
        yield address
    finally:
        child.kill()
        held.close()


def asked(address: str, path: str, **words: str) -> Any:
    """What Prometheus or Alertmanager answers."""
    with urlopen(f"http://{address}{path}?{urlencode(words)}", timeout=120) as answer:
        return json.load(answer)


def posted(address: str, path: str, what: Any) -> None:
    """Send something as JSON."""
    request = Request(f"http://{address}{path}", json.dumps(what).encode(), {"Content-Type": "application/json"})
    urlopen(request, timeout=120).close()
