"""Windows of a card's payments in Bytewax: the deques of `python_deques` in a stateful step, with recovery on.

Its state is that of one key, so merchants are left out: 20 of the 40 features. What comes out is counted and thrown
away; no rules, no model, no decision.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import cluster_main

sys.path.insert(0, str(Path(__file__).parent))
from python_deques import Window

LENGTHS_MS = (3_600_000, 86_400_000, 604_800_000, 2_592_000_000)


class Counted(StatelessSinkPartition):
    def __init__(self) -> None:
        self.count = 0

    def write_batch(self, items: list) -> None:
        self.count += len(items)


class Nowhere(DynamicSink):
    def build(self, _step: str, _worker: int, _workers: int) -> Counted:
        return Counted()


def look(windows: list[Window] | None, payment: tuple[int, int]) -> tuple[list[Window], list]:
    windows = windows or [Window(length) for length in LENGTHS_MS]
    at, amount = payment
    found = [window.ask(at) for window in windows]
    for window in windows:
        window.add(at, amount)
    return windows, found


def keyed(message: object) -> tuple[str, tuple[int, int]]:
    value = json.loads(message.value)
    at = int(datetime.fromisoformat(value["paid_at"]).timestamp() * 1_000)
    return value["card"], (at, round(float(value["amount"]) * 100))


def main(brokers: str, topic: str, state: str) -> None:
    Path(state).mkdir(parents=True, exist_ok=True)
    init_db_dir(Path(state), 1)
    flow = Dataflow("windows")
    taken = op.input("in", flow, KafkaSource(brokers.split(","), [topic], tail=False, batch_size=4_096))
    by_card = op.map("key", taken, keyed)
    found = op.stateful_map("windows", by_card, look)
    op.output("out", found, Nowhere())
    began = time.perf_counter()
    cluster_main(
        flow, [], 0, worker_count_per_proc=1, epoch_interval=timedelta(seconds=1), recovery_config=RecoveryConfig(state)
    )
    print(json.dumps({"seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main(*sys.argv[1:4])
