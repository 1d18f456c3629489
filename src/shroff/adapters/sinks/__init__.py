"""Sinks: Kafka, MongoDB, SQL databases, webhooks. Here is what shroff.yaml may say of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from shroff.adapters.kafka import BROKERS, CLIENT
from shroff.adapters.sinks.documents import document_mistake
from shroff.language.keys import ANY, EXPRESSION, NAME_PATTERN, Key, MappingShape, One, choice
from shroff.streams.settings import (
    ADDRESS,
    BEGIN,
    CALLS,
    HTTP,
    OUTCOMES,
    OUTSIDE_NAME,
    TOPIC,
    AdapterSettings,
    sqlite_in_folder,
)

TABLE: Final = One("a table's name: small letters, digits and _", r"^[a-z_][a-z0-9_]{0,62}$")
_ROUTE: Final = MappingShape(
    "outcomes, or values of a field, with their topics; `else` for all others",
    named=TOPIC,
    pattern=r"^\S{1,200}$",
)
_COLUMNS: Final = MappingShape(
    "columns with their contents",
    named=One(
        "event_time, ingest_time, fields, features, or one value of the last two, such as fields.amount",
        r"^(event_time|ingest_time|fields|features|fields\.[a-z_][a-z0-9_]*|features\.[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*)$",
    ),
    pattern=r"^[a-z_][a-z0-9_]{0,62}$",
)
_DOCUMENT: Final = MappingShape(
    "names with expressions", named=EXPRESSION, pattern=r"^(?!_id$)[^\s.$]([^.]{0,98}[^\s.])?$"
)


def route_mistake(options: Mapping[str, Any]) -> str:
    """Mistake in the choice of a Kafka sink's topic, in words; empty where there is none."""
    by, topics, only = options.get("by"), options.get("topics"), options.get("topic")
    if bool(only) == bool(topics) or bool(by) != bool(topics):
        return "a Kafka sink has either topic:, or by: with topics:."
    if by == "outcome" and options.get("take") == "flags":
        return "flags have no outcome, so 'by: outcome' chooses nothing. Name a field of the event."
    return ""


KAFKA: Final = AdapterSettings(
    "Messages in topics of a Kafka cluster, with the event's id as the key.",
    MappingShape(
        "topics of a Kafka cluster",
        (
            BROKERS,
            Key("topic", "The topic of all messages.", TOPIC, examples=("decisions",)),
            Key("by", "Chooses the topic: `outcome`, or a field of the event.", One("a name", NAME_PATTERN)),
            Key(
                "topics",
                "The topic for each outcome or value.",
                _ROUTE,
                examples=("{ decline: fraud_transaction, else: non_fraud_transaction }",),
            ),
            CLIENT,
        ),
    ),
    mistake=route_mistake,
    is_prepared=True,
    route=("by", "topics"),
)
MONGODB: Final = AdapterSettings(
    "Documents of a MongoDB collection, replaced by id.",
    MappingShape(
        "a collection",
        (
            Key("url", "The server.", ADDRESS, is_required=True, examples=("mongodb://localhost:27017",)),
            Key("database", "The database.", OUTSIDE_NAME, is_required=True),
            Key("collection", "The collection.", OUTSIDE_NAME, is_required=True),
            Key(
                "document",
                "A document with your own fields, in addition to `_id`: names, each with an expression over `row`. "
                "`row` is the decision or flag, with the event's `row.fields.NAME`, `row.event_time` and "
                "`row.ingest_time`. A plain `row.x` is stored unchanged.",
                _DOCUMENT,
                examples=("{ ID: row.id, Amount: row.fields.amount }",),
            ),
        ),
    ),
    mistake=document_mistake,
    schemes={"mongodb": 27017},
)
SQL: Final = AdapterSettings(
    "Rows of an SQL table, replaced by id. A missing table is created.",
    MappingShape(
        "a table",
        (
            Key("url", "The database.", ADDRESS, is_required=True, examples=("postgresql://bank@localhost/bank",)),
            Key("table", "The table.", TABLE, is_required=True, examples=("decisions",)),
            Key(
                "columns",
                "Additional columns, with names of your choice: `event_time`, `ingest_time` (UTC), `fields` or "
                "`features` as JSON, or one value of these as text, such as `fields.amount`.",
                _COLUMNS,
                examples=("{ paid_at: event_time, taken_at: ingest_time, amount: fields.amount }",),
            ),
        ),
    ),
    schemes={"postgresql": 5432, "mariadb": 3306, "sqlite": None},
    placed=sqlite_in_folder,
)
WEBHOOK: Final = AdapterSettings(
    "Signed calls to a URL.",
    MappingShape(
        "a URL to call",
        (
            Key("start", BEGIN, choice("first", "now"), default="now", examples=("first",)),
            Key("url", "The address.", HTTP, is_required=True, examples=("https://bank.example/hooks/fraud",)),
            Key("secret", "The secret that signs the calls.", ANY, is_required=True, examples=("${HOOK_SECRET}",)),
            OUTCOMES,
            *CALLS,
        ),
    ),
    schemes={"http": 80, "https": 443},
    is_called=True,
)
SETTINGS: Final = {"kafka": KAFKA, "mongodb": MONGODB, "sql": SQL, "webhook": WEBHOOK}
