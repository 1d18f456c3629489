"""Payments through three brokers as Avro; decisions out to two topics, a webhook and a lake. All of it by one command.

Customers are asked by mail, some answer, and refunds are ordered, and taken back, by the verdict in force.

    python examples/kafka-paysim/run.py                        # made-up payments
    python examples/kafka-paysim/run.py paysim.csv --folder /tmp/paysim

It starts what it needs, runs the commands that it shows, and ends it all. Variables KAFKA_BROKERS and REGISTRY name
servers of yours instead.
"""

from __future__ import annotations

import argparse
import base64
import csv
import json
import re
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from email import message_from_bytes, policy
from email.message import EmailMessage
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parent), str(HERE.parents[1])]  # topics.py, and tools/, which belongs to the clone

import topics  # noqa: E402 - the path is set above
from rows import HEAD, rows  # noqa: E402 - of this folder

from tools.examples import PROGRAM, FailedError, Stage, play, ready  # noqa: E402 - the path is set above
from tools.servers.ports import Port  # noqa: E402 - the path is set above

OUT = ("fraud_transaction", "non_fraud_transaction")
MADE_UP = 2_000
PATIENCE_S = 120.0  # at most, for mails and documents
PARTITIONS = {
    "paysim.payments": 3,
    "paysim.labels": 1,
    "paysim.refused": 1,
    "fraud_transaction": 3,
    "non_fraud_transaction": 3,
}


NEXT = """
What to do next:
  1. Keep the project: .venv/bin/python examples/kafka-paysim/run.py --folder DIR
  2. Look at it: shroff -C DIR serve, with the variables that shroff.yaml names. Queue has the declined payments,
     Mails the questions and their answers, Marts the table above.
  3. Use your own brokers: KAFKA_BROKERS=... REGISTRY=... make example NAME=kafka-paysim
  4. Put your topics and fields into shroff.yaml and events.yaml, your customers' addresses into notices/customer.yaml
     and a mail server under `mail:`. 'shroff check' says what is missing: docs/howto/read-from-kafka.md,
     docs/howto/tell-people.md
  5. Train a model: shroff init sim --template paysim, then docs/howto/train-a-model.md"""


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description="Kafka, Avro, a registry, a webhook and a lake by one command.")
    parser.add_argument(
        "file", nargs="?", type=Path, help="PaySim's CSV, sorted or not; without it payments are made up"
    )
    parser.add_argument(
        "--folder", type=Path, help="where the project is copied to, and stays; it must not be there yet"
    )
    asked = parser.parse_args()
    servers = {"KAFKA_BROKERS": "kafka", "REGISTRY": "registry"}
    return play(HERE, servers, asked.folder, lambda stage: steps(stage, asked.file))


def steps(stage: Stage, file: Path | None) -> None:
    """What an engineer would type, one after the other."""
    with (stage.folder / "paysim.csv").open("w", encoding="utf-8") as payments:
        if file is not None:
            with file.open(encoding="utf-8") as given:
                shutil.copyfileobj(given, payments)
        else:
            payments.writelines(f"{','.join(map(str, row))}\n" for row in (HEAD, *rows(MADE_UP)))
    stage.environment["HOOK_SECRET"] = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    topics.make(stage.environment["KAFKA_BROKERS"], PARTITIONS)
    with stage.beside(sys.executable, "receiver.py", "alarms.jsonl") as receiver:
        assert receiver.stdout is not None
        stage.environment["HOOK"] = receiver.stdout.readline().strip()
        stage.shroff("check")
        stage.shroff("schema", "register")
        stage.shroff("produce", "paysim.csv", "--as", "payment", "--labels", "paysim.csv", "--order", "time")
        stage.shroff("run", "--until-idle", "5s")
        stage.shroff("outbox", "deliver")  # what the last seconds left
        if file is None:  # in PaySim's own file thousands of accounts are emptied
            ask_customers(stage)
        stage.shroff("lake", "write")  # the worker writes it as well; this is what came since
        stage.shroff("marts", "build")
        stage.shroff("marts", "show", "frauds_by_type")
        stage.shroff("verify")
        show(stage)
        print(NEXT, flush=True)


def ask_customers(stage: Stage) -> None:
    """Wait for the mails, and answer five of them. Two of the answers order a refund, and an analyst overturns one.

    The answers are kept in answers.json.
    """
    emptied = payments_that_empty_an_account(stage.folder / "paysim.csv")
    unknown = [payment for payment, is_charged_back in emptied.items() if not is_charged_back]
    charged_back = [payment for payment, is_charged_back in emptied.items() if is_charged_back]
    found_genuine, overturned = unknown[-2], unknown[-3]
    answers = dict.fromkeys((unknown[-1], found_genuine, overturned, charged_back[0]), "no") | {charged_back[1]: "yes"}
    stage.shroff("label", f"payment/{found_genuine}", "genuine", "--source", "analyst")
    port = Port()
    with closing(port), stage.beside(*PROGRAM, "serve", "--port", str(port.number)) as service:
        ready(service, port.number)
        links = questions(stage.folder, len(emptied))
        print(f"\n{len(links):,} customers are asked by mail, in .shroff/mail. Five of them answer:", flush=True)
        for payment, said in answers.items():
            post_answer(port.number, links[payment], said)
            why = "an analyst found it genuine" if payment == found_genuine else ""
            why = "a chargeback has brought the money back" if payment in charged_back and said == "no" else why
            why = "the customer made it" if said == "yes" else why
            print(f"  {payment}: {said}. {f'No refund: {why}' if why else 'A refund is ordered'}.", flush=True)
        (stage.folder / "answers.json").write_text(json.dumps(answers), encoding="utf-8")
        wait_for_files(stage.folder / "lake" / "fraud_confirmation", 2)
        print("\nAn analyst looks again, and the second refund is taken back:", flush=True)
        stage.shroff("label", f"payment/{overturned}", "genuine", "--source", "analyst")
        wait_for_files(stage.folder / "lake" / "refund_taken_back", 1)
        wait_for_files(stage.folder / "lake" / "email_confirmation", len(emptied))
    for folder in ("fraud_confirmation", "refund_taken_back"):
        for document in sorted((stage.folder / "lake" / folder).glob("*.json")):
            print(f"\nlake/{folder}/{document.name}:\n  {document.read_text('utf-8').strip()}", flush=True)


