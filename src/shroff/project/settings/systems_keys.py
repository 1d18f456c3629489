"""The keys of shroff.yaml that say where things are: sources, the store, the lake, sinks (see `language.keys`).

Nothing here decides anything: none of it is in a version, a control event or a receipt.
"""

from __future__ import annotations

from typing import Final

from shroff.language.keys import (
    ANY,
    DURATION,
    NAME_PATTERN,
    NUMBER,
    SWITCH,
    TEXT,
    WHOLE,
    Either,
    Key,
    Keys,
    Many,
    One,
    choice,
    own_names,
)
from shroff.project.settings.http_keys import CALLS, HTTP_CALLS
from shroff.project.settings.mail_keys import FILE, HTTP, MAIL, VARIABLE, WEB
from shroff.project.settings.sign_in_keys import SESSIONS, SIGN_IN

URL: Final = One("an address such as kafka://localhost:9092/payments", rf"^([a-z][a-z0-9+]*:|{VARIABLE}$)")
STORE_URL: Final = One("an address such as postgresql://shroff@localhost/shroff", rf"^([a-z]+:\S*|{VARIABLE})$")
ADDRESS: Final = One("an address", rf"^([a-z][a-z0-9+.]*://\S+|{VARIABLE})$")
TOPIC: Final = One("a name of letters, digits, '.', '_' and '-'", r"^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$")
OUTSIDE_NAME: Final = One("a name of letters, digits, '.', '_', ':' and '-'", r"^[A-Za-z0-9._:-]{1,200}$")
TABLE: Final = One("a table's name: small letters, digits and _", r"^[a-z_][a-z0-9_]{0,62}$")
LATE: Final = ("refuse", "keep")
FORMATS: Final = ("json", "avro")

_FORMAT: Final = Key("format", "How messages are written.", choice(*FORMATS), default="json", examples=("avro",))
_REGISTRY: Final = Key(
    "registry",
    "The schema registry of Avro messages, with its Confluent-compatible path: an address, or one with certificates.",
    Either(
        (
            HTTP,
            Keys(
                "a schema registry by its address",
                (
                    Key("url", "The registry.", HTTP, is_required=True, examples=("https://registry.bank:8081",)),
                    *CALLS,
                    Key(
                        "cert",
                        "A file with the certificate (PEM) by which the registry knows this client.",
                        FILE,
                        examples=("certs/shroff.pem",),
                    ),
                    Key(
                        "key",
                        "A file with its key, without a password. Left out, the key stands in `cert`.",
                        FILE,
                        examples=("certs/shroff.key",),
                    ),
                ),
            ),
        )
    ),
    examples=("http://localhost:8081",),
)
_LATE: Final = Key(
    "late",
    "What becomes of an event that is too late: it is quarantined, or kept: stored and counted, with no decision, and "
    "in no window.",
    choice(*LATE),
    default="refuse",
    examples=("keep",),
)
_WAIT: Final = Key(
    "wait",
    "How long a live message waits for earlier ones of other partitions, which may be on their way: it is decided so "
    "much later. What waited outside is in order of time without it.",
    DURATION,
    default="0s",
    examples=("200ms",),
)
_CLIENT: Final = Key(
    "client",
    "Settings of the client library (librdkafka), passed through: TLS, SASL, sizes of buffers.",
    Keys("settings of the client by their names", named=ANY, pattern=r"^[a-z][a-z0-9._]{0,99}$"),
    examples=("{ security.protocol: SASL_SSL, sasl.username: shroff, sasl.password: '${KAFKA_PASSWORD}' }",),
)
_BROKER: Final = r"([^\s,/]+:\d+|([^\s,/:]+:)?\$\{[A-Za-z_]\w*\})"  # a variable may stand for all of them, or a port
_BROKERS: Final = Key(
    "brokers",
    "Addresses of brokers, with commas.",
    One("addresses such as localhost:9092, with commas", rf"^{_BROKER}(\s*,\s*{_BROKER})*$"),
    is_required=True,
    examples=("localhost:9092",),
)
_DEAD_LETTERS: Final = "What cannot be read goes there too, with its place and the reason; it is in quarantine anyway."

