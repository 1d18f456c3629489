"""Card payments through Kafka, decided, into MongoDB. All of it by one command.

    python examples/cards-mongo/run.py                        # made-up payments
    python examples/cards-mongo/run.py CreditCardData.csv --folder /tmp/cards

It starts what it needs, runs the commands that it shows, and ends it all. Variables KAFKA_BROKERS and MONGO name
servers of yours instead.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parent), str(HERE.parents[1])]  # topics.py, and tools/, which belongs to the clone

import topics  # noqa: E402 - the path is set above
from rows import HEAD, rows  # noqa: E402 - of this folder

from tools.examples import FailedError, Stage, play  # noqa: E402 - the path is set above

MADE_UP = 1_000
PARTITIONS = {"cards.payments": 3, "cards.refused": 1}
BROKEN = b'{"payment_id": "broken", "amount": "nineteen pounds"}'  # there is always one
DONE, DONE_WITH_QUARANTINE = 0, 4


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description="Kafka, decisions and MongoDB by one command.")
    parser.add_argument("file", nargs="?", type=Path, help="a CSV of 16 columns; without it payments are made up")
    parser.add_argument(
        "--folder", type=Path, help="where the project is copied to, and stays; it must not be there yet"
    )
    asked = parser.parse_args()
    return play(
        HERE, {"KAFKA_BROKERS": "kafka", "MONGO": "mongo"}, asked.folder, lambda stage: steps(stage, asked.file)
    )


def steps(stage: Stage, file: Path | None) -> None:
    """What an engineer would type, one after the other."""
    payments = stage.folder / "cards.csv"
    if file is not None:
        shutil.copyfile(file, payments)
    else:
        with payments.open("w", encoding="utf-8", newline="") as made:
            csv.writer(made).writerows((HEAD, *rows(MADE_UP)))
    brokers = stage.environment["KAFKA_BROKERS"]
    topics.make(brokers, PARTITIONS)
    stage.shroff("check")
    produce = ("produce", "cards.csv", "--as", "payment", "--order", "time")
    stage.shroff(*produce, statuses=(DONE, DONE_WITH_QUARANTINE))  # the real file has a line without an amount
    send(brokers, BROKEN)
    stage.shroff("run", "--until-idle", "5s", statuses=(DONE_WITH_QUARANTINE,))
    stage.shroff("quarantine", "list")
    stage.shroff("outbox", "deliver")  # what the last seconds left
    stage.shroff("outbox", "list")
    stage.shroff("verify")
    stage.shroff("summaries", "build", "--to", "2100-01-01")  # in production: shroff summaries run
    frauds = show(stage.environment["MONGO"])
    counted = show_summaries(stage.folder / "summaries.db")
    if frauds != counted:
        raise FailedError(f"MongoDB has {frauds:,} payments as fraud, and the summaries have {counted:,}.")
    print(f"\nAs fraud (review or decline): {frauds:,} in MongoDB, {counted:,} in the summaries")
    print(NEXT)


def send(brokers: str, message: bytes) -> None:
    """One message that is no payment, from a system that somebody changed without a word."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": brokers, "acks": "all"})
    producer.produce("cards.payments", message)
    producer.flush(30)


NEXT = """
Next: keep the project with --folder DIR, then
  shroff -C DIR explain cards.csv:142          # why a payment was decided as it was
  shroff init model --template cards           # a model from the file's own labels, with CreditCardData.csv:
  shroff -C model train CreditCardData.csv --labels CreditCardData.csv --order time --promote --by ann
  shroff -C DIR serve                          # the screens: decisions, rules, deliveries
"""


def show(mongo: str) -> int:
    """What is in the collections, asked as any client of MongoDB asks; gives how many payments are fraud there."""
    from pymongo import MongoClient

    with MongoClient(f"mongodb://{mongo}/") as client:
        bank = client["bank"]
        print("\nWhat is in MongoDB:")
        for outcome in ("approve", "challenge", "review", "decline"):
            print(f"  bank.decisions {outcome:10} {bank['decisions'].count_documents({'outcome': outcome}):7,}")
        print(f"  bank.flags {'':14} {bank['flags'].count_documents({}):7,}")
        frauds: int = bank["cards"].count_documents({"Fraud": 1})
        found = bank["decisions"].find_one({"outcome": "challenge"}, sort=[("seq", 1)])
    if found is not None:
        fields, route = found["fields"], found["features"]["route"]
        where = f"of a holder in {fields['residence']}, paid in {fields['country']}"
        print(f"\nThe first challenge, {found['_id']}: £{fields['amount']} {where}: {', '.join(found['rules'])}")
        print(f"  payments on that route in the 7 days before: {route['payments_7d']}")
    return frauds


def show_summaries(file: Path) -> int:
    """The windows that have payments, asked as a dashboard asks; gives how many payments are fraud there."""
    wanted = "window_start, transaction_count, amount_sum, average_amount, fraud_count, card_type"
    with closing(sqlite3.connect(file)) as database:
        rows = database.execute(
            f"SELECT {wanted} FROM transaction_summaries_text WHERE transaction_count > 0"  # noqa: S608 - it is ours
        ).fetchall()
    print("\nWhat is in summaries.db, by five minutes in which payments came:")
    for start, count, amount, average, frauds, cards in rows:
        print(f"  {start[:16]}  {count:6,} payments  {amount:>12}  {average} each  {frauds:,} as fraud  {cards}")
    print(f"  {sum(row[1] for row in rows):,} payments in all")
    return sum(row[4] for row in rows)


if __name__ == "__main__":
    sys.exit(main())
