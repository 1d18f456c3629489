"""Settings in shroff.yaml of the systems of this plug-in, read without their client libraries."""

from __future__ import annotations

from urllib.parse import SplitResult

from shroff.json_types import JsonMapping, JsonObject
from shroff.plugins.settings import (
    ADDRESS,
    CALLS,
    DEAD_LETTERS,
    DURATION,
    FILE,
    HTTP,
    NAME_PATTERN,
    NUMBER,
    OUTCOMES,
    OUTSIDE_NAME,
    PERCENT,
    SWITCH,
    TAKE,
    TEXT,
    VARIABLE,
    WHOLE,
    AdapterSettings,
    Key,
    Many,
    MappingShape,
    One,
    Required,
    choice,
    last_part,
    mapping_shape,
    own_names,
    sqlite_in_folder,
)
from shroff.plugins.values import replace

TOPIC = One("a topic: projects/PROJECT/topics/TOPIC", rf"^(projects/[^/\s]+/topics/[^/\s]+|{VARIABLE})$")
SUBSCRIPTION = One(
    "a subscription: projects/PROJECT/subscriptions/SUBSCRIPTION",
    rf"^(projects/[^/\s]+/subscriptions/[^/\s]+|{VARIABLE})$",
)
OVERLAP = "1000"  # of a whole number
OVERLAP_TIME = "5m"  # of a time
ROWS = "10000"
TOPIC_ARN = r"arn:aws(-cn|-us-gov)?:sns:[a-z0-9-]{1,40}:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?"
OVERTAKES_MS = 60_000  # the lease of a message whose worker was killed; Pub/Sub itself names no bound
_SECRET = One("an environment variable such as ${AMPLITUDE_API_KEY}", rf"^{VARIABLE}$")


def _redis_at(parts: SplitResult) -> JsonObject:
    server, stream = last_part(parts, "redis://localhost:6379/0/payments")
    return {"url": f"{parts.scheme}://{parts.netloc}/{'/'.join(server) or '0'}", "streams": {"any": stream}}


def _pubsub_at(parts: SplitResult) -> JsonObject:
    _, name = last_part(parts, "pubsub://my-project/payments")
    return {"subscriptions": {"any": f"projects/{parts.netloc}/subscriptions/{name}"}}


def pubsub_mistake(options: JsonMapping) -> str:
    names = [*options.get("subscriptions", {}).values(), *([options["labels"]] if "labels" in options else [])]
    is_twice = len(set(names)) < len(names)
    return "a subscription has one type of events. Name it once, under 'any' if it has several." if is_twice else ""


def outcomes_mistake(options: JsonMapping) -> str:
    take = options.get("take", "decisions")
    if take != "decisions" and ("outcomes" in options or options.get("ordering_key") == "outcome"):
        return f"{take} have no outcome. Name a field of the event, or take decisions."
    return ""


class _Table:
    """A table.

    url: The database.
        Example: postgresql://reader:${DB_PASSWORD}@db.bank/core
    table: The table or view; with a schema as SCHEMA.NAME.
        Example: payments
    by: The column that increases with each row: a whole number, or a time.
        Example: id
    overlap: How far before the last row each read begins, to catch rows that were committed late: a whole number of
        the column, or a duration. Known rows are duplicates.
        Default: 1000, for a time 5m
        Example: 1h
    rows: Number of rows per read; more only if they share one value.
        Default: 10000
    """

    url = Required(ADDRESS)
    table = Required(One("a name", r"^[A-Za-z_][A-Za-z0-9_$]{0,62}(\.[A-Za-z_][A-Za-z0-9_$]{0,62})?$"))
    by = Required(One("a name", r"^[A-Za-z_][A-Za-z0-9_$]{0,62}$"))
    overlap = One("a whole number or a duration", r"^[0-9]{1,15}(ms|s|m|h|d)?$")
    rows = WHOLE


