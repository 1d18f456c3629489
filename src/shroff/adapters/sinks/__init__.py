"""Sinks: Kafka, MongoDB, SQL databases, webhooks, and the settings of each in shroff.yaml."""

from __future__ import annotations

from shroff.adapters.kafka import BROKERS, CLIENT
from shroff.adapters.sinks.documents import document_mistake
from shroff.json_types import JsonMapping
from shroff.language.keys import ANY, EXPRESSION, NAME_PATTERN, Key, MappingShape, One, Required, choice, mapping_shape
from shroff.streams.settings import (
    ADDRESS,
    BEGIN,
    CALLS,
    HTTP,
    OUTCOMES,
    OUTSIDE_NAME,
    ROWS,
    TOPIC,
    AdapterSettings,
    sqlite_in_folder,
)

TABLE = One("a table's name: small letters, digits and _", r"^[a-z_][a-z0-9_]{0,62}$")
_ROUTE = MappingShape(
    "outcomes, or values of a field, with their topics; `else` for all others", named=TOPIC, pattern=r"^\S{1,200}$"
)
_COLUMNS = MappingShape(
    "columns with their contents",
    named=One(
        "event_time, ingest_time, fields, features, or one value of the last two, such as fields.amount",
        r"^(event_time|ingest_time|fields|features|fields\.[a-z_][a-z0-9_]*|features\.[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*)$",
    ),
    pattern=r"^[a-z_][a-z0-9_]{0,62}$",
)
_DOCUMENT = MappingShape("names with expressions", named=EXPRESSION, pattern=r"^(?!_id$)[^\s.$]([^.]{0,98}[^\s.])?$")


def route_mistake(options: JsonMapping) -> str:
    """Return the mistake in a Kafka sink's choice of topics; "" if there is none."""
    field_name = options.get("by")
    topics = options.get("topics")
    only = options.get("topic")
    if bool(only) == bool(topics) or bool(field_name) != bool(topics):
        return "a Kafka sink has either topic:, or by: with topics:."
    if field_name == "outcome" and options.get("take") == "flags":
        return "flags have no outcome, so 'by: outcome' chooses nothing. Name a field of the event."
    return ""


class _KafkaTopics:
    """Topics of a Kafka cluster.

    topic: The topic of all messages.
        Example: decisions
    by: Chooses the topic: `outcome`, or a field of the event.
    topics: The topic for each outcome or value.
        Example: { decline: fraud_transaction, else: non_fraud_transaction }
    """

    brokers = BROKERS
    topic = TOPIC
    by = One("a name", NAME_PATTERN)
    topics = _ROUTE
    client = CLIENT


KAFKA = AdapterSettings(
    "Messages in topics of a Kafka cluster, with the event's id as the key.",
    mapping_shape(_KafkaTopics),
    mistake=route_mistake,
    is_prepared=True,
    route=("by", "topics"),
)


class _Collection:
    """A collection.

    url: The server.
        Example: mongodb://localhost:27017
    database: The database.
    collection: The collection.
    document: A document with your own fields, in addition to `_id`: names, each with an expression over `row`.
        `row` is the decision or flag, with the event's `row.fields.NAME`, `row.event_time` and `row.ingest_time`. A
        plain `row.x` is stored unchanged.
        Example: { ID: row.id, Amount: row.fields.amount }
    """

    url = Required(ADDRESS)
    database = Required(OUTSIDE_NAME)
    collection = Required(OUTSIDE_NAME)
    document = _DOCUMENT
    rows = ROWS


MONGODB = AdapterSettings(
    "Documents of a MongoDB collection, replaced by id.",
    mapping_shape(_Collection),
    mistake=document_mistake,
    schemes={"mongodb": 27017},
)


class _Table:
    """A table.

    url: The database.
        Example: postgresql://bank@localhost/bank
    table: The table.
        Example: decisions
    columns: Additional columns, with names of your choice: `event_time`, `ingest_time` (UTC), `fields` or
        `features` as JSON, or one value of these as text, such as `fields.amount`.
        Example: { paid_at: event_time, taken_at: ingest_time, amount: fields.amount }
    """

    url = Required(ADDRESS)
    table = Required(TABLE)
    columns = _COLUMNS
    rows = ROWS


SQL = AdapterSettings(
    "Rows of an SQL table, replaced by id. A missing table is created.",
    mapping_shape(_Table),
    schemes={"postgresql": 5432, "mariadb": 3306, "sqlite": None},
    placed=sqlite_in_folder,
)


class _CalledUrl:
    """A URL to call.

    url: The address.
        Example: https://bank.example/hooks/fraud
    secret: The secret that signs the calls.
        Example: ${HOOK_SECRET}
    """

    start = Key("start", BEGIN, choice("first", "now"), default="now", examples=("first",))
    url = Required(HTTP)
    secret = Required(ANY)
    outcomes = OUTCOMES
    calls = CALLS


WEBHOOK = AdapterSettings(
    "Signed calls to a URL.", mapping_shape(_CalledUrl), schemes={"http": 80, "https": 443}, is_called=True
)
SETTINGS = {"kafka": KAFKA, "mongodb": MONGODB, "sql": SQL, "webhook": WEBHOOK}
