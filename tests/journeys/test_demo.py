"""`shroff demo` as somebody runs it: its figures fit each other, and it leaves behind what it says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from shroff.examples.bank import bank

EVENTS = 3_000
PROGRAM = (sys.executable, "-c", "from shroff.cli.main import main; main()", "demo")
OF_THE_CLOCK = ("seconds", "events_per_second")

pytestmark = pytest.mark.slow


def demo(*arguments: str, temporary: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command; `temporary` is where it makes its project."""
    environment = os.environ | ({"TMPDIR": str(temporary)} if temporary else {})
    return subprocess.run(
        [*PROGRAM, *arguments], capture_output=True, text=True, timeout=180, env=environment, check=False
    )


@cache
def summary() -> dict[str, Any]:
    ran = demo("--once", "--json", "--events", str(EVENTS))

    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_the_figures_fit_each_other():
    found = summary()
    frauds = [payment for payment in bank(EVENTS, found["seed"]) if payment.fraud]

    assert found["events"] == found["decisions"] == sum(found["by_outcome"].values()) == EVENTS
    assert found["fraud_caught"] + found["fraud_missed"] == len(frauds)
    assert found["fraud_caught"] > 0
    assert Decimal(found["money_saved"]) + Decimal(found["money_lost"]) == sum(
        Decimal(one.event["amount"]) for one in frauds
    )
    assert sum(one["caught"] for one in found["frauds"].values()) == found["fraud_caught"]
    assert sum(Decimal(one["money_saved"]) for one in found["frauds"].values()) == Decimal(found["money_saved"])
    assert found["events_per_second"] == pytest.approx(EVENTS / found["seconds"], rel=0.01)
    assert found["url"] is None
    assert found["project"] is None


def test_rules_hit_at_least_what_was_stopped():
    found = summary()
    stopped = EVENTS - found["by_outcome"]["approve"]

    assert max(rule["hits"] for rule in found["rules"]) <= stopped <= sum(rule["hits"] for rule in found["rules"])
    assert all(rule["frauds"] <= rule["hits"] for rule in found["rules"])


def test_the_example_is_a_caught_fraud_with_its_reasons_and_features():
    found = summary()
    example = found["example"]
    kinds = {payment.event["payment_id"]: payment.fraud for payment in bank(EVENTS, found["seed"])}

    assert example["outcome"] != "approve"
    assert [reason["code"] for reason in example["reasons"]] == example["rules"] != []
    assert "card.payments_1h" in example["features"]
    assert found["example_fraud"] == kinds[example["id"]] is not None


def test_two_runs_differ_in_nothing_but_time():
    again = json.loads(demo("--once", "--json", "--events", str(EVENTS)).stdout)

    assert timeless(again) == timeless(summary())
    assert timeless(json.loads(demo("--once", "--json", "--events", str(EVENTS), "--seed", "5").stdout)) != timeless(
        summary()
    )


def timeless(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name not in OF_THE_CLOCK}


def test_people_get_a_table_and_the_folder_is_gone_after_once(tmp_path):
    ran = demo("--once", "--events", "2000", temporary=tmp_path)

    assert ran.returncode == 0, ran.stderr
    for words in (
        "2,000 payments",
        "a second",
        "Outcome",
        "EUR saved",
        "precision",
        "One decision explained",
        "neither trains",
    ):
        assert words in ran.stdout
    assert "deciding 2,000 payments" in ran.stderr
    assert max(len(line) for line in ran.stdout.splitlines()) <= 80
    assert list(tmp_path.iterdir()) == []


def test_without_once_the_project_stays_and_its_log_can_be_asked(tmp_path):
    import shroff

    ran = demo("--events", "2000", "--json", temporary=tmp_path)
    found = json.loads(ran.stdout)
    project = shroff.open(found["project"])
    recorded, computed = project.replay(found["example"]["id"])

    assert Path(found["project"]).is_relative_to(tmp_path)
    assert json.loads(recorded.document) == json.loads(computed.document) == found["example"]
    assert project.verify().mismatches == 0


WRONG = [
    ("--events", "-5", "at least 1, got -5"),
    ("--events", "0", "at least 1, got 0"),
    ("--seed", "spring", "'spring' is not a valid integer"),
    ("--seed", "-1", "at least 0, got -1"),
    ("--port", "0", "at least 1, got 0"),
]


@pytest.mark.parametrize("option, value, words", WRONG)
def test_wrong_use_is_said_in_words(option, value, words, tmp_path):
    ran = demo("--once", option, value, temporary=tmp_path)

    assert ran.returncode == 2
    assert f"'{option}'" in ran.stderr
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_cleanly_and_leaves_nothing(tmp_path):
    running = subprocess.Popen(
        [*PROGRAM, "--events", "1000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert running.stderr is not None
    for line in running.stderr:
        if "of 1,000,000 payments" in line:
            break
    running.send_signal(signal.SIGINT)
    out, error = running.communicate(timeout=60)

    assert running.returncode == 130
    assert out == ""
    assert "Stopped." in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []
