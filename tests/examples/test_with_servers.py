"""The examples with servers, each by its one command; and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from base64 import b64encode
from collections import Counter
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pandas as pd
import pytest
from confluent_kafka.admin import AdminClient
from pymongo import MongoClient

from shroff import webhooks
from tests.support.forks import PYTHON
from tools.servers.web import listens

pytestmark = [pytest.mark.slow, pytest.mark.long]

SECRET = f"whsec_{b64encode(b'0123456789abcdef').decode()}"
MADE_UP = {"kafka-paysim": 2_000, "cards-mongo": 1_000}


def played(root: Path, name: str, folder: Path, **servers: str) -> str:
    """What an example shows, its project kept in a folder."""
    done = subprocess.run(
        [PYTHON, root / "examples" / name / "run.py", "--folder", folder],
        env={**os.environ, **servers},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def summed(file: Path) -> tuple[int, Decimal, int, Counter[str]]:
    """What all windows of summaries have together: payments, their amount, frauds, and payments by card type."""
    with closing(sqlite3.connect(file)) as database:
        columns = "transaction_count, amount_sum, fraud_count, card_type"
        rows = database.execute(f"SELECT {columns} FROM transaction_summaries").fetchall()
    counts, amounts, frauds, cards = zip(*rows, strict=True)
    types: Counter[str] = sum((Counter(json.loads(card)) for card in cards), Counter())
    return sum(counts), sum(Decimal(str(amount)) for amount in amounts), sum(frauds), types


def counted(shown: str, what: str) -> int:
    """The number behind some words of the table at the end."""
    found = re.search(rf"^ +{re.escape(what)} +([\d,]+)", shown, re.MULTILINE)

    assert found is not None, shown
    return int(found[1].replace(",", ""))


@pytest.fixture
def brokers(kafka: Any) -> Any:
    """The brokers of this run; topics that an example makes are gone afterwards."""
    admin = AdminClient({"bootstrap.servers": kafka.address})
    before = set(admin.list_topics(timeout=120).topics)
    yield kafka.address
    made = set(admin.list_topics(timeout=120).topics) - before
    if made := [item for item in made if item.startswith(("paysim.", "cards.", "fraud_", "non_"))]:
        for gone in admin.delete_topics(made).values():
            gone.result()


def test_paysim_leaves_for_its_topics_the_webhook_the_lake_and_two_refunds_one_taken_back(
    root, tmp_path, brokers, registry
):
    folder = tmp_path / "paysim"
    shown = played(root, "kafka-paysim", folder, KAFKA_BROKERS=brokers, REGISTRY=urlsplit(registry.address).netloc)
    payments = pd.read_csv(folder / "paysim.csv", dtype={"amount": str, "oldbalanceOrg": str, "newbalanceOrig": str})
    payments.index = [f"paysim.csv:{number}" for number in range(1, len(payments) + 1)]
    takes_out = payments["type"].isin(["TRANSFER", "CASH_OUT"])
    emptied = payments[takes_out & (payments["amount"].map(Decimal) == payments["oldbalanceOrg"].map(Decimal))]
    alarms = [json.loads(line) for line in (folder / "alarms.jsonl").read_bytes().splitlines()]
    lake = folder / "lake"

    assert len(payments) == MADE_UP["kafka-paysim"]
    assert "payment under paysim.payments-value: " in shown
    assert "0 mismatches" in shown
    assert "What to do next:" in shown
    assert {alarm["id"] for alarm in alarms} == set(emptied.index)
    assert counted(shown, "topic fraud_transaction") >= len(alarms) > 10
    assert counted(shown, "topic fraud_transaction") + counted(shown, "topic non_fraud_transaction") == len(payments)
    assert {alarm["outcome"] for alarm in alarms} == {"decline"}
    assert len(list((lake / "email_confirmation").iterdir())) == len(emptied)
    assert sum(len(path.read_bytes().splitlines()) for path in (lake / "transaction").iterdir()) == len(payments)
    assert list((lake / "events").rglob("*.parquet"))

    # Of four customers who say no, one was charged back, and of one an analyst said that the payment is genuine; of one
    # an analyst says so afterwards.
    answers = json.loads((folder / "answers.json").read_text("utf-8"))
    denied = [payment for payment, said in answers.items() if said == "no"]
    charged_back = emptied.index[emptied["isFraud"] == 1]
    before, afterwards = re.findall(r"label payment/(\S+) genuine --source analyst", shown)
    refunded = set(denied) - set(charged_back) - {before}
    documents = {
        folder: {
            document["idTransaction"]: document
            for path in (lake / folder).iterdir()
            for document in [json.loads(path.read_text("utf-8"))]
        }
        for folder in ("fraud_confirmation", "refund_taken_back")
    }
    moved = {payment: Decimal(0) for payment in denied}  # what refunds and their return give back to each payer
    for document in (each for found in documents.values() for each in found.values()):
        row = payments.loc[document["idTransaction"]]
        sides = (Decimal(row["newbalanceOrig"]), Decimal(row["oldbalanceOrg"]))
        old, new = (Decimal(document[name]) for name in ("oldBalanceOriginSet", "newBalanceOriginSet"))
        assert (old, new) == (sides if document["refund"] else sides[::-1])
        moved[document["idTransaction"]] += new - old
    wanted = refunded - {afterwards}
    assert len(denied) == 4
    assert set(documents["fraud_confirmation"]) == refunded == {*wanted, afterwards}
    assert set(documents["refund_taken_back"]) == {afterwards}
    assert {payment for payment, given in moved.items() if given} == wanted

    # The mart: frauds are those charged back by the file, and the customers' answers, unless an analyst knows better.
    frauds = set(payments.index[payments["isFraud"] == 1]) | wanted
    table = shown.partition("$ shroff marts show frauds_by_type")[2].partition("$ shroff verify")[0]
    for kind, rows in payments.groupby("type"):
        (line,) = [line.split() for line in table.splitlines() if line.split()[:1] == [kind]]
        total = sum(rows["amount"].map(Decimal))
        assert (int(line[1]), Decimal(line[2]), int(line[3])) == (len(rows), total, len(frauds & set(rows.index)))


def test_the_receiver_of_paysim_takes_what_is_signed_and_each_row_once(root, tmp_path):
    program = [sys.executable, str(root / "examples" / "kafka-paysim" / "receiver.py"), str(tmp_path / "alarms.jsonl")]
    environment = {**os.environ, "HOOK_SECRET": SECRET}

    def called(url: str, id: str, secret: str) -> int:
        headers = webhooks.headers(secret, id, int(time.time()), b"{}")
        try:
            return int(urlopen(Request(url, b"{}", headers), timeout=120).status)
        except HTTPError as error:
            return error.code

    with subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True) as receiver:
        url = f"http://{receiver.stdout.readline().strip()}/fraud"
        statuses = [
            called(url, id, secret) for id, secret in (("a", SECRET), ("a", SECRET), ("b", "forged"), ("c", SECRET))
        ]
        receiver.terminate()

    assert statuses == [200, 200, 401, 200]
    assert (tmp_path / "alarms.jsonl").read_bytes() == b"{}\n{}\n"


def test_cards_become_documents_and_a_bad_message_is_kept(root, tmp_path, brokers, mongo):
    address = urlsplit(mongo.address).netloc
    with MongoClient(mongo.address) as client:
        client.drop_database("bank")
        shown = played(root, "cards-mongo", tmp_path / "cards", KAFKA_BROKERS=brokers, MONGO=address)
        documents = list(client["bank"]["decisions"].find())
        flags = client["bank"]["flags"].count_documents({})
        frauds = client["bank"]["cards"].count_documents({"Fraud": 1})
        client.drop_database("bank")

    assert len(documents) == MADE_UP["cards-mongo"]
    assert {document["_id"] for document in documents} == {f"payment/cards.csv:{n + 1}" for n in range(len(documents))}
    assert counted(shown, "bank.flags") == flags > 10
    assert sum(counted(shown, f"bank.decisions {text}") for text in ("approve", "challenge", "review")) == len(
        documents
    )
    assert "paid_at: expected a time with its offset" in shown.partition("quarantine list")[2]
    assert f"  {len(documents):,} payments in all" in shown
    assert summed(tmp_path / "cards" / "summaries.db") == (
        len(documents),
        sum(Decimal(document["fields"]["amount"]) for document in documents),
        frauds,
        Counter(document["fields"]["card_type"] for document in documents),
    )
    assert frauds == sum(document["outcome"] in {"review", "decline"} for document in documents) > 0
    assert f"As fraud (review or decline): {frauds:,} in MongoDB, {frauds:,} in the summaries" in shown
    assert "0 mismatches" in shown


@pytest.mark.long
def test_ctrl_c_ends_an_example_its_servers_and_all_that_it_wrote(root, tmp_path, registry):
    environment = {**os.environ, "TMPDIR": str(tmp_path), "REGISTRY": urlsplit(registry.address).netloc}
    command = [sys.executable, root / "examples/kafka-paysim/run.py"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as example:
        while "$ shroff run" not in example.stdout.readline():
            assert example.poll() is None
        example.send_signal(signal.SIGINT)
        shown, errors = example.communicate(timeout=120)

    assert example.returncode == 130, f"{shown}\n{errors}"
    assert "stopping" in errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []
    assert not any(map(listens, map(int, re.findall(r"127\.0\.0\.1:(\d+)", errors))))