KAFKA_SOURCE: Final = Keys(
    "a Kafka cluster with its topics",
    (
        _BROKERS,
        Key(
            "topics",
            "The topic of each event type. A topic under `any` has lines that tell their types themselves.",
            own_names("event types with their topics", Either((TOPIC, Many("several topics", TOPIC)))),
            is_required=True,
            examples=("{ payment: payments }",),
        ),
        Key("labels", "The topic of labels.", TOPIC, default="NAME.labels, where there is one"),
        Key(
            "lanes",
            "How many lanes there are: logs with a worker each, which take the partitions of every topic by turns.",
            One("a whole number from 1 to 1024", r"^([1-9]\d{0,2}|10[01]\d|102[0-4])$", kinds=(TEXT, NUMBER)),
            default="1",
            examples=("4",),
        ),
        Key(
            "key",
            "The entity by whose key producers part messages, where there are several lanes.",
            One("an entity's name", NAME_PATTERN),
            examples=("card",),
        ),
        _FORMAT,
        _REGISTRY,
        Key("group", "The group under which offsets are shown to the brokers' tools.", TOPIC, default="shroff-NAME"),
        Key("dead_letters", _DEAD_LETTERS, TOPIC, examples=("payments.refused",)),
        Key("start", "Where a partition that was never read begins.", choice("earliest", "latest"), default="earliest"),
        Key(
            "gone",
            "What a worker does where a topic does not have messages any more that nobody had read: it stops, or skips "
            "them, and the gap is in quarantine.",
            choice("stop", "skip"),
            default="stop",
        ),
        _LATE,
        _WAIT,
        _CLIENT,
    ),
)
REDIS_SOURCE: Final = Keys(
    "streams of a Redis server",
    (
        Key("url", "The server.", ADDRESS, is_required=True, examples=("redis://localhost:6379/0",)),
        Key(
            "streams",
            "The stream of each event type. One under `any` has entries that tell their types themselves.",
            own_names("event types with their streams", OUTSIDE_NAME),
            is_required=True,
            examples=("{ payment: payments }",),
        ),
        Key("labels", "The stream of labels.", OUTSIDE_NAME),
        Key("field", "The field of an entry that has the message.", OUTSIDE_NAME, default="event"),
        _FORMAT,
        _REGISTRY,
        Key("dead_letters", _DEAD_LETTERS, OUTSIDE_NAME),
        Key("trim", "Whether entries behind a saved snapshot are removed from the streams.", SWITCH, default="false"),
        _LATE,
        _WAIT,
    ),
)
SOURCE: Final = Either(
    (
        URL,
        Keys(
            "one kind of source",
            (
                Key("kafka", "Topics of a Kafka cluster.", KAFKA_SOURCE),
                Key("redis", "Streams of a Redis server.", REDIS_SOURCE),
            ),
            is_single=True,
        ),
    )
)

STORE: Final = Either(
    (
        STORE_URL,
        Keys(
            "a store by its address",
            (
                Key(
                    "url",
                    "The database.",
                    ADDRESS,
                    is_required=True,
                    examples=("postgresql://shroff@localhost/shroff",),
                ),
                Key(
                    "lease",
                    "How long a worker that is not heard of keeps its place before another may take over.",
                    DURATION,
                    default="3s",
                ),
            ),
        ),
    )
)

DOCUMENTS: Final = own_names(
    "folders with what is in them",
    Keys(
        "one kind of documents",
        (
            Key(
                "of",
                "What is in them: `decisions`, `flags`, `labels`, or an event type.",
                One("a name", NAME_PATTERN),
                is_required=True,
            ),
            Key(
                "lines", "So many documents in one file, a line each. Left out: one file a document, by its id.", WHOLE
            ),
            Key(
                "sources",
                "Of labels, only those from these sources.",
                Many("sources", choice("chargeback", "analyst", "customer", "import")),
                examples=("[chargeback]",),
            ),
        ),
    ),
)
BUCKET: Final = (
    Key("endpoint", "The address of a server other than the cloud's.", HTTP),
    Key("region", "The region of the bucket.", OUTSIDE_NAME),
    Key(
        "account",
        "The storage account, with Azure. Left out, AZURE_STORAGE_ACCOUNT_NAME of the environment.",
        OUTSIDE_NAME,
        examples=("mybank",),
    ),
)
LAKE: Final = Either(
    (
        One(
            "a folder, or an address such as s3://bucket/prefix, gs://bucket/prefix or az://container/prefix", r"^\S+$"
        ),
        Keys(
            "a lake by its address",
            (
                Key(
                    "to",
                    "A folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix.",
                    One("a folder or an address", r"^\S+$"),
                    is_required=True,
                    examples=("s3://mybank/shroff",),
                ),
                Key(
                    "every", "How long rows gather before they are written.", DURATION, default="1m", examples=("10s",)
                ),
                Key("layout", "What is written.", choice("parquet", "json", "both"), default="parquet"),
                Key("documents", "Which folders of JSON documents there are.", DOCUMENTS),
                *BUCKET,
            ),
        ),
    )
)