def payments_that_empty_an_account(file: Path) -> dict[str, bool]:
    """Map the ids of these payments to whether the file says fraud, which a chargeback tells six hours later."""
    with file.open(encoding="utf-8", newline="") as payments:
        lines = list(csv.DictReader(payments))
    return {
        f"paysim.csv:{number}": line["isFraud"] in {"1", "1.0"}
        for number, line in enumerate(lines, start=1)
        if line["type"] in {"TRANSFER", "CASH_OUT"}
        if float(line["oldbalanceOrg"]) > 0 and float(line["amount"]) == float(line["oldbalanceOrg"])
    }


def questions(folder: Path, count: int) -> dict[str, str]:
    """Map payments to the paths of their links, once all mails are there. Raises: FailedError."""
    payment_by_payer = payments_by_payer(folder / "paysim.csv")
    deadline = time.monotonic() + PATIENCE_S
    files = mail_files(folder)
    while len(files) < count:
        if time.monotonic() > deadline:
            raise FailedError(f"{count} customers should be asked, and {len(files)} mails are there.")
        time.sleep(0.2)
        files = mail_files(folder)
    mails = [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]
    return {payment_by_payer[str(mail["to"]).partition("@")[0]]: link_in(mail) for mail in mails}


def mail_files(folder: Path) -> list[Path]:
    return list((folder / ".shroff" / "mail").glob("**/*.eml"))


def payments_by_payer(file: Path) -> dict[str, str]:
    """Map each payer, who pays once in this file, to the payment."""
    with file.open(encoding="utf-8", newline="") as payments:
        return {
            line["nameOrig"]: f"paysim.csv:{number}" for number, line in enumerate(csv.DictReader(payments), start=1)
        }


def link_in(mail: EmailMessage) -> str:
    """Return the path of the link in a mail."""
    body = mail.get_body(("plain",))
    assert body is not None
    match = re.search(r"/confirm/[A-Za-z0-9_-]+", body.get_content())
    assert match is not None
    return match[0]


def post_answer(port: int, path: str, said: str) -> None:
    """Answer as the button of the page does. Raises: FailedError for another status than 200."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", path, f"answer={said}", headers)
        response = connection.getresponse()
        content = response.read()
    if response.status != HTTPStatus.OK:
        raise FailedError(f"the answer was refused with {response.status}: {content.decode()}")


def wait_for_files(folder: Path, count: int) -> None:
    """Wait until a folder has this many documents. Raises: FailedError."""
    deadline = time.monotonic() + PATIENCE_S
    while len(list(folder.glob("*.json"))) < count:
        if time.monotonic() > deadline:
            raise FailedError(f"{folder} has no {count} documents after {PATIENCE_S:.0f} s.")
        time.sleep(0.2)


def show(stage: Stage) -> None:
    """What came out, counted where it came out."""
    sent = {name: list(messages(stage.environment["KAFKA_BROKERS"], name)) for name in OUT}
    alarms = (stage.folder / "alarms.jsonl").read_bytes().splitlines()
    print("\nWhat came out:")
    for name, found in sent.items():
        print(f"  topic {name:24} {len(found):7,} decisions")
    print(f"  {'webhook, signed calls':30} {len(alarms):7,} decisions")
    for folder in sorted((stage.folder / "lake").glob("[!.]*/")):
        files = [file for file in folder.rglob("*") if file.is_file()]
        kinds = ", ".join(sorted({file.suffix for file in files}))
        print(f"  {f'lake/{folder.name}/':30} {len(files):7,} files, {kinds}")
    if sent[OUT[0]]:
        first = json.loads(sent[OUT[0]][0])
        print(f"\nThe first of {OUT[0]}: {first['id']}, {first['outcome']}. {first['reasons'][0]['text']}.")


def messages(brokers: str, topic: str) -> Iterator[bytes]:
    """All messages of a topic by now, those of transactions that were committed."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

    settings = {"bootstrap.servers": brokers, "group.id": "shown", "isolation.level": "read_committed"}
    with closing(Consumer({**settings, "enable.partition.eof": True, "enable.auto.commit": False})) as consumer:
        unread = set(consumer.list_topics(topic).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in unread])
        while unread:
            message = consumer.poll(30.0)
            if message is None:
                raise FailedError(f"{topic} gave nothing for 30 seconds.")
            error = message.error()
            if error is None:
                yield message.value() or b""
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library has no other name
                unread.discard(message.partition())


if __name__ == "__main__":
    sys.exit(main())
