"""What it costs to write features for other services: of the process that decides, and of Redis.

Forty features of two entities over made-up payments (bench/projects/forty_features). All decisions of a log go to Redis
as a worker sends them, in parts of the size that is there when it looks: few where it keeps up, thousands where it is
behind. The same is measured with a store that takes rows and does nothing. Medians of several runs, alternating.

    python -m bench.online_features [--events 100000] [--runs 5]
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import redis

from bench.ingest import PROJECTS, write_lines
from bench.machine import describe, write_result
from shroff.services import project as app
from shroff.streams.delivering_rows import decisions, with_fields
from shroff.streams.sink import Outgoing
from shroff.worker.online_features import EntityRow, OnlineSink, OnlineStore, origin_of, read_features
from shroff_plugins.connectors.redis_features import RedisFeatures
from tools.servers.databases import Redis

PARTS = (1, 64, 512, 4_096)
READS = 2_000


class Counting:
    """A store that only counts."""

    def __init__(self) -> None:
        self.count = 0

    def write(self, rows: Sequence[EntityRow]) -> None:
        self.count += len(rows)

    def read(self, entity: str, keys: Sequence[str]) -> list[EntityRow | None]:
        return [None for _ in keys]

    def mark(self) -> str:
        return ""

    def set_mark(self, mark: str, before: str) -> bool:
        return True

    def close(self) -> None:
        pass


def cost(sink: OnlineSink, rows: Sequence[Outgoing], size: int) -> tuple[float, float]:
    """Microseconds an event: of the wall, and of this process."""
    wall, own = time.perf_counter(), time.process_time()
    for at in range(0, len(rows), size):
        sink.send(rows[at : at + size])
    return ((time.perf_counter() - wall) / len(rows) * 1e6, (time.process_time() - own) / len(rows) * 1e6)


def used_s(client: redis.Redis) -> float:
    told = client.info("cpu")
    return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, Redis() as server, redis.Redis.from_url(server.address) as client:
        folder = Path(scratch) / "bank"
        shutil.copytree(PROJECTS / "forty_features", folder)
        project = app.open(folder)
        project.ingest(write_lines(Path(scratch) / "bank.jsonl", given.events), as_type="payment")
        with closing(project.log.open(read_only=True)) as log:
            rows = with_fields(log, decisions(log, 0, log.last_seq()))
            kept = RedisFeatures(server.address, prefix="bank", log=origin_of(log))
            lines = []
            for size in PARTS:
                some = rows[: 20_000 if size < 512 else None]
                taken: dict[str, list[tuple[float, float]]] = {"nowhere": [], "Redis": []}
                server_us: list[float] = []
                counted = Counting()
                for _ in range(given.runs):
                    client.flushdb()
                    counted.count = 0
                    stores: dict[str, OnlineStore] = {"nowhere": counted, "Redis": kept}
                    before = used_s(client)
                    for name, store in stores.items():
                        taken[name].append(cost(OnlineSink(store, log), some, size))
                    server_us.append((used_s(client) - before) / len(some) * 1e6)
                _, own_nowhere = map(statistics.median, zip(*taken["nowhere"], strict=True))
                wall, own = map(statistics.median, zip(*taken["Redis"], strict=True))
                written = counted.count / len(some)
                lines.append(
                    f"| {size:,} | {written:.2f} | {own_nowhere:.1f} | {own:.1f} | {statistics.median(server_us):.1f} "
                    f"| {wall:.1f} | {1e6 / wall:,.0f} |\n"
                )
            keys = [key.decode().split(":", 2)[2] for key in client.keys("bank:card:*")][:READS]
            began = time.perf_counter()
            for key in keys:
                read_features(kept, project.definitions, "card", [key])
            read_us = (time.perf_counter() - began) / len(keys) * 1e6
            kept.close()
    text = f"""# Features for other services

`python -m bench.online_features --events {given.events} --runs {given.runs}`, medians. {describe()}, Redis with every
write on disk before it is answered.

Microseconds an event, of 40 features in two entities. Of the processor: this process without Redis, this process, and
Redis.

| events a part | rows an event | making rows | with Redis | Redis itself | wall | events a second |
| --- | --- | --- | --- | --- | --- | --- |
{"".join(lines)}
One key read and typed, of 20 features: {read_us:.0f} µs.
"""
    write_result("online_features", text)
    print(text)


if __name__ == "__main__":
    main()
