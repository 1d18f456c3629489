"""Three brokers and a database that can be broken: each on a disk and with a clock of its own, behind proxies."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self
from unittest.mock import patch
from urllib.parse import urlsplit

from tools.servers.databases import Postgres
from tools.servers.errors import ServerError
from tools.servers.kafka import Kafka
from tools.servers.proxy import Proxy
from tools.servers.registry import Registry
from tools.servers.surroundings import Surroundings

TRIES: Final = 3
WAYS: Final = 2  # to the store: one for each of two workers, so that one can be cut off


class Reached(Protocol):
    """Where workers and whoever looks at them from outside find brokers and a store."""

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
    def store(self) -> str:
        """For whoever looks."""

    def store_url(self, way: int | None, schema: str) -> str:
        """The store's address behind `postgresql://`, by one of two ways or, with None, by none that is disturbed."""

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

    @property
    def brokers_inside(self) -> str:
        return self.brokers

    def store_url(self, way: int | None, schema: str) -> str:
        return f"{self.store.removeprefix('postgresql://')}?schema={schema}"

    def heal(self) -> None:
        pass

    def launch(self) -> None:
        pass

    def start(self) -> None:
        pass


class Servers:
    """Servers of our own, which faults strike. `heal` and `start` bring back whatever one took away."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self.kafka = Kafka(has_outside=True)
        self.postgres = Postgres()
        self.schemas = Registry()
        self.of_brokers = [self._around(self.kafka.data(number)) for number in range(1, self.kafka.n_brokers + 1)]
        self.of_store = self._around(self.postgres.folder)
        self.kafka.envs = [one.env for one in self.of_brokers]
        for server in (self.kafka, self.postgres, self.schemas):
            self._open.callback(server.close)
        self.to_brokers = [self._open.enter_context(Proxy(target, proxy)) for proxy, target in self.kafka.outside]
        self.to_store: list[Proxy] = []
        self.to_registry: Proxy | None = None

    def _around(self, folder: Path) -> Surroundings:
        return self._open.enter_context(Surroundings(folder))

    def launch(self) -> None:
        """Start what is not running, and wait for nothing. To be called by the thread that stays: its end is theirs."""
        with patch.dict(os.environ, self.of_store.env):
            for child in (*self.kafka.children(), *self.postgres.children()):
                if not child.is_running:
                    child.start(lambda: True)

    def start(self) -> None:
        """Start what is not running, and wait until all is."""
        for _ in range(TRIES):
            with suppress(ServerError):  # one was about to end of what struck it
                self.kafka.start()
                break
        else:
            self.kafka.start()
        with patch.dict(os.environ, self.of_store.env):
            if not all(child.is_running for child in self.postgres.children()) or not self.to_store:
                self.postgres.start()
        if self.to_registry is None:
            self.schemas.start()
            self.to_registry = self._open.enter_context(Proxy(_port(self.schemas.address)))
        if not self.to_store:
            port = _port(self.postgres.address)
            self.to_store = [self._open.enter_context(Proxy(port)) for _ in range(WAYS)]

    def heal(self) -> None:
        """All is well again."""
        for one in (*self.of_brokers, self.of_store, *self.proxies):
            one.heal()
        for child in (*self.kafka.children(), *self.postgres.children()):
            if child.is_running:
                child.resume()

    @property
    def brokers(self) -> str:
        return self.kafka.outside_address

    @property
    def brokers_inside(self) -> str:
        return self.kafka.address

    @property
    def store(self) -> str:
        return self.postgres.address

    @property
    def registry(self) -> str:
        assert self.to_registry is not None
        return self.schemas.address.replace(f":{_port(self.schemas.address)}/", f":{self.to_registry.port}/")

    @property
    def registry_inside(self) -> str:
        return self.schemas.address

    @property
    def proxies(self) -> Sequence[Proxy]:
        assert self.to_registry is not None
        return *self.to_brokers, *self.to_store, self.to_registry

    def store_url(self, way: int | None, schema: str) -> str:
        url = self.postgres.address.removeprefix("postgresql://")
        if way is not None:
            url = url.replace(f":{_port(self.postgres.address)}/", f":{self.to_store[way % WAYS].port}/")
        return f"{url}?schema={schema}"

    def leader(self, topic: str, partition: int) -> int:
        """Which broker leads a partition, counted from 0."""
        from confluent_kafka.admin import AdminClient

        found = AdminClient({"bootstrap.servers": self.kafka.address, "log_level": 0}).list_topics(topic, timeout=20)
        return int(found.topics[topic].partitions[partition].leader) - 1

    def logs(self) -> Sequence[Path]:
        return *self.kafka.logs(), *self.postgres.logs()

    def close(self) -> None:
        self._open.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _port(address: str) -> int:
    port = urlsplit(address).port
    assert port is not None
    return port
