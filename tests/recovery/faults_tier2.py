"""The second world of `shroff run`: a Redis stream, a log in PostgreSQL, documents in MongoDB and a lake in GCS."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from shroff.streams.log import Log
from tools.servers.databases import Mongo, Postgres, Redis
from tools.servers.objects import GCS

from . import faults_outside as outside
from .faults_check import Found
from .faults_embedded import STORAGE
from .faults_input import Line
from .faults_outside import a_moment, flow_for
from .faults_process import Stable
from .faults_servers import Struck, through
from .faults_streams import StreamWorld
from .faults_strike import Fault

REDIS: Final = "FAULTS_REDIS"
MONGO: Final = "FAULTS_MONGO"


class SecondServers(Struck):
    """Redis, PostgreSQL, a server that speaks MongoDB's protocol, and one that speaks Google's storage."""

    brokers = brokers_inside = registry = registry_inside = ""

    def __init__(self) -> None:
        self.redis, self.mongo, self.objects = Redis(), Mongo(), GCS()
        super().__init__(Postgres(), (self.redis, self.mongo, self.objects))

    @property
    def lake(self) -> str:
        return through(self.objects.address, self.to["gcs"])

    @property
    def lake_inside(self) -> str:
        return self.objects.address


class DocumentsSeen:
    """The collection that a sink writes decisions into."""

    def __init__(self, address: str, name: str) -> None:
        import pymongo

        self._client: Any = pymongo.MongoClient(address)
        self._name = name

    def is_behind(self, log: Log) -> bool:
        return int(log.offsets.of(f"sink:{self._name}").get("", "0")) < log.last_seq()

    def look(self, log: Log, found: Found) -> None:
        """Each decision is a document, by its id."""
        there = Counter(document["id"] for document in self._client["shroff"][self._name].find())
        decided = {row.id for rows in log.decisions.after() for row in rows}
        found.lost += [f"{id_} was decided, and is no document" for id_ in decided - there.keys()]
        found.doubled += [f"{id_} is {count} documents" for id_, count in there.items() if count > 1]
        found.changed += [f"{id_} is a document, and was not decided" for id_ in there.keys() - decided]

    def close(self) -> None:
        self._client.close()


class SecondWorld(StreamWorld):
    """Entries of one stream; two workers, either may lead."""

    servers: SecondServers

    def __init__(self, folder: Path, seed: str, stable: Stable, servers: SecondServers) -> None:
        os.environ |= {
            REDIS: servers.redis.address.partition("://")[2],
            MONGO: servers.mongo.address.partition("://")[2],
        }
        super().__init__(folder, seed, stable, servers)
        self._last = (0, 0)  # the id of the last entry that was added
        self._read_upto = "0-0"

    def systems(self) -> str:
        GCS.create_at(self.servers.lake_inside, self.name.replace("_", "-"))
        lake = f"{{ to: gs://{self.name.replace('_', '-')}/lake, endpoint: 'http://${{FAULTS_LAKE}}' }}"
        documents = f"{{ url: 'mongodb://${{{MONGO}}}', database: shroff, collection: {self.name} }}"
        return (
            f"source:\n  redis:\n    url: redis://${{{REDIS}}}\n    streams: {{ any: {self.name} }}\n"
            f"{self._store()}lake: {lake}\nsinks: {{ {self.name}: {{ mongodb: {documents} }} }}\n"
        )

    def _seen(self) -> Any:
        return DocumentsSeen(self.servers.mongo.address, self.name)

    def env_of(self, way: int) -> dict[str, str]:
        redis, mongo = (
            through(item.address, self.servers.to[item.kind]) for item in (self.servers.redis, self.servers.mongo)
        )
        return {**super().env_of(way), REDIS: redis.partition("://")[2], MONGO: mongo.partition("://")[2]}

    # ---- the sender, who sends again until it is told where the entry stands

    def _deliver(self, given: Sequence[Line]) -> None:
        for line in given:
            until = time.monotonic() + 120
            while not self._is_added(line):
                assert time.monotonic() < until, "the stream takes no entries"
                time.sleep(0.05)

    def _is_added(self, line: Line) -> bool:
        import redis

        try:
            id_ = self._opened().xadd(self.name, {"event": line.raw})
        except redis.RedisError:
            return False
        ms, _, at = id_.decode().partition("-")
        self._last = int(ms), int(at)
        return True

    def _opened(self) -> Any:
        if self._producer is None:
            import redis

            self._producer = _Client(redis.Redis.from_url(self.servers.redis.address, socket_timeout=120))
        return self._producer

    # ---- what is settled

    def n_settled(self) -> int:
        return self._settled()[0] * 1_000_000 + self._settled()[1]

    def is_settled(self) -> bool:
        return self._settled() >= self._last

    def _settled(self) -> tuple[int, int]:
        with self.project.log.reading() as log:
            offset = log.offsets.of("redis").get(self.name, "0-0")
        ms, _, at = offset.partition("/")[0].partition("-")
        return int(ms), int(at)

    def look(self) -> Found:
        """What the stream has is what was delivered, the entries among them whose answer was lost."""
        for id_, fields in self._opened().xrange(self.name, f"({self._read_upto}"):
            self._read_upto = id_.decode()
            self.sent.deliveries.add((self.name, self._read_upto, fields[b"event"]))
        return super().look()

    def close(self) -> None:
        super().close()
        for name in (REDIS, MONGO):
            os.environ.pop(name)


class _Client:
    """A client of Redis with `poll`, by which worlds wait."""

    def __init__(self, client: Any) -> None:
        self.xadd, self.xrange = client.xadd, client.xrange

    def poll(self, seconds: float) -> None:
        time.sleep(seconds)


def stream_killed(world: SecondWorld) -> None:
    a_moment(world)
    for child in world.servers.redis.children():
        child.kill()
    time.sleep(world.chance.random())


def stream_frozen(world: SecondWorld) -> None:
    a_moment(world)
    (child,) = world.servers.redis.children()
    child.pause()
    time.sleep(0.3 + world.chance.random() * 2)
    child.resume()


def stream_away(world: SecondWorld) -> None:
    _away(world, "redis")


def documents_away(world: SecondWorld) -> None:
    _away(world, "mongo")


def _away(world: SecondWorld, kind: str) -> None:
    a_moment(world)
    proxy = world.servers.to[kind]
    how = world.chance.choice(["refused", "half-open", "held"])
    if how == "refused":
        proxy.refuse()
        proxy.cut()
    elif how == "half-open":
        proxy.swallow(*world.chance.choice(outside.HALVES))
    else:
        proxy.hold()
    flow_for(world, 0.3 + world.chance.random() * 2)


def lake_away(world: SecondWorld) -> None:
    world.flow(60)
    writing = world.write_lake()
    time.sleep(world.chance.random() * 0.4)
    proxy = world.servers.to["gcs"]
    world.chance.choice([proxy.cut, proxy.swallow, proxy.hold])()
    flow_for(world, 0.3)
    proxy.heal()
    assert writing.wait() in {0, STORAGE}, "a lake that cannot be had has a word of its own"


_SHARED: Final = (
    outside.leader_killed,
    outside.standby_killed,
    outside.both_killed,
    outside.leader_ended,
    outside.leader_frozen,
    outside.leaders_by_turns,
    outside.delivered_again,
    outside.delivered_out_of_order,
    outside.delivered_late,
    outside.store_killed,
    outside.store_frozen,
    outside.store_slow,
    outside.store_full,
    outside.store_clock,
    outside.cut,
    outside.store_away,
    outside.leader_half_open,
    outside.leader_held,
    outside.network_slow,
    outside.worker_disk_full,
    outside.worker_clock,
    outside.lake_writer_killed,
)
FAULTS: Final[Sequence[Fault]] = (
    *(
        Fault(f"tier 2: {fault.name}", fault.strike, fault.ends, fault.may_go_on)
        for fault in outside.FAULTS
        if fault.strike in _SHARED
    ),
    Fault("tier 2: stream killed", stream_killed),
    Fault("tier 2: stream frozen", stream_frozen),
    Fault("tier 2: stream away", stream_away),
    Fault("tier 2: documents away", documents_away),
    Fault("tier 2: lake away", lake_away),
)
