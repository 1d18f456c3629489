"""Shared code of the Kafka adapters: the client, topics, and the settings of a cluster in shroff.yaml."""

from __future__ import annotations

from shroff.language.keys import ANY, Key, MappingShape, One

_BROKER = r"([^\s,/]+:\d+|([^\s,/:]+:)?\$\{[A-Za-z_]\w*\})"  # a variable may stand for all of them, or a port
BROKERS = Key(
    "brokers",
    "Addresses of the brokers, separated by commas.",
    One("addresses such as localhost:9092, separated by commas", rf"^{_BROKER}(\s*,\s*{_BROKER})*$"),
    is_required=True,
    examples=("localhost:9092",),
)
CLIENT = Key(
    "client",
    "Settings of the client library (librdkafka), passed through: TLS, SASL, buffer sizes.",
    MappingShape("settings of the client by their names", named=ANY, pattern=r"^[a-z][a-z0-9._]{0,99}$"),
    examples=("{ security.protocol: SASL_SSL, sasl.username: shroff, sasl.password: '${KAFKA_PASSWORD}' }",),
)