TABLE = AdapterSettings(
    "New rows of a table or view of PostgreSQL, MariaDB or SQLite, found by an increasing column.",
    mapping_shape(_Table),
    placed=sqlite_in_folder,
    moves_rows=True,  # a range of rows is a file, and the next one begins before its end
)


class _AmplitudeExports:
    """Exports of Amplitude.

    api_key: The project's API key.
        Example: ${AMPLITUDE_API_KEY}
    secret_key: The project's secret key.
        Example: ${AMPLITUDE_SECRET_KEY}
    from: The first day to take, in UTC.
        Example: 2026-03-01
    region: The region of the project's data.
        Default: us
    settled: Delay of the request after a day's end, for late events.
        Default: 3h
    suspicious: Share of bad lines above which a day is marked as suspicious and a notice is sent.
        Default: 5%
    lost_hours: How many hours of a day may be damaged, or missing between busy hours, before it is suspicious, too.
        Default: 0
    url: The URL of a server other than Amplitude's.
    timeout: Time limit for a day's response; then half a day is requested.
        Default: 10m
    """

    api_key = Required(_SECRET)
    secret_key = Required(_SECRET)
    from_ = Required(One("a day such as 2026-03-01", rf"^([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}|{VARIABLE})$"))
    region = choice("us", "eu")
    settled = DURATION
    suspicious = PERCENT
    lost_hours = One("a number of hours, 0 to 24", r"^(1?[0-9]|2[0-4])$", kinds=(TEXT, NUMBER))
    url = HTTP
    calls = CALLS[:-1]
    timeout = DURATION


AMPLITUDE = AdapterSettings(
    "Days of Amplitude's export API, by upload hour.",
    mapping_shape(_AmplitudeExports),
    is_called=True,
    moves_rows=True,  # a day may come with more lines when it is requested again
)


class _SnsTopics:
    """Topics of Amazon SNS.

    topics: The ARNs of the accepted topics.
        Example: ['arn:aws:sns:eu-west-1:123456789012:savings']
    subscribe: How subscriptions are confirmed: automatically (`auto`), or with `shroff sources confirm` (`ask`).
        Default: ask
    password: USER:PASSWORD, as in the URL set in SNS (`https://USER:PASSWORD@bank.example/hooks/NAME`). Raw
        delivery requires it, because it is not signed. If set, every request needs it.
        Example: ${SNS_PASSWORD}
    certificates: A folder with the certificates of SNS (`*.pem`, named as in their URLs), for a service without
        access to the internet. By default, they are downloaded.
        Example: certs/sns
    """

    topics = Required(Many("a list of ARNs", One("the ARN of a topic", rf"^({TOPIC_ARN}|{VARIABLE})$")))
    subscribe = choice("ask", "auto")
    password = One("USER:PASSWORD", rf"^([^:\s]+:\S+|{VARIABLE})$")
    certificates = FILE
    calls = CALLS


SNS = AdapterSettings(
    "Topics of Amazon SNS, which posts their messages to `/hooks/NAME`.", mapping_shape(_SnsTopics), is_called=True
)


class _PubsubPush:
    """Push subscriptions of Google Pub/Sub.

    audience: The audience of the subscription's tokens.
        Example: https://bank.example/hooks/app_events
    service_account: The service account that signs the subscription's requests.
        Example: push@my-project.iam.gserviceaccount.com
    subscriptions: Only these subscriptions. By default, every one of the service account with this audience.
        Example: [projects/my-project/subscriptions/shroff]
    body: The body of a request: the message in Pub/Sub's own JSON (`wrapped`), or the message alone (`unwrapped`).
        Default: wrapped
    """

    audience = Required(One("a text", r"^\S+$"))
    service_account = Required(One("a mail address", rf"^([^@\s]+@[^@\s]+|{VARIABLE})$"))
    subscriptions = Many("a list of subscriptions", One("a subscription", r"^projects/\S+/subscriptions/\S+$"))
    body = choice("wrapped", "unwrapped")
    calls = CALLS