TAKE: Final = ("decisions", "flags")
_ROUTE: Final = Keys(
    "outcomes, or values of a field, with their topics; `else` for all others",
    named=TOPIC,
    pattern=r"^\S{1,200}$",
)
_COLUMNS: Final = Keys(
    "columns with what they hold",
    named=One(
        "event_time, ingest_time, fields, features, or one value of the last two, such as fields.amount",
        r"^(event_time|ingest_time|fields|features|fields\.[a-z_][a-z0-9_]*|features\.[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*)$",
    ),
    pattern=r"^[a-z_][a-z0-9_]{0,62}$",
)
_TAKE: Final = Key("take", "What leaves.", choice(*TAKE), default="decisions", examples=("flags",))
_BEGIN: Final = (
    "Where a sink begins that the log does not know yet: with the first decision there is, or with what comes from "
    "then on."
)
_START: Final = Key("start", _BEGIN, choice("first", "now"), default="first", examples=("now",))
SINK: Final = Keys(
    "one kind of sink",
    (
        Key(
            "kafka",
            "Messages in topics of a Kafka cluster, the key of each the event's id.",
            Keys(
                "topics of a Kafka cluster",
                (
                    _TAKE,
                    _BROKERS,
                    _START,
                    Key("topic", "The topic of all.", TOPIC, examples=("decisions",)),
                    Key(
                        "by", "What chooses the topic: `outcome`, or a field of the event.", One("a name", NAME_PATTERN)
                    ),
                    Key(
                        "topics",
                        "The topic by outcome or value.",
                        _ROUTE,
                        examples=("{ decline: fraud_transaction, else: non_fraud_transaction }",),
                    ),
                    _CLIENT,
                ),
            ),
        ),
        Key(
            "mongodb",
            "Documents of a collection, replaced by id.",
            Keys(
                "a collection",
                (
                    _TAKE,
                    _START,
                    Key("url", "The server.", ADDRESS, is_required=True, examples=("mongodb://localhost:27017",)),
                    Key("database", "The database.", OUTSIDE_NAME, is_required=True),
                    Key("collection", "The collection.", OUTSIDE_NAME, is_required=True),
                ),
            ),
        ),
        Key(
            "sql",
            "Rows of a table, replaced by id. The table is made where there is none.",
            Keys(
                "a table",
                (
                    _TAKE,
                    _START,
                    Key(
                        "url",
                        "The database.",
                        ADDRESS,
                        is_required=True,
                        examples=("postgresql://bank@localhost/bank",),
                    ),
                    Key("table", "The table.", TABLE, is_required=True, examples=("decisions",)),
                    Key(
                        "columns",
                        "Further columns, by names of your own: `event_time`, `ingest_time` (UTC), `fields` or "
                        "`features` as JSON, or one value of these as text, such as `fields.amount`.",
                        _COLUMNS,
                        examples=("{ paid_at: event_time, taken_at: ingest_time, amount: fields.amount }",),
                    ),
                ),
            ),
        ),
        Key(
            "webhook",
            "Signed calls of an address.",
            Keys(
                "an address that is called",
                (
                    _TAKE,
                    Key("start", _BEGIN, choice("first", "now"), default="now", examples=("first",)),
                    Key("url", "The address.", HTTP, is_required=True, examples=("https://bank.example/hooks/fraud",)),
                    Key("secret", "What calls are signed with.", ANY, is_required=True, examples=("${HOOK_SECRET}",)),
                    Key(
                        "outcomes",
                        "Only decisions with these outcomes.",
                        Many("outcomes", choice("approve", "challenge", "review", "decline")),
                        examples=("[decline, review]",),
                    ),
                    *CALLS,
                ),
            ),
        ),
    ),
    is_single=True,
)
SINKS: Final = own_names("where decisions and flags go, by names of your own", SINK)

