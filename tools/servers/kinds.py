"""The servers there are, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from tools.servers.databases import MariaDB, Mongo, Postgres, Redis
from tools.servers.kafka import Kafka
from tools.servers.mail import Mail
from tools.servers.objects import GCS, S3, Azure
from tools.servers.process import Server
from tools.servers.pubsub import Pubsub
from tools.servers.registry import Registry

KINDS: Final[Mapping[str, Callable[[], Server]]] = {
    item.kind: item for item in (Kafka, Registry, Redis, Postgres, MariaDB, Mongo, S3, GCS, Azure, Mail, Pubsub)
}