PUBSUB_PUSH = AdapterSettings(
    "A push subscription of Google Pub/Sub, with authentication, that posts to `/hooks/NAME`.",
    mapping_shape(_PubsubPush),
    is_called=True,
)


class _RedisStreams:
    """Streams of a Redis server.

    url: The server.
        Example: redis://localhost:6379/0
    streams: The stream of each event type. In a stream under `any`, each entry names its own type.
        Example: { payment: payments }
    labels: The stream of labels.
    field: The field of an entry with the message.
        Default: event
    trim: Whether to delete stream entries that a saved snapshot covers.
        Default: false
    """

    url = Required(ADDRESS)
    streams = Required(own_names("event types with their streams", OUTSIDE_NAME))
    labels = OUTSIDE_NAME
    field = OUTSIDE_NAME
    dead_letters = Key("dead_letters", DEAD_LETTERS, OUTSIDE_NAME)
    trim = SWITCH


REDIS = AdapterSettings(
    "Streams of a Redis server.",
    mapping_shape(_RedisStreams),
    schemes={"redis": 6379, "rediss": 6379},
    form="redis://HOST:PORT/DATABASE/STREAM",
    from_address=_redis_at,
    types="streams",
)


class _PubsubPull:
    """Pull subscriptions of Google Pub/Sub.

    subscriptions: The subscription of each event type. In one under `any`, each message names its own type.
        Example: { payment: projects/my-project/subscriptions/payments }
    labels: The subscription of labels.
    messages: Maximum number of unacknowledged messages of a subscription.
        Default: 5000
    bytes: Maximum total bytes of these messages.
        Default: 67108864
    """

    subscriptions = Required(own_names("event types with their subscriptions", SUBSCRIPTION))
    labels = SUBSCRIPTION
    dead_letters = Key("dead_letters", DEAD_LETTERS, TOPIC, examples=("projects/my-project/topics/refused",))
    messages = One("a whole number from 1 to 100000", r"^([1-9]\d{0,4}|100000)$", kinds=(TEXT, NUMBER))
    bytes = One("a whole number of bytes, of four digits or more", r"^[1-9]\d{3,10}$", kinds=(TEXT, NUMBER))


PUBSUB_PULL = AdapterSettings(
    "Subscriptions of Google Pub/Sub, which a worker pulls.",
    mapping_shape(_PubsubPull),
    schemes={"pubsub": None},
    form="pubsub://PROJECT/SUBSCRIPTION",
    from_address=_pubsub_at,
    types="subscriptions",
    mistake=pubsub_mistake,
    overtakes_ms=OVERTAKES_MS,
)


class _PubsubTopic:
    """A topic of Google Pub/Sub.

    topic: The topic.
        Example: projects/bank/topics/decisions
    ordering_key: The field of the event whose value is the ordering key, such as that of a card: messages of one
        key are published in the order of the log.
        Example: card
    """

    take = replace(TAKE, shape=choice("decisions", "flags", "events"))
    topic = Required(TOPIC)
    ordering_key = One("a name", NAME_PATTERN)
    outcomes = OUTCOMES


PUBSUB_SINK = AdapterSettings(
    "Messages in a topic of Google Pub/Sub, at least once, each with attributes by which a reader knows it again.",
    mapping_shape(_PubsubTopic),
    mistake=outcomes_mistake,
    is_prepared=True,
    route=("ordering_key", "topics"),
)
REDIS_FEATURES = AdapterSettings(
    "Hashes of a Redis server.", MappingShape("a Redis server"), schemes={"redis": 6379, "rediss": 6379}
)
FEATURES = {"redis": REDIS_FEATURES}
PULLED = {"table": TABLE, "amplitude": AMPLITUDE}
PUSHED = {"sns": SNS, "pubsub": PUBSUB_PUSH}
SINKS = {"pubsub": PUBSUB_SINK}
SOURCES = {"redis": REDIS, "pubsub_pull": PUBSUB_PULL}
