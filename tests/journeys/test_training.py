"""From events and late labels to a model in force, by the commands: trained, gated, promoted, cut off, proven."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import shroff
from shroff import Decision
from shroff.cli.main import run
from shroff.project.policy_text import with_cutoffs
from tests.support import forks

pytestmark = pytest.mark.slow
smoke = (
    "test_a_model_comes_into_force_and_its_decisions_replay",
    "test_a_model_that_fails_a_gate_is_kept_and_decides_nothing",
    "test_a_trained_model_has_a_report_and_its_decisions_have_reasons",
)

START = datetime(2026, 1, 5, tzinfo=UTC)
EVENTS = 4_000
AS_OF = "2026-02-04"  # within the last day
MODEL = """
payment:
  inputs: [payment.amount, payment.channel, hour(payment.paid_at), card.payments_1h, card.spent_24h]
  label_delay: 3d
  split: { train: 12d, delay: 3d, test: 4d, folds: 2 }
  capacity: { by: card, k: 5 }
  parameters: { trees: 25, depth: 3 }
  gates:
    average_precision: { at_least: %s }
    latency_p99: { at_most: 50ms }
    leak_test: required
"""
POLICY = """# who wrote this
payment:
  without_model: rules
  costs: { missed_fraud: payment.amount,   false_decline: "15", review: 4, reviews_a_day: 20 }  # a day's work