ONLINE: Final = Either(
    (
        ADDRESS,
        Keys(
            "a Redis server with features",
            (
                Key("url", "The server.", ADDRESS, is_required=True, examples=("redis://localhost:6379/1",)),
                Key("prefix", "What the keys in Redis begin with.", OUTSIDE_NAME, default="NAME"),
                Key(
                    "ttl",
                    "A key of which no event was decided for so long is removed. Left out, all are kept.",
                    DURATION,
                    examples=("90d",),
                ),
                Key(
                    "entities",
                    "Whose features are written; left out, those of all.",
                    Many("entities", One("a name", NAME_PATTERN)),
                    examples=("[card, device]",),
                ),
            ),
        ),
    )
)

SNAPSHOTS: Final = Keys(
    "when state is saved, and where",
    (
        Key("every", "After how long a snapshot is due.", DURATION, default="10m"),
        Key(
            "events",
            "After how many places of the log a snapshot is due, however short the time.",
            WHOLE,
            default="1000000",
        ),
        Key("kept", "How many are kept.", WHOLE, default="2"),
        Key(
            "to",
            "A folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix, where copies go.",
            One("a place", r"^\S+$"),
        ),
        *BUCKET,
    ),
)

SYSTEMS: Final = (
    Key(
        "source",
        "Where live events come from: an address, or a kind with its settings.",
        SOURCE,
        examples=("kafka://localhost:9092/payments",),
    ),
    Key(
        "store",
        "Where the log is kept: postgresql:// or mariadb://. Left out, it is one file in .shroff/.",
        STORE,
        examples=("postgresql://shroff@localhost/shroff",),
    ),
    Key("lake", "Where files for analysis go.", LAKE, examples=("s3://mybank/shroff",)),
    Key(
        "online",
        "Where other services read the features of each key as of its last decided event.",
        ONLINE,
        examples=("redis://localhost:6379/1",),
    ),
    Key(
        "sinks",
        "Where decisions and flags go, beside the store.",
        SINKS,
        examples=("{ decided: { kafka: { brokers: 'localhost:9092', topic: decisions } } }",),
    ),
    Key(
        "sign_in",
        "How people sign in to the service, beside names with passwords.",
        SIGN_IN,
        examples=("{ oidc: { issuer: https://login.bank.org, client_id: shroff, roles: { fraud-team: analyst } } }",),
    ),
    Key(
        "sessions",
        "How long people stay signed in to the service.",
        SESSIONS,
        examples=("{ idle: 15m, lasts: 8h }",),
    ),
    Key(
        "http",
        "How HTTP calls leave: those of webhooks, the schema registry and OpenID, where they do not say it themselves. "
        "Requests of a lake in a bucket use its proxy and `ca`.",
        HTTP_CALLS,
        examples=("{ proxy: http://proxy.bank:3128, ca: certs/bank.pem }",),
    ),
    Key(
        "mail",
        "How mails leave. Left out, they are files in .shroff/mail/.",
        MAIL,
        examples=("{ smtp: smtp://localhost }",),
    ),
    Key(
        "web",
        "At which address browsers reach the service, and how it shows itself to customers.",
        WEB,
        examples=("{ url: https://answer.penhallow.example, name: Penhallow Bank }",),
    ),
    Key(
        "second_person",
        "What comes into force only when somebody approves it who did not write it. Commands leave it to the service.",
        Many(
            "a list of what is approved by a second person: rules, lists, silences",
            choice("rules", "lists", "silences"),
        ),
        examples=("[rules, lists, silences]",),
    ),
    Key("snapshots", "When state is saved, and where.", SNAPSHOTS, examples=("{ every: 10m, kept: 2 }",)),
    Key(
        "keep",
        "How long the store keeps events. Older ones move to the lake behind a snapshot; their ids are known for ever.",
        DURATION,
        examples=("400d",),
    ),
)
