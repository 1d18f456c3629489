"""Cases over the real HTTP server: analysts meet on them, and a label is written once, whoever is killed."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.examples.bank import bank
from shroff.people.access import Role
from tests.support.patience import PATIENCE_S
from tests.support.served import SHROFF, Served, key_of, served

pytestmark = pytest.mark.slow
smoke = (
    "test_two_who_ask_for_the_next_case_never_get_the_same",
    "test_a_label_is_written_once_though_the_service_is_killed_between_answer_and_label",
)

TEMPLATE = TEMPLATE_FOLDER / "payments"
RULE = """
- id: any_payment
  on: payment
  by: card
  when: this.amount > 0
  reason: "paid {this.amount}"
  effect: review
"""
CASES = "/api/v1/cases"
Found = TypeVar("Found")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A bank that reviews each payment, so that each card has a case."""
    shutil.copytree(TEMPLATE, tmp_path / "bank")
    (tmp_path / "bank" / "rules" / "any.yaml").write_text(RULE, encoding="utf-8")
    return tmp_path / "bank"


def analyst(service: Served, name: str) -> httpx2.Client:
    return service.client(key_of(service.folder, Role.ANALYST, name))


def until(asked: Callable[[], Found | None]) -> Found:
    """What is asked for, as soon as it is there."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        found = asked()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come in time")


def queue(client: httpx2.Client, query: str = "") -> list[dict[str, Any]]:
    answer = client.get(f"{CASES}?limit=500{query}")
    assert answer.status_code == 200
    return list(answer.json()["cases"])


def raise_cases(client: httpx2.Client, least: int) -> list[dict[str, Any]]:
    """Post payments, and wait until all of them are in cases; gives the queue."""
    posted = [item.event for item in bank(60, seed=4)]
    assert client.post("/api/v1/events/payment", json=posted).status_code == 200

    def all_of_them() -> list[dict[str, Any]] | None:
        found = queue(client)
        return found if sum(item["alerts"] for item in found) == len(posted) else None

    found = until(all_of_them)
    assert len(found) >= least
    return found


def labels(folder: Path) -> list[dict[str, Any]]:
    command = [SHROFF, "-C", folder, "export", "labels"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_two_who_ask_for_the_next_case_never_get_the_same(project):
    with served(project) as service, service.client() as admin, analyst(service, "ann") as ann:
        found = raise_cases(admin, 20)
        with analyst(service, "ben") as ben, ThreadPoolExecutor(8) as threads:
            asking = [threads.submit(case.post, f"{CASES}/claim-next") for case in (ann, ben) * 10]
            claimed = [item.result().json()["case"]["id"] for item in asking]
        service.stop()

    least_time_left = [item["id"] for item in found[:20]]
    assert sorted(claimed) == sorted(least_time_left)


def test_the_second_of_two_analysts_is_told_and_nothing_is_overwritten(project):
    with served(project) as service, service.client() as admin, analyst(service, "ann") as ann:
        number = raise_cases(admin, 1)[0]["id"]
        with analyst(service, "ben") as ben:
            seen = [item.get(f"{CASES}/{number}").headers["etag"] for item in (ann, ben)]
            first = ann.post(f"{CASES}/{number}/decide", json={"verdict": "fraud"}, headers={"if-match": seen[0]})
            second = ben.post(f"{CASES}/{number}/decide", json={"verdict": "genuine"}, headers={"if-match": seen[1]})
            undone_by_another = ben.post(f"{CASES}/undo", json={"undo": first.json()["undo"]})
            now = ben.get(f"{CASES}/{number}").json()
        service.stop()

    assert first.status_code == 200
    assert second.status_code == 409
    assert (second.json()["by"], second.json()["saved"]) == ("ann", False)
    assert undone_by_another.status_code == 409
    assert (now["verdict"], now["closed_by"]["name"]) == ("fraud", "ann")


def test_many_are_decided_at_once_and_one_undo_takes_all_back(project):
    with served(project) as service, service.client() as admin, analyst(service, "ann") as ann:
        before = raise_cases(admin, 5)
        chosen = [{"id": row["id"], "tag": row["tag"]} for row in before[:5]]
        done = ann.post(f"{CASES}/bulk", json={"action": "decide", "verdict": "genuine", "cases": chosen}).json()
        left = queue(admin)
        undone = ann.post(f"{CASES}/undo", json={"undo": done["undo"]}).json()
        after = queue(admin)
        again = ann.post(f"{CASES}/undo", json={"undo": done["undo"]})
        service.stop()

    assert [case["verdict"] for case in done["cases"]] == ["genuine"] * 5
    assert [item["id"] for item in left] == [row["id"] for row in before[5:]]
    assert len(undone["cases"]) == 5
    assert [row["id"] for row in after] == [row["id"] for row in before]
    assert again.status_code == 409
    assert labels(project) == []


def test_a_label_is_written_once_though_the_service_is_killed_between_answer_and_label(project):
    with served(project) as service:
        with service.client() as admin, analyst(service, "ann") as ann:
            case = raise_cases(admin, 1)[0]
            events = [alert["event"] for alert in ann.get(f"{CASES}/{case['id']}").json()["alerts"]]
            answered = ann.post(f"{CASES}/{case['id']}/decide", json={"verdict": "fraud"})
        service.kill()
    assert answered.status_code == 200
    assert labels(project) == []

    with served(project) as service:
        written = until(lambda: found if len(found := labels(project)) >= len(events) else None)
        with service.client() as admin:
            now = admin.get(f"{CASES}/{case['id']}").json()
        service.kill()
    with served(project) as service:
        carried_out = subprocess.run([SHROFF, "-C", project, "cases", "list"], check=False, timeout=120)
        service.stop()

    assert sorted((label["event"], label["verdict"], label["source"]) for label in written) == [
        (event, "fraud", "analyst") for event in sorted(events)
    ]
    assert now["state"] == "closed"
    assert carried_out.returncode == 0
    assert labels(project) == written
    assert subprocess.run([SHROFF, "-C", project, "verify"], check=False, timeout=120).returncode == 0
    assert subprocess.run([SHROFF, "-C", project, "audit", "verify"], check=False, timeout=120).returncode == 0
