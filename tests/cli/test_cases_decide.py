"""`shroff cases decide`: what goes with an answer, and what leaves the case as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shroff.cases import case_queries
from shroff.cli.main import run
from tests.support.telling import Bank, payment

RULE = "- { id: large, on: payment, by: card, when: this.amount > 100 or this.card in lists.blocked, effect: review }\n"


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    found = Bank(
        tmp_path,
        {
            "notices/customer.yaml": None,
            "rules/large.yaml": RULE,
            "lists/blocked.csv": "value,note,added_by,expires_at\n",
        },
    )
    found.pay(payment("p-1"))
    return found


def decided(bank: Bank, *words: str) -> int:
    return run(["-C", str(bank.project.context.paths.folder), "cases", "decide", "1", "fraud", *words])


def test_an_answer_blocks_and_records_a_refund(bank: Bank, capsys: pytest.CaptureFixture[str]):
    code = decided(bank, "--block", "blocked=c-1", "--refund", "40.00", "--reason", "stolen card", "--json")
    found = json.loads(capsys.readouterr().out)
    with bank.project.cases.open() as desk:
        history = case_queries.detail(desk, bank.project.context.who, 1).history
        refunded = case_queries.refunded_by(history)

    assert code == 0
    assert (found["case"]["state"], found["lists"][0]["value"], found["lists"][0]["in_force"]) == (
        "closed",
        "c-1",
        True,
    )
    assert refunded == 4_000
    assert "c-1,stolen card" in (bank.project.context.paths.folder / "lists" / "blocked.csv").read_text()


def test_what_is_blocked_already_stays_as_it_is(bank: Bank, capsys: pytest.CaptureFixture[str]):
    file = bank.project.context.paths.folder / "lists" / "blocked.csv"
    file.write_text("value,note,added_by,expires_at\nc-1,seen before,ann,\n")

    code = decided(bank, "--block", "blocked=c-1", "--reason", "stolen card", "--json")

    assert (code, json.loads(capsys.readouterr().out)["lists"]) == (0, [])
    assert "c-1,seen before,ann" in file.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--block", "blocked=c-1"), "needs --reason"),
        (("--block", "blocked", "--reason", "x"), "write LIST=VALUE"),
        (("--block", "unknown=c-1", "--reason", "x"), "unknown"),
        (("--refund", "-3"), "above zero"),
        (("--refund", "many"), "refund"),
    ],
)
def test_what_cannot_go_with_an_answer_leaves_the_case_open(
    bank: Bank, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
):
    code = decided(bank, *words)
    with bank.project.cases.open() as desk:
        state = case_queries.detail(desk, bank.project.context.who, 1).case.state

    assert code == 2
    assert said in capsys.readouterr().err
    assert state != "closed"
