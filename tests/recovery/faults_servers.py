"""Servers that can be broken: each on a disk and with a clock of its own, behind proxies."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from unittest.mock import patch
from urllib.parse import urlsplit

from tools.servers.databases import Postgres
from tools.servers.errors import ServerError
from tools.servers.kafka import Kafka
from tools.servers.objects import S3
from tools.servers.process import OneProcess, Server, Started
from tools.servers.proxy import Proxy
from tools.servers.registry import Registry
from tools.servers.surroundings import Surroundings

TRIES: Final = 3
WAYS: Final = 2  # to the store: one for each of two workers, so that one can be cut off


class Reached(Protocol):
    """Where workers, and whoever looks at them from outside, find what they stand on."""

    @property
    def store(self) -> str:
        """The address of the store, for whoever looks."""

    def store_way(self, way: int | None) -> str:
        """The same by one of two ways, with None by one that is not disturbed; without the scheme and `//`."""

    @property
    def brokers(self) -> str:
        """For workers."""

    @property
    def brokers_inside(self) -> str:
        """For the sender, whom no fault strikes."""

    @property
    def registry(self) -> str:
        """For workers; empty where messages are JSON."""

    @property
    def registry_inside(self) -> str:
        """For the sender."""

    @property
    def lake(self) -> str:
        """An endpoint of S3 for whoever writes a lake; empty where there is none, and nothing that leaves at all."""

    @property
    def lake_inside(self) -> str:
        """For whoever looks."""

    def heal(self) -> None:
        """All is well again, but for what has to be started."""

    def launch(self) -> None:
        """Start what is not running, and wait for nothing."""

    def start(self) -> None:
        """Start what is not running, and wait until all is."""


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """Servers that others use as well: faults strike workers only."""

    brokers: str
    store: str
    registry: str = ""
    registry_inside: str = ""
    lake: str = ""
    lake_inside: str = ""

    @property
    def brokers_inside(self) -> str:
        return self.brokers

    def store_way(self, way: int | None) -> str:
        return self.store.partition("://")[2]

    def heal(self) -> None:
        pass

    def launch(self) -> None:
        pass

    def start(self) -> None:
        pass


class Struck(Started):
    """Servers of our own, which faults strike. `heal` and `start` bring back whatever one took away.

    Args:
        database: The store; its disk and clock are its own.
        others: Servers of one process that are struck as well, each behind a proxy of the name of its kind.
    """

    def __init__(self, database: OneProcess, others: Sequence[OneProcess]) -> None:
        self._open = ExitStack()
        self.database, self.others = database, others
        self.of_store = self.around(database.folder)
        for server in (database, *others):
            self._open.callback(server.close)
        self.to_store: list[Proxy] = []
        self.to: dict[str, Proxy] = {}

    def around(self, folder: Path) -> Surroundings:
        """Surroundings that end with these servers."""
        return self._open.enter_context(Surroundings(folder))

    def servers(self) -> Sequence[Server]:
        return self.database, *self.others

    def launch(self) -> None:
        """Start what is not running, and wait for nothing. To be called by the thread that stays: its end is theirs."""
        for server in self.servers():
            with patch.dict(os.environ, self.of_store.env if server is self.database else {}):
                for child in server.children():
                    if not child.is_running:
                        child.start(lambda: True)

    def start(self) -> None:
        """Start what is not running, and wait until all is."""
        for server in (self.database, *self.others):
            with patch.dict(os.environ, self.of_store.env if server is self.database else {}):
                if not server.children() or not all(child.is_running for child in server.children()):
                    server.start()
        if not self.to_store:
            self.to_store = [self._before(self.database) for _ in range(WAYS)]
            self.to = {server.kind: self._before(server) for server in self.others}

    def _before(self, server: OneProcess) -> Proxy:
        return self._open.enter_context(Proxy(port_of(server.address)))

    def heal(self) -> None:
        """All is well again, but for what has to be started."""
        for proxy in (self.of_store, *self.proxies):
            proxy.heal()
        for server in self.servers():
            for child in server.children():
                if child.is_running:
                    child.resume()

    @property
    def proxies(self) -> Sequence[Proxy]:
        return *self.to_store, *self.to.values()

    @property
    def store(self) -> str:
        return self.database.address

    def store_way(self, way: int | None) -> str:
        url = self.store if way is None else through(self.store, self.to_store[way % WAYS])
        return url.partition("://")[2]

    def logs(self) -> Sequence[Path]:
        return [log for server in self.servers() for log in server.logs()]

    def close(self) -> None:
        self._open.close()


class Servers(Struck):
    """Three brokers, a schema registry, PostgreSQL and S3."""

    def __init__(self) -> None:
        self.schemas, self.objects = Registry(), S3()
        super().__init__(Postgres(), (self.schemas, self.objects))
        self.kafka = Kafka(has_outside=True)
        self._open.callback(self.kafka.close)
        self.of_brokers = [self.around(self.kafka.data(number)) for number in range(1, self.kafka.n_brokers + 1)]
        self.kafka.envs = [broker.env for broker in self.of_brokers]
        self.to_brokers = [self._open.enter_context(Proxy(target, proxy)) for proxy, target in self.kafka.outside]

    def servers(self) -> Sequence[Server]:
        return self.kafka, *super().servers()

    def start(self) -> None:
        for _ in range(TRIES):
            with suppress(ServerError):  # one was about to end of what struck it
                self.kafka.start()
                break
        else:
            self.kafka.start()
        super().start()

    def heal(self) -> None:
        for broker in self.of_brokers:
            broker.heal()
        super().heal()

    @property
    def proxies(self) -> Sequence[Proxy]:
        return *self.to_brokers, *super().proxies

    @property
    def brokers(self) -> str:
        return self.kafka.outside_address

    @property
    def brokers_inside(self) -> str:
        return self.kafka.address

    @property
    def registry(self) -> str:
        return through(self.schemas.address, self.to["registry"])

    @property
    def registry_inside(self) -> str:
        return self.schemas.address

    @property
    def lake(self) -> str:
        return through(self.objects.address, self.to["s3"])

    @property
    def lake_inside(self) -> str:
        return self.objects.address

    def leader(self, topic: str, partition: int) -> int:
        """Which broker leads a partition, counted from 0."""
        from confluent_kafka.admin import AdminClient

        found = AdminClient({"bootstrap.servers": self.kafka.address, "log_level": 0}).list_topics(topic, timeout=120)
        return int(found.topics[topic].partitions[partition].leader) - 1


def through(address: str, proxy: Proxy) -> str:
    """The same address with the proxy's port."""
    return address.replace(f":{port_of(address)}", f":{proxy.port}")


def port_of(address: str) -> int:
    port = urlsplit(address).port
    assert port is not None
    return port