""".replace("\n", "\r\n")  # by somebody with Windows


def time_text(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def made_up(folder: Path) -> tuple[Path, Path]:
    """Payments of thirty days, one in twelve a fraud that amount and channel half give away, and its labels."""
    random = np.random.default_rng(7)
    events, labels = [], []
    for number in range(EVENTS):
        at = START + timedelta(minutes=11 * number)
        is_fraud = random.random() < 1 / 12
        event = {
            "payment_id": f"p-{number}",
            "paid_at": time_text(at),
            "card": f"c-{random.integers(200)}",
            "merchant": f"m-{random.integers(20)}",
            "amount": f"{random.lognormal(4.5 if is_fraud else 3, 0.8):.2f}",
            "country": "DE",
            "channel": "web" if random.random() < (0.8 if is_fraud else 0.3) else "pos",
        }
        events.append(json.dumps(event))
        if is_fraud:
            known_at = at + timedelta(days=float(random.uniform(0.2, 2.9)))
            labels.append(json.dumps({"event": f"p-{number}", "verdict": "fraud", "known_at": time_text(known_at)}))
    for name, lines in (("payments.jsonl", events), ("labels.jsonl", labels)):
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "payments.jsonl", folder / "labels.jsonl"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return made_up(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def ingested(tmp_path_factory, files):
    """A project with the events and their labels in its log."""
    folder = tmp_path_factory.mktemp("ingested") / "bank"
    payments, labels = files
    assert run(["init", str(folder)]) == 0
    (folder / "model.yaml").write_text(MODEL % 0.1, encoding="utf-8")
    (folder / "policy.yaml").write_bytes(POLICY.encode())
    assert run(["-C", str(folder), "ingest", str(payments), "--as", "payment", "--labels", str(labels)]) == 0
    return folder


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory, ingested):
    """A copy of it with a model that decides nothing yet, and what was said of that."""
    folder = shutil.copytree(ingested, tmp_path_factory.mktemp("trained") / "bank")
    command = [forks.SHROFF, "-C", folder, "train", "--as-of", AS_OF, "--json"]
    return folder, json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def copied(made: Path, folder: Path, monkeypatch) -> Path:
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def bank(ingested, tmp_path, monkeypatch):
    return copied(ingested, tmp_path / "bank", monkeypatch)


@pytest.fixture
def trained(trained_once, tmp_path, monkeypatch):
    folder, said = trained_once
    return copied(folder, tmp_path / "bank", monkeypatch), said


@pytest.fixture
def asked(capfd):
    """Run a command with --json; gives its exit code and its document."""

    def ask(*words):
        code = run([*words, "--json"])
        out = capfd.readouterr().out
        assert out.count("\n") == 1, out
        return code, json.loads(out)

    return ask


def later(number: int) -> dict[str, str]:
    """A payment behind the end of the log; every fourth one looks like a fraud."""
    at = START + timedelta(minutes=11 * EVENTS + number)
    amount, channel = ("400.00", "web") if number % 4 == 0 else ("12.00", "pos")
    return {
        "payment_id": f"q-{number}",
        "paid_at": time_text(at),
        "card": f"c-{number}",
        "merchant": "m-1",
        "amount": amount,
        "country": "DE",
        "channel": channel,
    }


def decided(folder: Path, numbers: range) -> list[Decision]:
    found = shroff.open(folder).decide([later(number) for number in numbers], as_type="payment")
    assert all(isinstance(item, Decision) for item in found), found
    return found


def test_a_model_comes_into_force_and_its_decisions_replay(bank, asked):
    assert [decision.score for decision in decided(bank, range(4))] == [None] * 4

    code, trained = asked("train", "--promote", "--by", "ann")
    assert code == 0
    assert trained["promoted"]
    assert (
        trained["metrics"]["average_precision"]["mean"]
        > trained["baselines"]["approve_all"]["metrics"]["average_precision"]["mean"] + 0.1
    )
    assert [(gate["name"], gate["passed"]) for gate in trained["gates"]] == [
        ("average_precision", True),
        ("latency_p99", True),
        ("leak_test", True),
    ]

    _, cut = asked("thresholds", "--apply")
    assert cut["in_force"]
    assert float(cut["expected_cost"]) < float(cut["cost_without_score"])
    policy = (bank / "policy.yaml").read_bytes().decode()
    assert policy == with_cutoffs(POLICY, "payment", cut["review_at"], cut["decline_at"])
    assert [line for line in policy.split("\r\n") if "score:" not in line] == POLICY.split("\r\n")
    assert cut["elsewhere"] is not None
    _, audit = asked("audit", "list", "--action", "thresholds")
    assert [row["to"]["model"] for row in audit["rows"]] == [trained["model"]]
    assert float(cut["expected_cost_low"]) <= float(cut["expected_cost"]) <= float(cut["expected_cost_high"])

    found = decided(bank, range(4, 12))
    assert {item.versions["model"] for item in found} == {trained["model"]}
    assert found[0].score > max(item.score for item in found[1:4])
    assert found[0].outcome in {"review", "decline"}
    assert asked("replay", "q-4")[1]["match"]
    _, verified = asked("verify", "--engines", "online,batch,naive", "--sample", "300")
    assert (verified["mismatches"], verified["events"]) == (0, EVENTS + 12)


def test_a_model_that_fails_a_gate_is_kept_and_decides_nothing(bank, asked):
    (bank / "model.yaml").write_text(MODEL % 0.99, encoding="utf-8")

    code, trained = asked("train", "--promote")
    assert (code, trained["promoted"]) == (1, False)
    assert trained["why_not"] == "it failed average_precision"
    assert [model["id"] for model in asked("models", "list")[1]["models"]] == [trained["model"]]
    assert [decision.score for decision in decided(bank, range(2))] == [None] * 2


def test_files_give_the_model_that_the_log_gives(trained, asked, files):
    (payments, labels), (bank, by_log) = files, trained
    _, by_files = asked("train", str(payments), "--labels", str(labels), "--as-of", AS_OF)

    models = [shroff.open(bank).context.registry.read(item["model"]).files["model.json"] for item in (by_log, by_files)]
    assert models[0] == models[1]
    assert by_log["metrics"]["auc_roc"] == by_files["metrics"]["auc_roc"]


def test_there_must_be_something_to_learn_from(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    run(["init", "bank"])
    monkeypatch.chdir(tmp_path / "bank")
    capfd.readouterr()

    assert run(["train"]) == 2
    assert "shroff ingest" in capfd.readouterr().err
    assert run(["thresholds"]) == 2
    assert "no model is active" in capfd.readouterr().err
    (tmp_path / "bank" / "model.yaml").unlink()
    assert run(["train"]) == 2
    assert "model.yaml" in capfd.readouterr().err


def test_a_trained_model_has_a_report_and_its_decisions_have_reasons(trained, asked, tmp_path):
    bank, model = trained[0], trained[1]["model"]
    assert asked("models", "promote", model)[0] == 0
    code, shown = asked("models", "show", model, "--report", str(tmp_path / "model.html"))
    page = (tmp_path / "model.html").read_text(encoding="utf-8")

    assert (code, shown["id"]) == (0, model)
    assert "report.html" in shown["files"]
    assert f"<h1>Model {model} of payment</h1>" in page
    for chart in ("Precision by recall", "Cost of a day", "Mean size of the contribution", "payment.amount"):
        assert f"<figcaption>{chart}</figcaption>" in page
    assert len(page.encode()) < 1_000_000

    decided(bank, range(4))
    reasons = [reason for reason in asked("explain", "q-0")[1]["reasons"] if reason["kind"] == "model"]
    assert {reason["code"] for reason in reasons[:2]} <= {"payment.amount", "payment.channel", "card.spent_24h"}
    assert reasons[0]["contribution"] > 0


def test_cut_offs_need_costs(trained, capfd):
    bank, said = trained
    (bank / "policy.yaml").unlink()

    assert run(["thresholds", "--model", said["model"]]) == 2
    assert "missed_fraud: payment" in capfd.readouterr().err


def test_comments_of_the_policy_stay(root):
    text = (root / "src/shroff/templates/payments/policy.yaml").read_text(encoding="utf-8")

    changed = with_cutoffs(text, "payment", 0.25, None)
    assert "score: { review_at: 0.25 }" in changed
    assert [line for line in changed.splitlines() if "score:" not in line] == text.splitlines()
    assert with_cutoffs(changed, "payment", None, None) == text


def test_labels_of_files_are_matched_as_ingest_matches_them_and_what_is_left_out_is_told(bank, asked, files, tmp_path):
    payments, labels = files
    (tmp_path / "odd.jsonl").write_text(
        labels.read_text(encoding="utf-8")
        + '{"event": "p-1", "verdict": "frod"}\n'
        + '{"event": "p-nobody", "verdict": "fraud", "known_at": "2026-02-01T00:00:00Z"}\n',
        encoding="utf-8",
    )

    code, trained = asked("train", str(payments), "--labels", str(tmp_path / "odd.jsonl"), "--as-of", AS_OF)
    assert code == 4
    assert trained["fraud"] > 50
    assert [words for words in trained["remarks"] if "left out" in words] == [
        (
            "1 of the lines was refused, and left out: odd.jsonl, 332: verdict: expected one of fraud, genuine, "
            "unclear; found 'frod'. Did you mean fraud?; known_at: expected a time with its offset, such as "
            "2026-03-01T10:00:00Z, a day such as 2026-03-01, or epoch milliseconds; it is missing."
        ),
        "1 label names an event that is not in the files, and was left out.",
    ]


def test_labels_of_files_may_name_events_by_a_unique_field(trained, asked, files, tmp_path):
    (payments, labels), (bank, by_id) = files, trained
    events = (bank / "events.yaml").read_text(encoding="utf-8")
    (bank / "events.yaml").write_text(events.replace("    card: text", "    arn: text? unique\n    card: text"))
    rows = [json.loads(line) for line in payments.read_text(encoding="utf-8").splitlines()]
    (tmp_path / "p.jsonl").write_text(
        "".join(f"{json.dumps({**row, 'arn': 'a' + row['payment_id']})}\n" for row in rows)
    )
    named = [json.loads(line) for line in labels.read_text(encoding="utf-8").splitlines()]
    (tmp_path / "arn.jsonl").write_text(
        "".join(
            f"{json.dumps({'arn': 'a' + r['event'], 'verdict': r['verdict'], 'known_at': r['known_at']})}\n"
            for r in named
        )
    )

    events_and_labels = [str(tmp_path / "p.jsonl"), "--labels", str(tmp_path / "arn.jsonl")]
    _, by_arn = asked("train", *events_and_labels, "--as-of", AS_OF)
    assert by_arn["fraud"] == by_id["fraud"] > 50
