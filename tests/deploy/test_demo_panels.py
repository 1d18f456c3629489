"""The dashboards over `shroff demo`, and over a worker with all that a demo lacks, read by a real Prometheus."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from urllib.request import Request, urlopen

import pytest
import redis as library

from tests.deploy import checks, watchers, watching
from tests.support.forks import SHROFF

# What a demo has no series for, by the names of metrics or labels.
BEYOND_A_DEMO = (
    "shroff_label_delay",  # labels that come later
    "transactions_total",  # `metrics: { earlier_names: ... }`
    "transaction_amount",
    'mode="shadow"',  # a rule in shadow
    "shroff_drift_",  # a check of drift
    "shroff_unreconciled_summary_events",  # summaries
    "source",  # a live source
    "shroff_pull_",  # a pulled source
    "shroff_snapshot_age",  # a large log
    "shroff_backup_",  # one of its two metrics, by whether there is a backup
)


@pytest.mark.long
@pytest.mark.slow
def test_each_panel_finds_something_in_a_demo(tmp_path):
    panels = panels_of_metrics()
    said = tmp_path / "said"
    with said.open("w") as file:
        demo = subprocess.Popen([SHROFF, "demo", "--events", "4000", "--port", "0"], stdout=file, stderr=file)
    try:
        link = told(said, r"http://(127\.0\.0\.1:\d+)/login/")
        folder = re.search(r"shroff -C (\S+) verify", said.read_text()).group(1)
        made = shroff(folder, "keys", "create", "p", "--role", "service", "--json")
        key = json.loads(made.stdout)["key"]

        def pay() -> None:
            """A payment of now: so small a bank has one in twenty minutes."""
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
            body = payment(f"paid-{time.time_ns()}", datetime.now(UTC)).encode()
            with urlopen(Request(f"http://{link}/api/v1/events/payment", body, headers), timeout=120) as answer:
                assert answer.status == 200

        with watchers.prometheus(tmp_path, link, key=key) as address:
            panels = unanswered(address, {panel for panel in panels if not is_beyond(panel)}, pay)
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(120)

    assert panels == set()


SETTINGS = """
metrics: {{ earlier_names: {{ transaction_type: channel, country: country }} }}
summaries: {{ url: "sqlite:///summaries.db", by: event_time, columns: {{ channel: channel }} }}
sources:
  app: {{ redis: {{ url: "{url}", streams: {{ payment: {stream} }} }} }}
  exports: {{ files: {{ from: inbox, settled: 0s }}, events: [payment] }}
"""
SHADOW = "- { id: quiet, on: payment, by: card, when: this.amount > 1, reason: quiet, effect: review, shadow: true }\n"
BEFORE = (  # what ran before the worker starts
    "ingest {bank}/past.jsonl --as payment",
    "drift --reference 10d --recent 2d",
    "snapshot",
    "sources sync exports",
    "summaries run --to {passed}",
)


@pytest.mark.long
@pytest.mark.slow
def test_each_panel_beyond_a_demo_finds_something_of_a_worker(tmp_path, redis):
    bank, stream, now = tmp_path / "bank", f"panels-{tmp_path.name}", datetime.now(UTC)
    shutil.copytree(checks.ROOT / "src/shroff/templates/payments", bank)
    with (bank / "shroff.yaml").open("a") as file:
        file.write(SETTINGS.format(url=redis.address, stream=stream))
    (bank / "rules/quiet.yaml").write_text(SHADOW)
    (bank / "inbox").mkdir()
    (bank / "inbox/one.jsonl").write_text(payment("pulled", now - timedelta(hours=1)))
    (bank / "inbox/two.parquet").write_text("damaged")
    past = [payment(f"past-{n}", now - timedelta(days=12) + n * timedelta(minutes=50)) for n in range(340)]
    (bank / "past.jsonl").write_text("\n".join(past))
    for words in BEFORE:
        done = shroff(bank, *words.format(bank=bank, passed=(now - timedelta(minutes=20)).isoformat()).split())
        assert done.returncode in {0, 4}, done.stderr
    number = 0

    def between() -> None:
        """Payments to the stream and a label of one; a first backup, once it was missed."""
        nonlocal number
        number += 1
        client.xadd(stream, {"event": payment(f"live-{number}", datetime.now(UTC))})
        if number == 3:
            assert shroff(bank, "label", "payment/live-1", "fraud").returncode == 0
        if number > 3 and not any("backup_missing" in item for item in left):
            shroff(bank, "backup", "create", "--at", str(tmp_path / "backups"))

    left = {metric for metric in panels_of_metrics() if is_beyond(metric)}
    with worker(bank, tmp_path / "said") as scraped, library.Redis.from_url(redis.address) as client:
        with watchers.prometheus(tmp_path, scraped) as address:
            left = unanswered(address, left, between)
        client.delete(stream)

    assert left == set()


def payment(name: str, at: datetime) -> str:
    found = {"payment_id": name, "paid_at": at.isoformat(timespec="milliseconds"), "card": f"c-{hash(name) % 9}"}
    return json.dumps(
        found | {"merchant": "m-1", "amount": "12.50", "country": "DE", "channel": "web", "currency": "EUR"}
    )


def shroff(bank, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SHROFF, "-C", bank, *words], capture_output=True, text=True, check=False)


@contextmanager
def worker(bank, said):
    """A worker of the live source; gives where its metrics are."""
    with said.open("w") as file:
        process = subprocess.Popen([SHROFF, "-C", bank, "run", "--metrics-port", "0"], stdout=file, stderr=file)
    try:
        yield told(said, r"http://(127\.0\.0\.1:\d+)/metrics")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)


def panels_of_metrics() -> set[str]:
    boards = [json.loads(path.read_text()) for path in (checks.DEPLOY / "grafana").glob("*.json")]
    panels = {query.replace(" or vector(0)", "") for board in boards for query in watching.queries(board)}
    return {panel for panel in panels if "ALERTS" not in panel}


def unanswered(address: str, panels: set[str], between=lambda: None) -> set[str]:
    """Those that find nothing within a minute."""
    ends = time.monotonic() + 120
    while time.monotonic() < ends and panels:
        time.sleep(1)  # between two scrapes
        between()
        panels -= {panel for panel in panels if watchers.asked(address, "/api/v1/query", query=panel)["data"]["result"]}
    return panels


def is_beyond(query: str) -> bool:
    return any(item in query for item in BEYOND_A_DEMO)


def told(said, pattern: str) -> str:
    """What a demo has said, once it says it."""
    ends = time.monotonic() + 300
    while (found := re.search(pattern, said.read_text())) is None:
        assert time.monotonic() < ends, said.read_text()
        time.sleep(0.2)
    return found.group(1)
