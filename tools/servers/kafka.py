"""Apache Kafka with three brokers that keep their own quorum (KRaft), of the jars of Maven Central."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tools.servers.errors import ServerError, UnavailableError
from tools.servers.fetching import from_maven, program
from tools.servers.process import Child, Server, wait_until
from tools.servers.web import listens

KAFKA: Final = "4.1.1"
LOG4J: Final = "2.24.3"
JARS: Final = (
    f"org.apache.kafka:kafka_2.13:{KAFKA}",
    f"org.apache.kafka:kafka-tools:{KAFKA}",
    f"org.apache.logging.log4j:log4j-slf4j-impl:{LOG4J}",
    f"org.apache.logging.log4j:log4j-core:{LOG4J}",
)
# Small and quick to start: a broker of tests lives for minutes.
JVM: Final = (
    *("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"),
    *("-XX:+UnlockDiagnosticVMOptions", "-XX:-BytecodeVerificationRemote"),  # of released jars: a sixth of a start
)


def java() -> str:
    """The Java that runs servers. Raises: UnavailableError."""
    found = program("java", [])
    if found is None:
        raise UnavailableError("java is not on the path: it needs Java 17 (Debian: openjdk-17-jre-headless).")
    return str(found)


META: Final = "meta.properties"  # in a broker's data: whose they are

# Settings of a client that asks whether brokers are there.
LOOKING: Final[dict[str, str | int | float | bool]] = {"log_level": 0, "reconnect.backoff.max.ms": 500}


class Kafka(Server):
    """A cluster. `brokers` are its processes, in the order of their ids from 1 on.

    Clients that come in by `address` are sent on to the brokers themselves. With `has_outside` there is a second way
    in for those that shall meet a network that breaks: `outside` has for each broker the port where a proxy must
    listen, and the one that it leads to. Brokers name the proxies to whoever came through one.
    What is in `envs` when they are first started is in the environment of each.
    """

    kind = "kafka"

    def __init__(self, n_brokers: int = 3, *, has_outside: bool = False) -> None:
        super().__init__()
        self.n_brokers = n_brokers
        self.outside = [(self.port(), self.port()) for _ in range(n_brokers if has_outside else 0)]
        self.brokers: list[Child] = []
        self.envs: Sequence[Mapping[str, str]] = [{}] * n_brokers
        self._listeners = [self.port() for _ in range(n_brokers)]
        self._controllers = [self.port() for _ in range(n_brokers)]

    @property
    def address(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self._listeners)

    @property
    def outside_address(self) -> str:
        """Where clients come in through proxies."""
        return ",".join(f"127.0.0.1:{proxy}" for proxy, _ in self.outside)

    @property
    def details(self) -> Mapping[str, str]:
        return {"bootstrap.servers": self.address}

    def children(self) -> Sequence[Child]:
        return self.brokers

    def data(self, id_: int) -> Path:
        """Where a broker keeps what it has."""
        return self.folder / f"data-{id_}"

    def start(self) -> None:
        if not self.brokers:
            self._prepare()
        for broker in self.brokers:
            if not broker.is_running:
                broker.start(lambda: True)
        # A cluster still counts a broker for a while that is gone.
        ports = [*self._listeners, *(target for _, target in self.outside)]
        wait_until(lambda: all(map(listens, ports)) and self.n_alive() == self.n_brokers, self._why_not)

    def _why_not(self) -> str:
        ended = [broker for broker in self.brokers if not broker.is_running]
        return f"{ended[0].name} ended by itself:\n{ended[0].last_lines()}" if ended else ""

    def n_alive(self) -> int:
        """How many brokers the cluster sees."""
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        admin = AdminClient({**LOOKING, "bootstrap.servers": self.address})
        try:
            return len(admin.list_topics(timeout=10).brokers)  # one look of many
        except KafkaException:
            return 0

    def _prepare(self) -> None:
        jars = from_maven(f"kafka-{KAFKA}", JARS)
        start = [java(), *JVM, f"-Dlog4j2.configurationFile={self._log_settings()}", "-cp", f"{jars}/*"]
        cluster = f"k{secrets.token_urlsafe(16)[1:]}"  # as an option's value it must not begin with a hyphen
        for id_ in range(1, self.n_brokers + 1):
            settings = self.folder / f"broker-{id_}.properties"
            settings.write_text(self._settings(id_), encoding="utf-8")
            if id_ == 1:
                self._tool([*start, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(settings)])
            else:
                self._format_as_first(id_)
            command = [*start, "kafka.Kafka", str(settings)]
            log, env = self.folder / f"broker-{id_}.log", self.envs[id_ - 1]
            self.brokers.append(Child(f"Kafka broker {id_}", command, log, env=env))

    def _log_settings(self) -> Path:
        """Warnings only: an idle broker writes hundreds of lines of its settings."""
        path = self.folder / "log4j2.properties"
        path.write_text(
            "rootLogger.level=warn\nrootLogger.appenderRef.out.ref=out\n"
            "appender.out.type=Console\nappender.out.name=out\n"
            "appender.out.layout.type=PatternLayout\nappender.out.layout.pattern=%d %p %c: %m%n\n",
            encoding="utf-8",
        )
        return path

    def _format_as_first(self, id_: int) -> None:
        """What the tool would write, of the first broker's but for the ids: two seconds of a processor for each."""
        first, own = self.data(1), self.data(id_)
        shutil.copytree(first, own)
        ids = {"node.id": str(id_), "directory.id": secrets.token_urlsafe(16)}
        lines = (first / META).read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.partition("=")[0] not in ids]
        (own / META).write_text("\n".join([*kept, *map("=".join, ids.items())]) + "\n", encoding="utf-8")

    def _tool(self, command: Sequence[str]) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.folder)
        if done.returncode:
            raise ServerError(f"Kafka's storage tool failed: {done.stderr.strip()[-500:]}")
        return done.stdout

    def _settings(self, id_: int) -> str:
        copies = min(3, self.n_brokers)
        listener, controller = self._listeners[id_ - 1], self._controllers[id_ - 1]
        quorum = ",".join(f"{n}@127.0.0.1:{port}" for n, port in enumerate(self._controllers, 1))
        listeners, advertised = [f"PLAINTEXT://127.0.0.1:{listener}"], [f"PLAINTEXT://127.0.0.1:{listener}"]
        for proxy, target in self.outside[id_ - 1 : id_]:
            listeners.append(f"OUTSIDE://127.0.0.1:{target}")
            advertised.append(f"OUTSIDE://127.0.0.1:{proxy}")
        found = {
            "process.roles": "broker,controller",
            "node.id": id_,
            "controller.quorum.voters": quorum,
            "listeners": ",".join([*listeners, f"CONTROLLER://127.0.0.1:{controller}"]),
            "advertised.listeners": ",".join(advertised),
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,OUTSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self.data(id_),
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.num.partitions": 4,
            "transaction.state.log.min.isr": min(2, copies),
            "default.replication.factor": copies,
            "min.insync.replicas": min(2, copies),
            "group.initial.rebalance.delay.ms": 0,
            "auto.create.topics.enable": "false",
            "metadata.max.idle.interval.ms": 0,  # else an idle controller writes twice a second
            "num.network.threads": 2,
            "num.io.threads": 4,
            "background.threads": 2,
        }
        if self.outside:  # whoever breaks brokers wants the others to take over soon
            # of brokers that are killed on purpose
            found |= {"broker.session.timeout.ms": 3_000, "broker.heartbeat.interval.ms": 500}
            found |= {"replica.lag.time.max.ms": 3_000}  # else leaders wait 30 s for one that is not heard of
        return "".join(f"{key}={value}\n" for key, value in found.items())
