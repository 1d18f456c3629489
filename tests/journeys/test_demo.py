"""`shroff demo` as somebody runs it: its figures fit each other, what it serves, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import pytest

from shroff.examples.bank import bank
from shroff.examples.demo import BANK
from tests.support import forks
from tests.support.effort import long

EVENTS = 3_000
PROGRAM = (str(forks.SHROFF), "demo")
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


def figures_fit(found: dict[str, Any]) -> None:
    """What a demo told of its payments, its rules, its model and one decision is what it must be."""
    outcomes_fit(found)
    rules_fit(found)
    model_fits(found)
    example_fits(found)
    example_names_the_model(found)


def outcomes_fit(found: dict[str, Any]) -> None:
    frauds = [payment for payment in bank(EVENTS, found["seed"]) if payment.fraud]

    assert found["events"] == found["decisions"] == sum(found["by_outcome"].values()) == EVENTS
    assert found["fraud_caught"] + found["fraud_missed"] == len(frauds)
    assert found["fraud_caught"] > 0
    assert Decimal(found["money_saved"]) + Decimal(found["money_lost"]) == sum(
        Decimal(fraud.event["amount"]) for fraud in frauds
    )
    assert sum(fraud["caught"] for fraud in found["frauds"].values()) == found["fraud_caught"]
    assert sum(Decimal(fraud["money_saved"]) for fraud in found["frauds"].values()) == Decimal(found["money_saved"])
    assert found["with_model"]["money_saved"] == found["money_saved"]
    assert found["with_model"]["fraud_caught"] == found["fraud_caught"]
    assert found["events_per_second"] == pytest.approx(EVENTS / found["seconds"], rel=0.01)


def rules_fit(found: dict[str, Any]) -> None:
    """Rules hit at least what they stop alone."""
    stopped = found["rules_alone"]["stopped"]

    assert max(rule["hits"] for rule in found["rules"]) <= stopped <= sum(rule["hits"] for rule in found["rules"])
    assert all(rule["frauds"] <= rule["hits"] for rule in found["rules"])


def model_fits(found: dict[str, Any]) -> None:
    """The model comes from another bank and adds money on this one."""
    model, rules = found["model"], found["rules_alone"]

    assert model["in_force"]
    assert all(model["gates"].values())
    assert set(model["gates"]) >= {"average_precision", "leak_test"}
    assert model["learnt_from"]["seed"] != found["seed"]
    assert model["learnt_from"]["frauds"] > 100
    assert model["average_precision"] > 2 * model["average_precision_of_rules"] > 0
    assert 0 < model["review_at"] < 1
    added = Decimal(found["money_saved"]) - Decimal(rules["money_saved"])
    assert Decimal(model["money_added"]) == added > 0
    assert Decimal(model["money_left_added"]) == Decimal(found["with_model"]["money_left"]) - Decimal(
        rules["money_left"]
    )
    assert found["with_model"]["stopped"] == EVENTS - found["by_outcome"]["approve"] > rules["stopped"]


def example_fits(found: dict[str, Any]) -> None:
    """The example is a caught fraud with the reasons of its rules and its features."""
    example = found["example"]
    kinds = {payment.event["payment_id"]: payment.fraud for payment in bank(EVENTS, found["seed"])}
    of_rules = [reason["code"] for reason in example["reasons"] if reason["kind"] == "rule"]

    assert example["outcome"] != "approve"
    assert of_rules == example["rules"]
    assert "card.payments_1h" in example["features"]
    assert found["example_fraud"] == kinds[example["id"]] is not None


def example_names_the_model(found: dict[str, Any]) -> None:
    """The example has the reasons of the model in force."""
    of_model = [reason for reason in found["example"]["reasons"] if reason["kind"] == "model"]

    assert max(reason["contribution"] for reason in of_model) > 0
    assert all(reason["text"] for reason in of_model)
    assert found["example"]["versions"]["model"] == found["model"]["id"]


@pytest.mark.long  # in each run those below, and in test_demo_screens those of its model, which takes most of the time
def test_the_figures_fit_each_other():
    figures_fit(summary())


@pytest.mark.parametrize("past", [6_000, pytest.param(60_000, marks=pytest.mark.long)])
def test_once_tells_its_figures_serves_nothing_and_leaves_nothing(past, tmp_path, monkeypatch):
    monkeypatch.setenv(forks.SET, f"shroff.cli.demo.PAST_EVENTS={past} {os.environ.get(forks.SET, '')}")
    ran = demo("--once", "--json", "--events", str(EVENTS), temporary=tmp_path)

    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    outcomes_fit(found)
    rules_fit(found)
    example_fits(found)
    assert found["url"] is None
    assert found["project"] is None
    assert (found["cases"], found["asked"]) == (0, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_two_runs_differ_in_nothing_but_time():
    again = json.loads(demo("--once", "--json", "--events", str(EVENTS)).stdout)

    assert timeless(again) == timeless(summary())


@pytest.mark.long
def test_where_the_rules_own_bank_is_shown_the_model_comes_from_another():
    other = json.loads(demo("--once", "--json", "--events", "500", "--seed", "1").stdout)

    assert other["model"]["learnt_from"]["seed"] == 2
    assert other["model"]["id"] != summary()["model"]["id"]


@contextmanager
def served_demo(temporary: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A demo that is served, and what it told when its address could be opened."""
    arguments = (*PROGRAM, "--events", str(EVENTS), "--port", "0", "--json")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = subprocess.Popen(arguments, **pipes, env=os.environ | {"TMPDIR": str(temporary)})
    try:
        assert running.stdout is not None
        line = running.stdout.readline()
        assert line, running.communicate()
        yield running, json.loads(line)
    finally:
        if running.poll() is None:
            running.kill()
            running.communicate()


