"""Kafka and Redis read at once by one worker: the receipts of one file, also where it is killed or one is away."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit
from zlib import crc32

import msgspec
import pytest
import redis as library
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from shroff.examples.bank import bank as made_up
from shroff.log.event_notes import sources_of
from shroff.services import project as app
from shroff.services.sources.pushed import SourceCounts
from shroff.worker.serving import source_reader
from tests.support.forks import pid_of
from tests.support.served import SHROFF
from tools.servers.proxy import Proxy

TEMPLATE = Path(str(resources.files("shroff"))) / "templates" / "payments"
NAMES = (f"several-{os.getpid()}-{number}" for number in itertools.count())
EVENTS = 2_000
pytestmark = pytest.mark.slow
smoke = ("test_a_backlog_of_both_gives_the_receipts_of_one_file_however_often_the_worker_is_killed",)


@pytest.fixture
def sent(kafka: Any, redis: Any) -> Iterator[tuple[dict[str, Any], list[bytes]]]:
    """Payments by card in two partitions and a stream; the settings of both sources, and all in order of time."""
    name = next(NAMES)
    admin, client = AdminClient({"bootstrap.servers": kafka.address}), library.Redis.from_url(redis.address)
    admin.create_topics([NewTopic(name, 2)])[name].result()
    events = {event.event["paid_at"]: event.event for event in made_up(EVENTS, 7)}  # no two at one time
    in_order = [msgspec.json.encode(events[at]) for at in sorted(events)]
    producer, pipe = Producer({"bootstrap.servers": kafka.address}), client.pipeline()
    for at, body in zip(sorted(events), in_order, strict=True):
        if is_of_kafka(body):
            producer.produce(name, value=body, partition=crc32(str(events[at]["card"]).encode()) % 3)
        else:
            pipe.xadd(name, {"event": body})
    assert producer.flush(120) == 0
    pipe.execute()
    sources = {
        "cards": {"kafka": {"brokers": kafka.address, "topics": {"payment": name}}},
        "app": {"redis": {"url": redis.address, "streams": {"payment": name}}},
    }
    yield sources, in_order
    admin.delete_topics([name])[name].result()
    client.delete(name, *client.keys(f"shroff:*{name}*"))
    client.close()


def is_of_kafka(body: bytes) -> bool:
    return crc32(msgspec.json.decode(body)["card"].encode()) % 3 < 2


def project_at(folder: Path, **systems: Any) -> app.Project:
    shutil.copytree(TEMPLATE, folder)
    with (folder / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write("\nahead: 3650d\n")
        file.writelines(f"{key}: {msgspec.json.encode(value).decode()}\n" for key, value in systems.items())
    return app.open(folder)


def receipts(project: app.Project) -> list[tuple[str, bytes]]:
    with project.log.reading() as log:
        return [(row.id, row.receipt) for rows in log.decisions.after() for row in rows]


def ingested(folder: Path, bodies: list[bytes]) -> list[tuple[str, bytes]]:
    project, file = project_at(folder), folder.with_suffix(".jsonl")
    file.write_bytes(b"\n".join([*bodies, b""]))
    project.ingest(file, as_type="payment")
    return receipts(project)


def until(is_so: Any, limit_s: float = 120.0) -> None:
    ends_s = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < ends_s, "it did not come to that"
        time.sleep(0.02)


def by_source(project: app.Project) -> Counter[str | None]:
    with project.log.reading() as log:
        return Counter(sources_of(log).of([row.seq for rows in log.decisions.after() for row in rows]))


def test_a_backlog_of_both_gives_the_receipts_of_one_file_however_often_the_worker_is_killed(sent, tmp_path):
    sources, bodies = sent
    project = project_at(tmp_path / "bank", sources=sources)
    for count in (1, len(bodies) // 3):
        worker = subprocess.Popen([SHROFF, "-C", tmp_path / "bank", "run"])
        until(lambda count=count: project.log.exists() and len(receipts(project)) >= count)
        os.kill(pid_of(worker), 9)
        worker.wait()
    work = project.live.run(until_idle_s=1.0)

    assert receipts(project) == ingested(tmp_path / "file", bodies)
    assert (work.health.overtaken, work.counts.events.duplicates) == (0, 0)
    assert by_source(project) == Counter("cards" if is_of_kafka(body) else "app" for body in bodies)


def test_while_redis_is_away_kafka_is_read_on_and_redis_is_when_it_is_back(sent, tmp_path, monkeypatch):
    monkeypatch.setattr(source_reader, "PATIENCE_S", 0.5)
    sources, bodies = sent
    server = urlsplit(sources["app"]["redis"]["url"])
    proxy = Proxy(server.port)
    proxy.refuse()
    address = sources["app"]["redis"]["url"].replace(f":{server.port}", f":{proxy.port}")
    sources["app"]["redis"] |= {"url": address, "late": "keep"}
    project, stop, told = project_at(tmp_path / "bank", sources=sources), Event(), list[str]()
    of_kafka = sum(map(is_of_kafka, bodies))
    with project.live.worker(stop=stop, tell=told.append) as worker:
        thread = Thread(target=worker.run)
        thread.start()
        try:
            until(lambda: state_of("cards", project).appended == of_kafka and state_of("app", project).failing)
            listed = project.source.named()
            doctor = {item.subject: item.state for item in project.health.doctor()}
            proxy.heal()
            until(lambda: worker.work.taken == len(bodies) and not state_of("app", project).failing)
        finally:
            stop.set()
            thread.join()
            proxy.close()

    assert [(path.name, bool(path.counts.failing), path.counts.appended) for path in listed] == [
        ("cards", False, of_kafka),
        ("app", True, 0),
    ]
    assert (doctor["source cards"], doctor["source app"]) == ("ok", "wrong")
    assert [notice.partition(":")[0] for notice in told if notice.startswith("source")] == [
        "source app fails",
        "source app is read again",
    ]
    assert len(receipts(project)) + worker.work.counts.events.late == len(bodies), "none is lost, some came too late"


def state_of(name: str, project: app.Project) -> SourceCounts:
    return next(path.counts for path in project.source.named() if path.name == name)
