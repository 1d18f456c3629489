"""The dashboards over `shroff demo`: its model, its service and its payments, read by a real Prometheus."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time

import pytest

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
    boards = [json.loads(path.read_text()) for path in (checks.DEPLOY / "grafana").glob("*.json")]
    panels = {query.replace(" or vector(0)", "") for board in boards for query in watching.queries(board)}
    panels = {one for one in panels if "ALERTS" not in one}
    said = tmp_path / "said"
    with said.open("w") as file:
        demo = subprocess.Popen([SHROFF, "demo", "--events", "4000", "--port", "0"], stdout=file, stderr=file)
    try:
        link = told(said, r"http://(127\.0\.0\.1:\d+)/login/")
        folder = re.search(r"shroff -C (\S+) verify", said.read_text()).group(1)
        made = [SHROFF, "-C", folder, "keys", "create", "p", "--role", "service", "--scope", "read:metrics", "--json"]
        key = json.loads(subprocess.run(made, capture_output=True, check=True).stdout)["key"]
        with watchers.prometheus(tmp_path, link, key=key) as address:
            ends = time.monotonic() + 60
            while time.monotonic() < ends and any(not is_beyond(one) for one in panels):
                time.sleep(1)  # between two scrapes
                panels = {
                    one for one in panels if not watchers.asked(address, "/api/v1/query", query=one)["data"]["result"]
                }
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(60)

    assert {one for one in panels if not is_beyond(one)} == set()


def is_beyond(query: str) -> bool:
    return any(one in query for one in BEYOND_A_DEMO)


def told(said, pattern: str) -> str:
    """What a demo has said, once it says it."""
    ends = time.monotonic() + 300
    while (found := re.search(pattern, said.read_text())) is None:
        assert time.monotonic() < ends, said.read_text()
        time.sleep(0.2)
    return found.group(1)