def timeless(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name not in OF_THE_CLOCK}


@pytest.mark.long
def test_people_get_a_table_and_the_folder_is_gone_after_once(tmp_path):
    ran = demo("--once", "--events", "2000", temporary=tmp_path)

    assert ran.returncode == 0, ran.stderr
    printed = " ".join(ran.stdout.split())
    for words in (
        "2,000 payments",
        "a second",
        "Outcome",
        "EUR saved",
        "precision",
        "What the model adds",
        "on another synthetic bank, seed 1",
        "Neither the rules nor the model have seen",
        "One decision explained",
        "Without --once, the demo also serves this bank",
    ):
        assert words in printed, words
    for words in ("60,000 payments of another bank", "training a model: fold 2 of 2", "deciding 2,000 payments"):
        assert words in ran.stderr
    assert max(len(line) for line in ran.stdout.splitlines()) <= 80
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_without_once_it_is_served_until_ctrl_c_and_the_project_stays(tmp_path):
    import shroff

    with served_demo(tmp_path) as (running, found):
        url, _, path = found["url"].partition("/login/")
        assert path.startswith("once/")
        assert httpx2.get(f"{url}/health/live", timeout=120).status_code == 200
        assert httpx2.get(f"{url}/login/{path}", timeout=120).text.count("signed in as Guest") == 1
        port = url.rpartition(":")[2]
        another = demo("--port", port, temporary=tmp_path)
        assert (another.returncode, another.stdout) == (2, "")
        assert f"127.0.0.1 port {port} is not available" in another.stderr
        assert "Choose another with --port" in another.stderr
        running.send_signal(signal.SIGINT)
        out, error = running.communicate(timeout=120)
    project = shroff.open(found["project"])
    recorded, computed = project.replay(found["example"]["id"])

    assert (running.returncode, out) == (0, "")
    assert "Stopped. The project is kept." in error
    assert "Traceback" not in error
    assert found["events"] == found["decisions"] == EVENTS
    assert found["cases"] > 5
    assert found["asked"] > 0
    assert project.definitions.settings.name == BANK
    id_ = found["example"]["id"]
    with project.log.reading() as log:
        body, personal = log.find("payment", [id_])[id_].body, log.personal.of("payment", [id_])[id_]
    assert {"merchant_name", "category", "city", "card_label"} <= json.loads(body).keys()
    assert personal["email"].endswith(".example")
    assert Path(found["project"]).is_relative_to(tmp_path)
    assert recorded.document == computed.document
    assert json.loads(project.explain(found["example"]["id"]).json()) == found["example"]
    assert project.verify().mismatches == 0
    assert [model.role for model in project.models.all()] == ["champion"]


WRONG = [
    ("--events", "-5", "at least 1, got -5"),
    ("--events", "0", "at least 1, got 0"),
    ("--seed", "spring", "'spring' is not a valid integer"),
    ("--seed", "-1", "at least 0, got -1"),
    ("--port", "-1", "-1 is not in the range"),
]


@pytest.mark.parametrize("option, value, words", WRONG)
def test_wrong_use_is_said_in_words(option, value, words, tmp_path):
    ran = demo("--once", option, value, temporary=tmp_path)

    assert ran.returncode == 2
    assert f"'{option}'" in ran.stderr
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("moment", ["", long("of 300,000 payments")], ids=["at once", "in the stream"])
def test_ctrl_c_ends_cleanly_and_leaves_nothing(tmp_path, moment):
    running = subprocess.Popen(
        [*PROGRAM, "--events", "300000", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert running.stderr is not None
    for line in running.stderr:
        if moment in line:
            break
    running.send_signal(signal.SIGINT)
    out, error = running.communicate(timeout=120)

    assert running.returncode == 130
    assert out == ""
    assert "Stopped." in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []
