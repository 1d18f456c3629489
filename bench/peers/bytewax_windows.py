"""Windows of cards and merchants in Bytewax: the deques of `python_deques` in two stateful steps, with recovery on.

All 40 features, each payment's sent to a topic as JSON. It is at least once there, as its sink has no transactions; no
rules, no model, no decision, no store.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import cluster_main

sys.path.insert(0, str(Path(__file__).parent))
from python_deques import Window

LENGTHS_MS = (3_600_000, 86_400_000, 604_800_000, 2_592_000_000)


def look(windows: list[Window] | None, payment: tuple[Any, ...]) -> tuple[list[Window], tuple[Any, ...]]:
    windows = windows or [Window(length) for length in LENGTHS_MS]
    at, amount, merchant, found = payment
    found = [*found, *(window.ask(at) for window in windows)]
    for window in windows:
        window.add(at, amount)
    return windows, (at, amount, merchant, found)


def by_card(message: Any) -> tuple[str, tuple[Any, ...]]:
    value = json.loads(message.value)
    at = int(datetime.fromisoformat(value["paid_at"]).timestamp() * 1_000)
    return value["card"], (at, round(float(value["amount"]) * 100), value["merchant"], [])


def by_merchant(item: tuple[str, tuple[Any, ...]]) -> tuple[str, tuple[Any, ...]]:
    return item[1][2], item[1]


def written(item: tuple[str, tuple[Any, ...]]) -> KafkaSinkMessage:
    return KafkaSinkMessage(item[0].encode(), json.dumps(item[1][3]).encode())


def main(brokers: str, topic: str, state: str) -> None:
    Path(state).mkdir(parents=True, exist_ok=True)
    init_db_dir(Path(state), 1)
    flow = Dataflow("windows")
    taken = op.input("in", flow, KafkaSource(brokers.split(","), [topic], tail=False, batch_size=4_096))
    of_cards = op.stateful_map("cards", op.map("by card", taken, by_card), look)
    of_both = op.stateful_map("merchants", op.map("by merchant", of_cards, by_merchant), look)
    op.output("out", op.map("written", of_both, written), KafkaSink(brokers.split(","), f"{topic}-bytewax-out"))
    began = time.perf_counter()
    cluster_main(
        flow, [], 0, worker_count_per_proc=1, epoch_interval=timedelta(seconds=1), recovery_config=RecoveryConfig(state)
    )
    print(json.dumps({"seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main(*sys.argv[1:4])
