"""The world of `shroff run`: topics of three brokers, a log in PostgreSQL, two workers of whom one leads."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from shroff.errors import ShroffError
from shroff.streams.source import shown
from tools.servers.objects import S3

from .faults_avro import Encoder
from .faults_check import Found
from .faults_effects import DecidedTopic, look_at_lake
from .faults_input import Line
from .faults_process import Process, Stable
from .faults_servers import WAYS, Reached
from .faults_stores import leader_pid, named
from .faults_world import COMPUTED_AGAIN_EVERY, ENDING, World

PARTITIONS: Final = 3
LEASE: Final = "1s"
WITHIN_S: Final = 120.0  # two cores may be shared by ten that work
LOOKS_S: Final = 0.02, 0.5  # between two looks, at first and where it takes long: each asks the store
SINK_WITHIN_S: Final = 180.0  # a transaction may take a minute to be given up, and the wait after it another one
STORE: Final = "FAULTS_STORE"
LAKE: Final = "FAULTS_LAKE"
S3_ACCESS: Final = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
OVERTAKEN: Final = 3  # the exit status of a worker whose lead another one took


class StreamWorld(World):
    """Messages that tell their types themselves, in several partitions of one topic; two workers, either may lead."""

    def __init__(self, folder: Path, seed: str, stable: Stable, servers: Reached, broken: str = "") -> None:
        self.servers = servers
        self.name = f"faults_{sha256(seed.encode()).hexdigest()[:12]}"  # a store takes 40 letters
        os.environ |= {STORE: self.store_way(None), LAKE: servers.lake_inside.removeprefix("http://"), **S3_ACCESS}
        super().__init__(folder, seed, stable, broken)
        self.workers: list[Process | None] = [None] * WAYS
        self._told = threading.Lock()
        self._ends = dict.fromkeys(range(PARTITIONS), 0)  # behind the last message of each partition
        self._on_their_way = 0
        self._made_topic = False
        self.has_struck_lake = False
        self.within_s = WITHIN_S
        self._producer: Any = None
        self.topic = self._seen() if servers.lake else None
        self.encoder = Encoder(servers.registry_inside, self.project) if servers.registry else None

    def _seen(self) -> Any:
        """What the sink wrote into."""
        return DecidedTopic(self.servers.brokers_inside, f"{self.name}_decided", self.name)

    def fresh(self, count: int) -> list[Line]:
        found = super().fresh(count)
        return found if self.encoder is None else [self.encoder.encoded(line) for line in found]

    def systems(self) -> str:
        registry = self.servers.registry
        avro = f"    format: avro\n    registry: {registry}\n" if registry else ""
        return (
            f"source:\n  kafka:\n    brokers: {self.servers.brokers}\n"
            f"    topics: {{ any: {self.name} }}\n{avro}"
            f"{self._store()}{self._leaving()}"
        )

    def _store(self) -> str:
        scheme = urlsplit(self.servers.store).scheme
        return f"store:\n  url: {scheme}://${{{STORE}}}\n  lease: {LEASE}\nsnapshots:\n  every: 3s\n"

    def store_way(self, way: int | None) -> str:
        """The address of this world's log, by one of two ways, or with None by one that is not disturbed."""
        return named(self.servers.store_way(way), self.name)

    def _leaving(self) -> str:
        """Where decisions go on to, and the lake."""
        if not self.servers.lake:
            return ""
        topic = f"{{ brokers: '{self.servers.brokers}', topic: {self.name}_decided }}"
        bucket = S3.create_at(self.servers.lake_inside, self.name.replace("_", "-"))
        lake = f"{{ to: s3://{bucket}/lake, endpoint: 'http://${{{LAKE}}}', region: us-east-1 }}"
        return f"sinks: {{ {self.name}: {{ kafka: {topic} }} }}\nlake: {lake}\n"

    # ---- the sender: it is not disturbed itself, and sends again until the brokers have it

    def _deliver(self, given: Sequence[Line]) -> None:
        producer = self._opened()
        for line in given:
            partition = self.chance.randrange(PARTITIONS)
            with self._told:
                self._on_their_way += 1
            producer.produce(self.name, line.raw, partition=partition, on_delivery=self._delivered)
        producer.poll(0)

    def _opened(self) -> Any:
        if self._producer is None:
            from confluent_kafka import Producer
            from confluent_kafka.admin import AdminClient, NewTopic

            address = {"bootstrap.servers": self.servers.brokers_inside, "log_level": 0}
            admin = AdminClient(address)
            topics = [NewTopic(self.name, PARTITIONS, -1), NewTopic(f"{self.name}_decided", 1, -1)]
            for made in admin.create_topics(topics).values():
                made.result(120)
            again = {"acks": "all", "enable.idempotence": True, "linger.ms": 1, "message.timeout.ms": 120_000}
            self._producer = Producer({**address, **again})
        return self._producer

    def _delivered(self, error: Any, message: Any) -> None:
        assert error is None, f"the sender itself failed: {error}"
        part, offset = f"{self.name}/{message.partition()}", message.offset()
        with self._told:
            self.sent.deliveries.add((part, str(offset), message.value()))
            self._ends[message.partition()] = max(self._ends[message.partition()], offset + 1)
            self._on_their_way -= 1

    # ---- the workers

    @property
    def is_running(self) -> bool:
        return any(worker is not None and worker.is_running for worker in self.workers)

    def begin(self, count: int = WAYS) -> None:
        """Start the workers that are not running; each has its own way to the store."""
        for way, worker in enumerate(self.workers[:count]):
            if worker is None or not worker.is_running:
                self.workers[way] = self.worker = self.stable.start(
                    ["-C", str(self.place), "run", "--standby"],
                    self.surroundings,
                    stderr=self.errors,
                    broken=self.broken,
                    env=self.env_of(way),
                )

    def replace_overtaken(self) -> None:
        """Start a worker in the place of one that lost the lead in a fault before, and found that out by now."""
        gone = [worker.status for worker in self.workers if worker is not None and not worker.is_running]
        if gone and set(gone) == {OVERTAKEN}:
            self.begin()

    def env_of(self, way: int) -> Mapping[str, str]:
        """The environment of a worker."""
        lake = self.servers.lake.removeprefix("http://")
        return {STORE: self.store_way(way), LAKE: lake, **S3_ACCESS}

    def write_lake(self) -> Process:
        """Begin to bring the lake up to the log; it will be looked at."""
        self.has_struck_lake = True
        return self.stable.start(
            ["-C", str(self.place), "lake", "write"], self.surroundings, stderr=self.errors, env=self.env_of(0)
        )

    def leading(self) -> int:
        """Which worker leads, by the store."""
        until = time.monotonic() + self.within_s
        while time.monotonic() < until:
            pid = leader_pid(self.servers.store, self.name)
            for way, worker in enumerate(self.workers):
                if worker is not None and worker.pid == pid:
                    return way
            time.sleep(_until_next_look_s(until - time.monotonic(), self.within_s))
        raise AssertionError(f"nobody led for {self.within_s} s:\n{self.last_words()}")

    def ended(self) -> int | None:
        """How workers ended since they were started, the first that did.

        One that lost the lead may find that out late, and ends then, whatever strikes meanwhile.
        """
        gone = [worker.status for worker in self.workers if worker is not None and not worker.is_running]
        return next((status for status in gone if status != OVERTAKEN), None)

    def signal_to(self, way: int, number: int) -> None:
        """Send one of the workers a signal. One that ends it has ended it when this returns."""
        worker = self.workers[way]
        assert worker is not None
        worker.signal(number)
        if number in ENDING:
            worker.wait()

    def until(self, is_met: Callable[[], bool], what: str) -> None:
        """Wait until something holds, however bad all is."""
        self._watch(is_met, what, self.within_s)

    # ---- what is settled

    def n_settled(self) -> int:
        """How many messages are behind the offsets that the store has."""
        with self.project.log.reading() as log:
            found = log.offsets.of("kafka")
        return sum(int(shown(offset)) for offset in found.values())

    def is_settled(self) -> bool:
        self._opened().poll(0)
        with self._told:
            wanted = sum(self._ends.values())
            if self._on_their_way:
                return False
        return self.n_settled() >= wanted

    def begin_settled(self) -> None:
        self.send(self.fresh(20))
        self.begin(1)
        self.settle_first()
        self.begin()

    def settle_first(self) -> None:
        """Wait until there is a log at all, and all that was sent is in it."""

        def is_settled() -> bool:
            try:
                return self.is_settled()
            except ShroffError:  # no log yet
                return False

        self._wait(is_settled, "the first messages in the store")

    def recover(self) -> float:
        began = time.monotonic()
        self.surroundings.heal()
        self.servers.heal()
        self.servers.launch()
        self.begin()
        before = self._settled_soon()
        self.send(self.fresh(6))
        self._wait(lambda: self._settled_soon() > before, "something new in the store")
        seconds = time.monotonic() - began
        self.servers.start()  # three brokers are there so that two go on; now all of them are waited for
        return seconds

    def _settled_soon(self) -> int:
        """How much is settled, as soon as the store says."""
        while True:
            try:
                return self.n_settled()
            except ShroffError:
                time.sleep(0.05)

    def _wait(
        self, is_met: Callable[[], bool], what: str = "all messages in the store", within_s: float | None = None
    ) -> None:
        """As in other worlds; but a look asks the store."""

        def is_met_or_gone() -> bool:
            if is_met():
                return True
            assert self.is_running, f"all workers ended though all was well:\n{self.last_words()}"
            return False

        self._watch(is_met_or_gone, what, self.within_s if within_s is None else within_s)

    def _watch(self, is_met: Callable[[], bool], what: str, within_s: float) -> None:
        until = time.monotonic() + within_s
        while not is_met():
            left_s = until - time.monotonic()
            assert left_s > 0, f"waited {within_s:.0f} s for {what}:\n{self.last_words()}"
            self._opened().poll(_until_next_look_s(left_s, within_s))

    def look(self) -> Found:
        if self.topic is None:
            return super().look()
        looks_at_lake = self.n_looks % COMPUTED_AGAIN_EVERY == 0 or self.has_struck_lake
        if looks_at_lake:
            writing = self.write_lake()
            assert writing.wait() == 0, f"the lake was not written though all was well:\n{self.last_words()}"
        with self.project.log.reading() as log:
            self._wait(lambda: not self.topic.is_behind(log), "all decisions in the sink", SINK_WITHIN_S)
        found = super().look()
        with self.project.log.reading() as log:
            self.topic.look(log, found)
            if looks_at_lake:
                look_at_lake(self.project, log.last_seq(), found)
        self.has_struck_lake = False
        return found

    def close(self) -> None:
        if self.topic is not None:
            self.topic.close()
        for worker in self.workers:
            if worker is not None:
                worker.signal(signal.SIGCONT)
                worker.kill()
        for name in (STORE, LAKE, *S3_ACCESS):
            os.environ.pop(name)
        super().close()


def _until_next_look_s(left_s: float, within_s: float) -> float:
    first_s, last_s = LOOKS_S
    return min(max(first_s, (within_s - left_s) / 50), last_s)
