"""Avro through a real Kafka with a real registry: PaySim as we send it, and as its pipeline does."""

from __future__ import annotations

import csv
import json
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

import shroff
from shroff.adapters.registry.http import HttpRegistry
from shroff.cli.main import run
from tests.support.avros import message, record

pytestmark = pytest.mark.slow
smoke = ("test_the_pipeline_of_paysim_is_decided_to_the_cent_and_what_is_no_message_is_kept",)
ROWS = 400
PIPELINE = record(
    *(("step", "int"), ("type", "string"), ("amount", "float"), ("nameOrig", "string"), ("oldbalanceOrg", "float")),
    *(("newbalanceOrig", "float"), ("nameDest", "string"), ("oldbalanceDest", "float"), ("newbalanceDest", "float")),
    *(("isFraud", "int"), ("isFlaggedFraud", "int"), ("transaction_id", "string")),
    name="pipeline.Transaction",
)
NUMBERS = {"int": int, "float": float, "string": str}
TYPES = ("PAYMENT", "TRANSFER", "CASH_OUT", "DEBIT", "CASH_IN")


def rows():
    """Rows of PaySim's columns, their amounts below the limit of exact cents, with an id each."""
    for number in range(ROWS):
        amount, before = f"{number * 131 % 60_000}.{number % 100:02d}", f"{number * 977 % 130_000}.50"
        yield {
            "step": str(1 + number // 90),
            "type": TYPES[number % 5],
            "amount": amount,
            "nameOrig": f"C{number % 40}",
            "oldbalanceOrg": before,
            "newbalanceOrig": before,
            "nameDest": f"M{number % 9}",
            "oldbalanceDest": "0",
            "newbalanceDest": amount,
            "isFraud": "0",
            "isFlaggedFraud": "0",
            "id": f"t-{number}",
        }


@pytest.fixture
def asked(capfd):
    def ask(*words):
        code = run([*words, "--json"])
        return code, json.loads(capfd.readouterr().out)

    return ask


@pytest.fixture
def folder(tmp_path, monkeypatch, capfd, kafka, registry):
    """A project of the paysim template that reads a topic of its own, in the current folder, with rows beside it."""
    assert run(["init", str(tmp_path / "sim"), "--template", "paysim"]) == 0
    monkeypatch.chdir(tmp_path / "sim")
    settings = Path("shroff.yaml")
    settings.write_text(
        f"{settings.read_text('utf-8')}\nahead: 3650d\nsource:\n  kafka:\n    brokers: {kafka.address}\n"
        f"    format: avro\n    topics: {{ payment: sim-{uuid4().hex} }}\n    registry: {registry.address}\n",
        "utf-8",
    )
    with Path("rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, next(iter(rows())))
        writer.writeheader()
        writer.writerows(rows())
    capfd.readouterr()
    return tmp_path / "sim"


def logged(folder) -> dict[str, bytes]:
    """The body of each payment by its id."""
    with shroff.open(folder).log.reading() as log:
        return {item.id: item.body for batch in log.read() for item in batch if item.type == "payment"}


def topic_of(folder) -> str:
    return str(shroff.open(folder).context.systems.source.options["topics"]["payment"])


def send(address, topic, values):
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": address})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(120) == 0


def test_what_is_sent_as_avro_is_decided_as_the_file_is(folder, asked, tmp_path):
    code, sent = asked("produce", "rows.csv", "--as", "payment", "--create-topics")
    assert (code, sent["sent"]) == (0, ROWS)
    code, found = asked("run", "--limit", str(ROWS), "--until-idle", "60s")

    assert (code, found["decisions"], found["quarantined"]) == (0, ROWS, 0)
    assert asked("verify")[1]["mismatches"] == 0
    assert asked("init", str(tmp_path / "other"), "--template", "paysim")[0] == 0
    asked("-C", str(tmp_path / "other"), "ingest", "rows.csv", "--as", "payment")
    assert logged(folder) == logged(tmp_path / "other")


def test_the_pipeline_of_paysim_is_decided_to_the_cent_and_what_is_no_message_is_kept(folder, asked, kafka, registry):
    topic = topic_of(folder)
    with closing(HttpRegistry(registry.address)) as schemas:
        id_ = schemas.register(f"{topic}-value", json.dumps(PIPELINE))
    fields = {field["name"]: NUMBERS[field["type"]] for field in PIPELINE["fields"]}
    values = [
        {name: make(({**row, "transaction_id": row["id"]})[name]) for name, make in fields.items()} for row in rows()
    ]
    messages = [message(id_, PIPELINE, item) for item in values]
    assert asked("produce", "rows.csv", "--as", "payment", "--create-topics")[1]["sent"] == ROWS
    send(kafka.address, topic, [*messages, b"{}", messages[0][:1] + b"\x7f\xff\xff\xff" + messages[0][5:]])
    code, found = asked("run", "--limit", str(2 * ROWS + 2), "--until-idle", "60s")

    # Both ways give the same events: the second time each of them is there already.
    assert (code, found["duplicates"], found["quarantined"]) == (4, ROWS, 2)
    entries = asked("quarantine", "list")[1]["entries"]
    assert [entry["reason"].partition(":")[0] for entry in entries] == [
        "not Confluent framing",
        "unknown schema id 2147483647",
    ]
    assert asked("verify")[1]["mismatches"] == 0


def test_what_was_refused_comes_back_by_the_registry_once_the_project_is_mended(folder, asked, kafka, registry):
    topic = topic_of(folder)
    with closing(HttpRegistry(registry.address)) as schemas:
        id_ = schemas.register(f"{topic}-value", json.dumps(PIPELINE))
    fields = {field["name"]: NUMBERS[field["type"]] for field in PIPELINE["fields"]}
    row = {**next(iter(rows())), "transaction_id": "t-x"}
    values = {name: make(row[name]) for name, make in fields.items()}
    assert asked("produce", "rows.csv", "--as", "payment", "--create-topics")[0] == 0
    send(kafka.address, topic, [message(id_, PIPELINE, {**values, "type": "REFUND"})])
    assert asked("run", "--limit", str(ROWS + 1), "--until-idle", "60s")[1]["quarantined"] == 1
    events = Path("events.yaml")
    events.write_text(events.read_text("utf-8").replace("TRANSFER, DEBIT)", "TRANSFER, DEBIT, REFUND)"), "utf-8")

    code, found = asked("quarantine", "retry")
    assert code == 0, found
    assert asked("quarantine", "list")[1]["count"] == 0
    assert "t-x" in logged(folder)
